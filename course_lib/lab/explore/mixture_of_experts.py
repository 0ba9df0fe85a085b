"""Figures of lesson 20: tokens that walk to their experts, loads that collapse, devices visited."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, COLOURS, GREY, RED

SVG = 'style="width:100%;max-width:{}px" font-family="sans-serif" font-size="12"'
WIDTH = 640


# --------------------------------------------------------------------------------------------------
# Tokens on their way
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RoutedText:
    """A text as tokens, and of each layer with experts where they went and with what weight."""

    tokens: Sequence[str]
    chosen: Int[Tensor, "L T K"]
    weights: Float[Tensor, "L T K"]
    n_experts: int


def walk(texts: Mapping[str, RoutedText], start: tuple[int, int] = (0, 0)) -> frames.Explorer:
    """Choose a page and slide from token to token; see which experts each visits, layer by layer,
    and how full the experts have become so far.

    All texts have as many tokens.
    """
    pictures = [
        [_step(name, text, place) for place in range(len(text.tokens))]
        for name, text in texts.items()
    ]
    places = range(1, len(pictures[0]) + 1)
    return frames.grid(pictures, {"page": list(texts), "token": list(places)}, start=start)


def _step(name: str, text: RoutedText, place: int) -> str:
    """Draw one token's way: the text above, a row of experts for each layer."""
    step = (WIDTH - 70) / text.n_experts
    marks, told, x, y = "", [], WIDTH / 2, 26
    for layer in range(len(text.chosen)):
        here = text.chosen[layer, place].tolist()
        weights = text.weights[layer, place].tolist()
        counts = text.chosen[layer, : place + 1].flatten().bincount(minlength=text.n_experts)
        top, base = y + 30, y + 92
        marks += f'<text x="2" y="{base - 6}" fill="{GREY}">layer {layer + 2}</text>'
        most = max(8, int(counts.max()))
        for expert, count in enumerate(counts.tolist()):
            left = 62 + step * expert
            height = 40 * count / most
            colour = BLUE if expert in here else "#c3ccd4"
            marks += (
                f'<rect x="{left:.0f}" y="{base - height:.0f}" width="{step - 6:.0f}"'
                f' height="{height:.0f}" fill="{colour}"/>'
                f'<text x="{left + step / 2 - 3:.0f}" y="{base + 13}" font-size="10"'
                f' text-anchor="middle">{expert}</text>'
            )
        strongest = max(weights)
        for expert, weight in zip(here, weights, strict=True):
            to = 62 + step * expert + step / 2 - 3
            bar = base - 40 * counts[expert].item() / most - 2
            thick = 1 + 4 * weight / strongest
            marks += (
                f'<path d="M{x:.0f} {y}C{x:.0f} {top} {to:.0f} {top} {to:.0f} {bar:.0f}"'
                f' fill="none" stroke="{RED}" stroke-width="{thick:.1f}"/>'
            )
        places = " and ".join(f"{e} ({w:.2f})" for e, w in zip(here, weights, strict=True))
        told.append(f"in layer {layer + 2} experts {places}")
        y = base + 22
    word = repr(text.tokens[place])
    label = html.escape(f"{name}, token {place + 1}, {word}: {'; '.join(told)}.", quote=True)
    marks += (
        f'<rect x="{x - 60:.0f}" y="4" width="120" height="22" rx="4" fill="{BLACK}"/>'
        f'<text x="{x:.0f}" y="19" fill="white" text-anchor="middle">{html.escape(word)}</text>'
    )
    svg = (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {y}" {SVG.format(WIDTH)}'
        f' fill="{BLACK}">{marks}</svg>'
    )
    return frames.card(_text_so_far(text.tokens, place) + svg)


def _text_so_far(tokens: Sequence[str], place: int) -> str:
    """Write the text, the token at hand in bold, what comes later in grey."""
    before, here, after = (
        html.escape("".join(part).replace("\n", " "))
        for part in (tokens[:place], tokens[place : place + 1], tokens[place + 1 :])
    )
    return (
        f'<div style="min-height: 3em">{before}<b style="color:{RED}">{here}</b>'
        f'<span style="color:{GREY}">{after}</span></div>'
    )


# --------------------------------------------------------------------------------------------------
# Loads over a run
# --------------------------------------------------------------------------------------------------


def loads(
    runs: Mapping[str, Sequence[Float[Tensor, "E"]]], steps: Sequence[int], start: int
) -> frames.Explorer:
    """Slide through a training run; see each expert's load by a fair one, run beside run."""
    pictures = [
        _loads({name: shares[i] for name, shares in runs.items()}, step)
        for i, step in enumerate(steps)
    ]
    return frames.slideshow(pictures, steps, name="step", start=start)


def _loads(now: Mapping[str, Float[Tensor, "E"]], step: int) -> str:
    """Draw a row of bars for each run, busiest expert first, with a line at a fair load."""
    marks, told, unit = "", [], 16.0
    for row, (name, load) in enumerate(now.items()):
        bars = sorted(load.tolist(), reverse=True)
        base, width = 118 + 130 * row, (WIDTH - 150) / len(bars)
        marks += (
            f'<text x="2" y="{base - 40}">{html.escape(name)}</text>'
            f'<text x="2" y="{base - 12}" fill="{GREY}">dashed: a fair load</text>'
        )
        for i, value in enumerate(bars):
            height = min(6.5, value) * unit
            colour = RED if value > 2 else COLOURS[0] if value >= 0.1 else GREY
            marks += (
                f'<rect x="{140 + width * i:.0f}" y="{base - height:.0f}"'
                f' width="{width - 3:.0f}" height="{max(height, 1):.0f}" fill="{colour}"/>'
            )
        fair = f"M140 {base - unit:.0f}H{WIDTH - 8}"
        marks += f'<path d="{fair}" stroke="{BLACK}" stroke-dasharray="4 3"/>'
        dead = sum(value < 0.1 for value in bars)
        told.append(f"{name}: the busiest expert has {bars[0]:.1f} times a fair load, {dead} dead")
    label = html.escape(f"Step {step}. {'. '.join(told)}.", quote=True)
    height = 130 * len(now)
    svg = (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" {SVG.format(WIDTH)}'
        f' fill="{BLACK}">{marks}</svg>'
    )
    return frames.card(f"<div>{html.escape('. '.join(told))}.</div>{svg}")
