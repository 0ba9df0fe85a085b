"""Who works with whom: processes in a grid, rows for tensor parallelism, columns for data."""

import torch.distributed as dist

from course_lib.training.distributed import process_rank, world_size


def rank_groups(n_ranks: int, n_tensor: int) -> tuple[list[list[int]], list[list[int]]]:
    """Name the ranks that share a model, and those that hold the same part of it.

    Neighbours share a model, since they are likely on one machine (Megatron-LM, section 5).

    >>> rank_groups(4, n_tensor=2)
    ([[0, 1], [2, 3]], [[0, 2], [1, 3]])
    >>> rank_groups(6, n_tensor=4)
    Traceback (most recent call last):
    ValueError: 6 processes are not divisible by 4 tensor-parallel ranks
    """
    if n_ranks < 1 or n_tensor < 1 or n_ranks % n_tensor:
        raise ValueError(
            f"{n_ranks} processes are not divisible by {n_tensor} tensor-parallel ranks"
        )
    rows = [list(range(first, first + n_tensor)) for first in range(0, n_ranks, n_tensor)]
    return rows, [list(column) for column in zip(*rows, strict=True)]


def join_groups(n_tensor: int) -> tuple[dist.ProcessGroup, dist.ProcessGroup]:
    """Make the groups of this process, tensor and data; all processes must call it together."""
    rows, columns = rank_groups(world_size(), n_tensor)
    made = [[(ranks, dist.new_group(ranks)) for ranks in groups] for groups in (rows, columns)]
    mine = [next(group for ranks, group in groups if process_rank() in ranks) for groups in made]
    return mine[0], mine[1]
