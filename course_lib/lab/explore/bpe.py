"""Figures of lesson 03: text painted token by token, and a vocabulary that grows merge by merge."""

import html
from collections.abc import Mapping, Sequence

from IPython.display import HTML
from ipywidgets import Widget

from course_lib.lab.explore import frames
from course_lib.text.bpe import Tokenizer

# light enough for black text; borders tell tokens apart without colour
TINTS = ("#cfe6f5", "#fbe2cc", "#d5eee3")
NEW = "#f7d154;font-weight:bold"
STEPS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 400, 800, 1600, 3200)


def paint(tokenizer: Tokenizer, text: str, new: int = -1) -> str:
    """The text as HTML, each token in a box tinted by its id, the token `new` in yellow and bold. A
    box that holds part of a character shows its bytes in hex."""
    boxes = []
    for token_id in tokenizer.encode(text):
        token = tokenizer.token_bytes(token_id)
        tint = NEW if token_id == new else TINTS[token_id % len(TINTS)]
        style = f"background:{tint};border-right:1.5px solid #555;padding:1px 0"
        boxes.append(f'<span title="id {token_id}" style="{style}">{_shown(token)}</span>')
    font = (
        "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13.5px;line-height:1.9;"
        "overflow-wrap:anywhere"
    )
    return f'<div style="{font};color:#222">{"".join(boxes)}</div>'


def _shown(token: bytes) -> str:
    """A token's text with its blanks made visible, or its bytes."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return f'<span style="font-size:11px">‹{token.hex(" ").upper()}›</span>'
    return html.escape(text).replace(" ", "·").replace("\n", "↵<br>").replace("\t", "⇥")


def painted(tokenizer: Tokenizer, text: str) -> HTML:
    """The text, token by token, as the output of a cell."""
    return HTML(frames.card(paint(tokenizer, text) + _count(tokenizer, text)))


def _count(tokenizer: Tokenizer, text: str) -> str:
    n_tokens, n_bytes = len(tokenizer.encode(text)), len(text.encode())
    told = f"{n_bytes:,} bytes, {n_tokens:,} tokens: {n_bytes / n_tokens:.2f} bytes per token"
    return f'<div style="color:#444;font-size:13px;margin-top:6px">{told}</div>'


def parts(tokenizer: Tokenizer, token_id: int) -> tuple[bytes, bytes]:
    """The two tokens that were merged into this one: what the merges before it make of its
    bytes."""
    before = tokenizer.after(token_id - 256)
    first, second = (
        before.token_bytes(i) for i in before.encode_piece(tokenizer.token_bytes(token_id))
    )
    return first, second


def merges(tokenizer: Tokenizer, text: str, steps: Sequence[int] = STEPS) -> Widget:
    """Slide over the merges; see the last one that was made, and the text after it."""
    steps = [step for step in steps if step <= len(tokenizer.ranks) - 256]
    shown = [_after(tokenizer, step, text) for step in steps]
    return frames.slideshow(shown, steps, "merges learnt", start=max(0, len(steps) - 5))


def _after(tokenizer: Tokenizer, step: int, text: str) -> str:
    then, new = tokenizer.after(step), 255 + step
    told = "no merges yet: every byte is a token"
    if step:
        first, second = (f"<code>{_shown(part)}</code>" for part in parts(tokenizer, new))
        times = then.encode(text).count(new)
        here = "in yellow below" if times else "not in this passage"
        told = f"merge {step:,}: {first} and {second} become token {new}, {here}"
    return frames.card(
        f'<b style="font-size:14px">{told}</b>'
        f"{paint(then, text, new if step else -1)}{_count(then, text)}"
    )


def compare(tokenizers: Mapping[str, Tokenizer], texts: Mapping[str, str]) -> Widget:
    """Slide over texts and vocabularies; see the same text under each of them."""
    table = [
        [frames.card(paint(t, text) + _count(t, text)) for t in tokenizers.values()]
        for text in texts.values()
    ]
    axes = {"text": list(texts), "vocabulary": list(tokenizers)}
    return frames.grid(table, axes, start=(0, len(tokenizers) - 1))
