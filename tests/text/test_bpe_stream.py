"""A stream is encoded as its whole text is, wherever its texts end, in memory that doesn't grow
with its length."""

import random
import tracemalloc
from itertools import islice
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.text import bpe
from course_lib.text.bpe import patterns
from course_lib.text.bpe.patterns import cut_long_text

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
PATTERNS = [bpe.GPT2_PATTERN, bpe.DIGITS_PATTERN, bpe.WORD_PATTERN]
OWN_PATTERN = r"(?s)a+b|.(?=.*z)|."  # looks as far as the text goes
SPECIAL = ["<|end|>", "<|end|>er", "<", "d|> and more", "\n\n"]
TRAINING = "User: 12+7=?\nAssistant: don't  you'll know it is 19, a  1  2\n\n中文字 é " * 4
FRAGMENTS = [
    *"a b 1 '\n\t é中.,!+-:zUQA",
    "  ",
    "\n\n",
    " \n ",
    "'s",
    "'ll",
    "'l",
    "User: ",
    "\nUser",
    "Assistant",
    ": ",
    "Q: ",
    "word",
    " word",
    "12",
    "½",
    "e\u0301",
    "\u2028",
    "\x1c",
    "\u3000",
    "<|end|>",
    "<|end",
    "|>er",
    "<",
    "🙂",
    "ab" * 9,
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join) | st.text(max_size=80)


def whole_pieces(text: str, pattern: str, special) -> list[tuple[str, bool]]:
    found = []
    for number, part in enumerate(cut_long_text(text, special)):
        found += (
            [(part, True)]
            if number % 2
            else [(piece, False) for piece in bpe.split_pieces(part, pattern)]
        )
    return found


def chunks_of(text: str, borders: list[int]) -> list[str]:
    places = sorted({min(place, len(text)) for place in borders} | {0, len(text)})
    return [text[a:b] for a, b in zip(places, places[1:], strict=False)] + [""]


@pytest.mark.parametrize("pattern", [*PATTERNS, OWN_PATTERN])
@given(data=st.data())
@settings(max_examples=200)
def test_pieces_of_a_stream_are_those_of_the_whole(pattern, data):
    """With room for few characters at a time, so that a border falls behind each kind of piece."""
    text = data.draw(texts) + data.draw(texts)
    special = data.draw(st.sets(st.sampled_from(SPECIAL)))
    chunks = chunks_of(text, data.draw(st.lists(st.integers(0, 300), max_size=20)))
    with mock.patch.object(patterns, "STREAM_CHARACTERS", data.draw(st.integers(1, 40))):
        got = list(bpe.stream_pieces(iter(chunks), pattern, special))
    assert got == whole_pieces(text, pattern, special)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(before=texts, one=texts, other=texts)
@settings(max_examples=200)
def test_settled_pieces_stay_whatever_follows(pattern, before, one, other):
    settled, rest = patterns.settled_pieces(before, pattern, ())
    assert "".join(piece for piece, _ in settled) + rest == before
    for text in (before + one, before + other):
        assert whole_pieces(text, pattern, ())[: len(settled)] == settled


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_stream_settles_its_beginning(pattern):
    """Sound by never settling anything would be no use."""
    text = "Some words, and 12 more; don't stop. " * 30
    settled, rest = patterns.settled_pieces(text, pattern, SPECIAL)
    assert len(rest) < 60 and len(settled) > 200


@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=st.data())
@settings(max_examples=100)
def test_ids_of_a_stream_are_those_of_the_whole(pattern, data):
    tokenizer = bpe.train_bpe(TRAINING, 256 + 20 + len(SPECIAL), pattern, SPECIAL)
    text = data.draw(texts)
    chunks = chunks_of(text, data.draw(st.lists(st.integers(0, 200), max_size=9)))
    allowed = data.draw(st.sets(st.sampled_from(SPECIAL)) | st.just("all"))
    with mock.patch.object(patterns, "STREAM_CHARACTERS", 30):
        ids = list(tokenizer.encode_iterable(chunks, allowed))
    assert ids == tokenizer.encode(text, allowed) == tokenizer.encode_naive(text, allowed)


def test_a_stream_at_its_real_size_and_a_piece_longer_than_that():
    tokenizer = bpe.train_bpe(TRAINING, 280)
    text = TRAINING * 3000 + " " * 300_000 + "a" + TRAINING
    assert list(tokenizer.encode_iterable([text])) == tokenizer.encode(text)
    lines = text.splitlines(keepends=True)
    assert list(tokenizer.encode_iterable(line for line in lines)) == tokenizer.encode(text)


def test_a_stream_is_read_as_it_is_needed():
    """Of an endless one too."""
    tokenizer = bpe.train_bpe(TRAINING, 280, bpe.WORD_PATTERN)

    def forever():
        while True:
            yield TRAINING

    assert (
        list(islice(tokenizer.encode_iterable(forever()), 200))
        == tokenizer.encode(TRAINING * 9)[:200]
    )


def peak_memory(tokenizer: bpe.Tokenizer, kilobytes: int) -> int:
    """Bytes that Python holds at most while so many kilobytes of ever new words go through."""
    rng = random.Random(0)
    lines = (rng.randbytes(500).hex() + "\n" for _ in range(kilobytes))
    tracemalloc.start()
    try:
        n_ids = sum(1 for _ in tokenizer.encode_iterable(lines))
        assert n_ids > 500 * kilobytes
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length():
    tokenizer = bpe.train_bpe(TRAINING, 280)
    tokenizer.encode("x")
    short, long = peak_memory(tokenizer, 150), peak_memory(tokenizer, 900)
    assert long < 3 * short and long < 3e7  # six times the text


@pytest.mark.parametrize(
    ("bad", "message"), [("one text", "not one str"), (b"bytes", "not one bytes")]
)
def test_one_text_is_no_stream_and_no_batch(bad, message):
    tokenizer = bpe.train_bpe(TRAINING, 280)
    for encode in (tokenizer.encode_iterable, tokenizer.encode_batch):
        with pytest.raises(TypeError, match=message):
            encode(bad)


def test_mistakes_in_a_stream():
    tokenizer = bpe.train_bpe(TRAINING, 280)
    with pytest.raises(ValueError, match="no special tokens here"):
        tokenizer.encode_iterable(["a"], {"<x>"})  # at once, not when the first id is asked for
    with pytest.raises(TypeError, match="text must be a str, not int"):
        list(tokenizer.encode_iterable(["a", 3]))
    with pytest.raises(ValueError, match="half a character"):
        list(tokenizer.encode_iterable(["a", "\ud83d"]))
    with pytest.raises(ValueError, match="skips 1 of 3"):
        list(bpe.stream_pieces(["a b"], "[a-z]"))
    assert list(tokenizer.encode_iterable([])) == []
