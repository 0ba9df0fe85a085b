"""Where a token stands: waves to add to its vector, or rotations of its queries and keys."""

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def rotary_frequencies(width: int, base: float = 10_000.0) -> Float[Tensor, "P"]:
    """Give the turning speed of each pair of numbers, in radians per place: base^(-2i / width).

    They go from fast to slow.

    >>> rotary_frequencies(4, base=100.0)
    tensor([1.0000, 0.1000])
    """
    if width < 2 or width % 2:
        raise ValueError(f"a width of {width} cannot be cut into pairs of numbers")
    if base <= 0:
        raise ValueError(f"base {base} is not above 0")
    return base ** (-torch.arange(0, width, 2) / width)


def rotary_angles(places: Int[Tensor, "T"], speeds: Float[Tensor, "P"]) -> Float[Tensor, "T P"]:
    """Tell how far each of the `P` pairs has turned at each place, in radians."""
    return places[:, None].float() * speeds


def sinusoidal_positions(
    places: Int[Tensor, "T"], width: int, base: float = 10_000.0
) -> Float[Tensor, "T C"]:
    """Mark each place by a sine and a cosine per speed, a vector to add to the token's.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    turned = rotary_angles(places, rotary_frequencies(width, base).to(places.device))
    return torch.stack([turned.sin(), turned.cos()], -1).flatten(1)


class SinusoidalPosition(nn.Module):
    """`sinusoidal_positions` with the interface of a learned table, `table(places)`.

    It has nothing to learn, but a precision, as a table has: that of the model it was moved to with
    `model.to(dtype)`.
    """

    def __init__(self, d_model: int, base: float = 10_000.0) -> None:
        super().__init__()
        rotary_frequencies(d_model, base)  # refuses a width or base that will not do
        self.d_model, self.base = d_model, base
        # a type that `to` can change
        self.register_buffer("precision", torch.empty(0), persistent=False)

    def forward(self, places: Int[Tensor, "T"]) -> Float[Tensor, "T C"]:
        return sinusoidal_positions(places, self.d_model, self.base).to(self.precision.dtype)


def rotate_halves(
    x: Float[Tensor, "*B T D"], turned: Float[Tensor, "T P"]
) -> Float[Tensor, "*B T D"]:
    """Turn each pair of numbers by its angle; number i is paired with number i + D/2.

    As in Llama's and most code.

    >>> rotate_halves(torch.tensor([[1.0, 0.0]]), torch.tensor([[torch.pi / 6]]))
    tensor([[0.8660, 0.5000]])

    Source: Su et al. 2021 (arXiv 2104.09864), equation 34, but for the pairing, which is
    `rotate_interleaved`'s there.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = turned.cos().to(x.dtype), turned.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def rotate_interleaved(
    x: Float[Tensor, "*B T D"], turned: Float[Tensor, "T P"]
) -> Float[Tensor, "*B T D"]:
    """Turn each pair of numbers by its angle; number 2i is paired with 2i + 1, as in the paper."""
    return (
        rotate_halves(x[..., halves_order(x.shape[-1])], turned)
        .unflatten(-1, (2, -1))
        .mT.flatten(-2)
    )


def halves_order(width: int) -> Int[Tensor, "D"]:
    """Give the order that carries neighbours into halves: the even places first, then the odd ones.

    `rotate_halves(x[..., order], turned)` equals `rotate_interleaved(x, turned)[..., order]`.

    >>> halves_order(6)
    tensor([0, 2, 4, 1, 3, 5])
    """
    return torch.arange(width).view(-1, 2).T.flatten()


class RotaryPosition(nn.Module):
    """Rotary positions for `SelfAttention(position=...)`: queries and keys turn by their place.

    They are (B, H, T, d_head). A dot product of two turned vectors depends on how far apart they
    stand, not on where. `start` is the place of the first token, for a text that goes on where a
    cache ends. Angles are reckoned in float32, whatever `x` is.
    """

    def __init__(self, d_head: int, base: float = 10_000.0) -> None:
        super().__init__()
        rotary_frequencies(d_head, base)  # refuses a width or base that will not do
        self.d_head, self.base = d_head, base

    def forward(self, x: Float[Tensor, "B H T D"], start: int = 0) -> Float[Tensor, "B H T D"]:
        if x.shape[-1] != self.d_head:
            raise ValueError(
                f"rotary positions for heads of {self.d_head} numbers, not of {x.shape[-1]}"
            )
        cos, sin = rotary_tables(
            start, start + x.shape[-2], self.d_head, self.base, x.dtype, x.device
        )
        return x * cos + x.roll(self.d_head // 2, -1) * sin


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is made while sampling must serve in training too
def rotary_tables(
    start: int, end: int, width: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, "T D"], Float[Tensor, "T D"]]:
    """Give what `rotate_halves` multiplies numbers by, and their partners, from `start` to `end`.

    Kept, since all layers of a model ask for the same, and so does each text that is written.
    """
    turned = rotary_angles(
        torch.arange(start, end, device=device), rotary_frequencies(width, base).to(device)
    )
    cos, sin = turned.cos().to(dtype), turned.sin().to(dtype)
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
