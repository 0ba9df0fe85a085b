"""Distillation: a small model learns from a large one, by its probabilities, not by its words.

Three ways, from the oldest. By the teacher's next-token probabilities on given texts: Hinton et al.
2015 (arXiv 1503.02531). By sequences that the teacher wrote (Kim and Rush 2016, arXiv 1606.07947;
DeepSeek-R1, arXiv 2501.12948, section 2.4): that is supervised fine-tuning, see `sft`. By the
teacher's probabilities on what the student wrote: Agarwal et al. 2023 (GKD, arXiv 2306.13649) and
Gu et al. 2023 (MiniLLM, arXiv 2306.08543). The first and the last need one vocabulary for both.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.rl_loop import (
    RLHistory,
    RLSettings,
    rl_optimizer,
    rl_optimizer_step,
    run_rl,
)
from course_lib.alignment.rl_task import RLTask
from course_lib.alignment.sft import SFTExample, examples_that_fit, sft_batches
from course_lib.check_numbers import check_positive_numbers
from course_lib.inference.rollout import Completions, completion_hidden
from course_lib.layers.precision import at_least_float32
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.bpe import Tokenizer
from course_lib.training.objectives import LossSum, Objective
from course_lib.training.settings import TrainHistory, TrainSettings
from course_lib.training.trainer import train


def check_same_vocabulary(student: Float[Tensor, "*B V"], teacher: Float[Tensor, "*B W"]) -> None:
    """Raise a ValueError unless both score the same tokens at the same positions."""
    if student.shape != teacher.shape:
        raise ValueError(
            f"scores of shape {tuple(student.shape)} of the student and {tuple(teacher.shape)} of"
            " the teacher: both must score the same tokens at the same positions"
        )


def teacher_forward_kl(
    student: Float[Tensor, "*B V"], teacher: Float[Tensor, "*B V"], temperature: float = 1.0
) -> Float[Tensor, "*B"]:
    """Give T^2 KL(teacher || student) in nats at every position, both softened by the temperature.

    At a temperature T the gradient by the scores is 1/T^2 as large, which the factor makes good.
    No gradient reaches the teacher. Source: Hinton et al. 2015 (arXiv 1503.02531), section 2.

    A fair coin as the teacher, a student that says heads with 0.8:

    >>> teacher_forward_kl(torch.tensor([0.8, 0.2]).log(), torch.tensor([0.5, 0.5]).log())
    tensor(0.2231)
    """
    check_same_vocabulary(student, teacher)
    check_positive_numbers(temperature=temperature)
    theirs = (teacher.detach() / temperature).log_softmax(-1)
    own = (student / temperature).log_softmax(-1)
    return temperature**2 * kl_of_log_probs(theirs, own)


def kl_of_log_probs(
    first: Float[Tensor, "*B V"], second: Float[Tensor, "*B V"]
) -> Float[Tensor, "*B"]:
    """Give KL(first || second) in nats from log-probabilities; what `first` never says adds 0."""
    gap = (first - second).masked_fill(first == -torch.inf, 0.0)
    return (first.exp() * gap).sum(-1)


def teacher_reverse_kl(
    student: Float[Tensor, "*B V"], teacher: Float[Tensor, "*B V"]
) -> Float[Tensor, "*B"]:
    """Give KL(student || teacher) in nats at every position, with gradients for the student alone.

    It pays for what the student says and the teacher would not, and nothing for what the student
    leaves out. Source: Gu et al. 2023 (arXiv 2306.08543), section 2.1.

    >>> teacher_reverse_kl(torch.tensor([0.8, 0.2]).log(), torch.tensor([0.5, 0.5]).log())
    tensor(0.1927)
    """
    check_same_vocabulary(student, teacher)
    return kl_of_log_probs(student.log_softmax(-1), teacher.detach().log_softmax(-1))


def teacher_objective(teacher: nn.Module, temperature: float = 1.0) -> Objective:
    """Make the objective of Hinton's distillation: a mean over the targets that count.

    Which token stands there does not matter: the teacher's probabilities take its place.
    """

    def objective(model: nn.Module, inputs: Tensor, targets: Tensor) -> LossSum:
        counts = targets != IGNORE_INDEX
        with torch.no_grad():
            theirs = teacher(inputs)[counts]
        losses = teacher_forward_kl(model(inputs)[counts], theirs, temperature)
        return LossSum(losses.sum(), counts.sum())

    return objective


def train_by_teacher(
    model: nn.Module,
    teacher: nn.Module,
    examples: Sequence[SFTExample],
    settings: TrainSettings,
    batch_size: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
) -> TrainHistory:
    """Teach `model` the teacher's probabilities at every token of the examples' completions.

    The batches are those of `train_sft`, which teaches the tokens themselves. The teacher reads
    each batch anew.
    """
    kept = examples_that_fit(examples, model.settings.max_seq_len)
    batches = partial(sft_batches, kept, batch_size, seed)
    return train(model, batches, settings, teacher_objective(teacher, temperature))


def on_policy_teacher_loss(
    model: nn.Module, teacher: nn.Module, completions: Completions
) -> Float[Tensor, ""]:
    """Average the reverse KL to the teacher over all tokens of what the student wrote.

    Over the whole vocabulary at each position, so that one sample gives the exact mean there. No
    gradient runs through the choice of the samples. Source: GKD (arXiv 2306.13649), equation 4.
    """
    T = completions.completion_mask.shape[1]
    with torch.no_grad():
        theirs = at_least_float32(teacher.logits(completion_hidden(teacher, completions)))
    own = at_least_float32(model.logits(completion_hidden(model, completions)))
    return teacher_reverse_kl(own[:, -T:], theirs[:, -T:])[completions.completion_mask].mean()


def train_on_policy(
    model: nn.Module,
    teacher: nn.Module,
    tokenizer: Tokenizer,
    task: RLTask,
    settings: RLSettings,
    seed: int = 0,
) -> RLHistory:
    """Let `model` answer the questions of `task` and learn how the teacher would have gone on.

    The loop of reinforcement learning without its reward, which is measured only. Every token is
    judged, where a reward judges an answer. Source: GKD (arXiv 2306.13649), algorithm 1, with all
    samples from the student.
    """
    optimizer = rl_optimizer(model.parameters(), settings.lr)

    def learn(completions: Completions, rewards: Tensor, generator: torch.Generator) -> dict:
        loss = on_policy_teacher_loss(model, teacher, completions)
        return {"loss": rl_optimizer_step(model, optimizer, loss, settings.clip_gradient)}

    return run_rl(model, tokenizer, task, settings, learn, [optimizer], seed=seed)
