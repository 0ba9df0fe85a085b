"""Say plainly what is wrong with this Python, before anything is installed with it.

Runs under every Python from 2.7 on, so there is no newer syntax in here.
"""

import sys

NEEDED = (3, 11)


def problem(version, executable, missing):
    """Return what is wrong, or an empty string; `missing` names modules that are not there."""
    found = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) < NEEDED:
        return (
            "Python {0}.{1} or newer is needed, this is {2} at {3}.\n"
            "Install a newer one, then name it: make lab PYTHON=/path/to/python{0}.{1}"
        ).format(NEEDED[0], NEEDED[1], found, executable)
    if missing:
        return (
            "Python {0} at {1} cannot make a virtual environment: it has no {2}.\n"
            "On Debian and Ubuntu this installs it: sudo apt-get install python{3}.{4}-venv"
        ).format(found, executable, " and no ".join(missing), version[0], version[1])
    return ""


def missing_modules():
    """Return which modules of `python -m venv` are not there (Debian packs them separately)."""
    missing = []
    for name in ("venv", "ensurepip"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    return missing


if __name__ == "__main__":
    message = problem(sys.version_info, sys.executable, missing_modules())
    if message:
        sys.stderr.write(message + "\n")
        sys.exit(1)
