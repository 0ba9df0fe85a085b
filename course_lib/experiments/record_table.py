"""Who holds the record: entries in a table, and the test that a new one has to pass."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, variance

import numpy as np

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.record import RecordEntry, RecordRun, processor_name, refuse_overtime
from course_lib.files import markdown_table, read_json, write_json

RECORD_FILE = DATA_FOLDER / "record" / "record.json"  # the shipped entries
SIGNIFICANCE, LEAST_SEEDS = 0.01, 5
TABLE_KIND, TABLE_VERSION = "record table", 1


@dataclass(frozen=True)
class RecordVerdict:
    """What the test says of an entry against the best one."""

    accepted: bool
    p: float  # how likely such a lead is between equals
    gain: float  # bits per byte by which the mean is better
    reason: str


def student_tail(t: float, freedom: float | int) -> float:
    """Give the probability that a variable of Student's distribution is above `t`.

    With t = sqrt(freedom) tan(a), the density is that of cos(a)^(freedom - 1), which is added up.

    >>> round(student_tail(2.015, 5), 4), round(student_tail(-3.747, 4), 4)
    (0.05, 0.99)
    """

    def area(low: float, high: float) -> float:
        a = np.linspace(low, high, 20_001)
        return float(np.trapezoid(np.cos(a) ** (freedom - 1), a))

    quarter = math.pi / 2
    return area(math.atan(t / math.sqrt(freedom)), quarter) / area(-quarter, quarter)


def welch_p_value(scores: Sequence[float], others: Sequence[float]) -> float:
    """Tell how likely the mean of `scores` is at least so far below that of `others` by chance.

    Welch's test (1947), one-sided: the two may scatter differently. Raises ValueError for fewer
    than two scores of either.

    >>> round(welch_p_value([1.0, 1.1, 0.9], [2.0, 2.1, 1.9]), 5)
    0.00013
    """
    if min(len(scores), len(others)) < 2:
        raise ValueError(f"{len(scores)} and {len(others)} scores: a spread needs two of each")
    a, b = variance(scores) / len(scores), variance(others) / len(others)
    lead = mean(others) - mean(scores)
    if a + b == 0:
        return 0.0 if lead > 0 else 1.0
    freedom = (a + b) ** 2 / (a**2 / (len(scores) - 1) + b**2 / (len(others) - 1))
    return student_tail(lead / math.sqrt(a + b), freedom)


def judge_entry(entry: RecordEntry, best: RecordEntry) -> RecordVerdict:
    """Say whether an entry beats the best one: better by p < 0.01, over five seeds at least.

    Raises ValueError where the two can't be compared: another budget, another processor, too few or
    repeated seeds.
    """
    for name in ("budget", "processor"):
        if getattr(entry, name) != getattr(best, name):
            raise ValueError(
                f"{entry.name} has {name} {getattr(entry, name)}, {best.name} {name}"
                f" {getattr(best, name)}: run both here, with the same seconds"
            )
    for each in (entry, best):
        n_seeds = len({run.seed for run in each.runs})
        if n_seeds < LEAST_SEEDS or n_seeds < len(each.runs):
            raise ValueError(
                f"{each.name} has {len(each.runs)} runs of {n_seeds} seeds: at least {LEAST_SEEDS},"
                " each once"
            )
        for run in each.runs:
            refuse_overtime(each.name, run.seconds, each.budget)
    p, gain = welch_p_value(entry.bits, best.bits), mean(best.bits) - mean(entry.bits)
    accepted = p < SIGNIFICANCE
    words = "a new record" if accepted else "no new record"
    reason = (
        f"{words}: {entry.name} {mean(entry.bits):.4f}, {best.name} {mean(best.bits):.4f} bits per"
        f" byte, p {p:.2g} (below {SIGNIFICANCE} is needed)"
    )
    return RecordVerdict(accepted, p, gain, reason)


def entry_from_data(data: dict) -> RecordEntry:
    """Make an entry of what `asdict` and JSON made of one."""
    runs = tuple(RecordRun(**run) for run in data["runs"])
    return RecordEntry(data["name"], data["budget"], data["processor"], runs, data["about"])


class RecordTable:
    """The entries in a JSON file, one per name, budget and processor; written whole or not at all.

    A damaged file is put aside, with a warning, and a new table begun.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.entries: list[RecordEntry] = []
        if self.path.exists():
            try:
                content = read_json(self.path, TABLE_KIND, TABLE_VERSION)
                self.entries = [entry_from_data(each) for each in content]
            except (ValueError, KeyError, TypeError) as error:
                aside = self.path.with_name(f"{self.path.name}.damaged")
                self.path.replace(aside)
                warnings.warn(f"{error} It is now {aside.name}", RuntimeWarning, stacklevel=2)

    def add(self, entry: RecordEntry) -> None:
        """Keep an entry; it takes the place of an older one of its name, budget and processor."""
        key = entry.name, entry.budget, entry.processor
        self.entries = [e for e in self.entries if (e.name, e.budget, e.processor) != key]
        self.entries.append(entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = [asdict(each) for each in self.entries]
        write_json(self.path, TABLE_KIND, TABLE_VERSION, data)

    def find(self, name: str, budget: float) -> RecordEntry | None:
        """Give the entry of a name and a budget that was run on this processor, if there is one."""
        return next((e for e in self.rivals(budget) if e.name == name), None)

    def rivals(self, budget: float) -> list[RecordEntry]:
        """Give the entries of this budget that were run on this processor, the best first."""
        here = processor_name()
        mine = [e for e in self.entries if (e.budget, e.processor) == (budget, here)]
        return sorted(mine, key=lambda entry: mean(entry.bits))

    def enter(self, entry: RecordEntry) -> RecordVerdict:
        """Judge an entry against the best rival here, and keep it, record or not.

        Raises ValueError if there is none: the shipped recipes are to be run here first.
        """
        rivals = [each for each in self.rivals(entry.budget) if each.name != entry.name]
        if not rivals:
            raise ValueError(
                f"no other entry of {entry.budget:g} seconds was run on this processor: run the"
                " shipped recipes here first (`run_shipped`)"
            )
        verdict = judge_entry(entry, rivals[0])
        self.add(entry)
        return verdict


def record_table_text(entries: Sequence[RecordEntry]) -> str:
    """Lay out entries as a table in Markdown, for each budget the best first."""
    rows = [
        [
            f"{each.budget:g}",
            each.name,
            f"{mean(each.bits):.4f} ({min(each.bits):.4f}-{max(each.bits):.4f})",
            len(each.runs),
            f"{mean(run.steps for run in each.runs):,.0f}",
            f"{mean(run.tokens for run in each.runs):,.0f}",
            f"{each.runs[0].parameters:,}",
            each.processor,
        ]
        for each in sorted(entries, key=lambda each: (each.budget, mean(each.bits)))
    ]
    head = ["seconds", "entry", "bits per byte", "seeds", "steps", "tokens", "parameters"]
    return markdown_table([*head, "processor"], rows)
