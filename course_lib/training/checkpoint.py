"""Save a model and get it back: the numbers as safetensors, everything else as JSON beside them.

`save_checkpoint("runs/poet.json", model)` writes `runs/poet-<hash>.safetensors`, then
`runs/poet.json`, which names it. (A name that does not end in .json is kept whole, dots included:
`lr0.01-<hash>.safetensors`.) The second file appears by one rename, so a reader finds the old
checkpoint or the new one, never a mixture, whenever the power fails. No pickle: loading a
checkpoint runs no code from it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from course_lib.files import read_json, write_atomically, write_json

CHECKPOINT_KIND, CHECKPOINT_VERSION = "model checkpoint", 1


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or is missing, damaged or of another model.

    The message names the file.
    """


def save_checkpoint(path: Path | str, model: nn.Module, notes: dict | None = None) -> None:
    """Write the model's settings and weights, and `notes`.

    Notes are anything JSON can hold: seed, steps, command, scores. Raises CheckpointError if the
    disk is full or may not be written; an older checkpoint there is then still whole.
    """
    about = {
        "model": type(model).__name__,
        "settings": asdict(model.settings),
        "notes": notes or {},
    }
    write_tensors(path, CHECKPOINT_KIND, model.state_dict(), about)


def write_tensors(path: Path | str, kind: str, tensors: Mapping[str, Tensor], about: dict) -> None:
    """Write any tensors, and `about` beside them.

    Raises CheckpointError as `save_checkpoint` does.
    """
    path = Path(path)
    weights = safetensors.torch.save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}
    )
    digest = hashlib.sha256(weights).hexdigest()
    file = path.with_name(f"{path.name.removesuffix('.json')}-{digest[:8]}.safetensors")
    about = about | {"weights": {"file": file.name, "bytes": len(weights), "sha256": digest}}
    json.dumps(about)  # notes that JSON cannot hold are refused before anything is written
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, weights)
        write_json(path, kind, CHECKPOINT_VERSION, about)
    except OSError as error:
        raise CheckpointError(
            f"could not save {path}: {error.strerror}. What was there before is untouched"
        ) from error
    finally:
        remove_stale_weights(path, kind)


def remove_stale_weights(path: Path, kind: str) -> None:
    """Delete weights that the JSON file of `path` does not name, of an older or a failed save.

    "poet" and "poet.json" give their weights the same names: what either names is kept.
    """
    name = path.name.removesuffix(".json")
    try:
        kept = {weights_file(path.with_name(twin), kind) for twin in (name, f"{name}.json")}
    except (ValueError, KeyError):
        return  # a damaged file names nothing: `load_checkpoint` will say so
    ours = re.compile(re.escape(name) + r"-[0-9a-f]{8}\.safetensors")
    for weights in path.parent.iterdir():
        if ours.fullmatch(weights.name) and weights.name not in kept:
            weights.unlink()


def weights_file(path: Path, kind: str) -> str | None:
    """Give the name of the weights that a checkpoint's JSON file names, if there is such a file."""
    return read_json(path, kind, CHECKPOINT_VERSION)["weights"]["file"] if path.is_file() else None


def load_checkpoint(path: Path | str, build: Callable[[dict], nn.Module]) -> tuple[nn.Module, dict]:
    """Read a checkpoint into the empty model of `build(settings)`; return model and notes.

    As in `load_checkpoint("poet.json", lambda settings: GPT2(GPT2Settings(**settings)))`. Raises
    CheckpointError for a file that is missing, cut short or changed by so much as one bit, and for
    weights that do not fit the model.
    """
    tensors, about = read_tensors(path, CHECKPOINT_KIND)
    try:
        model = build(about["settings"])
        model.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} holds a {about['model']}, which does not fit: {error}"
        ) from error
    return model, about["notes"]


def read_tensors(path: Path | str, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read what `write_tensors` wrote: the tensors and what is known about them.

    Raises CheckpointError as `load_checkpoint` does.
    """
    about = read_about(path, kind)
    try:
        weights = Path(path).with_name(about["weights"]["file"]).read_bytes()
    except OSError as error:
        raise CheckpointError(f"could not read {error.filename}: {error.strerror}") from error
    wanted = about["weights"]
    if hashlib.sha256(weights).hexdigest() != wanted["sha256"]:
        found = f"{len(weights)} bytes, of which some are wrong; {wanted['bytes']} were written"
        raise CheckpointError(f"{Path(path).with_name(wanted['file'])} is damaged: {found}")
    return safetensors.torch.load(weights), about


def read_about(path: Path | str, kind: str) -> dict:
    """Read what is known about the tensors; CheckpointError as `load_checkpoint`."""
    try:
        return read_json(path, kind, CHECKPOINT_VERSION)
    except OSError as error:
        raise CheckpointError(f"could not read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(str(error)) from error
