"""Which of two answers somebody likes better: what reward models and DPO learn from."""

from collections.abc import Sequence
from typing import NamedTuple

from course_lib.alignment.rl_task import question_prompt_ids
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT


class PreferenceTexts(NamedTuple):
    """A prompt, the answer that was chosen, and the one that was not, as texts."""

    prompt: str
    chosen: str
    rejected: str


class PreferencePair(NamedTuple):
    """A prompt, the answer that was chosen, and the one that was not, in the tokens of a model."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def encode_completion(tokenizer: Tokenizer, answer: str) -> list[int]:
    """Give the tokens of an answer behind a `question_prompt_ids`, the end token included."""
    return [*tokenizer.encode(answer, allowed_special="all"), tokenizer.special_tokens[END_OF_TEXT]]


def encode_preferences(
    tokenizer: Tokenizer, preferences: Sequence[PreferenceTexts]
) -> list[PreferencePair]:
    """Turn texts into tokens: the prompt as a model is asked, each answer with its end token."""
    return [
        PreferencePair(
            question_prompt_ids(tokenizer, asked),
            encode_completion(tokenizer, chosen),
            encode_completion(tokenizer, rejected),
        )
        for asked, chosen, rejected in preferences
    ]
