"""DualPipe's order does all work once, as its needs allow, and idles as long as table 2 says."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.training import dualpipe, pipeline
from course_lib.training.dualpipe import PassSeconds

SIZES = [(p, m) for p in (2, 4, 6, 8, 16) for m in (2 * p, 2 * p + 2, 3 * p, 5 * p)]


def orders_of(p, m):
    return [dualpipe.dualpipe_order(stage, p, m) for stage in range(p)]


@pytest.mark.parametrize(("p", "m"), SIZES)
def test_every_pass_of_every_microbatch_is_done_once(p, m):
    for order in orders_of(p, m):
        items = [item for slot in order for item in slot]
        forward = sorted(item.microbatch for item in items if item.kind == "F")
        inputs = sorted(item.microbatch for item in items if item.kind in "BI")
        weights = sorted(item.microbatch for item in items if item.kind in "BW")
        assert forward == inputs == weights == list(range(m))
        assert all(item.chunk == (item.microbatch >= m // 2) for item in items)
        for slot in order:
            if len(slot) == 2:  # one of each direction
                assert Counter(item.kind for item in slot) == Counter("FB")
                assert slot[0].chunk != slot[1].chunk


@pytest.mark.parametrize(("p", "m"), SIZES)
@pytest.mark.parametrize("together", [None, 2.5, 2.0])
def test_a_stage_idles_as_long_as_the_paper_says(p, m, together):
    """Exactly where all three parts of the work take equally long; the middle stages longest."""
    seconds = PassSeconds(1.0, 2.0, 1.0, together)
    idle = dualpipe.idle_seconds(dualpipe.dualpipe_times(orders_of(p, m), seconds))
    assert idle[p // 2 - 1] == idle[p // 2] == max(idle)
    assert max(idle) == pytest.approx(dualpipe.dualpipe_bubble(p, seconds))
    if together is None:
        assert idle == pytest.approx([max(idle)] * p)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 5))
def test_times_respect_what_each_pass_waits_for(half, more):
    p = 2 * half
    timed = dualpipe.dualpipe_times(orders_of(p, 2 * p + 2 * more), PassSeconds(1.0, 2.5, 1.0))
    ends = {(t.stage, t.item.kind.replace("B", "I"), t.item.microbatch): t.end for t in timed}
    for t in timed:
        onward = 1 - 2 * t.item.chunk
        source = t.stage - onward if t.item.kind == "F" else t.stage + onward
        if t.item.kind == "W":
            assert t.begin >= ends[t.stage, "I", t.item.microbatch]
        elif 0 <= source < p:
            kind = "F" if t.item.kind == "F" else "I"
            assert t.begin >= ends[source, kind, t.item.microbatch]
        elif t.item.kind != "F":
            assert t.begin >= ends[t.stage, "F", t.item.microbatch]


def test_one_f_one_b_idles_as_long_as_the_paper_says():
    orders = [pipeline.one_f_one_b_order(stage, 8, 20) for stage in range(8)]
    timed = pipeline.schedule_times(orders, forward=1.0, backward=2.0)
    want = dualpipe.one_f_one_b_bubble(8, PassSeconds())
    assert dualpipe.idle_seconds(timed) == pytest.approx([want] * 8)
    assert dualpipe.zero_bubble_bubble(8, PassSeconds()) == 7


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ((0, 3, 12), "stage 0 of 3: DualPipe has an even number of stages"),
        ((4, 4, 12), "stage 4 of 4"),
        ((0, 4, 6), "6 microbatches: DualPipe needs .* at least two for each of 4 stages"),
        ((0, 4, 9), "9 microbatches"),
    ],
)
def test_what_it_is_not_defined_for_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        dualpipe.dualpipe_order(*case)


def test_orders_that_wait_for_each_other_are_told():
    orders = orders_of(2, 4)
    with pytest.raises(ValueError, match="the orders wait for each other"):
        dualpipe.dualpipe_times([orders[0][::-1], orders[1][::-1]], PassSeconds())
