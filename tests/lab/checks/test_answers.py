"""Checkers judge the answers of people who have not read them: over all tables at least 99 % of
wrong answers are refused, 75 % told their reason, none a wrong one, 97 % of right ones accepted."""

import importlib

import pytest

from tests.lab.checks.answers import table
from tests.lab.checks.answers.table import Answers, Slip
from tests.lab.checks.cases import public_checkers
from tests.lab.checks.mutants import all_labs

LABS = table.labs_with_tables()
# lessons whose table is not written yet
NO_TABLE: set[str] = set()
# Misses that stand, by name: "lab.exercise, right 1" or "lab.exercise, wrong: its words", and why.
KNOWN_MISSES: dict[str, str] = {}


def test_every_lesson_has_a_table_or_is_named():
    assert set(LABS) | NO_TABLE == set(all_labs())
    assert not set(LABS) & NO_TABLE, "written since: take it from NO_TABLE"


@pytest.mark.parametrize("lab", LABS)
def test_the_table_is_complete(lab):
    checkers = public_checkers(importlib.import_module(f"course_lib.lab.checks.{lab}"))
    assert table.complaints(lab, checkers) == []


@pytest.mark.parametrize("lab", LABS)
def test_every_verdict_is_right_and_no_reason_is_wrong(lab):
    missed = {
        outcome.name: outcome.message
        for outcome in table.outcomes_of(lab)
        if not outcome.as_meant or outcome.is_misled
    }
    known = {name for name in KNOWN_MISSES if name.startswith(f"{lab}.")}
    assert {name: text for name, text in missed.items() if name not in known} == {}
    assert known <= missed.keys(), "judged rightly by now: take it from KNOWN_MISSES"


def test_the_shares_over_all_tables(capsys):
    outcomes = [outcome for lab in LABS for outcome in table.outcomes_of(lab)]
    if not outcomes:
        pytest.skip("no table is written yet")
    refused, named, accepted = table.summary(outcomes)
    unnamed = [o.name for o in outcomes if o.slip and o.as_meant and not o.is_named]
    with capsys.disabled():
        print(
            f"\nanswers: {len(outcomes)}; {refused:.1%} of wrong refused, {named:.1%} told their"
            f" reason, {accepted:.1%} of right accepted"
        )
    assert refused >= table.REFUSED and accepted >= table.ACCEPTED
    assert named >= table.NAMED, f"not told their reason: {unnamed}"


def test_misses_are_counted(monkeypatch):
    def wrong(chances):
        return 3

    wanted = Slip(wrong, "three", "expected")
    misled = Slip(wrong, "three again", "nonsense", never="expected")
    accepted = Slip(lambda chances: two_bits(chances), "right after all", "expected")
    answers = Answers(right=[two_bits, wrong], wrong=[wanted, misled, accepted])
    monkeypatch.setattr(table, "table_of", lambda lab: {"bits": answers, "gone": answers})
    table.outcomes_of.cache_clear()
    monkeypatch.setattr(table, "verdict_of", lambda lab, name, answer: judged(answer))
    outcomes = table.outcomes_of("start")[:5]
    table.outcomes_of.cache_clear()
    assert [outcome.as_meant for outcome in outcomes] == [True, False, True, True, False]
    assert [outcome.is_misled for outcome in outcomes] == [False, False, False, True, False]
    assert table.summary(outcomes) == (2 / 3, 1 / 3, 1 / 2)
    found = "\n".join(table.complaints("start", {"bits": None, "sharpen": None}))
    assert "sharpen is in no table" in found and "gone has no checker" in found
    assert "2 right, 3 wrong" in found


def two_bits(chances):
    return 2


def judged(answer):
    return ("ok", "right.") if answer([0.25]) == 2 else ("wrong", "got 3, expected 2")
