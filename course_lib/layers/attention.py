"""Self-attention: every token looks back and takes from the tokens before it what it needs."""

from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Cache(Protocol):
    """What attention asks of a cache: store the new keys and values, hand back all of them."""

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]: ...


def causal_attention(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], v: Float[Tensor, "B H S D"]
) -> Float[Tensor, "B H T D"]:
    """Give each query the average of the values it may see, weighted by softmax of its scores q.k / sqrt(D).

    The last query stands at the last key, so with a cache (`S > T`) query `t` sees the keys up to `S - T + t`.
    No mask is built where torch's fused kernel needs none. Source: Vaswani et al. 2017 (arXiv 1706.03762), equation 1.
    """
    T, S = q.shape[-2], k.shape[-2]
    if T > S:
        raise ValueError(f"{T} queries cannot stand at the last of {S} keys")
    if T in (1, S):
        return F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
    mask = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class SelfAttention(nn.Module):
    """Causal attention with `n_heads` heads of `d_model / n_heads` dimensions each, as in GPT-2."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not divisible by n_heads {n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Float[Tensor, "B T C"], cache: Cache | None = None) -> Float[Tensor, "B T C"]:
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_heads, C // self.n_heads).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = causal_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(B, T, C))
