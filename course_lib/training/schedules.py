"""How boldly to step at each moment: the share of the peak learning rate, by progress."""

import math
from collections.abc import Callable

LearningRateSchedule = Callable[[float], float]


def middle_of_step(step: int, steps: int) -> float:
    """Give the progress in the middle of step `step` of `steps`.

    So no step, first or last, stands still. A ramp begins at 0 and a decay ends there; a step at
    its own beginning or end would be wasted.

    >>> [middle_of_step(step, steps=4) for step in (1, 4)]
    [0.125, 0.875]
    """
    return (step - 0.5) / steps


def linear_warmup(progress: float, warmup: float) -> float:
    """Climb from 0 to 1 in the first `warmup` of the run, then stay there."""
    if not 0 <= progress <= 1:
        raise ValueError(f"progress {progress} is outside 0 to 1")
    return min(1.0, progress / warmup) if warmup else 1.0


def warmup_stable_decay(progress: float, warmup: float = 0.05, decay: float = 0.5) -> float:
    """Give the share of the peak learning rate at `progress` (0 to 1): up, level, down to 0.

    `warmup` and `decay` are the shares of the run spent on the two ramps. Source: MiniCPM (arXiv
    2404.06395), section 4, with a linear decay.

    >>> [warmup_stable_decay(p) for p in (0.0, 0.025, 0.3, 0.75, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    down = (1 - progress) / decay if decay else 1.0
    # Where the ramps meet (warmup + decay above 1) the lower one holds: the peak is never reached.
    return min(linear_warmup(progress, warmup), down)


def warmup_cosine(progress: float, warmup: float = 0.05, floor: float = 0.1) -> float:
    """Go up a ramp, then down half a cosine wave, from the peak to `floor` of it.

    Source: SGDR (Loshchilov and Hutter 2016, arXiv 1608.03983), equation 5, without restarts.

    >>> [round(warmup_cosine(p, warmup=0.2), 3) for p in (0.1, 0.2, 0.6, 1.0)]
    [0.5, 1.0, 0.55, 0.1]
    """
    ramp = linear_warmup(progress, warmup)
    if progress <= warmup:
        return ramp
    way = (progress - warmup) / (1 - warmup)
    # Half a wave: cos goes from 1 to -1, so the second term from 1 - floor to 0.
    return floor + (1 - floor) * (1 + math.cos(math.pi * way)) / 2


def multi_step(progress: float, warmup: float = 0.05, factor: float = 0.316) -> float:
    """Go up a ramp, stay, and shrink twice by `factor`: after 80 % and after 90 % of the run.

    Two such steps make about a tenth. What was learnt before the first step can be used again when
    a run is made longer. Source: DeepSeek LLM (arXiv 2401.02954), section 2.3.

    >>> [round(multi_step(p), 3) for p in (0.025, 0.5, 0.8, 0.9)]
    [0.5, 1.0, 0.316, 0.1]
    """
    # 0.316 is the root of a tenth, so that two drops make one of ten. NumPy adds its booleans as
    # "or": they are counted as whole numbers.
    drops = int(progress >= 0.8) + int(progress >= 0.9)
    return linear_warmup(progress, warmup) * factor**drops
