"""Checkers of lesson 02. The truths are sets and hashes worked by hand, counts, and the binomial
formula."""

from collections.abc import Mapping
from numbers import Number
from typing import Any

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect


def _recognise(got: Any, slips: Mapping[Any, str]) -> None:
    """Raise `Wrong` with the sentence of the slip whose result is the one we got."""
    for result, sentence in slips.items():
        if _alike(got, result):
            raise Wrong(sentence)


def _alike(got: Any, result: Any) -> bool:
    if isinstance(result, tuple):
        return (
            isinstance(got, list | tuple)
            and len(got) == len(result)
            and all(map(_alike, got, result))
        )
    return isinstance(got, Number) and not isinstance(got, complex) and abs(got - result) < 1e-6


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _slips_of_similarity(a: str, b: str, n: int) -> dict[float, str]:
    """What typical mistakes make of two texts, most telling first."""

    def runs(items: Any, last: int = 1) -> list[str]:
        return [
            "".join(f"{item} " for item in items[i : i + n]) for i in range(len(items) - n + last)
        ]

    def jaccard(x: set, y: set) -> float:
        return len(x & y) / max(1, len(x | y))

    x, y = (set(runs(text.split())) for text in (a, b))
    return {
        jaccard(
            set(a.split()), set(b.split())
        ): "you compared single words. Compare runs of n neighbouring words.",
        jaccard(set(runs(a.split(), 0)), set(runs(b.split(), 0))): (
            "the last run of each text is missing. "
            "w words have w - n + 1 runs: mind the end of your range."
        ),
        jaccard(
            set(runs(a)), set(runs(b))
        ): f"you cut the texts into runs of {n} characters. Split them into words first.",
        len(x & y) / min(len(x), len(y)): (
            "you divided by the smaller set. That measures whether one text is contained in "
            "the other; Jaccard divides by everything that is in either."
        ),
        2 * len(x & y) / (len(x) + len(y)): (
            "you divided by the two sizes added up, which counts the shared runs twice. "
            "Divide by the size of the union."
        ),
    }


@checker
def similarity(attempt: Attempt) -> str:
    """Jaccard similarity of two texts' sets of word runs."""
    for a, b, n, want in (
        ("the cat sat on the mat", "cat sat on", 2, 2 / 5),
        ("the cat sat on the mat", "the cat sat on a mat", 2, 3 / 7),
        ("one two three four five", "two three four five six", 3, 2 / 4),
        ("a b c d", "e f g h", 2, 0.0),
    ):
        got = attempt(a, b, n)
        _recognise(
            got,
            {
                value: why
                for value, why in _slips_of_similarity(a, b, n).items()
                if abs(value - want) > 1e-6
            },
        )
        expect(got, want, f"the similarity of {a!r} and {b!r}, n = {n}")
    got = attempt("ha ha ha ha", "ha ha", 2)
    if isinstance(got, Number) and got != 1:
        raise Wrong(
            "'ha ha ha ha' and 'ha ha' have the same *set* of runs, one run, so their similarity"
            f" is 1; got {got:.3g}. A list counts repeats; turn it into a set."
        )
    expect(got, 1, "the similarity of 'ha ha ha ha' and 'ha ha', n = 2")
    return "right, to the last run."


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def signature(attempt: Attempt) -> str:
    """The smallest hash of any member, for each hash function."""
    functions = [lambda x: (3 * x + 1) % 11, lambda x: (5 * x + 2) % 11, lambda x: (7 * x + 6) % 11]
    got = attempt({1, 4, 6}, functions)  # hashes: 4 2 8, 7 0 10, 2 1 4
    if isinstance(got, list | tuple):
        _recognise(
            tuple(got),
            {
                (8, 10, 4): "those are the largest hashes. MinHash keeps the smallest.",
                (4, 4, 4): (
                    "that is the member whose hash is smallest. Keep the hash itself: `min(h(x) for"
                    " ...)`, not `min(..., key=h)`."
                ),
                (2, 0, 4): (
                    "you took the smallest hash of each member over the functions. Turn it round:"
                    " one number for each function, the smallest over the members."
                ),
                (4, 7, 2): (
                    "those are the hashes of one member only. The smallest over *all* members is"
                    " wanted."
                ),
                (0, 1, 2): (
                    "you sorted the numbers. Their order matters: position k must belong to hash"
                    " function k in every signature, or two signatures can't be compared."
                ),
            },
        )
    if isinstance(got, Number):
        raise Wrong(
            f"one number, {describe(got)}. A signature has one number for each of the hash"
            " functions, here 3."
        )
    if isinstance(got, set | frozenset):
        raise Wrong(
            "a set has no order, and loses numbers that occur twice. Return a list, one number for"
            " each function."
        )
    expect(_listed(got), [2, 0, 1], "the signature of {1, 4, 6}")
    expect(
        _listed(attempt({3, 5, 9, 2}, functions[:2])),
        [5, 1],
        "the signature of {2, 3, 5, 9} under two functions",
    )
    return (
        "right: two sets of any size become two short lists that can be compared position by"
        " position."
    )


def _listed(got: Any) -> Any:
    """A list of plain numbers from whatever sequence the learner chose."""
    return got.tolist() if hasattr(got, "tolist") else list(got) if isinstance(got, tuple) else got


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def bands_and_rows(attempt: Attempt) -> str:
    """The most rows per band (fewest false alarms) that still catch enough of the copies."""
    for n_hashes, level, catch, want in (
        (112, 0.8, 0.95, (16, 7)),
        (60, 0.7, 0.9, (15, 4)),
        (24, 0.5, 0.5, (8, 3)),
    ):
        got = attempt(n_hashes, level, catch)
        asked = f"{n_hashes} hashes, copies of similarity {level}, {catch:.0%} of them to be caught"
        if not isinstance(got, list | tuple) or len(got) != 2:
            raise Wrong(f"return two whole numbers, (bands, rows); got {describe(got)}.")
        bands, rows = got
        if bands * rows != n_hashes:
            raise Wrong(
                f"{bands} bands of {rows} rows use {bands * rows} hashes; exactly {n_hashes} are"
                " there."
            )
        if tuple(got) == want:
            continue
        if (rows, bands) == want:
            raise Wrong(
                f"for {asked}: right numbers, wrong order. Return (bands, rows), got ({bands},"
                f" {rows})."
            )
        share = 1 - (1 - level**rows) ** bands
        if share < catch:
            raise Wrong(
                f"for {asked}: {bands} bands of {rows} rows catch only {share:.1%}: 1 - (1 -"
                f" {level}^{rows})^{bands}. More bands of fewer rows catch more. (The rule of thumb"
                " (1/bands)^(1/rows) gives the similarity at which about half are caught, which"
                " isn't enough here.)"
            )
        raise Wrong(
            f"for {asked}: {bands} bands of {rows} rows catch {share:.1%}, more than needed. Longer"
            " bands would still catch enough, and raise fewer false alarms. Take the most rows"
            f" that reach {catch:.0%}."
        )
    return "right: this is how the parameters of a real deduplication run are chosen."


# Exercise 4
# --------------------------------------------------------------------------------------------------


class _Url(str):
    """A string whose `hash()` can be changed, as it changes from one Python process to the next."""

    salt = 0

    def __hash__(self) -> int:
        return super().__hash__() ^ self.salt * 0x9E3779B97F4A7C15 % 2**61

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


@checker
def in_test(attempt: Attempt) -> str:
    """Whether a document belongs to the test set, by its URL alone."""
    urls = [_Url(f"https://site{i % 7}.example/page/{i}") for i in range(600)]
    sides = [bool(attempt(url, 0.25)) for url in urls]
    if [bool(attempt(url, 0.25)) for url in urls[97::-1]] != sides[97::-1]:
        raise Wrong(
            "the same URL was on one side first and then on the other. The answer must depend on"
            " the URL alone: no fresh random numbers, no counting of calls. A hash of the URL looks"
            " random and never changes."
        )
    _Url.salt = 12345
    try:
        changed = [bool(attempt(url, 0.25)) for url in urls[:100]] != sides[:100]
    finally:
        _Url.salt = 0
    if changed:
        raise Wrong(
            "you used Python's own `hash`. For strings it changes every time Python starts (try it"
            " in two terminals), so tomorrow's test set would hold pages from today's training set."
            " Use zlib.crc32 or hashlib."
        )
    for share in (0.25, 0.1, 0.5):
        _require_share(sum(bool(attempt(url, share)) for url in urls) / len(urls), share)
    if not 0 < sum(sides[::7]) < len(sides[::7]):
        raise Wrong(
            "all pages of one site fall on the same side. Use the whole URL, not a part of it."
        )
    return "right: a page keeps its side for ever, whatever else is crawled."


def _require_share(got: float, share: float) -> None:
    """Refuse a share of test documents that chance can't explain: 600 draws have a standard error
    of at most 0.02."""
    if abs(got - share) < 0.075:
        return
    if got in (0, 1):
        raise Wrong(
            f"{'all' if got else 'none'} of 600 pages fall into the test set, {share:.0%} should."
        )
    if abs(got - (1 - share)) < 0.075:
        raise Wrong(
            f"{got:.0%} of 600 pages fall into the test set, {share:.0%} should: the two sides are"
            " swapped."
        )
    raise Wrong(
        f"{got:.0%} of 600 pages fall into the test set, {share:.0%} should. Is `share` used at"
        " all? And does your number spread evenly? The length of a URL or its first letter don't;"
        " a hash does."
    )


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def contaminated(attempt: Attempt) -> str:
    """The test items that share a run of n words with a training text."""
    train = [
        "Ann said that 7 + 5 is twelve and went home",
        "the sum 17 + 5 is hard",
        "a dog and a cat",
    ]

    def check(items: list[str], n: int, want: set[str], slips: dict[str, str]) -> None:
        got = attempt(train, items, n)
        if isinstance(got, bool | Number | str):
            raise Wrong(f"return the set of the test items that were found; got {describe(got)}.")
        for item in sorted(set(got) ^ want):
            raise Wrong(slips[item])
        expect(set(got), want, f"the contaminated items, n = {n}")

    half, foreign = "they all said that 7 + 5 might be eleven", "nothing in common here at all"
    check(
        [half, foreign],
        4,
        {half},
        {
            half: (
                f"{half!r} shares the four words 'said that 7 +' with a training text (n = 4), and"
                " you missed it. It needn't occur as a whole: one shared run of n words is enough."
            ),
            foreign: "an item that shares no word with training was reported.",
        },
    )
    loud, scattered = "WENT Home", "dog ran home to the cat"
    check(
        [loud, scattered],
        3,
        {loud},
        {
            loud: (
                "'WENT Home' has only two words, fewer than n = 3. Then the whole item is the run,"
                " and capitals shouldn't matter: it stands at the end of the first training text."
            ),
            scattered: (
                f"{scattered!r} shares words with training, but no run of three. Order and"
                " neighbourhood matter: compare runs, not single words."
            ),
        },
    )
    check(
        ["7 + 5", "5 is hard now"],
        4,
        {"7 + 5"},
        {
            "7 + 5": (
                "'7 + 5' is shorter than n = 4 words and stands whole in a training text; it was"
                " missed. Use runs of min(n, its own length) words."
            ),
            "5 is hard now": (
                "'5 is hard now' shares only three words in a row with training; n is 4."
            ),
        },
    )
    check(
        ["5 is h"],
        3,
        set(),
        {
            "5 is h": (
                "'5 is h' was reported because of '5 is hard'. Compare whole words, not characters."
            )
        },
    )
    return "right: this is what a lab runs before it believes its own benchmark."
