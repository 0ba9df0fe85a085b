"""Sums of two numbers, asked of a published model: the answer in tags, as one example shows it."""

import re
import zlib
from collections.abc import Sequence
from random import Random

from course_lib.alignment.rewards import true_fraction
from course_lib.alignment.rl_task import Question, RLTask, reward_each
from course_lib.text.draw import draw_item

LARGEST_TERM = 9
SUM_SHOTS = (
    {"role": "user", "content": "What is 1 + 2?"},
    {"role": "assistant", "content": "<answer>3</answer>"},
)
TAGGED_NUMBER = re.compile(r"\s*<answer>\s*([0-9]+)\s*</answer>\s*")


def tagged_sum_questions(held_out: bool) -> list[Question]:
    """Give all sums of two numbers from 1 to 9 but that of the example, or the held-out ones.

    One pair in three is held out, in both orders, by its hash.
    """
    terms = range(1, LARGEST_TERM + 1)
    pairs = [(a, b) for a in terms for b in terms if sorted((a, b)) != [1, 2]]
    chosen = [(a, b) for a, b in pairs if (zlib.crc32(bytes(sorted((a, b)))) % 3 == 0) == held_out]
    return [Question(f"What is {a} + {b}?", str(a + b)) for a, b in chosen]


def tagged_answer(text: str) -> str | None:
    """Read the number in the tags; None if there is anything else.

    >>> tagged_answer("<answer> 5 </answer>"), tagged_answer("It is <answer>5</answer>")
    ('5', None)
    """
    found = TAGGED_NUMBER.fullmatch(text)
    return found[1] if found else None


def tagged_reward(truth: str, text: str) -> float:
    """Rate an answer: 0.3 for the form, and 0.7 more if it is right."""
    answer = tagged_answer(text)
    return 0.0 if answer is None else 1.0 if answer == truth else 0.3


def tagged_metrics(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Describe answers: the share in the right form, and the share that is right as well."""
    read = [tagged_answer(text) for text in answers]
    right = [q.truth == answer for q, answer in zip(questions, read, strict=True)]
    return {
        "format": true_fraction([answer is not None for answer in read]),
        "accuracy": true_fraction(right),
    }


def tagged_sum_task() -> RLTask:
    """Make the task of practising those sums that are not held out."""
    return tagged_number_task(tagged_sum_questions(held_out=False))


def tagged_number_task(questions: Sequence[Question]) -> RLTask:
    """Make the task of practising questions whose answer is a whole number, to be given in tags."""

    def draw(rng: Random) -> Question:
        return draw_item(rng, questions)

    def reward(asked: Sequence[Question], answers: Sequence[str]) -> list[float]:
        return reward_each(tagged_reward, asked, answers)

    return RLTask(draw, reward, tagged_metrics)
