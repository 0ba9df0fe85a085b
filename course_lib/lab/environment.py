"""Is this machine ready for the course? What each notebook needs, what was found, and what to do
where it is wrong."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from course_lib import assets

PYTHON, TORCH = (3, 11), (2, 6)
MEMORY_GB, DISK_GB = 2, 1


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. An empty `remedy` means that it is as it should be."""

    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"[{'x' if self.remedy else 'ok'}]".ljust(5) + f"{self.what:8} {self.found}"
        return f"{line}\n     {'what to do:':11} {self.remedy}" if self.remedy else line


def check() -> bool:
    """Look at everything, print a line for each, and return whether all is well. Changes
    nothing."""
    findings = [look() for look in LOOKS]
    print(*findings, sep="\n")
    wrong = sum(bool(finding.remedy) for finding in findings)
    print(
        f"\n{wrong} of {len(findings)} need your attention." if wrong else "\nEverything is ready."
    )
    return not wrong


def python() -> Finding:
    remedy = (
        f"install Python {PYTHON[0]}.{PYTHON[1]} or newer, delete the folder .venv, and run make"
        " lab again"
    )
    return Finding("Python", sys.version.split()[0], "" if sys.version_info >= PYTHON else remedy)


def pytorch() -> Finding:
    """Look at torch's version and let it multiply something."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    works = torch.equal(torch.ones(2, 3) @ torch.ones(3, 2), torch.full((2, 2), 3.0))
    remedy = (
        "run make lab, which installs the version that the course was made with, and restart the"
        " kernel"
    )
    return Finding("torch", torch.__version__, "" if works and version >= TORCH else remedy)


def plays() -> Finding:
    """Look for the plays of Shakespeare, every file of which has a known size and checksum."""
    try:
        files = assets.plays_files().values()
    except assets.AssetError as error:
        return Finding("plays", "missing or damaged", str(error))
    return Finding(
        "plays", f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB"
    )


def widgets() -> Finding:
    """Look for the two halves of the sliders: the one in the kernel and the one in JupyterLab."""
    missing = []
    for package in ("ipywidgets", "jupyterlab_widgets"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        remedy = "run make lab, then reload the page in the browser"
        return Finding("widgets", f"{' and '.join(missing)} missing", remedy)
    return Finding("widgets", f"ipywidgets {importlib.metadata.version('ipywidgets')}")


def threads() -> Finding:
    """Compare the threads that torch uses with the cores that this process may use."""
    cores, used = available_cores(), torch.get_num_threads()
    remedy = (
        f"run torch.set_num_threads({cores}): threads that wait for a core make torch many times"
        " slower"
    )
    return Finding(
        "threads", f"{used} on {cores} core{'s' * (cores > 1)}", remedy if used > cores else ""
    )


def memory() -> Finding:
    free = psutil.virtual_memory().available / 1e9
    remedy = f"close other programs or kernels: the course needs {MEMORY_GB} GB"
    return Finding("memory", f"{free:.1f} GB free", "" if free >= MEMORY_GB else remedy)


def disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    remedy = f"make room: checkpoints and notebooks need {DISK_GB} GB"
    return Finding("disk", f"{free:.1f} GB free", "" if free >= DISK_GB else remedy)


def available_cores() -> int:
    """Count the cores that this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


LOOKS: tuple[Callable[[], Finding], ...] = (python, pytorch, plays, widgets, threads, memory, disk)
