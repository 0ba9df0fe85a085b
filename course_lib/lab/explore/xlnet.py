"""Figures of lesson 16: who sees whom in an order of prediction, and a model that plays one."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, ORANGE, RED

WIDTH = 640
SVG = f'style="width:100%;max-width:{WIDTH}px" font-family="sans-serif" font-size="13"'
CELL = 26
EMPTY = "#eeeae2"


# Who sees whom
# --------------------------------------------------------------------------------------------------


def factorisation(
    words: Sequence[str], orders: Mapping[str, Sequence[int]], start: tuple[int, int]
) -> frames.Explorer:
    """Slide the order and the step; see what the content and the query of the position see.

    An order lists positions, counted from 0, in the order in which they are predicted.
    """
    for name, order in orders.items():
        if sorted(order) != list(range(len(words))):
            raise ValueError(f"order {name!r} is {list(order)}, no order of {len(words)} positions")
    steps = range(1, len(words) + 1)
    pictures = [[_step(words, order, step) for step in steps] for order in orders.values()]
    return frames.grid(pictures, {"order": list(orders), "step": list(steps)}, start=start)


def _step(words: Sequence[str], order: Sequence[int], step: int) -> str:
    """Draw the sentence at one step of an order, and both streams' tables."""
    asked, seen = order[step - 1], set(order[: step - 1])
    marks = _sentence(words, {asked: "?"}, seen)
    rank = {position: k for k, position in enumerate(order)}
    for x, name, itself in ((70, "content stream", True), (390, "query stream", False)):
        marks += f'<text x="{x}" y="84" font-weight="bold">{name}</text>'
        for i, word in enumerate(words):
            y = 94 + CELL * i
            marks += f'<text x="{x - 8}" y="{y + 18}" text-anchor="end">{html.escape(word)}</text>'
            for j in range(len(words)):
                sees = rank[j] < rank[i] or (itself and i == j)
                marks += (
                    f'<rect x="{x + CELL * j}" y="{y}" width="{CELL - 2}" height="{CELL - 2}"'
                    f' fill="{BLUE if sees else EMPTY}"/>'
                )
        marks += (
            f'<rect x="{x - 3}" y="{94 + CELL * asked - 3}" width="{CELL * len(words) + 4}"'
            f' height="{CELL + 4}" fill="none" stroke="{RED}" stroke-width="2.5"/>'
        )
    height = 94 + CELL * len(words) + 26
    marks += (
        f'<text x="70" y="{height - 6}" fill="{GREY}">rows: who looks; columns: at whom, in reading'
        " order; blue: seen; red: this step</text>"
    )
    known = [words[p] for p in sorted(seen)]
    label = (
        f"Step {step}: position {asked + 1} is predicted. Its query sees"
        f" {', '.join(known) or 'no word'}; its content sees {', '.join([*known, words[asked]])}."
    )
    return _card(label, marks, height)


def _sentence(words: Sequence[str], asked: Mapping[int, str], seen: set[int]) -> str:
    """Draw the words in reading order: seen in blue, asked in orange, the others as dots."""
    width = min(96, (WIDTH - 20) // len(words))
    marks = ""
    for i, word in enumerate(words):
        fill, ink, text = EMPTY, BLACK, "·"
        if i in asked:
            fill, ink, text = ORANGE, BLACK, asked[i]
        elif i in seen:
            fill, ink, text = BLUE, "#ffffff", word
        x = 10 + width * i
        marks += (
            f'<rect x="{x}" y="10" width="{width - 6}" height="34" rx="5" fill="{fill}"/>'
            f'<text x="{x + (width - 6) / 2}" y="32" text-anchor="middle" fill="{ink}">'
            f"{html.escape(text)}</text>"
            f'<text x="{x + (width - 6) / 2}" y="58" text-anchor="middle" font-size="11"'
            f' fill="{GREY}">{i + 1}</text>'
        )
    return marks


# A model plays an order
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """What a model says at one step: the position, what it could see, its best words, the true."""

    position: int
    seen: frozenset[int]
    best: tuple[tuple[str, float], ...]
    true: str
    probability: float  # of the true word


def played(words: Sequence[str], games: Mapping[str, Sequence[Guess]]) -> frames.Explorer:
    """Slide the order and the step; see the model's guesses at the position that is asked."""
    lengths = {len(steps) for steps in games.values()}
    if len(lengths) != 1:
        raise ValueError(f"the orders have {sorted(lengths)} steps; one number is needed")
    steps = range(1, lengths.pop() + 1)
    pictures = [[_guess(words, game, step) for step in steps] for game in games.values()]
    return frames.grid(
        pictures, {"order": list(games), "step": list(steps)}, start=(0, len(steps) - 1)
    )


def _guess(words: Sequence[str], game: Sequence[Guess], step: int) -> str:
    """Draw the sentence, the best words at the asked position, and the product so far."""
    now, product = game[step - 1], 1.0
    for guess in game[:step]:
        product *= guess.probability
    marks = _sentence(words, {now.position: "?"}, set(now.seen))
    for k, (word, probability) in enumerate(now.best):
        y = 76 + 26 * k
        right = word == now.true
        marks += (
            f'<text x="120" y="{y + 16}" text-anchor="end">{html.escape(word)}</text>'
            f'<rect x="130" y="{y}" width="{max(2.0, 340 * probability):.0f}" height="20"'
            f' fill="{ORANGE if right else GREY}"/>'
            f'<text x="{140 + 340 * probability:.0f}" y="{y + 16}">{probability:.0%}'
            f"{' (the true word)' if right else ''}</text>"
        )
    told = ", ".join(f"{word} {probability:.0%}" for word, probability in now.best)
    label = (
        f"Step {step}: position {now.position + 1}, where “{now.true}” stood. Best guesses: {told}."
        f" Probability of the true words so far: {product:.2g}."
    )
    return _card(label, marks, 84 + 26 * len(now.best))


def _card(label: str, marks: str, height: int) -> str:
    svg = (
        f'<svg role="img" aria-label="{html.escape(label, quote=True)}"'
        f' viewBox="0 0 {WIDTH} {height}" {SVG} fill="{BLACK}">{marks}</svg>'
    )
    return frames.card(f"<div>{html.escape(label)}</div>{svg}")
