"""What the sections of the report card share: numbers of several seeds, lists, figures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's, as in the lessons
SEED_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def seed_percents(values: Sequence[float]) -> str:
    """Write shares of several seeds: `seed_percents([0.9, 0.95])` is "90.0, 95.0"."""
    return seed_decimals([100 * value for value in values])


def seed_decimals(values: Sequence[float], digits: int = 1) -> str:
    """Write numbers of several seeds: `seed_decimals([1.72, 1.64])` is "1.7, 1.6"."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def seed_list(runs: Sequence[dict]) -> str:
    """Name the seeds of some runs: "0, 1, 2"."""
    return ", ".join(str(run["seed"]) for run in runs)


def seeds_in_words(runs: Sequence[dict]) -> str:
    """Name the seeds of some runs in a sentence: "seed 0" or "seeds 0, 1, 2"."""
    return f"{'seed' if len(runs) == 1 else 'seeds'} {seed_list(runs)}"


def code_in_cell(text: str) -> str:
    """Write an answer as code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|").replace("\n", " ")


def list_experiments(
    experiments: Mapping[str, Callable], made: Mapping[str, Sequence[dict]]
) -> str:
    """List the experiments that were made: for which seeds, and what each asks.

    What it asks is the first paragraph of its docstring. `made` has the runs of each by its name.
    """
    lines = []
    for name, experiment in experiments.items():
        if made[name]:
            asks = " ".join((experiment.__doc__ or "").partition("\n\n")[0].split())
            lines.append(f"- `{name}`, {seeds_in_words(made[name])}: {asks}")
    return "\n".join(lines)


def with_colours(runs: Sequence[dict]) -> Iterator[tuple[dict, str]]:
    """Give each run with the colour of its lines."""
    return zip(runs, cycle(SEED_COLOURS), strict=False)


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure so that the same numbers give the same file."""
    with matplotlib.rc_context({"svg.hashsalt": "card", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
