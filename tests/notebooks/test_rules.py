"""The rules can fail: a good notebook is broken in one place at a time, and the rule meant for that
objects."""

import copy
import json

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from course_lib.lab import course_map
from tests.notebooks.rules import RULES, Lesson
from tools import notebooks as tool

BOX = """# 03 · Byte-pair encoding

A promise.

> **You will be able to** merge. **You need** Python.
> **Time** 60 minutes · runs in under 2 minutes. **Papers** none."""
HINTS = "\n".join(
    f"<details><summary>{hint}</summary>...</details>"
    for hint in ("Hint 1: a question", "Hint 2: a plan", "Hint 3: the line")
)
PREDICT = "<details><summary>Predict first, then open</summary>It grows.</details>"
IMAGE = '<img alt="A curve that falls from left to right" src="data:image/png;base64,AAAA">'
MAP = course_map.as_html("03")
QUOTED = "tools.notebooks.first_line"
CHECKED = "count_pairs"  # the checker that the exercises below call
SOLUTION = f"course_lib.lab.solutions.bpe.{CHECKED}_solution"


def code(source: str, printed: str = "", **metadata) -> NotebookNode:
    outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
    return new_code_cell(source, outputs=outputs, metadata=metadata)


def exercise(number: int) -> list[NotebookNode]:
    text = f"### Exercise {number}: merge   (difficulty 1 of 5 · 5 minutes)\n\nWrite it.\n\n{HINTS}"
    skeleton = code(
        f"def {CHECKED}(x):\n    ...\ncheck.{CHECKED}({CHECKED})",
        f"[ ] {CHECKED}: not attempted yet.",
        tags=["exercise"],
    )
    solution = code(
        tool.quoted_cell(SOLUTION),
        f"[ok] {CHECKED}: right.",
        tags=["solution", "hide-cell"],
        quote=SOLUTION,
    )
    return [new_markdown_cell(text), skeleton, solution]


def good_cells() -> list[NotebookNode]:
    filler = " ".join(["word"] * 70)
    steps = [
        cell
        for i in range(14)
        for cell in (new_markdown_cell(f"## Why {i}?\n\n{filler}"), code("x = 1", "1\n"))
    ]
    ask = 'quiz.choice("q", "?", [])'
    return [
        new_markdown_cell(BOX),
        new_code_cell(
            'course_map.show("03")', outputs=[new_output("display_data", {"text/html": MAP})]
        ),
        code("import torch\nfrom course_lib.lab import quiz"),
        *steps,
        new_markdown_cell(
            f"{filler} " * 8 + f"\n\n{PREDICT}\n\n{PREDICT}\n\n[above](#why-1) and"
            " [here](03_byte_pair_encoding.ipynb)"
        ),
        new_code_cell(
            "show()",
            outputs=[new_output("display_data", {"text/html": IMAGE, "image/png": "AAAA"})],
        ),
        code(tool.quoted_source(QUOTED), tags=["quote"], quote=QUOTED),
        *exercise(1),
        *exercise(2),
        *exercise(3),
        code(f"{ask}\n{ask}\n{ask}"),
        new_markdown_cell("## Paper and this notebook\n\nAll of it."),
        new_markdown_cell("## Summary\n\nFive lines."),
    ]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A function that stores cells as a built lesson."""
    checks = pytest.importorskip("course_lib.lab.checks.bpe")

    def checker(answer):
        return None

    checker.is_checker = True
    monkeypatch.setattr(checks, CHECKED, checker, raising=False)
    (tmp_path / "src").mkdir()
    twin = tmp_path / "src" / "03_byte_pair_encoding.md"
    twin.write_text("# stands for the twin\n", encoding="utf-8")

    def store(cells: list[NotebookNode]) -> Lesson:
        for number, cell in enumerate(
            (cell for cell in cells if cell.cell_type == "code"), start=1
        ):
            cell.setdefault("execution_count", None)
            if cell.execution_count is None:
                cell.execution_count = number
        for i, cell in enumerate(cells):
            cell.id = f"cell-{i}"
        notebook = nbformat.v4.new_notebook(
            cells=cells, metadata={"course": {"twin": tool.digest(twin)}}
        )
        tool.target(twin).write_text(tool.as_text(notebook), encoding="utf-8")
        monkeypatch.setattr(
            tool, "read_twin", lambda _: nbformat.v4.new_notebook(cells=good_cells())
        )
        return Lesson(tool.target(twin), twin)

    return store


def change(find: str, old: str, new: str):
    """Replace a piece of text in the first cell that holds `find`."""

    def breaker(cells: list[NotebookNode]) -> None:
        cell = next(cell for cell in cells if find in cell.source)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return breaker


def edit(find: str, action):
    """Do something to the first cell that holds `find`."""
    return lambda cells: action(next(cell for cell in cells if find in cell.source))


def printing(text: str):
    """Make a cell print `text`."""
    return lambda cell: cell.update(outputs=[new_output("stream", name="stdout", text=text)])


BROKEN = {
    "twin_and_notebook_agree": [change("## Why 3", "word", "another"), lambda cells: cells.pop(5)],
    "executed_in_order": [
        edit("x = 1", lambda cell: cell.update(execution_count=99)),
        edit(
            "x = 1",
            lambda cell: cell.outputs.append(
                new_output("error", ename="E", evalue="v", traceback=[])
            ),
        ),
        edit(
            "x = 1",
            lambda cell: cell.outputs.append(new_output("stream", name="stderr", text="a warning")),
        ),
    ],
    "quotes_are_the_library": [
        change("def first_line", ":90", ":80"),
        edit("def first_line", lambda cell: cell.metadata.pop("quote")),
        edit("def first_line", lambda cell: cell.metadata.update(tags=[])),
        change("_solution(", "pairwise", "zip"),
        edit("_solution(", lambda cell: cell.metadata.pop("quote")),
    ],
    "is_small": [edit("## Why 3", lambda cell: cell.update(source=cell.source + "x" * 1_600_000))],
    "code_cells_are_short": [
        edit("x = 1", lambda cell: cell.update(source="x = 1\n" * 41)),
        lambda cells: [
            cell.update(source="x = 1\n" * 9) for cell in cells if cell.source == "x = 1"
        ],
    ],
    "prints_little": [
        edit("x = 1", printing("1\n" * 16)),
        edit(
            "x = 1",
            lambda cell: cell.outputs.append(
                new_output("display_data", {"text/plain": "1\n" * 16})
            ),
        ),
    ],
    "has_the_right_length": [
        lambda cells: cells.extend(code("x = 1") for _ in range(50)),
        lambda cells: cells.extend(new_markdown_cell("word " * 1100) for _ in range(2)),
        change("Predict first", PREDICT, ""),
        change("quiz.choice", "quiz.choice", "quiz.other"),
        edit("    ...", lambda cell: cell.metadata.update(tags=[])),
    ],
    "opens_as_agreed": [
        change("# 03", "Byte-pair", "Bytes and pairs"),
        change("# 03", "**Papers**", "Papers"),
        change("# 03", "runs in under 2 minutes", "quick"),
        change("course_map", '"03"', '"04"'),
        edit(
            "course_map",
            lambda cell: cell.outputs[0].data.update({"text/html": MAP.replace("GRPO", "PPO")}),
        ),
        lambda cells: cells.insert(2, cells.pop(4)),
    ],
    "has_one_setup_cell": [
        change("x = 1", "x = 1", "import os"),
        change("x = 1", "x = 1", "!ls"),
        change("x = 1", "x = 1", "%pip install torch"),
        change("x = 1", "x = 1", "sys.path.append('..')"),
    ],
    "headings_do_not_jump": [
        change("## Why 3", "## Why", "#### Why"),
        change("## Why 3", "## Why", "# Why"),
    ],
    "closes_as_agreed": [
        change("## Summary", "Summary", "End"),
        change("## Paper", "this notebook", "us"),
    ],
    "is_plain_markdown": [
        change("## Why 3", "word", "\n:::{note}\nword\n:::\n"),
        change("## Why 3", "word", "\n```{note}\nword\n```\n"),
        change("## Why 3", "word", "{term}`word`"),
    ],
    "exercises_are_whole": [
        change("Exercise 2", "Exercise 2", "Exercise 5"),
        change("Exercise 2", " · 5 minutes", ""),
        change("Exercise 2", "Hint 2: a plan", "Hint 2"),
        change("    ...", f"check.{CHECKED}(", "check.another("),
        edit(
            "    ...", lambda cell: cell.update(source=cell.source.replace(CHECKED, "unknown_name"))
        ),
        edit("    ...", printing(f"[ok] {CHECKED}: right.")),
        edit("_solution(", printing(f"[x] {CHECKED}: wrong.")),
        edit("_solution(", lambda cell: cell.metadata.update(tags=["solution"])),
        edit("_solution(", lambda cell: cell.update(source=cell.source + "\nx = 1")),
        lambda cells: cells.append(code("x = 1", tags=["solution"])),
    ],
    "images_have_alt_text": [
        edit(
            "show()", lambda cell: cell.outputs[0].data.update({"text/html": '<img src="x.png">'})
        ),
        edit(
            "show()",
            lambda cell: cell.outputs[0].data.update(
                {"text/html": IMAGE.replace("A curve", "").replace("that falls", "")[:50] + '">'}
            ),
        ),
        edit("show()", lambda cell: cell.outputs[0].data.pop("text/html")),
        change("## Why 3", "word", "![](picture.png)"),
    ],
    "links_resolve": [
        change("[above]", "#why-1", "#why-99"),
        change("[above]", "03_byte_pair_encoding.ipynb", "77_nothing.ipynb"),
    ],
    "is_normalized": [
        edit("x = 1", lambda cell: cell.metadata.update(execution={"iopub.execute_input": "now"})),
        edit("x = 1", printing("/home/me/course")),
    ],
}


def test_a_good_notebook_keeps_every_rule(stored):
    lesson = stored(good_cells())
    assert {rule.__name__: rule(lesson) for rule in RULES} == {rule.__name__: [] for rule in RULES}


@pytest.mark.parametrize(
    ("rule", "breaker"),
    [
        pytest.param(rule, breaker, id=f"{rule.__name__}-{i}")
        for rule in RULES
        for i, breaker in enumerate(BROKEN[rule.__name__])
    ],
)
def test_a_broken_notebook_breaks_the_rule(stored, rule, breaker):
    cells = copy.deepcopy(good_cells())
    breaker(cells)
    assert rule(stored(cells)) != []


def test_an_image_inside_a_widget_needs_alternative_text(stored):
    lesson = stored(good_cells())
    raw = json.loads(lesson.file.read_text(encoding="utf-8"))
    state = {"state": {"w0": {"state": {"value": "<img src='x.png'>"}}}}
    raw["metadata"]["widgets"] = {tool.WIDGETS: state}
    lesson.file.write_text(json.dumps(raw), encoding="utf-8")
    rule = next(rule for rule in RULES if rule.__name__ == "images_have_alt_text")
    assert rule(Lesson(lesson.file, lesson.twin)) != []
