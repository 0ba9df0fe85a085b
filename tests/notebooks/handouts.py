"""What a handout must be: a notebook that runs without its solutions, and gives none away.

`unbound_names` and `leaks` look at a handout without running it; `fill_in` types the right answers
into its exercises.
"""

import ast
import builtins
import functools
import html
import json
import re
import symtable
from collections.abc import Iterator

from nbformat import NotebookNode

from tools import notebooks as tool

GIVEN = {*dir(builtins), "__name__", "display", "get_ipython"}  # in every notebook
COMPREHENSIONS = {"genexpr", "listcomp", "setcomp", "dictcomp"}
SHORT = 12  # letters of an expression, spaces and brackets aside; a shorter one gives nothing away
CHECK = re.compile(r"(?m)^check\.(\w+)\(\1\)")


# Names
# --------------------------------------------------------------------------------------------------


def unbound_names(notebook: NotebookNode) -> list[str]:
    """The names that a cell uses and neither it nor an earlier cell binds, with their cells.

    What a function of a quote reads when it is called is the library's own business.
    """
    bound, faults, seen = set(GIVEN), [], []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        tree = ast.parse(cell.source)
        if "from __future__ import annotations" in "\n".join(seen := [*seen, cell.source]):
            without_annotations(tree)  # IPython carries it on into all later cells
        statements = [names_of(statement) for statement in tree.body]
        later = bound.union(*(binds for _, _, binds in statements))
        quoted = "quote" in cell.metadata.get("tags", [])
        for at_once, when_called, binds in statements:
            missing = (at_once - bound) | (set() if quoted else when_called - later)
            faults += [f"{name} in {tool.first_line(cell)!r}" for name in sorted(missing)]
            bound |= binds
    return faults


def without_annotations(tree: ast.Module) -> None:
    """Take the annotations out of a cell, in place."""
    for node in ast.walk(tree):
        for field in {"annotation", "returns"} & set(node._fields):
            setattr(node, field, ast.Constant(None) if isinstance(node, ast.AnnAssign) else None)


def names_of(statement: ast.stmt) -> tuple[set[str], set[str], set[str]]:
    """What a statement at the top of a cell reads at once, what its functions read when they are
    called, and what it binds."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    symbols = table.get_symbols()
    binds = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    reads = {(s.get_name(), False) for s in symbols if s.is_referenced()} | set(inner_reads(table))
    # `x = x + 1` needs an older x; a loop, a `with` and a `def` bind their names before they read
    own = binds
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
        own = {n.target.id for n in ast.walk(statement) if isinstance(n, ast.NamedExpr)}
    at_once = {name for name, called in reads if not called}
    if isinstance(statement, ast.AugAssign):
        at_once |= {n.id for n in ast.walk(statement.target) if isinstance(n, ast.Name)}
    return at_once - own, {name for name, called in reads if called}, binds


def inner_reads(table: symtable.SymbolTable, called: bool = False) -> Iterator[tuple[str, bool]]:
    """The notebook's names that functions, classes and comprehensions inside a statement read, and
    whether only when called."""
    for scope in table.get_children():
        is_function = scope.get_type() == "function" and scope.get_name() not in COMPREHENSIONS
        for symbol in scope.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                yield symbol.get_name(), called or is_function
        yield from inner_reads(scope, called or is_function)


# Leaks
# --------------------------------------------------------------------------------------------------


def leaks(notebook: NotebookNode) -> list[str]:
    """What a handout tells that it should not: results, and solutions."""
    faults = ["widgets are stored"] if "widgets" in notebook.metadata else []
    for cell in notebook.cells:
        begins = tool.first_line(cell)
        if cell.get("outputs") or cell.get("execution_count"):
            faults.append(f"{begins!r}: an output or a count is stored")
        about = {key: cell.metadata[key] for key in cell.metadata if key != "nbgrader"}
        told = json.dumps(about) + cell.source.replace("passed_or_solution", "")
        if found := re.search(r"\b\w+_solution\b|lab\.solutions|\"solution\"", told):
            faults.append(f"{begins!r}: {found[0]}")
    return faults


def key_lines(source: str) -> list[str]:
    """The expressions that a solution returns, and the one line that makes it up."""
    returned = [
        ast.unparse(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None
    ]
    return [line for line in returned if len(bare(line)) >= SHORT]


def given_away(notebook: NotebookNode, lab: str) -> list[str]:
    """The exercises whose solution, all of it or more than half of its lines, stands in one place:
    a cell's source, an output, metadata, the state of a widget."""
    texts = [bare(text) for text in all_texts(notebook)]
    names = [CHECK.search(cell.source)[1] for cell in exercises(notebook)]
    return [name for name in names if any(tells(text, lab, name) for text in texts)]


def tells(text: str, lab: str, name: str) -> bool:
    """True for a text, made bare, that holds more than half of a solution's lines."""
    lines = solution_lines(lab, name)
    return sum(line in text for line in lines) > len(lines) / 2


@functools.cache
def solution_lines(lab: str, name: str) -> list[str]:
    """The lines of a solution's body that are long enough to give something away, made bare."""
    source = tool.quoted_source(f"course_lib.lab.solutions.{lab}.{name}_solution")
    begins = ast.parse(source).body[0].body[0].lineno
    lines = [bare(line) for line in source.splitlines()[begins - 1 :]]
    return [line for line in lines if len(line) >= SHORT]


def all_texts(value: object) -> Iterator[str]:
    """Every piece of text in a notebook, or in a part of it; a list of lines is one piece."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else []:
        yield from all_texts(inner)
    for inner in value if isinstance(value, list) else []:
        yield from all_texts(inner)


def bare(text: str) -> str:
    """Code or a hint without what may differ between two ways of typing the same: marks, entities,
    spaces, brackets, kinds of quotes, dots of omission."""
    text = html.unescape(re.sub(r"</?[A-Za-z][^>\n]*>", "", text))
    return re.sub(r"[\s()`…]|\.\.\.", "", text).replace('"', "'")


def hints_tell_all(hints: str, solution: str) -> list[str]:
    """The key lines of a solution that stand in its hints as a whole."""
    return [line for line in key_lines(solution) if bare(line) in bare(hints)]


# Answers
# --------------------------------------------------------------------------------------------------


def fill_in(notebook: NotebookNode, lab: str) -> None:
    """Type the right answer into every exercise of a handout, in place."""
    for cell in exercises(notebook):
        name = CHECK.search(cell.source)[1]
        solution = tool.quoted_cell(f"course_lib.lab.solutions.{lab}.{name}_solution")
        cell.source = re.sub(rf"\b{name}_solution\b", name, solution)


def exercises(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells with a function to fill in."""
    return [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]


def printed_text(cell: NotebookNode) -> str:
    """All that a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs)
