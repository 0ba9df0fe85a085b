"""Reward models of lesson 23: trained on labels, measured against the truth, made into rewards."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial
from random import Random
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment import calibration, preferences
from course_lib.alignment import reward_model as rm
from course_lib.alignment.preferences import PreferencePair, PreferenceTexts
from course_lib.alignment.rl_task import Question, answer_questions
from course_lib.alignment.sft import sft_settings
from course_lib.experiments import labellers
from course_lib.experiments.chats import score_chats
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.tasks.fact_chats import annotator_quality, draw_fact_question
from course_lib.text.bpe import Tokenizer
from course_lib.training.trainer import train_to_the_end

HELD_OUT_LABELS, N_HELD_OUT = 900, 800  # seed and number of pairs on which all are measured
MAX_NEW_TOKENS = 32  # of an answer

# What `score(questions, answers)` of a reward is.
ChatReward = Callable[[Sequence[Question], Sequence[str]], list[float]]


@cache
def base_model() -> nn.Module:
    """Read the shipped base, the reference of everything here; copy it to train."""
    return SHIPPED_R1.load("base").requires_grad_(False)


@cache
def base_tokenizer() -> Tokenizer:
    """Read the shipped tokenizer."""
    return SHIPPED_R1.tokenizer()


def fresh_policy() -> nn.Module:
    """Copy the base, to be trained."""
    return deepcopy(base_model()).requires_grad_(True)


# Reward models
# --------------------------------------------------------------------------------------------------


def judge_steps(n_labels: int) -> int:
    """Say how long to train a reward model on so many labels: longer would learn them by rote."""
    return 30 + n_labels // 12


def encoded(texts: Sequence[PreferenceTexts]) -> list[PreferencePair]:
    return preferences.encode_preferences(base_tokenizer(), texts)


def train_judge(
    texts: Sequence[PreferenceTexts],
    seed: int = 0,
    kind: Callable[[nn.Module], rm.RewardModel] = rm.RewardModel,
) -> rm.RewardModel:
    """Train a reward model on all of these labels; `kind` makes it of the base."""
    pairs, judge = encoded(texts), kind(base_model())
    rm.check_pairs(pairs, judge.settings.max_seq_len)
    batches = partial(rm.pair_batches, rm.pair_texts, pairs, 32, seed)
    settings = sft_settings(judge_steps(len(pairs)), adam_lr=1e-3)
    train_to_the_end(judge, batches, settings, rm.choice_objective)
    return judge.requires_grad_(False)


@cache
def judge_of(labeller: str, n_labels: int, seed: int) -> rm.RewardModel:
    """Train a reward model on a labeller's labels."""
    return train_judge(labellers.labels_of(labeller, seed, n_labels), seed)


@torch.no_grad()
def judged_leads(judge: rm.RewardModel, texts: Sequence[PreferenceTexts]) -> Float[Tensor, "N"]:
    """Give by how much the chosen answer leads, in score, for each of the labels."""
    ids, last = rm.pair_texts(encoded(texts))
    chosen, rejected = rm.score_pairs(judge, ids, last).T
    return chosen - rejected


def better_and_worse(pairs: Sequence[tuple]) -> list[PreferenceTexts]:
    """Give the truth as labels without noise: the better answer first; no pairs of equal worth."""
    found = []
    for fact, one, other in pairs:
        lead = annotator_quality(fact, one) - annotator_quality(fact, other)
        if lead:
            both = (one, other) if lead > 0 else (other, one)
            found.append(PreferenceTexts(fact.question, *both))
    return found


def held_out_pairs() -> tuple[labellers.AnsweredFact, ...]:
    """Give the pairs that no reward model of the record learns from."""
    return labellers.answer_pairs(HELD_OUT_LABELS, N_HELD_OUT, "held out")


def held_out_labels(seen: Sequence[PreferenceTexts] = ()) -> list[PreferenceTexts]:
    """Give honest labels on the pairs that are kept apart, but for pairs that occur in `seen`."""
    known = {(text.prompt, *sorted(map(str.strip, text[1:]))) for text in seen}
    texts = labellers.labels_of("honest", HELD_OUT_LABELS, N_HELD_OUT, "held out")
    return [text for text in texts if (text.prompt, *sorted(map(str.strip, text[1:]))) not in known]


def measure_judge(judge: rm.RewardModel, seen: Sequence[PreferenceTexts] = ()) -> dict[str, float]:
    """Hold a reward model against honest labels of pairs that it has not `seen`, and the truth."""
    leads = judged_leads(judge, held_out_labels(seen))
    truth = judged_leads(judge, better_and_worse(held_out_pairs()))
    return {
        "accuracy": rm.pair_accuracy(leads, torch.zeros_like(leads)),
        "loss": rm.bradley_terry_loss(leads, torch.zeros_like(leads)).item(),
        "calibration": calibration.choice_calibration(leads),
        "truth": rm.pair_accuracy(truth, torch.zeros_like(truth)),
    }


def annotator_ceiling() -> float:
    """Give the accuracy of whoever knows the rating, on the held-out labels; ties count half."""
    facts = {fact.question: fact for fact, _, _ in held_out_pairs()}
    leads = [
        annotator_quality(facts[text.prompt], text.chosen)
        - annotator_quality(facts[text.prompt], text.rejected)
        for text in held_out_labels()
    ]
    return fmean((lead > 0) + (lead == 0) / 2 for lead in leads)


class LengthAwareJudge(rm.RewardModel):
    """A reward model that may explain a choice by length, at so much per token, beside its score.

    The length of what is compared enters as a second cause, as in length-controlled AlpacaEval
    (Dubois et al. 2024, arXiv 2404.04475). `without_length` then leaves it out.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__(trunk)
        self.per_token = nn.Parameter(torch.zeros(()))
        self.counts_length = True

    def forward(self, ids: Tensor, last: Tensor) -> Tensor:
        """Score texts; equal prompts make `last` differ by the answers' lengths alone."""
        scores = super().forward(ids, last)
        return scores + self.per_token * last if self.counts_length else scores

    def without_length(self) -> "LengthAwareJudge":
        """Give the judge itself, which from now on is blind to what a token is worth as such."""
        self.counts_length = False
        return self


# Rewards made of reward models
# --------------------------------------------------------------------------------------------------


def reward_by(judge: rm.RewardModel) -> ChatReward:
    """Make the reward that a reward model gives."""

    def reward(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        return score_chats(judge, base_tokenizer(), list(zip(questions, answers, strict=True)))

    return reward


@cache
def calibration_answers(seed: int = 0) -> tuple[list[Question], list[str]]:
    """Draw 500 answers of the base, on which scores of different reward models are compared."""
    questions = [draw_fact_question(Random(f"{seed}/calibrate/{i}")) for i in range(500)]
    asked = [question.text for question in questions]
    generator = torch.Generator().manual_seed(seed)
    answers, _ = answer_questions(
        base_model(), base_tokenizer(), asked, MAX_NEW_TOKENS, generator=generator
    )
    return questions, answers


def centred_reward(judge: rm.RewardModel) -> ChatReward:
    """Make a reward model's reward, shifted and scaled to mean 0 and deviation 1 on base answers.

    Only differences of scores mean something, and each reward model has a scale of its own.
    """
    scores, reward = torch.tensor(reward_by(judge)(*calibration_answers())), reward_by(judge)
    mean, deviation = scores.mean().item(), max(scores.std().item(), 1e-6)
    return lambda *chats: [(score - mean) / deviation for score in reward(*chats)]


def ensemble_reward(
    judges: Sequence[rm.RewardModel], how: Callable[[Sequence[float]], float]
) -> ChatReward:
    """Make one reward of several reward models: `how` is `min` or `fmean`.

    Source: Coste et al. 2023 (arXiv 2310.02743), worst-case and mean optimisation.
    """
    if not judges:
        raise ValueError("there are no reward models to make a reward of")
    rewards = [centred_reward(judge) for judge in judges]
    return lambda *chats: [how(votes) for votes in zip(*(r(*chats) for r in rewards), strict=True)]


def length_free_reward(judge: rm.RewardModel) -> ChatReward:
    """Make a reward model's reward less what length explains of it, in a line through base answers.

    What goes with length for good reasons goes too: a polite answer is longer.
    """
    questions, answers = calibration_answers()
    scores = torch.tensor(reward_by(judge)(questions, answers)).double()
    lengths = torch.tensor([float(len(answer)) for answer in answers]).double()
    centred = lengths - lengths.mean()
    slope = ((centred * scores).sum() / centred.square().sum()).item()
    reward = reward_by(judge)

    def residual(asked: Sequence[Question], said: Sequence[str]) -> list[float]:
        pairs = zip(reward(asked, said), said, strict=True)
        return [score - slope * len(answer) for score, answer in pairs]

    return residual
