"""Figures of lesson 19: what a rank costs and saves, and what stretches a rotation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, RED

# --------------------------------------------------------------------------------------------------
# A rank
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankView:
    """What keeping `rank` numbers per token and layer saves and costs."""

    rank: int
    cache_bytes: int  # per token and layer
    keys: Tensor  # (tokens, numbers), as they come back from the latent
    loss: float  # bits per byte


def ranks(
    views: Sequence[RankView], keys: Tensor, own: tuple[int, float], start: int
) -> frames.Explorer:
    """Slide the rank; see the cache, some keys as they come back, and the loss.

    `keys` are the true ones, `own` are the bytes and the loss of the model that keeps them all.
    """
    pictures = [_rank(view, views, keys, own) for view in views]
    return frames.slideshow(pictures, [view.rank for view in views], name="rank", start=start)


def rebuilt_error(keys: Tensor, rebuilt: Tensor) -> float:
    """The size of what is lost, as a share of the keys' own size."""
    return ((keys - rebuilt).norm() / keys.norm()).item()


def _rank(view: RankView, views: Sequence[RankView], keys: Tensor, own: tuple[int, float]) -> str:
    """Draw true keys above rebuilt ones, a bar of bytes, and the loss with this rank marked."""
    fig = plt.figure(figsize=(9.2, 3.3))
    grid = fig.add_gridspec(2, 3, width_ratios=[2.2, 1, 1.7], wspace=0.42, hspace=0.4)
    limit, error = keys.abs().max().item(), rebuilt_error(keys, view.keys)
    tables = (("the keys", keys), (f"rebuilt: {error:.0%} off", view.keys))
    for row, (name, table) in enumerate(tables):
        ax = fig.add_subplot(grid[row, 0])
        ax.imshow(table.numpy(), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        ax.set(xticks=[], yticks=[], ylabel="tokens", title=name)
    ax.set_xlabel("numbers of all heads")
    bars = fig.add_subplot(grid[:, 1])
    bars.bar(["all", "latent"], [own[0], view.cache_bytes], color=[GREY, BLUE])
    bars.set_title(f"{view.cache_bytes} of {own[0]} bytes")
    bars.set_ylabel("per token and layer")
    curve = fig.add_subplot(grid[:, 2])
    curve.plot([v.rank for v in views], [v.loss for v in views], color=BLUE)
    curve.axhline(own[1], color=GREY, linestyle="--", label="all kept")
    curve.legend(fontsize=8)
    curve.plot(view.rank, view.loss, "o", color=RED, markersize=8)
    curve.set(xlabel="rank", ylabel="bits per byte", title=f"{view.loss:.3f} bits per byte")
    return frames.image(
        fig,
        alt=f"Rank {view.rank}: {view.cache_bytes} of {own[0]} bytes per token and layer; the"
        f" keys come back with an error of {error:.0%} of their size; the loss is"
        f" {view.loss:.3f} bits per byte, with all keys kept {own[1]:.3f}.",
        dpi=110,
    )


# --------------------------------------------------------------------------------------------------
# Longer than trained
# --------------------------------------------------------------------------------------------------


def stretched_pairs(
    kept: Tensor, ways: Mapping[str, Tensor], length: int, factor: int, start: int
) -> frames.Explorer:
    """Choose how rotations are stretched; see for each pair how far it turns, and how fine.

    `kept` are the frequencies in training on `length` tokens, `ways` those that read `factor` times
    as many.
    """
    pictures = [_pairs(name, kept, new, length, factor) for name, new in ways.items()]
    return frames.choose(pictures, list(ways), name="way", start=start)


def unseen_pairs(kept: Tensor, new: Tensor, length: int, factor: int) -> list[int]:
    """Which pairs reach angles that training never showed: no full turn then, and further now."""
    most, now = kept * length, new * length * factor
    return torch.nonzero((most < 2 * math.pi) & (now > most * 1.001)).flatten().tolist()


def _pairs(name: str, kept: Tensor, new: Tensor, length: int, factor: int) -> str:
    """Draw the turns at the last token, in training and now, and the step between neighbours."""
    unseen, numbers = unseen_pairs(kept, new, length, factor), np.arange(len(kept))
    turns = [(f * n / (2 * math.pi)).numpy() for f, n in ((kept, length), (new, factor * length))]
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.3))
    colours = [RED if i in unseen else BLUE for i in numbers]
    left.scatter(numbers, turns[0], color=GREY, marker="_", s=60, label="last token in training")
    left.scatter(numbers, turns[1], color=colours, s=18, label="last token now")
    left.axhline(1, color=BLACK, linewidth=0.8)
    left.set(yscale="log", xlabel="pair", ylabel="turns", title=f"{len(unseen)} pairs turn too far")
    left.legend(fontsize=8)
    right.bar(numbers, (new / kept).numpy(), color=GREEN)
    right.set(ylim=(0, 1.05), xlabel="pair", ylabel="share of the trained step")
    right.set_title("How far apart neighbours are turned")
    return frames.image(
        fig,
        alt=f"{name}, {factor} times the trained length: {len(unseen)} of {len(kept)} pairs reach"
        f" angles that training never showed. The step between neighbouring tokens is"
        f" {(new / kept)[0]:.2f} of the trained one for the fastest pair and"
        f" {(new / kept)[-1]:.2f} for the slowest.",
        dpi=110,
    )
