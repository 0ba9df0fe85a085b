"""A vocabulary that a published model uses: SmolLM2's 49,152 tokens, out of the file that holds its weights."""

from functools import cache
from pathlib import Path

from course_lib import assets
from course_lib.text.bpe.patterns import DIGITS_PATTERN
from course_lib.text.bpe.tokenizer import Tokenizer
from course_lib.text.gguf import metadata

SPECIAL = 3     # the type of token that GGUF calls "control"


@cache
def smollm2(path: str | Path | None = None) -> Tokenizer:
    """The tokenizer of SmolLM2-135M. Raises `assets.AssetError` if the models are not installed.

    Ids are ranks here too, but specials come first and 21 bytes that no text needs have no token.

    >>> smollm2().n_vocab
    49152
    """
    header = metadata(assets.smollm2() if path is None else path)
    tokens, kinds = header["tokenizer.ggml.tokens"], header["tokenizer.ggml.token_type"]
    byte_of = {character: byte for byte, character in enumerate(printable_bytes())}
    ranks, special = {}, {}
    for token_id, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind == SPECIAL:
            special[token] = token_id
        else:
            ranks[bytes(byte_of[character] for character in token)] = token_id
    return Tokenizer(ranks, DIGITS_PATTERN, special)


def printable_bytes() -> list[str]:
    """The character that stands for each byte in published vocabularies since GPT-2, so that each token can be printed.

    Bytes that Latin-1 shows as a letter or sign stand for themselves, the others are U+0100, U+0101, ... in turn.

    >>> printable_bytes()[ord("a")], printable_bytes()[ord(" ")]
    ('a', 'Ġ')
    """
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]
