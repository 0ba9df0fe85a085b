"""The figures of lesson 21 show the loads and times that they claim to show."""

import re

from course_lib.lab.explore import balance_and_prediction as explore
from course_lib.training.dualpipe import dualpipe_bubble, one_f_one_b_bubble


def rects(svg):
    found = re.findall(
        r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="([^"]+)"', svg
    )
    return [(*map(float, row[:4]), row[4]) for row in found]


def test_bars_are_as_tall_as_the_loads_and_told_by_rank():
    widget = explore.expert_loads({0: [8, 0, 0, 0], 5: [2, 2, 3, 1]}, n_ranks=2, start=0)
    first, second = (frame.value for frame in widget.children[-1].children)
    assert [round(r[3] / 120 * 8) for r in rects(second)] == [2, 2, 3, 1]
    assert [r[4] for r in rects(second)] == [explore.BLUE] * 2 + [explore.ORANGE] * 2
    assert "rank 0: 2.00 x fair" in first and "rank 1: 0.00" in first
    assert "Step 0: the busiest expert has 4.0 times a fair load" in first
    assert "Step 5: the busiest expert has 1.5 times" in second and "rank 1.00 times" in second
    assert widget.still == first


def test_each_schedule_tells_its_bubble_and_draws_every_pass():
    widget = explore.dualpipe(sizes=(4,))
    stacks = [stack.children[0].value for stack in widget.children[-1].children]
    bubbles = [
        one_f_one_b_bubble(4, explore.PLAIN),
        dualpipe_bubble(4, explore.PLAIN),
        dualpipe_bubble(4, explore.OVERLAPPED),
    ]
    for (name, timed), svg, bubble in zip(
        explore.schedules(4).items(), stacks, bubbles, strict=True
    ):
        assert f"{name}, 8 micro-batches" in svg and f"idles {bubble:g} (" in svg
        drawn = [r for r in rects(svg) if r[3] in (24, 12) and r[4] != "#eeeae0" and r[2] != 14]
        assert len(drawn) == len(timed)


def test_two_passes_at_once_share_a_row():
    svg = explore.dualpipe(sizes=(4,)).children[-1].children[1].children[0].value
    halves = [r for r in rects(svg) if r[3] == 12 and r[2] != 14]
    assert halves and len(halves) % 2 == 0
    spots = {(x, y, width) for x, y, width, _, _ in halves}
    for x, y, width in spots:
        assert ((x, y + 12, width) in spots) != ((x, y - 12, width) in spots)


def test_rank_loads_add_up():
    assert explore.rank_loads([1, 2, 3, 4, 5, 6], 3) == [3, 7, 11]
