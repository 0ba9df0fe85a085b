"""Practice with a sampler that is not the policy: what it samples with, and what is kept of it."""

import json
from dataclasses import replace
from random import Random

import pytest
import torch

from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.experiments import rl_after_r1 as runs
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.inference.rollout import completion_log_probs
from course_lib.layers import moe
from course_lib.tasks.arithmetic import ZERO_REWARDS, arithmetic_task

SMALL = GRPOSettings(
    3, n_questions=4, group_size=8, lr=0.01, max_new_tokens=16, n_minibatches=1, beta=0.0
)
TASK = arithmetic_task(ZERO_REWARDS)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")


@pytest.mark.parametrize("wait", [1, 2, 3])
def test_the_sampler_gets_new_weights_every_so_many_steps(wait):
    """The gap between sampler and policy is 0 in the steps that begin with new weights alone."""
    sampler = runs.OtherSampler(wait)
    history = train_grpo(
        SHIPPED_R1.load("base"), SHIPPED_R1.tokenizer(), TASK, SMALL, sample=sampler
    )
    gaps = history.measures["sampling gap"]
    assert [gap < 1e-5 for gap in gaps] == [step % wait == 0 for step in range(3)]


def test_rounding_leaves_the_policy_alone_and_is_as_coarse_as_told():
    model = SHIPPED_R1.load("base")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    few = runs.rounded_copy(model, 4)
    for name, weight in few.named_parameters():
        exact = before[name]
        if weight.ndim > 1:
            for row, original in zip(weight.flatten(0, -2), exact.flatten(0, -2), strict=True):
                assert len(row.unique()) <= 15
                step = original.abs().max() / 7
                assert (row - original).abs().max() <= step / 2 * 1.001
        else:
            assert torch.equal(weight, exact)
    assert all(w.dtype == torch.bfloat16 for w in runs.rounded_copy(model, 16).parameters())
    assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())


def test_flips_are_counted_as_by_one_text_at_a_time():
    model = SHIPPED_R1.load("base")
    sampler = runs.rounded_copy(model, 4)
    sampled = runs.sample_with_routing(sampler, n=6)
    flips, choices = 0, 0
    for row, (prompt, text) in enumerate(zip(sampled.prompts, sampled.completions, strict=True)):
        model.hidden(torch.tensor([(prompt + text)[:-1]]))
        own = moe.last_choices(moe.text_moe_layers(model))[0].tolist()
        theirs = sampled.chosen[row][~sampled.padding[row]][:-1].tolist()
        for layers, others in zip(own, theirs, strict=True):
            for mine, its in zip(layers, others, strict=True):
                flips += len(set(mine) - set(its))
                choices += len(mine)
    assert 0 < flips < choices / 2
    assert runs.count_flips(model, sampled) == pytest.approx(flips / choices, rel=1e-4)
    assert runs.count_flips(model, runs.sample_with_routing(model, n=6)) == 0


def test_impossible_samplers_name_their_numbers():
    model = SHIPPED_R1.load("base")
    for bits in (0, 1, 9, 17, 31):
        with pytest.raises(ValueError, match=f"bits {bits} is not between 2 and 8"):
            runs.rounded_copy(model, bits)
    with pytest.raises(ValueError, match="wait 0 must be at least 1"):
        runs.OtherSampler(wait=0)
    bare = replace(runs.sample_with_routing(model, n=3), chosen=None)
    with pytest.raises(ValueError, match="3 completions keep no experts"):
        runs.count_flips(model, bare)


def test_a_mask_that_is_lost_leaves_the_ratio_below_one():
    model, settings = SHIPPED_R1.load("base"), replace(SMALL, top_p=0.5, keep_mask=True)
    found = {}
    for hand_over in (True, False):
        drawn = runs.OtherSampler(hand_over=hand_over)(
            model, SHIPPED_R1.tokenizer(), TASK, settings, Random(0),
            torch.Generator().manual_seed(0),
        )  # fmt: skip
        part = drawn.completions
        with torch.no_grad():
            found[hand_over] = (completion_log_probs(model, part) - part.log_probs).exp()
    real = part.completion_mask
    torch.testing.assert_close(found[True][real], torch.ones(int(real.sum())), atol=1e-4, rtol=0)
    assert found[False][real].max() < 1 + 1e-4 and found[False][real].mean() < 0.95


def test_every_run_of_the_tables_is_stored_once_per_seed_with_finite_numbers():
    stored = json.loads((runs.OFF_POLICY_FOLDER / "runs.json").read_text())
    keys = [(run["table"], run["name"], run["seed"]) for run in stored]
    assert len(keys) == len(set(keys))
    for table, make in runs.TABLES.items():
        for name in make():
            for seed in range(3):
                assert (table, name, seed) in keys
    for run in stored:
        assert 0 <= run["after"]["accuracy"] <= 1
        assert len(run["curves"]["accuracy"]) == runs.BRIEF.steps
