"""Our reading of an answer beside that of math-verify, on forms that were written by hand."""

import sys
from importlib.util import find_spec

import pytest

from course_lib.tasks.answer_verifiers import (
    ANSWER_FORMS,
    compare_verdicts,
    math_verdict,
    our_verdict,
)

needs_math_verify = pytest.mark.skipif(
    not find_spec("math_verify"), reason="make gym installs math-verify"
)
# Right as a value, but written in a way that our exact reading refuses; and a guess twice, of which
# both verifiers take the last.
OURS_MISJUDGES = {"012", "12.0", "$\\frac{24}{2}$", "twelve", "13 or 12"}


def test_forms_are_of_both_kinds_and_none_stands_twice():
    assert len({form.text for form in ANSWER_FORMS}) == len(ANSWER_FORMS)
    assert {form.right for form in ANSWER_FORMS} == {True, False}


def test_ours_agrees_with_a_reader_but_on_forms_that_are_named():
    wrong = {form.text for form in ANSWER_FORMS if our_verdict("12", form.text) != form.right}
    assert wrong == OURS_MISJUDGES


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(ImportError, match=r"make gym .*pip install -c constraints\.txt"):
        math_verdict("12", "12")


@needs_math_verify
@pytest.mark.parametrize(
    "text, accepted",
    [
        ("12", True),
        ("012", True),
        ("$\\frac{24}{2}$", True),
        ("13", False),
        ("12%", True),
        ("<answer>12</answer>", False),
        ("<think>it is 12</think><answer>13</answer>", True),  # it reads the thought
        ("<think>it is 13</think><answer>12</answer>", False),
    ],
)
def test_math_verify_reads_as_the_lesson_says(text, accepted):
    assert math_verdict("12", text) == accepted


@needs_math_verify
def test_answers_are_sorted_by_who_accepts_them():
    texts = ["12", "<answer>12</answer>", "12.0", "13"]
    assert compare_verdicts(["12"] * 4, texts) == {
        "both": [0],
        "ours": [1],
        "theirs": [2],
        "neither": [3],
    }
