"""Judge an answer by all its results together: a slip is named only if it gives every one of
them."""

from collections.abc import Callable, Sequence
from typing import Any

from course_lib.lab.checks.core import Attempt, Wrong, expect

Slip = tuple[Callable[..., Any], str]  # a typical wrong answer, and the sentence it deserves


def judge_by_slips(
    attempt: Attempt,
    cases: Sequence[tuple],
    truth: Callable[..., Any],
    slips: Sequence[Slip],
    called: Callable[..., str],
    plain: Callable[[Any], Any] = lambda got: got,
) -> None:
    """Call the learner's function on all cases; raise `Wrong` unless each result is the truth's.

    Where the results are those of a slip, on every case, its sentence is told; else the first
    result that differs. A call that stops with an error ends the cases, and is told if nothing is
    wrong before it. `called(*case)` names a case, `plain` may turn a result into a simpler
    container before it is compared.
    """
    results, stopped = [], None
    for case in cases:
        try:
            results.append(plain(attempt(*case)))
        except Wrong as reason:
            stopped = reason
            break
    tried = cases[: len(results)]
    wanted = [truth(*case) for case in tried]
    if all(map(is_equal, results, wanted)):
        if stopped:
            raise stopped
        return
    for slip, sentence in slips:
        if all(map(is_equal, results, results_of(slip, tried))):
            raise Wrong(sentence)
    for got, want, case in zip(results, wanted, tried, strict=True):
        expect(got, want, called(*case), tolerance=1e-6)


def results_of(function: Callable[..., Any], cases: Sequence[tuple]) -> list[Any]:
    """The function's results; what it can't do counts as no result that anybody has."""
    results = []
    for case in cases:
        try:
            results.append(function(*case))
        except Exception:
            results.append(object())
    return results


def is_equal(got: Any, want: Any) -> bool:
    """Whether `expect` would take one for the other."""
    try:
        expect(got, want, "", tolerance=1e-6)
    except Exception:
        return False
    return True
