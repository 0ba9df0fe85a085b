"""What every loop of learning shares, `trainer`'s and reinforcement learning's: a careful step.

And what stands around it: the learning rate of a step, a wish to stop that waits for the step to be
whole, the bar.
"""

import ctypes
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn
from tqdm.auto import tqdm

from course_lib.training import distributed

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of <malloc.h>


def optimizer_step(
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    backward: Callable[[], float],
    max_norm: float,
) -> tuple[float, float]:
    """Let `backward` add gradients, shorten them to `max_norm`, and take one step downhill.

    `backward` returns the loss; with it, the length of the gradient before it was clipped is
    returned. Gradients that lay about before are cleared first. Raises FloatingPointError, before
    any weight has moved, if the loss or a gradient is NaN or infinite, and names the parameter.
    """
    keep_freed_memory()
    module.zero_grad()
    loss = backward()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {in_words(loss)}")
    gradients = [numbers_of_gradient(p) for p in module.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    length = norm.item()
    if not math.isfinite(length):  # seen before clipping, which would make NaN of every gradient
        raise FloatingPointError(which_gradient(module, length))
    nn.utils.clip_grads_with_norm_(module.parameters(), max_norm, norm)
    for optimizer in optimizers:
        optimizer.step()
    module.zero_grad()  # they need not lie in memory during the next forward
    return loss, length


@cache
def keep_freed_memory() -> None:
    """Let the C library keep the memory that a step frees, for the next one, in this process.

    It would return it to the system, which clears every page before handing it out again: a tenth
    of a small V3's step. Only the GNU library has the switch, `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # bytes; larger pieces come from the system directly
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def numbers_of_gradient(parameter: nn.Parameter) -> torch.Tensor:
    """Give all numbers of a gradient that may not be zero.

    Those of a sparse one, of a table of which few rows were read, are first added up row by row.
    """
    if parameter.grad.layout is torch.sparse_coo:
        parameter.grad = parameter.grad.coalesce()
        return parameter.grad.values()
    return parameter.grad


def which_gradient(module: nn.Module, length: float) -> str:
    """Name the first parameter whose gradient is not finite, of a model that has one."""
    gradients = distributed.full_state_dict(
        {
            name: numbers_of_gradient(p)
            for name, p in module.named_parameters()
            if p.grad is not None
        }
    )
    for name, _ in module.named_parameters():
        if name in gradients and not (finite := gradients[name].isfinite()).all():
            worst = gradients[name][~finite][0].item()
            return (
                f"the gradient of {name} is {in_words(worst)} in {int((~finite).sum())} of"
                f" {finite.numel()} places"
            )
    return f"the length of the gradient is {in_words(length)}, though each of its numbers is finite"


def in_words(number: float) -> str:
    """Say what a number is that is not finite."""
    return "NaN" if math.isnan(number) else "infinite"


@contextmanager
def step_in_errors(step: int) -> Iterator[None]:
    """Add the step's number to a FloatingPointError."""
    try:
        yield
    except FloatingPointError as error:
        advice = "it was not stepped by; try a smaller learning rate"
        raise FloatingPointError(f"{error} at step {step}: {advice}") from error


def set_learning_rates(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Scale every peak learning rate by the schedule's share."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("peak_lr", group["lr"]) * rate


@contextmanager
def stop_between_steps() -> Iterator[list]:
    """Turn Ctrl-C (or a polite kill) into a wish in the list, granted when a step is done.

    A second Ctrl-C ends the block at once.
    """
    wishes: list = []

    def note(signal_number: int, frame) -> None:
        if signal_number in wishes:
            raise KeyboardInterrupt
        wishes.append(signal_number)

    # Python lets the main thread alone catch signals.
    is_main = threading.current_thread() is threading.main_thread()
    watched = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield wishes
    except KeyboardInterrupt:
        wishes.append("now")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell_if_interrupted(ended: str, done: int, steps: int) -> None:
    """Say how far a run came that was asked to stop."""
    if ended == "interrupted" and distributed.process_rank() == 0:
        print(f"Stopped after {done} of {steps} steps. The model keeps what it has learnt.")


def progress_bar(steps: int, done: int) -> tqdm:
    """Show steps, tokens per second and time left; silent where COURSE_QUIET is set.

    It is set for stored notebooks.
    """
    quiet = bool(os.environ.get("COURSE_QUIET")) or distributed.process_rank() > 0
    return tqdm(total=steps, initial=done, unit="step", leave=False, disable=quiet)
