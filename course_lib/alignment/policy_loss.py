"""What PPO and GRPO share: how far a policy may move, for its samples and from where it began."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.check_numbers import is_number

LOSS_AVERAGES = ("sequence", "token")


def clipped_surrogate(
    log_probs: Float[Tensor, "B T"],
    old_log_probs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B #T"],
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Float[Tensor, "B T"]:
    """Give PPO's objective of each token: advantage times probability ratio, clipped.

    Beyond the clip there is nothing to gain. The ratio compares the policy with the one that drew
    the samples. A good token gains up to `1 + clip_high`, a bad one down to `1 - clip_low`; beyond,
    the gradient is 0. The smaller of both forms counts, so a move in the wrong direction is always
    pulled back. `advantages` may be one per row, as a column. However far the policy is from the
    sampler, gain and gradient are finite, see `capped_exponent`. Source: Schulman et al. 2017
    (arXiv 1707.06347), equation 7; DAPO (arXiv 2503.14476) lets `clip_high` be larger.

    >>> old, new = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    >>> clipped_surrogate(new, old, torch.tensor([[1.0]]))       # ratios 1.8, cut to 1.2, and 0.2
    tensor([[1.2000, 0.2000]])
    """
    check_clip_range(clip_low, clip_high)
    log_ratio = log_probs - old_log_probs
    # Equation 7 is min(r A, clip(r) A). Where A is above 0 that cuts r from above alone, where it
    # is below 0 from below alone. The logarithm is cut, since exp first would give 0 * inf = NaN
    # gradients.
    lowest = math.log1p(-clip_low) if clip_low < 1 else -math.inf
    at_most, at_least = log_ratio.clamp(max=math.log1p(clip_high)), log_ratio.clamp(min=lowest)
    return advantages * capped_exponent(torch.where(advantages >= 0, at_most, at_least)).exp()


def capped_exponent(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Give x, but at most so much that exp(x) is the cube root of its type's largest number.

    The gradient stays 1. So exp(x), its gradient, and sums of many of their squares, as in the
    length of a gradient, are finite. In float32 the cap is 29.6, in float64 236. A clamp would have
    a gradient of 0 there, and nothing would pull a lost policy back.

    >>> x = torch.tensor([1.0, 1000.0], requires_grad=True)
    >>> capped_exponent(x).exp().sum().backward()
    >>> [f"{gradient:.3g}" for gradient in x.grad.tolist()]
    ['2.72', '6.98e+12']
    """
    highest = math.log(torch.finfo(x.dtype).max) / 3
    return x - (x - highest).clamp(min=0).detach()


def check_clip_range(clip_low: Any, clip_high: Any) -> None:
    """Raise a ValueError if no ratio can be clipped to `1 - clip_low` ... `1 + clip_high`."""
    if not is_number(clip_low, 0, 1) or not is_number(clip_high, 0):
        raise ValueError(
            f"clip_low {clip_low!r} must be from 0 to 1, clip_high {clip_high!r} at least 0"
        )


def k3_kl_divergence(
    log_probs: Float[Tensor, "B T"], reference_log_probs: Float[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Estimate the KL divergence from the reference at each token: r - log r - 1.

    Here r = reference / policy, at the token that was sampled. Never below 0, and right on average
    over samples of the policy: KL(policy || reference). Near the reference it has less noise than
    -log r alone. As part of a loss, its gradient is on average that of the divergence the other way
    round, KL(reference || policy). Finite however far the two are apart, see `capped_exponent`.
    Sources: Schulman 2020, "Approximating KL divergence"; DeepSeekMath (arXiv 2402.03300), equation
    4.

    >>> policy, reference = torch.tensor([[0.5]]), torch.tensor([[0.25]])
    >>> k3_kl_divergence(policy.log(), reference.log())     # 0.5 + log 2 - 1
    tensor([[0.1931]])
    """
    log_ratio = reference_log_probs - log_probs
    # Equation 4. Near the reference r - 1 and log r cancel but for half the square of log r, which
    # exp(log r) - 1 has rounded away (in float32 where log r is below 3e-4) and expm1 has not.
    return capped_exponent(log_ratio).expm1() - log_ratio


def average_token_losses(
    values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], how: str | float = "token"
) -> Float[Tensor, ""]:
    """Average what each token of each completion adds; `how` decides what a long completion weighs.

    - "sequence": the mean over each completion, then over completions. A token of a long one weighs
      less (GRPO).
    - "token": the mean over all tokens of the batch. A long completion weighs more (DAPO).
    - a number: the sum of each completion over this number, then the mean over completions. A token
      weighs the same however long its completion and the others are (Dr. GRPO).

    A completion without tokens adds 0. Sources: DeepSeekMath (arXiv 2402.03300), equation 3; DAPO
    (2503.14476), equation 8, which takes the mean over the tokens of one group; Dr. GRPO
    (2503.20783), section 3.2.

    >>> values = torch.tensor([[4.0, 0.0], [1.0, 3.0]])
    >>> mask = torch.tensor([[True, False], [True, True]])
    >>> [average_token_losses(values, mask, how).item() for how in ("sequence", "token", 4.0)]
    [3.0, 2.6666667461395264, 1.0]
    """
    if values.shape != mask.shape or not len(values):
        raise ValueError(
            f"values {tuple(values.shape)} and mask {tuple(mask.shape)} must be of one shape, not"
            " empty"
        )
    check_loss_average(how)
    # not values * mask: 0 * NaN of the padding is NaN
    sums = torch.where(mask, values, 0.0).sum(-1)
    if how == "sequence":  # DeepSeekMath, equation 3: 1/G sum over answers, 1/|o| sum over tokens
        return (sums / mask.sum(-1).clamp(min=1)).mean()
    if how == "token":  # DAPO, equation 8: one sum over all tokens, by the sum of all |o|
        return sums.sum() / mask.sum().clamp(min=1)
    return sums.mean() / how  # Dr. GRPO: a constant in place of |o|


def check_loss_average(how: Any) -> None:
    """Raise a ValueError that names `how` if it is no way to average."""
    if how not in LOSS_AVERAGES if isinstance(how, str) else not is_number(how, 0) or not how:
        raise ValueError(
            f"average {how!r} is neither one of {', '.join(LOSS_AVERAGES)} nor a number above 0"
        )
