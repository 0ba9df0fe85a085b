"""The rules can fail: a good notebook is broken in one place at a time, and the rule meant for that
objects."""

import copy
import json
from itertools import count

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from course_lib.lab import course_map, quiz, recall
from tests.notebooks.rules import (
    RECALL, RECALL_CODE, RULES, Lesson, all_quizzes_are_balanced
)
from tools import notebooks as tool

BOX = """# 03 · Byte-pair encoding

A promise.

> **You will be able to** merge. **You need** Python.
> **Time** 60 minutes · runs in under 2 minutes.
> **Papers** [Sennrich et al. 2016](https://arxiv.org/abs/1508.07909); Gage's own."""
HINTS = "\n".join(
    f"<details><summary>{hint}</summary>...</details>"
    for hint in ("Hint 1: a question", "Hint 2: a plan", "Hint 3: the line")
)
FOLD = "<details><summary>Predict first, then open</summary>It grows.</details>"
PREDICT = f"**Predict first.** Does it grow?\n\n{FOLD}"
IMAGE = '<img alt="A curve that falls from left to right" src="data:image/png;base64,AAAA">'
MAP = course_map.as_html("03")
STORED = recall.as_stored("03")
QUOTED = "tools.notebooks.first_line"
CHECKED = "count_pairs"  # the checker that the exercises below call
KEY = "<code>Counter(pairwise(ids))</code>"
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


def question(right: int, text: str = "no") -> str:
    """A call that asks a question whose right option has this text and is shown in this place; the
    wrong ones are 'wrong'."""
    options = [("wrong", False, "No."), ("also wrong", False, "No."), (text, True, "Yes.")]
    keys = (f"q{right}-{i}" for i in count())
    key = next(key for key in keys if quiz.shuffled(key, options)[right % 3][1])
    typed = ",\n    ".join(map(repr, options))
    return f'quiz.choice("{key}", "Which?", [\n    {typed}])'


def good_cells() -> list[NotebookNode]:
    filler = " ".join(["word"] * 70)
    steps = [
        cell
        for i in range(14)
        for cell in (new_markdown_cell(f"## Why {i}?\n\n{filler}"), code("x = 1", "1\n"))
    ]
    ask = "\n".join(map(question, range(4)))
    return [
        new_markdown_cell(BOX),
        new_code_cell(
            'course_map.show("03")', outputs=[new_output("display_data", {"text/html": MAP})]
        ),
        new_markdown_cell(RECALL),
        new_code_cell(
            RECALL_CODE.format("03"),
            outputs=[new_output("display_data", {"text/plain": text}) for text in STORED],
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
        code(ask),
        new_markdown_cell("## Paper and this notebook\n\nAll of it."),
        new_markdown_cell("## Summary\n\nFive lines."),
        code("progress.page()"),
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


def say(text: str):
    """Add a paragraph below a heading."""
    return change("## Why 3", "## Why 3?", f"## Why 3?\n\n{text}")


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
        lambda cells: cells.extend(code("x = 1") for _ in range(90)),
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
        lambda cells: cells.insert(2, cells.pop(6)),
        lambda cells: cells.insert(2, cells.pop(4)),
        change("Do you still", "answer from memory", "look them up"),
        change("recall.ask", '"03"', '"04"'),
        edit("recall.ask", lambda cell: cell.outputs.pop()),
        edit("recall.ask", lambda cell: cell.outputs[1].data.update({"text/plain": STORED[0]})),
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
    "ends_in_the_page_of_progress": [lambda cells: cells.pop()],
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
    "code_fits_the_page": [
        change("x = 1", "x = 1", "x = " + "1 + " * 24 + "1"),
        change("def first_line", "def", "# " + "x" * 99 + "\ndef"),
    ],
    "predictions_ask_outside": [
        change("**Predict first.**", "**Predict first.** Does it grow?", ""),
        change("**Predict first.**", "**Predict first.** Does it grow?", "Does it grow?"),
        change("**Predict first.**", "Does it grow?", "It may grow."),
        change("**Predict first.**", "Does it grow?", "Does it grow?\n\nWe shall see."),
        change("**Predict first.**", ">It grows.", ">\n\nDoes it shrink, too?\n\nIt grows."),
    ],
    "asserts_say_why": [
        change("x = 1", "x = 1", "assert True"),
        change("x = 1", "x = 1", "if True:\n    assert x > 1, 'too short'"),
    ],
    "quizzes_are_balanced": [
        change("quiz.choice", "('no'", "('the longest of them'"),
        edit("quiz.choice", lambda cell: cell.update(source="\n".join([question(0)] * 4))),
    ],
    "hints_are_no_answers": [
        change("Exercise 2", "Hint 3: the line</summary>...", f"Hint 3: the line</summary>{KEY}")
    ],
    "speaks_the_fields_language": [
        say("a chance, the probability, a probability, chances, chance, chance"),
        say("a chance"),
        change("## Why 3", "## Why 3?", "## Which chance?"),
        change("x = 1", "x = 1", "x = f'a chance of {x}'"),
    ],
    "bold_terms_come_back": [say("the **residual stream**")],
    "outside_links_are_links": [
        change(
            "**Papers**", "[Sennrich et al. 2016](https://arxiv.org/abs/1508.07909)", "Sen 2016"
        ),
        change("**Papers**", "Gage's own", "Gage 1994"),
        say("https://arxiv.org"),
        say("arXiv:1508.07909"),
    ],
}


def test_a_good_notebook_keeps_every_rule(stored):
    lesson = stored(good_cells())
    assert {rule.__name__: rule(lesson) for rule in RULES} == {rule.__name__: [] for rule in RULES}


FINE = {
    "code_fits_the_page": [change("x = 1", "x = 1", "x = " + "1 + " * 23 + "1234")],
    "predictions_ask_outside": [
        change("**Predict first.**", ">It grows.", ">It grows.\n\nWhy? It eats.")
    ],
    "asserts_say_why": [
        change("x = 1", "x = 1", "assert x, 'this held for the seed as shipped'"),
        change("x = 1", "x = 1", "assert x, f'{x}'"),
    ],
    "quizzes_are_balanced": [
        change("quiz.choice", question(0), question(0, "the longest of them")),
        edit("quiz.choice", lambda cell: cell.update(source="\n".join([question(0)] * 3))),
    ],
    "hints_are_no_answers": [
        change(
            "Exercise 2", "Hint 3: the line</summary>...", "Hint 3: the line</summary>Counter(…)"
        )
    ],
    "speaks_the_fields_language": [
        say("a chance, a **probability**, and a probability"),
        say("by chance, in place, the slope of the line"),
        say("`chance` and <code>chance</code>"),
        change("x = 1", "x = 1", "chance = 1"),
    ],
    "bold_terms_come_back": [
        say("the **residual stream**. Residual streams add up"),
        say("**not in the glossary**"),
    ],
    "outside_links_are_links": [
        say("[arXiv:1508.07909](https://arxiv.org/abs/1508.07909)"),
        say("`https://arxiv.org` and <https://arxiv.org>"),
    ],
}


@pytest.mark.parametrize(
    ("name", "changer"),
    [pytest.param(name, c, id=f"{name}-{i}") for name in FINE for i, c in enumerate(FINE[name])],
)
def test_what_a_rule_allows(stored, name, changer):
    (rule,) = (rule for rule in RULES if rule.__name__ == name)
    cells = copy.deepcopy(good_cells())
    changer(cells)
    assert rule(stored(cells)) == []


def test_all_quizzes_together_have_closer_bounds(stored):
    lesson = stored(good_cells())
    assert all_quizzes_are_balanced([lesson, lesson]) == []
    cells = copy.deepcopy(good_cells())
    for old, new in ((0, question(0, "the longest of them")), (3, question(3, "the very longest"))):
        change("quiz.choice", question(old), new)(cells)
    assert all_quizzes_are_balanced([stored(cells)]) == [
        "the right option is the longest in 2 of 4 questions"
    ]


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
