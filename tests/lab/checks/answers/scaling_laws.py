"""Answers to the exercises of lesson 11, written from their statements alone."""

import math
import random
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- count_flops ---


def flops_matrix_by_matrix(d_model, n_layers, length, vocab_size):
    products = 0
    for _ in range(n_layers):
        products += 4 * d_model * d_model + 8 * d_model * d_model
        products += d_model * length + length * d_model
    products += d_model * vocab_size
    return 3 * 2 * products


def flops_of_window(d_model, n_layers, length, vocab_size):
    rows = Fraction(length)
    layer = rows * 12 * d_model**2 + 2 * d_model * rows**2
    return int(6 * (n_layers * layer + rows * d_model * vocab_size) / rows)


class FlopsInNumpy:
    def __call__(self, d_model, n_layers, length, vocab_size):
        d, L, T, V = np.array([d_model, n_layers, length, vocab_size], dtype=object)
        return np.dot([72 * L * d, 12 * L * T, 6 * V], [d, d, d])


def flops(d, L, T, V, matrices=12, mixing=2, head=1, times=6):
    return times * (matrices * L * d * d + mixing * L * d * T + head * d * V)


COUNT_FLOPS = Answers(
    right=[flops_matrix_by_matrix, flops_of_window, FlopsInNumpy()],
    wrong=[
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, head=0),
            "no head",
            r"head|vocab",
            "attention|backward|look",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, head=2),
            "the lookup counted as a product",
            r"look|embedding|twice|head",
            "attention|backward",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, mixing=0),
            "no attention",
            r"attention|window|length",
            "head is|backward|half",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, mixing=1),
            "half of attention",
            r"attention|two|both|half|scores|averag|whole window",
            "head is|backward",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, times=2),
            "forward alone",
            r"backward|forward|3|6",
            "attention|head is",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, times=3),
            "a product and a sum counted as one",
            r"sum|product|\b2\b|twice|half|two",
            "head is|look",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, times=4),
            "backward counted as one round",
            r"backward|two rounds|\b4\b|3",
            "head is|look",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V) * T,
            "the FLOPs of a whole window",
            r"one token|per token|window|length",
            "head is|backward|look",
        ),
        Slip(
            lambda d, L, T, V: L * flops(d, 1, T, V),
            "a head in each layer",
            r"head|once",
            "attention|backward|look",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, mixing=2 / L),
            "attention of one layer",
            r"attention|each layer|layers",
            "head is|backward",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, mixing=2 * T),
            "attention of all the window's queries",
            r"one token|per token|length|attention|square",
            "head is|backward",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V, matrices=8),
            "the MLP's matrices alone",
            r"12|four|matri|attention's|4 d",
            "head is|backward",
        ),
        Slip(
            lambda d, L, T, V: flops(d, L, T, V) - 4 * L * d * T,
            "attention counted forward and once backward",
            r"attention|three times|backward",
            "head is|look",
        ),
    ],
)

# --- isoflop_minimum ---


def minimum_by_ten(sizes, losses):
    p, q, r = np.polyfit(np.log10(sizes), losses, 2)
    lowest = -q / (2 * p)
    return 10**lowest, np.polyval([p, q, r], lowest)


def minimum_by_lstsq(sizes, losses):
    x = torch.tensor(sizes, dtype=torch.float64).log()
    center = x.mean()
    table = torch.stack([(x - center) ** 2, x - center, torch.ones_like(x)], 1)
    y = torch.tensor(losses, dtype=torch.float64)[:, None]
    p, q, r = torch.linalg.lstsq(table, y).solution[:, 0].tolist()
    return math.exp(center.item() - q / (2 * p)), r - q * q / (4 * p)


class MinimumByPolynomial:
    def __call__(self, sizes, losses):
        parabola = np.polynomial.Polynomial.fit(np.log(sizes), losses, 2)
        (lowest,) = parabola.deriv().roots()
        return np.array([np.exp(lowest), parabola(lowest)])


def parabola_over_log(sizes, losses):
    p, q, r = np.polyfit(np.log(sizes), losses, 2)
    return p, q, r, -q / (2 * p)


def minimum_as_log(sizes, losses):
    p, q, r, x = parabola_over_log(sizes, losses)
    return x, p * x * x + q * x + r


def minimum_over_sizes(sizes, losses):
    p, q, r = np.polyfit(np.array(sizes, dtype=float), losses, 2)
    n = -q / (2 * p)
    return n, p * n * n + q * n + r


def minimum_of_points(sizes, losses):
    return min(zip(sizes, losses, strict=True), key=lambda point: point[1])


def minimum_without_half(sizes, losses):
    p, q, r, x = parabola_over_log(sizes, losses)
    x = 2 * x
    return math.exp(x), p * x * x + q * x + r


def minimum_with_sign(sizes, losses):
    p, q, r, x = parabola_over_log(sizes, losses)
    return math.exp(-x), p * x * x - q * x + r


def minimum_with_n_put_in(sizes, losses):
    p, q, r, x = parabola_over_log(sizes, losses)
    n = math.exp(x)
    return n, p * n * n + q * n + r


def minimum_with_intercept(sizes, losses):
    _, _, r, x = parabola_over_log(sizes, losses)
    return math.exp(x), r


def minimum_with_measured_loss(sizes, losses):
    return math.exp(parabola_over_log(sizes, losses)[-1]), min(losses)


def minimum_swapped(sizes, losses):
    return minimum_by_ten(sizes, losses)[::-1]


def minimum_of_log_losses(sizes, losses):
    n, loss = minimum_by_ten(sizes, np.log(losses))
    return n, math.exp(loss)


def minimum_within_sizes(sizes, losses):
    p, q, r, _ = parabola_over_log(sizes, losses)
    xs = np.linspace(math.log(min(sizes)), math.log(max(sizes)), 100_001)
    ys = np.polyval([p, q, r], xs)
    return math.exp(xs[ys.argmin()]), ys.min()


def minimum_by_mixed_bases(sizes, losses):
    p, q, r = np.polyfit(np.log10(sizes), losses, 2)
    x = -q / (2 * p)
    return math.exp(x), p * x * x + q * x + r


def minimum_of_lowest_three(sizes, losses):
    best = sorted(zip(losses, sizes, strict=True))[:3]
    return minimum_by_ten([n for _, n in best], [loss for loss, _ in best])


def minimum_reversed_coefficients(sizes, losses):
    r, q, p = np.polyfit(np.log(sizes), losses, 2)
    x = -q / (2 * p)
    return float(np.exp(x)), p * x * x + q * x + r


ISOFLOP_MINIMUM = Answers(
    right=[minimum_by_ten, minimum_by_lstsq, MinimumByPolynomial()],
    wrong=[
        Slip(minimum_as_log, "log N comes back", r"log|exp", "measured|tried"),
        Slip(minimum_over_sizes, "fitted over N itself", r"log", "measured|swap|order"),
        Slip(
            minimum_of_points,
            "the best of the sizes tried",
            r"tried|between|parabola|fit|points?|given",
            "swap|logarithm comes",
        ),
        Slip(
            minimum_without_half,
            "-q / p",
            r"2 ?\*? ?p|derivative|half|twice|2",
            "swap|measured|tried",
        ),
        Slip(minimum_with_sign, "the sign is missing", r"sign|minus|derivative", "swap|tried"),
        Slip(
            minimum_with_n_put_in,
            "N is put into the parabola",
            r"log|parabola|put",
            "swap|measured|tried",
        ),
        Slip(
            minimum_with_intercept,
            "r as the loss",
            r"\br\b|constant|put|height|x = 0|parabola",
            "swap|measured|tried",
        ),
        Slip(
            minimum_with_measured_loss,
            "the lowest measured loss",
            r"measured|parabola|lowest (of|loss)|given|tried",
            "swap|log",
        ),
        Slip(
            minimum_swapped,
            "the loss comes first",
            r"swap|order|first|exchang|the other way",
            "measured|tried",
        ),
        Slip(
            minimum_of_log_losses,
            "fitted to the logarithm of the losses",
            r"log",
            "swap|measured|tried",
        ),
        Slip(
            minimum_within_sizes,
            "sought within the sizes alone",
            r"outside|beyond|range|within|inside|between|end",
            "swap|measured",
        ),
        Slip(
            minimum_by_mixed_bases, "log10 and exp", r"base|log10|natural|10", "swap|measured|tried"
        ),
        Slip(
            minimum_of_lowest_three,
            "fitted to the three lowest points",
            r"all|three|every|points",
            "swap|measured",
        ),
        Slip(
            minimum_reversed_coefficients,
            "coefficients read from the other end",
            r"order|\(p, q, r\)|coefficient|first|highest|revers",
            "measured|tried",
        ),
    ],
)

# --- power_law ---


def power_by_sums(x, y):
    xs, ys = [math.log(a) for a in x], [math.log(b) for b in y]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((a - x_mean) * (b - y_mean) for a, b in zip(xs, ys, strict=True))
    p = above / sum((a - x_mean) ** 2 for a in xs)
    return math.exp(y_mean - p * x_mean), p


def power_by_lstsq(x, y):
    xs, ys = (torch.tensor(v, dtype=torch.float64).log2() for v in (x, y))
    table = torch.stack([torch.ones_like(xs), xs], 1)
    level, p = torch.linalg.lstsq(table, ys[:, None]).solution[:, 0]
    return [2**level, p]


class PowerByPolynomial:
    def __call__(self, x, y):
        line = np.polynomial.Polynomial.fit(np.log10(x), np.log10(y), 1).convert()
        return np.array([10 ** line.coef[0], line.coef[1]])


def line_of(x, y):
    p, level = np.polyfit(x, y, 1)
    return level, p


def power_of_raw_misses(x, y):
    """Least squares of y itself, by Gauss-Newton."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    k, p = power_by_sums(x, y)
    for _ in range(50):
        near = k * x**p
        table = np.stack([near / k, near * np.log(x)], 1)
        change = np.linalg.lstsq(table, y - near, rcond=None)[0]
        k, p = k + change[0], p + change[1]
    return k, p


def power_of_ends(x, y):
    p = math.log(y[-1] / y[0]) / math.log(x[-1] / x[0])
    return y[0] / x[0] ** p, p


def power_with_mixed_bases(x, y):
    level, p = line_of(np.log10(x), np.log10(y))
    return math.exp(level), p


def power_of_swapped(x, y):
    level, p = line_of(np.log(y), np.log(x))
    return math.exp(level), p


def power_through_origin(x, y):
    xs, ys = np.log(x), np.log(y)
    return 1.0, float(xs @ ys / (xs @ xs))


def power_one_log(x, y, log_x=True):
    level, p = line_of(np.log(x) if log_x else x, y if log_x else np.log(y))
    return (level, p) if log_x else (math.exp(level), p)


POWER_LAW = Answers(
    right=[power_by_sums, power_by_lstsq, PowerByPolynomial()],
    wrong=[
        Slip(
            lambda x, y: power_by_sums(x, y)[::-1],
            "(p, k)",
            r"order|swap|first|exchang|\(k, p\)|the other way",
            "log k",
        ),
        Slip(
            lambda x, y: line_of(np.log(x), np.log(y)), "log k comes back", r"log|exp", "order|swap"
        ),
        Slip(
            lambda x, y: line_of(np.array(x), np.array(y)),
            "a line through x and y themselves",
            r"log",
            "order|swap",
        ),
        Slip(lambda x, y: power_one_log(x, y), "log of x alone", r"log", "order|swap"),
        Slip(lambda x, y: power_one_log(x, y, log_x=False), "log of y alone", r"log", "order|swap"),
        Slip(power_with_mixed_bases, "log10 and exp", r"base|log10|natural|10", "order|swap"),
        Slip(
            power_of_swapped,
            "x over y",
            r"swap|exchang|x over|y over|axes|the other way|x and y",
            "log k|base",
        ),
        Slip(power_of_raw_misses, "fitted to y, not to its logarithm", r"log", "order|swap|base"),
        Slip(
            power_of_ends,
            "a line through the two ends",
            r"all|ends?|every|first and|fit|two points",
            "order|swap|base",
        ),
        Slip(
            power_through_origin,
            "a line through the origin",
            r"origin|level|height|k\b",
            "order|swap|base",
        ),
        Slip(
            lambda x, y: (power_by_sums(x, y)[0], -power_by_sums(x, y)[1]),
            "the power with the opposite sign",
            r"sign|minus|opposite|fall|ris|negative",
            "order|swap|base",
        ),
        Slip(
            lambda x, y: (math.exp(power_by_sums(x, y)[0]), power_by_sums(x, y)[1]),
            "e to the power twice",
            r"twice|exp|once|k\b",
            "order|swap|base",
        ),
    ],
)

# --- huber_log_loss ---


def huber_in_torch(predicted, measured, delta=1e-3):
    logs = (torch.tensor(np.array(v), dtype=torch.float64).log() for v in (predicted, measured))
    return F.huber_loss(*logs, delta=delta).item()


def huber_by_loop(predicted, measured, delta=1e-3):
    total = 0.0
    for a, b in zip(predicted, measured, strict=True):
        miss = abs(math.log(a / b))
        total += miss * miss / 2 if miss < delta else delta * (miss - delta / 2)
    return total / len(predicted)


class HuberByClipping:
    def __call__(self, predicted, measured, delta=1e-3):
        miss = np.abs(np.log(predicted) - np.log(measured))
        near = np.minimum(miss, delta)
        return np.mean(near**2 / 2 + delta * (miss - near))


def huber(miss, delta, half=0.5, line=lambda miss, delta: delta * (miss - delta / 2)):
    return np.where(miss <= delta, half * miss**2, line(miss, delta))


def misses(predicted, measured):
    return np.abs(np.log(predicted) - np.log(measured))


def huber_unlogged(predicted, measured, delta=1e-3):
    return float(huber(np.abs(predicted - measured), delta).mean())


def huber_relative(predicted, measured, delta=1e-3):
    return float(huber(np.abs(predicted / measured - 1), delta).mean())


def huber_sum(predicted, measured, delta=1e-3):
    return float(huber(misses(predicted, measured), delta).sum())


def huber_squares(predicted, measured, delta=1e-3):
    return float((misses(predicted, measured) ** 2 / 2).mean())


def huber_whole_square(predicted, measured, delta=1e-3):
    return float(huber(misses(predicted, measured), delta, half=1.0).mean())


def huber_with_a_jump(predicted, measured, delta=1e-3):
    line = lambda miss, delta: delta * miss  # noqa: E731
    return float(huber(misses(predicted, measured), delta, line=line).mean())


def huber_steep(predicted, measured, delta=1e-3):
    line = lambda miss, delta: miss - delta / 2  # noqa: E731
    return float(huber(misses(predicted, measured), delta, line=line).mean())


def huber_signed(predicted, measured, delta=1e-3):
    return float(huber(np.log(predicted) - np.log(measured), delta).mean())


def huber_divided(predicted, measured, delta=1e-3):
    return huber_in_torch(predicted, measured, delta) / delta


def huber_deaf_to_delta(predicted, measured, delta=1e-3):
    return huber_in_torch(predicted, measured)


def huber_wide_default(predicted, measured, delta=1.0):
    return huber_in_torch(predicted, measured, delta)


def huber_median(predicted, measured, delta=1e-3):
    return float(np.median(huber(misses(predicted, measured), delta)))


def huber_log10(predicted, measured, delta=1e-3):
    return float(huber(misses(predicted, measured) / math.log(10), delta).mean())


def huber_of_mean(predicted, measured, delta=1e-3):
    return float(huber(misses(predicted, measured).mean(), delta))


def huber_turned_round(predicted, measured, delta=1e-3):
    miss = misses(predicted, measured)
    return float(np.where(miss > delta, miss**2 / 2, delta * (miss - delta / 2)).mean())


def huber_per_run(predicted, measured, delta=1e-3):
    return huber(misses(predicted, measured), delta)


HUBER_LOG_LOSS = Answers(
    right=[huber_in_torch, huber_by_loop, HuberByClipping()],
    wrong=[
        Slip(huber_unlogged, "no logarithms", r"log", "sum instead|half"),
        Slip(
            huber_relative,
            "the relative miss instead of the logarithms",
            r"log",
            "sum instead|half",
        ),
        Slip(huber_sum, "the sum", r"mean|sum|divid|number of runs", "half|logarithm"),
        Slip(huber_squares, "squares everywhere", r"line|beyond|square|delta", "half|sum inst"),
        Slip(huber_whole_square, "the whole square", r"half|/ 2|square", "sum inst|jump"),
        Slip(
            huber_with_a_jump,
            "delta |m| without - delta / 2",
            r"delta / 2|jump|continu|half|meet",
            "sum inst|mean",
        ),
        Slip(
            huber_steep,
            "|m| - delta / 2 without the factor",
            r"factor|times|delta|jump|continu|steep|slope",
            "sum inst|mean",
        ),
        Slip(
            huber_signed,
            "no absolute value",
            r"absolute|sign|negative|below|abs",
            "sum inst|mean of",
        ),
        Slip(huber_divided, "divided by delta", r"delta|divid", "sum inst"),
        Slip(
            huber_deaf_to_delta, "delta is ignored", r"delta", "half|sum inst|squares? everywhere"
        ),
        Slip(huber_wide_default, "the default is 1", r"default|1e-3|0\.001", "half|sum inst"),
        Slip(huber_median, "the median", r"mean|median|averag", "half|sum inst"),
        Slip(huber_log10, "decimal logarithms", r"log10|base|natural|log", "half|sum inst"),
        Slip(
            huber_of_mean,
            "Huber's loss of the mean miss",
            r"mean|each run|run|first|order|one by one",
            "half|sum inst",
        ),
        Slip(
            huber_turned_round,
            "line near, square far",
            r"small|beyond|turned|exchang|swap|far|near|where|line|square",
            "sum inst",
        ),
        Slip(huber_per_run, "a loss per run", r"mean|number|one|shape|array", "half"),
    ],
)

# --- bootstrap_interval ---


def interval_in_python(rows, statistic, draws, share):
    found = sorted(
        float(statistic(rows[random.choices(range(len(rows)), k=len(rows))])) for _ in range(draws)
    )

    def end(quantile):
        place = quantile * (draws - 1)
        low = math.floor(place)
        high = min(low + 1, draws - 1)
        return found[low] + (place - low) * (found[high] - found[low])

    return end((1 - share) / 2), end((1 + share) / 2)


def interval_in_torch(rows, statistic, draws, share):
    dice = torch.Generator().manual_seed(1)
    picks = torch.randint(len(rows), (draws, len(rows)), generator=dice).numpy()
    found = torch.tensor([float(statistic(rows[pick])) for pick in picks], dtype=torch.float64)
    left_out = (1 - share) / 2
    return found.quantile(left_out).item(), found.quantile(1 - left_out).item()


class IntervalByCounts:
    """How often each row comes is multinomial."""

    def __call__(self, rows, statistic, draws, share):
        dice, n = np.random.default_rng(7), len(rows)
        counts = dice.multinomial(n, np.full(n, 1 / n), size=draws)
        found = [statistic(np.repeat(rows, count, axis=0)) for count in counts]
        return list(np.percentile(found, [50 - 50 * share, 50 + 50 * share]))


def resampled(rows, statistic, draws, size=None, high=None):
    dice = np.random.default_rng(0)
    size, high = size or len(rows), high or len(rows)
    return [statistic(rows[dice.integers(high, size=size)]) for _ in range(draws)]


def middle(found, share):
    left_out = (1 - share) / 2
    return tuple(np.quantile(found, [left_out, 1 - left_out]).tolist())


def interval_without_replacement(rows, statistic, draws, share):
    dice = np.random.default_rng(0)
    return middle([statistic(dice.permutation(rows)) for _ in range(draws)], share)


def interval_of_halves(rows, statistic, draws, share):
    dice, half = np.random.default_rng(0), len(rows) // 2
    found = [statistic(dice.choice(rows, half, replace=False)) for _ in range(draws)]
    return middle(found, share)


def interval_one_sided(rows, statistic, draws, share):
    return tuple(np.quantile(resampled(rows, statistic, draws), [0, share]))


def interval_too_narrow(rows, statistic, draws, share):
    return tuple(np.quantile(resampled(rows, statistic, draws), [1 - share, share]))


def interval_of_small_resamples(rows, statistic, draws, share):
    return middle(resampled(rows, statistic, draws, size=len(rows) // 2), share)


def interval_of_draws_rows(rows, statistic, draws, share):
    return middle(resampled(rows, statistic, draws, size=draws), share)


def interval_of_columns(rows, statistic, draws, share):
    dice = np.random.default_rng(0)
    picks = (dice.integers(len(rows), size=rows.shape) for _ in range(draws))
    return middle([statistic(np.take_along_axis(rows, p, axis=0)) for p in picks], share)


def interval_of_one_resample(rows, statistic, draws, share):
    def found():
        pick = np.random.default_rng(0).integers(len(rows), size=len(rows))
        return statistic(rows[pick])

    return middle([found() for _ in range(draws)], share)


def interval_by_deviation(rows, statistic, draws, share):
    found = np.array(resampled(rows, statistic, draws))
    width = 1.645 * found.std()
    return found.mean() - width, found.mean() + width


def interval_swapped(rows, statistic, draws, share):
    return middle(resampled(rows, statistic, draws), share)[::-1]


def interval_deaf_to_draws(rows, statistic, draws, share):
    return middle(resampled(rows, statistic, 100), share)


def interval_deaf_to_share(rows, statistic, draws, share):
    return middle(resampled(rows, statistic, draws), 0.9)


def interval_without_the_last(rows, statistic, draws, share):
    return middle(resampled(rows, statistic, draws, high=len(rows) - 1), share)


def interval_by_tiny_percentiles(rows, statistic, draws, share):
    found = resampled(rows, statistic, draws)
    return tuple(np.percentile(found, [(1 - share) / 2, (1 + share) / 2]))


def interval_shuffling_in_place(rows, statistic, draws, share):
    dice, found = np.random.default_rng(0), []
    for _ in range(draws):
        rows[:] = rows[dice.integers(len(rows), size=len(rows))]
        found.append(statistic(rows))
    return middle(found, share)


def interval_of_the_whole(rows, statistic, draws, share):
    return middle([statistic(rows) for _ in range(draws)], share)


BOOTSTRAP_INTERVAL = Answers(
    right=[interval_in_python, interval_in_torch, IntervalByCounts()],
    wrong=[
        Slip(
            interval_without_replacement,
            "rows are shuffled, not drawn",
            r"replacement|twice|same rows|each row once|every row|shuffl",
            "column|quantile|side",
        ),
        Slip(
            interval_of_halves,
            "half of the rows without replacement",
            r"replacement|as many|size|rows",
            "column|side",
        ),
        Slip(
            interval_one_sided,
            "everything is left out above",
            r"side|middle|quantile|left out|below|lower|low end",
            "column|replacement|half the rows",
        ),
        Slip(
            interval_too_narrow,
            "1 - share is left out on each side",
            r"side|half|middle|/ 2|narrow|quantile|share",
            "column|replacement",
        ),
        Slip(
            interval_of_small_resamples,
            "resamples of half the size",
            r"as many|size|rows",
            "column|side|without replacement",
        ),
        Slip(
            interval_of_draws_rows,
            "resamples of `draws` rows",
            r"as many|size|rows|draws",
            "column|side|without replacement",
        ),
        Slip(
            interval_of_columns,
            "each column is drawn for itself",
            r"column|whole rows|together|row",
            "side|without replacement",
        ),
        Slip(
            interval_of_one_resample,
            "the same resample each time",
            r"same|seed|once|generator|fresh|again|differ",
            "column|side",
        ),
        Slip(
            interval_by_deviation,
            "mean and 1.6 standard deviations",
            r"quantile|normal|deviation|middle|skew|symmetr|share",
            "column|without replacement",
        ),
        Slip(
            interval_swapped,
            "the high end first",
            r"order|low|first|swap|exchang",
            "column|without replacement|side",
        ),
        Slip(
            interval_deaf_to_draws,
            "100 draws whatever is asked",
            r"draws|times|calls|resamples",
            "column|without replacement|side",
        ),
        Slip(interval_deaf_to_share, "0.9 whatever is asked", r"share", "column|replacement"),
        Slip(
            interval_without_the_last,
            "the last row is never drawn",
            r"last|every row|all rows|never|row",
            "column|without replacement|side",
        ),
        Slip(
            interval_by_tiny_percentiles,
            "np.percentile with shares",
            r"percent|100|quantile|middle|narrow|lowest|share",
            "column|without replacement|ten times",
        ),
        Slip(
            interval_shuffling_in_place,
            "resampled from the resample",
            r"argument|chang|in place|resample of|again",
            "column|one side|without replacement",
        ),
        Slip(
            interval_of_the_whole,
            "the statistic of the rows themselves",
            r"resampl|drawn?|replacement|same|rows",
            "column|side",
        ),
    ],
)

# --- optimal_size ---


def size_by_bisection(law, budget):
    _, A, B, a, b = law

    def above(x):
        """Whether one more parameter costs more than it saves, at N = e^x."""
        n = math.exp(x)
        return b * B / (budget / 6 / n) ** b > a * A / n**a

    low, high = -50.0, 150.0
    for _ in range(200):
        half = (low + high) / 2
        low, high = (low, half) if above(half) else (half, high)
    return math.exp(low)


def size_in_logarithms(law, budget):
    _, A, B, a, b = np.asarray(law, dtype=np.float64)
    return np.exp((np.log(a * A) - np.log(b * B) + b * np.log(budget / 6)) / (a + b))


class SizeInTorch:
    """Newton's steps on the loss over log N."""

    def __call__(self, law, budget):
        _, A, B, a, b = law
        x = torch.tensor(math.log(budget / 6) / 2, dtype=torch.float64)
        for _ in range(200):
            small, short = A * (-a * x).exp(), B * (b * x).exp() * (budget / 6) ** -b
            x = x - (b * short - a * small) / (b * b * short + a * a * small)
        return x.exp()


def size_of(A, B, a, b, C, ratio=None, cost=6, root=None, power=None):
    ratio = a * A / (b * B) if ratio is None else ratio
    root = a + b if root is None else root
    return (ratio * (C / cost) ** (b if power is None else power)) ** (1 / root)


def size_slip(**changes):
    def optimal_size(law, budget):
        _, A, B, a, b = law
        made = {name: change(A, B, a, b) for name, change in changes.items()}
        return size_of(A, B, a, b, budget, **made)

    return optimal_size


def size_of_tokens(law, budget):
    return budget / 6 / size_in_logarithms(law, budget)


def size_of_other_order(law, budget):
    _, A, a, B, b = law
    return size_of(A, B, a, b, budget)


def size_and_tokens(law, budget):
    n = float(size_in_logarithms(law, budget))
    return n, budget / 6 / n


def size_of_equal_terms(law, budget):
    _, A, B, a, b = law
    return size_of(A, B, a, b, budget, ratio=A / B)


OPTIMAL_SIZE = Answers(
    right=[size_by_bisection, size_in_logarithms, SizeInTorch()],
    wrong=[
        Slip(
            size_slip(cost=lambda A, B, a, b: 1),
            "C instead of C / 6",
            r"\b6\b|C / 6",
            "root|swap|tokens come",
        ),
        Slip(
            size_slip(ratio=lambda A, B, a, b: b * B / (a * A)),
            "the fraction upside down",
            r"upside|fraction|a \* A|a A|invert|turned|swap",
            "root|6",
        ),
        Slip(
            size_slip(root=lambda A, B, a, b: 1),
            "no root",
            r"root|1 / \(a \+ b\)|power",
            "upside|tokens come",
        ),
        Slip(
            size_slip(power=lambda A, B, a, b: a),
            "(C / 6)^a",
            r"\bb\b|power|exponent|swap|tokens",
            "upside|root is missing",
        ),
        Slip(
            size_slip(power=lambda A, B, a, b: 1),
            "C / 6 without its power",
            r"power|\bb\b|exponent",
            "upside|tokens",
        ),
        Slip(size_of_tokens, "D comes back", r"tokens|\bD\b", "root|upside"),
        Slip(
            size_of_equal_terms,
            "both terms equal, without the factors a and b",
            r"deriv|a A|a \* A|b B|factor|equal",
            "root|6|upside",
        ),
        Slip(
            lambda law, budget: math.sqrt(budget / 6),
            "size and tokens equal",
            r"law|constants|equal|D = N|root of|tokens",
            "upside",
        ),
        Slip(
            lambda law, budget: math.sqrt(budget / 120),
            "twenty tokens per parameter",
            r"law|twenty|20|constants",
            "upside",
        ),
        Slip(
            size_of_other_order,
            "the constants in another order",
            r"order|\(E, A, B, a, b\)",
            "upside|root",
        ),
        Slip(size_and_tokens, "N and D", r"number|one|tokens|tuple|pair|two", "upside|root"),
        Slip(
            size_slip(power=lambda A, B, a, b: b / (a + b), root=lambda A, B, a, b: 1),
            "the fraction without its root",
            r"root|1 / \(a \+ b\)|fraction|power",
            "upside|tokens",
        ),
        Slip(
            lambda law, budget: math.log(size_in_logarithms(law, budget)),
            "log N",
            r"log|exp",
            "upside|root",
        ),
        Slip(
            size_slip(power=lambda A, B, a, b: -b),
            "(C / 6)^-b",
            r"grow|sign|power|minus|larger|exponent|negative",
            "upside|root is",
        ),
    ],
)

ANSWERS = {
    "count_flops": COUNT_FLOPS,
    "isoflop_minimum": ISOFLOP_MINIMUM,
    "power_law": POWER_LAW,
    "huber_log_loss": HUBER_LOG_LOSS,
    "bootstrap_interval": BOOTSTRAP_INTERVAL,
    "optimal_size": OPTIMAL_SIZE,
}
