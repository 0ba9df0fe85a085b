"""The training command, in which process 1 fails in its fifth step: `failing_rank.py HOW ...`."""

import os
import signal
import sys

from course_lib.experiments import pretraining
from course_lib.training import distributed, trainer


def failing(step, how):
    calls = []

    def step_or_failure(*arguments):
        calls.append(1)
        if len(calls) == 5 and distributed.process_rank() == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("process 1 met a bad batch")
        return step(*arguments)

    return step_or_failure


if __name__ == "__main__":
    trainer.training_step = failing(trainer.training_step, how=sys.argv[1])
    sys.exit(pretraining.main(sys.argv[2:]))
