"""What an engine of reinforcement learning needs to go on with a model, as one folder.

    python -m course_lib.export_rl runs/export                          # the shipped base
    python -m course_lib.export_rl runs/export --model runs/r1/seed-0/sft

Its README says how TRL trains on; the folder needs nothing of the course.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from course_lib.experiments.rl_export import export_rl
from course_lib.experiments.trained_models import SHIPPED_MODELS


def export_parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(
        prog="python -m course_lib.export_rl", description=__doc__, formatter_class=layout
    )
    p.add_argument("folder", type=Path, metavar="DIR", help="the folder to write")
    p.add_argument(
        "--model",
        default="base",
        metavar="MODEL",
        help=f"{', '.join(SHIPPED_MODELS)}, or the folder of a run or of its stage (default: base)",
    )
    p.add_argument("--n-prompts", type=int, default=2000, help="questions to practise on")
    p.add_argument("--n-held-out", type=int, default=500, help="questions to measure by")
    p.add_argument("--seed", type=int, default=0, help="of the questions (default: 0)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the folder. Returns the exit status."""
    args = export_parser().parse_args(arguments)
    try:
        folder = export_rl(args.folder, args.model, args.n_prompts, args.n_held_out, seed=args.seed)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder} is written; {folder / 'README.md'} says how to go on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
