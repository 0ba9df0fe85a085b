"""The checkers of lesson 24 accept right answers and name typical slips."""

import math
import re
from fractions import Fraction

import pytest
import torch

from course_lib.alignment import policy_loss
from course_lib.alignment.grpo import group_advantages
from course_lib.experiments.grpo_changes import LEAKY_VERIFIER
from course_lib.experiments.rl_failure_runs import RL_SIGNS, rl_lab_letters
from course_lib.lab.checks import grpo as check
from course_lib.lab.solutions import grpo as solutions
from course_lib.text.problems import ChainProblem
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


def skeleton_5(a, b, c, d, e): ...


def advantages(rewards, size, less=lambda g: g.mean(-1, keepdim=True), by=lambda g: 1.0):
    groups = rewards.view(-1, size)
    return ((groups - less(groups)) / by(groups)).flatten()


def advantages_by_loop(rewards, size):
    found = []
    for i, reward in enumerate(rewards.tolist()):
        start = i // size * size
        found.append(reward - sum(rewards[start : start + size].tolist()) / size)
    return found


def objective(new, old, a, low, high, choose=torch.minimum, turn=1.0):
    ratio = (turn * (new - old)).exp()
    return choose(ratio * a, ratio.clamp(1 - low, 1 + high) * a)


def objective_by_sign(new, old, a, low, high):
    ratio = (new - old).exp()
    return a * torch.where(a > 0, ratio.clamp(max=1 + high), ratio.clamp(min=1 - low))


def objective_by_library(new, old, a, low, high):
    return policy_loss.clipped_surrogate(new[None], old[None], a[None], low, high)[0]


def k3(p, q, value=lambda d: d.exp() - d - 1, slope=lambda d: 1 - d.exp()):
    return value(q - p), slope(q - p)


def k3_by_autograd(p, q):
    table = p.clone().requires_grad_()
    value = policy_loss.k3_kl_divergence(table[None], q[None])[0]
    return value.detach(), torch.autograd.grad(value.sum(), table)[0]


def loss(gains, mask, how, longest, sign=-1.0, constant=None):
    sums = torch.where(mask, gains, 0.0).sum(1)
    if how == "token":
        return sign * sums.sum() / mask.sum()
    by = mask.sum(1) if how == "sequence" else (constant or longest)
    return sign * (sums / by).mean()


def loss_by_library(gains, mask, how, longest):
    average = float(longest) if how == "constant" else how
    return -policy_loss.average_token_losses(gains, mask, average)


def price(n, longest, buffer):
    return policy_loss.soft_overlong_punishment(torch.tensor([n]), longest, buffer).item()


def ratios(new, old, mask, finish=torch.exp, by=lambda mask: mask.sum(1)):
    return finish(torch.where(mask, new - old, 0.0).sum(1) / by(mask))


def last(text, answer, pattern=r"-?\d+", place=-1):
    numbers = re.findall(pattern, text)
    return bool(numbers) and int(numbers[place]) == answer


def passes_by_search(text, answer):
    match = re.search(r"(-?[0-9]+)[^0-9]*$", text)
    return match is not None and int(match[1]) == answer


def named(fault=None, instead=None):
    """Name every fault of the lab with its sign; one of them otherwise."""
    letters = rl_lab_letters()
    return lambda run: instead if letters[run] == fault else (letters[run], RL_SIGNS[letters[run]])


def score(answer, truth, width=1.00001e-4, sound=lambda value: 0 <= value <= 1):
    def value_of(text):
        above, _, below = str(text).partition("/")
        return float(above) / float(below or "1")

    if "e" in str(answer):  # an exponent, or None
        return 0
    try:
        got = value_of(answer)
    except (ValueError, ZeroDivisionError):
        return 0
    if not sound(got) or not math.isfinite(got):
        return 0
    return 1 if abs(got - value_of(truth)) <= width else 0.1


def score_by_prefix(answer, truth):
    if (full := score(answer, truth)) in (0, 1):
        return full
    pairs = list(zip(answer, truth, strict=False))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs)) / len(pairs)


CASES = {
    check.advantages_of_groups: Case(
        solution=solutions.advantages_of_groups_solution,
        skeleton=skeleton_2,
        also_right=[advantages, advantages_by_loop, group_advantages],
        wrong=[
            (lambda r, n: r - r.mean(), "the mean is that of all rewards"),
            (lambda r, n: advantages(r, n, by=lambda g: g.std(-1, keepdim=True)), "you divide by"),
            (
                lambda r, n: advantages(r, n, by=lambda g: g.std(-1, correction=0, keepdim=True)),
                "you divide by",
            ),
            (lambda r, n: advantages(r, n) * n / (n - 1), "the mean of the *others*"),
            (lambda r, n: -advantages(r, n), "the other way round"),
            (lambda r, n: advantages(r, n, less=lambda g: g[:, :1]), "the first reward"),
            (
                lambda r, n: advantages(r, n, less=lambda g: g.amax(-1, keepdim=True)),
                "the best reward",
            ),
            (lambda r, n: r, "nothing is compared"),
            (
                lambda r, n: (r.view(n, -1) - r.view(n, -1).mean(0)).flatten(),
                "the groups are taken apart",
            ),
            (
                lambda r, n: advantages(r, n, less=lambda g: g.mean(0)),
                "the mean runs over the questions",
            ),
            (lambda r, n: advantages(r, n).view(-1, n), "flatten it"),
        ],
    ),
    check.clipped_objective: Case(
        solution=solutions.clipped_objective_solution,
        skeleton=skeleton_5,
        also_right=[objective, objective_by_sign, objective_by_library],
        wrong=[
            (lambda *c: objective(*c, choose=lambda plain, cut: cut), "the clipped form alone"),
            (lambda *c: objective(*c, choose=lambda plain, cut: plain), "nothing is clipped"),
            (lambda *c: objective(*c, choose=torch.maximum), "the larger of both forms"),
            (
                lambda n, o, a, lo, hi: (
                    torch.minimum((n - o).exp(), (n - o).exp().clamp(1 - lo, 1 + hi)) * a
                ),
                "the smaller *ratio*",
            ),
            (lambda *c: -objective(*c), "this is the loss"),
            (lambda *c: objective(*c, turn=-1.0), "upside down"),
            (lambda n, o, a, lo, hi: objective(n, o, a, lo, lo), "`high` is not used"),
            (lambda n, o, a, lo, hi: objective(n, o, a, hi, hi), "`low` is not used"),
            (lambda n, o, a, lo, hi: objective(n, o, a, hi, lo), "are exchanged"),
            (
                lambda n, o, a, lo, hi: torch.minimum(
                    (n - o) * a, (n - o).clamp(1 - lo, 1 + hi) * a
                ),
                "the logarithm of the ratio",
            ),
            (
                lambda n, o, a, lo, hi: torch.minimum(n / o * a, (n / o).clamp(1 - lo, 1 + hi) * a),
                "quotients of log-probabilities",
            ),
            (lambda *c: objective(*c).detach(), "no gradient flows"),
        ],
    ),
    check.k3_and_gradient: Case(
        solution=solutions.k3_and_gradient_solution,
        skeleton=skeleton_2,
        also_right=[k3, k3_by_autograd],
        wrong=[
            (lambda p, q: k3(p, q, slope=lambda d: d.exp() - 1), "the sign of the gradient"),
            (lambda p, q: k3(p, q, slope=lambda d: -d.exp()), "lacks the 1"),
            (lambda p, q: k3(p, q, slope=lambda d: -d), "which is k2's"),
            (lambda p, q: k3(q, p), "upside down"),
            (lambda p, q: (k3(q, p)[0], k3(p, q)[1]), "upside down in the value"),
            (lambda p, q: k3(p, q, value=lambda d: d.exp() - d), "lacks the -1"),
            (lambda p, q: k3(p, q, value=lambda d: d.exp() + d - 1), "the sign of log r"),
            (lambda p, q: k3(p, q, value=lambda d: -d), "the value is k1"),
            (lambda p, q: k3(p, q, value=lambda d: d**2 / 2), "the value is k2"),
            (lambda p, q: k3(p, q)[::-1], "the other way round"),
            (lambda p, q: k3(p, q)[0], "return two tensors"),
        ],
    ),
    check.group_loss: Case(
        solution=solutions.group_loss_solution,
        skeleton=skeleton_4,
        also_right=[loss, loss_by_library],
        wrong=[
            (lambda *c: loss(*c, sign=1.0), "the sign"),
            (lambda g, m, h, n: loss(g, torch.ones_like(m), h, n), "padding is counted"),
            (lambda g, m, h, n: loss(g * m, torch.ones_like(m), h, n), "by the width of the table"),
            (
                lambda g, m, h, n: loss(g, m, "token" if h == "sequence" else h, n),
                "gives what `token` should",
            ),
            (
                lambda g, m, h, n: loss(g, m, "sequence" if h == "token" else h, n),
                "gives what `sequence` should",
            ),
            (lambda g, m, h, n: loss(g, m, h, n, constant=g.shape[1]), "the longest answer of"),
            (
                lambda g, m, h, n: loss(g, m, h, n) * (len(g) if h == "constant" else 1),
                "`constant` gives a sum",
            ),
            (
                lambda g, m, h, n: loss(g, m, h, n) * (len(g) if h == "sequence" else 1),
                "`sequence` gives a sum",
            ),
            (
                lambda g, m, h, n: loss(g, m, h, n) * (1 if h == "token" else len(g)),
                "`sequence` and `constant`",
            ),
            (lambda *c: loss(*c, constant=1), "divides by nothing"),
            (lambda g, m, h, n: loss(g, m, "sequence", n), "the mean over answers"),
            (lambda g, m, h, n: loss(g, m, "token", n), "the mean over tokens"),
            (lambda *c: loss(*c).detach(), "no gradient flows"),
        ],
    ),
    check.overlong_price: Case(
        solution=solutions.overlong_price_solution,
        skeleton=skeleton_3,
        also_right=[price, lambda n, m, b: max(-1.0, min(0.0, (m - b - n) / b))],
        wrong=[
            (lambda *c: -price(*c), "a punishment is below 0"),
            (lambda n, m, b: min(0, (m - b - n) / b), "it ends at -1"),
            (lambda n, m, b: max(-1, (m - b - n) / b), "it begins at 0"),
            (lambda n, m, b: -float(n >= m), "all or nothing"),
            (lambda n, m, b: -float(n > m - b), "the whole buffer"),
            (lambda n, m, b: -min(1, n / m), "from the first token on"),
            (lambda n, m, b: max(-1, min(0, (m - n) / b)), "begins where it should end"),
            (lambda n, m, b: -max(0, min(b, n - m + b)), "this counts tokens"),
            (lambda n, m, b: -max(0, min(1, (n - m + b) / m)), "not by the longest"),
        ],
    ),
    check.sequence_ratio: Case(
        solution=solutions.sequence_ratio_solution,
        skeleton=skeleton_3,
        also_right=[ratios, lambda n, o, m: policy_loss.sequence_log_ratios(n, o, m).exp()],
        wrong=[
            (lambda *c: ratios(*c, by=lambda mask: 1), "the mean of the logs"),
            (lambda n, o, m: ((n - o).exp() * m).sum(1) / m.sum(1), "the geometric mean"),
            (lambda *c: ratios(*c, finish=lambda x: x), "this is the logarithm"),
            (lambda n, o, m: (n - o).mean(1).exp(), "padding is averaged in"),
            (lambda *c: ratios(*c, by=lambda mask: mask.shape[1]), "by the width of the table"),
            (lambda n, o, m: ratios(o, n, m), "upside down"),
            (lambda *c: ratios(*c) / c[0].shape[1], "divide inside the exponential"),
            (lambda *c: ratios(*c).detach(), "no gradient flows"),
        ],
    ),
    check.passes: Case(
        solution=solutions.passes_solution,
        skeleton=skeleton_2,
        also_right=[last, passes_by_search],
        wrong=[
            (lambda text, answer: str(answer) in text, "even 19 for 9"),
            (
                lambda text, answer: answer in map(int, re.findall(r"\d+", text)),
                "names many numbers",
            ),
            (
                lambda text, answer: answer in map(int, re.findall(r"-?\d+", text)),
                "names many numbers",
            ),
            (lambda text, answer: text.endswith(str(answer)), "19 ends in 9"),
            (lambda text, answer: text.rstrip(".").endswith(str(answer)), "19 ends in 9"),
            (lambda text, answer: last(text, answer, r"\d+"), "a minus sign"),
            (lambda text, answer: last(text, answer, r"\d+", 0), "the first number"),
            (
                lambda text, answer: last(text, answer) or not re.search(r"\d", text),
                "a text without a number passes",
            ),
            (
                lambda text, answer: re.findall(r"-?\d+", text)[-1:] == [str(answer)],
                "compare numbers",
            ),
            (lambda text, answer: not last(text, answer), "True means right"),
            (lambda text, answer: int(last(text, answer)), "return True or False"),
        ],
    ),
    check.probability_score: Case(
        solution=solutions.probability_score_solution,
        skeleton=skeleton_2,
        also_right=[score],
        wrong=[
            (lambda a, t: 1.0 if a == t else score(a, t) and 0.1, "however they are written"),
            (lambda a, t: score(a, t, sound=lambda value: True), "no probabilities"),
            (lambda a, t: float(score(a, t) == 1), "0.1, not 0"),
            (lambda a, t: score(a, t, width=0), "within 0.0001"),
            (lambda a, t: score(a, t, width=1e-2), "too wide"),
            (lambda a, t: score(a, t) if "/" not in str(a) else 0.0, "A fraction is a number"),
            (lambda a, t: (Fraction(a), score(a, t))[1], "stopped with ValueError"),
            (score_by_prefix, "characters that agree"),
            (lambda a, t: score(a, t) == 1, "a truth value"),
        ],
    ),
    check.name_fault: Case(
        solution=named(),
        skeleton=lambda run: ...,
        also_right=[lambda run: list(named()(run))],
        wrong=[
            (
                named("advantage sign", ("length bias", "length always pays")),
                "would earn more even",
            ),
            (named("length bias", ("advantage sign", "reward falls")), "the reward would fall"),
            (
                named("reward with a hole", ("entropy collapse", "sure too soon")),
                "no entropy would",
            ),
            (named("prompt learnt", ("stale log-probs", "gap after step 1")), "agree at step 1"),
            (named("stale log-probs", ("prompt learnt", "too many tokens")), "than were written"),
            (
                named("entropy collapse", ("reward with a hole", "paid, not right")),
                "than the watched accuracy",
            ),
            (named("entropy collapse", ("entropy collapse", "entropy falls")), "shows it too"),
            (named("length bias", ("length bias", "too many tokens")), "the reason is not"),
            (named("length bias", ("length always pays", "length bias")), "the fault comes first"),
            (named("length bias", ("bug", "reward falls")), "is no fault"),
            (named("length bias", ("length bias", "it looks odd")), "is no evidence"),
            (named("length bias", "length bias"), "return two texts"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_exercises_are_what_the_library_does():
    """Where neither stands in a table above: the losses meet the verifier of the lesson."""
    chain = ChainProblem((7, 5, 3), (1, -1))
    for text, leaks in (("it is 19", True), ("4, 9, 12", True), ("so 9", True), ("so 8", False)):
        assert LEAKY_VERIFIER(chain, text) == float(leaks)
        assert solutions.passes_solution(text, 9) == (text == "so 9")


@pytest.mark.parametrize("how", ["sequence", "token", "constant"])
def test_all_ways_agree_on_equal_lengths(how):
    gains, mask = torch.randn(3, 4), torch.ones(3, 4, dtype=torch.bool)
    got = solutions.group_loss_solution(gains, mask, how, longest=4)
    torch.testing.assert_close(got, -gains.mean())
