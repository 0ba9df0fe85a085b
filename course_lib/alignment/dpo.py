"""Direct preference optimisation: learn from choices between answers without a reward model.

It needs no sampling either. Reinforcement learning that pays `beta` for distance from a reference
has a best policy in closed form: the reference times exp(reward / beta), made to sum to 1. Read
backwards, every policy is the best one for a reward, which is `beta` times log(policy / reference),
but for a constant that no comparison of two answers to a prompt feels. So a policy is its own
reward model and can be trained as one. Source: Rafailov et al. 2023 (arXiv 2305.18290), equations 4
to 7.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.alignment.preferences import PreferencePair
from course_lib.alignment.reward_model import (
    bradley_terry_loss,
    check_pairs,
    pair_accuracy,
    pair_batches,
)
from course_lib.alignment.sft import SFTExample, sft_batch
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.objectives import LossSum, Objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainHistory, TrainSettings
from course_lib.training.trainer import train

DPO_BETA = 0.1  # a usual value; the larger, the shorter the leash


def implicit_rewards(
    policy: Float[Tensor, "*B"], reference: Float[Tensor, "*B"], beta: float = DPO_BETA
) -> Float[Tensor, "*B"]:
    """Give the reward for which a policy is best: `beta` times log(policy / reference).

    It is known up to a constant per prompt. From the log-probabilities of whole completions.
    Source: Rafailov et al. 2023 (arXiv 2305.18290), equation 5.

    >>> implicit_rewards(torch.tensor([0.8, 0.2]).log(), torch.tensor([0.4, 0.4]).log(), beta=0.5)
    tensor([ 0.3466, -0.3466])
    """
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta {beta} must be a number above 0")
    return beta * (policy - reference)


def dpo_loss(
    policy_chosen: Float[Tensor, "B"],
    policy_rejected: Float[Tensor, "B"],
    reference_chosen: Float[Tensor, "B"],
    reference_rejected: Float[Tensor, "B"],
    beta: float = DPO_BETA,
) -> Float[Tensor, ""]:
    """Average the surprise at the choices, in nats, if people chose by the implicit rewards.

    All four are log-probabilities of whole completions. Source: Rafailov et al. 2023 (arXiv
    2305.18290), equation 7. Raises ValueError if one is NaN or infinite.

    A margin of 0.5 log 4 = log 2 costs log(3 / 2):

    >>> chosen, rejected = torch.tensor([0.8]).log(), torch.tensor([0.2]).log()
    >>> reference = torch.tensor([0.4]).log()
    >>> dpo_loss(chosen, rejected, reference, reference, beta=0.5)
    tensor(0.4055)
    """
    chosen = implicit_rewards(policy_chosen, reference_chosen, beta)
    rejected = implicit_rewards(policy_rejected, reference_rejected, beta)
    return bradley_terry_loss(chosen, rejected)


def sequence_log_probs(model: nn.Module, examples: Sequence[SFTExample]) -> Float[Tensor, "B"]:
    """Give the log-probability, in nats, of each whole completion behind its prompt."""
    device = next(model.parameters()).device
    return sum_target_log_probs(model, *(table.to(device) for table in sft_batch(examples)))


def sum_target_log_probs(
    model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]
) -> Float[Tensor, "B"]:
    """Add up the log-probabilities of each row's targets; those that are IGNORE count nothing."""
    surprise = F.cross_entropy(
        model(inputs).mT, targets, ignore_index=IGNORE_INDEX, reduction="none"
    )
    return -surprise.sum(-1)


def pair_batch(
    pairs: Sequence[PreferencePair],
) -> tuple[Int[Tensor, "B 2 T"], Int[Tensor, "B 2 T"]]:
    """Lay out both completions of each pair, the chosen one first, as `sft.sft_batch` does."""
    inputs, targets = sft_batch(
        [SFTExample(pair.prompt, said) for pair in pairs for said in (pair.chosen, pair.rejected)]
    )
    return inputs.unflatten(0, (-1, 2)), targets.unflatten(0, (-1, 2))


def pair_log_probs(
    model: nn.Module, inputs: Int[Tensor, "B 2 T"], targets: Int[Tensor, "B 2 T"]
) -> Float[Tensor, "B 2"]:
    """Give the log-probabilities of both completions of each pair, laid out by `pair_batch`."""
    log_probs = sum_target_log_probs(model, inputs.flatten(0, 1), targets.flatten(0, 1))
    return log_probs.unflatten(0, (-1, 2))


@torch.no_grad()
def dpo_metrics(
    policy: nn.Module,
    reference: nn.Module,
    pairs: Sequence[PreferencePair],
    beta: float = DPO_BETA,
    rows: int = 128,
) -> dict[str, float]:
    """Tell how far a policy has learnt the choices in `pairs`, of which it reads `rows` at a time.

    "accuracy" is the share of pairs with the higher implicit reward for the chosen answer (a tie
    counts half), "margin" its mean lead. "chosen" and "rejected" are the means of log(policy /
    reference), in nats: only their difference is trained, so "chosen" may fall too.
    """
    device, parts = next(policy.parameters()).device, range(0, len(pairs), rows)
    tables = [
        [table.to(device) for table in pair_batch(pairs[start : start + rows])] for start in parts
    ]
    ours, theirs = (
        torch.cat([pair_log_probs(model, *each) for each in tables])
        for model in (policy, reference)
    )
    rewards = implicit_rewards(ours, theirs, beta)
    chosen, rejected = (ours - theirs).mean(0).tolist()
    return {
        "accuracy": pair_accuracy(*rewards.T),
        "margin": (rewards[:, 0] - rewards[:, 1]).mean().item(),
        "chosen": chosen,
        "rejected": rejected,
    }


def train_dpo(
    model: nn.Module,
    pairs: Sequence[PreferencePair],
    settings: TrainSettings,
    *,
    beta: float = DPO_BETA,
    batch_size: int = 32,
    seed: int = 0,
    on_step: Callable[[int, nn.Module], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainHistory:
    """Teach `model` choices between answers, see `trainer.train`.

    As it is before, it is the reference. `pairs` are in tokens, see
    `preferences.encode_preferences`; for settings see `sft.sft_settings`. A run that goes on from
    `checkpoints` must be given the model that it began with, since that is the reference.
    """
    check_pairs(pairs, model.settings.max_seq_len)
    reference = copy.deepcopy(model).requires_grad_(False)

    batches = partial(pair_batches, pair_batch, pairs, batch_size, seed)
    objective = dpo_objective(reference, beta)
    return train(model, batches, settings, objective, on_step=on_step, checkpoints=checkpoints)


def dpo_objective(reference: nn.Module, beta: float = DPO_BETA) -> Objective:
    """Make the objective of a `pair_batch`: `dpo_loss`, a mean over pairs however long they are."""

    def objective(policy: nn.Module, inputs: Tensor, targets: Tensor) -> LossSum:
        with torch.no_grad():
            theirs = pair_log_probs(reference, inputs, targets)
        ours = pair_log_probs(policy, inputs, targets)
        return LossSum(dpo_loss(*ours.T, *theirs.T, beta) * len(inputs), len(inputs))

    return objective
