"""Solutions of lesson 02; the notebook quotes them."""

from zlib import crc32


def similarity_solution(a, b, n):
    def runs(text):
        words = text.split()
        return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}

    return len(runs(a) & runs(b)) / len(runs(a) | runs(b))


def signature_solution(members, hash_functions):
    return [min(h(x) for x in members) for h in hash_functions]


def bands_and_rows_solution(n_hashes, level, catch):
    for rows in range(n_hashes, 0, -1):
        bands = n_hashes // rows
        if n_hashes % rows == 0 and 1 - (1 - level**rows) ** bands >= catch:
            return bands, rows


def in_test_solution(url, share):
    return crc32(url.encode()) / 2**32 < share


def contaminated_solution(train, items, n):
    def runs(text, k):
        words = text.lower().split()
        return {tuple(words[i : i + k]) for i in range(len(words) - k + 1)}

    def found(item):
        k = min(n, len(item.split()))
        return any(runs(item, k) & runs(text, k) for text in train)

    return {item for item in items if found(item)}
