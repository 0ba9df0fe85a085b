"""The figures of lesson 11 show the law's best size for each budget, and the cheapest size for each
number of answers."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib.experiments.scaling_fit import EPOCH_LAW, LossLaw
from course_lib.lab.explore import scaling_laws as explore

LAW = LossLaw(E=1.8, A=60.0, B=400.0, a=0.4, b=0.4)
SIZES = np.geomspace(3e3, 3e6, 61)
BUDGETS = (1e10, 1e11, 1e12)


def frames_of(widget) -> list[str]:
    return [frame.value for frame in widget.children[-1].children]


def test_the_slider_tells_the_best_size_of_each_budget():
    cost = {float(n): 6 * n for n in SIZES}
    widget = explore.budget_slider(LAW, {1e11: [(1e4, 4.0), (3e4, 3.9)]}, BUDGETS, cost, start=1)
    drawn = frames_of(widget)
    assert len(drawn) == 3 and widget.still == drawn[1]
    for budget, frame in zip(BUDGETS, drawn, strict=True):
        best = SIZES[np.abs(np.log(SIZES / LAW.best_parameters(budget))).argmin()]
        alt = re.search('alt="([^"]*)"', frame)[1]
        assert f"best size {explore.short_number(best)} parameters" in alt


def test_more_answers_make_the_cheapest_model_smaller():
    n = EPOCH_LAW.best_parameters(1e22)
    widget = explore.served_tokens(EPOCH_LAW, n, 1e22 / 6 / n, (0.0, 1e12, 1e14))
    told = [
        re.search(r"least at ([\d.]+) [GM] parameters, (\d+) tokens", f) for f in frames_of(widget)
    ]
    sizes, ratios = ([float(match[i]) for match in told] for i in (1, 2))
    assert sizes == sorted(sizes, reverse=True) and ratios == sorted(ratios)
    assert ratios[0] == pytest.approx(EPOCH_LAW.tokens_per_parameter(1e22), rel=0.2)
    assert ratios[-1] > 4 * ratios[0]


def test_no_picture_cuts_off_what_it_is_about(monkeypatch):
    drawn = []
    monkeypatch.setattr(explore.frames, "image", lambda fig, alt: drawn.append(fig.axes[0]) or alt)
    monkeypatch.setattr(explore.frames, "slideshow", lambda *_, **__: None)
    n, cost = EPOCH_LAW.best_parameters(1e22), {float(n): 6 * n for n in SIZES}
    explore.served_tokens(EPOCH_LAW, n, 1e22 / 6 / n, (0.0, 1e12, 3e14))
    explore.budget_slider(LAW, {1e12: [(1e5, 1.2)]}, BUDGETS, cost)  # far below the law's floor
    assert len(drawn) == 3 + len(BUDGETS)
    for ax in drawn:
        low, high = ax.get_ylim()
        points = [y for line in ax.lines if line.get_marker() in "os" for y in line.get_ydata()]
        assert points and all(low < y < high for y in points)
        plt.close(ax.figure)


def test_tokens_for_a_loss_reach_it():
    sizes = np.array([1e9, 1e10])
    tokens = explore.tokens_for_loss(EPOCH_LAW, sizes, goal=2.3)
    assert EPOCH_LAW.loss(sizes, tokens) == pytest.approx([2.3, 2.3])


def test_numbers_are_short():
    numbers = {820: "820", 17_024: "17 k", 187_000: "187 k", 2.5e10: "25 G", 1.6e12: "1.6 T"}
    assert {n: explore.short_number(n) for n in numbers} == numbers
