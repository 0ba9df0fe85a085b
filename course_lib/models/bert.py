"""BERT (Devlin et al. 2018, arXiv 1810.04805): an encoder that fills in hidden words.

Megatron-LM's BERT (arXiv 1909.08053), which norms before each part, is a setting of it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import check_length
from course_lib.layers.norm import LayerNorm
from course_lib.models.encoder import (
    EncoderBlock,
    EncoderEmbedding,
    EncoderSettings,
    MaskedLMHead,
    Pooler,
    init_encoder_weights,
)


@dataclass(frozen=True)
class BERTSettings(EncoderSettings):
    """The numbers that make one BERT differ from another.

    `nsp` False leaves out the second task, next-sentence prediction, and the pooler with it.
    `pre_norm` is Megatron's: each part norms what it reads, the end is normed, the sum of the
    embeddings is not.
    """

    n_segments: int = 2
    nsp: bool = True
    pre_norm: bool = False


BERT_BASE = BERTSettings()  # 110,106,428 parameters
BERT_LARGE = BERTSettings(d_model=1024, n_layers=24, n_heads=16)  # 336,226,108
MEGATRON_BERT_345M = BERTSettings(  # 334,723,458
    vocab_size=29056, d_model=1024, n_layers=24, n_heads=16, pre_norm=True
)


class BERTEncoder(nn.Module):
    """Read a text from both sides: `model(ids)` gives a vector per token.

    `segments` tells sentence 0 from sentence 1, `padding` is True where there is no token. What
    comes out at padding means nothing.
    """

    def __init__(self, settings: BERTSettings) -> None:
        super().__init__()
        self.settings = settings
        self.embedding = self.build_embedding()
        self.blocks = nn.ModuleList(
            EncoderBlock(settings, pre_norm=settings.pre_norm) for _ in range(settings.n_layers)
        )
        self.norm = LayerNorm(settings.d_model, settings.norm_eps) if settings.pre_norm else None
        self.pooler = Pooler(settings.d_model) if settings.nsp else None
        init_encoder_weights(self)

    def build_embedding(self) -> EncoderEmbedding:
        """Build the tables that a token, its place and its segment are looked up in."""
        s = self.settings
        return EncoderEmbedding(s, s.d_model, s.n_segments, normed=not s.pre_norm)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        return self.hidden(ids, segments, padding)

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the tokens: what stands in the stream after the last block."""
        x = self.embedding(ids, self.positions(ids), segments)
        for block in self.blocks:
            x = block(x, padding)
        return x if self.norm is None else self.norm(x)

    def positions(self, ids: Int[Tensor, "B T"]) -> Int[Tensor, "*B T"]:
        """Number the columns from 0, padding too. Raises ValueError for too many."""
        check_length(ids, self.settings.max_seq_len)
        return torch.arange(ids.shape[1], device=ids.device)


class BERT(BERTEncoder):
    """Fill in hidden words, and tell whether one text follows the other.

    `model(ids)` scores every token at every place; only the scores where a word was hidden are
    trained. Source: section 3.1, tasks 1 and 2.
    """

    def __init__(self, settings: BERTSettings) -> None:
        super().__init__(settings)
        self.mlm_head = MaskedLMHead(settings, settings.d_model)
        self.nsp_head = nn.Linear(settings.d_model, 2) if settings.nsp else None
        init_encoder_weights(self)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(ids, segments, padding))

    def logits(self, hidden: Float[Tensor, "*B C"]) -> Float[Tensor, "*B V"]:
        """Score every token as the hidden one, by the same table that reads them."""
        return self.mlm_head(hidden, self.embedding.token.weight)

    def pair_logits(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B 2"]:
        """Score "the second text follows the first" (class 0) and "it does not" (class 1)."""
        if self.nsp_head is None:
            raise ValueError("this model has no next-sentence head: its settings say nsp=False")
        return self.nsp_head(self.pooler(hidden))


def sentence_vectors(
    hidden: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"] | None = None
) -> Float[Tensor, "B C"]:
    """Average the vectors of each row's tokens, to length 1: the dot product is the cosine.

    Source: Reimers and Gurevych 2019, Sentence-BERT (arXiv 1908.10084), section 3.

    >>> hidden = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [9.0, 9.0]]])
    >>> sentence_vectors(hidden, torch.tensor([[False, False, True]]))
    tensor([[0.6000, 0.8000]])
    """
    real = hidden.new_ones(hidden.shape[:2]) if padding is None else (~padding).to(hidden.dtype)
    return F.normalize((hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True), dim=-1)
