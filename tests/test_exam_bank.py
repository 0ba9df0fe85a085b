"""The exam bank: every number of an answer is computed, every faulty piece of code is run."""

import importlib.util
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.lab import course_map, question_bank

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("exam_bank", ROOT / "book" / "exam_bank.py")
exam_bank = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exam_bank)

BANK = exam_bank.load()
KNOWN = {"math": math, "random": random, "np": np, "torch": torch, "F": F} | vars(math)
named = pytest.mark.parametrize("question", BANK, ids=lambda question: question["name"])


@pytest.mark.parametrize("lesson", course_map.lessons(), ids=lambda lesson: lesson.number)
def test_each_lesson_has_one_question_of_each_kind(lesson):
    kinds = [question["kind"] for question in BANK if question["lesson"] == lesson.number]
    assert sorted(kinds) == sorted(exam_bank.POINTS)


@named
def test_an_answer_gives_out_the_points(question):
    told = re.sub(r"`[^`]*`", "", question["answer"])  # without code, where [1] is an index
    given = sum(int(points) for points in re.findall(r"\[([1-5])\]", told))
    assert given == exam_bank.POINTS[question["kind"]]


@named
def test_the_numbers_of_an_answer_are_computed(question):
    """Each is right to its last digit, and stands in the answer."""
    numbers = question.get("numbers", {})
    assert numbers or "proof" in question or question["kind"] != "calculation"
    for written, expression in numbers.items():
        assert re.search(rf"(?<![\d.,]){re.escape(written)}(?!\d|[.,]\d)", question["answer"])
        digits = written.replace(",", "").replace("−", "-").removesuffix(" %")
        decimals = len(digits.partition(".")[2])
        value = eval(expression, dict(KNOWN)) * (100 if written.endswith("%") else 1)
        assert abs(value - float(digits)) <= 0.500001 * 10**-decimals, (written, value)


@named
def test_code_does_what_its_answer_says(question):
    assert ("code" in question and "proof" in question) or question["kind"] != "fault"
    scope = KNOWN | {"question": question}
    exec(question.get("code", "") + "\n" + question.get("proof", ""), scope)


@named
def test_a_figure_can_be_read_and_told(question):
    assert ("figure" in question) == (question["kind"] == "figure")
    if "figure" in question:
        assert len(question["figure"]["alt"]) > 60
        assert {"title", "x"} <= set(question["figure"])


@named
def test_a_figure_is_told_as_it_is_drawn(question):
    """Each number of the alternative text stands in the data, rounded as it is told."""
    figure = question.get("figure", {})
    bars, lines = figure.get("bars", {}), figure.get("lines", {})
    drawn = [abs(x) for line in lines.values() for axis in line for x in axis] + [*bars.values()]
    drawn += [float(number) for name in bars for number in re.findall(r"\d+", name)]
    for number in re.findall(r"\d[\d,]*(?:\.\d+)?", figure.get("alt", "")):
        value, decimals = float(number.replace(",", "")), len(number.partition(".")[2])
        assert any(abs(value - x) <= 0.500001 * 10**-decimals for x in drawn), number


def test_no_question_is_asked_twice_or_by_choice():
    """No two share most of their words."""
    words = [set(re.findall(r"\w+", question["text"].lower())) for question in BANK]
    by_choice = [set(re.findall(r"\w+", each.text.lower())) for each in question_bank.load_bank()]
    for i, one in enumerate(words):
        assert all(len(one & other) < 0.6 * len(one | other) for other in words[:i] + by_choice)


def test_only_the_guide_leads_to_the_answers():
    pages = [*(ROOT / "book").rglob("*.md"), *(ROOT / "notebooks" / "src").glob("*.md")]
    pages = [page for page in pages if "_build" not in page.parts]
    leading = [page.name for page in pages if "exam_answers" in page.read_text(encoding="utf-8")]
    assert leading == ["teachers.md"]


def test_the_books_search_leaves_the_answers_out():
    front = (ROOT / "book" / "exam_answers.md").read_text(encoding="utf-8").split("---")[1]
    assert {"nosearch: true", "orphan: true"} <= set(front.strip().splitlines())
