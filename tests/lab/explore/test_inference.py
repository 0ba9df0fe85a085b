"""The figures of lesson 12 say what their numbers say."""

import re

import pytest

from course_lib.inference.serving import ServedText, ServingRequest
from course_lib.lab.explore import inference as explore


def alts(widget) -> list[str]:
    """The alternative texts of all frames, in order."""
    found, stack = [], widget.children[-1]
    for frame in stack.children:
        inner = getattr(frame, "children", None) or [frame]
        found += [re.search(r'(?:alt|aria-label)="([^"]*)"', cell.value)[1] for cell in inner]
    return found


def test_roofline_is_bounded_by_reading_and_then_by_computing():
    costs = explore.DecodeCosts(weight_bytes=1e9, cache_bytes=1e7, flops=5e8)
    machine = explore.MachineLimits(bandwidth=1e10, flops=5e10)
    told = alts(explore.roofline(costs, machine, [1, 4, 64], start=1))
    assert "bounded by reading memory: reading takes 101 ms, computing 10 ms; 9.9 tokens" in told[0]
    assert "bounded by reading memory: reading takes 104 ms, computing 40 ms" in told[1]
    assert "bounded by computing: reading takes 164 ms, computing 640 ms; 100 tokens" in told[2]


def test_caches_grow_in_proportion_and_weights_do_not():
    widget = explore.cache_growth({"MHA": 1_000_000, "MQA": 10_000}, 5e9, [1000, 8000], start=1)
    told = alts(widget)
    assert "MHA 1.00 GB, MQA 0.01 GB, all weights 5.00 GB" in told[0]
    assert "MHA 8.00 GB, MQA 0.08 GB, all weights 5.00 GB" in told[1]
    assert "8,000 tokens" in widget.still


def served(arrival, admitted, finished):
    return ServedText(ServingRequest([1], 9, arrival), admitted, [1], finished)


def test_queue_counts_waiting_and_busy_rows():
    texts = [served(0, 0, 3), served(1, 4, 5)]
    assert explore.busy_share(texts, 2) == pytest.approx(6 / 12)
    assert explore.mean_wait(texts) == 1.5
    told = alts(explore.queue({"static": {1: texts, 2: texts}, "continuous": {1: texts, 2: texts}}))
    assert len(told) == 4 and told[1].startswith("static, 2 rows: all done after 6 steps, 50%")
