"""Checkers of lesson 05. Their truths: torch's own norms, autograd in float64, and stacks worked
out by hand."""

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.compare import recognise
from course_lib.lab.checks.core import Attempt, Wrong, checker, expect


def _random(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --------------------------------------------------------------------------------------------------
# Exercise 1: layer_norm
# --------------------------------------------------------------------------------------------------


@checker
def layer_norm(attempt: Attempt) -> str:
    """Normalise each vector of the last axis, then apply weight and bias."""
    x, ones, zeros = 3 * _random(2, 4, 4) + 1, torch.ones(4), torch.zeros(4)
    got = attempt(x, ones, zeros, 1e-5)
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    recognise(
        got,
        (
            centred / x.std(-1, keepdim=True),
            (
                "almost: you divided by C - 1. torch's `std` and `var` do that by default, to guess"
                " the spread of a large population from a sample. Here the four numbers are all"
                " there is: divide by C (correction=0)."
            ),
        ),
        (
            (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt(),
            (
                "you took mean and variance over axis 0, the batch. Then what a text gives depends"
                " on which other texts happen to be beside it. Each vector by itself: the last"
                " axis, -1."
            ),
        ),
        (
            (x - x.mean(-2, keepdim=True)) / (x.var(-2, keepdim=True, correction=0) + 1e-5).sqrt(),
            (
                "you took mean and variance over the tokens (axis -2). Then a token's result"
                " depends on tokens after it. Each vector by itself: the last axis, -1."
            ),
        ),
        (
            (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt(),
            (
                "one mean and one variance for the whole tensor. Each vector needs its own:"
                " mean(-1, keepdim=True)."
            ),
        ),
        (
            (x - x.mean(-1)[:, None]) / (x.var(-1, correction=0)[:, None] + 1e-5).sqrt(),
            (
                "no error, but the means stand beside the wrong numbers: without keepdim=True they"
                " have shape (2, 4), and broadcasting lays them along the last axis."
            ),
        ),
        (
            centred / variance,
            "you divided by the variance. Its root, the deviation, has the size of the numbers.",
        ),
        (centred, "the mean is gone, but the size is still that of x: divide by the deviation."),
        (
            x / (variance + 1e-5).sqrt(),
            "the size is right, but the mean is still there: subtract it before you divide.",
        ),
    )
    expect(
        got,
        F.layer_norm(x, (4,)),
        "the norm of a tensor of shape (2, 4, 4), with weight 1 and bias 0",
    )
    _judge_eps(attempt)
    _judge_weight_and_bias(attempt, x)
    return "right: each vector by itself, whatever stands around it; the same numbers as torch."


def _judge_eps(attempt: Attempt) -> None:
    small, ones, zeros = torch.tensor([[0.1, 0.7, 0.7, 0.9]]), torch.ones(4), torch.zeros(4)
    got, centred, deviation = attempt(small, ones, zeros, 0.16), small - small.mean(), 0.3
    recognise(
        got,
        (
            centred / (deviation + 0.16),
            "eps is in the wrong place: add it to the variance, under the root.",
        ),
        (
            centred / deviation,
            (
                "the eps that was handed in is not used, or an eps of your own is. Without any, a"
                " vector of equal numbers (variance 0) would be divided by 0."
            ),
        ),
    )
    expect(
        got, F.layer_norm(small, (4,), eps=0.16), "the norm of [0.1, 0.7, 0.7, 0.9] with eps 0.16"
    )


def _judge_weight_and_bias(attempt: Attempt, x: Tensor) -> None:
    weight = torch.tensor([2.0, 0.5, -1, 1])
    bias = torch.tensor([1.0, 0, 3, -2])
    plain = F.layer_norm(x, (4,))
    got = attempt(x, weight, bias, 1e-5)
    recognise(
        got,
        (plain, "weight and bias are not used. They come last: y * weight + bias."),
        (plain * weight, "the bias is not used: y * weight + bias."),
        (plain + bias, "the weight is not used: y * weight + bias."),
        ((plain + bias) * weight, "first the weight, then the bias: y * weight + bias."),
        (
            F.layer_norm(x * weight + bias, (4,)),
            "weight and bias come after the norm, or it undoes their work.",
        ),
    )
    expect(
        got,
        F.layer_norm(x, (4,), weight, bias),
        "the norm with weight [2, 0.5, -1, 1] and bias [1, 0, 3, -2]",
    )


# --------------------------------------------------------------------------------------------------
# Exercise 2: looks_ahead
# --------------------------------------------------------------------------------------------------


def _over(*axes: int):
    """Make a norm that takes mean and variance over these axes."""

    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / (centred.square().mean(axes, keepdim=True) + 1e-5).sqrt()

    return norm


def _over_the_past(x: Tensor) -> Tensor:
    """Divide each token by the size of all numbers up to it."""
    count = x.shape[1] * torch.arange(1, len(x) + 1)
    return x / (x.square().sum(1).cumsum(0) / count).sqrt()[:, None]


@checker
def looks_ahead(attempt: Attempt) -> str:
    """Tell whether a norm lets the last token change an earlier one's result."""
    x = _random(5, 4)
    if attempt(_over(-1), x):
        raise Wrong(
            "you say True of LayerNorm, which takes each token by itself. Did you change more than"
            " the last token, or compare it too, or say True where nothing changed?"
        )
    if not attempt(_over(0), x):
        raise Wrong(
            "you say False of a norm over the tokens (axis 0). Change the last token, norm both,"
            " and compare the tokens before it. Did you change a copy (x.clone()), so that both are"
            " there to compare?"
        )
    if not attempt(lambda x: _over(0)(x - x.mean(-1, keepdim=True)), x):
        raise Wrong(
            "a norm escapes you that first subtracts each token's mean and then looks over all"
            " tokens. Adding the same number to all channels is a change that it can't see. Put"
            " something quite different there, random numbers."
        )
    if not attempt(lambda x: _over(0)(F.normalize(x, dim=-1)), x):
        raise Wrong(
            "a norm escapes you that first brings each token to length 1 and then looks over all"
            " tokens. A token made longer is a change that it can't see. Put something quite"
            " different there, random numbers."
        )
    if attempt(_over_the_past, x):
        raise Wrong(
            "you say True of a norm that looks at the past only. The tokens *before* the changed"
            " one must change: change the last token, and compare [:-1]."
        )
    expect(bool(attempt(_over(0, 1), x)), True, "a norm with one mean for the whole table")
    return "a test that finds every norm that looks ahead, and accuses no other."


# --------------------------------------------------------------------------------------------------
# Exercise 3: rms_norm
# --------------------------------------------------------------------------------------------------


@checker
def rms_norm(attempt: Attempt) -> str:
    """Divide each vector by the root of its mean square."""
    x, ones = 2 * _random(3, 4, 4) + 1, torch.ones(4)
    got = attempt(x, ones, 1e-6)
    square = x.square().mean(-1, keepdim=True)
    recognise(
        got,
        (
            F.layer_norm(x, (4,), eps=1e-6),
            "that is LayerNorm: the mean is gone. RMSNorm does not subtract it.",
        ),
        (
            x / x.std(-1, keepdim=True, correction=0),
            (
                "you divided by the deviation, which is measured from the mean. "
                "RMSNorm measures from zero: the mean of the squares of x itself."
            ),
        ),
        (x / square, "you divided by the mean square. Its root has the size of the numbers."),
        (
            F.normalize(x, dim=-1),
            (
                "each vector has length 1, so its numbers shrink as C grows. "
                "Take the *mean* of the squares, not their sum."
            ),
        ),
        (
            x / x.abs().mean(-1, keepdim=True),
            "you divided by the mean of the absolute values: square, mean, root.",
        ),
        (
            x / x.square().mean(0).sqrt(),
            "you took the mean over axis 0, the batch. Each vector by itself: axis -1.",
        ),
        (
            x / x.square().mean().sqrt(),
            "one size for the whole tensor. Each vector needs its own: keepdim=True.",
        ),
        (
            x / x.square().mean(-1).sqrt()[:, None],
            "without keepdim=True the sizes stand beside the wrong numbers.",
        ),
    )
    expect(
        got, F.rms_norm(x, (4,), eps=1e-6), "the norm of a tensor of shape (3, 4, 4), with weight 1"
    )
    small = torch.tensor([[0.1, 0.5, 0.5, 0.7]])
    got = attempt(small, ones, 0.11)
    recognise(
        got,
        (
            small / (0.5 + 0.11),
            "eps is in the wrong place: add it to the mean square, under the root.",
        ),
        (
            small / 0.5,
            (
                "the eps that was handed in is not used, or an eps of your own is. Without any, a"
                " vector of zeros would be divided by 0."
            ),
        ),
    )
    expect(got, F.rms_norm(small, (4,), eps=0.11), "the norm of [0.1, 0.5, 0.5, 0.7] with eps 0.11")
    weight = torch.tensor([2.0, 0.5, -1, 1])
    got = attempt(x, weight, 1e-6)
    recognise(got, (F.rms_norm(x, (4,)), "the weight is not used. It comes last: y * weight."))
    expect(got, F.rms_norm(x, (4,), weight, 1e-6), "the norm with weight [2, 0.5, -1, 1]")
    return "right: one mean, one root, one division; the same numbers as torch."


# --------------------------------------------------------------------------------------------------
# Exercise 4: rms_norm_backward
# --------------------------------------------------------------------------------------------------


@checker
def rms_norm_backward(attempt: Attempt) -> str:
    """Carry the slopes of an RMSNorm without weight and eps from its outputs back to its inputs."""
    x, g = 3 * _random(4, 4).double() + 1, _random(4, 4, seed=6).double()
    with torch.enable_grad():
        asked = x.clone().requires_grad_()
        (want,) = torch.autograd.grad(F.rms_norm(asked, (4,), eps=0.0), asked, g)
    got = attempt(g, x)
    r = x.square().mean(-1, keepdim=True).sqrt()
    y, mean = x / r, lambda t: t.mean(-1, keepdim=True)
    recognise(
        got,
        (
            g / r,
            (
                "that would be right if the size were a fixed number. But it depends on x as well:"
                " a larger x makes all outputs smaller. Take out the part of the slope along y."
            ),
        ),
        (
            (g - mean(g) - y * mean(g * y)) / r,
            (
                "that is LayerNorm's formula. RMSNorm subtracts no mean, so the outputs do feel a"
                " shift, and the slope's mean stays."
            ),
        ),
        (
            g - y * mean(g * y),
            "the size is not right: where inputs are r times larger, slopes are r times smaller.",
        ),
        (
            (g - y * (g * y).sum(-1, keepdim=True)) / r,
            (
                "you took the part along y out C times: it is y times the *mean* of g * y, as the"
                " squares of y sum to C."
            ),
        ),
        (
            (g - x * mean(g * x)) / r,
            (
                "you used x where y belongs, in the part that is taken out. Its squares have mean 1"
                " only after the norm."
            ),
        ),
        ((g + y * mean(g * y)) / r, "wrong sign: the part along y is taken *out*."),
        (
            (g - y * mean(g * y)) * r,
            (
                "you multiplied by the size. Think of a very large x: a nudge hardly changes y, so"
                " the slope is small."
            ),
        ),
        (
            (g - y * (g * y).mean()) / r,
            "you took one mean over all vectors. Each has its own: mean(-1, keepdim=True).",
        ),
    )
    expect(got, want, "the slopes for x of shape (4, 4)", tolerance=1e-6)
    return (
        "right: what lies along y is taken out, the rest divided by the size; the same numbers as"
        " autograd."
    )


# --------------------------------------------------------------------------------------------------
# Exercise 5: through
# --------------------------------------------------------------------------------------------------

LAYERS = [
    lambda x: 2 * x + torch.tensor([1.0, 0, -1]),
    lambda x: x.flip(-1) - torch.tensor([0.0, 1, 2]),
]


def _rms(x: Tensor) -> Tensor:
    return x / x.square().mean(-1, keepdim=True).sqrt()


def _stack(x: Tensor, step, last=lambda x: x) -> Tensor:
    for layer in LAYERS:
        x = step(x, layer)
    return last(x)


@checker
def through(attempt: Attempt) -> str:
    """Send a vector through a stack of layers with the norm at one of three places."""
    x = torch.tensor([[1.0, 2, 4], [3, -1, 1]])
    without = _stack(x, lambda x, f: x + f(x))
    got = attempt(x, LAYERS, _rms, "none")
    recognise(
        got,
        (
            _stack(x, lambda x, f: f(x)),
            "none: the stream is lost. A layer *adds* to what it has read: x + f(x).",
        ),
        (_rms(without), "none: there is a norm at the end. The last norm belongs to `pre` alone."),
        (
            x + LAYERS[0](x),
            "none: you returned after the first layer. Is the `return` inside the loop?",
        ),
    )
    expect(got, without, 'two layers, place "none"')
    got = attempt(x, LAYERS, _rms, "post")
    recognise(
        got,
        (
            _stack(x, lambda x, f: x + _rms(f(x))),
            "post: you normed what the layer made. Post-norm takes the *sum*: norm(x + f(x)).",
        ),
        (_stack(x, lambda x, f: _rms(f(x))), "post: the stream is lost: norm(x + f(x))."),
        (
            _stack(x, lambda x, f: x + f(x), _rms),
            "post: you normed once, at the end. It comes after every layer.",
        ),
        (_stack(x, lambda x, f: x + f(_rms(x)), _rms), "post: that is what `pre` does."),
        (without, 'post: there is no norm. Compare `place` with the text "post".'),
    )
    expect(got, _stack(x, lambda x, f: _rms(x + f(x))), 'two layers, place "post"')
    got = attempt(x, LAYERS, _rms, "pre")
    recognise(
        got,
        (
            _stack(x, lambda x, f: x + f(_rms(x))),
            (
                "pre: the last norm is missing. The stream grows from layer to layer, so what"
                " leaves it is normed once."
            ),
        ),
        (
            _stack(x, lambda x, f: _rms(x) + f(_rms(x)), _rms),
            (
                "pre: you normed the stream itself. Only what the layer *reads* is normed; what it"
                " adds to stays as it is: x + f(norm(x))."
            ),
        ),
        (
            _stack(x, lambda x, f: _rms(x) + f(_rms(x))),
            (
                "pre: you normed the stream itself. Only what the layer *reads* is normed; what it"
                " adds to stays as it is: x + f(norm(x))."
            ),
        ),
        (_stack(x, lambda x, f: f(_rms(x)), _rms), "pre: the stream is lost: x + f(norm(x))."),
        (_stack(x, lambda x, f: _rms(x + f(x))), "pre: that is what `post` does."),
        (without, 'pre: there is no norm. Compare `place` with the text "pre".'),
    )
    expect(got, _stack(x, lambda x, f: x + f(_rms(x)), _rms), 'two layers, place "pre"')
    return "right: the stream adds up, and the norm stands where it was told to."
