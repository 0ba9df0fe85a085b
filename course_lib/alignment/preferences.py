"""Which of two answers somebody likes better: a simulated annotator of chats, and what its judgements rest on.

There is no human here. A hidden rating stands in for taste, and the choice between two answers is random, the more so
the closer they are. Real annotators differ too: InstructGPT's agreed with each other in 73 % of the cases (Ouyang et
al. 2022, arXiv 2203.02155). What learns from the choices never sees the rating.
"""

import math
import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from course_lib.alignment.practice import Question, prompt
from course_lib.alignment.rewards import languages, share
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT
from course_lib.text.draw import pick
from course_lib.text.small_web.encyclopaedia import topics
from course_lib.text.small_web.facts import Fact, facts

KIND_WORDS = "happy to help"
RUDE_WORDS = re.compile(r"(?<![a-z])(duh|lol|google)(?![a-z])", re.IGNORECASE)
LONG_ENOUGH = 18        # characters beyond the full sentence: room for " Happy to help!", not for a second sentence
TASTE = {
    "right": 2.0, "full sentence": 1.0, "polite": 2.0, "slang": -1.5, "not English": -1.5, "rambling": -2.0,
    "off form": -1.0,
}  # fmt: skip
CERTAINTY = 2.0         # what a point of quality adds to the log-odds of being chosen


class Preference(NamedTuple):
    """A prompt, the answer that was chosen, and the one that was not: texts, or tokens once they are encoded."""

    prompt: str | list[int]
    chosen: str | list[int]
    rejected: str | list[int]


def draw_question(rng: Random) -> Question:
    """Draw a question about a fact of the small web, as its chats do."""
    fact = pick(rng, facts(*topics(rng, 1, "en")[0]))
    return Question(fact.question, fact)


def traits(fact: Fact, answer: str) -> dict[str, bool]:
    """Say what an answer is like; the names are those of `TASTE`.

    An answer is right if the true one occurs in it as words, whatever else does, and off form if it is neither that
    alone nor holds the full sentence. More than `LONG_ENOUGH` characters beyond the full sentence are rambling.

    >>> fact = facts("capital", "Peru")[0]
    >>> [name for name, holds in traits(fact, "google it, Lima lol").items() if holds]
    ['right', 'slang', 'off form']
    """
    words = rf"(?<![a-z]){re.escape(fact.answer)}(?![a-z])"
    return {
        "right": re.search(words, answer, re.IGNORECASE) is not None,
        "full sentence": answer.startswith(fact.sentence),
        "polite": KIND_WORDS in answer.lower(),
        "slang": RUDE_WORDS.search(answer) is not None,
        "not English": "chinese" in languages(answer),
        "rambling": len(answer) > len(fact.sentence) + LONG_ENOUGH,
        "off form": fact.sentence not in answer and answer != fact.answer,
    }


def quality(fact: Fact, answer: str) -> float:
    """Rate an answer as the annotator feels it, by adding up the `TASTE` for each of its traits.

    >>> fact = facts("capital", "Peru")[0]
    >>> quality(fact, "The capital of Peru is Lima. Happy to help!"), quality(fact, "Lima"), quality(fact, "Lima, duh")
    (5.0, 2.0, -0.5)
    """
    return sum(TASTE[name] for name, holds in traits(fact, answer).items() if holds)


def chance(quality_one: float, quality_other: float) -> float:
    """Give the chance that the first answer is chosen: the sigmoid of `CERTAINTY` times its lead in quality.

    The model of Bradley and Terry 1952, "Rank analysis of incomplete block designs".

    >>> chance(2.0, 2.0), round(chance(3.0, 2.0), 4)
    (0.5, 0.8808)
    """
    return (1 + math.tanh(CERTAINTY * (quality_one - quality_other) / 2)) / 2       # the sigmoid, without overflow


def choose(rng: Random, fact: Fact, one: str, other: str) -> tuple[str, str]:
    """Simulate a human who compares two answers: the chosen one and the rejected one, drawn by `chance`."""
    first = rng.random() < chance(quality(fact, one), quality(fact, other))
    return (one, other) if first else (other, one)


def pairs(rng: Random, questions: Sequence[Question], answers: Sequence[str]) -> list[Preference]:
    """Let the annotator compare two answers to each question, which stand together; two equal ones make no pair.

    Raises ValueError unless there are two answers for each question.
    """
    if len(answers) != 2 * len(questions):
        raise ValueError(f"{len(answers)} answers are not two for each of {len(questions)} questions")
    both = zip(questions, answers[::2], answers[1::2], strict=True)
    return [
        Preference(question.text, *choose(rng, question.truth, one, other))
        for question, one, other in both
        if one != other
    ]


def completion(tokenizer: Tokenizer, answer: str) -> list[int]:
    """Give the tokens of an answer as a model says it behind a `prompt`, the end token included."""
    return [*tokenizer.encode(answer, allowed_special="all"), tokenizer.special_tokens[END_OF_TEXT]]


def encode(tokenizer: Tokenizer, preferences: Sequence[Preference]) -> list[Preference]:
    """Turn preferences from texts into tokens: the prompt as a model is asked, each answer with its end token."""
    return [
        Preference(prompt(tokenizer, asked), completion(tokenizer, chosen), completion(tokenizer, rejected))
        for asked, chosen, rejected in preferences
    ]


def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Describe answers to questions about facts: the share that has each of the `traits`, by name."""
    found = [traits(question.truth, text) for question, text in zip(questions, answers, strict=True)]
    return {name: share([each[name] for each in found]) for name in TASTE}
