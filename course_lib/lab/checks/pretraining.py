"""Checkers of lesson 10. The truths: torch's AdamW, singular value decompositions, numbers worked
by hand, a least-squares gradient by formula, and what the broken runs themselves show."""

import math
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor

from course_lib.experiments.failure_lab import EVIDENCE, FAULTS, lab_letters
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import Slip, judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


def _adamw_cases() -> list[tuple]:
    """Steps of a run by torch's AdamW, and one of gradients as small as eps."""
    found, double = [], torch.double
    for lr, decay, scale in ((0.1, 0.0, 1.0), (0.01, 0.1, 100.0), (0.3, 0.02, 2e-8)):
        theta = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=double))
        optimizer = torch.optim.AdamW([theta], lr, (0.9, 0.95), 1e-8, weight_decay=decay)
        zeros = torch.zeros(3, dtype=double)
        for t in (1, 2, 3):
            state = optimizer.state[theta]
            before = [
                part.detach().clone()
                for part in (theta, state.get("exp_avg", zeros), state.get("exp_avg_sq", zeros))
            ]
            theta.grad = scale * torch.tensor([0.3, -1.0 / t, 0.02 * t], dtype=double)
            found.append((before[0], theta.grad.clone(), *before[1:], t, lr, decay))
            optimizer.step()
    return found


def _adamw_truth(theta, grad, m, v, t, lr, weight_decay) -> tuple:
    """Let torch take the step."""
    parameter = torch.nn.Parameter(theta.clone())
    optimizer = torch.optim.AdamW([parameter], lr, (0.9, 0.95), 1e-8, weight_decay=weight_decay)
    optimizer.state[parameter] = {
        "step": torch.tensor(float(t - 1)),
        "exp_avg": m.clone(),
        "exp_avg_sq": v.clone(),
    }
    parameter.grad = grad.clone()
    optimizer.step()
    state = optimizer.state[parameter]
    return parameter.detach(), state["exp_avg"], state["exp_avg_sq"]


def _adamw_slip(
    first: tuple[float, float] = (0.9, 0.1),
    second: tuple[float, float] = (0.95, 0.05),
    powers: tuple[float, float] = (0.9, 0.95),
    corrected: tuple[bool, bool] = (True, True),
    root: bool = True,
    eps: str = "after",
    decay: str = "own",
    sign: int = 1,
    squared: bool = True,
    later: int = 0,
    taken: str = "new",
    returned: str = "as they are",
) -> Callable:
    """Make the typical wrong steps of AdamW, each with one part changed."""

    def step(theta, grad, m, v, t, lr, weight_decay):
        given = grad + weight_decay * theta if decay == "in the gradient" else grad
        old = m, v
        m = first[0] * m + first[1] * given
        v = second[0] * v + second[1] * (given**2 if squared else given)
        held = 1 - powers[0] ** (t + later), 1 - powers[1] ** (t + later)
        mean, square = (
            part / share if divided else part
            for part, share, divided in zip(
                (m, v) if taken == "new" else old, held, corrected, strict=True
            )
        )
        if eps == "inside":
            typical = (square + 1e-8).sqrt()
        else:
            typical = (square.sqrt() if root else square) + (1e-8 if eps == "after" else 0)
        moved = theta - sign * lr * mean / typical
        factors = {"own": lr * weight_decay, "last": lr * weight_decay, "no rate": weight_decay}
        moved = moved - factors.get(decay, 0.0) * (moved if decay == "last" else theta)
        return moved, *((mean, square) if returned == "corrected" else (m, v))

    return step


SLIPS_OF_ADAMW: list[Slip] = [
    (
        _adamw_slip(corrected=(False, False)),
        "right, but for the first steps: both averages began at 0 and are too small. Divide m by"
        " 1 - 0.9**t and v by 1 - 0.95**t before you step.",
    ),
    (
        _adamw_slip(corrected=(False, True)),
        "v is corrected for its start at 0, m is not: divide it by 1 - 0.9**t.",
    ),
    (
        _adamw_slip(corrected=(True, False)),
        "m is corrected for its start at 0, v is not: divide it by 1 - 0.95**t.",
    ),
    (
        _adamw_slip(decay="in the gradient"),
        "the weight decay went into the gradient, so it was divided by the root as well: that is"
        " Adam with L2 regularisation. AdamW takes lr * weight_decay * theta off on its own.",
    ),
    (
        _adamw_slip(decay="no rate"),
        "the weight decay is not multiplied by the learning rate: theta shrinks by"
        " lr * weight_decay of itself.",
    ),
    (_adamw_slip(decay="none"), "theta does not shrink: the weight decay is missing."),
    (
        _adamw_slip(decay="last"),
        "the weight decay shrinks theta after the step. It takes lr * weight_decay of the parameter"
        " before the step.",
    ),
    (
        _adamw_slip(later=1),
        "the step is counted one too high: t is 1 for the first, so m holds 1 - 0.9**t of its"
        " average, not 1 - 0.9**(t + 1).",
    ),
    (
        _adamw_slip(later=-1),
        "the step is counted from 0: t is 1 for the first, when m holds 1 - 0.9**1 of its average."
        " With t - 1 the first step is 0 / 0.",
    ),
    (
        _adamw_slip(returned="corrected"),
        "theta is right, but m and v come back corrected. Keep the averages as they are: the next"
        " step corrects them by its own t.",
    ),
    (
        _adamw_slip(taken="old"),
        "theta steps along the old averages. Take this gradient into m and v first, then step.",
    ),
    (_adamw_slip(sign=-1), "theta moves along the gradient, uphill: subtract the step."),
    (
        _adamw_slip(root=False),
        "the average of squares is divided by as it is. Take its root: a step should have the unit"
        " of theta, not of 1 / gradient.",
    ),
    (
        _adamw_slip(eps="inside"),
        "eps stands under the root. Adam adds it after the root; with gradients of 1e-8 the"
        " difference shows.",
    ),
    (
        _adamw_slip(eps="none"),
        "eps is missing: with gradients as small as 1e-8 (the third run) it halves the step.",
    ),
    (
        _adamw_slip(first=(0.1, 0.9)),
        "0.9 and 0.1 are exchanged in m: it should keep nine tenths of the old average.",
    ),
    (
        _adamw_slip(second=(0.05, 0.95)),
        "0.95 and 0.05 are exchanged in v: it should keep 95 % of the old average.",
    ),
    (
        _adamw_slip(first=(0.1, 0.9), second=(0.05, 0.95)),
        "the factors are exchanged: m should keep 0.9 and v 0.95 of the old average.",
    ),
    (
        _adamw_slip(first=(0.1, 0.9), second=(0.05, 0.95), powers=(0.1, 0.05)),
        "the factors are exchanged: m should keep 0.9 and v 0.95 of the old average.",
    ),
    (
        _adamw_slip(second=(0.9, 0.1), powers=(0.9, 0.9)),
        "v forgets as fast as m. Its factor is 0.95.",
    ),
    (
        _adamw_slip(second=(0.999, 0.001), powers=(0.9, 0.999)),
        "v has torch's default 0.999. Large language models take 0.95, and so does this exercise.",
    ),
    (_adamw_slip(first=(0.9, 1.0)), "m is a sum: the new gradient counts for 0.1, not for 1."),
    (
        _adamw_slip(first=(0.9, 1.0), second=(0.95, 1.0)),
        "both averages are sums: the new gradient counts for 0.1 in m, its square for 0.05 in v.",
    ),
    (_adamw_slip(second=(0.95, 1.0)), "v is a sum: the new square counts for 0.05, not for 1."),
    (_adamw_slip(squared=False), "v averages the gradients. It should average their squares."),
]


@checker
def adamw_step(attempt: Attempt) -> str:
    """Take one step of AdamW and return the parameter and both averages."""
    judge_by_slips(
        attempt,
        _adamw_cases(),
        _adamw_truth,
        SLIPS_OF_ADAMW,
        lambda theta, grad, m, v, t, lr, weight_decay: (
            f"(theta, m, v) after step {t} with lr {lr} and weight decay {weight_decay}"
        ),
        tolerance=1e-9,
        plain=_three_tensors,
    )
    return "the same numbers as torch's AdamW, also for gradients as small as eps."


def _three_tensors(got: Any) -> tuple:
    if not isinstance(got, tuple | list) or len(got) != 3:
        raise Wrong(f"return three tensors, (theta, m, v); you returned {describe(got)}.")
    return tuple(got)


# Exercise 2
# --------------------------------------------------------------------------------------------------

ROUND = (3.4445, -4.775, 2.0315)


def _by_singular_values(scaled: Callable[[Tensor], Tensor], per_round: Callable) -> Callable:
    """Make what the iteration does to the singular values, by a decomposition."""

    def found(G: Tensor, steps: int) -> Tensor:
        U, values, Vh = torch.linalg.svd(G, full_matrices=False)
        values = scaled(values)
        for _ in range(steps):
            values = per_round(values)
        return U @ torch.diag(values) @ Vh

    return found


def _polynomial(s: Tensor, a: float = ROUND[0], b: float = ROUND[1], c: float = ROUND[2]) -> Tensor:
    return a * s + b * s**3 + c * s**5


def _unit(values: Tensor) -> Tensor:
    return values / values.norm()


def _rounds_by_matrix(product: Callable[[Tensor, Tensor], Tensor], norm: Callable) -> Callable:
    """Make the iteration with another product of A and X, or another norm."""

    def found(G: Tensor, steps: int) -> Tensor:
        X = G / norm(G)
        for _ in range(steps):
            X = product(X @ X.T, X)
        return X

    return found


def _rounds_of(A_of: Callable[[Tensor], Tensor], once: bool = False) -> Callable:
    """Make the iteration with another A, or with that of the first round in all."""

    def found(G: Tensor, steps: int) -> Tensor:
        X = G / G.norm()
        A = A_of(X)
        for _ in range(steps):
            X = _muon_round(A if once else A_of(X), X)
        return X

    return found


def _muon_round(A: Tensor, X: Tensor) -> Tensor:
    return ROUND[0] * X + ROUND[1] * A @ X + ROUND[2] * A @ A @ X


def _schulz_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 3, 2), (2, 5, 3), (6, 3, 5), (3, 4, 1), (2, 2, 0))
    return [
        (scale * torch.randn(rows, columns, generator=generator, dtype=torch.double), steps)
        for scale, (rows, columns, steps) in zip((1.0, 10.0, 0.1, 3.0, 1.0), shapes, strict=True)
    ]


SLIPS_OF_SCHULZ: list[Slip] = [
    (
        _by_singular_values(lambda s: s, _polynomial),
        "the matrix was not divided by its norm first. Singular values above about 1.3 run away"
        " under this polynomial.",
    ),
    (
        _by_singular_values(_unit, lambda s: 1.5 * s - 0.5 * s**3),
        "that is the classical iteration, 1.5 X - 0.5 A X. Here the three coefficients of Muon are"
        " asked for.",
    ),
    (
        _by_singular_values(lambda s: s / s.max(), _polynomial),
        "you divided by the largest singular value. The exercise divides by the Frobenius norm,"
        " which needs no decomposition.",
    ),
    (
        lambda G, steps: _by_singular_values(torch.ones_like, lambda s: s)(G, 0),
        "that is U V^T itself, with all singular values 1. Five rounds come near it, not to it.",
    ),
    (
        _by_singular_values(_unit, lambda s: ROUND[0] * s + ROUND[1] * s**3),
        "the term with A A X is missing.",
    ),
    (
        _by_singular_values(_unit, lambda s: ROUND[0] * s + ROUND[1] * s**3 + ROUND[2] * s**4),
        "the last term should be A @ A @ X, a fifth power of the singular values.",
    ),
    (
        _rounds_by_matrix(
            lambda A, X: ROUND[0] * X - ROUND[1] * A @ X + ROUND[2] * A @ A @ X, Tensor.norm
        ),
        "the middle coefficient is negative, -4.775.",
    ),
    (
        lambda G, steps: _by_singular_values(_unit, _polynomial)(G, 5),
        "always five rounds: take as many as `steps` says.",
    ),
    (
        _rounds_by_matrix(
            lambda A, X: ROUND[0] * X + ROUND[1] * A * X + ROUND[2] * A * A * X, Tensor.norm
        ),
        "A is multiplied entry by entry. These are matrix products, @.",
    ),
    (
        _rounds_by_matrix(lambda A, X: _polynomial(X), Tensor.norm),
        "the powers are taken number by number. A X and A A X are matrix products, @.",
    ),
    (
        _rounds_of(lambda X: X * X),
        "A is X times X number by number. It is the matrix product X @ X.T.",
    ),
    (_rounds_of(lambda X: X.T @ X), "A is X.T @ X. The formula has X transposed last: X @ X.T."),
    (_rounds_of(lambda X: X @ X), "A is X @ X. The second factor is transposed: X @ X.T."),
    (
        _rounds_of(lambda X: X @ X.T, once=True),
        "A is computed once, before the rounds. Each round has an A of its own, from its X.",
    ),
    (
        _rounds_by_matrix(
            lambda A, X: ROUND[0] * X + ROUND[1] * A @ X + ROUND[2] * A @ X, Tensor.norm
        ),
        "the last term has A once. It is A @ A @ X, with A squared.",
    ),
    (
        lambda G, steps: _by_singular_values(_unit, _polynomial)(G, steps + 1),
        "one round too many: take `steps` of them.",
    ),
    (
        lambda G, steps: _by_singular_values(_unit, _polynomial)(G, max(steps - 1, 0)),
        "one round too few: take `steps` of them.",
    ),
    (
        _by_singular_values(_unit, lambda s: _polynomial(_unit(s))),
        "X is divided by its norm again in each round. Divide once, before the first.",
    ),
    (
        _by_singular_values(lambda s: s / s.square().sum(), _polynomial),
        "you divided by the sum of the squares. The norm is its root.",
    ),
    (
        _rounds_by_matrix(_muon_round, lambda G: G.abs().max()),
        "you divided by the largest number. The Frobenius norm is the root of the sum of all"
        " squares.",
    ),
    (
        _rounds_by_matrix(_muon_round, lambda G: G.abs().sum()),
        "you divided by the sum of all sizes. The Frobenius norm is the root of the sum of all"
        " squares.",
    ),
    (
        _rounds_by_matrix(_muon_round, lambda G: G.norm(dim=1, keepdim=True)),
        "each row is divided by its own norm. Divide by one number, the norm of the whole matrix.",
    ),
    (
        _rounds_by_matrix(_muon_round, lambda G: G.norm(dim=0, keepdim=True)),
        "each column is divided by its own norm. Divide by one number, the norm of the whole"
        " matrix.",
    ),
    (
        _by_singular_values(_unit, lambda s: (15 * s - 10 * s**3 + 3 * s**5) / 8),
        "these are the coefficients of the iteration that converges. Muon has 3.4445, -4.775 and"
        " 2.0315.",
    ),
]


@checker
def newton_schulz(attempt: Attempt) -> str:
    """Make a matrix nearly orthogonal by rounds of Newton-Schulz."""
    judge_by_slips(
        attempt,
        _schulz_cases(),
        _by_singular_values(_unit, _polynomial),
        SLIPS_OF_SCHULZ,
        lambda G, steps: f"a {G.shape[0]} x {G.shape[1]} matrix after {steps} rounds",
        tolerance=1e-6,
    )
    return "the singular vectors stay, the singular values follow the polynomial."


# Exercise 3
# --------------------------------------------------------------------------------------------------

# step, steps, peak, warmup, decay -> the rate, worked by hand
RATES_BY_HAND = {
    (1, 10, 1.0, 4, 2): 0.25,
    (3, 10, 1.0, 4, 2): 0.75,
    (4, 10, 1.0, 4, 2): 1.0,
    (7, 10, 1.0, 4, 2): 1.0,
    (9, 10, 1.0, 4, 2): 1.0,
    (10, 10, 1.0, 4, 2): 0.5,
    (10, 10, 0.02, 1, 5): 0.004,
    (1, 10, 0.02, 1, 5): 0.02,
    (6, 10, 0.02, 1, 5): 0.02,
    (7, 10, 0.02, 1, 5): 0.016,
    (3, 4, 0.6, 6, 5): 0.24,
    (2, 4, 0.6, 6, 5): 0.2,
    (50, 100, 0.3, 10, 1): 0.3,
    (100, 100, 0.3, 10, 1): 0.3,
}


def _rate_slip(up: int = 0, down: int = 1, joined: Callable = min, peak: bool = True) -> Callable:
    def rate(step, steps, top, warmup, decay):
        share = joined(1.0, (step + up) / warmup, (steps - step + down) / decay)
        return (top if peak else 1.0) * share

    return rate


SLIPS_OF_RATE: list[Slip] = [
    (
        _rate_slip(down=0),
        "the last step has the rate 0, so it stands still. The decay ends at 0 after the last step:"
        " step `steps` has still 1 / decay of the peak.",
    ),
    (
        _rate_slip(up=-1),
        "the first step has the rate 0, so it stands still. Step 1 has 1 / warmup of the peak.",
    ),
    (
        _rate_slip(up=-1, down=0),
        "the first and the last step have the rate 0, so they stand still.",
    ),
    (_rate_slip(peak=False), "that is the share of the peak. Multiply by `peak`."),
    (
        lambda step, steps, peak, warmup, decay: peak * min(1.0, step / warmup),
        "the rate never falls: the last `decay` steps are a ramp down.",
    ),
    (
        lambda step, steps, peak, warmup, decay: peak * min(1.0, (steps - step + 1) / decay),
        "the rate begins at its peak: the first `warmup` steps are a ramp up.",
    ),
    (
        lambda step, steps, peak, warmup, decay: (
            peak * min(step / warmup, (steps - step + 1) / decay)
        ),
        "the rate climbs above its peak: it is level between the ramps.",
    ),
    (
        lambda step, steps, peak, warmup, decay: (
            peak * step / warmup if step <= warmup else peak * min(1.0, (steps - step + 1) / decay)
        ),
        "right where the ramps do not meet. Where they do (4 steps, warmup 6, decay 5) the lower"
        " ramp holds.",
    ),
    (
        _rate_slip(joined=lambda one, up, down: max(min(one, up), min(one, down))),
        "the higher ramp holds. The rate is the lowest of the three: ramp up, level, ramp down.",
    ),
    (
        lambda step, steps, peak, warmup, decay: (
            peak * min(1.0, step / warmup)
            if step <= steps - decay
            else peak * min(1.0, step / warmup) * (step - steps + decay) / decay
        ),
        "the last ramp climbs. At its end the rate is low.",
    ),
    (
        _rate_slip(up=1),
        "the warm-up is one step early: step 1 has 1 / warmup of the peak, step `warmup` the peak.",
    ),
    (
        _rate_slip(down=2),
        "the decay is one step late: the last step has 1 / decay of the peak, the one before twice"
        " that.",
    ),
    (
        _rate_slip(joined=lambda one, up, down: min(one, up) * min(one, down)),
        "right where the ramps do not meet. Where they overlap you multiply them: the lower one"
        " holds.",
    ),
    (
        lambda step, steps, peak, warmup, decay: (
            peak * (steps - step + 1) / decay
            if step > steps - decay
            else peak * min(1.0, step / warmup)
        ),
        "right where the ramps do not meet. Where they overlap your decay always wins: the lower"
        " one holds, and early on that is the warm-up.",
    ),
    (
        _rate_slip(
            joined=lambda one, up, down: min(
                one, up, 0.5 - 0.5 * math.cos(math.pi * min(one, down))
            )
        ),
        "the rate falls along a cosine. In the last `decay` steps it falls evenly.",
    ),
    (
        _rate_slip(joined=lambda one, up, down: min(one, up, 0.1 + 0.9 * min(one, down))),
        "the rate falls towards a tenth of the peak. It falls to peak / decay at the last step.",
    ),
    (
        lambda step, steps, peak, warmup, decay: peak * min(1.0, step / warmup, step / decay),
        "the decay counts the steps from the start. It counts those that are left:"
        " steps - step + 1.",
    ),
    (
        _rate_slip(joined=lambda one, up, down: min(one, up // 1, down // 1)),
        "the shares are cut to whole numbers by //, so the ramps are steps. Divide by /.",
    ),
]


@checker
def wsd_rate(attempt: Attempt) -> str:
    """Give the learning rate of one step: up, level, down."""
    judge_by_slips(
        attempt,
        list(RATES_BY_HAND),
        lambda *case: RATES_BY_HAND[case],
        SLIPS_OF_RATE,
        lambda step, steps, peak, warmup, decay: (
            f"the rate of step {step} of {steps}, peak {peak}, warmup {warmup}, decay {decay}"
        ),
        tolerance=1e-9,
    )
    return "no step stands still, and where the ramps meet the lower one holds."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _squares(theta: Tensor, part: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
    """Sum up squared errors over the targets that count, and count them."""
    x, y = part
    counted = y.isfinite()
    return ((x @ theta - y)[counted] ** 2).sum(), int(counted.sum())


class _Saved:
    """A tensor that a graph holds for its backward pass."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class _WatchedSquares:
    """The same sum. It counts how many earlier parts' graphs are still there when a part is read:
    taking a gradient lets go of what the graph had saved."""

    def __init__(self):
        self.graphs: list[weakref.WeakSet] = []
        self.most = 0

    def __call__(self, theta: Tensor, part: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        self.most = max(self.most, sum(1 for graph in self.graphs if len(graph)))
        graph: weakref.WeakSet = weakref.WeakSet()
        self.graphs.append(graph)

        def keep(tensor: Tensor) -> _Saved:
            saved = _Saved(tensor)
            graph.add(saved)
            return saved

        try:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved.tensor):
                return _squares(theta, part)
        except RuntimeError:  # under torch.func.grad, which has no such hooks and keeps no graph
            return _squares(theta, part)


def _accumulate_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 3, generator=generator, dtype=torch.double)
    y = torch.randn(12, generator=generator, dtype=torch.double)
    padded = y.clone()
    padded[[3, 4, 5, 9]] = math.inf
    cuts = [[0, 6, 12], [0, 1, 4, 12], [0, 12], [0, 3, 6, 12]]
    found = []
    for targets, borders in zip((y, padded, padded, padded), cuts, strict=True):
        theta = torch.tensor([0.5, -1.0, 2.0], dtype=torch.double, requires_grad=True)
        found.append((_squares, theta, [(x[a:b], targets[a:b]) for a, b in pairwise(borders)]))
    return found


def _gradient_by_formula(loss_sum: Callable, theta: Tensor, parts: Sequence) -> Tensor:
    """The gradient of the mean of squares, 2 X^T (X theta - y) / n, over all parts at once."""
    x, y = (torch.cat(columns) for columns in zip(*parts, strict=True))
    counted = y.isfinite()
    x, y = x[counted], y[counted]
    return 2 * x.T @ (x @ theta.detach() - y) / len(y)


def _accumulate_slip(weigh: Callable[[Tensor, int, int], Tensor], last: Callable) -> Callable:
    def found(loss_sum: Callable, theta: Tensor, parts: Sequence) -> Tensor:
        kept, counts = [], []
        for part in parts:
            total, count = loss_sum(theta, part)
            kept.append(weigh(torch.autograd.grad(total, theta)[0], count, len(part[0])))
            counts.append((count, len(part[0])))
        return last(kept, counts)

    return found


def _mean_loss(loss_sum: Callable, theta: Tensor, parts: Sequence) -> Tensor:
    totals, counts = zip(*(loss_sum(theta, part) for part in parts), strict=True)
    return (sum(totals) / sum(counts)).detach()


SLIPS_OF_ACCUMULATION: list[Slip] = [
    (
        _mean_loss,
        "that is the mean loss of the batch. Its gradient with respect to theta is asked for.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: g / max(n, 1), lambda kept, _: sum(kept) / len(kept)),
        "that is the mean of the parts' means. A token in a short part counts for more than one in"
        " a long part. Add up sums, and divide once by all tokens.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: g / max(n, 1), lambda kept, _: sum(kept)),
        "the parts' means are added up: with more parts the gradient grows. Add up sums, and divide"
        " once by all tokens.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: g / n, lambda kept, _: sum(kept) / len(kept)),
        "that is the mean of the parts' means, and a part without targets makes it NaN, 0 / 0. Add"
        " up sums, and divide once by all tokens.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: g / n, lambda kept, _: sum(kept)),
        "the parts' means are added up, and a part without targets makes it NaN, 0 / 0. Add up"
        " sums, and divide once by all tokens.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: g, lambda kept, _: sum(kept)),
        "the sum is not divided: a batch with twice the tokens would take a step twice as long.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: g, lambda kept, _: sum(kept) / len(kept)),
        "you divided by the number of parts. Divide by the number of tokens of all parts.",
    ),
    (
        _accumulate_slip(
            lambda g, n, rows: g, lambda kept, counts: sum(kept) / sum(rows for _, rows in counts)
        ),
        "you divided by all targets, also by those that do not count. `loss_sum` tells how many"
        " its sum is over.",
    ),
    (
        _accumulate_slip(
            lambda g, n, rows: g, lambda kept, counts: kept[-1] / max(counts[-1][0], 1)
        ),
        "only the last part is left: add the parts up.",
    ),
    (
        _accumulate_slip(
            lambda g, n, rows: g, lambda kept, counts: sum(kept) / max(counts[-1][0], 1)
        ),
        "the sum of all parts is divided by the tokens of the last one. Add up the counts too.",
    ),
    (
        _accumulate_slip(
            lambda g, n, rows: g, lambda kept, counts: -sum(kept) / sum(n for n, _ in counts)
        ),
        "the sign is the other way round: the gradient is asked for, not the step.",
    ),
    (
        lambda loss_sum, theta, parts: (
            theta.detach() - _gradient_by_formula(loss_sum, theta, parts)
        ),
        "that is theta after a step along the gradient. The gradient itself is asked for.",
    ),
    (
        _accumulate_slip(
            lambda g, n, rows: g, lambda kept, counts: sum(kept) / sum(max(n, 1) for n, _ in counts)
        ),
        "a part without targets counts as one token. It counts as none.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: (g, n), lambda pairs, _: _up_to_an_empty_one(pairs)),
        "the loop ends at a part without targets. Its sum is 0 and it counts nothing: go on.",
    ),
    (
        _accumulate_slip(lambda g, n, rows: (g, n), lambda pairs, _: _divided_each_time(pairs)),
        "the sum is divided after every part, so the first parts are divided again and again."
        " Divide once, after the loop.",
    ),
]


def _up_to_an_empty_one(pairs: Sequence[tuple[Tensor, int]]) -> Tensor:
    before = list(takewhile(lambda pair: pair[1], pairs))
    return sum(g for g, _ in before) / sum(n for _, n in before)


def _divided_each_time(pairs: Sequence[tuple[Tensor, int]]) -> Tensor:
    found, count = torch.zeros_like(pairs[0][0]), 0
    for g, n in pairs:
        count += n
        found = (found + g) / max(count, 1)
    return found


@checker
def accumulated_gradient(attempt: Attempt) -> str:
    """Find the gradient of a batch's mean loss from its parts."""
    cases = _accumulate_cases()
    judge_by_slips(
        attempt,
        cases,
        _gradient_by_formula,
        SLIPS_OF_ACCUMULATION,
        lambda loss_sum, theta, parts: (
            f"the gradient of parts with {', '.join(str(_squares(theta, p)[1]) for p in parts)}"
            " targets that count"
        ),
        tolerance=1e-9,
        plain=lambda got: got.detach() if isinstance(got, Tensor) else got,
    )
    _refuse_many_graphs(attempt, *cases[-1])
    if any(theta.grad is not None for _, theta, _ in cases):
        raise Wrong(
            "the gradient is right, but it was left in theta.grad: your caller's tensor is changed,"
            " and `backward` adds to what stands there. Use torch.autograd.grad, which leaves theta"
            " alone."
        )
    return "the big batch's gradient, however it is cut, also with a part that holds no target."


def _refuse_many_graphs(attempt: Attempt, _: Callable, theta: Tensor, parts: list) -> None:
    """Let eight parts be read; two graphs may overlap while one name is given to the next."""
    watched = _WatchedSquares()
    attempt(watched, theta.detach().clone().requires_grad_(), 4 * parts[:1] + 4 * parts[-1:])
    if watched.most > 1:
        raise Wrong(
            f"the gradient is right, but the graphs of {watched.most + 1} parts were kept at once,"
            " which takes the memory of the whole batch. Take a part's gradient before you read the"
            " next part."
        )


# Exercise 5
# --------------------------------------------------------------------------------------------------

CASES_OF_CLIPPING = [
    ([torch.tensor([3.0, 0.0]), torch.tensor([[0.0], [4.0]])], 1.0),
    ([torch.tensor([0.3, 0.0]), torch.tensor([[0.0], [-0.4]])], 1.0),
    ([torch.tensor([-6.0]), torch.tensor([2.0, 3.0])], 3.5),
    ([torch.tensor([0.5]), torch.tensor([0.0])], 0.5),
    ([torch.tensor([3.0, 4.0]), torch.tensor([[0.0]])], 2.5),
    ([torch.tensor([0.0]), torch.tensor([0.0, 0.0])], 1.0),
]


def _clip_by_torch(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    """Let torch clip parameters that have these gradients."""
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


def _norm_of(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients]).norm()


def _mean_square(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients]).square().mean().sqrt()


def _scaled_by(factor: Callable[[list[Tensor], float], Any]) -> Callable:
    return lambda gradients, bound: [g * factor(gradients, bound) for g in gradients]


SLIPS_OF_CLIPPING: list[Slip] = [
    (
        lambda gradients, bound: [g * min(1.0, bound / max(g.norm(), 1e-30)) for g in gradients],
        "each tensor is clipped on its own, which turns the step in another direction. One norm"
        " over all tensors, one factor for all.",
    ),
    (
        lambda gradients, bound: [g.clamp(-bound, bound) for g in gradients],
        "each number is clamped on its own, which turns the step in another direction. Multiply all"
        " by one factor.",
    ),
    (
        _scaled_by(lambda gradients, bound: bound / max(_norm_of(gradients), 1e-30)),
        "short gradients are stretched to the bound. Clipping only shortens: the factor is at most"
        " 1.",
    ),
    (
        _scaled_by(lambda gradients, bound: min(1.0, bound / max(_norm_of(gradients) ** 2, 1e-30))),
        "you divided by the square of the norm: a root is missing.",
    ),
    (
        _scaled_by(
            lambda gradients, bound: min(1.0, bound / max(sum(g.norm() for g in gradients), 1e-30))
        ),
        "the norms of the tensors are added up. The norm over all is the root of the sum of their"
        " squares.",
    ),
    (
        _scaled_by(
            lambda gradients, bound: min(1.0, bound / max(max(g.norm() for g in gradients), 1e-30))
        ),
        "only the longest tensor is looked at. The norm runs over all numbers of all tensors.",
    ),
    (
        _scaled_by(
            lambda gradients, bound: min(
                1.0, bound / max(sum(g.abs().sum() for g in gradients), 1e-30)
            )
        ),
        "you took the sum of absolute values. The norm is the root of the sum of squares.",
    ),
    (
        _scaled_by(
            lambda gradients, bound: min(
                1.0, bound / max(max(g.abs().max() for g in gradients), 1e-30)
            )
        ),
        "you took the largest number. The norm is the root of the sum of squares.",
    ),
    (
        _scaled_by(lambda gradients, bound: min(1.0, bound / max(_mean_square(gradients), 1e-30))),
        "you took the root of the mean of the squares. The norm is the root of their sum.",
    ),
    (
        _scaled_by(
            lambda gradients, bound: min(
                1.0, bound / max(sum(g.norm() for g in gradients) / len(gradients), 1e-30)
            )
        ),
        "you took the mean of the tensors' norms. The norm over all is the root of the sum of their"
        " squares.",
    ),
    (
        _scaled_by(
            lambda gradients, bound: 1 / _norm_of(gradients) if _norm_of(gradients) > bound else 1.0
        ),
        "long gradients are scaled to norm 1. Scale them to max_norm.",
    ),
    (
        _scaled_by(lambda gradients, bound: bound if _norm_of(gradients) > bound else 1.0),
        "long gradients are multiplied by max_norm. The factor is max_norm over their norm.",
    ),
    (
        _scaled_by(lambda gradients, bound: 1 / bound if _norm_of(gradients) > bound else 1.0),
        "long gradients are divided by max_norm. The factor is max_norm over their norm.",
    ),
    (
        _scaled_by(lambda gradients, bound: 0.0 if _norm_of(gradients) > bound else 1.0),
        "long gradients become 0. Shorten them to max_norm: their direction still counts.",
    ),
    (
        _scaled_by(
            lambda gradients, bound: (
                _norm_of(gradients) / bound if _norm_of(gradients) > bound else 1.0
            )
        ),
        "the factor is upside down: long gradients are made longer. It is max_norm over the norm.",
    ),
    (lambda gradients, bound: gradients, "nothing is shortened."),
]


@checker
def clip_gradients(attempt: Attempt) -> str:
    """Shorten gradients to a common norm."""

    def plain(got: Any) -> list:
        values = list(got) if isinstance(got, tuple | list) else got
        if isinstance(values, list) and any(
            isinstance(g, Tensor) and g.isnan().any() for g in values
        ):
            raise Wrong("gradients that are all 0 come out as NaN: 0/0. They need no clipping.")
        return values

    judge_by_slips(
        attempt,
        CASES_OF_CLIPPING,
        _clip_by_torch,
        SLIPS_OF_CLIPPING,
        lambda gradients, bound: f"gradients of norm {_norm_of(gradients):.3g} clipped to {bound}",
        tolerance=1e-5,
        plain=plain,
    )
    return "one factor for all, so the direction stays."


# Exercise 6
# --------------------------------------------------------------------------------------------------

# fault -> the evidence for it, and what would be seen if a run had it
SIGNS = {
    "no mask": (
        "all near zero",
        "a model that reads the answer would have no loss on any text, also on text never seen",
    ),
    "leak": (
        "held-out too good",
        "the held-out loss would be as low as the training loss, and text written later far above",
    ),
    "rate too high": (
        "never low",
        "the steps would throw away what was learnt: no loss would come near the healthy run's",
    ),
    "padding": (
        "training too good",
        "most targets would be the easy filler: a low training loss early on, and a held-out loss"
        " that knows nothing of it",
    ),
    "frozen layer": ("no gradient", "some part would have a gradient of length 0"),
    "wrong shift": (
        "only training near zero",
        "the model would learn to repeat its input: no training loss, a held-out loss worse than a"
        " guess, and a sample that stutters",
    ),
}
SEEN_IN_HEALTHY = ("noise", "gap")


@checker
def diagnose(attempt: Attempt) -> str:
    """Say of each run what is broken, and which evidence shows it."""
    for letter, fault in lab_letters().items():
        _judge_diagnosis(letter, fault, *_pair(letter, attempt(letter)))
    return "six faults found, each by what only that fault shows."


def _pair(letter: str, got: Any) -> tuple[str, str]:
    """Check that an answer is a known fault and a known piece of evidence."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"run {letter}: return two texts, (fault, evidence), not {describe(got)}.")
    fault, evidence = got
    if fault in EVIDENCE and evidence in FAULTS:
        raise Wrong(f"run {letter}: the fault comes first, the evidence second.")
    for what, word, known in (("fault", fault, FAULTS), ("evidence", evidence, EVIDENCE)):
        if word not in list(known):
            raise Wrong(f"run {letter}: {word!r} is no {what}; there are {', '.join(known)}.")
    return fault, evidence


def _judge_diagnosis(letter: str, truth: str, fault: str, evidence: str) -> None:
    """Refuse a wrong fault by what it would show, and evidence that proves nothing."""
    if fault != truth:
        raise Wrong(
            f"run {letter} is not {fault!r}: {SIGNS[fault][1]}. Look at run {letter} again: is it"
            " so?"
        )
    if evidence in SEEN_IN_HEALTHY:
        raise Wrong(
            f"run {letter}: the diagnosis is right, the evidence proves nothing. The healthy run"
            f" shows it too: {EVIDENCE[evidence]}. What is there in run {letter} alone?"
        )
    if evidence != SIGNS[truth][0]:
        raise Wrong(
            f"run {letter}: the diagnosis is right, the reason is not: run {letter} does not show"
            f" that {EVIDENCE[evidence]}."
        )
