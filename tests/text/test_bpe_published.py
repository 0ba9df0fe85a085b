"""GPT-2's two files: round trip by hand, and the ids of transformers and tokenizers from the same
files."""

import json
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from course_lib.text import bpe

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
BYTES = [bytes([byte]) for byte in range(256)]
END = "<|endoftext|>"
texts = st.text(max_size=60) | st.text(alphabet="lowernti s'12é\n", max_size=60)


def printed(token: bytes) -> str:
    return "".join(bpe.printable_bytes()[byte] for byte in token)


def write(
    folder: Path, tokens: list[str], merges: list[str], first="#version: 0.2\n"
) -> tuple[Path, Path]:
    vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    vocab_file.write_text(
        json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8"
    )
    merges_file.write_text(first + "\n".join(merges) + "\n", encoding="utf-8")
    return vocab_file, merges_file


def theirs(vocab_file: Path, merges_file: Path):
    transformers = pytest.importorskip("transformers")
    return transformers.GPT2Tokenizer(
        vocab=json.loads(vocab_file.read_text(encoding="utf-8")),
        merges=[
            tuple(line.split(" "))
            for line in merges_file.read_text(encoding="utf-8").split("\n")[1:]
            if line
        ],
        unk_token=END,
        bos_token=END,
        eos_token=END,
    )


ALPHABET = sorted(map(printed, BYTES))
MERGES = ["Ġ l", "l o", "Ġ n", "e r", "lo w", "Ġ lo", "Ġ low", "Ã ©", "n e", "w er", "low er"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """Each kind of oddity: merges that never have their turn ("Ġ lo" comes after "Ġ l", "w er"
    after "lo w" still does), a token made in two ways, tokens without any merge."""
    tokens = [
        *ALPHABET,
        *dict.fromkeys(merge.replace(" ", "") for merge in MERGES),
        "Ġnewest",
        "idxyz",
        END,
    ]
    return write(tmp_path_factory.mktemp("gpt2"), tokens, MERGES)


def test_by_hand(files):
    tokenizer = bpe.read_gpt2_tokenizer(*files)
    ids = json.loads(files[0].read_text(encoding="utf-8"))
    assert tokenizer.encode("lower") == [ids["lower"]] and tokenizer.encode(" é") == [
        ids["Ġ"],
        ids["Ã©"],
    ]
    assert tokenizer.encode(" low") == [ids["Ġl"], ids["o"], ids["w"]]  # "Ġ l" was first
    assert tokenizer.encode(" newest") == [ids[token] for token in ("Ġn", "e", "w", "e", "s", "t")]
    assert tokenizer.encode(f"a{END}", "all") == [ids["a"], ids[END]]
    assert tokenizer.decode([ids["Ġnewest"], ids["idxyz"], ids[END]]) == f" newestidxyz{END}"
    assert len(tokenizer) == tokenizer.vocab_size == len(ids)
    assert {b" newest", b"idxyz", b" low", b" lo"} == set(tokenizer.decode_only)


@pytest.fixture(scope="module")
def both(files):
    return bpe.read_gpt2_tokenizer(*files), theirs(*files)


@given(text=texts)
@settings(max_examples=300)
def test_the_ids_of_transformers(both, text):
    ours, other = both
    assert (
        ours.encode(text) == ours.encode_naive(text) == other.encode(text, add_special_tokens=False)
    )
    assert ours.decode(ours.encode(text)) == text


pairs = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=25)


@given(pairs=pairs, text=st.text(alphabet="abc d", max_size=40))
@settings(max_examples=150)
def test_any_merges_give_the_ids_of_tokenizers(tmp_path_factory, pairs, text):
    """Merges in any order, many of which never have their turn; each token is in the vocabulary,
    some without merge."""
    tokenizers = pytest.importorskip("tokenizers")
    tokens, merges = ["a", "b", "c", "d", "Ġ"], {}
    for left, right in pairs:
        pair = tokens[left % len(tokens)], tokens[right % len(tokens)]
        merges.setdefault(pair)
        if "".join(pair) not in tokens and len("".join(pair)) < 8:
            tokens.append("".join(pair))
    merges = [" ".join(pair) for pair in merges if "".join(pair) in tokens]
    files = write(tmp_path_factory.mktemp("any"), [*tokens, "abcabcabc"], merges)
    try:
        ours = bpe.read_gpt2_tokenizer(*files, special_tokens=())
    except ValueError as error:  # a token of two merges of which only the later one has its turn
        assert "must rise" in str(error)
        reject()
    model = tokenizers.models.BPE.from_file(*map(str, files))
    other = tokenizers.Tokenizer(model)
    other.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert ours.encode(text) == ours.encode_naive(text) == other.encode(text).ids
    assert list(ours.encode_iterable([text])) == ours.encode(text)


def test_a_trained_vocabulary_there_and_back(tmp_path):
    """Written by hand: GPT-2's order of bytes first, then the merges, each from the two parts it
    had."""
    text = "the cat sat on the mat and the rat ate the hat, 2024 times 2025 " * 20
    learnt = bpe.train_bpe(text, 280, bpe.GPT2_PATTERN)
    merges = []
    for token in list(learnt.ranks)[256:]:
        ranks = {other: rank for other, rank in learnt.ranks.items() if rank < learnt.ranks[token]}
        parts = bpe.Tokenizer(ranks).encode_piece(token)
        merges.append(" ".join(printed(learnt.token_bytes(part)) for part in parts))
    files = write(tmp_path, [*ALPHABET, *(merge.replace(" ", "") for merge in merges), END], merges)
    read = bpe.read_gpt2_tokenizer(*files)
    as_bytes = [
        [tokenizer.token_bytes(i) for i in tokenizer.encode(text)] for tokenizer in (learnt, read)
    ]
    assert as_bytes[0] == as_bytes[1] and not read.decode_only
    assert read.encode(text) == theirs(*files).encode(text)


@pytest.mark.parametrize(
    ("tokens", "merges", "message"),
    [
        (["a", "b", "ab"], ["a b"], "vocab.json has no special token '<|endoftext|>'"),
        (
            ["a", "b", "中", END],
            [],
            "vocab.json is no vocabulary: the character '中' in the token '中'",
        ),
        (["a", "b", END], ["a b"], r"merges.txt: the merge b'a' b'b' needs b'ab'"),
        (["a", "ab", END], ["a b"], r"merges.txt: the merge b'a' b'b' needs b'b'"),
        (["a", "b", "ab", END], ["a b c"], "merges.txt: line 2 is 'a b c'"),
        (["a", "b", "ab", END], ["ab"], "merges.txt: line 2 is 'ab'"),
        (
            ["a", "b", "ba", "ab", END],
            ["a b", "b a"],
            r"merges.txt: the token b'ba' has the id 2, a merge before it 3",
        ),
    ],
)
def test_files_that_do_not_fit(tmp_path, tokens, merges, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        bpe.read_gpt2_tokenizer(*write(tmp_path, tokens, merges))


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", "3", '{"a": "b"}', '{"a": 0, "b": 0, "<|endoftext|>": 2}']
)
def test_a_vocabulary_file_that_is_none(tmp_path, content):
    vocab_file, merges_file = write(tmp_path, [END], [])
    vocab_file.write_text(content)
    with pytest.raises(ValueError):
        bpe.read_gpt2_tokenizer(vocab_file, merges_file)
