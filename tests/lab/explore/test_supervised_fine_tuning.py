"""The figures of lesson 22 say what their numbers say."""

import torch

from course_lib.lab.explore import supervised_fine_tuning as explore
from tests.lab.explore.test_inference import alts


def test_a_packed_row_tells_what_each_token_sees():
    row = explore.PackedRow(["a", "<b>", "c", "d"], [0, 0, 1, 1], [False, True, False, True])
    widget = explore.packed(row, start=2)
    told = alts(widget)
    assert len(told) == 8
    assert "Token 3 belongs to example 2 and sees 3 tokens, 2 of them of other examples" in told[2]
    assert "Token 3 belongs to example 2 and sees 1 tokens, 0 of them of other examples" in told[6]
    assert "<b>" not in widget.still and "&lt;b&gt;" in widget.still


def test_a_change_tells_what_is_lost():
    change = torch.diag(torch.tensor([3.0, 4.0]))
    kept = {1: torch.diag(torch.tensor([0.0, 4.0])), 2: change}
    told = alts(explore.change_ranks(change, kept, {1: 0.25, 2: 0.75}, whole=0.8, none=0.1))
    assert told[0].startswith("Rank 1: 60% of the change&#x27;s size is lost, 25% of sums right")
    assert "the base has 10%, all of the change 80%" in told[1] and "0% of the change" in told[1]
