"""What the log of a run tells beside its loss: numbers that a step has at hand anyway."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.alignment.rewards import mean_or_zero
from course_lib.inference.rollout import Completions


def completion_metrics(completions: Completions) -> dict[str, float]:
    """Measure what all tasks share: tokens per answer, share cut off, and surprise per token.

    Tokens that a tool wrote do not count. The surprise is in nats. On average over samples it is
    the entropy of the policy. "longest" and "prompt" are tokens too: of the longest answer, and of
    a question on average.
    """
    lengths, finished = completions.loss_mask.sum(-1), completions.finished
    of_prompts = (~completions.padding).sum(-1) - completions.lengths
    return {
        "length": lengths.float().mean().item(),
        "longest": float(lengths.max()),
        "prompt": of_prompts.float().mean().item(),
        "cut off": 1 - finished.float().mean().item(),
        "entropy": -(completions.log_probs.sum() / lengths.sum()).item(),
    }


def reward_metrics(
    rewards: Float[Tensor, "B"], completions: Completions, group_size: int
) -> dict[str, float]:
    """Measure how rewards are spread; what has no value is left out.

    "reward of cut off" is the mean reward of answers that were cut off. Of groups of two answers or
    more: "reward spread", the mean standard deviation in a group; "equal groups", the share whose
    rewards are all equal, from which GRPO learns nothing; "length of unequal", the mean length in
    the others; and "length pays", the correlation of reward and length inside of groups.

    As TRL's `reward_std`, `frac_reward_zero_std`; TRL logs nothing like the others.
    """
    found, lengths = {}, completions.loss_mask.sum(-1).float()
    if not completions.finished.all():
        found["reward of cut off"] = rewards[~completions.finished].mean().item()
    if group_size < 2:
        return found
    groups, sizes = rewards.view(-1, group_size), lengths.view(-1, group_size)
    equal = groups.max(-1).values - groups.min(-1).values <= 1e-6
    found["reward spread"] = groups.std(-1).mean().item()
    found["equal groups"] = equal.float().mean().item()
    if not equal.all():
        found["length of unequal"] = sizes[~equal].mean().item()
    correlation = group_correlation(groups, sizes)
    return found if correlation is None else found | {"length pays": correlation}


def group_correlation(x: Float[Tensor, "Q G"], y: Float[Tensor, "Q G"]) -> float | None:
    """Give the correlation of two tables, each row less its mean; None if one does not vary.

    >>> group_correlation(torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, 3.0]]))
    -1.0
    """
    x, y = (table - table.mean(-1, keepdim=True) for table in (x, y))
    sizes = x.square().sum() * y.square().sum()
    return ((x * y).sum() / sizes.sqrt()).item() if sizes > 1e-12 else None


@torch.no_grad()
def policy_ratio_metrics(
    log_probs: Float[Tensor, "B T"],
    completions: Completions,
    advantages: Float[Tensor, "B"],
    clip_low: float,
    clip_high: float,
) -> dict[str, float]:
    """Measure how far an update stands from its samples: the mean ratio, and what the clip stops.

    "clip share low" is the share of tokens of bad answers below `1 - clip_low`, "clip share high"
    that of good ones above `1 + clip_high`: such tokens have no gradient. Both are shares of all
    tokens, as TRL's `clip_ratio/low_mean` and `clip_ratio/high_mean`. "loss tokens" counts the
    tokens that the loss reads, per answer.
    """
    mask = completions.loss_mask
    ratio = (log_probs - completions.log_probs)[mask].exp()
    good = (advantages[:, None] > 0).expand_as(mask)[mask]
    bad = (advantages[:, None] < 0).expand_as(mask)[mask]
    return {
        "ratio": ratio.mean().item(),
        "clip share low": (bad & (ratio < 1 - clip_low)).float().mean().item(),
        "clip share high": (good & (ratio > 1 + clip_high)).float().mean().item(),
        "loss tokens": mask.sum(-1).float().mean().item(),
    }


@torch.no_grad()
def sampling_gap_metrics(
    log_probs: Float[Tensor, "B T"], completions: Completions
) -> dict[str, float]:
    """Compare the log-probabilities of sampling with those that the loss reads, in nats per token.

    In front of the first update on its samples, policy and sampler are the same model: what is left
    is rounding. As TRL's `sampling/sampling_logp_difference/mean` and `/max`.
    """
    gaps = (log_probs - completions.log_probs).abs()[completions.loss_mask]
    return {"sampling gap": gaps.mean().item(), "largest sampling gap": gaps.max().item()}


def average_measures(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average measures by name, each over the parts that have it.

    >>> average_measures([{"loss": 1.0, "gap": 0.5}, {"loss": 3.0}])
    {'loss': 2.0, 'gap': 0.5}
    """
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: mean_or_zero([p[name] for p in parts if name in p]) for name in names}
