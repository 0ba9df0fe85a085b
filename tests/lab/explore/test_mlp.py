"""The figures of lesson 07 show the numbers that they claim to show."""

import html
import re

import pytest
import torch
import torch.nn.functional as F

from course_lib.lab.explore import mlp as explore


def frames_of(widget) -> list[str]:
    return [frame.value for frame in widget.children[-1].children]


def test_swish_is_half_a_line_then_silu_then_nearly_relu():
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(explore.swish(x, 0), x / 2)
    torch.testing.assert_close(explore.swish(x, 1), F.silu(x))
    torch.testing.assert_close(explore.swish(x, 1e4), x.relu())


def test_the_dial_names_curve_and_facts_of_its_own_sharpness():
    widget = explore.sharpness_dial({0: [5, 7, 6], 1: [9, 9, 9]}, n_facts=9, start=1)
    straight, bent = frames_of(widget)
    assert (
        "Sharpness 0: the curve is -1.00 at -2 and 1.00 at 2. The memory stored 5 to 7 of 9 facts."
        in straight
    )
    assert f"{F.silu(torch.tensor(2.0)):.2f} at 2. The memory stored 9 of 9 facts." in bent
    assert widget.still == bent


@pytest.fixture
def walk():
    weights = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    probabilities = {"the word": {"red": 0.25, "a<b": 0.75}, "attention": {"red": 0.5, "a<b": 0.5}}
    return explore.Walk(["Mir", "sky", "pilot"], weights, probabilities, right="red")


def test_a_walk_tells_who_is_attended_to_only_after_attention(walk):
    widget = explore.walk({"sky pilot": walk}, start=(0, 1))
    before, after = (frame.value for frame in widget.children[-1].children[0].children)
    assert "No head has attended to anything yet." in before and "head 1" not in before
    assert "head 1: <b>Mir</b> 70%" in after and "head 2: <b>pilot</b> 80%" in after
    assert widget.still == after


def test_a_walk_shows_each_probability_and_marks_the_right_answer(walk):
    widget = explore.walk({"sky pilot": walk}, start=(0, 0))
    probabilities = re.findall(r"</span> (\d+)%( ◀ right)?", widget.still)
    assert probabilities == [("25", " ◀ right"), ("75", "")]
    assert "a&lt;b" in widget.still and "read after the word" in widget.still


def test_a_neuron_is_told_by_its_strongest_pair_and_its_strongest_pushes():
    activations = torch.zeros(3, 2)
    activations[2, 1] = -4.0
    pushes = {"red": 0.5, "blue": -1.0, "gold": 0.1}
    names = ["Mir", "Nox", "Oro"], ["sky", "sea"]
    widget = explore.neurons(
        {"7": activations, "9": -activations}, {"7": pushes, "9": pushes}, *names
    )
    told = [html.unescape(re.search(r'alt="([^"]*)"', frame)[1]) for frame in frames_of(widget)]
    assert told[0].startswith(
        "Neuron 7 is furthest from 0 for Oro and sea, by -4.0;"
        " each unit of activation lifts red most"
    )
    assert "by 4.0" in told[1] and told[1].endswith("and lowers blue most.")
