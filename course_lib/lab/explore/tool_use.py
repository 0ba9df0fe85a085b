"""A thought with a tool, piece by piece: who writes, and what the loss reads."""

import html
from collections.abc import Sequence

from course_lib.lab.explore import frames

MODEL_INK, TOOL_INK = "#0072B2", "#8a5a00"
TOOL_BACKGROUND = "#fdf1dc"


def written_pieces(
    question: str, pieces: Sequence[tuple[str, bool]], start: int | None = None
) -> frames.Explorer:
    """Slide through an answer; the model's text is blue, the tool's brown, on a light ground.

    `pieces` are pairs of a text and whether the tool wrote it. The still is the whole answer,
    unless `start` names a piece.
    """
    if not pieces:
        raise ValueError("an answer of 0 pieces has nothing to show")
    pictures = [_written(question, pieces, shown) for shown in range(1, len(pieces) + 1)]
    labels = list(range(1, len(pieces) + 1))
    first = len(pieces) - 1 if start is None else start
    return frames.slideshow(pictures, labels, name="piece", start=first, interval=1200)


def _written(question: str, pieces: Sequence[tuple[str, bool]], shown: int) -> str:
    """Draw the answer up to a piece, and say whose turn that was."""
    text = "".join(_piece(*piece) for piece in pieces[:shown])
    who = (
        f'<b style="color: {TOOL_INK}">the calculator writes</b>: read, not learnt'
        if pieces[shown - 1][1]
        else f'<b style="color: {MODEL_INK}">the model writes</b>: the loss reads it'
    )
    return frames.card(
        f"<div>{html.escape(question)}</div>"
        f'<div style="min-height: 5em; overflow-wrap: anywhere"><code>{text}</code></div>'
        f"<div>Piece {shown} of {len(pieces)}, {who}.</div>"
    )


def _piece(text: str, by_tool: bool) -> str:
    ground = f"; background-color: {TOOL_BACKGROUND}; font-weight: bold" if by_tool else ""
    ink = TOOL_INK if by_tool else MODEL_INK
    return f'<span style="color: {ink}{ground}">{html.escape(text)}</span>'
