"""Positions against complex numbers, loops and what must hold for any input."""

import cmath
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.inference.cache import KVCache
from course_lib.layers.attention import SelfAttention
from course_lib.layers.embedding import Embedding
from course_lib.layers.position import (
    PositionInterpolation,
    RotaryPosition,
    SinusoidalPosition,
    YaRN,
    halves_order,
    ntk_base,
    rotary_angles,
    rotary_frequencies,
    rotate_halves,
    rotate_interleaved,
    sinusoidal_positions,
    yarn_mscale,
)

pairs = st.integers(1, 16)
places = st.integers(0, 2000)


def turned_by_complex_numbers(x, place, base):
    """The paper's way, one pair at a time: multiply by e^(i place theta)."""
    D = len(x)
    out = []
    for i in range(D // 2):
        z = complex(x[2 * i], x[2 * i + 1]) * cmath.exp(1j * place * base ** (-2 * i / D))
        out += [z.real, z.imag]
    return torch.tensor(out)


@pytest.mark.parametrize(("D", "base"), [(2, 10.0), (6, 10_000.0), (10, 100.0)])
def test_interleaved_rotation_is_multiplication_by_complex_numbers(D, base):
    x = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    got = rotate_interleaved(x, rotary_angles(torch.arange(3, 8), rotary_frequencies(D, base)))
    want = torch.stack(
        [turned_by_complex_numbers(row.tolist(), 3 + t, base) for t, row in enumerate(x)]
    )
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@given(n=pairs, seed=st.integers(0, 99))
def test_both_pairings_are_equal_up_to_an_order(n, seed):
    x, order = (
        torch.randn(4, 2 * n, generator=torch.Generator().manual_seed(seed)),
        halves_order(2 * n),
    )
    turned = rotary_angles(torch.arange(4), rotary_frequencies(2 * n))
    assert sorted(order.tolist()) == list(range(2 * n))
    torch.testing.assert_close(
        rotate_interleaved(x, turned)[:, order], rotate_halves(x[:, order], turned)
    )


@given(n=pairs, first=places, second=places, shift=places, seed=st.integers(0, 99))
def test_a_dot_product_depends_on_the_distance_only(n, first, second, shift, seed):
    q, k = torch.randn(
        2, 1, 2 * n, dtype=torch.double, generator=torch.Generator().manual_seed(seed)
    )
    speeds = rotary_frequencies(2 * n).double()

    def score(at, other):
        return (
            rotate_halves(q, torch.tensor([[at]]) * speeds)
            @ rotate_halves(k, torch.tensor([[other]]) * speeds).T
        )

    torch.testing.assert_close(
        score(first, second), score(first + shift, second + shift), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(score(first, first), q @ k.T, rtol=0, atol=1e-6)


@given(n=pairs, place=places)
def test_turning_keeps_the_length(n, place):
    x = torch.randn(1, 2 * n, generator=torch.Generator().manual_seed(place))
    turned = rotate_halves(x, rotary_angles(torch.tensor([place]), rotary_frequencies(2 * n)))
    torch.testing.assert_close(turned.norm(), x.norm())


def test_distance_matters():
    q, k = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    rows = rotate_halves(k.expand(5, 8), rotary_angles(torch.arange(5), rotary_frequencies(8)))
    scores = (rows @ q.T).flatten()
    assert scores.diff().abs().min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotary_counts_on_and_keeps_the_type(dtype):
    rotary = RotaryPosition(6)
    x = torch.randn(2, 3, 9, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    whole = rotary(x)
    assert whole.dtype == dtype and whole.shape == x.shape
    assert torch.equal(whole[..., 4:, :], rotary(x[..., 4:, :], start=4))
    assert torch.equal(whole[..., 0, :], x[..., 0, :])
    assert torch.equal(
        whole, rotate_halves(x, rotary_angles(torch.arange(9), rotary_frequencies(6)))
    )
    # its angles are not rounded with the model's parameters
    assert torch.equal(whole, rotary.to(dtype)(x))
    assert not rotary.state_dict()


def test_rotary_serves_in_training_what_it_met_in_sampling():
    rotary = RotaryPosition(6, base=77.0)
    x = torch.randn(1, 2, 9, 6, requires_grad=True)
    with torch.inference_mode():
        sampled = rotary(x)
    trained = rotary(x)
    trained.sum().backward()
    assert torch.equal(trained, sampled) and x.grad.abs().sum() > 0


def test_attention_with_rotary_is_the_same_with_a_cache_and_does_not_care_where_it_starts():
    torch.manual_seed(0)
    attention, x = SelfAttention(12, 2, position=RotaryPosition(6)), torch.randn(2, 7, 12)
    cache = KVCache(7)
    parts = torch.cat([attention(part, cache) for part in x.split([3, 1, 3], dim=1)], dim=1)
    torch.testing.assert_close(parts, attention(x), rtol=1e-4, atol=1e-5)
    shifted = SelfAttention(12, 2, position=lambda x, start: RotaryPosition(6)(x, start + 50))
    shifted.load_state_dict(attention.state_dict())
    torch.testing.assert_close(shifted(x), attention(x), rtol=1e-3, atol=1e-5)


def test_sinusoids_are_the_papers_formula():
    table = sinusoidal_positions(torch.arange(4, 7), 6)
    for row, place in zip(table, (4, 5, 6), strict=True):
        for i in range(3):
            speed = 1 / 10_000 ** (2 * i / 6)
            assert row[2 * i].item() == pytest.approx(math.sin(place * speed), abs=1e-6)
            assert row[2 * i + 1].item() == pytest.approx(math.cos(place * speed), abs=1e-6)


def test_sinusoids_stand_in_for_a_table():
    places = torch.arange(5)
    assert torch.equal(
        SinusoidalPosition(8, base=50.0)(places), sinusoidal_positions(places, 8, base=50.0)
    )
    assert not list(SinusoidalPosition(8).parameters())


@given(place=st.integers(0, 500), shift=st.integers(0, 50))
def test_a_step_in_sinusoids_is_a_rotation(place, shift):
    here, there = sinusoidal_positions(torch.tensor([place, place + shift]), 8).unflatten(
        -1, (4, 2)
    )
    by = rotary_angles(torch.tensor([shift]), rotary_frequencies(8))[0]
    sine = here[:, 0] * by.cos() + here[:, 1] * by.sin()
    torch.testing.assert_close(sine, there[:, 0], rtol=0, atol=2e-4)


def test_neighbours_equal_a_loop():
    table = Embedding(9, 4)
    rows = table.weight.detach()
    found = table.neighbours(3)
    for i in range(9):
        cosines = {
            j: torch.cosine_similarity(rows[i], rows[j], dim=0).item() for j in range(9) if j != i
        }
        assert found[i].tolist() == sorted(cosines, key=cosines.get, reverse=True)[:3]


@pytest.mark.parametrize("k", [0, 5])
def test_neighbours_refuse_more_than_there_are(k):
    with pytest.raises(ValueError, match=f"{k} neighbours among 5 rows"):
        Embedding(5, 2).neighbours(k)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: rotary_frequencies(5), "a width of 5 cannot be cut into pairs"),
        (lambda: RotaryPosition(0), "a width of 0"),
        (lambda: RotaryPosition(4, base=0.0), "base 0.0 is not above 0"),
        (lambda: SinusoidalPosition(3), "a width of 3"),
        (lambda: RotaryPosition(4)(torch.zeros(1, 1, 2, 6)), "heads of 4 numbers, not of 6"),
        (lambda: PositionInterpolation(0.5), "factor 0.5 is not a finite number from 1"),
        (lambda: YaRN(math.inf, 16), "factor inf"),
        (lambda: YaRN(4.0, 0), "trained_length 0 is below 1"),
        (lambda: YaRN(4.0, 16, 1.0, 32.0), "beta_slow 32.0 and beta_fast 1.0 are not"),
        (lambda: YaRN(4.0, 16, mscale=0.0), "mscale 0.0 is not above 0"),
        (lambda: YaRN(4.0, 16, mscale_all_dim=math.nan), "mscale_all_dim nan"),
        (lambda: RotaryPosition(5, scaling=YaRN(4.0, 16)), "a width of 5"),
        (lambda: RotaryPosition(4, 1.0, YaRN(4.0, 16)), "base 1.0 is not above 1"),
        (lambda: ntk_base(100.0, 2, 4.0), "a width of 2 is one pair"),
        (lambda: ntk_base(100.0, 4, 0.9), "factor 0.9"),
        (
            lambda: RotaryPosition(4, scaling=YaRN(4.0, 2))(torch.zeros(1, 1, 3, 4), 6),
            "9 tokens are more than factor 4.0 x trained_length 2 = 8",
        ),
    ],
)
def test_bad_numbers_are_named(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_rows_may_start_at_places_of_their_own():
    rotary, x = RotaryPosition(8), torch.randn(3, 2, 4, 8)
    together = rotary(x, torch.tensor([5, 0, 2]))
    for row, start in enumerate((5, 0, 2)):
        torch.testing.assert_close(together[row : row + 1], rotary(x[row : row + 1], start))
    with pytest.raises(ValueError, match="2 starts for 3 rows"):
        rotary(x, torch.tensor([1, 2]))


# Beyond the trained length ------------------------------------------------------------------------


def yarn_by_hand(width, base, scaling):
    """The published rule, pair by pair in float64: how many turns within the trained length?"""
    speeds = []
    for i in range(width // 2):
        speed = base ** (-2 * i / width)
        ends = [
            width * math.log(scaling.trained_length / (2 * math.pi * beta)) / (2 * math.log(base))
            for beta in (scaling.beta_fast, scaling.beta_slow)
        ]
        first, last = math.floor(ends[0]), math.ceil(ends[1])
        share = 0.0 if i <= first else 1.0 if i >= last else (i - first) / (last - first)
        speeds.append(speed * (1 - share) + speed / scaling.factor * share)
    return torch.tensor(speeds)


def test_yarn_keeps_fast_pairs_and_divides_slow_ones():
    scaling = YaRN(40.0, 4096)
    got, kept = scaling.frequencies(64, 10_000.0), rotary_frequencies(64)
    torch.testing.assert_close(got, yarn_by_hand(64, 10_000.0, scaling), rtol=1e-5, atol=0)
    turns = 4096 * kept / (2 * math.pi)
    assert torch.equal(got[turns > 40], kept[turns > 40])
    assert torch.equal(got[turns < 0.9], kept[turns < 0.9] / 40)


@given(n=st.integers(2, 16), factor=st.floats(1, 100), length=st.integers(1, 10**6))
def test_stretched_frequencies_lie_between_kept_and_divided(n, factor, length):
    kept = rotary_frequencies(2 * n)
    for got in (
        YaRN(factor, length).frequencies(2 * n, 10_000.0),
        rotary_frequencies(2 * n, ntk_base(10_000.0, 2 * n, factor)),
        PositionInterpolation(factor).frequencies(2 * n, 10_000.0),
    ):
        assert (got <= kept * 1.0001).all() and (got >= kept / factor * 0.9999).all()
        assert (got.diff() < 0).all()


@given(n=st.integers(2, 16), factor=st.floats(1, 100), base=st.floats(2, 1e6))
def test_ntk_keeps_the_fastest_pair_and_divides_the_slowest(n, factor, base):
    kept = rotary_frequencies(2 * n, base)
    got = rotary_frequencies(2 * n, ntk_base(base, 2 * n, factor))
    assert got[0] == kept[0] == 1
    torch.testing.assert_close(got[-1], kept[-1] / factor, rtol=1e-4, atol=0)


def test_where_all_pairs_turn_often_yarn_changes_none_and_where_none_do_it_divides_all_but_one():
    kept = rotary_frequencies(8, 10.0)
    assert torch.equal(YaRN(4.0, 10**6).frequencies(8, 10.0), kept)
    assert torch.equal(YaRN(4.0, 3).frequencies(8, 10.0)[1:], kept[1:] / 4)


def test_interpolated_positions_are_fractions():
    x = torch.randn(1, 2, 9, 6, generator=torch.Generator().manual_seed(0))
    got = RotaryPosition(6, scaling=PositionInterpolation(4.0))(x)
    want = rotate_halves(x, torch.arange(9)[:, None] / 4 * rotary_frequencies(6))
    torch.testing.assert_close(got, want)


def test_yarn_lengthens_what_it_rotates_unless_the_attention_multiplies_its_scores():
    x = torch.randn(1, 2, 9, 6, generator=torch.Generator().manual_seed(0))
    longer = RotaryPosition(6, scaling=YaRN(4.0, 9))(x)
    torch.testing.assert_close(longer.norm(dim=-1), x.norm(dim=-1) * (0.1 * math.log(4) + 1))
    same = RotaryPosition(6, scaling=YaRN(4.0, 9, mscale=0.7, mscale_all_dim=0.7))(x)
    torch.testing.assert_close(same.norm(dim=-1), x.norm(dim=-1))
    scale = YaRN(4.0, 9, mscale=0.7, mscale_all_dim=0.7).score_scale
    assert scale == pytest.approx((0.07 * math.log(4) + 1) ** 2)
    assert yarn_mscale(1.0) == 1
