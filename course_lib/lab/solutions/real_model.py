"""Solutions of lesson 28's exercises, quoted in its notebook."""

import struct

import torch
from jaxtyping import Float, Int
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


def chat_text_solution(messages: list[dict[str, str]], system: str) -> str:
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    told = [f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages]
    return "".join(told) + "<|im_start|>assistant\n"


def token_bytes_solution(
    tensors: dict[str, tuple[str, int, int]], blocks: dict[str, tuple[int, int]]
) -> int:
    total = 0
    for name, (form, rows, columns) in tensors.items():
        if name == "token_embd.weight" and "output.weight" in tensors:
            rows = 1
        weights, n_bytes = blocks[form]
        total += rows * columns // weights * n_bytes
    return total


def split_codes_solution(codes: Int[Tensor, "*N"]) -> tuple[Int[Tensor, "*N"], Int[Tensor, "*N"]]:
    shifted = codes.int() + 128
    return shifted // 16, shifted % 16
