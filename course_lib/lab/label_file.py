"""A reader's labels in one local file, to which lines are only ever added.

A line is one JSON object: a label, or `{"version": 1, "undo": id}`. It is on the disk (fsync)
before the next question is shown, and nothing that was written is changed or removed, by an undo
neither. A line that can't be read stays in the file, is copied into a second one whose name ends in
`.damaged`, and costs none of the others. Two writers lose nothing: each line is one write at the
end of the file.

The file is `.course_labels-<name>.jsonl` beside the record of progress. The environment variable
COURSE_LABELS names another folder, or "off", as COURSE_PROGRESS=off does: then none is kept.
"""

import json
import math
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from course_lib.lab import record
from course_lib.text.small_web.facts import Fact

LABEL_VERSION = 1


class LabelPair(NamedTuple):
    """A question and two answers to it. The fact behind it is for judging the labels; no desk shows
    it, nor the models that wrote."""

    question: str
    one: str
    other: str
    truth: Fact | None = None
    writers: tuple[str, str] = ("", "")

    @property
    def key(self) -> tuple[str, ...]:
        """What tells pairs apart: the question and both answers, in no order."""
        return pair_key(self.question, (self.one, self.other))


@dataclass(frozen=True)
class Label:
    """What somebody said about answers to one question.

    `answers` are the two as they were shown, the first one first, and `chosen` is 0 or 1, or None
    for "can't say". A demonstration has one answer, the one that was written. `seconds` is the time
    taken, None where nobody measured it.
    """

    question: str
    answers: tuple[str, ...]
    chosen: int | None
    seconds: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def is_demonstration(self) -> bool:
        """True for an answer that was written, not chosen."""
        return len(self.answers) == 1

    @property
    def key(self) -> tuple[str, ...]:
        """That of the pair, see `LabelPair.key`."""
        return pair_key(self.question, self.answers)


class LabelsRead(NamedTuple):
    """What a file holds: labels that were not undone, lines that can't be read, and how many lines
    of an older version were understood."""

    labels: list[Label]
    damaged: list[bytes]
    migrated: int


def pair_key(question: str, answers: Sequence[str]) -> tuple[str, ...]:
    """Name a pair whatever its order, and the blanks around an answer, which nobody sees.

    >>> pair_key("Why?", ("yes ", "no")) == pair_key("Why?", ("no", "yes"))
    True
    """
    return (question, *sorted(answer.strip() for answer in answers))


def label_path(name: str) -> Path | None:
    """The file of the labels called `name`, or None where none are kept."""
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ValueError(
            f"{name!r} can't be a part of a file name: use letters, digits and hyphens"
        )
    told, file = os.environ.get("COURSE_LABELS", ""), record.path()
    if told == "off" or not (told or file):
        return None
    folder = Path(told).expanduser() if told else file.parent
    return folder / f".course_labels-{name}.jsonl"


# ------------------------------------------------------------------------------------------ writing


def append_label(path: Path, label: Label) -> None:
    """Write a label at the end of the file; when this returns, it is on the disk."""
    _append(path, {"version": LABEL_VERSION} | asdict(label))


def append_undo(path: Path, label: Label) -> None:
    """Take a label back, by a line that says so."""
    _append(path, {"version": LABEL_VERSION, "undo": label.id})


def _append(path: Path, fields: dict) -> None:
    """Add one line in one write. A half-written line before it is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(fields).encode() + b"\n"
    if not _ends_a_line(path):
        line = b"\n" + line
    _write_at_end(path, line)


def _ends_a_line(path: Path) -> bool:
    if not path.exists() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _write_at_end(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    if written < len(data):
        raise OSError(f"only {written} of {len(data)} bytes could be written to {path}")


# ------------------------------------------------------------------------------------------ reading


def read_labels(path: Path) -> LabelsRead:
    """Read all that can be read, in the order of the file; changes nothing.

    Raises ValueError if a line is of a newer version, which would be read wrongly.
    """
    labels, damaged, migrated = {}, [], 0
    for number, line in _lines(path):
        try:
            fields, version = _checked_line(line)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            damaged.append(line)
            continue
        if version > LABEL_VERSION:
            raise ValueError(
                f"{path}, line {number}, is of version {version}; this course reads versions up to"
                f" {LABEL_VERSION}. Nothing was changed: bring the course up to date, or choose"
                " another name for your labels."
            )
        migrated += version < LABEL_VERSION
        if "undo" in fields:
            labels.pop(str(fields["undo"]), None)
        else:
            label = _label(fields, f"line-{number}")
            labels.setdefault(label.id, label)
    return LabelsRead(list(labels.values()), damaged, migrated)


def open_labels(path: Path) -> tuple[list[Label], str]:
    """Read the labels and set aside what can't be read; also give a sentence about that, or "".

    A line is set aside, and told of, once. Raises ValueError as `read_labels` does.
    """
    read = read_labels(path)
    aside = path.with_suffix(".damaged")
    known = {line for _, line in _lines(aside)}
    fresh = [line for line in dict.fromkeys(read.damaged) if line not in known]
    if not fresh:
        return read.labels, ""
    try:
        _write_at_end(aside, b"".join(line + b"\n" for line in fresh))
    except OSError as error:
        return read.labels, f"{len(fresh)} lines in {path} can't be read, nor copied: {error}"
    return read.labels, (
        f"{len(fresh)} of the lines in {path} can't be read and were copied to {aside.name};"
        f" the other lines are whole and give {len(read.labels)} labels."
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers; none where there is no file."""
    data = path.read_bytes() if path.exists() else b""
    return ((i, line) for i, line in enumerate(data.split(b"\n"), 1) if line.strip())


def _checked_line(line: bytes) -> tuple[dict, int]:
    """Read one line; raises an error if it is none of ours."""
    fields = json.loads(line.decode("utf-8-sig"))
    if not isinstance(fields, dict):
        raise TypeError("not a table of fields")
    version = fields.get("version", 0)
    if type(version) is not int or version < 0:
        raise ValueError(f"version {version!r}")
    if version <= LABEL_VERSION and "undo" not in fields:
        _label(fields, "")
    return fields, version


def _label(fields: dict, name: str) -> Label:
    """Make a label of checked fields. Version 0 had no names, which are then the lines' numbers,
    and no times."""
    answers, chosen, seconds = tuple(fields["answers"]), fields["chosen"], fields.get("seconds")
    texts = [fields["question"], *answers, fields.get("id", name)]
    one_or_two = isinstance(fields["answers"], list) and len(answers) in (1, 2)
    if not one_or_two or not all(isinstance(text, str) for text in texts):
        raise ValueError("not a question with one or two answers")
    if not (chosen is None or type(chosen) is int and 0 <= chosen < len(answers)):
        raise ValueError(f"answer {chosen!r} of {len(answers)} was chosen")
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"it took {seconds} seconds")
    return Label(fields["question"], answers, chosen, seconds, texts[-1])
