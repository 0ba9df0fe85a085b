"""DualPipe: a pipeline fed from both ends, whose stages overlap one micro-batch with another.

DeepSeek-V3 (arXiv 2412.19437, section 3.2.1, figure 5); the order is that of the authors' release
(github.com/deepseek-ai/DualPipe). Each stage holds two chunks of the model, the one of its own
place and that of its mirror image, so half of the micro-batches can enter at the first stage and
half at the last. In the middle of a step a stage does a forward pass of one direction and a
backward pass of the other at once, so that one computes while the other sends. Where stages would
wait, the backward pass is split (as in zero-bubble schedules, Qi et al. 2023, arXiv 2401.10241):
"I" finds the gradient of the inputs, for which the next stage waits; "W", that of the weights,
fills a gap later. "B" is both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.training.pipeline import TimedItem, WorkItem

# what a stage does at one time: one item, or a forward and a backward pass together
Slot = tuple[WorkItem, ...]
# one step of an order: a pass ("F", "B", "I", "W") and a direction: "a" entered at the nearer end
Move = tuple[str, ...]


@dataclass(frozen=True)
class PassSeconds:
    """Seconds of a micro-batch in a chunk: forward, backward, its weight part, both at once.

    The input part is `backward - weight`. `together` None: overlapping saves nothing.
    """

    forward: float = 1.0
    backward: float = 2.0
    weight: float = 1.0
    together: float | None = None

    def of(self, slot: Slot) -> float:
        """Give the seconds that a slot takes."""
        if len(slot) == 2:
            both = self.forward + self.backward
            return both if self.together is None else self.together
        own = {"F": self.forward, "B": self.backward, "W": self.weight}
        return (own | {"I": self.backward - self.weight})[slot[0].kind]


def dualpipe_order(stage: int, n_stages: int, n_microbatches: int) -> list[Slot]:
    """List what a stage does, slot by slot; `chunk` of an item is its direction.

    Direction 0 goes from the first stage to the last with the first half of the micro-batches,
    direction 1 the other way with the second half. Raises ValueError for odd numbers, and for fewer
    than two micro-batches per stage.

    >>> ["".join(item.kind for item in slot) for slot in dualpipe_order(0, 2, 4)]
    ['F', 'F', 'F', 'B', 'FB', 'B', 'I', 'W']
    """
    check_dualpipe(stage, n_stages, n_microbatches)
    return number_moves(dualpipe_moves(stage, n_stages, n_microbatches), stage, n_stages)


def dualpipe_moves(stage: int, n_stages: int, n_microbatches: int) -> list[Move]:
    """List a stage's passes without numbers; "a" is the direction that entered at the nearer end.

    >>> dualpipe_moves(0, 4, 8)[:5]
    [('Fa',), ('Fa',), ('Fa',), ('Fb',), ('Ib',)]
    """
    place = min(stage, n_stages - 1 - stage)  # places from the nearer end
    inner = n_stages // 2 - 1 - place  # stages between this one and the middle
    steady = n_microbatches // 2 - n_stages + place + 1
    turns: list[Move] = [("Fa", "Bb"), ("Fb", "Ba")] * steady
    if not inner:  # the middle has just done the forward pass whose backward pass is next
        turns = [("Fa",), ("Bb",), *turns[1:]]
    last = [("Bb",), ("Ba",)] * (place + 1)
    late: list[Move] = [(move.replace("B", "I"),) for (move,) in last[place + 1 :]]
    return [
        *[("Fa",)] * (2 * inner),
        *[("Fa",), ("Fb",)] * (place + 1),
        *[("Ib",), ("W",), ("Fb",)] * inner,
        *turns,
        *[("Bb",), ("Fb", "Ba")] * inner,
        *last[: place + 1],
        *late,
        *[("W",), ("Ia",)] * inner,
        *[("W",)] * (place + 1),
    ]


def number_moves(moves: Sequence[Move], stage: int, n_stages: int) -> list[Slot]:
    """Give each pass its micro-batch: in order, by kind and direction; W takes the oldest I."""
    near = 0 if stage < n_stages // 2 else 1
    per_direction = sum(move == "Fa" for slot in moves for move in slot)
    done: dict[tuple[str, int], int] = {}
    waiting: list[WorkItem] = []
    slots = []
    for moves_at_once in moves:
        slot = []
        for move in moves_at_once:
            if move == "W":
                slot.append(waiting.pop(0)._replace(kind="W"))
                continue
            direction = near if move[1] == "a" else 1 - near
            key = ("F" if move[0] == "F" else "B", direction)
            number = done.get(key, 0)
            done[key] = number + 1
            slot.append(WorkItem(move[0], direction * per_direction + number, direction))
            if move[0] == "I":
                waiting.append(slot[-1])
        slots.append(tuple(slot))
    return slots


def check_dualpipe(stage: int, n_stages: int, n_microbatches: int) -> None:
    """Raise a ValueError where the schedule is not defined."""
    if n_stages < 2 or n_stages % 2 or not 0 <= stage < n_stages:
        raise ValueError(f"stage {stage} of {n_stages}: DualPipe has an even number of stages")
    if n_microbatches % 2 or n_microbatches < 2 * n_stages:
        raise ValueError(
            f"{n_microbatches} microbatches: DualPipe needs an even number, at least two for each"
            f" of {n_stages} stages"
        )


def dualpipe_bubble(n_stages: int, seconds: PassSeconds) -> float:
    """The seconds that a stage idles in a step: (p / 2 - 1) (F&B + B - 3 W). Source: table 2.

    Exact for the middle stages where forward, input and weight part take equally long; elsewhere
    stages begin as soon as they can, and the formula is near. Where overlapping saves time, outer
    stages idle less.

    >>> dualpipe_bubble(8, PassSeconds()), one_f_one_b_bubble(8, PassSeconds())
    (6.0, 21.0)
    """
    together = seconds.forward + seconds.backward if seconds.together is None else seconds.together
    return (n_stages / 2 - 1) * (together + seconds.backward - 3 * seconds.weight)


def one_f_one_b_bubble(n_stages: int, seconds: PassSeconds) -> float:
    """The seconds that a stage idles in a step of 1F1B: (p - 1) (F + B). Source: table 2."""
    return (n_stages - 1) * (seconds.forward + seconds.backward)


def zero_bubble_bubble(n_stages: int, seconds: PassSeconds) -> float:
    """The same for ZB1P, 1F1B with split backward passes: (p - 1) (F + B - 2 W)."""
    return (n_stages - 1) * (seconds.forward + seconds.backward - 2 * seconds.weight)


# Times
# --------------------------------------------------------------------------------------------------


def dual_needs(stage: int, item: WorkItem, n_stages: int) -> tuple[int, WorkItem] | None:
    """Say which pass of which stage must be done first; None for what comes from the data.

    Backward passes are asked for as "I", which a whole one does as well.
    """
    onward = 1 if item.chunk == 0 else -1
    first, last = (0, n_stages - 1) if item.chunk == 0 else (n_stages - 1, 0)
    if item.kind == "F":
        return None if stage == first else (stage - onward, item)
    if item.kind == "W":
        return stage, item._replace(kind="I")
    if stage == last:
        return stage, item._replace(kind="F")
    return stage + onward, item._replace(kind="I")


def dualpipe_times(orders: Sequence[Sequence[Slot]], seconds: PassSeconds) -> list[TimedItem]:
    """Work out when each pass begins and ends if everybody begins as soon as possible.

    The two passes of a slot have the same times. Raises ValueError for orders that wait for each
    other for ever.
    """
    n = len(orders)
    done: dict[tuple[int, WorkItem], float] = {}
    clock, position, timed = [0.0] * n, [0] * n, []
    while any(position[s] < len(orders[s]) for s in range(n)):
        moved = False
        for s in range(n):
            slot = orders[s][position[s]] if position[s] < len(orders[s]) else ()
            firsts = [first for item in slot if (first := dual_needs(s, item, n))]
            if not slot or any(first not in done for first in firsts):
                continue
            begin = max([clock[s], *(done[first] for first in firsts)])
            clock[s] = begin + seconds.of(slot)
            for item in slot:
                timed.append(TimedItem(s, item, begin, clock[s]))
                done[s, item._replace(kind="I") if item.kind == "B" else item] = clock[s]
            position[s], moved = position[s] + 1, True
        if not moved:
            raise ValueError(f"the orders wait for each other: stages stand at slots {position}")
    return timed


def idle_seconds(timed: Sequence[TimedItem]) -> list[float]:
    """Tell how long each stage idles from the first begin of all to the last end of all."""
    n_stages, whole = 1 + max(t.stage for t in timed), max(t.end for t in timed)
    busy = [{(t.begin, t.end) for t in timed if t.stage == stage} for stage in range(n_stages)]
    return [whole - sum(end - begin for begin, end in spans) for spans in busy]
