"""Tensor and expert parallelism: cut a model's matrices, or spread its experts, over processes.

Tensor parallelism cuts every matrix over neighbouring processes, by DTensor.

The first matrix of a pair is cut by columns (of the formula x W), the second by rows, so that a
layer's attention and its MLP each meet once in the forward pass and once in the backward pass
(Megatron-LM, Shoeybi et al. 2019, arXiv 1909.08053, section 3). The table of tokens is cut by rows,
as is the head; scores are put together, so that every objective sees whole ones. (Megatron keeps
them cut, and computes the loss on the pieces.) What is not cut, the norms, every process has whole.

Only `distributed` imports this, and late: PyTorch's side of it takes seconds to import.
"""

import logging
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)

from course_lib.layers.attention import SelfAttention
from course_lib.layers.embedding import Embedding
from course_lib.layers.expert_parallel import ParallelExperts
from course_lib.layers.moe import MoE
from course_lib.models.gpt2 import GPT2
from course_lib.models.llama import Llama
from course_lib.training.distributed import grouped_rows

CUT_MODELS = (GPT2, Llama)

# DTensor warns of all that meets along both sides of the rectangle, which takes two collectives.
logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)


def cut_over_processes(model: nn.Module, mesh: DeviceMesh) -> None:
    """Cut a GPT-2 or Llama over the processes of a one-dimensional mesh; all have the same model.

    Its forward takes and gives whole tensors, as before. Raises ValueError for a model of another
    kind, and for sizes that the processes do not divide.
    """
    check_cut(model, mesh.size())
    for block in model.blocks:
        order_rows(block.attention)
    parallelize_module(model, mesh, cutting_plan(model))
    for block in model.blocks:
        share_heads(block.attention, mesh.size())
    if getattr(model, "head", None) is None:
        model.token_embedding.logits = partial(tied_logits, model.token_embedding, mesh)


def check_cut(model: nn.Module, n_processes: int) -> None:
    """Raise a ValueError if the model cannot be cut into so many equal parts."""
    if type(model) not in CUT_MODELS:
        known = " and ".join(kind.__name__ for kind in CUT_MODELS)
        raise ValueError(
            f"tensor-parallel {n_processes}: only {known} can be cut, not {type(model).__name__},"
            " which can be sharded over data-parallel processes"
        )
    for name in ("n_heads", "n_kv_heads", "d_ff", "vocab_size"):
        size = getattr(model.settings, name, n_processes)
        if size % n_processes:
            raise ValueError(f"{name} {size} is not divisible by tensor-parallel {n_processes}")


def cutting_plan(model: nn.Module) -> dict[str, ParallelStyle]:
    """Say of each part of a GPT-2 or Llama how it is cut."""
    columns, rows, whole = ColwiseParallel(), RowwiseParallel(), ReplicatedParallel()
    enter = PrepareModuleInput(
        input_layouts=(Replicate(),), desired_input_layouts=(Replicate(),), use_local_output=False
    )
    plan = {
        "token_embedding": RowwiseParallel(input_layouts=Replicate()),
        "position_embedding": whole,
        "blocks.*.norm_1": whole,
        "blocks.*.attention.qkv": columns,
        "blocks.*.attention.out": rows,
        "blocks.*.norm_2": whole,
        "blocks.*.mlp": enter,  # gate and up then share one sum of gradients
        "blocks.*.mlp.gate": columns,
        "blocks.*.mlp.up": columns,
        "blocks.*.mlp.down": rows,
        "norm": whole,
        "head": ColwiseParallel(output_layouts=Replicate()),
    }
    parts = {name.replace(".0.", ".*.") for name, _ in model.named_modules()}
    return {name: style for name, style in plan.items() if name in parts}


class ReplicatedParallel(ParallelStyle):
    """Every process has the whole module; its parameters stand on the mesh as all others do."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, device_mesh, None, self.enter, self.leave)

    @staticmethod
    def enter(module: nn.Module, inputs: tuple, mesh: DeviceMesh) -> tuple:
        return tuple(DTensor.from_local(x, mesh, [Replicate()], run_check=False) for x in inputs)

    @staticmethod
    def leave(module: nn.Module, output: DTensor, mesh: DeviceMesh) -> Tensor:
        return output.to_local()


def tied_logits(
    table: Embedding, mesh: DeviceMesh, x: Float[Tensor, "B T C"]
) -> Float[Tensor, "B T V"]:
    """Score every token by its row of a table that is cut over the processes."""
    x = DTensor.from_local(x, mesh, [Replicate()], run_check=False)
    return F.linear(x, table.weight).redistribute(placements=[Replicate()]).to_local()


@torch.no_grad()
def order_rows(attention: SelfAttention) -> None:
    """Put the rows of `qkv` in the order of `grouped_rows`, to be cut into whole heads.

    They come as all queries, all keys, all values, of which equal pieces would hold no whole head.
    The order is kept at the module: `distributed.row_orders` asks for it when parameters are saved.
    """
    order = grouped_rows(attention.n_heads, attention.n_kv_heads, attention.d_head)
    for parameter in attention.qkv.parameters():
        parameter.copy_(parameter[order])
    attention.qkv.row_order = order


def share_heads(attention: SelfAttention, n_processes: int) -> None:
    """Let an attention whose rows are in order reckon with its own heads alone."""
    attention.n_heads //= n_processes
    attention.n_kv_heads //= n_processes
    back = grouped_rows(attention.n_heads, attention.n_kv_heads, attention.d_head).argsort()
    back = back.to(attention.qkv.weight.device)
    attention.qkv.register_forward_hook(lambda module, inputs, output: output[..., back])


# Expert parallelism
# --------------------------------------------------------------------------------------------------


class SpreadExperts(ParallelExperts):
    """Experts on a mesh of (copies, ranks that share them), as DTensors: saved and resumed as such.

    Each rank's gradient holds what all tokens that came to it said; `average_gradients` adds up the
    copies, and divides by all processes, as the engines do with the other parameters.
    """

    def __init__(self, experts: nn.Module, mesh: DeviceMesh) -> None:
        super().__init__(experts, mesh.get_group("expert"))
        self.mesh = mesh
        for name, whole in experts.named_parameters():
            cut = distribute_tensor(
                whole.detach(), mesh, [Replicate(), Shard(0)], src_data_rank=None
            )
            setattr(self, name, nn.Parameter(cut))

    @torch.no_grad()
    def average_gradients(self) -> None:
        for parameter in self.parameters():
            if parameter.grad is not None:
                local = parameter.grad.to_local()
                dist.all_reduce(local, group=self.mesh.get_group("copy"))
                local /= self.mesh.size()


def spread_experts(model: nn.Module, mesh: DeviceMesh) -> set[nn.Parameter]:
    """Give every rank of the mesh's "expert" axis its share of each layer's experts; name them.

    Raises ValueError for a model without experts, and for experts that the ranks do not divide.
    """
    check_experts(model, mesh["expert"].size())
    layers = [module for module in model.modules() if isinstance(module, MoE)]
    for layer in layers:
        layer.experts = SpreadExperts(layer.experts, mesh)
    return {parameter for layer in layers for parameter in layer.experts.parameters()}


def check_experts(model: nn.Module, n_ranks: int) -> None:
    """Raise a ValueError if a model's experts cannot be shared by so many ranks."""
    layers = [module for module in model.modules() if isinstance(module, MoE)]
    if not layers:
        raise ValueError(
            f"expert-parallel {n_ranks}: a {type(model).__name__} has 0 layers of experts"
        )
    for layer in layers:
        if len(layer.experts.down) % n_ranks:
            raise ValueError(
                f"n_experts {len(layer.experts.down)} is not divisible by expert-parallel {n_ranks}"
            )
