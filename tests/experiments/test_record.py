"""The record: the clock is kept, the held-out text stays unseen, and Welch decides."""

import math
import random
import statistics
import time
from dataclasses import replace

import pytest
import torch

from course_lib.experiments import ladder, record
from course_lib.experiments.record import (
    EntryRefused,
    RecordEntry,
    RecordRecipe,
    RecordRun,
    WindowBatches,
    processor_name,
    refuse_held_out_windows,
    run_entry,
    run_recipe,
)
from course_lib.experiments.record_recipes import SHIPPED_RECIPES, run_shipped, speedrun_recipe
from course_lib.experiments.record_table import (
    RecordTable,
    judge_entry,
    record_table_text,
    student_tail,
    welch_p_value,
)
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.record import main
from course_lib.text import bpe
from course_lib.text.batches import shuffled_windows
from course_lib.text.chat import END_OF_TEXT
from course_lib.training.settings import TrainSettings

HERE = processor_name()


@pytest.fixture(scope="module")
def corpus():
    rng = random.Random(0)
    words = "the a cat dog sat ran on under mat tree and then it was red big".split()
    documents = tuple(" ".join(rng.choices(words, k=60)) + "." for _ in range(40))
    tokenizer = bpe.train_bpe(documents, 280, special_tokens=[END_OF_TEXT])
    return ladder.LadderCorpus(documents[:35], documents[35:], tokenizer)


@pytest.fixture(autouse=True)
def small(monkeypatch, corpus):
    monkeypatch.setattr(ladder, "LADDER_CORPORA", {"small web": lambda: corpus})
    ladder.ladder_corpus.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    ladder.ladder_corpus.cache_clear()


def build(vocab_size):
    return Llama(LlamaSettings(vocab_size, 32, d_model=16, n_layers=1, n_heads=2, tied=True))


TINY = RecordRecipe("tiny", build, TrainSettings(3), WindowBatches((0.0, 4, 32)))


def entry(name, bits, budget=1.0, processor=HERE, seconds=1.0):
    runs = tuple(RecordRun(i, each, seconds, 9, 99, 999) for i, each in enumerate(bits))
    return RecordEntry(name, budget, processor, runs)


# The clock
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED_RECIPES)
def test_shipped_recipes_run_and_are_scored(name):
    run = run_entry(replace(SHIPPED_RECIPES[name](), batches=WindowBatches((0.0, 2, 32))), 0, 0.5)
    assert 0 < run.bits_per_byte < 12 and run.steps >= 1
    assert run.tokens == 64 * run.steps and 0.4 < run.seconds < 0.8


def test_the_run_ends_by_the_processors_clock_and_the_rate_falls_with_it(monkeypatch):
    now, kept = [0.0], {}
    monkeypatch.setattr(time, "process_time", lambda: now[0])
    real = record.train

    def watched(*args):
        kept["history"] = real(*args)
        return kept["history"]

    def batches(tokens, seed, progress):
        for inputs, targets in shuffled_windows(tokens, 4, 32, seed):
            yield inputs, targets
            now[0] += 1.0  # each step takes a second, seen when the next batch is fetched
            kept.setdefault("progress", []).append(progress())

    monkeypatch.setattr(record, "train", watched)
    run = run_entry(replace(TINY, settings=TrainSettings(10**6), batches=batches), 0, 10.0)
    assert run.steps == 11 or run.steps == 10
    assert kept["history"].ended == "time" and kept["progress"][:2] == [0.1, 0.2]
    rates = kept["history"].rate
    assert rates[5] > rates[8] > rates[9]


def test_the_same_seed_gives_the_same_score_and_another_another():
    first, again, other = (run_entry(TINY, seed, 60.0) for seed in (0, 0, 1))
    assert first.bits_per_byte == again.bits_per_byte != other.bits_per_byte


def test_an_entry_that_takes_too_long_is_refused_with_both_numbers():
    def dawdle(vocab_size):
        end = time.process_time() + 1.0
        while time.process_time() < end:
            pass
        return build(vocab_size)

    with pytest.raises(EntryRefused, match=r"1\.\d processor seconds were spent of 0.2"):
        run_entry(replace(TINY, build=dawdle, settings=TrainSettings(1)), 0, 0.2)


def test_a_run_that_was_stopped_is_no_entry():
    def stop(model, inputs, targets):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="tiny, seed 0, was stopped"):
        run_entry(replace(TINY, objective=stop), 0, 9.0)


@pytest.mark.parametrize("when", ["before", "while it runs"])
def test_more_threads_than_one_are_refused(when):
    def two_threads(vocab_size):
        torch.set_num_threads(2)
        return build(vocab_size)

    if when == "before":
        torch.set_num_threads(2)
    with pytest.raises(EntryRefused, match="2 threads"):
        run_entry(TINY if when == "before" else replace(TINY, build=two_threads), 0, 9.0)


# The held-out text
# --------------------------------------------------------------------------------------------------


def test_batches_of_the_held_out_text_are_refused(corpus):
    def leak(tokens, seed, progress):
        ids = torch.tensor(corpus.tokenizer.encode(corpus.held_out[0]))
        return shuffled_windows(torch.cat([tokens, ids]), 64, 32, seed)

    with pytest.raises(EntryRefused, match="held_out"):  # by its name
        run_entry(replace(TINY, batches=leak), 0, 9.0)
    refuse_held_out_windows("fair", [next(shuffled_windows(corpus.tokens, 64, 32))[0]])
    ids = torch.tensor([corpus.tokenizer.encode(corpus.held_out[0])[:32]])
    with pytest.raises(EntryRefused, match="17 stretches of 16 tokens"):  # by its content
        refuse_held_out_windows("leak", [ids])


def hidden_leak(tokens):
    return ladder.ladder_corpus("small web").held_out


class Thief:
    def __call__(self, vocab_size):
        hidden_leak(None)
        return build(vocab_size)


@pytest.mark.parametrize(
    "changed",
    [
        {"build": lambda vocab_size: (hidden_leak(None), build(vocab_size))[1]},
        {"build": Thief()},
        {"batches": lambda tokens, seed, progress: getattr(ladder, "ladder_corpus")},  # noqa: B009
        {"objective": lambda model, x, y: hidden_leak(x)},
        {"settings": TrainSettings(3, optimizer=lambda model: hidden_leak(model))},
    ],
)
def test_code_that_names_the_held_out_text_is_refused(changed):
    with pytest.raises(EntryRefused, match="ladder_corpus"):
        run_entry(replace(TINY, **changed), 0, 9.0)


class NoMask(Llama):
    """A Llama that adds to each token what the mean of all tokens is, later ones too."""

    def hidden(self, ids, caches=None, padding=None):
        hidden = super().hidden(ids, caches, padding)
        return hidden + hidden.mean(1, keepdim=True)


def test_a_model_that_looks_ahead_is_refused():
    settings = LlamaSettings(300, 32, d_model=16, n_layers=1, n_heads=2, tied=True)
    with pytest.raises(EntryRefused, match=r"looks ahead: logits of the first 16 tokens move by"):
        run_entry(replace(TINY, build=lambda _: NoMask(settings)), 0, 9.0)


def test_honest_code_of_ones_own_is_not_refused():
    class MyModel(Llama):
        def forward(self, ids):
            return super().forward(ids)

    settings = LlamaSettings(300, 32, d_model=16, n_layers=1, n_heads=2, tied=True)
    run_entry(replace(TINY, build=lambda _: MyModel(settings)), 0, 9.0)


# The judge
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "t, freedom, p",  # of the tables in any book of statistics
    [(6.314, 1, 0.05), (3.365, 5, 0.01), (2.764, 10, 0.01), (1.372, 10, 0.10), (2.326, 1e5, 0.01)],
)
def test_student_as_in_the_tables(t, freedom, p):
    assert student_tail(t, freedom) == pytest.approx(p, rel=2e-3)
    assert student_tail(-t, freedom) == pytest.approx(1 - p, rel=2e-3)


def test_welch_by_a_permutation_test_of_the_same_scores():
    rng = random.Random(1)
    a, b = [rng.gauss(0, 1) for _ in range(30)], [rng.gauss(0.5, 1) for _ in range(30)]
    lead, pool, above = statistics.mean(b) - statistics.mean(a), a + b, 0
    for _ in range(4000):
        rng.shuffle(pool)
        above += statistics.mean(pool[30:]) - statistics.mean(pool[:30]) >= lead
    assert welch_p_value(a, b) == pytest.approx(above / 4000, abs=0.015)


def test_equals_are_let_through_as_often_as_the_level_says():
    rng, tries = random.Random(0), 400
    passed = 0
    for _ in range(tries):
        scores = [[rng.gauss(1, s) for _ in range(5)] for s in (0.01, 0.02)]
        passed += welch_p_value(*scores) < 0.05
    assert abs(passed / tries - 0.05) < 4 * math.sqrt(0.05 * 0.95 / tries)


def test_no_spread_at_all():
    assert welch_p_value([1.0, 1.0], [2.0, 2.0]) == 0 and welch_p_value([1.0] * 2, [1.0] * 2) == 1
    with pytest.raises(ValueError, match="1 and 2 scores"):
        welch_p_value([1.0], [1.0, 2.0])


def test_a_clear_lead_is_a_record_and_a_lucky_seed_is_none():
    best = entry("best", [1.00, 1.01, 0.99, 1.00, 1.01])
    assert judge_entry(entry("new", [0.95, 0.96, 0.95, 0.94, 0.96]), best).accepted
    lucky = judge_entry(entry("lucky", [0.80, 1.01, 1.00, 1.00, 0.99]), best)
    assert not lucky.accepted and 0.01 < lucky.p < 0.5 and lucky.gain > 0
    worse = judge_entry(entry("worse", [1.1, 1.11, 1.1, 1.12, 1.1]), best)
    assert not worse.accepted and worse.p > 0.99 and "no new record" in worse.reason


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"budget": 2.0}, "budget 2.0"),
        ({"processor": "another"}, "processor another"),
        ({"bits": [1.0] * 4}, "4 runs of 4 seeds"),
        ({"seconds": 1.5}, "1.5 processor seconds were spent of 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed, message):
    made = {"bits": [1.0, 1.1, 1.2, 1.3, 1.4]} | changed
    with pytest.raises(ValueError, match=message):
        judge_entry(entry("new", **made), entry("best", [1.0, 1.1, 1.2, 1.3, 1.4]))


def test_the_same_seed_five_times_is_no_five_seeds():
    new = entry("new", [0.9] * 5)
    new = replace_runs(new, [replace(run, seed=0) for run in new.runs])
    with pytest.raises(ValueError, match="5 runs of 1 seeds"):
        judge_entry(new, entry("best", [1.0, 1.1, 1.2, 1.3, 1.4]))


def replace_runs(old, runs):
    return RecordEntry(old.name, old.budget, old.processor, tuple(runs), old.about)


# The table
# --------------------------------------------------------------------------------------------------


def test_the_table_keeps_entries_and_compares_those_of_this_processor_and_budget(tmp_path):
    path = tmp_path / "my" / "record.json"
    table = RecordTable(path)
    with pytest.raises(ValueError, match="run the shipped recipes here first"):
        table.enter(entry("mine", [0.9, 0.91, 0.9, 0.9, 0.91]))
    table.add(entry("elsewhere", [0.1] * 5, processor="another"))
    table.add(entry("longer", [0.2] * 5, budget=60.0))
    table.add(entry("plain", [1.0, 1.01, 1.0, 1.0, 1.01]))
    verdict = table.enter(entry("mine", [0.9, 0.91, 0.9, 0.9, 0.91]))
    assert verdict.accepted and verdict.gain == pytest.approx(0.1)
    again = RecordTable(path)
    assert again.entries == table.entries and len(again.entries) == 4
    assert [each.name for each in again.rivals(1.0)] == ["mine", "plain"]
    again.add(entry("mine", [0.8, 0.81, 0.8, 0.8, 0.81]))  # takes the old one's place
    assert [each.name for each in RecordTable(path).rivals(1.0)] == ["mine", "plain"]
    text = record_table_text(again.rivals(1.0))
    assert text.index("| mine | 0.8040 (0.8000-0.8100) |") < text.index("| plain |")


def test_a_damaged_table_is_put_aside(tmp_path):
    path = tmp_path / "record.json"
    RecordTable(path).add(entry("plain", [1.0] * 5))
    path.write_text(path.read_text().replace("1.0", "0.5", 1))
    with pytest.warns(RuntimeWarning, match="damaged.*It is now record.json.damaged"):
        table = RecordTable(path)
    assert table.entries == [] and (tmp_path / "record.json.damaged").exists()


def test_the_shipped_recipes_are_run_where_they_are_missing(tmp_path, monkeypatch):
    made = []
    recipes = {name: lambda name=name: replace(TINY, name=name) for name in ("plain", "best")}
    monkeypatch.setattr("course_lib.experiments.record_recipes.SHIPPED_RECIPES", recipes)
    monkeypatch.setattr(
        "course_lib.experiments.record_recipes.run_recipe",
        lambda recipe, *_: made.append(recipe.name) or entry(recipe.name, [1.0] * 5),
    )
    table = RecordTable(tmp_path / "record.json")
    for _ in range(2):
        run_shipped(table, 1.0, names=["plain", "best"])
    assert made == ["plain", "best"]


def test_the_command_judges_a_recipe_of_ones_own(tmp_path, capsys):
    code = (
        "from course_lib.experiments.record import WindowBatches\n"
        "from course_lib.experiments.record_recipes import speedrun_recipe\n"
        "size = dict(d_model=16, n_layers=1, n_heads=2, max_seq_len=32)\n"
        "recipe = speedrun_recipe('mine', batches=WindowBatches((0.0, 4, 32)), **size)\n"
    )
    (tmp_path / "mine.py").write_text(code)
    table = str(tmp_path / "record.json")
    seeds = [str(seed) for seed in range(5)]
    asked = ["--table", table, "--seconds", "0.2", "--shipped", "plain", "--seeds", *seeds]
    main([*asked, "--entry", str(tmp_path / "mine.py")])
    told = capsys.readouterr().out
    assert "mine, seed 4:" in told and "record: mine" in told and "| plain |" in told
    (tmp_path / "none.py").write_text("")
    with pytest.raises(SystemExit):
        main([*asked, "--entry", str(tmp_path / "none.py")])
    assert "defines no `recipe`" in capsys.readouterr().err


def test_run_recipe_tells_of_each_seed():
    told = []
    found = run_recipe(TINY, 60.0, (3, 4), told.append)
    assert found.budget == 60.0 and [run.seed for run in found.runs] == [3, 4]
    assert found.bits == [run.bits_per_byte for run in found.runs]
    assert told[0].startswith("tiny, seed 3: ") and len(told) == 2


def test_batches_change_their_size_with_the_clock():
    with pytest.raises(ValueError, match="must begin at 0.0"):
        WindowBatches((0.5, 1, 1))
    now = [0.0]
    made = WindowBatches((0.0, 2, 4), (0.5, 1, 8))(torch.arange(90), 0, lambda: now[0])
    shapes = []
    for now[0] in (0.0, 0.49, 0.5, 1.0):
        shapes.append(tuple(next(made)[0].shape))
    assert shapes == [(2, 4), (2, 4), (1, 8), (1, 8)]


def test_a_recipe_of_switches_says_them_to_the_model():
    recipe = speedrun_recipe("x", {"muon_lr": 0.5}, n_layers=2, ngram_order=3, max_seq_len=32)
    assert recipe.build(40).settings.ngram_order == 3
    assert recipe.settings.optimizer(recipe.build(40))[0].param_groups[0]["lr"] == 0.5
    assert recipe.batches.phases == ((0.0, 16, 32),)
