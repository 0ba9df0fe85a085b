"""Solutions of lesson 13; the notebook quotes them."""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.layers.mlp import gelu


def ring_all_reduce_solution(vectors: list[Tensor], send: Callable) -> list[Tensor]:
    n = len(vectors)
    pieces = [list(vector.chunk(n)) for vector in vectors]
    for turn in range(n - 1):
        come = [send(rank, pieces[rank][(rank - turn) % n]) for rank in range(n)]
        for rank in range(n):
            place = (rank - 1 - turn) % n
            pieces[rank][place] = pieces[rank][place] + come[rank - 1]
    for turn in range(n - 1):
        come = [send(rank, pieces[rank][(rank + 1 - turn) % n]) for rank in range(n)]
        for rank in range(n):
            pieces[rank][(rank - turn) % n] = come[rank - 1]
    return [torch.cat(own) for own in pieces]


def zero_bytes_solution(stage: int, n_parameters: int, n_ranks: int) -> float:
    weights = 2 / n_ranks if stage >= 3 else 2
    gradients = 2 / n_ranks if stage >= 2 else 2
    optimizer = 12 / n_ranks if stage >= 1 else 12
    return n_parameters * (weights + gradients + optimizer)


def split_mlp_solution(x: Tensor, up: Tensor, down: Tensor, n_ranks: int) -> list[Tensor]:
    ups, downs = up.chunk(n_ranks, 0), down.chunk(n_ranks, 1)
    return [gelu(x @ ups[rank].T) @ downs[rank].T for rank in range(n_ranks)]


def copy_to_ranks_solution(x: Tensor, all_reduce: Callable) -> Tensor:
    class CopyToRanks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:
            return all_reduce(grad)

    return CopyToRanks.apply(x)


def merge_logsumexp_solution(largest: Tensor, sums: Tensor) -> Tensor:
    best = largest.amax(0)
    total = (sums * (largest - best).exp()).sum(0)
    return best + total.log()


def one_f_one_b_solution(stage: int, n_stages: int, n_microbatches: int) -> list[str]:
    ahead = min(n_stages - 1 - stage, n_microbatches)
    order = [f"F{i}" for i in range(ahead)]
    for i in range(n_microbatches - ahead):
        order += [f"F{ahead + i}", f"B{i}"]
    return order + [f"B{i}" for i in range(n_microbatches - ahead, n_microbatches)]
