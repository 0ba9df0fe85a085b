"""A figure of lesson 24: choose a run of practice, and see six curves of its log beside a sound
one."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, GREY, ORANGE

# of each panel: what it is called, and the measures that it draws by the names they are given
LOG_PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("right, and paid as right", {"accuracy": "right", "reward: accuracy": "paid"}),
    ("reward", {"reward": "reward"}),
    ("tokens per answer", {"length": "written", "loss tokens": "in the loss"}),
    ("entropy, nats per token", {"entropy": "entropy"}),
    ("sampling against loss, nats", {"sampling gap": "gap"}),
    ("reward with length, correlation", {"length pays": "in groups"}),
)


def choose_run(
    logs: Mapping[str, Mapping[str, Sequence[float]]], sound: str = "healthy", start: int = 1
) -> frames.Explorer:
    """Choose a run by its letter; see six panels of its log, and in grey those of the sound run.

    `logs` holds measures by name, of each run. All panels of a place have the same scale.
    """
    if sound not in logs:
        raise ValueError(f"no run {sound!r} among {', '.join(logs)}")
    limits = [_limits(logs, panel) for _, panel in LOG_PANELS]
    pictures = [_log_frame(name, logs[name], logs[sound], limits) for name in logs]
    return frames.choose(pictures, list(logs), "run", start)


def _limits(
    logs: Mapping[str, Mapping[str, Sequence[float]]], panel: Mapping[str, str]
) -> tuple[float, float]:
    """Give the lowest and the highest number of a panel over all runs, with some room."""
    numbers = [x for log in logs.values() for name in panel for x in log.get(name, ()) if x == x]
    low, high = min(0.0, *numbers), max(numbers)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _log_frame(name: str, log: Mapping, sound: Mapping, limits: Sequence) -> str:
    fig, axes = plt.subplots(2, 3, figsize=(9, 4.6), sharex=True)
    told = []
    for ax, (title, panel), limit in zip(axes.flat, LOG_PANELS, limits, strict=True):
        told.append(_draw_panel(ax, title, panel, log, sound, limit))
    for ax in axes[1]:
        ax.set_xlabel("step")
    fig.suptitle("the healthy run" if log is sound else f"run {name}; grey: the healthy run")
    return frames.image(fig, alt=f"Run {name}, from its first step to its last: {'; '.join(told)}.")


def _draw_panel(
    ax: Axes, title: str, panel: Mapping[str, str], log: Mapping, sound: Mapping, limit: tuple
) -> str:
    """Draw one panel; give its ends in words."""
    told = []
    for (measure, label), colour, style in zip(panel.items(), (BLUE, ORANGE), "-:", strict=False):
        if measure in sound:
            ax.plot(range(1, len(sound[measure]) + 1), sound[measure], style, color=GREY, lw=1)
        values = log.get(measure, ())
        ax.plot(range(1, len(values) + 1), values, style, color=colour, label=label)
        ends = [x for x in values if x == x]
        if ends:
            told.append(f"{label} from {ends[0]:.2g} to {ends[-1]:.2g}")
    ax.set_title(title, fontsize=10)
    ax.set_ylim(*limit)
    if len(panel) > 1:
        ax.legend(fontsize=8)
    return f"{title}, {' and '.join(told)}"
