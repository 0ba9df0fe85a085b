"""A deck of old questions a day, from all lessons done so far: a Leitner box (see `cards.py`)."""

import html
import os
from datetime import date

import ipywidgets as widgets
from IPython.display import HTML

from course_lib.lab import cards, course_map, progress, quiz, recall, record
from course_lib.lab.explore.frames import Explorer
from course_lib.lab.question_bank import Question, load_bank

N_DECK = 10  # questions at a time
LIGHT = "background-color: #ffffff; color: #222222; padding: 6px 12px"


def page() -> "Review | HTML":
    """Ask what is due today; let it be the last expression of a cell.

    In stored notebooks a sentence stands instead.
    """
    if os.environ.get("COURSE_QUIET"):
        return HTML(_still())
    course_map.show_controls()
    return Review(record.load())


class Review(Explorer):
    """Today's questions, one below the other, and below them how it went."""

    def __init__(self, kept: record.Record):
        self.deck, self.first = due_questions(kept), {}
        self.waiting = max(0, len(self.deck) - N_DECK)
        self.deck = self.deck[:N_DECK]
        boxes = [
            quiz.as_box(
                question.text,
                question.options,
                lambda right, key=question.key: self.answer(key, right),
                recall.about_home(question),
            )
            for question in self.deck
        ]
        self.said = widgets.HTML()
        live = widgets.VBox([self.said]).add_class("course-desk-live")
        super().__init__([*boxes, live], _still())
        self._tell()

    def answer(self, key: str, right: bool) -> None:
        """Note an answer: the first one to each question counts."""
        if key not in self.first:
            self.first[key] = right
            progress.recalled({key: right})
            self._tell()

    def _tell(self) -> None:
        lines = [
            f"{len(self.first)} of {len(self.deck)} answered, {sum(self.first.values())} right."
        ]
        if not self.deck:
            lines = [next_day(record.load())]
        elif len(self.first) == len(self.deck):
            more = f"{self.waiting} more are due: run the cell again."
            lines.append(more if self.waiting else next_day(record.load()))
        text = html.escape(" ".join(lines))
        self.said.value = f'<p style="{LIGHT}">{text}</p>'


def due_questions(kept: record.Record, today: date | None = None) -> list[Question]:
    """Give the questions that are due, the most urgent first: those with a card, and those of begun
    lessons that were never answered."""
    today = today or date.today()
    bank = {question.key: question for question in load_bank()}
    begun = begun_lessons(kept)
    found = []
    for key in cards.by_urgency(bank, kept, today):
        card = cards.card_of(kept, key)
        if card.overdue(today) >= 1 if card else {*bank[key].lessons} <= begun:
            found.append(bank[key])
    return found


def begun_lessons(kept: record.Record) -> set[str]:
    """The lessons of which a question was answered or an exercise solved."""
    homes = {question.key: question.home for question in load_bank()}
    labs = {lesson.lab: lesson.number for lesson in course_map.lessons()}
    asked = {homes[key] for key in kept["quiz"] if key in homes}
    solved = {key.split(".")[0] for key, entry in kept["exercises"].items() if entry.get("done")}
    return asked | {labs[lab] for lab in solved if lab in labs}


def next_day(kept: record.Record, today: date | None = None) -> str:
    """Say when the next questions are due."""
    today = today or date.today()
    bank = {question.key for question in load_bank()}
    known = [cards.card_of(kept, key) for key in (kept["cards"] | kept["quiz"]) if key in bank]
    if not known:
        return "No question was answered yet: the review begins with the first lesson's."
    first = max(min(card.due for card in known), today)
    n = sum(card.due <= first for card in known)
    when = "today" if first == today else f"on {first:%A, %d %B}"
    return f"The next {n} {'questions are' if n > 1 else 'question is'} due {when}."


def _still() -> str:
    """What stands where nothing can be pressed."""
    return (
        f'<p style="{LIGHT}">The review needs a kernel: run this cell in your own copy, and the'
        " old questions that are due today stand here.</p>"
    )
