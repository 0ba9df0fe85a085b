"""Checkpoints of a model that no process holds whole: each process writes its own slices.

The engine is torch.distributed.checkpoint, which reads slices into any other cut: what 8 processes
saved goes on on 2, or on 1. The slices are safetensors, one file per process, in a folder
`step-0000100-<8 random digits>.shards` that all processes must be able to reach; the JSON file
`step-0000100.json` appears last, by one rename, and names the folder, its files and their
checksums. So a reader finds a whole checkpoint or the one before it. Nothing is pickled.
"""

import hashlib
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.files import write_json
from course_lib.training import distributed
from course_lib.training.checkpoint import CHECKPOINT_VERSION, CheckpointError


def write_shards(path: Path, kind: str, tensors: Mapping[str, Tensor], about: dict) -> None:
    """Write the slices of all processes, then `about` and what they wrote into `path`.

    All processes must call it, with the same names. Where a disk is full or may not be written this
    is a CheckpointError, at least in process 0; what was there before is untouched, and the new
    folder is removed.
    """
    from torch.distributed.checkpoint import save
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    token = [secrets.token_hex(4)]
    dist.broadcast_object_list(token, src=0)
    folder = path.with_name(f"{path.stem}-{token[0]}.shards")
    rank = distributed.process_rank()
    try:
        with refusals(f"could not save {path}", "What was there before is untouched"):
            save(
                dict(tensors),
                storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
            )
            mine = sorted(file.name for file in folder.glob(f"shard-{rank + 1:05}-*"))
            files = gather_checksums(folder, mine)
            if rank == 0:
                shards = {"folder": folder.name, "files": files}
                write_json(path, kind, CHECKPOINT_VERSION, about | {"shards": shards})
    except CheckpointError:
        if rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
        raise


@dataclass(frozen=True)
class ShardFolder:
    """The slices of one checkpoint, whole or damaged, and what was written down about them."""

    folder: Path
    files: dict[str, list]  # name -> bytes, sha256

    def verify(self) -> None:
        """Raise CheckpointError if a file is missing or changed by so much as one bit.

        All processes must call it: each reads its share of the files.
        """
        rank, size = distributed.process_rank(), distributed.world_size()
        found = gather_checksums(self.folder, sorted(self.files)[rank::size])
        for name, (size, digest) in self.files.items():
            if found[name] != [size, digest]:
                what = (
                    f"{found[name][0]} bytes, of which some are wrong; {size} were written"
                    if found[name][1]
                    else f"it cannot be read; {size} bytes were written"
                )
                raise CheckpointError(f"{self.folder / name} is damaged: {what}")

    def load(self, likes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Read all tensors, each cut as its like is.

        The like of `optimizer.0.3.momentum` may be called `optimizer.0.3`; what has none is read
        whole, and so are counts of steps. All processes must call it. Raises CheckpointError for a
        tensor of another shape or type than its like.
        """
        from torch.distributed.checkpoint import load
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

        reader = HuggingFaceStorageReader(str(self.folder))
        with refusals(f"could not read {self.folder}"):
            tensors = {}
            for name, entry in sorted(reader.read_metadata().state_dict_metadata.items()):
                like = likes.get(name, likes.get(name.rpartition(".")[0]))
                blank = torch.empty(entry.size, dtype=entry.properties.dtype)
                is_count = name.endswith(".step") and not blank.ndim
                tensors[name] = blank_like(name, blank if is_count or like is None else like, blank)
            load(tensors, storage_reader=reader)
        return tensors


def blank_like(name: str, like: Tensor, stored: Tensor) -> Tensor:
    """Make room for a tensor, cut as `like` is; torch would fill a wrong type without a word."""
    if (like.shape, like.dtype) != (stored.shape, stored.dtype):
        held, wanted = (f"{tuple(t.shape)} of {t.dtype}" for t in (stored, like))
        raise CheckpointError(f"{name} is {held} in the checkpoint, and {wanted} in this run")
    return torch.zeros_like(like, requires_grad=False)


def gather_checksums(folder: Path, names: list[str]) -> dict[str, list]:
    """Give what `checksum_of_file` says of each process's files; all processes get all of it."""
    parts = [mine := {name: checksum_of_file(folder / name) for name in names}]
    if distributed.world_size() > 1:
        parts = [{} for _ in range(distributed.world_size())]
        dist.all_gather_object(parts, mine)
    return {name: sums for part in parts for name, sums in part.items()}


def checksum_of_file(path: Path) -> list:
    """Give the bytes and the sha256 of a file, 0 and "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return [file.tell(), digest]
    except OSError:
        return [0, ""]


@contextmanager
def refusals(what: str, more: str = "") -> Iterator[None]:
    """Turn what torch's engine and the disk refuse into a CheckpointError.

    Torch's own CheckpointException is no Exception, so that nobody else would catch it.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        with warnings.catch_warnings():  # alone, the engine says that it is alone
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            yield
    except CheckpointException as error:
        rank, (cause, _) = min(error.failures.items())
        reason = getattr(cause, "strerror", None) or f"{cause}"
        raise CheckpointError(f"{what}: {reason} (process {rank}). {more}".rstrip()) from error
    except OSError as error:
        raise CheckpointError(f"{what}: {error.strerror}. {more}".rstrip()) from error
