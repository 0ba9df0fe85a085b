"""Checkers of lesson 11. The truths are counts in whole numbers, parabolas and power laws whose
constants are known, Huber's loss by plain floats, the normal approximation, and a fine search."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------

SHAPES = [(48, 3, 64, 512), (16, 2, 128, 256), (4096, 30, 4096, 102_400), (8, 5, 1, 3)]


def _flops(d: int, layers: int, length: int, vocab: int, matrix: int = 6) -> int:
    """Add up every matrix of every layer, its two products with the window, and the head."""
    total = 0
    for _ in range(layers):
        total += sum(matrix * rows * columns for rows, columns in [(d, d)] * 4 + [(4 * d, d)] * 2)
        total += matrix * 2 * d * length  # scores, and the average of the values
    return total + matrix * vocab * d


FLOP_SLIPS = [
    (
        lambda d, n, T, V: _flops(d, n, T, V, matrix=2),
        "that is the forward pass alone. The backward pass costs twice as much: 6 per number, not"
        " 2.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, T, V, matrix=4),
        "that is the backward pass alone, 4 per number. With the forward pass it is 6.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, T, V, matrix=3),
        "3 per number: a product and a sum are two operations, in each of three passes.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, T, V, matrix=1),
        "these are products and numbers, not operations: 6 for each in training.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, 0, V),
        "attention is missing: each token's query meets `length` keys and then averages as many"
        " values, in every layer. No parameter takes part, so 6 N does not see it.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, T, 0),
        "the head is missing: d_model x vocab_size numbers score the next token, and cost 6 each.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, T, 2 * V),
        "the vocabulary is counted twice. Looking an embedding up is no product: only the head"
        " costs.",
    ),
    (lambda d, n, T, V: _flops(d, 1, T, V), "one layer is counted. There are n_layers of them."),
    (
        lambda d, n, T, V: n * _flops(d, 1, T, V),
        "the head is counted once per layer. It stands at the end of all layers, once.",
    ),
    (
        lambda d, n, T, V: T * _flops(d, n, T, V),
        "that is a whole window. Give the operations for one token.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, T, V) - 6 * n * d * T,
        "attention is half counted: 2 d products for each key, one d for the score and one for the"
        " average.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, T, V) - 10 * n * d * T,
        "attention is counted by its products. Like the matrices it costs 6 per product: 12 in"
        " all, per layer, channel and key.",
    ),
    (
        lambda d, n, T, V: _flops(d, n, 0, V) + 4 * n * d * T,
        "attention is counted in the forward pass only. The backward pass doubles that again.",
    ),
    (
        lambda d, n, T, V: 6 * (8 * n * d * d + V * d) + 12 * n * d * T,
        "you have the MLP's 8 d^2 per layer, but not the 4 d^2 of attention's four matrices.",
    ),
    (
        lambda d, n, T, V: 6 * (4 * n * d * d + V * d) + 12 * n * d * T,
        "you have attention's 4 d^2 per layer, but not the 8 d^2 of the MLP.",
    ),
]


@checker
def count_flops(attempt: Attempt) -> str:
    """Count the operations of training on one token."""

    def called(d: int, layers: int, length: int, vocab: int) -> str:
        return (
            f"the FLOPs per token of d_model {d}, n_layers {layers}, length {length}, vocab_size"
            f" {vocab}"
        )

    judge_by_slips(attempt, SHAPES, _flops, FLOP_SLIPS, called, tolerance=1e-9)
    return "right: 6 for each number in a matrix, 12 for each channel and key in attention."


# Exercise 2
# --------------------------------------------------------------------------------------------------

VALLEYS = [(2.5, 0.1, 11.0), (1.2, 0.03, 9.0), (4.0, 0.25, 13.5)]  # floor, bend, log of best size


def _valley_runs(floor: float, bend: float, centre: float) -> tuple[list[float], list[float]]:
    """Sizes that do not lie evenly around the best one, and their losses on a parabola."""
    steps = [-2.0, -1.1, -0.3, 0.5, 1.6, 3.0]
    return ([math.exp(centre + step) for step in steps], [floor + bend * step**2 for step in steps])


def _by_parabola(transform, back):
    """Find the minimum of a parabola over transformed sizes, for slips."""

    def slip(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
        bend, slope, level = np.polyfit(transform(sizes), losses, 2)
        lowest = -slope / (2 * bend)
        return float(back(lowest)), float(level - slope**2 / (4 * bend))

    return slip


def _lowest_run(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    return min(zip(sizes, losses, strict=True), key=lambda run: run[1])


VALLEY_SLIPS = [
    (
        _by_parabola(np.asarray, float),
        "the parabola runs over N. Sizes are spread by factors: fit it over log N, where they lie"
        " evenly.",
    ),
    (
        _lowest_run,
        "that is the lowest of the runs. The valley's floor lies between runs, where the parabola"
        " is lowest.",
    ),
    (
        _by_parabola(np.log, float),
        "the best log N is right, but N itself is asked for: take the exponential.",
    ),
    (
        _by_parabola(np.log10, np.exp),
        "the parabola ran over log10 N, and e to the power takes it back. Use one base both ways.",
    ),
    (
        lambda sizes, losses: _by_parabola(np.log, np.exp)(sizes, losses)[::-1],
        "the two numbers are the other way round: first the size, then the loss.",
    ),
    (
        lambda sizes, losses: (_by_parabola(np.log, np.exp)(sizes, losses)[0], min(losses)),
        "the size is right. The loss is that of the lowest run; what does the parabola give at its"
        " own lowest point?",
    ),
    (
        lambda sizes, losses: _by_parabola(np.log, np.exp)(sizes, losses)[0],
        "the size is right. Give the loss of the valley's floor as well: (size, loss).",
    ),
    (
        lambda sizes, losses: _by_parabola(np.log, lambda x: np.exp(-x))(sizes, losses),
        "the sign of the lowest point is wrong: the derivative 2 p x + q is 0 at x = -q / (2 p).",
    ),
    (
        lambda sizes, losses: _by_parabola(np.log, lambda x: np.exp(2 * x))(sizes, losses),
        "the 2 is missing: the derivative of p x^2 + q x + r is 2 p x + q.",
    ),
    (
        lambda sizes, losses: (
            _by_parabola(np.log, np.exp)(sizes, losses)[0],
            float(np.polyfit(np.log(sizes), losses, 2)[2]),
        ),
        "the size is right. The loss is the parabola's constant, its height at log N = 0; put the"
        " lowest point into the parabola.",
    ),
]


@checker
def isoflop_minimum(attempt: Attempt) -> str:
    """Find the lowest point of a parabola over log N: (size, loss)."""
    cases = [_valley_runs(*valley) for valley in VALLEYS]
    floors = {
        tuple(sizes): (math.exp(centre), floor)
        for (sizes, _), (floor, _, centre) in zip(cases, VALLEYS, strict=True)
    }
    judge_by_slips(
        attempt,
        cases,
        lambda sizes, losses: floors[tuple(sizes)],
        VALLEY_SLIPS,
        lambda sizes, losses: f"the valley of {len(sizes)} runs",
        tolerance=1e-4,
        plain=_plain_pair,
    )
    return "right: the floor of the valley, even where no run stands."


def _plain_pair(got: Any) -> Any:
    """Two numbers as a tuple of floats; anything else as it is."""
    try:
        return tuple(map(float, got)) if len(got) == 2 else got
    except (TypeError, ValueError):
        return got


# Exercise 3
# --------------------------------------------------------------------------------------------------

LAWS_OF_POWER = [(0.08, 0.5, (1e10, 3e10, 2e11)), (7.0, -0.31, (2.0, 5.0, 90.0, 400.0))]


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Fit a straight line; (height at 0, rise)."""
    rise, height = np.polyfit(x, y, 1)
    return float(height), float(rise)


POWER_SLIPS = [
    (
        lambda x, y: _line(np.log(x), np.log(y)),
        "the exponent is right. The first number is log k: take the exponential.",
    ),
    (
        lambda x, y: (_line(np.log(x), np.log(y))[1], math.exp(_line(np.log(x), np.log(y))[0])),
        "the two numbers are the other way round: first k, then the exponent.",
    ),
    (
        lambda x, y: _line(np.log(x), np.log(y))[::-1],
        "the two numbers are the other way round, and log k is not k yet.",
    ),
    (_line, "that is a straight line through the numbers themselves. Take both logarithms first."),
    (
        lambda x, y: _line(np.log(x), y),
        "only x is in logarithms: that is y = c + p log x. A power law is straight when both are.",
    ),
    (
        lambda x, y: (math.exp(_line(x, np.log(y))[0]), _line(x, np.log(y))[1]),
        "only y is in logarithms: that is an exponential curve, not a power law.",
    ),
    (
        lambda x, y: (math.exp(_line(np.log10(x), np.log10(y))[0]), _line(np.log(x), np.log(y))[1]),
        "the exponent is right. The line ran over log10, so k is 10 to the power of its height.",
    ),
    (
        lambda x, y: (math.exp(_line(np.log(y), np.log(x))[0]), _line(np.log(y), np.log(x))[1]),
        "x and y are exchanged: you fitted x = k y^p.",
    ),
]


@checker
def power_law(attempt: Attempt) -> str:
    """Fit y = k x^p: (k, p)."""
    cases = [(list(x), [k * value**p for value in x]) for k, p, x in LAWS_OF_POWER]
    known = {tuple(x): (k, p) for k, p, x in LAWS_OF_POWER}
    judge_by_slips(
        attempt,
        cases,
        lambda x, y: known[tuple(x)],
        POWER_SLIPS,
        lambda x, y: f"k and p of a power law through {len(x)} points",
        tolerance=1e-5,
        plain=_plain_pair,
    )
    bent_x, bent_y = [1.0, 10.0, 100.0], [1.0, 20.0, 100.0]
    expect(
        _plain_pair(attempt(bent_x, bent_y)),
        (2 ** (1 / 3), 1.0),
        "k and p where the points bend, (1, 1), (10, 20), (100, 100): the line that fits all three"
        " best",
        1e-4,
    )
    return "right: a power law is a straight line in logarithms."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _huber(predicted: np.ndarray, measured: np.ndarray, delta: float = 1e-3) -> float:
    """Average Huber's loss of the logarithms by plain floats."""
    total = 0.0
    for guess, loss in zip(predicted.tolist(), measured.tolist(), strict=True):
        miss = abs(math.log(guess / loss))
        total += miss * miss / 2 if miss <= delta else delta * (miss - delta / 2)
    return total / len(predicted)


def _huber_of(miss: np.ndarray, delta: float) -> np.ndarray:
    miss = np.abs(miss)
    return np.where(miss <= delta, miss**2 / 2, delta * (miss - delta / 2))


HUBER_SLIPS = [
    (
        lambda p, m, delta: _huber_of(p - m, delta).mean(),
        "the misses are of the losses, p - m. Take them between logarithms: a percent is a percent,"
        " whatever the loss.",
    ),
    (
        lambda p, m, delta: _huber_of(p / m - 1, delta).mean(),
        "the misses are relative, p / m - 1. Close, but the logarithms treat too high and too low"
        " alike: log p - log m.",
    ),
    (
        lambda p, m, delta: (np.log(p / m) ** 2 / 2).mean(),
        "every miss is squared. Beyond delta Huber's loss is a straight line, so that one odd run"
        " does not decide.",
    ),
    (
        lambda p, m, delta: (np.log(p / m) ** 2).mean(),
        "every miss is squared. Beyond delta Huber's loss is a straight line, so that one odd run"
        " does not decide.",
    ),
    (
        lambda p, m, delta: np.abs(np.log(p / m)).mean(),
        "that is the mean absolute miss. Below delta it should be a parabola.",
    ),
    (
        lambda p, m, delta: _huber_of(np.log(p / m), delta).sum(),
        "that is the sum over the runs. Take the mean.",
    ),
    (lambda p, m, delta: _huber_of(np.log(p / m), delta), "one number per run. Take the mean."),
    (
        lambda p, m, delta: 2 * _huber_of(np.log(p / m), delta).mean(),
        "twice too large: the parabola is half the square, and the line follows from it.",
    ),
    (
        lambda p, m, delta: _huber_of(np.log(p / m), delta).mean() / delta,
        "divided by delta: that is torch's smooth L1 loss. Huber's parabola is half the square.",
    ),
    (
        lambda p, m, delta: np.where(
            (miss := np.abs(np.log(p / m))) <= delta, miss**2 / 2, delta * miss
        ).mean(),
        "the line does not meet the parabola at delta: take delta / 2 off the miss.",
    ),
    (
        lambda p, m, delta: np.where(
            (miss := np.abs(np.log(p / m))) <= delta, miss**2 / 2, miss - delta / 2
        ).mean(),
        "the line is too steep: its rise is delta, as the parabola's at delta.",
    ),
    (
        lambda p, m, delta: np.where(
            (miss := np.abs(np.log(p / m))) > delta, miss**2 / 2, delta * (miss - delta / 2)
        ).mean(),
        "the two branches are exchanged: the parabola is for small misses.",
    ),
    (
        lambda p, m, delta: np.where(
            (miss := np.log(p / m)) <= delta, miss**2 / 2, delta * (miss - delta / 2)
        ).mean(),
        "predictions that are too low keep the parabola however far they miss: the absolute value"
        " is missing.",
    ),
    (lambda p, m, delta: _huber(p, m, 1e-3), "delta is always 0.001. Use the one that is given."),
]


@checker
def huber_log_loss(attempt: Attempt) -> str:
    """Average Huber's loss of the logarithms of predicted and measured losses."""
    measured = np.array([3.0, 2.5, 2.0, 4.0])
    near = measured * np.exp([0.0004, -0.0007, 0.0009, -0.0002])
    mixed = measured * np.exp([0.0005, -0.02, 0.3, -0.0001])
    cases = [(mixed, measured, 1e-3), (near, measured, 1e-3), (mixed, measured, 0.05)]

    def scaled(predicted: np.ndarray, measured: np.ndarray, delta: float) -> Any:
        got = attempt(predicted, measured, delta)
        try:  # such numbers are near delta^2: compare them in units of that
            return np.asarray(got, float) / delta**2
        except (TypeError, ValueError):
            return got

    judge_by_slips(
        scaled,
        cases,
        lambda p, m, delta: _huber(p, m, delta) / delta**2,
        [
            (lambda p, m, delta, slip=slip: slip(p, m, delta) / delta**2, sentence)
            for slip, sentence in HUBER_SLIPS
        ],
        lambda p, m, delta: f"the mean Huber loss over delta^2, for delta {delta:g}",
        tolerance=1e-6,
    )
    default = attempt(near, measured)
    expect(
        np.asarray(default, float) * 1e6, _huber(near, measured) * 1e6, "the loss without a delta"
    )
    return "right: half the square for small misses, a straight line for large ones."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def bootstrap_interval(attempt: Attempt) -> str:
    """Resample rows, compute a statistic of each resample, and give the middle share's ends."""
    values = np.random.default_rng(1).normal(5.0, 2.0, size=400)[:, None]
    error = values.std() / math.sqrt(len(values))
    low, high = _two_ends(attempt(values, _mean_of, 2000, 0.9))
    _judge_width(high - low, error)
    expect(low, values.mean() - 1.645 * error, "the lower end for the mean of 400 numbers", 0.05)
    expect(high, values.mean() + 1.645 * error, "the upper end for the mean of 400 numbers", 0.05)
    low, high = _two_ends(attempt(values, _mean_of, 2000, 0.5))
    if abs((high - low) / (2 * 0.674 * error) - 1) > 0.2:
        raise Wrong(
            f"right for a share of 0.9. For 0.5 the interval is {high - low:.3f} wide, expected"
            f" about {2 * 0.674 * error:.3f}: half of the values lie in it, a quarter on each side."
        )
    x = np.linspace(0.0, 1.0, 60)
    pairs = np.stack([x, 3 * x], axis=1)
    low, high = _two_ends(attempt(pairs, _rise, 200, 0.9))
    if not abs(low - 3) < 1e-6 > abs(high - 3):
        raise Wrong(
            "rows fell apart: all points here lie on y = 3 x, so every resample of whole rows has"
            f" the slope 3, yet yours gave {low:.3g} to {high:.3g}. Draw row numbers, and take"
            " whole rows."
        )
    return "right: whole rows, drawn with replacement."


def _mean_of(rows: np.ndarray) -> float:
    return float(np.mean(rows))


def _rise(rows: np.ndarray) -> float:
    """The slope of a line through two columns; a thousand where the rows are no pairs."""
    if np.ndim(rows) != 2 or np.shape(rows)[1] != 2:
        return 1e3
    return float(np.polyfit(rows[:, 0], rows[:, 1], 1)[0])


def _two_ends(got: Any) -> tuple[float, float]:
    plain = _plain_pair(got)
    if not isinstance(plain, tuple):
        raise Wrong(f"give the two ends, (low, high); got {describe(got)}.")
    if plain[0] > plain[1]:
        raise Wrong(f"the ends are exchanged: low {plain[0]:.4g} is above high {plain[1]:.4g}.")
    return plain


def _judge_width(width: float, error: float) -> None:
    """Name the usual reasons for an interval that is too wide or too narrow."""
    wanted = 2 * 1.645 * error
    if width < 1e-9:
        raise Wrong(
            "the interval has no width: every resample held the same rows. Draw with replacement,"
            " so that some come twice and others not at all."
        )
    known = [
        (2 * 1.96 * error, "the middle 95 %. For a share of 0.9 leave out 5 % on each side."),
        (
            2 * 1.282 * error,
            "the middle 80 %: you left out 10 % on each side. Both tails together hold 10 %.",
        ),
        (3.3 * 20 * error, "as of single rows. A resample has as many rows as there are."),
        (
            3.3 * math.sqrt(2) * error,
            "as of resamples with half the rows. Draw as many as there are.",
        ),
        (
            2 * 1.645 * error / math.sqrt(10),
            "as of resamples with ten times the rows. Draw as many as there are.",
        ),
    ]
    if abs(width / wanted - 1) > 0.12:
        if 1.8 < width / wanted < 4:
            raise Wrong(
                f"the interval is {width:.3f} wide, not about {wanted:.3f}: it seems to run from"
                " the least to the largest value. Leave out the tails."
            )
        nearest, sentence = min(known, key=lambda slip: abs(math.log(width / slip[0])))
        if abs(width / nearest - 1) < 0.12:
            raise Wrong(f"the interval is {width:.3f} wide, not about {wanted:.3f}: {sentence}")
        raise Wrong(
            f"the 90 % interval of the mean of 400 numbers is {width:.3f} wide; by the normal"
            f" approximation it should be about {wanted:.3f}."
        )


# Exercise 6
# --------------------------------------------------------------------------------------------------

LAW_CASES = [
    ((1.7, 406.4, 410.7, 0.34, 0.28), 1e21),
    ((1.8, 482.0, 2085.0, 0.35, 0.37), 5.76e23),
    ((0.5, 30.0, 900.0, 0.5, 0.45), 1e12),
]


def _searched_size(law: tuple[float, ...], budget: float) -> float:
    """Search the size with the lowest loss by shrinking a bracket, without any formula."""
    E, A, B, a, b = law

    def loss(log_n: float) -> float:
        n = math.exp(log_n)
        return E + A / n**a + B / (budget / (6 * n)) ** b

    low, high = 0.0, math.log(budget)
    for _ in range(200):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, two) if loss(one) < loss(two) else (one, high)
    return math.exp((low + high) / 2)


def _closed(law: tuple[float, ...], budget: float, **changed) -> float:
    """The closed form with one thing changed, for slips."""
    _, A, B, a, b = law
    G = changed.get("G", (a * A / (b * B)) ** (1 / (a + b)))
    return G * (changed.get("C", budget / 6)) ** changed.get("power", b / (a + b))


SIZE_SLIPS = [
    (lambda law, C: _closed(law, C, C=C), "the 6 is missing: C = 6 N D, so D = C / (6 N)."),
    (
        lambda law, C: C / (6 * _closed(law, C)),
        "that is the best number of tokens. The size N is asked for.",
    ),
    (
        lambda law, C: C / 6 / _closed(law, C) ** 2,
        "that is tokens per parameter. The size N is asked for.",
    ),
    (
        lambda law, C: _closed(law, C, power=law[3] / (law[3] + law[4])),
        "the exponent of C is b / (a + b): the faster more tokens help, the more of C goes into the"
        " model. You have a / (a + b).",
    ),
    (
        lambda law, C: _closed(law, C, G=(law[1] / law[2]) ** (1 / (law[3] + law[4]))),
        "the exponents come down as factors when you differentiate: a A and b B, not A and B.",
    ),
    (
        lambda law, C: _closed(
            law, C, G=(law[4] * law[2] / (law[3] * law[1])) ** (1 / (law[3] + law[4]))
        ),
        "the fraction is upside down: the more a missing parameter costs (a A), the larger the best"
        " model.",
    ),
    (
        lambda law, C: _closed(law, C, G=law[3] * law[1] / (law[4] * law[2])),
        "the root is missing: N^(a + b) stands on the left, so take the power 1 / (a + b) of all of"
        " the right side.",
    ),
    (lambda law, C: math.log(_closed(law, C)), "that is log N. Give N."),
    (
        lambda law, C: math.sqrt(C / 120),
        "that is the rule of 20 tokens per parameter. This law has its own answer: minimise its"
        " loss.",
    ),
    (
        lambda law, C: (
            law[0]
            + law[1] / _closed(law, C) ** law[3]
            + law[2] / (C / 6 / _closed(law, C)) ** law[4]
        ),
        "that is the loss at the best size. Give the size.",
    ),
]


@checker
def optimal_size(attempt: Attempt) -> str:
    """Find the size with the lowest loss for a budget, under C = 6 N D."""

    def relative(law: tuple[float, ...], budget: float) -> Any:
        got = attempt(law, budget)
        if isinstance(got, complex):
            return got
        try:
            value = float(got)
        except (TypeError, ValueError):
            return got
        if not value > 0:
            raise Wrong(f"a size is above 0; got {describe(got)}.")
        return math.log(value)

    judge_by_slips(
        relative,
        LAW_CASES,
        lambda law, budget: math.log(_searched_size(law, budget)),
        [
            (lambda law, C, slip=slip: math.log(slip(law, C)), sentence)
            for slip, sentence in SIZE_SLIPS
        ],
        lambda law, budget: f"the logarithm of the best size for {budget:.3g} FLOPs",
        tolerance=1e-4,
    )
    return "right: where one more parameter saves as much as the tokens that it costs."
