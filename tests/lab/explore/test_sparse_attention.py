"""The figure of lesson 29 says what its numbers say."""

import re

import torch

from course_lib.lab.explore import sparse_attention as explore


def test_the_choice_is_told_for_each_step_and_number_of_tokens():
    weights = torch.tensor([0.1, 0.7, 0.2])
    views = [
        explore.IndexerView(0, torch.tensor([3.0, 1.0, 2.0]), [0.1, 0.3]),
        explore.IndexerView(50, torch.tensor([0.0, 9.0, 2.0]), [0.7, 0.9]),
    ]
    widget = explore.selected_tokens(views, (1, 2), weights, needle=1, start=(1, 0))
    told = [
        [re.search(r'alt="([^"]*)"', frame.value)[1] for frame in row.children]
        for row in widget.children[-1].children
    ]
    assert told[0][0].startswith("After 0 steps of training the indexer&#x27;s best 1 of 3 tokens")
    assert "catch 10% of attention" in told[0][0] and "is not among them" in told[0][0]
    assert "catch 30%" in told[0][1] and "the needle is not among" in told[0][1]
    assert "After 50 steps" in told[1][0] and "the needle is among them" in told[1][0]
    assert "After 50 steps" in widget.still
