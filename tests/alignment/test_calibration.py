"""Calibration against judges whose error is known."""

import pytest
import torch

from course_lib.alignment.calibration import (
    choice_calibration,
    expected_calibration_error,
    reliability_bins,
)


def test_who_says_what_holds_has_no_error():
    said = torch.full((1000,), 0.3)
    held = torch.arange(1000) < 300
    assert expected_calibration_error(said, held) == pytest.approx(0, abs=1e-6)


def test_an_overconfident_judge_has_its_excess_as_error():
    said = torch.tensor([0.95] * 100 + [0.05] * 100)
    held = torch.cat([torch.arange(100) < 70, torch.arange(100) < 30])
    assert expected_calibration_error(said, held) == pytest.approx(0.25, abs=1e-6)


def test_every_prediction_is_in_one_bin():
    bins = reliability_bins(torch.tensor([0.0, 0.1, 0.5, 1.0]), torch.ones(4).bool(), 2)
    assert [each.count for each in bins] == [2, 2]


def test_leads_that_say_nothing_are_calibrated():
    assert choice_calibration(torch.zeros(50)) == pytest.approx(0)
    assert choice_calibration(torch.full((50,), -100.0)) == pytest.approx(1)


@pytest.mark.parametrize("said", [[1.5], [float("nan")], []])
def test_what_is_no_probability_is_refused(said):
    said = torch.tensor(said)
    with pytest.raises(ValueError, match="probabilities"):
        reliability_bins(said, torch.ones(len(said)).bool())
