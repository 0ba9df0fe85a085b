"""Checkers of lesson 11. The truths are counts in whole numbers, parabolas and power laws whose
constants are known, Huber's loss by plain floats, the resamples as drawn, and a fine search."""

import math
from collections.abc import Callable, Sequence
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
        lambda d, n, T, V: _flops(d, n, 0, V) + 8 * n * d * T,
        "attention's backward pass costs two rounds, like that of the matrices: three times the"
        " forward pass in all, not twice.",
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

# floor, bend, log of the best size, steps of the runs from there in log N, scatter around it
EVENLY = (-1.4, -0.2, 1.0, 2.2)
VALLEYS = [
    (2.5, 0.1, 11.0, (-2.0, -1.1, -0.3, 0.5, 1.6, 3.0), 0.0),
    (1.2, 0.03, 9.0, (-2.0, -1.1, -0.3, 0.5, 1.6, 3.0), 0.0),
    (4.0, 0.25, 13.5, EVENLY, 0.04),
    (3.0, 0.2, 12.0, (0.4, 1.2, 2.0, 2.8), 0.01),
]


def _valley_runs(
    floor: float, bend: float, centre: float, steps: Sequence[float], scatter: float
) -> tuple[list[float], list[float]]:
    """Sizes, and their losses around a parabola. The scatter is a third difference, so over four
    even steps no other parabola comes nearer to the runs."""
    noise = [scatter * weight for weight in (1, -3, 3, -1)] if scatter else [0.0] * len(steps)
    losses = [floor + bend * x**2 + miss for x, miss in zip(steps, noise, strict=True)]
    return [math.exp(centre + step) for step in steps], losses


def _parabola(sizes: Sequence[float], losses: Sequence[float], times: float = 1.0) -> tuple:
    """A parabola over log N at a multiple of its lowest point: (size, loss)."""
    p, q, r = np.polyfit(np.log(sizes), losses, 2)
    x = -times * q / (2 * p)
    return math.exp(x), float(p * x * x + q * x + r)


def _over(transform: Callable, back: Callable) -> Callable:
    """The lowest point of a parabola over transformed sizes, transformed back."""

    def slip(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
        p, q, r = np.polyfit(transform(sizes), losses, 2)
        return float(back(-q / (2 * p))), float(r - q**2 / (4 * p))

    return slip


def _other_end(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    r, q, p = np.polyfit(np.log(sizes), losses, 2)
    x = -q / (2 * p)
    return math.exp(x), float(p * x * x + q * x + r)


def _within(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """The lowest point of the parabola between the smallest and the largest size."""
    p, q, r = np.polyfit(np.log(sizes), losses, 2)
    x = np.clip(-q / (2 * p), math.log(min(sizes)), math.log(max(sizes)))
    return math.exp(x), float(p * x * x + q * x + r)


def _lowest_run(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    return min(zip(sizes, losses, strict=True), key=lambda run: run[1])


def _lowest_three(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    best = sorted(zip(losses, sizes, strict=True))[:3]
    return _parabola([size for _, size in best], [loss for loss, _ in best])


NO_TWO = "the 2 is missing: the derivative of p x^2 + q x + r is 2 p x + q."
NO_SIGN = "the sign of the lowest point is wrong: the derivative 2 p x + q is 0 at x = -q / (2 p)."
VALLEY_SLIPS = [
    (
        _over(np.asarray, float),
        "the parabola runs over N. Sizes are spread by factors: fit it over log N, where they lie"
        " evenly.",
    ),
    (
        _lowest_run,
        "that is the lowest of the runs. The valley's floor lies between runs, where the parabola"
        " is lowest.",
    ),
    (
        _over(np.log, float),
        "the best log N is right, but N itself is asked for: take the exponential.",
    ),
    (
        _over(np.log10, np.exp),
        "the parabola ran over log10 N, and e to the power takes it back. Use one base both ways.",
    ),
    (
        lambda sizes, losses: _parabola(sizes, losses)[::-1],
        "the two numbers are the other way round: first the size, then the loss.",
    ),
    (
        lambda sizes, losses: (_parabola(sizes, losses)[0], min(losses)),
        "the size is right. The loss is that of the lowest run; what does the parabola give at its"
        " own lowest point?",
    ),
    (
        lambda sizes, losses: _parabola(sizes, losses)[0],
        "the size is right. Give the loss of the valley's floor as well: (size, loss).",
    ),
    (_over(np.log, lambda x: np.exp(-x)), NO_SIGN),
    (lambda sizes, losses: _parabola(sizes, losses, -1), NO_SIGN),
    (_over(np.log, lambda x: np.exp(2 * x)), NO_TWO),
    (lambda sizes, losses: _parabola(sizes, losses, 2), NO_TWO),
    (
        lambda sizes, losses: (
            _parabola(sizes, losses)[0],
            float(np.polyfit(np.log(sizes), losses, 2)[2]),
        ),
        "the size is right. The loss is the parabola's constant, its height at log N = 0; put the"
        " lowest point into the parabola.",
    ),
    (
        lambda sizes, losses: (
            _parabola(sizes, losses)[0],
            float(np.polyval(np.polyfit(np.log(sizes), losses, 2), _parabola(sizes, losses)[0])),
        ),
        "the size is right. For its loss you put N into the parabola, which runs over log N.",
    ),
    (
        lambda sizes, losses: (
            _parabola(sizes, np.log(losses))[0],
            math.exp(_parabola(sizes, np.log(losses))[1]),
        ),
        "the parabola is fitted to log loss. Only the sizes are in logarithms here.",
    ),
    (
        _other_end,
        "the coefficients are read from the other end: np.polyfit gives that of x^2 first.",
    ),
    (
        _within,
        "right where the floor lies between the runs. Where it lies outside, give the parabola's"
        " lowest point all the same; whether to trust it is another question.",
    ),
    (
        _lowest_three,
        "the parabola goes through the three lowest runs. Fit it to all of them, so that their"
        " scatter averages out.",
    ),
]


@checker
def isoflop_minimum(attempt: Attempt) -> str:
    """Find the lowest point of a parabola over log N: (size, loss)."""
    cases = [_valley_runs(*valley) for valley in VALLEYS]
    floors = {
        tuple(sizes): (math.exp(centre), floor)
        for (sizes, _), (floor, _, centre, *_) in zip(cases, VALLEYS, strict=True)
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

BENT = ([1.0, 10.0, 100.0], [1.0, 20.0, 100.0])  # the best line is 2^(1/3) x
LAWS_OF_POWER = [(0.08, 0.5, (1e10, 3e10, 2e11)), (7.0, -0.31, (2.0, 5.0, 90.0, 400.0))]


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Fit a straight line; (height at 0, rise)."""
    rise, height = np.polyfit(x, y, 1)
    return float(height), float(rise)


def _as_power(log_x: Sequence[float], log_y: Sequence[float]) -> tuple[float, float]:
    height, rise = _line(log_x, log_y)
    return math.exp(height), rise


def _nearest_power(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The power law with the smallest squared misses of y itself, by Gauss and Newton."""
    k, p = _as_power(np.log(x), np.log(y))
    for _ in range(50):
        near = k * np.asarray(x) ** p
        slopes = np.stack([near / k, near * np.log(x)], axis=1)
        k, p = np.linalg.lstsq(slopes, y - near, rcond=None)[0] + (k, p)
    return float(k), float(p)


POWER_SLIPS = [
    (
        lambda x, y: _line(np.log(x), np.log(y)),
        "the exponent is right. The first number is log k: take the exponential.",
    ),
    (
        lambda x, y: _as_power(np.log(x), np.log(y))[::-1],
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
        lambda x, y: _as_power(np.log(x), y),
        "only x is in logarithms: a power law is straight when both are.",
    ),
    (
        lambda x, y: _as_power(x, np.log(y)),
        "only y is in logarithms: that is an exponential curve, not a power law.",
    ),
    (
        lambda x, y: _as_power(np.log10(x), np.log10(y)),
        "the exponent is right. The line ran over log10, so k is 10 to the power of its height.",
    ),
    (lambda x, y: _as_power(np.log(y), np.log(x)), "x and y are exchanged: you fitted x = k y^p."),
    (
        lambda x, y: _line(np.log(x[:: len(x) - 1]), np.log(y[:: len(y) - 1])),
        "the line goes through the first and the last point, and log k is not k yet.",
    ),
    (
        lambda x, y: _as_power(np.log(x[:: len(x) - 1]), np.log(y[:: len(y) - 1])),
        "right where all points lie on one line. Yours goes through the first and the last point:"
        " fit it to all of them.",
    ),
    (
        lambda x, y: (1.0, float(np.log(x) @ np.log(y) / (np.log(x) @ np.log(x)))),
        "the line goes through the origin, so k is always 1. A line has a height as well as a"
        " slope.",
    ),
    (
        lambda x, y: (
            math.exp(_as_power(np.log(x), np.log(y))[0]),
            _as_power(np.log(x), np.log(y))[1],
        ),
        "the exponent is right. k is the exponential of the line's height, taken once: you took"
        " it twice.",
    ),
    (
        lambda x, y: _nearest_power(x, y),
        "right where all points lie on the law. Where they do not, yours makes the misses of y"
        " small, not those of log y: fit a straight line through the logarithms.",
    ),
]


def _points_called(x: list[float], y: list[float]) -> str:
    if (x, y) != BENT:
        return f"k and p of a power law through {len(x)} points"
    return (
        "k and p where the points bend, (1, 1), (10, 20), (100, 100): the line that fits all three"
        " best"
    )


@checker
def power_law(attempt: Attempt) -> str:
    """Fit y = k x^p: (k, p)."""
    cases = [(list(x), [k * value**p for value in x]) for k, p, x in LAWS_OF_POWER]
    known = {tuple(x): (k, p) for k, p, x in LAWS_OF_POWER} | {tuple(BENT[0]): (2 ** (1 / 3), 1.0)}
    judge_by_slips(
        attempt,
        [*cases, BENT],
        lambda x, y: known[tuple(x)],
        POWER_SLIPS,
        _points_called,
        tolerance=1e-5,
        plain=_plain_pair,
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
    (
        lambda p, m, delta: np.where(
            (miss := np.abs(np.log(p / m))) <= delta, miss**2, delta * (miss - delta / 2)
        ).mean(),
        "the parabola is half the square of the miss. Yours is the whole square.",
    ),
    (
        lambda p, m, delta: np.median(_huber_of(np.log(p / m), delta)),
        "that is the median over the runs. Take the mean.",
    ),
    (
        lambda p, m, delta: _huber_of(np.abs(np.log(p / m)).mean(), delta),
        "you average the misses before Huber's loss. First the loss of each run, then the mean.",
    ),
    (
        lambda p, m, delta: _huber_of(np.log(p / m).mean(), delta),
        "you average the misses before Huber's loss. First the loss of each run, then the mean.",
    ),
    (
        lambda p, m, delta: _huber_of(np.log10(p / m), delta).mean(),
        "those are misses of log10. Take natural logarithms, `np.log`.",
    ),
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
    expect(
        np.asarray(attempt(mixed, measured), float) * 1e6,
        _huber(mixed, measured) * 1e6,
        "a million times the loss where no delta is given (its default is 1e-3)",
    )
    return "right: half the square for small misses, a straight line for large ones."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def bootstrap_interval(attempt: Attempt) -> str:
    """Resample rows, compute a statistic of each resample, and give the middle share's ends."""
    numbers = np.exp(np.arange(9) / 2)  # skewed: the interval does not lie evenly about the mean
    rows = np.stack([numbers, 10 * numbers], axis=1)
    for share, draws in ((0.9, 1000), (0.5, 600)):
        resamples: list[np.ndarray] = []

        def statistic(resample: np.ndarray, seen: list = resamples) -> float:
            seen.append(np.array(resample))
            return float(np.mean(resample))

        low, high = _two_ends(attempt(rows.copy(), statistic, draws, share))
        _judge_resamples(resamples, rows, draws)
        _judge_ends(low, high, np.array([resample.mean() for resample in resamples]), share)
    return "right: whole rows, drawn with replacement."


def _two_ends(got: Any) -> tuple[float, float]:
    plain = _plain_pair(got)
    if not isinstance(plain, tuple):
        raise Wrong(f"give the two ends, (low, high); got {describe(got)}.")
    if plain[0] > plain[1]:
        raise Wrong(f"the ends are exchanged: low {plain[0]:.4g} is above high {plain[1]:.4g}.")
    return plain


def _judge_resamples(resamples: list[np.ndarray], rows: np.ndarray, draws: int) -> None:
    """Look at what the statistic was computed of."""
    if len(resamples) != draws:
        raise Wrong(f"the statistic was computed {len(resamples)} times, for draws = {draws}.")
    for resample in resamples:
        if resample.shape != rows.shape:
            raise Wrong(
                f"a resample has the shape {resample.shape}, the rows have {rows.shape}. Draw as"
                " many rows as there are, and keep each whole."
            )
        if not np.isclose(resample[:, None], rows).all(-1).any(-1).all():
            raise Wrong(
                "rows fell apart: a resample holds a row that is none of those given. Draw row"
                " numbers, and take whole rows."
            )
    picks = np.sort(np.stack(resamples)[:, :, 0], axis=1)
    if (np.diff(picks, axis=1) > 0).all():
        raise Wrong(
            "every resample holds each row once. Draw with replacement, so that some come twice and"
            " others not at all."
        )
    if np.ptp(picks[-1]) == 0:
        raise Wrong(
            "the last resample is one row many times: you draw from the resample before. Draw from"
            " the rows as given, each time."
        )
    if (picks == picks[0]).all():
        raise Wrong(
            "all resamples are the same. Make the generator of random numbers once, before the"
            " loop."
        )
    if missing := set(rows[:, 0]) - set(picks.flatten()):
        row = rows[:, 0].tolist().index(min(missing))
        raise Wrong(
            f"row {row} of {len(rows)} is in no resample: let the row numbers run from 0 to"
            f" {len(rows) - 1}."
        )


def _judge_ends(low: float, high: float, values: np.ndarray, share: float) -> None:
    """Count the resamples' numbers below and above the interval."""
    tail, below, above = (1 - share) / 2, np.mean(values < low), np.mean(values > high)
    if max(abs(below - tail), abs(above - tail)) < 0.012:
        return
    told = f"{below:.1%} of the numbers lie below your interval and {above:.1%} above it"
    for wrong_below, wrong_above, sentence in (
        (0.0, 0.0, "it runs from the least to the largest number. Leave out the tails"),
        (2 * tail, 2 * tail, "you leave out 1 - share on each side. Both sides together hold that"),
        (0.0, 2 * tail, "you leave out one side alone. Half of 1 - share belongs to each"),
        (2 * tail, 0.0, "you leave out one side alone. Half of 1 - share belongs to each"),
        (0.05, 0.05, "that is the middle 90 %, whatever `share` says"),
        (0.025, 0.025, "that is the middle 95 %, whatever `share` says"),
        (
            0.0,
            1.0,
            "np.percentile counts from 0 to 100. Use np.quantile, or take 100 times as much",
        ),
    ):
        if max(abs(below - wrong_below), abs(above - wrong_above)) < 0.012:
            raise Wrong(f"for share = {share}: {told}: {sentence}.")
    if math.isclose(low + high, 2 * values.mean(), rel_tol=1e-3):
        raise Wrong(
            f"for share = {share}: {told}. It lies evenly about the mean, as for a normal"
            " distribution. Take quantiles of the numbers as they are."
        )
    raise Wrong(f"for share = {share}: {told}; it should be {tail:.1%} on each side.")


# Exercise 6
# --------------------------------------------------------------------------------------------------

LAW_CASES = [
    ((1.7, 406.4, 410.7, 0.34, 0.28), 1e21),
    ((1.8, 482.0, 2085.0, 0.35, 0.37), 5.76e23),
    ((0.5, 30.0, 900.0, 0.5, 0.45), 1e12),
    ((0.5, 30.0, 30.0, 0.5, 0.45), 100.0),  # so small that a budget rounded down shows
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
    (
        lambda law, C: law[3] * law[1] / (law[4] * law[2]) * (C / 6) ** law[4],
        "that is N^(a + b). Take its root: the power 1 / (a + b).",
    ),
    (
        lambda law, C: _closed(law, C, power=1 / (law[3] + law[4])),
        "the root is right, but C / 6 stands in the loss of D^b: take the power b of it as well.",
    ),
    (
        lambda law, C: _closed(law, C, power=-law[4] / (law[3] + law[4])),
        "your size falls when the budget grows. Solve for N again: D = C / (6 N) stands below the"
        " fraction, so the power of C / 6 is positive.",
    ),
    (lambda law, C: math.log(_closed(law, C)), "that is log N. Give N."),
    (
        lambda law, C: math.sqrt(C / 6),
        "that is as many tokens as parameters, whatever the constants. Use those of the law.",
    ),
    (
        lambda law, C: _closed((law[0], law[1], law[3], law[2], law[4]), C),
        "the constants come in the order (E, A, B, a, b). You took the third for a and the fourth"
        " for B.",
    ),
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
