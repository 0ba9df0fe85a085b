"""Every notebook of the course keeps every rule; with PENDING=yes those too that are to come."""

import os

import pytest

from course_lib.lab import course_map
from tests.notebooks.rules import PENDING, RULES, Lesson, all_quizzes_are_balanced
from tools.notebooks import NOTEBOOKS, target

TWINS = sorted((NOTEBOOKS / "src").glob("*.md"))
LESSONS = [Lesson(target(twin), twin) for twin in TWINS if target(twin).exists()]
WITH_PENDING = os.environ.get("PENDING") == "yes"


def test_each_notebook_has_a_twin_and_a_place_on_the_map():
    named = {lesson.file for lesson in course_map.lessons()}
    built = {file.name for file in NOTEBOOKS.glob("*.ipynb")}
    assert built == {target(twin).name for twin in TWINS}
    assert built <= named, f"not in course_map.toml: {sorted(built - named)}"


@pytest.mark.parametrize(
    "rule", [*RULES, *PENDING] if WITH_PENDING else RULES, ids=lambda rule: rule.__name__
)
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.twin.stem)
def test_notebook(lesson, rule):
    assert rule(lesson) == []


@pytest.mark.skipif(not WITH_PENDING, reason="pending")
def test_no_habit_of_the_quizzes_gives_the_right_options_away():
    assert all_quizzes_are_balanced(LESSONS) == []
