"""The environment check: silent where all is well, and for each thing that can be wrong a
remedy."""

import importlib.metadata
from types import SimpleNamespace

import pytest

from course_lib import assets
from course_lib.lab import environment


def missing_plays():
    raise assets.AssetError(
        "the plays are not installed. Repair it with:\n    python -m course_lib.assets plays"
    )


def no_package(name):
    raise importlib.metadata.PackageNotFoundError(name)


BREAKAGES = {
    "python": (environment.sys, "version_info", (3, 9, 1), "install Python 3.11"),
    "pytorch": (environment.torch, "__version__", "2.1.0+cpu", "make lab"),
    "plays": (
        environment.assets,
        "plays_files",
        missing_plays,
        "python -m course_lib.assets plays",
    ),
    "widgets": (environment.importlib.metadata, "version", no_package, "reload the page"),
    "threads": (environment.torch, "get_num_threads", lambda: 10_000, "torch.set_num_threads("),
    "memory": (
        environment.psutil,
        "virtual_memory",
        lambda: SimpleNamespace(available=5e8),
        "needs 2 GB",
    ),
    "disk": (environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=5e8), "need 1 GB"),
}


@pytest.fixture
def a_good_machine(monkeypatch):
    monkeypatch.setattr(
        environment.psutil, "virtual_memory", lambda: SimpleNamespace(available=8e9)
    )
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=8e9))
    monkeypatch.setattr(environment.torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(environment.assets, "plays_files", dict)


def test_a_good_machine_is_told_so(a_good_machine, capsys):
    assert environment.check() is True
    out = capsys.readouterr().out
    assert (
        out.count("[ok]") == len(environment.LOOKS) == len(BREAKAGES)
        and "Everything is ready." in out
    )


@pytest.mark.parametrize("thing", BREAKAGES)
def test_each_thing_that_can_be_wrong_has_its_remedy(a_good_machine, thing, monkeypatch, capsys):
    owner, name, broken, remedy = BREAKAGES[thing]
    monkeypatch.setattr(owner, name, broken)
    assert environment.check() is False
    out = capsys.readouterr().out
    assert (
        out.count("[x]") == 1
        and remedy in out
        and f"1 of {len(BREAKAGES)} need your attention" in out
    )
