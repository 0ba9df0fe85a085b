"""Train a language model: the command of `course_lib.experiments.pretraining`."""

import sys

from course_lib.experiments.pretraining import main

if __name__ == "__main__":
    sys.exit(main())
