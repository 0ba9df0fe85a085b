"""Checkers survive whatever a learner does, and say what went wrong."""

import copy
import importlib
import importlib.util
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import lru_cache, partial

import numpy as np
import pytest
import torch

from course_lib.lab import course_map
from course_lib.lab.checks import core, running
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
    monkeypatch.setattr(running, "patience", lambda: 1.0)


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


class Doubling:
    """An object that can be called."""

    def __init__(self, twice):
        self.twice = twice

    def __call__(self, x):
        return [self.twice(y) for y in x]

    def double(self, x):
        return self(x)


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
    (lambda x: {2, 4}, "wrong", "got the set {2, 4}, expected a list"),
    (lambda x: Strange(), "wrong", "cannot work with that (RuntimeError: no)"),
    (lambda x: 3, "wrong", "expected a list"),
    (partial(wants_more, 1), "wrong", "expected a list"),
    (partial(lambda y, x: ..., 1), "not attempted", "not attempted yet"),
    (Doubling(lambda y: 1 / 0), "wrong", "return [self.twice(y) for y in x]"),
    (lambda x: [2, 4], "ok", "twice as much."),
    (lambda x: (2, 4), "ok", "twice as much."),
    (lambda x: torch.tensor([2.0, 4.0]), "ok", "twice as much."),
    (lambda x: [np.int64(2), np.float32(4)], "ok", "twice as much."),
    (partial(map, lambda y: 2 * y), "ok", "twice as much."),
    (Doubling(lambda y: 2 * y), "ok", "twice as much."),
    (Doubling(lambda y: 2 * y).double, "ok", "twice as much."),
    (torch.no_grad()(lambda x: [2, 4]), "ok", "twice as much."),
    (lru_cache(lambda x: [2, 4]), "wrong", "unhashable"),
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


CHANGES = [
    ([1, 2], lambda x: x.append(3), "the list [1, 2] became the list [1, 2, 3]"),
    ([[1], [2]], lambda x: x[1].pop(), "at [1], the list [2] became the list []"),
    ({"a": 1}, lambda x: x.update(a=[2]), "at ['a'], 1 became"),
    ({"a": 1}, lambda x: x.clear(), "the dict {'a': 1} became the dict {}"),
    ({1, 2}, lambda x: x.discard(1), "the set {1, 2} became the set {2}"),
    (Counter("ab"), lambda x: x.update("a"), "at ['a'], 1 became 2"),
    (torch.ones(2, 2), lambda x: x[1].zero_(), "at [1, 0], 1 became 0"),
    (torch.ones(2, dtype=torch.bool), lambda x: x.logical_not_(), "True became False"),
    (torch.tensor([torch.nan, 1]), lambda x: x.mul_(2), "at [1], 1 became 2"),
    (np.ones(2), lambda x: x.sort() or x.fill(7), "at [0], 1 became 7"),
    (torch.ones(2).requires_grad_(), lambda x: x.detach().zero_(), "at [0], 1 became 0"),
    (torch.ones(1, 2), lambda x: x.t_(), "shape (1, 2) [1, 1] became a tensor of shape (2, 1)"),
]


@pytest.mark.parametrize(("given", "change", "words"), CHANGES)
def test_a_changed_argument_is_named_and_the_judges_own_stays(given, change, words):
    @checker
    def judged(attempt):
        held = copy.deepcopy(given)
        expect(attempt(held, scale=3), 1, "the result")
        if not getattr(given, "requires_grad", False):
            expect(held, given, "what the judge holds")

    def right(values, scale):
        change(values)
        return 1

    verdict = judged(right)
    assert verdict.status == "wrong", verdict.message
    assert "the result is right, but your function changed its argument `values`" in verdict.message
    assert words in verdict.message
    wrong = judged(lambda values, scale: (change(values), 2)[1])
    assert wrong.message.startswith("the result: got 2, expected 1.\n    Besides, your function")
    assert judged(lambda values, scale: 1).status == "ok"
    assert judged(lambda values, scale: (change(copy.deepcopy(values)), 1)[1]).status == "ok"


def test_a_few_printed_lines_are_shown_and_the_others_counted(capsys):
    @checker
    def often(attempt):
        for i in range(300):
            expect(attempt(i), 2 * i, "the double")

    def talks(x):
        print("debug", x)
        return 2 * x

    assert often(talks).status == "ok"
    out = capsys.readouterr().out.splitlines()
    assert out[:5] == [f"debug {i}" for i in range(5)]
    assert out[5:] == [
        "... (your function printed 295 more lines, held back here)",
        "[ok] often: right.",
    ]
    often(lambda x: print("x" * 9999, end="") or 2 * x)
    assert 1900 < len(capsys.readouterr().out) < 2200
    often(lambda x: print(end="") or 2 * x)
    assert capsys.readouterr().out == "[ok] often: right.\n"


def test_the_calls_of_torch_are_known():
    with core.torch_calls() as used:
        torch.nn.LayerNorm(2)(torch.ones(1, 2)).mean(-1)
    assert {"layer_norm", "mean"} <= used and "softmax" not in used


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


def test_transformed_functions_can_be_answers(monkeypatch):
    monkeypatch.setattr(core, "SECONDS", 8.0)  # torch.func is slow when first used
    monkeypatch.setattr(running, "patience", lambda: 100.0)

    @checker
    def gradient(attempt):
        expect(attempt(torch.tensor([1.0, 2.0])), torch.tensor([2.0, 4.0]), "the gradient")

    class Net(torch.nn.Module):
        def forward(self, x):
            return x + x

    slopes = torch.func.grad(lambda x: (x * x).sum())
    each = torch.func.vmap(torch.func.grad(lambda x: x * x))
    for right in (slopes, each, torch.func.jacrev(lambda x: (x * x).sum()), Net(), Net().forward):
        assert gradient(right).status == "ok", right
    assert "return y / 0" in gradient(torch.func.vmap(divides_by_zero_inside)).message


def divides_by_zero_inside(x):
    y = 1
    return y / 0


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


def test_a_crowded_machine_takes_no_time_away(monkeypatch):
    """Half a second in which others compute is not the learner's."""
    monkeypatch.setattr(running, "patience", lambda: 100.0)
    assert double(lambda x: time.sleep(0.5) or [2, 4]).status == "ok"


def test_many_short_calls_are_cheap():
    """One exercise calls the learner's function thousands of times."""

    @checker
    def often(attempt):
        for i in range(2000):
            attempt(i)

    before = threading.active_count()
    began = time.thread_time()
    assert often(lambda x: x).status == "ok"
    assert time.thread_time() - began < 2 and threading.active_count() <= before + 1


def test_what_all_calls_compute_together_is_limited(monkeypatch):
    monkeypatch.setattr(running, "patience", lambda: 1000.0)

    @checker
    def often(attempt):
        for i in range(1000):
            attempt(i)

    def slow(x):
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        return x

    message = often(slow).message
    assert "still running after 0.3 seconds (all " in message and "of this check" in message


def test_nothing_is_raised_after_a_call_that_ended_in_time(monkeypatch):
    monkeypatch.setattr(running, "PAUSE", 0.0005)
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


def test_a_solution_that_is_run_afterwards_does_not_take_the_place_of_an_answer_that_passed():
    double(doubled)

    def double_solution(x):
        return [2 * y for y in x]

    double(double_solution)
    assert double.passed_or_solution(doubled) is doubled


def by_torch_func(x):
    return torch.func.grad(torch.square)(x)


vmap = torch.vmap


def by_name(x):
    return vmap(torch.square)(x)


@pytest.mark.parametrize(
    ("answer", "uses"), [(by_torch_func, True), (by_name, True), (doubled, False), (len, False)]
)
def test_what_torch_func_imports_is_not_the_learners_time(answer, uses):
    assert running.uses_torch_func(answer) is uses


FOLLOWED = """
import sys
from course_lib.lab.checks.running import TookTooLong, call_within

def endless():
    while True:
        pass

def turns():
    for turn in range(3):
        lines.append(turn)

call_within(5, int)
try:
    call_within(0.05, endless)
except TookTooLong:
    print("stopped")
lines = []
sys.settrace(lambda *_: lambda *_: None)
turns()
sys.settrace(None)
print(lines)
"""


def test_after_a_check_a_function_can_be_traced():
    """In a process of its own: where it can't be, it would go on for ever."""
    run = subprocess.run(
        [sys.executable, "-c", FOLLOWED], capture_output=True, text=True, timeout=120
    )
    assert run.stdout == "stopped\n[0, 1, 2]\n", run.stderr
