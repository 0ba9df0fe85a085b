"""The checkers of lesson 00: right answers pass, typical wrong ones hear why."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import torch

from course_lib.lab.checks import start as check
from tests.lab.checks.cases import Case, tests_of


def followers_solution(text, character):
    return Counter(
        after for before, after in zip(text, text[1:], strict=False) if before == character
    )


def followers_by_index(text, character):
    counts = {}
    for i in range(len(text) - 1):
        if text[i] == character:
            counts[text[i + 1]] = counts.get(text[i + 1], 0) + 1
    return counts


def followers_skipping(text, character):
    counts, i = Counter(), 0
    while i < len(text) - 1:
        if text[i] == character:
            counts[text[i + 1]] += 1
            i += 1
        i += 1
    return counts


def bits_solution(chances):
    return sum(-math.log2(chance) for chance in chances) / len(chances)


def sharpen_solution(chances, temperature):
    powers = [chance ** (1 / temperature) for chance in chances]
    return [power / sum(powers) for power in powers]


def sharpen_by_softmax(chances, temperature):
    with np.errstate(divide="ignore"):
        scores = np.log(chances) / temperature
    return [float(value) for value in np.exp(scores) / np.exp(scores).sum()]


def skeleton_2(a, b): ...


def skeleton_1(a): ...


CASES = {
    check.followers: Case(
        solution=followers_solution,
        skeleton=skeleton_2,
        also_right=[followers_by_index],
        wrong=[
            (lambda text, c: Counter(a for a, b in pairwise(text) if b == c), "*before*"),
            (lambda text, c: Counter(text), "every character of the text"),
            (
                lambda text, c: Counter(a + b for a, b in pairwise(text) if a == c),
                "pairs with their 'o'",
            ),
            (lambda text, c: {b: 1 for a, b in pairwise(text) if a == c}, "every count is 1"),
            (lambda text, c: [b for a, b in pairwise(text) if a == c], "Count them"),
            (
                lambda text, c: {b: n / 5 for b, n in followers_by_index(text, c).items()},
                "shares, and right ones",
            ),
            (
                lambda text, c: followers_by_index(text[: text.rindex(c)] if c in text else "", c),
                "last 'o' is missing",
            ),
            (followers_skipping, "pairs that overlap"),
            (
                lambda text, c: Counter(text[i + 1] for i in range(len(text)) if text[i] == c),
                "IndexError",
            ),
            (lambda text, c: text.count(c), "expected"),
        ],
    ),
    check.bits: Case(
        solution=bits_solution,
        skeleton=skeleton_1,
        also_right=[lambda chances: -torch.tensor(chances, dtype=torch.double).log2().mean()],
        wrong=[
            (lambda chances: sum(-math.log2(c) for c in chances), "that is the sum"),
            (
                lambda chances: sum(math.log2(c) for c in chances) / len(chances),
                "the sign: a chance",
            ),
            (lambda chances: sum(-math.log(c) for c in chances) / len(chances), "is in nats"),
            (lambda chances: sum(-math.log10(c) for c in chances) / len(chances), "to base 10"),
            (lambda chances: -math.log2(sum(chances) / len(chances)), "took the logarithm once"),
            (lambda chances: sum(chances) / len(chances), "average chance"),
            (lambda chances: sum(-c * math.log2(c) for c in chances), "expected"),
            (lambda chances: [-math.log2(c) for c in chances], "expected a number"),
        ],
    ),
    check.sharpen: Case(
        solution=sharpen_solution,
        skeleton=skeleton_2,
        also_right=[sharpen_by_softmax],
        wrong=[
            (lambda chances, t: [c ** (1 / t) for c in chances], "sum to 0.46"),
            (lambda chances, t: sharpen_solution(chances, 1 / t), "upside down: you raised"),
            (lambda chances, t: [c**t for c in chances], "upside down, and not"),
            (
                lambda chances, t: [c / t / sum(d / t for d in chances) for c in chances],
                "nothing changed",
            ),
            (lambda chances, t: [c / t for c in chances], "divided by the temperature"),
            (
                lambda chances, t: torch.tensor(chances).div(t).softmax(-1).tolist(),
                "softmax of the chances",
            ),
            (lambda chances, t: [c ** (1 / t) / max(chances) for c in chances], "sum to 0.767"),
            (lambda chances, t: max(chances), "expected"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
