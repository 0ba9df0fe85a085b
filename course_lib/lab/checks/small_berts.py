"""Checkers of lesson 15. The truths are counts on the meta device, calls written down, and sums."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


def _entries(*shapes: tuple[int, int]) -> int:
    """Count the numbers of some tables, without memory."""
    with torch.device("meta"):
        return sum(nn.Embedding(*shape).weight.numel() for shape in shapes)


@checker
def factorised_parameters(attempt: Attempt) -> str:
    """Count one table, and the two that take its place."""
    cases = [(30522, 768, 128), (1024, 64, 32), (10, 7, 3), (5, 4, 4)]

    def truth(n_vocab, d_model, d_embedding):
        return (
            _entries((n_vocab, d_model)),
            _entries((n_vocab, d_embedding), (d_embedding, d_model)),
        )

    def other(change):
        return lambda v, d, e: (v * d, change(v, d, e))

    slips = [
        (lambda v, d, e: truth(v, d, e)[::-1], "the two counts have changed places: V x d first."),
        (
            other(lambda v, d, e: v * e),
            "the second matrix is missing: E numbers have to be widened to d_model, for which an"
            " E x d_model matrix is needed.",
        ),
        (
            other(lambda v, d, e: v * e * d),
            "a product of two matrices is stored as two matrices: their entries are added, not"
            " multiplied.",
        ),
        (
            other(lambda v, d, e: v * e + v * d),
            "the second matrix has no row per token: it is E x d_model, the same for all tokens.",
        ),
        (
            other(lambda v, d, e: v * e * e * d),
            "a product of two matrices is stored as two matrices: their entries are added, not"
            " multiplied.",
        ),
        (
            other(lambda v, d, e: v * e + e * d + d),
            "a product of two matrices has no bias. (The library's `widen` adds one; count the two"
            " matrices only.)",
        ),
        (
            lambda v, d, e: (v * d - v * e - e * d, v * e + e * d),
            "the first number is the count of the one table, not what is saved.",
        ),
    ]
    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda v, d, e: f"both counts for {v} tokens, d_model {d} and d_embedding {e}",
    )
    return "right: the two matrices are fewer numbers only where E < V d / (V + d)."


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def layer_group(attempt: Attempt) -> str:
    """Tell which group a layer's weights belong to."""
    sizes = [(12, 1), (12, 4), (6, 3), (8, 2), (5, 5)]
    cases = [(layer, n, groups) for n, groups in sizes for layer in range(n)]

    def truth(layer, n_layers, n_hidden_groups):
        runs = torch.arange(n_layers).chunk(n_hidden_groups)
        return next(number for number, run in enumerate(runs) if layer in run.tolist())

    slips = [
        (
            lambda layer, n, groups: layer % groups,
            "the groups take turns. They should be runs: the first layers are all of group 0.",
        ),
        (
            lambda layer, n, groups: layer // groups,
            "you divide by the number of groups. How many layers has one group?",
        ),
        (lambda layer, n, groups: truth(layer, n, groups) + 1, "groups are counted from 0."),
        (
            lambda layer, n, groups: groups - 1 - truth(layer, n, groups),
            "the groups run backwards: layer 0 is of group 0.",
        ),
        (
            lambda layer, n, groups: layer % (n // groups),
            "that is the layer's number within its group, not the number of the group.",
        ),
        (lambda layer, n, groups: layer, "that shares nothing: each layer has its own group."),
        (lambda layer, n, groups: layer * groups / n, "the group is a whole number: round down."),
        (
            lambda layer, n, groups: round(layer * groups / n),
            "round down, not to the nearest: a group keeps its weights up to its last layer.",
        ),
        (
            lambda layer, n, groups: math.ceil(layer * groups / n),
            "round down, not up: layer 1 of a group of four is still of the same group.",
        ),
    ]
    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda layer, n, groups: f"the group of layer {layer} of {n}, cut into {groups} group(s)",
    )
    return "right: with one group all layers share, with as many groups as layers none do."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _marks(factors: list[float]) -> list[Callable[[Tensor], Tensor]]:
    """Give blocks that do not commute, so that the result tells in which order they ran."""
    return [lambda x, a=a, i=i: a * x.roll(1, -1) + (i + 1) for i, a in enumerate(factors)]


@checker
def shared_forward(attempt: Attempt) -> str:
    """Run all layers, each with its group's block."""
    cases = []
    for seed, (factors, n) in enumerate([([0.5], 4), ([0.5, -0.3], 6), ([0.2, 0.7, -0.4], 3)]):
        x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed))
        cases.append((x, _marks(factors), n))

    def through(order):
        def run(x, blocks, n):
            for number in order(len(blocks), n):
                x = blocks[number](x)
            return x

        return run

    truth = through(lambda k, n: sorted(list(range(k)) * (n // k)))
    slips = [
        (
            through(lambda k, n: range(k)),
            "each block ran once. There are fewer blocks than layers: a group's block runs once"
            " per layer of the group.",
        ),
        (
            through(lambda k, n: [i % k for i in range(n)]),
            "the blocks take turns. A group is a run of layers: its block runs several times in"
            " a row, then comes the next.",
        ),
        (through(lambda k, n: [0] * n), "all layers ran with the first block."),
        (
            through(lambda k, n: sorted(list(range(k)) * n)),
            "each block ran n_layers times. All blocks together run n_layers times.",
        ),
        (through(lambda k, n: sorted(list(range(k)) * (n // k))[:-1]), "one layer too few ran."),
        (
            through(lambda k, n: sorted(list(range(k)) * (n // k), reverse=True)),
            "the groups ran backwards: the last group's block came first.",
        ),
        (
            lambda x, blocks, n: torch.stack([truth(x, [b], n // len(blocks)) for b in blocks]).sum(
                0
            ),
            "each layer reads what the layer before it wrote, not the first input.",
        ),
        (
            lambda x, blocks, n: blocks[-1](x),
            "this is one call of the last block. Each layer reads what the layer before it wrote:"
            " `x = block(x)`.",
        ),
        (
            lambda x, blocks, n: truth(x, [lambda x, b=b: x + b(x) for b in blocks], n),
            "the input of each block is added once more. A block does its own additions.",
        ),
    ]
    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda x, blocks, n: f"the result of {n} layers with {len(blocks)} block(s)",
    )
    return "right: as many layers as before, and only as many blocks as there are groups."


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def order_pair(attempt: Attempt) -> str:
    """Cut a passage in two and swap the parts, or not."""
    passages = [[[5, 6], [7], [8, 9, 10]], [[1], [2, 3]], [[4, 4], [5], [6], [7, 8]]]
    cases = [
        (passage, cut, swapped)
        for passage in passages
        for cut in range(1, len(passage))
        for swapped in (False, True)
    ]

    def parts(sentences, cut):
        first, second = sentences[:cut], sentences[cut:]
        return sum(first, []), sum(second, [])

    def truth(sentences, cut, swapped):
        first, second = parts(sentences, cut)
        return [second, first, 1] if swapped else [first, second, 0]

    def by_tokens(sentences, cut, swapped):
        tokens = sum(sentences, [])
        first, second = tokens[:cut], tokens[cut:]
        return [second, first, 1] if swapped else [first, second, 0]

    def backwards(sentences, cut, swapped):
        first, second = parts(sentences, cut)
        return [first[::-1], second[::-1], 1] if swapped else [first, second, 0]

    slips = [
        (
            lambda s, cut, swapped: [*truth(s, cut, swapped)[:2], int(not swapped)],
            "the classes have changed places: 0 says in order, 1 says swapped.",
        ),
        (
            lambda s, cut, swapped: [*truth(s, cut, False)[:2], int(swapped)],
            "the label says swapped, but the texts were not: the pair must be what its label says.",
        ),
        (
            lambda s, cut, swapped: [*truth(s, cut, swapped)[:2], 0],
            "the label is 1 when the texts are swapped.",
        ),
        (by_tokens, "the cut counts sentences, not tokens: no sentence is broken."),
        (
            backwards,
            "the tokens run backwards. Swapping exchanges the two texts; each stays as it is.",
        ),
        (
            lambda s, cut, swapped: [s[cut:], s[:cut], 1] if swapped else [s[:cut], s[cut:], 0],
            "the texts are still lists of sentences: join each to one list of tokens.",
        ),
    ]

    def plain(got: Any) -> Any:
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong(f"return three things, two texts and a label; got {describe(got)}")
        first, second, label = got
        return [list(first), list(second), int(label)]

    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda s, cut, swapped: (
            f"the pair of {s}, cut after {cut} sentence(s), {'swapped' if swapped else 'in order'}"
        ),
        plain=plain,
    )
    return "right: both texts always come from one passage, so the subject tells nothing."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def soft_loss(attempt: Attempt) -> str:
    """Measure the student's distance from a softened teacher."""
    cases = []
    for seed, (n, v, temperature) in enumerate([(1, 3, 1.0), (4, 6, 2.0), (3, 5, 4.0)]):
        generator = torch.Generator().manual_seed(seed)
        cases.append((*2 * torch.randn(2, n, v, generator=generator), temperature))

    def rows(student, teacher, t, t_student=None):
        p = (teacher.double() / t).softmax(-1)
        q = (student.double() / (t_student or t)).softmax(-1)
        return p, q

    def of(change):
        return lambda s, z, t: change(*rows(s, z, t), t)

    def kl(p, q):
        return sum(
            a * math.log(a / b)
            for p_row, q_row in zip(p.tolist(), q.tolist(), strict=True)
            for a, b in zip(p_row, q_row, strict=True)
        )

    def truth(s, z, t):
        p, q = rows(s, z, t)
        return t**2 * kl(p, q) / len(p)

    slips = [
        (
            of(lambda p, q, t: kl(p, q) / len(p)),
            "the factor T squared is missing: without it a softer target gives a smaller gradient.",
        ),
        (
            of(lambda p, q, t: t * kl(p, q) / len(p)),
            "the factor is T squared, not T: the gradient shrinks by T twice.",
        ),
        (
            of(lambda p, q, t: t**2 * kl(q, p) / len(p)),
            "student and teacher have changed places in the divergence: the teacher's"
            " probabilities weight the logarithms.",
        ),
        (
            of(lambda p, q, t: -(t**2) * (p * q.log()).sum().item() / len(p)),
            "this is the cross-entropy. The divergence also subtracts the teacher's own entropy,"
            " so that it is 0 when both agree.",
        ),
        (
            of(lambda p, q, t: t**2 * kl(p, q)),
            "average over the rows: a batch twice as large has the same loss.",
        ),
        (
            of(lambda p, q, t: t**2 * kl(p, q) / p.numel()),
            "you averaged over the vocabulary too. Sum over it, then average over the rows.",
        ),
        (
            lambda s, z, t: t**2 * kl(*rows(s, z, t, t_student=1.0)) / len(s),
            "only the teacher's logits are divided by the temperature. Both are.",
        ),
        (
            lambda s, z, t: t**2 * kl(rows(s, z, 1.0)[0], rows(s, z, t)[1]) / len(s),
            "only the student's logits are divided by the temperature. Both are.",
        ),
        (
            lambda s, z, t: t**2 * kl(*rows(s, z, 1 / t)) / len(s),
            "the logits are multiplied by the temperature. A higher one should soften: divide.",
        ),
        (
            lambda s, z, t: t**2 * kl(*rows(s, z, 1.0)) / len(s),
            "the temperature is in the factor only. It also divides the logits of both.",
        ),
        (
            of(lambda p, q, t: -(t**2) * kl(p, q) / len(p)),
            "the sign is turned: a divergence is never below 0.",
        ),
    ]
    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda s, z, t: f"the loss of {len(s)} row(s) of {s.shape[-1]} logits at T = {t:g}",
        tolerance=1e-4,
    )
    same = cases[1][0]
    expect(attempt(same, same.clone(), 2.0), 0.0, "the loss of a student that agrees", 1e-4)
    _judge_gradient(attempt)
    return "right: 0 when both agree, and a softer target is not a weaker one."


def _judge_gradient(attempt: Attempt) -> None:
    """Ask for a loss that can be trained: the student's logits must get a gradient."""
    student = torch.zeros(2, 3, requires_grad=True)
    loss = attempt.answer(student, torch.eye(3)[:2], 2.0)
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Wrong(
            "the number is right, but no gradient reaches the student's logits: keep to tensors, a"
            " float can't be trained on."
        )


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _named_weights(n_layers: int) -> dict[str, Tensor]:
    """Give a small state dict, each tensor with a number of its own."""
    names = ["embedding.token.weight", "mlm_head.bias"]
    for layer in range(n_layers):
        names += [f"blocks.{layer}.mlp.up.weight", f"blocks.{layer}.norm_1.bias"]
    return {name: torch.full((2,), float(number)) for number, name in enumerate(names)}


@checker
def student_weights(attempt: Attempt) -> str:
    """Take some of the teacher's layers, under the numbers that they have in the student."""
    for n_layers, layers in (
        (4, [0, 2]),
        (12, [0, 2, 4, 7, 9, 11]),
        (3, [2]),
        (12, [1, 10]),
        (4, [3, 1]),
    ):
        teacher = _named_weights(n_layers)
        got = attempt(teacher, layers)
        if not isinstance(got, dict):
            raise Wrong(f"return a dict of names and tensors; got {describe(got)}")
        _judge_names(set(got), set(_named_weights(len(layers))), layers, n_layers)
        _judge_order(got, teacher, layers)
        for number, layer in enumerate(layers):
            for part in ("mlp.up.weight", "norm_1.bias"):
                name = f"blocks.{number}.{part}"
                wanted = teacher[f"blocks.{layer}.{part}"]
                expect(got[name], wanted, f"{name} with the layers {layers}")
        for name in ("embedding.token.weight", "mlm_head.bias"):
            expect(got[name], teacher[name], f"{name}, which is no layer's")
    return "right: the student's layer 1 is the teacher's layer 2, tables and head are taken over."


def _judge_order(got: dict[str, Tensor], teacher: dict[str, Tensor], layers: list[int]) -> None:
    """Refuse layers that stand in the teacher's order in place of the order asked for."""
    name = "mlp.up.weight"
    first = got[f"blocks.0.{name}"]
    lowest = teacher[f"blocks.{min(layers)}.{name}"]
    if layers[0] != min(layers) and isinstance(first, Tensor) and torch.equal(first, lowest):
        raise Wrong(
            f"with {layers} the layers stand in the teacher's order. Layer {layers[0]} comes first,"
            " since it is named first."
        )


def _judge_names(got: set[str], wanted: set[str], layers: list[int], n_layers: int) -> None:
    """Say which names a student's weights lack, and which it has no part for."""
    if got == wanted:
        return
    kept = {name for name in _named_weights(n_layers) if name.split(".")[1] in map(str, layers)}
    if {name for name in got if name.startswith("blocks.")} == kept and got != wanted:
        raise Wrong(
            "the layers keep the teacher's numbers. In the student they are counted from 0:"
            f" the teacher's layer {layers[-1]} becomes layer {len(layers) - 1}."
        )
    if not any(not name.startswith("blocks.") for name in got):
        raise Wrong("the tables and the head are missing: the student takes them as they are.")
    missing, extra = sorted(wanted - got), sorted(got - wanted)
    told = [f"missing {', '.join(missing[:3])}"] if missing else []
    told += [f"no part of the student: {', '.join(extra[:3])}"] if extra else []
    raise Wrong(f"with {n_layers} layers and {layers} the names are off; {'; '.join(told)}")
