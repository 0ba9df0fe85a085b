"""V4's ways to route and its clamped experts, against the rules by hand and the released class."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.layers import moe
from course_lib.layers.expert_parallel import ParallelExperts
from course_lib.layers.mlp import ClampedSwiGLU
from course_lib.layers.moe import experts as working

TABLE = moe.random_hash_table(3, 5, 2)


def unchecked(function):
    """Give the function as it runs outside of the tests, where nothing checks shapes."""
    return getattr(function, "__wrapped__", function)


def test_sqrt_softplus_routing_equals_the_rule_by_hand():
    torch.manual_seed(0)
    logits, bias = 3 * torch.randn(50, 7).double(), torch.randn(7).double()
    routing = moe.route_sqrt_softplus(logits, bias, n_chosen=3, scale=1.5)
    for row, chosen, weights in zip(logits, routing.chosen, routing.weights, strict=True):
        scores = [(1 + z.exp()).log().sqrt() for z in row]
        ranked = sorted(range(7), key=lambda e: -(scores[e] + bias[e]))[:3]
        assert chosen.tolist() == ranked
        total = sum(scores[e] for e in ranked)
        want = torch.stack([1.5 * scores[e] / total for e in ranked])
        torch.testing.assert_close(weights, want)


def test_the_bias_of_v4_chooses_and_weighs_nothing():
    logits = torch.randn(20, 6)
    plain = moe.route_sqrt_softplus(logits, torch.zeros(6), 2)
    same = moe.route_sqrt_softplus(logits, torch.full((6,), 0.7), 2)
    assert torch.equal(plain.chosen, same.chosen) and torch.equal(plain.weights, same.weights)
    pushed = moe.route_sqrt_softplus(logits, 99.0 * (torch.arange(6) == 4), 2)
    assert (pushed.chosen == 4).any(-1).all()
    torch.testing.assert_close(pushed.weights.sum(-1), torch.ones(20))


def test_a_table_chooses_and_the_gate_weighs():
    torch.manual_seed(0)
    table = moe.random_hash_table(11, n_experts=5, n_chosen=2)
    router = moe.HashRouter(8, 5, table, scale=2.5)
    ids, x = torch.randint(11, (3, 4)), torch.randn(3, 4, 8)
    routing = router(x, ids)
    assert torch.equal(routing.chosen, table[ids])
    affinity = F.softplus(x @ router.weight.T).sqrt()
    for b in range(3):
        for t in range(4):
            picked = affinity[b, t, table[ids[b, t]]]
            torch.testing.assert_close(routing.weights[b, t], 2.5 * picked / picked.sum())
    routing.weights[..., 0].sum().backward()
    assert router.weight.grad.any()  # learned, though it chooses nothing


def test_random_tables_are_distinct_and_the_same_for_a_seed():
    table = moe.random_hash_table(500, n_experts=6, n_chosen=3, seed=1)
    moe.check_hash_table(table, 6)
    assert torch.equal(table, moe.random_hash_table(500, 6, 3, seed=1))
    assert not torch.equal(table, moe.random_hash_table(500, 6, 3, seed=2))
    assert torch.bincount(table.flatten()).min() > 200  # of 250


def test_balanced_tables_even_out_frequencies_that_random_ones_do_not():
    counts = (10_000 / torch.arange(1, 301)).long()  # Zipf
    uneven = []
    for table in (moe.balanced_hash_table(counts, 8, 2), moe.random_hash_table(300, 8, 2)):
        moe.check_hash_table(table, 8)
        load = torch.zeros(8).double()
        load.index_add_(0, table.flatten(), counts.repeat_interleave(2).double())
        uneven.append((load.std(correction=0) / load.mean()).item())
    # the most frequent token alone is more than a fair load of its two experts
    fair = 2 * counts.sum() / 8
    assert counts[0] < fair and uneven[0] < 0.002 < 0.1 < uneven[1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[0, 1], [0, 0]], r"token 1 goes to the experts \[0, 0\]: they must be distinct, .* 1 of"),
        ([[0, 0], [0, 0]], r"token 0 goes to the experts \[0, 0\].* 2 of 2 tokens"),
        ([[0, 5]], "expert 5 or 0 of 5"),
        ([[0.5, 1.0]], r"table of shape \(1, 2\) and torch.float32"),
        ([], r"table of shape \(0,\)"),
        ([0, 1], r"table of shape \(2,\)"),
        ([[-1, 2]], "expert 2 or -1 of 5"),
        ([[0, 1, 2, 3, 4, 0]], "n_chosen 6 is not between 1 and n_experts 5"),
    ],
)
def test_tables_that_repeat_an_expert_or_name_none_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        unchecked(moe.check_hash_table)(torch.tensor(table), 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moe.random_hash_table(0, 4, 2), "vocab_size 0 must be at least 1"),
        (lambda: moe.balanced_hash_table(torch.tensor([]), 4, 2), r"shape \(0,\)"),
        (lambda: moe.balanced_hash_table(torch.tensor([3, -1]), 4, 2), r"as \[3, -1\]"),
        (lambda: moe.balanced_hash_table(torch.tensor([torch.nan]), 4, 2), r"as \[nan\]"),
        (
            lambda: unchecked(moe.route_by_table)(torch.zeros(3, 5), torch.tensor([0, 1]), TABLE),
            r"ids of shape \(2,\) for logits of shape \(3, 5\)",
        ),
        (lambda: moe.route_by_table(torch.zeros(1, 5), torch.tensor([-1]), TABLE), "token -1"),
        (lambda: moe.route_by_table(torch.zeros(1, 5), torch.tensor([3]), TABLE), "token 3"),
        (lambda: moe.HashRouter(0, 5, TABLE), "d_model 0 must be at least 1"),
        (lambda: moe.HashRouter(8, 5, TABLE, 0.0), "scale 0.0 must be a number above 0"),
        (lambda: moe.SqrtSoftplusRouter(8, 5, 2, torch.nan), "scale nan must be a number above 0"),
    ],
)
def test_what_no_table_or_router_can_do_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_table_of_zeros_in_a_file_is_refused():
    router = moe.HashRouter(8, 5, moe.random_hash_table(3, 5, 2))
    weights = router.state_dict() | {"table": torch.zeros(3, 2, dtype=torch.long)}
    with pytest.raises(ValueError, match="must be distinct"):
        router.load_state_dict(weights)
    router.load_state_dict(moe.HashRouter(8, 5, moe.random_hash_table(3, 5, 2, 7)).state_dict())
    assert torch.equal(router.table, moe.random_hash_table(3, 5, 2, 7))


def clamped_layer(limit=0.5, n_shared=1):
    torch.manual_seed(0)
    router = moe.SqrtSoftplusRouter(8, 6, 2, scale=1.5)
    layer = moe.MoE(router, 8, 4, n_experts=6, n_shared=n_shared, swiglu_limit=limit)
    for parameter in layer.parameters():
        parameter.data.normal_()
    return layer


@pytest.mark.parametrize("few", [0, 2**60])  # sorted, or all experts
@pytest.mark.parametrize("N", [1, 40])
def test_clamped_experts_equal_the_formula_however_they_are_computed(N, few, monkeypatch):
    monkeypatch.setattr(working, "DENSE_BELOW", few)
    layer, x = clamped_layer(), torch.randn(N, 8)
    got, routing, want = layer(x), layer.routing, torch.zeros(N, 8)
    glu = lambda gate, up: F.silu(gate.clamp(max=0.5)) * up.clamp(-0.5, 0.5)  # noqa: E731
    for t in range(N):
        for e, weight in zip(routing.chosen[t], routing.weights[t], strict=True):
            gate, up = layer.experts.gate_up[e].split(4)
            want[t] += weight * (layer.experts.down[e] @ glu(gate @ x[t], up @ x[t]))
    shared = layer.shared
    want += shared.down(glu(shared.gate(x), shared.up(x)))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert (got - clamped_layer(limit=None)(x)).abs().max() > 0.1


def test_the_gate_is_cut_off_above_only():
    mlp = ClampedSwiGLU(1, 1, limit=2.0)
    for part in (mlp.gate, mlp.up, mlp.down):
        part.weight.data.fill_(1.0)
    x = torch.tensor([[-3.0], [3.0]])
    silu = torch.nn.functional.silu
    want = torch.tensor([[-2.0 * silu(torch.tensor(-3.0))], [2.0 * silu(torch.tensor(2.0))]])
    torch.testing.assert_close(mlp(x), want)


def test_clamped_experts_are_not_spread_over_processes():
    with pytest.raises(ValueError, match="experts clamped at 0.5 cannot be spread"):
        ParallelExperts(clamped_layer().experts)


def test_a_hash_layer_is_told_the_tokens():
    torch.manual_seed(0)
    router = moe.HashRouter(8, 6, moe.random_hash_table(9, 6, 2))
    layer = moe.MoE(router, 8, 4, n_experts=6, n_shared=1, swiglu_limit=10.0)
    ids = torch.randint(9, (2, 5))
    layer(torch.randn(2, 5, 8), ids)
    assert torch.equal(layer.routing.chosen, router.table[ids])
