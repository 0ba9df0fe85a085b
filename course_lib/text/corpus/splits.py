"""Set texts aside and put texts together: splits by document, contamination, mixtures."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import regex

from course_lib.text.corpus.document import WORD_OR_CHARACTER, Document, comparable_text

# every other visible sign is a token by itself
TOKEN_PATTERN = regex.compile(WORD_OR_CHARACTER.pattern + r"|[^\s\p{C}]")


def url_position(url: str) -> float:
    """A number in [0, 1) that depends on the URL alone, the same on every day and machine."""
    return int.from_bytes(hashlib.sha256(url.encode()).digest()[:6]) / 2**48


def split_by_url(
    documents: Iterable[Document], fractions: Mapping[str, float]
) -> dict[str, list[Document]]:
    """Deals documents into named parts by a hash of their URL.

    A document's part depends on nothing else, so new documents never move an old one from the test
    set into training. `fractions` maps names to shares that sum to 1, as in `{"train": 0.9,
    "validation": 0.1}`.
    """
    if (
        any(share < 0 for share in fractions.values())
        or not abs(sum(fractions.values()) - 1) <= 1e-9
    ):
        raise ValueError(
            f"fractions must be >= 0 and sum to 1, got {dict(fractions)} (sum"
            f" {sum(fractions.values())})"
        )
    parts: dict[str, list[Document]] = {name: [] for name in fractions}
    for document in documents:
        parts[split_of_url(document.url, fractions)].append(document)
    return parts


def split_of_url(url: str, fractions: Mapping[str, float]) -> str:
    """The name of the part into which this URL falls."""
    place, upper = url_position(url), 0.0
    for name, share in fractions.items():
        upper += share
        if place < upper:
            return name
    # rounding left upper a hair under 1
    return next(name for name in reversed(fractions) if fractions[name])


def token_ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Runs of `n` tokens: words, and signs such as `+` too.

    A text of fewer tokens is one run; an empty one has none.

    >>> token_ngrams("7+5=12", 4)
    [('7', '+', '5', '='), ('+', '5', '=', '12')]
    """
    if n < 1:
        raise ValueError(f"runs of tokens need n >= 1, got n = {n}")
    tokens = TOKEN_PATTERN.findall(comparable_text(text))
    return [tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))] if tokens else []


def find_contamination(
    train: Iterable[Document], test: Sequence[str], n: int = 10
) -> dict[str, list[str]]:
    """Which test items occur in training documents: item -> URLs that share `n` tokens in a row.

    An item shorter than `n` tokens must occur as a whole. Items that occur nowhere are not in the
    answer. Source: n-gram overlap as in GPT-3 (13) and DeepSeek-R1 (10).
    """
    if n < 1:
        raise ValueError(f"n-gram overlap needs n >= 1, got n = {n}")
    items_by_length: dict[int, dict[tuple[str, ...], list[str]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for item in test:
        for gram in token_ngrams(item, n):
            items_by_length[len(gram)][gram].append(item)
    found: dict[str, list[str]] = {}
    for document in train:
        hits = {
            item
            for length, items in items_by_length.items()
            for gram in set(token_ngrams(document.text, length))
            for item in items.get(gram, ())
        }
        for item in sorted(hits):
            found.setdefault(item, []).append(document.url)
    return found


def draw_mixture(
    sources: Mapping[str, Sequence[Document]],
    weights: Mapping[str, float],
    n_bytes: int,
    seed: int = 0,
) -> tuple[list[Document], dict[str, float]]:
    """Draws about `n_bytes` of text from named sources, shuffled, and tells the epochs.

    An epoch is how often a source was read. `weights` are shares of bytes (they are scaled to sum
    to 1). A source is read in random order without repetition; when it is used up it starts again,
    so 2.5 epochs means every document twice and half of them a third time.
    """
    if set(sources) != set(weights):
        raise ValueError(
            f"sources {sorted(sources)} and weights {sorted(weights)} must have the same names"
        )
    if not min(weights.values(), default=0) >= 0 or not sum(weights.values()) > 0:
        raise ValueError(f"weights must be >= 0 and not all 0, got {dict(weights)}")
    if not n_bytes >= 0:
        raise ValueError(f"n_bytes must be >= 0, got {n_bytes}")
    rng = random.Random(seed)
    mixed, epochs = [], {}
    for name, documents in sources.items():
        target = n_bytes * weights[name] / sum(weights.values())
        drawn = draw_epochs(documents, target, rng, name)
        epochs[name] = sum(d.n_bytes for d in drawn) / max(1, sum(d.n_bytes for d in documents))
        mixed += drawn
    rng.shuffle(mixed)
    return mixed, epochs


def draw_epochs(
    documents: Sequence[Document], target: float, rng: random.Random, name: str = "source"
) -> list[Document]:
    """Documents in random order, epoch after epoch, up to `target` bytes to half a document."""
    if target > 0 and not any(document.text for document in documents):
        raise ValueError(f"{name} has a weight but no text: {len(documents)} documents")
    drawn, total = [], 0.0
    while total < target:
        for document in rng.sample(documents, len(documents)):
            if total + document.n_bytes / 2 > target:
                return drawn
            drawn.append(document)
            total += document.n_bytes
    return drawn
