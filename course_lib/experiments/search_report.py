"""The report card's section on search: does the thinking grow, and when does it stop or shrink?

`run["search"]` holds what a seed has left: "measures" and "curves", each by the name of the model
(see `read_search_run`).
"""

from collections.abc import Callable, Sequence
from math import inf, nan
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.experiments.report_parts import (
    code_in_cell,
    list_experiments,
    save_figure,
    seed_decimals,
    seed_percents,
    with_colours,
)
from course_lib.experiments.run import DATA_VERSION
from course_lib.experiments.search import SEARCH_EXPERIMENTS
from course_lib.files import markdown_table, read_json
from course_lib.tasks.countdown import MAX_CORPUS_TRIES
from course_lib.text.small_web.practice import MAX_TABLE_ROWS

SMALL_BUDGET = "search-budget/small"
BUDGET_RAISED = "search-budget/raised"
BUDGET_KEPT = "search-budget/kept"
SEARCH_MODEL_NAMES = {
    "base": "base",
    "search": "after `search`",
    SMALL_BUDGET: "small budget",
    BUDGET_KEPT: "budget kept",
    BUDGET_RAISED: "budget raised",
    "search-control": "`search-control`",
}
# Of the table of measures: a name, where the measure stands and what it is called there, and how it
# is written
SEARCH_MEASURES: list[tuple[str, str, str, Callable[[Sequence[float]], str]]] = [
    ("right, %", "sampled", "accuracy", seed_percents),
    ("right, greedy, %", "greedy", "accuracy", seed_percents),
    ("show work, %", "sampled", "worked", seed_percents),
    ("tries, if worked", "sampled", "tries of worked", seed_decimals),
    ("tokens, if worked", "sampled", "length of worked", seed_decimals),
    (
        f"more than {MAX_CORPUS_TRIES} tries, % of worked",
        "sampled",
        "many tries of worked",
        seed_percents,
    ),
    (
        f"right after more than {MAX_CORPUS_TRIES}, % of all",
        "sampled",
        "right after many",
        seed_percents,
    ),
    ("sums right, % of tries", "sampled", "sums right", seed_percents),
    ("numbers copied, % of tries", "sampled", "numbers copied", seed_percents),
    ("false yes, % of tries that say another number", "sampled", "false yes", seed_percents),
    ("made before in the same answer, % of tries", "sampled", "repeated", seed_percents),
    ("the same, greedy", "greedy", "repeated", seed_percents),
]
TRY_BINS: list[tuple[int, int | float]] = [
    (0, 0),
    (1, 1),
    (2, 2),
    (3, 3),
    (4, 4),
    (5, 8),
    (9, 16),
    (17, inf),
]
N_SHOWN_ANSWERS = 3  # answers


def search_measures(run: dict, model: str) -> dict:
    """Give all that was measured of a model."""
    return run["search"]["measures"][model]


def sampled_measure(run: dict, model: str, measure: str = "tries of worked") -> float:
    """Give a measure of a model's sampled answers."""
    return search_measures(run, model)["sampled"][measure]


def tries_growth(run: dict) -> float:
    """Give the tries after practice, as times those of the base."""
    before = sampled_measure(run, "base")
    return sampled_measure(run, "search") / before if before else nan


def grows_again(run: dict) -> bool:
    return sampled_measure(run, BUDGET_RAISED) > max(
        sampled_measure(run, BUDGET_KEPT), sampled_measure(run, SMALL_BUDGET)
    )


def control_shrinks(run: dict) -> bool:
    both = ("worked", "tries of worked")
    return all(
        sampled_measure(run, "search-control", measure) < sampled_measure(run, "base", measure)
        for measure in both
    )


# What a run is meant to reach: a name, the model it is about, the numbers of a seed, and whether it
# is reached
SEARCH_GOALS: list[tuple[str, str, Callable[[dict], str], Callable[[dict], bool]]] = [
    (
        "right after `search`, at least 60 %",
        "search",
        lambda run: seed_percents([sampled_measure(run, "search", "accuracy")]),
        lambda run: sampled_measure(run, "search", "accuracy") >= 0.60,
    ),
    (
        "tries of a worked answer after `search`, at least 2.5 times the base's",
        "search",
        lambda run: seed_decimals([tries_growth(run)]),
        lambda run: tries_growth(run) >= 2.5,
    ),
    (
        "more tries with the budget raised than with it kept, and than before",
        BUDGET_RAISED,
        lambda run: (
            f"{sampled_measure(run, BUDGET_RAISED):.1f} against"
            f" {sampled_measure(run, BUDGET_KEPT):.1f} and {sampled_measure(run, SMALL_BUDGET):.1f}"
        ),
        grows_again,
    ),
    (
        "in `search-control` fewer answers show work than in the base, with fewer tries",
        "search-control",
        lambda run: (
            f"{sampled_measure(run, 'search-control', 'worked'):.0%} against"
            f" {sampled_measure(run, 'base', 'worked'):.0%},"
            f" {sampled_measure(run, 'search-control'):.1f} against"
            f" {sampled_measure(run, 'base'):.1f}"
        ),
        control_shrinks,
    ),
]


# -------------------------------------------------------------------------------- what was measured


def read_search_run(folder: Path) -> dict:
    """Collect what a seed's experiments on search have left: measures and curves of the models."""
    measured: dict[str, dict] = {}
    for name in SEARCH_EXPERIMENTS:
        path = folder / f"experiments/{name}/result.json"
        measured |= read_json(path, "data", DATA_VERSION) if path.exists() else {}
    curves = {}
    for name in [name for name in measured if name != "base"]:
        path = folder / f"search/{name}/history.json"
        curves[name] = read_json(path, "history", DATA_VERSION)["measures"]
    return {
        "measures": {name: count_by_tries(result) for name, result in measured.items()},
        "curves": curves,
    }


def count_by_tries(result: dict) -> dict:
    """Count the answers by their tries, as [tries, answers, right ones]; keep those to be shown."""
    counts: dict[int, list[int]] = {}
    for n_tries, right in result["tries and right"]:
        count = counts.setdefault(n_tries, [n_tries, 0, 0])
        count[1] += 1
        count[2] += right
    rest = {name: value for name, value in result.items() if name != "tries and right"}
    return rest | {
        "answers": result["answers"][:N_SHOWN_ANSWERS],
        "by tries": sorted(counts.values()),
    }


def runs_with_model(runs: Sequence[dict], name: str) -> list[dict]:
    """Give the runs that have a model of this name, or of the experiment of this name."""
    return [
        run
        for run in runs
        if any(name in (model, model.split("/")[0]) for model in run["search"]["measures"])
    ]


# -------------------------------------------------------------------------------------- the section


def search_section(runs: Sequence[dict]) -> list[str]:
    """Write the section, part by part with blank lines between.

    Nothing if no run has an experiment on search.
    """
    some, searched = runs_with_model(runs, "base"), runs_with_model(runs, "search")
    if not some:
        return []
    made = {name: runs_with_model(runs, name) for name in SEARCH_EXPERIMENTS}
    parts = [
        "## Search",
        search_introduction(some),
        list_experiments(SEARCH_EXPERIMENTS, made),
        search_goals_table(runs),
        search_measures_table(runs),
    ]
    if searched:
        parts.append("![Curves of practice on search](search.svg)")
    if runs_with_model(runs, BUDGET_RAISED):
        parts.append("![Tries and tokens before and after the budget is raised](budget.svg)")
    if searched:
        parts += [
            by_numbers_table(searched),
            harder_puzzles(searched),
            by_tries_table(searched),
            wrong_or_right_tries(searched),
        ]
        parts.append(answers_table(searched[0]))
    return [line for part in parts for line in (part, "")]


def draw_search_figures(runs: Sequence[dict], out: Path) -> None:
    """Draw the figures of the experiments that some run has made into the folder `out`."""
    for model, name, figure in (
        ("search", "search.svg", search_curves),
        (BUDGET_RAISED, "budget.svg", budget_figure),
    ):
        if runs_with_model(runs, model):
            save_figure(figure(runs), out / name)


def search_introduction(runs: Sequence[dict]) -> str:
    base = search_measures(runs[0], "base")
    n, _ = count_in_bin(base["by tries"], 0, inf)
    return (
        f"Puzzles like `{base['answers'][0][0]}`, with a base and a tokenizer of their own."
        f" Measured on {n} held-out ones of three to five numbers, at temperature 1 unless it says"
        " greedy, all models with the same budget: the tokens that an answer may have. An answer"
        " that makes a try is worked. No answer on the small web makes more than"
        f" {MAX_CORPUS_TRIES}; drill sheets, which answer nothing, check up to {MAX_TABLE_ROWS}"
        " tries of one puzzle."
    )


def search_goals_table(runs: Sequence[dict]) -> str:
    rows = []
    for name, model, show, reached in SEARCH_GOALS:
        if having := runs_with_model(runs, model):
            rows.append(
                [
                    name,
                    "; ".join(map(show, having)),
                    f"{sum(map(reached, having))} of {len(having)}",
                ]
            )
    return markdown_table(["goal", "seed by seed", "seeds that reach it"], rows)


def search_measures_table(runs: Sequence[dict]) -> str:
    models = [model for model in SEARCH_MODEL_NAMES if runs_with_model(runs, model)]
    rows = []
    for title, where, measure, write in SEARCH_MEASURES:
        values = [
            [search_measures(run, model)[where][measure] for run in runs_with_model(runs, model)]
            for model in models
        ]
        rows.append([title, *map(write, values)])
    return markdown_table(["", *(SEARCH_MODEL_NAMES[model] for model in models)], rows)


def by_numbers_table(runs: Sequence[dict]) -> str:
    """Show accuracy and tries by how many numbers a puzzle has."""
    groups = {
        model: [search_measures(run, model)["by numbers"] for run in runs]
        for model in ("base", "search")
    }
    rows = []
    for n in groups["base"][0]:
        rows.append([n])
        for each in groups.values():
            rows[-1].append(seed_percents([group[n]["accuracy"] for group in each]))
            rows[-1].append(seed_decimals([group[n]["tries of worked"] for group in each]))
    return markdown_table(["numbers", *before_after_columns("right, %", "tries, if worked")], rows)


def before_after_columns(*titles: str) -> list[str]:
    """Name columns of the base and of what practice made of it."""
    return [
        f"{SEARCH_MODEL_NAMES[model]}: {title}" for model in ("base", "search") for title in titles
    ]


def harder_puzzles(runs: Sequence[dict]) -> str:
    """Say whether puzzles with more numbers get more tries, and how the longest end.

    The longest are those with more numbers than any it saw.
    """
    groups = [search_measures(run, "search")["by numbers"] for run in runs]
    tries = [[each[n]["tries of worked"] for n in ("3", "4", "5")] for each in groups]
    rising = sum(three < four < five for three, four, five in tries)
    return (
        f"From three to four to five numbers, the tries rise in {rising} of {len(runs)} seeds. No"
        " puzzle with six was in the corpus or in practice; of these,"
        f" {seed_percents([each['6']['accuracy'] for each in groups])} % are right."
    )


def by_tries_table(runs: Sequence[dict]) -> str:
    """Show how many answers make so many tries, and how many of these are right."""
    rows = []
    for low, high in TRY_BINS:
        name = str(low) if low == high else f"{low} and more" if high == inf else f"{low} to {high}"
        rows.append([name])
        for model in ("base", "search"):
            counts = [
                count_in_bin(search_measures(run, model)["by tries"], low, high) for run in runs
            ]
            rows[-1].append(", ".join(str(n) for n, _ in counts))
            rows[-1].append(
                ", ".join(f"{100 * right / n:.0f}" if n else "–" for n, right in counts)
            )
    return markdown_table(["tries", *before_after_columns("answers", "right, %")], rows)


def count_in_bin(counts: Sequence[Sequence[int]], low: int, high: int | float) -> tuple[int, int]:
    """Count the answers with `low` to `high` tries, and the right ones among them."""
    some = [(n, right) for n_tries, n, right in counts if low <= n_tries <= high]
    return sum(n for n, _ in some), sum(right for _, right in some)


def mean_tries(counts: Sequence[Sequence[int]], of_right: bool) -> float:
    """Give the mean tries of the worked answers that are right, or wrong; NaN if there are none."""
    some = [(n_tries, right if of_right else n - right) for n_tries, n, right in counts if n_tries]
    n_answers = sum(n for _, n in some)
    return sum(n_tries * n for n_tries, n in some) / n_answers if n_answers else nan


def wrong_or_right_tries(runs: Sequence[dict]) -> str:
    """Say whether wrong answers make more tries than right ones."""
    counts = [search_measures(run, "search")["by tries"] for run in runs]
    right, wrong = ([mean_tries(each, of_right) for each in counts] for of_right in (True, False))
    more = sum(w > r for w, r in zip(wrong, right, strict=True))
    return (
        f"After practice, a worked answer that is right makes {seed_decimals(right)} tries on"
        f" average, and a wrong one {seed_decimals(wrong)}: wrong ones make more in {more} of"
        f" {len(runs)} seeds."
    )


def answers_table(run: dict) -> str:
    """Show the first answers of the evaluation, before and after practice."""
    before, after = (search_measures(run, model)["answers"] for model in ("base", "search"))
    rows = [[f"`{question}`", code_in_cell(shorten_answer(a)), code_in_cell(shorten_answer(b))]
            for (question, a), (_, b) in zip(before, after, strict=True)]  # fmt: skip
    note = (
        f"The first {len(rows)} of the held-out puzzles, seed {run['seed']}; dots stand for what is"
        " left out:\n\n"
    )
    return note + markdown_table(
        ["puzzle", SEARCH_MODEL_NAMES["base"], SEARCH_MODEL_NAMES["search"]], rows
    )


def shorten_answer(text: str, most: int = 300) -> str:
    """Leave out the middle of a long answer.

    >>> shorten_answer("20-9=11 not 14, 20+9=29 not 14", most=14)
    '20-9=11 ... not 14'
    """
    return (
        text
        if len(text) <= most
        else f"{text[: most // 2]} ... {text[len(text) - most // 2 :].lstrip()}"
    )


# ------------------------------------------------------------------------------------------ figures


def moving_average(values: Sequence[float], reach: int = 2) -> list[float]:
    """Average each value with those up to `reach` steps away.

    >>> moving_average([1.0, 2.0, 6.0], reach=1)
    [1.5, 3.0, 4.0]
    """
    return [fmean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]


def search_curves(runs: Sequence[dict]) -> Figure:
    """Draw what the samples of `search` were like, step by step.

    A line per seed, and its five-step mean.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    wanted = [
        ("accuracy", "right"),
        ("tries of worked", "tries of a worked answer"),
        ("length of worked", "tokens of a worked answer"),
        ("many tries of worked", f"more than {MAX_CORPUS_TRIES} tries, share of worked answers"),
    ]
    for ax, (name, title) in zip(figure.subplots(2, 2).flat, wanted, strict=True):
        for run, colour in with_colours(runs):
            if values := run["search"]["curves"].get("search", {}).get(name):
                ax.plot(range(1, len(values) + 1), values, color=colour, alpha=0.3, linewidth=0.8)
                ax.plot(
                    range(1, len(values) + 1),
                    moving_average(values),
                    color=colour,
                    label=f"seed {run['seed']}",
                )
        if name == "tries of worked":
            draw_corpus_line(ax)
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_ylim(0, 1 if name in ("accuracy", "many tries of worked") else None)
    figure.axes[0].legend()
    return figure


def draw_corpus_line(ax: Axes) -> None:
    """Mark the most tries that an answer of the corpus makes."""
    ax.axhline(MAX_CORPUS_TRIES, color="grey", linestyle=":", linewidth=1)
    ax.annotate(
        "most in an answer of the corpus",
        (1, MAX_CORPUS_TRIES),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        color="grey",
        fontsize="small",
    )


def budget_figure(runs: Sequence[dict]) -> Figure:
    """Draw tries and tokens under a small budget, then under a raised one beside the same one."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    wanted = [
        ("tries of worked", "tries of a worked answer"),
        ("length of worked", "tokens of a worked answer"),
    ]
    for ax, (name, title) in zip(figure.subplots(1, 2), wanted, strict=True):
        for run, colour in with_colours(runs):
            if SMALL_BUDGET in run["search"]["curves"]:
                draw_budget_lines(
                    ax,
                    {
                        each: run["search"]["curves"][each][name]
                        for each in (SMALL_BUDGET, BUDGET_RAISED, BUDGET_KEPT)
                    },
                    colour,
                    f"seed {run['seed']}",
                )
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_ylim(0)
    figure.axes[0].plot([], [], color="black", linestyle="--", label="budget kept")
    figure.axes[0].legend()
    return figure


def draw_budget_lines(ax: Axes, values: dict[str, list[float]], colour: str, label: str) -> None:
    """Draw the five-step means of one seed: a line that parts in two where the budget is raised."""
    before = moving_average(values[SMALL_BUDGET])
    ax.plot(range(1, len(before) + 1), before, color=colour, label=label)
    ax.axvline(len(before), color="grey", linestyle=":", linewidth=1)
    for name, style in ((BUDGET_RAISED, "-"), (BUDGET_KEPT, "--")):
        after = [before[-1], *moving_average(values[name])]
        ax.plot(range(len(before), len(before) + len(after)), after, color=colour, linestyle=style)
