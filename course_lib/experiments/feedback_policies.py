"""Policies of lesson 23: trained on labels or for a reward, and measured against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.dpo import train_dpo
from course_lib.alignment.ppo import PPOSettings, train_ppo
from course_lib.alignment.preferences import PreferenceTexts
from course_lib.alignment.rl_task import EVALUATION_SEED, Question, RLTask, answer_questions
from course_lib.alignment.sft import SFTExample, sft_settings, train_sft
from course_lib.experiments.feedback_judges import (
    MAX_NEW_TOKENS,
    ChatReward,
    base_model,
    base_tokenizer,
    encoded,
    fresh_policy,
    judge_steps,
)
from course_lib.inference.rollout import completion_log_probs
from course_lib.tasks.fact_chats import annotator_quality, draw_fact_question, fact_answer_metrics
from course_lib.training.settings import whole_run

WATCHED = 6  # questions whose answers are kept along a run


# Policies
# --------------------------------------------------------------------------------------------------


def chat_task(reward: ChatReward) -> RLTask:
    """Make the task of answering questions about facts for this reward."""
    return RLTask(draw_fact_question, reward, true_measures)


def true_measures(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Tell what nobody who learns from labels can see: the rating, and the traits of the answers.

    >>> fact = draw_fact_question(Random(0)).truth
    >>> true_measures([Question(fact.question, fact)], [fact.sentence])["true"]
    3.0
    """
    rated = [
        annotator_quality(question.truth, answer)
        for question, answer in zip(questions, answers, strict=True)
    ]
    characters = fmean(map(len, answers)) if answers else 0.0
    true = fmean(rated) if rated else 0.0
    return {"true": true, "characters": characters, **fact_answer_metrics(questions, answers)}


def evaluation_questions(n: int) -> list[Question]:
    """Draw the questions on which policies are measured."""
    rng = Random(EVALUATION_SEED)
    return [draw_fact_question(rng) for _ in range(n)]


@torch.no_grad()
def measure_policy(
    policy: nn.Module, reward: ChatReward | None = None, n_questions: int = 250
) -> dict:
    """Let a policy answer fixed questions, twice each: truth, proxy, and how far it has moved.

    "kl" is KL(policy || base) of whole answers, in nats: the mean of log(policy / base).
    """
    questions = evaluation_questions(n_questions)
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    answers, completions = answer_questions(
        policy, base_tokenizer(), [q.text for q in questions], MAX_NEW_TOKENS, 2, 1.0, generator
    )
    asked = [question for question in questions for _ in range(2)]
    gaps = completions.log_probs - completion_log_probs(base_model(), completions)
    proxy = {"proxy": fmean(reward(asked, answers))} if reward else {}
    return true_measures(asked, answers) | proxy | {"kl": gaps.sum(-1).mean().item()}


def feedback_settings(steps: int, beta: float, lr: float = 5e-4) -> PPOSettings:
    """Give the settings of PPO here: 16 questions a step, each answered four times."""
    return PPOSettings(
        steps,
        n_questions=16,
        group_size=4,
        max_new_tokens=MAX_NEW_TOKENS,
        lr=lr,
        beta=beta,
        decay=0.3,
    )


def ppo_policy(reward: ChatReward, seed: int, steps: int = 40, beta: float = 0.1) -> nn.Module:
    """Train a copy of the base by PPO for this reward."""
    policy = fresh_policy()
    settings = feedback_settings(steps, beta)
    whole_run(train_ppo(policy, base_tokenizer(), chat_task(reward), settings, seed=seed))
    return policy


def dpo_policy(
    texts: Sequence[PreferenceTexts], seed: int, beta: float = 0.1, lr: float = 2e-4
) -> nn.Module:
    """Train a copy of the base by DPO on labels."""
    policy = fresh_policy()
    settings = sft_settings(judge_steps(len(texts)), adam_lr=lr)
    whole_run(train_dpo(policy, encoded(texts), settings, beta=beta, seed=seed))
    return policy


def sft_policy(texts: Sequence[PreferenceTexts], seed: int) -> nn.Module:
    """Train a copy of the base on the chosen answers alone."""
    policy = fresh_policy()
    examples = [SFTExample(pair.prompt, pair.chosen) for pair in encoded(texts)]
    settings = sft_settings(judge_steps(len(texts)), adam_lr=5e-4)
    whole_run(train_sft(policy, examples, settings, batch_size=32, seed=seed))
    return policy


@dataclass(frozen=True)
class AnswerPool:
    """Many answers of the base to each of some questions, with their scores and true worth."""

    questions: list[Question]
    answers: list[list[str]]
    scores: Float[Tensor, "Q N"]
    worth: Float[Tensor, "Q N"]


@torch.no_grad()
def draw_pool(reward: ChatReward, seed: int, n_questions: int, n_answers: int) -> AnswerPool:
    """Let the base answer questions many times; equal answers are scored once, to equal scores."""
    questions = evaluation_questions(n_questions)
    generator = torch.Generator().manual_seed(seed)
    answers, scores = [], []
    for question in questions:
        said, _ = answer_questions(
            base_model(), base_tokenizer(), [question.text], MAX_NEW_TOKENS, n_answers,
            generator=generator,
        )  # fmt: skip
        distinct = sorted(set(said))
        score = dict(zip(distinct, reward([question] * len(distinct), distinct), strict=True))
        answers.append(said)
        scores.append([score[answer] for answer in said])
    worth = [
        [annotator_quality(question.truth, answer) for answer in row]
        for question, row in zip(questions, answers, strict=True)
    ]
    return AnswerPool(questions, answers, torch.tensor(scores), torch.tensor(worth))


@torch.no_grad()
def watched_answers(policy: nn.Module, reward: ChatReward) -> list[tuple[str, float]]:
    """Let a policy answer the first of the evaluation's questions, by the same random numbers.

    Gives each answer with its reward.
    """
    questions = evaluation_questions(WATCHED)
    asked, generator = [question.text for question in questions], torch.Generator().manual_seed(1)
    answers, _ = answer_questions(
        policy, base_tokenizer(), asked, MAX_NEW_TOKENS, generator=generator
    )
    return list(zip(answers, reward(questions, answers), strict=True))
