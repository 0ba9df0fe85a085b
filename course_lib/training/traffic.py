"""What processes send each other: a ring all-reduce by hand, formulas, and three ways to count.

A collective is counted where it is called (`CollectiveCounter`) and, on Linux, by the bytes that
the kernel has sent through this process's sockets (`socket_bytes_sent`).
"""

import os
import socket
import stat
import struct
from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# the name of each collective by the operators that torch has for it
COLLECTIVES = {
    "allreduce": "all_reduce",
    "all_reduce": "all_reduce",
    "reduce_scatter": "reduce_scatter",
    "allgather": "all_gather",
    "all_gather": "all_gather",
    "broadcast": "broadcast",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "send": "send",
}
TCP_BYTES_SENT = 200  # where Linux's struct tcp_info holds tcpi_bytes_sent, as 8 bytes


def ring_bytes(collective: str, n_bytes: int, n_ranks: int) -> float:
    """Bytes that each rank sends when `n_bytes` go round a ring, each rank sending to the next.

    `n_bytes` is the size of the whole tensor: what is reduced, or what comes out of a gather.

    >>> [ring_bytes(name, 1000, 4) for name in ("reduce_scatter", "all_gather", "all_reduce")]
    [750.0, 750.0, 1500.0]
    """
    rounds = {"reduce_scatter": 1, "all_gather": 1, "all_reduce": 2}
    if collective not in rounds:
        raise ValueError(f"{collective!r} is none of {list(rounds)}")
    return rounds[collective] * (n_ranks - 1) / n_ranks * n_bytes


def ring_reduce_scatter(x: Float[Tensor, "L"]) -> Float[Tensor, "M"]:
    """Add up a vector over the ranks; each rank gets one piece of the sum, number `rank`.

    In N - 1 rounds every rank sends a piece to the next and adds what comes from the one before.
    Raises ValueError where the ranks don't divide the length.
    """
    rank, n = dist.get_rank(), dist.get_world_size()
    if len(x) % n:
        raise ValueError(f"a vector of {len(x)} numbers is not divisible by {n} ranks")
    pieces = list(x.clone().chunk(n))
    for turn in range(n - 1):
        come = (rank - turn - 2) % n
        pieces[come] += exchange(pieces[(rank - turn - 1) % n])
    return pieces[rank].clone()  # the others' memory can go


def ring_all_gather(piece: Float[Tensor, "M"]) -> Float[Tensor, "L"]:
    """Collect the pieces of all ranks, in order of the ranks, by N - 1 rounds in a ring."""
    rank, n = dist.get_rank(), dist.get_world_size()
    pieces = {rank: piece}
    for turn in range(n - 1):
        pieces[(rank - turn - 1) % n] = exchange(pieces[(rank - turn) % n])
    return torch.cat([pieces[i] for i in range(n)])


def ring_all_reduce(x: Float[Tensor, "L"]) -> Float[Tensor, "L"]:
    """Add up a vector over the ranks, for all: a reduce-scatter, then an all-gather."""
    return ring_all_gather(ring_reduce_scatter(x))


def exchange(piece: Tensor) -> Tensor:
    """Send a tensor to the next rank and receive one of the same size from the rank before."""
    rank, n = dist.get_rank(), dist.get_world_size()
    come = torch.empty_like(piece)
    sent = dist.isend(piece, (rank + 1) % n)
    dist.recv(come, (rank - 1) % n)
    sent.wait()
    return come


class CollectiveCounter(TorchDispatchMode):
    """Count the collectives that this process calls inside `with`, and the bytes they work on.

    `calls["all_reduce"]` is a number of calls, `n_bytes["all_reduce"]` the bytes of their whole
    tensors: what is reduced, what comes out of a gather. PyTorch's own engines are seen too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.n_bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        if any(kind.__name__ == "DTensor" for kind in types):
            return NotImplemented  # its parts come by next
        space, _, name = function._schema.name.partition("::")
        result = function(*args, **(kwargs or {}))
        found = [word for word in COLLECTIVES if name.strip("_").startswith(word)]
        if space in ("c10d", "_c10d_functional") and found:
            collective = COLLECTIVES[found[0]]
            self.calls[collective] += 1
            self.n_bytes[collective] += max(map(tensor_bytes, (args, result)))
        return result

    def ring_bytes(self, n_ranks: int) -> float:
        """Bytes that this rank sends if every collective goes round a ring."""
        return sum(ring_bytes(name, size, n_ranks) for name, size in self.n_bytes.items())


def tensor_bytes(tree: Any) -> int:
    """The bytes of the largest tensor in a structure of lists and tuples."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return max((t.numel() * t.element_size() for t in tensors), default=0)


def socket_bytes_sent() -> int | None:
    """Bytes that the kernel has sent for this process's TCP sockets so far; None if it can't tell.

    It counts what really left: headers of gloo's messages too, about 50 bytes each. Only Linux
    keeps this count (`tcpi_bytes_sent` of tcp_info, from version 4.19).
    """
    if not hasattr(socket, "TCP_INFO") or not os.path.isdir("/proc/self/fd"):
        return None
    total = 0
    for handle in map(int, os.listdir("/proc/self/fd")):
        try:
            if stat.S_ISSOCK(os.fstat(handle).st_mode):
                with socket.socket(fileno=os.dup(handle)) as one:
                    told = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                total += struct.unpack_from("=Q", told, TCP_BYTES_SENT)[0]
        except (OSError, struct.error):
            continue  # none of TCP, or gone
    return total
