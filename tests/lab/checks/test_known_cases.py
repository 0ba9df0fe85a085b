"""Answers that were once judged wrongly get the right verdict, and no wrong reason."""

import importlib

import pytest

from tests.lab.checks.answers.table import Outcome, Slip, verdict_of
from tests.lab.checks.known_cases import CASES

# Cases that checkers still miss, each to be mended in its lesson.
OPEN: dict[str, str] = {}


def case(known):
    marks = [pytest.mark.xfail(reason=OPEN[known.key])] if known.key in OPEN else []
    return pytest.param(known, id=f"{known.key} {known.answer.__name__}", marks=marks)


@pytest.mark.parametrize("known", [case(known) for known in CASES])
def test_known_case(known):
    module = importlib.import_module(f"course_lib.lab.checks.{known.lab}")
    name = next((name for name in known.names if hasattr(module, name)), None)
    if name is None:
        pytest.skip(f"{known.lab} has no exercise {' or '.join(known.names)} any more")
    slip = known.named and Slip(known.answer, "", known.named, known.never)
    outcome = Outcome(known.key, slip, *verdict_of(known.lab, name, known.answer))
    assert outcome.as_meant, f"{outcome.status}: {outcome.message}"
    assert not slip or outcome.is_named, f"its reason is not told: {outcome.message}"
    assert not outcome.is_misled, f"a wrong reason is told: {outcome.message}"


def test_cases_still_open_are_cases():
    assert OPEN.keys() <= {known.key for known in CASES}
