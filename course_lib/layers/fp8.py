"""Numbers of 8 bits in training: the format E4M3, and scales fine enough for it.

E4M3 has a sign, 4 bits of exponent and 3 of mantissa: 8 steps from one power of two to the next,
from 2^-9 to 448, and no infinity. DeepSeek-V3 multiplies matrices in it (arXiv 2412.19437, section
3.3). Everything here is simulated in float32: rounded to the numbers that E4M3 has, stored in 32
bits. So it shows the error, not the speed. Differs from the paper: our sums are exact to float32,
while its hardware keeps about 14 bits of a sum for 128 products, and adds these up in float32.
"""

import torch
from jaxtyping import Float
from torch import Tensor

E4M3_LARGEST = 448.0
E4M3_SMALLEST_EXPONENT = -6  # below 2^-6 the steps stay 2^-9 wide: subnormal numbers
TILE = 128


def round_e4m3(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Round to the nearest number of E4M3, ties to the even one; what is larger becomes 448.

    The same numbers as torch's float8_e4m3fn. NaN stays NaN.

    >>> round_e4m3(torch.tensor([1.06, 1.07, 17.0, 19.0, 1e6, 0.001]))
    tensor([1.0000e+00, 1.1250e+00, 1.6000e+01, 2.0000e+01, 4.4800e+02, 1.9531e-03])
    """
    x = x.float()
    exponent = torch.frexp(x).exponent - 1  # x is 1.something times 2^exponent
    step = torch.exp2(exponent.clamp(min=E4M3_SMALLEST_EXPONENT) - 3.0)
    return ((x / step).round() * step).clamp(-E4M3_LARGEST, E4M3_LARGEST)


def scales_of_tiles(x: Float[Tensor, "N C"], rows: int, columns: int) -> Float[Tensor, "A B"]:
    """Give each tile of so many rows and columns the scale that takes its largest number to 448.

    Tiles at the edges may be smaller. A tile of zeros has the scale 1.

    >>> scales_of_tiles(torch.tensor([[1.0, -4.48, 0.0, 0.0]]), rows=1, columns=2)
    tensor([[0.0100, 1.0000]])
    """
    check_tiles(rows, columns)
    padded = torch.nn.functional.pad(x.float(), (0, -x.shape[1] % columns, 0, -x.shape[0] % rows))
    tiles = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
    largest = tiles.abs().amax((1, 3))
    return torch.where(largest > 0, largest / E4M3_LARGEST, 1.0)


def round_tiles(x: Float[Tensor, "N C"], rows: int, columns: int) -> Float[Tensor, "N C"]:
    """Divide each tile by its scale, round to E4M3, multiply again: what is left of the numbers.

    >>> row = torch.tensor([[0.0001, 0.0002, 300.0, 400.0]])
    >>> round_tiles(row, rows=1, columns=4)[0, :2]      # one scale for all: too small for E4M3
    tensor([0., 0.])
    >>> round_tiles(row, rows=1, columns=2)[0, :2]
    tensor([1.0000e-04, 2.0000e-04])
    """
    scales = scales_of_tiles(x, rows, columns)
    scales = scales.repeat_interleave(rows, 0)[: x.shape[0]]
    scales = scales.repeat_interleave(columns, 1)[:, : x.shape[1]]
    return round_e4m3(x.float() / scales) * scales


def round_activations(x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Round by tiles of 1 x 128: a scale for 128 numbers of one token. Source: section 3.3.2."""
    return round_tiles(x, 1, TILE)


def round_weights(weight: Float[Tensor, "O C"]) -> Float[Tensor, "O C"]:
    """Round by blocks of 128 x 128: a scale for 128 inputs of 128 outputs (section 3.3.2)."""
    return round_tiles(weight, TILE, TILE)


def fp8_linear(x: Float[Tensor, "N C"], weight: Float[Tensor, "O C"]) -> Float[Tensor, "N O"]:
    """Multiply as V3's forward pass: both factors in E4M3 with their scales, sums in float32."""
    return round_activations(x) @ round_weights(weight).T


def relative_error(
    approximate: Float[Tensor, "*B"], exact: Float[Tensor, "*B"]
) -> Float[Tensor, ""]:
    """Give the length of the difference by the length of the exact numbers."""
    return (approximate - exact).norm() / exact.norm()


def check_tiles(rows: int, columns: int) -> None:
    """Raise a ValueError for tiles that hold no number."""
    if rows < 1 or columns < 1:
        raise ValueError(f"tiles of {rows} x {columns} numbers hold none")
