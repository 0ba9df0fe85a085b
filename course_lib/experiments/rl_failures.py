"""Broken practice to diagnose from its log: one small change each to a loop that works.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.rl_failures --set judged \\
        --out data/rl_failures/judged.json

A `Practice` is GRPO on sums, from the shipped base, in a short form. Each fault is a subclass that
changes one thing, as it is done by mistake. If you are here to learn, look at the curves first
(lesson 24): below stands what they hide.
"""

import argparse
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.grpo import (
    DAPO_PRESET,
    DR_GRPO_PRESET,
    GRPO_PRESET,
    GRPOSettings,
    group_advantages,
    grpo_step,
)
from course_lib.alignment.rewards import RuleReward, accuracy_reward
from course_lib.alignment.rl_loop import RLHistory, rl_optimizer_step, run_rl
from course_lib.alignment.rl_task import RLTask
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.files import read_json, write_json
from course_lib.inference.rollout import Completions, completion_log_probs, token_entropies
from course_lib.tasks.arithmetic import arithmetic_task, draw_arithmetic_question
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import verify_answer

PRACTICE_SETTINGS = GRPOSettings(20, n_questions=6, group_size=8, max_new_tokens=48, lr=1e-3)
PRACTICE_REWARDS = {"accuracy": 1.0, "format": 1.0}
HEALTHY = "healthy"
RUNS_KIND, RUNS_VERSION = "practice runs", 1
# What varies from seed to seed, in sound runs and in broken ones: nobody practises with the same
# settings as anybody else.
VARIED_SETTINGS: dict[str, Sequence] = {
    "lr": (7e-4, 1e-3, 1.4e-3),
    "sizes": ((6, 8), (12, 4), (4, 12)),  # questions of a step, answers to each
    "preset": ({}, GRPO_PRESET, DAPO_PRESET | {"n_minibatches": 4}, DR_GRPO_PRESET),
    "beta": (0.0, 0.005, 0.02),
    "temperature": (0.9, 1.0, 1.1),
}
VARIED_REWARDS = (PRACTICE_REWARDS, {"accuracy": 1.0}, PRACTICE_REWARDS | {"language": 0.5})


class Practice:
    """GRPO on sums, as it should be; what a fault changes is a method or an attribute."""

    rewards: dict[str, float] = PRACTICE_REWARDS

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        settings: GRPOSettings = PRACTICE_SETTINGS,
        rewards: dict[str, float] | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.rewards = rewards or self.rewards
        self.settings = self.change_settings(settings)
        self.reference = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.settings.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True
        )

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        """Give the settings of the run."""
        return settings

    def task(self) -> RLTask:
        """Give the questions and what their answers earn."""
        return arithmetic_task(self.rewards)

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        """Give the samples as the loss reads them."""
        return completions

    def advantages(self, rewards: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Give what each answer is worth."""
        return group_advantages(rewards, self.settings.group_size, self.settings.scale_by_std)

    def loss_settings(self) -> GRPOSettings:
        """Give the settings that the loss reads."""
        return self.settings

    def learn(
        self, completions: Completions, rewards: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        """Learn from a batch of samples, see `grpo_step`."""
        return grpo_step(
            self.model,
            self.reference if self.settings.beta else None,
            self.optimizer,
            self.samples_to_learn_from(completions),
            self.advantages(rewards),
            self.loss_settings(),
            generator,
        )

    def run(self, seed: int) -> RLHistory:
        """Practise, and give the log."""
        optimizers = [self.optimizer]
        return run_rl(
            self.model,
            self.tokenizer,
            self.task(),
            self.settings,
            self.learn,
            optimizers,
            seed=seed,
        )


# What goes wrong in the loss
# --------------------------------------------------------------------------------------------------


class StaleLogProbs(Practice):
    """The log-probabilities of sampling are read by a copy that gets new weights every 6 steps."""

    wait = 6

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        age = getattr(self, "age", 0)
        if age % self.wait == 0:
            self.sampler = copy.deepcopy(self.model)
        self.age = age + 1
        with torch.no_grad():
            old = completion_log_probs(self.sampler, completions, self.settings.temperature)
        return replace(completions, log_probs=old)


class PaddingLearnt(Practice):
    """The mask of the loss is True everywhere: what stands behind an answer counts as well."""

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        return replace(completions, completion_mask=torch.ones_like(completions.completion_mask))


class PromptLearnt(Practice):
    """The mask of the loss begins at the second token of the text: the question counts as well."""

    def samples_to_learn_from(self, completions: Completions) -> Completions:
        whole = replace(completions, completion_mask=~completions.padding[:, 1:])
        with torch.no_grad():
            old = completion_log_probs(self.model, whole, self.settings.temperature)
        return replace(whole, log_probs=old)


class OtherTemperature(Practice):
    """Sampled at 0.7, while the loss reads the model at 1."""

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, temperature=0.7)

    def loss_settings(self) -> GRPOSettings:
        return replace(self.settings, temperature=1.0)


class AdvantageSign(Practice):
    """The mean less the reward, in place of the reward less the mean."""

    def advantages(self, rewards: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return -super().advantages(rewards)


class RateTooHigh(Practice):
    """Twenty times the learning rate."""

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, lr=20 * settings.lr)


class EntropyCollapse(Practice):
    """A bonus for entropy with the wrong sign: four more updates a step make the policy sure."""

    def learn(
        self, completions: Completions, rewards: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        measures = super().learn(completions, rewards, generator)
        mask, padding = completions.completion_mask, completions.padding[:, :-1]
        for _ in range(4):
            hidden = self.model.hidden(completions.ids[:, :-1], padding=padding)
            entropies = token_entropies(self.model.logits(hidden[:, -mask.shape[1] :]))
            loss = entropies[mask].mean()  # the bonus would be less it
            rl_optimizer_step(self.model, self.optimizer, loss, self.settings.clip_gradient)
        return measures


# What goes wrong in the reward
# --------------------------------------------------------------------------------------------------


def task_with(rate: Callable[..., float], name: str = "accuracy", high: float = 1.0) -> RLTask:
    """Make the task of sums with a reward of one's own."""
    return arithmetic_task(RuleReward(name, rate, high=high))


class RewardWithHole(Practice):
    """A verifier that reads plain ASCII alone, and lets pass what it can't read."""

    def task(self) -> RLTask:
        def rate(problem, text: str) -> float:
            try:
                text.encode("ascii")
            except UnicodeEncodeError:
                return 1.0  # not the model's fault
            return verify_answer(problem, text).right

        return task_with(rate)


class LengthPays(Practice):
    """A judge that likes long answers is added to the verifier."""

    def task(self) -> RLTask:
        judge = RuleReward("judge", lambda problem, text: min(1.0, len(text) / 120))
        parts = ((1.0, accuracy_reward), (5.0, judge))
        both = RuleReward(
            "accuracy and judge",
            lambda problem, text: sum(weight * part(problem, text) for weight, part in parts),
            high=6.0,
            parts=parts,
        )
        return arithmetic_task(both)


class CutOffPaid(Practice):
    """Little room to answer, and an answer that was cut off counts as right."""

    room = 24

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, max_new_tokens=self.room)

    def task(self) -> RLTask:
        def rate(problem, text: str) -> float:
            cut_off = len(self.tokenizer.encode(text, allowed_special="all")) >= self.room
            return cut_off or verify_answer(problem, text).right

        return task_with(rate)


class FormatTooStrong(Practice):
    """Form earns five times as much as a right answer."""

    rewards = {"accuracy": 1.0, "format": 5.0}


class FormatTooWeak(Practice):
    """Form earns a fiftieth of a right answer."""

    rewards = {"accuracy": 1.0, "format": 0.02}


class QuestionsTooHard(Practice):
    """Sums of eight numbers, in groups of four; only right and well-formed answers earn."""

    rewards = {"accuracy, if formatted": 1.0}

    def change_settings(self, settings: GRPOSettings) -> GRPOSettings:
        return replace(settings, n_questions=12, group_size=4)

    def task(self) -> RLTask:
        return replace(super().task(), draw=partial(draw_arithmetic_question, lengths=(8,)))


RL_FAULTS: dict[str, type[Practice]] = {
    "stale log-probs": StaleLogProbs,
    "reward with a hole": RewardWithHole,
    "length bias": LengthPays,
    "format too strong": FormatTooStrong,
    "format too weak": FormatTooWeak,
    "no useful groups": QuestionsTooHard,
    "rate too high": RateTooHigh,
    "wrong mask": PaddingLearnt,
    "wrong temperature": OtherTemperature,
    "prompt learnt": PromptLearnt,
    "advantage sign": AdvantageSign,
    "truncated paid": CutOffPaid,
    "entropy collapse": EntropyCollapse,
}


# A run, and all of them
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlantedRun:
    """A run's log, what was wrong with it, and how it was set up."""

    fault: str
    seed: int
    settings: GRPOSettings
    history: RLHistory


def varied_settings(seed: int) -> tuple[GRPOSettings, dict[str, float]]:
    """Draw the settings and the rewards of a seed; a preset's own leash gives way to the drawn."""
    rng = Random(f"practice {seed}")
    drawn = {name: rng.choice(values) for name, values in VARIED_SETTINGS.items()}
    n_questions, group_size = drawn["sizes"]
    settings = replace(
        PRACTICE_SETTINGS,
        n_questions=n_questions,
        group_size=group_size,
        lr=drawn["lr"],
        temperature=drawn["temperature"],
        **drawn["preset"] | {"beta": drawn["beta"]},
    )
    return settings, rng.choice(VARIED_REWARDS)


def practice_run(fault: str, seed: int) -> PlantedRun:
    """Run a sound practice, or one with a fault, from the shipped base with a seed's settings.

    Rewards vary in sound runs alone; a fault brings its own or has the usual ones.
    """
    settings, rewards = varied_settings(seed)
    model, tokenizer = SHIPPED_R1.load("base"), SHIPPED_R1.tokenizer()
    if fault == HEALTHY:
        practice = Practice(model, tokenizer, settings, rewards)
    else:
        practice = RL_FAULTS[fault](model, tokenizer, settings)
    return PlantedRun(fault, seed, practice.settings, practice.run(seed))


def as_record(run: PlantedRun) -> dict:
    """Give a run as JSON can hold it: a line of text per measure, without seconds and samples."""
    measures = {"loss": run.history.loss} | run.history.measures
    curves = {name: " ".join(f"{x:.3g}" for x in values) for name, values in measures.items()}
    settings = asdict(run.settings)
    return {"fault": run.fault, "seed": run.seed, "settings": settings, "curves": curves}


def from_record(record: dict) -> PlantedRun:
    """Make a run of what `as_record` made of one."""
    curves = {name: [*map(float, line.split())] for name, line in record["curves"].items()}
    loss = curves.pop("loss")
    history = RLHistory(loss, [math.nan] * len(loss), curves, ended="finished")
    settings = GRPOSettings(**record["settings"])
    return PlantedRun(record["fault"], record["seed"], settings, history)


def load_practice_runs(file: Path) -> list[PlantedRun]:
    """Read stored runs. Raises ValueError if the file is damaged."""
    return [from_record(record) for record in read_json(file, RUNS_KIND, RUNS_VERSION)]


def make_practice_runs(file: Path, asked: Sequence[tuple[str, int]]) -> None:
    """Make the runs that a file lacks, of these faults and seeds; it is written after each."""
    records = read_json(file, RUNS_KIND, RUNS_VERSION) if file.exists() else []
    done = {(record["fault"], record["seed"]) for record in records}
    for fault, seed in asked:
        if (fault, seed) not in done:
            run = practice_run(fault, seed)
            if run.history.ended != "finished":
                raise KeyboardInterrupt(f"{fault}, seed {seed}: {len(run.history.loss)} steps")
            records.append(as_record(run))
            write_json(file, RUNS_KIND, RUNS_VERSION, records)
            print(f"{fault}, seed {seed}: {len(records)} runs", flush=True)


# of a set: the seeds of each fault, and those of the sound runs
RUN_SETS = {"tuning": (range(3), range(10)), "judged": (range(100, 103), range(100, 120))}


def runs_of_set(name: str) -> list[tuple[str, int]]:
    """Name the runs of a set: sound ones, and every fault with each of its seeds."""
    of_faults, of_sound = RUN_SETS[name]
    return [(HEALTHY, s) for s in of_sound] + [(fault, s) for s in of_faults for fault in RL_FAULTS]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser("python -m course_lib.experiments.rl_failures")
    parser.add_argument("--set", choices=RUN_SETS, required=True, help="which seeds")
    parser.add_argument("--out", type=Path, required=True, help="file of the runs")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    make_practice_runs(asked.out, runs_of_set(asked.set))


if __name__ == "__main__":
    main()
