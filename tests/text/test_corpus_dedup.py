"""Duplicates: MinHash and LSH against exact Jaccard and the binomial formulas."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.text import corpus
from course_lib.text.corpus import Document, dedup

VOCABULARY = [f"w{i}" for i in range(1000)]
SETS = st.sets(st.sampled_from(VOCABULARY[:30]), min_size=1, max_size=20)


def sets_with(similarity: float, size: int, seed: int) -> tuple[set, set]:
    """Two sets of `size` members whose Jaccard similarity is exactly `similarity` (up to whole
    members)."""
    shared = round(2 * size * similarity / (1 + similarity))
    members = random.Random(seed).sample(range(10**9), 2 * size - shared)
    return {f"m{i}" for i in members[:size]}, {f"m{i}" for i in members[size - shared :]}


@given(SETS, SETS)
def test_jaccard_is_a_similarity(a, b):
    assert corpus.jaccard(a, b) == corpus.jaccard(b, a)
    assert 0 <= corpus.jaccard(a, b) <= 1
    assert (corpus.jaccard(a, b) == 1) == (a == b)


def test_jaccard_by_hand():
    a, b = corpus.shingles("the cat sat on the mat", 2), corpus.shingles("the cat sat on a mat", 2)
    assert corpus.jaccard(a, b) == 3 / 7  # shared: the cat, cat sat, sat on
    assert corpus.jaccard(set(), set()) == 1 and corpus.jaccard(set(), {1}) == 0


def test_shingles_of_short_and_chinese_texts():
    assert corpus.shingles("", 3) == set()
    assert corpus.shingles("two words", 3) == {"two words"}
    assert corpus.shingles("小红有鱼", 3) == {"小 红 有", "红 有 鱼"}
    with pytest.raises(ValueError, match="n = 0"):
        corpus.shingles("a b c", 0)


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
def test_minhash_estimates_jaccard_without_bias(similarity):
    n_pairs, n_hashes = 40, 256
    errors = []
    for seed in range(n_pairs):
        a, b = sets_with(similarity, 60, seed)
        estimate = (corpus.minhash(a, n_hashes, seed) == corpus.minhash(b, n_hashes, seed)).mean()
        errors.append(estimate - corpus.jaccard(a, b))
    expected_spread = np.sqrt(similarity * (1 - similarity) / n_hashes)
    assert abs(np.mean(errors)) < 4 * expected_spread / np.sqrt(n_pairs)
    assert 0.7 < np.std(errors) / expected_spread < 1.4


@given(SETS, SETS, st.integers(0, 5))
def test_minhash_of_a_union_is_the_smaller_of_both(a, b, seed):
    both = np.minimum(corpus.minhash(a, 16, seed), corpus.minhash(b, 16, seed))
    assert (corpus.minhash(a | b, 16, seed) == both).all()


def test_minhash_is_the_same_on_every_machine():
    assert corpus.minhash({"a", "b"}, 3, seed=1).tolist() == [
        int(x) for x in slow_minhash({"a", "b"}, 3, seed=1)
    ]
    with pytest.raises(ValueError, match="empty set"):
        corpus.minhash(set())


def slow_minhash(grams, n_hashes, seed):
    """The same in Python's whole numbers, one hash function and one member at a time."""
    from zlib import crc32

    a, b = (x[:, 0].tolist() for x in dedup.hash_functions(n_hashes, seed))
    return [
        min((a[k] * crc32(g.encode()) + b[k]) % 2**64 >> 32 for g in grams) for k in range(n_hashes)
    ]


@pytest.mark.parametrize(("similarity", "bands", "rows"), [(0.5, 8, 4), (0.7, 14, 8), (0.8, 20, 5)])
def test_lsh_finds_pairs_as_often_as_the_s_curve_says(similarity, bands, rows):
    n_pairs, found = 300, 0
    for seed in range(n_pairs):
        a, b = sets_with(similarity, 60, seed)
        signatures = np.stack([corpus.minhash(s, bands * rows, seed) for s in (a, b)])
        found += corpus.lsh_candidates(signatures, bands, rows) == {(0, 1)}
    expected = corpus.candidate_probability(corpus.jaccard(a, b), bands, rows)
    assert abs(found / n_pairs - expected) < 4 * np.sqrt(expected * (1 - expected) / n_pairs) + 0.01


def test_s_curve_as_fineweb_states_it():
    shares = [corpus.candidate_probability(s, 14, 8) for s in (0.7, 0.75, 0.8, 0.85)]
    assert np.allclose(shares, [0.56, 0.77, 0.92, 0.988], atol=0.006)


def test_lsh_needs_enough_hashes():
    with pytest.raises(ValueError, match="3 bands x 4 rows need 12 hashes, the signatures have 10"):
        corpus.lsh_candidates(np.zeros((2, 10), dtype=np.uint32), 3, 4)
    with pytest.raises(ValueError, match="bands = 0"):
        corpus.candidate_probability(0.5, 0, 4)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"bands": 0}, "bands = 0, rows = 4"),
        ({"rows": 0}, "bands = 28, rows = 0"),
        ({"bands": -2}, "bands = -2"),
        ({"n": 0}, "n = 0"),
        ({"threshold": 0}, "got 0"),
        ({"threshold": float("nan")}, "got nan"),
    ],
)
@pytest.mark.parametrize("texts", [[], ["one two three"] * 2])
def test_a_search_that_could_find_nothing_is_refused(texts, numbers, message):
    documents = [Document(f"u{i}", text) for i, text in enumerate(texts)]
    with pytest.raises(ValueError, match=message):
        corpus.near_duplicates(documents, **numbers)
    if numbers.keys() <= {"bands", "rows"}:
        with pytest.raises(ValueError, match=message):
            corpus.lsh_candidates(
                np.zeros((2, 112), dtype=np.uint32), **{"bands": 28, "rows": 4} | numbers
            )


def test_a_signature_without_hashes_is_refused():
    with pytest.raises(ValueError, match="n_hashes = 0"):
        corpus.minhash({"a"}, 0)


def test_exact_duplicates_ignore_spaces_capitals_and_punctuation():
    documents = [
        Document("a", "One  two."),
        Document("b", "one, two"),
        Document("c", "two one"),
        Document("d", "ONE TWO"),
    ]
    assert corpus.exact_duplicates(documents) == {"b": "a", "d": "a"}
    with pytest.raises(ValueError, match="URL 'a'"):
        corpus.exact_duplicates([Document("a", "x"), Document("a", "y")])


def random_documents(n: int, seed: int = 0) -> list[Document]:
    rng = random.Random(seed)
    return [Document(f"u{i}", " ".join(rng.choices(VOCABULARY, k=120))) for i in range(n)]


def edited(document: Document, url: str, n_edits: int, seed: int) -> Document:
    rng, ws = random.Random(seed), document.text.split()
    for place in rng.sample(range(len(ws)), n_edits):
        ws[place] = "changed"
    return Document(url, " ".join(ws))


def test_similar_pairs_are_those_of_the_exhaustive_search():
    documents = random_documents(40)
    documents += [edited(documents[i], f"copy{i}", n_edits=i % 8, seed=i) for i in range(30)]
    exact = {}
    for i, first in enumerate(documents):
        for second in documents[i + 1 :]:
            similarity = corpus.jaccard(corpus.shingles(first.text), corpus.shingles(second.text))
            if similarity >= 0.7:
                exact[first.url, second.url] = similarity
    assert len(exact) >= 15
    assert corpus.similar_pairs(documents, 0.7) == exact


def test_near_duplicates_join_chains_and_keep_the_first():
    (original,) = random_documents(1)
    second = edited(original, "v2", 3, seed=1)
    third = edited(second, "v3", 3, seed=2)
    documents = [
        original,
        Document("empty", "..."),
        second,
        third,
        *random_documents(3, seed=9)[1:],
    ]
    assert corpus.near_duplicates(documents) == {"v2": "u0", "v3": "u0"}
    assert corpus.near_duplicates([]) == {}
    with pytest.raises(ValueError, match="got 1.5"):
        corpus.near_duplicates(documents, threshold=1.5)


@given(st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda p: p[0] < p[1])))
def test_clusters_agree_with_reachability(pairs):
    reach = {i: {i} for i in range(13)}
    for _ in range(13):
        for i, j in pairs:
            reach[i] = reach[j] = reach[i] | reach[j]
    expected = {i: min(group) for i, group in reach.items() if min(group) != i}
    assert corpus.duplicate_clusters(sorted(pairs)) == expected
