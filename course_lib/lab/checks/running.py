"""Run a learner's code with care: for a limited time, on copies, with little of what it prints,
and with an eye on the arguments that it changes."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import functools
import inspect
import io
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from course_lib.lab.checks.compare import describe, number
from course_lib.lab.checks.kinds import ARRAY, IN_BROWSER, NDARRAY, TENSOR

if not IN_BROWSER:
    import torch
    from torch import Tensor
    from torch.overrides import TorchFunctionMode

PAUSE = 0.05  # seconds between two looks at the calls in progress
LINES, LETTERS = 5, 2000  # of what one check's calls print, before the rest is held back


class TookTooLong(BaseException):
    """Raised inside the learner's code when its time is up; no `except Exception` there swallows
    it."""


# Time
# --------------------------------------------------------------------------------------------------


# seconds that this thread has computed; a browser's Python has one thread only
thread_time = getattr(time, "thread_time", time.process_time)


def cpu_clock() -> Callable[[], float]:
    """A clock, to be read by any thread, of the seconds that this thread has computed; where the
    system has none (macOS, Windows), of the whole program's."""
    if hasattr(time, "pthread_getcpuclockid") and not IN_BROWSER:
        clock = time.pthread_getcpuclockid(threading.get_ident())
        return lambda: time.clock_gettime(clock)
    return time.process_time


def stopwatch(seconds: float) -> Callable[[], bool]:
    """Say, when called, whether this thread has computed for more than `seconds` since; or slept
    for so long that it could have."""
    computed = cpu_clock()
    began, clock = computed(), time.monotonic()

    def is_over() -> bool:
        used, passed = computed() - began, time.monotonic() - clock
        return used > seconds or passed > 1.2 * seconds * patience()

    return is_over


def patience() -> float:
    """How many times as long as alone a computation may take beside what else runs here."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 1.0
    return max(1.0, 4 * load)


class LimitedCall:
    """A call that is to be stopped once its time is up."""

    def __init__(self, seconds: float):
        self.thread, self.lock = ctypes.c_ulong(threading.get_ident()), threading.Lock()
        self.is_over, self.ended, self.next_try = stopwatch(seconds), False, 0.0

    def stop_if_over(self) -> None:
        """Raise `TookTooLong` in the call's thread, again after half a second if it goes on."""
        with self.lock:
            if not self.ended and self.is_over() and time.monotonic() > self.next_try:
                raise_in(self.thread, ctypes.py_object(TookTooLong))
                self.next_try = time.monotonic() + 0.5

    def end(self) -> None:
        """Nothing is raised from now on; what was raised and has not arrived yet, arrives here.

        To take it back (`PyThreadState_SetAsyncExc` with NULL) would leave CPython 3.11 looking for
        it at every jump from then on: slower, and without an end in a function that is traced.
        """
        with self.lock:
            self.ended = True
        watcher.remove(self)
        for _ in range(2):  # Python looks for what was raised when it jumps back
            pass


class Watcher:
    """One thread that looks at the calls in progress; a thread for each call would cost more than
    most calls."""

    def __init__(self) -> None:
        self.calls: set[LimitedCall] = set()
        self.begun, self.thread = threading.Event(), None

    def add(self, call: LimitedCall) -> None:
        """Watch over a call until it ends."""
        self.calls.add(call)
        self.begun.set()
        if self.thread is None or not self.thread.is_alive():  # none outlives a fork
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()

    def remove(self, call: LimitedCall) -> None:
        """A call has ended."""
        self.calls.discard(call)

    def run(self) -> None:
        """Sleep while no call is in progress."""
        while self.begun.wait():
            time.sleep(PAUSE)
            for call in list(self.calls):
                call.stop_if_over()
            if not self.calls:
                self.begun.clear()
            if self.calls:  # begun in between
                self.begun.set()


class JumpWatcher:
    """Looks at the calls in progress from within: at every hundredth jump of Python's code, which
    each turn of a loop makes, and call of a function. A browser's Python can't start a thread."""

    EVENTS, EVERY = ("JUMP", "PY_START"), 100

    def __init__(self) -> None:
        self.calls: set[LimitedCall] = set()
        self.seen, self.monitor = 0, sys.monitoring  # since Python 3.12
        self.tool = self.monitor.PROFILER_ID
        self.events = [getattr(self.monitor.events, name) for name in self.EVENTS]
        self.monitor.use_tool_id(self.tool, "course_lib")
        for event in self.events:
            self.monitor.register_callback(self.tool, event, self.look)

    def add(self, call: LimitedCall) -> None:
        """Watch over a call until it ends."""
        self.calls.add(call)
        self.monitor.set_events(self.tool, sum(self.events))

    def remove(self, call: LimitedCall) -> None:
        """A call has ended; nothing is slowed down once all have."""
        self.calls.discard(call)
        if not self.calls:
            self.monitor.set_events(self.tool, 0)

    def look(self, *where: Any) -> None:
        self.seen += 1
        if self.seen % self.EVERY == 0:
            for call in list(self.calls):
                call.stop_if_over()


watcher = JumpWatcher() if IN_BROWSER else Watcher()
raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc


def call_within(seconds: float, function: Callable[[], Any]) -> Any:
    """Call a function; if it computes for longer, raise `TookTooLong` inside it, again and again
    until it ends.

    Python code is stopped between two bytecodes, in any thread and on any system; one long call
    into C (a giant matrix product) is stopped only when it returns.
    """
    call, over = LimitedCall(seconds), False
    try:
        watcher.add(call)
        return function()
    finally:
        while not over:
            try:
                call.end()
                over = True
            except TookTooLong:  # time ran out in these very lines: try again
                pass


def uses_torch_func(function: Any) -> bool:
    """Tell whether a function names `torch.func`, or something that was imported from there."""
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    known = getattr(function, "__globals__", {})
    homes = [str(getattr(known.get(name), "__module__", "")) for name in names]
    return "func" in names or "torch.func" in homes


@functools.cache
def import_torch_func() -> None:
    """Let `torch.func` import what it needs: seconds at its first use, which are not the learner's;
    stopped halfway, it would be broken for good."""
    torch.func.grad(torch.square)(torch.tensor(1.0))


# What is printed, and which of torch's functions are called
# --------------------------------------------------------------------------------------------------


class FewLines(io.TextIOBase):
    """Pass on the first lines that are printed, and count the others."""

    def __init__(self, out: Any):
        self.out, self.lines, self.letters = out, 0, 0

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            if self.is_open():
                self.out.write(line[:LETTERS])
            self.letters += len(line)
            self.lines += line.endswith("\n")
        return len(text)

    def is_open(self) -> bool:
        return self.lines < LINES and self.letters < LETTERS

    def close_with_count(self) -> None:
        """Say how much was held back."""
        if self.lines > LINES or self.letters > LETTERS:
            more = max(self.lines - LINES, 1)
            self.out.write(f"... (your function printed {more:,} more lines, held back here)\n")


@contextlib.contextmanager
def few_lines() -> Iterator[None]:
    """Hold back all but the first few lines that are printed meanwhile."""
    few = FewLines(sys.stdout)
    try:
        with contextlib.redirect_stdout(few):
            yield
    finally:
        few.close_with_count()


@contextlib.contextmanager
def torch_calls() -> Iterator[set[str]]:
    """Collect the names of torch's functions and methods that are called meanwhile."""
    used: set[str] = set()

    class Names(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            used.add(getattr(func, "__name__", str(func)))
            return func(*args, **(kwargs or {}))

    with Names():
        yield used


# Arguments
# --------------------------------------------------------------------------------------------------


def copied(value: Any, keep_graph: bool = True) -> Any:
    """Copy containers, tensors and arrays, which the learner might change; give everything else as
    it is.

    With `keep_graph`, tensors that require a gradient stay as they are: theirs is to be filled.
    """
    if isinstance(value, TENSOR):
        kept = keep_graph and value.requires_grad
        return value if kept else value.detach().clone()
    if type(value) is dict:
        return {key: copied(item, keep_graph) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(copied(item, keep_graph) for item in value)
    return copy.copy(value) if isinstance(value, (NDARRAY, bytearray, Counter, deque)) else value


def difference(before: Any, after: Any) -> str:
    """Say where a value is another one than its earlier copy, in a few words; what can't be
    compared, or is as it was, gives no words."""
    whole = f"{describe(before)} became {describe(after)}"
    if before is after:
        return ""
    if not isinstance(after, type(before)):
        return whole
    if isinstance(before, ARRAY):
        return _difference_of_arrays(torch.as_tensor(before), torch.as_tensor(after), whole)
    if isinstance(before, dict):
        if list(before) != list(after):
            return whole
        pairs = {repr(key): (before[key], after[key]) for key in before}
    elif isinstance(before, list | tuple | deque):
        if len(before) != len(after):
            return whole
        pairs = dict(enumerate(zip(before, after, strict=True)))
    else:
        return "" if _equal(before, after) else whole
    found = ((key, difference(*pair)) for key, pair in pairs.items())
    return next((f"at [{key}], {words}" for key, words in found if words), "")


def _equal(before: Any, after: Any) -> bool:
    """Compare two objects that are no containers; what can't be compared counts as equal."""
    try:
        return bool(before == after) or (before != before and after != after)
    except Exception:
        return True


def _difference_of_arrays(before: Tensor, after: Tensor, whole: str) -> str:
    if before.shape != after.shape:
        return whole
    other = (before != after) & ~(before.isnan() & after.isnan())
    if not other.any():
        return ""
    place = tuple(other.nonzero()[0].tolist())
    return f"at {list(place)}, {number(before[place].item())} became {number(after[place].item())}"


def changed_argument(function: Callable, before: tuple, after: tuple) -> str | None:
    """Name the first argument that a call has changed; `before` and `after` are (args, kwargs)."""
    for key, value in [*enumerate(before[0]), *before[1].items()]:
        now = after[0][key] if isinstance(key, int) else after[1][key]
        if words := difference(value, now):
            return (
                f"your function changed its argument {argument_name(function, key)}, which its"
                f" caller may still need: {words}. {ADVICE}"
            )
    return None


ADVICE = (
    "`-=`, methods that end in `_`, `x[i] = ...`, `append`, `pop` and `sort` work on the caller's"
    " own object: make a new one, or copy first."
)


def argument_name(function: Callable, key: int | str) -> str:
    """The name of an argument, given by position or by name."""
    with contextlib.suppress(TypeError, ValueError, IndexError):
        key = list(inspect.signature(function).parameters)[key] if isinstance(key, int) else key
    return f"`{key}`" if isinstance(key, str) else f"number {key + 1}"


def innermost(function: Any) -> Any:
    """The function that was typed in, beneath decorators, partials and torch.func; for an object
    that can be called, its `__call__`."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if isinstance(function, type) or hasattr(function, "__code__"):
        return function
    return getattr(type(function), "forward", type(function).__call__)
