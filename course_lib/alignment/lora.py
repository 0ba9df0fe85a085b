"""Low-rank adaptation: freeze a model, and learn a small change to each of its matrices.

A change of rank r to a matrix of O rows and I columns is a product of two thin matrices: r * (O +
I) numbers to train in place of O * I. Gradients and an optimizer's averages are kept for these
alone. Source: Hu et al. 2021 (arXiv 2106.09685).
"""

from collections.abc import Collection
from numbers import Integral
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.check_numbers import check_positive_numbers, is_number
from course_lib.training.checkpoint import CheckpointError, read_tensors, write_tensors

LORA_KIND = "low-rank changes"


class LoRALinear(nn.Module):
    """A frozen linear layer and a learnt change of low rank: (W + alpha / rank * B A) x + bias.

    `A` is drawn from N(0, 1 / in_features), so that A x is about as large as x; `B` is 0, so that
    training starts from the layer as it was. Whoever asks for `weight`, as latent attention does,
    gets the changed one. Source: arXiv 2106.09685, section 4.1 and equation 3. Differs: no dropout
    in front of A.

    >>> layer = LoRALinear(nn.Linear(2, 1, bias=False), rank=1, alpha=3.0)
    >>> for parameter, numbers in zip(layer.parameters(), ([[2.0]], [[1.0, 5.0]], [[10.0, 20.0]])):
    ...     parameter.data = torch.tensor(numbers)      # B, A and W
    >>> layer.weight.tolist()                           # 10 + 3 * 2 * 1 and 20 + 3 * 2 * 5
    [[16.0, 50.0]]
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        check_lora_shape(linear, rank, alpha)
        self.scale = alpha / rank
        self.lora_B = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        self.lora_A = nn.Parameter(torch.randn_like(linear.weight[:rank]) / linear.in_features**0.5)
        self.linear = linear.requires_grad_(False)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Add what the layer says and what the change says, without making B A."""
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.lora_A), self.lora_B)

    @property
    def weight(self) -> Float[Tensor, "O I"]:
        """Give the changed matrix."""
        return self.linear.weight + self.scale * self.lora_B @ self.lora_A

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Write the change into the layer and give it back."""
        self.linear.weight.copy_(self.weight)
        return self.linear


def add_lora(
    model: nn.Module, rank: int = 8, alpha: float = 16.0, names: Collection[str] | None = None
) -> list[str]:
    """Freeze `model` and give its linear layers changes to learn; return these layers' places.

    `names` are the layers' own names, as in `["qkv", "out"]`: by default all but the `head`. What
    is not an `nn.Linear` is frozen and left alone: embeddings, norms, routers and the experts that
    a router chooses from, whose matrices are stacked in one tensor (the shared experts do learn). A
    layer that makes queries, keys and values at once has one change for the three. Call
    `merge_lora` before saving a model.
    """
    if lora_layers(model):
        raise ValueError("this model has LoRA layers already: merge them before adding others")
    linear = {
        place: module for place, module in model.named_modules() if isinstance(module, nn.Linear)
    }
    known = {last_name_part(place) for place in linear}
    wanted = known - {"head"} if names is None else set(names)
    if not wanted or not wanted <= known:
        raise ValueError(
            f"names {sorted(wanted)} must be some of the linear layers {', '.join(sorted(known))}"
        )
    chosen = {place: layer for place, layer in linear.items() if last_name_part(place) in wanted}
    for layer in chosen.values():
        check_lora_shape(layer, rank, alpha)
    model.requires_grad_(False)
    for place, layer in chosen.items():
        model.set_submodule(place, LoRALinear(layer, rank, alpha))
    return list(chosen)


def check_lora_shape(linear: nn.Linear, rank: int, alpha: float) -> None:
    """Raise a ValueError that names the numbers if there is no such change to the layer."""
    if not is_number(rank, 1, min(linear.weight.shape)) or not isinstance(rank, Integral):
        sizes = "{} x {}".format(*linear.weight.shape)
        raise ValueError(
            f"rank {rank!r} for a matrix of {sizes}: it must be from 1 to"
            f" {min(linear.weight.shape)}"
        )
    check_positive_numbers(alpha=alpha)


def last_name_part(place: str) -> str:
    """Give a layer's own name: `last_name_part("blocks.0.attention.qkv")` is 'qkv'."""
    return place.rpartition(".")[2]


def merge_lora(model: nn.Module) -> list[str]:
    """Write every change into its matrix, so that `model` is a plain one again; see `add_lora`.

    All of it is trainable then. It answers as before, up to rounding, and at the speed of a plain
    model. The changes are gone: to keep them apart, merge a copy. Returns the places of the layers.
    """
    changed = lora_layers(model)
    if not changed:
        raise ValueError("this model has no LoRA layers to merge")
    for place, layer in changed.items():
        model.set_submodule(place, layer.merged())
    model.requires_grad_(True)
    return list(changed)


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """Give the layers with a change, by their places."""
    return {place: layer for place, layer in model.named_modules() if isinstance(layer, LoRALinear)}


def save_lora(path: Path | str, model: nn.Module) -> None:
    """Write the changes alone, without the model that they change: see `write_tensors`.

    Raises ValueError for a model without any.
    """
    layers = lora_layers(model)
    if not layers:
        raise ValueError("this model has no LoRA layers to save")
    tensors = {
        f"{place}.{part}": getattr(layer, part).detach()
        for place, layer in layers.items()
        for part in ("lora_A", "lora_B")
    }
    write_tensors(path, LORA_KIND, tensors, {"scales": {p: x.scale for p, x in layers.items()}})


def load_lora(path: Path | str, model: nn.Module) -> list[str]:
    """Give a plain model the changes that `save_lora` wrote; return their places.

    The model is frozen but for these, as by `add_lora`. Raises CheckpointError, and leaves the
    model as it was, for a damaged file or one whose changes do not fit.
    """
    if lora_layers(model):
        raise ValueError("this model has LoRA layers already: merge them before adding others")
    tensors, about = read_tensors(path, LORA_KIND)
    linear = {p: layer for p, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    changed = {}
    for place, scale in about["scales"].items():
        A, B = (tensors[f"{place}.{part}"] for part in ("lora_A", "lora_B"))
        shape = (len(B), A.shape[1])
        if place not in linear or linear[place].weight.shape != shape:
            found = tuple(linear[place].weight.shape) if place in linear else "no linear layer"
            raise CheckpointError(f"{path} changes {place} of {shape}; the model has {found} there")
        changed[place] = (scale, A, B)
    model.requires_grad_(False)
    for place, (scale, A, B) in changed.items():
        layer = LoRALinear(linear[place], len(A), scale * len(A))
        layer.lora_A.data.copy_(A)
        layer.lora_B.data.copy_(B)
        model.set_submodule(place, layer)
    return list(changed)


def count_trainable_parameters(model: nn.Module) -> int:
    """Count the numbers that a step of training changes: those of parameters that are not frozen.

    >>> layer = LoRALinear(nn.Linear(100, 50), rank=2, alpha=2.0)
    >>> count_trainable_parameters(layer)     # 2 * (100 + 50), of 5,050 and 300
    300
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
