"""Search as a task: practice on puzzles that need many tries, and whether the thinking itself grows.

"make 14 from 20 9 3 6" is hard to guess and easy to check. People on the small web make at most four tries before they
answer; drill sheets, which answer nothing, check up to sixteen. A policy that earns rewards for right answers alone
should learn to go on until it finds one: the growth of DeepSeek-R1-Zero's answers (arXiv 2501.12948, figure 3), on one
core. Three experiments share a base: `search`; `search-budget`, in which the tokens that an answer may have are few at
first; and `search-control`, in which any expression earns the reward.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.practice import EVALUATION_SEED, Question, Task, in_parts, rate_all
from course_lib.alignment.r1 import Run, practise, pretrain
from course_lib.alignment.rewards import mean_or_zero, share, weighted
from course_lib.assets import DATA
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.text import small_web
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import Search, draw_search, is_well_formed, verify
from course_lib.text.small_web import SearchShares
from course_lib.training.settings import TrainSettings

# A number takes its sign along, a word the spaces around it: "20", "-9", "=11". A try of four numbers is ten tokens.
SEARCH_PATTERN = r"\n?(?:User|Assistant): |[+=-]?[0-9]+| ?\p{L}+ ?|[^\s\p{L}0-9+=-]+ ?|[+=-]|\s+"
TRY = re.compile(r"(?<![0-9=+-])([0-9]+(?:[+-][0-9]+=[0-9]+)+)( yes| not)?")      # "20-9=11+3=14-6=8 not"
MAX_TRIES = 4       # of an answer in the corpus
OTHER_QUESTIONS = 1000      # added to the seed, for practice that goes on
REWARDS = {"accuracy": 1.0, "format": 0.2}
CONTROL_REWARDS = {"any expression": 1.0, "format": 0.2}


@dataclass(frozen=True)
class SearchRecipe:
    """All numbers of the experiments."""

    megabytes: float = 16.0             # one pass
    vocab_size: int = 416
    # without sheets of checks no try can be trusted, without tables numbers get lost after the fourth try
    mixture: Mapping[str, float] = field(default_factory=lambda: {
        "search": 0.65, "search_drill": 0.27, "search_table": 0.08,
    })  # fmt: skip
    # nobody slips, says a false yes, or answers with anything but the last try; and more people work than usual
    shares: SearchShares = SearchShares(
        {0: 0.30, 1: 0.28, 2: 0.18, 3: 0.14, 4: 0.10}, slip=0.0, false_yes=0.0, last_try=1.0
    )
    model: Mapping = field(default_factory=lambda: {
        "d_model": 64, "n_layers": 3, "n_heads": 4, "n_dense_layers": 3, "q_norm": True,
    })  # fmt: skip
    context: int = 512                  # tokens that a question and its answer may have
    window: int = 256                   # tokens of a row of pre-training; with 128 copies failed after eight tries
    batch_size: int = 8                 # many small steps: with 32 rows of 128 in half of them, sums went wrong
    base_steps: int = 2600
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    practice: GRPOSettings = GRPOSettings(      # with 16 questions, and 0.01 for beta, seeds stayed at 51 and 56 %
        80, n_questions=32, max_new_tokens=200, lr=7e-4, average=40.0
    )
    small_budget: int = 48              # tokens of an answer before the budget is raised
    budget_steps: int = 25              # before, and again after
    control_steps: int = 15
    evaluation_tokens: int = 300
    n_evaluation: int = 600


RECIPE = SearchRecipe()
SHIPPED = Run(DATA / "r1/seed-0/search", recipe=RECIPE)       # the tokenizer and two of the models: base, search


# ---------------------------------------------------------------------------------------------------------- the task


@dataclass(frozen=True, slots=True)
class Try:
    """One try in an answer: the numbers it adds, signs included, what it says that they make, and its verdict."""

    terms: tuple[int, ...]
    says: int
    verdict: str        # "yes", "not" or nothing

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(map(abs, self.terms))

    @property
    def is_right_sum(self) -> bool:
        return sum(self.terms) == self.says


def tries(text: str) -> list[Try]:
    """Find the tries of an answer.

    >>> tries("<think>20-9=11+3=14-6=8 not 14, 20-9=12 yes</think><answer>20-9</answer>")[1]
    Try(terms=(20, -9), says=12, verdict='yes')
    """
    found = []
    for steps, verdict in TRY.findall(text):
        terms = re.findall(r"[+-]?[0-9]+", re.sub(r"=[0-9]+", "", steps))
        found.append(Try(tuple(map(int, terms)), int(steps.rpartition("=")[2]), verdict.strip()))
    return found


def draw_question(rng: Random, lengths: tuple[int, ...] = (3, 4, 5), held_out: bool = False) -> Question:
    """Draw a search as a question."""
    search = draw_search(rng, lengths, held_out)
    return Question(search.question, search)


def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Describe answers to searches; "of worked" are means over those with a try, the rest over all answers or tries.

    "right after many" counts right answers with more tries than anybody on the small web makes.
    """
    searches = [question.truth for question in questions]
    right = [bool(verify(search, text)) for search, text in zip(searches, answers, strict=True)]
    found = [tries(text) for text in answers]
    worked = [(search, some) for search, some in zip(searches, found, strict=True) if some]
    many = [len(some) > MAX_TRIES for some in found]
    said_yes = [some[-1].says == search.target for search, some in worked if some[-1].verdict == "yes"]
    return {
        "accuracy": share(right),
        "format": share([is_well_formed(text) for text in answers]),
        "worked": share([bool(some) for some in found]),
        "accuracy of worked": share([r for r, some in zip(right, found, strict=True) if some]),
        "tries of worked": mean_or_zero([len(some) for _, some in worked]),
        "most tries": float(max(map(len, found), default=0)),
        "many tries of worked": share([len(some) > MAX_TRIES for _, some in worked]),
        "right after many": share([r and m for r, m in zip(right, many, strict=True)]),
        "says yes at the end": len(said_yes) / max(1, len(worked)),
        "yes is true": share(said_yes),
    } | measure_checks(worked)


def measure_checks(worked: Sequence[tuple[Search, Sequence[Try]]]) -> dict[str, float]:
    """Tell how reliable tries are: copied numbers, right sums, verdicts on what they say that they make, repeats."""
    both = [(search, one) for search, some in worked for one in some]
    repeated = [one.terms in [other.terms for other in some[:i]] for _, some in worked for i, one in enumerate(some)]
    return {
        "numbers copied": share([one.numbers == search.numbers for search, one in both]),
        "sums right": share([one.is_right_sum for _, one in both]),
        "false yes": share([one.verdict == "yes" for search, one in both if one.says != search.target]),
        "missed yes": share([one.verdict == "not" for search, one in both if one.says == search.target]),
        "repeated": share(repeated),
    }


def describe(tokenizer: Tokenizer, questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Give all measures; the mean length of answers with a try is in tokens, the end token included."""
    worked = [len(tokenizer.encode(text, allowed_special="all")) + 1 for text in answers if tries(text)]
    return measure(questions, answers) | {"length of worked": mean_or_zero(worked)}


def task(tokenizer: Tokenizer, weights: Mapping[str, float] = REWARDS) -> Task:
    """Make the task of answering searches for a reward."""
    return Task(draw_question, partial(rate_all, weighted(weights)), partial(describe, tokenizer))


# ------------------------------------------------------------------------------------------------------- the evaluation


def held_out(n: int, lengths: tuple[int, ...] = (3, 4, 5), seed: int = EVALUATION_SEED) -> list[Question]:
    """Draw `n` questions that no training text and no practice contains."""
    rng = Random(seed)
    return [draw_question(rng, lengths, held_out=True) for _ in range(n)]


def by_numbers(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, tuple[list[Question], list[str]]]:
    """Sort questions and answers by how many numbers the question has."""
    groups: dict[str, tuple[list[Question], list[str]]] = {}
    for question, text in zip(questions, answers, strict=True):
        both = groups.setdefault(str(len(question.truth.numbers)), ([], []))
        both[0].append(question)
        both[1].append(text)
    return dict(sorted(groups.items()))


def evaluate(run: Run, name: str) -> dict:
    """Measure a model on held-out searches: sampled, greedy, and by how many numbers they have.

    Six numbers are more than it ever saw. "answers" has a few to read, "tries and right" two numbers of each.
    """
    model, tokenizer, r = run.load(name), run.tokenizer(), run.recipe
    questions, longer = held_out(r.n_evaluation), held_out(r.n_evaluation // 3, lengths=(6,))
    options = {"max_new_tokens": r.evaluation_tokens, "seed": EVALUATION_SEED}
    texts, of_longer = (in_parts(model, tokenizer, asked, **options)[0] for asked in (questions, longer))
    greedy, _ = in_parts(model, tokenizer, questions, temperature=0.0, **options)
    groups = by_numbers([*questions, *longer], [*texts, *of_longer])
    return {
        "sampled": describe(tokenizer, questions, texts),
        "greedy": describe(tokenizer, questions, greedy),
        "by numbers": {numbers: describe(tokenizer, *both) for numbers, both in groups.items()},
        "tries and right": [[len(tries(t)), bool(verify(q.truth, t))] for q, t in zip(questions, texts, strict=True)],
        "answers": [[question.text, text] for question, text in zip(questions[:20], texts, strict=False)],
    }


# ------------------------------------------------------------------------------------------------------ the experiments


def base(run: Run) -> None:
    """V3 without experts, trained on puzzles and sheets of checks, with a tokenizer of its own."""
    r = run.recipe
    pages = small_web.documents(r.megabytes, run.seed, r.mixture, searches=r.shares)
    model = lambda n_vocab: DeepSeekV3(DeepSeekSettings(n_vocab, r.context, **r.model))     # noqa: E731
    settings = TrainSettings(r.base_steps, r.muon_lr, r.adam_lr, warmup=min(0.5, 50 / r.base_steps))
    pretrain(run, "base", model, [pages], settings, SEARCH_PATTERN)


def improve(
    run: Run, stage: str, start: str, settings: GRPOSettings, weights: Mapping[str, float] = REWARDS, seed: int = 0
) -> None:
    """Practise searches for a reward, see `r1.practise`."""
    practise(run, stage, start, task(run.tokenizer(), weights), settings, seed)


def measured(run: Run, *names: str) -> dict:
    """Measure the base and what the stages `names` have left; a stage's measures are kept beside its model."""
    return {name: run.once(f"{name}/measures", partial(evaluate, run, name)) for name in ("base", *names)}


def search(run: Run) -> dict:
    """Practise for right answers alone."""
    improve(run, "search", "base", run.recipe.practice)
    return measured(run, "search")


def search_budget(run: Run) -> dict:
    """Practise with few tokens for each answer; then go on with more, and, to compare, with as few as before.

    Both go on from the same model with the same settings and the same questions. The learning rate does not fall, so
    that growth never ends for want of it.
    """
    r, name = run.recipe, "search-budget"
    small = replace(r.practice, steps=r.budget_steps, max_new_tokens=r.small_budget, decay=0.0)
    raised = replace(small, max_new_tokens=r.practice.max_new_tokens)
    improve(run, f"{name}/small", "base", small)
    for stage, settings in {"raised": raised, "kept": small}.items():
        improve(run, f"{name}/{stage}", f"{name}/small", settings, seed=OTHER_QUESTIONS)
    return measured(run, f"{name}/small", f"{name}/raised", f"{name}/kept")


def search_control(run: Run) -> dict:
    """Practise for any expression, right or wrong: a reward that no search raises."""
    settings = replace(run.recipe.practice, steps=run.recipe.control_steps)
    improve(run, "search-control", "base", settings, CONTROL_REWARDS)
    return measured(run, "search-control")


EXPERIMENTS: dict[str, Callable[[Run], dict]] = {
    "search": search, "search-budget": search_budget, "search-control": search_control,
}  # fmt: skip


def run(
    folder: Path | str, seed: int = 0, experiment: str = "search", recipe: SearchRecipe = RECIPE, device: str = "cpu"
) -> dict:
    """Do an experiment, or what is left of it if it was stopped, and give the measures of its models by name.

    All experiments of a folder share its base. Each stage leaves its model, history and measures in a folder.
    """
    if experiment not in EXPERIMENTS:
        raise ValueError(f"no experiment {experiment!r}; there are {', '.join(EXPERIMENTS)}")
    this = Run(Path(folder), seed, recipe, device)
    base(this)
    return EXPERIMENTS[experiment](this)
