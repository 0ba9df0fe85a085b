"""Proximal policy optimisation: a critic says at every token how much reward is still to come.

The critic is a second model. What a token is worth is what came of it beyond what the critic had
expected. This is PPO (Schulman et al. 2017, arXiv 1707.06347) as InstructGPT uses it (Ouyang et al.
2022, arXiv 2203.02155): the distance from the reference model is paid token by token, as part of
the reward. `grpo` does without the critic.

Differs from Schulman et al.:
1. Policy and critic are two models with a loss and an optimizer each; equation 9 adds both losses,
   and a bonus for entropy, for one model. We have no bonus.
2. The critic's loss is clipped, see `clipped_value_loss`, and advantages are brought to variance 1,
   see `whiten_advantages`: both are from implementations.
3. A text is an episode, and all of it is sampled before a step; no rollouts of a fixed number of
   tokens are cut off.

Differs from InstructGPT:
1. The critic starts as a copy of the policy, unless one is given; theirs starts from the reward
   model.
2. No gradients of pre-training are mixed in (their PPO-ptx, equation 2, gamma 0).
3. Advantages look ahead with lam 0.95; `beta` is 0.005 by default, theirs 0.02.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.alignment.policy_loss import (
    average_token_losses,
    check_loss_average,
    clipped_surrogate,
    k3_kl_divergence,
)
from course_lib.alignment.reward_model import trunk_alone
from course_lib.alignment.rl_loop import (
    RLHistory,
    RLSettings,
    rl_optimizer,
    rl_optimizer_step,
    run_rl,
    shuffled_minibatches,
)
from course_lib.alignment.rl_task import RLTask
from course_lib.check_numbers import check_positive_numbers, is_number
from course_lib.inference.rollout import Completions, completion_hidden, completion_log_probs
from course_lib.text.bpe import Tokenizer
from course_lib.training.resume import Checkpoints


@dataclass(frozen=True)
class PPOSettings(RLSettings):
    """How to practise with a critic, whose peak learning rate is `critic_lr`.

    A completion is compared with no other, so `group_size` may be 1. For `discount`, `lam` and
    `clip_value` see `generalized_advantages` and `clipped_value_loss`; for `average_token_losses`
    see `policy_loss.average_token_losses`.

    >>> PPOSettings(steps=10, lam=1.5)
    Traceback (most recent call last):
    ValueError: discount 1.0 and lam 1.5 must be from 0 to 1
    """

    critic_lr: float = 1e-3
    discount: float = 1.0
    lam: float = 0.95
    clip_value: float = 0.2
    average: str | float = "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_discounts(self.discount, self.lam)
        check_loss_average(self.average)
        check_positive_numbers(critic_lr=self.critic_lr, clip_value=self.clip_value)


def rewards_per_token(
    rewards: Float[Tensor, "N"],
    log_probs: Float[Tensor, "B T"],
    reference_log_probs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    beta: float,
) -> Float[Tensor, "B T"]:
    """Spread rewards over tokens: the text's at its last one, a price for distance at each.

    A token pays `beta` times log(policy / reference); one that the reference likes more earns. A
    completion without tokens gets nothing. Sources: Ouyang et al. 2022 (arXiv 2203.02155), equation
    2; DeepSeekMath (arXiv 2402.03300), equation 2.

    >>> policy = torch.tensor([[0.5, 0.5, 0.5]]).log()
    >>> reference = torch.tensor([[0.5, 0.25, 1.0]]).log()
    >>> mask = torch.ones(1, 3, dtype=torch.bool)
    >>> rewards_per_token(torch.tensor([1.0]), policy, reference, mask, beta=0.1)
    tensor([[ 0.0000, -0.0693,  1.0693]])
    """
    check_token_tables(mask, log_probs=log_probs, reference_log_probs=reference_log_probs)
    if rewards.shape != mask.shape[:1]:
        raise ValueError(
            f"rewards {tuple(rewards.shape)} are not one for each of the {len(mask)} completions"
        )
    if not rewards.isfinite().all():
        row = int((~rewards.isfinite()).nonzero()[0])
        raise ValueError(
            f"reward {row} of {len(rewards)} is {rewards[row].item()}: rewards must be finite"
            " numbers"
        )
    last = mask & ~nn.functional.pad(mask[:, 1:], (0, 1))
    # DeepSeekMath, equation 2: r_t = r(whole text), at its last token alone, - beta log(policy /
    # reference)
    for_distance = torch.where(mask, beta * (reference_log_probs - log_probs), 0.0)
    return for_distance + torch.where(last, rewards[:, None], 0.0)


def generalized_advantages(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    discount: float = 1.0,
    lam: float = 1.0,
) -> Float[Tensor, "B T"]:
    """Tell how much better each token turned out than the critic had expected; 0 where padding.

    The surprise of a token is its reward, plus the value in front of the next token (0 behind the
    last: the text is over, also where it was cut off), minus the value in front of it. Its
    advantage adds the surprises that follow, each fainter by `discount * lam`. With `lam` 0 that is
    the surprise alone, which is as wrong as the critic; with 1 it is all that was earned minus the
    value, which is noisy. Source: Schulman et al. 2015 (arXiv 1506.02438), equation 16.

    >>> rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.25, 0.75]])
    >>> mask = torch.ones(1, 3, dtype=torch.bool)
    >>> generalized_advantages(rewards, values, mask, lam=0.5)      # surprises -0.25, 0.5 and 0.25
    tensor([[0.0625, 0.6250, 0.2500]])
    """
    check_discounts(discount, lam)
    check_token_tables(mask, rewards=rewards, values=values)
    rewards, values = (torch.where(mask, table, 0.0) for table in (rewards, values))
    # Equation 10: delta_t = r_t + gamma V_(t+1) - V_t, and equation 16, the sum of (gamma lambda)^l
    # delta_(t+l), from behind: A_t = delta_t + gamma lambda A_(t+1). Padding is 0 on both sides of
    # the last token, so nothing leaks in.
    surprises = rewards + discount * nn.functional.pad(values[:, 1:], (0, 1)) - values
    advantages, ahead = torch.zeros_like(values), torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        ahead = surprises[:, t] + discount * lam * ahead
        advantages[:, t] = ahead
    return advantages


def whiten_advantages(
    advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Shift and scale the advantages of a batch to mean 0 and variance 1 over its tokens.

    Equal ones become 0. Not in the paper, but in PPO's implementations: a step then does not depend
    on the scale of rewards.

    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> whiten_advantages(torch.tensor([[1.0, 3.0], [5.0, 9.0]]), mask)
    tensor([[-1.2247,  0.0000],
            [ 1.2247,  0.0000]])
    """
    check_token_tables(mask, advantages=advantages)
    centred = torch.where(mask, advantages - average_token_losses(advantages, mask, "token"), 0.0)
    return centred / (average_token_losses(centred.square(), mask, "token") + 1e-8).sqrt()


def clipped_value_loss(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    clip: float = 0.2,
) -> Float[Tensor, ""]:
    """Give half the squared error of the critic per token, clipped.

    Beyond a move of `clip` in a step there is nothing to gain. The larger error counts, of the
    values and of those moved from `old_values` by at most `clip`, which is in units of reward.
    Differs from the paper, whose critic learns from the plain error (equation 9): the clip is that
    of OpenAI's implementation, one of the details that Engstrom et al. 2020 (arXiv 2005.12729),
    section 3, found only in code.

    Moved by 0.5 where 0.2 is allowed: half of (1 - 0.2) squared, and no gradient.

    >>> value = torch.tensor([[0.5]], requires_grad=True)
    >>> old_value, value_target = torch.zeros(1, 1), torch.ones(1, 1)
    >>> mask = torch.ones(1, 1, dtype=torch.bool)
    >>> loss = clipped_value_loss(value, old_value, value_target, mask)
    >>> loss.backward()
    >>> round(loss.item(), 4), value.grad.item()
    (0.32, 0.0)
    """
    if not clip > 0:  # infinity is allowed here: the plain error of the paper
        raise ValueError(f"clip {clip} must be above 0")
    check_token_tables(mask, values=values, old_values=old_values, returns=returns)
    # The larger error: a move in the right direction ends at the clip, and a wrong one is undone.
    near = old_values + (values - old_values).clamp(-clip, clip)
    return (
        average_token_losses(
            torch.maximum((values - returns).square(), (near - returns).square()), mask, "token"
        )
        / 2
    )


def check_discounts(discount: Any, lam: Any) -> None:
    """Raise a ValueError that names the numbers if they are no shares."""
    if not is_number(discount, 0, 1) or not is_number(lam, 0, 1):
        raise ValueError(f"discount {discount!r} and lam {lam!r} must be from 0 to 1")


def check_token_tables(mask: Bool[Tensor, "B T"], **tables: Tensor) -> None:
    """Raise a ValueError unless padding is on the right and all tables fit `mask`, all finite."""
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        row = int((mask[:, 1:] & ~mask[:, :-1]).nonzero()[0, 0])
        raise ValueError(
            f"row {row} of {len(mask)} has tokens behind padding: completions are padded on the"
            " right"
        )
    for name, table in tables.items():
        if table.shape != mask.shape:
            raise ValueError(
                f"{name} {tuple(table.shape)} and mask {tuple(mask.shape)} are not of the same"
                " shape"
            )
        if (wrong := (mask & ~table.isfinite()).nonzero()).numel():
            row, t = wrong[0].tolist()
            raise ValueError(
                f"{name}: token {t} of row {row} is {table[row, t].item()}, not a finite number"
            )


class Critic(nn.Module):
    """Say in front of each token of a completion how much reward is still to come.

    A copy of a model with a new head. The head gives one number in place of a score per token, 0 at
    first. InstructGPT's critic starts from the reward model, so its trunk may be given as well; and
    it is smaller than the policy (6 billion parameters for up to 175). With `n_layers` the copy
    keeps that many of the first layers, which makes a step cheaper.
    """

    def __init__(self, trunk: nn.Module, n_layers: int | None = None) -> None:
        super().__init__()
        self.trunk = trunk_alone(trunk)
        if n_layers is not None:
            if not 1 <= n_layers <= len(trunk.blocks):
                raise ValueError(f"n_layers {n_layers} is not from 1 to {len(trunk.blocks)}")
            self.trunk.blocks = self.trunk.blocks[:n_layers]
        self.head = nn.Linear(trunk.settings.d_model, 1).to(next(trunk.parameters()))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, completions: Completions) -> Float[Tensor, "B T"]:
        """Read whole completions in one pass: the value in front of each token; 0 where padding."""
        values = self.head(completion_hidden(self.trunk, completions))[..., 0]
        return torch.where(completions.completion_mask, values, 0.0)


class PPOTargets(NamedTuple):
    """What a batch of completions teaches, token by token; 0 where padding."""

    values: Float[Tensor, "B T"]  # what the critic expected
    returns: Float[Tensor, "B T"]  # what it should have expected
    advantages: Float[Tensor, "B T"]  # whitened
    kl: Float[Tensor, "B T"]  # distance from the reference, see `k3_kl_divergence`

    def rows(self, chosen: Int[Tensor, "K"], length: int) -> "PPOTargets":
        """Give some of the rows, cut to `length` tokens."""
        return PPOTargets(*(table[chosen, :length] for table in self))


@torch.no_grad()
def compute_ppo_targets(
    critic: Critic,
    reference: nn.Module | None,
    completions: Completions,
    rewards: Float[Tensor, "N"],
    settings: PPOSettings,
) -> PPOTargets:
    """Let the reference and the critic read sampled completions, and work out what they teach.

    What the critic should have expected is what it did expect plus the advantage.
    """
    mask, theirs = completions.completion_mask, completions.log_probs
    if settings.beta and reference:
        theirs = completion_log_probs(reference, completions, settings.temperature)
    earned = rewards_per_token(rewards, completions.log_probs, theirs, mask, settings.beta)
    values = critic(completions)
    advantages = generalized_advantages(earned, values, mask, settings.discount, settings.lam)
    return PPOTargets(
        values,
        values + advantages,
        whiten_advantages(advantages, mask),
        k3_kl_divergence(completions.log_probs, theirs),
    )


def explained_variance(values: Tensor, returns: Tensor, mask: Bool[Tensor, "B T"]) -> float:
    """Tell how well the critic knew: 1 at best, 0 if as well as a constant.

    It is also 0 where nothing varies.

    >>> returns = torch.tensor([[1.0, 3.0]])
    >>> explained_variance(torch.tensor([[1.0, 2.0]]), returns, torch.ones(1, 2, dtype=torch.bool))
    0.75
    """
    errors, returns = (returns - values)[mask], returns[mask]
    total = returns.var(correction=0) if len(returns) else 0.0
    return (1 - errors.var(correction=0) / total).item() if total > 0 else 0.0


def ppo_step(
    model: nn.Module,
    critic: Critic,
    reference: nn.Module | None,
    optimizers: Sequence[torch.optim.Optimizer],
    completions: Completions,
    rewards: Float[Tensor, "N"],
    settings: PPOSettings,
    generator: torch.Generator | None = None,
) -> dict[str, float]:
    """Learn from one batch of completions: the policy from advantages, the critic from returns.

    `optimizers` are the policy's and the critic's. Returns the loss of each, the mean KL divergence
    from the reference per token, and the variance that the critic explained before the step.
    Source: Schulman et al. 2017 (arXiv 1707.06347), algorithm 1. Differs from its equation 9: two
    models with a loss each, and no bonus for entropy.
    """
    mask, losses = completions.completion_mask, []
    whole = compute_ppo_targets(critic, reference, completions, rewards, settings)
    for rows in shuffled_minibatches(torch.arange(len(mask)), settings, generator):
        part = completions.rows(rows)
        lesson = whole.rows(rows, part.completion_mask.shape[1])
        of_policy = rl_optimizer_step(
            model,
            optimizers[0],
            ppo_policy_loss(model, part, lesson, settings),
            settings.clip_gradient,
        )
        of_critic = rl_optimizer_step(
            critic,
            optimizers[1],
            ppo_critic_loss(critic, part, lesson, settings),
            settings.clip_gradient,
        )
        losses.append((of_policy, of_critic))
    of_policy, of_critic = torch.tensor(losses).mean(0).tolist()
    kl = average_token_losses(whole.kl, mask, "token").item()
    explained = explained_variance(whole.values, whole.returns, mask)
    return {"loss": of_policy, "value loss": of_critic, "kl": kl, "explained": explained}


def ppo_policy_loss(
    model: nn.Module, completions: Completions, feedback: PPOTargets, settings: PPOSettings
) -> Float[Tensor, ""]:
    """Give what a step of the policy makes small: the clipped gain, averaged, negated.

    Source: DeepSeekMath (arXiv 2402.03300), equation 1, if `settings.average` is "sequence".
    """
    log_probs = completion_log_probs(model, completions, settings.temperature)
    gain = clipped_surrogate(
        log_probs, completions.log_probs, feedback.advantages, settings.clip_low, settings.clip_high
    )
    return -average_token_losses(gain, completions.completion_mask, settings.average)


def ppo_critic_loss(
    critic: Critic, completions: Completions, feedback: PPOTargets, settings: PPOSettings
) -> Float[Tensor, ""]:
    """Give what a step of the critic makes small, see `clipped_value_loss`."""
    values, mask = critic(completions), completions.completion_mask
    return clipped_value_loss(values, feedback.values, feedback.returns, mask, settings.clip_value)


def train_ppo(
    model: nn.Module,
    tokenizer: Tokenizer,
    task: RLTask,
    settings: PPOSettings,
    *,
    critic: Critic | None = None,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
    keep_samples_at: Collection[int] = (),
) -> RLHistory:
    """Let `model` practise `task` with a critic, see `run_rl`.

    As it is before, it is the reference. So a run that goes on from `checkpoints` must be given the
    model that it began with. The critic starts as a copy of the model, unless one is given; then
    that one learns on, and can be asked afterwards.
    """
    if task.tool is not None:
        raise ValueError("PPO has no mask for what a tool writes; train_grpo has one")
    reference = copy.deepcopy(model).requires_grad_(False) if settings.beta else None
    critic = critic or Critic(model)
    optimizers = [
        rl_optimizer(module.parameters(), lr)
        for module, lr in ((model, settings.lr), (critic, settings.critic_lr))
    ]

    def learn(
        completions: Completions, rewards: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        return ppo_step(
            model, critic, reference, optimizers, completions, rewards, settings, generator
        )

    return run_rl(
        model,
        tokenizer,
        task,
        settings,
        learn,
        optimizers,
        learners=nn.ModuleList([model, critic]),
        seed=seed,
        checkpoints=checkpoints,
        keep_samples_at=keep_samples_at,
    )
