"""Find copies: exact ones by hash, near ones by MinHash and locality-sensitive hashing (LSH)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import combinations
from zlib import crc32

import numpy as np

from course_lib.text.corpus.document import Document, require_unique_urls, split_words


def text_fingerprint(text: str) -> str:
    """A hash of the words in their order, whatever the capitals, spaces and punctuation.

    Of a text without words ("?!") all that isn't white space counts, else such texts were copies of
    the empty one.
    """
    content = " ".join(split_words(text)) or "".join(text.split())
    return hashlib.sha256(content.encode()).hexdigest()


def exact_duplicates(documents: Sequence[Document]) -> dict[str, str]:
    """Which documents say the same as an earlier one: URL of the copy -> URL of the first.

    >>> texts = {"a": "Hello, you.", "b": "Bye.", "c": "hello   you"}
    >>> exact_duplicates([Document(url, text) for url, text in texts.items()])
    {'c': 'a'}
    """
    require_unique_urls(documents)
    first: dict[str, str] = {}
    copies = {}
    for document in documents:
        original = first.setdefault(text_fingerprint(document.text), document.url)
        if original != document.url:
            copies[document.url] = original
    return copies


def shingles(text: str, n: int = 5) -> set[str]:
    """The set of runs of `n` words. A text of fewer words is one shingle; an empty text has none.

    >>> sorted(shingles("the cat sat on the mat", 3))
    ['cat sat on', 'on the mat', 'sat on the', 'the cat sat']
    """
    require_shingle_length(n)
    ws = split_words(text)
    return {" ".join(ws[i : i + n]) for i in range(max(1, len(ws) - n + 1))} if ws else set()


def require_shingle_length(n: int) -> None:
    """Raises ValueError unless a shingle has at least one word."""
    if n < 1:
        raise ValueError(f"shingles need n >= 1 words, got n = {n}")


def jaccard(a: set, b: set) -> float:
    """The shared part of two sets, |A and B| / |A or B|. Two empty sets are equal: 1.

    >>> jaccard({1, 2, 3}, {2, 3, 4})
    0.5
    """
    return len(a & b) / len(a | b) if a or b else 1.0


@lru_cache
def hash_functions(n_hashes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The random (a, b) of `n_hashes` functions h(x) = upper 32 bits of (a x + b) mod 2^64."""
    a, b = np.random.default_rng(seed).integers(0, 2**64, size=(2, n_hashes, 1), dtype=np.uint64)
    # a is odd, so x -> a x mod 2^64 is one to one: no bit of x is multiplied away
    return a | np.uint64(1), b


def minhash(grams: set[str], n_hashes: int = 112, seed: int = 0) -> np.ndarray:
    """The signature of a set: for each hash function, the smallest hash of any member, as uint32.

    There are `n_hashes` of them. Two signatures agree at a position with a probability of (nearly)
    the Jaccard similarity of the sets, so the share of positions that agree estimates it, with a
    standard error of sqrt(J (1 - J) / n_hashes). Source: Broder 1997; hash functions:
    multiply-shift, Dietzfelbinger 1996.
    """
    if not grams:
        raise ValueError("an empty set has no smallest member; skip texts without words")
    if n_hashes < 1:
        raise ValueError(f"a signature needs at least one hash function, got n_hashes = {n_hashes}")
    # A fixed 32-bit hash makes a number of each member; Python's own hash() changes from run to
    # run.
    x = np.fromiter((crc32(gram.encode()) for gram in grams), dtype=np.uint64, count=len(grams))
    a, b = hash_functions(n_hashes, seed)
    # (n_hashes, 1) with (n_members,): every function of every member. uint64 wraps round, which is
    # the mod 2^64, and of 64 bits the upper ones are the well mixed ones. Each function orders the
    # members at random, so the smallest of a union is any member with equal probability: it lies in
    # both sets with probability |A and B| / |A or B|.
    return ((a * x + b) >> np.uint64(32)).min(axis=1).astype(np.uint32)


def candidate_probability(similarity, bands: int, rows: int):
    """How likely LSH compares a pair of this Jaccard similarity: 1 - (1 - s^rows)^bands.

    The curve has the shape of an S.

    >>> round(candidate_probability(0.8, bands=14, rows=8), 3)
    0.924
    """
    require_bands(bands, rows)
    # s^rows: one band agrees in all its rows. (1 - s^rows)^bands: none of the bands does.
    # (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4.2.)
    return 1 - (1 - similarity**rows) ** bands


def require_bands(bands: int, rows: int) -> None:
    """Raises ValueError for less than one band or row, with which nothing is ever compared."""
    if bands < 1 or rows < 1:
        raise ValueError(
            f"LSH needs at least one band and one row, got bands = {bands}, rows = {rows}"
        )


def lsh_candidates(signatures: np.ndarray, bands: int, rows: int) -> set[tuple[int, int]]:
    """Candidate pairs (i, j), i < j: rows of `signatures` that agree in at least one whole band.

    Signatures are cut into `bands` bands of `rows` numbers; equal bands fall into the same bucket.
    """
    require_bands(bands, rows)
    if bands * rows > signatures.shape[1]:
        n_hashes = signatures.shape[1]
        raise ValueError(
            f"{bands} bands x {rows} rows need {bands * rows} hashes, the signatures have"
            f" {n_hashes}"
        )
    pairs = set()
    for band in range(bands):
        buckets = defaultdict(list)
        for i, part in enumerate(signatures[:, band * rows : (band + 1) * rows]):
            buckets[part.tobytes()].append(i)
        for members in buckets.values():
            pairs.update(combinations(members, 2))
    return pairs


def similar_pairs(
    documents: Sequence[Document], threshold: float, n: int = 5, bands: int = 28, rows: int = 4
) -> dict[tuple[str, str], float]:
    """The pairs of URLs with a Jaccard similarity of at least `threshold`.

    LSH proposes, the exact value decides.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold is a Jaccard similarity in (0, 1], got {threshold}")
    require_bands(bands, rows)
    require_shingle_length(n)
    require_unique_urls(documents)
    documents = [document for document in documents if split_words(document.text)]
    if not documents:
        return {}
    signatures = np.stack(
        [minhash(shingles(document.text, n), bands * rows) for document in documents]
    )
    pairs = {}
    for i, j in sorted(lsh_candidates(signatures, bands, rows)):
        similarity = jaccard(shingles(documents[i].text, n), shingles(documents[j].text, n))
        if similarity >= threshold:
            pairs[documents[i].url, documents[j].url] = similarity
    return pairs


def duplicate_clusters(pairs: Collection[tuple[str, str]]) -> dict[str, str]:
    """Joins pairs into groups and maps each member to its group's first.

    A friend of a friend is in the group. Pairs are (earlier, later); the first member of a group
    stands for it and isn't in the answer.

    >>> duplicate_clusters([("a", "b"), ("b", "d"), ("x", "y")])
    {'b': 'a', 'd': 'a', 'y': 'x'}
    """
    parent: dict[str, str] = {}

    def root(url: str) -> str:
        while url in parent:
            url = parent[url]
        return url

    order = {url: i for i, url in enumerate(dict.fromkeys(url for pair in pairs for url in pair))}
    for earlier, later in pairs:
        first, second = sorted((root(earlier), root(later)), key=order.__getitem__)
        if first != second:
            parent[second] = first
    return {url: root(url) for url in parent}


def near_duplicates(
    documents: Sequence[Document],
    threshold: float = 0.5,
    n: int = 5,
    bands: int = 28,
    rows: int = 4,
) -> dict[str, str]:
    """Which documents nearly repeat an earlier one: URL of the copy -> URL of the one to keep.

    Near copies of a near copy count too. Differs from FineWeb, which trusts LSH (14 bands x 8 rows,
    about 0.72): here LSH only proposes (28 x 4 misses fewer) and the exact similarity decides, at
    0.5, because on a page of 100 words one changed word changes 5 of 96 shingles. FineWeb keeps a
    random member of each group, this keeps the first.
    """
    return duplicate_clusters(similar_pairs(documents, threshold, n, bands, rows))
