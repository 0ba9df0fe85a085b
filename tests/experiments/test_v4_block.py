"""The small races of V4's parts measure what they say."""

import pytest
import torch

from course_lib.experiments import v4_block
from course_lib.layers.hyper_connections import HyperConnection


def test_a_gain_is_that_of_the_trained_maps():
    net = v4_block.DeepNet("HC", depth=3)
    for connect in net.connections:
        connect.scale.data.zero_()
        connect.bias.data[-16:] = 2 * torch.eye(4).flatten()
    assert isinstance(net.connections[0], HyperConnection)
    assert net.gains(v4_block.all_pairs()[0][:5]) == [2.0, 4.0, 8.0]


def test_one_stream_and_constrained_ones_have_a_gain_of_one():
    for kind in ("residual", "mHC"):
        run = v4_block.train_deep_net(kind, seed=0, depth=2, steps=2, batch=8)
        assert run["gains"] == pytest.approx([1.0, 1.0], abs=1e-4)
        assert len(run["losses"]) == 2


def test_answers_are_sums_and_products_modulo_31():
    pairs, answers = v4_block.all_pairs()
    row = (pairs == torch.tensor([7, 9])).all(1).nonzero().item()
    assert len(pairs) == 31**2 and answers[row] == 70 - 62


def test_unknown_kinds_are_refused():
    with pytest.raises(
        ValueError, match="kind 'GRU' is not one of residual, HC, mHC, wide residual"
    ):
        v4_block.train_deep_net("GRU", seed=0)


def test_loads_of_nothing_have_no_variation():
    assert v4_block.load_variation(torch.tensor([[2, 2], [0, 4]])).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="loads of 3 experts that are all 0"):
        v4_block.load_variation(torch.tensor([[1, 2, 3], [0, 0, 0]]))
