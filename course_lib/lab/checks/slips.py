"""Try a learner's answer on several inputs, and name a slip only if it explains every result."""

from collections.abc import Callable, Sequence
from typing import Any

from course_lib.lab.checks.compare import Wrong, expect

Slip = tuple[Callable[..., Any], str]  # a typical wrong answer, and what to say about it


def try_on_inputs(
    answer: Callable[..., Any],
    inputs: Sequence[tuple],
    truth: Callable[..., Any],
    slips: Sequence[Slip],
    what: Callable[..., str],
    tolerance: float = 1e-5,
) -> None:
    """Raise `Wrong` unless the answer equals `truth(*args)` for all `args` of the inputs.

    A slip's sentence is told only if the slip gives what the wrong answer gave on every input; else
    the first difference is told, as that of `what(*args)`. `answer` is mostly the judge's
    `attempt`.
    """
    calls = [(args, answer(*args)) for args in inputs]
    wants = [truth(*args) for args in inputs]
    if not all(equals(got, want, tolerance) for (_, got), want in zip(calls, wants, strict=True)):
        for slip, sentence in slips:
            if explains(slip, calls, tolerance):
                raise Wrong(sentence)
    for (args, got), want in zip(calls, wants, strict=True):
        expect(got, want, what(*args), tolerance)


def explains(
    slip: Callable[..., Any], calls: Sequence[tuple[tuple, Any]], tolerance: float
) -> bool:
    """Tell whether a slip gives the result of every call; one that fails somewhere does not."""
    try:
        return all(equals(got, slip(*args), tolerance) for args, got in calls)
    except Exception:
        return False


def equals(got: Any, want: Any, tolerance: float = 1e-5) -> bool:
    """Tell whether `expect` finds no difference."""
    try:
        expect(got, want, "it", tolerance)
    except Exception:
        return False
    return True
