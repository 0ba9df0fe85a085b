"""How well does a model know a text? Bits per byte, one measure for everything that predicts.

Whoever predicts a text well can write it down in few bits (Shannon 1948): each symbol costs -log2
of the probability it was given. Dividing the sum by the bytes of the text makes models with
different tokens comparable, and compressors too.
"""

import math
from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.layers.precision import at_least_float32

DocumentScorer = Callable[[str], float]  # the bits that a model needs to write down one document


def evaluate_bits_per_byte(scorer: DocumentScorer, documents: Sequence[str]) -> float:
    """Score any predictor on held-out documents: all bits it needs by all bytes (UTF-8).

    >>> evaluate_bits_per_byte(lambda document: 16.0, ["ab", "cd"])
    8.0
    """
    n_bytes = sum(len(document.encode()) for document in documents)
    if not n_bytes:
        raise ValueError(f"{len(documents)} documents hold no text to score")
    return sum(map(scorer, documents)) / n_bytes


def transformer_scorer(
    model: nn.Module,
    tokenizer,
    start_token: str,
    stride: int | None = None,
    allowed_special: Collection[str] | str = (),
) -> DocumentScorer:
    """Make a scorer of a language model, which reads each document after `start_token`.

    For `stride` see `sequence_nats`. A special token in a document is plain text unless it is in
    `allowed_special`, as in `tokenizer.encode`.
    """

    def bits(document: str) -> float:
        ids = tokenizer.encode(start_token, allowed_special="all")
        ids += tokenizer.encode(document, allowed_special)
        device = next(model.parameters()).device
        return sequence_nats(model, torch.tensor(ids, device=device), stride) / math.log(2)

    return bits


@torch.no_grad()
def sequence_nats(model: nn.Module, ids: Int[Tensor, "T"], stride: int | None = None) -> float:
    """Add up the model's surprise, in nats, at every token of `ids` but the first.

    A text longer than the context is read in windows, each `stride` further on (half a context
    unless told). Every token is counted once, in the first window that holds it; so all but the
    first few have at least `max_seq_len - stride` tokens before them.
    """
    room = model.settings.max_seq_len
    stride = max(1, room // 2) if stride is None else stride
    if not 1 <= stride <= room:
        raise ValueError(f"stride {stride} is not between 1 and max_seq_len {room}")
    if len(ids) < 2:
        return 0.0
    inputs, targets = strided_windows(
        ids, length=min(room, len(ids) - 1), stride=min(stride, len(ids) - 1)
    )
    total = 0.0
    for x, y in zip(inputs.split(16), targets.split(16), strict=True):
        # in bfloat16 a sum of 256 nats takes up no more of 0.5
        logits = at_least_float32(model(x)).flatten(0, 1)
        total += F.cross_entropy(logits, y.flatten(), ignore_index=-100, reduction="sum").item()
    return total


def strided_windows(
    ids: Int[Tensor, "T"], length: int, stride: int
) -> tuple[Int[Tensor, "N L"], Int[Tensor, "N L"]]:
    """Cut a text into overlapping windows.

    A target that an earlier window has counted, or that is padding, is -100.

    >>> strided_windows(torch.tensor([0, 1, 2, 3, 4]), length=3, stride=2)[1]
    tensor([[   1,    2,    3],
            [-100,    4, -100]])
    """
    n_targets = len(ids) - 1
    n_windows = 1 + max(0, math.ceil((n_targets - length) / stride))
    missing = (n_windows - 1) * stride + length - n_targets
    inputs = F.pad(ids[:-1], (0, missing)).unfold(0, length, stride)
    targets = F.pad(ids[1:], (0, missing), value=-100).unfold(0, length, stride).clone()
    targets[1:, : length - stride] = -100
    return inputs, targets
