"""Practising other people's problems: one data set that a small model learns, one that it can't,
and one whose reward rises to the top without a right answer. Three seeds.

    python -m course_lib.experiments.gym_runs --out data/gym

Needs reasoning-gym (`make gym`) unless all runs are there. Each begins from the course's R1-Zero,
may be shown a hundred solved examples, and practises by GRPO. Finished runs are kept in
`runs.json`: a command that was stopped goes on where it was.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from torch import nn

from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.rewards import mean_or_zero
from course_lib.alignment.rl_task import EVALUATION_SEED, Question, answer_in_batches
from course_lib.alignment.sft import SFTExample, sft_examples, sft_settings, train_sft
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser
from course_lib.tasks.at_k import pass_at_k
from course_lib.tasks.demonstrations import as_dialogue
from course_lib.tasks.reasoning_gym_task import (
    AnswerReader,
    GymQuestions,
    all_that_was_said,
    gym_score,
    load_reasoning_gym,
    read_gym_questions,
    reasoning_gym_task,
)
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import MAX_PARTIAL, final_answer, last_number, partial_results
from course_lib.training.settings import whole_run

GYM_FOLDER = DATA_FOLDER / "gym"
GYM_ENTRIES = 4000  # of a data set; a seed of its own, the same for all runs
MAX_ANSWER, N_QUESTIONS = 48, 8  # tokens of an answer, questions of a step, 16 answers each
PASS_K = 64
EXAMPLE_BATCH = 32


# ------------------------------------------------------------------------------------ the data sets


def read_chain(entry: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read the numbers and signs of an entry of chain_sum."""
    parts = entry["metadata"]["expression"].split()
    signs = tuple(1 if sign == "+" else -1 for sign in parts[1::2])
    return tuple(map(int, parts[::2])), signs


def is_easy_chain(entry: dict[str, Any]) -> bool:
    """Tell whether the model knows all sums of a chain: numbers 1 to 9, results 0 to 20."""
    numbers, signs = read_chain(entry)
    in_range = all(0 <= value <= MAX_PARTIAL for value in partial_results(numbers, signs))
    return in_range and all(1 <= number <= 9 for number in numbers)


def work_chain(entry: dict[str, Any]) -> str:
    """Write the solved example of a chain, step by step as the course's models do."""
    numbers, signs = read_chain(entry)
    values = partial_results(numbers, signs)
    steps = [
        f"{before}{'+' if sign > 0 else '-'}{number}={after}"
        for before, sign, number, after in zip(values, signs, numbers[1:], values[1:], strict=False)
    ]
    return f"<think>first {', then '.join(steps)}</think><answer>{values[-1]}</answer>"


def spell_letters(entry: dict[str, Any]) -> str:
    """Write the solved example of a word spelt backward: its letters one by one, then together."""
    answer = entry["answer"]
    return f"<think>first {' '.join(answer)}</think><answer>{answer}</answer>"


@dataclass(frozen=True)
class GymRecipe:
    """How a data set is practised; `n_examples` solved ones are shown first, for `sft_steps`."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    read: AnswerReader = last_number
    exact: bool = True
    keep: Callable[[dict[str, Any]], bool] = lambda entry: True
    work: Callable[[dict[str, Any]], str] = spell_letters
    n_examples: int = 100
    sft_steps: int = 20
    rl_steps: int = 50

    def questions(self, tokenizer: Tokenizer, context: int) -> GymQuestions:
        """Read the questions of the data set that this recipe asks."""
        practice_set = load_reasoning_gym(self.name, GYM_ENTRIES, **self.options)
        return read_gym_questions(practice_set, tokenizer, context - MAX_ANSWER, keep=self.keep)


EASY_CHAINS = {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 1}
CHAINS = {"name": "chain_sum", "options": EASY_CHAINS, "keep": is_easy_chain, "work": work_chain}
SHORT_WORDS = {"min_word_len": 3, "max_word_len": 4}
GYM_RECIPES = {
    "chain_sum": GymRecipe(**CHAINS),
    "chain_sum, examples alone": GymRecipe(**CHAINS, sft_steps=120, rl_steps=0),
    "spell_backward": GymRecipe(
        "spell_backward", SHORT_WORDS, read=all_that_was_said, rl_steps=250
    ),
    "coin_flip": GymRecipe("coin_flip", exact=False, n_examples=0, sft_steps=0),
}


# ------------------------------------------------------------------------------------------ one run


def solved_examples(
    tokenizer: Tokenizer, recipe: GymRecipe, questions: Sequence[Question]
) -> list[SFTExample]:
    """Make the examples of the first `n_examples` questions."""
    chats = [
        as_dialogue(question.text, recipe.work(question.truth.entry))
        for question in questions[: recipe.n_examples]
    ]
    return sft_examples(tokenizer, chats)


def is_really_right(question: Question, text: str, read: AnswerReader) -> bool:
    """Tell whether a final answer is the entry's own: in value, or else as a text.

    That asks the data set nothing, so it shows what its score pays besides.
    """
    answer, truth = final_answer(text, read), question.truth.entry["answer"]
    if answer is None or "e" in answer.lower():  # an exponent may name a million digits
        return answer == truth
    try:
        return abs(Fraction(answer) - Fraction(truth)) <= Fraction(1, 10_000)
    except (ValueError, ZeroDivisionError):
        return answer == truth


def measure_gym_model(
    model: nn.Module, tokenizer: Tokenizer, questions: Sequence[Question], recipe: GymRecipe
) -> dict[str, Any]:
    """Measure mean score and share of really right answers; keep some answers to look at."""
    texts, _ = answer_in_batches(
        model, tokenizer, questions, max_new_tokens=MAX_ANSWER, seed=EVALUATION_SEED
    )
    both = list(zip(questions, texts, strict=True))
    return {
        "score": mean_or_zero([gym_score(q, text, recipe.read, recipe.exact) for q, text in both]),
        "right": mean_or_zero([is_really_right(q, text, recipe.read) for q, text in both]),
        "samples": [[q.text, q.truth.entry["answer"], text] for q, text in both[:4]],
    }


def gym_pass_at_k(
    model: nn.Module, tokenizer: Tokenizer, questions: Sequence[Question], recipe: GymRecipe
) -> float:
    """Estimate how often one of `PASS_K` answers to a question gets the full score."""
    texts, _ = answer_in_batches(
        model, tokenizer, questions, n_samples=PASS_K, max_new_tokens=MAX_ANSWER
    )
    each = [texts[i : i + PASS_K] for i in range(0, len(texts), PASS_K)]
    full = [
        sum(gym_score(question, text, recipe.read) >= 1 for text in some)
        for question, some in zip(questions, each, strict=True)
    ]
    return mean_or_zero([pass_at_k(PASS_K, n, PASS_K) for n in full])


def run_gym_recipe(recipe: GymRecipe, seed: int) -> dict[str, Any]:
    """Practise a data set, and measure before, after the examples and at the end.

    Held-out questions are measured on; seconds are the processor's, of training alone.
    """
    model, tokenizer = SHIPPED_R1.load("zero"), SHIPPED_R1.tokenizer()
    questions = recipe.questions(tokenizer, model.settings.max_seq_len)
    held_out = questions.held_out[:200]
    found = {"n_practice": len(questions.practice), "n_held_out": len(held_out)}
    found |= {"left_out": questions.left_out}
    found["before"] = measure_gym_model(model, tokenizer, held_out, recipe)
    start = time.process_time()
    if recipe.sft_steps:
        examples = solved_examples(tokenizer, recipe, questions.practice)
        whole_run(train_sft(model, examples, sft_settings(recipe.sft_steps), EXAMPLE_BATCH, seed))
    seconds = time.process_time() - start
    found["start"] = measure_gym_model(model, tokenizer, held_out, recipe)
    found["start"][f"pass@{PASS_K}"] = gym_pass_at_k(model, tokenizer, held_out[:20], recipe)
    if recipe.rl_steps:
        task = reasoning_gym_task(questions, recipe.read, recipe.exact)
        settings = GRPOSettings(recipe.rl_steps, n_questions=N_QUESTIONS, max_new_tokens=MAX_ANSWER)
        start = time.process_time()
        history = whole_run(train_grpo(model, tokenizer, task, settings, seed=seed))
        seconds += time.process_time() - start
        found["reward"] = [round(reward, 4) for reward in history.measures["reward"]]
        found["used"] = [round(share, 4) for share in history.measures["used"]]
    end = measure_gym_model(model, tokenizer, held_out, recipe)
    return found | {"end": end, "seconds": round(seconds, 1)}


def gym_runs(folder: Path = GYM_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs of each recipe, seed by seed."""
    records = RunRecords(folder / "runs.json")
    return {name: records.by_seed(recipe=name) for name in GYM_RECIPES}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("gym_runs", __doc__)
    parser.add_argument("--recipes", nargs="+", choices=GYM_RECIPES, default=list(GYM_RECIPES))
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for seed, name in product(asked.seeds, asked.recipes):
        records.get(partial(run_gym_recipe, GYM_RECIPES[name], seed), recipe=name, seed=seed)


if __name__ == "__main__":
    main()
