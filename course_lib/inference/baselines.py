"""Predictors that are no neural nets: the rungs that a language model has to climb over.

Each is a scorer for `evaluate.evaluate_bits_per_byte`: document -> bits.
"""

import gzip
import lzma
from collections.abc import Callable, Sequence

import numpy as np

LONGEST_CONTEXT = 7  # a context and its next byte must fit into 64 bits


def uniform_bits(document: str) -> float:
    """Know nothing: each of the 256 bytes is as likely as any other, 8 bits each."""
    return 8.0 * len(document.encode())


def gzip_bits(document: str) -> float:
    """Compress the document by itself: gzip looks back only 32 KB.

    A training text would be forgotten anyway.
    """
    return 8.0 * len(gzip.compress(document.encode(), mtime=0))


def xz_bits_after(training_text: str) -> Callable[[str], float]:
    """Compress the document as the continuation of the training text.

    xz finds repeats of anything it has seen there. The document's bits are those by which the
    compressed file grows. Takes as long as compressing the training text, each time.
    """
    prefix = training_text.encode()
    alone = len(lzma.compress(prefix, preset=9))
    return lambda document: 8.0 * (len(lzma.compress(prefix + document.encode(), preset=9)) - alone)


class NGramModel:
    """Count which byte followed each run of bytes; mix the counts of long runs with shorter ones'.

    `order` is the number of bytes looked at, the predicted one included (1: no context). Where a
    context was followed by many different bytes, trust its counts less: P(b | context) = (count(b)
    + kinds * P(b | shorter context)) / (total + kinds), starting from 1 / 256 (Witten and Bell
    1991, interpolated as in Chen and Goodman 1999). All counts live in sorted arrays of 64-bit
    keys.
    """

    def __init__(self, documents: Sequence[str], order: int = 6) -> None:
        if not 1 <= order <= LONGEST_CONTEXT + 1:
            raise ValueError(f"order {order} is not between 1 and {LONGEST_CONTEXT + 1}")
        if not any(documents):
            raise ValueError(f"{len(documents)} documents hold no text to count")
        longest = max(len(document.encode()) for document in documents)
        self.tables = [self.count(documents, length) for length in range(min(order, longest))]

    @staticmethod
    def count(documents: Sequence[str], length: int) -> tuple[np.ndarray, ...]:
        """Count after contexts of `length` bytes.

        Gives keys and counts of (context, byte); keys, totals and kinds of contexts.
        """
        grams, counts = np.unique(
            np.concatenate([pack_ngrams(d.encode(), length + 1) for d in documents]),
            return_counts=True,
        )
        contexts, first = np.unique(grams >> np.uint64(8), return_index=True)
        totals = np.add.reduceat(counts, first)
        return grams, counts, contexts, totals, np.diff(first, append=len(grams))

    def __call__(self, document: str) -> float:
        """Add up -log2 of the probability of every byte, each predicted from those before it."""
        data = document.encode()
        probs = np.full(len(data), 1 / 256)
        for length, table in enumerate(self.tables):
            if len(data) > length:
                grams = pack_ngrams(data, length + 1)
                probs[length:] = mix_backoff(table, grams >> np.uint64(8), grams, probs[length:])
        return float(-np.log2(probs).sum())

    def probabilities(self, context: bytes) -> np.ndarray:
        """Give the probabilities of all 256 bytes to come after `context`; they sum to 1."""
        probs = np.full(256, 1 / 256)
        for length, table in enumerate(self.tables):
            if length <= len(context):
                key = np.uint64(int.from_bytes(context[len(context) - length :]))
                probs = mix_backoff(
                    table,
                    np.full(256, key),
                    (key << np.uint64(8)) + np.arange(256, dtype=np.uint64),
                    probs,
                )
        return probs


def pack_ngrams(data: bytes, length: int) -> np.ndarray:
    """Pack every run of `length` bytes into one number.

    >>> pack_ngrams(bytes([1, 2, 3]), 2).tolist() == [1 * 256 + 2, 2 * 256 + 3]
    True
    """
    values = np.frombuffer(data, np.uint8).astype(np.uint64)
    packed = np.zeros(max(0, len(data) - length + 1), np.uint64)
    for start in range(length):
        packed = packed << np.uint64(8) | values[start : start + len(packed)]
    return packed


def mix_backoff(
    table: tuple[np.ndarray, ...], contexts: np.ndarray, grams: np.ndarray, shorter: np.ndarray
) -> np.ndarray:
    """Mix the counts after each context with the probabilities from the shorter one.

    Those stay as they are where the context is new.
    """
    known, counts, known_contexts, totals, kinds = table
    count = look_up_counts(known, counts, grams)
    total = look_up_counts(known_contexts, totals, contexts)
    kind = look_up_counts(known_contexts, kinds, contexts)
    return np.where(total > 0, (count + kind * shorter) / np.maximum(total + kind, 1), shorter)


def look_up_counts(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Find each wanted key in the sorted `known` ones; 0 where it is missing."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, values[place], 0)
