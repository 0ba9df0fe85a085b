"""Experts spread over processes: tokens travel to their experts, and what these make of them back.

Expert parallelism (GShard, Lepikhin et al. 2020, arXiv 2006.16668; DeepSeek-V3, arXiv 2412.19437,
section 3.2). Each rank has tokens of its own and every N-th part of the experts: rank r those from
r E / N on. A token is sent to a rank once, however many experts it visits there, and comes back
once, as the sum of what they made of it. So a limit to few ranks (`limit_groups`) limits what is
sent. `group` is the processes that share the experts, None for all. Alone, nothing travels.

How ours differs from the paper's: one all-to-all per direction; theirs goes over the network to a
node once, then within it to the experts, while other tokens are computed, and sends in FP8.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from course_lib.layers.moe import Experts, Routing, experts_sorted
from course_lib.layers.tensor_parallel import Group, even_share, rank_and_size

ID_BYTES = 8  # of an expert's number on its way


class Journeys(NamedTuple):
    """Who travels: `token[i]` goes on journey i, in order of the ranks; how many go and come."""

    token: Int[Tensor, "J"]
    sent: list[int]  # journeys from here to each rank
    come: list[int]  # and from each rank to here


def visited_ranks(chosen: Int[Tensor, "N K"], n_experts: int, n_ranks: int) -> Bool[Tensor, "N R"]:
    """Mark the ranks that each token visits: those that hold its experts.

    >>> visited_ranks(torch.tensor([[0, 1], [1, 2]]), n_experts=4, n_ranks=2).int()
    tensor([[1, 0],
            [1, 1]], dtype=torch.int32)
    """
    owner = chosen // even_share("n_experts", n_experts, n_ranks)
    visits = torch.zeros(len(chosen), n_ranks, dtype=torch.bool, device=chosen.device)
    return visits.scatter(1, owner, True)


def journey_bytes(d_model: int, n_chosen: int, bytes_per_number: int = 4) -> dict[str, int]:
    """Count the bytes of one token's journey to a rank and back, in both passes of a step.

    There it takes its numbers, its experts' and their weights; back come the numbers. In the
    backward pass the gradients of all that travel the other way.

    >>> journey_bytes(d_model=64, n_chosen=2)
    {'dispatch': 280, 'combine': 256, 'backward': 520}
    """
    row, weights = d_model * bytes_per_number, n_chosen * 4
    return {
        "dispatch": row + weights + n_chosen * ID_BYTES,
        "combine": row,
        "backward": 2 * row + weights,
    }


class AllToAll(torch.autograd.Function):
    """Send rows to all ranks and receive theirs; gradients go back the way the rows came."""

    @staticmethod
    def forward(ctx, rows: Tensor, sent: list[int], come: list[int], group: Group) -> Tensor:
        ctx.sent, ctx.come, ctx.group = sent, come, group
        return send_rows(rows, sent, come, group)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return send_rows(grad, ctx.come, ctx.sent, ctx.group), None, None, None


def send_rows(
    rows: Shaped[Tensor, "J *C"], sent: list[int], come: list[int], group: Group = None
) -> Shaped[Tensor, "I *C"]:
    """Send the first `sent[0]` rows to rank 0, the next to rank 1; what comes, rank by rank."""
    if rank_and_size(group)[1] == 1:
        return rows
    arrived = rows.new_empty(sum(come), *rows.shape[1:])
    dist.all_to_all_single(arrived, rows.contiguous(), come, sent, group=group)
    return arrived


def plan_journeys(chosen: Int[Tensor, "N K"], n_experts: int, group: Group = None) -> Journeys:
    """Find out which tokens go where, and tell the other ranks how many come to them."""
    visits = visited_ranks(chosen, n_experts, rank_and_size(group)[1])
    token = visits.T.nonzero()[:, 1]  # by rank, then by token
    sent = visits.sum(0)
    one_each = [1] * len(sent)
    come = send_rows(sent, one_each, one_each, group)
    return Journeys(token, sent.tolist(), come.tolist())


def experts_of_ranks(
    x: Float[Tensor, "N C"],
    chosen: Int[Tensor, "N K"],
    weights: Float[Tensor, "N K"],
    gate_up: Float[Tensor, "E F2 C"],
    down: Float[Tensor, "E C F"],
    group: Group = None,
) -> Float[Tensor, "N C"]:
    """Do what `experts_sorted` does, where each rank has its own tokens and its share of experts.

    All ranks must call it. `gate_up` and `down` are this rank's experts; `chosen` counts all.
    """
    rank, n_ranks = rank_and_size(group)
    token, sent, come = plan_journeys(chosen, len(down) * n_ranks, group)
    rows = AllToAll.apply(x[token], sent, come, group)
    weights = AllToAll.apply(weights[token], sent, come, group)
    expert = send_rows(chosen[token], sent, come, group) - rank * len(down)
    row, slot = ((expert >= 0) & (expert < len(down))).nonzero(as_tuple=True)
    visit = expert[row, slot][:, None], weights[row, slot][:, None]
    made = torch.zeros_like(rows).index_add(
        0, row, experts_sorted(rows[row], *visit, gate_up, down)
    )
    back = AllToAll.apply(made, come, sent, group)
    return torch.zeros_like(x).index_add(0, token, back)


class ParallelExperts(nn.Module):
    """This rank's share of `Experts`, made from all of them; all ranks use theirs at once.

    Raises ValueError where the ranks don't divide the experts, and for clamped ones (V4's).
    """

    def __init__(self, experts: Experts, group: Group = None) -> None:
        super().__init__()
        if experts.limit is not None:
            raise ValueError(f"experts clamped at {experts.limit} cannot be spread over processes")
        self.group, self.n_experts = group, len(experts.down)
        rank, n_ranks = rank_and_size(group)
        share = even_share("n_experts", self.n_experts, n_ranks)
        own = slice(rank * share, (rank + 1) * share)
        self.gate_up = nn.Parameter(experts.gate_up.detach()[own].clone())
        self.down = nn.Parameter(experts.down.detach()[own].clone())

    def forward(self, x: Float[Tensor, "*B C"], routing: Routing) -> Float[Tensor, "*B C"]:
        """Sum for each token its experts' outputs times their weights, wherever they are."""
        visits = (table.flatten(0, -2) for table in (x, routing.chosen, routing.weights))
        matrices = local_part(self.gate_up), local_part(self.down)
        return experts_of_ranks(*visits, *matrices, self.group).view_as(x)


def local_part(parameter: Tensor) -> Tensor:
    """Give what this process holds of a parameter that may be sliced (a DTensor)."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter
