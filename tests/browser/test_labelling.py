"""The labelling desk in a real JupyterLab: by mouse, by keyboard alone, and through a reload of the
page and a restart of the kernel."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, expect

from course_lib.lab import label_file
from tests.browser.barriers import serious_barriers
from tests.browser.jupyter import newcomers_environment, running_lab

IMPORT = "from course_lib.lab import labelling"
DESK = "labelling.desk(labelling.shipped_pairs()[:8], 'test')"
OPENED = "window.jupyterapp?.shell?.currentWidget?.context?.isReady"
RUN_ALL = """async () => {
    await window.jupyterapp.shell.currentWidget.sessionContext.ready;
    await window.jupyterapp.commands.execute('notebook:run-all-cells');
}"""
COMMAND = "([name, options]) => window.jupyterapp.commands.execute(name, options)"
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
TOO_WIDE = """desk => [...desk.querySelectorAll('*')].filter(part =>
    part.getBoundingClientRect().right > desk.getBoundingClientRect().right + 0.5)
    .map(part => part.className)"""


@dataclass(frozen=True)
class Desk:
    """A desk on a page, the file of its labels, and what was said so far, as a test knows it."""

    page: Page
    file: Path
    said: list

    @property
    def box(self) -> Locator:
        return self.page.locator(".course-desk")

    def shown(self) -> tuple[str, tuple[str, str]]:
        """The question and the answers that stand on the desk."""
        question = self.box.locator("b").inner_text()
        answers = self.box.locator(".course-desk-answer").all_inner_texts()
        return question, tuple(answers)

    def expect_said(self, text: str) -> None:
        expect(self.box.locator(".course-desk-live")).to_contain_text(text, timeout=20_000)
        self.page.wait_for_timeout(350)  # sooner would be a double click

    def expect_chosen(self, act, chosen: int | None) -> None:
        """Do something that chooses, and wait until the desk says that it is kept."""
        question, answers = self.shown()
        act()
        self.said.append((question, answers, chosen))
        self.expect_said("Kept: " + ("can’t say." if chosen is None else f"answer {chosen + 1}."))
        judged = sum(len(answers) == 2 for _, answers, _ in self.said)
        self.expect_said(f"Pairs judged: {judged} of 8.")

    def expect_file(self) -> None:
        """The file holds exactly what was said."""
        labels, damaged, _ = label_file.read_labels(self.file)
        assert [(label.question, label.answers, label.chosen) for label in labels] == self.said
        assert damaged == [] and all(0.3 < label.seconds < 120 for label in labels)


@pytest.fixture
def desk(page, tmp_path) -> Iterator[Desk]:
    """A notebook with a desk, just run; the focus is on its cell, as after Ctrl+Enter."""
    root = tmp_path / "my_course"
    root.mkdir()
    notebook = new_notebook(cells=[new_code_cell(IMPORT), new_code_cell(DESK)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, root / "desk.ipynb")
    environment = newcomers_environment(tmp_path) | {"COURSE_LABELS": str(tmp_path / "labels")}
    with running_lab(root, environment, tmp_path / "server.log") as address:
        page.set_default_timeout(60_000)
        page.goto(f"{address}/desk.ipynb?reset")
        page.wait_for_function(OPENED)
        page.evaluate(RUN_ALL)
        desk = Desk(page, tmp_path / "labels" / ".course_labels-test.jsonl", [])
        expect(desk.box).to_have_attribute("aria-label", "Labelling desk")
        desk.expect_said("Which answer is better?")
        yield desk


def by_mouse(desk: Desk) -> None:
    desk.expect_chosen(desk.box.get_by_role("button", name="2 · Answer 2 is better").click, 1)
    desk.box.locator("b").click()  # anywhere on the desk: the keys work from here
    desk.expect_chosen(lambda: desk.page.keyboard.press("1"), 0)


def tab_to(desk: Desk, name: str) -> None:
    """Press Tab until the focus, which can be seen, is on the control of this name."""
    control = desk.box.get_by_label(name) if name == "Your own answer" else None
    control = control or desk.box.get_by_role("button", name=name)
    for _ in range(12):
        if control.evaluate("control => control === document.activeElement"):
            assert control.evaluate("control => getComputedStyle(control).outlineWidth") == "3px"
            return
        desk.page.keyboard.press("Tab")
    pytest.fail(f"the keyboard does not get to {name}")


def by_keyboard_alone(desk: Desk) -> None:
    keyboard, before = desk.page.keyboard, desk.page.locator(".jp-Notebook .jp-Cell").count()
    desk.page.evaluate(COMMAND, ["notebook:enter-command-mode", {}])
    tab_to(desk, "1 · Answer 1 is better")
    desk.expect_chosen(lambda: keyboard.press("Enter"), 0)
    desk.expect_chosen(lambda: keyboard.press("2"), 1)
    desk.expect_chosen(lambda: keyboard.press("0"), None)
    asked, answers, _ = desk.said.pop()
    keyboard.press("u")
    desk.expect_said(f"Taken back: can’t say to “{asked}”")
    assert desk.shown() == (asked, answers)
    for key in "ddxa":  # JupyterLab would delete the cell
        keyboard.press(key)
    desk.page.wait_for_timeout(300)
    assert desk.page.locator(".jp-Notebook .jp-Cell").count() == before
    tab_to(desk, "Your own answer")
    keyboard.type("1 answer of mine, in 20 words")  # digits are no choices here
    tab_to(desk, "Keep my answer")
    keyboard.press("Enter")
    desk.said.append((asked, ("1 answer of mine, in 20 words",), 0))
    desk.expect_said("Kept: your answer.")
    assert desk.shown() == (asked, answers)


def through_a_reload_and_a_restart(desk: Desk) -> None:
    page, before = desk.page, desk.shown()
    page.evaluate(COMMAND, ["docmanager:save", {}])
    page.reload()
    page.wait_for_function(OPENED)
    expect(desk.box.locator("b")).to_have_text(before[0])
    assert desk.shown() == before
    desk.expect_chosen(desk.box.get_by_role("button", name="1 · Answer 1").click, 0)
    before = desk.shown()
    page.evaluate(RESTART)
    page.evaluate(RUN_ALL)
    desk.expect_said("Which answer is better?")  # a fresh desk
    assert desk.shown() == before
    desk.expect_said("Answers written: 1.")
    desk.expect_chosen(desk.box.get_by_role("button", name="0 · Can't say").click, None)


def nobody_is_kept_out(desk: Desk) -> None:
    page = desk.page
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate(COMMAND, ["apputils:change-theme", {"theme": theme}])
        page.wait_for_timeout(700)
        assert serious_barriers(page, ".course-desk") == [], theme
    page.evaluate(COMMAND, ["application:toggle-left-area", {}])
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(700)
    assert desk.box.evaluate(TOO_WIDE) == []
    assert desk.box.bounding_box()["width"] <= 390


@pytest.mark.timeout(300)
def test_the_desk_is_driven_by_mouse_and_keyboard_and_goes_on_where_it_was(desk):
    by_mouse(desk)
    by_keyboard_alone(desk)
    desk.expect_file()
    through_a_reload_and_a_restart(desk)
    nobody_is_kept_out(desk)
    desk.expect_file()
    assert len(desk.said) == 7
