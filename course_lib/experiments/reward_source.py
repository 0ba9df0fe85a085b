"""The course's rewards as a file that needs nothing but Python, for engines that train elsewhere.

The functions are copied as they stand. Their patterns are written for the package `regex`, which
knows scripts and kinds of characters by name; here each name becomes the ranges of its characters,
and Python's own `re` reads the rest alike.
"""

import inspect
import sys
from functools import cache
from textwrap import wrap

import regex

from course_lib.text import problems

# In the order in which they need each other
ANSWER_FUNCTIONS = (
    problems.last_number,
    problems.ParsedResponse,
    problems.outermost_elements,
    problems.parse_response,
    problems.final_answer,
    problems.is_well_formed,
)
ANSWER_PATTERNS = (
    "RESPONSE_TAG",
    "NUMERAL_PATTERN",
    "PLAIN_NUMERAL",
    "JOINED_BEFORE",
    "JOINED_BEHIND",
    "LONG_BLANK_RUN",
    "ARROW_SIGN",
    "BOXED_ANSWER",
)
# What `re` has no name for, or means something else by: its \s has four control characters more
NAMED_CLASSES = {
    r"\p{Latin}\p{Greek}\p{Cyrillic}": "LETTERS",
    r"\p{N}": "NUMERALS",
    r"\p{M}": "MARKS",
    r"\s": "BLANKS",
}


def reward_functions_source() -> str:
    """Give the source of the functions that read an answer, for `re` in place of `regex`."""
    sources = (inspect.getsource(function).strip() for function in ANSWER_FUNCTIONS)
    return "\n\n\n".join(sources).replace("regex.", "re.")


def reward_patterns_source() -> str:
    """Give the lines that make the patterns and constants which those functions use."""
    signs = "".join(map(chr, problems.MINUS_SIGNS))
    lines = [
        f"GROUPED_DIGITS = {''.join(split_literal(problems.GROUPED_DIGITS))}",
        f'MINUS_SIGNS = str.maketrans(dict.fromkeys({ascii(signs)}, "-"))',
    ]
    for name in ANSWER_PATTERNS:
        pieces = split_literal(with_named_classes(getattr(problems, name).pattern))
        lines += [f"{name} = compile_pattern(", *(f"    {piece}" for piece in pieces), ")"]
    return "\n".join(lines)


def character_classes_source() -> str:
    """Give the table of the classes, name -> what stands between the brackets of a pattern."""
    lines = ["CHARACTER_CLASSES = {"]
    for name, ranges in character_classes().items():
        pieces = (piece.replace(" ", "") for piece in wrap(" ".join(ranges), 88))
        lines += [f'    "{name}": (', *(f'        r"{piece}"' for piece in pieces), "    ),"]
    return "\n".join([*lines, "}"])


@cache
def character_classes() -> dict[str, list[str]]:
    """Find the characters of each class, by `regex`: name -> ranges."""
    return {name: character_ranges(f"[{words}]") for words, name in NAMED_CLASSES.items()}


def character_ranges(pattern: str) -> list[str]:
    r"""Write all characters that a pattern matches as ranges, in ASCII.

    >>> print(*character_ranges("[a-c]|x"))
    \u0061-\u0063 \u0078
    """
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    runs = [match.span() for match in regex.finditer(f"(?:{pattern})+", everything)]
    ends = ([escaped_character(a), escaped_character(b - 1)] for a, b in runs)
    return ["-".join(dict.fromkeys(both)) for both in ends]


def escaped_character(code: int) -> str:
    """Name a character in a pattern: `escaped_character(97)` is "\\u0061"."""
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def with_named_classes(pattern: str) -> str:
    r"""Put "<NAME>" in place of what `re` does not know, in brackets where there are none.

    >>> with_named_classes(r"\p{N}[,\p{N}]\s*")
    '[<NUMERALS>][,<NUMERALS>][<BLANKS>]*'
    """
    written, inside, at = [], False, 0
    while at < len(pattern):
        words = next((words for words in NAMED_CLASSES if pattern.startswith(words, at)), None)
        if words:
            name = f"<{NAMED_CLASSES[words]}>"
            written.append(name if inside else f"[{name}]")
        else:
            words = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
            inside = words == "[" or inside and words != "]"
            written.append(words)
        at += len(words)
    return "".join(written)


def split_literal(text: str, width: int = 84) -> list[str]:
    """Write a pattern as raw literals in ASCII that stand below each other; none cuts an escape.

    >>> split_literal("[0-9]\u00bd", 6)
    ['r"[0-9]"', 'r"\\\\u00bd"']
    """
    plain = "".join(c if c.isascii() else escaped_character(ord(c)) for c in text)
    pieces = [""]
    for token in regex.findall(r"\\u.{4}|\\U.{8}|\\.|[^\\]", plain):
        if len(pieces[-1] + token) > width:
            pieces.append("")
        pieces[-1] += token
    return [f'r"{piece}"' for piece in pieces]
