"""Use a vocabulary: text to token ids and back, special tokens, files."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import inf
from operator import add
from pathlib import Path

import regex
import tiktoken

from course_lib.files import read_json, write_json
from course_lib.text.bpe.patterns import (
    DIGITS_PATTERN,
    checked_pattern,
    cut_long_text,
    split_pieces,
    stream_pieces,
)

TOKENIZER_KIND, TOKENIZER_VERSION = "byte-pair tokenizer", 1
# tiktoken's regular expressions run out of stack on about a million blanks in a row.
LONG_BLANK = regex.compile(r"\s{100000}")
KNOWN_PIECES = 1 << 14  # kept while a stream is read: words repeat, but new ones never end


def not_one_text(texts: Iterable[str]) -> Iterable[str]:
    """The texts themselves.

    Raises TypeError for one text, whose characters would each count as a text.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"texts must be several texts, not one {type(texts).__name__}; did you mean [text]?"
        )
    return texts


def merge_pair(ids: Sequence, pair: tuple, new_id) -> list:
    """Replace each occurrence of the pair by the new id, from left to right.

    >>> merge_pair([7, 7, 7, 5], (7, 7), 256)
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


def join_everywhere(
    parts: Sequence[bytes], token: bytes, ranks: Mapping[bytes, int]
) -> list[bytes]:
    """Join all neighbours that make this token, from left to right.

    Stops early where a lower rank comes up.

    >>> join_everywhere([b"a", b"b", b"c", b"a", b"b"], b"ab", {b"ab": 256})
    [b'ab', b'c', b'ab']
    """
    joined, i = [], 0
    while i < len(parts):
        joined.append(parts[i])
        i += 1
        if i < len(parts) and joined[-1] + parts[i] == token:
            joined[-1] = token
            i += 1
            # In a trained vocabulary a longer token ranks higher. In others the new one and a
            # neighbour may be next.
            for pair in b"".join(joined[-2:]), b"".join([token, *parts[i : i + 1]]):
                if ranks.get(pair, inf) < ranks[token]:
                    return joined + list(parts[i:])
    return joined


@dataclass(frozen=True, repr=False)
class Tokenizer:
    """A vocabulary (the bytes of each token and its rank, its id), a pattern, special tokens.

    Which pair made a token need not be kept. The bytes decide: of all neighbours, those are joined
    first whose joined bytes have the lowest rank; a piece that is a token as a whole is that token,
    also where no merges lead to it (as in tiktoken). `course_lib.text.bpe.train` makes one; equal
    ones compare equal. Where one special token begins another, the longest that stands in the text
    counts. `decode_only` holds tokens that have an id and that text never becomes.

    >>> bytes_only = {bytes([byte]): byte for byte in range(256)}
    >>> vocab = bytes_only | {b"he": 256, b"the": 257}
    >>> tokenizer = Tokenizer(vocab, special_tokens={"<|end|>": 258})
    >>> tokenizer.encode("the<|end|>", allowed_special="all")
    [257, 258]
    >>> tokenizer.decode(tokenizer.encode("the<|end|>"))     # plain text: none of them special
    'the<|end|>'
    """

    ranks: Mapping[bytes, int]
    pattern: str = DIGITS_PATTERN
    special_tokens: Mapping[str, int] = field(default_factory=dict)
    decode_only: Mapping[bytes, int] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("ranks", "special_tokens", "decode_only"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        ids = [*self.ranks.values(), *self.special_tokens.values(), *self.decode_only.values()]
        if not self.ranks:
            raise ValueError("a vocabulary needs at least one token that is no special one, got 0")
        if wrong := [token_id for token_id in ids if type(token_id) is not int or token_id < 0]:
            raise ValueError(f"ids are whole numbers from 0 on, got {wrong[0]!r}")
        if len(set(ids)) < len(ids):
            raise ValueError(
                f"{len(ids)} tokens share {len(set(ids))} ids: each token needs its own"
            )
        for token in (*self.ranks, *self.decode_only):
            if not isinstance(token, bytes) or not token:
                raise TypeError(f"tokens are bytes, at least one, got {token!r}")
        if "" in self.special_tokens:
            raise ValueError("a special token can't be the empty text")

    def __repr__(self) -> str:
        special = f", {len(self.special_tokens)} of them special" if self.special_tokens else ""
        return f"<Tokenizer of {len(self):,} tokens{special}>"

    def __len__(self) -> int:
        """How many tokens there are, special ones too; below `vocab_size` if ids are left out."""
        return len(self.ranks) + len(self.special_tokens) + len(self.decode_only)

    @property
    def vocab_size(self) -> int:
        """The rows that a table with one row per id needs: the highest id plus one."""
        return (
            max([*self.ranks.values(), *self.special_tokens.values(), *self.decode_only.values()])
            + 1
        )

    @property
    def n_vocab(self) -> int:
        """`vocab_size`, as tiktoken calls it."""
        return self.vocab_size

    def after(self, n_merges: int) -> "Tokenizer":
        """The tokenizer as it was after its first merges: a vocabulary begins with a vocabulary."""
        return Tokenizer(
            {token: rank for token, rank in self.ranks.items() if rank < 256 + n_merges},
            self.pattern,
        )

    def encode(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """Token ids of the text; a special token in it is plain text, unless it is allowed.

        "all" allows all. Runs in tiktoken, which is fast on long text; `encode_naive` says in
        Python what it does. A text of megabytes takes many times its size in memory:
        `encode_iterable` doesn't.
        """
        allowed = self._allowed(allowed_special)
        if LONG_BLANK.search(checked_pattern(text)) or not self._lacking.isdisjoint(text.encode()):
            # tiktoken fails on these
            return self._encode_parts(cut_long_text(text, allowed), self._encode_piece_fast)
        if self._nested and allowed:  # which of two that begin alike tiktoken takes is random
            parts = cut_long_text(text, allowed)
            parts[::2] = map(self._tiktoken.encode_ordinary, parts[::2])
            parts[1::2] = ([self.special_tokens[name]] for name in parts[1::2])
            return [token_id for part in parts for token_id in part]
        return self._tiktoken.encode(text, allowed_special=allowed, disallowed_special=())

    def encode_batch(
        self, texts: Iterable[str], allowed_special: Collection[str] | str = ()
    ) -> list[list[int]]:
        """Token ids of each text: `encode` of one after the other.

        >>> Tokenizer({bytes([byte]): byte for byte in range(256)}).encode_batch(["a", "", "bc"])
        [[97], [], [98, 99]]
        """
        return [self.encode(text, allowed_special) for text in not_one_text(texts)]

    def encode_iterable(
        self, texts: Iterable[str], allowed_special: Collection[str] | str = ()
    ) -> Iterator[int]:
        """Token ids of the joined texts, one by one: of a file larger than memory, say.

        The ids are those of `encode("".join(texts))`, wherever one text ends and the next begins.
        Memory doesn't grow with the length, only with the longest piece (under a pattern of one's
        own, with the whole: see `LOOKAHEAD`).

        >>> bytes_only = {bytes([byte]): byte for byte in range(256)}
        >>> tokenizer = Tokenizer(bytes_only | {b"he": 256, b"the": 257})
        >>> list(tokenizer.encode_iterable(["t", "h", "e"])), tokenizer.encode("the")
        ([257], [257])
        """
        return self._encode_stream(not_one_text(texts), self._allowed(allowed_special))

    def _encode_stream(self, texts: Iterable[str], allowed: set[str]) -> Iterator[int]:
        known: dict[str, list[int]] = {}
        for piece, is_special in stream_pieces(texts, self.pattern, allowed):
            if is_special:
                yield self.special_tokens[piece]
                continue
            if piece not in known:
                if len(known) == KNOWN_PIECES:
                    known.clear()
                known[piece] = self._encode_piece_fast(piece.encode())
            yield from known[piece]

    def encode_naive(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """The same ids as `encode`, the simple way.

        Cut at allowed special tokens, cut into pieces, encode each distinct piece once.
        """
        return self._encode_parts(
            cut_long_text(checked_pattern(text), self._allowed(allowed_special)), self.encode_piece
        )

    def _encode_parts(
        self, parts: Sequence[str], encode_piece: Callable[[bytes], list[int]]
    ) -> list[int]:
        ids, known = [], {}
        for number, part in enumerate(parts):
            if number % 2:
                ids.append(self.special_tokens[part])
                continue
            for piece in split_pieces(part, self.pattern):
                if piece not in known:
                    known[piece] = encode_piece(piece.encode("utf-8", "surrogateescape"))
                ids += known[piece]
        return ids

    def encode_piece(self, piece: bytes) -> list[int]:
        """Start from bytes; join the neighbours that rank lowest, until none make a token.

        A piece that is a token needs no joining.

        >>> Tokenizer({b"l": 0, b"o": 1, b"w": 2, b"ow": 3, b"low": 4}).encode_piece(b"lowlo")
        [4, 0, 1]
        """
        if piece in self.ranks:
            return [self.ranks[piece]]
        parts = [piece[i : i + 1] for i in range(len(piece))]
        while len(parts) > 1:
            token = min(map(add, parts, parts[1:]), key=lambda joined: self.ranks.get(joined, inf))
            if token not in self.ranks:
                break
            parts = join_everywhere(parts, token, self.ranks)
        if unknown := [part for part in parts if part not in self.ranks]:
            raise ValueError(
                f"this vocabulary has no token for the byte {unknown[0]!r} (in {piece!r})"
            )
        return [self.ranks[part] for part in parts]

    def _encode_piece_fast(self, piece: bytes) -> list[int]:
        """The same in tiktoken, which needs a token for each byte."""
        if not self._lacking.isdisjoint(piece):
            return self.encode_piece(piece)
        return self._tiktoken._encode_single_piece(piece)

    def encode_bytes(self, data: bytes) -> list[int]:
        """Token ids of any bytes, valid UTF-8 or not; `decode_bytes` gives the same bytes back."""
        if not isinstance(data, bytes | bytearray):
            raise TypeError(
                f"data must be bytes, not {type(data).__name__} (text goes through encode)"
            )
        try:
            return self.encode(bytes(data).decode())
        except UnicodeDecodeError:
            # bytes that are no text travel through the pattern as lone surrogates
            text = bytes(data).decode("utf-8", "surrogateescape")
            return self._encode_parts([text], self._encode_piece_fast)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of all tokens, joined. Takes a list or a one-dimensional tensor."""
        return b"".join(
            self.token_bytes(token_id)
            for token_id in (ids.tolist() if hasattr(ids, "tolist") else ids)
        )

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids.

        Bytes that are no UTF-8, half a character say, become the replacement sign U+FFFD.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token. Raises ValueError if no token has this id."""
        try:
            return self._bytes_of[token_id]
        except (KeyError, TypeError):
            raise ValueError(
                f"no token has the id {token_id!r}; ids run from 0 to {self.n_vocab - 1}"
            ) from None

    def save(self, path: str | Path) -> None:
        """Write one JSON file with a checksum, whole or not at all; each byte is a character."""
        tokens = {token.decode("latin-1"): rank for token, rank in self.ranks.items()}
        content = {"pattern": self.pattern, "special_tokens": self.special_tokens, "tokens": tokens}
        if self.decode_only:
            content["decode_only"] = {
                token.decode("latin-1"): rank for token, rank in self.decode_only.items()
            }
        write_json(path, TOKENIZER_KIND, TOKENIZER_VERSION, content)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read what `save` wrote.

        Raises ValueError, naming the file, if it is damaged or something else.
        """
        content = read_json(path, TOKENIZER_KIND, TOKENIZER_VERSION)
        ranks, decode_only = (
            {token.encode("latin-1"): rank for token, rank in tokens.items()}
            for tokens in (content["tokens"], content.get("decode_only", {}))
        )
        return cls(ranks, content["pattern"], content["special_tokens"], decode_only)

    def to_tiktoken(self, name: str = "course") -> tiktoken.Encoding:
        """The same tokenizer for tiktoken, a public library in Rust.

        It doesn't know `decode_only`, and where one special token begins another it may take the
        shorter.
        """
        return tiktoken.Encoding(
            name,
            pat_str=self.pattern,
            mergeable_ranks=self.ranks,
            special_tokens=self.special_tokens,
        )

    @classmethod
    def from_tiktoken(cls, encoding: tiktoken.Encoding) -> "Tokenizer":
        """The tokenizer inside a tiktoken encoding."""
        return cls(encoding._mergeable_ranks, encoding._pat_str, encoding._special_tokens)

    def _allowed(self, names: Collection[str] | str) -> set[str]:
        if names == "all":
            return set(self.special_tokens)
        if isinstance(names, str):
            raise TypeError(
                f"allowed_special is 'all' or a set of names, not {names!r}; did you mean"
                f" {{{names!r}}}?"
            )
        if unknown := set(names) - set(self.special_tokens):
            raise ValueError(
                f"{sorted(unknown)} are no special tokens here; these are:"
                f" {sorted(self.special_tokens)}"
            )
        return set(names)

    @cached_property
    def _bytes_of(self) -> dict[int, bytes]:
        special = {token_id: name.encode() for name, token_id in self.special_tokens.items()}
        return {rank: token for token, rank in (self.ranks | self.decode_only).items()} | special

    @cached_property
    def _nested(self) -> bool:
        """Whether one special token begins another."""
        return any(other.startswith(name) for name, other in pairwise(sorted(self.special_tokens)))

    @cached_property
    def _lacking(self) -> set[int]:
        """The bytes that have no token; only a vocabulary from elsewhere has such."""
        return {byte for byte in range(256) if bytes([byte]) not in self.ranks}

    @cached_property
    def _tiktoken(self) -> tiktoken.Encoding:
        return self.to_tiktoken()
