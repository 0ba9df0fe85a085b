"""Files: whole or not at all, damage is noticed and the file named."""

import json
import os

import pytest

from course_lib.files import markdown_table, read_json, write_atomically, write_json

CONTENT = {"name": "modèl", "numbers": [1, 2.5, None, True], "nested": {"a": {"b": []}}}


def told(kind: str, version: int) -> str:
    return json.dumps({"kind": kind, "version": version, "sha256": "", "content": 0})


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "x.json"
    for content in (CONTENT, [], "text", 3, None):
        write_json(path, "thing", 2, content)
        assert read_json(path, "thing", 2) == content


def test_keys_that_are_numbers_come_back_as_text_and_not_as_damage(tmp_path):
    """Sorted as numbers 2 comes before 10, as text after it: the checksum must not depend on it."""
    path = tmp_path / "x.json"
    write_json(path, "thing", 1, {10: "a", 2: ("b", "c"), None: 0} | {True: 1})
    assert read_json(path, "thing", 1) == {"10": "a", "2": ["b", "c"], "null": 0, "true": 1}


def test_a_file_cut_anywhere_is_named(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, "thing", 1, CONTENT)
    whole = path.read_bytes()
    for n_bytes in range(len(whole)):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(ValueError, match="x.json"):
            read_json(path, "thing", 1)


def test_any_byte_of_the_content_that_changes_is_noticed(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, "thing", 1, CONTENT)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            assert read_json(path, "thing", 1) == CONTENT
        except ValueError as error:
            assert "x.json" in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "not a thing file, or it is damaged"), ("[1]", "not a thing file"),
        ("3", "not a thing file"),
        ("{}", "not a thing file"), ("null", "not a thing file"), (b"\xff\xfe", "not a thing file"),
        (told("other", 1), "holds other version 1, not thing version 1"),
        (told("thing", 9), "holds thing version 9, not thing version 1"),
        (told("thing", 1), "does not match its checksum"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_told(text, message, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"x.json.*{message}"):
        read_json(path, "thing", 1)


def test_a_write_that_fails_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    write_atomically(path, b"old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_content_that_json_lacks_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", "thing", 1, {"set": {1, 2}})
    assert not list(tmp_path.iterdir())


def test_a_table_has_a_line_per_row():
    assert markdown_table(["a"], [[1], ["x"]]).splitlines() == ["| a |", "|---|", "| 1 |", "| x |"]
