"""Solutions of lesson 20; the notebook quotes them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def top_k_gates_solution(
    logits: Tensor, n_chosen: int, normalise: bool = False
) -> tuple[Tensor, Tensor]:
    weights, chosen = logits.softmax(-1).topk(n_chosen)
    return chosen, weights / weights.sum(-1, keepdim=True) if normalise else weights


def mix_experts_solution(
    x: Tensor, chosen: Tensor, weights: Tensor, experts: Sequence[Callable[[Tensor], Tensor]]
) -> Tensor:
    out = torch.zeros_like(x)
    for number, expert in enumerate(experts):
        token, slot = (chosen == number).nonzero(as_tuple=True)
        out = out.index_add(0, token, weights[token, slot, None] * expert(x[token]))
    return out


def balance_loss_solution(scores: Tensor, chosen: Tensor) -> Tensor:
    n_tokens, n_experts = scores.shape
    load = torch.bincount(chosen.flatten(), minlength=n_experts)
    f = load * n_experts / (chosen.shape[1] * n_tokens)
    return (f * scores.mean(0)).sum()


def allowed_experts_solution(scores: Tensor, n_groups: int, n_limited_groups: int) -> Tensor:
    n_tokens, n_experts = scores.shape
    best = scores.view(n_tokens, n_groups, -1).amax(-1)
    kept = torch.zeros_like(best, dtype=torch.bool)
    kept.scatter_(1, best.topk(n_limited_groups).indices, True)
    return kept.repeat_interleave(n_experts // n_groups, dim=1)


def kept_visits_solution(chosen: Tensor, n_experts: int, capacity: int) -> Tensor:
    load, kept = [0] * n_experts, []
    for expert in chosen.tolist():
        kept.append(load[expert] < capacity)
        load[expert] += 1
    return torch.tensor(kept)


def upcycle_solution(
    gate: Tensor, up: Tensor, down: Tensor, n_experts: int
) -> tuple[Tensor, Tensor]:
    both = torch.cat([gate, up])
    return both.repeat(n_experts, 1, 1), down.repeat(n_experts, 1, 1)
