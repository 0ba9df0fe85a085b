"""WordPiece against the package `tokenizers`: the same ids from the same vocabulary."""

import random

import pytest

from course_lib import assets
from course_lib.text.wordpiece import WordPiece, bert_words, join_pair, train_wordpiece

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = [
    "", " ", "The unaffable cat: isn't it?", "Zürich, 3 °C!", "naïve façade — “quotes” …",
    "東京 is 1,000 km away", "a\tb\nc\r\nd\u00a0e\u3000f", "x\u0000y\ufffdz\u200bw",
    "ΣΊΣΥΦΟΣ İSTANBUL ß", "a\x1cb\x85c\u2028d\ue000e\u0378f",
    "w" * 100, "w" * 101, "$5 + 6 = 11 ^_^ `~|", "한국어 ไทย हिन्दी 🙂 e\u0301", "don't--stop",
    "##un [CLSX]",
]  # fmt: skip


def theirs(pieces):
    """The same vocabulary in `tokenizers`, with BERT's normaliser."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def real_pieces():
    try:
        return (assets.minilm_folder() / "vocab.txt").read_text().splitlines()
    except assets.AssetError as error:
        pytest.skip(str(error))


def test_ids_are_theirs_with_berts_own_vocabulary():
    pieces = real_pieces()
    ours, reference = WordPiece(pieces), theirs(pieces)
    for text in TEXTS:
        assert ours.encode(text) == reference.encode(text).ids, text
    rng = random.Random(0)
    blocks = [(32, 127), (160, 591), (880, 1279), (0x4E00, 0x4E80), (0x2010, 0x2040)]
    for _ in range(300):
        low, high = rng.choice(blocks)
        text = "".join(chr(rng.choice([32, rng.randrange(low, high)])) for _ in range(40))
        assert ours.encode(text) == reference.encode(text).ids, text


def test_words_are_theirs_around_each_character_of_old_scripts():
    reference = theirs(SPECIALS)
    for code in [*range(0x500), *range(0x1E00, 0x2E00), *range(0x3000, 0x3100)]:
        text = f"a{chr(code)}b"
        cut = reference.pre_tokenizer.pre_tokenize_str(reference.normalizer.normalize_str(text))
        assert bert_words(text) == [word for word, _ in cut], hex(code)


def test_ids_are_theirs_with_a_vocabulary_of_our_own():
    texts = ["low lower lowest newer newest wider widest"] * 3 + ["slow new wide"]
    pieces = train_wordpiece(texts, 60, SPECIALS)
    ours, reference = WordPiece(pieces), theirs(pieces)
    for text in [*texts, "lowlow newnew widener xlow", *TEXTS]:
        assert ours.encode(text) == reference.encode(text).ids, text
    assert len(ours.encode(texts[0])) < sum(map(len, bert_words(texts[0])))


def test_training_joins_what_is_common_for_its_parts():
    texts = ["ab ab ab ab ac ad ae xy xy"]  # "ab" is commonest; x and y are always together
    pieces = train_wordpiece(texts, 10, ["[UNK]"])
    assert pieces[:9] == ["[UNK]", "##b", "##c", "##d", "##e", "##y", "a", "x", "xy"]
    assert pieces[9] == "ab"
    assert train_wordpiece(["ab cd"], 50, ["[UNK]"]) == ["[UNK]", "##b", "##d", "a", "c"]


def test_words_come_back():
    pieces = train_wordpiece(["the cat sat on the mat"], 40, SPECIALS)
    tokenizer = WordPiece(pieces)
    assert tokenizer.decode(tokenizer.encode("The CAT sat")) == "the cat sat"
    assert join_pair(["a", "##b", "a", "##b"], ("a", "##b")) == ["ab", "ab"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WordPiece(["a"]), r"'\[UNK\]' is not in the vocabulary of 1"),
        (lambda: WordPiece(["[UNK]", "a", "a"]), "'a' stands twice"),
        (lambda: train_wordpiece(["abc"], 4), "vocab_size 4 has no room for 5"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
