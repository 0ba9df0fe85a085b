"""Solutions of lesson 24; the notebook quotes them."""

import re
from fractions import Fraction

import torch
from torch import Tensor


def advantages_of_groups_solution(rewards: Tensor, group_size: int) -> Tensor:
    groups = rewards.view(-1, group_size)
    return (groups - groups.mean(-1, keepdim=True)).flatten()


def clipped_objective_solution(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, low: float, high: float
) -> Tensor:
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def k3_and_gradient_solution(
    log_probs: Tensor, reference_log_probs: Tensor
) -> tuple[Tensor, Tensor]:
    log_ratio = reference_log_probs - log_probs
    return log_ratio.exp() - 1 - log_ratio, 1 - log_ratio.exp()


def group_loss_solution(gains: Tensor, mask: Tensor, how: str, longest: int) -> Tensor:
    sums = (gains * mask).sum(-1)
    if how == "sequence":
        return -(sums / mask.sum(-1)).mean()
    if how == "token":
        return -sums.sum() / mask.sum()
    return -(sums / longest).mean()


def overlong_price_solution(length: int, longest: int, buffer: int) -> float:
    beyond = length - (longest - buffer)
    return 0.0 - min(max(beyond / buffer, 0.0), 1.0)


def sequence_ratio_solution(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor) -> Tensor:
    total = ((log_probs - old_log_probs) * mask).sum(-1)
    return (total / mask.sum(-1)).exp()


def passes_solution(text: str, answer: int) -> bool:
    found = re.findall(r"-?\d+", text)
    return bool(found) and int(found[-1]) == answer


def name_fault_solution(run: str) -> tuple[str, str]:
    return {
        "A": ("reward with a hole", "paid, not right"),
        "B": ("length bias", "length always pays"),
        "C": ("prompt learnt", "too many tokens"),
        "D": ("stale log-probs", "gap after step 1"),
        "E": ("advantage sign", "reward falls"),
        "F": ("entropy collapse", "sure too soon"),
    }[run]


def probability_score_solution(answer: str | None, truth: str) -> float:
    if answer is None or "e" in answer.lower():
        return 0.0
    try:
        value = Fraction(answer)
    except (ValueError, ZeroDivisionError):
        return 0.0
    if not 0 <= value <= 1:
        return 0.0
    return 1.0 if abs(value - Fraction(truth)) <= Fraction(1, 10_000) else 0.1
