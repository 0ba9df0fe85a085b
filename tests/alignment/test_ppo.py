"""PPO: the tables by hand and by plain loops, and a critic that helps a tiny model to learn."""

import pytest
import torch

from course_lib.alignment.ppo import (
    Critic,
    PPOSettings,
    critic_loss,
    generalised_advantages,
    judge,
    policy_loss,
    ppo,
    token_rewards,
    value_loss,
    whiten,
)
from course_lib.inference.rollout import completion_log_probs
from tests.alignment.tiny import N_VOCAB, TOKENIZER, completions, count_of, fresh, seeded

LENGTHS = [4, 2, 3]


def tables(seed=0, n=2):
    mask = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
    return [torch.randn(3, 4, generator=seeded(seed + i), dtype=torch.float64) * mask for i in range(n)] + [mask]


def test_a_text_s_reward_comes_at_its_last_token_and_each_token_pays_its_way():
    policy, reference, mask = tables()
    rewards = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    ours = token_rewards(rewards, policy, reference, mask, beta=0.1)
    for row, length in enumerate(LENGTHS):
        for t in range(4):
            paid = -0.1 * (policy[row, t] - reference[row, t]).item() if t < length else 0.0
            assert ours[row, t].item() == pytest.approx(paid + (rewards[row].item() if t == length - 1 else 0.0))


@pytest.mark.parametrize("discount, lam", [(1.0, 1.0), (1.0, 0.0), (0.9, 0.7)])
def test_advantages_are_the_double_sum_of_the_paper(discount, lam):
    rewards, values, mask = tables()
    ours = generalised_advantages(rewards, values, mask, discount, lam)
    for row, length in enumerate(LENGTHS):
        r, v = rewards[row].tolist(), values[row].tolist()[:length] + [0.0]
        surprises = [r[t] + discount * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            truth = sum((discount * lam) ** (u - t) * surprises[u] for u in range(t, length))
            assert ours[row, t].item() == pytest.approx(truth)
        assert not ours[row, length:].any()


def test_with_lambda_1_an_advantage_is_what_was_earned_less_the_value():
    rewards, values, mask = tables()
    earned = rewards.flip(-1).cumsum(-1).flip(-1)
    torch.testing.assert_close(generalised_advantages(rewards, values, mask), torch.where(mask, earned - values, 0.0))


def test_whitened_advantages_have_mean_0_and_variance_1_and_equal_ones_become_0():
    advantages, _, mask = tables()
    white = whiten(advantages, mask)[mask]
    assert white.mean().item() == pytest.approx(0, abs=1e-9) and white.var(correction=0).item() == pytest.approx(1)
    assert not whiten(torch.full((3, 4), 2.5), mask).any()


def test_the_loss_of_the_critic_by_a_loop_and_by_finite_differences():
    values, old, mask = tables()
    returns = tables(seed=7)[0]
    total = 0.0
    for v, o, r in zip(values[mask].tolist(), old[mask].tolist(), returns[mask].tolist(), strict=True):
        total += max((v - r) ** 2, (o + min(max(v - o, -0.2), 0.2) - r) ** 2) / 2
    assert value_loss(values, old, returns, mask).item() == pytest.approx(total / sum(LENGTHS))
    torch.autograd.gradcheck(lambda v: value_loss(v, old, returns, mask), values.clone().requires_grad_())


def test_a_fresh_critic_expects_nothing_and_looks_at_no_padding():
    model = fresh(std=0.3)
    critic = Critic(model)
    batch = completions(LENGTHS, torch.zeros(3, 4))
    assert not critic(batch).any()
    torch.nn.init.normal_(critic.head.weight, generator=seeded())
    whole = critic(batch)
    for row, length in enumerate(LENGTHS):
        alone = critic(batch.rows(torch.tensor([row])))
        torch.testing.assert_close(whole[row, :length], alone[0, :length])
        assert not whole[row, length:].any()


def test_the_first_step_of_the_policy_follows_the_advantages():
    """At a ratio of 1 the slope of the clipped gain is the advantage times the slope of the log-chance."""
    model = fresh(std=0.3)
    batch = completions(LENGTHS, torch.zeros(3, 4))
    log_probs = completion_log_probs(model, batch)
    batch = completions(LENGTHS, log_probs.detach())
    settings = PPOSettings(1, beta=0.0)
    feedback = judge(Critic(model), None, batch, torch.tensor([1.0, 0.0, 0.5]), settings)
    ours = torch.autograd.grad(policy_loss(model, batch, feedback, settings), list(model.parameters()))
    plain = -(feedback.advantages * completion_log_probs(model, batch)).sum() / sum(LENGTHS)
    theirs = torch.autograd.grad(plain, list(model.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert critic_loss(Critic(model), batch, feedback, settings).item() == pytest.approx(
        (feedback.returns[batch.completion_mask] ** 2).mean().item() / 2
    )


def test_bad_tables_are_refused_by_their_numbers():
    policy, reference, mask = tables()
    with pytest.raises(ValueError, match="reward 1 of 3 is nan"):
        token_rewards(torch.tensor([1.0, float("nan"), 0.0]), policy, reference, mask, 0.1)
    with pytest.raises(ValueError, match=r"rewards \(2,\) are not one for each of the 3 completions"):
        token_rewards(torch.ones(2), policy, reference, mask, 0.1)
    with pytest.raises(ValueError, match="row 0 of 3 has tokens behind padding"):
        generalised_advantages(policy, reference, mask.flip(-1).roll(1, 0))
    with pytest.raises(ValueError, match="discount 1.1"):
        generalised_advantages(policy, reference, mask, discount=1.1)


def test_a_completion_without_tokens_earns_and_teaches_nothing():
    policy, reference, mask = tables()
    mask = mask.clone()
    mask[1] = False
    earned = token_rewards(torch.ones(3), policy, reference, mask, 0.1)
    assert not earned[1].any() and not generalised_advantages(earned, policy, mask)[1].any()


def test_a_tiny_model_learns_to_say_one_letter():
    model = fresh()
    assert model.settings.vocab_size == N_VOCAB
    settings = PPOSettings(40, n_questions=4, group_size=8, max_new_tokens=8, lr=1e-2, critic_lr=1e-2, beta=0.0)
    history = ppo(model, TOKENIZER, count_of("a", 8), settings)
    rewards = history.measures["reward"]
    assert rewards[0] < 0.1 and sum(rewards[-5:]) / 5 > 0.8
    assert len(history.measures["explained"]) == 40
