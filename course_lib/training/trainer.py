"""The training loop: one for every model of the course."""

import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.training.objectives import next_token_loss
from course_lib.training.optim import build_optimisers, warmup_stable_decay

Batch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]


@dataclass(frozen=True)
class TrainSettings:
    """How long and how boldly to train. `warmup` and `decay` are shares of the run; `clip` bounds the gradient.

    With `seconds`, the run also ends when the time is up, and the learning rate falls in step with the clock.
    """

    steps: int
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    warmup: float = 0.05
    decay: float = 0.5
    clip: float = 1.0
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps {self.steps} is below 1")
        if self.clip <= 0 or (self.seconds is not None and self.seconds <= 0):
            raise ValueError(f"clip {self.clip} and seconds {self.seconds} must be above 0")
        if not 0 <= self.warmup <= 1 or not 0 <= self.decay <= 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are shares of the run, from 0 to 1")


@dataclass
class History:
    """What happened in a run, one entry per step: loss (nats per token), tokens read, seconds since the start.

    `validation` holds (step, bits per byte); `ended` says why the run stopped: "finished", "time" or "interrupted".
    """

    loss: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    ended: str = ""

    def record(self, loss: float, n_tokens: int, seconds: float) -> None:
        """Write down one step; a loss that is no number is a FloatingPointError."""
        if math.isnan(loss):
            raise FloatingPointError(f"the loss is NaN at step {len(self.loss) + 1}: try a smaller learning rate")
        self.loss.append(loss)
        self.tokens.append(n_tokens + (self.tokens[-1] if self.tokens else 0))
        self.seconds.append(seconds)


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    settings: TrainSettings,
    evaluate: Callable[[nn.Module], float] | None = None,
    evaluate_at: Collection[int] = (),
    on_step: Callable[[int, nn.Module], None] | None = None,
    loss_of: Callable[[Tensor, Tensor], Tensor] = next_token_loss,
) -> History:
    """Teach `model` to predict the targets of `batches`; return what happened.

    After the steps in `evaluate_at` (0 is before the first), `evaluate(model)` gives the bits per byte of held-out
    text; `on_step` is called after every step. Interrupting (Ctrl-C, or the stop button) ends the run early and keeps
    what the model has learnt. Raises FloatingPointError when the loss is no longer a number, ValueError when there are
    fewer batches than steps.
    """
    if evaluate_at and evaluate is None:
        raise ValueError(f"evaluate_at {list(evaluate_at)} needs a function evaluate")
    optimisers = build_optimisers(model, settings.muon_lr, settings.adam_lr)
    history = History()
    if 0 in evaluate_at:
        history.validation.append((0, evaluate(model)))
    start, bar = time.perf_counter(), progress_bar(settings.steps)
    try:
        for step, (inputs, targets) in zip(range(1, settings.steps + 1), batches, strict=False):
            set_learning_rates(optimisers, share_done(step - 1, time.perf_counter() - start, settings), settings)
            loss = training_step(model, optimisers, loss_of, inputs, targets, settings.clip)
            history.record(loss, inputs.numel(), time.perf_counter() - start)
            show(bar, history)
            if step in evaluate_at:
                history.validation.append((step, evaluate(model)))
            if on_step:
                on_step(step, model)
            if settings.seconds and history.seconds[-1] >= settings.seconds:
                history.ended = "time"
                break
    except KeyboardInterrupt:
        history.ended = "interrupted"
        print(f"Stopped after {len(history.loss)} of {settings.steps} steps. The model keeps what it has learnt.")
    finally:
        bar.close()
    if not history.ended and len(history.loss) < settings.steps:
        raise ValueError(f"the batches ended after {len(history.loss)} of {settings.steps} steps")
    history.ended = history.ended or "finished"
    return history


def training_step(
    model: nn.Module, optimisers: Sequence, loss_of: Callable, inputs: Tensor, targets: Tensor, clip: float
) -> float:
    """Predict, measure the loss, find the slope for every parameter, and take one step downhill."""
    loss = loss_of(model(inputs), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()
    return loss.item()


def share_done(step: int, seconds: float, settings: TrainSettings) -> float:
    """Tell how much of the run is over, from 0 to 1, by its steps or by the clock, whichever is further."""
    by_clock = seconds / settings.seconds if settings.seconds else 0.0
    return min(1.0, max(step / settings.steps, by_clock))


def set_learning_rates(optimisers: Sequence[torch.optim.Optimizer], share: float, settings: TrainSettings) -> None:
    """Scale every peak learning rate by the schedule."""
    scale = warmup_stable_decay(share, settings.warmup, settings.decay)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("peak_lr", group["lr"]) * scale


def progress_bar(steps: int) -> tqdm:
    """Show steps, tokens per second and time left; silent where COURSE_QUIET is set, as in a stored notebook."""
    return tqdm(total=steps, unit="step", leave=False, disable=bool(os.environ.get("COURSE_QUIET")))


def show(bar: tqdm, history: History) -> None:
    speed = history.tokens[-1] / history.seconds[-1]
    bar.set_postfix_str(f"loss {history.loss[-1]:.2f} nats/token, {speed:,.0f} tokens/s")
    bar.update()
