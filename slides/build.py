"""Make the decks: one page per lesson, one that lists them, and the files that they need."""

import json
import shutil
import sys
from itertools import groupby
from pathlib import Path

import jinja2
from pygments.formatters import HtmlFormatter

from course_lib.lab import course_map
from slides.rules import lesson_slides
from slides.text import title_html

HERE = Path(__file__).parent
BOOK = HERE.parent / "book"
WIDGETS = "application/vnd.jupyter.widget-state+json"
STYLES = {"": "a11y-light", ".dark ": "a11y-dark"}  # of the code, per theme

sys.path.insert(0, str(BOOK))
import vendor  # noqa: E402

PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
)
PAGES.filters["title_html"] = title_html


def build(output: Path, numbers: list[str]) -> Path:
    """Write the decks of the lessons with these numbers (of all where there are none) into a folder
    and return its start page."""
    built = [lesson for lesson in course_map.lessons() if lesson.built]
    chosen = [lesson for lesson in built if not numbers or lesson.number in numbers]
    if unknown := set(numbers) - {lesson.number for lesson in built}:
        raise ValueError(f"no lesson is called {', '.join(sorted(unknown))}")
    output.mkdir(parents=True, exist_ok=True)
    copy_static(output / "static")
    for lesson in chosen:
        notebook = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))
        page = output / lesson.file.replace(".ipynb", ".html")
        page.write_text(deck(lesson, notebook), encoding="utf-8")
    index = output / "index.html"
    index.write_text(list_of_decks(output), encoding="utf-8")
    return index


def deck(lesson: course_map.Lesson, notebook: dict) -> str:
    """The page of one lesson."""
    state = json.dumps(notebook["metadata"].get("widgets", {}).get(WIDGETS, {}))
    return PAGES.get_template("deck.html").render(
        lesson=lesson,
        columns=lesson_slides(notebook),
        state=state.replace("</", r"<\/"),  # a script ends at its first </script>
    )


def list_of_decks(output: Path) -> str:
    """The start page: the decks that are in the folder, part by part."""
    there = [
        (lesson.part_title, lesson, page)
        for lesson in course_map.lessons()
        if (output / (page := lesson.file.replace(".ipynb", ".html"))).exists()
    ]
    parts = [(part, list(rows)) for part, rows in groupby(there, key=lambda row: row[0])]
    return PAGES.get_template("index.html").render(parts=parts)


def copy_static(target: Path) -> None:
    """Put scripts and styles beside the decks: reveal.js, the book's widgets and formulas, and
    ours."""
    vendored = vendor.fetch()
    for folder in (vendored / "slides" / "reveal", vendored / "book", HERE / "static"):
        shutil.copytree(folder, target, dirs_exist_ok=True)
    for file in (course_map.CONTROLS, BOOK / "_static" / "shim.js"):
        shutil.copy(file, target)
    colours = [
        HtmlFormatter(style=style).get_style_defs(f"{theme}.code")
        for theme, style in STYLES.items()
    ]
    (target / "code.css").write_text("\n".join(colours), encoding="utf-8")
