"""Figures of lesson 11: the valley under a sliding budget, and the best size when answers cost
too."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter, NullLocator

from course_lib.experiments.scaling_fit import LossLaw
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, RED

TICKS = (3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)  # of log axes: few, in round numbers


def short_number(value: float) -> str:
    """Write a large number with one letter.

    >>> [short_number(x) for x in (820, 12_300, 2.5e10, 3.2e12)]
    ['820', '12 k', '25 G', '3.2 T']
    """
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return (
                f"{value / size:.2g} {letter}"
                if value < 100 * size
                else f"{value / size:.0f} {letter}"
            )
    return f"{value:.0f}"


def budget_slider(
    law: LossLaw,
    measured: Mapping[float, Sequence[tuple[float, float]]],
    budgets: Sequence[float],
    flops_per_token: Mapping[float, float],
    start: int = 0,
) -> frames.Explorer:
    """Slide the budget; see the law's curve over the sizes, the best size, and runs where there are
    some.

    `measured` holds (N, loss) of each budget that was run, `flops_per_token` what a token costs at
    each size.
    """
    sizes = np.array(sorted(flops_per_token))
    curves = {C: _losses(law, sizes, flops_per_token, C) for C in budgets}
    lows = {C: sizes[curve.argmin()] for C, curve in curves.items()}
    reached = [loss for C in budgets for _, loss in measured.get(C, ())]
    floors = [curve.min() for curve in curves.values()]
    low = min([*reached, *floors]) - 0.1
    limits = low, max(low + 2.6, max(floors) + 0.1)
    pictures = [_valley(C, sizes, curves, lows, measured.get(C, ()), limits) for C in budgets]
    return frames.slideshow(pictures, [short_number(C) for C in budgets], name="FLOPs", start=start)


def _losses(
    law: LossLaw, sizes: np.ndarray, flops_per_token: Mapping[float, float], budget: float
) -> np.ndarray:
    """Predict the loss of every size when the budget buys its tokens."""
    return law.loss(sizes, np.array([budget / flops_per_token[n] for n in sizes]))


def _valley(budget, sizes, curves, lows, runs, limits) -> str:
    """Draw one budget: its curve, the runs, and the floors of all smaller budgets as a trail."""
    fig, ax = plt.subplots(figsize=(6.8, 3.6))
    trail = [C for C in curves if C <= budget]
    ax.plot(
        [lows[C] for C in trail], [curves[C].min() for C in trail],
        color=GREY, marker="o", markersize=4, linewidth=1, label="floors so far",
    )  # fmt: skip
    ax.plot(sizes, curves[budget], color=BLUE, label="the law")
    if runs:
        ax.plot(*zip(*runs, strict=True), "s", color=RED, markersize=5, label="runs")
    ax.plot(lows[budget], curves[budget].min(), "o", color=BLACK, markersize=8)
    ax.set(xscale="log", ylim=limits, xlabel="parameters N", ylabel="loss (nats per token)")
    ticks = [tick for tick in TICKS if sizes[0] <= tick <= sizes[-1]]
    ax.set_xticks(ticks, [short_number(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(loc="upper right", fontsize=9)
    told = f"best size {short_number(lows[budget])} parameters, loss {curves[budget].min():.2f}"
    ax.set_title(f"{short_number(budget)} FLOPs: {told}")
    alt = f"Loss over model size at {short_number(budget)} FLOPs: a valley; {told}."
    return frames.image(fig, alt=alt)


def served_tokens(
    law: LossLaw, n_parameters: float, n_tokens: float, served: Sequence[float], start: int = 0
) -> frames.Explorer:
    """Slide how many tokens a model will answer; see which size gives the same loss for the least
    compute in all, training and answers together.

    The loss is that of `n_parameters` trained on `n_tokens`. Training costs 6 N D, answers 2 N per
    token.
    """
    goal = float(law.loss(n_parameters, n_tokens))
    sizes = n_parameters * np.geomspace(0.12, 4, 120)
    sizes = sizes[law.loss(sizes, np.inf) < goal]
    tokens = tokens_for_loss(law, sizes, goal)
    dearest = (6 * sizes * tokens + 2 * sizes * max(served)).min()
    pictures = [_total_cost(sizes, tokens, answers, n_parameters, dearest) for answers in served]
    return frames.slideshow(
        pictures, [short_number(answers) for answers in served], name="answered", start=start
    )


def tokens_for_loss(law: LossLaw, sizes: np.ndarray, goal: float) -> np.ndarray:
    """Tell how many tokens each size needs to reach a loss that it can reach."""
    return (law.B / (goal - law.E - law.A / sizes**law.a)) ** (1 / law.b)


def _total_cost(sizes, tokens, answers: float, n_parameters: float, dearest: float) -> str:
    """Draw training, answers and their sum over the sizes that reach the same loss; `dearest` is
    the lowest sum that any picture of the row has to show."""
    training, answering = 6 * sizes * tokens, 2 * sizes * answers
    total = training + answering
    best = total.argmin()
    fig, ax = plt.subplots(figsize=(6.8, 3.6))
    ax.plot(sizes, total, color=BLUE, label="together")
    ax.plot(sizes, training, color=GREY, linestyle="--", label="training")
    ax.plot(sizes, answering, color=RED, linestyle=":", label="answering")
    ax.plot(sizes[best], total[best], "o", color=BLACK, markersize=8)
    ax.set(xscale="log", yscale="log", xlabel="parameters N", ylabel="FLOPs")
    ax.set_ylim(training.min() / 30, max(training.min() * 30, 3 * dearest))
    marks = [n_parameters * factor for factor in (0.125, 0.25, 0.5, 1, 2, 4)]
    ax.set_xticks(marks, [short_number(mark) for mark in marks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(loc="lower right", fontsize=9)
    ratio = tokens[best] / sizes[best]
    told = f"{short_number(sizes[best])} parameters, {ratio:.0f} tokens for each"
    ax.set_title(
        f"{short_number(answers)} tokens answered: {told}" if answers else f"No answers: {told}"
    )
    alt = (
        f"Compute over model size, all at one loss, with {short_number(answers)} tokens answered:"
        f" least at {told}."
    )
    return frames.image(fig, alt=alt)
