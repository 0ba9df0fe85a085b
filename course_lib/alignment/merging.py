"""Merging specialists: one model that can do what several can, all from one base.

By averaging their weights (model soups, Wortsman et al. 2022, arXiv 2203.05482), or by on-policy
distillation: the student answers, and the specialist of the question says how it would have gone
on. So it is in DeepSeek-V4 (arXiv 2606.19348, section 5.1.2, equation 29), over the whole
vocabulary. Fine-tuning on the specialists' answers is in `sft`, practice on all tasks in `grpo`.

Differs from V4: the teachers' scores are computed anew, where V4 keeps their last hidden states.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from random import Random

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.alignment.distillation import check_same_vocabulary, teacher_reverse_kl
from course_lib.alignment.mixed_task import rows_by_task
from course_lib.alignment.rl_loop import (
    RLHistory,
    RLSettings,
    RolloutBatch,
    measured_optimizer_step,
    run_rl,
    sample_rollouts,
)
from course_lib.alignment.rl_task import Question, RLTask
from course_lib.check_numbers import is_number
from course_lib.inference.rollout import Completions, completion_hidden, token_log_probs
from course_lib.layers.precision import at_least_float32
from course_lib.text.bpe import Tokenizer


@torch.no_grad()
def average_weights(models: Sequence[nn.Module], shares: Sequence[float]) -> nn.Module:
    """Make the model whose every parameter is the weighted average of the models' own.

    A parameter that stands in two places (a tied embedding) is averaged once and stays tied. What
    is no parameter is the first model's. Raises ValueError for other parameters or shapes, and for
    shares that don't sum to 1; a share may be negative.
    """
    if not models or len(models) != len(shares) or not abs(sum(shares) - 1) <= 1e-6:
        raise ValueError(f"{len(models)} models need as many shares with a sum of 1, not {shares}")
    shapes = [{name: tuple(p.shape) for name, p in m.named_parameters()} for m in models]
    for number, other in enumerate(shapes):
        for name in [*shapes[0], *other]:
            if shapes[0].get(name) != other.get(name):
                raise ValueError(
                    f"{name} is {shapes[0].get(name)} in model 0, {other.get(name)} in {number}"
                )
    merged = copy.deepcopy(models[0])
    for own, *theirs in zip(merged.parameters(), *(m.parameters() for m in models), strict=True):
        own.copy_(sum(share * each for share, each in zip(shares, theirs, strict=True)))
    return merged


# What a teacher says of tokens
# --------------------------------------------------------------------------------------------------

TokenLoss = Callable[
    [Float[Tensor, "B T V"], Float[Tensor, "B T V"], Int[Tensor, "B T"]], Float[Tensor, "B T"]
]


def full_vocabulary_loss(
    student: Float[Tensor, "B T V"], teacher: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Give KL(student || teacher) at each token, exactly, whichever token was drawn there.

    Source: DeepSeek-V4 (arXiv 2606.19348), equation 29.
    """
    return teacher_reverse_kl(student, teacher)


def one_token_loss(
    student: Float[Tensor, "B T V"], teacher: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Give the loss whose gradient estimates that of KL(student || teacher) by the token drawn.

    A policy gradient with the advantage log(teacher / student) of that token, which is held fixed.
    Over draws of the student the mean of the gradient is that of `full_vocabulary_loss`; the value
    itself means nothing.

    >>> student = torch.tensor([[[0.8, 0.2]]]).log().requires_grad_()
    >>> teacher = torch.tensor([[[0.5, 0.5]]]).log()
    >>> one_token_loss(student, teacher, torch.tensor([[0]])).backward()
    >>> student.grad                                    # log(0.8 / 0.5) times (1 - 0.8, -0.2)
    tensor([[[ 0.0940, -0.0940]]])
    """
    check_same_vocabulary(student, teacher)
    own = token_log_probs(student, ids)
    advantages = token_log_probs(teacher, ids).detach() - own.detach()
    return -advantages * own


TOKEN_LOSSES: dict[str, TokenLoss] = {
    "full vocabulary": full_vocabulary_loss,
    "one token": one_token_loss,
}


def completion_logits(model: nn.Module, completions: Completions) -> Float[Tensor, "B T V"]:
    """Read whole completions: a model's scores of all tokens, at each token of them."""
    T = completions.completion_mask.shape[1]
    return at_least_float32(model.logits(completion_hidden(model, completions)))[:, -T:]


def specialists_loss(
    model: nn.Module,
    teachers: Mapping[str, nn.Module],
    rows: Mapping[str, Sequence[int]],
    completions: Completions,
    token_loss: TokenLoss,
    weights: Mapping[str, float] | None = None,
) -> Float[Tensor, ""]:
    """Add up every specialist's loss on its own rows, a mean over their tokens, times its weight.

    `rows` says which completions are judged by whom; without `weights` all weigh alike, and sum
    to 1. Prompts and padding count nowhere. Source: DeepSeek-V4 (arXiv 2606.19348), equation 29.
    """
    if not rows or not all(len(chosen) for chosen in rows.values()):
        counts = {name: len(chosen) for name, chosen in rows.items()}
        raise ValueError(f"rows by task {counts}: there must be a task, and each needs a row")
    if missing := set(rows) - set(teachers):
        raise ValueError(f"no teacher for {', '.join(sorted(missing))}; there are {list(teachers)}")
    weights = dict.fromkeys(rows, 1 / len(rows)) if weights is None else weights
    if any(not is_number(weights.get(name), 0) for name in rows):
        raise ValueError(f"weights {weights}: each of {list(rows)} needs a number from 0")
    total = torch.zeros(())
    for name, chosen in rows.items():
        part = completions.rows(torch.tensor(chosen, device=completions.ids.device))
        with torch.no_grad():
            theirs = completion_logits(teachers[name], part)
        ids = part.ids[:, -part.completion_mask.shape[1] :]
        losses = token_loss(completion_logits(model, part), theirs, ids)
        total = total + weights[name] * losses[part.loss_mask].mean()
    return total


def train_by_specialists(
    model: nn.Module,
    teachers: Mapping[str, nn.Module],
    tokenizer: Tokenizer,
    task: RLTask,
    settings: RLSettings,
    *,
    token_loss: TokenLoss = full_vocabulary_loss,
    seed: int = 0,
) -> RLHistory:
    """Let `model` answer the questions of a `mixed_task` and learn from each one's specialist.

    Teachers have the names of the tasks. Rewards are measured only. Source: DeepSeek-V4 (arXiv
    2606.19348), section 5.1.2.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    asked: list[Question] = []

    def sample(
        model: nn.Module, tokenizer: Tokenizer, task: RLTask, settings: RLSettings,
        rng: Random, generator: torch.Generator,
    ) -> RolloutBatch:  # fmt: skip
        batch = sample_rollouts(model, tokenizer, task, settings, rng, generator)
        asked[:] = batch.questions
        return batch

    def learn(completions: Completions, rewards: Tensor, generator: torch.Generator) -> dict:
        rows = rows_by_task(asked)
        loss = specialists_loss(model, teachers, rows, completions, token_loss)
        names = ("loss", "gradient norm")
        found = measured_optimizer_step(model, optimizer, loss, settings.clip_gradient)
        return dict(zip(names, found, strict=True))

    return run_rl(model, tokenizer, task, settings, learn, [optimizer], seed=seed, sample=sample)
