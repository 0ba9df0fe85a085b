"""Figures of lesson 18: GPT-2 turning into V1, and which part each word of a config.json sets."""

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, ORANGE

SVG = 'style="width:100%;max-width:660px" font-family="sans-serif" font-size="12"'
PAPER, LIT = "#eef3f8", "#ffd9a0"  # of a part as it was, and of one that is pointed at


# --------------------------------------------------------------------------------------------------
# A model as a drawing
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DrawnModel:
    """What the drawing tells apart; `lit` names the parts that are pointed at."""

    changes: Collection[str] = ()
    n_heads: int = 4
    n_kv_heads: int = 4
    tied: bool = True
    lit: Collection[str] = field(default_factory=tuple)

    def fill(self, *parts: str) -> str:
        """Give the colour of a part that goes by these names."""
        return LIT if set(parts) & set(self.lit) else PAPER


def _box(x: float, y: float, width: float, height: float, text: str, fill: str) -> str:
    """A rectangle with a word in its middle."""
    middle, line = x + width / 2, y + height / 2 + 4
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}"'
        f' stroke="{GREY}"/><text x="{middle}" y="{line}" text-anchor="middle">'
        f"{html.escape(text)}</text>"
    )


def _heads(y: float, n: int, colour: str, word: str, fill: str) -> str:
    """A row of heads, side by side."""
    width = min(16.0, 150 / n)
    squares = "".join(
        f'<rect x="{112 + i * width:.1f}" y="{y}" width="{0.8 * width:.1f}" height="12"'
        f' fill="{colour}"/>'
        for i in range(n)
    )
    back = f'<rect x="40" y="{y - 3}" width="230" height="18" rx="3" fill="{fill}"/>'
    return f'{back}<text x="44" y="{y + 10}">{n} {word}</text>{squares}'


def _drawing(model: DrawnModel) -> str:
    """Draw one layer between the table and the head, read from below."""
    norm = "RMSNorm" if "RMSNorm" in model.changes else "LayerNorm"
    gated, bare = "SwiGLU" in model.changes, "no biases" in model.changes
    matrices = ("gate", "up", "down") if gated else ("up", "GELU", "down")
    position = "rotary" if "rotary" in model.changes else "position table"
    head = "head = token table" if model.tied else "head"
    bias = "" if bare else " + biases"
    parts = [
        _box(30, 8, 250, 24, head, model.fill("head")),
        _box(90, 42, 130, 18, norm, model.fill("norms")),
        f'<rect x="20" y="72" width="270" height="216" rx="8" fill="{model.fill("layers")}"'
        f' stroke="{BLUE}"/>',
        _box(30, 82, 250, 62, "", model.fill("mlp", "biases")),
        f'<text x="38" y="98">MLP{"" if gated else bias}</text>',
        *(_box(44 + 78 * i, 108, 70, 26, word, "#ffffff") for i, word in enumerate(matrices)),
        _box(90, 152, 130, 18, norm, model.fill("norms")),
        _box(30, 180, 250, 74, "", model.fill("attention", "biases")),
        f'<text x="38" y="196">attention{bias}</text>',
        _heads(206, model.n_heads, BLUE, "queries", model.fill("queries")),
        _heads(228, model.n_kv_heads, ORANGE, "keys", model.fill("keys")),
        _box(90, 262, 130, 18, norm, model.fill("norms")),
        _box(30, 300, 120, 24, "token table", model.fill("table")),
    ]
    if position == "rotary":
        parts.append(_box(196, 183, 78, 18, "rotary", model.fill("position")))
    else:
        parts.append(_box(160, 300, 120, 24, position, model.fill("position")))
    return "".join(parts)


def _page(model: DrawnModel, title: str, lines: Sequence[str], marks: str, told: str) -> str:
    """Put a drawing, a title, lines of text and further marks side by side on a card."""
    text = "".join(
        f'<text x="310" y="{58 + 20 * i}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return frames.card(
        f'<svg role="img" aria-label="{html.escape(told, quote=True)}" viewBox="0 0 660 332" {SVG}'
        f' fill="{BLACK}">{_drawing(model)}<text x="310" y="28" font-size="15"'
        f' font-weight="bold">{html.escape(title)}</text>{text}{marks}</svg>'
    )


# --------------------------------------------------------------------------------------------------
# From GPT-2 to V1
# --------------------------------------------------------------------------------------------------

LIGHTS = {  # the parts that a change touches
    "RMSNorm": "norms",
    "rotary": "position",
    "SwiGLU": "mlp",
    "no biases": "biases",
    "GQA": "keys",
}


@dataclass(frozen=True)
class ChangeStep:
    """One step of the chain, and what was measured of it: bits per byte seed by seed."""

    change: str
    bits_per_byte: Sequence[float]
    parameters: int
    cache_numbers: int  # per token, all layers
    d_ff: int


def morph(steps: Sequence[ChangeStep], heads: tuple[int, int], start: int) -> frames.Explorer:
    """Slide from GPT-2 to V1: see which part changes, and what that does to loss and cache.

    The first of `steps` is GPT-2 itself; `heads` are those of queries, and of keys once shared.
    """
    pictures = [_change(steps, i, heads) for i in range(len(steps))]
    return frames.slideshow(
        pictures, [step.change for step in steps], name="change", start=start, interval=1600
    )


def _change(steps: Sequence[ChangeStep], i: int, heads: tuple[int, int]) -> str:
    """Draw the model after the first `i` changes, with all results so far as bars."""
    step, changes = steps[i], [each.change for each in steps[1 : i + 1]]
    n_kv_heads = heads["GQA" in changes]
    lit = (LIGHTS.get(step.change, ""),) if i else ()
    model = DrawnModel(changes, heads[0], n_kv_heads, lit=lit)
    bits = mean(step.bits_per_byte)
    lines = [
        f"{step.parameters:,} parameters, MLP {step.d_ff} wide",
        f"cache: {step.cache_numbers:,} numbers per token",
        f"{bits:.3f} bits per byte, mean of {len(step.bits_per_byte)} seeds:",
    ]
    marks = _bars(steps, i)
    told = f"{step.change}: {'; '.join(lines).rstrip(':')}."
    if i:
        change = bits - mean(steps[i - 1].bits_per_byte)
        told += f" {change:+.3f} against the step before."
    return _page(model, step.change if not i else f"+ {step.change}", lines, marks, told)


def _bars(steps: Sequence[ChangeStep], i: int) -> str:
    """Draw the bits per byte of all steps, those still to come in grey; dots are seeds."""
    most = max(max(step.bits_per_byte) for step in steps)
    marks = ""
    for row, step in enumerate(steps):
        y, width = 122 + 26 * row, 170 * mean(step.bits_per_byte) / most
        colour = ORANGE if row == i else BLUE if row < i else "#dddddd"
        dots = "".join(
            f'<circle cx="{400 + 170 * value / most:.1f}" cy="{y + 8}" r="2.5"/>'
            for value in step.bits_per_byte
        )
        marks += (
            f'<text x="392" y="{y + 12}" text-anchor="end">{html.escape(step.change)}</text>'
            f'<rect x="400" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>'
            + (
                f'{dots}<text x="{410 + width:.0f}" y="{y + 12}">'
                f"{mean(step.bits_per_byte):.3f}</text>"
                if row <= i
                else ""
            )
        )
    return marks


# --------------------------------------------------------------------------------------------------
# config.json
# --------------------------------------------------------------------------------------------------

CONFIG_WORDS: dict[str, tuple[str, str, Sequence[str]]] = {  # the part, our name, what it says
    "model_type": ("", "the class", ["Which code reads the rest. What this code", "does unasked is"
                                     " written nowhere else."]),
    "vocab_size": ("table", "vocab_size", ["Rows of the token table, padded", "to a round number"
                                           " more often than not."]),
    "hidden_size": ("layers", "d_model", ["Width of the residual stream.", "Every matrix has it on"
                                          " one side."]),
    "num_hidden_layers": ("layers", "n_layers", ["How often the blue frame is repeated."]),
    "num_attention_heads": ("queries", "n_heads", ["Heads of queries."]),
    "num_key_value_heads": ("keys", "n_kv_heads", ["Heads of keys and values: what a", "cache"
                                                   " holds. Left out, as many as heads."]),
    "intermediate_size": ("mlp", "d_ff", ["Width of the MLP, between up and down."]),
    "rms_norm_eps": ("norms", "norm_eps", ["Added under the root of every norm."]),
    "rope_theta": ("position", "rope_base", ["Base of the rotary speeds. Larger for", "longer"
                                             " texts. Left out, 10,000."]),
    "max_position_embeddings": ("position", "max_seq_len", ["The longest text. No table has this",
                                                            "length: rotary positions are"
                                                            " computed."]),
    "tie_word_embeddings": ("head", "tied", ["Whether the token table is the head, too.", "Left"
                                             " out, it is not."]),
}  # fmt: skip
SHARES = ("num_attention_heads", "num_key_value_heads")


def config_words(config: Mapping, name: str, start: int = 0) -> frames.Explorer:
    """Slide over the words of a model's config.json; the part that a word sets lights up."""
    words = [word for word in CONFIG_WORDS if word in config]
    pictures = [_word(config, name, word) for word in words]
    return frames.slideshow(pictures, words, name="word", start=start, interval=1600)


def _word(config: Mapping, name: str, word: str) -> str:
    """Draw the model with one part lit, beside the whole file with that line in bold."""
    part, ours, says = CONFIG_WORDS[word]
    n_heads, n_kv_heads = (config.get(key, config[SHARES[0]]) for key in SHARES)
    changes = ("RMSNorm", "rotary", "SwiGLU", "no biases", "GQA")
    tied = bool(config.get("tie_word_embeddings", False))
    model = DrawnModel(changes, n_heads, n_kv_heads, tied, (part,))
    marks = "".join(
        f'<text x="310" y="{126 + 18 * i}" font-family="monospace"'
        f' font-weight="{"bold" if key == word else "normal"}"'
        f' fill="{BLACK if key == word else "#555555"}">{html.escape(f"{key}: {config[key]}")}'
        "</text>"
        for i, key in enumerate(key for key in CONFIG_WORDS if key in config)
    )
    told = f"{word} {config[word]} of {name}, ours: {ours}. {' '.join(says)}"
    return _page(model, f"{word}: {config[word]}", [f"ours: {ours}", *says], marks, told)
