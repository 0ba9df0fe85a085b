"""A lesson's Markdown: its blocks, its folds and its sentences, and any of it as HTML."""

import html
import re
from typing import NamedTuple

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

FOLD = re.compile(r"(?s)<details>\s*<summary>(?P<summary>.*?)</summary>(?P<text>.*?)</details>")
CLOSED = re.compile(r"`[^`]*`|\$[^$]*\$|\[[^\]]*\]\([^)]*\)|\([^()]*\)|\"[^\"]*\"")
END = re.compile(r"(?<!\bal)(?<!\bvs)[.?!][)\"*_]*\s+(?=[^\sa-z])")


class Block(NamedTuple):
    """One block of Markdown: `kind` is markdown-it's name of it, or "fold"."""

    kind: str
    text: str
    summary: str = ""  # of a fold: the line that is always seen


def formula(content: str, options: dict) -> str:
    r"""The marks that MathJax looks for.

    >>> formula("a < b", {"display_mode": False})
    '\\(a &lt; b\\)'
    """
    marks = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
    return html.escape(content, quote=False).join(marks)


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
MARKDOWN.use(dollarmath_plugin, renderer=formula)


def as_html(text: str) -> str:
    """Markdown as HTML. Links to other lessons lead to their decks; links to other files of the
    course, which need not be there, are text.

    >>> as_html("[a](../book/left_out.md) and [b](06_self_attention.ipynb)")
    '<p>a and <a href="06_self_attention.html">b</a></p>\\n'
    """
    text = re.sub(r"\]\((\d\d_\w+)\.ipynb", r"](\1.html", text)
    text = re.sub(r"\[([^\]]*)\]\((?!https?:|\d\d_)[^)]*\)", r"\1", text)
    return MARKDOWN.render(text)


def title_html(text: str) -> str:
    """A title, without a paragraph around it."""
    return MARKDOWN.renderInline(text)


def blocks(text: str) -> list[Block]:
    """The blocks of a cell in order, with its folds among them.

    >>> [block.kind for block in blocks("# A\\n\\nB.\\n<details><summary>C</summary>D</details>")]
    ['heading', 'paragraph', 'fold']
    """
    found, start = [], 0
    for fold in FOLD.finditer(text):
        found += [
            *plain_blocks(text[start : fold.start()]),
            Block("fold", fold["text"].strip(), fold["summary"]),
        ]
        start = fold.end()
    return found + plain_blocks(text[start:])


def plain_blocks(text: str) -> list[Block]:
    """The blocks of a text without folds."""
    lines = text.splitlines()
    return [
        Block(token.type.removesuffix("_open"), "\n".join(lines[slice(*token.map)]).strip())
        for token in MARKDOWN.parse(text)
        if token.level == 0 and token.map
    ]


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph. A bold word that heads one belongs to it; what stands in
    brackets, quotes, code and formulas is never cut.

    >>> sentences("**Size.** See `a. B`, (C. D) and $e$. Why? In two\\nsteps:")
    ['**Size.** See `a. B`, (C. D) and $e$.', 'Why?', 'In two steps:']
    """
    text = " ".join(paragraph.split())
    whole = CLOSED.sub(lambda found: re.sub(r"[.?!](?=\s)", "x", found[0]), text)
    cuts = [0, *(found.end() for found in END.finditer(whole)), len(text)]
    cut = [text[a:b].strip() for a, b in zip(cuts, cuts[1:], strict=False)]
    joined: list[str] = []
    for sentence in cut:
        if joined and re.fullmatch(r"\*\*[^*]+\*\*", joined[-1]):
            sentence = f"{joined.pop()} {sentence}"
        joined.append(sentence)
    return joined
