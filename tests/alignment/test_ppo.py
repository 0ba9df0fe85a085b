"""PPO: its mathematics by hand and by loops from the papers, the critic, a whole step text by text,
and learning."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from course_lib.alignment.ppo import (
    Critic,
    PPOSettings,
    check_token_tables,
    clipped_value_loss,
    explained_variance,
    generalized_advantages,
    ppo_step,
    rewards_per_token,
    train_ppo,
    whiten_advantages,
)
from course_lib.inference.rollout import sample_completions
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.training.resume import Checkpoints
from tests.alignment.tiny import (
    TOKENIZER,
    bits,
    count_of,
    fresh,
    one_quiet_thread,  # noqa: F401
    seeded,
    unchecked_settings,
)

LENGTHS = [4, 2, 0, 3, 1]
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]


def table(seed, padding=math.nan):
    """Random numbers for `MASK`; what stands where padding is must not matter."""
    return torch.where(MASK, torch.randn(5, 4, generator=seeded(seed)).double(), padding)


def tokens():
    return [(row, t) for row, length in enumerate(LENGTHS) for t in range(length)]


# -------------------------------------------------------------------------------- rewards of tokens


def test_rewards_of_tokens_by_hand():
    """A text of two tokens and one of one, rewards 2 and -1, beta 0.5; log-ratios 0.4, -0.2 and
    1."""
    policy, reference = (
        torch.tensor([[-1.0, -2.0], [-1.0, 0.0]]),
        torch.tensor([[-1.4, -1.8], [-2.0, 0.0]]),
    )
    mask = torch.tensor([[True, True], [True, False]])
    got = rewards_per_token(torch.tensor([2.0, -1.0]), policy, reference, mask, beta=0.5)
    torch.testing.assert_close(got, torch.tensor([[-0.2, 2.1], [-1.5, 0.0]]))


def test_a_text_s_reward_comes_at_its_last_token_and_each_token_pays_its_way():
    policy, reference, rewards = table(0), table(1), torch.randn(5, generator=seeded(2)).double()
    got = rewards_per_token(rewards, policy, reference, MASK, beta=0.1)
    for row, t in tokens():
        paid = -0.1 * (policy[row, t] - reference[row, t]).item()
        assert got[row, t].item() == pytest.approx(
            paid + (rewards[row].item() if t == LENGTHS[row] - 1 else 0.0)
        )
    assert (got[~MASK] == 0).all()


# --------------------------------------------------------------------------------------- advantages


def test_advantages_by_hand():
    """Surprises with discount 0.5: 1 + 2/2 - 4 = -2, 0 + 6/2 - 2 = 1, 8 - 6 = 2; each 0.5 * 0.5 of
    the next added."""
    rewards, values = torch.tensor([[1.0, 0.0, 8.0, 9.0]]), torch.tensor([[4.0, 2.0, 6.0, 9.0]])
    got = generalized_advantages(
        rewards, values, torch.tensor([[True, True, True, False]]), discount=0.5, lam=0.5
    )
    assert got.tolist() == [[-2 + 1.5 / 4, 1.5, 2.0, 0.0]]


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.95, 1.0])
@pytest.mark.parametrize("discount", [1.0, 0.8, 0.0])
def test_advantages_are_the_double_sum_of_the_paper(discount, lam):
    """Schulman et al. 2015 (arXiv 1506.02438), equations 10 and 16, for a text that is over behind
    its last token."""
    rewards, values = table(0), table(1)
    got = generalized_advantages(rewards, values, MASK, discount, lam)
    for row, t in tokens():
        r, v = rewards[row].tolist(), values[row].tolist()[: LENGTHS[row]] + [0.0]
        surprises = [r[u] + discount * v[u + 1] - v[u] for u in range(LENGTHS[row])]
        want = sum((discount * lam) ** (u - t) * surprises[u] for u in range(t, LENGTHS[row]))
        assert got[row, t].item() == pytest.approx(want, abs=1e-12)
    assert (got[~MASK] == 0).all()


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_the_two_ends_of_lambda(discount):
    """Equations 17 and 18: one step of temporal difference, and all that is still earned less the
    value."""
    rewards, values = table(0), table(1)
    step, whole = (
        generalized_advantages(rewards, values, MASK, discount, lam) for lam in (0.0, 1.0)
    )
    for row, t in tokens():
        r, v = rewards[row].tolist()[: LENGTHS[row]], values[row].tolist()[: LENGTHS[row]] + [0.0]
        assert step[row, t].item() == pytest.approx(r[t] + discount * v[t + 1] - v[t])
        assert whole[row, t].item() == pytest.approx(
            sum(discount**i * x for i, x in enumerate(r[t:])) - v[t]
        )


def test_a_critic_that_knows_all_leaves_nothing_to_learn():
    rewards = table(0)
    returns = torch.where(MASK, rewards, 0.0).flip(-1).cumsum(-1).flip(-1)
    for lam in (0.0, 0.5, 1.0):
        assert generalized_advantages(rewards, returns, MASK, lam=lam).abs().max() < 1e-12


def test_whitened_advantages():
    advantages = 5 * table(0) + 3
    got, numbers = whiten_advantages(advantages, MASK), [advantages[at].item() for at in tokens()]
    mean = sum(numbers) / len(numbers)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in numbers) / len(numbers))
    for at, a in zip(tokens(), numbers, strict=True):
        assert got[at].item() == pytest.approx((a - mean) / deviation, rel=1e-6)
    assert (got[~MASK] == 0).all()
    torch.testing.assert_close(
        whiten_advantages(1000 * advantages - 7, MASK), got, rtol=1e-6, atol=1e-6
    )


def test_equal_advantages_become_0_although_their_mean_is_rounded():
    """The mean of many 0.1 in float32 is not 0.1: without care, the rest would be blown up to a
    deviation of 1."""
    assert (
        whiten_advantages(torch.full((77, 99), 0.1), torch.ones(77, 99, dtype=torch.bool))
        .abs()
        .max()
        < 0.01
    )


def test_a_batch_without_a_single_token_earns_teaches_and_costs_nothing():
    nothing, none = torch.full((2, 3), math.nan), torch.zeros(2, 3, dtype=torch.bool)
    for got in (
        rewards_per_token(torch.ones(2), nothing, nothing, none, 0.1),
        generalized_advantages(nothing, nothing, none),
        whiten_advantages(nothing, none),
    ):
        assert got.tolist() == [[0.0] * 3] * 2
    assert clipped_value_loss(nothing, nothing, nothing, none).item() == 0
    assert explained_variance(nothing, nothing, none) == 0


# -------------------------------------------------------------------------------- the critic's loss


def test_the_loss_of_the_critic_by_hand():
    """Return 1, value 0 before: moved to 0.1 it has a slope; to 0.5, beyond the clip, none; to
    -0.5, pulled back.

    Errors 0.9, max(0.5, 0.8) and max(1.5, 1.2), squared, halved, over three tokens.
    """
    values = torch.tensor([[0.1, 0.5, -0.5]], requires_grad=True)
    loss = clipped_value_loss(
        values, torch.zeros(1, 3), torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool), clip=0.2
    )
    assert loss.item() == pytest.approx((0.9**2 + 0.8**2 + 1.5**2) / 6)
    loss.backward()
    torch.testing.assert_close(values.grad, torch.tensor([[-0.9, 0.0, -1.5]]) / 3)


@pytest.mark.parametrize("clip", [0.2, 1.0])
def test_the_loss_of_the_critic_by_a_loop_and_by_finite_differences(clip):
    values, old, returns = table(0), table(1), table(2)
    total = 0.0
    for at in tokens():
        v, o, r = values[at].item(), old[at].item(), returns[at].item()
        total += max((v - r) ** 2, (max(o - clip, min(o + clip, v)) - r) ** 2) / 2
    assert clipped_value_loss(values, old, returns, MASK, clip).item() == pytest.approx(
        total / sum(LENGTHS)
    )
    values, old, returns = (table(seed, padding=0.0) for seed in range(3))
    values.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda values: clipped_value_loss(values, old, returns, MASK, clip), values
    )


def test_without_a_clip_the_loss_of_the_critic_is_half_the_squared_error():
    values, old, returns = table(0), table(1), table(2)
    want = torch.nn.functional.mse_loss(values[MASK], returns[MASK]) / 2
    torch.testing.assert_close(clipped_value_loss(values, old, returns, MASK, clip=math.inf), want)


def test_explained_variance():
    returns, constant = table(0), torch.full((5, 4), 7.0).double()
    # a shift varies not at all
    assert explained_variance(returns + 3, returns, MASK) == pytest.approx(1)
    assert explained_variance(constant, returns, MASK) == pytest.approx(0, abs=1e-6)
    # errors twice as large as returns
    assert explained_variance(-returns, returns, MASK) == pytest.approx(-3)
    assert explained_variance(returns, constant, MASK) == 0


# --------------------------------------------------------------------------------------- the critic


PROMPTS = [[3, 1, 4, 1, 5], [2], [7, 1]]
DEEPSEEK = {"kv_lora_rank": 5, "qk_rope_head_dim": 4, "n_dense_layers": 1}
KINDS = {
    "GPT2": lambda: GPT2(GPT2Settings(11, 14, d_model=12, n_layers=2, n_heads=3)),
    "Llama": lambda: Llama(LlamaSettings(11, 14, d_model=12, n_layers=2, n_heads=3)),
    "tied": lambda: Llama(LlamaSettings(11, 14, d_model=12, n_layers=2, n_heads=3, tied=True)),
    "V3": lambda: DeepSeekV3(
        DeepSeekSettings(11, 14, d_model=12, n_layers=2, n_heads=3, mtp=True, **DEEPSEEK)
    ),
}


def opinionated(module, seed=0, std=0.3):
    generator = seeded(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=std, generator=generator)
    return module


def expects(critic, text):
    """What a critic says behind a text that stands alone."""
    return critic.head(critic.trunk.hidden(torch.tensor([text]))[0, -1])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_read_in_front_of_each_token_and_see_nothing_behind(kind):
    model = opinionated(KINDS[kind]())
    got = sample_completions(model, PROMPTS, 6, n_samples=3, stop_token=2, generator=seeded())
    assert len(set(got.lengths.tolist())) > 1
    critic = Critic(model)
    assert (critic(got) == 0).all()
    values = opinionated(critic, seed=1)(got)
    for row, (prompt, completion) in enumerate(zip(got.prompts, got.completions, strict=True)):
        for t in range(len(completion)):
            torch.testing.assert_close(
                values[row, t], expects(critic, prompt + completion[:t]), atol=1e-5, rtol=1e-5
            )
    assert (values[~got.completion_mask] == 0).all() and values[got.completion_mask].std() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_critic_is_a_copy_that_learns_and_has_no_more_than_it_needs(kind):
    model = KINDS[kind]().requires_grad_(False)  # a reference model, say
    before, critic = bits(model), Critic(model)
    got = sample_completions(model, PROMPTS, 3, generator=seeded())
    torch.nn.init.normal_(critic.head.weight)
    critic(got).sum().backward()
    experts = [name for name, p in critic.named_parameters() if p.grad is None]
    assert all("router" in name for name in experts), experts
    torch.optim.SGD(critic.parameters(), lr=1.0).step()
    assert bits(model) == before and not any(p.requires_grad for p in model.parameters())
    left_out = [name for name, _ in model.named_parameters() if name.startswith(("head.", "mtp."))]
    size = sum(p.numel() for name, p in model.named_parameters() if name not in left_out)
    assert sum(p.numel() for p in critic.parameters()) == size + 12 + 1
    assert bool(left_out) == (kind in ("Llama", "V3"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_critic_expects_nothing_at_first(kind):
    model = KINDS[kind]()
    got = sample_completions(model, PROMPTS, 3, generator=seeded())
    assert (Critic(model)(got) == 0).all()


def test_a_critic_has_its_model_s_type_of_numbers():
    assert Critic(KINDS["Llama"]().double()).head.weight.dtype == torch.float64


# ----------------------------------------------------------------------------------------- the step


STEP = PPOSettings(
    1,
    n_questions=3,
    group_size=4,
    n_minibatches=1,
    n_epochs=3,
    beta=0.2,
    clip_gradient=1e9,
    discount=0.9,
    lam=0.7,
    clip_low=0.05,
    clip_high=0.1,
    clip_value=0.1,
    temperature=1.3,
)
REWARDS = torch.rand(12, generator=seeded(9))


@pytest.fixture(scope="module")
def sampled():
    model = fresh(std=0.3)
    wish = {"n_samples": 4, "temperature": STEP.temperature}
    got = sample_completions(model, PROMPTS, 6, generator=seeded(3), **wish)
    stop = got.completions[0][2]  # so that the lengths differ
    got = sample_completions(model, PROMPTS, 6, generator=seeded(3), stop_token=stop, **wish)
    assert len(set(got.lengths.tolist())) > 1
    return model, got


def alone(model, prompt, completion, temperature):
    """The log-chances of a completion by one full pass over one unpadded text."""
    logits = model(torch.tensor([prompt + completion]))[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1)[torch.arange(len(completion)), completion]


def values_alone(critic, prompt, completion):
    return critic.head(
        critic.trunk.hidden(torch.tensor([prompt + completion]))[0, len(prompt) - 1 : -1]
    )[:, 0]


def by_the_papers(model, critic, reference, rates, texts, rewards, s):
    """PPO text by text and token by token, without tables: some epochs of plain gradient descent
    for both.

    DeepSeekMath (arXiv 2402.03300), equations 1 and 2, with the mean over all tokens of the batch
    or as printed.
    """
    old = [alone(model, *text, s.temperature).tolist() for text in texts]
    theirs = [alone(reference, *text, s.temperature).tolist() for text in texts]
    before = [values_alone(critic, *text).tolist() for text in texts]
    advantages, returns = [], []
    for row, reward in enumerate(rewards.tolist()):
        n = len(old[row])
        earned = [
            -s.beta * (old[row][t] - theirs[row][t]) + (reward if t == n - 1 else 0)
            for t in range(n)
        ]
        v = before[row] + [0.0]
        surprises = [earned[t] + s.discount * v[t + 1] - v[t] for t in range(n)]
        A = [
            sum((s.discount * s.lam) ** (u - t) * surprises[u] for u in range(t, n))
            for t in range(n)
        ]
        advantages.append(A)
        returns.append([a + b for a, b in zip(A, v, strict=False)])
    everything = [a for A in advantages for a in A]
    mean = sum(everything) / len(everything)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in everything) / len(everything))
    clipped = 0
    for _ in range(s.n_epochs):
        gain, error = 0.0, 0.0
        for row, text in enumerate(texts):
            new, values, n = (
                alone(model, *text, s.temperature),
                values_alone(critic, *text),
                len(old[row]),
            )
            for t in range(n):
                a, ratio = (advantages[row][t] - mean) / deviation, (new[t] - old[row][t]).exp()
                cut = min(max(ratio, 1 - s.clip_low), 1 + s.clip_high)
                weight = 1 / n / len(texts) if s.average == "sequence" else 1 / len(everything)
                gain = gain + weight * min(ratio * a, cut * a)
                v, o = values[t], before[row][t]
                near = min(max(v, o - s.clip_value), o + s.clip_value)
                error = error + max(
                    (v - returns[row][t]) ** 2, (near - returns[row][t]) ** 2
                ) / 2 / len(everything)
                clipped += (cut != ratio).item() + (near != v).item()
        for module, objective, rate in ((model, -gain, rates[0]), (critic, error, rates[1])):
            gradients = torch.autograd.grad(objective, list(module.parameters()), allow_unused=True)
            with torch.no_grad():
                for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                    parameter -= rate * gradient
    return clipped


@pytest.mark.parametrize("average", ["token", "sequence"])
def test_a_whole_step_is_that_of_the_papers_text_by_text(sampled, average):
    start, got = sampled
    s, rates = replace(STEP, average=average), (0.5, 0.3)
    reference, critic = fresh(seed=1, std=0.3), opinionated(Critic(start), seed=2, std=0.2)
    ours, theirs = ([copy.deepcopy(start), copy.deepcopy(critic)] for _ in range(2))
    optimizers = [
        torch.optim.SGD(module.parameters(), lr=rate)
        for module, rate in zip(ours, rates, strict=True)
    ]
    ppo_step(*ours, reference, optimizers, got, REWARDS, s)
    texts = list(zip(got.prompts, got.completions, strict=True))
    clipped = by_the_papers(*theirs, reference, rates, texts, REWARDS, s)
    assert clipped > 10
    for mine, other, before in zip(ours, theirs, (start, critic), strict=True):
        moved = max(
            (p - q).abs().max().item()
            for p, q in zip(mine.parameters(), before.parameters(), strict=True)
        )
        assert moved > 0.01
        for p, q in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q, atol=2e-4 * moved, rtol=1e-4)


def step(model, got, s, reference=None, critic=None, rewards=REWARDS, generator=None):
    critic = critic or Critic(model)
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (model, critic)]
    return ppo_step(model, critic, reference, optimizers, got, rewards, s, generator)


@pytest.mark.parametrize("kind", KINDS)
def test_a_critic_of_fewer_layers_reads_with_the_first_ones(kind):
    model = opinionated(KINDS[kind]())
    got = sample_completions(model, PROMPTS, 6, n_samples=2, stop_token=2, generator=seeded())
    critic = opinionated(Critic(model, n_layers=1), std=0.2)
    assert len(critic.trunk.blocks) == 1 < len(model.blocks)
    values = critic(got)
    for row, (prompt, text) in enumerate(zip(got.prompts, got.completions, strict=True)):
        hidden = critic.trunk.hidden(torch.tensor([prompt + text]))[0, len(prompt) - 1 : -1]
        torch.testing.assert_close(
            values[row, : len(text)], critic.head(hidden)[:, 0], atol=1e-5, rtol=1e-5
        )
    values.sum().backward()
    assert all(parameter.grad is not None for parameter in critic.parameters())
    for wrong in (0, len(model.blocks) + 1):
        with pytest.raises(ValueError, match=f"n_layers {wrong} is not from 1 to"):
            Critic(model, n_layers=wrong)


def test_what_a_step_tells(sampled):
    model, got, reference = copy.deepcopy(sampled[0]), sampled[1], fresh(seed=1, std=0.3)
    s = replace(STEP, n_epochs=1, lam=1.0, discount=1.0)
    texts, earned, distances = list(zip(got.prompts, got.completions, strict=True)), [], []
    for reward, text in zip(REWARDS.tolist(), texts, strict=True):
        log_ratio = (alone(reference, *text, 1.3) - alone(model, *text, 1.3)).tolist()
        distances += [math.exp(x) - x - 1 for x in log_ratio]
        earned += [reward + s.beta * sum(log_ratio[t:]) for t in range(len(log_ratio))]
    about = step(model, got, s, reference)
    assert about["loss"] == pytest.approx(0, abs=1e-5)  # ratios of 1 and advantages of mean 0
    assert about["kl"] == pytest.approx(sum(distances) / len(distances), rel=1e-3)
    # A new critic expects 0: beyond the clip nothing has moved yet, so the whole squared error
    # stands.
    assert about["value loss"] == pytest.approx(
        sum(x * x for x in earned) / len(earned) / 2, rel=1e-3
    )
    assert about["explained"] == pytest.approx(0, abs=1e-6)


def test_without_beta_the_reference_is_not_read_and_without_a_reference_beta_is_nothing(sampled):
    got, results = sampled[1], []
    for s, reference in (
        (replace(STEP, beta=0.0), fresh(1, std=0.3)),
        (STEP, None),
        (replace(STEP, beta=0.0), None),
    ):
        model = copy.deepcopy(sampled[0])
        about = step(model, got, s, reference, generator=seeded())
        results.append((about, bits(model)))
        assert about["kl"] == 0
    assert results[0] == results[1] == results[2]


def test_rows_are_shuffled_into_minibatches_and_both_gradients_shortened(sampled):
    starts = {}
    for seed in (0, 0, 1):
        model = copy.deepcopy(sampled[0])
        step(model, sampled[1], replace(STEP, n_minibatches=5), generator=seeded(seed))
        starts.setdefault(seed, []).append(bits(model))
    assert starts[0][0] == starts[0][1] != starts[1][0]
    model, critic = copy.deepcopy(sampled[0]), opinionated(Critic(sampled[0]))
    before = copy.deepcopy((model, critic))
    step(model, sampled[1], replace(STEP, n_epochs=1, clip_gradient=0.01), critic=critic)
    for module, old in zip((model, critic), before, strict=True):
        moves = [
            (p - q).flatten() for p, q in zip(module.parameters(), old.parameters(), strict=True)
        ]
        assert torch.cat(moves).norm().item() == pytest.approx(0.1 * 0.01, rel=1e-2)


# ------------------------------------------------------------------------------------------- errors


def test_bad_tables_are_refused_by_their_numbers():
    one, other, rewards = table(0), table(1), torch.ones(5)
    rewards[1] = math.nan
    with pytest.raises(ValueError, match="reward 1 of 5 is nan"):
        rewards_per_token(rewards, one, other, MASK, 0.1)
    with pytest.raises(
        ValueError, match=r"rewards \(2,\) are not one for each of the 5 completions"
    ):
        rewards_per_token(torch.ones(2), one, other, MASK, 0.1)
    with pytest.raises(
        ValueError, match=r"log_probs \(5, 3\) and mask \(5, 4\) are not of the same shape"
    ):
        check_token_tables(MASK, log_probs=one[:, :3])
    with pytest.raises(ValueError, match="row 1 of 5 has tokens behind padding"):
        generalized_advantages(one, other, MASK.flip(-1))
    with pytest.raises(ValueError, match="discount 1.1 and lam 1.0 must be from 0 to 1"):
        generalized_advantages(one, other, MASK, discount=1.1)
    other[3, 2] = -math.inf
    with pytest.raises(ValueError, match="values: token 2 of row 3 is -inf"):
        generalized_advantages(one, other, MASK)
    with pytest.raises(ValueError, match="advantages: token 2 of row 3 is -inf"):
        whiten_advantages(other, MASK)
    with pytest.raises(ValueError, match="old_values: token 2 of row 3 is -inf"):
        clipped_value_loss(one, other, one, MASK)
    with pytest.raises(ValueError, match="clip 0"):
        clipped_value_loss(one, one, one, MASK, clip=0.0)


def test_a_step_with_rewards_that_do_not_fit_leaves_all_as_it_is(sampled):
    model, before = copy.deepcopy(sampled[0]), bits(sampled[0])
    with pytest.raises(ValueError, match=r"rewards \(11,\) are not one for each of the 12"):
        step(model, sampled[1], STEP, rewards=REWARDS[1:])
    with pytest.raises(ValueError, match="reward 0 of 12 is inf"):
        step(model, sampled[1], STEP, rewards=REWARDS / 0)
    assert bits(model) == before


def test_a_task_whose_reward_is_no_number_is_refused():
    task = replace(count_of("e", 6), reward=lambda questions, answers: [math.nan] * len(answers))
    with pytest.raises(ValueError, match="the reward is nan"):
        train_ppo(fresh(), TOKENIZER, task, LEARN)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lam": -0.1}, "discount 1.0 and lam -0.1"),
        ({"discount": math.nan}, "discount nan"),
        ({"average": "mean"}, "average 'mean' is neither"),
        ({"critic_lr": 0.0}, "critic_lr 0.0"),
        ({"clip_value": 0.0}, "clip_value 0.0"),
        ({"clip_low": 1.5}, "clip_low 1.5"),
        ({"beta": -1.0}, "beta -1.0"),
        *(
            ({name: value}, f"{name} {value!r}")
            for value in (True, "1", math.nan, math.inf)
            for name in ("critic_lr", "clip_value", "discount", "lam", "average")
        ),
    ],
)
def test_impossible_settings_name_their_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        unchecked_settings(PPOSettings, steps=1, **wrong)


# -------------------------------------------------------------------------------- learning for real


LEARN = PPOSettings(
    30, n_questions=4, group_size=8, max_new_tokens=6, lr=0.03, critic_lr=0.03, n_minibatches=1
)


@pytest.mark.parametrize("lam", [0.95, 1.0])
def test_a_tiny_model_learns_to_say_a_letter_and_its_critic_to_expect_it(lam):
    """One byte of 262 says the letter, so that chance is below 0.01."""
    model, task, s = fresh(), count_of("e", out_of=6), replace(LEARN, lam=lam)
    critic = Critic(model)
    history = train_ppo(model, TOKENIZER, task, s, critic=critic, seed=1)
    reward, explained = history.measures["reward"], history.measures["explained"]
    assert history.ended == "finished" and len(reward) == len(explained) == LEARN.steps
    assert sum(reward[:3]) / 3 < 0.2 and sum(reward[-3:]) / 3 > 0.8
    assert explained[0] == pytest.approx(0, abs=1e-3)  # at first it says 0 everywhere
    # In front of the first of six tokens that each earn a sixth, the critic that was handed over
    # expects most of it.
    got = sample_completions(model, [[261]], 6, n_samples=32, generator=seeded())
    assert critic(got)[:, 0].mean() > 0.5


def test_each_answer_may_have_a_question_of_its_own():
    history = train_ppo(
        fresh(), TOKENIZER, count_of("e", 6), replace(LEARN, n_questions=32, group_size=1), seed=1
    )
    assert sum(history.measures["reward"][-3:]) / 3 > 0.8


def test_the_reference_is_what_the_model_was_and_holds_it_back():
    kl = {}
    for beta in (0.0, 0.01, 5.0):
        s = replace(LEARN, steps=12, beta=beta)
        kl[beta] = train_ppo(fresh(), TOKENIZER, count_of("e", out_of=6), s, seed=1).measures["kl"]
    assert not any(kl[0.0]) and kl[0.01][0] == pytest.approx(0, abs=1e-6) and kl[0.01][-1] > 0.01
    assert kl[5.0][-1] < kl[0.01][-1] / 4


class Killed(Exception):
    pass


def test_killed_and_resumed_is_never_killed(tmp_path):
    s = replace(LEARN, steps=7, n_minibatches=2, n_epochs=2, lr=0.01)
    task = count_of("e", out_of=6)

    def run(folder=None, kill_at=None):
        model, calls = fresh(), []
        critic = Critic(model)

        def reward(questions, answers):
            calls.append(1)
            if len(calls) == kill_at:
                raise Killed
            return task.reward(questions, answers)

        checkpoints = Checkpoints(folder, every=2) if folder else None
        told = replace(task, reward=reward)
        return (
            model,
            critic,
            train_ppo(model, TOKENIZER, told, s, critic=critic, seed=3, checkpoints=checkpoints),
        )

    *never, history = run()
    with pytest.raises(Killed):
        run(tmp_path, kill_at=6)
    assert Checkpoints(tmp_path).steps() == [2, 4]
    *resumed, again = run(tmp_path)
    assert [bits(module) for module in resumed] == [bits(module) for module in never]
    assert again.loss == history.loss and again.measures == history.measures
