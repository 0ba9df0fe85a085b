"""What a word is: marks, signs, scripts without spaces, white space; texts that differ in them are
no copies."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.text import corpus
from course_lib.text.corpus import Document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("वह आता है", ["वह", "आता", "है"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        ("שָׁלוֹם", [unicodedata.normalize("NFC", "שָׁלוֹם")]),
        ("ดีมา", ["ดี", "ม", "า"]),
        ("カメラが abc中 𠀀々", ["カ", "メ", "ラ", "が", "abc", "中", "𠀀", "々"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("cafe\u0301 CAFÉ", ["café", "café"]),
        ("so\u00adft ze\u200bro jo\u2060in \ufeffmark", ["soft", "zero", "join", "mark"]),
        ("It’s o'clock 'tis dogs'", ["it's", "o'clock", "tis", "dogs"]),
        ("x² ½ Ⅷ snake_case", ["x²", "½", "ⅷ", "snake", "case"]),
        ("7+5-3=9", ["7", "+", "5", "-", "3", "=", "9"]),
        ("(7 - 5) * 3 / 2", ["(", "7", "-", "5", ")", "*", "3", "/", "2"]),
        ("2*(x+1)", ["2", "*", "(", "x", "+", "1", ")"]),
        ("-5 or 50% of $3", ["-", "5", "or", "50", "%", "of", "$", "3"]),
        ("x ≤ y, x ∈ A, a → b, 2^n", ["x", "≤", "y", "x", "∈", "a", "a", "→", "b", "2", "^", "n"]),
        (
            "well-known and/or (so) **bold** - yes--no",
            ["well", "known", "and", "or", "so", "bold", "yes", "no"],
        ),
        ("👩\u200d🌾👍🏽 ok", ["👩\u200d🌾", "👍🏽", "ok"]),
        ("?! ... «»", []),
    ],
)
def test_words(text, expected):
    assert corpus.split_words(text) == expected


@pytest.mark.parametrize("sign", [chr(i) for i in range(sys.maxunicode + 1) if chr(i).isspace()])
def test_words_end_at_white_space_of_every_kind(sign):
    """Also at the separators U+001C to U+001F, which `str.isspace` counts.

    `normalize_text` keeps the two words apart as well.
    """
    assert corpus.split_words(f"one{sign}two") == ["one", "two"]
    assert corpus.normalize_text(f"one{sign}two").split() == ["one", "two"]


@pytest.mark.parametrize(
    "sign", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r", "\r\n"]
)
def test_normalize_makes_a_new_line_of_what_parts_lines(sign):
    """The same signs at which `str.splitlines` cuts."""
    assert (
        corpus.normalize_text(f"one{sign}two").split("\n")
        == f"one{sign}two".splitlines()
        == ["one", "two"]
    )


def letters_numbers_marks(text: str) -> str:
    """What must survive, by Unicode's own categories."""
    kept = unicodedata.normalize("NFC", text.lower().replace("’", "'"))
    return "".join(c for c in kept if unicodedata.category(c)[0] in "LMN")


@given(st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"])))
def test_no_letter_mark_or_number_is_lost(text):
    """Against unicodedata. Left out: marks that stand upon signs, and what other versions of
    Unicode call letters."""
    text = "".join(
        c for c in text if unicodedata.category(c)[0] in "LNPZ" or c in "\u0301\u093f\u0e34"
    )
    assert letters_numbers_marks("".join(corpus.split_words(text))) == letters_numbers_marks(text)


@given(st.text())
def test_composed_and_decomposed_texts_have_the_same_words(text):
    assert corpus.split_words(unicodedata.normalize("NFD", text)) == corpus.split_words(
        unicodedata.normalize("NFC", text)
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("वह आता है", "वह आती है"),
        ("হাত", "হাতি"),
        ("หมาดี", "หมาดุ"),
        ("What is 7+5-3?", "What is 7-5+3?"),
        ("(7+5)*2", "7+(5*2)"),
        ("7*5", "7/5"),
        ("7:5 is 7/5", "7:5 is 7-5"),
        ("7 − 5", "7 + 5"),
        ("x ≤ y", "x ≥ y"),
        ("a ∪ b", "a ∩ b"),
        ("It costs $5.", "It costs €5."),
        ("🙂🙂", "🙁"),
        ("👍🏻 fine", "👍🏿 fine"),
        ("?!", "..."),
        ("...", ""),
        ("resume", "résumé"),
    ],
)
def test_texts_that_differ_in_marks_or_signs_are_no_copies(one, other):
    pages = [Document("a", one), Document("b", other)]
    assert corpus.exact_duplicates(pages) == {} and corpus.near_duplicates(pages) == {}
    again = [
        Document("a", one),
        Document("b", other),
        Document("c", f"  {one.upper()}\n"),
        Document("d", other),
    ]
    assert corpus.exact_duplicates(again) == {"c": "a", "d": "b"}


HINDI = (
    "पिता नदी पर गए और माता घर में रही तब दीदी ने कहा कि मीठा पानी पीना चाहिए "
    "फिर भी वह दौड़ती रही और गीता ने पूछा कि किताब कहाँ है"
)
THAI = "แม่ไปตลาดซื้อปลาและผักแล้วกลับบ้านทำอาหารให้ลูกกินทุกคนดีใจมากวันนี้ฝนตกหนักพ่ออยู่ในบ้าน"


@pytest.mark.parametrize("text", [HINDI, THAI])
def test_near_copies_of_texts_with_marks(text):
    """One changed word in thirty is a near copy; other marks on the same letters are another
    text."""
    near = text.replace("पानी", "दूध").replace("ปลา", "ไก่")
    bare = "".join(c for c in text if unicodedata.category(c)[0] != "M")
    documents = [Document("text", text), Document("near", near), Document("bare", bare)]
    assert corpus.near_duplicates(documents) == {"near": "text"}
    one, other = corpus.shingles(text), corpus.shingles(near)
    assert corpus.jaccard(one, other) == len(one & other) / len(one | other) < 1


def test_contamination_sees_marks_too():
    train = [Document("a", "वह आता है")]
    assert corpus.find_contamination(train, ["वह आती है"], n=3) == {}
    assert corpus.find_contamination(train, ["वह आता है"], n=3) == {"वह आता है": ["a"]}


@pytest.mark.parametrize("bad", [None, 3, ["a"]])
def test_words_of_what_is_not_text(bad):
    with pytest.raises(TypeError, match="text must be a str, not"):
        corpus.split_words(bad)
