"""Search as a task: puzzles that need many tries, and whether the thinking itself grows.

"make 14 from 20 9 3 6" is hard to guess and easy to check. People on the small web make at most
four tries before they answer; drill sheets, which answer nothing, check up to sixteen. A policy
that earns rewards for right answers alone should learn to go on until it finds one: the growth of
DeepSeek-R1-Zero's answers (arXiv 2501.12948, figure 3), on one core. `experiments.search` tries it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from course_lib.alignment.rewards import mean_or_zero, true_fraction, weighted_reward
from course_lib.alignment.rl_task import (
    EVALUATION_SEED,
    Question,
    RLTask,
    question_reward_parts,
    reward_each,
)
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import SearchProblem, draw_search, is_well_formed, verify_answer

# "20-9=11+3=14-6=8 not"
TRY_PATTERN = re.compile(r"(?<![0-9=+-])([0-9]+(?:[+-][0-9]+=[0-9]+)+)( yes| not)?")
MAX_CORPUS_TRIES = 4  # of an answer in the corpus
SEARCH_REWARDS = {"accuracy": 1.0, "format": 0.2}
SEARCH_CONTROL_REWARDS = {"any expression": 1.0, "format": 0.2}


# ----------------------------------------------------------------------------------------- the task


@dataclass(frozen=True, slots=True)
class SearchTry:
    """One try in an answer: the numbers it adds, signed, what it says they make, its verdict."""

    terms: tuple[int, ...]
    says: int
    verdict: str  # "yes", "not" or nothing

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(map(abs, self.terms))

    @property
    def is_right_sum(self) -> bool:
        return sum(self.terms) == self.says


def find_tries(text: str) -> list[SearchTry]:
    """Find the tries of an answer.

    >>> find_tries("<think>20-9=11+3=14-6=8 not 14, 20-9=12 yes</think><answer>20-9</answer>")[1]
    SearchTry(terms=(20, -9), says=12, verdict='yes')
    """
    found = []
    for steps, verdict in TRY_PATTERN.findall(text):
        terms = re.findall(r"[+-]?[0-9]+", re.sub(r"=[0-9]+", "", steps))
        found.append(
            SearchTry(tuple(map(int, terms)), int(steps.rpartition("=")[2]), verdict.strip())
        )
    return found


def draw_search_question(
    rng: Random, lengths: tuple[int, ...] = (3, 4, 5), held_out: bool = False
) -> Question:
    """Draw a search as a question."""
    search = draw_search(rng, lengths, held_out)
    return Question(search.question, search)


def search_metrics(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Describe answers to searches.

    "of worked" are means over those with a try, the rest over all answers or tries. "right after
    many" counts right answers with more tries than anybody on the small web makes.
    """
    searches = [question.truth for question in questions]
    right = [
        bool(verify_answer(search, text)) for search, text in zip(searches, answers, strict=True)
    ]
    found = [find_tries(text) for text in answers]
    worked = [(search, some) for search, some in zip(searches, found, strict=True) if some]
    many = [len(some) > MAX_CORPUS_TRIES for some in found]
    said_yes = [
        some[-1].says == search.target for search, some in worked if some[-1].verdict == "yes"
    ]
    return {
        "accuracy": true_fraction(right),
        "format": true_fraction([is_well_formed(text) for text in answers]),
        "worked": true_fraction([bool(some) for some in found]),
        "accuracy of worked": true_fraction(
            [r for r, some in zip(right, found, strict=True) if some]
        ),
        "tries of worked": mean_or_zero([len(some) for _, some in worked]),
        "most tries": float(max(map(len, found), default=0)),
        "many tries of worked": true_fraction([len(some) > MAX_CORPUS_TRIES for _, some in worked]),
        "right after many": true_fraction([r and m for r, m in zip(right, many, strict=True)]),
        "says yes at the end": len(said_yes) / max(1, len(worked)),
        "yes is true": true_fraction(said_yes),
    } | search_check_metrics(worked)


def search_check_metrics(
    worked: Sequence[tuple[SearchProblem, Sequence[SearchTry]]],
) -> dict[str, float]:
    """Tell how reliable tries are: copied numbers, right sums, verdicts, repeats.

    The verdicts are on what the tries say that they make.
    """
    both = [(search, one) for search, some in worked for one in some]
    repeated = [
        one.terms in [other.terms for other in some[:i]]
        for _, some in worked
        for i, one in enumerate(some)
    ]
    return {
        "numbers copied": true_fraction([one.numbers == search.numbers for search, one in both]),
        "sums right": true_fraction([one.is_right_sum for _, one in both]),
        "false yes": true_fraction(
            [one.verdict == "yes" for search, one in both if one.says != search.target]
        ),
        "missed yes": true_fraction(
            [one.verdict == "not" for search, one in both if one.says == search.target]
        ),
        "repeated": true_fraction(repeated),
    }


def search_answer_metrics(
    tokenizer: Tokenizer, questions: Sequence[Question], answers: Sequence[str]
) -> dict[str, float]:
    """Give all measures; the mean length of answers with a try is in tokens, the end included."""
    worked = [
        len(tokenizer.encode(text, allowed_special="all")) + 1
        for text in answers
        if find_tries(text)
    ]
    return search_metrics(questions, answers) | {"length of worked": mean_or_zero(worked)}


def search_task(tokenizer: Tokenizer, weights: Mapping[str, float] = SEARCH_REWARDS) -> RLTask:
    """Make the task of answering searches for a reward."""
    reward = weighted_reward(weights)
    return RLTask(
        draw_search_question,
        partial(reward_each, reward),
        partial(search_answer_metrics, tokenizer),
        partial(question_reward_parts, reward),
    )


# ----------------------------------------------------------------------------------- the evaluation


def held_out_searches(
    n: int, lengths: tuple[int, ...] = (3, 4, 5), seed: int = EVALUATION_SEED
) -> list[Question]:
    """Draw `n` questions that no training text and no practice contains."""
    rng = Random(seed)
    return [draw_search_question(rng, lengths, held_out=True) for _ in range(n)]


def group_by_numbers(
    questions: Sequence[Question], answers: Sequence[str]
) -> dict[str, tuple[list[Question], list[str]]]:
    """Sort questions and answers by how many numbers the question has."""
    groups: dict[str, tuple[list[Question], list[str]]] = {}
    for question, text in zip(questions, answers, strict=True):
        both = groups.setdefault(str(len(question.truth.numbers)), ([], []))
        both[0].append(question)
        both[1].append(text)
    return dict(sorted(groups.items()))
