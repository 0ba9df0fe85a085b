"""Norms, attention, routing and experts in 16, 32 and 64 bits: what float64 says, within what the
type can hold."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.layers import moe
from course_lib.layers.attention import attention_weights, causal_attention, visible_keys
from course_lib.layers.mla import absorbed_attention, naive_attention
from course_lib.layers.norm import LayerNorm, RMSNorm, layer_norm, layer_norm_backward, rms_norm
from course_lib.layers.position import RotaryPosition, SinusoidalPosition, rotary_tables
from course_lib.layers.precision import at_least_float32
from course_lib.models.gpt2 import GPT2, GPT2Settings

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
SIZES = [1e-4, 1.0, 300.0, 3e4]  # their squares are 0 or infinite in float16


def close(got, want, n=2):
    """Hold `got`, of any type, against a float64 truth: within `n` units in its type's last
    place."""
    eps = torch.finfo(got.dtype).eps
    torch.testing.assert_close(got.double(), want.double(), rtol=n * eps, atol=n * eps)


def random(*shape, dtype, size=1.0, seed=0):
    return (
        size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).clamp(-2, 2)
    ).to(dtype)


def test_only_16_bits_are_widened_and_nothing_else_is_copied():
    for dtype in DTYPES:
        x = torch.ones(2, dtype=dtype)
        assert at_least_float32(x).dtype == torch.promote_types(dtype, torch.float32)
        assert (at_least_float32(x) is x) == (dtype.itemsize >= 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_norms_equal_torchs_functions_the_modules_and_float64(dtype, size):
    x, weight, bias = (
        random(*s, dtype=dtype, size=k) for s, k in [((3, 5, 8), size), ((8,), 1.0), ((8,), 1.0)]
    )
    wide = x.double(), weight.double(), bias.double()
    close(rms_norm(x, weight), F.rms_norm(wide[0], (8,), wide[1], 1e-6))
    close(layer_norm(x, weight, bias), F.layer_norm(wide[0], (8,), wide[1], wide[2]), n=4)
    close(rms_norm(x, weight), F.rms_norm(x, (8,), weight, 1e-6))
    close(layer_norm(x, weight, bias), F.layer_norm(x, (8,), weight, bias), n=4)
    ones = torch.ones(8, dtype=dtype)
    close(RMSNorm(8).to(dtype)(x), rms_norm(x, ones))
    close(LayerNorm(8).to(dtype)(x), layer_norm(x, ones, 0 * ones), n=4)
    assert rms_norm(x, weight).dtype == layer_norm(x, weight, bias).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_backward_pass_of_layer_norm_equals_autograd_in_float64(dtype, size):
    upstream, x, weight = (
        random(*s, dtype=dtype, size=k) for s, k in [((4, 8), 1.0), ((4, 8), size), ((8,), 1.0)]
    )
    leaves = [part.double().requires_grad_() for part in (x, weight, torch.zeros(8))]
    want = torch.autograd.grad(
        F.layer_norm(leaves[0], (8,), *leaves[1:]), leaves, upstream.double()
    )
    for got, slope in zip(layer_norm_backward(upstream, x, weight), want, strict=True):
        assert got.dtype == dtype
        close(got / max(1, slope.abs().max()), slope / max(1, slope.abs().max()), n=8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "size", [1.0, 100.0]
)  # 100: q.k is beyond float16 until it is divided by sqrt(D)
def test_attention_in_every_form_equals_float64(dtype, size):
    q, k, v = (
        random(2, 4, 6, 64, dtype=dtype, size=s, seed=i) for i, s in enumerate((size, size, 1.0))
    )
    visible, wide = visible_keys(6, 6), [part.double() for part in (q, k, v)]
    weights = attention_weights(q, k, visible)
    assert weights.dtype == dtype and weights.isfinite().all()
    if (
        size == 1.0
    ):  # beyond, the largest score takes all, and which one it is hangs on the last digit
        close(weights, attention_weights(*wide[:2], visible), n=8)
        close(causal_attention(q, k, v), attention_weights(*wide[:2], visible) @ wide[2], n=8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 60.0])
def test_both_forms_of_latent_attention_equal_float64(dtype, size):
    shapes = [(2, 3, 4, 16), (2, 3, 4, 8), (2, 6, 12), (2, 6, 8), (3, 16, 12), (3, 10, 12)]
    sizes = [size, 2 * size, 1.0, 2 * size, 1.0, 1.0]  # the rotary parts meet beyond float16
    parts = [random(*shapes[i], dtype=dtype, size=sizes[i], seed=i) for i in range(6)]
    wide = naive_attention(*(part.double() for part in parts))
    for attend in (naive_attention, absorbed_attention):
        got = attend(*parts)
        assert got.dtype == dtype and got.isfinite().all()
        if size == 1.0:
            # a latent query of 16 products is rounded, and its scores reach 20
            close(got, wide, n=60)


@pytest.mark.parametrize("dtype", DTYPES)
def test_positions_have_the_models_type_and_float32_angles(dtype):
    turned = RotaryPosition(8)(random(1, 1, 40, 8, dtype=dtype))
    want = RotaryPosition(8)(random(1, 1, 40, 8, dtype=dtype).double())
    assert turned.dtype == dtype
    close(turned, want, n=4)
    assert rotary_tables(0, 4, 8, 10_000.0, dtype, torch.device("cpu"))[0].dtype == dtype
    model = GPT2(GPT2Settings(11, 16, 8, 1, 2))
    model.position_embedding = SinusoidalPosition(8)
    model, ids = model.to(dtype), torch.arange(5)[None]
    got, want = model(ids), model.double()(ids)
    assert got.dtype == dtype
    close(got, want, n=20)


@pytest.mark.parametrize("dtype", DTYPES)
def test_routes_are_those_of_float32_at_least(dtype):
    logits = random(50, 8, dtype=dtype, size=2.0)
    wide = logits.to(torch.promote_types(dtype, torch.float32))
    for got, want in [
        (moe.route_softmax(logits, 2), moe.route_softmax(wide, 2)),
        (moe.route_sigmoid(logits, torch.zeros(8), 2), moe.route_sigmoid(wide, torch.zeros(8), 2)),
    ]:
        assert torch.equal(got.scores, want.scores) and torch.equal(got.chosen, want.chosen)
    # sigmoid 1e-13
    unlikely = moe.route_sigmoid(torch.full((1, 4), -30.0, dtype=dtype), torch.zeros(4), 2)
    torch.testing.assert_close(unlikely.weights.float(), torch.full((1, 2), 0.5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bias_moves_by_small_steps_whatever_the_models_type(dtype):
    router = moe.SigmoidRouter(8, 4, 2).to(dtype)
    router.bias += 0.5
    moe.update_bias(router.bias, load=torch.tensor([3, 1, 2, 2]), speed=0.001)
    torch.testing.assert_close(
        router.bias.double(), torch.tensor([0.499, 0.501, 0.5, 0.5]).double()
    )
    assert router.weight.dtype == dtype and router.bias.dtype == torch.promote_types(
        dtype, torch.float32
    )
    assert router.float().bias.dtype == torch.float32 and router.to("meta").bias.is_meta
    with torch.device("meta"):
        assert moe.SigmoidRouter(8, 4, 2).to(dtype).bias.is_meta


def test_a_router_of_float64_can_be_held_against_finite_differences():
    router, x = (
        moe.SigmoidRouter(6, 4, 2).double(),
        random(5, 6, dtype=torch.double).requires_grad_(),
    )
    assert torch.autograd.gradcheck(lambda x: router(x).weights, (x,))
