"""The learner's answers that have passed their checks, kept as small files of Python.

They lie beside the record of progress, in `.course_answers`, one file per exercise: the source of
her function, of her helpers that it uses, and the imports of its notebook. Nothing leaves the
machine, and only her own files are read from there: reading one runs it, as its cell did.
"""

import ast
import builtins
import inspect
import linecache
import re
import sys
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.files import write_atomically
from course_lib.lab import record

ANSWER_VERSION = 1
HOMES = ("torch", "torch.nn.functional", "numpy")  # of functions that name no module
HEADER = re.compile(r"# answer to (\w+\.\w+), version (\d+): (\w+)\n")


@dataclass(frozen=True)
class OwnAnswer:
    """An answer that was kept: the exercise, the function, its source, and its lines of code."""

    key: str  # "attention.causal_weights": the lab and the exercise
    function: Callable
    source: str
    n_lines: int


def answers_folder() -> Path | None:
    """Name the folder of the answers, or None where no record is kept."""
    file = record.path()
    return None if file is None else file.parent / ".course_answers"


def keep_answer(key: str, function: Any, folder: Path | None = None) -> bool:
    """Keep the source of an answer to the exercise `key`; tell whether that was possible.

    It is not for what has no source of its own, as a lambda in the middle of a line, or a method.
    An answer that was kept before is replaced. A folder that can't be written costs one printed
    sentence, no more.
    """
    folder = folder or answers_folder()
    try:
        text = answer_text(key, function)
    except (OSError, TypeError, ValueError, SyntaxError):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{key}.py", text.encode())
    except OSError as error:
        print(f"(Your answer could not be kept: {error})")
        return False
    return True


def answer_text(key: str, function: Any) -> str:
    """Write the file of an answer: imports and numbers first, helpers next, the answer last."""
    name, source = defining_source(function)
    before: dict[str, str] = {}
    collect_names(source, names_around(function), before, {name})
    head = f"# answer to {key}, version {ANSWER_VERSION}: {name}\n"
    return "\n".join([head + "from __future__ import annotations\n", *before.values(), source, ""])


def names_around(function: Any) -> dict[str, Any]:
    """Give what the names outside of a function or class mean: its module's, and an outer one's.

    >>> def scaled(factor):
    ...     return lambda x: factor * x
    >>> names_around(scaled(3))["factor"]
    3
    """
    code = inspect.unwrap(function)
    if isinstance(code, type):
        return vars(sys.modules[code.__module__])
    return code.__globals__ | inspect.getclosurevars(code).nonlocals


def defining_source(function: Any) -> tuple[str, str]:
    """Give the name that a function or class was defined under, and its source.

    Raises ValueError where its lines are no definition of it alone.
    """
    if inspect.ismethod(function):
        raise ValueError(f"{function!r} is nothing without its object")
    source = textwrap.dedent(class_source(function) or inspect.getsource(function))
    body = ast.parse(source).body
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.ClassDef):
        return body[0].name, source
    if len(body) == 1 and isinstance(body[0], ast.Assign):  # a lambda with a name
        (target,) = body[0].targets
        if isinstance(target, ast.Name) and isinstance(body[0].value, ast.Lambda):
            return target.id, source
    raise ValueError(f"{function!r} has no definition of its own")


def class_source(made: Any) -> str:
    """Give the source of a class by one of its methods: Python finds none in a notebook's cell.

    Empty for what is no class, or has no method of its own.
    """
    methods = vars(made).values() if isinstance(made, type) else ()
    for code in (method.__code__ for method in methods if isinstance(method, types.FunctionType)):
        lines = linecache.getlines(code.co_filename)
        for node in ast.walk(ast.parse("".join(lines))):
            inside = isinstance(node, ast.ClassDef) and node.name == made.__name__
            if inside and node.lineno <= code.co_firstlineno <= node.end_lineno:
                first = min(each.lineno for each in [node, *node.decorator_list])
                return "".join(lines[first - 1 : node.end_lineno])
    return ""


def collect_names(source: str, known: dict, before: dict[str, str], done: set[str]) -> None:
    """Add to `before` a line, or a helper's source, for each name of the notebook that is used.

    What can't be written down, such as a tensor, is left out: the answer then fails when read.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Name) or node.id in done or node.id not in known:
            continue
        done.add(node.id)
        value = known[node.id]
        text = import_line(node.id, value)
        if text is None and isinstance(inspect.unwrap(value), types.FunctionType | type):
            text = defining_source(value)[1]
            collect_names(text, names_around(value), before, done)
        if text is not None:
            before[node.id] = text  # behind what it needs itself


def import_line(name: str, value: Any) -> str | None:
    """Give the line that makes a name mean what it does in the notebook; None if none does."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}"
    if isinstance(value, bool | int | float | str | bytes | None) or is_plain(value):
        return f"{name} = {value!r}"
    if isinstance(value, re.Pattern):
        return f"import re\n{name} = re.compile({value.pattern!r}, {value.flags})"
    there = getattr(value, "__name__", name)
    for home in (getattr(value, "__module__", None), *HOMES):
        if home and home != "__main__" and getattr(sys.modules.get(home), there, None) is value:
            return f"from {home} import {there} as {name}"
    return None


def is_plain(value: Any) -> bool:
    """Tell whether Python's own way to print a value can be read again."""
    try:
        return (
            isinstance(value, tuple | list | dict | set) and ast.literal_eval(repr(value)) == value
        )
    except (ValueError, SyntaxError):
        return False


def read_answer(file: Path) -> OwnAnswer:
    """Read an answer that was kept, which runs its definitions.

    What it prints when it is called is lost. Raises ValueError where the file holds no answer.
    """
    text = file.read_text(encoding="utf-8")
    head = HEADER.match(text)
    if not head or head[1] != file.stem or int(head[2]) != ANSWER_VERSION:
        raise ValueError(f"{file} is no answer of version {ANSWER_VERSION}")
    space = {"__name__": f"own_{file.stem}", "print": lambda *things, **options: None}
    space["__builtins__"] = builtins
    try:
        exec(compile(text, str(file), "exec"), space)
    except Exception as error:
        raise ValueError(f"{file} can't be run: {type(error).__name__}: {error}") from None
    if head[3] not in space:
        raise ValueError(f"{file} holds no {head[3]}")
    own = ast.get_source_segment(text, ast.parse(text).body[-1])
    lines = [line for line in own.splitlines() if line.strip()]
    return OwnAnswer(head[1], space[head[3]], text, len(lines))


def read_answers(folder: Path | None) -> tuple[dict[str, OwnAnswer], dict[str, str]]:
    """Read all answers of a folder: those that are fine, and why others are not, by exercise."""
    fine, broken = {}, {}
    for file in sorted(folder.glob("*.py")) if folder and folder.exists() else ():
        try:
            fine[file.stem] = read_answer(file)
        except (OSError, ValueError, SyntaxError) as error:
            broken[file.stem] = str(error)
    return fine, broken
