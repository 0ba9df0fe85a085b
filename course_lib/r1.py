"""From raw text to a reasoning model in one command, with a report card at the end.

    python -m course_lib.r1 --out runs/r1                           # a quarter of an hour on one core
    python -m course_lib.r1 --out runs/r1 --seed 1                  # another seed, into the same report
    python -m course_lib.r1 --out runs/r1 --from sft                # this stage and all after it anew
    python -m course_lib.r1 --out runs/r1 --experiment strict       # a control, once there is a base

A command that was stopped or killed goes on where it was when it is given again. The folder gets one folder per seed,
and in it one per stage: its model, its history, the answers it learnt from. `card.md` and its figures tell what came
out, over all seeds.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from course_lib.alignment.branches import run_pipeline
from course_lib.alignment.controls import EXPERIMENTS
from course_lib.alignment.r1 import PRESETS, STAGES, VERSION, Run
from course_lib.alignment.report import write_card
from course_lib.files import read_json, write_json

PROCESSES = min(2, os.cpu_count() or 1)     # a third would wait: the line to R1 takes more than half of all the time


def parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m course_lib.r1", description=__doc__, formatter_class=layout)
    p.add_argument("--out", type=Path, required=True, help="folder of the runs; each seed gets a folder in it")
    p.add_argument("--preset", choices=PRESETS, default="laptop", help="sizes and lengths (default: laptop)")
    p.add_argument("--seed", type=int, default=0, help="of the texts, the first weights and all draws (default: 0)")
    p.add_argument("--from", dest="start", choices=STAGES, help="do this stage and all after it anew")
    p.add_argument("--experiment", choices=EXPERIMENTS, help="a control in place of the pipeline")
    p.add_argument("--processes", type=int, default=PROCESSES, help=f"stages at a time (default: {PROCESSES})")
    p.add_argument("--threads", type=int, default=1, help="of PyTorch; its small matrices gain nothing from more")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline or an experiment, then write the report card. Returns the exit status."""
    args = parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    run = Run(args.out / f"seed-{args.seed}", args.seed, PRESETS[args.preset], device_of(args.preset))
    try:
        claim(run, args.preset)
        if args.experiment:
            with timed(run, f"experiments/{args.experiment}"):
                run.once(f"experiments/{args.experiment}/result", lambda: EXPERIMENTS[args.experiment](run))
        else:
            with timed(run, "clock"):
                run_pipeline(run, args.processes, args.start)
    except KeyboardInterrupt as stopped:
        print(f"Stopped: {stopped or 'the same command goes on from the last checkpoint'}.")
        return 130
    print(f"The report card is {write_card(args.out)}.")
    return 0


def device_of(preset: str) -> str:
    return "cuda" if preset == "gpu" and torch.cuda.is_available() else "cpu"


def claim(run: Run, preset: str) -> None:
    """Write down which preset the folder belongs to. Raises ValueError if it is another one's."""
    run.folder.mkdir(parents=True, exist_ok=True)
    begun = run.once("run", lambda: {"preset": preset, "seed": run.seed})
    if begun["preset"] != preset:
        raise ValueError(f"{run.folder} was begun with --preset {begun['preset']}, not {preset}: choose another --out")


@contextmanager
def timed(run: Run, name: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of the stage, also when it is interrupted."""
    path, start, cpu = run.path(f"{name}/seconds"), time.perf_counter(), time.process_time()
    before = read_json(path, "seconds", VERSION) if path.exists() else {"wall": 0.0, "processor": 0.0}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        spent = {"wall": time.perf_counter() - start, "processor": time.process_time() - cpu}
        write_json(path, "seconds", VERSION, {name: before[name] + spent[name] for name in spent})


if __name__ == "__main__":
    sys.exit(main())
