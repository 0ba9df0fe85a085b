"""Are the numbers of settings numbers? Truths, texts, NaN and infinity are refused by name."""

import math
from numbers import Integral, Real
from typing import Any


def is_number(value: Any, low: float | int = -math.inf, high: float | int = math.inf) -> bool:
    """Tell whether a value is a finite number from `low` to `high`; truths and texts are none."""
    return (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    )


def check_finite_numbers(**values: Any) -> None:
    """Raise a ValueError for the first value that is no finite number, by its name."""
    for name, value in values.items():
        if not is_number(value):
            raise ValueError(f"{name} {value!r} must be a finite number")


def check_positive_numbers(**values: Any) -> None:
    """Raise a ValueError for the first value that is no finite number above 0, by its name."""
    for name, value in values.items():
        if not is_number(value, 0) or not value:
            raise ValueError(f"{name} {value!r} must be a number above 0")


def check_whole_numbers(**values: Any) -> None:
    """Raise a ValueError for the first value that is no whole number from 1, by its name.

    2.0 is none, nor is True.
    """
    for name, value in values.items():
        if not is_number(value, 1) or not isinstance(value, Integral):
            raise ValueError(f"{name} {value!r} must be at least 1, and a whole number")
