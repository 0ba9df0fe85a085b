"""Figures of lesson 12: what bounds a decoding step, how caches grow, who waits in a queue."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

from course_lib.inference.serving import ServedText
from course_lib.lab import plots
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, ORANGE, RED

SVG = 'style="width:100%;max-width:{}px" font-family="sans-serif" font-size="12"'


# --------------------------------------------------------------------------------------------------
# The roofline of a decoding step
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MachineLimits:
    """What a machine can do at most, in a second."""

    bandwidth: float  # bytes read from memory
    flops: float  # multiplications and additions


@dataclass(frozen=True)
class DecodeCosts:
    """What one decoding step costs, in bytes and in operations."""

    weight_bytes: float
    cache_bytes: float  # of one row
    flops: float  # of one row

    def step_seconds(self, rows: int, machine: MachineLimits) -> tuple[float, float]:
        """Give the seconds that reading takes, and those that computing takes."""
        read = self.weight_bytes + rows * self.cache_bytes
        return read / machine.bandwidth, rows * self.flops / machine.flops


def roofline(
    costs: DecodeCosts, machine: MachineLimits, batches: Sequence[int], start: int
) -> frames.Explorer:
    """Slide the batch; see what bounds a step, how long each user waits for a token, and how many
    tokens all users get."""
    pictures = [_roofline(costs, machine, batches, rows) for rows in batches]
    return frames.slideshow(pictures, batches, name="rows", start=start)


def _roofline(costs: DecodeCosts, machine: MachineLimits, batches: Sequence[int], rows: int) -> str:
    """Draw latency and throughput over the batch, with this batch marked."""
    span = np.geomspace(batches[0], batches[-1], 60)
    bounds = np.array([costs.step_seconds(n, machine) for n in span])
    reading, computing = costs.step_seconds(rows, machine)
    step = max(reading, computing)
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.2))
    look = {"x": "rows in the batch", "log_x": True, "log_y": True}
    both = {"reading": (span, 1e3 * bounds[:, 0]), "computing": (span, 1e3 * bounds[:, 1])}
    plots.lines(
        both, ax=left, y="ms per token and row", title=f"Each waits {1e3 * step:.3g} ms", **look
    )
    left.plot(rows, 1e3 * step, "o", color=BLACK, markersize=8)
    total = {"all rows": (span, span / bounds.max(1))}
    plots.lines(
        total, ax=right, y="tokens per second", title=f"All get {rows / step:.3g} tokens/s", **look
    )
    right.plot(rows, rows / step, "o", color=BLACK, markersize=8)
    bound = "reading memory" if reading >= computing else "computing"
    return frames.image(
        fig,
        alt=f"With {rows} rows a step is bounded by {bound}: reading takes {1e3 * reading:.3g} ms,"
        f" computing {1e3 * computing:.3g} ms; {rows / step:.3g} tokens per second in all.",
        dpi=110,
    )


# --------------------------------------------------------------------------------------------------
# How caches grow
# --------------------------------------------------------------------------------------------------


def cache_growth(
    per_token: Mapping[str, int], weight_bytes: float, lengths: Sequence[int], start: int
) -> frames.Explorer:
    """Slide the length of a text; see the bytes that each kind of attention keeps for it, beside
    those of the weights.

    `per_token` holds the bytes per token of each kind.
    """
    pictures = [_caches(per_token, weight_bytes, n, lengths[-1]) for n in lengths]
    return frames.slideshow(pictures, [f"{n:,}" for n in lengths], name="tokens", start=start)


def _caches(per_token: Mapping[str, int], weight_bytes: float, n: int, longest: int) -> str:
    """Draw one bar per kind, and one for the weights."""
    bars = {name: size * n for name, size in per_token.items()} | {"all weights": weight_bytes}
    widest = max([size * longest for size in per_token.values()] + [weight_bytes])
    marks, told = "", []
    for i, (name, size) in enumerate(bars.items()):
        y, colour = 8 + 30 * i, GREY if name == "all weights" else BLUE
        width = max(1.0, 380 * size / widest)
        marks += (
            f'<text x="152" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>'
            f'<rect x="160" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>'
            f'<text x="{166 + width:.0f}" y="{y + 14}">{size / 1e9:,.2f} GB</text>'
        )
        told.append(f"{name} {size / 1e9:,.2f} GB")
    label = html.escape(f"One text of {n:,} tokens: {', '.join(told)}.", quote=True)
    height = 8 + 30 * len(bars)
    return frames.card(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 640 {height}"'
        f' {SVG.format(640)} fill="{BLACK}">{marks}</svg>'
    )


# --------------------------------------------------------------------------------------------------
# A queue
# --------------------------------------------------------------------------------------------------


def queue(
    runs: Mapping[str, Mapping[int, Sequence[ServedText]]], start: tuple[int, int] = (0, 0)
) -> frames.Explorer:
    """Choose a policy and the rows of the batch; see who waits, who writes, and when all is done.

    `runs` holds the served texts of each policy, by the number of rows.
    """
    rows = list(next(iter(runs.values())))
    last = max(t.finished for by_rows in runs.values() for texts in by_rows.values() for t in texts)
    pictures = [
        [_timeline(f"{policy}, {n} rows", texts, n, last + 1) for n, texts in by_rows.items()]
        for policy, by_rows in runs.items()
    ]
    return frames.grid(pictures, {"policy": list(runs), "rows": rows}, start=start)


def busy_share(texts: Sequence[ServedText], rows: int) -> float:
    """The share of the batch's cells, rows times steps, in which a token was decoded."""
    steps = max(text.finished for text in texts) + 1
    return sum(text.finished - text.admitted + 1 for text in texts) / (rows * steps)


def mean_wait(texts: Sequence[ServedText]) -> float:
    """The mean number of steps from arrival to the first token."""
    return sum(text.admitted - text.request.arrival for text in texts) / len(texts)


def _timeline(name: str, texts: Sequence[ServedText], rows: int, steps: int) -> str:
    """Draw a line per request: waiting is thin and orange, writing thick and blue."""
    scale, marks = 540 / steps, ""
    for i, text in enumerate(texts):
        y, come = 24 + 13 * i, 40 + scale * text.request.arrival
        begun, done = 40 + scale * text.admitted, 40 + scale * (text.finished + 1)
        marks += (
            f'<text x="32" y="{y + 9}" text-anchor="end" font-size="10">{i + 1}</text>'
            f'<rect x="{come:.1f}" y="{y + 3}" width="{begun - come:.1f}" height="4"'
            f' fill="{ORANGE}"/><rect x="{begun:.1f}" y="{y}" width="{done - begun:.1f}"'
            f' height="10" fill="{BLUE}"/>'
        )
    end = max(text.finished for text in texts) + 1
    told = (
        f"{name}: all done after {end} steps, {busy_share(texts, rows):.0%} of the rows busy, mean"
        f" wait {mean_wait(texts):.1f} steps"
    )
    height = 30 + 13 * len(texts)
    for step in range(0, steps, 50):
        x = 40 + scale * step
        marks += f'<text x="{x:.1f}" y="{height + 12}" text-anchor="middle">{step}</text>'
    marks += f'<text x="32" y="{height + 12}" text-anchor="end" font-size="10">step</text>'
    marks += f'<path d="M{40 + scale * end:.1f} 20V{height}" stroke="{RED}" stroke-width="2"/>'
    return frames.card(
        f'<svg role="img" aria-label="{html.escape(told, quote=True)}"'
        f' viewBox="0 0 600 {height + 18}" {SVG.format(600)} fill="{BLACK}">'
        f'<text x="0" y="12" font-weight="bold">{told}</text>{marks}</svg>'
    )
