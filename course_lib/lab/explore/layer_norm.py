"""Figures of lesson 05: what a norm ignores, activations through a deep stack, and learning rates
that hold or break."""

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
from course_lib.lab.progress import track_progress
from course_lib.layers.norm import layer_norm, rms_norm

# --------------------------------------------------------------------------------------------------
# Four numbers
# --------------------------------------------------------------------------------------------------

SCALES = (0.001, 0.01, 0.1, 1, 10, 100)
SHIFTS = (-12, -6, 0, 6, 12)


def four_numbers(x: Sequence[float] = (1, 7, 7, 9), eps: float = 1e-5) -> Widget:
    """Scale and shift four numbers; see what LayerNorm and RMSNorm make of them."""
    x = torch.tensor(x, dtype=torch.float32)
    pictures = [[_four_frame(scale * (x + shift), eps) for shift in SHIFTS] for scale in SCALES]
    rows = [f"x {scale:g}" for scale in SCALES]
    return frames.grid(
        pictures, {"scale": rows, "shift": [f"{shift:+d}" for shift in SHIFTS]}, start=(4, 2)
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
# Activations through depth
# --------------------------------------------------------------------------------------------------

# stream, gradient and cosine with the input, layer by layer
Profile = tuple[Sequence[float], Sequence[float], Sequence[float]]


def depth(
    measure: Callable[[int, float], Mapping[str, Profile]],
    depths: Sequence[int],
    scales: Sequence[float],
) -> Widget:
    """Slide the number of layers and the scale of their weights; see stream and gradient grow or
    fade. `measure(depth, scale)` gives, for each arrangement, the RMS of the stream after each
    layer, the RMS of the gradient there, and the cosine of the stream with the input."""
    pictures = [
        [_depth_frame(measure(n, scale), n, scale) for scale in scales]
        for n in track_progress(depths, "measuring stacks")
    ]
    start = (depths.index(30) if 30 in depths else 0, scales.index(1.0) if 1.0 in scales else 0)
    return frames.grid(
        pictures,
        {"layers": list(depths), "weight scale": [f"{scale:g}" for scale in scales]},
        start,
    )


def _depth_frame(profiles: Mapping[str, Profile], n_layers: int, scale: float) -> str:
    told = "; ".join(
        f"{name}: stream {up[-1]:.2g}, gradient {down[0]:.2g}, cosine {cosine[-1]:.2f}"
        for name, (up, down, cosine) in profiles.items()
    )
    alt = (
        f"{n_layers} layers, weight scale {scale:g}. RMS of the stream and its cosine with the"
        f" input at the end, RMS of the gradient at the start. {told}."
    )
    return frames.image(draw_profiles(profiles), alt=alt, dpi=100, colours=200)


def draw_profiles(profiles: Mapping[str, Profile]) -> Figure:
    """Draw stream, gradient and cosine against depth, side by side, on scales that are the same for
    every stack."""
    fig, axes = plt.subplots(1, 3, figsize=(10.6, 3.4))
    titles = ("RMS of the residual stream", "RMS of the gradient", "cosine with the input")
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
    unigram: float,
    four_gram: float,
    start: int = 0,
) -> Widget:
    """Slide the learning rate; see the loss of each arrangement at each step, beside those of two
    n-gram models. `curves` are of shape (steps, seeds, rates)."""
    pictures = [
        _rate_frame(curves, i, rate, unigram, four_gram)
        for i, rate in enumerate(track_progress(rates, "drawing"))
    ]
    return frames.slideshow(
        pictures, [f"{rate:.2g}" for rate in rates], "learning rate", start=start
    )


def _rate_frame(
    curves: Mapping[str, Tensor], i: int, rate: float, unigram: float, four_gram: float
) -> str:
    fig, ax = plt.subplots(figsize=(7.6, 3.8))
    broken = []
    for k, (name, runs) in enumerate(curves.items()):
        one = runs[:, :, i].nan_to_num(nan=torch.inf)
        shown = _smooth(one.clamp(max=1e3))
        ax.plot(shown.mean(1), color=COLOURS[k], linestyle=DASHES[k], label=name)
        low, high = shown.amin(1), shown.amax(1)
        ax.fill_between(range(len(shown)), low, high, color=COLOURS[k], alpha=0.15, linewidth=0)
        broken += [name] * bool((one[-1] > 4).any())
    for height, text, colour in ((unigram, "unigram", GREY), (four_gram, "4-gram", SKY)):
        ax.axhline(height, color=colour, linewidth=1, linestyle=":", label=text)
    bands = f"step   (bands: lowest to highest of {runs.shape[1]} seeds)"
    ax.set(xlabel=bands, ylabel="loss, nats per letter", ylim=(1.4, 4.0))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    ax.set_title(f"learning rate {rate:.2g}")
    state = f"above the picture: {', '.join(broken)}" if broken else "all stay in the picture"
    alt = f"Loss against step at learning rate {rate:.2g}, mean and range of the seeds; {state}."
    return frames.image(fig, alt=alt, dpi=100, colours=200)


def _smooth(runs: Tensor, span: int = 5) -> Tensor:
    """Average each value with the ones just before it, up to `span` of them, along the first axis.

    >>> _smooth(torch.tensor([[2.0], [4.0], [6.0]]), span=2).flatten()
    tensor([2., 3., 5.])
    """
    return torch.stack([runs[max(0, t - span + 1) : t + 1].mean(0) for t in range(len(runs))])
