"""The experts at work: every token through the few networks it was sent to, quickly.

How ours differs from the paper (DeepSeekMoE, arXiv 2401.06066, equation 9): in the order of the
arithmetic alone.

1. A visit's weight multiplies the hidden numbers, not the output: the last matrix is linear.
2. A single token's experts are copied side by side, and a handful of tokens goes through all
   experts, those not chosen with weight 0: sorting them would take longer.
3. All experts are on one device: nothing is sent, and no expert has a limit beyond which tokens are
   dropped.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.mlp import clamped_swiglu
from course_lib.layers.moe.routing import Routing

# multiplications, or numbers to copy, that are done sooner than tokens are sorted
DENSE_BELOW = 2**20


def gated_silu(wide: Float[Tensor, "*B F2"], limit: float | None = None) -> Float[Tensor, "*B F"]:
    """Let the first half of the numbers gate the second: silu(gate) * up, or `clamped_swiglu`."""
    gate, up = wide.chunk(2, dim=-1)
    return F.silu(gate) * up if limit is None else clamped_swiglu(gate, up, limit)


def experts_by_loop(
    x: Float[Tensor, "N C"],
    chosen: Int[Tensor, "N K"],
    weights: Float[Tensor, "N K"],
    gate_up: Float[Tensor, "E F2 C"],
    down: Float[Tensor, "E C F"],
) -> Float[Tensor, "N C"]:
    """Sum for each token its experts' weighted outputs, expert by expert: the version to read.

    Source: DeepSeekMoE (arXiv 2401.06066), equation 9, the routed part.
    """
    out = torch.zeros_like(x)
    for expert in range(len(gate_up)):
        token, slot = (chosen == expert).nonzero(as_tuple=True)  # the g of eq. 9 that are not 0
        visit = gated_silu(x[token] @ gate_up[expert].T) @ down[expert].T
        out = out.index_add(0, token, (visit * weights[token, slot, None]).to(x.dtype))
    return out


def experts_sorted(
    x: Float[Tensor, "N C"],
    chosen: Int[Tensor, "N K"],
    weights: Float[Tensor, "N K"],
    gate_up: Float[Tensor, "E F2 C"],
    down: Float[Tensor, "E C F"],
    limit: float | None = None,
) -> Float[Tensor, "N C"]:
    """Do what `experts_by_loop` does in two large products, visits to an expert side by side.

    A visit's weight multiplies the hidden numbers, which are fewer than the outputs; `down` is
    linear: it is the same.
    """
    expert, visit = chosen.flatten().sort(stable=True)
    token = visit // chosen.shape[1]
    ends = torch.searchsorted(expert, torch.arange(len(gate_up), device=x.device), right=True)
    hidden = gated_silu(grouped_matmul(x.index_select(0, token), gate_up, ends), limit)
    hidden = hidden * weights.flatten().index_select(0, visit)[:, None]
    return torch.zeros_like(x).index_add(0, token, grouped_matmul(hidden, down, ends).to(x.dtype))


def grouped_matmul(
    rows: Float[Tensor, "M I"], matrices: Float[Tensor, "E O I"], ends: Int[Tensor, "E"]
) -> Float[Tensor, "M O"]:
    """Multiply each group of rows by its own matrix: rows ends[e-1] to ends[e] by matrices[e].T.

    By torch's grouped product where it applies: it wants rows of whole 16 bytes, of 32 bits or
    fewer a number, and one row at least (its backward pass refuses none). It does not follow
    autocast, so we do; it takes rows, matrices and gradients only as they lie without gaps, so we
    lay them out.

    >>> weight = torch.tensor([[[5.0]], [[6.0]], [[7.0]]])
    >>> grouped_matmul(torch.ones(3, 1), weight, ends=torch.tensor([2, 2, 3])).T
    tensor([[5., 5., 7.]])
    """
    kind, dtype = rows.device.type, matrices.dtype
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype
    rows, matrices = rows.to(dtype), matrices.to(dtype)
    whole = all(size * rows.element_size() % 16 == 0 for size in matrices.shape[1:])
    if whole and rows.element_size() <= 4 and len(rows) and hasattr(F, "grouped_mm"):
        out = F.grouped_mm(without_gaps(rows), without_gaps(matrices).mT, offs=ends.to(torch.int32))
        if out.requires_grad:
            # a plain sum sends back one number, expanded to the shape of `out`
            out.register_hook(without_gaps)
        return out
    groups = rows.tensor_split(ends[:-1].cpu())
    return torch.cat([group @ matrix.T for group, matrix in zip(groups, matrices, strict=True)])


def without_gaps(table: Float[Tensor, "*B I"]) -> Float[Tensor, "*B I"]:
    """Lay a table out row by row, copying it only if it lies otherwise.

    `contiguous` alone keeps the stride of a dimension of size 1, as of a single row cut from a
    wider table.
    """
    return table.contiguous().view(-1).view(table.shape)


def experts_dense(
    x: Float[Tensor, "N C"],
    chosen: Int[Tensor, "N K"],
    weights: Float[Tensor, "N K"],
    gate_up: Float[Tensor, "E F2 C"],
    down: Float[Tensor, "E C F"],
    limit: float | None = None,
) -> Float[Tensor, "N C"]:
    """Send every token through every expert, those not chosen with weight 0.

    E / K times the work, but no sorting.
    """
    weight = weights.new_zeros(len(x), len(gate_up)).scatter(1, chosen, weights)
    wide = F.linear(x, gate_up.flatten(0, 1)).unflatten(-1, gate_up.shape[:2])
    hidden = (gated_silu(wide, limit) * weight[..., None]).to(down.dtype)
    return (hidden.transpose(0, 1) @ down.mT).sum(0).to(x.dtype)


def experts_gathered(
    x: Float[Tensor, "1 C"],
    chosen: Int[Tensor, "1 K"],
    weights: Float[Tensor, "1 K"],
    gate_up: Float[Tensor, "E F2 C"],
    down: Float[Tensor, "E C F"],
    limit: float | None = None,
) -> Float[Tensor, "1 C"]:
    """Copy the experts of a single token side by side: one product widens it, one narrows it."""
    expert = chosen.flatten()
    wide = F.linear(x, gate_up.index_select(0, expert).flatten(0, 1)).view(len(expert), 1, -1)
    hidden = (gated_silu(wide, limit) * weights.view(-1, 1, 1)).to(down.dtype)
    return torch.bmm(hidden, down.index_select(0, expert).mT).sum(0).to(x.dtype)


class Experts(nn.Module):
    """The matrices of `n_experts` SwiGLU networks, stacked; with a `limit`, clamped ones.

    `gate_up` is (E, 2 F, C), gate first, and `down` is (E, C, F). The layout is transformers' own.
    Under autocast the products run in its precision, the sum in that of `x`.
    """

    def __init__(
        self, n_experts: int, d_model: int, d_expert: int, limit: float | None = None
    ) -> None:
        super().__init__()
        self.limit = limit
        self.gate_up = nn.Parameter(
            torch.empty(n_experts, 2 * d_expert, d_model).uniform_(-1, 1) / d_model**0.5
        )
        self.down = nn.Parameter(
            torch.empty(n_experts, d_model, d_expert).uniform_(-1, 1) / d_expert**0.5
        )

    def forward(self, x: Float[Tensor, "*B C"], routing: Routing) -> Float[Tensor, "*B C"]:
        """Sum for each token its experts' outputs times their weights."""
        visits = [table.flatten(0, -2) for table in (x, routing.chosen, routing.weights)]
        gate_up, down = self.gate_up, self.down
        (n_tokens, n_chosen), n_experts = visits[1].shape, len(down)
        if n_tokens == 1 and n_chosen * (gate_up.numel() + down.numel()) < n_experts * DENSE_BELOW:
            compute = experts_gathered
        else:
            few = n_tokens * gate_up.numel() < DENSE_BELOW
            compute = experts_dense if few else experts_sorted
        return compute(*visits, gate_up, down, self.limit).view_as(x)
