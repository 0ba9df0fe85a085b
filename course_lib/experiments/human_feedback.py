"""What labels are worth: reward models, what learns from them, and what goes wrong, three seeds.

    python -m course_lib.experiments.human_feedback --out data/human_feedback

All start from the shipped base, which answers questions about facts. The labels are those of
`labellers`; true is what the annotator's hidden rating says. Finished runs are kept in `runs.json`:
a command that was stopped goes on where it was.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from random import Random
from statistics import fmean

import torch
from torch import nn

from course_lib.alignment import best_of_n
from course_lib.alignment import reward_model as rm
from course_lib.alignment.ppo import train_ppo
from course_lib.alignment.preferences import PreferenceTexts
from course_lib.alignment.rl_task import Question, RLTask
from course_lib.experiments import labellers
from course_lib.experiments.annotated_pairs import FEEDBACK_FOLDER
from course_lib.experiments.feedback_judges import (
    LengthAwareJudge,
    base_model,
    base_tokenizer,
    centred_reward,
    ensemble_reward,
    fresh_policy,
    judge_of,
    length_free_reward,
    measure_judge,
    reward_by,
    train_judge,
)
from course_lib.experiments.feedback_policies import (
    WATCHED,
    dpo_policy,
    draw_pool,
    feedback_settings,
    measure_policy,
    ppo_policy,
    sft_policy,
    watched_answers,
)
from course_lib.experiments.run_records import RunRecords, runs_parser, timed_measure
from course_lib.tasks.fact_chats import draw_fact_question
from course_lib.training.settings import whole_run

N_LABELS = 400  # as many as are shipped
FEEDBACK_COUNTS = (25, 100, 400, 1600)


def run_judge(n_labels: int, seed: int, labeller: str = "honest") -> dict:
    """Train one reward model on pairs of which none is held out, and measure it."""
    return measure_judge(train_judge(labellers.labels_of(labeller, seed, n_labels, "learnt"), seed))


def run_method(method: str, seed: int, labeller: str = "honest", n: int = N_LABELS) -> dict:
    """Teach the base by one method from the same labels, and measure the policy."""
    judge = judge_of(labeller, n, seed)
    reward, texts = reward_by(judge), labellers.labels_of(labeller, seed, n)
    policies: Mapping[str, Callable[[], nn.Module]] = {
        "base": base_model,
        "SFT on the chosen": lambda: sft_policy(texts, seed),
        "DPO": lambda: dpo_policy(texts, seed),
        "PPO": lambda: ppo_policy(reward, seed),
    }
    return measure_policy(policies[method](), reward)


POOL_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def run_best_of_n(n_labels: int, seed: int, n_questions: int = 60) -> dict:
    """Measure best-of-n by a reward model, and by the truth itself: no judge could do better."""
    reward = reward_by(judge_of("honest", n_labels, seed))
    pool = draw_pool(reward, seed, n_questions, POOL_SIZES[-1])
    curve = best_of_n.best_of_n_curve(pool.scores, pool.worth, POOL_SIZES)
    known = best_of_n.best_of_n_curve(pool.worth, pool.worth, POOL_SIZES)
    best = [[int(row[:n].argmax()) for row in pool.scores[:WATCHED]] for n in POOL_SIZES]
    watched = [
        [(pool.answers[i][k], pool.scores[i, k].item()) for i, k in enumerate(row)] for row in best
    ]
    return {"sizes": POOL_SIZES, **curve, "oracle": known["true"], "answers": watched}


def run_over_optimisation(n_labels: int, seed: int, steps: int = 60, every: int = 3) -> dict:
    """Practise for a reward model with hardly any price for distance; measure along the way."""
    reward, policy = reward_by(judge_of("honest", n_labels, seed)), fresh_policy()
    rows = [
        {
            "step": 0,
            "answers": watched_answers(policy, reward),
            **measure_policy(policy, reward, 100),
        }
    ]
    counter = iter(range(1, steps + 1))

    def measure(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
        if (step := next(counter)) % every == 0:
            found = measure_policy(policy, reward, 100)
            rows.append({"step": step, "answers": watched_answers(policy, reward), **found})
        return {}

    task = RLTask(draw_fact_question, reward, measure)
    settings = feedback_settings(steps, beta=1e-4, lr=1e-3)
    whole_run(train_ppo(policy, base_tokenizer(), task, settings, seed=seed))
    return {name: [row[name] for row in rows] for name in rows[0]}


CURES = ("none", "length residual", "length aware")
MORE_LABELS = "four times the labels"


def run_labeller(labeller: str, cure: str, seed: int, n: int = N_LABELS) -> dict:
    """Practise for a reward model of a labeller's labels, with or without a cure."""
    judge = judge_of(labeller, 4 * n if cure == MORE_LABELS else n, seed)
    if cure == "length aware":
        texts = labellers.labels_of(labeller, seed, n)
        aware = train_judge(texts, seed, LengthAwareJudge)
        judge = aware.without_length()
    reward = length_free_reward(judge) if cure == "length residual" else reward_by(judge)
    policy = ppo_policy(reward, seed)
    return measure_policy(policy, reward) | {"answers": watched_answers(policy, reward)}


ENSEMBLES: Mapping[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "minimum": min}


def resampled_labels(texts: Sequence[PreferenceTexts], seed: int) -> list[PreferenceTexts]:
    """Draw as many labels with replacement (the bootstrap): what makes reward models differ."""
    rng = Random(f"{seed}/resampled")
    return [texts[int(rng.random() * len(texts))] for _ in texts]


@cache
def resampled_judges(seed: int, n: int) -> list[rm.RewardModel]:
    """Train three reward models on the same honest labels, resampled."""
    texts = labellers.labels_of("honest", seed, n)
    return [train_judge(resampled_labels(texts, 10 * seed + k), seed) for k in range(3)]


def run_ensemble(how: str, seed: int, n: int = N_LABELS, steps: int = 40) -> dict:
    """Practise without a price for distance: for one reward model, or for three together."""
    judges = resampled_judges(seed, n)
    single = how == "one"
    reward = centred_reward(judges[0]) if single else ensemble_reward(judges, ENSEMBLES[how])
    return measure_policy(ppo_policy(reward, seed, steps, beta=1e-4), reward)


def planned_runs(seeds: Sequence[int]) -> Iterator[tuple[dict, Callable[[], dict]]]:
    """Give the key of every run, and what makes it."""
    for seed in seeds:
        for n in FEEDBACK_COUNTS:
            key = {"table": "judges", "labels": n, "seed": seed}
            yield key, partial(run_judge, n, seed)
        for n in FEEDBACK_COUNTS[1:]:
            key = {"table": "lazy judges", "labels": n, "seed": seed}
            yield key, partial(run_judge, n, seed, "lazy")
        for method in ("base", "SFT on the chosen", "DPO", "PPO"):
            key = {"table": "methods", "method": method, "seed": seed}
            yield key, partial(run_method, method, seed)
        for n in (N_LABELS,):
            key = {"table": "over-optimisation", "labels": n, "seed": seed}
            yield key, partial(run_over_optimisation, n, seed)
        yield (
            {"table": "best of n", "labels": N_LABELS, "seed": seed},
            partial(run_best_of_n, N_LABELS, seed),
        )
        for labeller, cure in [
            *product(("prefers length",), CURES),
            ("honest", "none"),
            *product(("biased", "lazy"), ("none", MORE_LABELS)),
        ]:
            key = {"table": "labellers", "labeller": labeller, "cure": cure, "seed": seed}
            yield key, partial(run_labeller, labeller, cure, seed)
        for how in ("one", *ENSEMBLES):
            key = {"table": "ensembles", "reward": how, "seed": seed}
            yield key, partial(run_ensemble, how, seed)


def read_feedback(folder: Path = FEEDBACK_FOLDER) -> list[dict]:
    """Read the finished runs."""
    return RunRecords(folder / "runs.json").runs


def run_of(runs: Sequence[dict], table: str, **key) -> dict:
    """Find the one run of a table with this key.

    >>> run_of([{"table": "methods", "method": "DPO", "seed": 0}], "methods", seed=1)
    Traceback (most recent call last):
    ValueError: 0 runs of the table methods have {'seed': 1}, not 1
    """
    wanted = {"table": table} | key
    found = [run for run in runs if wanted.items() <= run.items()]
    if len(found) != 1:
        raise ValueError(f"{len(found)} runs of the table {table} have {key}, not 1")
    return found[0]


def over_seeds(
    runs: Sequence[dict], table: str, measure: str, at: int | None = None, **key
) -> list[float]:
    """Give a measure of the runs with this key, seed by seed; of a list, the item number `at`."""
    wanted = {"table": table} | key
    found = [run for run in runs if wanted.items() <= run.items()]
    found = [run[measure] for run in sorted(found, key=lambda run: run["seed"])]
    return found if at is None else [row[at] for row in found]


def make_missing_runs(path: Path, seeds: Sequence[int], tables: Sequence[str]) -> None:
    """Make the runs that are not in the file, each kept as soon as it is done."""
    records = RunRecords(path)
    for key, measure in planned_runs(seeds):
        if not tables or key["table"] in tables:
            records.get(partial(timed_measure, measure), **key)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("human_feedback", __doc__)
    parser.add_argument("--tables", nargs="*", default=[], help="only these")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    make_missing_runs(asked.out / "runs.json", asked.seeds, asked.tables)


if __name__ == "__main__":
    main()
