"""The record taken elsewhere: exported to a file, imported from one, or begun anew.

An import adds and never takes away; what both records know is merged fact by fact.
"""

import os
from collections import Counter
from datetime import date
from pathlib import Path

from course_lib.files import free_name, write_atomically
from course_lib.lab import record
from course_lib.lab.record import Record

NAMES = {
    "exercises": "exercises",
    "quiz": "questions of lessons",
    "numbers": "numbers of your runs",
    "exam": "exams",
    "cards": "cards of the review",
    "placement": "lessons of the placement quiz",
}


def export_record(target: str | Path | None = None) -> str:
    """Write a copy of the record to a file, in this folder by default; say where it is.

    Raises OSError where the file can't be written, FileExistsError where there is one already.
    """
    default = free_name(Path(f"course_progress_{date.today()}.json"), "copy")
    file = Path(target).expanduser() if target else default
    if file.exists():
        raise FileExistsError(f"{file} is there already: name another file")
    write_atomically(file, record.as_bytes(record.load()))
    return f"Your record was copied to {file.resolve()}."


def import_record(source: str | Path) -> str:
    """Merge a record's file into the record; say what came in.

    Raises FileNotFoundError, or ValueError where the file holds no record; then nothing changes.
    """
    file = Path(source).expanduser()
    try:
        theirs = record.read_file(file)
    except ValueError as error:
        raise ValueError(f"{file} holds no record of this course ({error})") from None
    told: list[str] = []

    def merge(mine: Record) -> None:
        merged, kept = merge_records(mine, theirs)
        told.append(describe_merge(mine, merged, kept))
        mine.update(merged)

    record.update(merge)
    return f"{file}: {told[0]}" if told else f"{file} was not imported."


def reset_record() -> str:
    """Begin a new record; the old one is kept under another name. Say which."""
    file = record.path()
    if file is None or not file.exists():
        return "There is no record yet."
    with record.locked(file):
        kept = free_name(file, "kept")
        os.replace(file, kept)
    return f"A new record is begun. The old one is kept as {kept}; an import brings it back."


# Merging
# --------------------------------------------------------------------------------------------------


def merge_records(mine: Record, theirs: Record) -> tuple[Record, int]:
    """Merge two records into a new one; count the facts that differ in both, where mine stay."""
    merged, kept = dict(mine), 0
    for part, entries in theirs.items():
        if part == "exam":
            merged[part] = merge_sittings(mine[part], entries)
        elif isinstance(entries, dict) and isinstance(mine.get(part, {}), dict):
            merged[part] = dict(mine.get(part, {}))
            for key, entry in entries.items():
                merged[part][key], n = merge_entries(mine.get(part, {}).get(key, {}), entry)
                kept += n
        else:  # of a newer course
            merged.setdefault(part, entries)
    return merged, kept


def merge_entries(mine: dict, theirs: dict) -> tuple[dict, int]:
    """Merge two entries: done is done, more tries are more, of two cards the later one counts; else
    mine stay, and are counted where they differ."""
    if "box" in mine and "box" in theirs:
        later = (theirs.get("seen", ""), -theirs["box"]) > (mine.get("seen", ""), -mine["box"])
        return (theirs if later else mine), 0
    merged, kept = theirs | mine, 0
    for name in mine.keys() & theirs.keys():
        if name in ("done", "tries", "known"):
            merged[name] = max(mine[name], theirs[name])
        else:
            kept += mine[name] != theirs[name]
    return merged, kept


def merge_sittings(mine: dict[str, dict], theirs: dict[str, dict]) -> dict[str, dict]:
    """Add exams under new numbers, but for those that are mine already, or mine carried further."""
    merged = dict(mine)
    for entry in theirs.values():
        same = next((number for number in merged if is_same(merged[number], entry)), None)
        if same is None:
            numbers = [int(number) for number in merged if number.isdecimal()]
            merged[str(max(numbers, default=-1) + 1)] = entry
        else:
            merged[same] = max(merged[same], entry, key=how_far)
    return merged


def is_same(one: dict, other: dict) -> bool:
    """Tell whether one exam is the other at an earlier or the same moment."""
    first, second = sorted((one, other), key=how_far)
    earlier = answers_in(first).items() <= answers_in(second).items()
    return one == other or (earlier and one.get("keys") == other.get("keys"))


def how_far(sitting: dict) -> tuple[bool, int]:
    """Whether an exam is handed in, and how many answers it has."""
    return bool(sitting.get("done")), len(answers_in(sitting))


def answers_in(sitting: dict) -> dict:
    """The answers of an exam; none where they make no sense."""
    answers = sitting.get("answers")
    return answers if isinstance(answers, dict) else {}


def describe_merge(mine: Record, merged: Record, kept: int) -> str:
    """Say how much is new, how much of mine gained something, and where both differ."""
    new, more = Counter(), 0
    for part, name in NAMES.items():
        new[name] = len(merged[part].keys() - mine[part].keys())
        more += sum(merged[part][key] != entry for key, entry in mine[part].items())
    parts = [f"{n} {name}" for name, n in new.items() if n]
    told = f"new here: {', '.join(parts)}." if parts else "nothing was new here."
    told += f" {more} of your entries gained something." if more else ""
    return told + (f" {kept} facts differ in both: yours stay." if kept else "")
