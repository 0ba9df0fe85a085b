"""A small transformer for a race against the clock: V1, and a switch for each idea of the boards.

With all switches off it is `Llama`, number for number. The ideas are those that the records of
modded-nanogpt and nanochat are credited to; each is a few lines here, and costs few operations.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import SelfAttention, causal_attention, check_length
from course_lib.layers.embedding import check_ids
from course_lib.layers.mlp import SwiGLU
from course_lib.layers.norm import RMSNorm
from course_lib.layers.position import RotaryPosition
from course_lib.models.llama import Llama, LlamaSettings

HASH_FACTOR = 6_364_136_223_846_793_005  # Knuth's, of a random generator of 64 bits


@dataclass(frozen=True)
class SpeedrunSettings(LlamaSettings):
    """The numbers of a Llama, and the switches.

    `relu_squared`: the MLP is down(relu(up(x))^2) with as many parameters as the SwiGLU. `qk_norm`:
    queries and keys are normed before they meet. `softcap` c: a logit z becomes c tanh(z / c).
    `zero_init`: what writes into the stream, and a head of its own, begin at 0. `first_mix`: each
    layer reads a learnt mixture of the stream and the first embedding. `value_layers`: so many of
    the last layers add an embedding of the token to their values. `ngram_order` n: the token's
    vector gets a row for the last 2, 3, ... n tokens, from a table of `ngram_rows` rows that the
    n-grams share by hashing. `ngram_head`: a second such table is added before the head.

    >>> SpeedrunSettings(512, 64, d_model=64, n_layers=2, n_heads=4, value_layers=3)
    Traceback (most recent call last):
    ValueError: value_layers 3 are more than n_layers 2
    """

    relu_squared: bool = False
    qk_norm: bool = False
    softcap: float | None = None
    zero_init: bool = False
    first_mix: bool = False
    value_layers: int = 0
    ngram_order: int = 1
    ngram_rows: int = 2**16
    ngram_head: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_layers > self.n_layers:
            raise ValueError(
                f"value_layers {self.value_layers} are more than n_layers {self.n_layers}"
            )

    def fill_in(self, *may_be_zero: str) -> None:
        super().fill_in("value_layers", *may_be_zero)


def ngram_hashes(ids: Int[Tensor, "B T"], order: int, n_rows: int) -> Int[Tensor, "B T orders"]:
    """Number the row of the n-gram that ends at each token, for n from 2 to `order`.

    Where a text is too short, the missing tokens count as token -1, which no vocabulary has.
    Different n-grams may get the same row: then they share what is learnt there.

    >>> rows = ngram_hashes(torch.tensor([[7, 8, 9, 7, 8]]), order=3, n_rows=1000)
    >>> bool(rows[0, 1, 0] == rows[0, 4, 0]), bool(rows[0, 1, 1] == rows[0, 4, 1])
    (True, False)
    """
    padded = F.pad(ids + 1, (order - 1, 0))  # 0 stands for no token
    T = ids.shape[1]
    code, rows = torch.zeros_like(ids), []
    for back in range(order):
        start = order - 1 - back
        # A polynomial in the tokens, which wraps around at 64 bits; the upper ones are well mixed.
        code = (code + padded[:, start : start + T]) * HASH_FACTOR
        if back:
            rows.append((code >> 32).remainder(n_rows))
    return torch.stack(rows, -1)


class HashedNgrams(nn.Embedding):
    """A table of vectors for n-grams: `table(ids)` adds up the rows of those that end at a token.

    Few rows are read at a time, so its gradient is sparse: an optimizer for it is `RowAdagrad`. It
    begins at 0, as if it were not there. Sources: modded-nanogpt's bigram hash embedding; DeepSeek,
    "Conditional Memory via Scalable Lookup" (Engram, arXiv 2601.07372), section 2.2, here without
    its gate and with one hash instead of several.
    """

    def __init__(self, order: int, n_rows: int, d_model: int) -> None:
        super().__init__(n_rows, d_model, sparse=True)
        self.order = order
        nn.init.zeros_(self.weight)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        rows = ngram_hashes(ids, self.order, self.num_embeddings)
        return super().forward(rows).sum(-2)


class ReLUSquaredMLP(nn.Module):
    """Widen, keep what is above 0 and square it, narrow back (So et al. 2021, arXiv 2109.08668)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.down(F.relu(self.up(x)).square())


class SpeedrunAttention(SelfAttention):
    """Self-attention whose queries and keys may be normed, and whose values may get more added.

    Sources: Dehghani et al. 2023 (arXiv 2302.05442), section 2.1, for the norm of queries and keys,
    here an RMSNorm that all heads share; Zhou et al. 2024 (arXiv 2410.17897) for values that come
    from the embeddings, here from a table of their own.
    """

    def __init__(self, settings: SpeedrunSettings) -> None:
        rotary = RotaryPosition(settings.d_head, settings.rope_base)
        super().__init__(
            settings.d_model, settings.n_heads, settings.n_kv_heads, position=rotary, bias=False
        )
        self.qk_norm = RMSNorm(settings.d_head, settings.norm_eps) if settings.qk_norm else None

    def forward(
        self, x: Float[Tensor, "B T C"], values: Float[Tensor, "B T _"] | None = None
    ) -> Float[Tensor, "B T C"]:
        q, k, v = self.project(x)
        if values is not None:
            v = v + values.unflatten(-1, (-1, self.d_head)).transpose(1, 2)
        return self.out(causal_attention(q, k, v).transpose(1, 2).flatten(2))

    def project(
        self, x: Float[Tensor, "B T C"], start: int = 0
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B G T D"], Float[Tensor, "B G T D"]]:
        """Make each head's queries, keys and values, normed if they are to be, positions marked."""
        heads = self.qkv(x).unflatten(-1, (-1, self.d_head)).transpose(1, 2)
        qk, v = heads.split([self.n_heads + self.n_kv_heads, self.n_kv_heads], dim=1)
        qk = self.position(qk if self.qk_norm is None else self.qk_norm(qk), start)
        q, k = qk.split([self.n_heads, self.n_kv_heads], dim=1)
        return q, k, v


class SpeedrunBlock(nn.Module):
    """One layer, with what the switches add to it."""

    def __init__(self, settings: SpeedrunSettings, layer: int) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(settings.d_model, settings.norm_eps)
        self.attention = SpeedrunAttention(settings)
        self.norm_2 = RMSNorm(settings.d_model, settings.norm_eps)
        d_ff = settings.d_ff
        self.mlp = (
            ReLUSquaredMLP(settings.d_model, d_ff * 3 // 2)
            if settings.relu_squared
            else SwiGLU(settings.d_model, d_ff)
        )
        self.mix = nn.Parameter(torch.tensor([1.0, 0.0])) if settings.first_mix else None
        width = settings.n_kv_heads * settings.d_head
        has_values = layer >= settings.n_layers - settings.value_layers
        self.value_table = nn.Embedding(settings.vocab_size, width) if has_values else None

    def forward(
        self, x: Float[Tensor, "B T C"], first: Float[Tensor, "B T C"], ids: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T C"]:
        """Read the stream, what stood in it first, and the tokens themselves."""
        if self.mix is not None:
            x = self.mix[0] * x + self.mix[1] * first
        values = None if self.value_table is None else self.value_table(ids)
        x = x + self.attention(self.norm_1(x), values)
        return x + self.mlp(self.norm_2(x))


class Speedrun(Llama):
    """Predict the next token at every position, as `Llama` does, with the switched-on ideas.

    It is trained and scored, and has no cache: nobody writes texts with it. Sources: modded-nanogpt
    (Jordan et al. 2024), nanochat (Karpathy 2025); Gemma 2 (arXiv 2408.00118), section 2, for the
    soft cap.
    """

    def __init__(self, settings: SpeedrunSettings) -> None:
        super().__init__(settings)
        order, rows, width = settings.ngram_order, settings.ngram_rows, settings.d_model
        self.ngrams = HashedNgrams(order, rows, width) if order > 1 else None
        self.ngrams_out = (
            HashedNgrams(order, rows, width) if order > 1 and settings.ngram_head else None
        )
        if settings.zero_init:
            zero_what_writes(self)
        for block in self.blocks:
            if block.value_table is not None:
                nn.init.zeros_(block.value_table.weight)

    def block(self, layer: int) -> SpeedrunBlock:
        return SpeedrunBlock(self.settings, layer)

    def hidden(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """Read the tokens: what stands in the stream after the last block, normed."""
        check_ids(ids, self.settings.vocab_size)
        check_length(ids, self.settings.max_seq_len)
        x = self.token_embedding(ids)
        if self.ngrams is not None:
            x = x + self.ngrams(ids)
        first = x
        for block in self.blocks:
            x = block(x, first, ids)
        x = self.norm(x)
        return x if self.ngrams_out is None else x + self.ngrams_out(ids)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(ids))

    def logits(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Score every token as the next one."""
        cap = self.settings.softcap
        scores = super().logits(hidden)
        return scores if cap is None else cap * torch.tanh(scores / cap)


def zero_what_writes(model: Speedrun) -> None:
    """Begin at 0 what writes into the stream, so that each layer passes on what it reads.

    A head of its own as well, so that all tokens begin as likely.
    """
    writes = [part for block in model.blocks for part in (block.attention.out, block.mlp.down)]
    for part in [*writes, *([] if model.head is None else [model.head])]:
        nn.init.zeros_(part.weight)
