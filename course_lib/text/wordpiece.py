"""WordPiece, BERT's tokens: a word is cut from its front into the longest pieces that are known.

A piece inside a word begins with `##`. Before that the text is cleaned, lowercased and cut at white
space and punctuation, as the uncased BERT does it.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

LONGEST_WORD = 100  # characters; a longer one is unknown as a whole
INSIDE = "##"


class WordPiece:
    """Text to ids and back, by a vocabulary: a list of pieces, whose places are the ids.

    >>> tokenizer = WordPiece(["[UNK]", "un", "##aff", "##able", "!"])
    >>> tokenizer.encode("Unaffable! xyz"), tokenizer.decode([1, 2, 3, 4])
    ([1, 2, 3, 4, 0], 'unaffable !')
    """

    def __init__(self, pieces: Sequence[str], unknown: str = "[UNK]") -> None:
        self.pieces = list(pieces)
        self.ids = {piece: number for number, piece in enumerate(self.pieces)}
        if len(self.ids) != len(self.pieces):
            twice = [piece for piece, n in Counter(self.pieces).items() if n > 1]
            raise ValueError(f"{twice[0]!r} stands twice in the vocabulary")
        if unknown not in self.ids:
            raise ValueError(f"{unknown!r} is not in the vocabulary of {len(self.pieces)} pieces")
        self.unknown = self.ids[unknown]

    def encode(self, text: str) -> list[int]:
        """Turn a text into ids, without [CLS] and [SEP]; a special token in it is plain text."""
        return [number for word in bert_words(text) for number in self.encode_word(word)]

    def encode_word(self, word: str) -> list[int]:
        """Cut one word, longest piece first; one unknown id if what is left has no piece."""
        found, start = [], 0
        while start < len(word) <= LONGEST_WORD:
            prefix = INSIDE if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.ids), None)
            if end is None:
                return [self.unknown]
            found.append(self.ids[prefix + word[start:end]])
            start = end
        return found if word and len(word) <= LONGEST_WORD else [self.unknown] * bool(word)

    def decode(self, ids: Iterable[int]) -> str:
        """Join pieces, words apart; what cleaning and lowercasing lost does not come back."""
        return " ".join(self.pieces[number] for number in ids).replace(" " + INSIDE, "")


def bert_words(text: str) -> list[str]:
    """Clean and lowercase a text, take accents off, and cut it into words and punctuation.

    >>> bert_words("Mr. O'Neill's na\\u00efve 東京")
    ['mr', '.', 'o', "'", 'neill', "'", 's', 'naive', '東', '京']

    Source: google-research/bert, tokenization.py, BasicTokenizer; characters for private use are
    left out, as `tokenizers` does. Its tables are of an older Unicode, so it may cut at fewer of
    the newest characters.
    """
    cleaned = "".join(_cleaned(char) for char in text)
    bare = (c for c in unicodedata.normalize("NFD", cleaned) if unicodedata.category(c) != "Mn")
    lower = "".join(char.lower() for char in bare)  # one by one: no final sigma
    return "".join(f" {c} " if is_punctuation(c) else c for c in lower).split()


def _cleaned(char: str) -> str:
    if char in "\t\n\r":
        return " "
    if char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Co"):
        return ""
    if char.isspace():
        return " "
    return f" {char} " if is_han(char) else char


def is_punctuation(char: str) -> bool:
    """Tell punctuation, of which BERT counts all of ASCII that is no letter, digit or space."""
    if char.isascii():
        return char.isprintable() and not char.isalnum() and char != " "
    return unicodedata.category(char)[0] == "P"


HAN_BLOCKS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def is_han(char: str) -> bool:
    """Tell Chinese characters, each of which BERT takes for a word."""
    return any(first <= ord(char) <= last for first, last in HAN_BLOCKS)


def train_wordpiece(
    texts: Iterable[str], vocab_size: int, specials: Sequence[str] = ("[PAD]", "[UNK]")
) -> list[str]:
    """Learn a vocabulary: join the pair of pieces that is commonest for how common its parts are.

    That is count(ab) / (count(a) count(b)), the gain of a unigram model's likelihood; byte-pair
    encoding takes count(ab) alone. Pairs that occur once are left. Ties go to the first in
    alphabetical order, so that the result is the same in each process. Source: Schuster and
    Nakajima 2012, "Japanese and Korean Voice Search", section 3.
    """
    counts = Counter(word for text in texts for word in bert_words(text))
    cut = {word: [word[0], *(INSIDE + c for c in word[1:])] for word in counts}
    vocabulary = [*specials, *sorted({piece for pieces in cut.values() for piece in pieces})]
    if len(vocabulary) > vocab_size:
        raise ValueError(f"vocab_size {vocab_size} has no room for {len(vocabulary)} characters")
    while len(vocabulary) < vocab_size:
        pair = best_pair(cut, counts)
        if pair is None:
            break
        for word, pieces in cut.items():
            cut[word] = join_pair(pieces, pair)
        joined = pair[0] + pair[1].removeprefix(INSIDE)
        vocabulary += [] if joined in vocabulary else [joined]
    return vocabulary


def best_pair(cut: dict[str, list[str]], counts: dict[str, int]) -> tuple[str, str] | None:
    """Give the neighbours whose joining pays most, or None if no pair occurs twice."""
    alone, together = Counter(), Counter()
    for word, pieces in cut.items():
        for piece in pieces:
            alone[piece] += counts[word]
        for pair in zip(pieces, pieces[1:], strict=False):
            together[pair] += counts[word]
    often = [pair for pair, n in together.items() if n > 1]
    return min(
        often,
        key=lambda pair: (-together[pair] / (alone[pair[0]] * alone[pair[1]]), pair),
        default=None,
    )


def join_pair(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """Join a pair wherever it stands, from the left.

    >>> join_pair(["a", "##b", "##b", "##b"], ("##b", "##b"))
    ['a', '##bb', '##b']
    """
    joined, i = [], 0
    while i < len(pieces):
        both = tuple(pieces[i : i + 2]) == pair
        joined.append(pair[0] + pair[1].removeprefix(INSIDE) if both else pieces[i])
        i += 2 if both else 1
    return joined
