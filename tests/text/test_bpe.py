"""Byte-pair encoding: same merges fast and naive, same ids as tiktoken and Hugging Face, any bytes
there and back."""

import json
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import assets, files
from course_lib.text import bpe
from course_lib.text.gguf import gguf_metadata

SPECIAL = ["<|endoftext|>", "<think>", "</think>"]
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
PATTERNS = [bpe.GPT2_PATTERN, bpe.DIGITS_PATTERN, bpe.WORD_PATTERN]
ODD = [
    "",
    " ",
    "a  b   12  3\n\n 4\t5  ",
    "don't I'LL we'd 'tis",
    "émigré 中文字符 naïve 🙂🙂 👩‍👩‍👧 e\u0301",
    "\u00a0x\u2028y\x00\x1f",
    "١٢٣ ½ Ⅷ नमस्ते 1234567890",
    "User: 7+5=?\nAssistant: <think>7+5=12</think>",
    "aaaaaaaaaaaaaaa" * 7,
]
repetitive = st.text(alphabet="aab b\n12é中🙂'", max_size=80)


@pytest.fixture(scope="module")
def plays() -> list[str]:
    return [path.read_text() for path in assets.plays_files().values()]


@pytest.fixture(scope="module")
def tokenizer(plays) -> bpe.Tokenizer:
    return bpe.train_bpe([*plays[:4], *ODD * 3], 1024, special_tokens=SPECIAL)


def train_as_far_as_possible(trainer, text: str, pattern: str) -> bpe.Tokenizer:
    """Each trainer finds out by itself where the pairs end."""
    size = 256
    while True:
        try:
            found = trainer(text, size + 1, pattern)
        except ValueError:
            return trainer(text, size, pattern)
        size, best = size + 1, found
        assert best.n_vocab == size


# ----------------------------------------------------------------------------------------- training
def test_the_textbook_example():
    """Worked by hand on aaabdaaabac. Counts: aa 4, ab 2, so Z = aa. Then Z-a-b-d-Z-a-b-a-c has ab
    2, Za 2: the smaller ids win, Y = ab. Then Z-Y-d-Z-Y-a-c has ZY 2."""
    tokenizer = bpe.train_bpe("aaabdaaabac", 259, pattern=r"[\s\S]+")
    assert [tokenizer.token_bytes(i) for i in (256, 257, 258)] == [b"aa", b"ab", b"aaab"]
    assert tokenizer.encode("aaabdaaabac") == [258, ord("d"), 258, ord("a"), ord("c")]


@given(text=repetitive, pattern=st.sampled_from(PATTERNS))
@settings(max_examples=60)
def test_fast_and_naive_trainers_agree_on_any_text(text, pattern):
    fast, naive = (
        train_as_far_as_possible(t, text, pattern) for t in (bpe.train_bpe, bpe.train_bpe_naive)
    )
    assert fast == naive


@given(text=st.text(alphabet="ab", min_size=30, max_size=60))
def test_fast_and_naive_trainers_agree_on_one_long_piece(text):
    everything = r"[\s\S]+"
    fast, naive = (
        train_as_far_as_possible(t, text, everything) for t in (bpe.train_bpe, bpe.train_bpe_naive)
    )
    assert fast == naive


def test_fast_and_naive_trainers_agree_on_a_play(plays):
    assert bpe.train_bpe(plays[0][:10_000], 360) == bpe.train_bpe_naive(plays[0][:10_000], 360)


def test_merges_equal_those_of_hugging_face(plays):
    """Its ids follow another order of bytes, which decides ties; on printable ASCII the two orders
    are one."""
    tokenizers = pytest.importorskip("tokenizers")
    text = plays[0].replace(" ", "_").replace("\n", "~")
    pattern = r"_?[A-Za-z]+|[^A-Za-z]"
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1256, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([text], trainer)
    vocabulary = sorted(theirs.get_vocab().items(), key=lambda item: item[1])
    ours = bpe.train_bpe(text, 1256, pattern=pattern)
    assert [token.encode() for token, _ in vocabulary[256:]] == [
        ours.token_bytes(i) for i in range(256, 1256)
    ]


def test_the_beginning_of_a_vocabulary_is_the_vocabulary_of_fewer_merges(plays):
    large, small = (
        bpe.train_bpe(plays[0], size, special_tokens=SPECIAL[:1]) for size in (700, 400)
    )
    assert large.after(143) == bpe.Tokenizer(small.ranks)
    assert large.after(143).encode(plays[1]) == small.encode(plays[1])


def test_documents_do_not_touch():
    """'ab' never occurs inside a document, so it is no token."""
    assert b"ab" not in bpe.train_bpe(["cca", "bcc"] * 9, 258).ranks


def test_no_merge_is_spent_on_special_tokens():
    text = "<think>one</think>" * 9
    tokenizer = bpe.train_bpe(text, 261, special_tokens=SPECIAL)
    assert [tokenizer.token_bytes(i) for i in range(256, 261)] == [
        b"ne",
        b"one",
        *(name.encode() for name in SPECIAL),
    ]
    with pytest.raises(ValueError, match="no pair occurs twice after 261 tokens"):
        bpe.train_bpe(text, 262, special_tokens=SPECIAL)


def test_digits_stay_single_by_default_and_gpt2_merges_them():
    text = "anno 2024 anno 2025 " * 20
    learnt = (
        list(bpe.train_bpe(text, 260).ranks)[256:],
        list(bpe.train_bpe(text, 264, bpe.GPT2_PATTERN).ranks)[256:],
    )
    assert not any(digit in token for token in learnt[0] for digit in b"0123456789")
    assert b" 202" in learnt[1]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(max_size=200))
def test_patterns_lose_no_character(pattern, text):
    assert "".join(bpe.split_pieces(text, pattern)) == text


def test_vocabulary_too_small_too_big_or_no_number():
    with pytest.raises(ValueError, match="vocab_size 257 < 259: 256 bytes and 3 special tokens"):
        bpe.train_bpe("text", 257, special_tokens=SPECIAL)
    with pytest.raises(ValueError, match="vocab_size 300 is too big: .* after 257 tokens"):
        bpe.train_bpe("abab", 300)
    with pytest.raises(ValueError, match="vocab_size 300 is too big: .* after 257 tokens"):
        bpe.train_bpe_naive("abab", 300)
    with pytest.raises(ValueError, match="vocab_size 300 is too big: .* after 256 tokens"):
        bpe.train_bpe("", 300)
    with pytest.raises(TypeError, match="vocab_size must be an int, not str"):
        bpe.train_bpe("text", "300")
    with pytest.raises(TypeError, match="did you mean"):
        bpe.train_bpe("text", 300, special_tokens="<think>")
    assert bpe.train_bpe("", 256).n_vocab == 256


@pytest.mark.parametrize("trainer", [bpe.train_bpe, bpe.train_bpe_naive])
def test_text_of_the_wrong_kind(trainer):
    with pytest.raises(TypeError, match="text must be a str, not (bytes|int)"):
        trainer(b"bytes", 300)
    with pytest.raises(ValueError, match="half a character, '.ud800', at position 2"):
        trainer("ab\ud800", 300)


def test_a_pattern_that_skips_text_is_refused():
    with pytest.raises(ValueError, match="skips 2 of 5 characters"):
        bpe.train_bpe("ab 12", 256, pattern="[a-z]+| ")


# ----------------------------------------------------------------------------------------- encoding
@given(text=st.text(max_size=200) | repetitive)
@settings(max_examples=300)
def test_text_there_and_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_there_and_back(tokenizer, data):
    ids = tokenizer.encode_bytes(data)
    assert tokenizer.decode_bytes(ids) == data


@given(text=st.text(max_size=200))
def test_bytes_of_text_give_the_ids_of_the_text(tokenizer, text):
    assert tokenizer.encode_bytes(text.encode()) == tokenizer.encode(text)


@given(text=st.text(max_size=200) | repetitive)
@settings(max_examples=300)
def test_python_and_tiktoken_agree(tokenizer, text):
    assert tokenizer.encode_naive(text) == tokenizer.to_tiktoken().encode_ordinary(text)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_python_and_tiktoken_agree_on_the_plays_under_each_pattern(plays, pattern):
    tokenizer = bpe.train_bpe(plays[3:6], 1500, pattern=pattern)
    text = "\n".join(plays[:3] + ODD)
    assert tokenizer.encode_naive(text) == tokenizer.to_tiktoken().encode_ordinary(text)


def test_python_and_tiktoken_agree_on_all_plays(plays, tokenizer):
    text = "\n".join(plays)
    ids = tokenizer.encode_naive(text)
    assert len(ids) < len(text) / 2
    assert ids == tokenizer.to_tiktoken().encode_ordinary(text)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("blank", [" ", "\n"])
def test_a_million_blanks(tokenizer, blank):
    """tiktoken alone gives up here."""
    assert (
        tokenizer.decode(tokenizer.encode("a" + blank * 1_000_000 + "b"))
        == "a" + blank * 1_000_000 + "b"
    )


def test_half_a_character_decodes_to_the_replacement_sign(tokenizer):
    assert tokenizer.decode(tokenizer.encode_bytes("é".encode()[:1])) == "\ufffd"


def test_ids_from_a_tensor(tokenizer):
    torch = pytest.importorskip("torch")
    assert tokenizer.decode(torch.tensor(tokenizer.encode("Enter HAMLET"))) == "Enter HAMLET"


@pytest.mark.parametrize("token_id", [1024, -1, None, 1.5, "a", [1]])
def test_ids_that_are_none(tokenizer, token_id):
    with pytest.raises(ValueError, match="ids run from 0 to 1023"):
        tokenizer.decode([65, token_id])


def test_text_and_bytes_mixed_up(tokenizer):
    with pytest.raises(TypeError, match="bytes go through encode_bytes"):
        tokenizer.encode(b"bytes")
    with pytest.raises(TypeError, match="text goes through encode"):
        tokenizer.encode_bytes("text")
    with pytest.raises(TypeError, match="not NoneType"):
        tokenizer.encode(None)
    with pytest.raises(ValueError, match="half a character"):
        tokenizer.encode("\udc80")


# ----------------------------------------------------------------------------------- special tokens
@given(
    parts=st.lists(
        st.sampled_from([*SPECIAL, "<", "|", "think", ">", "endoftext", "x "]), max_size=12
    )
)
def test_text_cannot_forge_a_special_token(tokenizer, parts):
    text = "".join(parts)
    ids = tokenizer.encode(text)
    assert not set(ids) & set(tokenizer.special_tokens.values())
    assert tokenizer.decode(ids) == text


@given(parts=st.lists(st.sampled_from([*SPECIAL, "<thi", "nk>", "x y", "12"]), max_size=12))
def test_allowed_special_tokens_are_one_id_in_python_and_in_tiktoken(tokenizer, parts):
    text = "".join(parts)
    ids = tokenizer.encode(text, allowed_special="all")
    assert ids == tokenizer.encode_naive(text, allowed_special="all")
    assert len(set(ids) & set(tokenizer.special_tokens.values())) == sum(
        name in text for name in SPECIAL
    )
    assert tokenizer.decode(ids) == text


def test_only_those_allowed(tokenizer):
    ids = tokenizer.encode("<think></think>", allowed_special={"<think>"})
    assert (
        ids[0] == tokenizer.special_tokens["<think>"]
        and tokenizer.special_tokens["</think>"] not in ids
    )


def test_mistakes_with_special_tokens(tokenizer):
    with pytest.raises(ValueError, match="'<thnk>'"):
        tokenizer.encode("x", allowed_special={"<thnk>"})
    with pytest.raises(TypeError, match="did you mean"):
        tokenizer.encode("x", allowed_special="<think>")
    with pytest.raises(ValueError, match="empty"):
        bpe.train_bpe("", 257, special_tokens=[""])
    with pytest.raises(ValueError, match="3 tokens share 2 ids"):
        bpe.Tokenizer({b"a": 0, b"b": 1}, special_tokens={"<s>": 1})


# -------------------------------------------------------------------------------------------- files
def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    assert bpe.Tokenizer.load(tmp_path / "tokenizer.json") == tokenizer
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"the": ', b'"thx": '),
        lambda data: data.replace(b'"version": 1', b'"version": 2'),
        lambda data: data.replace(b"byte-pair tokenizer", b"checkpoint"),
        lambda data: b"\xff\xfe" + data,
        lambda data: b"[1, 2]",
        lambda data: b"{}",
    ],
)
def test_a_damaged_file_is_named(tokenizer, tmp_path, damage):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="tokenizer.json .*Save it again"):
        bpe.Tokenizer.load(path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tokenizer, tmp_path, monkeypatch, failing):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        bpe.train_bpe("", 256).save(path)
    monkeypatch.undo()
    assert bpe.Tokenizer.load(path) == tokenizer
    assert os.listdir(tmp_path) == ["tokenizer.json"]


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        bpe.Tokenizer.load(tmp_path / "nowhere.json")


def test_saved_files_are_the_same_bytes_and_plain_json(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "a.json")
    bpe.Tokenizer.load(tmp_path / "a.json").save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (
        json.loads((tmp_path / "a.json").read_text())["content"]["tokens"]["th"]
        == tokenizer.ranks[b"th"]
    )


def test_to_tiktoken_and_back(tokenizer):
    assert bpe.Tokenizer.from_tiktoken(tokenizer.to_tiktoken()) == tokenizer


# --------------------------------------------------------------------------- a published vocabulary
@pytest.fixture(scope="module")
def smollm2() -> bpe.Tokenizer:
    try:
        return bpe.smollm2_tokenizer()
    except assets.AssetError as missing:
        pytest.skip(str(missing))


def test_smollm2_gives_the_ids_of_hugging_face(smollm2, plays):
    tokenizers = pytest.importorskip("tokenizers")
    header = gguf_metadata(assets.smollm2_file())
    vocabulary = {token: i for i, token in enumerate(header["tokenizer.ggml.tokens"])}
    merges = [tuple(pair.split(" ")) for pair in header["tokenizer.ggml.merges"]]
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    digits, byte_level = (
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel,
    )
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [digits, byte_level(add_prefix_space=False)]
    )
    assert smollm2.n_vocab == len(smollm2) == 49152 and len(repr(smollm2)) < 100
    for text in [*plays[:8], *ODD]:
        assert smollm2.encode(text) == theirs.encode(text).ids
        assert smollm2.encode_naive(text) == smollm2.encode(text)


def test_smollm2_has_its_special_tokens_and_text_cannot_forge_them(smollm2):
    assert len(smollm2.special_tokens) == 17 and smollm2.special_tokens["<|im_start|>"] == 1
    assert 1 not in smollm2.encode("<|im_start|>") and smollm2.encode(
        "<|im_start|>", allowed_special="all"
    ) == [1]


def test_smollm2_lacks_bytes_and_says_so(smollm2):
    with pytest.raises(ValueError, match=r"no token for the byte b'\\x04'"):
        smollm2.encode("a\x04b")
    assert smollm2.decode(smollm2.encode("a\x05b")) == "a\x05b"


def test_gguf_files_that_are_none(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGML" + bytes(20))
    with pytest.raises(ValueError, match="x.gguf is not a GGUF file"):
        gguf_metadata(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 9) + b"too")
    with pytest.raises(ValueError, match="x.gguf is damaged"):
        gguf_metadata(path)


def test_gguf_values_of_each_kind(tmp_path):
    """Written by hand, as the format's description says."""
    pairs = [(b"n", 4, struct.pack("<I", 7)), (b"f", 6, struct.pack("<f", 0.5)), (b"b", 7, b"\x01")]
    pairs += [
        (b"s", 8, struct.pack("<Q", 2) + "é".encode()),
        (b"a", 9, struct.pack("<IQ2h", 3, 2, -1, 5)),
    ]
    body = b"".join(
        struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value
        for key, kind, value in pairs
    )
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + body)
    assert gguf_metadata(tmp_path / "x.gguf") == {
        "n": 7,
        "f": 0.5,
        "b": True,
        "s": "é",
        "a": [-1, 5],
    }
