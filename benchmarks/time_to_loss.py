"""How much sooner does the course's best recipe reach the loss of a plain one? See `record_race`.

OMP_NUM_THREADS=1 python -m benchmarks.time_to_loss
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402

from course_lib.experiments.record_race import race_table, run_race  # noqa: E402
from course_lib.experiments.run_records import RunRecords  # noqa: E402


def main() -> str:
    """Tune the plain recipe, then find the shortest run of the best one for each seed."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # nothing of an earlier run is taken over
        return race_table(run_race(RunRecords(Path(folder) / "race.json")))


if __name__ == "__main__":
    print(main())
