"""Record a function at work: which line ran, and what its variables were after it.

Python itself reports each line (`sys.settrace`), so what is recorded is the function that a lesson
or the library runs, with the values that it really had.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import CodeType, FrameType
from typing import Any

from course_lib.lab.explore.values import brief_text

MOST_STEPS = 40  # shown; of loops as many turns as fit
MOST_RECORDED = 5000

Lines = tuple[int, int]  # first and last line of a statement, as they are numbered where shown


@dataclass(frozen=True)
class TracedFunction:
    """A function's source without its docstring, lines numbered from 1.

    `statements` gives the statement of each line in the file; a loop, a branch and the like are the
    statement of their first lines, what is inside has its own. `loops` are the lines of each loop.
    """

    name: str
    source: tuple[str, ...]
    statements: dict[int, Lines]
    loops: tuple[Lines, ...]


@dataclass(frozen=True)
class TraceStep:
    """What was seen after some lines of a function had run."""

    function: TracedFunction
    call: int  # the number of the call; a function may be called again, or by itself
    caller: str  # whose line called it; empty for the first function
    lines: Lines
    variables: dict[str, str]
    kind: str = "ran"  # or called, returned, raised; or turns, for several turns of a loop at once
    told: str = ""  # what was returned or raised, or how many turns


@dataclass(frozen=True)
class Trace:
    """All steps of a call, and what came of it: a result, or an error."""

    steps: tuple[TraceStep, ...]
    result: Any = None
    error: Exception | None = None


def record_trace(
    function: Callable, *arguments: Any, into: Sequence[Callable] = (), **named: Any
) -> Trace:
    """Call `function` with the arguments and record it, line by line.

    Functions that it calls are one step each, but for those in `into`, which are recorded too. An
    error of the function is the trace's end. Raises a TypeError for what has no lines in Python,
    and a ValueError for a call of more than `MOST_RECORDED` steps, or more than `MOST_STEPS` when
    all loops but their first turns are left out.

    >>> def halve(n):
    ...     half = n // 2
    ...     return half
    >>> [(step.lines, step.variables) for step in record_trace(halve, 6).steps]
    [((1, 1), {'n': '6'}), ((2, 2), {'n': '6', 'half': '3'}), ((3, 3), {'n': '6', 'half': '3'})]
    """
    recorder = _Recorder({_code(each): read_function(each) for each in (function, *into)})
    result = error = None
    before = sys.gettrace()
    sys.settrace(recorder.begin)
    try:
        result = function(*arguments, **named)
    except Exception as raised:
        error = raised
    finally:
        sys.settrace(before)
    if error and not recorder.steps:
        raise error  # it could not even be called
    if len(recorder.steps) > MOST_RECORDED:
        raise ValueError(
            f"{function.__name__} took more than {MOST_RECORDED} steps: give it a smaller example"
        )
    return Trace(tuple(shorten_loops(recorder.steps)), result, error)


def shorten_loops(steps: Sequence[TraceStep], most: int = MOST_STEPS) -> list[TraceStep]:
    """Keep as many turns of each loop as fit into `most` steps, and put the others into one step.

    Raises a ValueError if not even one turn of each fits.
    """
    for turns in range(most, 0, -1):
        if len(shown := _first_turns(steps, turns)) <= most:
            return shown
    raise ValueError(
        f"{len(shown)} steps with one turn of each loop, more than {most}: give it a smaller"
        " example, or follow it into fewer functions"
    )


@dataclass
class _OpenLoop:
    call: int
    lines: Lines
    visits: int = 0  # of its first line: one per turn, and one that ends it


def _first_turns(steps: Sequence[TraceStep], turns: int) -> list[TraceStep]:
    """Keep so many turns of each loop; the hidden ones are told by the last step among them."""
    shown, hidden, open_loops = [], [], []
    for step in steps:
        while open_loops and _has_left(step, open_loops[-1]):
            open_loops.pop()
        begun = next((loop for loop in step.function.loops if loop[0] == step.lines[0]), None)
        if begun and step.kind == "ran":
            if not open_loops or (open_loops[-1].call, open_loops[-1].lines) != (step.call, begun):
                open_loops.append(_OpenLoop(step.call, begun))
            open_loops[-1].visits += 1
        over = next((loop for loop in open_loops if loop.visits > turns), None)
        if hidden and hidden[-1][0] is not over:
            shown, hidden = shown + _joined(hidden), []
        if over is None:
            shown.append(step)
        else:
            hidden.append((over, step))
    return shown + _joined(hidden)


def _has_left(step: TraceStep, loop: _OpenLoop) -> bool:
    if step.call != loop.call:
        return step.call < loop.call  # the loop's call is over, not the one that this step is in
    first, last = loop.lines
    return step.kind in ("returned", "raised") or not first <= step.lines[0] <= last


def _joined(hidden: Sequence[tuple[_OpenLoop, TraceStep]]) -> list[TraceStep]:
    """Make one step of the hidden turns of a loop; a mere visit that ends it stays as it is."""
    if not hidden:
        return []
    loop, last = hidden[-1]
    own = [step for _, step in hidden if step.call == loop.call]
    visits = [step for step in own if step.lines[0] == loop.lines[0]]
    n_turns = len(visits) - (own[-1] is visits[-1])
    if not n_turns:
        return [last]
    return [replace(own[-1], lines=visits[0].lines, kind="turns", told=str(n_turns))]


# Reading a function's source
# --------------------------------------------------------------------------------------------------


def read_function(function: Callable) -> TracedFunction:
    """Read the source of a function made by `def`; else raise a TypeError."""
    code = _code(function)
    try:
        lines, start = inspect.getsourcelines(code)
        (node,) = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, SyntaxError, ValueError):
        node = None
    if not isinstance(node, ast.FunctionDef) or code.co_flags & inspect.CO_GENERATOR:
        raise TypeError(
            f"{code.co_name} can't be followed line by line: only a function made by def, which"
            " yields nothing"
        )
    source = textwrap.dedent("".join(lines)).rstrip().split("\n")
    kept = _lines_to_show(node, source)
    number = {line: i for i, line in enumerate(kept, 1)}
    statements = {start + line - 1: (shown, shown) for line, shown in number.items()}
    loops = []
    for part in ast.walk(node):
        if isinstance(part, ast.stmt) and part.lineno in number:
            first, last = part.lineno, _last_line(part)
            both = (number[first], number[last])
            statements |= {start + line - 1: both for line in range(first, last + 1)}
            if isinstance(part, ast.For | ast.While):
                loops.append((number[first], number[part.body[-1].end_lineno]))
    return TracedFunction(
        code.co_name, tuple(source[line - 1] for line in kept), statements, tuple(loops)
    )


def _lines_to_show(node: ast.FunctionDef, source: list[str]) -> list[int]:
    """The lines but for the decorators, the docstring and the empty line below it."""
    hidden = set(range(1, node.lineno))
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        hidden |= set(range(node.body[0].lineno, node.body[1].lineno)) - {
            line for line in range(1, len(source) + 1) if source[line - 1].lstrip().startswith("#")
        }
    return [line for line in range(1, len(source) + 1) if line not in hidden]


def _last_line(part: ast.stmt) -> int:
    """The last line of a statement, or of the first lines of one that holds others."""
    body = getattr(part, "body", None)
    return max(part.lineno, body[0].lineno - 1) if body else part.end_lineno


def _code(function: Callable) -> CodeType:
    """The code of a function, also below decorators, or of a method."""
    inner = inspect.unwrap(function)
    code = getattr(getattr(inner, "__func__", inner), "__code__", None)
    if code is None:
        raise TypeError(f"{function!r} has no lines of Python to follow")
    return code


# Recording
# --------------------------------------------------------------------------------------------------


@dataclass
class _Call:
    number: int
    function: TracedFunction
    caller: str
    lines: Lines
    kind: str = "called"
    told: str = ""


@dataclass
class _Recorder:
    """What `sys.settrace` is given. Python reports a line before it runs, so a step is written down
    at the next report."""

    functions: dict[CodeType, TracedFunction]
    steps: list[TraceStep] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    n_calls: int = 0

    def begin(self, frame: FrameType, event: str, about: Any) -> Callable | None:
        """Follow a call if it is one of our functions."""
        function = self.functions.get(frame.f_code)
        if function is None:
            return None
        caller = ""
        if self.calls:
            above = self.calls[-1]
            caller = f"line {above.lines[0]} of {above.function.name}"
        first = min(function.statements.values())
        self.calls.append(_Call(self.n_calls, function, caller, first))
        self.n_calls += 1
        return self.follow

    def follow(self, frame: FrameType, event: str, about: Any) -> Callable:
        """Note what a line did, once Python reports what comes after it."""
        call = self.calls[-1]
        if event == "line" and call.function.statements[frame.f_lineno] != call.lines:
            self.write(call, frame)
            call.lines, call.kind = call.function.statements[frame.f_lineno], "ran"
        elif event == "exception" and about[0] is not StopIteration:  # that one ends a loop
            call.kind, call.told = "raised", f"{about[0].__name__}: {about[1]}"
        elif event == "return":
            if call.kind != "raised":
                call.kind, call.told = "returned", brief_text(about)
            self.write(call, frame)
            self.calls.pop()
        return self.follow

    def write(self, call: _Call, frame: FrameType) -> None:
        variables = {name: brief_text(value) for name, value in frame.f_locals.items()}
        self.steps.append(
            TraceStep(
                call.function,
                call.number,
                call.caller,
                call.lines,
                variables,
                call.kind,
                call.told if call.kind in ("returned", "raised") else "",
            )
        )
        if len(self.steps) > MOST_RECORDED:
            sys.settrace(None)
