"""Checkers of lesson 24. The truths are plain loops over Python's numbers."""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from course_lib.experiments.rl_failure_runs import RL_EVIDENCE, RL_SIGNS, rl_lab_letters
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips


def _table(seed: int, *shape: int) -> Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _mask(*lengths: int) -> Tensor:
    """True on the tokens of completions of these lengths."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _advantages(
    rewards: Tensor, size: int, worth: Callable = lambda reward, group: reward - _mean(group)
) -> list[float]:
    values, found = rewards.tolist(), []
    for start in range(0, len(values), size):
        group = values[start : start + size]
        found += [worth(reward, group) for reward in group]
    return found


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: list[float], less: int) -> float:
    mean = _mean(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - less))


def _without(reward: float, group: list[float]) -> float:
    """Less the mean of the others, as in RLOO."""
    return reward - (math.fsum(group) - reward) / (len(group) - 1)


def _interleaved(rewards: Tensor, size: int) -> list[float]:
    groups = rewards.view(size, -1)
    return (groups - groups.mean(0)).flatten().tolist()


def _rows_of_questions(rewards: Tensor, size: int) -> list[float]:
    """Group as if `size` were the number of questions."""
    return _advantages(rewards, len(rewards) // size)


def _down_the_columns(rewards: Tensor, size: int) -> list[float]:
    """The right table, read column by column."""
    return torch.tensor(_advantages(rewards, size)).view(-1, size).T.flatten().tolist()


@checker
def advantages_of_groups(attempt: Attempt) -> str:
    """Measure each reward against the mean of its group."""
    cases = [
        (torch.tensor([1.0, 0.0, 0.0, 1.0, 1.5, 0.0, 0.0, 0.5]), 4),
        (_table(1, 6), 2),
        (_table(2, 6), 3),
        (_table(3, 5), 5),
    ]
    slips = [
        (
            lambda r, n: (r - r.mean()).tolist(),
            "the mean is that of all rewards. Each question has its own: an easy question would"
            " make all its answers look good.",
        ),
        (
            lambda r, n: _advantages(r, n, lambda x, g: (x - _mean(g)) / _deviation(g, 1)),
            "you divide by the standard deviation of the group. That is GRPO's first form; here"
            " the difference alone is asked for.",
        ),
        (
            lambda r, n: _advantages(r, n, lambda x, g: (x - _mean(g)) / _deviation(g, 0)),
            "you divide by the standard deviation of the group. That is GRPO's first form; here"
            " the difference alone is asked for.",
        ),
        (
            lambda r, n: _advantages(r, n, lambda x, g: (x - _mean(g)) / (_deviation(g, 1) + 1e-4)),
            "you divide by the standard deviation of the group. That is GRPO's first form; here"
            " the difference alone is asked for.",
        ),
        (
            lambda r, n: _advantages(r, n, _without),
            "each reward is compared with the mean of the *others* (RLOO). Here its own counts"
            " too.",
        ),
        (
            lambda r, n: _advantages(r, n, lambda x, g: _mean(g) - x),
            "the sign is the other way round: a reward above the mean has an advantage above 0.",
        ),
        (
            lambda r, n: _advantages(r, n, lambda x, g: x - g[0]),
            "you subtract the first reward of the group, not the mean.",
        ),
        (
            lambda r, n: _advantages(r, n, lambda x, g: x - max(g)),
            "you subtract the best reward of the group, not the mean.",
        ),
        (lambda r, n: r.tolist(), "these are the rewards themselves: nothing is compared."),
        (
            lambda r, n: _advantages(r, n, lambda x, g: _mean(g)),
            "these are the means of the groups. Subtract them from the rewards.",
        ),
        (
            _rows_of_questions,
            "the table has `group_size` rows. A group is a row, so it needs `group_size` columns:"
            " view(-1, group_size).",
        ),
        (
            _down_the_columns,
            "the numbers are right, their order is not: the table was transposed before it was"
            " flattened.",
        ),
        (
            _interleaved,
            "the groups are taken apart: the answers to one question stand next to each other,"
            " so the rows of a table with `group_size` columns are the groups.",
        ),
        (
            lambda r, n: (r.view(-1, n) - r.view(-1, n).mean(0)).flatten().tolist(),
            "the mean runs over the questions. It should run over the answers to one question:"
            " along the last axis.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.ndim == 2:
            raise Wrong(
                f"a table {tuple(got.shape)} came back. One number per answer is asked for, in"
                " the order of the rewards: flatten it."
            )
        return got

    def called(rewards: Tensor, size: int) -> str:
        return f"the advantages of {len(rewards)} rewards in groups of {size}"

    judge_by_slips(attempt, cases, _advantages, slips, called, plain=plain)
    return "right. The advantages of a group add up to 0."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _objective(
    new: Tensor,
    old: Tensor,
    advantages: Tensor,
    low: float,
    high: float,
    choose: Callable = lambda ratio, cut, a: min(ratio * a, cut * a),
    ratio: Callable = lambda new, old: math.exp(new - old),
    around: float = 1.0,
) -> list[float]:
    found = []
    for n, o, a in zip(new.tolist(), old.tolist(), advantages.tolist(), strict=True):
        r = ratio(n, o)
        found.append(choose(r, min(around + high, max(around - low, r)), a))
    return found


@checker
def clipped_objective(attempt: Attempt) -> str:
    """Write PPO's clipped objective of each token."""
    old = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.2, 0.2]).log()
    new = torch.tensor([0.9, 0.1, 0.9, 0.1, 0.2, 0.21]).log()
    advantages = torch.tensor([1.0, 1.0, -0.5, -0.5, 2.0, -1.0])
    cases = [
        (new, old, advantages, 0.2, 0.28),
        (_table(1, 8), _table(2, 8), _table(3, 8), 0.1, 0.4),
        (_table(4, 8), _table(5, 8), _table(6, 8), 0.3, 0.2),
    ]
    slips = [
        (
            lambda *c: _objective(*c, choose=lambda r, cut, a: cut * a),
            "the clipped form alone. A token that moved in the wrong direction beyond the clip"
            " would have no gradient and never come back: take the smaller of both forms.",
        ),
        (
            lambda *c: _objective(*c, choose=lambda r, cut, a: r * a),
            "nothing is clipped: this is ratio times advantage.",
        ),
        (
            lambda *c: _objective(*c, choose=lambda r, cut, a: max(r * a, cut * a)),
            "the larger of both forms. The smaller one is meant: nothing can be gained beyond"
            " the clip.",
        ),
        (
            lambda *c: _objective(*c, choose=lambda r, cut, a: min(r, cut) * a),
            "the smaller *ratio* is taken and then multiplied. With an advantage below 0 the order"
            " turns round: multiply first, then take the smaller.",
        ),
        (
            lambda *c: _objective(*c, choose=lambda r, cut, a: -min(r * a, cut * a)),
            "the sign is turned: this is the loss. The objective is what a step makes large.",
        ),
        (
            lambda *c: _objective(*c, ratio=lambda n, o: math.exp(o - n)),
            "the ratio is upside down: it is new over old.",
        ),
        (
            lambda *c: _objective(*c, ratio=lambda n, o: n - o),
            "this is the logarithm of the ratio. The ratio is its exponential.",
        ),
        (
            lambda *c: _objective(*c, ratio=lambda n, o: n / o),
            "these are quotients of log-probabilities. The ratio of probabilities is the"
            " exponential of a difference.",
        ),
        (
            lambda n, o, a, low, high: _objective(n, o, a, low, low),
            "`high` is not used: the upper end is 1 + high.",
        ),
        (
            lambda n, o, a, low, high: _objective(n, o, a, high, high),
            "`low` is not used: the lower end is 1 - low.",
        ),
        (
            lambda n, o, a, low, high: _objective(n, o, a, high, low),
            "`low` and `high` are exchanged.",
        ),
        (
            lambda n, o, a, low, high: _objective(n, o, a, -low, high, around=0.0),
            "the ratio is clipped to `low` and `high` themselves. They are distances from 1: the"
            " bounds are 1 - low and 1 + high.",
        ),
        (
            lambda n, o, a, low, high: _objective(n, o, a, math.inf, high),
            "nothing is clipped from below: a ratio under 1 - low becomes 1 - low.",
        ),
        (
            lambda n, o, a, low, high: _objective(n, o, a, low, math.inf),
            "nothing is clipped from above: a ratio over 1 + high becomes 1 + high.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.ndim == 0:
            raise Wrong("one number came back. Give the objective of each token: no mean, no sum.")
        return got

    def called(new: Tensor, old: Tensor, advantages: Tensor, low: float, high: float) -> str:
        return f"the objective of {len(new)} tokens with the clip {1 - low:g} to {1 + high:g}"

    judge_by_slips(attempt, cases, _objective, slips, called, plain=plain)
    table = new.clone().requires_grad_()
    got = torch.as_tensor(attempt(table, old, advantages, 0.2, 0.28))
    if not got.requires_grad:
        raise Wrong("the numbers are right, but no gradient flows back to the log-probabilities.")
    return "right, and a gradient flows wherever a move is not yet paid for."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _k3(p: Tensor, q: Tensor, value: Callable | None = None, slope: Callable | None = None):
    value = value or (lambda d: math.exp(d) - d - 1)
    slope = slope or (lambda d: 1 - math.exp(d))
    distances = [b - a for a, b in zip(p.tolist(), q.tolist(), strict=True)]
    return [value(d) for d in distances], [slope(d) for d in distances]


def _with_quotients(p: Tensor, q: Tensor) -> tuple[list[float], list[float]]:
    """k3 with log q / log p in place of log r."""
    logs, slopes = (q / p).tolist(), _k3(p, q)[1]
    return [1 - slope - 1 - log for slope, log in zip(slopes, logs, strict=True)], slopes


@checker
def k3_and_gradient(attempt: Attempt) -> str:
    """Give k3 and its derivative by the policy's log-probability."""
    cases = [
        (torch.tensor([0.5, 0.5, 0.2]).log(), torch.tensor([0.25, 0.5, 0.4]).log()),
        (_table(1, 6) - 2, _table(2, 6) - 2),
    ]
    slips = [
        (
            lambda p, q: _k3(p, q, slope=lambda d: math.exp(d) - 1),
            "the sign of the gradient is wrong: d/dx of exp(q - x) is -exp(q - x).",
        ),
        (
            lambda p, q: _k3(p, q, slope=lambda d: -math.exp(d)),
            "the gradient lacks the 1: -log r = x - q has one too.",
        ),
        (
            lambda p, q: _k3(p, q, slope=lambda d: -d),
            "this is the gradient that one would *want*, log(policy / reference), which is k2's."
            " k3's is another: that is the point of the exercise.",
        ),
        (lambda p, q: _k3(q, p), "r is upside down: in k3 it is reference / policy."),
        (
            lambda p, q: _k3(q, p, slope=lambda d: 1 - math.exp(-d)),
            "r is upside down in the value: in k3 it is reference / policy.",
        ),
        (
            lambda p, q: _k3(p, q, value=lambda d: math.exp(d) - d),
            "the value lacks the -1: where policy and reference agree it must be 0.",
        ),
        (
            lambda p, q: _k3(p, q, value=lambda d: math.exp(d) + d - 1),
            "the sign of log r is wrong: the value is r - log r - 1.",
        ),
        (
            lambda p, q: _k3(p, q, slope=lambda d: 1 - math.exp(-d)),
            "this is the derivative by r. By log pi the inner derivative comes on top: dr/dx = -r.",
        ),
        (
            lambda p, q: _k3(p, q, slope=lambda d: 1.0),
            "the gradient is k1's: that of -log r alone. r has one too.",
        ),
        (
            lambda p, q: _k3(p, q, slope=lambda d: (1 - math.exp(d)) / len(p)),
            "the gradient is that of the mean over the tokens. Each token has its own: do not"
            " divide by their number.",
        ),
        (
            _with_quotients,
            "log r is no quotient of log-probabilities: the log of a quotient is a difference.",
        ),
        (
            lambda p, q: _k3(p, q, value=lambda d: -d, slope=lambda d: 1.0),
            "this is k1, -log r, and its gradient.",
        ),
        (
            lambda p, q: _k3(p, q, value=lambda d: d * d / 2, slope=lambda d: -d),
            "this is k2, half of (log r) squared, and its gradient.",
        ),
        (lambda p, q: _k3(p, q, value=lambda d: -d), "the value is k1, -log r."),
        (
            lambda p, q: _k3(p, q, value=lambda d: d * d / 2),
            "the value is k2, half of (log r) squared.",
        ),
        (
            lambda p, q: _k3(p, q)[::-1],
            "return k3 first and then its gradient. Yours are the other way round.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) or not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return two tensors, k3 and its gradient; got {describe(got)}")
        if any(isinstance(part, Tensor) and part.ndim == 0 for part in got):
            raise Wrong("one number came back. Give k3 and the gradient of each token: no mean.")
        return tuple(torch.as_tensor(part).detach().tolist() for part in got)

    def called(p: Tensor, q: Tensor) -> str:
        return f"k3 and its gradient for {len(p)} tokens"

    judge_by_slips(attempt, cases, _k3, slips, called, plain=plain)
    return "right. It is at most 1 on one side, and without bound on the other."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _loss(
    gains: Tensor,
    mask: Tensor,
    how: str,
    longest: int,
    divide: Callable[[int], float] | None = None,
    sign: float = -1.0,
) -> float:
    rows = [
        [g for g, real in zip(*row, strict=True) if real]
        for row in zip(gains.tolist(), mask.tolist(), strict=True)
    ]
    sums = [math.fsum(row) for row in rows]
    if how == "token":
        return sign * math.fsum(sums) / sum(map(len, rows))
    by = divide or (len if how == "sequence" else lambda row: longest)
    return sign * _mean([total / by(row) for total, row in zip(sums, rows, strict=True)])


@checker
def group_loss(attempt: Attempt) -> str:
    """Average what the tokens of a group gain, in three ways, to a loss."""
    tables = [((2, 1, 4), 6), ((3, 3), 10), ((1, 5, 2, 2), 5)]
    cases = [
        (_table(seed, len(lengths), max(lengths)), _mask(*lengths), how, longest)
        for seed, (lengths, longest) in enumerate(tables)
        for how in ("sequence", "token", "constant")
    ]

    def only(changed: str, **other: Any) -> Callable:
        return lambda g, m, how, n: _loss(g, m, how, n, **(other if how == changed else {}))

    def unmasked(g: Tensor, m: Tensor, how: str, n: int) -> float:
        return _loss(g, torch.ones_like(m), how, n)

    def half_masked(g: Tensor, m: Tensor, how: str, n: int) -> float:
        return _loss(g * m, torch.ones_like(m), how, n)

    def summed_padding(g: Tensor, m: Tensor, how: str, n: int) -> float:
        lengths = m.sum(1).tolist()
        sums = [math.fsum(row) for row in g.tolist()]
        if how == "token":
            return -math.fsum(sums) / sum(lengths)
        by = lengths if how == "sequence" else [n] * len(sums)
        return -_mean([total / length for total, length in zip(sums, by, strict=True)])

    def exchanged(g: Tensor, m: Tensor, how: str, n: int) -> float:
        other = {"sequence": "token", "token": "sequence"}
        return _loss(g, m, other.get(how, how), n)

    slips = [
        (
            lambda *c: _loss(*c, sign=1.0),
            "the sign: a loss is made small, and the gains should become large.",
        ),
        (unmasked, "padding is counted: only where the mask is True stands a token."),
        (
            half_masked,
            "the sums leave the padding out, but you divide by the width of the table. Divide by"
            " the number of tokens.",
        ),
        (
            summed_padding,
            "you divide by the number of real tokens, but padding is in the sums: multiply the"
            " gains by the mask first.",
        ),
        (exchanged, "`sequence` and `token` are exchanged."),
        *(
            (
                lambda g, m, how, n, named=named: (
                    half_masked(g, m, how, n) if how == named else _loss(g, m, how, n)
                ),
                f"`{named}` divides by the width of the table, padding and all. Divide by the"
                " number of real tokens.",
            )
            for named in ("sequence", "token")
        ),
        (
            lambda g, m, how, n: (
                _loss(g, m, "sequence", n) / n if how == "constant" else _loss(g, m, how, n)
            ),
            "`constant` divides twice, by each answer's length and by `longest`. Only `longest` is"
            " meant.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, "token" if how == "sequence" else how, n),
            "`sequence` gives what `token` should: first a mean for each answer, then the mean of"
            " these.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, "sequence" if how == "token" else how, n),
            "`token` gives what `sequence` should: one sum over all tokens of all answers, divided"
            " once by their number.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, how, g.shape[1] if how == "constant" else n),
            "`constant` divides by the longest answer of this group. The constant is `longest`,"
            " the same for every group.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, how, n) * (len(g) if how == "constant" else 1),
            "`constant` gives a sum over the answers. Divide by their number too.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, how, n) * (len(g) if how == "sequence" else 1),
            "`sequence` gives a sum over the answers. Take the mean.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, how, n) * (len(g) if how != "token" else 1),
            "`sequence` and `constant` give sums over the answers. Take the mean.",
        ),
        (
            only("constant", divide=lambda row: 1),
            "`constant` divides by nothing: divide each answer's sum by `longest`.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, "sequence", n),
            "all three ways give the mean over answers: `how` is not read.",
        ),
        (
            lambda g, m, how, n: _loss(g, m, "token", n),
            "all three ways give the mean over tokens: `how` is not read.",
        ),
    ]

    def called(gains: Tensor, mask: Tensor, how: str, longest: int) -> str:
        lengths = ", ".join(map(str, mask.sum(-1).tolist()))
        return f"the loss {how!r} of answers of {lengths} tokens, longest {longest}"

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.ndim:
            raise Wrong(
                f"a loss is one number: take the mean over the answers; got {describe(got)}"
            )
        return got

    judge_by_slips(attempt, cases, _loss, slips, called, plain=plain)
    gains = _table(9, 2, 3).requires_grad_()
    if not torch.as_tensor(attempt(gains, _mask(3, 2), "token", 5)).requires_grad:
        raise Wrong("the numbers are right, but no gradient flows back to the gains.")
    return "right, three ways. What a token of a long answer weighs is the difference."


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _price(length: int, longest: int, buffer: int) -> float:
    if length <= longest - buffer:
        return 0.0
    return -1.0 if length >= longest else (longest - buffer - length) / buffer


@checker
def overlong_price(attempt: Attempt) -> str:
    """DAPO's soft punishment of one answer for its length."""
    cases = [
        (n, longest, buffer)
        for longest, buffer in ((10, 4), (72, 12), (20, 20))
        for n in (1, longest - buffer, longest - buffer + 1, longest - 1, longest, longest + 5)
    ]
    slips = [
        (
            lambda n, longest, buffer: -_price(n, longest, buffer),
            "the sign: a punishment is below 0.",
        ),
        (
            lambda n, longest, buffer: min(0.0, (longest - buffer - n) / buffer),
            "beyond the longest length it goes on falling: it ends at -1.",
        ),
        (
            lambda n, longest, buffer: max(-1.0, (longest - buffer - n) / buffer),
            "short answers are paid for being short: it begins at 0.",
        ),
        (
            lambda n, longest, buffer: -1.0 if n >= longest else 0.0,
            "this is all or nothing. In the buffer the punishment grows evenly.",
        ),
        (
            lambda n, longest, buffer: -1.0 if n > longest - buffer else 0.0,
            "the whole buffer costs 1. In the buffer the punishment grows evenly.",
        ),
        (
            lambda n, longest, buffer: -min(1.0, n / longest),
            "it grows from the first token on. Up to `longest - buffer` length is free.",
        ),
        (
            lambda n, longest, buffer: max(-1.0, min(0.0, (longest - n) / buffer)),
            "it begins where it should end: at `longest - buffer` tokens, not at `longest`.",
        ),
        (
            lambda n, longest, buffer: -max(0, min(buffer, n - longest + buffer)),
            "this counts tokens. Divide by the buffer, so that it ends at -1.",
        ),
        (
            lambda n, longest, buffer: -max(0.0, min(1.0, (n - longest + buffer) / longest)),
            "divide by the buffer, not by the longest length: it should end at -1.",
        ),
        (
            lambda n, longest, buffer: -1.0 if n > longest else 0.0,
            "this is all or nothing. In the buffer the punishment grows evenly.",
        ),
        (
            lambda n, longest, buffer: -1.0 - _price(n, longest, buffer),
            "it is turned round: short answers pay 1 and the longest nothing. Up to"
            " `longest - buffer` it is 0.",
        ),
        (
            lambda n, longest, buffer: -(_price(n, longest, buffer) ** 2),
            "the share is squared. It should grow evenly: along a straight line.",
        ),
        (
            lambda n, longest, buffer: -max(0.0, min(1.0, (n - buffer) / (longest - buffer))),
            "it begins at `buffer` tokens. The buffer lies at the end: begin at"
            " `longest - buffer`.",
        ),
        *(
            (
                lambda n, longest, buffer, end=end: (
                    0.0 if n >= longest + end else _price(n, longest, buffer)
                ),
                "an answer of `longest` tokens or more pays nothing. It pays the whole price, -1.",
            )
            for end in (0, 1)
        ),
    ]

    def called(length: int, longest: int, buffer: int) -> str:
        return f"the price of {length} tokens, longest {longest}, buffer {buffer}"

    judge_by_slips(attempt, cases, _price, slips, called)
    return "right: free at first, then evenly down to -1."


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _ratios(
    new: Tensor,
    old: Tensor,
    mask: Tensor,
    whole: Callable[[list[float]], float] = lambda logs: math.exp(_mean(logs)),
) -> list[float]:
    rows = []
    for difference, real in zip((new - old).tolist(), mask.tolist(), strict=True):
        rows.append(whole([d for d, here in zip(difference, real, strict=True) if here]))
    return rows


def _mean_of_ratios(logs: list[float]) -> float:
    return _mean([math.exp(log) for log in logs])


@checker
def sequence_ratio(attempt: Attempt) -> str:
    """GSPO's ratio of each whole answer."""
    cases = [
        (
            torch.tensor([[0.8, 0.2], [0.5, 0.9]]).log(),
            torch.tensor([[0.5, 0.5], [0.25, 0.1]]).log(),
            _mask(2, 1),
        ),
        (_table(1, 3, 5) / 2, _table(2, 3, 5) / 2, _mask(5, 2, 4)),
    ]
    slips = [
        (
            lambda *c: _ratios(*c, whole=lambda logs: math.exp(math.fsum(logs))),
            "this is the ratio of the whole probabilities. GSPO takes the root of degree `length`:"
            " the mean of the logs, not their sum, else long answers always leave the clip.",
        ),
        (
            lambda *c: _ratios(*c, whole=_mean_of_ratios),
            "this is the mean of the tokens' ratios. The geometric mean is meant: average the"
            " logs, then exp.",
        ),
        (
            lambda *c: _ratios(*c, whole=_mean),
            "this is the logarithm. The ratio is its exponential.",
        ),
        (
            lambda n, o, m: _ratios(n, o, torch.ones_like(m)),
            "padding is averaged in: only where the mask is True stands a token.",
        ),
        (
            lambda n, o, m: _ratios(n * m, o * m, torch.ones_like(m)),
            "the sums leave the padding out, but you divide by the width of the table. Divide by"
            " the length of each answer.",
        ),
        (lambda n, o, m: _ratios(o, n, m), "the ratio is upside down: it is new over old."),
        (
            lambda n, o, m: [1 / len(o[0]) * x for x in _ratios(n, o, m)],
            "the ratio is divided by the length. The root is meant: divide inside the exponential.",
        ),
        (
            lambda n, o, m: _ratios(n, o, m, lambda logs: math.exp(math.fsum(logs)) / len(logs)),
            "the ratio is divided by the length. The root is meant: divide inside the exponential.",
        ),
        (
            lambda n, o, m: (((n - o).double().sum(1) / m.sum(1)).exp()).tolist(),
            "you divide by the number of real tokens, but padding is in the sums: multiply the"
            " differences by the mask first.",
        ),
        (
            lambda n, o, m: _ratios(n / o, torch.zeros_like(o), m),
            "these are quotients of log-probabilities. The log of a ratio is their difference.",
        ),
        (
            lambda n, o, m: ((n.exp() * m).sum(1) / (o.exp() * m).sum(1)).tolist(),
            "probabilities of tokens are averaged. The probability of an answer is their product:"
            " add the logs.",
        ),
        (
            lambda n, o, m: _ratios(n * m, o * m, torch.ones_like(m), _mean_of_ratios),
            "padding is averaged in as ratios of 1, and this is a mean of ratios: average the logs"
            " of the real tokens, then exp.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.ndim == 2 and got.shape[1] == 1:
            return got[:, 0]
        if isinstance(got, Tensor) and got.ndim != 1:
            raise Wrong(
                "one ratio for each answer is asked for, not one for all and not one for each"
                f" token; got {describe(got)}"
            )
        return got

    def called(new: Tensor, old: Tensor, mask: Tensor) -> str:
        return f"the ratios of answers of {', '.join(map(str, mask.sum(-1).tolist()))} tokens"

    judge_by_slips(attempt, cases, _ratios, slips, called, plain=plain)
    table = _table(7, 2, 3).requires_grad_()
    if not torch.as_tensor(attempt(table, _table(8, 2, 3), _mask(3, 2))).requires_grad:
        raise Wrong("the numbers are right, but no gradient flows back to the log-probabilities.")
    return "right: one ratio for each answer, whatever its length."


# Exercise 7
# --------------------------------------------------------------------------------------------------


def _passes(text: str, answer: int) -> bool:
    number = ""
    for word in re.split(r"[^0-9-]+", text):
        for match in re.finditer("-?[0-9]+", word):
            number = match[0]
    return number != "" and int(number) == answer


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


@checker
def passes(attempt: Attempt) -> str:
    """Verify an answer by its last number, without a hole."""
    cases = [
        ("7+5=12, then 12-3=9, so the answer is 9", 9),
        ("I think 9.", 9),
        ("so the answer is 19", 9),
        ("9, or 12, or 4", 9),
        ("it is 9, no, 8", 9),
        ("no idea", 9),
        ("", 0),
        ("I think 12", 1),
        ("是12", 12),
        ("7-3=4 and 4-9=-5", -5),
        ("7-3=4 and 4-9=-5", 5),
        ("the answer is 09", 9),
        ("<think>9</think><answer>7</answer>", 9),
        ("0", 0),
    ]
    slips = [
        (
            lambda text, answer: str(answer) in text,
            "any text with these digits in it passes, even 19 for 9. That is the hole.",
        ),
        (
            lambda text, answer: answer in _numbers(text),
            "a text that names many numbers passes if one of them is right. That is a hole as well:"
            " only the last number counts.",
        ),
        (
            lambda text, answer: any(int(n) == answer for n in re.findall(r"-?\d+", text)),
            "a text that names many numbers passes if one of them is right. That is a hole as well:"
            " only the last number counts.",
        ),
        (
            lambda text, answer: text.endswith(str(answer)),
            "19 ends in 9, and a full stop may follow: read the last number, do not compare ends.",
        ),
        (
            lambda text, answer: text.rstrip(".").endswith(str(answer)),
            "19 ends in 9: read the last number as a whole, do not compare ends.",
        ),
        (
            lambda text, answer: bool(_numbers(text)) and _numbers(text)[-1] == answer,
            "a minus sign in front of the last number is not read: -5 is not 5.",
        ),
        (
            lambda text, answer: bool(_numbers(text)) and _numbers(text)[0] == answer,
            "the first number is read. The answer is the last one.",
        ),
        (
            lambda text, answer: not re.findall(r"-?\d+", text) or _passes(text, answer),
            "a text without a number passes. Whoever says nothing has said nothing right.",
        ),
        (
            lambda text, answer: [str(answer)] == re.findall(r"-?\d+", text)[-1:],
            "09 is 9: compare numbers, not their digits.",
        ),
        (lambda text, answer: not _passes(text, answer), "the other way round: True means right."),
        (
            lambda text, answer: (
                re.fullmatch(r"-?\d+", text.split()[-1:][0] if text else "") is not None
                and int(text.split()[-1]) == answer
            ),
            "only a last word that is a number is read. A full stop may follow it, or a tag, or it"
            " may touch a letter: look for the number inside of the text.",
        ),
        (
            lambda text, answer: re.findall(r"-?\d", text)[-1:] == [str(answer)],
            "single digits are read: 19 is one number, not a 1 and a 9.",
        ),
        (
            lambda text, answer: _passes(text, answer) or _passes(text, -answer),
            "the sign is not compared: -5 is not 5.",
        ),
        (
            lambda text, answer: max(map(int, re.findall(r"-?\d+", text)), default=None) == answer,
            "the largest number is read. The answer is the last one.",
        ),
        (
            lambda text, answer: int("".join(re.findall(r"\d", text)) or -1) == answer,
            "all digits of the text are read as one number. The last number alone counts.",
        ),
    ]

    def plain(got: Any) -> Any:
        if not isinstance(got, bool):
            raise Wrong(f"return True or False; got {describe(got)}")
        return got

    def called(text: str, answer: int) -> str:
        return f"passes({text!r}, {answer})"

    judge_by_slips(attempt, cases, _passes, slips, called, plain=plain)
    return "right, and neither silence nor a list of numbers gets through."


# Exercise 8
# --------------------------------------------------------------------------------------------------


WOULD_SHOW = {
    "advantage sign": "the policy would be pushed away from what earns, and the reward would fall",
    "reward with a hole": "more would be paid for accuracy than the watched accuracy, which nobody"
    " pays for",
    "length bias": "inside of groups, longer answers would earn more even at the end, when all of"
    " them are long",
    "entropy collapse": "almost no entropy would be left, and more and more groups would be equal",
    "prompt learnt": "the loss would read more tokens per answer than were written, and as many as"
    " a question has",
    "stale log-probs": "sampling and loss would agree at step 1, when there is no older model yet,"
    " and no more after it",
}


@checker
def name_fault(attempt: Attempt) -> str:
    """Say of each run of the log what is broken, and which evidence shows it."""
    for letter, truth in rl_lab_letters().items():
        _judge_fault(letter, truth, *_fault_and_evidence(letter, attempt(letter)))
    return "six faults found, each by what only that fault shows."


def _fault_and_evidence(letter: str, got: Any) -> tuple[str, str]:
    """Check that an answer is a known fault and a known piece of evidence."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"run {letter}: return two texts, (fault, evidence), not {describe(got)}.")
    fault, evidence = got
    if fault in list(RL_EVIDENCE) and evidence in list(RL_SIGNS):
        raise Wrong(f"run {letter}: the fault comes first, the evidence second.")
    for what, word, known in (("fault", fault, RL_SIGNS), ("evidence", evidence, RL_EVIDENCE)):
        if word not in list(known):
            raise Wrong(f"run {letter}: {word!r} is no {what}; there are {', '.join(known)}.")
    return fault, evidence


def _judge_fault(letter: str, truth: str, fault: str, evidence: str) -> None:
    """Refuse a wrong fault by what it would show, and evidence that proves nothing."""
    if fault != truth:
        raise Wrong(
            f"run {letter} is not {fault!r}: {WOULD_SHOW[fault]}. Look at run {letter} again: is"
            " it so?"
        )
    if evidence not in RL_SIGNS.values():
        raise Wrong(
            f"run {letter}: the diagnosis is right, the evidence proves nothing. The healthy run"
            f" shows it too: {RL_EVIDENCE[evidence]}. What is there in run {letter} alone?"
        )
    if evidence != RL_SIGNS[truth]:
        raise Wrong(
            f"run {letter}: the diagnosis is right, the reason is not: run {letter} does not show"
            f" that {RL_EVIDENCE[evidence]}."
        )


# Exercise 9
# --------------------------------------------------------------------------------------------------

# (answer, truth, score), by hand; none stands at the border of the tolerance
SCORED_PROBABILITIES = (
    ("0.3125", "0.3125", 1.0),
    ("5/16", "0.3125", 1.0),
    (" 0.3125 ", "0.3125", 1.0),
    ("0.31254", "0.3125", 1.0),
    ("0.312599995", "0.3125", 1.0),
    ("0.312600005", "0.3125", 0.1),
    ("0.3127", "0.3125", 0.1),
    ("0.319", "0.3125", 0.1),
    ("0.25", "1/4", 1.0),
    ("0", "0.3125", 0.1),
    ("0.3", "0.3125", 0.1),
    ("1", "0.125", 0.1),
    ("0", "0.00003", 1.0),
    ("1", "1", 1.0),
    ("1.0", "1", 1.0),
    ("1.5", "0.5", 0.0),
    ("-0.5", "0.5", 0.0),
    ("31.25", "0.3125", 0.0),
    ("0.31250", "1/8", 0.1),
    ("a half, 0.5", "0.5", 0.0),
    ("0.5 or 0.25", "0.5", 0.0),
    ("nan", "0.5", 0.0),
    ("inf", "0.5", 0.0),
    ("", "0.5", 0.0),
    ("1/0", "0.5", 0.0),
    (None, "0.5", 0.0),
)


def _scored(answer: str | None, truth: str) -> float:
    """The score by hand."""
    return next(score for *case, score in SCORED_PROBABILITIES if case == [answer, truth])


def _score_for_prefix(answer: str | None, truth: str) -> float:
    """As coin_flip pays it: the characters that agree, as a share of the shorter text."""
    if answer is None or _scored(answer, truth) in (0.0, 1.0):
        return _scored(answer, truth)
    pairs = list(zip(answer.strip(), truth, strict=False))
    agree = next((i for i, (one, other) in enumerate(pairs) if one != other), len(pairs))
    return agree / len(pairs)


def _score_if_within(width: float) -> Callable:
    def score(answer: str | None, truth: str) -> float:
        if _scored(answer, truth) == 0.0:
            return 0.0
        return 1.0 if abs(Fraction(answer) - Fraction(truth)) <= width else 0.1

    return score


def _score_with_nan(answer: str | None, truth: str) -> float:
    return 0.1 if answer == "nan" else _scored(answer, truth)


def _score_of_digits(answer: str | None, truth: str) -> float:
    """Cut out all that can't stand in a number, and score the rest."""
    try:
        value = Fraction(re.sub(r"[^0-9./]", "", answer or ""))
    except (ValueError, ZeroDivisionError):
        return 0.0
    near = abs(value - Fraction(truth)) <= Fraction(1, 10_000)
    return (1.0 if near else 0.1) if value <= 1 else 0.0


@checker
def probability_score(attempt: Attempt) -> str:
    """Score a probability by its value, without a hole."""
    outside, slash = ("1.5", "-0.5", "31.25"), "/"
    slips = [
        (
            _score_for_prefix,
            'characters that agree are paid, so that "0" gets full marks: compare values.',
        ),
        (
            lambda a, t: 0.1 if _scored(a, t) == 1.0 and a != t else _scored(a, t),
            'equal values score 1 however they are written, as texts or not: "5/16" is 0.3125.',
        ),
        (
            lambda a, t: 1.0 if a and t in a else 0.1 if _scored(a, t) else 0.0,
            "the truth may stand somewhere in the answer's characters and still not be its value:"
            " read the whole answer as one number.",
        ),
        (
            lambda a, t: 0.1 if a in outside else _scored(a, t),
            "1.5 and -0.5 are numbers, but no probabilities: outside of 0 to 1 they score 0.",
        ),
        (
            lambda a, t: float(_scored(a, t) == 1.0),
            "another probability than the right one scores 0.1, not 0.",
        ),
        (
            lambda a, t: 0.0 if slash in str(a) else _scored(a, t),
            'an answer like "5/16" is not read. A fraction is a number too, which `float` does not'
            " know.",
        ),
        (_score_if_within(0), "a value within 0.0001 of the truth is right too, not it alone."),
        (_score_if_within(0.01), "within 0.01 is too wide: the tolerance is 0.0001."),
        (_score_if_within(0.001), "within 0.001 is too wide: the tolerance is 0.0001."),
        (_score_with_nan, '"nan" is no number from 0 to 1, though no comparison says so.'),
        (
            _score_of_digits,
            "what does not belong to a number is cut out before it is read, a minus sign too. An"
            " answer that is not a number scores 0.",
        ),
        (
            lambda a, t: (
                1.0 if t == "0.5" and a in ("a half, 0.5", "0.5 or 0.25") else _scored(a, t)
            ),
            "an answer is one number. One that only has a number in it scores 0.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, bool):
            raise Wrong(f"return a score, 1, 0.1 or 0, not a truth value; got {got}")
        return got

    def called(answer: str | None, truth: str) -> str:
        return f"the score of {answer!r} where {truth} is right"

    cases = [(answer, truth) for answer, truth, _ in SCORED_PROBABILITIES]
    judge_by_slips(attempt, cases, _scored, slips, called, plain=plain)
    if attempt("1e-1", "0.1") != 0:
        raise Wrong(
            'a number with an exponent, such as "1e-1", scores 0: a dozen characters can name a'
            " number of a million digits, and reading that takes seconds."
        )
    return "no constant answer earns more than 0.1, unless it is right."
