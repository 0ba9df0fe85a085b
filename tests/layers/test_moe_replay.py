"""Replayed choices of experts: the choice is another model's, the weights are one's own."""

import copy

import pytest
import torch

from course_lib.layers import moe
from course_lib.models.deepseek import DeepSeekMoE, DeepSeekSettings, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings

SIZES = {"d_model": 16, "n_layers": 3, "n_heads": 2, "n_experts": 6, "n_chosen": 2}


def model_of(kind=DeepSeekV3, seed=0, **changes):
    torch.manual_seed(seed)
    return kind(DeepSeekSettings(32, 24, **SIZES | changes))


def choices_of(model, ids):
    """What each layer of experts chooses for each token, read layer by layer from a hook."""
    seen, hooks = [], []
    for block in model.blocks[1:]:
        keep = lambda layer, given, out: seen.append(layer.routing.chosen)  # noqa: E731
        hooks.append(block.mlp.register_forward_hook(keep))
    model.hidden(ids)
    for hook in hooks:
        hook.remove()
    return torch.stack(seen, -2)


IDS = torch.arange(20).view(2, 10) % 32


@pytest.mark.parametrize("kind", [DeepSeekMoE, DeepSeekV3])
def test_another_model_follows_the_samplers_choices(kind):
    sampler, trainer = model_of(kind, 0), model_of(kind, 1)
    theirs, own = choices_of(sampler, IDS), choices_of(trainer, IDS)
    assert moe.changed_choices(own, theirs).mean() > 0.3  # two models of their own
    layers = moe.text_moe_layers(trainer)
    with moe.replayed_routing(trainer, theirs):
        trainer.hidden(IDS)
        assert torch.equal(moe.last_choices(layers), theirs)
    trainer.hidden(IDS)
    assert torch.equal(moe.last_choices(layers), own)  # nothing is left of it behind the context


@pytest.mark.parametrize("kind", [DeepSeekMoE, DeepSeekV3])
def test_ones_own_choices_change_nothing(kind):
    model = model_of(kind)
    want, own = model.hidden(IDS), choices_of(model, IDS)
    with moe.replayed_routing(model, own):
        assert torch.equal(model.hidden(IDS), want)


def test_the_context_is_left_after_an_error_too():
    model = model_of()
    with pytest.raises(RuntimeError), moe.replayed_routing(model, choices_of(model, IDS)):
        raise RuntimeError
    assert all(layer.replay is None for layer in moe.moe_layers(model))


@pytest.mark.parametrize(
    ("router", "normalised"), [(moe.SoftmaxRouter, False), (moe.SigmoidRouter, True)]
)
def test_weights_are_the_present_routers(router, normalised):
    """By hand, expert by expert: the affinity of each replayed expert, and what it counts."""
    torch.manual_seed(0)
    gate, x = router(8, 6, 2, scale=2.5), torch.randn(5, 8)
    chosen = torch.tensor([[0, 1], [2, 5], [3, 0], [1, 4], [4, 5]])
    found = gate.replay(gate(x), chosen)
    logits = x @ gate.weight.T
    for token in range(5):
        if normalised:
            scores = [1 / (1 + (-logit).exp().item()) for logit in logits[token]]
        else:
            scores = (logits[token].exp() / logits[token].exp().sum()).tolist()
        picked = [scores[expert] for expert in chosen[token]]
        by = sum(picked) if normalised else 1.0
        want = torch.tensor([2.5 * score / by for score in picked])
        torch.testing.assert_close(found.weights[token], want)
    assert torch.equal(found.chosen, chosen)


def test_the_router_still_learns():
    """The gradient of a replayed layer reaches its router; by finite differences it is right."""
    torch.manual_seed(0)
    layer = moe.MoE(moe.SigmoidRouter(4, 5, 2), 4, 4, n_experts=5, n_shared=0).double()
    x, chosen = torch.randn(3, 4).double(), torch.tensor([[0, 4], [1, 2], [3, 0]])

    def output(weight):
        layer.router.weight.data = weight.detach()
        layer.replay = chosen
        state = {"router.weight": weight}
        return torch.func.functional_call(layer, state, (x,))

    weight = torch.randn(5, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(output, weight)
    (slope,) = torch.autograd.grad(output(weight).sum(), weight)
    assert slope.abs().max() > 1e-3


def test_in_fewer_bits_some_choices_flip_and_replay_undoes_it():
    sampler, ids = model_of(n_experts=32, n_chosen=4), torch.randint(32, (16, 20))
    half = copy.deepcopy(sampler).to(torch.bfloat16)
    own, theirs = choices_of(sampler, ids), choices_of(half, ids)
    flips = moe.changed_choices(own, theirs).mean()
    assert 0 < flips < 0.2
    with moe.replayed_routing(sampler, theirs):
        sampler.hidden(ids)
        again = moe.last_choices(moe.text_moe_layers(sampler))
    assert not moe.changed_choices(again, theirs).any()


def test_copies_leave_a_replay_behind():
    layer = moe.text_moe_layers(model_of())[0]
    layer.replay = torch.zeros(1, 2, dtype=torch.long)
    assert copy.deepcopy(layer).replay is None


def test_what_does_not_fit_is_named():
    model = model_of()
    with pytest.raises(ValueError, match=r"shape \(2, 10, 3, 2\) are not for 2 layers"):
        model.hidden(IDS)
        with moe.replayed_routing(model, torch.zeros(2, 10, 3, 2, dtype=torch.long)):
            pass
    for chosen in ([0, 6], [-1, 6]):
        with pytest.raises(ValueError, match=f"expert 6 or {chosen[0]} of 6 does not exist"):
            with moe.replayed_routing(model, torch.tensor(chosen).expand(2, 10, 2, 2)):
                pass
    with moe.replayed_routing(model, torch.zeros(2, 9, 2, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"\(2, 9, 2\) for tokens .* \(2, 10, 2\)"):
            model.hidden(IDS)
    dense = Llama(LlamaSettings(32, 24, d_model=16, n_layers=2, n_heads=2))
    with pytest.raises(ValueError, match="Llama has 0 layers of experts"):
        moe.text_moe_layers(dense)
    unchecked = getattr(moe.changed_choices, "__wrapped__", moe.changed_choices)
    with pytest.raises(ValueError, match=r"shapes \(2, 2\) and \(2, 3\)"):
        unchecked(torch.zeros(2, 2).long(), torch.zeros(2, 3).long())
    with pytest.raises(ValueError, match="0 layers of experts have chosen nothing"):
        moe.last_choices([])
    with pytest.raises(ValueError, match="layer of experts 0 of 2 has routed 0 tokens"):
        moe.last_choices(moe.text_moe_layers(model_of()))
