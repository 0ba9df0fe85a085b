"""Where a word ends, before any merge: the patterns that cut text into pieces."""

from collections.abc import Collection, Iterable, Iterator
from math import inf

import regex

# GPT-2's (Radford et al. 2019): a word takes the space before it, so " dog" is one token wherever
# it stands. A run of digits is one piece.
GPT2_PATTERN = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# The course's default: GPT-2's, but each digit is a piece by itself and takes no space. A number
# then looks the same wherever it stands, and a sum can be worked digit by digit (DeepSeek LLM 2024
# splits digits too; SmolLM2 as here).
DIGITS_PATTERN = (
    r"'(?:s|t|re|ve|m|ll|d)|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
)

# For questions and worked sums: a word takes the space on both sides, punctuation the one after it;
# speakers, digits and signs stand alone. Fewer tokens per worked sum, at the price of more than one
# form per word.
WORD_PATTERN = (
    r"\n?(?:User|Assistant|Q|A): |\p{N}|[+=-]|\p{Han}+| ?[\p{L}\p{M}']+ ?|[^\s\p{L}\p{M}\p{N}]+"
    r" ?|\s+"
)


# How far a pattern looks: of a piece, no more than so many characters beyond its beginning
# ("Assistant: " has 11, and a line end before it) or so many beyond its end ("\s+(?!\S)" gives one
# blank back, and has seen the character after it), whichever is more. Of other patterns it isn't
# known, and a text may have to be read to its end.
PATTERN_LOOKAHEAD = {GPT2_PATTERN: 16, DIGITS_PATTERN: 16, WORD_PATTERN: 16}
STREAM_CHARACTERS = 1 << 16


def split_pieces(text: str, pattern: str = DIGITS_PATTERN) -> list[str]:
    """Cut text into the pieces that no merge crosses.

    Raises ValueError if the pattern skips a character.

    >>> split_pieces("Thou owest 45 ducats")
    ['Thou', ' owest', ' ', '4', '5', ' ducats']
    """
    pieces = regex.findall(pattern, text)
    if (kept := sum(map(len, pieces))) != len(text):
        raise ValueError(
            f"the pattern {pattern!r} skips {len(text) - kept} of {len(text)} characters"
        )
    return pieces


def special_pattern(special_tokens: Collection[str]) -> regex.Pattern:
    """Matches a special token; where one begins another, the longest that stands there."""
    return regex.compile(
        "|".join(regex.escape(name) for name in sorted(special_tokens, key=len, reverse=True))
    )


def cut_long_text(text: str, special_tokens: Collection[str]) -> list[str]:
    """Cut text at special tokens.

    Ordinary text is at the even places of the result, special tokens are at the odd ones. Where one
    special token begins another, the longest that stands there counts.

    >>> cut_long_text("to be<|end|>or not", ["<|end|>"])
    ['to be', '<|end|>', 'or not']
    >>> cut_long_text("<|end|><|end|>er", ["<|end|>", "<|end|>er"])
    ['', '<|end|>', '', '<|end|>er', '']
    """
    if not special_tokens:
        return [text]
    return regex.split(f"({special_pattern(special_tokens).pattern})", text)


def stream_pieces(
    texts: Iterable[str], pattern: str, special_tokens: Collection[str] = ()
) -> Iterator[tuple[str, bool]]:
    """The pieces of the joined texts, one by one, each with whether it is a special token.

    The same pieces as `cut_long_text` and `split_pieces` make of the whole, wherever one text ends
    and the next begins. Held in memory are about `STREAM_CHARACTERS` characters and the longest
    piece; under a pattern that `PATTERN_LOOKAHEAD` doesn't name, all that stands between two
    special tokens.
    """
    waiting, needed = "", STREAM_CHARACTERS
    for text in texts:
        for start in range(0, len(checked_pattern(text)), STREAM_CHARACTERS):
            waiting += text[start : start + STREAM_CHARACTERS]
            if len(waiting) >= needed:
                pieces, waiting = settled_pieces(waiting, pattern, special_tokens)
                yield from pieces
                # A long piece waits for its end: looked at anew only when doubled, it costs no
                # square of its length.
                needed = max(STREAM_CHARACTERS, 2 * len(waiting))
    for number, part in enumerate(cut_long_text(waiting, special_tokens)):
        if number % 2:
            yield part, True
        else:
            yield from ((piece, False) for piece in split_pieces(part, pattern))


def settled_pieces(
    text: str, pattern: str, special_tokens: Collection[str]
) -> tuple[list[tuple[str, bool]], str]:
    """The first pieces of a text, which no continuation can change, and the rest of the text.

    A special token is settled if also the longest one would have had room: then no other can begin
    before it or be meant instead. The text before it is settled, since it ends there. Of the text
    after the last one those pieces are settled that end so early that their pattern could neither
    see the end of the text nor a special token across it.
    """
    longest = max(map(len, special_tokens), default=0)
    pieces, start = [], 0
    for match in special_pattern(special_tokens).finditer(text) if special_tokens else ():
        if match.start() > len(text) - longest:
            break
        pieces += [
            (piece, False) for piece in split_pieces(text[start : match.start()], pattern)
        ] + [(match[0], True)]
        start = match.end()
    settled = len(text) - longest - PATTERN_LOOKAHEAD.get(pattern, inf)
    for piece in split_pieces(text[start:], pattern) if settled > start else ():
        if start + len(piece) > settled:
            break
        pieces.append((piece, False))
        start += len(piece)
    return pieces, text[start:]


def checked_pattern(text: str) -> str:
    """The text itself, if it is a string that UTF-8 can hold; else a TypeError or ValueError."""
    if not isinstance(text, str):
        raise TypeError(
            f"text must be a str, not {type(text).__name__} (bytes go through encode_bytes)"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has half a character, {text[error.start]!a}, at position {error.start}:"
            " UTF-8 can't hold it"
        ) from None
    return text
