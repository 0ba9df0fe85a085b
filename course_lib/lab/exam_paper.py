"""The exam without its desk: which questions are drawn, what the record keeps of a sitting, and
what an answered exam says."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from course_lib.lab import progress, record
from course_lib.lab.question_bank import Question

N_QUESTIONS = 40
DONT_KNOW = "I don't know"
OPEN, KNOWN, JUST_ASKED = range(3)  # ranks, in the order in which questions are drawn


@dataclass
class Sitting:
    """One exam of a reader: the questions' keys, and the text of the option chosen for each."""

    number: int
    keys: list[str]
    answers: dict[str, str] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True)
class ExamResult:
    """How many of how many were right, in all and for each lesson, and what was missed."""

    right: int
    of: int
    by_lesson: dict[str, tuple[int, int]]
    missed: tuple[Question, ...]

    @property
    def see_again(self) -> list[str]:
        """The lessons in which something was missed, that with the largest share first."""
        shares = {n: right / of for n, (right, of) in self.by_lesson.items() if right < of}
        return sorted(shares, key=lambda number: (shares[number], number))


def draw(
    bank: Sequence[Question],
    seed: int,
    n: int = N_QUESTIONS,
    ranks: Mapping[str, int] | None = None,
) -> list[Question]:
    """Draw `n` different questions, one of each lesson, then a second one, and so on.

    Within a lesson those of lower rank come first (see `ranks_by_record`), else it is left to the
    seed. Raises ValueError where the bank has fewer questions.
    """
    if not 0 < n <= len(bank):
        raise ValueError(f"{n} questions can't be drawn from a bank of {len(bank)}")
    dice, ranks = random.Random(seed), ranks or {}
    pool = dice.sample(list(bank), len(bank))
    pool.sort(key=lambda question: ranks.get(question.key, OPEN))
    seen, turn = Counter(), {}
    for question in pool:
        turn[question.key] = seen[question.home]
        seen[question.home] += 1
    drawn = sorted(pool, key=lambda question: turn[question.key])[:n]
    dice.shuffle(drawn)
    return drawn


def ranks_by_record(bank: Sequence[Question], kept: Mapping[str, dict]) -> dict[str, int]:
    """Rank questions for the next exam: missed or never answered, answered rightly, and those of
    the last exam, which are not asked twice in a row."""
    known = {key: bool(entry.get("first")) for key, entry in kept["quiz"].items()}
    sittings = sittings_of(kept)
    for sitting in sittings:
        for question in bank:
            if question.key in sitting.answers:
                chosen = question.chosen(sitting.answers[question.key])
                known[question.key] = bool(chosen and chosen.right)
    ranks = {question.key: KNOWN if known.get(question.key) else OPEN for question in bank}
    return ranks | dict.fromkeys(sittings[-1].keys if sittings else [], JUST_ASKED)


def sittings_of(kept: Mapping[str, dict]) -> list[Sitting]:
    """Read the sittings out of a record of progress, in order; what makes no sense is left out."""
    found = []
    for number, entry in kept["exam"].items():
        keys, answers = entry.get("keys"), entry.get("answers")
        if number.isdecimal() and _are_texts(keys, list) and _are_texts(answers, dict):
            found.append(Sitting(int(number), keys, answers, bool(entry.get("done"))))
    return sorted(found, key=lambda sitting: sitting.number)


def _are_texts(thing: object, kind: type) -> bool:
    if not isinstance(thing, kind):
        return False
    texts = thing.values() if kind is dict else thing
    return all(isinstance(text, str) for text in texts)


def keep_sitting(sitting: Sitting) -> None:
    """Keep a sitting in the record of progress, where there is one."""
    if progress.live():
        facts = {"keys": sitting.keys, "answers": sitting.answers, "done": sitting.done}
        record.note("exam", str(sitting.number), **facts)


def next_sitting(bank: Sequence[Question], seed: int | None = None) -> Sitting:
    """Give the sitting that was begun and not handed in, or a new one.

    Without a `seed` it is the number of the sitting; with one, a new exam is drawn in any case.
    """
    kept = record.load()
    sittings = sittings_of(kept)
    last = sittings[-1] if sittings else None
    known = {question.key for question in bank}
    if seed is None and last and not last.done and last.keys and known.issuperset(last.keys):
        return last
    number = last.number + 1 if last else 0
    ranks = ranks_by_record(bank, kept)
    drawn = draw(bank, number if seed is None else seed, min(N_QUESTIONS, len(bank)), ranks)
    return Sitting(number, [question.key for question in drawn])


def grade(questions: Sequence[Question], answers: Mapping[str, str]) -> ExamResult:
    """Say what was right; a question counts for each lesson that it names."""
    asked, right, missed = Counter(), Counter(), []
    for question in questions:
        chosen = question.chosen(answers.get(question.key))
        is_right = bool(chosen and chosen.right)
        asked.update(question.lessons)
        right.update(question.lessons if is_right else ())
        missed += [] if is_right else [question]
    by_lesson = {number: (right[number], asked[number]) for number in sorted(asked)}
    n = len(questions)
    return ExamResult(n - len(missed), n, by_lesson, tuple(missed))
