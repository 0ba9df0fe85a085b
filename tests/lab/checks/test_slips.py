"""A slip is named only where it explains every result of a wrong answer."""

import pytest

from course_lib.lab.checks.compare import Wrong
from course_lib.lab.checks.core import Attempt
from course_lib.lab.checks.slips import equals, explains, try_on_inputs

SLIPS = [(lambda n: 2 * n, "you doubled it"), (lambda n: 1 / (n - 2), "you divided by n - 2")]


def judge(answer):
    try_on_inputs(Attempt(answer), [(2,), (3,)], lambda n: n * n, SLIPS, "the square of {}".format)


def test_a_right_answer_passes_though_a_slip_agrees_on_one_input():
    judge(lambda n: n**2)  # 2 * 2 is 2 squared


def test_a_slip_that_explains_all_results_is_named():
    with pytest.raises(Wrong, match="you doubled it"):
        judge(lambda n: n + n)


def test_a_slip_that_explains_one_result_only_is_not_named():
    with pytest.raises(Wrong, match="the square of 3: got 5, expected 9"):
        judge(lambda n: n + 2)


def test_a_slip_that_fails_explains_nothing():
    assert not explains(SLIPS[1][0], [((3,), 1.0), ((2,), 1.0)], 1e-5)
    assert explains(SLIPS[1][0], [((3,), 1.0), ((4,), 0.5)], 1e-5)


def test_what_cannot_be_compared_is_not_equal():
    assert equals([1.0], [1.0]) and not equals(object(), [1.0]) and not equals(None, 0.0)
