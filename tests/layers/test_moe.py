"""Mixture of experts against the formulas, token by token, and against what must hold for any
routing."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.layers import moe
from course_lib.layers.mlp import SwiGLU
from course_lib.layers.moe import experts as working

WAYS = [moe.experts_by_loop, moe.experts_sorted, moe.experts_dense]


@st.composite
def choices(draw):
    """Numbers of experts, chosen ones, groups, and groups a token may visit, that go together."""
    n_groups = draw(st.integers(1, 5))
    n_limited_groups = draw(st.integers(1, n_groups))
    per_group = draw(st.integers(1, 5))
    n_chosen = draw(st.integers(1, n_limited_groups * per_group))
    return n_groups * per_group, n_chosen, n_groups, n_limited_groups


@st.composite
def sizes(draw):
    """Numbers of tokens, experts and chosen ones, and two widths: whole 16 bytes or not."""
    n_experts = draw(st.integers(1, 9))
    widths = st.sampled_from([(8, 4), (4, 12), (5, 8), (8, 3), (1, 1)])
    return draw(st.integers(0, 30)), n_experts, draw(st.integers(1, n_experts)), *draw(widths)


def visits(N, E, K, C, F, seed=0, skew=2.0, dtype=torch.float):
    """Random tokens, choices (uneven by `skew`), weights and experts."""
    rng = torch.Generator().manual_seed(seed)
    chosen = (torch.rand(N, E, generator=rng) + skew * torch.rand(E, generator=rng)).topk(K).indices
    shapes = [(N, C), (N, K), (E, 2 * F, C), (E, C, F)]
    x, weights, gate_up, down = (
        torch.randn(*shape, generator=rng, dtype=dtype) / 2 for shape in shapes
    )
    return x, chosen, weights, gate_up, down


def by_token(x, chosen, weights, gate_up, down):
    """One token and one expert at a time, from the formula."""
    rows = []
    for token, experts, counts in zip(x, chosen.tolist(), weights, strict=True):
        row = torch.zeros_like(token)
        for expert, count in zip(experts, counts, strict=True):
            gate, up = gate_up[expert].split(gate_up.shape[1] // 2)
            row = row + count * (down[expert] @ (F.silu(gate @ token) * (up @ token)))
        rows.append(row)
    return torch.stack(rows) if rows else x * 1


def with_gradients(way, x, chosen, *parameters):
    """Output and the gradients by everything but the choice."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, *parameters)]
    out = way(leaves[0], chosen, *leaves[1:])
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return [
        out.detach(),
        *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves),
    ]


# ---- experts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None)
@given(sizes=sizes(), skew=st.sampled_from([0.0, 2.0, 20.0]), seed=st.integers(0, 99))
def test_every_way_equals_the_formula_token_by_token(way, sizes, skew, seed):
    given_ = visits(*sizes, seed=seed, skew=skew)
    exact = [tensor.double() if tensor.is_floating_point() else tensor for tensor in given_]
    for got, want in zip(
        with_gradients(way, *given_), with_gradients(by_token, *exact), strict=True
    ):
        # float32 adds up in another order: by its rounding, relative to the largest number
        largest = want.abs().max().item() if want.numel() else 1.0
        torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-6 * max(1.0, largest))


@settings(max_examples=60, deadline=None)
@given(sizes=sizes(), seed=st.integers(0, 99))
def test_a_single_tokens_experts_side_by_side_equal_the_formula(sizes, seed):
    given_ = visits(1, *sizes[1:], seed=seed)
    exact = [tensor.double() if tensor.is_floating_point() else tensor for tensor in given_]
    for got, want in zip(
        with_gradients(moe.experts_gathered, *given_), with_gradients(by_token, *exact), strict=True
    ):
        largest = want.abs().max().item()
        torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-6 * max(1.0, largest))


@pytest.mark.parametrize("way", [*WAYS, moe.experts_gathered])
def test_gradients_equal_finite_differences(way):
    N = 1 if way is moe.experts_gathered else 5
    x, chosen, *parameters = visits(N, E=4, K=2, C=3, F=2, dtype=torch.double)
    leaves = [tensor.requires_grad_() for tensor in (x, *parameters)]
    assert torch.autograd.gradcheck(lambda x, *rest: way(x, chosen, *rest), leaves)


@pytest.mark.parametrize(("C", "F", "dtype", "grouped"), [
    (8, 4, torch.float, True), (4, 8, torch.float, True),
    (8, 8, torch.bfloat16, True), (16, 8, torch.half, True),
    (6, 4, torch.float, False), (8, 3, torch.float, False),
    (4, 4, torch.bfloat16, False), (8, 8, torch.double, False),
])  # fmt: skip
def test_torchs_grouped_product_does_the_sizes_it_can(C, F, dtype, grouped, monkeypatch):
    calls, torchs = [], working.F.grouped_mm
    monkeypatch.setattr(
        working.F, "grouped_mm", lambda *args, **more: calls.append(1) or torchs(*args, **more)
    )
    given_ = visits(N=20, E=5, K=2, C=C, F=F, dtype=dtype)
    fast = with_gradients(moe.experts_sorted, *given_)
    assert bool(calls) == grouped
    monkeypatch.delattr(working.F, "grouped_mm")  # as in a torch that has none
    for got, want in zip(fast, with_gradients(moe.experts_sorted, *given_), strict=True):
        torch.testing.assert_close(got, want)


def test_an_expert_without_tokens_has_gradient_zero():
    x, _, weights, gate_up, down = visits(N=64, E=6, K=2, C=8, F=8)
    for _ in range(20):  # memory just freed and full of other numbers
        chosen = torch.rand(64, 6).topk(2).indices.clamp(max=3)
        _, _, _, by_gate_up, by_down = with_gradients(
            moe.experts_sorted, x, chosen, weights, gate_up, down
        )
        assert not by_gate_up[4:].any() and not by_down[4:].any()
        assert by_gate_up[:4].any(-1).any(-1).all()


def test_a_plain_sum_goes_back_through_the_grouped_product():
    x, chosen, weights, gate_up, down = visits(N=10, E=3, K=1, C=8, F=8)
    moe.experts_sorted(
        x, chosen, weights, gate_up.requires_grad_(), down
    ).sum().backward()  # a gradient of stride 0
    assert gate_up.grad.any()


LAYOUTS = {  # the same numbers, lying otherwise in memory
    "as made": lambda table: table,
    "columns first": lambda table: table.mT.contiguous().mT,
    "cut from a wider table": lambda table: F.pad(table, (0, 1))[..., :-1],
    "cut behind its start": lambda table: F.pad(table, (1, 0))[..., 1:],
}


@pytest.mark.parametrize("M", [0, 1, 2, 9])
@pytest.mark.parametrize("E", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float, torch.bfloat16, torch.half, torch.double])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_groups_of_any_layout_are_multiplied_as_by_a_loop_both_ways(M, E, dtype, layout):
    rng = torch.Generator().manual_seed(0)
    rows, matrices, slopes = (
        torch.randn(*s, generator=rng).to(dtype) for s in [(M, 8), (E, 16, 8), (M, 16)]
    )
    ends = torch.randint(M + 1, (E,), generator=rng).sort().values
    ends[-1] = M
    leaves = [part.requires_grad_() for part in (rows, matrices)]
    out = moe.grouped_matmul(*map(layout, leaves), ends)
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    want = products_one_by_one(*wide, ends)
    for got, exact in zip(
        (out, *torch.autograd.grad(out, leaves, layout(slopes))),
        (want, *torch.autograd.grad(want, wide, slopes.double())),
        strict=True,
    ):
        assert got.dtype == dtype
        torch.testing.assert_close(got, exact.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)


def products_one_by_one(rows, matrices, ends):
    owner = torch.searchsorted(ends, torch.arange(len(rows)), right=True)
    return torch.einsum("mi,moi->mo", rows, matrices[owner])


@pytest.mark.parametrize("M", [0, 1, 6])
def test_expanded_rows_matrices_and_slopes_are_multiplied_too(M):
    row, matrix, ends = torch.randn(1, 8), torch.randn(1, 16, 8), torch.tensor([M // 2, M // 2, M])
    leaves = [row.requires_grad_(), matrix.requires_grad_()]
    for reduce in (torch.sum, torch.mean) if M else (torch.sum,):
        out = moe.grouped_matmul(row.expand(M, 8), matrix.expand(3, 16, 8), ends)
        want = (row @ matrix[0].T).expand(M, 16)
        torch.testing.assert_close(out, want)
        slopes = [
            torch.autograd.grad(reduce(table), leaves, retain_graph=True) for table in (out, want)
        ]
        for got, wanted in zip(*slopes, strict=True):
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("N", [0, 1, 5])
@pytest.mark.parametrize("way", WAYS)
def test_no_token_and_one_token_go_back_as_through_the_loop(way, N):
    x, chosen, *parameters = visits(N=N, E=4, K=2, C=8, F=8)
    for got, want in zip(
        with_gradients(way, x, chosen, *parameters),
        with_gradients(moe.experts_by_loop, x, chosen, *parameters),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8), (40, 8), (2, 7, 8), (2, 3, 5, 8), (0, 8), (3, 0, 8)])
@pytest.mark.parametrize("few", [0, 2**60])
def test_the_module_keeps_the_shape_and_equals_the_loop_however_many_tokens(
    shape, few, monkeypatch
):
    torch.manual_seed(0)
    monkeypatch.setattr(working, "DENSE_BELOW", few)
    layer, router, x = moe.Experts(6, 8, 4), moe.SoftmaxRouter(8, 6, 2), torch.randn(shape)
    routing = router(x)
    flat = (table.flatten(0, -2) for table in (x, routing.chosen, routing.weights))
    want = moe.experts_by_loop(*flat, layer.gate_up, layer.down)
    torch.testing.assert_close(layer(x, routing), want.view(shape), rtol=1e-6, atol=1e-6)


def test_one_token_is_gathered_for_few_visit_all_experts_and_many_are_sorted(monkeypatch):
    ways = []
    for way in ("gathered", "dense", "sorted"):
        noted = lambda *args, way=way: ways.append(way) or args[0]  # noqa: E731
        monkeypatch.setattr(working, f"experts_{way}", noted)
    layer, router = moe.Experts(8, 64, 56), moe.SoftmaxRouter(64, 8, 2)
    for n_tokens in (0, 1, 16, 64, 4096):
        x = torch.zeros(n_tokens, 64)
        layer(x, router(x))
    assert ways == ["dense", "gathered", "dense", "sorted", "sorted"]
    layer, router = moe.Experts(2, 512, 352), moe.SoftmaxRouter(512, 2, 2)
    x = torch.zeros(1, 512)
    layer(x, router(x))  # its two experts have 1.08 million numbers: too many to copy
    layer(x.expand(3, -1), router(x.expand(3, -1)))
    assert ways[5:] == ["dense", "sorted"]


# ---- routing -------------------------------------------------------------------------------------


def chosen_by_hand(ranking, n_chosen, n_groups, n_limited_groups, n_best):
    """The best experts of the best groups, by sorting lists."""
    size = len(ranking) // n_groups
    groups = [list(range(g * size, g * size + size)) for g in range(n_groups)]
    best = [sum(sorted((ranking[e] for e in group), reverse=True)[:n_best]) for group in groups]
    kept = sorted(range(n_groups), key=lambda g: -best[g])[:n_limited_groups]
    return sorted((e for g in kept for e in groups[g]), key=lambda e: -ranking[e])[:n_chosen]


@settings(max_examples=150, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999), scale=st.sampled_from([1.0, 2.5, 16.0]))
def test_softmax_routing_equals_the_rule_by_hand(choice, seed, scale):
    n_experts, *rest = choice
    logits = 3 * torch.randn(4, n_experts, generator=torch.Generator().manual_seed(seed))
    routing = moe.route_softmax(logits, *rest, scale)
    for row, chosen, weights in zip(logits, routing.chosen.tolist(), routing.weights, strict=True):
        shares = row.exp() / row.exp().sum()
        assert chosen == chosen_by_hand(shares.tolist(), *rest, n_best=1)
        torch.testing.assert_close(weights, scale * shares[chosen])


@settings(max_examples=150, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999), scale=st.sampled_from([1.0, 2.5]))
def test_sigmoid_routing_equals_the_rule_by_hand(choice, seed, scale):
    n_experts, *rest = choice
    rng = torch.Generator().manual_seed(seed)
    logits, bias = (
        2 * torch.randn(4, n_experts, generator=rng),
        torch.randn(n_experts, generator=rng),
    )
    routing = moe.route_sigmoid(logits, bias, *rest, scale)
    for row, chosen, weights in zip(logits, routing.chosen.tolist(), routing.weights, strict=True):
        scores = 1 / (1 + (-row).exp())
        assert chosen == chosen_by_hand((scores + bias).tolist(), *rest, n_best=2)
        torch.testing.assert_close(weights, scale * scores[chosen] / scores[chosen].sum())


def both_ways(logits, bias, choice, scale=1.0):
    _, *rest = choice
    return [moe.route_softmax(logits, *rest, scale), moe.route_sigmoid(logits, bias, *rest, scale)]


@settings(max_examples=100, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999), spread=st.sampled_from([0.0, 1.0, 30.0, 300.0]))
def test_distinct_experts_of_few_groups_with_weights_that_add_up(choice, seed, spread):
    """Also where affinities are all equal, or so far apart that they are 0 or 1 in float32."""
    n_experts, n_chosen, n_groups, n_limited_groups = choice
    rng = torch.Generator().manual_seed(seed)
    logits, bias = (
        spread * torch.randn(3, 5, n_experts, generator=rng),
        torch.randn(n_experts, generator=rng),
    )
    for routing in both_ways(logits, bias, choice, scale=2.5):
        assert routing.chosen.shape == routing.weights.shape == (3, 5, n_chosen)
        for chosen in routing.chosen.flatten(0, 1).tolist():
            assert len(set(chosen)) == n_chosen
            assert len({expert * n_groups // n_experts for expert in chosen}) <= n_limited_groups
        assert (routing.weights >= 0).all() and routing.weights.isfinite().all()
        assert (routing.weights.sum(-1) <= 2.5001).all()
    if spread <= 1:
        # sigmoid: normalised
        torch.testing.assert_close(routing.weights.sum(-1), torch.full((3, 5), 2.5))


@settings(max_examples=100, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999), size=st.sampled_from([0.01, 0.1, 1.0]))
def test_the_bias_changes_no_weight_of_an_unchanged_selection(choice, seed, size):
    n_experts, *rest = choice
    rng = torch.Generator().manual_seed(seed)
    logits, bias = (
        torch.randn(20, n_experts, generator=rng),
        size * torch.randn(n_experts, generator=rng),
    )
    before, after = (moe.route_sigmoid(logits, b, *rest) for b in (torch.zeros(n_experts), bias))
    assert torch.equal(before.scores, after.scores)
    order = [routing.chosen.argsort(-1) for routing in (before, after)]
    same = (before.chosen.gather(-1, order[0]) == after.chosen.gather(-1, order[1])).all(-1)
    weights = [
        routing.weights.gather(-1, o)[same]
        for routing, o in zip((before, after), order, strict=True)
    ]
    torch.testing.assert_close(*weights, rtol=1e-6, atol=0)  # the sum may run in another order


@settings(max_examples=50, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999), shift=st.sampled_from([-3.0, 0.5, 8.0]))
def test_the_same_bias_for_all_experts_changes_nothing(choice, seed, shift):
    n_experts, *rest = choice
    logits = torch.randn(
        20, n_experts, generator=torch.Generator().manual_seed(seed), dtype=torch.double
    )
    flat = moe.route_sigmoid(logits, torch.zeros(n_experts, dtype=torch.double), *rest)
    lifted = moe.route_sigmoid(logits, torch.full((n_experts,), shift, dtype=torch.double), *rest)
    assert torch.equal(flat.chosen, lifted.chosen) and torch.equal(flat.weights, lifted.weights)


def test_no_gradient_reaches_the_bias_and_a_large_one_decides():
    logits, bias = torch.randn(10, 6, requires_grad=True), torch.zeros(6, requires_grad=True)
    routing = moe.route_sigmoid(logits, bias, n_chosen=2)
    by_logits, by_bias = torch.autograd.grad(
        routing.weights[:, 0].sum(), (logits, bias), allow_unused=True
    )
    assert by_bias is None and by_logits.any()
    pushed = moe.route_sigmoid(logits, torch.tensor([0, 0, 0, 9.0, 0, 0]), n_chosen=2)
    assert (pushed.chosen[:, 0] == 3).all()
    assert (pushed.weights[:, 0] < 1).all()


@pytest.mark.parametrize(("choice", "message"), [
    ((4, 5, 1, 1), "n_chosen 5 is not between 1 and n_experts 4"),
    ((4, 0, 1, 1), "n_chosen 0 is not between 1 and n_experts 4"),
    ((10, 2, 4, 2), "n_experts 10 is not divisible by n_groups 4"),
    ((8, 2, 0, 1), "n_experts 8 is not divisible by n_groups 0"),
    ((8, 2, 4, 5), "n_limited_groups 5 is not between 1 and n_groups 4"),
    ((8, 2, 4, 0), "n_limited_groups 0 is not between 1 and n_groups 4"),
    ((8, 5, 4, 2), "n_chosen 5 is more than the 4 experts of 2 groups"),
])  # fmt: skip
def test_impossible_choices_are_refused_with_their_numbers(choice, message):
    n_experts, *rest = choice
    for refused in (
        lambda: moe.SoftmaxRouter(16, *choice),
        lambda: moe.SigmoidRouter(16, *choice),
        lambda: moe.route_softmax(torch.zeros(3, n_experts), *rest),
        lambda: moe.route_sigmoid(torch.zeros(3, n_experts), torch.zeros(n_experts), *rest),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            refused()


# ---- balance -------------------------------------------------------------------------------------


def routing_of(chosen, scores=None, n_experts=None):
    """A routing with given choices; the scores default to equal shares."""
    chosen = torch.as_tensor(chosen)
    scores = (
        torch.full((*chosen.shape[:-1], n_experts), 1 / n_experts) if scores is None else scores
    )
    return moe.Routing(scores, chosen, scores.gather(-1, chosen))


def in_turn(n_tokens, n_experts, n_chosen):
    """Choices that go round all experts."""
    return torch.arange(n_tokens * n_chosen).view(n_tokens, n_chosen) % n_experts


@settings(max_examples=40, deadline=None)
@given(sizes=sizes(), seed=st.integers(0, 99))
def test_load_counts_every_visit(sizes, seed):
    N, E, K, *_ = sizes
    chosen = visits(*sizes, seed=seed)[1]
    load = moe.expert_load(routing_of(chosen, n_experts=E))
    assert load.tolist() == [sum(expert in row for row in chosen.tolist()) for expert in range(E)]
    assert load.sum() == N * K


def test_measures_of_imbalance():
    even, all_the_same = in_turn(12, 6, 2), torch.tensor([[0, 1]] * 12)
    assert moe.max_load_violation(moe.expert_load(routing_of(even, n_experts=6))) == 0
    collapsed = moe.expert_load(routing_of(all_the_same, n_experts=6))
    assert moe.max_load_violation(collapsed) == 6 / 2 - 1
    assert moe.dead_experts(collapsed).tolist() == [False, False, True, True, True, True]
    # fair: 100
    assert moe.dead_experts(torch.tensor([9, 10, 11, 370])).tolist() == [True, False, False, False]
    assert moe.dead_experts(torch.tensor([9, 10, 11, 370]), share=0.105).sum() == 2
    with pytest.raises(ValueError, match="no token has visited any of the 6 experts"):
        moe.max_load_violation(torch.zeros(6))


@settings(max_examples=40, deadline=None)
@given(E=st.integers(1, 6), turns=st.integers(1, 3), seed=st.integers(0, 99))
def test_even_load_costs_one_whatever_the_scores(E, turns, seed):
    n_groups, n_experts = 2, 2 * E
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(turns * n_experts, n_experts, generator=rng).softmax(-1)
    each_once = routing_of(in_turn(turns * n_experts, n_experts, 1), scores)
    one = torch.tensor(1.0)
    torch.testing.assert_close(moe.expert_balance_loss(each_once), one)
    torch.testing.assert_close(moe.device_balance_loss(each_once, n_groups), one)
    torch.testing.assert_close(moe.communication_balance_loss(each_once, n_groups, 1), one)
    # one on each device
    both = torch.stack([torch.arange(n_experts) % E, E + torch.arange(n_experts) % E], -1)
    torch.testing.assert_close(
        moe.communication_balance_loss(routing_of(both, scores[:n_experts]), n_groups, 2), one
    )


def test_even_sequences_cost_one_and_the_mean_is_taken_over_sequences():
    even = torch.eye(4).repeat(2, 1)[None] + 0.1  # each of four experts is best for two tokens
    uneven = torch.tensor([[0.7, 0.1, 0.1, 0.1]]).repeat(8, 1)[None]
    one_by_one = [
        moe.sequence_balance_loss(routing_of(s.topk(1).indices, s)).item() for s in (even, uneven)
    ]
    assert one_by_one == pytest.approx([1.0, 2.8])  # 4 * 0.7
    both = torch.cat([even, uneven])
    together = moe.sequence_balance_loss(routing_of(both.topk(1).indices, both))
    assert together.item() == pytest.approx(1.9)


@settings(max_examples=60, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999), spread=st.sampled_from([0.1, 1.0, 10.0]))
def test_losses_equal_the_equations_by_loop_and_stay_below_collapse(choice, seed, spread):
    E, K, D, M = choice
    T, size = 7, E // D
    rng = torch.Generator().manual_seed(seed)
    routing = moe.route_softmax(spread * torch.randn(T, E, generator=rng), K, D, M)
    chosen, scores = routing.chosen.tolist(), routing.scores.double()
    f = [E / (K * T) * sum(i in row for row in chosen) for i in range(E)]
    P = [scores[:, i].mean().item() for i in range(E)]
    groups = [range(d * size, d * size + size) for d in range(D)]
    f_device = [sum(f[i] for i in group) / size for group in groups]
    f_sent = [D / (M * T) * sum(any(i in row for i in group) for row in chosen) for group in groups]
    P_device = [sum(P[i] for i in group) for group in groups]
    wanted = [(moe.expert_balance_loss(routing), f, P, E / K)]
    wanted += [(moe.device_balance_loss(routing, D), f_device, P_device, min(D, E / K))]
    wanted += [(moe.communication_balance_loss(routing, D, M), f_sent, P_device, D / M)]
    for got, fs, Ps, most in wanted:
        assert got.item() == pytest.approx(
            sum(a * b for a, b in zip(fs, Ps, strict=True)), abs=1e-5
        )
        assert got.item() <= most + 1e-5


@settings(max_examples=40, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999))
def test_losses_count_each_sequence_alone_or_the_batch_as_one(choice, seed):
    """Over sequences: the mean of what each gives alone, as in the paper. Over the batch: all
    tokens in one row."""
    E, K, D, M = choice
    rng = torch.Generator().manual_seed(seed)
    routing = moe.route_softmax(2 * torch.randn(3, 5, E, generator=rng), K, D, M)
    alone = [
        moe.Routing(*tables)
        for tables in zip(routing.scores, routing.chosen, routing.weights, strict=True)
    ]
    joined = moe.Routing(
        routing.scores.flatten(0, 1), routing.chosen.flatten(0, 1), routing.weights.flatten(0, 1)
    )
    for loss, numbers in (
        (moe.expert_balance_loss, ()),
        (moe.device_balance_loss, (D,)),
        (moe.communication_balance_loss, (D, M)),
    ):
        each = torch.stack([loss(routing, *numbers) for routing in alone])
        torch.testing.assert_close(loss(routing, *numbers, reduction="none"), each)
        torch.testing.assert_close(loss(routing, *numbers), each.mean())
        torch.testing.assert_close(loss(routing, *numbers, over="sequence"), each.mean())
        torch.testing.assert_close(loss(routing, *numbers, over="batch"), loss(joined, *numbers))


def test_two_one_sided_sequences_are_uneven_each_and_even_together():
    s = torch.tensor([[[0.9, 0.1]] * 4, [[0.1, 0.9]] * 4])
    routing = moe.route_softmax(s.log(), n_chosen=1)
    for loss in (
        moe.expert_balance_loss,
        lambda routing, **how: moe.device_balance_loss(routing, 2, **how),
    ):
        assert loss(routing).item() == pytest.approx(1.8)  # 2 * 0.9 in each
        assert loss(routing, over="batch").item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="over 'rows' is neither 'sequence' nor 'batch'"):
        moe.expert_balance_loss(routing, over="rows")
    with pytest.raises(ValueError, match="reduction 'sum' is neither"):
        moe.sequence_balance_loss(routing, reduction="sum")


@settings(max_examples=40, deadline=None)
@given(choice=choices(), seed=st.integers(0, 999))
def test_sequence_loss_equals_the_equations_by_loop(choice, seed):
    E, K, *_ = choice
    B, T = 3, 4
    rng = torch.Generator().manual_seed(seed)
    bias = torch.randn(E, generator=rng)  # f does not feel it
    routing = moe.route_sigmoid(torch.randn(B, T, E, generator=rng), bias, K)
    losses = []
    for s in routing.scores.double():
        best = [sorted(range(E), key=lambda i: -row[i])[:K] for row in s.tolist()]
        shares = s / s.sum(-1, keepdim=True)
        f = [E / (K * T) * sum(i in row for row in best) for i in range(E)]
        losses.append(sum(f[i] * shares[:, i].mean().item() for i in range(E)))
    assert moe.sequence_balance_loss(routing).item() == pytest.approx(sum(losses) / B, abs=1e-5)


def test_collapse_costs_most():
    """Eight experts on four devices, two chosen: everything goes to the first device."""
    logits = torch.tensor([50.0, 50, 0, 0, 0, 0, 0, 0]).repeat(2, 5, 1)
    routing = moe.route_softmax(logits, n_chosen=2)
    assert moe.expert_balance_loss(routing).item() == pytest.approx(4)  # E / K
    assert moe.sequence_balance_loss(routing).item() == pytest.approx(4)
    assert moe.device_balance_loss(routing, 4).item() == pytest.approx(4)  # D
    assert moe.communication_balance_loss(routing, 4, 2).item() == pytest.approx(2)  # D / M


def test_the_gradient_of_a_loss_is_the_load_and_flows_through_the_scores_alone():
    scores = torch.rand(6, 4).softmax(-1).requires_grad_()
    routing = moe.Routing(
        scores, torch.tensor([[0, 1], [0, 2], [0, 1], [0, 1], [0, 3], [0, 1]]), torch.rand(6, 2)
    )
    (gradient,) = torch.autograd.grad(moe.expert_balance_loss(routing), scores)
    f = torch.tensor([6, 4, 1, 1]) * 4 / (2 * 6)
    torch.testing.assert_close(gradient, (f / 6).expand(6, 4))


@pytest.mark.parametrize("loss", [
    moe.expert_balance_loss,
    lambda routing: moe.expert_balance_loss(routing) + moe.device_balance_loss(routing, 4),
    lambda routing: (
        moe.expert_balance_loss(routing) + moe.communication_balance_loss(routing, 4, 2)
    ),
    moe.sequence_balance_loss,
])  # fmt: skip
def test_following_a_loss_downhill_evens_the_load(loss):
    torch.manual_seed(0)
    router, x = moe.SoftmaxRouter(16, 8, 2), torch.randn(4, 64, 16) + 1
    optimizer = torch.optim.SGD(router.parameters(), lr=0.3)
    before = moe.max_load_violation(moe.expert_load(router(x)))
    for _ in range(200):
        optimizer.zero_grad()
        loss(router(x)).backward()
        optimizer.step()
    assert before > 0.8 and moe.max_load_violation(moe.expert_load(router(x))) < before / 3


@settings(max_examples=60, deadline=None)
@given(
    load=st.lists(st.integers(0, 50), min_size=1, max_size=9), speed=st.sampled_from([0.001, 0.1])
)
def test_the_bias_of_overloaded_experts_falls_and_of_underloaded_ones_rises(load, speed):
    bias = torch.linspace(-1, 1, len(load))
    before, mean = bias.tolist(), sum(load) / len(load)
    assert moe.update_bias(bias, torch.tensor(load), speed) is None
    for old, new, n in zip(before, bias.tolist(), load, strict=True):
        step = 0 if abs(n - mean) < 1e-9 else -speed if n > mean else speed
        assert new - old == pytest.approx(step, abs=1e-6)


def test_an_even_load_leaves_the_bias_alone():
    bias = torch.randn(7)
    before = bias.clone()
    for n_tokens in range(40):
        moe.update_bias(bias, torch.full((7,), n_tokens), speed=0.1)
    assert torch.equal(bias, before)


def test_the_bias_evens_the_load_while_weight_and_scores_stay():
    torch.manual_seed(0)
    router, x = moe.SigmoidRouter(16, 8, 2), torch.randn(512, 16) + 1
    before = router(x)
    assert moe.max_load_violation(moe.expert_load(before)) > 0.8
    for _ in range(200):
        moe.update_bias(router.bias, moe.expert_load(router(x)), speed=0.01)
    assert moe.max_load_violation(moe.expert_load(router(x))) < 0.15
    assert torch.equal(router(x).scores, before.scores)


# ---- the layer -----------------------------------------------------------------------------------

ROUTERS = [moe.SoftmaxRouter, moe.SigmoidRouter]


def layer_of(router, n_shared=1, seed=0, **choice):
    torch.manual_seed(seed)
    layer = moe.MoE(
        router(8, 6, 2, **choice), d_model=8, d_expert=4, n_experts=6, n_shared=n_shared
    )
    if router is moe.SigmoidRouter:
        layer.router.bias.normal_(std=0.2)
    return layer


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("n_shared", [0, 1, 3])
def test_the_layer_is_the_routed_experts_plus_the_shared_ones(router, n_shared):
    layer, x = (
        layer_of(router, n_shared, n_groups=3, n_limited_groups=2, scale=2.5),
        torch.randn(10, 8),
    )
    routing = layer.router(x)
    want = by_token(x, routing.chosen, routing.weights, layer.experts.gate_up, layer.experts.down)
    for shared in range(n_shared):  # one SwiGLU of n_shared * 4 hidden units is n_shared of 4
        part = SwiGLU(8, 4)
        mine = slice(4 * shared, 4 * shared + 4)
        part.gate.weight.data, part.up.weight.data = (
            layer.shared.gate.weight[mine],
            layer.shared.up.weight[mine],
        )
        part.down.weight.data = layer.shared.down.weight[:, mine]
        want = want + part(x)
    torch.testing.assert_close(layer(x), want, rtol=1e-5, atol=1e-6)
    assert sum(name.startswith("shared") for name, _ in layer.named_parameters()) == (
        3 if n_shared else 0
    )


def test_every_matrix_starts_as_wide_as_torch_starts_a_linear_layer():
    """Uniform between plus and minus one over the root of the width that it reads."""
    torch.manual_seed(0)
    router = moe.SigmoidRouter(400, 40, 2)
    layer = moe.MoE(router, d_model=400, d_expert=25, n_experts=40, n_shared=0)
    pairs = [
        (router.weight, torch.nn.Linear(400, 1000)),
        (layer.experts.gate_up, torch.nn.Linear(400, 1000)),
        (layer.experts.down, torch.nn.Linear(25, 1000)),
    ]
    for ours, theirs in pairs:
        for moment in (lambda w: w.abs().max(), torch.std):
            torch.testing.assert_close(moment(ours), moment(theirs.weight), rtol=0.02, atol=0)
        assert abs(ours.mean() / ours.std()) < 0.05


def test_experts_may_be_one_number_wide():
    layer, x = moe.MoE(moe.SoftmaxRouter(8, 6, 2), 8, 1, n_experts=6, n_shared=1), torch.randn(5, 8)
    routing = layer.router(x)
    routed = by_token(x, routing.chosen, routing.weights, *layer.experts.parameters())
    torch.testing.assert_close(layer(x), routed + layer.shared(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("router", ROUTERS)
@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(12)))
def test_tokens_in_another_order_give_the_outputs_in_that_order(router, order):
    layer, x = layer_of(router), torch.randn(12, 8)
    torch.testing.assert_close(layer(x[order]), layer(x)[order], rtol=1e-6, atol=1e-6)


def test_the_last_routing_is_kept_in_the_shape_of_the_batch():
    layer = layer_of(moe.SigmoidRouter)
    assert layer.routing is None
    layer(torch.randn(3, 5, 8))
    assert layer.routing.scores.shape == (3, 5, 6) and layer.routing.chosen.shape == (3, 5, 2)
    assert moe.expert_load(layer.routing).sum() == 3 * 5 * 2
    moe.sequence_balance_loss(layer.routing).backward()
    assert layer.router.weight.grad.any()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_layer_can_be_copied_after_a_forward_pass(again):
    layer, x = layer_of(moe.SigmoidRouter), torch.randn(3, 8)
    out = layer(x)
    twin = again(layer)
    assert twin.routing is None and layer.routing is not None
    assert torch.equal(twin(x), out)


def test_the_bias_is_saved_but_not_trained():
    layer = layer_of(moe.SigmoidRouter)
    assert set(layer.state_dict()) - {name for name, _ in layer.named_parameters()} == {
        "router.bias"
    }


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("d_expert", [4, 8])  # 8: rows of whole 16 bytes in bfloat16
@pytest.mark.parametrize("few", [0, 2**60])
def test_under_autocast_the_router_stays_in_float32(router, d_expert, few, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(working, "DENSE_BELOW", few)
    layer = moe.MoE(router(8, 6, 2), d_model=8, d_expert=d_expert, n_experts=6, n_shared=0)
    x = torch.randn(50, 8)
    plain, routing = layer(x), layer.routing
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert layer.routing.scores.dtype == layer.routing.weights.dtype == torch.float
    assert torch.equal(layer.routing.scores, routing.scores) and torch.equal(
        layer.routing.chosen, routing.chosen
    )
    # the experts did run in bfloat16
    assert out.dtype == torch.float and (out - plain).abs().max() > 1e-4
    torch.testing.assert_close(out, plain, rtol=0.02, atol=0.02)
    out.square().sum().backward()
    assert all(p.grad.dtype == torch.float and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.double])
@pytest.mark.parametrize("few", [0, 2**60])
def test_a_model_of_another_precision_keeps_it(dtype, few, monkeypatch):
    monkeypatch.setattr(working, "DENSE_BELOW", few)
    layer, x = layer_of(moe.SigmoidRouter), torch.randn(20, 8)
    want = layer(x)
    out = layer.to(dtype)(x.to(dtype))
    assert out.dtype == dtype and layer.routing.scores.dtype == torch.promote_types(
        dtype, torch.float
    )
    experts = layer.experts
    loop = moe.experts_by_loop(
        x.to(dtype), layer.routing.chosen, layer.routing.weights, experts.gate_up, experts.down
    )
    assert loop.dtype == dtype
    if dtype == torch.double:
        torch.testing.assert_close(out.float(), want, rtol=1e-5, atol=1e-5)


def test_sizes_that_do_not_fit_are_refused_with_their_numbers():
    router = moe.SoftmaxRouter(8, 6, 2)
    with pytest.raises(
        ValueError,
        match="a router for 6 experts and d_model 8 in a layer of 5 experts and d_model 8",
    ):
        moe.MoE(router, d_model=8, d_expert=4, n_experts=5, n_shared=1)
    with pytest.raises(ValueError, match="d_expert 4 is below 1 or n_shared -1 is negative"):
        moe.MoE(router, d_model=8, d_expert=4, n_experts=6, n_shared=-1)
