"""Judge an answer by all its results together: a slip is named only if it gives every one of
them."""

from collections.abc import Callable, Sequence
from typing import Any

from course_lib.lab.checks.compare import Wrong, expect

Slip = tuple[Callable[..., Any], str]  # a typical wrong answer, and the sentence it deserves


def judge_by_slips(
    answer: Callable[..., Any],
    cases: Sequence[tuple],
    truth: Callable[..., Any],
    slips: Sequence[Slip],
    called: Callable[..., str],
    tolerance: float = 1e-5,
    plain: Callable[[Any], Any] = lambda got: got,
) -> None:
    """Call the answer, mostly the judge's `attempt`, on all cases; raise `Wrong` unless each result
    is the truth's.

    Where the results are those of a slip, on every case, its sentence is told; else the first
    result that differs. A call that stops with an error ends the cases, and is told if nothing is
    wrong before it. `called(*case)` names a case, `plain` may turn a result into a simpler
    container before it is compared.
    """
    results, stopped = [], None
    for case in cases:
        try:
            results.append(plain(answer(*case)))
        except Wrong as reason:
            stopped = reason
            break
    tried = cases[: len(results)]
    wanted = [truth(*case) for case in tried]
    if not all_equal(results, wanted, tolerance):
        for slip, sentence in slips:
            if all_equal(results, results_of(slip, tried), tolerance):
                raise Wrong(sentence)
    for got, want, case in zip(results, wanted, tried, strict=True):
        expect(got, want, called(*case), tolerance)
    if stopped:
        raise stopped


def results_of(function: Callable[..., Any], cases: Sequence[tuple]) -> list[Any]:
    """The function's results; where it fails stands what equals nothing."""
    results = []
    for case in cases:
        try:
            results.append(function(*case))
        except Exception:
            results.append(object())
    return results


def all_equal(results: Sequence[Any], wanted: Sequence[Any], tolerance: float = 1e-5) -> bool:
    """Tell whether `expect` finds no difference between any two."""
    try:
        for got, want in zip(results, wanted, strict=True):
            expect(got, want, "it", tolerance)
    except Exception:
        return False
    return True
