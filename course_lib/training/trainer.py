"""The training loop: one for every model of the course."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.training import distributed
from course_lib.training.callbacks import CallAfterStep, Callback, EvaluateAt
from course_lib.training.loop import (
    optimizer_step,
    progress_bar,
    set_learning_rates,
    step_in_errors,
    stop_between_steps,
    tell_if_interrupted,
)
from course_lib.training.objectives import (
    Objective,
    as_loss_sum,
    next_token_objective,
    objective_of_logits,
)
from course_lib.training.optimizers import build_optimizers
from course_lib.training.resume import Checkpoints
from course_lib.training.schedules import middle_of_step
from course_lib.training.settings import CLOCKS, TrainHistory, TrainSettings, whole_run

# inputs and targets, whose further axes are the objective's own
TokenBatch = tuple[Int[Tensor, "B ..."], Int[Tensor, "B ..."]]


def train(
    model: nn.Module,
    batches: Iterable[TokenBatch] | Callable[[int], Iterable[TokenBatch]],
    settings: TrainSettings,
    objective: Objective = next_token_objective,
    *,
    loss_of: Callable[[Tensor, Tensor], Tensor] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    evaluate_at: Collection[int] = (),
    on_step: Callable[[int, nn.Module], None] | Callback | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoints: Checkpoints | None = None,
    sharded: bool = False,
) -> TrainHistory:
    """Teach `model` what `objective(model, inputs, targets)` asks of it; return what happened.

    An objective gives a `LossSum`, which says what it is a mean over, so that a batch has the same
    gradient however it is cut (`accumulate`, or several processes); a plain number is taken for a
    mean over rows. `loss_of(logits, targets)` is the short way to say an objective that needs the
    logits only, and is a mean over targets.

    `callbacks` are told of every step, then `on_step(step, model)` is called; last, after the steps
    in `evaluate_at` (0 is before the first), `evaluate(model)` gives the bits per byte of held-out
    text. Interrupting (Ctrl-C, or the stop button) ends the run after the step at hand and keeps
    what the model has learnt.

    With `checkpoints`, a run that ended early, or was killed, goes on where the last checkpoint is,
    as if nothing had happened. For this `batches` are given from the first one on, or as a function
    of the number of batches to skip. `sharded`: see `distributed.DistributedModel`. Raises
    FloatingPointError when the loss or a gradient is no longer a finite number, before the weights
    are touched, and ValueError when there are fewer batches than steps.
    """
    if on_step is not None and not isinstance(on_step, Callback):
        on_step = CallAfterStep(on_step)
    told = [*callbacks, *([on_step] if on_step else []), EvaluateAt(evaluate, evaluate_at)]
    objective = objective_of_logits(loss_of) if loss_of else objective
    return TrainingRun(model, settings, objective, told, checkpoints, sharded).go(batches)


def train_to_the_end(*arguments: Any, **options: Any) -> TrainHistory:
    """Train as `train` does, for a measurement: half a run measures nothing.

    Raises KeyboardInterrupt if the run was interrupted, so that nobody writes its result down.
    """
    return whole_run(train(*arguments, **options))


class TrainingRun:
    """The parts of one run and where it stands: `train` makes it and lets it `go`."""

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        objective: Objective,
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
        sharded: bool,
    ) -> None:
        if settings.seconds and distributed.world_size() > 1:
            raise ValueError(
                f"seconds {settings.seconds} with {distributed.world_size()} processes, whose"
                " clocks differ"
            )
        self.model = model
        self.settings = settings
        self.callbacks = callbacks
        self.checkpoints = checkpoints
        self.spread = distributed.DistributedModel(model, sharded)
        self.device = next(model.parameters()).device
        self.objective = self.spread.learn(objective)
        self.optimizers = optimizers_of(model, settings)
        self.history = (
            checkpoints.restore(model, self.optimizers, settings) if checkpoints else TrainHistory()
        )
        self.start = 0.0  # on the clock: when the run would have begun, had it never been stopped

    def go(
        self, batches: Iterable[TokenBatch] | Callable[[int], Iterable[TokenBatch]]
    ) -> TrainHistory:
        """Take the steps that are still to come."""
        history, steps = self.history, self.settings.steps
        if history.ended:
            return history
        with stop_between_steps() as wishes, progress_bar(steps, len(history.loss)) as bar:
            self.tell("before_training")  # may evaluate for many seconds: the bar stands already
            coming = with_first_drawn(numbered_batches(batches, len(history.loss), steps))
            self.start = self.now() - history.spent()
            for step, batch in coming:
                self.learn(step, *batch, bar)
                self.tell("after_step", step)
                self.end_or_go_on(step, wishes)
                if history.ended:
                    break
        # in the middle of a step
        history.ended = history.ended or ("interrupted" if wishes else "")
        tell_if_interrupted(history.ended, len(history.loss), steps)
        if not history.ended:
            raise ValueError(f"the batches ended after {len(history.loss)} of {steps} steps")
        return history

    def learn(self, step: int, inputs: Tensor, targets: Tensor, bar: tqdm) -> None:
        """Take one step at the learning rate of its moment, and write down what came of it."""
        began = self.now() - self.start
        rate = self.settings.share_of_peak(training_progress(step, began, self.settings))
        set_learning_rates(self.optimizers, rate)
        for callback in self.callbacks:
            callback.before_step(step, self.model)
        batch = inputs.to(self.device), targets.to(self.device)
        with step_in_errors(step):
            loss, gradient = training_step(
                self.model, self.optimizers, self.objective, *batch, self.settings, self.after_part
            )
        self.history.record(loss, gradient, rate, inputs.numel(), self.now() - self.start)
        took = max(self.history.seconds[-1] - began, 1e-9)  # some clocks tick slowly
        show_training_progress(bar, loss, inputs.numel() / took)

    def now(self) -> float:
        return getattr(time, CLOCKS[self.settings.clock])()

    def after_part(self) -> None:
        for callback in self.callbacks:
            callback.after_part(self.model)

    def tell(self, moment: str, *step: int) -> None:
        """Call a method of each callback, in the same order everywhere, with a readable model."""
        for callback in self.callbacks:
            self.spread.look(partial(getattr(callback, moment), *step, history=self.history))

    def end_or_go_on(self, step: int, wishes: list) -> None:
        """Find out whether the run is over, and save it where that is due."""
        self.history.ended = stop_reason(self.history, self.settings, wishes)
        if self.checkpoints and (self.history.ended or step % self.checkpoints.every == 0):
            self.checkpoints.save(self.model, self.optimizers, self.history, self.settings)


def optimizers_of(model: nn.Module, settings: TrainSettings) -> Sequence[torch.optim.Optimizer]:
    """Make the optimizers that the settings ask for."""
    if callable(settings.optimizer):
        return settings.optimizer(model)
    return build_optimizers(
        model,
        settings.muon_lr,
        settings.adam_lr,
        settings.weight_decay,
        muon=settings.optimizer == "muon",
    )


def numbered_batches(
    batches: Iterable[TokenBatch] | Callable[[int], Iterable[TokenBatch]], done: int, steps: int
) -> Iterator:
    """Give the batches still to come, each with its step's number, `done` + 1 to `steps`."""
    coming = batches(done) if callable(batches) else islice(batches, done, None)
    return zip(range(done + 1, steps + 1), coming, strict=False)


def with_first_drawn(items: Iterator) -> Iterator:
    """Draw the first item at once, so that a clock which starts now need not wait for it.

    Else a slow first batch would use up the warm-up, and the first step be taken at a high rate.
    """
    return chain(list(islice(items, 1)), items)


def stop_reason(history: TrainHistory, settings: TrainSettings, wishes: list) -> str:
    """Say why the run ends after this step; an empty text if it goes on."""
    if len(history.loss) == settings.steps:
        return "finished"
    if settings.seconds and history.seconds[-1] >= settings.seconds:
        return "time"
    return "interrupted" if distributed.all_reduce_sum(torch.tensor(len(wishes))) else ""


def training_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    objective: Objective,
    inputs: Tensor,
    targets: Tensor,
    settings: TrainSettings,
    after_part: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Find the gradient for every parameter, shorten it if it is long, and step downhill.

    Return the loss and the length of the gradient before it was clipped.
    """
    backward = partial(
        accumulate_gradients, model, objective, inputs, targets, settings, after_part
    )
    return optimizer_step(model, optimizers, backward, settings.clip)


def accumulate_gradients(
    model: nn.Module,
    objective: Objective,
    inputs: Tensor,
    targets: Tensor,
    settings: TrainSettings,
    after_part: Callable[[], None] = lambda: None,
) -> float:
    """Add up the gradient of the batch's mean loss, part by part; return the loss.

    The parameters have no gradients yet. The parts' sums are added up, and divided by what they are
    over when that is known: at the end, for all parts of all processes together.
    """
    n_parts = settings.accumulate * distributed.group_sizes().data
    sums = torch.zeros(2, dtype=torch.double, device=inputs.device)
    for number, (x, y, counts) in enumerate(parts_of_batch(inputs, targets, n_parts), 1):
        autocast = torch.autocast(
            x.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"
        )
        with distributed.part_of_batch(objective, number == settings.accumulate), autocast:
            loss = as_loss_sum(objective(model, x, y), len(x))
        if loss.whole_batch and n_parts > 1:
            how = (
                f"accumulate {settings.accumulate} and {distributed.world_size()} processes would"
                " cut it"
            )
            raise ValueError(
                f"{loss.whole_batch} looks at a whole batch at once: {how} into {n_parts} parts"
            )
        (loss.total * counts).backward()
        sums += counts * torch.stack(
            [loss.total.detach(), torch.as_tensor(loss.count, device=x.device)]
        )
        if counts:
            after_part()
    total, count = distributed.all_reduce_sum(sums).tolist()
    if not count:
        raise ValueError(f"none of the {targets.numel()} targets of a batch counts")
    distributed.average_expert_gradients(model)
    # The engines have averaged over the processes; the sums are to be added up.
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    torch._foreach_mul_(gradients, distributed.world_size() / count)
    return total / count


def parts_of_batch(
    inputs: Tensor, targets: Tensor, n_parts: int
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Cut a batch into parts of as many rows each; give those of this process, and if they count.

    With fewer rows than parts some are empty, and are left out. Not so of several processes, which
    meet in every backward pass: there a row that does not count stands in, or the others would wait
    for ever.
    """
    parts = zip(inputs.tensor_split(n_parts), targets.tensor_split(n_parts), strict=True)
    for x, y in distributed.rank_shard(parts):
        if len(x):
            yield x, y, True
        elif distributed.world_size() > 1:
            yield inputs[:1], targets[:1], False


def training_progress(step: int, seconds: float, settings: TrainSettings) -> float:
    """Tell how much of the run is over, from 0 to 1, by its steps or by the clock.

    Whichever is further.
    """
    by_clock = seconds / settings.seconds if settings.seconds else 0.0
    return min(1.0, max(middle_of_step(step, settings.steps), by_clock))


def show_training_progress(bar: tqdm, loss: float, speed: float) -> None:
    """Move the bar on by a step, with the loss in nats and the speed in tokens per second."""
    bar.set_postfix_str(f"loss {loss:.2f} nats/token, {speed:,.0f} tokens/s")
    bar.update()
