"""Solutions of lesson 01; the notebook quotes them."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def normalize_rows_solution(counts: Tensor) -> Tensor:
    return counts / counts.sum(-1, keepdim=True)


def weighted_sum_solution(weights: Tensor, values: Tensor) -> Tensor:
    return torch.einsum("bts,bsc->btc", weights, values)


def neuron_gradient_solution(w: float, b: float, x: float, target: float) -> tuple[float, float]:
    y = math.tanh(w * x + b)
    dz = 2 * (y - target) * (1 - y * y)
    return dz * x, dz


def gradient_descent_solution(loss_fn: Callable, start: Tensor, lr: float, steps: int) -> Tensor:
    w = start.clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_fn(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def next_char_loss_solution(table: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(table[ids[:-1]], ids[1:]) / math.log(2)
