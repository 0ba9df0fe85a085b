"""When a question comes back: five boxes of cards, Leitner's system.

A question that was answered is a card in a box. Answered rightly when it is due, the card moves to
the next box; answered wrongly, it goes back to the first. A card of box 1 is due after a day, then
after 2, 4, 8 and 16 days.

Sources: S. Leitner, So lernt man lernen, 1972 (the boxes, and that a wrong answer leads back to the
first); B. Settles and B. Meeder, A trainable spaced repetition model for language learning, ACL
2016, section 2 (the days that double).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from course_lib.lab.record import Record

DAYS = (1, 2, 4, 8, 16)  # until a card of box 1, 2, ... is due
NEVER_ASKED = 1.0  # as urgent as a card that is due today, behind those that wait


@dataclass(frozen=True)
class Card:
    """A question's box, from 1 on, and the day of its last answer; None where nobody knows it."""

    box: int
    seen: date | None

    @property
    def due(self) -> date:
        """The day from which on the question is to be asked again."""
        return self.seen + timedelta(DAYS[self.box - 1]) if self.seen else date.min

    def overdue(self, today: date) -> float:
        """How long it has not been asked, in units of what its box allows: from 1 on it is due.

        A day that lies ahead is that of a wrong clock, and counts as unknown.
        """
        if self.seen is None or self.seen > today:
            return math.inf
        return (today - self.seen).days / DAYS[self.box - 1]

    def moved(self, right: bool, today: date) -> "Card":
        """The card after an answer; of one day the first answer counts.

        >>> Card(2, date(2026, 1, 1)).moved(True, date(2026, 1, 3)).box
        3
        """
        if self.seen == today:
            return self
        if not right:
            return Card(1, today)
        further = self.overdue(today) >= 1
        return Card(min(self.box + further, len(DAYS)), today)


def card_of(record: Record, key: str) -> Card | None:
    """A question's card, or None where it was never answered.

    Older records know the first answer, not its day: such a card is in box 1 or 2, and long due.
    """
    entry = record["cards"].get(key)
    if entry is None:
        answer = record["quiz"].get(key)
        return None if answer is None else Card(2 if answer.get("first") else 1, None)
    try:
        seen = date.fromisoformat(entry.get("seen", ""))
    except ValueError:
        seen = None
    return Card(min(max(entry.get("box", 1), 1), len(DAYS)), seen)


def move(record: Record, key: str, right: bool, today: date | None = None) -> None:
    """Move a question's card in the record, after an answer; a new one begins in box 1."""
    today = today or date.today()
    card = (card_of(record, key) or Card(1, None)).moved(right, today)
    record["cards"][key] = {"box": card.box, "seen": card.seen.isoformat()}


def by_urgency(keys: Iterable[str], record: Record, today: date | None = None) -> list[str]:
    """Sort questions: what was missed, or not met for longest by what its box allows, comes first.

    Those never asked stand between what is due and what is not. The rest is left as it is.
    """
    today = today or date.today()

    def urgency(key: str) -> tuple[float, int]:
        card = card_of(record, key)
        return (-card.overdue(today), card.box) if card else (-NEVER_ASKED, len(DAYS) + 1)

    return sorted(keys, key=urgency)
