"""DeepSeek's extra objectives: against sums written out, and against what they are meant to do."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.alignment.sft import SFTExample, sft_batch
from course_lib.layers.moe import (
    expert_balance_loss,
    expert_load,
    max_load_violation,
    sequence_balance_loss,
)
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.deepseek_objective import (
    balance_by_bias,
    count_expert_loads,
    deepseek_objective,
    moe_layers,
    mtp_acceptance,
    mtp_loss,
    sum_balance_losses,
)
from course_lib.training.objectives import next_token_objective

SIZES = {
    "vocab_size": 11,
    "max_seq_len": 16,
    "d_model": 16,
    "n_layers": 3,
    "n_heads": 2,
    "n_experts": 4,
}


@pytest.fixture
def batch():
    ids = torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(0))
    return ids[:, :-1], ids[:, 1:]


def v3(**settings) -> DeepSeekV3:
    torch.manual_seed(0)
    return DeepSeekV3(DeepSeekSettings(**SIZES, mtp=True, **settings))


def test_the_look_ahead_predicts_the_token_after_the_next(batch):
    model, (inputs, targets) = v3(), batch
    hidden = model.hidden(inputs)
    scores = model.predict_ahead(hidden[:, :-1], targets[:, :-1]).log_softmax(-1)
    by_hand = [-scores[b, t, targets[b, t + 1]] for b in range(3) for t in range(7)]
    torch.testing.assert_close(
        mtp_loss(model, hidden, inputs, targets), torch.stack(by_hand).mean()
    )


def test_the_look_ahead_leaves_padding_out(batch):
    model, (inputs, targets) = v3(), batch
    padded = targets.clone()
    padded[0, 5:] = IGNORE_INDEX  # row 0 ends early: places 0 to 3 have two tokens to come
    hidden = model.hidden(inputs)
    scores = model.predict_ahead(hidden[:, :-1], targets[:, :-1]).log_softmax(-1)
    kept = [(b, t) for b in range(3) for t in range(7) if b or t < 4]
    by_hand = torch.stack([-scores[b, t, targets[b, t + 1]] for b, t in kept]).mean()
    torch.testing.assert_close(mtp_loss(model, hidden, inputs, padded), by_hand)


def test_in_a_chat_the_look_ahead_reads_the_prompt_and_every_place_counts_whose_target_does():
    """Nobody learns the prompt, but the module is given its real tokens, as it is when it
    writes."""
    model = v3()
    for parameter in model.parameters():  # large enough that each token tells
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    chats = [
        SFTExample([0, 5, 6, 9], [7, 3, 8, 0]),
        SFTExample([0, 4], [0]),
        SFTExample([0, 1, 2, 3, 4], [5, 0]),
    ]
    inputs, targets = sft_batch(chats)
    hidden, by_hand = model.hidden(inputs), []
    for row, (prompt, completion) in enumerate(chats):
        text = [*prompt, *completion]
        for t in range(len(text) - 2):
            if t + 2 >= len(prompt):  # the token two ahead is one that the assistant says
                scores = model.predict_ahead(
                    hidden[row : row + 1, : t + 1], torch.tensor([text[1 : t + 2]])
                )
                by_hand.append(-scores[0, -1].log_softmax(-1)[text[t + 2]])
    assert len(by_hand) == 4 + 1 + 2
    torch.testing.assert_close(
        mtp_loss(model, hidden, inputs, targets), torch.stack(by_hand).mean()
    )


def test_targets_without_one_two_ahead_are_refused(batch):
    model, (inputs, targets) = v3(), batch
    with pytest.raises(ValueError, match=r"\(3, 8\) hold none that counts and is two tokens ahead"):
        mtp_loss(model, model.hidden(inputs), inputs, torch.full_like(targets, IGNORE_INDEX))


def test_the_objective_is_the_sum_of_its_parts(batch):
    model, (inputs, targets) = v3(), batch
    whole = deepseek_objective(expert=0.5, sequence=0.25, ahead=0.125)(model, inputs, targets).mean
    # over T, though T - 1 are summed
    ahead = mtp_loss(model, model.hidden(inputs), inputs, targets) * 7 / 8
    parts = next_token_objective(model, inputs, targets).mean + 0.125 * ahead
    layers = moe_layers(model)
    assert len(layers) == 3  # two of the model and the look ahead's
    parts = parts + 0.5 * sum(expert_balance_loss(layer.routing) for layer in layers)
    parts = parts + 0.25 * sum(sequence_balance_loss(layer.routing) for layer in layers)
    torch.testing.assert_close(whole, parts)
    plain, all_zero = (
        next_token_objective(model, inputs, targets),
        deepseek_objective()(model, inputs, targets),
    )
    torch.testing.assert_close(all_zero.mean, plain.mean)


def test_a_model_without_experts_is_refused(batch):
    model = Llama(LlamaSettings(11, 16, d_model=16, n_layers=1, n_heads=2))
    with pytest.raises(ValueError, match="no mixture of experts"):
        deepseek_objective(expert=0.1)(model, *batch)


def test_the_bias_rule_pushes_towards_an_even_load_and_stops_at_speed_0(batch):
    model = v3()
    model(batch[0])
    layer = moe_layers(model)[0]
    counted = expert_load(layer.routing).float()
    balance_by_bias(lambda step: 0.1 * step)(2, model)
    torch.testing.assert_close(layer.router.bias, 0.2 * (counted.mean() - counted).sign())
    before = layer.router.bias.clone()
    balance_by_bias(lambda step: 0.0)(3, model)
    assert torch.equal(layer.router.bias, before)


@pytest.mark.parametrize("way", ["loss", "bias"])
def test_a_collapsed_router_recovers(way):
    """Nearly all tokens prefer expert 0; the balance loss or the bias spreads them again."""
    settings = DeepSeekSettings(**SIZES | {"n_layers": 1}, n_dense_layers=0, n_chosen=1)
    torch.manual_seed(0)
    model, ids = (DeepSeekV2 if way == "loss" else DeepSeekV3)(settings), torch.randint(11, (8, 16))
    (layer,) = moe_layers(model)
    usual = model.blocks[0].norm_2(model.token_embedding(ids)).mean((0, 1))
    layer.router.weight.data[0] += usual / usual.square().sum()
    model.hidden(ids)
    start = max_load_violation(expert_load(layer.routing))
    optimizer = torch.optim.Adam([layer.router.weight], lr=0.02)
    nudge, objective = balance_by_bias(lambda step: 0.05), deepseek_objective(expert=10.0)
    for step in range(30):
        if way == "loss":
            objective(model, ids[:, :-1], ids[:, 1:]).backward()
            optimizer.step()
            optimizer.zero_grad()
        else:
            model.hidden(ids)
            nudge(step, model)
    model.hidden(ids)
    assert start > 1.5 and max_load_violation(expert_load(layer.routing)) < 0.75


def test_loads_are_counted_over_all_batches(batch):
    model, ids = v3(), batch[0]
    whole = count_expert_loads(model, [ids])
    parts = count_expert_loads(model, [ids[:1], ids[1:]])
    assert len(whole) == 2 and all(layer.sum() == 2 * ids.numel() for layer in whole)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_acceptance_is_what_two_distributions_share():
    class Stub(torch.nn.Module):
        """Chances that are known: the model's at every place, and the look ahead's."""

        def __init__(self, p, q):
            super().__init__()
            self.p, self.q = torch.tensor(p).log(), torch.tensor(q).log()

        def hidden(self, ids):
            return torch.zeros(*ids.shape, 1)

        def logits(self, hidden):
            return self.p.expand(*hidden.shape[:2], -1)

        def predict_ahead(self, hidden, next_ids):
            return self.q.expand(*hidden.shape[:2], -1)

    ids = torch.zeros(2, 4, dtype=torch.long)
    assert mtp_acceptance(Stub([0.5, 0.3, 0.2], [0.2, 0.2, 0.6]), ids) == pytest.approx(0.6)
    assert mtp_acceptance(Stub([0.5, 0.3, 0.2], [0.5, 0.3, 0.2]), ids) == pytest.approx(1.0)
    model = v3()
    ids = torch.randint(11, (2, 9))
    by_hand = F.softmax(model(ids)[:, 1:], -1).minimum(
        F.softmax(model.predict_ahead(model.hidden(ids)[:, :-1], ids[:, 1:]), -1)
    )
    assert mtp_acceptance(model, ids) == pytest.approx(by_hand.sum(-1).mean().item(), abs=1e-6)


def test_balance_loss_before_any_batch_is_refused():
    with pytest.raises(ValueError, match="has seen a batch yet"):
        sum_balance_losses(v3(), expert_balance_loss)


def test_only_the_balance_loss_of_a_batch_forbids_to_cut_it(batch):
    def named(**weights):
        return deepseek_objective(**weights)(v3(), *batch).whole_batch

    assert "experts over the batch" in named(expert=0.5, over="batch")
    assert named(expert=0.5) == named(sequence=0.5, over="batch") == named(over="batch") == ""


def test_a_step_counts_nothing_that_was_read_before_it(batch):
    model, rule = v3(), balance_by_bias(lambda step: 0.1)
    layer = moe_layers(model)[0]
    model(batch[0].fill_(3))
    rule.after_part(model)  # of a step that was broken off
    rule.before_step(1, model)
    assert rule.loads == {} and all(each.routing is None for each in moe_layers(model))
    model(batch[1])
    rule.after_part(model)
    counted = expert_load(layer.routing).float()
    rule.after_step(1, model)
    torch.testing.assert_close(layer.router.bias, 0.1 * (counted.mean() - counted).sign())
    assert rule.loads == {}
