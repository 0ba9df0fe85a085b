"""Sentence vectors: batches hold every text once, order and padding change nothing."""

import pytest
import torch

from course_lib.inference import encode
from course_lib.models.bert import BERTEncoder, BERTSettings, sentence_vectors
from course_lib.text.wordpiece import WordPiece

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"]
TEXTS = ["a", "b c d e f g h", "", "h g f", "c c", "a b c d e f g h a b c", "b", "x a"]


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    model = BERTEncoder(BERTSettings(len(PIECES), 16, 8, 2, 2))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model.eval(), WordPiece(PIECES)


@pytest.mark.parametrize("n_tokens", [1, 5, 12, 1000])
def test_batches_hold_every_row_once_and_are_no_larger_than_asked(n_tokens):
    lengths = [3, 9, 5, 3, 4, 13, 3, 4]
    batches = list(encode.batches_by_length(lengths, n_tokens))
    assert sorted(sum(batches, [])) == list(range(8))
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest)
    assert all(
        len(b) == 1 or len(b) * top <= n_tokens for b, top in zip(batches, longest, strict=True)
    )
    if n_tokens == 1000:
        assert len(batches) == 1
    assert list(encode.batches_by_length([], n_tokens)) == []


@pytest.mark.parametrize("batch_tokens", [1, 20, 500])
def test_vectors_are_those_of_each_text_alone(small, batch_tokens):
    model, tokenizer = small
    got = encode.encode_texts(model, tokenizer, TEXTS, batch_tokens=batch_tokens)
    for text, vector in zip(TEXTS, got, strict=True):
        ids = torch.tensor([[2, *tokenizer.encode(text), 3]])
        with torch.no_grad():
            hidden = model(ids)[0]
        want = hidden.mean(0) / hidden.mean(0).norm()
        torch.testing.assert_close(vector, want, rtol=1e-5, atol=1e-6)


def test_a_long_text_loses_its_end(small):
    model, tokenizer = small
    assert encode.text_row(tokenizer, "a b c d", longest=5) == [2, 4, 5, 6, 3]
    short = encode.encode_texts(model, tokenizer, ["a b c d", "a b c"], longest=5)
    torch.testing.assert_close(short[0], short[1])


def test_no_texts_give_no_vectors(small):
    assert encode.encode_texts(*small, []).shape == (0, 8)
    assert sentence_vectors(torch.ones(1, 2, 4)).shape == (1, 4)
