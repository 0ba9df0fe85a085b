"""DPO: the loss by hand, log-chances by a plain loop, and a policy that ends where the theory says
it must."""

import copy
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from course_lib.alignment import dpo as dpo_file
from course_lib.alignment.dpo import (
    dpo_loss,
    dpo_metrics,
    implicit_rewards,
    pair_batch,
    sequence_log_probs,
    train_dpo,
)
from course_lib.alignment.preferences import PreferencePair
from course_lib.alignment.sft import SFTExample, sft_settings
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.training.resume import Checkpoints

KINDS = [
    (GPT2, GPT2Settings(11, 16, d_model=12, n_layers=2, n_heads=3)),
    (Llama, LlamaSettings(11, 16, d_model=12, n_layers=2, n_heads=3, n_kv_heads=1)),
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
        ),
    ),
]
PAIRS = [
    PreferencePair([0, 3, 1], [4, 1, 5, 9, 0], [2, 0]),
    PreferencePair([0], [6, 0], [5, 5, 5, 0]),
    PreferencePair([0, 7, 7, 7], [0], [8, 2, 0]),
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")


def opinionated(kind, settings, seed=0):
    torch.manual_seed(seed)
    model = kind(settings)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def alone(model, prompt, completion):
    """The log-chance of a completion, token by token, each by a pass over what stands before it."""
    text, total = list(prompt), 0.0
    for token in completion:
        total = total + model(torch.tensor([text]))[0, -1].softmax(-1)[token].log()
        text.append(token)
    return total


# ----------------------------------------------------------------------------------------- the loss


def logs(*chances):
    return torch.tensor(chances, dtype=torch.float64).log()


def test_the_loss_by_hand():
    """Chosen: twice as likely as for the reference; rejected: half as likely. A margin of 0.5 (log
    2 + log 2)."""
    loss = dpo_loss(logs(0.4), logs(0.1), logs(0.2), logs(0.2), beta=0.5)
    assert loss.item() == pytest.approx(
        -math.log(1 / (1 + math.exp(-0.5 * math.log(4)))), rel=1e-12
    )
    assert loss.item() == pytest.approx(math.log(3 / 2), rel=1e-12)
    assert dpo_loss(
        logs(0.3, 0.1), logs(0.2, 0.5), logs(0.3, 0.1), logs(0.2, 0.5)
    ).item() == pytest.approx(math.log(2))


def test_the_loss_is_equation_7_word_for_word():
    """Written from the paper, one pair after the other, with chances in place of their logs."""
    generator = torch.Generator().manual_seed(0)
    tables = torch.rand(4, 30, dtype=torch.float64, generator=generator)
    for beta in (0.1, 0.5, 2.0):
        want = 0.0
        for pi_w, pi_l, ref_w, ref_l in tables.T.tolist():
            inner = beta * math.log(pi_w / ref_w) - beta * math.log(pi_l / ref_l)
            want -= math.log(1 / (1 + math.exp(-inner))) / 30
        assert dpo_loss(*tables.log(), beta=beta).item() == pytest.approx(want, rel=1e-12)


def test_the_loss_has_the_slope_that_finite_differences_find():
    tables = torch.randn(
        4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).unbind()
    inputs = [table.requires_grad_() for table in tables]
    assert torch.autograd.gradcheck(lambda *all_four: dpo_loss(*all_four, beta=0.7), inputs)
    assert len(torch.autograd.grad(dpo_loss(*inputs), inputs)) == 4


def test_implicit_rewards_by_hand():
    torch.testing.assert_close(
        implicit_rewards(logs(0.5, 0.1), logs(0.25, 0.2), 2.0), 2 * logs(2.0, 0.5)
    )


@pytest.mark.parametrize("beta", [0.0, -0.1, math.inf, math.nan])
def test_a_beta_that_is_none(beta):
    with pytest.raises(ValueError, match=f"beta {beta} must be a number above 0"):
        dpo_loss(*torch.zeros(4, 2), beta=beta)


def test_log_chances_that_are_none():
    zero, nan = torch.zeros(2), torch.tensor([0.0, math.nan])
    with pytest.raises(ValueError, match="pair 1 of 2 has the scores nan and 0.0"):
        dpo_loss(nan, zero, zero, zero)
    with pytest.raises(ValueError, match="pair 1 of 2 has the scores 0.0 and nan"):
        dpo_loss(zero, zero, zero, nan)
    with pytest.raises(
        (ValueError, TypeError), match="make no pairs|[Tt]ype-check"
    ):  # if annotations are checked
        dpo_loss(zero, torch.zeros(3), zero, torch.zeros(3))


# ------------------------------------------------------------------------------------ whole answers


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_log_chances_are_those_of_each_token_in_turn(kind, settings):
    model = opinionated(kind, settings)
    examples = [
        SFTExample(pair.prompt, said) for pair in PAIRS for said in (pair.chosen, pair.rejected)
    ]
    got = sequence_log_probs(model, examples)
    for log_prob, example in zip(got, examples, strict=True):
        torch.testing.assert_close(log_prob, alone(model, *example), atol=1e-5, rtol=1e-5)


def test_log_chances_add_up_over_all_completions_to_a_chance_of_1():
    model = opinionated(*KINDS[1])
    examples = [SFTExample([0, 3], said) for said in itertools.product(range(11), repeat=2)]
    assert sequence_log_probs(model, examples).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_the_slope_for_the_parameters_is_that_of_a_plain_loop(kind, settings):
    policy, reference = opinionated(kind, settings, seed=0), opinionated(kind, settings, seed=1)
    tables = pair_batch(PAIRS)
    with torch.no_grad():
        theirs = dpo_file.pair_log_probs(reference, *tables)
    got = dpo_loss(*dpo_file.pair_log_probs(policy, *tables).T, *theirs.T, beta=0.3)
    want = 0.0
    for prompt, good, bad in PAIRS:
        lead = alone(policy, prompt, good) - alone(policy, prompt, bad)
        lead = lead - (alone(reference, prompt, good) - alone(reference, prompt, bad)).detach()
        want = want + torch.log(1 + torch.exp(-0.3 * lead)) / len(PAIRS)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    parameters = list(policy.parameters())
    for ours, other in zip(
        *(torch.autograd.grad(loss, parameters) for loss in (got, want)), strict=True
    ):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)


# ------------------------------------------------------------------------------- where it must lead


class Table(nn.Module):
    """The freest model there is of texts of two tokens behind a prompt: a score for every token
    after every other."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(scores.clone())
        self.settings = SimpleNamespace(max_seq_len=3, vocab_size=len(scores))

    def forward(self, ids):
        return self.scores[ids]


REFERENCE = torch.tensor(
    [[0.0, 0.5, -0.5, 1.0], [0.3, 0.0, 1.0, 0.2], [0.0, 0.7, 0.1, -0.4], [1.0, 0.0, 0.0, 0.5]]
)
ANSWERS = [(a, b) for a in range(1, 4) for b in range(4)]  # 12 answers to the prompt [0]
STRENGTHS = [1, 2, 4, 1, 2, 1, 1, 4, 2, 1, 1, 2]  # exp(reward) of each


def start(dtype=torch.float64):
    """A reference whose answers begin with any token but 0, which is the prompt's."""
    table = Table(REFERENCE.to(dtype))
    with torch.no_grad():
        table.scores[0, 0] = -1e4
    return table


def closed_form(reference, beta):
    """Reference times exp(reward / beta), by enumeration: equation 4."""
    weights = [
        math.exp(alone(reference, [0], answer).item()) * strength ** (1 / beta)
        for answer, strength in zip(ANSWERS, STRENGTHS, strict=True)
    ]
    return torch.tensor([weight / sum(weights) for weight in weights])


def choices():
    """Choices of Bradley and Terry's annotators, without noise.

    Strengths a and b: of a + b comparisons, the first wins a.
    """
    return [
        PreferencePair([0], list(ANSWERS[i]), list(ANSWERS[j]))
        for i, j in itertools.permutations(range(len(ANSWERS)), 2)
        for _ in range(STRENGTHS[i])
    ]


def chances(model):
    return (
        sequence_log_probs(model, [SFTExample([0], answer) for answer in ANSWERS])
        .detach()
        .exp()
        .float()
    )


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_the_minimum_is_the_closed_form_optimum(beta):
    """The policy ends at reference * exp(reward / beta), although nobody told it a reward."""
    policy, reference, tables = start(), start(), pair_batch(choices())
    theirs = dpo_file.pair_log_probs(reference, *tables).detach()
    optimizer = torch.optim.LBFGS(
        policy.parameters(),
        max_iter=500,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = dpo_loss(*dpo_file.pair_log_probs(policy, *tables).T, *theirs.T, beta=beta)
        loss.backward()
        return loss

    optimizer.step(closure)
    want = closed_form(reference, beta)
    assert (want - chances(reference)).abs().max() > 0.05
    torch.testing.assert_close(chances(policy), want, atol=1e-4, rtol=1e-3)


def test_the_loop_leads_there_too():
    """Its implicit rewards are then the annotators', but for a constant."""
    model, reference = start(torch.float32), start(torch.float32)
    history = train_dpo(model, choices(), sft_settings(400, adam_lr=0.1), beta=0.5, batch_size=256)
    want = closed_form(reference, beta=0.5)
    assert history.loss[0] == pytest.approx(math.log(2), abs=1e-5)
    assert (
        (chances(model) - want).abs().max() < 0.03 < 0.1 < (chances(reference) - want).abs().max()
    )
    learnt = implicit_rewards(chances(model).log(), chances(reference).log(), beta=0.5)
    true = torch.tensor(STRENGTHS, dtype=torch.float32).log()
    assert ((learnt - learnt.mean()) - (true - true.mean())).abs().max() < 0.15


# ----------------------------------------------------------------------------------------- the loop


def likes_fives(n, seed):
    generator = torch.Generator().manual_seed(seed)
    answers = torch.randint(1, 11, (n, 2, 4), generator=generator)
    answers[:, 0, 0], answers[:, 1][answers[:, 1] == 5] = 5, 6
    return [PreferencePair([0, 1], *pair) for pair in answers.tolist()]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_it_learns_choices_and_the_reference_stays(kind, settings):
    torch.manual_seed(0)
    model = kind(settings)
    reference = copy.deepcopy(model)
    before, held_out = (
        dpo_metrics(model, reference, likes_fives(50, seed=9)),
        likes_fives(50, seed=9),
    )
    assert before == {"accuracy": 0.5, "margin": 0.0, "chosen": 0.0, "rejected": 0.0}
    seen = []
    train_dpo(
        model,
        likes_fives(100, seed=0),
        sft_settings(40, adam_lr=1e-2),
        on_step=lambda step, model: seen.append(step),
    )
    after = dpo_metrics(model, reference, held_out)
    assert seen == list(range(1, 41))
    assert after["accuracy"] > 0.9 and after["margin"] > 0.1
    assert after["margin"] == pytest.approx(0.1 * (after["chosen"] - after["rejected"]), abs=1e-5)
    assert after == pytest.approx(dpo_metrics(model, reference, held_out, rows=7), abs=1e-5)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_measures_by_hand():
    policy, reference = Table(REFERENCE.T.double()), start()
    pairs = [
        PreferencePair([0], [1, 2], [2, 3]),
        PreferencePair([0], [3, 0], [1, 1]),
        PreferencePair([0], [2, 3], [1, 2]),
    ]
    moved = [
        [
            (alone(policy, [0], said) - alone(reference, [0], said)).item()
            for said in (pair.chosen, pair.rejected)
        ]
        for pair in pairs
    ]
    leads = [chosen - rejected for chosen, rejected in moved]
    got = dpo_metrics(policy, reference, pairs, beta=0.3)
    assert got["accuracy"] == pytest.approx(sum(lead > 0 for lead in leads) / 3)
    assert got["margin"] == pytest.approx(0.3 * sum(leads) / 3)
    assert [got["chosen"], got["rejected"]] == pytest.approx(
        [sum(column) / 3 for column in zip(*moved, strict=True)]
    )


def test_a_small_beta_lets_the_policy_go_further():
    moved = []
    for beta in (0.1, 1.0):
        torch.manual_seed(0)
        model = Llama(KINDS[1][1])
        reference = copy.deepcopy(model)
        train_dpo(model, likes_fives(100, seed=0), sft_settings(40, adam_lr=1e-2), beta=beta)
        after = dpo_metrics(model, reference, likes_fives(50, seed=9), beta)
        moved.append(after["chosen"] - after["rejected"])
    assert moved[0] > 1.5 * moved[1] > 0


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (PreferencePair([1], [2, 3], [2, 3]), "pair 3 of 4 has the same answer twice, of 2 tokens"),
        (
            PreferencePair([], [2, 3], [4]),
            "pair 3 of 4 has a prompt of 0 tokens and answers of 2 and 1",
        ),
        (
            PreferencePair([1], [], [4]),
            "pair 3 of 4 has a prompt of 1 tokens and answers of 0 and 1",
        ),
        (
            PreferencePair([1] * 9, [2] * 8, [4]),
            "pair 3 of 4 has a text of 17 tokens, more than max_seq_len 16",
        ),
    ],
)
def test_pairs_that_are_none(pair, message):
    with pytest.raises(ValueError, match=message):
        train_dpo(Llama(KINDS[1][1]), [*PAIRS, pair], sft_settings(1))


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="there are no pairs"):
        train_dpo(Llama(KINDS[1][1]), [], sft_settings(1))


class Killed(Exception):
    pass


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_happened(tmp_path):
    """From the model that it began with, which is the reference."""

    def trained(**options):
        torch.manual_seed(0)
        model = Llama(KINDS[1][1])
        return model, train_dpo(
            model, likes_fives(30, seed=0), sft_settings(9, adam_lr=1e-2), batch_size=4, **options
        )

    def kill(step, model):
        if step == 7:
            raise Killed

    whole, history = trained()
    with pytest.raises(Killed):
        trained(checkpoints=Checkpoints(tmp_path, every=2), on_step=kill)
    seen = []
    again, resumed = trained(
        checkpoints=Checkpoints(tmp_path, every=2), on_step=lambda step, model: seen.append(step)
    )
    assert seen == [7, 8, 9]
    assert resumed.loss == history.loss and len(set(history.loss)) > 5
    for ours, theirs in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
