"""What the learner has done so far, in one small local file. Nothing leaves the machine.

The file is `notebooks/.course_progress.json`; the environment variable COURSE_PROGRESS names another one, or "off",
which keeps no record (builds and tests use it).
"""

import html
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython.display import HTML, display

from course_lib.lab import course_map

HOW = ("alone", "with hints", "after the solution")


def path() -> Path | None:
    """The file of the record, or None where none is kept."""
    told = os.environ.get("COURSE_PROGRESS", "")
    if told == "off":
        return None
    return Path(told).expanduser() if told else course_map.NOTEBOOKS / ".course_progress.json"


def live() -> bool:
    """True inside a notebook that a learner runs: there is a kernel, and a record is kept."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return path() is not None and shell is not None and hasattr(shell, "kernel")


def load() -> dict[str, dict]:
    """Read the record: `{"exercises": {"bpe.merge": {...}}, "quiz": {"q-merge": {...}}}`.

    A damaged file is set aside under another name, and a new record is begun.
    """
    file, empty = path(), {"exercises": {}, "quiz": {}}
    if file is None or not file.exists():
        return empty
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not all(isinstance(entry, dict) for part in empty for entry in [record[part], *record[part].values()]):
            raise ValueError("an entry is not a table")
        return record
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        aside = file.with_suffix(".damaged.json")
        os.replace(file, aside)
        print(
            f"The record of your progress could not be read ({error}). It was set aside as {aside}; a new one is begun."
        )
        return empty


def _save(record: dict[str, dict]) -> None:
    """Write beside the file and rename, so that the record is never half-written."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(record, stream, indent=1, sort_keys=True, ensure_ascii=False)
        os.replace(temporary, file)
    except OSError:
        os.unlink(temporary)
        raise


def note(part: str, key: str, **facts: Any) -> dict[str, Any]:
    """Add facts to one entry of the record and return the entry; a record that cannot be written costs a sentence only."""
    record = load()
    entry = record[part].setdefault(key, {})
    entry.update(facts)
    if path() is not None:
        try:
            _save(record)
        except OSError as error:
            print(f"(Your progress could not be saved: {error})")
    return entry


def checked(lab: str, name: str, status: str) -> None:
    """Record the verdict of a check; at the first success ask, by three buttons, how it was reached."""
    if not live() or status == "not attempted":
        return
    key = f"{lab}.{name}"
    before = load()["exercises"].get(key, {})
    note(
        "exercises",
        key,
        tries=before.get("tries", 0) + (not before.get("done")),
        done=before.get("done") or status == "ok",
    )
    if status == "ok" and not before.get("how"):
        ask_how(key)


def ask_how(key: str) -> None:
    """Show three buttons: alone, with hints, after the solution."""
    said = widgets.HTML("How did you get there?")
    buttons = [widgets.Button(description=how, layout=widgets.Layout(width="auto")) for how in HOW]

    def keep(button: widgets.Button) -> None:
        note("exercises", key, how=button.description)
        said.value = f"Noted: {button.description}. (It stays on this machine.)"

    for button in buttons:
        button.on_click(keep)
    display(widgets.HBox([said, *buttons]))


def answered(key: str, question: str, right: bool) -> None:
    """Record an answer to a quiz question; the first answer is the one that counts."""
    if live():
        before = load()["quiz"].get(key, {})
        note("quiz", key, question=question, tries=before.get("tries", 0) + 1, first=before.get("first", right))
