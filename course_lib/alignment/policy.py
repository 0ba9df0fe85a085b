"""What PPO and GRPO share: how far a policy may move for what its samples earned, and how far from where it began."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

AVERAGES = ("sequence", "token")


def clipped_gain(
    log_probs: Float[Tensor, "B T"],
    old_log_probs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B #T"],
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Float[Tensor, "B T"]:
    """Give PPO's objective of each token: advantage times probability ratio, with nothing to gain beyond the clip.

    The ratio compares the policy with the one that drew the samples. A good token gains up to `1 + clip_high`, a bad
    one down to `1 - clip_low`; beyond, the slope is 0. The smaller of both forms counts, so a move in the wrong
    direction is always pulled back. `advantages` may be one per row, as a column. Source: Schulman et al. 2017 (arXiv
    1707.06347), equation 7; DAPO (arXiv 2503.14476) lets `clip_high` be larger.

    >>> old, new = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    >>> clipped_gain(new, old, torch.tensor([[1.0]]))       # ratios 1.8, cut to 1.2, and 0.2
    tensor([[1.2000, 0.2000]])
    """
    check_clip(clip_low, clip_high)
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


def check_clip(clip_low: float, clip_high: float) -> None:
    """Raise a ValueError that names the numbers if no ratio can be clipped to `1 - clip_low` ... `1 + clip_high`."""
    if not 0 <= clip_low <= 1 or not clip_high >= 0:
        raise ValueError(f"clip_low {clip_low} must be from 0 to 1, clip_high {clip_high} at least 0")


def k3(log_probs: Float[Tensor, "B T"], reference_log_probs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Estimate the KL divergence from the reference at each sampled token: r - log r - 1, where r = reference / policy.

    Never below 0, and right on average over samples of the policy: KL(policy || reference). Near the reference it has
    less noise than -log r alone. As part of a loss, its slope is on average that of the divergence the other way round,
    KL(reference || policy). Sources: Schulman 2020, "Approximating KL divergence"; DeepSeekMath (arXiv 2402.03300),
    equation 4.

    >>> k3(torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log())       # 0.5 + log 2 - 1
    tensor([[0.1931]])
    """
    log_ratio = reference_log_probs - log_probs
    return log_ratio.exp() - log_ratio - 1


def average(
    values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], how: str | float = "token"
) -> Float[Tensor, ""]:
    """Average what each token of each completion adds; `how` decides what a long completion weighs.

    - "sequence": the mean over each completion, then over completions. A token of a long one weighs less (GRPO).
    - "token": the mean over all tokens of the batch. A long completion weighs more (DAPO).
    - a number: the sum of each completion over this number, then the mean over completions. A token weighs the same
      however long its completion and the others are (Dr. GRPO).

    A completion without tokens adds 0. Sources: DeepSeekMath (arXiv 2402.03300), equation 3; DAPO (2503.14476),
    equation 8, which takes the mean over the tokens of one group; Dr. GRPO (2503.20783), section 3.2.

    >>> values = torch.tensor([[4.0, 0.0], [1.0, 3.0]])
    >>> mask = torch.tensor([[True, False], [True, True]])
    >>> [average(values, mask, how).item() for how in ("sequence", "token", 4.0)]
    [3.0, 2.6666667461395264, 1.0]
    """
    if values.shape != mask.shape or not len(values):
        raise ValueError(f"values {tuple(values.shape)} and mask {tuple(mask.shape)} must be of one shape, not empty")
    check_average(how)
    sums = torch.where(mask, values, 0.0).sum(-1)
    if how == "sequence":
        return (sums / mask.sum(-1).clamp(min=1)).mean()
    if how == "token":
        return sums.sum() / mask.sum().clamp(min=1)
    return sums.mean() / how


def check_average(how: str | float) -> None:
    """Raise a ValueError that names `how` if it is no way to average."""
    if how not in AVERAGES if isinstance(how, str) else not 0 < how < float("inf"):
        raise ValueError(f"average {how!r} is neither one of {', '.join(AVERAGES)} nor a number above 0")
