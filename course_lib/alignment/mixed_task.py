"""Several tasks as one: each question knows which task it is from."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from course_lib.alignment.rl_task import Question, RLTask
from course_lib.text.draw import draw_item


class MixedTruth(NamedTuple):
    """The truth of a question of a mixed task: the name of its task, and the truth that it has."""

    task: str
    truth: Any


def mixed_task(tasks: Mapping[str, RLTask]) -> RLTask:
    """Make one task of several: every question is drawn from any of them, each as likely.

    Rewards are those of its own task, measures too, with its name in front. Raises ValueError
    for no task, and for one with a tool.
    """
    if not tasks or any(task.tool is not None for task in tasks.values()):
        raise ValueError(f"{len(tasks)} tasks: there must be at least 1, and none with a tool")

    def draw(rng: Random) -> Question:
        name = draw_item(rng, list(tasks))
        question = tasks[name].draw(rng)
        return Question(question.text, MixedTruth(name, question.truth))

    def reward(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        rewards = [0.0] * len(questions)
        for name, rows in rows_by_task(questions).items():
            own = tasks[name].reward(*task_rows(questions, answers, rows))
            for row, value in zip(rows, own, strict=True):
                rewards[row] = value
        return rewards

    def measured_by(part: str) -> Callable[[Sequence[Question], Sequence[str]], dict[str, float]]:
        def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
            return {
                f"{name}: {what}": value
                for name, rows in rows_by_task(questions).items()
                for what, value in getattr(tasks[name], part)(
                    *task_rows(questions, answers, rows)
                ).items()
            }

        return measure

    return RLTask(draw, reward, measured_by("measure"), measured_by("parts"))


def rows_by_task(questions: Sequence[Question]) -> dict[str, list[int]]:
    """Give the rows of each task among the questions of a mixed one.

    >>> rows_by_task([Question("1+1=?", MixedTruth("sums", 2)), Question("a", MixedTruth("b", 0))])
    {'sums': [0], 'b': [1]}
    """
    rows: dict[str, list[int]] = {}
    for row, question in enumerate(questions):
        rows.setdefault(question.truth.task, []).append(row)
    return rows


def task_rows(
    questions: Sequence[Question], answers: Sequence[str], rows: Sequence[int]
) -> tuple[list[Question], list[str]]:
    """Give some rows of a mixed task as those of their own task."""
    own = [Question(questions[row].text, questions[row].truth.truth) for row in rows]
    return own, [answers[row] for row in rows]
