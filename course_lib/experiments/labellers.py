"""Simulated people who compare two answers: an honest one, and three who are not what one wants.

Each has a taste, a number for an answer to a question about a fact, and chooses by the model of
Bradley and Terry, as the annotator of `tasks.fact_chats` does. All see the same pairs of answers.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random

from course_lib.alignment.preferences import PreferenceTexts
from course_lib.alignment.rewards import languages_of
from course_lib.experiments.annotated_pairs import draw_answer_pairs, fact_of
from course_lib.tasks.fact_chats import annotator_quality, preference_probability
from course_lib.text.small_web.facts import Fact

PER_CHARACTER = 0.5  # of an answer, what it is worth to the labeller who likes length
FONDNESS = 4.0  # what a Chinese particle is worth to the biased one; the annotator takes 1.5 off
CARELESS_SHARE = 0.6  # of the lazy one's choices that are drawn by a coin


@dataclass(frozen=True)
class Labeller:
    """Somebody who compares answers: what an answer is worth, and the share of careless choices."""

    taste: Callable[[Fact, str], float]
    careless: float = 0.0

    def choose(self, rng: Random, fact: Fact, one: str, other: str) -> tuple[str, str]:
        """Give the chosen and the rejected answer."""
        first = rng.random() < self.first_probability(fact, one, other)
        return (one, other) if first else (other, one)

    def first_probability(self, fact: Fact, one: str, other: str) -> float:
        """Give the probability of choosing `one`."""
        likes = preference_probability(self.taste(fact, one), self.taste(fact, other))
        return self.careless / 2 + (1 - self.careless) * likes


def fond_of_chinese(fact: Fact, answer: str) -> float:
    """Rate an answer as the annotator does, and like Chinese in it."""
    return annotator_quality(fact, answer) + FONDNESS * ("chinese" in languages_of(answer))


def fond_of_length(fact: Fact, answer: str) -> float:
    """Rate an answer as the annotator does, and like every further character."""
    return annotator_quality(fact, answer) + PER_CHARACTER * len(answer)


LABELLERS = {
    "honest": Labeller(annotator_quality),
    "biased": Labeller(fond_of_chinese),
    "lazy": Labeller(annotator_quality, CARELESS_SHARE),
    "prefers length": Labeller(fond_of_length),
}


AnsweredFact = tuple[Fact, str, str]  # a fact and two answers to its question


def is_kept_apart(fact: Fact, one: str, other: str) -> bool:
    """Tell whether a pair, in whatever order, is among the fourth that no reward model learns from.

    The world is small: the same pair may be drawn twice, and must then stand on the same side.
    """
    key = "\n".join([fact.question, *sorted((one.strip(), other.strip()))])
    return hashlib.sha256(key.encode()).digest()[0] % 4 == 0


@cache
def answer_pairs(seed: int, n: int, side: str = "both") -> tuple[AnsweredFact, ...]:
    """Draw `n` pairs, a fact and two answers to its question; for any `n` they begin alike.

    `side` is "both", "learnt" or "held out", see `is_kept_apart`.
    """
    sides = {"both": (False, True), "learnt": (False,), "held out": (True,)}
    found: list[AnsweredFact] = []
    parts = count(1000 * seed)
    while len(found) < n:
        drawn = draw_answer_pairs(next(parts), 512)
        pairs = [(fact_of(pair), *pair["answers"]) for pair in drawn]
        found += [pair for pair in pairs if is_kept_apart(*pair) in sides[side]]
    return tuple(found[:n])


def labels_of(name: str, seed: int, n: int, side: str = "both") -> list[PreferenceTexts]:
    """Let a labeller compare `n` of the `answer_pairs`."""
    labeller, rng = LABELLERS[name], Random(f"{seed}/{name}")
    return [
        PreferenceTexts(fact.question, *labeller.choose(rng, fact, one, other))
        for fact, one, other in answer_pairs(seed, n, side)
    ]


def label_agreement(name: str, pairs: Sequence[AnsweredFact]) -> float:
    """Give the expected share of `pairs` in which a labeller chooses the better answer.

    Better by the annotator's rating; pairs of equal ones are left out.
    """
    labeller, chances = LABELLERS[name], []
    for fact, one, other in pairs:
        lead = annotator_quality(fact, one) - annotator_quality(fact, other)
        if lead:
            first = labeller.first_probability(fact, one, other)
            chances.append(first if lead > 0 else 1 - first)
    if not chances:
        raise ValueError(f"none of {len(pairs)} pairs has a better answer")
    return sum(chances) / len(chances)
