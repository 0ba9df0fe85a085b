"""A slip is named only if it explains every result of a wrong answer."""

import pytest

from course_lib.lab.checks.core import Attempt, Wrong
from course_lib.lab.checks.slips import all_equal, judge_by_slips

CASES = [(2,), (3,), (4,)]
SLIPS = [
    (lambda x: 2 * x, "that is twice the number, not its square."),
    (lambda x: 1 // 0, "never told."),
    (lambda x: x**3 if x < 4 else 1 // 0, "never told either."),
]


def told(answer, cases=CASES):
    """What a learner of squares reads, or None."""
    try:
        judge_by_slips(
            Attempt(answer), cases, lambda x: x * x, SLIPS, lambda x: f"the square of {x}"
        )
    except Wrong as reason:
        return str(reason)
    return None


def test_a_right_answer_passes_though_a_slip_agrees_on_one_input():
    assert told(lambda x: x**2) is None  # 2 * 2 is 2 squared


def test_a_slip_is_named_if_it_gives_all_results():
    assert "twice the number" in told(lambda x: x + x)


def test_what_agrees_with_a_slip_in_part_is_told_where_it_differs():
    assert told(lambda x: 2 * x if x < 4 else 16) == "the square of 3: got 6, expected 9."


def test_a_slip_that_fails_somewhere_explains_nothing():
    assert told(lambda x: x**3) == "the square of 2: got 8, expected 4."


@pytest.mark.parametrize(("early", "piece"), [(1, "ZeroDivisionError"), (2, "twice the number")])
def test_an_error_is_told_if_nothing_is_wrong_before_it(early, piece):
    def answer(x):
        return x * early if x < 4 else 1 // 0

    cases = [(1,), (4,)] if early == 1 else CASES
    assert piece in told(answer, cases)


def test_arguments_that_the_answer_changes_do_not_reach_the_truth():
    def answer(items):
        items.append(3)
        return len(items)

    with pytest.raises(Wrong, match="got 3, expected 2"):
        judge_by_slips(Attempt(answer), [([1, 2],)], len, [], str)


def test_what_cannot_be_compared_is_not_equal():
    assert all_equal([[1.0]], [[1.0]])
    assert not all_equal([object()], [[1.0]]) and not all_equal([None], [0.0])
