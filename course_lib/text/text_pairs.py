"""Two texts in one row, and the question about them: does B follow A (NSP), in this order (SOP)?"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.text.batches import pad_rows
from course_lib.text.draw import draw_integer

Sentences = Sequence[Sequence[int]]  # a document: its sentences, in tokens


class TextPair(NamedTuple):
    """Two texts and the class of the pair: 0 if they are as they were, 1 if not."""

    first: list[int]
    second: list[int]
    label: int


class PairRows(NamedTuple):
    """Pairs as [CLS] A [SEP] B [SEP], padded on the right."""

    ids: Int[Tensor, "N T"]
    segments: Int[Tensor, "N T"]  # 0 for [CLS] A [SEP] and padding, 1 for B [SEP]
    padding: Bool[Tensor, "N T"]
    labels: Int[Tensor, "N"]


def next_sentence_pairs(documents: Sequence[Sentences], seed: int = 0) -> Iterator[TextPair]:
    """Cut each document in two; in half of the pairs the second text is of another document.

    Then it is the end of that one, from a sentence drawn at random, and the label is 1. Documents
    of one sentence give no pair. Source: BERT (arXiv 1810.04805), section 3.1, task 2. Differs: one
    pair per document and call; BERT fills a row and goes on in the same document.
    """
    rng, n = Random(seed), len(documents)
    if n < 2:
        raise ValueError(f"{n} documents: a text of another one takes two")
    for i, document in enumerate(documents):
        if len(document) < 2:
            continue
        cut = draw_integer(rng, 1, len(document) - 1)
        label, rest = int(rng.random() < 0.5), document[cut:]
        if label:
            other = documents[(i + draw_integer(rng, 1, n - 1)) % n]
            rest = other[draw_integer(rng, 0, len(other) - 1) :]
        yield TextPair(joined_sentences(document[:cut]), joined_sentences(rest), label)


def sentence_order_pairs(documents: Iterable[Sentences], seed: int = 0) -> Iterator[TextPair]:
    """Cut each document in two; in half of the pairs the texts are swapped, and the label is 1.

    Source: ALBERT (arXiv 1909.11942), section 3.1.
    """
    rng = Random(seed)
    for document in documents:
        if len(document) < 2:
            continue
        cut = draw_integer(rng, 1, len(document) - 1)
        first, second = joined_sentences(document[:cut]), joined_sentences(document[cut:])
        swapped = rng.random() < 0.5
        yield TextPair(second, first, 1) if swapped else TextPair(first, second, 0)


def joined_sentences(sentences: Sentences) -> list[int]:
    """Join sentences to one text.

    >>> joined_sentences([[1, 2], [3]])
    [1, 2, 3]
    """
    return [token for sentence in sentences for token in sentence]


def pair_rows(
    pairs: Iterable[TextPair], length: int, cls_token: int, sep_token: int, pad_token: int
) -> PairRows:
    """Write pairs as rows of `length` for an encoder; the longer text of a pair is cut to fit.

    >>> rows = pair_rows([TextPair([5, 6, 7], [8], 1)], 6, cls_token=1, sep_token=2, pad_token=0)
    >>> rows.ids.tolist(), rows.segments.tolist()
    ([[1, 5, 6, 2, 8, 2]], [[0, 0, 0, 0, 1, 1]])
    """
    if length < 5:
        raise ValueError(f"length {length} has no room for two tokens and three borders")
    ids, segments, labels = [], [], []
    for first, second, label in pairs:
        first, second = cut_pair(first, second, length - 3)
        ids.append([cls_token, *first, sep_token, *second, sep_token])
        segments.append([0] * (len(first) + 2) + [1] * (len(second) + 1))
        labels.append(label)
    table, real = pad_rows(ids, pad_token, length=length)
    return PairRows(table, pad_rows(segments, 0, length=length)[0], ~real, torch.tensor(labels))


def cut_pair(
    first: Sequence[int], second: Sequence[int], n_tokens: int
) -> tuple[Sequence[int], Sequence[int]]:
    """Shorten the longer text from its end until both have `n_tokens` together.

    >>> cut_pair([1, 2, 3, 4], [5, 6], 4)
    ([1, 2], [5, 6])
    """
    shorter = min(len(first), len(second), n_tokens // 2)
    if len(first) >= len(second):
        n_first = min(len(first), n_tokens - min(shorter, len(second)))
        return first[:n_first], second[: n_tokens - n_first]
    n_second = min(len(second), n_tokens - min(shorter, len(first)))
    return first[: n_tokens - n_second], second[:n_second]
