"""Train every rung of the ladder, from GPT-2 to V4, and write down what each step buys.

    python -m course_lib.ladder --out data/ladder

Every rung learns from the same tokens, on both corpora, over several seeds; then once more for as
much processor time as GPT-2 took. A second experiment leaves a mixture of experts without balance,
and cures it. Finished runs are kept in `runs.json`: a command that was stopped goes on where it
was. `runs.md` holds the tables.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from course_lib.experiments import ladder
from course_lib.experiments.ladder_report import ladder_report
from course_lib.experiments.ladder_runs import train_all_rungs
from course_lib.experiments.run_records import RunRecords
from course_lib.files import write_atomically


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train what is missing, write the tables."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.ladder", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs.json and runs.md")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--corpora",
        nargs="+",
        choices=list(ladder.LADDER_CORPORA),
        default=list(ladder.LADDER_CORPORA),
    )
    parser.add_argument("--steps", type=int, default=200, help="of 2048 tokens each (default: 200)")
    parser.add_argument(
        "--report", action="store_true", help="train nothing, write the tables of the runs so far"
    )
    asked = parser.parse_args(arguments)
    if asked.steps < 10:
        parser.error(f"--steps {asked.steps} is below 10")
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "runs.json")
    if not asked.report:
        train_all_rungs(records, asked.seeds, asked.corpora, asked.steps)
    command = f"python -m course_lib.ladder --out {asked.out} --steps {asked.steps}"
    write_atomically(asked.out / "runs.md", ladder_report(records.runs, command).encode())


if __name__ == "__main__":
    main()
