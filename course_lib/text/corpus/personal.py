"""Take personal data out of a text: e-mail and IP addresses, card and telephone numbers."""

from __future__ import annotations

import re
from functools import partial

from course_lib.text.corpus.document import require_text

# In this order: what an earlier pattern took is gone when a later one looks.
PERSONAL_PATTERNS = {
    "email": re.compile(r"[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
    "ip": re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)"),
    "card": re.compile(r"(?<![\d-])\d{4}(?:[ -]?\d){9,15}(?![\d-])"),
    "phone": re.compile(
        r"(?<![\w+.-])(?:"
        # +44 20 7946 0958, +86 138 0013 8000
        r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}"
        r"|\(\d{3}\)[ .-]?\d{3}[ .-]?\d{4}"  # (555) 010-4477
        r"|\d{3}[ .-]\d{3,4}[ .-]\d{4}"  # 555-010-4477, 138 0013 8000
        r"|0\d{2,4}[ /-]\d{6,8}"  # 01632 960830
        r")(?![\w-])"
    ),
}


def passes_luhn(digits: str) -> bool:
    """The check digit of card numbers: the sum of digits is divisible by 10.

    Every second digit from the right is doubled first.

    >>> passes_luhn("4539148803436467"), passes_luhn("4539148803436468")
    (True, False)
    """
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def is_personal_data(kind: str, found: str) -> bool:
    """What a pattern can't say: a card's check digit is right, no part of an IP is above 255."""
    if kind == "card":
        return passes_luhn(re.sub(r"\D", "", found))
    return kind != "ip" or all(int(part) <= 255 for part in found.split("."))


def scrub_personal_data(text: str) -> str:
    """Replaces personal data by what it was: `[email]`, `[card]`, `[ip]`, `[phone]`.

    Scrubbing twice changes nothing.

    >>> scrub_personal_data("Write to ann.lee@mail.example or call +44 20 7946 0958.")
    'Write to [email] or call [phone].'
    """
    require_text(text)
    for kind, pattern in PERSONAL_PATTERNS.items():
        text = pattern.sub(partial(_masked, kind), text)
    return text


def _masked(kind: str, match: re.Match) -> str:
    return f"[{kind}]" if is_personal_data(kind, match[0]) else match[0]
