"""Figures of lesson 10: singular values under Newton-Schulz, rates by optimizer, schedules of runs
of many lengths."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.lab import plots
from course_lib.lab.explore import frames
from course_lib.training.optimizers import orthogonalize

DPI, COLOURS = 110, 32


def newton_schulz(matrix: Float[Tensor, "R C"], rounds: int = 8, start: int = 5) -> frames.Explorer:
    """Take rounds of Newton-Schulz; see where each singular value of a matrix goes."""
    pictures = [_singular_values(matrix, n) for n in range(rounds + 1)]
    return frames.slideshow(pictures, range(rounds + 1), "rounds", start=start)


def singular_values_after(matrix: Float[Tensor, "R C"], rounds: int) -> np.ndarray:
    """The singular values after so many rounds, the largest of the matrix first."""
    U, _, Vh = torch.linalg.svd(matrix, full_matrices=False)
    # along the matrix's own singular vectors: the order is that of the matrix
    return (U * (orthogonalize(matrix, rounds) @ Vh.mT)).sum(0).numpy()


def _singular_values(matrix: Float[Tensor, "R C"], rounds: int) -> str:
    before, after = (singular_values_after(matrix, n) for n in (0, rounds))
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.1), width_ratios=(3, 2))
    left.bar(range(len(after)), after, color=plots.BLUE, width=0.8)
    left.axhspan(0.7, 1.2, color=plots.YELLOW, alpha=0.45, zorder=0)
    left.set(xlabel="singular value, the largest first", ylabel="size", ylim=(0, 1.3))
    left.set_title("Before" if not rounds else f"After {rounds} round{'s' * (rounds > 1)}")
    line = np.linspace(0, before.max(), 300)
    right.plot(line, _iterated(line, rounds), color=plots.RED)
    right.plot(before, after, "o", color=plots.BLUE, markersize=4)
    right.axhspan(0.7, 1.2, color=plots.YELLOW, alpha=0.45, zorder=0)
    right.set(xlabel="size before", ylim=(0, 1.3))
    inside = int(((after > 0.65) & (after < 1.25)).sum())
    alt = (
        f"After {rounds} rounds of Newton-Schulz the singular values lie between {after.min():.2f}"
        f" and {after.max():.2f}; {inside} of {len(after)} are near 1."
    )
    return frames.image(fig, alt, DPI, COLOURS)


def _iterated(values: np.ndarray, rounds: int) -> np.ndarray:
    """Put numbers through the polynomial of Muon."""
    for _ in range(rounds):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


def rates(
    scores: Mapping[str, Mapping[float, Sequence[float]]], start: tuple[int, int]
) -> frames.Explorer:
    """Choose an optimizer and how bold its learning rate is; see what the run comes to.

    `scores` are bits per byte by optimizer and rate, one per seed.
    """
    steps = ["lowest", "low", "middle", "high", "highest"]
    table = [[_rate(scores, name, i) for i in range(len(steps))] for name in scores]
    return frames.grid(table, {"optimizer": list(scores), "rate": steps}, start=start)


def _rate(scores: Mapping[str, Mapping[float, Sequence[float]]], chosen: str, i: int) -> str:
    fig, ax = plt.subplots(figsize=(7.6, 3.4))
    for k, (name, runs) in enumerate(scores.items()):
        colour = plots.COLOURS[k] if name == chosen else "#b9b9b9"
        mean = [np.mean(bits) for bits in runs.values()]
        ax.plot(list(runs), mean, color=colour, marker=plots.MARKERS[k], label=name)
    rate, bits = list(scores[chosen].items())[i]
    ax.plot([rate] * len(bits), bits, "o", color=plots.BLACK, markersize=6, zorder=5)
    ax.set(xscale="log", xlabel="peak learning rate", ylabel="bits per byte, held out")
    ax.legend(loc="upper center")
    means = {r: float(np.mean(b)) for r, b in scores[chosen].items()}
    best = min(means, key=means.get)
    more = means[rate] - means[best]
    told = "the best of the five" if rate == best else f"{more:.2f} above its best, at {best:g}"
    ax.set_title(f"{chosen} at {rate:g}: {means[rate]:.2f} bits per byte, {told}")
    alt = f"{chosen} at a rate of {rate:g} ends at {means[rate]:.3f} bits per byte, {told}."
    return frames.image(fig, alt, DPI, COLOURS)


def schedules(
    shapes: Mapping[str, Callable[[float], float]],
    lengths: Sequence[int] = (100, 150, 200, 250, 300, 350, 400),
    start: int = 4,
) -> frames.Explorer:
    """Slide the length of a run; see which schedules change what has been done already.

    `shapes` give the share of the peak rate by progress.
    """
    pictures = [_schedules(shapes, lengths, i) for i in range(len(lengths))]
    return frames.slideshow(pictures, lengths, "steps", start=start)


def shared_steps(shape: Callable[[float], float], short: int, long: int) -> int:
    """How many of the first steps of two runs have the same rates, to one per cent of the peak."""
    # warm-ups are given in shares of a run too: they are left out by comparing after them
    first = round(0.05 * long)
    for step in range(first, short + 1):
        if abs(shape(step / short) - shape(step / long)) > 0.01:
            return step if step > first else 0
    return short


def _schedules(
    shapes: Mapping[str, Callable[[float], float]], lengths: Sequence[int], i: int
) -> str:
    fig, axes = plt.subplots(1, len(shapes), figsize=(8.8, 2.7), sharey=True)
    told = []
    for k, (ax, (name, shape)) in enumerate(zip(axes, shapes.items(), strict=True)):
        for j, length in enumerate(lengths):
            steps = np.linspace(0, length, 4 * length + 1)
            rates = [shape(float(step) / length) for step in steps]
            look = {"color": plots.COLOURS[k], "lw": 2.2, "zorder": 3}
            ax.plot(steps, rates, **(look if j == i else {"color": "#d0d0d0", "lw": 1}))
        kept = shared_steps(shape, lengths[i], 2 * lengths[i])
        told.append(f"{name} {kept / lengths[i]:.0%}")
        ax.set_title(f"{name}\nkept if doubled: {kept / lengths[i]:.0%}", fontsize=10)
        ax.set(xlabel="step", xlim=(0, lengths[-1]), ylim=(0, 1.08))
    axes[0].set_ylabel("share of the peak rate")
    alt = (
        f"Four schedules of a run of {lengths[i]} steps. Of its steps a run of twice the length"
        f" shares: {', '.join(told)}."
    )
    return frames.image(fig, alt, DPI, COLOURS)
