"""Published vocabularies: SmolLM2's, from the file of its weights; any in GPT-2's two files."""

import json
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from course_lib import assets
from course_lib.text.bpe.patterns import DIGITS_PATTERN, GPT2_PATTERN
from course_lib.text.bpe.tokenizer import Tokenizer
from course_lib.text.gguf import gguf_metadata

GGUF_CONTROL_TOKEN = 3  # the type of token that GGUF calls "control"


@cache
def smollm2_tokenizer(path: str | Path | None = None) -> Tokenizer:
    """The tokenizer of SmolLM2-135M. Raises `assets.AssetError` if the models are not installed.

    Ids are ranks here too, but specials come first and 21 bytes that no text needs have no token.

    >>> smollm2_tokenizer().n_vocab
    49152
    """
    return gguf_tokenizer(gguf_metadata(assets.smollm2_file() if path is None else path))


def gguf_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that the pairs of a GGUF file describe.

    Raises ValueError for a kind of tokenizer that is not read here: one without merges of bytes, or
    one that cuts text otherwise; and for merges whose tokens don't have rising ids, as our ranks
    are ids.
    """
    for key, known in {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}.items():
        if (found := metadata.get(key)) != known:
            raise ValueError(f"{key} is {found!r} there; only {known!r} is read here")
    ranks, special = {}, {}
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    for token_id, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind == GGUF_CONTROL_TOKEN:
            special[token] = token_id
        else:
            ranks[printed_bytes(token)] = token_id
    made = [pair.replace(" ", "") for pair in metadata["tokenizer.ggml.merges"]]
    places = dict(zip(tokens, range(len(tokens)), strict=True))
    ids = [places.get(token, -1) for token in made]
    if wrong := [token for token, i, j in zip(made[1:], ids, ids[1:], strict=False) if j <= i]:
        raise ValueError(f"the token {wrong[0]!r} has no higher id than that of the merge before")
    return Tokenizer(ranks, DIGITS_PATTERN, special)


def printable_bytes() -> list[str]:
    """The character for each byte in published vocabularies since GPT-2: any token can be printed.

    Bytes that Latin-1 shows as a letter or sign stand for themselves, the others are U+0100,
    U+0101, ... in turn.

    >>> printable_bytes()[ord("a")], printable_bytes()[ord(" ")]
    ('a', 'Ġ')
    """
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


@cache
def _byte_of() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(printable_bytes())}


def printed_bytes(token: str) -> bytes:
    """The bytes that a printed token stands for.

    Raises ValueError for characters that stand for none.

    >>> printed_bytes("Ġcaf\u00c3\u00a9").decode()
    ' café'
    """
    if unknown := [character for character in token if character not in _byte_of()]:
        raise ValueError(f"the character {unknown[0]!r} in the token {token!r} stands for no byte")
    return bytes(map(_byte_of().__getitem__, token))


def read_gpt2_tokenizer(
    vocab_file: str | Path,
    merges_file: str | Path,
    special_tokens: Collection[str] = ("<|endoftext|>",),
    pattern: str = GPT2_PATTERN,
) -> Tokenizer:
    """The tokenizer in GPT-2's two files, `vocab.json` and `merges.txt`.

    They hold printed token -> id, and two parts a line. Tokens that the merges never make become
    `decode_only`: they have an id, but no text becomes them. Raises ValueError, naming the file, if
    a special token, a merge or its parts are not in the vocabulary, or if the ids don't rise with
    the merges (our ranks are ids). Where a byte has no token, encoding refuses it (theirs writes
    <unk> or nothing). Source: Radford et al. 2019; files of `transformers`, GPT2Tokenizer.
    """
    try:
        ids = json.loads(Path(vocab_file).read_text(encoding="utf-8"))
        special = {name: ids[name] for name in special_tokens}
        tokens = {
            printed_bytes(token): token_id
            for token, token_id in ids.items()
            if token not in special
        }
    except KeyError as error:
        raise ValueError(f"{vocab_file} has no special token {error.args[0]!r}") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{vocab_file} is no vocabulary: {error}") from None
    try:
        ranks = ranks_of_merges(read_merges(merges_file), tokens)
    except ValueError as error:
        raise ValueError(f"{merges_file}: {error}") from None
    rest = {token: token_id for token, token_id in tokens.items() if token not in ranks}
    return Tokenizer(ranks, pattern, special, rest)


def read_merges(merges_file: str | Path) -> list[tuple[bytes, bytes]]:
    """The pairs of `merges.txt` in their order, without a first line of `#version`."""
    merges = []
    for number, line in enumerate(
        Path(merges_file).read_text(encoding="utf-8").split("\n"), start=1
    ):
        parts = line.rstrip("\r").split(" ")
        if line.strip() and not (number == 1 and line.startswith("#version")):
            if len(parts) != 2 or "" in parts:
                raise ValueError(f"line {number} is {line!r}, not two parts with a space between")
            merges.append((printed_bytes(parts[0]), printed_bytes(parts[1])))
    return merges


def ranks_of_merges(
    merges: Collection[tuple[bytes, bytes]], ids: Mapping[bytes, int]
) -> dict[bytes, int]:
    """The tokens that these merges make out of bytes, with their ids.

    So joining by rank is merging in order. A merge has its turn only if the merges before it leave
    just its two parts of their joined bytes. (What they leave inside a longer text is the same, as
    long as nothing crosses the borders.) One that never has its turn makes no token: if it were
    kept, joining by rank would make the token of other parts.
    """
    made = Tokenizer({token: token_id for token, token_id in ids.items() if len(token) == 1})
    last = -1
    for first, second in merges:
        if missing := [part for part in (first, second, first + second) if part not in ids]:
            raise ValueError(
                f"the merge {first!r} {second!r} needs {missing[0]!r}, which is not in the"
                " vocabulary"
            )
        if made.encode_piece(first + second) != [ids[first], ids[second]]:
            continue
        token_id = ids[first + second]
        if token_id <= last:
            raise ValueError(
                f"the token {first + second!r} has the id {token_id}, a merge before it {last}:"
                " must rise"
            )
        made.ranks[first + second] = last = token_id
    return made.ranks
