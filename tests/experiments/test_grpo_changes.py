"""The experiments of lesson 24: what each run changes, and a record that goes on where it ended."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from course_lib.alignment.rl_loop import RLHistory
from course_lib.experiments import ablations, grpo_changes
from course_lib.experiments.grpo_changes import (
    CHANGES,
    SHORT,
    STRICT_CONTROLS,
    all_runs,
    grpo_runs,
    measured,
    rounded_curves,
)
from course_lib.experiments.run_records import RunRecords
from course_lib.text.problems import ChainProblem


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_a_setting_and_changes_something(name):
    changed = replace(SHORT, **CHANGES[name])
    assert (changed != SHORT) == (name != "ours")
    same_samples = ("groups", "batch", "half", "twice")
    if name.split()[0] in same_samples:
        counts = (changed.steps * changed.n_questions * changed.group_size, 16 * 8 * 16)
        assert counts[0] == counts[1], "these are compared at equal samples"


def test_the_strict_runs_take_over_none_one_two_or_three_differences():
    assert list(STRICT_CONTROLS) == [
        "none", "average", "spread", "clip", "average + spread", "average + clip", "spread + clip",
        "all three",
    ]  # fmt: skip
    stages = {name: ablations.strict_stage(some) for name, some in STRICT_CONTROLS.items()}
    assert len(set(stages.values())) == 8 and stages["none"] == "strict"
    some = [stages[name] for name in list(STRICT_CONTROLS)[1:-1]]
    assert set(ablations.STRICT_ABLATIONS) == {f"rare-tags-{stage}" for stage in some}


def test_a_record_goes_on_where_it_ended(tmp_path):
    made = []

    def run(name):
        made.append(name)
        return {"after": {"accuracy": 0.5}}

    for names in (["a"], ["a", "b"]):
        records = RunRecords(tmp_path / "runs.json")
        for name in names:
            records.get(lambda name=name: run(name), table="changes", name=name, seed=1)
    records.get(lambda: run("c"), table="changes", name="a", seed=0)
    assert made == ["a", "b", "c"]
    assert [run["seed"] for run in grpo_runs("changes", tmp_path)["a"]] == [0, 1]
    assert len(json.loads((tmp_path / "runs.json").read_text())) == 3


def test_half_a_run_is_not_recorded():
    with pytest.raises(KeyboardInterrupt, match="stopped after 2 steps"):
        measured(
            torch.nn.Identity(), RLHistory(loss=[1.0, 1.0], seconds=[1.0, 2.0], ended="interrupted")
        )


def test_curves_are_rounded_and_only_those_that_were_measured():
    history = RLHistory(measures={"reward": [0.123456], "other": [1.0]})
    assert rounded_curves(history) == {"reward": [0.1235]}


def test_the_leaky_verifier_has_the_hole_that_the_lesson_shows():
    chain = ChainProblem((7, 5, 3), (1, -1))
    for text, paid in (("so 9", 1), ("so 19", 1), ("7, 8, 9, 10", 1), ("so 8", 0), ("", 0)):
        assert grpo_changes.LEAKY_VERIFIER(chain, text) == paid


def test_all_runs_are_named_once(tmp_path):
    keys = [tuple(key.values()) for key, _ in all_runs(tmp_path, (0, 1, 2))]
    assert len(keys) == len(set(keys)) == 3 * (len(CHANGES) + 1 + 2 + 8 + 1)
    assert asdict(SHORT)["n_questions"] * SHORT.group_size == 128
