"""Sampling: exact chances, cached = uncached, seeds, limits, errors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.inference.cache import KVCache
from course_lib.inference.generate import generate, next_token_probs, sample, stream, write
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text import bpe

TINY = GPT2Settings(vocab_size=260, max_seq_len=10, d_model=12, n_layers=2, n_heads=3)
CHANCES = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT2(TINY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)       # opinions, so that a wrong context shows
    return model


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, [0.1, 0.4, 0.05, 0.25, 0.2]),
        ({"temperature": 0.0}, [0, 1, 0, 0, 0]),
        ({"top_k": 1}, [0, 1, 0, 0, 0]),
        ({"top_k": 2}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
        ({"top_k": 99}, [0.1, 0.4, 0.05, 0.25, 0.2]),
        ({"top_p": 0.39}, [0, 1, 0, 0, 0]),
        ({"top_p": 0.5}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
        ({"top_p": 1.0}, [0.1, 0.4, 0.05, 0.25, 0.2]),
        ({"temperature": 0.5}, [0.01 / 0.275, 0.16 / 0.275, 0.0025 / 0.275, 0.0625 / 0.275, 0.04 / 0.275]),
        ({"temperature": 0.5, "top_k": 2}, [0, 0.16 / 0.2225, 0, 0.0625 / 0.2225, 0]),
        ({"top_k": 3, "top_p": 0.5}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),     # shares of what top-k left
    ],
)
def test_exact_chances(options, want):
    torch.testing.assert_close(next_token_probs(CHANCES.log(), **options), torch.tensor(want, dtype=torch.float))


def test_of_equal_tokens_top_k_keeps_exactly_k():
    assert (next_token_probs(torch.zeros(3, 6), top_k=2) > 0).sum(-1).tolist() == [2, 2, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=12),
    st.floats(0.05, 5),
    st.integers(1, 15),
    st.floats(0.01, 1.0),
)
def test_whatever_the_knobs_chances_are_chances_and_the_best_token_stays(logits, temperature, top_k, top_p):
    logits = torch.tensor(logits)
    probs = next_token_probs(logits, temperature, top_k, top_p)
    assert probs.min() >= 0 and probs.sum().item() == pytest.approx(1, abs=1e-5)
    assert (probs > 0).sum() <= top_k
    assert probs[logits.argmax()] == probs.max()


def test_samples_follow_the_chances():
    n = 20_000
    drawn = sample(CHANCES.expand(n, 5), seeded()).bincount(minlength=5)
    chi_square = ((drawn - n * CHANCES) ** 2 / (n * CHANCES)).sum()
    assert chi_square < 18.5                       # four degrees of freedom: exceeded by chance once in a thousand
    assert sample(torch.tensor([[0.0, 1.0, 0.0]]).expand(500, 3)).unique().tolist() == [1]


@pytest.mark.parametrize("prompt_length", [1, 4, 10])
def test_cached_equals_uncached_beyond_the_context_too(model, prompt_length):
    ids = torch.randint(260, (3, prompt_length), generator=seeded(1))
    runs = [generate(model, ids, 30, generator=seeded(2), use_cache=use_cache) for use_cache in (True, False)]
    assert torch.equal(*runs) and runs[0].shape == (3, prompt_length + 30)
    assert torch.equal(runs[0][:, :prompt_length], ids)


def test_greedy_text_is_the_argmax_of_the_model(model):
    ids = torch.tensor([[1, 2, 3]])
    written = generate(model, ids, 5, temperature=0.0)
    for t in range(3, 8):
        assert written[0, t] == model(written[:, :t])[0, -1].argmax()


def test_the_cache_saves_work(model, monkeypatch):
    read = []
    forward = GPT2.forward

    def counting(self, ids, caches=None):
        read.append(ids.shape[1])
        return forward(self, ids, caches)

    monkeypatch.setattr(GPT2, "forward", counting)
    generate(model, torch.tensor([[1, 2, 3]]), 4)
    assert read == [3, 1, 1, 1]
    read.clear()
    generate(model, torch.tensor([[1, 2, 3]]), 10)
    assert read == [3, 1, 1, 1, 1, 1, 1, 1, 5, 1]       # the context of 10 is full: on from its newer half


def test_seeds(model):
    ids = torch.tensor([[5]])
    texts = [generate(model, ids, 12, generator=seeded(seed)).tolist() for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_a_stop_token_ends_each_row_and_then_all(model):
    ids = torch.randint(260, (4, 2), generator=seeded(3))
    free = generate(model, ids, 8, generator=seeded(4))
    stop = free[2, 4].item()
    written = generate(model, ids, 8, generator=seeded(4), stop_token=stop)
    assert torch.equal(written[2, 5:], torch.full((written.shape[1] - 5,), stop))
    assert torch.equal(written[:, :5], free[:, :5])
    alone = generate(model, ids[2:3], 8, temperature=0.0)
    assert generate(model, ids[2:3], 8, temperature=0.0, stop_token=alone[0, 2].item()).shape[1] == 3


def test_stream_yields_token_by_token(model):
    first = next(stream(model, torch.tensor([[1], [2]]), 5, generator=seeded()))
    assert torch.equal(first, generate(model, torch.tensor([[1], [2]]), 1, generator=seeded())[:, 1])


def test_write_goes_from_text_to_text(model):
    tokenizer = bpe.train("to be or not to be, that is the question", 260)
    text = write(model, tokenizer, "to be", 6, seed=1)
    assert text.startswith("to be") and len(text) > 5
    assert text == write(model, tokenizer, "to be", 6, seed=1) != write(model, tokenizer, "to be", 6, seed=2)


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([[]], {}, r"shape \(1, 0\).*1 to max_seq_len 10"),
        ([[1] * 11], {}, r"shape \(1, 11\).*1 to max_seq_len 10"),
        ([[1]], {"temperature": -0.5}, "temperature -0.5"),
        ([[1]], {"temperature": math.inf}, "temperature inf"),
        ([[1]], {"temperature": math.nan}, "temperature nan"),
        ([[1]], {"top_k": 0}, "top_k 0"),
        ([[1]], {"top_p": 0.0}, "top_p 0.0 is outside"),
        ([[1]], {"top_p": 1.5}, "top_p 1.5 is outside"),
        ([[1]], {"max_new_tokens": -1}, "max_new_tokens -1"),
        ([[260]], {}, "token 260"),
    ],
)
def test_impossible_wishes_name_their_numbers(model, prompt, options, message):
    options = {"max_new_tokens": 3} | options
    with pytest.raises(ValueError, match=message):
        generate(model, torch.tensor(prompt, dtype=torch.long), **options)


def test_a_prompt_without_rows_is_refused(model):
    with pytest.raises((ValueError, TypeError)):        # a TypeError where the annotations are checked
        generate(model, torch.tensor([1, 2]), 3)


def test_cache_returns_what_was_put_in():
    cache, (k, v) = KVCache(5), torch.randn(2, 1, 2, 5, 3)
    for t in range(5):
        keys, values = cache.append(k[:, :, t : t + 1], v[:, :, t : t + 1])
        assert torch.equal(keys, k[:, :, : t + 1]) and torch.equal(values, v[:, :, : t + 1])
