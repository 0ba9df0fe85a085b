"""The figure of six unnamed runs says what their logs say."""

import math

import pytest

from course_lib.experiments.rl_failure_runs import load_rl_lab
from course_lib.lab.explore import rl_curves as explore
from tests.lab.explore.test_inference import alts


def test_each_run_tells_its_ends():
    lab = load_rl_lab()
    told = alts(explore.choose_run({name: run.history.measures for name, run in lab.items()}))
    assert len(told) == 7
    for text, (name, run) in zip(told, lab.items(), strict=True):
        reward = [x for x in run.history.measures["reward"] if not math.isnan(x)]
        assert f"Run {name}," in text
        assert f"reward from {reward[0]:.2g} to {reward[-1]:.2g}" in text
        assert all(title in text for title, _ in explore.LOG_PANELS)


def test_steps_without_a_number_leave_a_gap():
    logs = {"healthy": {"reward": [0.1, 0.2]}, "A": {"reward": [math.nan, 0.3, 0.4, math.nan]}}
    logs["A"] |= {"accuracy": [0.0], "length": [1.0], "entropy": [1.0], "sampling gap": [0.0]}
    logs["A"]["length pays"] = [0.5]
    assert "reward from 0.3 to 0.4" in alts(explore.choose_run(logs))[1]


def test_a_sound_run_is_needed():
    with pytest.raises(ValueError, match="no run 'healthy' among A"):
        explore.choose_run({"A": {}})
