"""Every notebook of the course keeps every rule."""

import pytest

from course_lib.lab import course_map
from tests.notebooks.rules import RULES, Lesson
from tools.notebooks import NOTEBOOKS, target

TWINS = sorted((NOTEBOOKS / "src").glob("*.md"))


def test_each_notebook_has_a_twin_and_a_place_on_the_map():
    named = {lesson.file for lesson in course_map.lessons()}
    built = {file.name for file in NOTEBOOKS.glob("*.ipynb")}
    assert built == {target(twin).name for twin in TWINS}
    assert built <= named, f"not in course_map.toml: {sorted(built - named)}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize(
    "twin", [twin for twin in TWINS if target(twin).exists()], ids=lambda twin: twin.stem
)
def test_notebook(twin, rule):
    assert rule(Lesson(target(twin), twin)) == []
