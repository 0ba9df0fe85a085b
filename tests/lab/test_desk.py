"""Working copies: a learner's work is never lost, an untouched copy follows the course."""

import json
import os

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_lib.lab import course_map, desk


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two executed lessons, in a folder of its own, with a Jupyter of its own."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    (tmp_path / "notebooks").mkdir()
    for name in ("00_start", "06_attention"):
        store(tmp_path / "notebooks" / f"{name}.ipynb", "x = 1")
    return tmp_path / "notebooks", tmp_path / "my_course"


SOLVED = "def f_solution():\n    return 2\n\ncheck.f(f_solution)"
FOLDED = """<details><summary>Solution</summary>

```python
def f_solution():
    return 2
```
</details>"""


def store(file, source):
    """Store an executed lesson: text, a cell, and a solution."""
    shown = [new_output("display_data", {"text/html": "<b>1</b>"})]
    cells = [
        new_markdown_cell("# A lesson", id="a"),
        new_code_cell(source, id="b", outputs=shown, execution_count=1),
        new_code_cell(SOLVED, id="c", metadata={"tags": ["solution"]}, execution_count=2),
    ]
    notebook = new_notebook(cells=cells, metadata={"widgets": {"state": {}}})
    file.write_text(nbformat.writes(notebook), encoding="utf-8")


def edit(file, change):
    """Do something to a notebook as JupyterLab would on saving."""
    notebook = nbformat.read(file, as_version=4)
    change(notebook)
    file.write_text(nbformat.writes(notebook), encoding="utf-8")


def type_in(notebook):
    notebook.cells[1].source = "x = 'mine'"


def run_it(notebook):
    notebook.cells[1].execution_count = 1
    notebook.cells[1].outputs = [new_output("stream", text="1")]


def test_copies_are_fresh_folded_and_trusted(course):
    originals, folder = course
    before = {file: file.read_bytes() for file in originals.iterdir()}
    assert desk.hand_out_all(folder, originals) == dict.fromkeys(
        ["00_start.ipynb", "06_attention.ipynb"], desk.NEW
    )
    notebook = nbformat.read(folder / "06_attention.ipynb", as_version=4)
    assert [cell.source for cell in notebook.cells] == ["# A lesson", "x = 1", FOLDED]
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "markdown"]
    assert (notebook.cells[1].outputs, notebook.cells[1].execution_count) == ([], None)
    assert "widgets" not in notebook.metadata
    assert NotebookNotary().check_signature(notebook)
    assert {file: file.read_bytes() for file in originals.iterdir()} == before


@pytest.mark.parametrize("work", [type_in, run_it])
def test_a_copy_with_work_in_it_is_never_overwritten(course, work):
    originals, folder = course
    desk.hand_out_all(folder, originals)
    copy = folder / "06_attention.ipynb"
    edit(copy, work)
    mine = copy.read_bytes()
    assert desk.hand_out_all(folder, originals)[copy.name] == desk.YOURS
    store(originals / copy.name, "x = 2")
    for _ in range(2):
        assert desk.hand_out_all(folder, originals)[copy.name] == desk.BEHIND
    assert copy.read_bytes() == mine


def test_an_untouched_copy_follows_the_course(course):
    originals, folder = course
    desk.hand_out_all(folder, originals)
    copy = folder / "06_attention.ipynb"
    edit(copy, lambda notebook: notebook.metadata.update(language_info={"name": "python"}))
    store(originals / copy.name, "x = 2")
    states = desk.hand_out_all(folder, originals)
    assert states == {"00_start.ipynb": desk.UNTOUCHED, copy.name: desk.UPDATED}
    notebook = nbformat.read(copy, as_version=4)
    assert notebook.cells[1].source == "x = 2" and NotebookNotary().check_signature(notebook)
    assert desk.hand_out_all(folder, originals)[copy.name] == desk.UNTOUCHED


def test_new_outputs_of_the_originals_are_no_update(course):
    originals, folder = course
    desk.hand_out_all(folder, originals)
    edit(originals / "06_attention.ipynb", lambda notebook: notebook.cells[1].outputs.clear())
    assert desk.hand_out_all(folder, originals)["06_attention.ipynb"] == desk.UNTOUCHED


@pytest.mark.parametrize("record", [None, "{", '{"kind": "another"}'])
def test_without_a_record_nothing_is_overwritten(course, record):
    originals, folder = course
    desk.hand_out_all(folder, originals)
    edit(folder / "06_attention.ipynb", type_in)
    (folder / desk.RECORD).unlink()
    if record is not None:
        (folder / desk.RECORD).write_text(record)
    assert desk.hand_out_all(folder, originals) == {
        "00_start.ipynb": desk.UNTOUCHED,
        "06_attention.ipynb": desk.YOURS,
    }
    store(originals / "00_start.ipynb", "x = 2")  # the untouched one was entered again
    assert desk.hand_out_all(folder, originals)["00_start.ipynb"] == desk.UPDATED


@pytest.mark.parametrize("text", ["", '{"cells": [', "[]", '{"nbformat": 4, "cells": 3}'])
def test_a_half_written_copy_is_kept_and_told(course, capsys, text):
    originals, folder = course
    desk.hand_out_all(folder, originals)
    copy = folder / "06_attention.ipynb"
    copy.write_text(text)
    states = desk.hand_out_all(folder, originals)
    assert states[copy.name] == desk.DAMAGED and copy.read_text() == text
    told = desk.as_told(folder, states)
    assert "06_attention.ipynb: can't be read" in told and 'make anew ONLY="06"' in told
    kept = desk.begin_anew("06", folder, originals)
    assert kept.read_text() == text and json.loads(copy.read_text())["cells"]


def test_a_lesson_begun_anew_keeps_every_old_copy(course):
    originals, folder = course
    copy = folder / "06_attention.ipynb"
    assert desk.begin_anew("06", folder, originals) is None, "there was no copy yet"
    for number in (1, 2):
        edit(copy, type_in)
        mine = copy.read_bytes()
        kept = desk.begin_anew("06", folder, originals)
        assert kept.name == f"06_attention_kept_{number}.ipynb" and kept.read_bytes() == mine
        assert nbformat.read(copy, as_version=4).cells[1].source == "x = 1"
        assert desk.hand_out_all(folder, originals)[copy.name] == desk.UNTOUCHED
    assert desk.begin_anew("06", folder, originals) is None, "an untouched copy is not kept"
    with pytest.raises(ValueError, match=r"no lesson '\*', only: 00, 06"):
        desk.begin_anew("*", folder, originals)


def test_errors_say_what_is_wrong(course, tmp_path, monkeypatch):
    originals, folder = course
    with pytest.raises(ValueError, match="there is no lesson in .*nothing"):
        desk.hand_out_all(folder, tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="the copies can't be written to .*file: .*File exists"):
        desk.main(["--folder", str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="there is no lesson '77', only: 00, "):
        desk.main(["--folder", str(folder), "--anew", "77"])
    (originals / "06_attention.ipynb").write_text("{")
    with pytest.raises(ValueError, match="06_attention.ipynb can't be read .*git checkout"):
        desk.hand_out_all(folder, originals)


def test_a_full_disk_leaves_the_old_copy(course, monkeypatch):
    originals, folder = course
    desk.hand_out_all(folder, originals)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    store(originals / "06_attention.ipynb", "x = 2")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            desk.hand_out_all(folder, originals)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert desk.hand_out_all(folder, originals)["06_attention.ipynb"] == desk.UPDATED


def test_a_jupyter_that_cannot_be_written_costs_a_sentence(course, monkeypatch, capsys):
    originals, folder = course
    (folder.parent / "jupyter").write_text("a file where a folder should be")
    assert set(desk.hand_out_all(folder, originals).values()) == {desk.NEW}
    assert "could not be marked as trusted" in capsys.readouterr().out


def test_the_real_lessons_are_handed_out_and_git_does_not_see_them(course, capsys):
    _, folder = course
    desk.main(["--folder", str(folder)])
    built = [lesson for lesson in course_map.lessons() if lesson.built]
    assert f"{len(built)} lessons in {folder}: {len(built)} new" in capsys.readouterr().out
    assert {lesson.file for lesson in built} == {file.name for file in folder.glob("*.ipynb")}
    ignored = (course_map.ROOT / ".gitignore").read_text().splitlines()
    assert f"{desk.FOLDER.relative_to(course_map.ROOT)}/" in ignored
