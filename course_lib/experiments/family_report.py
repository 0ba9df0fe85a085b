"""Eight relatives of BERT in one table: what each costs, and what it has learnt.

    python -m course_lib.experiments.family_report

prints the tables of the book's page "Eight relatives", which is built from the stored runs.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from course_lib.experiments.cloze import cloze_places, counting_cloze
from course_lib.experiments.family import MODEL_OF
from course_lib.experiments.family_texts import FAMILY_FOLDER
from course_lib.experiments.few_labels import count_methods, few_label_scores
from course_lib.experiments.report_parts import seed_decimals, seed_percents
from course_lib.experiments.run_records import RunRecords
from course_lib.files import markdown_table

# The order in which they were published.
FAMILY_ORDER = (
    "BERT", "GPT-2", "XLNet", "RoBERTa", "CTRL", "Megatron BERT", "ALBERT", "DistilBERT",
)  # fmt: skip
FEW_LABEL_COLUMNS = {
    "mood": "mood of a sentence",
    "role": "kind of a word",
    "negation": "not X but Y",
    "reaction": "does the reaction fit?",
}
WHAT_IT_READS = {
    "BERT": "hidden tokens, seen from both sides; does one text follow the other?",
    "GPT-2": "each next token, from the left side",
    "XLNet": "tokens in any order, from those that came before in it",
    "RoBERTa": "hidden tokens, seen from both sides",
    "CTRL": "each next token, from the left side and the kind of page",
    "Megatron BERT": "as BERT; each part norms what it reads, not what it has added to",
    "ALBERT": "hidden tokens; are two texts in order? Both layers have the same weights",
    "DistilBERT": "hidden tokens, and what BERT says there; one of BERT's two layers",
}


def load_family(file: Path = FAMILY_FOLDER / "runs.json") -> dict[str, list[dict]]:
    """Read the stored runs: of each system, seed by seed. Raises ValueError if one is missing."""
    found = RunRecords(file).by_name()
    if missing := [name for name in MODEL_OF if name not in found]:
        raise ValueError(f"{file} holds no runs of {', '.join(missing)}")
    return {name: found[name] for name in FAMILY_ORDER}


def family_table(runs: dict[str, list[dict]]) -> str:
    """Lay out what each system costs, and how it does at the hidden tokens, seed by seed."""
    header = ["", "parameters", "steps", "seconds"]
    header += ["hidden tokens named, %", "names, places, things, %", "surprise, nats"]
    return markdown_table(header, [family_row(name, runs[name]) for name in runs])


def family_row(name: str, runs: Sequence[dict]) -> list[object]:
    """Give one system's line of the table."""
    accuracy, world, nats = zip(*(run["cloze"] for run in runs), strict=True)
    cost = [f"{runs[0]['parameters']:,}", f"{runs[0]['steps']:,}"]
    seconds = f"{mean(run['seconds'] for run in runs):.0f}"
    told = [seed_percents(accuracy), seed_percents(world), seed_decimals(nats, 2)]
    return [name, *cost, seconds, *told]


def baseline_table(runs: dict[str, list[dict]]) -> str:
    """Lay out what counting knows at the same places, and left-to-right models from one side."""
    places = cloze_places()
    rows = [
        ["counts, both neighbours", *map(percent_of, counting_cloze(places))],
        ["counts, left neighbour", *map(percent_of, counting_cloze(places, both_sides=False))],
    ]
    for name in ("GPT-2", "CTRL"):
        accuracy, world, _ = zip(*(run["left"] for run in runs[name]), strict=True)
        rows.append([f"{name}, left side only", seed_percents(accuracy), seed_percents(world)])
    return markdown_table(["", "hidden tokens named, %", "names, places, things, %"], rows)


def few_labels_table() -> str:
    """Lay out what 64 labels teach: each system fine-tuned, and what does without pre-training.

    Means over three draws of labels and, of models, three seeds, with the lowest and the highest.
    """
    ways = [("", method) for method in count_methods()] + [("RoBERTa", "from scratch")]
    ways += [(name, "fine-tuned") for name in FAMILY_ORDER]
    rows = []
    for system, method in ways:
        cells = [spread_of(few_label_scores(system, method, task)) for task in FEW_LABEL_COLUMNS]
        rows.append([system if method == "fine-tuned" else method, *cells])
    return markdown_table(["", *FEW_LABEL_COLUMNS.values()], rows)


def spread_of(shares: Sequence[float]) -> str:
    """Write the mean of some shares and their range, in percent.

    >>> spread_of([0.77, 1.0])
    '88 (77 to 100)'
    """
    percents = [100 * share for share in shares]
    return f"{mean(percents):.0f} ({min(percents):.0f} to {max(percents):.0f})"


def percent_of(share: float) -> str:
    return f"{100 * share:.1f}"


def family_tables() -> dict[str, str]:
    """Give the tables and numbers of the page by the names that stand in it."""
    runs = load_family()
    of = partial(family_percents, runs)
    made = {name.upper().replace("-", "").replace(" ", "_"): of(name) for name in runs}
    reads = markdown_table(["", "learns from"], list(WHAT_IT_READS.items()))
    return made | {
        "FAMILY": family_table(runs),
        "BASELINES": baseline_table(runs),
        "FEW_LABELS": few_labels_table(),
        "READS": reads,
    }


def family_percents(runs: dict[str, list[dict]], name: str) -> str:
    """Write the accuracies of one system: "69.6, 69.0, 70.1"."""
    return seed_percents([run["cloze"][0] for run in runs[name]])


def main() -> None:
    """Print the tables."""
    for name, made in family_tables().items():
        print(f"{name}\n\n{made}\n")


if __name__ == "__main__":
    main()
