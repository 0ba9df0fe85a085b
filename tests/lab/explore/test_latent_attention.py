"""The figures of lesson 19 say what their numbers say."""

import math
import re

import pytest
import torch

from course_lib.lab.explore import latent_attention as explore


def alts(widget) -> list[str]:
    """The alternative texts of all frames, in order."""
    return [re.search(r'alt="([^"]*)"', frame.value)[1] for frame in widget.children[-1].children]


def test_ranks_tell_bytes_error_and_loss():
    keys = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    views = [
        explore.RankView(1, 32, torch.tensor([[3.0, 0.0], [0.0, 0.0]]), 0.9),
        explore.RankView(2, 64, keys, 0.4),
    ]
    told = alts(explore.ranks(views, keys, own=(512, 0.36), start=1))
    assert told[0].startswith("Rank 1: 32 of 512 bytes") and "error of 80%" in told[0]
    assert "error of 0%" in told[1] and "0.400 bits per byte" in told[1] and "0.360" in told[1]


def test_pairs_that_turn_further_than_ever_are_counted():
    kept = torch.tensor([1.0, 0.01, 0.001])  # in 100 tokens: 16 turns, a sixth of one, less
    assert explore.unseen_pairs(kept, kept, length=100, factor=4) == [1, 2]
    assert explore.unseen_pairs(kept, kept / 4, length=100, factor=4) == []
    assert explore.unseen_pairs(kept, kept * torch.tensor([1, 0.3, 0.25]), 100, 4) == [1]
    often = 2 * math.pi / 100 * 1.1  # a little more than one turn: all angles were met
    assert explore.unseen_pairs(torch.tensor([often]), torch.tensor([often]), 100, 4) == []


def test_stretched_pairs_tell_what_each_way_does():
    kept = torch.tensor([1.0, 0.01])
    widget = explore.stretched_pairs(kept, {"none": kept, "PI": kept / 4}, 100, 4, start=0)
    told = alts(widget)
    assert "1 of 2 pairs reach" in told[0] and "1.00 of the trained one for the fastest" in told[0]
    assert "0 of 2 pairs reach" in told[1] and "0.25 of the trained one for the fastest" in told[1]


def test_the_error_is_a_share_of_the_keys():
    assert explore.rebuilt_error(torch.ones(4), torch.zeros(4)) == pytest.approx(1)
