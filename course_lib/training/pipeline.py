"""Pipelines: the layers of a model in stages on several processes, fed with micro-batches.

A schedule is a list of work items for each stage, in the order in which that stage does them. When
each begins follows from what it waits for, so time and idleness can be computed before anything
runs (`schedule_times`), and measured (`run_stage`). GPipe: Huang et al. 2019 (arXiv 1811.06965).
1F1B and its interleaved form: Narayanan et al. 2021 (arXiv 2104.04473), section 2.2.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn


class WorkItem(NamedTuple):
    """The forward ("F") or backward ("B") pass of a micro-batch through one chunk of a stage."""

    kind: str
    microbatch: int
    chunk: int = 0


class TimedItem(NamedTuple):
    """A work item with the stage that does it, its begin and its end in seconds."""

    stage: int
    item: WorkItem
    begin: float
    end: float


Order = list[WorkItem]


def gpipe_order(stage: int, n_stages: int, n_microbatches: int) -> Order:
    """All micro-batches forward, then all backward.

    >>> [item.kind for item in gpipe_order(stage=0, n_stages=2, n_microbatches=3)]
    ['F', 'F', 'F', 'B', 'B', 'B']
    """
    check_stage(stage, n_stages, n_microbatches)
    return [WorkItem(kind, i) for kind in "FB" for i in range(n_microbatches)]


def one_f_one_b_order(stage: int, n_stages: int, n_microbatches: int) -> Order:
    """One forward, one backward in turn, after as many forwards as there are stages behind it.

    >>> [item.kind for item in one_f_one_b_order(stage=0, n_stages=2, n_microbatches=3)]
    ['F', 'F', 'B', 'F', 'B', 'B']
    """
    check_stage(stage, n_stages, n_microbatches)
    forward = [WorkItem("F", i) for i in range(n_microbatches)]
    backward = [WorkItem("B", i) for i in range(n_microbatches)]
    return alternate(forward, backward, ahead=n_stages - 1 - stage)


def interleaved_order(stage: int, n_stages: int, n_microbatches: int, n_chunks: int = 2) -> Order:
    """1F1B where each stage holds `n_chunks` pieces of the model, far from each other.

    Micro-batches go in groups of `n_stages` through chunk 0 of all stages, then through chunk 1.
    Raises ValueError where the stages don't divide the micro-batches.
    """
    check_stage(stage, n_stages, n_microbatches)
    if n_microbatches % n_stages:
        raise ValueError(f"{n_microbatches} microbatches are not divisible by {n_stages} stages")
    turns = [
        (first + i, chunk)
        for first in range(0, n_microbatches, n_stages)
        for chunk in range(n_chunks)
        for i in range(n_stages)
    ]
    forward = [WorkItem("F", i, chunk) for i, chunk in turns]
    backward = [WorkItem("B", i, n_chunks - 1 - chunk) for i, chunk in turns]
    return alternate(forward, backward, 2 * (n_stages - 1 - stage) + (n_chunks - 1) * n_stages)


def alternate(forward: Order, backward: Order, ahead: int) -> Order:
    """Do `ahead` forwards, then one forward and one backward in turn, then what is left."""
    ahead = min(ahead, len(forward))
    order = forward[:ahead]
    for i, item in enumerate(forward[ahead:]):
        order += [item, backward[i]]
    return order + backward[len(forward) - ahead :]


def check_stage(stage: int, n_stages: int, n_microbatches: int) -> None:
    """Raise a ValueError for a stage that is not there, or no micro-batches."""
    if not 0 <= stage < n_stages:
        raise ValueError(f"stage {stage} is not one of {n_stages} stages")
    if n_microbatches < 1:
        raise ValueError(f"{n_microbatches} microbatches leave nothing to do")


def bubble_formula(n_stages: int, n_microbatches: int, n_chunks: int = 1) -> float:
    """The share of time in which a stage idles: (p - 1) / (v m + p - 1).

    For GPipe and 1F1B (`n_chunks` v = 1) and for interleaved schedules, where all stages take
    equally long and messages take no time. The papers divide by the ideal time instead, which gives
    (p - 1) / (v m).

    >>> bubble_formula(n_stages=4, n_microbatches=1), bubble_formula(4, 12, n_chunks=2)
    (0.75, 0.1111111111111111)
    """
    return (n_stages - 1) / (n_chunks * n_microbatches + n_stages - 1)


def needs(stage: int, item: WorkItem, n_stages: int, n_chunks: int) -> tuple[int, WorkItem] | None:
    """Say which item of which stage must be done first; None for what comes from the data.

    The chunks of all stages form one line: chunk 0 of all stages, then chunk 1 of all stages.
    """
    here = item.chunk * n_stages + stage
    if item.kind == "F":
        before = here - 1
    elif here == n_chunks * n_stages - 1:
        return stage, item._replace(kind="F")
    else:
        before = here + 1
    if before < 0:
        return None
    return before % n_stages, item._replace(chunk=before // n_stages)


def schedule_times(
    orders: Sequence[Order],
    forward: float | Sequence[float] = 1.0,
    backward: float | Sequence[float] = 2.0,
) -> list[TimedItem]:
    """Work out when each item begins and ends if everybody begins as soon as possible.

    `forward` and `backward` are the seconds of a micro-batch in a whole stage (one number, or one
    per stage); a chunk takes its share of them. Raises ValueError for orders that wait for each
    other for ever.
    """
    n, n_chunks = len(orders), 1 + max(item.chunk for order in orders for item in order)
    costs = {"F": per_stage(forward, n), "B": per_stage(backward, n)}
    done: dict[tuple[int, WorkItem], float] = {}
    clock, position, timed = [0.0] * n, [0] * n, []
    while any(position[s] < len(orders[s]) for s in range(n)):
        moved = False
        for s in range(n):
            item = orders[s][position[s]] if position[s] < len(orders[s]) else None
            first = needs(s, item, n, n_chunks) if item else None
            if item is None or (first is not None and first not in done):
                continue
            begin = max(clock[s], done[first] if first else 0.0)
            clock[s] = done[s, item] = begin + costs[item.kind][s] / n_chunks
            timed.append(TimedItem(s, item, begin, clock[s]))
            position[s], moved = position[s] + 1, True
        if not moved:
            raise ValueError(f"the orders wait for each other: stages stand at items {position}")
    return timed


def per_stage(seconds: float | Sequence[float], n_stages: int) -> list[float]:
    """Give every stage its number."""
    return list(seconds) if isinstance(seconds, Sequence) else [seconds] * n_stages


def bubble_fraction(timed: Sequence[TimedItem]) -> float:
    """The share of idle time of all stages, from the first begin to the last end.

    >>> bubble_fraction(schedule_times([gpipe_order(s, 2, 1) for s in range(2)]))
    0.5
    """
    n_stages = 1 + max(item.stage for item in timed)
    busy = sum(item.end - item.begin for item in timed)
    whole = max(item.end for item in timed) - min(item.begin for item in timed)
    return 1 - busy / (n_stages * whole)


def most_in_flight(order: Order) -> int:
    """The largest number of micro-batches (times chunks) whose activations are kept at once.

    >>> most_in_flight(gpipe_order(0, 2, 8)), most_in_flight(one_f_one_b_order(0, 2, 8))
    (8, 2)
    """
    kept = most = 0
    for item in order:
        kept += 1 if item.kind == "F" else -1
        most = max(most, kept)
    return most


# Real stages
# --------------------------------------------------------------------------------------------------


@runtime_checkable
class StageWork(Protocol):
    """What a stage does: `forward(microbatch, x)`, where x is None on the first stage, and
    `backward(microbatch, grad)`, where grad is None on the last; each returns what to send on."""

    def forward(self, microbatch: int, x: Tensor | None) -> Tensor | None: ...

    def backward(self, microbatch: int, grad: Tensor | None) -> Tensor | None: ...


class ModuleStage:
    """A module as a stage. The last one has a `loss_of(microbatch, output)` to begin backward by.

    Losses are divided by the number of micro-batches, so that gradients are those of their mean.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Sequence[Tensor] | None = None,
        loss_of: Callable[[int, Tensor], Tensor] | None = None,
        n_microbatches: int = 1,
    ) -> None:
        self.module, self.inputs, self.loss_of = module, inputs, loss_of
        self.n_microbatches, self.kept, self.losses = n_microbatches, {}, []

    def forward(self, microbatch: int, x: Tensor | None) -> Tensor:
        x = self.inputs[microbatch] if x is None else x.requires_grad_()
        y = self.module(x)
        if self.loss_of is not None:
            y = self.loss_of(microbatch, y) / self.n_microbatches
            self.losses.append(y.item())
        self.kept[microbatch] = x, y
        return y.detach()

    def backward(self, microbatch: int, grad: Tensor | None) -> Tensor | None:
        x, y = self.kept.pop(microbatch)
        y.backward(grad)
        return x.grad


class SleepingStage:
    """A stage that sleeps instead of computing, to measure schedules on too few cores."""

    def __init__(self, forward_seconds: float, backward_seconds: float, shape: tuple[int, ...]):
        self.seconds, self.shape = (forward_seconds, backward_seconds), shape

    def forward(self, microbatch: int, x: Tensor | None) -> Tensor:
        time.sleep(self.seconds[0])
        return torch.zeros(self.shape)

    def backward(self, microbatch: int, grad: Tensor | None) -> Tensor:
        time.sleep(self.seconds[1])
        return torch.zeros(self.shape)


def run_stage(order: Order, chunks: Sequence[StageWork], shape: tuple[int, ...]) -> list[TimedItem]:
    """Do this rank's items in order, with messages of `shape` between the ranks; tell the times.

    Every process of the group is a stage, by its rank, and calls this with its own order. Sending
    does not wait for the receiver. Times are in seconds of the machine's monotonic clock.
    """
    stage, n_stages, sent, timed = dist.get_rank(), dist.get_world_size(), [], []
    last = len(chunks) * n_stages - 1
    for item in order:
        here = item.chunk * n_stages + stage
        message = None if here == (0 if item.kind == "F" else last) else torch.empty(shape)
        if message is not None:
            source, _ = needs(stage, item, n_stages, len(chunks))
            dist.recv(message, source, tag=message_tag(item, here))
        begin, work = time.monotonic(), chunks[item.chunk]
        result = (work.forward if item.kind == "F" else work.backward)(item.microbatch, message)
        timed.append(TimedItem(stage, item, begin, time.monotonic()))
        to = here + (1 if item.kind == "F" else -1)
        if 0 <= to <= last:
            tag, result = message_tag(item, to), result.contiguous()
            sent.append((dist.isend(result, to % n_stages, tag=tag), result))
    for handle, _ in sent:
        handle.wait()
    return timed


def message_tag(item: WorkItem, to: int) -> int:
    """A number for the message that an item waits for at position `to` of the line of chunks."""
    return 2 * (1000 * item.microbatch + to) + (item.kind == "B")
