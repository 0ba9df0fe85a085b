"""Checkers of lesson 07. Their truths: plain loops, `math.erfc`, and what is missing when a part is
taken out."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.compare import recognise
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect


def _random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def head_writes(attempt: Attempt) -> str:
    """Say what each head (H, T, D) adds to the stream through its columns of W_O (C, H * D)."""
    for H, T, D, C in ((2, 4, 3, 6), (3, 2, 2, 5)):
        mixed, W_O = _random(H, T, D), _random(C, H * D, seed=8)
        want = torch.zeros(H, T, C)
        for h in range(H):
            for d in range(D):
                want[h] += mixed[h, :, d, None] * W_O[:, h * D + d]
        got = attempt(mixed, W_O)
        if C == H * D:  # only then do most slips have the right shape
            recognise(got, *_write_slips(mixed, W_O, want))
        expect(got, want, f"the writes of {H} heads of {D} numbers into a stream of {C}")
    return "right: the heads' writes add up to what the layer gives."


def _write_slips(mixed: Tensor, W_O: Tensor, want: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give for a square W_O."""
    H, T, D = mixed.shape
    own = torch.zeros_like(want)
    for h in range(H):
        own[h, :, h * D : (h + 1) * D] = mixed[h]
    return [
        (
            mixed @ W_O.view(H, D, -1),
            (
                "you cut W_O into rows. `nn.Linear` keeps its weight as (out, in): the columns h *"
                " D to (h + 1) * D belong to the numbers that head h hands in, a row to one channel"
                " of the stream."
            ),
        ),
        (
            torch.stack([mixed[h] @ W_O[:, h::H].T for h in range(H)]),
            (
                "you dealt out the columns like cards, every H-th one to the same head. A head owns"
                " D neighbours."
            ),
        ),
        (
            want.sum(0),
            (
                "that is the sum over the heads, the layer's whole answer. Keep the heads apart:"
                " (H, T, C)."
            ),
        ),
        (
            mixed @ W_O[:, :D].T,
            "all write through the first head's columns. Head h has its own, from h * D on.",
        ),
        (
            own,
            (
                "that is what the heads write without W_O: each into its own slice. Multiply by the"
                " columns of W_O."
            ),
        ),
        (
            want.transpose(0, 1),
            "the numbers are right, but tokens come before heads: return (H, T, C).",
        ),
    ]


# Exercise 2
# --------------------------------------------------------------------------------------------------

KEYS = torch.tensor(
    [[1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 0, 1.0]]
)
VALUES = torch.tensor([[1.0, 0, -2, 0, 0.5], [0, 3, 0, 0, 1], [0, 0, 1, 1, 0], [2, -1, 0, 0, 0]])


@checker
def write_facts(attempt: Attempt) -> str:
    """Build the weights of a memory with one neuron per fact. Keys have two ones each."""
    up, bias, down = _three_parts(attempt(KEYS, VALUES))
    for name, part, shape in (("up", up, (4, 6)), ("down", down, (5, 4))):
        if part.shape == shape[::-1]:
            raise Wrong(
                f"{name} has shape {tuple(part.shape)}: turn it round (`.T`), to {shape}. {LAYOUT}"
            )
        if part.shape != shape:
            raise Wrong(
                f"{name} has shape {tuple(part.shape)}, expected {shape} for 4 facts. {LAYOUT}"
            )
    if bias.shape not in ((), (4,)):
        raise Wrong(f"bias has shape {tuple(bias.shape)}, expected (4,): one number per neuron.")

    def recall(x: Tensor) -> Tensor:
        return (x @ up.T + bias).relu() @ down.T

    _judge_recall(recall(KEYS), fires=(KEYS @ up.T + bias).relu())
    others = torch.stack(
        [p + t for p in torch.eye(6)[:3] for t in torch.eye(6)[3:] if not _is_key(p + t)]
    )
    leaks = recall(others).abs().amax(-1)
    if leaks.max() > 1e-4:
        raise Wrong(
            f"the facts are right, but {int((leaks > 1e-4).sum())} of {len(others)} pairs that are"
            " no facts get an answer too. Half a key (its planet or its thing alone) gives a score"
            " of 1, a whole key of 2. Put the bias where half a key stays silent."
        )
    expect(
        recall(torch.cat([torch.eye(6), torch.zeros(1, 6)])),
        torch.zeros(7, 5),
        "the answer to half a key, or none",
    )
    return (
        "right: a row of `up` is a key, a column of `down` its value, and half a key opens nothing."
    )


LAYOUT = (
    "As in `nn.Linear`, a weight is (out, in): `up` has a row per neuron, `down` a column per"
    " neuron."
)


def _three_parts(got: Any) -> tuple[Tensor, Tensor, Tensor]:
    if not isinstance(got, tuple | list) or len(got) != 3:
        raise Wrong(f"return three things, up, bias and down; you returned {describe(got)}.")
    parts = [torch.as_tensor(part, dtype=torch.float32) for part in got]
    for name, part in zip(("up", "bias", "down"), parts, strict=True):
        if not part.isfinite().all():
            raise Wrong(f"{name} holds a number that is infinite or NaN.")
    return tuple(parts)


def _is_key(x: Tensor) -> bool:
    return any(torch.equal(x, key) for key in KEYS)


def _judge_recall(got: Tensor, fires: Tensor) -> None:
    """Compare what the four keys recall with their values; `fires` has a row per key, a column per
    neuron."""
    if not fires.any():
        raise Wrong(
            "nothing comes out, not even for the facts: no neuron fires. A key meets itself with a"
            " score of 2, since it has two ones. What is left of it after your bias?"
        )
    factor = ((got * VALUES).sum() / VALUES.square().sum()).item()
    if abs(factor - 1) > 1e-3 and torch.allclose(got, factor * VALUES, atol=1e-4):
        raise Wrong(
            f"each fact finds its value, but {factor:.3g} times as large: that is how far your"
            " neurons fire. Let a whole key fire by exactly 1, or make up for it in `down`."
        )
    if (got - VALUES).abs().max() > 1e-4 and (fires - fires.diag().diag()).any():
        raise Wrong(
            "the values of several facts are added together: a neuron fires also for a key that"
            " shares only its planet or only its thing. Half a key gives a score of 1, a whole one"
            " of 2: use the bias."
        )
    expect(got, VALUES, "what the four keys recall", 1e-4)


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def gelu(attempt: Attempt) -> str:
    """Multiply x by the share of the normal distribution below it, exactly."""
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    share = torch.tensor(
        [math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()], dtype=torch.float64
    )
    got = attempt(x)
    recognise(
        got,
        (share, "that is the share below x. GELU is x times that share."),
        (
            x * (1 + torch.erf(x)) / 2,
            (
                "the curve bends too sharply: `torch.erf` belongs to a bell of another width. The"
                " share below x is (1 + erf(x / √2)) / 2."
            ),
        ),
        (x * 2 * share, "twice too large: 1 + erf(...) runs from 0 to 2, and a share from 0 to 1."),
        (
            x * torch.erf(x / 2**0.5),
            "erf runs from -1 to 1, so x on the left is turned round. A share: (1 + erf) / 2.",
        ),
        (
            x.relu(),
            "that is ReLU: it keeps all of a positive number and nothing of a negative one.",
        ),
        (
            x * (1.702 * x).sigmoid(),
            "that is the cheap form, x times sigmoid(1.702 x). We want the exact one, by erf.",
        ),
        (
            F.silu(x),
            (
                "that is SiLU, x times sigmoid(x). GELU takes the normal distribution's share"
                " instead, by erf."
            ),
        ),
        (
            x * (-(x**2) / 2).exp() / (2 * math.pi) ** 0.5,
            (
                "you multiplied by the height of the bell at x. What is wanted is the share of the"
                " bell that lies below x."
            ),
        ),
    )
    if (
        isinstance(got, Tensor)
        and got.shape == x.shape
        and (got - F.gelu(x, approximate="tanh")).abs().max() < 1e-9
    ):
        raise Wrong(
            "that is the approximation by tanh. Close, and the next section measures how close. Use"
            " torch.erf."
        )
    expect(got, x * share, "GELU from -4 to 4", 1e-7)
    square = _random(2, 3)
    expect(attempt(square), F.gelu(square), "GELU of a tensor of shape (2, 3)")
    return "right, exactly: x times the share of the normal distribution below x."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _silu(x: float) -> float:
    return x / (1 + math.exp(-x))


@checker
def swiglu(attempt: Attempt) -> str:
    """Compute down(silu(gate(x)) * up(x)) from three weights in the layout of nn.Linear."""
    x, (W_gate, W_up, W_down) = _random(3, 4), _random(3, 4, 4, seed=1)
    got = attempt(x, W_gate, W_up, W_down)
    g, u = x @ W_gate.T, x @ W_up.T
    hidden = torch.tensor(
        [_silu(a) * b for a, b in zip(g.flatten().tolist(), u.flatten().tolist(), strict=True)]
    )
    hidden = hidden.view(3, 4)
    want = hidden @ W_down.T
    recognise(
        got,
        (
            g * F.silu(u) @ W_down.T,
            "gate and up have changed places: the silu belongs to the gate.",
        ),
        (
            g.sigmoid() * u @ W_down.T,
            "you took the gate's sigmoid: that is the older GLU. silu(g) = g * sigmoid(g).",
        ),
        (
            F.gelu(g) * u @ W_down.T,
            "the gate bends by GELU: that is GEGLU, a sister. Here the gate bends by silu.",
        ),
        (
            g.relu() * u @ W_down.T,
            "the gate bends by ReLU: that is ReGLU, a sister. Here the gate bends by silu.",
        ),
        (
            F.silu(g * u) @ W_down.T,
            "the silu was taken of the product. Bend the gate first, then multiply.",
        ),
        (
            F.silu(g) * F.silu(u) @ W_down.T,
            "both halves are bent. `up` stays straight, only the gate is bent.",
        ),
        (
            (F.silu(g) + u) @ W_down.T,
            "gate and up are added. A gate multiplies: closed, it lets nothing through.",
        ),
        (g * u @ W_down.T, "nothing is bent: the gate goes through silu before it multiplies."),
        (
            hidden,
            (
                "that is what the neurons hold. It still has to be written back to the stream, by"
                " W_down."
            ),
        ),
        (
            F.silu(x @ W_gate) * (x @ W_up) @ W_down,
            (
                "the weights are the wrong way round: in the layout of nn.Linear, (out, in), a"
                " layer is x @ W.T."
            ),
        ),
    )
    expect(got, want, "SwiGLU of three tokens of 4 channels")
    wide = _random(2, 3), _random(5, 3, seed=4), _random(5, 3, seed=5), _random(3, 5, seed=6)
    g, u = wide[0] @ wide[1].T, wide[0] @ wide[2].T
    expect(
        attempt(*wide),
        (g / (1 + (-g).exp()) * u) @ wide[3].T,
        "SwiGLU of two tokens of 3 channels, 5 neurons wide",
    )
    return "right: one half decides how far the other half may pass."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def neuron_credit(attempt: Attempt) -> str:
    """Say how much each neuron adds to the score that a direction of the stream stands for."""
    for C, D_FF in ((4, 4), (3, 6)):
        hidden, W_down, direction = _random(D_FF), _random(C, D_FF, seed=9), _random(C, seed=10)
        whole = direction @ (W_down @ hidden)
        want = torch.empty(D_FF)
        for i in range(D_FF):  # the truth is what is missing when neuron i is silent
            silent = hidden.clone()
            silent[i] = 0
            want[i] = whole - direction @ (W_down @ silent)
        got = attempt(hidden, W_down, direction)
        if C == D_FF:
            recognise(
                got,
                (
                    hidden * (W_down @ direction),
                    (
                        "you used the rows of W_down. Row c collects what all neurons write into"
                        " channel c. What neuron i writes is its column."
                    ),
                ),
                (
                    direction @ W_down,
                    (
                        "these are pushes of neurons that all fire by 1. Multiply by how far each"
                        " fires."
                    ),
                ),
                (whole, "that is the sum over all neurons. Keep one number per neuron."),
                (
                    want.abs(),
                    (
                        "the sizes are right, the signs are lost. A neuron can also speak against a"
                        " colour."
                    ),
                ),
                (
                    W_down @ hidden * direction,
                    (
                        "that is one number per channel of the stream, summed over the neurons. Sum"
                        " over the channels instead, and keep the neurons apart."
                    ),
                ),
                (
                    want.softmax(-1),
                    "a softmax was taken. The credits should add up to the score itself.",
                ),
                (
                    want / want.sum(),
                    "you divided by the sum. The credits should add up to the score itself.",
                ),
            )
        expect(got, want, f"the credit of {D_FF} neurons in a stream of {C} channels", 1e-4)
    return (
        "right: the credits add up to the whole score, and each is what would be missing without"
        " its neuron."
    )
