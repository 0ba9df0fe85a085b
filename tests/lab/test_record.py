"""The record survives damage, older layouts, full disks, and notebooks that write at once."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from course_lib.lab import cards, record

EMPTY = {part: {} for part in ("exercises", "quiz", "numbers", "exam", "cards", "placement")}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The file of a record, in a folder that is not there yet."""
    path = tmp_path / "folder" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


def write(file, text):
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text.encode("utf-8", "surrogateescape"))


# Damage
# --------------------------------------------------------------------------------------------------

DAMAGED = ["{", "[]", "{}", '{"exercises": {"a": 3}, "quiz": {}}', "\udcff", "null", ""]
DAMAGED += ['{"exercises": {}, "quiz": {}, "exam": 3}', "[" * 100_000]
DAMAGED += ['{"exercises": {}, "quiz": {}, "numbers": {"a": 3}}']
DAMAGED += ['{"exercises": {"a": {"tries": "3"}}, "quiz": {}}']
DAMAGED += ['{"exercises": {}, "quiz": {}, "cards": {"a": {"box": 2.5, "seen": "2026-01-01"}}}']


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_is_set_aside_and_told(file, capsys, text):
    write(file, text)
    record.note("quiz", "q", first=True)
    assert record.load() == EMPTY | {"quiz": {"q": {"first": True}}}
    (aside,) = file.parent.glob("*damaged*")
    assert aside.read_bytes() == text.encode("utf-8", "surrogateescape")
    assert capsys.readouterr().out.count(str(aside)) == 1


def test_a_record_that_another_notebook_has_begun_is_not_set_aside(file, monkeypatch):
    write(file, "{")

    @contextmanager
    def late(file):
        file.write_text(json.dumps(EMPTY | {"quiz": {"q": {}}}))
        yield

    monkeypatch.setattr(record, "locked", late)
    assert record.load()["quiz"] == {"q": {}} and not list(file.parent.glob("*damaged*"))


def test_a_second_damage_does_not_overwrite_the_first(file):
    for text in ("{", "["):
        write(file, text)
        assert record.load() == EMPTY
    kept = sorted(file.parent.glob("*damaged*"))
    assert [path.read_text() for path in kept] == ["{", "["]


def test_a_full_disk_leaves_the_old_record_intact(file, monkeypatch, capsys):
    record.note("quiz", "q", first=True)
    before = file.read_text()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    record.note("quiz", "q", first=False)
    assert file.read_text() == before
    assert set(os.listdir(file.parent)) <= {"progress.json", "progress.json.lock"}
    assert "No space left on device" in capsys.readouterr().out


def test_a_lock_that_is_not_given_costs_a_sentence(file, monkeypatch, capsys):
    record.note("quiz", "q", first=True)
    hold = "import sys; from filelock import FileLock; (lock := FileLock(sys.argv[1])).acquire();"
    hold += "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, f"{file}.lock"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
        other.stdout.readline()
        monkeypatch.setattr(record, "PATIENCE", 0.1)
        record.note("quiz", "q", first=False)
        assert record.load()["quiz"]["q"] == {"first": True}, "reading needs no lock"
        other.stdin.close()
    assert "could not be saved" in capsys.readouterr().out
    record.note("quiz", "q", first=False)
    assert record.load()["quiz"]["q"] == {"first": False}


def test_off_keeps_no_record(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    record.note("quiz", "q", first=True)
    assert record.path() is None and record.load() == EMPTY


# Several notebooks
# --------------------------------------------------------------------------------------------------

WRITER = """
import sys
from course_lib.lab import record
me = sys.argv[1]
def count(kept):
    entry = kept["exercises"].setdefault("shared", {})
    entry["tries"] = entry.get("tries", 0) + 1
print("ready", flush=True)
sys.stdin.readline()
for i in range(25):
    record.note("quiz", f"{me}-{i}", first=True)
    record.update(count)
"""


@pytest.mark.parametrize("begun", [True, False], ids=["a record", "a damaged one"])
def test_processes_that_write_at_once_lose_nothing(file, begun):
    write(file, '{"exercises": {}, "quiz": {"before": {}}}' if begun else "{")
    pipe = subprocess.PIPE
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, f"{i}"], stdin=pipe, stdout=pipe, text=True)
        for i in range(3)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    told = "".join(writer.communicate()[0] for writer in writers)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    kept = json.loads(file.read_text())
    expected = {f"{me}-{i}" for me in range(3) for i in range(25)} | (
        {"before"} if begun else set()
    )
    assert set(kept["quiz"]) == expected and kept["exercises"]["shared"] == {"tries": 75}
    assert told.count("set aside") == (not begun) == len(list(file.parent.glob("*damaged*")))


# Older layouts: as the course of that time wrote them
# --------------------------------------------------------------------------------------------------

EXERCISES = {
    "bpe.count_pairs": {"done": True, "how": "with hints", "tries": 2},
    "bpe.merge_pair": {"done": False, "tries": 1},
}
FIRST = {
    "exercises": EXERCISES,
    "quiz": {
        "q-merge": {"first": False, "question": "Which pair becomes a token next?", "tries": 2},
        "q-unknown": {"first": True, "question": "A tokenizer ...", "tries": 1},
    },
}
WITH_LESSONS = FIRST | {
    "quiz": {key: entry | {"lesson": "03"} for key, entry in FIRST["quiz"].items()}
}
WITH_EXAMS = WITH_LESSONS | {
    "numbers": {"bytes per token, Hamlet": {"lesson": "03", "value": 3.25}},
    "exam": {"0": {"answers": {"q-merge": "?"}, "done": False, "keys": ["q-merge", "q-bits"]}},
}
LATER = WITH_EXAMS | {"cards": {}, "placement": {}, "of a newer course": [1]}


@pytest.mark.parametrize("old", [FIRST, WITH_LESSONS, WITH_EXAMS, LATER])
def test_an_older_record_is_read_and_nothing_of_it_is_lost(file, old):
    write(file, json.dumps(old))
    assert record.load() == EMPTY | old
    record.update(lambda kept: cards.move(kept, "q-merge", right=False))
    after = record.load()
    assert set(after.pop("cards")) == {"q-merge"}
    assert after | {"cards": {}} == EMPTY | old
    boxes = [cards.card_of(record.load(), key).box for key in ("q-merge", "q-unknown")]
    assert boxes == [1, 2], "what was missed at first is in the first box"


def test_the_first_answer_of_an_older_record_still_counts(file, monkeypatch):
    from course_lib.lab import progress

    monkeypatch.setattr(progress, "live", lambda: True)
    write(file, json.dumps(FIRST))
    progress.answered("q-merge", "Which pair becomes a token next?", True)
    assert record.load()["quiz"]["q-merge"]["first"] is False
