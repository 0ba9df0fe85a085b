"""The learner's desk: working copies of the lessons in a folder of one's own, `my_course`.

    python -m course_lib.lab.desk              make the copies, or bring them up to date
    python -m course_lib.lab.desk --anew 06    begin lesson 06 anew; the old copy stays beside it

A copy has no outputs, and this machine's Jupyter trusts it, so that figures and questions work. A
copy that was changed or run is never overwritten; one that is as it was handed out follows an
update of the course. The executed originals in `notebooks` stay as they are. Where the course is
installed from a wheel, the folder is made where you are.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_markdown_cell

from course_lib.assets import IS_PACKAGED
from course_lib.files import free_name, read_json, write_atomically, write_json
from course_lib.lab import course_map

FOLDER = (Path() if IS_PACKAGED else course_map.ROOT) / "my_course"
LESSONS = "[0-9][0-9]_*.ipynb"
RECORD, KIND, VERSION = ".handed_out.json", "record of handed-out copies", 1
NEW, UPDATED, UNTOUCHED, YOURS, BEHIND, DAMAGED = (
    "new",
    "updated",
    "untouched",
    "yours",
    "yours, and the course has a newer one",
    "damaged",
)


# One copy
# --------------------------------------------------------------------------------------------------


def clear_outputs(notebook: NotebookNode) -> None:
    """Take out of a notebook, in place, all that running it has left."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)


def read_notebook(file: Path) -> NotebookNode:
    """Read a notebook; raises ValueError where the file holds none, half of one for example."""
    try:
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
        return notebook
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0][:80]
        raise ValueError(f"{file} can't be read as a notebook ({reason})") from None


def working_copy(original: Path) -> NotebookNode:
    """A lesson to work in: no outputs, and solutions as folded text, which no "run all" runs.

    What follows an exercise takes the solution from the library. Raises ValueError where the
    original can't be read.
    """
    try:
        notebook = read_notebook(original)
    except ValueError as error:
        raise ValueError(f"{error}: `git checkout {original.name}` there restores it") from None
    clear_outputs(notebook)
    notebook.cells = [
        folded_solution(cell) if "solution" in cell.metadata.get("tags", []) else cell
        for cell in notebook.cells
    ]
    return notebook


def folded_solution(cell: NotebookNode) -> NotebookNode:
    """A solution, without the check of it, as text that opens on a click."""
    code = cell.source.rpartition("\n\ncheck.")[0] or cell.source
    text = f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n</details>"
    return new_markdown_cell(text, id=cell.id, metadata={"tags": ["solution"]})


def content_hash(notebook: NotebookNode) -> str:
    """A fingerprint of what a learner can lose: kinds, texts and outputs of the cells.

    What JupyterLab writes by itself when a notebook is opened and saved does not count.
    """
    cells = [[cell.cell_type, cell.source, cell.get("outputs", [])] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def trust_notebook(file: Path) -> None:
    """Sign a notebook in this user's Jupyter, as `jupyter trust` does.

    Where Jupyter's own folder can't be written, that costs a printed sentence: a cell that is run
    is trusted anyway.
    """
    try:
        notary = NotebookNotary()
        try:
            notary.sign(nbformat.read(file, as_version=4))
        finally:
            notary.store.close()
    except OSError as error:
        print(f"({file.name} could not be marked as trusted: {error})")


# The folder
# --------------------------------------------------------------------------------------------------


def read_record(folder: Path) -> dict[str, str]:
    """What was handed out: the fingerprint of each copy by its file's name.

    A damaged record counts as empty: then every copy that differs from the course is the
    learner's.
    """
    try:
        return read_json(folder / RECORD, KIND, VERSION)
    except (FileNotFoundError, ValueError):
        return {}


def hand_out(original: Path, folder: Path) -> str:
    """Put the working copy of one lesson into a folder, unless that would overwrite a learner's
    work; return the copy's state."""
    copy, record = folder / original.name, read_record(folder)
    fresh = working_copy(original)
    latest, known = content_hash(fresh), record.get(original.name)
    try:
        present = content_hash(read_notebook(copy)) if copy.exists() else None
    except ValueError:
        return DAMAGED
    if present not in (None, latest, known):
        return YOURS if known in (None, latest) else BEHIND
    text = nbformat.writes(fresh).encode() + b"\n"
    if present is None or copy.read_bytes() != text:
        write_atomically(copy, text)
    if known != latest:
        write_json(folder / RECORD, KIND, VERSION, record | {original.name: latest})
    trust_notebook(copy)
    return {None: NEW, latest: UNTOUCHED}.get(present, UPDATED)


def hand_out_all(folder: Path = FOLDER, originals: Path = course_map.NOTEBOOKS) -> dict[str, str]:
    """Hand out every lesson; return the state of each copy by its file's name.

    Raises OSError where the folder can't be written, ValueError where a lesson can't be read.
    """
    lessons = sorted(originals.glob(LESSONS))
    if not lessons:
        raise ValueError(f"there is no lesson in {originals}")
    folder.mkdir(parents=True, exist_ok=True)
    return {lesson.name: hand_out(lesson, folder) for lesson in lessons}


def begin_anew(
    number: str, folder: Path = FOLDER, originals: Path = course_map.NOTEBOOKS
) -> Path | None:
    """Hand out one lesson afresh; return where the old copy is kept, or None where there was
    nothing to keep.

    Raises ValueError for a number that no lesson has.
    """
    lessons = {file.name[:2]: file for file in sorted(originals.glob(LESSONS))}
    if number not in lessons:
        raise ValueError(f"there is no lesson {number!r}, only: {', '.join(lessons) or 'none'}")
    folder.mkdir(parents=True, exist_ok=True)
    if hand_out(lessons[number], folder) in (NEW, UPDATED, UNTOUCHED):
        return None
    copy = folder / lessons[number].name
    kept = free_name(copy, "kept")
    copy.rename(kept)
    hand_out(lessons[number], folder)
    return kept


# The command
# --------------------------------------------------------------------------------------------------


def as_told(folder: Path, states: dict[str, str]) -> str:
    """Say in a few lines what was done to the copies, and what the learner may want to do."""
    counted = [state for state in states.values() if state in (NEW, UPDATED)]
    lines = [
        f"{len(states)} lessons in {folder}: {counted.count(NEW)} new, "
        f"{counted.count(UPDATED)} updated, {len(states) - len(counted)} left as they are"
    ]
    for name, state in states.items():
        if state == BEHIND:
            lines.append(f"{name}: the course has a newer one; yours was left as it is.")
        if state == DAMAGED:
            lines.append(f"{name}: can't be read as a notebook; it was left as it is.")
        if state in (BEHIND, DAMAGED):
            lines.append(f'    make anew ONLY="{name[:2]}" hands it out anew and keeps yours.')
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error ends it with a sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--anew", nargs="*", metavar="NN", help="begin these lessons anew")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the copies lie")
    options = parser.parse_args(arguments)
    folder = options.folder.expanduser().resolve()
    if options.anew == []:
        parser.error('name the lesson: make anew ONLY="06", or --anew 06')
    try:
        if options.anew is None:
            print(as_told(folder, hand_out_all(folder)))
        for number in options.anew or []:
            kept = begin_anew(number, folder)
            print(f"lesson {number} begins anew; ", end="")
            print(f"yours is kept as {kept.name}" if kept else "nothing of yours was there")
    except OSError as error:
        sys.exit(f"the copies can't be written to {folder}: {error}")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
