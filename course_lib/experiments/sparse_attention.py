"""Attend to few: what each choice of tokens costs, on needles and on the plays, three seeds.

    python -m course_lib.experiments.sparse_attention --out data/sparse_attention

makes all runs and keeps the record; what stands in it already is not made again. The tasks are in
`needles` and `sparse_language`, the choices in `indexers`.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.needles import run_needles
from course_lib.experiments.run_records import RunRecords, timed_measure
from course_lib.experiments.sparse_language import run_plays

SPARSE_FOLDER = DATA_FOLDER / "sparse_attention"
SPARSE_TASKS = {"needles": run_needles, "plays": run_plays}


def read_sparse(task: str, folder: Path = SPARSE_FOLDER) -> list[dict]:
    """Read the runs of a task, "needles" or "plays", seed by seed."""
    return RunRecords(Path(folder) / "runs.json").by_seed(task=task)


def pick_rows(runs: Sequence[dict], measure: str, **wanted) -> list:
    """Take a measure of those rows that have these settings: a list over top_k for each seed."""
    return [[row[measure] for row in run["rows"] if wanted.items() <= row.items()] for run in runs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.experiments.sparse_attention", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", choices=SPARSE_TASKS, default=list(SPARSE_TASKS))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "runs.json")
    for seed in asked.seeds:
        for task in asked.tasks:
            run = partial(SPARSE_TASKS[task], seed)
            records.get(partial(timed_measure, run), task=task, seed=seed)


if __name__ == "__main__":
    main()
