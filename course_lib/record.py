"""Run the record: train recipes for a minute of one thread each, and keep them in a table.

    python -m course_lib.record                         the shipped recipes, then the table
    python -m course_lib.record --entry my_recipe.py    those, then your `recipe`, and the verdict

`my_recipe.py` defines `recipe`, a `RecordRecipe`. A minute for each of five seeds and recipes takes
a while; `--seconds 10` is enough to compare by, but another board: the table keeps them apart.
"""

import argparse
import os
import runpy
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402

from course_lib.experiments.record import RECORD_SECONDS, RECORD_SEEDS, EntryRefused, run_recipe  # noqa: E402
from course_lib.experiments.record_recipes import SHIPPED_RECIPES, run_shipped  # noqa: E402
from course_lib.experiments.record_table import RecordTable, record_table_text  # noqa: E402

DEFAULT_TABLE = Path("my_course") / "record.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run what is missing, judge the entry, print the table."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.record", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--entry", type=Path, help="a Python file that defines `recipe`")
    parser.add_argument("--table", type=Path, default=DEFAULT_TABLE, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=RECORD_SECONDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(RECORD_SEEDS))
    parser.add_argument(
        "--shipped", nargs="+", choices=list(SHIPPED_RECIPES), default=["plain", "course's best"]
    )
    asked = parser.parse_args(arguments)
    if asked.seconds <= 0:
        parser.error(f"--seconds {asked.seconds} is not above 0")
    torch.set_num_threads(1)
    table = RecordTable(asked.table)
    run_shipped(table, asked.seconds, asked.seeds, asked.shipped)
    if asked.entry:
        found = runpy.run_path(str(asked.entry))
        if "recipe" not in found:
            parser.error(f"{asked.entry} defines no `recipe`")
        try:
            entry = run_recipe(found["recipe"], asked.seconds, asked.seeds)
            print(table.enter(entry).reason)
        except EntryRefused as error:
            parser.exit(1, f"refused: {error}\n")
    print(record_table_text(table.rivals(asked.seconds)))


if __name__ == "__main__":
    main()
