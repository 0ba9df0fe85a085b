"""The figures of lesson 04: what they tell in words agrees with the arithmetic."""

import re

import torch

from course_lib.lab.explore import embedding as explore


def test_the_dial_tells_the_same_score_at_every_place():
    widget = explore.rotary_dial(starts=(0, 5, 31), distances=range(6))
    told = [[float(re.search(r"it is (-?[\d.]+)\.\"", frame.value)[1]) for frame in row.children]
            for row in widget.children[2].children]  # fmt: skip
    assert told[0] == told[1] == told[2] and len(set(told[0])) == 6


def test_the_geometry_tells_the_share_of_neighbours_of_one_class():
    apart = torch.tensor([[1.0, 0.1], [1.0, 0.2], [-1.0, 0.1], [-1.0, 0.2]])
    widget = explore.geometry(
        {0: apart[[0, 2, 1, 3]], 9: apart}, ["left", "left", "right", "right"]
    )
    shares = [re.search(r"For (\d+)%", frame.value)[1] for frame in widget.children[1].children]
    assert shares == ["0", "100"]


def test_neighbours_are_shown_as_text_not_as_html():
    widget = explore.neighbours(["<b>", "a"], [["<i>"], ["x"]], [["&"], ["y"]])
    first = widget.children[1].children[0].value
    assert "&lt;b&gt;" in first and "&lt;i&gt;" in first and "&amp;" in first
