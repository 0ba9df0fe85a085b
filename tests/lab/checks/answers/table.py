"""The committed tables of answers: per exercise three right ones and eight wrong ones, written from
the exercise's statement alone by somebody who hasn't read its checker.

Each lesson's module `tests/lab/checks/answers/<lab>.py` holds

    ANSWERS = {
        "scaled_scores": Answers(
            right=[einsum_scores, float64_scores, scores_of_lists],
            wrong=[Slip(unscaled, "nothing is divided", r"divid|scale|sqrt"), ...],
        ),
        ...
    }

`python -m tests.lab.checks.answers.table attention` prints what the checkers say of each answer.
"""

import contextlib
import functools
import importlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

LEAST_RIGHT, LEAST_WRONG = 3, 8
REFUSED, NAMED, ACCEPTED = 0.99, 0.75, 0.97  # the least shares over all tables


@dataclass(frozen=True)
class Slip:
    """A wrong answer: what is wrong with it in a few words, a pattern that a right reason matches
    (None if no checker could know it), and one that only a wrong reason matches."""

    answer: Any
    what: str
    named: str | None
    never: str | None = None


@dataclass(frozen=True)
class Answers:
    """The answers that one exercise's checker is tried on."""

    right: Sequence[Any]
    wrong: Sequence[Slip]


@dataclass(frozen=True)
class Outcome:
    """What a checker said of one answer; `slip` is None for a right one."""

    name: str
    slip: Slip | None
    status: str
    message: str

    @property
    def as_meant(self) -> bool:
        """Whether a right answer was accepted, or a wrong one refused."""
        return self.status == ("wrong" if self.slip else "ok")

    @property
    def is_named(self) -> bool:
        """Whether a wrong answer was told its reason."""
        return bool(self.slip and self.slip.named and self.tells(self.slip.named))

    @property
    def is_misled(self) -> bool:
        """Whether a wrong answer was told a reason that isn't its own."""
        return bool(self.slip and self.slip.never and self.tells(self.slip.never))

    def tells(self, pattern: str) -> bool:
        """Whether the message matches a pattern, in capital or small letters."""
        return self.status == "wrong" and bool(re.search(pattern, self.message, re.IGNORECASE))


def labs_with_tables() -> list[str]:
    """The lessons that have a table of answers."""
    here = Path(__file__)
    return sorted(path.stem for path in here.parent.glob("*.py") if path != here)


def table_of(lab: str) -> dict[str, Answers]:
    """The table of a lesson."""
    return importlib.import_module(f"tests.lab.checks.answers.{lab}").ANSWERS


def verdict_of(lab: str, exercise: str, answer: Any) -> tuple[str, str]:
    """The status and the message of an exercise's checker."""
    check = getattr(importlib.import_module(f"course_lib.lab.checks.{lab}"), exercise)
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        verdict = check(answer)
    return verdict.status, verdict.message


@functools.cache
def outcomes_of(lab: str) -> list[Outcome]:
    """What a lesson's checkers say of all answers in its table."""
    return [
        Outcome(f"{lab}.{exercise}, {what}", slip, *verdict_of(lab, exercise, answer))
        for exercise, answers in table_of(lab).items()
        for what, slip, answer in _answers(answers)
    ]


def _answers(answers: Answers) -> Iterator[tuple[str, Slip | None, Any]]:
    for i, answer in enumerate(answers.right, 1):
        yield f"right {i}", None, answer
    for slip in answers.wrong:
        yield f"wrong: {slip.what}", slip, slip.answer


def complaints(lab: str, checkers: dict[str, Callable]) -> list[str]:
    """What a lesson's table lacks."""
    table = table_of(lab)
    found = [f"{lab}.{name} is in no table" for name in checkers if name not in table]
    found += [f"{lab}.{name} has no checker" for name in table if name not in checkers]
    for name, answers in table.items():
        if len(answers.right) < LEAST_RIGHT or len(answers.wrong) < LEAST_WRONG:
            found.append(f"{lab}.{name}: {len(answers.right)} right, {len(answers.wrong)} wrong")
        if len({slip.what for slip in answers.wrong}) < len(answers.wrong):
            found.append(f"{lab}.{name}: two wrong answers go by the same words")
    return found


def summary(outcomes: Sequence[Outcome]) -> tuple[float, float, float]:
    """The shares of wrong answers refused and told their reason, and of right ones accepted."""
    wrong = [outcome for outcome in outcomes if outcome.slip]
    right = [outcome for outcome in outcomes if not outcome.slip]
    return (
        sum(outcome.as_meant for outcome in wrong) / max(1, len(wrong)),
        sum(outcome.is_named for outcome in wrong) / max(1, len(wrong)),
        sum(outcome.as_meant for outcome in right) / max(1, len(right)),
    )


def show(outcomes: Sequence[Outcome]) -> None:
    """Print what each answer was told, and the shares."""
    for outcome in outcomes:
        mark = "  " if outcome.as_meant else "! "
        named = "" if not outcome.slip or outcome.is_named else " (its reason is not told)"
        print(f"{mark}{outcome.name}: {outcome.status}{named}\n      {outcome.message}")
    told = "{:.1%} of wrong answers refused, {:.1%} told their reason, {:.1%} of right accepted"
    print(told.format(*summary(outcomes)))


if __name__ == "__main__":
    chosen = sys.argv[1:] or labs_with_tables()
    show([outcome for lab in chosen for outcome in outcomes_of(lab)])
