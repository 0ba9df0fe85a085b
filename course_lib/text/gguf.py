"""Read what a GGUF file says about itself: its settings and its vocabulary. GGUF is the file format of llama.cpp."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def metadata(path: str | Path) -> dict[str, Any]:
    """All key-value pairs of the file's header. Raises ValueError if the file is no GGUF file or ends too early.

    The header: b"GGUF", version (u32), number of tensors (u64), number of pairs (u64), then the pairs, each a key, the
    type of the value (u32), and the value. Numbers are little-endian; a string is its length (u64) and its bytes.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{path} is not a GGUF file: it does not begin with the letters GGUF")
        try:
            _version, _n_tensors, n_pairs = struct.unpack("<IQQ", file.read(20))
            return {_string(file): _value(file, _number(file, "I")) for _ in range(n_pairs)}
        except struct.error:
            raise ValueError(f"{path} is damaged: it ends inside its header") from None


def _number(file: BinaryIO, code: str) -> int | float | bool:
    return struct.unpack(f"<{code}", file.read(struct.calcsize(code)))[0]


def _string(file: BinaryIO) -> str:
    return file.read(_number(file, "Q")).decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        element, count = struct.unpack("<IQ", file.read(12))
        return [_value(file, element) for _ in range(count)]
    return _number(file, NUMBERS[kind])
