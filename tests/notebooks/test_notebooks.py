"""Every notebook of the course keeps every rule."""

import pytest

from course_lib.lab import course_map
from tests.notebooks.rules import RULES, Lesson, all_quizzes_are_balanced
from tools.notebooks import NOTEBOOKS, target

TWINS = sorted((NOTEBOOKS / "src").glob("*.md"))
LESSONS = [Lesson(target(twin), twin) for twin in TWINS if target(twin).exists()]


def test_each_notebook_has_a_twin_and_a_place_on_the_map():
    named = {lesson.file for lesson in course_map.lessons()}
    built = {file.name for file in NOTEBOOKS.glob("*.ipynb")}
    assert built == {target(twin).name for twin in TWINS}
    assert built <= named, f"not in course_map.toml: {sorted(built - named)}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.twin.stem)
def test_notebook(lesson, rule):
    assert rule(lesson) == []


def test_no_habit_of_the_quizzes_gives_the_right_options_away():
    assert all_quizzes_are_balanced(LESSONS) == []
