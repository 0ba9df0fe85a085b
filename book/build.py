"""Build the static book from the executed notebooks: `python book/build.py [--open]`.

The pages and notebooks are copied to `book/_build/source`, where some things are changed that only
the book needs: the start page gets its lessons, some pages what is computed, links between
notebooks lead to pages, a folded solution says that it is one, the code of a question, which names
the right answer, is left out, what a prediction is about stays folded, links can lead to a figure,
a lesson ends with its papers, and R1 answers where a page has the mark for it.
Every warning of Sphinx is an error.
"""

import argparse
import json
import re
import shutil
import sys
import webbrowser
from pathlib import Path

import alive
import cheat_sheets
import exam_bank
import try_page
import vendor
from failures import failure_numbers
from interactive_figures import Figures, figures_of, index_as_myst, with_anchors
from papers import lessons_of_papers, papers_cell, with_lessons
from sphinx.cmd.build import main as sphinx_build
from start_page import start_tables
from teaching_plans import with_links

from course_lib.experiments.clusters import cluster_tables
from course_lib.experiments.configurations import configuration_tables
from course_lib.experiments.family_report import family_tables
from course_lib.lab import course_map, exam, gallery, placement, question_bank
from course_lib.lab.course_map import Lesson

BOOK = Path(__file__).parent
NOTEBOOKS = BOOK.parent / "notebooks"
OUTPUT = BOOK / "_build"
NOT_PAGES = ("build.py", "vendor.*", "alive.*", "chromium.py", "cheat_sheets.*", "pdf.*", "epub.*")


def build(output: Path = OUTPUT, notebooks: Path = NOTEBOOKS) -> Path:
    """Build the book into `output/html` and return its start page. Raises RuntimeError where Sphinx
    finds a fault."""
    vendor.fetch()
    source, html = output / "source", output / "html"
    stage(source, notebooks)
    strict = ["-n", "-W", "--keep-going", "-q"]
    if sphinx_build(
        [*strict, "-b", "html", "-d", str(output / "doctrees"), str(source), str(html)]
    ):
        raise RuntimeError("the book has faults: they are listed above")
    for copy in (html / "_sources/notebooks").glob("*.ipynb"):  # what a reader downloads
        shutil.copyfile(notebooks / copy.name, copy)
    return html / "index.html"


def stage(source: Path, notebooks: Path) -> None:
    """Put everything that the book is made of into one folder."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(
        BOOK, source, ignore=shutil.ignore_patterns("_build", "__pycache__", *NOT_PAGES)
    )
    shutil.copy(BOOK.parent / "TUTOR.md", source / "tutor.md")
    alive.write_weights(source / "_static" / "alive" / "weights.js")
    exam_bank.draw_figures(source / "_static" / "exam")
    try_page.write_course(source / "_static" / "try" / "course.zip")
    present = [lesson for lesson in course_map.lessons() if (notebooks / lesson.file).exists()]
    texts = {lesson: (notebooks / lesson.file).read_text(encoding="utf-8") for lesson in present}
    figures = {lesson: figures_of(text, lesson) for lesson, text in texts.items()}
    stage_lessons(source, texts, figures)
    cheat_sheets.write_sheets(source, present)
    stage_pages(source, figures)


def stage_lessons(source: Path, texts: dict[Lesson, str], figures: Figures) -> None:
    """Put each lesson's notebook into the folder, changed for the book, and the bibliography."""
    bibliography = (BOOK / "references.bib").read_text(encoding="utf-8")
    papers = lessons_of_papers(bibliography, texts)
    told = with_lessons(bibliography, papers)
    (source / "references.bib").write_text(told, encoding="utf-8")
    (source / "notebooks").mkdir()
    for lesson, text in texts.items():
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            adapt(cell)
        fold_predicted_outputs(notebook["cells"])
        cheat_sheets.link_sheet(notebook["cells"], lesson)
        notebook["cells"] = with_anchors(notebook["cells"], figures[lesson])
        notebook["cells"].append(papers_cell(lesson, papers))
        (source / "notebooks" / lesson.file).write_text(json.dumps(notebook), encoding="utf-8")


def stage_pages(source: Path, figures: Figures) -> None:
    """Fill in what the pages around the lessons have computed."""
    links = {
        f"L{row.number}": f"[{row.number}](notebooks/{row.file})" for row in course_map.lessons()
    }
    for name, made in (
        ("index.md", start_tables(figures) | links),
        ("interactive.md", {"FIGURES": index_as_myst(figures)}),
        ("notation.md", links),
        ("failures.md", failure_numbers() | links),
        ("clusters.md", cluster_tables()),
        ("configurations.md", configuration_tables()),
        ("family.md", family_tables()),
        ("exam.md", {"EXAM": exam.as_form(question_bank.load_bank())}),
        ("exam_bank.md", {"QUESTIONS": exam_bank.questions_as_myst()}),
        ("exam_answers.md", {"ANSWERS": exam_bank.answers_as_myst()}),
        ("placement.md", {"PLACEMENT": placement.as_form(placement.load_plan())}),
        ("try.md", try_page.page_parts()),
        ("gallery.md", {"GALLERY": to_pages(gallery.as_html(None), "notebooks/")}),
    ):
        page = with_tables((source / name).read_text(encoding="utf-8"), made)
        (source / name).write_text(alive.with_box(page, "_static"), encoding="utf-8")
    for path in (source / "teaching").glob("*.md"):
        path.write_text(with_links(path.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page: str, made: dict[str, str]) -> str:
    """Put the computed tables and numbers of a page where `%THEIR_NAMES%` stand."""
    return re.sub(r"%([A-Z0-9_]+)%", lambda found: made[found[1]], page)


def to_pages(html: str, folder: str = "") -> str:
    """Let links to notebooks lead to their pages, in a folder of the book."""
    return re.sub(r'href="(\d\d_\w+)\.ipynb', rf'href="{folder}\1.html', html)


def adapt(cell: dict) -> None:
    """Change one cell of a notebook's copy for the book."""
    for output in cell.get("outputs", []):
        if "text/html" in output.get("data", {}):
            html = "".join(output["data"]["text/html"])
            output["data"]["text/html"] = to_pages(html)
    if cell["cell_type"] == "markdown":  # links to the book's own pages
        text = "".join(cell["source"]).replace("](../book/", "](../")
        cell["source"] = alive.with_box(text, "../_static")
    tags = cell["metadata"].setdefault("tags", [])
    if "solution" in tags:
        cell["metadata"]["mystnb"] = {
            "code_prompt_show": "Show the solution",
            "code_prompt_hide": "Hide the solution",
        }
    if "".join(cell["source"]).lstrip().startswith("quiz.choice("):
        tags.append("remove-input")  # the call names the right answer


def fold_predicted_outputs(cells: list[dict]) -> None:
    """Fold what a prediction is about, the outputs between it and the next text, until a reader
    asks for it; leave out what an untouched exercise prints."""
    predicted = False
    for cell in cells:
        tags = cell["metadata"].setdefault("tags", [])
        if cell["cell_type"] == "markdown":
            _, asked, after = "".join(cell["source"]).rpartition("<summary>Predict first, then")
            predicted = bool(asked) and not re.search(r"(?m)^#+ ", after)
        elif "exercise" in tags:
            tags.append("remove-output")
        elif predicted and "solution" not in tags:
            tags.append("hide-output")
            cell["metadata"]["mystnb"] = {
                "code_prompt_show": "Made your guess? Show the output",
                "code_prompt_hide": "Hide the output",
            }


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the static book.")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="where to build it (default: book/_build)"
    )
    parser.add_argument("--open", action="store_true", help="show it in a browser")
    arguments = parser.parse_args()
    try:
        start = build(arguments.output.resolve())
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"the book is in {start}")
    if arguments.open:
        webbrowser.open(start.as_uri())


if __name__ == "__main__":
    main()
