"""Attention against loops, torch's own kernels and modules, and against what must hold for any
input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.inference.cache import KVCache
from course_lib.layers.attention import (
    SelfAttention,
    attention_in_blocks,
    attention_weights,
    causal_attention,
    head_by_loop,
    visible_keys,
)

SIZES = st.sampled_from([(1, 1), (3, 3), (4, 2), (4, 1), (6, 3)])  # heads, and heads of keys
WINDOWS = st.sampled_from([None, 1, 2, 3, 20])


def attention_by_loop(q, k, v, window=None):
    """One query and one head at a time, from the formula."""
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    out = torch.zeros(B, H, T, D)
    for b in range(B):
        for h in range(H):
            g = h * G // H
            for t in range(T):
                here = S - T + t
                seen = [s for s in range(here + 1) if window is None or here - s < window]
                scores = torch.stack([q[b, h, t] @ k[b, g, s] / math.sqrt(D) for s in seen])
                weights = scores.exp() / scores.exp().sum()
                out[b, h, t] = sum(w * v[b, g, s] for w, s in zip(weights, seen, strict=True))
    return out


def test_one_head_by_loop_is_torchs_causal_attention():
    rng = torch.Generator().manual_seed(0)
    x, W_Q, W_K = torch.randn(5, 6, generator=rng), *torch.randn(2, 6, 3, generator=rng)
    W_V = torch.randn(6, 4, generator=rng)  # values may have another width
    want = F.scaled_dot_product_attention(x @ W_Q, x @ W_K, x @ W_V, is_causal=True)
    torch.testing.assert_close(head_by_loop(x, W_Q, W_K, W_V), want)


def layer(seed, heads, window=None):
    torch.manual_seed(seed)
    return SelfAttention(d_model=4 * heads[0], n_heads=heads[0], n_kv_heads=heads[1], window=window)


@settings(max_examples=40, deadline=None)
@given(
    heads=SIZES,
    window=WINDOWS,
    T=st.integers(1, 7),
    past=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_attention_equals_the_formula_by_loop(heads, window, T, past, seed):
    rng = torch.Generator().manual_seed(seed)
    q = torch.randn(2, heads[0], T, 5, generator=rng)
    k, v = torch.randn(2, 2, heads[1], T + past, 5, generator=rng)
    torch.testing.assert_close(
        causal_attention(q, k, v, window), attention_by_loop(q, k, v, window)
    )


def test_the_table_of_weights_is_what_the_fused_kernel_uses():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)
    weights = attention_weights(q, k, visible_keys(6, 9))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 6))
    torch.testing.assert_close(weights @ v.repeat_interleave(2, dim=1), causal_attention(q, k, v))


@pytest.mark.parametrize("T", [0, 1, 63, 64, 65, 130])
@pytest.mark.parametrize("past", [0, 5])
@pytest.mark.parametrize("Dv", [3, 8, 11])
def test_attention_in_blocks_equals_torchs_function_for_values_of_any_width(T, past, Dv):
    rng = torch.Generator().manual_seed(T)
    shapes = [(2, 3, T, 8), (2, 3, past + T, 8), (2, 3, past + T, Dv)]
    ours = [torch.randn(shape, generator=rng, dtype=torch.double) for shape in shapes]
    theirs = [x.clone().requires_grad_() for x in ours]
    mask = torch.full((T, past + T), -torch.inf).triu(past + 1).double()
    got = attention_in_blocks(*(x.requires_grad_() for x in ours))
    want = F.scaled_dot_product_attention(*theirs, attn_mask=mask)
    torch.testing.assert_close(got, want)
    for out in (got, want):
        out.square().sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize(("H", "G"), [(1, 1), (4, 4), (6, 2)])
def test_forward_and_gradients_equal_torchs_function(H, G):
    torch.manual_seed(1)
    q, k, v = torch.randn(2, H, 7, 4), torch.randn(2, G, 7, 4), torch.randn(2, G, 7, 4)
    ours = [x.clone().requires_grad_() for x in (q, k, v)]
    theirs = [x.clone().requires_grad_() for x in (q, k, v)]
    mask = torch.full((7, 7), -torch.inf).triu(1)
    got = causal_attention(*ours)
    want = F.scaled_dot_product_attention(*theirs, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(got, want)
    for out in (got, want):
        out.square().sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(("d_model", "n_heads"), [(12, 1), (12, 3), (20, 4)])
def test_forward_and_gradients_equal_torchs_module(d_model, n_heads):
    torch.manual_seed(2)
    ours, theirs = (
        SelfAttention(d_model, n_heads),
        nn.MultiheadAttention(d_model, n_heads, batch_first=True),
    )
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = (
        ours.qkv.weight.data.clone(),
        ours.qkv.bias.data.clone(),
    )
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(2, 7, d_model)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    got, (want, shown) = ours(x), theirs(x, x, x, attn_mask=mask, average_attn_weights=False)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(ours.weights(x), shown)
    got.square().sum().backward()
    want.square().sum().backward()
    torch.testing.assert_close(ours.qkv.weight.grad, theirs.in_proj_weight.grad)
    torch.testing.assert_close(ours.qkv.bias.grad, theirs.in_proj_bias.grad)
    torch.testing.assert_close(ours.out.weight.grad, theirs.out_proj.weight.grad)


@pytest.mark.parametrize("window", [None, 2])
def test_the_table_that_is_shown_is_the_one_that_is_used(window):
    """Also with a window, shared keys and marked positions; and nothing learns from looking."""
    torch.manual_seed(0)
    attention = SelfAttention(12, 6, 2, window, position=lambda x, start: x + 1, bias=False)
    assert attention.qkv.bias is None and attention.out.bias is None
    x = torch.randn(2, 5, 12)
    shown, (_, _, v) = attention.weights(x), attention.project(x)
    mixed = shown @ v.repeat_interleave(3, dim=1)
    torch.testing.assert_close(attention.out(mixed.transpose(1, 2).flatten(2)), attention(x))
    assert not shown.requires_grad
    seen = [min(t + 1, window or 5) for t in range(5)]
    assert shown.count_nonzero(-1).tolist() == [[seen] * 6] * 2


@settings(max_examples=25, deadline=None)
@given(heads=SIZES, window=WINDOWS, changed=st.integers(0, 6), seed=st.integers(0, 99))
def test_a_later_token_changes_no_earlier_output(heads, window, changed, seed):
    attention = layer(seed, heads, window)
    x = torch.randn(1, 7, 4 * heads[0])
    other = x.clone()
    other[0, changed] += 1
    before, after = attention(x), attention(other)
    assert torch.equal(before[0, :changed], after[0, :changed])
    assert not torch.allclose(before[0, changed], after[0, changed])


@settings(max_examples=25, deadline=None)
@given(heads=SIZES, changed=st.integers(0, 6), window=st.integers(1, 7))
def test_a_token_outside_the_window_changes_nothing(heads, changed, window):
    attention = layer(3, heads, window)
    x = torch.randn(1, 7, 4 * heads[0])
    other = x.clone()
    other[0, changed] += 1
    before, after = attention(x), attention(other)
    assert torch.equal(before[0, changed + window :], after[0, changed + window :])


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(6)), heads=SIZES)
def test_without_a_mask_tokens_are_a_bag(order, heads):
    """Shuffle the tokens, and the outputs are shuffled the same way: the weights know no order."""
    attention = layer(4, heads)
    x = torch.randn(2, 6, 4 * heads[0])

    def everyone_sees_everyone(x):
        q, k, v = attention.project(x)
        return attention_weights(q, k) @ v.repeat_interleave(heads[0] // heads[1], dim=1)

    torch.testing.assert_close(
        everyone_sees_everyone(x[:, order]), everyone_sees_everyone(x)[:, :, order]
    )


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 7), unique=True), heads=SIZES, window=WINDOWS)
def test_cached_equals_uncached_for_any_split(cuts, heads, window):
    attention, cache = layer(5, heads, window), KVCache(8)
    x = torch.randn(2, 8, 4 * heads[0])
    with torch.no_grad():
        parts = [attention(part, cache) for part in x.tensor_split(sorted(cuts), dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), attention(x))
    assert cache.length == 8


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    left=st.booleans(),
    heads=SIZES,
    window=WINDOWS,
    cut=st.integers(0, 5),
)
def test_a_padded_batch_equals_single_runs(lengths, left, heads, window, cut):
    """Rows of different lengths, padded on either side with anything at all, in one go and through
    a cache."""
    attention, T = layer(6, heads, window), max(lengths)
    rows = [torch.randn(1, n, 4 * heads[0]) for n in lengths]
    fills = [(T - n, 0) if left else (0, T - n) for n in lengths]
    batch = torch.cat(
        [F.pad(row, (0, 0, *fill), value=7.0) for row, fill in zip(rows, fills, strict=True)]
    )
    padding = (
        torch.stack(
            [F.pad(torch.zeros(n), fill, value=1) for n, fill in zip(lengths, fills, strict=True)]
        )
        == 1
    )
    cut, cache = min(cut, T - 1), KVCache(T)
    with torch.no_grad():
        whole = attention(batch, padding=padding)
        first = [attention(batch[:, :cut], cache, padding[:, :cut])] if cut else []
        parts = [*first, attention(batch[:, cut:], cache, padding)]
        assert whole.isfinite().all()
        for i, (row, (before, _)) in enumerate(zip(rows, fills, strict=True)):
            here = slice(before, before + lengths[i])
            torch.testing.assert_close(whole[i, here], attention(row)[0])
            torch.testing.assert_close(torch.cat(parts, dim=1)[i, here], attention(row)[0])


def test_a_token_of_padding_still_sees_itself():
    padding = torch.tensor([[True, True, False], [False, False, True]])
    visible = visible_keys(3, 3, padding=padding)
    assert visible.int().tolist() == [
        [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]],
        [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]],
    ]
    assert (
        attention_weights(torch.randn(2, 1, 3, 4), torch.randn(2, 1, 3, 4), visible)
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("arguments", [{}, {"T": 1}, {"window": 6}])
def test_no_mask_is_built_where_none_is_needed(monkeypatch, arguments):
    def refuse(*_):
        raise AssertionError("a mask was built")

    monkeypatch.setattr("course_lib.layers.attention.visible_keys", refuse)
    k = v = torch.randn(1, 2, 6, 4)
    q = torch.randn(1, 2, arguments.pop("T", 6), 4)
    assert causal_attention(q, k, v, **arguments).shape == q.shape


def test_positions_mark_queries_and_keys_counting_on_from_the_cache():
    starts = []

    def position(x, start):
        starts.append((x.shape[1], start))
        return x + start

    attention, cache = SelfAttention(12, 3, n_kv_heads=1, position=position), KVCache(5)
    for n in (3, 2):
        attention(torch.randn(1, n, 12), cache)
    assert starts == [(4, 0), (4, 3)]  # three heads of queries and one of keys


def test_shared_keys_shrink_the_cache():
    x = torch.randn(1, 4, 24)
    sizes = []
    for n_kv_heads in (6, 2, 1):
        cache = KVCache(4)
        SelfAttention(24, 6, n_kv_heads)(x, cache)
        sizes.append(cache.n_bytes)
    assert sizes == [2 * 6 * 4 * 4 * 4, 2 * 2 * 4 * 4 * 4, 2 * 1 * 4 * 4 * 4]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"d_model": 100, "n_heads": 3}, "d_model 100 is not divisible by n_heads 3"),
        ({"d_model": 12, "n_heads": 0}, "d_model 12 is not divisible by n_heads 0"),
        (
            {"d_model": 12, "n_heads": 6, "n_kv_heads": 4},
            "n_heads 6 is not divisible by n_kv_heads 4",
        ),
        (
            {"d_model": 12, "n_heads": 6, "n_kv_heads": 0},
            "n_heads 6 is not divisible by n_kv_heads 0",
        ),
        (
            {"d_model": 12, "n_heads": 6, "window": 0},
            "a window of 0 tokens leaves nothing to look at",
        ),
    ],
)
def test_impossible_sizes_name_their_numbers(numbers, message):
    with pytest.raises(ValueError, match=message):
        SelfAttention(**numbers)


def test_more_queries_than_keys_is_refused():
    with pytest.raises(ValueError, match="3 queries cannot stand at the last of 2 keys"):
        causal_attention(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))


def test_padding_of_another_shape_is_refused():
    with pytest.raises(
        (ValueError, TypeError), match="padding"
    ):  # a TypeError where the annotations are checked
        SelfAttention(12, 3)(torch.zeros(2, 4, 12), padding=torch.zeros(2, 3, dtype=torch.bool))


def test_a_full_cache_says_its_numbers():
    cache = KVCache(4)
    with pytest.raises(ValueError, match="room for 4 tokens, not for 5"):
        cache.append(torch.zeros(1, 1, 5, 2), torch.zeros(1, 1, 5, 2))
    assert cache.length == 0


def test_a_cache_of_other_rows_or_heads_says_its_numbers():
    cache = KVCache(4)
    cache.append(torch.zeros(2, 3, 1, 2), torch.zeros(2, 3, 1, 2))
    with pytest.raises(ValueError, match=r"holds \(2, 3\) rows and heads, not \(1, 3\)"):
        cache.append(torch.zeros(1, 3, 1, 2), torch.zeros(1, 3, 1, 2))
    assert cache.length == 1
