"""Practice problems of others: any data set of reasoning-gym as a task.

The package is optional (`make gym`). It writes a question, keeps the right answer, and pays for an
answer by `score_answer`, from 0 to 1. What this module adds is what its users must do themselves:
read the final answer out of a text, keep questions out of practice for the test, and refuse what a
model can't be asked or a reward can't be.

Two data sets whose seeds are neighbours are nearly the same: item i is drawn with seed + i. So what
is held out is decided by the text of a question, not by a seed.
"""

import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import nn

from course_lib.alignment.rewards import mean_or_zero, true_fraction
from course_lib.alignment.rl_task import (
    EVALUATION_SEED,
    Question,
    RLTask,
    answer_in_batches,
    question_prompt_ids,
)
from course_lib.check_numbers import check_whole_numbers, is_number
from course_lib.text.bpe import Tokenizer
from course_lib.text.draw import draw_item
from course_lib.text.problems import HELD_OUT_OF, final_answer

GYM_INSTALL = "make gym (or python -m pip install -c constraints.txt -e '.[gym]')"
AnswerReader = Callable[[str], str | None]


@runtime_checkable
class PracticeSet(Protocol):
    """What a data set of reasoning-gym can do, and all that is asked of one here.

    An entry has a "question" and an "answer".
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    def score_answer(self, answer: str | None, entry: dict[str, Any]) -> float: ...


class GymTruth(NamedTuple):
    """What an answer is judged by: an entry of a data set, and the data set that scores it."""

    entry: dict[str, Any]
    practice_set: PracticeSet


@dataclass(frozen=True)
class GymQuestions:
    """The questions of a data set: to practise on, held out, and how many were left out and why."""

    practice: tuple[Question, ...]
    held_out: tuple[Question, ...]
    left_out: dict[str, int]


# ------------------------------------------------------------------------------------ the questions


def load_reasoning_gym(name: str, size: int = 2000, seed: int = 0, **options) -> PracticeSet:
    """Make a data set of reasoning-gym: `load_reasoning_gym("chain_sum", min_terms=2)`.

    Raises ImportError with the command that installs the package, and ValueError for a name that it
    does not have or options that the data set refuses.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of a package that it needs
            import reasoning_gym
            from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise ImportError(f"reasoning-gym can't be imported ({error}): {GYM_INSTALL}") from error
    if name not in DATASETS:
        raise ValueError(f"reasoning-gym has no data set {name!r}; it has {', '.join(DATASETS)}")
    check_whole_numbers(size=size)
    try:
        return reasoning_gym.create_dataset(name, size=size, seed=seed, **options)
    except (AssertionError, TypeError) as error:
        raise ValueError(f"{name} refuses the options {options}: {error}") from error


def is_held_out_question(text: str) -> bool:
    """Tell whether a question is kept out of practice: one in ten, by the hash of its text."""
    return zlib.crc32(text.encode()) % HELD_OUT_OF == 0


def read_gym_questions(
    practice_set: PracticeSet,
    tokenizer: Tokenizer,
    longest_prompt: int,
    unfit: str = "error",
    keep: Callable[[dict[str, Any]], bool] = lambda entry: True,
) -> GymQuestions:
    """Read all entries of a data set, once each, and hold out one question in ten.

    A question that can't be asked raises a ValueError with the numbers, or is left out and counted
    with `unfit="skip"`: a prompt of more than `longest_prompt` tokens (what the context leaves when
    the answer is taken off), no text, or a text that `chat.render_chat` refuses. Equal questions
    count once. `keep` chooses among the entries that can be asked, easy ones say. Raises ValueError
    if nothing is left to practise.
    """
    if unfit not in ("error", "skip"):
        raise ValueError(f"unfit must be 'error' or 'skip', not {unfit!r}")
    check_whole_numbers(longest_prompt=longest_prompt)
    found: dict[str, Question] = {}
    left_out: Counter[str] = Counter()
    for index in range(len(practice_set)):
        entry = practice_set[index]
        reason, detail = why_unfit(entry, tokenizer, longest_prompt)
        if reason and unfit == "error":
            which = f"entry {index} of {len(practice_set)}"
            raise ValueError(f'{which}: {detail}; unfit="skip" leaves such questions out')
        if not reason and entry["question"] in found:
            reason = "repeated"
        elif not reason and not keep(entry):
            reason = "not kept"
        if reason:
            left_out[reason] += 1
            continue
        found[entry["question"]] = Question(entry["question"], GymTruth(entry, practice_set))
    practice = tuple(q for text, q in found.items() if not is_held_out_question(text))
    if not practice:
        counts = f"{len(practice_set)} entries, left out {dict(left_out)}"
        raise ValueError(f"nothing is left to practise: {counts}, held out {len(found)}")
    held_out = tuple(q for text, q in found.items() if is_held_out_question(text))
    return GymQuestions(practice, held_out, dict(left_out))


def why_unfit(entry: Any, tokenizer: Tokenizer, longest_prompt: int) -> tuple[str, str]:
    """Say why an entry's question can't be asked, in a word and at length; two blanks if it can."""
    text = entry.get("question") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        return "no text", f"its question is {type(text).__name__}, not a text"
    try:
        n_tokens = len(question_prompt_ids(tokenizer, text))
    except ValueError as error:
        return "refused", f"the chat template refuses the question: {error}"
    if n_tokens > longest_prompt:
        return "too long", f"a prompt of {n_tokens} tokens, more than {longest_prompt}"
    return "", ""


# ---------------------------------------------------------------------------------------- the score


def all_that_was_said(text: str) -> str | None:
    """Read an answer that stands in no tags: all of it, without blanks around it."""
    return text.strip() or None


def gym_score(
    question: Question,
    text: str,
    read: AnswerReader = all_that_was_said,
    exact: bool = False,
    on_error: str = "error",
) -> float:
    """Score a whole text by the data set: its final answer, see `problems.final_answer`.

    Without answer tags `read` finds the answer behind the thought; for numbers take
    `problems.last_number`. No answer scores 0, whatever the data set pays for one. With `exact` a
    score below 1 is 0: many data sets pay a little for wrong answers. If `score_answer` raises or
    gives no finite number, that is a ValueError which names question and answer, or a score of 0
    with `on_error="zero"`.
    """
    if on_error not in ("error", "zero"):
        raise ValueError(f"on_error must be 'error' or 'zero', not {on_error!r}")
    answer = final_answer(text, read)
    if not answer:
        return 0.0
    entry, practice_set = question.truth
    asked = f"for the answer {answer[:60]!r} to {question.text[:80]!r}"
    try:
        score = practice_set.score_answer(answer, entry)
    except Exception as error:  # whatever a stranger's code raises
        if on_error == "zero":
            return 0.0
        raise ValueError(f"score_answer raised {type(error).__name__}: {error}, {asked}") from error
    if not is_number(score):
        if on_error == "zero":
            return 0.0
        raise ValueError(f"score_answer gave {score!r}, no finite number, {asked}")
    return float(score >= 1) if exact else float(score)


def gym_metrics(
    questions: Sequence[Question], answers: Sequence[str], read: AnswerReader = all_that_was_said
) -> dict[str, float]:
    """Describe answers: mean score, share with the full score, share with a final answer."""
    both = list(zip(questions, answers, strict=True))
    scores = [gym_score(question, text, read, on_error="zero") for question, text in both]
    return {
        "score": mean_or_zero(scores),
        "accuracy": true_fraction([score >= 1 for score in scores]),
        "answered": true_fraction([bool(final_answer(text, read)) for text in answers]),
    }


# ----------------------------------------------------------------------------------------- the task


def reasoning_gym_task(
    questions: GymQuestions,
    read: AnswerReader = all_that_was_said,
    exact: bool = False,
    on_error: str = "error",
) -> RLTask:
    """Make the task of answering a data set's questions, its score the reward; see `gym_score`."""

    def draw(rng: Random) -> Question:
        return draw_item(rng, questions.practice)

    def reward(asked: Sequence[Question], answers: Sequence[str]) -> list[float]:
        both = zip(asked, answers, strict=True)
        return [gym_score(question, text, read, exact, on_error) for question, text in both]

    return RLTask(draw, reward, partial(gym_metrics, read=read))


def evaluate_gym(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    read: AnswerReader = all_that_was_said,
    seed: int = EVALUATION_SEED,
    **options,
) -> dict[str, float]:
    """Measure a model on questions, held out ones say: see `gym_metrics`.

    `options` are those of `answer_questions`. Raises ValueError for no questions.
    """
    if not questions:
        raise ValueError("no questions to measure on: a larger data set holds some out")
    texts, lengths = answer_in_batches(model, tokenizer, questions, seed=seed, **options)
    asked = [question for question in questions for _ in range(options.get("n_samples", 1))]
    return gym_metrics(asked, texts, read) | {"length": mean_or_zero(lengths)}
