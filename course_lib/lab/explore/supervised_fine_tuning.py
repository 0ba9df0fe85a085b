"""Figures of lesson 22: who sees whom in a packed row, and how few directions a change needs."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, RED

EXAMPLE_COLOURS = (BLUE, "#8a5a00", "#0a6b58", "#9c3f77")  # dark enough for text on white

# --------------------------------------------------------------------------------------------------
# A packed row
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PackedRow:
    """One row of tokens: which example each is from, and whether it is learnt."""

    tokens: Sequence[str]
    examples: Sequence[int]
    learnt: Sequence[bool]


def packed(row: PackedRow, start: int = 0) -> frames.Explorer:
    """Choose a mask and slide from token to token; see what each may look at."""
    masks = ("causal mask alone", "examples kept apart")
    pictures = [
        [_packed(row, place, apart) for place in range(len(row.tokens))] for apart in (False, True)
    ]
    axes = {"mask": masks, "token": range(1, len(row.tokens) + 1)}
    return frames.grid(pictures, axes, start=(0, start))


def _packed(row: PackedRow, place: int, apart: bool) -> str:
    """Draw the row as text, what the token sees in colour, and the mask as a picture."""
    own = row.examples[place]
    seen = [key for key in range(place + 1) if not apart or row.examples[key] == own]
    foreign = sum(row.examples[key] != own for key in seen)
    words = "".join(_word(row, key, key in seen, key == place) for key in range(len(row.tokens)))
    says = (
        f"Token {place + 1} belongs to example {own + 1} and sees {len(seen)} tokens, "
        f"{foreign} of them of other examples."
    )
    return frames.card(
        f'<div style="min-height: 3.2em">{words}</div>'
        f'<div style="margin: 4px 0">{says} Underlined: what is learnt; the end of each answer is'
        " a target only.</div>"
        f"{_mask_picture(row, place, apart, says)}"
    )


def _word(row: PackedRow, key: int, seen: bool, here: bool) -> str:
    colour = EXAMPLE_COLOURS[row.examples[key] % len(EXAMPLE_COLOURS)]
    style = f"color: {colour if seen else '#6b6b6b'};"
    style += " text-decoration: underline;" if row.learnt[key] else ""
    style += f" outline: 2px solid {RED}; font-weight: bold;" if here else ""
    word = html.escape(row.tokens[key]).replace("\n", "&#8629; ")
    return f'<span style="{style}">{word}</span>'


def _mask_picture(row: PackedRow, place: int, apart: bool, says: str) -> str:
    """Draw the mask: queries down, keys across; one triangle, or one for each example."""
    size, unit = len(row.tokens), 220 / len(row.tokens)
    borders = [0, *(i for i in range(1, size) if row.examples[i] != row.examples[i - 1]), size]
    marks = ""
    for first, end in zip(borders[:-1], borders[1:], strict=True):
        colour = EXAMPLE_COLOURS[row.examples[first] % len(EXAMPLE_COLOURS)]
        a, b, left = first * unit, end * unit, first * unit if apart else 0
        points = f"{left:.1f},{a:.1f} {a:.1f},{a:.1f} {b:.1f},{b:.1f} {left:.1f},{b:.1f}"
        marks += f'<polygon points="{points}" fill="{colour}" fill-opacity="0.55"/>'
    marks += (
        f'<rect x="0" y="{place * unit:.1f}" width="220" height="{unit:.1f}" fill="none"'
        f' stroke="{RED}" stroke-width="1.5"/>'
        f'<rect x="0" y="0" width="220" height="220" fill="none" stroke="{GREY}"/>'
        f'<text x="228" y="14" fill="{BLACK}">rows: the token that looks</text>'
        f'<text x="228" y="32" fill="{BLACK}">columns: the token looked at</text>'
    )
    label = html.escape(f"The mask of the row as triangles under the diagonal. {says}", quote=True)
    return (
        f'<svg role="img" aria-label="{label}" viewBox="-2 -2 420 224"'
        ' style="width:100%;max-width:420px" font-family="sans-serif" font-size="12">'
        f"{marks}</svg>"
    )


# --------------------------------------------------------------------------------------------------
# Ranks of a change
# --------------------------------------------------------------------------------------------------


def change_ranks(
    change: Tensor,
    kept: Mapping[int, Tensor],
    accuracy: Mapping[int, float],
    whole: float,
    none: float,
) -> frames.Explorer:
    """Slide the rank; see what is kept of a learnt change, and the accuracy if all matrices keep so
    much. `whole` is the accuracy with all of it, `none` that of the base."""
    pictures = [_change(change, kept[rank], rank, accuracy, whole, none) for rank in kept]
    return frames.slideshow(pictures, list(kept), name="rank")


def _change(
    change: Tensor,
    part: Tensor,
    rank: int,
    accuracy: Mapping[int, float],
    whole: float,
    none: float,
) -> str:
    fig, axes = plt.subplots(1, 3, figsize=(9.2, 2.9), width_ratios=[1.4, 1.4, 1.6])
    limit = change.abs().max().item()
    lost = ((change - part).norm() / change.norm()).item()
    for ax, table, title in ((axes[0], change, "learnt change"), (axes[1], part, f"rank {rank}")):
        ax.imshow(table.numpy(), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        ax.set(xticks=[], yticks=[], title=title, xlabel="inputs", ylabel="outputs")
    ranks, values = list(accuracy), list(accuracy.values())
    axes[2].semilogx(ranks, values, color=BLUE, marker="o", base=2)
    axes[2].axhline(whole, color=GREY, linestyle="--")
    axes[2].axhline(none, color=GREY, linestyle=":")
    axes[2].plot([rank], [accuracy[rank]], marker="o", markersize=12, color=RED, mfc="none")
    axes[2].set(xlabel="rank kept in every matrix", ylabel="sums right, greedy", ylim=(0, 1.08))
    axes[2].set_xticks(ranks, [str(each) for each in ranks], minor=False)
    axes[2].minorticks_off()
    axes[2].set_title("dotted: base, dashed: all of it", fontsize=10)
    said = (
        f"Rank {rank}: {lost:.0%} of the change's size is lost, {accuracy[rank]:.0%} of sums right"
    )
    return frames.image(
        fig, alt=f"{said}; the base has {none:.0%}, all of the change {whole:.0%}.", colours=96
    )
