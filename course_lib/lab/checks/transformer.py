"""Checkers of lesson 08. The truths are sums by hand, numbers counted in real tensors, and torch's
own AdamW."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from course_lib.lab.checks.compare import is_like
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_weights import gpt2_to_hf

# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def transformer_block(attempt: Attempt) -> str:
    """Send a residual stream through one block: attention reads and adds, then the MLP does."""
    parts = (
        lambda x: x / x.norm(dim=-1, keepdim=True),
        lambda x: x.cumsum(1) * torch.tensor([1.0, -0.5]),
        lambda x: x - x.mean(-1, keepdim=True),
        lambda x: x.flip(-1).square() * 0.1 + 0.3,
    )
    streams = (
        torch.tensor([[[2.0, 1.0], [-1.0, 3.0], [0.5, -2.0]]]),
        torch.tensor([[[1.0, -2.0]], [[3.0, 0.5]]]),
    )
    judge_by_slips(
        attempt,
        [(x, *parts) for x in streams],
        _after_block,
        _block_slips,
        lambda x, *_: f"the block's output for a stream of shape {tuple(x.shape)}",
    )
    return "two reads, two writes, and the residual stream itself goes straight through."


def _after_block(
    x: Tensor, norm_1: Callable, attention: Callable, norm_2: Callable, mlp: Callable
) -> Tensor:
    after = x + attention(norm_1(x))
    return after + mlp(norm_2(after))


def _block_slips(
    x: Tensor, norm_1: Callable, attention: Callable, norm_2: Callable, mlp: Callable
) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give."""
    after = x + attention(norm_1(x))
    return [
        (
            mlp(norm_2(attention(norm_1(x)))),
            "the residual stream is lost: each part must *add* to what it has read, x + ...",
        ),
        (
            mlp(norm_2(after)),
            "that is what the MLP writes. It has to be added to the residual stream: x + ...",
        ),
        (after, "that is the stream after attention. The MLP has not read and written yet."),
        (
            x + mlp(norm_2(attention(norm_1(x)))),
            "what attention wrote is not in the stream: the MLP alone has added.",
        ),
        (
            x + mlp(norm_2(after)),
            "the MLP's output was added to the x that came in, so what attention wrote is not in"
            " the sum. Carry the new x on.",
        ),
        (
            x + attention(norm_1(x)) + mlp(norm_2(x)),
            "the MLP reads the stream as it was before attention wrote. It must see what"
            " attention has added: carry the new x on.",
        ),
        (
            norm_2((y := norm_1(x + attention(x))) + mlp(y)),
            "that is post-norm: you normed the stream itself, after each sum. Here each part"
            " reads a normed copy.",
        ),
        (
            (y := x + attention(x)) + mlp(y),
            "no norm is used: each part reads a normed copy of the stream.",
        ),
        (
            (y := x + attention(x)) + mlp(norm_2(y)),
            "attention reads the stream as it is. Norm its copy by norm_1.",
        ),
        (after + mlp(norm_1(after)), "norm_1 serves twice. The MLP has a norm of its own, norm_2."),
        (after + mlp(after), "the MLP reads the stream as it is. Norm its copy by norm_2."),
        (
            (y := x + attention(norm_2(x))) + mlp(norm_1(y)),
            "the two norms have changed places: norm_1 goes with attention, norm_2 with the MLP.",
        ),
        (
            (y := x + mlp(norm_2(x))) + attention(norm_1(y)),
            "the MLP came first. Attention reads first, then the MLP.",
        ),
        (
            (y := norm_2(norm_1(x) + attention(norm_1(x)))) + mlp(y),
            "you normed the stream itself and went on from there. Only the copy that a part"
            " reads is normed; the sum starts from x as it was.",
        ),
    ]


# Exercise 2
# --------------------------------------------------------------------------------------------------

STD = 0.02
WRITERS = ("attention.out.weight", "mlp.down.weight")


@checker
def init_weights(attempt: Attempt) -> str:
    """Draw the initial weights of a GPT-2, in place."""
    for n_layers in (8, 3):
        model = _model_to_fill(n_layers)
        attempt.in_place(model)
        _judge_changed(model)
        _judge_norms_and_biases(model)
        _judge_matrices(model, n_layers)
    return "right: what writes into the residual stream starts sqrt(2L) times smaller."


def _model_to_fill(n_layers: int) -> GPT2:
    """Make a GPT-2 whose initial numbers are all wrong but those of the norms."""
    model = GPT2(
        GPT2Settings(vocab_size=120, max_seq_len=60, d_model=48, n_layers=n_layers, n_heads=4)
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.constant_(parameter, 0.7)
    return model


def _judge_changed(model: GPT2) -> None:
    if all((p == 0.7).all() for p in model.parameters() if p.ndim == 2):
        raise Wrong(
            "no matrix has changed. Change the parameters in place: nn.init.normal_(parameter,"
            " std=...). `parameter = ...` only gives the name to another tensor."
        )


def _judge_norms_and_biases(model: GPT2) -> None:
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight") and (parameter != 1).any():
            raise Wrong(
                f"{name} has changed. The weights of the norms stay at 1: leave alone what has"
                " one axis and is no bias."
            )
        if name.endswith("bias") and (parameter != 0).any():
            first = parameter[parameter != 0][0].item()
            raise Wrong(f"biases must become 0; in {name} stands {first:.3g}.")


def _judge_matrices(model: GPT2, n_layers: int) -> None:
    matrices = {name: p.detach() for name, p in model.named_parameters() if p.ndim == 2}
    _judge_mean_for_std(torch.cat([p.flatten() for p in matrices.values()]))
    for name, numbers in matrices.items():
        writes = name.endswith(WRITERS)
        _judge_draw(name, numbers, STD / (2 * n_layers) ** 0.5 if writes else STD, n_layers)
    for writes in (True, False):
        _judge_shape(matrices, writes)
    first, second = (matrices[f"blocks.{layer}.mlp.up.weight"] for layer in (0, 1))
    if torch.equal(first, second):
        raise Wrong("blocks 0 and 1 got the same numbers. Draw every matrix anew.")


def _judge_mean_for_std(numbers: Tensor) -> None:
    std, mean, error = numbers.std().item(), numbers.mean().item(), numbers.numel() ** -0.5
    if 0.97 < std < 1.03 and 4 * error < mean < STD + 4 * error:
        raise Wrong(
            f"all matrices together have the mean {mean:.3f} and the standard deviation"
            f" {std:.3f}: normal_ takes the mean first. Say std=..."
        )


def _judge_draw(name: str, numbers: Tensor, want: float, n_layers: int) -> None:
    std, mean = numbers.std().item(), numbers.mean().item()
    if (numbers == 0.7).all():
        raise Wrong(f"{name} has not changed. Whatever has two axes is drawn, embeddings too.")
    if std < 1e-6:
        raise Wrong(
            f"all numbers of {name} are {mean:.3g}. Equal numbers learn equal things: draw them at"
            " random."
        )
    if abs(mean) > 6 * std / numbers.numel() ** 0.5:
        raise Wrong(f"{name}: the mean is {mean:.3g}, not 0. Is it uniform from 0 on?")
    if 0.9 < std / want < 1.1:
        return
    if name.endswith(WRITERS):
        _judge_writers(name, std, n_layers)
    raise Wrong(f"{name} has a standard deviation of {std:.4f}, expected {want:.4f}.")


def _judge_writers(name: str, std: float, n_layers: int) -> None:
    slips = {
        STD: (
            f"{name} and its like start as large as the rest. They write into the residual stream:"
            " draw them smaller, by sqrt(2 x n_layers)."
        ),
        STD / n_layers**0.5: (
            "you divided by sqrt(n_layers). A layer writes twice, so there are 2 x n_layers writes."
        ),
        STD / (2 * n_layers): (
            "you divided by 2 x n_layers. Random writes partly cancel: their sum grows like the"
            " square root of their number."
        ),
        STD * (2 * n_layers) ** 0.5: (
            "you multiplied by sqrt(2 n_layers). The writes must be smaller: divide."
        ),
    } | {
        STD / (2 * layers) ** 0.5: (
            f"{name} is drawn as for {layers} layers. This model has {n_layers}: ask"
            " model.settings.n_layers."
        )
        for layers in (2, 3, 12)
    }
    for size, sentence in slips.items():
        if 0.93 < std / size < 1.07:
            raise Wrong(sentence)


def _judge_shape(matrices: dict[str, Tensor], writes: bool) -> None:
    """Tell a normal distribution by its fourth moment, which is 3 (1.8 where it is uniform)."""
    chosen = [p.flatten() for name, p in matrices.items() if name.endswith(WRITERS) == writes]
    numbers = torch.cat(chosen)
    fourth = ((numbers / numbers.std()) ** 4).mean().item()
    what = "attention.out and mlp.down" if writes else "the embeddings, attention.qkv and mlp.up"
    if fourth < 2.5:
        raise Wrong(
            f"{what} have the right standard deviation, but no number is far out, as if it were"
            " uniform. Draw from a normal distribution."
        )
    if fourth > 3.6:
        raise Wrong(f"{what} have too many numbers far out. Draw from a normal distribution.")


# Exercise 3
# --------------------------------------------------------------------------------------------------

SIZES = ((97, 31, 29, 5), (211, 17, 22, 2), (40, 300, 64, 3))  # V, T, C, L


@checker
def n_parameters(attempt: Attempt) -> str:
    """Count the parameters of a GPT-2 by formula."""
    wanted, counts = [], []
    for V, T, C, L in SIZES:
        model = GPT2(GPT2Settings(V, T, C, L, n_heads=1))
        wanted.append(sum(parameter.numel() for parameter in model.parameters()))
        counts.append(attempt(V, T, C, L))
    found = list(zip(SIZES, counts, wanted, strict=True))
    for slip, sentence in _COUNT_SLIPS:
        if all(is_like(got, want + slip(*sizes), 0.0) for sizes, got, want in found):
            raise Wrong(sentence)
    for (V, T, C, L), got, want in found:
        expect(got, want, f"the parameters for V = {V}, T = {T}, C = {C}, L = {L}", tolerance=0)
        if (
            isinstance(got, float | np.floating)
            or isinstance(got, Tensor)
            and got.is_floating_point()
        ):
            raise Wrong(f"the number is right, but {float(got)} is a float. Return an integer.")
    return "your formula agrees with the tensors, to the last number."


# What a typical slip adds to the count or takes from it. A slip is named only if all sizes agree.
_COUNT_SLIPS: list[tuple[Callable[[int, int, int, int], int], str]] = [
    (
        lambda V, T, C, L: V * C,
        "V x C too many: you counted a matrix for the head. It is the token embedding, counted"
        " once.",
    ),
    (
        lambda V, T, C, L: V * C + V,
        "V x C + V too many: you counted a head of its own, with a bias. It is the token"
        " embedding, counted once, and has no bias.",
    ),
    (lambda V, T, C, L: -T * C, "T x C too few: the position embedding is missing."),
    (lambda V, T, C, L: -V * C, "V x C too few: the token embedding is missing."),
    (lambda V, T, C, L: -2 * C, "2C too few: there is one more norm, after the last block."),
    (lambda V, T, C, L: -C, "C too few: the norm after the last block has a weight *and* a bias."),
    (
        lambda V, T, C, L: -L * 9 * C,
        "9C a layer too few: the biases of the four matrices are missing, 3C + C in attention and"
        " 4C + C in the MLP.",
    ),
    (
        lambda V, T, C, L: -L * 4 * C,
        "4C a layer too few, as if a block's two norms were missing, or the bias of `mlp.up`.",
    ),
    (
        lambda V, T, C, L: -L * 4 * C - 2 * C,
        "the norms are missing: two in each block and one at the end, each with 2C numbers.",
    ),
    (
        lambda V, T, C, L: -L * 2 * C,
        "2C a layer too few. A block's two norms have 4C numbers, a weight and a bias of C each;"
        " the biases of its four matrices have 9C, each as many as its matrix has outputs.",
    ),
    (
        lambda V, T, C, L: -L * 2 * C - C,
        "the norms are counted without their biases: each has a weight and a bias of C numbers.",
    ),
    (
        lambda V, T, C, L: -L * (C * C + C),
        "attention's `out` is missing, C x C + C in every layer.",
    ),
    (
        lambda V, T, C, L: -L * 2 * C * C,
        "2 x C x C a layer too few: `attention.qkv` goes from C to 3C, so it has 3 x C x C.",
    ),
    (
        lambda V, T, C, L: -L * (2 * C * C + 2 * C),
        "2 x C x C + 2C a layer too few: `attention.qkv` goes from C to 3C, its bias too.",
    ),
    (
        lambda V, T, C, L: -L * 4 * C * C,
        "4 x C x C a layer too few: the MLP has two matrices, `up` and `down`.",
    ),
    (
        lambda V, T, C, L: -L * 13 * C - 2 * C,
        "the matrices are all there; the biases (9C a block) and the norms (4C a block, 2C) are"
        " missing.",
    ),
    (
        lambda V, T, C, L: -(L - 1) * (12 * C * C + 13 * C),
        "that is one block. There are L of them.",
    ),
]


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def from_hf(attempt: Attempt) -> str:
    """Rename and transpose the weights of Hugging Face's GPT-2 for ours."""
    torch.manual_seed(0)
    ours = GPT2(
        GPT2Settings(vocab_size=13, max_seq_len=5, d_model=6, n_layers=11, n_heads=2, d_ff=10)
    ).state_dict()
    want = {name: torch.randn_like(tensor) for name, tensor in ours.items()}
    theirs = gpt2_to_hf(want)
    _judge_weights(attempt(theirs), want, "")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in theirs.items()}
    del bare["lm_head.weight"]
    _judge_weights(attempt(bare), want, "Where no name has the prefix and there is no head: ")
    return "right: new names, the blocks' matrices transposed, the head left to the embedding."


def _judge_weights(got: Any, want: dict[str, Tensor], where: str) -> None:
    if not isinstance(got, dict):
        raise Wrong(f"{where}return a dict from name to tensor; you returned {_kind(got)}.")
    _judge_names(got, want, where)
    for name, tensor in want.items():
        if not isinstance(got[name], Tensor):
            raise Wrong(f"{where}{name} is {describe(got[name])}, not a tensor.")
        if tensor.ndim == 2 and is_like(got[name], tensor.T):
            _judge_transposed(name, tensor)
        if "blocks" in name and tensor.ndim == 2 and _is_reshaped(got[name], tensor):
            raise Wrong(
                f"{where}{name} has the right shape, but its numbers are in the old order: reshape"
                " and view don't transpose. Take tensor.T."
            )
        expect(got[name], tensor, f"{where}{name}")


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _is_reshaped(got: Tensor, tensor: Tensor) -> bool:
    return is_like(got, tensor.T.reshape(tensor.shape))


def _judge_transposed(name: str, tensor: Tensor) -> None:
    if "embedding" in name:
        raise Wrong(
            f"{name} is transposed. Only the matrices inside the blocks are stored the other way"
            " round."
        )
    if tensor.shape[0] == tensor.shape[1]:
        raise Wrong(
            f"{name} is not transposed. It is square, so torch would have loaded it without a word,"
            " and every answer would have been wrong."
        )
    raise Wrong(
        f"{name} has shape {tuple(tensor.T.shape)} there, input x output. Ours is the transpose of"
        " it."
    )


def _judge_names(got: dict, want: dict, where: str) -> None:
    for name in got.keys() - want.keys():
        reason = {
            "lm_head": "the head is the token embedding once more: leave it out.",
            "transformer": "the prefix `transformer.` has to go.",
            "h.": "`h` is called `blocks` with us.",
        }
        told = next(
            (text for start, text in reason.items() if str(name).startswith(start)),
            "ours has no such name.",
        )
        raise Wrong(f"{where}there is a weight {name!r}: {told}")
    if missing := sorted(want.keys() - got.keys()):
        raise Wrong(f"{where}{len(missing)} weights are missing, {missing[0]!r} among them.")


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
    rebuilt: bool = False,
    kind: type[torch.optim.Optimizer] = torch.optim.AdamW,
    **more: Any,
) -> list[float]:
    """Train on one batch by torch's AdamW, with or without a slip; give the loss at each step."""
    optimizer, losses = kind(model.parameters(), lr=lr, **more), []
    for _ in range(steps):
        if rebuilt:
            optimizer = kind(model.parameters(), lr=lr, **more)
        loss = F.cross_entropy(model(rows[:, inputs]).flatten(0, 1), rows[:, targets].flatten())
        if zero:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@contextmanager
def _watched_steps(model: nn.Module) -> Iterator[dict[str, int]]:
    """Count the optimizers' steps, those that find gradients, and those on the model's own
    parameters."""
    counted = {"steps": 0, "with gradients": 0, "on the model": 0}
    own = {id(parameter) for parameter in model.parameters()}

    def watch(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"]]
        counted["steps"] += 1
        counted["with gradients"] += any(p.grad is not None and p.grad.any() for p in held)
        counted["on the model"] += any(id(p) in own for p in held)

    hook = register_optimizer_step_pre_hook(watch)
    try:
        yield counted
    finally:
        hook.remove()


@checker
def overfit_batch(attempt: Attempt) -> str:
    """Train a model on one batch, again and again, and tell the loss at each step."""
    torch.manual_seed(0)
    settings = GPT2Settings(vocab_size=17, max_seq_len=9, d_model=16, n_layers=1, n_heads=2)
    fresh = GPT2(settings).double()  # so that equal computations give equal numbers
    for n_rows, length, steps, lr in ((3, 8, 12, 0.01), (2, 5, 1, 0.03)):
        rows = torch.randint(17, (n_rows, length))
        model, twin = copy.deepcopy(fresh), copy.deepcopy(fresh)
        want = _learn(twin, rows, steps, lr)
        with _watched_steps(model) as counted:
            got = _loss_list(attempt(model, rows, steps, lr), steps, lr)
        if steps > 1:
            _judge_losses(got, fresh, rows, steps, lr, counted)
        expect(got, want, _losses(steps, lr), tolerance=1e-4)
        _judge_model(model, twin, fresh)
    return "right: the same losses as torch's AdamW on the same batch, and the model has learnt it."


def _losses(steps: int, lr: float) -> str:
    return f"the losses of {steps} step{'s' if steps > 1 else ''} of AdamW at lr {lr}"


def _loss_list(got: Any, steps: int, lr: float) -> list[float]:
    """Read the losses from a list, or whatever else holds as many numbers."""
    if isinstance(got, float) or isinstance(got, Tensor | np.ndarray) and got.ndim == 0:
        raise Wrong(
            f"one loss came back. Keep the loss of every step in a list, {steps} of them here."
        )
    if not isinstance(got, list | tuple | Tensor | np.ndarray):
        raise Wrong(f"return the list of losses; you returned {_kind(got)}.")
    if len(got) != steps:
        raise Wrong(f"{_losses(steps, lr)}: you returned {len(got)} numbers, not {steps}.")
    if any(isinstance(loss, Tensor) and loss.requires_grad for loss in got):
        raise Wrong(
            "your losses are tensors that hold on to their whole history. Keep the numbers:"
            " loss.item()."
        )
    return [float(loss) for loss in got]


def _judge_losses(
    got: list[float], fresh: nn.Module, rows: Tensor, steps: int, lr: float, counted: dict[str, int]
) -> None:
    if max(got) - min(got) < 1e-9:
        _judge_idle(counted)

    def by(**slip: Any) -> list[float]:
        return _learn(copy.deepcopy(fresh), rows, steps, lr, **slip)

    want = by()
    repeats = (
        "the targets are the inputs: the model learns to repeat the token that it has just read."
        " The target of a token is the one after it."
    )
    slips = [
        (by(inputs=slice(None), targets=slice(None)), repeats),
        (by(targets=slice(None, -1)), repeats),
        (by(inputs=slice(1, None), targets=slice(1, None)), repeats),
        (
            by(inputs=slice(1, None), targets=slice(None, -1)),
            "the targets lie one *before* the inputs: the model is taught to tell what it has read"
            " already.",
        ),
        (by(zero=False), "gradients add up from step to step: zero_grad() is missing."),
        (
            by(rebuilt=True),
            "the optimizer is made anew at each step and forgets its running averages. Make it once"
            " before the loop.",
        ),
        (
            by(kind=torch.optim.Adam),
            "these are the losses of Adam, which has no weight decay. Use torch.optim.AdamW.",
        ),
        (by(kind=torch.optim.SGD), "these are the losses of plain SGD. Use torch.optim.AdamW."),
        (
            _learn(copy.deepcopy(fresh), rows, steps, 1e-3),
            "lr is not used: these are the losses at AdamW's own default, 0.001.",
        ),
        (
            [loss * rows[:, 1:].numel() for loss in want],
            "the first loss is a sum over all tokens, and so are the rest. Take the mean, as"
            " F.cross_entropy does unless told otherwise.",
        ),
    ]
    for losses, sentence in slips:
        if torch.allclose(torch.tensor(got), torch.tensor(losses), rtol=1e-5):
            raise Wrong(sentence)
    for loss, sentence in _first_losses(fresh(rows[:, :-1]).detach(), rows[:, 1:]):
        if abs(got[0] / loss.item() - 1) < 1e-6:
            raise Wrong(sentence)
    if torch.allclose(torch.tensor(got[:-1]), torch.tensor(want[1:]), rtol=1e-5):
        raise Wrong(
            "your first loss is the one after the first step. Note the loss that the step is made"
            " from, before the parameters change."
        )


def _first_losses(logits: Tensor, targets: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what slips in the loss make of the first one."""
    B, _, V = logits.shape
    return [
        (
            F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"),
            "your first loss is a sum over all tokens. Take the mean, as F.cross_entropy does"
            " unless told otherwise.",
        ),
        (
            F.cross_entropy(logits[:, -1], targets[:, -1]),
            "your first loss is that of the last position alone. All positions predict.",
        ),
        (
            F.cross_entropy(logits.reshape(B, V, -1), targets),
            "your logits were reshaped to (B, V, T). That mixes positions and tokens: transpose"
            " them, or flatten the first two axes.",
        ),
    ]


def _judge_idle(counted: dict[str, int]) -> None:
    """Say why the loss is the same at each step."""
    told = "the loss never changes"
    if not counted["steps"]:
        raise Wrong(f"{told}: optimizer.step() is missing.")
    if not counted["on the model"]:
        raise Wrong(f"{told}: the optimizer holds other parameters than this model's.")
    if not counted["with gradients"]:
        raise Wrong(
            f"{told}: step() finds no gradients. backward() comes before it, and zero_grad() must"
            " not stand between the two."
        )
    raise Wrong(f"{told}, although step() finds gradients. Is each loss computed anew?")


def _judge_model(model: nn.Module, twin: nn.Module, fresh: nn.Module) -> None:
    """Compare the model that was handed in with one that was trained the same way."""
    pairs = list(zip(model.parameters(), twin.parameters(), fresh.parameters(), strict=True))
    if all(torch.equal(mine, start) for mine, _, start in pairs):
        raise Wrong(
            "the losses are right, but the model that was handed in has not learnt anything. Did"
            " you train a copy? Train the model itself."
        )
    if not all(torch.allclose(mine, wanted, atol=1e-6) for mine, wanted, _ in pairs):
        raise Wrong(
            "the losses are right, but the model's parameters end elsewhere than by AdamW with its"
            " defaults (weight_decay=0.01) and this lr."
        )
