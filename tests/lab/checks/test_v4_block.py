"""The checkers of lesson 31 know right answers, the untouched skeleton, and the typical wrong
answers."""

import torch
import torch.nn.functional as F

from course_lib.lab.checks import v4_block as check
from course_lib.lab.solutions import v4_block as solutions
from course_lib.layers import mlp
from course_lib.layers.hyper_connections import mix_and_write, read_streams
from course_lib.layers.moe import route_by_table, route_sqrt_softplus
from tests.lab.checks.cases import Case, tests_of


def streams_by_library(streams, read, mix, write, sublayer):
    return mix_and_write(streams, mix, write, sublayer(read_streams(streams, read)))


def gates_by_library(logits, bias, n_chosen, table_row):
    if table_row is None:
        routing = route_sqrt_softplus(logits, bias, n_chosen)
    else:
        routing = route_by_table(logits, torch.tensor(0), table_row[None])
    return torch.zeros_like(logits).scatter(0, routing.chosen, routing.weights)


def gates_with(affinity=lambda z: F.softplus(z).sqrt(), leak=False, even=False, table=True):
    def v4_gates(logits, bias, n_chosen, table_row):
        scores = affinity(logits)
        chosen = (scores + bias).topk(n_chosen).indices
        if table and table_row is not None:
            chosen = table_row
        picked = (scores + bias if leak else scores)[chosen]
        if even and table_row is not None:
            picked = torch.ones_like(picked)
        return torch.zeros_like(logits).scatter(0, chosen, picked / picked.sum())

    return v4_gates


def by_row_with_bias(logits, bias, n_chosen, table_row):
    leak = table_row is not None
    return gates_with(leak=leak)(logits, bias, n_chosen, table_row)


def one_loop(logits, n_iterations):
    mixing = logits.exp()
    for _ in range(2 * n_iterations):
        mixing = (mixing / mixing.sum(0)).T
    return mixing


def by_turns(mixing, n_iterations):
    for _ in range(n_iterations):
        for axis in (0, 1):
            mixing = mixing / mixing.sum(axis, keepdim=True)
    return mixing


def rows_first(logits, n_iterations):
    mixing = logits.exp()
    for _ in range(n_iterations):
        mixing = mixing / mixing.sum(1, keepdim=True)
        mixing = mixing / mixing.sum(0, keepdim=True)
    return mixing


CASES = {
    check.next_streams: Case(
        solution=solutions.next_streams_solution,
        skeleton=lambda streams, read, mix, write, sublayer: ...,
        also_right=[streams_by_library],
        wrong=[
            (lambda X, a, B, c, F: B.T @ X + torch.outer(c, F(a @ X)), "transposed"),
            (lambda X, a, B, c, F: B @ X + torch.outer(c, F(X.mean(0))), "plain mean"),
            (lambda X, a, B, c, F: B @ X + F(a @ X), "whole output"),
            (lambda X, a, B, c, F: X + torch.outer(c, F(a @ X)), "go on as they are"),
            (lambda X, a, B, c, F: torch.outer(c, F(a @ X)), "are lost"),
            (lambda X, a, B, c, F: B @ (X + torch.outer(c, F(a @ X))), "is mixed too"),
            (lambda X, a, B, c, F: B @ X + torch.outer(a, F(c @ X)), "changed places"),
        ],
    ),
    check.doubly_stochastic: Case(
        solution=solutions.doubly_stochastic_solution,
        skeleton=lambda logits, n_iterations: ...,
        also_right=[one_loop],
        wrong=[
            (lambda x, k: one_loop(x, 1), "one round, whatever"),
            (rows_first, "rows come before columns"),
            (lambda x, k: x.softmax(1), "that is a softmax"),
            (lambda x, k: one_loop(x, k - 1), "round too few"),
            (lambda x, k: one_loop(x.sigmoid().log(), k), "start from a sigmoid"),
            (lambda x, k: x.exp(), "nothing is divided"),
            (by_turns, "Take exp of them first"),
        ],
    ),
    check.v4_gates: Case(
        solution=solutions.v4_gates_solution,
        skeleton=lambda logits, bias, n_chosen, table_row: ...,
        also_right=[gates_by_library],
        wrong=[
            (gates_with(leak=True), "the bias is in the weights"),
            (by_row_with_bias, "A row of the table ranks nothing"),
            (gates_with(even=True), "still learned"),
            (
                lambda z, b, k, row: (
                    gates_with()(z, b, k, None)
                    if row is None
                    else torch.zeros_like(z).index_fill(0, row, 1.0)
                ),
                "counts whole",
            ),
            (gates_with(table=False), "the table is not used"),
            (gates_with(torch.sigmoid), "V3's sigmoid"),
            (gates_with(F.softplus), "the root is missing"),
            (lambda z, b, k, row: gates_by_library(z, 0 * b, k, row), "the bias changes no choice"),
            (
                lambda z, b, k, row: gates_with()(
                    z, b, k, (z + b).topk(k).indices if row is None else row
                ),
                "added to the logits. Add it to the affinities, and rank",
            ),
        ],
    ),
    check.clamped_swiglu: Case(
        solution=solutions.clamped_swiglu_solution,
        skeleton=lambda gate, up, limit: ...,
        also_right=[mlp.clamped_swiglu],
        wrong=[
            (lambda g, u, c: F.silu(g.clamp(-c, c)) * u.clamp(-c, c), "clamped on both sides"),
            (lambda g, u, c: F.silu(g).clamp(max=c) * u.clamp(-c, c), "after silu"),
            (lambda g, u, c: F.silu(g.clamp(max=c)) * u.clamp(max=c), "from above only"),
            (lambda g, u, c: (F.silu(g) * u).clamp(-c, c), "the product is clamped"),
            (lambda g, u, c: F.silu(g) * u, "nothing is clamped"),
            (lambda g, u, c: (F.silu(g) * u).clamp(-c * c, c * c), "the product is clamped"),
            (lambda g, u, c: F.silu(g.clamp(-c, c)) * u.clamp(max=c), "clamps have changed places"),
            (lambda g, u, c: g.clamp(0, c) * u.clamp(-c, c), "that is a ReLU"),
            (lambda g, u, c: F.silu(u.clamp(-c, c)) * g.clamp(max=c), "changed places in silu"),
            (lambda g, u, c: mlp.clamped_swiglu(u, g, c), "changed places"),
            (lambda g, u, c: mlp.clamped_swiglu(g, u, 10.0), "always 10"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
