"""Does a judge that says 80 % win in 80 % of the cases? Probabilities beside what came true."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.check_numbers import check_whole_numbers


class ReliabilityBin(NamedTuple):
    """Predictions of nearly the same probability: how many, their mean, and how often it held."""

    count: int
    said: float
    held: float


def reliability_bins(
    probs: Float[Tensor, "N"], outcomes: Bool[Tensor, "N"], n_bins: int = 10
) -> list[ReliabilityBin]:
    """Sort predictions into bins of equal width from 0 to 1; empty bins are left out.

    >>> reliability_bins(torch.tensor([0.25, 0.75, 0.75]), torch.tensor([False, True, False]), 2)
    [ReliabilityBin(count=1, said=0.25, held=0.0), ReliabilityBin(count=2, said=0.75, held=0.5)]
    """
    check_whole_numbers(n_bins=n_bins)
    if probs.shape != outcomes.shape or not probs.numel():
        raise ValueError(f"{tuple(probs.shape)} probabilities for {tuple(outcomes.shape)} outcomes")
    if not ((probs >= 0) & (probs <= 1)).all():  # NaN fails too
        raise ValueError(f"probabilities from {probs.min()} to {probs.max()}, not from 0 to 1")
    number = (probs * n_bins).long().clamp(max=n_bins - 1)
    rows = [number == which for which in range(n_bins)]
    return [
        ReliabilityBin(
            int(row.sum()), probs[row].mean().item(), outcomes[row].double().mean().item()
        )
        for row in rows
        if row.any()
    ]


def expected_calibration_error(
    probs: Float[Tensor, "N"], outcomes: Bool[Tensor, "N"], n_bins: int = 10
) -> float:
    """Average the gap between what was said and what held, over bins, by how full they are.

    Source: Guo et al. 2017 (arXiv 1706.04599), equation 3.

    >>> probs, outcomes = torch.tensor([0.25, 0.75, 0.75]), torch.tensor([False, True, False])
    >>> expected_calibration_error(probs, outcomes, n_bins=2)
    0.25
    """
    bins = reliability_bins(probs, outcomes, n_bins)
    return sum(each.count * abs(each.said - each.held) for each in bins) / len(probs)


def choice_calibration(leads: Float[Tensor, "N"], n_bins: int = 10) -> float:
    """Give the calibration error of a reward model, from its `leads`: chosen less rejected score.

    A pair says its probability twice, once for each answer, so that half of all outcomes hold and
    a judge that always says one half is calibrated.

    Two choices foreseen with 3/4, of which one came out the other way:

    >>> lead = torch.tensor(3.0).log()
    >>> round(choice_calibration(torch.stack([lead, -lead])), 4)
    0.25
    """
    both = torch.cat([leads, -leads]).sigmoid()
    outcomes = torch.arange(len(both)) < len(leads)
    return expected_calibration_error(both, outcomes, n_bins)
