"""Figures of lesson 05: what a norm forgets, sizes through a deep stack, and learning rates that
hold or break."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from ipywidgets import Widget
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.lab import plots
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, COLOURS, DASHES, GREY, RED, SKY
from course_lib.layers.norm import layer_norm, rms_norm

# --------------------------------------------------------------------------------------------------
# Four numbers
# --------------------------------------------------------------------------------------------------

STRETCHES = (0.001, 0.01, 0.1, 1, 10, 100)
SHIFTS = (-12, -6, 0, 6, 12)


def four_numbers(x: Sequence[float] = (1, 7, 7, 9), eps: float = 1e-5) -> Widget:
    """Stretch and shift four numbers; see what LayerNorm and RMSNorm make of them."""
    x = torch.tensor(x, dtype=torch.float32)
    pictures = [
        [_four_frame(stretch * (x + shift), eps) for shift in SHIFTS] for stretch in STRETCHES
    ]
    rows = [f"x {stretch:g}" for stretch in STRETCHES]
    return frames.grid(
        pictures, {"stretch": rows, "shift": [f"{shift:+d}" for shift in SHIFTS]}, start=(4, 2)
    )


def _four_frame(x: Tensor, eps: float) -> str:
    one, zero = torch.ones(len(x)), torch.zeros(len(x))
    rows = (
        ("in", x, GREY),
        ("LayerNorm", layer_norm(x, one, zero, eps), BLUE),
        ("RMSNorm", rms_norm(x, one, eps), RED),
    )
    note = (
        f"<div style='color:{GREY}'>eps = {eps:g} in both; a bar with an arrow is cut off at"
        " 2</div>"
    )
    return frames.card("".join(_bars(*row) for row in rows) + note)


def _bars(name: str, values: Tensor, colour: str, reach: float = 2) -> str:
    """Draw numbers as bars up or down from a line; one longer than `reach` is cut off and ends in
    an arrow."""
    cells = []
    for value in values.tolist():
        height = 34 * min(abs(value), reach) / reach
        top, tip = (36 - height, "▲") if value >= 0 else (36, "▼")
        look = (
            f"position:absolute;left:22%;width:56%;top:{top:.0f}px;"
            f"height:{max(height, 1):.0f}px;background:{colour}"
        )
        cut = (
            f"<div style='color:white;font-size:9px;text-align:center'>{tip}</div>"
            if abs(value) > reach
            else ""
        )
        line = "<div style='position:absolute;top:36px;width:100%;border-top:1px solid'></div>"
        bar = (
            "<div style='position:relative;height:72px'><div"
            f" style='{look}'>{cut}</div>{line}</div>"
        )
        cells.append(f"<div>{bar}<div style='text-align:center'>{value:.4g}</div></div>")
    look = (
        "display:grid;grid-template-columns:6.5em"
        " repeat(4,5.5em);align-items:center;margin-bottom:8px"
    )
    return f"<div style='{look}'><b style='color:{colour}'>{name}</b>{''.join(cells)}</div>"


# --------------------------------------------------------------------------------------------------
# Sizes through depth
# --------------------------------------------------------------------------------------------------

# stream, slope and trace, layer by layer
Profile = tuple[Sequence[float], Sequence[float], Sequence[float]]


def depth(
    measure: Callable[[int, float], Mapping[str, Profile]],
    depths: Sequence[int],
    scales: Sequence[float],
) -> Widget:
    """Slide the number of layers and the scale of their weights. `measure(depth, scale)` gives, for
    each arrangement, the size of the stream after each layer, the size of the slope there, and the
    trace of the input."""
    pictures = [[_depth_frame(measure(n, scale), n, scale) for scale in scales] for n in depths]
    start = (depths.index(30) if 30 in depths else 0, scales.index(1.0) if 1.0 in scales else 0)
    return frames.grid(
        pictures,
        {"layers": list(depths), "weight scale": [f"{scale:g}" for scale in scales]},
        start,
    )


def _depth_frame(profiles: Mapping[str, Profile], n_layers: int, scale: float) -> str:
    told = "; ".join(
        f"{name}: stream {up[-1]:.2g}, slope {down[0]:.2g}, trace {trace[-1]:.2f}"
        for name, (up, down, trace) in profiles.items()
    )
    alt = (
        f"{n_layers} layers, weight scale {scale:g}. Stream and trace at the end, slope at the"
        f" start. {told}."
    )
    return frames.image(draw_profiles(profiles), alt=alt, dpi=100, colours=200)


def draw_profiles(profiles: Mapping[str, Profile]) -> Figure:
    """Draw stream, slope and trace against depth, side by side, on scales that are the same for
    every stack."""
    fig, axes = plt.subplots(1, 3, figsize=(10.6, 3.4))
    titles = ("size of the stream", "size of the slope", "trace of the input")
    for side, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        ax.set_ylim(*((-0.1, 1.05) if side == 2 else (1e-2, 1e10)))
        series = {
            name: (np.arange(len(profile[side])), profile[side])
            for name, profile in profiles.items()
        }
        plots.lines(
            series, ax=ax, x="layer", y="" if side else "log scale", log_y=side < 2, markers=False
        )
        ax.set_title(title)
        for name in ax.texts:
            name.set_visible(side == 2)  # the panels share the names at the right
    return fig


# --------------------------------------------------------------------------------------------------
# Learning rates
# --------------------------------------------------------------------------------------------------


def learning_rates(
    curves: Mapping[str, Tensor],
    rates: Sequence[float],
    baseline: float,
    ceiling: float,
    start: int = 0,
) -> Widget:
    """Slide the learning rate; see the loss at each step, for each arrangement of shape (steps,
    seeds, rates)."""
    pictures = [_rate_frame(curves, i, rate, baseline, ceiling) for i, rate in enumerate(rates)]
    return frames.slideshow(
        pictures, [f"{rate:.2g}" for rate in rates], "learning rate", start=start
    )


def _rate_frame(
    curves: Mapping[str, Tensor], i: int, rate: float, baseline: float, ceiling: float
) -> str:
    fig, ax = plt.subplots(figsize=(7.6, 3.8))
    broken = []
    for k, (name, runs) in enumerate(curves.items()):
        one = runs[:, :, i].nan_to_num(nan=torch.inf)
        shown = _smooth(one.clamp(max=1e3))
        for seed in range(shown.shape[1]):
            label = name if seed == 0 else None
            ax.plot(
                shown[:, seed], color=COLOURS[k], linestyle=DASHES[k], linewidth=1.5, label=label
            )
        broken += [name] * bool((one[-1] > 4).any())
    known = ((baseline, "letter frequencies", GREY), (ceiling, "three letters, counted", SKY))
    for height, text, colour in known:
        ax.axhline(height, color=colour, linewidth=1, linestyle=":", label=text)
    ax.set(xlabel="step", ylabel="loss, nats per letter", ylim=(1.4, 4.0))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    ax.set_title(f"learning rate {rate:.2g}")
    state = f"above the picture: {', '.join(broken)}" if broken else "all stay in the picture"
    alt = f"Loss against step at learning rate {rate:.2g}, three seeds each; {state}."
    return frames.image(fig, alt=alt, dpi=100, colours=200)


def _smooth(runs: Tensor, span: int = 5) -> Tensor:
    """Average each value with the ones just before it, up to `span` of them, along the first axis.

    >>> _smooth(torch.tensor([[2.0], [4.0], [6.0]]), span=2).flatten()
    tensor([2., 3., 5.])
    """
    return torch.stack([runs[max(0, t - span + 1) : t + 1].mean(0) for t in range(len(runs))])
