"""Where a word ends, before any merge: the patterns that cut text into pieces."""

from collections.abc import Collection

import regex

# GPT-2's (Radford et al. 2019): a word takes the space before it, so " dog" is one token wherever it stands. A run of
# digits is one piece.
GPT2_PATTERN = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# The course's default: GPT-2's, but each digit is a piece by itself and takes no space. A number then looks the same
# wherever it stands, and a sum can be worked digit by digit (DeepSeek LLM 2024 splits digits too; SmolLM2 as here).
DIGITS_PATTERN = r"'(?:s|t|re|ve|m|ll|d)|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"

# For questions and worked sums: a word takes the space on both sides, punctuation the one after it; speakers, digits
# and signs stand alone. Fewer tokens per worked sum, at the price of more than one form per word.
WORD_PATTERN = r"\n?(?:User|Assistant|Q|A): |\p{N}|[+=-]|\p{Han}+| ?[\p{L}\p{M}']+ ?|[^\s\p{L}\p{M}\p{N}]+ ?|\s+"


def split(text: str, pattern: str = DIGITS_PATTERN) -> list[str]:
    """Cut text into the pieces that no merge crosses. Raises ValueError if the pattern skips a character.

    >>> split("Thou owest 45 ducats")
    ['Thou', ' owest', ' ', '4', '5', ' ducats']
    """
    pieces = regex.findall(pattern, text)
    if (kept := sum(map(len, pieces))) != len(text):
        raise ValueError(f"the pattern {pattern!r} skips {len(text) - kept} of {len(text)} characters")
    return pieces


def cut(text: str, special_tokens: Collection[str]) -> list[str]:
    """Cut text at special tokens: ordinary text at the even places of the result, special tokens at the odd ones.

    >>> cut("to be<|end|>or not", ["<|end|>"])
    ['to be', '<|end|>', 'or not']
    """
    if not special_tokens:
        return [text]
    return regex.split("(" + "|".join(map(regex.escape, special_tokens)) + ")", text)


def checked(text: str) -> str:
    """The text itself, if it is a string that UTF-8 can hold. Raises TypeError or ValueError otherwise."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__} (bytes go through encode_bytes)")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has half a character, {text[error.start]!a}, at position {error.start}: UTF-8 can't hold it"
        ) from None
    return text
