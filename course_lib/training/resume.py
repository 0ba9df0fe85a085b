"""A run that may be killed at any moment: now and then, write down what the next step needs.

That is the model, the averages of the optimizers, the history (whose length is the step), and the
states of the random generators. The files are those of `checkpoint`, or of `sharded_checkpoint`
where every process has a slice of the model: safetensors and JSON, written whole or not at all,
never pickle.
"""

import random
import re
import shutil
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
from course_lib.training.checkpoint import CheckpointError, read_about, read_tensors, write_tensors
from course_lib.training.settings import TrainHistory
from course_lib.training.sharded_checkpoint import ShardFolder, write_shards

RESUME_KIND = "training state"
# The files of one checkpoint, and nothing else that may lie beside them; with a dot in front and
# more behind: a file that was never finished, as `write_atomically` names it.
STEP_FILE = re.compile(
    r"(\.)?step-(?P<step>\d{7,})(\.json|-[0-9a-f]{8}\.(?:safetensors|shards))(?(1)\.\w+)"
)

Optimizers = Sequence[torch.optim.Optimizer]


@runtime_checkable
class RunSettings(Protocol):
    """How a run is made: numbers that may not change while it is under way."""

    def as_data(self) -> dict: ...


@runtime_checkable
class RunRecord(Protocol):
    """What happened in a run, as a dataclass: a loss per step, why it ended, back from JSON."""

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
        """Write one checkpoint, then delete the older ones.

        If the disk is full, warn: the older ones then stay.
        """
        step = len(history.loss)
        tensors = training_tensors(model, optimizers)
        about = {"history": asdict(history), "settings": settings.as_data(), "random": rng_states()}
        first = distributed.process_rank() == 0
        try:
            if any(distributed.is_sliced(tensor) for tensor in tensors.values()):
                write_shards(self.path(step), RESUME_KIND, tensors, about)
            elif first:
                write_tensors(self.path(step), RESUME_KIND, tensors, about)
            if first:
                self.tidy(step)
        except CheckpointError as error:
            if not first:
                return
            older = [f"step {old}" for old in self.steps() if old < step]
            warnings.warn(
                f"{error}. Safe so far: {', '.join(older) or 'nothing'}",
                RuntimeWarning,
                stacklevel=2,
            )

    def tidy(self, step: int) -> None:
        """Delete all but the newest checkpoints up to `step`, and half-written files."""
        kept = [old for old in self.steps() if old <= step][-self.keep :]
        named = [self.path(old).read_bytes() for old in kept]
        for file in Path(self.folder).iterdir():
            found = STEP_FILE.fullmatch(file.name)
            if not found:
                continue
            if file.suffix == ".shards":  # of a save that was killed, if no kept file names it
                if not any(file.name.encode() in text for text in named):
                    shutil.rmtree(file)
            elif int(found["step"]) not in kept or file.name.startswith("."):
                file.unlink()

    def restore(
        self,
        model: nn.Module,
        optimizers: Optimizers,
        settings: RunSettings,
        kind: type = TrainHistory,
    ) -> RunRecord:
        """Go back to the newest whole checkpoint; return its history, or an empty one.

        `kind` is the class of the history: any `RunRecord` that can be made empty. Warns about
        damaged ones. Raises CheckpointError if all are damaged, or are of a run with other
        settings.
        """
        tensors, about = self.newest()
        if tensors is None:
            return kind()
        old, new = about["settings"], settings.as_data()
        new.pop("accumulate", None)  # how a batch is cut changes no sum
        changed = [name for name, value in new.items() if old.get(name) != value]
        if changed:
            differing = [f"{name} {old.get(name)}, now {new[name]}" for name in changed]
            raise CheckpointError(
                f"{self.folder} holds a run with other settings: {'; '.join(differing)}"
            )
        if isinstance(tensors, ShardFolder):
            tensors = tensors.load(training_likes(model, optimizers))
        restore_training_tensors(tensors, model, optimizers)
        set_rng_states(about["random"], tensors)
        ended = about["history"]["ended"]
        return kind.from_data(about["history"] | {"ended": "" if ended == "interrupted" else ended})

    def read(self, step: int) -> tuple[dict[str, Tensor] | ShardFolder, dict]:
        """Read one checkpoint, or see that its slices are whole; CheckpointError if damaged."""
        about = read_about(self.path(step), RESUME_KIND)
        if "shards" not in about:
            return read_tensors(self.path(step), RESUME_KIND)
        shards = about["shards"]
        folder = ShardFolder(self.path(step).with_name(shards["folder"]), shards["files"])
        folder.verify()
        return folder, about

    def newest(self) -> tuple[dict[str, Tensor] | ShardFolder | None, dict]:
        """Read the newest checkpoint that is whole: its tensors and what is known about them."""
        damaged = []
        for step in reversed(self.steps()):
            try:
                found = self.read(step)
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
    """Name every tensor that the next step depends on, as it is in a run of one process.

    model.NAME, optimizer.WHICH.PARAMETER.NAME for the averages, random.DEVICE for PyTorch's random
    generators. All processes must call it.
    """
    orders = averages_orders(model, optimizers)
    tensors = {f"model.{name}": tensor for name, tensor in distributed.model_tensors(model).items()}
    for i, optimizer in enumerate(optimizers):
        for j, averages in optimizer.state_dict()["state"].items():
            rows = orders[i, j].argsort() if (i, j) in orders else None
            tensors |= {
                f"optimizer.{i}.{j}.{name}": distributed.take_rows(tensor, rows)
                for name, tensor in averages.items()
            }
    tensors["random.cpu"] = torch.get_rng_state()
    return tensors | {
        f"random.cuda.{i}": torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())
    }


def restore_training_tensors(
    tensors: dict[str, Tensor], model: nn.Module, optimizers: Optimizers
) -> None:
    """Give every tensor that `training_tensors` named back to its owner.

    Raises CheckpointError if they are not its own.
    """
    now, orders = model.state_dict(), distributed.row_orders(model)
    try:
        model.load_state_dict(
            {
                name: distributed.shard_like(
                    distributed.take_rows(tensor, orders.get(name)), now.get(name, tensor)
                )
                for name, tensor in named_under("model.", tensors)
            }
        )
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint is of another model: {error}") from error
    orders = averages_orders(model, optimizers)
    for i, optimizer in enumerate(optimizers):
        parameters = parameters_of(optimizer)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in named_under(f"optimizer.{i}.", tensors):
            number, key = name.split(".")
            j = int(number)
            tensor = distributed.take_rows(tensor, orders.get((i, j)))
            state.setdefault(j, {})[key] = distributed.shard_like(tensor, parameters[j])
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def training_likes(model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """Give the tensors that those of `training_tensors` are for, or are cut like, by name.

    The averages of a parameter have the parameter: optimizer.WHICH.PARAMETER.
    """
    likes = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    return likes | {
        f"optimizer.{i}.{j}": parameter
        for i, optimizer in enumerate(optimizers)
        for j, parameter in enumerate(parameters_of(optimizer))
    }


def named_under(start: str, tensors: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Choose the tensors whose names begin so, and drop that beginning."""
    return [(name.removeprefix(start), t) for name, t in tensors.items() if name.startswith(start)]


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """List an optimizer's parameters, in the order of its `state_dict`."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def averages_orders(model: nn.Module, optimizers: Optimizers) -> dict[tuple[int, int], Tensor]:
    """Give the `distributed.row_orders` of parameters by optimizer and place in it."""
    orders = distributed.row_orders(model)
    ordered = {id(p): orders[name] for name, p in model.named_parameters() if name in orders}
    return {
        (i, j): ordered[id(parameter)]
        for i, optimizer in enumerate(optimizers)
        for j, parameter in enumerate(parameters_of(optimizer))
        if id(parameter) in ordered
    }


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
