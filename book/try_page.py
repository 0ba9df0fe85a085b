"""The page on which exercises are tried without installing anything: their texts out of the
notebooks, and the zip file of what the browser's Python needs to judge an answer.

The browser's Python is Pyodide's core, which has the standard library alone: so only lessons whose
exercises and checkers need no more are here. No solution is in the zip.
"""

import ast
import html
import inspect
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import vendor
from docutils.nodes import make_id

from course_lib.lab import course_map
from course_lib.text import bpe

LESSONS = ("02", "03")
CHECKERS = ("__init__", "bpe", "compare", "core", "data_collection", "kinds", "running", "slips")
PACKED = (
    "course_lib/__init__.py",
    "course_lib/lab/__init__.py",
    *(f"course_lib/lab/checks/{name}.py" for name in CHECKERS),
)
PYODIDE = vendor.FOLDER / "book" / "pyodide"
RUNNER = Path(__file__).with_name("try_runner.py")
OFFERED = (bpe.count_token_pairs, bpe.most_frequent_pair, bpe.merge_pair)


@dataclass(frozen=True)
class BrowserExercise:
    """An exercise as its notebook holds it: "bpe.merge", its text with the hints, the function to
    fill in."""

    key: str
    text: str
    skeleton: str


def page_parts() -> dict[str, str]:
    """Give what stands for the marks of the page."""
    lessons = [course_map.lesson(number) for number in LESSONS]
    n_bytes = sum(file.stat().st_size for file in PYODIDE.iterdir())
    return {
        "EXERCISES": "\n".join(map(lesson_as_myst, lessons)),
        "MEGABYTES": f"{n_bytes / 1e6:.0f}",
    }


def lesson_as_myst(lesson: course_map.Lesson) -> str:
    """A lesson's exercises, each with a box for code below it."""
    file = course_map.NOTEBOOKS / lesson.file
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    lines = [
        f"## {lesson.number} {lesson.title}\n",
        "```{raw} html",
        f'<details class="try-setup" data-lab="{lesson.lab}"><summary>What is imported'
        f" already</summary><pre>{html.escape(setup_lines(lesson.lab, cells))}</pre></details>",
        "```\n",
    ]
    for exercise in exercises_of(lesson.lab, cells):
        lines += [exercise.text, "", "```{raw} html", as_box(exercise, lesson), "```", ""]
    return "\n".join(lines)


def setup_lines(lab: str, cells: list[dict]) -> str:
    """The imports of the notebook's set-up cell that the standard library has."""
    source = "".join(course_map.set_up_cell(cells)["source"])
    kept = [
        ast.unparse(node)
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and home_of(node) in sys.stdlib_module_names - {"__future__"}
    ]
    return "\n".join(kept + ["import bpe"] * (lab == "bpe"))


def home_of(node: ast.Import | ast.ImportFrom) -> str:
    """The package that an import takes things from.

    >>> home_of(ast.parse("from html.parser import HTMLParser").body[0])
    'html'
    """
    name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
    return name.partition(".")[0]


def exercises_of(lab: str, cells: list[dict]) -> Iterator[BrowserExercise]:
    """Find a notebook's exercises: the cells with the tag, and the texts above them."""
    for before, cell in zip(cells, cells[1:], strict=False):
        if "exercise" in cell["metadata"].get("tags", []):
            skeleton, check = "".join(cell["source"]).rsplit("\n\n", 1)
            name = re.fullmatch(r"check\.(\w+)\(\1\)", check)[1]
            _, mark, text = "".join(before["source"]).rpartition("### Exercise ")
            yield BrowserExercise(f"{lab}.{name}", mark + text, skeleton + "\n")


def as_box(exercise: BrowserExercise, lesson: course_map.Lesson) -> str:
    """The box in which a reader writes, with its buttons and the place for what is said."""
    name, mark = exercise.key.partition(".")[2], exercise.key.replace(".", "-")
    title = exercise.text.splitlines()[0].lstrip("# ")
    where = f"notebooks/{lesson.file.replace('.ipynb', '.html')}#{make_id(title)}"
    rows = exercise.skeleton.count("\n") + 6
    return (
        f'<div class="try" data-exercise="{exercise.key}">\n'
        f'<label for="try-{mark}">Your code: <code>{name}</code></label>\n'
        f'<textarea id="try-{mark}" rows="{rows}" wrap="off" spellcheck="false"'
        ' autocapitalize="off" autocomplete="off">\n'
        f"{html.escape(exercise.skeleton)}</textarea>\n"
        f'<p><button type="button" class="try-check">Check {name}</button>'
        ' <button type="button" class="try-stop" hidden>Stop</button>'
        ' <button type="button" class="try-anew" hidden>Begin anew</button>'
        f' <a href="{where}">in the lesson</a></p>\n'
        '<div class="try-said" role="status"></div>\n'
        "</div>"
    )


def write_course(file: Path) -> None:
    """Pack what the browser's Python needs: the checkers, the runner, and three functions of the
    library that the third exercise of lesson 03 may use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in PACKED:
            packed.write(course_map.ROOT / path, path)
        packed.write(RUNNER, RUNNER.name)
        packed.writestr("bpe.py", offered_functions())


def offered_functions() -> str:
    """The three functions as their source stands in the library, which itself needs packages that
    a browser's Python lacks."""
    imports = ("from __future__ import annotations", "from collections import Counter")
    head = "\n".join([*imports, "from itertools import pairwise"])
    return "\n\n\n".join([head, *map(inspect.getsource, OFFERED)])
