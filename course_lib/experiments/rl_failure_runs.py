"""Runs of broken and of sound practice, kept as curves, and how often they are judged rightly.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.rl_failure_runs --set judged \\
        --out data/rl_failures/judged.json

A file is written after each run, and goes on where it ends.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import torch

from course_lib.alignment.diagnosis import FAULT_CURES, diagnose
from course_lib.alignment.grpo import DAPO_PRESET, DR_GRPO_PRESET, GRPO_PRESET, GRPOSettings
from course_lib.alignment.rl_loop import RLHistory
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.rl_failures import (
    PRACTICE_REWARDS,
    PRACTICE_SETTINGS,
    RL_FAULTS,
    Practice,
)
from course_lib.files import read_json, write_json
from course_lib.training.settings import whole_run

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
            whole_run(run.history)
            records.append(as_record(run))
            write_json(file, RUNS_KIND, RUNS_VERSION, records)
            print(f"{fault}, seed {seed}: {len(records)} runs", flush=True)


# of a set: the seeds of each fault, and those of the sound runs; "first_judged" became a second set
# for tuning when 35 of its 39 faults had been named, which is less than 90 %
RUN_SETS = {
    "tuning": (range(3), range(10)),
    "first_judged": (range(100, 103), range(100, 120)),
    "judged": (range(200, 203), range(200, 220)),
}


def runs_of_set(name: str) -> list[tuple[str, int]]:
    """Name the runs of a set: sound ones, and every fault with each of its seeds."""
    of_faults, of_sound = RUN_SETS[name]
    return [(HEALTHY, s) for s in of_sound] + [(fault, s) for s in of_faults for fault in RL_FAULTS]


# How often they are judged rightly, and six of them without a name
# --------------------------------------------------------------------------------------------------

RUNS_FOLDER = DATA_FOLDER / "rl_failures"


def confusion_table(runs: Sequence[PlantedRun]) -> dict[str, dict[str, int]]:
    """Count what `diagnose` says: of each planted fault (or "healthy"), the verdicts by name."""
    table = {fault: {} for fault in (HEALTHY, *FAULT_CURES)}
    for run in runs:
        verdict = diagnose(run.history, run.settings).fault
        table[run.fault][verdict] = table[run.fault].get(verdict, 0) + 1
    return table


def share_found(table: dict[str, dict[str, int]]) -> float:
    """Give the share of the broken runs whose fault is named."""
    broken = {fault: verdicts for fault, verdicts in table.items() if fault != HEALTHY}
    found = sum(verdicts.get(fault, 0) for fault, verdicts in broken.items())
    return found / sum(sum(verdicts.values()) for verdicts in broken.values())


# of the lab: faults by the fact that shows them, and in no other of its runs
RL_SIGNS = {
    "advantage sign": "reward falls",
    "reward with a hole": "paid, not right",
    "length bias": "length always pays",
    "entropy collapse": "sure too soon",
    "prompt learnt": "too many tokens",
    "stale log-probs": "gap after step 1",
}
# what can be seen, by the word that stands for it
RL_EVIDENCE = {
    "reward falls": "the reward ends below half of where it began",
    "paid, not right": "more is paid for accuracy than answers are right",
    "length always pays": "inside of groups, longer answers earn more, to the last step",
    "sure too soon": "entropy ends below a tenth of what it was",
    "too many tokens": "the loss reads more tokens per answer than were written",
    "gap after step 1": "sampling and loss agree at step 1 and no more at step 5",
    "length grows": "answers grow longer",
    "entropy falls": "entropy falls below half of what it was",
    "gradient grows": "gradients are longer at the end than at first",
}
RL_LAB_SEED = 1


def rl_lab_letters() -> dict[str, str]:
    """Say which letter hides which fault."""
    faults = list(RL_SIGNS)
    Random("lesson 24").shuffle(faults)
    return dict(zip("ABCDEF", faults, strict=True))


def load_rl_lab() -> dict[str, PlantedRun]:
    """Give a sound run and six broken ones by letter, all with the settings of one seed."""
    runs = load_practice_runs(RUNS_FOLDER / "tuning.json")
    of_seed = {run.fault: run for run in runs if run.seed == RL_LAB_SEED}
    letters = {HEALTHY: HEALTHY} | rl_lab_letters()
    return {letter: of_seed[fault] for letter, fault in letters.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser("python -m course_lib.experiments.rl_failure_runs")
    parser.add_argument("--set", choices=RUN_SETS, required=True, help="which seeds")
    parser.add_argument("--out", type=Path, required=True, help="file of the runs")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    make_practice_runs(asked.out, runs_of_set(asked.set))


if __name__ == "__main__":
    main()
