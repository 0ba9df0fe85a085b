"""What the processes of `test_processes` do."""

import os
import signal
import sys
import time

import torch
import torch.distributed as dist

from course_lib.training.traffic import ring_all_gather, ring_reduce_scatter


def talk(word):
    print(f"{word} from {dist.get_rank()}")
    os.write(1, b"by the system\n")
    print("to standard error", file=sys.stderr)
    print("no line end", end="")
    total = torch.tensor(float(dist.get_rank() + 1))
    dist.all_reduce(total)
    return dist.get_rank(), total


def fail(rank):
    if dist.get_rank() == rank:
        raise ValueError(f"rank {rank} has had enough")
    dist.barrier()


def fail_late(rank):
    if dist.get_rank() == rank:
        raise ValueError("bad news")
    time.sleep(60)


def be_killed(rank, how=signal.SIGKILL):
    if dist.get_rank() == rank:
        os.kill(os.getpid(), how)
    dist.barrier()


def leave(rank):
    if dist.get_rank() == rank:
        os._exit(3)
    dist.barrier()


def hang(rank):
    if dist.get_rank() == rank:
        time.sleep(600)
    dist.barrier()


def hang_alone(rank):
    if dist.get_rank() == rank:
        time.sleep(600)


def cannot_be_sent():
    return lambda: 0


def interrupt_parent():
    if dist.get_rank() == 0:
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(600)


def ring_pieces():
    """Vectors that differ from place to place: each rank must get its own piece of the sum."""
    x = torch.arange(8.0)
    return ring_reduce_scatter(x).tolist(), ring_all_gather(
        torch.tensor([float(dist.get_rank())])
    ).tolist()
