"""Solutions of lesson 10; the notebook quotes them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def adamw_step_solution(
    theta: Tensor, grad: Tensor, m: Tensor, v: Tensor, t: int, lr: float, weight_decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    m = 0.9 * m + 0.1 * grad
    v = 0.95 * v + 0.05 * grad**2
    step = m / (1 - 0.9**t) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    return theta - lr * weight_decay * theta - lr * step, m, v


def newton_schulz_solution(G: Tensor, steps: int) -> Tensor:
    X = G / G.norm()
    for _ in range(steps):
        A = X @ X.T
        X = 3.4445 * X - 4.775 * A @ X + 2.0315 * A @ A @ X
    return X


def wsd_rate_solution(step: int, steps: int, peak: float, warmup: int, decay: int) -> float:
    up = step / warmup
    down = (steps - step + 1) / decay
    return peak * min(1.0, up, down)


def accumulated_gradient_solution(loss_sum: Callable, theta: Tensor, parts: Sequence) -> Tensor:
    gradient, count = torch.zeros_like(theta), 0
    for part in parts:
        total, n_tokens = loss_sum(theta, part)
        gradient += torch.autograd.grad(total, theta)[0]
        count += n_tokens
    return gradient / count


def clip_gradients_solution(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    scale = min(1.0, max_norm / norm)
    return [scale * gradient for gradient in gradients]


def diagnose_solution(run: str) -> tuple[str, str]:
    return {
        "A": ("leak", "held-out too good"),
        "B": ("frozen layer", "no gradient"),
        "C": ("wrong shift", "only training near zero"),
        "D": ("padding", "training too good"),
        "E": ("no mask", "all near zero"),
        "F": ("rate too high", "never low"),
    }[run]
