"""The whole way from crawled pages to training documents, with a report of all drops and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from course_lib.text.corpus.dedup import exact_duplicates, near_duplicates
from course_lib.text.corpus.document import Document, decode_utf8, require_unique_urls
from course_lib.text.corpus.markup import drop_repeated_lines, normalize_text, parse_html
from course_lib.text.corpus.personal import scrub_personal_data
from course_lib.text.corpus.quality import QUALITY_RULES, QualityRule, filter_documents


class CrawledPage(Protocol):
    """What a crawler brings home: an address and the page as sent, text or UTF-8 bytes."""

    url: str
    html: str | bytes


@dataclass(frozen=True)
class CleaningStep:
    """What one step did: the documents left after it, and URL -> why it was dropped."""

    name: str
    documents: tuple[Document, ...]
    dropped: Mapping[str, str]

    @property
    def n_bytes(self) -> int:
        """The UTF-8 bytes of all texts together."""
        return sum(document.n_bytes for document in self.documents)


@dataclass(frozen=True)
class CleanedCorpus:
    """The steps from the crawl to the training documents."""

    steps: tuple[CleaningStep, ...]

    @property
    def documents(self) -> tuple[Document, ...]:
        """What is left at the end: the training documents."""
        return self.steps[-1].documents

    @property
    def dropped(self) -> dict[str, tuple[str, str]]:
        """URL -> (step, reason) of every page that was dropped."""
        return {
            url: (step.name, reason) for step in self.steps for url, reason in step.dropped.items()
        }

    def table(self) -> str:
        """The report as a Markdown table, a row a step."""
        rows = [
            "| step | documents | kB | dropped | most often because of |",
            "|---|---:|---:|---:|---|",
        ]
        for step in self.steps:
            counts = Counter(reason.split(" of ")[0] for reason in step.dropped.values())
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.most_common(3))
            left = f"{len(step.documents):,} | {step.n_bytes / 1000:,.0f}"
            rows.append(f"| {step.name} | {left} | {len(step.dropped):,} | {reasons} |")
        return "\n".join(rows)


CleaningStage = Callable[[list[Document]], tuple[list[Document], Mapping[str, str]]]


def cleaning_stages(
    rules: Sequence[QualityRule] = QUALITY_RULES, threshold: float = 0.5
) -> dict[str, CleaningStage]:
    """The steps in their order, each from documents to (documents, URL -> why dropped)."""
    return {
        "parse": lambda documents: (map_text(documents, parse_html), {}),
        "normalise": lambda documents: (map_text(documents, normalize_text), {}),
        "boilerplate": lambda documents: (drop_repeated_lines(documents), {}),
        "quality": lambda documents: filter_documents(documents, rules),
        "exact copies": lambda documents: drop_copies(
            documents, exact_duplicates(documents), "copy of"
        ),
        "near copies": lambda documents: drop_copies(
            documents, near_duplicates(documents, threshold), "near copy of"
        ),
        "scrub": lambda documents: (map_text(documents, scrub_personal_data), {}),
    }


def clean_corpus(
    pages: Iterable[CrawledPage],
    rules: Sequence[QualityRule] = QUALITY_RULES,
    threshold: float = 0.5,
) -> CleanedCorpus:
    """Crawled pages in, training documents out.

    Parse, normalise, drop boilerplate, filter, drop copies, scrub. The order is FineWeb's: cheap
    steps first, so that the expensive ones see less; personal data last.
    """
    documents = [
        Document(page.url, decode_utf8(page.html) if isinstance(page.html, bytes) else page.html)
        for page in pages
    ]
    require_unique_urls(documents)
    steps = [CleaningStep("crawl", tuple(documents), {})]
    for name, stage in cleaning_stages(rules, threshold).items():
        documents, dropped = stage(documents)
        steps.append(CleaningStep(name, tuple(documents), dropped))
    return CleanedCorpus(tuple(steps))


def map_text(documents: Iterable[Document], change: Callable[[str], str]) -> list[Document]:
    """The documents with their text changed."""
    return [replace(document, text=change(document.text)) for document in documents]


def drop_copies(
    documents: Iterable[Document], copies: Mapping[str, str], relation: str
) -> tuple[list[Document], dict[str, str]]:
    """The documents that aren't copies, and for the others URL -> what it is a copy of."""
    kept = [document for document in documents if document.url not in copies]
    return kept, {url: f"{relation} {original}" for url, original in copies.items()}
