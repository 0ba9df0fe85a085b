"""Schedules: everything is done once and in order, times follow from what waits for what, and the
bubble is the formula's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.training import pipeline as p

KINDS = {"gpipe": p.gpipe_order, "1f1b": p.one_f_one_b_order, "interleaved": p.interleaved_order}


def orders_of(kind, n_stages, groups):
    m = groups * n_stages
    return [KINDS[kind](stage, n_stages, m) for stage in range(n_stages)], m


cases = given(
    kind=st.sampled_from(sorted(KINDS)), n_stages=st.integers(1, 5), groups=st.integers(1, 4)
)


@cases
def test_every_item_is_done_once_and_forward_comes_first(kind, n_stages, groups):
    orders, m = orders_of(kind, n_stages, groups)
    n_chunks = 2 if kind == "interleaved" else 1
    for order in orders:
        assert len(order) == len(set(order)) == 2 * m * n_chunks
        for item in order:
            if item.kind == "B":
                assert order.index(item._replace(kind="F")) < order.index(item)


@cases
def test_nobody_works_on_what_has_not_come_or_on_two_things(kind, n_stages, groups):
    orders, m = orders_of(kind, n_stages, groups)
    timed = p.schedule_times(orders, 1.0, 2.0)
    n_chunks = 2 if kind == "interleaved" else 1
    ends = {(t.stage, t.item): t.end for t in timed}
    for t in timed:
        # written out again: the line of chunks, forward up and backward down
        here = t.item.chunk * n_stages + t.stage
        before = here + (-1 if t.item.kind == "F" else 1)
        if 0 <= before < n_chunks * n_stages:
            other = t.item._replace(chunk=before // n_stages)
            assert ends[before % n_stages, other] <= t.begin + 1e-9
    for stage in range(n_stages):
        mine = sorted((t for t in timed if t.stage == stage), key=lambda t: t.begin)
        assert all(a.end <= b.begin + 1e-9 for a, b in zip(mine, mine[1:], strict=False))


@cases
def test_the_bubble_is_the_formulas(kind, n_stages, groups):
    orders, m = orders_of(kind, n_stages, groups)
    n_chunks = 2 if kind == "interleaved" else 1
    got = p.bubble_fraction(p.schedule_times(orders, 1.0, 2.0))
    assert got == pytest.approx(p.bubble_formula(n_stages, m, n_chunks))


def test_a_schedule_by_hand():
    """Two stages, two micro-batches, 1 forward and 2 backward: worked out on paper."""
    timed = p.schedule_times([p.one_f_one_b_order(s, 2, 2) for s in range(2)], 1.0, 2.0)
    found = {(t.stage, t.item.kind, t.item.microbatch): (t.begin, t.end) for t in timed}
    assert found == {
        (0, "F", 0): (0, 1),
        (0, "F", 1): (1, 2),
        (1, "F", 0): (1, 2),
        (1, "B", 0): (2, 4),
        (0, "B", 0): (4, 6),
        (1, "F", 1): (4, 5),
        (1, "B", 1): (5, 7),
        (0, "B", 1): (7, 9),
    }
    assert p.bubble_fraction(timed) == pytest.approx(1 / 3)


def test_1f1b_keeps_as_many_microbatches_as_there_are_stages_to_the_end():
    for stage in range(4):
        assert p.most_in_flight(p.one_f_one_b_order(stage, 4, 12)) == 4 - stage
        assert p.most_in_flight(p.gpipe_order(stage, 4, 12)) == 12


def test_stages_of_different_speed():
    orders = [p.gpipe_order(s, 2, 3) for s in range(2)]
    slow_second = p.schedule_times(orders, forward=[1.0, 2.0], backward=[2.0, 4.0])
    assert max(t.end for t in slow_second) == 1 + 3 * 2 + 3 * 4 + 2


def test_orders_that_wait_for_each_other_are_refused():
    stuck = [[p.WorkItem("B", 0), p.WorkItem("F", 0)], p.gpipe_order(1, 2, 1)]
    with pytest.raises(ValueError, match=r"wait for each other: stages stand at items \[0, 0\]"):
        p.schedule_times(stuck)


def test_impossible_schedules_are_refused_with_the_numbers():
    with pytest.raises(ValueError, match="stage 4 is not one of 4 stages"):
        p.gpipe_order(4, 4, 1)
    with pytest.raises(ValueError, match="0 microbatches"):
        p.one_f_one_b_order(0, 4, 0)
    with pytest.raises(ValueError, match="6 microbatches are not divisible by 4 stages"):
        p.interleaved_order(0, 4, 6)


def test_messages_have_tags_of_their_own():
    tags = [
        p.message_tag(item, item.chunk * 4 + stage)
        for stage in range(4)
        for item in p.interleaved_order(stage, 4, 8)
    ]
    assert len(tags) == len(set(tags))
