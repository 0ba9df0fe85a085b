"""What the learner does in a live notebook is noted in the record, on this machine (`record.py`);
and bars for cells that take seconds."""

import os
from collections.abc import Iterable

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display
from tqdm.auto import tqdm

from course_lib.lab import cards, course_map, record
from course_lib.lab.progress_page import HOW
from course_lib.lab.progress_page import page as page


def track_progress(items: Iterable, what: str) -> tqdm:
    """Give the items of a loop one by one, under a bar that says `what` from the first second on.

    For loops that take more than 3 seconds; training shows a bar of its own. Silent where
    COURSE_QUIET is set, as it is for stored notebooks.

    >>> [2 * x for x in track_progress([1, 2, 3], "measuring")]
    [2, 4, 6]
    """
    quiet = bool(os.environ.get("COURSE_QUIET"))
    return tqdm(items, desc=what, leave=False, disable=quiet)


def live() -> bool:
    """True inside a notebook that a learner runs: there is a kernel, and a record is kept."""
    return record.path() is not None and hasattr(get_ipython(), "kernel")


def checked(lab: str, name: str, status: str) -> None:
    """Record the verdict of a check; at the first success ask, by three buttons, how it was
    reached."""
    if not live() or status == "not attempted":
        return
    key = f"{lab}.{name}"

    def count(kept: record.Record) -> None:
        entry = kept["exercises"].setdefault(key, {})
        done = entry.get("done", False)
        entry.update(tries=entry.get("tries", 0) + (not done), done=done or status == "ok")

    record.update(count)
    if status == "ok" and "how" not in record.load()["exercises"].get(key, {}):
        ask_how(key)


def ask_how(key: str) -> None:
    """Show three buttons: alone, with hints, after the solution."""
    said = widgets.HTML("How did you get there?")
    buttons = [widgets.Button(description=how, layout=widgets.Layout(width="auto")) for how in HOW]

    def keep(button: widgets.Button) -> None:
        record.note("exercises", key, how=button.description)
        said.value = f"Noted: {button.description}. (It stays on this machine.)"

    for button in buttons:
        button.on_click(keep)
    display(widgets.HBox([said, *buttons]))


def answered(key: str, question: str, right: bool) -> None:
    """Record an answer to a lesson's question: its first answer is the one that counts, and its
    card moves (see `cards.py`)."""
    if not live():
        return

    def count(kept: record.Record) -> None:
        cards.move(kept, key, right)
        entry = kept["quiz"].setdefault(key, {})
        entry.update(
            question=question,
            lesson=course_map.current or entry.get("lesson", ""),
            tries=entry.get("tries", 0) + 1,
            first=entry.get("first", right),
        )

    record.update(count)


def recalled(answers: dict[str, bool]) -> None:
    """Record what was answered, rightly or not, where an old question came back: its card moves."""
    if live():
        record.update(lambda kept: [cards.move(kept, *answer) for answer in answers.items()])


def keep_number(what: str, value: float) -> None:
    """Print a number that the reader's own run gave, and keep it for `gallery.page()`.

    The course's own number is what the stored notebook printed.

    >>> keep_number("bytes per token, Hamlet", 3.14159)
    For the gallery: bytes per token, Hamlet = 3.142
    """
    print(f"For the gallery: {what} = {value:.4g}")
    if live():
        record.note("numbers", what, value=float(value), lesson=course_map.current)
