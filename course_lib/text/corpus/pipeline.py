"""The whole way from crawled pages to training documents, with a report of what each step dropped and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from course_lib.text.corpus.dedup import exact_duplicates, near_duplicates
from course_lib.text.corpus.document import Document, decode, require_unique_urls
from course_lib.text.corpus.markup import drop_furniture, normalise, parse
from course_lib.text.corpus.personal import scrub
from course_lib.text.corpus.quality import RULES, Rule, filter_documents


class PageLike(Protocol):
    """What a crawler brings home: an address and the page as it was sent, as text or as UTF-8 bytes."""

    url: str
    html: str | bytes


@dataclass(frozen=True)
class Step:
    """What one step did: the documents that are left after it, and URL -> why it was dropped for the others."""

    name: str
    documents: tuple[Document, ...]
    dropped: Mapping[str, str]

    @property
    def n_bytes(self) -> int:
        """The UTF-8 bytes of all texts together."""
        return sum(document.n_bytes for document in self.documents)


@dataclass(frozen=True)
class Cleaned:
    """The steps from the crawl to the training documents."""

    steps: tuple[Step, ...]

    @property
    def documents(self) -> tuple[Document, ...]:
        """What is left at the end: the training documents."""
        return self.steps[-1].documents

    @property
    def dropped(self) -> dict[str, tuple[str, str]]:
        """URL -> (step, reason) of every page that was dropped."""
        return {url: (step.name, reason) for step in self.steps for url, reason in step.dropped.items()}

    def table(self) -> str:
        """The report as a Markdown table, a row a step."""
        rows = ["| step | documents | kB | dropped | most often because of |", "|---|---:|---:|---:|---|"]
        for step in self.steps:
            counts = Counter(reason.split(" of ")[0] for reason in step.dropped.values())
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.most_common(3))
            left = f"{len(step.documents):,} | {step.n_bytes / 1000:,.0f}"
            rows.append(f"| {step.name} | {left} | {len(step.dropped):,} | {reasons} |")
        return "\n".join(rows)


Stage = Callable[[list[Document]], tuple[list[Document], Mapping[str, str]]]


def stages(rules: Sequence[Rule] = RULES, threshold: float = 0.5) -> dict[str, Stage]:
    """The steps in their order, each from documents to (documents, URL -> why dropped)."""
    return {
        "parse": lambda documents: (with_text(documents, parse), {}),
        "normalise": lambda documents: (with_text(documents, normalise), {}),
        "furniture": lambda documents: (drop_furniture(documents), {}),
        "quality": lambda documents: filter_documents(documents, rules),
        "exact copies": lambda documents: without(documents, exact_duplicates(documents), "copy of"),
        "near copies": lambda documents: without(documents, near_duplicates(documents, threshold), "near copy of"),
        "scrub": lambda documents: (with_text(documents, scrub), {}),
    }


def clean(pages: Iterable[PageLike], rules: Sequence[Rule] = RULES, threshold: float = 0.5) -> Cleaned:
    """Crawled pages in, training documents out: parse, normalise, drop furniture, filter, drop copies, scrub.

    The order is FineWeb's: cheap steps first, so that the expensive ones see less; personal data last.
    """
    documents = [Document(page.url, decode(page.html) if isinstance(page.html, bytes) else page.html) for page in pages]
    require_unique_urls(documents)
    steps = [Step("crawl", tuple(documents), {})]
    for name, stage in stages(rules, threshold).items():
        documents, dropped = stage(documents)
        steps.append(Step(name, tuple(documents), dropped))
    return Cleaned(tuple(steps))


def with_text(documents: Iterable[Document], change: Callable[[str], str]) -> list[Document]:
    """The documents with their text changed."""
    return [replace(document, text=change(document.text)) for document in documents]


def without(
    documents: Iterable[Document], copies: Mapping[str, str], relation: str
) -> tuple[list[Document], dict[str, str]]:
    """The documents that aren't copies, and for the others URL -> what it is a copy of."""
    kept = [document for document in documents if document.url not in copies]
    return kept, {url: f"{relation} {original}" for url, original in copies.items()}
