"""Handouts run without their solutions and give none away.

All are looked at; one is run, unanswered and answered. `make handout-check` runs them all: it names
them in HANDOUTS.
"""

import copy
import html
import os
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_lib.lab import course_map
from tests.notebooks import handouts
from tools import notebooks as tool

LESSONS = [lesson for lesson in course_map.lessons() if lesson.built and lesson.lab]
QUICKEST = "01"
WANTED = os.environ.get("HANDOUTS", QUICKEST).split()
RUN = [lesson for lesson in LESSONS if WANTED == ["all"] or lesson.number in WANTED]


def handout_of(lesson):
    """The handout of a lesson that was run: every cell of it holds an output."""
    notebook = tool.read_twin(course_map.NOTEBOOKS / "src" / f"{lesson.file[:-6]}.md")
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs, cell.execution_count = [new_output("stream", text="told")], 1
    notebook.metadata["widgets"] = {tool.WIDGETS: {"state": {}}}
    return tool.handout(notebook)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_every_name_is_bound_and_nothing_is_given_away(lesson):
    handout = handout_of(lesson)
    assert handouts.unbound_names(handout) == []
    assert handouts.leaks(handout) == []
    # `not_shifted`, a training loop with the mistake that the exercise is about, stands there as well
    known = ["overfit_batch"] if lesson.lab == "transformer" else []
    assert handouts.given_away(handout, lesson.lab) == known


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_a_lesson_runs_on_where_what_it_needs_is_missing(lesson):
    handout = handout_of(lesson)
    handout.cells = [cell for cell in handout.cells if not cell.source.startswith("# needs ")]
    for cell in handout.cells:
        cell.source = re.sub(r"(?m)^\w+ = needs\.find_or_skip\(.*\)$", "", cell.source)
    assert handouts.unbound_names(handout) == []


@pytest.mark.parametrize("answered", [False, True], ids=["unanswered", "answered"])
@pytest.mark.parametrize("lesson", RUN, ids=lambda lesson: lesson.number)
def test_a_handout_runs(lesson, answered):
    handout = handout_of(lesson)
    if answered:
        handouts.fill_in(handout, lesson.lab)
    tool.execute(handout, course_map.NOTEBOOKS)
    verdicts = [handouts.printed_text(cell)[:4] for cell in handouts.exercises(handout)]
    assert verdicts == ["[ok]" if answered else "[ ] "] * len(verdicts)
    said = "yours, which passed" if answered else "the solution's, until"
    for cell in handout.cells:
        for name in re.findall(r"check\.(\w+)\.passed_or_solution", cell.source):
            assert f"{name}: {said}" in handouts.printed_text(cell)


# The looks themselves
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "unbound"),
    [
        (["print(x)"], ["x"]),
        (["x = x + 1"], ["x"]),
        (["y = 1", "x = [y * z for z in range(3)]"], []),
        (["x = [i for i in xs]"], ["xs"]),
        (["def f(a: Tensor):\n    return a + b"], ["Tensor", "b"]),
        (["def f(a):\n    return g(a)\ndef g(a):\n    return f(a)"], []),
        (["def f(a):\n    return g(a)", "def g(a):\n    return a"], ["g"]),
        (["f = lambda a: a + b"], ["b"]),
        (["class A(B):\n    c = d\n    def e(self):\n        return h"], ["B", "d", "h"]),
        (["import os.path\nfrom math import pi as p\nprint(os, p)"], []),
        (["for i in range(3):\n    j = i\nprint(i, j)"], []),
        (["with open('f') as file:\n    file.read()", "print(file, __name__)"], []),
        (["if (n := 3) > 2:\n    print(n)"], []),
        (["f = check.f.passed_or_solution(f)"], ["check", "f"]),
        (["out = f_solution(3)"], ["f_solution"]),
        (["x += 1"], ["x"]),
        (["from __future__ import annotations", "def f(a: A, *b: B) -> C:\n    d: D = e"], ["e"]),
    ],
)
def test_unbound_names_are_found(cells, unbound):
    notebook = new_notebook(cells=[new_markdown_cell("x"), *map(new_code_cell, cells)])
    assert [fault.split()[0] for fault in handouts.unbound_names(notebook)] == unbound


CLEAN = new_code_cell("f = check.f.passed_or_solution(f)", metadata={"tags": ["slow"]})


@pytest.mark.parametrize(
    "broken",
    [
        {"outputs": [new_output("stream", text="1")]},
        {"execution_count": 3},
        {"source": "print(f_solution(1))"},
        {"source": "from course_lib.lab.solutions import bpe"},
        {"metadata": {"tags": ["solution"]}},
        {"metadata": {"quote": "course_lib.lab.solutions.bpe.f_solution"}},
    ],
)
def test_leaks_are_found(broken):
    cell = copy.deepcopy(CLEAN)
    assert handouts.leaks(new_notebook(cells=[cell])) == []
    cell.update(broken)
    assert handouts.leaks(new_notebook(cells=[cell])) != []
    assert handouts.leaks(new_notebook(metadata={"widgets": {}})) == ["widgets are stored"]


SHOWN = tool.quoted_source("course_lib.lab.solutions.attention.causal_weights_solution")


@pytest.mark.parametrize(
    "told",
    [
        {"source": SHOWN.replace("causal_weights_solution", "masked")},  # quoted from elsewhere
        {"source": SHOWN.replace("    ", "        ")},
        {"outputs": [new_output("stream", text=SHOWN)]},
        {"outputs": [new_output("display_data", {"text/html": f"<pre>{html.escape(SHOWN)}</pre>"})]},
        {"metadata": {"kept": SHOWN}},
    ],
)
def test_a_solution_that_stands_somewhere_is_found(told):
    skeleton = "def causal_weights(q, k):\n    ...\n\ncheck.causal_weights(causal_weights)"
    exercise = new_code_cell(skeleton, metadata={"tags": ["exercise"]})
    cell = new_code_cell("x = 1")
    notebook = new_notebook(cells=[exercise, cell])
    assert handouts.given_away(notebook, "attention") == []
    cell.update(told)
    assert handouts.given_away(notebook, "attention") == ["causal_weights"]
    state = {"w0001": {"state": {"value": f"<code>{html.escape(SHOWN)}</code>"}}}
    in_widget = new_notebook(cells=[exercise], metadata={"widgets": {tool.WIDGETS: state}})
    assert handouts.given_away(in_widget, "attention") == ["causal_weights"]


SOLUTION = "def f(q, k):\n    n = q.shape[-1]\n    return q @ (k.T) / sqrt(n) if n < 3 else ' '"


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ('<code>q @ k.T / sqrt(n) if n &lt; 3 else " "</code>', True),
        ("`return q @ k.T/sqrt( n ) if n < 3 else ' ' …`", True),
        ("<code>q @ k.T / sqrt(…)</code>: of which length?", False),
        ("n = q.shape[-1]", False),
    ],
)
def test_a_hint_that_is_the_whole_answer_is_found(hint, told):
    assert bool(handouts.hints_tell_all(hint, SOLUTION)) is told


def test_a_short_result_gives_nothing_away():
    assert handouts.hints_tell_all("return total / n", "def f(x):\n    return total / n") == []


def test_answers_are_filled_in():
    cell = new_code_cell(
        "def next_character_counts(text, character):\n    ...\n\ncheck.next_character_counts(next_character_counts)",
        metadata={"tags": ["exercise"]},
    )
    notebook = new_notebook(cells=[cell])
    handouts.fill_in(notebook, "start")
    assert "def next_character_counts(" in cell.source and "counts" in cell.source
    assert cell.source.endswith("check.next_character_counts(next_character_counts)") and "_solution" not in cell.source
