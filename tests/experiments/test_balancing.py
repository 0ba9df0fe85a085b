"""The runs of ways to balance are made and kept; the leaking router is V3's but for the leak."""

import pytest
import torch

from course_lib.experiments import balancing, ladder_runs
from course_lib.layers.moe import SigmoidRouter
from course_lib.models.deepseek import DeepSeekV3
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
    for name in balancing.balancing_rungs():
        (run,) = runs[name]
        assert len(run["violation_in_training"]) == 8 and run["seed"] == 0
    assert capsys.readouterr().out.count("bits per byte") == 1
    balancing.main(command)
    assert capsys.readouterr().out == "" and balancing.balancing_runs(tmp_path) == runs
    with pytest.raises(SystemExit):
        balancing.main([*command[:-1], "7"])
    assert "--steps 7 is below 8" in capsys.readouterr().err


def test_the_stored_runs_are_alike_but_for_the_balance():
    runs = balancing.balancing_runs()
    assert set(runs) == {*balancing.balancing_rungs(), *balancing.OF_THE_LADDER}
    for each in runs.values():
        assert [run["seed"] for run in each] == [0, 1, 2]
        for run in each:
            assert run["steps"] == balancing.STEPS and run["experts"] == 32
            assert run["parameters"] == runs["bias"][0]["parameters"]


def test_the_ladders_two_rungs_are_those_that_are_meant():
    rungs = [ladder_runs.BALANCING_RUNGS[name] for name in balancing.OF_THE_LADDER.values()]
    own = balancing.balancing_rungs()
    kinds = [rung.build(300) for rung in (*rungs, *own.values())]
    assert all(isinstance(model, DeepSeekV3) for model in kinds)
    assert len({model.settings for model in kinds}) == 1
    speeds = [rung.bias_speed for rung in (*rungs, own["bias, leaking"])]
    assert speeds == [0, ladder_runs.BIAS_SPEED, ladder_runs.BIAS_SPEED]
