"""GPT-2: published sizes, causality, caches, errors."""

import pytest
import torch

from course_lib.inference.cache import KVCache
from course_lib.models.gpt2 import (
    GPT2,
    GPT2_LARGE,
    GPT2_MEDIUM,
    GPT2_SMALL,
    GPT2_XL,
    GPT2Settings,
    count_parameters,
)

TINY = GPT2Settings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPT2(TINY)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (GPT2_SMALL, 124_439_808),
        (GPT2_MEDIUM, 354_823_168),
        (GPT2_LARGE, 774_030_080),
        (GPT2_XL, 1_557_611_200),
    ],
)
def test_published_sizes_on_the_meta_device(settings, parameters):
    with torch.device("meta"):
        assert count_parameters(GPT2(settings)) == parameters


def test_parameters_by_formula():
    V, T, C, F, L = 11, 9, 12, 30, 2
    block = 4 * C + (C * 3 * C + 3 * C) + (C * C + C) + (C * F + F) + (F * C + C)
    model = GPT2(GPT2Settings(V, T, C, L, n_heads=3, d_ff=F))
    assert count_parameters(model) == V * C + T * C + L * block + 2 * C


def test_a_fresh_model_spreads_its_bets_evenly(model):
    chances = model(torch.arange(9)[None]).softmax(-1)
    assert (chances - 1 / 11).abs().max() < 0.03


def test_a_later_token_changes_no_earlier_prediction(model):
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    changed = torch.tensor([[1, 2, 3, 9, 5]])
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_positions_matter(model):
    logits = model(torch.tensor([[4, 4]]))
    assert not torch.allclose(logits[0, 0], logits[0, 1])


@pytest.mark.parametrize("cuts", [(1,), (4,), (1, 2, 3, 4, 5, 6, 7, 8), (3, 7)])
def test_cached_equals_uncached_for_any_split(model, cuts):
    ids, caches = torch.randint(11, (2, 9)), [KVCache(9) for _ in range(2)]
    parts = [model(part, caches) for part in ids.tensor_split(list(cuts), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids))


@pytest.mark.parametrize("cut", [0, 3, 5])
def test_a_left_padded_batch_equals_the_single_runs(model, cut):
    rows = [torch.tensor([5, 3, 9, 1, 0, 2, 7, 8]), torch.tensor([4, 4, 10]), torch.tensor([6])]
    for block in model.blocks:  # a fresh model hardly looks around: make mistakes show
        torch.nn.init.normal_(block.attention.qkv.weight, std=0.5)
        torch.nn.init.normal_(block.attention.out.weight, std=0.5)
    batch = torch.stack([torch.nn.functional.pad(row, (8 - len(row), 0), value=1) for row in rows])
    padding = torch.arange(8) < 8 - torch.tensor([[len(row)] for row in rows])
    caches = [KVCache(9) for _ in range(2)] if cut else None
    parts = [model(batch[:, :cut], caches, padding[:, :cut])] if cut else []
    logits = torch.cat([*parts, model(batch[:, cut:], caches, padding)], dim=1)
    for row, got in zip(rows, logits, strict=True):
        torch.testing.assert_close(got[-len(row) :], model(row[None])[0])


def test_hidden_and_logits_make_the_forward_pass(model):
    ids = torch.tensor([[1, 2, 3]])
    hidden = model.hidden(ids)
    assert hidden.shape == (1, 3, 12)
    torch.testing.assert_close(model.logits(hidden[:, -1:]), model(ids)[:, -1:])
    # after the last norm
    torch.testing.assert_close(hidden.mean(-1), torch.zeros(1, 3), atol=1e-6, rtol=0)


def test_padding_must_cover_the_cache_too(model):
    caches = [KVCache(9) for _ in range(2)]
    model(torch.zeros(2, 3, dtype=torch.long), caches)
    with pytest.raises(ValueError, match=r"padding of shape \(2, 1\) for 2 rows of 4 tokens"):
        model(torch.zeros(2, 1, dtype=torch.long), caches, torch.zeros(2, 1, dtype=torch.bool))


def test_the_stream_keeps_its_size_through_depth():
    torch.manual_seed(0)
    settings = GPT2Settings(vocab_size=50, max_seq_len=16, d_model=64, n_layers=24, n_heads=4)
    model = GPT2(settings)
    x = model.token_embedding(torch.arange(16)[None])
    before = x.std().item()
    for block in model.blocks:
        x = block(x)
    assert model.blocks[0].mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.blocks[0].mlp.down.weight.std().item() == pytest.approx(0.02 / 48**0.5, rel=0.05)
    assert before < x.std().item() < 3 * before


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[0, 11]], "token 11 is outside the vocabulary of 11 tokens"),
        ([[0, -1]], "token -1 is outside the vocabulary of 11 tokens"),
        ([[0] * 10], "10 tokens are more than max_seq_len 9"),
    ],
)
def test_impossible_input_names_its_numbers(model, ids, message):
    with pytest.raises(ValueError, match=message):
        model(torch.tensor(ids))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"d_model": 100, "n_heads": 3}, "d_model 100 is not divisible by n_heads 3"),
        ({"n_layers": 0}, "n_layers 0 is below 1"),
        ({"vocab_size": -5}, "vocab_size -5 is below 1"),
        ({"d_ff": 0}, "d_ff 0 is below 1"),
        ({"d_ff": -1}, "d_ff -1 is below 1"),
    ],
)
def test_impossible_settings_name_their_numbers(numbers, message):
    with pytest.raises(ValueError, match=message):
        GPT2Settings(**numbers)


def test_one_batch_can_be_learnt_by_heart(model):
    ids = torch.randint(11, (4, 9))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(
            model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.6  # the first tokens differ by row at most: what follows them is knowable
