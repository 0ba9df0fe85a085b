"""Checkers of lesson 02. The truths are sets and hashes worked by hand, counts, and the binomial
formula."""

import random
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from itertools import accumulate
from numbers import Number
from typing import Any

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.kinds import IN_BROWSER
from course_lib.lab.checks.slips import Slip, judge_by_slips

# How each of Python's common sources of random numbers is begun, saved and set back.
LUCK = [(random.seed, random.getstate, random.setstate)]
if not IN_BROWSER:
    import numpy as np

    LUCK.append((np.random.seed, np.random.get_state, np.random.set_state))


def _runs(items: Any, n: int, least: int = 0, last: int = 1) -> set[tuple]:
    """The set of runs of n neighbours; `least` and `last` are there to go wrong."""
    return {tuple(items[i : i + n]) for i in range(max(least, len(items) - n + last))}


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _shared(a: str, b: str, n: int, cut=str.split, least=1, last=1, divide=None, made=set) -> float:
    """The Jaccard similarity of two texts' word runs, with one thing to get wrong at a time."""
    x, y = (made(_runs(cut(text), n, least, last)) for text in (a, b))
    return len(x & y) / (divide(x, y) if divide else len(x | y) or 1)


def _shared_runs_of_a_list(a: str, b: str, n: int) -> float:
    """Every run of `a` counts, however often it was counted before."""
    x, y = (
        [tuple(t.split()[i : i + n]) for i in range(max(1, len(t.split()) - n + 1))] for t in (a, b)
    )
    shared = sum(run in y for run in x)
    return shared / (len(x) + len(y) - shared)


def _shared_runs_of_bags(a: str, b: str, n: int) -> float:
    """Each run as often as it stands in both texts, by what stands in either."""
    x, y = (
        Counter(tuple(t.split()[i : i + n]) for i in range(max(1, len(t.split()) - n + 1)))
        for t in (a, b)
    )
    return (x & y).total() / (x | y).total()


def _shared_at(a: str, b: str, n: int, step: int = 1) -> float:
    """A run from every `step`-th word on, the shorter ones at the end too."""
    x, y = ({tuple(t.split()[i : i + n]) for i in range(0, len(t.split()), step)} for t in (a, b))
    return len(x & y) / len(x | y)


def _glued(runs: set[tuple]) -> set:
    return {"".join(run) for run in runs}


def _bags(runs: set[tuple]) -> set:
    return {frozenset(run) for run in runs}


SLIPS_OF_SIMILARITY: list[Slip] = [
    (
        lambda a, b, n: _shared(a, b, 1),
        "you compared single words. Compare runs of n neighbouring words.",
    ),
    (
        partial(_shared, last=0, least=0),
        "the last run of each text is missing. w words have w - n + 1 runs: mind the end of your"
        " range.",
    ),
    (
        partial(_shared, last=0),
        "the last run of each text is missing. w words have w - n + 1 runs: mind the end of your"
        " range.",
    ),
    (
        lambda a, b, n: _shared(a, b, 2),
        "your runs have two words whatever n is. Cut runs of n words.",
    ),
    (
        _shared_at,
        "the runs at the end of a text are shorter than n words. w words have w - n + 1 runs: mind"
        " the end of your range.",
    ),
    (
        lambda a, b, n: _shared_at(a, b, n, step=n),
        "your runs stand side by side. They overlap: a new run begins at every word.",
    ),
    (
        partial(_shared, cut=list),
        "you cut the texts into runs of n characters. Split them into words first.",
    ),
    (
        partial(_shared, divide=lambda x, y: min(len(x), len(y))),
        "you divided by the smaller set. That measures whether one text is contained in the other;"
        " Jaccard divides by everything that is in either.",
    ),
    (
        partial(_shared, divide=lambda x, y: max(len(x), len(y))),
        "you divided by the larger set. Divide by the size of the union, all that is in either.",
    ),
    *[
        (
            partial(_shared, divide=lambda x, y, k=k: len((x, y)[k])),
            f"you divided by the set of the {which} text. Divide by the size of the union, all that"
            " is in either.",
        )
        for k, which in enumerate(("first", "second"))
    ],
    (
        lambda a, b, n: 2 * _shared(a, b, n, divide=lambda x, y: len(x) + len(y)),
        "twice the shared part, divided by the two sizes added up: that is Dice's measure. Jaccard"
        " divides the shared part by the size of the union.",
    ),
    (
        partial(_shared, divide=lambda x, y: len(x) + len(y)),
        "you divided by the two sizes added up, which counts the shared runs twice. Divide by the"
        " size of the union.",
    ),
    (
        lambda a, b, n: 1 - _shared(a, b, n),
        "that is the distance, 1 minus the similarity: equal texts should give 1.",
    ),
    (
        partial(_shared, cut=lambda text: text.lower().split()),
        "you ignored capitals. Here 'The' and 'the' are different words.",
    ),
    (
        partial(_shared, cut=lambda text: text.split(" ")),
        "you split at single spaces only. A new line parts words too: `.split()` without an"
        " argument knows both.",
    ),
    (
        partial(_shared, made=_glued),
        "the words of a run are glued together, so that 'a bc' and 'ab c' become the same run. Use"
        " a tuple, or join with a space.",
    ),
    (
        partial(_shared, made=_bags),
        "the order of the words in a run is lost: 'a b' and 'b a' are different runs.",
    ),
    *[
        (
            counted,
            "a list counts repeats: 'ha ha ha ha' and 'ha ha' have the same *set* of runs of 2, one"
            " run, so their similarity is 1. Turn it into a set.",
        )
        for counted in (_shared_runs_of_a_list, _shared_runs_of_bags)
    ],
    (
        partial(_shared, least=0),
        "a text of fewer than n words has no run in your answer. It is one run by itself, all of"
        " its words.",
    ),
]


@checker
def similarity(attempt: Attempt) -> str:
    """Jaccard similarity of two texts' sets of word runs."""
    cases = [
        ("the cat sat on the mat", "cat sat on", 2),
        ("cat sat on", "the cat sat on the mat", 2),
        ("the cat sat on the mat", "the cat sat on a mat", 2),
        ("one two three four five six", "two three four five seven", 3),
        ("a b c d", "e f g h", 2),
        ("The cat sat", "the cat sat", 2),
        ("a bc d e", "ab c d e", 2),
        ("a b c", "c b a", 2),
        ("to be or\nnot to be", "to be or not to be", 2),
        ("b a c", "c a d", 1),
        ("ha ha ha ha", "ha ha", 2),
        ("hello you", "hello you", 3),
        ("hello you", "hello you and me", 3),
    ]
    judge_by_slips(
        attempt,
        cases,
        _shared,
        SLIPS_OF_SIMILARITY,
        lambda a, b, n: f"the similarity of {a!r} and {b!r}, n = {n}",
    )
    return "right, to the last run."


# Exercise 2
# --------------------------------------------------------------------------------------------------

HASHES = [
    lambda x: (3 * x + 1) % 11,
    lambda x: (5 * x + 2) % 11,
    lambda x: (7 * x + 6) % 11,
    lambda x: 2**40 + x * x,
    lambda x: -x,
]


def _never_reset(members: set[int], hashes: list) -> list[int]:
    """The smallest hash under this function and all before it."""
    return list(accumulate((min(map(h, members)) for h in hashes), min))


SLIPS_OF_SIGNATURE: list[Slip] = [
    (
        lambda m, hs: [max(h(x) for x in m) for h in hs],
        "those are the largest hashes. MinHash keeps the smallest.",
    ),
    (
        lambda m, hs: [min(m, key=h) for h in hs],
        "that is the member whose hash is smallest. Keep the hash itself: `min(h(x) for ...)`, not"
        " `min(..., key=h)`.",
    ),
    (
        lambda m, hs: [min(h(x) for h in hs) for x in m],
        "you took the smallest hash of each member over the functions. It is the other way about:"
        " one number for each function, the smallest over the members.",
    ),
    (
        lambda m, hs: sorted(min(h(x) for x in m) for h in hs),
        "you sorted the numbers. Their order matters: position k must belong to hash function k in"
        " every signature, or two signatures can't be compared.",
    ),
    (
        lambda m, hs: [sum(h(x) for x in m) for h in hs],
        "you added the hashes up. MinHash keeps the smallest.",
    ),
    *[
        (
            lambda m, hs, pick=pick: [h(pick(m)) for h in hs],
            "those are the hashes of one member only. The smallest over *all* members is wanted.",
        )
        for pick in (min, max, lambda m: next(iter(m)))
    ],
    *[
        (
            lambda m, hs, start=start: [min([start, *(h(x) for x in m)]) for h in hs],
            f"no signature may hold a number that is no hash: your smallest one begins at {start},"
            " and some functions give only larger numbers. Begin with a hash, or with math.inf.",
        )
        for start in (0, 2**32, 2**32 - 1, 10**9, 10**6)
    ],
    *[
        (
            lambda m, hs, start=start: [max([start, min(h(x) for x in m)]) for h in hs],
            "negative hashes are numbers too; the smallest is wanted, not the one nearest to 0.",
        )
        for start in (0,)
    ],
    (
        lambda m, hs: [min(abs(h(x)) for x in m) for h in hs],
        "negative hashes are numbers too; the smallest is wanted, not the one nearest to 0.",
    ),
    (
        _never_reset,
        "the smallest number of earlier hash functions is carried on. Begin anew with each"
        " function.",
    ),
    (
        lambda m, hs: list(dict.fromkeys(min(map(h, m)) for h in hs)),
        "a number that occurs twice stands only once in your list. Keep one for each function, or"
        " position k no longer belongs to function k.",
    ),
]


@checker
def signature(attempt: Attempt) -> str:
    """The smallest hash of any member, for each hash function."""
    cases = [
        ({1, 4, 6}, HASHES[:3]),  # hashes: 4 2 8, 7 0 10, 2 1 4
        ({3, 5, 9, 2}, HASHES[:2]),
        ({3, 5, 9, 2}, HASHES),
        ({7}, HASHES),
    ]
    judge_by_slips(
        attempt,
        cases,
        lambda members, hashes: [min(h(x) for x in members) for h in hashes],
        SLIPS_OF_SIGNATURE,
        lambda members, hashes: f"the signature of {members} under {len(hashes)} functions",
        plain=_listed,
    )
    return (
        "right: two sets of any size become two short lists that can be compared position by"
        " position."
    )


def _listed(got: Any) -> Any:
    """A list of numbers from whatever sequence the learner chose."""
    if isinstance(got, set | frozenset):
        raise Wrong(
            "a set has no order, and loses numbers that occur twice. Return a list, one number for"
            " each function."
        )
    if isinstance(got, Number):
        raise Wrong(
            f"one number, {describe(got)}. A signature has one number for each of the hash"
            " functions."
        )
    numbers = got.tolist() if hasattr(got, "tolist") else list(got)
    if any(isinstance(number, float) for number in numbers):
        raise Wrong(
            f"there are floats in your list, {describe(numbers)}. Keep whole numbers: a float loses"
            " the last digits of a large hash."
        )
    return numbers


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _caught(level: float, bands: int, rows: int) -> float:
    return 1 - (1 - level**rows) ** bands


def _no_band(level: float, bands: int, rows: int) -> float:
    return (1 - level**rows) ** bands


def _choices(n_hashes: int) -> list[tuple[int, int]]:
    """All (bands, rows) that use all hashes, the most rows first."""
    return [(n_hashes // rows, rows) for rows in range(n_hashes, 0, -1) if n_hashes % rows == 0]


def _first_choice(
    n_hashes: int, level: float, catch: float, caught=_caught, allowed=lambda bands, rows: True
) -> tuple[int, int] | None:
    """The allowed choice of most rows for which the formula `caught` gives enough, if any does."""
    choices = (choice for choice in _choices(n_hashes) if allowed(*choice))
    return next((choice for choice in choices if caught(level, *choice) >= catch), None)


def _nearest_choice(n_hashes: int, level: float, catch: float, order: int) -> tuple[int, int]:
    """Of choices equally near, the one with the most rows, or (order -1) the fewest."""
    return min(_choices(n_hashes)[::order], key=lambda choice: abs(_caught(level, *choice) - catch))


CASES_OF_BANDS = [
    (112, 0.8, 0.95),
    (60, 0.7, 0.9),
    (24, 0.5, 0.5),
    (100, 0.8, 0.9),
    (64, 0.8, 0.9),
    (128, 0.7, 0.9),
    (50, 0.8, 0.9),
    (120, 0.9, 0.3),
    (7, 0.5, 0.9),  # only one row per band will do
    (12, 1.0, 0.9),  # only one band is best
    (2, 0.5, 0.25),  # caught exactly
]
SLIPS_OF_BANDS: list[Slip] = [
    (
        lambda n, level, catch: _first_choice(n, level, catch)[::-1],
        "right numbers, wrong order. Return (bands, rows).",
    ),
    (
        lambda n, level, catch: next(
            (n // rows, rows)
            for rows in range(n, 0, -1)
            if _caught(level, n // rows, rows) >= catch
        ),
        "some of your choices leave hashes unused: of 100 hashes, 14 bands of 7 rows take only 98."
        " Skip each number of rows that doesn't divide n_hashes.",
    ),
    (
        lambda n, level, catch: next(
            choice for choice in _choices(n)[::-1] if _caught(level, *choice) >= catch
        ),
        "those are the fewest rows. Of the choices that catch enough, the one with the *most* rows"
        " raises the fewest false alarms.",
    ),
    (
        lambda n, level, catch: next(
            choice for choice in _choices(n) if _caught(level, *choice) > catch
        ),
        "with 2 hashes, one band of 2 rows catches exactly 0.25 of the pairs at 0.5. 'At least' the"
        " share catch means >=.",
    ),
    (
        partial(_first_choice, allowed=lambda bands, rows: bands > 1),
        "one band of all hashes is a choice too: with 12 hashes and a similarity of 1, (1, 12)"
        " catches everything. Begin with n_hashes rows.",
    ),
    (
        partial(_first_choice, allowed=lambda bands, rows: rows > 1),
        "bands of one row are a choice too: with 7 hashes, a similarity of 0.5 and a catch of 0.9"
        " only (7, 1) catches enough. Go down to one row.",
    ),
    *[
        (
            partial(_nearest_choice, order=order),
            "you took the choice whose probability is nearest to catch. It should be *at least*"
            " catch, and of those the one with the most rows.",
        )
        for order in (1, -1)
    ],
    (
        lambda n, level, catch: _first_choice(112, level, catch),
        "your choices are those of 112 hashes, whatever n_hashes is.",
    ),
    (
        partial(_first_choice, caught=_no_band),
        "that is the probability that *no* band agrees, a miss. The pair is caught with 1 minus"
        " it: 1 - (1 - level**rows) ** bands.",
    ),
    (
        partial(_first_choice, caught=lambda level, bands, rows: bands * level**rows),
        "you added the probabilities of the bands up. Bands can agree together, so a sum counts"
        " some pairs twice: 1 - (1 - level**rows) ** bands.",
    ),
    (
        partial(_first_choice, caught=lambda level, bands, rows: level**rows),
        "that is the probability that one certain band agrees. Any of the bands will do: 1 - (1 -"
        " level**rows) ** bands.",
    ),
    (
        partial(_first_choice, caught=lambda level, bands, rows: _caught(level, rows, bands)),
        "bands and rows have changed places in your formula: a band agrees with probability"
        " level**rows, and the other power is the number of bands.",
    ),
]


@checker
def bands_and_rows(attempt: Attempt) -> str:
    """The most rows per band (fewest false alarms) that still catch enough of the copies."""
    found, nothing = [], []

    def choice(*case: float) -> Any:
        """The answer's result, also None: a slip in the formula lets it find no choice at all."""
        try:
            found.append(attempt(*case))
        except Wrong as reason:
            if "returned None" not in str(reason):
                raise
            nothing.append(reason)
            return None
        return found[-1]

    try:
        judge_by_slips(
            choice,
            CASES_OF_BANDS,
            _first_choice,
            SLIPS_OF_BANDS,
            lambda n, level, catch: f"bands_and_rows({n}, {level}, {catch})",
            plain=_two_numbers,
        )
    except Wrong:
        if nothing and not found:
            raise nothing[0] from None
        raise
    return "right: this is how the parameters of a real deduplication run are chosen."


def _two_numbers(got: Any) -> tuple[int, int] | None:
    if got is None:
        return None
    got = got.tolist() if hasattr(got, "tolist") else got
    if not isinstance(got, list | tuple) or len(got) != 2:
        raise Wrong(f"return two whole numbers, (bands, rows); got {describe(got)}.")
    if any(isinstance(item, float) for item in got):
        raise Wrong(
            f"return two whole numbers, (bands, rows); got {describe(got)}. `//` divides whole"
            " numbers, `/` gives a float."
        )
    return tuple(got)


# Exercise 4
# --------------------------------------------------------------------------------------------------


class _Url(str):
    """A string whose `hash()` can be changed, as it changes from one Python process to the next."""

    salt = 0

    def __hash__(self) -> int:
        return super().__hash__() ^ self.salt * 0x9E3779B97F4A7C15 % 2**61

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


def _urls(n: int) -> list[_Url]:
    """New strings at each call, of seven sites; one in ten is not ASCII."""
    names = (str(i) if i % 10 else f"Füße-{i}" for i in range(n))
    return [_Url(f"https://site{i % 7}.example/page/{name}") for i, name in enumerate(names)]


@checker
def in_test(attempt: Attempt) -> str:
    """Whether a document belongs to the test set, by its URL alone."""
    urls = _urls(300)  # kept, so that the new strings below lie elsewhere in memory
    sides = [_side(attempt, url, 0.25) for url in urls]
    if [_side(attempt, url, 0.25) for url in _urls(60)[::-1]] != sides[59::-1]:
        raise Wrong(
            "the same URL was on one side first and then on the other. The answer must depend on"
            " the URL alone: no fresh random numbers, no counting of calls. A hash of the URL looks"
            " random and never changes."
        )
    _require_whole_range(attempt, sides)
    _require_share(sides, 0.25)
    _require_whole_url(sides)
    _require_no_memory(attempt)
    _Url.salt = 12345
    try:
        changed = [_side(attempt, url, 0.25) for url in _urls(60)] != sides[:60]
    finally:
        _Url.salt = 0
    if changed:
        raise Wrong(
            "you used Python's own `hash`. For strings it changes every time Python starts (try it"
            " in two terminals), so tomorrow's test set would hold pages from today's training set."
            " Use zlib.crc32 or hashlib."
        )
    _require_no_old_side(attempt, sides)
    for share, n in ((0.1, 300), (0.5, 300), (0.7, 300), (0.9, 300), (0, 30), (1, 30)):
        _require_share([_side(attempt, url, share) for url in _urls(n)], share)
    _require_small_share(attempt)
    _require_ends(attempt)
    return "right: a page keeps its side for ever, whatever else is crawled."


def _side(attempt: Attempt, url: str, share: float) -> bool:
    got = attempt(url, share)
    got = got.item() if hasattr(got, "item") else got
    if not isinstance(got, Number) or got not in (0, 1):
        raise Wrong(f"return True or False (is this page in the test set?); got {describe(got)}.")
    return bool(got)


def _require_share(sides: list[bool], share: float) -> None:
    """Refuse a share of test documents that luck can't explain: 300 draws have a standard error
    of at most 0.029."""
    got, n = sum(sides) / len(sides), len(sides)
    one_sided = got in (0, 1) and 0 < share < 1
    if abs(got - share) < (0.11 if 0 < share < 1 else 1e-9) and not one_sided:
        return
    told = f"with share = {share}, {got:.0%} of {n} pages fall into the test set"
    if share in (0, 1):
        raise Wrong(f"{told}; it should be {'all' if share else 'none'} of them.")
    if one_sided:
        raise Wrong(
            f"{told}, so {'all' if got else 'none'}; {share:.0%} should. Does the number that you"
            " compare with `share` depend on the URL, and does it lie between 0 and 1? Is anything"
            " rounded?"
        )
    if abs(got - (1 - share)) < 0.11:
        raise Wrong(f"{told}, {share:.0%} should: the two sides are swapped.")
    raise Wrong(
        f"{told}, {share:.0%} should. Is `share` used at all? And does your number spread evenly?"
        " The length of a URL or its first letter don't; a hash does."
    )


def _require_whole_range(attempt: Attempt, sides: list[bool]) -> None:
    """Refuse half of the wanted share, at each share: a hash divided by half of its range."""
    more = [_side(attempt, url, 0.75) for url in _urls(300)]
    rates = [sum(some) / len(some) for some in (sides, more)]
    if abs(rates[0] - 0.125) < 0.07 and abs(rates[1] - 0.375) < 0.07:
        raise Wrong(
            f"with shares of 25% and 75%, {rates[0]:.0%} and {rates[1]:.0%} of 300 pages fall into"
            " the test set, half as many as should. By which number is the hash divided? It should"
            " be the number of values that the hash can have."
        )


def _require_no_old_side(attempt: Attempt, sides: list[bool]) -> None:
    """Refuse a side that is remembered by the URL alone though the share has changed."""
    known = [_side(attempt, url, 0.9) for url in _urls(60)]
    fresh = [_side(attempt, f"https://fresh.example/{i}", 0.9) for i in range(60)]
    if known == sides[:60] and sum(fresh) > 40:
        raise Wrong(
            "URLs that were asked with a share of 0.25 keep that side when the share is 0.9, new"
            " ones don't. The answer depends on `url` and `share` alone, whatever was asked before:"
            " remember nothing."
        )


def _require_small_share(attempt: Attempt) -> None:
    """Refuse shares in whole hundredths, rounded down or up.

    1,500 draws at 0.008 give none once in 170,000 tries, and at 0.0005 more than 8 as seldom.
    """
    if not any(_side(attempt, url, 0.008) for url in _urls(1500)):
        raise Wrong(
            "with share = 0.008, not one of 1,500 pages falls into the test set; about 12 should."
            " Is the share rounded, to whole hundredths for instance?"
        )
    if (found := sum(_side(attempt, url, 0.0005) for url in _urls(1500))) > 8:
        raise Wrong(
            f"with share = 0.0005, {found} of 1,500 pages fall into the test set; about one should."
            " Is the share rounded up, to whole hundredths for instance?"
        )


# The CRC-32 of the first three is 0, that of the others the largest number of 32 bits.
LEAST_HASH = ("", "https://a.example/3551l4sg", "https://a.example/4867pi20")
LARGEST_HASH = ("https://a.example/128rgqh", "https://a.example/1879fpik")


def _require_ends(attempt: Attempt) -> None:
    """Refuse a test page at a share of 0, and a training page at 1, for hashes at the very ends."""
    for share, urls, reason in (
        (0, LEAST_HASH, "Their CRC-32 is 0, and 0 <= 0: compare with <."),
        (1, LARGEST_HASH, "Their CRC-32 is the largest, 2**32 - 1: divide by 2**32, not by it."),
    ):
        wrong = [url for url in urls if _side(attempt, url, share) != bool(share)]
        if wrong:
            raise Wrong(
                f"with share = {share}, the test set should hold {'all' if share else 'none'} of"
                f" the pages {', '.join(map(repr, urls))}; it is wrong for {len(wrong)} of them."
                f" {reason if len(wrong) == len(urls) else ''}".rstrip()
            )


def _require_whole_url(sides: list[bool]) -> None:
    """Refuse a side that a part of the URL decides: its site (one of seven) or its last digit."""
    for step, part in ((7, "of the same site"), (10, "whose URL ends in the same digit")):
        if all(len(set(sides[first::step])) == 1 for first in range(1, step)):
            raise Wrong(
                f"all pages {part} fall on the same side. Hash the whole URL, not a part of it."
            )


def _require_no_memory(attempt: Attempt) -> None:
    """Refuse random numbers that are drawn once and remembered: here each drawing begins alike."""
    kept = [(restore, save()) for _, save, restore in LUCK]
    sides = set()
    try:
        for i in range(40):
            for begin, *_ in LUCK:
                begin(0)
            # early in the URL: a weak hash, as a browser's Python has, mixes its end little
            sides.add(_side(attempt, f"https://luck{i}.example/page", 0.5))
    finally:
        for restore, state in kept:
            restore(state)
    if len(sides) == 1:
        raise Wrong(
            "the side of a new URL is drawn at random, and remembered only until Python stops."
            " Tomorrow it would be drawn anew. Compute it from the URL."
        )


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _length(item: str, text: str, n: int) -> int:
    return min(n, len(item.split()))


def _found(
    train: list[str],
    items: list[str],
    n: int,
    length=_length,
    runs=_runs,
    item_runs=None,
    meet=set.intersection,
    some=any,
    low=str.lower,
) -> set[str]:
    """The items that share a run with a text, with one thing to get wrong at a time."""

    def shares(item: str, text: str) -> bool:
        k = length(item, text, n)
        return bool(meet((item_runs or runs)(low(item).split(), k), runs(low(text).split(), k)))

    return {item for item in items if some(shares(item, text) for text in train)}


def _found_or_equal(train: list[str], items: list[str], n: int) -> set[str]:
    """A short item must be all of a text."""
    long = {item for item in items if len(item.split()) >= n}
    whole = {tuple(text.lower().split()) for text in train}
    found = _found(train, long, n)
    return found | {i for i in items if i not in long and tuple(i.lower().split()) in whole}


def _has(item: str, text: str) -> bool:
    return item.lower() in text.lower()


TRAINING_TEXTS = [
    "Ann said that 7 + 5 is twelve and went home",
    "the sum 17 + 5 is hard",
    "a dog and a cat",
    "cat",
]
CASES_OF_LEAKS = [
    (TRAINING_TEXTS, items, n)
    for items, n in (
        (["they all said that 7 + 5 might be eleven", "nothing in common here at all"], 4),
        (["He SAID that 7", "WENT Home", "dog ran home to the cat"], 3),
        (["7 + 5", "5 is hard now"], 4),
        (["5 is h", "7 + 5 is h"], 3),
        (["hard a dog", "and a dog and a"], 3),
        (["the cat", "where is the cat now", "cat"], 4),
        (["home went and twelve", "is hard"], 2),
        (["5 + 7 is", "that said 7"], 3),
        (["home or dog or twelve or said"], 3),
        (["he sat and went home", "17 + 9 is hard"], 4),
        (["dog", "horse", "horse dog"], 1),
        (["dog and a cat"], 9),
        (["said that 7 is odd", "a dog is a pet"], 3),
        ([], 2),
    )
] + [([], ["a dog"], 2), (["x y z", "a b c"], ["a b c"], 3), (["one two"], ["two one two"], 2)]
SLIPS_OF_LEAKS: list[Slip] = [
    (
        lambda train, items, n: {i for i in items if any(i in text for text in train)},
        "you looked for the whole item in the text (`in`). One shared run of n words is enough,"
        " capitals don't matter, and '5 is h' is not in '5 is hard' by whole words.",
    ),
    (
        lambda train, items, n: {i for i in items if any(_has(i, text) for text in train)},
        "you looked for the whole item in the text (`in`). One shared run of n words is enough:"
        " 'they all said that 7 + 5 ...' is found for 'said that 7 +'.",
    ),
    (
        lambda train, items, n: {
            item
            for item in items
            for k in [_length(item, "", n)]
            if any(_has(" ".join(run), text) for run in _runs(item.split(), k) for text in train)
        },
        "'5 is h' was reported because of '5 is hard': a run was looked for in the text as a string"
        " of characters. Compare whole words.",
    ),
    (
        lambda train, items, n: _found(train, items, 1),
        "you looked for single shared words. Order and neighbourhood matter: compare runs of n"
        " words.",
    ),
    (
        partial(_found, length=lambda item, text, n: n),
        "an item of fewer than n words was missed: 'WENT Home', with n = 3, stands whole in a"
        " training text. Use runs of min(n, its own length) words.",
    ),
    (
        partial(_found, low=str),
        "capitals should not matter: 'WENT Home' stands in 'and went home'. Lower both sides.",
    ),
    (
        lambda train, items, n: _found(train[:1], items, n),
        "only the first training text was searched. Look through all of them.",
    ),
    (
        lambda train, items, n: _found(train[-1:], items, n),
        "only the last training text was searched. Look through all of them.",
    ),
    (
        partial(_found, some=all),
        "an item counts as soon as *one* training text shares a run with it, not only if all do.",
    ),
    (
        lambda train, items, n: _found([" ".join(train)], items, n),
        "a run goes across the border of two training texts: 'hard a dog' was found, whose words"
        " end one text and begin the next. Compare with each text by itself.",
    ),
    (
        partial(_found, runs=lambda words, k: set(map(frozenset, _runs(words, k)))),
        "the order of the words in a run is lost: '5 + 7 is' is not '7 + 5 is'.",
    ),
    (
        lambda train, items, n: {
            item
            for item in items
            for k in [_length(item, "", n)]
            if any(len({*item.lower().split()} & {*t.lower().split()}) >= k for t in train)
        },
        "you counted shared words, wherever they stand. They must be neighbours, in the same order:"
        " 'dog ran home to the cat' shares no run of three.",
    ),
    (
        partial(_found, length=lambda item, text, n: min(n, len(item.split()), len(text.split()))),
        "a training text of fewer than n words made a shorter run do: 'where is the cat now' was"
        " found for 'cat'. Only the item's own length may shorten the run.",
    ),
    (
        partial(_found, meet=set.issubset),
        "all runs of an item had to be found. One shared run of n words is enough.",
    ),
    (
        partial(_found, length=lambda item, text, n: n if len(item.split()) >= n else 1),
        "a single word of an item of fewer than n words was enough: 'the cat' was found for 'cat'."
        " Such an item must occur whole, as one run.",
    ),
    (
        _found_or_equal,
        "an item of fewer than n words was found only where it is the whole text. It may stand"
        " anywhere within one: 'WENT Home' ends a training text.",
    ),
    (
        partial(_found, item_runs=partial(_runs, least=1, last=0)),
        "the last run of each item is missing. w words have w - k + 1 runs of k: mind the end of"
        " your range.",
    ),
    (
        partial(_found, runs=partial(_runs, last=0)),
        "the last run is missing. w words have w - k + 1 runs of k: mind the end of your range.",
    ),
    (
        partial(_found, runs=partial(_runs, last=2)),
        "your range goes one too far: the last run has only k - 1 words. w words have w - k + 1"
        " runs of k.",
    ),
    (
        lambda train, items, n: _found(train, items, n - 1),
        "a run of n - 1 words was enough. n words in a row are asked for.",
    ),
    (
        lambda train, items, n: _found(train, items, n + 1),
        "you asked for n + 1 words in a row; n are enough.",
    ),
    (
        lambda train, items, n: {item.lower() for item in _found(train, items, n)},
        "found, but returned in small letters: 'WENT Home' became 'went home'. Return each item as"
        " it was given.",
    ),
    (
        lambda train, items, n: {t for t in train if _found([t], items, n)},
        "those are training texts. Return the test *items* that were found in them.",
    ),
    (
        lambda train, items, n: set(items) - _found(train, items, n),
        "those are the clean items. Return the contaminated ones.",
    ),
]


@checker
def contaminated(attempt: Attempt) -> str:
    """The test items that share a run of n words with a training text."""
    judge_by_slips(
        attempt,
        CASES_OF_LEAKS,
        _found,
        SLIPS_OF_LEAKS,
        lambda train, items, n: f"the contaminated ones of {items}, n = {n}",
        plain=_set_of_items,
    )
    return "right: this is what a lab runs before it believes its own benchmark."


def _set_of_items(got: Any) -> set:
    if isinstance(got, bool | Number | str | Mapping) or not isinstance(got, Collection):
        raise Wrong(f"return the set of the test items that were found; got {describe(got)}.")
    return set(got)
