"""How good a model is if it may answer k times: pass@k and majority@k."""

from collections import Counter
from collections.abc import Sequence
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
