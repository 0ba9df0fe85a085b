"""The norms against torch's own, and their slopes against autograd and against nudging one number
at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.layers.norm import LayerNorm, RMSNorm, layer_norm, layer_norm_backward, rms_norm

SHAPES = [(1, 2), (5,), (3, 4, 10), (2, 1, 3, 7)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.5])
def test_both_equal_torchs_functions(shape, eps):
    x, weight, bias = 3 * random(*shape) + 2, random(shape[-1], seed=1), random(shape[-1], seed=2)
    torch.testing.assert_close(
        layer_norm(x, weight, bias, eps), F.layer_norm(x, shape[-1:], weight, bias, eps)
    )
    torch.testing.assert_close(rms_norm(x, weight, eps), F.rms_norm(x, shape[-1:], weight, eps))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_modules_equal_the_functions(shape):
    x, layer, rms = random(*shape).float(), LayerNorm(shape[-1]), RMSNorm(shape[-1])
    for parameter in (layer.weight, layer.bias, rms.weight):
        nn.init.normal_(parameter)
    torch.testing.assert_close(layer(x), layer_norm(x, layer.weight, layer.bias))
    torch.testing.assert_close(rms(x), rms_norm(x, rms.weight))
    assert (layer.eps, rms.eps) == (1e-5, 1e-6)
    assert [name for name, _ in rms.named_parameters()] == ["weight"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_backward_pass_equals_autograd(shape):
    x, weight, bias = random(*shape), random(shape[-1], seed=1), random(shape[-1], seed=2)
    upstream = random(*shape, seed=3)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    wanted = torch.autograd.grad(F.layer_norm(x, shape[-1:], weight, bias), inputs, upstream)
    with torch.no_grad():
        found = layer_norm_backward(upstream, x, weight)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_backward_pass_equals_nudging():
    x, weight, bias, upstream = (
        random(2, 5),
        random(5, seed=1),
        random(5, seed=2),
        random(2, 5, seed=3),
    )
    found, nudged, h = layer_norm_backward(upstream, x, weight)[0], torch.zeros_like(x), 1e-6
    for place in torch.ones_like(x).nonzero().tolist():
        nudge = torch.zeros_like(x)
        nudge[tuple(place)] = h
        up, down = (layer_norm(x + sign * nudge, weight, bias) for sign in (1, -1))
        nudged[tuple(place)] = ((up - down) * upstream).sum() / (2 * h)
    torch.testing.assert_close(found, nudged, atol=1e-8, rtol=1e-6)


def test_layer_norm_forgets_shift_and_stretch_and_rms_norm_only_stretch():
    x, ones, zeros = random(4, 6), torch.ones(6).double(), torch.zeros(6).double()
    y = layer_norm(x, ones, zeros, eps=0.0)
    torch.testing.assert_close(layer_norm(9 * x + 4, ones, zeros, eps=0.0), y)
    torch.testing.assert_close(rms_norm(9 * x, ones, eps=0.0), rms_norm(x, ones, eps=0.0))
    assert (rms_norm(x + 4, ones) - rms_norm(x, ones)).abs().min() > 1e-3
    centred = x - x.mean(-1, keepdim=True)
    torch.testing.assert_close(rms_norm(centred, ones, eps=0.0), y)


def test_no_token_sees_another():
    x = random(3, 4, 6)
    changed = x.clone()
    changed[1, 2] += 1
    ones, zeros = torch.ones(6).double(), torch.zeros(6).double()
    for norm in (lambda x: layer_norm(x, ones, zeros), lambda x: rms_norm(x, ones)):
        moved = (norm(changed) != norm(x)).any(-1)
        assert moved.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("value", [0.0, 3.0, 1e-30])
def test_a_vector_without_spread_gives_numbers(value):
    x = torch.full((2, 8), value)
    assert torch.isfinite(layer_norm(x, torch.ones(8), torch.zeros(8))).all()
    assert torch.isfinite(rms_norm(x, torch.ones(8))).all()


def test_a_weight_of_another_width_is_refused():
    for norm in (LayerNorm(6), RMSNorm(6)):
        with pytest.raises(RuntimeError, match="6"):
            norm(torch.zeros(2, 5))
