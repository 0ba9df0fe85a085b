"""Practising other people's problems: solved examples against arithmetic, what is really right, and
the stored runs that lesson 24 reads."""

import json
from importlib.util import find_spec

import pytest
import torch

from course_lib.alignment.rl_task import Question
from course_lib.experiments import gym_runs as gym
from course_lib.experiments.gym_tables import read_gym_table, score_constant_answer
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.tasks.reasoning_gym_task import GymTruth
from course_lib.text.problems import last_number

needs_gym = pytest.mark.skipif(
    not find_spec("reasoning_gym"), reason="make gym installs reasoning-gym"
)


def chain(expression):
    return {"metadata": {"expression": expression}}


def test_a_chain_is_worked_step_by_step():
    assert gym.work_chain(chain("7 + 5 - 3")) == (
        "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>"
    )
    assert gym.work_chain(chain("4 - 1")) == "<think>first 4-1=3</think><answer>3</answer>"


@pytest.mark.parametrize(
    "expression, easy",
    [("7 + 5 - 3", True), ("1 - 2 + 9", False), ("9 + 9 + 9", False), ("7 + 0", False)],
)
def test_easy_chains_are_those_whose_sums_the_model_knows(expression, easy):
    assert gym.is_easy_chain(chain(expression)) == easy


def test_a_word_is_spelt_letter_by_letter():
    spelt = gym.spell_letters({"answer": "nus"})
    assert spelt == "<think>first n u s</think><answer>nus</answer>"


@pytest.mark.parametrize(
    "truth, text, right",
    [
        ("0.25", "<answer>1/4</answer>", True),
        ("0.25", "<answer>0</answer>", False),
        ("0.25", "<answer>nan</answer>", False),
        ("nus", "<answer>nus</answer>", True),
        ("nus", "<answer>sun</answer>", False),
        ("9", "so it is 9", True),
        ("9", "<think>9", False),
    ],
)
def test_what_is_really_right_asks_no_data_set(truth, text, right):
    question = Question("?", GymTruth({"answer": truth}, practice_set=[]))
    assert gym.is_really_right(question, text, last_number) == right


@needs_gym
def test_a_run_is_made_once_and_found_again(tmp_path, monkeypatch, capsys):
    small = gym.GymRecipe(**gym.CHAINS, n_examples=8, sft_steps=1, rl_steps=1)
    monkeypatch.setattr(gym, "GYM_RECIPES", {"chain_sum": small})
    monkeypatch.setattr(gym, "GYM_ENTRIES", 120)
    monkeypatch.setattr(gym, "PASS_K", 2)
    monkeypatch.setenv("COURSE_QUIET", "1")
    threads = torch.get_num_threads()
    gym.main(["--out", str(tmp_path), "--seeds", "3"])
    first = (tmp_path / "runs.json").read_bytes()
    gym.main(["--out", str(tmp_path), "--seeds", "3"])
    torch.set_num_threads(threads)
    assert (tmp_path / "runs.json").read_bytes() == first
    assert capsys.readouterr().out.count("chain_sum, 3:") == 1
    (run,) = json.loads(first)
    assert len(run["reward"]) == len(run["used"]) == 1 and run["left_out"]["not kept"] > 20
    assert {"score", "right", "samples"} <= run["end"].keys()


@needs_gym
def test_practice_and_held_out_questions_share_nothing():
    asked = gym.GYM_RECIPES["coin_flip"].questions(SHIPPED_R1.tokenizer(), context=256)
    practice, held_out = ({q.text for q in some} for some in (asked.practice, asked.held_out))
    assert practice and held_out and not practice & held_out


@needs_gym
def test_a_constant_answer_is_paid_as_stored():
    stored = {row["data_set"]: row for row in read_gym_table("wrong_answers")["constant"]}
    for name in ("coin_flip", "complex_arithmetic", "chain_sum"):
        assert score_constant_answer(name, stored[name]["answer"]) == stored[name]


def test_stored_runs_show_what_the_lesson_says():
    runs = gym.gym_runs()
    assert [[run["seed"] for run in some] for some in runs.values()] == [[0, 1, 2]] * 4
    for run in runs["chain_sum"]:
        assert run["end"]["right"] > run["start"]["right"] + 0.4
    for run in runs["coin_flip"]:
        assert run["end"]["score"] > 0.85 and run["end"]["right"] < 0.1
    for run in runs["spell_backward"]:
        assert run["start"]["pass@64"] == 0 and len(run["used"]) == 250
        assert sum(map(bool, run["used"])) < 10 and run["end"]["right"] == 0
