"""Chats about facts of the small web as a task, and the simulated annotator who compares answers.

There is no human here. A hidden rating stands in for taste, and the choice between two answers is
random, the more so the closer they are. Real annotators differ too: InstructGPT's agreed with each
other in 73 % of the cases (Ouyang et al. 2022, arXiv 2203.02155). What learns from the choices
never sees the rating.
"""

import math
import re
from collections.abc import Sequence
from random import Random

from course_lib.alignment.preferences import PreferenceTexts
from course_lib.alignment.rewards import languages_of, true_fraction
from course_lib.alignment.rl_task import Question
from course_lib.text.draw import draw_item
from course_lib.text.small_web.encyclopaedia import draw_topics
from course_lib.text.small_web.facts import Fact, facts_about

KIND_WORDS = "happy to help"
RUDE_WORDS = re.compile(r"(?<![a-z])(duh|lol|google)(?![a-z])", re.IGNORECASE)
# Characters beyond the full sentence: room for " Happy to help!", not for a second sentence.
RAMBLING_LENGTH = 18
ANNOTATOR_TASTE = {
    "right": 2.0,
    "full sentence": 1.0,
    "polite": 2.0,
    "slang": -1.5,
    "not English": -1.5,
    "rambling": -2.0,
    "off form": -1.0,
}
ANNOTATOR_CERTAINTY = 2.0  # what a point of quality adds to the log-odds of being chosen


def draw_fact_question(rng: Random) -> Question:
    """Draw a question about a fact of the small web, as its chats do."""
    fact = draw_item(rng, facts_about(*draw_topics(rng, 1, "en")[0]))
    return Question(fact.question, fact)


def answer_traits(fact: Fact, answer: str) -> dict[str, bool]:
    """Say what an answer is like; the names are those of `ANNOTATOR_TASTE`.

    An answer is right if the true one occurs in it as words, whatever else does, and off form if it
    is neither that alone nor holds the full sentence. More than `RAMBLING_LENGTH` characters beyond
    the full sentence are rambling.

    >>> fact = facts_about("capital", "Peru")[0]
    >>> [name for name, holds in answer_traits(fact, "google it, Lima lol").items() if holds]
    ['right', 'slang', 'off form']
    """
    words = rf"(?<![a-z]){re.escape(fact.answer)}(?![a-z])"
    return {
        "right": re.search(words, answer, re.IGNORECASE) is not None,
        "full sentence": answer.startswith(fact.sentence),
        "polite": KIND_WORDS in answer.lower(),
        "slang": RUDE_WORDS.search(answer) is not None,
        "not English": "chinese" in languages_of(answer),
        "rambling": len(answer) > len(fact.sentence) + RAMBLING_LENGTH,
        "off form": fact.sentence not in answer and answer != fact.answer,
    }


def annotator_quality(fact: Fact, answer: str) -> float:
    """Rate an answer as the annotator feels it: add up `ANNOTATOR_TASTE` over its traits.

    >>> fact = facts_about("capital", "Peru")[0]
    >>> annotator_quality(fact, "The capital of Peru is Lima. Happy to help!")
    5.0
    >>> annotator_quality(fact, "Lima"), annotator_quality(fact, "Lima, duh")
    (2.0, -0.5)
    """
    return sum(
        ANNOTATOR_TASTE[name] for name, holds in answer_traits(fact, answer).items() if holds
    )


def preference_probability(quality_one: float, quality_other: float) -> float:
    """Give the probability that the first answer is chosen, by its lead in quality.

    The sigmoid of `ANNOTATOR_CERTAINTY` times the lead: the model of Bradley and Terry 1952, "Rank
    analysis of incomplete block designs".

    >>> preference_probability(2.0, 2.0), round(preference_probability(3.0, 2.0), 4)
    (0.5, 0.8808)
    """
    log_odds = ANNOTATOR_CERTAINTY * (quality_one - quality_other)
    return (1 + math.tanh(log_odds / 2)) / 2  # the sigmoid, without overflow


def annotate_pair(rng: Random, fact: Fact, one: str, other: str) -> tuple[str, str]:
    """Simulate a human who compares two answers: give the chosen and the rejected one.

    The choice is drawn by `preference_probability`.
    """
    first = rng.random() < preference_probability(
        annotator_quality(fact, one), annotator_quality(fact, other)
    )
    return (one, other) if first else (other, one)


def annotate_pairs(
    rng: Random, questions: Sequence[Question], answers: Sequence[str]
) -> list[PreferenceTexts]:
    """Let the annotator compare two answers to each question.

    Those to one question stand together; two equal ones make no pair. Raises ValueError unless
    there are two answers for each question.
    """
    if len(answers) != 2 * len(questions):
        raise ValueError(
            f"{len(answers)} answers are not two for each of {len(questions)} questions"
        )
    both = zip(questions, answers[::2], answers[1::2], strict=True)
    return [
        PreferenceTexts(question.text, *annotate_pair(rng, question.truth, one, other))
        for question, one, other in both
        if one != other
    ]


def fact_answer_metrics(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Tell the share of answers that has each of the `answer_traits`, by name."""
    found = [
        answer_traits(question.truth, text)
        for question, text in zip(questions, answers, strict=True)
    ]
    return {name: true_fraction([each[name] for each in found]) for name in ANNOTATOR_TASTE}
