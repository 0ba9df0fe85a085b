"""Figures of lesson 31: Sinkhorn round by round, and how loud a random map is."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE
from course_lib.layers.hyper_connections import sinkhorn_by_loop

CELL, GAP = 62, 6


def sinkhorn_rounds(
    scales: Sequence[float] = (1.0, 4.0, 8.0),
    rounds: Sequence[int] = (0, 1, 2, 3, 5, 10, 20),
    n: int = 4,
    seed: int = 0,
) -> frames.Explorer:
    """Slide the rounds and the size of the logits; see which sums are not yet 1.

    One random matrix. Round 0 is exp of the logits, divided by its largest number. After a round
    every row sums to 1; the columns get there slowly where the logits are large.
    """
    logits = torch.randn(n, n, generator=torch.Generator().manual_seed(seed)).double()
    pictures = [
        [_matrix_card(_after(scale * logits, count), scale, count) for count in rounds]
        for scale in scales
    ]
    return frames.grid(
        pictures,
        {"size of the logits": [f"{scale:g}" for scale in scales], "rounds": list(rounds)},
        start=(0, 1),
    )


def _after(logits: Float[Tensor, "n n"], rounds: int) -> Float[Tensor, "n n"]:
    if rounds == 0:
        return (logits - logits.max()).exp()
    return sinkhorn_by_loop(logits, rounds)


def _matrix_card(matrix: Float[Tensor, "n n"], scale: float, rounds: int) -> str:
    """Draw the matrix, darker for more, with the sums of rows and columns beside it."""
    n, marks = len(matrix), ""
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            x, y, shade = (CELL + GAP) * j, (CELL + GAP) * i, min(1.0, max(0.0, value))
            marks += (
                f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{BLUE}"'
                f' fill-opacity="{0.08 + 0.72 * shade:.3f}"/>'
                f'<text x="{x + CELL / 2}" y="{y + CELL / 2 + 5}" text-anchor="middle">'
                f"{value:.3f}</text>"
            )
    for i, total in enumerate(matrix.sum(1).tolist()):
        y = (CELL + GAP) * i + CELL / 2 + 5
        marks += f'<text x="{(CELL + GAP) * n + 8}" y="{y}">sum {total:.3f}</text>'
    for j, total in enumerate(matrix.sum(0).tolist()):
        x = (CELL + GAP) * j + CELL / 2
        marks += (
            f'<text x="{x}" y="{(CELL + GAP) * n + 16}" text-anchor="middle">{total:.3f}</text>'
        )
    off = (matrix.sum(0) - 1).abs().max().item()
    told = f"Logits of size {scale:g}, {rounds} rounds: a column's sum is at most {off:.3f} off 1"
    size = (CELL + GAP) * n
    return frames.card(
        f'<svg role="img" aria-label="{told}" viewBox="0 0 {size + 120} {size + 56}"'
        f' style="width:100%;max-width:{size + 120}px" font-family="sans-serif" font-size="14">'
        f'{marks}<text x="0" y="{size + 46}">{told}</text></svg>'
    )
