"""What holds for every test, the notebooks included: no connection leaves this machine, no progress
is recorded."""

import os
import sys
from pathlib import Path

OFFLINE = str(Path(__file__).parent / "tests" / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
os.environ["COURSE_PROGRESS"] = "off"
os.environ["COURSE_QUIET"] = "1"  # a long progress bar sends more messages than nbval's queue holds

sys.path.insert(0, OFFLINE)
__import__(
    "loopback_only"
)  # in this process now, in every Python that it starts by way of sitecustomize

collect_ignore_glob = ["tests/**/*.ipynb"]

# Where the files are that take ten seconds and more: started last, one would keep a worker busy
# while the others idle.
LONG = (
    "tests/browser/",
    "notebooks/",
    "tests/notebooks/test_handouts.py",
    "tests/notebooks/test_assignment.py",
    "tests/training/",
    "tests/alignment/",
    "tests/test_train_command.py",
)


def pytest_collection_modifyitems(items) -> None:
    """Put the long files first; pytest-xdist hands files to its workers in this order."""
    items.sort(
        key=lambda item: next(
            (i for i, where in enumerate(LONG) if item.nodeid.startswith(where)), len(LONG)
        )
    )


def pytest_terminal_summary(terminalreporter) -> None:
    """Add one line to the closing summary: how many wrong answers the checkers refused, in
    whichever process."""
    noted = [
        note for report in terminalreporter.getreports("passed") for note in report.user_properties
    ]
    modules = [module for name, module in noted if name == "refused_for"]
    if modules:
        lessons = sorted({module.rpartition(".")[2] for module in modules})
        terminalreporter.write_line(
            f"checkers: {len(modules)} wrong answers refused, each with its own message"
            f" ({', '.join(lessons)})"
        )
