"""What the start page has of the course: each part with its lessons and a figure that moves, and
the table of contents at the side."""

import itertools

from interactive_figures import SHOWN, Figure, Figures, plain_copy

from course_lib.lab import course_map


def start_tables(figures: Figures) -> dict[str, str]:
    """Give what stands for the marks of the start page, from the lessons that are there."""
    minutes = sum(lesson.minutes for lesson in figures)
    return {
        "LESSONS": str(len(figures)),
        "HOURS": str(round(minutes / 60)),
        "FIGURES": str(sum(map(len, figures.values()))),
        "PARTS": parts_as_myst(figures),
        "CONTENTS": contents_as_myst(list(figures)),
    }


def parts_as_myst(figures: Figures) -> str:
    """List all lessons with their promises, by part, each part with one of its figures below."""
    lines = []
    for part, rows in itertools.groupby(course_map.lessons(), key=lambda row: row.part_title):
        lessons = list(rows)
        lines += [f"### {part}", "", *(lesson_as_myst(row, row in figures) for row in lessons), ""]
        lines += [
            figure_as_myst(figure)
            for lesson in lessons
            for figure in figures.get(lesson, ())
            if figure.name == SHOWN.get(lesson.number)
        ]
    return "\n".join(lines)


def lesson_as_myst(lesson: course_map.Lesson, there: bool) -> str:
    """One line of the list."""
    name = f"[{lesson.title}](notebooks/{lesson.file})" if there else f"{lesson.title} *(to come)*"
    return f"- {lesson.number} {name}: {lesson.promise}"


def figure_as_myst(figure: Figure) -> str:
    """A plain copy of a figure, with a link to the lesson that makes it."""
    return (
        f"~~~~{{raw}} html\n{plain_copy(figure)}\n~~~~\n\n"
        f"{figure.shows} From [{figure.lesson.number} {figure.lesson.title}](#{figure.anchor}).\n"
    )


def contents_as_myst(present: list[course_map.Lesson]) -> str:
    """The table of contents of all lessons that are there, by part."""
    lines = []
    for part, rows in itertools.groupby(present, key=lambda row: row.part_title):
        files = [f"notebooks/{lesson.file}" for lesson in rows]
        lines += ["```{toctree}", ":hidden:", f":caption: {part}", "", *files, "```", ""]
    return "\n".join(lines)
