"""Small labelled tasks from the small web's world; what is tested holds words that no label names.

Of each list of words that a task turns on, one half is for the labelled sentences and the other for
the test. So whoever knows only what the labels say knows nothing of the test; which words are
alike must come from text without labels. In the tasks of two words (agreement, reaction) no
word says anything alone: each stands as often in a sentence that fits as in one that does not,
so the best weights of a sum over words are all zero.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from random import Random
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.experiments import family_texts as texts
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.draw import draw_distinct, draw_item
from course_lib.text.small_web.world import (
    ALL_AUTHORS,
    MOOD_REACTIONS,
    MOOD_WORDS,
    PERSON_NAMES,
    WORD_CLASSES,
    WORLD_PEOPLE,
)

TEST_SENTENCES = 400
OTHER_MOOD = {"good": "bad", "bad": "good"}
FEELING_FORMS = ("{N} was {f}, and {he} {r}.", "{N} felt {f} and {r}.")

LabelledText = tuple[str, int]  # a sentence and the number of its class


class LabelledRows(NamedTuple):
    """Sentences as rows, and a class for each, or for tokens of it (IGNORE_INDEX: not asked)."""

    ids: Int[Tensor, "N T"]
    labels: Int[Tensor, "N"] | Int[Tensor, "N T"]


class FewLabelTask(NamedTuple):
    """What may be learnt from, what is tested, and the names of the classes."""

    train: LabelledRows
    test: LabelledRows
    classes: tuple[str, ...]


class HalfOfWords(NamedTuple):
    """One half of the names, by pronoun, of the moods and of the reactions, by side."""

    names: dict[str, list[str]]
    moods: dict[str, list[str]]
    reactions: dict[str, list[str]]


def two_halves(rng: Random, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Shuffle words and cut them in the middle."""
    drawn = draw_distinct(rng, words, len(words))
    return drawn[: len(words) // 2], drawn[len(words) // 2 :]


def cut_words(rng: Random) -> tuple[HalfOfWords, HalfOfWords]:
    """Cut names, moods and reactions in two: what labels may hold, and what is tested."""
    names = {"he": [], "she": []}
    for person in WORLD_PEOPLE.values():
        names[person.pronoun].append(person.name)
    cut = [
        {side: two_halves(rng, words) for side, words in table.items()}
        for table in (names, MOOD_WORDS, MOOD_REACTIONS)
    ]
    one, other = (
        HalfOfWords(*({side: halves[i] for side, halves in table.items()} for table in cut))
        for i in (0, 1)
    )
    return one, other


# Sentences: a few at a time, as many of each class
# --------------------------------------------------------------------------------------------------


def loud(rng: Random, word: str) -> str:
    """Say a mood as one of the authors does: "very happy"."""
    return f"{draw_item(rng, ALL_AUTHORS).intensifier} {word}"


def mood_sentences(rng: Random, half: HalfOfWords) -> list[LabelledText]:
    """Tell of a bad mood and of a good one, as tales do: "Ben was very glad, and he sang."."""
    found = []
    for label, mood in enumerate(("bad", "good")):
        name, felt = draw_item(rng, PERSON_NAMES), draw_item(rng, half.moods[mood])
        said = loud(rng, felt)
        if rng.random() < 0.3:
            said = f"not {draw_item(rng, half.moods[OTHER_MOOD[mood]])} but {felt}"
        reaction = draw_item(rng, half.reactions[mood])
        form, he = draw_item(rng, FEELING_FORMS), WORLD_PEOPLE[name].pronoun
        found.append((form.format(N=name, f=said, he=he, r=reaction), label))
    return found


def negation_sentences(rng: Random, half: HalfOfWords, plain: float = 0.0) -> list[LabelledText]:
    """Say "Ben felt not happy but sad." and the like; a share of `plain` says "very sad"."""
    found = []
    for label, mood in enumerate(("bad", "good")):
        felt, other = (draw_item(rng, half.moods[side]) for side in (mood, OTHER_MOOD[mood]))
        said = loud(rng, felt) if rng.random() < plain else f"not {other} but {felt}"
        found.append(
            (f"{draw_item(rng, PERSON_NAMES)} {draw_item(rng, ('was', 'felt'))} {said}.", label)
        )
    return found


def agreement_sentences(rng: Random, half: HalfOfWords) -> list[LabelledText]:
    """Speak of two names as "he" and as "she": "Ruby was very sad, and he wept." does not fit."""
    mood = draw_item(rng, tuple(MOOD_WORDS))
    felt, did = loud(rng, draw_item(rng, MOOD_WORDS[mood])), draw_item(rng, MOOD_REACTIONS[mood])
    names = {draw_item(rng, half.names[pronoun]): pronoun for pronoun in ("he", "she")}
    return [
        (f"{name} was {felt}, and {said} {did}.", int(said == pronoun))
        for name, pronoun in names.items()
        for said in ("he", "she")
    ]


def reaction_sentences(rng: Random, half: HalfOfWords) -> list[LabelledText]:
    """Join both moods with both reactions: "Ben was very glad, and he wept." does not fit."""
    name, author = draw_item(rng, PERSON_NAMES), draw_item(rng, ALL_AUTHORS)
    felt = {mood: draw_item(rng, words) for mood, words in half.moods.items()}
    did = {mood: draw_item(rng, words) for mood, words in half.reactions.items()}
    start, he = f"{name} was {author.intensifier}", WORLD_PEOPLE[name].pronoun
    return [
        (f"{start} {felt[mood]}, and {he} {did[react]}.", int(mood == react))
        for mood in felt
        for react in did
    ]


# Tasks
# --------------------------------------------------------------------------------------------------


def labelled_texts(
    draw_sentences: Callable[[Random, HalfOfWords], list[LabelledText]],
    rng: Random,
    half: HalfOfWords,
    n: int,
) -> LabelledRows:
    """Draw `n` labelled sentences, as rows; each begins with a space, as inside a page."""
    found: list[LabelledText] = []
    while len(found) < n:
        found += draw_sentences(rng, half)
    rows = texts.text_rows(f" {text}" for text, _ in found[:n])
    return LabelledRows(rows, torch.tensor([label for _, label in found[:n]]))


def sentence_task(
    classes: tuple[str, str],
    to_learn: Callable[[Random, HalfOfWords], list[LabelledText]],
    to_test: Callable[[Random, HalfOfWords], list[LabelledText]],
    n_labels: int,
    draw: int,
) -> FewLabelTask:
    """Draw labelled sentences with words of one half, and sentences to test with the other's."""
    rng = Random(1000 + draw)
    one, other = cut_words(rng)
    train = labelled_texts(to_learn, rng, one, n_labels)
    return FewLabelTask(train, labelled_texts(to_test, rng, other, TEST_SENTENCES), classes)


@cache
def tale_sentences() -> list[tuple[int, ...]]:
    """Give the different sentences of the held-out tales, as tokens."""
    tales = [page.text for page in texts.held_out_family_pages() if page.labels["source"] == "tale"]
    found = {tuple(sentence) for text in tales for sentence in texts.page_sentences(text)}
    return sorted(sentence for sentence in found if len(sentence) <= texts.FAMILY_LENGTH - 2)


def classes_of_tokens(words: Sequence[str]) -> dict[int, int]:
    """Give the class of each token that is one of the words, however it is written."""
    classes = {word: label for label, group in enumerate(WORD_CLASSES.values()) for word in group}
    forms = [(form, classes[word]) for word in words for form in (word, word.capitalize())]
    tokens = [(texts.encode_family(f" {form}"), label) for form, label in forms]
    tokens += [(texts.encode_family(form), label) for form, label in forms]
    return {ids[0]: label for ids, label in tokens if len(ids) == 1}


def role_task(n_labels: int, draw: int) -> FewLabelTask:
    """Tell what a word names: a person, a place, a thing, ... (`WORD_CLASSES`).

    In the `n_labels` labelled sentences of tales stand words of one half only, each labelled; in
    those of the test words of the other half are asked for.
    """
    rng = Random(3000 + draw)
    halves = [two_halves(rng, words) for words in WORD_CLASSES.values()]
    known, unknown = (classes_of_tokens([w for half in halves for w in half[i]]) for i in (0, 1))
    sentences = draw_distinct(rng, tale_sentences(), len(tale_sentences()))
    train = [s for s in sentences if known.keys() & set(s) and not unknown.keys() & set(s)]
    test = [s for s in sentences if unknown.keys() & set(s)]
    if len(train) < n_labels or len(test) < TEST_SENTENCES:
        raise ValueError(f"{len(train)} sentences to label and {len(test)} to test are too few")
    rows = labelled_tokens(train[:n_labels], known), labelled_tokens(test[:TEST_SENTENCES], unknown)
    return FewLabelTask(*rows, tuple(WORD_CLASSES))


def labelled_tokens(sentences: Sequence[Sequence[int]], classes: dict[int, int]) -> LabelledRows:
    """Label the tokens that have a class, and ask for no others."""
    table = torch.full((texts.FAMILY_VOCABULARY,), IGNORE_INDEX)
    for token, label in classes.items():
        table[token] = label
    ids = texts.passage_rows(sentences)
    return LabelledRows(ids, table[ids])


FITS = ("does not fit", "fits")
SENTENCE_TASKS = {
    "mood": (("bad", "good"), mood_sentences, mood_sentences),
    "negation": (("bad", "good"), partial(negation_sentences, plain=0.5), negation_sentences),
    "agreement": (FITS, agreement_sentences, agreement_sentences),
    "reaction": (FITS, reaction_sentences, reaction_sentences),
}
FEW_LABEL_TASKS = ("role", *SENTENCE_TASKS)


def few_label_task(name: str, n_labels: int, draw: int) -> FewLabelTask:
    """Draw a task by its name: so many labelled sentences, and `TEST_SENTENCES` to be tested.

    The draw decides which words are held out, too.
    """
    if name not in FEW_LABEL_TASKS:
        raise ValueError(f"no task {name!r}; there are {', '.join(FEW_LABEL_TASKS)}")
    if name == "role":
        return role_task(n_labels, draw)
    return sentence_task(*SENTENCE_TASKS[name], n_labels, draw)
