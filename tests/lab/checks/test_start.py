"""The checkers of lesson 00: right answers pass, typical wrong ones hear why."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import torch

from course_lib.lab.checks import start as check
from course_lib.lab.solutions import start as solutions
from tests.lab.checks.cases import Case, tests_of

next_character_counts = solutions.next_character_counts_solution
average_bits = solutions.average_bits_solution
apply_temperature = solutions.apply_temperature_solution


def skeleton_2(a, b): ...


def skeleton_1(a): ...


# ---------------------------------------------------------------------------- next_character_counts
def counts_by_index(text, character):
    counts = {}
    for i in range(len(text) - 1):
        if text[i] == character:
            counts[text[i + 1]] = counts.get(text[i + 1], 0) + 1
    return counts


def counts_of_all(text, character):
    tables = defaultdict(Counter)
    for a, b in zip(text, text[1:], strict=False):
        tables[a][b] += 1
    return tables[character]


def counts_skipping(text, character):
    counts, i = Counter(), 0
    while i < len(text) - 1:
        if text[i] == character:
            counts[text[i + 1]] += 1
            i += 1
        i += 1
    return counts


def counts_without_the_last(text, character):
    return counts_by_index(text[: text.rindex(character)] if character in text else "", character)


def counts_going_round(text, character):
    return Counter(text[i] for i in range(len(text)) if text[i - 1] == character)


def counts_forgetting_the_first_pair(text, character):
    return Counter(b for a, b in pairwise(text[1:]) if a == character)


def batched_pairs(text):
    return [text[i : i + 2] for i in range(0, len(text) - 1, 2)]


COUNTS = Case(
    solution=next_character_counts,
    skeleton=skeleton_2,
    also_right=[
        counts_by_index,
        counts_of_all,
        lambda text, c: Counter(b for a, b in zip(text, text[1:], strict=False) if a == c),
        lambda text, c: (
            dict(Counter(part[0] for part in text.split(c)[1:] if part))
            if c * 2 not in text
            else counts_by_index(text, c)
        ),
        lambda text, c: {b: np.int64(n) for b, n in counts_by_index(text, c).items()},
    ],
    wrong=[
        (lambda text, c: Counter(a for a, b in pairwise(text) if b == c), "*before*"),
        (lambda text, c: Counter(text), "every character of the text"),
        (lambda text, c: Counter(a + b for a, b in pairwise(text) if a == c), "whole pairs"),
        (lambda text, c: {b: 1 for a, b in pairwise(text) if a == c}, "every count is 1"),
        (lambda text, c: [b for a, b in pairwise(text) if a == c], "return a dictionary"),
        (lambda text, c: counts_of_all(text, c).most_common(), "return a dictionary"),
        (
            lambda text, c: {
                b: n / max(1, text[:-1].count(c)) for b, n in counts_by_index(text, c).items()
            },
            "shares, and right ones",
        ),
        (counts_without_the_last, "the last one is missing"),
        (counts_going_round, "let the first character"),
        (counts_skipping, "pairs that overlap"),
        (lambda text, c: counts_by_index(text.lower(), c.lower()), "don't change the text"),
        (
            lambda text, c: {b: n for b, n in counts_by_index(text, c).items() if b.strip()},
            "spaces and line ends",
        ),
        (lambda text, c: {b: (text + " ").count(c + b) for b in set(text)}, "a count of 0"),
        (
            lambda text, c: Counter(part[0] for part in text.split(c)[1:] if part),
            "may follow itself",
        ),
        (lambda text, c: counts_by_index(text[:-1], c), "the last pair of neighbours"),
        (lambda text, c: Counter(b for a, b in batched_pairs(text) if a == c), "every second pair"),
        (counts_forgetting_the_first_pair, "the first pair of neighbours"),
        (lambda text, c: dict(counts_of_all(text, c).most_common(3)), "are missing"),
        (
            lambda text, c: Counter(text[i + 1] for i in range(len(text)) if text[i] == c),
            "IndexError",
        ),
        (lambda text, c: text.count(c), "return a dictionary"),
    ],
)


# ------------------------------------------------------------------------------------- average_bits
def bits_of_product(probabilities):
    product = math.prod(probabilities)
    return -math.log2(product) / len(probabilities) if product else math.inf


BITS = Case(
    solution=average_bits,
    skeleton=skeleton_1,
    also_right=[
        lambda ps: -torch.tensor(ps, dtype=torch.double).log2().mean(),
        lambda ps: -np.log2(ps).mean(),
        lambda ps: float(np.mean([math.log2(1 / p) for p in ps])),
        lambda ps: -torch.tensor(ps).log().mean() / math.log(2),
    ],
    wrong=[
        (lambda ps: sum(-math.log2(p) for p in ps), "that is the sum"),
        (lambda ps: sum(math.log2(p) for p in ps) / len(ps), "the sign: a probability"),
        (lambda ps: sum(-math.log(p) for p in ps) / len(ps), "the natural logarithm"),
        (lambda ps: sum(-math.log10(p) for p in ps) / len(ps), "to base 10"),
        (lambda ps: -math.log2(sum(ps) / len(ps)), "took the logarithm once"),
        (lambda ps: sum(ps) / len(ps), "average probability"),
        (lambda ps: sum(-p * math.log2(p) for p in ps), "its own probability"),
        (lambda ps: sum(-math.log2(p) for p in ps) // len(ps), "`//` throws"),
        (lambda ps: 2 ** average_bits(ps), "2 to the power"),
        (lambda ps: [-math.log2(p) for p in ps], "expected a number"),
        (bits_of_product, "but not for 2,000"),
        (lambda ps: sum(-math.log2(p) for p in ps) / (len(ps) - 1), "one less than how many"),
        (lambda ps: sum(-math.log2(p) for p in ps) / 4, "the average cost in bits"),
        (lambda ps: round(average_bits(ps)), "you rounded the result"),
        (lambda ps: sum(round(-math.log2(p)) for p in ps) / len(ps), "each cost a whole number"),
        (lambda ps: -math.log2(math.prod(ps)) / len(ps), "multiplied are too small"),
        (lambda ps: sum(-math.log2(p) for p in ps[1:]) / len(ps), "the average cost in bits"),
        (lambda ps: sorted(-math.log2(p) for p in ps)[len(ps) // 2], "the average cost in bits"),
    ],
)


# -------------------------------------------------------------------------------- apply_temperature
def by_softmax(probabilities, temperature):
    with np.errstate(divide="ignore"):
        scores = np.log(probabilities) / temperature
    return [float(value) for value in np.exp(scores) / np.exp(scores).sum()]


def by_math_log(probabilities, temperature):
    powers = [math.exp(math.log(p) / temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]


def dropping_zeros(probabilities, temperature):
    return apply_temperature([p for p in probabilities if p > 0], temperature)


def dividing_by_the_sum_so_far(probabilities, temperature):
    new, total = [], 0.0
    for p in probabilities:
        total += p ** (1 / temperature)
        new.append(p ** (1 / temperature) / total)
    return new


TEMPERATURE = Case(
    solution=apply_temperature,
    skeleton=skeleton_2,
    also_right=[
        by_softmax,
        lambda ps, t: tuple(apply_temperature(ps, t)),
        lambda ps, t: (torch.tensor(ps, dtype=torch.double).log() / t).softmax(-1).tolist(),
    ],
    wrong=[
        (lambda ps, t: [p ** (1 / t) for p in ps], "they don't sum to 1, as"),
        (lambda ps, t: apply_temperature(ps, 1 / t), "upside down: you raised"),
        (lambda ps, t: [p**t for p in ps], "upside down, and not"),
        (lambda ps, t: [p / t / sum(q / t for q in ps) for p in ps], "nothing changed"),
        (lambda ps, t: list(ps), "nothing changed"),
        (lambda ps, t: [p / t for p in ps], "divided by the temperature"),
        (lambda ps, t: torch.tensor(ps).div(t).softmax(-1).tolist(), "softmax of the prob"),
        (
            lambda ps, t: [p ** (1 / t) / max(q ** (1 / t) for q in ps) for p in ps],
            "divided by the largest power",
        ),
        (lambda ps, t: [p ** (1 / t) / max(ps) for p in ps], "at temperature 0.5"),
        (lambda ps, t: apply_temperature(ps, 0.5), "at temperature 3.0"),
        (lambda ps, t: apply_temperature(ps, t * t), "at temperature 0.5"),
        (lambda ps, t: sorted(apply_temperature(ps, t), reverse=True), "you sorted them"),
        (
            lambda ps, t: [p ** int(1 / t) / sum(q ** int(1 / t) for q in ps) for p in ps],
            "a whole number",
        ),
        (lambda ps, t: max(ps), "a list of 3 probabilities"),
        (lambda ps, t: dict(enumerate(apply_temperature(ps, t))), "a list of 3 probabilities"),
        (by_math_log, "0 has no logarithm"),
        (dividing_by_the_sum_so_far, "by the sum so far"),
        (dropping_zeros, "2 items, expected 4"),
        (lambda ps, t: [round(p, 2) for p in apply_temperature(ps, t)], "you rounded the result"),
    ],
)

CASES = {
    check.next_character_counts: COUNTS,
    check.average_bits: BITS,
    check.apply_temperature: TEMPERATURE,
}
test_checkers = tests_of(check, CASES)
