"""A run's log as a list of measures, to be read early, late and at its peak; TRL's logs too."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean

THIRD = 3  # "early" and "late" are the means of a run's first and last third

# What TRL 1.16 calls the measures of `rl_measures`. Its "reward_std" is that of the groups.
TRL_NAMES = {
    "loss": "loss",
    "reward": "reward",
    "reward_std": "reward spread",
    "frac_reward_zero_std": "equal groups",
    "completions/mean_length": "length",
    "completions/max_length": "longest",
    "completions/clipped_ratio": "cut off",
    "entropy": "entropy",
    "kl": "kl",
    "grad_norm": "gradient norm",
    "clip_ratio/low_mean": "clip share low",
    "clip_ratio/high_mean": "clip share high",
    "sampling/sampling_logp_difference/mean": "sampling gap",
    "sampling/sampling_logp_difference/max": "largest sampling gap",
    "sampling/importance_sampling_ratio/mean": "ratio",
}


class MeasureMissing(Exception):
    """Tell which measure a rule would need."""


class RunLog:
    """Read the measures of a run; steps without a number (NaN, None) are passed over.

    Raises ValueError for what is neither.

    >>> log = RunLog({"reward": [0.0, 0.5, math.nan, 1.0, 1.0, 1.0]})
    >>> log.early("reward"), log.late("reward"), log.highest("reward")
    (0.25, 1.0, (1.0, 4))
    """

    def __init__(self, measures: Mapping[str, Sequence]) -> None:
        self.measures: dict[str, list[float]] = {}
        for name, values in measures.items():
            if wrong := [x for x in values if not isinstance(x, int | float | None)]:
                raise ValueError(f"{name} has {wrong[0]!r} where a number should be")
            self.measures[name] = [math.nan if x is None else float(x) for x in values]
        self.steps = max(map(len, measures.values()), default=0)

    def points(self, name: str) -> list[tuple[int, float]]:
        """Give (step, value) of the steps that have a finite one. Raises MeasureMissing."""
        values = enumerate(self.measures.get(name, ()), start=1)
        found = [(step, value) for step, value in values if math.isfinite(value)]
        if not found:
            raise MeasureMissing(name)
        return found

    def has(self, *names: str) -> bool:
        """Tell whether all of these were measured."""
        return all(any(map(math.isfinite, self.measures.get(name, ()))) for name in names)

    def early(self, name: str) -> float:
        """Give the mean over the first third of the run."""
        return self.mean_between(name, 0, self.steps / THIRD)

    def late(self, name: str) -> float:
        """Give the mean over the last third of the run."""
        return self.mean_between(name, self.steps - self.steps / THIRD, self.steps)

    def mean_between(self, name: str, after: int | float, until: int | float) -> float:
        """Give the mean over some steps. Raises MeasureMissing if none of them has a number."""
        values = [value for step, value in self.points(name) if after < step <= until]
        if not values:
            raise MeasureMissing(name)
        return mean(values)

    def highest(self, name: str) -> tuple[float, int]:
        """Give the largest value and its first step."""
        return max(((value, step) for step, value in self.points(name)), key=lambda both: both[0])

    def rises(self, name: str) -> float:
        """Give the late mean less the early one."""
        return self.late(name) - self.early(name)


def from_trl_log(
    log_history: Sequence[Mapping[str, float]],
    names: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> dict[str, list[float]]:
    """Give the measures of a run of TRL's `GRPOTrainer`, from `trainer.state.log_history`.

    `names` says which of its reward functions is "accuracy", which is "format"; `weights` are its
    `reward_weights` by function, 1 where none is given. A function of weight 0 only watches: it
    becomes the measure of its name. One that is paid becomes "reward: name", and also the measure
    of its name unless another function watches that. Entries without a reward (the summary, an
    evaluation) are left out. Names are those of TRL 1.16; it logs no "loss tokens" and no "length
    pays", so that the rules for masks and for length have nothing to read.

    >>> entry = {"reward": 0.5, "rewards/exact/mean": 0.25, "kl": 0.1, "epoch": 0.1}
    >>> from_trl_log([entry], {"exact": "accuracy"}, {"exact": 2.0})
    {'reward': [0.5], 'kl': [0.1], 'reward: accuracy': [0.5], 'accuracy': [0.25]}
    """
    names, weights = names or {}, weights or {}
    entries = [entry for entry in log_history if "reward" in entry]
    found = {
        ours: [float(entry.get(theirs, math.nan)) for entry in entries]
        for theirs, ours in TRL_NAMES.items()
        if any(theirs in entry for entry in entries)
    }
    functions = dict.fromkeys(
        key.split("/")[1]
        for entry in entries
        for key in entry
        if key.startswith("rewards/") and key.endswith("/mean")
    )
    for name in sorted(functions, key=lambda name: weights.get(name, 1.0) != 0):
        ours, weight = names.get(name, name), weights.get(name, 1.0)
        values = [float(entry.get(f"rewards/{name}/mean", math.nan)) for entry in entries]
        if weight:
            found[f"reward: {ours}"] = [weight * value for value in values]
        found.setdefault(ours, values)
    return found
