"""Draws that give the same result on every platform and every Python.

Python promises to keep `Random.random()` as it is for a given seed, but not `choice`, `shuffle` or
`gauss`. So all of these are built from `random()` alone, which also makes them a few times faster.
"""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("T")


def draw_item(rng: Random, items: Sequence[Item]) -> Item:
    """One of the items, each as likely as the others."""
    return items[int(rng.random() * len(items))]


def draw_integer(rng: Random, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return low + int(rng.random() * (high - low + 1))


def draw_weighted(rng: Random, shares: dict[Item, float]) -> Item:
    """One of the keys, drawn in proportion to its share.

    >>> draw_weighted(Random(0), {"never": 0.0, "always": 1.0})
    'always'
    """
    left = rng.random() * sum(shares.values())
    for item, share in shares.items():
        left -= share
        if left < 0:
            return item
    # rounding used up the last crumb
    return next(item for item in reversed(shares) if shares[item] > 0)


def draw_distinct(rng: Random, items: Sequence[Item], count: int) -> list[Item]:
    """`count` different items in random order."""
    left = list(items)
    return [left.pop(int(rng.random() * len(left))) for _ in range(count)]
