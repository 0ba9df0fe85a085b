"""Best-of-n: draw n answers and keep the one that a reward model likes best, computed exactly.

No training is needed, and it is the baseline of every method that learns from a reward model. How
far it moves from the model it draws from is known without sampling. Sources: Stiennon et al. 2020
(arXiv 2009.01325), appendix G.3, for the formula; Beirami et al. 2024 (arXiv 2401.01879) for what
it is: an upper bound.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.check_numbers import check_whole_numbers


def best_of_n_bound(n: int) -> float:
    """Give the most that best-of-n may move away from what it draws from, in nats of KL divergence.

    It is log n - (n - 1) / n, and reached where no two answers are equal in score, as among
    infinitely many answers. Where the same answer comes often the true divergence is smaller.

    >>> best_of_n_bound(1), round(best_of_n_bound(16), 4)
    (0.0, 1.8351)
    """
    check_whole_numbers(n=n)
    return math.log(n) - (n - 1) / n


def best_of_n_probs(
    probs: Float[Tensor, "V"], scores: Float[Tensor, "V"], n: int
) -> Float[Tensor, "V"]:
    """Give the probability of each answer to be the best of n draws, in float64.

    All n draws score at most s with probability F(s)^n, where F adds up the answers that score at
    most s. What F(s)^n gains at s is shared by the answers of that score as they share the draws.
    Raises ValueError for scores that are not finite and for `probs` that do not add up to 1.

    The better of two coins, each of which shows 1 in half of all throws:

    >>> best_of_n_probs(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]), 2)
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    check_whole_numbers(n=n)
    probs, scores = probs.double(), scores.double()
    if probs.shape != scores.shape or not probs.numel():
        raise ValueError(f"{tuple(probs.shape)} probabilities for {tuple(scores.shape)} scores")
    if not scores.isfinite().all():
        raise ValueError(f"the scores {scores.tolist()} must be finite numbers")
    if probs.min() < 0 or abs(probs.sum().item() - 1) > 1e-6:
        raise ValueError(f"the probabilities add up to {probs.sum().item()}, not to 1")
    probs = probs / probs.sum()  # n powers of a rounding error would show
    _, group = scores.unique(return_inverse=True)  # numbers of the distinct scores, lowest first
    mass = torch.zeros(int(group.max()) + 1, dtype=torch.float64).index_add(0, group, probs)
    below = torch.cat([mass.new_zeros(1), mass.cumsum(0)])
    gained = below[1:] ** n - below[:-1] ** n
    share = torch.where(mass[group] > 0, probs / mass[group], 0.0)
    return gained[group] * share


def kl_divergence(policy: Float[Tensor, "V"], reference: Float[Tensor, "V"]) -> float:
    """Give KL(policy || reference), in nats, of two distributions over the same answers.

    Infinite where the policy gives what the reference never does.

    >>> round(kl_divergence(torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])), 4)
    0.1308
    """
    policy, reference = policy.double(), reference.double()
    if policy.shape != reference.shape:
        raise ValueError(f"{tuple(policy.shape)} and {tuple(reference.shape)} probabilities")
    terms = torch.where(policy > 0, policy * (policy / reference).log(), 0.0)
    return max(0.0, terms.sum().item())  # rounding may leave it a hair below 0


def best_of_n_curve(
    scores: Float[Tensor, "Q N"], worth: Float[Tensor, "Q N"], sizes: Sequence[int]
) -> dict[str, list[float]]:
    """Tell what best-of-n by `scores` gives, for each n, with the drawn answers as all there are.

    A row holds the N answers drawn to one question. "proxy" is the mean score, "true" the mean of
    `worth`, "kl" the true divergence, "bound" that of `best_of_n_bound`. Equal answers of a row
    have equal scores and are one answer.

    >>> scores = torch.tensor([[0.0, 1.0]])
    >>> best_of_n_curve(scores, torch.tensor([[4.0, 2.0]]), [2])["true"]
    [2.5]
    """
    if scores.shape != worth.shape:
        raise ValueError(f"{tuple(scores.shape)} scores for {tuple(worth.shape)} worths")
    even = torch.full(scores.shape[1:], 1 / scores.shape[1], dtype=torch.float64)
    curve: dict[str, list[float]] = {"proxy": [], "true": [], "kl": [], "bound": []}
    for n in sizes:
        best = torch.stack([best_of_n_probs(even, row, n) for row in scores])
        curve["proxy"].append((best * scores).sum(-1).mean().item())
        curve["true"].append((best * worth).sum(-1).mean().item())
        curve["kl"].append(sum(kl_divergence(row, even) for row in best) / len(best))
        curve["bound"].append(best_of_n_bound(n))
    return curve
