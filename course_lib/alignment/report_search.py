"""The report card's section on search: does the thinking itself grow, and when does it stop or shrink?

`run["search"]` holds what a seed has left: "measures" and "curves", each by the name of the model (see `read`).
"""

from collections.abc import Callable, Sequence
from math import inf, nan
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.alignment.r1 import VERSION
from course_lib.alignment.report_parts import code, coloured, decimals, draw, listed, percent
from course_lib.alignment.search import EXPERIMENTS, MAX_TRIES
from course_lib.files import markdown_table, read_json
from course_lib.text.small_web.practice import MAX_ROWS

SMALL, RAISED, KEPT = "search-budget/small", "search-budget/raised", "search-budget/kept"
NAMES = {
    "base": "base", "search": "after `search`", SMALL: "small budget", KEPT: "budget kept",
    RAISED: "budget raised", "search-control": "`search-control`",
}  # fmt: skip
# Of the table of measures: a name, where the measure stands and what it is called there, and how it is written
MEASURES: list[tuple[str, str, str, Callable[[Sequence[float]], str]]] = [
    ("right, %", "sampled", "accuracy", percent),
    ("right, greedy, %", "greedy", "accuracy", percent),
    ("show work, %", "sampled", "worked", percent),
    ("tries, if worked", "sampled", "tries of worked", decimals),
    ("tokens, if worked", "sampled", "length of worked", decimals),
    (f"more than {MAX_TRIES} tries, % of worked", "sampled", "many tries of worked", percent),
    (f"right after more than {MAX_TRIES}, % of all", "sampled", "right after many", percent),
    ("sums right, % of tries", "sampled", "sums right", percent),
    ("numbers copied, % of tries", "sampled", "numbers copied", percent),
    ("false yes, % of tries that say another number", "sampled", "false yes", percent),
    ("made before in the same answer, % of tries", "sampled", "repeated", percent),
    ("the same, greedy", "greedy", "repeated", percent),
]
BINS: list[tuple[int, int | float]] = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 8), (9, 16), (17, inf)]
N_SHOWN = 3     # answers


def found(run: dict, model: str) -> dict:
    """Give all that was measured of a model."""
    return run["search"]["measures"][model]


def of(run: dict, model: str, measure: str = "tries of worked") -> float:
    """Give a measure of a model's sampled answers."""
    return found(run, model)["sampled"][measure]


def growth(run: dict) -> float:
    """Give the tries after practice, as times those of the base."""
    return of(run, "search") / of(run, "base") if of(run, "base") else nan


def resumes(run: dict) -> bool:
    return of(run, RAISED) > max(of(run, KEPT), of(run, SMALL))


def shrinks(run: dict) -> bool:
    both = ("worked", "tries of worked")
    return all(of(run, "search-control", measure) < of(run, "base", measure) for measure in both)


# What a run is meant to reach: a name, the model it is about, the numbers of a seed, and whether it is reached
GOALS: list[tuple[str, str, Callable[[dict], str], Callable[[dict], bool]]] = [
    ("right after `search`, at least 60 %", "search",
     lambda run: percent([of(run, "search", "accuracy")]), lambda run: of(run, "search", "accuracy") >= 0.60),
    ("tries of a worked answer after `search`, at least 2.5 times the base's", "search",
     lambda run: decimals([growth(run)]), lambda run: growth(run) >= 2.5),
    ("more tries with the budget raised than with it kept, and than before", RAISED,
     lambda run: f"{of(run, RAISED):.1f} against {of(run, KEPT):.1f} and {of(run, SMALL):.1f}", resumes),
    ("in `search-control` fewer answers show work than in the base, with fewer tries", "search-control",
     lambda run: f"{of(run, 'search-control', 'worked'):.0%} against {of(run, 'base', 'worked'):.0%}, "
                 f"{of(run, 'search-control'):.1f} against {of(run, 'base'):.1f}", shrinks),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- what was measured


def read(folder: Path) -> dict:
    """Collect what the experiments on search have left of a seed: the measures and the curves of their models."""
    measured: dict[str, dict] = {}
    for name in EXPERIMENTS:
        path = folder / f"experiments/{name}/result.json"
        measured |= read_json(path, "data", VERSION) if path.exists() else {}
    history = lambda name: read_json(folder / f"search/{name}/history.json", "history", VERSION)       # noqa: E731
    return {
        "measures": {name: condensed(result) for name, result in measured.items()},
        "curves": {name: history(name)["measures"] for name in measured if name != "base"},
    }


def condensed(result: dict) -> dict:
    """Count the answers by their tries, as [tries, answers, right ones], and keep the few answers that are shown."""
    counts: dict[int, list[int]] = {}
    for n_tries, right in result["tries and right"]:
        count = counts.setdefault(n_tries, [n_tries, 0, 0])
        count[1] += 1
        count[2] += right
    rest = {name: value for name, value in result.items() if name != "tries and right"}
    return rest | {"answers": result["answers"][:N_SHOWN], "by tries": sorted(counts.values())}


def with_model(runs: Sequence[dict], name: str) -> list[dict]:
    """Give the runs that have a model of this name, or of the experiment of this name."""
    return [run for run in runs if any(name in (model, model.split("/")[0]) for model in run["search"]["measures"])]


# --------------------------------------------------------------------------------------------------------- the section


def section(runs: Sequence[dict]) -> list[str]:
    """Write the section, part by part with blank lines between; nothing if no run has an experiment on search."""
    some, searched = with_model(runs, "base"), with_model(runs, "search")
    if not some:
        return []
    made = {name: with_model(runs, name) for name in EXPERIMENTS}
    parts = ["## Search", introduction(some), listed(EXPERIMENTS, made), goals(runs), measures(runs)]
    if searched:
        parts.append("![Curves of practice on search](search.svg)")
    if with_model(runs, RAISED):
        parts.append("![Tries and tokens before and after the budget is raised](budget.svg)")
    if searched:
        parts += [by_numbers(searched), harder(searched), by_tries(searched), wrong_or_right(searched)]
        parts.append(answers(searched[0]))
    return [line for part in parts for line in (part, "")]


def draw_figures(runs: Sequence[dict], out: Path) -> None:
    """Draw the figures of the experiments that some run has made into the folder `out`."""
    for model, name, figure in (("search", "search.svg", curves), (RAISED, "budget.svg", budget)):
        if with_model(runs, model):
            draw(figure(runs), out / name)


def introduction(runs: Sequence[dict]) -> str:
    base = found(runs[0], "base")
    n, _ = inside(base["by tries"], 0, inf)
    return (
        f"Puzzles like `{base['answers'][0][0]}`, with a base and a tokenizer of "
        f"their own. Measured on {n} held-out ones of three to five numbers, at temperature 1 unless it says greedy, "
        "all models with the same budget: the tokens that an answer may have. "
        f"An answer that makes a try is worked. No answer on the small web makes more than {MAX_TRIES}; drill sheets, "
        f"which answer nothing, check up to {MAX_ROWS} tries of one puzzle."
    )


def goals(runs: Sequence[dict]) -> str:
    rows = []
    for name, model, show, reached in GOALS:
        if having := with_model(runs, model):
            rows.append([name, "; ".join(map(show, having)), f"{sum(map(reached, having))} of {len(having)}"])
    return markdown_table(["goal", "seed by seed", "seeds that reach it"], rows)


def measures(runs: Sequence[dict]) -> str:
    models = [model for model in NAMES if with_model(runs, model)]
    rows = []
    for title, where, measure, write in MEASURES:
        values = [[found(run, model)[where][measure] for run in with_model(runs, model)] for model in models]
        rows.append([title, *map(write, values)])
    return markdown_table(["", *(NAMES[model] for model in models)], rows)


def by_numbers(runs: Sequence[dict]) -> str:
    """Show accuracy and tries by how many numbers a puzzle has."""
    groups = {model: [found(run, model)["by numbers"] for run in runs] for model in ("base", "search")}
    rows = []
    for n in groups["base"][0]:
        rows.append([n])
        for each in groups.values():
            rows[-1].append(percent([group[n]["accuracy"] for group in each]))
            rows[-1].append(decimals([group[n]["tries of worked"] for group in each]))
    return markdown_table(["numbers", *two("right, %", "tries, if worked")], rows)


def two(*titles: str) -> list[str]:
    """Name columns of the base and of what practice made of it."""
    return [f"{NAMES[model]}: {title}" for model in ("base", "search") for title in titles]


def harder(runs: Sequence[dict]) -> str:
    """Say whether puzzles with more numbers get more tries, and what comes of those with more than any it saw."""
    groups = [found(run, "search")["by numbers"] for run in runs]
    tries = [[each[n]["tries of worked"] for n in ("3", "4", "5")] for each in groups]
    rising = sum(three < four < five for three, four, five in tries)
    return (
        f"From three to four to five numbers, the tries rise in {rising} of {len(runs)} seeds. No puzzle with six was "
        f"in the corpus or in practice; of these, {percent([each['6']['accuracy'] for each in groups])} % are right."
    )


def by_tries(runs: Sequence[dict]) -> str:
    """Show how many answers make so many tries, and how many of these are right."""
    rows = []
    for low, high in BINS:
        name = str(low) if low == high else f"{low} and more" if high == inf else f"{low} to {high}"
        rows.append([name])
        for model in ("base", "search"):
            counts = [inside(found(run, model)["by tries"], low, high) for run in runs]
            rows[-1].append(", ".join(str(n) for n, _ in counts))
            rows[-1].append(", ".join(f"{100 * right / n:.0f}" if n else "–" for n, right in counts))
    return markdown_table(["tries", *two("answers", "right, %")], rows)


def inside(counts: Sequence[Sequence[int]], low: int, high: int | float) -> tuple[int, int]:
    """Count the answers with `low` to `high` tries, and the right ones among them."""
    some = [(n, right) for n_tries, n, right in counts if low <= n_tries <= high]
    return sum(n for n, _ in some), sum(right for _, right in some)


def mean_tries(counts: Sequence[Sequence[int]], of_right: bool) -> float:
    """Give the mean tries of the worked answers that are right, or of those that are wrong; NaN if there are none."""
    some = [(n_tries, right if of_right else n - right) for n_tries, n, right in counts if n_tries]
    n_answers = sum(n for _, n in some)
    return sum(n_tries * n for n_tries, n in some) / n_answers if n_answers else nan


def wrong_or_right(runs: Sequence[dict]) -> str:
    """Say whether wrong answers make more tries than right ones."""
    counts = [found(run, "search")["by tries"] for run in runs]
    right, wrong = ([mean_tries(each, of_right) for each in counts] for of_right in (True, False))
    more = sum(w > r for w, r in zip(wrong, right, strict=True))
    return (
        f"After practice, a worked answer that is right makes {decimals(right)} tries on average, and a wrong one "
        f"{decimals(wrong)}: wrong ones make more in {more} of {len(runs)} seeds."
    )


def answers(run: dict) -> str:
    """Show the first answers of the evaluation, before and after practice."""
    before, after = (found(run, model)["answers"] for model in ("base", "search"))
    rows = [[f"`{question}`", code(shortened(a)), code(shortened(b))]
            for (question, a), (_, b) in zip(before, after, strict=True)]  # fmt: skip
    note = f"The first {len(rows)} of the held-out puzzles, seed {run['seed']}; dots stand for what is left out:\n\n"
    return note + markdown_table(["puzzle", NAMES["base"], NAMES["search"]], rows)


def shortened(text: str, most: int = 300) -> str:
    """Leave out the middle of a long answer.

    >>> shortened("20-9=11 not 14, 20+9=29 not 14", most=14)
    '20-9=11 ... not 14'
    """
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[len(text) - most // 2 :].lstrip()}"


# ------------------------------------------------------------------------------------------------------------- figures


def smoothed(values: Sequence[float], reach: int = 2) -> list[float]:
    """Average each value with those up to `reach` steps away.

    >>> smoothed([1.0, 2.0, 6.0], reach=1)
    [1.5, 3.0, 4.0]
    """
    return [fmean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]


def curves(runs: Sequence[dict]) -> Figure:
    """Draw what the samples of `search` were like, step by step: a line per seed, and its five-step mean."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    wanted = [("accuracy", "right"), ("tries of worked", "tries of a worked answer"),
              ("length of worked", "tokens of a worked answer"),
              ("many tries of worked", f"more than {MAX_TRIES} tries, share of worked answers")]  # fmt: skip
    for ax, (name, title) in zip(figure.subplots(2, 2).flat, wanted, strict=True):
        for run, colour in coloured(runs):
            if values := run["search"]["curves"].get("search", {}).get(name):
                ax.plot(range(1, len(values) + 1), values, color=colour, alpha=0.3, linewidth=0.8)
                ax.plot(range(1, len(values) + 1), smoothed(values), color=colour, label=f"seed {run['seed']}")
        if name == "tries of worked":
            corpus_line(ax)
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_ylim(0, 1 if name in ("accuracy", "many tries of worked") else None)
    figure.axes[0].legend()
    return figure


def corpus_line(ax: Axes) -> None:
    """Mark the most tries that an answer of the corpus makes."""
    ax.axhline(MAX_TRIES, color="grey", linestyle=":", linewidth=1)
    ax.annotate("most in an answer of the corpus", (1, MAX_TRIES), xycoords=("axes fraction", "data"), ha="right",
                va="bottom", color="grey", fontsize="small")  # fmt: skip


def budget(runs: Sequence[dict]) -> Figure:
    """Draw tries and tokens under a small budget, and then under a raised one beside the same one."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    wanted = [("tries of worked", "tries of a worked answer"), ("length of worked", "tokens of a worked answer")]
    for ax, (name, title) in zip(figure.subplots(1, 2), wanted, strict=True):
        for run, colour in coloured(runs):
            if SMALL in run["search"]["curves"]:
                draw_budget(ax, {each: run["search"]["curves"][each][name] for each in (SMALL, RAISED, KEPT)},
                            colour, f"seed {run['seed']}")  # fmt: skip
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_ylim(0)
    figure.axes[0].plot([], [], color="black", linestyle="--", label="budget kept")
    figure.axes[0].legend()
    return figure


def draw_budget(ax: Axes, values: dict[str, list[float]], colour: str, label: str) -> None:
    """Draw the five-step means of one seed: one line that parts in two where the budget is raised."""
    before = smoothed(values[SMALL])
    ax.plot(range(1, len(before) + 1), before, color=colour, label=label)
    ax.axvline(len(before), color="grey", linestyle=":", linewidth=1)
    for name, style in ((RAISED, "-"), (KEPT, "--")):
        after = [before[-1], *smoothed(values[name])]
        ax.plot(range(len(before), len(before) + len(after)), after, color=colour, linestyle=style)
