"""Which papers a lesson is about: links from each lesson into the bibliography, and back.

A paper belongs to a lesson that holds its address (arXiv, DOI or another), or that its entry in
`references.bib` names in the field `lessons`, where the lesson names it without an address.
"""

import re
from collections.abc import Mapping

from pybtex.database import Entry, parse_string

from course_lib.lab import course_map

Papers = dict[str, list[course_map.Lesson]]


def lessons_of_papers(bibliography: str, texts: Mapping[course_map.Lesson, str]) -> Papers:
    """Give the lessons of each paper, by its key, from the text of the lessons.

    >>> one, two = course_map.lessons()[:2]
    >>> entries = "@misc{a2024, note={arXiv:2401.00001}} @misc{b1950, lessons={01}}"
    >>> found = lessons_of_papers(entries, {one: "https://arxiv.org/abs/2401.00001", two: ""})
    >>> {key: [lesson.number for lesson in lessons] for key, lessons in found.items()}
    {'a2024': ['00'], 'b1950': ['01']}
    """
    entries = parse_string(bibliography, "bibtex").entries
    return {
        key: [
            lesson
            for lesson, text in texts.items()
            if lesson.number in entry.fields.get("lessons", "").split()
            or any(address in text for address in addresses_of(entry))
        ]
        for key, entry in entries.items()
    }


def addresses_of(entry: Entry) -> list[str]:
    """Give what the address of a paper holds, wherever it is written."""
    arxiv = re.findall(r"arXiv:(\d{4}\.\d{4,5})", entry.fields.get("note", ""))
    there = [entry.fields[name] for name in ("doi", "url") if name in entry.fields]
    return [f"arxiv.org/abs/{number}" for number in arxiv] + there


def with_lessons(bibliography: str, papers: Papers) -> str:
    """Write into the note of each paper which lessons it belongs to; an entry is one line."""
    lines = []
    for line in bibliography.splitlines():
        found = re.match(r"@\w+\{(\w+),", line)
        if found and (lessons := papers[found[1]]):
            told = "Lesson" + "s" * (len(lessons) > 1) + " "
            told += ", ".join(lesson.number for lesson in lessons)
            if " note={" in line:
                line = re.sub(r" note=\{((?:[^{}]|\{[^{}]*\})*)\}", rf" note={{\1. {told}}}", line)
            else:
                line = line.removesuffix("}") + f", note={{{told}}}}}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def papers_cell(lesson: course_map.Lesson, papers: Papers) -> dict:
    """The end of a lesson's page: its papers, as links into the bibliography."""
    keys = sorted(key for key, lessons in papers.items() if lesson in lessons)
    names = ", ".join(f"{{cite:t}}`{key}`" for key in keys)
    text = f"**In the [bibliography](../bibliography.md)**: {names}."
    return {"cell_type": "markdown", "id": "papers", "metadata": {}, "source": text}
