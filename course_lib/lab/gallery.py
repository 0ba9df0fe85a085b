"""The gallery: what the reader has built, with her own numbers, beside the course's run and what
was published.

Her numbers are those that `progress.keep_number` kept when she ran a lesson, and her labels. The
course's are read from where they were made: the stored notebooks, R1's report card, the ladder.
"""

import html
import json
import math
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from IPython.display import HTML

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.r1_zero import read_r1_card, sums_of_stage
from course_lib.lab import course_map, labelling, record
from course_lib.lab.exam_paper import grade, sittings_of
from course_lib.lab.progress_page import HOW
from course_lib.lab.question_bank import load_bank

EXHIBITS = Path(__file__).with_name("gallery.toml")
KEPT = re.compile(r"(?m)^For the gallery: (.+) = (\S+)$")
_STAGES = ("r1", "student", "small-zero")
WHITE = "background-color: #ffffff; color: #222222"


@dataclass(frozen=True)
class Exhibit:
    """One card: a number of the course, what was published, and how far the two compare."""

    lesson: str
    title: str
    number: str
    unit: str
    published: str
    source: str
    address: str
    beware: str


@cache
def exhibits() -> tuple[Exhibit, ...]:
    """Give the cards, in the order of the lessons."""
    rows = tomllib.loads(EXHIBITS.read_text(encoding="utf-8"))["exhibit"]
    return tuple(Exhibit(**row) for row in rows)


# The numbers
# --------------------------------------------------------------------------------------------------


@cache
def course_numbers() -> dict[str, str]:
    """Give the course's own numbers: what its stored notebooks printed, and what was measured once
    over three seeds."""
    built = [lesson for lesson in course_map.lessons() if lesson.built]
    printed = [found for lesson in built for found in printed_numbers(lesson)]
    return stored_numbers() | dict(printed)


def printed_numbers(lesson: course_map.Lesson) -> list[tuple[str, str]]:
    """Read from a stored notebook what `progress.keep_number` printed in it."""
    cells = json.loads((course_map.NOTEBOOKS / lesson.file).read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    text = "".join("".join(output.get("text", "")) for output in outputs)
    return KEPT.findall(text)


@cache
def stored_numbers() -> dict[str, str]:
    """Give what the lessons read from measurements over three seeds, one number for each seed."""
    runs = json.loads((DATA_FOLDER / "ladder/runs.json").read_text(encoding="utf-8"))
    runs = [run for run in runs if run["table"] == "tokens" and run["corpus"] == "small web"]
    cache_of = {run["rung"]: run["cache_bytes"] for run in runs}
    ahead = [run["acceptance"] for run in runs if run["rung"] == "V3, looking ahead"]
    stages = {stage: sums_of_stage(read_r1_card(), stage, "accuracy") for stage in _STAGES}
    return {
        "cache saved by V2, %": f"{100 * (1 - cache_of['V2'] / cache_of['V1']):.0f}",
        "second tokens accepted, %": per_cent(ahead),
        "sums right as R1, %": per_cent(stages["r1"]),
        "small model taught by R1, and by RL, %": " ; ".join(
            per_cent(stages[stage]) for stage in ("student", "small-zero")
        ),
    }


def per_cent(shares: list[float]) -> str:
    """Write shares, one for each seed, in per cent.

    >>> per_cent([0.994, 0.991])
    '99.4, 99.1'
    """
    return ", ".join(f"{100 * share:.1f}" for share in shares)


def readers_numbers() -> dict[str, str]:
    """Give what the reader's own runs gave, as far as they are kept."""
    kept = record.load()["numbers"]
    values = {what: entry.get("value") for what, entry in kept.items()}
    found = {what: f"{value:.4g}" for what, value in values.items() if _is_number(value)}
    share = labelling.agreement(labelling.load_labels(), labelling.shipped_labels())
    if share.n:
        found["agreement with the annotator, %"] = f"{100 * share.share:.0f} (of {share.n} pairs)"
    return found


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


# The page
# --------------------------------------------------------------------------------------------------


def page() -> HTML:
    """Show the gallery; let it be the last expression of a cell.

    Where the reader has no number of her own, the course's stands alone, and says so.
    """
    return HTML(as_html(readers_numbers(), work_card(record.load())))


def as_html(yours: dict[str, str] | None, first: str = "") -> str:
    """The cards in as many columns as there is room for, after a `first` one; `yours` is None in
    the book, where nobody runs a lesson."""
    ours = course_numbers()
    shown = [
        exhibit_card(
            each, None if yours is None else yours.get(each.number, ""), ours.get(each.number, "")
        )
        for each in exhibits()
        if course_map.lesson(each.lesson).built or each.number in ours
    ]
    grid = "display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 10px"
    return f'<div style="{grid}; {WHITE}; padding: 10px">{first}{"".join(shown)}</div>'


def exhibit_card(exhibit: Exhibit, yours: str | None, ours: str) -> str:
    """One card. Where a lesson keeps the number and it is not there yet, a hint stands instead;
    None asks for no hint."""
    lesson = course_map.lesson(exhibit.lesson)
    stored = exhibit.number in stored_numbers()
    hint = "" if stored or yours is None else "run the lesson, and your number stands here"
    rows = [("Yours", yours or hint, bool(yours))] if yours or hint else []
    rows += [("The course's runs" if stored else "The course's run", ours, True)] if ours else []
    numbers = "".join(_row(*row) for row in rows)
    source = (
        f'<a style="color: #0b5394" href="{html.escape(exhibit.address, quote=True)}">'
        f"{html.escape(exhibit.source)}</a>"
    )
    return _card(
        f"{exhibit.lesson} · {exhibit.title}",
        f'<p style="margin: 2px 0; color: #5a5a5a">{html.escape(exhibit.unit)}</p>{numbers}'
        f'<p style="margin: 6px 0 2px"><b style="color: #9c3f77">Published:</b>'
        f" {html.escape(exhibit.published)} ({source})</p>"
        f'<p style="margin: 6px 0 0"><i>{html.escape(exhibit.beware)}</i></p>',
        lesson if lesson.built else None,
    )


def _row(who: str, number: str, there: bool) -> str:
    size = "18px; font-weight: 600; color: #0072B2" if there else "13px; color: #5a5a5a"
    return (
        f'<p style="margin: 4px 0">{html.escape(who)}:'
        f' <span style="font-size: {size}">{html.escape(number)}</span></p>'
    )


def work_card(kept: dict) -> str:
    """The card of what no paper can have: exercises, questions and exams of the reader."""
    done = [entry for entry in kept["exercises"].values() if entry.get("done")]
    ways = {way: sum(entry.get("how") == way for entry in done) for way in HOW}
    how = ", ".join(f"{n} {way}" for way, n in ways.items() if n)
    asked = [bool(entry.get("first")) for entry in kept["quiz"].values()]
    rows = [("Exercises solved", f"{len(done)}{f': {how}' if how else ''}", bool(done))]
    if asked:
        rows.append(("Quiz, right at first try", f"{sum(asked)} of {len(asked)}", True))
    rows += [(f"Exam {i + 1}", told, True) for i, told in enumerate(exam_results(kept))]
    return _card("What you did", "".join(_row(*row) for row in rows))


def exam_results(kept: dict) -> list[str]:
    """Say what each exam that was handed in gave, as far as its questions are still asked."""
    by_key = {question.key: question for question in load_bank()}
    told = []
    for sitting in sittings_of(kept):
        if sitting.done and (asked := [by_key[key] for key in sitting.keys if key in by_key]):
            result = grade(asked, sitting.answers)
            told.append(f"{result.right} of {result.of} right")
    return told


def _card(title: str, content: str, lesson: course_map.Lesson | None = None) -> str:
    name = html.escape(title)
    head = f'<a style="color: #0b5394" href="{lesson.file}">{name}</a>' if lesson else name
    return (
        f'<div style="{WHITE}; border: 1px solid #b9b4a7; border-radius: 6px; padding: 8px 12px;'
        f' font-size: 13px; line-height: 1.45"><b style="font-size: 14px">{head}</b>'
        f"{content}</div>"
    )
