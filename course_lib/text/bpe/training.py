"""Learn a vocabulary: count the pairs, merge the most frequent one, repeat.

Once as it is told, once fast.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from course_lib.text.bpe.patterns import (
    DIGITS_PATTERN,
    checked_pattern,
    cut_long_text,
    split_pieces,
)
from course_lib.text.bpe.tokenizer import Tokenizer, merge_pair

TokenPair = tuple[int, int]


def count_token_pairs(ids: Sequence[int]) -> Counter[TokenPair]:
    """How often each pair of neighbours occurs.

    >>> count_token_pairs([1, 2, 1, 2])
    Counter({(1, 2): 2, (2, 1): 1})
    """
    return Counter(pairwise(ids))


def most_frequent_pair(counts: Mapping[TokenPair, int]) -> TokenPair | None:
    """The pair with the highest count; of several, that with the smallest ids.

    None if there is no pair.

    >>> most_frequent_pair({(9, 1): 5, (2, 3): 5, (1, 1): 4})
    (2, 3)
    """
    return min(counts, key=lambda pair: (-counts[pair], pair), default=None)


def train_bpe_naive(text: str, vocab_size: int, pattern: str = DIGITS_PATTERN) -> Tokenizer:
    """The algorithm as it is told: count all pairs, merge the most frequent one everywhere, repeat.

    Each merge reads the whole text again. `train_bpe` gives the same tokenizer in a fraction of the
    time.
    """
    pieces = [list(piece.encode()) for piece in split_pieces(checked_pattern(text), pattern)]
    tokens = [bytes([byte]) for byte in range(256)]
    while len(tokens) < vocab_size:
        counts = Counter()
        for piece in pieces:
            counts.update(count_token_pairs(piece))
        pair = most_frequent_pair(counts)
        if counts[pair] < 2:  # a token for what occurs once saves nothing
            raise ValueError(
                f"vocab_size {vocab_size} is too big: no pair occurs twice after {len(tokens)}"
                " tokens"
            )
        pieces = [merge_pair(piece, pair, len(tokens)) for piece in pieces]
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
    return Tokenizer({token: rank for rank, token in enumerate(tokens)}, pattern)


def train_bpe(
    text: str | Iterable[str],
    vocab_size: int,
    pattern: str = DIGITS_PATTERN,
    special_tokens: Sequence[str] = (),
) -> Tokenizer:
    """Learn a tokenizer of `vocab_size` tokens from a text or from documents.

    Bytes come first, then merges, special tokens last. The same merges as `train_bpe_naive`: the
    most frequent pair, of several the one with the smallest ids; a pair that occurs once is not
    worth a token. Special tokens are cut out first, so that no merge is spent on their parts.
    Raises ValueError if the vocabulary is too small for bytes and special tokens, or too big for
    the text.

    >>> tokenizer = train_bpe("low lower lowest", 259)
    >>> [tokenizer.token_bytes(i) for i in range(256, 259)]
    [b'lo', b'low', b' low']
    """
    n_merges = _number_of_merges(vocab_size, special_tokens)
    pieces = _count_pieces([text] if isinstance(text, str) else text, pattern, special_tokens)
    tokens = [bytes([byte]) for byte in range(256)]
    for first, second in learn_merges(pieces, n_merges):
        tokens.append(tokens[first] + tokens[second])
    if len(tokens) < 256 + n_merges:
        reached = len(tokens) + len(special_tokens)
        raise ValueError(
            f"vocab_size {vocab_size} is too big: no pair occurs twice after {reached} tokens"
        )
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return Tokenizer(
        ranks, pattern, {name: len(tokens) + i for i, name in enumerate(special_tokens)}
    )


def pop_best_pair(
    queue: list[tuple[int, TokenPair]], counts: Mapping[TokenPair, int]
) -> TokenPair | None:
    """The most frequent pair.

    A count in the queue may be too high by now: then it goes back in with the true one.
    """
    while queue:
        count, pair = heappop(queue)
        if -count == counts[pair]:
            return pair if counts[pair] > 1 else None
        # Counts only fall while a pair waits (it grows only in the step that makes it), so the true
        # one is never higher and no better pair can hide further down.
        if counts[pair] > 1:
            heappush(queue, (-counts[pair], pair))
    return None


def learn_merges(counted_pieces: Mapping[bytes, int], n_merges: int) -> Iterator[TokenPair]:
    """The merges, best first, from each distinct piece and how often it occurs.

    Fewer if no pair occurs twice. After a merge only the pieces that held the pair are counted
    again; a queue knows the best pair without a search.
    """
    pieces, times = [list(piece) for piece in counted_pieces], list(counted_pieces.values())
    counts, where = Counter(), defaultdict(set)  # how often a pair occurs, and in which pieces
    for index, piece in enumerate(pieces):
        for pair, n_in_piece in count_token_pairs(piece).items():
            counts[pair] += n_in_piece * times[index]
            where[pair].add(index)
    # of equal counts the smallest ids come first
    queue = [(-count, pair) for pair, count in counts.items()]
    heapify(queue)
    for new_id in range(256, 256 + n_merges):
        best = pop_best_pair(queue, counts)
        if best is None:
            return
        yield best
        grown = set()
        # A piece that no longer holds the pair may still be listed: then it is counted off and on
        # again, to no harm.
        for index in where.pop(best):
            # All its pairs, not only the neighbours of the merged ones: in runs like aaa pairs
            # overlap, and what goes and what comes is easy to miscount one by one.
            for pair in pairwise(pieces[index]):
                counts[pair] -= times[index]
            pieces[index] = merge_pair(pieces[index], best, new_id)
            for pair in pairwise(pieces[index]):
                counts[pair] += times[index]
                if new_id in pair:  # only pairs with the new token can have become more frequent
                    where[pair].add(index)
                    grown.add(pair)
        for pair in grown:
            heappush(queue, (-counts[pair], pair))


def _count_pieces(
    documents: Iterable[str], pattern: str, special_tokens: Sequence[str]
) -> Counter[bytes]:
    counts = Counter()
    for document in documents:
        for part in cut_long_text(checked_pattern(document), special_tokens)[::2]:
            counts.update(split_pieces(part, pattern))
    return Counter({piece.encode(): times for piece, times in counts.items()})


def _number_of_merges(vocab_size: int, special_tokens: Sequence[str]) -> int:
    if not isinstance(vocab_size, int):
        raise TypeError(f"vocab_size must be an int, not {type(vocab_size).__name__}")
    if isinstance(special_tokens, str):
        raise TypeError(
            "special_tokens must be a list of strings, not one string; did you mean"
            f" [{special_tokens!r}]?"
        )
    if twice := [name for name, times in Counter(special_tokens).items() if times > 1]:
        raise ValueError(
            f"special token {twice[0]!r} is named {list(special_tokens).count(twice[0])} times"
        )
    least = 256 + len(special_tokens)
    if vocab_size < least:
        raise ValueError(
            f"vocab_size {vocab_size} < {least}: 256 bytes and {len(special_tokens)} special tokens"
        )
    return vocab_size - least
