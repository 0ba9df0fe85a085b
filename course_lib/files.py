"""Files that are never half-written, JSON files that notice damage, and tables in Markdown."""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file of the same folder, then renamed.

    If the disk is full (OSError), an older file of that name stays as it was and the temporary file
    is removed.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def free_name(path: Path, word: str) -> Path:
    """Give a name beside a file that no file has yet: its own, the word and a number.

    >>> free_name(Path("no_such_folder/06.ipynb"), "kept").name
    '06_kept_1.ipynb'
    """
    number = 1
    while (free := path.with_name(f"{path.stem}_{word}_{number}{path.suffix}")).exists():
        number += 1
    return free


def write_json(path: str | Path, kind: str, version: int, content: Any) -> None:
    """Save content as one JSON file that says what it is, its version and its checksum.

    JSON turns keys into text and tuples into lists: the checksum is of what will be read.
    """
    content = json.loads(json.dumps(content))
    fields = {"kind": kind, "version": version, "sha256": _checksum(content), "content": content}
    write_atomically(path, json.dumps(fields, ensure_ascii=False, indent=1).encode())


def read_json(path: str | Path, kind: str, version: int) -> Any:
    """Read the content that `write_json` saved.

    Raises ValueError with the file's name if it is damaged or of another kind.
    """
    try:
        fields = json.loads(Path(path).read_bytes())
        found = fields["kind"], fields["version"]
        intact = fields["sha256"] == _checksum(fields["content"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a {kind} file, or it is damaged ({error}). Save it again."
        ) from None
    if found != (kind, version):
        raise ValueError(
            f"{path} holds {found[0]} version {found[1]}, not {kind} version {version}. Save it"
            " again."
        )
    if not intact:
        raise ValueError(
            f"{path} is damaged: its content does not match its checksum. Save it again."
        )
    return fields["content"]


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def markdown_table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Lay out a table in Markdown.

    >>> print(markdown_table(["what", "ratio"], [["ours", 1.5]]))
    | what | ratio |
    |---|---|
    | ours | 1.5 |
    """
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])
