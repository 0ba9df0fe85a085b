"""One change of GRPO at a time, over three seeds: the records that lesson 24 reads.

    python -m course_lib.experiments.grpo_changes --out data/grpo --work runs/grpo

`--work` is a folder for what is too large to keep: bases that were pre-trained with rare tags, and
the policies that practised from them. Finished runs are kept in `runs.json`: a command that was
stopped goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import torch

from course_lib.alignment.rl_loop import RLHistory
from course_lib.assets import DATA_FOLDER
from course_lib.experiments import ablations, r1
from course_lib.experiments.run import DATA_VERSION, ExperimentRun
from course_lib.files import read_json, write_atomically

GRPO_FOLDER = DATA_FOLDER / "grpo"
CURVES = ("reward", "accuracy", "format", "worked", "length", "entropy", "kl", "used")


class GRPORecords:
    """The runs so far, in a JSON file with a line for each, written anew after each."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.json"
        self.runs: list[dict] = json.loads(self.path.read_text()) if self.path.exists() else []

    def get(self, measure: Callable[[], dict], **key) -> dict:
        """Give the run of this key; measure and keep it if there is none."""
        found = next((run for run in self.runs if key.items() <= run.items()), None)
        if found is None:
            start = time.process_time()
            found = key | measure()
            found |= {"seconds": round(time.process_time() - start, 1)}
            self.runs.append(found)
            lines = ",\n".join(json.dumps(run) for run in self.runs)
            write_atomically(self.path, f"[\n{lines}\n]\n".encode())
            print(", ".join(map(str, key.values())), found["after"], flush=True)
        return found


def rounded_curves(history: RLHistory, names: Sequence[str] = CURVES) -> dict[str, list[float]]:
    """Give some measures of a run, step by step, with four digits behind the point."""
    measures = history.measures
    return {name: [round(x, 4) for x in measures[name]] for name in names if name in measures}


# ------------------------------------------------------- which difference makes the strict one fail


def strict_controls() -> dict[str, tuple[str, Callable[[ExperimentRun], dict]]]:
    """Name what of GRPO's first loss is taken over: the stage it leaves, and its control."""
    short = ablations.DIFFERENCES
    some = {
        " + ".join(short[name] for name in names): "-".join(["strict", *map(short.get, names)])
        for n in (1, 2)
        for names in combinations(short, n)
    }
    controls = {
        name: (stage, ablations.STRICT_ABLATIONS[f"rare-tags-{stage}"])
        for name, stage in some.items()
    }
    return {
        "none": ("strict", ablations.rare_tags_strict),
        **controls,
        "all three": ("strict-averaged", ablations.rare_tags_strict_averaged),
    }


def strict_run(folder: Path, seed: int, name: str) -> dict:
    """Practise from a base that has seen few tags, for the strict reward: measures and curves."""
    run = ExperimentRun(folder / f"seed-{seed}", seed, r1.LAPTOP_RECIPE)
    stage, control = strict_controls()[name]
    found = control(run)
    data = read_json(
        run.path(f"{ablations.ABLATIONS_FOLDER}/rare-tags/{stage}/history"), "history", DATA_VERSION
    )
    return found | {"curves": rounded_curves(RLHistory.from_data(data))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.experiments.grpo_changes", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs.json")
    parser.add_argument("--work", type=Path, required=True, help="folder for bases and policies")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = GRPORecords(asked.out)
    for name in strict_controls():
        for seed in asked.seeds:
            records.get(
                lambda seed=seed, name=name: strict_run(asked.work, seed, name),
                table="strict", name=name, seed=seed,
            )  # fmt: skip


if __name__ == "__main__":
    main()
