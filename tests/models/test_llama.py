"""Llama: published sizes, causality, caches, padding, errors."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.inference.cache import KVCache
from course_lib.layers.attention import SelfAttention
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import (
    DEEPSEEK_7B,
    DEEPSEEK_67B,
    SMOLLM2_135M,
    Llama,
    LlamaSettings,
    kv_cache_numbers_per_token,
)

TINY = LlamaSettings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3, n_kv_heads=1)


def llama(numbers=TINY, seed=0):
    """A model with weights large enough that attention is not even."""
    torch.manual_seed(seed)
    model = Llama(numbers)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model


@pytest.mark.parametrize(
    ("numbers", "parameters", "printed"),
    [
        (DEEPSEEK_7B, 6_910_365_696, 6.9e9),
        (DEEPSEEK_67B, 67_425_001_472, 67.4e9),
        (SMOLLM2_135M, 134_515_008, 0.135e9),
    ],
)
def test_published_sizes_on_the_meta_device(numbers, parameters, printed):
    """To the parameter, as transformers counts them, and to the digits that the papers print."""
    with torch.device("meta"):
        assert count_parameters(Llama(numbers)) == parameters == pytest.approx(printed, rel=0.005)


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_by_formula(tied):
    V, C, F, L, H, G, D = 11, 12, 30, 2, 3, 1, 4
    block = 2 * C + C * (H + 2 * G) * D + C * C + 3 * C * F
    numbers = LlamaSettings(V, 9, C, L, H, G, d_ff=F, tied=tied)
    assert count_parameters(Llama(numbers)) == (1 if tied else 2) * V * C + L * block + C


def test_the_swiglu_is_as_large_as_gpt2s_mlp_by_default():
    for d_model in (48, 64, 192, 576):
        d_ff = LlamaSettings(8, 8, d_model, 1, 1).d_ff
        assert d_ff % 8 == 0 and abs(3 * d_ff - 8 * d_model) <= 12


@pytest.mark.parametrize("n_kv_heads", [6, 2, 1])
def test_cache_numbers_by_formula_equal_those_of_a_real_cache(n_kv_heads):
    numbers = LlamaSettings(11, 9, 24, n_layers=3, n_heads=6, n_kv_heads=n_kv_heads)
    caches = [KVCache(9) for _ in range(3)]
    Llama(numbers)(torch.zeros(2, 4, dtype=torch.long), caches)
    floats = sum(cache.n_bytes for cache in caches) / 4
    assert floats / (2 * 9) == kv_cache_numbers_per_token(numbers) == 3 * 2 * n_kv_heads * 4


def test_grouped_heads_shrink_the_published_cache_eightfold():
    assert kv_cache_numbers_per_token(DEEPSEEK_67B) == 194_560
    assert kv_cache_numbers_per_token(replace(DEEPSEEK_67B, n_kv_heads=64)) == 8 * 194_560


def test_hidden_and_logits_are_the_two_halves_of_forward():
    for tied in (False, True):
        model, ids = llama(replace(TINY, tied=tied)), torch.randint(11, (2, 5))
        hidden = model.hidden(ids)
        assert hidden.shape == (2, 5, 12)
        torch.testing.assert_close(model.logits(hidden), model(ids), rtol=0, atol=0)
        table = (model.token_embedding if tied else model.head).weight
        torch.testing.assert_close(model(ids), hidden @ table.T)


def test_a_fresh_model_spreads_its_bets_evenly():
    assert (Llama(TINY)(torch.arange(9)[None]).softmax(-1) - 1 / 11).abs().max() < 0.03


def test_the_stream_keeps_its_size_through_depth():
    torch.manual_seed(0)
    model = Llama(LlamaSettings(50, 16, d_model=64, n_layers=24, n_heads=4))
    x = model.token_embedding(torch.arange(16)[None])
    before = x.std().item()
    for block in model.blocks:
        x = block(x)
    assert model.blocks[0].mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.05)
    for writer in (model.blocks[0].mlp.down, model.blocks[0].attention.out):
        assert writer.weight.std().item() == pytest.approx(0.02 / 48**0.5, rel=0.05)
    assert before < x.std().item() < 3 * before


@settings(max_examples=20, deadline=None)
@given(changed=st.integers(0, 8))
def test_a_later_token_changes_no_earlier_prediction(changed):
    model, ids = llama(), torch.arange(9)[None]
    other = ids.clone()
    other[0, changed] = 10
    before, after = model(ids), model(other)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert not torch.allclose(before[:, changed], after[:, changed])


def test_order_matters():
    model = llama()
    a, b = model(torch.tensor([[4, 7, 2], [7, 4, 2]]))[:, -1]
    assert not torch.allclose(a, b)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 8), unique=True))
def test_cached_equals_uncached_for_any_split(cuts):
    model, ids, caches = llama(), torch.randint(11, (2, 9)), [KVCache(9) for _ in range(2)]
    parts = [model(part, caches) for part in ids.tensor_split(sorted(cuts), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=4), cut=st.integers(1, 5))
def test_a_left_padded_batch_equals_single_runs(lengths, cut):
    model, T = llama(), max(lengths)
    padding = torch.arange(T) < T - torch.tensor(lengths)[:, None]
    ids, caches, cut = (
        torch.randint(11, (len(lengths), T)),
        [KVCache(T) for _ in range(2)],
        min(cut, T - 1),
    )
    first = [model(ids[:, :cut], caches, padding[:, :cut])] if cut else []
    whole, cached = (
        model(ids, padding=padding),
        torch.cat([*first, model(ids[:, cut:], caches, padding)], dim=1),
    )
    for row, n in enumerate(lengths):
        alone = model(ids[row : row + 1, T - n :])
        for out in (whole, cached):
            torch.testing.assert_close(out[row : row + 1, T - n :], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[0, 11]], "token 11 is outside the vocabulary of 11 tokens"),
        ([[0, -1]], "token -1 is outside the vocabulary of 11 tokens"),
        ([[0] * 10], "10 tokens are more than max_seq_len 9"),
    ],
)
def test_impossible_input_names_its_numbers(ids, message):
    with pytest.raises(ValueError, match=message):
        Llama(TINY)(torch.tensor(ids))


def test_tokens_in_the_cache_count_against_the_context():
    model, caches = Llama(TINY), [KVCache(20) for _ in range(2)]
    model(torch.zeros(1, 6, dtype=torch.long), caches)
    with pytest.raises(ValueError, match="10 tokens are more than max_seq_len 9"):
        model(torch.zeros(1, 4, dtype=torch.long), caches)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"d_model": 100, "n_heads": 3}, "d_model 100 is not divisible by n_heads 3"),
        ({"n_heads": 6, "n_kv_heads": 4}, "n_heads 6 is not divisible by n_kv_heads 4"),
        ({"d_model": 12, "n_heads": 4}, "d_model 12 / n_heads 4 is odd"),
        ({"n_layers": 0}, "n_layers 0 is below 1"),
        ({"n_kv_heads": 0}, "n_kv_heads 0 is below 1"),
        ({"d_ff": 0}, "d_ff 0 is below 1"),
        ({"rope_base": 0.0}, "rope_base 0.0 is not above 0"),
        ({"norm_eps": -1e-6}, "norm_eps -1e-06 is not above 0"),
    ],
)
def test_impossible_settings_name_their_numbers(numbers, message):
    with pytest.raises(ValueError, match=message):
        LlamaSettings(
            **{
                "vocab_size": 11,
                "max_seq_len": 9,
                "d_model": 12,
                "n_layers": 2,
                "n_heads": 3,
                **numbers,
            }
        )


def test_it_has_no_biases_and_one_kind_of_attention():
    model = Llama(TINY)
    assert not [name for name, _ in model.named_parameters() if "bias" in name]
    assert all(isinstance(block.attention, SelfAttention) for block in model.blocks)


def test_one_batch_can_be_learnt_by_heart():
    torch.manual_seed(0)
    model, ids = Llama(TINY), torch.randint(11, (4, 9))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(
            model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.6  # the first tokens differ by row at most: what follows them is knowable
