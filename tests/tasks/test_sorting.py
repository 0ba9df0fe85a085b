"""Sorting: truths are sorted, held-out questions are no others, answers are rated as they look."""

from random import Random

import pytest

from course_lib.alignment.rl_task import Question
from course_lib.experiments.distillation import load_small_base
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.tasks.sorting import (
    draw_sorting_question,
    evaluate_sorting,
    sorting_demonstrations,
    sorting_metrics,
    sorting_reward,
    sorting_task,
)


def test_questions_are_4_to_7_digits_with_their_sorted_truth():
    rng, lengths = Random(1), set()
    for _ in range(300):
        text, truth = draw_sorting_question(rng)
        digits = text.removeprefix("sort ").split()
        lengths.add(len(digits))
        assert sorted(digits) == truth.split() and set(digits) <= set("123456789")
    assert lengths == {4, 5, 6, 7}


def test_held_out_questions_are_one_in_ten_and_never_practised():
    kept = {draw_sorting_question(Random(seed), held_out=True).text for seed in range(300)}
    used = {draw_sorting_question(Random(seed)).text for seed in range(3000)}
    used |= {question for question, _ in sorting_demonstrations(Random(0), 300)}
    assert len(kept) > 250 and not kept & used


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("<answer>3 5 5</answer>", 1.5),
        ("<answer>5 3 5</answer>", 0.5),
        ("<answer>3 5</answer>", 0.5),
        ("<answer>355</answer>", 0.0),
        ("<answer>3 5 5</answer> ok", 0.0),
        ("3 5 5", 0.0),
        ("", 0.0),
    ],
)
def test_answers_are_rated_by_form_and_truth(text, worth):
    question = Question("sort 5 3 5", "3 5 5")
    assert sorting_task().reward([question], [text]) == [worth]
    found = sorting_metrics([question], [text])
    assert found == {"accuracy": float(worth == 1.5), "format": float(worth > 0)}
    assert sorting_reward("3 5 5", text) == worth


def test_the_small_base_cannot_sort():
    found = evaluate_sorting(load_small_base(), SHIPPED_R1.tokenizer(), n=40)
    assert found["accuracy"] == 0.0
