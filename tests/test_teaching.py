"""The teacher's guide: every lesson has its section, every plan fills its time and names sections
that the notebook has, and the numbers of the activities are right."""

import re
from functools import cache
from pathlib import Path

import pytest

from course_lib.lab import course_map

BOOK = Path(__file__).parent.parent / "book"
LEADS = (
    "**Aim.**",
    "**In 45 minutes**",
    "**In 90 minutes**",
    "**Vote 1.**",
    "**Vote 2.**",
    "**Activity: ",
    "**Where people stumble.**",
    "**Ask.**",
    "<details><summary>What good answers say</summary>",
)
lessons = pytest.mark.parametrize("lesson", course_map.lessons(), ids=lambda lesson: lesson.number)


@cache
def sections() -> dict[str, str]:
    """The lessons' sections by number, from all pages of the guide."""
    pages = [page.read_text(encoding="utf-8") for page in sorted((BOOK / "teaching").glob("*.md"))]
    found = [re.split(r"(?m)^## (?=\d\d · )", page)[1:] for page in pages]
    return {section[:2]: section for page in found for section in page}


def plan(section: str, minutes: int) -> list[list[str]]:
    """The rows of a plan: minutes, what, which parts of the notebook."""
    table = section.split(f"**In {minutes} minutes**")[1].split("\n**")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return rows[2:]


def parts_of_the_notebook(lesson: course_map.Lesson) -> set[str]:
    twin = course_map.NOTEBOOKS / "src" / lesson.file.replace(".ipynb", ".md")
    headings = re.findall(r"(?m)^##+ (.+)$", twin.read_text(encoding="utf-8"))
    return {re.sub(r"^(Exercise \d+):.*", r"\1", heading) for heading in headings}


@lessons
def test_a_lessons_section_has_every_part_in_order(lesson):
    section = sections()[lesson.number]
    assert section.startswith(f"{lesson.number} · {lesson.title}\n")
    places = [section.index(lead) for lead in LEADS]
    assert places == sorted(places)


@lessons
@pytest.mark.parametrize("minutes", [45, 90])
def test_a_plan_fills_its_time_with_parts_of_the_notebook(lesson, minutes):
    rows = plan(sections()[lesson.number], minutes)
    assert all(len(row) == 3 for row in rows)
    assert sum(int(row[0]) for row in rows) == minutes
    named = {part for row in rows for part in row[2].split(" · ")}
    assert named <= parts_of_the_notebook(lesson)


@lessons
def test_a_plan_speaks_of_exercises_that_there_are(lesson):
    section = sections()[lesson.number]
    named = {int(n) for n in re.findall(r"[Ee]xercises? (\d)", section)}
    there = {
        int(part[9:]) for part in parts_of_the_notebook(lesson) if part.startswith("Exercise ")
    }
    assert named <= there


@lessons
def test_each_vote_has_one_right_option_and_reasons(lesson):
    votes = re.split(r"\*\*Vote \d\.\*\*", sections()[lesson.number])[1:]
    assert 2 <= len(votes) <= 3
    for vote in votes:
        options = re.findall(r"(?m)^- ([A-D])\. ", vote)
        answer = vote.split("what tempts</summary>")[1].split("</details>")[0]
        right, *reasons = re.findall(r"\*+([A-D])\b", answer)
        assert options == list("ABCD")[: len(options)] and len(options) >= 3
        assert {right, *reasons} == set(options)


@lessons
def test_the_numbers_of_the_activity_are_right(lesson):
    """They are computed by the comments (lines that begin with %) below the activity."""
    lines = re.findall(r"(?m)^% (.*)$", sections()[lesson.number])
    assert any(line.lstrip().startswith("assert ") for line in lines)
    exec("\n".join(lines), {})
