"""Assignments: a lesson's exercises for nbgrader, which hands them out, marks them and answers.

Four students hand in lesson 01; the points and the words that each gets are looked at.
"""

import csv
import re
import sys

import nbformat
import pytest
from nbgrader.api import Gradebook

from course_lib.lab import course_map
from course_lib.lab.checks import core
from tests.notebooks import handouts
from tools import assignment as tool

LESSONS = [lesson for lesson in course_map.lessons() if lesson.built and lesson.lab]
LESSON = course_map.lesson("01")
NAME = "01_pytorch"
POINTS = {  # the difficulties in the lesson's headings
    "normalize_rows": 1,
    "weighted_sum": 2,
    "neuron_gradient": 3,
    "gradient_descent": 3,
    "next_char_loss": 3,
}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_every_lesson_makes_an_assignment(lesson):
    made = tool.assignment(lesson)
    marking = [cell for cell in made.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    twin = (course_map.NOTEBOOKS / "src" / f"{lesson.file[:-6]}.md").read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^### Exercise \d+: .*\(difficulty (\d) of 5", twin)
    assert [cell.metadata.nbgrader.points for cell in marking] == list(map(int, headings))
    assert len(handouts.exercises(made)) == len(headings) > 2
    assert f"{sum(map(int, headings))} points in all" in made.cells[0].source
    assert handouts.leaks(made) == handouts.unbound_names(made) == []
    handouts.fill_in(made, lesson.lab)
    assert handouts.unbound_names(made) == []  # the answers need nothing else of the lesson


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_an_answer_that_is_not_there_is_not_the_library_s(lesson):
    """Where a cell crashes, its function's name must mean nothing."""
    made = tool.assignment(lesson)
    names = [handouts.CHECK.search(cell.source)[1] for cell in handouts.exercises(made)]
    made.cells = [cell for cell in made.cells if "exercise" not in cell.metadata.get("tags", [])]
    missing = {fault.split()[0] for fault in handouts.unbound_names(made)}
    assert missing == set(names)


# From the release to the feedback
# --------------------------------------------------------------------------------------------------


def cell_of(notebook, name):
    """The cell that nbgrader knows under this name."""
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def right(notebook):
    """All right; one answer warns, which is no fault."""
    handouts.fill_in(notebook, LESSON.lab)
    cell = cell_of(notebook, "normalize_rows")
    cell.source = cell.source.replace(":\n", ":\n    warnings.warn('small')\n", 1)
    cell.source = "import warnings\n\n" + cell.source


def wrong(notebook):
    """One answer is wrong, two cells crash, two answers are right."""
    handouts.fill_in(notebook, LESSON.lab)
    answer = "def normalize_rows(counts):\n    return counts / counts.sum(0)"
    cell_of(notebook, "normalize_rows").source = answer
    cell_of(notebook, "weighted_sum").source = "def weighted_sum(weights, values)\n    return values"
    cell_of(notebook, "gradient_descent").source = "learned = 1 / 0"


def ended(notebook):
    """The first answer ends the kernel."""
    cell_of(notebook, "normalize_rows").source = "import os\n\nos._exit(1)"


def faked(notebook):
    """Two exercises are faked: checks overwritten, success printed, a locked cell rewritten. A
    locked cell is taken out. The rest is untouched."""
    fake = "class check:\n    normalize_rows = print\n"
    cell_of(notebook, "set_up").source += f"\n{fake}"
    said = "print('[ok] normalize_rows: right.')\n\ndef normalize_rows(counts):\n    return counts"
    cell_of(notebook, "normalize_rows").source = fake + said
    cell_of(notebook, "weighted_sum_marking").source = "2.0"
    notebook.cells.remove(cell_of(notebook, "neuron_gradient_marking"))


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A class's folder in which all were marked whose notebooks run to their end."""
    folder = tmp_path_factory.mktemp("class")
    release = tool.release(LESSON, folder)
    for student in (right, wrong, ended, faked):
        notebook = nbformat.read(release, as_version=4)
        student(notebook)
        file = folder / "submitted" / student.__name__ / NAME / release.name
        file.parent.mkdir(parents=True)
        nbformat.write(notebook, file)
    with pytest.raises(ValueError, match=f"^nbgrader autograde {NAME} .* for ended; the others"):
        tool.mark(LESSON, folder)
    return folder


def test_what_students_get_gives_nothing_away(marked):
    release = nbformat.read(marked / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    assert handouts.leaks(release) == handouts.given_away(release, LESSON.lab) == []
    assert len(handouts.exercises(release)) == len(POINTS)


@pytest.mark.parametrize(
    ("student", "solved"),
    [
        ("right", set(POINTS)),
        ("wrong", {"neuron_gradient", "next_char_loss"}),
        ("faked", set()),
    ],
)
def test_points_are_as_the_answers_are(marked, student, solved):
    with Gradebook(f"sqlite:///{marked / 'gradebook.db'}") as book:
        grades = book.find_submission(NAME, student).notebooks[0].grades
        points = {grade.name.removesuffix("_marking"): grade.auto_score for grade in grades}
        open_to_the_teacher = {grade.name for grade in grades if grade.needs_manual_grade}
    assert {name: given or 0 for name, given in points.items()} == {
        name: worth * (name in solved) for name, worth in POINTS.items()
    }
    # a locked cell that was taken out is left to the teacher
    assert open_to_the_teacher == ({"neuron_gradient_marking"} if student == "faked" else set())
    table = list(csv.DictReader((marked / "grades.csv").open()))
    (line,) = [line for line in table if line["student_id"] == student]
    assert float(line["score"]) == sum(POINTS[name] for name in solved)


@pytest.mark.parametrize(
    ("student", "told"),
    [
        ("right", []),
        ("wrong", ["column", "is not defined", "is not defined"]),
        ("faked", ["right shape"] + ["not attempted yet"] * 3),
    ],
)
def test_feedback_says_what_the_check_says(marked, student, told):
    page = (marked / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    errors = re.findall(r"(?:Assertion|Name)Error</span>: ?(.*)", page)
    assert len(errors) == len(told) and all(map(str.__contains__, errors, told)), errors
    assert not re.search(r"""(?:src|href)=["']?https?:|url\(["']?https?:|@import""", page)


def test_a_source_that_was_changed_is_kept(marked):
    source = marked / "source" / NAME / f"{NAME}.ipynb"
    source.write_text(before := source.read_text().replace("Exercise 1", "Exercise one"))
    with pytest.raises(ValueError, match="move it away"):
        tool.release(LESSON, marked)
    assert source.read_text() == before


def test_marking_needs_no_solutions(monkeypatch):
    """A teacher may take them away."""
    answer = core.solution_of("pytorch", "normalize_rows")
    monkeypatch.setitem(sys.modules, "course_lib.lab.solutions", None)
    monkeypatch.setitem(sys.modules, "course_lib.lab.solutions.pytorch", None)
    assert core.verdict_on("pytorch.normalize_rows", answer).status == "ok"
