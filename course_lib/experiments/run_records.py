"""A record of finished runs: an experiment that was stopped goes on where it was."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from course_lib.files import write_atomically


class RunRecords:
    """The runs so far, in a JSON file with a line for each, written anew after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[dict] = json.loads(path.read_text()) if path.exists() else []

    def find(self, **key) -> dict | None:
        """Give the run of this key, as of a table, a name and a seed, or None."""
        return next(iter(runs_with(self.runs, **key)), None)

    def by_seed(self, **key) -> list[dict]:
        """Give the runs of this key, as of a table and a name, seed by seed."""
        return sorted(runs_with(self.runs, **key), key=lambda run: run["seed"])

    def by_name(self, **key) -> dict[str, list[dict]]:
        """Give the runs of this key by their names, each seed by seed."""
        found: dict[str, list[dict]] = {}
        for run in self.by_seed(**key):
            found.setdefault(run["name"], []).append(run)
        return found

    def get(self, measure: Callable[[], dict], **key) -> dict:
        """Give the run of this key; measure and keep it if there is none."""
        if found := self.find(**key):
            return found
        found = key | measure()
        told = {"bits_per_byte": "{:.3f} bits per byte", "accuracy": "accuracy {:.3f}"}
        told |= {"seconds": "{:.0f} s", "seconds_taken": "{:.0f} s"}
        result = [
            form.format(found[name])
            for name, form in told.items()
            if isinstance(found.get(name), int | float)
        ]
        print(f"{', '.join(map(str, key.values()))}: {', '.join(result)}", flush=True)
        self.runs.append(found)
        lines = ",\n".join(json.dumps(run, ensure_ascii=False) for run in self.runs)
        write_atomically(self.path, f"[\n{lines}\n]\n".encode())
        return found


def runs_with(runs: list[dict], **key) -> list[dict]:
    """Give the runs of this key."""
    return [run for run in runs if key.items() <= run.items()]


def timed_measure(measure: Callable[[], dict]) -> dict:
    """Measure, and add the seconds of the processor that it took.

    >>> timed_measure(lambda: {"accuracy": 1.0})["accuracy"]
    1.0
    """
    start = time.process_time()
    found = measure()
    return found | {"seconds": round(time.process_time() - start, 1)}


def runs_parser(
    name: str, about: str = "", file: str = "runs.json", seeds: Sequence[int] = (0, 1, 2)
) -> argparse.ArgumentParser:
    """Make an experiment's command line: the folder for its file of runs, and which seeds."""
    parser = argparse.ArgumentParser(
        f"python -m course_lib.experiments.{name}", description=about.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help=f"folder for {file}")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    return parser


def open_records(folder: Path, file: str = "runs.json") -> RunRecords:
    """Read the runs of this folder, which is made if it is missing; go on with one thread alone.

    So that the order of sums, and with it a run, does not depend on the number of cores.
    """
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    return RunRecords(folder / file)
