"""What a run on several machines needs, by formula: bytes of memory and bytes to send.

    python -m course_lib.experiments.clusters

prints the tables of the book's page "On a cluster", which is built from them. The formulas are of
the course's own engine (`training.distributed`): float32 parameters, gradients and averages, Muon
for the hidden matrices and AdamW for the rest, one layer gathered at a time. The models are counted
on the meta device, which holds shapes and no numbers. Tests hold the formulas against bytes that
were measured in real processes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from course_lib.experiments.configurations import build_on_meta
from course_lib.files import markdown_table
from course_lib.models.deepseek import DEEPSEEK_V3, DeepSeekV3, count_active_parameters
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import DEEPSEEK_7B, Llama
from course_lib.training.distributed import MeshSizes, sharded_layers
from course_lib.training.optimizers import split_parameters

NUMBER_BYTES = 4  # float32
# As makers report them: memory of an 80 GB accelerator, what its links carry in one direction per
# second, and 40 % of the products that it can do per second in bfloat16 and in float32.
DEVICE_BYTES = 80e9
ETHERNET, INFINIBAND, NVLINK = 1.25e9, 50e9, 450e9
BFLOAT16_FLOPS, FLOAT32_FLOPS = 0.4 * 989e12, 0.4 * 67e12


class ClusterModel(NamedTuple):
    """The numbers of a model that memory and traffic follow from."""

    name: str
    parameters: int
    matrices: int  # of these parameters, those that Muon steps
    muon_flops: int  # of making all of Muon's steps orthogonal
    layers: int  # parameters of all layers together
    layer: int  # parameters of the largest layer
    active: int  # parameters that a token is multiplied by
    n_layers: int
    d_model: int
    vocab_size: int


def count_cluster_model(name: str, model: nn.Module) -> ClusterModel:
    """Count a model, which may be on the meta device."""
    layers = [count_parameters(layer) for layer in sharded_layers(model)]
    settings, matrices = model.settings, split_parameters(model)[0]
    return ClusterModel(
        name,
        count_parameters(model),
        sum(p.numel() for p in matrices),
        sum(newton_schulz_flops(*p.shape) for p in matrices),
        sum(layers),
        max(layers),
        count_active_parameters(model),
        settings.n_layers,
        settings.d_model,
        settings.vocab_size,
    )


def newton_schulz_flops(*shape: int) -> int:
    """Count the operations by which `orthogonalize` makes a matrix, or each of a stack, orthogonal.

    Five rounds of X X^T, A A and (b A + c A A) X, where X has more columns than rows.
    """
    rows, columns = sorted(shape[-2:])
    return math.prod(shape[:-2]) * 5 * (4 * rows**2 * columns + 2 * rows**3)


def published_models() -> list[ClusterModel]:
    """Count DeepSeek's V1 of 7 billion parameters and V3, multi-token prediction included."""
    models = {"V1 7B": (Llama, DEEPSEEK_7B), "V3": (DeepSeekV3, DEEPSEEK_V3)}
    return [count_cluster_model(name, build_on_meta(*model)) for name, model in models.items()]


class ProcessMemory(NamedTuple):
    """Bytes that one process holds, without the activations."""

    weights: float
    gradients: float
    averages: float  # of the optimizers
    gathered: float  # whole layers, while they are used

    @property
    def total(self) -> float:
        """Add all of it up."""
        return sum(self)


def process_memory(
    model: ClusterModel, sizes: MeshSizes, sharded: bool = True, accumulate: int = 1
) -> ProcessMemory:
    """Compute the bytes that each process holds: four per number, 8 for AdamW's two averages.

    Sharded: everything is divided by all processes, but for what is put together for a while: the
    layer at work, its gradients, and the next layer, which is on its way; and what is in no layer,
    with its gradients (FSDP2 keeps that together until the backward pass is over). This part is
    reckoned from how FSDP2 works, not measured. With `accumulate`, which sends gradients once, a
    process must keep them whole until then. Source of the idea: ZeRO, Rajbhandari et al. 2019
    (arXiv 1910.02054), section 5.
    """
    cut, pieces = sizes.tensor, sizes.data if sharded else 1
    one = NUMBER_BYTES * model.parameters / cut
    averages = NUMBER_BYTES * (2 * model.parameters - model.matrices) / cut
    outside = model.parameters - model.layers
    gathered = NUMBER_BYTES * (2 * outside + 3 * model.layer) / cut
    return ProcessMemory(
        one / pieces,
        one / (pieces if accumulate == 1 else 1),
        averages / pieces,
        gathered if pieces > 1 else 0.0,
    )


def data_traffic(
    model: ClusterModel, sizes: MeshSizes, sharded: bool = True, accumulate: int = 1
) -> float:
    """Compute the bytes that a process receives per step from those that have other rows.

    Copies: one all-reduce of all gradients, by a ring, as if the sums were scattered and then
    gathered. Sharded: every layer is gathered twice for each part of a batch (forward, backward),
    what is in no layer once, and the gradients are scattered once per step.
    """
    share = (sizes.data - 1) / sizes.data * NUMBER_BYTES / sizes.tensor
    if not sharded:
        return 2 * share * model.parameters
    return share * (accumulate * (model.parameters + model.layers) + model.parameters)


def muon_traffic(model: ClusterModel, sizes: MeshSizes, sharded: bool = True) -> float:
    """Compute the bytes that a process receives per step to put every matrix together for Muon."""
    n_processes = sizes.data * sizes.tensor if sharded else 1
    return (n_processes - 1) / n_processes * NUMBER_BYTES * model.matrices


def tensor_traffic(model: ClusterModel, sizes: MeshSizes, n_tokens: int) -> float:
    """Compute the bytes that a process receives per step from those that hold the other pieces.

    `n_tokens` are those of its replica, which all of them read. Each layer's attention and MLP sums
    its outputs forward and the gradients of its inputs backward: four all-reduces; the table of
    tokens and the head add one each, and the scores are gathered.
    """
    share = (sizes.tensor - 1) / sizes.tensor * NUMBER_BYTES * n_tokens
    return share * (2 * (4 * model.n_layers + 2) * model.d_model + model.vocab_size)


# The page
# --------------------------------------------------------------------------------------------------

LAYOUTS = {
    "V1 7B": [(1, 1), (8, 1), (1, 8), (64, 1), (8, 8), (256, 1)],
    "V3": [(8, 1), (64, 1), (256, 1), (2048, 1)],
}
BATCHES = {"V1 7B": 2304 * 4096, "V3": 15360 * 4096}  # tokens per step, from the papers


def memory_table(model: ClusterModel, layouts: Sequence[tuple[int, int]]) -> str:
    """Lay out what a process holds, one row per rectangle of processes."""
    header = ["processes", "data x tensor", "weights", "gradients", "averages", "gathered", "total"]
    header += [f"left of {DEVICE_BYTES / 1e9:.0f} GB"]
    rows = []
    for sizes in (MeshSizes(*layout) for layout in layouts):
        memory = process_memory(model, sizes)
        left = DEVICE_BYTES - memory.total
        rows.append(
            [
                f"{sizes.data * sizes.tensor:,}",
                f"{sizes.data:,} x {sizes.tensor}",
                *(gigabytes(part) for part in (*memory, memory.total)),
                gigabytes(left) if left > 0 else "does not fit",
            ]
        )
    return markdown_table(header, rows)


def traffic_table(model: ClusterModel, layouts: Sequence[tuple[int, int]], n_tokens: int) -> str:
    """Lay out what a process receives in a step of `n_tokens`, and how long links take over it."""
    header = ["data x tensor", "sharding", "Muon", "both on Ethernet", "both on InfiniBand"]
    header += ["tensor", "on NVLink", "computing"]
    rows = []
    for sizes in (MeshSizes(*layout) for layout in layouts):
        shards, muon = data_traffic(model, sizes), muon_traffic(model, sizes)
        pieces = tensor_traffic(model, sizes, n_tokens // sizes.data)
        computing = 6 * model.active * n_tokens / (sizes.data * sizes.tensor) / BFLOAT16_FLOPS
        rows.append(
            [
                f"{sizes.data:,} x {sizes.tensor}",
                f"{gigabytes(shards)} GB",
                f"{gigabytes(muon)} GB",
                *(f"{(shards + muon) / rate:,.1f} s" for rate in (ETHERNET, INFINIBAND)),
                f"{gigabytes(pieces)} GB",
                f"{pieces / NVLINK:,.1f} s",
                f"{computing:,.1f} s",
            ]
        )
    return markdown_table(header, rows)


def gigabytes(n_bytes: float | int) -> str:
    """Write bytes as gigabytes of 10^9, to three digits or so.

    >>> gigabytes(6_912_345_678), gigabytes(2.5e12)
    ('6.91', '2,500')
    """
    size = n_bytes / 1e9
    if not size:
        return "0"
    return f"{size:,.0f}" if size >= 100 else f"{size:.1f}" if size >= 10 else f"{size:.2f}"


def cluster_tables() -> dict[str, str]:
    """Make what the book's page holds, by name: its tables and the numbers in its sentences."""
    made = {}
    for model in published_models():
        key, layouts = model.name.split()[0], LAYOUTS[model.name]
        several = [layout for layout in layouts if layout != (1, 1)]
        made |= {
            f"{key}_PARAMETERS": f"{model.parameters / 1e9:,.1f}",
            f"{key}_ACTIVE": f"{model.active / 1e9:,.1f}",
            f"{key}_BATCH": f"{BATCHES[model.name]:,}",
            f"{key}_ALONE": gigabytes(process_memory(model, MeshSizes(1, 1)).total),
            f"{key}_WHOLE_GRADIENTS": gigabytes(NUMBER_BYTES * model.parameters),
            f"{key}_MUON": f"{model.muon_flops / FLOAT32_FLOPS:,.0f}",
            f"{key}_MEMORY": memory_table(model, layouts),
            f"{key}_TRAFFIC": traffic_table(model, several, BATCHES[model.name]),
        }
    return made


def main() -> None:
    """Print the tables."""
    made = cluster_tables()
    for key in ("V1", "V3"):
        print(f"{key}: {made[f'{key}_PARAMETERS']} billion parameters. GB held by each process:\n")
        print(made[f"{key}_MEMORY"])
        print(f"\nReceived by each process in a step of {made[f'{key}_BATCH']} tokens:\n")
        print(made[f"{key}_TRAFFIC"], end="\n\n")


if __name__ == "__main__":
    main()
