"""The checkers of lesson 20 accept right answers and name typical slips."""

import torch

from course_lib.lab.checks import mixture_of_experts as check
from course_lib.lab.solutions import mixture_of_experts as solutions
from course_lib.layers import moe
from course_lib.layers.mlp import SwiGLU
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


# Routing
# --------------------------------------------------------------------------------------------------


def gates(logits, n_chosen, normalise=False, dim=-1, largest=True):
    weights, chosen = logits.softmax(dim).topk(n_chosen, largest=largest)
    if normalise:
        weights = weights / weights.sum(-1, keepdim=True)
    return chosen, weights


def gates_over_the_chosen(logits, n_chosen, normalise=False):
    best, chosen = logits.topk(n_chosen)
    return chosen, best.softmax(-1)


def gates_by_sorting(logits, n_chosen, normalise=False):
    weights, order = logits.softmax(-1).sort(descending=True)
    weights, order = weights[:, :n_chosen], order[:, :n_chosen]
    return order, torch.nn.functional.normalize(weights, 1) if normalise else weights


def gates_sigmoid(logits, n_chosen, normalise=False):
    weights, chosen = logits.sigmoid().topk(n_chosen)
    return chosen, weights / weights.sum(-1, keepdim=True) if normalise else weights


def gates_of_logits(logits, n_chosen, normalise=False):
    weights, chosen = logits.topk(n_chosen)
    return chosen, weights / weights.sum(-1, keepdim=True) if normalise else weights


def gates_sorted_by_number(logits, n_chosen, normalise=False):
    chosen, weights = gates(logits, n_chosen, normalise)
    order = chosen.argsort(-1)
    return chosen.gather(-1, order), weights.gather(-1, order)


def gates_detached(logits, n_chosen, normalise=False):
    chosen, weights = gates(logits, n_chosen, normalise)
    return chosen, torch.tensor(weights.tolist())


# Mixing
# --------------------------------------------------------------------------------------------------


def mix_by_token(x, chosen, weights, experts):
    out = torch.zeros_like(x)
    for token in range(len(x)):
        for number, weight in zip(chosen[token].tolist(), weights[token], strict=True):
            out[token] += weight * experts[number](x[token : token + 1])[0]
    return out


def mix(x, chosen, weights, experts, overwrite=False, first=False, plain=False, mean=False):
    out = torch.zeros_like(x)
    for number, expert in enumerate(experts):
        token, slot = (chosen == number).nonzero(as_tuple=True)
        weight = weights[token, 0 if first else slot, None]
        weight = torch.ones_like(weight) if plain else weight
        weight = torch.full_like(weight, 1 / chosen.shape[1]) if mean else weight
        part = weight * expert(x[token])
        out[token] = part if overwrite else out[token] + part
    return out


def mix_all(x, chosen, weights, experts):
    full = torch.zeros(len(x), len(experts)).scatter(1, chosen, weights)
    return sum(full[:, n, None] * expert(x) for n, expert in enumerate(experts))


# Balance
# --------------------------------------------------------------------------------------------------


def loss(scores, chosen, factor=1.0, f=None, P=None):
    (n_tokens, n_experts), n_chosen = scores.shape, chosen.shape[1]
    counts = torch.zeros_like(scores).scatter(1, chosen, 1.0).sum(0)
    load = counts * n_experts / (n_chosen * n_tokens) if f is None else f(counts, scores, chosen)
    return factor * (load * (scores.mean(0) if P is None else P(counts, scores, chosen))).sum()


def loss_by_library(scores, chosen):
    weights = torch.ones_like(chosen, dtype=scores.dtype)
    return moe.expert_balance_loss(moe.Routing(scores, chosen, weights))


# Devices
# --------------------------------------------------------------------------------------------------


def allowed(scores, n_groups, n_limited, rank="amax"):
    groups = scores.view(len(scores), n_groups, -1)
    worth = getattr(groups, rank)(-1)
    best = worth.topk(n_limited, dim=-1).indices
    mask = torch.nn.functional.one_hot(best, n_groups).sum(1).bool()
    return mask[:, :, None].expand_as(groups).reshape(scores.shape)


def allowed_interleaved(scores, n_groups, n_limited):
    order = torch.arange(scores.shape[1]).view(-1, n_groups).T.flatten()
    return allowed(scores[:, order], n_groups, n_limited)[:, order.argsort()]


def allowed_by_experts(scores, n_groups, n_limited):
    size = scores.shape[1] // n_groups
    groups = scores.topk(n_limited).indices // size
    mask = torch.zeros(len(scores), n_groups).scatter(1, groups, 1.0).bool()
    return mask.repeat_interleave(size, 1)


# Capacity
# --------------------------------------------------------------------------------------------------


def kept(chosen, n_experts, capacity, last=False):
    order = chosen.flip(0) if last else chosen
    place = torch.nn.functional.one_hot(order, n_experts).cumsum(0)
    mask = place.gather(1, order[:, None])[:, 0] <= capacity
    return mask.flip(0) if last else mask


# Upcycling
# --------------------------------------------------------------------------------------------------


def upcycled(gate, up, down, n, first=None, share=1.0):
    one = torch.cat([gate, up]) if first is None else first(gate, up)
    return torch.stack([one] * n), torch.stack([down * share] * n)


CASES = {
    check.top_k_gates: Case(
        solution=solutions.top_k_gates_solution,
        skeleton=skeleton_3,
        also_right=[gates, gates_by_sorting],
        wrong=[
            (lambda x, k, norm: gates(x, k, norm, largest=False), "the lowest affinities"),
            (gates_over_the_chosen, "always add up to 1"),
            (lambda x, k, norm: gates(x, k), "`normalise` changes nothing"),
            (lambda x, k, norm: gates(x, k, not norm), "the other way round"),
            (
                lambda x, k, norm: (gates(x, k)[0], torch.full((len(x), k), 1 / k)),
                "no number of the router is left",
            ),
            (gates_of_logits, "the weights are the logits"),
            (gates_sigmoid, "these are sigmoids"),
            (gates_sorted_by_number, "in the order of their numbers"),
            (lambda x, k, norm: gates(x, k, norm, dim=0), "softmax ran over the tokens"),
            (lambda x, k, norm: gates(x, k, norm)[::-1], "chosen first and then weights"),
            (lambda x, k, norm: gates(x, k, norm)[0], "return two tensors"),
            (gates_detached, "no gradient flows"),
        ],
    ),
    check.mix_experts: Case(
        solution=solutions.mix_experts_solution,
        skeleton=skeleton_4,
        also_right=[mix_by_token, mix],
        wrong=[
            (lambda *case: mix(*case, plain=True), "without their weights"),
            (lambda *case: mix(*case, mean=True), "the plain mean"),
            (lambda *case: mix(*case, overwrite=True), "overwrites"),
            (lambda *case: mix(*case, first=True), "by the token's first weight"),
            (lambda x, c, w, e: mix(x, c[:, :1], w[:, :1], e), "only the first choice"),
            (lambda x, *rest: x + mix(x, *rest), "residual connection"),
            (mix_all, "did more"),
        ],
    ),
    check.balance_loss: Case(
        solution=solutions.balance_loss_solution,
        skeleton=skeleton_2,
        also_right=[loss, loss_by_library],
        wrong=[
            (lambda s, c: loss(s, c, 1 / s.shape[1]), "the factor E is missing"),
            (lambda s, c: loss(s, c, f=lambda n, s, c: n / len(s)), "the share of the tokens"),
            (lambda s, c: loss(s, c, c.shape[1]), "the K is missing"),
            (lambda s, c: loss(s, c, P=lambda n, s, c: s.sum(0)), "P is a sum"),
            (lambda s, c: loss(s, c, P=lambda n, s, c: n / c.numel()), "both factors are counts"),
            (
                lambda s, c: loss(s, c, f=lambda n, s, c: s.mean(0) * s.shape[1]),
                "both factors are mean affinities",
            ),
            (lambda s, c: loss(s, c) - 1, "1 is subtracted"),
            (lambda s, c: loss(s, c, f=lambda n, s, c: n), "the bare count"),
            (lambda s, c: loss(s, c).item(), "no gradient flows back"),
        ],
    ),
    check.allowed_experts: Case(
        solution=solutions.allowed_experts_solution,
        skeleton=skeleton_3,
        also_right=[allowed, lambda *case: moe.limit_groups(*case, n_best=1) > -1],
        wrong=[
            (lambda *case: allowed(*case, rank="sum"), "by its best expert"),
            (allowed_interleaved, "Neighbouring experts share a device"),
            (lambda *case: ~allowed(*case), "the other way round"),
            (allowed_by_experts, "the devices of the M best *experts*"),
            (
                lambda s, g, m: torch.zeros_like(s).scatter(1, s.topk(m).indices, 1.0).bool(),
                "only M experts are allowed",
            ),
            (
                lambda s, g, m: allowed(s.mean(0, keepdim=True), g, m).expand(s.shape),
                "all tokens get the same devices",
            ),
            (lambda *case: moe.limit_groups(*case, n_best=1), "holds True and False"),
        ],
    ),
    check.kept_visits: Case(
        solution=solutions.kept_visits_solution,
        skeleton=skeleton_3,
        also_right=[kept, lambda *case: kept(*case).tolist()],
        wrong=[
            (lambda c, n, room: kept(c, n, room + 1), "one too many"),
            (lambda c, n, room: kept(c, n, room - 1), "one too few"),
            (lambda *case: kept(*case, last=True), "First come, first served"),
            (lambda c, n, room: (torch.bincount(c, minlength=n) <= room)[c], "loses them all"),
            (lambda c, n, room: torch.arange(len(c)) < n * room, "counted together"),
            (lambda *case: ~kept(*case), "the other way round"),
            (lambda *case: kept(*case).int(), "holds True and False"),
        ],
    ),
    check.upcycle: Case(
        solution=solutions.upcycle_solution,
        skeleton=skeleton_4,
        also_right=[upcycled, lambda g, u, d, n: [part.clone() for part in upcycled(g, u, d, n)]],
        wrong=[
            (
                lambda *case: upcycled(*case, first=lambda g, u: torch.cat([u, g])),
                "`up` stands before `gate`",
            ),
            (
                lambda *case: upcycled(
                    *case, first=lambda g, u: torch.stack([g, u], 1).flatten(0, 1)
                ),
                "rows of gate and up alternate",
            ),
            (lambda *case: upcycled(*case, share=1 / case[-1]), "divided by the number of experts"),
            (lambda g, u, d, n: (upcycled(g, u, d, n)[0], d.T.repeat(n, 1, 1)), "transposed"),
            (
                lambda g, u, d, n: (torch.cat([g, u]).expand(n, -1, -1), d.expand(n, -1, -1)),
                "share one memory",
            ),
            (lambda *case: upcycled(*case)[0], "return two tensors"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_exercises_are_what_the_library_does():
    torch.manual_seed(0)
    logits, x = torch.randn(12, 6), torch.randn(12, 8)
    routing = moe.route_softmax(logits, 2, n_groups=3, n_limited_groups=2)
    mask = solutions.allowed_experts_solution(routing.scores, 3, 2)
    best = routing.scores.where(mask, 0).topk(2).indices
    assert torch.equal(best, routing.chosen)
    free = moe.route_softmax(logits, 2)
    chosen, weights = solutions.top_k_gates_solution(logits, 2)
    assert torch.equal(chosen, free.chosen)
    torch.testing.assert_close(weights, free.weights)
    loss = solutions.balance_loss_solution(free.scores, chosen)
    torch.testing.assert_close(loss, moe.expert_balance_loss(free))
    one = moe.route_softmax(logits, 1)
    kept = solutions.kept_visits_solution(one.chosen[:, 0], 6, 2)
    assert torch.equal(kept, moe.drop_over_capacity(one, 1.0).weights[:, 0] > 0)
    mlp = SwiGLU(8, 4)
    weights = [part.weight.detach() for part in (mlp.gate, mlp.up, mlp.down)]
    layer = moe.upcycle_mlp(mlp, moe.SigmoidRouter(8, 6, 2))
    for got, want in zip(
        solutions.upcycle_solution(*weights, 6),
        (layer.experts.gate_up, layer.experts.down),
        strict=True,
    ):
        assert torch.equal(got, want)
    experts = [SwiGLU(8, 4) for _ in range(6)]
    stacks = (
        torch.stack([torch.cat([e.gate.weight, e.up.weight]) for e in experts]),
        torch.stack([e.down.weight for e in experts]),
    )
    torch.testing.assert_close(
        solutions.mix_experts_solution(x, free.chosen, free.weights, experts),
        moe.experts_by_loop(x, free.chosen, free.weights, *stacks),
    )
