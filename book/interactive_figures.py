"""The interactive figures of the lessons, read from the stored notebooks: their index, and plain
copies of some for the start page.

A lesson's page brings the widgets' own script and the state of all its figures. A copy is HTML that
holds the frames of one figure, and a few lines of JavaScript show one of them.
"""

import ast
import html
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from course_lib.lab import course_map

EXPLORE = Path(course_map.__file__).with_name("explore")
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
CONTROLS = ("SelectionSliderModel", "ToggleButtonsModel")

# One for each part of the course, for the start page: the lesson, and the figure in it.
SHOWN = {
    "00": "learning",
    "03": "merges",
    "06": "turn_the_query",
    "12": "roofline",
    "17": "coded_pages",
    "18": "morph",
    "25": "practice",
    "30": "reading",
}


@dataclass(frozen=True)
class Figure:
    """An interactive figure: where it stands, what it shows, and the widgets that it is made of.

    `section` is the heading above it, `cell` the index of its cell, `state` the notebook's widgets
    by name, `root` the name of the outermost one.
    """

    lesson: course_map.Lesson
    name: str
    section: str
    shows: str
    cell: int
    state: dict
    root: str

    @property
    def anchor(self) -> str:
        """What a link to the figure is called, in the whole book."""
        return f"figure-{self.lesson.number}-{self.name.replace('_', '-')}"


Figures = dict[course_map.Lesson, tuple[Figure, ...]]


def figures_of(notebook: str, lesson: course_map.Lesson) -> tuple[Figure, ...]:
    """Give the interactive figures of a notebook as it is stored, in order.

    One counts if a slider or buttons choose its frames, without a kernel.
    """
    stored = json.loads(notebook)
    state = stored["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
    found, section = [], lesson.title
    for i, cell in enumerate(stored["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            section = (re.findall(r"(?m)^## (.*)$", source) or [section])[-1]
            continue
        for output in cell["outputs"]:
            root = output.get("data", {}).get(VIEW, {}).get("model_id")
            if root and any(kind in CONTROLS for kind, _ in widgets_in(state, root)):
                module, name = maker_of(source)
                shows = first_sentence(module if module != "explore" else lesson.lab, name)
                if module == "step_through":
                    shows = shows.replace("a function of the library", played_by(source))
                found.append(Figure(lesson, name, section, shows, i, state, root))
    return tuple(found)


def widgets_in(state: dict, root: str) -> Iterator[tuple[str, dict]]:
    """Walk over a widget and those inside it: kind and state of each, from the top down."""
    widget = state[root]["state"]
    yield widget["_model_name"], widget
    for child in widget.get("children", ()):
        yield from widgets_in(state, child.removeprefix("IPY_MODEL_"))


def maker_of(source: str) -> tuple[str, str]:
    """Name the module and the function that a cell calls in its last line.

    >>> maker_of("x = 1\\nexplore.ring(4)")
    ('explore', 'ring')
    """
    call = ast.parse(source).body[-1].value.func
    return call.value.id, call.attr


def played_by(source: str) -> str:
    """Name the functions whose lines a cell's last call plays: the first argument, and `into`.

    >>> played_by("step_through.play(moe.route, x, into=[top_k])")
    '`route` and `top_k`'
    """
    call = ast.parse(source).body[-1].value
    into = [word.value.elts for word in call.keywords if word.arg == "into"]
    played = [
        ast.unparse(one).rpartition(".")[2] for one in [call.args[0], *itertools.chain(*into)]
    ]
    *others, last = [f"`{name}`" for name in played]
    return f"{', '.join(others)} and {last}" if others else last


def first_sentence(module: str, function: str) -> str:
    """Read from its docstring what a figure shows."""
    tree = ast.parse((EXPLORE / f"{module}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            said = " ".join(ast.get_docstring(node).partition("\n\n")[0].split())
            return re.split(r"(?<=\.) ", said)[0]
    raise ValueError(f"course_lib.lab.explore.{module} has no function {function!r}")


# The index
# --------------------------------------------------------------------------------------------------


def with_anchors(cells: list[dict], figures: tuple[Figure, ...]) -> list[dict]:
    """Put a target that links can lead to in front of the cell of each figure."""
    anchors = {figure.cell: figure.anchor for figure in figures}
    made = []
    for i, cell in enumerate(cells):
        if name := anchors.get(i):
            target = {"cell_type": "markdown", "id": name, "metadata": {}, "source": f"({name})="}
            made.append(target)
        made.append(cell)
    return made


def index_as_myst(figures: Figures) -> str:
    """List all figures by part and lesson, with links to where they stand."""
    lines = []
    for part, lessons in itertools.groupby(figures, key=lambda lesson: lesson.part_title):
        lines.append(f"## {part}\n")
        for lesson in lessons:
            lines.append(f"### {lesson.number} {lesson.title}\n")
            lines += [f"- [{row.section}](#{row.anchor}) {row.shows}" for row in figures[lesson]]
            lines.append("")
    return "\n".join(lines)


# Plain copies
# --------------------------------------------------------------------------------------------------


def plain_copy(figure: Figure) -> str:
    """Give a figure as HTML with controls of the browser's own: each frame is there, one is seen.

    A frame is named by the places of the controls, as "2" or "0,1,1", the outermost first.
    """
    inside = list(widgets_in(figure.state, figure.root))
    controls = [widget for kind, widget in inside if kind in CONTROLS]
    stack = next(widget for kind, widget in inside if kind == "StackModel")
    start = ",".join(str(control["index"]) for control in controls)
    frames = "\n".join(
        f'<div data-frame="{place}"{" class=shown" if place == start else ""}>{frame}</div>'
        for place, frame in frames_in(figure.state, stack)
    )
    return (
        f'<div class="moving" role="group" aria-label="{html.escape(figure.shows, quote=True)}">\n'
        f'<div class="moving-controls" hidden>{"".join(map(control_of, controls))}</div>\n'
        f'<div class="moving-frames">{frames}</div>\n</div>'
    )


def frames_in(state: dict, stack: dict, place: str = "") -> Iterator[tuple[str, str]]:
    """Walk over the frames of a stack, and of the stacks in it: place and HTML of each."""
    for i, child in enumerate(stack["children"]):
        widget = state[child.removeprefix("IPY_MODEL_")]["state"]
        here = f"{place},{i}" if place else str(i)
        if widget["_model_name"] == "StackModel":
            yield from frames_in(state, widget, here)
        else:
            yield here, widget["value"]


def control_of(widget: dict) -> str:
    """Give a slider or a row of buttons as a control of the browser's own."""
    name, start = html.escape(widget["description"]), widget["index"]
    labels = [html.escape(label, quote=True) for label in widget["_options_labels"]]
    if widget["_model_name"] == "ToggleButtonsModel":
        options = "".join(
            f"<option{' selected' if i == start else ''}>{label}</option>"
            for i, label in enumerate(labels)
        )
        return f"<label>{name} <select>{options}</select></label>"
    listed = html.escape(json.dumps(widget["_options_labels"]), quote=True)
    return (
        f'<button type="button" aria-label="Play: {name}">Play</button>'
        f'<label>{name} <input type="range" min="0" max="{len(labels) - 1}" value="{start}"'
        f' data-labels="{listed}" aria-valuetext="{labels[start]}"></label>'
        f'<output aria-hidden="true">{labels[start]}</output>'
    )
