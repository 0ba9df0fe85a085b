"""What lesson 25 reads from the card is what stands there, and its splits add up."""

import json
import math
import random

import pytest

from course_lib.experiments import r1_zero


def test_the_card_has_three_seeds_and_their_controls():
    runs = r1_zero.read_r1_card()
    assert [run["seed"] for run in runs] == [0, 1, 2]
    assert min(r1_zero.sums_of_stage(runs, "zero", "accuracy")) >= 0.9
    assert len(r1_zero.sums_of_control(runs, "no-worked", "accuracy")) == 3


def test_another_file_is_refused(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps([{"seed": 0}]))
    with pytest.raises(ValueError, match="not a report card"):
        r1_zero.read_r1_card(tmp_path / "card.json")


def test_composition_and_growth_are_those_of_a_list_of_answers():
    rng = random.Random(0)
    lengths = {True: [30, 31, 35], False: [3, 4, 8]}
    many = {
        share: [(kind := rng.random() < share, rng.choice(lengths[kind])) for _ in range(500)]
        for share in (0.3, 0.8)
    }

    def kinds(answers):
        mean = {
            kind: sum(n for k, n in answers if k == kind) / sum(k == kind for k, _ in answers)
            for kind in (True, False)
        }
        return sum(k for k, _ in answers) / len(answers), mean[True], mean[False]

    change = r1_zero.ChangeInKinds(kinds(many[0.3]), kinds(many[0.8]))
    total = sum(n for _, n in many[0.8]) / 500 - sum(n for _, n in many[0.3]) / 500
    for parts in (change.parts, change.parts_reversed):
        assert math.isclose(sum(parts), total)


def test_only_worked_answers_have_habits():
    texts = ["I think 9", "先7+5=12，再12-3=9", "first 7+5-3=9", "7+5=13, wait, no, 7+5=12, so 12"]
    found = r1_zero.working_habits(texts)
    assert found["two operations in a step"] == pytest.approx(1 / 3)
    assert found["corrected"] == pytest.approx(1 / 3)
    assert found["steps right"] == pytest.approx(4 / 5)


def test_a_lucky_answer_is_not_worked_right():
    assert r1_zero.is_worked_right("9", "<think>7+5=12, 12-3=9</think><answer>9</answer>")
    assert not r1_zero.is_worked_right("9", "<think>7+5=11, 11-3=9</think><answer>9</answer>")
    assert not r1_zero.is_worked_right("9", "<think>7+5=12, 12-3=9</think><answer>8</answer>")
    assert not r1_zero.is_worked_right("9", "<think>easy</think><answer>9</answer>")
