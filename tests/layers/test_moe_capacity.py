"""Dropped visits against a count by hand; a dense network made into experts says what it said."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.layers import moe
from course_lib.layers.mlp import SwiGLU
from course_lib.models.deepseek import count_active_parameters, upcycle_model
from course_lib.models.llama import Llama, LlamaSettings


def routing_of(n_tokens, n_experts, n_chosen, seed, skew=2.0):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(n_tokens, n_experts, generator=rng)
    return moe.route_softmax(logits + skew * torch.rand(n_experts, generator=rng), n_chosen)


def kept_by_hand(routing, room, by):
    """The visits that are let in, one after the other, as pairs of token and slot."""
    chosen, scores = routing.chosen.tolist(), routing.scores.tolist()
    visits = [(slot, token) for token in range(len(chosen)) for slot in range(len(chosen[0]))]
    if by == "affinity":
        visits.sort(key=lambda v: -scores[v[1]][chosen[v[1]][v[0]]])
    taken, kept = {}, set()
    for slot, token in visits:
        expert = chosen[token][slot]
        taken[expert] = taken.get(expert, 0) + 1
        if taken[expert] <= room:
            kept.add((token, slot))
    return kept


@settings(max_examples=80, deadline=None)
@given(
    n_tokens=st.integers(1, 20),
    n_experts=st.integers(1, 6),
    data=st.data(),
    factor=st.sampled_from([0.3, 1.0, 1.25, 9.0]),
    by=st.sampled_from(["position", "affinity"]),
    seed=st.integers(0, 99),
)
def test_visits_are_let_in_as_by_hand(n_tokens, n_experts, data, factor, by, seed):
    n_chosen = data.draw(st.integers(1, n_experts))
    routing = routing_of(n_tokens, n_experts, n_chosen, seed)
    room = moe.expert_capacity(n_tokens, n_experts, n_chosen, factor)
    kept = kept_by_hand(routing, room, by)
    dropped = moe.drop_over_capacity(routing, factor, by)
    for token in range(n_tokens):
        for slot in range(n_chosen):
            want = routing.weights[token, slot] if (token, slot) in kept else 0.0
            assert dropped.weights[token, slot] == want
    assert torch.equal(dropped.chosen, routing.chosen)
    load = torch.bincount(routing.chosen[dropped.weights > 0], minlength=n_experts)
    assert load.max() <= room


def test_sequences_are_counted_together_and_keep_their_shape():
    routing = routing_of(24, 4, 2, seed=0)
    rows = moe.Routing(
        *(table.unflatten(0, (3, 8)) for table in (routing.scores, routing.chosen, routing.weights))
    )
    for by in ("position", "affinity"):
        want = moe.drop_over_capacity(routing, 1.0, by).weights
        assert torch.equal(moe.drop_over_capacity(rows, 1.0, by).weights, want.view(3, 8, 2))


def test_room_for_all_drops_none_and_who_comes_first_never_hears_of_who_comes_later():
    routing = routing_of(30, 5, 2, seed=1)
    most = moe.expert_load(routing).max().item() / (30 * 2 / 5)
    assert torch.equal(moe.drop_over_capacity(routing, most + 0.01).weights, routing.weights)
    short = moe.Routing(routing.scores[:12], routing.chosen[:12], routing.weights[:12])
    by_position = moe.drop_over_capacity(routing, 1.0).weights
    # the same room of 12 for the first twelve alone
    alone = moe.drop_over_capacity(short, 2.5)
    assert torch.equal(by_position[:12], alone.weights)


def test_impossible_limits_are_refused_with_their_numbers():
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"factor {factor} must be"):
            moe.expert_capacity(8, 4, 2, factor)
    with pytest.raises(ValueError, match="by 'luck' is neither"):
        moe.drop_over_capacity(routing_of(8, 4, 2, seed=0), 1.0, "luck")


@pytest.mark.parametrize("loss", [
    moe.device_balance_loss,
    lambda routing, n: moe.communication_balance_loss(routing, n, n_limited_groups=1),
])  # fmt: skip
def test_devices_that_do_not_divide_the_experts_are_refused_with_their_numbers(loss):
    with pytest.raises(ValueError, match="^n_experts 6 is not divisible by n_groups 4$"):
        loss(routing_of(8, 6, 2, seed=0), 4)


def test_more_chosen_than_the_allowed_devices_hold_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match="^n_chosen 3 is more than the 2 experts of 1 groups$"):
        moe.communication_balance_loss(routing_of(8, 6, 3, seed=0), 3, 1)
    with pytest.raises(ValueError, match="^n_limited_groups 0 is not between 1 and n_groups 3$"):
        moe.communication_balance_loss(routing_of(8, 6, 3, seed=0), 3, 0)


# ---- the gradient of the router ------------------------------------------------------------------


def routed_output(router, experts):
    """A layer's output as a function of the router's weight, in float64."""
    x = torch.randn(6, 5, dtype=torch.double, generator=torch.Generator().manual_seed(3))

    def output(weight):
        routing = torch.func.functional_call(router, {"weight": weight}, (x,))
        return moe.experts_by_loop(x, routing.chosen, routing.weights, *experts)

    return output


@pytest.mark.parametrize(
    ("router", "n_chosen"), [(moe.SoftmaxRouter, 1), (moe.SoftmaxRouter, 3), (moe.SigmoidRouter, 2)]
)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_the_gradient_of_the_output_reaches_the_router(router, n_chosen, seed):
    torch.manual_seed(seed)
    gate = router(5, 4, n_chosen).double()
    experts = torch.randn(4, 6, 5).double(), torch.randn(4, 5, 3).double()
    weight = gate.weight.detach().requires_grad_()
    output = routed_output(gate, experts)
    (slope,) = torch.autograd.grad((output(weight) ** 2).sum(), weight)
    assert slope.abs().max() > 1e-6
    step = torch.randn_like(weight)  # a finite difference; too small to change a choice
    ahead, behind = ((output(weight + sign * 1e-7 * step) ** 2).sum() for sign in (1, -1))
    torch.testing.assert_close((ahead - behind) / 2e-7, (slope * step).sum(), rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_weights_divided_by_their_sum_teach_a_router_of_one_choice_nothing(seed):
    torch.manual_seed(seed)
    gate = moe.SigmoidRouter(5, 4, n_chosen=1).double()
    routing = gate(torch.randn(6, 5, dtype=torch.double))
    torch.testing.assert_close(routing.weights, torch.ones(6, 1).double())
    (slope,) = torch.autograd.grad(routing.weights.sum(), gate.weight)
    assert slope.abs().max() < 1e-12


# ---- upcycling -----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    n_experts=st.integers(2, 6),
    data=st.data(),
    d_ff=st.sampled_from([3, 8]),
    seed=st.integers(0, 99),
)
def test_a_network_made_into_experts_says_what_it_said(n_experts, data, d_ff, seed):
    torch.manual_seed(seed)
    n_chosen = data.draw(st.integers(2, n_experts))
    mlp, router = SwiGLU(8, d_ff), moe.SigmoidRouter(8, n_experts, n_chosen)
    router.bias.normal_()
    layer, x = moe.upcycle_mlp(mlp, router), torch.randn(3, 7, 8)
    torch.testing.assert_close(layer(x), mlp(x), rtol=1e-5, atol=1e-6)
    mlp.up.weight.data.zero_()  # copies, not views
    assert layer(x).abs().max() > 0


def test_a_model_made_into_experts_says_what_it_said_and_learns_apart():
    torch.manual_seed(0)
    dense = Llama(LlamaSettings(50, 16, d_model=16, n_layers=3, n_heads=2, d_ff=24))
    model, ids = upcycle_model(dense, n_experts=4, n_chosen=2), torch.randint(50, (2, 16))
    torch.testing.assert_close(model(ids), dense(ids), rtol=1e-5, atol=1e-6)
    assert isinstance(model.blocks[0].mlp, SwiGLU) and isinstance(dense.blocks[1].mlp, SwiGLU)
    one_more = 3 * 16 * 24 + 4 * 16  # a second expert at work, and the router
    assert count_active_parameters(model) == count_active_parameters(dense) + 2 * one_more
    before = dense(ids)
    model(ids).square().sum().backward()
    gradients = model.blocks[1].mlp.experts.down.grad
    assert not torch.allclose(gradients[0], gradients[1])
    for parameter in model.parameters():
        parameter.data += 1.0
    assert torch.equal(dense(ids), before)


def test_routers_whose_weights_do_not_add_up_to_1_are_refused():
    mlp = SwiGLU(8, 4)
    with pytest.raises(TypeError, match="the weights of SoftmaxRouter do not add up to 1"):
        moe.upcycle_mlp(mlp, moe.SoftmaxRouter(8, 4, 2))
    with pytest.raises(ValueError, match=r"scale 2\.5 must be 1, and n_chosen 2 at least 2"):
        moe.upcycle_mlp(mlp, moe.SigmoidRouter(8, 4, 2, scale=2.5))
    with pytest.raises(ValueError, match=r"scale 1\.0 must be 1, and n_chosen 1 at least 2"):
        moe.upcycle_mlp(mlp, moe.SigmoidRouter(8, 4, 1))
    with pytest.raises(ValueError, match="a router for 4 experts and d_model 9"):
        moe.upcycle_mlp(mlp, moe.SigmoidRouter(9, 4, 2))
