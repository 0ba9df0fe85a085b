"""A record is carried away and back without loss: merging adds, and takes nothing away."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.lab import progress_page, record, record_copies
from course_lib.lab.progress_page import EXPORT, IMPORT, NOT_SURE, RESET, SURE

EMPTY = {part: {} for part in record.PARTS}
KEYS = st.sampled_from(["a", "b", "c"])


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The file of a record that holds one exercise; the working folder is another one."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    record.note("exercises", "bpe.one", done=True, how="alone", tries=3)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "progress.json"


def entries(**facts):
    return st.dictionaries(KEYS, st.fixed_dictionaries({}, optional=facts))


def sittings():
    asked = st.sampled_from([["a", "b"], ["b", "c"]])
    answers = st.dictionaries(KEYS, st.sampled_from(["x", "y"]))
    sitting = st.fixed_dictionaries({"keys": asked, "answers": answers, "done": st.booleans()})
    return st.lists(sitting, max_size=3).map(lambda made: {str(i): s for i, s in enumerate(made)})


HOW = st.sampled_from(progress_page.HOW)
CARD = {"box": st.integers(1, 5), "seen": st.dates().map(str)}
RECORDS = st.fixed_dictionaries(
    {
        "exercises": entries(done=st.booleans(), tries=st.integers(0, 9), how=HOW),
        "quiz": entries(first=st.booleans(), tries=st.integers(0, 9), lesson=KEYS),
        "numbers": entries(value=st.integers(0, 9)),
        "exam": sittings(),
        "cards": st.dictionaries(KEYS, st.fixed_dictionaries(CARD)),
        "placement": entries(known=st.booleans()),
    },
    optional={"of a newer course": entries(value=st.integers(0, 9))},
)


def exams_in(merged, sitting):
    """The exams of a merged record that hold every answer of this one."""
    return [
        each
        for each in merged["exam"].values()
        if each["keys"] == sitting["keys"]
        and each["answers"].items() >= sitting["answers"].items()
        and each["done"] >= sitting["done"]
    ]


@given(RECORDS, RECORDS)
def test_nothing_of_either_record_is_lost(mine, theirs):
    before = json.dumps([mine, theirs])
    merged, _ = record_copies.merge_records(mine, theirs)
    assert json.dumps([mine, theirs]) == before, "neither is changed"
    for one in (mine, theirs):
        assert one.keys() <= merged.keys()
        for part in one.keys() - {"exam"}:
            for key, entry in one[part].items():
                assert entry.keys() <= merged[part][key].keys()
        assert all(exams_in(merged, sitting) for sitting in one["exam"].values())
    for key in mine["exercises"].keys() & theirs["exercises"].keys():
        both = [one["exercises"][key] for one in (mine, theirs)]
        assert merged["exercises"][key].get("done", 0) == max(e.get("done", 0) for e in both)
        assert merged["exercises"][key].get("tries", 0) == max(e.get("tries", 0) for e in both)
    for key in mine["cards"].keys() & theirs["cards"].keys():
        days = [one["cards"][key]["seen"] for one in (mine, theirs)]
        assert merged["cards"][key]["seen"] == max(days)


@given(RECORDS, RECORDS)
def test_what_is_mine_stays_where_both_differ(mine, theirs):
    merged, kept = record_copies.merge_records(mine, theirs)
    differ = 0
    for part, name in (("exercises", "how"), ("quiz", "first"), ("quiz", "lesson")):
        for key, entry in mine[part].items():
            if name in entry:
                assert merged[part][key][name] == entry[name]
                differ += theirs[part].get(key, {}).get(name, entry[name]) != entry[name]
    for part in ("numbers", "of a newer course"):
        for key, entry in mine.get(part, {}).items():
            other = theirs.get(part, {}).get(key, {})
            differ += bool(entry and other) and entry != other
    assert kept == differ


@given(RECORDS, RECORDS)
def test_a_second_import_of_the_same_changes_nothing(mine, theirs):
    once, _ = record_copies.merge_records(mine, theirs)
    assert record_copies.merge_records(once, theirs)[0] == once
    assert record_copies.merge_records(EMPTY, mine)[0] == EMPTY | {
        **mine,
        "exam": record_copies.merge_sittings({}, mine["exam"]),
    }


def test_of_two_answers_of_a_day_the_wrong_one_counts():
    one, other = ({"box": box, "seen": "2026-01-02"} for box in (3, 1))
    assert record_copies.merge_entries(one, other)[0] == other
    assert record_copies.merge_entries(other, one)[0] == other


def test_an_exam_carried_further_replaces_its_beginning_and_another_one_is_added():
    begun = {"keys": ["a", "b"], "answers": {"a": "x"}, "done": False}
    done = {"keys": ["a", "b"], "answers": {"a": "x", "b": "y"}, "done": True}
    other = {"keys": ["a", "b"], "answers": {"a": "y", "b": "y"}, "done": True}
    assert record_copies.merge_sittings({"0": begun}, {"0": done}) == {"0": done}
    assert record_copies.merge_sittings({"0": done}, {"4": begun}) == {"0": done}
    assert record_copies.merge_sittings({"0": done}, {"0": other}) == {"0": done, "1": other}


# By buttons
# --------------------------------------------------------------------------------------------------


def shown(page, name):
    return page.buttons[name].layout.display != "none"


def test_a_copy_goes_to_another_machine_and_comes_back(file, tmp_path):
    page = progress_page.page()
    page.buttons[EXPORT].click()
    (copy,) = (tmp_path / "work").glob("course_progress_*.json")
    assert str(copy) in page.said.value and json.loads(copy.read_text()) == record.load()
    page.buttons[EXPORT].click()
    assert len(list((tmp_path / "work").iterdir())) == 2, "an earlier copy is not overwritten"
    file.unlink()  # the other machine
    record.note("exercises", "bpe.one", done=True, how="with hints", tries=1)
    record.note("exercises", "bpe.two", done=True)
    page = progress_page.page()
    page.file.value = copy.name
    page.buttons[IMPORT].click()
    assert record.load()["exercises"] == {
        "bpe.one": {"done": True, "how": "with hints", "tries": 3},
        "bpe.two": {"done": True},
    }
    assert "1 of your entries gained something" in page.said.value
    assert "1 facts differ in both: yours stay" in page.said.value
    page.buttons[IMPORT].click()
    assert "nothing was new here" in page.said.value and "gained" not in page.said.value


def test_an_import_says_what_is_new(file, tmp_path):
    theirs = EMPTY | {"quiz": {"q": {"first": True}, "r": {}}, "exam": {"0": {"keys": ["q"]}}}
    (tmp_path / "theirs.json").write_text(json.dumps(theirs))
    told = record_copies.import_record(tmp_path / "theirs.json")
    assert told.endswith("new here: 2 questions of lessons, 1 exams.")
    assert record.load()["quiz"] == theirs["quiz"] and record.load()["exercises"]


@pytest.mark.parametrize("text", ["{", "[]", '{"exercises": {"a": 3}, "quiz": {}}', None])
def test_a_file_that_is_no_record_changes_nothing(file, tmp_path, text):
    before = file.read_text()
    if text is not None:
        (tmp_path / "theirs.json").write_text(text)
    page = progress_page.page()
    page.file.value = str(tmp_path / "theirs.json")
    page.buttons[IMPORT].click()
    assert "That did not work" in page.said.value and "theirs.json" in page.said.value
    assert file.read_text() == before and not list(tmp_path.glob("*damaged*"))


def test_a_file_that_is_there_is_not_overwritten(file, tmp_path):
    page = progress_page.page()
    page.file.value = str(file)
    before = file.read_text()
    page.buttons[EXPORT].click()
    assert "is there already" in page.said.value and file.read_text() == before


def test_to_begin_anew_is_asked_twice_and_keeps_the_old(file, tmp_path):
    page, before = progress_page.page(), record.load()
    assert not shown(page, SURE)
    page.buttons[RESET].click()
    assert shown(page, SURE) and record.load() == before
    page.buttons[NOT_SURE].click()
    assert not shown(page, SURE) and record.load() == before
    page.buttons[RESET].click()
    page.buttons[SURE].click()
    (kept,) = tmp_path.glob("progress_kept_*.json")
    assert record.load() == EMPTY and str(kept) in page.said.value
    assert "0 of" in page.table.value
    record_copies.import_record(kept)
    assert record.load() == before
    assert record_copies.reset_record() and record_copies.reset_record().startswith("There is no")
