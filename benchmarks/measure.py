"""Time things side by side: in turn, by CPU time, and as ratios, so that a busy machine disturbs
all of them alike."""

import time
from collections.abc import Callable, Mapping

Run = Callable[[], object]


def cpu_seconds(runs: Mapping[str, Run], repeats: int = 7) -> dict[str, float]:
    """Give the lower quartile of each run's CPU seconds. The runs take turns; one turn before them
    warms up."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn:
                spent[name].append(time.process_time() - start)
    return {name: sorted(times)[len(times) // 4] for name, times in spent.items()}
