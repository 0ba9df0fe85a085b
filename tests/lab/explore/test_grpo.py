"""The figures of lesson 24 say what their numbers say."""

import pytest
import torch

from course_lib.alignment.grpo import (
    DAPO_PRESET,
    DR_GRPO_PRESET,
    GRPO_PRESET,
    GRPOSettings,
    group_advantages,
    grpo_loss,
)
from course_lib.lab.explore import grpo as explore
from tests.alignment.tiny import completions
from tests.lab.explore.test_inference import alts

PRESETS = {"GRPO": GRPO_PRESET, "DAPO": DAPO_PRESET, "Dr. GRPO": DR_GRPO_PRESET}


@pytest.mark.parametrize("recipe", PRESETS)
def test_what_a_token_weighs_is_the_gradient_of_the_loss(recipe):
    rewards = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    values = PRESETS[recipe] | ({"average": 40.0} if recipe == "Dr. GRPO" else {})
    s = GRPOSettings(1, group_size=8, **values | {"beta": 0.0})
    old = torch.full((8, max(explore.LENGTHS)), -1.0)
    table = old.clone().requires_grad_()
    advantages = group_advantages(torch.tensor(rewards), 8, s.scale_by_std)
    loss, _ = grpo_loss(table, None, completions(list(explore.LENGTHS), old), advantages, s)
    (slope,) = torch.autograd.grad(-loss, table)
    got = explore.token_weights(rewards, explore.LENGTHS, recipe)
    want = slope[:, 0] * sum(explore.LENGTHS)
    torch.testing.assert_close(torch.tensor(got), want, atol=1e-3, rtol=1e-3)


def test_rloo_is_dr_grpo_with_another_rate():
    rewards = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    ours, other = (
        explore.token_weights(rewards, explore.LENGTHS, name) for name in ("Dr. GRPO", "RLOO")
    )
    assert other == pytest.approx([8 / 7 * weight for weight in ours])


def test_equal_groups_push_nothing():
    told = alts(explore.groups())
    assert len(told) == 25
    assert "+0.00, +0.00" in told[0] and "0 of four short and 0 of four long" in told[0]


def test_the_clip_tells_where_there_is_no_gradient():
    told = alts(explore.clip())
    assert len(told) == 18
    assert "Advantage +1, ratio 1.8: objective 1.28; beyond the clip" in told[8]
    assert "Advantage +1, ratio 0.4: objective 0.40; gradient" in told[0]
    assert "Advantage -1, ratio 0.4: objective -0.80; beyond the clip" in told[9]
    assert "Advantage -1, ratio 1.8: objective -1.80; gradient" in told[17]
