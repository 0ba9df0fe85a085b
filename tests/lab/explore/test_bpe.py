"""The figures of lesson 03 show every token of a text, and the merges in their order."""

import html
import re

from course_lib.lab.explore import bpe as explore
from course_lib.text import bpe

TOKENIZER = bpe.train_bpe("banana bandana " * 3, 259)


def shown(painted: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", painted.replace("<br>", "\n"))).replace("·", " ")


def test_the_painted_tokens_are_the_text():
    painted = explore.paint(TOKENIZER, "banana <b> bandana")
    assert shown(painted) == "banana <b> bandana"
    assert painted.count("<span title") == len(TOKENIZER.encode("banana <b> bandana"))


def test_half_a_character_shows_its_bytes():
    assert "‹C3›" in explore.paint(TOKENIZER, "é") and "‹A9›" in explore.paint(TOKENIZER, "é")


def test_each_token_has_the_two_parts_that_were_merged():
    for token_id in range(256, 259):
        first, second = explore.parts(TOKENIZER, token_id)
        assert first + second == TOKENIZER.token_bytes(token_id)
    assert explore.parts(TOKENIZER, 256) == (b"a", b"n")


def test_the_slider_names_the_merge_it_shows():
    widget = explore.merges(TOKENIZER, "banana", steps=(0, 1, 3, 99))
    frames = [frame.value for frame in widget.children[-1].children]
    assert len(frames) == 3, "more merges than there are have no frame"
    assert "no merges yet" in frames[0]
    assert "merge 1: <code>a</code> and <code>n</code> become token 256" in frames[1]


def test_the_same_text_under_two_vocabularies():
    widget = explore.compare({"bytes": TOKENIZER.after(0), "three": TOKENIZER}, {"t": "banana"})
    (row,) = widget.children[-1].children
    counts = [re.search(r"(\d+) tokens", frame.value)[1] for frame in row.children]
    assert counts == ["6", str(len(TOKENIZER.encode("banana")))]
