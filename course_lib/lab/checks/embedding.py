"""Checkers of lesson 04. The truths are loops, sorted lists and complex numbers."""

import cmath
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.lab.checks.compare import is_like
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips, name_slip


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def one_hot(attempt: Attempt) -> str:
    """Turn ids (T,) into rows (T, V) with a single 1 each."""
    texts = (([2, 0, 2, 4], 7), ([1, 3], 5), ([0], 1), ([], 3))
    cases = [(torch.tensor(ids, dtype=torch.long), V) for ids, V in texts]
    name_slip(attempt, cases[:-1], _ones, _one_hot_slips)
    for ids, V in cases:
        got, want = attempt(ids, V), _ones(ids, V)
        if isinstance(got, Tensor) and not got.is_floating_point() and is_like(got, want):
            raise Wrong(
                f"the ones are in the right columns, but their type is {got.dtype}. torch"
                " multiplies a table of floats by floats only: make them floats."
            )
        expect(got, want, f"the one-hot rows of {ids.tolist()} with V = {V}", same_kind=True)
    return "right: one row per token, one 1 per row."


def _ones(ids: Tensor, V: int) -> Tensor:
    rows = [[float(i == v) for v in range(V)] for i in ids.tolist()]
    return torch.tensor(rows).view(len(ids), V)


def _one_hot_slips(ids: Tensor, V: int) -> list[tuple[Any, str]]:
    want, T = _ones(ids, V), len(ids)
    firsts = torch.zeros_like(want)
    for i in set(ids.tolist()):
        firsts[ids.tolist().index(i), i] = 1
    return [
        (
            want.T,
            f"one column per token: the shape is ({V}, {T}). Tokens are the rows: ({T}, {V}).",
        ),
        (
            want[:, : int(ids.max()) + 1],
            "there is a column for each id up to the largest in this text only. The table needs"
            f" all V = {V} columns, also for tokens that do not occur.",
        ),
        (want.roll(-1, 1), "each 1 stands one column too far left. Ids count from 0."),
        (
            torch.cat([want[:, 1:], torch.zeros(T, 1)], 1),
            "each 1 stands one column too far left, and id 0 has none. Ids count from 0.",
        ),
        (
            want.amax(0).expand(T, V),
            "each row has the ones of all tokens. Row t has a single 1, that of its own token.",
        ),
        (firsts, "an id that is repeated gets its 1 the first time only. Each row has a 1."),
        (want.roll(1, 1), "each 1 stands one column too far right. Ids count from 0."),
        (want * ids[:, None], "you wrote the id itself into its column. It should be a 1."),
        (
            want.amax(0),
            "that is one row for the whole text: a bag. Each token needs a row of its own.",
        ),
        (
            want.sum(0),
            "that is one row for the whole text, with counts: a bag. Each token needs its own row.",
        ),
        (1 - want, "zeros and ones are swapped: everything is hot but the token."),
    ]


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def embedding_backward(attempt: Attempt) -> str:
    """Give the gradient for a table (V, C) from those of the vectors that were looked up."""
    cases = []
    for ids, V, C in (
        ([3, 1, 4, 4, 1, 0], 7, 3),
        ([1, 2, 5, 2, 0, 5], 8, 2),
        ([2, 2, 5, 2, 0, 5], 8, 2),
        ([0], 1, 4),
        ([], 3, 2),
    ):
        cases.append((torch.tensor(ids, dtype=torch.long), _random(len(ids), C, seed=V), V))
    name_slip(attempt, cases[:2], _summed, _backward_slips)
    for ids, upstream, V in cases:
        got, want = attempt(ids, upstream, V), _summed(ids, upstream, V)
        _judge_repeats(got, want, ids.tolist())
        expect(got, want, f"the gradient for ids {ids.tolist()} with V = {V}, C = {want.shape[1]}")
    return "right: each row gets the sum of what came back from its readings."


def _readings(ids: Tensor, V: int) -> list[list[int]]:
    """For each row of the table the positions at which it was read."""
    return [[j for j, i in enumerate(ids.tolist()) if i == v] for v in range(V)]


def _summed(ids: Tensor, upstream: Tensor, V: int) -> Tensor:
    return torch.stack([upstream[js].sum(0) for js in _readings(ids, V)])


def _judge_repeats(got: Any, want: Tensor, ids: list[int]) -> None:
    """Say so if nothing but rows that were read several times is wrong."""
    if not (isinstance(got, Tensor) and got.shape == want.shape and got.is_floating_point()):
        return
    off = [v for v in range(len(want)) if not is_like(got[v], want[v])]
    if off and all(ids.count(v) > 1 for v in off):
        raise Wrong(
            f"ids {ids}: only rows that were read more than once are wrong ({off}). Such a row gets"
            " the sum over all its readings, wherever they stand."
        )


def _backward_slips(ids: Tensor, upstream: Tensor, V: int) -> list[tuple[Any, str]]:
    rows, want, T = _readings(ids, V), _summed(ids, upstream, V), len(ids)
    count = torch.tensor([len(js) for js in rows])[:, None]
    last, first = torch.zeros_like(want), torch.zeros_like(want)
    for v, js in enumerate(rows):
        if js:
            last[v], first[v] = upstream[js[-1]], upstream[js[0]]
    kept = (
        "a row that was read more than once keeps the gradient of one reading only. All are added:"
        " `gradient[ids] += upstream` does not do that, `index_add` does."
    )
    return [
        (last, kept),
        (first, kept),
        (
            want / count.clamp(min=1),
            "you took the mean over the readings of a row. Gradients of one and the same number"
            " are added.",
        ),
        *(
            (
                want.index_add(0, ids[t : t + 1], -upstream[t : t + 1]),
                f"the reading at the {name} position is left out: positions 0 to {T - 1} count.",
            )
            for t, name in ((0, "first"), (T - 1, "last"))
        ),
        (want / len(ids), "you divided by T. The gradients for the rows are sums, not means."),
        (
            count.expand_as(want).float(),
            "you counted the readings. Each brings its own gradient from `upstream`: add those.",
        ),
        (
            upstream,
            f"that is `upstream` as it came, a row per position ({len(ids)}). The table has a row"
            f" per token of the vocabulary (V = {len(want)}).",
        ),
        (want.T, "right numbers, but transposed: the table has a row per token, (V, C)."),
        (
            want[: max(ids) + 1],
            f"rows are missing: the table has V = {len(want)} of them, also for tokens that do not"
            " occur.",
        ),
        (
            upstream.sum(0).expand_as(want),
            "every row got the sum of all gradients. A row gets those of its own readings.",
        ),
        (-want, "every sign is wrong. A gradient is handed back as it came, not subtracted."),
    ]


# Exercise 3
# --------------------------------------------------------------------------------------------------

OPPOSITES = torch.tensor([[2.0, 0], [1, 3], [-3, 0], [3, 3], [-1, -2]])
TWINS = torch.tensor([[1.0, 2, 0], [3, 1, 1], [0, 1, -2], [2, 1, 1], [3, 1, 1], [-1, 0, 4]])


def _many_rows() -> Tensor:
    lengths = torch.tensor([0.3, 5, 1, 0.2, 8, 2, 0.5, 3, 0.1, 6, 1, 4])[:, None]
    return _random(12, 4, seed=8) * lengths


def _ranked(scores: list[float], leave_out: int | None = None) -> list[int]:
    others = [j for j in range(len(scores)) if j != leave_out]
    return sorted(others, key=lambda j: -scores[j])


def _row_numbers(got: Any) -> Any:
    """Write what was returned as a list of whole numbers, if it can be meant as one."""
    if isinstance(got, Tensor | np.ndarray):
        got = got.tolist()
    if isinstance(got, list | tuple) and all(hasattr(one, "__index__") for one in got):
        return [one.__index__() for one in got]
    return got


@checker
def nearest(attempt: Attempt) -> str:
    """Name the k rows that point most nearly the same way as row i."""
    table = _many_rows()
    trials = [(table, 0, 4), (table, 7, 5), (table, 3, 1)]
    trials += [(OPPOSITES, 0, 4), (OPPOSITES, 2, 4), (TWINS, 1, 2), (TWINS, 4, 3)]
    for rows, i, k in trials:
        _judge_nearest(attempt(rows, i, k), rows.double().tolist(), i, k)
    return "right: directions are compared, and nobody is a neighbour of itself."


def _judge_nearest(got: Any, rows: list[list[float]], i: int, k: int) -> None:
    length = [math.hypot(*row) for row in rows]
    products = [sum(a * b for a, b in zip(rows[i], row, strict=True)) for row in rows]
    cosines = [p / length[i] / n for p, n in zip(products, length, strict=True)]
    want, told = _ranked(cosines, i)[:k], f"the {k} nearest to row {i} of {len(rows)}"
    if isinstance(got, Tensor) and got.is_floating_point():
        both = _ranked(cosines)[:k], want
        if any(is_like(got, torch.tensor([cosines[j] for j in some])) for some in both):
            raise Wrong("you returned how near they are. The question is which: the row numbers.")
        if is_like(got, torch.tensor(want, dtype=torch.float)):
            raise Wrong("the right rows, but as floats. Row numbers are whole numbers.")
    got = _row_numbers(got)
    if got == want:
        return
    far = [-math.dist(rows[i], row) for row in rows]
    by_columns = np.array(rows) / np.linalg.norm(rows, axis=0)
    slips = (
        (
            products,
            "those are the largest dot products, which long rows win: divide by the lengths",
        ),
        (far, "those are the nearest points in a straight line. Compare directions"),
        ([-c for c in cosines], "those point the other way: the smallest cosines"),
        ([abs(c) for c in cosines], "an opposite direction (cosine -1) is far, not near"),
        (
            (by_columns @ by_columns[i]).tolist(),
            "you divided each column by its length. Each row has to be divided by its own",
        ),
    )
    if got == _ranked(cosines)[:k]:
        raise Wrong(f"row {i} is in your list: nothing is nearer to it than itself.")
    for scores, sentence in slips if len(rows) > 10 and k > 1 else ():  # else they could agree
        if got == _ranked(scores, i)[:k] != want:
            raise Wrong(f"{sentence}.")
        if got == _ranked(scores)[:k]:
            raise Wrong(f"{sentence}. And row {i} itself does not count.")
    if len(rows) > 10 and k > 1 and got == [j - (j > i) for j in want]:
        raise Wrong(
            f"the rows after row {i} are numbered one too small: with row {i} taken out, all later"
            " rows move up. The numbers are those of the whole table."
        )
    others = [j for j in _ranked(cosines, i) if rows[j] != rows[i]]
    if got == others[:k]:
        raise Wrong(f"{told}: a row that equals row {i} is left out. Only row {i} doesn't count.")
    if isinstance(got, list):
        _judge_list(got, want, i, told)
    if isinstance(got, list) and len(got) == k and all(type(j) is int for j in got):
        raise Wrong(f"{told}: got the rows {got}, expected {want}.")
    raise Wrong(f"{told}: got {describe(got)}, expected the {k} row numbers {want}.")


def _judge_list(got: list, want: list[int], i: int, told: str) -> None:
    if i in got and len(got) == len(want):
        raise Wrong(
            f"row {i} is in your list. Its own cosine must lose against all others, also against"
            " -1, and another row that equals it must not be dropped in its place."
        )
    if len(got) == len(want) and sorted(map(str, got)) == sorted(map(str, want)):
        raise Wrong(f"{told}: the right rows in the wrong order: got {got}, nearest first: {want}.")
    if len(got) != len(want):
        raise Wrong(f"{told}: {len(got)} rows, expected {len(want)}: {want}.")


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _rotated(x: float, y: float, angle: float) -> Tensor:
    z = complex(x, y) * cmath.exp(1j * angle)
    return torch.tensor([z.real, z.imag])


def _rotary(
    x: Tensor,
    base: float,
    first: int = 0,
    sign: float = 1,
    power: float = 2.0,
    beside: bool = False,
) -> Tensor:
    """Rotate each pair by complex numbers.

    `beside` pairs neighbours, `power` is the 2 of base^(-2 i / D), `first` the first position.
    """
    T, D = x.shape
    out = torch.empty_like(x)
    for t in range(T):
        for i in range(D // 2):
            one, two = (2 * i, 2 * i + 1) if beside else (i, i + D // 2)
            angle = sign * (t + first) * base ** (-power * i / D)
            out[t, [one, two]] = _rotated(x[t, one].item(), x[t, two].item(), angle)
    return out


@checker
def rotary(attempt: Attempt) -> str:
    """Rotate the rows of (T, D) by their position, number i paired with i + D/2."""
    sizes = ((5, 6, 70.0), (3, 8, 10.0), (4, 2, 50.0), (40, 4, 1000.0), (1, 4, 30.0))
    cases = [(_random(T, D, seed=D), base) for T, D, base in sizes]
    name_slip(attempt, cases[:3], _rotary, _rotary_slips, 1e-4)
    for x, base in cases:
        expect(
            attempt(x, base), _rotary(x, base), f"x of shape {tuple(x.shape)} with base {base:g}"
        )
    return "right: each row by its own angle, each pair at its own frequency."


def _rotary_slips(x: Tensor, base: float) -> list[tuple[Any, str]]:
    want, (T, D) = _rotary(x, base), x.shape
    angles = torch.arange(T)[:, None] * base ** (-2 * torch.arange(D // 2) / D)
    first, second = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    new = first * cos - second * sin
    return [
        (
            _rotary(x, base, beside=True),
            "right angles, other pairs: you paired neighbours, as the paper does. Here number i"
            " belongs to i + D/2.",
        ),
        (
            _rotary(x, base, first=1),
            "the first row is rotated already. Positions count from 0, and position 0 stays.",
        ),
        (
            _rotary(x, base, sign=-1),
            "you rotate the other way. The scores would be right, but the formulas above have the"
            " minus in x'.",
        ),
        (
            _rotary(x, base, power=0.0),
            "all pairs rotate at the same frequency. Pair i has base ** (-2 * i / D).",
        ),
        (
            _rotary(x, base, power=1.0),
            "the later pairs are too fast: the exponent is -2 i / D, and the 2 is missing.",
        ),
        (
            _rotary(x, base, power=4.0),
            "the later pairs are too slow: the exponent is -2 i / D, and yours is -4 i / D. Did"
            " you divide by D/2, the number of pairs?",
        ),
        (
            _rotary(x, base, power=-2.0),
            "the frequencies grow with i. The exponent is negative: the first pair is the fastest.",
        ),
        (_rotary(x, 10_000.0), "you used base 10,000 whatever the argument says."),
        (
            _rotary(x, base, sign=180 / math.pi),
            "the angles were turned into degrees. sin and cos want radians.",
        ),
        (
            _rotary(x, base, sign=math.pi / 180),
            "the angles were taken for degrees. They are radians as they stand.",
        ),
        (
            torch.cat([new, new * sin + second * cos], -1),
            "the second half was made from the new first half. Both formulas use the old numbers.",
        ),
        (
            torch.cat([first * cos + second * sin, first * sin + second * cos], -1),
            "both formulas have a plus. The new x is x cos - y sin.",
        ),
        (torch.cat([first * cos, second * sin], -1), "a rotation mixes: x' also has some of y."),
        (want.roll(D // 2, -1), "right numbers, but the two halves are swapped."),
        (
            torch.stack(want.chunk(2, -1), -1).flatten(1),
            "right numbers in the wrong order: you joined x' and y' of each pair side by side."
            " First all x', then all y', each where it came from.",
        ),
        (x, "nothing is rotated."),
    ]


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _by_rows(W: Tensor, n_heads: int, order: list[int]) -> Tensor:
    """Reorder the rows of each head."""
    D = len(W) // n_heads
    return torch.stack([W[h * D + i] for h in range(n_heads) for i in order])


@checker
def to_halves(attempt: Attempt) -> str:
    """Reorder the rows of a weight matrix made for interleaved pairs to serve halves."""
    sizes = ((3, 8, 6), (2, 6, 5), (1, 6, 4), (1, 8, 8))
    judge_by_slips(
        attempt,
        [(_random(n_heads * D, C, seed=D), n_heads) for n_heads, D, C in sizes],
        lambda W, n_heads: _by_rows(W, n_heads, _evens_first(W, n_heads)),
        _order_slips,
        lambda W, n_heads: f"W of shape {tuple(W.shape)} with n_heads = {n_heads}",
    )
    return "right: in each head the even rows first, then the odd ones."


def _evens_first(W: Tensor, n_heads: int) -> list[int]:
    D = len(W) // n_heads
    return [*range(0, D, 2), *range(1, D, 2)]


def _order_slips(W: Tensor, n_heads: int) -> list[tuple[Any, str]]:
    order = _evens_first(W, n_heads)
    rows, D = len(W), len(order)
    want = _by_rows(W, n_heads, order)
    return [
        (W, f"nothing is moved (n_heads = {n_heads}, {rows} rows)."),
        (
            torch.cat([torch.cat([part[0::2], part[1::2]]) for part in W.split(n_heads)]),
            f"you cut heads of {n_heads} rows. There are n_heads = {n_heads} heads, of {D} rows"
            " each.",
        ),
        (
            torch.cat([part[j::n_heads] for part in W.chunk(n_heads) for j in range(n_heads)]),
            f"you took every row number {n_heads} (n_heads). A pair has two members, so take every"
            " second row, however many heads there are.",
        ),
        (torch.cat([want[:D], W[D:]]), "only head 0 is reordered. Each head needs it."),
        (
            W.unflatten(0, (n_heads, -1, 2)).transpose(0, 2).flatten(0, 2),
            "rows of different heads are mixed: the axis of the heads stays in front, and only"
            " pairs and members change places.",
        ),
        (
            torch.cat([W[0::2], W[1::2]]),
            "the rows of different heads are mixed: your first half holds the even rows of all"
            " heads. Reorder within each head.",
        ),
        (
            _by_rows(W, n_heads, [order.index(i) for i in range(D)]),
            "that is the way back, from halves to interleaved. Your row 1 should be the old row 2.",
        ),
        (
            W[:, [*range(0, W.shape[1], 2), *range(1, W.shape[1], 2)]],
            "you moved columns. A column belongs to an input; the outputs that get paired are the"
            " rows.",
        ),
        (
            _by_rows(W, n_heads, order[D // 2 :] + order[: D // 2]),
            "the halves are swapped: the former odd rows come first, so each pair rotates the"
            " wrong way round.",
        ),
        (
            _by_rows(W, n_heads, [*range(D // 2, D), *range(D // 2)]),
            "you swapped the two halves as blocks. Take every second row instead.",
        ),
        (W.flip(0), f"you only turned the {rows} rows upside down."),
        (want.T, "right rows, but the matrix is transposed."),
        (
            want.view(n_heads, D, -1),
            "right numbers, with an axis for the heads. Join the heads again: the shape is that"
            " of W.",
        ),
    ]
