"""The figure of lesson 14 hides what it says."""

import re

from course_lib.experiments import family_texts as texts
from course_lib.lab.explore import bert as explore

ROWS = texts.text_rows([" Tom was in the cave.", " Ida gave the ring to Otto, and he smiled."])


def hidden_words(frame: str) -> list[list[str]]:
    """What stands on blue in each line of a frame."""
    lines = frame.split("<small>")[1:]
    return [re.findall(r"<b style=[^>]*>([^<]*)</b>", line.split("</div>")[0]) for line in lines]


def test_static_masks_are_the_same_in_each_epoch_and_dynamic_ones_are_not():
    widget = explore.masks(ROWS[1], ROWS, shares=(0.3, 0.5))
    for stack in widget.children[-1].children:
        words = hidden_words(stack.children[-1].value)
        assert len(words) == 2 * explore.EPOCHS
        assert words[0] == words[1] == words[2] == words[3] and words[3] != words[4]
        assert all(4 <= len(line) <= 6 for line in words)


def test_a_lone_hidden_token_has_both_neighbours():
    assert "1.0 tokens of a passage are hidden, and <b>100%</b>" in explore._told(
        "single tokens", 0.1, ROWS
    )


def test_spans_hide_whole_words():
    ids = texts.held_out_passages().ids[:40]
    words = explore.word_numbers(explore.word_starts(ids), texts.maskable_places(ids))
    for unit in explore.MASK_UNITS[1:]:
        chosen = explore.hidden_places(unit, ids, 0.3, seed=1)
        for row, hidden in zip(words, chosen, strict=True):
            inside = set(row[hidden].tolist())
            assert all(hidden[row == word].all() for word in inside)


def test_words_begin_at_spaces_and_behind_marks():
    row = texts.text_rows(["Tom's cat.\nBen was quite miserable."])
    shown = [texts.decode_family([token]) for token in row[0][explore.word_starts(row)[0]].tolist()]
    assert "Tom" in shown and "'" in shown
    assert {" cat", ".", "\n", "Ben", " was"} <= set(shown)
