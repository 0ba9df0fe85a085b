"""What the learner does is noted in a live notebook, and nowhere else."""

import importlib

import pytest

from course_lib.lab import course_map, progress, progress_page, record
from course_lib.lab.checks.core import checker, expect


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A live notebook with a record of its own; what is displayed is kept in `shown`."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "folder" / "progress.json"))
    monkeypatch.setattr(progress, "live", lambda: True)
    things = []
    monkeypatch.setattr(progress, "display", things.append)
    return things


@checker
def double(attempt):
    expect(attempt(2), 4, "double(2)")


KEY = f"{__name__.rpartition('.')[2]}.double"


def test_tries_and_success_are_recorded_and_the_buttons_ask_how(shown):
    double(lambda x: ...)
    assert record.load()["exercises"] == {}
    double(lambda x: 3)
    double(lambda x: 5)
    assert record.load()["exercises"][KEY] == {"tries": 2, "done": False} and shown == []
    double(lambda x: 2 * x)
    assert record.load()["exercises"][KEY] == {"tries": 3, "done": True}
    (box,) = shown
    said, *buttons = box.children
    assert [button.description for button in buttons] == [
        "alone",
        "with hints",
        "after the solution",
    ]
    buttons[1].click()
    assert record.load()["exercises"][KEY]["how"] == "with hints" and "with hints" in said.value
    double(lambda x: 2 * x)
    assert record.load()["exercises"][KEY]["tries"] == 3 and len(shown) == 1, "asked again"


def test_a_solution_is_nobodys_success(shown):
    def double_solution(x):
        return 2 * x

    double(double_solution)
    assert record.load()["exercises"] == {} and shown == []


def test_the_first_answer_to_a_question_counts(shown, monkeypatch):
    monkeypatch.setattr(course_map, "current", "03")
    progress.answered("q", "Which?", False)
    progress.answered("q", "Which?", True)
    assert record.load()["quiz"]["q"] == {
        "question": "Which?",
        "lesson": "03",
        "tries": 2,
        "first": False,
    }


def test_a_number_is_printed_everywhere_and_kept_where_a_record_is(shown, monkeypatch, capsys):
    monkeypatch.setattr(course_map, "current", "03")
    progress.keep_number("bytes per token", 3.14159)
    progress.keep_number("bytes per token", 3.2)
    kept = record.load()["numbers"]
    assert kept == {"bytes per token": {"value": 3.2, "lesson": "03"}}, "the last run counts"
    assert "For the gallery: bytes per token = 3.142\n" in capsys.readouterr().out
    monkeypatch.setattr(progress, "live", lambda: False)
    progress.keep_number("another", 1)
    assert set(record.load()["numbers"]) == {"bytes per token"}
    assert "another = 1" in capsys.readouterr().out


def test_off_keeps_no_record(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert record.path() is None and not progress.live()
    assert "No record is kept" in progress.page().data


def test_outside_a_notebook_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    assert not progress.live()
    double(lambda x: 2 * x)
    assert not (tmp_path / "progress.json").exists()


def test_the_page_shows_what_was_done(shown, monkeypatch):
    monkeypatch.setattr(
        progress_page, "exercises_of", lambda lab: ["one", "two", "three"] if lab == "bpe" else []
    )
    record.note("exercises", "bpe.one", done=True, how="alone")
    record.note("exercises", "bpe.two", done=False)
    record.note("quiz", "q1", lesson="03", first=True)
    record.note("quiz", "q2", lesson="03", first=False)
    (row,) = [
        row for row in progress.page().table.value.split("<tr ") if "03 Byte-pair encoding" in row
    ]
    assert "■□□" in row and "1 of 3" in row and "1 alone" in row and "1 of 2 right" in row
    assert str(record.path()) in progress.page().still


@pytest.mark.parametrize("lab", ["bpe", "attention", "start"])
def test_the_page_knows_every_exercise(lab):
    module = vars(importlib.import_module(f"course_lib.lab.checks.{lab}"))
    checkers = [name for name, thing in module.items() if getattr(thing, "is_checker", False)]
    assert progress_page.exercises_of(lab) == checkers and checkers


def test_a_bar_stands_before_the_first_item_and_is_silent_where_asked(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_QUIET", "1")
    assert list(progress.track_progress(range(3), "measuring")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("COURSE_QUIET")
    bar = progress.track_progress(iter(range(3)), "measuring")
    assert "measuring" in capsys.readouterr().err, "nothing is shown until the first item is done"
    assert list(bar) == [0, 1, 2]
