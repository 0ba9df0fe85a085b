"""Solutions of lesson 09; the notebook quotes them."""

import math

import torch
from torch import Tensor

from course_lib.training.objectives import log_softmax


def stable_softmax_solution(logits: Tensor) -> Tensor:
    exponentials = (logits - logits.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def token_losses_solution(logits: Tensor, targets: Tensor) -> Tensor:
    return -log_softmax(logits)[torch.arange(len(targets)), targets]


def logit_gradient_solution(logits: Tensor, targets: Tensor) -> Tensor:
    gradient = logits.softmax(-1)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient / len(targets)


def nucleus_probs_solution(probs: Tensor, p: float) -> Tensor:
    best, order = probs.sort(descending=True)
    kept = best * (best.cumsum(0) - best < p)
    return torch.zeros_like(probs).scatter(0, order, kept) / kept.sum()


def temperature_for_entropy_solution(logits: Tensor, bits: float) -> float:
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        probs = (logits / middle).softmax(-1)
        entropy = torch.special.entr(probs).sum() / math.log(2)
        low, high = (middle, high) if entropy < bits else (low, middle)
    return high


def beam_step_solution(
    beams: Tensor, scores: Tensor, log_probs: Tensor, n_beams: int
) -> tuple[Tensor, Tensor]:
    scores, best = (scores[:, None] + log_probs).flatten().topk(n_beams)
    parents, tokens = best // log_probs.shape[1], best % log_probs.shape[1]
    return torch.cat([beams[parents], tokens[:, None]], dim=1), scores
