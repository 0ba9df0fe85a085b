"""Figures of lesson 27: a teacher's probabilities at any temperature, many answers' votes, and a
thought with a calculator."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from jaxtyping import Float
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.tasks.at_k import weighted_vote

INK_BLUE, INK_GREEN, INK_RED, INK_BROWN = "#0072B2", "#0a6b58", "#9c3f77", "#8a5a00"
TOOL_BACKGROUND = "#fdf1dc"
ROW = 'style="background-color: #ffffff; color: #222222"'
CELL = "padding: 1px 10px 1px 0; text-align: left; white-space: nowrap"

# --------------------------------------------------------------------------------------------------
# Softened probabilities
# --------------------------------------------------------------------------------------------------


def softened(
    text: Sequence[str],
    scores: Float[Tensor, "T V"],
    tokens: Sequence[str],
    temperatures: Sequence[float] = (1, 2, 4, 8),
    start: tuple[int, int] = (0, 0),
    shown: int = 8,
) -> frames.Explorer:
    """Slide through an answer's positions and through temperatures; see what the teacher expects.

    `text` holds the answer's tokens, `scores` what the teacher gives to every token before each,
    `tokens` the whole vocabulary as text.
    """
    pictures = [
        [_softened(text, position, scores[position], tokens, t, shown) for t in temperatures]
        for position in range(len(text))
    ]
    labels = [f"{number}: {piece}" for number, piece in enumerate(text, 1)]
    return frames.grid(pictures, {"position": labels, "temperature": list(temperatures)}, start)


def _softened(
    text: Sequence[str],
    position: int,
    scores: Float[Tensor, "V"],
    tokens: Sequence[str],
    temperature: float,
    shown: int,
) -> str:
    probs = (scores / temperature).softmax(-1)
    best = scores.topk(shown)
    before = html.escape("".join(text[:position])[-60:])
    rows = "".join(
        _bar(repr(tokens[i])[1:-1], probs[i].item(), tokens[i] == text[position])
        for i in best.indices.tolist()
    )
    rest = 1 - probs[best.indices].sum().item()
    sure = -(probs * probs.clamp_min(1e-30).log()).sum().item()
    return frames.card(
        f"<div>written so far: <code>{before}</code><b style='color: {INK_BROWN}'> ?</b></div>"
        f'<table style="border-collapse: collapse; margin-top: 6px">{rows}</table>'
        f"<div>all other tokens together: {rest:.3f}; entropy: {sure:.2f} nats</div>"
    )


def _bar(name: str, share: float, written: bool) -> str:
    """Draw a row: a name, a bar as long as its share, and the share."""
    colour = INK_BLUE if written else "#8a8f94"
    mark = " (written)" if written else ""
    return (
        f'<tr {ROW}><td style="{CELL}; min-width: 4em"><code>{html.escape(name)}</code></td>'
        f'<td style="{CELL}"><div style="background-color: {colour}; height: 12px;'
        f' width: {max(1, round(300 * share))}px"></div></td>'
        f'<td style="{CELL}">{share:.3f}{mark}</td></tr>'
    )


# --------------------------------------------------------------------------------------------------
# Votes
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VotedQuestion:
    """A question, its truth, and many answers: what each says, its score and its whole text."""

    question: str
    truth: str
    answers: Sequence[str | None]
    scores: Sequence[float]
    texts: Sequence[str]
    tokens: Sequence[int]


def votes(
    asked: Sequence[VotedQuestion],
    sizes: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    start: tuple[int, int] = (0, 0),
) -> frames.Explorer:
    """Choose a question and slide through the number of answers; see three ways to choose.

    The answers come in the order in which they were sampled.
    """
    pictures = [[_votes(one, k) for k in sizes] for one in asked]
    return frames.grid(pictures, {"question": [q.question for q in asked], "k": list(sizes)}, start)


def _votes(asked: VotedQuestion, k: int) -> str:
    """Draw the votes and weights of the first k answers, and what each way chooses."""
    answers, scores = asked.answers[:k], asked.scores[:k]
    counts = Counter(answer for answer in answers if answer is not None)
    weight = {a: sum(s for b, s in zip(answers, scores, strict=True) if a == b) for a in counts}
    best = max(range(k), key=lambda i: scores[i])
    chosen = {
        "majority": _one(weighted_vote(answers, [1.0] * k)),
        "weighted": _one(weighted_vote(answers, scores)),
        "best of k": answers[best],
    }
    widest = max(counts.values(), default=1)
    rows = "".join(
        _vote_row(answer, n, widest, weight[answer], answer == asked.truth)
        for answer, n in counts.most_common(6)
    )
    spent = sum(asked.tokens[:k])
    return frames.card(
        f"<div><code>{html.escape(asked.question)}</code> (truth: {asked.truth}), {k}"
        f" answers, {spent} tokens; {k - sum(counts.values())} without an answer</div>"
        f'<div style="min-height: 11em"><table style="border-collapse: collapse; margin: 6px 0">'
        f"<tr {ROW}><th style='{CELL}'>answer</th><th style='{CELL}'>votes</th>"
        f"<th style='{CELL}'></th><th style='{CELL}'>weight</th></tr>{rows}</table></div>"
        f"<div>{''.join(_choice(*pair, asked.truth) for pair in chosen.items())}</div>"
        f'<div style="min-height: 3em">top score {scores[best]:.2f}:'
        f" <code>{html.escape(asked.texts[best][:110])}</code></div>"
    )


def _one(winners: Sequence[str], seed: int = 0) -> str | None:
    """Break a tie at random, always in the same way."""
    return Random(seed).choice(winners) if winners else None


def _vote_row(answer: str, n: int, widest: int, weight: float, right: bool) -> str:
    colour, ink = (INK_GREEN, INK_GREEN) if right else ("#8a8f94", "#222222")
    bar = f"background-color: {colour}; height: 12px; width: {max(2, round(190 * n / widest))}px"
    return (
        f'<tr {ROW}><td style="{CELL}; color: {ink}"><b>{html.escape(answer[:12])}</b></td>'
        f'<td style="{CELL}; min-width: 200px"><div style="{bar}"></div></td>'
        f'<td style="{CELL}">{n}</td><td style="{CELL}">{weight:.2f}</td></tr>'
    )


def _choice(name: str, answer: str | None, truth: str) -> str:
    right = answer == truth
    word = html.escape(str(answer)[:12]) if answer is not None else "nothing"
    return (
        f'<span style="margin-right: 1.6em">{name}: <b style="color:'
        f' {INK_GREEN if right else INK_RED}">{word} {"right" if right else "wrong"}</b></span>'
    )


def voted_questions(stored: Sequence[Mapping]) -> list[VotedQuestion]:
    """Make the questions of what `thinking_longer.votes_to_show` has stored."""
    return [VotedQuestion(**one) for one in stored]


# --------------------------------------------------------------------------------------------------
# A thought with a tool
# --------------------------------------------------------------------------------------------------


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
        f'<b style="color: {INK_BROWN}">the calculator writes</b>: read, not learnt'
        if pieces[shown - 1][1]
        else f'<b style="color: {INK_BLUE}">the model writes</b>: the loss reads it'
    )
    return frames.card(
        f"<div>{html.escape(question)}</div>"
        f'<div style="min-height: 5em; overflow-wrap: anywhere"><code>{text}</code></div>'
        f"<div>Piece {shown} of {len(pieces)}, {who}.</div>"
    )


def _piece(text: str, by_tool: bool) -> str:
    ground = f"; background-color: {TOOL_BACKGROUND}; font-weight: bold" if by_tool else ""
    ink = INK_BROWN if by_tool else INK_BLUE
    return f'<span style="color: {ink}{ground}">{html.escape(text)}</span>'
