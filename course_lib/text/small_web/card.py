"""The numbers and examples of the small web's data card, measured on what is really made."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from course_lib.files import write_atomically
from course_lib.text.small_web.page import PAGE_KINDS, WebPage
from course_lib.text.small_web.web import DOCUMENT_MIXTURES, crawl_pages, draw_clean_documents

DATA_CARD = Path(__file__).parents[3] / "data" / "small_web" / "README.md"
BEGIN, END = "<!-- begin: written by python -m course_lib.text.small_web --card -->", "<!-- end -->"
SAMPLE_MEGABYTES = 0.5  # megabytes behind each table


def markdown_rows(header: tuple[str, ...], rows: Iterable[tuple]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def percent_text(part: float, whole: float) -> str:
    """A share, as a percentage with one decimal."""
    return f"{100 * part / whole:.1f} %"


def kinds_table(pages: list[WebPage]) -> str:
    """How much of each kind there is."""
    count, size = Counter(p.truth.kind for p in pages), Counter()
    for page in pages:
        size[page.truth.kind] += len(page.truth.text.encode())
    n, total = len(pages), size.total()
    rows = [
        (k, count[k], percent_text(count[k], n), percent_text(size[k], total), size[k] // count[k])
        for k in PAGE_KINDS
    ]
    return markdown_rows(("kind", "pages", "of pages", "of bytes", "bytes a page"), rows)


def lang_of(page: WebPage) -> str:
    """What the page's lang attribute says, or nothing."""
    found = re.search('<html lang="(..)"', page.html)
    return found[1] if found else ""


def flaws_table(pages: list[WebPage]) -> str:
    """How much of each planted flaw there is."""
    flaws = {
        "exact copies": [p for p in pages if p.truth.copy_of],
        "near copies": [p for p in pages if p.truth.near_copy_of],
        "with personal data": [p for p in pages if p.truth.personal_data],
        "with a leaked held-out problem": [p for p in pages if p.truth.leaked],
        "spam": [p for p in pages if p.truth.kind == "spam"],
        "junk": [p for p in pages if p.truth.kind == "junk"],
        "in Chinese": [p for p in pages if p.truth.language == "zh"],
        "without a lang attribute": [p for p in pages if "<html>" in p.html],
        "with a wrong lang attribute": [
            p for p in pages if lang_of(p) not in ("", p.truth.language)
        ],
    }
    return markdown_rows(
        ("pages", "number", "share"),
        [(name, len(f), percent_text(len(f), len(pages))) for name, f in flaws.items()],
    )


def mixtures_table() -> str:
    """What the clean mixtures consist of: share of documents, share of bytes."""
    rows = []
    for name in DOCUMENT_MIXTURES:
        count, size = Counter(), Counter()
        for document in draw_clean_documents(SAMPLE_MEGABYTES, 0, name):
            source = document.labels["source"]
            if source == "chain" and document.text.count("=") > 1:
                source = "chain, worked"
            count[source] += 1
            size[source] += document.n_bytes
        rows += [
            (name, s, percent_text(count[s], count.total()), percent_text(size[s], size.total()))
            for s in sorted(count)
        ]
    return markdown_rows(("mixture", "source", "of documents", "of bytes"), rows)


def example_pages(pages: list[WebPage]) -> str:
    """The first page of each kind that has something to read, as clean text."""
    parts = []
    for kind in PAGE_KINDS:
        text = next(p.truth.text for p in pages if p.truth.kind == kind and p.truth.text)
        parts.append(f"**{kind}**\n\n```text\n{text}\n```")
    chinese = next(p.truth.text for p in pages if p.truth.language == "zh")
    return "\n\n".join([*parts, f"**in Chinese**\n\n```text\n{chinese}\n```"])


def measured_part() -> str:
    """The part of the card that is measured."""
    pages = crawl_pages(SAMPLE_MEGABYTES, 0)
    raw = sum(len(p.html.encode()) for p in pages)
    words = {
        word.lower()
        for p in pages
        if p.truth.kind != "junk"
        for word in re.findall("[A-Za-zëé]+", p.truth.text)
    }
    size = (
        f"{SAMPLE_MEGABYTES} MB of clean text (seed 0): {len(pages)} pages, {raw / 1e6:.1f} MB of"
        f" HTML, {len(words)} words."
    )
    tables = (kinds_table(pages), flaws_table(pages), "### Mixtures", mixtures_table())
    return "\n\n".join((size, *tables, "### Examples", example_pages(pages)))


def data_card_text(text: str) -> str:
    """The card's text with its measured part measured anew."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{DATA_CARD} must hold the lines {BEGIN!r} and {END!r} once each")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{measured_part()}\n\n{END}{rest.partition(END)[2]}"


def write_data_card(path: Path = DATA_CARD) -> None:
    """Measure the small web and write what comes out into its data card."""
    write_atomically(path, data_card_text(path.read_text(encoding="utf-8")).encode())
