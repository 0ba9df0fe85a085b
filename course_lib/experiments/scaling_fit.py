"""From losses of many runs to a law: valleys, power laws, and L = E + A / N^a + B / D^b.

Pure functions of numbers. `N` counts parameters, `D` tokens, `C` is training compute in FLOPs
(floating-point operations), a loss is in nats per token.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.training.optimizers import minimise

# one number or many
Numbers = float | int | Sequence | np.ndarray | np.generic

HUBER_DELTA = 1e-3  # of the logarithm of the loss: beyond a tenth of a percent, a run is an outlier


class LossLaw(NamedTuple):
    """The constants of L(N, D) = E + A / N^a + B / D^b.

    `E` is what no model can learn, `A / N^a` what too few parameters cost, `B / D^b` what too few
    tokens cost. Source: Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3, where `a` and `b` are
    called alpha and beta.
    """

    E: float
    A: float
    B: float
    a: float
    b: float

    def loss(self, n_parameters: Numbers, n_tokens: Numbers) -> Numbers:
        """Predict the loss in nats per token.

        >>> round(float(CHINCHILLA_LAW.loss(70e9, 1.4e12)), 3)
        1.937
        """
        n, d = np.asarray(n_parameters, float), np.asarray(n_tokens, float)
        return self.E + self.A / n**self.a + self.B / d**self.b

    def best_parameters(self, compute: float) -> float:
        """Find the N with the lowest loss where C = 6 N D is given: G (C / 6)^(b / (a + b)).

        G = (a A / (b B))^(1 / (a + b)). Source: the paper's equation 4.
        """
        G = (self.a * self.A / (self.b * self.B)) ** (1 / (self.a + self.b))
        return G * (compute / 6) ** (self.b / (self.a + self.b))

    def tokens_per_parameter(self, compute: float) -> float:
        """Give D / N at the best N for this compute.

        >>> [round(law.tokens_per_parameter(5.76e23)) for law in (CHINCHILLA_LAW, EPOCH_LAW)]
        [93, 18]
        """
        return compute / (6 * self.best_parameters(compute) ** 2)


# as printed in Hoffmann et al. 2022, and as fitted again to their data by Besiroglu et al. 2024
# (arXiv 2404.10102), who work at Epoch AI
CHINCHILLA_LAW = LossLaw(E=1.69, A=406.4, B=410.7, a=0.34, b=0.28)
EPOCH_LAW = LossLaw(E=1.8172, A=482.01, B=2085.43, a=0.3478, b=0.3658)


# Valleys and lines
# --------------------------------------------------------------------------------------------------


class IsoflopValley(NamedTuple):
    """A parabola through the losses of one budget: its lowest point, and how much it bends.

    `bend` is the second coefficient, in nats per squared unit of the natural log of N. Where it is
    not above 0 there is no valley, and size and loss are NaN.
    """

    size: float
    loss: float
    bend: float


def isoflop_valley(sizes: Numbers, losses: Numbers) -> IsoflopValley:
    """Fit a parabola to losses over log N and find its lowest point.

    Raises ValueError for fewer than three different sizes. Source: Hoffmann et al. 2022, section
    3.2 ("approach 2").

    >>> isoflop_valley([1e3, 1e4, 1e5], [2.0, 1.5, 2.0]).size.__round__()
    10000
    """
    x, y = np.log(np.asarray(sizes, float)), np.asarray(losses, float)
    if x.shape != y.shape or len(np.unique(x)) < 3:
        raise ValueError(
            f"a parabola needs a loss for each of 3 sizes or more, got {len(np.unique(x))}"
            f" different sizes and {y.size} losses"
        )
    centre = x.mean()  # numbers near 0 keep their digits when squared
    bend, slope, level = np.polyfit(x - centre, y, 2)
    if bend <= 0:
        return IsoflopValley(math.nan, math.nan, float(bend))
    lowest = -slope / (2 * bend)
    return IsoflopValley(
        float(np.exp(centre + lowest)), float(level - slope**2 / (4 * bend)), float(bend)
    )


def fit_power_law(x: Numbers, y: Numbers) -> tuple[float, float]:
    """Fit y = k x^p by a straight line through the logarithms; return (k, p).

    Raises ValueError for numbers that are not above 0, or fewer than two different x.

    >>> k, p = fit_power_law([1, 10, 100], [3, 30, 300])
    >>> round(k, 6), round(p, 6)
    (3.0, 1.0)
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or len(np.unique(x)) < 2 or not ((x > 0).all() and (y > 0).all()):
        raise ValueError(
            f"a power law needs two different x or more, all numbers above 0; got x {x} and y {y}"
        )
    power, level = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(level)), float(power)


def loss_at_compute(computes: Numbers, losses: Numbers, compute: float) -> float:
    """Read a learning curve between its points: a line from point to point in log C and log loss.

    NaN outside the curve, since beyond its ends it is unknown.

    >>> round(loss_at_compute([1, 100], [4.0, 1.0], 10.0), 6)
    2.0
    """
    x, y = np.log(np.asarray(computes, float)), np.log(np.asarray(losses, float))
    order, inside = np.argsort(x), x.min() - 1e-9 <= math.log(compute) <= x.max() + 1e-9
    return float(np.exp(np.interp(math.log(compute), x[order], y[order]))) if inside else math.nan


# The law
# --------------------------------------------------------------------------------------------------


def fit_loss_law(
    n_parameters: Numbers,
    n_tokens: Numbers,
    losses: Numbers,
    starts: Sequence[LossLaw] | None = None,
    delta: float = HUBER_DELTA,
) -> LossLaw:
    """Fit the five constants to runs, by the Huber loss between logarithms of losses.

    From each start, L-BFGS goes downhill; the best end wins. E, A and B are fitted as their
    logarithms, so that they stay above 0. Raises ValueError for fewer than six runs. Source:
    Hoffmann et al. 2022, section 3.3 and appendix D.3. Differs: the mean over runs, not the sum,
    and our starts suit small models.
    """
    table = np.stack(
        np.broadcast_arrays(*(np.asarray(x, float) for x in (n_parameters, n_tokens, losses)))
    )
    if table.ndim != 2 or table.shape[1] < 6 or not (table > 0).all():
        raise ValueError(
            f"five constants need at least 6 runs, all numbers above 0; got shape {table.shape}"
        )
    logs = torch.from_numpy(np.log(table))
    ends = [_descend(_as_vector(start), logs, delta) for start in starts or law_starts(losses)]
    best, _ = min(ends, key=lambda end: end[1])
    logs_of_three, exponents = best[:3], best[3:]
    return LossLaw(*np.exp(logs_of_three).tolist(), *exponents.tolist())


def law_starts(losses: Numbers) -> list[LossLaw]:
    """Spread the places to start from: three shares of the lowest loss as E, and four slopes.

    A and B are such that at N = 10^5, or D = 10^6, each term is half a nat.
    """
    floor = float(np.min(losses))
    return [
        LossLaw(share * floor, 0.5 * 1e5**a, 0.5 * 1e6**b, a, b)
        for share, a, b in product((0.3, 0.6, 0.9), (0.25, 0.6), (0.25, 0.6))
    ]


def huber_of_law(vector: Tensor, logs: Tensor, delta: float) -> Tensor:
    """Average the Huber loss of log predictions; `vector` is (log E, log A, log B, a, b).

    The logarithm of the sum is taken by logsumexp, as the loss of lesson 09.
    """
    log_n, log_d, log_loss = logs
    terms = torch.stack(
        [vector[0].expand_as(log_n), vector[1] - vector[3] * log_n, vector[2] - vector[4] * log_d]
    )
    return torch.nn.functional.huber_loss(terms.logsumexp(0), log_loss, delta=delta)


def _as_vector(law: LossLaw) -> Tensor:
    return torch.tensor([*np.log(law[:3]), *law[3:]], dtype=torch.double)


def _descend(start: Tensor, logs: Tensor, delta: float) -> tuple[np.ndarray, float]:
    """Go downhill from a start; return where it ends and how high that is."""
    vector = start.clone().requires_grad_()
    # Huber's values are about delta^2, so small that tolerances would stop at once: scale them up.
    scale = 1 / delta**2
    end = minimise(
        lambda: scale * huber_of_law(vector, logs, delta),
        [vector], steps=400, tolerance_grad=1e-7, tolerance_change=1e-10,
    )  # fmt: skip
    return vector.detach().numpy(), end if math.isfinite(end) else math.inf


# How sure
# --------------------------------------------------------------------------------------------------


def bootstrap(
    statistic: Callable[[np.ndarray], float | Sequence[float]],
    n_rows: int,
    draws: int = 200,
    seed: int = 0,
) -> Float[np.ndarray, "draws ..."]:
    """Compute a statistic of many resamples: rows drawn with replacement, as many as there are.

    `statistic` gets the chosen row numbers. Source: Efron 1979.

    >>> values = np.array([1.0, 2.0, 3.0])
    >>> bootstrap(lambda rows: values[rows].mean(), n_rows=3, draws=4).shape
    (4,)
    """
    dice = np.random.default_rng(seed)
    return np.array([statistic(dice.integers(n_rows, size=n_rows)) for _ in range(draws)])


def percentile_interval(values: Numbers, share: float = 0.9) -> tuple[Numbers, Numbers]:
    """Give the ends between which the middle `share` of the values lie, along the first axis.

    >>> [round(float(x), 6) for x in percentile_interval(range(101), share=0.9)]
    [5.0, 95.0]
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    tail = (1 - share) / 2
    low, high = np.quantile(np.asarray(values, float), [tail, 1 - tail], axis=0)
    return low, high
