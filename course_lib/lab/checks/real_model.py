"""Checkers of lesson 28. The bytes are written here by numpy, the rows are found one by one."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1: strings
# --------------------------------------------------------------------------------------------------

TEXTS = ("general.name", "café", "", "smollm2")


def _string_bytes(text: str) -> bytes:
    content = text.encode()
    return np.array([len(content)], "<u8").tobytes() + content


def _string_cases() -> list[tuple[bytes, int]]:
    joined, cases = b"GGUF", []
    for text in TEXTS:
        cases.append(len(joined))
        joined += _string_bytes(text)
    return [(joined + b"the rest", at) for at in cases]


def _read(data: bytes, at: int, size: int = 8, order: str = "little") -> tuple[str, int]:
    length = int.from_bytes(data[at : at + size], order)
    end = at + size + length
    return data[at + size : end].decode(errors="replace"), end


def _too_few(data: bytes, at: int) -> tuple[str, int]:
    text, end = _read(data, at)
    return text, end - 8


def _by_characters(data: bytes, at: int) -> tuple[str, int]:
    text, _ = _read(data, at)
    return text, at + 8 + len(text)


def _only_length(data: bytes, at: int) -> tuple[str, int]:
    text, end = _read(data, at)
    return text, end - at


@checker
def read_string(attempt: Attempt) -> str:
    """Read a string of a GGUF file, and where the next thing begins."""

    def plain(got: Any) -> Any:
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return the text and the position behind it; got {describe(got)}")
        if isinstance(got[0], bytes):
            raise Wrong("the text is still bytes: decode it")
        return tuple(got)

    slips = [
        (_too_few, "the 8 bytes of the length are not counted: the next thing begins behind them"
         " *and* the text."),
        (_only_length, "the second value is how far you went. Give the position itself: add `at`."),
        (_by_characters, "the length counts bytes, not characters: é takes two."),
        (lambda data, at: (_read(data, at)[0], at), "the second value is where the string begins."
         " Give where it ends."),
        (lambda data, at: _read(data, 4), "every answer is about the first string. Begin at `at`."),
        (lambda data, at: _read(data, at, 4), "the length has 8 bytes (u64), not 4."),
    ]  # fmt: skip
    judge_by_slips(
        attempt, _string_cases(), _read, slips, lambda data, at: f"the string at {at}", plain=plain
    )
    return "a key, a value, a token: most of a header is such strings."


# Exercise 2: a block
# --------------------------------------------------------------------------------------------------


def _block(scale: float, least: float, seed: int) -> bytes:
    codes = np.random.default_rng(seed).integers(0, 256, 16, dtype=np.uint8)
    return np.array([scale, least], "<f2").tobytes() + codes.tobytes()


BLOCKS = [(_block(0.5, -2.0, 0),), (_block(0.0625, 0.25, 1),), (_block(-0.125, 1.5, 2),)]


def _weights(
    block: bytes, scale: int = 0, least: int = 1, minus: int = 0, order: str = "halves"
) -> list[float]:
    numbers = [*np.frombuffer(block[:4], "<f2").astype(float), 0.0]
    low = [byte % 16 for byte in block[4:]]
    high = [byte // 16 for byte in block[4:]]
    pairs = [code for both in zip(low, high, strict=True) for code in both]
    codes = {"halves": low + high, "turned": high + low, "pairs": pairs}[order]
    return [float(numbers[scale] * (code - minus) + numbers[least]) for code in codes]


@checker
def dequantize_block(attempt: Attempt) -> str:
    """Make 32 weights of the 20 bytes of a Q4_1 block."""

    def plain(got: Any) -> list:
        found = list(got.tolist() if hasattr(got, "tolist") else got)
        if len(found) != 32:
            raise Wrong(f"a block has 32 weights, two in each of 16 bytes; got {len(found)}")
        return found

    slips = [
        (lambda b: _weights(b, order="pairs"), "the two codes of a byte are not neighbours: the low"
         " halves are weights 0 to 15, the high ones 16 to 31."),
        (lambda b: _weights(b, order="turned"), "high and low halves are exchanged: weight 0 is in"
         " the low half of the first byte."),
        (lambda b: _weights(b, minus=8), "8 is taken off each code. Q4_0 does so; here the least"
         " weight is stored instead."),
        (lambda b: _weights(b, least=2), "the least weight is not added: bytes 2 and 3."),
        (lambda b: _weights(b, 1, 0), "scale and least weight are exchanged: the scale comes"
         " first."),
        (lambda b: [-x for x in _weights(b)], "all signs are turned."),
    ]  # fmt: skip
    judge_by_slips(attempt, BLOCKS, _weights, slips, lambda b: "the weights", plain=plain)
    return "20 bytes for 32 weights: 5 bits each."


# Exercise 3: rows
# --------------------------------------------------------------------------------------------------


def _rows(seed: int, n_rows: int, width: int) -> Tensor:
    return torch.randn(n_rows, width, generator=torch.Generator().manual_seed(seed))


ROW_CASES = [(_rows(0, 12, 3), 2), (_rows(1, 8, 2), 1), (_rows(2, 24, 5), 3)]


def _halves(rows: Tensor, n_heads: int, parities: tuple[int, int] = (0, 1)) -> Tensor:
    """Find each row: head by head, the even ones, then the odd ones."""
    size, found = len(rows) // n_heads, []
    for head in range(n_heads):
        for parity in parities:
            found += [rows[head * size + i] for i in range(parity, size, 2)]
    return torch.stack(found)


def _neighbours(rows: Tensor, n_heads: int) -> Tensor:
    """Go the other way: from halves to neighbours."""
    order = _halves(torch.arange(len(rows)).view(-1, 1), n_heads).flatten()
    return rows[order.argsort()]


@checker
def to_halves(attempt: Attempt) -> str:
    """Reorder the rows of queries or keys for rotation by halves."""
    slips = [
        (lambda rows, n: rows, "the rows stay as they are."),
        (_neighbours, "this is the way back: it takes halves apart into neighbours. Rows 0, 2, 4,"
         " ... of a head should come first."),
        (lambda rows, n: _halves(rows, 1), "the matrix is treated as one head. Each head has pairs"
         " of its own: cut the rows into heads first."),
        (lambda rows, n: _halves(rows, n, (1, 0)), "the odd rows of a head come first."
         " Even rows first: 0, 2, 4, ..."),
    ]  # fmt: skip
    judge_by_slips(
        attempt, ROW_CASES, _halves, slips, lambda rows, n: f"{len(rows)} rows in {n} heads"
    )
    return "rows 2i and 2i + 1 of a head now stand half a head apart."
