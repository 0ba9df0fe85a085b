"""The placement quiz: which lessons a reader may skim, and where to begin.

It goes through the lessons in order, with two questions of each one's quiz, which `course_map.toml`
names. Both right: the lesson may be skimmed. One wrong: it is to be read, and nothing more of it is
asked. After five lessons in a row that are to be read, the quiz is over.

`page()` is a widget; `as_form()` is the same for the book, where `placement.js` brings it to life.
"""

import html
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import ipywidgets as widgets
from IPython.display import HTML

from course_lib.lab import course_map, progress, record
from course_lib.lab.exam import (
    SOONEST,
    STYLE,
    WHITE,
    as_fieldset,
    lesson_link,
    make_button,
    set_button,
    show_if,
)
from course_lib.lab.exam_paper import DONT_KNOW
from course_lib.lab.explore.frames import Explorer
from course_lib.lab.question_bank import Question, quiz_questions

ENOUGH = 5  # lessons in a row: one more than the family tree has, which nothing later needs
Plan = Mapping[str, list[Question]]


@dataclass(frozen=True)
class Standing:
    """What the answers so far say: lessons to skim, lessons to read, and the next question, None
    where it is over."""

    skim: tuple[str, ...]
    read: tuple[str, ...]
    following: Question | None


def load_plan() -> dict[str, list[Question]]:
    """Give each lesson's two questions. Raises ValueError where one is not asked there."""
    plan = {}
    for lesson in course_map.lessons():
        asked = {question.key: question for question in quiz_questions(lesson)}
        if unknown := [key for key in lesson.placement if key not in asked]:
            raise ValueError(f"lesson {lesson.number} does not ask {', '.join(unknown)}")
        if lesson.placement:
            plan[lesson.number] = [asked[key] for key in lesson.placement]
    return plan


def find_standing(plan: Plan, answers: Mapping[str, bool]) -> Standing:
    """Go through the plan with the answers, right or wrong by the questions' keys, as far as they
    reach."""
    skim, read, in_row = [], [], 0
    for number, questions in plan.items():
        given = [answers.get(question.key) for question in questions]
        if False not in given and None in given:
            return Standing(tuple(skim), tuple(read), questions[given.index(None)])
        (read if False in given else skim).append(number)
        in_row = in_row + 1 if False in given else 0
        if in_row == ENOUGH:
            break
    return Standing(tuple(skim), tuple(read), None)


def page() -> "Placement | HTML":
    """Make the quiz; let it be the last expression of a cell. In stored notebooks a sentence stands
    instead."""
    if os.environ.get("COURSE_QUIET"):
        return HTML(_still())
    course_map.show_controls()
    return Placement(load_plan())


class Placement(Explorer):
    """The quiz as a widget: `choose(i)` and `stop()` are what its buttons do."""

    def __init__(self, plan: Plan):
        self.plan, self.answers = plan, {}
        self.shown = widgets.HTML(layout=widgets.Layout(width="auto"))
        most = max(len(question.options) for both in plan.values() for question in both)
        self.options = [make_button(f"{i + 1}", lambda i=i: self.choose(i)) for i in range(most)]
        self.unknown = make_button("0", lambda: self.choose(None))
        self.end = make_button("h", self.stop)
        self.end.description = "h · Stop here"
        for button in (*self.options, self.unknown):
            button.add_class("course-exam-option")
        live = widgets.VBox([self.shown]).add_class("course-desk-live")
        parts = [widgets.HTML(STYLE), live, *self.options, self.unknown, self.end]
        super().__init__(parts, _still())
        self.add_class("course-exam").add_class("course-placement")
        self._show(find_standing(plan, self.answers))

    def choose(self, place: int | None) -> None:
        """Take an answer, by its place or None for "I don't know", and ask the next question."""
        if self.question is None or time.monotonic() - self._since < SOONEST:
            return
        if (place or 0) >= len(self.question.options):
            return
        right = place is not None and self.question.options[place].right
        self.answers[self.question.key] = right
        standing = find_standing(self.plan, self.answers)
        if standing.following is None:
            keep_standing(standing)
        self._show(standing)

    def stop(self) -> None:
        """Show what is known so far."""
        standing = find_standing(self.plan, self.answers)
        keep_standing(standing)
        self._show(Standing(standing.skim, standing.read, None))

    def _show(self, standing: Standing) -> None:
        self.question, self._since = standing.following, time.monotonic()
        asked = self.question is not None
        for i, button in enumerate(self.options):
            there = asked and i < len(self.question.options)
            text = self.question.options[i].text if there else ""
            set_button(button, there, f"{i + 1} · {text}", False)
        set_button(self.unknown, asked, f"0 · {DONT_KNOW}", False)
        show_if(self.end, asked)
        if asked:
            where = f"Lesson {self.question.home}: {course_map.lesson(self.question.home).title}"
            question = f"<b>{html.escape(self.question.text)}</b>"
            self.shown.value = f'<p style="margin: 4px 0">{html.escape(where)}</p>{question}'
        else:
            self.shown.value = standing_html(standing, list(self.plan))


def keep_standing(standing: Standing) -> None:
    """Keep in the record which lessons may be skimmed, for the page of progress."""

    def keep(kept: record.Record) -> None:
        for number in (*standing.skim, *standing.read):
            kept["placement"][number] = {"known": number in standing.skim}

    if progress.live():
        record.update(keep)


def standing_html(standing: Standing, numbers: list[str]) -> str:
    """Say where to begin, and what may be skimmed."""
    begin = next((number for number in numbers if number not in standing.skim), None)
    first = f"Begin with {lesson_link(begin)}." if begin else "You may skim every lesson."
    skim = "".join(f"<li>{lesson_link(number)}</li>" for number in standing.skim)
    listed = f"<p>You may skim:</p><ul>{skim}</ul>" if skim else "<p>Skim none yet.</p>"
    return (
        f'<div style="{WHITE}; padding: 8px 14px; border: 1px solid #d9d5cb"><p'
        f' style="font-size: 16px"><b>{first}</b></p>{listed}<p>To skim is to read the summary and'
        " the exercises, and to do one of them. Read the others in order.</p></div>"
    )


def _still() -> str:
    """What stands where nothing can be pressed."""
    return (
        f'<p style="{WHITE}; padding: 6px 12px">The placement quiz needs a kernel: run this cell in'
        ' your own copy. The book has <a style="color: #0b5394" href="../placement.html">one that'
        " needs none</a>.</p>"
    )


# The book's
# --------------------------------------------------------------------------------------------------


def as_form(plan: Plan) -> str:
    """The quiz as one line of HTML for the book: all questions, hidden until `placement.js` asks
    them."""
    asked = "".join(
        as_fieldset(question, hidden=True) for both in plan.values() for question in both
    )
    buttons = "".join(
        f'<button type="button" id="placement-{name}">{text}</button> '
        for name, text in {"next": "Next", "unknown": DONT_KNOW, "stop": "Stop here"}.items()
    )
    return (
        f'<div id="placement" class="exam" data-enough="{ENOUGH}">{asked}<p>{buttons}</p>'
        '<div role="status" id="placement-result" tabindex="-1"></div></div>'
    )
