"""Compare a learner's result with the wanted one, and say in words where and how they differ."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence, Set, ValuesView
from decimal import Decimal
from fractions import Fraction
from numbers import Number
from typing import Any

from course_lib.lab.checks.kinds import ARRAY, IN_BROWSER, NUMPY_NUMBER, TENSOR

if not IN_BROWSER:
    import numpy as np
    import torch
    from torch import Tensor

NAN = "0/0, inf - inf, 0 * log(0) and the root or log of a negative number make NaN."


class Wrong(Exception):
    """The sentence a learner should read about a wrong answer: what is wrong, and why."""


class _Short(reprlib.Repr):
    """Shows a value in few letters; tensors and arrays inside a container by their shape."""

    def repr_Tensor(self, value: Any, level: int) -> str:
        return f"tensor{tuple(value.shape)}" if value.ndim else number(value.item())

    repr_Parameter = repr_ndarray = repr_Tensor

    def repr_function(self, value: Any, level: int) -> str:
        return f"function {value.__name__}"  # and not where it lies in memory


_short = _Short()
_short.maxstring = _short.maxother = 100
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxfrozenset = 12
_short.maxdict = 8
LONGEST = 160  # letters of a description


def describe(value: Any) -> str:
    """Name a value in a few words, by type, shape or content.

    >>> describe(torch.zeros(2, 3))
    'a tensor of shape (2, 3) [0, 0, 0, 0, ...]'
    >>> describe([1, 2])
    'the list [1, 2]'
    """
    if isinstance(value, ARRAY) and value.ndim:
        return _described_array(value)
    if isinstance(value, TENSOR):
        return f"the tensor {number(value.item())}"
    if value is None or isinstance(value, bool | str | bytes):
        return _short.repr(value)
    if isinstance(value, (Number, NUMPY_NUMBER)):
        return number(value)
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    told = f"the {type(value).__name__} {_short.repr(value)}"
    return told if len(told) <= LONGEST else f"{told[: LONGEST - 20]} ... {told[-12:]}"


def _described_array(value: Tensor | np.ndarray) -> str:
    """Name kind, shape, the type of its numbers if it isn't the usual one, and the first four."""
    kind = "tensor" if isinstance(value, Tensor) else "numpy array"
    dtype = str(value.dtype).removeprefix("torch.")
    usual = ("float32", "int64") if kind == "tensor" else ("float64", "int64")
    shape = f"of shape {tuple(value.shape)}{'' if dtype in usual else f', {dtype},'}"
    first = value.reshape(-1)[:4].tolist()
    more = ", ..." if math.prod(value.shape) > 4 else ""
    return f"a {kind} {shape} [{', '.join(map(number, first))}{more}]"


def number(value: Number) -> str:
    """Write a number with at most six digits that matter."""
    value = value.item() if isinstance(value, NUMPY_NUMBER) else value
    return f"{value:.6g}" if isinstance(value, float) else _short.repr(value)


def expect(
    got: Any, want: Any, what: str, tolerance: float = 1e-5, same_kind: bool = False
) -> None:
    """Raise `Wrong`, naming types, shapes or values, unless `got` equals `want`.

    Floats may differ by `tolerance`, relative to the larger of 1 and the wanted size. The numbers
    decide, not what holds them: any precision, numpy or torch, a tensor of one number for a number,
    a tuple, a tensor or another sequence for a list. But a list never stands for a tensor or a set.
    With `same_kind`, whole numbers, floats and booleans in a tensor don't stand for each other.

    >>> expect([1, 2, 3], [1, 2, 4], "the ids")
    Traceback (most recent call last):
    ...
    course_lib.lab.checks.compare.Wrong: the ids, position 2: got 3, expected 4.
    """
    if isinstance(want, ARRAY) and want.ndim:
        _expect_array(got, torch.as_tensor(want), what, tolerance, same_kind)
    elif isinstance(want, Mapping):
        _expect_mapping(got, want, what, tolerance, same_kind)
    elif isinstance(want, Set):
        _expect_set(got, want, what)
    elif isinstance(want, Sequence) and not isinstance(want, str | bytes):
        _expect_sequence(got, want, what, tolerance, same_kind)
    elif isinstance(want, str | bytes):
        _expect_text(got, want, what)
    elif isinstance(_scalar(want), Number) and not isinstance(_scalar(want), bool):
        _expect_number(_scalar(got), _scalar(want), what, tolerance)
    elif not _same(_scalar(got), _scalar(want)):
        raise Wrong(f"{what}: got {describe(got)}, expected {describe(want)}.")


def is_like(got: Any, slip: Any, tolerance: float = 1e-4) -> bool:
    """Tell whether a number, a tensor or a list of numbers is the one that a certain slip gives;
    never true for anything else."""
    got, slip = _numbers(got), _numbers(slip)
    if got is None or slip is None or got.shape != slip.shape:
        return False
    return torch.allclose(got, slip, rtol=tolerance, atol=1e-6, equal_nan=True)


def _numbers(value: Any) -> Tensor | None:
    """Real numbers in any container as a tensor of doubles; None for everything else."""
    kind = (ARRAY, NUMPY_NUMBER, float, int, list, tuple)
    try:
        value = torch.as_tensor(value) if isinstance(value, kind) else None
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return None if value is None or value.is_complex() else value.detach().cpu().double()


def _scalar(value: Any) -> Any:
    """Turn a tensor or array without axes into its number, and other exact numbers into a float."""
    if isinstance(value, (ARRAY, NUMPY_NUMBER)) and value.ndim == 0:
        return value.item()
    return float(value) if isinstance(value, Fraction | Decimal) else value


def _same(got: Any, want: Any) -> bool:
    """Compare two objects that are neither numbers nor containers; what cannot be compared
    differs."""
    if isinstance(want, bool) or want is None:
        return got is want
    try:
        return bool(got == want)
    except Exception:
        return False


def _expect_number(got: Any, want: Any, what: str, tolerance: float) -> None:
    if isinstance(got, bool) or not isinstance(got, Number):
        raise Wrong(f"{what}: got {describe(got)}, expected a number ({number(want)}).")
    if got != got and want == want:
        raise Wrong(f"{what}: got NaN (not a number), expected {number(want)}. {NAN}")
    both_nan = got != got and want != want
    if not both_nan and got != want and not abs(got - want) <= tolerance * max(1.0, abs(want)):
        raise Wrong(
            f"{what}: got {number(got)}, expected"
            f" {number(want)}.{_number_hint(got, want, tolerance)}"
        )


def _number_hint(got: Any, want: Any, tolerance: float) -> str:
    """Recognise the right number with the wrong sign or in the wrong unit of logarithm."""
    if isinstance(got, complex) or isinstance(want, complex) or not want or not math.isfinite(want):
        return ""
    for factor, hint in (
        (-1, " The size is right, the sign is not."),
        (
            math.log(2),
            " That is the right amount counted with the other logarithm (nats against bits).",
        ),
        (
            1 / math.log(2),
            " That is the right amount counted with the other logarithm (nats against bits).",
        ),
    ):
        if abs(got - factor * want) <= tolerance * abs(want):
            return hint
    return ""


def _expect_text(got: Any, want: str | bytes, what: str) -> None:
    if type(got) is not type(want):
        raise Wrong(
            f"{what}: got {describe(got)}, expected {describe(want)} (a {type(want).__name__})."
        )
    if got != want:
        where = next(
            (i for i, (g, w) in enumerate(zip(got, want, strict=False)) if g != w),
            min(len(got), len(want)),
        )
        place = f" They differ from position {where} on." if len(want) > 12 else ""
        raise Wrong(f"{what}: got {describe(got)}, expected {describe(want)}.{place}")


def _expect_set(got: Any, want: Set, what: str) -> None:
    if not isinstance(got, Set):
        raise Wrong(f"{what}: got {describe(got)}, expected a set.")
    if missing := want - got:
        raise Wrong(f"{what}: {_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
    if extra := got - want:
        raise Wrong(f"{what}: {_listed(extra)} should not be there.")


def _listed(items: Set) -> str:
    """Name up to three items of a set."""
    some = sorted(map(_short.repr, items))[:3]
    return ", ".join(some) + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _expect_mapping(got: Any, want: Mapping, what: str, tolerance: float, kind: bool) -> None:
    if not isinstance(got, Mapping):
        raise Wrong(f"{what}: got {describe(got)}, expected a dict.")
    _expect_set(got.keys(), want.keys(), f"{what}, keys")
    for key in want:
        expect(got[key], want[key], f"{what}, entry {_short.repr(key)}", tolerance, kind)


def _expect_sequence(got: Any, want: Sequence, what: str, tolerance: float, kind: bool) -> None:
    if isinstance(got, ValuesView) or (isinstance(got, ARRAY) and got.ndim):
        got = list(got)
    if not isinstance(got, Sequence) or isinstance(got, str | bytes):
        raise Wrong(f"{what}: got {describe(got)}, expected a {type(want).__name__}.")
    if len(got) != len(want):
        raise Wrong(
            f"{what}: {len(got)} items, expected {len(want)}. Got {describe(got)}, expected"
            f" {describe(want)}."
        )
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        expect(g, w, f"{what}, position {i}", tolerance, kind)


def _expect_array(got: Any, want: Tensor, what: str, tolerance: float, same_kind: bool) -> None:
    if isinstance(got, np.ndarray):
        got = torch.as_tensor(got)
    if not isinstance(got, Tensor):
        hint = f" (`torch.{_maker(got)}(...)` makes one)" if isinstance(got, list | tuple) else ""
        raise Wrong(
            f"{what}: got {describe(got)}, expected a tensor of shape {tuple(want.shape)}{hint}."
        )
    if got.shape != want.shape:
        raise Wrong(_shape_message(got, want, what, tolerance))
    other_kind = "" if _kind(got) == _kind(want) else f" Yours are {_kind(got)}s ({got.dtype})."
    if got.is_complex() > want.is_complex() or (same_kind and other_kind):
        raise Wrong(f"{what}: the numbers are {_kind(got)}s ({got.dtype}), not {_kind(want)}s.")
    got, want = got.detach().cpu().double(), want.detach().cpu().double()
    if int(bad := (got.isnan() & ~want.isnan()).sum()):
        raise Wrong(f"{what}: {bad} of {got.numel()} numbers are NaN. {NAN}")
    off = ~_close(got, want, tolerance)
    if off.any():
        place = tuple(off.nonzero()[0].tolist())
        here, there = number(got[place].item()), number(want[place].item())
        raise Wrong(
            f"{what}: right shape, but {int(off.sum())} of {off.numel()} numbers differ; the first"
            f" at {list(place)}: got {here}, expected {there}."
            f"{_array_hint(got, want, tolerance)}{other_kind}"
        )


def _maker(items: Sequence) -> str:
    """The function of torch that makes one tensor of these."""
    return "stack" if items and all(isinstance(item, Tensor) for item in items) else "tensor"


def _kind(numbers: Tensor) -> str:
    """Say whether they are complex numbers, floats, truth values or whole numbers."""
    if numbers.is_complex() or numbers.is_floating_point():
        return "complex number" if numbers.is_complex() else "float"
    return "truth value" if numbers.dtype == torch.bool else "whole number"


def _close(got: Tensor, want: Tensor, tolerance: float) -> Tensor:
    """Compare number by number; the error allowed grows with the largest wanted number, as rounding
    errors do."""
    scale = want[want.isfinite()].abs().max().clamp(min=1.0) if want.isfinite().any() else 1.0
    return ((got - want).abs() <= tolerance * scale) | (got == want) | (got.isnan() & want.isnan())


def _shape_message(got: Tensor, want: Tensor, what: str, tolerance: float) -> str:
    message = f"{what}: shape {tuple(got.shape)}, expected {tuple(want.shape)}."
    if (
        got.ndim >= 2
        and got.mT.shape == want.shape
        and _close(got.mT.double(), want.double(), tolerance).all()
    ):
        return message + " The numbers are right, but the last two axes are swapped."
    if (
        got.numel() == want.numel()
        and _close(got.flatten().double(), want.flatten().double(), tolerance).all()
    ):
        return message + " The numbers are right, only their shape is not."
    return message


def _array_hint(got: Tensor, want: Tensor, tolerance: float) -> str:
    """Recognise a table that is transposed, negated or scaled by one factor."""
    if got.ndim >= 2 and got.shape == got.mT.shape and _close(got.mT, want, tolerance).all():
        return " The last two axes are swapped."
    if not want.any():
        return ""
    factor = ((got * want).nansum() / (want * want).nansum()).item()
    if (
        not math.isfinite(factor)
        or abs(factor) < 1e-6
        or not _close(got, factor * want, tolerance).all()
    ):
        return ""
    return (
        " Every sign is turned round."
        if abs(factor + 1) < 1e-4
        else f" All are {factor:.4g} times what they should be."
    )
