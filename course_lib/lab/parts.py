"""A learner's function at work in the library: counted, compared, timed, handed back if it fails.

A `Part` is one exercise; a `Plug` is the place in the library where one part or several stand in
for a function of the library's. What a part gives is compared with what the course's solution
gives, at its calls number 1, 2, 4, 8, ... A part is handed back, by itself and for good, if

- it raises an error where the solution does not, or calls what it stands in for;
- what it gives is not what the solution gives: another kind, shape, precision, other numbers, or
  a result through which no gradient flows;
- one call computes longer than `CALL_SECONDS` and longer than `TIMES_AS_LONG` times the solution;
- all its calls have taken `EXTRA_SECONDS` longer than the solution's would have.

The solution then finishes the call at hand, and the library does all later ones.
"""

import ctypes
import functools
import importlib
import math
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.compare import Wrong, expect
from course_lib.lab.checks.core import solution_of
from course_lib.lab.checks.running import TookTooLong, raise_in

CALL_SECONDS, TIMES_AS_LONG, EXTRA_SECONDS = 10.0, 100.0, 300.0
RELATIVE_ERROR = 1e-3  # of the length of all numbers: rounding, not another formula
Lift = Callable[[Callable], Callable]


# Time
# --------------------------------------------------------------------------------------------------


@dataclass
class CallInProgress:
    """A call that may compute for `limit` seconds; `others` are those of calls inside of it."""

    limit: float
    others: float = 0.0
    began: float = field(default_factory=time.process_time)
    thread: int = field(default_factory=threading.get_ident)

    def spent(self) -> float:
        return time.process_time() - self.began - self.others


class CallWatch:
    """The parts' calls in progress, innermost last, and one thread that ends endless ones.

    A call's clock counts what this process computes, and stands while another part is called
    inside of it.
    """

    def __init__(self) -> None:
        self.lock, self.thread = threading.Lock(), None
        self.calls: list[CallInProgress] = []
        self.checking = 0.0  # seconds of comparing, which no call is to pay for
        self.n_checks = 0  # comparisons in progress, one inside of the other
        self.timing_library = False  # what is called meanwhile is neither counted nor compared

    def begin(self, limit: float = math.inf) -> None:
        if self.thread is None or not self.thread.is_alive():
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()
        with self.lock:
            self.calls.append(CallInProgress(limit))

    def end(self) -> float:
        """End the innermost call; give the seconds that it has computed, others' not counted."""
        with self.lock:
            call = self.calls.pop()
            if self.calls:
                self.calls[-1].others += time.process_time() - call.began
            return call.spent()

    def run(self) -> None:
        """Look at the innermost call five times a second."""
        while True:
            time.sleep(0.2)
            with self.lock:
                if self.calls and self.calls[-1].spent() > self.calls[-1].limit:
                    self.calls[-1].limit += 1.0  # if it goes on: once more in a second
                    raise_in(ctypes.c_ulong(self.calls[-1].thread), ctypes.py_object(TookTooLong))

    @contextmanager
    def paused(self, checking: bool = True) -> Iterator[None]:
        """Let a block cost no call any time; `checking` tells whether it is but for comparing."""
        began = time.process_time()
        self.n_checks += checking
        self.begin()
        try:
            yield
        finally:
            self.end()
            self.n_checks -= checking
            if checking and not self.n_checks:
                self.checking += time.process_time() - began


watch = CallWatch()


# One exercise
# --------------------------------------------------------------------------------------------------


class Part:
    """One exercise, called as its statement says; without a `function`, the course's solution.

    `lift` turns a function of single things into one of batches. `hand_back` is told when the
    part is handed back, and why.
    """

    def __init__(
        self,
        key: str,
        function: Callable | None = None,
        lift: Lift | None = None,
        hand_back: Callable[[str, str], None] = lambda key, reason: None,
        every_call: bool = False,
        difference: Callable[[Any, Any], str] | None = None,
    ) -> None:
        solution = solution_of(*key.split("."))
        self.key, self.solution = key, lift(solution) if lift else solution
        self.function = lift(function) if lift and function else function
        self.tell, self.every_call = hand_back, every_call
        self.difference = difference or result_difference
        self.reason, self.running, self.calls, self.seconds = "", False, 0, 0.0
        self.compared: list[tuple[float, float]] = []  # seconds of hers and of the solution

    @property
    def active(self) -> bool:
        """Whether it is hers that computes."""
        return self.function is not None and not self.reason

    def hand_back(self, reason: str) -> None:
        self.reason = reason
        self.tell(self.key, reason)

    def __call__(self, *args: Any, compare: bool = True) -> Any:
        if self.active and self.running:
            self.hand_back("it calls the function of the library that it stands in for")
        if not self.active or (watch.timing_library and not self.calls):
            return self.solution(*args)
        self.calls += not watch.timing_library
        try:
            result, spent = self.timed(args)
        except (Exception, TookTooLong) as error:
            return self.without_it(args, error)
        if watch.timing_library:
            return result
        due = self.every_call or not self.calls & (self.calls - 1)
        if (compare and due) or result is None:
            with watch.paused():
                return self.compared_result(args, result, spent)
        if self.seconds > EXTRA_SECONDS and self.extra_seconds() > EXTRA_SECONDS:
            self.hand_back(f"its {self.calls:,} calls took {self.extra_seconds():.0f} s too long")
        return result

    def timed(self, args: tuple) -> tuple[Any, float]:
        """Call hers; give its result and the seconds that it has computed."""
        theirs = self.compared[-1][1] if self.compared else 0.0
        self.running = True
        try:
            watch.begin(max(CALL_SECONDS, TIMES_AS_LONG * theirs))
            try:
                result = self.function(*args)
            finally:
                spent = watch.end()
                self.seconds += spent
            return result, spent
        finally:
            self.running = False

    def without_it(self, args: tuple, error: BaseException) -> Any:
        """Let the solution finish the call; where it fails as well, the part is not to blame."""
        result = self.solution(*args)
        if isinstance(error, TookTooLong):
            self.hand_back(f"call {self.calls:,} was still computing after its time limit")
        else:
            told = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:160]
            self.hand_back(f"call {self.calls:,} stopped with {told}")
        return result

    def compared_result(self, args: tuple, result: Any, spent: float) -> Any:
        """Give the result if it is the solution's, else the solution's."""
        began = time.process_time()
        wanted = self.solution(*args)
        self.compared.append((spent, time.process_time() - began))
        if reason := self.difference(result, wanted):
            self.hand_back(f"at call {self.calls:,} {reason}")
            return wanted
        return result

    def extra_seconds(self) -> float:
        """Estimate how much longer its calls took than the solution's would have."""
        hers, theirs = (sum(column) for column in zip(*self.compared, strict=True))
        return self.seconds * (1 - theirs / hers) if hers > theirs else 0.0


def result_difference(got: Any, want: Any) -> str:
    """Say in a sentence how a result differs from the wanted one; an empty text if it does not."""
    if isinstance(want, Tensor):
        return tensor_difference(got, want)
    if isinstance(want, tuple | list) and any(isinstance(each, Tensor) for each in want):
        if not isinstance(got, tuple | list) or len(got) != len(want):
            return f"its result was no {type(want).__name__} of {len(want)}"
        found = (result_difference(*pair) for pair in zip(got, want, strict=True))
        return next(filter(None, found), "")
    try:
        expect(got, want, "the result")
    except Wrong as reason:
        return str(reason)
    return ""


def tensor_difference(got: Any, want: Tensor) -> str:
    if not isinstance(got, Tensor):
        return f"its result was a {type(got).__name__}, not a tensor"
    for name in ("shape", "dtype"):
        if getattr(got, name) != getattr(want, name):
            pair = (getattr(got, name), getattr(want, name))
            pair = map(tuple, pair) if name == "shape" else pair
            return "its result had the {} {}, not {}".format(name, *pair)
    if want.requires_grad and not got.requires_grad:
        return "no gradient flowed through its result"
    got, want = got.detach(), want.detach()
    if not want.is_floating_point():
        return "" if torch.equal(got, want) else "some of its numbers were others"
    if not want.isfinite().all():
        return ""  # nothing to hold it against
    if not got.isfinite().all():
        return f"{int((~got.isfinite()).sum())} of its {got.numel()} numbers were NaN or infinite"
    error = (got - want).norm() / want.norm().clamp(min=1e-12)
    return "" if error <= RELATIVE_ERROR else f"its numbers were off by {error.item():.2g} of all"


def over_rows(function: Callable, *axes: int | None) -> Callable:
    """Lift a function of single things to batches along the first axis, where `axes` has 0.

    By `torch.vmap`, or row by row where that can't follow the function.
    """
    lifted, by_loop = torch.vmap(function, axes), []

    @functools.wraps(function)
    def batched(*args: Any) -> Any:
        if not by_loop:
            try:
                return lifted(*args)
            except Exception:
                by_loop.append(True)
        n_rows = next(len(arg) for arg, axis in zip(args, axes, strict=True) if axis == 0)
        rows = [
            [arg[row] if axis == 0 else arg for arg, axis in zip(args, axes, strict=True)]
            for row in range(n_rows)
        ]
        return torch.stack([function(*row) for row in rows])

    return batched


def remembered(function: Callable) -> Callable:
    """Make a function of one tensor that is computed once for equal ones, at nobody's expense.

    For what a part is given to call: a second call, to compare, must not change a cache again.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def call(x: Tensor) -> Tensor:
        for before, result in seen:
            if before is x or torch.equal(before, x):
                return result
        with watch.paused(checking=False):
            seen.append((x, function(x)))
        return seen[-1][1]

    return call


# A place in the library
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plug:
    """A function or method of the library, the exercises that can stand in for it, and how.

    `adapt(library, *parts)` makes the function that takes its place. `only_in` names the one
    module that gets it, where others are to keep theirs. `again(*args, **options)` gives the
    arguments for a second call, copies of what is changed in place; None where there is to be no
    second one.
    """

    target: str
    exercises: tuple[str, ...]
    adapt: Callable[..., Callable]
    only_in: str | None = None
    again: Callable[..., tuple[tuple, dict] | None] = lambda *args, **options: (args, options)


@dataclass
class PlugTimes:
    """What calls of a plug took, in seconds: with the parts, and by the library alone."""

    calls: int = 0
    own: list[float] = field(default_factory=list)
    library: list[float] = field(default_factory=list)

    def sums(self) -> list[float]:
        """Add up both; the first call, which may have to set something up, only if it is alone."""
        return [sum(seconds[1:] or seconds) for seconds in (self.own, self.library)]


def switched(plug: Plug, library: Callable, parts: Sequence[Part], times: PlugTimes) -> Callable:
    """Make the function that stands in the library: the parts' while one is active.

    Its calls number 1, 2, 4, 8, ... are timed, and the library's beside them.
    """
    replacement = plug.adapt(library, *parts)

    @functools.wraps(library)
    def switch(*args: Any, **options: Any) -> Any:
        if not any(part.active for part in parts):
            return library(*args, **options)
        if watch.timing_library:
            return replacement(*args, **options)
        args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
        times.calls += 1
        n = times.calls
        again = plug.again(*args, **options) if not n & (n - 1) else None
        if again is None:
            return replacement(*args, **options)
        return timed_beside_library(replacement, library, args, options, again, times)

    return switch


def timed_beside_library(
    replacement: Callable, library: Callable, args: tuple, options: dict, again: tuple,
    times: PlugTimes,
) -> Any:  # fmt: skip
    # first, so that what a layer remembers of its last call is of hers
    with watch.paused(), torch.random.fork_rng(devices=[]):
        began, watch.timing_library = time.process_time(), True
        try:
            library(*again[0], **again[1])
        finally:
            watch.timing_library = False
        times.library.append(time.process_time() - began)
    began, checked = time.process_time(), watch.checking
    result = replacement(*args, **options)
    times.own.append(time.process_time() - began - (watch.checking - checked))
    return result


def find_owner(target: str) -> tuple[Any, str]:
    """Give what holds a dotted name, a module, a class or an object, and the last part of it."""
    names = target.split(".")
    for end in range(len(names) - 1, 0, -1):
        try:
            owner = importlib.import_module(".".join(names[:end]))
        except ModuleNotFoundError:
            continue
        for name in names[end:-1]:
            owner = getattr(owner, name)
        return owner, names[-1]
    raise ValueError(f"{target} is nowhere to be found")


def replace_everywhere(old: Any, new: Any, only_in: str | None = None) -> None:
    """Let every name of the library that means `old` mean `new`, in tables of a module as well."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "course_lib" or only_in not in (None, name):
            continue
        tables = [thing for thing in vars(module).values() if type(thing) is dict]
        for table in [vars(module), *tables]:
            for key in [key for key, value in table.items() if value is old]:
                table[key] = new


@contextmanager
def put_in_place(plug: Plug, parts: Sequence[Part], times: PlugTimes) -> Iterator[None]:
    """Let the parts stand in the library for the length of a block."""
    owner, name = find_owner(plug.target)
    library, own = getattr(owner, name), name in vars(owner)
    switch = switched(plug, library, parts, times)
    is_module, put = isinstance(owner, types.ModuleType), set_attribute
    if plug.only_in is None:
        put(owner, name, switch)
    if is_module:
        replace_everywhere(library, switch, plug.only_in)
    try:
        yield
    finally:
        if is_module:
            replace_everywhere(switch, library)
        if plug.only_in is None and own:
            put(owner, name, library)
        elif plug.only_in is None:
            delattr(owner, name)


def set_attribute(owner: Any, name: str, value: Any) -> None:
    """Set an attribute of a class, a module or even a frozen object."""
    if isinstance(owner, type | types.ModuleType):
        setattr(owner, name, value)
    else:
        object.__setattr__(owner, name, value)
