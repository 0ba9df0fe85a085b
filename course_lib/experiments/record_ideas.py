"""Each idea of the speed boards alone, on top of V1 with Muon, by the processor's clock.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.record_ideas --out data/record

An idea that brings numbers of its own, or moves the best rates, has several variants: the first
seed chooses, and the chosen one is run with the other seeds. Scored is the validation text, so that
nothing is chosen by the held-out one. Finished runs are kept in `ideas.json`, so that a command
that was stopped goes on where it was; `ideas.md` holds the table.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from course_lib.experiments.record import (
    RecordRecipe,
    WindowBatches,
    processor_name,
    run_entry,
    validation_documents,
)
from course_lib.experiments.record_recipes import best_recipe, plain_recipe, speedrun_recipe
from course_lib.experiments.run_records import RunRecords, runs_with
from course_lib.files import markdown_table, write_atomically

NO_IDEA, ALL_KEPT, PLAIN = "V1, Muon", "the course's best", "GPT-2, AdamW"
IDEA_SEEDS, IDEA_SECONDS, VALIDATION_BYTES = (0, 1, 2), 10.0, 30_000

# What is changed: rates of the optimizers under "rates", batches under "batches", the rest are the
# model's settings.
SPEED_IDEAS: dict[str, list[dict[str, Any]]] = {
    NO_IDEA: [{}],
    "hashed n-grams": [{"ngram_order": 4}],
    "hashed n-grams, before the head too": [{"ngram_order": 6, "ngram_head": True}],
    "hashed n-grams and fewer layers": [
        {"ngram_order": 6, "ngram_head": True, "n_layers": layers} for layers in (2, 1)
    ],
    "value embeddings": [{"value_layers": 4}],
    "first-embedding mix": [{"first_mix": True}],
    "ReLU squared": [{"relu_squared": True}],
    "QK-norm": [{"qk_norm": True}],
    "softcap": [{"softcap": 15.0}],
    "zero-init outputs": [{"zero_init": True}],
    "cautious decay": [{"rates": {"cautious_decay": 0.1}}, {"rates": {"cautious_decay": 1.0}}],
    "small batches first": [{"batches": WindowBatches((0.0, 8, 64), (0.5, 16, 64))}],
    "short windows first": [{"batches": WindowBatches((0.0, 32, 32), (0.5, 16, 64))}],
    "fewer layers": [{"n_layers": 2}],
}
IDEAS_HEAD = """# What each idea is worth by the clock

Each idea alone, on top of V1 with Muon, {seconds:g} processor seconds of one thread. Bits per byte
on the validation text: mean and range over seeds; less is better. *Step*: milliseconds. *Gain*: of
the mean, against V1 with Muon; *better in*: of the seeds, pair by pair. {processor}. Made by

```bash
OMP_NUM_THREADS=1 python -m course_lib.experiments.record_ideas --out data/record \\
  --seconds {seconds:g}
```"""


def idea_recipe(idea: str, variant: int = 0) -> RecordRecipe:
    """Make the recipe of V1 with Muon and one idea."""
    changed = dict(SPEED_IDEAS[idea][variant])
    rates, batches = changed.pop("rates", None), changed.pop("batches", None)
    return speedrun_recipe(idea, rates, batches, **changed)


def measure_idea(
    records: RunRecords, idea: str, seconds: float, seeds: Sequence[int], documents: Sequence[str]
) -> None:
    """Run an idea's variants with the first seed, and the best of them with the others."""

    def bits(variant: int, seed: int) -> float:
        recipe = idea_recipe(idea, variant)
        key = {"idea": idea, "variant": variant, "budget": seconds, "seed": seed}
        run = records.get(lambda: asdict(run_entry(recipe, seed, seconds, documents)), **key)
        return run["bits_per_byte"]

    best = min(range(len(SPEED_IDEAS[idea])), key=lambda variant: bits(variant, seeds[0]))
    for seed in seeds[1:]:
        bits(best, seed)


def measure_together(
    records: RunRecords, seconds: float, seeds: Sequence[int], documents: Sequence[str]
) -> None:
    """Run the plain recipe and the course's best, for the first and the last row of the table."""
    for name, recipe in ((PLAIN, plain_recipe()), (ALL_KEPT, best_recipe())):
        for seed in seeds:
            key = {"idea": name, "variant": 0, "budget": seconds, "seed": seed}

            def measure(recipe: RecordRecipe = recipe, seed: int = seed) -> dict:
                return asdict(run_entry(recipe, seed, seconds, documents))

            records.get(measure, **key)


def chosen_runs(runs: Sequence[dict], idea: str) -> list[dict]:
    """Give the runs of an idea's chosen variant: the one that most seeds were run with."""
    by_variant: dict[int, list[dict]] = {}
    for run in runs_with(list(runs), idea=idea):
        by_variant.setdefault(run["variant"], []).append(run)
    found = by_variant.values()
    return max(found, key=lambda mine: (len(mine), -mine[0]["bits_per_byte"]), default=[])


def variant_words(idea: str, variant: int) -> str:
    """Tell what an idea changes: `ngram_order 4, table_lr 0.1`."""
    if idea not in SPEED_IDEAS:
        return "see `record_recipes`"
    changed = dict(SPEED_IDEAS[idea][variant])
    changed |= changed.pop("rates", {})
    batches = changed.pop("batches", WindowBatches((0.0, 16, 64)))
    told = [f"{name} {value}" for name, value in changed.items()]
    if len(batches.phases) > 1:
        told += [f"{rows} x {length} from {at:.0%} on" for at, rows, length in batches.phases]
    return ", ".join(told) or "-"


def idea_row(mine: list[dict], base: dict[int, float]) -> tuple[float, list[str]]:
    """Make an idea's row, and the gain that it is sorted by; `base` has the bits without it."""
    bits = [run["bits_per_byte"] for run in mine]
    gains = [base[run["seed"]] - run["bits_per_byte"] for run in mine]
    idea, is_base = mine[0]["idea"], mine[0]["idea"] == NO_IDEA
    return mean(gains), [
        idea,
        variant_words(idea, mine[0]["variant"]),
        f"{mean(bits):.3f} ({min(bits):.3f}-{max(bits):.3f})",
        "-" if is_base else f"{mean(gains):+.3f}",
        "-" if is_base else f"{sum(gain > 0 for gain in gains)} of {len(gains)}",
        f"{1000 * mean(run['seconds'] / run['steps'] for run in mine):.0f}",
        f"{mine[0]['parameters']:,}",
    ]


def ideas_report(runs: Sequence[dict], seconds: float) -> str:
    """Write the table, the best idea first, losers included."""
    runs = [run for run in runs if run["budget"] == seconds]
    base = {run["seed"]: run["bits_per_byte"] for run in chosen_runs(runs, NO_IDEA)}
    ideas = dict.fromkeys(run["idea"] for run in runs)
    rows = sorted((idea_row(chosen_runs(runs, idea), base) for idea in ideas), reverse=True)
    header = ["idea", "with", "bits per byte", "gain", "better in", "step", "parameters"]
    head = IDEAS_HEAD.format(seconds=seconds, processor=f"Processor: {processor_name()}")
    return f"{head}\n\n{markdown_table(header, [row for _, row in rows])}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure what is missing, write the table."""
    parser = argparse.ArgumentParser("python -m course_lib.experiments.record_ideas")
    parser.add_argument("--out", type=Path, required=True, help="folder for ideas.json, ideas.md")
    parser.add_argument("--seconds", type=float, default=IDEA_SECONDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(IDEA_SEEDS))
    parser.add_argument("--only", nargs="+", choices=list(SPEED_IDEAS), default=list(SPEED_IDEAS))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "ideas.json")
    documents = validation_documents(VALIDATION_BYTES)
    for idea in asked.only:
        measure_idea(records, idea, asked.seconds, asked.seeds, documents)
    measure_together(records, asked.seconds, asked.seeds, documents)
    report = ideas_report(records.runs, asked.seconds)
    write_atomically(asked.out / "ideas.md", report.encode())


if __name__ == "__main__":
    main()
