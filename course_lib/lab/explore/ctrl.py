"""Figures of lesson 17: the page that a control code asks for."""

import html
from collections.abc import Mapping, Sequence

from course_lib.lab.explore import frames

Code = tuple[str, str, str]  # kind, mood, author


def coded_pages(
    pages: Mapping[Code, tuple[str, Code]], parts: Mapping[str, Sequence[str]], start: Code
) -> frames.Explorer:
    """Choose kind, mood and author; read the page that was written, and what a classifier says.

    `pages` holds a text for every code, and the code that the classifier reads in it.
    """
    kinds, moods, authors = parts.values()
    cube = [
        [[_page(*pages[kind, mood, author], (kind, mood, author)) for author in authors]
         for mood in moods]
        for kind in kinds
    ]  # fmt: skip
    index = tuple(
        list(values).index(value) for values, value in zip(parts.values(), start, strict=True)
    )
    return frames.choose_three(cube, parts, index)


def _page(text: str, read: Code, asked: Code) -> str:
    """Lay out one page below what was asked for, and above what was read in it."""
    marks = [
        f"{html.escape(found)} {'&#10003;' if found == wanted else '&#10007;'}"
        for found, wanted in zip(read, asked, strict=True)
    ]
    lines = html.escape(text).replace("\n", "<br>")
    return frames.card(
        f"<b>code: {html.escape(', '.join(asked))}</b>"
        f'<div style="min-height: 9em; margin: 6px 0">{lines}</div>'
        f"<small>the classifier reads: {', '.join(marks)}</small>"
    )
