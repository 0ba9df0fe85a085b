"""E4M3 by arithmetic is torch's float8_e4m3fn; tiles are judged one by one in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.layers import fp8


def by_torch(x):
    return x.to(torch.float8_e4m3fn).float()


def same(x):
    ours, theirs = fp8.round_e4m3(x), by_torch(x)
    assert torch.equal(ours.isnan(), theirs.isnan())
    wrong = (ours != theirs) & ~ours.isnan()
    assert not wrong.any(), x[wrong][:5]


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1))
def test_any_number_of_32_bits(numbers):
    same(torch.tensor(numbers, dtype=torch.float32))


@given(st.lists(st.floats(-500, 500, width=32), min_size=1))
def test_any_number_of_its_range(numbers):
    same(torch.tensor(numbers, dtype=torch.float32))


def test_every_number_of_16_bits_and_every_tie_with_its_neighbours():
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    same(bits.view(torch.bfloat16).float())
    same(bits.view(torch.float16).float())
    own = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    own = own[own.isfinite()].unique()
    assert torch.equal(fp8.round_e4m3(own), own) and len(own) == 253
    ties = (own[1:] + own[:-1]) / 2
    for direction in (-torch.inf, torch.inf):
        same(torch.nextafter(ties, torch.tensor(direction)))
    same(ties)


def test_above_the_largest_number_it_stays_there():
    beyond = torch.tensor([448.0, 449.0, 464.0, 1e30, torch.inf])
    assert fp8.round_e4m3(beyond).tolist() == fp8.round_e4m3(-beyond).neg().tolist() == [448.0] * 5


def test_signs_of_zero_and_nan():
    got = fp8.round_e4m3(torch.tensor([-0.0, -1e-20, torch.nan]))
    assert got.signbit().tolist()[:2] == [True, True] and got[2].isnan()


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.integers())
def test_each_tile_has_its_own_scale(n, c, rows, columns, seed):
    rng = torch.Generator().manual_seed(seed % 2**63)
    x = torch.randn(n, c, generator=rng) * torch.randn(n, c, generator=rng).exp() ** 3
    x[torch.rand(n, c, generator=rng) < 0.3] = 0
    got = fp8.round_tiles(x, rows, columns)
    scales = fp8.scales_of_tiles(x, rows, columns)
    assert scales.shape == (-(-n // rows), -(-c // columns))
    for i in range(0, n, rows):
        for j in range(0, c, columns):
            tile = x[i : i + rows, j : j + columns]
            largest = tile.abs().max().item()
            scale = scales[i // rows, j // columns].item()
            assert scale == pytest.approx(largest / 448 if largest else 1, rel=1e-6)
            want = by_torch(tile / scale) * scale
            torch.testing.assert_close(got[i : i + rows, j : j + columns], want, rtol=1e-6, atol=0)


def test_the_error_of_normal_numbers_is_at_most_a_sixteenth():
    x = torch.randn(300, 256, generator=torch.Generator().manual_seed(0))
    x = x.sign() * x.abs().clamp(min=0.1)
    for rounded in (fp8.round_activations(x), fp8.round_weights(x)):
        assert ((rounded - x).abs() <= x.abs() / 16 * 1.001).all()


def test_a_product_is_that_of_torch_in_float8():
    """torch._scaled_mm takes one scale for each factor: tiles as large as the matrices."""
    rng = torch.Generator().manual_seed(0)
    x, weight = torch.randn(16, 128, generator=rng), torch.randn(128, 128, generator=rng)
    x_scales = fp8.scales_of_tiles(x, 1, 128)
    scale = fp8.scales_of_tiles(weight, 128, 128)
    theirs = (x / x_scales).to(torch.float8_e4m3fn).float() @ (
        (weight / scale).to(torch.float8_e4m3fn).float().T
    )
    torch.testing.assert_close(fp8.fp8_linear(x, weight), theirs * x_scales * scale)


def test_an_outlier_costs_its_own_tile_only():
    x = torch.randn(4, 512, generator=torch.Generator().manual_seed(0)) * 1e-3
    x[0, 0] = 1e4
    fine, coarse = fp8.round_tiles(x, 1, 128), fp8.round_tiles(x, 4, 512)
    assert fp8.relative_error(fine[:, 128:], x[:, 128:]) < 0.05
    assert (coarse[:, 128:] == 0).all()


@pytest.mark.parametrize("tile", [(0, 128), (1, 0)])
def test_tiles_of_nothing_are_refused(tile):
    with pytest.raises(ValueError, match=f"tiles of {tile[0]} x {tile[1]} numbers hold none"):
        fp8.round_tiles(torch.ones(2, 2), *tile)
