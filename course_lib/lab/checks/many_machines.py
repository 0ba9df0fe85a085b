"""Checkers of lesson 13. The truths: sums and products by torch on the unsplit tensors, the paper's
numbers, and schedules played through step by step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.compare import is_like
from course_lib.lab.checks.core import Attempt, NotAttempted, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import Slip, judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


class Ring:
    """Neighbours in a ring: counts the numbers that each rank sends to the next."""

    def __init__(self, n_ranks: int):
        self.n_ranks, self.sent = n_ranks, [0] * n_ranks

    def send(self, rank: int, piece: Tensor) -> Tensor:
        """Hand a piece from a rank to the next one, which gets a copy of it."""
        if not isinstance(rank, int) or not 0 <= rank < self.n_ranks:
            raise Wrong(f"you sent from rank {describe(rank)}; there are 0 to {self.n_ranks - 1}.")
        if not isinstance(piece, Tensor):
            raise Wrong(f"you sent {describe(piece)}. Send a tensor: a piece of a vector.")
        self.sent[rank] += piece.numel()
        return piece.clone()


@checker
def ring_all_reduce(attempt: Attempt) -> str:
    """Add up the ranks' vectors by messages to the next rank alone, a piece at a time."""
    for n_ranks, length in ((4, 8), (3, 6), (2, 2), (1, 3), (5, 5)):
        rng = torch.Generator().manual_seed(n_ranks)
        vectors = [torch.randn(length, generator=rng) for _ in range(n_ranks)]
        ring = Ring(n_ranks)
        _judge_ring(attempt([v.clone() for v in vectors], ring.send), vectors, ring)
    return "every rank has the sum, and sent 2 (N - 1) / N of a vector for it."


def _judge_ring(got: Any, vectors: list[Tensor], ring: Ring) -> None:
    n, length = len(vectors), len(vectors[0])
    total, what = torch.stack(vectors).sum(0), f"{n} vectors of {length} numbers"
    if is_like(got, total) and n > 1:
        raise Wrong("that is the sum once. Return a list with the sum as each rank has it.")
    if not isinstance(got, list | tuple) or len(got) != n:
        raise Wrong(f"{what}: return a list of {n} tensors, one per rank. Got {describe(got)}.")
    _name_ring_slip(got, vectors, total)
    for rank, vector in enumerate(got):
        expect(vector, total, f"{what}: the result of rank {rank}")
    most = 2 * (n - 1) * length // n
    if max(ring.sent) > most:
        rank = ring.sent.index(max(ring.sent))
        raise Wrong(
            f"{what}: the sums are right, but rank {rank} sent {max(ring.sent)} numbers. {most} are"
            f" enough: 2 (N - 1) = {2 * (n - 1)} pieces of length / N = {length // n} numbers. Send"
            " one piece per turn, not a whole vector."
        )
    if min(ring.sent) < most:
        raise Wrong(
            f"{what}: the sums are right, but rank {ring.sent.index(min(ring.sent))} sent only"
            f" {min(ring.sent)} numbers by `send`. A rank knows another's numbers only if they were"
            " sent to it."
        )


def _name_ring_slip(got: Sequence, vectors: list[Tensor], total: Tensor) -> None:
    """Say which typical mistake gives these results."""
    n = len(vectors)
    if n < 2 or not all(isinstance(v, Tensor) and v.shape == total.shape for v in got):
        return
    right = [
        sum(is_like(a, b) for a, b in zip(v.chunk(n), total.chunk(n), strict=True)) for v in got
    ]
    if n > 2 and all(count == 1 for count in right):
        raise Wrong(
            "each rank has one piece of the sum: that is the first half, a reduce-scatter. Now the"
            " finished pieces must go round once more: N - 1 turns in which they replace what a"
            " rank has."
        )
    if all(is_like(v, total / n) for v in got):
        raise Wrong("that is the average. An all-reduce gives the sum.")
    if all(is_like(a, b) for a, b in zip(got, vectors, strict=True)):
        raise Wrong("every rank still has its own vector: nothing was added.")
    if min(right) == n:
        return
    for slip, sentence in SLIPS_OF_RING:
        if all(is_like(a, b) for a, b in zip(got, _ring_with(vectors, **slip), strict=True)):
            raise Wrong(sentence)


def _ring_with(vectors: list[Tensor], come_from: int = 1, begin: int = 1) -> list[Tensor]:
    """Play the ring with a slip: from how far before a rank takes what was sent, and which piece,
    counted from its own, it sends first in the second half."""
    n = len(vectors)
    table = torch.stack([v.view(n, -1) for v in vectors])  # rank, piece, numbers
    for turn in range(2 * (n - 1)):
        first_half, before = turn < n - 1, table.clone()
        for rank in range(n):
            piece = (rank - 1 - turn + (0 if first_half else n - 1 + begin)) % n
            sender = (rank - come_from) % n
            come = before[sender, (piece + 1 - come_from) % n]
            table[rank, piece] = come + table[rank, piece] if first_half else come
    return list(table.flatten(1))


SLIPS_OF_RING = [
    (
        {"come_from": 0},
        "each rank takes back what it sent itself. What comes to rank r was sent by rank r - 1.",
    ),
    (
        {"come_from": -1},
        "each rank takes what the next one sent. What comes to rank r was sent by rank r - 1.",
    ),
    (
        {"begin": 0},
        "the second half begins with a piece that is not complete. After the first half rank r"
        " holds the complete piece r + 1: send that one first.",
    ),
]


# Exercise 2
# --------------------------------------------------------------------------------------------------

CASES_OF_ZERO = [
    (stage, n_parameters, n_ranks)
    for n_parameters, n_ranks in ((7_500_000_000, 64), (1000, 4), (1000, 1))
    for stage in range(4)
]


def _zero(
    stage: int, P: int, N: int, weights: int = 2, gradients: int = 2, rest: int = 12
) -> float:
    """The table of the paper, row by row."""
    return [
        P * (weights + gradients + rest),
        P * (weights + gradients) + P * rest / N,
        P * weights + P * (gradients + rest) / N,
        P * (weights + gradients + rest) / N,
    ][stage]


FLOORED = "you divide bytes per parameter by `//`, which throws away fractions. Divide by `/`."
SLIPS_OF_ZERO: list[Slip] = [
    (
        lambda s, P, N: _zero(s, P, N, rest=8),
        "the 32-bit copy of the weights is missing: the optimizer keeps 4 + 4 + 4 bytes.",
    ),
    (
        lambda s, P, N: _zero(s, P, N, 4, 4, 8),
        "that is training in 32 bits: 4 + 4 + 8. Here weights and gradients have 2 bytes each, and"
        " the optimizer keeps 12.",
    ),
    (lambda s, P, N: _zero(s, P, N) / 1e9, "those are gigabytes. Return bytes."),
    (lambda s, P, N: _zero(s, P, N) * 8, "those are bits. Return bytes."),
    (
        lambda s, P, N: _zero(s, P, N) * N,
        "that is what all ranks keep together. Return what one rank keeps.",
    ),
    (
        lambda s, P, N: 16 * P / N if s else 16 * P,
        "you divide everything by N from stage 1 on. Stage 1 shares out the optimizer's 12 bytes"
        " alone.",
    ),
    (
        lambda s, P, N: _zero(min(s + 1, 3), P, N),
        "each stage shares out one thing too many: at stage 0 nothing is divided.",
    ),
    (
        lambda s, P, N: _zero(max(s - 1, 0), P, N),
        "each stage shares out one thing too few: stage 1 divides the optimizer's bytes already.",
    ),
    (
        lambda s, P, N: [16 * P, 14 * P + 2 * P / N, 12 * P + 4 * P / N, 16 * P / N][s],
        "you begin with the weights. The stages go by size: first the optimizer's 12 bytes, then"
        " the gradients, last the weights.",
    ),
    (
        lambda s, P, N: [16 * P, 4 * P + 12 * P / N, 4 * P + 12 * P / N, 16 * P / N][s],
        "stage 2 keeps whole gradients: it must share out 2 + 12 bytes, not 12 alone.",
    ),
    (
        lambda s, P, N: [16 * P, 4 * P + 12 * P / N, 2 * P + 14 * P / N, 2 * P + 14 * P / N][s],
        "at stage 3 the weights are shared out too: nothing stays whole.",
    ),
    (
        lambda s, P, N: [16 * P, 4 * P + 12 * P / N, 14 * P + 2 * P / N, 14 * P + 2 * P / N][s],
        "each stage divides its own part alone. A stage keeps what the earlier ones shared out:"
        " stage 2 divides gradients and optimizer, stage 3 all three.",
    ),
    (lambda s, P, N: [P * 16, P * (4 + 12 // N), P * (2 + 14 // N), P * (16 // N)][s], FLOORED),
    (
        lambda s, P, N: P * sum(b // (N if s >= at else 1) for b, at in ((2, 3), (2, 2), (12, 1))),
        FLOORED,
    ),
]


@checker
def zero_bytes(attempt: Attempt) -> str:
    """Count the bytes that one rank keeps, by ZeRO's stage."""
    judge_by_slips(
        attempt,
        CASES_OF_ZERO,
        _zero,
        SLIPS_OF_ZERO,
        lambda s, P, N: f"stage {s}, {P:,} parameters, {N} ranks",
        tolerance=1e-9,
    )
    return "120, 31.4, 16.6 and 1.9 gigabytes for 7.5 billion parameters on 64 ranks, as published."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _cases_of_split() -> list[tuple]:
    rng = torch.Generator().manual_seed(0)
    cases = []
    for T, C, hidden, n in ((3, 4, 8, 2), (1, 6, 12, 4), (2, 5, 6, 3), (2, 3, 4, 1)):
        sizes = ((T, C), (hidden, C), (C, hidden))
        cases.append((*(torch.randn(size, generator=rng) for size in sizes), n))
    return cases


def _parts(x: Tensor, up: Tensor, down: Tensor, n: int, act: Callable = F.gelu) -> list[Tensor]:
    share = len(up) // n
    cuts = [slice(rank * share, (rank + 1) * share) for rank in range(n)]
    return [act(x @ up[cut].T) @ down[:, cut].T for cut in cuts]


def _cut_by_inputs(x: Tensor, up: Tensor, down: Tensor, n: int) -> list[Tensor]:
    """Splits the first matrix by its inputs, and puts each part through the activation."""
    pairs = zip(x.tensor_split(n, 1), up.tensor_split(n, 1), strict=True)
    return [F.gelu(a @ b.T) @ down.T for a, b in pairs]


def _every_nth(rows: Tensor, n: int) -> Tensor:
    """Sort rows so that blocks of neighbours are what every n-th row was."""
    return torch.cat([rows[rank::n] for rank in range(n)])


OTHER_UNITS = (
    "hidden units of one rank meet the columns of another. Rank r takes the same units of both"
    " matrices."
)
SLIPS_OF_SPLIT: list[Slip] = [
    (
        lambda x, up, down, n: sum(_parts(x, up, down, n)),
        "that is the whole output. Return the ranks' parts, a list of N tensors; the sum is what an"
        " all-reduce makes of them.",
    ),
    (
        lambda x, up, down, n: [sum(_parts(x, up, down, n))] * n,
        "each entry is the whole output. Rank r has only its share of the hidden units, so it can"
        " only give a part of the sum.",
    ),
    (
        lambda x, up, down, n: [part / n for part in [sum(_parts(x, up, down, n))] * n],
        "each entry is the whole output over N: somebody had to compute all of it. Rank r has only"
        " its share of the hidden units.",
    ),
    (
        lambda x, up, down, n: [part / n for part in _parts(x, up, down, n)],
        "the parts are divided by N. Their sum, not their mean, must be the output.",
    ),
    (
        _cut_by_inputs,
        "you split the first matrix by its inputs. Then each rank has a part of a sum, and GELU of"
        " a sum is not the sum of the GELUs. Split it by its outputs, the rows of `up`.",
    ),
    (
        lambda x, up, down, n: _parts(x, up, down, n, act=lambda h: h),
        "the activation is missing: GELU between the two products.",
    ),
    (
        lambda x, up, down, n: _parts(x, up, down, n, act=F.relu),
        "that is ReLU. The exercise asks for GELU.",
    ),
    (
        lambda x, up, down, n: [F.gelu(p) for p in _parts(x, up, down, n, act=lambda h: h)],
        "the activation comes after the second product. It belongs between the two.",
    ),
    (
        lambda x, up, down, n: [F.gelu(x @ part.T) for part in up.chunk(n)],
        "those are the hidden units. The second product is missing.",
    ),
    (
        lambda x, up, down, n: torch.cat(_parts(x, up, down, n), -1),
        "the parts stand side by side in one tensor. Return a list of N tensors, each as wide as"
        " the output.",
    ),
    (lambda x, up, down, n: _parts(x, up, down.roll(down.shape[1] // n, 1), n), OTHER_UNITS),
    (lambda x, up, down, n: _parts(x, up, _every_nth(down.T, n).T, n), OTHER_UNITS),
    (lambda x, up, down, n: _parts(x, _every_nth(up, n), down, n), OTHER_UNITS),
    (
        lambda x, up, down, n: _parts(x, _every_nth(up, n), _every_nth(down.T, n).T, n),
        "rank r takes every N-th hidden unit. The sum is right, but equal shares are blocks of"
        " neighbours here: the first rank takes the first F / N units, and so on.",
    ),
    (
        lambda x, up, down, n: _parts(x, up, down, n)[::-1],
        "the parts are in the opposite order: rank 0 takes the first share.",
    ),
]


@checker
def split_mlp(attempt: Attempt) -> str:
    """Compute what each rank contributes to the output of an MLP."""
    judge_by_slips(
        attempt,
        _cases_of_split(),
        _parts,
        SLIPS_OF_SPLIT,
        lambda x, up, down, n: f"{len(up)} hidden units over {n} ranks",
        plain=_as_parts,
    )
    return "the parts add up to the unsplit output, and no rank needed another's hidden units."


def _as_parts(got: Any) -> Any:
    return list(got) if isinstance(got, tuple) else got


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def copy_to_ranks(attempt: Attempt) -> str:
    """Copy forward; sum the gradients of all ranks backward."""
    x = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.25, -4.0]], requires_grad=True)
    others = torch.tensor([[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]])
    grad = torch.tensor([[1.0, 2.0, -3.0], [0.0, 1.0, 0.5]])
    calls: list[Tensor] = []

    def all_reduce(tensor: Tensor) -> Tensor:
        calls.append(tensor.detach().clone())
        return tensor.detach() + others

    try:
        y = attempt(x, all_reduce)
    except NotAttempted as stop:  # torch says NotImplementedError where a Function has no forward
        if "forward" in str(stop.__context__):
            raise Wrong("your autograd.Function has no static method `forward`.") from None
        raise
    if is_like(y, x + others):
        raise Wrong(
            "you sum on the way forward: that is g. f hands the tensor on as it is, and sums its"
            " gradients on the way back."
        )
    if calls:
        raise Wrong("all_reduce is called on the way forward, where nothing needs to be sent.")
    expect(y, x.detach(), "the tensor on the way forward")
    if not y.requires_grad:
        raise Wrong(
            "no gradient flows through what you return. It must stay a part of the graph:"
            " Function.apply(x), without detach or no_grad."
        )
    _judge_gradient(_gradient(y, x, grad), grad, others, calls)
    _judge_other_ways(attempt, x.detach(), grad)
    return "forward nothing is sent, backward every rank's part of the gradient is added."


def _gradient(y: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    """Run the learner's backward; an error in it is told like one of forward."""
    try:
        (found,) = torch.autograd.grad(y, x, grad, allow_unused=True)
    except Exception as error:
        raise Wrong(f"backward stopped with {type(error).__name__}: {error}") from None
    if found is None:
        raise Wrong("backward gives no gradient for x: return one from `backward`.")
    return found


def _judge_other_ways(attempt: Attempt, x: Tensor, grad: Tensor) -> None:
    """x is also used without f, as in a residual connection: that gradient is complete already."""
    x = x.clone().requires_grad_()
    y = attempt(x, lambda tensor: 10 * tensor.detach())
    if is_like(_gradient(y + x, x, grad), 20 * grad):
        raise Wrong(
            "x itself is changed: its whole gradient is summed, also what comes by other ways, such"
            " as a residual connection. Only what comes through your copy should be. Return another"
            " tensor than x, and act on that one."
        )


def _judge_gradient(found: Tensor, grad: Tensor, others: Tensor, calls: list[Tensor]) -> None:
    if is_like(found, grad) and calls:
        raise Wrong(
            "all_reduce is called, but its result is not used: it returns the sum as a new tensor"
            " and leaves the old one alone. Return that sum."
        )
    if is_like(found, grad):
        raise Wrong(
            "the gradient comes through as it is, so this rank's part alone reaches x. Each rank"
            " uses the copy for its own slice: add their gradients with all_reduce."
        )
    if is_like(found, grad + others) and len(calls) > 1:
        raise Wrong(
            f"the sum is right, but all_reduce was called {len(calls)} times. Once will do."
        )
    if is_like(found, grad + 2 * others) or is_like(found, 2 * (grad + others)):
        raise Wrong("the gradients are summed twice.")
    if is_like(found, 2 * grad + others):
        raise Wrong("this rank's own gradient is counted twice: the sum contains it already.")
    for count in (2, len(grad), grad.numel()):
        if is_like(found, (grad + others) / count):
            raise Wrong("you average. The gradient of a copy is the sum over its users.")
    expect(found, grad + others, "the gradient of x")


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _cases_of_merge() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(0)
    cases = []
    for n, T, V, shift in ((2, 3, 4, 0.0), (4, 1, 3, 0.0), (3, 2, 5, 1000.0), (2, 2, 3, -1000.0)):
        logits = 3 * torch.randn(n, T, V, generator=rng) + shift
        logits[0] += 2
        cases.append(_summary(logits))
    apart = torch.tensor([[[900.0, 899.0]], [[-900.0, -900.0]]])
    far_tokens = torch.tensor([[[900.0, 899.0], [-900.0, -901.0]], [[898.0] * 2, [-900.5] * 2]])
    return [*cases, *map(_summary, (apart, apart.flip(0), far_tokens))]


def _summary(logits: Tensor) -> tuple[Tensor, Tensor]:
    largest = logits.amax(-1)
    return largest, (logits - largest[..., None]).exp().sum(-1)


def _merged(largest: Tensor, sums: Tensor) -> Tensor:
    return (largest.double() + sums.double().log()).logsumexp(0).float()


SLIPS_OF_MERGE: list[Slip] = [
    (
        lambda m, s: m.amax(0) + s.sum(0).log(),
        "the sums are added as they are. Each was taken from its own rank's largest logit: bring it"
        " to the common one first, by a factor exp(own largest - common largest).",
    ),
    (
        lambda m, s: (s * m.exp()).sum(0).log(),
        "right for small logits, but exp(1000) overflows and exp(-1000) is rounded to 0. Take off"
        " the largest of the ranks' largest first, and add it at the end.",
    ),
    (
        lambda m, s: (s * (m - m.amax(0)).exp()).sum(0).log(),
        "the common largest logit is taken off and never added again.",
    ),
    (
        lambda m, s: m.amax(0) + (s * (m - m.amax(0)).exp()).sum(0),
        "the logarithm is missing: this adds the sum itself.",
    ),
    (
        lambda m, s: (s * (m - m.amax(0)).exp()).sum(0),
        "that is the sum of exponentials. Take its logarithm and add the largest logit.",
    ),
    (
        lambda m, s: m.sum(0) + s.log().sum(0),
        "you add the ranks' logsumexps. That is the logarithm of a product; the exponentials must"
        " be added.",
    ),
    (
        lambda m, s: (m + s.log()).amax(0),
        "that is the largest of the ranks' logsumexps. All ranks' exponentials count.",
    ),
    (
        lambda m, s: (m + s.log()).mean(0),
        "you average the ranks' logsumexps. The exponentials must be added, then the logarithm.",
    ),
    (
        lambda m, s: m + s.log(),
        "one row per rank: each rank's own logsumexp. Merge them into one number per token.",
    ),
    (
        lambda m, s: m.amax(0) + (s * (m.amax(0) - m).exp()).sum(0).log(),
        "the factor is turned round: a rank whose largest logit is small must count less.",
    ),
    (
        lambda m, s: m.max() + (s * (m - m.max()).exp()).sum(0).log(),
        "you take off one largest logit for all tokens. Each token has its own.",
    ),
    (
        lambda m, s: m[0] + (s * (m - m[0]).exp()).sum(0).log(),
        "you take off the first rank's largest logit. Where another rank's is far larger, exp"
        " overflows: take off the largest of all ranks.",
    ),
    (
        lambda m, s: m.logsumexp(0),
        "the sums are not used: a rank counts as if its largest logit were its only one.",
    ),
    (
        lambda m, s: (m + s.log()).logsumexp(0) - torch.tensor(float(len(m))).log(),
        "you average over the ranks. The exponentials are added: nothing is divided by N.",
    ),
    (
        lambda m, s: (m + s.log()).logsumexp(0) / torch.tensor(2.0).log(),
        "those are bits. The natural logarithm is wanted.",
    ),
]


@checker
def merge_logsumexp(attempt: Attempt) -> str:
    """Merge (largest logit, sum of exponentials) of all ranks into one logsumexp per token."""
    judge_by_slips(
        attempt,
        _cases_of_merge(),
        _merged,
        SLIPS_OF_MERGE,
        lambda m, s: f"{len(m)} ranks, {m.shape[1]} tokens, logits up to {m.max():.0f}",
    )
    return "two numbers per token and rank are enough, whatever the size of the vocabulary."


# Exercise 6
# --------------------------------------------------------------------------------------------------

CASES_OF_ORDER = [
    (stage, n_stages, m)
    for n_stages, m in ((4, 6), (2, 3), (3, 1), (4, 2), (1, 3))
    for stage in range(n_stages)
]


def _played(stage: int, n_stages: int, m: int) -> list[str]:
    """Play 1F1B by its rule: go forward until the first gradient can come back, then alternate."""
    order, forward, backward, window = [], 0, 0, n_stages - stage
    while backward < m:
        if forward < m and forward - backward < window:
            order.append(f"F{forward}")
            forward += 1
        else:
            order.append(f"B{backward}")
            backward += 1
    return order


def _ahead(stage: int, n_stages: int, m: int, ahead: int) -> list[str]:
    ahead = max(min(ahead, m), 0)
    order = [f"F{i}" for i in range(ahead)]
    for i in range(m - ahead):
        order += [f"F{ahead + i}", f"B{i}"]
    return order + [f"B{i}" for i in range(m - ahead, m)]


def _pairs_turned(order: list[str], ahead: int, m: int) -> list[str]:
    pairs = [order[i : i + 2][::-1] for i in range(ahead, 2 * m - ahead, 2)]
    return order[:ahead] + sum(pairs, []) + order[2 * m - ahead :]


SLIPS_OF_ORDER: list[Slip] = [
    (
        lambda s, p, m: [f"{k}{i}" for k in "FB" for i in range(m)],
        "that is GPipe: all forward, then all backward. Every stage then keeps the activations of"
        " all micro-batches.",
    ),
    (
        lambda s, p, m: [f"{k}{i}" for i in range(m) for k in "FB"],
        "the stage turns back at once. Only the last stage can: an earlier one waits for the"
        " gradient, which comes when the micro-batch has gone through all stages behind it.",
    ),
    (
        lambda s, p, m: _ahead(s, p, m, p - s),
        "one forward too many before the first backward: the last stage (stage n_stages - 1) has"
        " none ahead, the one before it 1.",
    ),
    (
        lambda s, p, m: _ahead(s, p, m, s),
        "the stages are counted from the wrong end: the first stage has the most forwards ahead,"
        " n_stages - 1, and the last has none.",
    ),
    (
        lambda s, p, m: _ahead(s, p, m, p - 1),
        "all stages go equally far ahead. A stage goes ahead by the number of stages behind it.",
    ),
    (
        lambda s, p, m: _ahead(s, p, m, p - 2 - s),
        "one forward too few before the first backward of the early stages.",
    ),
    (
        lambda s, p, m: _pairs_turned(_played(s, p, m), min(p - 1 - s, m), m),
        "in each pair the backward comes before the forward. It is one forward, one backward: the"
        " last stage can't begin with B0.",
    ),
    (
        lambda s, p, m: [f"{k}{i + 1}" for k, i in ((o[0], int(o[1:])) for o in _played(s, p, m))],
        "the micro-batches are numbered from 1. Begin at F0.",
    ),
    (
        lambda s, p, m: _played(s, p, m)[: 2 * m - min(p - 1 - s, m)],
        "the last backwards are missing: what went ahead must come back at the end.",
    ),
    (
        lambda s, p, m: [(o[0], int(o[1:])) for o in _played(s, p, m)],
        'the right order, as pairs. Write the items as text: "F0", "B0".',
    ),
]


@checker
def one_f_one_b(attempt: Attempt) -> str:
    """List what a stage of a 1F1B pipeline does, in order."""
    judge_by_slips(
        attempt,
        CASES_OF_ORDER,
        _played,
        SLIPS_OF_ORDER,
        lambda s, p, m: f"stage {s} of {p}, {m} micro-batches",
    )
    return "each stage keeps at most as many micro-batches as there are stages from it to the end."
