"""The data card: what a corpus holds, where it comes from and what was done to it, on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from course_lib.text.corpus.document import Document
from course_lib.text.corpus.languages import detect_language
from course_lib.text.corpus.pipeline import CleanedCorpus
from course_lib.text.corpus.quality import is_arithmetic


def data_card(
    title: str,
    cleaned: CleanedCorpus,
    parts: Mapping[str, Sequence[Document]],
    facts: Mapping[str, str],
) -> str:
    """A Markdown page on a corpus: its steps, drops, parts, languages, sites, and `facts`.

    The facts are what only you know; the drops are counted by rule. Everything that can be counted
    is counted here, so that the card can't disagree with the data. Source: datasheets (Gebru et al.
    2021) and data statements (Bender and Friedman 2018), much shortened.
    """
    sections = [f"# {title}"]
    sections += [f"**{name}.** {fact}" for name, fact in facts.items()]
    sections += [
        "## Steps",
        cleaned.table(),
        "## Parts",
        shares_table("part", {name: readable_size(part) for name, part in parts.items()}),
    ]
    sections += [
        "## Languages and sites",
        byte_shares([language_or_arithmetic(document.text) for document in cleaned.documents]),
    ]
    sections += [byte_shares([document.site for document in cleaned.documents])]
    return "\n\n".join(sections)


def shares_table(name: str, sizes: Mapping[str, tuple[int, int]]) -> str:
    """A Markdown table of document counts and kilobytes."""
    rows = [
        f"| {key} | {count:,} | {n_bytes / 1000:,.0f} |" for key, (count, n_bytes) in sizes.items()
    ]
    return "\n".join([f"| {name} | documents | kB |", "|---|---:|---:|", *rows])


def readable_size(documents: Sequence[Document]) -> tuple[int, int]:
    """Documents and UTF-8 bytes."""
    return len(documents), sum(document.n_bytes for document in documents)


def language_or_arithmetic(text: str) -> str:
    """The language of a text, or `sums`, since arithmetic has none."""
    return "sums" if is_arithmetic(text) else detect_language(text)


def byte_shares(names: Sequence[str]) -> str:
    """Names with their share, most frequent first.

    >>> byte_shares(["zh", "en", "en", "en"])
    'en 75 %, zh 25 %'
    """
    return ", ".join(
        f"{name} {100 * count / len(names):.0f} %" for name, count in Counter(names).most_common()
    )
