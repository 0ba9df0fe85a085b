"""XLNet (Yang et al. 2019, arXiv 1906.08237): predict in any order, and see both sides without
[MASK]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import check_head_sizes
from course_lib.layers.embedding import Embedding, check_ids
from course_lib.layers.mlp import MLP
from course_lib.layers.norm import LayerNorm
from course_lib.layers.relative_attention import RelativeAttention, relative_sinusoids
from course_lib.models.encoder import init_encoder_weights
from course_lib.models.settings_check import check_settings


@dataclass(frozen=True)
class XLNetSettings:
    """The numbers that make one XLNet differ from another; the defaults are base.

    There is no `max_seq_len`, since only distances count. `memory_length` bounds how many tokens of
    earlier texts are kept; None keeps all.
    """

    vocab_size: int = 32000
    d_model: int = 768
    n_layers: int = 12
    n_heads: int = 12
    d_ff: int | None = None
    norm_eps: float = 1e-12
    memory_length: int | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        check_head_sizes(self.d_model, self.n_heads)
        if self.d_model % 2:
            raise ValueError(f"d_model {self.d_model} is odd: each frequency has a sine and cosine")
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", 4 * self.d_model)


XLNET_BASE = XLNetSettings()  # 116,750,336 parameters
XLNET_LARGE = XLNetSettings(d_model=1024, n_layers=24, n_heads=16)  # 360,300,800

Memory = Sequence[Float[Tensor, "B M C"]]  # what each layer read of earlier texts


class XLNetReading(NamedTuple):
    """What came out of the last layer, and what to hand to the next text as its memory."""

    content: Float[Tensor, "B T C"]
    query: Float[Tensor, "B K C"] | None  # None without targets
    memory: list[Float[Tensor, "B M C"]]


class Visibility(NamedTuple):
    """What a stream may hear, see `RelativeAttention`; `places` None means one query per token."""

    places: Int[Tensor, "B Q"] | None
    other_segment: Bool[Tensor, "B Q S"] | None
    hidden: Bool[Tensor, "B Q S"] | None


class XLNetBlock(nn.Module):
    """One layer for both streams, with the same weights: attention, then MLP, each normed after."""

    def __init__(self, settings: XLNetSettings) -> None:
        super().__init__()
        self.attention = RelativeAttention(settings.d_model, settings.n_heads)
        self.norm_1 = LayerNorm(settings.d_model, settings.norm_eps)
        self.mlp = MLP(settings.d_model, settings.d_ff, F.gelu)
        self.norm_2 = LayerNorm(settings.d_model, settings.norm_eps)

    def forward(
        self,
        streams: list[Float[Tensor, "B _ C"]],
        memory: Float[Tensor, "B M C"] | None,
        sinusoids: Float[Tensor, "P C"],
        views: list[Visibility],
    ) -> list[Float[Tensor, "B _ C"]]:
        """Move the streams on: the first is the content, which all of them hear."""
        content, T = streams[0], streams[0].shape[1]
        context = self.attention.context(
            content if memory is None else torch.cat([memory, content], 1), sinusoids
        )
        streams = [
            self.norm_1(x + self.attention(x, context, T, *view))
            for x, view in zip(streams, views, strict=True)
        ]
        return [self.norm_2(x + self.mlp(x)) for x in streams]


class XLNet(nn.Module):
    """Score every token at each target, from the tokens that come before it in some order.

    The content stream holds what a token has become, itself included; the query stream, one per
    target, knows its place but not its token. `unseen[b, i, j]` is True where token i may not hear
    token j: with an order, where j does not come before i. Without `targets` the content stream is
    scored, and without `unseen` and padding all is heard. Source: sections 2.2 to 2.5.
    """

    def __init__(self, settings: XLNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.token_embedding = Embedding(settings.vocab_size, settings.d_model)
        self.mask_embedding = nn.Parameter(torch.zeros(settings.d_model))
        self.blocks = nn.ModuleList(XLNetBlock(settings) for _ in range(settings.n_layers))
        self.head_bias = nn.Parameter(torch.zeros(settings.vocab_size))
        init_encoder_weights(self)
        nn.init.normal_(self.mask_embedding, std=0.02)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
        unseen: Bool[Tensor, "B T T"] | None = None,
        targets: Int[Tensor, "B K"] | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "B N V"]:
        reading = self.read(ids, segments, padding, unseen, targets, memory)
        return self.logits(reading.content if targets is None else reading.query)

    def read(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
        unseen: Bool[Tensor, "B T T"] | None = None,
        targets: Int[Tensor, "B K"] | None = None,
        memory: Memory | None = None,
    ) -> XLNetReading:
        """Read the tokens; `targets` are the columns to be predicted, as many in each row."""
        check_ids(ids, self.settings.vocab_size)
        B, T = ids.shape
        M = memory[0].shape[1] if memory else 0
        streams = [self.token_embedding(ids)]
        views = [content_view(segments, padding, unseen, M, T)]
        if targets is not None:
            check_targets(targets, T)
            streams.append(self.mask_embedding.expand(B, targets.shape[1], -1))
            views.append(query_view(segments, padding, unseen, M, targets))
        sinusoids = relative_sinusoids(T, M + T, self.settings.d_model, ids.device)
        sinusoids, kept = sinusoids.to(streams[0].dtype), []
        for layer, block in enumerate(self.blocks):
            past = memory[layer] if memory else None
            kept.append(self.remembered(past, streams[0]))
            streams = block(streams, past, sinusoids, views)
        return XLNetReading(streams[0], streams[1] if targets is not None else None, kept)

    def remembered(
        self, past: Float[Tensor, "B M C"] | None, new: Float[Tensor, "B T C"]
    ) -> Float[Tensor, "B N C"]:
        """Join what a layer remembers with what it reads, cut to the newest, without gradient."""
        joined = (new if past is None else torch.cat([past, new], 1)).detach()
        length = self.settings.memory_length
        return joined if length is None else joined[:, -length:]

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read a text as BERT does: all tokens hear all."""
        return self.read(ids, segments, padding).content

    def logits(self, hidden: Float[Tensor, "*B C"]) -> Float[Tensor, "*B V"]:
        """Score every token, by the same table that reads them, and a bias."""
        return self.token_embedding.logits(hidden) + self.head_bias


def check_targets(targets: Int[Tensor, "B K"], T: int) -> None:
    """Raise a ValueError for a target outside the row."""
    if targets.numel() and not (0 <= targets.min() and targets.max() < T):
        worst = targets.max() if targets.max() >= T else targets.min()
        raise ValueError(f"target {worst} is none of the {T} columns, counted from 0")


def content_view(
    segments: Int[Tensor, "B T"] | None,
    padding: Bool[Tensor, "B T"] | None,
    unseen: Bool[Tensor, "B T T"] | None,
    M: int,
    T: int,
) -> Visibility:
    """Tell what each token may hear: memory, itself, and what neither order nor padding hides."""
    hidden = hidden_keys(padding, unseen, M)
    if hidden is not None:
        itself = torch.eye(T, dtype=torch.bool, device=hidden.device)
        hidden = hidden & ~F.pad(itself, (M, 0))
    return Visibility(None, segment_pairs(segments, M), hidden)


def query_view(
    segments: Int[Tensor, "B T"] | None,
    padding: Bool[Tensor, "B T"] | None,
    unseen: Bool[Tensor, "B T T"] | None,
    M: int,
    targets: Int[Tensor, "B K"],
) -> Visibility:
    """Tell what each target may hear: what its token may, but for the token itself, if unseen."""
    rows = torch.arange(len(targets), device=targets.device)[:, None]
    hidden, pairs = hidden_keys(padding, unseen, M), segment_pairs(segments, M)
    if hidden is not None and hidden.shape[1] > 1:
        hidden = hidden[rows, targets]
    return Visibility(targets, None if pairs is None else pairs[rows, targets], hidden)


def hidden_keys(
    padding: Bool[Tensor, "B T"] | None, unseen: Bool[Tensor, "B T T"] | None, M: int
) -> Bool[Tensor, "B Q S"] | None:
    """Join what padding and order hide; memory, in front, is never hidden. One row may do for all.

    >>> hidden_keys(torch.tensor([[False, True]]), None, M=1).int()
    tensor([[[0, 0, 1]]], dtype=torch.int32)
    """
    if padding is None and unseen is None:
        return None
    hidden = unseen if padding is None else padding[:, None]
    if padding is not None and unseen is not None:
        hidden = hidden | unseen
    return F.pad(hidden, (M, 0))


def segment_pairs(segments: Int[Tensor, "B T"] | None, M: int) -> Bool[Tensor, "B T S"] | None:
    """Tell which pairs are of different segments; memory counts as segment 0, as in the release."""
    if segments is None:
        return None
    return segments[:, :, None] != F.pad(segments, (M, 0))[:, None]
