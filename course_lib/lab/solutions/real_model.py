"""Solutions of lesson 28's exercises, quoted in its notebook."""

import struct

import torch
from jaxtyping import Float
from torch import Tensor


def read_string_solution(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack("<Q", data[at : at + 8])
    end = at + 8 + length
    return data[at + 8 : end].decode(), end


def dequantize_block_solution(block: bytes) -> list[float]:
    scale, least = struct.unpack("<2e", block[:4])
    codes = [byte & 15 for byte in block[4:]] + [byte >> 4 for byte in block[4:]]
    return [scale * code + least for code in codes]


def to_halves_solution(rows: Float[Tensor, "O C"], n_heads: int) -> Float[Tensor, "O C"]:
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1).flatten(0, 1)
