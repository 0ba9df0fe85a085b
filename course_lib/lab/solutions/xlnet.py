"""Solutions of lesson 16, as its notebook quotes them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def chain_probability_solution(
    conditional: Callable[[int, dict[int, str]], dict[str, float]],
    words: Sequence[str],
    order: Sequence[int],
) -> float:
    seen, probability = {}, 1.0
    for position in order:
        probability *= conditional(position, seen)[words[position]]
        seen = seen | {position: words[position]}
    return probability


def unseen_in_order_solution(rank: Tensor) -> Tensor:
    not_before = rank[None, :] >= rank[:, None]
    return not_before & (rank >= 0)


def query_sees_solution(content_sees: Tensor, targets: Tensor) -> Tensor:
    itself = torch.eye(len(content_sees), dtype=torch.bool)
    return (content_sees & ~itself)[targets]


def partial_rank_solution(order: Tensor, n_targets: int) -> Tensor:
    rank = torch.full_like(order, -1)
    rank[order[-n_targets:]] = torch.arange(n_targets)
    return rank


def scores_by_key_solution(scores: Tensor) -> Tensor:
    T = len(scores)
    distance = torch.arange(T)[:, None] - torch.arange(T)
    return scores.gather(1, T - distance)


def next_memory_solution(memory: Tensor | None, states: Tensor, length: int) -> Tensor:
    joined = states if memory is None else torch.cat([memory, states])
    return joined[-length:].detach()
