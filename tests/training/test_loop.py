"""What a careful step does besides stepping; the step itself is tested in `test_trainer.py`."""

import ctypes
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import torch
from course_lib.training.loop import keep_freed_memory

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tables = [torch.ones(2**20) for _ in range(4)]
        del tables
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

at_first = count_faults()
keep_freed_memory()
count_faults()
print(at_first, count_faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")
def test_freed_memory_is_kept_for_the_next_step():
    """A new process, since the switch stays; a page that the system hands out again is a fault."""
    found = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True
    )
    at_first, kept = map(int, found.stdout.split())
    assert kept < at_first / 10
