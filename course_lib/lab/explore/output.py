"""Figures of lesson 09: a next token under all the knobs, beams in a small tree, tales with their
faults marked."""

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.inference.generate import best_extensions, next_token_probs
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, RED
from course_lib.text.small_web.sentences import split_sentences

SVG = 'style="width:100%;max-width:{}px" font-family="sans-serif" font-size="13"'


# --------------------------------------------------------------------------------------------------
# One choice under all the knobs
# --------------------------------------------------------------------------------------------------

TEMPERATURES = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
KNOBS = {
    "none": {},
    "top-k 3": {"top_k": 3},
    "top-k 12": {"top_k": 12},
    "top-p 0.7": {"top_p": 0.7},
    "top-p 0.95": {"top_p": 0.95},
    "min-p 0.3": {"min_p": 0.3},
    "min-p 0.05": {"min_p": 0.05},
    "repetition penalty 1.3": {"repetition_penalty": 1.3},
}


@dataclass(frozen=True)
class Context:
    """A position in a text: its last words, its ids, the model's logits for the next token, and
    which ones may follow."""

    words: str
    ids: Tensor
    logits: Tensor
    possible: Tensor

    def probs(self, **knobs) -> Tensor:
        """Give the probabilities of all tokens under these settings."""
        return next_token_probs(self.logits, ids=self.ids, **knobs)


def knobs(
    contexts: Sequence[Context], tokens: Sequence[str], start: tuple[str, float], shown: int = 13
) -> frames.Explorer:
    """Choose a knob and a temperature; see what they make of the choices of a real model, side by
    side.

    `tokens` are the texts of all tokens; the `shown` likeliest of each context are drawn.
    """
    table = {
        (name, heat): [context.probs(temperature=heat, **knob) for context in contexts]
        for name, knob in KNOBS.items()
        for heat in TEMPERATURES
    }
    scales = [
        170 / max(after.max().item() for after in column)
        for column in zip(*table.values(), strict=True)
    ]

    def draw(name: str, heat: float):
        rows = list(zip(contexts, table[name, heat], scales, strict=True))
        return _choices(f"{name}, temperature {heat}", rows, tokens, shown)

    pictures = [[draw(name, heat) for heat in TEMPERATURES] for name in KNOBS]
    first = (list(KNOBS).index(start[0]), TEMPERATURES.index(start[1]))
    return frames.grid(pictures, {"setting": list(KNOBS), "temperature": TEMPERATURES}, start=first)


def _choices(
    setting: str,
    choices: Sequence[tuple[Context, Tensor, float]],
    tokens: Sequence[str],
    shown: int,
) -> str:
    """Draw the panels of one setting next to each other."""
    marks, told, width, height = "", [], 340 * len(choices), 62 + 20 * shown
    for i, (context, after, scale) in enumerate(choices):
        drawn, summary = _panel(context, tokens, after, scale, shown)
        marks += f'<g transform="translate({340 * i} 0)">{drawn}</g>'
        told.append(f"After {context.words}: {summary}")
    label = html.escape(f"{setting}. {'. '.join(told)}.", quote=True)
    look = f'viewBox="0 0 {width} {height}" {SVG.format(width)} fill="{BLACK}"'
    return frames.card(f'<svg role="img" aria-label="{label}" {look}>{marks}</svg>')


def _panel(
    context: Context, tokens: Sequence[str], after: Tensor, scale: float, shown: int
) -> tuple[str, str]:
    """Draw one context: a bar per token, a tick where it stood without knobs; say how many are
    left."""
    before = context.probs()
    order = before.argsort(descending=True)[:shown].tolist()
    marks = f'<text x="0" y="14" font-weight="bold">after “{html.escape(context.words)}”</text>'
    ticks = ""
    for row, token in enumerate(order):
        y = 26 + 20 * row
        tick = 90 + scale * before[token].item()
        marks += _row(
            tokens[token], after[token].item(), context.possible[token].item(), scale, tick, y
        )
        ticks += f"M{tick:.0f} {y - 2}v18"
    junk = after[~context.possible].sum().item()
    summary = (
        f"{(after > 0).sum().item()} of {len(after)} tokens left, impossible ones hold {junk:.1%}"
    )
    marks += (
        f'<path d="{ticks}" stroke="{GREY}"/><text x="0" y="{52 + 20 * shown}">{summary}</text>'
    )
    return marks, summary


def _row(token: str, prob: float, possible: bool, scale: float, tick: float, y: int) -> str:
    """Draw one token: blue and filled if it can follow, red and hollow if not, crossed out where it
    is ruled out."""
    look = f'fill="{BLUE}"' if possible else f'fill="none" stroke="{RED}" stroke-width="2"'
    out = (
        f' fill="{GREY}" text-decoration="line-through"'
        if prob == 0
        else ""
        if possible
        else f' fill="{RED}"'
    )
    name = html.escape(token[1:] if token[:1] == " " else f"·{token}")  # a dot: no space before it
    number = "" if prob == 0 else f"{prob:.0%}" if prob >= 0.0095 else f"{prob:.2%}"
    return (
        f'<text x="84" y="{y + 12}" text-anchor="end"{out}>{name}</text><rect x="90" y="{y}"'
        f' width="{scale * prob:.1f}" height="14" {look}/><text'
        f' x="{max(tick, 90 + scale * prob) + 6:.0f}" y="{y + 12}" font-size="11">{number}</text>'
    )


# --------------------------------------------------------------------------------------------------
# Beams
# --------------------------------------------------------------------------------------------------

# word -> its probability, and the probabilities of the words after it
Tree = Mapping[str, tuple[float, Mapping[str, float]]]


def beams(tree: Tree, widths: Sequence[int] = (1, 2, 3)) -> frames.Explorer:
    """Choose how many beams there are; see which texts of two words a search keeps, and which it
    finds."""
    return frames.choose([_searched(tree, n) for n in widths], widths, name="beams", start=1)


def search(tree: Tree, n_beams: int) -> tuple[list[int], list[tuple[int, int]], list[float]]:
    """Search a tree of two words: the first words that are kept, the texts that are found, and
    their log probabilities."""
    first = torch.tensor([prob for prob, _ in tree.values()]).log()
    second = torch.tensor([list(after.values()) for _, after in tree.values()]).log()
    kept, scores = best_extensions(
        torch.empty(1, 0, dtype=torch.long), torch.zeros(1), first[None], n_beams
    )
    found, scores = best_extensions(kept, scores, second[kept[:, 0]], n_beams)
    return kept[:, 0].tolist(), [tuple(text) for text in found.tolist()], scores.tolist()


def _searched(tree: Tree, n_beams: int) -> str:
    """Draw the tree; the texts that the search never looked at are pale."""
    kept, found, _ = search(tree, n_beams)
    marks, y, told = "", 26, ""
    for i, (word, (prob, after)) in enumerate(tree.items()):
        middle, alive = y + 24 * (len(after) - 1) / 2, i in kept
        marks += _edge(14, 26 + 36 * len(tree), 150, middle, alive)
        marks += _word(156, middle, f"{word} {prob:g}", alive, alive)
        for j, (following, share) in enumerate(after.items()):
            best = (i, j) in found[:1]
            marks += _edge(250, middle, 340, y, (i, j) in found) + _word(
                346, y, f"{following} {share:g}", alive, best
            )
            total = f"{prob:g} × {share:g} = {prob * share:.3g}"
            marks += _word(470, y, total if alive else "", alive, best)
            told = f"{word} {following}, with {prob * share:.2f}" if best else told
            y += 24
        y += 12
    height = y - 14
    label = (
        f"With {n_beams} beams the search keeps {', '.join(list(tree)[i] for i in kept)} and finds"
        f" {told}."
    )
    return frames.card(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 620 {height}"'
        f' {SVG.format(620)}>{marks}<text x="14" y="{height - 4}" fill="{GREEN}"'
        f' font-weight="bold">found: {told}</text></svg>'
    )


def _edge(x1: float, y1: float, x2: float, y2: float, kept: bool) -> str:
    look = (
        f'stroke="{BLUE}" stroke-width="3"' if kept else 'stroke="#c9c9c9" stroke-dasharray="4 4"'
    )
    return f'<path d="M{x1} {y1:.0f}L{x2} {y2:.0f}" fill="none" {look}/>'


def _word(x: float, y: float, text: str, alive: bool, bold: bool) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x}" y="{y + 4:.0f}"'
        f' fill="{BLACK if alive else "#8a8a8a"}"{weight}>{html.escape(text)}</text>'
    )


# --------------------------------------------------------------------------------------------------
# Tales
# --------------------------------------------------------------------------------------------------


def tales(
    pages: Mapping[str, Sequence[Sequence[str]]],
    temperatures: Sequence[float],
    possible: Collection[str],
    start: tuple[int, int],
    rolls: int = 3,
) -> frames.Explorer:
    """Set the temperature and roll the dice again; see what each way of drawing tokens writes, its
    faults marked.

    `pages` holds the tales of each way, by temperature.
    """

    def draw(i: int, roll: int):
        columns = (_column(name, _marked(rows[i][roll], possible)) for name, rows in pages.items())
        return frames.card("".join(columns))

    table = [[draw(i, roll) for roll in range(rolls)] for i in range(len(temperatures))]
    labels = [f"{roll + 1}" for roll in range(rolls)]
    return frames.grid(table, {"temperature": temperatures, "sample": labels}, start=start)


def _column(name: str, told: str) -> str:
    return f'<div style="margin-bottom: 10px"><b>{html.escape(name)}</b>{told}</div>'


def _marked(text: str, possible: Collection[str]) -> str:
    """Write a tale with a wavy line under what is not possible, and count at its end."""
    sentences, faults, told = split_sentences(text), 0, ""
    for sentence in sentences:
        shown = html.escape(sentence)
        if sentence not in possible:
            faults += 1
            shown = (
                f'<u style="text-decoration: underline wavy {RED}; background: #fdeee4">{shown}</u>'
            )
        told += shown + " "
    count = f"{faults} of {len(sentences)} sentences are impossible"
    return (
        f'<div style="font-family: Georgia, serif; font-size: 14px; min-height: 5.5em">{told}</div>'
        f'<div style="color: {GREY}; font-size: 13px">{count}</div>'
    )
