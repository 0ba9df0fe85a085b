"""Figures of lesson 04: a table as it learns, the neighbours of a word, the rotary dial."""

import base64
import html
import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from ipywidgets import Widget
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, COLOURS, GREY, MARKERS, RED
from course_lib.lab.progress import track_progress
from course_lib.layers.position import rotary_angles, rotary_frequencies, rotate_halves

# --------------------------------------------------------------------------------------------------
# The geometry of a table
# --------------------------------------------------------------------------------------------------


def geometry(tables: Mapping[int, Tensor], classes: Sequence[str]) -> Widget:
    """Slide through training; see the vectors of words sort themselves by class, in two dimensions.

    `tables` holds a table (N, C) for each step; it is projected onto the first two principal
    components of the last one. `classes` names the class of each row.
    """
    last = torch.nn.functional.normalize(list(tables.values())[-1], dim=-1)
    axes = torch.linalg.svd(last - last.mean(0), full_matrices=False).Vh[:2].T
    pictures = [
        _cloud(table, axes, classes, step)
        for step, table in track_progress(tables.items(), "drawing")
    ]
    return frames.slideshow(pictures, list(tables), name="training steps", start=len(tables) - 1)


def _cloud(table: Tensor, axes: Tensor, classes: Sequence[str], step: int) -> str:
    directions = torch.nn.functional.normalize(table, dim=-1)
    points = (directions - directions.mean(0)) @ axes
    fig, ax = plt.subplots(figsize=(7.2, 4.0))
    for i, name in enumerate(dict.fromkeys(classes)):
        mine = points[[j for j, other in enumerate(classes) if other == name]]
        look = {
            "color": (*COLOURS, GREY)[i],  # eight classes of words
            "marker": (*MARKERS, "*")[i],
            "edgecolors": "white",
            "linewidths": 0.5,
        }
        ax.scatter(*mine.T, s=46, label=name, **look)
    ax.set(
        xlim=(-0.9, 0.9),
        ylim=(-0.9, 0.9),
        xlabel="first principal component",
        ylabel="second principal component",
    )
    nearest = (directions @ directions.T).fill_diagonal_(-torch.inf).argmax(-1).tolist()
    share = sum(classes[i] == classes[j] for i, j in enumerate(nearest)) / len(classes)
    ax.set_title(f"after {step} steps: {share:.0%} have a nearest word, of these, of their class")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    alt = (
        f"The rows of {len(classes)} words in two dimensions after {step} steps of training, marked"
        f" by class. For {share:.0%} of them the nearest of these words, in all dimensions, is of"
        " the same class."
    )
    return frames.image(fig, alt=alt, dpi=110, colours=256)


def neighbours(
    words: Sequence[str], before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]
) -> Widget:
    """Choose a word; see its nearest words in the table before and after training."""
    cards = [frames.card(_two_rows(*row)) for row in zip(words, before, after, strict=True)]
    return frames.choose(cards, words, name="word")


def _two_rows(word: str, before: Sequence[str], after: Sequence[str]) -> str:
    rows = (("before training", before, GREY), ("after training", after, BLUE))
    told = [
        f'<div><span style="display:inline-block;width:8.5em;color:{GREY}">{name}</span>'
        f'<b style="color:{colour}">{html.escape(" · ".join(near))}</b></div>'
        for name, near, colour in rows
    ]
    return f"<div>nearest to <b>{html.escape(word)}</b></div>" + "".join(told)


# --------------------------------------------------------------------------------------------------
# The rotary dial
# --------------------------------------------------------------------------------------------------


def rotary_dial(
    starts: Sequence[int] = (0, 3, 40),
    distances: Sequence[int] = tuple(range(17)),
    base: float = 100.0,
    seed: int = 3,
) -> Widget:
    """Slide the key's position and the distance to the query; see four pairs rotate, and what their
    dot product does."""
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(seed))
    q, k = (torch.nn.functional.normalize(x.view(2, 4), dim=0).flatten() for x in (q, k))
    pictures = [
        [_dials(q, k, start, distance, max(distances), base) for distance in distances]
        for start in starts
    ]
    return frames.grid(
        pictures, {"position of the key": list(starts), "distance": list(distances)}, start=(1, 2)
    )


def _dials(q: Tensor, k: Tensor, start: int, distance: int, longest: int, base: float) -> str:
    frequencies = rotary_frequencies(len(q), base)
    key, query = rotate_halves(
        torch.stack([k, q]), rotary_angles(torch.tensor([start, start + distance]), frequencies)
    )
    score = (query @ key).item()
    drawn = [
        f'<g transform="translate({75 + 135 * i},100)">'
        f"{_dial(query.view(2, 4)[:, i], key.view(2, 4)[:, i])}"
        f'<text y="-72" font-size="13">{frequencies[i]:.2f} rad per position</text></g>'
        for i in range(4)
    ]
    curve = (
        rotate_halves(
            q.expand(longest + 1, -1), rotary_angles(torch.arange(longest + 1), frequencies)
        )
        @ k
    )
    drawn.append(f'<g transform="translate(610,100)">{_curve(curve.tolist(), distance)}</g>')
    drawn.append(
        f'<text x="720" y="22" font-weight="bold" font-size="15">q · k = {score:.3f}</text>'
    )
    alt = (
        f"Four dials with the arms of a query at position {start + distance} and a key at"
        f" position {start}, and the curve of their dot product against distance: at distance"
        f" {distance} it is {score:.3f}."
    )
    return _svg(850, 200, "".join(drawn), alt)


def _dial(query: Tensor, key: Tensor) -> str:
    """Draw the two arms of one pair on a clock face of radius 50, and the angle between them."""
    drawn = '<circle r="50" fill="none" stroke="#bbb"/>'
    for (x, y), name, colour, dash in (
        (key.tolist(), "k", BLACK, "6 4"),
        (query.tolist(), "q", BLUE, "none"),
    ):
        look = f'stroke="{colour}" stroke-width="3" stroke-dasharray="{dash}"'
        drawn += f'<line x2="{50 * x:.1f}" y2="{-50 * y:.1f}" {look}/>'
        drawn += (
            f'<text x="{62 * x:.1f}" y="{-62 * y + 5:.1f}" fill="{colour}"'
            f' font-weight="bold">{name}</text>'
        )
    between = (
        math.degrees(math.atan2(*reversed(query.tolist())) - math.atan2(*reversed(key.tolist())))
        % 360
    )
    return drawn + f'<text y="86" font-size="13">q is {between:.0f}° ahead</text>'


def _curve(scores: Sequence[float], distance: int) -> str:
    """Draw the dot product at every distance, 220 wide and from -4 to 4, with the present one
    marked."""
    step = 220 / (len(scores) - 1)
    points = " ".join(f"{step * d:.1f},{-15 * score:.1f}" for d, score in enumerate(scores))
    ticks = "".join(
        f'<text x="{step * d:.1f}" y="82" font-size="12">{d}</text>'
        for d in range(0, len(scores), 4)
    )
    levels = "".join(
        f'<line x2="220" y1="{-15 * v}" y2="{-15 * v}" stroke="#ddd"/>'
        f'<text x="-16" y="{4 - 15 * v}" font-size="12">{v}</text>'
        for v in (-4, -2, 0, 2, 4)
    )
    line = f'<polyline points="{points}" fill="none" stroke="{GREY}" stroke-width="2"/>'
    dot = (
        f'<circle cx="{step * distance:.1f}" cy="{-15 * scores[distance]:.1f}" r="6" fill="{RED}"/>'
    )
    return (
        f'{levels}{ticks}{line}{dot}<text x="110" y="97" font-size="12">distance (positions)</text>'
    )


def _svg(width: int, height: int, drawn: str, alt: str) -> str:
    """Turn SVG into an HTML image with alternative text: sharp at any size, and cheap to draw."""
    font = 'font-family="DejaVu Sans, Arial, sans-serif" text-anchor="middle"'
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    ground = f'<rect width="{width}" height="{height}" rx="6" fill="white"/>'
    source = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{ground}{drawn}</svg>'
    data = base64.b64encode(source.encode()).decode()
    look = "max-width: 100%; height: auto; margin: 2px 0"
    alt = html.escape(frames.require_alt(alt), quote=True)
    return (
        f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}" width="{width}" style="{look}">'
    )
