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
SPAN = r"(\d)(?: (to|and) (\d))?"  # "2", "1 and 3", "1 to 3"
VOTE_MINUTES = 3  # two shows of hands, and a talk between neighbours
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
    # an exercise's heading is longer than its name, so that no link by its name would lead there
    return set(re.findall(r"(?m)^##+ (?!Exercise \d)(.+)$", twin.read_text(encoding="utf-8")))


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
    assert named <= {int(n) for n in exercise_minutes(lesson)}


def exercise_minutes(lesson: course_map.Lesson) -> dict[str, int]:
    """How long each exercise takes, as the notebook says."""
    twin = course_map.NOTEBOOKS / "src" / lesson.file.replace(".ipynb", ".md")
    heading = r"(?m)^### Exercise (\d+): .* · (\d+) minutes\)"
    return {n: int(m) for n, m in re.findall(heading, twin.read_text(encoding="utf-8"))}


def step_minutes(section: str) -> dict[str, int]:
    """How long each step of the activity takes."""
    steps = r"(?ms)^(\d)\. (?:(?!^\d\. ).)+?\((\d+) minutes?(?:, [^()]+)?\)$"
    return {n: int(m) for n, m in re.findall(steps, section.split("**Activity: ")[1])}


def needed(what: str, exercises: dict[str, int], steps: dict[str, int]) -> int:
    """The least that a row of a plan takes: what it names, but for what is left for home.

    >>> needed("Vote 1, steps 1 to 3 of the activity", {}, {"1": 4, "2": 2, "3": 1, "4": 8})
    10
    >>> needed("Exercises 1 and 2; exercise 3 at home", {"1": 5, "2": 6, "3": 7}, {})
    11
    """

    def total(named: str, minutes: dict[str, int]) -> int:
        found = re.findall(named.format(SPAN), what)
        spans = [(a, b or a) if how != "to" else range(int(a), int(b) + 1) for a, how, b in found]
        return sum(minutes[n] for span in spans for n in {str(one) for one in span})

    what = re.sub(r"(?i)exercises? \d(?: and \d)? at home", "", what)
    votes = {str(n): VOTE_MINUTES for n in range(1, 4)}
    whole = "activity" in what.lower() and not re.search(r"(?i)steps? \d.* of the activity", what)
    played = sum(steps.values()) if whole else total("[Ss]teps? {} of the activity", steps)
    return played + total("[Ee]xercises? {}", exercises) + total("[Vv]otes? {}", votes)


@lessons
@pytest.mark.parametrize("minutes", [45, 90])
def test_a_row_has_time_for_what_it_names(lesson, minutes):
    """An activity and an exercise of ten minutes do not fit into fifteen."""
    section = sections()[lesson.number]
    for spare, what, _ in plan(section, minutes):
        assert needed(what, exercise_minutes(lesson), step_minutes(section)) <= int(spare), what


@lessons
def test_an_activity_takes_as_long_as_its_steps(lesson):
    section = sections()[lesson.number]
    promised = int(re.search(r"\*\*Activity: .*?\*\* \*\((\d+) minutes", section)[1])
    assert sum(step_minutes(section).values()) == promised


@lessons
def test_each_vote_is_taken_in_a_plan_or_in_a_second_class(lesson):
    section = sections()[lesson.number]
    before = section.split("**Vote 1.**")[0]
    votes = re.findall(r"\*\*Vote (\d)\.\*\*", section)
    assert [n for n in votes if not re.search(rf"[Vv]otes? (?:\d and )?{n}\b", before)] == []


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
