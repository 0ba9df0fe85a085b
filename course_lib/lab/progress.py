"""What the learner has done so far, in one small local file, and bars for cells that take seconds.
Nothing leaves the machine.

The file is `notebooks/.course_progress.json`, or `~/.course_progress.json` where the course was
installed from a wheel; the environment variable COURSE_PROGRESS names another one, or "off", which
keeps no record (builds and tests use it).
"""

import html
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import HTML, display
from tqdm.auto import tqdm

from course_lib.assets import IS_PACKAGED
from course_lib.lab import course_map

# said for each row: themes paint the rows of tables
LIGHT = "color: #222222; background-color: #ffffff"
HOW = ("alone", "with hints", "after the solution")
PARTS = ("exercises", "quiz", "numbers", "exam")
FIRST_PARTS = PARTS[:2]  # what the oldest records have


def track_progress(items: Iterable, what: str) -> tqdm:
    """Give the items of a loop one by one, under a bar that says `what` from the first second on.

    For loops that take more than 3 seconds; training shows a bar of its own. Silent where
    COURSE_QUIET is set, as it is for stored notebooks.

    >>> [2 * x for x in track_progress([1, 2, 3], "measuring")]
    [2, 4, 6]
    """
    quiet = bool(os.environ.get("COURSE_QUIET"))
    return tqdm(items, desc=what, leave=False, disable=quiet)


def path() -> Path | None:
    """The file of the record, or None where none is kept."""
    told = os.environ.get("COURSE_PROGRESS", "")
    if told == "off":
        return None
    folder = Path.home() if IS_PACKAGED else course_map.NOTEBOOKS
    return Path(told).expanduser() if told else folder / ".course_progress.json"


def live() -> bool:
    """True inside a notebook that a learner runs: there is a kernel, and a record is kept."""
    return path() is not None and hasattr(get_ipython(), "kernel")


def load() -> dict[str, dict]:
    """Read the record: `{"exercises": {"bpe.merge": {...}}, "quiz": {"q-merge": {...}}, ...}`, with
    the `PARTS` as keys; those that an older record lacks are empty.

    A damaged file is set aside under another name, and a new record is begun.
    """
    file, empty = path(), {part: {} for part in PARTS}
    if file is None or not file.exists():
        return empty
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if missing := [part for part in FIRST_PARTS if part not in record]:
            raise ValueError(f"it has no {missing[0]}")
        record = empty | record
        if not all(isinstance(entry, dict) for part in empty for entry in record[part].values()):
            raise ValueError("an entry is not a table of facts")
        return record
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        aside = file.with_suffix(".damaged.json")
        os.replace(file, aside)
        print(
            f"The record of your progress could not be read ({error}). It was set aside as {aside};"
            " a new one is begun."
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


def note(part: str, key: str, **facts: Any) -> None:
    """Add facts to one entry of the record; a record that cannot be written costs one printed
    sentence, no more."""
    try:
        record = load()
        record[part].setdefault(key, {}).update(facts)
        _save(record)
    except OSError as error:
        print(f"(Your progress could not be saved: {error})")


def checked(lab: str, name: str, status: str) -> None:
    """Record the verdict of a check; at the first success ask, by three buttons, how it was
    reached."""
    if not live() or status == "not attempted":
        return
    key = f"{lab}.{name}"
    before = load()["exercises"].get(key, {})
    done = before.get("done", False)
    note("exercises", key, tries=before.get("tries", 0) + (not done), done=done or status == "ok")
    if status == "ok" and "how" not in before:
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
        first, lesson = before.get("first", right), course_map.current or before.get("lesson", "")
        note(
            "quiz",
            key,
            question=question,
            lesson=lesson,
            tries=before.get("tries", 0) + 1,
            first=first,
        )


def keep_number(what: str, value: float) -> None:
    """Print a number that the reader's own run gave, and keep it for `gallery.page()`.

    The course's own number is what the stored notebook printed.

    >>> keep_number("bytes per token, Hamlet", 3.14159)
    For the gallery: bytes per token, Hamlet = 3.142
    """
    print(f"For the gallery: {what} = {value:.4g}")
    if live():
        note("numbers", what, value=float(value), lesson=course_map.current)


def page() -> HTML:
    """Show what has been done so far: exercises and quiz questions, lesson by lesson.

    Where no record is kept, as in stored notebooks and the book, one sentence stands instead.
    """
    if path() is None:
        return HTML(
            f'<p style="{LIGHT}; padding: 6px 12px">No record is kept here. In your own copy of the'
            " notebook, this cell shows which exercises and questions you have done, lesson by"
            " lesson.</p>"
        )
    record = load()
    rows = "".join(_row(lesson, record) for lesson in course_map.lessons() if lesson.lab)
    cell = '<th scope="col" style="text-align: left; padding: 4px 14px 4px 0">'
    head = "".join(
        f"{cell}{name}</th>" for name in ("Lesson", "Exercises", "How", "Quiz, at first try")
    )
    where = f"The record is {html.escape(str(path()))}; delete it to start again."
    more = "An exam over all lessons: <code>from course_lib.lab import exam; exam.page()</code>."
    return HTML(
        '<div style="background-color: #ffffff; color: #222222; border: 1px solid #d9d5cb;'
        ' border-radius: 8px; padding: 10px 16px; display: inline-block; font-size: 13px"><table'
        ' style="margin: 0; border-collapse: collapse; color: #222222; background-color:'
        f' #ffffff"><thead><tr style="{LIGHT}">{head}</tr></thead><tbody>{rows}</tbody></table><p'
        f' style="margin: 8px 0 0; color: #6b6b6b">{where} Nothing of it leaves this'
        f" machine. {more}</p></div>"
    )


def _row(lesson: course_map.Lesson, record: dict[str, dict]) -> str:
    """One lesson's line on the page."""
    names = _exercises(lesson.lab)
    entries = [record["exercises"].get(f"{lesson.lab}.{name}", {}) for name in names]
    done = sum(bool(entry.get("done")) for entry in entries)
    how = ", ".join(
        f"{n} {way}" for way in HOW if (n := sum(entry.get("how") == way for entry in entries))
    )
    answers = [entry for entry in record["quiz"].values() if entry.get("lesson") == lesson.number]
    right = sum(bool(entry.get("first")) for entry in answers)
    cells = [
        f"{lesson.number} {html.escape(lesson.title)}",
        f"{_bar(done, len(names))} {done} of {len(names)}",
        how or "·",
        f"{right} of {len(answers)} right" if answers else "·",
    ]
    return (
        f'<tr style="{LIGHT}">'
        + "".join(
            f'<td style="text-align: left; padding: 3px 14px 3px 0">{cell}</td>' for cell in cells
        )
        + "</tr>"
    )


def _exercises(lab: str) -> list[str]:
    """The names of a lesson's checkers; none while the lesson is still to come."""
    name = f"course_lib.lab.checks.{lab}"
    if importlib.util.find_spec(name) is None:
        return []
    module = vars(importlib.import_module(name))
    return [key for key, thing in module.items() if getattr(thing, "is_checker", False)]


def _bar(done: int, of: int) -> str:
    """A little bar of squares: filled for what is done."""
    return f'<span aria-hidden="true" style="color: #0072B2">{"■" * done}{"□" * (of - done)}</span>'
