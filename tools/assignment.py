"""Hand out a lesson's exercises by nbgrader, mark what comes back, and write feedback.

    python -m tools.assignment 06            my_class/release/06_self_attention is what students get
    python -m tools.assignment --mark 06     mark my_class/submitted/NAME/06_self_attention

Below each exercise stands a locked cell that asks the exercise's checker, and gives as many points
as the exercise is difficult. The class's folder, my_class, is one of nbgrader's courses: all its
other commands work there too.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.files import write_atomically
from course_lib.lab import course_map
from tools import notebooks as tool

FOLDER = course_map.ROOT / "my_class"
HEADING = re.compile(r"(?m)^### (?=Exercise \d+: .*\(difficulty (\d) of 5)")
CHECK = re.compile(r"(?m)^check\.(\w+)\(\1\)")
FETCHED = re.compile(r'<script src="https?:[^>]*>\s*</script>')  # MathJax: formulas stay as typed
SETTINGS = '''"""nbgrader's settings for this class. Made once; change what you like."""

import os

os.environ["COURSE_PROGRESS"] = "off"  # marking leaves your own record of progress alone

c = get_config()
c.CourseDirectory.course_id = "bytes-to-reasoning"
c.ClearSolutions.enabled = False  # the source holds none, and the skeletons must stay
c.Execute.timeout = 120  # seconds for a cell; a checker stops an answer that takes longer than 8
'''
WELCOME = """# {number} · {title}: assignment

These are the exercises of lesson {number}, which explains what they ask for. Fill in each function
and run its cell: the check says what is wrong, as often as you like. The locked cell below it marks
the answer, and stops with the check's message until the answer is right.

There are {points} points in all: for each exercise as many as its difficulty."""
MARKING = """# marks the answer above: {points}
from course_lib.lab.checks.core import verdict_on

verdict = verdict_on("{lab}.{name}", {name})
assert verdict.status == "ok", verdict.message"""


# The notebook
# --------------------------------------------------------------------------------------------------


def assignment(lesson: course_map.Lesson) -> NotebookNode:
    """The exercises of a lesson, each with the cell that marks it: nbgrader's source."""
    notebook = tool.read_twin(tool.choose([lesson.number])[0])
    exercises = exercises_of(notebook, lesson.lab)
    welcome = WELCOME.format(
        number=lesson.number,
        title=lesson.title,
        points=sum(marking.metadata.nbgrader.points for *_, marking in exercises),
    )
    set_up = course_map.set_up_cell(notebook.cells)["source"]
    cells = [new_markdown_cell(welcome), code_cell(set_up, "set_up", locked=True)]
    made = new_notebook(cells=cells + sum(exercises, []), metadata=notebook.metadata)
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"
    return made


def exercises_of(notebook: NotebookNode, lab: str) -> list[list[NotebookNode]]:
    """The cells of each exercise: what it is given, its statement, the answer, the marking."""
    exercises, given, text = [], [], ""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            text = cell.source
        elif "given" in tags:
            given = [code_cell(cell.source, f"given_{len(exercises)}", locked=True)]
        elif "exercise" in tags:
            exercises.append([*given, *exercise_cells(text, cell.source, lab)])
            given = []
    return exercises


def exercise_cells(text: str, skeleton: str, lab: str) -> list[NotebookNode]:
    """The statement of one exercise, its answer cell and the cell that marks it."""
    heading, name = HEADING.search(text), CHECK.search(skeleton)[1]
    points = int(heading[1])
    marking = MARKING.format(points=f"{points} point{'s' * (points > 1)}", lab=lab, name=name)
    answer = code_cell(skeleton, name, solution=True)
    answer.metadata.tags = ["exercise"]
    locked = code_cell(marking, f"{name}_marking", locked=True, grade=True, points=points)
    locked.metadata.tags = ["raises-exception"]  # "Run all" goes on below it
    return [new_markdown_cell("## " + text[heading.end() :]), answer, locked]


def code_cell(source: str, name: str, **what: bool | int) -> NotebookNode:
    """A cell with what nbgrader wants to know of it."""
    about = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return new_code_cell(source, metadata={"nbgrader": about | what | {"grade_id": name}})


# The class's folder
# --------------------------------------------------------------------------------------------------


def release(lesson: course_map.Lesson, folder: Path) -> Path:
    """Write the source of an assignment, and have nbgrader make what students get; return that.

    Raises ValueError where another source is there already: it may be the teacher's own.
    """
    name = Path(lesson.file).stem
    source, settings = folder / "source" / name / lesson.file, folder / "nbgrader_config.py"
    text = tool.as_text(assignment(lesson))
    if source.exists() and source.read_text(encoding="utf-8") != text:
        raise ValueError(f"{source} is not as this course makes it: move it away to have it anew")
    source.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(source, text.encode())
    if not settings.exists():
        write_atomically(settings, SETTINGS.encode())
    nbgrader("generate_assignment", name, "--force", folder=folder)
    return folder / "release" / name / lesson.file


def mark(lesson: course_map.Lesson, folder: Path) -> Path:
    """Mark all that was handed in, and write feedback for it; return the table of all grades.

    Raises ValueError with nbgrader's words where a submission could not be marked, once the others
    have been.
    """
    name, problems = Path(lesson.file).stem, []
    for command in (
        ["autograde", name, "--force"],
        ["generate_feedback", name, "--force"],
        ["export"],
    ):
        try:
            nbgrader(*command, folder=folder)
        except ValueError as problem:
            problems.append(str(problem))
    for page in folder.glob(f"feedback/*/{name}/*.html"):
        write_atomically(page, FETCHED.sub("", page.read_text(encoding="utf-8")).encode())
    if problems:
        raise ValueError("\n".join(problems))
    return folder / "grades.csv"


def nbgrader(*command: str, folder: Path) -> None:
    """Run nbgrader in the class's folder; raises ValueError with its words where it fails."""
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(  # nbgrader looks for its helper, alembic, on the PATH
        [sys.executable, "-m", "nbgrader", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": here},
    )
    if run.returncode:
        students = re.findall(r"\| ERROR\] .* for student '([^.].*)'", run.stderr)  # "." is none
        told = (
            f" for {', '.join(students)}; the others are done" if students else f":\n{run.stderr}"
        )
        raise ValueError(f"nbgrader {' '.join(command)} failed{told}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an error ends it with a sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="+", metavar="NN", help="numbers of the lessons")
    parser.add_argument("--mark", action="store_true", help="mark what was handed in")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the class's folder")
    options = parser.parse_args(arguments)
    folder = options.folder.expanduser().resolve()
    try:
        for lesson in map(course_map.lesson, options.numbers):
            print(mark(lesson, folder) if options.mark else release(lesson, folder))
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
