"""The doctor of reward curves: each rule on logs made by hand, just above its threshold and just
below; logs that are short, partly missing or none; and the stored runs that nobody tuned on."""

import math
from collections import Counter

import pytest

from course_lib.alignment import fault_rules
from course_lib.alignment.diagnosis import FAULT_CURES, FAULT_ENTRIES, diagnose
from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_loop import RLHistory
from course_lib.alignment.run_log import MeasureMissing, RunLog, from_trl_log
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.rl_failure_runs import HEALTHY, load_practice_runs
from course_lib.experiments.rl_failures import RL_FAULTS

STEPS = 12


def line(first, last, steps=STEPS):
    """Give numbers from `first` to `last`, evenly."""
    return [first + (last - first) * i / (steps - 1) for i in range(steps)]


def log_of(**changes):
    """Give the log of a sound run, with some measures changed or, by None, left out."""
    sound = {
        "reward": line(0.4, 1.5),
        "reward: accuracy": line(0.3, 0.9),
        "reward: format": line(0.1, 0.6),
        "accuracy": line(0.3, 0.9),
        "format": line(0.1, 0.6),
        "length": line(14, 30),
        "length of unequal": line(14, 30),
        "loss tokens": line(14, 30),
        "prompt": line(13, 13),
        "sampling gap": line(1e-7, 1e-7),
        "cut off": line(0.0, 0.05),
        "reward of cut off": line(0.0, 0.0),
        "entropy": line(0.4, 0.1),
        "kl": line(0.0, 0.15),
        "clip share low": line(0.0, 0.01),
        "clip share high": line(0.0, 0.01),
        "gradient norm": line(0.2, 0.6),
        "equal groups": line(0.0, 0.4),
        "length pays": line(0.6, 0.1),
    }
    changed = sound | {name.replace("_", " "): values for name, values in changes.items()}
    return {name: values for name, values in changed.items() if values is not None}


def paid(**values):
    """Write names of parts with their colon."""
    return {f"reward: {name}": values[name] for name in values}


GONE = [0.4, 0.4, 0.3] + [0.0] * 9
# a log that shows the fault by little, one that by little does not, and a word of the evidence
CASES = {
    "prompt learnt": (log_of(loss_tokens=line(26, 42)), log_of(loss_tokens=line(16, 32)), "13.0"),
    "wrong mask": (
        log_of(loss_tokens=line(17, 36.5)),
        log_of(loss_tokens=line(16.5, 35)),
        "1.22 times",
    ),
    "wrong temperature": (
        log_of(sampling_gap=line(0.021, 0.021)),
        log_of(sampling_gap=line(0.019, 0.019)),
        "step 1: sampling and loss differ by 0.021",
    ),
    "stale log-probs": (
        log_of(sampling_gap=[0.0] + line(0.021, 0.021, 11)),
        log_of(sampling_gap=[0.0] + line(0.019, 0.019, 11)),
        "agree at the first step",
    ),
    "rate too high": (
        log_of(reward=GONE, kl=[0, 0, 0.21] + [0.2] * 9),
        log_of(kl=[0, 0, 0.21] + [0.2] * 9),
        "0.21 nats per token by step 4",
    ),
    "advantage sign": (
        log_of(reward=line(0.4, 0.1), kl=[0, 0, 0.19] + [0.2] * 9),
        log_of(reward=line(0.4, 0.26)),
        "from 0.37 to 0.14",
    ),
    "truncated paid": (
        log_of(cut_off=line(0.3, 0.6), reward_of_cut_off=line(1, 1.4), accuracy=line(0.3, 0.3)),
        log_of(cut_off=line(0.3, 0.6), reward_of_cut_off=line(1, 1.4)),
        "are cut off",
    ),
    "reward with a hole": (
        log_of(accuracy=line(0.3, 0.75)),
        log_of(accuracy=line(0.3, 0.81)),
        "paid for accuracy",
    ),
    "no useful groups": (
        log_of(equal_groups=line(0.72, 0.71)),
        log_of(equal_groups=line(0.69, 0.7)),
        "72% of the first",
    ),
    "length bias": (
        log_of(length_pays=line(0.84, 0.5)),
        log_of(length_pays=line(0.81, 0.5)),
        "correlate by 0.79 at first",
    ),
    "format too strong": (
        log_of(**paid(format=line(0.41, 2.46)), accuracy=line(0.3, 0.3))
        | paid(accuracy=line(0.3, 0.3)),
        log_of(**paid(format=line(0.39, 2.34)), accuracy=line(0.3, 0.3))
        | paid(accuracy=line(0.3, 0.3)),
        "4.1 times",
    ),
    "format too weak": (
        log_of(format=line(0.1, 0.1)) | paid(format=line(0.024, 0.024)),
        log_of(format=line(0.1, 0.1)) | paid(format=line(0.026, 0.026)),
        "0.24 of a right",
    ),
    "entropy collapse": (
        log_of(entropy=[0.4] * 4 + [0.039] * 8),
        log_of(entropy=[0.4] * 4 + [0.041] * 8),
        "to 0.039",
    ),
}


def test_every_fault_is_planted_known_and_curable():
    assert set(FAULT_CURES) == set(RL_FAULTS) == set(CASES) and len(CASES) >= 12
    assert all(FAULT_CURES.values()) and len(FAULT_ENTRIES) == len(FAULT_CURES)


def test_a_sound_log_is_healthy():
    found = diagnose(log_of())
    assert (found.fault, found.cure, found.skipped) == ("healthy", "", {})
    assert "from 0.40 to 1.50" in found.evidence


@pytest.mark.parametrize("fault", CASES)
def test_a_rule_sees_its_fault_and_says_by_what(fault):
    sick, well, words = CASES[fault]
    found = diagnose(sick)
    assert found.fault == fault and words in found.evidence, found
    assert found.cure == FAULT_CURES[fault]
    assert diagnose(well).fault == "healthy"


# what a threshold must be moved to for a case above to be judged otherwise
MOVED = {
    "SAMPLING_GAP": (0.022, 0.018),
    "TOKEN_EXCESS": (1.25, 1.15),
    "PROMPT_PRECISION": (0.0001, 20.0),
    "EARLY_KL": (0.22, 0.18),
    "COLLAPSED_REWARD": (0.3, 0.9),
    "PAID_GAP": (0.17, 0.05),
    "CUT_OFF_RISE": (0.25,),
    "LENGTH_PAYS": (0.8, 0.75),
    "USELESS_GROUPS": (0.73, 0.69),
    "WEIGHT_RATIO": (4.2, 3.8),
    "CERTAIN_ENTROPY": (0.09, 0.11),
}


@pytest.mark.parametrize(("name", "values"), MOVED.items())
def test_a_threshold_that_is_moved_is_seen(monkeypatch, name, values):
    def verdicts():
        return [diagnose(log).fault for sick, well, _ in CASES.values() for log in (sick, well)]

    before = verdicts()
    for value in values:
        monkeypatch.setattr(fault_rules, name, value)
        try:
            assert verdicts() != before, f"{name} {value}"
        finally:
            monkeypatch.undo()


@pytest.mark.parametrize(
    "jump",
    [
        {"clip_share_low": line(0.05, 0.0)},
        {"clip_share_high": line(0.05, 0.0)},
        {"gradient_norm": [0.2, 0.2, 2.1] + [0.3] * 9},
        {"cut_off": [0.0] * 5 + [0.6] * 7},
    ],
    ids=lambda jump: next(iter(jump)),
)
def test_each_jump_tells_a_rate_from_a_sign(jump):
    assert diagnose(log_of(reward=GONE)).fault == "advantage sign"
    assert diagnose(log_of(reward=GONE, **jump)).fault == "rate too high"
    assert diagnose(log_of(reward=GONE, **jump, kl=None)).fault == "rate too high"


def test_two_faults_of_payment_are_told_apart_by_what_is_cut_off():
    """Three in ten are paid for nothing. If as many are cut off and paid, that explains it."""
    holed = {"accuracy": line(0.3, 0.5), "reward_of_cut_off": line(1, 1.4)}
    assert diagnose(log_of(cut_off=line(0.1, 0.5), **holed)).fault == "truncated paid"
    assert diagnose(log_of(cut_off=line(0.1, 0.3), **holed)).fault == "reward with a hole"
    assert diagnose(log_of(cut_off=line(0.5, 0.5), **holed)).fault == "reward with a hole"
    cheap = holed | {"reward_of_cut_off": line(0.3, 0.3)}
    assert diagnose(log_of(cut_off=line(0.1, 0.5), **cheap)).fault == "reward with a hole"


def test_what_only_looks_like_a_fault():
    """Groups become equal because all is solved; answers grow because work pays; a part that is
    learnt though it is small; entropy falls while groups still differ."""
    for changes in (
        {"equal_groups": line(0.0, 1.0)},
        {"length": line(10, 60), "length_of_unequal": line(10, 60), "loss_tokens": line(10, 60)},
        {"entropy": [0.4] * 4 + [0.03] * 8, "equal_groups": line(0.0, 0.2)},
        {"cut_off": line(0.1, 0.6)},
    ):
        assert diagnose(log_of(**changes)).fault == "healthy", changes
    assert diagnose(log_of() | paid(format=line(0.002, 0.012))).fault == "healthy"


# ----------------------------------------------------------------------- logs that are not complete


def test_a_short_run_is_too_short_to_tell():
    found = diagnose({name: values[:5] for name, values in log_of(reward=GONE).items()})
    assert found.fault == "too short" and "5 steps" in found.evidence
    assert diagnose(RLHistory(measures={"reward": []})).fault == "too short"


def test_without_a_reward_there_is_nothing_to_judge():
    with pytest.raises(ValueError, match="a log without a reward; it has loss, kl"):
        diagnose({"loss": [1.0] * 9, "kl": [0.0] * 9})
    with pytest.raises(ValueError, match="it has nothing"):
        diagnose(RLHistory())


def test_rules_that_have_nothing_to_read_are_named():
    found = diagnose({"reward": line(0.2, 0.9)})
    assert found.fault == "healthy" and set(found.skipped) == set(FAULT_CURES) - {
        "rate too high",
        "advantage sign",
    }
    assert found.skipped["no useful groups"] == ("equal groups",)
    assert diagnose({"reward": line(0.4, 0.0)}).fault == "advantage sign"


@pytest.mark.parametrize("missing", sorted(set(log_of()) - {"reward"}))
def test_no_measure_is_indispensable(missing):
    """Left out, or all NaN, or NaN at some steps: no error, and nothing is made up."""
    nans = log_of() | {missing: [math.nan] * STEPS}
    assert diagnose(nans).fault == diagnose(log_of(**{missing: None})).fault == "healthy"
    for step in (0, 5, STEPS - 1):
        holed = {name: values[:] for name, values in log_of().items()}
        for values in holed.values():
            values[step] = math.nan
        assert diagnose(holed).fault == "healthy"
    for sick, _, _ in CASES.values():
        diagnose({name: values for name, values in sick.items() if name != missing})


def test_a_reward_that_is_never_a_number():
    found = diagnose(log_of(reward=[math.nan] * STEPS))
    assert found.fault == "too short" and "0 steps with a reward" in found.evidence


def test_the_cure_tells_the_setting():
    settings = GRPOSettings(12, lr=0.02)
    assert diagnose(CASES["rate too high"][0], settings).cure.endswith("(lr was 0.02)")
    assert diagnose(CASES["wrong mask"][0], settings).cure == FAULT_CURES["wrong mask"]


def test_a_log_by_thirds():
    log = RunLog({"a": [0.0, 0.2, math.nan, 5.0, 1.0, 3.0], "b": [math.nan] * 6})
    assert (log.steps, log.early("a"), log.late("a"), log.rises("a")) == (6, 0.1, 2.0, 1.9)
    assert log.highest("a") == (5.0, 4) and log.has("a") and not log.has("a", "b")
    assert RunLog({"a": [None, 1, 2.0]}).points("a") == [(2, 1.0), (3, 2.0)]
    with pytest.raises(ValueError, match="a has '1' where a number should be"):
        RunLog({"a": [0.0, "1"]})
    for name in ("b", "c"):
        with pytest.raises(MeasureMissing, match=name):
            log.points(name)


# ----------------------------------------------------------------------------------- logs of others


def test_the_log_of_trl_by_hand():
    first = {
        "loss": 0.1, "grad_norm": 0.5, "reward": 1.2, "reward_std": 0.4, "entropy": 0.9,
        "frac_reward_zero_std": 0.25, "completions/mean_length": 20.0, "epoch": 0.1,
        "completions/clipped_ratio": 0.1, "clip_ratio/low_mean": 0.01, "kl": 0.02,
        "rewards/exact/mean": 0.5, "rewards/tags/mean": 0.2, "rewards/true/mean": 0.3,
        "sampling/sampling_logp_difference/mean": 0.003,
    }  # fmt: skip
    second = {name: value for name, value in first.items() if name != "kl"}
    summary = {"train_runtime": 3.0, "train_loss": 0.1}
    names = {"exact": "accuracy", "tags": "format", "true": "accuracy"}
    got = from_trl_log([first, second, summary], names, {"tags": 0.5, "true": 0.0})
    assert got["reward: accuracy"] == [0.5, 0.5] and got["accuracy"] == [0.3, 0.3]
    assert got["reward: format"] == [0.1, 0.1] and got["format"] == [0.2, 0.2]
    assert got["equal groups"] == [0.25, 0.25] and got["length"] == [20.0, 20.0]
    assert got["kl"][0] == 0.02 and math.isnan(got["kl"][1])
    assert got["sampling gap"] == [0.003] * 2 and "clip share high" not in got
    assert got["gradient norm"] == [0.5] * 2 and got["cut off"] == [0.1] * 2
    assert diagnose(from_trl_log([first] * 9, names, {"true": 0.0})).fault == "reward with a hole"


# ---------------------------------------------------------------------------------- the stored runs


def test_the_judged_runs():
    """Three seeds of each fault and twenty sound runs, on none of which a rule was tuned."""
    runs = load_practice_runs(DATA_FOLDER / "rl_failures/judged.json")
    verdicts = [(run.fault, diagnose(run.history, run.settings).fault) for run in runs]
    counts = Counter(fault for fault, _ in verdicts)
    assert counts.pop(HEALTHY) == 20 and counts == dict.fromkeys(RL_FAULTS, 3)
    wrong = [pair for pair in verdicts if pair[0] != pair[1]]
    assert all(fault == "entropy collapse" for fault, _ in wrong)  # what the rules see least
    assert len(wrong) == 2  # so 37 of 39 are named, and no sound run alarms
