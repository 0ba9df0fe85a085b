"""Attend to few: what each choice of tokens costs, on needles and on the plays, three seeds.

    python -m course_lib.experiments.sparse_attention --out data/sparse_attention

makes all runs and keeps the record; what stands in it already is not made again. The tasks are in
`needles` and `sparse_language`, the choices in `indexers`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.needles import run_needles
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, timed_measure
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
    parser = runs_parser("sparse_attention", __doc__)
    parser.add_argument("--tasks", nargs="+", choices=SPARSE_TASKS, default=list(SPARSE_TASKS))
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for seed in asked.seeds:
        for task in asked.tasks:
            run = partial(SPARSE_TASKS[task], seed)
            records.get(partial(timed_measure, run), task=task, seed=seed)


if __name__ == "__main__":
    main()
