"""RoBERTa (Liu et al. 2019, arXiv 1907.11692): BERT, trained longer on more, without NSP."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn

from course_lib.layers.attention import check_length
from course_lib.models.bert import BERT, BERTSettings
from course_lib.models.encoder import EncoderEmbedding


@dataclass(frozen=True)
class RoBERTaSettings(BERTSettings):
    """The numbers of a RoBERTa: GPT-2's tokens, one segment, no next-sentence prediction.

    Places are counted from `pad_token + 1`: the table has `pad_token + 1` rows more than
    `max_seq_len`.
    """

    vocab_size: int = 50265
    norm_eps: float = 1e-5
    pad_token: int = 1
    n_segments: int = 1
    nsp: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nsp or self.pre_norm:
            raise ValueError(f"nsp {self.nsp}, pre_norm {self.pre_norm}: a RoBERTa has neither")

    @property
    def n_positions(self) -> int:
        """Count the rows of the table of places: 514 for 512 tokens."""
        return self.max_seq_len + self.pad_token + 1


ROBERTA_BASE = RoBERTaSettings()  # 124,697,433 parameters
ROBERTA_LARGE = RoBERTaSettings(d_model=1024, n_layers=24, n_heads=16)  # 355,412,057


class RoBERTa(BERT):
    """Fill in hidden words: the network is BERT's, but for how places are counted.

    A token of `pad_token` has no place, whatever `padding` says, and the others are counted without
    it; so a row's places do not depend on the side that it is padded on. As in the release.
    """

    settings: RoBERTaSettings

    def build_embedding(self) -> EncoderEmbedding:
        s = self.settings
        embedding = EncoderEmbedding(s, s.d_model, s.n_segments, s.n_positions)
        embedding.position = nn.Embedding(s.n_positions, s.d_model, padding_idx=s.pad_token)
        return embedding

    def positions(self, ids: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        """Number each row's tokens from `pad_token + 1`; padding has the number `pad_token`."""
        check_length(ids, self.settings.max_seq_len)
        real = (ids != self.settings.pad_token).long()
        return real.cumsum(1) * real + self.settings.pad_token
