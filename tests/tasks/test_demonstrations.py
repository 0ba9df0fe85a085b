"""Demonstrations are right unless they are to be wrong, and then in one slip only."""

import re
from random import Random

import pytest

from course_lib.tasks.demonstrations import (
    draw_demonstrations,
    slipped_answer,
    worked_answer,
    wrong_attempt,
)
from course_lib.text.problems import (
    ChainProblem,
    draw_chain,
    find_problems,
    is_held_out,
    is_well_formed,
    verify_answer,
)

STEP = re.compile(r"(\d+)([+-])(\d+)=(\d+)")


def wrong_steps(text):
    """The steps whose result is not that of Python's own sum."""
    return [step for step in STEP.findall(text) if eval("".join(step[:3])) != int(step[3])]


def chains(n=200):
    rng = Random(5)
    return [draw_chain(rng) for _ in range(n)]


def test_worked_answers_are_right_and_well_formed():
    for chain in chains():
        text = worked_answer(chain)
        assert verify_answer(chain, text).right and is_well_formed(text)
        assert len(STEP.findall(text)) == len(chain.signs) and not wrong_steps(text)


def test_a_slip_is_one_wrong_step_and_a_wrong_answer():
    rng = Random(0)
    for chain in chains():
        text = slipped_answer(rng, chain)
        assert is_well_formed(text) and not verify_answer(chain, text).right
        assert len(wrong_steps(text)) == 1
        attempt = wrong_attempt(rng, chain)
        assert attempt.endswith(chain.question) and len(wrong_steps(attempt)) == 1


@pytest.mark.parametrize(
    ("n", "share", "wrong"), [(8, 0.0, 0), (8, 0.25, 2), (5, 0.5, 2), (3, 1.0, 3)]
)
def test_the_asked_share_is_wrong_and_no_held_out_sum_is_shown(n, share, wrong):
    pairs = draw_demonstrations(Random(1), n, share)
    problems = [next(find_problems(question)) for question, _ in pairs]
    right = [verify_answer(p, text).right for p, (_, text) in zip(problems, pairs, strict=True)]
    assert right.count(False) == wrong and not any(map(is_held_out, problems))
    assert draw_demonstrations(Random(1), n, share) == pairs


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="0 demonstrations"):
        draw_demonstrations(Random(0), 0)
    with pytest.raises(ValueError, match="a share of 1.5 wrong"):
        draw_demonstrations(Random(0), 3, 1.5)
    with pytest.raises(ValueError, match="2 results for a chain of 3 numbers"):
        worked_answer(ChainProblem((7, 5, 3), (1, -1)), (7, 12))
