"""Figures of lesson 01: the axes of a tensor, broadcasting, gradient descent, and a network that
learns to draw."""

import html
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from ipywidgets import Widget
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, GREY, RED

GREEN = "#0a6b58"  # dark enough for text on white


# --------------------------------------------------------------------------------------------------
# Axes
# --------------------------------------------------------------------------------------------------


def axes(batch: Tensor) -> Figure:
    """Draw a tensor of shape (B, T, C) as B sheets of numbers, one behind the other, with its axes
    named."""
    n_batch, n_tokens, n_channels = batch.shape
    fig, ax = plt.subplots(figsize=(5.6, 3.1))
    for (b, t, c), number in np.ndenumerate(batch.numpy()):
        left, bottom = 1.3 * b + c, 1.1 * b - t
        sheet = {
            "facecolor": ("#dcebf5", "#fbe6d8", "#dff0ea")[b % 3],
            "edgecolor": "#444444",
            "zorder": -2 * b,
        }
        ax.add_patch(plt.Rectangle((left, bottom), 1, 1, **sheet))
        ax.text(
            left + 0.5, bottom + 0.5, f"{number:g}", ha="center", va="center", zorder=-2 * b + 1
        )
    low, right = 1 - n_tokens, n_channels
    for name, tail, head, place, side in (
        (f"T = {n_tokens} tokens", (-0.3, 1), (-0.3, low), (-0.5, (1 + low) / 2), "right"),
        (
            f"C = {n_channels} channels",
            (0, low - 0.3),
            (right, low - 0.3),
            (right / 2, low - 0.8),
            "center",
        ),
        (
            f"B = {n_batch} sequences",
            (right + 0.3, low),
            (right + 1.6, low + 1.1),
            (right + 1.1, low + 0.3),
            "left",
        ),
    ):
        ax.annotate(
            "", xy=head, xytext=tail, arrowprops={"arrowstyle": "->", "color": RED, "linewidth": 2}
        )
        ax.text(*place, name, color=RED, ha=side, va="center", fontweight="bold")
    ax.set(xlim=(-2.6, right + 4.6), ylim=(low - 1.2, 1.1 * n_batch + 0.1), aspect="equal")
    ax.axis("off")
    return fig


# --------------------------------------------------------------------------------------------------
# Broadcasting
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """One axis of two aligned shapes: the lengths (None where a shape has no such axis) and what
    broadcasting does."""

    a: int | None
    b: int | None

    @property
    def result(self) -> int | None:
        """Return the length after broadcasting, or None where the two lengths clash."""
        a, b = self.a or 1, self.b or 1
        return max(a, b) if a == b or 1 in (a, b) else None

    @property
    def verdict(self) -> str:
        """Say in words what happens along this axis."""
        if self.result is None:
            return f"{self.a} and {self.b} differ and neither is 1: error"
        if self.a == self.b:
            return "equal: fine as it is"
        who, length = ("a", self.a) if self.b == self.result else ("b", self.b)
        why = "has no such axis" if length is None else "has length 1"
        return f"{who} {why}: repeated {self.result} times"


def align(a: tuple[int, ...], b: tuple[int, ...]) -> list[Axis]:
    """Pair the axes of two shapes from the right, the last axis first.

    >>> [(axis.a, axis.b, axis.result) for axis in align((2, 3), (3,))]
    [(3, 3, 3), (2, None, 2)]
    """
    n = max(len(a), len(b))
    padded = [(None,) * (n - len(shape)) + tuple(shape) for shape in (a, b)]
    return [Axis(*lengths) for lengths in reversed(list(zip(*padded, strict=True)))]


BROADCASTS = {
    "a row": (torch.tensor([[1, 2, 3], [4, 5, 6]]), "+", torch.tensor([10, 20, 30])),
    "a column": (torch.tensor([[1, 2, 3], [4, 5, 6]]), "+", torch.tensor([[10], [20]])),
    "both stretch": (torch.tensor([[0], [10], [20]]), "+", torch.tensor([1, 2, 3, 4])),
    "an error": (torch.tensor([[1, 2, 3], [4, 5, 6]]), "+", torch.tensor([10, 20])),
    "the silent trap": (
        torch.tensor([[1, 1, 2], [0, 5, 0], [4, 3, 3]]),
        "/",
        torch.tensor([4, 5, 10]),
    ),
    "the cure": (
        torch.tensor([[1, 1, 2], [0, 5, 0], [4, 3, 3]]),
        "/",
        torch.tensor([[4], [5], [10]]),
    ),
}
BROADCAST_STEPS = ("flush right", "last axis", "the axis before", "compute")


def broadcasting() -> Widget:
    """Step through broadcasting: shapes flush right, axis by axis, which one stretches, and the
    result or the error."""
    pictures = [
        [_broadcast_frame(*case, step) for step in range(len(BROADCAST_STEPS))]
        for case in BROADCASTS.values()
    ]
    return frames.grid(
        pictures, {"example": list(BROADCASTS), "step": list(BROADCAST_STEPS)}, start=(4, 3)
    )


def _broadcast_frame(a: Tensor, sign: str, b: Tensor, step: int) -> str:
    axes = align(tuple(a.shape), tuple(b.shape))
    looked_at = axes[:step]
    clash = axes[0].result is None
    if clash:
        looked_at = looked_at[:1]  # torch gives up at the first pair that does not fit
    sides = [
        _grid(a, looked_at, "a", BLUE),
        f"<b style='font-size:1.5em'>{sign}</b>",
        _grid(b, looked_at, "b", RED),
    ]
    if step > len(axes):
        sides += [
            "<b style='font-size:1.5em'>=</b>",
            _error(a, sign, b) if clash else _result(a, sign, b),
        ]
    row = "".join(sides)
    look = (
        "display:flex;align-items:center;gap:18px;flex-wrap:wrap;margin-top:16px;min-height:140px"
    )
    return frames.card(f"{_axes_table(axes, len(looked_at))}<div style='{look}'>{row}</div>")


def _axes_table(axes: list[Axis], seen: int) -> str:
    """Draw both shapes flush right, the verdict below each axis that was compared already."""
    cells = ["<span></span>"] + [
        f"<span style='color:{GREY}'>axis {-1 - i}</span>" for i in reversed(range(len(axes)))
    ]
    for name, colour in (("a", BLUE), ("b", RED)):
        lengths = [getattr(axis, name) for axis in reversed(axes)]
        cells += [f"<b style='color:{colour}'>{name}</b>"] + [
            f"<b>{'·' if n is None else n}</b>" for n in lengths
        ]
    said = [axes[i].verdict if i < seen else "" for i in reversed(range(len(axes)))]
    bad = [i < seen and axes[i].result is None for i in reversed(range(len(axes)))]
    cells += ["<span></span>"] + [
        f"<span style='min-height:3em;color:{RED if wrong else GREEN}'>{text}</span>"
        for text, wrong in zip(said, bad, strict=True)
    ]
    columns = f"2em repeat({len(axes)}, 11em)"
    return (
        f"<div style='display:grid;grid-template-columns:{columns};gap:2px"
        f" 12px'>{''.join(cells)}</div>"
    )


def _grid(x: Tensor, looked_at: list[Axis], name: str, colour: str) -> str:
    """Draw a table of numbers; the copies that broadcasting imagines along the axes looked at so
    far are pale."""
    own = [1] * (2 - x.ndim) + list(x.shape)
    full = list(own)
    for i, axis in enumerate(looked_at[:2]):
        if axis.result is not None:
            full[1 - i] = axis.result
    values = x.reshape(own).expand(full)
    ghosts = [
        [row >= own[0] or column >= own[1] for column in range(full[1])] for row in range(full[0])
    ]
    return _cells(values, ghosts, f"{name}, shape {tuple(x.shape)}", colour)


def _cells(values: Tensor, ghosts: list[list[bool]], title: str, colour: str) -> str:
    boxes = []
    for numbers, pale in zip(values.tolist(), ghosts, strict=True):
        for number, ghost in zip(numbers, pale, strict=True):
            look = (
                "border:1px dashed;color:#6b6b6b"
                if ghost
                else f"border:1px solid;background:{colour}22"
            )
            text = f"{number:.2f}" if isinstance(number, float) else number
            boxes.append(
                f"<span style='{look};border-color:{colour};padding:4px"
                f" 0;text-align:center'>{text}</span>"
            )
    look = f"display:grid;gap:3px;grid-template-columns:repeat({values.shape[1]},2.7em)"
    return (
        f"<div><div style='color:{colour}'>{title}</div><div"
        f" style='{look}'>{''.join(boxes)}</div></div>"
    )


def _result(a: Tensor, sign: str, b: Tensor) -> str:
    values = a + b if sign == "+" else a / b
    picture = _cells(
        values,
        [[False] * values.shape[1]] * len(values),
        f"result, shape {tuple(values.shape)}",
        GREEN,
    )
    if sign == "+":
        return picture
    sums = ", ".join(f"{total:.2f}" for total in values.sum(-1).tolist())
    return f"{picture}<div>rows sum to<br><b>{sums}</b></div>"


def _error(a: Tensor, sign: str, b: Tensor) -> str:
    try:
        _result(a, sign, b)
    except RuntimeError as error:
        return (
            f"<div style='color:{RED};max-width:15em'>"
            f"<b>RuntimeError</b><br>{html.escape(str(error))}</div>"
        )
    raise ValueError(
        f"shapes {tuple(a.shape)} and {tuple(b.shape)} broadcast; there is no error to show"
    )


# --------------------------------------------------------------------------------------------------
# Gradient descent
# --------------------------------------------------------------------------------------------------


def descend(x: Tensor, y: Tensor, rate: float, steps: int = 30) -> tuple[Tensor, Tensor]:
    """Walk downhill on the mean squared error of the line w*x + b from (0, 0); return the (w, b)
    path and the losses.

    >>> x, y = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])
    >>> path, losses = descend(x, y, rate=0.5, steps=1)
    >>> path[1].tolist(), losses.tolist()
    ([1.5, 2.0], [5.0, 0.625])
    """
    path = torch.zeros(steps + 1, 2, dtype=torch.float64)
    x, y = x.double(), y.double()
    for i in range(steps):
        error = path[i, 0] * x + path[i, 1] - y
        path[i + 1] = path[i] - rate * 2 * torch.stack([(error * x).mean(), error.mean()])
    losses = ((path[:, :1] * x + path[:, 1:] - y) ** 2).mean(1)
    return path, losses


def lowest(x: Tensor, y: Tensor) -> Tensor:
    """Solve for the pair (w, b) whose line w*x + b has the least squared error."""
    return torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], dim=1), y[:, None]).solution[
        :, 0
    ]


def descent(x: Tensor, y: Tensor, rates: list[float]) -> Widget:
    """Slide the learning rate; see the path over the loss surface of a line, and the loss after
    each step."""
    pictures = [_descent_frame(x, y, rate) for rate in rates]
    return frames.slideshow(
        pictures, [f"{rate:g}" for rate in rates], name="learning rate", start=len(rates) // 2
    )


def _descent_frame(x: Tensor, y: Tensor, rate: float) -> str:
    path, losses = descend(x, y, rate)
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(8.6, 3.5), width_ratios=[1.25, 1], layout="none"
    )
    fig.subplots_adjust(left=0.07, right=0.98, bottom=0.15, top=0.8, wspace=0.25)
    _draw_surface(left, x, y)
    left.plot(*path.T, "o-", color=RED, markersize=4, linewidth=1.3)
    left.plot(*path[0], "s", color=RED, markersize=8)
    left.set(xlabel="w", ylabel="b", title="the path over the loss", xlim=(-1, 3), ylim=(-1.5, 3.5))
    right.plot(losses.log10(), "o-", color=RED, markersize=4, linewidth=1.3)
    best = (lowest(x, y) @ torch.stack([x, torch.ones_like(x)]) - y).square().mean().log10()
    right.axhline(best, color=GREY, linestyle="--")
    right.text(len(losses) - 1, best - 0.15, "lowest possible", color=GREY, ha="right", va="top")
    powers = range(-1, 5)
    right.set(xlabel="step", title="the loss at each step (log scale)", ylim=(-1.6, 4.3))
    right.set_yticks(powers, [f"{10.0**power:g}" for power in powers])
    verdict = (
        "diverges"
        if losses[-1] > losses[0]
        else f"loss {losses[-1]:.2g} after {len(losses) - 1} steps"
    )
    fig.suptitle(f"learning rate {rate:g}: {verdict}", x=0.07, ha="left")
    return frames.image(
        fig,
        alt=f"Gradient descent on a line's loss surface with learning rate {rate:g}: {verdict}.",
    )


def _draw_surface(ax: plt.Axes, x: Tensor, y: Tensor) -> None:
    """Draw the contours of the mean squared error over w and b, and a star at the best pair."""
    w, b = torch.linspace(-1, 3, 60), torch.linspace(-1.5, 3.5, 60)
    loss = ((w[None, :, None] * x + b[:, None, None] - y) ** 2).mean(-1)
    ax.contourf(w, b, loss.log10(), levels=14, cmap="Blues")
    ax.plot(*lowest(x, y), "*", color="white", markeredgecolor="black", markersize=16)


# --------------------------------------------------------------------------------------------------
# A drawing that is learned
# --------------------------------------------------------------------------------------------------


def knight(n: int) -> tuple[Tensor, Tensor]:
    """Walk along the outline of a chess knight: n positions t (n, 1) from -1 to 1, and the points
    (n, 2) reached there.

    The outline is the glyph of the font that matplotlib brings along, centred and scaled to a
    height of 4.
    """
    corners = max(TextPath((0, 0), "\N{BLACK CHESS KNIGHT}", size=1).to_polygons(), key=len)
    low, high = corners.min(0), corners.max(0)
    corners = (corners - (low + high) / 2) * 4 / (high - low)[1]
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    t = np.linspace(-1, 1, n)
    points = np.stack(
        [np.interp((t + 1) / 2, walked / walked[-1], corners[:, i]) for i in (0, 1)], axis=1
    )
    return torch.tensor(t[:, None], dtype=torch.float32), torch.tensor(points, dtype=torch.float32)


def drawing(points: Tensor, snapshots: dict[int, Tensor]) -> Widget:
    """Slide through training; see noisy points, and the line that is drawn through them.

    `points` (M, 2) stay; `snapshots` holds a line (N, 2) for each step.
    """
    pictures = []
    for step, line in snapshots.items():
        alt = (
            f"The line that the network draws after {step} training steps, over the noisy points of"
            " the knight."
        )
        pictures.append(
            frames.image(_draw(line, points, f"after {step} steps"), alt=alt, colours=16)
        )
    return frames.slideshow(
        pictures, list(snapshots), name="training step", start=len(pictures) - 1
    )


def _draw(line: Tensor, points: Tensor, title: str) -> Figure:
    fig, ax = plt.subplots(figsize=(3.6, 4.3))
    ax.plot(*points.T, ".", color=GREY, markersize=3)
    ax.plot(*line.T, color=RED, linewidth=2)
    ax.set(aspect="equal", xlim=(-1.9, 1.9), ylim=(-2.3, 2.3))
    ax.set_title(title, loc="center")
    ax.axis("off")
    return fig
