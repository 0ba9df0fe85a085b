"""A run that may be killed at any moment: every so often, write down all that the next step depends
on.

That is the model, the averages of the optimizers, the history (whose length is the step), and the
states of the random generators. The files are those of `checkpoint`: safetensors and JSON, written
whole or not at all, never pickle.
"""

import random
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.check_numbers import check_whole_numbers
from course_lib.training import distributed
from course_lib.training.checkpoint import CheckpointError, read_tensors, write_tensors
from course_lib.training.settings import TrainHistory

RESUME_KIND = "training state"
# The files of one checkpoint, and nothing else that may lie beside them; with a dot in front and
# more behind: a file that was never finished, as `write_atomically` names it.
STEP_FILE = re.compile(r"(\.)?step-(?P<step>\d{7,})(\.json|-[0-9a-f]{8}\.safetensors)(?(1)\.\w+)")

Optimizers = Sequence[torch.optim.Optimizer]


@runtime_checkable
class RunSettings(Protocol):
    """How a run is made: numbers that may not change while it is under way."""

    def as_data(self) -> dict: ...


@runtime_checkable
class RunRecord(Protocol):
    """What happened in a run, as a dataclass: one loss per step, why it ended, and the way back
    from JSON."""

    loss: list[float]
    ended: str

    @classmethod
    def from_data(cls, data: dict) -> "RunRecord": ...


@dataclass(frozen=True)
class Checkpoints:
    """A folder that holds the last `keep` checkpoints of one run, `every` so many steps one.

    >>> Checkpoints("runs/poet", every=0)
    Traceback (most recent call last):
    ValueError: every 0 must be at least 1, and a whole number
    """

    folder: Path | str
    every: int = 100
    keep: int = 2

    def __post_init__(self) -> None:
        check_whole_numbers(every=self.every, keep=self.keep)

    def path(self, step: int) -> Path:
        return Path(self.folder) / f"step-{step:07}.json"

    def steps(self) -> list[int]:
        """List the steps after which there is a checkpoint, whole or damaged."""
        files = (STEP_FILE.fullmatch(path.name) for path in Path(self.folder).glob("step-*.json"))
        return sorted(int(file["step"]) for file in files if file)

    def save(
        self, model: nn.Module, optimizers: Optimizers, history: RunRecord, settings: RunSettings
    ) -> None:
        """Write one checkpoint, then delete the older ones. If the disk is full, warn: the older
        ones then stay."""
        step = len(history.loss)
        tensors = distributed.full_state_dict(training_tensors(model, optimizers))
        if distributed.process_rank() > 0:
            return
        about = {"history": asdict(history), "settings": settings.as_data(), "random": rng_states()}
        try:
            write_tensors(self.path(step), RESUME_KIND, tensors, about)
            self.tidy(step)
        except CheckpointError as error:
            older = [f"step {old}" for old in self.steps() if old < step]
            warnings.warn(
                f"{error}. Safe so far: {', '.join(older) or 'nothing'}",
                RuntimeWarning,
                stacklevel=2,
            )

    def tidy(self, step: int) -> None:
        """Delete all but the newest checkpoints up to `step`, and what a killed process left
        half-written."""
        kept = [old for old in self.steps() if old <= step][-self.keep :]
        for file in Path(self.folder).iterdir():
            found = STEP_FILE.fullmatch(file.name)
            if found and (int(found["step"]) not in kept or file.name.startswith(".")):
                file.unlink()

    def restore(
        self,
        model: nn.Module,
        optimizers: Optimizers,
        settings: RunSettings,
        kind: type = TrainHistory,
    ) -> RunRecord:
        """Go back to the newest whole checkpoint and return its history, which is empty if there is
        none at all.

        `kind` is the class of the history: any `RunRecord` that can be made empty.

        Warns about damaged ones. Raises CheckpointError if all are damaged, or are of a run with
        other settings.
        """
        tensors, about = self.newest()
        if tensors is None:
            return kind()
        if differing := [
            f"{name} {about['settings'].get(name)}, now {value}"
            for name, value in settings.as_data().items()
            if about["settings"].get(name) != value
            and name != "accumulate"  # how a batch is cut changes no sum
        ]:
            raise CheckpointError(
                f"{self.folder} holds a run with other settings: {'; '.join(differing)}"
            )
        restore_training_tensors(tensors, model, optimizers)
        set_rng_states(about["random"], tensors)
        ended = about["history"]["ended"]
        return kind.from_data(about["history"] | {"ended": "" if ended == "interrupted" else ended})

    def newest(self) -> tuple[dict[str, Tensor] | None, dict]:
        """Read the newest checkpoint that is whole: its tensors and what is known about them."""
        damaged = []
        for step in reversed(self.steps()):
            try:
                found = read_tensors(self.path(step), RESUME_KIND)
            except CheckpointError as error:
                damaged.append(f"{error}")
                continue
            if damaged and distributed.process_rank() == 0:
                lost = self.steps()[-1] - step
                warnings.warn(
                    f"{'; '.join(damaged)}. Back to step {step}: {lost} steps are lost",
                    RuntimeWarning,
                    2,
                )
            return found
        if damaged:
            raise CheckpointError(
                f"no checkpoint in {self.folder} can be read: {'; '.join(damaged)}"
            )
        return None, {}


def training_tensors(model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """Name every tensor that the next step depends on.

    model.NAME, optimizer.WHICH.PARAMETER.NAME for the averages, random.DEVICE for PyTorch's random
    generators.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, optimizer in enumerate(optimizers):
        for j, averages in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{j}.{name}": tensor for name, tensor in averages.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    return tensors | {
        f"random.cuda.{i}": torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())
    }


def restore_training_tensors(
    tensors: dict[str, Tensor], model: nn.Module, optimizers: Optimizers
) -> None:
    """Give every tensor that `training_tensors` named back to its owner; raise CheckpointError if
    they are not its own."""
    now = model.state_dict()
    try:
        model.load_state_dict(
            {
                name.removeprefix("model."): distributed.shard_like(
                    tensor, now.get(name.removeprefix("model."), tensor)
                )
                for name, tensor in tensors.items()
                if name.startswith("model.")
            }
        )
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint is of another model: {error}") from error
    for i, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"optimizer.{i}."):
                j, key = name.split(".")[2:]
                state.setdefault(int(j), {})[key] = distributed.shard_like(
                    tensor, parameters[int(j)]
                )
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def rng_states() -> dict:
    """Write down where the random generators of Python and NumPy stand, as JSON can hold it."""
    kind, keys, *rest = np.random.get_state()
    return {"python": random.getstate(), "numpy": [kind, keys.tolist(), *rest]}


def set_rng_states(states: dict, tensors: dict[str, Tensor]) -> None:
    """Set all random generators back to what was written down; PyTorch's are among the tensors."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(tensors["random.cpu"])
    for i in range(torch.cuda.device_count()):
        if f"random.cuda.{i}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random.cuda.{i}"], i)
