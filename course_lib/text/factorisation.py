"""In which order a row's tokens are predicted: XLNet's permutations; and control codes, CTRL's."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.text.batches import cut_into_pieces


class OrderedTargets(NamedTuple):
    """Which tokens of each row are predicted, and who may not hear whom on the way."""

    unseen: Bool[Tensor, "N T T"]  # [n, i, j]: token i may not hear token j
    targets: Int[Tensor, "N K"]  # columns, in the order in which they are predicted
    labels: Int[Tensor, "N K"]  # the tokens there


def unseen_in_order(rank: Int[Tensor, "N T"]) -> Bool[Tensor, "N T T"]:
    """Hide from each token those that do not come before it; rank -1 is before all, and together.

    >>> unseen_in_order(torch.tensor([[1, -1, 0]])).int()       # token 1, then 2, then 0
    tensor([[[1, 0, 0],
             [1, 0, 1],
             [1, 0, 1]]], dtype=torch.int32)
    """
    return (rank[:, None, :] >= rank[:, :, None]) & (rank >= 0)[:, None, :]


def partial_prediction(
    ids: Int[Tensor, "N T"],
    maskable: Bool[Tensor, "N T"],
    n_targets: int,
    generator: torch.Generator,
) -> OrderedTargets:
    """Draw an order for each row, and predict the last `n_targets` tokens of it.

    All other tokens hear each other and no target; a target hears them and the targets before it.
    Only `maskable` tokens are targets. The paper predicts a sixth of a row. Source: XLNet (arXiv
    1906.08237), section 2.3. Differs from the release: targets are single tokens, not spans.
    """
    fewest = int(maskable.sum(-1).min())
    if not 1 <= n_targets <= fewest:
        raise ValueError(f"n_targets {n_targets} is not between 1 and {fewest}, what a row has")
    scores = torch.rand(ids.shape, generator=generator).masked_fill(~maskable, -1.0)
    targets = scores.topk(n_targets, dim=-1).indices
    rank = torch.full_like(ids, -1).scatter(1, targets, torch.arange(n_targets).expand_as(targets))
    return OrderedTargets(unseen_in_order(rank), targets, ids.gather(1, targets))


def coded_pieces(documents: Iterable[tuple[int, Sequence[int]]], length: int) -> list[list[int]]:
    """Cut documents into pieces of at most `length` tokens, each behind its document's code.

    A document is a pair of its control code and its tokens. Source: CTRL (arXiv 1909.05858),
    section 3.

    >>> coded_pieces([(9, [1, 2, 3]), (8, [4])], length=3)
    [[9, 1, 2], [9, 3], [8, 4]]
    """
    if length < 2:
        raise ValueError(f"length {length} has no room for a code and a token")
    return [
        [code, *piece]
        for code, tokens in documents
        for piece in cut_into_pieces(list(tokens), length - 1)
    ]
