"""What holds for every test, the notebooks included: no connection leaves this machine, no progress is recorded."""

import os
import sys
from pathlib import Path

OFFLINE = str(Path(__file__).parent / "tests" / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
os.environ["COURSE_PROGRESS"] = "off"
os.environ["COURSE_QUIET"] = "1"  # a long progress bar sends more messages than nbval's queue holds

sys.path.insert(0, OFFLINE)
__import__("loopback_only")  # in this process now, in every Python that it starts by way of sitecustomize

collect_ignore_glob = ["tests/**/*.ipynb"]
