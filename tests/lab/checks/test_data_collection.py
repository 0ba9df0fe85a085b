"""The checkers of lesson 02 on right answers, on the skeleton, and on typical wrong answers."""

import hashlib
import random
from zlib import crc32

import numpy as np

from course_lib.lab.checks import data_collection as check
from tests.lab.checks.cases import Case, tests_of


def skeleton(*args): ...


# similarity


def runs(text, n):
    ws = text.split()
    return {tuple(ws[i : i + n]) for i in range(len(ws) - n + 1)}


def similarity(a, b, n):
    return len(runs(a, n) & runs(b, n)) / len(runs(a, n) | runs(b, n))


def similarity_by_counting(a, b, n):
    x, y = runs(a, n), runs(b, n)
    shared = sum(run in y for run in x)
    return shared / (len(x) + len(y) - shared)


def with_lists(a, b, n):
    x, y = ([t.split()[i : i + n] for i in range(len(t.split()) - n + 1)] for t in (a, b))
    shared = sum(run in y for run in x)
    return shared / (len(x) + len(y) - shared)


def without_last(a, b, n):
    x, y = ({tuple(t.split()[i : i + n]) for i in range(len(t.split()) - n)} for t in (a, b))
    return len(x & y) / max(1, len(x | y))


def of_characters(a, b, n):
    x, y = ({t[i : i + n] for i in range(len(t) - n + 1)} for t in (a, b))
    return len(x & y) / len(x | y)


def of_words(a, b, n):
    return len(set(a.split()) & set(b.split())) / len(set(a.split()) | set(b.split()))


def containment(a, b, n):
    x, y = runs(a, n), runs(b, n)
    return len(x & y) / min(len(x), len(y))


def dice(a, b, n):
    x, y = runs(a, n), runs(b, n)
    return 2 * len(x & y) / (len(x) + len(y))


# bands_and_rows


def caught(level, bands, rows):
    return 1 - (1 - level**rows) ** bands


def bands_and_rows(n_hashes, level, catch):
    best = None
    for rows in range(1, n_hashes + 1):
        if n_hashes % rows == 0 and caught(level, n_hashes // rows, rows) >= catch:
            best = n_hashes // rows, rows
    return best


def bands_and_rows_from_above(n_hashes, level, catch):
    fits = (
        r
        for r in range(n_hashes, 0, -1)
        if n_hashes % r == 0 and caught(level, n_hashes // r, r) >= catch
    )
    rows = next(fits)
    return [n_hashes // rows, rows]


def by_rule_of_thumb(n_hashes, level, catch):
    rows = max(
        r for r in range(1, n_hashes) if n_hashes % r == 0 and (r / n_hashes) ** (1 / r) <= level
    )
    return n_hashes // rows, rows


# in_test


def in_test(url, share):
    return crc32(url.encode()) / 2**32 < share


def in_test_sha(url, share):
    return int(hashlib.sha256(url.encode()).hexdigest(), 16) % 1000 < 1000 * share


def in_test_seeded(url, share):
    return np.bool_(random.Random(url).random() < share)


class EveryFourth:
    calls = 0

    def __call__(self, url, share):
        self.calls += 1
        return self.calls % round(1 / share + 0.3) == 0


# contaminated


def grams(text, n):
    ws = text.lower().split()
    return {tuple(ws[i : i + n]) for i in range(len(ws) - n + 1)}


def contaminated(train, items, n):
    found = set()
    for item in items:
        k = min(n, len(item.split()))
        if any(grams(item, k) & grams(text, k) for text in train):
            found.add(item)
    return found


def contaminated_by_padding(train, items, n):
    def shares(item, text):
        k = min(n, len(item.split()))
        ws = item.lower().split()
        return any(
            f" {' '.join(ws[i : i + k])} " in f" {text.lower()} " for i in range(len(ws) - k + 1)
        )

    return [item for item in items if any(shares(item, text) for text in train)]


def ignoring_short(train, items, n):
    return {item for item in items if any(grams(item, n) & grams(text, n) for text in train)}


CASES = {
    check.similarity: Case(
        solution=similarity,
        skeleton=skeleton,
        also_right=[similarity_by_counting],
        wrong=[
            (containment, "divided by the smaller set"),
            (dice, "counts the shared runs twice"),
            (with_lists, "turn it into a set"),
            (of_words, "compared single words"),
            (of_characters, "Split them into words first"),
            (without_last, "the last run of each text is missing"),
            (lambda a, b, n: 0.5, "expected 0.4"),
        ],
    ),
    check.signature: Case(
        solution=lambda members, functions: [min(h(x) for x in members) for h in functions],
        skeleton=skeleton,
        also_right=[lambda m, fs: np.array([[h(x) for x in m] for h in fs]).min(axis=1)],
        wrong=[
            (lambda m, fs: [max(h(x) for x in m) for h in fs], "the largest hashes"),
            (lambda m, fs: [min(m, key=h) for h in fs], "Keep the hash itself"),
            (lambda m, fs: [min(h(x) for h in fs) for x in sorted(m)], "Turn it round"),
            (lambda m, fs: [h(min(m)) for h in fs], "one member only"),
            (lambda m, fs: sorted(min(h(x) for x in m) for h in fs), "Their order matters"),
            (
                lambda m, fs: min(h(x) for x in m for h in fs),
                "one number for each of the hash functions",
            ),
            (lambda m, fs: {min(h(x) for x in m) for h in fs}, "a set has no order"),
        ],
    ),
    check.bands_and_rows: Case(
        solution=bands_and_rows,
        skeleton=skeleton,
        also_right=[bands_and_rows_from_above],
        wrong=[
            (lambda *a: bands_and_rows(*a)[::-1], "wrong order"),
            (lambda n, s, c: (n, 1), "raise fewer false alarms"),
            (by_rule_of_thumb, "about half are caught"),
            (lambda n, s, c: (14, 7), "exactly 112"),
            (lambda n, s, c: 16, "return two whole numbers"),
            (lambda n, s, c: (16, 7), "exactly 60"),
        ],
    ),
    check.in_test: Case(
        solution=in_test,
        skeleton=skeleton,
        also_right=[in_test_sha, in_test_seeded],
        wrong=[
            (lambda url, share: random.random() < share, "no fresh random numbers"),
            (EveryFourth(), "counting of calls"),
            (lambda url, share: hash(url) % 1000 < 1000 * share, "Python's own `hash`"),
            (lambda url, share: crc32(url.encode()) / 2**32 >= share, "the two sides are swapped"),
            (lambda url, share: crc32(url.encode()) % 10 == 0, "Is `share` used at all"),
            (lambda url, share: crc32(url.encode()) < share, "none of 600 pages"),
            (lambda url, share: crc32(url.split("/")[2].encode()) / 2**32 < share, "600 pages"),
        ],
    ),
    check.contaminated: Case(
        solution=contaminated,
        skeleton=skeleton,
        also_right=[contaminated_by_padding],
        wrong=[
            (
                lambda train, items, n: {i for i in items if any(i in text for text in train)},
                "needn't occur as a whole",
            ),
            (
                lambda train, items, n: {
                    i for i in items if any(grams(i, 1) & grams(t, 1) for t in train)
                },
                "Order and",
            ),
            (ignoring_short, "fewer than n = 3"),
            (lambda train, items, n: set(items), "shares no word with training"),
            (
                lambda train, items, n: any(
                    grams(i, n) & grams(t, n) for i in items for t in train
                ),
                "return the set",
            ),
            (
                lambda train, items, n: (
                    contaminated([t.title() for t in train], items, 4) - {"WENT Home"}
                ),
                "capitals",
            ),
            (
                lambda train, items, n: contaminated(train, items, min(n, 3)),
                "three words in a row with training",
            ),
        ],
    ),
}

test_checkers = tests_of(check, CASES)
