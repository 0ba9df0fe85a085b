"""Schedules: their corners, and torch's own schedulers as the truth."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.training.schedules import multi_step, warmup_cosine, warmup_stable_decay

STEPS = 200


def by_torch(make):
    """The learning rates that a scheduler of torch gives to an optimizer with lr 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_and_multi_step_equal_torchs_schedulers():
    ours = [warmup_cosine(step / STEPS, warmup=0.0, floor=0.25) for step in range(STEPS)]
    theirs = by_torch(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.25)
    )
    assert ours == pytest.approx(theirs)
    ours = [multi_step(step / STEPS, warmup=0.0) for step in range(STEPS)]
    theirs = by_torch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [160, 180], gamma=0.316))
    assert ours == pytest.approx(theirs)


def test_wsd_equals_torchs_linear_ramps():
    def ramps(optimizer):
        up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-12, total_iters=20)
        level = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        down = torch.optim.lr_scheduler.LinearLR(
            optimizer, start_factor=1.0, end_factor=0.0, total_iters=100
        )
        return torch.optim.lr_scheduler.SequentialLR(optimizer, [up, level, down], [20, 100])

    ours = [warmup_stable_decay(step / STEPS, warmup=0.1, decay=0.5) for step in range(STEPS)]
    assert ours == pytest.approx(by_torch(ramps), abs=1e-9)


@pytest.mark.parametrize("schedule", [warmup_stable_decay, warmup_cosine, multi_step])
def test_progress_may_be_a_number_of_numpy(schedule):
    points = np.linspace(0, 1, 21)
    ours = [schedule(point) for point in points]
    assert ours == pytest.approx([schedule(point) for point in points.tolist()])


@given(st.floats(0, 1), st.floats(0, 0.7))
def test_every_schedule_warms_up_alike_and_stays_between_0_and_1(progress, warmup):
    for schedule in (warmup_stable_decay, warmup_cosine, multi_step):
        options = {"decay": 0.2} if schedule is warmup_stable_decay else {}
        rate = schedule(progress, warmup=warmup, **options)
        assert 0 <= rate <= 1
        if progress < warmup:
            assert rate == pytest.approx(progress / warmup)


def test_the_ends():
    assert (
        warmup_stable_decay(0.0, warmup=0.0)
        == warmup_cosine(0.0, warmup=0.0)
        == multi_step(0.0, warmup=0.0)
        == 1
    )
    assert warmup_stable_decay(1.0) == 0 and warmup_stable_decay(1.0, decay=0.0) == 1
    assert warmup_cosine(1.0) == pytest.approx(0.1) and warmup_cosine(1.0, warmup=1.0) == 1
    assert multi_step(1.0) == pytest.approx(0.1, rel=2e-3)


@pytest.mark.parametrize("schedule", [warmup_stable_decay, warmup_cosine, multi_step])
@pytest.mark.parametrize("progress", [-0.1, 1.5, math.nan])
def test_progress_beyond_the_run_is_refused(schedule, progress):
    with pytest.raises(ValueError, match=f"progress {progress} is outside 0 to 1"):
        schedule(progress)
