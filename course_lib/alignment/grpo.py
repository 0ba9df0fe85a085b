"""Group relative policy optimisation: the better of many answers to a question become likelier.

What an answer is worth is measured against the others of its group, so no critic is needed. The
algorithm of DeepSeekMath (arXiv 2402.03300) and DeepSeek-R1 (arXiv 2501.12948). `GRPO_PRESET`,
`DAPO_PRESET` and `DR_GRPO_PRESET` are the settings of three papers, the defaults of `GRPOSettings`
are our own.

Differs from DeepSeekMath, whatever the settings:
1. Answers without an advantage are left out, see `grpo_step`. They add nothing to the gain, but in
   the paper they pay for their distance from the reference, and they count in averages.
2. The reference is the model of the start; iterative GRPO replaces it by the policy of the day.
3. The reward is for a whole answer (outcome supervision); there are no rewards for its steps.
4. A standard deviation of a group is that of a sample, over group_size - 1, plus 1e-4, as in TRL.

Differs from DAPO, under its settings:
1. No answers are drawn in place of groups that are all right or all wrong: a step has fewer
   (equation 11).
2. The mean over tokens is over all groups of a minibatch; equation 8 takes it over each group.
3. Long answers are cut off and rated as they stand; there is no soft punishment and no filter for
   them.

Differs from Dr. GRPO, under its settings:
1. Averages are over answers with an advantage. Its sums are over all, which only changes the rate
   of learning.
"""

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.policy_loss import (
    average_token_losses,
    check_loss_average,
    clipped_surrogate,
    k3_kl_divergence,
)
from course_lib.alignment.rl_loop import (
    RLHistory,
    RLSettings,
    measured_optimizer_step,
    run_rl,
    shuffled_minibatches,
)
from course_lib.alignment.rl_measures import (
    average_measures,
    policy_ratio_metrics,
    sampling_gap_metrics,
)
from course_lib.alignment.rl_task import RLTask
from course_lib.inference.rollout import Completions, completion_log_probs
from course_lib.text.bpe import Tokenizer
from course_lib.training.resume import Checkpoints

# What an algorithm is, as its paper has it; sizes and rates, which belong to a model, are left to
# you.
GRPO_PRESET = {  # DeepSeekMath, section 4.2; it gives no number for the clip: 0.2 is that of PPO
    "scale_by_std": True,
    "average": "sequence",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "beta": 0.04,
    "n_minibatches": 1,
    "n_epochs": 1,  # one update per rollout
}
# With it: 16 questions, 64 answers to each of up to 1,024 tokens, lr 1e-6, 7 billion parameters.
DAPO_PRESET = {        # arXiv 2503.14476, sections 3 and 4.1
    "scale_by_std": True, "average": "token", "clip_low": 0.2, "clip_high": 0.28, "beta": 0.0,
    "n_minibatches": 16, "n_epochs": 1,     # reported, and in verl's script: 512 questions by 32
}  # fmt: skip
# With it: 512 questions, 16 answers to each of up to 20,480 tokens, lr 1e-6, 32 billion parameters.
# arXiv 2503.20783, section 3.2; the constant is 3,000 there, the longest answer, and 20 here
DR_GRPO_PRESET = {
    "scale_by_std": False,
    "average": 20.0,
    "clip_low": 0.2,
    "clip_high": 0.2,
    "beta": 0.0,
    "n_epochs": 1,
}
# With it: 128 questions, 8 answers to each, lr 1e-6, 7 billion parameters (the scripts of
# sail-sg/understand-r1-zero).


@dataclass(frozen=True)
class GRPOSettings(RLSettings):
    """How to practise with groups. The defaults are the course's own, and those of no paper.

    Namely the advantages and the average of Dr. GRPO, the `clip_high` of DAPO, and a light leash to
    the reference, which both have done away with. For `scale_by_std` see `group_advantages`, for
    `average_token_losses` see `policy_loss.average_token_losses`.

    >>> s = GRPOSettings(steps=10, **GRPO_PRESET)
    >>> s.average, s.clip_high, s.beta
    ('sequence', 0.2, 0.04)
    """

    scale_by_std: bool = False
    average: str | float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_loss_average(self.average)
        if not isinstance(self.scale_by_std, bool):
            raise ValueError(f"scale_by_std {self.scale_by_std!r} must be True or False")
        if self.group_size < 2:
            raise ValueError(
                f"group_size {self.group_size}: an answer alone has no others to be compared with"
            )


def group_advantages(
    rewards: Float[Tensor, "B"], group_size: int, scale_by_std: bool = False
) -> Float[Tensor, "B"]:
    """Measure each reward against the mean of its group.

    The rows of one question stand together. With `scale_by_std` also in standard deviations of the
    group (those of a sample, over group_size - 1), as in DeepSeekMath (arXiv 2402.03300, section
    4.1.2), which makes much of small differences; Dr. GRPO (arXiv 2503.20783, section 3.2) leaves
    it out. A group of equal rewards has advantages of exactly 0: nothing to learn.

    >>> group_advantages(torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]), group_size=4)
    tensor([ 0.5000, -0.5000, -0.5000,  0.5000,  0.0000,  0.0000,  0.0000,  0.0000])
    """
    if group_size < 2 or rewards.ndim != 1 or not len(rewards) or len(rewards) % group_size:
        raise ValueError(
            f"rewards of shape {tuple(rewards.shape)} are no groups of {group_size}, at least 2"
            " each"
        )
    if not rewards.isfinite().all():
        row = int((~rewards.isfinite()).nonzero()[0])
        raise ValueError(
            f"reward {row} of {len(rewards)} is {rewards[row].item()}: rewards must be finite"
            " numbers"
        )
    groups = rewards.view(-1, group_size)
    groups = groups - groups[:, :1]  # now equal rewards are all 0, and no rounding tells them apart
    advantages = groups - groups.mean(-1, keepdim=True)  # Dr. GRPO: A = r - mean(r)
    if scale_by_std:  # DeepSeekMath: A = (r - mean(r)) / std(r)
        advantages = advantages / (groups.std(-1, keepdim=True) + 1e-4)
    return advantages.flatten()


def grpo_loss(
    log_probs: Float[Tensor, "B T"],
    reference_log_probs: Float[Tensor, "B T"] | None,
    completions: Completions,
    advantages: Float[Tensor, "B"],
    settings: GRPOSettings,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Give what a step makes small, and the mean KL divergence per token (0 without a reference).

    That is the clipped gain less `beta` times k3, averaged as `settings.average` says, negated.
    Source: DeepSeekMath (arXiv 2402.03300), equation 3.
    """
    s, mask = settings, completions.completion_mask
    # Equation 3: min(r A, clip(r) A) - beta KL. All tokens of an answer have its advantage (section
    # 4.1.2), and the KL divergence is part of the loss, where PPO makes it part of the reward.
    gain = clipped_surrogate(
        log_probs, completions.log_probs, advantages[:, None], s.clip_low, s.clip_high
    )
    if reference_log_probs is None:
        return -average_token_losses(gain, mask, s.average), torch.zeros(())
    divergence = k3_kl_divergence(log_probs, reference_log_probs)
    return -average_token_losses(gain - s.beta * divergence, mask, s.average), average_token_losses(
        divergence.detach(), mask, "token"
    )


def grpo_step(
    model: nn.Module,
    reference: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    completions: Completions,
    advantages: Float[Tensor, "B"],
    settings: GRPOSettings,
    generator: torch.Generator | None = None,
) -> dict[str, float]:
    """Learn from one batch of completions, in `n_minibatches` parts, `n_epochs` times.

    Returns the share of completions used and, as means over the parts: loss, KL divergence, length
    of the gradient before it was clipped, and `policy_ratio_metrics`. `sampling_gap_metrics` are of
    the first part alone. Completions with an advantage of 0 are left out, as whole groups
    are in DAPO (arXiv 2503.14476, equation 11). Differs from DAPO: none are drawn in their place.
    Differs from DeepSeekMath: they do not pay for their distance from the reference, and averages
    are over those that are used. Without a reference nobody pays.
    """
    useful, results, s = (advantages.abs() > 1e-6).nonzero()[:, 0], [], settings
    for rows in shuffled_minibatches(useful, settings, generator):
        part = completions.rows(rows)
        log_probs = completion_log_probs(model, part, settings.temperature)
        theirs = None
        if settings.beta and reference:
            theirs = reference_log_probs(reference, part, settings.temperature)
        loss, divergence = grpo_loss(log_probs, theirs, part, advantages[rows], settings)
        about = policy_ratio_metrics(log_probs, part, advantages[rows], s.clip_low, s.clip_high)
        if not results:  # the policy is still the one that drew the samples
            about |= sampling_gap_metrics(log_probs, part)
        about["loss"], about["gradient norm"] = measured_optimizer_step(
            model, optimizer, loss, s.clip_gradient
        )
        results.append(about | {"kl": divergence.item()})
    still = {"loss": 0.0, "kl": 0.0, "gradient norm": 0.0}
    return average_measures(results or [still]) | {"used": len(useful) / len(advantages)}


@torch.no_grad()
def reference_log_probs(
    reference: nn.Module, completions: Completions, temperature: float
) -> Float[Tensor, "B T"]:
    """Read completions with a model that does not learn."""
    return completion_log_probs(reference, completions, temperature)


def train_grpo(
    model: nn.Module,
    tokenizer: Tokenizer,
    task: RLTask,
    settings: GRPOSettings,
    *,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
    keep_samples_at: Collection[int] = (),
) -> RLHistory:
    """Let `model` practise `task`, see `run_rl`.

    As it is before, it is the reference that it must stay near. So a run that goes on from
    `checkpoints` must be given the model that it began with.
    """
    reference = copy.deepcopy(model).requires_grad_(False) if settings.beta else None
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )

    def learn(
        completions: Completions, rewards: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        advantages = group_advantages(rewards, settings.group_size, settings.scale_by_std)
        return grpo_step(model, reference, optimizer, completions, advantages, settings, generator)

    return run_rl(
        model, tokenizer, task, settings, learn, [optimizer], seed=seed, checkpoints=checkpoints,
        keep_samples_at=keep_samples_at,
    )  # fmt: skip
