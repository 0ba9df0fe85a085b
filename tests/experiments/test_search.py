"""Tests for course_lib.alignment.search: what is measured, on answers written by hand, and the
experiments in small."""

import json
from dataclasses import replace
from random import Random

import pytest

from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_task import Question, answer_in_batches, compute_rewards
from course_lib.assets import DATA_FOLDER
from course_lib.experiments import search, stages
from course_lib.experiments.search import (
    SEARCH_EXPERIMENTS,
    SEARCH_PATTERN,
    SEARCH_RECIPE,
    SHIPPED_SEARCH,
    run_search,
)
from course_lib.files import read_json
from course_lib.tasks import countdown
from course_lib.text import bpe
from course_lib.text.chat import SPECIAL_TOKENS
from course_lib.text.problems import SearchProblem, is_held_out
from course_lib.text.small_web import draw_clean_documents

PUZZLE = SearchProblem((20, 9, 3, 6), 14)
ASKED = Question(PUZZLE.question, PUZZLE)
WRONG = "20-9=11+3=14-6=8 not 14"
RIGHT = "20-9=11-3=8+6=14 yes"


def worked(*tries, answer="20-9-3+6"):
    return f"<think>{', '.join(tries)}</think><answer>{answer}</answer>"


def measured(*answers):
    return countdown.search_metrics([ASKED] * len(answers), answers)


# -------------------------------------------------------------------------------------------- tries


def test_a_try_is_read_with_its_numbers_its_true_value_its_claim_and_its_verdict():
    first, second = countdown.find_tries(worked(WRONG, RIGHT))
    assert first == countdown.SearchTry((20, -9, 3, -6), 8, "not")
    assert second == countdown.SearchTry((20, -9, -3, 6), 14, "yes")


def test_a_slip_shows_as_a_sum_that_is_not_right():
    (one,) = countdown.find_tries("20-9=12-3=9+6=15 not 14")
    assert (one.says, one.is_right_sum) == (15, False)


@pytest.mark.parametrize(
    "text", ["", "I think 20-9-3+6", "<think>hmm</think><answer>20-9-3+6</answer>", "20 not 14"]
)
def test_an_answer_without_results_between_its_numbers_has_no_tries(text):
    assert countdown.find_tries(text) == []


def test_a_try_that_breaks_off_counts_as_far_as_it_got_and_has_no_verdict():
    assert countdown.find_tries("<think>20-9=11+3=1") == [countdown.SearchTry((20, -9, 3), 1, "")]


# ----------------------------------------------------------------------------------------- measures


def test_accuracy_work_and_tries_are_means_over_the_right_answers():
    found = measured(
        worked(WRONG, RIGHT), worked(WRONG, WRONG, WRONG, answer="20+9-3-6"), "20-9-3+6", "no idea"
    )
    assert found["accuracy"] == 0.5 and found["worked"] == 0.5 and found["format"] == 0.5
    assert found["tries of worked"] == 2.5 and found["most tries"] == 3
    assert found["accuracy of worked"] == 0.5


def test_only_more_than_four_tries_are_many_and_only_right_ones_count():
    four, five = worked(*[WRONG] * 3, RIGHT), worked(*[WRONG] * 4, RIGHT)
    lost = worked(*[WRONG] * 9, answer="20+9-3-6")
    found = measured(four, five, lost, "20-9-3+6")
    assert found["many tries of worked"] == pytest.approx(2 / 3)
    assert found["right after many"] == 0.25


def test_a_yes_counts_at_the_end_only_and_is_true_if_the_value_before_it_is_the_target():
    false = worked("20-9=11+3=14-6=8 yes", answer="20-9+3-6")
    found = measured(worked(WRONG, RIGHT), false, worked("20-9=11 yes", WRONG), "20-9-3+6")
    assert found["says yes at the end"] == pytest.approx(2 / 3)
    assert found["yes is true"] == 0.5


def test_checks_are_rated_try_by_try():
    missed = "20-9=11-3=8+6=14 not 14"
    false = "20-8=12-3=9+6=15 yes"  # an 8 for the 9, and a yes to 15
    slip = "20-9=11-3=8+6=13 not 14"
    found = measured(worked(WRONG, RIGHT), worked(missed, slip), worked(false))
    assert found["missed yes"] == 0.5  # of two that say they make 14
    assert found["false yes"] == pytest.approx(1 / 3)  # of three that say something else
    assert found["numbers copied"] == pytest.approx(4 / 5) and found["sums right"] == pytest.approx(
        4 / 5
    )


def test_a_try_is_repeated_if_the_same_answer_made_it_before():
    assert measured(worked(WRONG, RIGHT, WRONG, WRONG), worked(WRONG))["repeated"] == pytest.approx(
        2 / 5
    )


def test_nothing_worked_gives_zeros_not_an_error():
    found = measured("", "no idea")
    assert set(found.values()) == {0.0}


# ------------------------------------------------------------------------------- questions, rewards


def test_practice_and_evaluation_share_no_question():
    rng = Random(0)
    assert not any(is_held_out(countdown.draw_search_question(rng).truth) for _ in range(200))
    questions = countdown.held_out_searches(50, lengths=(4, 5))
    assert all(is_held_out(q.truth) and len(q.truth.numbers) in (4, 5) for q in questions)
    assert questions == countdown.held_out_searches(50, lengths=(4, 5))


@pytest.fixture(scope="module")
def tokenizer():
    texts = [page.text for page in draw_clean_documents(1.0, 0, "search")]
    return bpe.train_bpe(texts, SEARCH_RECIPE.vocab_size, SEARCH_PATTERN, SPECIAL_TOKENS)


def test_a_number_with_its_sign_is_one_token_and_nothing_is_lost(tokenizer):
    text = f"User: {PUZZLE.question}\nAssistant: {worked(WRONG, RIGHT)}"
    ids = tokenizer.encode(text, allowed_special="all")
    assert tokenizer.decode(ids) == text
    assert [tokenizer.decode([token]) for token in tokenizer.encode(WRONG)] == [
        "20", "-9", "=11", "+3", "=14", "-6", "=8", " not ", "14",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["x=-3 不对 +", "a\tb  c\n\n", "=+-", "20 - 9 = 11", "<think>hm…</think>", "x²½"]
)
def test_the_pattern_skips_no_character(text):
    assert "".join(bpe.split_pieces(text, SEARCH_PATTERN)) == text


def test_the_reward_is_for_right_answers_and_the_control_for_any(tokenizer):
    answers = [worked(WRONG, RIGHT), worked(WRONG, answer="20+9-3-6"), "20-9-3+6", "no idea"]
    questions = [ASKED] * 4
    assert compute_rewards(
        countdown.search_task(tokenizer), questions, answers
    ).tolist() == pytest.approx([1.2, 0.2, 1.0, 0.0])
    control = countdown.search_task(tokenizer, countdown.SEARCH_CONTROL_REWARDS)
    assert compute_rewards(control, questions, answers).tolist() == pytest.approx(
        [1.2, 1.2, 1.0, 0.0]
    )


def test_the_length_is_that_of_answers_with_tries_in_tokens(tokenizer):
    found = countdown.search_task(tokenizer).measure([ASKED] * 2, [worked(RIGHT), "20-9-3+6"])
    # <think> 20 -9 =11 -3 =8 +6 =14 _yes </think> <answer> 20 -9 -3 +6 </answer>, and the end
    assert found["length of worked"] == 17


# ------------------------------------------------------------------------------------------- corpus


def test_nobody_in_the_corpus_makes_more_than_four_tries():
    texts = [
        page.text
        for page in draw_clean_documents(0.3, 0, {"search": 1}, searches=SEARCH_RECIPE.shares)
    ]
    assert max(len(countdown.find_tries(text)) for text in texts) == countdown.MAX_CORPUS_TRIES


# -------------------------------------------------------------------------------------- experiments

TINY = replace(
    SEARCH_RECIPE,
    megabytes=0.3,
    vocab_size=300,
    base_steps=3,
    batch_size=4,
    evaluation_tokens=20,
    n_evaluation=6,
    model={"d_model": 16, "n_layers": 1, "n_heads": 2, "n_dense_layers": 1},
    practice=GRPOSettings(2, n_questions=2, group_size=4, max_new_tokens=20),
    small_budget=8,
    budget_steps=2,
    control_steps=1,
)


@pytest.mark.parametrize("experiment", SEARCH_EXPERIMENTS)
def test_an_experiment_leaves_its_models_and_measures_and_is_not_done_twice(
    experiment, tmp_path, monkeypatch
):
    found = run_search(tmp_path, 3, experiment, TINY)
    names = {"search-budget": {f"search-budget/{part}" for part in ("small", "raised", "kept")}}
    assert set(found) == {"base"} | names.get(experiment, {experiment})
    for name, measures in found.items():
        assert (tmp_path / f"{name}/model.json").exists()
        assert (
            set(measures["by numbers"]) == {"3", "4", "5", "6"}
            and "accuracy" in measures["sampled"]
        )
        assert len(measures["tries and right"]) == 6
    for module, part in ((stages, "train"), (stages, "train_grpo"), (search, "evaluate_search")):
        monkeypatch.setattr(module, part, lambda *_, **__: pytest.fail("done twice"))
    assert run_search(tmp_path, 3, experiment, TINY) == found


def test_the_budget_grows_where_it_should(tmp_path):
    run_search(tmp_path, 0, "search-budget", TINY)
    longest = {
        name: max(
            read_json(tmp_path / f"search-budget/{name}/history.json", "history", 1)["measures"][
                "length"
            ]
        )
        for name in ("small", "raised", "kept")
    }
    assert longest["small"] <= 8 and longest["kept"] <= 8 < longest["raised"] <= 20


def test_an_experiment_that_was_killed_goes_on_to_the_same_end(tmp_path, monkeypatch):
    whole = run_search(tmp_path / "whole", 1, "search-budget", TINY)
    real, left = stages.train_grpo, [2]

    def killed_at_the_third(*arguments, **options):
        if not left[0]:
            raise OSError("the power failed")
        left[0] -= 1
        return real(*arguments, **options)

    monkeypatch.setattr(stages, "train_grpo", killed_at_the_third)
    with pytest.raises(OSError, match="power"):
        run_search(tmp_path / "cut", 1, "search-budget", TINY)
    assert (tmp_path / "cut/search-budget/raised/model.json").exists()
    monkeypatch.setattr(stages, "train_grpo", real)
    assert run_search(tmp_path / "cut", 1, "search-budget", TINY) == whole


def test_answers_are_sorted_by_how_many_numbers_they_had():
    short = Question("make 10 from 12 2", SearchProblem((12, 2), 10))
    groups = countdown.group_by_numbers([ASKED, short, ASKED], ["a", "b", "c"])
    assert groups == {"2": ([short], ["b"]), "4": ([ASKED, ASKED], ["a", "c"])} and list(
        groups
    ) == ["2", "4"]


def test_an_unknown_experiment_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no experiment 'sreach'; there are search, "):
        run_search(tmp_path, 0, "sreach", TINY)


# ---------------------------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("name", ["base", "search"])
def test_the_shipped_models_search_as_well_and_as_long_as_the_card_says(name):
    run, questions = SHIPPED_SEARCH, countdown.held_out_searches(200)
    texts, _ = answer_in_batches(
        run.load(name), run.tokenizer(), questions, max_new_tokens=300, seed=5
    )
    found = countdown.search_metrics(questions, texts)
    card = json.loads((DATA_FOLDER / "r1/card.json").read_text())[0]["search"]["measures"][name][
        "sampled"
    ]
    # 200 draws: more than three standard errors
    assert abs(found["accuracy"] - card["accuracy"]) < 0.12
    assert abs(found["tries of worked"] / card["tries of worked"] - 1) < 0.35
