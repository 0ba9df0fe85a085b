"""Best-of-n against an enumeration of all draws, and its divergence against the formula."""

from itertools import product
from math import inf, log, prod

import pytest
import torch

from course_lib.alignment.best_of_n import (
    best_of_n_bound,
    best_of_n_curve,
    best_of_n_probs,
    kl_divergence,
)


def enumerated(probs, scores, n):
    """Every draw of n; draws that tie for best share it as they are drawn."""
    found = [0.0] * len(probs)
    for draw in product(range(len(probs)), repeat=n):
        top = max(scores[i] for i in draw)
        best = [i for i in draw if scores[i] == top]
        for i in best:
            found[i] += prod(probs[j] for j in draw) / len(best)
    return found


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_best_of_n_is_what_an_enumeration_says_ties_too(n):
    probs, scores = [0.1, 0.4, 0.3, 0.2], [1.0, 0.0, 1.0, -2.0]
    got = best_of_n_probs(torch.tensor(probs, dtype=torch.float64), torch.tensor(scores), n)
    assert got.tolist() == pytest.approx(enumerated(probs, scores, n))


def test_the_bound_is_reached_among_many_answers_and_never_passed():
    for n in (2, 8, 64):
        even = torch.full((100_000,), 1e-5, dtype=torch.float64)
        best = best_of_n_probs(even, torch.arange(100_000.0), n)
        assert kl_divergence(best, even) == pytest.approx(best_of_n_bound(n), rel=1e-3)
        few = torch.tensor([0.5, 0.3, 0.2])
        moved = kl_divergence(best_of_n_probs(few, torch.tensor([0.0, 1.0, 2.0]), n), few)
        assert moved < best_of_n_bound(n) - 0.05


def test_an_endless_search_finds_the_best_answer():
    few = torch.tensor([0.5, 0.3, 0.2])
    best = best_of_n_probs(few, torch.tensor([0.0, 2.0, 1.0]), 10_000)
    assert best.tolist() == pytest.approx([0, 1, 0])
    assert kl_divergence(best, few) == pytest.approx(log(1 / 0.3), rel=1e-6)


def test_equal_answers_of_a_pool_are_one_answer():
    scores = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    curve = best_of_n_curve(scores, torch.tensor([[3.0, 3.0, 1.0, 1.0]]), [1, 2])
    assert curve["true"] == pytest.approx([2.0, 2.5])
    halves = torch.tensor([0.5, 0.5])
    moved = kl_divergence(best_of_n_probs(halves, torch.tensor([1.0, 0.0]), 2), halves)
    assert curve["kl"] == pytest.approx([0.0, moved])


def test_wrong_input_is_refused_by_its_numbers():
    even = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="add up to 0.75"):
        best_of_n_probs(torch.tensor([0.5, 0.25]), even, 2)
    with pytest.raises(ValueError, match="nan"):
        best_of_n_probs(even, torch.tensor([0.0, float("nan")]), 2)
    with pytest.raises(ValueError, match="n"):
        best_of_n_bound(0)
    assert kl_divergence(even, torch.tensor([1.0, 0.0])) == inf
