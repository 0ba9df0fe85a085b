"""The tool that builds notebooks: quotes, normalised results, nothing half-written, handouts."""

import json
import re

import nbformat
import pytest

from tools import notebooks as tool

TWIN = """---
kernelspec:
  name: python3
---

# 99 · A test

It runs in under 2 minutes.

```{code-cell} ipython3
import os
import sys

import ipywidgets as widgets
from nbformat import NotebookNode

print(os.environ["COURSE_PROGRESS"], os.path.basename(os.getcwd()), sys.prefix)
```

```{code-cell} ipython3
:tags: [quote]
:quote: tools.notebooks.first_line

old text
```

```{code-cell} ipython3
slider, number = widgets.IntSlider(description="step"), widgets.IntText()
widgets.jslink((slider, "value"), (number, "value"))
widgets.VBox([slider, number, widgets.Stack([widgets.HTML("a")], selected_index=None)])
```

```{code-cell} ipython3
:tags: [solution, hide-cell]

for i in range(3):
    print(i, flush=True)
```
"""


@pytest.fixture
def twin(tmp_path):
    """A twin in a folder of its own."""
    (tmp_path / "notebooks" / "src").mkdir(parents=True)
    file = tmp_path / "notebooks" / "src" / "99_test.md"
    file.write_text(TWIN, encoding="utf-8")
    return file


def test_a_build_fills_quotes_and_gives_the_same_bytes_twice(twin):
    assert not tool.in_step(twin)
    report = tool.build(twin)
    first = tool.target(twin).read_bytes()
    assert re.match(
        r"99_test.ipynb: \d+\.\d s \(2 minutes promised.*\), 0\.\d\d MB, 5 cells", report
    )
    assert (
        tool.in_step(twin)
        and "old text" not in twin.read_text()
        and "def first_line" in twin.read_text()
    )

    notebook = nbformat.reads(first.decode(), as_version=4)
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [
        1,
        2,
        3,
        4,
    ]
    assert notebook.cells[1].outputs[0].text == f"off notebooks {tool.sys.prefix}\n"
    assert [output.text for output in notebook.cells[4].outputs] == ["0\n1\n2\n"]
    state = notebook.metadata["widgets"][tool.WIDGETS]["state"]
    assert (
        notebook.cells[3].outputs[0].data["application/vnd.jupyter.widget-view+json"]["model_id"]
        in state
    )
    stack = next(model["state"] for model in state.values() if model["model_name"] == "StackModel")
    assert stack["selected_index"] is None, "the browser would take it for a frame"
    link = next(model["state"] for model in state.values() if model["model_name"] == "LinkModel")
    assert all(link[end][0].removeprefix("IPY_MODEL_") in state for end in ("source", "target"))

    twin.write_text(twin.read_text() + "\nAnother line.\n", encoding="utf-8")
    assert not tool.in_step(twin)
    twin.write_text(twin.read_text().removesuffix("\nAnother line.\n"), encoding="utf-8")
    tool.target(twin).unlink()
    tool.build(twin)
    assert tool.target(twin).read_bytes() == first


RECALL = """A word of mine, of which only prose knows.

```{code-cell} ipython3
from course_lib.lab import recall

recall.ask("%s")
```

"""


def with_recall(number):
    """The twin with new prose, and questions to recall, in front of its cells."""
    return TWIN.replace("```{code-cell}", RECALL % number + "```{code-cell}", 1)


def test_a_patch_gives_what_a_build_gives(twin):
    tool.build(twin)
    twin.write_text(with_recall("06"), encoding="utf-8")
    twin.write_text(tool.fill_quotes(twin.read_text()), encoding="utf-8")
    tool.patch(twin)
    patched = tool.target(twin).read_text()
    assert tool.in_step(twin) and patched.count('"model_name": "LinkModel"') == 3
    tool.build(twin)
    assert tool.target(twin).read_text() == patched

    notebook = nbformat.reads(patched, as_version=4)
    assert not tool.recall_is_stale(notebook, twin.with_name("06_test.md"))
    assert tool.recall_is_stale(notebook, twin.with_name("07_test.md"))
    for number in ("07", "06"):  # the questions of before go, with all that belonged to them
        twin.write_text(tool.fill_quotes(with_recall(number)), encoding="utf-8")
        tool.patch(twin)
        assert (tool.target(twin).read_text() == patched) == (number == "06")


def test_a_patch_refuses_what_has_to_be_run(twin):
    tool.build(twin)
    before = tool.target(twin).read_bytes()
    text = tool.fill_quotes(with_recall("06")).replace("range(3)", "range(4)")
    twin.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"must be built: its cell 'for i in range\(4\):' is new"):
        tool.patch(twin)
    assert tool.target(twin).read_bytes() == before


QUIZ = """
```{code-cell} ipython3
import random

from course_lib.lab import quiz

print(random.SystemRandom().random())
```

```{code-cell} ipython3
quiz.choice("99.1", "%s", [("yes", True, "It is."), ("no", False, "It is not.")])
```
"""


def test_a_patch_asks_a_quiz_anew_and_runs_nothing_else(twin):
    """A number drawn by chance stays the one that was built; of the old question nothing stays."""
    twin.write_text(tool.fill_quotes(TWIN + QUIZ % "Is 1 odd?"), encoding="utf-8")
    tool.build(twin)
    built = tool.target(twin).read_text()
    twin.write_text(tool.fill_quotes(TWIN + QUIZ % "Is 2 even?"), encoding="utf-8")
    tool.patch(twin)
    patched = tool.target(twin).read_text()
    assert "Is 2 even?" in patched and "Is 1 odd?" in built and "Is 1 odd?" not in patched
    kept = [nbformat.reads(text, as_version=4).cells[-2].outputs for text in (built, patched)]
    assert kept[0] == kept[1] and kept[0][0].text.startswith("0.")
    assert len(tool.models_of(nbformat.reads(built, as_version=4))) == len(
        tool.models_of(nbformat.reads(patched, as_version=4))
    ), "the widgets of the old question are gone"


def test_a_cell_that_does_more_than_ask_is_not_patched(twin):
    twin.write_text(tool.fill_quotes(TWIN + QUIZ % "Is 1 odd?"), encoding="utf-8")
    tool.build(twin)
    before = tool.target(twin).read_bytes()
    more = QUIZ.replace("quiz.choice(", "x = 1\nquiz.choice(") % "Is 2 even?"
    twin.write_text(tool.fill_quotes(TWIN + more), encoding="utf-8")
    with pytest.raises(ValueError, match="must be built: its cell 'x = 1' is new"):
        tool.patch(twin)
    assert tool.target(twin).read_bytes() == before


def test_a_failing_cell_is_told_and_nothing_is_written(twin, capsys):
    tool.target(twin).write_text("the old notebook")
    twin.write_text("# 99\n\n```{code-cell} ipython3\nx = 1 / 0\n```\n", encoding="utf-8")
    with pytest.raises(tool.CellExecutionError, match="x = 1 / 0"):
        tool.build(twin)
    assert tool.target(twin).read_text() == "the old notebook"
    assert [file.name for file in twin.parent.parent.iterdir() if file.is_file()] == [
        "99_test.ipynb"
    ]


def test_a_failing_notebook_fails_the_command(twin, monkeypatch, capsys):
    monkeypatch.setattr(tool, "refresh_maps", lambda: None)
    monkeypatch.setattr(tool, "refresh_recalls", lambda: None)
    twin.write_text("# 99\n\n```{code-cell} ipython3\nx = 1 / 0\n```\n", encoding="utf-8")
    assert tool.build_all([twin]) == 1
    printed = capsys.readouterr().out
    assert (
        "99_test: NOT BUILT" in printed
        and "x = 1 / 0" in printed
        and "ZeroDivisionError" in printed
    )


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tool.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        tool.write_atomically(file, "new")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def quoted(x):
    """A first line.

    More lines.
    """

    def inner():
        """Of its own."""

    # a comment stays
    return inner


class Quoted:
    """A class."""

    value: int = 3

    def method(self):
        """A method."""
        return "a string, not a docstring"


def test_quotes_lose_their_docstrings_only():
    assert (
        tool.quoted_source(f"{__name__}.quoted")
        == "def quoted(x):\n    def inner():\n        ...\n\n    # a comment stays\n    return"
        " inner"
    )
    assert (
        tool.quoted_source(f"{__name__}.Quoted")
        == 'class Quoted:\n    value: int = 3\n\n    def method(self):\n        return "a string,'
        ' not a docstring"'
    )
    assert tool.quoted_source(f"{__name__}.Quoted.method").startswith(
        "def method(self):\n    return"
    )
    for missing in ("tools.notebooks.nothing", "tools.nothing.first_line", "nothing.at.all"):
        with pytest.raises((AttributeError, ModuleNotFoundError), match="nothing"):
            tool.quoted_source(missing)


def test_ids_change_only_with_their_own_cell(twin):
    before = {cell.source: cell.id for cell in tool.read_twin(twin).cells}
    twin.write_text(TWIN.replace("It runs", "A new sentence. It runs"), encoding="utf-8")
    after = {cell.source: cell.id for cell in tool.read_twin(twin).cells}
    same = before.keys() & after.keys()
    assert len(same) == 4 and all(before[source] == after[source] for source in same)


def test_equal_cells_have_different_ids(twin):
    twin.write_text("```{code-cell} ipython3\nx = 1\n```\n\n" * 3, encoding="utf-8")
    ids = [cell.id for cell in tool.read_twin(twin).cells]
    assert len(set(ids)) == len(ids) == 3


def test_the_handout_has_no_solutions_and_no_outputs(twin, monkeypatch, tmp_path):
    notebook = tool.read_twin(twin)
    for number, cell in enumerate(notebook.cells[1:], start=1):
        cell.execution_count, cell.outputs = number, [nbformat.v4.new_output("stream", text="x")]
    tool.target(twin).write_text(tool.as_text(notebook), encoding="utf-8")
    tool.write_handouts([twin], tmp_path / "build" / "handout")
    copy = json.loads((tmp_path / "build" / "handout" / "99_test.ipynb").read_text())
    assert len(copy["cells"]) == 4 and not any(
        "solution" in cell["metadata"].get("tags", []) for cell in copy["cells"]
    )
    assert all(
        cell.get("outputs") in ([], None) and cell.get("execution_count") is None
        for cell in copy["cells"]
    )
    assert len(notebook.cells) == 5, "the notebook itself was changed"
    tool.target(twin).unlink()
    with pytest.raises(SystemExit, match="not built yet: 99_test"):
        tool.write_handouts([twin], tmp_path)


def test_check_names_what_is_out_of_step(twin, capsys):
    assert tool.check([twin]) == 1
    assert "99_test: out of step" in capsys.readouterr().out


def test_an_unknown_number_is_refused():
    with pytest.raises(SystemExit, match="there is no notebooks/src/77_"):
        tool.choose(["77"])
