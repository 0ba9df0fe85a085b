"""Quality rules: small functions that say keep (True) or drop, with the reason in their first line.

Thresholds are those of Gopher (Rae et al. 2021, appendix A), C4 (Raffel et al. 2020) and FineWeb
(Penedo et al. 2024) where the reason names one of them, else scaled to the short pages of the small
web.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import wraps

from course_lib.text.corpus.document import Document, split_words
from course_lib.text.corpus.languages import ANY_LETTER, HAN_CHARACTER, detect_language

QualityRule = Callable[[str], bool]
FUNCTION_WORDS = frozenset("the be to of and that have with".split()) | frozenset(
    "的是在了有不我他"
)
EQUATION_ITEM = re.compile(r"\d[-+*/=]\d|\d=\?")
CHATTER_PATTERN = re.compile(r"lorem ipsum|enable javascript|page not found|[{}]", re.IGNORECASE)


def nonblank_lines(text: str) -> list[str]:
    """The lines that aren't blank."""
    return [line for line in text.split("\n") if line.strip()]


def spelled_words(text: str) -> list[str]:
    """The words that begin with a letter or digit: rules about prose count no signs or emoji."""
    return [word for word in split_words(text) if word[0].isalnum()]


def true_share(items: Iterable[bool]) -> float:
    """The share of items that are true; 0 of none."""
    items = list(items)
    return sum(items) / max(1, len(items))


def sensible_length(text: str, least: int = 12, most: int = 100_000) -> bool:
    """A page of few words is a menu or a shell; one without end is a log.

    (Gopher: 50 to 100,000 words.)
    """
    return least <= len(spelled_words(text)) <= most


def sensible_words(text: str, shortest: float = 3, longest: float = 10) -> bool:
    """Words of prose have 3 to 10 letters on average.

    Shorter is codes and numbers, longer is addresses. (Gopher.)
    """
    ws = spelled_words(text)
    spelled = [word for word in ws if not HAN_CHARACTER.match(word)]
    return (
        len(spelled) * 2 < len(ws)
        or shortest <= sum(map(len, spelled)) / max(1, len(spelled)) <= longest
    )


def mostly_words(text: str, least: float = 0.8) -> bool:
    """A page on which many items hold no letter is a table, a price list or a counter.

    (Gopher: 80 % with a letter.)
    """
    return true_share(bool(ANY_LETTER.search(item)) for item in text.split()) >= least


def few_symbols(text: str, most: float = 0.1) -> bool:
    """Hashes and ellipses in every other place are tags and teasers.

    (Gopher: at most 0.1 per word.)
    """
    return text.count("#") + text.count("...") <= most * len(spelled_words(text))


def few_bullets(text: str, most: float = 0.9) -> bool:
    """A page of bullet points alone is a menu or a product list.

    (Gopher: at most 90 % of lines.)
    """
    return (
        true_share(line.lstrip().startswith(("-", "*", "•")) for line in nonblank_lines(text))
        <= most
    )


def few_cut_lines(text: str, most: float = 0.3) -> bool:
    """Lines that end in an ellipsis are the beginnings of other pages. (Gopher: at most 30 %.)"""
    return true_share(line.rstrip().endswith("...") for line in nonblank_lines(text)) <= most


def has_function_words(text: str, least: int = 1) -> bool:
    """Sentences need small words like "the" and "of"; keyword lists have none.

    (Gopher: 2 of 8, on longer pages.)
    """
    return len(FUNCTION_WORDS.intersection(spelled_words(text))) >= least


def lines_vary(text: str, most: float = 0.3) -> bool:
    """The same line again and again is spam or a broken template.

    (Gopher: at most 30 % repeated lines.)
    """
    lines = nonblank_lines(text)
    return len(set(lines)) >= (1 - most) * len(lines)


def phrases_vary(text: str, most: float = 0.25) -> bool:
    """One phrase that fills much of the page is keyword stuffing.

    (Gopher: 0.20, 0.18, 0.16 of the characters for the most frequent run of 2, 3, 4 words, on
    longer pages.)
    """
    ws = spelled_words(text)
    n_letters = sum(map(len, ws))
    for n in (2, 3, 4):
        phrases = Counter(tuple(ws[i : i + n]) for i in range(len(ws) - n + 1))
        phrase, count = phrases.most_common(1)[0] if phrases else ((), 0)
        if count > 1 and count * sum(map(len, phrase)) > most * n_letters:
            return False
    return True


def not_shouting(text: str, most: float = 0.3) -> bool:
    """ALL CAPITALS and rows of exclamation marks sell something.

    (Ours: 30 % of the letters; one "!!" in 20 words.)
    """
    capitals = true_share(letter.isupper() for letter in ANY_LETTER.findall(text))
    return capitals <= most and 20 * len(re.findall("!!+", text)) <= len(spelled_words(text))


def lines_end(text: str, least: float = 0.12) -> bool:
    """Sentences end in a stop; menus and tables don't.

    (FineWeb: at least 12 % of lines; C4 asks it of every line.)
    """
    return (
        true_share(line.rstrip().endswith(tuple('.!?"。！？”')) for line in nonblank_lines(text))
        >= least
    )


def no_chatter(text: str) -> bool:
    """Placeholder text, error messages and code aren't what the page was written for.

    (C4: lorem ipsum, braces.)
    """
    return not CHATTER_PATTERN.search(text)


def known_language(text: str, languages: Sequence[str] = ("en", "zh")) -> bool:
    """A language of which there is too little to learn it only costs room."""
    return detect_language(text) in languages


def is_arithmetic(text: str, least: float = 0.1) -> bool:
    """Sums, by the equations among the items of the text: at least one in ten.

    >>> is_arithmetic("Q: 7+5-3=? A: 7+5=12, 12-3=9")
    True
    >>> is_arithmetic("In 1999 it was 5 + 1 year old.")
    False
    """
    return len(EQUATION_ITEM.findall(text)) >= least * max(1, len(text.split()))


def spare_sums(rule: QualityRule) -> QualityRule:
    """The same rule, but pages of arithmetic pass, all of which rules for prose would drop."""

    @wraps(rule)
    def spared(text: str) -> bool:
        return rule(text) or is_arithmetic(text)

    return spared


PROSE_RULES: tuple[QualityRule, ...] = (
    sensible_length,
    known_language,
    mostly_words,
    sensible_words,
    few_symbols,
    few_bullets,
    few_cut_lines,
    lines_vary,
    phrases_vary,
    not_shouting,
    lines_end,
    no_chatter,
    has_function_words,
)
QUALITY_RULES: tuple[QualityRule, ...] = tuple(map(spare_sums, PROSE_RULES))


def failed_rules(text: str, rules: Iterable[QualityRule] = QUALITY_RULES) -> list[str]:
    """The names of all rules that would drop this text.

    >>> failed_rules("BUY NOW BUY NOW")
    ['sensible_length', 'phrases_vary', 'not_shouting', 'lines_end', 'has_function_words']
    """
    return [rule.__name__ for rule in rules if not rule(text)]


def filter_documents(
    documents: Iterable[Document], rules: Sequence[QualityRule] = QUALITY_RULES
) -> tuple[list[Document], dict[str, str]]:
    """The documents that pass every rule; for others URL -> name of the first rule they fail."""
    kept, dropped = [], {}
    for document in documents:
        culprit = next((rule.__name__ for rule in rules if not rule(document.text)), None)
        if culprit:
            dropped[document.url] = culprit
        else:
            kept.append(document)
    return kept, dropped


def precision_recall(dropped: set[str], bad: set[str]) -> tuple[float, float]:
    """How many dropped pages are bad, and how many bad pages are dropped; 1 where there are none.

    >>> precision_recall({"a", "b", "c", "d"}, {"a", "b", "e"})
    (0.5, 0.6666666666666666)
    """
    hits = len(dropped & bad)
    return hits / len(dropped) if dropped else 1.0, hits / len(bad) if bad else 1.0
