"""Several processes train one model: data parallel, with the model shared out (FSDP), or cut up.

The engines are PyTorch's own. `torchrun --nproc-per-node 2 script.py` starts a script twice; each
process works inside `process_group`, or inside `local_process_group` if another program started it.
Processes stand in a rectangle of `data` x `tensor`, see `MeshSizes`. Every process walks through
the same batches and takes the rows of its replica, so a run reads the same data however many
processes it has. With one process, every function here does nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from course_lib.check_numbers import check_whole_numbers

# What only sharding needs is imported where it is used: it takes seconds, which everybody else
# would wait for too.


class MeshSizes(NamedTuple):
    """How processes share the work: `data` replicas of a model, each cut over `tensor` processes.

    Replicas read different rows of a batch. The processes of one replica have neighbouring ranks,
    and so stand in one machine where `tensor` divides the processes of a machine: they talk most.
    So do the `expert` replicas that share one set of experts.
    """

    data: int
    tensor: int
    expert: int = 1


def mesh_sizes(
    n_processes: int, data: int | None = None, tensor: int = 1, expert: int = 1
) -> MeshSizes:
    """Arrange the processes; `data` None means as many replicas as there are processes for.

    >>> mesh_sizes(8, tensor=2)
    MeshSizes(data=4, tensor=2, expert=1)
    >>> mesh_sizes(8, data=3, tensor=2)
    Traceback (most recent call last):
    ValueError: data-parallel 3 x tensor-parallel 2 = 6 processes, but 8 were started
    """
    check_whole_numbers(
        tensor_parallel=tensor, data_parallel=1 if data is None else data, expert_parallel=expert
    )
    if data is None and n_processes % tensor:
        raise ValueError(f"tensor-parallel {tensor} does not divide {n_processes} processes")
    data = n_processes // tensor if data is None else data
    if data * tensor != n_processes:
        needed = f"data-parallel {data} x tensor-parallel {tensor} = {data * tensor} processes"
        raise ValueError(f"{needed}, but {n_processes} were started")
    if data % expert:
        raise ValueError(f"expert-parallel {expert} does not divide {data} data-parallel replicas")
    if expert > 1 and tensor > 1:
        raise ValueError(
            f"expert-parallel {expert} with tensor-parallel {tensor}: no model here can be cut both"
            " ways"
        )
    return MeshSizes(data, tensor, expert)


_sizes: MeshSizes | None = None  # of the group that this process is in; None: replicas only


@contextmanager
def process_group(
    device: str = "cpu", data: int | None = None, tensor: int = 1, expert: int = 1
) -> Iterator[None]:
    """Meet the other processes that torchrun started, as `mesh_sizes` says; part at the end.

    Alone where there are none. Where one of them ends, the others get a ConnectionError.
    """
    sizes = mesh_sizes(int(os.environ.get("WORLD_SIZE", 1)), data, tensor, expert)
    if "RANK" not in os.environ:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        with standing_as(sizes):
            yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in f"{error}":
            raise ConnectionError(f"lost another process, see its message: {error}") from error
        raise


@contextmanager
def local_process_group(
    meeting_file: Path, rank: int, n_processes: int, tensor: int = 1, expert: int = 1
) -> Iterator[None]:
    """Meet the other processes of this machine, each with a `rank` from 0 on, without torchrun.

    All name the same `meeting_file`, which is not there yet: they find each other by it, whatever
    ports are free. Where one of them ends, by an error or killed, the others get a RuntimeError.
    """
    sizes = mesh_sizes(n_processes, None, tensor, expert)
    if n_processes == 1:
        yield
        return
    store = dist.FileStore(str(meeting_file), n_processes)
    # who never comes is given up after minutes, not after the half hour that is the default
    timeout = timedelta(minutes=5)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=n_processes, timeout=timeout)
    with standing_as(sizes):
        yield


@contextmanager
def standing_as(sizes: MeshSizes) -> Iterator[None]:
    """Let the processes of the group that was just met stand so, and part at the end."""
    global _sizes
    _sizes = sizes
    try:
        yield
    finally:
        _sizes = None
        dist.destroy_process_group()


def world_size() -> int:
    """Count the processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_rank() -> int:
    """Tell which of the processes this one is; number 0 speaks and writes files for all."""
    return dist.get_rank() if dist.is_initialized() else 0


def group_sizes() -> MeshSizes:
    """Tell how the processes stand: in one row of replicas if nobody said otherwise."""
    return _sizes or MeshSizes(world_size(), 1)


def rank_shard(parts: Iterable) -> Iterator:
    """Choose the parts that are this process's replica's: each takes its turn."""
    sizes = group_sizes()
    return islice(parts, process_rank() // sizes.tensor, None, sizes.data)


def process_name() -> str:
    """Name this process among those that torchrun started, as in " (process 1 of 4)"."""
    if "RANK" not in os.environ:
        return ""
    return f" (process {os.environ['RANK']} of {os.environ['WORLD_SIZE']})"


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


class SpreadObjective:
    """An objective whose gradients are the average of all replicas."""

    def __init__(self, objective: Callable, through: nn.Module) -> None:
        self.objective, self.through = objective, through

    def __call__(self, model: nn.Module, *batch):
        return self.through(self.objective, *batch)

    def part(self, is_last: bool) -> AbstractContextManager:
        """Compute one part of a batch; only at the last one are gradients sent.

        Before it every process adds up its own, so that a step sends them once however often its
        batch is cut.
        """
        if isinstance(self.through, DistributedDataParallel):
            return nullcontext() if is_last else self.through.no_sync()
        self.through.set_requires_gradient_sync(is_last)
        return nullcontext()


def part_of_batch(objective: Callable, is_last: bool) -> AbstractContextManager:
    """Enter `SpreadObjective.part`, or nothing if the objective is not spread."""
    return objective.part(is_last) if isinstance(objective, SpreadObjective) else nullcontext()


class DistributedModel:
    """Spread a model over all processes: as copies whose gradients are averaged, or `sharded`.

    Copies: every process has the model, and gradients meet during the backward pass
    (DistributedDataParallel). Sharded: every process keeps a slice of each parameter, of its
    gradient and of the optimizers' averages; a layer is put together just before it is used (FSDP2,
    close to ZeRO stage 3, Rajbhandari et al. 2019, arXiv 1910.02054). Where the processes stand in
    a rectangle, each layer's matrices are cut over its `tensor` processes first, see `parallel`,
    and the pieces are then sharded over `data`. Where `expert` replicas share the experts, these
    stay where they are and tokens travel; the rest is sharded over the `expert` replicas and
    copied to others. Make the optimizers after this: the parameters are new ones.
    """

    def __init__(self, model: nn.Module, sharded: bool = False) -> None:
        self.model, self.through = model, None
        self.sharded = sharded or max(group_sizes()[1:]) > 1
        if world_size() > 1:
            self.through = (
                shard_parameters(ForwardDispatcher(model))
                if self.sharded
                else DistributedDataParallel(ForwardDispatcher(model))
            )

    def learn(self, objective: Callable) -> Callable:
        """Make an objective whose gradients are the average of all replicas."""
        return objective if self.through is None else SpreadObjective(objective, self.through)

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
    from torch.distributed.fsdp import fully_shard

    from course_lib.training import parallel

    sizes, mesh, elsewhere = group_sizes(), make_mesh(through), None
    if sizes.expert > 1:
        elsewhere = parallel.spread_experts(through.model, mesh)
    elif sizes.tensor > 1:
        parallel.cut_over_processes(through.model, mesh["tensor"])
        mesh = mesh["data"]
    for layer in sharded_layers(through.model):
        fully_shard(layer, mesh=mesh, ignored_params=elsewhere)
    return fully_shard(through, mesh=mesh, ignored_params=elsewhere)


def make_mesh(module: nn.Module):
    """Let all processes stand as `group_sizes` says: replicas by what one of them is cut over."""
    from torch.distributed.device_mesh import init_device_mesh

    data, tensor, expert = group_sizes()
    device = next(module.parameters()).device.type
    if expert > 1:
        return init_device_mesh(device, (data // expert, expert), mesh_dim_names=("copy", "expert"))
    if tensor > 1:
        return init_device_mesh(device, (data, tensor), mesh_dim_names=("data", "tensor"))
    return init_device_mesh(device, (data,), mesh_dim_names=("data",))


def average_expert_gradients(model: nn.Module) -> None:
    """Average gradients over all replicas, of parameters that none of the engines looks after."""
    for module in model.modules():
        if hasattr(module, "average_gradients"):
            module.average_gradients()


def sharded_layers(model: nn.Module) -> list[nn.Module]:
    """List what is put together on its own: each layer, and V3's module that predicts further."""
    stacks = [stack for stack in model.children() if isinstance(stack, nn.ModuleList)]
    ahead = getattr(model, "mtp", None)
    return [layer for stack in stacks for layer in stack] + ([ahead] if ahead else [])


# Tensors of which a process holds a slice
# --------------------------------------------------------------------------------------------------


def is_sliced(tensor: Tensor) -> bool:
    """Tell whether this process may hold a slice of the tensor only (a DTensor)."""
    return hasattr(tensor, "full_tensor")


def full_state_dict(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put slices together.

    All processes must call it with the same names; they meet in the order of the alphabet.
    """
    return {
        name: tensor.full_tensor() if is_sliced(tensor) else tensor
        for name, tensor in sorted(tensors.items())
    }


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut a whole tensor as `like` is cut; every process has the whole one and keeps its slice."""
    if not is_sliced(like) or is_sliced(tensor) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def grouped_rows(n_heads: int, n_kv_heads: int, d_head: int) -> Int[Tensor, "R"]:
    """Order the rows of an attention's `qkv` by groups: queries that share a key, the key, a value.

    They come as all queries, all keys, all values. Here four heads share two keys:

    >>> grouped_rows(n_heads=4, n_kv_heads=2, d_head=1).tolist()
    [0, 1, 4, 6, 2, 3, 5, 7]
    """
    rows = torch.arange((n_heads + 2 * n_kv_heads) * d_head)
    parts = rows.split([n_heads * d_head, n_kv_heads * d_head, n_kv_heads * d_head])
    return torch.cat([part.view(n_kv_heads, -1) for part in parts], dim=1).flatten()


def row_orders(model: nn.Module) -> dict[str, Int[Tensor, "R"]]:
    """Find the parameters whose rows stand in another order than the model's own, by name."""
    return {
        f"{name}.{parameter}": module.row_order
        for name, module in model.named_modules()
        if hasattr(module, "row_order")
        for parameter, _ in module.named_parameters()
    }


def take_rows(tensor: Tensor, rows: Int[Tensor, "R"] | None) -> Tensor:
    """Take rows in this order, of a sliced tensor too: it is put together, and cut up as before."""
    if rows is None or not tensor.ndim:
        return tensor
    whole = tensor.full_tensor() if is_sliced(tensor) else tensor
    return shard_like(whole[rows.to(whole.device)], tensor)


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Give a model's `state_dict`, all rows in the order that it has in one process.

    All processes must call it.
    """
    orders = row_orders(model)
    return {
        name: take_rows(tensor, orders[name].argsort() if name in orders else None)
        for name, tensor in model.state_dict().items()
    }


def gather_on_first(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put slices together one by one, on process 0 alone, in the memory of its processor.

    The other processes get nothing, but must call it.
    """
    whole = {}
    for name, tensor in sorted(tensors.items()):
        (full,) = full_state_dict({name: tensor}).values()
        if process_rank() == 0:
            whole[name] = full.cpu()
    return whole
