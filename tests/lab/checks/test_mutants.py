"""Checkers refuse every mutant of their solution; here a fixed sample, all of them by
`make mutants`."""

import ast
import inspect

import pytest

from course_lib.lab.checks.core import checker, expect
from tests.lab.checks import mutants
from tests.lab.checks.equivalent import EQUIVALENT
from tests.lab.checks.mutants import Mutant

SIZE = 8  # mutants of each exercise

SOLUTION = """
def middle(values, low):
    total = 0
    for i in range(1, len(values) - 1):
        if values[i] > low and i:
            total += max(values[i], 2)
    return total
"""


def middle(values, low):
    return sum(max(value, 2) for value in values[1:-1] if value > low)


@pytest.mark.parametrize("lab", mutants.all_labs())
def test_a_sample_of_mutants_is_refused(lab):
    left = mutants.survivors(lab, mutants.sample_of(lab, SIZE))
    assert [f"{mutant.exercise}: {mutant.change}" for mutant, _ in left] == []


def test_what_is_equivalent_has_a_reason():
    for lab, exercises in EQUIVALENT.items():
        assert lab in mutants.all_labs()
        assert all(len(why) > 20 for changes in exercises.values() for why in changes.values())


def sources():
    return list(mutants.changes(ast.parse(SOLUTION).body[0]))


def test_mutants_are_of_many_kinds():
    text = "\n".join(sources())
    for wanted in (
        "values[i] >= low",  # a comparison
        "values[i] > low or i",
        "total -= max",  # an operator
        "total = max(values[i], 2)",
        "min(values[i], 2)",  # a counterpart
        "max(values[i], 3)",  # a constant
        "range(0, len(values) - 1)",
        "range(1, len(values) - 1 + 1)",  # one off
        "range(1, len(values))",
        "range(1, len(low) - 1)",  # another argument
        "        break",  # ended too early
        "        return total",
        "        pass",  # a statement left out
    ):
        assert wanted in text, wanted


def test_each_mutant_is_one_change_and_reads_otherwise():
    original = ast.unparse(ast.parse(SOLUTION))
    found = sources()
    assert found[-1] != original and len(set(found)) > 40
    tree = ast.parse(SOLUTION).body[0]
    list(mutants.changes(tree))
    assert ast.unparse(tree) == original  # every change was taken back


def test_survivors_are_what_a_checker_accepts_and_nobody_lists(monkeypatch):
    @checker
    def weak(attempt):
        expect(attempt([1, 5, 1], 0), 5, "the middle")

    @checker
    def never_ends(attempt):
        attempt([1], 0)

    lesson = {"weak": weak, "never_ends": never_ends}
    monkeypatch.setattr(mutants.importlib, "import_module", lambda name: type("M", (), lesson))
    monkeypatch.setattr(mutants, "solutions_of", lambda lab: inspect.getmodule(middle))
    monkeypatch.setattr(mutants, "SECONDS", 0.2)
    tried = [
        Mutant("weak", "a", "def weak(values, low):\n    return 5"),
        Mutant("weak", "b", "def weak(values, low):\n    return 6"),
        Mutant("weak", "c", "def weak(values, low):\n    return values[1]"),
        Mutant("weak", "d", "def weak(values, low):\n    pass"),
        Mutant("weak", "e", "def weak(values, low):\n    _spoil(values)\n    return 5"),
        Mutant("weak", "f", "def weak(values, low):\n    _spoil(low)\n    return 5"),
        Mutant("never_ends", "g", "def never_ends(values, low):\n    while True: low += 1"),
    ]
    known = {"x": {"weak": {"c": "all inputs have three numbers"}}}
    monkeypatch.setattr(mutants, "EQUIVALENT", known)
    # d is the skeleton, f changes nothing
    assert [mutant.change for mutant, _ in mutants.survivors("x", tried)] == ["a"]


def test_the_sample_is_always_the_same():
    first, again = (mutants.sample_of("start", 3) for _ in range(2))
    assert first == again and len(first) >= 9


def test_differences_are_told_in_one_line():
    assert mutants.difference("a\nb\nc", "a\nd\nc") == "b -> d"
    assert mutants.difference("a\nb\nc", "b\na\nc").startswith("moved: ")
