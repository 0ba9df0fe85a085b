"""What the processes of lesson 13 do. It stands here and not in the notebook, since a process
imports what it runs; the notebook quotes it."""

import os
import signal
import time
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers.tensor_parallel import vocab_parallel_cross_entropy
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.gpt2_parallel import slice_of_gpt2, split_gpt2
from course_lib.training.distributed import ForwardDispatcher, shard_parameters
from course_lib.training.objectives import cross_entropy
from course_lib.training.pipeline import ModuleStage, Order, SleepingStage, TimedItem, run_stage
from course_lib.training.rank_grid import join_groups
from course_lib.training.traffic import (
    CollectiveCounter,
    ring_all_gather,
    ring_all_reduce,
    ring_reduce_scatter,
    socket_bytes_sent,
)
from course_lib.training.zero import ZeroAdamW, storage_bytes

# Talking
# --------------------------------------------------------------------------------------------------


def say_hello() -> int:
    """Print who this is; return the number of the process."""
    rank, n = dist.get_rank(), dist.get_world_size()
    print(f"I am process {os.getpid()}, rank {rank} of {n}")
    return os.getpid()


def four_collectives() -> dict[str, list[float]]:
    """Give every collective the same four numbers per rank; what each rank then has."""
    rank, n = dist.get_rank(), dist.get_world_size()
    mine = torch.arange(float(n)) + 10 * rank
    first, total, piece = mine.clone(), mine.clone(), torch.empty(1)
    everything = [torch.empty(n) for _ in range(n)]
    dist.broadcast(first, src=0)
    dist.all_reduce(total)
    dist.all_gather(everything, mine)
    dist.reduce_scatter(piece, list(mine.chunk(n)))
    results = {"has": mine, "broadcast": first, "all_reduce": total}
    results |= {"reduce_scatter": piece, "all_gather": torch.cat(everything)}
    return {name: tensor.tolist() for name, tensor in results.items()}


# Going wrong
# --------------------------------------------------------------------------------------------------


def go_wrong(how: str, rank: int = 1) -> None:
    """Let one rank raise, be killed or hang, while the others wait for it."""
    if dist.get_rank() == rank:
        if how == "raise":
            raise ValueError("this batch has no tokens")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            time.sleep(3600)
    dist.all_reduce(torch.ones(1))


# Counting bytes
# --------------------------------------------------------------------------------------------------


def bytes_of(collective: str, n_numbers: int) -> tuple[float, int | None]:
    """The first number of the result, and the bytes that this rank's sockets sent for it."""
    rank, n = dist.get_rank(), dist.get_world_size()
    x = torch.full((n_numbers,), float(rank + 1))
    dist.barrier()
    before = socket_bytes_sent()
    if collective == "ring all_reduce":
        x = ring_all_reduce(x)
    elif collective == "ring reduce_scatter":
        x = ring_reduce_scatter(x)
    elif collective == "ring all_gather":
        x = ring_all_gather(x[: n_numbers // n].contiguous())
    elif collective == "gloo all_reduce":
        dist.all_reduce(x)
    elif collective == "gloo reduce_scatter":
        pieces = list(x.chunk(n))
        dist.reduce_scatter(x := torch.empty_like(pieces[0]), pieces)
    sent = None if before is None else socket_bytes_sent() - before
    return x[0].item(), sent


# Data parallelism
# --------------------------------------------------------------------------------------------------


def make_model(settings: GPT2Settings, seed: int) -> GPT2:
    """Make the same model in every process."""
    torch.manual_seed(seed)
    return GPT2(settings)


def data_parallel_gradients(
    settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor
) -> tuple[float, dict[str, Tensor], tuple[dict, dict]]:
    """Loss of this rank's rows, averaged gradients, and what the collectives carried."""
    rank, n = dist.get_rank(), dist.get_world_size()
    model = make_model(settings, seed)
    rows = slice(rank * len(ids) // n, (rank + 1) * len(ids) // n)
    loss = cross_entropy(model(ids[rows]), targets[rows]).mean()
    loss.backward()
    with CollectiveCounter() as counter:
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= n
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return loss.item(), gradients, (dict(counter.calls), dict(counter.n_bytes))


def torch_data_parallel_gradients(
    settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """The same gradients by DistributedDataParallel."""
    rank, n = dist.get_rank(), dist.get_world_size()
    model = nn.parallel.DistributedDataParallel(make_model(settings, seed))
    rows = slice(rank * len(ids) // n, (rank + 1) * len(ids) // n)
    cross_entropy(model(ids[rows]), targets[rows]).mean().backward()
    return {name: p.grad for name, p in model.module.named_parameters()}


# Tensor parallelism
# --------------------------------------------------------------------------------------------------


def split_gradients(
    settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor
) -> tuple[float, dict[str, Tensor], dict]:
    """Loss and gradients of this rank's part of a split GPT-2, and its all-reduces."""
    model = split_gpt2(make_model(settings, seed))
    with CollectiveCounter() as forward:
        loss = vocab_parallel_cross_entropy(model(ids), targets).mean()
    with CollectiveCounter() as backward:
        loss.backward()
    traffic = {
        "forward": (forward.calls["all_reduce"], forward.n_bytes["all_reduce"]),
        "backward": (backward.calls["all_reduce"], backward.n_bytes["all_reduce"]),
    }
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}, traffic


def grid_gradients(
    settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor, n_tensor: int
) -> tuple[float, dict[str, Tensor]]:
    """Loss of this replica and averaged gradients of this part: tensor and data parallel."""
    tensor_group, data_group = join_groups(n_tensor)
    replica, n_replicas = dist.get_rank(data_group), dist.get_world_size(data_group)
    model = split_gpt2(make_model(settings, seed), tensor_group)
    mine = ids.chunk(n_replicas)[replica], targets.chunk(n_replicas)[replica]
    loss = vocab_parallel_cross_entropy(model(mine[0]), mine[1], tensor_group).mean()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad, group=data_group)
        parameter.grad /= n_replicas
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


def dtensor_gradients(
    settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of this rank's part, split by PyTorch's DTensor."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        loss_parallel,
        parallelize_module,
    )

    n = dist.get_world_size()
    mesh, model = init_device_mesh("cpu", (n,)), make_model(settings, seed)
    plan = {"token_embedding": RowwiseParallel(input_layouts=Replicate())}
    for layer, block in enumerate(model.blocks):
        heads_together(block.attention.qkv, n)
        block.attention.n_heads = block.attention.n_kv_heads = settings.n_heads // n
        plan |= {f"blocks.{layer}.attention.qkv": ColwiseParallel()}
        plan |= {f"blocks.{layer}.attention.out": RowwiseParallel()}
        plan |= {f"blocks.{layer}.mlp.up": ColwiseParallel()}
        plan |= {f"blocks.{layer}.mlp.down": RowwiseParallel()}
    parallelize_module(model, mesh, plan)
    hidden = DTensor.from_local(model.hidden(ids), mesh, [Replicate()])
    logits = F.linear(hidden, model.token_embedding.weight)
    with loss_parallel():
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    local = {n: g.to_local() if isinstance(g, DTensor) else g for n, g in gradients.items()}
    return loss.full_tensor().item(), local


@torch.no_grad()
def heads_together(qkv: nn.Linear, n_ranks: int) -> None:
    """Sort the rows of queries, keys and values by rank, so that an even cut is a cut by heads."""
    for tensor, name in ((qkv.weight, "qkv.weight"), (qkv.bias, "qkv.bias")):
        pieces = [slice_of_gpt2(name, tensor, rank, n_ranks) for rank in range(n_ranks)]
        tensor.copy_(torch.cat(pieces))


# ZeRO
# --------------------------------------------------------------------------------------------------


def zero_run(
    stage: int, settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor, steps: int
) -> tuple[list[float], int, int]:
    """Losses of this rank's rows, the bytes kept, the bytes sent by sockets in the last step."""
    rank, n = dist.get_rank(), dist.get_world_size()
    model = make_model(settings, seed).bfloat16()
    optimizer, losses, sent = ZeroAdamW(model, stage, lr=1e-3), [], 0
    ids, targets = ids.chunk(n)[rank], targets.chunk(n)[rank]
    for _ in range(steps):
        loss = cross_entropy(model(ids).float(), targets).mean()
        model.zero_grad()
        loss.backward()
        dist.barrier()
        before = socket_bytes_sent()
        optimizer.step()
        sent = None if before is None else socket_bytes_sent() - before
        losses.append(loss.item())
    return losses, optimizer.kept_bytes(), sent


def fsdp_run(
    settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor, steps: int
) -> tuple[list[float], int, dict]:
    """Losses of this rank's rows, the bytes kept, and what the collectives carried, by FSDP2."""
    from torch.distributed.tensor import DTensor

    rank, n = dist.get_rank(), dist.get_world_size()
    through = shard_parameters(ForwardDispatcher(make_model(settings, seed)))
    adam, losses = torch.optim.AdamW(through.parameters(), lr=1e-3), []
    ids, targets = ids.chunk(n)[rank], targets.chunk(n)[rank]
    for _ in range(steps):
        adam.zero_grad()
        with CollectiveCounter() as counter:
            loss = through(lambda model: cross_entropy(model(ids), targets).mean())
            loss.backward()
        adam.step()
        losses.append(loss.item())
    kept = [x for p in through.parameters() for x in (p, p.grad, *adam.state[p].values())]
    local = [x.to_local() if isinstance(x, DTensor) else x for x in kept]
    return losses, storage_bytes([x for x in local if x.ndim]), dict(counter.n_bytes)


# Pipelines
# --------------------------------------------------------------------------------------------------


def sleeping_pipeline(
    orders: Sequence[Order], n_chunks: int, forward: float, backward: float
) -> list[TimedItem]:
    """Run a schedule whose stages sleep, for `forward` and `backward` seconds each."""
    chunk = SleepingStage(forward / n_chunks, backward / n_chunks, shape=(1,))
    dist.barrier()
    return run_stage(orders[dist.get_rank()], [chunk] * n_chunks, shape=(1,))


class FirstHalf(nn.Module):
    """The first stage: embedding and the first half of the blocks."""

    def __init__(self, model: GPT2) -> None:
        super().__init__()
        self.model, self.n = model, len(model.blocks) // 2

    def forward(self, ids: Tensor) -> Tensor:
        places = self.model.position_embedding(torch.arange(ids.shape[1]))
        x = self.model.token_embedding(ids) + places
        for block in self.model.blocks[: self.n]:
            x = block(x)
        return x


class SecondHalf(nn.Module):
    """The second stage: the other blocks, norm and head."""

    def __init__(self, model: GPT2) -> None:
        super().__init__()
        self.model, self.n = model, len(model.blocks) // 2

    def forward(self, x: Tensor) -> Tensor:
        for block in self.model.blocks[self.n :]:
            x = block(x)
        return self.model.logits(self.model.norm(x))


def two_stages(
    orders: Sequence[Order], settings: GPT2Settings, seed: int, ids: Tensor, targets: Tensor
) -> tuple[list[TimedItem], float, dict[str, Tensor]]:
    """Run half of a GPT-2 as a stage: its times, the loss (last stage), its gradients."""
    model, m = make_model(settings, seed), len(orders[0]) // 2
    rows, wanted = ids.chunk(m), targets.chunk(m)
    if dist.get_rank() == 0:
        stage = ModuleStage(FirstHalf(model), inputs=rows)
    else:
        stage = ModuleStage(
            SecondHalf(model), None, lambda i, y: cross_entropy(y, wanted[i]).mean(), m
        )
    dist.barrier()
    timed = run_stage(orders[dist.get_rank()], [stage], (*rows[0].shape, settings.d_model))
    dist.all_reduce(model.token_embedding.weight.grad)  # the table is on both stages
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return timed, sum(stage.losses), gradients
