"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): half of BERT's layers, taught by BERT."""

from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.models.bert import BERT, BERTSettings


@dataclass(frozen=True)
class DistilBERTSettings(BERTSettings):
    """The numbers of a DistilBERT: six layers, no segments, no next-sentence prediction."""

    n_layers: int = 6
    n_segments: int = 0
    nsp: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nsp or self.pre_norm or self.n_segments:
            what = f"nsp {self.nsp}, pre_norm {self.pre_norm}, n_segments {self.n_segments}"
            raise ValueError(f"{what}: a DistilBERT has none of them")


DISTILBERT_BASE = DistilBERTSettings()  # 66,985,530 parameters
DISTILBERT_LAYERS = (0, 2, 4, 7, 9, 11)  # of the teacher: those that its release begins with


class DistilBERT(BERT):
    """Fill in hidden words with fewer layers: no segments, no pooler; the rest is BERT's."""

    settings: DistilBERTSettings


def student_of(teacher: BERT, layers: Sequence[int]) -> DistilBERT:
    """Build a DistilBERT that begins with some of the teacher's layers, its tables and its head.

    Segment 0's row is added to every place, so that with all layers the student says what the
    teacher says. Source: section 3. Differs from the release, which drops the segments' rows.
    """
    theirs = teacher.settings
    if not layers or not all(0 <= layer < theirs.n_layers for layer in layers):
        raise ValueError(f"layers {list(layers)} of a teacher that has {theirs.n_layers}")
    student = DistilBERT(
        DistilBERTSettings(
            theirs.vocab_size, theirs.max_seq_len, theirs.d_model, len(layers), theirs.n_heads,
            theirs.d_ff, theirs.norm_eps, theirs.pad_token,
        )
    )  # fmt: skip
    for part in ("embedding", "mlm_head"):
        weights = getattr(teacher, part).state_dict()
        segments = weights.pop("segment.weight", None)
        if segments is not None:
            weights["position.weight"] = weights["position.weight"] + segments[0]
        getattr(student, part).load_state_dict(weights)
    for block, layer in zip(student.blocks, layers, strict=True):
        block.load_state_dict(teacher.blocks[layer].state_dict())
    return student
