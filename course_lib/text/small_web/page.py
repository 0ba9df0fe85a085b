"""What a page of the small web is, and what its maker knows about it."""

from dataclasses import dataclass
from typing import NamedTuple

PAGE_KINDS = ("tale", "encyclopaedia", "questions", "chat", "shop", "practice", "spam", "junk")


@dataclass(frozen=True, slots=True)
class PageTruth:
    """What the generator knows about a page, and a cleaner or a classifier has to find out.

    `text` is the page's clean text: no markup, no boilerplate, plain ASCII quotes and spaces,
    Unicode in form NFC. `mood` is empty where a page has none (practice, spam, junk).
    """

    kind: str  # one of KINDS; junk: empty, boilerplate only, too short, or nothing but numbers
    text: str
    # "en" or "zh"; what the page is really written in, whatever its markup says
    language: str = "en"
    mood: str = ""  # "good", "bad" or ""
    author: str = ""
    copy_of: str = ""  # the URL of the page that this one copies letter for letter
    near_copy_of: str = ""  # the URL of the page that this one copies with small changes
    personal_data: tuple[str, ...] = ()  # planted addresses and numbers, as they stand in the text
    leaked: str = ""  # the held-out problem whose question and answer stand on this page
    questions: tuple[tuple[str, str], ...] = ()  # (question, answer) of what a reader can tell


@dataclass(frozen=True, slots=True)
class WebPage:
    """One page as a crawler finds it, with the truth about it."""

    url: str
    html: str
    truth: PageTruth


class PieceOfWriting(NamedTuple):
    """A clean piece of writing before it becomes a page or a document."""

    kind: str
    text: str
    language: str = "en"
    mood: str = ""
    author: str = ""
    questions: tuple[tuple[str, str], ...] = ()
