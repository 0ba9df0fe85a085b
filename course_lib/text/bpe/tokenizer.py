"""Use a vocabulary: text to token ids and back, special tokens, files."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import regex
import tiktoken

from course_lib.files import read_json, write_json
from course_lib.text.bpe.patterns import DIGITS_PATTERN, checked, cut, split

KIND, VERSION = "byte-pair tokenizer", 1
# tiktoken's regular expressions run out of stack on about a million blanks in a row.
LONG_BLANK = regex.compile(r"\s{100000}")


def merge(ids: Sequence, pair: tuple, new_id) -> list:
    """Replace each occurrence of the pair by the new id, from left to right.

    >>> merge([7, 7, 7, 5], (7, 7), 256)
    [256, 7, 5]
    """
    first, second = pair
    merged, i = [], 0
    while i < len(ids):
        if ids[i] == first and i + 1 < len(ids) and ids[i + 1] == second:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary (the bytes of each token and its rank, which is its id), a pattern, and special tokens.

    Which pair made a token need not be kept. The bytes decide: of all neighbours, those are joined first whose joined
    bytes have the lowest rank. `course_lib.text.bpe.train` makes one; equal ones compare equal.

    >>> bytes_only = {bytes([byte]): byte for byte in range(256)}
    >>> tokenizer = Tokenizer({**bytes_only, b"he": 256, b"the": 257}, special_tokens={"<|end|>": 258})
    >>> tokenizer.encode("the<|end|>", allowed_special="all")
    [257, 258]
    >>> tokenizer.decode(tokenizer.encode("the<|end|>"))    # plain text: nine tokens, none of them special
    'the<|end|>'
    """

    ranks: Mapping[bytes, int]
    pattern: str = DIGITS_PATTERN
    special_tokens: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "ranks", dict(self.ranks))
        object.__setattr__(self, "special_tokens", dict(self.special_tokens))
        ids = [*self.ranks.values(), *self.special_tokens.values()]
        if len(set(ids)) < len(ids):
            raise ValueError(f"{len(ids)} tokens share {len(set(ids))} ids: each token needs its own")
        if "" in self.special_tokens:
            raise ValueError("a special token can't be the empty text")
        for name, other in pairwise(sorted(self.special_tokens)):
            if other.startswith(name):
                raise ValueError(f"special token {other!r} begins with {name!r}: which one is meant?")

    @property
    def n_vocab(self) -> int:
        """The rows that a table with one row per id needs: the highest id plus one."""
        return max([*self.ranks.values(), *self.special_tokens.values()]) + 1

    def after(self, n_merges: int) -> "Tokenizer":
        """The tokenizer as it was after its first merges: the beginning of a vocabulary is a vocabulary."""
        return Tokenizer({token: rank for token, rank in self.ranks.items() if rank < 256 + n_merges}, self.pattern)

    def encode(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """Token ids of the text. A special token in it is plain text, unless it is allowed ("all" allows all).

        Runs in tiktoken, which is fast on long text; `encode_naive` says in Python what it does.
        """
        allowed = self._allowed(allowed_special)
        if LONG_BLANK.search(checked(text)) or not self._lacking.isdisjoint(text.encode()):
            return self.encode_naive(text, allowed)     # tiktoken fails on these
        return self._tiktoken.encode(text, allowed_special=allowed, disallowed_special=())

    def encode_naive(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """The same ids as `encode`: cut at allowed special tokens, cut into pieces, encode each distinct piece once."""
        return self._encode_parts(cut(checked(text), self._allowed(allowed_special)))

    def _encode_parts(self, parts: Sequence[str]) -> list[int]:
        ids, known = [], {}
        for number, part in enumerate(parts):
            if number % 2:
                ids.append(self.special_tokens[part])
                continue
            for piece in split(part, self.pattern):
                if piece not in known:
                    known[piece] = self.encode_piece(piece.encode("utf-8", "surrogateescape"))
                ids += known[piece]
        return ids

    def encode_piece(self, piece: bytes) -> list[int]:
        """Start from bytes. Join the neighbours whose joined bytes rank lowest, until no joined bytes are a token.

        >>> Tokenizer({b"l": 0, b"o": 1, b"w": 2, b"ow": 3, b"low": 4}).encode_piece(b"lowlo")
        [4, 0, 1]
        """
        parts = [piece[i : i + 1] for i in range(len(piece))]
        while len(parts) > 1:
            first, second = min(pairwise(parts), key=lambda pair: self.ranks.get(pair[0] + pair[1], float("inf")))
            if first + second not in self.ranks:
                break
            parts = merge(parts, (first, second), first + second)
        if unknown := [part for part in parts if part not in self.ranks]:
            raise ValueError(f"this vocabulary has no token for the byte {unknown[0]!r} (in {piece!r})")
        return [self.ranks[part] for part in parts]

    def encode_bytes(self, data: bytes) -> list[int]:
        """Token ids of any bytes, valid UTF-8 or not; `decode_bytes` gives the same bytes back."""
        if not isinstance(data, bytes | bytearray):
            raise TypeError(f"data must be bytes, not {type(data).__name__} (text goes through encode)")
        try:
            return self.encode(bytes(data).decode())
        except UnicodeDecodeError:      # bytes that are no text travel through the pattern as lone surrogates
            return self._encode_parts([bytes(data).decode("utf-8", "surrogateescape")])

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of all tokens, joined. Takes a list or a one-dimensional tensor."""
        return b"".join(self.token_bytes(token_id) for token_id in (ids.tolist() if hasattr(ids, "tolist") else ids))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids. Bytes that are no UTF-8, half a character say, become the replacement sign U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token. Raises ValueError if no token has this id."""
        try:
            return self._bytes_of[token_id]
        except (KeyError, TypeError):
            raise ValueError(f"no token has the id {token_id!r}; ids run from 0 to {self.n_vocab - 1}") from None

    def save(self, path: str | Path) -> None:
        """Write one JSON file with a checksum; whole or not at all. Each byte of a token becomes one character."""
        tokens = {token.decode("latin-1"): rank for token, rank in self.ranks.items()}
        content = {"pattern": self.pattern, "special_tokens": self.special_tokens, "tokens": tokens}
        write_json(path, KIND, VERSION, content)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read what `save` wrote. Raises ValueError, naming the file, if it is damaged or something else."""
        content = read_json(path, KIND, VERSION)
        ranks = {token.encode("latin-1"): rank for token, rank in content["tokens"].items()}
        return cls(ranks, content["pattern"], content["special_tokens"])

    def to_tiktoken(self, name: str = "course") -> tiktoken.Encoding:
        """The same tokenizer for tiktoken, a public library in Rust."""
        return tiktoken.Encoding(
            name, pat_str=self.pattern, mergeable_ranks=self.ranks, special_tokens=self.special_tokens
        )

    @classmethod
    def from_tiktoken(cls, encoding: tiktoken.Encoding) -> "Tokenizer":
        """The tokenizer inside a tiktoken encoding."""
        return cls(encoding._mergeable_ranks, encoding._pat_str, encoding._special_tokens)

    def _allowed(self, names: Collection[str] | str) -> set[str]:
        if names == "all":
            return set(self.special_tokens)
        if isinstance(names, str):
            raise TypeError(f"allowed_special is 'all' or a set of names, not {names!r}; did you mean {{{names!r}}}?")
        if unknown := set(names) - set(self.special_tokens):
            raise ValueError(f"{sorted(unknown)} are no special tokens here; these are: {sorted(self.special_tokens)}")
        return set(names)

    @cached_property
    def _bytes_of(self) -> dict[int, bytes]:
        special = {token_id: name.encode() for name, token_id in self.special_tokens.items()}
        return {rank: token for token, rank in self.ranks.items()} | special

    @cached_property
    def _lacking(self) -> set[int]:
        """The bytes that have no token; only a vocabulary from elsewhere has such."""
        return {byte for byte in range(256) if bytes([byte]) not in self.ranks}

    @cached_property
    def _tiktoken(self) -> tiktoken.Encoding:
        return self.to_tiktoken()
