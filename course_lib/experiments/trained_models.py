"""A model that the course has trained, with its tokenizer: shipped, or in the folder of a run."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from course_lib.experiments.pretraining import MODEL_KINDS
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.search import SHIPPED_SEARCH
from course_lib.text.bpe import Tokenizer
from course_lib.training.checkpoint import CHECKPOINT_KIND, load_checkpoint, read_about

SHIPPED_MODELS = {  # name -> its folder
    name: SHIPPED_R1.folder / name for name in ("base", "zero", "r1", "student")
} | {"search": SHIPPED_SEARCH.folder / "search"}
KINDS_BY_CLASS = {build.__name__: (build, settings) for build, settings in MODEL_KINDS.values()}


@dataclass(frozen=True)
class TrainedModel:
    """A model, its tokenizer, and what it is called."""

    name: str
    model: nn.Module
    tokenizer: Tokenizer


def find_trained_model(name: str) -> TrainedModel:
    """Read a model: a shipped one by its name, else from the folder of a run.

    That is the `--out` of `course_lib.train`, or the folder of a stage of `course_lib.r1`. Raises
    ValueError if there is none, or if it is damaged.
    """
    folder = SHIPPED_MODELS.get(name, Path(name).resolve())
    places = folder / "tokenizer.json", folder.parent / "base/tokenizer.json"
    tokenizer = next((place for place in places if place.is_file()), None)
    if tokenizer is None or not (folder / "model.json").is_file():
        raise ValueError(
            f"no model {name!r}: give {', '.join(SHIPPED_MODELS)}, or the folder of a finished run"
            " of course_lib.train, or a stage's folder of one of course_lib.r1, as in"
            " runs/r1/seed-0/zero"
        )
    kind = read_about(folder / "model.json", CHECKPOINT_KIND)["model"]
    if kind not in KINDS_BY_CLASS:
        raise ValueError(f"{name!r} is a {kind}, not {', '.join(KINDS_BY_CLASS)}")
    build, settings = KINDS_BY_CLASS[kind]
    model, _ = load_checkpoint(folder / "model.json", lambda sizes: build(settings(**sizes)))
    return TrainedModel(folder.name, model.eval(), Tokenizer.load(tokenizer))
