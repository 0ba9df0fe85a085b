"""Figures of lesson 06: a query that turns, the scale of the scores, two layers that copy, the
heads of a model."""

import html
import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from ipywidgets import Widget
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, RED

KEY_COLOURS = (BLUE, GREEN, GREY)


# --------------------------------------------------------------------------------------------------
# A query among keys
# --------------------------------------------------------------------------------------------------


def turn_the_query(keys: Tensor, values: Tensor, length: float = 2**0.5, step: int = 15) -> Widget:
    """Turn a query of two numbers round the circle; see the attention weight of each key, and the
    average of values. `keys` are (S, 2)."""
    angles = range(0, 360, step)
    pictures = [_turned(keys, values, length, angle) for angle in angles]
    labels = [f"{angle}°" for angle in angles]
    return frames.slideshow(
        pictures, labels, name="direction of the query", start=labels.index("45°"), interval=400
    )


def _turned(keys: Tensor, values: Tensor, length: float, angle: int) -> str:
    """Draw keys and query as arrows in the plane, and beside them a bar for the weight of each
    key."""
    query = length * torch.tensor([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    weights = (keys @ query).softmax(-1).tolist()
    output = sum(w * v for w, v in zip(weights, values.tolist(), strict=True))
    marks = "".join(
        f'<path d="M{x} 0v200" stroke="#e6e6e6"/><path d="M0 {x}h240" stroke="#e6e6e6"/>'
        for x in GRID
    )
    for i, key in enumerate(keys.tolist()):
        marks += _arrow(*key, f"key {i + 1}", KEY_COLOURS[i], 2.5) + _bar(
            i, weights[i], values[i].item()
        )
    marks += _arrow(*query.tolist(), "query", RED, 4)
    marks += f'<text x="270" y="192" font-weight="bold" font-size="15">output {output:.1f}</text>'
    told = ", ".join(f"key {i + 1} gets {weight:.2f}" for i, weight in enumerate(weights))
    label = f"The query points at {angle} degrees: {told}. The output is {output:.1f}."
    return frames.card(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 620 205"'
        ' style="width:100%;max-width:620px" font-family="sans-serif" font-size="13"'
        f' fill="{BLACK}">{marks}</svg>'
    )


# 40 units of the picture are 1 in the plane; (0, 0) lies at (100, 100)
GRID = (20, 60, 100, 140, 180)


def _arrow(x: float, y: float, name: str, colour: str, width: float) -> str:
    """Draw a vector from the origin with a head and a name."""
    turn = math.degrees(math.atan2(-y, x))
    tip_x, tip_y, reach = 100 + 40 * x, 100 - 40 * y, math.hypot(x, y)
    name_x, name_y = tip_x + 24 * x / reach, tip_y - 14 * y / reach + 4
    end_x, end_y = tip_x - 6 * x / reach, tip_y + 6 * y / reach
    return (
        f'<path d="M100 100L{end_x:.1f} {end_y:.1f}" stroke="{colour}"'
        f' stroke-width="{width}"/><path d="M0 0l-11 -5v10z" fill="{colour}"'
        f' transform="translate({tip_x:.1f} {tip_y:.1f}) rotate({turn:.0f})"/><text'
        f' x="{name_x:.1f}" y="{name_y:.1f}" fill="{colour}" font-weight="bold"'
        f' text-anchor="middle">{name}</text>'
    )


def _bar(i: int, weight: float, value: float) -> str:
    """Draw the weight of the key number `i`, from 0, as a bar with its number."""
    y = 30 + 50 * i
    return (
        f'<text x="270" y="{y - 6}">key {i + 1}, value {value:g}</text>'
        f'<rect x="270" y="{y}" width="{280 * weight:.1f}" height="18" fill="{KEY_COLOURS[i]}"/>'
        f'<text x="{276 + 280 * weight:.1f}" y="{y + 14}">{weight:.2f}</text>'
    )


# --------------------------------------------------------------------------------------------------
# The scale
# --------------------------------------------------------------------------------------------------


def scale_dial(
    widths: Sequence[int] = (1, 4, 16, 64, 256, 1024), n_keys: int = 8, seed: int = 4
) -> Widget:
    """Slide the width of a head; see how one random query shares itself out over keys, without and
    with the scale."""
    rng = torch.Generator().manual_seed(seed)
    q, k = torch.randn(max(widths), generator=rng), torch.randn(n_keys, max(widths), generator=rng)
    pictures = [_dial(q[:d], k[:, :d]) for d in widths]
    return frames.slideshow(pictures, widths, name="width d of the head", start=len(widths) - 2)


def _dial(q: Tensor, k: Tensor) -> str:
    n_keys, d = k.shape
    fig, panels = plt.subplots(1, 2, figsize=(7.6, 2.7), sharey=True)
    told = []
    cases = (("scores q·k", 1.0, RED), (f"scores q·k / √{d}", d**0.5, BLUE))
    for ax, (name, divisor, colour) in zip(panels, cases, strict=True):
        weights = (k @ q / divisor).softmax(-1)
        bits = entropy_bits(weights).item()
        ax.bar(range(1, n_keys + 1), weights, color=colour)
        ax.axhline(1 / n_keys, color=BLACK, linewidth=1, linestyle="--")
        ax.set(ylim=(0, 1.05), xticks=range(1, n_keys + 1), xlabel="key")
        ax.set_title(f"{name}: {bits:.2f} of {math.log2(n_keys):.0f} bits", fontsize=10.5)
        told.append(
            f"{name} leave {bits:.2f} bits of entropy, the largest weight is {weights.max():.2f}"
        )
    panels[0].set_ylabel("attention weight")
    panels[0].text(n_keys + 0.4, 1 / n_keys + 0.02, "even", ha="right", va="bottom", fontsize=9)
    alt = f"Weights of one query over {n_keys} keys at width {d}: {'; '.join(told)}."
    return frames.image(fig, alt=alt, dpi=110, colours=24)


def entropy_bits(weights: Tensor) -> Tensor:
    """Measure how evenly the last axis is shared out, in bits: 0 for one winner, log2(n) for n
    equal shares.

    >>> entropy_bits(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [0.0, 1.0]
    """
    return torch.special.entr(weights).sum(-1) / math.log(2)


# --------------------------------------------------------------------------------------------------
# How two layers copy
# --------------------------------------------------------------------------------------------------

TALE = (
    "The text so far, in a language nobody knows. What comes next?",
    "Layer 1. Every letter attends to the letter right before it, and notes down what it was.",
    "Layer 2. The last letter, o, asks: who has noted “after o”? One letter's key fits.",
    "It takes that letter's value, which says: I am a t. So t is the prediction.",
)


def two_layers(text: str = "kotrebko") -> Widget:
    """Step through the way in which two layers of attention continue a word that they have met
    once."""
    last = text[-1]
    match = text.index(last) + 1
    return frames.slideshow(
        [_tale(text, match, step) for step in range(len(TALE))],
        [f"{step + 1} of {len(TALE)}" for step in range(len(TALE))],
        name="step",
        start=2,
        interval=2500,
    )


def _tale(text: str, match: int, step: int) -> str:
    """Draw one step as a table: a column per letter; rows for the letters, their notes, and what
    the last one attends to."""
    rows = [("letter", list(text))]
    if step >= 1:
        rows.append(("after layer 1", ["", *(f"after {letter}" for letter in text[:-1])]))
    if step >= 2:
        rows.append(
            (f"{text[-1]} attends to", ["▲" if i == match else "" for i in range(len(text))])
        )
    if step >= 3:
        rows.append(
            (
                "prediction",
                ["" if i < len(text) - 1 else f"→ {text[match]}" for i in range(len(text))],
            )
        )
    cells = []
    for name, row in rows:
        cells.append(f'<span style="color:{GREY};text-align:left">{name}</span>')
        for i, entry in enumerate(row):
            marked = step >= 2 and i == match or i == len(text) - 1
            look = "background:#fbe3b0;" if marked and entry else ""
            weight = "bold" if name in ("letter", "prediction") else "normal"
            cells.append(
                f'<span style="{look}font-weight:{weight};border-radius:4px">{entry}</span>'
            )
    columns = f"7.5em repeat({len(text)}, minmax(3.6em, 1fr))"
    look = f"display:grid;grid-template-columns:{columns};gap:6px;text-align:center"
    table = (
        '<div style="overflow-x:auto;min-height:8em"><div'
        f' style="{look}">{"".join(cells)}</div></div>'
    )
    return frames.card(f'<p style="margin:0 0 10px">{TALE[step]}</p>{table}')


# --------------------------------------------------------------------------------------------------
# The heads of a model
# --------------------------------------------------------------------------------------------------


def heads(weights: Mapping[str, Tensor], text: str, start: tuple[int, int]) -> Widget:
    """Choose a head and a query letter; see which letters it attends to. `weights` holds a (T, T)
    table per head."""
    readers = [f"{t + 1}: {letter}" for t, letter in enumerate(text)]
    pictures = [
        [_attended_letters(table, text, t) for t in range(len(text))] for table in weights.values()
    ]
    return frames.grid(pictures, {"head": list(weights), "query letter": readers}, start)


def _attended_letters(table: Tensor, text: str, t: int) -> str:
    """Draw the text with each letter as bright as the weight that it gets from letter `t`; the
    future is pale."""
    shares = [round(100 * weight) for weight in table[t].tolist()]
    letters, numbers = "", ""
    for s, letter in enumerate(text):
        look = (
            f"background:#E69F00{round(2.55 * shares[s]):02x}"
            if s <= t
            else "color:#8a8a8a;font-weight:normal"
        )
        look += f";box-shadow:inset 0 0 0 2px {BLUE}" if s == t else ""
        letters += f'<b style="{look}">{html.escape(letter)}</b>'
        numbers += f"<i>{shares[s]}</i>" if s <= t and shares[s] else "<i></i>"
    best = sorted(range(t + 1), key=lambda s: -shares[s])[:3]
    told = ", ".join(
        f"<b>{html.escape(text[s])}</b> at position {s + 1} ({shares[s]} %)"
        for s in best
        if shares[s] >= 5
    )
    attended = told or "many letters, a little to each"
    columns = f"repeat({len(text)},minmax(1.5em,1fr))"
    grid = f"display:grid;grid-template-columns:{columns};text-align:center"
    return frames.card(
        f'<div style="overflow-x:auto"><div style="{grid};font-size:1.15em">{letters}</div>'
        f'<div style="{grid};font-size:.72em;min-height:1.5em">{numbers}</div></div>'
        f"<div><b>{html.escape(text[t])}</b> at position {t + 1} attends to {attended}.</div>"
    )


def tables(
    weights: Mapping[str, Tensor], text: str, marked: Sequence[str] = (), columns: int = 2
) -> Figure:
    """Draw the attention weights of every head, one row per query letter; the names in `marked`
    are printed in red."""
    rows = -(-len(weights) // columns)
    fig, panels = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.6 * rows), squeeze=False)
    for ax, (name, table) in zip(panels.flat, weights.items(), strict=True):
        ax.imshow(table, cmap="cividis", vmin=0, vmax=1)
        ax.set_xticks(range(len(text)), text, fontsize=8)
        ax.set_yticks(range(len(text)), text, fontsize=8)
        ax.tick_params(length=0, pad=1)
        ax.grid(False)
        ax.set_title(name, fontsize=11, color=RED if name in marked else BLACK, loc="center", pad=4)
    for ax in panels[:, 0]:
        ax.set_ylabel("query letter")
    for ax in panels[-1]:
        ax.set_xlabel("key letter")
    return fig
