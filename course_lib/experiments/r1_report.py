"""The report card of the pipeline: tables, figures and their meaning, over all finished seeds."""

import json
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from course_lib.experiments import search_report
from course_lib.experiments.ablations import ABLATIONS
from course_lib.experiments.own_lines_report import own_lines_section, read_own_lines
from course_lib.experiments.r1 import R1_STAGES
from course_lib.experiments.report_parts import (
    SEED_COLOURS,
    code_in_cell,
    list_experiments,
    save_figure,
    seed_decimals,
    seed_list,
    seed_percents,
    seeds_in_words,
    with_colours,
)
from course_lib.experiments.run import DATA_VERSION, DENSE_STAGES
from course_lib.experiments.search import SEARCH_EXPERIMENTS
from course_lib.files import markdown_table, read_json, write_atomically

STAGE_NAMES = {
    "base": "V3-Base", "zero": "R1-Zero", "cold-start": "cold start", "reasoning": "reasoning RL",
    "sft": "SFT of the base", "r1": "**R1**",
    "small-base": "small base", "small-zero": "small, by RL", "student": "small, taught by R1",
}  # fmt: skip
CHAIN_ABLATIONS = {
    name: control for name, control in ABLATIONS.items() if name not in SEARCH_EXPERIMENTS
}
# What a run is meant to reach: a name, the measure, and whether it is reached
R1_GOALS: list[tuple[str, Callable[[dict], float], Callable[[float], bool]]] = [
    (
        "V3-Base right, at most 30 %",
        lambda run: arithmetic_measure(run, "base", "accuracy"),
        lambda x: x <= 0.30,
    ),
    (
        "R1-Zero right, at least 90 %",
        lambda run: arithmetic_measure(run, "zero", "accuracy"),
        lambda x: x >= 0.90,
    ),
    (
        "R1 right, at least 95 %",
        lambda run: arithmetic_measure(run, "r1", "accuracy"),
        lambda x: x >= 0.95,
    ),
    (
        "R1 mixes languages, under 1 %",
        lambda run: arithmetic_measure(run, "r1", "mixed"),
        lambda x: x < 0.01,
    ),
    (
        "R1 well-formed, at least 99 %",
        lambda run: arithmetic_measure(run, "r1", "format"),
        lambda x: x >= 0.99,
    ),
]


def arithmetic_measure(run: dict, stage: str, measure: str) -> float:
    return run["measures"]["stages"][stage]["sums"][measure]


def write_report_card(out: Path) -> Path:
    """Write `card.md`, its figures and `card.json` for the finished seeds in the folder `out`.

    `card.json` holds all numbers of the others.
    """
    runs = [
        read_r1_run(folder) for folder in sorted(Path(out).glob("seed-*")) if is_finished(folder)
    ]
    if runs:
        save_figure(r1_zero_curves(runs), Path(out) / "zero.svg")
        save_figure(at_k_figure(runs), Path(out) / "samples.svg")
        search_report.draw_search_figures(runs, Path(out))
    write_atomically(Path(out) / "card.md", r1_report_card(runs).encode())
    write_atomically(
        Path(out) / "card.json", json.dumps(runs, ensure_ascii=False, indent=1).encode()
    )
    return Path(out) / "card.md"


def is_finished(folder: Path) -> bool:
    return (folder / "evaluation/measures.json").exists()


def read_r1_run(folder: Path) -> dict:
    """Collect what a run has left: measures, seconds, histories, data counts, ablations, search."""

    def data(name: str) -> dict | list:
        return read_json(folder / f"{name}.json", "data", DATA_VERSION)

    history = read_json(folder / "zero/history.json", "history", DATA_VERSION)
    seconds = {
        name: read_json(folder / name / "seconds.json", "seconds", DATA_VERSION)
        for name in [*R1_STAGES, "evaluation", "clock"]
    }
    kept = {
        name: len(data(name))
        for name in ("cold-start/answers", "sft/sums", "sft/chats", "student/answers")
    }
    return {
        "seed": data("run")["seed"],
        "measures": data("evaluation/measures"),
        "seconds": seconds,
        "kept": kept,
        "curves": history["measures"],
        "samples": history["samples"],
        "experiments": {
            name: data(f"experiments/{name}/result")
            for name in CHAIN_ABLATIONS
            if (folder / f"experiments/{name}/result.json").exists()
        },
        "search": search_report.read_search_run(folder),
    } | read_own_lines(folder)


# ------------------------------------------------------------------------------------------- tables


def r1_report_card(runs: list[dict]) -> str:
    """Write the card in Markdown."""
    head = ["# R1's report card", ""]
    if not runs:
        return "\n".join([*head, "No seed is done yet.", ""])
    minutes = ", ".join(f"{run['seconds']['clock']['wall'] / 60:.0f}" for run in runs)
    about = (
        f"Seeds {seed_list(runs)}, one number each. A seed is other texts, other first weights and"
        " other draws. Made by `python -m course_lib.r1 --out DIR --seed S`. Sums are 1,000"
        " held-out ones, by which no recipe was chosen, at temperature 1 unless it says greedy."
        f" From raw text to this card: {minutes} minutes by the clock, one thread each."
    )
    curves, samples = "![Curves of R1-Zero](zero.svg)", "![pass@k and majority@k](samples.svg)"
    sections = {
        "Goals": [r1_goals_table(runs)],
        **({"Whose lines": [own_lines_section(runs)]} if "mine" in runs[0] else {}),
        "Stages": [stages_table(runs)],
        "R1-Zero": [curves, what_grew_section(runs), samples_table(runs[0])],
        "More answers than one": [samples, at_k_table(runs)],
        "Manners": [manners_table(runs)],
        "The small model": [student_table(runs)],
        "Longer sums than any in the corpus": [longer_sums_table(runs)],
        "Controls": [ablations_section(runs)],
    }
    parts = [[f"## {name}", *parts] for name, parts in sections.items()]
    body = "\n\n".join([about, *(part for each in parts for part in each)])
    return "\n".join([*head, body, "", *search_report.search_section(runs)])


def r1_goals_table(runs: list[dict]) -> str:
    rows = []
    for name, measure, reached in R1_GOALS:
        values = [measure(run) for run in runs]
        rows.append([name, seed_percents(values), f"{sum(map(reached, values))} of {len(values)}"])
    return markdown_table(["goal", "%", "seeds that reach it"], rows)


def stages_table(runs: list[dict]) -> str:
    header = [
        *("stage", "right", "right, greedy", "well-formed", "show work", "mixed"),
        *("tokens", "tokens if worked", "seconds"),
    ]
    note = "\n\nShares in per cent; *seconds* of one processor, all that the stage does included."
    return markdown_table(header, [stage_row(runs, stage) for stage in R1_STAGES]) + note


def stage_row(runs: list[dict], stage: str) -> list[str]:
    def over_seeds(measure: str) -> list[float]:
        return [arithmetic_measure(run, stage, measure) for run in runs]

    greedy = [run["measures"]["stages"][stage]["sums, greedy"]["accuracy"] for run in runs]
    return [
        STAGE_NAMES[stage],
        seed_percents(over_seeds("accuracy")),
        seed_percents(greedy),
        *(seed_percents(over_seeds(measure)) for measure in ("format", "worked", "mixed")),
        *(seed_decimals(over_seeds(measure)) for measure in ("length", "length of worked")),
        ", ".join(f"{run['seconds'][stage]['processor']:.0f}" for run in runs),
    ]


def what_grew_section(runs: list[dict]) -> str:
    """Say which growth is composition, and what drifts: with the numbers beside it."""
    lines = []
    for run in runs:
        before = run["measures"]["stages"]["base"]["sums"]
        after = run["measures"]["stages"]["zero"]["sums"]
        lines.append(
            f"- Seed {run['seed']}: from {before['length']:.1f} to {after['length']:.1f} tokens per"
            f" answer, from {before['length of worked']:.1f} to {after['length of worked']:.1f} per"
            f" worked answer; {before['worked']:.0%} and then {after['worked']:.0%} show work. Of"
            f" the worked answers, {before['mixed of worked']:.0%} mixed languages before and"
            f" {after['mixed of worked']:.0%} after."
        )
    return "\n".join(
        [
            (
                "What grows is the share of answers that show their work; where the worked answers"
                " themselves stay as long as they were, the model has not learnt to think longer."
                " No reward here speaks of language, so how much is mixed drifts with the seed:"
            ),
            "",
            *lines,
        ]
    )


def samples_table(run: dict) -> str:
    """Show the answer to the first question of the kept steps."""
    shown, rows = set(), []
    for step, question, text, reward in run["samples"]:
        if step not in shown:
            shown.add(step)
            rows.append([step, f"`{question}`", code_in_cell(text), f"{reward:g}"])
    table = markdown_table(["step", "question", "answer", "reward"], rows)
    return f"Answers on the way, seed {run['seed']}:\n\n{table}"


def at_k_table(runs: list[dict]) -> str:
    ks = runs[0]["measures"]["at k"]["base"]["k"]
    rows = [
        [
            f"{STAGE_NAMES[name]}, {kind}@k",
            *(
                seed_percents([run["measures"]["at k"][name][kind][i] for run in runs])
                for i in range(len(ks))
            ),
        ]
        for name in ("base", "zero")
        for kind in ("pass", "majority")
    ]
    return markdown_table(["%", *(f"k = {k}" for k in ks)], rows)


def manners_table(runs: list[dict]) -> str:
    big = [stage for stage in R1_STAGES if stage not in DENSE_STAGES]
    traits = list(runs[0]["measures"]["stages"]["base"]["chats"])
    chats = {stage: [run["measures"]["stages"][stage]["chats"] for run in runs] for stage in big}
    rows = [
        [
            STAGE_NAMES[stage],
            *(seed_percents([each[trait] for each in chats[stage]]) for trait in traits),
        ]
        for stage in big
    ]
    note = (
        "500 questions about facts, of which the corpus speaks too. The annotator, and so the"
        " taste, "
    )
    return f"{note}is simulated.\n\n" + markdown_table(["%", *traits], rows)


def student_table(runs: list[dict]) -> str:
    rows = [
        [
            STAGE_NAMES[stage],
            seed_percents([arithmetic_measure(run, stage, "accuracy") for run in runs]),
            seed_percents([arithmetic_measure(run, stage, "worked") for run in runs]),
        ]
        for stage in DENSE_STAGES
    ]
    taught = ", ".join(f"{run['kept']['student/answers']:,}" for run in runs)
    note = (
        f"\n\nTaught by {taught} right, readable answers of R1; what it cost to make R1 is not"
        " counted."
    )
    return markdown_table(["%", "right", "show work"], rows) + note


def longer_sums_table(runs: list[dict]) -> str:
    lengths = list(runs[0]["measures"]["longer sums"])
    row = [
        seed_percents([run["measures"]["longer sums"][length] for run in runs])
        for length in lengths
    ]
    return markdown_table(["numbers in the sum", *lengths], [["R1, % right", *row]])


def ablations_section(runs: list[dict]) -> str:
    """Show the controls that were made, and what each asks."""
    made = {name: [run for run in runs if name in run["experiments"]] for name in CHAIN_ABLATIONS}
    if not any(made.values()):
        return "None has been run here: `--experiment NAME`."
    parts = [list_experiments(CHAIN_ABLATIONS, made), ablations_table(runs, made)]
    return "\n\n".join(
        parts + ([over_optimization_table(made["naive-judge"])] if made["naive-judge"] else [])
    )


def ablations_table(runs: list[dict], made: dict[str, list[dict]]) -> str:
    """Show sums before and after each control, below R1-Zero itself."""
    zero = [
        {
            when: run["measures"]["stages"][stage]["sums"]
            for when, stage in (("before", "base"), ("after", "zero"))
        }
        for run in runs
    ]
    rows = [[STAGE_NAMES["zero"], seed_list(runs), *ablation_changes(zero)]]
    for name, some in made.items():
        results = [run["experiments"][name] for run in some]
        if results and "after" in results[0]:
            rows.append([f"`{name}`", seed_list(some), *ablation_changes(results)])
    return markdown_table(
        ["experiment", "seeds", "right, %", "well-formed, %", "show work, %", "tokens"], rows
    )


def ablation_changes(results: list[dict]) -> list[str]:
    """Write measures of sums before and after."""
    wanted = [
        ("accuracy", seed_percents),
        ("format", seed_percents),
        ("worked", seed_percents),
        ("length", seed_decimals),
    ]
    return [
        " → ".join(
            write([result[when][measure] for result in results]) for when in ("before", "after")
        )
        for measure, write in wanted
    ]


def over_optimization_table(runs: list[dict]) -> str:
    """Show what a reward model that has seen too little does to manners."""
    chats = [run["experiments"]["naive-judge"]["chats"] for run in runs]
    traits = [trait for trait in chats[0]["sft"] if trait != "score"]
    rows = []
    for stage in chats[0]:
        name = STAGE_NAMES.get(stage, f"`{Path(stage).name}`")
        each = [chat[stage] for chat in chats]
        score = seed_decimals([chat["score"] for chat in each], 2)
        rows.append(
            [name, score, *(seed_percents([chat[trait] for chat in each]) for trait in traits)]
        )
    note = (
        f"Chats, {seeds_in_words(runs)}, shares in per cent; the score is that of the judge of"
        " `naive-judge`:\n\n"
    )
    return note + markdown_table(["", "score", *traits], rows)


# ------------------------------------------------------------------------------------------ figures


def r1_zero_curves(runs: list[dict]) -> Figure:
    """Draw what R1-Zero's samples were like, step by step: a line per seed."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    wanted = [
        ("accuracy", "right"),
        ("worked", "show work"),
        ("format", "well-formed"),
        ("mixed", "mix languages"),
        ("length", "tokens per answer"),
        ("entropy", "surprise per token, nats"),
    ]
    for ax, (name, title) in zip(figure.subplots(2, 3).flat, wanted, strict=True):
        for run, colour in with_colours(runs):
            values = run["curves"][name]
            ax.plot(range(1, len(values) + 1), values, color=colour, label=f"seed {run['seed']}")
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_ylim(0, 1 if name not in ("length", "entropy") else None)
    figure.axes[0].legend()
    return figure


def at_k_figure(runs: list[dict]) -> Figure:
    """Draw pass@k and majority@k of the base and of R1-Zero, the mean over the seeds."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for ax, kind in zip(figure.subplots(1, 2, sharey=True), ("pass", "majority"), strict=True):
        for name, colour, marker in (
            ("base", SEED_COLOURS[0], "o"),
            ("zero", SEED_COLOURS[1], "s"),
        ):
            found = [run["measures"]["at k"][name] for run in runs]
            mean = [
                sum(values) / len(values)
                for values in zip(*(each[kind] for each in found), strict=True)
            ]
            ax.plot(found[0]["k"], mean, color=colour, marker=marker, label=STAGE_NAMES[name])
        ax.set_xscale("log", base=2)
        ax.set_xticks(found[0]["k"], [str(k) for k in found[0]["k"]])
        ax.set_title(f"{kind}@k")
        ax.set_xlabel("k")
        ax.set_ylim(0, 1.02)
    figure.axes[0].legend()
    return figure
