"""Answers to the exercises of lesson 02, written from its statements."""

import hashlib
import random
from collections import Counter
from functools import partial, reduce
from itertools import chain
from zlib import crc32

import numpy as np

from tests.lab.checks.answers.table import Answers, Slip


def runs(words, n):
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}


def share_of(a, b):
    return len(a & b) / len(a | b)


# Exercise 1: similarity(a, b, n)


def similarity_of_strings(a, b, n):
    def joined(text):
        words = text.split()
        if len(words) < n:
            return frozenset([" ".join(words)])
        return frozenset(
            " ".join(part) for part in zip(*(words[i:] for i in range(n)), strict=False)
        )

    first, second = joined(a), joined(b)
    shared = sum(1 for run in first if run in second)
    return shared / (len(first) + len(second) - shared)


class SimilarityInNumpy:
    def __call__(self, a, b, n):
        first, second = (
            np.unique([" ".join(run) for run in runs(text.split(), n)]) for text in (a, b)
        )
        return np.float64(np.intersect1d(first, second).size) / np.union1d(first, second).size


def similarity_by_lists(a, b, n):
    distinct = [[], []]
    for found, words in zip(distinct, (a.split(), b.split()), strict=True):
        k = min(n, len(words))
        start = 0
        while start + k <= len(words):
            if words[start : start + k] not in found:
                found.append(words[start : start + k])
            start += 1
    either = distinct[0] + [run for run in distinct[1] if run not in distinct[0]]
    return len([run for run in either if run in distinct[0] and run in distinct[1]]) / len(either)


def similarity_of_letters(a, b, n):
    return share_of(runs(a, n), runs(b, n))


def similarity_by_the_smaller(a, b, n):
    first, second = runs(a.split(), n), runs(b.split(), n)
    return len(first & second) / min(len(first), len(second))


def similarity_of_lists(a, b, n):
    first, second = (
        Counter(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1)))
        for words in (a.split(), b.split())
    )
    return (first & second).total() / (first | second).total()


def similarity_without_the_last(a, b, n):
    first, second = (
        {tuple(words[i : i + n]) for i in range(max(1, len(words) - n))}
        for words in (a.split(), b.split())
    )
    return share_of(first, second)


def similarity_without_short(a, b, n):
    first, second = (
        {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
        for words in (a.split(), b.split())
    )
    return share_of(first, second) if first | second else 0.0


def similarity_in_small_letters(a, b, n):
    return share_of(runs(a.lower().split(), n), runs(b.lower().split(), n))


def similarity_by_the_sum(a, b, n):
    first, second = runs(a.split(), n), runs(b.split(), n)
    return len(first & second) / (len(first) + len(second))


def similarity_dice(a, b, n):
    first, second = runs(a.split(), n), runs(b.split(), n)
    return 2 * len(first & second) / (len(first) + len(second))


def similarity_of_steps(a, b, n):
    first, second = (
        {tuple(words[i : i + n]) for i in range(0, len(words), n)}
        for words in (a.split(), b.split())
    )
    return share_of(first, second)


def similarity_with_tails(a, b, n):
    first, second = (
        {tuple(words[i : i + n]) for i in range(len(words))} for words in (a.split(), b.split())
    )
    return share_of(first, second)


def similarity_of_two_words(a, b, n):
    return share_of(runs(a.split(), 2), runs(b.split(), 2))


def similarity_by_the_first(a, b, n):
    first, second = runs(a.split(), n), runs(b.split(), n)
    return len(first & second) / len(first)


def similarity_at_spaces(a, b, n):
    return share_of(runs(a.split(" "), n), runs(b.split(" "), n))


# Exercise 2: signature(members, hash_functions)


def signature_by_reduce(members, hash_functions):
    return [reduce(min, (h(m) for m in members)) for h in hash_functions]


def signature_by_loops(members, hash_functions):
    smallest = [None] * len(hash_functions)
    for member in members:
        for i, h in enumerate(hash_functions):
            value = h(member)
            if smallest[i] is None or value < smallest[i]:
                smallest[i] = value
    return smallest


class SignatureBySorting:
    def __call__(self, members, hash_functions):
        table = ([h(m) for h in hash_functions] for m in members)
        return [sorted(column)[0] for column in zip(*table, strict=True)]


def signature_of_largest(members, hash_functions):
    return [max(h(m) for m in members) for h in hash_functions]


def signature_of_members(members, hash_functions):
    return [min(members, key=h) for h in hash_functions]


def signature_per_member(members, hash_functions):
    return [min(h(m) for h in hash_functions) for m in members]


def signature_below_32_bits(members, hash_functions):
    numbers = []
    for h in hash_functions:
        smallest = 2**32
        for m in members:
            smallest = min(smallest, h(m))
        numbers.append(smallest)
    return numbers


def signature_of_smallest_member(members, hash_functions):
    return [h(min(members)) for h in hash_functions]


def signature_in_order_of_size(members, hash_functions):
    return sorted(min(map(h, members)) for h in hash_functions)


def signature_never_reset(members, hash_functions):
    numbers, smallest = [], float("inf")
    for h in hash_functions:
        for m in members:
            smallest = min(smallest, h(m))
        numbers.append(smallest)
    return numbers


def signature_without_repeats(members, hash_functions):
    return list(dict.fromkeys(min(map(h, members)) for h in hash_functions))


def signature_in_floats(members, hash_functions):
    table = np.array([[float(h(m)) for m in members] for h in hash_functions])
    return table.min(axis=1).tolist()


def signature_of_sizes(members, hash_functions):
    return [min(abs(h(m)) for m in members) for h in hash_functions]


def signature_in_one_number(members, hash_functions):
    return min(h(m) for h in hash_functions for m in members)


def signature_of_any_member(members, hash_functions):
    return [h(next(iter(members))) for h in hash_functions]


def signature_from_zero(members, hash_functions):
    return [min(chain([0], map(h, members))) for h in hash_functions]


# Exercise 3: bands_and_rows(n_hashes, level, catch)


def chance(bands, rows, level):
    return 1 - (1 - level**rows) ** bands


def bands_by_max(n_hashes, level, catch):
    divisors = (r for r in range(1, n_hashes + 1) if not n_hashes % r)
    rows = max(r for r in divisors if chance(n_hashes // r, r, level) >= catch)
    return n_hashes // rows, rows


def bands_in_numpy(n_hashes, level, catch):
    rows = np.arange(1, n_hashes + 1)
    rows = rows[n_hashes % rows == 0]
    caught = 1 - (1 - float(level) ** rows) ** (n_hashes // rows)
    best = rows[caught >= catch][-1]
    return n_hashes // best, best


def bands_from_one(n_hashes, level, catch):
    for bands in range(1, n_hashes + 1):
        rows, left = divmod(n_hashes, bands)
        if left == 0 and 1 - (1 - level**rows) ** bands >= catch:
            return bands, rows


def bands_with_fewest_rows(n_hashes, level, catch):
    for rows in range(1, n_hashes + 1):
        if n_hashes % rows == 0 and chance(n_hashes // rows, rows, level) >= catch:
            return n_hashes // rows, rows


def bands_swapped(n_hashes, level, catch):
    return bands_by_max(n_hashes, level, catch)[::-1]


def bands_with_a_rest(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        if chance(n_hashes // rows, rows, level) >= catch:
            return n_hashes // rows, rows


def bands_with_powers_swapped(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        bands = n_hashes // rows
        if n_hashes % rows == 0 and 1 - (1 - level**bands) ** rows >= catch:
            return bands, rows


def bands_of_one_band(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        if n_hashes % rows == 0 and level**rows >= catch:
            return n_hashes // rows, rows


def bands_of_two_or_more(n_hashes, level, catch):
    for rows in range(n_hashes - 1, 0, -1):
        if n_hashes % rows == 0 and chance(n_hashes // rows, rows, level) >= catch:
            return n_hashes // rows, rows


def bands_of_two_rows_or_more(n_hashes, level, catch):
    for rows in range(n_hashes, 1, -1):
        if n_hashes % rows == 0 and chance(n_hashes // rows, rows, level) >= catch:
            return n_hashes // rows, rows


def bands_above_catch(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        if n_hashes % rows == 0 and chance(n_hashes // rows, rows, level) > catch:
            return n_hashes // rows, rows


def bands_nearest(n_hashes, level, catch):
    divisors = [r for r in range(1, n_hashes + 1) if n_hashes % r == 0]
    rows = min(divisors, key=lambda r: abs(chance(n_hashes // r, r, level) - catch))
    return n_hashes // rows, rows


def bands_that_miss(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        bands = n_hashes // rows
        if n_hashes % rows == 0 and (1 - level**rows) ** bands >= catch:
            return bands, rows


def bands_by_adding(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        bands = n_hashes // rows
        if n_hashes % rows == 0 and bands * level**rows >= catch:
            return bands, rows


def bands_of_the_lesson(n_hashes, level, catch):
    return bands_by_max(112, level, catch)


# Exercise 4: in_test(url, share)


def in_test_by_md5(url, share):
    return int(hashlib.md5(url.encode()).hexdigest(), 16) < share * 2**128


def in_test_by_seed(url, share):
    return random.Random(url).random() < share


def in_test_by_blake(url, share):
    digest = hashlib.blake2b(url.encode("utf-8"), digest_size=4).digest()
    return np.frombuffer(digest, dtype=np.uint32)[0] / np.float64(2**32) < share


def in_test_by_loop(url, share):
    number = 14695981039346656037  # FNV-1a of 64 bits, then its upper and lower half mixed
    for byte in url.encode():
        number = (number ^ byte) * 1099511628211 % 2**64
    number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD % 2**64
    return bool(number >> 11 < share * 2**53)


def in_test_by_python(url, share):
    return hash(url) % 2**32 / 2**32 < share


def in_test_by_dice(url, share):
    return random.random() < share


def in_test_or_equal(url, share):
    return crc32(url.encode()) / 2**32 <= share


def in_test_by_the_largest(url, share):
    return crc32(url.encode()) / (2**32 - 1) < share


def in_test_turned_round(url, share):
    return crc32(url.encode()) / 2**32 >= share


class InTestByTurn:
    def __init__(self):
        self.n_asked = self.n_true = 0

    def __call__(self, url, share):
        self.n_asked += 1
        chosen = self.n_true < share * self.n_asked
        self.n_true += chosen
        return chosen


def in_test_by_length(url, share):
    return len(url) % 10 < share * 10


def in_test_by_fixed_seed(url, share):
    random.seed(42)
    return random.random() < share


def in_test_in_hundredths(url, share):
    return crc32(url.encode()) % 100 < int(share * 100)


def in_test_by_every(url, share):
    return share > 0 and crc32(url.encode()) % round(1 / share) == 0


class InTestRemembered:
    def __init__(self):
        self.known = {}

    def __call__(self, url, share):
        return self.known.setdefault(url, crc32(url.encode()) / 2**32 < share)


def in_test_by_31_bits(url, share):
    return crc32(url.encode()) / 2**31 < share


def in_test_always_a_tenth(url, share):
    return crc32(url.encode()) % 10 == 0


# Exercise 5: contaminated(train, items, n)


def contaminated_by_tables(train, items, n):
    texts = [text.lower().split() for text in train]
    lengths = {min(n, len(item.split())) for item in items}
    known = {
        k: {tuple(words[i : i + k]) for words in texts for i in range(len(words) - k + 1)}
        for k in lengths
    }
    leaked = set()
    for item in items:
        words = item.lower().split()
        k = min(n, len(words))
        if any(tuple(words[i : i + k]) in known[k] for i in range(len(words) - k + 1)):
            leaked.add(item)
    return leaked


def contaminated_by_strings(train, items, n):
    def spaced(words):
        return f" {' '.join(words)} ".casefold()

    texts = [spaced(text.split()) for text in train]

    def has_leaked(words):
        last = max(0, len(words) - n)
        return any(spaced(words[i : i + n]) in text for i in range(last + 1) for text in texts)

    return {item for item in items if has_leaked(item.split())}


class ContaminatedByLoops:
    def __call__(self, train, items, n):
        return set(filter(partial(self.leaks, [t.upper().split() for t in train], n), items))

    @staticmethod
    def leaks(texts, n, item):
        words = item.upper().split()
        k = len(words) if len(words) < n else n
        for text in texts:
            for i in range(len(words) - k + 1):
                for j in range(len(text) - k + 1):
                    if words[i : i + k] == text[j : j + k]:
                        return True
        return False


def all_runs(words, n):
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def shares_a_run(text, words, n):
    k = min(n, len(words))
    return bool(all_runs(words, k) & all_runs(text.lower().split(), k))


def contaminated_with_capitals(train, items, n):
    def leaks(words):
        k = min(n, len(words))
        return any(all_runs(words, k) & all_runs(text.split(), k) for text in train)

    return {item for item in items if leaks(item.split())}


def contaminated_in_small_letters(train, items, n):
    items = [item.lower() for item in items]
    return {i for i in items if any(shares_a_run(text, i.split(), n) for text in train)}


def contaminated_by_whole_items(train, items, n):
    return {item for item in items if any(item.lower() in text.lower() for text in train)}


def contaminated_without_short(train, items, n):
    def leaks(words):
        return any(all_runs(words, n) & all_runs(text.lower().split(), n) for text in train)

    return {item for item in items if leaks(item.lower().split())}


def contaminated_across_texts(train, items, n):
    whole = " ".join(train)
    return {item for item in items if shares_a_run(whole, item.lower().split(), n)}


def contaminated_inside_words(train, items, n):
    def leaks(words):
        k = min(n, len(words))
        return any(
            " ".join(run) in " ".join(text.lower().split())
            for run in all_runs(words, k)
            for text in train
        )

    return {item for item in items if leaks(item.lower().split())}


def contaminated_by_all_runs(train, items, n):
    def leaks(words):
        k = min(n, len(words))
        return any(all_runs(words, k) <= all_runs(text.lower().split(), k) for text in train)

    return {item for item in items if leaks(item.lower().split())}


def contaminated_without_the_last(train, items, n):
    def leaks(words):
        k = min(n, len(words))
        first = {tuple(words[i : i + k]) for i in range(max(1, len(words) - k))}
        return any(first & all_runs(text.lower().split(), k) for text in train)

    return {item for item in items if leaks(item.lower().split())}


def contaminated_by_short_texts(train, items, n):
    def leaks(text, words):
        k = min(n, len(words), len(text))
        return bool(all_runs(words, k) & all_runs(text, k))

    return {
        item
        for item in items
        if any(leaks(text.lower().split(), item.lower().split()) for text in train)
    }


def contaminated_in_any_order(train, items, n):
    def leaks(text, words):
        return len(set(words) & set(text)) >= min(n, len(set(words)))

    return {
        item
        for item in items
        if any(leaks(text.lower().split(), item.lower().split()) for text in train)
    }


def contaminated_by_one_word(train, items, n):
    def leaks(text, words):
        k = n if len(words) >= n else 1
        return bool(all_runs(words, k) & all_runs(text, k))

    return {
        item
        for item in items
        if any(leaks(text.lower().split(), item.lower().split()) for text in train)
    }


def contaminated_list(train, items, n):
    return [i for i in items if any(shares_a_run(text, i.lower().split(), n) for text in train)]


def contaminated_by_the_first_text(train, items, n):
    leaked = set()
    for item in items:
        for text in train:
            if shares_a_run(text, item.lower().split(), n):
                leaked.add(item)
            break
    return leaked


def contaminated_by_equal_texts(train, items, n):
    def leaks(text, words):
        if len(words) < n:
            return words == text
        return bool(all_runs(words, n) & all_runs(text, n))

    return {
        item
        for item in items
        if any(leaks(text.lower().split(), item.lower().split()) for text in train)
    }


ANSWERS = {
    "similarity": Answers(
        right=[similarity_of_strings, SimilarityInNumpy(), similarity_by_lists],
        wrong=[
            Slip(similarity_of_letters, "runs of letters", r"letter|character|words"),
            Slip(similarity_by_the_smaller, "divides by the smaller set", r"union|either|smaller"),
            Slip(
                similarity_of_lists, "counts repeated runs", r"sets?\b|repeat|twice|more than once"
            ),
            Slip(similarity_without_the_last, "misses the last run", r"last|\+ ?1|too few runs"),
            Slip(
                similarity_without_short, "no run of a short text", r"fewer|short|all of its words"
            ),
            Slip(similarity_in_small_letters, "ignores capitals", r"capital|lower|small letters"),
            Slip(
                similarity_by_the_sum, "divides by both sizes", r"union|either|sum|sizes|both sets"
            ),
            Slip(similarity_dice, "Dice", r"union|either|Dice|sum|sizes"),
            Slip(similarity_of_steps, "runs do not overlap", r"overlap|step|every n|side by side"),
            Slip(
                similarity_with_tails, "shorter runs at the end", r"shorter|fewer than n|end|tail"
            ),
            Slip(similarity_of_two_words, "n is always 2", r"n words|whatever n|always 2|ignore"),
            Slip(
                similarity_by_the_first,
                "divides by the first set",
                r"union|either|first|of a\b",
                never=r"larger|smaller",
            ),
            Slip(similarity_at_spaces, "splits at single spaces", r"split|space|line break|white"),
        ],
    ),
    "signature": Answers(
        right=[signature_by_reduce, signature_by_loops, SignatureBySorting()],
        wrong=[
            Slip(signature_of_largest, "the largest hash", r"largest|max|greatest"),
            Slip(signature_of_members, "the member, not its hash", r"member"),
            Slip(
                signature_per_member,
                "a number for each member",
                r"(each|per|every|for the) (member|hash function)|as many|loops|length|how many",
            ),
            Slip(
                signature_below_32_bits,
                "starts at 2**32",
                r"any size|2\*\*32|larger|start|huge|big|4294967296",
            ),
            Slip(
                signature_of_smallest_member,
                "the smallest member's hash",
                r"smallest member|one member|over \*all\* members",
            ),
            Slip(signature_in_order_of_size, "sorted", r"order|sort"),
            Slip(
                signature_never_reset,
                "the smallest so far is kept",
                r"reset|anew|earlier|previous|functions? before|so far|again|carr",
            ),
            Slip(
                signature_without_repeats,
                "equal numbers are dropped",
                r"equal|repeat|twice|same|as many|length|for each|how many|distinct",
            ),
            Slip(signature_in_floats, "floats", r"float|whole|exact|precis|round"),
            Slip(signature_of_sizes, "drops the sign", r"\bsign\b|negative|absolute"),
            Slip(signature_in_one_number, "one number", r"list|for each|one number"),
            Slip(signature_of_any_member, "one member only", r"one member|all members|smallest"),
            Slip(signature_from_zero, "starts at 0", r"start|begin|\bsign\b|positive"),
        ],
    ),
    "bands_and_rows": Answers(
        right=[bands_by_max, bands_in_numpy, bands_from_one],
        wrong=[
            Slip(bands_with_fewest_rows, "fewest rows", r"most rows|fewest rows|more rows"),
            Slip(bands_swapped, "(rows, bands)", r"swap|order|\(bands, rows\)|exchange|other way"),
            Slip(bands_with_a_rest, "hashes left over", r"divi|all hashes|times|left over|unused"),
            Slip(bands_with_powers_swapped, "powers exchanged", r"swap|exchange|power|exponent"),
            Slip(
                bands_of_one_band,
                "one band must agree",
                r"one (certain )?band|single band|any (of the )?band|at least",
            ),
            Slip(
                bands_of_two_or_more, "never one band", r"one band|1 band|all in one|n_hashes rows"
            ),
            Slip(bands_of_two_rows_or_more, "never one row", r"one row|1 row|rows = 1|rows of 1"),
            Slip(bands_above_catch, "more than catch", r"at least|exactly|equal|>="),
            Slip(bands_nearest, "nearest to catch", r"nearest|closest|at least|below|too few|only"),
            Slip(
                bands_that_miss,
                "the chance of a miss",
                r"\bmiss|1 minus|no band|complement",
                never=r"places|swap",
            ),
            Slip(bands_by_adding, "adds chances", r"add|sum|times|formula|at least"),
            Slip(bands_of_the_lesson, "112 hashes always", r"112 hashes|all hashes|ignore"),
        ],
    ),
    "in_test": Answers(
        right=[in_test_by_md5, in_test_by_seed, in_test_by_blake, in_test_by_loop],
        wrong=[
            Slip(in_test_by_python, "Python's hash", r"hash"),
            Slip(in_test_by_dice, "random", r"random|again|same|changes"),
            Slip(in_test_or_equal, "<= at a share of 0", r"share of 0|, 0(\.0)?\)|no test|<="),
            Slip(
                in_test_by_the_largest,
                "the largest hash, share 1",
                r"everything|, 1(\.0)?\)|largest",
            ),
            Slip(in_test_turned_round, "the other side", r"opposite|other|1 ?-|turn|swap|train"),
            Slip(InTestByTurn(), "by turns", r"before|order|again|same|asked|remember|state"),
            Slip(in_test_by_length, "by length", r"evenly|length|spread"),
            Slip(in_test_by_fixed_seed, "one seed for all", r"depend|every|same|seed|so none"),
            Slip(in_test_in_hundredths, "whole hundredths", r"hundred|percent|round|small"),
            Slip(in_test_by_every, "every k-th", r"so all|every|round"),
            Slip(
                InTestRemembered(),
                "remembers the old share",
                r"before|asked|remember|other share",
                never=r"`share` used at all",
            ),
            Slip(in_test_by_31_bits, "half of the range", r"half|twice|2\*\*32|double|divided"),
            Slip(in_test_always_a_tenth, "always a tenth", r"`share`|always|ignore"),
        ],
    ),
    "contaminated": Answers(
        right=[
            contaminated_by_tables,
            contaminated_by_strings,
            ContaminatedByLoops(),
            contaminated_list,
        ],
        wrong=[
            Slip(contaminated_with_capitals, "capitals matter", r"capital|lower|upper"),
            Slip(
                contaminated_in_small_letters,
                "items in small letters",
                r"given|lower|small letters",
            ),
            Slip(
                contaminated_by_whole_items,
                "the whole item inside a text",
                r"run|part of (it|the item)|whole item|inside|letters",
            ),
            Slip(contaminated_without_short, "short items never", r"fewer|short"),
            Slip(
                contaminated_across_texts,
                "across texts",
                r"within one|across|join|border|two texts",
            ),
            Slip(contaminated_inside_words, "inside words", r"inside|part of|whole words|letters"),
            Slip(
                contaminated_by_all_runs,
                "all runs needed",
                r"one (shared )?run|any|all runs|enough",
            ),
            Slip(
                contaminated_without_the_last,
                "misses the last run",
                r"last|end of|\+ ?1 runs",
                never=r"n \+ 1 words in a row",
            ),
            Slip(contaminated_by_short_texts, "short texts match", r"short|fewer|whole"),
            Slip(contaminated_in_any_order, "any order", r"order|neighbour|scattered|row"),
            Slip(
                contaminated_by_one_word,
                "short items by a word",
                r"whole|single word|one word|fewer",
            ),
            Slip(
                contaminated_by_the_first_text,
                "the first text only",
                r"first|every|all|each|second",
            ),
            Slip(contaminated_by_equal_texts, "short item as a text", r"within|inside|whole|fewer"),
        ],
    ),
}
