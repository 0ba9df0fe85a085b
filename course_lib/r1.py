"""From raw text to a reasoning model in one command, with a report card at the end.

    python -m course_lib.r1 --out runs/r1                       # from text to R1, on two cores
    python -m course_lib.r1 --out runs/r1 --seed 1              # another seed, into the same report
    python -m course_lib.r1 --out runs/r1 --from sft            # this stage and all after it anew
    python -m course_lib.r1 --out runs/r1 --experiment strict   # an ablation, once there is a base
    python -m course_lib.r1 --out runs/mine --mine              # on your own solved exercises

A command that was stopped or killed goes on where it was when it is given again. The folder gets
one folder per seed, and in it one per stage: its model, its history, the answers it learnt from.
`card.md` and its figures tell what came out, over all seeds. With `--mine` your functions that
have passed their checks stand in for the library's, see `course_lib.lab.mine`; one that fails is
named and handed back.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from course_lib.experiments.ablations import ABLATIONS, STRICT_ABLATIONS
from course_lib.experiments.r1 import R1_PRESETS, R1_STAGES
from course_lib.experiments.r1_report import write_report_card
from course_lib.experiments.r1_tasks import run_r1_pipeline
from course_lib.experiments.run import ExperimentRun, claim_folder, preset_device, timed_block

# a third would wait: the line to R1 takes more than half of all the time
DEFAULT_PROCESSES = min(2, os.cpu_count() or 1)

CONTROLS = ABLATIONS | STRICT_ABLATIONS


def r1_parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(
        prog="python -m course_lib.r1", description=__doc__, formatter_class=layout
    )
    p.add_argument(
        "--out", type=Path, required=True, help="folder of the runs; each seed gets a folder in it"
    )
    p.add_argument(
        "--preset", choices=R1_PRESETS, default="laptop", help="sizes and lengths (default: laptop)"
    )
    p.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the texts, the first weights and all draws (default: 0)",
    )
    p.add_argument(
        "--from", dest="start", choices=R1_STAGES, help="do this stage and all after it anew"
    )
    p.add_argument("--mine", action="store_true", help="run on your own solved exercises")
    p.add_argument(
        "--mine-without",
        metavar="NAMES",
        help="as --mine, with these exercises left to the library: causal_weights,rms_norm",
    )
    p.add_argument("--experiment", choices=CONTROLS, help="a control in place of the pipeline")
    p.add_argument(
        "--processes",
        type=int,
        default=DEFAULT_PROCESSES,
        help=f"which do stages side by side, and share the base's (default: {DEFAULT_PROCESSES})",
    )
    p.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of PyTorch; its small matrices gain nothing from more",
    )
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline or an experiment, then write the report card. Returns the exit status."""
    args = r1_parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    run = ExperimentRun(
        args.out / f"seed-{args.seed}",
        args.seed,
        R1_PRESETS[args.preset],
        preset_device(args.preset),
    )
    is_own = args.mine or args.mine_without is not None
    if is_own and args.experiment:
        raise SystemExit(f"--experiment {args.experiment} runs on the library alone, not --mine")
    try:
        if is_own:
            run_on_own_lines(run, args)
        else:
            claim_folder(run, args.preset)
            run_on_the_library(run, args)
    except KeyboardInterrupt as stopped:
        print(f"Stopped: {str(stopped) or 'the same command goes on from the last checkpoint'}.")
        return 130
    print(f"The report card is {write_report_card(args.out)}.")
    return 0


def run_on_the_library(run: ExperimentRun, args: argparse.Namespace) -> None:
    """Run the pipeline, or an experiment."""
    if args.experiment:
        name = f"experiments/{args.experiment}"
        with timed_block(run, name):
            run.once(f"{name}/result", lambda: CONTROLS[args.experiment](run))
    else:
        with timed_block(run, "clock"):
            run_r1_pipeline(run, args.processes, args.start)


def run_on_own_lines(run: ExperimentRun, args: argparse.Namespace) -> None:
    """Run the pipeline with the learner's functions in place of the library's.

    Exits with a sentence where none of hers is kept, or a name in `--mine-without` is none.
    """
    from course_lib.lab import mine  # here, since it needs Jupyter's packages

    names = [name for name in (args.mine_without or "").split(",") if name]
    try:
        answers = mine.answers_to_run_on(run, names)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    claim_folder(run, args.preset, mine=True)
    mine.prepare_own_run(run, answers, names)
    try:
        with timed_block(run, "clock"):
            run_r1_pipeline(run, args.processes, args.start, mine.perform_on_own_lines)
    finally:
        mine.write_own_report(run)


if __name__ == "__main__":
    sys.exit(main())
