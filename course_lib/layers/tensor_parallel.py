"""Layers split over processes: each holds some columns, rows or tokens of a weight.

Megatron-LM (Shoeybi et al. 2019, arXiv 1909.08053, section 3). A column-parallel layer, then a
row-parallel one, need one sum over the ranks on the way forward (g) and one on the way back (f).
`group` is the processes that share a layer, None for all. Alone, every layer is an ordinary one.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.embedding import check_ids

Group = dist.ProcessGroup | None


def rank_and_size(group: Group = None) -> tuple[int, int]:
    """Tell which process of the group this is, and how many there are; (0, 1) without any."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(group), dist.get_world_size(group)


def even_share(name: str, width: int, n_ranks: int) -> int:
    """Divide a width among the ranks.

    >>> even_share("d_ff", 6, 4)
    Traceback (most recent call last):
    ValueError: d_ff 6 is not divisible by 4 ranks
    """
    if width % n_ranks:
        raise ValueError(f"{name} {width} is not divisible by {n_ranks} ranks")
    return width // n_ranks


def sum_of_ranks(x: Float[Tensor, "..."], group: Group) -> Float[Tensor, "..."]:
    """Add up a tensor over the group, without a gradient; the argument stays as it is."""
    if rank_and_size(group)[1] == 1:
        return x
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


class CopyToRanks(torch.autograd.Function):
    """Megatron's f: nothing on the way forward, a sum over the ranks on the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return sum_of_ranks(grad, ctx.group), None


class SumOverRanks(torch.autograd.Function):
    """Megatron's g: a sum over the ranks on the way forward, nothing on the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, group: Group) -> Tensor:
        return sum_of_ranks(x, group)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def copy_to_ranks(x: Float[Tensor, "..."], group: Group = None) -> Float[Tensor, "..."]:
    """Hand the same tensor to all ranks (f).

    Each rank uses it for its own part, so each has a part of its gradient: backward adds them up.
    """
    return CopyToRanks.apply(x, group)


def sum_over_ranks(x: Float[Tensor, "..."], group: Group = None) -> Float[Tensor, "..."]:
    """Add up the ranks' parts (g).

    Every rank goes on with the whole sum and knows its whole gradient: backward passes it on.
    """
    return SumOverRanks.apply(x, group)


class ColumnParallelLinear(nn.Module):
    """A linear layer of which each rank holds `d_out` / ranks of the outputs.

    In: the whole x. Out: this rank's slice. Raises ValueError where the ranks don't divide `d_out`.
    (Columns of the paper's A in XA; torch stores A transposed, so they are rows of `weight`.)
    """

    def __init__(self, d_in: int, d_out: int, group: Group = None) -> None:
        super().__init__()
        self.group, share = group, even_share("d_out", d_out, rank_and_size(group)[1])
        self.weight = nn.Parameter(torch.empty(share, d_in))
        self.bias = nn.Parameter(torch.zeros(share))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return F.linear(copy_to_ranks(x, self.group), self.weight, self.bias)


class RowParallelLinear(nn.Module):
    """A linear layer of which each rank reads `d_in` / ranks of the inputs.

    In: this rank's slice. Out: the whole output, summed over the ranks. The bias is on every rank
    and is added once, after the sum.
    """

    def __init__(self, d_in: int, d_out: int, group: Group = None) -> None:
        super().__init__()
        self.group, share = group, even_share("d_in", d_in, rank_and_size(group)[1])
        self.weight = nn.Parameter(torch.empty(d_out, share))
        self.bias = nn.Parameter(torch.zeros(d_out))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return sum_over_ranks(F.linear(x, self.weight), self.group) + self.bias


class VocabParallelEmbedding(nn.Module):
    """An embedding of which each rank holds the rows of `vocab_size` / ranks tokens.

    A rank gives zeros for tokens of others, and the sum over the ranks is the look-up. `logits`
    scores this rank's tokens only (the tied head).
    """

    def __init__(self, vocab_size: int, d_model: int, group: Group = None) -> None:
        super().__init__()
        self.group, self.vocab_size = group, vocab_size
        share = even_share("vocab_size", vocab_size, rank_and_size(group)[1])
        self.weight = nn.Parameter(torch.empty(share, d_model))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        check_ids(ids, self.vocab_size)
        local, here = local_ids(ids, len(self.weight), self.group)
        return sum_over_ranks(F.embedding(local, self.weight) * here[..., None], self.group)

    def logits(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T Vr"]:
        """Score the tokens of this rank as the next one."""
        return F.linear(copy_to_ranks(x, self.group), self.weight)


def local_ids(
    ids: Int[Tensor, "*B"], share: int, group: Group = None
) -> tuple[Int[Tensor, "*B"], Tensor]:
    """Number tokens within this rank's rows; which are its own (elsewhere the number is 0)."""
    local = ids - rank_and_size(group)[0] * share
    here = (local >= 0) & (local < share)
    return local.masked_fill(~here, 0), here


def vocab_parallel_cross_entropy(
    logits: Float[Tensor, "*B Vr"], targets: Int[Tensor, "*B"], group: Group = None
) -> Float[Tensor, "*B"]:
    """Compute -log p(target) of logits whose vocabulary is spread over the ranks, in nats.

    Three small reductions, of one number per token each (the largest logit, the sum of
    exponentials, the target's logit), instead of gathering the logits (Megatron-LM, section 3).
    """
    check_ids(targets, logits.shape[-1] * rank_and_size(group)[1])
    best = largest_of_ranks(logits.detach().amax(-1), group)
    shifted = logits - best[..., None]
    total = sum_over_ranks(shifted.exp().sum(-1), group)
    local, here = local_ids(targets, logits.shape[-1], group)
    of_target = shifted.gather(-1, local.long()[..., None])[..., 0] * here
    return total.log() - sum_over_ranks(of_target, group)


def largest_of_ranks(x: Float[Tensor, "..."], group: Group) -> Float[Tensor, "..."]:
    """Take the maximum over the group, without a gradient; changes the argument."""
    if rank_and_size(group)[1] > 1:
        dist.all_reduce(x, dist.ReduceOp.MAX, group=group)
    return x
