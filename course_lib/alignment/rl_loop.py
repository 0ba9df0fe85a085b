"""The loop of reinforcement learning: ask, let the model answer, rate, learn, and ask again."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.alignment.policy_loss import check_clip_range
from course_lib.alignment.rl_measures import completion_metrics, reward_metrics
from course_lib.alignment.rl_task import Question, RLTask, answer_questions, compute_rewards
from course_lib.check_numbers import check_positive_numbers, check_whole_numbers, is_number
from course_lib.inference.generate import check_sampling
from course_lib.inference.rollout import Completions, join_completions
from course_lib.text.bpe import Tokenizer
from course_lib.training.loop import (
    optimizer_step,
    progress_bar,
    set_learning_rates,
    step_in_errors,
    stop_between_steps,
    tell_if_interrupted,
)
from course_lib.training.resume import Checkpoints
from course_lib.training.schedules import middle_of_step, warmup_stable_decay
from course_lib.training.settings import RunHistory

PolicyUpdate = Callable[[Completions, Float[Tensor, "B"], torch.Generator], dict[str, float]]


@dataclass(frozen=True)
class RLSettings:
    """How long and how boldly to practise. A step asks `n_questions`, each `group_size` times.

    `warmup` and `decay` are shares of the run. `clip_low` and `clip_high` bound what a step may
    gain, `beta` weighs the distance from the reference model; a step learns from its samples
    `n_epochs` times in `n_minibatches` parts, each with a gradient no longer than `clip_gradient`.
    `top_p` cuts the sampler's distribution, `keep_mask` and `keep_routing` let the loss read a
    sample as it was drawn, see `sample_completions`.

    >>> RLSettings(steps=10, lr=0.0)
    Traceback (most recent call last):
    ValueError: lr 0.0 must be a number above 0
    """

    steps: int
    n_questions: int = 16
    group_size: int = 16
    max_new_tokens: int = 72
    temperature: float = 1.0
    lr: float = 1e-3
    warmup: float = 0.08
    decay: float = 0.5
    clip_low: float = 0.2
    clip_high: float = 0.28
    beta: float = 0.005
    n_minibatches: int = 2
    n_epochs: int = 1
    clip_gradient: float = 1.0
    top_p: float | None = None
    keep_mask: bool = False
    keep_routing: bool = False

    def __post_init__(self) -> None:
        counts = (
            "steps",
            "n_questions",
            "group_size",
            "max_new_tokens",
            "n_minibatches",
            "n_epochs",
        )
        check_whole_numbers(**{name: getattr(self, name) for name in counts})
        check_positive_numbers(
            temperature=self.temperature, lr=self.lr, clip_gradient=self.clip_gradient
        )
        if (
            not is_number(self.beta, 0)
            or not is_number(self.warmup, 0, 1)
            or not is_number(self.decay, 0, 1)
        ):
            shares = (
                f"warmup {self.warmup!r} and decay {self.decay!r} shares of the run, from 0 to 1"
            )
            raise ValueError(f"beta {self.beta!r} must be 0 or a number above it, {shares}")
        check_clip_range(self.clip_low, self.clip_high)
        check_sampling(top_p=self.top_p)
        for name in ("keep_mask", "keep_routing"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} {getattr(self, name)!r} must be True or False")

    @property
    def sampling(self) -> dict:
        """Give what `sample_completions` is told beside the questions."""
        names = ("temperature", "top_p", "keep_mask", "keep_routing")
        return {name: getattr(self, name) for name in names}

    def share_of_peak(self, step: int) -> float:
        """Give the learning rate in the middle of a step (1 to `steps`), as a share of its peak.

        In the middle, so that neither the first step nor the last one stands still.
        """
        return warmup_stable_decay(middle_of_step(step, self.steps), self.warmup, self.decay)

    def as_data(self) -> dict:
        """Give the settings as JSON can hold them."""
        return asdict(self)


@dataclass
class RLHistory(RunHistory):
    """What happened, step by step: loss, seconds since the start, every measure by name.

    `samples` holds (step, question, answer, reward) of the steps whose answers were kept.
    """

    measures: dict[str, list[float]] = field(default_factory=dict)
    samples: list[tuple[int, str, str, float]] = field(default_factory=list)

    def record(self, seconds: float, loss: float, **measures: float) -> None:
        """Write down one step, see `record_loss`; a measure not taken is NaN."""
        n_before = len(self.loss)
        self.record_loss(loss, seconds)
        for name in {**self.measures, **measures}:
            values = self.measures.setdefault(name, [math.nan] * n_before)
            values.append(measures.get(name, math.nan))

    def keep(self, step: int, samples: "RolloutBatch", group_size: int) -> None:
        """Keep the first answer to each question."""
        columns = (samples.questions, samples.answers, samples.rewards.tolist())
        rows = zip(*(column[::group_size] for column in columns), strict=True)
        self.samples += [(step, question.text, text, reward) for question, text, reward in rows]

    @classmethod
    def from_data(cls, data: dict) -> "RLHistory":
        """Make a history of what `asdict` and JSON made of one.

        Its NaNs are one and the same object again, so that equal histories compare as equal.
        """
        measures = {
            name: [math.nan if math.isnan(value) else value for value in values]
            for name, values in data["measures"].items()
        }
        samples = [tuple(sample) for sample in data["samples"]]
        return cls(**data | {"measures": measures, "samples": samples})


class RolloutBatch(NamedTuple):
    """What one step learns from, a row per answer; the answers to one question stand together."""

    questions: list[Question]
    answers: list[str]
    completions: Completions
    rewards: Float[Tensor, "B"]


def sample_rollouts(
    model: nn.Module,
    tokenizer: Tokenizer,
    task: RLTask,
    settings: RLSettings,
    rng: Random,
    generator: torch.Generator,
) -> RolloutBatch:
    """Draw questions, let the model answer each `group_size` times, and rate the answers."""
    asked = [task.draw(rng) for _ in range(settings.n_questions)]
    texts = [question.text for question in asked]
    answers, completions = answer_questions(
        model,
        tokenizer,
        texts,
        settings.max_new_tokens,
        settings.group_size,
        generator=generator,
        tool=task.tool,
        **settings.sampling,
    )
    questions = [question for question in asked for _ in range(settings.group_size)]
    rewards = compute_rewards(task, questions, answers).to(completions.ids.device)
    return RolloutBatch(questions, answers, completions, rewards)


def join_rollouts(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """Put the rows of several batches below one another."""
    return RolloutBatch(
        [question for batch in batches for question in batch.questions],
        [answer for batch in batches for answer in batch.answers],
        join_completions([batch.completions for batch in batches]),
        torch.cat([batch.rewards for batch in batches]),
    )


RolloutSampler = Callable[
    [nn.Module, Tokenizer, RLTask, RLSettings, Random, torch.Generator], RolloutBatch
]


def shuffled_minibatches(
    rows: Int[Tensor, "N"], settings: RLSettings, generator: torch.Generator | None = None
) -> Iterator[Int[Tensor, "K"]]:
    """Shuffle rows and cut them into `n_minibatches` parts, `n_epochs` times.

    No rows make no part.
    """
    for _ in range(settings.n_epochs if len(rows) else 0):
        order = torch.randperm(len(rows), generator=generator)
        yield from rows[order].chunk(settings.n_minibatches)


def rl_optimizer(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.AdamW:
    """Make the optimizer of every loop: AdamW with V3's betas, and no weight decay."""
    return torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)


def rl_optimizer_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, clip_gradient: float
) -> float:
    """Take one `optimizer_step` with a gradient no longer than `clip_gradient`; return the loss."""
    return measured_optimizer_step(module, optimizer, loss, clip_gradient)[0]


def measured_optimizer_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, clip_gradient: float
) -> tuple[float, float]:
    """Do so, and return with the loss how long the gradient was before it was clipped."""

    def backward() -> float:
        loss.backward()
        return loss.item()

    return optimizer_step(module, [optimizer], backward, clip_gradient)


def run_rl(
    model: nn.Module,
    tokenizer: Tokenizer,
    task: RLTask,
    settings: RLSettings,
    learn: PolicyUpdate,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    learners: nn.Module | None = None,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
    keep_samples_at: Collection[int] = (),
    sample: RolloutSampler = sample_rollouts,
) -> RLHistory:
    """Let `model` answer the questions of `task` step by step, and `learn` from the answers.

    It is called as `learn(completions, rewards, generator)`. `learn` gives the measures of its
    step, the "loss" among them; `learners` are all modules that it changes, if there are others
    than `model`; `sample` makes the batch of a step. Each step depends on (seed, its number,
    learners, optimizers) alone: a run with `checkpoints` that was killed goes on as if nothing had
    happened. Interrupting (Ctrl-C, or the stop button) ends the run after the step at hand.
    `keep_samples_at` names steps of which an answer per question is kept.
    """
    learners, history = learners or model, RLHistory()
    if checkpoints:
        history = checkpoints.restore(learners, optimizers, settings, RLHistory)
    start = time.perf_counter() - history.spent()
    with stop_between_steps() as wishes, progress_bar(settings.steps, len(history.loss)) as bar:
        for step in range(len(history.loss) + 1, settings.steps + 1):
            set_learning_rates(optimizers, settings.share_of_peak(step))
            rng = Random(f"{seed}/{step}")
            generator = torch.Generator().manual_seed(1_000_003 * seed + step)
            samples = sample(model, tokenizer, task, settings, rng, generator)
            with step_in_errors(step):
                measures = learn(samples.completions, samples.rewards, generator)
            measures |= rollout_metrics(samples, task, settings.group_size)
            reward = samples.rewards.mean().item()
            history.record(time.perf_counter() - start, reward=reward, **measures)
            if step in keep_samples_at:
                history.keep(step, samples, settings.group_size)
            show_rl_progress(bar, history)
            if step == settings.steps or wishes:
                history.ended = "finished" if step == settings.steps else "interrupted"
            if checkpoints and (history.ended or step % checkpoints.every == 0):
                checkpoints.save(learners, optimizers, history, settings)
            if history.ended:
                break
    history.ended = history.ended or "interrupted"  # in the middle of a step, by a second Ctrl-C
    tell_if_interrupted(history.ended, len(history.loss), settings.steps)
    return history


def rollout_metrics(samples: RolloutBatch, task: RLTask, group_size: int) -> dict[str, float]:
    """Measure what was sampled: the answers, their rewards, each part of the reward by name.

    Then whatever the task watches; of equal names, the task's counts.
    """
    parts = task.parts(samples.questions, samples.answers)
    return (
        completion_metrics(samples.completions)
        | reward_metrics(samples.rewards, samples.completions, group_size)
        | {f"reward: {name}": value for name, value in parts.items()}
        | task.measure(samples.questions, samples.answers)
    )


def show_rl_progress(bar: tqdm, history: RLHistory) -> None:
    """Move the progress bar on by one step, with what it earned."""
    bar.set_postfix_str(
        f"reward {history.measures['reward'][-1]:.2f}, {history.measures['length'][-1]:.0f} tokens"
    )
    bar.update()
