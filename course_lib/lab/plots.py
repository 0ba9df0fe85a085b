"""Figures in one style: colour-blind-safe, legible, on a light card in any theme, with alternative
text.

Each function draws and shows a whole figure when it gets `alt`, or draws into the axes `ax` and
shows nothing. Importing this module sets the style for every matplotlib figure.
"""

import base64
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from course_lib.lab.explore.frames import img, png, require_alt

BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#B84F00", "#F0E442", "#222222",
)  # fmt: skip
# Okabe and Ito's palette, darkest first; their red is a little darker here, so that it can be read
COLOURS = (BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#6b6b6b"

plt.rcParams.update(
    {
        "figure.figsize": (6.8, 3.6),
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.w_pad": 0.1,
        "figure.constrained_layout.h_pad": 0.1,
        "savefig.facecolor": "white",
        "font.size": 10.5,
        "axes.prop_cycle": plt.cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e6e6e6",
        "lines.linewidth": 2,
        "legend.frameon": False,
        "image.cmap": "viridis",
    }
)


def show(fig: Figure, alt: str, colours: int = 256) -> None:
    """Show a matplotlib figure with alternative text, as HTML and as a picture, and close it."""
    alt = require_alt(alt)
    data, width = png(fig, colours=colours)
    bundle = {
        "text/html": img(data, width, alt),
        "image/png": base64.b64encode(data).decode(),
        "text/plain": alt,
    }
    display(bundle, raw=True)


def _figure(draw: Callable) -> Callable:
    """Let a function that draws into `ax` also make, title and show a figure of its own when it
    gets `alt`."""

    @wraps(draw)
    def drawn(
        *args,
        title: str = "",
        alt: str | None = None,
        ax: Axes | None = None,
        size: tuple[float, float] | None = None,
        **kwargs,
    ):
        if (alt is None) == (ax is None):
            raise ValueError(
                f"{draw.__name__} needs either alt=... (draw and show a figure) or ax=... (draw"
                " into these axes)"
            )
        if alt is not None:
            require_alt(alt)
        axes = ax if ax is not None else plt.subplots(figsize=size)[1]
        draw(*args, ax=axes, **kwargs)
        axes.set_title(title)
        if ax is None:
            show(axes.figure, alt)

    return drawn


@_figure
def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    ax: Axes,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    markers: bool | None = None,
) -> None:
    """Draw lines `{name: (xs, ys)}`, each named at its end. Where `ys` has one row per seed: the
    mean, and a band from the lowest to the highest."""
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    ends, seeds = [], 1
    for i, (name, (xs, ys)) in enumerate(series.items()):
        xs, runs = np.asarray(xs, float), np.atleast_2d(np.asarray(ys, float))
        if runs.ndim != 2 or runs.shape[1] != len(xs):
            raise ValueError(
                f"line {name!r}: {len(xs)} x values, but y values of shape {np.shape(ys)}"
            )
        colour, mean = COLOURS[i % 7], runs.mean(0)
        marker = MARKERS[i % 7] if (len(xs) <= 12 if markers is None else markers) else None
        ax.plot(xs, mean, color=colour, linestyle=DASHES[i % 7], marker=marker, markersize=5)
        seeds = max(seeds, len(runs))
        if len(runs) > 1:
            ax.fill_between(xs, runs.min(0), runs.max(0), color=colour, alpha=0.18, linewidth=0)
        last = np.flatnonzero(np.isfinite(mean))[-1]
        ends.append((xs[last], mean[last], name, colour))
    ax.set(
        xlabel=x + (f"   (bands: lowest to highest of {seeds} seeds)" if seeds > 1 else ""),
        ylabel=y,
    )
    _plain_ticks_on_short_log_axes(ax)
    if not log_x and all((np.asarray(xs) % 1 == 0).all() for xs, _ in series.values()):
        ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    if len(series) > 1:
        _name_ends(ax, ends)


def _plain_ticks_on_short_log_axes(ax: Axes) -> None:
    """Mark 1, 2 and 5 on a logarithmic axis of less than two decades, as 0.5 or 20."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        if axis.get_scale() == "log" and 1e-3 <= low < high < 1e5 and high < 100 * low:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())


def _name_ends(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name to the right of the axes, at the height of its end, without
    overlap."""
    ax.margins(x=0.02)
    low, high = ax.get_ylim()
    to_axes = ax.transData + ax.transAxes.inverted()
    heights = [to_axes.transform((ax.get_xlim()[0], y))[1] for _, y, _, _ in ends]
    for slot, i in zip(_spread(heights, gap=0.075), np.argsort(heights), strict=True):
        _, _, name, colour = ends[i]
        ax.text(
            1.015,
            slot,
            name,
            color=text_colour(colour),
            transform=ax.transAxes,
            va="center",
            fontweight="bold",
            fontsize=9.5,
        )
    ax.set_ylim(low, high)


def text_colour(colour: str, contrast: float = 4.5) -> tuple[float, float, float]:
    """Darken a colour until text in it stands out from white by `contrast` to 1 (WCAG 2.2, success
    criterion 1.4.3).

    >>> text_colour(BLUE) == to_rgb(BLUE), [round(part, 2) for part in text_colour(ORANGE)]
    (True, [0.61, 0.42, 0.0])
    """
    shade = np.array(to_rgb(colour))
    while 1.05 / (_luminance(shade) + 0.05) < contrast:
        shade *= 0.98
    return tuple(shade.tolist())


def _luminance(rgb: np.ndarray) -> float:
    """The relative luminance of an sRGB colour, from 0 to 1, as WCAG defines it."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move sorted heights apart until neighbours are `gap` away from each other, and keep their
    middle in place.

    >>> [round(height, 2) for height in _spread([0.5, 0.5, 0.9], gap=0.1)]
    [0.45, 0.55, 0.9]
    """
    groups = [[height] for height in sorted(heights)]
    centre = [height for (height,) in groups]
    i = 0
    while i + 1 < len(groups):
        reach = (len(groups[i]) + len(groups[i + 1])) * gap / 2
        if centre[i + 1] - centre[i] >= reach - 1e-9:
            i += 1
            continue
        groups[i : i + 2] = [groups[i] + groups[i + 1]]
        centre[i : i + 2] = [float(np.mean(groups[i]))]
        i = max(i - 1, 0)
    return [
        c + (k - (len(g) - 1) / 2) * gap
        for g, c in zip(groups, centre, strict=True)
        for k in range(len(g))
    ]


@_figure
def bars(
    values: Mapping[str, float | Sequence[float]],
    *,
    ax: Axes,
    x: str,
    y: str = "",
    highlight: Collection[str] = (),
    form: str = "{:.3g}",
) -> None:
    """Draw horizontal bars `{name: value}`, first on top, each with its number (written by `form`).
    A list of values is one per seed: the bar is the mean, the whisker runs from the lowest to the
    highest, the dots are the seeds."""
    _bars(
        ax,
        values,
        [BLUE if not highlight or name in highlight else "#a9b4bd" for name in values],
        form,
    )
    ax.set(xlabel=x, ylabel=y)


def _bars(
    ax: Axes,
    values: Mapping[str, float | Sequence[float]],
    colours: Sequence[str],
    form: str,
    hatches: Sequence[str] | None = None,
) -> None:
    runs = [np.atleast_1d(np.asarray(value, float)) for value in values.values()]
    means = np.array([run.mean() for run in runs])
    drawn = ax.barh(range(len(runs)), means, color=colours, height=0.66)
    for bar, hatch in zip(drawn, hatches or [], strict=False):
        bar.set(hatch=hatch, edgecolor="white")
    widest = max(np.abs(np.concatenate(runs)).max(), 1e-12)
    for i, run in enumerate(runs):
        if len(run) > 1:
            ax.plot([run.min(), run.max()], [i, i], color=BLACK, linewidth=1.2)
            ax.plot(run, [i] * len(run), "o", color=BLACK, markersize=3)
        end = max(run.max(), 0) if means[i] >= 0 else min(run.min(), 0)
        side = 1 if means[i] >= 0 else -1
        ax.text(
            end + side * 0.012 * widest,
            i,
            _written(form, means[i]),
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=9.5,
        )
    ax.set_yticks(range(len(runs)), list(values))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.12 if (means >= 0).all() else 0.2)  # numbers stand on both sides


def _written(form: str, value: float) -> str:
    """Write a number; one that is rounded to nothing has no sign."""
    text = form.format(value)
    return text if re.search("[1-9]", text) else text.removeprefix("-")


@_figure
def ladder(
    scores: Mapping[str, float | Sequence[float]],
    *,
    ax: Axes,
    neural: Collection[str],
    x: str = "bits per byte of held-out text (less is better)",
) -> None:
    """Draw the course's ladder: bits per byte of each model, worst on top; neural nets filled, the
    others hatched."""
    if unknown := set(neural) - set(scores):
        raise ValueError(
            f"{sorted(unknown)} called neural, but there is no such score among {list(scores)}"
        )
    ranked = dict(sorted(scores.items(), key=lambda item: -float(np.mean(item[1]))))
    _bars(
        ax,
        ranked,
        [BLUE if name in neural else "#9a8f7a" for name in ranked],
        "{:.2f}",
        ["" if name in neural else "///" for name in ranked],
    )
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=BLUE),
        plt.Rectangle((0, 0), 1, 1, facecolor="#9a8f7a", hatch="///", edgecolor="white"),
    ]
    ax.legend(handles, ["neural net", "no neural net"], loc="lower right", fontsize=9)
    ax.set(xlabel=x)


@_figure
def heatmap(
    table: ArrayLike,
    *,
    ax: Axes,
    rows: Sequence[object] | None = None,
    columns: Sequence[object] | None = None,
    x: str = "",
    y: str = "",
    bar: str = "",
    form: str = "{:.2g}",
    numbers: bool | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw a table of numbers as colours, with the numbers written in where there is room. `bar`
    names the colours; a table with both signs gets colours whose middle is zero."""
    table = np.asarray(table, float)
    if table.ndim != 2:
        raise ValueError(f"a heat map needs a table with rows and columns, got shape {table.shape}")
    for name, labels, count in (
        ("rows", rows, table.shape[0]),
        ("columns", columns, table.shape[1]),
    ):
        if labels is not None and len(labels) != count:
            raise ValueError(f"{len(labels)} labels for {count} {name}")
    low, high = limits or (np.nanmin(table), np.nanmax(table))
    if signed := low < 0 < high and limits is None:
        low, high = -max(-low, high), max(-low, high)
    picture = ax.imshow(
        table, cmap="PuOr" if signed else "viridis", vmin=low, vmax=high, aspect="auto"
    )
    if table.size <= 144 if numbers is None else numbers:
        _write_numbers(ax, table, picture, form)
    for labels, ticks in ((columns, ax.set_xticks), (rows, ax.set_yticks)):
        if labels is not None:
            ticks(range(len(labels)), [str(label) for label in labels])
    ax.grid(False)
    ax.set(xlabel=x, ylabel=y)
    ax.figure.colorbar(picture, ax=ax, label=bar)


def _write_numbers(ax: Axes, table: np.ndarray, picture, form: str) -> None:
    """Write each number into its cell, dark on light cells and light on dark ones."""
    for (row, column), value in np.ndenumerate(table):
        red, green, blue, _ = picture.cmap(picture.norm(value))
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
        ax.text(
            column,
            row,
            form.format(value),
            ha="center",
            va="center",
            fontsize=8.5,
            color=BLACK if light else "white",
        )


@_figure
def histogram(
    values: Mapping[str, ArrayLike],
    *,
    ax: Axes,
    x: str,
    y: str = "share",
    bins: int | Sequence[float] = 30,
) -> None:
    """Draw the shares of values `{name: values}` over common bins, as outlines named in a
    legend."""
    everything = np.concatenate([np.ravel(np.asarray(value, float)) for value in values.values()])
    edges = np.histogram_bin_edges(everything, bins)
    for i, (name, value) in enumerate(values.items()):
        counts = np.histogram(np.ravel(np.asarray(value, float)), edges)[0]
        ax.stairs(
            counts / counts.sum(),
            edges,
            color=COLOURS[i % 7],
            linestyle=DASHES[i % 7],
            linewidth=2,
            label=name,
        )
        ax.stairs(counts / counts.sum(), edges, color=COLOURS[i % 7], fill=True, alpha=0.12)
    ax.set(xlabel=x, ylabel=y)
    if len(values) > 1:
        ax.legend()
