"""Positions of tokens: sinusoids to add to their vectors, or rotations of queries and keys.

A model that was trained on rotations up to some length can read further if its frequencies are
lowered: all alike (`PositionInterpolation`), by a larger base (`ntk_base`), or pair by pair
(`YaRN`).
"""

import math
from dataclasses import dataclass
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


def ntk_base(base: float, width: int, factor: float) -> float:
    """Give the base that slows the slowest pair `factor` times and leaves the fastest as it is.

    "NTK-aware" scaling: a model reads `factor` times its trained context, more or less, if nothing
    but its base is changed. Source: Peng et al. 2023 (arXiv 2309.00071), section 3.1.

    >>> rotary_frequencies(4, base=100.0), rotary_frequencies(4, ntk_base(100.0, 4, factor=2.0))
    (tensor([1.0000, 0.1000]), tensor([1.0000, 0.0500]))
    """
    check_stretch(factor)
    rotary_frequencies(width, base)  # refuses a width or base that will not do
    if width == 2:
        raise ValueError("a width of 2 is one pair, whose frequency is 1 whatever the base")
    return base * factor ** (width / (width - 2))


@dataclass(frozen=True)
class PositionInterpolation:
    """Read `factor` times the trained context: each frequency divided by `factor`.

    So position 400 turns as far as position 100 did in training, with a factor of 4. Source: Chen
    et al. 2023 (arXiv 2306.15595), equation 4.
    """

    factor: float

    # what `YaRN` has: lengths of rotated vectors and scores stay, and no length is too long
    rotary_scale = score_scale = 1.0
    longest = None

    def __post_init__(self) -> None:
        check_stretch(self.factor)

    def frequencies(self, width: int, base: float) -> Float[Tensor, "P"]:
        return rotary_frequencies(width, base) / self.factor


@dataclass(frozen=True)
class YaRN:
    """Read `factor` times the `trained_length`: slow frequencies are divided, fast ones kept.

    Pairs that turn more than `beta_fast` times within the trained length are kept, those that turn
    less than `beta_slow` times are divided, and between lies a ramp. Scores grow a little, for more
    keys compete: either since rotated queries and keys are longer by `rotary_scale`, or, in latent
    attention, since all scores are multiplied by `score_scale`. `mscale` and `mscale_all_dim`
    decide which, under DeepSeek's names: with both alike, the latter alone.

    >>> v3 = YaRN(factor=40.0, trained_length=4096, mscale=1.0, mscale_all_dim=1.0)
    >>> v3.longest, v3.rotary_scale, round(v3.score_scale, 4)
    (163840, 1.0, 1.8739)
    >>> round(YaRN(factor=40.0, trained_length=4096).rotary_scale, 4)
    1.3689

    Source: Peng et al. 2023 (arXiv 2309.00071), section 3. As in its authors' code and DeepSeek's,
    the ramp is linear in the number of the pair and ends at whole numbers; the paper's is linear
    in the number of turns.
    """

    factor: float
    trained_length: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None

    def __post_init__(self) -> None:
        check_stretch(self.factor)
        if self.trained_length < 1:
            raise ValueError(f"trained_length {self.trained_length} is below 1")
        if not 0 < self.beta_slow < self.beta_fast < math.inf:
            betas = f"beta_slow {self.beta_slow} and beta_fast {self.beta_fast}"
            raise ValueError(f"{betas} are not turns in rising order")
        for name in ("mscale", "mscale_all_dim"):
            if (weight := getattr(self, name)) is not None and not 0 < weight < math.inf:
                raise ValueError(f"{name} {weight} is not above 0 and finite")

    @property
    def longest(self) -> int:
        """Give how many tokens can be read."""
        return int(self.factor * self.trained_length)

    @property
    def rotary_scale(self) -> float:
        """Give what rotated numbers are multiplied by."""
        if self.mscale is None or self.mscale_all_dim is None:
            return yarn_mscale(self.factor)
        return yarn_mscale(self.factor, self.mscale) / yarn_mscale(self.factor, self.mscale_all_dim)

    @property
    def score_scale(self) -> float:
        """Give what latent attention multiplies its scores by, besides 1 / sqrt(width)."""
        if self.mscale_all_dim is None:
            return 1.0
        return yarn_mscale(self.factor, self.mscale_all_dim) ** 2

    def frequencies(self, width: int, base: float) -> Float[Tensor, "P"]:
        kept = rotary_frequencies(width, base)
        ramp = yarn_ramp(width, base, self.trained_length, self.beta_fast, self.beta_slow)
        return kept / self.factor * ramp + kept * (1 - ramp)


RotaryScaling = PositionInterpolation | YaRN


def yarn_mscale(factor: float, weight: float = 1.0) -> float:
    """Give by how much queries and keys should be longer when `factor` times as many keys compete.

    Source: arXiv 2309.00071, equation 22: a fit, 0.1 ln(factor) + 1; `weight` is DeepSeek's.
    """
    return 0.1 * weight * math.log(factor) + 1


def yarn_ramp(
    width: int, base: float, length: int, beta_fast: float, beta_slow: float
) -> Float[Tensor, "P"]:
    """Tell for each pair how far its frequency is to be divided: 0 not at all, 1 wholly."""
    if base <= 1:
        raise ValueError(f"base {base} is not above 1: all pairs turn alike")

    def pair_with(turns: float) -> float:
        # the i, not whole, at which base^(-2i / width) * length = 2 pi turns
        return width * math.log(length / (2 * math.pi * turns)) / (2 * math.log(base))

    first = max(math.floor(pair_with(beta_fast)), 0)
    last = min(math.ceil(pair_with(beta_slow)), width - 1)
    return ((torch.arange(width // 2) - first) / max(last - first, 0.001)).clamp(0, 1)


def check_stretch(factor: float) -> None:
    """Raise a ValueError if a context cannot become `factor` times as long."""
    if not 1 <= factor < math.inf:
        raise ValueError(f"factor {factor} is not a finite number from 1")


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
    `x` is. `scaling` lowers the frequencies, to read further than in training; a position beyond
    `scaling.longest` is refused.
    """

    def __init__(
        self, d_head: int, base: float = 10_000.0, scaling: RotaryScaling | None = None
    ) -> None:
        super().__init__()
        # refuses a width or base that will not do
        scaling.frequencies(d_head, base) if scaling else rotary_frequencies(d_head, base)
        self.d_head, self.base, self.scaling = d_head, base, scaling

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
        check_longest(last + T, self.scaling)
        cos, sin = rotary_tables(
            first, last + T, self.d_head, self.base, x.dtype, x.device, self.scaling
        )
        if isinstance(start, Tensor):
            rows = start[:, None] + torch.arange(T, device=x.device)
            cos, sin = cos[rows][:, None], sin[rows][:, None]
        return x * cos + x.roll(self.d_head // 2, -1) * sin


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is made while sampling must serve in training too
def rotary_tables(
    start: int,
    end: int,
    width: int,
    base: float,
    dtype: torch.dtype,
    device: torch.device,
    scaling: RotaryScaling | None = None,
) -> tuple[Float[Tensor, "T D"], Float[Tensor, "T D"]]:
    """Give what `rotate_halves` multiplies numbers by, and their partners, from `start` to `end`.

    Kept, since all layers of a model ask for the same, and so does each text that is written.
    """
    frequencies = scaling.frequencies(width, base) if scaling else rotary_frequencies(width, base)
    angles = rotary_angles(torch.arange(start, end, device=device), frequencies.to(device))
    scale = scaling.rotary_scale if scaling else 1.0
    cos, sin = (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def check_longest(n_tokens: int, scaling: RotaryScaling | None) -> None:
    """Raise a ValueError if the frequencies are not stretched far enough for so many tokens."""
    if scaling and scaling.longest is not None and n_tokens > scaling.longest:
        reach = f"factor {scaling.factor} x trained_length {scaling.trained_length}"
        raise ValueError(f"{n_tokens} tokens are more than {reach} = {scaling.longest}")
