"""Checkers of lesson 08. The truths are sums by hand, numbers counted in real tensors, and torch's
own AdamW."""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.lab.checks.compare import is_like, recognise
from course_lib.lab.checks.core import Attempt, Wrong, checker, expect
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_weights import gpt2_to_hf

# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def block(attempt: Attempt) -> str:
    """Send a stream through one block: attention reads and adds, then the MLP reads and adds."""
    x = torch.tensor([[[2.0, 1.0], [-1.0, 3.0], [0.5, -2.0]]])
    parts = norm_1, attention, norm_2, mlp = (
        lambda x: x / x.norm(dim=-1, keepdim=True),
        lambda x: x.cumsum(1) * torch.tensor([1.0, -0.5]),
        lambda x: x - x.mean(-1, keepdim=True),
        lambda x: x.flip(-1).square() * 0.1 + 0.3,
    )
    after = x + attention(norm_1(x))
    want = after + mlp(norm_2(after))
    got = attempt(x, *parts)
    recognise(
        got,
        (
            mlp(norm_2(attention(norm_1(x)))),
            "the stream is lost: each part must *add* to what it has read, x + ...",
        ),
        (
            mlp(norm_2(after)),
            "that is what the MLP writes. It has to be added to the stream: x + ...",
        ),
        (after, "that is the stream after attention. The MLP has not read and written yet."),
        (
            x + mlp(norm_2(attention(norm_1(x)))),
            "what attention wrote is not in the stream: the MLP alone has added.",
        ),
        (
            x + attention(norm_1(x)) + mlp(norm_2(x)),
            (
                "the MLP reads the stream as it was before attention wrote. It must see what"
                " attention has added: carry the new x on."
            ),
        ),
        (
            norm_2(norm_1(x + attention(x)) + mlp(norm_1(x + attention(x)))),
            (
                "that is post-norm: you normed the stream itself, after each sum. Here each part"
                " reads a normed copy."
            ),
        ),
        (
            x + attention(x) + mlp(x + attention(x)),
            "no norm is used: each part reads a normed copy of the stream.",
        ),
        (after + mlp(norm_1(after)), "norm_1 serves twice. The MLP has a norm of its own, norm_2."),
        (after + mlp(after), "the MLP reads the stream as it is. Norm its copy by norm_2."),
        (
            _swapped(x, *parts),
            "the MLP came first. Attention reads first: the tokens look around, then they think.",
        ),
        (
            _on_the_stream(x, *parts),
            (
                "you normed the stream itself and went on from there. Only the copy that a part"
                " reads is normed; the sum starts from x as it was."
            ),
        ),
    )
    expect(got, want, "the block's output for a stream of three tokens and two channels")
    return "two reads, two writes, and the stream itself goes straight through."


def _swapped(
    x: Tensor, norm_1: Callable, attention: Callable, norm_2: Callable, mlp: Callable
) -> Tensor:
    x = x + mlp(norm_2(x))
    return x + attention(norm_1(x))


def _on_the_stream(
    x: Tensor, norm_1: Callable, attention: Callable, norm_2: Callable, mlp: Callable
) -> Tensor:
    x = norm_1(x)
    x = norm_2(x + attention(x))
    return x + mlp(x)


# Exercise 2
# --------------------------------------------------------------------------------------------------

LAYERS, STD = 8, 0.02
READERS = ("attention.qkv.weight", "mlp.up.weight")
WRITERS = ("attention.out.weight", "mlp.down.weight")


def _model_to_fill() -> GPT2:
    """Make a GPT-2 whose starting numbers are all wrong but those of the norms."""
    model = GPT2(
        GPT2Settings(vocab_size=120, max_seq_len=60, d_model=48, n_layers=LAYERS, n_heads=4)
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.constant_(parameter, 0.7)
    return model


def _numbers(model: GPT2, *ends: str) -> Tensor:
    return torch.cat(
        [p.detach().flatten() for name, p in model.named_parameters() if name.endswith(ends)]
    )


@checker
def start_weights(attempt: Attempt) -> str:
    """Draw the starting weights of a GPT-2, in place."""
    model = _model_to_fill()
    attempt.in_place(model)
    _judge_norms_and_biases(model)
    tables = _numbers(model, "embedding.weight")
    readers, writers = _numbers(model, *READERS), _numbers(model, *WRITERS)
    if (tables == 0.7).all() and (readers == 0.7).all() and (writers == 0.7).all():
        raise Wrong(
            "no matrix has changed. Change the parameters in place: nn.init.normal_(parameter,"
            " std=...)."
        )
    for what, numbers in (("the two tables", tables), ("attention.qkv and mlp.up", readers)):
        _judge_spread(what, numbers)
    _judge_writers(writers.std().item())
    _judge_spread("attention.out and mlp.down", writers, STD / (2 * LAYERS) ** 0.5)
    return (
        f"right: what writes into the stream starts {(2 * LAYERS) ** 0.5:.0f} times smaller at"
        f" {LAYERS} layers."
    )


def _judge_norms_and_biases(model: GPT2) -> None:
    norms = torch.cat(
        [p.detach() for name, p in model.named_parameters() if "norm" in name and "weight" in name]
    )
    if not (norms == 1).all():
        raise Wrong(
            "the weights of the norms have changed. They start at 1, so that a norm passes on what"
            " it has normed. Leave alone what has one axis and is no bias."
        )
    biases = _numbers(model, "bias")
    if not (biases == 0).all():
        raise Wrong(f"biases must start at 0; some of yours are {biases[biases != 0][0]:.3g}.")


def _judge_spread(what: str, numbers: Tensor, want: float = STD) -> None:
    std, mean = numbers.std().item(), numbers.mean().item()
    if std < 1e-6:
        raise Wrong(
            f"all numbers of {what} are {mean:.3g}. Equal numbers learn equal things: draw them at"
            " random."
        )
    if abs(mean) > 5 * std / len(numbers) ** 0.5:
        raise Wrong(f"{what}: the mean is {mean:.3g}, not 0. Is it uniform from 0 on?")
    if not 0.9 < std / want < 1.1:
        raise Wrong(f"{what} have a standard deviation of {std:.4f}, expected {want:.4f}.")
    if numbers.abs().max() < 2 * std:
        raise Wrong(
            f"{what} have the right size, but no number is far out: that is uniform. Draw from a"
            " normal."
        )


def _judge_writers(std: float) -> None:
    slips = {
        STD: (
            "attention.out and mlp.down start as large as the rest. They write into the stream, 2 x"
            " n_layers times in all: draw them smaller."
        ),
        STD / LAYERS**0.5: (
            "you divided by sqrt(n_layers). A layer writes twice, so there are 2 x n_layers writes."
        ),
        STD / (2 * LAYERS): (
            "you divided by 2 x n_layers. Random writes partly cancel: their sum grows like the"
            " square root of their number."
        ),
        STD
        * (2 * LAYERS)
        ** 0.5: "you multiplied by sqrt(2 n_layers). The writes must be smaller: divide.",
    }
    for size, sentence in slips.items():
        if 0.93 < std / size < 1.07:
            raise Wrong(sentence)


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def n_parameters(attempt: Attempt) -> str:
    """Count the parameters of a GPT-2 by formula."""
    for V, T, C, L in ((11, 7, 6, 3), (50257, 1024, 768, 12), (50257, 1024, 1600, 48)):
        with torch.device("meta"):
            model = GPT2(GPT2Settings(V, T, C, L, n_heads=1))
        want = sum(parameter.numel() for parameter in model.parameters())
        got = attempt(V, T, C, L)
        for slip, sentence in _count_slips(V, T, C, L):
            if got == want + slip:
                raise Wrong(sentence)
        expect(got, want, f"the parameters for V = {V}, T = {T}, C = {C}, L = {L}")
    return "your formula agrees with the tensors, to the last number."


def _count_slips(V: int, T: int, C: int, L: int) -> list[tuple[int, str]]:
    """List what typical mistakes add to the count or take from it."""
    return [
        (
            V * C,
            (
                "V x C too many: you counted a table for the output. It is the input's table,"
                " counted once."
            ),
        ),
        (-T * C, "T x C too few: the table of places is missing."),
        (-V * C, "V x C too few: the table of tokens is missing."),
        (-2 * C, "2C too few: there is one more norm, after the last block."),
        (
            -L * 9 * C,
            "the biases are missing: 3C + C in attention, 4C + C in the MLP, in every layer.",
        ),
        (
            -L * 4 * C,
            (
                "the norms of the blocks are missing: two in each, with a weight and a bias of C"
                " numbers."
            ),
        ),
        (
            -L * 4 * C - 2 * C,
            "the norms are missing: two in each block and one at the end, each with 2C numbers.",
        ),
        (
            -L * 2 * C,
            (
                "one norm per block is missing, or its biases: a block has two norms of 2C numbers"
                " each."
            ),
        ),
        (-L * (C * C + C), "attention's `out` is missing, C x C + C in every layer."),
        (
            -L * 13 * C - 2 * C,
            (
                "the matrices are all there; the biases (9C a block) and the norms (4C a block, 2C)"
                " are missing."
            ),
        ),
        (-(L - 1) * (12 * C * C + 13 * C), "that is one block. There are L of them."),
    ]


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def from_hf(attempt: Attempt) -> str:
    """Rename and turn the weights of Hugging Face's GPT-2 for ours."""
    torch.manual_seed(0)
    ours = GPT2(
        GPT2Settings(vocab_size=13, max_seq_len=5, d_model=6, n_layers=11, n_heads=2, d_ff=10)
    ).state_dict()
    want = {name: torch.randn_like(tensor) for name, tensor in ours.items()}
    theirs = gpt2_to_hf(want)
    got = attempt(theirs)
    if not isinstance(got, dict):
        expect(got, want, "the weights under our names")
    _judge_names(got, want)
    for name, tensor in want.items():
        turned = tensor.T if tensor.ndim == 2 else tensor
        if tensor.ndim == 2 and "embedding" in name and is_like(got[name], turned):
            raise Wrong(
                f"{name} is transposed. Only the matrices inside the blocks are stored the other"
                " way round."
            )
        if name.endswith("attention.out.weight") and is_like(got[name], turned):
            raise Wrong(
                f"{name} is not transposed. It is square, so torch would have loaded it without a"
                " word, and every answer would have been wrong."
            )
        if tensor.ndim == 2 and is_like(got[name], turned):
            raise Wrong(
                f"{name} has shape {tuple(turned.shape)} there, input x output. Ours is the"
                " transpose of it."
            )
        expect(got[name], tensor, name)
    return "right: new names, the blocks' matrices turned, and the head left to the table."


def _judge_names(got: dict, want: dict) -> None:
    for name in got.keys() - want.keys():
        reason = {
            "lm_head": "the head is the token table once more: leave it out.",
            "transformer": "the prefix `transformer.` has to go.",
            "h.": "`h` is called `blocks` with us.",
        }
        told = next(
            (text for start, text in reason.items() if str(name).startswith(start)),
            "ours has no such name.",
        )
        raise Wrong(f"there is a weight {name!r}: {told}")
    if missing := sorted(want.keys() - got.keys()):
        raise Wrong(f"{len(missing)} weights are missing, {missing[0]!r} among them.")


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _learn(
    model: nn.Module,
    rows: Tensor,
    steps: int,
    lr: float,
    inputs: slice = slice(None, -1),
    targets: slice = slice(1, None),
    zero: bool = True,
    step: bool = True,
) -> list[float]:
    """Train on one batch by torch's AdamW, with or without a slip; give the loss at each step."""
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = F.cross_entropy(model(rows[:, inputs]).flatten(0, 1), rows[:, targets].flatten())
        if zero:
            optimizer.zero_grad()
        loss.backward()
        if step:
            optimizer.step()
        losses.append(loss.item())
    return losses


@checker
def learn_by_heart(attempt: Attempt) -> str:
    """Train a model on one batch, again and again, and tell the loss at each step."""
    torch.manual_seed(0)
    fresh = GPT2(GPT2Settings(vocab_size=17, max_seq_len=9, d_model=16, n_layers=1, n_heads=2))
    rows, steps, lr = torch.randint(17, (3, 8)), 12, 0.01

    def by(**slip: Any) -> list[float]:
        return _learn(copy.deepcopy(fresh), rows, steps, lr, **slip)

    want = by()
    got = attempt(copy.deepcopy(fresh), rows, steps, lr)
    if isinstance(got, Tensor | float):
        raise Wrong(
            f"one loss came back. Keep the loss of every step in a list, {steps} of them here."
        )
    if not isinstance(got, list) or len(got) != steps:
        expect(got, want, f"the losses of {steps} steps")
    if isinstance(got[0], Tensor) and got[0].requires_grad:
        raise Wrong(
            "your losses are tensors that hold on to their whole history. Keep the numbers:"
            " loss.item()."
        )
    got = [float(loss) for loss in got]
    repeats = (
        "the targets are the inputs: the model learns to repeat the token that it has just read."
        " The target of a token is the one after it."
    )
    slips = [
        (by(inputs=slice(None), targets=slice(None)), repeats),
        (by(targets=slice(None, -1)), repeats),
        (
            by(inputs=slice(1, None), targets=slice(None, -1)),
            (
                "the targets lie one *before* the inputs: the model is taught to tell what it has"
                " read already."
            ),
        ),
        (by(zero=False), "slopes pile up from step to step: zero_grad() is missing."),
        (by(step=False), "the loss never changes: optimizer.step() is missing."),
    ]
    for losses, sentence in slips:
        if got == losses or torch.allclose(torch.tensor(got), torch.tensor(losses), rtol=1e-4):
            raise Wrong(sentence)
    if abs(got[0] / want[0] - rows[:, 1:].numel()) < 0.1:
        raise Wrong(
            "these are sums over all tokens. Take the mean, as F.cross_entropy does unless told"
            " otherwise."
        )
    expect(got, want, f"the losses of {steps} steps of AdamW", tolerance=1e-3)
    return "right: the same losses as torch's AdamW on the same batch."
