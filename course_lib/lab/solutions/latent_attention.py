"""Solutions of lesson 19, as its notebook quotes them."""

import math

import torch
from torch import Tensor


def cache_numbers_solution(
    kind: str, n_heads: int, n_kv_heads: int, d_head: int, rank: int, d_rotary: int
) -> int:
    if kind == "MLA":
        return rank + d_rotary
    return 2 * d_head * {"MHA": n_heads, "GQA": n_kv_heads, "MQA": 1}[kind]


def latent_factors_solution(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    if rank > min(weight.shape):
        raise ValueError(f"rank {rank} is wider than a matrix of {tuple(weight.shape)}")
    U, S, Vh = torch.linalg.svd(weight, full_matrices=False)
    return Vh[:rank], U[:, :rank] * S[:rank]


def absorbed_scores_solution(q: Tensor, latent: Tensor, up: Tensor) -> Tensor:
    q_latent = torch.einsum("hd,hdr->hr", q, up)
    return q_latent @ latent.T


def decoupled_scores_solution(
    q_content: Tensor, q_rotary: Tensor, k_content: Tensor, k_rotary: Tensor
) -> Tensor:
    width = q_content.shape[-1] + q_rotary.shape[-1]
    return (q_content @ k_content.mT + q_rotary @ k_rotary.T) / math.sqrt(width)


def yarn_frequencies_solution(frequencies: Tensor, factor: float, first: int, last: int) -> Tensor:
    share = ((torch.arange(len(frequencies)) - first) / (last - first)).clamp(0, 1)
    return frequencies * (1 - share) + frequencies / factor * share


def yarn_scales_solution(
    factor: float, mscale: float, mscale_all_dim: float
) -> tuple[float, float]:
    rotated = 0.1 * mscale * math.log(factor) + 1
    everywhere = 0.1 * mscale_all_dim * math.log(factor) + 1
    return rotated / everywhere, everywhere**2
