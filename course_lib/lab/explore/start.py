"""Figures of lesson 00: a model at several moments of its training, and pages by temperature."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from course_lib.inference.generate import generate, next_token_probs
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE

PAGE = (
    "white-space: pre-wrap; font-family: Georgia, serif; font-size: 14px; line-height: 1.4; flex: 3"
    " 1 300px"
)
BAR = f"display: inline-block; vertical-align: middle; height: 0.9em; background: {BLUE}"


@dataclass(frozen=True)
class Snapshot:
    """A model at one moment of its training: the pages it writes, and what it expects after a few
    given words."""

    step: int
    pages: list[str]
    opening: str
    probabilities: list[tuple[str, float]]


def snapshot(
    model: nn.Module,
    tokenizer,
    step: int,
    prompt: str,
    opening: str,
    temperature: float,
    n_tokens: int = 120,
) -> Snapshot:
    """Let the model write eight pages from `prompt`; ask for the six likeliest tokens after
    `opening`."""
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode(opening)]))[0, -1]
    best = next_token_probs(logits).topk(6)
    probabilities = [
        (tokenizer.decode([i]), p)
        for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    pages = written_at(model, tokenizer, prompt, [temperature], n_samples=8, n_tokens=n_tokens)[
        temperature
    ]
    return Snapshot(step, pages, opening, probabilities)


def learning(snapshots: Sequence[Snapshot]) -> frames.Explorer:
    """Slide through a training run: the first page that the model wrote, and its guesses for one
    next token."""
    longest = max(p for shot in snapshots for _, p in shot.probabilities)
    pages = [
        frames.card(_two_columns(_page(shot.pages[0]), _bars(shot, longest))) for shot in snapshots
    ]
    labels = [f"{shot.step:,}" for shot in snapshots]
    return frames.slideshow(pages, labels, "training step", start=len(snapshots) - 1, interval=1500)


def pages(texts: Mapping[str, str], name: str) -> frames.Explorer:
    """Choose between pages of text by buttons with their names."""
    return frames.choose(
        [frames.card(_page(text.strip())) for text in texts.values()], list(texts), name
    )


def written_at(
    model: nn.Module,
    tokenizer,
    prompt: str,
    temperatures: Sequence[float],
    n_samples: int = 3,
    n_tokens: int = 90,
) -> dict[float, list[str]]:
    """Let the model write on from `prompt`, `n_samples` times at each temperature, with the
    same random numbers at each."""
    ids = torch.tensor([tokenizer.encode(prompt)]).expand(n_samples, -1)
    texts = {}
    for temperature in temperatures:
        generator = torch.Generator().manual_seed(0)
        rows = generate(model, ids, n_tokens, temperature=temperature, generator=generator)
        texts[temperature] = [tokenizer.decode(row).strip() for row in rows]
    return texts


def temperature(texts: Mapping[float, Sequence[str]], start: tuple[int, int]) -> frames.Explorer:
    """Slide the temperature, or look at another sample. The texts are those of `written_at`."""
    table = [[frames.card(_page(text)) for text in samples] for samples in texts.values()]
    samples = [f"{i + 1}" for i in range(len(table[0]))]
    return frames.grid(table, {"temperature": list(texts), "sample": samples}, start=start)


def _two_columns(left: str, right: str) -> str:
    return (
        '<div style="display: flex; flex-wrap: wrap; gap: 12px 28px; min-height:'
        f' 19em">{left}{right}</div>'
    )


def _page(text: str) -> str:
    return f'<div style="{PAGE}">{html.escape(text)}</div>'


def _bars(shot: Snapshot, longest: float) -> str:
    """Draw the probabilities as bars with their numbers, in HTML: small, sharp, readable aloud."""
    rows = ""
    for token, p in shot.probabilities:
        bar = f'<span style="{BAR}; width: {max(1, round(70 * p / longest))}%"></span>'
        rows += (
            '<tr><td style="padding: 1px 8px 1px 0; text-align:'
            f' right"><code>{_visible(token)}</code></td><td style="width: 60%; text-align:'
            f' left">{bar} {p:.0%}</td></tr>'
        )
    title = f"Next token after “{html.escape(' '.join(shot.opening.split()))}”"
    return (
        f'<div style="flex: 2 1 220px; font-size: 13px"><b>{title}</b><table style="width: 100%;'
        f' margin-top: 4px; border-collapse: collapse; color: inherit">{rows}</table></div>'
    )


def _visible(token: str) -> str:
    """Write a token so that its spaces and line breaks can be seen.

    >>> _visible(" lord"), _visible("\\n")
    ('␣lord', '⏎')
    """
    return html.escape(token.replace(" ", "␣").replace("\n", "⏎"))
