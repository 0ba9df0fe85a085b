"""Is my reward curve normal? Rules that read a run's log alone, from certain to likely.

`diagnose` looks first for what can't be in any sound run (samples that the loss reads otherwise
than they were drawn, more tokens in the loss than were written), then for a run that fell apart,
then for rewards that pay for the wrong thing, at last for runs that learn nothing. The first rule
that finds something names the fault. Each threshold is a named number with its reason.

The rules were made on short runs of a small model; `data/rl_failures` says how often they are
right on others. They know faults by their traces: two faults with the same traces look the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from course_lib.alignment import fault_rules as rules
from course_lib.alignment.fault_rules import FaultRule
from course_lib.alignment.rl_loop import RLHistory, RLSettings
from course_lib.alignment.run_log import MeasureMissing, RunLog

SHORTEST_RUN = 8  # steps; the first and the last third of fewer are noise


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a run ("healthy", "too short", or a fault), how one sees it, the cure.

    `skipped` names the rules that had nothing to read, and the measures they lacked.
    """

    fault: str
    evidence: str
    cure: str
    skipped: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class FaultEntry:
    """A fault, the rule that sees it, and what to do about it."""

    fault: str
    rule: FaultRule
    cure: str
    setting: str | None = None  # the one that the cure may change


# from certain to likely; the first that sees something names the fault
FAULT_ENTRIES = (
    FaultEntry(
        "prompt learnt", rules.prompt_learnt, "let the mask begin at the first sampled token"
    ),
    FaultEntry("wrong mask", rules.wrong_mask, "let the mask end with each answer's stop token"),
    FaultEntry(
        "wrong temperature",
        rules.wrong_temperature,
        "divide the scores by the temperature of sampling in the loss too, and compare one text",
        "temperature",
    ),
    FaultEntry(
        "stale log-probs",
        rules.stale_log_probs,
        "give the sampler the new weights after every step, or read the old log-probabilities anew",
    ),
    FaultEntry(
        "rate too high", rules.rate_too_high, "take a tenth of the rate, and a warm-up", "lr"
    ),
    FaultEntry(
        "no useful groups",
        rules.no_useful_groups,
        "draw easier questions, larger groups, or pay for parts of the way",
        "group_size",
    ),
    FaultEntry(
        "advantage sign", rules.advantage_sign, "an advantage is reward less mean: check its sign"
    ),
    FaultEntry(
        "truncated paid",
        rules.truncated_paid,
        "pay nothing for an answer that was cut off, or leave it out of the loss; give more room",
        "max_new_tokens",
    ),
    FaultEntry(
        "reward with a hole",
        rules.reward_with_hole,
        "read answers that are paid and not right; let the verifier refuse what it can't read",
    ),
    FaultEntry(
        "length bias",
        rules.length_bias,
        "take length out of the reward: compare answers of equal length, or subtract its slope",
    ),
    FaultEntry("format too strong", rules.format_too_strong, "let form earn less than being right"),
    FaultEntry(
        "format too weak", rules.format_too_weak, "let form earn half of being right or more"
    ),
    FaultEntry(
        "entropy collapse",
        rules.entropy_collapse,
        "raise clip_high or the temperature, add a leash, check the sign of an entropy bonus",
        "clip_high",
    ),
)
FAULT_CURES = {entry.fault: entry.cure for entry in FAULT_ENTRIES}


def diagnose(
    history: RLHistory | Mapping[str, Sequence], settings: RLSettings | None = None
) -> Diagnosis:
    """Name what is wrong with a run, by its log alone.

    `history` is a run's, or its measures by name, one number per step. What was not measured, or is
    NaN, is passed over: rules that need it are named in `skipped`. "accuracy" and "format" are
    shares that the run watches, "reward: accuracy" and "reward: format" what is paid for them. A
    run of fewer than `SHORTEST_RUN` steps is "too short". With `settings` the cure tells what the
    setting was that it may change. Raises ValueError without a "reward".

    >>> reward, gap = [0.1 * step for step in range(9)], [0.0] + 8 * [0.3]
    >>> found = diagnose({"reward": reward, "sampling gap": gap})
    >>> found.fault, found.skipped["reward with a hole"]
    ('stale log-probs', ('reward: accuracy',))
    """
    measures = history.measures if isinstance(history, RLHistory) else dict(history)
    if "reward" not in measures:
        raise ValueError(f"a log without a reward; it has {', '.join(measures) or 'nothing'}")
    log = RunLog(measures)
    n_rewards = len(log.points("reward")) if log.has("reward") else 0
    if n_rewards < SHORTEST_RUN:
        evidence = f"{n_rewards} steps with a reward; {SHORTEST_RUN} are needed to tell anything"
        return Diagnosis("too short", evidence, "let it run on")
    found, skipped = [], {}
    for entry in FAULT_ENTRIES:
        try:
            if evidence := entry.rule(log):
                found.append((entry, evidence))
        except MeasureMissing as missing:
            skipped[entry.fault] = missing.args
    if not found:
        (_, first), *_, (_, last) = log.points("reward")
        gain = f"the reward went from {first:.2f} to {last:.2f}"
        return Diagnosis("healthy", f"no rule saw a fault; {gain}", "", skipped)
    entry, evidence = found[0]
    cure = entry.cure
    if settings and entry.setting:
        cure += f" ({entry.setting} was {getattr(settings, entry.setting):g})"
    return Diagnosis(entry.fault, evidence, cure, skipped)
