"""The ladder's tables, and what each step of it buys."""

from statistics import mean

from course_lib.experiments.ladder_runs import BALANCING_RUNGS, FIRST_RUNG, LADDER_RUNGS
from course_lib.experiments.run_records import runs_with
from course_lib.files import markdown_table

LADDER_HEAD = """# The ladder

GPT-2 and DeepSeek's V1 to V4 in the same small size: trained on the same tokens over {seeds}
seeds, then for the same processor time as GPT-2. Made by

```bash
{command}
```

Bits per byte on held-out text: mean and range over the seeds; less is better. *Time*: processor
time of a training step by GPT-2's, both on one thread, measured in turns. *Active*: the parameters
that one token is multiplied by. *Cache*: bytes per token in real caches, four bytes a number.
*Violation*: how far the busiest expert of the worst layer is above a fair load, on held-out text.
*Dead*: experts with less than a tenth of a fair load, seed by seed. *Accepted*: how often a token
drawn from the look ahead would stand."""
BALANCE_HEAD = """Three layers, two of them with 16 experts, of which a token visits 2, and a shared
one; three fifths of the steps. *Violation over the run*: of the worst layer, eighth by eighth; 7 is
everybody at the same two experts."""
LADDER_COLUMNS = (
    "rung",
    "bits per byte, equal tokens",
    "equal time",
    "time",
    "parameters",
    "active",
    "cache, bytes per token",
    "violation",
    "dead",
    "accepted",
)
RUNG_PAIRS = (
    ("GPT-2", "V1"),
    ("V1", "V2, latent attention only"),
    ("V1", "V2, experts only"),
    ("V1", "V2"),
    ("V2", "V3"),
    ("V3", "V3, looking ahead"),
    ("V3", "V3.2"),
    ("V3.2", "V4"),
)


def ladder_report(runs: list[dict], command: str) -> str:
    """Write all tables and what they say as Markdown."""
    corpora = dict.fromkeys(run["corpus"] for run in runs if run["table"] == "tokens")
    parts = [
        LADDER_HEAD.format(
            command=command, seeds=len({run["seed"] for run in runs if "seed" in run})
        )
    ]
    for name in corpora:
        parts += [
            f"## {name.capitalize()}",
            ladder_table(runs, name),
            "What each step buys:",
            gains_by_step(runs, name),
        ]
    if any(run["table"] == "balance" for run in runs):
        parts += ["## Experts with and without balance", BALANCE_HEAD, balance_table(runs)]
    return "\n\n".join(parts) + "\n"


def ladder_table(runs: list[dict], corpus: str) -> str:
    """One row for each rung: bits per byte after equal tokens and equal time, and what it costs."""
    rows, costs = [], cost_by_rung(runs, corpus)
    for rung in LADDER_RUNGS:
        mine = runs_with(runs, table="tokens", corpus=corpus, rung=rung)
        timed = runs_with(runs, table="time", corpus=corpus, rung=rung)
        if rung == FIRST_RUNG:
            timed = mine
        if mine:
            rows.append(
                [
                    rung,
                    mean_and_range(mine, "bits_per_byte"),
                    mean_and_range(timed, "bits_per_byte"),
                    f"{costs[rung]:.2f}",
                    f"{mine[0]['parameters']:,}",
                    f"{mine[0]['active']:,}",
                    f"{mine[0]['cache_bytes']:,.0f}",
                    mean_and_range(mine, "violation", 2),
                    dead_experts_by_seed(mine),
                    mean_and_range(mine, "acceptance", 2),
                ]
            )
    return markdown_table(LADDER_COLUMNS, rows)


def balance_table(runs: list[dict]) -> str:
    """One row for each way to balance: what happens in training, and on held-out text later."""
    rows = []
    for rung in BALANCING_RUNGS:
        mine = runs_with(runs, table="balance", rung=rung)
        if mine:
            eighth_by_eighth = zip(*(run["violation_in_training"] for run in mine), strict=True)
            course = " ".join(f"{mean(values):.1f}" for values in eighth_by_eighth)
            rows.append(
                [
                    rung,
                    course,
                    mean_and_range(mine, "violation", 2),
                    dead_experts_by_seed(mine),
                    mean_and_range(mine, "bits_per_byte"),
                ]
            )
    header = [
        "balanced by",
        "violation over the run",
        "on held-out text",
        "dead experts",
        "bits per byte",
    ]
    return markdown_table(header, rows)


def gains_by_step(runs: list[dict], corpus: str) -> str:
    """One line for each pair of neighbours: the gain in bits per byte, by seed, and in cost."""
    lines, costs = [], cost_by_rung(runs, corpus)
    for before, after in RUNG_PAIRS:
        told = []
        for table, words in (("tokens", "equal tokens"), ("time", "equal time")):
            gains = paired_gains(runs, corpus, table, before, after)
            if gains:
                better = sum(gain < 0 for gain in gains)
                told.append(
                    f"{mean(gains):+.3f} bits per byte at {words} (better in {better} of"
                    f" {len(gains)} seeds)"
                )
        a, b = (
            runs_with(runs, table="tokens", corpus=corpus, rung=rung) for rung in (before, after)
        )
        if told:
            time_ratio = costs[after] / costs[before]
            cache_ratio = a[0]["cache_bytes"] / b[0]["cache_bytes"]
            cache = (
                "the same cache" if cache_ratio == 1 else f"a cache {cache_ratio:.1f} times smaller"
            )
            told += [f"{time_ratio:.2f} times the time per token", cache]
            lines.append(f"- {before} to {after}: {'; '.join(told)}.")
    return "\n".join(lines)


def cost_by_rung(runs: list[dict], corpus: str) -> dict[str, float]:
    """Give the processor time of a training step of each rung, by the first rung's."""
    return runs_with(runs, table="cost", corpus=corpus)[0]["ratios"]


def paired_gains(runs: list[dict], corpus: str, table: str, before: str, after: str) -> list[float]:
    """Subtract the bits per byte of one rung from another's, seed by seed.

    The first rung has one run for both budgets.
    """

    def by_seed(rung: str) -> dict[int, float]:
        kind = "tokens" if rung == FIRST_RUNG else table
        return {
            r["seed"]: r["bits_per_byte"]
            for r in runs_with(runs, table=kind, corpus=corpus, rung=rung)
        }

    a, b = by_seed(before), by_seed(after)
    return [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]


def mean_and_range(runs: list[dict], what: str, digits: int = 3) -> str:
    """Tell the mean of a measurement and its range over seeds: `0.512 (0.508-0.517)`.

    A dash where there is none.
    """
    values = [run[what] for run in runs if run[what] is not None]
    if not values:
        return "-"
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, mean, max))
    return f"{middle} ({low}-{high})" if len(values) > 1 else middle


def dead_experts_by_seed(runs: list[dict]) -> str:
    """Tell how many of all experts are dead, seed by seed."""
    if not runs[0]["experts"]:
        return "-"
    return ", ".join(str(run["dead"]) for run in runs) + f" of {runs[0]['experts']}"
