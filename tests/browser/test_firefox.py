"""The book in Firefox: no script fails, sliders move their figures, questions answer, R1 thinks."""

import base64
import os

import numpy as np
import pytest
from marionette_driver.keys import Keys

from tests.browser import firefox as ff
from tests.browser.moving import DRAWN, SHOWN
from tests.browser.test_alive import LOGITS, WAKE, WRITE, questions, torchs  # noqa: F401
from tests.browser.test_book import PAGES

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
