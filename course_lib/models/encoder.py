"""What BERT, RoBERTa, ALBERT and DistilBERT share: an encoder, which reads a text from both sides.

The first encoder layer of all is in Vaswani et al. 2017 (arXiv 1706.03762), section 3.1. Differs
from the papers: no dropout, as in all models of the course.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import EncoderAttention, check_head_sizes
from course_lib.layers.embedding import Embedding, check_ids
from course_lib.layers.mlp import MLP, Activation
from course_lib.layers.norm import LayerNorm
from course_lib.models.settings_check import check_settings


@dataclass(frozen=True)
class EncoderSettings:
    """The numbers of every encoder; the defaults are BERT's, base.

    `d_ff` None means four times `d_model`. The row of `pad_token` in the table of tokens gets no
    gradient where the token is read. Raises ValueError for a number that is none, or that fits no
    other.
    """

    vocab_size: int = 30522
    max_seq_len: int = 512
    d_model: int = 768
    n_layers: int = 12
    n_heads: int = 12
    d_ff: int | None = None
    norm_eps: float = 1e-12
    pad_token: int = 0

    def __post_init__(self) -> None:
        check_settings(self, may_be_zero={"pad_token", "n_segments"})
        check_head_sizes(self.d_model, self.n_heads)
        if self.pad_token >= self.vocab_size:
            raise ValueError(f"pad_token {self.pad_token} is no token of {self.vocab_size}")
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", 4 * self.d_model)


class EncoderEmbedding(nn.Module):
    """Turn a token, its place and the number of its segment into one vector.

    With `n_segments` 0 there are no segments; `normed=False` leaves the sum as it is.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        width: int,
        n_segments: int,
        n_positions: int | None = None,
        normed: bool = True,
    ) -> None:
        super().__init__()
        self.token = Embedding(settings.vocab_size, width, padding_idx=settings.pad_token)
        self.position = nn.Embedding(n_positions or settings.max_seq_len, width)
        self.segment = nn.Embedding(n_segments, width) if n_segments else None
        self.norm = LayerNorm(width, settings.norm_eps) if normed else nn.Identity()

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        positions: Int[Tensor, "*B T"],
        segments: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        """Sum the vectors up; without `segments`, all tokens are of segment 0."""
        check_ids(ids, len(self.token.weight))
        x = self.token(ids)
        if self.segment is not None:
            segments = ids.new_zeros(ids.shape) if segments is None else segments
            check_segments(segments, len(self.segment.weight))
            x = x + self.segment(segments)
        elif segments is not None:
            raise ValueError("this model has no segments")
        return self.norm(x + self.position(positions))


def check_segments(segments: Int[Tensor, "B T"], n_segments: int) -> None:
    """Raise a ValueError for a segment that the model has no row for."""
    if segments.numel() and not (0 <= segments.min() and segments.max() < n_segments):
        worst = segments.max() if segments.max() >= n_segments else segments.min()
        raise ValueError(f"segment {worst} is none of the {n_segments}, counted from 0")


class EncoderBlock(nn.Module):
    """One layer: look to both sides, then think; each adds to the stream, which is normed after it.

    That is "post-norm", as in the first transformer. With `pre_norm` each norms what it reads
    instead, as in GPT-2: then nothing stands between the stream's end and its beginning.
    """

    def __init__(
        self, settings: EncoderSettings, activation: Activation = F.gelu, pre_norm: bool = False
    ) -> None:
        super().__init__()
        self.attention = EncoderAttention(settings.d_model, settings.n_heads)
        self.norm_1 = LayerNorm(settings.d_model, settings.norm_eps)
        self.mlp = MLP(settings.d_model, settings.d_ff, activation)
        self.norm_2 = LayerNorm(settings.d_model, settings.norm_eps)
        self.pre_norm = pre_norm

    def forward(
        self, x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T C"]:
        if self.pre_norm:
            x = x + self.attention(self.norm_1(x), padding)
            return x + self.mlp(self.norm_2(x))
        x = self.norm_1(x + self.attention(x, padding))
        return self.norm_2(x + self.mlp(x))


class MaskedLMHead(nn.Module):
    """Score every token as the one that was hidden: transform, then compare with the table."""

    def __init__(
        self, settings: EncoderSettings, width: int, activation: Activation = F.gelu
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(settings.d_model, width)
        self.activation = activation
        self.norm = LayerNorm(width, settings.norm_eps)
        self.bias = nn.Parameter(torch.zeros(settings.vocab_size))

    def forward(
        self, hidden: Float[Tensor, "*B C"], table: Float[Tensor, "V E"]
    ) -> Float[Tensor, "*B V"]:
        return F.linear(self.norm(self.activation(self.dense(hidden))), table, self.bias)


class Pooler(nn.Module):
    """One vector for the whole text: what the first token, [CLS], has become, by tanh."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.dense = nn.Linear(d_model, d_model)

    def forward(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B C"]:
        return self.dense(hidden[:, 0]).tanh()


def init_encoder_weights(model: nn.Module, std: float = 0.02) -> None:
    """Draw all matrices from N(0, std) and set biases to 0; the norms stay as they are."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim >= 2:
            nn.init.normal_(parameter, std=std)
