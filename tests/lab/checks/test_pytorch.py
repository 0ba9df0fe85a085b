"""The checkers of lesson 01 accept right answers, however written, and tell typical wrong answers
what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

from course_lib.lab.checks import pytorch as check
from tests.lab.checks.cases import Case, tests_of

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


# --------------------------------------------------------------------------------------- row_shares
def shares_skeleton(counts): ...


def shares_in_place(counts):
    counts = counts.float()
    counts /= counts.sum(-1, keepdim=True)
    return counts


SHARES = Case(
    solution=lambda counts: counts / counts.sum(-1, keepdim=True),
    skeleton=shares_skeleton,
    also_right=[
        lambda counts: counts / counts.sum(1)[:, None],
        lambda counts: (counts.mT / counts.sum(-1)).mT,
        lambda counts: torch.stack([row / row.sum() for row in counts]),
        shares_in_place,
    ],
    wrong=[
        (lambda counts: counts / counts.sum(-1), "keepdim=True gives shape (3, 1)"),
        (lambda counts: counts / counts.sum(0), "your columns sum to 1"),
        (lambda counts: counts / counts.sum(), "the whole table sums to 1"),
        (lambda counts: counts.float().softmax(-1), "that is a softmax"),
        (lambda counts: counts // counts.sum(-1, keepdim=True), "throws the remainder away"),
        (lambda counts: counts / counts.amax(-1, keepdim=True), "the largest count of each row"),
        (lambda counts: counts.sum(-1, keepdim=True), "expected (3, 3)"),
        (lambda counts: counts.tolist(), "torch.tensor"),
        (lambda counts: counts.softmax(-1), "your function stopped with"),
    ],
)


# ---------------------------------------------------------------------------------------------- mix
def mix_skeleton(weights, values): ...


def mix_by_hand(weights, values):
    return (weights[..., None] * values[:, None]).sum(2)


MIX = Case(
    solution=lambda weights, values: torch.einsum("bts,bsc->btc", weights, values),
    skeleton=mix_skeleton,
    also_right=[lambda weights, values: weights @ values, torch.bmm, mix_by_hand],
    wrong=[
        (
            lambda weights, values: torch.einsum("bts,btc->bsc", weights, values),
            "read the wrong way round",
        ),
        (lambda weights, values: weights.mT @ values, "read the wrong way round"),
        (
            lambda weights, values: torch.einsum("bts,bcs->btc", weights, values),
            "summed over the channels",
        ),
        (
            lambda weights, values: torch.einsum("bts,bsc->bct", weights, values),
            "the last two axes are swapped",
        ),
        (lambda weights, values: weights @ values / weights.shape[-1], "you averaged over s"),
        (
            lambda weights, values: torch.einsum("bts,xsc->btc", weights, values),
            "sequences of the batch were mixed",
        ),
        (lambda weights, values: weights * values, "sums nothing"),
        (
            lambda weights, values: torch.einsum("bts,bsc->tc", weights, values),
            "expected (2, 3, 3)",
        ),
        (lambda weights, values: weights.softmax(-1) @ values, "numbers differ"),
    ],
)


# ---------------------------------------------------------------------------------- neuron_gradient
def neuron_skeleton(w, b, x, target): ...


def neuron_by_torch(w, b, x, target):
    w, b = (torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in (w, b))
    ((w * x + b).tanh() - target).square().backward()
    return w.grad, b.grad


def neuron_by_nudge(w, b, x, target, h=1e-5):
    def loss(w, b):
        return (math.tanh(w * x + b) - target) ** 2

    return [(loss(w + h, b) - loss(w, b)) / h, (loss(w, b + h) - loss(w, b)) / h]


def neuron(slope):
    """An answer whose slope for z is `slope(z, y, target)`."""

    def answer(w, b, x, target):
        z = w * x + b
        dz = slope(z, math.tanh(z), target)
        return dz * x, dz

    return answer


right_slope = neuron(lambda z, y, target: 2 * (y - target) * (1 - y * y))

NEURON = Case(
    solution=right_slope,
    skeleton=neuron_skeleton,
    also_right=[neuron_by_torch, neuron_by_nudge],
    wrong=[
        (neuron(lambda z, y, target: (y - target) * (1 - y * y)), "exactly half of the slopes"),
        (neuron(lambda z, y, target: 2 * (target - y) * (1 - y * y)), "the sign is not"),
        (neuron(lambda z, y, target: 2 * (y - target)), "the tanh is missing"),
        (neuron(lambda z, y, target: 2 * (y - target) * (1 - z * z)), "you used z, the input"),
        (neuron(lambda z, y, target: 2 * (y - target) * y), "multiplied by y itself"),
        (
            lambda w, b, x, target: right_slope(w, b, x, target)[1:] * 2,
            "right for b, but w reaches z through x",
        ),
        (lambda w, b, x, target: right_slope(w, b, x, target)[::-1], "the two slopes are swapped"),
        (lambda w, b, x, target: right_slope(w, b, x, target)[0], "return two numbers"),
        (neuron(lambda z, y, target: (y - target) ** 2), "the slopes at w=0.5"),
    ],
)


# ------------------------------------------------------------------------------------------ descend
def descend_skeleton(loss_of, start, lr, steps): ...


def descend_solution(loss_of, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_of(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def descend_by_grad(loss_of, start, lr, steps):
    for _ in range(steps):
        leaf = start.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss_of(leaf), leaf)
        start = start - lr * slope
    return start


def descend_zeroing_after(loss_of, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_of(w).backward()
        w.data -= lr * w.grad
        w.grad.zero_()
    return w


def descend_without_zeroing(loss_of, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_of(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w


def descend_in_place_on_leaf(loss_of, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_of(w).backward()
        w -= lr * w.grad
    return w


def descend_rebinding(loss_of, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_of(w).backward()
        w = w - lr * w.grad
    return w


def descend_without_asking(loss_of, start, lr, steps):
    w = start.clone()
    for _ in range(steps):
        loss_of(w).backward()
        w -= lr * w.grad
    return w


def descend_one_loss(loss_of, start, lr, steps):
    w = start.clone().requires_grad_()
    loss = loss_of(w)
    for _ in range(steps):
        w.grad = None
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w


def descend_on_the_callers(loss_of, start, lr, steps):
    w = start.requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_of(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def descend_on_a_detached_copy(loss_of, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_of(w).backward()
        moved = w.detach().clone()
        moved -= lr * w.grad
    return w


def descend_returning_inside(loss_of, start, lr, steps):
    return descend_solution(loss_of, start, lr, 1)


DESCEND = Case(
    solution=descend_solution,
    skeleton=descend_skeleton,
    also_right=[descend_by_grad, descend_zeroing_after],
    wrong=[
        (descend_without_zeroing, "`backward()` *adds* to `w.grad`"),
        (descend_in_place_on_leaf, "with torch.no_grad()"),
        (descend_rebinding, "made a *new* tensor"),
        (descend_without_asking, "nothing was recorded"),
        (descend_one_loss, "compute the loss anew"),
        (descend_on_the_callers, "the caller's tensor `start` has changed"),
        (descend_on_a_detached_copy, "the result is where you started"),
        (descend_returning_inside, "inside the loop"),
        (
            lambda loss_of, start, lr, steps: descend_solution(loss_of, start, -lr, steps),
            "you walk uphill",
        ),
        (
            lambda loss_of, start, lr, steps: descend_solution(loss_of, start, lr, steps - 1),
            "one step too few",
        ),
        (
            lambda loss_of, start, lr, steps: descend_solution(loss_of, start, lr, steps + 1),
            "one step too many",
        ),
        (
            lambda loss_of, start, lr, steps: descend_solution(loss_of, start, 1.0, steps),
            "the learning rate is not",
        ),
        (
            lambda loss_of, start, lr, steps: loss_of(descend_solution(loss_of, start, lr, steps)),
            "the loss at the end",
        ),
        (
            lambda loss_of, start, lr, steps: loss_of(
                descend_solution(loss_of, start, lr, steps - 1)
            ),
            "the last loss",
        ),
    ],
)


# ----------------------------------------------------------------------------------- next_char_loss
def loss_skeleton(table, ids): ...


def loss_naive(table, ids):
    powers = table.exp()
    return -(powers / powers.sum(-1, keepdim=True))[ids[:-1], ids[1:]].log2().mean()


LOSS = Case(
    solution=lambda table, ids: F.cross_entropy(table[ids[:-1]], ids[1:]) / math.log(2),
    skeleton=loss_skeleton,
    also_right=[
        lambda table, ids: -table.log_softmax(-1)[ids[:-1], ids[1:]].mean() / math.log(2),
        lambda table, ids: (
            (table[ids[:-1]].logsumexp(-1) - table[ids[:-1], ids[1:]]).mean().item() / math.log(2)
        ),
    ],
    wrong=[
        (
            lambda table, ids: -table.log_softmax(0)[ids[:-1], ids[1:]].mean() / math.log(2),
            "softmax ran down",
        ),
        (lambda table, ids: F.cross_entropy(table[ids[:-1]], ids[1:]), "right, but in nats"),
        (
            lambda table, ids: -F.cross_entropy(table[ids[:-1]], ids[1:]) / math.log(2),
            "every probability is below 1",
        ),
        (
            lambda table, ids: (
                F.cross_entropy(table[ids[:-1]], ids[1:], reduction="sum") / math.log(2)
            ),
            "that is the sum over the text",
        ),
        (
            lambda table, ids: F.cross_entropy(table[ids], ids) / math.log(2),
            "each character predicts itself",
        ),
        (
            lambda table, ids: F.cross_entropy(table[ids[1:]], ids[:-1]) / math.log(2),
            "the text is read backwards",
        ),
        (
            lambda table, ids: F.cross_entropy(table[ids[:-1]].softmax(-1), ids[1:]) / math.log(2),
            "softmax was applied twice",
        ),
        (lambda table, ids: -table[ids[:-1], ids[1:]].mean() / math.log(2), "those are raw scores"),
        (
            lambda table, ids: -table.softmax(-1)[ids[:-1], ids[1:]].mean().log2(),
            "you averaged the probabilities",
        ),
        (loss_naive, "large ones overflow"),
        (
            lambda table, ids: F.cross_entropy(table[ids], ids, reduction="none"),
            "expected a number",
        ),
    ],
)

CASES = {
    check.row_shares: SHARES,
    check.mix: MIX,
    check.neuron_gradient: NEURON,
    check.descend: DESCEND,
    check.next_char_loss: LOSS,
}
test_checkers = tests_of(check, CASES)
