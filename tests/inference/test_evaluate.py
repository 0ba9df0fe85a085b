"""Bits per byte: of a model, of compressors, of n-grams."""

import gzip
import lzma
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.inference import baselines, evaluate
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text import bpe

END = "<|endoftext|>"
TEXTS = [
    "to be or not to be, that is the question",
    "the king is in the counting house, to be sure",
]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train_bpe(TEXTS, 265, special_tokens=[END])


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    model = GPT2(
        GPT2Settings(vocab_size=tokenizer.n_vocab, max_seq_len=8, d_model=12, n_layers=1, n_heads=2)
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def nats_one_by_one(model, ids, stride):
    """Score each token alone, with the context that its window gives it."""
    total = 0.0
    for t in range(1, len(ids)):
        # texts of up to 9 tokens have one window
        window = max(0, math.ceil((t - 8) / stride)) * stride
        total -= model(torch.tensor([ids[window:t]]))[0, -1].log_softmax(-1)[ids[t]].item()
    return total


@pytest.mark.parametrize("length", [2, 5, 9, 10, 13, 30])
@pytest.mark.parametrize("stride", [1, 3, 4, 8])
def test_windows_count_every_token_once_with_its_context(model, length, stride):
    ids = torch.randint(265, (length,), generator=torch.Generator().manual_seed(length))
    want = nats_one_by_one(model, ids.tolist(), stride)
    assert evaluate.sequence_nats(model, ids, stride) == pytest.approx(want, rel=1e-5)


def test_bits_per_byte_of_a_transformer(model, tokenizer):
    scorer = evaluate.transformer_scorer(model, tokenizer, END)
    nats = 0.0
    for text in TEXTS:
        ids = [tokenizer.special_tokens[END], *tokenizer.encode(text)]
        nats += nats_one_by_one(model, ids, stride=4)
    want = nats / math.log(2) / sum(map(len, TEXTS))
    assert evaluate.evaluate_bits_per_byte(scorer, TEXTS) == pytest.approx(want, rel=1e-5)


def test_an_ignorant_model_needs_the_logarithm_of_its_vocabulary(tokenizer):
    model = GPT2(GPT2Settings(vocab_size=265, max_seq_len=8, d_model=12, n_layers=1, n_heads=2))
    model.token_embedding.weight.data.zero_()
    n_tokens, n_bytes = len(tokenizer.encode(TEXTS[0])), len(TEXTS[0])
    got = evaluate.evaluate_bits_per_byte(
        evaluate.transformer_scorer(model, tokenizer, END), TEXTS[:1]
    )
    assert got == pytest.approx(math.log2(265) * n_tokens / n_bytes, rel=1e-5)


def test_user_text_cannot_pose_as_the_start(model, tokenizer):
    scorer = evaluate.transformer_scorer(model, tokenizer, END)
    assert scorer(END) > scorer("") == 0


def test_nothing_to_score_and_a_bad_stride_are_refused(model):
    with pytest.raises(ValueError, match="2 documents hold no text"):
        evaluate.evaluate_bits_per_byte(len, ["", ""])
    with pytest.raises(ValueError, match="stride 9 is not between 1 and max_seq_len 8"):
        evaluate.sequence_nats(model, torch.arange(20), stride=9)


def test_bytes_count_not_characters():
    assert evaluate.evaluate_bits_per_byte(baselines.uniform_bits, ["é", "学"]) == 8
    assert evaluate.evaluate_bits_per_byte(lambda document: 5.0, ["学"]) == pytest.approx(5 / 3)


def test_gzip_and_xz_are_the_sizes_of_their_files(tmp_path):
    with gzip.GzipFile(tmp_path / "text.gz", "wb", compresslevel=9, mtime=0) as file:
        file.write(TEXTS[0].encode())
    stored_name = len("text") + 1
    assert baselines.gzip_bits(TEXTS[0]) == 8 * (
        (tmp_path / "text.gz").stat().st_size - stored_name
    )
    sizes = [
        len(lzma.compress(text.encode(), preset=9)) for text in (TEXTS[0], TEXTS[0] + TEXTS[1])
    ]
    assert baselines.xz_bits_after(TEXTS[0])(TEXTS[1]) == 8 * (sizes[1] - sizes[0])


def test_xz_after_the_same_text_is_almost_free():
    text = " ".join(map(str, np.random.default_rng(0).integers(10**6, size=2000)))
    assert baselines.xz_bits_after(text)(text) < 0.1 * baselines.gzip_bits(text)


def witten_bell(texts, context, byte):
    """The chance by the formula, with dictionaries."""
    if context is None:
        return 1 / 256
    length = len(context)
    followers = Counter(
        text[i + length]
        for text in texts
        for i in range(len(text) - length)
        if text[i : i + length] == context
    )
    shorter = witten_bell(texts, context[1:] if context else None, byte)
    if not followers:
        return shorter
    return (followers[byte] + len(followers) * shorter) / (followers.total() + len(followers))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("abé", min_size=1, max_size=12), min_size=1, max_size=3),
    st.text("abé", min_size=1, max_size=9),
)
def test_ngram_equals_the_formula_and_sums_to_one(texts, document):
    model = baselines.NGramModel(texts, order=4)
    raw, data = [text.encode() for text in texts], document.encode()
    bits = -sum(
        math.log2(witten_bell(raw, data[max(0, i - 3) : i], data[i])) for i in range(len(data))
    )
    assert model(document) == pytest.approx(bits)
    for i in range(len(data)):
        chances = model.probabilities(data[max(0, i - 3) : i])
        assert chances.sum() == pytest.approx(1) and chances.min() > 0
        assert chances[data[i]] == pytest.approx(witten_bell(raw, data[max(0, i - 3) : i], data[i]))


def test_the_longest_context_fits():
    model = baselines.NGramModel(["\xff" * 3 + "abcdefghij" * 3], order=8)
    assert model("cdefghijab") / 10 < 1.5 < model("jihgfedcba") / 10
    assert model.probabilities(b"cdefghi").argmax() == ord("j")


@pytest.mark.parametrize(
    ("documents", "order", "message"),
    [(["a"], 0, "order 0"), (["a"], 9, "order 9"), (["", ""], 3, "2 documents")],
)
def test_impossible_ngrams_name_their_numbers(documents, order, message):
    with pytest.raises(ValueError, match=message):
        baselines.NGramModel(documents, order)
