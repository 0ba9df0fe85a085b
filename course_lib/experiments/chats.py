"""The chats of the R1 pipeline: what the reward model learns from, and what it then rates.

A chat is a question about a fact and an answer; the annotator of `tasks.fact_chats` compares two.
"""

from collections.abc import Sequence
from random import Random

import torch

from course_lib.alignment import preferences
from course_lib.alignment.reward_model import RewardModel, train_reward_model
from course_lib.alignment.rewards import mean_or_zero, weighted_reward
from course_lib.alignment.rl_task import (
    EVALUATION_SEED,
    Question,
    RLTask,
    answer_in_batches,
    question_prompt_ids,
)
from course_lib.experiments.run import ExperimentRun
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.tasks import arithmetic
from course_lib.tasks.arithmetic import REASONING_REWARDS
from course_lib.tasks.fact_chats import annotate_pairs, draw_fact_question, fact_answer_metrics
from course_lib.text import bpe
from course_lib.text.chat import END_OF_TEXT, PAD
from course_lib.text.problems import ChainProblem
from course_lib.training import checkpoint


def reasoning_and_chat_task(
    judge: RewardModel, tokenizer: bpe.Tokenizer, share_of_chats: float = 0.25
) -> RLTask:
    """Make the last task: sums are rated by rules, chats by the reward model."""
    rules, sums = weighted_reward(REASONING_REWARDS), arithmetic.arithmetic_task(REASONING_REWARDS)

    def draw(rng: Random) -> Question:
        is_chat = rng.random() < share_of_chats
        return draw_fact_question(rng) if is_chat else arithmetic.draw_arithmetic_question(rng)

    def reward(questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        both = list(zip(questions, answers, strict=True))
        chats = [pair for pair in both if not is_arithmetic_question(pair[0])]
        scores = iter(score_chats(judge, tokenizer, chats))
        return [
            rules(question.truth, text) if is_arithmetic_question(question) else next(scores)
            for question, text in both
        ]

    def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
        of_sums = [
            (question, text)
            for question, text in zip(questions, answers, strict=True)
            if is_arithmetic_question(question)
        ]
        return sums.measure(*zip(*of_sums, strict=True)) if of_sums else {}

    return RLTask(draw, reward, measure)


def is_arithmetic_question(question: Question) -> bool:
    return isinstance(question.truth, ChainProblem)


@torch.no_grad()
def score_chats(
    judge: RewardModel, tokenizer: bpe.Tokenizer, chats: Sequence[tuple[Question, str]]
) -> list[float]:
    """Score answers to questions with a reward model."""
    whole = [
        question_prompt_ids(tokenizer, question.text)
        + preferences.encode_completion(tokenizer, text)
        for question, text in chats
    ]
    return judge.score(whole).tolist() if whole else []


def sample_chats(
    run: ExperimentRun,
    name: str,
    questions: Sequence[Question],
    n_samples: int,
    temperature: float = 1.0,
) -> list[str]:
    """Let the model of a stage answer questions about facts, `n_samples` times each."""
    answers, _ = answer_in_batches(
        run.load(name),
        run.tokenizer(),
        questions,
        n_samples=n_samples,
        temperature=temperature,
        max_new_tokens=32,
        seed=run.seed,
    )
    return answers


def compare_chats(run: ExperimentRun, also: str | None) -> list[preferences.PreferenceTexts]:
    """Let the annotator compare pairs of chat answers.

    Two of the base; or, in two thirds of the pairs, one or both of the model of the stage `also`,
    some of them drawn at a high temperature: a reward model must know the answers that it will be
    asked about, and worse ones.
    """
    rng = Random(f"{run.seed}/compared/{also}")
    questions = [draw_fact_question(rng) for _ in range(run.recipe.n_pairs)]
    answers = sample_chats(run, "base", questions, n_samples=2)
    first, second = answers[::2], answers[1::2]
    if also:
        own, wild = (
            sample_chats(run, also, questions, 1, temperature) for temperature in (1.0, 1.7)
        )
        # Three kinds in turn: own and the base's, own and wild, two of the base.
        first = [own[i] if i % 3 < 2 else text for i, text in enumerate(first)]
        second = [wild[i] if i % 3 == 1 else text for i, text in enumerate(second)]
    pairs = zip(first, second, strict=True)
    return annotate_pairs(rng, questions, [text for pair in pairs for text in pair])


def reward_model_stage(run: ExperimentRun, name: str, also: str | None = None) -> RewardModel:
    """Train a reward model on what the annotator chose, the first time; read it after that."""
    if not run.path(name).exists():
        pairs = preferences.encode_preferences(run.tokenizer(), compare_chats(run, also))
        trained = train_reward_model(run.load("base"), pairs, run.recipe.judge_steps, seed=run.seed)
        checkpoint.save_checkpoint(
            run.path(name), trained.model, {"pairs": len(pairs), "accuracy": trained.accuracy}
        )
    judge, _ = checkpoint.load_checkpoint(
        run.path(name), lambda numbers: RewardModel(DeepSeekV3(DeepSeekSettings(**numbers)))
    )
    return judge.to(run.device)


def best_of_n_chats(
    run: ExperimentRun, judge: RewardModel, name: str, n_questions: int, n_samples: int = 16
) -> list[tuple[str, str]]:
    """Let the model of a stage answer questions about facts; keep what the judge likes best.

    Of the `n_samples` answers to a question that is one, unless `is_one_plain_line` refuses it.
    Gives pairs (question, answer).
    """
    rng = Random(f"{run.seed}/best chats")
    questions = [draw_fact_question(rng) for _ in range(n_questions)]
    answers = sample_chats(run, name, questions, n_samples)
    asked = [question for question in questions for _ in range(n_samples)]
    scores = score_chats(judge, run.tokenizer(), list(zip(asked, answers, strict=True)))
    groups = (range(i, i + n_samples) for i in range(0, len(answers), n_samples))
    best = [max(group, key=scores.__getitem__) for group in groups]
    return [(asked[i].text, answers[i]) for i in best if is_one_plain_line(answers[i])]


def is_one_plain_line(text: str) -> bool:
    """Tell whether an answer is one line, no blank, without a token that `render_chat` refuses."""
    return bool(text.strip()) and not any(part in text for part in (END_OF_TEXT, PAD, "\n"))


def evaluate_chats(
    run: ExperimentRun, name: str, judge: RewardModel | None = None, n: int = 500
) -> dict[str, float]:
    """Measure how a stage answers questions about facts.

    The shares of `fact_chats.fact_answer_metrics`, and the judge's mean "score" if there is one.
    """
    rng = Random(EVALUATION_SEED)
    questions = [draw_fact_question(rng) for _ in range(n)]
    answers = sample_chats(run, name, questions, n_samples=1)
    measures = fact_answer_metrics(questions, answers)
    if judge:
        chats = list(zip(questions, answers, strict=True))
        measures["score"] = mean_or_zero(score_chats(judge, run.tokenizer(), chats))
    return measures
