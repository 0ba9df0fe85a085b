"""The checkers of lesson 01 accept right answers, however written, and tell typical wrong answers
what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

from course_lib.lab.checks import pytorch as check
from course_lib.lab.solutions import pytorch as solutions
from tests.lab.checks.cases import Case, tests_of

# its first call imports much; on a busy machine that takes longer than an answer may
torch.func.grad(torch.sum)(torch.ones(1))

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


# ----------------------------------------------------------------------------------- normalize_rows
def rows_skeleton(counts): ...


def rows_in_place(counts):
    counts = counts.double()
    counts /= counts.sum(-1, keepdim=True)
    return counts


ROWS = Case(
    solution=solutions.normalize_rows_solution,
    skeleton=rows_skeleton,
    also_right=[
        lambda counts: counts / counts.sum(1)[:, None],
        lambda counts: (counts.mT / counts.sum(-1)).mT,
        lambda counts: torch.stack([row / row.sum() for row in counts]),
        lambda counts: torch.einsum("rc,r->rc", counts.double(), 1 / counts.sum(1)),
        lambda counts: F.normalize(counts.float(), p=1, dim=-1),
        lambda counts: counts.float().log().softmax(-1),
    ],
    wrong=[
        (rows_in_place, "changed its argument `counts`"),
        (lambda counts: counts / counts.sum(-1), "keepdim=True gives shape (n, 1)"),
        (lambda counts: counts / counts.sum(0), "your columns sum to 1"),
        (lambda counts: counts / counts.sum(), "the whole table sums to 1"),
        (lambda counts: counts.float().softmax(-1), "that is a softmax"),
        (lambda counts: counts // counts.sum(-1, keepdim=True), "throws the remainder away"),
        (lambda counts: counts / counts.amax(-1, keepdim=True), "the largest count of each row"),
        (lambda counts: F.normalize(counts.float(), dim=-1), "as a vector"),
        (lambda counts: counts / counts.float().mean(-1, keepdim=True), "divided by the mean"),
        (lambda counts: (counts + 1) / (counts + 1).sum(1)[:, None], "one was added"),
        (lambda counts: counts.sum(-1, keepdim=True), "expected (3, 3)"),
        (lambda counts: counts.tolist(), "torch.tensor"),
        (lambda counts: counts.softmax(-1), "your function stopped with"),
        (lambda counts: counts * counts.sum(-1, keepdim=True), "a table of 3 rows"),
        (lambda counts: counts.mT / counts.sum(-1), "numbers differ"),
        (
            lambda counts: counts / counts.sum(-1).view(3, 1) if len(counts) == 3 else counts / 8,
            "shape (2, 4)",
        ),
    ],
)


# ------------------------------------------------------------------------------------- weighted_sum
def sum_skeleton(weights, values): ...


def sum_by_hand(weights, values):
    return (weights[..., None] * values[:, None]).sum(2)


def sum_of_viewed(weights, values):
    B, S, C = values.shape
    return weights @ values.contiguous().view(B, C, S).mT


SUM = Case(
    solution=solutions.weighted_sum_solution,
    skeleton=sum_skeleton,
    also_right=[
        lambda weights, values: weights @ values,
        torch.bmm,
        sum_by_hand,
        lambda weights, values: torch.stack([w @ v for w, v in zip(weights, values, strict=True)]),
        torch.func.vmap(torch.matmul),
    ],
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
        (lambda weights, values: weights.softmax(-1) @ values, "you took a softmax"),
        (
            lambda weights, values: weights / weights.sum(-1, keepdim=True) @ values,
            "you scaled the weights",
        ),
        (
            lambda weights, values: torch.einsum("bts,bsc->tc", weights, values),
            "the batch was summed away",
        ),
        (lambda weights, values: weights @ values[0], "the values of the first"),
        (
            lambda weights, values: torch.einsum("bts,buc->btc", weights, values),
            "values separately",
        ),
        (lambda weights, values: weights.tril() @ values, "those of later inputs too"),
        (sum_of_viewed, "swap no axes"),
        (lambda weights, values: values @ weights, "numbers differ"),
        (lambda weights, values: (weights @ values).float().round(decimals=3), "numbers differ"),
        (lambda weights, values: weights.abs() @ values, "numbers differ"),
        (lambda weights, values: torch.einsum("bts,bsc->bts", weights, values), "numbers differ"),
    ],
)


# ---------------------------------------------------------------------------------- neuron_gradient
def neuron_skeleton(w, b, x, target): ...


def neuron_by_torch(w, b, x, target):
    w, b = (torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in (w, b))
    ((w * x + b).tanh() - target).square().backward()
    return w.grad, b.grad


def neuron_by_differences(w, b, x, target, h=1e-5):
    def loss(w, b):
        return (math.tanh(w * x + b) - target) ** 2

    return [(loss(w + h, b) - loss(w, b)) / h, (loss(w, b + h) - loss(w, b)) / h]


def neuron_by_func(w, b, x, target):
    def loss(w, b):
        return (torch.tanh(w * x + b) - target) ** 2

    return torch.func.grad(loss, argnums=(0, 1))(torch.tensor(w), torch.tensor(b))


def neuron_as_tensor(w, b, x, target):
    return torch.tensor(right_slope(w, b, x, target))


def neuron(slope):
    """An answer whose slope for z is `slope(z, y, target)`."""

    def answer(w, b, x, target):
        z = w * x + b
        dz = slope(z, math.tanh(z), target)
        return dz * x, dz

    return answer


def neuron_times(factors):
    """An answer with other last factors, `factors(w, b, x)`."""

    def answer(w, b, x, target):
        dz = right_slope(w, b, x, target)[1]
        return [dz * factor for factor in factors(w, b, x)]

    return answer


right_slope = neuron(lambda z, y, target: 2 * (y - target) * (1 - y * y))

NEURON = Case(
    solution=solutions.neuron_gradient_solution,
    skeleton=neuron_skeleton,
    also_right=[neuron_by_torch, neuron_by_differences, neuron_by_func, neuron_as_tensor],
    wrong=[
        (neuron(lambda z, y, target: (y - target) * (1 - y * y)), "exactly half of both"),
        (neuron(lambda z, y, target: 2 * (target - y) * (1 - y * y)), "the sign is not"),
        (neuron(lambda z, y, target: 2 * (y - target)), "the tanh is missing"),
        (neuron(lambda z, y, target: 2 * (y - target) * (1 - z * z)), "you used z, the input"),
        (neuron(lambda z, y, target: 2 * (y - target) * y), "multiplied by y itself"),
        (
            lambda w, b, x, target: right_slope(w, b, x, target)[1:] * 2,
            "right for b, but w reaches z",
        ),
        (lambda w, b, x, target: right_slope(w, b, x, target)[::-1], "the two are swapped"),
        (lambda w, b, x, target: right_slope(w, b, x, target)[0], "return two numbers"),
        (neuron_times(lambda w, b, x: (x, b)), "right for w, but not for b"),
        (neuron_times(lambda w, b, x: (w, 1)), "the factor for w is x, not w"),
        (neuron_times(lambda w, b, x: (w, b)), "the last factors are x"),
        (lambda w, b, x, target: right_slope(w, 0, x, target), "b is missing from z"),
        (neuron(lambda z, y, target: 2 * (max(z, 0) - target) * (z > 0)), "a neuron with a relu"),
        (neuron(lambda z, y, target: 2 * (y - target) * (1 - y)), "multiplied by 1 - y"),
        (neuron(lambda z, y, target: 2 * (z - target)), "you left the tanh out"),
        (lambda *args: dict(zip("wb", right_slope(*args), strict=True)), "return two numbers"),
        (lambda w, b, x, target: (right_slope(w, b, x, target)[1] * w,) * 2, "at w=0.5, b=-0.2"),
        (lambda w, b, x, target: right_slope(w, b, abs(x), target), "at w=0.8, b=0.1"),
        (neuron(lambda z, y, target: 2 * (y - target) ** 2 * (1 - y * y)), "at w=0.5, b=-0.2"),
        (neuron(lambda z, y, target: (y - target) ** 2), "at w=0.5, b=-0.2"),
    ],
)


# --------------------------------------------------------------------------------- gradient_descent
def descend_skeleton(loss_fn, start, lr, steps): ...


descend_solution = solutions.gradient_descent_solution


def descend_by_grad(loss_fn, start, lr, steps):
    for _ in range(steps):
        leaf = start.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss_fn(leaf), leaf)
        start = start - lr * slope
    return start.clone()


def descend_zeroing_after(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_fn(w).backward()
        w.data -= lr * w.grad
        w.grad.zero_()
    return w.data


def descend_by_func(loss_fn, start, lr, steps):
    w, gradient = start.clone(), torch.func.grad(loss_fn)
    for _ in range(steps):
        w = w - lr * gradient(w)
    return w


class Descent:
    def __call__(self, loss_fn, start, lr, steps):
        return descend_solution(loss_fn, start, lr, steps)


def descend_changing_nothing(loss_fn, start, lr, steps):
    w = start
    for _ in range(steps):
        w = w - lr * torch.func.grad(loss_fn)(w)
    return w


def descend_still_recording(loss_fn, start, lr, steps):
    return descend_solution(loss_fn, start, lr, steps).requires_grad_()


def descend_with_gradient_of_the_start(loss_fn, start, lr, steps):
    return start - steps * lr * torch.func.grad(loss_fn)(start)


def descend_from_zero(loss_fn, start, lr, steps):
    return descend_solution(loss_fn, torch.zeros_like(start), lr, steps)


def descend_by_unit_steps(loss_fn, start, lr, steps):
    w = start.clone()
    for _ in range(steps):
        gradient = torch.func.grad(loss_fn)(w)
        w -= lr * gradient / gradient.norm()
    return w


def descend_with_falling_rate(loss_fn, start, lr, steps):
    w = start.clone()
    for step in range(steps):
        w = descend_solution(loss_fn, w, lr / (step + 1), 1)
    return w


def descend_by_optimizer(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_fn(w).backward()
        optimizer.step()
    return w.detach()


def descend_for_vectors_only(loss_fn, start, lr, steps):
    w = descend_solution(loss_fn, start, lr, steps)
    return w if w.ndim == 1 else w[0]


def descend_without_zeroing(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_fn(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w


def descend_in_place_on_leaf(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_fn(w).backward()
        w -= lr * w.grad
    return w


def descend_rebinding(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_fn(w).backward()
        w = w - lr * w.grad
    return w


def descend_without_asking(loss_fn, start, lr, steps):
    w = start.clone()
    for _ in range(steps):
        loss_fn(w).backward()
        w -= lr * w.grad
    return w


def descend_one_loss(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    loss = loss_fn(w)
    for _ in range(steps):
        w.grad = None
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w


def descend_on_the_callers(loss_fn, start, lr, steps):
    w = start.requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_fn(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def descend_on_a_detached_copy(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_fn(w).backward()
        moved = w.detach().clone()
        moved -= lr * w.grad
    return w


def descend_returning_inside(loss_fn, start, lr, steps):
    return descend_solution(loss_fn, start, lr, 1)


def descend_to_the_lowest(loss_fn, start, lr, steps):
    ways = [descend_solution(loss_fn, start, lr, n) for n in range(steps + 1)]
    return min(ways, key=loss_fn)


DESCENT = Case(
    solution=descend_solution,
    skeleton=descend_skeleton,
    also_right=[descend_by_grad, descend_zeroing_after, descend_by_func, Descent()],
    wrong=[
        (descend_without_zeroing, "`backward()` *adds* to `w.grad`"),
        (descend_in_place_on_leaf, "with torch.no_grad()"),
        (descend_rebinding, "makes such a *new* tensor"),
        (descend_without_asking, "nothing was recorded"),
        (descend_one_loss, "compute the loss anew"),
        (descend_on_the_callers, "the same numbers in memory"),
        (descend_changing_nothing, "the same numbers in memory"),
        (descend_still_recording, "still requires gradients"),
        (descend_with_gradient_of_the_start, "the gradient at the start"),
        (descend_by_optimizer, "an optimizer of torch.optim"),
        (descend_from_zero, "you began at zero"),
        (descend_by_unit_steps, "divided the gradient by its length"),
        (descend_with_falling_rate, "w after 4 steps in a bowl"),
        (descend_for_vectors_only, "expected (3, 2)"),
        (descend_on_a_detached_copy, "the result is where you started"),
        (descend_returning_inside, "inside the loop"),
        (descend_to_the_lowest, "even if the loss grew"),
        (
            lambda loss_fn, start, lr, steps: descend_solution(loss_fn, start, -lr, steps),
            "you walk uphill",
        ),
        (
            lambda loss_fn, start, lr, steps: descend_solution(loss_fn, start, lr, steps - 1),
            "one step too few",
        ),
        (
            lambda loss_fn, start, lr, steps: descend_solution(loss_fn, start, lr, steps + 1),
            "one step too many",
        ),
        (
            lambda loss_fn, start, lr, steps: descend_solution(loss_fn, start, 1.0, steps),
            "the learning rate is not",
        ),
        (
            lambda loss_fn, start, lr, steps: loss_fn(descend_solution(loss_fn, start, lr, steps)),
            "the loss at the end",
        ),
        (
            lambda loss_fn, start, lr, steps: loss_fn(
                descend_solution(loss_fn, start, lr, steps - 1)
            ),
            "the last loss",
        ),
    ],
)


# ----------------------------------------------------------------------------------- next_char_loss
def loss_skeleton(table, ids): ...


def loss_by_loop(table, ids):
    nats = table.double().log_softmax(-1).tolist()
    pairs = list(zip(ids.tolist(), ids.tolist()[1:], strict=False))
    return -sum(nats[a][b] for a, b in pairs) / len(pairs) / math.log(2)


def loss_by_one_hot(table, ids):
    hits = F.one_hot(ids[1:], len(table)) * table.log_softmax(-1)[ids[:-1]]
    return -hits.sum(-1).mean() / math.log(2)


def loss_of_pairs_that_occur(table, ids):
    pairs = torch.stack([ids[:-1], ids[1:]]).unique(dim=1)
    return -table.log_softmax(-1)[pairs[0], pairs[1]].mean() / math.log(2)


def loss_naive(table, ids):
    powers = table.exp()
    return -(powers / powers.sum(-1, keepdim=True))[ids[:-1], ids[1:]].log2().mean()


LOSS = Case(
    solution=solutions.next_char_loss_solution,
    skeleton=loss_skeleton,
    also_right=[
        loss_by_loop,
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
        (lambda table, ids: F.cross_entropy(table[ids[:-1]], ids[1:]), "the natural logarithm"),
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
        (lambda table, ids: -table[ids[:-1], ids[1:]].mean() / math.log(2), "those are logits"),
        (
            lambda table, ids: -table.softmax(-1)[ids[:-1], ids[1:]].mean().log2(),
            "you averaged the probabilities",
        ),
        (loss_naive, "large ones overflow"),
        (
            lambda table, ids: -table.softmax(-1)[ids[:-1], ids[1:]].log2().mean(),
            "the logarithm of 0 is infinite",
        ),
        (loss_by_one_hot, "minus infinity"),
        (loss_of_pairs_that_occur, "the bits per character of 7"),
        (
            lambda table, ids: F.cross_entropy(table[ids[:-1]], ids[1:]) * math.log(2),
            "you multiplied by math.log(2)",
        ),
        (
            lambda table, ids: (
                F.cross_entropy(table[ids[:-1]], ids[1:], reduction="sum") / len(ids) / math.log(2)
            ),
            "the number of characters",
        ),
        (
            lambda table, ids: F.cross_entropy(table[ids], ids.roll(-1)) / math.log(2),
            "`roll` goes round",
        ),
        (lambda table, ids: F.cross_entropy(table[ids[:-1]], ids[1:]).exp(), "the perplexity"),
        (
            lambda table, ids: F.cross_entropy(table.mT[ids[:-1]], ids[1:]) / math.log(2),
            "the table is transposed",
        ),
        (
            lambda table, ids: F.cross_entropy(table[ids], ids, reduction="none"),
            "expected a number",
        ),
    ],
)

CASES = {
    check.normalize_rows: ROWS,
    check.weighted_sum: SUM,
    check.neuron_gradient: NEURON,
    check.gradient_descent: DESCENT,
    check.next_char_loss: LOSS,
}
test_checkers = tests_of(check, CASES)
