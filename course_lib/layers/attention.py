"""Self-attention: every token looks back and takes from the tokens before it what it needs."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

BLOCK = 64  # queries: fewer make slow products, more compute what they may not see


@runtime_checkable
class AttentionCache(Protocol):
    """What attention asks of a cache: store what the new tokens bring, hand back all of it.

    `length` counts the tokens that it holds: one number, or one per row (see `RowCache`).
    """

    length: int | Int[Tensor, "B"]

    def append(self, *new: Tensor) -> tuple[Tensor, ...]: ...


def check_length(
    ids: Int[Tensor, "B T"], max_seq_len: int, past: int | Int[Tensor, "B"] = 0
) -> int:
    """Count the tokens of the longest row, `past` ones before it included: of all rows, or of each.

    Raises ValueError if these are more than a model has places for.

    >>> check_length(torch.tensor([[5, 3, 7], [2, 9, 4]]), max_seq_len=8, past=torch.tensor([6, 1]))
    Traceback (most recent call last):
    ValueError: 9 tokens are more than max_seq_len 8
    """
    end = ids.shape[1] + (int(past.max()) if isinstance(past, Tensor) else past)
    if end > max_seq_len:
        raise ValueError(f"{end} tokens are more than max_seq_len {max_seq_len}")
    return end


def visible_keys(
    T: int,
    S: int,
    window: int | None = None,
    padding: Bool[Tensor, "B *T S"] | None = None,
    device=None,
) -> Bool[Tensor, "T S"] | Bool[Tensor, "B 1 T S"]:
    """Tell which of the `S` keys each of the last `T` tokens may see.

    None after it, of those only the last `window`, and none that is `padding`, for all tokens (B S)
    or for each of them (B T S), as for documents packed into one row. A token always sees itself,
    even where it is padding, so that no row is empty.

    >>> visible_keys(T=3, S=4, window=2).int()      # one token is in the cache, three are new
    tensor([[1, 1, 0, 0],
            [0, 1, 1, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    query, key = torch.arange(S - T, S, device=device)[:, None], torch.arange(S, device=device)
    visible = key <= query
    if window is not None:
        visible &= key > query - window
    if padding is not None:
        visible = visible & ~padding.reshape(len(padding), 1, -1, S) | (key == query)
    return visible


def attention_weights(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B G S D"],
    visible: Bool[Tensor, "*B T S"] | None = None,
) -> Float[Tensor, "B H T S"]:
    """Write out the table of weights, softmax(q.k / sqrt(D)) over the visible keys.

    To look at, not to train by. Heads may share keys: with `G` of them for `H` heads of queries,
    each serves `H / G` neighbouring heads. Source: Vaswani et al. 2017 (arXiv 1706.03762), equation
    1.
    """
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    # eq. 1 divides the product; the queries are divided instead, for q.k may be too large for
    # float16
    scores = q / q.shape[-1] ** 0.5 @ k.mT
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    return scores.softmax(-1)


def head_by_loop(
    x: Float[Tensor, "T C"],
    W_Q: Float[Tensor, "C D"],
    W_K: Float[Tensor, "C D"],
    W_V: Float[Tensor, "C Dv"],
) -> Float[Tensor, "T Dv"]:
    """Let one head attend, token by token, to the token and those before it: the version to read.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.1.
    """
    outputs = []
    for t in range(len(x)):
        query = x[t] @ W_Q
        past = x[: t + 1]  # token t itself included
        scores = torch.stack([query @ (token @ W_K) / len(query) ** 0.5 for token in past])
        weights = scores.softmax(-1)
        outputs.append(sum(weights[s] * (past[s] @ W_V) for s in range(t + 1)))
    return torch.stack(outputs)


def causal_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B G S D"],
    v: Float[Tensor, "B G S D"],
    window: int | None = None,
    padding: Bool[Tensor, "B *T S"] | None = None,
) -> Float[Tensor, "B H T D"]:
    """Give each query the average of the values it may see, weighted by `attention_weights`.

    Which it may see, `visible_keys` tells. Torch's fused kernel never holds the table of weights
    (Dao et al. 2022, arXiv 2205.14135). It gets a mask only where it cannot do without: for
    padding, a window, or several new tokens on top of a cache.
    """
    T, S = q.shape[-2], k.shape[-2]
    if T > S:
        raise ValueError(f"{T} queries cannot stand at the last of {S} keys")
    if padding is not None and padding.shape not in ((k.shape[0], S), (k.shape[0], T, S)):
        raise ValueError(
            f"padding of shape {tuple(padding.shape)} for {k.shape[0]} rows of {S} keys"
        )
    shared, unbounded = q.shape[1] != k.shape[1], window is None or window >= S
    if T in (1, S) and unbounded and padding is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=T > 1, enable_gqa=shared)
    mask = visible_keys(T, S, window, padding, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=shared)


def attention_in_blocks(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], v: Float[Tensor, "B H S Dv"]
) -> Float[Tensor, "B H T Dv"]:
    """Give what `causal_attention` gives, written out for `BLOCK` queries at a time.

    A block meets only the keys up to its last query, so that little is computed which nobody may
    see. Values may have a width of their own, which torch's fused kernel does not take; on a CPU
    this is faster then. The backward pass needs the tables of weights, which are kept for it.
    """
    (B, H, T, D), mixed = q.shape, []
    past = k.shape[2] - T
    q, k, v = (table.flatten(0, 1) for table in (q, k, v))
    for i, block in enumerate(q.split(BLOCK, dim=1)):
        n, end = block.shape[1], past + i * BLOCK + block.shape[1]
        visible = visible_keys(n, end, device=q.device)
        hidden = torch.zeros_like(visible, dtype=q.dtype).masked_fill(~visible, -torch.inf)
        scores = torch.baddbmm(hidden, block, k[:, :end].mT, alpha=D**-0.5)
        mixed.append(scores.softmax(-1) @ v[:, :end])
    return torch.cat(mixed, 1).unflatten(0, (B, H))


class SelfAttention(nn.Module):
    """Causal attention with `n_heads` heads of `d_model / n_heads` dimensions each.

    GPT-2's as it stands. With `n_kv_heads` below `n_heads`, neighbouring heads share their keys and
    values: grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245), or multi-query with 1
    (Shazeer 2019, arXiv 1911.02150). `window` bounds how far a token looks back, itself included.
    `position(x, start)` marks queries and keys with their places before they meet, as rotary
    positions do; `start` is the place of the first token of `x`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        window: int | None = None,
        position: Callable[[Tensor, int], Tensor] | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        check_head_sizes(d_model, n_heads, n_kv_heads, window)
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads, d_model // n_heads
        self.window, self.position = window, position
        self.qkv = nn.Linear(d_model, (n_heads + 2 * n_kv_heads) * self.d_head, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Let the tokens look back; `padding` covers the tokens in the cache too."""
        q, k, v = self.project(x, start=0 if cache is None else cache.length)
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = causal_attention(q, k, v, self.window, padding)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def project(
        self, x: Float[Tensor, "B T C"], start: int | Int[Tensor, "B"] = 0
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B G T D"], Float[Tensor, "B G T D"]]:
        """Make each head's queries, keys and values, positions marked."""
        heads = self.qkv(x).unflatten(-1, (-1, self.d_head)).transpose(1, 2)
        qk, v = heads.split([self.n_heads + self.n_kv_heads, self.n_kv_heads], dim=1)
        if self.position is not None:
            qk = self.position(qk, start)
        q, k = qk.split([self.n_heads, self.n_kv_heads], dim=1)
        return q, k, v

    @torch.no_grad()
    def weights(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B H T T"]:
        """Tell, head by head, how much each token listens to each other one.

        `forward` uses this but never shows it.
        """
        q, k, _ = self.project(x)
        return attention_weights(
            q, k, visible_keys(x.shape[1], x.shape[1], self.window, device=x.device)
        )


class EncoderAttention(SelfAttention):
    """Attention to both sides: each token listens to all tokens of its row that are no padding.

    The weights are those of `SelfAttention`; what is missing is the mask, and with it the cache,
    since a new token would change what the old ones heard.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)

    def forward(
        self, x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T C"]:
        q, k, v = self.project(x)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=unpadded_keys(x, padding))
        return self.out(mixed.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def weights(
        self, x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B H T T"]:
        q, k, _ = self.project(x)
        return attention_weights(q, k, unpadded_keys(x, padding))


def unpadded_keys(
    x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"] | None
) -> Bool[Tensor, "B 1 1 T"] | None:
    """Tell which tokens may be seen, by all alike; None means all."""
    if padding is None:
        return None
    if padding.shape != x.shape[:2]:
        raise ValueError(
            f"padding of shape {tuple(padding.shape)} for {len(x)} rows of {x.shape[1]} tokens"
        )
    return ~padding[:, None, None]


def check_head_sizes(
    d_model: int, n_heads: int, n_kv_heads: int = 1, window: int | None = None
) -> None:
    """Raise a ValueError if the heads cannot be cut or shared evenly, or the window is empty."""
    if n_heads < 1 or d_model % n_heads:
        raise ValueError(f"d_model {d_model} is not divisible by n_heads {n_heads}")
    if n_kv_heads < 1 or n_heads % n_kv_heads:
        raise ValueError(f"n_heads {n_heads} is not divisible by n_kv_heads {n_kv_heads}")
    if window is not None and window < 1:
        raise ValueError(f"a window of {window} tokens leaves nothing to look at")
