"""Positions of tokens: sinusoids to add to their vectors, or rotations of queries and keys."""

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def rotary_frequencies(width: int, base: float = 10_000.0) -> Float[Tensor, "P"]:
    """Give the frequency of each pair of numbers, in radians per position: base^(-2i / width).

    They go from high to low.

    >>> rotary_frequencies(4, base=100.0)
    tensor([1.0000, 0.1000])
    """
    if width < 2 or width % 2:
        raise ValueError(f"a width of {width} cannot be cut into pairs of numbers")
    if base <= 0:
        raise ValueError(f"base {base} is not above 0")
    return base ** (-torch.arange(0, width, 2) / width)


def rotary_angles(
    positions: Int[Tensor, "T"], frequencies: Float[Tensor, "P"]
) -> Float[Tensor, "T P"]:
    """Give the angle by which each of the `P` pairs is rotated at each position, in radians."""
    return positions[:, None].float() * frequencies


def sinusoidal_positions(
    positions: Int[Tensor, "T"], width: int, base: float = 10_000.0
) -> Float[Tensor, "T C"]:
    """Give each position a sine and a cosine per frequency, a vector to add to the token's.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    angles = rotary_angles(positions, rotary_frequencies(width, base).to(positions.device))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class SinusoidalPosition(nn.Module):
    """`sinusoidal_positions` with the interface of a learned table, `table(positions)`.

    It has nothing to learn, but a precision, as a table has: that of the model it was moved to with
    `model.to(dtype)`.
    """

    def __init__(self, d_model: int, base: float = 10_000.0) -> None:
        super().__init__()
        rotary_frequencies(d_model, base)  # refuses a width or base that will not do
        self.d_model, self.base = d_model, base
        # a type that `to` can change
        self.register_buffer("precision", torch.empty(0), persistent=False)

    def forward(self, positions: Int[Tensor, "T"]) -> Float[Tensor, "T C"]:
        return sinusoidal_positions(positions, self.d_model, self.base).to(self.precision.dtype)


def rotate_halves(
    x: Float[Tensor, "*B T D"], angles: Float[Tensor, "T P"]
) -> Float[Tensor, "*B T D"]:
    """Rotate each pair of numbers by its angle; number i is paired with number i + D/2.

    As in Llama's and most code.

    >>> rotate_halves(torch.tensor([[1.0, 0.0]]), torch.tensor([[torch.pi / 6]]))
    tensor([[0.8660, 0.5000]])

    Source: Su et al. 2021 (arXiv 2104.09864), equation 34, but for the pairing, which is
    `rotate_interleaved`'s there.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def rotate_interleaved(
    x: Float[Tensor, "*B T D"], angles: Float[Tensor, "T P"]
) -> Float[Tensor, "*B T D"]:
    """Rotate each pair of numbers by its angle; as in the paper, 2i is paired with 2i + 1."""
    return (
        rotate_halves(x[..., halves_order(x.shape[-1])], angles)
        .unflatten(-1, (2, -1))
        .mT.flatten(-2)
    )


def halves_order(width: int) -> Int[Tensor, "D"]:
    """Give the order that carries neighbours into halves: even numbers first, then odd ones.

    `rotate_halves(x[..., order], angles)` equals `rotate_interleaved(x, angles)[..., order]`.

    >>> halves_order(6)
    tensor([0, 2, 4, 1, 3, 5])
    """
    return torch.arange(width).view(-1, 2).T.flatten()


class RotaryPosition(nn.Module):
    """Rotary positions for `SelfAttention(position=...)`, which rotates queries and keys.

    They are (B, H, T, d_head). A dot product of two rotated vectors depends on how far apart they
    stand, not on where. `start` is the position of the first token, for a text that goes on where a
    cache ends; one number for all rows, or one for each. Angles are reckoned in float32, whatever
    `x` is.
    """

    def __init__(self, d_head: int, base: float = 10_000.0) -> None:
        super().__init__()
        rotary_frequencies(d_head, base)  # refuses a width or base that will not do
        self.d_head, self.base = d_head, base

    def forward(
        self, x: Float[Tensor, "B H T D"], start: int | Int[Tensor, "N"] = 0
    ) -> Float[Tensor, "B H T D"]:
        if x.shape[-1] != self.d_head:
            raise ValueError(
                f"rotary positions for heads of {self.d_head} numbers, not of {x.shape[-1]}"
            )
        T, first, last = x.shape[-2], start, start
        if isinstance(start, Tensor):
            if start.shape != x.shape[:1]:
                raise ValueError(f"{len(start)} starts for {len(x)} rows")
            first, last = 0, int(start.max())
        cos, sin = rotary_tables(first, last + T, self.d_head, self.base, x.dtype, x.device)
        if isinstance(start, Tensor):
            rows = start[:, None] + torch.arange(T, device=x.device)
            cos, sin = cos[rows][:, None], sin[rows][:, None]
        return x * cos + x.roll(self.d_head // 2, -1) * sin


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is made while sampling must serve in training too
def rotary_tables(
    start: int, end: int, width: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, "T D"], Float[Tensor, "T D"]]:
    """Give what `rotate_halves` multiplies numbers by, and their partners, from `start` to `end`.

    Kept, since all layers of a model ask for the same, and so does each text that is written.
    """
    angles = rotary_angles(
        torch.arange(start, end, device=device), rotary_frequencies(width, base).to(device)
    )
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
