"""How good a model is if it may answer k times: pass@k, votes, and the best by a judge."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from math import comb
from random import Random


def pass_at_k(n: int, right: int, k: int) -> float:
    """Give the probability that of k answers, drawn from n with some right, at least one is right.

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1.

    >>> pass_at_k(n=4, right=1, k=2)
    0.5
    """
    if not 1 <= k <= n or not 0 <= right <= n:
        raise ValueError(f"k {k} must be from 1 to n {n}, and right {right} from 0 to n")
    return 1 - comb(n - right, k) / comb(n, k)


def majority_at_k(
    answers: Sequence[str | None], truth: str, k: int, draws: int = 100, seed: int = 0
) -> float:
    """Give the probability that the commonest of k answers is the truth.

    Ties are broken at random; no answer is no vote. Estimated by `draws` random draws of k. Source:
    Wang et al. 2022, self-consistency (arXiv 2203.11171).

    >>> majority_at_k(["9", "9", "8", None], truth="9", k=4)
    1.0
    """
    if not 1 <= k <= len(answers) or draws < 1:
        raise ValueError(
            f"k {k} must be from 1 to the number of answers {len(answers)}, draws {draws} at"
            " least 1"
        )
    rng, hits = Random(seed), 0.0
    for _ in range(draws):
        votes = Counter(vote for vote in rng.sample(list(answers), k) if vote is not None)
        best = [vote for vote, count in votes.items() if count == max(votes.values())]
        hits += (truth in best) / len(best) if best else 0
    return hits / draws


def weighted_vote(answers: Sequence[str | None], weights: Sequence[float]) -> list[str]:
    """Give the answers that have the most weight together: one, or several in a tie.

    With equal weights it is the majority vote; no answer is no vote. Source: Li et al. 2022
    (arXiv 2206.02336), section 3.2, voting verifier.

    >>> weighted_vote(["8", "8", "9", None], [0.2, 0.3, 0.9, 1.0])
    ['9']
    """
    total: dict[str, float] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            total[answer] = total.get(answer, 0.0) + weight
    most = max(total.values(), default=0.0)
    return [answer for answer, weight in total.items() if weight >= most - 1e-12]


def weighted_majority_at_k(
    answers: Sequence[str | None],
    weights: Sequence[float],
    truth: str,
    k: int,
    draws: int = 100,
    seed: int = 0,
) -> float:
    """Give the probability that the answer with the most weight, of k drawn ones, is the truth.

    As `majority_at_k`, which has all weights equal.

    >>> weighted_majority_at_k(["8", "8", "9"], [0.2, 0.3, 0.9], truth="9", k=3)
    1.0
    """
    if not 1 <= k <= len(answers) or draws < 1:
        raise ValueError(
            f"k {k} must be from 1 to the number of answers {len(answers)}, draws {draws} at"
            " least 1"
        )
    rng, hits, both = Random(seed), 0.0, list(zip(answers, weights, strict=True))
    for _ in range(draws):
        best = weighted_vote(*zip(*rng.sample(both, k), strict=True))
        hits += (truth in best) / len(best) if best else 0
    return hits / draws


def best_at_k(scores: Sequence[float], right: Sequence[bool], k: int) -> float:
    """Give the probability that of k answers, drawn from all, the one with the top score is right.

    Answers of equal score share their probability. With scores that know the truth this is
    `pass_at_k`, and never more.

    >>> best_at_k([0.9, 0.5, 0.1, 0.2], right=[False, True, False, False], k=2)
    0.3333333333333333
    """
    n = len(scores)
    if not 1 <= k <= n or len(right) != n:
        raise ValueError(f"k {k} must be from 1 to n {n}, and {len(right)} answers be judged")
    order = sorted(range(n), key=lambda i: -scores[i])
    found = 0.0
    for _, group in groupby(enumerate(order), key=lambda pair: scores[pair[1]]):
        ranks, members = zip(*group, strict=True)
        top = sum(comb(n - 1 - rank, k - 1) for rank in ranks)  # draws whose best is one of them
        found += top * sum(right[i] for i in members) / len(members)
    return found / comb(n, k)
