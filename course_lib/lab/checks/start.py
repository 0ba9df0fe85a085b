"""Checkers of lesson 00. The truths are counts and powers worked out by plain loops."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import numpy as np
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import Slip, judge_by_slips


def _call_or_tell(attempt: Attempt, sentence: str, *args: Any) -> Any:
    """Call the answer; where the logarithm of 0 stops it, tell this sentence as well."""
    try:
        return attempt(*args)
    except Wrong as reason:
        of_zero = any(key in str(reason) for key in ("math domain error", "a positive input"))
        raise Wrong(f"{reason}\n    {sentence}" if of_zero else str(reason)) from None


def _rounded_slips(rounded: Callable[..., Any]) -> list[Slip]:
    """The slips of `rounded(*case, digits)`, the truth rounded to a few digits."""
    sentence = "you rounded the result. Return the number as it is."
    return [(lambda *case, digits=digits: rounded(*case, digits), sentence) for digits in range(5)]


# --------------------------------------------------------------------------------------------------
# Exercise 1: next_character_counts
# --------------------------------------------------------------------------------------------------


def _counts_by_windows(text: str, character: str) -> dict[str, int]:
    """Count by looking at every window of two characters."""
    counts: dict[str, int] = {}
    for start in range(len(text) - 1):
        before, after = text[start : start + 2]
        if before == character:
            counts[after] = counts.get(after, 0) + 1
    return counts


def _counts_without_overlaps(text: str, character: str) -> dict[str, int]:
    """Jump behind each pair that was counted."""
    counts: Counter[str] = Counter()
    start = 0
    while start < len(text) - 1:
        found = text[start] == character
        counts.update(text[start + 1] * found)
        start += 1 + found
    return counts


COUNT_SLIPS = [
    (
        lambda text, c: Counter(a for a, b in pairwise(text) if b == c),
        "these are the characters *before* each one asked for. A model predicts what comes next:"
        " look at the one after.",
    ),
    (
        lambda text, c: Counter(text),
        "you counted every character of the text. Count only those that stand directly after the"
        " one asked for.",
    ),
    (
        lambda text, c: Counter(a + b for a, b in pairwise(text) if a == c),
        "you counted whole pairs. Only the character after should be the key.",
    ),
    (
        lambda text, c: {b: 1 for a, b in pairwise(text) if a == c},
        "every count is 1. Each time that a character follows must add 1 to its count.",
    ),
    (
        lambda text, c: {b: n / text[:-1].count(c) for b, n in _counts_by_windows(text, c).items()},
        "those are shares, and right ones. This exercise asks for the counts.",
    ),
    (
        lambda text, c: _counts_by_windows(text[: text.rindex(c)], c),
        "what follows the last one is missing from your counts.",
    ),
    (
        lambda text, c: Counter(b for a, b in pairwise(text + text[0]) if a == c),
        "you let the first character of the text follow the last. Nothing comes after the last.",
    ),
    (
        lambda text, c: _counts_by_windows(text.lower(), c.lower()),
        "capitals and small letters are different characters: don't change the text.",
    ),
    (
        lambda text, c: Counter(b for a, b in pairwise(text) if a == c and not b.isspace()),
        "spaces and line ends are missing. To the model they are characters like all others.",
    ),
    (
        lambda text, c: {b: n for b, n in _counts_by_windows(text, c).items() if b != c},
        "a character may follow itself: in 'aaab', 'a' comes after 'a' twice. (`split` and the like"
        " skip such pairs.)",
    ),
    (
        lambda text, c: _counts_by_windows(text[:-1], c),
        "the last pair of neighbours is missing: a text of n characters has n - 1 pairs.",
    ),
    (
        lambda text, c: _counts_by_windows(text[1:], c),
        "the first pair of neighbours is missing: the first character is at 0.",
    ),
    (
        lambda text, c: Counter(b for a, b in zip(text[::2], text[1::2], strict=False) if a == c),
        "you look at every second pair of neighbours only. Each character but the last begins a"
        " pair.",
    ),
    (
        _counts_without_overlaps,
        "in 'aaab' an 'a' is followed by 'a' twice and by 'b' once. You skip pairs that overlap:"
        " the second 'a' follows the first, and is itself followed by the third.",
    ),
]


@checker
def next_character_counts(attempt: Attempt) -> str:
    """Count which characters come directly after a given one."""
    text = "so to be or not to be"
    got = attempt(text, "o")  # "so ", "to ", "or", "not", "to "
    if not isinstance(got, Mapping):
        raise Wrong(
            f"return a dictionary from each following character to how often it came, such as"
            f" {{' ': 3, 'r': 1, 't': 1}}. Yours is {describe(got)}."
        )
    if any(count == 0 for count in got.values()):
        raise Wrong("a count of 0 is in your dictionary: what never follows should have no key.")
    mixed = "".join(Random(0).choices("aaAb .\n", k=400)) + "a"
    inputs = [(text, "o"), ("aaab", "a"), (mixed, "a"), (mixed, "."), (mixed, "\n")]
    judge_by_slips(
        attempt,
        inputs,
        _counts_by_windows,
        COUNT_SLIPS,
        lambda text, c: f"what follows {c!r} in {describe(text)}",
    )
    expect(attempt("ab", "b"), {}, "what follows 'b' in 'ab', where nothing does")
    expect(attempt("", "a"), {}, "what follows 'a' in the empty text")
    return "one table of counts like this per character, and you have a language model."


# --------------------------------------------------------------------------------------------------
# Exercise 2: average_bits
# --------------------------------------------------------------------------------------------------


def _average_bits(probabilities: list[float]) -> float:
    """Add up how often each probability must be doubled to reach 1, then divide."""
    return sum(math.log(1 / p) / math.log(2) for p in probabilities) / len(probabilities)


def _with_costs_to(whole: Callable[[float], int]) -> Callable[[list[float]], float]:
    """Average the costs, each first made whole."""
    return lambda ps: sum(whole(-math.log2(p)) for p in ps) / len(ps)


BITS_SLIPS = [
    (
        lambda ps: _average_bits(ps) * len(ps),
        "that is the sum. Divide by how many there are: what does *one* symbol cost?",
    ),
    (
        lambda ps: -_average_bits(ps),
        "the sign: a probability below 1 has a negative logarithm, and a cost is positive. Use"
        " minus log2.",
    ),
    (
        lambda ps: _average_bits(ps) * math.log(2),
        "you used the natural logarithm. For bits take math.log2.",
    ),
    (
        lambda ps: _average_bits(ps) * math.log10(2),
        "you used the logarithm to base 10. For bits take math.log2.",
    ),
    (
        lambda ps: -math.log2(sum(ps) / len(ps)),
        "you averaged the probabilities and took the logarithm once. Take the logarithm of each,"
        " then average: a model must pay for every surprise.",
    ),
    (
        lambda ps: sum(ps) / len(ps),
        "that is the average probability. Turn each one into bits first: minus log2 of it.",
    ),
    (
        lambda ps: sum(p * -math.log2(p) for p in ps),
        "each cost is multiplied by its own probability. Each of these symbols has really come,"
        " once: take the plain average.",
    ),
    (
        lambda ps: _average_bits(ps) * len(ps) // len(ps),
        "`//` throws the part behind the decimal point away. Divide with `/`.",
    ),
    (
        lambda ps: 2 ** _average_bits(ps),
        "that is 2 to the power of the average cost. The average itself was asked for.",
    ),
    (
        lambda ps: _average_bits(ps) * len(ps) / (len(ps) - 1),
        "you divided by one less than how many there are. Divide by how many there are.",
    ),
    *[
        (
            _with_costs_to(whole),
            "you made each cost a whole number. A cost may be 1.74 bits: keep the fraction.",
        )
        for whole in (math.ceil, round, int)
    ],
    *_rounded_slips(lambda ps, digits: round(_average_bits(ps), digits)),
]


@checker
def average_bits(attempt: Attempt) -> str:
    """Average -log2 over the probabilities that a model gave to what really came."""
    inputs = [([0.5, 0.25, 0.125, 0.125],), ([0.9, 0.3, 0.02],), ([1 / 256] * 3 + [0.7],)]
    judge_by_slips(
        attempt,
        inputs,
        _average_bits,
        BITS_SLIPS,
        lambda ps: f"the average cost in bits for the probabilities {[round(p, 4) for p in ps]}",
    )
    expect(attempt([1 / 256]), 8.0, "one byte, given a probability of 1/256")
    expect(attempt([1.0]), 0.0, "something that was certain")
    too_small = (
        "right for a few symbols, but not for 2,000: their probabilities multiplied are too"
        " small for a float. Take the logarithm of each, then add."
    )
    got = _call_or_tell(attempt, too_small, [1 / 256] * 2000)
    if isinstance(got, float) and not math.isfinite(got):
        raise Wrong(too_small)
    expect(got, 8.0, "2,000 bytes, each given a probability of 1/256")
    return (
        "a model that is never surprised pays nothing; one that knows nothing pays 8 bits per byte."
    )


# --------------------------------------------------------------------------------------------------
# Exercise 3: apply_temperature
# --------------------------------------------------------------------------------------------------


def _tempered(probabilities: list[float], temperature: float) -> list[float]:
    """Compute p ** (1 / T) relative to the largest p, then scale to sum to 1."""
    best = max(probabilities)
    powers = [math.pow(p / best, 1 / temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]


def _softmax_of(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def _powers_by_running_sums(ps: list[float], t: float) -> list[float]:
    """Divide each power by the sum of those up to it."""
    powers = [p ** (1 / t) for p in ps]
    return [power / total for power, total in zip(powers, accumulate(powers), strict=True)]


TEMPERATURE_SLIPS = [
    (
        lambda ps, t: [p ** (1 / t) for p in ps],
        "right powers, but they don't sum to 1, as probabilities must: divide each by their sum.",
    ),
    (
        lambda ps, t: _tempered(ps, 1 / t),
        "upside down: you raised to the power of the temperature. Below 1 the likeliest should"
        " gain, so use the power 1 / temperature.",
    ),
    (
        lambda ps, t: [p**t for p in ps],
        "upside down, and not summing to 1: use the power 1 / temperature, then divide by the sum.",
    ),
    (
        lambda ps, t: ps,
        "nothing changed. (Dividing all probabilities by one number is undone when they are scaled"
        " to sum to 1.) Use the temperature in a power.",
    ),
    (
        lambda ps, t: [p / t for p in ps],
        "you divided by the temperature, so they no longer sum to 1. Use a power.",
    ),
    (
        lambda ps, t: _softmax_of([p / t for p in ps]),
        "that is a softmax of the probabilities themselves. Softmax is for logits, such as the"
        " logarithms of the probabilities.",
    ),
    (
        lambda ps, t: [p ** (1 / t) / max(ps) ** (1 / t) for p in ps],
        "you divided by the largest power, so they don't sum to 1. Divide by the sum of all.",
    ),
    (
        lambda ps, t: [p ** (1 // t) / sum(p ** (1 // t) for p in ps) for p in ps],
        "the power is 1 / temperature; yours is a whole number, as `//` or `int` make it.",
    ),
    (
        _powers_by_running_sums,
        "you divided each power by the sum so far. First add all of them up, then divide.",
    ),
    *[
        (
            lambda ps, t, falling=falling: sorted(_tempered(ps, t), reverse=falling),
            "right numbers in another order: you sorted them. Keep the order of the argument.",
        )
        for falling in (False, True)
    ],
    *_rounded_slips(lambda ps, t, digits: [round(p, digits) for p in _tempered(ps, t)]),
]


@checker
def apply_temperature(attempt: Attempt) -> str:
    """Raise each probability to the power 1 / temperature and scale the result to sum to 1."""
    inputs = [([0.6, 0.3, 0.1], 0.5), ([0.6, 0.3, 0.1], 3.0), ([0.1, 0.2, 0.3, 0.4], 0.8)]
    _require_probabilities(attempt(*inputs[0]), 3)
    judge_by_slips(attempt, inputs, _tempered, TEMPERATURE_SLIPS, _named_call)
    of_zero = "0 has no logarithm. A power of 0 is 0: `p ** (1 / temperature)` needs none."
    for args in (
        ([0.6, 0.3, 0.1], 1.0),
        ([0.0, 0.25, 0.0, 0.75], 0.5),  # 0 stays 0
        ([0.25] * 4, 2.0),
        ([1.0], 0.7),
        ([0.45, 0.35, 0.2], 0.1),
        ([0.45, 0.35, 0.2], 10.0),
    ):
        expect(_call_or_tell(attempt, of_zero, *args), _tempered(*args), _named_call(*args))
    return "below 1 the likeliest gains; above 1 the unlikely ones do."


def _require_probabilities(got: Any, n: int) -> None:
    """Say which kind of object is wanted, if it is another."""
    if not isinstance(got, list | tuple | np.ndarray | Tensor) or len(got) != n:
        raise Wrong(f"return a list of {n} probabilities, one for each. Yours is {describe(got)}.")


def _named_call(probabilities: list[float], temperature: float) -> str:
    return f"the probabilities {probabilities} at temperature {temperature}"
