"""Links in the plans of the teacher's guide: their third column names sections of a lesson's
notebook, and in the book each name leads there."""

import re

from myst_parser.slugs import github_slugify

from course_lib.lab import course_map


def with_links(page: str) -> str:
    """Let the sections named in the plans of a page of the guide lead to the notebook.

    >>> print(with_links("## 11 · Scaling laws\\n| 5 | FLOPs | A? |").splitlines()[-1])
    | 5 | FLOPs | [A?](../notebooks/11_scaling_laws.ipynb#a) |
    """
    files = {lesson.number: lesson.file for lesson in course_map.lessons()}
    lines, number = [], ""
    for line in page.split("\n"):
        if title := re.match(r"## (\d\d) · ", line):
            number = title[1]
        if row := re.fullmatch(r"(\| \d+ \| .* \| )(.*) \|", line):
            names = row[2].split(" · ")
            links = [f"[{name}](../notebooks/{files[number]}#{anchor_of(name)})" for name in names]
            line = f"{row[1]}{' · '.join(links)} |"
        lines.append(line)
    return "\n".join(lines)


def anchor_of(heading: str) -> str:
    """The anchor that MyST gives to a heading; formulas have no part in it."""
    return github_slugify(re.sub(r"\$[^$]*\$", "", heading))
