"""From a crawled page to plain text: parse HTML, drop the page's furniture, normalise Unicode."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser

from course_lib.text.corpus.document import Document, require_text

VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
BLOCKS = frozenset(
    "address article aside blockquote body br caption dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 "
    "h5 h6 header hr html li main nav ol p pre section table tbody td tfoot th thead title tr ul".split()
)
FURNITURE_TAGS = frozenset(
    "aside button footer form head iframe nav noscript script select style svg template textarea title".split()
)
FURNITURE_NAMES = re.compile(
    r"\b(ads?|advert\w*|banner|breadcrumbs?|cookies?|copyright|footer|masthead|menu|nav\w*|newsletter|promo|related|"
    r"share|sharing|sidebar|site-?header|social|sponsored|subscribe|toolbar|topbar)\b"
)
MAIN_TAGS = frozenset(("main", "article"))


class TextExtractor(HTMLParser):
    """Collects the text of a page and leaves out its furniture. Survives unclosed and crossed tags.

    `open` is the stack of open elements: (tag, whether its text is left out).
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, bool]] = []
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.pieces.append("\n")
        if tag in MAIN_TAGS:
            self.open.clear()  # what is still open here was never closed, a menu for instance
        if tag not in VOID:
            self.open.append((tag, self.left_out or is_furniture(tag, attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.pieces.append("\n")
        tags = [name for name, _ in self.open]
        if tag in tags:  # closing an element closes what was left open inside it
            del self.open[len(tags) - 1 - tags[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if not self.left_out:
            self.pieces.append(re.sub(r"[ \t\r\n\f]+", " ", data))

    @property
    def left_out(self) -> bool:
        return bool(self.open) and self.open[-1][1]


def is_furniture(tag: str, attrs: Iterable[tuple[str, str | None]]) -> bool:
    """Whether an element is part of the page rather than of the text: by its tag, or by its class, id or role."""
    names = " ".join(value or "" for name, value in attrs if name in ("class", "id", "role"))
    return tag in FURNITURE_TAGS or bool(FURNITURE_NAMES.search(names.lower().replace("_", "-")))


def parse(html: str) -> str:
    """The text of a page, one line per block, without scripts, menus, footers and the like.

    Structure only: what a site repeats on every page inside its text, `drop_furniture` finds.

    >>> parse("<nav>Home | News</nav><h1>Tea &amp; cake</h1><p>Boil the <b>water</b>.<p>Wait.")
    'Tea & cake\\nBoil the water.\\nWait.'
    """
    require_text(html, "html")
    extractor = TextExtractor()
    extractor.feed(html)
    extractor.close()
    lines = (line.strip(" ") for line in "".join(extractor.pieces).split("\n"))
    return "\n".join(line for line in lines if line)


def furniture(documents: Sequence[Document], share: float = 0.05, least: int = 5) -> dict[str, set[str]]:
    """Lines that stand on many pages of the same site: site -> lines.

    A line counts if it is on at least `share` of the site's pages and on at least `least` of them.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    pages_with, pages = defaultdict(Counter), Counter()
    for document in documents:
        pages[document.site] += 1
        pages_with[document.site].update(set(document.text.split("\n")))
    return {
        site: {line for line, n in counts.items() if n >= max(least, share * pages[site])}
        for site, counts in pages_with.items()
    }


def drop_furniture(documents: Sequence[Document], share: float = 0.05, least: int = 5) -> list[Document]:
    """The documents without the lines that their site repeats from page to page (see `furniture`)."""
    repeated = furniture(documents, share, least)

    def without(document: Document) -> Document:
        lines = [line for line in document.text.split("\n") if line not in repeated[document.site]]
        return Document(document.url, "\n".join(lines), document.labels)

    return [without(document) for document in documents]


PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", None),  # soft hyphen and zero-width: seen by nobody, but new bytes
        **dict.fromkeys("\u0085\u2028\u2029", "\n"),
        "\u2011": "-",
        "\u2026": "...",
    }
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def normalise(text: str) -> str:
    """One spelling for what looks the same: NFC, straight quotes, plain spaces, nothing invisible.

    Keeps what has a meaning: no NFKC, which would turn `x²` into `x2`; the joiners U+200C and U+200D stay, since
    Persian, Hindi and emoji need them. Normalising twice changes nothing.

    >>> normalise("“Cafe\\u0301”\\u00a0is\\u200b  open\\r\\n\\r\\n\\r\\n\\r\\nnow")
    '"Café" is open\\n\\nnow'
    """
    require_text(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(PLAIN)
    text = unicodedata.normalize("NFC", CONTROL.sub("", text))
    text = "\n".join(re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")
