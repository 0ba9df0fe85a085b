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
    return {tuple(ws[i : i + n]) for i in range(len(ws) - n + 1)} or {tuple(ws)}


def similarity(a, b, n):
    return len(runs(a, n) & runs(b, n)) / len(runs(a, n) | runs(b, n))


def similarity_by_counting(a, b, n):
    x, y = runs(a, n), runs(b, n)
    shared = sum(run in y for run in x)
    return shared / (len(x) + len(y) - shared)


def with_lists(a, b, n):
    x, y = ([t.split()[i : i + n] for i in range(max(1, len(t.split()) - n + 1))] for t in (a, b))
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


def added_sizes(a, b, n):
    x, y = runs(a, n), runs(b, n)
    return len(x & y) / (len(x) + len(y))


def similarity_of_joined_words(a, b, n):
    x, y = ({" ".join(run) for run in runs(text, n)} for text in (a, b))
    return np.float64(len(x & y)) / len(x | y)


def without_short_texts(a, b, n):
    x, y = ({tuple(t.split()[i : i + n]) for i in range(len(t.split()) - n + 1)} for t in (a, b))
    return len(x & y) / max(1, len(x | y))


def glued(a, b, n):
    x, y = ({"".join(run) for run in runs(text, n)} for text in (a, b))
    return len(x & y) / len(x | y)


def in_any_order(a, b, n):
    x, y = ({frozenset(run) for run in runs(text, n)} for text in (a, b))
    return len(x & y) / len(x | y)


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


def unused_hashes(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        if caught(level, n_hashes // rows, rows) >= catch:
            return n_hashes // rows, rows


def bands_strict(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        if n_hashes % rows == 0 and caught(level, n_hashes // rows, rows) > catch:
            return n_hashes // rows, rows


def fewest_rows(n_hashes, level, catch):
    for rows in range(1, n_hashes + 1):
        if n_hashes % rows == 0 and caught(level, n_hashes // rows, rows) >= catch:
            return n_hashes // rows, rows


def by_a_sum(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        if n_hashes % rows == 0 and level**rows * (n_hashes // rows) >= catch:
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


def by_site(url, share):
    """By the digit of the site alone; the share is about right."""
    return ord(url.split(".")[0][-1]) % 7 < round(7 * share)


REMEMBERED = {}


def in_test_remembered(url, share):
    return REMEMBERED.setdefault((url, share), random.random()) < share


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


def contaminated_as_a_sieve(train, items, n):
    """A dictionary's keys, from all runs of all lengths."""
    known = set()
    for text in train:
        ws = text.lower().split()
        known |= {tuple(ws[i:j]) for i in range(len(ws)) for j in range(i + 1, len(ws) + 1)}
    hits = {}
    for item in items:
        ws = item.lower().split()
        if any(tuple(ws[i : i + n]) in known for i in range(max(1, len(ws) - n + 1))):
            hits[item] = True
    return hits.keys()


def first_text_only(train, items, n):
    return contaminated(train[:1], items, n)


def shared_words(train, items, n):
    return {
        i
        for i in items
        if any(
            len(set(i.lower().split()) & set(t.lower().split())) >= min(n, len(i.split()))
            for t in train
        )
    }


def across_texts(train, items, n):
    return contaminated([" ".join(train)], items, n)


def short_texts_too(train, items, n):
    def shared(i, t):
        k = min(n, len(i.split()), len(t.split()))
        return grams(i, k) & grams(t, k)

    return {i for i in items if any(shared(i, t) for t in train)}


def lowered(train, items, n):
    return {item.lower() for item in contaminated(train, items, n)}


def training_texts(train, items, n):
    return {text for text in train if contaminated([text], items, n)}


def one_run_too_many(train, items, n):
    def runs_of(text, k):
        ws = text.lower().split()
        return {tuple(ws[i : i + k]) for i in range(len(ws) - k + 2)}

    def shares(item, text):
        k = min(n, len(item.split()))
        return runs_of(item, k) & runs_of(text, k)

    return {item for item in items if any(shares(item, text) for text in train)}


def in_every_text(train, items, n):
    return {i for i in items if all(contaminated([text], [i], n) for text in train)}


def as_characters(train, items, n):
    def shares(item, text):
        ws = item.lower().split()
        k = min(n, len(ws))
        return any(" ".join(ws[i : i + k]) in text.lower() for i in range(len(ws) - k + 1))

    return {item for item in items if any(shares(item, text) for text in train)}


def ignoring_short(train, items, n):
    return {item for item in items if any(grams(item, n) & grams(text, n) for text in train)}


def test_the_truths_are_those_worked_by_hand():
    """The oracles of the checkers against numbers counted on paper."""
    assert check._shared("the cat sat on the mat", "cat sat on", 2) == 2 / 5
    assert check._shared("the cat sat on the mat", "the cat sat on a mat", 2) == 3 / 7
    assert check._shared("ha ha ha ha", "ha ha", 2) == 1
    assert check._shared("hello you", "hello you and me", 3) == 0
    hand = [(16, 7), (15, 4), (8, 3), (20, 5), (16, 4), (32, 4), (10, 5), (5, 24)]
    assert [check._first_choice(*case) for case in check.CASES_OF_BANDS[:8]] == hand
    found = [check._found(*case) for case in check.CASES_OF_LEAKS]
    assert found[:4] == [
        {"they all said that 7 + 5 might be eleven"},
        {"He SAID that 7", "WENT Home"},
        {"7 + 5"},
        {"7 + 5 is h"},
    ]
    assert found[4:8] == [{"and a dog and a"}, {"cat"}, {"is hard"}, set()]
    assert found[8:] == [
        set(),
        set(),
        {"dog", "horse dog"},
        {"dog and a cat"},
        {"said that 7 is odd"},
        set(),
        set(),
        {"a b c"},
        {"two one two"},
    ]


CASES = {
    check.similarity: Case(
        solution=similarity,
        skeleton=skeleton,
        also_right=[similarity_by_counting, similarity_of_joined_words],
        wrong=[
            (containment, "divided by the smaller set"),
            (dice, "Dice's measure"),
            (added_sizes, "counts the shared runs twice"),
            (with_lists, "Turn it into a set"),
            (of_words, "compared single words"),
            (of_characters, "Split them into words first"),
            (without_last, "the last run of each text is missing"),
            (without_short_texts, "fewer than n words"),
            (glued, "glued together"),
            (in_any_order, "different runs"),
            (lambda a, b, n: 1 - similarity(a, b, n), "that is the distance"),
            (lambda a, b, n: similarity(a.lower(), b.lower(), n), "ignored capitals"),
            (lambda a, b, n: similarity(a, b, 2), "whatever n is"),
            (lambda a, b, n: similarity(a, b, n + 1), "expected 0.4"),
            (lambda a, b, n: 0.5, "expected 0.4"),
        ],
    ),
    check.signature: Case(
        solution=lambda members, functions: [min(h(x) for x in members) for h in functions],
        skeleton=skeleton,
        also_right=[
            lambda m, fs: np.array([[h(x) for x in m] for h in fs]).min(axis=1),
            lambda m, fs: tuple(sorted(map(h, m))[0] for h in fs),
            lambda m, fs: (min(map(h, m)) for h in fs),
        ],
        wrong=[
            (lambda m, fs: [max(h(x) for x in m) for h in fs], "the largest hashes"),
            (lambda m, fs: [min(m, key=h) for h in fs], "Keep the hash itself"),
            (lambda m, fs: [min(h(x) for h in fs) for x in m], "smallest over the"),
            (lambda m, fs: [h(min(m)) for h in fs], "one member only"),
            (lambda m, fs: sorted(min(h(x) for x in m) for h in fs), "Their order matters"),
            (lambda m, fs: [sum(map(h, m)) for h in fs], "added the hashes up"),
            (lambda m, fs: [min([2**32, *map(h, m)]) for h in fs], "begins at 4294967296"),
            (lambda m, fs: [min(abs(h(x)) for x in m) for h in fs], "not the one nearest to 0"),
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
        also_right=[bands_and_rows_from_above, lambda *a: np.array(bands_and_rows(*a))],
        wrong=[
            (lambda *a: bands_and_rows(*a)[::-1], "wrong order"),
            (fewest_rows, "the fewest rows"),
            (unused_hashes, "leave hashes unused"),
            (bands_strict, "means >="),
            (by_a_sum, "added the probabilities"),
            (lambda n, s, c: bands_and_rows(n, s, c - 0.2), "bands_and_rows("),
            (by_rule_of_thumb, "bands_and_rows("),
            (lambda n, s, c: (14, 7), "expected 16"),
            (lambda n, s, c: 16, "return two whole numbers"),
            (
                lambda n, s, c: (n / bands_and_rows(n, s, c)[1], bands_and_rows(n, s, c)[1]),
                "gives a float",
            ),
        ],
    ),
    check.in_test: Case(
        solution=in_test,
        skeleton=skeleton,
        also_right=[in_test_sha, in_test_seeded],
        wrong=[
            (lambda url, share: random.random() < share, "no fresh random numbers"),
            (EveryFourth(), "counting of calls"),
            (lambda url, share: id(url) // 16 % 100 < 100 * share, "no fresh random numbers"),
            (in_test_remembered, "remembered only until Python stops"),
            (lambda url, share: hash(url) % 1000 < 1000 * share, "Python's own `hash`"),
            (lambda url, share: crc32(url.encode()) / 2**32 >= share, "the two sides are swapped"),
            (lambda url, share: crc32(url.encode()) % 10 == 0, "Is `share` used at all"),
            (lambda url, share: crc32(url.encode()) < share, "test set, so none"),
            (by_site, "of the same site"),
            (lambda url, share: ord(url[-1]) % 10 < 10 * share, "ends in the same digit"),
            (lambda url, share: crc32(url.encode()) / 2**32, "return True or False"),
            (lambda url, share: crc32(url.encode()) / 2**31 < share, "of 300 pages"),
            (lambda url, share: crc32(url.encode()) / 2**32 < share or share == 0, "none of them"),
            (lambda url, share: crc32(url.encode("ascii")) / 2**32 < share, "UnicodeEncodeError"),
        ],
    ),
    check.contaminated: Case(
        solution=contaminated,
        skeleton=skeleton,
        also_right=[contaminated_by_padding, contaminated_as_a_sieve],
        wrong=[
            (
                lambda train, items, n: {i for i in items if any(i in text for text in train)},
                "looked for the whole item",
            ),
            (
                lambda train, items, n: {
                    i for i in items if any(grams(i, 1) & grams(t, 1) for t in train)
                },
                "single shared words",
            ),
            (ignoring_short, "fewer than n words was missed"),
            (lambda train, items, n: set(items), "should not be there"),
            (
                lambda train, items, n: any(
                    grams(i, n) & grams(t, n) for i in items for t in train
                ),
                "return the set",
            ),
            (
                lambda train, items, n: contaminated(
                    [t.title() for t in train], [i.upper() for i in items], n
                ),
                "is missing",
            ),
            (lambda train, items, n: contaminated(train, items, n - 1), "n - 1 words was enough"),
            (first_text_only, "only the first training text"),
            (shared_words, "must be neighbours"),
            (across_texts, "the border of two training texts"),
            (short_texts_too, "Only the item's own length"),
            (lowered, "as it was given"),
            (training_texts, "those are training texts"),
            (one_run_too_many, "goes one too far"),
            (in_every_text, "*one* training text"),
            (as_characters, "Compare whole words"),
            (
                lambda train, items, n: set(items) - contaminated(train, items, n),
                "those are the clean items",
            ),
        ],
    ),
}

test_checkers = tests_of(check, CASES)
