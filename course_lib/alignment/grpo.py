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
1. Questions are drawn in place of groups that are all right or all wrong `n_redraws` times, not
   until there are none (equation 11); then a step has fewer.
2. The mean over tokens is over all groups of a minibatch; equation 8 takes it over each group.
3. Rewards are those of the task, from 0 up; theirs are 1 and -1, which matters beside a punishment
   for length.

Differs from Dr. GRPO, under its settings:
1. Averages are over answers with an advantage. Its sums are over all, which only changes the rate
   of learning.

Differs from GSPO, under its settings: as from Dr. GRPO.
"""

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from random import Random

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.off_policy import (
    OLD_LOG_PROBS,
    check_sequence_threshold,
    reread_by_trainer,
    sequence_mask,
)
from course_lib.alignment.policy_loss import (
    average_token_losses,
    check_kl_estimator,
    check_loss_average,
    clipped_surrogate,
    estimate_kl,
    sequence_log_ratios,
    soft_overlong_punishment,
    weight_by_policy_ratio,
)
from course_lib.alignment.rl_loop import (
    RLHistory,
    RLSettings,
    RolloutBatch,
    RolloutSampler,
    join_rollouts,
    measured_optimizer_step,
    rl_optimizer,
    run_rl,
    sample_rollouts,
    shuffled_minibatches,
)
from course_lib.alignment.rl_measures import (
    average_measures,
    policy_ratio_metrics,
    sampling_gap_metrics,
)
from course_lib.alignment.rl_task import RLTask
from course_lib.check_numbers import is_number
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
    "n_redraws": 9, "overlong_share": 0.2,  # verl's script: 10 draws at most; 4,096 of 20,480
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
GSPO_PRESET = {  # arXiv 2507.18071, equation 5 and section 5.1; its beta is not told
    "ratio": "sequence",
    "scale_by_std": True,
    "average": "sequence",
    "clip_low": 3e-4,
    "clip_high": 4e-4,
    "beta": 0.0,
    "n_minibatches": 4,
    "n_epochs": 1,
}
ALLOWED = {
    "ratio": ("token", "sequence"),
    "kl_in": ("loss", "reward"),
    "old_log_probs": OLD_LOG_PROBS,
    **dict.fromkeys(("scale_by_std", "kl_weighted", "mask_overlong"), (True, False)),
}


@dataclass(frozen=True)
class GRPOSettings(RLSettings):
    """How to practise with groups. The defaults are the course's own, and those of no paper.

    Namely the advantages and the average of Dr. GRPO, the `clip_high` of DAPO, and a light leash to
    the reference, which both have done away with.

    - `scale_by_std`: see `group_advantages`; `average`: see `policy_loss.average_token_losses`.
    - `ratio`: what is clipped, a ratio per "token", or one per "sequence", see
      `policy_loss.sequence_log_ratios`.
    - `kl_estimator`: see `policy_loss.estimate_kl`. `kl_in`: the "loss" holds its mean, or the
      "reward" of an answer pays for its sum, which is then as constant as any reward.
      `kl_weighted`: see `policy_loss.weight_by_policy_ratio`; for the loss alone.
    - `n_redraws`: how often other questions are drawn in place of those whose answers all earned
      the same, see `sample_with_redraws`.
    - `overlong_share`: the share of `max_new_tokens`, at their end, in which an answer is punished
      for its length, see `policy_loss.soft_overlong_punishment`. `mask_overlong`: nothing is learnt
      from answers that were cut off.
    - `sequence_threshold`: see `off_policy.sequence_mask`; None: all answers count.
      `old_log_probs`: what the ratio compares with, the "sampler" or the "trainer" before its first
      update, see `off_policy.reread_by_trainer`.

    >>> s = GRPOSettings(steps=10, **GRPO_PRESET)
    >>> s.average, s.clip_high, s.beta
    ('sequence', 0.2, 0.04)
    """

    scale_by_std: bool = False
    average: str | float = 20.0
    ratio: str = "token"
    kl_estimator: str = "k3"
    kl_in: str = "loss"
    kl_weighted: bool = False
    n_redraws: int = 0
    overlong_share: float = 0.0
    mask_overlong: bool = False
    sequence_threshold: float | None = None
    old_log_probs: str = "sampler"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_loss_average(self.average)
        check_kl_estimator(self.kl_estimator)
        check_sequence_threshold(self.sequence_threshold)
        for name, allowed in ALLOWED.items():
            if getattr(self, name) not in allowed:
                values = " or ".join(map(str, allowed))
                raise ValueError(f"{name} {getattr(self, name)!r} must be {values}")
        if self.kl_weighted and self.kl_in == "reward":
            raise ValueError("kl_weighted weighs a KL divergence in the loss, not in the reward")
        if not isinstance(self.n_redraws, int) or not is_number(self.n_redraws, 0):
            raise ValueError(f"n_redraws {self.n_redraws!r} must be a whole number from 0")
        if not is_number(self.overlong_share, 0, 1):
            raise ValueError(f"overlong_share {self.overlong_share!r} must be from 0 to 1")
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

    That is the clipped gain less `beta` times the KL estimate, averaged as `settings.average` says,
    negated. Source: DeepSeekMath (arXiv 2402.03300), equation 3.
    """
    s, mask, old_log_probs = settings, completions.loss_mask, completions.log_probs
    log_ratio = policy_log_ratios(log_probs, completions, s)
    gain = clipped_surrogate(
        log_ratio, torch.zeros_like(log_ratio), advantages[:, None], s.clip_low, s.clip_high
    )
    if s.sequence_threshold is not None:  # V3.2, equation 8: M multiplies the gain alone
        gain = gain * sequence_mask(
            log_probs, old_log_probs, advantages, mask, s.sequence_threshold
        )
    if reference_log_probs is None:
        return -average_token_losses(gain, mask, s.average), torch.zeros(())
    # Equation 3: min(r A, clip(r) A) - beta KL. All tokens of an answer have its advantage (section
    # 4.1.2), and the KL divergence is part of the loss, where PPO makes it part of the reward.
    divergence = estimate_kl(log_probs, reference_log_probs, s.kl_estimator)
    if s.kl_weighted:
        divergence = weight_by_policy_ratio(divergence, log_probs, old_log_probs)
    return -average_token_losses(gain - s.beta * divergence, mask, s.average), average_token_losses(
        divergence.detach(), mask, "token"
    )


def policy_log_ratios(
    log_probs: Float[Tensor, "B T"], completions: Completions, settings: GRPOSettings
) -> Float[Tensor, "B T"]:
    """Give log(policy / sampler) of each token: its own, or the one of its whole completion.

    In the second case all tokens of a completion have the same; the mean of their gains is equation
    5 of GSPO (arXiv 2507.18071).
    """
    if settings.ratio == "token":
        return log_probs - completions.log_probs
    mask = completions.loss_mask
    return sequence_log_ratios(log_probs, completions.log_probs, mask).expand(mask.shape)


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
    are in DAPO (arXiv 2503.14476, equation 11); `sample_with_redraws` draws others in their place.
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
        clipped = part.log_probs + policy_log_ratios(log_probs.detach(), part, s)
        about = policy_ratio_metrics(clipped, part, advantages[rows], s.clip_low, s.clip_high)
        if s.sequence_threshold is not None:
            counts = sequence_mask(
                log_probs, part.log_probs, advantages[rows], part.loss_mask, s.sequence_threshold
            )
            about["masked"] = 1 - counts.float().mean().item()
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
    """Read completions with a model that does not learn: through experts of its own choice."""
    return completion_log_probs(reference, replace(completions, chosen=None), temperature)


def shaped_rewards(
    reference: nn.Module | None,
    completions: Completions,
    rewards: Float[Tensor, "B"],
    settings: GRPOSettings,
) -> Float[Tensor, "B"]:
    """Take from each reward what its answer pays for its length and for its distance.

    For the distance if that is in the reward: `beta` times the sum of its tokens' KL estimates.
    """
    s = settings
    buffer = round(s.overlong_share * s.max_new_tokens)
    rewards = rewards + soft_overlong_punishment(completions.lengths, s.max_new_tokens, buffer)
    if s.kl_in == "reward" and s.beta and reference:
        theirs = reference_log_probs(reference, completions, s.temperature)
        divergence = estimate_kl(completions.log_probs, theirs, s.kl_estimator)
        rewards = rewards - s.beta * (divergence * completions.loss_mask).sum(-1)
    return rewards


def sample_with_redraws(
    model: nn.Module,
    tokenizer: Tokenizer,
    task: RLTask,
    settings: GRPOSettings,
    rng: Random,
    generator: torch.Generator,
) -> RolloutBatch:
    """Draw questions and answers; for each group of equal rewards ask once more, `n_redraws` times.

    The equal groups stay in the batch, where they teach nothing: so its mean reward is that of all
    questions, not of those that are neither too easy nor too hard. Source: dynamic sampling in DAPO
    (arXiv 2503.14476), equation 11.
    """
    drawn, missing = [], settings.n_questions
    for _ in range(1 + settings.n_redraws):
        some = replace(settings, n_questions=missing)
        drawn.append(sample_rollouts(model, tokenizer, task, some, rng, generator))
        groups = drawn[-1].rewards.view(missing, settings.group_size)
        missing = int((groups == groups[:, :1]).all(-1).sum())
        if not missing:
            break
    return join_rollouts(drawn)


def train_grpo(
    model: nn.Module,
    tokenizer: Tokenizer,
    task: RLTask,
    settings: GRPOSettings,
    *,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
    keep_samples_at: Collection[int] = (),
    sample: RolloutSampler | None = None,
) -> RLHistory:
    """Let `model` practise `task`, see `run_rl`; what is frozen, all but LoRA's parts say, stays.

    As it is before, it is the reference that it must stay near. So a run that goes on from
    `checkpoints` must be given the model that it began with. With `n_redraws` the measures tell how
    many answers a step drew. `sample` makes a step's batch in place of `sample_rollouts`, by
    another chat template say; then nothing is drawn anew.
    """
    s = settings
    if sample is not None and s.n_redraws:
        raise ValueError(f"n_redraws {s.n_redraws}: a sampler of your own draws only once")
    reference = copy.deepcopy(model).requires_grad_(False) if s.beta else None
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    learners = nn.ParameterList(learning) if len(learning) < len([*model.parameters()]) else model
    optimizer = rl_optimizer(learning, s.lr)

    def learn(
        completions: Completions, rewards: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        if s.old_log_probs == "trainer":
            completions = reread_by_trainer(model, completions, s.temperature)
        shaped = shaped_rewards(reference, completions, rewards, s)
        advantages = group_advantages(shaped, s.group_size, s.scale_by_std)
        if s.mask_overlong:  # their rewards stay in the mean of the group
            advantages = advantages * completions.finished
        judge = reference if s.kl_in == "loss" else None
        found = grpo_step(model, judge, optimizer, completions, advantages, s, generator)
        return found | ({"answers": float(len(rewards))} if s.n_redraws else {})

    return run_rl(
        model, tokenizer, task, s, learn, [optimizer], seed=seed, checkpoints=checkpoints,
        keep_samples_at=keep_samples_at, learners=learners,
        sample=sample or (sample_with_redraws if s.n_redraws else sample_rollouts),
    )  # fmt: skip
