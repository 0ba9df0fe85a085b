"""A slip is named only if it explains every result of a wrong answer."""

import pytest

from course_lib.lab.checks.core import Attempt, Wrong
from course_lib.lab.checks.slips import all_equal, judge_by_slips, name_slip

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


def table_of_slips(x):
    """The same slips as one function, for sums that they share."""
    twice = 2 * x
    return [(twice, f"that is twice {x}, not its square."), (twice + 1, "never told.")]


def test_slips_may_come_as_a_table_for_each_case():
    def judge(answer, cases=CASES):
        judge_by_slips(answer, cases, lambda x: x * x, table_of_slips, lambda x: f"{x} squared")

    judge(Attempt(lambda x: x**2))
    with pytest.raises(Wrong, match="that is twice 2, not"):
        judge(Attempt(lambda x: x + x))
    with pytest.raises(Wrong, match="3 squared: got 6, expected 9"):
        judge(Attempt(lambda x: 2 * x if x < 4 else 16))


def test_a_slip_can_be_named_alone_and_other_faults_left_to_the_judge():
    def name(answer):
        name_slip(Attempt(answer), CASES, lambda x: x * x, SLIPS)

    for answer in (lambda x: x**2, lambda x: 7, lambda x: 1 // 0, lambda x: x * x if x < 4 else 8):
        name(answer)
    with pytest.raises(Wrong, match="twice the number"):
        name(
            lambda x: x + x if x < 4 else 1 // 0
        )  # nothing is wrong with the slip before the error


def test_what_cannot_be_compared_is_not_equal():
    assert all_equal([[1.0]], [[1.0]])
    assert not all_equal([object()], [[1.0]]) and not all_equal([None], [0.0])
