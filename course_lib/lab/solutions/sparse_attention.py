"""Solutions of lesson 29, as its notebook quotes them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.layers.position import rotate_halves


def indexer_scores_solution(q: Tensor, keys: Tensor, weights: Tensor) -> Tensor:
    heads, width = q.shape[1:]
    matches = torch.einsum("thd,sd->ths", q, keys).relu()
    return torch.einsum("th,ths->ts", weights, matches) / (heads * width) ** 0.5


def index_keys_solution(made: Tensor, gain: Tensor, bias: Tensor, angles: Tensor) -> Tensor:
    normed = F.layer_norm(made, made.shape[-1:], gain, bias, eps=1e-6)
    rotated, kept = normed.tensor_split([2 * angles.shape[-1]], dim=-1)
    return torch.cat([rotate_halves(rotated, angles), kept], dim=-1)


def choose_few_solution(scores: Tensor, k: int) -> Tensor:
    T, S = scores.shape
    visible = torch.ones(T, S).tril(S - T).bool()
    hidden = scores.masked_fill(~visible, -torch.inf)
    best = hidden.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    return torch.zeros(T, S).bool().scatter(1, best, True) & visible


def mass_recall_solution(weights: Tensor, selected: Tensor) -> Tensor:
    return (weights.mean(0) * selected).sum(-1)


def indexer_kl_solution(weights: Tensor, scores: Tensor, selected: Tensor) -> Tensor:
    target = weights.detach().sum(0)
    target = target / target.sum(-1, keepdim=True)
    log_index = scores.masked_fill(~selected, -torch.inf).log_softmax(-1)
    log_index = log_index.masked_fill(~selected, 0.0)
    return F.kl_div(log_index, target, reduction="none").sum(-1).mean()


def decode_costs_solution(
    context: int, top_k: int, heads: int, latent: int, rotary: int, index_heads: int, index_dim: int
) -> tuple[int, int]:
    each = heads * (latent + rotary + latent)
    indexer = context * index_heads * index_dim
    return context * each, indexer + min(top_k, context) * each
