"""GRPO and its kin: advantages by hand, the whole loss by loops from the papers, steps, and
learning for real."""

import copy
import math
import random
import re
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.alignment import grpo as module
from course_lib.alignment.grpo import (
    DAPO_PRESET,
    DR_GRPO_PRESET,
    GRPO_PRESET,
    GSPO_PRESET,
    GRPOSettings,
    group_advantages,
    grpo_loss,
    grpo_step,
    sample_with_redraws,
    shaped_rewards,
    shuffled_minibatches,
    train_grpo,
)
from course_lib.alignment.rl_task import Question, RLTask, reward_each
from course_lib.experiments.ablations import FIRST_LOSS
from course_lib.inference.rollout import completion_log_probs, sample_completions
from course_lib.training.resume import Checkpoints
from tests.alignment.tiny import (
    TOKENIZER,
    bits,
    completions,
    count_of,
    fresh,
    one_quiet_thread,  # noqa: F401
    seeded,
    unchecked_settings,
)

VARIANTS = {"GRPO": GRPO_PRESET, "DAPO": DAPO_PRESET, "Dr. GRPO": DR_GRPO_PRESET}


# --------------------------------------------------------------------------------------- advantages


def test_advantages_by_hand():
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.5, 0.0, 0.0, 0.5])
    plain = [0.5, -0.5, -0.5, 0.5, 1.0, -0.5, -0.5, 0.0]  # less 0.5, less 0.5
    torch.testing.assert_close(group_advantages(rewards, 4), torch.tensor(plain))
    deviations = [math.sqrt(4 * 0.25 / 3)] * 4 + [math.sqrt((1 + 0.25 + 0.25) / 3)] * 4
    want = [a / (s + 1e-4) for a, s in zip(plain, deviations, strict=True)]
    torch.testing.assert_close(group_advantages(rewards, 4, scale_by_std=True), torch.tensor(want))


GROUPS = st.integers(2, 6).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(
            st.lists(st.floats(-3, 3, width=32), min_size=size, max_size=size),
            min_size=1,
            max_size=4,
        ),
    )
)


@settings(max_examples=80, deadline=None)
@given(GROUPS, st.booleans(), st.randoms(use_true_random=False))
def test_advantages_of_a_group_sum_to_0_and_follow_their_answers(sized, scale, random):
    size, groups = sized
    rewards = torch.tensor(groups)
    got = group_advantages(rewards.flatten(), size, scale).view_as(rewards)
    torch.testing.assert_close(got.sum(-1), torch.zeros(len(rewards)), atol=1e-4 * size, rtol=0)
    order = [random.sample(range(size), size) for _ in groups]
    shuffled = torch.stack([row[o] for row, o in zip(rewards, order, strict=True)])
    want = torch.stack([row[o] for row, o in zip(got, order, strict=True)])
    torch.testing.assert_close(
        group_advantages(shuffled.flatten(), size, scale).view_as(want), want, atol=2e-3, rtol=0
    )
    assert (
        got[0] == group_advantages(rewards[0], size, scale)
    ).all()  # other questions do not matter


@given(st.floats(-100, 100, width=32), st.integers(2, 17), st.booleans())
def test_equal_rewards_teach_exactly_nothing(reward, size, scale):
    assert (group_advantages(torch.full((size,), reward), size, scale) == 0).all()


def test_a_standard_deviation_takes_the_size_of_rewards_away():
    rewards = torch.tensor([0.1, 0.0, 0.3, 0.2])
    small, large = (group_advantages(rewards * by + 7, 4, scale_by_std=True) for by in (1, 100))
    torch.testing.assert_close(small, large, atol=2e-3, rtol=0)
    plain = group_advantages(rewards * 100 + 7, 4)
    torch.testing.assert_close(plain, 100 * group_advantages(rewards + 7, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("rewards", "size", "message"),
    [
        ([1.0, 0.0, 1.0], 2, r"rewards of shape \(3,\) are no groups of 2"),
        ([1.0, 0.0], 1, r"shape \(2,\) are no groups of 1, at least 2 each"),
        ([], 2, r"shape \(0,\)"),
        ([[1.0, 0.0]], 2, "1, ?2"),
        ([1.0, math.nan], 2, "reward 1 of 2 is nan"),
        ([1.0, 0.0, -math.inf, 0.0], 2, "reward 2 of 4 is -inf"),
    ],
)
def test_rewards_that_are_no_groups_of_numbers_are_refused(rewards, size, message):
    with pytest.raises(
        (ValueError, TypeError), match=message
    ):  # the second if annotations are checked
        group_advantages(torch.tensor(rewards), size)


# ----------------------------------------------------------------------------------------- the loss


def by_the_papers(groups, variant, s):
    """The objective (to be made large) of a batch, in loops and without tensors.

    A group is a list of (reward, tokens) and a token is (log pi, log pi_old, log pi_ref). GRPO:
    DeepSeekMath (arXiv 2402.03300), equations 3 and 4. DAPO: arXiv 2503.14476, equations 8 and 9,
    with all groups as one. Dr. GRPO: arXiv 2503.20783, section 3.2.
    """
    total, n_tokens = 0.0, 0
    for group in groups:
        G = len(group)
        mean = sum(reward for reward, _ in group) / G
        deviation = (sum((reward - mean) ** 2 for reward, _ in group) / (G - 1)) ** 0.5
        for reward, tokens in group:
            A = reward - mean if variant == "Dr. GRPO" else (reward - mean) / (deviation + 1e-4)
            of_answer = 0.0
            for new, old, reference in tokens:
                ratio = math.exp(new) / math.exp(old)
                cut = max(1 - s.clip_low, min(1 + s.clip_high, ratio))
                divergence = (
                    math.exp(reference) / math.exp(new)
                    - math.log(math.exp(reference) / math.exp(new))
                    - 1
                )
                of_answer += min(ratio * A, cut * A) - s.beta * divergence
                n_tokens += 1
            if variant == "GRPO":
                total += of_answer / len(tokens) / G / len(groups)
            elif variant == "Dr. GRPO":
                total += of_answer / s.average / G / len(groups)
            else:
                total += of_answer
    return total / n_tokens if variant == "DAPO" else total


def a_batch(seed, n_questions, size, longest=6):
    generator = seeded(seed)
    lengths = torch.randint(1, longest + 1, (n_questions * size,), generator=generator).tolist()
    new, old, reference = (
        torch.randn(len(lengths), max(lengths), generator=generator).double() / 2 for _ in range(3)
    )
    rewards = torch.rand(len(lengths), generator=generator).double()
    return lengths, new - 3, old - 3, reference - 3, rewards


@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("n_questions", "size"), [(1, 5), (3, 4)])
def test_the_whole_loss_is_that_of_the_papers(variant, beta, n_questions, size):
    s = replace(GRPOSettings(1, **VARIANTS[variant]), beta=beta, group_size=size)
    for seed in range(3):
        lengths, new, old, reference, rewards = a_batch(seed, n_questions, size)
        part = completions(lengths, old, torch.float64)
        advantages = group_advantages(rewards, size, s.scale_by_std)
        loss, divergence = grpo_loss(new, reference if beta else None, part, advantages, s)
        answers = [
            (
                rewards[i].item(),
                list(zip(*(table[i, :n].tolist() for table in (new, old, reference)), strict=True)),
            )
            for i, n in enumerate(lengths)
        ]
        groups = [answers[i : i + size] for i in range(0, len(answers), size)]
        assert loss.item() == pytest.approx(-by_the_papers(groups, variant, s), rel=1e-9)
        tokens = [token for _, tokens in answers for token in tokens]
        want = (
            sum(math.exp(r - n) - (r - n) - 1 for n, _, r in tokens) / len(tokens) if beta else 0.0
        )
        assert divergence.item() == pytest.approx(want)


def gspo_by_loops(groups, s):
    """GSPO (arXiv 2507.18071), equations 5 to 7, with the deviation of a sample."""
    total = 0.0
    for group in groups:
        G, rewards = len(group), [reward for reward, _ in group]
        mean = sum(rewards) / G
        deviation = (sum((reward - mean) ** 2 for reward in rewards) / (G - 1)) ** 0.5
        for reward, tokens in group:
            A = (reward - mean) / (deviation + 1e-4)
            chances = [math.exp(new) / math.exp(old) for new, old, _ in tokens]
            ratio = math.prod(chances) ** (1 / len(tokens))
            cut = max(1 - s.clip_low, min(1 + s.clip_high, ratio))
            total += min(ratio * A, cut * A) / G
    return total / len(groups)


@pytest.mark.parametrize("clips", [(3e-4, 4e-4), (0.2, 0.3)])
def test_the_loss_of_gspo_is_that_of_the_paper(clips):
    preset = GSPO_PRESET | {"clip_low": clips[0], "clip_high": clips[1]}
    s = GRPOSettings(1, **preset, group_size=4)
    lengths, new, old, _, rewards = a_batch(3, 3, 4)
    advantages = group_advantages(rewards, 4, s.scale_by_std)
    part = completions(lengths, old, torch.float64)
    loss, _ = grpo_loss(new, None, part, advantages, s)
    texts = [
        (rewards[i].item(), [(new[i, t].item(), old[i, t].item(), 0) for t in range(n)])
        for i, n in enumerate(lengths)
    ]
    groups = [texts[i : i + 4] for i in range(0, 12, 4)]
    assert loss.item() == pytest.approx(-gspo_by_loops(groups, s), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("how", ["k1", "k2", "k3"])
def test_the_price_of_distance_in_the_loss_by_loops(how, weighted):
    s = GRPOSettings(
        1, group_size=4, beta=0.3, average="token", kl_estimator=how, kl_weighted=weighted
    )
    lengths, new, old, reference, rewards = a_batch(4, 1, 4)
    part, advantages = completions(lengths, old, torch.float64), torch.zeros(4).double()
    loss, divergence = grpo_loss(new, reference, part, advantages, s)
    values = []
    for i, n in enumerate(lengths):
        for t in range(n):
            p, q, o = (table[i, t].item() for table in (new, reference, old))
            value = {"k1": p - q, "k2": (p - q) ** 2 / 2, "k3": math.exp(q - p) - (q - p) - 1}[how]
            values.append(value * (math.exp(p - o) if weighted else 1))
    want = sum(values) / len(values)
    assert divergence.item() == pytest.approx(want)
    assert loss.item() == pytest.approx(0.3 * want)


def test_a_completion_without_tokens_adds_nothing_whatever_the_settings():
    lengths, new, old, reference, _ = a_batch(7, 1, 4)
    lengths[2] = 0
    advantages = torch.tensor([0.5, 0.5, -0.5, -0.5]).double()
    part = completions(lengths, old, torch.float64)
    for preset in (*VARIANTS.values(), GSPO_PRESET):
        s = replace(GRPOSettings(1, **preset), beta=0.1, group_size=4)
        table = new.clone().requires_grad_()
        loss, divergence = grpo_loss(table, reference, part, advantages, s)
        (slope,) = torch.autograd.grad(loss, table)
        assert loss.isfinite() and divergence.isfinite() and slope.isfinite().all()
        assert (slope[2] == 0).all() and slope.abs().max() > 0


def test_the_loss_by_hand():
    """One group of two answers, of 2 tokens and of 1; rewards 1 and 0, so Dr. GRPO's advantages are
    0.5 and -0.5.

    Ratios 1.5, 1 and 0.5; cut to 1.28, 1 and 0.8: gains 0.64, 0.5 and -0.4. The reference is twice
    as sure of the first token: k3 = 2 - log 2 - 1 = 0.3069 there, 0 else. With beta 0.1 and a
    constant of 10 for each of 2 answers: (0.64 + 0.5 - 0.4 - 0.03069) / 20 = 0.0354655.
    """
    old = torch.tensor([[0.2, 0.2], [0.4, 0.9]]).log()
    new = torch.tensor([[0.3, 0.2], [0.2, 0.1]]).log().requires_grad_()
    reference = torch.tensor([[0.6, 0.2], [0.2, 0.7]]).log()
    s = GRPOSettings(1, group_size=2, average=10.0, beta=0.1)
    advantages = group_advantages(torch.tensor([1.0, 0.0]), 2)
    loss, divergence = grpo_loss(new, reference, completions([2, 1], old), advantages, s)
    assert loss.item() == pytest.approx(-0.0354655, abs=1e-6)
    assert (
        divergence.item() == pytest.approx((1 - math.log(2)) / 3, abs=1e-6)
        and not divergence.requires_grad
    )


@pytest.mark.parametrize(
    "values",
    [
        *VARIANTS.values(),
        GSPO_PRESET | {"clip_low": 0.2, "clip_high": 0.2},
        {"kl_estimator": "k1"},
        {"kl_estimator": "k2"},
        {"kl_weighted": True},
    ],
)
def test_the_slope_by_finite_differences(values):
    s = replace(GRPOSettings(1, **values), beta=0.3, group_size=4)
    lengths, new, old, reference, rewards = a_batch(5, 2, 4)
    part, advantages = (
        completions(lengths, old, torch.float64),
        group_advantages(rewards, 4, s.scale_by_std),
    )
    new.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda new: grpo_loss(new, reference, part, advantages, s)[0], new
    )


def test_the_slope_of_the_first_step_is_that_of_the_paper():
    """DeepSeekMath, appendix A.1.6: where the policy is still the old one, A + beta * (ref / policy
    - 1) per token."""
    s = GRPOSettings(1, group_size=4, average=10.0, beta=0.3)
    lengths, new, _, reference, rewards = a_batch(6, 1, 4)
    part, advantages = completions(lengths, new, torch.float64), group_advantages(rewards, 4)
    new.requires_grad_()
    (slope,) = torch.autograd.grad(grpo_loss(new, reference, part, advantages, s)[0], new)
    want = advantages[:, None] + s.beta * ((reference - new).exp() - 1)
    torch.testing.assert_close(-slope * 40, (want * part.completion_mask).detach())


# ----------------------------------------------------------------------------------------- the step


PROMPTS = [[3, 1, 4, 1, 5], [2], [7, 1]]
STEP = GRPOSettings(
    1,
    n_questions=3,
    group_size=4,
    n_minibatches=1,
    average=20.0,
    beta=0.2,
    clip_gradient=1e9,
    max_new_tokens=6,
)


@pytest.fixture(scope="module")
def sampled():
    model = fresh(std=0.3)
    got = sample_completions(model, PROMPTS, 6, n_samples=4, stop_token=100, generator=seeded(3))
    stop = got.completions[0][2]  # so that the lengths differ
    got = sample_completions(model, PROMPTS, 6, n_samples=4, stop_token=stop, generator=seeded(3))
    assert len(set(got.lengths.tolist())) > 1
    return model, got


def alone(model, prompt, completion, temperature=1.0):
    """The log-chances of a completion by one full pass over one unpadded text."""
    logits = model(torch.tensor([prompt + completion]))[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1)[torch.arange(len(completion)), completion]


def plain(model):
    return torch.optim.SGD(model.parameters(), lr=1.0)


def moved(model, before):
    return torch.cat(
        [(p - q).flatten() for p, q in zip(model.parameters(), before.parameters(), strict=True)]
    ).detach()


def test_a_first_step_goes_uphill_on_what_each_text_alone_says(sampled):
    """Plain gradient ascent with a rate of 1: the parameters move by the gradient of an objective
    without padding."""
    model, got = copy.deepcopy(sampled[0]), sampled[1]
    reference, before = fresh(seed=1, std=0.3), sampled[0]
    advantages = group_advantages(torch.rand(12, generator=seeded(1)), 4)
    about = grpo_step(model, reference, plain(model), got, advantages, STEP)
    objective, distances = 0.0, []
    for A, prompt, completion in zip(advantages, got.prompts, got.completions, strict=True):
        ours = alone(before, prompt, completion)
        log_ratio = alone(reference, prompt, completion).detach() - ours
        distances.append(log_ratio.exp() - log_ratio - 1)
        objective = objective + (A * ours - STEP.beta * distances[-1]).sum() / 20 / 12
    want = torch.cat(
        [g.flatten() for g in torch.autograd.grad(objective, list(before.parameters()))]
    )
    assert want.abs().max() > 1e-3
    torch.testing.assert_close(moved(model, before), want, atol=2e-5, rtol=1e-3)
    assert about["used"] == 1 and about["kl"] == pytest.approx(
        torch.cat(distances).mean().item(), rel=1e-3
    )
    constant = (
        sum((A * len(c)).item() for A, c in zip(advantages, got.completions, strict=True)) / 240
    )
    assert about["loss"] == pytest.approx(
        -constant + STEP.beta * torch.cat(distances).sum().item() / 240, abs=1e-4
    )


def test_equal_rewards_leave_the_model_untouched(sampled):
    model, before = copy.deepcopy(sampled[0]), bits(sampled[0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for scale in (True, False):
        advantages = group_advantages(torch.tensor([0.1] * 4 + [1 / 3] * 4 + [1.1] * 4), 4, scale)
        about = grpo_step(model, fresh(1, std=0.3), optimizer, sampled[1], advantages, STEP)
        assert (
            about == {"loss": 0.0, "kl": 0.0, "gradient norm": 0.0, "used": 0.0}
            and bits(model) == before
            and not optimizer.state
        )


def test_answers_without_an_advantage_are_left_out(sampled):
    advantages = torch.tensor([0.5, -0.5, 0.0, 0.0] + [0.0] * 4 + [1.0, 0.0, -0.5, -0.5])
    rows = advantages.nonzero()[:, 0]
    models = [copy.deepcopy(sampled[0]) for _ in range(2)]
    whole = grpo_step(models[0], None, plain(models[0]), sampled[1], advantages, STEP, seeded())
    few = grpo_step(
        models[1], None, plain(models[1]), sampled[1].rows(rows), advantages[rows], STEP, seeded()
    )
    assert bits(models[0]) == bits(models[1]) and whole["loss"] == few["loss"]
    assert (whole["used"], few["used"]) == (5 / 12, 1.0) and whole["kl"] == 0


def test_without_beta_the_reference_is_not_read(sampled):
    advantages = group_advantages(torch.rand(12, generator=seeded(1)), 4)
    model = copy.deepcopy(sampled[0])
    assert (
        grpo_step(
            model, fresh(1, std=0.3), plain(model), sampled[1], advantages, replace(STEP, beta=0.0)
        )["kl"]
        == 0
    )


def test_minibatches_and_epochs(sampled):
    rows = torch.arange(100, 111)
    parts = list(shuffled_minibatches(rows, replace(STEP, n_minibatches=3, n_epochs=2), seeded()))
    assert [len(part) for part in parts] == [4, 4, 3] * 2
    first, second = torch.cat(parts[:3]), torch.cat(parts[3:])
    assert (
        sorted(first.tolist())
        == sorted(second.tolist())
        == rows.tolist()
        != first.tolist()
        != second.tolist()
    )
    assert list(shuffled_minibatches(rows[:0], STEP)) == []
    assert [
        len(part) for part in shuffled_minibatches(rows[:2], replace(STEP, n_minibatches=5))
    ] == [1, 1]
    seeds = [
        torch.cat(list(shuffled_minibatches(rows, STEP, seeded(seed)))).tolist()
        for seed in (0, 0, 1)
    ]
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_second_look_at_the_samples_is_clipped(sampled):
    """A rate so large that the first of two epochs leaves every ratio beyond the clip, or on the
    way back to it."""
    model, got = copy.deepcopy(sampled[0]), sampled[1]
    advantages = group_advantages(torch.rand(12, generator=seeded(1)), 4)
    once, twice = copy.deepcopy(model), copy.deepcopy(model)
    settings = replace(STEP, beta=0.0, clip_low=0.0, clip_high=0.0)
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.05) for each in (once, twice)]
    grpo_step(once, None, optimizers[0], got, advantages, settings)
    grpo_step(twice, None, optimizers[1], got, advantages, replace(settings, n_epochs=2))
    ratios = [
        (A, (alone(once, prompt, completion) - alone(model, prompt, completion).detach()).exp())
        for A, prompt, completion in zip(advantages, got.prompts, got.completions, strict=True)
    ]
    pulled_back = sum((A * r)[(r - 1) * A < 0].sum() for A, r in ratios) / 20 / 12
    want = torch.cat(
        [g.flatten() for g in torch.autograd.grad(pulled_back, list(once.parameters()))]
    )
    torch.testing.assert_close(moved(twice, once), 0.05 * want, atol=1e-5, rtol=1e-3)
    assert 0 < want.abs().max()


def test_the_gradient_is_shortened_and_the_reference_stays(sampled):
    model, reference = copy.deepcopy(sampled[0]), fresh(1, std=0.3)
    before = bits(reference)
    advantages = group_advantages(torch.rand(12, generator=seeded(1)), 4)
    grpo_step(
        model, reference, plain(model), sampled[1], advantages, replace(STEP, clip_gradient=0.01)
    )
    assert moved(model, sampled[0]).norm().item() == pytest.approx(0.01, rel=1e-3)
    assert bits(reference) == before and all(p.grad is None for p in reference.parameters())


def test_the_temperature_of_sampling_is_that_of_the_loss(sampled):
    model = copy.deepcopy(sampled[0])
    got = sample_completions(model, PROMPTS, 6, n_samples=4, temperature=1.7, generator=seeded())
    advantages = group_advantages(torch.rand(12, generator=seeded(1)), 4)
    # ratios of 1, or the slope is 0
    s = replace(STEP, beta=0.0, temperature=1.7, clip_low=1e-3, clip_high=1e-3)
    grpo_step(model, None, plain(model), got, advantages, s)
    rows = zip(advantages, got.prompts, got.completions, strict=True)
    objective = sum((A * alone(sampled[0], *text, 1.7)).sum() for A, *text in rows) / 240
    want = torch.cat(
        [g.flatten() for g in torch.autograd.grad(objective, list(sampled[0].parameters()))]
    )
    torch.testing.assert_close(moved(model, sampled[0]), want, atol=2e-5, rtol=1e-3)


# ------------------------------------------------------------------- what is taken from the rewards


def test_what_an_answer_pays_for_its_length_and_its_distance_by_hand(sampled):
    model, got = sampled
    reference = fresh(1, std=0.3)
    rewards = torch.rand(12, generator=seeded(1))
    s = replace(STEP, overlong_share=0.5, kl_in="reward", kl_estimator="k1", beta=0.2)
    want = []
    rows = zip(rewards.tolist(), got.prompts, got.completions, strict=True)
    for reward, prompt, completion in rows:
        distance = (alone(model, prompt, completion) - alone(reference, prompt, completion)).sum()
        too_long = max(0, len(completion) - 3) / 3  # of at most 6 tokens
        want.append(reward - 0.2 * distance.item() - too_long)
    torch.testing.assert_close(
        shaped_rewards(reference, got, rewards, s), torch.tensor(want), atol=1e-4, rtol=1e-4
    )
    assert {len(completion) for completion in got.completions} & {4, 5, 6}
    in_loss = replace(s, kl_in="loss", overlong_share=0.0)
    assert torch.equal(shaped_rewards(reference, got, rewards, in_loss), rewards)


def test_nothing_is_learnt_from_answers_that_were_cut_off(monkeypatch):
    """But what they earned stays in the mean of their group."""
    seen = []

    def step(model, reference, optimizer, completions, advantages, settings, generator):
        seen.append((completions, advantages, reference))
        return {"loss": 0.0}

    monkeypatch.setattr(module, "grpo_step", step)
    task, rewards = count_of("e", out_of=6), []
    told = replace(task, reward=lambda *both: rewards.append(task.reward(*both)) or rewards[-1])
    s = replace(LEARN, steps=1, n_questions=16, max_new_tokens=60, group_size=4, mask_overlong=True)
    train_grpo(fresh(context=96), TOKENIZER, told, replace(s, kl_in="reward", beta=1e-9), seed=1)
    completions, advantages, reference = seen[0]
    whole = group_advantages(torch.tensor(rewards[0]), 4)
    torch.testing.assert_close(
        advantages, torch.where(completions.finished, whole, 0.0), atol=1e-6, rtol=0
    )
    assert 0 < completions.finished.sum() < 64 and whole[~completions.finished].any()
    assert reference is None  # the distance was paid for already


# ------------------------------------------------------------------------------- drawing once more


def test_equal_groups_are_asked_once_more_and_stay_in_the_batch():
    """The reward is 1 for all answers to two of the three questions, and differs for the third."""
    calls = []

    def reward(questions, answers):
        calls.append([question.text for question in questions[::4]])
        rows = range(len(answers))
        return [float(q.text != "a?" or row % 4 == 0) for q, row in zip(questions, rows)]  # noqa: B905

    task = replace(count_of("e", 6), reward=reward)
    s = replace(LEARN, n_questions=6, group_size=4, n_redraws=3)
    drawn = sample_with_redraws(fresh(), TOKENIZER, task, s, random.Random(0), seeded())
    assert [len(asked) for asked in calls] == [
        6,
        *(sum(text != "a?" for text in asked) for asked in calls[:-1]),
    ]
    assert len(calls) == 4 and calls[0].count("a?") not in (0, 6)
    asked = [text for texts in calls for text in texts]
    assert [question.text for question in drawn.questions[::4]] == asked
    assert len(drawn.answers) == len(drawn.rewards) == len(drawn.completions.ids) == 4 * len(asked)
    texts = [TOKENIZER.decode(ids) for ids in drawn.completions.completions]
    ends = tuple(TOKENIZER.special_tokens)
    assert all(text.startswith(answer) for text, answer in zip(texts, drawn.answers, strict=True))
    assert all(
        not text[len(answer) :] or text[len(answer) :] in ends
        for text, answer in zip(texts, drawn.answers, strict=True)
    )
    alone = completion_log_probs(fresh(), drawn.completions)
    torch.testing.assert_close(alone, drawn.completions.log_probs, atol=1e-4, rtol=0)


def test_with_all_groups_useful_nothing_is_drawn_again():
    task = replace(count_of("e", 6), reward=lambda questions, answers: range(len(answers)))
    s = replace(LEARN, n_redraws=3, steps=1)
    plain = train_grpo(fresh(), TOKENIZER, task, replace(s, n_redraws=0), seed=1)
    again = train_grpo(fresh(), TOKENIZER, task, s, seed=1)
    answers = again.measures.pop("answers")
    assert answers == [32] and again.measures == plain.measures


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("reward", "error", "message"),
    [
        (lambda truth, text: 1 / 0, ZeroDivisionError, "the reward failed for .* to '.*?'"),
        (lambda truth, text: math.nan, ValueError, "the reward is nan for .* to '.*?'"),
        (lambda truth, text: None, TypeError, "the reward failed for one of 8 answers: .* to '.*"),
    ],
)
def test_a_reward_that_fails_names_question_and_answer_and_nothing_is_learnt(
    reward, error, message
):
    task = RLTask(count_of("e", 6).draw, partial(reward_each, reward))
    model, before = fresh(), bits(fresh())
    with pytest.raises(error) as caught:
        s = replace(LEARN, n_questions=2, group_size=4)
        train_grpo(model, TOKENIZER, task, s, seed=1)
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(message, told) and bits(model) == before


def test_a_question_longer_than_the_context_leaves_the_model_untouched():
    task = replace(count_of("e", 6), draw=lambda rng: Question("x" * 90, "e"))
    model, before = fresh(), bits(fresh())
    with pytest.raises(ValueError, match="prompt 0 has .* tokens and is to get 6 more.*at most 64"):
        train_grpo(model, TOKENIZER, task, LEARN, seed=1)
    assert bits(model) == before


# ----------------------------------------------------------------------------------------- settings


def test_the_presets_are_the_settings_of_their_papers():
    """DeepSeekMath, section 4.2; DAPO, sections 3 and 4.1; Dr. GRPO, section 3.2. Nothing of ours
    leaks in."""
    got = {
        name: GRPOSettings(1, **preset)
        for name, preset in (("g", GRPO_PRESET), ("dapo", DAPO_PRESET), ("dr", DR_GRPO_PRESET))
    }
    assert [s.scale_by_std for s in got.values()] == [True, True, False]
    assert [s.average for s in got.values()] == ["sequence", "token", 20.0]
    assert [(s.clip_low, s.clip_high) for s in got.values()] == [
        (0.2, 0.2),
        (0.2, 0.28),
        (0.2, 0.2),
    ]
    assert [s.beta for s in got.values()] == [0.04, 0.0, 0.0]
    assert (
        got["g"].n_minibatches * got["g"].n_epochs == 1
        and got["dapo"].n_minibatches * got["dapo"].n_epochs == 16
    )
    of_the_loss = {"scale_by_std", "average", "clip_low", "clip_high", "beta", "n_epochs"}
    assert all(of_the_loss <= set(preset) for preset in (GRPO_PRESET, DAPO_PRESET, DR_GRPO_PRESET))


def test_a_control_with_the_first_loss_changes_the_loss_alone():
    ours = GRPOSettings(70, lr=5e-4)
    changed = asdict(replace(ours, **FIRST_LOSS))
    assert {name for name, value in asdict(ours).items() if changed[name] != value} == set(
        FIRST_LOSS
    )
    assert FIRST_LOSS == {"scale_by_std": True, "average": "sequence", "clip_high": 0.2}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"group_size": 1}, "group_size 1: an answer alone"),
        ({"average": "mean"}, "average 'mean' is neither"),
        ({"average": 0.0}, "average 0.0 is neither"),
        ({"clip_low": 1.5}, "clip_low 1.5"),
        ({"average": True}, "average True is neither"),
        ({"average": math.nan}, "average nan is neither"),
        ({"scale_by_std": "no"}, "scale_by_std 'no' must be True or False"),
        ({"scale_by_std": 0.5}, "scale_by_std 0.5 must be True or False"),
        ({"kl_weighted": 2}, "kl_weighted 2 must be True or False"),
        ({"mask_overlong": None}, "mask_overlong None must be True or False"),
        ({"ratio": "word"}, "ratio 'word' must be token or sequence"),
        ({"kl_in": "both"}, "kl_in 'both' must be loss or reward"),
        ({"kl_estimator": "k0"}, "estimator 'k0' is not one of k1, k2, k3"),
        ({"kl_in": "reward", "kl_weighted": True}, "kl_weighted weighs .* not in the reward"),
        ({"n_redraws": -1}, "n_redraws -1 must be a whole number from 0"),
        ({"n_redraws": 1.0}, "n_redraws 1.0 must be"),
        ({"overlong_share": 1.5}, "overlong_share 1.5 must be from 0 to 1"),
        ({"overlong_share": math.nan}, "overlong_share nan must be"),
    ],
)
def test_impossible_settings_name_their_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        unchecked_settings(GRPOSettings, steps=1, **wrong)


# -------------------------------------------------------------------------------- learning for real


LEARN = GRPOSettings(30, n_questions=4, group_size=8, max_new_tokens=6, lr=0.03, n_minibatches=1)


@pytest.mark.parametrize(
    "preset",
    [GRPO_PRESET, DAPO_PRESET, DR_GRPO_PRESET, GSPO_PRESET],
    ids=["GRPO", "DAPO", "Dr. GRPO", "GSPO"],
)
def test_a_tiny_model_learns_to_say_a_letter(preset):
    model = fresh()
    # the best answer is as long as it may be, so length must cost nothing
    s = replace(LEARN, **preset | {"overlong_share": 0.0})
    history = train_grpo(model, TOKENIZER, count_of("e", out_of=6), s, seed=1)
    reward = history.measures["reward"]
    assert history.ended == "finished" and len(reward) == LEARN.steps
    assert sum(reward[:3]) / 3 < 0.2 and sum(reward[-3:]) / 3 > 0.8


def test_what_a_run_hands_to_its_steps(monkeypatch):
    """A run of two steps whose second one must still know the model of the start."""
    steps, start = [], bits(fresh())

    def step(model, reference, optimizer, completions, advantages, settings, generator):
        steps.append((reference and bits(reference), advantages))
        return grpo_step(model, reference, optimizer, completions, advantages, settings, generator)

    monkeypatch.setattr(module, "grpo_step", step)
    task, rewards = count_of("e", out_of=6), []
    told = replace(task, reward=lambda *both: rewards.append(task.reward(*both)) or rewards[-1])
    s = replace(LEARN, steps=2, scale_by_std=True)
    history = train_grpo(fresh(), TOKENIZER, told, s, seed=1, keep_samples_at=[2])
    for (reference, advantages), reward in zip(steps, rewards, strict=True):
        assert reference == start
        torch.testing.assert_close(
            advantages, group_advantages(torch.tensor(reward), 8, scale_by_std=True)
        )
    assert [kept[0] for kept in history.samples] == [2] * 4
    other = train_grpo(fresh(), TOKENIZER, told, replace(s, beta=0.0), seed=2)
    assert steps[2][0] is None and other.measures["entropy"] != history.measures["entropy"]
    assert max(map(max, rewards)) > 0


class Killed(Exception):
    pass


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_killed_and_resumed_is_never_killed(tmp_path, beta):
    s = replace(LEARN, steps=9, beta=beta, n_minibatches=2, n_epochs=2, lr=0.01)
    task = count_of("e", out_of=6)

    def run(folder=None, kill_at=None):
        model, calls = fresh(), []

        def reward(questions, answers):
            calls.append(1)
            if len(calls) == kill_at:
                raise Killed
            return task.reward(questions, answers)

        checkpoints = Checkpoints(folder, every=2) if folder else None
        return model, train_grpo(
            model, TOKENIZER, replace(task, reward=reward), s, seed=3, checkpoints=checkpoints
        )

    never, history = run()
    for kill_at in (
        6,
        3,
    ):  # in step 6: back to step 4; then in step 7, the third from there: back to step 6
        with pytest.raises(Killed):
            run(tmp_path, kill_at)
    assert Checkpoints(tmp_path).steps() == [4, 6]
    model, resumed = run(tmp_path)
    assert (
        bits(model) == bits(never)
        and resumed.loss == history.loss
        and resumed.measures == history.measures
    )
    assert (max(history.measures["kl"]) > 0) == (beta > 0)


def test_the_reference_is_what_the_model_was_and_holds_it_back():
    task, kl = count_of("e", out_of=6), {}
    for beta in (0.01, 5.0):
        history = train_grpo(fresh(), TOKENIZER, task, replace(LEARN, steps=12, beta=beta), seed=1)
        kl[beta] = history.measures["kl"]
    assert kl[0.01][0] == kl[5.0][0] == 0 and kl[5.0][-1] < kl[0.01][-1] / 4
