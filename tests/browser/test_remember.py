"""In a real JupyterLab: what was learnt comes back, and the record is carried away, by keyboard."""

import json
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

from course_lib.lab import placement
from tests.browser.barriers import serious_barriers
from tests.browser.jupyter import newcomers_environment, running_lab
from tests.browser.test_labelling import COMMAND, OPENED, RUN_ALL, TOO_WIDE

CELLS = (
    "from course_lib.lab import recall\nrecall.ask('06')",
    "from course_lib.lab import review\nreview.page()",
    "from course_lib.lab import placement\nplacement.page()",
    "from course_lib.lab import progress\nprogress.page()",
)
MISSED = {"q-merge": {"box": 1, "seen": "2026-01-01"}, "q-digits": {"box": 2, "seen": "2026-01-01"}}


@pytest.fixture
def notebook(page, tmp_path):
    """A notebook with four cells, just run, and its record, in which two questions are due."""
    root, record = tmp_path / "my_course", tmp_path / "progress.json"
    root.mkdir()
    record.write_text(json.dumps({"exercises": {}, "quiz": {}, "cards": MISSED}))
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, root / "remember.ipynb")
    environment = newcomers_environment(tmp_path) | {"COURSE_PROGRESS": str(record)}
    with running_lab(root, environment, tmp_path / "server.log") as address:
        page.set_default_timeout(60_000)
        page.goto(f"{address}/remember.ipynb?reset")
        page.wait_for_function(OPENED)
        page.evaluate(RUN_ALL)
        yield page, root, record


def output(page, cell):
    return page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-OutputArea")


def wait_until(told):
    """Wait until a file says what it shall."""
    for _ in range(100):
        if told():
            return
        time.sleep(0.1)
    pytest.fail("this was not kept")


def box_of(record, key):
    return json.loads(record.read_text())["cards"].get(key, {}).get("box")


def recall_and_review_ask_what_was_missed(page, record):
    recalled, reviewed = output(page, 0), output(page, 1)
    expect(recalled.get_by_role("radiogroup")).to_have_count(2)
    expect(recalled.get_by_role("radiogroup").first).to_have_accessible_name(
        "A byte-pair tokenizer is in training. Which pair becomes a token next?"
    )
    recalled.get_by_role("radio", name="The most frequent one in the text").press("Space")
    expect(recalled.locator("[role=status]:visible")).to_contain_text("Right.")
    wait_until(lambda: box_of(record, "q-merge") == 2)
    expect(reviewed.get_by_role("radiogroup")).to_have_count(2)
    reviewed.get_by_role("radiogroup").nth(1).get_by_role("radio").first.press("Space")
    expect(reviewed.locator(".course-desk-live")).to_contain_text("1 of 2 answered")
    wait_until(lambda: box_of(record, "q-digits") in (1, 3))


def placement_takes_single_keys(page, record):
    desk = output(page, 2).locator(".course-exam")
    expect(desk).to_have_attribute("aria-label", "Placement quiz")
    desk.get_by_role("button", name="0 · ").focus()
    for number in range(1, placement.ENOUGH + 1):
        expect(desk.locator(".course-desk-live")).to_contain_text(f"Lesson 0{number}")
        page.wait_for_timeout(350)  # sooner would be a double click
        page.keyboard.press("0")
    expect(desk.locator(".course-desk-live")).to_contain_text("Begin with 01 PyTorch")
    wait_until(lambda: len(json.loads(record.read_text())["placement"]) == placement.ENOUGH)


def the_record_is_carried_away_and_begun_anew(page, root, record):
    shown = output(page, 3)
    shown.get_by_role("button", name="Export a copy").press("Enter")
    expect(shown).to_contain_text("Your record was copied to")
    (copy,) = root.glob("course_progress_*.json")
    shown.get_by_role("button", name="Begin anew").press("Enter")
    shown.get_by_role("button", name="Yes, begin anew").press("Enter")
    expect(shown).to_contain_text("The old one is kept as")
    assert not record.exists() and len(list(record.parent.glob("progress_kept_*.json"))) == 1
    shown.get_by_role("textbox", name="File").fill(copy.name)
    shown.get_by_role("button", name="Import a copy").press("Enter")
    expect(shown).to_contain_text("new here: 2 cards of the review")
    assert box_of(record, "q-merge") == 2


@pytest.mark.timeout(300)
def test_what_was_learnt_comes_back_and_the_record_is_carried_away(notebook):
    page, root, record = notebook
    recall_and_review_ask_what_was_missed(page, record)
    placement_takes_single_keys(page, record)
    the_record_is_carried_away_and_begun_anew(page, root, record)
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate(COMMAND, ["apputils:change-theme", {"theme": theme}])
        page.wait_for_timeout(700)
        assert serious_barriers(page, ".jp-OutputArea") == [], theme
    assert output(page, 1).evaluate(TOO_WIDE) == []
