"""The report card of the pipeline: tables, figures and what the numbers carry, over all seeds that are done."""

import json
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from course_lib.alignment import report_search, search
from course_lib.alignment.controls import EXPERIMENTS
from course_lib.alignment.r1 import SMALL, STAGES, VERSION
from course_lib.alignment.report_parts import COLOURS, code, coloured, decimals, draw, listed, of_seeds, percent, seeds
from course_lib.files import markdown_table, read_json, write_atomically

NAMES = {
    "base": "V3-Base", "zero": "R1-Zero", "cold-start": "cold start", "reasoning": "reasoning RL",
    "sft": "SFT of the base", "r1": "**R1**",
    "small-base": "small base", "small-zero": "small, by RL", "student": "small, taught by R1",
}  # fmt: skip
CONTROLS = {name: control for name, control in EXPERIMENTS.items() if name not in search.EXPERIMENTS}
# What a run is meant to reach: a name, the measure, and whether it is reached
GOALS: list[tuple[str, Callable[[dict], float], Callable[[float], bool]]] = [
    ("V3-Base right, at most 30 %", lambda run: sums(run, "base", "accuracy"), lambda x: x <= 0.30),
    ("R1-Zero right, at least 90 %", lambda run: sums(run, "zero", "accuracy"), lambda x: x >= 0.90),
    ("R1 right, at least 95 %", lambda run: sums(run, "r1", "accuracy"), lambda x: x >= 0.95),
    ("R1 mixes languages, under 1 %", lambda run: sums(run, "r1", "mixed"), lambda x: x < 0.01),
    ("R1 well-formed, at least 99 %", lambda run: sums(run, "r1", "format"), lambda x: x >= 0.99),
]


def sums(run: dict, stage: str, measure: str) -> float:
    return run["measures"]["stages"][stage]["sums"][measure]


def write_card(out: Path) -> Path:
    """Write `card.md`, its figures and `card.json` (all numbers in them) for the finished seeds in the folder `out`."""
    runs = [read_run(folder) for folder in sorted(Path(out).glob("seed-*")) if finished(folder)]
    if runs:
        draw(curves(runs), Path(out) / "zero.svg")
        draw(at_k_figure(runs), Path(out) / "samples.svg")
        report_search.draw_figures(runs, Path(out))
    write_atomically(Path(out) / "card.md", card(runs).encode())
    write_atomically(Path(out) / "card.json", json.dumps(runs, ensure_ascii=False, indent=1).encode())
    return Path(out) / "card.md"


def finished(folder: Path) -> bool:
    return (folder / "evaluation/measures.json").exists()


def read_run(folder: Path) -> dict:
    """Collect what a run has left: measures, seconds, the history of R1-Zero, data counts, controls, search."""
    data = lambda name: read_json(folder / f"{name}.json", "data", VERSION)         # noqa: E731
    history = read_json(folder / "zero/history.json", "history", VERSION)
    seconds = {
        name: read_json(folder / name / "seconds.json", "seconds", VERSION) for name in [*STAGES, "evaluation", "clock"]
    }
    kept = {name: len(data(name)) for name in ("cold-start/answers", "sft/sums", "sft/chats", "student/answers")}
    return {
        "seed": data("run")["seed"], "measures": data("evaluation/measures"), "seconds": seconds, "kept": kept,
        "curves": history["measures"], "samples": history["samples"],
        "experiments": {name: data(f"experiments/{name}/result") for name in CONTROLS
                        if (folder / f"experiments/{name}/result.json").exists()},
        "search": report_search.read(folder),
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- tables


def card(runs: list[dict]) -> str:
    """Write the card in Markdown."""
    head = ["# R1's report card", ""]
    if not runs:
        return "\n".join([*head, "No seed is done yet.", ""])
    minutes = ", ".join(f"{run['seconds']['clock']['wall'] / 60:.0f}" for run in runs)
    return "\n".join([
        *head,
        f"Seeds {seeds(runs)}, one number each. A seed is other texts, other first weights and other draws. Made by "
        "`python -m course_lib.r1 --out DIR --seed S`. Sums are 1,000 held-out ones, by which no recipe was chosen, "
        f"at temperature 1 unless it says greedy. From raw text to this card: {minutes} minutes by the clock, one "
        "thread each.", "",
        "## Goals", "", goals(runs), "",
        "## Stages", "", stages(runs), "",
        "## R1-Zero", "", "![Curves of R1-Zero](zero.svg)", "", what_grew(runs), "", samples(runs[0]), "",
        "## More answers than one", "", "![pass@k and majority@k](samples.svg)", "", many(runs), "",
        "## Manners", "", manners(runs), "",
        "## The small model", "", small(runs), "",
        "## Longer sums than any in the corpus", "", longer(runs), "",
        "## Controls", "", controls(runs), "",
        *report_search.section(runs),
    ])  # fmt: skip


def goals(runs: list[dict]) -> str:
    rows = []
    for name, measure, reached in GOALS:
        values = [measure(run) for run in runs]
        rows.append([name, percent(values), f"{sum(map(reached, values))} of {len(values)}"])
    return markdown_table(["goal", "%", "seeds that reach it"], rows)


def stages(runs: list[dict]) -> str:
    header = ["stage", "right", "right, greedy", "well-formed", "show work", "mixed", "tokens", "tokens if worked",
              "seconds"]  # fmt: skip
    rows = []
    for stage in STAGES:
        of = lambda what, stage=stage: percent([sums(run, stage, what) for run in runs])       # noqa: E731
        number = lambda what, stage=stage: decimals([sums(run, stage, what) for run in runs])     # noqa: E731
        greedy = percent([run["measures"]["stages"][stage]["sums, greedy"]["accuracy"] for run in runs])
        seconds = ", ".join(f"{run['seconds'][stage]['processor']:.0f}" for run in runs)
        rows.append([NAMES[stage], of("accuracy"), greedy, of("format"), of("worked"), of("mixed"), number("length"),
                     number("length of worked"), seconds])  # fmt: skip
    note = "\n\nShares in per cent; *seconds* of one processor, all that the stage does included."
    return markdown_table(header, rows) + note


def what_grew(runs: list[dict]) -> str:
    """Say which growth is composition, and what drifts: with the numbers beside it."""
    lines = []
    for run in runs:
        before, after = run["measures"]["stages"]["base"]["sums"], run["measures"]["stages"]["zero"]["sums"]
        lines.append(
            f"- Seed {run['seed']}: from {before['length']:.1f} to {after['length']:.1f} tokens per answer, from "
            f"{before['length of worked']:.1f} to {after['length of worked']:.1f} per worked answer; "
            f"{before['worked']:.0%} and then {after['worked']:.0%} show work. Of the worked answers, "
            f"{before['mixed of worked']:.0%} mixed languages before and {after['mixed of worked']:.0%} after."
        )
    return "\n".join([
        "What grows is the share of answers that show their work; where the worked answers themselves stay as long as "
        "they were, the model has not learnt to think longer. No reward here speaks of language, so how much is mixed "
        "drifts with the seed:", "", *lines,
    ])  # fmt: skip


def samples(run: dict) -> str:
    """Show the answer to the first question of the kept steps."""
    shown, rows = set(), []
    for step, question, text, reward in run["samples"]:
        if step not in shown:
            shown.add(step)
            rows.append([step, f"`{question}`", code(text), f"{reward:g}"])
    table = markdown_table(["step", "question", "answer", "reward"], rows)
    return f"Answers on the way, seed {run['seed']}:\n\n{table}"


def many(runs: list[dict]) -> str:
    ks = runs[0]["measures"]["at k"]["base"]["k"]
    rows = [
        [f"{NAMES[name]}, {kind}@k", *(percent([run["measures"]["at k"][name][kind][i] for run in runs])
                                       for i in range(len(ks)))]
        for name in ("base", "zero") for kind in ("pass", "majority")
    ]  # fmt: skip
    return markdown_table(["%", *(f"k = {k}" for k in ks)], rows)


def manners(runs: list[dict]) -> str:
    big = [stage for stage in STAGES if stage not in SMALL]
    traits = list(runs[0]["measures"]["stages"]["base"]["chats"])
    chats = {stage: [run["measures"]["stages"][stage]["chats"] for run in runs] for stage in big}
    rows = [
        [NAMES[stage], *(percent([each[trait] for each in chats[stage]]) for trait in traits)] for stage in big
    ]
    note = "500 questions about facts, of which the corpus speaks too. The annotator, and so the taste, "
    return f"{note}is simulated.\n\n" + markdown_table(["%", *traits], rows)


def small(runs: list[dict]) -> str:
    rows = [
        [NAMES[stage], percent([sums(run, stage, "accuracy") for run in runs]),
         percent([sums(run, stage, "worked") for run in runs])]
        for stage in SMALL
    ]  # fmt: skip
    taught = ", ".join(f"{run['kept']['student/answers']:,}" for run in runs)
    note = f"\n\nTaught by {taught} right, readable answers of R1; what it cost to make R1 is not counted."
    return markdown_table(["%", "right", "show work"], rows) + note


def longer(runs: list[dict]) -> str:
    lengths = list(runs[0]["measures"]["longer sums"])
    row = [percent([run["measures"]["longer sums"][length] for run in runs]) for length in lengths]
    return markdown_table(["numbers in the sum", *lengths], [["R1, % right", *row]])


def controls(runs: list[dict]) -> str:
    """Show the controls that were made, and what each asks."""
    made = {name: [run for run in runs if name in run["experiments"]] for name in CONTROLS}
    if not any(made.values()):
        return "None has been run here: `--experiment NAME`."
    parts = [listed(CONTROLS, made), before_and_after(runs, made)]
    return "\n\n".join(parts + ([over_optimised(made["naive-judge"])] if made["naive-judge"] else []))


def before_and_after(runs: list[dict], made: dict[str, list[dict]]) -> str:
    """Show sums before and after each control, below R1-Zero itself."""
    zero = [{when: run["measures"]["stages"][stage]["sums"] for when, stage in (("before", "base"), ("after", "zero"))}
            for run in runs]  # fmt: skip
    rows = [[NAMES["zero"], seeds(runs), *changes(zero)]]
    for name, some in made.items():
        results = [run["experiments"][name] for run in some]
        if results and "after" in results[0]:
            rows.append([f"`{name}`", seeds(some), *changes(results)])
    return markdown_table(["experiment", "seeds", "right, %", "well-formed, %", "show work, %", "tokens"], rows)


def changes(results: list[dict]) -> list[str]:
    """Write measures of sums before and after."""
    wanted = [("accuracy", percent), ("format", percent), ("worked", percent), ("length", decimals)]
    return [" → ".join(write([result[when][measure] for result in results]) for when in ("before", "after"))
            for measure, write in wanted]  # fmt: skip


def over_optimised(runs: list[dict]) -> str:
    """Show what a reward model that has seen too little does to manners."""
    chats = [run["experiments"]["naive-judge"]["chats"] for run in runs]
    traits = [trait for trait in chats[0]["sft"] if trait != "score"]
    rows = []
    for stage in chats[0]:
        name, each = NAMES.get(stage, f"`{Path(stage).name}`"), [chat[stage] for chat in chats]
        score = decimals([chat["score"] for chat in each], 2)
        rows.append([name, score, *(percent([chat[trait] for chat in each]) for trait in traits)])
    note = f"Chats, {of_seeds(runs)}, shares in per cent; the score is that of the judge of `naive-judge`:\n\n"
    return note + markdown_table(["", "score", *traits], rows)


# ------------------------------------------------------------------------------------------------------------- figures


def curves(runs: list[dict]) -> Figure:
    """Draw what R1-Zero's samples were like, step by step: a line per seed."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    wanted = [("accuracy", "right"), ("worked", "show work"), ("format", "well-formed"), ("mixed", "mix languages"),
              ("length", "tokens per answer"), ("entropy", "surprise per token, nats")]  # fmt: skip
    for ax, (name, title) in zip(figure.subplots(2, 3).flat, wanted, strict=True):
        for run, colour in coloured(runs):
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
        for name, colour, marker in (("base", COLOURS[0], "o"), ("zero", COLOURS[1], "s")):
            found = [run["measures"]["at k"][name] for run in runs]
            mean = [sum(values) / len(values) for values in zip(*(each[kind] for each in found), strict=True)]
            ax.plot(found[0]["k"], mean, color=colour, marker=marker, label=NAMES[name])
        ax.set_xscale("log", base=2)
        ax.set_xticks(found[0]["k"], [str(k) for k in found[0]["k"]])
        ax.set_title(f"{kind}@k")
        ax.set_xlabel("k")
        ax.set_ylim(0, 1.02)
    figure.axes[0].legend()
    return figure
