"""Solutions of lesson 11; the notebook quotes them."""

import math
from collections.abc import Callable

import numpy as np


def count_flops_solution(d_model: int, n_layers: int, length: int, vocab_size: int) -> int:
    parameters = 12 * n_layers * d_model**2 + vocab_size * d_model
    attention = 12 * n_layers * d_model * length
    return 6 * parameters + attention


def isoflop_minimum_solution(sizes: list[float], losses: list[float]) -> tuple[float, float]:
    bend, slope, level = np.polyfit(np.log(sizes), losses, 2)
    lowest = -slope / (2 * bend)
    return math.exp(lowest), level + slope * lowest + bend * lowest**2


def power_law_solution(x: list[float], y: list[float]) -> tuple[float, float]:
    power, level = np.polyfit(np.log(x), np.log(y), 1)
    return math.exp(level), power


def huber_log_loss_solution(
    predicted: np.ndarray, measured: np.ndarray, delta: float = 1e-3
) -> float:
    miss = np.abs(np.log(predicted) - np.log(measured))
    return np.where(miss <= delta, miss**2 / 2, delta * (miss - delta / 2)).mean()


def bootstrap_interval_solution(
    rows: np.ndarray, statistic: Callable[[np.ndarray], float], draws: int, share: float
) -> tuple[float, float]:
    dice = np.random.default_rng(0)
    values = [statistic(rows[dice.integers(len(rows), size=len(rows))]) for _ in range(draws)]
    tail = (1 - share) / 2
    return tuple(np.quantile(values, [tail, 1 - tail]))


def optimal_size_solution(law: tuple[float, ...], budget: float) -> float:
    _, A, B, a, b = law
    return (a * A / (b * B)) ** (1 / (a + b)) * (budget / 6) ** (b / (a + b))
