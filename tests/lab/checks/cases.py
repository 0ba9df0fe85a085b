"""How checkers are tested: each lesson has a table `CASES = {check.name: Case(...)}` and
`tests_of(check, CASES)`.

Every checker accepts its solution and at least one right answer written differently, calls the
skeleton "not attempted yet", and refuses at least four typical wrong answers, each with the
sentence meant for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from course_lib.lab.checks import core

LEAST_WRONG, LEAST_RIGHT = 4, 1  # beside the solution


@dataclass(frozen=True)
class Case:
    """The answers that one checker is tried on; `wrong` pairs an answer with a piece of the
    sentence it must get."""

    solution: Any
    skeleton: Any
    also_right: Sequence[Any]
    wrong: Sequence[tuple[Any, str]]


def accepts(check: Callable, answer: Any) -> None:
    """Assert that a checker accepts an answer."""
    verdict = check(answer)
    assert verdict.status == "ok", f"a right answer was refused: {verdict.message}"


def not_attempted(check: Callable, skeleton: Any) -> None:
    """Assert that a checker knows the skeleton as untouched."""
    verdict = check(skeleton)
    assert verdict.status == "not attempted", f"the skeleton was judged: {verdict.message}"


def refuses(check: Callable, answer: Any, fragment: str) -> None:
    """Assert that a checker refuses an answer with the sentence that holds `fragment`."""
    verdict = check(answer)
    assert verdict.status == "wrong", (
        f"a wrong answer got the verdict {verdict.status!r}: {verdict.message}"
    )
    assert fragment.lower() in verdict.message.lower(), (
        f"the message lacks {fragment!r}: {verdict.message}"
    )


def public_checkers(module: ModuleType) -> dict[str, Callable]:
    """The checkers that a lesson's module defines."""
    own = {
        name: thing for name, thing in vars(module).items() if getattr(thing, "is_checker", False)
    }
    return {
        name: thing
        for name, thing in own.items()
        if not name.startswith("_") and thing.__module__ == module.__name__
    }


def complaints(module: ModuleType, cases: Mapping[Callable, Case]) -> list[str]:
    """What a lesson's table lacks."""
    found = [
        f"{name} is in no table"
        for name, check in public_checkers(module).items()
        if check not in cases
    ]
    for check, case in cases.items():
        name, fragments = check.__name__, [fragment for _, fragment in case.wrong]
        if len(case.wrong) < LEAST_WRONG:
            found.append(
                f"{name}: {len(case.wrong)} wrong answers, at least {LEAST_WRONG} are needed"
            )
        if len(case.also_right) < LEAST_RIGHT:
            found.append(f"{name}: no right answer written differently from the solution")
        if any(len(fragment.strip()) < 8 for fragment in fragments):
            found.append(
                f"{name}: a fragment of fewer than 8 letters proves nothing about the message"
            )
    return found


def tests_of(module: ModuleType, cases: Mapping[Callable, Case]) -> Callable:
    """Make one test per answer in a lesson's table, and one that the table is complete."""
    trials = [pytest.param(None, None, id="table is complete")]
    for check, case in cases.items():
        name = check.__name__
        trials.append(pytest.param(accepts, (check, case.solution), id=f"{name}-solution"))
        trials.append(pytest.param(not_attempted, (check, case.skeleton), id=f"{name}-skeleton"))
        trials += [
            pytest.param(accepts, (check, right), id=f"{name}-also_right{i}")
            for i, right in enumerate(case.also_right)
        ]
        trials += [
            pytest.param(refuses, (check, *wrong), id=f"{name}-wrong{i}")
            for i, wrong in enumerate(case.wrong)
        ]

    @pytest.mark.parametrize(("trial", "arguments"), trials)
    def test_checkers(
        trial: Callable | None, arguments: tuple, request: pytest.FixtureRequest, monkeypatch
    ) -> None:
        if trial is None:
            assert complaints(module, cases) == []
            return
        if trial is refuses and "still running" in arguments[-1]:
            # what never ends has not ended by then either
            monkeypatch.setattr(core, "SECONDS", 0.5)
        trial(*arguments)
        if trial is refuses:
            # for the closing count
            request.node.user_properties.append(("refused_for", module.__name__))

    return test_checkers


tests_of.__test__ = False  # it makes tests, it is none
