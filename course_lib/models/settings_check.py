"""Settings that are what they say: numbers of their kind, else refused by name."""

import sys
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any, get_args


def check_settings(settings: Any, may_be_zero: Collection[str] = ()) -> None:
    """Raise a ValueError that names the first field of a dataclass whose value is not of its type.

    `int` means a whole number from 1 (from 0 for the names in `may_be_zero`), `float` a finite
    number above 0, `bool` a switch, `tuple[str, ...]` a row of words, `... | None` also None.
    Kept are plain int, float and bool, so that a whole number given for a `float` field is written
    to files as a float. A field that is a dataclass itself may be given as the dict that files
    hold.
    """
    for field in fields(settings):
        kinds, value = get_args(field.type) or (field.type,), getattr(settings, field.name)
        if value is None and type(None) in kinds:
            continue
        if is_dataclass(kinds[0]):
            value = as_dataclass(field.name, value, [k for k in kinds if k is not type(None)])
        elif kinds[0] is str:
            value = as_words(field.name, value)
        elif kinds[0] is int:
            value = as_whole_number(field.name, value, least=0 if field.name in may_be_zero else 1)
        else:
            value = {float: as_positive_number, bool: as_switch}[kinds[0]](field.name, value)
        object.__setattr__(settings, field.name, value)  # the dataclass is frozen


def as_whole_number(name: str, value: Any, least: int = 1) -> int:
    """Return the value as an int, or raise a ValueError that names it: no bool, no text, no 8.0.

    >>> as_whole_number("n_heads", 8.0)
    Traceback (most recent call last):
    ValueError: n_heads 8.0 is not a whole number
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} {value!r} is not a whole number")
    if value < least:
        raise ValueError(f"{name} {value} is below {least}")
    return int(value)


def as_positive_number(name: str, value: Any) -> float:
    """Return the value as a float, or raise a ValueError that names it: no bool, text or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} {value!r} is not a number")
    if not 0 < value <= sys.float_info.max:
        raise ValueError(f"{name} {value} is not above 0 and finite")
    return float(value)


def as_switch(name: str, value: Any) -> bool:
    """Return the value as a bool, or raise a ValueError that names it; 1 and 0 are taken too."""
    if not isinstance(value, Real) or value not in (0, 1):
        raise ValueError(f"{name} {value!r} is not True or False")
    return bool(value)


def as_words(name: str, value: Any) -> tuple[str, ...]:
    """Return the value as a tuple of words, or raise a ValueError that names it: no single word."""
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"{name} {value!r:.200} is not a row of words")
    return tuple(value)


def as_dataclass(name: str, value: Any, kinds: list[type]) -> Any:
    """Return the value as one of these dataclasses, or raise a ValueError that names it.

    A dict becomes the one that has its keys for fields. Numbers in it are checked as settings are.
    """
    told = value
    if isinstance(value, dict):
        fitting = [kind for kind in kinds if {field.name for field in fields(kind)} == set(value)]
    else:
        fitting = [kind for kind in kinds if isinstance(value, kind)]
    if not fitting:
        known = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name} {told!r:.200} is not a {known}")
    try:
        value = fitting[0](**value) if isinstance(value, dict) else value
        check_settings(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} {told!r:.200} will not do: {error}") from error
    return value
