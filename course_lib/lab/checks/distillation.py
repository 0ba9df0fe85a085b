"""Checkers of lesson 27. Truths come from sums over single tokens, draws tried one by one, and
texts followed or marked by hand."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import exp, log
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1: the loss
# --------------------------------------------------------------------------------------------------


def _softened(scores: Sequence[float], temperature: float) -> list[float]:
    raised = [exp(score / temperature) for score in scores]
    return [each / sum(raised) for each in raised]


def _divergence(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(p * log(p / q) for p, q in zip(first, second, strict=True))


def _soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Add up KL(teacher || student) token by token, in plain numbers."""
    rows = [
        _divergence(_softened(theirs, temperature), _softened(own, temperature))
        for own, theirs in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    return torch.tensor(temperature**2 * sum(rows) / len(rows))


def _logs(scores: Tensor, temperature: float) -> Tensor:
    return (scores.double() / temperature).log_softmax(-1)


def _loss_slips(student: Tensor, teacher: Tensor, temperature: float) -> list[tuple[Any, str]]:
    theirs, own = _logs(teacher, temperature), _logs(student, temperature)
    right = (theirs.exp() * (theirs - own)).sum(-1)
    plain, mine = _logs(teacher, 1.0), _logs(student, 1.0)
    square = temperature**2
    reverse = (own.exp() * (own - theirs)).sum(-1)
    crossed = -(theirs.exp() * own).sum(-1)
    half = (theirs.exp() * (theirs - mine)).sum(-1)
    other = (plain.exp() * (plain - own)).sum(-1)
    hot = (_logs(teacher, 1 / temperature), _logs(student, 1 / temperature))
    upside = (hot[0].exp() * (hot[0] - hot[1])).sum(-1)
    return [
        (
            right.mean(),
            "the factor is missing. Divide the scores by T and the gradient shrinks like 1/T^2:"
            " multiply the loss by the temperature squared.",
        ),
        (
            temperature * right.mean(),
            "the loss is multiplied by the temperature once. The gradient shrinks like 1/T^2: once"
            " for the scores of each of the two models.",
        ),
        (
            square * reverse.mean(),
            "this is KL(student || teacher). The teacher's probabilities weigh the sum: it is the"
            " teacher who says which tokens matter.",
        ),
        (
            square * crossed.mean(),
            "this is the cross-entropy. It has the same gradient, but it is not 0 where both agree:"
            " take the teacher's log-probabilities into the difference.",
        ),
        (
            square * right.sum(),
            "the positions are added up. Take their mean, so that a long answer does not count"
            " more.",
        ),
        (
            square * right.mean() / student.shape[-1],
            "the tokens are averaged as well. A KL divergence is a *sum* over the vocabulary, and"
            " then a mean over the positions.",
        ),
        (
            square * half.mean(),
            "only the teacher is softened. Both models' scores are divided by the temperature.",
        ),
        (
            square * other.mean(),
            "only the student is softened. Both models' scores are divided by the temperature.",
        ),
        (
            square * upside.mean(),
            "the scores are multiplied by the temperature. A high temperature makes probabilities"
            " even: divide.",
        ),
        (
            square * (plain.exp() * (plain - mine)).sum(-1).mean(),
            "the temperature softens nothing: it only multiplies the loss. Divide the scores of"
            " both models by it.",
        ),
        (-square * right.mean(), "the sign is turned. A KL divergence is never below 0."),
        (
            -square * reverse.mean(),
            "the student's probabilities weigh the sum. The teacher's do: the teacher says which"
            " tokens matter.",
        ),
        (square * right, "there is one number per position. Return their mean."),
        (
            right.mean() / square,
            "the loss is divided by the temperature squared. The gradient shrinks like 1/T^2, and"
            " the factor makes that good: multiply.",
        ),
    ]


@checker
def soft_target_loss(attempt: Attempt) -> str:
    """Give the loss of distillation with a temperature."""
    draw = torch.Generator().manual_seed(27)
    cases = [
        (2 * torch.randn(T, V, generator=draw), 2 * torch.randn(T, V, generator=draw), temperature)
        for T, V, temperature in ((3, 4, 2.0), (5, 3, 4.0), (2, 6, 1.0), (4, 5, 0.5))
    ]

    def called(student: Tensor, teacher: Tensor, temperature: float) -> str:
        T, V = student.shape
        return f"the loss over {T} positions and {V} tokens at temperature {temperature:g}"

    judge_by_slips(attempt, cases, _soft_loss, _loss_slips, called, 1e-4)
    same = cases[0][0]
    expect(attempt(same, same, 2.0), torch.tensor(0.0), "the loss of two equal models", 1e-5)
    far = torch.tensor([[0.0, -500.0, 3.0]]), torch.tensor([[1.0, 0.0, -500.0]])
    if not torch.isfinite(torch.as_tensor(attempt(*far, 1.0))).all():
        raise Wrong(
            "scores of -500 make the loss infinite or NaN: the log of a probability that rounds to"
            " 0. Use log_softmax instead of the log of a softmax."
        )
    learning = cases[0][0].clone().requires_grad_()
    if not torch.as_tensor(attempt(learning, cases[0][1], 2.0)).requires_grad:
        raise Wrong(
            "the number is right, but no gradient flows back to the student's scores: nothing is"
            " learnt by it. Return the tensor, without item(), float() or detach()."
        )
    return "the teacher's probabilities, softened, and the gradient's size is kept."


# Exercise 2: rewards for tokens
# --------------------------------------------------------------------------------------------------


def _token_rewards(student: Tensor, teacher: Tensor, written: Tensor) -> Tensor:
    return torch.tensor([
        log(_softened(theirs, 1.0)[token]) - log(_softened(own, 1.0)[token])
        for own, theirs, token in zip(
            student.tolist(), teacher.tolist(), written.tolist(), strict=True
        )
    ])  # fmt: skip


def _reward_slips(student: Tensor, teacher: Tensor, written: Tensor) -> list[tuple[Any, str]]:
    theirs, own = _logs(teacher, 1.0), _logs(student, 1.0)
    at = torch.arange(len(written)), written
    right = theirs[at] - own[at]
    return [
        (
            -right,
            "the signs are turned. What the teacher finds likelier than the student is good, and"
            " gets a positive reward.",
        ),
        (
            theirs[at],
            "this is the teacher's log-probability alone. Then even a student equal to its teacher"
            " would be told to change: take the student's away.",
        ),
        (-own[at], "this is the student's own surprise: the teacher's part is missing."),
        (
            theirs[at].exp() - own[at].exp(),
            "these are differences of probabilities. Take differences of their logs.",
        ),
        ((theirs - own).exp()[at], "these are the ratios. Take their logs."),
        (
            teacher.double()[at] - student.double()[at],
            "these are differences of scores. Scores become comparable by log_softmax.",
        ),
        (
            -(own.exp() * (own - theirs)).sum(-1),
            "this is the exact mean over all tokens that might have been written. Asked for is the"
            " estimate from the one that was.",
        ),
        (
            (theirs.exp() * (theirs - own)).sum(-1),
            "this is the KL divergence over the vocabulary. Asked for is one log-ratio, at the"
            " token that was written.",
        ),
        (right.sum(), "there is one reward per token: do not add them up."),
        (right.mean(), "there is one reward per token: do not average them."),
        (theirs - own, "there is one number per token of the vocabulary. Pick the written one."),
        (
            (_logs(teacher.T, 1.0).T - _logs(student.T, 1.0).T)[at],
            "the softmax runs over the positions. It runs over the vocabulary, the last axis.",
        ),
        (
            torch.cat([(theirs - own)[at[0][1:], written[:-1]], (theirs - own)[0, written[:1]]]),
            "each token is looked up one position too late. Row t scores written[t].",
        ),
        (
            (theirs - own)[at[0], written.roll(1)],
            "each row looks up the token before. Row t scores written[t].",
        ),
        (
            (theirs - own)[at[0], own.argmax(-1)],
            "the rewards are those of the student's likeliest tokens. Look up those that were"
            " written.",
        ),
        (
            (theirs - own).amax(-1),
            "the largest of each row is taken. Look up the token that was written.",
        ),
        (
            own[at].exp() * right,
            "the rewards are weighed by the student's probabilities. Tokens that were drawn come as"
            " often as they are likely: no weight is needed.",
        ),
    ]


@checker
def token_rewards(attempt: Attempt) -> str:
    """Give the log-ratio of teacher and student at each written token."""
    draw = torch.Generator().manual_seed(28)
    cases = [
        (
            2 * torch.randn(T, V, generator=draw),
            2 * torch.randn(T, V, generator=draw),
            torch.randint(V, (T,), generator=draw),
        )
        for T, V in ((4, 5), (6, 3), (5, 5))
    ]

    def called(student: Tensor, teacher: Tensor, written: Tensor) -> str:
        return f"the rewards of the tokens {written.tolist()}"

    judge_by_slips(attempt, cases, _token_rewards, _reward_slips, called, 1e-4)
    far = torch.tensor([[0.0, -500.0]]), torch.tensor([[0.0, -400.0]]), torch.tensor([1])
    expect(
        attempt(*far),
        torch.tensor([100.0]),
        "the reward where both probabilities round to 0 (use log_softmax, not the log of a"
        " softmax)",
        1e-3,
    )
    return "their mean over what the student writes is minus the reverse KL divergence."


# Exercise 3: votes
# --------------------------------------------------------------------------------------------------


def _vote(answers: Sequence[str | None], weights: Sequence[float]) -> list[str]:
    """Add up the weights of each answer apart; ask of each whether none has more."""
    names = [a for i, a in enumerate(answers) if a is not None and a not in answers[:i]]
    sums = [sum(w for a, w in zip(answers, weights, strict=True) if a == name) for name in names]
    return [name for name, got in zip(names, sums, strict=True) if all(got >= x for x in sums)]


def _best_by(answers: Sequence[str | None], value: Callable[[str], float]) -> list[str]:
    names = list(dict.fromkeys(a for a in answers if a is not None))
    most = max(map(value, names), default=0)
    return [name for name in names if value(name) == most]


@checker
def vote(attempt: Attempt) -> str:
    """Give the answers with the most weight."""
    cases: list[tuple[list[str | None], list[float]]] = [
        (["8", "9", "8"], [1.0, 1.0, 1.0]),
        (["8", "8", "9"], [0.25, 0.25, 1.0]),
        (["8", "9", "7", "9", "8"], [1.0, 1.0, 1.0, 1.0, 1.0]),
        (["9", None, None, None], [0.5, 1.0, 1.0, 1.0]),
        (["12", "7", "12", "7"], [0.5, 0.75, 0.25, 0.0]),
        (["7", "9", "8", "9"], [2.0, 0.5, 0.5, 0.5]),
        (["9", "10", "9", "10", "11"], [0.5, 0.25, 0.25, 0.5, 0.5]),
        (["", "7", ""], [0.5, 0.75, 0.5]),
        ([None, None], [1.0, 1.0]),
        ([], []),
    ]

    def total(answers: Sequence[str | None], weights: Sequence[float], name: str) -> float:
        return sum(w for a, w in zip(answers, weights, strict=True) if a == name)

    def unweighted(answers, weights):
        return _best_by(answers, answers.count)

    def heaviest(answers, weights):
        return _best_by(
            answers, lambda n: max(w for a, w in zip(answers, weights, strict=True) if a == n)
        )

    def averaged(answers, weights):
        return _best_by(answers, lambda n: total(answers, weights, n) / answers.count(n))

    def first_only(answers, weights):
        return _vote(answers, weights)[:1]

    def bare(answers, weights):
        return next(iter(_vote(answers, weights)), None)

    def with_none(answers, weights):
        names = list(dict.fromkeys(answers))
        most = max((total(answers, weights, n) for n in names), default=0)
        return [n for n in names if total(answers, weights, n) == most]

    def none_as_text(answers, weights):
        return [str(name) for name in with_none(answers, weights)]

    def by_number(answers, weights):
        return sorted(_vote(answers, weights), key=lambda answer: int(answer or 0))

    def by_text(answers, weights):
        return sorted(_vote(answers, weights))

    def least(answers, weights):
        return _best_by(answers, lambda n: -total(answers, weights, n))

    def totals(answers, weights):
        return {name: total(answers, weights, name) for name in answers if name is not None}

    def last_first(answers, weights):
        return _vote(answers, weights)[::-1]

    def last_votes(answers, weights):
        return _vote(answers[::-1], weights[::-1])[::-1]

    def last_weight(answers, weights):
        last = {a: w for a, w in zip(answers, weights, strict=True) if a is not None}
        return _best_by(answers, lambda n: last[n])

    def without_empty(answers, weights):
        return _vote([a or None for a in answers], weights)

    def absolute(answers, weights):
        voted = sum(w for a, w in zip(answers, weights, strict=True) if a is not None)
        return [a for a in _vote(answers, weights) if 2 * total(answers, weights, a) > voted]

    def ranked(answers, weights):
        names = dict.fromkeys(a for a in answers if a is not None)
        return sorted(names, key=lambda n: -total(answers, weights, n))

    def each_time(answers, weights):
        best = _vote(answers, weights)
        return [a for a in answers if a in best]

    slips = [
        (unweighted, "the weights do not count. Each answer's weights are added up."),
        (
            heaviest,
            "the single heaviest vote decides: that is best-of-n. Add up the weights of all votes"
            " for the same answer.",
        ),
        (averaged, "the weights are averaged, so that numbers do not count. Add them up."),
        (first_only, "of a tie only one is returned. Return all answers that share the most."),
        (bare, "return a list, with one answer or, in a tie, several."),
        (with_none, "None is no answer, and no vote: leave it out."),
        (none_as_text, "None is no answer, and no vote: leave it out."),
        (by_number, "a tie is sorted by number. The order is that of their first votes."),
        (by_text, "a tie is sorted by text. The order is that of their first votes."),
        (least, "this is the answer with the *least* weight."),
        (totals, "these are the totals. Return the answers that have the most."),
        (last_first, "the order of a tie is turned round: it is that of their first votes."),
        (last_votes, "the order of a tie is that of the *first* votes, not of the last ones."),
        (last_weight, "only the last vote for an answer counts: add its weights up."),
        (without_empty, "an empty text is an answer as well. Only None is no vote: `is not None`."),
        (absolute, "more than half is asked for. The most is enough."),
        (ranked, "all answers are returned, ranked. Return those with the most weight alone."),
        (each_time, "a winner is named once for each of its votes. Once is enough."),
    ]

    def called(answers: Sequence[str | None], weights: Sequence[float]) -> str:
        return f"the winners of {answers} with weights {weights}"

    judge_by_slips(attempt, cases, _vote, slips, called)
    return "with equal weights it is the majority vote."


# Exercise 4: the best of k
# --------------------------------------------------------------------------------------------------


def _best_by_counting(scores: Sequence[float], right: Sequence[bool], k: int) -> float:
    """Try every draw of k answers."""
    draws = list(combinations(range(len(scores)), k))
    return sum(bool(right[max(draw, key=lambda i: scores[i])]) for draw in draws) / len(draws)


@checker
def best_of_k(attempt: Attempt) -> str:
    """Give the probability that the top-scored of k drawn answers is right."""
    cases = [
        ([0.9, 0.5, 0.1, 0.2], [False, True, False, False], 2),
        ([0.1, 0.4, 0.3, 0.8, 0.6], [False, True, True, False, True], 3),
        ([0.2, 0.9, 0.5], [True, False, True], 1),
        ([0.3, 0.7, 0.2, 0.6], [False, True, False, True], 4),
        ([-1.5, 2.0, -3.0, 0.5, 1.0, -0.5], [True, False, True, True, False, False], 2),
        ([0.4, 0.1, 0.2], [False, False, False], 2),
        ([0.6, 0.2, 0.8], [False, True, True], 2),
    ]

    def first_of_all(scores, right, k):
        return float(right[max(range(len(scores)), key=lambda i: scores[i])])

    def upside_down(scores, right, k):
        return _best_by_counting([-score for score in scores], right, k)

    def any_right(scores, right, k):
        draws = list(combinations(right, k))
        return sum(map(any, draws)) / len(draws)

    def mean_right(scores, right, k):
        return sum(right) / len(right)

    def with_replacement(scores, right, k):
        order = sorted(range(len(scores)), key=lambda i: scores[i])
        n = len(scores)
        return sum(right[i] * (((r + 1) / n) ** k - (r / n) ** k) for r, i in enumerate(order))

    def top_k(scores, right, k):
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        return sum(right[i] for i in order[:k]) / k

    def first_k(scores, right, k):
        return float(right[max(range(k), key=lambda i: scores[i])])

    def undivided(scores, right, k):
        return _best_by_counting(scores, right, k) * len(list(combinations(scores, k)))

    def wrong_share(scores, right, k):
        return 1 - _best_by_counting(scores, right, k)

    def one_too_many(scores, right, k):
        if k == len(scores):
            return 0.0
        draws = len(list(combinations(scores, k)))
        more = len(list(combinations(scores, k + 1)))
        return _best_by_counting(scores, right, k + 1) * more / draws

    def unsorted(scores, right, k):
        return _best_by_counting(range(len(scores), 0, -1), right, k)

    def whole(scores, right, k):
        return float(int(_best_by_counting(scores, right, k)))

    def per_cent(scores, right, k):
        return 100 * _best_by_counting(scores, right, k)

    def to_one_digit(scores, right, k):
        return round(_best_by_counting(scores, right, k), 1)

    def draws_of(n_less: int, k_less: int) -> Callable[..., float]:
        def wrong(scores, right, k):
            drawn = list(combinations(range(len(scores) - n_less), k - k_less))
            return undivided(scores, right, k) / len(drawn)

        return wrong

    slips = [
        (
            first_of_all,
            "the best of *all* answers is looked at, whatever k is. Only k of them are drawn.",
        ),
        (upside_down, "the *lowest* score is chosen. The highest is."),
        (
            any_right,
            "this is pass@k: one right answer among the k is enough. Here it must be chosen.",
        ),
        (mean_right, "this is the share of right answers: the scores choose nothing."),
        (
            with_replacement,
            "this draws with replacement: an answer may come twice. Count draws of k different"
            " answers, with `comb`.",
        ),
        (
            top_k,
            "this is the share of right ones among the k highest scores. k are drawn at random, and"
            " of these the highest is taken.",
        ),
        (first_k, "the first k answers are one draw. Count all draws."),
        (undivided, "these are counts of draws: divide by the number of all draws."),
        (wrong_share, "this is the probability that the choice is *wrong*."),
        (
            one_too_many,
            "the others of a draw are k - 1: the top one and k - 1 of those that score less.",
        ),
        (whole, "this is a whole number: `//` or int() cuts a probability to 0 or 1."),
        (per_cent, "these are per cent. A probability is between 0 and 1."),
        (to_one_digit, "this is rounded. Give the exact probability."),
        (
            draws_of(1, 1),
            "the draws are divided by comb(n - 1, k - 1), those that hold one answer. Divide by all"
            " draws of k.",
        ),
        (draws_of(0, 1), "the draws are divided by comb(n, k - 1). Divide by all draws of k."),
        (unsorted, "the order of the list is taken for the order of the scores: sort by score."),
    ]

    def called(scores: Sequence[float], right: Sequence[bool], k: int) -> str:
        return f"the best of {k} by the scores {scores} with right answers {right}"

    judge_by_slips(attempt, cases, _best_by_counting, slips, called, 1e-9)
    return "with scores that know the truth it is pass@k."


# Exercise 5: a thought that may not end
# --------------------------------------------------------------------------------------------------

END, WAIT, COMMA = 9, 5, 6


def _script(tokens: Sequence[int]) -> Callable[[list[int]], int]:
    """Make a model that looks at how much stands there: token number n is always the same."""

    def draw(written: list[int]) -> int:
        return tokens[len(written)] if len(written) < len(tokens) else END

    return draw


def _count_waits(written: list[int]) -> int:
    """A model that says how often it was told to wait, then ends."""
    if written and written[-1] not in (WAIT, COMMA):
        return END
    return written.count(WAIT) + 1


def _forced(
    draw: Callable[[list[int]], int], end: int, instead: list[int], times: int, longest: int
) -> list[int]:
    """Follow the thought token by token; what was put in waits in a list."""
    written: list[int] = []
    waiting: list[int] = []
    left = times
    for _ in range(longest):
        if not waiting:
            token = draw(list(written))
            if token != end or left == 0:
                written.append(token)
                if token == end:
                    break
                continue
            left -= 1
            waiting = list(instead)
        written.append(waiting.pop(0))
    return written


@checker
def force_thought(attempt: Attempt) -> str:
    """Write a thought whose first ends are replaced."""
    scripts = {
        "1 2 end": [1, 2, END],
        "end at once": [END],
        "never ends": [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4],
        "ends wherever it may": [1, END, END, END, 2, END, END, 3],
    }
    draws = {name: _script(tokens) for name, tokens in scripts.items()}
    draws["counts the waits"] = _count_waits
    draws["goes on for ever"] = lambda written: 1
    names = {id(draw): name for name, draw in draws.items()}
    two, one = [COMMA, WAIT], [WAIT]
    cases = [
        (draws["1 2 end"], END, one, 0, 20),
        (draws["1 2 end"], END, one, 1, 20),
        (draws["counts the waits"], END, one, 2, 20),
        (draws["counts the waits"], END, two, 3, 20),
        (draws["end at once"], END, two, 1, 20),
        (draws["end at once"], END, two, 0, 20),
        (draws["never ends"], END, one, 2, 6),
        (draws["goes on for ever"], END, one, 1, 8),
        (draws["ends wherever it may"], END, one, 2, 20),
        (draws["counts the waits"], END, two, 3, 5),
        (draws["counts the waits"], END, one, 2, 6),
        (draws["1 2 end"], END, one, 1, 3),
    ]

    def slipped(change: str) -> Callable[..., list[int]]:
        def wrong(draw, end, instead, times, longest):
            written, left = [], times
            while len(written) < longest:
                token = draw(list(written))
                if token == end and (left > 0 or change == "always"):
                    left -= 0 if change == "never counted" else 1
                    if change == "kept":
                        written.append(end)
                    written += instead[:1] if change == "first alone" else instead
                    if change == "skips":
                        written.append(draw(list(written)))
                    continue
                if token == end and change == "end dropped":
                    break
                written.append(token)
                if token == end and change != "goes on":
                    break
            return written if change == "uncut" else written[:longest]

        return wrong

    def shown(part: Callable[[list[int], list[int]], list[int]]) -> Callable[..., list[int]]:
        """The model is shown a part of what was written, or of what it wrote itself."""

        def wrong(draw, end, instead, times, longest):
            written, own = [], []
            while len(written) < longest and end not in written[-1:]:
                own.append(draw(list(part(written, own))))
                written += instead if own[-1] == end and times > 0 else own[-1:]
                times -= own[-1] == end
            return written[:longest]

        return wrong

    def replacing(count: Callable[[int], int]) -> Callable[..., list[int]]:
        """As many ends as `count` says are replaced, not `times`."""
        return lambda draw, end, instead, times, longest: _forced(
            draw, end, instead, count(times), longest
        )

    def appended(draw, end, instead, times, longest):
        plain = _forced(draw, end, instead, 0, longest)
        return (plain[:-1] + instead * times + plain[-1:])[:longest]

    def left_out(draw, end, instead, times, longest):
        return [t for t in _forced(draw, end, instead, times, longest) if t not in instead]

    slips = [
        (
            replacing(lambda times: 0),
            "nothing is put in place of an end: the thought ends at its first one.",
        ),
        (replacing(lambda times: min(times, 1)), "only one end is replaced, whatever `times` is."),
        (replacing(lambda times: times + 1), "one end too many is replaced."),
        (replacing(lambda times: max(0, times - 1)), "one end too few is replaced."),
        (
            appended,
            "the tokens are put in, but the model is not asked again: what it writes behind them is"
            " missing.",
        ),
        (
            slipped("kept"),
            "the end is kept, and the tokens come behind it. They come *instead* of it.",
        ),
        (slipped("first alone"), "of `instead` only the first token is put in: it may be several."),
        (slipped("end dropped"), "the end that stands at last is missing: it is written too."),
        (
            slipped("goes on"),
            "the thought goes on behind its end. Once no end is replaced any more, the first one"
            " ends it.",
        ),
        (slipped("never counted"), "ends are replaced for ever: count `times` down."),
        (slipped("always"), "ends are replaced for ever: stop after `times`."),
        (
            slipped("uncut"),
            "the thought is longer than `longest`: what is put in counts too. Cut it.",
        ),
        (
            shown(lambda written, own: own),
            "the model does not read what was put in: draw behind all that is written, `instead`"
            " too.",
        ),
        (
            shown(lambda written, own: written[-1:]),
            "the model is shown the last token alone. It reads all that is written.",
        ),
        (
            shown(lambda written, own: []),
            "the model is shown nothing. It reads all that is written so far.",
        ),
        (left_out, "what was put in is missing from the result: it counts as written."),
        (slipped("skips"), "an end right behind what was put in is not looked at."),
    ]

    def called(draw, end, instead, times, longest) -> str:
        return (
            f"the thought of a model that {names.get(id(draw), 'is given')!s}, with"
            f" {instead} in place of {times} ends and at most {longest} tokens"
        )

    def plain(got: Any) -> list[int]:
        if not isinstance(got, list | tuple):
            raise Wrong(f"return the list of tokens; got {describe(got)}")
        return [int(token) for token in got]

    judge_by_slips(attempt, cases, _forced, slips, called, plain=plain)
    return "what is put in is read by the model and counts as written."


# Exercise 6: what the tool wrote
# --------------------------------------------------------------------------------------------------

BEGIN_CALL, END_CALL = 90, 91

# each text in words: a number is the model's token, [..] stands around what the tool wrote
MARKED_TEXTS = (
    "5 < 7 > [7 0] 6 99",  # one call
    "< 1 2 3 > [6 0] 5 < 6 4 > [10 0] 99",  # two calls
    "5 6 99",  # no call
    "< 4 99",  # ends inside of a call
    "< 4 > [4",  # cut off inside of an answer
    "5 > 6 > 7 99",  # ends without a beginning
    "< 4 > [4 0] 6 > 7 99",  # an end without a beginning, behind a call
    "< 8 > [8 0] 5",  # `_tool` answers otherwise if the tags are handed over as well
    "< > [0 0] 5",  # nothing in the call
    "< 8 < 66 > [1 1 1 1 1] 5",  # begun anew
    "< 88 > [< 1 >] 5 5 99",  # the tool writes what looks like a call
    "< 77 > 5 6",  # an answer of no tokens
    "< 66 > [1 1 1 1 1] 5",  # a long one
    "",
)
UNUSUAL = {
    (88,): [BEGIN_CALL, 1, END_CALL],
    (77,): [],
    (66,): [1, 1, 1, 1, 1],
    (BEGIN_CALL, 8, END_CALL): [8],
}


def _tool(call: Sequence[int]) -> list[int]:
    """Answer with the sum of the call and a 0; some calls get a longer or a shorter answer."""
    return list(UNUSUAL.get(tuple(call), [sum(call), 0]))


def _read_marked(marked: str) -> tuple[list[int], list[bool]]:
    ids, mask, own = [], [], True
    for word in marked.split():
        own = own and not word.startswith("[")
        bare = word.strip("[]")
        ids.append({"<": BEGIN_CALL, ">": END_CALL}[bare] if bare in "<>" else int(bare))
        mask.append(own)
        own = own or word.endswith("]")
    return ids, mask


MASKS = {tuple(ids): mask for ids, mask in map(_read_marked, MARKED_TEXTS)}
MASK_CASES = [(list(ids), BEGIN_CALL, END_CALL, _tool) for ids in MASKS]


def _mask(ids: Sequence[int], *_: object) -> list[bool]:
    return MASKS[tuple(ids)]


def _followed(
    ids: Sequence[int],
    answer: Callable,
    *,
    closed: bool = True,
    stays: bool = False,
    deaf: bool = True,
    anew: bool = True,
    tags: bool = False,
    past: bool = False,
    first: bool = False,
    length: Callable[[list[int]], int] = len,
) -> list[bool]:
    """Follow a text with one part of the rule left out."""
    mask, call, left, told = [], [] if not closed else None, 0, False
    for token in ids:
        mask.append(left == 0)
        if left:
            left -= 1
            if deaf:
                continue
        if token == BEGIN_CALL:
            call = [] if anew or call is None else [*call, token]
        elif token == END_CALL and call is not None:
            if not (first and told):
                left = length(answer([BEGIN_CALL, *call, END_CALL] if tags else call))
            told, call = True, call if stays else None if closed else []
        elif call is not None:
            call.append(token)
    return mask + [False] * (left if past else 0)


def _mask_slips(
    ids: Sequence[int], begin: int, end: int, answer: Callable
) -> list[tuple[list[bool], str]]:
    right = _mask(ids)
    inside, calls = False, []
    for token, own in zip(ids, right, strict=True):
        inside = own and (inside or token == begin)
        calls.append(inside)
        inside = inside and token != end
    in_calls, calling = [], False
    for token in ids:
        calling = (calling or token == begin) and token != end
        in_calls.append(calling)
    return [
        ([True] * len(ids), "nothing is masked: the model would learn to write the tool's answers"
         " itself."),
        ([not own for own in right], "the mask is upside down: True is for what the model wrote."),
        ([own and not called for own, called in zip(right, calls, strict=True)],
         "the calls are masked as well. The model wrote them, and it must learn to."),
        ([own and token != end for own, token in zip(right, ids, strict=True)],
         "the token that ends a call is masked. The model wrote it."),
        (([True] + right)[: len(ids)], "the mask comes one token too late."),
        ((right[1:] + [True])[: len(ids)], "the mask comes one token too early."),
        ([all(right[: i + 1]) for i in range(len(ids))],
         "everything behind the first answer is masked. The model goes on writing there."),
        (_followed(ids, answer, closed=False),
         "an end without a beginning was answered. Nobody called there."),
        (_followed(ids, answer, deaf=False),
         "what the tool wrote was read as a call. Only what the model writes can call."),
        (_followed(ids, answer, anew=False),
         "a call that is begun anew holds what stands behind the *last* beginning."),
        (_followed(ids, answer, length=lambda told: 2),
         "every answer is taken for two tokens long. Ask the tool: `len(answer(call))`."),
        (_followed(ids, answer, length=lambda told: 1),
         "every answer is taken for one token long. Ask the tool: `len(answer(call))`."),
        (_followed(ids, answer, length=lambda told: len(told) + 1),
         "one token too many is masked: an answer is `len(answer(call))` tokens long."),
        (_followed(ids, answer, length=lambda told: len(told) - 1),
         "one token too few is masked: an answer is `len(answer(call))` tokens long."),
        (_followed(ids, answer, length=lambda told: len(ids)),
         "everything behind the first call is masked. The model goes on writing there."),
        (_followed(ids, answer, tags=True),
         "the tags are handed to the tool as well. A call is what stands *between* them."),
        (_followed(ids, answer, stays=True),
         "a call stays open behind its end, so that the next end calls again."),
        (_followed(ids, answer, past=True),
         "the mask is longer than the text. A text may break off inside of an answer."),
        ([not each for each in in_calls],
         "the calls are masked, not the answers. The model writes the calls."),
        (_followed(ids, answer, first=True), "only the first call of a text is answered."),
    ]  # fmt: skip


@checker
def loss_mask(attempt: Attempt) -> str:
    def called(ids: Sequence[int], *_: object) -> str:
        return f"loss_mask({list(ids)}, begin={BEGIN_CALL}, end={END_CALL}, answer)"

    judge_by_slips(attempt, MASK_CASES, _mask, _mask_slips, called)
    return "what the tool wrote is read, never learnt."
