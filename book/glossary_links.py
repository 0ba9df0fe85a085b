"""What the book adds to its pages when it is built: the first use of each term of the glossary
links to it, papers on arXiv and the lessons that they belong to are links, the search index leaves
out the map of the course, which stands on every page, and a lesson may have a button that opens it
in Jupyter.

A Sphinx extension. The notebooks themselves stay plain Markdown.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

from course_lib.lab.course_map import lessons

# Where a term is no prose: code and outputs, headings, links, formulas.
NOT_PROSE = (
    nodes.FixedTextElement,
    nodes.literal,
    nodes.math,
    nodes.reference,
    nodes.title,
    pending_xref,
)


FOLD = re.compile(r"<(/?)details\b")


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", adapt_lesson)
    app.connect("html-page-context", adapt_page)
    app.add_config_value("launch_url", "", "html")
    app.connect("html-page-context", add_launch_button, priority=502)  # after the theme's own
    return {"parallel_read_safe": True}


def adapt_lesson(app: Sphinx, document: nodes.document) -> None:
    """Link the terms of one lesson, and keep its map out of the search index."""
    if not app.env.docname.startswith("notebooks/"):
        return
    for raw in document.findall(nodes.raw):
        if 'aria-label="Map of the course"' in raw.astext():
            cell = next(node for node in ancestors(raw) if "cell" in node["classes"])
            cell["classes"].append("no-search")
    terms = glossary_terms(Path(app.srcdir, "glossary.md").read_text(encoding="utf-8"))
    for text, found in first_uses(document, terms).items():
        link_terms(text, found, app.env.docname)


def adapt_page(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Let a folded solution be called what is written on it, and link the bibliography's papers."""
    label = ' aria-label="Toggle hidden content"'
    body = context.get("body", "").replace(f"<summary{label}>", "<summary>")
    if page == "bibliography":
        body = body.replace('role="doc-biblioentry"', 'role="listitem"')  # which a list must have
        link = r'<a class="reference external" href="https://arxiv.org/abs/\1">arXiv:\1</a>'
        body = re.sub(r"(?<!/)\barXiv:(\d{4}\.\d{4,5})", link, body)
        body = re.sub(r"\bLessons? \d\d(?:, \d\d)*(?=\.)", link_lessons, body)
    context["body"] = body


def link_lessons(named: re.Match) -> str:
    """Let each number of a lesson lead to its page."""
    files = {lesson.number: lesson.file.replace(".ipynb", ".html") for lesson in lessons()}
    link = r'<a class="reference internal" href="notebooks/{}">{}</a>'
    return re.sub(r"\d\d", lambda found: link.format(files[found[0]], found[0]), named[0])


def add_launch_button(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Put a button on a lesson that opens it in Jupyter, where the book was told an address."""
    if app.config.launch_url and page.startswith("notebooks/"):
        button = {
            "type": "link",
            "url": launch_address(app.config.launch_url, page),
            "text": "Open in Jupyter",
            "icon": "fas fa-rocket",
            "label": "launch-button",
        }
        context["header_buttons"].insert(0, button)


def launch_address(template: str, page: str) -> str:
    """Fill in the address of a lesson: `{path}` is its notebook in the repository, `{file}` its
    name alone, as learners have it in `my_course`.

    >>> launch_address("https://hub.example/lab/tree/my_course/{file}", "notebooks/06_mlp")
    'https://hub.example/lab/tree/my_course/06_mlp.ipynb'
    """
    if not re.match("https?://", template) or not re.search(r"\{(path|file)\}", template):
        raise ConfigError(
            f"BOOK_LAUNCH_URL {template!r} is no address with {{path}} or {{file}} in it, as"
            " https://hub.example/lab/tree/my_course/{file}"
        )
    path = f"{page}.ipynb"
    return template.replace("{path}", path).replace("{file}", path.rpartition("/")[2])


def glossary_terms(text: str) -> list[str]:
    """The terms that a glossary in MyST defines, by first letter, the longest first.

    >>> glossary_terms("```{glossary}\\nrank\\n  A place.\\n\\nresidual stream\\n  A sum.\\n```\\n")
    ['residual stream', 'rank']
    """
    blocks = re.findall(r"(?ms)^```\{glossary\}\n(.*?)^```", text)
    terms = [line for block in blocks for line in block.splitlines() if line[:1].strip()]
    return sorted(terms, key=lambda term: (term[0].lower(), -len(term)))


def pattern_of_terms(terms: list[str]) -> re.Pattern:
    """Match terms, ordered as `glossary_terms` gives them, as whole words, in singular and plural,
    also at the start of a sentence; one with capitals inside, as MLP, only as it is written.

    The number of the group that matched is that of the term, from 1. Only terms with the letter
    that a word begins with are tried: with some three hundred that is eighty times as fast.

    >>> pattern = pattern_of_terms(["loss", "MLP"])
    >>> [bool(pattern.fullmatch(word)) for word in ("Loss", "losses", "lost", "MLP", "mlp")]
    [True, True, False, True, False]
    """
    letters = [
        f"(?i:(?={re.escape(letter)}))(?:{'|'.join(map(form_of_term, group))})"
        for letter, group in groupby(terms, key=lambda term: term[0].lower())
    ]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(letters)})")


def form_of_term(term: str) -> str:
    """Match one term up to the end of its last word."""
    form = re.escape(term).replace("\\ ", r"\s+")
    form = form if term[1:] != term[1:].lower() else f"(?i:{form})"
    return rf"({form})(?:e?s)?(?![\w-])"


def first_uses(
    document: nodes.document, terms: list[str]
) -> dict[nodes.Text, list[tuple[int, int, str]]]:
    """Find where each term is used first: `(start, end, term)` in a text. What is folded away comes
    last; a short term inside a longer one (`byte` in `bytes per token`) is no use of it."""
    anywhere = pattern_of_terms(terms)
    visible, folded, depth = [], [], 0
    for node in document.findall():
        if isinstance(node, nodes.raw):
            depth += sum(-1 if closes else 1 for closes in FOLD.findall(node.astext()))
        elif isinstance(node, nodes.Text) and is_prose(node):
            (folded if depth else visible).append(node)
    uses, seen = {}, set()
    for text in visible + folded:
        for match in anywhere.finditer(text.astext()):
            if match.lastindex not in seen:
                seen.add(match.lastindex)
                found = (*match.span(), terms[match.lastindex - 1])
                uses.setdefault(text, []).append(found)
    return uses


def is_prose(text: nodes.Text) -> bool:
    """True if a text is neither code nor output nor heading nor link nor formula."""
    return not any(
        isinstance(node, NOT_PROSE) or "cell" in node.get("classes", ()) for node in ancestors(text)
    )


def ancestors(node: nodes.Node) -> Iterator[nodes.Element]:
    """The elements around a node, from the inside out."""
    while node := node.parent:
        yield node


def link_terms(text: nodes.Text, found: list[tuple[int, int, str]], page: str) -> None:
    """Replace the places in a text where terms stand by links to the glossary."""
    said, parts, done = text.astext(), [], 0
    for start, end, term in found:
        word = nodes.inline("", said[start:end], classes=["std", "std-term"])
        goal = {"refdomain": "std", "reftype": "term", "reftarget": term, "refdoc": page}
        link = pending_xref("", word, refexplicit=True, refwarn=True, **goal)
        parts += [nodes.Text(said[done:start]), link]
        done = end
    text.parent.replace(text, [*parts, nodes.Text(said[done:])])
