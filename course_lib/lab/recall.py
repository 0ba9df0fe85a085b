"""Two questions from earlier lessons, at the beginning of each lesson."""

from course_lib.lab import cards, course_map, progress, quiz, record
from course_lib.lab.question_bank import Question, quiz_questions

N_ASKED = 2


def ask(number: str) -> None:
    """Ask two questions from the lessons before this one.

    What was missed, or not met for longest, comes first (see `cards.py`). Where no record is kept,
    they are those that `course_map.toml` names for the lesson.
    """
    for question in recall_questions(number, record.load()):
        quiz.show(
            question.text,
            question.options,
            lambda right, key=question.key: progress.recalled({key: right}),
            about=about_home(question),
        )


def recall_questions(number: str, kept: record.Record) -> list[Question]:
    """Choose the questions to ask at the beginning of a lesson, by what a record holds.

    Raises ValueError where the lesson names a question that no earlier one asks.
    """
    lesson = course_map.lesson(number)
    earlier = [each for each in course_map.lessons() if each.number < number]
    bank = {question.key: question for each in earlier for question in quiz_questions(each)}
    if unknown := [key for key in lesson.recall if key not in bank]:
        raise ValueError(f"lesson {number} recalls {', '.join(unknown)}: no earlier lesson asks it")
    first = [*lesson.recall, *(key for key in bank if key not in lesson.recall)]
    return [bank[key] for key in cards.by_urgency(first, kept)[:N_ASKED]]


def about_home(question: Question) -> str:
    """Say which lesson a question comes from."""
    return f"Lesson {question.home}: {course_map.lesson(question.home).title}"


def as_stored(number: str) -> list[str]:
    """The questions as text, as a stored notebook shows them."""
    return [
        quiz.as_plain_text(question.text, [option.text for option in question.options])
        for question in recall_questions(number, {part: {} for part in record.PARTS})
    ]
