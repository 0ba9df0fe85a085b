"""Every notebook in a live JupyterLab: its cells run to the end, its figures are drawn, no script
fails. It takes a minute or two for each, so LIVE_NOTEBOOKS="03 06", or "all", asks for it."""

import os

import pytest
from playwright.sync_api import expect

from course_lib.lab import course_map
from tests.browser.test_lab import CODE_CELLS, GO_TO, PATIENCE, it_runs_to_the_end, lab  # noqa: F401

WANTED = os.environ.get("LIVE_NOTEBOOKS", "").split()
LESSONS = [lesson for lesson in course_map.lessons() if lesson.built]
RUN = [lesson for lesson in LESSONS if WANTED == ["all"] or lesson.number in WANTED]
FIGURE = {"application/vnd.jupyter.widget-view+json", "text/html"}  # a bar of progress has no still


def drawn_figures(page) -> int:
    """Show each cell with an interactive figure or a question, wait until it is drawn, and give the
    number of cells."""
    cells = [
        cell
        for cell in page.evaluate(CODE_CELLS)
        if any(set(output.get("data", {})) >= FIGURE for output in cell["outputs"])
    ]
    for cell in cells:
        page.evaluate(GO_TO, cell["index"])
        shown = page.locator(".jp-Notebook .jp-Cell.jp-mod-active .jp-OutputArea-output")
        expect(shown.locator(".jupyter-widgets").first).to_be_visible(timeout=60_000)
    return len(cells)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lesson", RUN, ids=lambda lesson: lesson.number)
def test_a_notebook_runs_in_jupyterlab(page, lab, lesson):  # noqa: F811
    told = []
    page.on("console", lambda entry: told.append(entry.text) if entry.type == "error" else None)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{lab.address}/{lesson.file}?reset")
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.isReady")
    it_runs_to_the_end(page)
    assert drawn_figures(page) > 0
    assert told == []
