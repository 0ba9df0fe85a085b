"""Measure what a piece of code costs."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity, profile


def peak_bytes(run: Callable[[], object]) -> int:
    """Run a function and tell how many bytes of new tensors were alive at the worst moment, hidden
    workspace included.

    Torch's profiler writes down every allocation on the CPU; what was there before does not count.

    >>> import torch
    >>> peak_bytes(lambda: torch.zeros(1000).exp())     # two tensors of 1000 numbers, 4 bytes each
    8000
    """
    # else the profiler writes its own doings into the notebook
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    with tempfile.TemporaryDirectory() as folder:
        record.export_chrome_trace(str(trace := Path(folder) / "trace.json"))
        events = json.loads(trace.read_text())["traceEvents"]
    return max(
        (event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]"),
        default=0,
    )
