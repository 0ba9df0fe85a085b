"""Solutions of lesson 09; the notebook quotes them."""

import math

import torch
from torch import Tensor

from course_lib.training.objectives import log_softmax


def stable_softmax_solution(scores: Tensor) -> Tensor:
    powers = (scores - scores.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def surprises_solution(logits: Tensor, targets: Tensor) -> Tensor:
    return -log_softmax(logits)[torch.arange(len(targets)), targets]


def perplexity_and_bits_solution(chances: list[float], text: str) -> tuple[float, float]:
    bits = sum(-math.log2(chance) for chance in chances)
    return 2 ** (bits / len(chances)), bits / len(text.encode())


def nucleus_solution(probs: Tensor, p: float) -> Tensor:
    best, order = probs.sort(descending=True)
    kept = best * (best.cumsum(0) - best < p)
    return torch.zeros_like(probs).scatter(0, order, kept) / kept.sum()


def temperature_for_solution(logits: Tensor, bits: float) -> float:
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        entropy = torch.special.entr((logits / middle).softmax(-1)).sum() / math.log(2)
        low, high = (middle, high) if entropy < bits else (low, middle)
    return high


def beam_step_solution(
    beams: Tensor, scores: Tensor, log_probs: Tensor, n_beams: int
) -> tuple[Tensor, Tensor]:
    scores, best = (scores[:, None] + log_probs).flatten().topk(n_beams)
    parents, tokens = best // log_probs.shape[1], best % log_probs.shape[1]
    return torch.cat([beams[parents], tokens[:, None]], dim=1), scores
