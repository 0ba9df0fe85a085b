"""Read what a GGUF file, llama.cpp's format, says about itself: settings, vocabulary, tensors."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

GGUF_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
BOOL, STRING, ARRAY = 7, 8, 9
MEGABYTE = 2**20
# version 1 counts with 32 bits, and a big-endian file shows another number here
GGUF_VERSIONS = (2, 3)
MOST_AXES = 4
ALIGNMENT = 32  # of tensors in the file, in bytes, unless the pair general.alignment says another


class TensorPlace(NamedTuple):
    """What the header says of one tensor: its shape, the slowest axis first as in torch (the file
    has the fastest first), the number of its format, and the byte of the file where it starts."""

    shape: tuple[int, ...]
    kind: int
    start: int


def gguf_metadata(path: str | Path) -> dict[str, Any]:
    """All key-value pairs of the file's header. Raises ValueError if it is no GGUF file or damaged.

    The header: b"GGUF", version (u32), number of tensors (u64), number of pairs (u64), then the
    pairs, each a key, the type of the value (u32), and the value. Numbers are little-endian; a
    string is its length (u64) and its bytes.
    """
    return _read_header(path, _pairs)


def gguf_header(path: str | Path) -> tuple[dict[str, Any], dict[str, TensorPlace]]:
    """All key-value pairs of the file, and where each of its tensors is, by name.

    Behind the pairs, each tensor has its name, the number of its axes (u32), their lengths (u64),
    its format (u32), and its distance (u64) from where the data begin. Raises as `gguf_metadata`.
    """
    return _read_header(path, _pairs_and_places)


def _read_header(path: str | Path, read: Callable[[BinaryIO], Any]) -> Any:
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{path} is not a GGUF file: it does not begin with the letters GGUF")
        try:
            return read(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None


def _pairs_and_places(file: BinaryIO) -> tuple[dict[str, Any], dict[str, TensorPlace]]:
    pairs, places = _pairs(file), {}
    after_the_pairs = file.tell()
    file.seek(8)  # behind the letters and the version
    n_tensors = _number(file, "Q")
    file.seek(after_the_pairs)
    for _ in range(n_tensors):
        name, n_axes = _string(file), _number(file, "I")
        if name in places or not 1 <= n_axes <= MOST_AXES:
            raise ValueError(f"the tensor {name!r} comes twice, or has {n_axes} axes")
        shape = tuple(_number(file, "Q") for _ in range(n_axes))[::-1]
        places[name] = TensorPlace(shape, _number(file, "I"), _number(file, "Q"))
    step = pairs.get("general.alignment", ALIGNMENT)
    if not isinstance(step, int) or step < 1:
        raise ValueError(f"its alignment is {step!r}, no number of bytes")
    data = -(-file.tell() // step) * step
    return pairs, {name: p._replace(start=data + p.start) for name, p in places.items()}


def _pairs(file: BinaryIO) -> dict[str, Any]:
    version, _n_tensors, n_pairs = (_number(file, code) for code in "IQQ")
    if version not in GGUF_VERSIONS:
        raise ValueError(f"its version is {version}; known are 2 and 3, little-endian")
    pairs: dict[str, Any] = {}
    for _ in range(n_pairs):
        key = _string(file)
        if key in pairs:
            raise ValueError(f"it names {key!r} twice")
        pairs[key] = _value(file, _number(file, "I"))
    return pairs


def _bytes(file: BinaryIO, n_bytes: int) -> bytes:
    """Read so many bytes, or raise: a damaged length may ask for more than any memory holds."""
    too_many = n_bytes > MEGABYTE and n_bytes > os.fstat(file.fileno()).st_size
    data = b"" if too_many else file.read(n_bytes)
    if len(data) < n_bytes:
        raise ValueError("it ends inside its header")
    return data


def _number(file: BinaryIO, code: str) -> int | float:
    return struct.unpack(f"<{code}", _bytes(file, struct.calcsize(f"<{code}")))[0]


def _string(file: BinaryIO) -> str:
    return _bytes(file, _number(file, "Q")).decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        element, count = _number(file, "I"), _number(file, "Q")
        return [_value(file, element) for _ in range(count)]
    if kind == BOOL:
        return _bool(_number(file, "B"))
    if kind not in GGUF_NUMBERS:
        raise ValueError(f"it holds a value of type {kind}; known are 0 to 12")
    return _number(file, GGUF_NUMBERS[kind])


def _bool(byte: int) -> bool:
    if byte > 1:
        raise ValueError(f"it holds {byte} for a bool, which is 0 or 1")
    return byte == 1
