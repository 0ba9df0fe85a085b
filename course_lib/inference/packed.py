"""Run a published model on the 4- and 8-bit weights of its file, which stay packed in memory.

A token of batch 1 needs every weight once, so the bytes that cross the memory bus decide the speed.
`Int4Linear` rounds weights itself; here the file has done so, and nothing is rounded again but
scales and activations, to bfloat16.
"""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.embedding import check_ids
from course_lib.models.gguf_files import (
    BLOCK_WEIGHTS,
    GGUFModel,
    StoredTensor,
    published_parts,
    read_halves,
    read_nibbles,
)
from course_lib.models.llama import Llama

ROWS_AT_ONCE = 4096
Plane = tuple[Tensor, Float[Tensor, "O Q"], Float[Tensor, "O Q"]]


def nibble_planes(stored: StoredTensor) -> list[Plane]:
    """Tell stored weights as sums of scale * (code - 8) + shift, with codes from 0 to 15.

    One such plane for the formats of 4 bits. A code of 8 bits, c = 16 high + low, takes two: for
    scale d, the high halves with 16 d and the low ones with d, shifted by 8 d.
    """
    blocks, (n_rows, width) = stored.blocks, stored.shape
    d = read_halves(blocks, 0)
    if stored.format.name == "Q4_0":
        planes = [(read_nibbles(blocks, 2), d, torch.zeros_like(d))]
    elif stored.format.name == "Q4_1":
        planes = [(read_nibbles(blocks, 4), d, read_halves(blocks, 2) + 8 * d)]
    elif stored.format.name == "Q8_0":
        codes = blocks[:, 2:] ^ 128  # from 0 on: what was -128 is 0
        planes = [(codes >> 4, 16 * d, torch.zeros_like(d)), (codes & 15, d, 8 * d)]
    else:
        raise ValueError(f"weights in {stored.format.name} are not packed in 4 or 8 bits")
    return [
        (codes.reshape(n_rows, width), scale.view(n_rows, -1), shift.view(n_rows, -1))
        for codes, scale, shift in planes
    ]


def pack_planes(stored: StoredTensor) -> list[tuple[Tensor, Tensor]]:
    """Lay out codes and (scale, shift) pairs of each plane as the kernel reads them."""
    return [
        (
            torch._convert_weight_to_int4pack_for_cpu(codes.int(), 1),
            torch.stack([scale.T, shift.T], -1).bfloat16(),
        )
        for codes, scale, shift in nibble_planes(stored)
    ]


class PackedLinear(nn.Module):
    """A linear layer without bias on stored weights, by torch's kernel for 4 bits on the CPU.

    The kernel has no public name in torch 2.13; see `quantize.Int4Linear`. For inference alone.
    """

    def __init__(self, stored: StoredTensor) -> None:
        super().__init__()
        n_rows, width = stored.shape
        if n_rows % 16:
            raise ValueError(f"{n_rows} rows: the kernel takes a multiple of 16")
        parts = [
            pack_planes(stored._replace(rows=rows, shape=(len(rows), width)))
            for rows in stored.rows.split(ROWS_AT_ONCE)  # it takes codes of 32 bits
        ]
        for number, plane in enumerate(zip(*parts, strict=True)):
            codes, scales = zip(*plane, strict=True)
            self.register_buffer(f"codes_{number}", torch.cat(codes))
            self.register_buffer(f"scales_{number}", torch.cat(scales, 1))
        self.two_planes = len(parts[0]) == 2

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B O"]:
        rows, kernel = x.reshape(-1, x.shape[-1]).bfloat16(), torch._weight_int4pack_mm_for_cpu
        out = kernel(rows, self.codes_0, BLOCK_WEIGHTS, self.scales_0).to(x.dtype)
        if self.two_planes:
            out += kernel(rows, self.codes_1, BLOCK_WEIGHTS, self.scales_1)
        return out.view(*x.shape[:-1], -1)


class PackedEmbedding(nn.Module):
    """The token table as stored: rows are made when they are looked up; the head is packed."""

    def __init__(self, stored: StoredTensor) -> None:
        super().__init__()
        self.stored = stored
        self.head = PackedLinear(stored)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        check_ids(ids, self.stored.shape[0])
        rows = self.stored.rows[ids.flatten()]
        table = self.stored._replace(rows=rows, shape=(len(rows), self.stored.shape[1]))
        return table.dequantize().view(*ids.shape, -1)

    def logits(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Score each token as the next one."""
        return self.head(x)


def load_packed_gguf(path: str | Path) -> GGUFModel:
    """Make our Llama of a GGUF file whose matrices are in 4 and 8 bits, and leave them so.

    It answers as `load_gguf`'s, up to bfloat16, in a fifth of the memory. Raises ValueError as that
    one does, and for matrices that are not in such a format.
    """
    settings, stored, tokenizer, template = published_parts(path)
    with torch.device("meta"):
        model = Llama(settings)
    for place, module in list(model.named_modules()):
        if isinstance(module, nn.Linear | nn.Embedding):
            packed = PackedLinear if isinstance(module, nn.Linear) else PackedEmbedding
            model.set_submodule(place, packed(stored.pop(f"{place}.weight")))
    norms = {name: tensor.dequantize() for name, tensor in stored.items()}
    model.load_state_dict(norms, strict=False, assign=True)
    return GGUFModel(model.eval(), tokenizer, template)
