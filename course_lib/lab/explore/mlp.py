"""Figures of lesson 07: a dial from a straight line to ReLU, a text's way through the residual
stream, the activations of trained neurons."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from ipywidgets import Widget
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.lab import plots
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, RED

# --------------------------------------------------------------------------------------------------
# From a straight line to ReLU
# --------------------------------------------------------------------------------------------------


def swish(x: Tensor, beta: float) -> Tensor:
    """Let x through by the share sigmoid(beta * x): half of it at beta 0, SiLU at 1, nearly ReLU at
    50.

    >>> swish(torch.tensor([-2.0, 2.0]), beta=0), swish(torch.tensor([-2.0, 2.0]), beta=1)
    (tensor([-1.,  1.]), tensor([-0.2384,  1.7616]))
    """
    return x * torch.sigmoid(beta * x)


def sharpness_dial(stored: Mapping[float, Sequence[int]], n_facts: int, start: float) -> Widget:
    """Slide the sharpness beta of `swish`; see its curve and derivative, and how many facts a
    small memory then stored."""
    betas = list(stored)
    pictures = [_sharpness_frame(beta, stored, n_facts) for beta in betas]
    return frames.slideshow(
        pictures, [f"{beta:g}" for beta in betas], "sharpness β", start=betas.index(start)
    )


def _sharpness_frame(beta: float, stored: Mapping[float, Sequence[int]], n_facts: int) -> str:
    fig, (curve, facts) = plt.subplots(1, 2, figsize=(8.2, 3.2), width_ratios=(1, 1.15))
    x = torch.linspace(-4, 4, 161)
    asked = x.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(swish(asked, beta).sum(), asked)
    curve.plot(x, x.relu(), color=GREY, linestyle=":", linewidth=1.5)
    curve.plot(x, swish(x, beta), color=BLUE)
    curve.plot(x, derivative, color=RED, linestyle="--")
    curve.set(xlabel="pre-activation x", xlim=(-4, 4), ylim=(-2.1, 4.1))
    curve.set_title(f"x · sigmoid({beta:g} x)")
    for height, name, colour in (
        (3.6, "curve", BLUE),
        (3.1, "derivative", RED),
        (2.6, "ReLU", GREY),
    ):
        curve.text(-3.8, height, name, color=colour, fontweight="bold", fontsize=9.5)
    _dots(facts, beta, stored, n_facts)
    alt = (
        f"Sharpness {beta:g}: the curve is {swish(torch.tensor(-2.0), beta):.2f} at -2 and"
        f" {swish(torch.tensor(2.0), beta):.2f} at 2. The memory stored {_span(stored[beta])} of"
        f" {n_facts} facts."
    )
    return frames.image(fig, alt=alt, dpi=110, colours=32)


def _dots(ax: Axes, beta: float, stored: Mapping[float, Sequence[int]], n_facts: int) -> None:
    """Mark the facts stored by each run at each sharpness, those at `beta` in red."""
    for i, (other, runs) in enumerate(stored.items()):
        now = other == beta
        ax.plot(
            [i] * len(runs), runs, "o", color=RED if now else "#a9b4bd", markersize=7 if now else 4
        )
    ax.axhline(n_facts, color=BLACK, linewidth=1, linestyle="--")
    ax.text(0, n_facts + 8, "all facts", fontsize=9)
    ax.set_xticks(range(len(stored)), [f"{other:g}" for other in stored])
    ax.set(xlabel="sharpness β", ylabel="facts stored", ylim=(0, 1.12 * n_facts))
    ax.set_title(f"stored: {_span(stored[beta])}")


def _span(runs: Sequence[int]) -> str:
    """Name the lowest and the highest of some counts.

    >>> _span([115, 118, 114]), _span([288, 288])
    ('114 to 118', '288')
    """
    return f"{min(runs)} to {max(runs)}" if min(runs) < max(runs) else f"{min(runs)}"


# --------------------------------------------------------------------------------------------------
# A text on its way through the residual stream
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """One question on its way: the words read, the attention weights (H, T) of the last of them,
    the probabilities of each answer, read from the residual stream after each step, and the right
    answer."""

    words: Sequence[str]
    weights: Tensor
    probabilities: Mapping[str, Mapping[str, float]]
    right: str


def walk(walks: Mapping[str, Walk], start: tuple[int, int]) -> Widget:
    """Choose a question and a step; see which words the heads attend to, and what the residual
    stream would answer by then."""
    pictures = [
        [_step(one, step) for step in range(len(one.probabilities))] for one in walks.values()
    ]
    steps = list(next(iter(walks.values())).probabilities)
    return frames.grid(pictures, {"question": list(walks), "after": steps}, start)


def _step(one: Walk, step: int) -> str:
    name = list(one.probabilities)[step]
    guesses = _guesses(one.probabilities[name], one.right, name)
    return frames.card(
        '<div style="display:flex;flex-wrap:wrap;gap:14px 34px;min-height:13em">'
        f'<div style="flex:3 1 300px">{_text(one, attended=step >= 1)}</div>'
        f'<div style="flex:2 1 230px">{guesses}</div></div>'
    )


def _text(one: Walk, attended: bool) -> str:
    """Write the words, those that a head attends to marked by its number, and say in words which
    head attends to what."""
    words, told = "", []
    best = one.weights.argmax(-1).tolist()
    for t, word in enumerate(one.words):
        heads = [str(h + 1) for h, position in enumerate(best) if position == t and attended]
        look = "background:#fbe3b0;" if heads else ""
        look += f"box-shadow:inset 0 0 0 2px {BLUE};" if t == len(one.words) - 1 else ""
        below = (
            '<span style="display:block;font-size:.72em;height:1.4em">'
            f"{','.join(heads) or '&nbsp;'}</span>"
        )
        words += (
            '<span style="display:inline-block;text-align:center;padding:0'
            f' 5px;margin:1px;border-radius:4px;{look}"><b>{html.escape(word)}</b>{below}</span>'
        )
    for h, position in enumerate(best if attended else []):
        word, weight = html.escape(one.words[position]), one.weights[h, position]
        told.append(f"head {h + 1}: <b>{word}</b> {weight:.0%}")
    note = (
        "Largest weight of each head: " + ", ".join(told)
        if attended
        else "No head has attended to anything yet."
    )
    return (
        f'<div style="line-height:1.3">{words}</div><div'
        f' style="font-size:.9em;margin-top:8px">{note}</div>'
    )


def _guesses(probabilities: Mapping[str, float], right: str, name: str) -> str:
    """Draw the probabilities of the answers as bars; the right one is marked by a word, not by
    colour alone."""
    rows = ""
    for answer, probability in probabilities.items():
        colour, mark = (BLUE, " ◀ right") if answer == right else ("#a9b4bd", "")
        look = (
            "display:inline-block;vertical-align:middle;height:.85em;"
            f"width:{max(1, round(62 * probability))}%;background:{colour}"
        )
        rows += (
            '<div style="display:grid;grid-template-columns:3.6em 1fr;align-items:center">'
            f'<span style="text-align:right;padding-right:8px">{html.escape(answer)}</span>'
            f'<span><span style="{look}"></span> {probability:.0%}{mark}</span></div>'
        )
    return (
        f'<div style="font-size:13px"><b>The answer, read after {html.escape(name)}</b>{rows}</div>'
    )


# --------------------------------------------------------------------------------------------------
# The activations of trained neurons
# --------------------------------------------------------------------------------------------------


def neurons(
    activations: Mapping[str, Tensor],
    pushes: Mapping[str, Mapping[str, float]],
    rows: Sequence[str],
    columns: Sequence[str],
    start: int = 0,
) -> Widget:
    """Choose a neuron; see its activation for each pair of a row and a column, and which answers it
    then pushes."""
    pictures = [
        _neuron(name, table, pushes[name], rows, columns) for name, table in activations.items()
    ]
    return frames.slideshow(pictures, list(activations), "neuron", play=False, start=start)


def _neuron(
    name: str,
    table: Tensor,
    pushes: Mapping[str, float],
    rows: Sequence[str],
    columns: Sequence[str],
) -> str:
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.8), width_ratios=(1.7, 1))
    reach = table.abs().max().item()
    plots.heatmap(table, ax=left, rows=rows, columns=columns, bar="activation", numbers=False,
                  limits=(-reach, reach), title=f"neuron {name}: its activation")  # fmt: skip
    left.images[0].set_cmap("PuOr")
    left.tick_params(labelsize=8)
    left.set_xticks(range(len(columns)), columns, rotation=60)
    right.barh(
        list(pushes),
        list(pushes.values()),
        color=[BLUE if push > 0 else RED for push in pushes.values()],
    )
    right.axvline(0, color=BLACK, linewidth=1)
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
    right.set_title("and the logits it pushes")
    right.set_xlabel("logit per unit of activation")
    pair = divmod(int(table.abs().argmax()), len(columns))
    alt = (
        f"Neuron {name} is furthest from 0 for {rows[pair[0]]} and {columns[pair[1]]}, by"
        f" {table[pair]:.1f}; each unit of activation lifts {max(pushes, key=pushes.get)} most and"
        f" lowers {min(pushes, key=pushes.get)} most."
    )
    return frames.image(fig, alt=alt, dpi=100, colours=200)
