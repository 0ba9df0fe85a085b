"""The figures of lesson 13 show the times and bytes that they claim to show."""

import re

import pytest

from course_lib.lab.explore import many_machines as explore
from course_lib.training.pipeline import (
    TimedItem,
    WorkItem,
    bubble_formula,
    one_f_one_b_order,
    schedule_times,
)
from course_lib.training.zero import zero_bytes


def boxes(svg):
    """(row, left, width, fill) of every box that is an item."""
    pattern = r'<rect x="([\d.]+)" y="(\d+)" width="([\d.]+)" height="24" fill="([^"]+)" stroke="wh'
    return [
        (int(y) // explore.ROW, float(x), float(width), fill)
        for x, y, width, fill in re.findall(pattern, svg)
    ]


def test_boxes_are_as_long_as_the_items_and_do_not_overlap():
    timed = schedule_times([one_f_one_b_order(stage, 2, 3) for stage in range(2)])
    drawn = boxes(explore.timeline(timed, "told"))
    assert len(drawn) == len(timed) == 12
    unit = (explore.WIDTH - explore.LEFT - 6) / max(t.end for t in timed)
    for (row, x, width, fill), t in zip(drawn, timed, strict=True):
        assert row == t.stage and fill == explore.LOOKS[t.item.kind, 0][0]
        assert width == pytest.approx(unit * (t.end - t.begin), abs=0.06)
        assert x == pytest.approx(explore.LEFT + unit * t.begin, abs=0.06)


def test_times_may_begin_at_any_hour():
    late = [TimedItem(0, WorkItem("F", 0), 1000.0, 1001.0)]
    ((_, x, _, _),) = boxes(explore.timeline(late, "told", unit="s"))
    assert x == explore.LEFT and "(1.00 s in all)" in explore.timeline(late, "told", unit="s")


def test_every_frame_tells_the_bubble_of_its_schedule():
    widget = explore.pipeline(n_stages=4, microbatches=(4, 8))
    stacks = widget.children[-1].children
    for (name, _), stack in zip(explore.SCHEDULES.items(), stacks, strict=True):
        for m, frame in zip((4, 8), stack.children, strict=True):
            bubble = bubble_formula(4, m, 2 if name == "interleaved" else 1)
            assert f"{name}, {m} micro-batches: the stages idle {bubble:.0%}" in frame.value
    assert "keeps the activations of up to 8 micro" in stacks[0].children[1].value
    assert "keeps the activations of up to 4 micro" in stacks[1].children[1].value
    assert widget.still == stacks[1].children[1].value


def test_names_are_escaped_in_timelines():
    shown = explore.timelines({"a<b": [TimedItem(0, WorkItem("F", 0), 0.0, 1.0)]}).data
    assert "a&lt;b: idle 0%" in shown and "a<b" not in shown


def test_the_bars_of_zero_are_the_formulas_and_what_is_too_much_is_red():
    widget = explore.zero(7_500_000_000, ranks=(1, 64), start=1)
    one, many = (frame.value for frame in widget.children[-1].children)
    for stage in range(4):
        total = zero_bytes(stage, 7_500_000_000, 64)
        assert f"stage {stage} keeps {total / 1e9:.1f} GB" in many
        parts = explore.kept_parts(stage, 7_500_000_000, 64)
        assert sum(parts.values()) == pytest.approx(total)
    assert one.count('font-weight="bold"') == 4 and many.count('font-weight="bold"') == 1
    assert widget.still == many
