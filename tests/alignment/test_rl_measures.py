"""What a log tells of rewards, groups, ratios and gaps: by hand, and of a step that was really
taken."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from course_lib.alignment.grpo import GRPOSettings, group_advantages, grpo_step, train_grpo
from course_lib.alignment.rl_measures import (
    average_measures,
    completion_metrics,
    group_correlation,
    policy_ratio_metrics,
    reward_metrics,
    sampling_gap_metrics,
)
from course_lib.inference.rollout import completion_log_probs, sample_completions
from tests.alignment.tiny import TOKENIZER, completions, count_of, fresh, seeded

STEP = GRPOSettings(1, n_questions=3, group_size=4, n_minibatches=2, beta=0.0, max_new_tokens=6)


def test_completions_by_hand():
    log_probs = torch.tensor([[0.5, 0.5, 0.25], [0.125, 1.0, 1.0]]).log()
    got = completions([3, 1, 3, 1], log_probs.repeat(2, 1))
    got = replace(got, finished=torch.tensor([True, False, False, False]))
    want = {"length": 2, "cut off": 0.75, "entropy": 7 * math.log(2) / 4, "longest": 3}
    found = completion_metrics(got)
    assert found.pop("prompt") == sum(map(len, got.prompts)) / 4
    assert found == pytest.approx(want)


def test_rewards_by_hand():
    """Two groups of two: rewards 1 and 0 with lengths 3 and 1, and equal ones with lengths 2, 2."""
    got = completions([3, 1, 2, 2], torch.zeros(4, 3))
    got = replace(got, finished=torch.tensor([True, False, True, False]))
    found = reward_metrics(torch.tensor([1.0, 0.0, 0.5, 0.5]), got, 2)
    assert found == pytest.approx(
        {
            "reward of cut off": 0.25,
            "reward spread": math.sqrt(0.5) / 2,
            "equal groups": 0.5,
            "length of unequal": 2.0,
            "length pays": 1.0,
        }
    )
    whole = replace(got, finished=torch.ones(4, dtype=torch.bool))
    assert reward_metrics(torch.ones(4), whole, 2) == {"reward spread": 0.0, "equal groups": 1.0}
    assert reward_metrics(torch.ones(4), whole, 1) == {}


def test_a_correlation_inside_of_groups_is_blind_to_what_differs_between_them():
    x = torch.tensor([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]])
    y = torch.tensor([[5.0, 4.0, 3.0], [100.0, 99.0, 98.0]])
    assert group_correlation(x, y) == pytest.approx(-1)
    assert torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1] > 0.9
    assert group_correlation(x, torch.ones(2, 3)) is None


def test_ratios_by_hand():
    """Ratios 1.5, 1 and 0.5 for the good answer (+) of two tokens and the bad one (-) of one."""
    part = completions([2, 1], torch.tensor([[0.2, 0.2], [0.4, 0.9]]).log())
    now = torch.tensor([[0.3, 0.2], [0.2, 0.1]]).log()
    found = policy_ratio_metrics(now, part, torch.tensor([0.5, -0.5]), 0.2, 0.28)
    assert found == pytest.approx(
        {"ratio": 1.0, "clip share low": 1 / 3, "clip share high": 1 / 3, "loss tokens": 1.5}
    )
    other_way = policy_ratio_metrics(now, part, torch.tensor([-0.5, 0.5]), 0.2, 0.28)
    assert other_way["clip share low"] == other_way["clip share high"] == 0
    wide = policy_ratio_metrics(now, part, torch.tensor([0.5, -0.5]), 0.6, 0.6)
    assert wide["clip share low"] == wide["clip share high"] == 0
    gaps = sampling_gap_metrics(now, part)
    want = {"sampling gap": (math.log(1.5) + math.log(2)) / 3, "largest sampling gap": math.log(2)}
    assert gaps == pytest.approx(want)


def test_averages_are_over_those_that_have_a_measure():
    assert average_measures([{"a": 1.0, "b": 4.0}, {"a": 3.0}]) == {"a": 2.0, "b": 4.0}
    assert average_measures([]) == {}


@pytest.fixture(scope="module")
def sampled():
    model = fresh(std=0.3)
    prompts = [[3, 1, 4, 1, 5], [2], [7, 1]]
    return model, sample_completions(model, prompts, 6, n_samples=4, generator=seeded(3))


def test_a_step_tells_what_it_did(sampled):
    model, got = copy.deepcopy(sampled[0]), sampled[1]
    advantages = group_advantages(torch.rand(12, generator=seeded(1)), 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    settings = replace(STEP, n_minibatches=1, clip_gradient=1e-3)
    about = grpo_step(model, None, optimizer, got, advantages, settings)
    loss = -(advantages[:, None] * completion_log_probs(sampled[0], got)).sum() / 12 / 20
    slopes = torch.autograd.grad(loss, list(sampled[0].parameters()), allow_unused=True)
    norm = math.sqrt(sum(slope.square().sum().item() for slope in slopes if slope is not None))
    assert about["gradient norm"] == pytest.approx(norm, rel=1e-3)  # before it was clipped
    assert about["sampling gap"] < 1e-5 and about["ratio"] == pytest.approx(1)
    assert about["loss tokens"] == 6 and about["clip share low"] == about["clip share high"] == 0


def test_the_gap_is_that_in_front_of_the_first_update(sampled):
    """A rate so high that the second part meets another policy."""
    model, got = copy.deepcopy(sampled[0]), sampled[1]
    advantages = group_advantages(torch.rand(12, generator=seeded(1)), 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=30.0)
    about = grpo_step(model, None, optimizer, got, advantages, STEP, seeded())
    assert about["sampling gap"] < 1e-5 and abs(about["ratio"] - 1) > 0.01
    assert about["clip share low"] + about["clip share high"] > 0.01
    cold = grpo_step(model, None, optimizer, got, advantages, replace(STEP, temperature=2.0))
    assert cold["sampling gap"] > 0.1


def test_a_run_logs_all_of_it():
    task = replace(count_of("e", out_of=6), parts=lambda questions, answers: {"e": 0.25})
    settings = GRPOSettings(2, n_questions=4, group_size=4, max_new_tokens=6, n_minibatches=1)
    measures = train_grpo(fresh(), TOKENIZER, task, settings, seed=1).measures
    assert measures["reward: e"] == [0.25, 0.25]
    names = {"gradient norm", "clip share low", "clip share high", "sampling gap", "equal groups"}
    assert names <= set(measures) and all(len(values) == 2 for values in measures.values())
    assert measures["loss tokens"] == pytest.approx(measures["length of unequal"], rel=0.2)
