"""The repairs of V3.2: against enumeration, by hand, and by another library in tests/parity."""

import math
from dataclasses import replace

import pytest
import torch

from course_lib.alignment.grpo import GRPOSettings, grpo_loss, train_grpo
from course_lib.alignment.off_policy import reread_by_trainer, sequence_mask
from course_lib.alignment.policy_loss import estimate_kl, weight_by_policy_ratio
from course_lib.inference.rollout import completion_log_probs, sample_completions
from tests.alignment.tiny import TOKENIZER, completions, count_of, fresh, seeded, unchecked_settings

NEW = torch.tensor([[0.3, -0.7, 1.1, 0.2, -1.5]]).double()
REFERENCE = torch.tensor([[-0.4, 0.6, 0.1, 1.3, -0.2]]).double().softmax(-1)


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_weighted_estimate_is_right_in_value_and_gradient_on_and_off_policy(shift):
    """Every token of a vocabulary of five, with its probability under the sampler; the truths are
    formulas: KL, its gradient p (log p/q - KL), and p - q for the KL the other way round."""
    old = (NEW + shift * torch.tensor([1.0, -0.5, 0.3, -1.0, 0.8]).double()).softmax(-1)
    logits = NEW.clone().requires_grad_()
    log_p = logits.log_softmax(-1)
    k3 = estimate_kl(log_p, REFERENCE.log(), "k3")
    weighted = (old * weight_by_policy_ratio(k3, log_p, old.log())).sum()
    (slope,) = torch.autograd.grad(weighted, logits, retain_graph=True)
    p = log_p.detach().exp()
    kl = (p * (p / REFERENCE).log()).sum()
    torch.testing.assert_close(weighted.detach(), kl)
    torch.testing.assert_close(slope, p * ((p / REFERENCE).log() - kl))
    # plain k3, and a ratio that lets no gradient through, are right in neither way off policy
    (plain,) = torch.autograd.grad((old * k3).sum(), logits, retain_graph=True)
    fixed = weight_by_policy_ratio(k3, log_p.detach(), old.log())
    (detached,) = torch.autograd.grad((old * fixed).sum(), logits)
    assert (detached - slope).abs().max() > 0.03 < (plain - slope).abs().max()
    torch.testing.assert_close(detached, p - REFERENCE)  # that of KL(reference || policy)
    if shift:
        assert ((old * k3).sum() - kl).abs() > 0.01
    else:
        torch.testing.assert_close(plain, p - REFERENCE)


def mask_by_loops(new, old, advantages, lengths, threshold):
    keep = []
    for n, A, row, before in zip(lengths, advantages, new, old, strict=True):
        far = sum(before[t] - row[t] for t in range(n)) / n if n else 0.0
        keep.append(not (A < 0 and far > threshold))
    return keep


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 3.0])
def test_the_mask_by_loops(threshold):
    rng = torch.Generator().manual_seed(1)
    old, new = (torch.randn(40, 6, generator=rng) - 1 for _ in range(2))
    advantages = torch.randn(40, generator=rng).round()
    lengths = torch.randint(0, 7, (40,), generator=rng)
    real = torch.arange(6) < lengths[:, None]
    found = sequence_mask(new, old, advantages, real, threshold)
    want = mask_by_loops(
        new.tolist(), old.tolist(), advantages.tolist(), lengths.tolist(), threshold
    )
    assert found[:, 0].tolist() == want
    assert threshold == 3.0 or 0 < sum(want) < 40


def test_the_mask_silences_the_gain_and_not_the_divergence():
    """Two answers of one token: bad and far off, good and as far off; by hand."""
    old = torch.tensor([[0.8], [0.8]]).double().log()
    new = torch.tensor([[0.2], [0.2]]).double().log().requires_grad_()
    reference = torch.tensor([[0.4], [0.2]]).double().log()
    part, advantages = completions([1, 1], old, torch.float64), torch.tensor([-1.0, 1.0]).double()
    s = GRPOSettings(1, group_size=2, average=1.0, beta=0.5, clip_low=1.0)
    k3 = 2 - math.log(2) - 1
    for threshold, gain in ((None, -0.25 + 0.25), (1.0, 0.25), (1.5, 0.0)):
        loss, kl = grpo_loss(
            new, reference, part, advantages, replace(s, sequence_threshold=threshold)
        )
        assert loss.item() == pytest.approx(-(gain - 0.5 * k3) / 2)
        assert kl.item() == pytest.approx(k3 / 2)
        (slope,) = torch.autograd.grad(loss, new)
        # of the bad answer: its gain's slope, ratio times advantage, and k3's, 1 - reference/policy
        own = 0.0 if threshold == 1.0 else -0.25
        assert slope[0].item() == pytest.approx(-(own - 0.5 * (1 - 2)) / 2)
        assert slope[1].item() == pytest.approx(-0.25 / 2)


def test_a_trainer_that_rereads_sees_no_distance():
    model, sampler = fresh(0, std=0.2), fresh(1, std=0.2)
    made = sample_completions(sampler, [[3, 1], [2]], 6, n_samples=4, generator=seeded())
    own = reread_by_trainer(model, made)
    assert not own.log_probs.requires_grad
    assert torch.equal(own.log_probs, completion_log_probs(model, made).detach())
    assert (own.log_probs - made.log_probs).abs().max() > 0.1
    assert torch.equal(own.ids, made.ids)


def test_the_loop_masks_and_rereads():
    task = replace(count_of("a", 1), reward=lambda asked, texts: [len(set(t)) for t in texts])
    s = GRPOSettings(2, n_questions=2, group_size=4, max_new_tokens=6, n_epochs=4, lr=0.05)
    for changed in ({"sequence_threshold": 1e-4}, {"sequence_threshold": 1e9}):
        history = train_grpo(fresh(), TOKENIZER, task, replace(s, **changed))
        masked = history.measures["masked"]
        assert (max(masked) > 0) == (changed["sequence_threshold"] < 1)
        assert max(masked) <= 1
    plain = train_grpo(fresh(), TOKENIZER, task, s)
    assert "masked" not in plain.measures
    reread = train_grpo(fresh(), TOKENIZER, task, replace(s, old_log_probs="trainer"))
    assert reread.measures["reward"] == pytest.approx(plain.measures["reward"])
    cut = replace(s, top_p=0.5)
    kept, bare = (
        train_grpo(fresh(), TOKENIZER, task, replace(cut, keep_mask=kept)) for kept in (True, False)
    )
    assert max(kept.measures["sampling gap"]) < 1e-4
    assert kept.measures["reward"][0] == bare.measures["reward"][0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sequence_threshold": -0.1}, "sequence_threshold -0.1 must be None or"),
        ({"sequence_threshold": math.nan}, "sequence_threshold nan must be"),
        ({"sequence_threshold": True}, "sequence_threshold True must be"),
        ({"old_log_probs": "none"}, "old_log_probs 'none' must be sampler or trainer"),
        ({"top_p": 0.0}, "top_p 0.0 is outside"),
        ({"keep_mask": 1}, "keep_mask 1 must be True or False"),
        ({"keep_routing": "yes"}, "keep_routing 'yes' must be True or False"),
    ],
)
def test_impossible_settings_name_their_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        unchecked_settings(GRPOSettings, steps=1, **wrong)
