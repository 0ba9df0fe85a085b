"""What happens if something is left out or done badly: the controls of the pipeline.

They start from the pipeline's own base, unless the web itself is another. Every experiment gives data for the report
card: most of them the measures of sums "before" and "after".
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from course_lib.alignment import maths, search
from course_lib.alignment.grpo import GRPO, GRPOSettings
from course_lib.alignment.practice import Question
from course_lib.alignment.r1 import (
    ZERO_REWARDS,
    Run,
    base,
    chat_manners,
    gather,
    judge_of,
    practise,
    readable,
    sums_and_chats,
    tune,
)
from course_lib.alignment.rewards import steps
from course_lib.text.problems import is_well_formed, verify
from course_lib.text.small_web import ChainShares

FOLDER = "experiments"
# GRPO's first loss at the recipe's own sizes, rates and leash
FIRST_LOSS = {name: GRPO[name] for name in ("scale_by_std", "average", "clip_high")}


def no_worked(run: Run) -> dict:
    """Pre-train on a web on which nobody works a sum out, then practise: is there anything to bring forth?"""
    return practised(on_another_web(run, "no-worked", replace(run.recipe.chains, worked=0)), "zero", ZERO_REWARDS)


def on_another_web(run: Run, name: str, chains: ChainShares) -> Run:
    """Pre-train a base on a web with other answers to chains of sums; give the run that it belongs to."""
    other = replace(run, folder=run.folder / FOLDER / name, recipe=replace(run.recipe, chains=chains))
    base(other)
    return other


def filtered(run: Run) -> dict:
    """One round of tuning on the base's own right and well-formed answers, without any reinforcement learning."""
    return one_round(run, "filtered", right_and_formed)


def right_and_formed(question: Question, text: str) -> bool:
    return bool(verify(question.truth, text)) and is_well_formed(text)


def filtered_worked(run: Run) -> dict:
    """The same, but somebody who knows that work pays keeps only readable answers that show it."""
    return one_round(run, "filtered-worked", lambda question, text: readable(question, text) and steps(text) > 0)


def one_round(run: Run, name: str, good: maths.Filter) -> dict:
    """Sample the base 16 times for each of many questions, keep good answers, tune the base on them."""
    pairs = run.once(f"{FOLDER}/{name}/answers", lambda: gather(run, "base", run.recipe.sft_questions, 16, good))
    tune(run, f"{FOLDER}/{name}", "base", pairs, run.recipe.sft_steps)
    return before_and_after(run, "base", f"{FOLDER}/{name}") | {"answers kept": len(pairs)}


def strict(run: Run, stage: str = f"{FOLDER}/strict", settings: GRPOSettings | None = None) -> dict:
    """R1-Zero with a reward for right answers only if they are well-formed: is the work still learnt?"""
    return practised(run, stage, {"accuracy, if formatted": 1.0, "format": 0.2}, settings)


def weak_format(run: Run, stage: str = f"{FOLDER}/weak-format") -> dict:
    """R1-Zero with a weak reward for the form and GRPO's first loss, an average per answer: does the form survive?"""
    return practised(run, stage, {"accuracy": 1.0, "format": 0.2}, replace(run.recipe.zero, **FIRST_LOSS))


def practised(run: Run, stage: str, weights: dict[str, float], settings: GRPOSettings | None = None) -> dict:
    """Practise sums with other rewards or settings than R1-Zero's."""
    practise(run, stage, "base", maths.task(weights), settings or run.recipe.zero)
    return before_and_after(run, "base", stage)


def rare_tags(run: Run) -> dict:
    """R1-Zero, after a web on which a third as many answers have tags."""
    return practised(with_rare_tags(run), "zero", ZERO_REWARDS)


def rare_tags_strict(run: Run) -> dict:
    """`strict` after such a web."""
    return strict(with_rare_tags(run), "strict")


def rare_tags_strict_averaged(run: Run) -> dict:
    """The same with GRPO's first loss, under which a token of a long answer counts less: is the work still learnt?"""
    return strict(with_rare_tags(run), "strict-averaged", replace(run.recipe.zero, **FIRST_LOSS))


def rare_tags_weak_format(run: Run) -> dict:
    """`weak-format` after such a web."""
    return weak_format(with_rare_tags(run), "weak-format")


def with_rare_tags(run: Run) -> Run:
    """Give a run whose base has seen few answers with tags."""
    return on_another_web(run, "rare-tags", replace(run.recipe.chains, tags=0.05))


def naive_judge(run: Run) -> dict:
    """The last stage with a reward model that has seen answers of the base only, and a loose leash."""
    judge = judge_of(run, "sft/judge")
    name = f"{FOLDER}/naive-judge"
    practise(run, name, "sft", sums_and_chats(judge, run.tokenizer()), replace(run.recipe.r1, beta=0.01))
    manners = {stage: chat_manners(run, stage, judge) for stage in ("sft", name, "r1")}
    return {"chats": manners}


def before_and_after(run: Run, before: str, after: str) -> dict:
    """Measure two models on held-out sums."""
    tokenizer = run.tokenizer()
    return {
        when: maths.evaluate(run.load(stage), tokenizer) for when, stage in (("before", before), ("after", after))
    }


def search_for(experiment: str, run: Run) -> dict:
    """Do an experiment on search, which has a base and a folder of its own."""
    return search.run(run.folder / "search", run.seed, experiment, device=run.device)


EXPERIMENTS: dict[str, Callable[[Run], dict]] = {
    "no-worked": no_worked, "filtered": filtered, "filtered-worked": filtered_worked, "strict": strict,
    "weak-format": weak_format, "rare-tags": rare_tags, "rare-tags-strict": rare_tags_strict,
    "rare-tags-strict-averaged": rare_tags_strict_averaged, "rare-tags-weak-format": rare_tags_weak_format,
    "naive-judge": naive_judge,
    **{name: partial(search_for, name) for name in search.EXPERIMENTS},
}  # fmt: skip
