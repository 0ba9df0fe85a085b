"""One run of an experiment: the folder that it is kept in, its seed and its recipe."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib.alignment.rl_loop import RLHistory
from course_lib.files import read_json, write_json
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe
from course_lib.training import checkpoint
from course_lib.training.distributed import process_rank
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainHistory

DATA_VERSION = 1
DENSE_STAGES = ("small-base", "small-zero", "student")  # the names of the dense models


@dataclass(frozen=True)
class ExperimentRun:
    """One run of the pipeline: its folder, what its randomness starts from, and its numbers."""

    folder: Path
    seed: int = 0
    recipe: Any = None  # a `R1Recipe`, or that of another pipeline
    device: str = "cpu"

    def path(self, name: str) -> Path:
        """Give the place of a JSON file, as in `path("sft/sums")`: each stage has a folder."""
        return Path(self.folder) / f"{name}.json"

    def tokenizer(self) -> bpe.Tokenizer:
        return bpe.Tokenizer.load(self.path("base/tokenizer"))

    def checkpoints(self, stage: str, every: int) -> Checkpoints:
        return Checkpoints(Path(self.folder) / stage / "steps", every, keep=1)

    def done(self, stage: str) -> bool:
        return self.path(f"{stage}/model").exists()

    def load(self, stage: str) -> nn.Module:
        """Read the model that a stage has left."""
        kind, settings = (
            (Llama, LlamaSettings) if stage in DENSE_STAGES else (DeepSeekV3, DeepSeekSettings)
        )
        model, _ = checkpoint.load_checkpoint(
            self.path(f"{stage}/model"), lambda numbers: kind(settings(**numbers))
        )
        return model.to(self.device)

    def keep(self, stage: str, model: nn.Module, history: TrainHistory | RLHistory) -> None:
        """Write a stage's history and model, in this order, and forget the steps on the way.

        Of several processes that have trained the model, the first one writes.
        """
        if history.ended == "interrupted":
            raise KeyboardInterrupt(f"{stage} is not done; the same command goes on with it")
        if process_rank() > 0:
            return
        write_json(self.path(f"{stage}/history"), "history", DATA_VERSION, asdict(history))
        checkpoint.save_checkpoint(
            self.path(f"{stage}/model"), model, {"stage": stage, "seed": self.seed}
        )
        shutil.rmtree(Path(self.folder) / stage / "steps", ignore_errors=True)

    def once(self, name: str, make: Callable[[], list | dict]) -> list | dict:
        """Give the data of this name: made and written the first time, read after that."""
        if not self.path(name).exists():
            content = make()
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path(name), "data", DATA_VERSION, content)
        return read_json(self.path(name), "data", DATA_VERSION)


def preset_device(preset: str) -> str:
    return "cuda" if preset == "gpu" and torch.cuda.is_available() else "cpu"


def claim_folder(run: ExperimentRun, preset: str, mine: bool = False) -> None:
    """Write down which preset the folder belongs to, and whose lines: the library's or one's own.

    Raises ValueError if it is another one's, or if the other seeds beside it are.
    """
    wanted = {"preset": preset, "mine": mine}
    for file in sorted(run.folder.parent.glob("seed-*/run.json")):
        begun = {"mine": False} | read_json(file, "data", DATA_VERSION)
        if begun["mine"] != mine or (file.parent == run.folder and begun["preset"] != preset):
            options = f"--preset {begun['preset']}{' --mine' if begun['mine'] else ''}"
            asked = f"{preset}{' --mine' if mine else ''}"
            raise ValueError(
                f"{file.parent} was begun with {options}, not {asked}: choose another --out"
            )
    run.folder.mkdir(parents=True, exist_ok=True)
    run.once("run", lambda: wanted | {"seed": run.seed})


@contextmanager
def timed_block(run: ExperimentRun, name: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of the stage, also when it is interrupted."""
    path, start, cpu = run.path(f"{name}/seconds"), time.perf_counter(), time.process_time()
    before = {"wall": 0.0, "processor": 0.0}
    if path.exists():
        before = read_json(path, "seconds", DATA_VERSION)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        spent = {"wall": time.perf_counter() - start, "processor": time.process_time() - cpu}
        write_json(
            path, "seconds", DATA_VERSION, {name: before[name] + spent[name] for name in spent}
        )
