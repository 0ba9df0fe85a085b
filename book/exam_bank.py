"""The exam bank as pages of the book: its questions on one, their answers on another.

Both come from `exam_bank.toml`. There a question has a `lesson`, a `kind`, a `text` and an
`answer`, in which `[2]` gives two points to what stands before it; besides, where they apply,
`code`, a `figure`, `numbers` (what stands in the answer, and the expression that it is computed by)
and `proof` (Python that runs after `code` and asserts what the answer says).
`tests/test_exam_bank.py` computes and runs them.
"""

import tomllib
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt

from course_lib.lab import course_map, plots

BANK = Path(__file__).with_name("exam_bank.toml")
POINTS = {"short": 3, "calculation": 5, "figure": 3, "fault": 4}
KINDS = {
    "short": "short answer",
    "calculation": "calculation",
    "figure": "reading a figure",
    "fault": "find the fault",
}


def load() -> list[dict]:
    """Return all questions, each with its `name`: the lesson and its place there, as 07.2."""
    questions = tomllib.loads(BANK.read_text(encoding="utf-8"))["question"]
    for lesson, group in groupby(questions, key=lambda question: question["lesson"]):
        for place, question in enumerate(group, 1):
            question["name"] = f"{lesson}.{place}"
    return questions


def questions_as_myst() -> str:
    """Return the questions of all lessons, without their answers."""
    return by_lesson(as_asked)


def answers_as_myst() -> str:
    """Return the answers of all lessons, under the questions' names."""
    return by_lesson(lambda question: f"**{question['name']}** {question['answer'].strip()}")


def by_lesson(write) -> str:
    """Write each question by `write`, under its lesson's title."""
    titles = {lesson.number: lesson.title for lesson in course_map.lessons()}
    pieces = []
    for lesson, group in groupby(load(), key=lambda question: question["lesson"]):
        pieces += [f"## {lesson} · {titles[lesson]}", *map(write, group)]
    return "\n\n".join(pieces)


def as_asked(question: dict) -> str:
    """Write one question with its points, its code and its figure."""
    kind = question["kind"]
    asked = f"**{question['name']}** *{KINDS[kind]}, {POINTS[kind]} points.* "
    pieces = [asked + question["text"].strip()]
    if "code" in question:
        pieces.append(f"```python\n{question['code'].strip()}\n```")
    if "figure" in question:
        pieces.append(f"![{question['figure']['alt']}](_static/exam/{question['name']}.svg)")
    return "\n\n".join(pieces)


def draw_figures(folder: Path) -> None:
    """Draw the figure of each question that has one into `folder`, as SVG."""
    folder.mkdir(parents=True)
    for question in load():
        if "figure" in question:
            fig, ax = plt.subplots(figsize=(6.8, 3.2))
            draw(question["figure"], ax)
            fig.savefig(folder / f"{question['name']}.svg", metadata={"Date": None})
            plt.close(fig)


def draw(figure: dict, ax: plt.Axes) -> None:
    """Draw `lines` (name: [xs, ys]) or `bars` (name: value) into `ax`."""
    if "bars" in figure:
        plots.bars(figure["bars"], ax=ax, x=figure["x"], form=figure.get("form", "{:g}"))
    else:
        logs = {axis: figure.get(axis, False) for axis in ("log_x", "log_y")}
        plots.lines(figure["lines"], ax=ax, x=figure["x"], y=figure["y"], markers=True, **logs)
    ax.set_title(figure["title"])
