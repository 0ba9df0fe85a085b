"""The static book, as a reader sees it: every figure moves and every question answers, without a
kernel."""

import json
import re
from html.parser import HTMLParser

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect

from course_lib.lab import course_map, recall, record
from tests.browser.barriers import serious_barriers
from tests.browser.moving import DRAWN, assert_moves, assert_slider_moves, figure_of

LESSONS = [
    lesson.file.replace(".ipynb", ".html") for lesson in course_map.lessons() if lesson.built
]


PAGES = [f"notebooks/{lesson}" for lesson in LESSONS]
PAGES += ["index.html", "interactive.html", "notation.html", "failures.html"]
PAGES += ["glossary.html", "bibliography.html", "teachers.html", "clusters.html"]
PAGES += [
    "your_model_elsewhere.html",
    "configurations.html",
    "family.html",
    "exam.html",
    "placement.html",
    "try.html",
    "gallery.html",
    "left_out.html",
    "releases.html",
    "teaching/training.html",
    "exam_bank.html",
    "exam_answers.html",
    "cheat_sheets/index.html",
    "cheat_sheets/06.html",
    "search.html",
]


class Images(HTMLParser):
    """Collect the images of a page, and those inside the saved state of its widgets."""

    def __init__(self):
        super().__init__()
        self.alternatives, self.in_state = [], False

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            self.alternatives.append(values.get("alt"))
        self.in_state = (
            tag == "script" and values.get("type") == "application/vnd.jupyter.widget-state+json"
        )

    def handle_data(self, data):
        if self.in_state and data.strip():
            for model in json.loads(data)["state"].values():
                if "<img" in str(model["state"].get("value", "")):
                    self.feed_frame(model["state"]["value"])

    def feed_frame(self, html):
        inner = Images()
        inner.feed(html)
        self.alternatives += inner.alternatives


def test_the_book_builds_without_a_warning(book_run):
    run, _ = book_run
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_image_has_alternative_text(book):
    pages = {path.name: Images() for path in book.rglob("*.html")}
    for path in book.rglob("*.html"):
        pages[path.name].feed(path.read_text(encoding="utf-8"))
    assert {name for name, images in pages.items() if not all(images.alternatives)} == set()
    assert (
        set(LESSONS) <= set(pages)
        and sum(len(images.alternatives) for images in pages.values()) > 0
    )


def test_an_image_without_alternative_text_is_found():
    state = {"state": {"a": {"state": {"value": "<img src='x'>"}}, "b": {"state": {"value": 3}}}}
    images = Images()
    images.feed('<img alt="a curve" src="x"><img src="y"><img alt="" src="z">')
    images.feed(
        f'<script type="application/vnd.jupyter.widget-state+json">{json.dumps(state)}</script>'
    )
    assert images.alternatives == ["a curve", None, "", None]


def open_lesson(page, url):
    """Open a lesson and wait until its widgets are drawn."""
    page.goto(url)
    page.wait_for_function(DRAWN)
    assert page.get_by_text("Click to show javascript error").count() == 0


PLAYER = ("Play", "Back to the start", "Repeat")


def every_slider_changes_its_figure(page):
    for handle in page.locator(".widget-slider .noUi-handle").all():
        name = handle.get_attribute("aria-label")
        assert name and handle.get_attribute("aria-valuetext").startswith(f"{name}: "), (
            "a slider that nobody has touched has no name, or tells an index and not what it shows"
        )
        assert_slider_moves(page, handle)
        slider = handle.locator("xpath=ancestor::*[contains(@class, 'widget-slider')]").first
        shown = slider.locator(".widget-readout").inner_text()
        expect(handle).to_have_attribute("aria-valuetext", f"{name}: {shown}")


# The numbers of the marked lines in a figure's code, beside the sentence that names them.
MARKED = """figure => [[...figure.querySelectorAll('.course-steps pre span')]
    .filter(line => line.checkVisibility() && getComputedStyle(line).fontWeight >= 600)
    .map(line => parseInt(line.textContent)),
    figure.querySelector('.course-steps div > b').textContent]"""


def every_step_marks_the_lines_that_it_names(page):
    for code in page.locator(".course-steps pre").all():
        marked, told = figure_of(code).evaluate(MARKED)
        first, last = re.match(r"Lines? (\d+)(?:-(\d+))?", told).groups()
        assert marked == list(range(int(first), int(last or first) + 1)), told


def every_player_plays(page):
    for player in page.locator(".widget-play").all():
        for button, name in zip(player.locator("button").all(), PLAYER, strict=True):
            expect(button).to_have_accessible_name(re.compile(f"^{name}: ."))
        assert_moves(page, player, player.locator("button").first.click)


def every_option_of_a_question_has_feedback(page):
    assert page.get_by_text("quiz.choice(").count() == 0, (
        "the code of a question gives its answer away"
    )
    for question in page.locator(".widget-radio").all():
        asked = figure_of(question).locator("b").first.inner_text()
        expect(question.get_by_role("radiogroup")).to_have_accessible_name(asked)
        answers = []
        for option in question.locator("input").all():
            option.press("Space")  # no mouse is needed
            status = figure_of(question).locator("[role=status]:visible")
            expect(status).to_have_count(1)
            answers.append(status.inner_text())
        assert (
            len(set(answers)) == len(answers)
            and sum(answer.startswith("Right") for answer in answers) == 1
        )


def earlier_lessons_are_recalled(page, number):
    """The questions of earlier lessons come first; what they answer is tested with all others."""
    empty = {part: {} for part in record.PARTS}
    asked = recall.recall_questions(number, empty) if number > LESSONS[0][:2] else []
    assert page.get_by_text("Do you still know this?").count() == (1 if asked else 0)
    for i, question in enumerate(asked):
        radio = page.locator(".widget-radio").nth(i)
        expect(radio.get_by_role("radiogroup")).to_have_accessible_name(question.text)
        expect(radio.locator("input")).to_have_count(len(question.options))


def solutions_are_folded_and_exercises_are_not(page):
    exercises, solutions = (
        page.locator("div.tag_exercise").all(),
        page.locator("div.tag_solution").all(),
    )
    assert len(exercises) == len(solutions)
    for exercise, solution in zip(exercises, solutions, strict=True):
        assert (
            exercise.locator("pre").first.is_visible()
            and not solution.locator("pre").first.is_visible()
        )
        solution.get_by_text("Show the solution").click()
        assert solution.locator("pre").first.is_visible()


def what_is_predicted_is_folded_until_asked_for(page):
    folds = page.locator("div.cell.tag_hide-output details.hide")
    assert folds.count() > 0 and page.locator("div.tag_exercise > .cell_output").count() == 0
    for fold in folds.all():
        assert not fold.locator(".cell_output").is_visible()
        fold.get_by_text("Made your guess? Show the output").click()
        assert fold.locator(".cell_output").is_visible()


@pytest.mark.parametrize("lesson", LESSONS)
def test_lesson_works_without_a_kernel(page, book, lesson):
    open_lesson(page, (book / "notebooks" / lesson).as_uri())
    what_is_predicted_is_folded_until_asked_for(page)
    every_slider_changes_its_figure(page)
    every_step_marks_the_lines_that_it_names(page)
    every_player_plays(page)
    earlier_lessons_are_recalled(page, lesson[:2])
    every_option_of_a_question_has_feedback(page)
    solutions_are_folded_and_exercises_are_not(page)


def test_lesson_works_on_a_web_server(page, web_address):
    open_lesson(page, f"{web_address}/notebooks/{LESSONS[0]}")
    what_is_predicted_is_folded_until_asked_for(page)
    every_slider_changes_its_figure(page)


def test_the_book_has_moving_figures_and_questions(page, book):
    """The tests above say something: the first lesson has a slider, a player and a question."""
    open_lesson(page, (book / "notebooks" / LESSONS[0]).as_uri())
    for control in (".widget-slider", ".widget-play", ".widget-radio"):
        assert page.locator(control).count() > 0


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_barrier(page, book, name):
    """axe-core finds nothing critical or serious, in the light and in the dark theme."""
    open_lesson(page, (book / name).as_uri())
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        page.wait_for_timeout(500)  # colours fade from one theme into the other
        assert serious_barriers(page) == [], theme


def test_a_barrier_is_found(page, book):
    """The test above says something: a button without a name is a barrier."""
    page.goto((book / "index.html").as_uri())
    page.evaluate("document.querySelector('article').append(document.createElement('button'))")
    assert [fault[0] for fault in serious_barriers(page)] == ["button-name"]


# How wide each figure in view is, beside the width that it was drawn for.
FIGURES = """[...document.querySelectorAll('article .cell_output img[width]')]
    .filter(figure => figure.checkVisibility())
    .map(figure => figure.getBoundingClientRect().width / figure.getAttribute('width'))"""


@pytest.mark.parametrize("lesson", LESSONS)
def test_lesson_can_be_read_on_a_telephone(page, book, lesson):
    """At 390 pixels: the page does not move sideways, what is written in figures is at least four
    fifths of its size, and sliders have room to slide."""
    page.set_viewport_size({"width": 390, "height": 844})
    open_lesson(page, (book / "notebooks" / lesson).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [share for share in page.evaluate(FIGURES) if share < 0.79] == []
    for slider in page.locator(".slider-container").all():
        box = slider.bounding_box()
        assert box["width"] >= 120 and box["x"] + box["width"] <= 390


def test_the_other_pages_can_be_read_on_a_telephone(page, book):
    page.set_viewport_size({"width": 390, "height": 844})
    wide = {}
    for name in [name for name in PAGES if not name.startswith("notebooks/")]:
        page.goto((book / name).as_uri())
        wide[name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 390} == {}


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_cell_of_code_moves_sideways_on_a_desk(page, book, lesson):
    """At 1400 pixels, beside the list of lessons and the contents of the page."""
    page.set_viewport_size({"width": 1400, "height": 900})
    open_lesson(page, (book / "notebooks" / lesson).as_uri())
    wide = """[...document.querySelectorAll('.cell_input pre')]
        .filter(cell => cell.scrollWidth > cell.clientWidth + 1).map(cell => cell.textContent)"""
    assert page.evaluate(wide) == []


def test_folds_are_printed_open_and_a_dark_page_light(page, book):
    page.goto((book / "notebooks" / LESSONS[3]).as_uri())
    closed = "document.querySelectorAll('details:not([open])').length"
    before = page.evaluate(closed)
    assert before > 10
    theme = "document.documentElement.dataset.theme"
    page.evaluate(f"{theme} = 'dark'")
    page.evaluate(f"addEventListener('beforeprint', () => window.onPaper = [{closed}, {theme}])")
    page.pdf()
    assert page.evaluate("window.onPaper") == [0, "light"]
    assert page.evaluate(f"[{closed}, {theme}]") == [before, "dark"]


def test_the_search_does_not_find_the_map(book):
    """The names of all lessons stand on every map; no such word is found in every lesson."""
    text = (book / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    lessons = {i for i, name in enumerate(index["docnames"]) if name.startswith("notebooks/")}

    def found_in(word):  # the index knows words by their stems
        pages = [where for stem, where in index["terms"].items() if stem.startswith(word[:6])]
        return lessons & {i for where in pages for i in ([where] if type(where) is int else where)}

    titles = " ".join(lesson.short or lesson.title for lesson in course_map.lessons())
    words = set(re.findall(r"[a-z]{6,}", titles.lower()))
    assert words and not [word for word in words if len(found_in(word)) == len(lessons)]
    assert found_in("perplexity")


def prose_of(lesson):
    """The words of a lesson's Markdown, without code, headings, links, formulas and raw HTML."""
    cells = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    for hidden in (
        r"(?ms)^```.*?^```",
        r"`[^`]*`",
        r"(?m)^#.*$",
        r"(?m)^<(?:.+(?:\n|\Z))+",  # a block of HTML ends with an empty line
        r"(?s)\$\$.*?\$\$",
        r"\$[^$]*\$",
        r"\[[^\]]*\]\([^)]*\)",
        r"<[^>]*>",
    ):
        text = re.sub(hidden, " | ", text)
    return re.sub(r"[*_]+", " | ", text)


def terms_used(lesson, terms):
    """The terms that stand in a lesson's prose, longer ones before the shorter ones inside them."""
    text, used = " ".join(prose_of(lesson).split()), set()
    for term in sorted(terms, key=len, reverse=True):
        flags = 0 if re.search("[A-Z]", term[1:]) else re.IGNORECASE
        whole = re.compile(rf"(?<![\w-]){re.escape(term)}(s|es)?(?![\w-])", flags)
        if whole.search(text):
            used.add(term)
            text = whole.sub(" | ", text)
    return used


@pytest.mark.parametrize("lesson", [row for row in course_map.lessons() if row.built])
def test_each_term_links_to_the_glossary_where_it_is_first_used(book, lesson):
    glossary = BeautifulSoup((book / "glossary.html").read_text(encoding="utf-8"), "html.parser")
    terms = glossary.select("dt[id^=term-]")
    names = {term["id"]: term.find(string=True).strip() for term in terms}
    file = book / "notebooks" / lesson.file.replace(".ipynb", ".html")
    page = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
    links = page.select('article a[href^="../glossary.html#term-"]')
    linked = [names[link["href"].partition("#")[2]] for link in links]
    assert len(linked) == len(set(linked)), "a term is linked twice"
    assert set(linked) == terms_used(lesson, names.values())
    for link in links:
        assert link.find_parent(["h1", "h2", "h3", "h4", "pre", "code", "a"]) is None
        assert link.find_parent(class_=["cell", "math"]) is None


def test_every_card_of_the_start_page_leads_somewhere_and_papers_are_links(book):
    start = BeautifulSoup((book / "index.html").read_text(encoding="utf-8"), "html.parser")
    cards = start.select(".sd-card")
    assert len(cards) == 3 and all(card.find("a", href=True) for card in cards)
    papers = BeautifulSoup((book / "bibliography.html").read_text(encoding="utf-8"), "html.parser")
    named = re.findall(r"arXiv:\d{4}\.\d{4,5}", papers.get_text())
    assert len(named) > 10 and len(papers.select('a[href^="https://arxiv.org/abs/"]')) == len(named)
