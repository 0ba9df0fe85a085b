"""Weights in 8 or 4 bits: whole numbers, and one scale for each group of neighbours."""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn


def quantize_groups(
    weight: Float[Tensor, "*N C"], bits: int, group_size: int | None = 32
) -> tuple[Int8[Tensor, "*N C"], Float[Tensor, "*_ Q"]]:
    """Round weights to whole numbers from -L to L, with L = 2^(bits - 1) - 1, times a scale.

    Each group of `group_size` neighbours in a row has its own scale, its largest size / L, kept in
    float16; None is one scale for the whole tensor. A group of zeros has a scale of 0. Symmetric
    round-to-nearest, as in Dettmers et al. 2022 (arXiv 2208.07339, section 2) with groups for their
    rows; no data is looked at, as GPTQ (Frantar et al. 2022, arXiv 2210.17323) does.

    >>> row = torch.tensor([[0.7, -0.2, 70.0, 0.0]])
    >>> codes, scales = quantize_groups(row, bits=4, group_size=2)
    >>> codes.tolist(), [round(scale, 1) for scale in scales[0].tolist()]
    ([[7, -2, 7, 0]], [0.1, 10.0])
    """
    check_quantization(weight, bits, group_size)
    groups = weight.float()
    if group_size is not None:
        groups = groups.unflatten(-1, (-1, group_size))
    limit = 2 ** (bits - 1) - 1
    axes = (-1,) if group_size is not None else tuple(range(weight.ndim))
    scales = (groups.abs().amax(axes, keepdim=True) / limit).half()
    if not scales.isfinite().all():
        raise ValueError(f"a weight of {weight.abs().max()} is too large for a scale in float16")
    codes = groups / scales.float().where(scales != 0, 1.0)
    codes = codes.round().clamp(-limit, limit).to(torch.int8).reshape(weight.shape)
    return codes, scales.squeeze(-1) if group_size is not None else scales


def dequantize_groups(
    codes: Int8[Tensor, "*N C"], scales: Float[Tensor, "*_ Q"]
) -> Float[Tensor, "*N C"]:
    """Multiply each code by the scale of its group: the weights, as far as they are kept."""
    groups = codes.unflatten(-1, (scales.shape[-1], -1)).float()
    return (groups * scales.float()[..., None]).flatten(-2)


def check_quantization(weight: Tensor, bits: int, group_size: int | None) -> None:
    """Raise a ValueError unless it is 2 to 8 bits, and rows can be cut into such groups."""
    if bits not in range(2, 9):
        raise ValueError(f"bits {bits} is not between 2 and 8")
    if group_size is not None and (group_size < 1 or weight.shape[-1] % group_size):
        raise ValueError(
            f"a row of {weight.shape[-1]} weights cannot be cut into groups of {group_size}"
        )


def pack_nibbles(codes: Int8[Tensor, "*N C"]) -> UInt8[Tensor, "*N P"]:
    """Put two codes of 4 bits, from -8 to 7, into each byte: the even one low, the odd one high.

    >>> pack_nibbles(torch.tensor([1, -1], dtype=torch.int8)).item() == 9 + 16 * 7   # 8 is added
    True
    """
    if codes.shape[-1] % 2 or codes.min() < -8 or codes.max() > 7:
        raise ValueError(
            f"{codes.shape[-1]} codes from {codes.min()} to {codes.max()}: an even number of codes"
            " from -8 to 7 can be packed"
        )
    low, high = (codes + 8).to(torch.uint8).unflatten(-1, (-1, 2)).unbind(-1)
    return low | high << 4


def unpack_nibbles(packed: UInt8[Tensor, "*N P"]) -> Int8[Tensor, "*N C"]:
    """Take the two codes out of each byte again."""
    return torch.stack([packed & 15, packed >> 4], -1).flatten(-2).to(torch.int8) - 8


class QuantizedLinear(nn.Module):
    """A linear layer whose weights are codes of 8 or 4 bits and scales; for inference alone.

    Weights are made again at each call, by a step of its own: that saves memory, not time (see
    `Int4Linear`).
    """

    def __init__(self, linear: nn.Linear, bits: int, group_size: int | None = 32) -> None:
        super().__init__()
        if bits not in (4, 8):
            raise ValueError(f"codes of {bits} bits are not stored here, only those of 8 and 4")
        codes, scales = quantize_groups(linear.weight.detach(), bits, group_size)
        self.bits, self.shape = bits, tuple(linear.weight.shape)
        self.register_buffer("codes", pack_nibbles(codes) if bits == 4 else codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    @property
    def weight(self) -> Float[Tensor, "F C"]:
        """Make the weights from codes and scales."""
        codes = unpack_nibbles(self.codes) if self.bits == 4 else self.codes
        return dequantize_groups(codes, self.scales)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B F"]:
        return F.linear(x, self.weight.to(x.dtype), self.bias)


class Int4Linear(nn.Module):
    """A linear layer in 4 bits by torch's own kernel, which makes weights again in registers.

    The same codes as `QuantizedLinear` with groups of 32, 64, 128 or 256: what it multiplies by is
    equal up to bfloat16's rounding of the scales. Only as many bytes as are stored cross the memory
    bus. The kernel has no public name in torch 2.13 and runs on the CPU alone.
    """

    def __init__(self, linear: nn.Linear, group_size: int = 32) -> None:
        super().__init__()
        if linear.bias is not None:
            raise ValueError(f"a bias of {len(linear.bias)} numbers: this layer has none")
        codes, scales = quantize_groups(linear.weight.detach(), 4, group_size)
        self.group_size = group_size
        packed = torch._convert_weight_to_int4pack_for_cpu(codes.int() + 8, 1)
        scales = scales.T.bfloat16()
        self.register_buffer("codes", packed)
        # a scale and what is added for each group: nothing, since the codes are symmetric
        self.register_buffer("scales", torch.stack([scales, torch.zeros_like(scales)], -1))

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B F"]:
        rows = x.reshape(-1, x.shape[-1]).bfloat16()
        out = torch._weight_int4pack_mm_for_cpu(
            rows, self.codes, self.group_size, self.scales.contiguous()
        )
        return out.to(x.dtype).reshape(*x.shape[:-1], -1)


def quantize_model(
    model: nn.Module, bits: int, group_size: int | None = 32, kernel: bool = False
) -> nn.Module:
    """Copy a model with all its linear layers quantized; embeddings and norms stay as they are.

    With `kernel` the layers are `Int4Linear`. Raises ValueError for a model without linear layers,
    and for a row of weights that groups do not divide.
    """
    small = copy.deepcopy(model)
    found = [
        (parent, name, child)
        for parent in small.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    if not found:
        raise ValueError(f"{type(model).__name__} has 0 linear layers to quantize")
    for parent, name, linear in found:
        layer = Int4Linear(linear, group_size) if kernel else None
        setattr(parent, name, layer or QuantizedLinear(linear, bits, group_size))
    return small.eval()


def stored_bytes(model: nn.Module) -> int:
    """Count the bytes of a model's parameters and buffers, shared ones once."""
    tensors = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    return sum(tensor.nbytes for tensor in tensors.values())
