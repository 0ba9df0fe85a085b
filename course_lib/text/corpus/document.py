"""A document, and the few readings of a text that every cleaning step shares: decode, words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

import regex

# Letters, numbers and the marks upon them: without its marks a word of Hindi is another word.
LETTER_CHARACTERS = r"\p{L}\p{M}\p{N}"
# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters. As
# runs they would be "words" of a whole sentence, in which one changed letter changes everything.
UNSPACED_SCRIPTS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff"
    r"\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# plain letters first: it is faster
SPACED_SCRIPTS = rf"[a-z0-9[[{LETTER_CHARACTERS}]--[{UNSPACED_SCRIPTS}]]]"
WORD_OR_CHARACTER = regex.compile(
    # a joiner inside a word belongs to it, as an apostrophe does
    rf"(?V1){SPACED_SCRIPTS}+(?:['\u200c\u200d]{SPACED_SCRIPTS}+)*"
    rf"|[[{LETTER_CHARACTERS}]&&[{UNSPACED_SCRIPTS}]]\p{{M}}*"
    # An emoji may be several characters: skin tones and other marks behind it, more of them behind
    # a joiner.
    r"|[\p{Sm}\p{Sc}\p{So}^](?:[\p{M}\U0001f3fb-\U0001f3ff]|\u200d\p{So})*"
    # Punctuation in prose, but 7-5, 7*5, 7/5 and (7-5)*3 are different sums.
    r"|[-*/%()](?:(?<=[\p{N}\p{Sm}] ?.|[-*/]\()|(?<!%)(?= ?\p{N}))"
)
# Nobody sees these, and no word ends at them: soft hyphen, zero-width space, word joiner,
# byte-order mark.
INVISIBLE_CHARACTERS = "\u00ad\u200b\u2060\ufeff"


@dataclass(frozen=True)
class Document:
    """One text with the address that it came from.

    `labels` holds what is known about it (title, kind, language...).
    """

    url: str
    text: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_text(self.url, "url")
        require_text(self.text, "text")

    @property
    def site(self) -> str:
        """The host: `"a.org"` for `"https://a.org/x"`; without `//`, all before the first `/`."""
        return urlsplit(self.url).netloc or self.url.split("/")[0]

    @property
    def n_bytes(self) -> int:
        """The length of the text in UTF-8 bytes."""
        return len(self.text.encode())


def require_text(text: str, name: str = "text") -> None:
    """Raises TypeError unless `text` is a str.

    Bytes get a hint, because forgetting to decode is the usual cause.
    """
    if isinstance(text, bytes | bytearray):
        raise TypeError(f"{name} is bytes, not str: decode it first with corpus.decode({name})")
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {type(text).__name__}")


def require_unique_urls(documents: Iterable[Document]) -> None:
    """Raises ValueError when two documents share a URL: what a step drops is reported by URL."""
    seen = set()
    for document in documents:
        if document.url in seen:
            raise ValueError(f"two documents have the URL {document.url!r}; URLs must be unique")
        seen.add(document.url)


def decode_utf8(raw: bytes) -> str:
    """Decodes UTF-8, and says where it fails instead of guessing.

    A guess leaves `Ã©` where an `é` was.

    >>> decode_utf8("café".encode())
    'café'
    >>> decode_utf8(b"caf" + bytes([233]))
    Traceback (most recent call last):
    ValueError: not valid UTF-8: byte 0xe9 at offset 3 of 4 (unexpected end of data)
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte {raw[error.start]:#04x} at offset {error.start} of {len(raw)}"
        raise ValueError(f"not valid UTF-8: {place} ({error.reason})") from None


def comparable_text(text: str) -> str:
    """The text as comparisons see it: lower case, composed (NFC), nothing invisible.

    Its apostrophes are straight.

    >>> comparable_text("It’s a CAFE\\u0301") == "it's a café"
    True
    """
    require_text(text)
    for sign in INVISIBLE_CHARACTERS:
        text = text.replace(sign, "")
    return unicodedata.normalize("NFC", text.lower().replace("’", "'"))


def split_words(text: str) -> list[str]:
    """The words of a text, lower case, with their marks.

    Punctuation is left out, signs with a meaning are words. Words end at white space of every kind
    (form feeds and vertical tabs too) and at punctuation; soft hyphens and zero-width characters
    don't part them. A character of a script without spaces (Chinese, Japanese, Thai, ...) is a word
    of its own. Mathematical and currency signs and emoji are words, and so are `-*/%()` beside a
    number.

    >>> split_words("It's 7+5-3, 你好")
    ["it's", '7', '+', '5', '-', '3', '你', '好']
    >>> split_words("वह आती है"), split_words("ดีมา")
    (['वह', 'आती', 'है'], ['ดี', 'ม', 'า'])
    """
    require_text(text)  # before the cache, which can only say "unhashable"
    return list(_words(text))


@lru_cache(maxsize=4)  # a dozen rules ask for the words of one text, one after the other
def _words(text: str) -> tuple[str, ...]:
    return tuple(WORD_OR_CHARACTER.findall(comparable_text(text)))
