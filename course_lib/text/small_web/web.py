"""The small web itself: pages with flaws and their truth, and clean documents without either."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random

from course_lib.text.corpus.document import Document
from course_lib.text.draw import draw_integer, draw_item, draw_weighted
from course_lib.text.small_web import chats, encyclopaedia, practice, shops, tales
from course_lib.text.small_web.html import choose_site, render_page
from course_lib.text.small_web.page import PageTruth, PieceOfWriting, WebPage
from course_lib.text.small_web.planted import (
    COPIED_FROM,
    FLAW_SHARES,
    FlawShares,
    add_decoy,
    add_personal_data,
    leak_held_out,
    near_copy,
    truth_of,
)
from course_lib.text.small_web.practice import (
    CHAIN_SHARES,
    SEARCH_SHARES,
    ChainShares,
    SearchShares,
)

MAX_MEGABYTES = 50
CHINESE_SHARE = 0.10  # of the tales, articles and quizzes

WritingSource = Callable[[Random], PieceOfWriting]


def _either_language(write: Callable[[Random, str], PieceOfWriting]) -> WritingSource:
    return lambda rng: write(rng, "zh" if rng.random() < CHINESE_SHARE else "en")


# Everything that people write, by name
WRITING_SOURCES: dict[str, WritingSource] = {
    "tale": _either_language(tales.write_tale),
    "encyclopaedia": _either_language(encyclopaedia.encyclopaedia_article),
    "questions": _either_language(encyclopaedia.quiz_page),
    "dialogue": chats.dialogue_page,
    "helpdesk": chats.helpdesk_page,
    "shop": shops.shop_page,
    "chain": practice.chain_post,
    "search": practice.search_post,
    "chain_drill": practice.chain_drill,
    "search_drill": practice.search_drill,
    "search_table": practice.search_table,
    "search_summary": practice.search_summary,
}

# What the training sets are mixed from: shares of documents (not of bytes: a tale is as long as ten
# sums).
DOCUMENT_MIXTURES: dict[str, dict[str, float]] = {
    # the base model that learns to reason: about half of the text tales, a sixth worked sums. With
    # a fifth of the documents tales and fewer sums worked, the base never learnt to copy the right
    # numbers into its steps.
    "base": {
        "tale": 0.12,
        "encyclopaedia": 0.02,
        "questions": 0.02,
        "helpdesk": 0.12,
        "chain": 0.65,
        "chain_drill": 0.07,
    },
    # the base model that learns to search: a quarter checking drills, without which no try can be
    # trusted
    "search": {"search": 0.75, "search_drill": 0.25},
    # for the masked models and their family: everything with an author and a mood
    "pages": {"tale": 4, "encyclopaedia": 2, "questions": 2, "dialogue": 2, "shop": 2},
    "tales": {"tale": 1},
}
# What stands on the web, flaws apart: mostly tales, some of everything
WEB_SHARES = {
    "tale": 0.34,
    "encyclopaedia": 0.18,
    "questions": 0.12,
    "dialogue": 0.07,
    "helpdesk": 0.07,
    "shop": 0.08,
    "practice": 0.14,
}
# on a page of practice problems
PRACTICE_SHARES = {"chain": 0.55, "search": 0.25, "chain_drill": 0.10, "search_drill": 0.10}


def practice_page(rng: Random) -> PieceOfWriting:
    """Several practice problems with their answers, as on a page of a homework forum."""
    posts = [
        WRITING_SOURCES[draw_weighted(rng, PRACTICE_SHARES)](rng).text
        for _ in range(draw_integer(rng, 3, 6))
    ]
    return PieceOfWriting("practice", "\n".join(posts))


WEB_SOURCES = WRITING_SOURCES | {
    "helpdesk": lambda rng: chats.helpdesk_page(rng, draw_integer(rng, 2, 5)),
    "practice": practice_page,
}


def _start(megabytes: float, seed: int) -> tuple[float, Random]:
    """How many bytes to make, and what to draw from. Raises unless both arguments make sense."""
    if isinstance(megabytes, bool) or not isinstance(megabytes, int | float):
        raise TypeError(f"megabytes must be a number, not {type(megabytes).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be a whole number, not {type(seed).__name__}")
    if not 0 < megabytes <= MAX_MEGABYTES:
        raise ValueError(f"megabytes must be above 0 and at most {MAX_MEGABYTES}, not {megabytes}")
    return megabytes * 1e6, Random(seed)


def generate_pages(
    megabytes: float = 1.0, seed: int = 0, flaws: FlawShares = FLAW_SHARES
) -> Iterator[WebPage]:
    """Pages of the small web until their clean text adds up to so many megabytes.

    A megabyte is 1,000,000 bytes of UTF-8. The same seed gives the same pages, byte for byte, on
    every platform; a bigger web begins with the smaller one.
    """
    left, rng = _start(megabytes, seed)
    past: list[tuple[str, PageTruth]] = []
    number = 0
    while left > 0:
        number += 1
        truth = next_truth(rng, past, flaws)
        original = truth.copy_of or truth.near_copy_of
        site = choose_site(rng, truth.language, original)
        url = f"https://{site.host}/{number}"
        if not original and truth.kind not in ("spam", "junk"):
            remember_page(rng, past, url, truth)
        left -= len(truth.text.encode())
        yield WebPage(url, render_page(rng, truth.text, site, number, truth.language), truth)


def next_truth(rng: Random, past: list[tuple[str, PageTruth]], flaws: FlawShares) -> PageTruth:
    """What the next page says: something new, something flawed, or a copy of a past page."""
    flaw = draw_weighted(rng, vars(flaws) | {"none": 1 - sum(vars(flaws).values())})
    if flaw in ("spam", "junk"):
        return truth_of({"spam": shops.spam_page, "junk": shops.junk_page}[flaw](rng))
    if flaw == "copy" and past:
        url, truth = draw_item(rng, past)
        return replace(truth, copy_of=url)
    if flaw == "near_copy":
        editable = [
            i
            for i, (_, truth) in enumerate(past)
            if truth.kind != "practice" and not truth.personal_data
        ]
        if editable:
            # only once: two near copies could be equal
            return near_copy(rng, *past.pop(draw_item(rng, editable)))
    if flaw == "leak":
        return leak_held_out(rng, truth_of(practice_page(rng)))
    truth = truth_of(WEB_SOURCES[draw_weighted(rng, WEB_SHARES)](rng))
    if truth.kind != "practice" and truth.language == "en":
        if flaw == "personal_data":
            return add_personal_data(rng, truth)
        if flaw == "decoy":
            return add_decoy(rng, truth)
    return truth


def remember_page(
    rng: Random, past: list[tuple[str, PageTruth]], url: str, truth: PageTruth
) -> None:
    """Keep a page to be copied later; when there are enough, in the place of another."""
    if len(past) < COPIED_FROM:
        past.append((url, truth))
    else:
        past[draw_integer(rng, 0, COPIED_FROM - 1)] = (url, truth)


def crawl_pages(
    megabytes: float = 1.0, seed: int = 0, flaws: FlawShares = FLAW_SHARES
) -> list[WebPage]:
    """All pages of `generate_pages` in a list."""
    return list(generate_pages(megabytes, seed, flaws))


def draw_clean_documents(
    megabytes: float = 1.0,
    seed: int = 0,
    mixture: str | Mapping[str, float] = "base",
    chains: ChainShares = CHAIN_SHARES,
    searches: SearchShares = SEARCH_SHARES,
) -> Iterator[Document]:
    """Clean training documents without any planted flaw, one piece of writing each.

    `mixture` is a name in MIXTURES or weights by name of source: how often each is drawn (a share
    of documents). `chains` and `searches` say how people answer practice problems:
    `ChainShares(worked=0)` makes a corpus in which nobody shows any work.
    """
    weights = _weights(mixture)
    sources = WRITING_SOURCES | {
        "chain": lambda rng: practice.chain_post(rng, shares=chains),
        "search": lambda rng: practice.search_post(rng, shares=searches),
    }
    left, rng = _start(megabytes, seed)
    number = 0
    while left > 0:
        number += 1
        source = draw_weighted(rng, weights)
        writing = sources[source](rng)
        left -= len(writing.text.encode())
        labels = {
            "source": source,
            "kind": writing.kind,
            "language": writing.language,
            "mood": writing.mood,
            "author": writing.author,
        }
        yield Document(f"small-web:{seed}/{number}", writing.text, labels)


def _weights(mixture: str | Mapping[str, float]) -> dict[str, float]:
    if isinstance(mixture, str):
        if mixture not in DOCUMENT_MIXTURES:
            raise ValueError(f"no mixture {mixture!r}; there are {', '.join(DOCUMENT_MIXTURES)}")
        return DOCUMENT_MIXTURES[mixture]
    unknown = set(mixture) - set(WRITING_SOURCES)
    if unknown or not mixture or min(mixture.values()) < 0 or sum(mixture.values()) <= 0:
        raise ValueError(
            f"mixture {dict(mixture)} needs positive weights for some of"
            f" {', '.join(WRITING_SOURCES)}"
        )
    return dict(mixture)
