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
    assert list(radio.options) == ["the longest", "a < b & c"]
    first, second = (frame.value for frame in stack.children)
    assert "Not quite" in first and "Length plays no part" in first
    assert "Right" in second and "It saves most" in second


def test_an_answer_is_recorded(asked):
    quiz.choice("q", "Which pair?", OPTIONS)
    radio = asked["links"][0][0][0]
    radio.index = 0
    radio.index = 1
    assert asked["answers"] == [("q", "Which pair?", False), ("q", "Which pair?", True)]


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
