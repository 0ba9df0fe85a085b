"""Sums as a task: chains to practise on, what their answers look like, and how often a model is right."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import comb
from random import Random

from torch import nn

from course_lib.alignment.practice import EVALUATION_SEED, Question, Task, in_parts, rate_all
from course_lib.alignment.rewards import Reward, is_mixed, mean_or_zero, share, steps, weighted
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import draw_chain, final_answer, is_well_formed, verify


def draw_question(rng: Random, lengths: tuple[int, ...] = (3, 4, 5, 6), held_out: bool = False) -> Question:
    """Draw a chain of sums as a question."""
    chain = draw_chain(rng, lengths, held_out)
    return Question(chain.question, chain)


def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Describe answers to sums: shares of right, well-formed, worked and mixed ones, of all and of the worked alone."""
    right = [bool(verify(question.truth, text)) for question, text in zip(questions, answers, strict=True)]
    worked = [steps(text) > 0 for text in answers]
    return {
        "accuracy": share(right),
        "format": share([is_well_formed(text) for text in answers]),
        "worked": share(worked),
        "mixed": share([is_mixed(text) for text in answers]),
        "accuracy of worked": share([r for r, w in zip(right, worked, strict=True) if w]),
        "mixed of worked": share([is_mixed(text) for text, w in zip(answers, worked, strict=True) if w]),
    }


def task(weights: Mapping[str, float] | Reward) -> Task:
    """Make the task of answering sums for a reward, as in `task({"accuracy": 1, "format": 0.5})`."""
    reward = weights if isinstance(weights, Reward) else weighted(weights)
    return Task(draw_question, partial(rate_all, reward), measure)


def held_out(n: int, seed: int = EVALUATION_SEED, lengths: tuple[int, ...] = (3, 4, 5, 6)) -> list[Question]:
    """Draw `n` questions that no training text and no practice contains."""
    rng = Random(seed)
    return [draw_question(rng, lengths, held_out=True) for _ in range(n)]


def evaluate(
    model: nn.Module, tokenizer: Tokenizer, n: int = 1000, temperature: float = 1.0, seed: int = EVALUATION_SEED,
    max_new_tokens: int = 90,
) -> dict[str, float]:  # fmt: skip
    """Measure a model on `n` held-out sums: see `measure`; lengths in tokens, of all answers and of the worked ones."""
    questions = held_out(n, seed)
    options = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    texts, lengths = in_parts(model, tokenizer, questions, seed=seed, **options)
    worked = [length for length, text in zip(lengths, texts, strict=True) if steps(text)]
    return measure(questions, texts) | {"length": mean_or_zero(lengths), "length of worked": mean_or_zero(worked)}


def pass_at_k(n: int, right: int, k: int) -> float:
    """Give the chance that of k answers, drawn from n of which some are right, at least one is.

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1.

    >>> pass_at_k(n=4, right=1, k=2)
    0.5
    """
    if not 1 <= k <= n or not 0 <= right <= n:
        raise ValueError(f"k {k} must be from 1 to n {n}, and right {right} from 0 to n")
    return 1 - comb(n - right, k) / comb(n, k)


def majority_at_k(answers: Sequence[str | None], truth: str, k: int, draws: int = 100, seed: int = 0) -> float:
    """Give the chance that the commonest of k answers is the truth; ties are broken at random, no answer is no vote.

    Estimated by `draws` random draws of k. Source: Wang et al. 2022, self-consistency (arXiv 2203.11171).

    >>> majority_at_k(["9", "9", "8", None], truth="9", k=4)
    1.0
    """
    if not 1 <= k <= len(answers) or draws < 1:
        raise ValueError(f"k {k} must be from 1 to the number of answers {len(answers)}, draws {draws} at least 1")
    rng, hits = Random(seed), 0.0
    for _ in range(draws):
        votes = Counter(vote for vote in rng.sample(list(answers), k) if vote is not None)
        best = [vote for vote, count in votes.items() if count == max(votes.values())]
        hits += (truth in best) / len(best) if best else 0
    return hits / draws


def at_k(
    model: nn.Module, tokenizer: Tokenizer, n_questions: int = 100, n_samples: int = 64,
    ks: Sequence[int] = (1, 4, 16, 64), seed: int = EVALUATION_SEED + 1,
) -> dict[str, list]:  # fmt: skip
    """Answer held-out sums many times each: "pass" and "majority" at every k."""
    questions = held_out(n_questions, seed)
    texts, _ = in_parts(model, tokenizer, questions, n_samples=n_samples, max_new_tokens=90, seed=seed)
    groups = [texts[i : i + n_samples] for i in range(0, len(texts), n_samples)]
    both = list(zip(questions, groups, strict=True))
    rights = [sum(map(bool, (verify(question.truth, text) for text in group))) for question, group in both]
    votes = [(tuple(map(final_answer, group)), question.truth.answer) for question, group in both]
    return {
        "k": list(ks),
        "pass": [mean_or_zero([pass_at_k(n_samples, right, k) for right in rights]) for k in ks],
        "majority": [mean_or_zero([majority_at_k(answers, truth, k) for answers, truth in votes]) for k in ks],
    }


Filter = Callable[[Question, str], bool]


def keep_one(questions: Sequence[Question], answers: Sequence[str], good: Filter) -> list[tuple[Question, str]]:
    """Keep the first good answer to each question, if there is one: rejection sampling.

    `answers` holds the same number for each question, standing together.
    """
    if not questions or len(answers) % len(questions):
        raise ValueError(f"{len(answers)} answers are not the same number for each of {len(questions)} questions")
    each = len(answers) // len(questions)
    kept = []
    for i, question in enumerate(questions):
        found = next((text for text in answers[i * each : (i + 1) * each] if good(question, text)), None)
        if found is not None:
            kept.append((question, found))
    return kept
