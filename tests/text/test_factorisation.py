"""Orders of prediction: who hears whom, which tokens are targets; control codes."""

import pytest
import torch

from course_lib.text.factorisation import coded_pieces, partial_prediction, unseen_in_order


def test_an_order_hides_what_comes_later():
    order = torch.tensor([[2, 0, 3, 1]])  # ranks: token 1 is first, then 3, 0, 2
    unseen = unseen_in_order(order)[0]
    for i in range(4):
        for j in range(4):
            assert unseen[i, j] == (order[0, j] >= order[0, i])


def test_targets_are_the_last_of_the_order_and_hear_all_others():
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(3000 * 12).view(3000, 12)
    maskable = torch.ones(3000, 12).bool()
    maskable[:, 0] = False
    unseen, targets, labels = partial_prediction(ids, maskable, 2, generator)
    assert torch.equal(labels, ids.gather(1, targets)) and (targets != 0).all()
    often = targets.flatten().bincount(minlength=12)[1:] / 3000
    assert (often - 2 / 11).abs().max() < 0.04
    rows = torch.arange(3000)
    first, second = targets[:, 0], targets[:, 1]
    assert unseen[rows, first, first].all() and unseen[rows, second, second].all()
    assert unseen[rows, first, second].all() and not unseen[rows, second, first].any()
    is_target = torch.zeros(3000, 12).bool().scatter(1, targets, True)
    assert torch.equal(unseen.any(1), is_target)  # nothing else is ever hidden
    assert unseen[~is_target].sum() == 2 * (~is_target).sum()  # and both are, from all others
    assert abs((first < second).float().mean() - 0.5) < 0.04  # either way round


def test_codes_stand_before_each_piece():
    pieces = coded_pieces([(99, range(10)), (98, []), (97, [5])], length=4)
    assert pieces == [[99, 0, 1, 2], [99, 3, 4, 5], [99, 6, 7, 8], [99, 9], [97, 5]]


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="length 1 has no room"):
        coded_pieces([], 1)
    ids, maskable = torch.zeros(1, 3).long(), torch.tensor([[True, True, False]])
    for n in (0, 3):
        with pytest.raises(ValueError, match=f"n_targets {n} is not between 1 and 2"):
            partial_prediction(ids, maskable, n, torch.Generator())
