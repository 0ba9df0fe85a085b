"""A quiz question has exactly one right option, feedback for each, and can be read where nothing
can be clicked."""

import ipywidgets as widgets
import pytest

from course_lib.lab import quiz

OPTIONS = [("the longest", False, "Length plays no part."), ("a < b & c", True, "It saves most.")]


@pytest.fixture
def asked(monkeypatch):
    """What is displayed, what is linked in the browser, and what is recorded."""
    found = {"shown": [], "links": [], "answers": []}
    jslink = widgets.jslink
    monkeypatch.setattr(quiz, "display", lambda bundle, raw: found["shown"].append(bundle))
    monkeypatch.setattr(
        widgets, "jslink", lambda a, b: found["links"].append((a, b)) or jslink(a, b)
    )
    monkeypatch.setattr(quiz.progress, "answered", lambda *answer: found["answers"].append(answer))
    return found


def test_a_question_can_be_read_without_widgets(asked):
    quiz.choice("q", "Which pair?", OPTIONS)
    (bundle,) = asked["shown"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    for text in ("Which pair?", "the longest", "a < b & c"):
        assert text in bundle["text/plain"]
    assert "<li>a &lt; b &amp; c</li>" in bundle["text/html"]
    assert "It saves most" not in bundle["text/html"] + bundle["text/plain"], (
        "the still gives the answer away"
    )


def test_each_option_shows_its_feedback_in_the_browser(asked):
    quiz.choice("q", "Which pair?", OPTIONS)
    (((radio, source), (stack, target)),) = asked["links"]
    assert (source, target) == ("index", "selected_index")
    assert radio.index is None and stack.selected_index is None
    said = dict(zip(radio.options, (frame.value for frame in stack.children), strict=True))
    assert set(said) == {"the longest", "a < b & c"}
    assert "Not quite" in said["the longest"] and "Length plays no part" in said["the longest"]
    assert "Right" in said["a < b & c"] and "It saves most" in said["a < b & c"]


@pytest.mark.parametrize("key", ["q", "q-merge", "q-7"])
def test_an_answer_is_recorded_whatever_its_place(asked, key):
    quiz.choice(key, "Which pair?", OPTIONS)
    radio = asked["links"][0][0][0]
    radio.index = radio.options.index("the longest")
    radio.index = radio.options.index("a < b & c")
    assert asked["answers"] == [(key, "Which pair?", False), (key, "Which pair?", True)]


def test_the_right_option_stands_anywhere_but_always_at_the_same_place(asked):
    options = [("one", False, "no"), ("two", True, "yes"), ("three", False, "no")]
    places = []
    for key in [f"q-{i}" for i in range(300)] * 2:
        quiz.choice(key, "Which?", options)
        places.append(asked["links"][-1][0][0].options.index("two"))
    assert places[:300] == places[300:]
    # 100 each are expected, with a standard deviation of 8
    assert all(67 < places[:300].count(place) < 133 for place in range(3))
    texts = asked["shown"][-1]["text/plain"].splitlines()[1:]
    assert [text.split()[-1] for text in texts] == list(asked["links"][-1][0][0].options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([("a", False, "no"), ("b", False, "no")], "2 options, 0 of them right"),
        ([("a", True, "yes"), ("b", True, "yes")], "2 options, 2 of them right"),
        ([("a", True, "yes")], "1 options"),
        ([("a", True, "yes"), ("a", False, "no")], "the same option twice"),
        ([("a", True, "yes"), ("b", False, " ")], "'b' has no feedback"),
    ],
)
def test_an_unfair_question_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        quiz.choice("q", "Which?", options)
