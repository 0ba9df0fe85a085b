"""Interactive figures of lesson 02: the S-curve of banded hashes, and pages on their way through
the pipeline."""

import difflib
import html
import re
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from ipywidgets import Widget

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, GREY, RED
from course_lib.text import corpus
from course_lib.text.corpus import CleanedCorpus, CleaningStep, quality

GREEN = "#0a6b58"  # dark enough for text on white


# The S-curve
# --------------------------------------------------------------------------------------------------


def s_curve(
    bands: tuple[int, ...] = (1, 4, 14, 28, 56), rows: tuple[int, ...] = (1, 2, 4, 8, 16)
) -> Widget:
    """Slide bands and rows; see which pairs become candidates, which copies are missed, how many
    false alarms rise."""
    pictures = [[_s_frame(b, r) for r in rows] for b in bands]
    return frames.grid(pictures, {"bands": bands, "rows per band": rows}, start=(2, 3))


def _s_frame(bands: int, rows: int) -> str:
    s = np.linspace(0, 1, 201)
    probability = corpus.candidate_probability(s, bands, rows)
    half = (1 - 0.5 ** (1 / bands)) ** (1 / rows)
    fig, ax = plt.subplots(figsize=(6.4, 3.1), layout="none")
    fig.subplots_adjust(left=0.1, right=0.97, top=0.88, bottom=0.17)
    ax.plot(s, probability, color=BLUE)
    ax.fill_between(s, probability, where=s <= 0.5, color=RED, alpha=0.25, linewidth=0)
    ax.fill_between(s, probability, 1, where=s >= 0.8, color=GREY, alpha=0.35, linewidth=0)
    ax.plot([half, half], [0, 0.5], ":", color="black", linewidth=1.2)
    ax.set(
        xlabel="Jaccard similarity of a pair",
        ylabel="probability of becoming a candidate",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    caught, alarms = (corpus.candidate_probability(x, bands, rows) for x in (0.8, 0.5))
    ax.set_title(f"{bands} x {rows} = {bands * rows} hashes: half of the pairs at {half:.2f}")
    said = f"caught at 0.8: {caught:.1%};  false alarms at 0.5: {alarms:.1%}"
    ax.text(
        0.02,
        0.93,
        said,
        fontsize=9.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )
    alt = (
        f"S-curve of {bands} bands of {rows} rows. It passes one half at similarity {half:.2f}."
        f" Pairs {said}."
    )
    return frames.image(fig, alt=alt, colours=32)


# One page through all steps
# ------------------------------------------------------------------------------------------


def pipeline(cleaned: CleanedCorpus, pages: Mapping[str, str]) -> Widget:
    """Step a page through the pipeline; see what each step makes of it.

    `pages` gives each URL a name for the slider.
    """
    names = [step.name for step in cleaned.steps]
    pictures = [
        [_pipeline_frame(cleaned, url, i) for i in range(len(names))] for url in pages.values()
    ]
    return frames.grid(pictures, {"page": list(pages), "after": names})


def _pipeline_frame(cleaned: CleanedCorpus, url: str, i: int) -> str:
    step = cleaned.steps[i]
    now, before = _text_after(cleaned, url, i), _text_after(cleaned, url, i - 1) if i else None
    dropped_at, reason = cleaned.dropped.get(url, (None, ""))
    if url in step.dropped:
        body = _verdict(f"dropped: {reason}", RED) + _why(cleaned, url, before, step.name)
    elif now is None:
        body = _verdict(f"not here any more: dropped at the step '{dropped_at}' ({reason})", GREY)
    elif now == before or before is None or step.name == "parse":
        said = {"crawl": "as it was sent", "parse": "the text that its structure gives"} | UNTOUCHED
        body = _verdict(said.get(step.name, "nothing to change"), GREEN) + _preformatted(
            html.escape(_shorten(now))
        )
    else:
        body = _verdict("changed: <s>struck out</s> is gone, <u>underlined</u> is new", BLUE)
        body += _preformatted(_marked(before, now))
    size = f"{len(now.encode()):,} bytes" if now is not None else "gone"
    return frames.card(
        f"<b>{step.name}</b> <span style='color:{GREY}'>· {html.escape(url)} · {size}</span>{body}"
    )


UNTOUCHED = {
    "quality": "kept: no rule objects",
    "exact copies": "kept: the first page that says this",
    "near copies": "kept: no earlier page says nearly this",
}


def _text_after(cleaned: CleanedCorpus, url: str, i: int) -> str | None:
    return next(
        (document.text for document in cleaned.steps[i].documents if document.url == url), None
    )


def _step(cleaned: CleanedCorpus, name: str) -> CleaningStep:
    return next(step for step in cleaned.steps if step.name == name)


def _verdict(said: str, colour: str) -> str:
    return f"<div style='color:{colour};font-weight:bold;margin:6px 0'>{said}</div>"


def _preformatted(marked: str) -> str:
    look = (
        "white-space:pre-wrap;overflow-wrap:anywhere;font-size:12.5px;margin:6px"
        " 0;padding:8px;background:#f6f6f4;color:#222222"
    )
    return f"<pre style='{look}'>{marked}</pre>"


def _shorten(text: str, most: int = 1500) -> str:
    return (
        text
        if len(text) <= most
        else text[:most] + f"\n... and {len(text) - most:,} characters more"
    )


def _why(cleaned: CleanedCorpus, url: str, text: str, step: str) -> str:
    """What there is to see about a drop: the rules that failed, or the text that it is a copy
    of."""
    if step == "quality":
        failed = corpus.failed_rules(text)
        listed = "".join(
            f"<li><b>{name}</b>: {html.escape(getattr(quality, name).__doc__)}</li>"
            for name in failed
        )
        return (
            "<ul style='margin:4px 0 4px"
            f" 18px'>{listed}</ul>{_preformatted(html.escape(_shorten(text, 500)))}"
        )
    original = cleaned.dropped[url][1].split(" of ")[1]
    kept = next(
        document.text
        for document in _step(cleaned, "quality").documents
        if document.url == original
    )
    similarity = corpus.jaccard(corpus.shingles(kept), corpus.shingles(text))
    said = f"<div>Jaccard similarity {similarity:.2f} with the page that is kept:</div>"
    return said + _preformatted(_marked(kept, text))


def _marked(before: str, now: str) -> str:
    """The new text with what went struck out and what came underlined, word by word; only where
    something changed."""
    old, new = (re.findall(r"\s|[^\s]+", text) for text in (before, now))
    pieces = []
    for tag, i, j, k, m in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        gone, came = (html.escape("".join(part)) for part in (old[i:j], new[k:m]))
        if tag == "equal":
            pieces.append(came if len(came) < 1500 else came[:700] + " [...] " + came[-700:])
            continue
        pieces += [f"<s style='color:{RED}'>{gone}</s>"] if gone.strip() else []
        pieces += [f"<u style='color:{BLUE}'>{came}</u>"] if came.strip() else [came]
    return re.sub(
        "[\u00a0\u00ad\u200b\u2009]", lambda match: f"⟨{ord(match[0]):04X}⟩", "".join(pieces)
    )
