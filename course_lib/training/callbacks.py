"""What may happen around the steps of a run: a function, an evaluation, a router's bias."""

from collections.abc import Callable, Collection

from torch import nn

from course_lib.training.settings import TrainHistory


class Callback:
    """What a run calls at each of its moments; a method does nothing until it is overridden."""

    def before_training(self, model: nn.Module, history: TrainHistory) -> None:
        """Called once, before the first step at hand: the run is new if its history is empty."""

    def before_step(self, step: int, model: nn.Module) -> None:
        """Called before the forward pass of step number `step`, which is 1 for the first."""

    def after_part(self, model: nn.Module) -> None:
        """Called after each part of a batch that is read, see `TrainSettings.accumulate`."""

    def after_step(self, step: int, model: nn.Module, history: TrainHistory | None = None) -> None:
        """Called when the weights have moved and the step stands in the history."""


class CallAfterStep(Callback):
    """Call `function(step, model)` after every step."""

    def __init__(self, function: Callable[[int, nn.Module], None]) -> None:
        self.function = function

    def after_step(self, step: int, model: nn.Module, history: TrainHistory | None = None) -> None:
        self.function(step, model)


class EvaluateAt(Callback):
    """Write what `evaluate(model)` gives into `TrainHistory.validation` after the named steps.

    Step 0 is before the first.
    """

    def __init__(
        self, evaluate: Callable[[nn.Module], float] | None, steps: Collection[int]
    ) -> None:
        if steps and evaluate is None:
            raise ValueError(f"evaluate_at {list(steps)} needs a function evaluate")
        self.evaluate, self.steps = evaluate, steps

    def before_training(self, model: nn.Module, history: TrainHistory) -> None:
        if not history.loss:
            self.after_step(0, model, history)

    def after_step(self, step: int, model: nn.Module, history: TrainHistory | None = None) -> None:
        if step in self.steps:
            history.validation.append((step, self.evaluate(model)))
