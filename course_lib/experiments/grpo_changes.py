"""One change of GRPO at a time, over three seeds: the records that lesson 24 reads.

    python -m course_lib.experiments.grpo_changes --out data/grpo --work runs/grpo

`--work` is a folder for what is too large to keep: bases that were pre-trained with rare tags, and
the policies that practised from them. Finished runs are kept in `runs.json`: a command that was
stopped goes on where it was.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import torch
from torch import nn

from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.policy_loss import estimate_kl
from course_lib.alignment.ppo import PPOSettings, train_ppo
from course_lib.alignment.rewards import RuleReward
from course_lib.alignment.rl_loop import RLHistory
from course_lib.alignment.rl_task import answer_questions
from course_lib.assets import DATA_FOLDER
from course_lib.experiments import ablations, r1
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.run import DATA_VERSION, ExperimentRun
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, timed_measure
from course_lib.files import read_json
from course_lib.inference.rollout import completion_log_probs
from course_lib.tasks.arithmetic import (
    ZERO_REWARDS,
    arithmetic_task,
    evaluate_arithmetic,
    held_out_arithmetic,
)
from course_lib.training.settings import whole_run

GRPO_FOLDER = DATA_FOLDER / "grpo"
CURVES = (
    "reward", "accuracy", "format", "worked", "length", "entropy", "kl", "used", "equal groups",
    "ratio", "clip share low", "clip share high", "gradient norm", "answers", "cut off",
)  # fmt: skip
SHORT = GRPOSettings(16, n_questions=8)  # 128 answers a step: about a quarter of a minute
NO_CLIP = {"clip_low": 1.0, "clip_high": 1e6}
LEASH = {"beta": 0.05}  # ten times ours, so that the estimator matters
CHANGES: dict[str, dict] = {
    "ours": {},
    # equal samples in all
    "groups of 2": {"n_questions": 64, "group_size": 2},
    "groups of 4": {"n_questions": 32, "group_size": 4},
    "groups of 64": {"n_questions": 2, "group_size": 64},
    "half the batch, twice the steps": {"n_questions": 4, "steps": 32},
    "twice the batch, half the steps": {"n_questions": 16, "steps": 8},
    # the loss
    "average per answer": {"average": "sequence"},
    "average over tokens": {"average": "token"},
    "divided by the spread": {"scale_by_std": True},
    "upper clip 0.2": {"clip_high": 0.2},
    # the same samples again
    "2 epochs": {"n_epochs": 2},
    "4 epochs": {"n_epochs": 4},
    "4 epochs, no clip": {"n_epochs": 4} | NO_CLIP,
    "4 parts": {"n_minibatches": 4},
    "4 parts, GSPO": {
        "n_minibatches": 4, "ratio": "sequence", "average": "sequence",
        "clip_low": 3e-4, "clip_high": 4e-4,
    },
    # the leash
    "no leash": {"beta": 0.0},
    "k3": LEASH,
    "k3, weighted": LEASH | {"kl_weighted": True},
    "k2": LEASH | {"kl_estimator": "k2"},
    "k1": LEASH | {"kl_estimator": "k1"},
    "k1 in the reward": LEASH | {"kl_estimator": "k1", "kl_in": "reward"},
    # what is sampled
    "redraws": {"n_redraws": 3},
    "cut at 40": {"max_new_tokens": 40},
    "cut at 40, masked": {"max_new_tokens": 40, "mask_overlong": True},
    "cut at 40, soft": {"max_new_tokens": 40, "overlong_share": 0.2},
}  # fmt: skip


def rounded_curves(history: RLHistory, names: Sequence[str] = CURVES) -> dict[str, list[float]]:
    """Give some measures of a run, step by step, with four digits behind the point."""
    measures = history.measures
    return {name: [round(x, 4) for x in measures[name]] for name in names if name in measures}


# ----------------------------------------------------------------------------- one change at a time


def changed_run(name: str, seed: int) -> dict:
    """Practise sums from the shipped base with one change of `SHORT`."""
    model, task = SHIPPED_R1.load("base"), arithmetic_task(ZERO_REWARDS)
    settings = replace(SHORT, **CHANGES[name])
    history = train_grpo(model, SHIPPED_R1.tokenizer(), task, settings, seed=seed)
    return measured(model, history)


def measured(model: nn.Module, history: RLHistory) -> dict:
    """Give what a policy can do, how far it is from the base, and the curves of its way.

    Half a run is none: raises KeyboardInterrupt if it was stopped.
    """
    whole_run(history)
    return {
        "after": evaluate_arithmetic(model, SHIPPED_R1.tokenizer(), n=500),
        "distance": round(distance_from_base(model), 3),
        "practice seconds": round(history.spent(), 1),
        "curves": rounded_curves(history),
    }


@torch.no_grad()
def distance_from_base(model: nn.Module, n: int = 256) -> float:
    """Estimate KL(policy || base) in nats per answer, by k1 over answers of the policy."""
    questions = [question.text for question in held_out_arithmetic(n, seed=24)]
    generator = torch.Generator().manual_seed(24)
    _, sampled = answer_questions(model, SHIPPED_R1.tokenizer(), questions, generator=generator)
    theirs = completion_log_probs(SHIPPED_R1.load("base"), sampled)
    return estimate_kl(sampled.log_probs, theirs, "k1").sum(-1).mean().item()


def ppo_run(seed: int) -> dict:
    """Practise with a critic, at as many samples and updates."""
    model, shared = SHIPPED_R1.load("base"), {"n_questions": SHORT.n_questions}
    settings = PPOSettings(SHORT.steps, **shared)
    task, tokenizer = arithmetic_task(ZERO_REWARDS), SHIPPED_R1.tokenizer()
    return measured(model, train_ppo(model, tokenizer, task, settings, seed=seed))


# --------------------------------------------------------------------------- a verifier with a hole

# Passes a text in which the digits of the answer stand anywhere, also inside of another number.
LEAKY_VERIFIER = RuleReward("digits somewhere", lambda problem, text: problem.answer in text)
VERIFIERS = {"with a hole": LEAKY_VERIFIER, "mended": {"accuracy": 1.0}}


def verifier_run(name: str, seed: int) -> dict:
    """Practise for one of the verifiers alone, long enough to find the hole."""
    model, task = SHIPPED_R1.load("base"), arithmetic_task(VERIFIERS[name])
    settings = replace(SHORT, steps=40)
    history = train_grpo(
        model, SHIPPED_R1.tokenizer(), task, settings, seed=seed, keep_samples_at=[40]
    )
    return measured(model, history) | {"samples": [sample[1:] for sample in history.samples]}


# ------------------------------------------------------- which difference makes the strict one fail


# name -> which of the settings of GRPO's first loss are taken over
STRICT_CONTROLS = {
    " + ".join(ablations.DIFFERENCES[setting] for setting in some) or "none": some
    for n in range(3)
    for some in combinations(ablations.DIFFERENCES, n)
} | {"all three": tuple(ablations.DIFFERENCES)}


def strict_run(folder: Path, seed: int, name: str) -> dict:
    """Practise from a base that has seen few tags, for the strict reward: measures and curves."""
    run, some = (
        ExperimentRun(folder / f"seed-{seed}", seed, r1.LAPTOP_RECIPE),
        STRICT_CONTROLS[name],
    )
    found, stage = ablations.rare_tags_strict_with(some, run), ablations.strict_stage(some)
    data = read_json(
        run.path(f"{ablations.ABLATIONS_FOLDER}/rare-tags/{stage}/history"), "history", DATA_VERSION
    )
    return found | {"curves": rounded_curves(RLHistory.from_data(data))}


def usual_tags_run(seed: int) -> dict:
    """Practise for the strict reward with all three, from the shipped base: tags as usual."""
    model, task = SHIPPED_R1.load("base"), arithmetic_task(ablations.STRICT_REWARDS)
    settings = replace(r1.LAPTOP_RECIPE.zero, **ablations.FIRST_LOSS)
    return measured(model, train_grpo(model, SHIPPED_R1.tokenizer(), task, settings, seed=seed))


# ----------------------------------------------------------------------------------------- all runs


def all_runs(work: Path, seeds: Sequence[int]) -> Iterator[tuple[dict, Callable[[], dict]]]:
    """Name all runs, the short ones first, each with what makes it."""
    for name in CHANGES:
        for seed in seeds:
            key = {"table": "changes", "name": name, "seed": seed}
            yield key, partial(changed_run, name, seed)
    for seed in seeds:
        yield {"table": "changes", "name": "PPO", "seed": seed}, partial(ppo_run, seed)
    for name in VERIFIERS:
        for seed in seeds:
            key = {"table": "verifiers", "name": name, "seed": seed}
            yield key, partial(verifier_run, name, seed)
    for name in STRICT_CONTROLS:
        for seed in seeds:
            key = {"table": "strict", "name": name, "seed": seed}
            yield key, partial(strict_run, work, seed, name)
    for seed in seeds:
        key = {"table": "strict, usual tags", "name": "all three", "seed": seed}
        yield key, partial(usual_tags_run, seed)


def grpo_runs(table: str, folder: Path = GRPO_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs of a table by name, each seed by seed."""
    return RunRecords(folder / "runs.json").by_name(table=table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("grpo_changes", __doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for bases and policies")
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for key, make in all_runs(asked.work, asked.seeds):
        records.get(partial(timed_measure, make), **key)


if __name__ == "__main__":
    main()
