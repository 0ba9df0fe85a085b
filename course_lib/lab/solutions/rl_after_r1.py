"""Solutions of lesson 32; the notebook quotes them."""

import torch
from torch import Tensor


def weighted_k3_solution(
    log_probs: Tensor, old_log_probs: Tensor, reference_log_probs: Tensor
) -> Tensor:
    log_ratio = reference_log_probs - log_probs
    k3 = log_ratio.exp() - log_ratio - 1
    return (log_probs - old_log_probs).exp() * k3


def kept_answers_solution(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor, delta: float
) -> Tensor:
    distance = ((old_log_probs - log_probs) * mask).sum(-1) / mask.sum(-1)
    return (advantages >= 0) | (distance <= delta)


def kept_log_probs_solution(logits: Tensor, kept: Tensor, tokens: Tensor) -> Tensor:
    left = logits.masked_fill(~kept, -torch.inf)
    return left.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]


def flipped_share_solution(chosen: Tensor, theirs: Tensor) -> float:
    same = (chosen[:, :, None] == theirs[:, None, :]).any(-1)
    return 1 - same.float().mean().item()


def replayed_gates_solution(
    logits: Tensor, their_logits: Tensor, n_chosen: int, scale: float
) -> Tensor:
    chosen = their_logits.topk(n_chosen).indices
    scores = logits.sigmoid().gather(-1, chosen)
    weights = scale * scores / scores.sum(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, chosen, weights)


def v32_loss_solution(
    rewards: Tensor,
    ratios: Tensor,
    divergences: Tensor,
    mask: Tensor,
    kept: Tensor,
    clip: float,
    beta: float,
) -> Tensor:
    advantages = (rewards - rewards.mean())[:, None]
    gains = torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages)
    values = gains * kept[:, None] - beta * divergences
    return -((values * mask).sum(-1) / mask.sum(-1)).mean()
