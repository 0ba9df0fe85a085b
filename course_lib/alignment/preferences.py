"""Which of two answers somebody likes better: a simulated annotator of chats, and what its
judgements rest on.

There is no human here. A hidden rating stands in for taste, and the choice between two answers is
random, the more so the closer they are. Real annotators differ too: InstructGPT's agreed with each
other in 73 % of the cases (Ouyang et al. 2022, arXiv 2203.02155). What learns from the choices
never sees the rating.
"""

from collections.abc import Sequence
from typing import NamedTuple

from course_lib.alignment.rl_task import question_prompt_ids
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT


class PreferencePair(NamedTuple):
    """A prompt, the answer that was chosen, and the one that was not: texts, or tokens once they
    are encoded."""

    prompt: str | list[int]
    chosen: str | list[int]
    rejected: str | list[int]


def encode_completion(tokenizer: Tokenizer, answer: str) -> list[int]:
    """Give the tokens of an answer as a model says it behind a `question_prompt_ids`, the end token
    included."""
    return [*tokenizer.encode(answer, allowed_special="all"), tokenizer.special_tokens[END_OF_TEXT]]


def encode_preferences(
    tokenizer: Tokenizer, preferences: Sequence[PreferencePair]
) -> list[PreferencePair]:
    """Turn preferences from texts into tokens: the prompt as a model is asked, each answer with its
    end token."""
    return [
        PreferencePair(
            question_prompt_ids(tokenizer, asked),
            encode_completion(tokenizer, chosen),
            encode_completion(tokenizer, rejected),
        )
        for asked, chosen, rejected in preferences
    ]
