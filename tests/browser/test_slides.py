"""The slides, as a teacher uses them: figures move, notes are there, everything fits, no solution
is told."""

import html
import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from course_lib.lab import course_map
from slides.rules import lesson_slides
from tests.browser.barriers import serious_barriers
from tests.browser.conftest import ROOT
from tests.browser.moving import assert_slider_moves
from tests.notebooks import handouts

LESSONS = [lesson for lesson in course_map.lessons() if lesson.built]
DECK = "06_self_attention.html"
WIDGETS = '<script type="application/vnd.jupyter.widget-state+json">'


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """A folder with all decks."""
    output = tmp_path_factory.mktemp("slides")
    subprocess.run([sys.executable, "-m", "slides", "--output", output], cwd=ROOT, check=True)
    return output


def open_deck(page, url):
    """Open a deck and wait until its formulas and widgets are drawn."""
    page.goto(url)
    page.wait_for_function("Reveal.isReady() && document.querySelector('.jupyter-widgets')")
    page.evaluate("MathJax.startup.promise.then(() => true)")


def go_to(page, selector):
    """Show the first slide that holds what the selector names, with all that comes late."""
    page.evaluate(
        """selector => {
            const found = document.querySelector(selector).closest('section');
            const at = Reveal.getIndices(found);
            Reveal.slide(at.h, at.v, 99);
        }""",
        selector,
    )
    return page.locator("section.present section.present")


# A solution
# --------------------------------------------------------------------------------------------------


def bare_source(cell):
    """The source of a cell as `handouts.bare` gives it when it stands on a page."""
    source = "".join(cell["source"])
    return handouts.bare(
        html.escape(source, quote=False) if cell["cell_type"] == "code" else source
    )


def own_lines(notebook):
    """The lines of a lesson's solutions that stand nowhere else in it, its hints included."""
    solved = [c for c in notebook["cells"] if "solution" in c["metadata"].get("tags", [])]
    others = "".join(bare_source(cell) for cell in notebook["cells"] if cell not in solved)
    lines = [
        bare_source(cell | {"source": line})
        for cell in solved
        for line in "".join(cell["source"]).split("\n")
    ]
    return [line for line in lines if len(line) >= handouts.SHORT and line not in others]


def told_solutions(page, notebook):
    """The lines of solutions, and their names, that stand on a deck's page. What the lesson's own
    figures say, from the widgets' state, is no slide's doing."""
    page = page.partition(WIDGETS)[0]
    text = handouts.bare(page)
    names = ["_solution("] if "_solution(" in page else []
    return names + [line for line in own_lines(notebook) if line in text]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_no_deck_tells_a_solution(decks, lesson):
    notebook = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))
    page = (decks / lesson.file.replace(".ipynb", ".html")).read_text(encoding="utf-8")
    assert own_lines(notebook) and told_solutions(page, notebook) == []


def test_a_told_solution_is_found():
    cell = {
        "cell_type": "code",
        "metadata": {"tags": ["solution"]},
        "source": ["return a * b + 12"],
    }
    page = '<pre><span class="k">return</span> a <span>*</span> b + 12</pre>'
    assert told_solutions(page, {"cells": [cell]}) == ["returna*b+12"]
    assert told_solutions(page, {"cells": [cell, cell | {"metadata": {}}]}) == []


# A colon
# --------------------------------------------------------------------------------------------------


def words_of(part):
    """The text of a part of a slide."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part.html)).split())


def colons(columns):
    """The last words of slides that end with a colon, so that what they lead to is elsewhere."""
    ends = [words_of(slide.parts[-1]) for column in columns for slide in column if slide.parts]
    return [end[-60:] for end in ends if end.endswith(":")]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_a_colon_stands_on_the_slide_of_what_it_leads_to(lesson):
    notebook = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))
    assert colons(lesson_slides(notebook)) == []


def a_cell(kind, source):
    """A cell of a notebook."""
    return {"cell_type": kind, "metadata": {}, "outputs": [], "source": source}


def a_lesson(*below):
    """A notebook: a title, a map, a set-up, and below a question texts and numbers of lines."""
    return {
        "cells": [
            a_cell("markdown", "# A\n\nB."),
            a_cell("code", "course_map.show()"),
            a_cell("code", "import x"),
            a_cell("markdown", "## Why?"),
            *(
                a_cell("markdown", one) if isinstance(one, str) else a_cell("code", "a = 1\n" * one)
                for one in below
            ),
        ]
    }


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (("One. Two:", 3), [["One. Two:", "code"]]),
        (("One. Two:", 17), [["One. Two:", "code"]]),  # a little too high
        (("One. Two:", 22), [["One."], ["Two:", "code"]]),
        (("One:", 22), [["One:", "code"]]),  # nothing would stay behind
        ((5, "One. Two:\n\n- a\n- b"), [["code", "One. Two:", "list"]]),
        ((5, "One. Two:\n\n- a\n- b", 3), [["code", "One."], ["Two:", "list", "code"]]),
        ((5, "One. Two:", 3), [["code", "One."], ["Two:", "code"]]),
    ],
)
def test_where_a_sentence_that_leads_on_stands(cells, want):
    ((_,), column) = lesson_slides(a_lesson(*cells))
    kinds = {"<pre": "code", "<ul>": "list"}
    got = [[kinds.get(part.html[:4], words_of(part)) for part in slide.parts] for slide in column]
    assert [parts for parts in got if parts] == want


# A deck
# --------------------------------------------------------------------------------------------------

HERE = "JSON.stringify(Reveal.getIndices())"
# Each place of a slide that holds more than it has room for, with all fragments shown. The deck
# itself chose each slide's size the moment it came.
TOO_LARGE = """() => Reveal.getSlides().flatMap(slide => {
    const {h, v} = Reveal.getIndices(slide);
    Reveal.slide(h, v, 99);
    return [slide, ...slide.querySelectorAll('.body, .body pre')].filter(box =>
        box.scrollHeight > box.clientHeight + 4 || box.scrollWidth > box.clientWidth + 1
    ).map(box => [h, v, box.scrollHeight - box.clientHeight, box.scrollWidth - box.clientWidth]);
})"""


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_every_slide_fits(page, decks, lesson):
    page.set_viewport_size({"width": 1280, "height": 720})
    open_deck(page, (decks / lesson.file.replace(".ipynb", ".html")).as_uri())
    assert page.evaluate(TOO_LARGE) == [], "column, slide, pixels too high, pixels too wide"


@pytest.mark.parametrize("too_much", ["<p style='height: 900px'>", "<pre>" + 300 * "x"])
def test_a_slide_that_is_too_large_is_found(page, decks, too_much):
    open_deck(page, (decks / DECK).as_uri())
    page.evaluate(
        f"""document.querySelectorAll('.body')[5].innerHTML += "<div class='part'>{too_much}" """
    )
    assert page.evaluate(TOO_LARGE) != []


def test_a_figure_that_becomes_higher_still_fits(page, decks):
    page.set_viewport_size({"width": 1280, "height": 720})
    (deck,) = decks.glob("20_*.html")
    open_deck(page, deck.as_uri())
    handle = go_to(page, ".course-steps").locator(".noUi-handle")
    body = "document.querySelector('section.present section.present .body')"
    for step in range(1, 28):
        handle.press("ArrowRight")
        assert float(handle.get_attribute("aria-valuenow")) == step
        page.wait_for_function(f"{body}.scrollHeight <= {body}.clientHeight + 4", timeout=5000)


def test_a_deck_works_from_a_disk(page, decks):
    page.set_viewport_size({"width": 1280, "height": 720})
    open_deck(page, (decks / DECK).as_uri())
    expect(page.locator("section.present h2").first).to_have_text("06 · Self-attention")
    assert page.locator("aside.notes").count() > 40
    assert page.locator("mjx-container svg").count() > 20

    slide = go_to(page, ".widget-slider")
    here = page.evaluate(HERE)
    assert_slider_moves(page, slide.locator(".noUi-handle").first)
    assert page.evaluate(HERE) == here, "the arrow keys belong to the figure"
    page.keyboard.press("PageDown")
    assert page.evaluate(HERE) != here, "a remote control's keys belong to the slides"

    slide = go_to(page, ".widget-radio")
    slide.locator("input").first.press("Space")
    expect(slide.locator("[role=status]:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    here = page.evaluate(HERE)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(HERE) != here, "the keys are the slides' again"

    slide = go_to(page, ".predict")
    assert page.evaluate("Reveal.getSlideNotes()").startswith("<b>Predict first, then open</b>")


def test_the_speakers_view_follows(page, decks, web_address_of):
    open_deck(page, f"{web_address_of(decks)}/{DECK}")
    assert_slider_moves(page, go_to(page, ".widget-slider").locator(".noUi-handle").first)
    page.keyboard.press("Escape")
    page.evaluate("Reveal.slide(0)")
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    notes = opened.value.locator(".speaker-controls-notes")
    expect(notes).to_contain_text("You need")
    page.keyboard.press("ArrowRight")
    expect(notes).to_contain_text("Nobody could have guessed it.")
    opened.value.close()


def test_all_slides_are_on_paper(page, decks):
    open_deck(page, f"{(decks / DECK).as_uri()}?print-pdf")
    slides = page.locator(".slides section:not(.stack)").count()
    expect(page.locator(".pdf-page")).to_have_count(slides)


def test_nobody_is_kept_out(page, decks):
    """In both themes: of the list, of code and its output, of a figure, of a prediction."""
    for name, shown in (("index.html", ["main"]), (DECK, [".code", ".widget-slider", ".predict"])):
        page.goto((decks / name).as_uri())
        for selector in shown:
            if name == DECK:
                page.wait_for_selector(selector, state="attached")
                go_to(page, selector)
            for dark in (False, True):
                page.evaluate(
                    "dark => document.documentElement.classList.toggle('dark', dark)", dark
                )
                where = "section.present section.present" if name == DECK else "main"
                assert serious_barriers(page, where) == [], (selector, dark)


def test_the_list_leads_to_every_deck(page, decks):
    page.goto((decks / "index.html").as_uri())
    links = page.locator("main li a:not(.paper)")
    names = [lesson.file.replace(".ipynb", ".html") for lesson in LESSONS]
    assert [link.get_attribute("href") for link in links.all()] == names
    links.nth(6).click()
    expect(page.locator("section.present h2").first).to_have_text("06 · Self-attention")
