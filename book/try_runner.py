"""What the browser's Python does when a reader presses Check: run her code, then let the exercise's
own checker judge it. `try_page.py` packs this file beside the checkers."""

import contextlib
import importlib
import io
import linecache
import traceback

from course_lib.lab.checks import core, running

CELL = "your code"  # the file name in tracebacks


def judge(exercise: str, setup: str, code: str) -> str:
    """Run `code` behind the imports in `setup`, and give what it and the checker print.

    `exercise` is the lab and the name of the checker, "bpe.merge" say.
    """
    lab, name = exercise.split(".")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        space = {"__name__": "__main__"}
        exec(setup, space)
        if run_cell(code, space):
            check = getattr(importlib.import_module(f"course_lib.lab.checks.{lab}"), name)
            if name in space:
                check(space[name])
            else:
                print(f"[ ] {name}: there is no function of this name. Define `{name}`.")
    return printed.getvalue()


def run_cell(code: str, space: dict) -> bool:
    """Run a cell's code as long as a check may run; tell whether it came to its end, else print
    why not."""
    linecache.cache[CELL] = (len(code), None, code.splitlines(keepends=True), CELL)
    try:
        with running.few_lines():
            running.call_within(core.SECONDS, lambda: exec(compile(code, CELL, "exec"), space))
        return True
    except running.TookTooLong:
        print(f"[x] Your code was still running after {core.SECONDS:g} seconds: it was stopped.")
    except (Exception, SystemExit) as error:
        print("[x] Your code stopped before it could be checked:", told(error), sep="\n")
    return False


def told(error: BaseException) -> str:
    """The traceback from the reader's own first line on."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != CELL:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))
