"""The training loop: one for every model of the course."""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.text.batches import IGNORE
from course_lib.training import parallel
from course_lib.training.objectives import Objective, next_token
from course_lib.training.optim import build_optimisers
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import History, TrainSettings

Batch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]


def train(
    model: nn.Module,
    batches: Iterable[Batch] | Callable[[int], Iterable[Batch]],
    settings: TrainSettings,
    objective: Objective = next_token,
    *,
    loss_of: Callable[[Tensor, Tensor], Tensor] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    evaluate_at: Collection[int] = (),
    on_step: Callable[[int, nn.Module], None] | None = None,
    checkpoints: Checkpoints | None = None,
    sharded: bool = False,
) -> History:
    """Teach `model` what `objective(model, inputs, targets)` asks of it; return what happened.

    `loss_of(logits, targets)` is the short way to say an objective that needs the logits only. `on_step` is called
    after every step; then, after those in `evaluate_at` (0 is before the first), `evaluate(model)` gives the bits per
    byte of held-out text. Interrupting (Ctrl-C, or the stop button) ends the run after the step at hand and keeps what
    the model has learnt.

    With `checkpoints`, a run that ended early, or was killed, goes on where the last checkpoint is, as if nothing had
    happened. For this `batches` are given from the first one on, or as a function of the number of batches to skip.
    `sharded`: see `parallel.Spread`. Raises FloatingPointError when the loss is no longer a number, ValueError when
    there are fewer batches than steps.
    """
    if evaluate_at and evaluate is None:
        raise ValueError(f"evaluate_at {list(evaluate_at)} needs a function evaluate")
    if loss_of:
        objective = lambda model, inputs, targets: loss_of(model(inputs), targets)  # noqa: E731
    if settings.seconds and parallel.size() > 1:
        raise ValueError(f"seconds {settings.seconds} with {parallel.size()} processes, whose clocks differ")
    spread, device = parallel.Spread(model, sharded), next(model.parameters()).device
    objective = spread.learn(objective)
    optimisers = build_optimisers(
        model, settings.muon_lr, settings.adam_lr, settings.weight_decay, muon=settings.optimiser == "muon"
    )
    history = checkpoints.restore(model, optimisers, settings) if checkpoints else History()
    if history.ended:
        return history
    if 0 in evaluate_at and not history.loss:
        history.validation.append((0, spread.look(evaluate)))
    start = time.perf_counter() - history.spent()
    with stop_between_steps() as wishes, progress_bar(settings.steps, len(history.loss)) as bar:
        for step, (inputs, targets) in numbered(batches, len(history.loss), settings.steps):
            began = time.perf_counter() - start
            rate = settings.share_of_peak(share_done(step - 1, began, settings))
            set_learning_rates(optimisers, rate)
            batch = inputs.to(device), targets.to(device)
            loss, gradient = training_step(model, optimisers, objective, *batch, settings)
            history.record(loss, gradient, rate, inputs.numel(), time.perf_counter() - start)
            show(bar, loss, inputs.numel() / (history.seconds[-1] - began))
            if on_step:
                spread.look(partial(on_step, step))
            if step in evaluate_at:
                history.validation.append((step, spread.look(evaluate)))
            history.ended = why_to_end(history, settings, wishes)
            if checkpoints and (history.ended or step % checkpoints.every == 0):
                checkpoints.save(model, optimisers, history, settings)
            if history.ended:
                break
    if wishes and not history.ended:
        history.ended = "interrupted"
    if history.ended == "interrupted" and parallel.rank() == 0:
        print(f"Stopped after {len(history.loss)} of {settings.steps} steps. The model keeps what it has learnt.")
    if not history.ended:
        raise ValueError(f"the batches ended after {len(history.loss)} of {settings.steps} steps")
    return history


def numbered(batches: Iterable[Batch] | Callable[[int], Iterable[Batch]], done: int, steps: int) -> Iterator:
    """Give the batches that are still to come, each with the number of its step: `done` + 1 to `steps`."""
    coming = batches(done) if callable(batches) else islice(batches, done, None)
    return zip(range(done + 1, steps + 1), coming, strict=False)


@contextmanager
def stop_between_steps() -> Iterator[list]:
    """Turn Ctrl-C (or a polite kill) into a wish in the list, to be granted when a step is done, not in its middle.

    A second Ctrl-C ends the block at once.
    """
    wishes: list = []

    def note(signal_number: int, frame) -> None:
        if signal_number in wishes:
            raise KeyboardInterrupt
        wishes.append(signal_number)

    watched = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield wishes
    except KeyboardInterrupt:
        wishes.append("now")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def why_to_end(history: History, settings: TrainSettings, wishes: list) -> str:
    """Say why the run ends after this step; an empty text if it goes on."""
    if len(history.loss) == settings.steps:
        return "finished"
    if settings.seconds and history.seconds[-1] >= settings.seconds:
        return "time"
    return "interrupted" if parallel.total(torch.tensor(len(wishes))) else ""


def training_step(
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    objective: Objective,
    inputs: Tensor,
    targets: Tensor,
    settings: TrainSettings,
) -> tuple[float, float]:
    """Find the slope of the loss for every parameter, shorten it if it is steep, and take one step downhill.

    Return the loss and the length of the gradient before it was clipped.
    """
    loss = add_gradients(model, objective, inputs, targets, settings)
    gradient = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()
    return loss, gradient.item()


def add_gradients(
    model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor, settings: TrainSettings
) -> float:
    """Add the gradient of the batch's mean loss to the parameters, part by part; return the loss.

    A part counts by the number of its targets that are not padding (`IGNORE`), so that the parts together give the
    gradient of the whole batch.
    """
    n_counted, total = (targets != IGNORE).sum(), torch.zeros((), device=inputs.device)
    if not n_counted:
        raise ValueError(f"none of the {targets.numel()} targets of a batch counts: all are {IGNORE}")
    for x, y in parallel.mine(parts(inputs, targets, settings.accumulate * parallel.size())):
        share = (y != IGNORE).sum() / n_counted
        if share > 0:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                loss = objective(model, x, y)
            (loss * share * parallel.size()).backward()     # the engines average over processes; the shares add up
            total += loss.detach() * share
    return parallel.total(total).item()


def parts(inputs: Tensor, targets: Tensor, n_parts: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Cut a batch into parts of as many rows each, give or take one."""
    if len(inputs) < n_parts:
        raise ValueError(f"a batch of {len(inputs)} rows cannot be cut into {n_parts} parts")
    return zip(inputs.tensor_split(n_parts), targets.tensor_split(n_parts), strict=True)


def share_done(step: int, seconds: float, settings: TrainSettings) -> float:
    """Tell how much of the run is over, from 0 to 1, by its steps or by the clock, whichever is further."""
    by_clock = seconds / settings.seconds if settings.seconds else 0.0
    return min(1.0, max(step / settings.steps, by_clock))


def set_learning_rates(optimisers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Scale every peak learning rate by the schedule's share."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("peak_lr", group["lr"]) * rate


def progress_bar(steps: int, done: int) -> tqdm:
    """Show steps, tokens per second and time left; silent where COURSE_QUIET is set, as in a stored notebook."""
    quiet = bool(os.environ.get("COURSE_QUIET")) or parallel.rank() > 0
    return tqdm(total=steps, initial=done, unit="step", leave=False, disable=quiet)


def show(bar: tqdm, loss: float, speed: float) -> None:
    bar.set_postfix_str(f"loss {loss:.2f} nats/token, {speed:,.0f} tokens/s")
    bar.update()
