"""The pages of the book around the lessons: where the start page leads, what its figures show, and
what is listed."""

import doctest
import importlib
import json
import re
import sys

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect

from course_lib.lab import course_map

LESSONS = [lesson for lesson in course_map.lessons() if lesson.built]
MODULES = ("glossary_links", "interactive_figures", "start_page", "teaching_plans")


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
    assert failed == 0 and (tried or name == "start_page")


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
