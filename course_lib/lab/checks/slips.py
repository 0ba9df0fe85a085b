"""Judge an answer by all its results together: a slip is named only if it gives every one of
them."""

from collections.abc import Callable, Sequence
from typing import Any

from course_lib.lab.checks.compare import Wrong, expect

Slip = tuple[Callable[..., Any], str]  # a typical wrong answer, and the sentence it deserves
SlipTable = Callable[..., Sequence[tuple[Any, str]]]  # what each slip gives for one case


def judge_by_slips(
    answer: Callable[..., Any],
    cases: Sequence[tuple],
    truth: Callable[..., Any],
    slips: Sequence[Slip] | SlipTable,
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

    `slips` pairs functions with sentences. Where they share their sums, it is one function instead:
    for a case it gives pairs of result and sentence, in the same order for every case.
    """
    results, stopped = _until_error(answer, cases, plain)
    _name_slip(results, cases, truth, slips, tolerance)
    for got, case in zip(results, cases, strict=False):
        expect(got, truth(*case), called(*case), tolerance)
    if stopped:
        raise stopped


def name_slip(
    answer: Callable[..., Any],
    cases: Sequence[tuple],
    truth: Callable[..., Any],
    slips: Sequence[Slip] | SlipTable,
    tolerance: float = 1e-5,
    plain: Callable[[Any], Any] = lambda got: got,
) -> None:
    """Do the first half of `judge_by_slips`: raise `Wrong` if a slip explains all the results, and
    leave every other fault to the judge."""
    results, _ = _until_error(answer, cases, plain)
    _name_slip(results, cases, truth, slips, tolerance)


def _until_error(
    answer: Callable[..., Any], cases: Sequence[tuple], plain: Callable[[Any], Any]
) -> tuple[list[Any], Wrong | None]:
    """The answer's results up to the first call that stops with an error, and that error."""
    results = []
    for case in cases:
        try:
            results.append(plain(answer(*case)))
        except Wrong as reason:
            return results, reason
    return results, None


def _name_slip(
    results: Sequence[Any],
    cases: Sequence[tuple],
    truth: Callable[..., Any],
    slips: Sequence[Slip] | SlipTable,
    tolerance: float,
) -> None:
    tried = cases[: len(results)]
    if all_equal(results, results_of(truth, tried), tolerance):
        return
    for given, sentence in _given_by(slips, tried):
        if all_equal(results, given, tolerance):
            raise Wrong(sentence)


def _given_by(
    slips: Sequence[Slip] | SlipTable, cases: Sequence[tuple]
) -> list[tuple[list[Any], str]]:
    """Pair all results of each slip with its sentence, where that differs, the first case's."""
    if not callable(slips):
        return [(results_of(slip, cases), sentence) for slip, sentence in slips]
    rows = zip(*(slips(*case) for case in cases), strict=True)
    return [([given for given, _ in row], row[0][1]) for row in rows]


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
