"""One page per lesson, to print: formulas, shapes, code, terms, numbers, mistakes, papers.

All of it is cut out of the lesson's stored notebook, the glossary and the library. What a rule
cannot know, such as which formula is the central one, is named in `cheat_sheets.toml`; a name that
is not found stops the build.
"""

import ast
import html
import importlib
import inspect
import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import get_args, get_origin

from course_lib.lab import course_map, gallery, question_bank

CHOICES = Path(__file__).with_suffix(".toml")
GLOSSARY = Path(__file__).with_name("glossary.md")
NOT_OURS = {"exercise", "solution"}  # tags of cells that a sheet takes nothing from


def write_sheets(source: Path, present: list[course_map.Lesson]) -> None:
    """Write a page for each lesson, and one that lists them, into `source/cheat_sheets`."""
    folder = source / "cheat_sheets"
    folder.mkdir()
    for lesson in present:
        (folder / f"{lesson.number}.md").write_text(sheet(lesson), encoding="utf-8")
    lines = [f"- [{lesson.number} · {lesson.title}]({lesson.number}.md)" for lesson in present]
    contents = "\n".join(lesson.number for lesson in present)
    (folder / "index.md").write_text(
        "# Cheat sheets\n\nEach lesson on one page, to print. `make pdf` puts all of them into one"
        " file.\n\n" + "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{contents}\n```\n",
        encoding="utf-8",
    )


def link_sheet(cells: list[dict], lesson: course_map.Lesson) -> None:
    """Let a lesson's first cell lead to its sheet, in the book's copy of a notebook."""
    text = "".join(cells[0]["source"])
    link = f"[This lesson on one page](../cheat_sheets/{lesson.number}.md), to print"
    cells[0]["source"] = f"{text}\n\n{link}\n"


def sheet(lesson: course_map.Lesson) -> str:
    """One lesson's page, in MyST Markdown."""
    taken = choices(lesson)
    cells = cells_of(lesson)
    parts = {
        "Formulas": formulas(cells, taken.get("formulas", [])),
        "Shapes": shapes(taken.get("shapes", []), taken["letters"]),
        "Code": "\n\n".join(f"```python\n{code(cells, name)}\n```" for name in taken["code"]),
        "Terms": "\n".join(f"- **{{term}}`{term}`**: {defined(term)}" for term in taken["terms"]),
        "In short": section(cells, "Summary"),
        "Numbers": numbers(cells, taken["numbers"]) + exhibits(lesson),
        "Mistakes": mistakes(lesson, taken.get("mistakes", 4)),
        "Papers": box_row(cells, "Papers"),
    }
    head = f"# {lesson.number} · {lesson.title}: cheat sheet\n\n{promise(cells)}"
    head += f" [The lesson](../notebooks/{lesson.file})\n\n"
    head += f"```{{container}} cheat-question\n{question(cells, taken.get('question'))}\n```\n\n"
    return head + "\n\n".join(f"## {name}\n\n{text}" for name, text in parts.items() if text) + "\n"


def choices(lesson: course_map.Lesson) -> dict:
    """What the sheet of a lesson takes. Raises ValueError where nothing is said about it."""
    told = tomllib.loads(CHOICES.read_text(encoding="utf-8"))
    if lesson.number not in told:
        raise ValueError(f"{CHOICES.name} has nothing about lesson {lesson.number}")
    taken = told[lesson.number]
    return taken | {"letters": told["letters"] | taken.get("letters", {})}


# What a notebook holds
# --------------------------------------------------------------------------------------------------


@cache
def cells_of(lesson: course_map.Lesson) -> list[dict]:
    """The cells of a lesson's stored notebook that a sheet may quote."""
    stored = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))
    return [c for c in stored["cells"] if not NOT_OURS & set(c["metadata"].get("tags", []))]


def prose(cells: list[dict]) -> str:
    """The Markdown of a notebook, without what is folded away: hints and predictions."""
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"(?s)<details>.*?</details>", "", text)


def promise(cells: list[dict]) -> str:
    """The sentence below a lesson's title."""
    return prose(cells).split("\n\n")[1]


def question(cells: list[dict], chosen: str | None) -> str:
    """The question of a section, the first if none is chosen."""
    asked = re.findall(r"(?m)^## (.*\?)$", prose(cells))
    if chosen not in (None, *asked):
        raise ValueError(f"no section asks {chosen!r}; there are {asked}")
    return chosen or asked[0]


def section(cells: list[dict], title: str) -> str:
    """The list below a heading."""
    text = re.search(rf"(?ms)^## {title}\n\n(.*?)(?:\n\n|\Z)", prose(cells))
    return re.sub(r"(?m)^\d+\. ", "- ", text[1])


def box_row(cells: list[dict], label: str) -> str:
    """What stands beside a label of the box at the top of a lesson."""
    row = re.search(rf"(?m)\*\*{label}\*\*(?: \|)? (.*?)(?: \|)?$", prose(cells))
    return row[1]


def formulas(cells: list[dict], chosen: list[dict]) -> str:
    """Formulas of a lesson's prose, each with what its symbols mean."""
    found = [a or b for a, b in re.findall(r"(?s)\$\$(.*?)\$\$|\$([^$]+)\$", prose(cells))]
    told = []
    for each in chosen:
        tex = " ".join(first_that_begins(found, each["begins"], "formula").split())
        pieces = [f"$\\displaystyle {piece.strip()}$" for piece in tex.split(r"\qquad")]
        told.append(f"{' &emsp; '.join(pieces)}\n\n{each['where']}")  # a line may end between them
    return "\n\n".join(told)


def code(cells: list[dict], name: str) -> str:
    """A function or class as it stands in a cell: the cell that defines it, or quotes it."""
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        for node in ast.parse(text).body:
            if getattr(node, "name", None) == name:
                return ast.get_source_segment(text, node)
    raise ValueError(f"no cell defines {name}")


def numbers(cells: list[dict], chosen: list[str]) -> str:
    """Lines that the stored notebook printed."""
    printed = [
        line
        for cell in cells
        for output in cell.get("outputs", [])
        for line in "".join(output.get("text", "")).splitlines()
    ]
    lines = "\n".join(first_that_begins(printed, begins, "printed line") for begins in chosen)
    return f"```text\n{lines}\n```\n\n"


def first_that_begins(found: list[str], begins: str, kind: str) -> str:
    """The first text that begins so, spaces and a measured number in front aside."""
    for text in map(str.strip, found):
        if text.startswith(begins) or text.lstrip("0123456789. ").startswith(begins):
            return text
    raise ValueError(f"no {kind} begins with {begins!r}")


# What stands elsewhere
# --------------------------------------------------------------------------------------------------


@cache
def definitions() -> dict[str, str]:
    """The glossary: each term with its definition."""
    text = GLOSSARY.read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```\{glossary\}\n(.*?)^```", text)
    pairs = re.findall(r"(?m)^(\S.*)\n((?:  .*\n)+)", "".join(blocks))
    return {term: " ".join(told.split()) for term, told in pairs}


def defined(term: str) -> str:
    """The first sentence of a term's definition, without links."""
    if term not in definitions():
        raise ValueError(f"the glossary does not define {term!r}")
    told = re.split(r"(?<=[.:]) (?=[A-Z])", definitions()[term])[0]
    return re.sub(r"\{term\}`([^`<]*?)(?: <[^`]*)?`", r"\1", told)


def shapes(chosen: list[str], letters: dict[str, str]) -> str:
    """The shapes that functions of the library take and give, and what the letters mean."""
    lines = [signature(name) for name in chosen]
    axes = dict.fromkeys(axis for line in lines for axis in re.findall(r"\b[A-Z]\w?\b", line))
    if unknown := [axis for axis in axes if axis not in letters]:
        raise ValueError(f"no letter of {CHOICES.name} says what the axes {unknown} are")
    if not lines:
        return ""
    legend = " · ".join(f"{axis} {letters[axis]}" for axis in axes)
    return "```text\n" + "\n".join(lines) + f"\n```\n\n{legend}"


def signature(name: str) -> str:
    """The tensors of a function of the library, with their shapes.

    >>> signature("layers.norm.rms_norm")
    'rms_norm(x: *B C, weight: C) -> *B C'
    """
    module, _, rest = name.rpartition(".")
    if module.rpartition(".")[2][0].isupper():  # a method
        module, _, owner = module.rpartition(".")
        rest = f"{owner}.{rest}"
    thing = importlib.import_module(f"course_lib.{module}")
    for part in rest.split("."):
        thing = getattr(thing, part)
    told = inspect.signature(thing)
    takes = [(k, dims(p.annotation)) for k, p in told.parameters.items() if dims(p.annotation)]
    gives = dims(told.return_annotation)
    arguments = ", ".join(f"{key}: {shape}" for key, shape in takes)
    return f"{rest.removesuffix('.forward')}({arguments})" + (f" -> {gives}" if gives else "")


def dims(annotation: object) -> str:
    """The shape of a jaxtyping annotation, or those of a tuple; nothing of what may be None."""
    if get_origin(annotation) is tuple:
        return ", ".join(f"({dims(part)})" for part in get_args(annotation))
    return getattr(annotation, "dim_str", "")


def mistakes(lesson: course_map.Lesson, most: int) -> str:
    """Wrong answers to the lesson's questions, and what is said to whoever gives them: of each of
    the first questions the one that most is said about."""
    lines = []
    for asked in question_bank.quiz_questions(lesson)[:most]:
        wrong = max((o for o in asked.options if not o.right), key=lambda option: len(option.said))
        told = [html.escape(text, quote=False) for text in (asked.text, wrong.text, wrong.said)]
        lines.append("<li>{} <em>Not “{}”.</em> {}</li>".format(*told))
    return "\n".join(["<ul>", *lines, "</ul>"]) if lines else ""


def exhibits(lesson: course_map.Lesson) -> str:
    """What hangs in the gallery about this lesson: its number beside a published one."""
    ours = gallery.course_numbers()
    return "\n".join(
        f"- {each.title}: **{ours[each.number]}** {each.unit}. Published: {each.published}"
        f" ([{each.source}]({each.address})). {each.beware}"
        for each in gallery.exhibits()
        if each.lesson == lesson.number and each.number in ours
    )
