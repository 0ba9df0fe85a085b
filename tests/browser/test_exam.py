"""The exam by keyboard alone: in a real JupyterLab, where it is kept, and on the book's page."""

import json
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

from course_lib.lab import exam_paper, placement, question_bank
from tests.browser.barriers import serious_barriers
from tests.browser.jupyter import newcomers_environment, running_lab
from tests.browser.test_labelling import COMMAND, OPENED, RUN_ALL, TOO_WIDE

N = exam_paper.N_QUESTIONS


@pytest.fixture
def desk(page, tmp_path):
    """A notebook whose one cell is the exam, just run, and the file of its record."""
    root, record = tmp_path / "my_course", tmp_path / "progress.json"
    root.mkdir()
    cell = new_code_cell("from course_lib.lab import exam\nexam.page()")
    notebook = new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, root / "exam.ipynb")
    environment = newcomers_environment(tmp_path) | {"COURSE_PROGRESS": str(record)}
    with running_lab(root, environment, tmp_path / "server.log") as address:
        page.set_default_timeout(60_000)
        page.goto(f"{address}/exam.ipynb?reset")
        page.wait_for_function(OPENED)
        page.evaluate(RUN_ALL)
        expect(page.locator(".course-exam")).to_have_attribute("aria-label", "Exam")
        yield page, record


def nobody_is_kept_out(page):
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate(COMMAND, ["apputils:change-theme", {"theme": theme}])
        page.wait_for_timeout(700)
        assert serious_barriers(page, ".course-exam") == [], theme
    assert page.locator(".course-exam").evaluate(TOO_WIDE) == []


def tab_to(page, name):
    """Press Tab until the focus is on the button whose name begins so."""
    button = page.locator(".course-exam").get_by_role("button", name=name)
    for _ in range(12):
        if button.evaluate("button => button === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the keyboard does not get to {name}")


def expect_said(page, text):
    expect(page.locator(".course-exam .course-desk-live")).to_contain_text(text, timeout=20_000)
    page.wait_for_timeout(350)  # sooner would be a double click


@pytest.mark.timeout(300)
def test_the_exam_is_taken_by_keyboard_alone_and_kept(desk):
    page, record = desk
    keyboard, cells = page.keyboard, page.locator(".jp-Notebook .jp-Cell").count()
    nobody_is_kept_out(page)
    page.evaluate(COMMAND, ["notebook:enter-command-mode", {}])
    expect_said(page, f"Question 1 of {N} · 0 answered.")
    tab_to(page, "1 · ")
    keyboard.press("Enter")
    expect_said(page, f"Question 2 of {N} · 1 answered.")
    keyboard.press("h")
    expect_said(page, f"{N - 1} questions have no answer yet.")
    keyboard.press("p")
    expect_said(page, f"Question 1 of {N}")
    chosen = page.locator(".course-exam-chosen")
    expect(chosen).to_have_attribute("aria-pressed", "true")
    keyboard.press("n")
    for done in range(1, N):
        expect_said(page, f" {done} answered.")
        keyboard.press("0" if done % 2 else "2")
    expect_said(page, "All are answered")
    keyboard.press("h")
    expect_said(page, f" of {N} right.")
    expect_said(page, "See again, most missed first:")
    assert serious_barriers(page, ".course-exam") == []
    page.wait_for_timeout(300)
    for key in "dd":  # JupyterLab would delete the cell
        keyboard.press(key)
    keyboard.press("a")  # ... and add one
    expect_said(page, f"Question 1 of {N} · 0 answered.")
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    (sitting,) = exam_paper.sittings_of({"exam": kept(record)})
    assert sitting.done and len(sitting.answers) == N
    assert list(sitting.answers.values()).count(exam_paper.DONT_KNOW) == N // 2


def kept(record):
    """The sittings in the record, once the last is handed in."""
    for _ in range(50):
        sittings = json.loads(record.read_text())["exam"]
        if all(entry["done"] for entry in sittings.values()):
            return sittings
        time.sleep(0.2)
    pytest.fail("the exam was not kept as handed in")


def test_the_books_exam_is_taken_by_keyboard_alone(page, book):
    page.goto((book / "exam.html").as_uri())
    sets, result = page.locator("#exam fieldset:visible"), page.locator("#exam-result")
    expect(sets).to_have_count(N)
    first = sets.locator("legend").all_inner_texts()
    page.locator("#exam-hand-in").press("Enter")
    expect(result).to_contain_text(f"{N} questions have no answer yet.")
    right = {question.text: question.right.text for question in question_bank.load_bank()}
    for i, asked in enumerate(first):
        options = sets.nth(i).get_by_role("radio")
        at = page.locator("#exam fieldset:visible").nth(i).locator("label").all_inner_texts()
        place = [text.strip() for text in at].index(right[asked]) if i >= 3 else None
        wrong = [j for j, text in enumerate(at) if text.strip() != right[asked]]
        options.nth(wrong[0] if place is None else place).press("Space")
    page.locator("#exam-hand-in").press("Enter")
    expect(result).to_contain_text(f"{N - 3} of {N} right")
    expect(result).to_contain_text("See again, most missed first:")
    expect(result).to_be_focused()
    assert sets.first.locator(".exam-said:visible").count() == 2, "the chosen and the right one"
    expect(sets.first.locator(".exam-lessons a").first).to_be_visible()
    assert sets.nth(5).locator(".exam-said:visible").count() == 1
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        page.wait_for_timeout(500)
        assert serious_barriers(page) == [], theme
    page.locator("#exam-others").press("Enter")
    expect(sets).to_have_count(N)
    assert not set(first) & set(sets.locator("legend").all_inner_texts())
    expect(page.locator("#exam .exam-said:visible")).to_have_count(0)


def test_the_books_placement_quiz_is_taken_by_keyboard_alone(page, book):
    """A reader knows lesson 01 and the first half of 02; then she stops knowing anything."""
    plan = placement.load_plan()
    page.goto((book / "placement.html").as_uri())
    sets, result = page.locator("#placement fieldset:visible"), page.locator("#placement-result")
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        page.wait_for_timeout(500)
        assert serious_barriers(page) == [], theme
    for question in (*plan["01"], plan["02"][0]):
        expect(sets).to_have_count(1)
        expect(sets.locator("legend")).to_have_text(question.text)
        expect(result).to_contain_text(f"Lesson {question.home} ")
        place = [option.right for option in question.options].index(True)
        sets.get_by_role("radio").nth(place).press("Space")
        page.locator("#placement-next").press("Enter")
    page.locator("#placement-next").press("Enter")  # nothing is chosen yet
    expect(sets.locator("legend")).to_have_text(plan["02"][1].text)
    expect(sets.get_by_role("radio").first).to_be_focused()
    for _ in range(placement.ENOUGH):
        page.locator("#placement-unknown").press("Enter")
    expect(result.locator("h2")).to_have_text("Begin with 02 Data collection")
    expect(result.locator("li")).to_have_text(["01 PyTorch in twenty minutes"])
    expect(result).to_be_focused()
    expect(sets).to_have_count(0)
    assert serious_barriers(page) == []
    result.locator("h2 a").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("02")
