"""The figures of lesson 05 show the numbers that they claim to show."""

import re

import pytest
import torch
import torch.nn.functional as F

from course_lib.lab.explore import layer_norm as explore


def numbers(frame: str) -> list[float]:
    return [
        float(found) for found in re.findall(r"text-align:center'>(-?[\d.e+-]+)</div></div>", frame)
    ]


def stack_of(widget):
    return widget.children[-1]


def test_four_numbers_shows_what_torch_computes():
    widget = explore.four_numbers(eps=1e-5)
    for row, scale in zip(stack_of(widget).children, explore.SCALES, strict=True):
        for frame, shift in zip(row.children, explore.SHIFTS, strict=True):
            x = scale * (torch.tensor([1.0, 7, 7, 9]) + shift)
            want = torch.cat([x, F.layer_norm(x, (4,)), F.rms_norm(x, (4,), eps=1e-5)])
            assert numbers(frame.value) == pytest.approx(want.tolist(), rel=1e-3, abs=1e-6)


def test_depth_shows_each_stack_once_and_begins_with_the_deep_one():
    asked = []

    def measure(n, scale):
        asked.append((n, scale))
        return {"none": ([1.0, n], [2.0, scale], [1.0, 0.5])}

    widget = explore.depth(measure, depths=(2, 30), scales=(0.5, 1.0))
    assert asked == [(2, 0.5), (2, 1.0), (30, 0.5), (30, 1.0)]
    assert (
        "30 layers, weight scale 1." in widget.still
        and "stream 30, gradient 2, cosine 0.50" in widget.still
    )


def test_a_run_that_breaks_is_named_in_words():
    calm, broken = torch.full((4, 3, 2), 2.5), torch.full((4, 3, 2), 2.5)
    broken[2:, :, 1] = torch.nan
    widget = explore.learning_rates(
        {"calm": calm, "bold": broken}, [0.01, 0.1], unigram=2.8, four_gram=1.5
    )
    slow, fast = (frame.value for frame in stack_of(widget).children)
    assert "all stay in the picture" in slow and "above the picture: bold." in fast
