"""ALBERT (Lan et al. 2019, arXiv 1909.11942): BERT with one layer's weights for all layers."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import check_length
from course_lib.layers.mlp import FUSED_GELU_TANH
from course_lib.models.encoder import (
    EncoderBlock,
    EncoderEmbedding,
    EncoderSettings,
    MaskedLMHead,
    Pooler,
    init_encoder_weights,
)


@dataclass(frozen=True)
class ALBERTSettings(EncoderSettings):
    """The numbers that make one ALBERT differ from another; the defaults are base, version 2.

    Tokens are looked up in a table `d_embedding` wide and widened to `d_model`. The layers are cut
    into `n_hidden_groups`; those of a group share their weights, which are `n_inner` blocks, run
    one after the other. `exact_gelu` is version 1's.
    """

    vocab_size: int = 30000
    d_embedding: int = 128
    n_hidden_groups: int = 1
    n_inner: int = 1
    n_segments: int = 2
    exact_gelu: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_hidden_groups > self.n_layers:
            raise ValueError(
                f"n_hidden_groups {self.n_hidden_groups} is more than n_layers {self.n_layers}"
            )


ALBERT_BASE = ALBERTSettings()  # 11,813,810 parameters, 11,683,584 without the two heads
ALBERT_LARGE = ALBERTSettings(d_model=1024, n_layers=24, n_heads=16)  # 17,847,474
ALBERT_XLARGE = ALBERTSettings(d_model=2048, n_layers=24, n_heads=32)  # 59,021,490
ALBERT_XXLARGE = ALBERTSettings(d_model=4096, n_layers=12, n_heads=64)  # 223,158,450


class ALBERT(nn.Module):
    """Fill in hidden words, and tell whether two texts stand in their order.

    Three changes to BERT: the table of tokens is factorised (section 3.1), layers share their
    weights, so that depth costs time but no parameters, and the second task is sentence order.
    `segments` and `padding` are as in `BERT`.
    """

    def __init__(self, settings: ALBERTSettings) -> None:
        super().__init__()
        self.settings = s = settings
        activation = F.gelu if s.exact_gelu else FUSED_GELU_TANH
        self.embedding = EncoderEmbedding(s, s.d_embedding, s.n_segments)
        self.widen = nn.Linear(s.d_embedding, s.d_model)
        self.groups = nn.ModuleList(
            nn.ModuleList(EncoderBlock(s, activation) for _ in range(s.n_inner))
            for _ in range(s.n_hidden_groups)
        )
        self.pooler = Pooler(s.d_model)
        self.mlm_head = MaskedLMHead(s, s.d_embedding, activation)
        self.sop_head = nn.Linear(s.d_model, 2)
        init_encoder_weights(self)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(ids, segments, padding))

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the tokens: what stands in the stream after the last layer."""
        check_length(ids, self.settings.max_seq_len)
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.widen(self.embedding(ids, positions, segments))
        for layer in range(self.settings.n_layers):
            for block in self.groups[self.group_of(layer)]:
                x = block(x, padding)
        return x

    def group_of(self, layer: int) -> int:
        """Tell whose weights a layer has: the groups are runs of layers, as equal as can be.

        As in transformers, the division is one of floats.
        """
        return int(layer / (self.settings.n_layers / self.settings.n_hidden_groups))

    def logits(self, hidden: Float[Tensor, "*B C"]) -> Float[Tensor, "*B V"]:
        """Score every token as the hidden one, `d_embedding` numbers against the table's."""
        return self.mlm_head(hidden, self.embedding.token.weight)

    def pair_logits(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B 2"]:
        """Score "the two texts stand in their order" (class 0) and "they are swapped" (class 1)."""
        return self.sop_head(self.pooler(hidden))
