"""The course as one file: a wheel, installed in a Python of its own, used from another folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USED = """
from pathlib import Path

from course_lib import assets, files
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.lab import course_map, desk, gallery, question_bank, record

assert Path(files.__file__).is_relative_to({venv!r}), files.__file__
assert desk.begin_anew("06") is None and Path("my_course/06_self_attention.ipynb").exists()
assert "Map of the course" in course_map.as_html("06")
assert SHIPPED_R1.tokenizer().encode("12 + 30") and list(SHIPPED_R1.load("base").parameters())
assert question_bank.quiz_questions(course_map.lesson("06")) and gallery.exhibits()
assert record.path() == Path.home() / ".course_progress.json"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that `pip wheel .` makes."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def kept(pattern: str) -> set[str]:
    """The files of the clone that a pattern names, but what running the course leaves there."""
    files = {file.relative_to(ROOT) for file in ROOT.glob(pattern) if file.is_file()}
    left = {"__pycache__", "cache"}
    return {file.as_posix() for file in files if not left & set(file.parts)}


def test_it_carries_the_library_the_data_and_the_lessons_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    moved = {f"course_lib/{name}" for name in kept("data/**/*") | kept("notebooks/*.ipynb")}
    assert {name for name in names if not name.endswith("/")} == kept("course_lib/**/*") | moved


def test_it_works_without_the_clone(wheel, tmp_path):
    venv, home = tmp_path / "venv", tmp_path / "home"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip(
        "--python", venv / "bin/python", "install", "--no-compile", "--no-deps", "--no-index", wheel
    )
    packages = next(venv.glob("lib/*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    home.mkdir()
    lost = {"PYTHONPATH", "COURSE_PROGRESS"}
    run = subprocess.run(
        [venv / "bin/python", "-c", USED.format(venv=str(venv))],
        cwd=home,
        env={key: value for key, value in os.environ.items() if key not in lost}
        | {"HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
