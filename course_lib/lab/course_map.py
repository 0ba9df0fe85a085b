"""The map of the course, from one source (`course_map.toml`): in every notebook, in the README and
in the book.

`python -m course_lib.lab.course_map --write` refreshes the table in README.md.
"""

import argparse
import html
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from IPython import get_ipython
from IPython.display import display

from course_lib.assets import COURSE_FOLDER

ROOT = COURSE_FOLDER
NOTEBOOKS = ROOT / "notebooks"
CONTROLS = Path(__file__).with_name("controls.js")
current = ""  # the lesson whose map was shown last: the notebook that is being run
START, END = "<!-- course map -->", "<!-- end of course map -->"


@dataclass(frozen=True)
class Lesson:
    """One notebook of the course. `minutes` is working time; `lab` names its module of checkers and
    figures, `short` is the title that fits on the map, `recall` the questions to begin with,
    `placement` those of its quiz that tell whether it may be skimmed."""

    number: str
    slug: str
    title: str
    promise: str
    minutes: int
    needs: tuple[str, ...]
    part: int
    part_title: str
    lab: str = ""
    short: str = ""
    recall: tuple[str, ...] = ()
    placement: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The notebook's file name."""
        return f"{self.number}_{self.slug}.ipynb"

    @property
    def built(self) -> bool:
        """True when the notebook is there."""
        return (NOTEBOOKS / self.file).exists()


@cache
def lessons() -> tuple[Lesson, ...]:
    """All lessons in order.

    >>> [lesson.file for lesson in lessons()[:2]]
    ['00_start_here.ipynb', '01_pytorch.ipynb']
    """
    parts = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["part"]
    return tuple(
        Lesson(
            part=i,
            part_title=part["title"],
            **{name: tuple(v) if isinstance(v, list) else v for name, v in row.items()},
        )
        for i, part in enumerate(parts)
        for row in part["lesson"]
    )


def lesson(number: str) -> Lesson:
    """The lesson with this number."""
    for candidate in lessons():
        if candidate.number == number:
            return candidate
    raise ValueError(
        f'there is no lesson {number!r}: the numbers run from "00" to "{lessons()[-1].number}"'
    )


def set_up_cell(cells: Sequence[Mapping]) -> Mapping:
    """Give the cell of a notebook with its imports: the first code behind the map and recall."""
    _, *code = (cell for cell in cells if cell["cell_type"] == "code")
    return next(cell for cell in code if "recall.ask(" not in "".join(cell["source"]))


def show(here: str = "") -> None:
    """Show the map in a notebook; the lesson numbered `here` is marked as "you are here".

    In a live notebook this also lets the controls of the figures below be named, for screen
    readers.
    """
    global current
    current = lesson(here).number if here else ""
    display({"text/html": as_html(here), "text/plain": as_text(here)}, raw=True)
    show_controls()


def show_controls() -> None:
    """Let the script that names and wires controls run, in a live notebook; once is enough."""
    if hasattr(get_ipython(), "kernel") and not os.environ.get("COURSE_QUIET"):
        # stored notebooks do without: the book brings the same file itself
        script = f"<script>{CONTROLS.read_text(encoding='utf-8')}</script>"
        display({"text/html": script, "text/plain": ""}, raw=True)


def as_text(here: str = "") -> str:
    """The map as plain text, one line per lesson."""
    return "\n".join(
        f"{row.number} {row.title}{'   <- you are here' if row.number == here else ''}"
        for row in lessons()
    )


def as_html(here: str = "") -> str:
    """The map as HTML: one row per part, a link per finished lesson."""
    column = "display: inline-block; vertical-align: top"
    rows = "".join(
        f'<div style="margin: 4px 0"><div style="{column}; width: 23%; padding-top: 3px;'
        ' font-weight: 600">'
        f'{html.escape(title)}</div><div style="{column}; width: 76%">'
        f"{''.join(_chip(row, here) for row in group)}</div></div>"
        for title, group in groupby(lessons(), key=lambda row: row.part_title)
    )
    return (
        '<div role="navigation" aria-label="Map of the course" style="background-color: #fbfaf7;'
        " color: #222222; border: 1px solid #d9d5cb; border-radius: 8px; padding: 10px 14px;"
        f' font-size: 13px; line-height: 1.5">{rows}</div>'
    )


def _chip(row: Lesson, here: str) -> str:
    """One lesson on the map: a filled chip is here, a link is finished, grey text is still to
    come."""
    box = (
        "display: inline-block; margin: 2px 4px 2px 0; padding: 1px 8px; border-radius: 10px;"
        " white-space: nowrap; "
    )
    label = f"{row.number} {html.escape(row.short or row.title)}"
    tip = html.escape(row.promise, quote=True)
    if row.number == here:
        style = (
            "background-color: #0b5394; color: #ffffff; font-weight: 600; border: 1px solid #0b5394"
        )
        return (
            f'<span aria-current="page" title="{tip}" style="{box}{style}">{label} · you are'
            " here</span>"
        )
    if row.built:
        return (
            f'<a href="{row.file}" title="{tip}" style="{box}color: #0b5394; border: 1px solid'
            f' #0b5394">{label}</a>'
        )
    return (
        f'<span title="{tip} (to come)" style="{box}color: #6b6b6b; border: 1px dashed'
        f' #b9b4a7">{label}</span>'
    )


def table() -> str:
    """The map as a Markdown table, as the README shows it."""
    lines = ["| | Lesson | What you build | Minutes |", "|---|---|---|---|"]
    for title, group in groupby(lessons(), key=lambda row: row.part_title):
        lines.append(f"| | **{title}** | | |")
        for row in group:
            name = (
                f"[{row.title}](notebooks/{row.file})" if row.built else f"{row.title} *(to come)*"
            )
            lines.append(f"| {row.number} | {name} | {row.promise} | {row.minutes} |")
    return "\n".join(lines)


def in_readme(text: str) -> str:
    """The README's text with a fresh table between its two markers."""
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"README.md must hold the markers {START} and {END} once each")
    return re.sub(f"(?s){START}.*?{END}", lambda _: f"{START}\n\n{table()}\n\n{END}", text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or write it into README.md."""
    parser = argparse.ArgumentParser(description="The map of the course as a Markdown table.")
    parser.add_argument("--write", action="store_true", help="refresh the table in README.md")
    if parser.parse_args(arguments).write:
        readme = ROOT / "README.md"
        readme.write_text(in_readme(readme.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())


if __name__ == "__main__":
    main()
