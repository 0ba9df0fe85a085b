"""Imports run one way: text, layers -> models -> training, inference -> alignment -> tasks
-> experiments. Nobody imports lab, but the command r1 for its --mine."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "course_lib"
LEVEL = {
    "assets": 0,
    "check_numbers": 0,
    "files": 0,
    "folders": 1,
    "text": 1,
    "layers": 1,
    "models": 2,
}
LEVEL |= {
    "training": 3,
    "inference": 3,
    "alignment": 4,
    "tasks": 5,
    "experiments": 6,
    "export": 7,
    "export_rl": 7,
    "train": 7,
    "r1": 8,
    "ladder": 7,
    "record": 7,
    "scaling": 7,
    "lab": 7,
}
FILES = sorted(LIBRARY.rglob("*.py"))


def imported_modules(source: str, package: str) -> set[str]:
    """Return the dotted names that a file of `package` imports, anywhere in it; relative imports
    are resolved."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def violations(source: str, package: str) -> list[str]:
    """Return the imports of a file of `package` (course_lib.text, say) that run against the
    direction."""
    importer = room(package)
    wrong = []
    for name in sorted(imported_modules(source, package)):
        imported = room(name)
        if (
            name.split(".")[0] == "course_lib"
            and imported != importer
            and not may_import(importer, imported)
        ):
            wrong.append(f"{importer} must not import {name}")
    return wrong


def room(dotted: str) -> str:
    """Return the second part of a dotted name: text for course_lib.text.bpe."""
    return (dotted.split(".") + [""])[1]


def may_import(importer: str, imported: str) -> bool:
    return imported in LEVEL and LEVEL[imported] < LEVEL[importer]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_run_one_way(path):
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    package = ".".join(parts[:2] if len(parts) == 2 else parts[:-1])
    assert violations(path.read_text(), package) == []


def test_every_room_has_a_level():
    rooms = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in FILES}
    assert rooms - {"__init__"} <= set(LEVEL)


@pytest.mark.parametrize(
    "package, source",
    [
        ("course_lib.text", "from course_lib.models import gpt2"),
        ("course_lib.text", "import course_lib.layers.attention"),
        ("course_lib.training", "from course_lib.inference.generate import generate"),
        ("course_lib.models", "def late():\n    from course_lib.lab import plots"),
        ("course_lib.layers", "from ..models.gpt2 import GPT2"),
        ("course_lib.text.small_web", "from ... import lab"),
        ("course_lib.text", "from course_lib import lab"),
    ],
)
def test_a_wrong_import_is_found(package, source):
    assert violations(source, package)


@pytest.mark.parametrize(
    "package, source",
    [
        ("course_lib.lab", "from course_lib.alignment import grpo"),
        ("course_lib.models", "from course_lib.layers import norm\nimport torch"),
        (
            "course_lib.text",
            "from course_lib.text import bpe\nfrom . import chat\nfrom .bpe import merge",
        ),
        ("course_lib.text", "from course_lib import assets"),
        ("course_lib.text.small_web", "from .world import World\nfrom ..chat import render"),
    ],
)
def test_a_right_import_is_allowed(package, source):
    assert violations(source, package) == []
