"""From a crawled page to plain text: parse HTML, drop the page's boilerplate, normalise Unicode."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from html.parser import HTMLParser

from course_lib.text.corpus.document import INVISIBLE_CHARACTERS, Document, require_text

VOID_TAGS = frozenset("area base br col embed hr img input link meta source track wbr".split())
BLOCK_TAGS = frozenset(
    "address article aside blockquote body br caption dd div dl dt fieldset figcaption figure"
    " footer form h1 h2 h3 h4 h5 h6 header hr html li main nav ol p pre section table tbody td"
    " tfoot th thead title tr ul".split()
)
BOILERPLATE_TAGS = frozenset(
    "aside button footer form head iframe nav noscript script select style svg template textarea"
    " title".split()
)
BOILERPLATE_NAMES = re.compile(
    r"ads?|advert\w*|banner|breadcrumbs?|cookies?|copyright|footer|masthead|menu|nav(bar|igation|links?|menu)?|"
    r"newsletter|promo|related|share|sharing|sidebar|siteheader|social|sponsored|subscribe|toolbar|topbar"
)
BOILERPLATE_ROLES = frozenset("banner complementary contentinfo navigation search".split())
MAIN_TAGS = frozenset(("main", "article"))
# Their names tell what else is on the page (`<body class="no-sidebar">`) or what it is about.
PAGE_TAGS = MAIN_TAGS | {"html", "body"}
# Their names tell a topic (`<p class="social-history">`), unless the name is the boilerplate's and
# nothing else.
TEXT_TAGS = frozenset("blockquote dd dt figcaption h1 h2 h3 h4 h5 h6 p pre td th".split())
# Names end in what the thing is, so `cookie-banner` is a banner and `share-price` a price; these
# endings say where it stands, how it is built or what it is made of.
POSITION_NAMES = frozenset(
    "area articles bar block bottom box button buttons col column consent container desktop form"
    " group header icon icons inner item items left link links list main media mobile notice outer"
    " panel popup posts primary right row secondary section signup top widget widgets wrap"
    " wrapper".split()
)
# `no-sidebar`, `content-with-sidebar`, `below-nav`: the name of what has, lacks or lies beside such
# a thing; and `category-cookies` is a topic.
SIDE_NAMES = frozenset(
    "above after article before behind below beside body category content has have hide hides is"
    " layout near no non not over show tag tagged topic under with without".split()
)


class TextExtractor(HTMLParser):
    """Collects the text of a page without its boilerplate. Survives unclosed and crossed tags.

    `open` is the stack of open elements: (tag, whether its text is left out). `judge` says which
    elements are boilerplate, by tag and attributes.
    """

    def __init__(self, judge: Callable[[str, list[tuple[str, str | None]]], bool]) -> None:
        super().__init__(convert_charrefs=True)
        self.judge = judge
        self.open: list[tuple[str, bool]] = []
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCK_TAGS:
            self.pieces.append("\n")
            if self.open and self.open[-1][0] == "p" and tag not in VOID_TAGS:
                self.open.pop()  # the next block ends a paragraph, closed or not
        if tag in MAIN_TAGS:
            self.open.clear()  # what is still open here was never closed, a menu for instance
        if tag not in VOID_TAGS:
            self.open.append((tag, self.left_out or self.judge(tag, attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCK_TAGS:
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


def is_boilerplate(tag: str, attrs: Iterable[tuple[str, str | None]]) -> bool:
    """Whether an element is the page's rather than the text's: by its tag, class, id or role.

    >>> is_boilerplate("div", [("class", "wide cookie-banner")])
    True
    >>> is_boilerplate("div", [("class", "no-sidebar")])
    False
    """
    if tag in BOILERPLATE_TAGS:
        return True
    if tag in PAGE_TAGS:
        return False
    found = {
        name: (value or "").split() for name, value in attrs if name in ("class", "id", "role")
    }
    names = [*found.get("class", ()), *found.get("id", ())]
    by_name = any(is_boilerplate_name(name, whole=tag in TEXT_TAGS) for name in names)
    return by_name or not BOILERPLATE_ROLES.isdisjoint(found.get("role", ()))


@lru_cache(maxsize=4096)  # a site's pages have few names, each of them many times
def is_boilerplate_name(name: str, whole: bool = False) -> bool:
    """Whether a class or id names boilerplate: `site_nav`, `sidebar-left`, `mainMenu`.

    `whole`: with no word more. What follows `--` is the state of a thing (`page--with-nav`), so it
    doesn't count.

    >>> names = ("cookie-banner", "share-price", "contentWithSidebar", "navClosed")
    >>> [is_boilerplate_name(name) for name in names]
    [True, False, False, False]
    """
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name.partition("--")[0])
    parts = re.findall(r"[^\W\d_]+", name.lower())
    if (whole and len(parts) > 1) or not SIDE_NAMES.isdisjoint(parts):
        return False
    while parts:
        if BOILERPLATE_NAMES.fullmatch(parts[-1]) or BOILERPLATE_NAMES.fullmatch(
            "".join(parts[-2:])
        ):
            return True
        if parts.pop() not in POSITION_NAMES:
            return False
    return False


def is_hidden(tag: str, attrs: Iterable[tuple[str, str | None]]) -> bool:
    """Whether an element is boilerplate by its tag alone.

    A form is not: it may be the whole page (ASP.NET writes such).
    """
    return tag in BOILERPLATE_TAGS and tag != "form"


def parse_html(html: str) -> str:
    """The text of a page, one line per block, without scripts, menus, footers and the like.

    Structure only: what a site repeats on every page inside its text, `drop_repeated_lines` finds.
    If nothing at all is left, a form or a name stood for the whole page: then it is read again, and
    they don't count.

    >>> parse_html("<nav>Home | News</nav><h1>Tea &amp; cake</h1><p>Boil the <b>water</b>.<p>Wait.")
    'Tea & cake\\nBoil the water.\\nWait.'
    """
    require_text(html, "html")
    return extract_text(html, is_boilerplate) or extract_text(html, is_hidden)


def extract_text(html: str, judge: Callable[[str, list[tuple[str, str | None]]], bool]) -> str:
    """The lines of a page outside the elements that `judge` calls boilerplate."""
    extractor = TextExtractor(judge)
    extractor.feed(html)
    extractor.close()
    lines = (line.strip(" ") for line in "".join(extractor.pieces).split("\n"))
    return "\n".join(line for line in lines if line)


def repeated_lines(
    documents: Sequence[Document], share: float = 0.05, least: int = 5
) -> dict[str, set[str]]:
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


def drop_repeated_lines(
    documents: Sequence[Document], share: float = 0.05, least: int = 5
) -> list[Document]:
    """The documents without the lines that their site repeats (see `repeated_lines`)."""
    repeated = repeated_lines(documents, share, least)

    def without(document: Document) -> Document:
        lines = [line for line in document.text.split("\n") if line not in repeated[document.site]]
        return Document(document.url, "\n".join(lines), document.labels)

    return [without(document) for document in documents]


PLAIN_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        **dict.fromkeys(INVISIBLE_CHARACTERS, None),  # seen by nobody, but new bytes
        # White space all the same: vertical tab, form feed (between the pages of a PDF), the
        # separators of files, groups and records, next line, line and paragraph separator part
        # lines; the separator of units, words.
        **dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\u0085\u2028\u2029", "\n"),
        "\x1f": " ",
        "\u2011": "-",
        "\u2026": "...",
    }
)
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f]")


def normalize_text(text: str) -> str:
    """One spelling for what looks the same: NFC, straight quotes, plain spaces, nothing invisible.

    Keeps what has a meaning: no NFKC, which would turn `x²` into `x2`; the joiners U+200C and
    U+200D stay, since Persian, Hindi and emoji need them. White space of every kind stays white
    space, so no two words become one: what parts lines or pages becomes a new line, the rest a
    space. Other control characters go. Normalising twice changes nothing.

    >>> normalize_text("“Cafe\\u0301”\\u00a0is\\u200b  open\\r\\n\\r\\n\\r\\n\\r\\nnow")
    '"Café" is open\\n\\nnow'
    """
    require_text(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(PLAIN_CHARACTERS)
    text = unicodedata.normalize("NFC", CONTROL_CHARACTERS.sub("", text))
    text = "\n".join(re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")
