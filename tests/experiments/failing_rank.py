"""The training command, in which process 1 fails in its fifth step: `failing_rank.py HOW ...`."""

import os
import signal
import sys

from course_lib.experiments import pretraining
from course_lib.training import distributed, trainer

how, calls, step = sys.argv[1], [], trainer.training_step


def failing(*arguments):
    calls.append(1)
    if len(calls) == 5 and distributed.process_rank() == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("process 1 met a bad batch")
    return step(*arguments)


trainer.training_step = failing
sys.exit(pretraining.main(sys.argv[2:]))
