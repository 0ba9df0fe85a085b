"""What happens if something is left out or done badly: the controls of the pipeline.

They start from the pipeline's own base, unless the web itself is another. Every experiment gives
data for the report card: most of them the measures of sums "before" and "after".
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from course_lib.alignment.grpo import GRPO_PRESET, GRPOSettings
from course_lib.alignment.rewards import count_worked_sums
from course_lib.alignment.rl_task import Question
from course_lib.experiments.chats import evaluate_chats, reasoning_and_chat_task, reward_model_stage
from course_lib.experiments.r1 import base_stage, collect_good_answers, is_readable_answer
from course_lib.experiments.run import ExperimentRun
from course_lib.experiments.search import SEARCH_EXPERIMENTS, run_search
from course_lib.experiments.stages import finetune_stage, rl_stage
from course_lib.tasks import arithmetic
from course_lib.tasks.arithmetic import ZERO_REWARDS
from course_lib.text.problems import is_well_formed, verify_answer
from course_lib.text.small_web import ChainShares

ABLATIONS_FOLDER = "experiments"
# GRPO's first loss at the recipe's own sizes, rates and leash
FIRST_LOSS = {name: GRPO_PRESET[name] for name in ("scale_by_std", "average", "clip_high")}


# right answers are paid for only in form, and the form a little
STRICT_REWARDS = {"accuracy, if formatted": 1.0, "format": 0.2}
# setting -> its name in those of the stages
DIFFERENCES = {"average": "average", "scale_by_std": "spread", "clip_high": "clip"}


def no_worked_solutions(run: ExperimentRun) -> dict:
    """Pre-train on a web where nobody works a sum out: is there anything to bring forth?"""
    return run_rl_ablation(
        pretrain_on_other_chains(run, "no-worked", replace(run.recipe.chains, worked=0)),
        "zero",
        ZERO_REWARDS,
    )


def pretrain_on_other_chains(run: ExperimentRun, name: str, chains: ChainShares) -> ExperimentRun:
    """Pre-train a base on a web with other answers to chains of sums; give its run."""
    other = replace(
        run, folder=run.folder / ABLATIONS_FOLDER / name, recipe=replace(run.recipe, chains=chains)
    )
    base_stage(other)
    return other


def filtered_sft(run: ExperimentRun) -> dict:
    """One round of tuning on the base's own right and well-formed answers, without any RL."""
    return rejection_sampling_round(run, "filtered", is_right_and_well_formed)


def is_right_and_well_formed(question: Question, text: str) -> bool:
    return bool(verify_answer(question.truth, text)) and is_well_formed(text)


def filtered_worked_sft(run: ExperimentRun) -> dict:
    """The same, but somebody who knows that work pays keeps only readable answers that show it."""
    return rejection_sampling_round(
        run,
        "filtered-worked",
        lambda question, text: is_readable_answer(question, text) and count_worked_sums(text) > 0,
    )


def rejection_sampling_round(run: ExperimentRun, name: str, good: arithmetic.AnswerFilter) -> dict:
    """Sample the base 16 times for each of many questions; tune it on the good answers."""
    pairs = run.once(
        f"{ABLATIONS_FOLDER}/{name}/answers",
        lambda: collect_good_answers(run, "base", run.recipe.sft_questions, 16, good),
    )
    finetune_stage(run, f"{ABLATIONS_FOLDER}/{name}", "base", pairs, run.recipe.sft_steps)
    return arithmetic_before_and_after(run, "base", f"{ABLATIONS_FOLDER}/{name}") | {
        "answers kept": len(pairs)
    }


def strict_reward(
    run: ExperimentRun,
    stage: str = f"{ABLATIONS_FOLDER}/strict",
    settings: GRPOSettings | None = None,
) -> dict:
    """R1-Zero, right answers rewarded only if they are well-formed: is the work still learnt?"""
    return run_rl_ablation(run, stage, STRICT_REWARDS, settings)


def weak_format_reward(run: ExperimentRun, stage: str = f"{ABLATIONS_FOLDER}/weak-format") -> dict:
    """R1-Zero, a weak reward for form, an average per answer (GRPO): does the form survive?"""
    return run_rl_ablation(
        run, stage, {"accuracy": 1.0, "format": 0.2}, replace(run.recipe.zero, **FIRST_LOSS)
    )


def run_rl_ablation(
    run: ExperimentRun, stage: str, weights: dict[str, float], settings: GRPOSettings | None = None
) -> dict:
    """Practise sums with other rewards or settings than R1-Zero's."""
    rl_stage(run, stage, "base", arithmetic.arithmetic_task(weights), settings or run.recipe.zero)
    return arithmetic_before_and_after(run, "base", stage)


def rare_tags_corpus(run: ExperimentRun) -> dict:
    """R1-Zero, after a web on which a third as many answers have tags."""
    return run_rl_ablation(pretrain_with_rare_tags(run), "zero", ZERO_REWARDS)


def rare_tags_strict(run: ExperimentRun) -> dict:
    """`strict_reward` after such a web."""
    return strict_reward(pretrain_with_rare_tags(run), "strict")


def rare_tags_strict_averaged(run: ExperimentRun) -> dict:
    """The same with GRPO's first loss, weak on tokens of long answers: is the work still learnt?"""
    return strict_reward(
        pretrain_with_rare_tags(run), "strict-averaged", replace(run.recipe.zero, **FIRST_LOSS)
    )


def strict_stage(differences: Sequence[str]) -> str:
    """Name what practice leaves, as in "strict-average-clip"."""
    return "-".join(["strict", *(DIFFERENCES[name] for name in differences)])


def rare_tags_strict_with(differences: Sequence[str], run: ExperimentRun) -> dict:
    """`rare-tags-strict` with some of the three differences of GRPO's first loss, by setting."""
    settings = replace(run.recipe.zero, **{name: FIRST_LOSS[name] for name in differences})
    return strict_reward(pretrain_with_rare_tags(run), strict_stage(differences), settings)


def rare_tags_weak_format(run: ExperimentRun) -> dict:
    """`weak-format` after such a web."""
    return weak_format_reward(pretrain_with_rare_tags(run), "weak-format")


def pretrain_with_rare_tags(run: ExperimentRun) -> ExperimentRun:
    """Give a run whose base has seen few answers with tags."""
    return pretrain_on_other_chains(run, "rare-tags", replace(run.recipe.chains, tags=0.05))


def naive_reward_model(run: ExperimentRun) -> dict:
    """The last stage with a reward model that knows the base's answers only, and a loose leash."""
    judge = reward_model_stage(run, "sft/judge")
    name = f"{ABLATIONS_FOLDER}/naive-judge"
    rl_stage(
        run,
        name,
        "sft",
        reasoning_and_chat_task(judge, run.tokenizer()),
        replace(run.recipe.r1, beta=0.01),
    )
    manners = {stage: evaluate_chats(run, stage, judge) for stage in ("sft", name, "r1")}
    return {"chats": manners}


def arithmetic_before_and_after(run: ExperimentRun, before: str, after: str) -> dict:
    """Measure two models on held-out sums."""
    tokenizer = run.tokenizer()
    return {
        when: arithmetic.evaluate_arithmetic(run.load(stage), tokenizer)
        for when, stage in (("before", before), ("after", after))
    }


def run_search_ablation(experiment: str, run: ExperimentRun) -> dict:
    """Do an experiment on search, which has a base and a folder of its own."""
    return run_search(run.folder / "search", run.seed, experiment, device=run.device)


ABLATIONS: dict[str, Callable[[ExperimentRun], dict]] = {
    "no-worked": no_worked_solutions,
    "filtered": filtered_sft,
    "filtered-worked": filtered_worked_sft,
    "strict": strict_reward,
    "weak-format": weak_format_reward,
    "rare-tags": rare_tags_corpus,
    "rare-tags-strict": rare_tags_strict,
    "rare-tags-strict-averaged": rare_tags_strict_averaged,
    "rare-tags-weak-format": rare_tags_weak_format,
    "naive-judge": naive_reward_model,
    **{name: partial(run_search_ablation, name) for name in SEARCH_EXPERIMENTS},
}
# Which of the three differences is it? One alone, and two at once; for lesson 24.
STRICT_ABLATIONS: dict[str, Callable[[ExperimentRun], dict]] = {
    f"rare-tags-{strict_stage(some)}": partial(rare_tags_strict_with, some)
    for n in (1, 2)
    for some in combinations(DIFFERENCES, n)
}
