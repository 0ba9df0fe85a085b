"""The pipeline in small: every stage runs, a killed run goes on, and the card says what the numbers
are."""

import json
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from course_lib import r1 as command
from course_lib.alignment import rl_loop
from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_task import Question
from course_lib.experiments import ablations, r1
from course_lib.experiments.chats import (
    evaluate_chats,
    is_one_plain_line,
    reasoning_and_chat_task,
    reward_model_stage,
    score_chats,
)
from course_lib.experiments.run import DATA_VERSION, ExperimentRun
from course_lib.experiments.search import SEARCH_EXPERIMENTS, SEARCH_RECIPE, run_search
from course_lib.files import read_json
from course_lib.lab import mine, own_answers, plugs
from course_lib.lab.checks.core import solution_of
from course_lib.tasks import arithmetic
from course_lib.tasks.fact_chats import draw_fact_question
from course_lib.text.problems import ChainProblem

FEW = GRPOSettings(2, n_questions=2, group_size=2, max_new_tokens=12)
TINY = r1.R1Recipe(
    megabytes=0.1,
    base={"d_model": 16, "n_layers": 2, "n_heads": 2},
    small={"d_model": 8, "n_layers": 1, "n_heads": 2},
    window=32,
    batch_size=2,
    base_steps=3,
    small_steps=3,
    zero=FEW,
    reasoning=FEW,
    r1=FEW,
    small_zero=FEW,
    cold_questions=6,
    cold_steps=2,
    sft_questions=6,
    sft_steps=2,
    n_chats=3,
    n_pairs=12,
    judge_steps=2,
    student_questions=6,
    student_steps=2,
)
TINY_SEARCH = replace(
    SEARCH_RECIPE,
    megabytes=0.3,
    vocab_size=300,
    base_steps=3,
    batch_size=4,
    evaluation_tokens=20,
    n_evaluation=6,
    model={"d_model": 16, "n_layers": 1, "n_heads": 2, "n_dense_layers": 1},
    practice=FEW,
    small_budget=8,
    budget_steps=2,
    control_steps=1,
)
CHAIN = Question("7+5-3=?", ChainProblem((7, 5, 3), (1, -1)))


gather = r1.collect_good_answers


def anything(run, teacher, n_questions, n_samples, good=None):
    """Keep every answer that may be said: untrained models are never right."""
    return gather(run, teacher, n_questions, n_samples, lambda _, text: is_one_plain_line(text))


@pytest.fixture(scope="module")
def small_world():
    """The pipeline with tiny sizes; untrained models are never right, so every answer that may be
    said is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(r1, "collect_good_answers", anything)
        patch.setitem(command.R1_PRESETS, "laptop", TINY)
        patch.setattr(command, "DEFAULT_PROCESSES", 1)  # others would not see these patches
        patch.setattr(r1, "measure_stage", partial(r1.measure_stage, n=4))
        patch.setattr(r1, "accuracy_by_length", lambda run, name: {"3": 0.0})
        patch.setattr(r1, "evaluate_chats", partial(evaluate_chats, n=4))
        patch.setattr(
            arithmetic,
            "arithmetic_at_k",
            partial(arithmetic.arithmetic_at_k, n_questions=2, n_samples=4, ks=(1, 4)),
        )
        yield patch


@pytest.fixture(scope="module")
def done(small_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert command.main(["--out", str(folder)]) == 0
    return folder


def test_every_stage_leaves_a_model_and_the_card_counts_it(done):
    for stage in r1.R1_STAGES:
        assert (done / f"seed-0/{stage}/model.json").exists() and not (
            done / f"seed-0/{stage}/steps"
        ).exists()
    numbers = json.loads((done / "card.json").read_text())
    assert [run["seed"] for run in numbers] == [0] and set(numbers[0]["measures"]["stages"]) == set(
        r1.R1_STAGES
    )
    card = (done / "card.md").read_text()
    assert "R1-Zero right, at least 90 %" in card and "0 of 1" in card
    assert (done / "zero.svg").exists() and (done / "samples.svg").exists()


def test_a_stage_that_is_done_is_not_done_again_and_from_redoes_what_follows(done):
    before = {
        stage: (done / f"seed-0/{stage}/model.json").stat().st_mtime_ns for stage in r1.R1_STAGES
    }
    assert command.main(["--out", str(done)]) == 0
    assert before == {
        stage: (done / f"seed-0/{stage}/model.json").stat().st_mtime_ns for stage in r1.R1_STAGES
    }
    weights = {stage: (done / f"seed-0/{stage}/model.json").read_text() for stage in r1.R1_STAGES}
    assert command.main(["--out", str(done), "--from", "r1"]) == 0
    after = {
        stage: (done / f"seed-0/{stage}/model.json").stat().st_mtime_ns for stage in r1.R1_STAGES
    }
    assert {stage for stage in r1.R1_STAGES if after[stage] != before[stage]} == {
        "r1", "small-base", "small-zero", "student"
    }  # fmt: skip
    assert weights == {
        stage: (done / f"seed-0/{stage}/model.json").read_text() for stage in r1.R1_STAGES
    }


def test_a_stage_that_was_killed_before_its_end_is_not_begun_anew(
    done, tmp_path, small_world, monkeypatch
):
    run = ExperimentRun(tmp_path / "seed-0", 0, TINY)
    r1.base_stage(run)
    keep, steps = ExperimentRun.keep, []
    monkeypatch.setattr(
        ExperimentRun, "keep", lambda *_: (_ for _ in ()).throw(MemoryError("killed here"))
    )
    with pytest.raises(MemoryError):
        r1.zero_stage(run)
    assert not run.path("zero/model").exists() and (run.folder / "zero/steps").exists()
    monkeypatch.setattr(ExperimentRun, "keep", keep)
    monkeypatch.setattr(rl_loop, "answer_questions", lambda *_: steps.append(1))
    r1.zero_stage(run)
    assert not steps and weights(run.folder / "zero") == weights(done / "seed-0/zero")


def weights(folder):
    return json.loads((folder / "model.json").read_text())["content"]["weights"]["sha256"]


def test_the_experiments_on_search_have_a_folder_of_their_own_and_get_into_the_card(
    done, monkeypatch
):
    assert "## Search" not in (done / "card.md").read_text()
    monkeypatch.setattr(ablations, "run_search", partial(run_search, recipe=TINY_SEARCH))
    for name in SEARCH_EXPERIMENTS:
        assert command.main(["--out", str(done), "--experiment", name]) == 0
        assert f"- `{name}`, seed 0: " in (done / "card.md").read_text()
    assert (done / "search.svg").exists() and (done / "budget.svg").exists()
    (found,) = json.loads((done / "card.json").read_text())
    assert {"base", *found["search"]["curves"]} == set(found["search"]["measures"]) and not found[
        "experiments"
    ]
    history = read_json(done / "seed-0/search/search/history.json", "history", DATA_VERSION)
    assert found["search"]["curves"]["search"] == history["measures"]


def test_another_preset_in_the_same_folder_is_refused(done):
    with pytest.raises(ValueError, match="was begun with --preset laptop, not gpu"):
        command.main(["--out", str(done), "--preset", "gpu"])


def test_the_pipeline_runs_on_the_learners_own_lines(done, small_world, tmp_path, monkeypatch):
    """The solutions in their place are all at work, and the models are those of the library but
    for rounding."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    with pytest.raises(SystemExit, match="no exercise of yours is kept"):
        command.main(["--out", str(tmp_path / "none"), "--mine"])
    for key in plugs.EXERCISES:
        assert own_answers.keep_answer(key, solution_of(*key.split(".")))
    monkeypatch.setattr(mine, "passes_check", lambda answer: True)  # test_mine checks them
    with pytest.raises(ValueError, match="was begun with --preset laptop, not laptop --mine"):
        command.main(["--out", str(done), "--seed", "1", "--mine"])
    out = tmp_path / "own"
    assert command.main(["--out", str(out), "--mine"]) == 0
    rows = read_json(out / "seed-0/mine/report.json", "data", DATA_VERSION)
    assert [row["exercise"] for row in rows if not row["calls"]] == []
    assert [row["exercise"] for row in rows if row["handed back"]] == []
    assert [row["exercise"] for row in rows if not row["ratio"]] == []
    card = (out / "card.md").read_text()
    assert f"{len(rows)} of {len(rows)} parts were your own to the end" in card
    assert "## Whose lines" in card and "## Whose lines" not in (done / "card.md").read_text()
    for stage in ("base", "small-base", "sft", "student"):
        one, other = (
            read_json(folder / f"seed-0/{stage}/history.json", "history", DATA_VERSION)
            for folder in (done, out)
        )
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    with pytest.raises(ValueError, match="was begun with --preset laptop --mine, not"):
        command.main(["--out", str(out)])
    with pytest.raises(SystemExit, match="not --mine"):
        command.main(["--out", str(out), "--mine", "--experiment", "strict"])


def test_readable_answers_are_right_well_formed_and_in_english():
    assert r1.is_readable_answer(
        CHAIN, "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>"
    )
    assert not r1.is_readable_answer(
        CHAIN, "<think>first 7+5=12, then 12-3=8</think><answer>8</answer>"
    )
    assert not r1.is_readable_answer(CHAIN, "first 7+5=12, then 12-3=9")
    assert not r1.is_readable_answer(
        CHAIN, "<think>first 7+5=12，再12-3=9</think><answer>9</answer>"
    )
    # no word at all
    assert not r1.is_readable_answer(CHAIN, "<think>7+5=12, 12-3=9</think><answer>9</answer>")


def test_sums_are_rated_by_rules_and_chats_by_the_judge(done):
    run = ExperimentRun(done / "seed-0", 0, TINY)
    judge, tokenizer = reward_model_stage(run, "r1/judge"), run.tokenizer()
    fact = draw_fact_question(Random(0))
    task = reasoning_and_chat_task(judge, tokenizer)
    answers = [
        "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>",
        fact.truth.sentence,
        "9",
    ]
    rewards = task.reward([CHAIN, fact, CHAIN], answers)
    # right, formed, English; right, and no word that is foreign
    assert rewards[0] == 2.0 and rewards[2] == 1.5
    assert rewards[1] == pytest.approx(score_chats(judge, tokenizer, [(fact, answers[1])])[0])
    assert task.measure([CHAIN, fact, CHAIN], answers)["accuracy"] == 1.0


@pytest.mark.parametrize("name", ["strict", "rare-tags-strict-averaged", "filtered", "naive-judge"])
def test_a_control_is_one_command_and_gets_into_the_card(done, small_world, name):
    small_world.setattr(ablations, "collect_good_answers", r1.collect_good_answers)
    small_world.setattr(ablations, "evaluate_chats", partial(evaluate_chats, n=4))
    evaluate = partial(arithmetic.evaluate_arithmetic, n=4)
    small_world.setattr(ablations.arithmetic, "evaluate_arithmetic", evaluate)
    assert command.main(["--out", str(done), "--experiment", name]) == 0
    assert (done / f"seed-0/experiments/{name}/result.json").exists()
    assert name in (done / "card.md").read_text()


SHARES = [("base", 0.15, 0.35), ("zero", 0.9, 1), ("r1", 0.95, 1), ("student", 0.95, 1)]


@pytest.mark.parametrize("stage, least, most", SHARES)
def test_the_shipped_models_are_as_good_as_the_card_says(stage, least, most):
    found = arithmetic.evaluate_arithmetic(
        r1.SHIPPED_R1.load(stage), r1.SHIPPED_R1.tokenizer(), n=300
    )
    assert least <= found["accuracy"] <= most
    numbers = json.loads((r1.DATA_FOLDER / "r1/card.json").read_text())[0]["measures"]["stages"][
        stage
    ]["sums"]
    # 300 other draws: three standard errors and a half
    assert abs(found["accuracy"] - numbers["accuracy"]) < 0.08
