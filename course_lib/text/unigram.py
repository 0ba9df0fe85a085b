"""Unigram tokens, ALBERT's and XLNet's: of all ways to cut a text, the likeliest.

Each piece has a probability, and those of a text's pieces are multiplied. Source: Kudo 2018 (arXiv
1804.10959); the format is SentencePiece's, where a space is the character U+2581.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

SPACE = "\u2581"
UNKNOWN_PENALTY = 10.0  # how much less likely than the rarest piece an unknown character is


class Unigram:
    """Text to ids and back, by a list of pieces with their log-probabilities.

    >>> tokenizer = Unigram([("<unk>", 0.0), ("\\u2581", -2.0), ("a", -2.0), ("\\u2581aa", -3.0)])
    >>> tokenizer.encode("aa a"), tokenizer.decode([3, 1, 2])
    ([3, 1, 2], 'aa a')
    """

    def __init__(self, pieces: Sequence[tuple[str, float]], unknown: int = 0) -> None:
        if not 0 <= unknown < len(pieces):
            raise ValueError(f"unknown {unknown} is none of the {len(pieces)} pieces")
        self.pieces = [piece for piece, _ in pieces]
        self.ids = {piece: number for number, piece in enumerate(self.pieces)}
        self.scores = {piece: score for piece, score in pieces}
        self.unknown = unknown
        self.unknown_score = min(score for _, score in pieces) - UNKNOWN_PENALTY
        self.longest = max(map(len, self.pieces))

    def encode(self, text: str) -> list[int]:
        """Turn a text into ids; unknown characters in a row are one."""
        ids = []
        for word in spaced_words(text):
            pieces = likeliest_pieces(word, self.scores, self.unknown_score, self.longest)
            word_ids = [self.ids.get(piece, self.unknown) for piece in pieces]
            ids += [
                number
                for i, number in enumerate(word_ids)
                if number != self.unknown or i == 0 or word_ids[i - 1] != self.unknown
            ]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Join the pieces, and make spaces spaces again."""
        return "".join(self.pieces[number] for number in ids).replace(SPACE, " ").removeprefix(" ")


def spaced_words(text: str) -> list[str]:
    """Cut a text before each space, which becomes a character that words begin with.

    >>> spaced_words("so it  is")
    ['▁so', '▁it', '▁', '▁is']
    """
    if not text:
        return []
    marked = text.replace(" ", SPACE)
    marked = marked if marked.startswith(SPACE) else SPACE + marked
    return [SPACE + word for word in marked.split(SPACE)[1:]]


def likeliest_pieces(
    text: str, scores: dict[str, float], unknown_score: float, longest: int
) -> list[str]:
    """Cut a text in the likeliest way (Viterbi): the best cut up to each place, from left to right.

    A character that is no piece may stand alone, at `unknown_score`. Of equally likely cuts the one
    whose last piece begins first is kept.
    """
    best = [0.0] + [-math.inf] * len(text)  # log-probability of the best cut up to a place
    start_of = [0] * (len(text) + 1)
    for start in range(len(text)):
        for end in range(start + 1, min(start + longest, len(text)) + 1):
            piece = text[start:end]
            score = scores.get(piece, unknown_score if end == start + 1 else None)
            if score is not None and best[start] + score > best[end]:
                best[end], start_of[end] = best[start] + score, start
    pieces, end = [], len(text)
    while end:
        pieces.append(text[start_of[end] : end])
        end = start_of[end]
    return pieces[::-1]


def train_unigram(
    texts: Iterable[str],
    vocab_size: int,
    longest: int = 8,
    n_rounds: int = 2,
    keep: float = 0.75,
    seeds: int = 10_000,
) -> list[tuple[str, float]]:
    """Learn pieces and probabilities: begin with too many, drop what the likelihood misses least.

    The first pieces are all characters and the `seeds` substrings of words that cover most text.
    Then, in turn: some rounds of expectation-maximisation, and the least used pieces are dropped, a
    quarter at a time; characters stay. `<unk>` is the first piece. Differs from SentencePiece's
    trainer, which scores a piece by the loss without it; here it is how often it is expected.
    """
    words = Counter(word for text in texts for word in spaced_words(text))
    characters = {char for word in words for char in word}
    if len(characters) + 1 > vocab_size:
        raise ValueError(f"vocab_size {vocab_size} has no room for {len(characters)} characters")
    found = Counter()
    for word, n in words.items():
        for piece in substrings(word, longest):
            found[piece] += n * len(piece)
    longer = sorted((p for p in found if len(p) > 1), key=lambda p: (-found[p], p))[:seeds]
    scores = normalised({piece: float(found[piece]) for piece in [*characters, *longer]})
    while True:
        for _ in range(n_rounds):
            expected = expected_counts(words, scores, longest)
            scores = normalised({p: expected.get(p, 0.0) + 1e-3 for p in scores})
        if len(scores) < vocab_size:
            break
        n_kept = max(vocab_size - 1 - len(characters), int(keep * len(scores)) - len(characters))
        longer = sorted((p for p in scores if len(p) > 1), key=lambda p: (-scores[p], p))
        scores = {p: scores[p] for p in [*characters, *longer[:n_kept]]}
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [("<unk>", 0.0), *ranked]


def substrings(word: str, longest: int) -> Iterator[str]:
    """Give all pieces of a word of up to `longest` characters, as often as they stand there."""
    for start in range(len(word)):
        for end in range(start + 1, min(start + longest, len(word)) + 1):
            yield word[start:end]


def normalised(counts: dict[str, float]) -> dict[str, float]:
    """Turn counts into log-probabilities."""
    total = math.log(sum(counts.values()))
    return {piece: math.log(count) - total for piece, count in counts.items()}


def expected_counts(
    words: dict[str, int], scores: dict[str, float], longest: int
) -> dict[str, float]:
    """Count how often each piece is used, over all cuts of each word, weighted by probability.

    Forward and backward sums, as for hidden Markov models.

    >>> round(expected_counts({"ab": 1}, normalised({"a": 1, "b": 1, "ab": 1}), 2)["ab"], 3)
    0.75
    """
    used = Counter()
    for word, n in words.items():
        spans = [
            (start, end, math.exp(scores[word[start:end]]))
            for start in range(len(word))
            for end in range(start + 1, min(start + longest, len(word)) + 1)
            if word[start:end] in scores
        ]
        forward = [1.0] + [0.0] * len(word)
        for start, end, p in spans:
            forward[end] += forward[start] * p
        backward = [0.0] * len(word) + [1.0]
        for start, end, p in reversed(spans):
            backward[start] += backward[end] * p
        for start, end, p in spans:
            used[word[start:end]] += n * forward[start] * p * backward[end] / forward[-1]
    return used
