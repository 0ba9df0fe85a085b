"""Solutions of lesson 04; the notebook quotes them."""

import math

import torch
from torch import Tensor


def one_hot_solution(ids: Tensor, V: int) -> Tensor:
    return (ids[:, None] == torch.arange(V)).float()


def nearest_solution(table: Tensor, i: int, k: int) -> Tensor:
    directions = table / table.norm(dim=-1, keepdim=True)
    cosines = directions @ directions[i]
    cosines[i] = -torch.inf
    return cosines.topk(k).indices


def turn_solution(x: float, y: float, angle: float) -> tuple[float, float]:
    c, s = math.cos(angle), math.sin(angle)
    return c * x - s * y, s * x + c * y


def rotary_solution(x: Tensor, base: float) -> Tensor:
    T, D = x.shape
    turned = torch.arange(T)[:, None] * base ** (-2 * torch.arange(D // 2) / D)
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [
            first * turned.cos() - second * turned.sin(),
            first * turned.sin() + second * turned.cos(),
        ],
        -1,
    )


def to_halves_solution(W: Tensor) -> Tensor:
    return torch.cat([W[0::2], W[1::2]])
