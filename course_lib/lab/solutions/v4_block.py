"""Solutions of lesson 31; the notebook quotes them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def next_streams_solution(
    streams: Tensor, read: Tensor, mix: Tensor, write: Tensor, sublayer: Callable[[Tensor], Tensor]
) -> Tensor:
    out = sublayer(read @ streams)
    return mix @ streams + torch.outer(write, out)


def doubly_stochastic_solution(logits: Tensor, n_iterations: int) -> Tensor:
    mixing = torch.exp(logits)
    for _ in range(n_iterations):
        mixing = mixing / mixing.sum(0, keepdim=True)
        mixing = mixing / mixing.sum(1, keepdim=True)
    return mixing


def v4_gates_solution(
    logits: Tensor, bias: Tensor, n_chosen: int, table_row: Tensor | None
) -> Tensor:
    affinity = F.softplus(logits).sqrt()
    chosen = (affinity + bias).topk(n_chosen).indices if table_row is None else table_row
    picked = affinity[chosen]
    return torch.zeros_like(logits).scatter(0, chosen, picked / picked.sum())


def clamped_swiglu_solution(gate: Tensor, up: Tensor, limit: float) -> Tensor:
    return F.silu(gate.clamp(max=limit)) * up.clamp(-limit, limit)
