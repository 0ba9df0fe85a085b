"""ZeRO: data parallelism in which each rank keeps a share of what every rank would keep alike.

Rajbhandari et al. 2019 (arXiv 1910.02054). Stage 1 shares out the optimizer's state, stage 2 the
gradients too, stage 3 the parameters too. Stages 0 to 2 are here, by hand; stage 3 is what
PyTorch's FSDP2 does (`training.distributed.shard_parameters`).
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from course_lib.training.distributed import process_rank, world_size
from course_lib.training.traffic import ring_all_gather, ring_all_reduce, ring_reduce_scatter


def zero_bytes(
    stage: int,
    n_parameters: int,
    n_ranks: int,
    weight: int = 2,
    gradient: int = 2,
    optimizer: int = 12,
) -> float:
    """Bytes that each rank keeps for parameters, gradients and optimizer, by the stage of ZeRO.

    The defaults are bytes per parameter of mixed-precision Adam: weights and gradients in 16 bits;
    in 32 bits a copy of the weights and two averages. Source: section 3.1 and figure 1.

    >>> [zero_bytes(stage, 7_500_000_000, 64) / 1e9 for stage in range(4)]
    [120.0, 31.40625, 16.640625, 1.875]
    """
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"stage {stage} of ZeRO: there are 0 to 3")
    if n_ranks < 1:
        raise ValueError(f"{n_ranks} ranks keep nothing")
    shared = [stage >= 3, stage >= 2, stage >= 1]
    sizes = (weight, gradient, optimizer)
    per_parameter = sum(size / (n_ranks if s else 1) for size, s in zip(sizes, shared, strict=True))
    return n_parameters * per_parameter


class ZeroAdamW:
    """AdamW in mixed precision whose state, from stage 1, and gradients, from 2, are shared out.

    The model's weights and gradients have its own dtype, bfloat16 say; the optimizer keeps a 32-bit
    copy of the weights and two averages. All parameters are laid into one vector; each rank updates
    one piece of it, and the pieces are gathered. `step` takes the gradients that this rank's
    backward has left and averages them over the ranks. Differs from the paper's stage 2: gradients
    are shared out after backward, not during it, so they are whole for a moment.
    """

    def __init__(self, model: nn.Module, stage: int, **settings) -> None:
        if stage not in (0, 1, 2):
            raise ValueError(f"stage {stage} by hand: there are 0 to 2; stage 3 is FSDP2")
        self.parameters, self.stage = list(model.parameters()), stage
        self.rank, self.n_ranks = process_rank(), world_size()
        self.length = sum(p.numel() for p in self.parameters)
        self.master = nn.Parameter(self.mine(self.joined(self.parameters)).float().clone())
        self.adam = torch.optim.AdamW([self.master], **settings)
        self.gradient: Tensor | None = None  # this rank's piece, kept at stage 2

    def joined(self, tensors: Sequence[Tensor]) -> Float[Tensor, "L"]:
        """Lay tensors into one vector, with zeros at the end until the ranks divide its length."""
        vector = torch.cat([tensor.detach().flatten() for tensor in tensors])
        return nn.functional.pad(vector, (0, -len(vector) % self.n_ranks))

    def mine(self, vector: Float[Tensor, "L"]) -> Float[Tensor, "M"]:
        """The piece that this rank updates; the whole vector at stage 0."""
        return vector if self.stage == 0 else vector.chunk(self.n_ranks)[self.rank]

    def step(self) -> None:
        """Average the gradients, update this rank's piece, gather the parameters."""
        self.master.grad = self.average_gradients().float()
        self.adam.step()
        self.master.grad = None
        vector = self.master.detach().to(self.parameters[0].dtype)
        vector_to_parameters(
            (ring_all_gather(vector) if self.stage else vector)[: self.length], self.parameters
        )

    def average_gradients(self) -> Float[Tensor, "M"]:
        """Average the gradients over the ranks; return the piece of it that this rank needs.

        From stage 1 on a rank learns no more than that; at stage 2 it keeps no more either.
        """
        vector = self.joined([p.grad for p in self.parameters]) / self.n_ranks
        if self.stage == 0:
            return ring_all_reduce(vector)
        piece = ring_reduce_scatter(vector)
        if self.stage == 2:
            self.gradient = piece
            for p in self.parameters:
                p.grad = None
        return piece

    def kept_bytes(self) -> int:
        """Bytes of all that lasts from step to step: weights, gradients, optimizer."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        state = [x for x in self.adam.state[self.master].values() if x.ndim]
        piece = [] if self.gradient is None else [self.gradient]
        return storage_bytes([*self.parameters, *gradients, *piece, self.master, *state])


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of memory behind tensors; what several of them look at counts once.

    >>> x = torch.zeros(10)
    >>> storage_bytes([x, x[:3], x.view(2, 5)])
    40
    """
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())
