"""Checkers: small judges that call the learner's function, never break the notebook, and say what
is wrong and why.

A lesson's module of checkers holds functions `judge(attempt)` under `@checker`. A judge calls the
learner's object through `attempt(...)`, compares with an outside truth, and raises `Wrong` with the
sentence the learner should read.
"""

import contextlib
import dis
import functools
import importlib
import inspect
import io
import itertools
import linecache
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from course_lib.lab.checks import running
from course_lib.lab.checks.compare import Wrong, describe, expect
from course_lib.lab.checks.kinds import IN_BROWSER
from course_lib.lab.checks.running import TookTooLong, call_within, innermost, torch_calls

if not IN_BROWSER:  # which has no notebook, and no disk to keep a record on
    from course_lib.lab import own_answers, progress

__all__ = ["Attempt", "Verdict", "Wrong", "checker", "describe", "expect", "torch_calls"]

SECONDS = 8.0  # of computing, for all calls of the learner's function in one check
ITEMS = 100_000  # taken from a generator before it counts as endless
MARKS = {"not attempted": "[ ]", "wrong": "[x]", "ok": "[ok]"}


class NotAttempted(Exception):
    """The skeleton is still untouched."""


@dataclass(frozen=True)
class Verdict:
    """What a check found: `status` is "not attempted", "wrong" or "ok". A notebook shows the
    printed message only."""

    status: str
    message: str

    def _ipython_display_(self) -> None:
        """Show nothing: the message has been printed already."""


def checker(judge: Callable[["Attempt"], str | None]) -> Callable[[Any], Verdict]:
    """Turn `judge(attempt)` into a check that prints one short paragraph and returns a `Verdict`.

    The check never raises, with two exceptions: KeyboardInterrupt, and a refused function whose
    name ends in `_solution`, so that a wrong solution fails the build. What follows an exercise
    works with `check.passed_or_solution(answer)`.
    """
    name, lab = judge.__name__, judge.__module__.rpartition(".")[2]

    @functools.wraps(judge)
    def check(answer: Any) -> Verdict:
        verdict = _verdict(judge, answer)
        message = f"{MARKS[verdict.status]} {name}: {verdict.message}"
        if str(getattr(answer, "__name__", "")).endswith("_solution"):
            if verdict.status != "ok":
                raise AssertionError(message)
            print(message)
        else:
            check.passed = answer if verdict.status == "ok" else None
            print(message)
            if not IN_BROWSER:
                _keep(lab, name, verdict, answer)
        return verdict

    def passed_or_solution(answer: Any) -> Any:
        """Give the answer if it is the one that passed this check last, else the solution; say
        which."""
        if answer is not None and answer is check.passed:
            print(f"{name}: yours, which passed its check.")
            return answer
        print(f"{name}: the solution's, until yours passes its check.")
        return solution_of(lab, name)

    check.is_checker, check.passed, check.passed_or_solution = True, None, passed_or_solution
    check.judge = judge
    return check


def _keep(lab: str, name: str, verdict: Verdict, answer: Any) -> None:
    """Note a verdict in the record of progress; where a notebook runs, keep an answer that is
    right."""
    progress.checked(lab, name, verdict.status)
    if verdict.status == "ok" and progress.live():
        own_answers.keep_answer(f"{lab}.{name}", answer)


def verdict_on(key: str, answer: Any) -> Verdict:
    """Judge an answer to an exercise, "attention.causal_weights" say, without a word."""
    lab, name = key.split(".")
    check = getattr(importlib.import_module(f"course_lib.lab.checks.{lab}"), name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return _verdict(check.judge, answer)


def solution_of(lab: str, name: str) -> Any:
    """The solution of an exercise, as the notebook shows it."""
    module = importlib.import_module(f"course_lib.lab.solutions.{lab}")
    return getattr(module, f"{name}_solution")


def _verdict(judge: Callable[["Attempt"], str | None], answer: Any) -> Verdict:
    attempt = Attempt(answer)
    try:
        with running.few_lines():
            attempt.require_callable(judge.__name__)
            if not IN_BROWSER and running.uses_torch_func(answer):
                running.import_torch_func()
            praise = judge(attempt)
    except (NotAttempted, NotImplementedError):
        return Verdict(
            "not attempted", "not attempted yet. Fill in the function above and run the cell again."
        )
    except Wrong as reason:
        besides = f"\n    Besides, {attempt.changed}" if attempt.changed else ""
        return Verdict("wrong", f"{reason}{besides}")
    except Exception as error:  # the judge stumbled over a result of a kind that it did not foresee
        reason = f"{type(error).__name__}: {error}"
        return Verdict(
            "wrong",
            f"your function returned {describe_safely(attempt.result)}, and the check cannot work"
            f" with that ({reason}). Is it the kind of object that the exercise asks for?",
        )
    if attempt.changed:
        return Verdict("wrong", f"the result is right, but {attempt.changed}")
    return Verdict("ok", praise or "right.")


class Attempt:
    """The learner's object, to be called by a judge. `answer` is the object itself, `result` what
    it returned last, `changed` says which argument it changed though it should not."""

    def __init__(self, answer: Any):
        self.answer = answer
        self.result: Any = None
        self.changed: str | None = None
        self.seconds, self.calls = SECONDS, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it with copies of the arguments; a generator is turned into a list.

        Tensors that require a gradient, modules and generators of random numbers are handed over as
        they are. An answer that changes an argument is refused, even if its results are right.
        """
        return self.call(self.answer, *args, **kwargs)

    def call(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Call something that the learner made, a method or a returned function, with the same
        care."""
        given = running.copied((args, kwargs))
        before = running.copied(given, keep_graph=False)
        result = self._run(function, *given)
        self.changed = self.changed or running.changed_argument(function, before, given)
        if result is None and not is_skeleton(function):
            raise Wrong(
                f"your function returned None {_called(args, kwargs)}. Is a `return` missing?"
            )
        if result is None or result is ... or result is NotImplemented:
            raise NotAttempted
        return result

    def in_place(self, *args: Any, **kwargs: Any) -> Any:
        """Call it with the arguments themselves, for a function that is meant to change them; None
        is a fair result."""
        if is_skeleton(self.answer):
            raise NotAttempted
        return self._run(self.answer, args, kwargs)

    def _run(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        _require_signature(function, args, kwargs)
        told = _called(args, kwargs)  # now, before the learner's code can change them
        began, self.calls = running.thread_time(), self.calls + 1
        try:
            self.result = call_within(self.seconds, lambda: _drained(function(*args, **kwargs)))
        except TookTooLong:
            raise Wrong(self._too_long(told)) from None
        except (Exception, SystemExit) as error:
            # torch raises it too: "softmax_lastdim_kernel_impl" not implemented for 'Long'
            if isinstance(error, NotImplementedError) and "not implemented for" not in str(error):
                raise NotAttempted from None
            raise Wrong(
                f"your function stopped with {_told(error, function)}\n    It was {told}."
            ) from None
        finally:
            self.seconds -= running.thread_time() - began
        return self.result

    def _too_long(self, told: str) -> str:
        together = f" (all {self.calls} calls of this check together)" if self.calls > 1 else ""
        return (
            f"your function was still running after {SECONDS:g} seconds{together}, {told}, so it"
            " was stopped. Is there a loop that never ends, or more work than the question needs?"
        )

    def require_callable(self, name: str) -> None:
        """Refuse a result where the function itself is wanted."""
        if self.answer is None or self.answer is ... or self.answer is NotImplemented:
            raise NotAttempted
        if not callable(self.answer):
            raise Wrong(
                f"you passed {describe_safely(self.answer)}. Pass the function itself, without"
                f" calling it: check.{name}({name})."
            )


def is_skeleton(function: Callable) -> bool:
    """True for a function whose body does nothing (`...`, `pass` or a docstring)."""
    code = getattr(innermost(function), "__code__", None)
    idle = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}
    return code is not None and all(step.opname in idle for step in dis.get_instructions(code))


def _require_signature(function: Callable, args: tuple, kwargs: dict) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions do not tell
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", "your function")
        count = len(args) + len(kwargs)
        wanted = f"the {count} argument{'' if count == 1 else 's'}"
        raise Wrong(
            f"{name}{signature} does not take {wanted} of this exercise: {error}."
        ) from None


def _drained(result: Any) -> Any:
    """Turn a generator, or another iterator, into a list."""
    return list(itertools.islice(result, ITEMS)) if isinstance(result, Iterator) else result


def _called(args: tuple, kwargs: dict) -> str:
    """Say how the learner's function was called."""
    values = [describe_safely(value) for value in args]
    values += [f"{key} = {describe_safely(value)}" for key, value in kwargs.items()]
    return "called with " + (" and ".join(values) if values else "no arguments")


def _told(error: BaseException, function: Callable) -> str:
    """Tell an error with the line of the learner's code where it happened."""
    told = f"{type(error).__name__}: {str(error).strip() or 'no message'}".splitlines()[0][:300]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == _file(function)
    ]
    if not frames:
        return told + "."
    line = linecache.getline(frames[-1].filename, frames[-1].lineno).strip()
    return f"{told}\n    line {frames[-1].lineno} of the cell:  {line}"


def _file(function: Callable) -> str | None:
    """The file, or the notebook's cell, that a function, a class or an object's class was typed
    in."""
    function = innermost(function)
    own = vars(function).values() if isinstance(function, type) else []
    for thing in [function, *filter(inspect.isfunction, own)]:
        if code := getattr(thing, "__code__", None):
            return code.co_filename
    return None


def describe_safely(value: Any) -> str:
    """Describe a value whose own methods may be broken."""
    try:
        return describe(value)
    except Exception:
        return f"an object of type {type(value).__name__}"
