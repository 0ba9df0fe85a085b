"""Each lesson begins with two questions of earlier lessons: those that were missed, or not met for
longest."""

from datetime import date, timedelta

import pytest

from course_lib.lab import course_map, progress, quiz, recall, record

TODAY = date.today()
LATER = [lesson.number for lesson in course_map.lessons() if lesson.number > "00"]


def kept(**known):
    cards = {
        f"q-{key}": {"box": box, "seen": str(TODAY - timedelta(days))}
        for key, (box, days) in known.items()
    }
    return {part: {} for part in record.PARTS} | {"cards": cards}


def keys(questions):
    return [question.key for question in questions]


@pytest.mark.parametrize("number", LATER)
def test_without_a_record_two_fixed_questions_of_two_earlier_lessons_are_asked(number):
    found = recall.recall_questions(number, kept())
    assert tuple(keys(found)) == course_map.lesson(number).recall and len(set(keys(found))) == 2
    assert all(question.home < number for question in found)


def test_the_fixed_questions_differ_from_lesson_to_lesson():
    named = [course_map.lesson(number).recall for number in LATER]
    assert len(set(named)) == len(named)
    assert max(sum(key in both for both in named) for both in named for key in both) <= 2


def test_what_was_missed_or_is_long_unseen_comes_first():
    told = kept(merge=(5, 160), digits=(1, 3), unknown=(1, 0), zero=(5, 10))
    assert keys(recall.recall_questions("06", told)) == ["q-merge", "q-digits"]
    told = kept(zero=(1, 0), keepdim=(2, 1))
    fixed = list(course_map.lesson("06").recall)
    assert keys(recall.recall_questions("06", told)) == fixed, "nothing else is due"


def test_nothing_of_a_lesson_to_come_is_asked():
    told = kept(**{"attention-after": (1, 99), "mlp-wo": (1, 99), "merge": (1, 99)})
    first = course_map.lesson("06").recall[0]
    assert keys(recall.recall_questions("06", told)) == ["q-merge", first]
    assert set(keys(recall.recall_questions("07", told))) == {"q-merge", "q-attention-after"}


def test_a_lesson_that_recalls_what_nobody_asked_is_told(monkeypatch):
    lesson = course_map.Lesson("06", "", "", "", 0, (), 0, "", recall=("q-mlp-wo",))
    monkeypatch.setattr(course_map, "lesson", lambda number: lesson)
    with pytest.raises(ValueError, match="lesson 06 recalls q-mlp-wo: no earlier lesson asks it"):
        recall.recall_questions("06", kept())


def test_an_answer_moves_the_card_and_is_no_first_try_of_the_lesson(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(progress, "live", lambda: True)
    shown, real_box = [], quiz.as_box
    monkeypatch.setattr(quiz, "as_box", lambda *told: shown.append(told) or real_box(*told))
    monkeypatch.setattr(quiz, "display", lambda bundle, raw: None)
    recall.ask("06")
    (_, _, first, about), (_, _, second, _) = shown
    assert about == "Lesson 01: PyTorch in twenty minutes"
    first(False)
    first(True)  # the other options, out of curiosity
    second(True)
    today = str(TODAY)
    assert record.load()["cards"] == {
        "q-einsum": {"box": 1, "seen": today},
        "q-embedding-bag": {"box": 2, "seen": today},
    }
    assert record.load()["quiz"] == {}


def test_the_text_says_what_is_asked():
    assert [text.splitlines()[0] for text in recall.as_stored("06")] == [
        question.text for question in recall.recall_questions("06", kept())
    ]
    assert all(text.count("  ( ) ") == 3 for text in recall.as_stored("06"))
