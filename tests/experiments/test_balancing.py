"""The runs of ways to balance are made and kept; the leaking router is V3's but for the leak."""

import json

import pytest
import torch

from course_lib.experiments import balancing, ladder, ladder_runs
from course_lib.layers.moe import SigmoidRouter
from tests.experiments.test_ladder_runs import corpus, small  # noqa: F401


def routers(bias):
    torch.manual_seed(0)
    right = SigmoidRouter(6, 8, 3, scale=2.5)
    leaky = balancing.LeakyRouter(6, 8, 3, scale=2.5)
    leaky.load_state_dict(right.state_dict())
    for router in (right, leaky):
        router.bias += bias
    return right, leaky


def test_a_bias_of_zero_does_not_leak():
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    right, leaky = (router(x) for router in routers(torch.zeros(8)))
    torch.testing.assert_close(right.weights, leaky.weights)


def test_any_other_changes_the_weights_and_not_the_choice():
    bias = torch.randn(8, generator=torch.Generator().manual_seed(1)) / 10
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    right, leaky = (router(x) for router in routers(bias))
    assert torch.equal(right.chosen, leaky.chosen)
    biased = (right.scores + bias).gather(-1, right.chosen)
    torch.testing.assert_close(leaky.weights, 2.5 * biased / biased.sum(-1, keepdim=True))
    assert (right.weights - leaky.weights).abs().max() > 0.01


def test_runs_are_kept_and_not_made_twice(small, tmp_path, capsys):  # noqa: F811
    command = ["--out", str(tmp_path), "--seeds", "0", "--steps", "8"]
    balancing.main(command)
    runs = balancing.balancing_runs(tmp_path)
    assert [run["balanced_by"] for run in runs] == list(balancing.balancing_rungs())
    assert all(len(run["violation_in_training"]) == 8 and run["seed"] == 0 for run in runs)
    assert capsys.readouterr().out.count("bits per byte") == len(runs)
    balancing.main(command)
    assert capsys.readouterr().out == "" and balancing.balancing_runs(tmp_path) == runs
    with pytest.raises(SystemExit):
        balancing.main([*command[:-1], "7"])
    assert "--steps 7 is below 8" in capsys.readouterr().err


def test_the_stored_runs_are_those_of_the_command():
    runs = json.loads((balancing.BALANCING_FOLDER / "runs.json").read_text())
    keys = {(run["balanced_by"], run["seed"]) for run in runs}
    assert keys == {(name, seed) for name in balancing.balancing_rungs() for seed in (0, 1, 2)}
    assert {run["steps"] for run in runs} == {balancing.STEPS}
    assert ladder_runs.BIAS_SPEED == 0.01 and balancing.CORPUS in ladder.LADDER_CORPORA
