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


def cache_bytes_solution(
    layer_types: list[str], head_dim: int, rotated: int, index_dim: int, rates: dict[str, int]
) -> float:
    entry = head_dim + rotated
    per_layer = {
        "sliding": 0.0,
        "CSA": (entry + index_dim / 2) / rates["CSA"],
        "HCA": entry / rates["HCA"],
    }
    return sum(per_layer[kind] for kind in layer_types)
