"""Tokens in, tokens out: one table of vectors serves both ends of the model."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class Embedding(nn.Embedding):
    """A table of `d_model` numbers per token: looked up on the way in, compared on the way out.

    `table(ids)` turns tokens into vectors. `table.logits(x)` scores every token by the dot product
    of its row with `x`: the "tied head", which saves a second table (Press and Wolf 2017, arXiv
    1608.05859).
    """

    def logits(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Score each of the `V` tokens as the next one."""
        return F.linear(x, self.weight)

    @torch.no_grad()
    def neighbours(self, k: int) -> Int[Tensor, "V k"]:
        """Name for each token the `k` others whose rows are most similar (cosine), nearest first.

        >>> table = Embedding.from_pretrained(torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 1.0]]))
        >>> table.neighbours(1).flatten().tolist()      # row 2 is long, but points along row 0
        [2, 2, 0]
        """
        if not 1 <= k < len(self.weight):
            raise ValueError(
                f"{k} neighbours among {len(self.weight)} rows, which have {len(self.weight) - 1}"
                " others"
            )
        directions = F.normalize(self.weight, dim=-1)
        return (directions @ directions.T).fill_diagonal_(-torch.inf).topk(k).indices


def check_ids(ids: Int[Tensor, "..."], vocab_size: int) -> None:
    """Raise a ValueError that names the numbers if a token is outside the vocabulary.

    >>> check_ids(torch.tensor([[1, 7]]), vocab_size=5)
    Traceback (most recent call last):
    ValueError: token 7 is outside the vocabulary of 5 tokens (0 to 4)
    """
    if ids.numel() and not (0 <= ids.min() and ids.max() < vocab_size):
        worst = ids.max() if ids.max() >= vocab_size else ids.min()
        raise ValueError(
            f"token {worst} is outside the vocabulary of {vocab_size} tokens (0 to"
            f" {vocab_size - 1})"
        )
