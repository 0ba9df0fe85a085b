"""Solutions of lesson 06; the notebook quotes them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def scaled_scores_solution(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.T / q.shape[-1] ** 0.5


def causal_weights_solution(scores: Tensor) -> Tensor:
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(-1)


def split_heads_solution(x: Tensor, n_heads: int) -> Tensor:
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def induction_score_solution(weights: Tensor, ids: Tensor) -> float:
    follows = F.pad(ids[:, None] == ids[:-1], (1, 0)).tril()
    return (weights * follows).sum(-1)[follows.any(-1)].mean().item()


def streaming_average_solution(pairs) -> Tensor:
    loudest, total, mixture = -math.inf, 0.0, 0.0
    for score, value in pairs:
        new = max(loudest, score)
        shrink, power = math.exp(loudest - new), math.exp(score - new)
        total, mixture = total * shrink + power, mixture * shrink + power * value
        loudest = new
    return mixture / total


def cache_bytes_solution(
    n_layers: int, n_kv_heads: int, d_head: int, n_tokens: int, bytes_per_number: int
) -> int:
    return 2 * n_layers * n_kv_heads * d_head * n_tokens * bytes_per_number
