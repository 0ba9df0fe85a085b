"""The page of progress: what was done lesson by lesson, and the buttons that carry the record away,
bring it back, or begin it anew."""

import html
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import ipywidgets as widgets
from IPython.display import HTML

from course_lib.lab import cards, course_map, record, record_copies
from course_lib.lab.explore.frames import Explorer

# said for each row: themes paint the rows of tables
LIGHT = "color: #222222; background-color: #ffffff"
HOW = ("alone", "with hints", "after the solution")
CHECKS = Path(__file__).with_name("checks")
CHECKER = re.compile(r"(?m)^@checker\ndef (\w+)")
EXPORT, IMPORT, RESET = "Export a copy", "Import a copy", "Begin anew"
SURE, NOT_SURE = "Yes, begin anew", "No, leave it"


def page() -> "ProgressPage | HTML":
    """Show what has been done so far: exercises and quiz questions, lesson by lesson.

    Where no record is kept, as in stored notebooks and the book, one sentence stands instead.
    """
    if record.path() is None:
        return HTML(
            f'<p style="{LIGHT}; padding: 6px 12px">No record is kept here. In your own copy of the'
            " notebook, this cell shows which exercises and questions you have done, lesson by"
            " lesson.</p>"
        )
    return ProgressPage()


class ProgressPage(Explorer):
    """The page as a widget. `press(name)` is what its buttons do."""

    def __init__(self):
        self.table = widgets.HTML(table_html(record.load()))
        self.file = widgets.Text(placeholder="course_progress_....json", description="File")
        self.said = widgets.HTML().add_class("course-desk-live")
        names = (EXPORT, IMPORT, RESET, SURE, NOT_SURE)
        self.buttons = {name: widgets.Button(description=name) for name in names}
        for name, button in self.buttons.items():
            button.layout.width = "auto"
            button.on_click(lambda _, name=name: self.press(name))
        row = widgets.HBox(
            [self.file, *self.buttons.values()], layout=widgets.Layout(flex_flow="row wrap")
        )
        super().__init__([self.table, row, self.said], self.table.value)
        self.add_class("course-progress")
        self._ask_if_sure(False)

    def press(self, name: str) -> None:
        """Do what a button says, and tell what was done; an error is told as well."""
        self._ask_if_sure(name == RESET)
        actions: dict[str, Callable[[], str]] = {
            EXPORT: lambda: record_copies.export_record(self.file.value.strip() or None),
            IMPORT: lambda: record_copies.import_record(self.file.value.strip()),
            RESET: lambda: "Begin a new record? The old one is kept under another name.",
            SURE: record_copies.reset_record,
            NOT_SURE: lambda: "Nothing was changed.",
        }
        try:
            told = actions[name]()
        except (OSError, ValueError) as error:
            told = f"That did not work: {error}"
        self.said.value = f'<p style="{LIGHT}; padding: 4px 12px">{html.escape(told)}</p>'
        self.table.value = table_html(record.load())

    def _ask_if_sure(self, asked: bool) -> None:
        for name in (SURE, NOT_SURE):
            self.buttons[name].layout.display = "" if asked else "none"


# The table
# --------------------------------------------------------------------------------------------------


def table_html(kept: record.Record) -> str:
    """The record as a table with one row for each lesson."""
    rows = "".join(_row(lesson, kept) for lesson in course_map.lessons() if lesson.lab)
    cell = '<th scope="col" style="text-align: left; padding: 4px 14px 4px 0">'
    head = "".join(
        f"{cell}{name}</th>" for name in ("Lesson", "Exercises", "How", "Quiz, at first try")
    )
    foot = "".join(
        f'<p style="margin: 8px 0 0; color: #5a5a5a">{line}</p>'
        for line in (
            _due(kept),
            "An exam over all lessons: <code>from course_lib.lab import exam; exam.page()</code>.",
            f"The record is {html.escape(str(record.path()))}. Nothing of it leaves this machine.",
        )
    )
    return (
        '<div style="background-color: #ffffff; color: #222222; border: 1px solid #d9d5cb;'
        ' border-radius: 8px; padding: 10px 16px; display: inline-block; font-size: 13px"><table'
        ' style="margin: 0; border-collapse: collapse; color: #222222; background-color:'
        f' #ffffff"><thead><tr style="{LIGHT}">{head}</tr></thead><tbody>{rows}</tbody></table>'
        f"{foot}</div>"
    )


def _due(kept: record.Record) -> str:
    """How many old questions wait, and where."""
    today = date.today()
    known = [cards.card_of(kept, key) for key in kept["cards"] | kept["quiz"]]
    n = sum(card.overdue(today) >= 1 for card in known)
    where = "<code>from course_lib.lab import review; review.page()</code>"
    return f"Old questions due today: {n}. They are asked by {where}."


def _row(lesson: course_map.Lesson, kept: record.Record) -> str:
    """One lesson's line on the page."""
    names = exercises_of(lesson.lab)
    entries = [kept["exercises"].get(f"{lesson.lab}.{name}", {}) for name in names]
    done = sum(bool(entry.get("done")) for entry in entries)
    ways = Counter(entry.get("how") for entry in entries)
    how = ", ".join(f"{ways[way]} {way}" for way in HOW if ways[way])
    answers = [entry for entry in kept["quiz"].values() if entry.get("lesson") == lesson.number]
    right = sum(bool(entry.get("first")) for entry in answers)
    known = kept["placement"].get(lesson.number, {}).get("known")
    cells = [
        f"{lesson.number} {html.escape(lesson.title)}{' (you may skim it)' if known else ''}",
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


def exercises_of(lab: str) -> list[str]:
    """The names of a lesson's checkers, read from its module: to import them all takes seconds."""
    return CHECKER.findall((CHECKS / f"{lab}.py").read_text(encoding="utf-8"))


def _bar(done: int, of: int) -> str:
    """A little bar of squares: filled for what is done."""
    return f'<span aria-hidden="true" style="color: #0072B2">{"■" * done}{"□" * (of - done)}</span>'
