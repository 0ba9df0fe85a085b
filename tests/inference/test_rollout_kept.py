"""What a rollout keeps of how it was drawn, against a full pass over each text alone."""

import copy
from dataclasses import replace

import pytest
import torch

from course_lib.inference.generate import next_token_probs
from course_lib.inference.rollout import completion_log_probs, join_completions, sample_completions
from course_lib.layers import moe
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3

PROMPTS = [[3, 1, 4, 1, 5], [2], [7, 1]]
FILTERS = [{"top_p": 0.6}, {"top_k": 3}, {"top_p": 0.8, "temperature": 0.7}, {"min_p": 0.2}]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_layers": 3, "n_heads": 2, "n_experts": 6, "n_chosen": 2}
    model = DeepSeekV3(DeepSeekSettings(11, 24, **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return model


def sampled(model, **options):
    generator = torch.Generator().manual_seed(0)
    wish = {"n_samples": 6, "stop_token": 8, "generator": generator}
    return sample_completions(model, PROMPTS, 8, **wish | options)


def texts_of(made):
    return list(zip(made.prompts, made.completions, strict=True))


@pytest.mark.parametrize("options", FILTERS)
def test_the_mask_and_the_log_probs_are_those_of_the_filters(model, options):
    made = sampled(model, keep_mask=True, **options)
    assert len(set(made.lengths.tolist())) > 1
    for row, (prompt, text) in enumerate(texts_of(made)):
        logits = model(torch.tensor([prompt + text]))[0, len(prompt) - 1 : -1]
        want = next_token_probs(logits, **options)
        assert torch.equal(made.kept[row, : len(text)], want > 0)
        chosen = want.gather(-1, torch.tensor(text)[:, None])[:, 0].log()
        torch.testing.assert_close(made.log_probs[row, : len(text)], chosen, atol=1e-5, rtol=1e-4)
        assert made.kept[row, len(text) :].all()


@pytest.mark.parametrize("options", FILTERS)
def test_the_ratio_is_one_under_the_mask_and_the_kept_mass_without(model, options):
    made = sampled(model, keep_mask=True, **options)
    temperature, real = options.get("temperature", 1.0), made.completion_mask
    under = (completion_log_probs(model, made, temperature) - made.log_probs).exp()[real]
    torch.testing.assert_close(under, torch.ones_like(under), atol=1e-5, rtol=0)
    whole = completion_log_probs(model, replace(made, kept=None), temperature)
    without = (whole - made.log_probs).exp()
    assert (without[real] < 0.98).any() and (without[real] < 1 + 1e-5).all()
    for row, (prompt, text) in enumerate(texts_of(made)):
        logits = model(torch.tensor([prompt + text]))[0, len(prompt) - 1 : -1] / temperature
        mass = (logits.softmax(-1) * made.kept[row, : len(text)]).sum(-1)
        torch.testing.assert_close(without[row, : len(text)], mass, atol=1e-5, rtol=1e-4)


def test_without_a_wish_nothing_is_kept_and_texts_are_the_same(model):
    plain, kept = sampled(model, top_p=0.6), sampled(model, top_p=0.6, keep_mask=True)
    assert plain.kept is None and plain.chosen is None
    assert plain.completions == kept.completions
    assert (plain.log_probs <= kept.log_probs + 1e-6).all()


def test_a_gradient_flows_to_what_was_left_alone(model):
    made = sampled(model, top_k=2, keep_mask=True)
    log_probs = completion_log_probs(model, made)
    gradients = torch.autograd.grad(log_probs.sum(), list(model.parameters()), allow_unused=True)
    assert all(g.isfinite().all() for g in gradients if g is not None)
    # two tokens are left: a step up for the one is a step down for the other, and for no third
    bias = torch.zeros(11, requires_grad=True)
    scores = model.logits
    try:
        model.logits = lambda hidden: scores(hidden) + bias
        (slope,) = torch.autograd.grad(completion_log_probs(model, made).sum(), bias)
    finally:
        del model.logits
    reached = made.kept[made.completion_mask].any(0)
    assert slope[~reached].abs().max() == 0 if (~reached).any() else True
    assert slope.sum().abs() < 1e-4 < slope.abs().max()


def routing_alone(model, text):
    model.hidden(torch.tensor([text]))
    return moe.last_choices(moe.text_moe_layers(model))[0]


def test_the_experts_are_those_of_a_full_pass(model):
    made = sampled(model, keep_routing=True)
    assert made.chosen.shape == (*made.ids.shape, 2, 2)
    for row, (prompt, text) in enumerate(texts_of(made)):
        want = routing_alone(model, prompt + text)
        found = made.chosen[row][~made.padding[row]]
        assert not moe.changed_choices(found[:-1], want[:-1]).any()


def test_other_weights_go_through_the_samplers_experts(model):
    sampler = copy.deepcopy(model).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in sampler.parameters():
            parameter += 0.1 * torch.randn(parameter.shape).bfloat16()
    made = sampled(sampler, keep_routing=True)
    read, real = [], ~made.padding[:, :-1]
    hooks = [
        layer.register_forward_hook(lambda layer, given, out: read.append(layer.routing.chosen))
        for layer in moe.text_moe_layers(model)
    ]
    replayed = completion_log_probs(model, made)
    assert torch.equal(torch.stack(read, -2)[real], made.chosen[:, :-1][real])
    read.clear()
    own = completion_log_probs(model, replace(made, chosen=None))
    for hook in hooks:
        hook.remove()
    assert (replayed - own).abs().max() > 1e-2
    same = sampled(model, keep_routing=True)
    torch.testing.assert_close(completion_log_probs(model, same), same.log_probs)


@pytest.mark.parametrize("choose", [[4, 0, 9], [6, 7], [17]])
def test_rows_and_joined_tables_read_as_before(model, choose):
    made = sampled(model, top_p=0.7, keep_mask=True, keep_routing=True)
    want = completion_log_probs(model, made)
    part = made.rows(torch.tensor(choose))
    T = part.completion_mask.shape[1]
    torch.testing.assert_close(completion_log_probs(model, part), want[choose, :T])
    both = join_completions([part, made])
    again = completion_log_probs(model, both)
    real = both.completion_mask[len(choose) :]
    torch.testing.assert_close(again[len(choose) :][real], want[made.completion_mask])
