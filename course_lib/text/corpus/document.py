"""A document, and the few readings of a text that every cleaning step shares: decode, words, plays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’][^\W_\u3400-\u9fff]+)*")


@dataclass(frozen=True)
class Document:
    """One text with the address that it came from. `labels` holds what is known about it (title, kind, language...)."""

    url: str
    text: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_text(self.url, "url")
        require_text(self.text, "text")

    @property
    def site(self) -> str:
        """The host: `"a.org"` for `"https://a.org/x"`, and everything before the first slash where there is no `//`."""
        return urlsplit(self.url).netloc or self.url.split("/")[0]

    @property
    def n_bytes(self) -> int:
        """The length of the text in UTF-8 bytes."""
        return len(self.text.encode())


def require_text(text: str, name: str = "text") -> None:
    """Raises TypeError unless `text` is a str. Bytes get a hint, because forgetting to decode is the usual cause."""
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


def decode(raw: bytes) -> str:
    """Decodes UTF-8, and says where it fails instead of guessing (a guess leaves `Ã©` where an `é` was).

    >>> decode("café".encode())
    'café'
    >>> decode(b"caf" + bytes([233]))
    Traceback (most recent call last):
    ValueError: not valid UTF-8: byte 0xe9 at offset 3 of 4 (unexpected end of data)
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte {raw[error.start]:#04x} at offset {error.start} of {len(raw)}"
        raise ValueError(f"not valid UTF-8: {place} ({error.reason})") from None


def words(text: str) -> list[str]:
    """The words of a text, lower case. A Chinese character counts as a word of its own, since no spaces part the words.

    >>> words("It's 7+5, 你好")
    ["it's", '7', '5', '你', '好']
    """
    require_text(text)
    return WORD.findall(text.lower())


def plays() -> list[Document]:
    """Shakespeare's plays and poems, one document each, line ends and spaces normalised. Needs the asset `plays`."""
    from course_lib import assets
    from course_lib.text.corpus.markup import normalise

    def document(title: str, raw: bytes) -> Document:
        url = "plays/" + "-".join(words(title))
        return Document(url, normalise(decode(raw)), {"title": title, "author": "Shakespeare"})

    return [document(title, path.read_bytes()) for title, path in sorted(assets.plays().items())]
