"""Sorting digits as a task: a second skill, beside sums, that a rule can check."""

import re
import zlib
from collections.abc import Sequence
from random import Random

from torch import nn

from course_lib.alignment.rewards import true_fraction
from course_lib.alignment.rl_task import (
    EVALUATION_SEED,
    Question,
    RLTask,
    answer_in_batches,
    reward_each,
)
from course_lib.text.chat import ANSWER, END_ANSWER
from course_lib.text.draw import draw_integer, draw_item
from course_lib.text.problems import HELD_OUT_OF

SORTED_LENGTHS = (4, 5, 6, 7)
TAGGED_DIGITS = re.compile(rf"{ANSWER}([1-9](?: [1-9])*){END_ANSWER}")


def draw_sorting_question(rng: Random, held_out: bool = False) -> Question:
    """Draw 4 to 7 digits that are to be sorted; one question in ten is held out, by its hash.

    >>> draw_sorting_question(Random(0))
    Question(text='sort 7 4 3 5 4 8 3', truth='3 3 4 4 5 7 8')
    """
    while True:
        digits = [draw_integer(rng, 1, 9) for _ in range(draw_item(rng, SORTED_LENGTHS))]
        text = f"sort {' '.join(map(str, digits))}"
        if (zlib.crc32(text.encode()) % HELD_OUT_OF == 0) == held_out:
            return Question(text, " ".join(map(str, sorted(digits))))


def sorting_answer(truth: str) -> str:
    """Write the answer as it is to look: `sorting_answer("3 5")` is '<answer>3 5</answer>'."""
    return f"{ANSWER}{truth}{END_ANSWER}"


def sorting_demonstrations(rng: Random, n: int) -> list[tuple[str, str]]:
    """Draw `n` pairs of a question and its answer; none is a held-out one."""
    questions = [draw_sorting_question(rng) for _ in range(n)]
    return [(question.text, sorting_answer(question.truth)) for question in questions]


def sorting_reward(truth: str, text: str) -> float:
    """Rate an answer: 0.5 for digits in tags and nothing else, and 1 more if they are right.

    >>> [sorting_reward("3 5", f"<answer>{digits}</answer>") for digits in ("3 5", "5 3", "35")]
    [1.5, 0.5, 0.0]
    """
    return 0.5 * (TAGGED_DIGITS.fullmatch(text) is not None) + (text == sorting_answer(truth))


def sorting_metrics(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Describe answers: the share in the right form, and the share that is right as well."""
    pairs = list(zip(questions, answers, strict=True))
    return {
        "accuracy": true_fraction([text == sorting_answer(q.truth) for q, text in pairs]),
        "format": true_fraction([TAGGED_DIGITS.fullmatch(text) is not None for text in answers]),
    }


def sorting_task() -> RLTask:
    """Make the task of practising sorting."""

    def reward(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        return reward_each(sorting_reward, questions, answers)

    return RLTask(draw_sorting_question, reward, sorting_metrics)


def evaluate_sorting(
    model: nn.Module, tokenizer, n: int = 1000, seed: int = EVALUATION_SEED
) -> dict[str, float]:
    """Measure a model on `n` held-out questions, at temperature 1: see `sorting_metrics`."""
    rng = Random(seed)
    questions = [draw_sorting_question(rng, held_out=True) for _ in range(n)]
    texts, _ = answer_in_batches(model, tokenizer, questions, max_new_tokens=32, seed=seed)
    return sorting_metrics(questions, texts)
