"""What the processes of lesson 21 do: experts spread over ranks, and ranks that only wait.

It stands here and not in the notebook, since a process imports what it runs; the notebook quotes
it.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import torch.distributed as dist
from torch import Tensor

from course_lib.layers.expert_parallel import ParallelExperts, visited_ranks
from course_lib.layers.moe import MoE
from course_lib.training.traffic import socket_bytes_sent


class ExpertStep(NamedTuple):
    """What a rank saw of a step."""

    out: Tensor  # of its own tokens
    gradients: dict[str, Tensor]  # of its own experts, and its part of the other parameters'
    journeys: list[int]  # tokens that it sent to each rank
    visits: int  # of tokens, from anywhere, to its experts
    sent: int | None  # bytes by its sockets, in both passes


def expert_step(layer: MoE, x: Tensor) -> ExpertStep:
    """Take this rank's tokens through a layer whose experts are spread over all ranks."""
    rank, n = dist.get_rank(), dist.get_world_size()
    n_experts, layer.experts = len(layer.experts.down), ParallelExperts(layer.experts)
    dist.barrier()
    before = socket_bytes_sent()
    out = layer(x.chunk(n)[rank].clone().requires_grad_())
    out.square().sum().backward()
    dist.barrier()  # all that was sent has left
    sent = None if before is None else socket_bytes_sent() - before
    chosen = layer.routing.chosen.flatten(0, -2)
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    visits = (chosen // (n_experts // n)).flatten().bincount(minlength=n)
    dist.all_reduce(visits)
    journeys = visited_ranks(chosen, n_experts, n).sum(0).tolist()
    return ExpertStep(out.detach(), gradients, journeys, int(visits[rank]), sent)


def wait_for_experts(visits: Sequence[int], seconds: float) -> float:
    """Sleep so long for each visit to this rank's experts, then wait for all; tell how long."""
    dist.barrier()
    begin = time.monotonic()
    time.sleep(visits[dist.get_rank()] * seconds)
    dist.barrier()  # the tokens go home when all experts are done
    return time.monotonic() - begin
