"""The record of what the learner did: one small local file, which several notebooks may write.

It is `notebooks/.course_progress.json`, or `~/.course_progress.json` where the course was installed
from a wheel; the environment variable COURSE_PROGRESS names another one, or "off", which keeps no
record (builds and tests use it). Every change reads the file, alters it
and writes it whole, under a lock, so that no notebook undoes what another one noted.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from course_lib.assets import IS_PACKAGED
from course_lib.files import free_name, write_atomically
from course_lib.lab import course_map

PARTS = ("exercises", "quiz", "numbers", "exam", "cards", "placement")
FIRST_PARTS = PARTS[:2]  # what the oldest records have
FACTS = {"tries": int, "done": bool, "first": bool, "known": bool, "box": int}
FACTS |= dict.fromkeys(("how", "question", "lesson", "seen"), str)
PATIENCE = 10  # seconds that one notebook waits for another

Record = dict[str, dict]


def path() -> Path | None:
    """The file of the record, or None where none is kept."""
    told = os.environ.get("COURSE_PROGRESS", "")
    if told == "off":
        return None
    folder = Path.home() if IS_PACKAGED else course_map.NOTEBOOKS
    return Path(told).expanduser() if told else folder / ".course_progress.json"


def locked(file: Path) -> FileLock:
    """The lock of a record, for a `with`; who holds it may take it again."""
    return FileLock(f"{file}.lock", timeout=PATIENCE, is_singleton=True)


def read_file(file: Path) -> Record:
    """Read a record's file; parts that an older course did not have yet are empty.

    Raises ValueError where the file holds no record, FileNotFoundError where it is not there.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if missing := [part for part in FIRST_PARTS if part not in record]:
            raise ValueError(f"it has no {missing[0]}")
        record = {part: {} for part in PARTS} | record
        for key, entry in (pair for part in PARTS for pair in record[part].items()):
            for name, value in entry.items():
                if not isinstance(value, FACTS.get(name, object)):
                    raise ValueError(f"{name} of {key} is {value!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return record


def load() -> Record:
    """Read the record: `{"exercises": {"bpe.merge": {...}}, "quiz": {"q-merge": {...}}, ...}`, with
    the `PARTS` as keys.

    A damaged file is set aside under another name, and a new record is begun.
    """
    file = path()
    try:
        if file is not None:
            return read_file(file)
    except FileNotFoundError:
        pass
    except ValueError:
        return _load_damaged(file)
    return {part: {} for part in PARTS}


def _load_damaged(file: Path) -> Record:
    """Set a damaged record aside, unless another notebook just did so and began a new one."""
    with locked(file):
        try:
            return read_file(file)
        except FileNotFoundError:
            pass
        except ValueError as error:
            aside = free_name(file, "damaged")
            os.replace(file, aside)
            print(
                f"The record of your progress could not be read ({error}). It was set aside as"
                f" {aside}; a new one is begun."
            )
    return {part: {} for part in PARTS}


def as_bytes(record: Record) -> bytes:
    """The text of a record's file."""
    return json.dumps(record, indent=1, sort_keys=True).encode()


def update(change: Callable[[Record], None]) -> None:
    """Let `change` alter the record, while no other notebook can, and write it.

    A record that cannot be written costs one printed sentence, no more.
    """
    if (file := path()) is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file):
            record = load()
            change(record)
            write_atomically(file, as_bytes(record))
    except OSError as error:  # a lock that is not given is one, too
        print(f"(Your progress could not be saved: {error})")


def note(part: str, key: str, **facts: Any) -> None:
    """Add facts to one entry of the record."""
    update(lambda record: record[part].setdefault(key, {}).update(facts))
