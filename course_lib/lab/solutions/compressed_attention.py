"""Solutions of lesson 30, as its notebook quotes them."""

from collections.abc import Callable

import torch
from torch import Tensor


def cache_bytes_solution(rates: list[int], entry_bytes: int, index_bytes: int) -> float:
    total = 0.0
    for rate in rates:
        if rate > 0:
            total += entry_bytes / rate
        if rate == 4:
            total += index_bytes / rate
    return total


def pool_block_solution(content: Tensor, gate: Tensor, bias: Tensor) -> Tensor:
    weights = (gate + bias).softmax(dim=0)
    return (weights * content).sum(dim=0)


def rotate_entries_solution(entries: Tensor, rate: int, width: int) -> Tensor:
    positions = rate * torch.arange(len(entries))
    angles = positions[:, None] * 10_000.0 ** (-torch.arange(0, width, 2) / width)
    cos, sin = angles.cos(), angles.sin()
    first, second = entries[:, -width::2], entries[:, 1 - width :: 2]
    placed = entries.clone()
    placed[:, -width::2] = first * cos - second * sin
    placed[:, 1 - width :: 2] = first * sin + second * cos
    return placed


def readable_solution(T: int, window: int, rate: int) -> Tensor:
    t, s, i = torch.arange(T)[:, None], torch.arange(T), torch.arange(T // rate)
    tokens = (s <= t) & (t - s < window)
    blocks = (i + 1) * rate <= t + 1
    return torch.cat([tokens, blocks], dim=1)


def overlap_rows_solution(content: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    to_next, own = content.chunk(2, dim=-1)
    before = torch.cat([torch.zeros_like(to_next[:1]), to_next[:-1]])
    gate_to_next, own_gate = gate.chunk(2, dim=-1)
    nothing = torch.full_like(gate_to_next[:1], -torch.inf)
    gate_before = torch.cat([nothing, gate_to_next[:-1]])
    return torch.cat([before, own], dim=1), torch.cat([gate_before, own_gate], dim=1)


def shared_kv_output_solution(
    q: Tensor, kv: Tensor, visible: Tensor, sink: float, turn: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    scores = (q @ kv.T / q.shape[-1] ** 0.5).masked_fill(~visible, -torch.inf)
    with_sink = torch.cat([scores, torch.full_like(scores[:, :1], sink)], dim=1)
    weights = with_sink.softmax(dim=1)[:, :-1]
    return turn(weights @ kv, -torch.arange(len(q)))
