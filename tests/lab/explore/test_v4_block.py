"""The figure of lesson 31 shows the matrices and sums that it claims to show."""

import re

import torch

from course_lib.lab.explore import v4_block as explore
from course_lib.layers.hyper_connections import sinkhorn_by_loop


def test_the_figure_shows_the_matrix_of_its_rounds_and_how_far_the_columns_are_off():
    widget = explore.sinkhorn_rounds(scales=(1.0, 8.0), rounds=(0, 1, 20), n=3, seed=4)
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(4)).double()
    mixing = sinkhorn_by_loop(logits, 1)
    numbers = [float(n) for n in re.findall(r'text-anchor="middle">([\d.]+)</text>', widget.still)]
    want = [*mixing.flatten().tolist(), *mixing.sum(0).tolist()]
    assert all(abs(a - b) < 6e-4 for a, b in zip(numbers, want, strict=True))
    off = (mixing.sum(0) - 1).abs().max()
    assert f"1 rounds: a column's sum is at most {off:.3f} off 1" in widget.still
    assert widget.still.count("sum 1.000") == 3
