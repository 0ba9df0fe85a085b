"""What training makes small: the surprise at the next token."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def next_token_loss(logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Average the surprise -log p(target) over all tokens, in nats.

    >>> import torch
    >>> next_token_loss(torch.zeros(1, 1, 4), torch.tensor([[2]]))      # four equal chances: log 4
    tensor(1.3863)
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """Turn the total surprise over a text into bits per byte, which models with different tokens share.

    >>> bits_per_byte(nats=math.log(2) * 30, n_bytes=10)
    3.0
    """
    if n_bytes < 1:
        raise ValueError(f"bits per byte of a text of {n_bytes} bytes")
    return nats / math.log(2) / n_bytes
