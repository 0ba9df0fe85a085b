"""Figures of lesson 15: what two ways to save leave of a model's parameters, and a teacher's
probabilities at any temperature."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, GREEN, ORANGE

ROW = 'style="background-color: #ffffff; color: #222222"'
CELL = "padding: 2px 10px 2px 0; text-align: left; white-space: nowrap"
WIDEST = 240  # of the longest bar, in pixels
COLOURS = {"table of tokens": ORANGE, "attention": BLUE, "MLP": GREEN}


@dataclass(frozen=True)
class EncoderShape:
    """A size of encoder: tokens in its vocabulary, width, layers, and published models of it."""

    name: str
    n_vocab: int
    d_model: int
    n_layers: int
    published: Mapping[tuple[bool, bool], str]  # by (narrow table, shared layers)


def encoder_matrices(
    shape: EncoderShape, d_embedding: int | None = None, shared: bool = False
) -> dict[str, int]:
    """Count the entries of an encoder's matrices: no biases, norms or positions.

    >>> encoder_matrices(EncoderShape("base", 30522, 768, 12, {}))
    {'table of tokens': 23440896, 'attention': 28311552, 'MLP': 56623104}
    """
    v, d, e = shape.n_vocab, shape.d_model, d_embedding
    layers = 1 if shared else shape.n_layers
    table = v * d if e is None else v * e + e * d
    return {"table of tokens": table, "attention": layers * 4 * d * d, "MLP": layers * 8 * d * d}


def savings(
    shapes: Sequence[EncoderShape], widths: Sequence[int], start: tuple[int, int] = (0, 0)
) -> frames.Explorer:
    """Slide through sizes of encoders and widths of the narrow table; see four models of each."""
    pictures = [[_savings(shape, width) for width in widths] for shape in shapes]
    axes = {"size": [shape.name for shape in shapes], "E": list(widths)}
    return frames.grid(pictures, axes, start)


def _savings(shape: EncoderShape, width: int) -> str:
    """Draw a shape as it is, with each saving, and with both."""
    ways = {
        "as it is": (False, False),
        f"table of E = {width}": (True, False),
        "shared layers": (False, True),
        "both": (True, True),
    }
    counts = {
        name: encoder_matrices(shape, width if narrow else None, shared)
        for name, (narrow, shared) in ways.items()
    }
    most = max(sum(parts.values()) for parts in counts.values())
    rows = "".join(
        _stacked(name, counts[name], most, shape.published.get(ways[name], "")) for name in ways
    )
    legend = " &nbsp; ".join(
        f'<span style="color: {colour}">&#9632;</span> {part}' for part, colour in COLOURS.items()
    )
    return frames.card(
        f"<div>{shape.n_vocab:,} tokens, width {shape.d_model}, {shape.n_layers} layers</div>"
        f'<table style="border-collapse: collapse; margin: 6px 0">{rows}</table>'
        f"<div>{legend} &nbsp; (matrices only)</div>"
    )


def _stacked(name: str, parts: Mapping[str, int], most: int, published: str) -> str:
    """Draw a row: a name, its parts side by side, their sum and whose size it is."""
    bar = "".join(
        f'<div title="{part}: {n:,}" style="background-color: {COLOURS[part]}; height: 14px;'
        f' width: {WIDEST * n / most:.1f}px"></div>'
        for part, n in parts.items()
    )
    total, table = sum(parts.values()), parts["table of tokens"]
    told = f"{_short(total)}, {table / total:.0%} table"
    whose = f" <b>{html.escape(published)}</b>" if published else ""
    return (
        f'<tr {ROW}><td style="{CELL}">{html.escape(name)}</td>'
        f'<td style="{CELL}; min-width: {WIDEST}px"><div style="display: flex">{bar}</div></td>'
        f'<td style="{CELL}">{told}{whose}</td></tr>'
    )


def _short(n: int) -> str:
    """Write a count with its unit: 2.54 billion, 85.1 million, 65.5 thousand."""
    if n >= 1e9:
        return f"{n / 1e9:.2f} billion"
    return f"{n / 1e6:.1f} million" if n >= 1e6 else f"{n / 1e3:.1f} thousand"


def temperatures(
    sentence: str,
    logits: Float[Tensor, "V"],
    words: Sequence[str],
    truth: str,
    steps: Sequence[float] = (0.5, 1, 2, 4, 8),
    start: int = 2,
    shown: int = 8,
) -> frames.Explorer:
    """Slide the temperature; see what the teacher expects at one hidden word."""
    pictures = [_softened(sentence, logits, words, truth, t, shown) for t in steps]
    return frames.slideshow(pictures, steps, "temperature", play=False, start=start)


def _softened(
    sentence: str,
    logits: Float[Tensor, "V"],
    words: Sequence[str],
    truth: str,
    temperature: float,
    shown: int,
) -> str:
    """Draw the likeliest words with their probabilities at a temperature."""
    probs = (logits / temperature).softmax(-1)
    best = logits.topk(shown).indices.tolist()
    rows = "".join(_word_row(words[i], probs[i].item(), words[i] == truth) for i in best)
    entropy = -(probs * probs.clamp_min(1e-30).log()).sum().item()
    rest = 1 - probs[best].sum().item()
    return frames.card(
        f"<div><code>{html.escape(sentence)}</code></div>"
        f'<table style="border-collapse: collapse; margin: 6px 0">{rows}</table>'
        f"<div>all other words together {rest:.3f}; entropy {entropy:.2f} nats</div>"
    )


def _word_row(word: str, share: float, true: bool) -> str:
    """Draw a row: a word, a bar as long as its probability, and the probability."""
    mark = " (the true word)" if true else ""
    return (
        f'<tr {ROW}><td style="{CELL}; min-width: 5em"><code>{html.escape(word)}</code></td>'
        f'<td style="{CELL}; min-width: {WIDEST}px"><div style="height: 12px;'
        f" background-color: {BLUE if true else '#8a8f94'};"
        f' width: {max(1, round(WIDEST * share))}px"></div></td>'
        f'<td style="{CELL}">{share:.3f}{mark}</td></tr>'
    )
