"""Cards move between Leitner's boxes as by hand, and what is urgent comes first."""

import math
from datetime import date, timedelta

import pytest

from course_lib.lab import cards
from course_lib.lab.cards import Card

TODAY = date(2026, 3, 1)
EMPTY = {"cards": {}, "quiz": {}}


def days_ago(n):
    return TODAY - timedelta(n)


def kept(**known):
    return EMPTY | {
        "cards": {key: {"box": box, "seen": str(days_ago(n))} for key, (box, n) in known.items()}
    }


def test_a_card_that_is_always_answered_when_due_comes_after_twice_as_many_days():
    record, day, asked = {"cards": {}, "quiz": {}}, TODAY, []
    for _ in range(7):
        cards.move(record, "q", True, day)
        asked.append((day - TODAY).days)
        day = cards.card_of(record, "q").due
    assert asked == [0, 2, 6, 14, 30, 46, 62], "after 2, 4, 8, 16, 16, 16 days"
    assert record["cards"]["q"]["box"] == 5


@pytest.mark.parametrize(
    ("box", "days", "right", "after"),
    [
        (1, 1, True, 2),
        (3, 4, True, 4),
        (3, 3, True, 3),  # too early to know
        (5, 16, True, 5),
        (4, 100, False, 1),
        (2, 0, False, 2),  # the second answer of a day
    ],
)
def test_a_move(box, days, right, after):
    record = kept(q=(box, days))
    cards.move(record, "q", right, TODAY)
    assert record["cards"]["q"] == {"box": after, "seen": "2026-03-01"}


def test_a_wrong_first_answer_stays_in_the_first_box():
    record = {"cards": {}, "quiz": {}}
    cards.move(record, "q", False, TODAY)
    assert record["cards"]["q"] == {"box": 1, "seen": "2026-03-01"}
    cards.move(record, "q", True, TODAY)
    assert record["cards"]["q"]["box"] == 1, "trying the others is no memory"
    assert cards.card_of(record, "q").due == date(2026, 3, 2)


def test_the_most_urgent_comes_first():
    record = kept(missed=(1, 3), long_ago=(5, 64), fresh=(1, 0), early=(4, 4), due=(2, 2))
    record["quiz"] = {"old_wrong": {"first": False}, "old_right": {"first": True}}
    names = ["never", "early", "fresh", "due", "missed", "long_ago", "old_right", "old_wrong"]
    assert cards.by_urgency(names, record, TODAY) == [
        "old_wrong",  # of an older record: nobody knows how long ago
        "old_right",
        "long_ago",  # 64 days of 16
        "missed",  # 3 days of 1
        "due",
        "never",
        "early",  # 4 days of 8
        "fresh",
    ]


def test_without_a_record_the_order_stays():
    assert cards.by_urgency("zya", EMPTY, TODAY) == ["z", "y", "a"]


@pytest.mark.parametrize(
    "entry", [{}, {"box": 99, "seen": "x"}, {"box": -1}, {"box": 3, "seen": "2030-01-01"}]
)
def test_a_card_that_makes_no_sense_is_due(entry):
    card = cards.card_of({"cards": {"q": entry}, "quiz": {}}, "q")
    assert 1 <= card.box <= 5 and card.overdue(TODAY) == math.inf and card.due


def test_a_card_without_a_day_is_due_at_once():
    assert Card(5, None).due < TODAY
