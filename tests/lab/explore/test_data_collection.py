"""The figures of lesson 02 say the numbers of the formula, and show what the pipeline did."""

import html
import re

import pytest

from course_lib.lab.explore import data_collection as explore
from course_lib.text import corpus, small_web


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (1, 1)])
def test_the_s_curve_says_what_the_formula_gives(bands, rows):
    frame = explore._s_frame(bands, rows)
    half = float(re.search(r"one half at similarity (0\.\d+)", frame)[1])
    assert 1 - (1 - half**rows) ** bands == pytest.approx(0.5, abs=0.03)
    caught, alarms = (1 - (1 - s**rows) ** bands for s in (0.8, 0.5))
    assert f"caught at 0.8: {caught:.1%}; false alarms at 0.5: {alarms:.1%}" in frame


def test_a_page_is_followed_through_all_steps():
    cleaned = corpus.clean_corpus(small_web.crawl_pages(0.03, seed=0))
    url, (step, reason) = next(iter(cleaned.dropped.items()))
    names = [step.name for step in cleaned.steps]
    frame = explore._pipeline_frame(cleaned, url, names.index(step))
    assert f"dropped: {reason}" in frame and html.escape(url) in frame
    later = explore._pipeline_frame(cleaned, url, len(names) - 1)
    assert "gone" in later


def test_changes_are_marked_word_by_word():
    marked = explore._marked("a red\u200b fox", "a blue fox")
    assert ">red⟨200B⟩</s>" in marked and ">blue</u>" in marked and "fox" in marked
