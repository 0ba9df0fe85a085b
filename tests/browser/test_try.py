"""Exercises in the browser's Python: it says of an answer, word for word, what this Python says."""

import ast
import importlib
import inspect
import re
import sys
import time
import zipfile
from itertools import chain
from types import FunctionType

import pytest
from playwright.sync_api import expect

from course_lib.lab import course_map
from course_lib.text import bpe
from tests.browser.barriers import serious_barriers

LESSONS = ("02", "03")
N_WRONG = 2  # of each exercise
SECOND = 1000  # milliseconds
MISSING = ("from tests.", "from course_lib.", "import numpy")  # in a browser


@pytest.fixture
def book_module(monkeypatch):
    """Import a module of the book's folder; `bpe` is there what a reader's code calls so."""
    monkeypatch.setattr(sys, "path", [str(course_map.ROOT / "book"), *sys.path])
    monkeypatch.setitem(sys.modules, "bpe", bpe)
    return importlib.import_module


def exercises():
    """Each exercise with its right answer, and wrong ones from its table, as they are typed."""
    for lab in (course_map.lesson(number).lab for number in LESSONS):
        answers = importlib.import_module(f"tests.lab.checks.answers.{lab}").ANSWERS
        solutions = importlib.import_module(f"course_lib.lab.solutions.{lab}")
        for name in answers:
            right = inspect.getsource(getattr(solutions, f"{name}_solution"))
            wrong = [slip.answer for slip in answers[name].wrong if needs_no_numpy(slip.answer)]
            yield (
                f"{lab}.{name}",
                right.replace(f"{name}_solution", name),
                (typed(name, answer) for answer in wrong),
            )


def needs_no_numpy(answer):
    return isinstance(answer, FunctionType) and "np" not in answer.__code__.co_names


def typed(name, answer):
    """The code of a wrong answer: what it needs of its module, and the name that is asked for."""
    source = inspect.getsource(sys.modules[answer.__module__])
    wanted, kept = {answer.__name__}, []
    for node in reversed(ast.parse(source).body):  # what a function uses stands above it
        if isinstance(node, ast.Import | ast.ImportFrom):
            keep = not ast.unparse(node).startswith(MISSING)
        elif isinstance(node, ast.Assign):
            keep = bool(names_in(*node.targets) & wanted)
        else:
            keep = getattr(node, "name", "") in wanted
        if keep:
            wanted |= names_in(node)
            kept.append(ast.unparse(node))
    return "\n".join([*reversed(kept), f"{name} = {answer.__name__}", ""])


def names_in(*nodes):
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def box_of(page, key):
    return page.locator(f'[data-exercise="{key}"]')


def press(page, key, code=None):
    """Type the code, if any, and press the button."""
    if code is not None:
        box_of(page, key).locator("textarea").fill(code)
    box_of(page, key).locator(".try-check").click()


def verdict(page, key, code=None, seconds=60):
    """What is said in the end."""
    press(page, key, code)
    expect(box_of(page, key).locator(".try-stop")).to_be_hidden(timeout=seconds * SECOND)
    return box_of(page, key).locator(".try-said").text_content()


LOOP = """def merge(ids, pair, new_id):
    while True:
        new_id += 1
"""


@pytest.mark.timeout(300)
def test_a_reader_gets_the_checkers_own_words(page, web_address, book_module, capsys):
    runner = book_module("try_runner")
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"{web_address}/try.html")
    assert not [url for url in fetched if "pyodide" in url], "nothing heavy before it is asked"
    began = time.monotonic()
    assert verdict(page, "bpe.merge").startswith("[ ] merge: not attempted yet.")
    with capsys.disabled():
        print(f"\ntime to the first verdict in the browser: {time.monotonic() - began:.1f} s")
    compared = 0
    for key, right, wrong in exercises():
        setup = page.locator(f'.try-setup[data-lab="{key.split(".")[0]}"] pre').text_content()
        for code, mark in zip(chain([right], wrong), ("[ok]", *["[x]"] * N_WRONG), strict=False):
            said = verdict(page, key, code)
            assert said.startswith(mark) and said == runner.judge(key, setup, code), (key, code)
            compared += 1
    assert compared == (1 + N_WRONG) * 11
    code_that_fails(page)
    said = verdict(page, "bpe.merge", LOOP)
    assert "was still running after 8 seconds, called with the list [1, 2, 3, 1, 2]" in said
    press(page, "bpe.merge")
    box_of(page, "bpe.merge").locator(".try-stop").press("Enter")
    expect(box_of(page, "bpe.merge").locator(".try-said")).to_have_text("Stopped.")
    expect(box_of(page, "bpe.merge").locator(".try-check")).to_be_focused()
    assert verdict(page, "bpe.count_pairs").startswith("[x] count_pairs: "), "it starts anew"


def code_that_fails(page):
    """What can't be judged is told with the reader's own lines."""
    for code, told in (
        ("def merge(ids)\n", "SyntaxError: expected ':'"),
        ("print('hello')\n1 / 0\n", "hello\n[x] Your code stopped before it could be checked:\n"),
        ("def another(): ...\n", "there is no function of this name. Define `merge`."),
    ):
        said = verdict(page, "bpe.merge", code)
        assert told in said and "try_runner" not in said


def test_the_keyboard_indents_and_checks(page, web_address):
    """Also: on a telephone, in both themes, nobody is kept out."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{web_address}/try.html")
    area = box_of(page, "bpe.merge").locator("textarea")
    area.fill("")
    for line in ("def merge(ids):", "for i in ids:", "print(i)"):
        area.press_sequentially(line)
        area.press("Enter")
    assert area.input_value() == "def merge(ids):\n    for i in ids:\n        print(i)\n        "
    area.press("Tab")
    expect(box_of(page, "bpe.merge").locator(".try-check")).to_be_focused()
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        page.wait_for_timeout(500)  # colours fade from one theme into the other
        assert serious_barriers(page, "article") == [], theme
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_was_typed_is_there_again_after_a_reload(page, web_address):
    page.goto(f"{web_address}/try.html")
    box, other = box_of(page, "bpe.merge"), box_of(page, "bpe.count_pairs")
    area, anew = box.locator("textarea"), box.locator(".try-anew")
    skeleton, others = area.input_value(), other.locator("textarea").input_value()
    expect(anew).to_be_hidden()
    area.press_sequentially("# mine\n")
    mine = area.input_value()
    page.reload()
    expect(area).to_have_value(mine)
    expect(other.locator("textarea")).to_have_value(others)
    expect(other.locator(".try-anew")).to_be_hidden()
    anew.press("Enter")
    expect(area).to_have_value(skeleton)
    expect(area).to_be_focused()
    expect(anew).to_be_hidden()
    page.keyboard.press("ControlOrMeta+z")
    expect(area).to_have_value(mine)
    anew.click()
    page.reload()
    expect(area).to_have_value(skeleton)


# A browser that lets this page keep nothing, whatever it lets the book's theme do.
REFUSES = """for (const name of ["getItem", "setItem", "removeItem"]) {
    const done = Storage.prototype[name];
    Storage.prototype[name] = function (key, ...rest) {
        if (key.startsWith("from-bytes")) throw new DOMException("not here", "SecurityError");
        return done.call(this, key, ...rest);
    };
}"""


def test_a_browser_that_keeps_nothing_still_tries(page, book):
    page.add_init_script(REFUSES)
    page.goto((book / "try.html").as_uri())
    box = box_of(page, "bpe.merge")
    area = box.locator("textarea")
    skeleton = area.input_value()
    area.press_sequentially("# mine\n")
    press(page, "bpe.merge")
    expect(box.locator(".try-said")).to_contain_text("opened from a disk")
    box.locator(".try-anew").click()
    expect(area).to_have_value(skeleton)
    page.reload()
    expect(area).to_have_value(skeleton)


def test_from_a_disk_it_says_what_to_do(page, book):
    page.goto((book / "try.html").as_uri())
    press(page, "bpe.merge")
    said = box_of(page, "bpe.merge").locator(".try-said")
    expect(said).to_contain_text("python -m http.server --bind 127.0.0.1 8000")


def test_no_solution_is_packed(book):
    with zipfile.ZipFile(book / "_static" / "try" / "course.zip") as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist()}
    assert "course_lib/lab/checks/core.py" in texts and not any("solutions" in n for n in texts)
    for key, *_ in exercises():
        assert not any(f"{key.split('.')[1]}_solution" in text for text in texts.values()), key


def test_each_box_leads_to_its_exercise_in_the_lesson(book):
    page = (book / "try.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="notebooks/([^"]*)">in the lesson', page)
    assert len(links) == 11
    for link in links:
        file, _, anchor = link.partition("#")
        assert f'id="{anchor}"' in (book / "notebooks" / file).read_text(encoding="utf-8")
