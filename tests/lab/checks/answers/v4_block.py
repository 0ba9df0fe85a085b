"""Answers to the exercises of lesson 31, written from their statements alone."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- next_streams ---


def streams_by_einsum(streams, read, mix, write, sublayer):
    seen = torch.einsum("n,nc->c", read, streams)
    return torch.einsum("ij,jc->ic", mix, streams) + torch.einsum("n,c->nc", write, sublayer(seen))


def streams_by_loops(streams, read, mix, write, sublayer):
    out = sublayer((read[:, None] * streams).sum(0))
    return torch.stack(
        [
            sum(m * old for m, old in zip(row, streams, strict=True)) + w * out
            for row, w in zip(mix, write, strict=True)
        ]
    )


def streams_joined(streams, read, mix, write, sublayer):
    both = torch.cat([streams, sublayer(read @ streams)[None]])
    return torch.cat([mix, write[:, None]], 1) @ both


NEXT_STREAMS = Answers(
    right=[streams_by_einsum, streams_by_loops, streams_joined],
    wrong=[
        Slip(
            lambda X, a, B, c, F: B.mT @ X + c[:, None] * F(a @ X),
            "mix transposed", r"transpos|row|mix\[i, j\]",
        ),
        Slip(
            lambda X, a, B, c, F: B @ X + c[:, None] * F(X.mean(0)), "reads the mean", r"mean|read"
        ),
        Slip(lambda X, a, B, c, F: B @ X + c[:, None] * F(X.sum(0)), "reads the sum", r"sum|read"),
        Slip(lambda X, a, B, c, F: B @ X + F(a @ X), "writes without write", r"write|whole"),
        Slip(lambda X, a, B, c, F: X + c[:, None] * F(a @ X), "does not mix", r"mix"),
        Slip(lambda X, a, B, c, F: c[:, None] * F(a @ X), "drops the streams", r"lost|mixed"),
        Slip(
            lambda X, a, B, c, F: B @ X + c[:, None] * F(a[:, None] * X), "sublayer on each stream",
            r"every stream|one vector",
        ),
        Slip(
            lambda X, a, B, c, F: B @ X + c[:, None] * F(a @ B @ X), "reads mixed streams",
            r"after they are mixed|old ones",
        ),
        Slip(
            lambda X, a, B, c, F: B @ (X + c[:, None] * F(a @ X)), "mixes the output too",
            r"mixed too|old streams alone",
        ),
        Slip(
            lambda X, a, B, c, F: B @ X + a[:, None] * F(c @ X), "read and write exchanged",
            r"changed places|exchang",
        ),
    ],
)  # fmt: skip

# --- doubly_stochastic ---


def sinkhorn_in_numpy(logits, n_iterations):
    M = np.exp(logits.double().numpy())
    for _ in range(n_iterations):
        M /= M.sum(0)
        M /= M.sum(1)[:, None]
    return M


def sinkhorn_in_logs(logits, n_iterations):
    for _ in range(n_iterations):
        logits = logits.log_softmax(0).log_softmax(1)
    return logits.exp()


def sinkhorn_by_scales(logits, n_iterations):
    K, columns = logits.exp(), torch.ones(len(logits))
    rows = torch.ones(len(logits))
    for _ in range(n_iterations):
        columns = 1 / (rows @ K)
        rows = 1 / (K @ columns)
    return rows[:, None] * K * columns


def sinkhorn_laid_across(logits, n_iterations):
    M = logits.exp()
    for _ in range(n_iterations):
        M = M / M.sum(0)
        M = M / M.sum(1)
    return M


def sinkhorn_by_softmax(logits, n_iterations):
    for _ in range(n_iterations):
        logits = logits.softmax(0).softmax(1)
    return logits


def alternated(logits, n_iterations, axes=(0, 1), start=torch.exp):
    M = start(logits)
    for _ in range(n_iterations):
        for axis in axes:
            M = M / M.sum(axis, keepdim=True)
    return M


DOUBLY_STOCHASTIC = Answers(
    right=[sinkhorn_in_numpy, sinkhorn_in_logs, sinkhorn_by_scales],
    wrong=[
        Slip(lambda x, k: alternated(x, 1), "one round", r"one round|n_iterations"),
        Slip(lambda x, k: alternated(x, k, (1, 0)), "rows first", r"rows|first"),
        Slip(lambda x, k: alternated(x, k, (1,)), "rows alone", r"only the rows|softmax"),
        Slip(lambda x, k: alternated(x, k, (0,)), "columns alone", r"only the columns"),
        Slip(lambda x, k: alternated(x, k, start=lambda z: z), "without exp", r"exp"),
        Slip(lambda x, k: alternated(x, k, start=torch.abs), "absolute values", r"absolute|exp"),
        Slip(lambda x, k: alternated(x, k, start=torch.sigmoid), "sigmoid", r"sigmoid"),
        Slip(lambda x, k: alternated(x, k - 1), "one round too few", r"few"),
        Slip(lambda x, k: alternated(x, k + 1), "one round too many", r"many"),
        Slip(sinkhorn_laid_across, "rows' sums across columns", r"keepdim|across"),
        Slip(sinkhorn_by_softmax, "softmax by turns", r"exp"),
    ],
)

# --- v4_gates ---


def gates_by_loop(logits, bias, n_chosen, table_row):
    affinity = [math.sqrt(math.log(1 + math.exp(z))) for z in logits.tolist()]
    if table_row is None:
        ranked = np.argsort([-(a + b) for a, b in zip(affinity, bias.tolist(), strict=True)])
        chosen = ranked[:n_chosen].tolist()
    else:
        chosen = table_row.tolist()
    total = sum(affinity[e] for e in chosen)
    return torch.tensor([affinity[e] / total if e in chosen else 0.0 for e in range(len(affinity))])


def gates_by_mask(logits, bias, n_chosen, table_row):
    affinity = (1 + logits.exp()).log() ** 0.5
    kept = torch.zeros(len(logits))
    if table_row is None:
        table_row = (affinity + bias).sort(descending=True).indices[:n_chosen]
    kept[table_row] = 1.0
    return kept * affinity / (kept * affinity).sum()


def gates_by_infinity(logits, bias, n_chosen, table_row):
    log_affinity = F.softplus(logits).sqrt().log()
    chosen = (log_affinity.exp() + bias).topk(n_chosen)[1] if table_row is None else table_row
    barred = torch.full_like(logits, -torch.inf)
    barred[chosen] = log_affinity[chosen]
    return barred.softmax(0)


def gates(affinity=lambda z: F.softplus(z).sqrt(), leak=False, even=False, table=True, by=None):
    def v4_gates(logits, bias, n_chosen, table_row):
        scores = affinity(logits)
        chosen = (scores + bias).topk(n_chosen).indices
        if table and table_row is not None:
            chosen = table_row
        picked = (scores + bias if leak else scores)[chosen]
        picked = torch.ones_like(picked) if even else picked
        total = picked.sum() if by is None else by(scores)
        return torch.zeros_like(logits).scatter(0, chosen, picked / total)

    return v4_gates


V4_GATES = Answers(
    right=[gates_by_loop, gates_by_mask, gates_by_infinity],
    wrong=[
        Slip(gates(leak=True), "bias in the weights", r"bias"),
        Slip(lambda z, b, k, row: gates()(z, 0 * b, k, row), "no bias", r"bias"),
        Slip(gates(even=True), "all alike", r"alike|affinit"),
        Slip(
            lambda z, b, k, row: gates(even=row is not None)(z, b, k, row), "alike with a table",
            r"alike|learned",
        ),
        Slip(gates(table=False), "table ignored", r"table"),
        Slip(gates(torch.sigmoid), "sigmoid", r"sigmoid|softplus"),
        Slip(gates(F.softplus), "no root", r"root"),
        Slip(gates(torch.exp), "exp", r"softmax|softplus"),
        Slip(gates(by=lambda scores: scores.sum()), "sum over all", r"over all|chosen ones"),
        Slip(gates(by=lambda scores: 1.0), "not normalised", r"sum to 1|divide"),
        Slip(
            lambda z, b, k, row: gates()(z, b, k, (z + b).topk(k)[1] if row is None else row),
            "ranked by logit and bias", r"bias is added to the logits",
        ),
        Slip(
            lambda z, b, k, row: gates()(z + b, 0 * b, k, row), "bias in the logits",
            r"bias is added to the logits",
        ),
    ],
)  # fmt: skip

# --- clamped_swiglu ---


def clamped_by_where(gate, up, limit):
    gate = torch.where(gate > limit, limit, gate)
    up = torch.where(up.abs() > limit, limit * up.sign(), up)
    return gate * torch.sigmoid(gate) * up


def clamped_in_numpy(gate, up, limit):
    low = np.minimum(gate.double().numpy(), limit)
    return low / (1 + np.exp(-low)) * np.clip(up.double().numpy(), -limit, limit)


def clamped_by_minimum(gate, up, limit):
    most = torch.tensor(limit)
    return F.silu(torch.minimum(gate, most)) * torch.maximum(torch.minimum(up, most), -most)


def both(x, limit):
    return x.clamp(-limit, limit)


CLAMPED_SWIGLU = Answers(
    right=[clamped_by_where, clamped_in_numpy, clamped_by_minimum],
    wrong=[
        Slip(lambda g, u, c: F.silu(both(g, c)) * both(u, c), "both sides", r"both sides|above"),
        Slip(lambda g, u, c: F.silu(g).clamp(max=c) * both(u, c), "after silu", r"after|before"),
        Slip(lambda g, u, c: both(F.silu(g), c) * both(u, c), "after silu, both", r"after|before"),
        Slip(
            lambda g, u, c: F.silu(g.clamp(max=c)) * u.clamp(max=c), "up from above",
            r"above only",
        ),
        Slip(lambda g, u, c: F.silu(g.clamp(max=c)) * u, "up free", r"`up` is not"),
        Slip(lambda g, u, c: F.silu(g) * both(u, c), "gate free", r"gate is not"),
        Slip(lambda g, u, c: both(F.silu(g) * u, c), "product clamped", r"product"),
        Slip(lambda g, u, c: F.silu(g) * u, "no clamp", r"nothing is clamped"),
        Slip(lambda g, u, c: F.silu(u.clamp(max=c)) * both(g, c), "exchanged", r"places"),
        Slip(lambda g, u, c: g.clamp(max=c) * both(u, c), "no silu", r"silu is missing"),
        Slip(lambda g, u, c: g.clamp(max=c).sigmoid() * both(u, c), "sigmoid", r"sigmoid"),
    ],
)  # fmt: skip

ANSWERS = {
    "next_streams": NEXT_STREAMS,
    "doubly_stochastic": DOUBLY_STOCHASTIC,
    "v4_gates": V4_GATES,
    "clamped_swiglu": CLAMPED_SWIGLU,
}
