"""Merges: samples are right ones, runs are the same for every seed, and the record holds them."""

import pytest
import torch

from course_lib.alignment.merging import TOKEN_LOSSES, specialists_loss
from course_lib.alignment.mixed_task import rows_by_task
from course_lib.experiments import merging_specialists as merging


def test_the_record_holds_every_run(tmp_path):
    work = merging.MergingRuns(0, tmp_path)  # nothing is made before it is called
    for make, seeds in ((merging.model_runs, [0]), (merging.merge_runs, [0, 1, 2])):
        names = [(table, name) for table, name, _ in make(work)]
        assert len(set(names)) == len(names)
        for table, name in names:
            found = merging.read_merging_runs(table)[name]
            assert [run["seed"] for run in found] == seeds, f"{name} of {table}"


@pytest.mark.parametrize("table", ["merges", "long merges"])
def test_merges_read_as_many_tokens_each(table):
    found = merging.read_merging_runs(table)
    learnt = [run["tokens"] for way, runs in found.items() for run in runs if run["tokens"]]
    assert len(learnt) == 12 and max(learnt) < 1.15 * min(learnt)
    assert merging.merge_settings("mixed RL").n_questions * 8 == merging.MERGE_ROWS


@pytest.mark.parametrize("steps", [merging.MERGE_STEPS, merging.LONG_MERGE_STEPS])
def test_each_way_has_the_rate_that_was_best_with_another_seed(steps):
    swept = merging.read_swept_rates(steps)
    assert swept.keys() == merging.MERGE_RATES.keys()
    for way, right in swept.items():
        assert len(right) == len(merging.SWEPT_RATES)
        best = merging.SWEPT_RATES[right.index(max(right))]
        assert merging.merge_settings(way, steps).lr == best
    (seed,) = {run["seed"] for runs in merging.read_merging_runs("rates").values() for run in runs}
    assert seed == merging.TUNING_SEED not in (0, 1, 2)


def test_the_stored_specialists_are_those_of_the_record():
    start = merging.load_merging_model("start")
    found = merging.measure_merged(start, n=100, pages=False)
    told = merging.read_merging_runs("models")
    assert found["sums"] == pytest.approx(told["start"][0]["sums"], abs=0.15)
    for task, other in (("sums", "sorting"), ("sorting", "sums")):
        found = merging.measure_merged(merging.load_merging_model(task), n=100, pages=False)
        run = told[f"{task} alone"][0]
        assert found[task] == pytest.approx(run[task], abs=0.12)
        assert found[other] == pytest.approx(run[other], abs=0.12)


def test_a_batch_of_a_number_is_always_the_same_and_both_losses_read_it():
    start = merging.load_merging_model("start")
    one, same, other = (merging.sampled_batch(start, "one token", 5, i) for i in (0, 0, 1))
    assert one.answers == same.answers != other.answers
    rows, teachers = rows_by_task(one.questions), {name: start for name in merging.TASKS}
    for loss in TOKEN_LOSSES.values():
        assert abs(specialists_loss(start, teachers, rows, one.completions, loss).item()) < 1e-4
    practised = merging.practice_loss(start, merging.sampled_batch(start, "mixed RL", 5, 0))
    assert practised.requires_grad and torch.isfinite(practised)


def test_examples_that_teach_a_merge_earned_full_marks(tmp_path):
    work = merging.MergingRuns(0, tmp_path)
    work.specialists = {name: merging.load_merging_model(name) for name in merging.TASKS}
    examples = work.samples(steps=1)
    assert 16 <= len(examples) <= 32, "16 questions for each specialist, most answered well"
    texts = [work.tokenizer.decode(example.completion[:-1]) for example in examples]
    assert all(text.endswith("</answer>") for text in texts)
