"""The book in Firefox: no script fails, sliders move their figures, questions answer, R1 thinks."""

import base64
import os
from itertools import chain, islice

import numpy as np
import pytest
from marionette_driver.keys import Keys

from tests.browser import firefox as ff
from tests.browser.moving import DRAWN, SHOWN
from tests.browser.test_alive import LOGITS, WAKE, WRITE, questions, torchs  # noqa: F401
from tests.browser.test_book import PAGES
from tests.browser.test_try import book_module, exercises  # noqa: F401

FIGURE = "element => element.closest('.widget-subarea')"
SHOWS = f"element => ({SHOWN})(({FIGURE})(element))"
SHOWS_ELSE = f"(element, before) => ({SHOWS})(element) != before"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    if ff.find_firefox() is None:
        answer = pytest.fail if os.environ.get("CI") else pytest.skip
        answer("no Firefox on this machine (Debian: apt-get install firefox-esr)")
    with ff.running_firefox(tmp_path_factory.mktemp("profile")) as running:
        yield running


def assert_moves(firefox, control, act) -> None:
    """`act(firefox, control)`, then wait until the control's figure shows something else."""
    before = firefox.call(SHOWS, control)
    act(firefox, control)
    firefox.wait_for(SHOWS_ELSE, control, before)


def press_towards_the_middle(firefox, handle) -> None:
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.send_keys(Keys.ARROW_LEFT if at_end else Keys.ARROW_RIGHT)


def click_at_an_end(firefox, handle) -> None:
    """Click on a slider's track, at the end at which its handle is not."""
    share = "h => +h.getAttribute('aria-valuenow') / +h.getAttribute('aria-valuemax')"
    side = -1 if firefox.call(share, handle) > 0.5 else 1
    track = firefox.call("h => h.closest('.noUi-target')", handle)
    width = firefox.call("track => track.getBoundingClientRect().width", track)
    firefox.call("track => track.scrollIntoView({block: 'center'})", track)
    mouse = firefox.driver.actions.sequence("pointer", "mouse", {"pointerType": "mouse"})
    mouse.pointer_move(int(side * (width / 2 - 2)), 0, origin=track)
    mouse.pointer_down().pointer_up().perform()


@pytest.mark.parametrize("name", PAGES)
def test_no_script_of_a_page_fails_and_its_controls_work(firefox, book, name):
    firefox.faults()
    firefox.open((book / name).as_uri())
    firefox.wait_for(DRAWN)
    asked, folds = firefox.all(".widget-radio"), firefox.all("details.hide > summary")
    assert (asked and folds) or not name.startswith("notebooks/")
    for summary in folds:
        firefox.call("summary => summary.scrollIntoView({block: 'center'})", summary)
        summary.click()
        assert firefox.call("summary => summary.parentElement.open", summary)
    for act in (press_towards_the_middle, click_at_an_end):
        for handle in firefox.all(".widget-slider .noUi-handle"):
            assert_moves(firefox, handle, act)
    for question in asked:
        for option in firefox.all("input", question):
            assert_moves(firefox, option, lambda _, option: option.send_keys(Keys.SPACE))
    assert firefox.faults() == []


def test_a_script_that_fails_is_found(firefox, tmp_path):
    (tmp_path / "page.html").write_text("<script>missing()</script>")
    firefox.open((tmp_path / "page.html").as_uri())
    assert ["missing is not defined" in fault for fault in firefox.faults()] == [True]


@pytest.mark.timeout(300)
def test_r1_says_what_torch_says(firefox, book, questions, torchs):  # noqa: F811
    """Some of the hundred that Chromium is asked, the longest with them: Firefox is slower."""
    questions, torchs = questions[-20:], [part[-20:] for part in torchs]
    texts, all_ids, logits = torchs
    firefox.open((book / "index.html").as_uri())
    firefox.call(WAKE, f"{book.as_uri()}/_static/alive/")
    for ids, theirs in zip(all_ids, logits, strict=True):
        ours = np.frombuffer(base64.b64decode(firefox.call(LOGITS, ids)), dtype="<f4")
        assert np.abs(ours.reshape(theirs.shape) - theirs).max() < 1e-4
    written = [firefox.call(WRITE, [question.text, 120]) for question in questions]
    assert [row["text"] for row in written] == texts


# The page on which exercises are tried
# --------------------------------------------------------------------------------------------------

BOX = "const box = document.querySelector(`[data-exercise='${key}']`)"
SETUP = "lab => document.querySelector(`.try-setup[data-lab='${lab}'] pre`).textContent"
CHECK = f"""(key, code) => {{
    {BOX};
    box.querySelector("textarea").value = code;
    box.querySelector(".try-check").click();
}}"""
SAID = f"""key => {{
    {BOX};
    return box.querySelector(".try-stop").hidden && box.querySelector(".try-said").textContent;
}}"""


@pytest.mark.timeout(300)
def test_its_python_says_what_this_python_says(firefox, web_address, book_module):  # noqa: F811
    """A right and a wrong answer to some exercises; Chromium is asked about all of them."""
    runner = book_module("try_runner")
    firefox.faults()
    firefox.open(f"{web_address}/try.html")
    marks = []
    for key, right, wrong in islice(exercises(), 0, None, 3):
        setup = firefox.call(SETUP, key.split(".")[0])
        for code in chain([right], islice(wrong, 1)):
            firefox.call(CHECK, key, code)
            said = firefox.wait_for(SAID, key, patience_s=120)
            assert said == runner.judge(key, setup, code), (key, code)
            marks.append(said.partition(" ")[0])
    assert marks == ["[ok]", "[x]"] * 4
    assert firefox.faults() == []


def test_it_keeps_what_was_typed(firefox, web_address):
    firefox.open(f"{web_address}/try.html")
    (area,) = firefox.all("[data-exercise='bpe.merge'] textarea")
    skeleton = firefox.call("area => area.value", area)
    area.send_keys("# mine")
    mine = firefox.call("area => area.value", area)
    assert len(mine) == len(skeleton) + len("# mine")
    firefox.open(f"{web_address}/try.html")
    (area,) = firefox.all("[data-exercise='bpe.merge'] textarea")
    assert firefox.call("area => area.value", area) == mine
    (anew,) = firefox.all("[data-exercise='bpe.merge'] .try-anew")
    anew.click()
    assert firefox.call("area => area.value", area) == skeleton
