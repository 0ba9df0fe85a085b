"""Every lesson's module of checkers has its table of right and wrong answers."""

import importlib
import pkgutil
from types import ModuleType

import pytest

from course_lib.lab import checks
from course_lib.lab.checks.core import Wrong, checker, expect
from tests.lab.checks.cases import Case, complaints, public_checkers

LESSONS = sorted(
    {module.name for module in pkgutil.iter_modules(checks.__path__)} - {"core", "compare", "slips"}
)


@pytest.mark.parametrize("lesson", LESSONS)
def test_lesson_has_a_complete_table(lesson):
    module = importlib.import_module(f"course_lib.lab.checks.{lesson}")
    table = importlib.import_module(f"tests.lab.checks.test_{lesson}")
    assert public_checkers(module), "the module defines no checker"
    assert complaints(module, table.CASES) == []
    assert hasattr(table, "test_checkers"), (
        "the table is not tried: add test_checkers = tests_of(check, CASES)"
    )


def test_an_incomplete_table_is_noticed():
    module = ModuleType("lesson")

    @checker
    def double(attempt):
        expect(attempt(2), 4, "double(2)")

    @checker
    def halve(attempt):
        raise Wrong("always")

    for check in (double, halve):
        check.__module__ = "lesson"
        setattr(module, check.__name__, check)
    poor = Case(solution=lambda x: 2 * x, skeleton=None, also_right=[], wrong=[(lambda x: x, "no")])
    found = "\n".join(complaints(module, {double: poor}))
    assert "halve is in no table" in found and "1 wrong answers" in found
    assert "written differently" in found and "fewer than 8 letters" in found
