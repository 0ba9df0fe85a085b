"""The exam draws fairly, can be answered to the end, says which lessons to see again, and remembers
no more than it must."""

import json
from collections import Counter

import pytest
from bs4 import BeautifulSoup

from course_lib.lab import course_map, exam, exam_paper, progress
from course_lib.lab import record as record_file
from course_lib.lab.exam_paper import Sitting, draw, grade, ranks_by_record
from course_lib.lab.question_bank import Option, Question, load_bank

BANK = load_bank()
NOTHING = {"quiz": {}, "exam": {}}


def keys(questions):
    return [question.key for question in questions]


def made(key, *lessons):
    return Question(
        key, lessons, f"{key}?", (Option("yes", True, "it is"), Option("no", False, "it is not"))
    )


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A live notebook with a record of its own, in which buttons answer at once."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("COURSE_QUIET", raising=False)
    monkeypatch.setattr(progress, "live", lambda: True)
    monkeypatch.setattr(exam, "SOONEST", 0)
    return tmp_path / "progress.json"


# The draw
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_forty_different_questions_over_all_lessons(seed):
    drawn = draw(BANK, seed)
    assert len(set(keys(drawn))) == len(drawn) == exam_paper.N_QUESTIONS == 40
    homes = Counter(question.home for question in drawn)
    built = {lesson.number for lesson in course_map.lessons() if lesson.built}
    assert set(homes) == built and max(homes.values()) - min(homes.values()) <= 1


def test_a_seed_draws_the_same_and_another_seed_others():
    assert keys(draw(BANK, 3)) == keys(draw(BANK, 3))
    assert len(set(keys(draw(BANK, 3))) & set(keys(draw(BANK, 4)))) < 30
    reached = {key for seed in range(60) for key in keys(draw(BANK, seed))}
    assert reached == set(keys(BANK)), "no question is out of reach"


def test_the_draw_is_not_sorted_by_lesson():
    homes = [question.home for question in draw(BANK, 0)]
    assert homes != sorted(homes) and homes != sorted(homes, reverse=True)


@pytest.mark.parametrize("n", [0, -1, len(BANK) + 1])
def test_more_than_there_is_cannot_be_drawn(n):
    with pytest.raises(
        ValueError, match=f"{n} questions can't be drawn from a bank of {len(BANK)}"
    ):
        draw(BANK, 0, n)


def test_what_was_missed_or_never_answered_comes_first():
    bank = [made(f"{lesson}-{i}", lesson) for lesson in ("03", "04") for i in range(6)]
    right = {f"03-{i}": {"first": True} for i in range(4)} | {"03-4": {"first": False}}
    ranks = ranks_by_record(bank, {"quiz": right, "exam": {}})
    for seed in range(20):
        asked = keys(draw(bank, seed, 4, ranks))
        assert {"03-4", "03-5"} <= set(asked), "missed, and never answered"


def test_the_last_answer_counts_and_the_last_exam_is_not_asked_again():
    bank = [made(f"03-{i}", "03") for i in range(4)]
    sittings = {
        "0": {"keys": ["03-0", "03-1"], "answers": {"03-0": "yes", "03-1": "no"}, "done": True},
        "1": {"keys": ["03-2"], "answers": {"03-2": "no"}, "done": True},
    }
    told = {"quiz": {"03-0": {"first": False}, "03-1": {"first": True}}, "exam": sittings}
    ranks = ranks_by_record(bank, told)
    assert ranks == {
        "03-0": exam_paper.KNOWN,
        "03-1": exam_paper.OPEN,
        "03-2": exam_paper.JUST_ASKED,
        "03-3": exam_paper.OPEN,
    }
    assert all("03-2" not in keys(draw(bank, seed, 3, ranks)) for seed in range(10))


# The result
# --------------------------------------------------------------------------------------------------


def test_the_result_names_the_lessons_to_see_again():
    asked = [made("a", "03", "06"), made("b", "03", "09"), made("c", "06"), made("d", "07")]
    found = grade(asked, {"a": "yes", "b": "no", "c": "yes", "d": exam_paper.DONT_KNOW})
    assert (found.right, found.of) == (2, 4) and keys(found.missed) == ["b", "d"]
    assert found.by_lesson == {"03": (1, 2), "06": (2, 2), "07": (0, 1), "09": (0, 1)}
    assert found.see_again == ["07", "09", "03"]
    text = BeautifulSoup(exam.result_html(found, {"b": "no"}), "html.parser").get_text(" ")
    text = " ".join(text.split())
    assert "2 of 4 right." in text and "All right in: 06." in text.replace(" :", ":")
    assert "You said: no it is not" in text and "no answer" in text


def test_nothing_missed_sends_nobody_back():
    found = grade([made("a", "03")], {"a": "yes"})
    assert found.see_again == [] and "See again" not in exam.result_html(found, {"a": "yes"})


def test_what_a_reader_reads_is_escaped():
    evil = Question("q", ("03",), "<b>?", (Option("<i>", True, "&"), Option("x<", False, "<u>")))
    shown = exam.result_html(grade([evil], {"q": "x<"}), {"q": "x<"})
    assert "&lt;b&gt;?" in shown and "<u>" not in shown and "x&lt;" in shown


# The desk
# --------------------------------------------------------------------------------------------------


def answer_all(desk, right=True):
    for _ in range(len(desk.questions)):
        question = desk.questions[desk.at]
        places = [i for i, option in enumerate(question.options) if option.right == right]
        desk.options[places[0]].click()


def shown(button):
    return button.layout.display != "none"


def press(desk, name):
    (button,) = [b for b in (*desk.steps, desk.anew) if b.description.endswith(name)]
    assert shown(button)
    button.click()


def test_an_exam_is_answered_handed_in_and_kept(record):
    desk = exam.page()
    assert "Question 1 of 40 · 0 answered." in desk.shown.value and not record.exists()
    press(desk, "Hand in")
    assert "40 questions have no answer yet" in desk.shown.value
    answer_all(desk)
    assert "All are answered" in desk.shown.value and "40 answered" in desk.shown.value
    press(desk, "Hand in")
    assert "40 of 40 right" in desk.shown.value and not shown(desk.options[0])
    (entry,) = json.loads(record.read_text())["exam"].values()
    assert entry["done"] and len(entry["keys"]) == len(entry["answers"]) == 40


def test_an_answer_can_be_changed_until_it_is_handed_in(record):
    desk = exam.page()
    first = desk.questions[0]
    wrong = [i for i, option in enumerate(first.options) if not option.right][0]
    desk.options[wrong].click()
    press(desk, "Previous")
    assert "course-exam-chosen" in desk.options[wrong]._dom_classes
    assert desk.options[wrong].description == f"{wrong + 1} · {first.options[wrong].text}"
    desk.unknown.click()
    assert desk.sitting.answers[first.key] == exam_paper.DONT_KNOW
    press(desk, "Next")
    assert desk.at == 2


def test_a_double_click_answers_one_question(record, monkeypatch):
    monkeypatch.setattr(exam, "SOONEST", 60)
    desk = exam.page()
    desk._since -= 100
    desk.options[0].click()
    desk.options[0].click()
    assert len(desk.sitting.answers) == 1


def test_an_option_that_is_not_there_is_no_answer(record):
    desk = exam.page()
    desk.choose(len(desk.questions[0].options))
    assert desk.sitting.answers == {}


def test_one_that_was_begun_goes_on_where_it_was(record):
    before = exam.page()
    before.options[0].click()
    before.options[0].click()
    after = exam.page()
    assert keys(after.questions) == keys(before.questions) and after.at == 2
    assert after.sitting.answers == before.sitting.answers
    assert keys(exam.page(seed=17).questions) != keys(before.questions), "a seed draws anew"


def test_another_exam_asks_other_questions_and_later_what_was_missed(record):
    desk = exam.page()
    first = set(keys(desk.questions))
    answer_all(desk, right=False)
    press(desk, "Hand in")
    press(desk, "Another exam")
    second = set(keys(desk.questions))
    assert not first & second and desk.sitting.number == 1
    answer_all(desk)
    press(desk, "Hand in")
    press(desk, "Another exam")
    third = set(keys(desk.questions))
    assert not third & second and len(third & first) > 5, "what was missed comes back"


def test_without_a_record_it_works_as_well(record, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    monkeypatch.setattr(progress, "live", lambda: False)
    desk = exam.page()
    first = set(keys(desk.questions))
    assert keys(exam.page().questions) == keys(desk.questions)
    answer_all(desk)
    press(desk, "Hand in")
    press(desk, "Another exam")
    assert not first & set(keys(desk.questions)) and not record.exists()


ODD = [
    {},
    {"keys": 3, "answers": {}},
    {"keys": ["a"], "answers": ["a"]},
    {"keys": [1], "answers": {}},
    {"keys": ["q-of-another-course"], "answers": {}, "done": False},
    {"keys": [], "answers": {"a": 2}},
]


@pytest.mark.parametrize("entry", ODD)
@pytest.mark.parametrize("number", ["0", "first"])
def test_entries_that_make_no_sense_do_not_stop_an_exam(record, entry, number):
    record.write_text(json.dumps({"exercises": {}, "quiz": {}, "exam": {number: entry}}))
    desk = exam.page()
    desk.options[0].click()
    assert len(desk.questions) == 40 and len(desk.sitting.answers) == 1
    assert exam_paper.sittings_of(record_file.load())[-1].answers == desk.sitting.answers


def test_in_stored_notebooks_a_sentence_stands_instead(monkeypatch):
    monkeypatch.setenv("COURSE_QUIET", "1")
    assert "needs a kernel" in exam.page().data and "exam.html" in exam.page().data


# The book's form
# --------------------------------------------------------------------------------------------------


def test_the_form_holds_all_questions_and_shows_forty():
    text = exam.as_form(BANK)
    assert "\n" not in text, "a line of Markdown ends the HTML"
    form = BeautifulSoup(text, "html.parser")
    sets = form.find_all("fieldset")
    assert len(sets) == len(BANK) and sum(not part.has_attr("hidden") for part in sets) == 40
    for part in sets:
        assert len(part.find_all("input", attrs={"data-right": True})) == 1
        assert all(box.get_text(strip=True) for box in part.find_all("label"))
        assert all(said.has_attr("hidden") for said in part.find_all("p"))
    links = {link["href"] for link in form.find_all("a")}
    files = {f"notebooks/{row.file.replace('.ipynb', '.html')}" for row in course_map.lessons()}
    assert links <= files


def test_sittings_are_read_in_the_order_of_their_numbers():
    told = {str(i): {"keys": [], "answers": {}} for i in (10, 2, 1)}
    assert exam_paper.sittings_of({"exam": told}) == [Sitting(i, [], {}) for i in (1, 2, 10)]
