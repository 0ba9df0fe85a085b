"""Checkers survive whatever a learner does, and say what went wrong."""

import importlib
import importlib.util
import threading
import time

import numpy as np
import pytest
import torch

from course_lib.lab import course_map
from course_lib.lab.checks import core
from course_lib.lab.checks.core import Wrong, checker, expect
from tests.lab.checks.cases import public_checkers

CHECKS = "course_lib.lab.checks"


@checker
def double(attempt):
    got = attempt([1, 2])
    if got == [1, 2]:
        raise Wrong("nothing was doubled")
    expect(got, [2, 4], "double([1, 2])")
    return "twice as much."


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(core, "SECONDS", 0.3)


def forgot_to_return(x):
    x = [2 * y for y in x]


def never_ends(x):
    while True:
        pass


def never_ends_and_catches_everything(x):
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass


def yields_for_ever(x):
    while True:
        yield 1


def divides_by_zero(x):
    y = len(x)
    return y / 0


def leaves(x):
    raise SystemExit(3)


def recurs(x):
    return recurs(x)


def wants_more(x, y):
    return x


class Strange:
    """An object that can be neither compared nor shown."""

    def __eq__(self, other):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")

    __hash__ = None


ANSWERS = [
    (None, "not attempted", "not attempted yet"),
    (..., "not attempted", "not attempted yet"),
    (lambda x: ..., "not attempted", "not attempted yet"),
    (lambda x: NotImplemented, "not attempted", "not attempted yet"),
    (lambda x: None, "not attempted", "not attempted yet"),
    (forgot_to_return, "wrong", "Is a `return` missing?"),
    ([2, 4], "wrong", "Pass the function itself, without calling it: check.double(double)"),
    (never_ends, "wrong", "loop that never ends"),
    (never_ends_and_catches_everything, "wrong", "loop that never ends"),
    (divides_by_zero, "wrong", "return y / 0"),
    (divides_by_zero, "wrong", "ZeroDivisionError: division by zero"),
    (leaves, "wrong", "SystemExit"),
    (recurs, "wrong", "RecursionError"),
    (wants_more, "wrong", "wants_more(x, y) does not take the 1 argument of this exercise"),
    (lambda x: x, "wrong", "nothing was doubled"),
    (lambda x: torch.tensor([2, 4]), "wrong", ".tolist()"),
    (lambda x: Strange(), "wrong", "cannot work with that (RuntimeError: no)"),
    (lambda x: 3, "wrong", "expected a list"),
    (lambda x: [2, 4], "ok", "twice as much."),
    (lambda x: (2 * y for y in x), "ok", "twice as much."),
    (lambda x: map(lambda y: 2 * y, x), "ok", "twice as much."),
]


@pytest.mark.parametrize(("answer", "status", "fragment"), ANSWERS)
def test_answer(answer, status, fragment, capsys):
    verdict = double(answer)
    assert (verdict.status, fragment in verdict.message) == (status, True), verdict.message
    assert capsys.readouterr().out == f"{core.MARKS[status]} double: {verdict.message}\n"


def test_a_generator_without_end_is_cut_short(monkeypatch):
    monkeypatch.setattr(core, "ITEMS", 50)
    assert double(yields_for_ever).message.startswith("double([1, 2]): 50 items, expected 2")


def test_the_learner_gets_copies():
    given = {"list": [[1]], "tensor": torch.ones(2), "array": np.ones(2)}

    @checker
    def spoils(attempt):
        attempt(given)
        expect(given["list"], [[1]], "the list")
        expect(given["tensor"], torch.ones(2), "the tensor")
        expect(given["array"], np.ones(2), "the array")

    def spoil(x):
        x["list"][0].append(2)
        x["tensor"].zero_()
        x["array"][0] = 7
        return 1

    assert spoils(spoil).status == "ok"


def test_what_tracks_gradients_is_not_copied():
    weight = torch.ones(2, requires_grad=True)

    @checker
    def loss(attempt):
        attempt(weight).backward()
        expect(weight.grad, torch.tensor([2.0, 2.0]), "the gradient")

    assert loss(lambda w: (w * w).sum()).status == "ok"


def test_in_place_hands_over_the_argument_itself():
    @checker
    def clear(attempt):
        given = [1, 2]
        attempt.in_place(given)
        expect(given, [], "the list afterwards")

    assert clear(lambda x: x.clear()).status == "ok"
    assert clear(lambda x: x.copy()).status == "wrong"
    assert clear(lambda x: ...).status == "not attempted"


def test_a_class_can_be_an_answer():
    @checker
    def Doubler(attempt):
        net = attempt()
        expect(attempt.call(net, torch.ones(2)), 2 * torch.ones(2), "Doubler()(ones)")

    class Net(torch.nn.Module):
        def forward(self, x):
            return x + x

    class Failing(torch.nn.Module):
        def forward(self, x):
            return x.nothing

    assert Doubler(Net).status == "ok"
    assert "return x.nothing" in Doubler(Failing).message
    assert Doubler(type("Skeleton", (torch.nn.Module,), {})).status == "not attempted"


def test_a_refused_solution_fails_the_build():
    def double_solution(x):
        return [3, 6]

    with pytest.raises(AssertionError, match="got 3, expected 2"):
        double(double_solution)


def test_an_interrupt_goes_through():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        double(interrupted)


def test_the_time_limit_works_in_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(double(never_ends).status))
    thread.start()
    thread.join(timeout=10)
    assert found == ["wrong"]


def test_nothing_is_raised_after_a_call_that_ended_in_time():
    for i in range(300):
        try:
            core.call_within(0.001, lambda: sum(range(20_000 + i)))  # takes about as long as it may  # noqa: B023
        except core.TookTooLong:
            pass
    time.sleep(0.6)


def test_a_verdict_shows_nothing_in_a_notebook():
    assert double(lambda x: [2, 4])._ipython_display_() is None


def doubled(x):
    return [2 * y for y in x]


def test_what_follows_an_exercise_uses_the_answer_that_passed_or_else_the_solution(
    monkeypatch, capsys
):
    def solution(x):
        return [y + y for y in x]

    monkeypatch.setattr(core, "solution_of", lambda lab, name: solution)
    assert double.passed_or_solution(doubled) is solution  # not checked yet
    double(lambda x: x)
    assert double.passed_or_solution(doubled) is solution
    capsys.readouterr()
    double(doubled)
    assert double.passed_or_solution(doubled) is doubled
    assert "yours" in capsys.readouterr().out
    double(wants_more)
    assert double.passed_or_solution(doubled) is solution
    assert "the solution's" in capsys.readouterr().out


def test_every_checker_has_its_solution():
    labs = [lesson.lab for lesson in course_map.lessons() if lesson.lab]
    for lab in filter(lambda lab: importlib.util.find_spec(f"{CHECKS}.{lab}"), labs):
        for name in public_checkers(importlib.import_module(f"{CHECKS}.{lab}")):
            assert callable(core.solution_of(lab, name)), f"{lab}.{name}"
