"""The set-up: a clear word about a wrong Python, one truth about packages, and the targets that the
README names."""

import ast
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_lib.lab import course_map

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COURSE, BENCH, GYM, GGUF = (  # the packages of the course, and what three extras add
    [line for line in part.splitlines() if not line.startswith("#")]
    for part in re.split("# What the extra .*", (ROOT / "constraints.txt").read_text())
)
COURSE, BENCH, GYM, GGUF = (list(filter(None, lines)) for lines in (COURSE, BENCH, GYM, GGUF))
PINS, BENCH_PINS, GYM_PINS, GGUF_PINS = (
    dict(line.split("==") for line in lines) for lines in (COURSE, BENCH, GYM, GGUF)
)
EXTRAS = ["test", "parity", "book", "grading"]


@pytest.fixture(scope="module")
def check_python():
    spec = importlib.util.spec_from_file_location(
        "check_python", ROOT / "tools" / "check_python.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_old_python_is_named(check_python):
    message = check_python.problem((3, 8, 10), "/usr/bin/python3", [])
    assert "Python 3.11 or newer is needed, this is 3.8.10 at /usr/bin/python3" in message


def test_missing_venv_is_named(check_python):
    message = check_python.problem((3, 12, 1), "/usr/bin/python3", ["ensurepip"])
    assert "no ensurepip" in message and "apt-get install python3.12-venv" in message


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 2), (4, 0, 0)])
def test_good_python_has_no_problem(check_python, version):
    assert check_python.problem(version, sys.executable, []) == ""


def test_check_python_runs_here():
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "check_python.py"], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_check_python_has_no_new_syntax():
    """No f-strings, annotations or walrus, which Python 2.7 does not know; ast refuses what came
    after 3.4."""
    source = (ROOT / "tools" / "check_python.py").read_text()
    tree = ast.parse(source, feature_version=(3, 4))
    newer = (
        ast.JoinedStr,
        ast.AnnAssign,
        ast.NamedExpr,
        ast.AsyncFunctionDef,
        ast.Starred,
        ast.Nonlocal,
    )
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation]
    assert source.isascii()


def required_packages(wanted: list[str]) -> set[str]:
    """Return every package that course_lib and its extras pull in, by the metadata of what is
    installed."""
    seen, waiting = set(), [("course_lib", frozenset(wanted))]
    while waiting:
        name, extras = key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        for requirement in map(Requirement, importlib.metadata.requires(name) or []):
            if not requirement.marker or any(
                requirement.marker.evaluate({"extra": e}) for e in extras or {""}
            ):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in seen} - {"course_lib"}


AS_PINNED = sys.version_info[:2] == (3, 11) and sys.platform == "linux"


@pytest.mark.skipif(
    not AS_PINNED, reason="other Pythons and systems pull in slightly different packages"
)
def test_constraints_pin_exactly_what_is_pulled_in():
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+", line) for line in COURSE + BENCH + GYM + GGUF)
    assert set(PINS) == required_packages(EXTRAS)


@pytest.mark.skipif(
    not AS_PINNED, reason="other Pythons and systems pull in slightly different packages"
)
def test_constraints_are_what_is_installed():
    assert installed(PINS) == PINS


def installed(names) -> dict[str, str]:
    """Give the versions that are installed, without what names a build (`+cpu`)."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in names}


@pytest.mark.skipif(
    not AS_PINNED, reason="other Pythons and systems pull in slightly different packages"
)
@pytest.mark.skipif(
    not importlib.util.find_spec("trl"), reason="make bench installs what the benchmarks add"
)
def test_constraints_pin_exactly_what_bench_adds():
    assert set(BENCH_PINS) == required_packages([*EXTRAS, "bench"]) - set(PINS)
    assert installed(BENCH_PINS) == BENCH_PINS


@pytest.mark.skipif(
    not AS_PINNED, reason="other Pythons and systems pull in slightly different packages"
)
@pytest.mark.skipif(
    not importlib.util.find_spec("reasoning_gym"), reason="make gym installs the practice problems"
)
def test_constraints_pin_exactly_what_gym_adds():
    assert set(GYM_PINS) == required_packages([*EXTRAS, "gym"]) - set(PINS)
    assert installed(GYM_PINS) == GYM_PINS


@pytest.mark.skipif(
    not AS_PINNED, reason="other Pythons and systems pull in slightly different packages"
)
@pytest.mark.skipif(
    not importlib.util.find_spec("xllamacpp"), reason="make test-gguf installs llama.cpp"
)
def test_constraints_pin_exactly_what_gguf_adds():
    assert set(GGUF_PINS) == required_packages([*EXTRAS, "gguf"]) - set(PINS)
    assert installed(GGUF_PINS) == GGUF_PINS


@pytest.mark.parametrize(
    "extra, pins", [("bench", BENCH_PINS), ("gym", GYM_PINS), ("gguf", GGUF_PINS)]
)
def test_extras_name_their_peers_as_pinned(extra, pins):
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        assert str(requirement) == f"{requirement.name}=={pins[requirement.name]}"


def test_every_benchmark_is_run_by_make_bench():
    source = (ROOT / "benchmarks/__main__.py").read_text()
    names = re.search(r"^NAMES = (\(.*?\))$", source, re.M | re.S)[1]
    helpers = {"__main__", "measure"}
    assert (
        set(ast.literal_eval(names))
        == {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - helpers
    )


def test_constraints_satisfy_the_project():
    wanted = PROJECT["dependencies"] + [
        line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra]
    ]
    for requirement in map(Requirement, wanted):
        assert PINS[canonicalize_name(requirement.name)] in requirement.specifier
    assert PINS["torch"] == "2.13.0"


def test_conda_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    learned = [extra for extra in EXTRAS if extra != "grading"]  # which only teachers need
    assert pip == "pip" and packages == {
        "pip": ["-c constraints.txt", f"-e .[{','.join(learned)}]"]
    }
    assert python == "python=3.11" and PROJECT["requires-python"] == ">=3.11"
    # peers to measure against are no part of it
    assert {*EXTRAS, "bench", "gym", "gguf"} == set(PROJECT["optional-dependencies"])


def test_pip_takes_what_conda_gives_it(tmp_path):
    """Conda writes the lines for pip into a file beside environment.yml and calls pip there. Here,
    where all is installed, nothing but the course itself is left to do."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    for name in ("constraints.txt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    requirements = tmp_path / "condaenv.requirements.txt"
    requirements.write_text("\n".join(environment["dependencies"][2]["pip"]))
    told = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-U", "-r", requirements, "--dry-run"]
        + ["--no-index", "--no-build-isolation"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == f"Would install course_lib-{PROJECT['version']}"


def test_binder_prepares_what_make_lab_prepares():
    made = subprocess.run(
        ["make", "--dry-run", "--always-make", "lab"], cwd=ROOT, capture_output=True, text=True
    )
    commands = set(re.findall(r"(?m)^\.venv/bin/python (.+)$", made.stdout))
    installs_or_opens = {c for c in commands if c.startswith(("-m pip ", "-m jupyterlab "))}
    post_build = ROOT / "postBuild"
    told = re.findall(r"(?m)^python (.+)$", post_build.read_text())
    assert set(told) == commands - installs_or_opens and post_build.stat().st_mode & 0o111


def test_the_citation_is_valid_and_tells_what_the_project_tells():
    """The keys that the schema of version 1.2.0 asks for, and none that it does not know."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    asked, used = {"cff-version", "message", "title", "authors"}, set(citation)
    assert asked <= used <= asked | {"abstract", "keywords", "license", "type", "version"}
    assert all(isinstance(citation[key], str) for key in used - {"authors", "keywords"})
    assert citation["cff-version"] == "1.2.0" and citation["type"] in ("software", "dataset")
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    (author,) = citation["authors"]
    assert f"Copyright (c) 2026 {author['name']}\n" in (ROOT / "LICENSE").read_text()
    assert (ROOT / "README.md").read_text(encoding="utf-8").startswith(f"# {citation['title']}\n")


def test_the_workflows_run_what_is_here():
    """CI's script, and the book, which is kept from where its build writes it."""
    ran, kept = [], []
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            ran += [step["run"] for step in job["steps"] if "run" in step]
            kept += [step["with"]["path"] for step in job["steps"] if "upload" in str(step)]
    assert {"bash .ci/run", "make book OPEN="} <= set(ran)
    assert kept == ["book/_build/html"]
    build = (ROOT / "book/build.py").read_text(encoding="utf-8")
    assert (
        'OUTPUT = BOOK / "_build"\n' in build
        and 'html = output / "source", output / "html"' in build
    )


@pytest.mark.parametrize(
    "target",
    "help lab anew test test-gguf models notebooks book bench gym handout handout-check"
    " assignment grades clean".split(),
)
def test_makefile_has(target):
    dry_run = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True
    )
    assert dry_run.returncode == 0, dry_run.stderr
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert re.search(rf"^  make {target} +\w", listed, re.M)


def test_make_test_has_as_many_workers_as_wished():
    for workers, words in {2: [], 5: ["WORKERS=5"]}.items():
        dry_run = subprocess.run(
            ["make", "--dry-run", "test", *words], cwd=ROOT, capture_output=True, text=True
        )
        assert f"-m pytest -n {workers} tests course_lib slides notebooks/00" in dry_run.stdout


def test_long_files_are_started_first_and_workers_tell_what_the_checkers_refused():
    long, short = "tests/training/test_schedules.py", "tests/lab/checks/test_start.py"
    command = [sys.executable, "-m", "pytest", short, long, "-p", "no:cacheprovider", "-v", "-v"]
    run = subprocess.run([*command, "-n", "1"], cwd=ROOT, capture_output=True, text=True)
    passed = re.findall(r"PASSED (\S+?)::", run.stdout)
    assert (
        run.returncode == 0
        and {*passed} == {long, short}
        and passed == sorted(passed, key=[long, short].index)
    )
    assert re.search(r"^checkers: [1-9]\d* wrong answers refused, .*\(start\)$", run.stdout, re.M)


def test_the_readme_is_short_and_its_pictures_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(course_map.START)  # the map grows with the course
    assert len((before + rest.partition(course_map.END)[2]).splitlines()) <= 80
    pictures = re.findall(r"!\[[^\]]{40,}\]\(([^)]+)\)", text)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)


def test_benchmarks_find_their_place_in_the_measured_tables():
    marks = re.compile(r"<!-- benchmarks -->\n.*\n<!-- end of benchmarks -->", re.S)
    assert len(marks.findall((ROOT / "MEASURED.md").read_text(encoding="utf-8"))) == 1


@pytest.mark.parametrize("file", sorted((ROOT / "findings").iterdir()), ids=lambda file: file.stem)
def test_a_finding_pins_its_packages_runs_without_the_course_and_can_fail(file):
    text = file.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# ") and file.suffix == ".sh"
    installed = re.search(r"pip\" install --quiet \$\{PIP_FLAGS:-\} (.+)", text)[1].split()
    versions = dict(package.split("==") for package in installed)
    assert versions and all(f"{name} {version}" in text for name, version in versions.items())
    assert "assert " in text and "course_lib" not in text and "set -euo pipefail" in text
