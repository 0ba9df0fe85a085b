"""Search by reinforcement learning: does the thinking itself grow?

Three experiments share a base: `search`; `search-budget`, in which the tokens that an answer may
have are few at first; and `search-control`, in which any expression earns the reward.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_task import EVALUATION_SEED, answer_in_batches
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.run import ExperimentRun
from course_lib.experiments.stages import pretrain_stage, pretraining_settings, rl_stage
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.tasks.countdown import (
    SEARCH_CONTROL_REWARDS,
    SEARCH_REWARDS,
    find_tries,
    group_by_numbers,
    held_out_searches,
    search_answer_metrics,
    search_task,
)
from course_lib.text import small_web
from course_lib.text.problems import verify_answer
from course_lib.text.small_web import SearchShares

# A number takes its sign along, a word the spaces around it: "20", "-9", "=11". A try of four
# numbers is ten tokens.
SEARCH_PATTERN = r"\n?(?:User|Assistant): |[+=-]?[0-9]+| ?\p{L}+ ?|[^\s\p{L}0-9+=-]+ ?|[+=-]|\s+"


QUESTION_SEED_OFFSET = 1000  # added to the seed, for practice that goes on
DRILL_SEED_OFFSET = 1_000_000  # added to the seed, for the sheets that are read first


@dataclass(frozen=True)
class SearchRecipe:
    """All numbers of the experiments."""

    megabytes: float = 10.0  # of each phase; one pass
    vocab_size: int = 416
    # without sheets of checks no try can be trusted, without tables numbers get lost after the
    # fourth try, and without summaries the signs of a try that says yes don't reach the answer
    mixture: Mapping[str, float] = field(default_factory=lambda: {
        "search": 0.62, "search_drill": 0.20, "search_table": 0.08, "search_summary": 0.10,
    })  # fmt: skip
    # a curriculum: the first steps are on sheets alone, where 86 % of the verdicts are right after
    # 400 of them; amid answers, of which many are guesses, 70 % of the yes were missed after 1,200
    drill_share: float = 0.27
    drill_mixture: Mapping[str, float] = field(default_factory=lambda: {
        "search_drill": 0.55, "search_table": 0.25, "search_summary": 0.20,
    })  # fmt: skip
    # nobody slips, says a false yes, or answers with anything but the last try; and more people
    # work than usual
    shares: SearchShares = SearchShares(
        {0: 0.30, 1: 0.28, 2: 0.18, 3: 0.14, 4: 0.10}, slip=0.0, false_yes=0.0, last_try=1.0
    )
    # queries are normed in a latent as wide as the model; with base 100, all pairs of a rotary key
    # turn noticeably within a row, as in the base of R1
    model: Mapping = field(default_factory=lambda: {
        "d_model": 64, "n_layers": 3, "n_heads": 4, "n_dense_layers": 3, "q_lora_rank": 64,
        "rope_base": 100.0,
    })  # fmt: skip
    context: int = 512  # tokens that a question and its answer may have
    window: int = 256  # tokens of a row of pre-training; with 128 copies failed after eight tries
    batch_size: int = 8  # many small steps: with 32 rows of 128 in half of them, sums went wrong
    base_steps: int = 1800
    # with 0.02, sheets teach verdicts in more than twice the steps, and not on every seed
    muon_lr: float = 0.01
    adam_lr: float = 4e-3
    # with 16 questions, and 0.01 for beta, seeds of an older base stayed at 51 and 56 %
    practice: GRPOSettings = GRPOSettings(
        40, n_questions=32, max_new_tokens=200, lr=7e-4, average=40.0
    )
    small_budget: int = 48  # tokens of an answer before the budget is raised
    budget_steps: int = 25  # before, and again after
    control_steps: int = 15
    evaluation_tokens: int = 300
    n_evaluation: int = 600


SEARCH_RECIPE = SearchRecipe()


# the tokenizer and two of the models: base, search
SHIPPED_SEARCH = ExperimentRun(DATA_FOLDER / "r1/seed-0/search", recipe=SEARCH_RECIPE)


def evaluate_search(run: ExperimentRun, name: str) -> dict:
    """Measure a model on held-out searches: sampled, greedy, and by how many numbers they have.

    Six numbers are more than it ever saw. "answers" has a few to read, "tries and right" two
    numbers of each.
    """
    model, tokenizer, r = run.load(name), run.tokenizer(), run.recipe
    questions = held_out_searches(r.n_evaluation)
    longer = held_out_searches(r.n_evaluation // 3, lengths=(6,))
    options = {"max_new_tokens": r.evaluation_tokens, "seed": EVALUATION_SEED}
    texts, of_longer = (
        answer_in_batches(model, tokenizer, asked, **options)[0] for asked in (questions, longer)
    )
    greedy, _ = answer_in_batches(model, tokenizer, questions, temperature=0.0, **options)
    groups = group_by_numbers([*questions, *longer], [*texts, *of_longer])
    return {
        "sampled": search_answer_metrics(tokenizer, questions, texts),
        "greedy": search_answer_metrics(tokenizer, questions, greedy),
        "by numbers": {
            numbers: search_answer_metrics(tokenizer, *both) for numbers, both in groups.items()
        },
        "tries and right": [
            [len(find_tries(t)), bool(verify_answer(q.truth, t))]
            for q, t in zip(questions, texts, strict=True)
        ],
        "answers": [
            [question.text, text] for question, text in zip(questions[:20], texts, strict=False)
        ],
    }


def search_base_stage(run: ExperimentRun) -> None:
    """V3 without experts, trained on sheets of checks, then on puzzles too; a tokenizer of its
    own."""
    r = run.recipe
    phases = [
        small_web.draw_clean_documents(r.megabytes, run.seed + offset, mixture, searches=r.shares)
        for offset, mixture in ((DRILL_SEED_OFFSET, r.drill_mixture), (0, r.mixture))
    ]
    drill_steps = round(r.drill_share * r.base_steps)
    settings = replace(pretraining_settings(r.base_steps), muon_lr=r.muon_lr, adam_lr=r.adam_lr)

    def model(n_vocab: int) -> DeepSeekV3:
        return DeepSeekV3(DeepSeekSettings(n_vocab, r.context, **r.model))

    pretrain_stage(run, "base", model, phases, settings, SEARCH_PATTERN, [drill_steps])


def search_rl_stage(
    run: ExperimentRun,
    stage: str,
    start: str,
    settings: GRPOSettings,
    weights: Mapping[str, float] = SEARCH_REWARDS,
    seed: int = 0,
) -> None:
    """Practise searches for a reward, see `stages.rl_stage`."""
    rl_stage(run, stage, start, search_task(run.tokenizer(), weights), settings, seed)


def measure_search_stages(run: ExperimentRun, *names: str) -> dict:
    """Measure the base and the stages `names`; a stage's measures are kept beside its model."""
    return {
        name: run.once(f"{name}/measures", partial(evaluate_search, run, name))
        for name in ("base", *names)
    }


def search_experiment(run: ExperimentRun) -> dict:
    """Practise for right answers alone."""
    search_rl_stage(run, "search", "base", run.recipe.practice)
    return measure_search_stages(run, "search")


def search_budget_experiment(run: ExperimentRun) -> dict:
    """Practise with few tokens for each answer; then with more, and, to compare, as few as before.

    Both go on from the same model with the same settings and the same questions. The learning rate
    does not fall, so that growth never ends for want of it.
    """
    r, name = run.recipe, "search-budget"
    small = replace(r.practice, steps=r.budget_steps, max_new_tokens=r.small_budget, decay=0.0)
    raised = replace(small, max_new_tokens=r.practice.max_new_tokens)
    search_rl_stage(run, f"{name}/small", "base", small)
    for stage, settings in {"raised": raised, "kept": small}.items():
        search_rl_stage(
            run, f"{name}/{stage}", f"{name}/small", settings, seed=QUESTION_SEED_OFFSET
        )
    return measure_search_stages(run, f"{name}/small", f"{name}/raised", f"{name}/kept")


def search_control_experiment(run: ExperimentRun) -> dict:
    """Practise for any expression, right or wrong: a reward that no search raises."""
    settings = replace(run.recipe.practice, steps=run.recipe.control_steps)
    search_rl_stage(run, "search-control", "base", settings, SEARCH_CONTROL_REWARDS)
    return measure_search_stages(run, "search-control")


SEARCH_EXPERIMENTS: dict[str, Callable[[ExperimentRun], dict]] = {
    "search": search_experiment,
    "search-budget": search_budget_experiment,
    "search-control": search_control_experiment,
}


def run_search(
    folder: Path | str,
    seed: int = 0,
    experiment: str = "search",
    recipe: SearchRecipe = SEARCH_RECIPE,
    device: str = "cpu",
) -> dict:
    """Do what is left of an experiment, and give the measures of its models by name.

    All experiments of a folder share its base. Each stage leaves its model, history and measures in
    a folder.
    """
    if experiment not in SEARCH_EXPERIMENTS:
        raise ValueError(f"no experiment {experiment!r}; there are {', '.join(SEARCH_EXPERIMENTS)}")
    this = ExperimentRun(Path(folder), seed, recipe, device)
    search_base_stage(this)
    return SEARCH_EXPERIMENTS[experiment](this)
