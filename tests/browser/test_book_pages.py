"""The pages of the book around the lessons: where the start page leads, what its figures show, and
what is listed."""

import doctest
import html
import importlib
import itertools
import json
import posixpath
import re
import sys
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect
from sphinx.errors import ConfigError

from course_lib.lab import course_map

LESSONS = [lesson for lesson in course_map.lessons() if lesson.built]
MODULES = (
    "failures",
    "glossary_links",
    "interactive_figures",
    "papers",
    "teaching_plans",
    "try_page",
)


@pytest.fixture
def module(monkeypatch):
    """Import a module of the book's folder by name."""
    monkeypatch.setattr(sys, "path", [str(course_map.ROOT / "book"), *sys.path])
    return importlib.import_module


@pytest.fixture(scope="module")
def soup(book):
    """Read a page of the book by name."""
    return lambda name: BeautifulSoup((book / name).read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_code_of_the_book_hold(module, name):
    """The book's folder is none of those whose examples are run by themselves."""
    failed, tried = doctest.testmod(module(name))
    assert failed == 0 and tried


def test_the_start_page_leads_to_each_lesson_and_says_what_it_promises(soup):
    article = soup("index.html").find("article")
    for lesson in LESSONS:
        page = f"notebooks/{lesson.file.replace('.ipynb', '.html')}"
        line = next(a for a in article.find_all("a", href=page) if a.get_text() == lesson.title)
        assert lesson.promise in " ".join(line.find_parent("li").get_text().split())


def test_each_part_of_the_course_has_a_figure_on_the_start_page(soup):
    article = soup("index.html").find("article")
    parts = {lesson.part_title for lesson in LESSONS}
    shown = {
        figure.find_previous("h3").find(string=True).strip() for figure in article.select(".moving")
    }
    assert shown == parts


@pytest.mark.parametrize("width", [1024, 1280])
def test_no_picture_on_the_start_page_is_cut(page, book, width):
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto((book / "index.html").as_uri())
    cut = """[...document.querySelectorAll(".moving-frames > .shown:has(img)")]
        .map(frame => frame.scrollWidth - frame.clientWidth)"""
    found = page.evaluate(cut)
    assert found and max(found) <= 0


def test_a_figure_of_the_start_page_follows_each_of_its_controls(page, book):
    page.goto((book / "index.html").as_uri())
    seen = """figure => [...figure.querySelectorAll('[data-frame]')]
        .filter(frame => frame.checkVisibility({checkVisibilityCSS: true}))
        .map(frame => frame.innerHTML)"""
    for figure in page.locator(".moving").all():
        for control in figure.locator("input, select").all():
            before = figure.evaluate(seen)
            if control.evaluate("control => control.type") == "range":
                last = control.input_value() == control.get_attribute("max")
                control.press("ArrowLeft" if last else "ArrowRight")
                told = control.get_attribute("aria-valuetext")
                expect(figure.locator("output")).to_have_text(told)
            else:
                first = control.evaluate("control => control.selectedIndex == 0")
                control.select_option(index=1 if first else 0)
            after = figure.evaluate(seen)
            assert len(before) == len(after) == 1 and before != after


def test_a_figure_of_the_start_page_plays_and_stops(page, book):
    page.goto((book / "index.html").as_uri())
    figure = page.locator(".moving").first
    slider, button = figure.locator("input"), figure.locator("button")
    assert slider.input_value() == slider.get_attribute("max")
    button.click()  # from the end it begins anew
    expect(figure.locator("[data-frame='1'].shown")).to_be_visible()
    button.click()
    expect(button).to_have_text("Play")


def figures_with_controls(page):
    """The views of a lesson's page whose saved widgets have a slider or buttons, in order."""
    views = page.find_all("script", type="application/vnd.jupyter.widget-view+json")
    if not views:
        return []
    state = json.loads(page.find("script", type=re.compile("widget-state")).string)["state"]

    def kinds(name):
        widget = state[name]
        children = [child.split("_")[-1] for child in widget["state"].get("children", [])]
        return {widget["model_name"]}.union(*map(kinds, children))

    controls = {"SelectionSliderModel", "ToggleButtonsModel"}
    return [view for view in views if kinds(json.loads(view.string)["model_id"]) & controls]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_the_index_lists_every_figure_that_moves_and_leads_to_it(soup, lesson):
    name = f"notebooks/{lesson.file.replace('.ipynb', '.html')}"
    page, links = soup(name), soup("interactive.html").find("article").find_all("a", href=True)
    listed = [a["href"].partition("#")[2] for a in links if a["href"].startswith(f"{name}#")]
    shown = [
        view.find_parent("div", id=re.compile("^figure-")) for view in figures_with_controls(page)
    ]
    assert listed and listed == [cell["id"] for cell in shown]


def rows_of(page):
    """The rows of the tables of the notation: heading, symbols, numbers of the linked lessons."""
    for table in page.find("article").find_all("table"):
        heading = table.find_previous("h2").find(string=True).strip()
        for row in table.select("tbody tr"):
            linked = [a["href"][10:12] for a in row.find_all("a", href=re.compile("^notebooks/"))]
            first = row.find("td")
            symbols = [code.get_text() for code in first.find_all("code")]
            symbols += [math.get_text().strip("\\()") for math in first.select(".math")]
            yield heading, symbols, linked


IN_SHAPE = r'["(`](?:[A-Za-z*.0-9]+,? )*{}(?:,? [A-Za-z*.0-9]+)*,?["`)]'
AS_WORD = "(?<![A-Za-z_]){}(?![A-Za-z_])"


def test_each_symbol_of_the_notation_stands_in_the_lessons_that_its_row_names(soup):
    twins = (course_map.NOTEBOOKS / "src").glob("*.md")
    texts = {twin.name[:2]: twin.read_text(encoding="utf-8") for twin in twins}
    rows = list(rows_of(soup("notation.html")))
    missing = [
        (symbol, number)
        for heading, symbols, linked in rows
        for symbol, number in itertools.product(symbols, linked)
        for form in [IN_SHAPE if heading == "Axes" else AS_WORD]
        if not re.search(form.format(re.escape(symbol)), texts[number])
    ]
    assert len(rows) > 60 and all(linked for _, _, linked in rows) and missing == []


def test_each_paper_of_a_lesson_is_in_the_bibliography_and_the_other_way_round(soup):
    """What a lesson links on arXiv or elsewhere, or `left_out` does, and nothing more."""
    bibliography = soup("bibliography.html").find("article")
    entries = {
        entry["id"]: {
            re.sub(r"v\d+$", "", a["href"]) for a in entry.find_all("a", class_="external")
        }
        for entry in bibliography.select(".citation")
    }
    of_lessons = {}
    for lesson in LESSONS:
        page = soup(f"notebooks/{lesson.file.replace('.ipynb', '.html')}").find("article")
        named = [a["href"] for a in page.select('a[href*="bibliography.html#"]')]
        cited = {address.partition("#")[2] for address in named}
        papers = {
            a["href"] for a in page.find_all("a", href=re.compile(r"arxiv\.org/abs/|//doi\.org/"))
        }
        assert cited and papers <= set().union(*(entries[key] for key in cited)), lesson.number
        of_lessons |= {key: of_lessons.get(key, []) + [lesson.number] for key in cited}
    left_out = {a["href"] for a in soup("left_out.html").find("article").find_all("a", href=True)}
    idle = [key for key in entries if key not in of_lessons and not entries[key] & left_out]
    assert idle == []
    for entry in bibliography.select(".citation"):  # and back: each names its lessons
        back = [a["href"][10:12] for a in entry.find_all("a", href=re.compile("^notebooks/"))]
        assert back == of_lessons.get(entry["id"], [])


def test_the_numbers_of_the_failures_are_those_that_were_measured():
    """What is not read from stored runs when the book is built stands in the log."""
    text = (course_map.ROOT / "book" / "failures.md").read_text(encoding="utf-8")
    told = [
        (course_map.ROOT / name).read_text(encoding="utf-8") for name in ("LOG.md", "MEASURED.md")
    ]
    numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)*", re.sub(r"%[A-Z0-9_]+%|\w+-\d", "", text))
    form = r"(?<![\d.,-]){}(?!\d|[.,]\d)"
    absent = [
        n for n in numbers if not re.search(form.format(re.escape(n.rstrip(","))), "".join(told))
    ]
    assert len(numbers) > 40 and absent == []


def test_each_failure_leads_to_its_lesson_and_says_what_to_look_for(soup):
    failures = soup("failures.html").find("article").select("section > section")
    assert 8 <= len(failures) <= 12
    for failure in failures:
        text = failure.get_text()
        assert failure.find("a", href=re.compile("^notebooks/")) and "Look for" in text
        assert 80 <= len(text.split()) <= 150, failure.h2.get_text()


def test_a_lesson_opens_in_jupyter_where_the_book_was_told_an_address(module):
    links, context = module("glossary_links"), {"header_buttons": []}
    app = SimpleNamespace(config=SimpleNamespace(launch_url=""))
    links.add_launch_button(app, "notebooks/06_mlp", "", context, None)
    app.config.launch_url = "https://hub.example/lab/tree/my_course/{file}"
    links.add_launch_button(app, "glossary", "", context, None)
    assert context["header_buttons"] == []
    links.add_launch_button(app, "notebooks/06_mlp", "", context, None)
    urls = [button["url"] for button in context["header_buttons"]]
    assert urls == ["https://hub.example/lab/tree/my_course/06_mlp.ipynb"]
    for wrong in ("hub.example/{file}", "https://hub.example/lab"):
        with pytest.raises(ConfigError, match=re.escape(repr(wrong))):
            links.launch_address(wrong, "notebooks/06_mlp")


def test_no_lesson_has_a_button_that_leads_nowhere(soup):
    assert not soup("notebooks/00_start_here.html").select(".btn-launch-button")


def test_every_link_inside_the_book_leads_somewhere(book):
    """On every page, the anchors too."""
    pages = {
        page.relative_to(book).as_posix(): page.read_text(encoding="utf-8")
        for page in book.rglob("*.html")
    }
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in pages.items()}
    broken, followed = [], 0
    for name, text in pages.items():
        for address in set(re.findall(r'<a\b[^>]*?\shref="([^"]+)"', text)):
            path, _, anchor = urldefrag_of(address)
            if path is None:
                continue
            goal = (
                posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            )
            followed += 1
            if goal in pages and anchor and anchor not in anchors[goal]:
                broken.append((name, address))
            elif not (book / goal).exists():
                broken.append((name, address))
    assert followed > 1000 and broken == []


def urldefrag_of(address):
    parts = urlsplit(html.unescape(address))
    return (
        (None if parts.scheme or parts.netloc else unquote(parts.path)),
        parts.query,
        parts.fragment,
    )


def test_a_lesson_is_light(book):
    """Each page with its own pictures, beside the scripts that all share, has less than 1.5 MB."""
    for lesson in LESSONS:
        page = book / "notebooks" / lesson.file.replace(".ipynb", ".html")
        pictures = re.findall(r'src="\.\./_images/([^"]+)"', page.read_text(encoding="utf-8"))
        files = [page, *(book / "_images" / name for name in set(pictures))]
        assert sum(file.stat().st_size for file in files) < 1_500_000, lesson.number
