"""V4's attention without its blocks: one vector per token that all heads share, a window, sinks.

Letters: `D` is the width of a head, and of the one vector per token that is key and value for all
heads. What lies before the window, `compressed_attention` adds.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.check_numbers import check_whole_numbers
from course_lib.layers.attention import AttentionCache, visible_keys
from course_lib.layers.compressor import BlockState, PartialRotary
from course_lib.layers.norm import RMSNorm
from course_lib.layers.position import RotaryScaling


class CompressedCache:
    """What one layer of V4 keeps of the text so far: little, and growing by blocks.

    The last tokens of the window, the compressor's state, and the indexer's. The tokens of a
    finished block are gone, so it cannot be rewound: the only way back is to a state that it was
    told to `remember`.
    """

    def __init__(self, max_seq_len: int | None = None) -> None:
        self.max_seq_len, self.length = max_seq_len, 0
        self.recent: Float[Tensor, "B S D"] | None = None
        self.blocks: BlockState | None = None
        self.index: BlockState | None = None
        self.remembered: CompressedCache | None = None

    def append(self, *new: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, "B S D"]]:
        """Store the vectors of the next `T` tokens; return those that are kept, and them."""
        (vectors,) = new
        length = self.length + vectors.shape[1]
        if self.max_seq_len is not None and length > self.max_seq_len:
            raise ValueError(f"the cache has room for {self.max_seq_len} tokens, not for {length}")
        if self.recent is not None:
            (B, _, D), (rows, _, width) = self.recent.shape, vectors.shape
            if (B, D) != (rows, width):
                raise ValueError(f"the cache holds {B} rows of {D} numbers, not {rows} of {width}")
            vectors = torch.cat([self.recent, vectors], 1)
        self.recent, self.length = vectors, length
        return (vectors,)

    def forget(self, kept: int) -> None:
        """Keep the vectors of the last `kept` tokens alone: no later one sees further."""
        if kept < 0:
            raise ValueError(f"{kept} tokens cannot be kept")
        if self.recent is not None:
            # a copy: a part would hold the memory of the whole
            self.recent = self.recent[:, max(0, self.recent.shape[1] - kept) :].clone()

    def keep(self, rows: Int[Tensor, "K"] | Bool[Tensor, "B"]) -> None:
        """Go on with these rows of the batch alone, in this order; a row named twice is doubled."""
        self.recent = None if self.recent is None else self.recent[rows]
        self.blocks = self.blocks and self.blocks.keep(rows)
        self.index = self.index and self.index.keep(rows)
        self.remembered = None

    def rewind(self, length: int) -> None:
        """Refuse to forget tokens: their blocks cannot be taken apart."""
        if length != self.length:
            raise ValueError(
                f"a compressed cache of {self.length} tokens cannot be rewound to {length}"
            )

    def remember(self) -> None:
        """Keep this state in place of the one kept before: `fall_back` can come back to it."""
        self.remembered = None
        self.remembered = copy.copy(self)  # no tensor is ever written to, so both may hold it

    def fall_back(self, length: int) -> int:
        """Go back to the remembered state, or to no token at all: the first of at most `length`.

        Gives the number of tokens that are left; who goes on must read again what is missing.
        """
        if length < self.length:
            kept = self.remembered
            if kept is None or kept.length > length:
                kept = CompressedCache(self.max_seq_len)
            self.__dict__.update(vars(kept), remembered=kept)
        return self.length

    def copy(self, length: int) -> "CompressedCache":
        """Make a cache of its own that holds what `fall_back` leaves of the first `length`."""
        twin = copy.copy(self)
        twin.fall_back(length)
        return twin

    @property
    def n_bytes(self) -> int:
        """Count the bytes that are held, without those of a remembered state alone."""
        held = [state.n_bytes for state in (self.blocks, self.index) if state is not None]
        return sum(held) + (0 if self.recent is None else self.recent.nbytes)


class CompressedRows:
    """One layer's caches of rows that come and go: for each row one of its own.

    Blocks are finished at other steps in each row, so attention reads them row by row; there is no
    padding. The interface is that of `RowCache`.
    """

    def __init__(self, max_seq_len: int | None = None) -> None:
        self.rows: list[CompressedCache] = []

    def regroup(self, kept: Int[Tensor, "K"], joining: Sequence[CompressedCache]) -> None:
        """Go on with the `kept` rows, in this order, and behind them one row from each cache."""
        self.rows = [self.rows[row] for row in kept.tolist()] + list(joining)

    @property
    def length(self) -> Int[Tensor, "B"]:
        """Count the tokens of each row."""
        return torch.tensor([row.length for row in self.rows], dtype=torch.long)

    @property
    def padding(self) -> Bool[Tensor, "B 0"]:
        """Tell which columns hold no token of a row: there are no columns."""
        return torch.zeros(len(self.rows), 0, dtype=torch.bool)

    @property
    def n_bytes(self) -> int:
        """Count the bytes that are held."""
        return sum(row.n_bytes for row in self.rows)


def sink_weights(
    q: Float[Tensor, "B H T D"],
    keys: Float[Tensor, "B S D"],
    visible: Bool[Tensor, "*B T S"],
    sinks: Float[Tensor, "H"],
) -> Float[Tensor, "B H T S"]:
    """Give every head's weights on the visible keys, which all heads share.

    They add up to less than 1: each head has a sink, one more score in the softmax that no value
    belongs to, so that a head may look at nothing. A sink of 0 is one more unit in the denominator;
    none at all is -inf. Raises ValueError for shapes that do not fit. Source: arXiv 2606.19348,
    equation 27.

    >>> import torch
    >>> one = torch.zeros(1, 1, 1, 2), torch.zeros(1, 3, 2), torch.ones(1, 3).bool()
    >>> sink_weights(*one, sinks=torch.zeros(1))
    tensor([[[[0.2500, 0.2500, 0.2500]]]])
    """
    B, H, T, D = q.shape
    S = keys.shape[1]
    if keys.shape != (B, S, D) or visible.shape[-2:] != (T, S) or sinks.shape != (H,):
        raise ValueError(
            f"queries of shape {tuple(q.shape)}, keys {tuple(keys.shape)}, a table of who sees whom"
            f" {tuple(visible.shape)} and {tuple(sinks.shape)} sinks do not fit"
        )
    scores = (q * D**-0.5).flatten(1, 2) @ keys.mT
    visible = visible.expand(B, T, -1)[:, None]
    scores = scores.unflatten(1, (H, T)).masked_fill(~visible, -torch.inf)
    sinks = sinks.to(scores.dtype)[:, None, None].expand(B, H, T, 1)
    return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]


def attend_by_stretches(
    q: Float[Tensor, "B H T D"],
    recent: Float[Tensor, "B S D"],
    entries: Float[Tensor, "B N D"],
    readable: Bool[Tensor, "*B T N"],
    sinks: Float[Tensor, "H"],
    window: int,
) -> Float[Tensor, "B H T D"]:
    """Do what `sink_weights` and a product with the values do, without the table of all tokens.

    A stretch of `window` tokens sees itself and the stretch before it, no more: so its scores are
    2 * `window` numbers per token, however long the text. Heads lie inside tokens, as `q` was made.
    Raises ValueError if `recent` lacks the tokens, or holds more than a stretch before them.
    """
    B, H, T, D = q.shape
    if window < 1 or not 0 < T <= recent.shape[1] <= T + window:
        raise ValueError(
            f"{T} tokens cannot look at {recent.shape[1]} in stretches of {window}: they need"
            " themselves, and at most a stretch before"
        )
    n, missing = -(-T // window), window - (recent.shape[1] - T)  # in front of the first token
    end = n * window - T
    kv = F.pad(recent, (0, 0, missing, end)).unflatten(1, (n + 1, window))
    kv = torch.cat([kv[:, :-1], kv[:, 1:]], 2)
    rows = F.pad((q * D**-0.5).transpose(1, 2), (0, 0, 0, 0, 0, end)).flatten(1, 2)
    near = (rows.unflatten(1, (n, -1)) @ kv.mT).flatten(1, 2)
    sink = sinks.to(near.dtype).repeat(n * window).expand(B, -1)[..., None]
    scores = torch.cat([near, rows @ entries.mT, sink], -1).unflatten(1, (-1, H))
    visible = visible_in_stretches(n, window, missing, q.device)
    visible = visible.expand(len(readable), -1, -1)
    visible = torch.cat([visible, F.pad(readable, (0, 1, 0, end), value=True)], -1)
    weights = scores.masked_fill_(~visible[:, :, None], -torch.inf).softmax(-1).flatten(1, 2)
    near, far, _ = weights.split([2 * window, entries.shape[1], 1], -1)
    mixed = (near.unflatten(1, (n, -1)) @ kv).flatten(1, 2)
    return torch.baddbmm(mixed, far, entries).unflatten(1, (-1, H))[:, :T].transpose(1, 2)


def visible_in_stretches(n: int, window: int, missing: int, device=None) -> Bool[Tensor, "T S"]:
    """Tell which of its own and the previous stretch each token of `n` stretches sees.

    The first `missing` places of all hold no token; ValueError if those are more than a window.

    >>> visible_in_stretches(n=2, window=2, missing=2).int()
    tensor([[0, 0, 1, 0],
            [0, 0, 1, 1],
            [0, 1, 1, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    check_whole_numbers(n=n, window=window)
    if not 0 <= missing <= window:
        raise ValueError(f"missing {missing} is not between 0 and window {window}")
    visible = visible_keys(window, 2 * window, window, device=device).repeat(n, 1)
    visible[:window, :missing] = False
    return visible


class SharedKVAttention(nn.Module):
    """Attention to the last `window` tokens, itself included, by one vector for each of them.

    The vector is key and value, for all heads. Queries pass through a latent and are normed head by
    head, without a weight. As values carry their position, the output is turned back by that of the
    token that looks: what is left depends on distances alone. The output passes through `o_groups`
    narrow matrices, each for its share of the heads, and one that mixes them. Source: arXiv
    2606.19348, section 2.3.3.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        head_dim: int,
        qk_rope_head_dim: int,
        q_lora_rank: int,
        o_groups: int,
        o_lora_rank: int,
        window: int,
        rope_base: float = 10_000.0,
        rope_scaling: RotaryScaling | None = None,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        check_whole_numbers(d_model=d_model, q_lora_rank=q_lora_rank, o_lora_rank=o_lora_rank)
        check_shared_kv_sizes(n_heads, head_dim, qk_rope_head_dim, o_groups, window)
        self.n_heads, self.head_dim, self.o_groups = n_heads, head_dim, o_groups
        self.window, self.norm_eps = window, norm_eps
        self.rotary = PartialRotary(qk_rope_head_dim, rope_base, rope_scaling)
        self.q_down = nn.Linear(d_model, q_lora_rank, bias=False)
        self.q_latent_norm = RMSNorm(q_lora_rank, norm_eps)
        self.q_up = nn.Linear(q_lora_rank, n_heads * head_dim, bias=False)
        self.kv = nn.Linear(d_model, head_dim, bias=False)
        self.kv_norm = RMSNorm(head_dim, norm_eps)
        self.sinks = nn.Parameter(torch.zeros(n_heads))
        per_group = n_heads * head_dim // o_groups
        self.out_groups = nn.Linear(per_group, o_groups * o_lora_rank, bias=False)
        self.out = nn.Linear(o_groups * o_lora_rank, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Let the tokens look back; without a cache, a row may be padded on either side."""
        if padding is not None and padding.any():
            return self.forward_padded(x, cache, padding)
        cache = CompressedCache() if cache is None else cache
        if not isinstance(cache, CompressedCache):
            raise TypeError(f"V4's attention needs a CompressedCache, not a {type(cache).__name__}")
        positions = torch.arange(cache.length, cache.length + x.shape[1], device=x.device)
        q_latent, q, kv = self.project(x, positions)
        (recent,) = cache.append(kv)
        cache.forget(kept=self.window - 1)
        entries, readable = self.read_blocks(x, q_latent, positions, cache)
        mixed = self.attend(q, recent, entries, readable)
        return self.project_out(self.rotary(mixed, -positions))

    def project(
        self, x: Float[Tensor, "B T C"], positions: Int[Tensor, "T"]
    ) -> tuple[Float[Tensor, "B T Rq"], Float[Tensor, "B H T D"], Float[Tensor, "B T D"]]:
        """Make the queries' latent, the queries, and what is key and value, positions marked."""
        q_latent = self.q_latent_norm(self.q_down(x))
        q = self.q_up(q_latent).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        q = F.rms_norm(q, (self.head_dim,), eps=self.norm_eps)
        kv = self.kv_norm(self.kv(x))
        return q_latent, self.rotary(q, positions), self.rotary(kv, positions)

    def read_blocks(
        self,
        x: Float[Tensor, "B T C"],
        q_latent: Float[Tensor, "B T Rq"],
        positions: Int[Tensor, "T"],
        cache: CompressedCache,
    ) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, "*B T N"]]:
        """Give the entries of what lies further back, and which of them each token reads: none."""
        T = x.shape[1]
        return x.new_zeros(len(x), 0, self.head_dim), positions.new_zeros(1, T, 0).bool()

    def attend(
        self,
        q: Float[Tensor, "B H T D"],
        recent: Float[Tensor, "B S D"],
        entries: Float[Tensor, "B N D"],
        readable: Bool[Tensor, "*B T N"],
    ) -> Float[Tensor, "B H T D"]:
        """Average the visible vectors, window and blocks in one softmax."""
        T, S = q.shape[2], recent.shape[1]
        if T > self.window:
            return attend_by_stretches(q, recent, entries, readable, self.sinks, self.window)
        near = visible_keys(T, S, self.window, device=q.device).expand(len(readable), T, S)
        kv = torch.cat([recent, entries], 1)
        weights = sink_weights(q, kv, torch.cat([near, readable], -1), self.sinks)
        return (weights.flatten(1, 2) @ kv).unflatten(1, weights.shape[1:3])

    def project_out(self, mixed: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T C"]:
        """Bring each group of heads down to a narrow vector, and mix the groups."""
        groups = mixed.transpose(1, 2).flatten(2).unflatten(-1, (self.o_groups, -1))
        W = self.out_groups.weight.unflatten(0, (self.o_groups, -1))
        return self.out(torch.einsum("btgi,gri->btgr", groups, W).flatten(2))

    def forward_padded(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | None,
        padding: Bool[Tensor, "B *T S"],
    ) -> Float[Tensor, "B T C"]:
        """Move each row's tokens to its start, where blocks are counted from, and back again."""
        if cache is not None:
            raise ValueError(
                f"{int(padding.any(1).sum())} padded rows and a cache: blocks would be finished at"
                " other steps in each row; batch rows of equal length"
            )
        if padding.shape != x.shape[:2]:
            raise ValueError(
                f"padding of shape {tuple(padding.shape)} for {len(x)} rows of {x.shape[1]} tokens"
            )
        before = padding.long().cumprod(1).sum(1, keepdim=True)
        order = (torch.arange(x.shape[1], device=x.device) + before) % x.shape[1]
        if (padding.gather(1, order).long().diff(dim=1) < 0).any():
            raise ValueError("padding between the tokens of a row: V4's blocks leave nothing out")
        rows = torch.arange(len(x), device=x.device)[:, None]
        return self(x[rows, order])[rows, order.argsort(1)]


def check_shared_kv_sizes(
    n_heads: int, head_dim: int, qk_rope_head_dim: int, o_groups: int, window: int
) -> None:
    """Raise a ValueError that names the numbers if no attention has these sizes."""
    if n_heads < 1 or o_groups < 1 or n_heads * head_dim % o_groups:
        raise ValueError(
            f"n_heads {n_heads} x head_dim {head_dim} cannot be shared out to {o_groups} o_groups"
        )
    if head_dim < qk_rope_head_dim:
        raise ValueError(f"head_dim {head_dim} has no room for qk_rope_head_dim {qk_rope_head_dim}")
    if window < 1:
        raise ValueError(f"a window of {window} tokens leaves nothing to look at")
