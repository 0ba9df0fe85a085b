"""The figures of lesson 06 show the numbers that they claim to show."""

import html
import math
import re

import matplotlib.pyplot as plt
import pytest
import torch

from course_lib.lab.explore import attention as explore

KEYS = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
VALUES = torch.tensor([10.0, 20.0])


def frames_of(widget) -> list[str]:
    return [frame.value for frame in widget.children[-1].children]


def test_the_turned_query_tells_the_softmax_of_its_own_angle():
    widget = explore.turn_the_query(KEYS, VALUES, length=1.0, step=45)
    weight = 1 / (1 + math.exp(1 - 0))  # at 90 degrees the scores are 0 and 1
    answer = 10 * weight + 20 * (1 - weight)
    upwards = next(frame for frame in frames_of(widget) if "points at 90 degrees" in frame)
    assert f"key 1 gets {weight:.2f}, key 2 gets {1 - weight:.2f}" in upwards
    assert f"The output is {answer:.1f}." in upwards


def test_entropy_is_that_of_coins_and_dice():
    table = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    assert explore.entropy_bits(table).tolist() == [0, 1, 2]


def test_the_scale_keeps_the_entropy_up_at_every_width():
    told = [
        [float(bits) for bits in re.findall(r"leave ([\d.]+) bits", frame)]
        for frame in frames_of(explore.scale_dial(widths=(1, 16, 256)))
    ]
    assert told[0][0] == told[0][1], "at width 1 both are the same"
    assert told[-1][0] < 0.5 < 2 < told[-1][1]


def test_the_copy_is_that_of_the_letter_after_the_first_one():
    last = frames_of(explore.two_layers("kotrebko"))[-1]
    assert "→ t" in last and "after o" in last


@pytest.fixture
def weights():
    return torch.tensor([[1.0, 0, 0], [0.3, 0.7, 0], [0.02, 0.9, 0.08]])


def test_a_query_letter_names_the_positions_with_most_weight(weights):
    widget = explore.heads({"layer 1, head 1": weights}, "a<b", start=(0, 2))
    assert "<b>b</b> at position 3 attends to" in widget.still
    told = html.unescape(widget.still).rpartition("attends to ")[2]
    assert told.startswith("<b><</b> at position 2 (90 %), <b>b</b> at position 3 (8 %).")


def test_every_head_has_its_table_and_the_marked_one_stands_out(weights):
    fig = explore.tables({"one": weights, "two": weights.T}, "abc", marked=["two"])
    colours = {ax.get_title(): ax.title.get_color() for ax in fig.axes}
    assert set(colours) == {"one", "two"} and colours["one"] != colours["two"]
    assert fig.axes[0].get_ylabel() == "query letter"
    assert fig.axes[0].images[0].get_array().tolist() == weights.tolist()
    plt.close(fig)
