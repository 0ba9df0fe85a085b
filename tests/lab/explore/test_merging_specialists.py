"""The figures of lesson 33 show the numbers that they claim to show."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.lab.explore import merging_specialists as explore


def grid_frames(widget) -> list[list[str]]:
    return [[frame.value for frame in row.children] for row in widget.children[-1].children]


def test_each_frame_of_the_average_has_its_own_shares():
    curves = {
        "5": {"sums": [0.5, 0.25, 0.125], "sorting": [0.0, 0.75, 1.0]},
        "25": {"sums": [0.875, 0.0, 0.0], "sorting": [0.0, 0.0, 0.625]},
    }
    pictures = grid_frames(explore.averaged(curves, (0.0, 0.5, 1.0), (1, 1)))
    assert "right sums 25%, sorting 75%" in pictures[0][1] and "trained for 5" in pictures[0][1]
    assert "right sums 88%, sorting 0%" in pictures[1][0]
    assert "0 times the specialist in sums, 1 times the one in sorting" in pictures[1][2]


def test_divergences_are_torchs_and_the_still_has_them_far_apart():
    teacher, student = explore.two_humps(), explore.hump(12, 6)
    assert sum(teacher) == pytest.approx(1) and sum(student) == pytest.approx(1)
    p, q = (torch.tensor(x).log() for x in (student, teacher))
    reverse = F.kl_div(q, p, reduction="sum", log_target=True).item()
    forward = F.kl_div(p, q, reduction="sum", log_target=True).item()
    still = grid_frames(explore.directions())[2][3]
    assert f"KL(student || teacher) = {reverse:.2f}" in still
    assert f"KL(teacher || student) = {forward:.2f}" in still
    narrow = explore.hump(6, 1.6)
    assert explore.divergence(narrow, teacher) < reverse, "reverse prefers one hump"
    assert explore.divergence(teacher, narrow) > forward, "forward prefers to cover both"
