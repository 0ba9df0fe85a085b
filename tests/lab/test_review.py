"""The review asks what is due, from lessons that were begun, and says when to come back."""

from datetime import date, timedelta

import pytest

from course_lib.lab import progress, record, review
from course_lib.lab.question_bank import load_bank

TODAY = date(2026, 3, 1)
IN_03 = {question.key for question in load_bank() if question.lessons == ("03",)}


def kept(cards=None, **parts):
    cards = {
        key: {"box": box, "seen": str(TODAY - timedelta(days))}
        for key, (box, days) in (cards or {}).items()
    }
    return {part: {} for part in record.PARTS} | parts | {"cards": cards}


def due(told):
    return [question.key for question in review.due_questions(told, TODAY)]


@pytest.fixture
def live(tmp_path, monkeypatch):
    """A live notebook with a record of its own."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("COURSE_QUIET", raising=False)
    monkeypatch.setattr(progress, "live", lambda: True)


def test_who_has_done_nothing_is_asked_nothing():
    assert due(kept()) == []
    assert "begins with the first lesson" in review.next_day(kept(), TODAY)


def test_due_cards_come_first_then_the_open_questions_of_begun_lessons():
    cards = {"q-merge": (1, 1), "q-digits": (3, 9), "q-unknown": (2, 1), "q-mlp-wo": (1, 5)}
    told = kept(cards, quiz={key: {} for key in cards if key != "q-mlp-wo"})
    found = due(told)
    assert found[:3] == ["q-mlp-wo", "q-digits", "q-merge"] and "q-unknown" not in found
    assert set(found[3:]) == IN_03 - set(cards), "of 03 alone: of 07 only a card is known"


def test_an_exercise_begins_a_lesson_and_a_failed_one_does_not():
    done = kept(exercises={"bpe.merge_pair": {"done": True}, "mlp.x": {"done": False}})
    assert review.begun_lessons(done) == {"03"} and set(due(done)) == IN_03


def test_a_question_over_two_lessons_waits_for_both():
    over = next(question for question in load_bank() if len(question.lessons) > 1)
    homes = {question.home: question.key for question in load_bank() if len(question.lessons) == 1}
    begun = {homes[number]: {} for number in over.lessons}
    assert over.key in due(kept(quiz=begun))
    assert over.key not in due(kept(quiz={homes[over.home]: {}}))


def test_older_records_are_reviewed_too():
    told = kept(quiz={"q-merge": {"first": True}, "q-digits": {"first": False}})
    assert due(told)[:2] == ["q-digits", "q-merge"]


def test_a_question_that_the_course_no_longer_asks_is_left_out():
    assert due(kept({"q-of-another-course": (1, 9)})) == []


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"q-merge": (1, 0), "q-digits": (1, 0)}, "The next 2 questions are due on Monday, 02 Mar"),
        ({"q-merge": (3, 1), "q-digits": (4, 0)}, "The next question is due on Wednesday, 04 Mar"),
        ({"q-merge": (1, 8)}, "The next question is due today."),
    ],
)
def test_it_says_when_to_come_back(cards, words):
    said = review.next_day(kept(cards), TODAY).replace("1 question", "question")
    assert said.startswith(words)


def answer(page, place, right):
    radio = page.children[place].children[1]
    texts = {option.text: option.right for option in page.deck[place].options}
    radio.index = next(i for i, text in enumerate(radio.options) if texts[text] == right)


def test_a_deck_is_answered_and_the_next_one_asks_the_rest(live):
    record.update(lambda r: r["quiz"].update({q.key: {"first": True} for q in load_bank()[:14]}))
    page = review.page()
    assert len(page.deck) == review.N_DECK and len(page.children) == review.N_DECK + 1
    assert "0 of 10 answered" in page.said.value
    answer(page, 0, right=False)
    answer(page, 0, right=True)
    assert "1 of 10 answered, 0 right" in page.said.value, "the first answer counts"
    for place in range(1, 10):
        answer(page, place, right=True)
    assert "10 of 10 answered, 9 right" in page.said.value and "more are due" in page.said.value
    boxes = [record.load()["cards"][question.key]["box"] for question in page.deck]
    assert boxes == [1, *[3] * 9], "an older right answer was in box 2"
    following = review.page()
    assert not {q.key for q in following.deck} & {q.key for q in page.deck}


def test_a_finished_deck_says_when_the_next_is(live):
    record.note("quiz", "q-merge", first=True)
    page = review.page()
    for place in range(len(page.deck)):
        answer(page, place, right=True)
    assert len(page.deck) == len(IN_03) and "The next" in page.said.value
    assert "The next" in review.page().said.value and not review.page().deck


def test_in_stored_notebooks_a_sentence_stands_instead(monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")
    assert "needs a kernel" in review.page().data
