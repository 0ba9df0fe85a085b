"""What a policy is asked in reinforcement learning: questions, its answers, their rewards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.rewards import RuleReward, mean_reward_parts
from course_lib.inference.rollout import Completions, sample_completions
from course_lib.inference.tool_use import Tool
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, render_chat

# of the problems of a report: no run was trained on them, and no recipe chosen by them
EVALUATION_SEED = 3_000_000


class Question(NamedTuple):
    """What the model is asked, and what its answer is judged by: whatever the task knows.

    A problem, say, or a fact.
    """

    text: str
    truth: Any


@dataclass(frozen=True)
class RLTask:
    """What a policy practises: questions to draw, rewards for answers, and measures to watch.

    The measures earn nothing. `parts` gives the mean of each part of the reward by name, as much as
    it adds. All three get questions and answers side by side, a question once for each of its
    answers. With a `tool`, answers may call it.
    """

    draw: Callable[[Random], Question]
    reward: Callable[[Sequence[Question], Sequence[str]], Sequence[float]]
    measure: Callable[[Sequence[Question], Sequence[str]], dict[str, float]] = (
        lambda questions, answers: {}
    )
    parts: Callable[[Sequence[Question], Sequence[str]], dict[str, float]] = (
        lambda questions, answers: {}
    )
    tool: Tool | None = None


def question_prompt_ids(tokenizer: Tokenizer, question: str) -> list[int]:
    """Give the tokens of a question as the model reads it.

    It stands behind the end of another text, and an answer is to come.
    """
    text = render_chat([{"role": "user", "content": question}], add_generation_prompt=True)
    return [tokenizer.special_tokens[END_OF_TEXT], *tokenizer.encode(text)]


def answer_questions(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[str],
    max_new_tokens: int = 72,
    n_samples: int = 1,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    tool: Tool | None = None,
    **options,
) -> tuple[list[str], Completions]:
    """Let the model answer each question `n_samples` times: the texts, and all about them.

    The texts are without their end token. `options` are others of `sample_completions`.
    """
    end = tokenizer.special_tokens[END_OF_TEXT]
    prompts = [question_prompt_ids(tokenizer, question) for question in questions]
    completions = sample_completions(
        model,
        prompts,
        max_new_tokens,
        n_samples=n_samples,
        stop_token=end,
        temperature=temperature,
        generator=generator,
        tool=tool,
        **options,
    )
    return [
        tokenizer.decode(ids[:-1] if ids[-1] == end else ids) for ids in completions.completions
    ], completions


def answer_in_batches(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    rows: int = 512,
    seed: int = 0,
    **options,
) -> tuple[list[str], list[int]]:
    """Answer many questions, `rows` answers at a time: the texts and their lengths in tokens.

    The answers to one question stand together. `options` are those of `answer_questions`.
    """
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, rows // options.get("n_samples", 1))
    texts, lengths = [], []
    for start in range(0, len(questions), at_once):
        asked = [question.text for question in questions[start : start + at_once]]
        some, completions = answer_questions(
            model, tokenizer, asked, generator=generator, **options
        )
        texts += some
        lengths += completions.lengths.tolist()
    return texts, lengths


def reward_each(
    reward: Callable[[Any, str], float], questions: Sequence[Question], answers: Sequence[str]
) -> list[float]:
    """Rate answers one by one, each for the truth of its question.

    An error of the reward gets a note that names the answer and its question.
    """
    rewards = []
    for question, text in zip(questions, answers, strict=True):
        try:
            rewards.append(reward(question.truth, text))
        except Exception as error:
            error.add_note(f"the reward failed for {text!r} to {question.text!r}")
            raise
    return rewards


def question_reward_parts(
    reward: RuleReward, questions: Sequence[Question], answers: Sequence[str]
) -> dict[str, float]:
    """Give `mean_reward_parts` of answers, each rated for the truth of its question."""
    return mean_reward_parts(reward, [question.truth for question in questions], answers)


def compute_rewards(
    task: RLTask, questions: Sequence[Question], answers: Sequence[str]
) -> Float[Tensor, "B"]:
    """Give the rewards of the answers.

    Raises ValueError unless there is one for each, and each is a finite number. An error of the
    reward itself gets a note that names an answer and its question: that of the first, if
    `reward_each` has not said which one it was.
    """
    try:
        rewards = torch.tensor([float(reward) for reward in task.reward(questions, answers)])
    except Exception as error:
        if not getattr(error, "__notes__", ()):
            first = f"{answers[0]!r} to {questions[0].text!r}"
            error.add_note(f"the reward failed for one of {len(answers)} answers: {first}, ...")
        raise
    if len(rewards) != len(answers):
        raise ValueError(f"the task gave {len(rewards)} rewards for {len(answers)} answers")
    if not rewards.isfinite().all():
        row = int((~rewards.isfinite()).nonzero()[0])
        raise ValueError(
            f"the reward is {rewards[row].item()} for {answers[row]!r} to {questions[row].text!r}"
        )
    return rewards
