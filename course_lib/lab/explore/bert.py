"""The figure of lesson 14: which tokens of a passage are hidden, and what is left to guess from."""

import html
from collections.abc import Sequence

import torch
from ipywidgets import Widget
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.experiments import family_texts as texts
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, GREY
from course_lib.text.masking import choose_spans, choose_tokens, choose_words, word_numbers

MASK_UNITS = ("single tokens", "whole words", "spans of words")
MASK_SHARES = (0.05, 0.15, 0.3, 0.5, 0.7)
EPOCHS = 3
HIDDEN = f"background:{BLUE};color:#fff;border-radius:3px;margin:0 1px"


def masks(
    row: Int[Tensor, "T"], sample: Int[Tensor, "N T"], shares: Sequence[float] = MASK_SHARES
) -> Widget:
    """Choose what is hidden and how much; see a passage in three epochs, with static masks and with
    dynamic ones, and how many hidden tokens have both neighbours.

    `row` is the passage; the neighbours are counted in `sample`.
    """
    pictures = [[_masked(unit, share, row, sample) for share in shares] for unit in MASK_UNITS]
    axes = {"hidden": MASK_UNITS, "share": [f"{share:.0%}" for share in shares]}
    return frames.grid(pictures, axes, start=(0, 1))


def hidden_places(
    unit: str, ids: Int[Tensor, "N T"], share: float, seed: int
) -> Bool[Tensor, "N T"]:
    """Choose what to hide in each row: tokens, words, or runs of one to three words."""
    generator, maskable = torch.Generator().manual_seed(seed), texts.maskable_places(ids)
    if unit == "single tokens":
        return choose_tokens(maskable, share, generator)
    words = word_numbers(word_starts(ids), maskable)
    choose = choose_words if unit == "whole words" else choose_spans
    return choose(words, share, generator)


def word_starts(ids: Int[Tensor, "N T"]) -> Bool[Tensor, "N T"]:
    """Tell where a word begins; a mark of punctuation is one by itself."""
    texts_of = {token: texts.decode_family([token]) for token in ids.unique().tolist()}
    rows = []
    for row in ids.tolist():
        ends = ["", *(texts_of[token] for token in row[:-1])]
        rows.append(
            [
                not (texts_of[token][:1].isalnum() and before[-1:].isalnum())
                for before, token in zip(ends, row, strict=True)
            ]
        )
    return torch.tensor(rows)


def _masked(unit: str, share: float, row: Tensor, sample: Tensor) -> str:
    """Draw one choice: the same passage epoch by epoch, and two numbers over many passages."""
    dynamic = [hidden_places(unit, row[None], share, seed)[0] for seed in range(EPOCHS)]
    blocks = {"static": dynamic[:1] * EPOCHS, "dynamic": dynamic}
    lines = "".join(
        f'<div style="margin:8px 0 2px;color:{GREY}">{name} masks</div>'
        + "".join(_line(epoch, row, chosen) for epoch, chosen in enumerate(rows, 1))
        for name, rows in blocks.items()
    )
    return frames.card(lines + _told(unit, share, sample))


def _line(epoch: int, row: Tensor, chosen: Tensor) -> str:
    """Write a passage with its hidden tokens on blue."""
    shown = ""
    for token, hidden in zip(row.tolist(), chosen.tolist(), strict=True):
        text = html.escape(texts.decode_family([token])).replace("\n", "↵")
        shown += f'<b style="{HIDDEN}">{text}</b>' if hidden else text
    return f'<div style="white-space:pre-wrap"><small>epoch {epoch}</small> {shown}</div>'


def _told(unit: str, share: float, sample: Tensor) -> str:
    """Say how much is hidden, and how often both neighbours of a hidden token are seen."""
    chosen = hidden_places(unit, sample, share, 0)
    both = ~chosen[:, :-2] & ~chosen[:, 2:]
    alone = (chosen[:, 1:-1] & both).sum() / chosen.sum()
    return (
        f'<div style="margin-top:8px">Over {len(sample)} passages:'
        f" {chosen.sum() / len(chosen):.1f} tokens of a passage are hidden, and"
        f" <b>{alone:.0%}</b> of them have both neighbours in sight.</div>"
    )
