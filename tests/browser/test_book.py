"""The static book, as a reader sees it: every figure moves and every question answers, without a
kernel."""

import functools
import json
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from course_lib.lab import course_map
from tests.browser.moving import assert_moves, assert_slider_moves, figure_of

LESSONS = [
    lesson.file.replace(".ipynb", ".html") for lesson in course_map.lessons() if lesson.built
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


@pytest.fixture
def web_address(book):
    """The book's address on a little web server."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(book))
    handler.log_message = lambda *message: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def open_lesson(page, url):
    """Open a lesson and wait until its widgets are drawn."""
    page.goto(url)
    drawn = (
        "!document.querySelector('.widget-subarea') || document.querySelector('.widget-subarea"
        " .jupyter-widgets')"
    )
    page.wait_for_function(drawn)
    assert page.get_by_text("Click to show javascript error").count() == 0


def every_slider_changes_its_figure(page):
    for handle in page.locator(".widget-slider .noUi-handle").all():
        assert_slider_moves(page, handle)
        assert handle.get_attribute("aria-label")


def every_player_plays(page):
    for player in page.locator(".widget-play").all():
        assert_moves(page, player, player.locator("button").first.click)


def every_option_of_a_question_has_feedback(page):
    assert page.get_by_text("quiz.choice(").count() == 0, (
        "the code of a question gives its answer away"
    )
    for question in page.locator(".widget-radio").all():
        answers = []
        for option in question.locator("input").all():
            option.check()
            status = figure_of(question).locator("[role=status]:visible")
            expect(status).to_have_count(1)
            answers.append(status.inner_text())
        assert (
            len(set(answers)) == len(answers)
            and sum(answer.startswith("Right") for answer in answers) == 1
        )


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
    every_player_plays(page)
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
