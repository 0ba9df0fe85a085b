"""Folders that are written whole or not at all, and that keep what somebody added to them."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_lib.files import read_json, write_json

MANIFEST = "export.json"


@contextmanager
def export_folder(folder: Path | str, kind: str, version: int, about: dict) -> Iterator[Path]:
    """Give an empty folder to write into; when the block is left, it becomes `folder`.

    An error inside leaves nothing. export.json says what was written, by `about` and checksums. A
    folder that is already there is replaced if it is an export of this kind and nothing in it was
    added or changed since; else ValueError, before the block is entered.
    """
    folder = Path(folder)
    check_replaceable(folder, kind, version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield made
        write_json(made / MANIFEST, kind, version, about | {"files": file_hashes(made)})
        os.chmod(made, 0o755)
        put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def file_hashes(folder: Path) -> dict[str, str]:
    """Give the SHA-256 of every file in a folder but export.json: name -> hash.

    What Python leaves of files that it has run is passed over.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != MANIFEST and path.suffix != ".pyc"
    }


def check_replaceable(folder: Path, kind: str, version: int) -> None:
    """Raise a ValueError if a folder holds anything but an export as it was written."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise ValueError(f"{folder} is a file: give a folder")
        return
    if not (folder / MANIFEST).exists():
        raise ValueError(f"{folder} is not empty, and no export: choose another folder")
    try:
        written = read_json(folder / MANIFEST, kind, version)["files"]
    except ValueError as error:
        raise ValueError(f"{folder} is no {kind}: choose another folder. {error}") from None
    found = file_hashes(folder)
    if other := sorted(name for name in found if found[name] != written.get(name)):
        raise ValueError(
            f"{folder} holds {', '.join(other[:3])}{' and more' * (len(other) > 3)}, added or"
            " changed since it was written: choose another folder, or move this one"
        )


def put_in_place(made: Path, folder: Path) -> None:
    """Give a finished folder its name; what stood there goes once the new one stands."""
    before = made.with_name(f"{made.name}.before")
    if folder.exists():
        os.rename(folder, before)
    try:
        os.rename(made, folder)
    except OSError:
        if before.exists():
            os.rename(before, folder)
        raise
    shutil.rmtree(before, ignore_errors=True)
