"""The checkers of lesson 08 know right answers, the untouched skeleton, and the typical wrong
answers."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.lab.checks import transformer as check
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_weights import gpt2_from_hf
from tests.lab.checks.cases import Case, tests_of

# Block
# --------------------------------------------------------------------------------------------------


def block(x, norm_1, attention, norm_2, mlp):
    x = x + attention(norm_1(x))
    return x + mlp(norm_2(x))


def block_in_float64(x, *parts):
    return block(x.double(), *parts)


def block_in_one_sum(x, norm_1, attention, norm_2, mlp):
    heard = attention(norm_1(x))
    return x + heard + mlp(norm_2(x + heard))


def post_norm(x, norm_1, attention, norm_2, mlp):
    x = norm_1(x + attention(x))
    return norm_2(x + mlp(x))


def normed_stream(x, norm_1, attention, norm_2, mlp):
    x = norm_1(x)
    x = norm_2(x + attention(x))
    return x + mlp(x)


# Init
# --------------------------------------------------------------------------------------------------

WRITES = ("attention.out.weight", "mlp.down.weight")


def init(
    model,
    shrink=lambda L: (2 * L) ** -0.5,
    names=WRITES,
    draw=lambda p, std: nn.init.normal_(p, std=std),
    L=None,
):
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            draw(
                parameter,
                0.02 * (shrink(L or model.settings.n_layers) if name.endswith(names) else 1),
            )


def init_by_module(model):
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data = 0.02 * torch.randn(module.weight.shape)
        if isinstance(module, nn.Linear):
            module.bias.data.zero_()
    for layer in model.blocks:
        layer.attention.out.weight.data /= (2 * len(model.blocks)) ** 0.5
        layer.mlp.down.weight.data /= (2 * len(model.blocks)) ** 0.5


def init_and_norms(model):
    init(model)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.02)


def init_without_biases(model):
    biases = {
        name: p.detach().clone() for name, p in model.named_parameters() if name.endswith("bias")
    }
    init(model)
    for name, parameter in model.named_parameters():
        if name in biases:
            parameter.data = biases[name]


def changed_copies(model):
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter = torch.randn_like(parameter) * 0.02
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)


# Parameters
# --------------------------------------------------------------------------------------------------


def count(V, T, C, L, table=1, places=1, biases=1, norms=1, last=1, blocks=None):
    one = 12 * C * C + biases * 9 * C + norms * 4 * C
    return table * V * C + places * T * C + (L if blocks is None else blocks) * one + last * 2 * C


def count_part_by_part(V, T, C, L):
    attention = C * 3 * C + 3 * C + C * C + C
    mlp = C * 4 * C + 4 * C + 4 * C * C + C
    return (V + T) * C + L * (attention + mlp + 2 * 2 * C) + 2 * C


def count_a_model(V, T, C, L):
    model = GPT2(GPT2Settings(V, T, C, L, n_heads=1))
    return sum(parameter.numel() for parameter in model.parameters())


# Hugging Face's names
# -------------------------------------------------------------------------------------------------

NAMES = {
    "wte": "token_embedding",
    "wpe": "position_embedding",
    "ln_f": "norm",
    "h.": "blocks.",
    "ln_": "norm_",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}


def translated(
    theirs,
    turn=lambda name, t: t.T if "blocks" in name and t.ndim == 2 else t,
    prefix="transformer.",
    head=False,
    blocks="blocks.",
):
    ours = {}
    for name, tensor in theirs.items():
        if name == "lm_head.weight" and not head:
            continue
        name = name.removeprefix(prefix)
        for old, new in (NAMES | {"h.": blocks}).items():
            name = name.replace(old, new) if not name.startswith("lm_head") else name
        ours[name] = turn(name, tensor)
    return ours


def without_biases(theirs):
    return {
        name: tensor
        for name, tensor in translated(theirs).items()
        if not name.endswith("mlp.up.bias")
    }


# One batch
# --------------------------------------------------------------------------------------------------


def overfit(
    model,
    rows,
    steps,
    lr,
    inputs=slice(None, -1),
    targets=slice(1, None),
    zero=True,
    step=True,
    keep=lambda loss: loss.item(),
    kind=torch.optim.AdamW,
    remade=False,
    reduction="mean",
    give=lambda losses: losses,
):
    optimizer, losses = kind(model.parameters(), lr=lr), []
    for _ in range(steps):
        if remade:
            optimizer = kind(model.parameters(), lr=lr)
        scores = model(rows[:, inputs])
        loss = F.cross_entropy(
            scores.flatten(0, 1), rows[:, targets].flatten(), reduction=reduction
        )
        if zero:
            optimizer.zero_grad()
        loss.backward()
        if step:
            optimizer.step()
        losses.append(keep(loss))
    return give(losses)


def overfit_otherwise(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr), []
    while len(losses) < steps:
        log_probs = model(rows)[:, :-1].log_softmax(-1)
        loss = -log_probs.gather(-1, rows[:, 1:, None]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return losses


def only_with_prefix(theirs):
    return translated({name: x for name, x in theirs.items() if name.startswith("transformer.")})


def without_twelve_letters(theirs):
    return translated({name[12:]: x for name, x in theirs.items() if name != "lm_head.weight"})


def _batch_loss(model, rows):
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def cleared_after_backward(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = _batch_loss(model, rows)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


def without_backward(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        losses.append(_batch_loss(model, rows).item())
        optimizer.step()
    return losses


def loss_after_the_step(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        _batch_loss(model, rows).backward()
        optimizer.step()
        losses.append(_batch_loss(model, rows).item())
    return losses


def optimizer_of_a_copy(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(copy.deepcopy(model).parameters(), lr=lr), []
    for _ in range(steps):
        loss = _batch_loss(model, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def same_loss_each_time(model, rows, steps, lr):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    loss = _batch_loss(model, rows)
    loss.backward()
    for _ in range(steps):
        optimizer.step()
    return [loss.item()] * steps


CASES = {
    check.transformer_block: Case(
        solution=block,
        skeleton=lambda x, norm_1, attention, norm_2, mlp: ...,
        also_right=[block_in_one_sum, block_in_float64],
        wrong=[
            (lambda x, n1, a, n2, m: m(n2(a(n1(x)))), "the residual stream is lost"),
            (lambda x, n1, a, n2, m: m(n2(x + a(n1(x)))), "what the MLP writes"),
            (lambda x, n1, a, n2, m: x + a(n1(x)), "has not read and written yet"),
            (lambda x, n1, a, n2, m: x + m(n2(a(n1(x)))), "the MLP alone has added"),
            (lambda x, n1, a, n2, m: x + a(n1(x)) + m(n2(x)), "before attention wrote"),
            (lambda x, n1, a, n2, m: block(x, lambda t: t, a, lambda t: t, m), "no norm is used"),
            (lambda x, n1, a, n2, m: block(x, n1, a, n1, m), "norm_1 serves twice"),
            (lambda x, n1, a, n2, m: block(x, n1, a, lambda t: t, m), "reads the stream as it is"),
            (lambda x, n1, a, n2, m: block(x, n2, m, n1, a), "the MLP came first"),
            (normed_stream, "you normed the stream itself and went on"),
            (post_norm, "that is post-norm"),
            (lambda x, n1, a, n2, m: x, "block's output for a stream"),
            (lambda x, n1, a, n2, m: block(x, n2, a, n1, m), "have changed places"),
            (lambda x, n1, a, n2, m: x + m(n2(x + a(n1(x)))), "added to the x that came in"),
            (lambda x, n1, a, n2, m: block(x, lambda t: t, a, n2, m), "attention reads the stream"),
        ],
    ),
    check.init_weights: Case(
        solution=init,
        skeleton=lambda model: ...,
        also_right=[init_by_module],
        wrong=[
            (lambda m: init(m, shrink=lambda L: 1), "start as large as the rest"),
            (lambda m: init(m, shrink=lambda L: L**-0.5), "A layer writes twice"),
            (lambda m: init(m, shrink=lambda L: 1 / (2 * L)), "grows like the square root"),
            (lambda m: init(m, shrink=lambda L: (2 * L) ** 0.5), "you multiplied"),
            (lambda m: init(m, shrink=lambda L: 6**-0.5), "as for 3 layers"),
            (lambda m: init(m, draw=nn.init.normal_), "normal_ takes the mean first"),
            (lambda m: init(m.blocks, L=8), "token_embedding.weight has not changed"),
            (
                lambda m: init(m, names=("attention.qkv.weight", "mlp.up.weight")),
                "attention.qkv.weight has a standard deviation",
            ),
            (init_and_norms, "The weights of the norms stay at 1"),
            (init_without_biases, "biases must become 0"),
            (changed_copies, "no matrix has changed"),
            (lambda m: init(m, draw=nn.init.constant_), "draw them at random"),
            (
                lambda m: init(m, draw=lambda p, s: nn.init.uniform_(p, -s * 3**0.5, s * 3**0.5)),
                "as if it were uniform",
            ),
            (
                lambda m: init(m, draw=lambda p, s: nn.init.uniform_(p, 0, s)),
                "Is it uniform from 0 on?",
            ),
            (
                lambda m: init(m, draw=lambda p, s: p.data.normal_(0, 50 * s)),
                "token_embedding.weight has a standard deviation",
            ),
        ],
    ),
    check.n_parameters: Case(
        solution=count,
        skeleton=lambda V, T, C, L: ...,
        also_right=[count_part_by_part, count_a_model],
        wrong=[
            (lambda V, T, C, L: count(V, T, C, L, table=2), "a matrix for the head"),
            (lambda V, T, C, L: count(V, T, C, L, places=0), "the position embedding is missing"),
            (lambda V, T, C, L: count(V, T, C, L, table=0), "the token embedding is missing"),
            (lambda V, T, C, L: count(V, T, C, L, last=0), "after the last block"),
            (
                lambda V, T, C, L: count(V, T, C, L, biases=0),
                "the biases of the four matrices are missing",
            ),
            (
                lambda V, T, C, L: count(V, T, C, L, norms=0),
                "as if a block's two norms were missing",
            ),
            (
                lambda V, T, C, L: count(V, T, C, L, norms=0, last=0),
                "two in each block and one at the end",
            ),
            (lambda V, T, C, L: count(V, T, C, L, norms=0.5), "2C a layer too few"),
            (lambda V, T, C, L: count(V, T, C, L, norms=0.5, last=0.5), "without their biases"),
            (lambda V, T, C, L: count(V, T, C, L, last=0.5), "C too few: the norm"),
            (lambda V, T, C, L: count(V, T, C, L, table=2) + V, "has no bias"),
            (lambda V, T, C, L: count(V, T, C, L) - L * (C * C + C), "attention's `out`"),
            (
                lambda V, T, C, L: count(V, T, C, L, biases=0, norms=0, last=0),
                "the matrices are all there",
            ),
            (lambda V, T, C, L: count(V, T, C, L, blocks=1), "that is one block"),
            (lambda V, T, C, L: 12 * L * C * C, "the parameters for V = 97"),
            (lambda V, T, C, L: float(count(V, T, C, L)), "Return an integer"),
        ],
    ),
    check.from_hf: Case(
        solution=translated,
        skeleton=lambda theirs: ...,
        also_right=[gpt2_from_hf, lambda theirs: dict(sorted(translated(theirs).items()))],
        wrong=[
            (lambda t: translated(t, turn=lambda name, x: x), "input x output"),
            (
                lambda t: translated(
                    t,
                    turn=lambda name, x: (
                        x.T if "blocks" in name and x.ndim == 2 and x.shape[0] != x.shape[1] else x
                    ),
                ),
                "It is square",
            ),
            (
                lambda t: translated(t, turn=lambda name, x: x.T if x.ndim == 2 else x),
                "Only the matrices inside",
            ),
            (
                lambda t: translated(
                    t, turn=lambda name, x: x.T if "out" in name and x.ndim == 2 else x
                ),
                "input x output",
            ),
            (lambda t: translated(t, head=True), "the token embedding once more"),
            (lambda t: translated(t, prefix=""), "the prefix"),
            (lambda t: translated(t, blocks="h."), "`h` is called `blocks`"),
            (without_biases, "11 weights are missing"),
            (only_with_prefix, "no name has the prefix"),
            (without_twelve_letters, "no name has the prefix"),
            (lambda t: list(translated(t).items()), "return a dict"),
            (
                lambda t: translated(
                    t,
                    turn=lambda name, x: (
                        x.T.reshape(x.shape) if x.ndim == 2 and "blocks" in name else x
                    ),
                ),
                "attention.qkv.weight",
            ),
            (
                lambda t: translated(
                    t,
                    turn=lambda name, x: (
                        x.reshape(x.T.shape) if x.ndim == 2 and "blocks" in name else x
                    ),
                ),
                "reshape and view don't transpose",
            ),
        ],
    ),
    check.overfit_batch: Case(
        solution=overfit,
        skeleton=lambda model, rows, steps, lr: ...,
        also_right=[
            overfit_otherwise,
            lambda *a: torch.tensor(overfit(*a)),
            lambda *a: tuple(overfit(*a)),
        ],
        wrong=[
            (
                lambda m, r, s, lr: overfit(m, r, s, lr, slice(None), slice(None)),
                "the targets are the inputs",
            ),
            (
                lambda m, r, s, lr: overfit(m, r, s, lr, targets=slice(None, -1)),
                "the targets are the inputs",
            ),
            (
                lambda m, r, s, lr: overfit(m, r, s, lr, slice(1, None), slice(None, -1)),
                "one *before* the inputs",
            ),
            (lambda m, r, s, lr: overfit(m, r, s, lr, zero=False), "zero_grad() is missing"),
            (lambda m, r, s, lr: overfit(m, r, s, lr, step=False), "optimizer.step() is missing"),
            (lambda m, r, s, lr: overfit(m, r, s, lr, remade=True), "made anew at each step"),
            (lambda m, r, s, lr: overfit(m, r, s, lr, kind=torch.optim.SGD), "plain SGD"),
            (lambda m, r, s, lr: overfit(m, r, s, lr, kind=torch.optim.Adam), "no weight decay"),
            (lambda m, r, s, lr: overfit(copy.deepcopy(m), r, s, lr), "Did you train a copy"),
            (cleared_after_backward, "step() finds no gradients"),
            (without_backward, "step() finds no gradients"),
            (loss_after_the_step, "the one after the first step"),
            (optimizer_of_a_copy, "other parameters than this model's"),
            (same_loss_each_time, "Is each loss computed anew"),
            (lambda m, r, s, lr: {"losses": overfit(m, r, s, lr)}, "return the list of losses"),
            (
                lambda m, r, s, lr: overfit(m, r, s, lr, keep=lambda loss: loss),
                "hold on to their whole history",
            ),
            (
                lambda m, r, s, lr: overfit(m, r, s, lr, give=lambda losses: losses[-1]),
                "one loss came back",
            ),
            (lambda m, r, s, lr: overfit(m, r, s, lr, reduction="sum"), "is a sum over all tokens"),
            (lambda m, r, s, lr: overfit(m, r, s - 1, lr), "the losses of 12 steps"),
            (lambda m, r, s, lr: overfit(m, r, s, 1e-3), "lr is not used"),
            (lambda m, r, s, lr: overfit(m, r, s, lr / 5), "the losses of 12 steps"),
        ],
    ),
}

test_checkers = tests_of(check, CASES)
