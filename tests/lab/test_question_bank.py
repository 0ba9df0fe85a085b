"""The bank holds the questions that the notebooks ask, and the exam's own, all of them fair."""

import re
from collections import Counter
from difflib import SequenceMatcher

import pytest

from course_lib.lab import course_map, question_bank
from tests.notebooks import rules

BANK = question_bank.load_bank()
OWN = question_bank.own_questions()
BUILT = [lesson for lesson in course_map.lessons() if lesson.built]


@pytest.mark.parametrize("lesson", BUILT, ids=lambda lesson: lesson.number)
def test_every_question_of_a_notebook_is_in_the_bank(lesson):
    """The truth is the text of the twin, read by another way than the bank reads the notebook."""
    (twin,) = (course_map.NOTEBOOKS / "src").glob(f"{lesson.number}_*.md")
    examined = re.findall(r'quiz\.choice\(\s*"([^"]+)"', twin.read_text(encoding="utf-8"))
    found = question_bank.quiz_questions(lesson)
    assert [question.key for question in found] == examined and len(examined) >= 3
    assert {question.home for question in found} == {lesson.number}
    assert set(examined) <= {question.key for question in BANK}


def test_a_question_is_as_the_notebook_shows_it():
    (zero,) = [question for question in BANK if question.key == "q-zero-strict"]
    assert zero.text.startswith("Right answers are paid only inside tags") and zero.lessons == (
        "25",
    )
    assert zero.right.text.startswith("An empty thought earns the form at once")
    assert "easy reward is found first" in zero.right.said and len(zero.options) == 3


def test_every_question_is_named_once_and_asked_once():
    assert len({question.key for question in BANK}) == len(BANK) > 120
    texts = [question.text for question in BANK]
    alike = [
        (a, b)
        for i, a in enumerate(texts)
        for b in texts[:i]
        if SequenceMatcher(None, a, b).quick_ratio() > 0.9
        and SequenceMatcher(None, a, b).ratio() > 0.9
    ]
    assert alike == []


@pytest.mark.parametrize("question", OWN, ids=lambda question: question.key)
def test_the_exams_own_questions_say_why(question):
    assert [option.right for option in question.options].count(True) == 1
    assert all(len(option.said) > 20 for option in question.options)
    assert len({option.said for option in question.options}) == len(question.options) >= 3
    assert question.text.endswith("?") and len(question.text) < 260
    assert set(question.lessons) <= {lesson.number for lesson in course_map.lessons()}


def test_neither_length_nor_place_gives_an_answer_away():
    typed = [
        rules.Question(
            key=question.key,
            right=[option.right for option in question.options].index(True),
            options=len(question.options),
            longest=all(
                len(question.right.text) > len(option.text)
                for option in question.options
                if not option.right
            ),
        )
        for question in OWN
    ]
    assert len(typed) >= 25 and rules.unbalanced(typed, longest=0.5, place=0.6) == []
    assert sum(question.longest for question in typed) > 0.2 * len(typed), "the shortest is right?"


def test_the_exams_own_questions_reach_all_parts_of_the_course():
    parts = {course_map.lesson(number).part for question in OWN for number in question.lessons}
    family = course_map.lesson("14").part
    assert parts >= {lesson.part for lesson in BUILT if lesson.number > "00"} - {family}
    assert sum(len(question.lessons) > 1 for question in OWN) >= 15, "over lessons, not in one"
    assert max(Counter(question.home for question in OWN).values()) <= 4


def test_questions_of_lessons_to_come_are_left_out(monkeypatch):
    monkeypatch.setattr(
        question_bank, "own_questions", lambda: [question_bank.Question("q", ("99",), "?", ())]
    )
    question_bank.load_bank.cache_clear()
    assert "q" not in {question.key for question in question_bank.load_bank()}
    question_bank.load_bank.cache_clear()


@pytest.mark.parametrize(
    ("lessons", "options", "words"),
    [
        (["99"], [("a", True, "yes"), ("b", False, "no")], "no lesson '99'"),
        (["03"], [("a", True, "yes"), ("b", True, "no")], "2 of them right"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(lessons, options, words):
    with pytest.raises(ValueError, match=words):
        question_bank.make_question("q", lessons, "Why?", options)
