"""Figures of lesson 08: the residual stream through the blocks, one reading step by step, where the
parameters are."""

import html
from collections.abc import Sequence

import torch
from IPython.display import HTML
from ipywidgets import Widget
from jaxtyping import Float
from torch import Tensor

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY
from course_lib.models.gpt2 import GPT2, GPT2_LARGE, GPT2_MEDIUM, GPT2_SMALL, GPT2_XL, GPT2Settings

# --------------------------------------------------------------------------------------------------
# The stream and the blocks
# --------------------------------------------------------------------------------------------------

STEP, STREAM = 84, 104  # pixels from one stage to the next; how far down the stream runs
PALE = "#c9c9c9"


def drawing(n_layers: int = 1) -> HTML:
    """Draw the way of the tokens through a GPT-2: a residual stream from left to right; every layer
    reads it and adds to it."""
    label = (
        "A residual stream runs from left to right. Tokens enter it through the embeddings. In"
        f" each of {n_layers} blocks, attention reads the stream through a norm and adds to it,"
        " then the MLP does the same. At the end a norm and the tied head make logits."
    )
    return HTML(frames.card(_drawn(n_layers, at=None, label=label)))


def _drawn(
    n_layers: int, at: int | None, label: str, said: Sequence[tuple[str, float]] = ()
) -> str:
    """Draw the stages; `at` is the one in which we are (those after it are pale), None draws all of
    them plain.

    `said` holds a guess and its probability for each stage so far, to be written below.
    """
    names = ["embed-\ndings", *["attention", "MLP"] * n_layers, "norm,\ntied head"]
    width = STEP * (len(names) + 1) + 20
    done = len(names) if at is None else at
    marks = _line(20, width - 20, STREAM, PALE, 5) + _line(20, 40 + STEP * done, STREAM, GREY, 5)
    marks += "".join(_frame_of_block(i) for i in range(n_layers))
    for i, name in enumerate(names):
        colour = (
            PALE
            if i > done - (at is not None)
            else RED
            if i == done - 1 and at is not None
            else BLACK
        )
        marks += _stage(STEP * (i + 1) - 10, name, colour, reads=0 < i < len(names) - 1)
    for i, (word, prob) in enumerate(said):
        where = f'x="{STEP * (i + 1) - 10}" text-anchor="middle"'
        colour = RED if i == done - 1 else BLACK
        marks += f'<text {where} y="162" font-weight="bold" fill="{colour}">{visible(word)}</text>'
        marks += f'<text {where} y="178" font-size="11" fill="{colour}">{prob:.0%}</text>'
    height = 184 if said else 146
    return (
        f'<div style="overflow-x:auto"><svg role="img" aria-label="{label}" viewBox="0 0 {width}'
        f' {height}" style="width:100%;min-width:520px;max-width:{width}px"'
        f' font-family="sans-serif" font-size="13">{marks}</svg></div>'
    )


def _line(x1: float, x2: float, y: float, colour: str, width: float) -> str:
    return f'<path d="M{x1} {y}H{x2}" stroke="{colour}" stroke-width="{width}"/>'


def _frame_of_block(i: int) -> str:
    """Draw the dashed frame round block `i`, with its name below."""
    x = STEP * (2 * i + 1) + 34
    return (
        f'<rect x="{x}" y="8" width="{2 * STEP - 4}" height="112" rx="8" fill="none"'
        f' stroke="{PALE}" stroke-dasharray="5 4"/><text x="{x + STEP - 4}" y="138"'
        f' text-anchor="middle" fill="{GREY}">block {i + 1}</text>'
    )


def _stage(x: float, name: str, colour: str, reads: bool) -> str:
    """Draw a box above the stream at `x`. One that `reads` takes from the stream (with a norm) and
    adds to it."""
    lines = name.split("\n")
    text = "".join(
        f'<tspan x="{x}" y="{42 + 15 * i - 7 * (len(lines) - 1)}">{line}</tspan>'
        for i, line in enumerate(lines)
    )
    box = (
        f'<rect x="{x - 34}" y="20" width="68" height="36" rx="6" fill="#ffffff" stroke="{colour}"'
        f' stroke-width="2"/><text text-anchor="middle" fill="{colour}">{text}</text>'
    )
    if not reads:
        return box + f'<path d="M{x} 56V{STREAM - 3}" stroke="{colour}" stroke-width="2"/>'
    return (
        box + f'<path d="M{x - 22} {STREAM - 3}V58M{x + 20} 56V{STREAM - 9}" stroke="{colour}"'
        f' stroke-width="2"/><path d="M{x - 22} 57l-5 9h10zM{x + 20} {STREAM - 8}l-5 -9h10z"'
        f' fill="{colour}"/><text x="{x - 16}" y="82" fill="{colour}"'
        f' font-size="11">norm</text><circle cx="{x + 20}" cy="{STREAM}" r="8" fill="#ffffff"'
        f' stroke="{colour}" stroke-width="2"/><path d="M{x + 15} {STREAM}h10m-5 -5v10"'
        f' stroke="{colour}" stroke-width="2"/>'
    )


# --------------------------------------------------------------------------------------------------
# One reading, step by step
# --------------------------------------------------------------------------------------------------


@torch.no_grad()
def stages(model: GPT2, ids: Sequence[int]) -> list[Float[Tensor, "T C"]]:
    """Keep the residual stream after the embeddings and after each write: 1 + 2 n_layers
    tensors."""
    batch = torch.tensor([list(ids)])
    x = model.token_embedding(batch) + model.position_embedding(torch.arange(len(ids)))
    kept = [x[0]]
    for block in model.blocks:
        x = x + block.attention(block.norm_1(x))
        kept.append(x[0])
        x = x + block.mlp(block.norm_2(x))
        kept.append(x[0])
    return kept


@torch.no_grad()
def guesses(model: GPT2, stream: Float[Tensor, "T C"], k: int = 5) -> list[tuple[int, float]]:
    """Ask a half-finished stream for its `k` likeliest next tokens and their probabilities, as if
    the model ended here."""
    best = model.logits(model.norm(stream[None]))[0, -1].softmax(-1).topk(k)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def forward_pass(model: GPT2, tokenizer, text: str) -> Widget:
    """Step through one reading of `text`: what runs, the shape it leaves, and what would be guessed
    at that point.

    Below each stage stands its best guess, so that the last frame tells the whole way.
    """
    ids, L = tokenizer.encode(text), model.settings.n_layers
    kept = stages(model, ids)
    said = [guesses(model, stream)[0] for stream in [*kept, kept[-1]]]
    best = [(_word(tokenizer, token), prob) for token, prob in said]
    pictures = [_step(model, tokenizer, kept, ids, best[: at + 1]) for at in range(2 * L + 2)]
    names = [
        "embeddings",
        *(f"block {i // 2 + 1}, {('attention', 'MLP')[i % 2]}" for i in range(2 * L)),
        "logits",
    ]
    return frames.slideshow(pictures, names, name="after", start=len(names) - 1, interval=2000)


def _step(
    model: GPT2,
    tokenizer,
    kept: Sequence[Tensor],
    ids: Sequence[int],
    said: Sequence[tuple[str, float]],
) -> str:
    """Draw one step: the drawing, the line of code with its shape, the guesses."""
    (T, C), at = kept[0].shape, len(said) - 1
    last = at == len(kept)
    code, shape = {
        0: ("x = token_embedding[ids] + position_embedding[:T]", (1, T, C)),
        len(kept): ("logits = norm(x) @ token_embedding.T", (1, T, model.settings.vocab_size)),
    }.get(at, (f"x = x + {('mlp(norm_2', 'attention(norm_1')[at % 2]}(x))", (1, T, C)))
    told = f"Stage {at + 1} of {len(kept) + 1}. Best guesses so far: "
    told += ", ".join(f"{word.strip()} at {prob:.0%}" for word, prob in said)
    best = guesses(model, kept[min(at, len(kept) - 1)])
    rows = "".join(_bar(_word(tokenizer, token), prob) for token, prob in best)
    heading = "Probabilities of the next token:" if last else "If the model ended here:"
    look = "background:#f0eee8;padding:0 3px"
    tokens = " ".join(
        f'<code style="{look}">{visible(_word(tokenizer, token))}</code>' for token in ids
    )
    drawing = _drawn(model.settings.n_layers, at + 1, html.escape(told, quote=True), said)
    grid = "display:grid;grid-template-columns:7em 1fr;gap:2px 10px;max-width:420px"
    return frames.card(
        f'<div style="margin:2px 0 8px">{tokens}</div>{drawing}'
        f'<div style="margin-top:6px"><code>{html.escape(code)}</code> &nbsp; shape {shape}</div>'
        f'<div style="margin-top:6px">{heading}</div><div style="{grid}">{rows}</div>'
    )


def _word(tokenizer, token: int) -> str:
    """Decode one token; of one that is only a part of a character, tell its bytes."""
    raw = tokenizer.token_bytes(token)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"({raw.hex(' ')})"


def _bar(word: str, prob: float) -> str:
    width = max(1, round(75 * prob))
    look = f"display:inline-block;height:.8em;width:{width}%;background:{BLUE};margin-right:6px"
    return (
        f'<code style="text-align:right">{visible(word)}</code>'
        f'<span><span style="{look}"></span>{prob:.0%}</span>'
    )


def visible(token: str) -> str:
    """Write a token so that its spaces and line breaks can be seen, as HTML.

    >>> visible(" lord"), visible("<b>\\n")
    ('␣lord', '&lt;b&gt;⏎')
    """
    return html.escape(token.replace(" ", "␣").replace("\n", "⏎"))


# --------------------------------------------------------------------------------------------------
# Where the parameters are
# --------------------------------------------------------------------------------------------------

PARTS = {
    "token embedding": ORANGE,
    "position embedding": SKY,
    "attention": BLUE,
    "MLP": GREEN,
    "norms": GREY,
}
NAMED = {
    (s.n_layers, s.d_model): name
    for name, s in {
        "GPT-2 small": GPT2_SMALL,
        "GPT-2 medium": GPT2_MEDIUM,
        "GPT-2 large": GPT2_LARGE,
        "GPT-2 XL": GPT2_XL,
    }.items()
}


def parts(settings: GPT2Settings) -> dict[str, int]:
    """Count the parameters of a GPT-2 part by part, by formula.

    >>> parts(GPT2Settings(vocab_size=10, max_seq_len=4, d_model=2, n_layers=1, n_heads=1))
    {'token embedding': 20, 'position embedding': 8, 'attention': 24, 'MLP': 42, 'norms': 12}
    """
    V, T, C, L, F = (
        getattr(settings, name)
        for name in ("vocab_size", "max_seq_len", "d_model", "n_layers", "d_ff")
    )
    return {
        "token embedding": V * C,
        "position embedding": T * C,
        "attention": L * (4 * C * C + 4 * C),
        "MLP": L * (2 * C * F + F + C),
        "norms": L * 4 * C + 2 * C,
    }


def budget(
    layers: Sequence[int] = (2, 4, 12, 24, 36, 48),
    widths: Sequence[int] = (64, 128, 256, 768, 1024, 1280, 1600),
) -> Widget:
    """Choose layers and width of a GPT-2 with GPT-2's vocabulary and context: see how many
    parameters, and where."""
    table = [
        [_budget(GPT2Settings(n_layers=L, d_model=C, n_heads=1)) for C in widths] for L in layers
    ]
    return frames.grid(
        table, {"layers": layers, "width": widths}, start=(layers.index(12), widths.index(768))
    )


def _budget(settings: GPT2Settings) -> str:
    """Draw the parts of one model as one bar, with what they weigh in memory."""
    counted = parts(settings)
    total = sum(counted.values())
    name = NAMED.get((settings.n_layers, settings.d_model), "no published model")
    bar, rows = "", ""
    for part, n in counted.items():
        bar += f'<span style="width:{100 * n / total:.2f}%;background:{PARTS[part]}"></span>'
        dot = f'<span style="color:{PARTS[part]}">■</span>'
        rows += (
            f"<span>{dot} {part}</span><span"
            f" style='text-align:right'>{n:,}</span><span>{n / total:.1%}</span>"
        )
    told = ", ".join(f"{part} {n / total:.0%}" for part, n in counted.items())
    return frames.card(
        f"<b>{total:,} parameters</b> &nbsp; {settings.n_layers} layers of width {settings.d_model}"
        f" ({name})"
        f'<div role="img" aria-label="Shares of the parameters: {told}." '
        'style="display:flex;height:1.6em;margin:8px'
        f' 0;border-radius:4px;overflow:hidden">{bar}</div>'
        f'<div style="display:grid;grid-template-columns:11em 9em 4em;gap:0 12px">{rows}</div>'
        f'<div style="margin-top:6px">Memory: {memory(4 * total)} to use it in float32, '
        f"{memory(16 * total)} to train it with AdamW (weights, gradients and two running"
        " averages), and the activations come on top.</div>"
    )


def memory(n_bytes: float) -> str:
    """Write an amount of memory.

    >>> memory(497_759_232), memory(6_230_444_800)
    ('498 MB', '6.2 GB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
