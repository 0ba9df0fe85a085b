"""Checkers of lesson 01. Their truths: numbers worked by hand, plain Python loops, closed forms,
finite differences."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.compare import recognise
from course_lib.lab.checks.core import Attempt, Wrong, checker, expect

# --------------------------------------------------------------------------------------------------
# Exercise 1: row_shares
# --------------------------------------------------------------------------------------------------


@checker
def row_shares(attempt: Attempt) -> str:
    """Turn each row of a table of counts into shares that sum to 1."""
    counts = torch.tensor([[1, 1, 2], [0, 5, 0], [4, 3, 3]])
    want = torch.tensor([[0.25, 0.25, 0.5], [0.0, 1.0, 0.0], [0.4, 0.3, 0.3]])
    got = attempt(counts)
    recognise(
        got,
        (
            counts / counts.sum(-1),
            (
                "no error, but the rows do not sum to 1. The row totals have shape (3,), and"
                " broadcasting aligns from the right, so each *column* was divided by a total. Keep"
                " the summed axis: keepdim=True gives shape (3, 1)."
            ),
        ),
        (
            counts / counts.sum(0),
            "your columns sum to 1, not your rows. Summing over dim 0 runs down the columns.",
        ),
        (
            counts / counts.sum(),
            "the whole table sums to 1. Each row should: sum over the last axis only.",
        ),
        (
            counts.float().softmax(-1),
            (
                "that is a softmax. It also makes rows that sum to 1, but from e to the power of"
                " each number. A count of 0 must stay a share of 0: just divide."
            ),
        ),
        (
            counts // counts.sum(-1, keepdim=True),
            (
                "`//` divides whole numbers and throws the remainder away, so almost everything"
                " became 0. Use `/`."
            ),
        ),
        (
            counts / counts.amax(-1, keepdim=True),
            "you divided by the largest count of each row, not by its total.",
        ),
    )
    expect(got, want, "the shares of [[1, 1, 2], [0, 5, 0], [4, 3, 3]]")
    got = attempt(torch.tensor([[1, 3, 4, 0]]))
    expect(got, torch.tensor([[0.125, 0.375, 0.5, 0.0]]), "the shares of [[1, 3, 4, 0]]")
    return "right: every row sums to 1, whatever the shape of the table."


# --------------------------------------------------------------------------------------------------
# Exercise 2: mix
# --------------------------------------------------------------------------------------------------


def _mix_by_loops(weights: Tensor, values: Tensor) -> Tensor:
    """Compute the mixture with four loops and nothing else."""
    (n_batch, n_out, n_in), n_channels = weights.shape, values.shape[-1]
    out = torch.zeros(n_batch, n_out, n_channels)
    for b in range(n_batch):
        for t in range(n_out):
            for c in range(n_channels):
                out[b, t, c] = sum(
                    weights[b, t, s].item() * values[b, s, c].item() for s in range(n_in)
                )
    return out


@checker
def mix(attempt: Attempt) -> str:
    """Mix the rows of `values` (B, S, C) by `weights` (B, T, S)."""
    rng = torch.Generator().manual_seed(7)
    weights, values = torch.rand(2, 3, 3, generator=rng), torch.randn(2, 3, 3, generator=rng)
    want = _mix_by_loops(weights, values)
    got = attempt(weights, values)
    recognise(
        got,
        (
            _mix_by_loops(weights.mT, values),
            (
                "the weights are read the wrong way round: you summed over t (the outputs). Recipe"
                " t is the row weights[b, t, :], so the letter that vanishes is s."
            ),
        ),
        (
            _mix_by_loops(weights, values.mT),
            "you summed over the channels of `values`. The letter to share is s: values is bsc.",
        ),
        (
            want.mT,
            (
                "the numbers are right, but the last two axes are swapped. The output is btc: token"
                " first, channels last."
            ),
        ),
        (
            want / 3,
            (
                "you averaged over s. The weights already say how much of each row to take: sum,"
                " don't divide."
            ),
        ),
        (
            torch.stack([_mix_by_loops(weights, values.roll(i, 0)) for i in range(2)]).sum(0),
            (
                "sequences of the batch were mixed with each other. Both inputs and the output"
                " carry b: use one letter."
            ),
        ),
        (
            weights * values,
            (
                "that multiplies number by number and sums nothing. (It ran only because T, S and C"
                " are all 3 here.)"
            ),
        ),
    )
    expect(got, want, "the mixture with B = 2, T = S = C = 3")
    weights, values = torch.rand(2, 4, 3, generator=rng), torch.randn(2, 3, 5, generator=rng)
    expect(
        attempt(weights, values),
        _mix_by_loops(weights, values),
        "the mixture with B = 2, T = 4, S = 3, C = 5",
    )
    return "right: four loops in one line. Half of an attention layer is this product."


# --------------------------------------------------------------------------------------------------
# Exercise 3: neuron_gradient
# --------------------------------------------------------------------------------------------------


def _neuron_slopes(
    w: float, b: float, x: float, target: float, h: float = 1e-5
) -> tuple[float, float]:
    """Nudge w, then b, both ways: the slopes of (tanh(w*x + b) - target)**2 by finite
    differences."""

    def loss(w: float, b: float) -> float:
        return (math.tanh(w * x + b) - target) ** 2

    return (loss(w + h, b) - loss(w - h, b)) / (2 * h), (loss(w, b + h) - loss(w, b - h)) / (2 * h)


def _slope_pair(x: float, slope: float) -> Tensor:
    """Give the slopes for w and b, of which the first is x times the second."""
    return torch.tensor([slope * x, slope], dtype=torch.float64)


@checker
def neuron_gradient(attempt: Attempt) -> str:
    """Give the slopes (dL/dw, dL/db) of L = (tanh(w*x + b) - target)**2."""
    for w, b, x, target in ((0.5, -0.2, 2.0, 0.9), (-0.3, 0.4, 0.7, -0.5), (0.8, 0.1, -1.5, 0.2)):
        got = attempt(w, b, x, target)
        if not isinstance(got, tuple | list | Tensor) or len(got) != 2:
            raise Wrong("return two numbers, the slope for w and the slope for b: `return dw, db`.")
        got = torch.tensor([float(slope) for slope in got], dtype=torch.float64)
        dw, db = _neuron_slopes(w, b, x, target)
        z = w * x + b
        y, error = math.tanh(z), math.tanh(z) - target
        pair = partial(_slope_pair, x)
        recognise(
            got,
            (
                pair(db / 2),
                (
                    "exactly half of the slopes. The square on the outside has a slope too: 2 * (y"
                    " - target)."
                ),
            ),
            (
                pair(-db),
                (
                    "the size is right, the sign is not. The slope of (y - target)**2 is 2 * (y -"
                    " target)."
                ),
            ),
            (
                pair(2 * error),
                "the tanh is missing from the chain. Between z and y the slope is 1 - y**2.",
            ),
            (
                pair(2 * error * (1 - z * z)),
                "the slope of tanh is 1 - y**2, where y is its *output*. You used z, the input.",
            ),
            (
                pair(2 * error * y),
                "between z and y you multiplied by y itself; the *slope* of tanh is 1 - y**2.",
            ),
            (
                torch.tensor([db, db]),
                "right for b, but w reaches z through x: nudge w by 1 and z moves by x.",
            ),
            (torch.tensor([db, dw]), "the two slopes are swapped: return the one for w first."),
        )
        want = torch.tensor([dw, db], dtype=torch.float64)
        expect(got, want, f"the slopes at w={w}, b={b}, x={x}, target={target}", 1e-4)
    return "right: your slopes agree with those of a nudge, at three points."


# --------------------------------------------------------------------------------------------------
# Exercise 4: descend
# --------------------------------------------------------------------------------------------------

BOTTOM, STEEPNESS = torch.tensor([1.0, -2.0]), torch.tensor([1.0, 3.0])


def _bowl(w: Tensor) -> Tensor:
    return (STEEPNESS * (w - BOTTOM) ** 2).sum()


def _descended(start: Tensor, lr: float, steps: int) -> Tensor:
    """Solve the descent in the bowl: each step shrinks the distance to the bottom by 1 - 2 * lr *
    steepness."""
    return BOTTOM + (1 - 2 * lr * STEEPNESS) ** steps * (start - BOTTOM)


def _without_zeroing(start: Tensor, lr: float, steps: int) -> Tensor:
    w, summed = start, torch.zeros(2)
    for _ in range(steps):
        summed = summed + 2 * STEEPNESS * (w - BOTTOM)
        w = w - lr * summed
    return w


DESCEND_ERRORS = {
    "leaf Variable that requires grad": (
        "torch refuses `w -= ...` while it records. The step itself is not part of the "
        "formula to differentiate: put it under `with torch.no_grad():`."
    ),
    "'NoneType'": (
        "`w.grad` was None. Either `w = w - lr * w.grad` made a *new* tensor, the result of a"
        " formula, which gets no .grad (change it in place instead: `w -= ...` under no_grad), or"
        " no `backward()` came before the step."
    ),
    "does not require grad": (
        "nothing was recorded, so `backward()` has nothing to walk through. "
        "Ask for it on the tensor that you start from: `w = start.clone().requires_grad_()`."
    ),
    "backward through the graph a second time": (
        "compute the loss anew in every step: `backward()` uses up the record."
    ),
}


@checker
def descend(attempt: Attempt) -> str:
    """Take `steps` steps of gradient descent on `loss_of` from `start`."""
    start, lr, steps = torch.tensor([3.0, 1.0]), 0.05, 4
    try:
        got = attempt(_bowl, start, lr, steps)
    except Wrong as reason:
        raise Wrong(
            next((told for key, told in DESCEND_ERRORS.items() if key in str(reason)), str(reason))
        ) from None
    recognise(
        got,
        (
            _without_zeroing(start, lr, steps),
            (
                "the first step is right and the later ones are too long: `backward()` *adds* to"
                " `w.grad`, so step 2 uses the sum of two gradients. Empty it in every step:"
                " `w.grad = None`."
            ),
        ),
        (
            _descended(start, -lr, steps),
            "you walk uphill. The gradient points to where the loss grows: subtract it.",
        ),
        (
            start,
            (
                "the result is where you started. Is the step ever applied to the tensor that you"
                " return?"
            ),
        ),
        (_descended(start, lr, steps - 1), f"one step too few: {steps} were asked for."),
        (_descended(start, lr, steps + 1), f"one step too many: {steps} were asked for."),
        (
            _descended(start, lr, 1),
            "only the first step was taken. Is the `return` inside the loop?",
        ),
        (
            _descended(start, 1.0, steps),
            "the learning rate is not used: the step is lr times the gradient.",
        ),
        (
            _bowl(_descended(start, lr, steps)),
            "that is the loss at the end. Return the parameters w.",
        ),
        (
            _bowl(_descended(start, lr, steps - 1)),
            "that is the last loss. Return the parameters w.",
        ),
    )
    expect(got, _descended(start, lr, steps), "w after 4 steps in a bowl")
    before = start.clone()
    attempt.in_place(_bowl, start, lr, steps)
    if not torch.equal(start, before):
        raise Wrong(
            "right numbers, but the caller's tensor `start` has changed: `w = start` is a second"
            " name, not a copy. Begin with `start.clone()`."
        )
    return "right: the same point as the closed formula for a bowl gives."


# --------------------------------------------------------------------------------------------------
# Exercise 5: next_char_loss
# --------------------------------------------------------------------------------------------------


def _bits_by_hand(table: list[list[float]], ids: list[int]) -> float:
    """Average -log2 of the probability that each character gave to the one after it, with no tensor
    in sight."""
    bits = []
    for here, after in zip(ids[:-1], ids[1:], strict=True):
        total = sum(math.exp(score) for score in table[here])
        bits.append(-math.log2(math.exp(table[here][after]) / total))
    return sum(bits) / len(bits)


@checker
def next_char_loss(attempt: Attempt) -> str:
    """Score a (V, V) table of next-character scores on a text, in bits per character."""
    table = torch.tensor([[0.0, 2.0, -1.0], [1.5, 0.0, 0.5], [-0.5, 1.0, 3.0]])
    ids = torch.tensor([0, 1, 2, 2, 1, 0, 1])
    want, bit = _bits_by_hand(table.tolist(), ids.tolist()), math.log(2)
    before, after = ids[:-1], ids[1:]
    got = attempt(table, ids)
    recognise(
        got,
        (
            -table.log_softmax(0)[before, after].mean() / bit,
            (
                "softmax ran down the columns (dim 0): it shares 1 among the characters *before*,"
                " for each next one. A row is one prediction, so the row must sum to 1: dim -1."
            ),
        ),
        (want * bit, "right, but in nats. One bit is ln 2 nats: divide by math.log(2)."),
        (
            -want,
            (
                "every probability is below 1, so its logarithm is negative. The loss is *minus*"
                " the average."
            ),
        ),
        (
            want * len(after),
            "that is the sum over the text. Take the mean, so that long and short texts compare.",
        ),
        (
            F.cross_entropy(table[ids], ids) / bit,
            (
                "each character predicts itself. Inputs are ids[:-1], targets are ids[1:]: the same"
                " text, shifted by one."
            ),
        ),
        (
            F.cross_entropy(table[after], before) / bit,
            "the text is read backwards: the later character predicts the earlier one.",
        ),
        (
            F.cross_entropy(table[before].softmax(-1), after) / bit,
            (
                "softmax was applied twice: F.cross_entropy wants raw scores and does the softmax"
                " itself."
            ),
        ),
        (
            -table[before, after].mean() / bit,
            "those are raw scores. They become probabilities only after a softmax over each row.",
        ),
        (
            -table.softmax(-1)[before, after].mean().log2(),
            (
                "you averaged the probabilities and took one logarithm. Take the logarithm of each,"
                " then average."
            ),
        ),
    )
    expect(got, want, "the bits per character of a table with V = 3", 1e-4)
    big = attempt(table * 400, ids)
    if isinstance(big, Tensor) and not big.isfinite():
        raise Wrong(
            "right for small scores, but large ones overflow (e to the 1000 is infinite, and"
            " inf/inf is NaN). Use log_softmax or F.cross_entropy, which subtract the largest score"
            " first."
        )
    return "right: the loss of every language model in this course has this form."
