"""The figures of lesson 01 say what torch does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.lab.explore import pytorch as explore

shapes = st.lists(st.sampled_from([1, 2, 3]), max_size=4).map(tuple)


@settings(deadline=None)
@given(shapes, shapes)
def test_align_agrees_with_torch(a, b):
    lengths = tuple(axis.result for axis in reversed(explore.align(a, b)))
    try:
        assert lengths == tuple(torch.broadcast_shapes(a, b))
    except RuntimeError:
        assert None in lengths


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((3,), (3,), "equal"),
        ((3,), (1,), "b has length 1: repeated 3 times"),
        ((1,), (4,), "a has length 1: repeated 4 times"),
        ((), (4,), "a has no such axis: repeated 4 times"),
        ((2,), (3,), "2 and 3 differ and neither is 1: error"),
    ],
)
def test_verdict_names_who_stretches(a, b, words):
    assert words in explore.align(a, b)[0].verdict


def test_broadcast_frames_show_torchs_result_and_torchs_error():
    result, error = (
        explore._broadcast_frame(*explore.BROADCASTS[name], step=3)
        for name in ("a column", "an error")
    )
    assert all(f">{number}</span>" in result for number in (11, 12, 13, 24, 25, 26))
    assert "The size of tensor a (3) must match" in error and "repeated" not in error


def test_descent_walks_as_torchs_own_gradient_says():
    x, y = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 1.5, 4.0])
    w = torch.zeros(2, requires_grad=True)
    opt = torch.optim.SGD([w], lr=0.1)
    for _ in range(5):
        opt.zero_grad()
        (w[0] * x + w[1] - y).square().mean().backward()
        opt.step()
    path, losses = explore.descend(x, y, rate=0.1, steps=5)
    torch.testing.assert_close(path[-1].float(), w.detach())
    assert losses[-1] > (explore.lowest(x, y) @ torch.stack([x, torch.ones(3)]) - y).square().mean()


def test_knight_is_closed_centred_four_tall_and_walked_evenly():
    t, points = explore.knight(400)
    assert t.shape == (400, 1) and points.shape == (400, 2)
    torch.testing.assert_close(points[0], points[-1])
    assert abs(points[:, 1].max() - 2) < 0.05 and abs(points[:, 1].min() + 2) < 0.05
    steps = (points[1:] - points[:-1]).norm(dim=1)
    assert steps.max() < 1.01 * steps.median()
