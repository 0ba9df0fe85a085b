"""The figures of lesson 25 show the numbers that they claim to show."""

import re

from course_lib.lab.explore import r1_zero as explore
from course_lib.text.problems import SearchProblem

PROBLEM = SearchProblem((20, 9, 3, 6), 14)
ANSWER = (
    "<think>20-9=11+3=14-6=8 not 14, 20-9=11+3=14-6=8 not 14, 18-9=9 not 14, "
    "20-9=11-3=8+6=14 yes</think><answer>20-9-3+6</answer>"
)


def grid_frames(widget) -> list[list[str]]:
    return [[frame.value for frame in row.children] for row in widget.children[-1].children]


def test_the_board_counts_choices_repeats_and_strange_numbers():
    (pictures,) = grid_frames(explore.tries({"one": (PROBLEM, ANSWER)}, most=5))
    told = [re.search(r"After try .*?\.", frame)[0] for frame in pictures]
    assert told[0] == (
        "After try 1 of 4: 1 of 8 choices met; repeats: 0; tries with other numbers: 0."
    )
    assert "1 of 8 choices met; repeats: 1; tries with other numbers: 0" in told[1]
    assert "2 of 8 choices met; repeats: 1; tries with other numbers: 1" in told[3]
    assert told[4] == told[3], "shorter answers end early"
    assert "not the puzzle's numbers" in pictures[2]
    assert "20-9-3+6</answer>" not in pictures[2] and "20-9-3+6" in pictures[3]


def test_a_false_yes_and_a_wrong_sum_are_told():
    (pictures,) = grid_frames(
        explore.tries({"one": (PROBLEM, "20-9=11-3=8-6=14 yes, so 20-9-3-6")}, most=1)
    )
    assert "wrong sum, it makes 2" in pictures[0]
    assert "a false yes" not in pictures[0], "it says the target"


def test_each_step_shows_its_own_answers_and_values():
    curves = {"right": [0.25, 0.5, 1.0], "tokens": [10.0, 20.0, 30.0]}
    answers = {
        step: [explore.RatedAnswer(f"{step}+1=?", "<think>", True, False, step > 1)]
        for step in (1, 3)
    }
    widget = explore.practice(curves, answers, start=1)
    first, last = (frame.value for frame in widget.children[-1].children)
    assert "1+1=?" in first and "3+1=?" not in first and "3+1=?" in last
    assert "Step 1: right 0.25, tokens 10." in first
    assert "Step 3: right 1, tokens 30." in last
    assert "&lt;think&gt;" in first and "<think>" not in first
