"""A function of the library at work, line by line: what ran, and what its variables were then.

`play(function, *arguments)` is all that a lesson needs.
"""

import hashlib
import html
import re
from collections.abc import Callable, Sequence
from typing import Any

from course_lib.lab.explore import frames
from course_lib.lab.explore.trace import Trace, TraceStep, record_trace

# In each frame of code, so that what stands below it needs no style of its own.
STYLE = """<style>
.course-steps { background: #ffffff; color: #222222; border: 1px solid #d9d5cb; }
.course-steps { border-radius: 6px; padding: 8px 12px; }
.course-steps pre, .course-steps td, .course-steps code { color: #222222; background: none; }
.course-steps pre, .course-steps td { font: 12.5px/1.5 ui-monospace, Menlo, Consolas, monospace; }
.course-steps pre, .course-steps td { white-space: pre-wrap; overflow-wrap: anywhere; }
.course-steps pre { margin: 0; padding: 0; border: 0; }
.course-steps pre span { display: block; padding-left: 7ch; text-indent: -7ch; }
.course-steps pre span::before { content: "  "; }
.course-steps table { width: 100%; border-collapse: collapse; margin: 4px 0 0; }
.course-steps tr, .course-steps tr:hover { background: #ffffff !important; color: #222222; }
.course-steps th, .course-steps td { text-align: left; vertical-align: top; padding: 2px; }
.course-steps th { font-size: 12.5px; }
.course-steps th:first-child { width: 9em; }
</style>"""
MARK = "{{background:#f7d154;font-weight:bold}}{0}::before{{content:'▶ '}}"


def play(
    function: Callable, *arguments: Any, into: Sequence[Callable] = (), **named: Any
) -> frames.Explorer:
    """Play a function of the library, line by line; see what each line does to its variables.

    It is called with the arguments. The functions in `into` are followed too, where it calls them.
    All of them may be your own; see `record_trace` for what can't be followed.
    """
    return show_trace(record_trace(function, *arguments, into=into, **named))


def show_trace(trace: Trace) -> frames.Explorer:
    """Show a recorded call: above the source, below what its lines read and wrote.

    The source is stored once per function. Which lines of it are marked, each step below says.
    """
    steps, before, tables = trace.steps, {}, []
    name = "steps-" + hashlib.sha256(repr(steps).encode()).hexdigest()[:8]
    for step in steps:
        changes = _changes(step, before)
        tables.append(
            f'{_mark(step, name)}<div class="course-steps">{_told(step, changes)}'
            f"{_table(step, changes)}</div>"
        )
        before[step.call] = step.variables
    labels = [f"{i} of {len(steps)}, {_lines(step)}" for i, step in enumerate(steps, 1)]
    sources = [_source(step, name) for step in steps]
    return frames.slideshow(sources, labels, "step", interval=2500, below=tables)


def _lines(step: TraceStep) -> str:
    first, last = step.lines
    return f"line {first}" if first == last else f"lines {first}-{last}"


def _source(step: TraceStep, name: str) -> str:
    """The function's source, each line with its number."""
    rows = [
        f'<span class="l{number}">{number:3}  {html.escape(line)}\n</span>'
        for number, line in enumerate(step.function.source, 1)
    ]
    title = f"<b>{html.escape(step.function.name)}</b>"
    return f'{STYLE}<div class="course-steps {name}">{title}<pre>{"".join(rows)}</pre></div>'


def _mark(step: TraceStep, name: str) -> str:
    """The style that marks the lines that ran, by a sign, by weight and by colour."""
    first, last = step.lines
    lines = f".{name} :is({','.join(f'.l{number}' for number in range(first, last + 1))})"
    return f"<style>{lines}{MARK.format(lines)}</style>"


def _told(step: TraceStep, changes: dict[str, str]) -> str:
    """Say what happened, in a sentence, and which variables it changed."""
    told = {
        "called": f": called{f' by {step.caller}' if step.caller else ''}",
        "ran": " ran",
        "turns": f": … {step.told} more turn{'s' * (step.told != '1')} of the loop",
        "returned": ": the function returns",
        "raised": " raised an error",
    }[step.kind]
    names = ", ".join(f"<code>{html.escape(name)}</code> {how}" for name, how in changes.items())
    changed = "" if step.kind == "called" else f" {names or 'No variable changed'}."
    return f"<div><b>{_lines(step).capitalize()}{html.escape(told)}.</b>{changed}</div>"


def _changes(step: TraceStep, before: dict[int, dict[str, str]]) -> dict[str, str]:
    """Which variables are new and which have changed since the last step of the same call."""
    if step.kind == "called":
        return {}
    old = before[step.call]
    return {
        name: "changed" if name in old else "new"
        for name, value in step.variables.items()
        if old.get(name) != value
    }


def _table(step: TraceStep, changes: dict[str, str]) -> str:
    """The variables that the lines name or change, those first that are new or have changed."""
    first, last = step.lines
    lines = step.function.source[first - 1 : last]
    named = {word for line in lines for word in re.findall(r"\w+", line.partition("#")[0])}
    shown = [name for name in step.variables if name in changes or name in named]
    rows = [(step.kind, step.told)] if step.kind in ("returned", "raised") else []
    rows += [
        (f"{name} ({changes[name]})" if name in changes else name, step.variables[name])
        for name in sorted(shown, key=lambda name: name not in changes)
    ]
    if not rows:
        return ""
    body = "".join(
        f"<tr><th scope=row>{html.escape(name)}<td>{html.escape(value)}" for name, value in rows
    )
    return f"<table><tr><th scope=col>variable<th scope=col>value{body}</table>"
