"""How long and how boldly to train, and what came of it: plain data, to keep as JSON."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from course_lib.check_numbers import check_finite_numbers, check_whole_numbers
from course_lib.files import read_json, write_json
from course_lib.training.schedules import (
    LearningRateSchedule,
    multi_step,
    warmup_cosine,
    warmup_stable_decay,
)

SCHEDULES: dict[str, Callable] = {
    "wsd": warmup_stable_decay,
    "cosine": warmup_cosine,
    "multi-step": multi_step,
}
# functions of the module `time`
CLOCKS = {"wall": "perf_counter", "processor": "process_time"}


@dataclass(frozen=True)
class TrainSettings:
    """How long and how boldly to train.

    `warmup` and `decay` are shares of the run; `clip` bounds the gradient. `optimizer` "muon" gives
    the hidden matrices to Muon and the rest to AdamW, "adamw" all to AdamW; a function makes the
    optimizers from the model, and knows their rates itself. `schedule` is "wsd", "cosine",
    "multi-step" or a function of progress; `decay` shapes the first only. `accumulate` cuts a batch
    into so many parts, which fit into less memory one after the other. `precision` "bfloat16"
    multiplies matrices with 8 bits of mantissa, which pays where they are large; parameters and
    their updates stay float32. With `seconds`, the run also ends when the time is up, and the
    learning rate falls in step with the `clock`: "wall", or "processor", which counts the seconds
    that all threads of this process compute, so that other programs cost nothing.

    >>> TrainSettings(steps=100, precision="float8")
    Traceback (most recent call last):
    ValueError: precision 'float8' is not one of float32, bfloat16
    """

    steps: int
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    warmup: float = 0.05
    decay: float = 0.5
    clip: float = 1.0
    seconds: float | None = None
    weight_decay: float = 0.0
    optimizer: str | Callable = "muon"
    schedule: str | LearningRateSchedule = "wsd"
    accumulate: int = 1
    precision: str = "float32"
    clock: str = "wall"

    def __post_init__(self) -> None:
        check_whole_numbers(steps=self.steps, accumulate=self.accumulate)
        shares = {"clip": self.clip, "warmup": self.warmup, "decay": self.decay}
        rates = {name: getattr(self, name) for name in ("muon_lr", "adam_lr", "weight_decay")}
        check_finite_numbers(
            **shares, **rates, **({} if self.seconds is None else {"seconds": self.seconds})
        )
        if self.clip <= 0 or (self.seconds is not None and self.seconds <= 0):
            raise ValueError(f"clip {self.clip} and seconds {self.seconds} must be above 0")
        if not 0 <= self.warmup <= 1 or not 0 <= self.decay <= 1:
            raise ValueError(
                f"warmup {self.warmup} and decay {self.decay} are shares of the run, from 0 to 1"
            )
        for name, rate in rates.items():
            if rate < 0:
                raise ValueError(f"{name} {rate} must be 0 or a number above it")
        names = {
            "optimizer": ("muon", "adamw"),
            "precision": ("float32", "bfloat16"),
            "schedule": tuple(SCHEDULES),
            "clock": tuple(CLOCKS),
        }
        for name, known in names.items():
            may_be_function = name in ("schedule", "optimizer")
            if getattr(self, name) not in known and not (
                may_be_function and callable(getattr(self, name))
            ):
                raise ValueError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")

    def share_of_peak(self, progress: float) -> float:
        """Give the learning rate at `progress` (0 to 1) through the run, as a share of its peak."""
        if callable(self.schedule):
            return self.schedule(progress)
        options = {"decay": self.decay} if self.schedule == "wsd" else {}
        return partial(SCHEDULES[self.schedule], warmup=self.warmup, **options)(progress)

    def as_data(self) -> dict:
        """Give the settings as JSON can hold them; of what is a function, its name."""
        named = {
            field: value if isinstance(value, str) else getattr(value, "__name__", "function")
            for field, value in (("schedule", self.schedule), ("optimizer", self.optimizer))
        }
        return asdict(self) | named


@dataclass
class RunHistory:
    """What every run writes down: a loss and the seconds since the start, one of each per step.

    `ended` says why the run stopped: "finished", "interrupted", or by the clock, "time".
    """

    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ended: str = field(default="", kw_only=True)

    def record_loss(self, loss: float, seconds: float) -> None:
        """Write down one step; a loss that is no finite number is a FloatingPointError."""
        if not math.isfinite(loss):
            what = "NaN" if math.isnan(loss) else "infinite"
            raise FloatingPointError(
                f"the loss is {what} at step {len(self.loss) + 1}: try a smaller learning rate"
            )
        self.loss.append(loss)
        self.seconds.append(seconds)

    def spent(self) -> float:
        """Tell the seconds that the run has taken so far."""
        return self.seconds[-1] if self.seconds else 0.0


@dataclass
class TrainHistory(RunHistory):
    """What happened in a run, one entry per step.

    The loss (nats per token), seconds since the start, the length of the gradient before clipping,
    the learning rate as a share of its peak, and tokens read. `validation` holds (step, bits per
    byte).
    """

    gradient: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)

    def record(
        self, loss: float, gradient: float, rate: float, n_tokens: int, seconds: float
    ) -> None:
        """Write down one step, see `record_loss`."""
        self.record_loss(loss, seconds)
        self.gradient.append(gradient)
        self.rate.append(rate)
        self.tokens.append(n_tokens + (self.tokens[-1] if self.tokens else 0))

    @classmethod
    def from_data(cls, data: dict) -> "TrainHistory":
        """Make a history of what `asdict` and JSON made of one."""
        return cls(**data | {"validation": [tuple(pair) for pair in data["validation"]]})

    def save(self, path: Path | str) -> None:
        """Write the history to a JSON file."""
        write_json(path, "training history", 1, asdict(self))

    @classmethod
    def load(cls, path: Path | str) -> "TrainHistory":
        """Read what `save` wrote. Raises ValueError if the file is damaged."""
        return cls.from_data(read_json(path, "training history", 1))


History = TypeVar("History", bound=RunHistory)


def whole_run(history: History) -> History:
    """Give the history of a run that was not interrupted: half a run measures nothing.

    Raises KeyboardInterrupt for one that was, so that nobody writes its result down.

    >>> whole_run(RunHistory([1.0], [0.5], ended="finished")).loss
    [1.0]
    """
    if history.ended == "interrupted":
        raise KeyboardInterrupt(f"stopped after {len(history.loss)} steps: no measurement")
    return history
