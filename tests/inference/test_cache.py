"""The cache: what was put in comes out; rows can be dropped or doubled, tokens forgotten."""

import pytest
import torch

from course_lib.inference.cache import KVCache, make_caches, make_prefix_caches
from course_lib.layers.attention import AttentionCache, SelfAttention
from course_lib.models.gpt2 import GPT2, GPT2Settings

# heads; latent and key; one alone
SHAPES = [[(3, 2, 6, 4), (3, 2, 6, 4)], [(3, 6, 5), (3, 6, 2)], [(3, 1, 6, 7)]]


@pytest.mark.parametrize("shapes", SHAPES)
def test_what_was_appended_comes_back(shapes):
    cache, parts = KVCache(6), [torch.randn(shape) for shape in shapes]
    for start, end in ((0, 3), (3, 4), (4, 6)):
        back = cache.append(*(part[..., start:end, :] for part in parts))
        assert all(
            torch.equal(got, part[..., :end, :]) for got, part in zip(back, parts, strict=True)
        )
    assert cache.length == 6 and cache.n_bytes == 4 * sum(part.numel() for part in parts)
    assert isinstance(cache, AttentionCache) and KVCache(3).n_bytes == 0


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("rows", [[2, 0], [1, 1, 1, 0], [False, True, True], []])
def test_rows_are_dropped_doubled_and_go_on(shapes, rows):
    cache, parts = KVCache(6), [torch.randn(shape) for shape in shapes]
    cache.append(*(part[..., :4, :] for part in parts))
    rows = torch.tensor(rows, dtype=torch.bool if rows[:1] == [False] else torch.long)
    cache.keep(rows)
    back = cache.append(*(part[rows, ..., 4:, :] for part in parts))
    assert all(torch.equal(got, part[rows]) for got, part in zip(back, parts, strict=True))


def test_kept_rows_share_no_memory():
    cache = KVCache(2)
    cache.append(torch.zeros(1, 1, 3))
    cache.keep(torch.tensor([0, 0]))
    (back,) = cache.append(torch.tensor([[[1.0, 1, 1]], [[2.0, 2, 2]]]))
    assert back[:, 1, 0].tolist() == [1, 2]


def test_rewound_tokens_are_forgotten():
    torch.manual_seed(0)
    attention, cache, x = SelfAttention(12, 3, n_kv_heads=1), KVCache(7), torch.randn(2, 7, 12)
    with torch.no_grad():
        attention(x[:, :3], cache)
        attention(torch.randn(2, 4, 12), cache)  # proposed, then refused
        cache.rewind(3)
        torch.testing.assert_close(attention(x[:, 3:], cache), attention(x)[:, 3:])
    cache.rewind(0)
    assert cache.length == 0
    for length in (-1, 1):
        with pytest.raises(ValueError, match=f"holds 0 tokens.*rewound to {length}"):
            cache.rewind(length)


def test_what_does_not_fit_names_its_numbers():
    cache = KVCache(3)
    with pytest.raises(ValueError, match="room for 3 tokens, not for 4"):
        cache.append(torch.zeros(1, 4, 2))
    cache.append(torch.zeros(2, 5, 1, 2), torch.zeros(2, 5, 1, 2))
    with pytest.raises(ValueError, match=r"holds \(2, 5\) rows and heads, not \(1, 5\)"):
        cache.append(torch.zeros(1, 5, 1, 2), torch.zeros(1, 5, 1, 2))
    with pytest.raises(ValueError, match="shorter"):
        cache.append(torch.zeros(2, 5, 1, 2))
    assert cache.length == 1


def test_a_model_that_is_cut_has_a_cache_for_each_block_that_is_left():
    model = GPT2(GPT2Settings(vocab_size=5, max_seq_len=8, d_model=8, n_layers=3, n_heads=2))
    model.blocks = model.blocks[:1]  # as a value model of PPO's
    ids = torch.tensor([[1, 2, 3, 4]])
    for caches in (make_caches(model, 8), make_prefix_caches(model)):
        assert len(caches) == 1
    read = torch.cat([model(ids[:, a:b], caches) for a, b in ((0, 3), (3, 4))], 1)
    torch.testing.assert_close(read, model(ids))


def test_a_model_without_blocks_needs_no_settings():
    model = torch.nn.Module()
    model.blocks = ()
    assert make_caches(model, 8) == make_prefix_caches(model) == []
