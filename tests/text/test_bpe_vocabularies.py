"""Any vocabulary, trained or not: all ways to encode agree with tiktoken and with the rule taken at
its word."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.text import bpe

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
PATTERNS = [bpe.GPT2_PATTERN, bpe.DIGITS_PATTERN, bpe.WORD_PATTERN, r"[\s\S]+"]
BYTES = [bytes([byte]) for byte in range(256)]
longer = st.lists(st.text(alphabet="ab c", min_size=2, max_size=5), unique=True, max_size=25)
texts = st.text(alphabet="ab c", max_size=40) | st.text(alphabet="ab c1é\n'", max_size=40)


def by_the_rule(piece: bytes, ranks: dict[bytes, int]) -> list[int]:
    """One join at a time: the leftmost of the pairs whose joined bytes have the lowest rank."""
    if piece in ranks:
        return [ranks[piece]]
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        pairs = [
            (ranks[a + b], i)
            for i, (a, b) in enumerate(zip(parts, parts[1:], strict=False))
            if a + b in ranks
        ]
        if not pairs:
            return [ranks[part] for part in parts]
        i = min(pairs)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(tokens=longer, order=st.randoms(use_true_random=False), text=texts)
@settings(max_examples=100)
def test_every_way_to_encode_agrees_on_any_vocabulary(pattern, tokens, order, text):
    """In any order of ranks, so with tokens that no merge reaches, and with longer tokens that rank
    before shorter."""
    ids = list(range(256 + len(tokens)))
    order.shuffle(ids)
    ranks = dict(zip([*BYTES, *(token.encode() for token in tokens)], ids, strict=True))
    tokenizer = bpe.Tokenizer(ranks, pattern)
    pieces = [piece.encode() for piece in bpe.split_pieces(text, pattern)]
    expected = [token_id for piece in pieces for token_id in by_the_rule(piece, ranks)]
    assert tokenizer.to_tiktoken().encode_ordinary(text) == expected
    assert tokenizer.encode(text) == tokenizer.encode_naive(text) == expected
    assert [token_id for piece in pieces for token_id in tokenizer.encode_piece(piece)] == expected
    assert list(tokenizer.encode_iterable([text[:7], text[7:]])) == expected
    assert tokenizer.encode_bytes(text.encode()) == expected
    assert tokenizer.decode(expected) == text


@pytest.mark.parametrize("length", [50, 499, 500, 501, 3000])
@given(
    tokens=longer,
    order=st.randoms(use_true_random=False),
    pair=st.sampled_from(["ab", "aab", "ba c", "a"]),
)
@settings(max_examples=15)
def test_long_pieces_too(length, tokens, order, pair):
    """tiktoken has another algorithm for long pieces."""
    ids = list(range(256 + len(tokens)))
    order.shuffle(ids)
    ranks = dict(zip([*BYTES, *(token.encode() for token in tokens)], ids, strict=True))
    piece = (pair * length)[:length].encode()
    tokenizer = bpe.Tokenizer(ranks, r"[\s\S]+")
    assert tokenizer.encode_piece(piece) == tokenizer.to_tiktoken().encode_ordinary(piece.decode())


def test_a_token_that_no_merge_reaches():
    """By hand: of " the" only "th" and "he" are tokens, so joining ends at " ", "th", "e"; whole it
    is one token."""
    tokenizer = bpe.Tokenizer(
        {b: i for i, b in enumerate(BYTES)} | {b"th": 256, b"he": 257, b" the": 258}
    )
    long = " the" + " " * 100_000 + "the"
    for encode in (
        tokenizer.encode,
        tokenizer.encode_naive,
        lambda text: list(tokenizer.encode_iterable([text])),
    ):
        assert encode(" the the") == [258, 258] and encode(" then") == [32, 256, 101, 110]
        assert encode("the") == [256, 101]
        # too long a blank for tiktoken's regular expressions
        assert encode(long) == [258, *[32] * 99_999, 258]


def test_a_new_token_may_be_first_in_turn():
    """By hand: "aba" ranks before "ab", so after the first join of "abab" it takes the next a
    away."""
    tokenizer = bpe.Tokenizer({b"a": 0, b"b": 1, b"aba": 2, b"ab": 3}, r"[\s\S]+")
    assert tokenizer.encode("abab") == tokenizer.encode_naive("abab") == [2, 1]


@given(tokens=longer, text=st.text(alphabet="ab c\x04", max_size=30))
def test_vocabularies_that_lack_bytes(tokens, text):
    """Every way gives the same ids or the same refusal."""
    ranks = {token.encode(): i for i, token in enumerate(["a", "b", " ", *tokens])}
    tokenizer, found = bpe.Tokenizer(ranks), []
    for encode in (
        tokenizer.encode,
        tokenizer.encode_naive,
        lambda text: list(tokenizer.encode_iterable([text])),
    ):
        try:
            found.append(encode(text))
        except ValueError as error:
            found.append(str(error))
    assert found[0] == found[1] == found[2]
    if isinstance(found[0], str):
        assert "has no token for the byte" in found[0]
    else:
        assert tokenizer.decode(found[0]) == text


# ----------------------------------------------------------------------------------- special tokens
NESTED = ["<a>", "<a>b", "<a>bc", "c<", "bc"]


@given(parts=st.lists(st.sampled_from([*NESTED, "<", "a", ">", "c", " x"]), max_size=12))
def test_the_longest_special_token_wins_as_at_hugging_face(parts):
    tokenizers = pytest.importorskip("tokenizers")
    text = "".join(parts)
    ours = bpe.train_bpe("", 256 + len(NESTED), special_tokens=NESTED)
    alphabet = {character: byte for byte, character in enumerate(bpe.printable_bytes())}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(alphabet, []))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.add_special_tokens(
        [tokenizers.AddedToken(name, normalized=False, special=True) for name in NESTED]
    )
    assert [theirs.token_to_id(name) for name in NESTED] == list(ours.special_tokens.values())
    expected = theirs.encode(text).ids
    assert ours.encode(text, "all") == ours.encode_naive(text, "all") == expected
    assert list(ours.encode_iterable(parts, "all")) == expected
    assert ours.decode(expected) == text


def test_of_two_that_begin_alike_only_one_may_be_allowed():
    tokenizer = bpe.train_bpe("", 258, special_tokens=["<a>", "<a>b"])
    assert tokenizer.encode("<a>b", {"<a>"}) == [256, ord("b")]
    assert tokenizer.encode("<a>b", {"<a>b"}) == [257] and tokenizer.encode("<a>b") == list(b"<a>b")


def test_training_cuts_out_the_longest_special_token():
    tokenizer = bpe.train_bpe("<a>bbb" * 5, 259, special_tokens=["<a>", "<a>b"])
    assert list(tokenizer.ranks)[256:] == [b"bb"]


@pytest.mark.parametrize("names", [["<e>", "<e>"], ["<e>", "<s>", "<e>"]])
def test_a_special_token_named_twice(names):
    with pytest.raises(ValueError, match="special token '<e>' is named 2 times"):
        bpe.train_bpe("the cat", 256 + len(names), special_tokens=names)


# ----------------------------------------------------------------------------------- size and looks
def test_size_looks_and_batches():
    tokenizer = bpe.train_bpe("low lower lowest", 261, special_tokens=["<e>", "<s>"])
    assert (
        len(tokenizer)
        == tokenizer.vocab_size
        == tokenizer.n_vocab
        == tokenizer.to_tiktoken().n_vocab
        == 261
    )
    assert repr(tokenizer) == "<Tokenizer of 261 tokens, 2 of them special>"
    texts = ["low", "", "lower <e>"]
    assert tokenizer.encode_batch(texts, "all") == [tokenizer.encode(text, "all") for text in texts]
    assert tokenizer.encode_batch([]) == []


def test_a_vocabulary_with_holes():
    tokenizer = bpe.Tokenizer({b"a": 0, b"b": 5}, special_tokens={"<e>": 9}, decode_only={b"c": 7})
    assert len(tokenizer) == 4 and tokenizer.vocab_size == 10
    assert repr(tokenizer) == "<Tokenizer of 4 tokens, 1 of them special>"
    assert tokenizer.decode([0, 5, 7, 9]) == "abc<e>" and tokenizer.encode("ab") == [0, 5]
    with pytest.raises(ValueError, match="no token for the byte b'c'"):
        tokenizer.encode("abc")


def test_tokens_that_only_decode_are_saved(tmp_path):
    tokenizer = bpe.Tokenizer(
        {b"a": 0, b"b": 5}, special_tokens={"<e>": 9}, decode_only={b"\xff": 7}
    )
    tokenizer.save(tmp_path / "t.json")
    assert bpe.Tokenizer.load(tmp_path / "t.json") == tokenizer


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({},), ValueError, "at least one token"),
        (({"a": 0},), TypeError, "tokens are bytes, at least one, got 'a'"),
        (({b"a": 0, b"": 1},), TypeError, "got b''"),
        (({b"a": -1},), ValueError, "whole numbers from 0 on, got -1"),
        (({b"a": 1.5},), ValueError, "got 1.5"),
        (({b"a": 0}, bpe.DIGITS_PATTERN, {"<e>": True}), ValueError, "got True"),
        (({b"a": 0}, bpe.DIGITS_PATTERN, {}, {b"b": 0}), ValueError, "2 tokens share 1 ids"),
    ],
)
def test_vocabularies_that_are_none(arguments, error, message):
    with pytest.raises(error, match=message):
        bpe.Tokenizer(*arguments)
