"""Repairs of GRPO for samples that the policy would no longer draw so: those of DeepSeek-V3.2.

A policy is off-policy on its own samples because it has been updated since, or because the sampler
is another program: in fewer bits, with a part of the distribution cut off, with other experts. The
repair of the KL estimate is `policy_loss.weight_by_policy_ratio`, the choices of experts are
replayed in `layers.moe.replay`, and the sampling mask is kept by `inference.rollout`.

Source: DeepSeek-V3.2 (arXiv 2512.02556), section 3.1. Differs from it: the threshold of the
sequence mask is not published.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.alignment.policy_loss import sequence_log_ratios
from course_lib.check_numbers import is_number
from course_lib.inference.rollout import Completions, completion_log_probs

OLD_LOG_PROBS = ("sampler", "trainer")


@torch.no_grad()
def sequence_mask(
    log_probs: Float[Tensor, "B T"],
    old_log_probs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B"],
    mask: Bool[Tensor, "B T"],
    threshold: float,
) -> Bool[Tensor, "B 1"]:
    """Tell which completions the policy may learn from: False for bad ones that lie far off.

    A completion is left out if its advantage is below 0 and the mean over its tokens of
    log(sampler / policy) is above `threshold`, in nats. So a good completion always counts, however
    rare it has become. The factor belongs to the gain of every token, not to its KL divergence.
    Source: DeepSeek-V3.2 (arXiv 2512.02556), equations 8 and 9.

    >>> old, new = torch.tensor([[0.8, 0.8]] * 2).log(), torch.tensor([[0.2, 0.8]] * 2).log()
    >>> real = torch.ones(2, 2, dtype=torch.bool)  # log 4 and 0: 0.69 on average
    >>> sequence_mask(new, old, torch.tensor([-1.0, 1.0]), real, 0.5).tolist()
    [[False], [True]]
    """
    far = -sequence_log_ratios(log_probs, old_log_probs, mask) > threshold
    return ~(far & (advantages < 0)[:, None])


def check_sequence_threshold(threshold: Any) -> None:
    """Raise a ValueError unless it is None, for no mask, or a number from 0."""
    if threshold is not None and not is_number(threshold, 0):
        raise ValueError(f"sequence_threshold {threshold!r} must be None or a number from 0, nats")


@torch.no_grad()
def reread_by_trainer(
    model: nn.Module, completions: Completions, temperature: float = 1.0
) -> Completions:
    """Replace the sampler's log-probabilities by those that the trainer reads, before it learns.

    The ratio of the first update is then 1 whatever the sampler was: its own are what tells how far
    off it was.
    """
    return replace(
        completions, log_probs=completion_log_probs(model, completions, temperature).detach()
    )
