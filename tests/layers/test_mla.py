"""Latent attention: the paper's equations by loop, its two forms against each other, and what must
always hold."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.inference.cache import KVCache
from course_lib.layers import mla as mla_file
from course_lib.layers.mla import MLA, absorbed_attention, naive_attention
from course_lib.layers.position import YaRN

SIZES = st.sampled_from(
    [  # n_heads, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim, q_lora_rank
        (1, 1, 1, 2, 1, None),
        (4, 8, 6, 4, 6, 5),
        (3, 5, 7, 2, 9, None),
        (2, 14, 4, 10, 3, 1),
    ]
)
D_MODEL = 12


def layer(sizes, seed=0, q_norm=False, dtype=torch.float32):
    torch.manual_seed(seed)
    mla = MLA(D_MODEL, *sizes, q_norm=q_norm).to(dtype)
    for name, parameter in mla.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5)
    return mla


def turned(vector, place, base=10_000.0):
    """Rotate number i and number i + half as a complex number (the speeds are rounded to float32,
    as in the layer)."""
    half = len(vector) // 2
    speeds = torch.tensor(
        [base ** (-2 * i / len(vector)) for i in range(half)], dtype=torch.float32
    ).double()
    z = torch.complex(vector[:half], vector[half:]) * torch.polar(
        torch.ones(half).double(), place * speeds
    )
    return torch.cat([z.real, z.imag])


def rms(x, weight):
    return x / (x.square().mean() + 1e-6).sqrt() * weight


def by_equations(mla, x, sizes):
    """Equations 37 to 47 of the paper, one token, head and pair at a time."""
    n_heads, R, D, Dr, Dv, q_rank = sizes
    w = {name.removesuffix(".weight"): tensor for name, tensor in mla.named_parameters()}
    out, latents, rotaries = [], [], []
    for t, h in enumerate(x):
        c_q = rms(w["q_down"] @ h, w["q_latent_norm"]) if q_rank else h  # 37
        q = (w["q_up"] @ c_q).view(n_heads, D + Dr)  # 38, 39
        if "q_norm" in w:
            q = torch.stack([rms(head, w["q_norm"]) for head in q])
        latents.append(rms((w["kv_down"] @ h)[:R], w["kv_latent_norm"]))  # 41
        rotaries.append(turned((w["kv_down"] @ h)[R:], t))  # 43
        mixed = []
        for i in range(n_heads):
            up = w["kv_up"].view(n_heads, D + Dv, R)[i]
            query = torch.cat([q[i, :D], turned(q[i, D:], t)])  # 40
            scores = [
                query @ torch.cat([up[:D] @ c, r]) / math.sqrt(D + Dr)  # 42, 44, 46
                for c, r in zip(latents, rotaries, strict=True)
            ]
            weights = torch.stack(scores).softmax(0)
            # 45, 46
            mixed.append(sum(p * (up[D:] @ c) for p, c in zip(weights, latents, strict=True)))
        out.append(w["out"] @ torch.cat(mixed))  # 47
    return torch.stack(out)


def parts(sizes, T, S, seed):
    """Random queries, latents, rotary keys and up-projections in double precision."""
    (H, R, D, Dr, Dv, _), rng = sizes, torch.Generator().manual_seed(seed)
    shapes = [(2, H, T, D), (2, H, T, Dr), (2, S, R), (2, S, Dr), (H, D, R), (H, Dv, R)]
    return [torch.randn(shape, generator=rng, dtype=torch.double) for shape in shapes]


@settings(max_examples=20, deadline=None)
@given(sizes=SIZES, T=st.integers(1, 5), q_norm=st.booleans(), seed=st.integers(0, 99))
def test_the_layer_equals_the_papers_equations_by_loop(sizes, T, q_norm, seed):
    mla = layer(sizes, seed, q_norm, torch.double)
    x = torch.randn(1, T, D_MODEL, dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(mla(x)[0], by_equations(mla, x[0], sizes), rtol=1e-5, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    sizes=SIZES,
    T=st.integers(1, 5),
    past=st.integers(0, 4),
    pad=st.integers(-1, 8),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float, torch.double]),
)
def test_naive_equals_absorbed(sizes, T, past, pad, seed, dtype):
    given_parts = [part.to(dtype) for part in parts(sizes, T, past + T, seed)]
    padding = None
    if pad >= 0:
        padding = torch.arange(past + T) < torch.tensor([[0], [min(pad, past + T - 1)]])
    naive, absorbed = (
        attend(*given_parts, padding) for attend in (naive_attention, absorbed_attention)
    )
    tolerance = 1e-6 if dtype == torch.double else 2e-5 * (1 + naive.abs().max().item())
    torch.testing.assert_close(naive, absorbed, rtol=0, atol=tolerance)


@pytest.mark.parametrize("sizes", [(4, 8, 6, 4, 6, 5), (4, 32, 16, 16, 16, None)])
def test_naive_equals_absorbed_through_the_layer_to_one_in_a_million(sizes):
    """A prompt read at once (naive), and token by token from the cache of latents (absorbed)."""
    mla, cache = layer(sizes), KVCache(20)
    x = torch.randn(3, 20, D_MODEL)
    with torch.no_grad():
        absorbed = torch.cat([mla(token, cache) for token in x.split(1, dim=1)], dim=1)
        torch.testing.assert_close(absorbed, mla(x), rtol=0, atol=1e-6)


def test_a_prompt_is_read_by_the_naive_form_and_what_follows_by_the_absorbed_one(monkeypatch):
    """Absorbed, each pair of a query and a key costs as many products as the latent has numbers."""
    used, (mla, cache) = [], (layer((4, 32, 16, 16, 16, None)), KVCache(9))
    for form in (naive_attention, absorbed_attention):
        noting = lambda *parts, form=form: (used.append(form), form(*parts))[1]  # noqa: E731
        monkeypatch.setattr(mla_file, form.__name__, noting)
    for n_tokens in (7, 1, 1):
        mla(torch.randn(2, n_tokens, D_MODEL), cache)
    mla(torch.randn(2, 1, D_MODEL))
    assert used == [naive_attention, absorbed_attention, absorbed_attention, naive_attention]


@pytest.mark.parametrize("S", [8, 1024, 1025])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float, torch.double])
@pytest.mark.parametrize("pad", [False, True])
def test_short_texts_without_padding_are_read_in_blocks(S, dtype, pad, monkeypatch):
    used = []
    for form in (mla_file.attention_in_blocks, mla_file.causal_attention):
        noting = lambda *parts, form=form, **more: (used.append(form), form(*parts, **more))[1]  # noqa: E731
        monkeypatch.setattr(mla_file, form.__name__, noting)
    given_parts = [part[:1].to(dtype) for part in parts((1, 2, 2, 2, 3, None), S, S, seed=0)]
    padding = torch.zeros(1, S, dtype=torch.bool) if pad else None
    with torch.no_grad():
        naive, absorbed = (
            attend(*given_parts, padding) for attend in (naive_attention, absorbed_attention)
        )
    blocks = S <= 1024 and dtype != torch.bfloat16 and not pad
    assert [form.__name__ for form in used] == [
        "attention_in_blocks" if blocks else "causal_attention"
    ]
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(naive, absorbed, rtol=tolerance, atol=tolerance)


def test_gradients_of_both_forms_are_equal():
    gradients = []
    for attend in (naive_attention, absorbed_attention):
        given_parts = [part.requires_grad_() for part in parts((3, 5, 7, 2, 9, None), 4, 6, seed=1)]
        attend(*given_parts).square().sum().backward()
        gradients.append([part.grad for part in given_parts])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 7), unique=True), sizes=SIZES, q_norm=st.booleans())
def test_cached_equals_uncached_for_any_split(cuts, sizes, q_norm):
    mla, cache = layer(sizes, 5, q_norm), KVCache(8)
    x = torch.randn(2, 8, D_MODEL)
    with torch.no_grad():
        pieces = [mla(part, cache) for part in x.tensor_split(sorted(cuts), dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), mla(x), rtol=1e-5, atol=1e-5)
    assert cache.length == 8


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    left=st.booleans(),
    sizes=SIZES,
    cut=st.integers(0, 5),
)
def test_a_padded_batch_equals_single_runs(lengths, left, sizes, cut):
    """Rows of different lengths, padded on either side with anything at all, in one go and through
    a cache."""
    mla, T = layer(sizes, 6), max(lengths)
    rows = [torch.randn(1, n, D_MODEL) for n in lengths]
    x, padding = (
        torch.randn(len(rows), T, D_MODEL) * 100,
        torch.ones(len(rows), T, dtype=torch.bool),
    )
    for i, (n, row) in enumerate(zip(lengths, rows, strict=True)):
        here = slice(T - n, T) if left else slice(0, n)
        x[i, here], padding[i, here] = row, False
    cache = KVCache(T)
    with torch.no_grad():
        pieces = [mla(x[:, :cut], cache, padding[:, :cut])] if 0 < cut < T else []
        pieces.append(mla(x[:, cache.length :], cache, padding))
        whole, cached = mla(x, padding=padding), torch.cat(pieces, dim=1)
        for i, row in enumerate(rows):
            for out in (whole, cached):
                torch.testing.assert_close(
                    out[i, ~padding[i]][None], mla(row), rtol=1e-4, atol=1e-4
                )


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, changed=st.integers(0, 6))
def test_a_later_token_changes_no_earlier_output(sizes, changed):
    mla = layer(sizes, 7)
    x = torch.randn(1, 7, D_MODEL)
    other = x.clone()
    other[0, changed] += 1
    before, after = mla(x), mla(other)
    assert torch.equal(before[0, :changed], after[0, :changed])
    assert not torch.allclose(before[0, changed], after[0, changed])


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(5)), sizes=SIZES)
def test_the_rotary_key_alone_knows_the_order_of_what_was_read(order, sizes):
    """Shuffle the tokens before the last one: its output changes, unless the rotary keys are
    silenced."""
    mla = layer(sizes, 8)
    x = torch.randn(1, 6, D_MODEL)
    shuffled = x[:, [*order, 5]]
    with torch.no_grad():
        if order != sorted(order):
            assert not torch.allclose(mla(x)[0, -1], mla(shuffled)[0, -1], rtol=0, atol=1e-6)
        mla.kv_down.weight[-mla.kv_widths[1] :] = 0
        torch.testing.assert_close(mla(x)[0, -1], mla(shuffled)[0, -1])


def test_only_distances_count_not_places():
    mla, x = layer((4, 8, 6, 4, 6, 5), 9), torch.randn(2, 5, D_MODEL)
    with torch.no_grad():
        want = mla(x)
        moved = naive_attention(*mla.queries(x, start=40), *mla.latents(x, start=40), *mla.up())
        torch.testing.assert_close(mla.out(moved.transpose(1, 2).flatten(2)), want)


def test_the_cache_holds_the_normed_latent_and_the_rotated_key_and_nothing_else():
    mla, cache = layer((4, 8, 6, 4, 6, 5)), KVCache(7)
    x = torch.randn(3, 5, D_MODEL)
    mla(x, cache)
    latent, k_rotary = cache.stored
    assert (
        latent.shape == (3, 7, 8)
        and k_rotary.shape == (3, 7, 4)
        and cache.n_bytes == 3 * 7 * (8 + 4) * 4
    )
    normed = latent[:, :5] / mla.kv_latent_norm.weight
    torch.testing.assert_close(normed.square().mean(-1), torch.ones(3, 5), rtol=1e-3, atol=0)
    unturned = mla.kv_down(x)[..., 8:]
    torch.testing.assert_close(k_rotary[:, 0], unturned[:, 0])
    torch.testing.assert_close(k_rotary[:, :5].norm(dim=-1), unturned.norm(dim=-1))
    assert not torch.allclose(k_rotary[:, 4], unturned[:, 4])


def test_a_normed_query_does_not_feel_the_size_of_its_token():
    mla = layer((4, 8, 6, 4, 6, None), q_norm=True)
    x = torch.randn(1, 3, D_MODEL)
    for small, large in zip(mla.queries(x), mla.queries(9 * x), strict=True):
        torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_heads": 0}, "n_heads 0 is below 1"),
        ({"kv_lora_rank": -3}, "kv_lora_rank -3 is below 1"),
        ({"q_lora_rank": 0}, "q_lora_rank 0 is below 1"),
        ({"qk_rope_head_dim": 3}, "qk_rope_head_dim 3 cannot be cut into pairs"),
        (
            {"kv_lora_rank": 17},
            "kv_lora_rank 17 is wider than the keys and values of n_heads 2 x 8 numbers",
        ),
        ({"q_lora_rank": 17}, "q_lora_rank 17 is wider than the queries of n_heads 2 x 8 numbers"),
        (
            {"v_head_dim": 9},
            r"v_head_dim 9 is wider than a query, qk_nope_head_dim 4 \+ qk_rope_head_dim 4",
        ),
    ],
)
def test_impossible_widths_name_their_numbers(change, message):
    sizes = {
        "n_heads": 2,
        "kv_lora_rank": 4,
        "qk_nope_head_dim": 4,
        "qk_rope_head_dim": 4,
        "v_head_dim": 4,
    }
    with pytest.raises(ValueError, match=message):
        MLA(8, **sizes | change)


def test_padding_of_another_shape_is_refused():
    # the annotations would refuse first
    unchecked = getattr(absorbed_attention, "__wrapped__", absorbed_attention)
    with pytest.raises(ValueError, match=r"padding of shape \(1, 6\) for 2 rows of 6 keys"):
        unchecked(*parts((3, 5, 7, 2, 9, None), 4, 6, seed=1), torch.zeros(1, 6).bool())
    with pytest.raises((ValueError, TypeError), match="padding"):
        layer((3, 5, 7, 2, 9, None))(torch.zeros(2, 4, D_MODEL), padding=torch.zeros(2, 3).bool())


def test_the_scale_of_yarn_is_in_all_scores_and_in_both_forms():
    torch.manual_seed(0)
    scaling = YaRN(4.0, 4, mscale=1.0, mscale_all_dim=1.0)
    layer, x = MLA(12, 3, 5, 6, 4, 5, rope_scaling=scaling), torch.randn(2, 16, 12)
    plain = MLA(12, 3, 5, 6, 4, 5)
    plain.load_state_dict(layer.state_dict())
    plain.rotary.scaling = scaling  # the frequencies alone
    for got, same in zip(layer.queries(x), plain.queries(x), strict=True):
        torch.testing.assert_close(got, same * (0.1 * math.log(4) + 1) ** 2)
    assert torch.equal(layer.latents(x)[1], plain.latents(x)[1])
    cache = KVCache(16)
    parts = torch.cat([layer(part, cache) for part in x.split([9, 6, 1], dim=1)], dim=1)
    torch.testing.assert_close(parts, layer(x), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="17 tokens are more than factor 4.0 x trained_length 4"):
        layer(torch.randn(1, 17, 12))
