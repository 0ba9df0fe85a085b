"""The judge of sentences knows every sentence of the tales, and refuses what no author would
write."""

import pytest

from course_lib.text import small_web
from course_lib.text.small_web import sentences


def tales(megabytes: float, seed: int) -> list[str]:
    documents = small_web.draw_clean_documents(megabytes, seed, mixture="tales")
    return [document.text for document in documents if document.labels["language"] == "en"]


@pytest.mark.parametrize("seed", [0, 11])
def test_every_sentence_of_the_tales_is_possible(seed):
    told = [sentence for tale in tales(1.0, seed) for sentence in sentences.split_sentences(tale)]
    assert len(told) > 20_000
    assert [sentence for sentence in told if sentence not in sentences.english_sentences()] == []


def test_cutting_a_tale_loses_nothing_but_white_space():
    for tale in tales(0.05, 3):
        assert " ".join(sentences.split_sentences(tale)) == tale.replace("\n", " ")


@pytest.mark.parametrize(
    ("possible", "impossible"),
    [
        # who somebody is
        ("Mia, a mouse, was on the farm.", "Mia, a bear, was on the farm."),
        # the weather of a place
        ("It was very snowy in the castle.", "It was very sunny in the castle."),
        # where somebody lives
        ("Zoë lived in the café and loved fish.", "Zoë lived on the farm and loved fish."),
        ("Ben felt not sad but happy and sang.", "Ben felt not sad but angry and sang."),   # moods
        # pronouns
        ("She was very angry, and she cried.", "She was very angry, and he cried."),
        # two people
        ("Tom gave the kite to Lily.", "Tom gave the kite to Tom."),
        # capitals
        ("At noon he went to the beach.", "At noon He went to the beach."),
        # the time
        ("She went to the beach at noon.", "She met Tom at noon."),
        ("The end.", "The end"),
        ("It was pink.", "It was purple."),
        # articles
        ("Otto, an owl, was by the river.", "Otto, a owl, was by the river."),
    ],
)  # fmt: skip
def test_what_can_be_written_and_what_can_not(possible, impossible):
    assert possible in sentences.english_sentences()
    assert impossible not in sentences.english_sentences()


def test_most_of_the_language_is_written_sooner_or_later():
    """The set is no wider than what the authors draw from: unseen sentences are rare combinations,
    no other kinds."""
    seen = {
        sentence
        for seed in range(3)
        for tale in tales(3.0, seed)
        for sentence in sentences.split_sentences(tale)
    }
    every = sentences.english_sentences()
    assert seen < every
    kinds, seen_kinds = (
        {" ".join(sentence.split()[:2]) for sentence in told} for told in (every, seen)
    )
    assert len(kinds - seen_kinds) < 0.02 * len(kinds)
