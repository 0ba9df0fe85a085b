"""Sampling: exact chances, cached = uncached, seeds, limits, errors; beam search = exhaustive
search."""

import itertools
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from course_lib.inference.cache import KVCache
from course_lib.inference.generate import (
    apply_temperature,
    beam_search,
    best_extensions,
    generate,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_token_probs,
    penalize_repeats,
    sample_tokens,
    stream_tokens,
    write_text,
)
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text import bpe

TINY = GPT2Settings(vocab_size=260, max_seq_len=10, d_model=12, n_layers=2, n_heads=3)
CHANCES = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT2(TINY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # opinions, so that a wrong context shows
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
        (
            {"temperature": 0.5},
            [0.01 / 0.275, 0.16 / 0.275, 0.0025 / 0.275, 0.0625 / 0.275, 0.04 / 0.275],
        ),
        ({"temperature": 0.5, "top_k": 2}, [0, 0.16 / 0.2225, 0, 0.0625 / 0.2225, 0]),
        (
            {"top_k": 3, "top_p": 0.5},
            [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0],
        ),  # shares of what top-k left
        ({"min_p": 0.0}, [0.1, 0.4, 0.05, 0.25, 0.2]),
        ({"min_p": 0.49}, [0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85]),  # at least 0.196
        ({"min_p": 0.99}, [0, 1, 0, 0, 0]),
        (
            {"temperature": 0.5, "min_p": 0.3},
            [0, 0.16 / 0.2225, 0, 0.0625 / 0.2225, 0],
        ),  # at least 0.3 x 0.16
        ({"temperature": 0.0, "top_k": 3, "top_p": 0.9, "min_p": 0.1}, [0, 1, 0, 0, 0]),
    ],
)
def test_exact_chances(options, want):
    torch.testing.assert_close(
        next_token_probs(CHANCES.log(), **options), torch.tensor(want, dtype=torch.float)
    )


def test_of_equal_tokens_top_k_keeps_exactly_k():
    assert (next_token_probs(torch.zeros(3, 6), top_k=2) > 0).sum(-1).tolist() == [2, 2, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=12),
    st.floats(0.05, 5),
    st.integers(1, 15),
    st.floats(0.01, 1.0),
    st.floats(0, 0.99),
)
@example([-2.9365424884957326e-19, 0.0], 1.0, 2, 0.5, 0.0)
def test_whatever_the_knobs_chances_are_chances_and_the_best_token_stays(
    logits, temperature, top_k, top_p, min_p
):
    logits = torch.tensor(logits)
    probs = next_token_probs(logits, temperature, top_k, top_p, min_p)
    assert probs.min() >= 0 and probs.sum().item() == pytest.approx(1, abs=1e-5)
    assert (probs > 0).sum() <= top_k
    chances = apply_temperature(logits, temperature).double().softmax(-1)
    # of equals, which scores may hide, one stays
    assert probs[chances == chances.max()].max() == probs.max()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=9), st.floats(0.02, 0.98))
def test_filters_keep_the_tokens_that_their_words_promise(logits, p):
    probs = torch.tensor(logits, dtype=torch.double).softmax(-1)
    nucleus = keep_top_p(probs.log(), p) > -torch.inf
    assert probs[nucleus].sum() >= p - 1e-9  # it holds p of the chance ...
    assert probs[nucleus].sum() - probs[nucleus].min() < p + 1e-9  # ... and fewer would not
    # it holds the best
    assert nucleus.all() or probs[nucleus].min() >= probs[~nucleus].max() - 1e-12
    likely = keep_min_p(probs.log(), p) > -torch.inf
    assert (probs[likely] >= (p - 1e-9) * probs.max()).all() and (
        probs[~likely] < (p + 1e-9) * probs.max()
    ).all()


def test_filters_touch_no_score_that_they_keep_nor_their_argument():
    logits = CHANCES.log()
    for filtered in (keep_top_k(logits, 2), keep_top_p(logits, 0.5), keep_min_p(logits, 0.6)):
        assert torch.equal(filtered.isinf(), torch.tensor([True, False, True, False, True]))
        assert torch.equal(filtered[[1, 3]], logits[[1, 3]])
    assert torch.equal(logits, CHANCES.log())


def test_the_order_of_the_knobs_matters():
    logits = CHANCES.log()
    as_stated = next_token_probs(logits, temperature=3.0, top_p=0.5)
    reversed_order = apply_temperature(keep_top_p(logits, 0.5), 3.0).softmax(-1)
    assert (as_stated > 0).sum() == 3 and (
        reversed_order > 0
    ).sum() == 2  # flat chances need more tokens


@pytest.mark.parametrize("temperature", [1e-40, 1e-6, 1e6])
def test_extreme_temperatures_stay_finite(temperature):
    probs = next_token_probs(torch.tensor([5.0, 1.0, 3.0]), temperature)
    assert probs.tolist() == pytest.approx([1 / 3] * 3 if temperature > 1 else [1, 0, 0], abs=1e-5)


def test_top_p_of_1_keeps_every_token_whatever_rounding_makes_of_the_sum():
    assert (next_token_probs(torch.tensor([60.0, 0.0, 1.0]), top_p=1.0) > 0).all()


def test_repeats_are_penalized_once_on_either_side_of_zero():
    logits = torch.tensor([[3.0, -1.0, 2.0, 0.0], [3.0, -1.0, 2.0, 0.0]])
    ids = torch.tensor([[0, 1, 0, 3], [2, 2, 2, 2]])
    want = torch.tensor([[1.5, -2.0, 2.0, 0.0], [3.0, -1.0, 1.0, 0.0]])
    torch.testing.assert_close(penalize_repeats(logits, ids, 2.0), want)
    probs = next_token_probs(logits, repetition_penalty=2.0, ids=ids)
    torch.testing.assert_close(probs, want.softmax(-1))
    assert torch.equal(penalize_repeats(logits, ids, 1.0), logits)
    with pytest.raises(ValueError, match="repetition_penalty 2.0 needs ids"):
        next_token_probs(logits, repetition_penalty=2.0)
    with pytest.raises(ValueError, match="token 4 is outside the vocabulary of 4"):
        penalize_repeats(logits, ids + 1, 2.0)


def test_a_heavy_penalty_ends_a_greedy_loop(model):
    ids = torch.tensor([[7]])
    written = generate(model, ids, 9, temperature=0.0, repetition_penalty=1e6)[0].tolist()
    assert len(set(written)) == 10
    assert len(set(generate(model, ids, 9, temperature=0.0)[0].tolist())) < 10


def test_samples_follow_the_chances():
    n = 20_000
    drawn = sample_tokens(CHANCES.expand(n, 5), seeded()).bincount(minlength=5)
    chi_square = ((drawn - n * CHANCES) ** 2 / (n * CHANCES)).sum()
    assert chi_square < 18.5  # four degrees of freedom: exceeded by chance once in a thousand
    assert sample_tokens(torch.tensor([[0.0, 1.0, 0.0]]).expand(500, 3)).unique().tolist() == [1]
    for broken in (math.nan, 0.0):
        with pytest.raises(ValueError, match="NaN or all 0"):
            sample_tokens(torch.tensor([[0.5, 0.5], [broken, broken]]))


@pytest.mark.parametrize(
    "options", [{"top_k": 3}, {"top_p": 0.8}, {"min_p": 0.3}, {"temperature": 2.0}]
)
def test_samples_follow_what_each_method_leaves(options):
    n = 10_000
    probs = next_token_probs(CHANCES.log(), **options)
    drawn = sample_tokens(probs.expand(n, 5), seeded(1)).bincount(minlength=5)
    kept = probs > 0
    assert drawn[~kept].sum() == 0
    chi_square = ((drawn - n * probs)[kept] ** 2 / (n * probs[kept])).sum()
    assert chi_square < 18.5  # at most four degrees of freedom


@pytest.mark.parametrize("prompt_length", [1, 4, 10])
def test_cached_equals_uncached_beyond_the_context_too(model, prompt_length):
    ids = torch.randint(260, (3, prompt_length), generator=seeded(1))
    runs = [
        generate(model, ids, 30, generator=seeded(2), use_cache=use_cache)
        for use_cache in (True, False)
    ]
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
    # the context of 10 is full: on from its newer half
    assert read == [3, 1, 1, 1, 1, 1, 1, 1, 5, 1]


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
    assert (
        generate(model, ids[2:3], 8, temperature=0.0, stop_token=alone[0, 2].item()).shape[1] == 3
    )


def test_what_was_written_can_be_trained_on(model):
    written = generate(model, torch.tensor([[1, 2]]), 3)
    token = next(stream_tokens(model, written, 1, use_cache=False))
    assert not written.is_inference() and not token.is_inference()
    model(torch.cat([written, token[None]], dim=1)).sum().backward()


def test_stream_yields_token_by_token(model):
    first = next(stream_tokens(model, torch.tensor([[1], [2]]), 5, generator=seeded()))
    assert torch.equal(
        first, generate(model, torch.tensor([[1], [2]]), 1, generator=seeded())[:, 1]
    )


def test_write_goes_from_text_to_text(model):
    tokenizer = bpe.train_bpe("to be or not to be, that is the question", 260)
    text = write_text(model, tokenizer, "to be", 6, seed=1)
    assert text.startswith("to be") and len(text) > 5
    assert (
        text
        == write_text(model, tokenizer, "to be", 6, seed=1)
        != write_text(model, tokenizer, "to be", 6, seed=2)
    )


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
        ([[1]], {"min_p": 1.0}, r"min_p 1.0 is outside \[0, 1\)"),
        ([[1]], {"min_p": -0.1}, "min_p -0.1 is outside"),
        ([[1]], {"repetition_penalty": 0.0}, "repetition_penalty 0.0"),
        ([[1]], {"repetition_penalty": math.nan}, "repetition_penalty nan"),
        ([[1]], {"max_new_tokens": -1}, "max_new_tokens -1"),
        ([[260]], {}, "token 260"),
    ],
)
def test_impossible_wishes_name_their_numbers(model, prompt, options, message):
    options = {"max_new_tokens": 3} | options
    with pytest.raises(ValueError, match=message):
        generate(model, torch.tensor(prompt, dtype=torch.long), **options)


def test_a_prompt_without_rows_is_refused(model):
    with pytest.raises((ValueError, TypeError)):  # a TypeError where the annotations are checked
        generate(model, torch.tensor([1, 2]), 3)


def test_cache_returns_what_was_put_in():
    cache, (k, v) = KVCache(5), torch.randn(2, 1, 2, 5, 3)
    for t in range(5):
        keys, values = cache.append(k[:, :, t : t + 1], v[:, :, t : t + 1])
        assert torch.equal(keys, k[:, :, : t + 1]) and torch.equal(values, v[:, :, : t + 1])


@pytest.fixture(scope="module")
def small():
    """A model of five tokens with opinions: all its short texts can be listed."""
    torch.manual_seed(3)
    model = GPT2(GPT2Settings(vocab_size=5, max_seq_len=8, d_model=8, n_layers=1, n_heads=2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def exhaustive(model, prompt, n, stop_token=None):
    """Every text of at most n tokens (shorter where it says `stop_token`, which then fills it) with
    its log chance."""
    texts = {}
    for tokens in itertools.product(range(5), repeat=n):
        log_p, text = 0.0, list(prompt)
        for token in tokens:
            log_p += model(torch.tensor([text]))[0, -1].double().log_softmax(-1)[token].item()
            text.append(token)
            if token == stop_token:
                break
        texts[(*text, *[stop_token] * (len(prompt) + n - len(text)))] = log_p
    return sorted(texts.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("stop_token", [None, 0])
def test_a_beam_as_wide_as_there_are_texts_is_exhaustive_search(small, stop_token):
    want = exhaustive(small, [1, 2], 3, stop_token)
    beams, scores = beam_search(small, torch.tensor([1, 2]), 3, n_beams=200, stop_token=stop_token)
    assert [tuple(beam) for beam in beams.tolist()] == [text for text, _ in want]
    assert scores.tolist() == pytest.approx([log_p for _, log_p in want], abs=1e-5)
    assert scores.exp().sum().item() == pytest.approx(1)


def test_one_beam_is_greedy_and_more_find_a_likelier_text(small):
    found = []
    for start in range(5):
        greedy, greedy_score = beam_search(small, torch.tensor([start]), 4, n_beams=1)
        assert torch.equal(greedy, generate(small, torch.tensor([[start]]), 4, temperature=0.0))
        best = beam_search(small, torch.tensor([start]), 4, n_beams=125)[1]
        assert len(best) == 125 and best.tolist() == sorted(best.tolist(), reverse=True)
        found.append(best[0].item() - greedy_score[0].item())
    assert min(found) > -1e-5 and max(found) > 0.1


def test_beams_by_hand_the_likelier_first_token_loses():
    """0.6 x 0.5 loses against 0.4 x 0.9: greedy goes wrong, two beams do not."""
    first = best_extensions(
        torch.tensor([[0]]), torch.zeros(1), torch.tensor([[0.6, 0.4]]).log(), n_beams=2
    )
    beams, scores = best_extensions(*first, torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log(), n_beams=2)
    assert beams[0].tolist() == [0, 1, 0] and scores.exp().tolist() == pytest.approx([0.36, 0.30])
    with pytest.raises(ValueError, match="beams are NaN"):
        best_extensions(*first, torch.full((2, 2), math.nan), n_beams=2)


def test_all_beams_done_ends_the_search(small):
    prompt = torch.tensor([4])
    stop = generate(small, prompt[None], 1, temperature=0.0)[0, 1].item()
    beams, _ = beam_search(small, prompt, 5, n_beams=1, stop_token=stop)
    assert beams.tolist() == [[4, stop]]
    assert beam_search(small, prompt, 0, n_beams=3)[0].tolist() == [[4]]


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "prompt of 0 tokens"),
        ([1] * 6, {}, "prompt of 6 tokens and 3 new ones.*max_seq_len 8"),
        ([1], {"n_beams": 0}, "n_beams 0"),
        ([1], {"max_new_tokens": -2}, "max_new_tokens -2"),
        ([1], {"stop_token": 5}, "token 5 is outside the vocabulary of 5"),
    ],
)
def test_impossible_beams_name_their_numbers(small, prompt, options, message):
    options = {"max_new_tokens": 3, "n_beams": 2} | options
    with pytest.raises(ValueError, match=message):
        beam_search(small, torch.tensor(prompt, dtype=torch.long), **options)
