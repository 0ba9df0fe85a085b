"""The reward model: its loss by hand and by finite differences, padding, what it learns, and that
it can be kept."""

import math

import pytest
import torch
import torch.nn.functional as F

from course_lib.alignment import reward_model
from course_lib.alignment.ppo import Critic
from course_lib.alignment.preferences import PreferencePair
from course_lib.alignment.reward_model import (
    RewardModel,
    bradley_terry_loss,
    pad_with_last_positions,
    pair_accuracy,
    pair_batches,
    pair_texts,
    preference_accuracy,
    split_pairs,
    train_reward_model,
)
from course_lib.inference.rollout import Completions
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.training import checkpoint
from course_lib.training.resume import Checkpoints

LLAMA = LlamaSettings(11, 16, d_model=12, n_layers=2, n_heads=3, n_kv_heads=1)
KINDS = [
    (GPT2, GPT2Settings(11, 16, d_model=12, n_layers=2, n_heads=3)),
    (Llama, LLAMA),
    (
        DeepSeekV3,
        DeepSeekSettings(
            11,
            16,
            d_model=12,
            n_layers=2,
            n_heads=3,
            kv_lora_rank=5,
            qk_rope_head_dim=4,
            n_experts=4,
            n_chosen=2,
            mtp=True,
        ),
    ),
]
TEXTS = [[3, 1, 4, 1, 5, 9, 2, 6], [2], [7, 1, 8], [2, 8, 1, 8, 2]]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")


def opinionated(kind=Llama, settings=LLAMA, seed=0):
    """A reward model whose scores depend on everything."""
    torch.manual_seed(seed)
    model = RewardModel(kind(settings))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def likes_fives(n=60, seed=0):
    """Pairs in which the answer with more fives is chosen."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    while len(found) < n:
        prompt, *answers = (
            torch.randint(1, 11, (size,), generator=generator).tolist() for size in (3, 4, 5)
        )
        counts = [answer.count(5) for answer in answers]
        if counts[0] != counts[1]:
            found.append(
                PreferencePair(prompt, *sorted(answers, key=lambda answer: -answer.count(5)))
            )
    return found


# ----------------------------------------------------------------------------------------- the loss


def test_the_loss_by_hand():
    chosen, rejected = torch.tensor([0.0, 2.0, -1.0]), torch.tensor([0.0, 0.0, 1.0])
    want = (math.log(2) + math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 3
    assert bradley_terry_loss(chosen, rejected).item() == pytest.approx(want, rel=1e-6)
    odds = [math.log(3.0)], [0.0]  # odds of 3 to 1: the choice had a chance of 3/4
    assert bradley_terry_loss(*map(torch.tensor, odds)).item() == pytest.approx(
        -math.log(0.75), rel=1e-6
    )


def test_the_loss_is_a_classifiers():
    """Bradley-Terry is logistic regression on the lead; torch has its loss under another name."""
    chosen, rejected = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    want = F.binary_cross_entropy_with_logits(chosen - rejected, torch.ones(50))
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected), want)


def test_the_loss_has_the_slope_that_finite_differences_find():
    chosen, rejected = torch.randn(
        2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    inputs = chosen.requires_grad_(), rejected.requires_grad_()
    assert torch.autograd.gradcheck(bradley_terry_loss, inputs)
    slope = torch.autograd.grad(bradley_terry_loss(*inputs), inputs)
    torch.testing.assert_close(slope[0], -torch.sigmoid(rejected - chosen) / 6)
    torch.testing.assert_close(slope[1], -slope[0])


def test_the_loss_stays_finite_where_the_sigmoid_does_not():
    loss = bradley_terry_loss(torch.tensor([-500.0]), torch.tensor([500.0]))
    assert loss.item() == 1000.0


@pytest.mark.parametrize(
    ("chosen", "rejected", "message"),
    [
        ([1.0, math.nan], [0.0, 0.0], "pair 1 of 2 has the scores nan and 0.0"),
        ([1.0, 1.0], [0.0, -math.inf], "pair 1 of 2 has the scores 1.0 and -inf"),
        (
            [1.0, 1.0],
            [0.0],
            r"shapes \(2,\) and \(1,\) make no pairs|[Tt]ype-check",
        ),  # if annotations are checked
        ([], [], r"shapes \(0,\) and \(0,\) make no pairs"),
    ],
)
def test_scores_that_are_no_scores(chosen, rejected, message):
    with pytest.raises((ValueError, TypeError), match=message):
        bradley_terry_loss(torch.tensor(chosen), torch.tensor(rejected))


def test_accuracy_by_hand():
    assert pair_accuracy(torch.tensor([3.0, 1.0, 0.0]), torch.tensor([2.0, 1.0, 5.0])) == 0.5
    assert pair_accuracy(torch.tensor([3.0]), torch.tensor([2.0])) == 1.0


# ---------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_a_batch_scores_as_each_text_alone(kind, settings):
    """Padding on the right cannot matter; the score is the head's of the last real token."""
    model = opinionated(kind, settings)
    got = model.score(TEXTS)
    for text, score in zip(TEXTS, got, strict=True):
        hidden = model.trunk.hidden(torch.tensor([text]))[0, -1]
        torch.testing.assert_close(score, hidden @ model.head.weight[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(model.score([text])[0], score, atol=1e-5, rtol=1e-4)
    assert got.std() > 0.1
    ids, last = pad_with_last_positions(TEXTS)
    padded = torch.where(torch.arange(8) > last[:, None], 10, ids)
    assert not torch.equal(padded, ids)
    torch.testing.assert_close(model(padded, last), got, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_it_is_a_copy_with_a_head_of_zeros(kind, settings):
    torch.manual_seed(0)
    trunk = kind(settings).requires_grad_(False)
    model = RewardModel(trunk)
    assert model.score(TEXTS).tolist() == [0.0] * 4
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = trunk.token_embedding.weight.clone()
    with torch.no_grad():
        model.trunk.token_embedding.weight += 1
    assert torch.equal(trunk.token_embedding.weight, before)


@pytest.mark.parametrize("judge", [RewardModel, Critic])
@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_every_parameter_gets_a_gradient(kind, settings, judge):
    """Also where the trunk has a head of its own, or predicts further ahead; data parallel training
    refuses others."""
    torch.manual_seed(0)
    model, n_before = judge(kind(settings)), sum(p.numel() for p in kind(settings).parameters())
    torch.nn.init.normal_(model.head.weight)
    if judge is RewardModel:
        model.score(TEXTS).sum().backward()
    else:
        ids = torch.tensor([[3, 1, 4, 1, 5], [2, 8, 1, 8, 2]])
        mask = torch.ones(2, 3, dtype=torch.bool)
        padding = torch.zeros_like(ids, dtype=torch.bool)
        model(Completions(ids, padding, mask, mask.float(), mask[:, 0])).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert {name for name in model.state_dict() if ".head." in name or ".mtp." in name} == set()
    assert sum(p.numel() for p in model.parameters()) <= n_before + settings.d_model + 1


def test_a_file_with_the_heads_of_a_language_model_can_be_read(tmp_path):
    """As older ones have them: they are passed over, and the scores are the same."""
    kind, settings = KINDS[-1]
    old = opinionated(kind, settings)
    old.trunk.head, old.trunk.mtp = kind(settings).head, kind(settings).mtp
    checkpoint.save_checkpoint(tmp_path / "judge.json", old)
    assert any("mtp" in name for name in old.state_dict())
    again, _ = checkpoint.load_checkpoint(
        tmp_path / "judge.json", lambda numbers: RewardModel(kind(type(settings)(**numbers)))
    )
    assert torch.equal(again.score(TEXTS), old.score(TEXTS)) and not any(
        "mtp" in name for name in again.state_dict()
    )


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_it_can_be_kept(tmp_path, kind, settings):
    model = opinionated(kind, settings)
    checkpoint.save_checkpoint(tmp_path / "judge.json", model, {"accuracy": 0.9})
    again, notes = checkpoint.load_checkpoint(
        tmp_path / "judge.json", lambda numbers: RewardModel(kind(type(settings)(**numbers)))
    )
    assert torch.equal(again.score(TEXTS), model.score(TEXTS)) and notes == {"accuracy": 0.9}


def test_texts_that_cannot_be_scored():
    model = opinionated()
    with pytest.raises(ValueError, match="sequence 1 of 2 has no tokens"):
        model.score([[1], []])
    with pytest.raises(ValueError, match="17 tokens are more than max_seq_len 16"):
        model.score([[1] * 17])
    with pytest.raises(ValueError, match="token 11 is outside"):
        model.score([[11]])


# ----------------------------------------------------------------------------------------- training


def test_the_objective_is_the_loss_of_each_pair_alone():
    """By a plain loop over unpadded texts, slopes included; odd lengths and both orders."""
    model, pairs = opinionated(), likes_fives(5)
    pairs += [PreferencePair([1], [2, 3, 4, 5, 6], [7]), PreferencePair([1, 2, 3], [4], [5, 6, 7])]
    parameters = list(model.parameters())
    got = reward_model.choice_objective(model, *pair_texts(pairs)).mean
    want = sum(
        torch.log(
            1 + torch.exp(model.score([[*prompt, *bad]])[0] - model.score([[*prompt, *good]])[0])
        )
        for prompt, good, bad in pairs
    ) / len(pairs)
    torch.testing.assert_close(got, want)
    for ours, theirs in zip(
        torch.autograd.grad(got, parameters), torch.autograd.grad(want, parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_it_learns_what_the_choices_rest_on():
    torch.manual_seed(0)
    trunk = Llama(LLAMA)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    untrained = RewardModel(trunk)
    pairs = likes_fives(300)
    model, accuracy, history = train_reward_model(trunk, pairs, steps=100, lr=1e-2)
    assert history.loss[0] == pytest.approx(math.log(2), abs=1e-6) and len(history.loss) == 100
    assert preference_accuracy(untrained, pairs) == 0.5 and accuracy > 0.9
    # choices of which it has seen none
    assert preference_accuracy(model, likes_fives(200, seed=9)) > 0.9
    assert (
        preference_accuracy(
            model,
            [PreferencePair(prompt, bad, good) for prompt, good, bad in likes_fives(200, seed=9)],
        )
        < 0.1
    )
    scores = model.score(
        [[1, 2, 3, *answer] for answer in ([4, 4, 4, 4], [4, 5, 4, 4], [5, 5, 4, 5])]
    ).tolist()
    assert scores == sorted(scores)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


def test_the_accuracy_is_that_of_the_pairs_held_out():
    """Held-out pairs that contradict those learnt from tell which of the two were counted."""
    pairs = likes_fives(300)
    held_out = {id(pair) for pair in split_pairs(pairs)[1]}
    mixed = [
        PreferencePair(pair.prompt, pair.rejected, pair.chosen) if id(pair) in held_out else pair
        for pair in pairs
    ]
    torch.manual_seed(0)
    model, accuracy, _ = train_reward_model(Llama(LLAMA), mixed, steps=100, lr=1e-2)
    learnt, contradicting = split_pairs(mixed)
    assert accuracy == preference_accuracy(model, contradicting)
    # over 8 seeds with one thread, and 3 with two: at most 0.034, and at least 0.995
    assert accuracy < 0.2 and preference_accuracy(model, learnt) > 0.8


def test_agreement_does_not_depend_on_how_many_are_read_at_a_time():
    model, pairs = opinionated(), likes_fives(33)
    assert (
        preference_accuracy(model, pairs, rows=7)
        == preference_accuracy(model, pairs)
        not in (0.0, 0.5, 1.0)
    )


def test_four_fifths_are_learnt_from_and_each_pair_is_on_one_side():
    pairs = likes_fives(50)
    learnt, held_out = split_pairs(pairs, seed=3)
    assert len(learnt) == 40 and len(held_out) == 10
    assert sorted(learnt + held_out) == sorted(pairs) and learnt != pairs[:40]
    assert split_pairs(pairs, seed=3) == (learnt, held_out) != split_pairs(pairs, seed=4)
    assert [len(part) for part in split_pairs(pairs[:2])] == [1, 1]
    with pytest.raises(ValueError, match="1 pairs: at least 2"):
        split_pairs(pairs[:1])


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (PreferencePair([1], [2, 3], [2, 3]), "pair 4 of 5 has the same answer twice, of 2 tokens"),
        (
            PreferencePair([1], [2, 3], []),
            "pair 4 of 5 has a prompt of 1 tokens and answers of 2 and 0",
        ),
        (PreferencePair([], [2, 3], [4]), "pair 4 of 5 has a prompt of 0 tokens"),
        (
            PreferencePair([1] * 9, [2] * 3, [4] * 8),
            "pair 4 of 5 has a text of 17 tokens, more than max_seq_len 16",
        ),
    ],
)
def test_pairs_that_are_none(pair, message):
    with pytest.raises(ValueError, match=message):
        train_reward_model(Llama(LLAMA), [*likes_fives(4), pair])


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="there are no pairs"):
        train_reward_model(Llama(LLAMA), [])
    with pytest.raises(ValueError, match="batch_size 0"):
        train_reward_model(Llama(LLAMA), likes_fives(4), batch_size=0)


def test_weights_that_are_no_numbers_are_noticed():
    trunk = Llama(LLAMA)
    with torch.no_grad():
        trunk.token_embedding.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="pair 0 of 32 has the scores nan and nan"):
        train_reward_model(trunk, likes_fives(10), steps=1)


def test_batches_depend_on_the_seed_and_the_step_alone():
    pairs = likes_fives(20)
    runs = [
        pair_batches(pair_texts, pairs, 4, seed, start) for seed, start in ((1, 0), (1, 2), (2, 0))
    ]
    first, later, other = (
        [ids.tolist() for ids, _ in (next(run) for _ in range(4))] for run in runs
    )
    assert first[2:] == later[:2] and first[0] != other[0] and first[0] != first[1]


class Killed(Exception):
    pass


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    def trained(**options):
        torch.manual_seed(0)
        return train_reward_model(Llama(LLAMA), likes_fives(40), steps=9, batch_size=4, **options)

    def choice(*args):
        calls.append(1)
        if len(calls) == 9 + 7:
            raise Killed
        return as_it_is(*args)

    calls, as_it_is = [], reward_model.choice_objective
    monkeypatch.setattr(reward_model, "choice_objective", choice)
    whole = trained()
    with pytest.raises(Killed):
        trained(checkpoints=Checkpoints(tmp_path, every=2))
    again = trained(checkpoints=Checkpoints(tmp_path, every=2))
    assert len(calls) == 9 + 7 + 3  # it went on behind the sixth step
    assert again.history.loss == whole.history.loss and again.accuracy == whole.accuracy
    assert torch.equal(again.model.score(TEXTS), whole.model.score(TEXTS))
