"""Weighted votes and the best of k, held against draws tried one by one."""

from itertools import combinations
from random import Random

import pytest

from course_lib.tasks.at_k import (
    best_at_k,
    majority_at_k,
    pass_at_k,
    weighted_majority_at_k,
    weighted_vote,
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_the_best_of_k_is_that_of_all_draws(seed, k):
    rng = Random(seed)
    scores, right = [rng.random() for _ in range(6)], [rng.random() < 0.5 for _ in range(6)]
    draws = list(combinations(range(6), k))
    want = sum(right[max(draw, key=lambda i: scores[i])] for draw in draws) / len(draws)
    assert best_at_k(scores, right, k) == pytest.approx(want)


def test_ties_are_shared():
    assert best_at_k([1.0, 1.0, 0.0], [True, False, False], 3) == pytest.approx(0.5)
    assert best_at_k([0.0] * 5, [True, True, False, False, False], 3) == pytest.approx(0.4)


def test_a_judge_who_knows_the_truth_gives_pass_at_k_and_no_judge_gives_more():
    right = [True, False, False, True, False, False, False, False]
    for k in range(1, 9):
        ceiling = pass_at_k(8, 2, k)
        assert best_at_k([float(x) for x in right], right, k) == pytest.approx(ceiling)
        assert best_at_k([float(i) for i in range(8)], right, k) <= ceiling + 1e-12


def test_equal_weights_are_the_majority_vote():
    answers = ["8", "9", "9", None, "7", "8"]
    assert weighted_vote(answers, [1.0] * 6) == ["8", "9"]
    for k in (1, 3, 6):
        assert weighted_majority_at_k(answers, [1.0] * 6, "9", k) == majority_at_k(answers, "9", k)


def test_nobody_votes_and_bad_numbers():
    assert weighted_vote([None], [1.0]) == [] and weighted_majority_at_k([None], [1.0], "9", 1) == 0
    with pytest.raises(ValueError, match="k 3"):
        best_at_k([1.0, 2.0], [True, False], 3)
    with pytest.raises(ValueError, match="k 0"):
        weighted_majority_at_k(["9"], [1.0], "9", 0)
