"""GRPO with a tool: the loss and its gradient are those of the model's own tokens alone."""

from dataclasses import replace
from random import Random

import pytest
import torch

from course_lib.alignment.grpo import GRPOSettings, grpo_loss, train_grpo
from course_lib.alignment.ppo import PPOSettings, train_ppo
from course_lib.alignment.rl_loop import sample_rollouts
from course_lib.alignment.rl_measures import completion_metrics, policy_ratio_metrics
from course_lib.inference.rollout import completion_log_probs, sample_completions
from course_lib.inference.tool_use import Tool
from tests.alignment.tiny import TOKENIZER, count_of, fresh, one_quiet_thread, seeded  # noqa: F401

# of bytes, since a tiny model says each of them now and then
TOOL = Tool(ord("a"), ord("b"), lambda call: list(b"tool"))


def sampled(model, seed=0):
    for _ in range(50):  # a call in a few random bytes is rare
        got = sample_completions(
            model, [[1], [2, 3]], 40, n_samples=32, generator=seeded(seed), tool=TOOL
        )
        if got.tool_mask.any():
            return got.rows(torch.arange(64)[got.tool_mask.any(-1)])
        seed += 1
    raise AssertionError("no call in 50 batches")


def talkative(std=0.2):
    """A model that says a and b often."""
    model = fresh(std=std)
    with torch.no_grad():
        model.head.weight[ord("a")] = model.head.weight[ord("b")] = model.head.weight.sum(0)
    return model


def loss_by_hand(model, other, got, advantages, s):
    """DeepSeekMath, equation 3, one token after the other, those of the tool left out."""
    rows = []
    for row, (prompt, ids) in enumerate(zip(got.prompts, got.completions, strict=True)):
        gains = []
        for place, token in enumerate(ids):
            if got.tool_mask[row, place]:
                continue
            text = torch.tensor([prompt + ids[:place]])
            new, ref = (m(text)[0, -1].log_softmax(-1)[token] for m in (model, other))
            ratio = (new - got.log_probs[row, place]).exp()
            A = advantages[row]
            gain = torch.min(ratio * A, ratio.clamp(1 - s.clip_low, 1 + s.clip_high) * A)
            r = (ref - new).exp()
            gains.append(gain - s.beta * (r - r.log() - 1))
        rows.append(torch.stack(gains))
    if s.average == "sequence":
        return -torch.stack([row.mean() for row in rows]).mean()
    if s.average == "token":
        return -torch.cat(rows).mean()
    return -torch.stack([row.sum() for row in rows]).mean() / s.average


@pytest.mark.parametrize("average", ["sequence", "token", 20.0])
def test_the_gradient_is_that_of_the_loss_without_the_tools_tokens(average):
    model, other, s = talkative(), fresh(1, std=0.2), GRPOSettings(1, average=average, beta=0.3)
    got = sampled(talkative(0.21))  # a sampler that is another model: ratios are not 1
    got = got.rows(torch.arange(min(4, len(got.ids))))
    assert got.tool_mask.any()
    advantages = torch.tensor([1.0, -0.5, 0.7, -1.0])[: len(got.ids)]
    with torch.no_grad():
        theirs = completion_log_probs(other, got)
    loss, _ = grpo_loss(completion_log_probs(model, got), theirs, got, advantages, s)
    want = loss_by_hand(model, other, got, advantages, s)
    torch.testing.assert_close(loss, want, atol=1e-5, rtol=1e-4)
    parameters = list(model.parameters())
    pairs = zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(want, parameters), strict=True
    )
    for ours, by_hand in pairs:
        torch.testing.assert_close(ours, by_hand, atol=1e-5, rtol=1e-3)
    learnt = replace(got, tool_mask=torch.zeros_like(got.tool_mask))
    unmasked, _ = grpo_loss(completion_log_probs(model, learnt), theirs, learnt, advantages, s)
    assert (unmasked - loss).abs() > 1e-3  # the mask matters here


def test_measures_count_the_models_own_tokens():
    got = sampled(talkative())
    own = [len(ids) - int(got.tool_mask[row].sum()) for row, ids in enumerate(got.completions)]
    found = completion_metrics(got)
    assert found["length"] == pytest.approx(sum(own) / len(own)) and found["longest"] == max(own)
    assert found["entropy"] == pytest.approx(-got.log_probs.sum().item() / sum(own))
    assert found["prompt"] == pytest.approx(sum(map(len, got.prompts)) / len(own))
    shifted = got.log_probs + 0.1 * got.loss_mask
    about = policy_ratio_metrics(shifted, got, torch.ones(len(own)), 0.2, 0.2)
    assert about["loss tokens"] == pytest.approx(sum(own) / len(own))
    assert about["ratio"] == pytest.approx(1.1051709, abs=1e-5)


def test_the_loop_hands_the_tool_to_the_sampler():
    task = replace(count_of("t", out_of=8), tool=TOOL)
    s = GRPOSettings(2, n_questions=4, group_size=8, max_new_tokens=30)
    batch = sample_rollouts(talkative(), TOKENIZER, task, s, Random(0), seeded())
    assert batch.completions.tool_mask.any()
    assert any("btool" in text for text in batch.answers)
    history = train_grpo(talkative(), TOKENIZER, task, s)
    assert history.measures["sampling gap"][0] < 1e-5


def test_ppo_refuses_a_tool():
    task = replace(count_of("t", out_of=8), tool=TOOL)
    with pytest.raises(ValueError, match="PPO has no mask"):
        train_ppo(fresh(), TOKENIZER, task, PPOSettings(1))
