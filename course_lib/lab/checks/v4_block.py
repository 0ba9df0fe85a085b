"""Checkers of lesson 31. The truths: sums over streams and experts one by one, divisions and
products number by number."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.core import Attempt, checker
from course_lib.lab.checks.slips import Slip, judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


def _squared(x: Tensor) -> Tensor:
    return x * x + 1.0


def _cases_of_streams() -> list[tuple]:
    rng = torch.Generator().manual_seed(0)
    cases = []
    for n, width in ((2, 3), (4, 5), (3, 1)):
        streams, read = torch.randn(n, width, generator=rng), torch.randn(n, generator=rng)
        mix, write = torch.randn(n, n, generator=rng), torch.randn(n, generator=rng)
        cases.append((streams, read, mix, write, _squared))
    return cases


def _next_streams(streams, read, mix, write, sublayer, turned=False) -> Tensor:
    n = len(streams)
    out = sublayer(sum(read[i] * streams[i] for i in range(n)))
    rows = []
    for i in range(n):
        row = sum((mix[j, i] if turned else mix[i, j]) * streams[j] for j in range(n))
        rows.append(row + write[i] * out)
    return torch.stack(rows)


SLIPS_OF_STREAMS: list[Slip] = [
    (
        lambda X, a, B, c, F: _next_streams(X, a, B, c, F, turned=True),
        "the mixing matrix is transposed. Row i of `mix` says what the new stream i is made of:"
        " mix[i, j] belongs to the old stream j.",
    ),
    (
        lambda X, a, B, c, F: B @ X + torch.outer(c, F(X.mean(0))),
        "the sublayer sees the plain mean of the streams. It sees their sum, each times its"
        " number in `read`.",
    ),
    (
        lambda X, a, B, c, F: B @ X + torch.outer(c, F(X.sum(0))),
        "the sublayer sees the plain sum of the streams. Each counts by its number in `read`.",
    ),
    (
        lambda X, a, B, c, F: B @ X + F(a @ X),
        "every stream gets the whole output. Stream i gets write[i] times it.",
    ),
    (
        lambda X, a, B, c, F: X + torch.outer(c, F(a @ X)),
        "the old streams go on as they are. They are mixed by `mix` first.",
    ),
    (
        lambda X, a, B, c, F: torch.outer(c, F(a @ X)),
        "the old streams are lost. Add the mixed streams to what the sublayer writes.",
    ),
    (
        lambda X, a, B, c, F: B @ X + torch.outer(c, F(a @ (B @ X))),
        "the sublayer reads the streams after they are mixed. It reads the old ones.",
    ),
    (
        lambda X, a, B, c, F: B @ (X + torch.outer(c, F(a @ X))),
        "what the sublayer writes is mixed too. Mix the old streams alone, then add.",
    ),
    (
        lambda X, a, B, c, F: B @ X + torch.outer(a, F(c @ X)),
        "`read` and `write` have changed places.",
    ),
    (lambda X, a, B, c, F: B @ X + torch.outer(c, a @ X), "the sublayer is not called."),
    (
        lambda X, a, B, c, F: B @ X + c[:, None] * F(a[:, None] * X),
        "the sublayer works on every stream. Add the streams up first: it sees one vector, once.",
    ),
    (
        lambda X, a, B, c, F: B @ X + torch.outer(c, a @ F(X)),
        "the sublayer works on every stream, before they are added up. It sees one vector, once.",
    ),
    (
        lambda X, a, B, c, F: X + B @ X + torch.outer(c, F(a @ X)),
        "the old streams are there twice: as they are, and mixed. The mixed ones replace them.",
    ),
]


@checker
def next_streams(attempt: Attempt) -> str:
    """Give the streams after a sublayer: B X + C F(A X)."""
    judge_by_slips(
        attempt,
        _cases_of_streams(),
        _next_streams,
        SLIPS_OF_STREAMS,
        lambda X, *_: f"{X.shape[0]} streams of {X.shape[1]} numbers",
    )
    return "a residual connection is the case of one stream, with 1 for each of the three."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _cases_of_sinkhorn() -> list[tuple]:
    rng = torch.Generator().manual_seed(1)
    return [
        (torch.tensor([[0.0, 1.0], [2.0, 0.5]]), 1),
        (torch.randn(4, 4, generator=rng), 2),
        (3 * torch.randn(3, 3, generator=rng), 3),
        (torch.randn(4, 4, generator=rng), 20),
    ]


def _scaled(logits: Tensor, rounds: int, order: str = "cr", start=math.exp) -> Tensor:
    n = len(logits)
    M = [[start(x) for x in row] for row in logits.tolist()]
    for _ in range(rounds):
        for axis in order:
            if axis == "c":
                sums = [sum(M[i][j] for i in range(n)) for j in range(n)]
                M = [[M[i][j] / sums[j] for j in range(n)] for i in range(n)]
            else:
                sums = [sum(row) for row in M]
                M = [[M[i][j] / sums[i] for j in range(n)] for i in range(n)]
    return torch.tensor(M)


def _all_at_once(logits: Tensor, rounds: int) -> Tensor:
    M = logits.exp()
    for _ in range(rounds):
        M = M / M.sum(0, keepdim=True) / M.sum(1, keepdim=True)
    return M


def _laid_across(logits: Tensor, rounds: int) -> Tensor:
    M = logits.exp()
    for _ in range(rounds):
        M = M / M.sum(0)
        M = M / M.sum(1)
    return M


def _exp_each_round(logits: Tensor, rounds: int) -> Tensor:
    for _ in range(rounds):
        logits = _scaled(logits, 1)
    return logits


def _softmax_by_turns(logits: Tensor, rounds: int) -> Tensor:
    for _ in range(rounds):
        logits = logits.softmax(0).softmax(1)
    return logits


def _without_exp(logits: Tensor, rounds: int) -> Tensor:
    """In torch as a learner would: with negative numbers differences of rounding grow."""
    for _ in range(rounds):
        logits = logits / logits.sum(0, keepdim=True)
        logits = logits / logits.sum(1, keepdim=True)
    return logits


SLIPS_OF_SINKHORN: list[Slip] = [
    (
        lambda x, k: _scaled(x, 1),
        "there is one round, whatever `n_iterations` says. The rows sum to 1 then; the columns do"
        " not yet.",
    ),
    (
        lambda x, k: _scaled(x, k, "rc"),
        "rows come before columns. Here the columns are divided first, so that it ends on the"
        " rows: each new stream is then exactly a weighted mean.",
    ),
    (
        lambda x, k: _scaled(x, 1, "r"),
        "only the rows sum to 1: that is a softmax. Columns must be divided by their sums as well.",
    ),
    (
        lambda x, k: _scaled(x, 1, "c"),
        "only the columns sum to 1. Rows must be divided by their sums as well.",
    ),
    (
        _without_exp,
        "the logits themselves are divided, and some are negative. Take exp of them first.",
    ),
    (
        lambda x, k: _scaled(x, k, start=abs),
        "you take absolute values to make the numbers positive. Take exp: it keeps their order.",
    ),
    (
        lambda x, k: _scaled(x, k, start=lambda z: 1 / (1 + math.exp(-z))),
        "you start from a sigmoid. B starts from exp; the sigmoids belong to A and C.",
    ),
    (
        _all_at_once,
        "columns and rows are divided by sums of the same matrix. Take the rows' sums anew, after"
        " the columns were divided.",
    ),
    (lambda x, k: _scaled(x, k - 1), "there is one round too few."),
    (lambda x, k: _scaled(x, k + 1), "there is one round too many."),
    (lambda x, k: x.exp(), "nothing is divided yet."),
    (
        _laid_across,
        "the sum of row i divides column i. `sum(1)` is laid across the columns; with keepdim=True"
        " it stays one number per row.",
    ),
    (_exp_each_round, "exp is taken in every round. Take it once, before the first."),
    (
        _softmax_by_turns,
        "every softmax takes exp anew. Take exp once, and only divide from then on.",
    ),
    (
        lambda x, k: (lambda M: M / M.sum(0, keepdim=True))(_scaled(x, k)),
        "the columns are divided once more at the end. A round ends on the rows.",
    ),
]


@checker
def doubly_stochastic(attempt: Attempt) -> str:
    """Give exp(logits) after `n_iterations` rounds of Sinkhorn: columns, then rows."""
    judge_by_slips(
        attempt,
        _cases_of_sinkhorn(),
        _scaled,
        SLIPS_OF_SINKHORN,
        lambda x, k: f"{k} rounds on a {len(x)} x {len(x)} matrix",
    )
    return "rows sum to 1 exactly, columns the better the more rounds."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _cases_of_gates() -> list[tuple]:
    rng = torch.Generator().manual_seed(2)
    cases = []
    for n_experts, n_chosen, row in ((4, 2, None), (6, 3, None), (5, 2, [3, 0]), (6, 2, [1, 5])):
        logits = 2 * torch.randn(n_experts, generator=rng)
        bias = torch.zeros(n_experts)
        # chosen for its bias; or by the row, where the bias must not get into its weight
        bias[int(logits.argmin()) if row is None else row[0]] = 5.0
        cases.append((logits, bias, n_chosen, None if row is None else torch.tensor(row)))
    # affinities 1.7, 1.0, 0.2, 1.1: with its bias the third is first, but not by logit and bias
    logits, bias = torch.tensor([3.0, 0.5, -3.0, 1.0]), torch.tensor([0.0, 0.0, 1.6, 0.1])
    return [*cases, (logits, bias, 2, None)]


def _root(z: float) -> float:
    return math.sqrt(math.log1p(math.exp(z)))


def _gates(logits, bias, n_chosen, row, score=_root, leak=False, ranked=True) -> Tensor:
    scores = [score(z) for z in logits.tolist()]
    pushed = [s + b for s, b in zip(scores, bias.tolist(), strict=True)]
    by = pushed if ranked else scores
    best = sorted(range(len(by)), key=lambda e: -by[e])[:n_chosen]
    chosen = best if row is None else row.tolist()
    weights = pushed if leak else scores
    gates = torch.zeros_like(logits)
    for e in chosen:
        gates[e] = weights[e] / sum(weights[i] for i in chosen)
    return gates


def _evenly(logits, bias, n_chosen, row) -> Tensor:
    return (_gates(logits, bias, n_chosen, row) > 0).float() / n_chosen


def _table_even(logits, bias, n_chosen, row) -> Tensor:
    return (_gates if row is None else _evenly)(logits, bias, n_chosen, row)


def _table_whole(logits, bias, n_chosen, row) -> Tensor:
    if row is None:
        return _gates(logits, bias, n_chosen, row)
    return torch.zeros_like(logits).scatter(0, row, 1.0)


def _unnormalised(logits, bias, n_chosen, row) -> Tensor:
    scores = torch.tensor([_root(z) for z in logits.tolist()])
    return (_gates(logits, bias, n_chosen, row) > 0) * scores


def _over_all(logits, bias, n_chosen, row) -> Tensor:
    kept = _unnormalised(logits, bias, n_chosen, row)
    return kept / sum(_root(z) for z in logits.tolist())


def _ranked_by_logits(logits, bias, n_chosen, row) -> Tensor:
    chosen = (logits + bias).topk(n_chosen).indices if row is None else row
    return _gates(logits, bias, n_chosen, chosen)


def _softmax_of_affinities(logits, bias, n_chosen, row) -> Tensor:
    chosen = _gates(logits, bias, n_chosen, row) > 0
    scores = torch.tensor([_root(z) for z in logits.tolist()])
    return scores.masked_fill(~chosen, -torch.inf).softmax(0)


SLIPS_OF_GATES: list[Slip] = [
    (
        _ranked_by_logits,
        "the bias is added to the logits. Add it to the affinities, and rank by that.",
    ),
    (
        lambda z, b, k, row: _gates(z + b, 0 * b, k, row),
        "the bias is added to the logits, and so gets into the weights. Add it to the affinities,"
        " for the ranking alone.",
    ),
    (
        _softmax_of_affinities,
        "a softmax of the affinities is taken. They are positive: divide them by their sum.",
    ),
    (
        lambda z, b, k, row: _gates(z, b, k, row, leak=True),
        "the bias is in the weights. It may move an expert up the ranking, and then it is gone:"
        " weigh by the affinities alone.",
    ),
    (
        lambda z, b, k, row: _gates(z, b, k, row, leak=row is None),
        "the bias is in the weights. It may move an expert up the ranking, and then it is gone:"
        " weigh by the affinities alone.",
    ),
    (
        lambda z, b, k, row: _gates(z, b, k, row, leak=row is not None),
        "with a table the bias is in the weights. A row of the table ranks nothing, so it needs no"
        " bias: weigh by the affinities alone.",
    ),
    (
        lambda z, b, k, row: _gates(z, b, k, row, ranked=False),
        "the bias changes no choice. Without a table, rank by affinity plus bias.",
    ),
    (
        _table_even,
        "with a table the chosen experts count alike. The table chooses; how much each counts is"
        " still learned, by its affinity.",
    ),
    (
        _table_whole,
        "with a table each chosen expert counts whole. The table chooses; how much each counts is"
        " still learned: its affinity, divided by their sum.",
    ),
    (_evenly, "the chosen experts count alike. Each counts by its affinity, divided by their sum."),
    (
        lambda z, b, k, row: _gates(z, b, k, None),
        "the table is not used. Where there is a row, it says which experts are chosen.",
    ),
    (
        lambda z, b, k, row: _gates(z, b, k, row, score=lambda x: 1 / (1 + math.exp(-x))),
        "the affinity is V3's sigmoid. V4's is the root of softplus, sqrt(log(1 + exp(logit))).",
    ),
    (
        lambda z, b, k, row: _gates(z, b, k, row, score=lambda x: math.log1p(math.exp(x))),
        "the root is missing: that is softplus itself.",
    ),
    (
        lambda z, b, k, row: _gates(z, b, k, row, score=math.exp),
        "that is a softmax over the chosen experts. V4's affinity is the root of softplus.",
    ),
    (_unnormalised, "the weights do not sum to 1. Divide the chosen affinities by their sum."),
    (_over_all, "you divide by the sum over all experts. Divide by that of the chosen ones."),
]


@checker
def v4_gates(attempt: Attempt) -> str:
    """Give every expert's weight for one token, chosen by the router or by a row of the table."""
    judge_by_slips(
        attempt,
        _cases_of_gates(),
        _gates,
        SLIPS_OF_GATES,
        lambda z, b, k, row: (
            f"{k} of {len(z)} experts" + ("" if row is None else f", by the row {row.tolist()}")
        ),
    )
    return "chosen by table or by rank, weighed in the same way."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _cases_of_clamp() -> list[tuple]:
    rng = torch.Generator().manual_seed(3)
    cases = [(torch.tensor([-3.0, 0.5, 3.0, 3.0]), torch.tensor([-4.0, 0.5, 4.0, -4.0]), 1.0)]
    for shape, limit in (((7,), 0.5), ((3, 4), 2.0), ((2, 3, 5), 1.5)):
        gate, up = (3 * torch.randn(*shape, generator=rng) for _ in range(2))
        cases.append((gate, up, limit))
    return [*cases, (torch.tensor([-99.0, 99.0, 99.0]), torch.tensor([1.0, -99.0, 3.0]), 10.0)]


def _clamped(gate: Tensor, up: Tensor, limit: float) -> Tensor:
    products = []
    for g, u in zip(gate.flatten().tolist(), up.flatten().tolist(), strict=True):
        g, u = min(g, limit), max(-limit, min(u, limit))
        products.append(g / (1 + math.exp(-g)) * u)
    return torch.tensor(products).view_as(gate)


def _both(x: Tensor, limit: float) -> Tensor:
    return x.clamp(-limit, limit)


AFTER_SILU = "the gate is clamped after silu. It is clamped before: silu(min(gate, limit))."
SLIPS_OF_CLAMP: list[Slip] = [
    (
        lambda g, u, c: F.silu(_both(g, c)) * _both(u, c),
        "the gate is clamped on both sides. It is clamped from above only: below, silu is near 0"
        " by itself.",
    ),
    (lambda g, u, c: F.silu(g).clamp(max=c) * _both(u, c), AFTER_SILU),
    (lambda g, u, c: _both(F.silu(g), c) * _both(u, c), AFTER_SILU),
    (
        lambda g, u, c: F.silu(g.clamp(max=c)) * u.clamp(max=c),
        "`up` is clamped from above only. It can be large on both sides: clamp it at -limit too.",
    ),
    (
        lambda g, u, c: F.silu(g.clamp(max=c)) * u.clamp(min=-c),
        "`up` is clamped from below only. It can be large on both sides: clamp it at limit too.",
    ),
    (
        lambda g, u, c: _both(F.silu(g.clamp(max=c)) * _both(u, c), c),
        "the product is clamped once more. With both factors clamped it may reach limit squared.",
    ),
    (
        lambda g, u, c: F.silu(g.clamp(max=c)) * u,
        "`up` is not clamped. Clamp it at -limit and at limit.",
    ),
    (
        lambda g, u, c: F.silu(g) * _both(u, c),
        "the gate is not clamped. Clamp it from above, before silu.",
    ),
    (
        lambda g, u, c: _both(F.silu(g) * u, c),
        "the product is clamped. Clamp what enters it: the gate before silu, and `up`.",
    ),
    (
        lambda g, u, c: (F.silu(g) * u).clamp(max=c),
        "the product is clamped. Clamp what enters it: the gate before silu, and `up`.",
    ),
    (
        lambda g, u, c: _both(F.silu(g) * u, c * c),
        "the product is clamped. Clamp what enters it: the gate before silu, and `up`.",
    ),
    (
        lambda g, u, c: F.silu(_both(g, c)) * u.clamp(max=c),
        "the two clamps have changed places: the gate is clamped from above only, `up` on both"
        " sides.",
    ),
    (
        lambda g, u, c: F.relu(g.clamp(max=c)) * _both(u, c),
        "that is a ReLU. silu(x) is x * sigmoid(x), and a little below 0 left of 0.",
    ),
    (lambda g, u, c: F.silu(g) * u, "nothing is clamped: that is the plain SwiGLU of lesson 09."),
    (
        lambda g, u, c: F.silu(_both(u, c)) * g.clamp(max=c),
        "gate and `up` have changed places in silu: it is taken of the gate.",
    ),
    (
        lambda g, u, c: F.silu(u.clamp(max=c)) * _both(g, c),
        "gate and `up` have changed places: silu is taken of the gate.",
    ),
    (
        lambda g, u, c: F.silu(g.clamp(max=c)) * F.silu(_both(u, c)),
        "silu is taken of both. Take it of the gate alone.",
    ),
    (lambda g, u, c: g.clamp(max=c) * _both(u, c), "silu is missing: take it of the clamped gate."),
    (
        lambda g, u, c: torch.sigmoid(g.clamp(max=c)) * _both(u, c),
        "that is a sigmoid. silu(x) is x * sigmoid(x).",
    ),
    (
        lambda g, u, c: F.silu(g.clamp(min=c)) * _both(u, c),
        "the gate is clamped from below. `clamp(max=limit)` keeps it from being larger.",
    ),
    (
        lambda g, u, c: F.silu(g.clamp(max=10.0)) * _both(u, 10.0),
        "the limit is always 10. Use `limit`.",
    ),
]


@checker
def clamped_swiglu(attempt: Attempt) -> str:
    """Give silu of the gate times `up`, both clamped first, as V4's experts do."""
    judge_by_slips(
        attempt,
        _cases_of_clamp(),
        _clamped,
        SLIPS_OF_CLAMP,
        lambda gate, up, limit: f"gates of shape {tuple(gate.shape)}, limit {limit}",
    )
    return "the gate from above, the other factor on both sides."
