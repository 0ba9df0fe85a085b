"""Interactive figures are wired in the browser alone, and refuse frames that would leave somebody
out."""

import base64
import io
import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest
from PIL import Image

from course_lib.lab.explore import frames

ALT = "A line that rises from left to right"


def figure():
    fig, ax = plt.subplots(figsize=(4, 2))
    ax.plot([0, 1], [0, 1])
    return fig


@pytest.fixture
def links(monkeypatch):
    """The links made in the browser: (source's kind, its trait, target's kind, its trait)."""
    made, jslink = [], widgets.jslink

    def noted(source, target):
        made.append((type(source[0]).__name__, source[1], type(target[0]).__name__, target[1]))
        return jslink(source, target)

    monkeypatch.setattr(widgets, "jslink", noted)
    return made


def everything(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def test_image_is_a_small_picture_with_alternative_text():
    html = frames.image(figure(), ALT + ' <"&')
    assert 'alt="A line that rises from left to right &lt;&quot;&amp;"' in html
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])))
    assert picture.mode == "P" and len(picture.getcolors(256)) <= 64
    assert picture.getpixel((0, 0)) == max(picture.getcolors(256))[1], (
        "the card is not opaque and light"
    )
    assert int(re.search(r'width="(\d+)"', html)[1]) == 4 * 96
    # on a narrow screen: no smaller than four fifths of 4 inches
    assert "max-width: max(100%, 307px)" in html
    assert plt.get_fignums() == []


@pytest.mark.parametrize("alt", ["", "a plot", None, 3, "   short text     "])
def test_alternative_text_is_asked_for(alt):
    with pytest.raises(ValueError, match="alternative text of at least 20 characters"):
        frames.image(figure(), alt)
    plt.close("all")


def test_slideshow_is_wired_in_the_browser(links):
    show = frames.slideshow([frames.card(x) for x in "abc"], [1, 2, 3], "step", start=1)
    assert sorted(links) == [
        ("Play", "value", "SelectionSlider", "index"),
        ("SelectionSlider", "index", "Stack", "selected_index"),
    ]
    stack = next(w for w in everything(show) if isinstance(w, widgets.Stack))
    assert stack.selected_index == 1 and "b" in show._repr_mimebundle_()["text/html"]
    assert next(w for w in everything(show) if isinstance(w, widgets.Play)).max == 2
    assert show.children[0].layout.flex_flow == "row wrap"


def test_a_slideshow_in_two_halves_stores_equal_ones_once(links):
    show = frames.slideshow(["a", "b", "a"], [1, 2, 3], "step", start=2, below=["x", "y", "z"])
    assert links.count(("SelectionSlider", "index", "Stack", "selected_index")) == 2
    upper, lower = show.children[1:]
    assert [frame.value for frame in upper.children] == ["a", "b", "a"]
    assert upper.children[0] is upper.children[2] and len(set(lower.children)) == 3
    assert show.still == "az"
    with pytest.raises(ValueError, match="3 frames need as many below them, got 1"):
        frames.slideshow(["a", "b", "c"], [1, 2, 3], "step", below=["x"])


def test_grid_links_both_sliders(links):
    table = [[frames.card(f"{row}{column}") for column in "xyz"] for row in "ab"]
    show = frames.grid(table, {"row": "ab", "column": "xyz"}, start=(1, 2))
    assert links.count(("SelectionSlider", "index", "Stack", "selected_index")) == 3
    outer = show.children[-1]
    assert outer.selected_index == 1 and [inner.selected_index for inner in outer.children] == [
        2,
        2,
    ]
    assert "b" in outer.children[1].children[2].value and show.still == table[1][2]


def test_choose_is_wired_in_the_browser(links):
    frames.choose([frames.card(x) for x in "ab"], ["first", "second"], "word")
    assert links == [("ToggleButtons", "index", "Stack", "selected_index")]


def test_three_rows_of_buttons_reach_every_frame(links):
    cube = [[[frames.card(x + y + z) for z in "pq"] for y in "mno"] for x in "ab"]
    show = frames.choose_three(cube, {"one": "ab", "two": "mno", "three": "pq"}, (1, 2, 0))
    # the outer stack, two in the middle, six inside
    assert links == [("ToggleButtons", "index", "Stack", "selected_index")] * (1 + 2 + 6)
    outer = show.children[-1]
    for i, x in enumerate("ab"):
        for j, y in enumerate("mno"):
            for k, z in enumerate("pq"):
                assert x + y + z in outer.children[i].children[j].children[k].value
    assert outer.selected_index == 1 and outer.children[0].selected_index == 2
    assert show.still == cube[1][2][0]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: frames.slideshow(["a", "b"], [1], "step"),
            ValueError,
            "2 frames need as many labels, got 1",
        ),
        (lambda: frames.slideshow([], [], "step"), ValueError, "0 frames"),
        (
            lambda: frames.slideshow(["a", "b"], [1, 1], "step"),
            ValueError,
            "differ from each other",
        ),
        (lambda: frames.slideshow(["a"], [1], "step", start=1), ValueError, "start 1"),
        (lambda: frames.slideshow([plt.Figure()], [1], "step"), TypeError, "frame 0 is a Figure"),
        (
            lambda: frames.slideshow(['<img src="x">'], [1], "step"),
            ValueError,
            "without alternative text",
        ),
        (
            lambda: frames.slideshow(['<img alt="" src="x">'], [1], "step"),
            ValueError,
            "without alternative text",
        ),
        (lambda: frames.grid([["a"]], {"row": [1]}), ValueError, "two axes, got 1"),
        (
            lambda: frames.grid([["a"], ["b"]], {"row": [1], "column": [1]}),
            ValueError,
            "2 frames need",
        ),
        (
            lambda: frames.grid([["a", "b"], ["c"]], {"row": [1, 2], "column": [1, 2]}),
            ValueError,
            "1 frames need",
        ),
        (lambda: frames.choose_three([[["a"]]], {"row": [1]}), ValueError, "three axes, got 1"),
        (
            lambda: frames.choose_three([[["a"]]], {"x": [1], "y": [1], "z": [1, 2]}),
            ValueError,
            "1 frames need",
        ),
        (
            lambda: frames.choose(["a"], [1, 2], "word"),
            ValueError,
            "1 frames need as many labels, got 2",
        ),
    ],
)
def test_bad_frames_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_switches_show_the_frame_of_their_setting():
    figure = frames.switches(lambda on: frames.card(str(on)), ["a", "b"], start=(True, False))
    outer = figure.children[-1]
    for a in (0, 1):
        for b in (0, 1):
            assert str((bool(a), bool(b))) in outer.children[a].children[b].value
    assert "(True, False)" in figure.still
    assert (outer.selected_index, outer.children[1].selected_index) == (1, 0)
    with pytest.raises(ValueError, match="2 switches, of 1 to 5, need as many starts, got 1"):
        frames.switches(lambda on: "", ["a", "b"], start=(True,))


def test_every_stack_of_switches_has_its_link(links):
    frames.switches(lambda on: "", ["a", "b", "c"], start=(True, True, True))
    assert links == 7 * [("ToggleButtons", "index", "Stack", "selected_index")]
