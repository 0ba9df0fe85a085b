"""Lesson 26's runs: what a filter drops, what a reward by rule adds, and stages of their own."""

from dataclasses import replace
from random import Random

import pytest

from course_lib.alignment.rl_task import Question, RLTask
from course_lib.experiments import r1, r1_steps
from course_lib.experiments.run import ExperimentRun
from course_lib.tasks.arithmetic import draw_arithmetic_question
from course_lib.tasks.fact_chats import draw_fact_question
from course_lib.text.problems import ChainProblem

SUM = Question("7+5-3=?", ChainProblem((7, 5, 3), (1, -1)))
ANSWERS = {
    "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>": "kept",
    "<think>first 7+5=12, then 12-3=8</think><answer>8</answer>": "wrong",
    "first 7+5=12, then 12-3=9, so 9": "not well-formed",
    "<think>先7+5=12, then 12-3=9</think><answer>9</answer>": "two languages",
    "<think>先7+5=12，再12-3=9</think><answer>9</answer>": "not English",
    "<think>7+5=12-3=9</think><answer>9</answer>": "not English",
}


@pytest.mark.parametrize("text", ANSWERS)
def test_the_reason_is_the_first_fault_and_none_where_the_pipeline_keeps(text):
    assert r1_steps.rejection_reason(SUM, text) == ANSWERS[text]
    assert (ANSWERS[text] == "kept") == r1.is_readable_answer(SUM, text)


def test_sifting_counts_every_answer_once_and_a_question_once():
    good, wrong = list(ANSWERS)[:2]
    found = r1_steps.sift_answers([SUM, SUM, SUM], [good, good, wrong, good, wrong, wrong], 2)
    assert found == {"kept": 2, "one too many": 1, "wrong": 3, "questions": 3}


def fact_and_sum():
    return [draw_fact_question(Random(1)), SUM]


def test_the_rule_pays_right_facts_alone_and_no_sum():
    fact, chain = fact_and_sum()
    task = RLTask(draw_fact_question, lambda questions, answers: [0.25] * len(answers))
    texts = [fact.truth.sentence, "no idea", "9"]
    rated = r1_steps.rewarded_facts(task, 4.0).reward([fact, fact, chain], texts)
    assert rated == [4.25, 0.25, 0.25]
    assert r1_steps.FACT_WORTH == 4.0, "two points of taste, doubled by the annotator's certainty"


def test_half_of_the_facts_are_practised_and_sums_stay():
    task = RLTask(
        lambda rng: (draw_fact_question if rng.random() < 0.5 else draw_arithmetic_question)(rng),
        lambda questions, answers: [0.0] * len(answers),
    )
    rng = Random(0)
    drawn = [r1_steps.half_of_facts(task).draw(rng) for _ in range(200)]
    facts = [q for q in drawn if not isinstance(q.truth, ChainProblem)]
    assert 40 < len(facts) < 160 and all(map(r1_steps.is_practised_fact, facts))
    known = r1_steps.known_facts()
    assert 0.4 < sum(map(r1_steps.is_practised_fact, known.values())) / len(known) < 0.6


def test_only_pairs_that_differ_in_one_trait_are_compared():
    def rated(right, polite, score):
        return {"right": right, "polite": polite}, score

    group = [rated(True, True, 1.0), rated(False, True, 2.0), rated(False, False, 0.0)]
    assert r1_steps.preferred_share([group], "right") == {"share": 0.0, "pairs": 1}
    assert r1_steps.preferred_share([group], "polite") == {"share": 1.0, "pairs": 1}


def test_each_run_starts_where_it_says_and_learns_what_it_says(tmp_path, monkeypatch):
    fact, done = draw_fact_question(Random(1)), []
    chats = [[fact.text, fact.truth.sentence], [fact.text, "no idea"]]

    def gathered(run, teacher, n_questions, n_samples, good):
        return [[teacher, good.__name__]]

    def tuned(run, stage, start, pairs, steps):
        done.append(
            (stage.split("/", 1)[1], start, [pair for pair in pairs if pair[0] != fact.text])
        )
        assert len([pair for pair in pairs if pair[0] == fact.text]) == (
            1 if "true" in stage else 2
        )

    def practised(run, stage, start, task, settings):
        fact_reward = task.reward([fact], [fact.truth.sentence])[0]
        done.append((stage.split("/", 1)[1], start, fact_reward))

    task = RLTask(draw_fact_question, lambda questions, answers: [0.0] * len(answers))
    for name, stub in {
        "collect_good_answers": gathered,
        "best_chats_stage": lambda run: chats,
        "finetune_stage": tuned,
        "rl_stage": practised,
        "reward_model_stage": lambda run, name, also: None,
        "reasoning_and_chat_task": lambda judge, tokenizer: task,
        "arithmetic_task": lambda weights: replace(
            task, reward=lambda questions, answers: [sum(weights.values())]
        ),
        "measure_steps": lambda run, stage: {"stage": stage()},
        "sift_teacher": lambda run, name: {},
        "measure_manners": lambda run, name: {},
        "judged_traits": lambda run: {},
    }.items():
        monkeypatch.setattr(r1_steps, name, stub)
    monkeypatch.setattr(ExperimentRun, "tokenizer", lambda run: None)
    run = ExperimentRun(tmp_path / "seed-0", 0, r1.LAPTOP_RECIPE)
    (tmp_path / "seed-0/sft").mkdir(parents=True)
    stages = [
        made["stage"] for *_, make in r1_steps.steps_of_seed(run) if "stage" in (made := make())
    ]
    assert len(set(stages)) == 13
    readable, any_language = (
        [["zero", name]] for name in ("is_readable_answer", "is_right_and_well_formed")
    )
    sums = [["reasoning", "is_readable_answer"]]
    true_chats = ("true-chats/sft", "base", sums)
    assert done == [
        ("three steps/sft", "base", readable),
        true_chats,
        ("rule for facts/r1", "sft", 4.0),
        ("three steps/sft", "base", readable),
        ("three steps/r1", "experiments/three steps/sft", 0.0),
        ("sft-of-reasoning", "reasoning", sums),
        ("any language/sft", "base", any_language),
        ("with-language-reward", "zero", 2.0),
        ("without-language-reward", "zero", 1.5),
        true_chats,
        ("true-chats/r1", "experiments/true-chats/sft", 0.0),
        ("half of the facts/r1", "sft", 0.0),
        true_chats,
        ("both/r1", "experiments/true-chats/sft", 4.0),
    ]


def test_stored_runs_are_read_by_table_seed_by_seed(tmp_path):
    (tmp_path / "runs.json").write_text(
        '[{"table": "cures", "name": "a", "seed": 1}, {"table": "cures", "name": "a", "seed": 0},'
        ' {"table": "steps", "name": "b", "seed": 0}]'
    )
    assert [run["seed"] for run in r1_steps.r1_steps("cures", tmp_path)["a"]] == [0, 1]
