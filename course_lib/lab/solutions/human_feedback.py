"""Solutions of lesson 23; the notebook quotes them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def bradley_terry_solution(chosen: Tensor, rejected: Tensor) -> Tensor:
    return -F.logsigmoid(chosen - rejected).mean()


def calibration_error_solution(said: Tensor, held: Tensor, n_bins: int) -> float:
    number = (said * n_bins).long().clamp(max=n_bins - 1)
    total = 0.0
    for each in range(n_bins):
        row = number == each
        if row.any():
            gap = said[row].mean() - held[row].double().mean()
            total += row.sum().item() * abs(gap.item())
    return total / len(said)


def token_advantages_solution(
    rewards: Tensor, values: Tensor, discount: float, lam: float
) -> Tensor:
    following = torch.cat([values[1:], torch.zeros(1)])
    surprises = rewards + discount * following - values
    advantages, ahead = torch.zeros(len(values)), 0.0
    for t in reversed(range(len(values))):
        ahead = surprises[t] + discount * lam * ahead
        advantages[t] = ahead
    return advantages


def ppo_loss_solution(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float
) -> Tensor:
    ratio = (log_probs - old_log_probs).exp()
    near = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, near * advantages).mean()


def dpo_loss_solution(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    rewards = beta * (policy - reference)
    return -F.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()


def best_of_n_solution(probs: Tensor, scores: Tensor, n: int) -> Tensor:
    no_better = (scores[None] <= scores[:, None]).to(probs.dtype) @ probs
    worse = no_better - probs
    return no_better**n - worse**n
