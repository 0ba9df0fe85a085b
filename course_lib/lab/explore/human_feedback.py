"""Figures of lesson 23: a policy on its way past the best point, and what each labeller makes."""

import html
import math
from collections.abc import Mapping, Sequence

from course_lib.alignment.rl_task import Question
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, RED
from course_lib.tasks.fact_chats import annotator_quality

WIDTH, HEIGHT = 620, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 34
ROW = 'style="background-color:#ffffff;color:#222222"'
CELL = 'style="text-align:left;padding:2px 8px"'


def over_optimisation(run: Mapping, questions: Sequence[Question], start: int) -> frames.Explorer:
    """Slide along a run of reinforcement learning; see the answers, and both scores of each.

    `run` holds, measurement by measurement, "kl", "proxy", "true" and "answers", which are pairs of
    text and reward for the first of the `questions`.
    """
    away = [math.sqrt(max(0.0, kl)) for kl in run["kl"]]
    pictures = [
        frames.card(
            _curves(away, run["proxy"], run["true"], at)
            + _answers(questions, run["answers"][at], "reward model")
        )
        for at in range(len(away))
    ]
    labels = [f"{step}" for step in run["step"]]
    return frames.slideshow(pictures, labels, name="step", start=start)


def labellers(
    runs: Mapping[str, Mapping], questions: Sequence[Question], start: int = 0
) -> frames.Explorer:
    """Choose who labelled; see how the policy that learnt from these labels answers."""
    pictures = [
        frames.card(_answers(questions, run["answers"], "reward model")) for run in runs.values()
    ]
    return frames.choose(pictures, list(runs), "labels by", start=start)


def _answers(questions: Sequence[Question], said: Sequence[Sequence], judge: str) -> str:
    """Write a table of answers with the score of the reward model and the true rating."""
    rows = "".join(
        f"<tr {ROW}><td {CELL}>{html.escape(question.text)}</td>"
        f"<td {CELL}>{html.escape(text)}</td><td {CELL}>{score:.1f}</td>"
        f"<td {CELL}>{annotator_quality(question.truth, text):.1f}</td></tr>"
        for question, (text, score) in zip(questions, said, strict=False)
    )
    names = ("question", "answer", judge, "truth")
    head = "".join(f"<th {CELL}>{name}</th>" for name in names)
    return f'<table style="color:#222222"><tr {ROW}>{head}</tr>{rows}</table>'


def _curves(away: Sequence[float], proxy: Sequence[float], true: Sequence[float], at: int) -> str:
    """Draw both curves against the root of the divergence, with a mark at one measurement."""
    low, high = min(*proxy, *true, 0.0), max(*proxy, *true)
    widest = max(*away, 1e-6)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / widest

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / max(high - low, 1e-6)

    marks = "".join(
        f'<text x="{LEFT - 6}" y="{y(value) + 4:.0f}" text-anchor="end" fill="{GREY}">'
        f"{value:.1f}</text>"
        for value in (low, (low + high) / 2, high)
    )
    for name, values, colour in (("proxy", proxy, RED), ("true", true, BLUE)):
        path = "L".join(f"{x(a):.1f} {y(v):.1f}" for a, v in zip(away, values, strict=True))
        marks += (
            f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<circle cx="{x(away[at]):.1f}" cy="{y(values[at]):.1f}" r="5" fill="{colour}"/>'
            f'<text x="{WIDTH - RIGHT}" y="{y(values[-1]) - 18:.0f}" text-anchor="end"'
            f' fill="{colour}">{name}</text>'
        )
    marks += (
        f'<path d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="{BLACK}"/>'
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"root of KL from the base, in nats (here {away[at]:.1f}, of {widest:.1f})</text>"
    )
    told = (
        f"Root of KL {away[at]:.1f}: mean score of the reward model {proxy[at]:.1f}, mean true"
        f" rating {true[at]:.1f}."
    )
    return (
        f'<svg role="img" aria-label="{html.escape(told, quote=True)}"'
        f' viewBox="0 0 {WIDTH} {HEIGHT}" style="width:100%;max-width:{WIDTH}px"'
        f' font-family="sans-serif" font-size="12" fill="{BLACK}">{marks}</svg>'
        f"<div>{html.escape(told)}</div>"
    )
