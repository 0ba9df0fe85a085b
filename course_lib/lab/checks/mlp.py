"""Checkers of lesson 07. Their truths: plain loops, finite differences, and what is missing when a
part is taken out."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips, name_slip


def _random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def head_writes(attempt: Attempt) -> str:
    """Say what each head (H, T, D) adds to the residual stream by its columns of W_O (C, H * D)."""
    # most slips have the right shape for a square W_O only
    square, others = (
        [(_random(H, T, D), _random(C, H * D, seed=8)) for H, T, D, C in sizes]
        for sizes in ([(2, 4, 3, 6), (3, 2, 2, 6)], [(3, 2, 2, 5), (1, 1, 2, 3)])
    )
    judge_by_slips(attempt, square, _writes, _write_slips, _named_writes)
    judge_by_slips(attempt, others, _writes, [], _named_writes)
    return "right: the heads' writes add up to what the layer gives."


def _named_writes(mixed: Tensor, W_O: Tensor) -> str:
    H, _, D = mixed.shape
    return f"the writes of {H} heads of {D} numbers into a residual stream of {len(W_O)}"


def _writes(mixed: Tensor, W_O: Tensor) -> Tensor:
    """Add up what each number of each head writes, by loops."""
    H, T, D = mixed.shape
    written = torch.zeros(H, T, len(W_O))
    for h in range(H):
        for d in range(D):
            written[h] += mixed[h, :, d, None] * W_O[:, h * D + d]
    return written


def _write_slips(mixed: Tensor, W_O: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give for a square W_O."""
    want, (H, _, D) = _writes(mixed, W_O), mixed.shape
    own = torch.zeros_like(want)
    for h in range(H):
        own[h, :, h * D : (h + 1) * D] = mixed[h]
    return [
        (
            mixed @ W_O.view(H, D, -1),
            (
                "you cut W_O into rows. `nn.Linear` keeps its weight as (out, in): the columns h *"
                " D to (h + 1) * D belong to the numbers that head h hands in, a row to one channel"
                " of the residual stream."
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
            mixed @ W_O.reshape(H, -1, D).mT,
            (
                "`view` or `reshape` to (H, C, D) cuts the row of numbers at other positions, so a"
                " head got pieces of other heads' columns. Cut the last axis into (H, D) first."
            ),
        ),
        (
            want.mean(0).expand(H, -1, -1),
            "the layer's output is shared out equally: all heads write the same. Each head writes"
            " what its own numbers give through its own columns.",
        ),
        (
            want.cumsum(0),
            "each head's write also holds those of the heads before it, a running sum. Keep the"
            " heads apart.",
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
    up, bias, down = _memory_parts(attempt, KEYS, VALUES)

    def recall(x: Tensor) -> Tensor:
        return (x @ up.T + bias).relu() @ down.T

    _judge_recall(recall(KEYS), activations=(KEYS @ up.T + bias).relu())
    others = torch.stack(
        [p + t for p in torch.eye(6)[:3] for t in torch.eye(6)[3:] if not _is_key(p + t)]
    )
    leaks = recall(others).abs().amax(-1)
    if leaks.max() > 1e-4:
        raise Wrong(
            f"the facts are right, but {int((leaks > 1e-4).sum())} of {len(others)} pairs that are"
            " no facts get an answer too. Half a key (its planet or its thing alone) gives a sum"
            " of 1, a whole key of 2. Put the bias where half a key stays silent."
        )
    expect(
        recall(torch.cat([torch.eye(6), torch.zeros(1, 6)])),
        torch.zeros(7, 5),
        "the answer to half a key, or none",
    )
    _judge_one_fact(attempt)
    return (
        "right: a row of `up` is a key, a column of `down` its value, and half a key opens nothing."
    )


def _judge_one_fact(attempt: Attempt) -> None:
    """A world of one fact, whose key is not a planet and a thing in the usual columns."""
    key, value = torch.tensor([[0.0, 1, 1]]), torch.tensor([[3.0, -1]])
    up, bias, down = _memory_parts(attempt, key, value)
    x = torch.tensor([[0.0, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]])
    want = torch.cat([value, torch.zeros(4, 2)])
    expect((x @ up.T + bias).relu() @ down.T, want, "the answers of a memory of one fact", 1e-4)


LAYOUT = (
    "As in `nn.Linear`, a weight is (out, in): `up` has a row per neuron, `down` a column per"
    " neuron."
)


def _memory_parts(attempt: Attempt, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Have a memory built, and compare the shapes of its three parts."""
    up, bias, down = _three_parts(attempt(keys, values))
    n = len(keys)
    for name, part, shape in (("up", up, keys.shape), ("down", down, values.mT.shape)):
        shape = tuple(shape)
        if part.shape == shape[::-1] and part.shape != shape:
            raise Wrong(
                f"{name} has shape {tuple(part.shape)}: transpose it (`.T`), to {shape}. {LAYOUT}"
            )
        if part.shape != shape:
            raise Wrong(
                f"{name} has shape {tuple(part.shape)}, expected {shape} for {n} facts. {LAYOUT}"
            )
    if bias.shape not in ((), (n,)):
        raise Wrong(f"bias has shape {tuple(bias.shape)}, expected ({n},): one number per neuron.")
    return up, bias, down


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


RECALL_SLIPS = [
    (
        lambda values: F.one_hot(values.argmax(-1), values.shape[1]),
        "each fact recalls a 1 in place of its largest value, and zeros: values may be any"
        " numbers, not one-hot rows alone. Write the values themselves into `down`.",
    ),
    (
        Tensor.relu,
        "the negative values are lost: a value may be below 0. ReLU is for the activations of"
        " the neurons only.",
    ),
]


def _judge_recall(got: Tensor, activations: Tensor) -> None:
    """Compare what the four keys recall with their values; `activations` has a row per key, a
    column per neuron."""
    if not activations.any():
        raise Wrong(
            "nothing comes out, not even for the facts: no neuron is above 0. A key meets itself"
            " with a sum of 2, since it has two ones. What is left of it after your bias?"
        )
    name_slip(lambda _: got, [(VALUES,)], lambda values: values, RECALL_SLIPS, 1e-4)
    factor = ((got * VALUES).sum() / VALUES.square().sum()).item()
    if abs(factor - 1) > 1e-3 and torch.allclose(got, factor * VALUES, atol=1e-4):
        raise Wrong(
            f"each fact finds its value, but {factor:.3g} times as large: that is the activation"
            " of your neurons. Let a whole key give exactly 1, or make up for it in `down`."
        )
    if (got - VALUES).abs().max() > 1e-4 and (activations - activations.diag().diag()).any():
        raise Wrong(
            "the values of several facts are added together: a neuron is above 0 also for a key"
            " that shares only its planet or only its thing. Half a key gives a sum of 1, a whole"
            " one of 2: use the bias."
        )
    expect(got, VALUES, "what the four keys recall", 1e-4)


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def mlp_gradients(attempt: Attempt) -> str:
    """Differentiate relu(x @ W_up.T) @ W_down.T by its two weights, given the output's gradient."""
    # most slips have the right shape for square weights only
    square, others = (
        [_gradient_case(*sizes) for sizes in some]
        for some in ([(5, 4, 4), (2, 3, 3)], [(3, 2, 6), (1, 3, 1)])
    )
    for part, name, slips in ((1, "W_down", _down_slips), (0, "W_up", _up_slips)):
        _judge_gradient(attempt, part, name, square, slips)
    for part, name in ((1, "W_down"), (0, "W_up")):
        _judge_gradient(attempt, part, name, others, [])
    at_zero = torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0, 2.0]])
    got = attempt(*at_zero, torch.ones(2, 1), torch.ones(1, 2))
    expect(
        got[0],
        torch.zeros(1, 2),
        "the gradient of W_up where the pre-activation is exactly 0 (there ReLU's gradient is 0)",
    )
    return "right, as finite differences say: a silent neuron passes no gradient on."


def _gradient_case(T: int, C: int, D_FF: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, W_up = _random(T, C), _random(D_FF, C, seed=11)
    return x, W_up, _random(C, D_FF, seed=12), _random(T, C, seed=13)


def _judge_gradient(attempt: Attempt, part: int, name: str, cases: list[tuple], slips: Any) -> None:
    """Compare one of the two gradients with finite differences."""
    judge_by_slips(
        lambda *case: _two_gradients(attempt(*case), case[1:3])[part],
        cases,
        lambda *case: _by_differences(*case)[part],
        slips,
        lambda x, W_up, W_down, grad_output: (
            f"the gradient of {name} for {len(x)} tokens, {x.shape[1]} channels and"
            f" {len(W_up)} neurons"
        ),
        tolerance=1e-4,
    )


def _by_differences(
    x: Tensor, W_up: Tensor, W_down: Tensor, grad_output: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients by nudging one weight after the other, in double precision."""
    x, W_up, W_down, grad_output = (part.double() for part in (x, W_up, W_down, grad_output))

    def loss() -> float:
        return (((x @ W_up.T).clamp(min=0) @ W_down.T) * grad_output).sum().item()

    gradients = []
    for weight in (W_up, W_down):
        gradient = torch.empty_like(weight)
        for place in range(weight.numel()):
            number = weight.view(-1)[place].item()
            sides = []
            for nudge in (1e-6, -1e-6):
                weight.view(-1)[place] = number + nudge
                sides.append(loss())
            weight.view(-1)[place] = number
            gradient.view(-1)[place] = (sides[0] - sides[1]) / 2e-6
        gradients.append(gradient.float())
    return tuple(gradients)


def _two_gradients(got: Any, weights: tuple[Tensor, Tensor]) -> tuple[Any, Any]:
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"return two gradients, of W_up and of W_down; you returned {describe(got)}.")
    shapes = [getattr(part, "shape", None) for part in got]
    if shapes == [part.shape for part in reversed(weights)] and shapes[0] != shapes[1]:
        raise Wrong(
            f"the shapes are {tuple(shapes[0])} and {tuple(shapes[1])}, those of W_down and W_up."
            " Each gradient has the shape of its weight, and that of W_up comes first."
        )
    return tuple(got)


def _up_slips(
    x: Tensor, W_up: Tensor, W_down: Tensor, grad_output: Tensor
) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give as the gradient of a square W_up."""
    hidden, grad_hidden = (x @ W_up.T).relu(), grad_output @ W_down
    right = (grad_hidden * (hidden > 0)).T @ x
    return [
        (
            grad_hidden.T @ x,
            (
                "the gradient of W_up ignores ReLU: where a neuron's activation is 0, nothing goes"
                " back through it."
            ),
        ),
        (
            (grad_hidden * (hidden == 0)).T @ x,
            "ReLU's gradient is upside down: it is 1 above 0, not below.",
        ),
        (
            (grad_hidden * hidden).T @ x,
            "you multiplied by the activation. ReLU's gradient is 1 or 0, whatever its size.",
        ),
        (
            (hidden > 0).float().T @ x,
            "grad_output and W_down are missing from the gradient of W_up.",
        ),
        (
            ((grad_output @ W_down.T) * (hidden > 0)).T @ x,
            (
                "W_down is transposed on the way back: channel c reaches neuron f through"
                " W_down[c, f], so grad_output @ W_down."
            ),
        ),
        (
            ((grad_output @ W_up.T) * (hidden > 0)).T @ x,
            "the gradient of W_up went back through W_up itself. From the output to the"
            " activations it goes through W_down: grad_output @ W_down.",
        ),
        (right / len(x), MEAN_OF_TOKENS.format("W_up")),
        (right.T, "the gradient of W_up is transposed: row f belongs to neuron f, as in W_up."),
        (
            grad_output.T @ hidden,
            "the two gradients have changed places: that of W_up comes first.",
        ),
    ]


def _down_slips(
    x: Tensor, W_up: Tensor, W_down: Tensor, grad_output: Tensor
) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give as the gradient of a square W_down."""
    pre_activation = x @ W_up.T
    hidden = pre_activation.relu()
    right = grad_output.T @ hidden
    return [
        (
            grad_output.T @ pre_activation,
            (
                "the gradient of W_down uses the pre-activations. W_down multiplies what has gone"
                " through ReLU."
            ),
        ),
        (
            grad_output.T @ x,
            "the gradient of W_down uses x. W_down multiplies the activations of the neurons.",
        ),
        (
            grad_output.T @ (hidden > 0).float(),
            "the gradient of W_down uses ReLU's gradient. It needs the activations themselves.",
        ),
        (right / len(x), MEAN_OF_TOKENS.format("W_down")),
        (
            right.T,
            "the gradient of W_down is transposed: row c belongs to channel c, as in W_down.",
        ),
        (
            ((grad_output @ W_down) * (hidden > 0)).T @ x,
            "the two gradients have changed places: that of W_up comes first.",
        ),
    ]


MEAN_OF_TOKENS = (
    "the gradient of {} is divided by the number of tokens. The loss is given by grad_output: sum"
    " over the tokens, no mean."
)


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _silu(x: float) -> float:
    return x / (1 + math.exp(-x))


@checker
def swiglu(attempt: Attempt) -> str:
    """Compute down(silu(gate(x)) * up(x)) from three weights in the layout of nn.Linear."""
    # square weights first, which a layer that forgets to transpose takes too
    square = [(_random(T, C), *_random(3, C, C, seed=1)) for T, C in ((3, 4), (2, 5))]
    wide = _random(2, 3), _random(5, 3, seed=4), _random(5, 3, seed=5), _random(3, 5, seed=6)
    judge_by_slips(attempt, square, _swiglu, _swiglu_slips, _named_swiglu)
    judge_by_slips(attempt, [wide], _swiglu, [], _named_swiglu)
    return "right: one half decides how far the other half may pass."


def _named_swiglu(x: Tensor, W_gate: Tensor, W_up: Tensor, W_down: Tensor) -> str:
    return f"SwiGLU of {len(x)} tokens of {x.shape[1]} channels, {len(W_up)} neurons wide"


def _gated(x: Tensor, W_gate: Tensor, W_up: Tensor) -> Tensor:
    """Compute the activations neuron by neuron."""
    sums = ((x @ W.T).flatten().tolist() for W in (W_gate, W_up))
    gated = [_silu(gate) * up for gate, up in zip(*sums, strict=True)]
    return torch.tensor(gated).view(len(x), len(W_up))


def _swiglu(x: Tensor, W_gate: Tensor, W_up: Tensor, W_down: Tensor) -> Tensor:
    return _gated(x, W_gate, W_up) @ W_down.T


def _swiglu_slips(
    x: Tensor, W_gate: Tensor, W_up: Tensor, W_down: Tensor
) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give for square weights."""
    g, u = x @ W_gate.T, x @ W_up.T
    return [
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
            "the gate goes through GELU: that is GEGLU, a sister. Here it goes through silu.",
        ),
        (
            g.relu() * u @ W_down.T,
            "the gate goes through ReLU: that is ReGLU, a sister. Here it goes through silu.",
        ),
        (
            F.silu(g * u) @ W_down.T,
            "the silu was taken of the product. Apply it to the gate first, then multiply.",
        ),
        (
            F.silu(g) * F.silu(u) @ W_down.T,
            "both halves go through silu. Only the gate does, `up` stays as it is.",
        ),
        (
            (F.silu(g) + u) @ W_down.T,
            "gate and up are added. A gate multiplies: closed, it lets nothing through.",
        ),
        (
            g * u @ W_down.T,
            "there is no activation function: the gate goes through silu before it multiplies.",
        ),
        (
            _gated(x, W_gate, W_up),
            (
                "those are the activations of the neurons. They still have to be written back to"
                " the residual stream, by W_down."
            ),
        ),
        (
            F.silu(x @ W_gate) * (x @ W_up) @ W_down,
            (
                "the weights are not transposed: in the layout of nn.Linear, (out, in), a"
                " layer is x @ W.T."
            ),
        ),
    ]


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def direct_logit_attribution(attempt: Attempt) -> str:
    """Say how much each neuron adds to the logit that a direction of the residual stream reads."""
    # most slips have the right shape for a square W_down only
    square, others = (
        [(_random(D_FF), _random(C, D_FF, seed=9), _random(C, seed=10)) for C, D_FF in sizes]
        for sizes in ([(4, 4), (3, 3)], [(3, 6), (2, 1)])
    )
    for cases, slips in ((square, _attribution_slips), (others, [])):
        judge_by_slips(
            attempt,
            cases,
            _missing_without,
            slips,
            lambda hidden, W_down, direction: (
                f"the attribution to {len(hidden)} neurons in {len(direction)} channels"
            ),
            tolerance=1e-4,
        )
    return (
        "right: the numbers add up to the whole logit, and each is what would be missing without"
        " its neuron."
    )


def _missing_without(hidden: Tensor, W_down: Tensor, direction: Tensor) -> Tensor:
    """By how much the logit is lower with each neuron silent."""
    missing = torch.empty_like(hidden)
    for i in range(len(hidden)):
        silent = hidden.clone()
        silent[i] = 0
        missing[i] = direction @ (W_down @ hidden) - direction @ (W_down @ silent)
    return missing


def _attribution_slips(
    hidden: Tensor, W_down: Tensor, direction: Tensor
) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give for a square W_down."""
    reads, total = direction @ W_down, direction @ (W_down @ hidden)
    right = hidden * reads
    return [
        (
            hidden * (W_down @ direction),
            "you used the rows of W_down. Row c collects what all neurons write into channel c."
            " What neuron i writes is its column.",
        ),
        (
            reads,
            "these are the logits of neurons whose activation is 1. Multiply by each neuron's own"
            " activation.",
        ),
        (total, "that is the sum over all neurons. Keep one number per neuron."),
        (
            right.abs(),
            "the sizes are right, the signs are lost. A neuron can also push a logit down.",
        ),
        (
            -right,
            "every sign is turned round: a neuron that pushes the logit up has a positive number,"
            " since without it the logit would be lower.",
        ),
        (
            total - right,
            "that is the logit that is left without the neuron. By how much is it lower?",
        ),
        (
            hidden.relu() * reads,
            "the neurons whose activation is below 0 are left out. They write too, the other way"
            " round.",
        ),
        (
            right / direction.norm(),
            "the direction was brought to length 1. The logit is the dot product with the direction"
            " as it is.",
        ),
        (
            hidden * W_down.norm(dim=0),
            "that is the length of what each neuron writes. The direction is not used, and the"
            " logit reads only what lies along it.",
        ),
        (
            hidden * W_down.sum(0),
            "that is the sum of what each neuron writes over all channels. The direction is not"
            " used: weigh each channel by its number in it.",
        ),
        (
            W_down @ hidden * direction,
            "that is one number per channel, summed over the neurons. Sum over the channels"
            " instead, and keep the neurons apart.",
        ),
        (
            direction[:, None] * W_down * hidden,
            "that is one number per channel and neuron. Sum over the channels.",
        ),
        (right.softmax(-1), "a softmax was taken. The numbers should add up to the logit itself."),
        (
            right / right.sum(),
            "you divided by the sum. The numbers should add up to the logit itself.",
        ),
    ]
