"""What PPO and GRPO share: how far a policy may move, for its samples and from where it began."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.check_numbers import is_number

LOSS_AVERAGES = ("sequence", "token")
KL_ESTIMATORS = ("k1", "k2", "k3")


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


def estimate_kl(
    log_probs: Float[Tensor, "B T"], reference_log_probs: Float[Tensor, "B T"], how: str = "k3"
) -> Float[Tensor, "B T"]:
    """Estimate the KL divergence from the reference at each token that the policy sampled.

    With r = reference / policy: k1 is -log r, right on average and noisy; k2 is half the square of
    log r, a little wrong; for k3 see `k3_kl_divergence`. Their gradients are another matter. On
    average over samples, that of k1 is 0, that of k2 is the gradient of KL(policy || reference), at
    this token, and that of k3 is the gradient of KL(reference || policy). Source: Schulman 2020,
    "Approximating KL divergence".

    >>> policy, reference = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log()
    >>> [round(estimate_kl(policy, reference, how).item(), 4) for how in KL_ESTIMATORS]
    [0.6931, 0.2402, 0.1931]
    """
    check_kl_estimator(how)
    if how == "k3":
        return k3_kl_divergence(log_probs, reference_log_probs)
    log_ratio = log_probs - reference_log_probs
    return log_ratio if how == "k1" else log_ratio.square() / 2


def check_kl_estimator(how: Any) -> None:
    """Raise a ValueError that names `how` if it is no estimator of the KL divergence."""
    if how not in KL_ESTIMATORS:
        raise ValueError(f"the KL estimator {how!r} is not one of {', '.join(KL_ESTIMATORS)}")


def weight_by_policy_ratio(
    values: Float[Tensor, "B T"],
    log_probs: Float[Tensor, "B T"],
    old_log_probs: Float[Tensor, "B T"],
) -> Float[Tensor, "B T"]:
    """Multiply what each token adds by policy / sampler, with a gradient through both factors.

    A mean over samples of the sampler is then one over samples of the policy. So k3 is right in
    value however far the two are apart, and its gradient is that of KL(policy || reference), even
    where they are equal and the ratio is 1. Source: DeepSeek-V3.2 (arXiv 2512.02556), section 3.1.

    >>> log_prob = torch.tensor([[0.5]]).log().requires_grad_()
    >>> reference = torch.tensor([[0.25]]).log()
    >>> for weigh in (False, True):  # k3, of slope 1 - reference / policy; then log of the ratio
    ...     k3 = k3_kl_divergence(log_prob, reference)
    ...     k3 = weight_by_policy_ratio(k3, log_prob, log_prob.detach()) if weigh else k3
    ...     print(f"{torch.autograd.grad(k3.sum(), log_prob)[0].item():.4f}")
    0.5000
    0.6931
    """
    return capped_exponent(log_probs - old_log_probs).exp() * values


def sequence_log_ratios(
    log_probs: Float[Tensor, "B T"], old_log_probs: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B 1"]:
    """Give log(policy / sampler) of each whole completion: the mean over its tokens.

    A completion without tokens has 0. Source: GSPO (arXiv 2507.18071), equation 7, whose ratio is
    the exponential of this, (policy / sampler) ** (1 / length).

    >>> old, new = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.8, 0.2]]).log()
    >>> sequence_log_ratios(new, old, torch.ones(1, 2, dtype=torch.bool)).exp()  # sqrt(1.6 * 0.4)
    tensor([[0.8000]])
    """
    log_ratios = torch.where(mask, log_probs - old_log_probs, 0.0)
    return log_ratios.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)


def soft_overlong_punishment(
    lengths: Int[Tensor, "B"], max_new_tokens: int, buffer: int
) -> Float[Tensor, "B"]:
    """Give what each completion is punished by for its length: 0 at first, -1 at `max_new_tokens`.

    It falls evenly over the last `buffer` tokens; 0 of them: no punishment. Source: DAPO (arXiv
    2503.14476), equation 13.

    >>> soft_overlong_punishment(torch.tensor([3, 8, 9, 10]), max_new_tokens=10, buffer=2).tolist()
    [0.0, 0.0, -0.5, -1.0]
    """
    if not 0 <= buffer <= max_new_tokens:
        raise ValueError(f"buffer {buffer} must be from 0 to max_new_tokens {max_new_tokens}")
    beyond = lengths - (max_new_tokens - buffer)
    return 0.0 - (beyond / max(buffer, 1)).clamp(0, 1 if buffer else 0)


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
