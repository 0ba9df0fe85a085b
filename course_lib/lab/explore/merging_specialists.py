"""Figures of lesson 33: a weight average between two specialists, and two directions of the KL
divergence."""

import html
from collections.abc import Mapping, Sequence
from math import exp, log

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, RED

WIDTH = 620
SVG = f'style="width:100%;max-width:{WIDTH}px" font-family="sans-serif" font-size="13"'
LONGEST_BAR = WIDTH - 150
TOKENS = 25  # of the vocabulary that the humps stand on


def averaged(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    alphas: Sequence[float],
    start: tuple[int, int],
) -> frames.Explorer:
    """Slide the share of the second specialist, for longer and longer training; see what is left.

    `curves[steps][task]` holds the share of right answers at each alpha.
    """
    pictures = [
        [
            _averaged(steps, alpha, {task: row[i] for task, row in by_task.items()})
            for i, alpha in enumerate(alphas)
        ]
        for steps, by_task in curves.items()
    ]
    names = {"steps of the specialists": list(curves), "alpha": [f"{a:g}" for a in alphas]}
    return frames.grid(pictures, names, start)


def _averaged(steps: str, alpha: float, right: Mapping[str, float]) -> str:
    marks, told = "", []
    for row, ((task, share), colour) in enumerate(zip(right.items(), (BLUE, RED), strict=True)):
        y = 16 + 44 * row
        marks += (
            f'<text x="2" y="{y + 17}">{html.escape(task)}</text>'
            f'<rect x="80" y="{y}" width="{LONGEST_BAR}" height="24" fill="none" stroke="{GREY}"/>'
            f'<rect x="80" y="{y}" width="{share * LONGEST_BAR:.1f}" height="24" fill="{colour}"/>'
            f'<text x="{WIDTH - 60}" y="{y + 17}">{share:.0%}</text>'
        )
        told.append(f"{task} {share:.0%}")
    label = f"Specialists of {steps} steps, alpha {alpha:g}: right {', '.join(told)}."
    words = (
        f"<div>{1 - alpha:g} times the specialist in sums, {alpha:g} times the one in sorting, each"
        f" trained for {steps} steps: held-out questions right</div>"
    )
    return frames.card(
        words + f'<svg role="img" aria-label="{html.escape(label, quote=True)}"'
        f' viewBox="0 0 {WIDTH} 100" {SVG} fill="{BLACK}">{marks}</svg>'
    )


def hump(centre: float, width: float) -> list[float]:
    """Give probabilities of `TOKENS` tokens in a row, highest at the centre."""
    heights = [exp(-(((i - centre) / width) ** 2) / 2) for i in range(TOKENS)]
    return [height / sum(heights) for height in heights]


def two_humps(near: float = 6, far: float = 18, width: float = 1.6) -> list[float]:
    """Give a teacher that likes two kinds of answers equally, and knows nothing in between."""
    pairs = zip(hump(near, width), hump(far, width), strict=True)
    return [0.5 * a + 0.5 * b for a, b in pairs]


def divergence(first: Sequence[float], second: Sequence[float]) -> float:
    """Give KL(first || second) in nats."""
    return sum(p * log(p / q) for p, q in zip(first, second, strict=True) if p > 0)


def directions(
    centres: Sequence[float] = (3, 6, 9, 12, 15, 18, 21),
    widths: Sequence[float] = (1.6, 3, 6),
    start: tuple[int, int] = (2, 3),
) -> frames.Explorer:
    """Move and widen a student with one hump over a teacher with two; see both divergences."""
    teacher = two_humps()
    pictures = [[_directions(teacher, c, w) for c in centres] for w in widths]
    names = {"width of the student": [f"{w:g}" for w in widths], "its place": list(centres)}
    return frames.grid(pictures, names, start)


def _directions(teacher: Sequence[float], centre: float, width: float) -> str:
    student = hump(centre, width)
    step, base, marks = (WIDTH - 20) / TOKENS, 150, ""
    for i, (p, q) in enumerate(zip(teacher, student, strict=True)):
        x = 10 + i * step
        for share, shift, colour in ((p, 1, GREY), (q, step / 2, BLUE)):
            height = 520 * share
            marks += (
                f'<rect x="{x + shift:.1f}" y="{base - height:.1f}" width="{step / 2 - 1:.1f}"'
                f' height="{height:.1f}" fill="{colour}"/>'
            )
    reverse, forward = divergence(student, teacher), divergence(teacher, student)
    told = f"KL(student || teacher) {reverse:.2f} nats, KL(teacher || student) {forward:.2f} nats"
    words = (
        "<div>grey: the teacher, blue: the student, over 25 tokens</div>"
        f"<div>reverse, <b>KL(student || teacher) = {reverse:.2f}</b> nats · forward,"
        f" <b>KL(teacher || student) = {forward:.2f}</b> nats</div>"
    )
    label = f"A student at token {centre:g}, of width {width:g}: {told}."
    return frames.card(
        words + f'<svg role="img" aria-label="{html.escape(label, quote=True)}"'
        f' viewBox="0 0 {WIDTH} 160" {SVG} fill="{BLACK}">{marks}'
        f'<path d="M10 {base}H{WIDTH - 10}" stroke="{BLACK}"/></svg>'
    )
