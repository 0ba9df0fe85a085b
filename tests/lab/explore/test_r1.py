"""The figures of lesson 26 show the verdicts and numbers that they claim to show."""

import re
from itertools import product

import ipywidgets as widgets
import pytest

from course_lib.lab.explore import r1 as explore

RULES = ["right", "form"]
ANSWERS = [
    explore.SiftedAnswer("1+1=?", "so 3", frozenset({"right", "form"})),
    explore.SiftedAnswer("1+1=?", "so 2", frozenset({"form"})),
    explore.SiftedAnswer("1+1=?", "<think>1+1=2</think>", frozenset()),
    explore.SiftedAnswer("2+2=?", "<think>2+2=4</think>", frozenset()),
    explore.SiftedAnswer("2+2=?", "<b>4</b>", frozenset({"form"})),
]


def leaves(widget, setting=()):
    """Every frame with the indices of the stacks that lead to it."""
    if isinstance(widget, widgets.HTML):
        yield setting, widget.value
    else:
        for i, child in enumerate(widget.children):
            yield from leaves(child, (*setting, i))


def expected(on):
    """How many are kept, counted anew for each setting."""
    kept, done = 0, set()
    for answer in ANSWERS:
        passes = not any(
            rule in answer.faults for rule, is_on in zip(RULES, on, strict=False) if is_on
        )
        if passes and not (on[2] and answer.question in done):
            kept += 1
            done.add(answer.question)
    return kept, len(done)


def test_each_setting_shows_its_own_frame():
    figure = explore.filter_rules(ANSWERS, RULES, shown=[0, 1, 2])
    found = dict(leaves(figure.children[-1]))
    assert set(found) == set(product((0, 1), repeat=3))
    for on, frame in found.items():
        kept, questions = expected(on)
        told = f"Kept: {kept} of 5 answers, to {questions} questions."
        assert told in frame, (on, re.search("Kept:.*?<", frame)[0])
    assert "dropped: right" in found[1, 1, 1] and "dropped: right" not in found[0, 1, 1]
    assert "right: 1; form: 3" in found[0, 0, 0], "and what breaks a rule among the kept"
    assert "&lt;think&gt;" in found[1, 1, 1] and found[1, 1, 1] == figure.still


def test_a_fault_without_its_rule_is_refused():
    with pytest.raises(ValueError, match="no rule form; there are right"):
        explore.filter_rules(ANSWERS, ["right"], shown=[0])


def test_a_stage_shows_its_measures_and_answers():
    views = {
        "one": explore.StageView("the web", {"right": 0.25}, [("1+1=?", "<think>2")]),
        "two": explore.StageView("rewards", {"right": 0.5}, [("1+1=?", "2")]),
    }
    first, second = (frame.value for frame in explore.stages(views).children[-1].children)
    assert 'aria-label="right 25%"' in first and "&lt;think&gt;2" in first
    assert "rewards" in second and 'width="120.0"' in second
