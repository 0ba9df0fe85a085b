"""Checkers of lesson 28. The bytes are written here by numpy, the rows are found one by one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1: strings
# --------------------------------------------------------------------------------------------------

TEXTS = ("general.name", "café", "", "smollm2", " once\n", 30 * "a template ")


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


def _cut(data: bytes, begin: int, end: int | None, coding: str = "utf-8") -> str:
    return data[begin:end].decode(coding, errors="ignore")


def _other_text(find: Callable[[bytes, int, int], str]) -> Callable[[bytes, int], tuple[str, int]]:
    """The right end, and the text found in the bytes, their begin `at + 8`, and the length."""

    def slip(data: bytes, at: int) -> tuple[str, int]:
        _, end = _read(data, at)
        return find(data, at + 8, end - at - 8), end

    return slip


def _one_byte(data: bytes, at: int) -> tuple[str, int]:
    end = at + 8 + data[at]
    return _cut(data, at + 8, end), end


@checker
def read_string(attempt: Attempt) -> str:
    """Read a string of a GGUF file, and where the next thing begins."""

    def plain(got: Any) -> Any:
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return the text and the position behind it; got {describe(got)}")
        if isinstance(got[0], bytes):
            raise Wrong("the text is still bytes: decode it")
        if isinstance(got[1], str):
            raise Wrong("the text comes first, then the position behind it.")
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
        (_other_text(lambda data, begin, n: _cut(data, begin - 4, begin - 4 + n)), "the length has"
         " 8 bytes (u64), not 4: the text begins behind all of them."),
        (_one_byte, "one byte of the length is read. It has 8, so that a text may be longer than"
         " 255 bytes."),
        (lambda data, at: _read(data, at, order="big"), "the length's highest byte is taken for"
         " its first. The lowest comes first: \"<Q\"."),
        (lambda data, at: (_read(data, at)[0], _read(data, at)[1] - 1), "this is the position of"
         " the text's last byte. Give that of the first byte behind it."),
        (lambda data, at: (_read(data, at)[0], _read(data, at)[1] - at - 8), "the second value is"
         " the text's length. Give the position behind it."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + n, "latin-1")), "each byte"
         " became a character of its own. The text is UTF-8: é takes two bytes."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + n, "ascii")), "characters"
         " outside ASCII are lost. The text is UTF-8."),
        (_other_text(lambda data, begin, n: _cut(data, begin, None)[:n]), "the length counts"
         " bytes, not characters: cut the bytes first, then decode."),
        (_other_text(lambda data, begin, n: _cut(data, begin, None)), "the text runs to the end of"
         " the data. It ends where its length says."),
        (_other_text(lambda data, begin, n: _cut(data, begin, n)), "the slice ends at the length"
         " itself. A slice ends at a position: `at + 8 + length`."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + n).strip()), "blanks and new"
         " lines around the text are cut. They belong to it: many tokens begin with a blank."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + max(0, n - 1))), "the text's"
         " last byte is missing. No zero byte ends a string here; its length is enough."),
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
    block: bytes,
    weight: Callable[[float, float, int], float] = lambda d, m, code: d * code + m,
    order: str = "halves",
    scales: str = "<f2",
    first: int = 4,
    low: Callable[[int], int] = lambda byte: byte % 16,
    high: Callable[[int], int] = lambda byte: byte // 16,
) -> list[float]:
    d, m = np.frombuffer(block[:4], scales).astype(float)
    content = block[first : first + 16]
    lows, highs = [low(byte) for byte in content], [high(byte) for byte in content]
    pairs = [code for both in zip(lows, highs, strict=True) for code in both]
    turned = [code for both in zip(highs, lows, strict=True) for code in both]
    orders = {"halves": lows + highs, "high first": highs + lows, "pairs": pairs, "turned": turned}
    return [float(weight(d, m, code)) for code in orders[order]]


def _signed(code: int) -> int:
    return code - 16 if code > 7 else code


BLOCK_SLIPS = [
    (lambda b: _weights(b, order="pairs"), "the two codes of a byte are not neighbours: the low"
     " halves are weights 0 to 15, the high ones 16 to 31."),
    (lambda b: _weights(b, order="turned"), "the two codes of a byte are not neighbours, and weight"
     " 0 is in a low half: the low halves are weights 0 to 15, the high ones 16 to 31."),
    (lambda b: _weights(b, order="high first"), "high and low halves are exchanged: weight 0 is in"
     " the low half of the first byte."),
    (lambda b: _weights(b, lambda d, m, q: d * (q - 8) + m), "8 is taken off each code. Q4_0 does"
     " so; here the least weight is stored instead."),
    (lambda b: _weights(b, lambda d, m, q: d * (q - 8)), "8 is taken off each code. Q4_0 does so;"
     " here the least weight is stored instead, in bytes 2 and 3."),
    (lambda b: _weights(b, lambda d, m, q: d * _signed(q) + m), "codes from 8 on became negative. A"
     " code has no sign: it goes from 0 to 15."),
    (lambda b: _weights(b, lambda d, m, q: q), "these are the codes. A weight is the scale times"
     " its code, and the least weight added."),
    (lambda b: _weights(b, lambda d, m, q: d * q), "the least weight is not added: bytes 2 and 3."),
    (lambda b: _weights(b, lambda d, m, q: d * q - m), "the least weight is subtracted. Add it: it"
     " carries its own sign."),
    (lambda b: _weights(b, lambda d, m, q: d * (q + m)), "the least weight is scaled as well. Only"
     " the code is: d times q, then m added."),
    (lambda b: _weights(b, lambda d, m, q: m * q + d), "scale and least weight are exchanged: the"
     " scale comes first."),
    (lambda b: [-x for x in _weights(b)], "all signs are turned."),
    (lambda b: _weights(b, scales=">f2"), "scale and least weight are read with their high byte"
     " first. The low byte comes first: \"<2e\"."),
    (lambda b: _weights(b, scales="<i2"), "scale and least weight are read as whole numbers. They"
     " are float16: letter e in a format of `struct`."),
    (lambda b: _weights(b, first=0), "the codes begin at byte 4: bytes 0 to 3 are scale and least"
     " weight."),
    (lambda b: _weights(b, high=lambda byte: byte & 240), "the high halves are not shifted: they"
     " are 16 times too large."),
    (lambda b: _weights(b, low=lambda byte: byte & 7), "a low half loses its highest bit: four bits"
     " are left by `& 15`."),
    (lambda b: [round(x, 2) for x in _weights(b)], "the weights are rounded. Give them as they"
     " are."),
]  # fmt: skip


@checker
def dequantize_block(attempt: Attempt) -> str:
    """Make 32 weights of the 20 bytes of a Q4_1 block."""

    def plain(got: Any) -> list:
        found = list(got.tolist() if hasattr(got, "tolist") else got)
        if len(found) != 32:
            raise Wrong(f"a block has 32 weights, two in each of 16 bytes; got {len(found)}")
        return found

    judge_by_slips(attempt, BLOCKS, _weights, BLOCK_SLIPS, lambda b: "the weights", plain=plain)
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


def _heads_moved(rows: Tensor, n_heads: int) -> Tensor:
    heads = rows.view(n_heads, len(rows) // n_heads, -1)
    return torch.cat([heads[::2], heads[1::2]]).flatten(0, 1)


def _halves_exchanged(rows: Tensor, n_heads: int) -> Tensor:
    heads = rows.view(n_heads, len(rows) // n_heads, -1)
    return torch.cat(heads.chunk(2, dim=1)[::-1], dim=1).flatten(0, 1)


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
        (lambda rows, n: _halves(rows, n, (0, 0)), "the even rows of a head stand there twice, and"
         " the odd ones are lost. Rows 1, 3, 5, ... come second."),
        (lambda rows, n: _halves(rows, len(rows) // n), "`n_heads` is taken for the number of rows"
         " in a head. It is the number of heads."),
        (_heads_moved, "whole heads are moved. The heads stay where they are; the rows move within"
         " each."),
        (_halves_exchanged, "the two halves of each head are exchanged. Take every second row"
         " instead, from 0 on, then from 1 on."),
    ]  # fmt: skip
    judge_by_slips(
        attempt, ROW_CASES, _halves, slips, lambda rows, n: f"{len(rows)} rows in {n} heads"
    )
    return "rows 2i and 2i + 1 of a head now stand half a head apart."
