"""Personal data: what is replaced, and above all what isn't."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.text import corpus
from course_lib.text.corpus import personal


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("mail ann@example.org.", "mail [email]."),
        ("a.b+c_d@sub.example.co.uk, yes", "[email], yes"),
        ("call +44 20 7946 0958 now", "call [phone] now"),
        ("call (555) 010-4477.", "call [phone]."),
        ("call 555-010-4477", "call [phone]"),
        ("call 01632 960830.", "call [phone]."),
        ("from 192.168.0.17 at", "from [ip] at"),
        ("card 4539 1488 0343 6467", "card [card]"),
        ("card 4539148803436467.", "card [card]."),
        ("电话：138 0013 8000。", "电话：[phone]。"),
    ],
)
def test_personal_data_goes(text, scrubbed):
    assert corpus.scrub_personal_data(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "make 14 from 20 9 3 6",
        "7+5-3+8=17",
        "12 345 678 people in 1999",
        "version 1.2.3 and 300.1.2.3 and 1.2.3.4.5",
        "order 4539 1488 0343 6468 has a wrong check digit",
        "at 10:30 @ home, a@b",
        "the years 1914-1918 and 2020-2024",
        "ISBN 978-3-16-148410-0",
        "It costs 1 000 000 now.",
        "",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert corpus.scrub_personal_data(text) == text


@given(st.text(st.sampled_from("0123456789+-. ()@ab"), max_size=40))
def test_scrubbing_twice_changes_nothing_more(text):
    assert corpus.scrub_personal_data(
        corpus.scrub_personal_data(text)
    ) == corpus.scrub_personal_data(text)


@given(st.text(st.sampled_from("0123456789"), min_size=12, max_size=18))
def test_luhn_accepts_exactly_one_check_digit_and_catches_every_single_error(digits):
    right = [d for d in "0123456789" if personal.passes_luhn(digits + d)]
    assert len(right) == 1
    wrong_first = str((int(digits[0]) + 1) % 10) + digits[1:]
    assert not personal.passes_luhn(wrong_first + right[0])


def test_wrong_type():
    with pytest.raises(TypeError, match="NoneType"):
        corpus.scrub_personal_data(None)
