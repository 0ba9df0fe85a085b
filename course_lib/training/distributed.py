"""Several processes train one model: data parallel, or with the model shared out (FSDP).

The engines are PyTorch's own. `torchrun --nproc-per-node 2 script.py` starts a script twice; each
process works inside `process_group`, or inside `local_process_group` if another program started it.
Every process walks through the same batches and takes its own rows of each, so a run reads the same
data however many processes it has. With one process, every function here does nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

# What only sharding needs is imported where it is used: it takes seconds, which everybody else
# would wait for too.


@contextmanager
def process_group(device: str = "cpu") -> Iterator[None]:
    """Meet the other processes that torchrun started; part at the end.

    Alone where there are none.
    """
    if "RANK" not in os.environ:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def local_process_group(meeting_file: Path, rank: int, n_processes: int) -> Iterator[None]:
    """Meet the other processes of this machine, each with a `rank` from 0 on, without torchrun.

    All name the same `meeting_file`, which is not there yet: they find each other by it, whatever
    ports are free. Where one of them ends, by an error or killed, the others get a RuntimeError.
    """
    if n_processes == 1:
        yield
        return
    store = dist.FileStore(str(meeting_file), n_processes)
    # who never comes is given up after minutes, not after the half hour that is the default
    timeout = timedelta(minutes=5)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=n_processes, timeout=timeout)
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Count the processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_rank() -> int:
    """Tell which of the processes this one is; number 0 speaks and writes files for all."""
    return dist.get_rank() if dist.is_initialized() else 0


def rank_shard(parts: Iterable) -> Iterator:
    """Choose the parts that are this process's: each takes its turn."""
    return islice(parts, process_rank(), None, world_size())


def all_reduce_sum(x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """Add up a tensor over all processes."""
    if world_size() == 1:
        return x
    summed = x.to("cuda" if dist.get_backend() == "nccl" else "cpu", copy=True)
    dist.all_reduce(summed)
    return summed.to(x.device)


class ForwardDispatcher(nn.Module):
    """Call functions of a model through one `forward`, where PyTorch's engines do their work."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable, *arguments):
        return function(self.model, *arguments)


class DistributedModel:
    """Spread a model over all processes: as copies whose gradients are averaged, or `sharded`.

    Copies: every process has the model, and gradients meet during the backward pass
    (DistributedDataParallel). Sharded: every process keeps a slice of each parameter, of its
    gradient and of the optimizers' averages; a layer is put together just before it is used (FSDP2,
    close to ZeRO stage 3, Rajbhandari et al. 2019, arXiv 1910.02054). Make the optimizers after
    this: the parameters are new ones.
    """

    def __init__(self, model: nn.Module, sharded: bool = False) -> None:
        self.model, self.sharded, self.through = model, sharded, None
        if world_size() > 1:
            self.through = (
                shard_parameters(ForwardDispatcher(model))
                if sharded
                else DistributedDataParallel(ForwardDispatcher(model))
            )

    def learn(self, objective: Callable) -> Callable:
        """Make an objective whose gradients are the average of all processes."""
        if self.through is None:
            return objective
        return lambda model, *batch: self.through(objective, *batch)

    def look(self, function: Callable):
        """Call `function(model)`, which may call the model: its layers are gathered as used.

        All processes must call it.
        """
        if self.through is None or not self.sharded:
            return function(self.model)
        with torch.no_grad():
            return self.through(function)


def shard_parameters(through: ForwardDispatcher) -> nn.Module:
    """Slice all parameters: those of a layer together, then what is left of the model."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(next(through.parameters()).device.type, (world_size(),))
    for stack in through.model.children():
        if isinstance(stack, nn.ModuleList):
            for layer in stack:
                fully_shard(layer, mesh=mesh)
    return fully_shard(through, mesh=mesh)


def full_state_dict(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put slices together.

    All processes must call it with the same names; they meet in the order of the alphabet.
    """
    if world_size() == 1:
        return dict(tensors)
    from torch.distributed.tensor import DTensor

    pairs = sorted(tensors.items())
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in pairs
    }


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut a whole tensor as `like` is cut; every process has the whole one and keeps its slice."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
