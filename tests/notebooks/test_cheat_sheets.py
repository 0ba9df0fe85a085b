"""A cheat sheet says what its lesson says, and gives no exercise away."""

import json
import re
import sys

import pytest

from course_lib.lab import course_map
from tests.notebooks import handouts

LESSONS = [lesson for lesson in course_map.lessons() if lesson.built]


@pytest.fixture(scope="module")
def cheat_sheets():
    """The module `book/cheat_sheets.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(course_map.ROOT / "book"), *sys.path])
        import cheat_sheets

        yield cheat_sheets


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_a_sheet_is_whole_and_gives_no_solution_away(cheat_sheets, lesson):
    text = cheat_sheets.sheet(lesson)
    headings = re.findall(r"(?m)^## (.+)", text)
    assert {"Code", "Terms", "In short", "Numbers", "Mistakes", "Papers"} <= set(headings)
    stored = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))
    solutions = [c for c in stored["cells"] if "solution" in c["metadata"].get("tags", [])]
    assert solutions and "_solution" not in text
    told = [handouts.hints_tell_all(text, "".join(cell["source"])) for cell in solutions]
    assert told == [[] for _ in solutions]


def test_a_solution_on_a_sheet_is_found(cheat_sheets):
    """The test above says something, and a solution's cell can't be quoted."""
    lesson = course_map.lesson("06")
    stored = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))
    cells = [c for c in stored["cells"] if "solution" in c["metadata"].get("tags", [])]
    shown = cheat_sheets.code(cells, "causal_weights_solution")
    assert handouts.hints_tell_all(f"```python\n{shown}\n```", "".join(cells[1]["source"]))
    with pytest.raises(ValueError, match="no cell defines causal_weights_solution"):
        cheat_sheets.code(cheat_sheets.cells_of(lesson), "causal_weights_solution")


def test_each_term_stands_on_one_sheet_and_in_its_lesson(cheat_sheets):
    seen = {}
    for lesson in LESSONS:
        words = cheat_sheets.prose(cheat_sheets.cells_of(lesson)).lower()
        for term in cheat_sheets.choices(lesson)["terms"]:
            assert seen.setdefault(term, lesson.number) == lesson.number
            longest = max(re.findall(r"\w+", term.lower()), key=len)
            assert longest[:5] in words, f"{term} is not in {lesson.number}"


def test_what_is_not_in_a_lesson_stops_the_build(cheat_sheets):
    cells = cheat_sheets.cells_of(course_map.lesson("06"))
    with pytest.raises(ValueError, match="no formula begins with 'E = m'"):
        cheat_sheets.formulas(cells, [{"begins": "E = m", "where": ""}])
    with pytest.raises(ValueError, match="no printed line begins with 'loss 0'"):
        cheat_sheets.numbers(cells, ["loss 0"])
    with pytest.raises(ValueError, match="no section asks 'Why not"):
        cheat_sheets.question(cells, "Why not?")
    with pytest.raises(ValueError, match="the glossary does not define 'phlogiston'"):
        cheat_sheets.defined("phlogiston")
    with pytest.raises(ValueError, match=r"what the axes \['C'\] are"):
        cheat_sheets.shapes(["layers.norm.rms_norm"], {"B": "batch"})


def test_a_definition_is_plain(cheat_sheets):
    told = {term: cheat_sheets.defined(term) for term in cheat_sheets.definitions()}
    assert [
        term for term, text in told.items() if "{term}" in text or re.search("<[a-z]", text)
    ] == []


def test_a_lesson_leads_to_its_sheet(cheat_sheets):
    cells = [{"source": ["# 06 · Self-attention\n", "Look."]}]
    cheat_sheets.link_sheet(cells, course_map.lesson("06"))
    assert cells[0]["source"].startswith("# 06 · Self-attention\nLook.\n\n")
    assert "](../cheat_sheets/06.md)" in cells[0]["source"]
