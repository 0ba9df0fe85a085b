"""Checkers of lesson 05. Their truths: torch's own norms, autograd in float64, and stacks worked
out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.compare import number
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect, torch_calls
from course_lib.lab.checks.slips import judge_by_slips


def _random(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _refuse_torchs_own(used: set[str], *names: str) -> None:
    for name in names:
        if name in used:
            raise Wrong(
                f"that is torch's own `{name}`. The exercise is to write it from means and roots."
            )


# --------------------------------------------------------------------------------------------------
# Exercise 1: layer_norm
# --------------------------------------------------------------------------------------------------


@checker
def layer_norm(attempt: Attempt) -> str:
    """Normalise each vector of the last axis, then apply weight and bias."""
    x = 3 * _random(2, 4, 4) + 1  # axes of one length: a wrong axis makes no error of shape
    with torch_calls() as used:
        attempt(x, torch.ones(4), torch.zeros(4), 1e-5)
    _refuse_torchs_own(used, "layer_norm", "native_layer_norm", "group_norm", "batch_norm")
    judge_by_slips(
        attempt,
        [(x, torch.ones(4), torch.zeros(4), 1e-5)],
        _torchs_layer_norm,
        _layer_norm_slips,
        lambda *_: "the norm of a tensor of shape (2, 4, 4), with weight 1 and bias 0",
    )
    _judge_eps(attempt)
    _judge_weight_and_bias(attempt, x)
    for shape in ((5,), (3, 6), (2, 3, 2, 7)):
        x, weight, bias = (_random(*s, seed=9) for s in (shape, shape[-1:], shape[-1:]))
        want = F.layer_norm(x, shape[-1:], weight, bias, 1e-5)
        expect(attempt(x, weight, bias, 1e-5), want, f"the norm of a tensor of shape {shape}")
    return "right: each vector by itself, whatever stands around it; the same numbers as torch."


def _torchs_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _layer_norm_slips(x: Tensor, *_: Any) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give with weight 1, bias 0 and eps 1e-5."""
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    flat, across = x.mean(-1)[:, None], x.var(-1, correction=0)[:, None]
    return [
        (
            centred / (x.var(-1, keepdim=True) + 1e-5).sqrt(),
            "almost: you divided by C - 1. torch's `std` and `var` do that by default, to guess the"
            " spread of a large population from a sample. Here the four numbers are all there is:"
            " divide by C (correction=0).",
        ),
        (
            (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt(),
            "you took mean and variance over axis 0, the batch. Then what a text gives depends on"
            " which other texts happen to be beside it. Each vector by itself: the last axis, -1.",
        ),
        (
            (x - x.mean(-2, keepdim=True)) / (x.var(-2, keepdim=True, correction=0) + 1e-5).sqrt(),
            "you took mean and variance over the tokens (axis -2). Then a token's result depends on"
            " tokens after it. Each vector by itself: the last axis, -1.",
        ),
        (
            (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt(),
            "one mean and one variance for the whole tensor. Each vector needs its own: mean(-1,"
            " keepdim=True).",
        ),
        (
            (x - flat) / (across + 1e-5).sqrt(),
            "no error, but the means stand beside the wrong numbers: without keepdim=True they have"
            " shape (2, 4), and broadcasting lays them along the last axis.",
        ),
        (
            centred / (variance + 1e-5),
            "you divided by the variance. Its root, the standard deviation, has the unit of x.",
        ),
        (
            centred / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt(),
            "you divided by the RMS of x. The variance is the mean square of what is centred.",
        ),
        (centred, "the mean is gone, but you do not divide by the standard deviation."),
        (
            x / (variance + 1e-5).sqrt(),
            "the standard deviation is right, but the mean is still there: subtract it before you"
            " divide.",
        ),
        (F.rms_norm(x, (4,), eps=1e-5), "that is RMSNorm. LayerNorm also subtracts the mean."),
        (
            torch.ones_like(x),
            "all numbers are 1, as if weight and bias had changed places: y * weight + bias.",
        ),
    ]


def _judge_eps(attempt: Attempt) -> None:
    judge_by_slips(
        attempt,
        [(torch.tensor([[0.1, 0.7, 0.7, 0.9]]), torch.ones(4), torch.zeros(4), 0.16)],
        _torchs_layer_norm,
        [
            (
                lambda x, weight, bias, eps: (x - x.mean()) / (x.std(correction=0) + eps),
                "eps is added to the standard deviation. Add it to the variance, under the root.",
            ),
            (
                lambda x, weight, bias, eps: (x - x.mean()) / x.std(correction=0),
                "the eps that was handed in is not used, or an eps of your own is. Without any, a"
                " vector of equal numbers (variance 0) would be divided by 0.",
            ),
        ],
        lambda *_: "the norm of [0.1, 0.7, 0.7, 0.9] with eps 0.16",
        tolerance=1e-4,
    )


def _judge_weight_and_bias(attempt: Attempt, x: Tensor) -> None:
    weight = torch.tensor([2.0, 0.5, -1, 1])
    bias = torch.tensor([1.0, 0, 3, -2])
    judge_by_slips(
        attempt,
        [(x, weight, bias, 1e-5)],
        _torchs_layer_norm,
        _weight_slips,
        lambda *_: "the norm with weight [2, 0.5, -1, 1] and bias [1, 0, 3, -2]",
    )


def _weight_slips(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> list[tuple[Tensor, str]]:
    plain = F.layer_norm(x, x.shape[-1:], eps=eps)
    return [
        (plain, "weight and bias are not used. They come last: y * weight + bias."),
        (plain * weight, "the bias is not used: y * weight + bias."),
        (plain + bias, "the weight is not used: y * weight + bias."),
        ((plain + bias) * weight, "first the weight, then the bias: y * weight + bias."),
        (
            F.layer_norm(x * weight + bias, x.shape[-1:], eps=eps),
            "weight and bias come after the norm, or it undoes their work.",
        ),
    ]


# --------------------------------------------------------------------------------------------------
# Exercise 2: looks_ahead
# --------------------------------------------------------------------------------------------------


class _Watched:
    """A norm that keeps copies of what it was given."""

    def __init__(self, norm: Callable[[Tensor], Tensor]):
        self.norm, self.inputs = norm, []

    def __call__(self, x: Tensor) -> Tensor:
        if not torch._C._functorch.is_functorch_wrapped_tensor(x):
            self.inputs.append(x.detach().clone())
        return self.norm(x)


def _over(*axes: int) -> Callable[[Tensor], Tensor]:
    """Make a norm that takes mean and variance over these axes."""

    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / (centred.square().mean(axes, keepdim=True) + 1e-5).sqrt()

    return norm


def _over_the_past(x: Tensor) -> Tensor:
    """Divide each token by the RMS of all numbers up to it."""
    count = x.shape[1] * torch.arange(1, len(x) + 1)
    return x / (x.square().sum(1).cumsum(0) / count).sqrt()[:, None]


def _from_the_next(x: Tensor) -> Tensor:
    """Shift each token by a weighted sum of the token after it."""
    shift = (x @ torch.tensor([1.0, 2, -1, 0.5])).roll(-1)
    return x - torch.cat([shift[:-1], torch.zeros(1)])[:, None]


def _from_one_channel(channel: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x - x[:, channel].mean()


def _with_rounding(x: Tensor) -> Tensor:
    return _over(-1)(x) + 1e-6 * x[-1].tanh().sum()


RANDOM = "Put something quite different there, random numbers"
# a norm that leaks, how it does, and what to say where the last token's change didn't show it
LEAKS = [
    (
        lambda x: _over(0)(x - x.mean(-1, keepdim=True)),
        "first subtracts each token's mean and then takes the mean over all tokens. Adding the same"
        " number to all channels is a change that it ignores",
        RANDOM,
    ),
    (
        lambda x: _over(0)(F.normalize(x, dim=-1)),
        "first brings each token to length 1 and then takes the mean over all tokens. A token made"
        " longer is a change that it ignores",
        RANDOM,
    ),
    (
        lambda x: x / (x.square().mean(0, keepdim=True) + 1e-5).sqrt(),
        "divides by the RMS over the tokens. The last token with its sign changed is a change that"
        " it ignores",
        RANDOM,
    ),
    (
        _from_the_next,
        "shifts each token by what stands in the next one. Only the token before the last shows it",
        RANDOM,
    ),
    *(
        (
            _from_one_channel(channel),
            f"takes the mean over all tokens of channel {channel} alone",
            "Change every channel of the last token",
        )
        for channel in range(4)
    ),
    (
        lambda x: x - 0.01 * x.sum(),
        "leaks only a little: a hundredth of what the last token changes by",
        "Put something there that differs by 1 or more",
    ),
    (_over(0, 1), "takes one mean over the whole table", RANDOM),
]


@checker
def looks_ahead(attempt: Attempt) -> str:
    """Tell whether a norm lets the last token change an earlier one's result."""
    x = _random(5, 4)
    _judge_plain_norms(attempt, x)
    for leak, told, change in LEAKS:
        watched = _Watched(leak)
        if not _yes(attempt(watched, x)):
            tried = _wrongly_tried(watched.inputs, x)
            seen = _overlooked(leak, watched.inputs) if not tried else ""
            raise Wrong(tried or f"you say False of a norm that {told}. {seen or change}.")
    if _yes(attempt(_over_the_past, x)):
        raise Wrong(
            "you say True of a norm in which each token sees itself and those *before* it. Change"
            " the last token only, and compare the others."
        )
    if _yes(attempt(_with_rounding, x)):
        raise Wrong(
            "you say True of a norm whose earlier tokens change by less than 0.00001. That is"
            " rounding: compare with a tolerance (atol)."
        )
    try:
        alone = _yes(attempt(_over(0), x[:1]))
    except Wrong as wrong:
        raise Wrong(f"{wrong}\n    A single token has no earlier one: return False.") from None
    if alone:
        raise Wrong("you say True for a single token. There is no earlier token to change: False.")
    return "a test that finds every norm that looks ahead, and accuses no other."


def _yes(got: Any) -> bool:
    """Read True or False, of Python, numpy or torch."""
    single = isinstance(got, Tensor | np.ndarray | np.generic) and got.size in (1, ())
    if isinstance(got, Tensor):
        single = got.ndim == 0
    value = got.item() if single else got
    if not isinstance(value, bool):
        raise Wrong(f"you returned {describe(got)}. Return True or False.")
    return value


def _judge_plain_norms(attempt: Attempt, x: Tensor) -> None:
    """LayerNorm and a norm over the tokens: what was handed to them says what went wrong."""
    own, tokens = _Watched(_over(-1)), _Watched(_over(0))
    says_own, says_tokens = _yes(attempt(own, x)), _yes(attempt(tokens, x))
    if says_own and not says_tokens:
        raise Wrong(
            "the wrong way round: you say True of LayerNorm, which takes each token by itself, and"
            " False of a norm over the tokens."
        )
    if says_tokens and not says_own:
        return
    told = (
        "you say True of LayerNorm, which takes each token by itself"
        if says_own
        else "you say False of a norm over the tokens (axis 0)"
    )
    tried = _wrongly_tried((own if says_own else tokens).inputs, x)
    rest = "so compare the others only: [:-1]" if says_own else "as it should. Compare all others"
    raise Wrong(f"{told}. {tried or f'You changed the last token, {rest}.'}")


def _overlooked(leak: Callable, inputs: list[Tensor]) -> str:
    """Name the earlier tokens whose results did change by more than 0.001."""
    first, *others = [leak(x)[:-1] for x in inputs]
    change = torch.stack([(other - first).abs().amax(-1) for other in others]).amax(0)
    moved = (change > 0.001).nonzero().flatten().tolist()
    if not moved:
        return ""
    return (
        f"With your change the results of the tokens {moved} did move, by up to"
        f" {number(change.max().item())}. Compare all earlier tokens, [:-1]: above 0.001 is True"
    )


def _wrongly_tried(inputs: list[Tensor], x: Tensor) -> str:
    """What is wrong with the inputs that a norm was given; nothing if only the last token moved."""
    if not inputs:
        return "Your function never called `norm`: norm x and a changed copy, and compare."
    if any(other.shape != x.shape for other in inputs):
        return f"You gave `norm` a tensor of another shape than x's, {tuple(x.shape)}."
    moved = [t for t in range(len(x)) if any((o[t] != inputs[0][t]).any() for o in inputs)]
    if not moved:
        return (
            "You gave `norm` the same numbers each time. Norm x and a copy of it (x.clone()) whose"
            " last token was changed."
        )
    if moved != [len(x) - 1]:
        return f"You changed the tokens {moved}. Change the last one only, {len(x) - 1}."
    return ""


# --------------------------------------------------------------------------------------------------
# Exercise 3: rms_norm
# --------------------------------------------------------------------------------------------------


@checker
def rms_norm(attempt: Attempt) -> str:
    """Divide each vector by the root of its mean square."""
    x, ones = 2 * _random(3, 4, 4) + 1, torch.ones(4)
    with torch_calls() as used:
        attempt(x, ones, 1e-6)
    _refuse_torchs_own(used, "rms_norm")
    judge_by_slips(
        attempt,
        [(x, ones, 1e-6)],
        _torchs_rms_norm,
        _rms_norm_slips,
        lambda *_: "the norm of a tensor of shape (3, 4, 4), with weight 1",
    )
    judge_by_slips(
        attempt,
        [(torch.tensor([[0.1, 0.5, 0.5, 0.7]]), ones, 0.11)],
        _torchs_rms_norm,
        RMS_EPS_SLIPS,
        lambda *_: "the norm of [0.1, 0.5, 0.5, 0.7] with eps 0.11",
        tolerance=1e-4,
    )
    judge_by_slips(
        attempt,
        [(x, torch.tensor([2.0, 0.5, -1, 1]), 1e-6)],
        _torchs_rms_norm,
        RMS_WEIGHT_SLIPS,
        lambda *_: "the norm with weight [2, 0.5, -1, 1]",
    )
    for shape in ((5,), (3, 6), (2, 3, 2, 7)):
        x, weight = (_random(*s, seed=9) for s in (shape, shape[-1:]))
        want = F.rms_norm(x, shape[-1:], weight, 1e-5)
        expect(attempt(x, weight, 1e-5), want, f"the norm of a tensor of shape {shape}")
    return "right: one mean, one root, one division; the same numbers as torch."


def _torchs_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], weight, eps)


RMS_EPS_SLIPS = [
    (
        lambda x, weight, eps: x / (x.square().mean().sqrt() + eps),
        "eps is added to the RMS. Add it to the mean square, under the root.",
    ),
    (
        lambda x, weight, eps: x / x.square().mean().sqrt(),
        "the eps that was handed in is not used, or an eps of your own is. Without any, a vector of"
        " zeros would be divided by 0.",
    ),
]
RMS_WEIGHT_SLIPS = [
    (
        lambda x, weight, eps: F.rms_norm(x, x.shape[-1:], eps=eps),
        "the weight is not used. It comes last: y * weight.",
    ),
    (
        lambda x, weight, eps: F.rms_norm(x * weight, x.shape[-1:], eps=eps),
        "the weight comes after the norm, or it undoes part of its work.",
    ),
]


def _rms_norm_slips(x: Tensor, *_: Any) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give with weight 1 and eps 1e-6."""
    square = x.square().mean(-1, keepdim=True)
    return [
        (
            F.layer_norm(x, (4,), eps=1e-6),
            "that is LayerNorm: the mean is gone. RMSNorm does not subtract it.",
        ),
        (
            x / x.std(-1, keepdim=True, correction=0),
            "you divided by the standard deviation, which is measured from the mean. RMSNorm"
            " measures from zero: the mean of the squares of x itself.",
        ),
        (x / square, "you divided by the mean square. Its root, the RMS, has the unit of x."),
        (
            F.normalize(x, dim=-1),
            "each vector has length 1, so its numbers shrink as C grows. Take the *mean* of the"
            " squares, not their sum.",
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
            x / x.square().mean(-2, keepdim=True).sqrt(),
            "you took the mean over the tokens (axis -2). Each vector by itself: axis -1.",
        ),
        (
            x / x.square().mean().sqrt(),
            "one RMS for the whole tensor. Each vector needs its own: keepdim=True.",
        ),
    ]


# --------------------------------------------------------------------------------------------------
# Exercise 4: rms_norm_backward
# --------------------------------------------------------------------------------------------------


@checker
def rms_norm_backward(attempt: Attempt) -> str:
    """Carry the gradient of an RMSNorm without weight and eps from its outputs to its inputs."""
    shapes = ((4, 4), (5,), (2, 3, 6))
    judge_by_slips(
        attempt,
        [(_random(*s, seed=6).double(), 3 * _random(*s).double() + 1) for s in shapes],
        _by_autograd,
        _backward_slips,
        lambda g, x: f"the gradient for x of shape {tuple(x.shape)}",
        tolerance=1e-6,
    )
    return (
        "right: what lies along y is taken out, the rest divided by the RMS; the same numbers as"
        " autograd."
    )


def _by_autograd(g: Tensor, x: Tensor) -> Tensor:
    with torch.enable_grad():
        asked = x.clone().requires_grad_()
        out = asked / asked.square().mean(-1, keepdim=True).sqrt()
        return torch.autograd.grad(out, asked, g)[0]


def _backward_slips(g: Tensor, x: Tensor) -> list[tuple[Tensor, str]]:
    def mean(t: Tensor) -> Tensor:
        return t.mean(-1, keepdim=True)

    r = mean(x.square()).sqrt()
    y = x / r
    return [
        (
            g / r,
            "that would be right if the RMS were a fixed number. But it depends on x as well: a"
            " larger x makes all outputs smaller. Take out the part of g along y.",
        ),
        (
            (g - mean(g) - y * mean(g * y)) / r,
            "that is LayerNorm's formula. RMSNorm subtracts no mean, so its outputs do notice a"
            " shift, and the mean of g stays.",
        ),
        (
            (g - y * mean(g)) / r,
            "the part along y is y times the mean of g * y. You took the mean of g alone.",
        ),
        (
            (g - y * mean(g * y)) / x.norm(dim=-1, keepdim=True),
            "you divided by the length of x, the root of the *sum* of its squares. The RMS is the"
            " root of their mean.",
        ),
        (
            g - y * mean(g * y),
            "the division is missing: where inputs are r times larger, gradients are r times"
            " smaller.",
        ),
        (
            (g - y * (g * y).sum(-1, keepdim=True)) / r,
            "you took the part along y out C times: it is y times the *mean* of g * y, as the"
            " squares of y sum to C.",
        ),
        (
            (g - x * mean(g * x)) / r,
            "you used x where y belongs, in the part that is taken out. Its squares have mean 1"
            " only after the norm.",
        ),
        ((g + y * mean(g * y)) / r, "wrong sign: the part along y is taken *out*."),
        (
            (g - y * mean(g * y)) * r,
            "you multiplied by the RMS. Think of a very large x: a small change of it hardly"
            " changes y, so the gradient is small.",
        ),
        (
            (g - y * (g * y).mean()) / r,
            "you took one mean over all vectors. Each has its own: mean(-1, keepdim=True).",
        ),
        (
            (g - mean(g * y)) / r,
            "the part along y is y times mean(g * y). You took out the mean without its y.",
        ),
    ]


# --------------------------------------------------------------------------------------------------
# Exercise 5: residual_stack
# --------------------------------------------------------------------------------------------------

LAYERS = [
    lambda x: 2 * x + torch.tensor([1.0, 0, -1]),
    lambda x: x.flip(-1) - torch.tensor([0.0, 1, 2]),
    lambda x: x.square() / 4,
]


def _rms(x: Tensor) -> Tensor:
    """RMSNorm with a weight, so that a norm of a norm is another vector."""
    return x / x.square().mean(-1, keepdim=True).sqrt() * torch.tensor([1.0, 2, 0.5])


def _add(x: Tensor, f: Callable) -> Tensor:
    return x + f(x)


def _post(x: Tensor, f: Callable) -> Tensor:
    return _rms(x + f(x))


def _pre(x: Tensor, f: Callable) -> Tensor:
    return x + f(_rms(x))


def _stack(x: Tensor, step: Callable, *last: Callable, layers: list | None = None) -> Tensor:
    for layer in LAYERS if layers is None else layers:
        x = step(x, layer)
    for norm in last:
        x = norm(x)
    return x


def _all_read_x(x: Tensor, placement: str) -> Tensor:
    """The slip of a stack in which no layer reads what an earlier one has made."""
    stream = x
    for layer in LAYERS:
        stream = stream + layer(_rms(x) if placement == "pre" else x)
        stream = _rms(stream) if placement == "post" else stream
    return _rms(stream) if placement == "pre" else stream


@checker
def residual_stack(attempt: Attempt) -> str:
    """Send a vector through a stack of layers with the norm at one of three places."""
    x = torch.tensor([[1.0, 2, 4], [3, -1, 1]])
    for placement in _placements(x):
        judge_by_slips(
            attempt,
            [(x, LAYERS, _rms, placement), (-x, LAYERS, _rms, placement)],
            _stacked,
            _stack_slips,
            lambda *case: f'three layers, placement "{case[-1]}"',
        )
    for placement in _placements(x):
        for n in (0, 1):
            judge_by_slips(
                attempt,
                [(x, LAYERS[:n], _rms, placement)],
                _stacked,
                _short_stack_slips if n == 0 else [],
                _named_short_stack,
            )
    return "right: the stream adds up, and the norm stands where it was told to."


def _stacked(x: Tensor, layers: list, norm: Callable, placement: str) -> Tensor:
    step, last, _ = _placements(x)[placement]
    return _stack(x, step, *last, layers=layers)


def _stack_slips(x: Tensor, layers: list, norm: Callable, placement: str) -> list:
    """Compute what typical mistakes give for three layers."""
    step, last, slips = _placements(x)[placement]
    return [
        *((wrong, f"{placement}: {sentence}") for wrong, sentence in slips),
        (
            _all_read_x(x, placement),
            f"{placement}: each layer reads the first x. It reads the stream, to which the"
            " layers before it have added.",
        ),
        (
            _stack(x, step, *last, layers=LAYERS[::-1]),
            f"{placement}: the layers come in the wrong order. The first is first.",
        ),
        (
            _stack(x, step, layers=LAYERS[:1]),
            f"{placement}: you returned after the first layer. Is the `return` in the loop?",
        ),
    ]


def _named_short_stack(x: Tensor, layers: list, norm: Callable, placement: str) -> str:
    return f'{len(layers)} layer{"s" * (not layers)}, placement "{placement}"'


def _short_stack_slips(x: Tensor, layers: list, norm: Callable, placement: str) -> list:
    """Compute what typical mistakes give without any layers."""
    told = _named_short_stack(x, layers, norm, placement)
    return [
        (norm(x), f"{told}: x comes back normed. Only `pre` has a norm after the loop."),
        (x, f"{told}: the last norm is missing. It stands even without any layers."),
    ]


def _placements(x: Tensor) -> dict[str, tuple]:
    """For each placement: the step, what comes last, and the slips with their sentences."""
    none, post, pre = _stack(x, _add), _stack(x, _post), _stack(x, _pre, _rms)
    own = "you normed the stream itself. Only what the layer *reads* is normed; what it adds to"
    own += " stays as it is: x + f(norm(x))."
    return {
        "none": (
            _add,
            (),
            [
                (
                    _stack(x, lambda x, f: f(x)),
                    "the stream is lost. A layer *adds* to what it has read: x + f(x).",
                ),
                (_rms(none), "there is a norm at the end. The last norm belongs to `pre` alone."),
            ],
        ),
        "post": (
            _post,
            (),
            [
                (
                    _stack(x, lambda x, f: x + _rms(f(x))),
                    "you normed what the layer made. Post-norm takes the *sum*: norm(x + f(x)).",
                ),
                (_stack(x, lambda x, f: _rms(f(x))), "the stream is lost: norm(x + f(x))."),
                (_rms(none), "you normed once, at the end. It comes after every layer."),
                (_rms(post), "the result is normed twice. Only `pre` has a norm after the loop."),
                (pre, "that is what `pre` does."),
                (none, 'there is no norm. Compare `placement` with the text "post".'),
            ],
        ),
        "pre": (
            _pre,
            (_rms,),
            [
                (
                    _stack(x, _pre),
                    "the last norm is missing. The stream grows from layer to layer, so what leaves"
                    " it is normed once.",
                ),
                (_stack(x, lambda x, f: _rms(x) + f(_rms(x)), _rms), own),
                (_stack(x, lambda x, f: _rms(x) + f(_rms(x))), own),
                (_stack(x, lambda x, f: f(_rms(x)), _rms), "the stream is lost: x + f(norm(x))."),
                (
                    _rms(none),
                    "each layer read the stream itself. It reads a normed copy: x + f(norm(x)).",
                ),
                (post, "that is what `post` does."),
                (none, 'there is no norm. Compare `placement` with the text "pre".'),
            ],
        ),
    }
