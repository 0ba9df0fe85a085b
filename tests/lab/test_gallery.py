"""The gallery shows the reader's own numbers where she has some, the course's where it ran, and a
source and a warning for every published one."""

import json
import re

import pytest
from bs4 import BeautifulSoup

from course_lib.experiments.r1_zero import read_r1_card, sums_of_stage
from course_lib.lab import course_map, exam_paper, gallery, label_file, labelling, progress
from course_lib.lab import record as record_file
from course_lib.lab.question_bank import load_bank


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A live notebook with a record and labels of its own."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(progress, "live", lambda: True)
    return tmp_path / "progress.json"


def cards():
    page = BeautifulSoup(gallery.page().data, "html.parser")
    return {
        card.b.get_text(): " ".join(card.get_text(" ").split())
        for card in page.div.find_all("div", recursive=False)
    }


def test_every_lesson_keeps_what_the_gallery_shows():
    """What a card calls its number is what a cell of its lesson keeps, or a stored measurement."""
    stored = set(gallery.stored_numbers()) | {"agreement with the annotator, %"}
    for each in gallery.exhibits():
        twins = (course_map.NOTEBOOKS / "src").glob(f"{each.lesson}_*.md")
        text = "".join(twin.read_text(encoding="utf-8") for twin in twins)
        keeps = re.findall(r'progress\.keep_number\("([^"]+)"', text)
        assert each.number in stored or each.number in keeps, each.title


def test_every_published_number_has_a_source_and_a_warning():
    assert len(gallery.exhibits()) >= 10
    for each in gallery.exhibits():
        assert re.search(r"\d", each.published) and re.search(r"(19|20)\d\d", each.source)
        assert each.address.startswith("https://") and len(each.beware) > 25
        course_map.lesson(each.lesson)
    lessons = [each.lesson for each in gallery.exhibits()]
    assert lessons == sorted(lessons)


def test_the_courses_numbers_are_those_of_its_notebooks_and_runs():
    ours = gallery.course_numbers()
    r1 = [100 * share for share in sums_of_stage(read_r1_card(), "r1", "accuracy")]
    assert [float(x) for x in ours["sums right as R1, %"].split(", ")] == pytest.approx(r1)
    assert 2 < float(ours["bits per byte, two plays"]) < 2.45
    assert 60 < float(ours["cache saved by V2, %"]) < 75  # 640 of 2,048 bytes are left
    printed = {each.number for each in gallery.exhibits()} - set(gallery.stored_numbers())
    assert printed - {"agreement with the annotator, %"} <= set(ours)


def test_a_number_that_a_notebook_printed_is_read(tmp_path, monkeypatch):
    outputs = [
        {"text": ["x = 3\n", "For the gallery: bits, a = b = 2.5\nFor the gallery: n = -1\n"]}
    ]
    (tmp_path / "03_byte_pair_encoding.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "markdown"}, {"outputs": outputs}]})
    )
    monkeypatch.setattr(course_map, "NOTEBOOKS", tmp_path)
    found = gallery.printed_numbers(course_map.lesson("03"))
    assert found == [("bits, a = b", "2.5"), ("n", "-1")]


def test_the_readers_number_stands_beside_the_courses(record):
    before = cards()["03 · A tokenizer"]
    ours = gallery.course_numbers()["bytes per token, Hamlet"]
    assert "Yours: run the lesson" in before and f"The course's run: {ours}" in before
    progress.keep_number("bytes per token, Hamlet", 3.14159)
    after = cards()["03 · A tokenizer"]
    assert "Yours: 3.142" in after and f"The course's run: {ours}" in after
    assert "Published:" in after and "Llama Team 2024" in after


@pytest.mark.parametrize("value", ["3", None, True, [3], float("nan"), float("inf")])
def test_what_is_no_number_is_not_shown(record, value):
    numbers = {"bytes per token, Hamlet": {"value": value}, "x": {}}
    record.write_text(json.dumps({"exercises": {}, "quiz": {}, "numbers": numbers}))
    assert "Yours: run the lesson" in cards()["03 · A tokenizer"]


def test_the_readers_labels_are_compared_with_the_annotators(record):
    path = label_file.label_path("lesson-23")
    for label in labelling.shipped_labels()[:4]:
        label_file.append_label(path, label)
    known = [label for label in labelling.shipped_labels()[:4] if label.chosen is not None]
    assert f"100 (of {len(known)} pairs)" in cards()["23 · Your labels"]


def test_what_was_done_is_counted(record):
    record_file.note("exercises", "bpe.one", done=True, how="alone")
    record_file.note("exercises", "bpe.two", done=True, how="with hints")
    record_file.note("exercises", "bpe.three", done=False, tries=3)
    record_file.note("quiz", "q-merge", first=True)
    record_file.note("quiz", "q-digits", first=False)
    asked = load_bank()[:3]
    answers = {question.key: question.right.text for question in asked[:2]}
    answers[asked[2].key] = exam_paper.DONT_KNOW
    keys = [question.key for question in asked]
    exam_paper.keep_sitting(exam_paper.Sitting(0, keys, answers, done=True))
    exam_paper.keep_sitting(exam_paper.Sitting(1, keys, {}, done=False))
    did = cards()["What you did"]
    assert "Exercises solved: 2: 1 alone, 1 with hints" in did
    assert "Quiz, right at first try: 1 of 2" in did
    assert "Exam 1: 2 of 3 right" in did and "Exam 2" not in did


def test_without_a_record_the_courses_numbers_stand_alone(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    shown = cards()
    assert "Exercises solved: 0" in shown["What you did"]
    assert "Yours: run the lesson" in shown["25 · R1-Zero"]
    assert "Yours" not in shown["26 · R1"], "nothing that a reader runs gives this number"


def test_the_books_page_is_nobodys(record):
    progress.keep_number("bytes per token, Hamlet", 99.5)
    page = gallery.as_html(None)
    assert "99.5" not in page and "Yours" not in page and "What you did" not in page
    assert "The course&#x27;s run" in page and "\n" not in page
