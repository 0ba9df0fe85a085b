"""Pairs of texts: half are as they were, borders and segments, cuts."""

import pytest

from course_lib.text.text_pairs import (
    TextPair,
    cut_pair,
    next_sentence_pairs,
    pair_rows,
    sentence_order_pairs,
)

# document d has the tokens 100 d, 100 d + 1, ... two to a sentence
DOCUMENTS = [
    [[100 * d + 2 * s, 100 * d + 2 * s + 1] for s in range(2 + d % 4)] for d in range(1000)
]


def test_half_of_the_next_sentences_are_of_another_document():
    pairs = list(next_sentence_pairs(DOCUMENTS, seed=1))
    assert len(pairs) == 1000
    assert 450 < sum(pair.label for pair in pairs) < 550
    for d, (first, second, label) in enumerate(pairs):
        whole = sum(DOCUMENTS[d], [])
        if label:
            assert second[0] // 100 != d and first == whole[: len(first)]
        else:
            assert [*first, *second] == whole
        assert first and second
    others = {pair.second[0] // 100 for pair in pairs if pair.label}
    assert len(others) > 300  # drawn from all


def test_half_of_the_orders_are_swapped():
    pairs = list(sentence_order_pairs(DOCUMENTS, seed=2))
    assert 450 < sum(pair.label for pair in pairs) < 550
    for d, (first, second, label) in enumerate(pairs):
        assert ([*second, *first] if label else [*first, *second]) == sum(DOCUMENTS[d], [])


def test_cuts_are_at_every_border():
    document = [[[1], [2], [3], [4]]] * 300
    cuts = {len(pair.first) for pair in next_sentence_pairs(document, 3) if not pair.label}
    assert cuts == {1, 2, 3}


def test_documents_of_one_sentence_give_no_pair():
    assert list(sentence_order_pairs([[[1, 2]]])) == []
    assert len(list(next_sentence_pairs([[[1, 2]], [[3], [4]]]))) == 1


def test_rows_have_borders_segments_and_padding():
    rows = pair_rows([TextPair([5, 6], [7], 0), TextPair([8], [9, 9, 9], 1)], 8, 1, 2, 0)
    assert rows.ids.tolist() == [[1, 5, 6, 2, 7, 2, 0, 0], [1, 8, 2, 9, 9, 9, 2, 0]]
    assert rows.segments.tolist() == [[0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1, 1, 0]]
    assert rows.padding.int().tolist() == [[0] * 6 + [1] * 2, [0] * 7 + [1]]
    assert rows.labels.tolist() == [0, 1]


@pytest.mark.parametrize("n_first", [0, 1, 3, 6])
@pytest.mark.parametrize("n_second", [1, 3, 7])
@pytest.mark.parametrize("room", [2, 3, 6, 20])
def test_a_pair_loses_tokens_of_the_longer_text_one_by_one(n_first, n_second, room):
    first, second = list(range(n_first)), list(range(n_second))
    got = cut_pair(first, second, room)
    while len(first) + len(second) > room:  # BERT's loop
        (first if len(first) > len(second) else second).pop()
    assert sum(map(len, got)) == len(first) + len(second)
    assert abs(len(got[0]) - len(first)) <= 1 and got[0] == list(range(len(got[0])))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="length 4 has no room"):
        pair_rows([], 4, 1, 2, 0)
    with pytest.raises(ValueError, match="1 documents: a text of another"):
        next(next_sentence_pairs([[[1], [2]]]))
