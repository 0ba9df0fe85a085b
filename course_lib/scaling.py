"""Train the grid of the scaling laws, fit a law, write down a prediction, and test it.

    python -m course_lib.scaling rates grid long --out data/scaling
    python -m course_lib.scaling predict --out data/scaling
    python -m course_lib.scaling check --out data/scaling

Finished runs are kept in `runs.json`: a command that was stopped goes on where it was. `predict`
trains nothing and never writes over an older prediction; `check` trains what was predicted.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from course_lib.experiments import scaling
from course_lib.experiments.run_records import RunRecords
from course_lib.experiments.scaling_report import check_prediction, write_prediction

SCALING_PARTS = ("rates", "grid", "long", "predict", "check")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what is missing of the parts that are asked for."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.scaling", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("parts", nargs="+", choices=SCALING_PARTS, help="what to do, in this order")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and prediction")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "runs.json")
    todo = {
        "rates": lambda: scaling.sweep_scaling_rates(records),
        "grid": lambda: scaling.train_scaling_grid(records, asked.seeds),
        "long": lambda: scaling.train_long_schedules(records, asked.seeds),
        "predict": lambda: write_prediction(records.runs, asked.out / "prediction.json"),
        "check": lambda: check_prediction(records, asked.out / "prediction.json", asked.seeds),
    }
    try:
        for part in asked.parts:
            todo[part]()
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
