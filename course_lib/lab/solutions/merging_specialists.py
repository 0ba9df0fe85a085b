"""Solutions of lesson 33's exercises, quoted in its notebook."""

import copy

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@torch.no_grad()
def average_models_solution(first: nn.Module, second: nn.Module, alpha: float) -> nn.Module:
    merged = copy.deepcopy(first)
    for own, theirs in zip(merged.parameters(), second.parameters(), strict=True):
        own.copy_((1 - alpha) * own + alpha * theirs)
    return merged


def masked_reverse_kl_solution(
    student: Float[Tensor, "B T V"], teacher: Float[Tensor, "B T V"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    own, theirs = student.log_softmax(-1), teacher.detach().log_softmax(-1)
    return (own.exp() * (own - theirs)).sum(-1)[mask].mean()


def one_token_loss_solution(
    student: Float[Tensor, "B T V"],
    teacher: Float[Tensor, "B T V"],
    written: Int[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, ""]:
    own = student.log_softmax(-1).gather(-1, written[..., None])[..., 0]
    theirs = teacher.log_softmax(-1).gather(-1, written[..., None])[..., 0]
    advantage = (theirs - own).detach()
    return -(advantage * own)[mask].mean()


def teachers_loss_solution(
    losses: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    teachers: Int[Tensor, "B"],
    weights: list[float],
) -> Float[Tensor, ""]:
    total = torch.zeros(())
    for i, weight in enumerate(weights):
        own = mask & (teachers == i)[:, None]
        if own.any():
            total = total + weight * losses[own].mean()
    return total


def signal_and_noise_solution(gradients: Float[Tensor, "B P"]) -> tuple[float, float]:
    n, mean = len(gradients), gradients.mean(0)
    noise = (gradients - mean).square().sum() / (n - 1)
    signal = mean.square().sum() - noise / n
    return signal.item(), noise.item()
