"""What training makes small: the surprise at the next token."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.embedding import check_ids


def logsumexp(logits: Float[Tensor, "*B V"]) -> Float[Tensor, "*B"]:
    """Compute z = log(sum(exp(logits))), the log of what softmax divides by, without overflow.

    >>> import torch
    >>> logsumexp(torch.tensor([1000.0] * 4))       # 1000 + log 4, where exp(1000) is inf
    tensor(1001.3863)
    """
    best = logits.detach().amax(-1)
    best = best.masked_fill(best.isinf(), 0.0)      # all -inf: the sum is 0, not NaN
    return best + (logits - best[..., None]).exp().sum(-1).log()


def log_softmax(logits: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
    """Turn scores into the logs of chances: the scores less their `logsumexp`.

    The maximum is taken off first, which changes nothing but the rounding: no exp overflows, and large scores keep
    their digits. No log of 0 is taken, however small the chance.

    >>> import torch
    >>> log_softmax(torch.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def cross_entropy(logits: Float[Tensor, "*B V"], targets: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Compute the surprise -log p(target) at every token, in nats. Its gradient by the logits is p - one_hot(target).

    >>> import torch
    >>> cross_entropy(torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor(1))      # log 4
    tensor(1.3863)
    """
    check_ids(targets, logits.shape[-1])
    return -log_softmax(logits).gather(-1, targets.long()[..., None])[..., 0]


def next_token_loss(logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Average the surprise -log p(target) over all tokens, in nats: the mean of `cross_entropy`, by PyTorch's own code.

    >>> import torch
    >>> next_token_loss(torch.zeros(1, 1, 4), torch.tensor([[2]]))      # four equal chances: log 4
    tensor(1.3863)
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]       # (model, inputs, targets) -> what training makes small


def next_token(model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The objective of every language model that reads from left to right: `next_token_loss` of its logits."""
    return next_token_loss(model(inputs), targets)


def perplexity(nats: float, n_tokens: int) -> float:
    """Turn the total surprise over a text into the number of equally likely tokens that would surprise as much.

    Only models with the same tokens can be compared by it; for others see `bits_per_byte`.

    >>> round(perplexity(nats=math.log(4) * 30, n_tokens=30), 6)
    4.0
    """
    if n_tokens < 1:
        raise ValueError(f"perplexity of a text of {n_tokens} tokens")
    return math.exp(nats / n_tokens)


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """Turn the total surprise over a text into bits per byte, which models with different tokens share.

    >>> bits_per_byte(nats=math.log(2) * 30, n_bytes=10)
    3.0
    """
    if n_bytes < 1:
        raise ValueError(f"bits per byte of a text of {n_bytes} bytes")
    return nats / math.log(2) / n_bytes
