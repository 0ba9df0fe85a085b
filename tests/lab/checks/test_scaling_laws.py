"""The checkers of lesson 11 accept right answers and name the typical slips."""

import math
from statistics import NormalDist

import numpy as np

from course_lib.experiments import scaling_fit
from course_lib.lab.checks import scaling_laws as check
from course_lib.lab.solutions import scaling_laws as solutions
from tests.lab.checks.cases import Case, tests_of


def flops(d, layers, length, vocab, per=6, heads=1, attention=12):
    return per * (12 * layers * d * d + heads * vocab * d) + attention * layers * d * length


def flops_by_matrices(d_model, n_layers, length, vocab_size):
    shapes = [(d_model, 3 * d_model), (d_model, d_model), (d_model, 4 * d_model)]
    shapes.append((4 * d_model, d_model))
    layer = sum(rows * columns for rows, columns in shapes)
    products = n_layers * (layer + 2 * length * d_model) + vocab_size * d_model
    return 3 * 2 * products


def parabola(sizes, losses, log=np.log, exp=np.exp):
    p, q, r = np.polyfit(log(sizes), losses, 2)
    return exp(-q / (2 * p)), r - q * q / (4 * p)


def through_normal_equations(sizes, losses):
    x = np.log(np.array(sizes))
    table = np.stack([np.ones_like(x), x, x**2], axis=1)
    r, q, p = np.linalg.lstsq(table, np.array(losses), rcond=None)[0]
    return np.exp(-q / 2 / p), r - q**2 / 4 / p


def line(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)


def power_by_sums(x, y):
    u, v = np.log10(x), np.log10(y)
    p = ((u - u.mean()) * (v - v.mean())).sum() / ((u - u.mean()) ** 2).sum()
    return 10 ** (v.mean() - p * u.mean()), p


def huber(p, m, delta=1e-3):
    miss = np.abs(np.log(p / m))
    return np.where(miss < delta, 0.5 * miss**2, delta * (miss - 0.5 * delta))


def huber_by_torch(predicted, measured, delta=1e-3):
    import torch

    one, two = torch.tensor(predicted).log(), torch.tensor(measured).log()
    return torch.nn.functional.huber_loss(one, two, delta=delta).item()


def interval(rows, statistic, draws, share, size=None, replace=True, tails=None):
    dice = np.random.default_rng(5)
    n = len(rows)
    values = [statistic(rows[dice.choice(n, size or n, replace=replace)]) for _ in range(draws)]
    tail = (1 - share) / 2 if tails is None else tails
    return np.quantile(values, tail), np.quantile(values, 1 - tail)


def interval_by_sorting(rows, statistic, draws, share):
    import random

    random.seed(3)
    values = sorted(statistic(np.array([random.choice(rows) for _ in rows])) for _ in range(draws))
    cut = round(draws * (1 - share) / 2)
    return [values[cut], values[-1 - cut]]


def normal_interval(rows, statistic, draws, share):
    dice = np.random.default_rng(5)
    values = [statistic(dice.choice(rows, len(rows))) for _ in range(draws)]
    width = NormalDist().inv_cdf((1 + share) / 2) * np.std(values)
    return np.mean(values) - width, np.mean(values) + width


def shuffled_columns(rows, statistic, draws, share):
    dice = np.random.default_rng(0)
    n = len(rows)
    values = [
        statistic(np.stack([column[dice.integers(n, size=n)] for column in rows.T], axis=1))
        for _ in range(draws)
    ]
    return tuple(np.quantile(values, [(1 - share) / 2, (1 + share) / 2]))


def size(law, budget, C=None, power=None, G=None, root=True):
    _, A, B, a, b = law
    G = a * A / (b * B) if G is None else G
    C = budget / 6 if C is None else C
    return (G ** (1 / (a + b)) if root else G) * C ** (b / (a + b) if power is None else power)


def size_by_derivative(law, budget):
    _, A, B, a, b = law
    low, high = 1.0, budget
    for _ in range(200):
        n = math.sqrt(low * high)
        d = budget / 6 / n
        low, high = (n, high) if a * A / n**a > b * B / d**b else (low, n)
    return n


SKELETONS = {4: lambda d_model, n_layers, length, vocab_size: ..., 2: lambda x, y: ...}
CASES = {
    check.count_flops: Case(
        solution=solutions.count_flops_solution,
        skeleton=SKELETONS[4],
        also_right=[flops_by_matrices, flops],
        wrong=[
            (lambda *x: flops(*x, per=2, attention=4), "forward pass alone"),
            (lambda *x: flops(*x, per=4, attention=8), "backward pass alone"),
            (lambda *x: flops(*x, attention=0), "attention is missing"),
            (lambda d, n, T, V: flops(d, n, T, 0), "the head is missing"),
            (lambda *x: flops(*x, heads=2), "vocabulary is counted twice"),
            (lambda d, n, T, V: flops(d, 1, T, V), "one layer is counted"),
            (lambda *x: flops(*x, attention=6), "half counted"),
            (lambda *x: flops(*x, attention=2), "counted by its products"),
            (lambda *x: flops(*x, attention=4), "in the forward pass only"),
            (lambda d, n, T, V: T * flops(d, n, T, V), "a whole window"),
            (lambda d, n, T, V: n * flops(d, 1, T, V), "the head is counted once per layer"),
            (lambda d, n, T, V: flops(d, n, T, V) - 24 * n * d * d, "attention's four matrices"),
            (lambda d, n, T, V: flops(d, n, T, V) - 48 * n * d * d, "not the 8 d^2 of the MLP"),
        ],
    ),
    check.isoflop_minimum: Case(
        solution=solutions.isoflop_minimum_solution,
        skeleton=SKELETONS[2],
        also_right=[
            through_normal_equations,
            lambda s, x: scaling_fit.isoflop_valley(s, x)[:2],
            lambda s, x: parabola(s, x, np.log2, np.exp2),
        ],
        wrong=[
            (lambda s, x: parabola(s, x, np.asarray, np.asarray), "the parabola runs over N"),
            (lambda s, x: (s[int(np.argmin(x))], min(x)), "the lowest of the runs"),
            (lambda s, x: parabola(s, x, exp=np.asarray), "take the exponential"),
            (lambda s, x: parabola(s, x)[::-1], "other way round"),
            (lambda s, x: (parabola(s, x)[0], min(x)), "The loss is that of the lowest run"),
            (lambda s, x: parabola(s, x)[0], "Give the loss"),
            (lambda s, x: parabola(s, x, np.log10, np.exp), "Use one base"),
            (
                lambda s, x: (parabola(s, x)[0], np.polyfit(np.log(s), x, 2)[2]),
                "the parabola's constant",
            ),
        ],
    ),
    check.power_law: Case(
        solution=solutions.power_law_solution,
        skeleton=SKELETONS[2],
        also_right=[power_by_sums, scaling_fit.fit_power_law],
        wrong=[
            (lambda x, y: line(x, y)[::-1], "The first number is log k"),
            (lambda x, y: (line(x, y)[0], math.exp(line(x, y)[1])), "other way round"),
            (lambda x, y: tuple(np.polyfit(x, y, 1)[::-1]), "Take both logarithms"),
            (lambda x, y: tuple(np.polyfit(np.log(x), y, 1)[::-1]), "only x is in logarithms"),
            (
                lambda x, y: (
                    math.exp(np.polyfit(np.log(x), y, 1)[1]),
                    np.polyfit(np.log(x), y, 1)[0],
                ),
                "only x is in logarithms: a power law",
            ),
            (
                lambda x, y: (
                    math.exp(np.polyfit(x, np.log(y), 1)[1]),
                    np.polyfit(x, np.log(y), 1)[0],
                ),
                "only y is in logarithms",
            ),
            (
                lambda x, y: (math.log(y[-1] / y[0]) / math.log(x[-1] / x[0]), y[0]),
                "k and p of a power law",
            ),
            (lambda x, y: power_by_sums(x[-2:], y[-2:]), "where the points bend"),
            (lambda x, y: (math.exp(line(y, x)[1]), line(y, x)[0]), "x and y are exchanged"),
            (
                lambda x, y: (
                    y[0] / x[0] ** (p := math.log(y[-1] / y[0]) / math.log(x[-1] / x[0])),
                    p,
                ),
                "first and the last point",
            ),
        ],
    ),
    check.huber_log_loss: Case(
        solution=solutions.huber_log_loss_solution,
        skeleton=lambda predicted, measured, delta=1e-3: ...,
        also_right=[huber_by_torch, lambda p, m, delta=1e-3: float(np.mean(huber(p, m, delta)))],
        wrong=[
            (
                lambda p, m, delta=1e-3: huber(np.exp(p), np.exp(m), delta).mean(),
                "misses are of the losses",
            ),
            (
                lambda p, m, delta=1e-3: huber(np.exp(p / m), np.e, delta).mean(),
                "the misses are relative",
            ),
            (lambda p, m, delta=1e-3: (np.log(p / m) ** 2).mean() / 2, "every miss is squared"),
            (lambda p, m, delta=1e-3: np.abs(np.log(p / m)).mean(), "mean absolute miss"),
            (lambda p, m, delta=1e-3: huber(p, m, delta).sum(), "Take the mean"),
            (lambda p, m, delta=1e-3: huber(p, m, delta), "one number per run"),
            (lambda p, m, delta=1e-3: 2 * huber(p, m, delta).mean(), "twice too large"),
            (lambda p, m, delta=1e-3: huber(p, m, delta).mean() / delta, "smooth L1"),
            (lambda p, m, delta=1e-3: huber(p, m).mean(), "delta is always 0.001"),
        ],
    ),
    check.bootstrap_interval: Case(
        solution=solutions.bootstrap_interval_solution,
        skeleton=lambda rows, statistic, draws, share: ...,
        also_right=[interval_by_sorting, interval],
        wrong=[
            (lambda r, s, d, p: interval(r, s, d, p, replace=False), "each row once"),
            (lambda r, s, d, p: interval(r, s, d, p, tails=0.025), "the middle 95 %"),
            (lambda r, s, d, p: interval(r, s, d, p, tails=1 - p), "1 - share on each side"),
            (lambda r, s, d, p: interval(r, s, d, p, tails=0.3), "30.0% of the numbers lie below"),
            (lambda r, s, d, p: interval(r, s, d, p, size=1), "as many rows as there are"),
            (lambda r, s, d, p: interval(r[:-1], s, d, p, size=9), "row 8 of 9"),
            (lambda r, s, d, p: interval(r, s, d // 2, p), "computed 500 times, for draws = 1000"),
            (
                lambda r, s, d, p: interval(r.ravel()[:, None], s, d, p, size=9),
                "has the shape (9, 1)",
            ),
            (normal_interval, "evenly about the mean"),
            (lambda r, s, d, p: interval(r, s, d, p, tails=0.0), "Leave out the tails"),
            (lambda r, s, d, p: interval(r, s, d, p, tails=0.05), "the middle 90 %"),
            (shuffled_columns, "rows fell apart"),
            (lambda r, s, d, p: interval(r, s, d, p)[::-1], "the ends are exchanged"),
            (lambda r, s, d, p: s(r), "give the two ends"),
        ],
    ),
    check.optimal_size: Case(
        solution=solutions.optimal_size_solution,
        skeleton=lambda law, budget: ...,
        also_right=[
            size_by_derivative,
            lambda law, budget: scaling_fit.LossLaw(*law).best_parameters(budget),
        ],
        wrong=[
            (lambda law, C: size(law, C, C=C), "the 6 is missing"),
            (lambda law, C: C / 6 / size(law, C), "best number of tokens"),
            (lambda law, C: C / 6 / size(law, C) ** 2, "tokens per parameter"),
            (
                lambda law, C: size(law, C, power=law[3] / (law[3] + law[4])),
                "The exponent of C is b / (a + b)",
            ),
            (lambda law, C: size(law, C, G=law[1] / law[2]), "come down as factors"),
            (lambda law, C: size(law, C, G=law[4] * law[2] / (law[3] * law[1])), "upside down"),
            (lambda law, C: size(law, C, root=False), "the root is missing"),
            (lambda law, C: (C / 120) ** 0.5, "20 tokens per parameter"),
            (lambda law, C: math.log(size(law, C)), "that is log N"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
