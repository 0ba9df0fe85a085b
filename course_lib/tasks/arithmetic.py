"""Sums as a task: chains to practise on, what their answers look like, how often they are right."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

from torch import nn

from course_lib.alignment.rewards import (
    RuleReward,
    count_worked_sums,
    is_mixed,
    mean_or_zero,
    true_fraction,
    weighted_reward,
)
from course_lib.alignment.rl_task import (
    EVALUATION_SEED,
    Question,
    RLTask,
    answer_in_batches,
    question_reward_parts,
    reward_each,
)
from course_lib.tasks.at_k import majority_at_k, pass_at_k
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import draw_chain, final_answer, is_well_formed, verify_answer

# at a weight of 0.2 the format was lost in some seeds
ZERO_REWARDS = {"accuracy": 1.0, "format": 0.5}
REASONING_REWARDS = ZERO_REWARDS | {"language": 0.5}


def draw_arithmetic_question(
    rng: Random, lengths: tuple[int, ...] = (3, 4, 5, 6), held_out: bool = False
) -> Question:
    """Draw a chain of sums as a question."""
    chain = draw_chain(rng, lengths, held_out)
    return Question(chain.question, chain)


def arithmetic_metrics(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Describe answers to sums: shares of right, well-formed, worked and mixed ones.

    The shares are of all answers, and of the worked alone.
    """
    right = [
        bool(verify_answer(question.truth, text))
        for question, text in zip(questions, answers, strict=True)
    ]
    worked = [count_worked_sums(text) > 0 for text in answers]
    return {
        "accuracy": true_fraction(right),
        "format": true_fraction([is_well_formed(text) for text in answers]),
        "worked": true_fraction(worked),
        "mixed": true_fraction([is_mixed(text) for text in answers]),
        "accuracy of worked": true_fraction([r for r, w in zip(right, worked, strict=True) if w]),
        "mixed of worked": true_fraction(
            [is_mixed(text) for text, w in zip(answers, worked, strict=True) if w]
        ),
    }


def arithmetic_task(weights: Mapping[str, float] | RuleReward) -> RLTask:
    """Make the task of answering sums for a reward: `arithmetic_task({"accuracy": 1.0})`."""
    reward = weights if isinstance(weights, RuleReward) else weighted_reward(weights)
    return RLTask(
        draw_arithmetic_question,
        partial(reward_each, reward),
        arithmetic_metrics,
        partial(question_reward_parts, reward),
    )


def held_out_arithmetic(
    n: int, seed: int = EVALUATION_SEED, lengths: tuple[int, ...] = (3, 4, 5, 6)
) -> list[Question]:
    """Draw `n` questions that no training text and no practice contains."""
    rng = Random(seed)
    return [draw_arithmetic_question(rng, lengths, held_out=True) for _ in range(n)]


def evaluate_arithmetic(
    model: nn.Module,
    tokenizer: Tokenizer,
    n: int = 1000,
    temperature: float = 1.0,
    seed: int = EVALUATION_SEED,
    max_new_tokens: int = 90,
) -> dict[str, float]:
    """Measure a model on `n` held-out sums: see `arithmetic_metrics`.

    Lengths are in tokens, of all answers and of the worked ones.
    """
    questions = held_out_arithmetic(n, seed)
    options = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    texts, lengths = answer_in_batches(model, tokenizer, questions, seed=seed, **options)
    worked = [
        length for length, text in zip(lengths, texts, strict=True) if count_worked_sums(text)
    ]
    return arithmetic_metrics(questions, texts) | {
        "length": mean_or_zero(lengths),
        "length of worked": mean_or_zero(worked),
    }


def arithmetic_at_k(
    model: nn.Module, tokenizer: Tokenizer, n_questions: int = 100, n_samples: int = 64,
    ks: Sequence[int] = (1, 4, 16, 64), seed: int = EVALUATION_SEED + 1,
) -> dict[str, list]:  # fmt: skip
    """Answer held-out sums many times each: "pass" and "majority" at every k."""
    questions = held_out_arithmetic(n_questions, seed)
    texts, _ = answer_in_batches(
        model, tokenizer, questions, n_samples=n_samples, max_new_tokens=90, seed=seed
    )
    groups = [texts[i : i + n_samples] for i in range(0, len(texts), n_samples)]
    both = list(zip(questions, groups, strict=True))
    rights = [
        sum(bool(verify_answer(question.truth, text)) for text in group) for question, group in both
    ]
    votes = [(tuple(map(final_answer, group)), question.truth.answer) for question, group in both]
    return {
        "k": list(ks),
        "pass": [mean_or_zero([pass_at_k(n_samples, right, k) for right in rights]) for k in ks],
        "majority": [
            mean_or_zero([majority_at_k(answers, truth, k) for answers, truth in votes]) for k in ks
        ],
    }


AnswerFilter = Callable[[Question, str], bool]


def rejection_sample(
    questions: Sequence[Question], answers: Sequence[str], good: AnswerFilter
) -> list[tuple[Question, str]]:
    """Keep the first good answer to each question, if there is one: rejection sampling.

    `answers` holds the same number for each question, standing together.
    """
    if not questions or len(answers) % len(questions):
        raise ValueError(
            f"{len(answers)} answers are not the same number for each of {len(questions)} questions"
        )
    each = len(answers) // len(questions)
    kept = []
    for i, question in enumerate(questions):
        found = next(
            (text for text in answers[i * each : (i + 1) * each] if good(question, text)), None
        )
        if found is not None:
            kept.append((question, found))
    return kept
