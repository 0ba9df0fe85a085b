"""The figures of lesson 10 show the values, rates and schedules that they claim to show."""

import re

import numpy as np
import pytest
import torch

from course_lib.lab.explore import pretraining as explore
from course_lib.training.schedules import multi_step, warmup_cosine, warmup_stable_decay


def alts(widget) -> list[str]:
    """The alternative texts of a widget's frames."""
    return [re.search('alt="([^"]*)"', frame.value)[1] for frame in widget.children[-1].children]


def test_singular_values_follow_the_polynomial():
    matrix = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    before = torch.linalg.svdvals(matrix / matrix.norm()).numpy()
    np.testing.assert_allclose(
        explore.singular_values_after(matrix, 0), before, rtol=1e-4, atol=1e-6
    )
    after = explore.singular_values_after(matrix, 3)
    np.testing.assert_allclose(after, explore._iterated(before, 3), rtol=1e-3, atol=1e-4)
    widget = explore.newton_schulz(matrix, rounds=3, start=2)
    told = alts(widget)
    assert len(told) == 4 and f"{after.min():.2f}" in told[3] and "After 3 rounds" in told[3]


def test_rates_name_the_best():
    scores = {"one": dict.fromkeys((1.0, 2.0, 3.0, 4.0, 5.0), [2.0, 2.2]) | {3.0: [1.0, 1.1]}}
    widget = explore.rates(scores, start=(0, 2))
    told = [re.search('alt="([^"]*)"', frame.value)[1] for frame in
            widget.children[-1].children[0].children]  # fmt: skip
    assert "the best of the five" in told[2] and "1.05 above its best, at 3" in told[0]


@pytest.mark.parametrize(
    ("shape", "kept"), [(lambda progress: 1.0, 100), (warmup_stable_decay, 50), (multi_step, 80)]
)
def test_a_longer_run_shares_the_level_part(shape, kept):
    assert explore.shared_steps(shape, 100, 200) == pytest.approx(kept, abs=2)


def test_the_second_drop_of_multi_step_is_drawn(monkeypatch):
    drawn = []
    plot = explore.plt.Axes.plot
    monkeypatch.setattr(
        explore.plt.Axes,
        "plot",
        lambda ax, x, y, *a, **k: drawn.append(y) or plot(ax, x, y, *a, **k),
    )
    explore._schedules({"multi-step": multi_step, "level": lambda p: 1.0}, (100,), 0)
    assert drawn[0][-1] == pytest.approx(0.316**2) and drawn[0][340] == pytest.approx(0.316)


def test_a_cosine_shares_nearly_nothing():
    assert explore.shared_steps(warmup_cosine, 100, 200) < 20
    widget = explore.schedules({"cosine": warmup_cosine, "level": lambda p: 1.0}, (100, 200), 0)
    assert "level 100%" in alts(widget)[0]
