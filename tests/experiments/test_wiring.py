"""The wiring of all experiments: what each stage starts from, what it is trained on, and what its
answers are judged by, held against a table written by hand. Nothing is trained, see `wiring`."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from random import Random

import pytest
import torch

from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_task import Question
from course_lib.experiments import ablations, r1, r1_tasks, search
from course_lib.experiments.chats import evaluate_chats
from course_lib.layers.moe import sequence_balance_loss
from course_lib.models.deepseek import DeepSeekV3
from course_lib.models.llama import Llama
from course_lib.tasks.fact_chats import draw_fact_question
from course_lib.text import bpe
from course_lib.text.problems import ChainProblem, SearchProblem, is_held_out
from course_lib.text.small_web import ChainShares, SearchShares
from course_lib.training.deepseek_objective import sum_balance_losses
from course_lib.training.objectives import next_token_objective
from tests.experiments.wiring import BEST_SAMPLE, answer_to_sum, stand_in

SEED = 3
RECIPE = r1.R1Recipe(
    base={"d_model": 16, "n_layers": 2, "n_heads": 2},
    small={"d_model": 8, "n_layers": 1, "n_heads": 2},
    chains=ChainShares(worked=0.2, tags=0.5),
    window=64,
    batch_size=2,
    base_steps=10,  # the diligent pages until step 6
    small_steps=11,
    zero=GRPOSettings(21),
    reasoning=GRPOSettings(22),
    r1=GRPOSettings(23),
    small_zero=GRPOSettings(24),
    cold_questions=10,
    cold_steps=12,
    sft_questions=11,
    sft_steps=13,
    n_chats=4,
    n_pairs=9,
    judge_steps=14,
    student_questions=20,
    student_steps=15,
)
CHAIN = Question("7+5-3=?", ChainProblem((7, 5, 3), (1, -1)))
FACT = draw_fact_question(Random(0))
LATE, EARLY = "worked 0.2 tags 0.5 seed 3", "worked 0.72 tags 0.5 seed 1000003"


@pytest.fixture(scope="module")
def wired(tmp_path_factory):
    """The whole pipeline, done once with stand-ins: the run and its notes."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("run")
        kind, notes = stand_in(patch, folder)
        run = kind(folder, SEED, RECIPE)
        r1_tasks.run_r1_pipeline(run)
        yield run, notes


# ------------------------------------------------------------------------------------ pre-training


def pages_at(run, lesson, step):
    """Name the pages that the batch of a step was made of: a page's text but for its number."""
    (inputs, _), *_ = islice(lesson.data(step), 1)
    texts = "".join(run.tokenizer().decode(row) for row in inputs.tolist()).split("<|endoftext|>")
    return {text.partition(" page")[0] for text in texts if text}


def test_the_base_is_a_v3_that_reads_diligent_pages_first_and_is_kept_balanced(wired):
    run, notes = wired
    base = notes.lessons["base"]
    assert isinstance(base.model, DeepSeekV3) and base.model.settings.d_model == 16
    assert base.model.settings.max_seq_len == RECIPE.context
    assert base.settings.steps == RECIPE.base_steps and base.settings.decay == 0.4
    assert [pages_at(run, base, step) for step in (0, 5, 6, 9)] == [{EARLY}] * 2 + [{LATE}] * 2
    assert {"objective", "on_step"} < set(base.options)


def test_the_small_base_is_dense_and_reads_the_common_pages_alone(wired):
    run, notes = wired
    small = notes.lessons["small-base"]
    assert isinstance(small.model, Llama) and small.model.settings.d_model == 8
    assert small.settings.steps == RECIPE.small_steps and small.model.settings.max_seq_len == 256
    assert [pages_at(run, small, step) for step in (0, 10)] == [{LATE}] * 2
    assert "objective" not in small.options


def test_pages_are_drawn_by_the_recipe_and_the_tokenizer_learns_from_a_third_of_them(wired):
    _, notes = wired
    for drawn in notes.pages:
        assert drawn["megabytes"] == RECIPE.megabytes and drawn["mixture"] == RECIPE.mixture
    ((texts, how),) = notes.tokenizers  # once for all stages
    assert texts == [f"{LATE} page {i}" for i in range(10)]
    assert how == (RECIPE.vocab_size, bpe.WORD_PATTERN)


def test_the_bias_is_pushed_by_a_hundredth_of_the_way_at_the_peak_and_by_nothing_at_the_end(wired):
    speed = wired[1].lessons["base"].options["on_step"].speed
    assert speed(5) == pytest.approx(0.01) and speed(8) == pytest.approx(0.005) and speed(10) == 0


def test_the_base_learns_the_next_token_and_v3s_balance_within_each_sequence(wired):
    base = wired[1].lessons["base"]
    model, ids = deepcopy(base.model).double(), torch.arange(40).view(2, 20)
    found = base.options["objective"](model, ids, ids + 1).mean
    balance = sum_balance_losses(model, sequence_balance_loss)
    want = next_token_objective(model, ids, ids + 1).mean + 1e-4 * balance
    torch.testing.assert_close(found, want, rtol=0, atol=1e-9)


# ------------------------------------------------------------------------- reinforcement learning

ANSWERS = (
    "<think>first 7+5=12</think><answer>9</answer>",
    "it is 9",
    "<think>再</think><answer>9</answer>",
    "<think>再</think><answer>8</answer>",
    "no idea",
)
REWARDS = {  # of these answers
    "zero": (1.5, 1.0, 1.5, 0.5, 0.0),
    "reasoning": (2.0, 1.5, 1.5, 0.5, 0.5),
    "strict": (1.2, 0.0, 1.2, 0.2, 0.0),
    "weak": (1.2, 1.0, 1.2, 0.2, 0.0),
}


def rewards_of(lesson):
    return tuple(lesson.data.reward([CHAIN] * len(ANSWERS), ANSWERS))


@pytest.mark.parametrize(
    "stage, start, settings, rewards",
    [
        ("zero", "base", RECIPE.zero, "zero"),
        ("reasoning", "cold-start", RECIPE.reasoning, "reasoning"),
        ("r1", "sft", RECIPE.r1, "reasoning"),
        ("small-zero", "small-base", RECIPE.small_zero, "zero"),
    ],
)
def test_a_stage_of_rl_starts_from_the_right_model_and_earns_the_right_rewards(
    wired, stage, start, settings, rewards
):
    run, notes = wired
    lesson = notes.lessons[stage]
    assert lesson.start == start and lesson.settings == settings
    assert rewards_of(lesson) == pytest.approx(REWARDS[rewards])
    assert lesson.options["seed"] == SEED
    assert lesson.options["keep_samples_at"] == {1, 10, 20}
    assert lesson.options["checkpoints"].folder == run.folder / stage / "steps"
    rng = Random(0)
    drawn = [lesson.data.draw(rng) for _ in range(800)]
    sums = [question for question in drawn if isinstance(question.truth, ChainProblem)]
    assert not any(is_held_out(question.truth) for question in sums)
    chats = 1 - len(sums) / len(drawn)
    assert abs(chats - 0.25) < 0.06 if stage == "r1" else chats == 0  # four standard errors


def test_the_last_stage_rates_chats_by_the_judge_that_knows_its_own_answers(wired):
    task = wired[1].lessons["r1"].data
    both = [FACT, CHAIN, FACT], ["sample 0", ANSWERS[0], "sample 9"]
    assert task.reward(*both) == pytest.approx([8.0, 2.0, 8.9375])  # "r1/judge" has 8 letters
    measured = task.measure([FACT, CHAIN, CHAIN, FACT], ["9", "it is 9", "no idea", "9"])
    assert measured["accuracy"] == 0.5 and task.measure([FACT], ["9"]) == {}


# ----------------------------------------------------------------------------- supervised learning


def said(run, lesson):
    """Give the questions and answers of a lesson, as they are read: texts without their markup."""
    tokenizer = run.tokenizer()
    for prompt, completion in lesson.data:
        asked = tokenizer.decode(list(prompt)).split("User: ")[1].split("\nAssistant")[0]
        yield asked, tokenizer.decode(list(completion)).replace("<|endoftext|>", "").strip()


def truth(asked):
    """Read a question back: the problem that it asks for."""
    signs = [1 if sign == "+" else -1 for sign in asked if sign in "+-"]
    numbers = asked.removesuffix("=?").replace("-", "+").split("+")
    return ChainProblem(tuple(map(int, numbers)), tuple(signs))


@pytest.mark.parametrize(
    "stage, start, teacher, n_sums, kinds, steps, optimizer",
    [
        ("cold-start", "base", "zero", 10, {3}, RECIPE.cold_steps, "adamw"),
        ("sft", "base", "reasoning", 11, {3}, RECIPE.sft_steps, "adamw"),
        # of one answer to each question two of five are readable
        ("student", "small-base", "r1", 8, {3, 4}, RECIPE.student_steps, "muon"),
    ],
)
def test_a_stage_of_tuning_reads_its_teachers_readable_answers(
    wired, stage, start, teacher, n_sums, kinds, steps, optimizer
):
    run, notes = wired
    lesson = notes.lessons[stage]
    assert lesson.start == start and lesson.settings.steps == steps
    assert lesson.settings.optimizer == optimizer and lesson.options["batch_size"] == 64
    assert optimizer == "adamw" or lesson.settings.muon_lr == 0.01
    assert lesson.options["seed"] == SEED
    assert lesson.options["checkpoints"].folder == run.folder / stage / "steps"
    sums = [pair for pair in said(run, lesson) if pair[0].endswith("=?")]
    assert len(sums) == n_sums and len({asked for asked, _ in sums}) > 7
    for asked, text in sums:
        assert text in {answer_to_sum(teacher, truth(asked), kind) for kind in kinds}
        assert not is_held_out(truth(asked))


def test_the_tuned_base_reads_the_best_of_sixteen_chats_of_the_base_as_well(wired):
    run, notes = wired
    pairs = [pair for pair in said(run, notes.lessons["sft"]) if not pair[0].endswith("=?")]
    assert len(pairs) == RECIPE.n_chats
    for asked, text in pairs:
        assert text == f"{asked} base at 1 sample {BEST_SAMPLE}"
    assert not any(not asked.endswith("=?") for asked, _ in said(run, notes.lessons["cold-start"]))


# -------------------------------------------------------------------------------------- the judges


def speakers(run, lesson):
    """Say for each pair that an annotator compared who gave its two answers: name and heat."""
    tokenizer = run.tokenizer()
    for prompt, *both in lesson.data:
        asked = tokenizer.decode(prompt).split("User: ")[1].split("\nAssistant")[0]
        texts = [tokenizer.decode(ids) for ids in both]
        assert all(text.startswith(asked) for text in texts)  # both answer this question
        yield Counter(text[len(asked) + 1 :].split(" sample")[0] for text in texts)


def test_the_first_judge_compares_answers_of_the_base_alone(wired):
    run, notes = wired
    lesson = notes.lessons["sft/judge"]
    assert lesson.start == "base" and lesson.settings == RECIPE.judge_steps
    assert lesson.options == {"seed": SEED}
    assert list(speakers(run, lesson)) == [Counter({"base at 1": 2})] * RECIPE.n_pairs


def test_the_last_judge_knows_the_tuned_models_answers_and_wild_ones(wired):
    run, notes = wired
    lesson = notes.lessons["r1/judge"]
    assert lesson.start == "base" and lesson.settings == RECIPE.judge_steps
    assert list(speakers(run, lesson)) == 3 * [
        Counter(["sft at 1", "base at 1"]),
        Counter(["sft at 1", "sft at 1.7"]),
        Counter({"base at 1": 2}),
    ]


# ---------------------------------------------------------------------------- order and evaluation


def files_of(run):
    found = (path.relative_to(run.folder) for path in run.folder.rglob("*.json"))
    return {str(path) for path in found if path.name != "seconds.json"}


def behind(task):
    """Give all that a task needs, and what that needs."""
    needs = r1_tasks.TASK_NEEDS[task]
    return set(needs).union(*map(behind, needs))


def test_a_task_needs_no_more_than_it_says_and_does_no_other_tasks_work(tmp_path, monkeypatch):
    """A need that is left out shows in a model that is missing, or in work that is done twice."""
    kind, notes = stand_in(monkeypatch, tmp_path)
    order = r1_tasks.tasks_in_turn(r1_tasks.TASK_NEEDS)

    def files_made(names):
        notes.root = tmp_path / f"{len(names)}-{names[-1].replace('/', '-')}"
        run, made = kind(notes.root, SEED, RECIPE), {}
        for name in names:
            before = files_of(run)
            r1_tasks.task_function(name)(run)
            made[name] = files_of(run) - before
        return made

    together = files_made(order)
    assert all(together.values())
    for task in order:
        alone = files_made([name for name in order if name in behind(task)] + [task])
        assert alone[task] == together[task], task


def test_every_stage_is_measured_by_its_own_model(wired):
    run, _ = wired
    found = run.once("evaluation/measures", lambda: pytest.fail("the pipeline measures at its end"))
    assert set(found["stages"]) == set(r1.R1_STAGES)
    for stage, measures in found["stages"].items():
        drawn, greedy = measures["sums"], measures["sums, greedy"]
        assert drawn == {"of": stage, "n": 1000, "temperature": 1.0}
        assert greedy == drawn | {"temperature": 0.0}
        assert ("chats" in measures) == (stage not in ("small-base", "small-zero", "student"))
    assert found["at k"] == {"base": {"of": "base"}, "zero": {"of": "zero"}}
    # four of the five kinds of answer are right
    assert found["longer sums"] == {str(n): 0.8 for n in (3, 4, 5, 6, 7, 8)}


def test_longer_sums_are_asked_of_r1_and_chats_of_the_stage_that_is_measured(wired):
    run, notes = wired
    longer = [name for name, how in notes.samplings if how.get("max_new_tokens") == 120]
    assert longer == ["r1"] * 6
    notes.samplings.clear()
    assert "score" not in evaluate_chats(run, "sft", n=5)
    assert notes.samplings == [
        ("sft", {"n": 5, "n_samples": 1, "temperature": 1.0, "max_new_tokens": 32, "seed": SEED})
    ]


# --------------------------------------------------------------------------------------- ablations

WHERE = "experiments"
FIRST_LOSS = {"scale_by_std": True, "average": "sequence", "clip_high": 0.2}  # GRPO's own
FIRST = replace(RECIPE.zero, **FIRST_LOSS)
RARE = f"{WHERE}/rare-tags"
BY_RL = {  # name: where it starts, what it leaves, by which rewards and settings
    "no-worked": (f"{WHERE}/no-worked/base", f"{WHERE}/no-worked/zero", "zero", RECIPE.zero),
    "strict": ("base", f"{WHERE}/strict", "strict", RECIPE.zero),
    "weak-format": ("base", f"{WHERE}/weak-format", "weak", FIRST),
    "rare-tags": (f"{RARE}/base", f"{RARE}/zero", "zero", RECIPE.zero),
    "rare-tags-strict": (f"{RARE}/base", f"{RARE}/strict", "strict", RECIPE.zero),
    "rare-tags-strict-averaged": (f"{RARE}/base", f"{RARE}/strict-averaged", "strict", FIRST),
    "rare-tags-weak-format": (f"{RARE}/base", f"{RARE}/weak-format", "weak", FIRST),
}
BY_RL |= {
    f"rare-tags-strict-{name}": (
        f"{RARE}/base",
        f"{RARE}/strict-{name}",
        "strict",
        replace(RECIPE.zero, **{setting: FIRST_LOSS[setting] for setting in changed}),
    )
    for name, changed in {
        "average": ["average"],
        "spread": ["scale_by_std"],
        "clip": ["clip_high"],
        "average-spread": ["average", "scale_by_std"],
        "average-clip": ["average", "clip_high"],
        "spread-clip": ["scale_by_std", "clip_high"],
    }.items()
}
OTHER_WEB = {"no-worked": "worked 0 tags 0.5 seed 3", "rare-tags": "worked 0.2 tags 0.05 seed 3"}


@pytest.mark.parametrize("name", BY_RL)
def test_an_ablation_by_rl_changes_what_it_says_and_nothing_else(wired, name):
    run, notes = wired
    start, stage, rewards, settings = BY_RL[name]
    found = (ablations.ABLATIONS | ablations.STRICT_ABLATIONS)[name](run)
    lesson = notes.lessons[stage]
    assert lesson.start == start and lesson.settings == settings
    assert rewards_of(lesson) == pytest.approx(REWARDS[rewards])
    assert (found["before"]["of"], found["after"]["of"]) == (start, stage)
    if start != "base":
        web = start.split("/")[1]
        other = replace(run, folder=run.folder / WHERE / web)
        assert pages_at(other, notes.lessons[start], 9) == {OTHER_WEB[web]}
        assert notes.lessons[start].settings.steps == RECIPE.base_steps
        first_texts = [texts[0] for texts, _ in notes.tokenizers]
        assert f"{OTHER_WEB[web]} page 0" in first_texts  # its own tokenizer, of the last pages


@pytest.mark.parametrize("name, kind", [("filtered", 2), ("filtered-worked", 4)])
def test_an_ablation_by_filter_tunes_the_base_on_its_own_answers(wired, name, kind):
    run, notes = wired
    # the kinds of sixteen answers go round, so that the first that passes is the one named here
    found = ablations.ABLATIONS[name](run)
    lesson = notes.lessons[f"{WHERE}/{name}"]
    assert lesson.start == "base" and lesson.settings.steps == RECIPE.sft_steps
    pairs = list(said(run, lesson))
    assert len(pairs) == found["answers kept"] == RECIPE.sft_questions
    assert all(text == answer_to_sum("base", truth(asked), kind) for asked, text in pairs)
    assert (found["before"]["of"], found["after"]["of"]) == ("base", f"{WHERE}/{name}")
    assert ("base", 16) in {(who, how["n_samples"]) for who, how in notes.samplings}


def test_the_naive_judge_knows_the_base_alone_and_the_leash_is_loose(wired):
    run, notes = wired
    found = ablations.ABLATIONS["naive-judge"](run)
    lesson, place = notes.lessons[f"{WHERE}/naive-judge"], f"{WHERE}/naive-judge"
    assert lesson.start == "sft" and lesson.settings == replace(RECIPE.r1, beta=0.01)
    reward = lesson.data.reward([FACT, CHAIN], ["sample 9", ANSWERS[0]])
    assert reward == pytest.approx([9.9375, 2.0])  # "sft/judge" has nine letters
    assert set(found["chats"]) == {"sft", place, "r1"}
    assert all(chats["score"] == 9.0 for chats in found["chats"].values())  # of sample 0
    assert [who for who, how in notes.samplings if how["n"] == 500][-3:] == ["sft", place, "r1"]


# ------------------------------------------------------------------------------------------ search

PUZZLE = SearchProblem((20, 9, 3, 6), 14)
TRIES = (
    "<think>20-9=11-3=8+6=14 yes</think><answer>20-9-3+6</answer>",
    "<think>20+9=29-3=26-6=20 yes</think><answer>20+9-3-6</answer>",
    "20-9-3+6",
    "no idea",
)
SEARCH_REWARDS = {"right": (1.2, 0.2, 1.0, 0.0), "any": (1.2, 1.2, 1.0, 0.0)}
SEARCH_RECIPE = search.SearchRecipe(
    model={"d_model": 16, "n_layers": 1, "n_heads": 2, "n_dense_layers": 1},
    shares=SearchShares({0: 1.0}),
    window=64,
    batch_size=2,
    base_steps=7,
    practice=GRPOSettings(31, max_new_tokens=60),
    small_budget=8,
    budget_steps=9,
    control_steps=4,
)
PRACTICE = SEARCH_RECIPE.practice
SMALL = replace(PRACTICE, steps=9, max_new_tokens=8, decay=0.0)
BY_SEARCH = {  # experiment: (stage, start, settings, rewards, seed)
    "search": [("search", "base", PRACTICE, "right", SEED)],
    "search-budget": [
        ("search-budget/small", "base", SMALL, "right", SEED),
        (
            "search-budget/raised",
            "search-budget/small",
            replace(SMALL, max_new_tokens=60),
            "right",
            SEED + 1000,
        ),
        ("search-budget/kept", "search-budget/small", SMALL, "right", SEED + 1000),
    ],
    "search-control": [("search-control", "base", replace(PRACTICE, steps=4), "any", SEED)],
}


@pytest.mark.parametrize("experiment", BY_SEARCH)
def test_an_experiment_on_search_is_wired_as_its_table_says(tmp_path, monkeypatch, experiment):
    assert set(search.SEARCH_EXPERIMENTS) == set(BY_SEARCH)
    kind, notes = stand_in(monkeypatch, tmp_path)
    run_search = search.run_search
    found = run_search(tmp_path, SEED, experiment, SEARCH_RECIPE)
    stages = [stage for stage, *_ in BY_SEARCH[experiment]]
    assert found == {name: {"of": name} for name in ("base", *stages)}
    for stage, start, settings, rewards, seed in BY_SEARCH[experiment]:
        lesson = notes.lessons[stage]
        assert (lesson.start, lesson.settings, lesson.options["seed"]) == (start, settings, seed)
        asked = [Question(PUZZLE.question, PUZZLE)] * len(TRIES)
        assert lesson.data.reward(asked, TRIES) == pytest.approx(SEARCH_REWARDS[rewards])
    base = notes.lessons["base"]
    assert isinstance(base.model, DeepSeekV3) and base.settings.steps == SEARCH_RECIPE.base_steps
    assert (base.settings.muon_lr, base.settings.adam_lr) == (0.01, 4e-3)
    phases = [(SEED + 1_000_000, SEARCH_RECIPE.drill_mixture), (SEED, SEARCH_RECIPE.mixture)]
    shared = {"megabytes": 10.0, "chains": None, "searches": SEARCH_RECIPE.shares}
    assert notes.pages == [shared | {"seed": seed, "mixture": m} for seed, m in phases]
    assert notes.tokenizers[0][1] == (SEARCH_RECIPE.vocab_size, search.SEARCH_PATTERN)


def test_ablations_on_search_have_a_folder_of_their_own_and_the_runs_seed(wired):
    run, _ = wired
    for name in search.SEARCH_EXPERIMENTS:
        given = ablations.ABLATIONS[name](run)["given"]
        assert given == [run.folder / "search", SEED, name, {"device": "cpu"}]
