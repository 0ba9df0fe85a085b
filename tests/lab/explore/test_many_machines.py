"""The figures of lesson 13 show the times and bytes that they claim to show."""

import re
from itertools import pairwise

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


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_ring_sums_every_piece_once_and_sends_one_piece_per_rank_and_turn(n):
    turns = explore.ring_turns(n)
    assert len(turns) == 2 * (n - 1) + 1 and turns[0] == [[[rank]] * n for rank in range(n)]
    assert turns[-1] == [[list(range(n))] * n] * n  # all of every rank, each once
    for before, after in pairwise(turns):
        for rank in range(n):
            (changed,) = [p for p in range(n) if before[rank][p] != after[rank][p]]
            sent, own = before[rank - 1][changed], before[rank][changed]
            assert after[rank][changed] in (sorted(sent + own), sent)
    for rank, row in enumerate(turns[n - 1]):  # halfway: a piece per rank, no piece twice
        complete = [p for p in range(n) if len(row[p]) == n]
        assert n == 1 or complete == [(rank + 1) % n]


def test_frames_of_the_ring_count_the_complete_pieces_and_mark_what_came():
    widget = explore.ring(3)
    cards = [frame.value for frame in widget.children[-1].children]
    assert [re.search(r"(\d+) of 9 pieces", card)[1] for card in cards] == ["0", "0", "3", "6", "9"]
    assert [card.count('stroke-width="3"') for card in cards] == [0, 3, 3, 3, 3]
    assert widget.still == cards[2]


def test_a_caption_is_cut_into_lines_that_fit_and_numbers_stand_only_in_boxes_that_hold_them():
    widget = explore.pipeline()
    cards = [card.value for stack in widget.children[-1].children for card in stack.children]
    for card in cards:
        lines = re.findall(r'<text x="0" y="\d+">([^<]+)</text>', card)
        assert max(map(len, lines)) < explore.WIDTH / 8.5  # a letter of 13 px is narrower than that
        for width, number in re.findall(
            r'width="([\d.]+)" height="24" [^>]*/><text [^>]*>(\d+)<', card
        ):
            assert float(width) > 7 * len(number)
    told = explore.timeline([TimedItem(0, WorkItem("F", 0), 0.0, 1.0)], "a < b; c")
    assert ">a &lt; b</text>" in told and ">c</text>" in told and 'aria-label="a &lt; b; c"' in told
