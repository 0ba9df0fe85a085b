"""Rewards by rule: each has a name and a range, and reads a text without ever running it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import regex

from course_lib.check_numbers import is_number
from course_lib.text.problems import (
    EXPRESSION_PATTERN,
    RESPONSE_TAG,
    Problem,
    final_answer,
    is_well_formed,
    last_expression,
    verify_answer,
)

LANGUAGE_WORDS = {
    "english": regex.compile(r"\p{Latin}[\p{Latin}']*"),
    "chinese": regex.compile(r"\p{Han}|[，。；：]"),
}
# the end of a sum that somebody works out: "9-3=", also in "7+5-3="
WORKED_SUM = re.compile(r"[0-9][+-][0-9]+=")


@dataclass(frozen=True)
class RuleReward:
    """A rule that rates an answer to a problem, always between `low` and `high`.

    >>> from course_lib.text.problems import ChainProblem
    >>> chain = ChainProblem((7, 5, 3), (1, -1))
    >>> accuracy_reward(chain, "I think 9"), format_reward(chain, "I think 9")
    (1.0, 0.0)
    """

    name: str
    rate: Callable[[Problem, str], float]
    low: float = 0.0
    high: float = 1.0
    parts: tuple[tuple[float, "RuleReward"], ...] = ()  # weights and rewards, if it is their sum

    def __call__(self, problem: Problem, text: str) -> float:
        rating = float(self.rate(problem, text))
        if not self.low <= rating <= self.high:  # not so for NaN either
            raise ValueError(
                f"the reward {self.name} gave {rating}, outside {self.low} to {self.high}:"
                f" {text[:60]!r}"
            )
        return rating


def count_words_by_language(text: str) -> dict[str, int]:
    """Count the English and the Chinese words of a text.

    Tags are no words; a Chinese character or comma is one.

    >>> count_words_by_language("<think>first 7+5=12，再12-3=9</think>")
    {'english': 1, 'chinese': 2}
    """
    plain = RESPONSE_TAG.sub(" ", text)
    return {language: len(pattern.findall(plain)) for language, pattern in LANGUAGE_WORDS.items()}


def languages_of(text: str) -> frozenset[str]:
    """Name the languages of a text: "english", "chinese", both or none."""
    return frozenset(language for language, count in count_words_by_language(text).items() if count)


def is_mixed(text: str) -> bool:
    """Tell whether a text mixes English and Chinese."""
    return len(languages_of(text)) > 1


def english_share(text: str) -> float:
    """Give the share of a text's words that are English; 1 if it has no words.

    Of none, none is in another language.

    >>> english_share("first 7+5=12，再12-3=9")
    0.3333333333333333
    """
    count = count_words_by_language(text)
    return count["english"] / total if (total := sum(count.values())) else 1.0


def count_worked_sums(text: str) -> int:
    """Count the sums that a text works out; several signs before one "=" are one sum.

    >>> count_worked_sums("7+5=12, then 12-3=9, so 9"), count_worked_sums("7+5=12-3=9")
    (2, 2)
    >>> count_worked_sums("7+5-3=9"), count_worked_sums("I think 9")
    (1, 0)
    """
    return len(WORKED_SUM.findall(text))


accuracy_reward = RuleReward("accuracy", lambda problem, text: verify_answer(problem, text).right)
format_reward = RuleReward("format", lambda problem, text: is_well_formed(text))
# DeepSeek-R1 (arXiv 2501.12948), section 2.3.2: the share of words of the thoughts in the wanted
# language. Our problems have no words, so that is always English; and the whole text is read, since
# little stands outside the thoughts.
language_reward = RuleReward("language", lambda problem, text: english_share(text))

# Rewards that look right and fail, to be seen failing
strict_accuracy_reward = RuleReward(
    "accuracy, if formatted",
    lambda problem, text: is_well_formed(text) and verify_answer(problem, text).right,
)
any_expression_reward = RuleReward(
    "any expression",
    lambda problem, text: bool(
        EXPRESSION_PATTERN.fullmatch(final_answer(text, last_expression) or "")
    ),
)

RULE_REWARDS = {
    r.name: r
    for r in (
        accuracy_reward,
        format_reward,
        language_reward,
        strict_accuracy_reward,
        any_expression_reward,
    )
}


def weighted_reward(weights: Mapping[str, float]) -> RuleReward:
    """Add up named rewards: those of `{"accuracy": 1, "format": 0.5}` are between 0 and 1.5."""
    if unknown := set(weights) - set(RULE_REWARDS):
        raise ValueError(
            f"no reward {', '.join(sorted(unknown))}; there are {', '.join(RULE_REWARDS)}"
        )
    if not weights or not all(weight and is_number(weight, 0) for weight in weights.values()):
        raise ValueError(
            f"weights {dict(weights)}: at least one is needed, and each must be a number above 0"
        )
    parts = [(weight, RULE_REWARDS[name]) for name, weight in weights.items()]
    return RuleReward(
        " + ".join(f"{weight:g} {reward.name}" for weight, reward in parts),
        lambda problem, text: sum(weight * reward(problem, text) for weight, reward in parts),
        sum(weight * reward.low for weight, reward in parts),
        sum(weight * reward.high for weight, reward in parts),
        tuple(parts),
    )


def mean_reward_parts(
    reward: RuleReward, problems: Sequence[Problem], texts: Sequence[str]
) -> dict[str, float]:
    """Give what each part of a weighted reward adds on average; they sum up to the mean reward.

    A reward that is no sum is its own only part.

    >>> from course_lib.text.problems import ChainProblem
    >>> chain = ChainProblem((7, 5, 3), (1, -1))
    >>> reward = weighted_reward({"accuracy": 1.0, "format": 0.5})
    >>> mean_reward_parts(reward, [chain, chain], ["I think 9", "I think 8"])
    {'accuracy': 0.5, 'format': 0.0}
    """
    pairs = list(zip(problems, texts, strict=True))
    return {
        part.name: weight * mean_or_zero([part(*pair) for pair in pairs])
        for weight, part in reward.parts or ((1.0, reward),)
    }


def mean_or_zero(values: Sequence[int | float]) -> float:
    """Give the mean of some numbers, 0 for none: `mean_or_zero([20, 30])` is 25.0."""
    return sum(map(float, values)) / max(1, len(values))


def true_fraction(truths: Sequence[bool]) -> float:
    """Give the share of truths that hold, 0 for none: `true_fraction([True, False])` is 0.5."""
    return mean_or_zero(truths)
