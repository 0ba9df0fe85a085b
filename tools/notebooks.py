"""Build the notebooks from their text twins, and make handouts from the notebooks.

    python tools/notebooks.py           build each notebook whose twin or quoted source has changed
    python tools/notebooks.py 02 03     only these
    python tools/notebooks.py --all     build also what has not changed
    python tools/notebooks.py --patch 06   only prose, or questions of quiz or recall, have changed
    python tools/notebooks.py --check   build nothing; fail if one is out of step with its twin
    python tools/notebooks.py --handout build/handout   copies without solutions and outputs

A build fills quotes into the twin, executes it, and writes the normalised result in one step, or
nothing at all if a cell fails. A patch runs the cells that ask questions alone, which need no other
one, and keeps the outputs of all the others.
"""

import argparse
import ast
import asyncio
import hashlib
import importlib
import inspect
import json
import os
import re
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from course_lib.lab import course_map, recall
from course_lib.lab.desk import clear_outputs

NOTEBOOKS = course_map.NOTEBOOKS
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELL_SECONDS = 600
WIDGETS = "application/vnd.jupyter.widget-state+json"
FENCE = re.compile(
    r"(?ms)^```\{code-cell\}[^\n]*\n(?P<head>(?:---\n.*?\n---\n)?(?::[^\n]*\n)*)(?P<body>.*?)^```["
    r" \t]*$"
)
COLOUR = r"\x1b\[[0-9;]*m"  # in tracebacks, for terminals
RUNS_IN = re.compile(r"runs in (?:about |under )?(\d+) (second|minute)s?")


# Quotes
# --------------------------------------------------------------------------------------------------


def quoted_source(name: str) -> str:
    """The source of a function, class or method, `package.module.object`, without its
    docstrings."""
    module, rest = name, []
    while True:
        try:
            thing: Any = importlib.import_module(module)
            break
        except ModuleNotFoundError as missing:
            if missing.name is None or not module.startswith(missing.name) or "." not in module:
                raise
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
    for part in rest:
        thing = getattr(thing, part)
    return without_docstrings(textwrap.dedent(inspect.getsource(thing)))


def quoted_cell(name: str) -> str:
    """What a cell that quotes `name` holds: its source and, below a solution, the check of it."""
    source, last = quoted_source(name), name.rpartition(".")[2]
    if not last.endswith("_solution"):
        return source
    return f"{source}\n\ncheck.{last.removesuffix('_solution')}({last})"


def without_docstrings(source: str) -> str:
    """Cut the docstrings of functions and classes out of a source text; everything else stays as it
    is typed."""
    lines = source.rstrip().splitlines()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            text = node.body[0]
            for i in range(text.lineno - 1, text.end_lineno):
                lines[i] = None
            if len(node.body) > 1 and text.end_lineno < len(lines) and lines[text.end_lineno] == "":
                lines[text.end_lineno] = None  # the empty line below a docstring
            if len(node.body) == 1:
                lines[text.lineno - 1] = " " * text.col_offset + "..."
    return "\n".join(line for line in lines if line is not None)


def fill_quotes(twin: str) -> str:
    """Put the library's source into every cell of a twin that says `:quote:
    package.module.object`."""

    def filled(cell: re.Match) -> str:
        name = re.search(r"(?m)^:?quote: *(\S+)", cell["head"])
        if name is None:
            return cell[0]
        head = cell[0][: cell.start("body") - cell.start()]
        return f"{head}{quoted_cell(name[1].strip(chr(39) + chr(34)))}\n```"

    return FENCE.sub(filled, twin)


# Twins
# --------------------------------------------------------------------------------------------------


def read_twin(twin: Path) -> NotebookNode:
    """Read a text twin as a notebook without outputs, with ids that depend on the cells' text
    only."""
    # the header is made anew below
    text = re.sub(r"(?s)\A---\n.*?\n---\n", "", twin.read_text(encoding="utf-8"))
    notebook = jupytext.reads(text, fmt="md:myst")
    seen: set[str] = set()
    for cell in notebook.cells:
        cell.id = stable_id(cell, seen)
        fold(cell)
    notebook.metadata = NotebookNode(
        kernelspec=dict(KERNEL), language_info={"name": "python"}, course={"twin": digest(twin)}
    )
    notebook.nbformat_minor = 5
    return notebook


def fold(cell: NotebookNode) -> None:
    """Collapse the source of a cell that gives an answer away: solutions, and the questions of a
    quiz."""
    if "solution" in cell.metadata.get("tags", []) or cell.source.startswith("quiz.choice("):
        cell.metadata.jupyter = {"source_hidden": True}


def stable_id(cell: NotebookNode, seen: set[str]) -> str:
    """An id that an edit elsewhere in the notebook does not change."""
    digits = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()
    number = 0
    while (name := digits[number : number + 8]) in seen:
        number += 1
    seen.add(name)
    return name


def digest(twin: Path) -> str:
    """A fingerprint of a twin, quotes filled in."""
    return hashlib.sha256(fill_quotes(twin.read_text(encoding="utf-8")).encode()).hexdigest()[:16]


def target(twin: Path) -> Path:
    """The notebook that belongs to a twin."""
    return twin.parent.parent / f"{twin.stem}.ipynb"


def in_step(twin: Path) -> bool:
    """True if the notebook was built from the twin as it is now."""
    notebook = target(twin)
    if not notebook.exists() or fill_quotes(text := twin.read_text(encoding="utf-8")) != text:
        return False
    return json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("course", {}).get(
        "twin"
    ) == digest(twin)


# Building
# --------------------------------------------------------------------------------------------------


class ThisPython(AsyncKernelManager):
    """Starts kernels with the interpreter that runs this tool, whatever kernels are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name=KERNEL["display_name"], language="python")


def execute(notebook: NotebookNode, folder: Path) -> list[float]:
    """Execute a notebook in place, in `folder`; return the seconds that each cell took."""
    seconds, started = [0.0] * len(notebook.cells), {}

    def begin(cell: NotebookNode, cell_index: int) -> None:
        started[cell_index] = time.perf_counter()

    def end(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        seconds[cell_index] = time.perf_counter() - started[cell_index]

    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_manager_class=ThisPython,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        on_cell_execute=begin,
        on_cell_executed=end,
    )
    settings = {
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONHASHSEED": "0",
        "COURSE_QUIET": "1",
    }
    environment = settings | os.environ | {"COURSE_PROGRESS": "off"}
    asyncio.run(_execute(client, environment))
    return seconds


async def _execute(client: NotebookClient, environment: dict[str, str]) -> None:
    await client.async_execute(env=environment)


def build(twin: Path) -> str:
    """Build the notebook of one twin; return a report of a few lines."""
    text = twin.read_text(encoding="utf-8")
    if (filled := fill_quotes(text)) != text:
        write_atomically(twin, filled)
    notebook = read_twin(twin)
    begin = time.perf_counter()
    seconds = execute(notebook, twin.parent.parent)
    total = time.perf_counter() - begin
    normalize_notebook(notebook)
    write_atomically(target(twin), as_text(notebook))
    return report(target(twin), notebook, total, seconds)


def report(file: Path, notebook: NotebookNode, total: float, seconds: list[float]) -> str:
    """Say how long a notebook took against the budget that it prints, which cells were slow, and
    how big it is."""
    promised = RUNS_IN.search(notebook.cells[0].source)
    budget = (
        f"{promised[1]} {promised[2]}s promised"
        if promised
        else "no budget promised in its first cell"
    )
    if promised and total > int(promised[1]) * {"second": 1, "minute": 60}[promised[2]]:
        budget += ": OVER BUDGET, if the machine was quiet"
    slowest = sorted(range(len(seconds)), key=lambda i: -seconds[i])[:3]
    told = [
        f"    {seconds[i]:5.1f} s  {first_line(notebook.cells[i])}"
        for i in slowest
        if seconds[i] >= 1
    ]
    size = file.stat().st_size / 1e6
    return "\n".join(
        [f"{file.name}: {total:.1f} s ({budget}), {size:.2f} MB, {len(seconds)} cells", *told]
    )


def first_line(cell: NotebookNode) -> str:
    """The first line of a cell that is not empty, shortened."""
    return next(
        (line.strip()[:90] for line in cell.source.splitlines() if line.strip()), "(empty cell)"
    )


def write_atomically(file: Path, text: str) -> None:
    """Write a file in one step, so that it is never half-written."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


# Patching
# --------------------------------------------------------------------------------------------------


def patch(twin: Path) -> str:
    """Carry new prose and questions into a notebook; return a line of report.

    All other code cells keep their outputs. Raises ValueError where one of them is new.
    """
    notebook, stored = read_twin(twin), nbformat.read(target(twin), as_version=4)
    known = {cell.id: cell.outputs for cell in stored.cells if cell.cell_type == "code"}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if new := [first_line(cell) for cell in code if cell.id not in known and not asks(cell)]:
        raise ValueError(f"{twin.stem} must be built: its cell {new[0]!r} is new")
    begins = nbformat.v4.new_code_cell("from course_lib.lab import quiz")
    alone = NotebookNode(notebook, cells=[begins, *(cell for cell in code if asks(cell))])
    execute(alone, twin.parent.parent)
    for number, cell in enumerate(code, start=1):
        cell.outputs = cell.outputs if asks(cell) else known[cell.id]
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    states = models_of(alone), without_questions(stored)
    models = {
        name: model
        for cell in code  # in the order in which a build would make them
        for name, model in linked(states[not asks(cell)], cell).items()
    }
    models |= states[1]
    state = {"version_major": 2, "version_minor": 0, "state": models}
    notebook.metadata["widgets"] = {WIDGETS: state} if models else {}
    normalize_notebook(notebook)
    write_atomically(target(twin), as_text(notebook))
    return f"{target(twin).name}: patched"


def asks(cell: NotebookNode) -> bool:
    """True for a cell that does nothing but ask, in a quiz or about earlier lessons."""
    if cell.cell_type != "code" or recalls(cell):
        return cell.cell_type == "code"
    calls = [line.value for line in parsed(cell) if isinstance(line, ast.Expr)]
    asked = [call for call in calls if ast.unparse(call).startswith("quiz.choice(")]
    return bool(asked) and len(asked) == len(parsed(cell))


def recalls(cell: NotebookNode) -> bool:
    """True for the cell that asks questions of earlier lessons."""
    return cell.cell_type == "code" and "recall.ask(" in cell.source


def parsed(cell: NotebookNode) -> list[ast.stmt]:
    """The statements of a code cell; none where it is not plain Python."""
    try:
        return ast.parse(cell.source).body
    except SyntaxError:
        return []


def models_of(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The state of a notebook's widgets, by their names."""
    return notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})


def without_questions(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The state of a notebook's widgets but for the questions, and what hangs together with
    them."""
    state = models_of(notebook)
    asked = set().union(*(linked(state, cell) for cell in notebook.cells if asks(cell)))
    return {name: model for name, model in state.items() if name not in asked}


def linked(state: dict[str, NotebookNode], cell: NotebookNode) -> dict[str, NotebookNode]:
    """The widgets that a cell shows, and what hangs together with them."""
    leads = {name: set(re.findall(r"IPY_MODEL_(\w+)", str(model))) for name, model in state.items()}
    found, new = set(), set(re.findall(r"'model_id': '(\w+)'", str(cell.get("outputs", []))))
    while new - found:  # references lead both ways: a link names what it links
        found |= new
        new = {name for name in state if name in set().union(*(leads[one] for one in found))}
        new |= {name for name in state if leads[name] & found}
    return {name: model for name, model in state.items() if name in found}


def refresh_recalls() -> None:
    """Let each notebook ask the questions of earlier lessons as they are now."""
    for twin in choose([]):
        if in_step(twin) and recall_is_stale(nbformat.read(target(twin), as_version=4), twin):
            print(patch(twin), flush=True)


def recall_is_stale(notebook: NotebookNode, twin: Path) -> bool:
    """True where a stored notebook asks other questions of earlier lessons than it would now."""
    stored = [
        output.data["text/plain"]
        for cell in notebook.cells
        if recalls(cell)
        for output in cell.outputs
    ]
    return bool(stored) and stored != recall.as_stored(twin.name[:2])


# Normalising
# --------------------------------------------------------------------------------------------------


def normalize_notebook(notebook: NotebookNode) -> None:
    """Take out of an executed notebook what differs between two runs of the same source."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = join_streams(cell.outputs)
    notebook.metadata = NotebookNode(
        {key: notebook.metadata[key] for key in notebook.metadata if key != "language_info"}
    )
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    if WIDGETS in notebook.metadata.get("widgets", {}):
        normalize_widgets(notebook)


def join_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of printed text, which arrive in pieces of chance size."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if (
            joined
            and output.output_type == joined[-1].output_type == "stream"
            and output.name == joined[-1].name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def normalize_widgets(notebook: NotebookNode) -> None:
    """Number widgets in the order of their making, and drop what their layouts and styles do not
    set: nothing, and what each of them is by its kind."""
    state = notebook.metadata["widgets"][WIDGETS]["state"]
    for model in state.values():
        if model["model_name"].endswith(
            ("LayoutModel", "StyleModel")
        ):  # elsewhere None says: nothing is chosen yet
            model["state"] = {
                key: value
                for key, value in model["state"].items()
                if value is not None and not key.startswith("_")
            }
    names = {old: f"w{number:04}" for number, old in enumerate(state)}
    # whole strings only: the letters of an image may spell a name
    pattern = re.compile(rf'"(IPY_MODEL_)?({"|".join(map(re.escape, names)) or "(?!)"})"')
    text = pattern.sub(
        lambda match: f'"{match[1] or ""}{names[match[2]]}"', nbformat.writes(notebook)
    )
    notebook.update(nbformat.reads(text, as_version=4))


def as_text(notebook: NotebookNode) -> str:
    """The notebook as JSON, keys sorted."""
    nbformat.validate(notebook)
    return (
        json.dumps(
            nbformat.v4.rwbase.split_lines(nbformat.from_dict(notebook)),
            indent=1,
            ensure_ascii=False,
            sort_keys=True,
        )
        + "\n"
    )


# Handout
# --------------------------------------------------------------------------------------------------


def handout(notebook: NotebookNode) -> NotebookNode:
    """A copy for a class: no solutions, no outputs."""
    copy = nbformat.from_dict(json.loads(json.dumps(notebook)))
    copy.cells = [cell for cell in copy.cells if "solution" not in cell.metadata.get("tags", [])]
    clear_outputs(copy)
    return copy


# The command
# --------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "numbers", nargs="*", metavar="NN", help="numbers of the notebooks (all by default)"
    )
    parser.add_argument("--all", action="store_true", help="build also what has not changed")
    parser.add_argument(
        "--check", action="store_true", help="build nothing; fail if a notebook is out of step"
    )
    parser.add_argument(
        "--patch", action="store_true", help="carry prose and questions over without a build"
    )
    parser.add_argument(
        "--handout", metavar="DIR", type=Path, help="write copies without solutions and outputs"
    )
    options = parser.parse_args(arguments)
    twins = choose(options.numbers)
    if options.check:
        return check(twins)
    if options.patch:
        for twin in twins:
            print(patch(twin), flush=True)
        return 0
    if options.handout:
        return write_handouts(twins, options.handout)
    return build_all([twin for twin in twins if options.all or not in_step(twin)])


def choose(numbers: list[str]) -> list[Path]:
    """The twins with these numbers, or all."""
    twins = sorted((NOTEBOOKS / "src").glob("[0-9][0-9]_*.md"))
    for number in numbers:
        if not any(twin.name.startswith(f"{number}_") for twin in twins):
            raise SystemExit(
                f"there is no notebooks/src/{number}_*.md, only:"
                f" {', '.join(twin.stem for twin in twins) or 'none'}"
            )
    return [twin for twin in twins if not numbers or twin.name[:2] in numbers]


def check(twins: list[Path]) -> int:
    """Name the notebooks that are out of step."""
    stale = [twin.stem for twin in twins if not in_step(twin)]
    print(
        "\n".join(f"{name}: out of step with its twin; run `make notebooks`" for name in stale)
        or f"{len(twins)} notebooks in step"
    )
    return 1 if stale else 0


def build_all(twins: list[Path]) -> int:
    """Build notebooks one after the other; a failing one is reported and left as it was."""
    failed = 0
    for twin in twins:
        print(f"{twin.stem} ...", flush=True)
        try:
            print(build(twin), flush=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed += 1
            print(f"{twin.stem}: NOT BUILT\n{re.sub(COLOUR, '', str(error))}", flush=True)
    if not twins:
        print("every notebook is in step with its twin")
    refresh_maps()
    refresh_recalls()
    return 1 if failed else 0


def refresh_maps() -> None:
    """Carry a new lesson into the README and into the map that every notebook shows, without
    running them again."""
    course_map.main(["--write"])
    for file in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        notebook = nbformat.read(file, as_version=4)
        for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
            if 'aria-label="Map of the course"' in output.get("data", {}).get("text/html", ""):
                output.data["text/html"] = course_map.as_html(file.name[:2])
        if (text := as_text(notebook)) != file.read_text(encoding="utf-8"):
            write_atomically(file, text)


def write_handouts(twins: list[Path], folder: Path) -> int:
    """Write a handout of every notebook."""
    if missing := [twin.stem for twin in twins if not target(twin).exists()]:
        raise SystemExit(f"not built yet: {', '.join(missing)}; run `make notebooks` first")
    folder.mkdir(parents=True, exist_ok=True)
    for twin in twins:
        notebook = nbformat.read(target(twin), as_version=4)
        write_atomically(folder / target(twin).name, as_text(handout(notebook)))
        print(f"{folder / target(twin).name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
