"""Checkers of lesson 00. The truths are counts and logarithms worked by hand."""

import math
from collections import Counter
from itertools import pairwise

from course_lib.lab.checks.core import Attempt, Wrong, checker, expect


def _close(got: object, want: float) -> bool:
    return isinstance(got, int | float) and math.isclose(got, want, rel_tol=1e-4, abs_tol=1e-9)


# --------------------------------------------------------------------------------------------------
# Exercise 1: followers
# --------------------------------------------------------------------------------------------------


@checker
def followers(attempt: Attempt) -> str:
    """Count which characters come right after a given one."""
    text = "so to be or not to be"
    want = {" ": 3, "r": 1, "t": 1}  # so_, to_, or, not, to_
    got = attempt(text, "o")
    if isinstance(got, dict):
        _recognise_counts(dict(got), text)
    elif isinstance(got, str | list | tuple):
        raise Wrong(
            f"you found the characters {''.join(got)!r}. Count them: a dictionary from character to"
            " how often."
        )
    expect(got, want, f"what follows 'o' in {text!r}")
    got = attempt("aaab", "a")
    if got == {"a": 1, "b": 1}:
        raise Wrong(
            "in 'aaab' an 'a' is followed by 'a' twice and by 'b' once. You skip pairs that"
            " overlap: the second 'a' follows the first, and is itself followed by the third."
        )
    expect(got, {"a": 2, "b": 1}, "what follows 'a' in 'aaab'")
    expect(attempt("ab", "b"), {}, "what follows 'b' in 'ab', where nothing does")
    return "one table of counts like this per character, and you have a language model."


def _recognise_counts(got: dict, text: str) -> None:
    pairs = Counter(pairwise(text))
    before = {a: n for (a, b), n in pairs.items() if b == "o"}
    slips = [
        (
            before,
            "these are the characters *before* each 'o'. A model predicts what comes next:"
            " look at the one after.",
        ),
        (
            dict(Counter(text)),
            "you counted every character of the text. Count only those that stand right after an"
            " 'o'.",
        ),
        (
            {a + b: n for (a, b), n in pairs.items() if a == "o"},
            "you counted the pairs with their 'o'. Only the character after it should be the key.",
        ),
        (
            {" ": 1, "r": 1, "t": 1},
            "every count is 1: each ' ' after an 'o' must add 1 to its count.",
        ),
        (
            {" ": 0.6, "r": 0.2, "t": 0.2},
            "those are shares, and right ones. This exercise asks for the counts.",
        ),
        ({" ": 2, "r": 1, "t": 1}, "the last 'o' is missing from your counts."),
    ]
    for result, sentence in slips:
        if got == result:
            raise Wrong(sentence)


# --------------------------------------------------------------------------------------------------
# Exercise 2: bits
# --------------------------------------------------------------------------------------------------


@checker
def bits(attempt: Attempt) -> str:
    """Average -log2 over the chances that a model gave to what really came."""
    chances = [0.5, 0.25, 0.125, 0.125]  # 1, 2, 3 and 3 bits
    got = attempt(chances)
    natural = [math.log(chance) for chance in chances]
    slips = [
        (9.0, "that is the sum. Divide by the number of chances: what does *one* symbol cost?"),
        (
            -2.25,
            "the sign: a chance below 1 has a negative logarithm, and a cost is positive. Use minus"
            " log2.",
        ),
        (
            -sum(natural) / 4,
            "you used the natural logarithm, so your answer is in nats. For bits take math.log2.",
        ),
        (
            -sum(natural) / 4 / math.log(10),
            "you used the logarithm to base 10. For bits take math.log2.",
        ),
        (
            -math.log2(sum(chances) / 4),
            "you averaged the chances and took the logarithm once. Take the logarithm of each, then"
            " average: a model must pay for every surprise.",
        ),
        (0.25, "that is the average chance. Turn each chance into bits first: minus log2 of it."),
        (
            sum(chance * -math.log2(chance) for chance in chances),
            "that is the *expected* cost, where each is weighted by its own chance. Here each has"
            " happened once: a plain average.",
        ),
    ]
    for result, sentence in slips:
        if _close(got, result):
            raise Wrong(sentence)
    expect(got, 2.25, f"the average of 1, 2, 3 and 3 bits, for the chances {chances}")
    expect(attempt([1 / 256] * 10), 8.0, "ten bytes, each given a chance of 1 in 256")
    expect(attempt([1.0]), 0.0, "something that was certain")
    return (
        "a model that is never surprised pays nothing; one that knows nothing pays 8 bits per byte."
    )


# --------------------------------------------------------------------------------------------------
# Exercise 3: sharpen
# --------------------------------------------------------------------------------------------------


@checker
def sharpen(attempt: Attempt) -> str:
    """Raise each chance to the power 1 / temperature and scale the result to sum to 1."""
    chances = [0.6, 0.3, 0.1]
    want = [0.36 / 0.46, 0.09 / 0.46, 0.01 / 0.46]  # squares: 0.36, 0.09, 0.01
    got = attempt(chances, 0.5)
    if isinstance(got, list | tuple) and all(isinstance(chance, int | float) for chance in got):
        _recognise_chances(list(got), chances)
    expect(got, want, "the chances [0.6, 0.3, 0.1] at temperature 0.5")
    expect(attempt(chances, 1.0), chances, "at temperature 1, which changes nothing")
    roots = [chance**0.5 for chance in chances]
    expect(
        attempt(chances, 2.0),
        [root / sum(roots) for root in roots],
        "the chances [0.6, 0.3, 0.1] at temperature 2",
    )
    expect(attempt([0.0, 1.0], 0.5), [0.0, 1.0], "a chance of 0, which stays 0")
    return "below 1 the favourite wins more often; above 1 outsiders get their turn."


def _recognise_chances(got: list[float], chances: list[float]) -> None:
    softened = [math.exp(chance / 0.5) for chance in chances]
    roots = [chance**0.5 for chance in chances]
    slips = [
        (
            [0.36, 0.09, 0.01],
            "right powers, but they sum to 0.46. Chances must sum to 1: divide each by their sum.",
        ),
        (
            [root / sum(roots) for root in roots],
            "upside down: you raised to the power of the temperature. At 0.5 the favourite should"
            " gain, so use the power 1 / temperature.",
        ),
        (
            roots,
            "upside down, and not summing to 1: use the power 1 / temperature, then divide by the"
            " sum.",
        ),
        (
            chances,
            "nothing changed: dividing all chances by the same number is undone when they are"
            " scaled to sum to 1. Use a power.",
        ),
        (
            [1.2, 0.6, 0.2],
            "you divided by the temperature, so they no longer sum to 1. Use a power.",
        ),
        (
            [value / sum(softened) for value in softened],
            "that is a softmax of the chances themselves. Softmax is for scores, such as the"
            " logarithms of the chances.",
        ),
    ]
    for result, sentence in slips:
        if len(got) == 3 and all(map(_close, got, result)):
            raise Wrong(sentence)
    if len(got) == 3 and not math.isclose(sum(got), 1, abs_tol=1e-6):
        raise Wrong(
            f"your chances sum to {sum(got):.3g}. Something always comes next, so they must sum"
            " to 1."
        )
