"""The record of progress is local, survives damage, and can be switched off."""

import json
import os

import pytest

from course_lib.lab import course_map, progress
from course_lib.lab.checks.core import checker, expect


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A live notebook with a record of its own; what is displayed is kept in `record.shown`."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "folder" / "progress.json"))
    monkeypatch.setattr(progress, "live", lambda: True)
    shown = []
    monkeypatch.setattr(progress, "display", shown.append)
    return shown


EMPTY = {"exercises": {}, "quiz": {}, "numbers": {}, "exam": {}}


@checker
def double(attempt):
    expect(attempt(2), 4, "double(2)")


KEY = f"{__name__.rpartition('.')[2]}.double"


def test_tries_and_success_are_recorded_and_the_buttons_ask_how(record):
    double(lambda x: ...)
    assert progress.load()["exercises"] == {}
    double(lambda x: 3)
    double(lambda x: 5)
    assert progress.load()["exercises"][KEY] == {"tries": 2, "done": False} and record == []
    double(lambda x: 2 * x)
    assert progress.load()["exercises"][KEY] == {"tries": 3, "done": True}
    (box,) = record
    said, *buttons = box.children
    assert [button.description for button in buttons] == [
        "alone",
        "with hints",
        "after the solution",
    ]
    buttons[1].click()
    assert progress.load()["exercises"][KEY]["how"] == "with hints" and "with hints" in said.value
    double(lambda x: 2 * x)
    assert progress.load()["exercises"][KEY]["tries"] == 3 and len(record) == 1, "asked again"


def test_a_solution_is_nobodys_success(record):
    def double_solution(x):
        return 2 * x

    double(double_solution)
    assert progress.load()["exercises"] == {} and record == []


def test_the_first_answer_to_a_question_counts(record, monkeypatch):
    monkeypatch.setattr(course_map, "current", "03")
    progress.answered("q", "Which?", False)
    progress.answered("q", "Which?", True)
    assert progress.load()["quiz"]["q"] == {
        "question": "Which?",
        "lesson": "03",
        "tries": 2,
        "first": False,
    }


DAMAGED = ["{", "[]", "{}", '{"exercises": {"a": 3}, "quiz": {}}', "\udcff", "null"]
DAMAGED += ['{"exercises": {}, "quiz": {}, "exam": 3}']
DAMAGED += ['{"exercises": {}, "quiz": {}, "numbers": {"a": 3}}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_is_set_aside(record, capsys, text):
    file = progress.path()
    file.parent.mkdir()
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    progress.note("quiz", "q", first=True)
    assert progress.load() == EMPTY | {"quiz": {"q": {"first": True}}}
    aside = file.with_suffix(".damaged.json")
    assert aside.exists() and str(aside) in capsys.readouterr().out


def test_a_record_of_an_older_course_is_read_and_gains_the_newer_parts(record):
    file = progress.path()
    file.parent.mkdir()
    file.write_text('{"exercises": {"bpe.one": {"done": true}}, "quiz": {}}')
    assert progress.load() == EMPTY | {"exercises": {"bpe.one": {"done": True}}}
    progress.keep_number("bytes per token", 3.25)
    assert progress.load()["exercises"] == {"bpe.one": {"done": True}}
    assert progress.load()["numbers"]["bytes per token"]["value"] == 3.25


def test_a_number_is_printed_everywhere_and_kept_where_a_record_is(record, monkeypatch, capsys):
    monkeypatch.setattr(course_map, "current", "03")
    progress.keep_number("bytes per token", 3.14159)
    progress.keep_number("bytes per token", 3.2)
    kept = progress.load()["numbers"]
    assert kept == {"bytes per token": {"value": 3.2, "lesson": "03"}}, "the last run counts"
    assert "For the gallery: bytes per token = 3.142\n" in capsys.readouterr().out
    monkeypatch.setattr(progress, "live", lambda: False)
    progress.keep_number("another", 1)
    assert set(progress.load()["numbers"]) == {"bytes per token"}
    assert "another = 1" in capsys.readouterr().out


def test_a_full_disk_leaves_the_old_record_intact(record, monkeypatch, capsys):
    progress.note("quiz", "q", first=True)
    before = progress.path().read_text()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    progress.note("quiz", "q", first=False)
    assert progress.path().read_text() == before and os.listdir(progress.path().parent) == [
        "progress.json"
    ]
    assert "No space left on device" in capsys.readouterr().out


def test_off_keeps_no_record(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert progress.path() is None and not progress.live()
    assert progress.load() == EMPTY
    assert "No record is kept" in progress.page().data


def test_outside_a_notebook_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    assert not progress.live()
    double(lambda x: 2 * x)
    assert not (tmp_path / "progress.json").exists()


def test_the_page_shows_what_was_done(record, monkeypatch):
    monkeypatch.setattr(
        progress, "_exercises", lambda lab: ["one", "two", "three"] if lab == "bpe" else []
    )
    progress.note("exercises", "bpe.one", done=True, how="alone")
    progress.note("exercises", "bpe.two", done=False)
    progress.note("quiz", "q1", lesson="03", first=True)
    progress.note("quiz", "q2", lesson="03", first=False)
    (row,) = [row for row in progress.page().data.split("<tr ") if "03 Byte-pair encoding" in row]
    assert "■□□" in row and "1 of 3" in row and "1 alone" in row and "1 of 2 right" in row
    assert str(progress.path()) in progress.page().data


def test_a_bar_stands_before_the_first_item_and_is_silent_where_asked(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_QUIET", "1")
    assert list(progress.track_progress(range(3), "measuring")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("COURSE_QUIET")
    bar = progress.track_progress(iter(range(3)), "measuring")
    assert "measuring" in capsys.readouterr().err, "nothing is shown until the first item is done"
    assert list(bar) == [0, 1, 2]
