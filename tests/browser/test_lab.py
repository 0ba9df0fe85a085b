"""A newcomer's first ten minutes: `make lab` hands out fresh copies, JupyterLab opens 00 there, it
runs to its end, an exercise is done wrong and then right, a question answered, a figure moved."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from course_lib.lab import course_map, desk
from tests.browser.jupyter import newcomers_environment, running_lab
from tests.browser.moving import assert_slider_moves
from tests.notebooks import handouts
from tools import notebooks as tool

FIRST = course_map.lessons()[0]
PATIENCE = 900_000  # milliseconds; the notebook trains a model

CODE_CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .map((cell, index) => ({index, cell}))
    .filter(({cell}) => cell.model.type == 'code' && cell.model.sharedModel.source.trim())
    .map(({cell, index}) => ({
        index, source: cell.model.sharedModel.source, count: cell.model.executionCount,
        trusted: cell.model.trusted, outputs: cell.model.outputs.toJSON()}))"""
RUN_ALL = """async () => {
    const app = window.jupyterapp, panel = app.shell.currentWidget;
    await panel.sessionContext.ready;
    await app.commands.execute('notebook:run-all-cells');
}"""
GO_TO = """async index => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = index;
    await notebook.scrollToItem(index, 'center');
}"""
COMMAND = "name => window.jupyterapp.commands.execute(name)"
PASTE = """(editor, text) => {
    const data = new DataTransfer();
    data.setData('text/plain', text);
    editor.dispatchEvent(
        new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
}"""
PRINTED = """index => window.jupyterapp.shell.currentWidget.content.widgets[index].model.outputs
    .toJSON().map(output => [output.text ?? ''].flat().join('')).join('')"""


@dataclass(frozen=True)
class Lab:
    """A newcomer's JupyterLab: its address, the folder of copies and the record of progress."""

    address: str
    copies: Path
    progress: Path


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A JupyterLab with settings, trust and progress of its own, on fresh copies."""
    copies, progress = tmp_path / "my_course", tmp_path / "progress.json"
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "DATA_DIR"))
    environment = newcomers_environment(tmp_path) | {"COURSE_PROGRESS": str(progress)}
    hand_out = [sys.executable, "-m", "course_lib.lab.desk", "--folder", str(copies)]
    subprocess.run(hand_out, env=environment, check=True)
    with running_lab(copies, environment, tmp_path / "server.log") as address:
        yield Lab(address, copies, progress)


def tracked_changes() -> str:
    """The tracked files that git sees as changed; nothing where this is no clone."""
    if shutil.which("git") is None or not (course_map.ROOT / ".git").exists():
        return ""
    command = ["git", "status", "--porcelain", "--untracked-files=no"]
    return subprocess.run(command, cwd=course_map.ROOT, capture_output=True, text=True).stdout


def printed(cell: dict) -> str:
    """All that a cell printed."""
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def nothing_is_stored_in_view(page):
    cells = page.evaluate(CODE_CELLS)
    assert len(cells) > 5 and all(cell["trusted"] for cell in cells)
    assert [cell["source"] for cell in cells if cell["outputs"] or cell["count"]] == []


def it_runs_to_the_end(page):
    page.evaluate(RUN_ALL)
    cells = page.evaluate(CODE_CELLS)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [out for out in outputs if out["output_type"] == "error"] == []
    assert [cell["count"] for cell in cells] == list(range(1, len(cells) + 1))
    exercises = [cell for cell in cells if handouts.CHECK.search(cell["source"])]
    names = [handouts.CHECK.search(cell["source"])[1] for cell in exercises]
    assert names and [printed(cell).partition(":")[0] for cell in exercises] == [
        f"[ ] {name}" for name in names
    ]
    told = "".join(map(printed, cells))
    assert [name for name in names if f"[ok] {name}" in told] == [], "nobody has solved them"


def type_in(page, index: int, text: str, expected: str):
    """Replace a cell's text, run it, and wait until it prints what is expected."""
    page.evaluate(GO_TO, index)
    editor = page.locator(".jp-Notebook .jp-Cell.jp-mod-active .cm-content")
    editor.click()
    page.keyboard.press("ControlOrMeta+a")
    editor.evaluate(PASTE, text)
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        f"([index, text]) => ({PRINTED})(index).includes(text)",
        arg=[index, expected],
        timeout=60_000,
    )
    return page.evaluate(PRINTED, index)


def an_exercise_is_done_wrong_and_then_right(page):
    cells = page.evaluate(CODE_CELLS)
    done = [cell for cell in cells if handouts.CHECK.search(cell["source"])]
    name = handouts.CHECK.search(done[0]["source"])[1]
    wrong = done[0]["source"].replace("    ...\n", "    return 0\n")
    said = type_in(page, done[0]["index"], wrong, f"[x] {name}: ")
    assert len(said) > len(f"[x] {name}: ") + 40, f"the reason is short: {said}"
    solution = tool.quoted_cell(f"course_lib.lab.solutions.{FIRST.lab}.{name}_solution")
    right = solution.replace(f"{name}_solution", name)
    type_in(page, done[0]["index"], right, f"[ok] {name}: ")
    later_cells_use_it(page, done[0]["index"], name)


def later_cells_use_it(page, index: int, name: str):
    page.evaluate(GO_TO, index)
    page.evaluate(COMMAND, "notebook:insert-cell-below")
    use = f"{name} = check.{name}.passed_or_solution({name})"
    type_in(page, index + 1, use, f"{name}: yours, which passed")


def a_question_is_answered(page, lab: Lab):
    cells = page.evaluate(CODE_CELLS)
    page.evaluate(
        GO_TO, next(cell["index"] for cell in cells if cell["source"].startswith("quiz.choice("))
    )
    cell = page.locator(".jp-Notebook .jp-Cell.jp-mod-active")
    cell.locator(".course-quiz input").first.check()
    status = cell.locator("[role=status]:visible")
    expect(status).to_have_count(1)
    assert status.inner_text().startswith(("Right.", "Not quite."))
    for _ in range(100):
        if lab.progress.exists() and json.loads(lab.progress.read_text())["quiz"]:
            return
        time.sleep(0.2)
    pytest.fail("the answer is not in the record of progress")


@pytest.mark.timeout(1200)
@pytest.mark.skipif(not FIRST.built, reason="notebook 00 is not there")
def test_the_first_ten_minutes(page, lab):
    before = tracked_changes()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{lab.address}/{FIRST.file}?reset")
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.isReady")
    nothing_is_stored_in_view(page)
    it_runs_to_the_end(page)
    assert_slider_moves(page, page.locator(".jp-OutputArea .widget-slider .noUi-handle").first)
    an_exercise_is_done_wrong_and_then_right(page)
    a_question_is_answered(page, lab)
    assert "official Jupyter news" not in page.inner_text("body")

    page.evaluate(COMMAND, "docmanager:save")
    assert desk.hand_out_all(lab.copies)[FIRST.file] == desk.YOURS
    assert tracked_changes() == before
