"""The loop of reinforcement learning: ask, let the model answer, rate the answers, learn, and ask again."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.inference.rollout import Completions, sample_completions
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, render
from course_lib.training.resume import Checkpoints
from course_lib.training.schedules import warmup_stable_decay
from course_lib.training.trainer import progress_bar, set_learning_rates, stop_between_steps

Learn = Callable[[Completions, Float[Tensor, "B"], torch.Generator], dict[str, float]]


class Question(NamedTuple):
    """What the model is asked, and what its answer is judged by: a problem, a fact, anything that the task knows."""

    text: str
    truth: Any


@dataclass(frozen=True)
class Task:
    """What a policy practises: questions to draw, rewards for answers, and measures to watch that earn nothing.

    `reward` and `measure` get questions and answers side by side, a question once for each of its answers.
    """

    draw: Callable[[Random], Question]
    reward: Callable[[Sequence[Question], Sequence[str]], Sequence[float]]
    measure: Callable[[Sequence[Question], Sequence[str]], dict[str, float]] = lambda questions, answers: {}


@dataclass(frozen=True)
class PracticeSettings:
    """How long and how boldly to practise. A step asks `n_questions`, each `group_size` times.

    `warmup` and `decay` are shares of the run. `clip_low` and `clip_high` bound what a step may gain, `beta` weighs the
    distance from the reference model; a step learns from its samples `n_epochs` times in `n_minibatches` parts.

    >>> PracticeSettings(steps=10, lr=0.0)
    Traceback (most recent call last):
    ValueError: temperature 1.0 and lr 0.0 must be above 0, beta 0.005 at least 0
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

    def __post_init__(self) -> None:
        for name in ("steps", "n_questions", "group_size", "max_new_tokens", "n_minibatches", "n_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if not self.temperature > 0 or not self.lr > 0 or not self.beta >= 0:
            numbers = f"temperature {self.temperature} and lr {self.lr} must be above 0, beta {self.beta} at least 0"
            raise ValueError(numbers)

    def as_data(self) -> dict:
        """Give the settings as JSON can hold them."""
        return asdict(self)


@dataclass
class RLHistory:
    """What happened, step by step: the loss, seconds since the start, and every measure of the samples by name.

    `samples` holds (step, question, answer, reward) of the steps whose answers were kept.
    """

    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    measures: dict[str, list[float]] = field(default_factory=dict)
    samples: list[tuple[int, str, str, float]] = field(default_factory=list)
    ended: str = ""

    def record(self, seconds: float, loss: float, **measures: float) -> None:
        """Write down one step; a loss that is no number is a FloatingPointError."""
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {len(self.loss) + 1}: try a smaller learning rate")
        self.loss.append(loss)
        self.seconds.append(seconds)
        for name, value in measures.items():
            self.measures.setdefault(name, []).append(value)

    def spent(self) -> float:
        """Tell the seconds that the run has taken so far."""
        return self.seconds[-1] if self.seconds else 0.0

    @classmethod
    def from_data(cls, data: dict) -> "RLHistory":
        """Make a history of what `asdict` and JSON made of one."""
        return cls(**data | {"samples": [tuple(sample) for sample in data["samples"]]})


def prompt(tokenizer: Tokenizer, question: str) -> list[int]:
    """Give the tokens of a question as the model reads it: behind the end of another text, an answer to come."""
    text = render([{"role": "user", "content": question}], add_generation_prompt=True)
    return [tokenizer.special_tokens[END_OF_TEXT], *tokenizer.encode(text)]


def answer(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[str],
    max_new_tokens: int = 72,
    n_samples: int = 1,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[list[str], Completions]:
    """Let the model answer each question `n_samples` times: the texts without their end token, and all about them."""
    end = tokenizer.special_tokens[END_OF_TEXT]
    prompts = [prompt(tokenizer, question) for question in questions]
    completions = sample_completions(
        model, prompts, max_new_tokens, n_samples=n_samples, stop_token=end, temperature=temperature,
        generator=generator,
    )  # fmt: skip
    return [tokenizer.decode(ids[:-1] if ids[-1] == end else ids) for ids in completions.completions], completions


def rate(task: Task, questions: Sequence[Question], answers: Sequence[str]) -> Float[Tensor, "B"]:
    """Give the rewards of the answers. Raises ValueError unless there is one for each, and each is a finite number."""
    rewards = torch.tensor([float(reward) for reward in task.reward(questions, answers)])
    if len(rewards) != len(answers):
        raise ValueError(f"the task gave {len(rewards)} rewards for {len(answers)} answers")
    if not rewards.isfinite().all():
        row = int((~rewards.isfinite()).nonzero()[0])
        raise ValueError(f"the reward is {rewards[row].item()} for {answers[row]!r} to {questions[row].text!r}")
    return rewards


def describe(completions: Completions) -> dict[str, float]:
    """Measure what all tasks share: tokens per answer, share cut off, and surprise per token (an entropy estimate)."""
    lengths = completions.lengths
    return {
        "length": lengths.float().mean().item(),
        "cut off": 1 - completions.finished.float().mean().item(),
        "entropy": -(completions.log_probs.sum() / lengths.sum()).item(),
    }


def practise(
    model: nn.Module,
    tokenizer: Tokenizer,
    task: Task,
    settings: PracticeSettings,
    learn: Learn,
    optimisers: Sequence[torch.optim.Optimizer],
    *,
    learners: nn.Module | None = None,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
    keep_samples_at: Collection[int] = (),
) -> RLHistory:
    """Let `model` answer the questions of `task` step by step, and `learn(completions, rewards, generator)` from them.

    `learn` gives the measures of its step, the "loss" among them; `learners` are all modules that it changes, if there
    are others than `model`. Each step depends on (seed, its number, learners, optimisers) alone: a run with
    `checkpoints` that was killed goes on as if nothing had happened. Interrupting (Ctrl-C, or the stop button) ends the
    run after the step at hand. `keep_samples_at` names steps of which an answer per question is kept.
    """
    learners = learners or model
    history = checkpoints.restore(learners, optimisers, settings, RLHistory) if checkpoints else RLHistory()
    start = time.perf_counter() - history.spent()
    with stop_between_steps() as wishes, progress_bar(settings.steps, len(history.loss)) as bar:
        for step in range(len(history.loss) + 1, settings.steps + 1):
            middle = (step - 0.5) / settings.steps          # of the step: neither the first nor the last stands still
            set_learning_rates(optimisers, warmup_stable_decay(middle, settings.warmup, settings.decay))
            rng, generator = Random(f"{seed}/{step}"), torch.Generator().manual_seed(1_000_003 * seed + step)
            asked = [task.draw(rng) for _ in range(settings.n_questions)]
            answers, completions = answer(
                model, tokenizer, [question.text for question in asked], settings.max_new_tokens, settings.group_size,
                settings.temperature, generator,
            )  # fmt: skip
            questions = [question for question in asked for _ in range(settings.group_size)]
            rewards = rate(task, questions, answers)
            measures = learn(completions, rewards, generator) | describe(completions) | task.measure(questions, answers)
            history.record(time.perf_counter() - start, reward=rewards.mean().item(), **measures)
            if step in keep_samples_at:
                kept = range(0, len(answers), settings.group_size)
                history.samples += [(step, questions[i].text, answers[i], rewards[i].item()) for i in kept]
            bar.set_postfix_str(f"reward {rewards.mean():.2f}, {measures['length']:.0f} tokens")
            bar.update()
            history.ended = "finished" if step == settings.steps else "interrupted" if wishes else ""
            if checkpoints and (history.ended or step % checkpoints.every == 0):
                checkpoints.save(learners, optimisers, history, settings)
            if history.ended:
                break
    return history
