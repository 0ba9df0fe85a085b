"""Values in a few words, for a table of variables."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MOST_ITEMS = 8
MOST_NUMBERS = 48  # of a tensor
LONGEST_TEXT = 60  # of a string
LONGEST_LINE = 80  # of a value inside another
LONGEST_VALUE = 700


def brief_text(value: Any) -> str:
    """Write a value so that it fits into a cell of a table.

    >>> brief_text([b"a", 0.123456, {"n": 3}])
    "[b'a', 0.1235, {'n': 3}]"
    >>> brief_text(list(range(300)))
    '[0, 1, 2, 3, 4, … 293 more …, 298, 299]'
    >>> print(brief_text(torch.tensor([[0.5, 0.25]])))
    float32 (1, 2) [[0.5  0.25]]
    """
    text = _text(value)
    return _cut(text, LONGEST_VALUE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _text(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return _array(value)
    if isinstance(value, nn.Module):
        return _module(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= LONGEST_TEXT else repr(value[:LONGEST_TEXT]) + "…"
    if value is None or isinstance(value, bool | int | torch.dtype | torch.device):
        return repr(value)
    return _collection(value)


def _collection(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = value.most_common() if isinstance(value, Counter) else value.items()
        return "{" + _listed([f"{_line(key)}: {_line(each)}" for key, each in pairs]) + "}"
    if is_dataclass(value) and not isinstance(value, type):
        return _named_fields(value)
    if isinstance(value, list):
        return f"[{_listed(list(map(_line, value)))}]"
    if isinstance(value, tuple | set | frozenset):
        return f"({_listed(list(map(_line, value)))})"
    name = getattr(value, "__name__", None)
    return f"{type(value).__name__} {name}" if isinstance(name, str) else type(value).__name__


def _named_fields(value: Any) -> str:
    """A dataclass with its fields, one a line; of settings, which have many, the number."""
    parts = {each.name: getattr(value, each.name) for each in fields(value)}
    if len(parts) > MOST_ITEMS:
        return f"{type(value).__name__}, {len(parts)} fields"
    told = [f"{name}: {_line(part)}" for name, part in parts.items()]
    return "\n".join([type(value).__name__, *told])


def _line(value: Any) -> str:
    """The same on one line, for an item among others."""
    return _cut(" ".join(_text(value).split()), LONGEST_LINE)


def _listed(items: list[str]) -> str:
    return ", ".join(_shortened(items))


def _shortened(items: list[str]) -> list[str]:
    """The first and the last items, and how many lie between them."""
    if len(items) <= MOST_ITEMS:
        return items
    return [*items[: MOST_ITEMS - 3], f"… {len(items) - MOST_ITEMS + 1} more …", *items[-2:]]


def _array(value: Tensor | np.ndarray) -> str:
    """Kind of number, shape, and the rounded numbers; of many the first and the last."""
    kind, shape = str(value.dtype).removeprefix("torch."), tuple(value.shape)
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
    value = value + 0.0 if value.dtype.kind == "f" else value  # no -0
    numbers = np.array2string(
        value, precision=3, suppress_small=True, threshold=MOST_NUMBERS, edgeitems=2
    )
    between = "\n" if "\n" in numbers else " "
    return f"{kind} {shape}{between}{numbers}"


def _module(value: nn.Module) -> str:
    """The name of its class, and its weights if they are few."""
    weights = dict(value.named_parameters())
    n_weights = sum(weight.numel() for weight in weights.values())
    told = f"{type(value).__name__}, {n_weights:,} parameters"
    if n_weights > MOST_NUMBERS:
        return told
    return "\n".join([told, *(f"{name}: {_line(weight)}" for name, weight in weights.items())])
