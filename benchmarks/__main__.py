"""Run every benchmark on one thread and put the tables into MEASURED.md, between its marks.

    OMP_NUM_THREADS=1 python -m benchmarks [NAME ...]

With names, only these are run, and nothing is written.
"""

import importlib
import os
import re
import sys
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "COURSE_QUIET": "1",
    "HF_HUB_OFFLINE": "1",
}

NAMES = (
    "bpe",
    "experts",
    "training",
    "generation",
    "sparse_attention",
    "time_to_loss",
    "grpo",
    "real_model",
    "deepseek_v4",
    "encoder",
)
MEASURED = Path(__file__).parent.parent / "MEASURED.md"
MARKS = re.compile(r"(<!-- benchmarks -->\n).*?(\n<!-- end of benchmarks -->)", re.S)


def put_into(page: str, tables: str) -> str:
    """Replace what stands between the marks. Raises ValueError if they are missing."""
    if not MARKS.search(page):
        raise ValueError(
            "MEASURED.md has no marks <!-- benchmarks --> and <!-- end of benchmarks -->"
        )
    return MARKS.sub(lambda found: f"{found[1]}\n{tables}\n{found[2]}", page)


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, or all."""
    if unknown := set(names) - set(NAMES):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    tables = []
    for name in names or NAMES:
        tables.append(importlib.import_module(f"benchmarks.{name}").main())
        print(tables[-1], flush=True)
    if not names:
        MEASURED.write_text(
            put_into(MEASURED.read_text(encoding="utf-8"), "\n\n".join(tables)), encoding="utf-8"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
