"""What training makes small: the surprise at the next token; what each loss is a mean over."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.embedding import check_ids
from course_lib.text.batches import IGNORE_INDEX


class LossSum(NamedTuple):
    """A loss before the division: its sum, and how many tokens, pairs or others it is over.

    Sums and counts of the parts of a batch add up to those of the whole one, however it is cut;
    means do not. A loss that looks at a whole batch at once has its name in `whole_batch`: a batch
    is then not to be cut.

    >>> import torch
    >>> LossSum(torch.tensor(6.0), 3).mean
    tensor(2.)
    """

    total: Float[Tensor, ""]
    count: int | Int[Tensor, ""]
    whole_batch: str = ""

    @property
    def mean(self) -> Float[Tensor, ""]:
        """Divide the sum by what it is over."""
        return self.total / self.count

    def plus(self, extra: Float[Tensor, ""]) -> "LossSum":
        """Add `extra` to the mean, such as a penalty that no row of the batch has a share in."""
        return self._replace(total=self.total + extra * self.count)

    def backward(self) -> None:
        """Add the gradient of the mean to the parameters, as the backward of any loss does."""
        self.mean.backward()


def logsumexp(logits: Float[Tensor, "*B V"]) -> Float[Tensor, "*B"]:
    """Compute z = log(sum(exp(logits))), the log of what softmax divides by, without overflow.

    >>> import torch
    >>> logsumexp(torch.tensor([1000.0] * 4))       # 1000 + log 4, where exp(1000) is inf
    tensor(1001.3863)
    """
    best = logits.detach().amax(-1)
    best = best.masked_fill(best.isinf(), 0.0)  # all -inf: the sum is 0, not NaN
    return best + (logits - best[..., None]).exp().sum(-1).log()


def log_softmax(logits: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
    """Turn scores into log-probabilities: the scores less their `logsumexp`.

    The maximum is taken off first, which changes nothing but the rounding: no exp overflows, and
    large scores keep their digits. No log of 0 is taken, however small the probability.

    >>> import torch
    >>> log_softmax(torch.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def cross_entropy(logits: Float[Tensor, "*B V"], targets: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Compute the surprise -log p(target) at every token, in nats.

    Its gradient by the logits is p - one_hot(target).

    >>> import torch
    >>> cross_entropy(torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor(1))      # log 4
    tensor(1.3863)
    """
    check_ids(targets, logits.shape[-1])
    return -log_softmax(logits).gather(-1, targets.long()[..., None])[..., 0]


def next_token_loss(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Average the surprise -log p(target) over all tokens, in nats.

    It is the mean of `cross_entropy`, by PyTorch's own code.

    >>> import torch
    >>> next_token_loss(torch.zeros(1, 1, 4), torch.tensor([[2]]))      # four equally likely: log 4
    tensor(1.3863)
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def next_token_loss_sum(logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]) -> LossSum:
    """Add up the surprise at all targets that count, in nats: `next_token_loss` undivided.

    Where no target counts the sum is 0, and so is its gradient; the mean would be NaN.
    """
    total = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=IGNORE_INDEX
    )
    return LossSum(total, (targets != IGNORE_INDEX).sum())


# (model, inputs, targets) -> what training makes small. A plain number is taken for a mean over the
# rows of the batch.
Objective = Callable[[nn.Module, Tensor, Tensor], LossSum | Tensor]


def next_token_objective(
    model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]
) -> LossSum:
    """The objective of every left-to-right language model: a mean over the targets that count."""
    return next_token_loss_sum(model(inputs), targets)


def objective_of_logits(loss_of: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    """Make an objective of `loss_of(logits, targets)`, a mean over targets that are not IGNORE."""

    def objective(model: nn.Module, inputs: Tensor, targets: Tensor) -> LossSum:
        logits, count = model(inputs), (targets != IGNORE_INDEX).sum()
        # Without a target the mean may be 0 / 0, which no factor of 0 would heal: the gradient is
        # NaN as well.
        return LossSum(loss_of(logits, targets) * count if count else logits.sum() * 0.0, count)

    return objective


def as_loss_sum(loss: object, n_rows: int) -> LossSum:
    """Take a plain number for a mean over the `n_rows` of its batch; a `LossSum` says its own."""
    if isinstance(loss, LossSum):
        return loss
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        found = type(loss).__name__
        if isinstance(loss, Tensor):
            found = f"a tensor of shape {tuple(loss.shape)}"
        raise TypeError(f"an objective gives a LossSum or one number, not {found}")
    return LossSum(loss.squeeze() * n_rows, n_rows)


def perplexity(nats: float, n_tokens: int) -> float:
    """Turn the surprise over a text into a number of equally likely tokens that surprise as much.

    Only models with the same tokens can be compared by it; for others see `bits_per_byte`.

    >>> round(perplexity(nats=math.log(4) * 30, n_tokens=30), 6)
    4.0
    """
    if n_tokens < 1:
        raise ValueError(f"perplexity of a text of {n_tokens} tokens")
    return math.exp(nats / n_tokens)


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """Turn the surprise over a text into bits per byte.

    Models with different tokens share this measure.

    >>> bits_per_byte(nats=math.log(2) * 30, n_bytes=10)
    3.0
    """
    if n_bytes < 1:
        raise ValueError(f"bits per byte of a text of {n_bytes} bytes")
    return nats / math.log(2) / n_bytes
