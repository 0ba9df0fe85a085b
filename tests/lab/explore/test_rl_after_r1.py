"""The figures of lesson 32 say what their numbers say."""

import pytest
import torch

from course_lib.inference.generate import next_token_probs
from course_lib.lab.explore import rl_after_r1 as explore
from tests.lab.explore.test_inference import alts


def test_the_shares_of_ratios_by_counting():
    ratios = [1.0, 1.0, 0.05, 0.5, 1.3, 9.0, 0.8, 1.28]
    want = dict.fromkeys(explore.EDGES, 0)
    for ratio in ratios:
        want[max(edge for edge in explore.EDGES if edge <= ratio)] += 1
    assert explore.ratio_shares(ratios) == [count / 8 for count in want.values()]
    told = alts(explore.staleness({0: [1.0] * 4, 8: ratios}))
    assert "0 updates after sampling: 0% of the tokens" in told[0]
    assert "8 updates after sampling: 50% of the tokens" in told[1]


@pytest.mark.parametrize("top_p", [0.9, 0.8, 0.7, 0.5, 0.4])
def test_the_cut_is_the_librarys(top_p):
    chances = torch.tensor(list(explore.CHANCES.values()))
    assert chances.sum() == pytest.approx(1)
    left = next_token_probs(chances.log(), top_p=top_p)
    names, ratio = explore.nucleus_ratio(top_p, kept=False)
    assert names == [t for t, p in zip(explore.CHANCES, left, strict=True) if p > 0]
    torch.testing.assert_close(chances[left > 0] / left[left > 0], torch.full((len(names),), ratio))
    assert explore.nucleus_ratio(top_p, kept=True) == (names, 1.0)


def test_a_low_ratio_is_said_to_stop_the_gradient():
    told = alts(explore.nucleus())
    assert len(told) == 12
    assert "the ratio of each is 0.73: a bad answer" in told[3]
    assert "mask kept: 2 of 6 tokens are left; the ratio of each is 1.00: inside" in told[9]
