"""Figures of lesson 30: what a token reads, and what a cache holds while a text is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY
from course_lib.layers.attention import visible_keys
from course_lib.layers.compressor import visible_blocks

FAINT = "#dddddd"


@dataclass(frozen=True)
class BlockLayer:
    """One kind of layer: the rate of its blocks, and how many of them a token reads; None: all."""

    name: str
    rate: int
    top_k: int | None = None


def read_by(t: int, T: int, layer: BlockLayer, scores: Tensor) -> tuple[list[int], list[int]]:
    """Give the blocks that are finished for token `t`, and those of them that it reads."""
    visible = visible_blocks(torch.tensor([t]), T // layer.rate, layer.rate)[0]
    finished = visible.nonzero()[:, 0].tolist()
    if layer.top_k is None:
        return finished, finished
    best = sorted(finished, key=lambda i: (-scores[t, i].item(), i))[: layer.top_k]
    return finished, sorted(best)


def reading(
    T: int, window: int, layers: Sequence[BlockLayer], scores: Tensor, start: int
) -> frames.Explorer:
    """Slide along the text; see which tokens and blocks the token reads, and what waits.

    `scores` (T, blocks) are the indexer's, for layers that choose.
    """
    pictures = [_reader(t, T, window, layers, scores) for t in range(T)]
    return frames.slideshow(pictures, list(range(T)), name="token", start=start)


def _reader(t: int, T: int, window: int, layers: Sequence[BlockLayer], scores: Tensor) -> str:
    """Draw the text as a row of cells, and below it a row of blocks for each kind of layer."""
    fig, ax = plt.subplots(figsize=(9.2, 0.9 + 0.75 * (1 + len(layers))))
    near = visible_keys(T, T, window)[t]
    for s in range(T):
        colour = BLACK if s == t else BLUE if near[s] else FAINT if s < t else "white"
        ax.add_patch(Rectangle((s, 0), 0.9, 0.7, facecolor=colour, edgecolor=GREY, linewidth=0.6))
    told, labels = [f"{int(near.sum())} tokens of the window"], ["window"]
    for row, layer in enumerate(layers, start=1):
        finished, read = read_by(t, T, layer, scores)
        colours = {i: (GREEN if layer.top_k is None else ORANGE) for i in read}
        for i in range(T // layer.rate):
            colour = colours.get(i, SKY if i in finished else "white")
            box = Rectangle((i * layer.rate, -row), layer.rate - 0.1, 0.7)
            box.set(facecolor=colour, edgecolor=GREY, linewidth=0.6)
            ax.add_patch(box)
        waiting = (t + 1) % layer.rate
        if waiting:
            box = Rectangle((t + 1 - waiting, -row), waiting - 0.1, 0.7)
            box.set(facecolor=PINK, edgecolor=GREY, linewidth=0.6, hatch="///")
            ax.add_patch(box)
        told.append(f"{len(read)} of {len(finished)} finished blocks in {layer.name}")
        labels.append(layer.name)
    ax.set(xlim=(-0.2, T), ylim=(-len(layers) - 0.2, 0.9), xlabel="place in the text")
    ax.set_yticks([0.35 - row for row in range(len(labels))], labels)
    ax.set_title(f"Token {t} reads " + ", ".join(told), fontsize=10)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return frames.image(fig, alt=f"Token {t} of {T} reads {', '.join(told)}.", dpi=80)
