"""Rules that see one fault each in a run's log, with their thresholds and the reasons for them.

A rule returns its evidence in a sentence, or None if it sees nothing; it raises `MeasureMissing` if
what it reads was not measured. `diagnosis` asks them in turn.
"""

import math
from collections.abc import Callable
from statistics import median

from course_lib.alignment.run_log import MeasureMissing, RunLog

# In float32 the two differ by rounding, 1e-6 nats; an engine in bfloat16 by about 0.01 (0.012 in
# issue 4772 of huggingface/trl). A temperature of 0.7 that is read as 1 makes 0.04 here.
SAMPLING_GAP = 0.02
# In a sound loss both are the same tokens. Answers whose advantage is exactly 0 are left out of the
# loss though they stand in groups of unequal rewards, which moves the mean a little.
TOKEN_EXCESS = 1.2
PROMPT_PRECISION = 0.35  # how near to the length of a question the excess must be, as a share
# Sound runs are 0.2 nats per token away from the reference at their end, not within four steps;
# nor are more than a few in a hundred of their tokens clipped by then.
FIRST_STEPS = 4
EARLY_KL, EARLY_CLIP = 0.2, 0.04
GRADIENT_JUMP = 10.0  # times the first: sound ones grow two- to fivefold as groups get rare
COLLAPSED_REWARD = 0.5  # of what was earned at first: less is a fall that chance does not explain
BROKEN_LENGTH = 0.5  # share of answers cut off while the reward is gone
PAID_GAP = 0.1  # of a right answer's reward: paid and watched accuracy are the same in a sound run
CUT_OFF_RISE = 0.1  # more answers cut off at the end than at first
# Where work pays, right answers are longer ones, by up to 0.7 in a sound run's first third; where
# length itself is paid, nothing else moves the reward as much.
LENGTH_PAYS = 0.78
USELESS_GROUPS = 0.7  # groups of four that are right in 15 %: half of them are all wrong
WEIGHT_RATIO = 4.0  # of one part of the reward to another, above which the smaller is not heard
HARDLY_RISES = 0.2  # what a part that is heard gains over a run, at the least
CERTAIN_ENTROPY = 0.1  # of the entropy at the start: nothing new is tried any more
STUCK_GROUPS = 0.3  # share of equal groups at the end, while there was still more to earn

FaultRule = Callable[[RunLog], str | None]


def token_excess(log: RunLog) -> tuple[float, float]:
    """Give how many tokens the loss reads per token that was written, and how many too many."""
    length = "length of unequal" if log.has("length of unequal") else "length"
    log.points(length)
    pairs = list(zip(log.measures["loss tokens"], log.measures[length], strict=False))
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair)) and pair[1] > 0]
    if not pairs:
        raise MeasureMissing(length)
    return median([read / wrote for read, wrote in pairs]), median([r - w for r, w in pairs])


def prompt_learnt(log: RunLog) -> str | None:
    """More tokens in the loss than written, by as many as a question has."""
    read, prompt = log.points("loss tokens"), log.early("prompt")
    ratio, extra = token_excess(log)
    if ratio < TOKEN_EXCESS or abs(extra - prompt) > PROMPT_PRECISION * prompt:
        return None
    if log.has("sampling gap") and log.points("sampling gap")[0][1] > SAMPLING_GAP:
        return None
    return (
        f"step {read[0][0]}: the loss reads {read[0][1]:.1f} tokens per answer, {extra:.1f} more"
        f" than were written; a question has {prompt:.1f}"
    )


def wrong_mask(log: RunLog) -> str | None:
    """More tokens in the loss than written, and not those of the question."""
    read, (ratio, _) = log.points("loss tokens"), token_excess(log)
    if ratio < TOKEN_EXCESS and ratio > 1 / TOKEN_EXCESS:
        return None
    return (
        f"step {read[0][0]}: the loss reads {read[0][1]:.1f} tokens per answer, {ratio:.2f} times"
        f" as many as were written"
    )


def wrong_temperature(log: RunLog) -> str | None:
    """A gap between sampling and loss at the first step, when nothing has been learnt yet."""
    (step, gap), *_ = log.points("sampling gap")
    if gap <= SAMPLING_GAP:
        return None
    return (
        f"step {step}: sampling and loss differ by {gap:.3f} nats per token, before the first"
        " update: they read the same weights in two ways"
    )


def stale_log_probs(log: RunLog) -> str | None:
    """No gap at the first step, but one as soon as weights have moved."""
    first, (gap, step) = log.points("sampling gap")[0][1], log.highest("sampling gap")
    if first > SAMPLING_GAP or gap <= SAMPLING_GAP:
        return None
    return (
        f"sampling and loss agree at the first step ({first:.1g} nats per token) and differ by"
        f" {gap:.3f} at step {step}: the sampler has older weights"
    )


def first_reward(log: RunLog) -> float:
    """Give the mean reward of the first three steps, in which little has been learnt."""
    return log.mean_between("reward", 0, 3)


def reward_fell(log: RunLog) -> int | None:
    """Give the first step with less than half of the first reward, if the run ends below it."""
    limit = COLLAPSED_REWARD * first_reward(log)
    if log.late("reward") >= limit:
        return None
    return next(step for step, value in log.points("reward") if value < limit)


def rate_too_high(log: RunLog) -> str | None:
    """The reward is gone, after a jump of distance, clip, gradient or length at the start."""
    if (step := reward_fell(log)) is None:
        return None
    signs = []
    if log.has("kl"):
        early = max([value for at, value in log.points("kl") if at <= FIRST_STEPS], default=0)
        if early > EARLY_KL:
            signs.append(f"a KL divergence of {early:.3g} nats per token by step {FIRST_STEPS}")
    for side in ("low", "high"):
        if log.has(f"clip share {side}"):
            shares = [x for at, x in log.points(f"clip share {side}") if at <= FIRST_STEPS]
            if shares and max(shares) > EARLY_CLIP:
                signs.append(f"{max(shares):.0%} of the tokens clipped by step {FIRST_STEPS}")
    if log.has("gradient norm"):
        first, (norm, at) = log.points("gradient norm")[0][1], log.highest("gradient norm")
        if norm > GRADIENT_JUMP * first > 0:
            signs.append(f"a gradient of length {norm:.3g} at step {at}, {first:.3g} at first")
    if log.has("cut off") and log.late("cut off") > BROKEN_LENGTH:
        signs.append(f"{log.late('cut off'):.0%} of the last answers cut off")
    if not signs:
        return None
    return f"the reward falls below half at step {step} and is lost, with " + ", ".join(signs)


def advantage_sign(log: RunLog) -> str | None:
    """The reward falls step by step, while gradient and distance look like those of learning."""
    if (step := reward_fell(log)) is None:
        return None
    return (
        f"the reward falls from {first_reward(log):.2f} to {log.late('reward'):.2f}, below half at"
        f" step {step}, in a run whose steps are of ordinary size"
    )


def paid_beyond_truth(log: RunLog) -> tuple[float, float]:
    """Give late how much is paid for right answers, and how much their watched share is worth."""
    return log.late("reward: accuracy"), log.late("accuracy")


def truncated_paid(log: RunLog) -> str | None:
    """More and more answers are cut off, and they make up for all that is paid and not right."""
    if (rise := log.rises("cut off")) < CUT_OFF_RISE:
        return None
    paid, right = paid_beyond_truth(log)
    share, earned = log.late("cut off"), log.late("reward of cut off")
    if paid - right < PAID_GAP or share < paid - right or earned < log.late("reward") - PAID_GAP:
        return None
    return (
        f"{share:.0%} of the last answers are cut off, {rise:.0%} more than at first, and earn"
        f" {earned:.2f}; {right:.0%} of all are right"
    )


def reward_with_hole(log: RunLog) -> str | None:
    """More is paid for right answers than there are, by a count that nobody pays for."""
    paid, right = paid_beyond_truth(log)
    if paid - right < PAID_GAP:
        return None
    return f"at the end {paid:.2f} is paid for accuracy, while {right:.2f} of the answers are right"


def no_useful_groups(log: RunLog) -> str | None:
    """From the first steps on nearly all groups have equal rewards, and little is earned."""
    early, whole = log.early("equal groups"), log.mean_between("equal groups", 0, log.steps)
    if min(early, whole) < USELESS_GROUPS:
        return None
    return f"{early:.0%} of the first groups have equal rewards, {whole:.0%} of all: no signal"


def length_bias(log: RunLog) -> str | None:
    """Inside of groups, reward goes with length more closely than being right does."""
    if (early := log.early("length pays")) < LENGTH_PAYS or log.rises("length") <= 0:
        return None
    return (
        f"inside of groups, reward and length correlate by {early:.2f} at first; answers grew from"
        f" {log.early('length'):.0f} to {log.late('length'):.0f} tokens"
    )


def part_weight(log: RunLog, name: str) -> float:
    """Give what an answer earns that has this trait: the part of the reward by the watched share.

    Raises MeasureMissing if no answer had it.
    """
    pairs = zip(log.measures[f"reward: {name}"], log.measures[name], strict=False)
    weights = [paid / share for paid, share in pairs if share > 0 and math.isfinite(paid)]
    if not weights:
        raise MeasureMissing(name)
    return median(weights)


def format_weights(log: RunLog) -> tuple[float, float]:
    """Give what form and a right answer earn. Raises MeasureMissing without either."""
    for name in ("reward: format", "format", "reward: accuracy", "accuracy"):
        log.points(name)
    return part_weight(log, "format"), part_weight(log, "accuracy")


def format_too_strong(log: RunLog) -> str | None:
    """Form earns several times as much as a right answer, and accuracy stands still."""
    form, right = format_weights(log)
    if form < WEIGHT_RATIO * right or log.rises("accuracy") > HARDLY_RISES:
        return None
    return (
        f"form earns {form / right:.1f} times as much as a right answer; accuracy went from"
        f" {log.early('accuracy'):.2f} to {log.late('accuracy'):.2f}, form from"
        f" {log.early('format'):.2f} to {log.late('format'):.2f}"
    )


def format_too_weak(log: RunLog) -> str | None:
    """Form earns a small part of what a right answer does, and is not learnt."""
    form, right = format_weights(log)
    if WEIGHT_RATIO * form > right or log.rises("format") > HARDLY_RISES:
        return None
    return (
        f"form earns {form / right:.2f} of a right answer's reward; it went from"
        f" {log.early('format'):.2f} to {log.late('format'):.2f}"
    )


def entropy_collapse(log: RunLog) -> str | None:
    """Hardly any entropy is left, and groups have become equal."""
    first, late = log.mean_between("entropy", 0, 3), log.late("entropy")
    if late > CERTAIN_ENTROPY * first or log.late("equal groups") < STUCK_GROUPS:
        return None
    return (
        f"entropy fell from {first:.2f} to {late:.3f} nats per token;"
        f" {log.late('equal groups'):.0%} of the last groups have equal rewards"
    )
