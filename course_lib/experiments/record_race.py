"""How much sooner does the course's best recipe reach the loss of a plain one?

    OMP_NUM_THREADS=1 python -m course_lib.experiments.record_race --out race.json

Plain is GPT-2 with AdamW and a cosine, given so many processor seconds of one thread, at the rate
and the batch that are best for it on validation text. The best recipe is the record's: of several
shorter runs, each with its own schedule, the shortest that ends at the plain run's bits per byte or
below. Scored is the held-out text of the small web. Finished runs are kept in the file.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from course_lib.experiments.record import run_entry, validation_documents
from course_lib.experiments.record_recipes import best_recipe, plain_recipe
from course_lib.experiments.run_records import RunRecords
from course_lib.files import markdown_table

RACE_SECONDS, RACE_SEEDS = 40.0, (0, 1, 2)  # of a plain run
PLAIN_RATES, PLAIN_BATCHES = (0.008, 0.004, 0.016, 0.032), ((16, 64), (8, 64), (32, 64))
TIMES_SOONER = (16, 12, 10, 8, 6, 5, 4, 3, 2)  # of the best recipe's runs, the shortest first
RACE_VALIDATION_BYTES = 30_000


def tune_plain(records: RunRecords, seconds: float, seed: int) -> tuple[float, int, int]:
    """Choose the plain recipe's batch, then its rate, on validation text: rate, rows, length."""
    documents = validation_documents(RACE_VALIDATION_BYTES)

    def bits(rate: float, rows: int, length: int) -> float:
        def measure() -> dict:
            return asdict(run_entry(plain_recipe(rate, rows, length), seed, seconds, documents))

        key = {"what": "tuning", "budget": seconds, "rate": rate, "batch": [rows, length]}
        return records.get(measure, **key)["bits_per_byte"]

    rows, length = min(PLAIN_BATCHES, key=lambda batch: bits(PLAIN_RATES[0], *batch))
    return min(PLAIN_RATES, key=lambda rate: bits(rate, rows, length)), rows, length


def run_race(
    records: RunRecords, seconds: float = RACE_SECONDS, seeds: Sequence[int] = RACE_SEEDS
) -> list[dict]:
    """Run the tuned plain recipe and ever longer runs of the best one, seed by seed.

    Gives for each seed both runs and the ratio of their processor seconds. Raises RuntimeError if
    the best recipe does not reach the plain one's bits per byte in half the time.
    """
    tuned, races = tune_plain(records, seconds, seeds[0]), []
    for seed in seeds:
        slow = partial(run_entry, plain_recipe(*tuned), seed, seconds)
        key = {"what": "plain", "budget": seconds, "recipe": list(tuned), "seed": seed}
        plain = records.get(lambda slow=slow: asdict(slow()), **key)
        for times in TIMES_SOONER:
            fast = partial(run_entry, best_recipe(), seed, seconds / times)
            key = {"what": best_recipe().about, "budget": seconds / times, "seed": seed}
            best = records.get(lambda fast=fast: asdict(fast()), **key)
            if best["bits_per_byte"] <= plain["bits_per_byte"]:
                break
        else:
            goal = plain["bits_per_byte"]
            raise RuntimeError(f"seed {seed}: {goal:.3f} is not reached in {best['seconds']:.1f} s")
        ratio = plain["seconds"] / best["seconds"]
        races.append({"seed": seed, "tuned": tuned, "plain": plain, "best": best, "ratio": ratio})
    return races


def race_table(races: Sequence[dict]) -> str:
    """Lay out the race as a table in Markdown."""
    rows = [
        [
            "{1} x {2}, rate {0}".format(*race["tuned"]),
            race["seed"],
            *(
                f"{run['bits_per_byte']:.3f} in {run['seconds']:.1f} s, {run['steps']} steps"
                for run in (race["plain"], race["best"])
            ),
            f"{race['ratio']:.1f}",
        ]
        for race in races
    ]
    header = ["GPT-2, AdamW: batch", "seed", "bits per byte", "the record's best", "times sooner"]
    return markdown_table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser("python -m course_lib.experiments.record_race")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that keeps the runs")
    parser.add_argument("--seconds", type=float, default=RACE_SECONDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(RACE_SEEDS))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(race_table(run_race(RunRecords(asked.out), asked.seconds, asked.seeds)))


if __name__ == "__main__":
    main()
