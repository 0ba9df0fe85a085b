"""The placement quiz asks no more than it must and sends each kind of reader to the right place."""

import pytest
from bs4 import BeautifulSoup

from course_lib.lab import course_map, exam, placement, progress, progress_page, record
from course_lib.lab.placement import find_standing, load_plan

PLAN = load_plan()
NUMBERS = [lesson.number for lesson in course_map.lessons() if lesson.number > "00"]


def take(knows):
    """Answer as a reader who knows some lessons; return the answers and where she stands."""
    answers = {}
    while (standing := find_standing(PLAN, answers)).following is not None:
        question = standing.following
        assert question.key not in answers, "asked twice"
        answers[question.key] = question.home in knows
    return answers, standing


def test_each_lesson_but_the_first_has_two_questions_of_its_own():
    assert list(PLAN) == NUMBERS
    for number, questions in PLAN.items():
        assert len({question.key for question in questions}) == 2
        assert {question.lessons for question in questions} == {(number,)}


def test_a_newcomer_answers_five_questions_and_begins_at_the_beginning():
    answers, standing = take(set())
    assert len(answers) == 5 and standing.skim == ()
    assert "Begin with" in placement.standing_html(standing, NUMBERS)
    assert "01 PyTorch" in placement.standing_html(standing, NUMBERS)


def test_who_knows_all_is_asked_all_and_may_skim_all():
    answers, standing = take(set(NUMBERS))
    assert len(answers) == 2 * len(NUMBERS) and list(standing.skim) == NUMBERS
    assert "You may skim every lesson" in placement.standing_html(standing, NUMBERS)


def test_gaps_are_found_and_the_family_tree_does_not_end_it():
    knows = set(NUMBERS) - {"03", "14", "15", "16", "17"}
    answers, standing = take(knows)
    assert set(standing.skim) == knows and standing.read == ("03", "14", "15", "16", "17")
    assert len(answers) == 2 * len(knows) + 5
    told = placement.standing_html(standing, NUMBERS)
    assert told.index("03 Byte-pair") < told.index("You may skim") < told.index("01 PyTorch")


def test_five_unknown_lessons_in_a_row_end_it():
    answers, standing = take({"01", "02", "05", "11", "12"})
    assert standing.skim == ("01", "02", "05") and standing.read[-1] == "10"


def test_one_right_and_one_wrong_is_not_known():
    first, second = PLAN["01"]
    assert find_standing(PLAN, {first.key: True}).following == second
    standing = find_standing(PLAN, {first.key: True, second.key: False})
    assert standing.read == ("01",) and standing.following == PLAN["02"][0]


# The desk
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """The quiz in a live notebook with a record of its own, in which buttons answer at once."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("COURSE_QUIET", raising=False)
    monkeypatch.setattr(progress, "live", lambda: True)
    monkeypatch.setattr(placement, "SOONEST", 0)
    return placement.page()


def press(desk, right):
    options = desk.question.options
    desk.options[[option.right for option in options].index(right)].click()


def test_the_desk_goes_through_it_and_the_page_of_progress_knows(desk):
    for right in (True, True, True, False):  # 01 is known, 02 is not
        press(desk, right)
    assert desk.question.home == "03" and "Lesson 03" in desk.shown.value
    desk.unknown.click()
    for _ in range(3):
        press(desk, False)
    assert desk.question is None and desk.end.layout.display == "none"
    assert "Begin with" in desk.shown.value and "02 Data collection" in desk.shown.value
    known = {number: entry["known"] for number, entry in record.load()["placement"].items()}
    assert known == {"01": True, "02": False, "03": False, "04": False, "05": False, "06": False}
    table = progress_page.page().table.value
    assert "PyTorch in twenty minutes (you may skim it)" in table and table.count("skim it") == 1


def test_it_can_be_stopped(desk):
    press(desk, True)
    press(desk, True)
    press(desk, True)
    desk.end.click()
    assert record.load()["placement"] == {"01": {"known": True}}, "half an answer says nothing"
    assert "Begin with" in desk.shown.value and "02 Data collection" in desk.shown.value
    desk.options[0].click()
    assert desk.question is None


def test_a_double_click_and_an_option_that_is_not_there_are_no_answers(desk, monkeypatch):
    desk.choose(len(desk.question.options))
    assert desk.answers == {}
    monkeypatch.setattr(placement, "SOONEST", 60)
    desk.unknown.click()
    assert desk.answers == {}


def test_in_stored_notebooks_a_sentence_stands_instead(monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")
    assert "needs a kernel" in placement.page().data and "placement.html" in placement.page().data


def test_a_lesson_that_names_what_it_does_not_ask_is_told(monkeypatch):
    lesson = course_map.Lesson("03", "byte_pair_encoding", "", "", 0, (), 0, "", placement=("q",))
    monkeypatch.setattr(course_map, "lessons", lambda: (lesson,))
    with pytest.raises(ValueError, match="lesson 03 does not ask q"):
        load_plan()


def test_the_form_holds_all_questions_hidden():
    text = placement.as_form(PLAN)
    assert "\n" not in text, "a line of Markdown ends the HTML"
    form = BeautifulSoup(text, "html.parser")
    sets = form.find_all("fieldset")
    assert [part["data-lessons"] for part in sets] == [n for n in NUMBERS for _ in range(2)]
    assert all(part.has_attr("hidden") for part in sets)
    assert form.div["data-enough"] == str(placement.ENOUGH) == "5"


def test_an_exam_moves_the_cards_of_its_questions(desk, monkeypatch):
    monkeypatch.setattr(exam, "SOONEST", 0)
    sitting = exam.page()
    for place, question in enumerate(sitting.questions):
        right = place % 2 == 0
        sitting.options[[option.right for option in question.options].index(right)].click()
    assert record.load()["cards"] == {}
    sitting.hand_in()
    boxes = {key: card["box"] for key, card in record.load()["cards"].items()}
    assert boxes == {q.key: 2 - place % 2 for place, q in enumerate(sitting.questions)}
