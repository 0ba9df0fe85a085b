"""Figures of lesson 24: a group of eight rewards under four recipes, and the clipped objective."""

import html
from collections.abc import Sequence
from statistics import mean, stdev

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, RED

WIDTH = 640
SVG = f'style="width:100%;max-width:{WIDTH}px" font-family="sans-serif" font-size="12"'
LENGTHS = (8, 8, 8, 8, 32, 32, 32, 32)  # of eight answers, in tokens: four guess, four work it out
LONGEST = 40


def token_weights(rewards: Sequence[float], lengths: Sequence[int], recipe: str) -> list[float]:
    """Say how hard each token of each answer is pushed: the gradient by its log-probability.

    In shares of the whole: an even push of one token among all those of the group is 1.
    """
    average = mean(rewards)
    advantages = [reward - average for reward in rewards]
    if recipe in ("GRPO", "DAPO") and any(advantages):
        advantages = [advantage / stdev(rewards) for advantage in advantages]
    n_tokens = sum(lengths)
    per_token = {
        "GRPO": [1 / len(lengths) / length for length in lengths],
        "Dr. GRPO": [1 / len(lengths) / LONGEST] * len(lengths),
        "DAPO": [1 / n_tokens] * len(lengths),
        "RLOO": [1 / len(lengths) / (len(lengths) - 1) * len(lengths) / LONGEST] * len(lengths),
    }[recipe]
    return [n_tokens * a * weight for a, weight in zip(advantages, per_token, strict=True)]


def groups() -> frames.Explorer:
    """Slide through how many short and how many long answers are right; see what each token of each
    answer weighs under four recipes."""
    counts = range(5)
    pictures = [[_group(short, long) for long in counts] for short in counts]
    names = {"short answers right": list(counts), "long answers right": list(counts)}
    return frames.grid(pictures, names, start=(1, 2))


def _group(short: int, long: int) -> str:
    rewards = [float(i < short) for i in range(4)] + [float(i < long) for i in range(4)]
    marks, told = "", []
    for row, recipe in enumerate(("GRPO", "DAPO", "Dr. GRPO", "RLOO")):
        weights = token_weights(rewards, LENGTHS, recipe)
        base = 62 + 92 * row
        marks += f'<text x="2" y="{base - 26}" font-weight="bold">{recipe}</text>'
        marks += f'<path d="M90 {base}H{WIDTH - 8}" stroke="{GREY}"/>'
        for i, (weight, length, reward) in enumerate(zip(weights, LENGTHS, rewards, strict=True)):
            x, height = 96 + 67 * i, min(38.0, abs(weight) * 12)
            top = base - height if weight > 0 else base
            marks += (
                f'<rect x="{x}" y="{top:.1f}" width="{6 + length}" height="{height:.1f}"'
                f' fill="{BLUE if reward else RED}"/><text x="{x}" font-size="11"'
                f' y="{base + 14 if weight >= 0 else base - 5}">{weight:+.2f}</text>'
            )
        told.append(f"{recipe}: {', '.join(f'{weight:+.2f}' for weight in weights)}")
    label = (
        f"{short} of four short and {long} of four long answers are right. Push per token. "
        + "; ".join(told)
    )
    words = (
        f"<div>{short} of 4 short answers (8 tokens) and {long} of 4 long ones (32) are right."
        " Blue: right, red: wrong; up: made likelier. Width: length; height: push per token.</div>"
    )
    svg = (
        f'<svg role="img" aria-label="{html.escape(label, quote=True)}"'
        f' viewBox="0 0 {WIDTH} 400" {SVG} fill="{BLACK}">{marks}</svg>'
    )
    return frames.card(words + svg)


def clip(low: float = 0.2, high: float = 0.28) -> frames.Explorer:
    """Slide the ratio of one token, for a good and for a bad answer; see objective and gradient."""
    ratios = [0.4, 0.6, 0.79, 0.9, 1.0, 1.1, 1.27, 1.4, 1.8]
    pictures = [[_clip(r, a, low, high) for r in ratios] for a in (1.0, -1.0)]
    names = {"advantage": ["+1", "-1"], "ratio": [f"{r:g}" for r in ratios]}
    return frames.grid(pictures, names, start=(0, 7))


def _clip(ratio: float, advantage: float, low: float, high: float) -> str:
    def objective(r: float) -> float:
        return min(r * advantage, max(1 - low, min(1 + high, r)) * advantage)

    def place(r: float, value: float) -> str:
        return f"{40 + 300 * r:.0f},{(215 if advantage > 0 else 25) - 100 * value:.0f}"

    bends = sorted({0.2, 1 - low, 1 + high, 2.0})
    line = " ".join(place(r, objective(r)) for r in bends)
    flat = ratio > 1 + high if advantage > 0 else ratio < 1 - low
    pull = 0.0 if flat else advantage * ratio
    told = (
        "beyond the clip: no gradient"
        if flat
        else f"gradient of the objective by log p: {pull:+.2f}, so the token is made "
        + ("likelier" if pull > 0 else "rarer")
    )
    x, y = place(ratio, objective(ratio)).split(",")
    zero = place(0, 0).split(",")[1]
    marks = (
        f'<path d="M100 {zero}H640" stroke="{GREY}"/>'
        f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="3"/>'
        f'<circle cx="{x}" cy="{y}" r="7" fill="{RED if flat else BLACK}"/>'
    )
    for r in (1 - low, 1.0, 1 + high):
        at = 40 + 300 * r
        marks += f'<path d="M{at:.0f} 20V222" stroke="{GREY}" stroke-dasharray="3 4"/>'
        marks += f'<text x="{at:.0f}" y="236" text-anchor="middle">{r:g}</text>'
    marks += f'<text x="{WIDTH}" y="236" text-anchor="end">policy ratio</text>'
    label = f"Advantage {advantage:+g}, ratio {ratio:g}: objective {objective(ratio):.2f}; {told}."
    svg = (
        f'<svg role="img" aria-label="{html.escape(label, quote=True)}"'
        f' viewBox="0 0 {WIDTH + 20} 240" {SVG} fill="{BLACK}">{marks}</svg>'
    )
    return frames.card(f"<div>{html.escape(label)}</div>" + svg)
