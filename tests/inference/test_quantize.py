"""Codes and scales against arithmetic with fractions, packing against bytes, layers against the
weights that they stand for."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.inference.quantize import (
    Int4Linear,
    QuantizedLinear,
    dequantize_groups,
    pack_nibbles,
    quantize_groups,
    quantize_model,
    stored_bytes,
    unpack_nibbles,
)
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings


def rounded_by_hand(row, bits, size):
    """The codes of one row in exact arithmetic, ties to the even number as in IEEE 754."""
    limit, codes, scales = 2 ** (bits - 1) - 1, [], []
    for start in range(0, len(row), size):
        group = row[start : start + size]
        scale = torch.tensor(max(map(abs, group)) / limit).half().item()
        scales.append(scale)
        for value in group:
            code = round(Fraction(value) / Fraction(scale)) if scale else 0
            codes.append(max(-limit, min(limit, code)))
    return codes, scales


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("size", [1, 3, 4, 12])
def test_codes_are_those_of_exact_arithmetic(bits, size):
    weight = torch.randn(5, 12, generator=torch.Generator().manual_seed(bits))
    weight[0, :4] = 0.0
    codes, scales = quantize_groups(weight, bits, size)
    for row in range(5):
        want = rounded_by_hand(weight[row].tolist(), bits, size)
        assert (codes[row].tolist(), scales[row].tolist()) == want


@pytest.mark.parametrize(("bits", "size"), [(4, 8), (8, 8), (8, None), (4, None)])
def test_no_weight_moves_by_more_than_half_a_step(bits, size):
    weight = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    codes, scales = quantize_groups(weight, bits, size)
    back, steps = dequantize_groups(codes, scales), scales.float().repeat_interleave(size or 16, -1)
    # the largest weight of a group moves by the rounding of the scale, at most 1 / 2048 of itself
    assert ((back - weight).abs() <= 0.5 * steps * 1.001 + weight.abs() / 2000).all()
    assert codes.abs().max() == 2 ** (bits - 1) - 1 and codes.dtype == torch.int8
    assert scales.numel() == (96 // size if size else 1)


@given(st.lists(st.integers(-8, 7), min_size=2, max_size=40).filter(lambda x: len(x) % 2 == 0))
@settings(max_examples=50, deadline=None)
def test_two_codes_fit_into_a_byte(codes):
    packed = pack_nibbles(torch.tensor(codes, dtype=torch.int8))
    by_hand = [a + 8 + 16 * (b + 8) for a, b in zip(codes[::2], codes[1::2], strict=True)]
    assert packed.tolist() == by_hand and packed.nbytes == len(codes) // 2
    assert unpack_nibbles(packed).tolist() == codes


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("bits", "size"), [(8, 16), (4, 16), (8, None)])
def test_a_layer_multiplies_by_the_weights_that_it_stores(bits, size, bias):
    torch.manual_seed(0)
    linear, x = nn.Linear(32, 7, bias=bias), torch.randn(2, 3, 32)
    layer = QuantizedLinear(linear, bits, size)
    want = dequantize_groups(*quantize_groups(linear.weight.detach(), bits, size))
    torch.testing.assert_close(layer(x), nn.functional.linear(x, want, linear.bias))
    scale_bytes = 2 * (1 if size is None else 7 * 32 // size)
    assert stored_bytes(layer) == 7 * 32 * bits // 8 + scale_bytes + 4 * 7 * bias
    assert not list(layer.parameters())


def test_the_kernel_multiplies_by_the_same_weights():
    torch.manual_seed(0)
    linear, x = nn.Linear(128, 64, bias=False), torch.randn(3, 128).bfloat16().float()
    plain, kernel = QuantizedLinear(linear, 4, 32)(x), Int4Linear(linear, 32)(x)
    # bfloat16 keeps 8 bits of each scale and of each result
    assert (kernel - plain).abs().max() < 0.02 * plain.abs().max()
    wrong = Int4Linear(nn.Linear(128, 64, bias=False), 32)(x)
    assert (wrong - plain).abs().max() > 0.2 * plain.abs().max()


@pytest.mark.parametrize("bits", [4, 8])
def test_a_whole_model_in_8_bits_is_near_and_in_4_bits_less_so(bits):
    torch.manual_seed(0)
    models = [
        Llama(LlamaSettings(11, 16, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=64)),
        DeepSeekV3(
            DeepSeekSettings(
                11, 16, d_model=32, n_layers=2, n_heads=2, kv_lora_rank=16,
                qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=16, n_dense_layers=2, d_ff=64,
            )
        ),
    ]  # fmt: skip
    ids = torch.randint(11, (2, 9))
    for model in models:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        small = quantize_model(model, bits, 16)
        far = (small(ids) - model(ids)).abs().max() / model(ids).abs().max()
        assert (0 < far < 0.03) if bits == 8 else (0.01 < far < 0.5)
        assert stored_bytes(small) < stored_bytes(model)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(isinstance(module, nn.Linear) for module in small.modules())


def test_what_cannot_be_quantized_names_its_numbers():
    weight = torch.ones(2, 12)
    with pytest.raises(ValueError, match="bits 9"):
        quantize_groups(weight, 9)
    with pytest.raises(ValueError, match="row of 12 weights.*groups of 5"):
        quantize_groups(weight, 8, 5)
    with pytest.raises(ValueError, match="too large"):
        quantize_groups(weight * 1e9, 8, 4)
    with pytest.raises(ValueError, match="codes of 3 bits"):
        QuantizedLinear(nn.Linear(4, 4), 3, 4)
    with pytest.raises(ValueError, match="3 codes from 0 to 2"):
        pack_nibbles(torch.arange(3, dtype=torch.int8))
    with pytest.raises(ValueError, match="from 0 to 9"):
        pack_nibbles(torch.tensor([0, 9], dtype=torch.int8))
    with pytest.raises(ValueError, match="a bias of 32 numbers"):
        Int4Linear(nn.Linear(32, 32))
    with pytest.raises(ValueError, match="0 linear layers"):
        quantize_model(nn.LayerNorm(4), 8)
