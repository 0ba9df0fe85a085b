"""Checkers of lesson 01. Their truths: plain Python loops, closed forms, finite differences."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import Slip, judge_by_slips

# --------------------------------------------------------------------------------------------------
# Exercise 1: normalize_rows
# --------------------------------------------------------------------------------------------------


def _normalized_by_loops(counts: Tensor) -> Tensor:
    """Divide number by number."""
    rows = [[n / sum(row) for n in row] for row in counts.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


ROW_SLIPS: list[Slip] = [
    (
        lambda counts: counts / counts.sum(-1),
        "no error, but the rows don't sum to 1. The totals of n rows have shape (n,), and"
        " broadcasting aligns from the right, so each *column* was divided by a total. Keep the"
        " summed axis: keepdim=True gives shape (n, 1).",
    ),
    (
        lambda counts: counts / counts.sum(0),
        "your columns sum to 1, not your rows. Summing over dim 0 runs down the columns.",
    ),
    (
        lambda counts: counts / counts.sum(),
        "the whole table sums to 1. Each row should: sum over the last axis only.",
    ),
    (
        lambda counts: counts.double().softmax(-1),
        "that is a softmax. It also makes rows that sum to 1, but from e to the power of each"
        " number. A count of 0 must become a probability of 0: just divide.",
    ),
    (
        lambda counts: counts // counts.sum(-1, keepdim=True),
        "`//` divides whole numbers and throws the remainder away. Use `/`.",
    ),
    (
        lambda counts: counts / counts.amax(-1, keepdim=True),
        "you divided by the largest count of each row, not by its total.",
    ),
    (
        lambda counts: counts / counts.double().mean(-1, keepdim=True),
        "you divided by the mean of each row, not by its total.",
    ),
    (
        lambda counts: counts / counts.double().norm(dim=-1, keepdim=True),
        "you divided by the length of each row as a vector (its squares sum to 1 now). Divide by"
        " its total.",
    ),
    (
        lambda counts: _normalized_by_loops(counts + 1),
        "one was added to every count. Take the counts as they are: a count of 0 must become a"
        " probability of 0.",
    ),
]


@checker
def normalize_rows(attempt: Attempt) -> str:
    """Divide each row of a table of counts by its total."""
    square = torch.tensor([[1, 1, 2], [0, 5, 0], [4, 3, 3]])
    judge_by_slips(
        attempt, [(square,)], _normalized_by_loops, ROW_SLIPS, lambda _: "a table of 3 rows"
    )
    rng = torch.Generator().manual_seed(3)
    wide = torch.randint(1, 9, (2, 4), generator=rng)
    for counts in (wide, wide.mT, wide.float(), wide.double(), torch.tensor([[7]])):
        what = f"the rows of a table of shape {tuple(counts.shape)}, {counts.dtype}"
        expect(attempt(counts), _normalized_by_loops(counts), what)
    return "every row sums to 1, whatever the shape of the table."


# --------------------------------------------------------------------------------------------------
# Exercise 2: weighted_sum
# --------------------------------------------------------------------------------------------------


def _sum_by_loops(weights: Tensor, values: Tensor) -> Tensor:
    """Add up weight times value over s, with four loops and nothing else."""
    (n_batch, n_out, n_in), n_channels = weights.shape, values.shape[-1]
    w, v = weights.tolist(), values.tolist()
    out = torch.zeros(n_batch, n_out, n_channels, dtype=torch.float64)
    for b in range(n_batch):
        for t in range(n_out):
            for c in range(n_channels):
                out[b, t, c] = sum(w[b][t][s] * v[b][s][c] for s in range(n_in))
    return out


def _viewed_as_swapped(values: Tensor) -> Tensor:
    """Cut the numbers into the shape of the transposed tensor, without transposing."""
    return values.reshape(values.mT.shape)


SUM_SLIPS: list[Slip] = [
    (
        lambda weights, values: _sum_by_loops(weights.mT, values),
        "the weights are read the wrong way round: you summed over t (the outputs). The weights of"
        " output t are weights[b, t, :], so the letter that vanishes is s.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights, values.mT),
        "you summed over the channels of `values`. The letter to share is s: values is bsc.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights, values).mT,
        "the numbers are right, but the last two axes are swapped. The output is btc: token first,"
        " channels last.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights, values) / weights.shape[-1],
        "you averaged over s. The weights already say how much of each row to take: sum, don't"
        " divide.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights, values.sum(0).expand_as(values)),
        "sequences of the batch were mixed with each other. Both inputs and the output carry b: use"
        " one letter.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights, values[:1].expand_as(values)),
        "every sequence of the batch got the values of the first. Sequence b has its own,"
        " values[b].",
    ),
    (
        lambda weights, values: _sum_by_loops(weights, values).sum(0),
        "the batch was summed away. Each sequence has its own result: the output carries b.",
    ),
    (
        lambda weights, values: weights.sum(-1, keepdim=True) * values.sum(1, keepdim=True),
        "you summed weights and values separately and multiplied the sums. Multiply the pairs of"
        " one s first: both inputs share the letter s.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights.tril(), values),
        "only inputs up to the output's own place were summed. There is no mask here: all weights"
        " count, those of later inputs too.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights, _viewed_as_swapped(values).mT),
        "`view` and `reshape` swap no axes, they mix the numbers; and none need be swapped: values"
        " is bsc, and the letter to share is s.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights.softmax(-1), values),
        "you took a softmax of the weights. They are weights already: multiply and sum.",
    ),
    (
        lambda weights, values: _sum_by_loops(weights / weights.sum(-1, keepdim=True), values),
        "you scaled the weights to sum to 1. Take them as they are given.",
    ),
    (
        lambda weights, values: weights * values,
        "that multiplies number by number and sums nothing. (It ran only because T, S and C are"
        " equal here.)",
    ),
]


@checker
def weighted_sum(attempt: Attempt) -> str:
    """Sum the rows of `values` (B, S, C), weighted by `weights` (B, T, S)."""
    rng = torch.Generator().manual_seed(7)
    inputs = [(torch.rand(2, 3, 3, generator=rng), torch.randn(2, 3, 3, generator=rng))]
    for B, T, S, C in ((2, 4, 3, 5), (3, 1, 2, 4), (1, 2, 1, 1)):
        weights = torch.randn(B, T, S, generator=rng, dtype=torch.float64)
        inputs.append((weights, torch.randn(B, S, C, generator=rng, dtype=torch.float64)))
    weights, values = inputs[1]
    inputs.append((weights, values.mT.contiguous().mT))  # `view` refuses it
    judge_by_slips(attempt, inputs, _sum_by_loops, SUM_SLIPS, _named_sum)
    return "four loops in one line. Half of an attention layer is this product."


def _named_sum(weights: Tensor, values: Tensor) -> str:
    (B, T, S), C = weights.shape, values.shape[-1]
    return f"the weighted sums with B = {B}, T = {T}, S = {S}, C = {C} ({weights.dtype})"


# --------------------------------------------------------------------------------------------------
# Exercise 3: neuron_gradient
# --------------------------------------------------------------------------------------------------


def _gradient_by_differences(w: float, b: float, x: float, target: float) -> list[float]:
    """Change w, then b, a little up and down, in (tanh(w * x + b) - target) ** 2."""

    def loss(w: float, b: float) -> float:
        return (math.tanh(w * x + b) - target) ** 2

    h = 1e-5
    return [
        (loss(w + h, b) - loss(w - h, b)) / (2 * h),
        (loss(w, b + h) - loss(w, b - h)) / (2 * h),
    ]


def _gradient_with(dz: Callable[[float, float, float], float]) -> Callable[..., list[float]]:
    """Make an answer from a formula `dz(z, y, target)` for dL/dz; dL/dw is x times that."""

    def gradient(w: float, b: float, x: float, target: float) -> list[float]:
        z = w * x + b
        slope = dz(z, math.tanh(z), target)
        return [slope * x, slope]

    return gradient


def _gradient_with_factors(factors: Callable[..., tuple[float, float]]) -> Callable[..., list]:
    """Make an answer that multiplies dL/dz by `factors(w, b, x)`, for w and for b."""

    def gradient(w: float, b: float, x: float, target: float) -> list[float]:
        dz = _gradient_by_differences(w, b, x, target)[1]
        return [dz * factor for factor in factors(w, b, x)]

    return gradient


NEURON_SLIPS: list[Slip] = [
    (
        _gradient_with(lambda z, y, target: (y - target) * (1 - y * y)),
        "exactly half of both. The square on the outside has a derivative too: 2 * (y - target).",
    ),
    (
        _gradient_with(lambda z, y, target: 2 * (target - y) * (1 - y * y)),
        "the size is right, the sign is not. The derivative of (y - target)**2 is 2 * (y -"
        " target).",
    ),
    (
        _gradient_with(lambda z, y, target: 2 * (y - target)),
        "the tanh is missing from the chain. Between z and y the derivative is 1 - y**2.",
    ),
    (
        _gradient_with(lambda z, y, target: 2 * (y - target) * (1 - z * z)),
        "the derivative of tanh is 1 - y**2, where y is its *output*. You used z, the input.",
    ),
    (
        _gradient_with(lambda z, y, target: 2 * (y - target) * y),
        "between z and y you multiplied by y itself; the *derivative* of tanh is 1 - y**2.",
    ),
    (
        _gradient_with(lambda z, y, target: 2 * (y - target) * (1 - y)),
        "between z and y you multiplied by 1 - y; the derivative of tanh is 1 - y**2.",
    ),
    (
        _gradient_with(lambda z, y, target: 2 * (z - target)),
        "you left the tanh out: y is tanh(z), and its derivative is one more factor.",
    ),
    (
        lambda *args: [_gradient_by_differences(*args)[1]] * 2,
        "right for b, but w reaches z through x: change w by 1 and z moves by x.",
    ),
    (
        lambda *args: _gradient_by_differences(*args)[::-1],
        "the two are swapped: return the derivative for w first.",
    ),
    (
        _gradient_with_factors(lambda w, b, x: (x, b)),
        "right for w, but not for b: b is added to z as it is, so its own factor is 1, not b.",
    ),
    (
        _gradient_with_factors(lambda w, b, x: (w, 1)),
        "right for b, but the factor for w is x, not w: change w by 1 and z moves by x.",
    ),
    (
        _gradient_with_factors(lambda w, b, x: (w, b)),
        "the last factors are x for w and 1 for b, not w and b: change w by 1 and z moves by x.",
    ),
    (
        lambda w, b, x, target: _gradient_by_differences(w, 0.0, x, target),
        "b is missing from z, which is w * x + b.",
    ),
    (
        _gradient_with(lambda z, y, target: 2 * (max(z, 0.0) - target) * (z > 0)),
        "that is the gradient of a neuron with a relu. Here y is tanh(z).",
    ),
]


@checker
def neuron_gradient(attempt: Attempt) -> str:
    """Give (dL/dw, dL/db) of L = (tanh(w * x + b) - target) ** 2."""
    points = [(0.5, -0.2, 2.0, 0.9), (-0.3, 0.4, 0.7, -0.5), (0.8, 0.1, -1.5, 0.2)]

    def pair(*args: float) -> list[float]:
        got = attempt(*args)
        if isinstance(got, dict | str) or not hasattr(got, "__len__") or len(got) != 2:
            raise Wrong(
                "return two numbers, first the derivative for w, then that for b: `return dw, db`."
                f" Yours is {describe(got)}."
            )
        return [float(number) for number in got]

    judge_by_slips(
        pair,
        [*points, (0.7, 0.3, 0.0, 0.5), (0.6, 0.2, 3.0, 1.0)],
        _gradient_by_differences,
        NEURON_SLIPS,
        lambda w, b, x, target: f"(dL/dw, dL/db) at w={w}, b={b}, x={x}, target={target}",
        1e-4,
    )
    return "your chain rule agrees with finite differences, at five points."


# --------------------------------------------------------------------------------------------------
# Exercise 4: gradient_descent
# --------------------------------------------------------------------------------------------------

BOTTOM, STEEPNESS = torch.tensor([1.0, -2.0]), torch.tensor([1.0, 3.0])


def _bowl(w: Tensor) -> Tensor:
    return (STEEPNESS.to(w.dtype) * (w - BOTTOM.to(w.dtype)) ** 2).sum()


def _descended(loss_fn: Callable, start: Tensor, lr: float, steps: int) -> Tensor:
    """Solve the descent in the bowl: each step shrinks the distance to the bottom by 1 - 2 * lr *
    steepness."""
    return BOTTOM + (1 - 2 * lr * STEEPNESS) ** steps * (start - BOTTOM)


def _without_zeroing(loss_fn: Callable, start: Tensor, lr: float, steps: int) -> Tensor:
    w, summed = start, torch.zeros(2)
    for _ in range(steps):
        summed = summed + 2 * STEEPNESS * (w - BOTTOM)
        w = w - lr * summed
    return w


def _by_unit_steps(loss_fn: Callable, start: Tensor, lr: float, steps: int) -> Tensor:
    w = start
    for _ in range(steps):
        gradient = 2 * STEEPNESS * (w - BOTTOM)
        w = w - lr * gradient / gradient.norm()
    return w


def _best_of_descent(loss_fn: Callable, start: Tensor, lr: float, steps: int) -> Tensor:
    """The parameters with the lowest loss on the way."""
    return min((_descended(loss_fn, start, lr, n) for n in range(steps + 1)), key=_bowl)


DESCENT_SLIPS: list[Slip] = [
    (
        _without_zeroing,
        "the first step is right and the later ones are too long: `backward()` *adds* to `w.grad`,"
        " so step 2 uses the sum of two gradients. Empty it in every step: `w.grad = None`.",
    ),
    (
        lambda loss_fn, start, lr, steps: _descended(loss_fn, start, -lr, steps),
        "you walk uphill. The gradient points to where the loss grows: subtract it.",
    ),
    (
        lambda loss_fn, start, lr, steps: start,
        "the result is where you started. Is the step ever applied to the tensor that you return?",
    ),
    (
        lambda loss_fn, start, lr, steps: _descended(loss_fn, start, lr, steps - 1),
        "one step too few.",
    ),
    (
        lambda loss_fn, start, lr, steps: _descended(loss_fn, start, lr, steps + 1),
        "one step too many.",
    ),
    (
        lambda loss_fn, start, lr, steps: _descended(loss_fn, start, lr, 1),
        "only the first step was taken. Is the `return` inside the loop?",
    ),
    (
        lambda loss_fn, start, lr, steps: _descended(loss_fn, start, 1.0, steps),
        "the learning rate is not used: the step is lr times the gradient.",
    ),
    (
        lambda loss_fn, start, lr, steps: start - steps * lr * 2 * STEEPNESS * (start - BOTTOM),
        "every step uses the gradient at the start. Compute it anew where w is now.",
    ),
    (
        lambda loss_fn, start, lr, steps: _descended(loss_fn, torch.zeros(2), lr, steps),
        "you began at zero, not at `start`.",
    ),
    (
        _best_of_descent,
        "you return the parameters with the lowest loss on the way. Take exactly `steps` steps and"
        " return where the last one ends, even if the loss grew.",
    ),
    (
        _by_unit_steps,
        "you divided the gradient by its length. The step is lr times the gradient as it is.",
    ),
    (
        lambda *args: _bowl(_descended(*args)),
        "that is the loss at the end. Return the parameters w.",
    ),
    (
        lambda loss_fn, start, lr, steps: _bowl(_descended(loss_fn, start, lr, steps - 1)),
        "that is the last loss. Return the parameters w.",
    ),
]

DESCENT_ERRORS = {
    "leaf Variable that requires grad": (
        "torch refuses `w -= ...` while it records. The step itself is not part of the formula to"
        " differentiate: put it under `with torch.no_grad():`."
    ),
    "'NoneType'": (
        "`.grad` is None where no `backward()` came before, and for a tensor that a formula made:"
        " `w = w - lr * w.grad` makes such a *new* tensor. Change w in place: `w -= ...` under"
        " no_grad."
    ),
    "does not require grad": (
        "nothing was recorded, so `backward()` has nothing to walk through. Ask for it on the"
        " tensor that you start from: `w = start.clone().requires_grad_()`."
    ),
    "backward through the graph a second time": (
        "compute the loss anew in every step: `backward()` uses up the record."
    ),
}


@checker
def gradient_descent(attempt: Attempt) -> str:
    """Take `steps` steps of gradient descent on `loss_fn` from `start`."""

    def descended(*args: object) -> object:
        try:
            return attempt(*args)
        except Wrong as reason:
            hints = [told for key, told in DESCENT_ERRORS.items() if key in str(reason)]
            raise Wrong("\n    ".join([str(reason), *hints[:1]])) from None

    if "optim" in getattr(getattr(attempt.answer, "__code__", None), "co_names", ()):
        raise Wrong("you use an optimizer of torch.optim. Take the step yourself: lr times w.grad.")
    start, other = torch.tensor([3.0, 1.0]), torch.tensor([-1.0, -1.5])
    inputs = [(_bowl, start, 0.05, 4), (_bowl, other, 0.1, 3)]
    inputs.append((_bowl, start, 0.4, 3))  # so long a step that the loss grows
    judge_by_slips(descended, inputs, _descended, DESCENT_SLIPS, _named_descent)
    table = torch.tensor([[3.0, 1.0], [0.0, 0.5], [1.0, -2.0]], dtype=torch.float64)
    for args in ((_bowl, start, 0.05, 1), (_bowl, start, 0.05, 0), (_bowl, table, 0.02, 7)):
        expect(descended(*args), _descended(*args), _named_descent(*args))
    before = start.clone()
    for steps in (3, 0):
        ended = attempt.in_place(_bowl, start, 0.05, steps)
        if not torch.equal(start, before) or _share_memory(ended, start):
            raise Wrong(
                "right numbers, but your w and the caller's tensor `start` are the same numbers in"
                " memory: `w = start` is a second name, not a copy. Begin with `start.clone()`."
            )
    if ended.requires_grad:
        raise Wrong(
            "right numbers, but what you return still requires gradients, so all that is computed"
            " from it later would be recorded too. Return `w.detach()`."
        )
    return "the same points as the closed formula for a bowl gives."


def _named_descent(loss_fn: Callable, start: Tensor, lr: float, steps: int) -> str:
    return f"w after {steps} steps in a bowl, from {start.tolist()} with lr={lr}"


def _share_memory(a: object, b: Tensor) -> bool:
    return isinstance(a, Tensor) and a.data_ptr() == b.data_ptr()


# --------------------------------------------------------------------------------------------------
# Exercise 5: next_char_loss
# --------------------------------------------------------------------------------------------------


def _bits_by_hand(table: Tensor, ids: Tensor) -> float:
    """Average -log2 of the probability that each character gave to the one after it, without
    tensors; the largest logit is taken out first."""
    rows, text, nats = table.tolist(), ids.tolist(), []
    for here, after in zip(text[:-1], text[1:], strict=True):
        best = max(rows[here])
        total = sum(math.exp(logit - best) for logit in rows[here])
        nats.append(math.log(total) + best - rows[here][after])
    return sum(nats) / len(nats) / math.log(2)


BIT = math.log(2)
LOSS_SLIPS: list[Slip] = [
    (
        lambda table, ids: -table.log_softmax(0)[ids[:-1], ids[1:]].mean() / BIT,
        "softmax ran down the columns (dim 0): it shares 1 among the characters *before*, for each"
        " next one. A row is one prediction, so the row must sum to 1: dim -1.",
    ),
    (
        lambda table, ids: _bits_by_hand(table, ids) * BIT,
        "right, but with the natural logarithm. One bit is ln 2 of its units: divide by"
        " math.log(2).",
    ),
    (
        lambda table, ids: _bits_by_hand(table, ids) * BIT * BIT,
        "you multiplied by math.log(2). Divide by it.",
    ),
    (
        lambda table, ids: -_bits_by_hand(table, ids),
        "every probability is below 1, so its logarithm is negative. The loss is *minus* the"
        " average.",
    ),
    (
        lambda table, ids: _bits_by_hand(table, ids) * (len(ids) - 1),
        "that is the sum over the text. Take the mean, so that long and short texts compare.",
    ),
    (
        lambda table, ids: _bits_by_hand(table, ids) * (len(ids) - 1) / len(ids),
        "you divided by the number of characters. The first one is never predicted: divide by one"
        " less.",
    ),
    (
        lambda table, ids: F.cross_entropy(table[ids], ids) / BIT,
        "each character predicts itself. Inputs are ids[:-1], targets are ids[1:]: the same text,"
        " shifted by one.",
    ),
    (
        lambda table, ids: F.cross_entropy(table[ids[1:]], ids[:-1]) / BIT,
        "the text is read backwards: the later character predicts the earlier one.",
    ),
    (
        lambda table, ids: F.cross_entropy(table[ids], ids.roll(-1)) / BIT,
        "the last character predicts the first, since `roll` goes round. Inputs are ids[:-1],"
        " targets are ids[1:].",
    ),
    (
        lambda table, ids: F.cross_entropy(table[ids[:-1]].softmax(-1), ids[1:]) / BIT,
        "softmax was applied twice: F.cross_entropy wants logits and does the softmax itself.",
    ),
    (
        lambda table, ids: -table[ids[:-1], ids[1:]].mean() / BIT,
        "those are logits. They become probabilities only after a softmax over each row.",
    ),
    (
        lambda table, ids: -table.softmax(-1)[ids[:-1], ids[1:]].mean().log2(),
        "you averaged the probabilities and took one logarithm. Take the logarithm of each, then"
        " average.",
    ),
    (
        lambda table, ids: 2 ** _bits_by_hand(table, ids),
        "that is the perplexity, 2 to the power of what was asked for.",
    ),
    (
        lambda table, ids: F.cross_entropy(table.mT[ids[:-1]], ids[1:]) / BIT,
        "the table is transposed: you took the columns of the inputs. Row i, `table[i]`, holds the"
        " logits of what follows character i.",
    ),
]


@checker
def next_char_loss(attempt: Attempt) -> str:
    """Score a (V, V) table of next-character logits on a text, in bits per character."""
    rng = torch.Generator().manual_seed(5)
    table = torch.tensor([[0.0, 2.0, -1.0], [1.5, 0.0, 0.5], [-0.5, 1.0, 3.0]])
    ids = torch.tensor([0, 1, 2, 2, 1, 0, 1])
    wider = torch.randn(5, 5, generator=rng, dtype=torch.float64).mT
    text = torch.randint(5, (40,), generator=rng)
    inputs = [(table, ids), (wider, text), (table, ids[1:3])]
    judge_by_slips(attempt, inputs, _bits_by_hand, LOSS_SLIPS, _named_text, 1e-4)
    big = attempt(table * 400, ids)
    if math.isinf(float(big)):
        raise Wrong(
            "right for small logits, but large ones make a probability so small that it is rounded"
            " to 0, and the logarithm of 0 is infinite. Use log_softmax or F.cross_entropy, which"
            " need no probability on the way."
        )
    if math.isnan(float(big)):
        raise Wrong(
            "right for small logits, but large ones overflow (e to the 1000 is infinite, and"
            " inf/inf is NaN). Use log_softmax or F.cross_entropy, which subtract the largest logit"
            " first."
        )
    expect(big, _bits_by_hand(table * 400, ids), "the bits with logits 400 times as large", 1e-4)
    never = table.clone()
    never[0, 2] = -math.inf  # the text never goes from 0 to 2
    what = "the bits with one logit of minus infinity, at a pair that the text does not hold"
    expect(attempt(never, ids), _bits_by_hand(never, ids), what, 1e-4)
    return "the loss of every language model in this course has this form."


def _named_text(table: Tensor, ids: Tensor) -> str:
    return f"the bits per character of {len(ids)} ids with a table of shape {tuple(table.shape)}"
