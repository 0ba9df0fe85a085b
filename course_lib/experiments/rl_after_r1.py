"""Where GRPO meets samples that are not its own, and what V3.2's repairs make of it.

    python -m course_lib.experiments.rl_after_r1 --out data/rl_after_r1

Short practice on sums from the shipped base, with a sampler that is not the policy: older weights,
a distribution that is cut, weights in fewer bits. Lesson 32 reads the runs. Finished ones are kept
in `runs.json`: a command that was stopped goes on where it was.
"""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.rl_loop import RolloutBatch, sample_rollouts
from course_lib.alignment.rl_task import answer_questions
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.grpo_changes import NO_CLIP, rounded_curves
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.run_records import RunRecords, timed_measure
from course_lib.inference.quantize import dequantize_groups, quantize_groups
from course_lib.inference.rollout import Completions
from course_lib.layers.moe import changed_choices, last_choices, text_moe_layers
from course_lib.tasks.arithmetic import (
    ZERO_REWARDS,
    arithmetic_task,
    evaluate_arithmetic,
    held_out_arithmetic,
)
from course_lib.training.settings import whole_run

OFF_POLICY_FOLDER = DATA_FOLDER / "rl_after_r1"
OFF_POLICY_CURVES = (
    "reward", "accuracy", "worked", "entropy", "kl", "sampling gap", "ratio", "clip share low",
    "clip share high", "gradient norm", "masked",
)  # fmt: skip
# 48 answers a step and one update: ten seconds a run
BRIEF = GRPOSettings(
    20, n_questions=6, group_size=8, max_new_tokens=48, lr=1e-3, n_minibatches=1, beta=0.0
)


class OtherSampler:
    """Draw a step's answers by another model than the policy: a copy of it, made as one is told.

    It gets new weights every `wait` steps, and rounds those of its matrices to `bits`. Without
    `hand_over` the mask that it sampled under is lost on the way to the trainer.
    """

    def __init__(self, wait: int = 1, bits: int = 32, hand_over: bool = True) -> None:
        if wait < 1:
            raise ValueError(f"wait {wait} must be at least 1 step")
        self.wait, self.bits, self.hand_over = wait, bits, hand_over
        self.age, self.model = 0, None

    def __call__(self, model: nn.Module, *rest) -> RolloutBatch:
        if self.age % self.wait == 0:
            self.model = rounded_copy(model, self.bits)
        self.age += 1
        drawn = sample_rollouts(self.model, *rest)
        if self.hand_over:
            return drawn
        return drawn._replace(completions=replace(drawn.completions, kept=None))


@torch.no_grad()
def rounded_copy(model: nn.Module, bits: int = 32) -> nn.Module:
    """Copy a model: as it is, in bfloat16 (16 bits), or with matrices rounded to 8 bits or fewer.

    A row of a matrix is then a group of `quantize_groups`, which raises a ValueError for bits that
    are none of 2 to 8.
    """
    twin = copy.deepcopy(model)
    if bits == 16:
        return twin.to(torch.bfloat16)
    for weight in twin.parameters() if bits != 32 else ():
        if weight.ndim > 1:
            weight.copy_(dequantize_groups(*quantize_groups(weight, bits, weight.shape[-1])))
    return twin


# What is run, and how
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OffPolicyRun:
    """One way to practise: what its sampler is, and which settings of `BRIEF` are changed."""

    changes: dict = field(default_factory=dict)
    sampler: dict = field(default_factory=dict)


def stale_runs() -> dict[str, OffPolicyRun]:
    """Samples that are used often, with and without a mask, and samplers of old weights."""
    often, masked = {"n_epochs": 8}, {"sequence_threshold": 0.05}
    found = {
        "fresh": OffPolicyRun(),
        "8 updates": OffPolicyRun(often),
        "8 updates, mask": OffPolicyRun(often | masked),
        "8 updates, no clip": OffPolicyRun(often | NO_CLIP),
    }
    old = {"wait": 8}
    return found | {
        "old weights, reread": OffPolicyRun({"old_log_probs": "trainer"}, old),
        "old weights": OffPolicyRun({}, old),
        "old weights, mask": OffPolicyRun(masked, old),
    }


def cut_runs() -> dict[str, OffPolicyRun]:
    """A sampler that cuts its distribution, with the mask unknown, lost, and kept."""
    cut, kept = {"top_p": 0.5}, {"top_p": 0.5, "keep_mask": True}
    return {
        "whole distribution": OffPolicyRun(cut),
        "mask lost": OffPolicyRun(kept, {"hand_over": False}),
        "mask kept": OffPolicyRun(kept),
    }


def routed_runs() -> dict[str, OffPolicyRun]:
    """A sampler in four bits: with experts chosen anew by the trainer, and kept."""
    coarse = {"bits": 4}
    return {
        "routed anew": OffPolicyRun({}, coarse),
        "routing kept": OffPolicyRun({"keep_routing": True}, coarse),
    }


TABLES = {"stale": stale_runs, "cut": cut_runs, "routing": routed_runs}


def off_policy_run(run: OffPolicyRun, seed: int) -> dict:
    """Practise sums from the shipped base, and measure the policy on 400 held-out sums."""
    model, tokenizer = SHIPPED_R1.load("base"), SHIPPED_R1.tokenizer()
    settings, sampler = replace(BRIEF, **run.changes), OtherSampler(**run.sampler)
    task = arithmetic_task(ZERO_REWARDS)
    history = train_grpo(model, tokenizer, task, settings, seed=seed, sample=sampler)
    whole_run(history)
    return {
        "after": evaluate_arithmetic(model, tokenizer, n=400),
        "curves": rounded_curves(history, OFF_POLICY_CURVES),
    }


# How many choices
# --------------------------------------------------------------------------------------------------


@torch.no_grad()
def count_flips(model: nn.Module, sampled: Completions) -> float:
    """Give the share of a sampler's choices of experts that a model would not have made.

    Over question and answer but for its last token, which nobody has read, and all layers of
    experts. Raises ValueError if the sampler kept no choices.
    """
    if sampled.chosen is None:
        raise ValueError(
            f"{len(sampled.ids)} completions keep no experts: sample with keep_routing"
        )
    real = ~(sampled.padding[:, :-1] | sampled.padding[:, 1:])
    padding = sampled.padding[:, :-1]
    model.hidden(sampled.ids[:, :-1], padding=padding if padding.any() else None)
    own = last_choices(text_moe_layers(model))
    return changed_choices(own, sampled.chosen[:, :-1])[real].mean().item()


def sample_with_routing(model: nn.Module, n: int = 64, seed: int = 0) -> Completions:
    """Answer held-out sums, one answer each, and keep the experts of every token."""
    questions = [question.text for question in held_out_arithmetic(n, seed=32)]
    generator = torch.Generator().manual_seed(seed)
    tokenizer = SHIPPED_R1.tokenizer()
    return answer_questions(model, tokenizer, questions, generator=generator, keep_routing=True)[1]


# All runs
# --------------------------------------------------------------------------------------------------


def off_policy_runs(table: str, folder: Path = OFF_POLICY_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs of a table by name, each seed by seed."""
    return RunRecords(folder / "runs.json").by_name(table=table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.experiments.rl_after_r1", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs.json")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "runs.json")
    for seed in asked.seeds:
        for table in asked.tables:
            for name, run in TABLES[table]().items():
                key = {"table": table, "name": name, "seed": seed}
                records.get(partial(timed_measure, partial(off_policy_run, run, seed)), **key)


if __name__ == "__main__":
    main()
