"""Search: scores of words by their formula, ranks by hand, and what MiniLM finds in the plays."""

import math
from collections import Counter

import pytest
import torch

from course_lib import assets
from course_lib.inference.encode import load_minilm
from course_lib.tasks import play_search
from course_lib.text.plays import PlayPassage, play_passages


def passage(text, scene):
    return PlayPassage("Play", 1, scene, "Anna", text)


def test_bm25_is_its_formula():
    counts = [
        Counter("the cat sat".split()),
        Counter("the cat and the cat".split()),
        Counter(["dog"]),
    ]
    got = play_search.bm25_scores(["cat", "mouse", "dog"], counts)
    mean = 3.0
    cat, dog = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)

    def part(rarity, times, size):
        return rarity * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * size / mean))

    want = [part(cat, 1, 3), part(cat, 2, 5), part(dog, 1, 1)]
    torch.testing.assert_close(got, torch.tensor(want))
    assert got[0] < got[1] < got[2]


def test_ranks_are_those_of_the_best_passage_of_a_scene():
    some = [passage("a", 1), passage("b", 2), passage("c", 2), passage("d", 3)]
    found = play_search.FoundPassages(some, torch.tensor([0.9, 0.1, 0.5, 0.7]))
    assert [found.rank_of(f"Play 1.{scene}") for scene in (1, 2, 3)] == [1, 3, 2]
    assert [p.text for _, p in found.best(2)] == ["a", "d"]
    assert [round(score, 1) for score, _ in found.best(2)] == [0.9, 0.7]
    with pytest.raises(ValueError, match="no passage is of Play 2.1"):
        found.rank_of("Play 2.1")
    assert play_search.scene_ranks(lambda question: found, [("?", "Play 1.2")]) == [3]


@pytest.fixture(scope="module")
def search():
    """Some passages of each scene that is asked for, with the right one among them."""
    try:
        model, tokenizer = load_minilm()
        passages = play_passages(play_search.SEARCH_PLAYS)
    except assets.AssetError as error:
        pytest.skip(str(error))
    places = {place for _, place in play_search.SCENE_QUESTIONS}
    assert places <= {p.place for p in passages}
    return play_search.PlaySearch(passages[::12], model, tokenizer)


def test_the_nearest_passage_is_about_the_same(search):
    for chosen in search.passages[::20]:
        for find in (search.by_meaning, search.by_words):
            score, best = find(chosen.text).best(1)[0]
            assert best == chosen
    score, _ = search.by_meaning(search.passages[3].text).best(1)[0]
    assert score == pytest.approx(1.0, abs=1e-5)


def test_a_question_shares_no_word_and_finds_its_passage():
    try:
        model, tokenizer = load_minilm()
    except assets.AssetError as error:
        pytest.skip(str(error))
    texts = ["Wash your hands, put on your nightgown", "A horse! my kingdom for a horse!"]
    found = play_search.PlaySearch([passage(t, i) for i, t in enumerate(texts)], model, tokenizer)
    asked = "somebody has lost an animal in battle"
    assert found.by_words(asked).scores.count_nonzero() <= 1
    assert found.by_meaning(asked).best(1)[0][1].text == texts[1]
