"""Mutants: each solution with one small change, made from its syntax tree; the exercise's checker
must refuse every one of them, or the change stands in `EQUIVALENT` with the reason why no input
shows it.

    python -m tests.lab.checks.mutants attention bpe    # all mutants of two lessons
"""

import ast
import contextlib
import copy
import difflib
import importlib
import inspect
import io
import pkgutil
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from course_lib.lab import solutions
from course_lib.lab.checks import core
from tests.lab.checks.equivalent import EQUIVALENT

SECONDS = 1.0  # of computing for one mutant; solutions take a tenth of that
OPERATORS = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mod),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
IN_PLACE = {ast.Add: "add_", ast.Sub: "sub_", ast.Mult: "mul_", ast.Div: "div_"}
TWINS = (
    "max min",
    "amax amin",
    "argmax argmin",
    "sum mean",
    "sin cos",
    "log log2",
    "log2 log10",
    "exp exp2",
    "triu tril",
    "any all",
    "zeros_like ones_like",
    "mean amax",
    "most_common elements",
)
SYMMETRIC = ("max", "min", "transpose")  # in their arguments
STYLE = ("item", "detach", "tolist")  # checkers take the result with or without these
OTHER_NAME = {a: b for pair in TWINS for a, b in [pair.split()]}
OTHER_NAME |= {b: a for pair in reversed(TWINS) for a, b in [pair.split()] if b not in OTHER_NAME}


@dataclass(frozen=True)
class Mutant:
    """One change of an exercise's solution: `change` is "old line -> new line", `source` the whole
    function."""

    exercise: str
    change: str
    source: str


# What becomes of one piece of code
# --------------------------------------------------------------------------------------------------


def code(text: str) -> ast.expr:
    """Read an expression."""
    return ast.parse(text, mode="eval").body


def variants(node: ast.AST, arguments: list[str]) -> Iterator[ast.AST | None]:
    """Give what may stand in a node's place; None stands for leaving it out."""
    kind = type(node)
    if kind in OPERATORS:
        yield from (other() for other in OPERATORS[kind])
    elif isinstance(node, ast.Constant):
        yield from of_constant(node.value)
    elif isinstance(node, ast.UnaryOp):
        yield from of_unary(node)
    elif isinstance(node, ast.BinOp):
        yield from of_binary(node, arguments)
    elif isinstance(node, ast.Name | ast.Attribute):
        yield from of_name(node, arguments)
    elif isinstance(node, ast.Call):
        yield from of_call(node, arguments)
    elif isinstance(node, ast.Slice):
        yield from of_slice(node)
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse, ast.IfExp(node.test, node.orelse, node.body))
    elif isinstance(node, ast.BoolOp):
        yield from node.values
    elif isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Load):
        yield from of_elements(node)


def of_constant(value: Any) -> Iterator[ast.expr]:
    """Other constants: beside it, 0, the opposite; larger and smaller ones."""
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield from (code(str(other)) for other in dict.fromkeys([value + 1, value - 1, 0, -value]))
    elif isinstance(value, float):
        yield from (code(str(other)) for other in (2 * value, value / 2, value + 1.0, 0.0))
        yield from [code(str(-value))] if value else []
    elif isinstance(value, str) and "->" in value:  # einsum
        for i in range(len(value) - 1):
            if value[i : i + 2].isalpha():
                yield ast.Constant(value[:i] + value[i + 1] + value[i] + value[i + 2 :])
    elif isinstance(value, str):
        yield ast.Constant(value + "x")


def of_unary(node: ast.UnaryOp) -> Iterator[ast.expr]:
    """The operand without its sign or `not`; -1 also as the dims around it."""
    yield node.operand
    if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        yield from (code(str(n)) for n in (0, -node.operand.value - 1, 1 - node.operand.value))


def of_binary(node: ast.BinOp, arguments: list[str]) -> Iterator[ast.expr]:
    """Either side alone, the sides exchanged, and the same computed within an argument."""
    yield from (node.left, node.right)
    if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.Pow | ast.Mod):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node.left, ast.Name) and node.left.id in arguments and type(node.op) in IN_PLACE:
        method = ast.Attribute(node.left, IN_PLACE[type(node.op)], ast.Load())
        yield ast.Call(method, [node.right], [])


def of_name(node: ast.Name | ast.Attribute, arguments: list[str]) -> Iterator[ast.expr]:
    """Its counterpart (max, min), or another argument of the function."""
    name = node.id if isinstance(node, ast.Name) else node.attr
    if name in OTHER_NAME and isinstance(node.ctx, ast.Load):
        other = OTHER_NAME[name]
        whole = isinstance(node, ast.Name)
        yield code(other) if whole else ast.Attribute(node.value, other, ast.Load())
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value
    if isinstance(node, ast.Name) and name in arguments and isinstance(node.ctx, ast.Load):
        yield from (code(other) for other in arguments if other != name)


def of_call(node: ast.Call, arguments: list[str]) -> Iterator[ast.expr]:
    """Without the call, without a keyword, with arguments exchanged, one off, in place."""
    function, given = node.func, node.args
    if isinstance(function, ast.Attribute) and function.attr not in STYLE:
        yield function.value
        if isinstance(function.value, ast.Name) and function.value.id in arguments:
            if hasattr(torch.Tensor, f"{function.attr}_"):
                method = ast.Attribute(function.value, f"{function.attr}_", ast.Load())
                yield ast.Call(method, given, node.keywords)
    if given:
        yield given[0]
    for i, keyword in enumerate(node.keywords):
        if keyword.arg != "strict":  # of `zip`, whose lists are as long as they are
            yield ast.Call(function, given, node.keywords[:i] + node.keywords[i + 1 :])
    for i in range(len(given) - 1 if name_of(function) not in SYMMETRIC else 0):
        yield ast.Call(function, replaced(given, i, given[i + 1], given[i]), node.keywords)
    if isinstance(function, ast.Name) and function.id == "range":
        for i in range(len(given)):
            for more in ("+", "-"):
                moved = code(f"({ast.unparse(given[i])}) {more} 1")
                yield ast.Call(function, replaced(given, i, moved), [])


def name_of(function: ast.expr) -> str:
    """The name by which a function or a method is called."""
    return getattr(function, "attr", getattr(function, "id", ""))


def replaced(items: list, i: int, *new: Any) -> list:
    """The list with as many items exchanged from position `i` on as are given."""
    return items[:i] + list(new) + items[i + len(new) :]


def of_slice(node: ast.Slice) -> Iterator[ast.expr]:
    """Bounds left out, moved by one, or added."""
    for field in ("lower", "upper", "step"):
        if getattr(node, field) is not None:
            yield with_field(node, field, None)
    for field in ("lower", "upper"):
        bound = getattr(node, field)
        if bound is None:
            yield with_field(node, field, code("1" if field == "lower" else "-1"))
        elif not isinstance(bound, ast.Constant | ast.UnaryOp):
            for more in ("+ 1", "- 1"):
                yield with_field(node, field, code(f"({ast.unparse(bound)}) {more}"))


def of_elements(node: ast.Tuple | ast.List) -> Iterator[ast.expr]:
    """One element less, two neighbours exchanged."""
    items = node.elts
    for i in range(len(items) if len(items) > 1 else 0):
        yield type(node)(items[:i] + items[i + 1 :], ast.Load())
    for i in range(len(items) - 1):
        yield type(node)(replaced(items, i, items[i + 1], items[i]), ast.Load())


def with_field(node: ast.AST, field: str, value: Any) -> ast.AST:
    """A copy of a node with one field exchanged."""
    other = copy.copy(node)
    setattr(other, field, value)
    return other


# What becomes of a block of statements
# --------------------------------------------------------------------------------------------------


def blocks(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Statements left out, exchanged, taken without their condition, ended too early."""
    for i, statement in enumerate(body):
        yield replaced(body, i, ast.Pass())
        if i + 1 < len(body):
            yield replaced(body, i, body[i + 1], statement)
        if isinstance(statement, ast.If):
            yield body[:i] + statement.body + body[i + 1 :]
            yield body[:i] + (statement.orelse or [ast.Pass()]) + body[i + 1 :]
        if isinstance(statement, ast.For | ast.While):
            yield replaced(body, i, with_field(statement, "body", [*statement.body, ast.Break()]))
            early = [*statement.body, *body[i + 1 :]]
            yield replaced(body, i, with_field(statement, "body", early))
        if isinstance(statement, ast.AugAssign):
            yield replaced(body, i, ast.Assign([statement.target], statement.value))


def changes(function: ast.FunctionDef) -> Iterator[str]:
    """Give the source of the function after each change of one place."""
    arguments = [argument.arg for argument in function.args.args]
    inner = [node for statement in function.body for node in ast.walk(statement)]
    for parent, field, value in [(function, "body", function.body), *places(inner)]:
        if isinstance(value, ast.AST):
            options: Iterable = variants(value, arguments)
        elif value and isinstance(value[0], ast.stmt):
            options = blocks(value)
        else:
            options = within_list(value, arguments, shortened=field == "ifs")
        for option in options:
            setattr(parent, field, option)
            yield ast.unparse(ast.fix_missing_locations(function))
            setattr(parent, field, value)


def places(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.AST, str, Any]]:
    """Give every place that holds code: its node, its field and what stands there."""
    for node in nodes:
        negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        strict = isinstance(node, ast.keyword) and node.arg == "strict"
        for field, value in ast.iter_fields(node):
            number = negated and isinstance(value, ast.Constant)  # -1 is changed as a whole
            typed = field in ("annotation", "returns", "decorator_list")
            if isinstance(value, ast.AST | list) and not (number or strict or typed):
                yield node, field, value


def within_list(items: list, arguments: list[str], shortened: bool) -> Iterator[list]:
    """Change one node of a list; leave out one condition of a comprehension."""
    for i, item in enumerate(items):
        if shortened:
            yield items[:i] + items[i + 1 :]
        if isinstance(item, ast.AST) and not isinstance(item, ast.arg):
            yield from (replaced(items, i, other) for other in variants(item, arguments))


def spoilt(function: ast.FunctionDef) -> Iterator[str]:
    """Give the function with each of its arguments changed after the work is done."""
    for name in [argument.arg for argument in function.args.args]:
        # the argument itself, also where the function uses its name for something else
        keep, spoil = (ast.parse(line).body for line in (f"_{name} = {name}", f"_spoil(_{name})"))
        body = [*keep, ast.Try(function.body, [], [], spoil)]
        yield ast.unparse(ast.fix_missing_locations(with_field(function, "body", body)))


# The mutants of a lesson, and what its checkers say of them
# --------------------------------------------------------------------------------------------------


def mutants_of(lab: str) -> dict[str, list[Mutant]]:
    """Make all mutants of a lesson's solutions, by exercise, without those that read the same."""
    tree = ast.parse(inspect.getsource(solutions_of(lab)))
    found = {}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name.endswith("_solution"):
            exercise = function.name = function.name.removesuffix("_solution")
            original = ast.unparse(function)
            sources = dict.fromkeys([*changes(function), *spoilt(function)])
            sources.pop(original, None)
            found[exercise] = [
                Mutant(exercise, difference(original, source), source)
                for source in sources
                if compiles(source)
            ]
    return found


def solutions_of(lab: str) -> ModuleType:
    """The module of a lesson's solutions."""
    return importlib.import_module(f"course_lib.lab.solutions.{lab}")


def compiles(source: str) -> bool:
    """Whether Python can read it: `break` outside a loop, say, it cannot."""
    try:
        code_of(source)
    except SyntaxError:
        return False
    return True


def code_of(source: str) -> Any:
    """Compile a mutant without a word about oddities such as `2[1]`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(source, "<mutant>", "exec")


def difference(old: str, new: str) -> str:
    """Give the lines that differ as "old -> new"."""
    if "_spoil(" in new:
        return "changes its argument " + new.rpartition("_spoil(_")[2].rstrip(")\n")
    lines = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    gone, come = ([line[2:] for line in lines if line.startswith(sign)] for sign in ("- ", "+ "))
    before, after = (" ; ".join(map(str.strip, some)) for some in (gone, come))
    return f"moved: {before}" if before == after else f"{before} -> {after}"


def trial(lab: str, mutant: Mutant) -> core.Verdict | None:
    """Have a mutant judged by its exercise's checker; None if it is no mutant after all."""
    spoiled: list[Any] = []
    namespace = vars(solutions_of(lab)) | {"_spoil": lambda value: spoil(value, spoiled)}
    exec(code_of(mutant.source), namespace)
    check = getattr(importlib.import_module(f"course_lib.lab.checks.{lab}"), mutant.exercise)
    torch.manual_seed(0)
    before, core.SECONDS = core.SECONDS, SECONDS
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = check(namespace[mutant.exercise])
    finally:
        core.SECONDS = before
    unharmed = "_spoil(" in mutant.source and not spoiled
    skeleton = "return" not in mutant.source and core.is_skeleton(namespace[mutant.exercise])
    return None if unharmed or skeleton else verdict


def spoil(value: Any, spoiled: list[Any]) -> None:
    """Change a value in place, if it is of a kind that can be; note that it was."""
    if isinstance(value, torch.Tensor) and value.numel():
        with torch.no_grad():
            value.copy_(~value if value.dtype == torch.bool else value + 1)
    elif isinstance(value, np.ndarray):
        value += 1
    elif isinstance(value, list | bytearray):
        value.append(value[0] if value else 0)
    elif isinstance(value, dict | set):
        value.clear()
    else:
        return
    spoiled.append(value)


def sample_of(lab: str, size: int) -> list[Mutant]:
    """Choose some mutants of each exercise, always the same."""
    chosen = []
    for exercise, mutants in mutants_of(lab).items():
        chosen += random.Random(exercise).sample(mutants, min(size, len(mutants)))
    return chosen


def survivors(lab: str, mutants: Iterable[Mutant]) -> list[tuple[Mutant, core.Verdict]]:
    """Give the mutants that a checker does not refuse and that are not known as equivalent."""
    tried = [(mutant, trial(lab, mutant)) for mutant in mutants]
    known = EQUIVALENT.get(lab, {})
    return [
        (mutant, verdict)
        for mutant, verdict in tried
        if verdict is not None
        and verdict.status != "wrong"
        and mutant.change not in known.get(mutant.exercise, {})
    ]


def report(labs: Iterable[str], show: Callable[[str], None] = print) -> int:
    """Try all mutants of some lessons, print what survives, and give the number of survivors."""
    total = left = 0
    for lab in labs:
        for exercise, mutants in mutants_of(lab).items():
            alive = survivors(lab, mutants)
            total, left = total + len(mutants), left + len(alive)
            show(f"{lab}.{exercise}: {len(mutants)} mutants, {len(alive)} survive")
            for mutant, verdict in alive:
                show(f"    {mutant.change}    [{verdict.status}]")
        for stale in stale_entries(lab):
            show(f"    no such mutant any more, take it from EQUIVALENT: {stale}")
    show(f"{total} mutants, {left} survive: {100 * (1 - left / max(1, total)):.1f} % refused")
    return left


def stale_entries(lab: str) -> list[str]:
    """Give the changes listed as equivalent that no longer are a mutant."""
    made = {(e, mutant.change) for e, mutants in mutants_of(lab).items() for mutant in mutants}
    return [
        f"{exercise}: {change}"
        for exercise, changes in EQUIVALENT.get(lab, {}).items()
        for change in changes
        if (exercise, change) not in made
    ]


def all_labs() -> list[str]:
    """The lessons that have solutions."""
    return sorted(module.name for module in pkgutil.iter_modules(solutions.__path__))


if __name__ == "__main__":
    sys.exit(report(sys.argv[1:] or all_labs()) > 0)
