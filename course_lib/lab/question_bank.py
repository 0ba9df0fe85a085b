"""The course's questions as data: those of the lessons' quizzes, and those of the exam alone.

A lesson shows its questions in full, so the notebooks are their source: they are read from there,
and nothing is kept twice. The exam's own stand in `exam_questions.toml`.
"""

import ast
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from course_lib.lab import course_map, quiz

OWN_QUESTIONS = Path(__file__).with_name("exam_questions.toml")


class Option(NamedTuple):
    """One answer to choose, and what is said to whoever chooses it."""

    text: str
    right: bool
    said: str


@dataclass(frozen=True)
class Question:
    """A question, with the options in the order in which they are shown.

    `lessons` are those to see again where the answer is wrong; it belongs to the first of them.
    """

    key: str
    lessons: tuple[str, ...]
    text: str
    options: tuple[Option, ...]

    @property
    def home(self) -> str:
        """The lesson that the question belongs to."""
        return self.lessons[0]

    @property
    def right(self) -> Option:
        """The right option."""
        return next(option for option in self.options if option.right)

    def chosen(self, text: str | None) -> Option | None:
        """The option with this text; None where there is none, or no longer."""
        return next((option for option in self.options if option.text == text), None)


def make_question(key: str, lessons: list[str], text: str, options: list) -> Question:
    """Make a question of `(text, right, said)` options. Raises ValueError where it is unfair, or
    names a lesson that the course does not have."""
    for number in lessons:
        course_map.lesson(number)
    quiz.require_fair(key, options)
    shown = quiz.shuffled(key, options)
    return Question(key, tuple(lessons), text, tuple(Option(*option) for option in shown))


@cache
def load_bank() -> tuple[Question, ...]:
    """Give all questions that the lessons which are there can be examined by, lesson by lesson."""
    asked = [question for lesson in course_map.lessons() for question in quiz_questions(lesson)]
    built = {lesson.number for lesson in course_map.lessons() if lesson.built}
    own = [question for question in own_questions() if built.issuperset(question.lessons)]
    return tuple(sorted(asked + own, key=lambda question: question.home))


def own_questions() -> list[Question]:
    """Give the questions that only the exam asks."""
    told = tomllib.loads(OWN_QUESTIONS.read_text(encoding="utf-8"))["question"]
    return [make_question(**row) for row in told]


def quiz_questions(lesson: course_map.Lesson) -> list[Question]:
    """Read the questions of a lesson's quizzes from its notebook; none where it is not there."""
    file = course_map.NOTEBOOKS / lesson.file
    if not file.exists():
        return []
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    found = [
        [ast.literal_eval(argument) for argument in call.args]
        for cell in cells
        if cell["cell_type"] == "code"
        for call in quiz_calls("".join(cell["source"]))
    ]
    return [make_question(key, [lesson.number], text, options) for key, text, options in found]


def quiz_calls(source: str) -> Iterator[ast.Call]:
    """Give the calls of `quiz.choice` in a cell, without running them.

    >>> [ast.unparse(call.args[0]) for call in quiz_calls('quiz.choice("q", "Why?", [])')]
    ["'q'"]
    """
    if "quiz.choice(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "quiz.choice":
            yield node
