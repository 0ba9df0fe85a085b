"""The exam at the end: forty questions over all lessons, and which lessons to see again.

`page()` is the exam as a widget: its buttons take Tab, Enter and Space, and its keys are those of
`controls.js`. `as_form(bank)` is the same for the book, where no kernel runs: HTML that `exam.js`
brings to life.
"""

import html
import os
import time
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
from IPython.display import HTML

from course_lib.lab import course_map, progress
from course_lib.lab.exam_paper import (
    DONT_KNOW,
    N_QUESTIONS,
    ExamResult,
    Sitting,
    draw,
    grade,
    keep_sitting,
    next_sitting,
)
from course_lib.lab.explore.frames import Explorer
from course_lib.lab.question_bank import Question, load_bank

SOONEST = 0.3  # seconds: what is pressed sooner is a double click, nobody has read the question
WHITE = "background-color: #ffffff; color: #222222"
STYLE = """<style>
.course-exam .course-exam-option { height: auto; width: calc(100% - 8px); max-width: 720px;
  margin: 3px 4px; padding: 7px 12px; white-space: normal; text-align: left; line-height: 1.45;
  font-size: 14px;
  background-color: #ffffff; color: #222222; border: 1px solid #8a8577 }
.course-exam .course-exam-chosen { border: 2px solid #0072B2; font-weight: 600 }
.course-exam button:focus-visible { outline: 3px solid #0072B2 !important; outline-offset: 2px }
.course-exam .widget-html-content { line-height: 1.5; font-size: 14px;
  color: var(--pst-color-text-base, var(--jp-ui-font-color1, inherit)) }
.course-exam .widget-html { height: auto }
.course-exam .widget-box, .course-exam .widget-html { overflow: visible }
</style>"""


def page(seed: int | None = None) -> "Exam | HTML":
    """Make the exam; let it be the last expression of a cell.

    One that was begun is gone on with. Each new one prefers what was missed or not answered yet,
    and asks nothing that the last one asked; a `seed` draws a certain one. In stored notebooks a
    sentence stands instead.
    """
    if os.environ.get("COURSE_QUIET"):
        return HTML(_still())
    course_map.show_controls()
    return Exam(load_bank(), seed)


class Exam(Explorer):
    """The exam as a widget: `choose(i)`, `go(step)`, `hand_in()` and `begin_anew()` are what its
    buttons do."""

    def __init__(self, bank: Sequence[Question], seed: int | None = None):
        self.bank = bank
        self.shown = widgets.HTML(layout=widgets.Layout(width="auto"))
        most = max(len(question.options) for question in bank)
        self.options = [make_button(f"{i + 1}", lambda i=i: self.choose(i)) for i in range(most)]
        self.unknown = make_button("0", lambda: self.choose(None))
        steps = {"p": lambda: self.go(-1), "n": lambda: self.go(1), "h": self.hand_in}
        names = ["p · Previous", "n · Next", "h · Hand in"]
        self.steps = [make_button(*each) for each in steps.items()]
        for button, name in zip(self.steps, names, strict=True):
            button.description = name
        self.anew = make_button("a", self.begin_anew)
        self.anew.description = "a · Another exam"
        for button in (*self.options, self.unknown):
            button.add_class("course-exam-option")
        live = widgets.VBox([self.shown]).add_class("course-desk-live")
        below = widgets.HBox([*self.steps, self.anew], layout=widgets.Layout(flex_flow="row wrap"))
        parts = [widgets.HTML(STYLE), live, *self.options, self.unknown, below]
        super().__init__(parts, _still())
        self.add_class("course-exam")
        self._begin(next_sitting(bank, seed))

    def choose(self, place: int | None) -> None:
        """Keep an answer, by its place or None for "I don't know", and go to the next open one."""
        if self.sitting.done or time.monotonic() - self._since < SOONEST:
            return
        question = self.questions[self.at]
        if place is not None and place >= len(question.options):
            return
        chosen = DONT_KNOW if place is None else question.options[place].text
        self.sitting.answers[question.key] = chosen
        keep_sitting(self.sitting)
        ahead = [*range(self.at + 1, len(self.questions)), *range(self.at)]
        still_open = [i for i in ahead if self.questions[i].key not in self.sitting.answers]
        self.at = still_open[0] if still_open else self.at
        self._show("" if still_open else "All are answered: hand in, or go back to change some.")

    def go(self, step: int) -> None:
        """Show the next or the previous question."""
        if not self.sitting.done:
            self.at = (self.at + step) % len(self.questions)
            self._show("")

    def hand_in(self) -> None:
        """Show the result, if every question has an answer; else the first that has none."""
        if self.sitting.done:
            return
        missing = [i for i, q in enumerate(self.questions) if q.key not in self.sitting.answers]
        if missing:
            self.at = missing[0]
            self._show(f"{len(missing)} questions have no answer yet. This is the first of them.")
            return
        self.sitting.done = True
        keep_sitting(self.sitting)
        missed = grade(self.questions, self.sitting.answers).missed
        progress.recalled({question.key: question not in missed for question in self.questions})
        self._show("")

    def begin_anew(self) -> None:
        """Draw another exam, after one was handed in."""
        if self.sitting.done:
            following = next_sitting(self.bank)
            if following.number <= self.sitting.number:  # no record is kept: mind it here
                number = self.sitting.number + 1
                following = Sitting(number, [q.key for q in self._others(number)])
            self._begin(following)

    def _others(self, seed: int) -> list[Question]:
        """Draw an exam without the questions of this one, as far as the bank goes."""
        just = set(self.sitting.keys)
        others = [question for question in self.bank if question.key not in just]
        return draw(others or self.bank, seed, min(N_QUESTIONS, len(others or self.bank)))

    def _begin(self, sitting: Sitting) -> None:
        by_key = {question.key: question for question in self.bank}
        self.sitting, self.questions = sitting, [by_key[key] for key in sitting.keys]
        answered = [question.key in sitting.answers for question in self.questions]
        self.at = answered.index(False) if False in answered else 0
        self._show("")

    def _show(self, said: str) -> None:
        done = self.sitting.done
        question = self.questions[self.at]
        chosen = self.sitting.answers.get(question.key)
        for i, button in enumerate(self.options):
            there = not done and i < len(question.options)
            text = question.options[i].text if there else ""
            set_button(button, there, f"{i + 1} · {text}", bool(text) and text == chosen)
        set_button(self.unknown, not done, f"0 · {DONT_KNOW}", chosen == DONT_KNOW)
        for button in self.steps:
            show_if(button, not done)
        show_if(self.anew, done)
        self.shown.value = self._result() if done else self._asked(question, said)
        self._since = time.monotonic()

    def _asked(self, question: Question, said: str) -> str:
        n, answered = len(self.questions), len(self.sitting.answers)
        where = f"Question {self.at + 1} of {n} · {answered} answered."
        return f"{_line(said)}{_line(where)}<b>{html.escape(question.text)}</b>"

    def _result(self) -> str:
        return result_html(grade(self.questions, self.sitting.answers), self.sitting.answers)


def make_button(key: str, press: Callable[[], None]) -> widgets.Button:
    """A button with a key of its own."""
    button = widgets.Button(layout=widgets.Layout(width="auto")).add_class(f"course-key-{key}")
    button.on_click(lambda _: press())
    return button


def set_button(button: widgets.Button, there: bool, text: str, chosen: bool) -> None:
    """Show a button or hide it, name it, and mark it where it is what was chosen."""
    show_if(button, there)
    button.description = text
    (button.add_class if chosen else button.remove_class)("course-exam-chosen")


def show_if(button: widgets.Button, there: bool) -> None:
    """Show a button or hide it."""
    button.layout.display = "" if there else "none"


def _line(text: str) -> str:
    return f'<p style="margin: 4px 0">{html.escape(text)}</p>' if text else ""


def _still() -> str:
    """What stands where nothing can be pressed."""
    return (
        f'<p style="{WHITE}; padding: 6px 12px">The exam needs a kernel: run this cell in your own'
        f" copy, and {N_QUESTIONS} questions stand here. The book has"
        ' <a style="color: #0b5394" href="../exam.html">an exam that needs none</a>.</p>'
    )


# What both show
# --------------------------------------------------------------------------------------------------


def result_html(result: ExamResult, answers: Mapping[str, str]) -> str:
    """The result: how many were right, which lessons to see again, and why what was missed is."""
    again = "".join(
        f"<li>{lesson_link(number)}: {right} of {of} right</li>"
        for number in result.see_again
        for right, of in [result.by_lesson[number]]
    )
    sound = [number for number in result.by_lesson if number not in result.see_again]
    told = f"<p><b>See again</b>, most missed first:</p><ul>{again}</ul>" if again else ""
    kept = f"<p><b>All right</b> in: {', '.join(sound) or 'none yet'}.</p>"
    missed = "".join(_missed(question, answers.get(question.key)) for question in result.missed)
    return (
        f'<div style="{WHITE}; padding: 8px 14px; border: 1px solid #d9d5cb"><p'
        f' style="font-size: 16px"><b>{result.right} of {result.of} right.</b></p>{told}{kept}'
        f"{missed}</div>"
    )


def lesson_link(number: str) -> str:
    """A link to a lesson, from another one."""
    lesson = course_map.lesson(number)
    name = f"{number} {html.escape(lesson.title)}"
    return f'<a style="color: #0b5394" href="{lesson.file}">{name}</a>'


def _missed(question: Question, answer: str | None) -> str:
    """One missed question: what was chosen and why it is wrong, what is right and why."""
    chosen, right = question.chosen(answer), question.right
    yours = html.escape(answer or "no answer")
    why = f" {html.escape(chosen.said)}" if chosen else ""
    return (
        f'<p style="margin: 12px 0 0"><b>{html.escape(question.text)}</b> (lesson'
        f" {', '.join(question.lessons)})</p>"
        '<p style="margin: 2px 0 0"><b style="color: #a34700">You said:</b>'
        f" <i>{yours}</i>{why}</p>"
        '<p style="margin: 2px 0 0"><b style="color: #0a6b58">Right:</b>'
        f" <i>{html.escape(right.text)}</i> {html.escape(right.said)}</p>"
    )


# The book's
# --------------------------------------------------------------------------------------------------


def as_form(bank: Sequence[Question], seed: int = 0) -> str:
    """The exam as one line of HTML for the book: all questions of the bank, of which those drawn
    with the seed stand first and the others are hidden until `exam.js` draws them."""
    drawn = draw(bank, seed, min(N_QUESTIONS, len(bank)))
    names = {question.key for question in drawn}
    rest = [question for question in bank if question.key not in names]
    asked = "".join(as_fieldset(question, hidden=False) for question in drawn)
    others = "".join(as_fieldset(question, hidden=True) for question in rest)
    buttons = "".join(
        f'<button type="button" id="exam-{name}">{text}</button> '
        for name, text in {"hand-in": "Hand in", "others": "Draw other questions"}.items()
    )
    status = '<div role="status" id="exam-result" tabindex="-1"></div>'
    return f'<div id="exam" class="exam">{asked}{others}<p>{buttons}</p>{status}</div>'


def as_fieldset(question: Question, hidden: bool) -> str:
    """One question of the book's form, with its lessons and what is said about each option."""
    lessons = [course_map.lesson(number) for number in question.lessons]
    links = ", ".join(
        f'<a data-lesson="{lesson.number}"'
        f' href="notebooks/{lesson.file.replace(".ipynb", ".html")}">{lesson.number}'
        f" {html.escape(lesson.title)}</a>"
        for lesson in lessons
    )
    options = "".join(
        f'<div><label><input type="radio" name="{question.key}"'
        f"{' data-right' if option.right else ''}> {html.escape(option.text)}</label>"
        f'<p class="exam-said" hidden>{html.escape(option.said)}</p></div>'
        for option in question.options
    )
    return (
        f'<fieldset data-lessons="{" ".join(question.lessons)}"{" hidden" if hidden else ""}>'
        f"<legend>{html.escape(question.text)}</legend>{options}"
        f'<p class="exam-lessons" hidden>Lesson {links}</p></fieldset>'
    )
