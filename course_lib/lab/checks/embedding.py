"""Checkers of lesson 04. The truths are loops, sorted lists and complex numbers."""

import cmath
import math

import torch
from torch import Tensor

from course_lib.lab.checks.compare import is_like, recognise
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect

# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def one_hot(attempt: Attempt) -> str:
    """Turn ids (T,) into rows (T, V) with a single 1 each."""
    for ids, V in (([2, 0, 2, 4], 5), ([1, 3], 4)):
        want = torch.tensor([[float(i == v) for v in range(V)] for i in ids])
        got = attempt(torch.tensor(ids), V)
        if isinstance(got, Tensor) and not got.is_floating_point() and is_like(got, want):
            raise Wrong(
                "the ones are in the right places, but they are whole numbers. torch multiplies a"
                " table of decimals by decimals only: make them floats."
            )
        recognise(
            got,
            (
                want.T,
                (
                    f"one column per token: the shape is ({V}, {len(ids)}). Tokens are the rows:"
                    f" ({len(ids)}, {V})."
                ),
            ),
            (
                want.roll(-1, 1),
                "each 1 stands one place too far left. Ids count from 0, as columns do.",
            ),
            (
                want.roll(1, 1),
                "each 1 stands one place too far right. Ids count from 0, as columns do.",
            ),
            (
                want * torch.tensor(ids)[:, None],
                "you wrote the id itself into its place. It should be a 1.",
            ),
            (
                want.amax(0),
                "that is one row for the whole text: a bag. Each token needs a row of its own.",
            ),
            (
                want.sum(0),
                (
                    "that is one row for the whole text, with counts: a bag. Each token needs its"
                    " own row."
                ),
            ),
            (1 - want, "zeros and ones are swapped: everything is hot but the token."),
        )
        expect(got, want, f"the one-hot rows of {ids} among {V}")
    return "right: one row per token, one 1 per row."


# Exercise 2
# --------------------------------------------------------------------------------------------------

PLANE = torch.tensor([[1.0, 0.2], [5.0, 6.0], [0.4, 0.1], [1.3, -0.4], [-2.0, -0.5], [0.2, 1.0]])


def _ranked(scores: list[float], i: int, k: int, itself: bool = False) -> Tensor:
    others = [j for j in range(len(scores)) if itself or j != i]
    return torch.tensor(sorted(others, key=lambda j: -scores[j])[:k])


@checker
def nearest(attempt: Attempt) -> str:
    """Name the k rows that point most nearly the same way as row i."""
    rows, k = PLANE.tolist(), 3
    for i in (0, 5):
        cosines = [math.cos(math.atan2(*rows[i][::-1]) - math.atan2(*row[::-1])) for row in rows]
        products = [
            math.dist(rows[i], (0, 0)) * math.dist(row, (0, 0)) * c
            for row, c in zip(rows, cosines, strict=True)
        ]
        far = [math.dist(rows[i], row) for row in rows]
        got = attempt(PLANE, i, k)
        got = (
            torch.tensor(got)
            if isinstance(got, list | tuple) and got and isinstance(got[0], int)
            else got
        )
        if isinstance(got, Tensor) and got.is_floating_point():
            raise Wrong(
                f"you returned {describe(got)}: how near they are. The question is which: return"
                " the row numbers."
            )
        want = _ranked(cosines, i, k)
        if is_like(got, want):
            continue
        recognise(
            got,
            (
                _ranked(cosines, i, k, itself=True),
                f"row {i} is in your list: nothing is nearer to it than itself.",
            ),
            (
                _ranked(products, i, k),
                (
                    "those are the largest dot products, which long rows win. Divide by the"
                    " lengths: directions count."
                ),
            ),
            (
                _ranked(products, i, k, itself=True),
                (
                    "those are the largest dot products, which long rows win, and the row itself is"
                    " among them. Compare directions, and leave the row out."
                ),
            ),
            (
                _ranked([-d for d in far], i, k),
                "those are the nearest points in a straight line. Compare directions.",
            ),
            (
                _ranked([-c for c in cosines], i, k),
                "those point the other way: the smallest cosines. Take the largest.",
            ),
        )
        expect(got, want, f"the {k} nearest to row {i}")
    return "right: directions are compared, and nobody is a neighbour of itself."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _turned(x: float, y: float, angle: float) -> Tensor:
    z = complex(x, y) * cmath.exp(1j * angle)
    return torch.tensor([z.real, z.imag])


@checker
def turn(attempt: Attempt) -> str:
    """Turn a pair of numbers by an angle in radians, anticlockwise."""
    for x, y, angle in ((3.0, 1.0, 0.7), (-1.0, 2.0, 2.5)):
        c, s = math.cos(angle), math.sin(angle)
        got = attempt(x, y, angle)
        if isinstance(got, tuple | list) and len(got) == 2:
            got = torch.tensor([float(got[0]), float(got[1])])
        later = c * x - s * y
        recognise(
            got,
            (_turned(x, y, -angle), "that turns clockwise. Change the sign of the sines."),
            (
                _turned(x, y, math.radians(angle)),
                "that angle was taken for degrees. It comes in radians.",
            ),
            (
                _turned(x, y, math.degrees(angle)),
                "the angle was turned into degrees. sin and cos want radians.",
            ),
            (
                torch.tensor([c * x + s * y, s * x + c * y]),
                "both lines have a plus. The new x is c x - s y.",
            ),
            (
                torch.tensor([c * x, s * y]),
                "each number was only scaled. A turn mixes the two: x also gets some of y.",
            ),
            (
                torch.tensor([later, s * later + c * y]),
                "the second line used the new x. It needs the old one: keep both first.",
            ),
            (_turned(x, y, angle).flip(0), "the two results are swapped."),
        )
        expect(got, _turned(x, y, angle), f"({x:g}, {y:g}) turned by {angle} radians")
    return "right: the length stays, the direction turns."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _rotary(
    x: Tensor, base: float, first: int = 0, sign: int = 1, power: float = 2.0, beside: bool = False
) -> Tensor:
    """Turn each pair by complex numbers; `beside` pairs neighbours, `power` is 2 in base^(-power i
    / D)."""
    T, D = x.shape
    out = torch.empty_like(x)
    for t in range(T):
        for i in range(D // 2):
            one, two = (2 * i, 2 * i + 1) if beside else (i, i + D // 2)
            angle = sign * (t + first) * base ** (-power * i / D)
            out[t, [one, two]] = _turned(x[t, one].item(), x[t, two].item(), angle)
    return out


@checker
def rotary(attempt: Attempt) -> str:
    """Turn the rows of (T, D) by their place, number i paired with i + D/2."""
    for T, D in ((5, 6), (3, 8)):
        x = torch.randn(T, D, generator=torch.Generator().manual_seed(D))
        got = attempt(x, 100.0)
        recognise(
            got,
            (
                _rotary(x, 100.0, beside=True),
                (
                    "right turns, other pairs: you paired neighbours, as the paper does. Here"
                    " number i belongs to i + D/2."
                ),
            ),
            (
                _rotary(x, 100.0, first=1),
                "the first row is turned already. Places count from 0, and place 0 does not turn.",
            ),
            (
                _rotary(x, 100.0, sign=-1),
                (
                    "you turn the other way. The scores would be right, but the exercise wants"
                    " anticlockwise."
                ),
            ),
            (
                _rotary(x, 100.0, power=0.0),
                "all pairs turn at the same speed. Pair i turns at base ** (-2 * i / D).",
            ),
            (
                _rotary(x, 100.0, power=1.0),
                "the slow pairs are too fast: the exponent is -2 i / D, and the 2 is missing.",
            ),
            (
                _rotary(x, 100.0, power=-2.0),
                "the speeds grow with i. The exponent is negative: the first pair is the fastest.",
            ),
            (_rotary(x, 10_000.0), "you used base 10,000 whatever the argument says."),
        )
        if isinstance(got, Tensor) and got.shape == x.shape and torch.equal(got, x):
            raise Wrong("nothing is turned.")
        expect(got, _rotary(x, 100.0), f"x of shape {T, D}, turned")
    return "right: each row at its own angle, each pair at its own speed."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def to_halves(attempt: Attempt) -> str:
    """Reorder the rows of a weight matrix made for neighbouring pairs to serve halves."""
    for D, C in ((6, 4), (8, 8)):
        W = torch.randn(D, C, generator=torch.Generator().manual_seed(D))
        rows = [*range(0, D, 2), *range(1, D, 2)]
        want = torch.stack([W[i] for i in rows])
        back = torch.stack([W[rows.index(i)] for i in range(D)])
        got = attempt(W)
        columns = W[:, [*range(0, C, 2), *range(1, C, 2)]]
        recognise(
            got,
            (W, "nothing is moved."),
            (
                back,
                (
                    "that is the way back, from halves to neighbours. Your row 1 should be the old"
                    " row 2."
                ),
            ),
            (
                columns,
                (
                    "you moved columns. A column belongs to an input; the outputs that get paired"
                    " are the rows."
                ),
            ),
            (
                W[[*range(1, D, 2), *range(0, D, 2)]],
                "the halves are swapped: each pair now turns the wrong way round.",
            ),
            (
                W.roll(D // 2, 0),
                "you swapped the two halves as blocks. Take every second row instead.",
            ),
            (W.flip(0), "you only turned the matrix upside down."),
            (want.T, "right rows, but the matrix is transposed."),
        )
        expect(got, want, f"the rows of a {D} x {C} matrix")
    return "right: the even rows first, then the odd ones."
