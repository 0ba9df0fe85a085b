"""Unigram against the package `tokenizers`, and against all ways to cut a word."""

import itertools
import math
import random

import pytest

from course_lib.text.unigram import (
    SPACE,
    Unigram,
    expected_counts,
    likeliest_pieces,
    normalised,
    spaced_words,
    train_unigram,
)

TEXTS = ["the cat sat on the mat", "the hat of that cat", "a cat, a mat, a hat", "tattoo", "that"]
QUERIES = [
    *TEXTS, "", " ", "  a", "a  b ", "zebra", "xyz the xyz", "é the é", "🙂🙂cat",
    "thethethe", "mat.",
]  # fmt: skip


def theirs(pieces):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.Unigram(pieces, unk_id=0, byte_fallback=False)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    return tokenizer


def test_ids_are_theirs_with_a_trained_vocabulary():
    pieces = train_unigram(TEXTS * 5, 40)
    ours, reference = Unigram(pieces), theirs(pieces)
    for text in QUERIES:
        assert ours.encode(text) == reference.encode(text).ids, text


def test_ids_are_theirs_with_random_vocabularies():
    rng = random.Random(0)
    for _ in range(60):
        found = {"".join(rng.choices("ab" + SPACE, k=rng.randint(1, 4))) for _ in range(12)}
        pieces = [("<unk>", 0.0), *((piece, -rng.uniform(0.5, 9)) for piece in sorted(found))]
        ours, reference = Unigram(pieces), theirs(pieces)
        for _ in range(10):
            text = "".join(rng.choices("abc ", k=12))
            assert ours.encode(text) == reference.encode(text).ids, (pieces, text)


def cuts(word, scores):
    """All ways to cut a word into known pieces."""
    for borders in itertools.product([False, True], repeat=len(word) - 1):
        ends = [i + 1 for i, border in enumerate(borders) if border]
        pieces = [word[a:b] for a, b in itertools.pairwise([0, *ends, len(word)])]
        if all(piece in scores for piece in pieces):
            yield pieces


@pytest.fixture
def scores():
    rng = random.Random(1)
    known = ["a", "b", "ab", "ba", "aa", "aba", "bab", "abab"]
    return normalised({piece: rng.uniform(1, 9) for piece in known})


@pytest.mark.parametrize("word", ["abab", "aabbaab", "bbbb", "abaabaab"])
def test_the_likeliest_cut_is_the_best_of_all(word, scores):
    best = max(cuts(word, scores), key=lambda pieces: sum(scores[p] for p in pieces))
    assert likeliest_pieces(word, scores, -99.0, 4) == best


@pytest.mark.parametrize("word", ["abab", "aabbaab", "abaabaab"])
def test_expected_counts_are_those_over_all_cuts(word, scores):
    ways = [(pieces, math.exp(sum(scores[p] for p in pieces))) for pieces in cuts(word, scores)]
    total = sum(p for _, p in ways)
    got = expected_counts({word: 3}, scores, 4)
    for piece in scores:
        want = sum(3 * p / total * pieces.count(piece) for pieces, p in ways)
        assert got.get(piece, 0.0) == pytest.approx(want)


def test_training_keeps_characters_and_the_size_and_finds_words():
    pieces = train_unigram(TEXTS * 5, 40)
    assert len(pieces) <= 40 and pieces[0] == ("<unk>", 0.0)
    assert {char for text in TEXTS for char in text.replace(" ", SPACE)} <= dict(pieces).keys()
    assert sum(math.exp(score) for _, score in pieces[1:]) == pytest.approx(1.0)
    tokenizer = Unigram(pieces)
    assert len(tokenizer.encode("the cat")) <= 3
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert train_unigram(TEXTS * 5, 40) == pieces


def test_words_begin_with_their_space():
    assert spaced_words(" a b") == [SPACE + "a", SPACE + "b"] and spaced_words("") == []


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="unknown 3 is none of the 1 pieces"):
        Unigram([("a", 0.0)], unknown=3)
    with pytest.raises(ValueError, match="vocab_size 2 has no room for 4 characters"):
        train_unigram(["abc"], 2)
