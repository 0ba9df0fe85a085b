"""What each of several processes does in `test_parallel`: torchrun starts it; the results go into a
folder."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from course_lib.training import distributed
from course_lib.training.deepseek_objective import balance_by_bias, deepseek_objective
from course_lib.training.objectives import next_token_objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import accumulate_gradients, train
from tests.training import objectives_of_all_kinds
from tests.training.runs import batches, model_of_everything

STEPS = 6
WHOLE = deepseek_objective(sequence=0.1, ahead=0.3)


def uneven_batch():
    """Rows with 1, 8, 3 and 8 targets that count, so that processes have different numbers of
    them."""
    inputs, targets = next(batches(0))
    targets = targets.clone()
    targets[0, 1:], targets[2, 3:] = -100, -100
    return inputs, targets


def of_all_kinds(sharded, name, accumulate):
    """The loss and the gradients of an uneven batch, by an objective of any kind."""
    model, objective, inputs, targets = objectives_of_all_kinds.case(name)
    learn = distributed.DistributedModel(model, sharded).learn(objective)
    loss = accumulate_gradients(
        model, learn, inputs, targets, TrainSettings(1, accumulate=accumulate)
    )
    slopes = distributed.full_state_dict(
        {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    )
    return {"loss": loss} | {name: slope.tolist() for name, slope in slopes.items()}


def one_without_targets(sharded):
    """Train on batches of which the last rows, those of the second process, hold no target that
    counts."""
    inputs, targets = next(batches(0))
    targets = targets.clone()
    targets[2:] = -100
    model = model_of_everything(mtp=False)
    history = train(
        model,
        [(inputs, targets)] * 2,
        TrainSettings(2, muon_lr=1e-3, adam_lr=1e-3),
        sharded=sharded,
    )
    return {"loss": history.loss}


def biases(sharded):
    """The routers' biases after two batches of four rows that are cut into six parts."""
    model, settings = (
        model_of_everything(mtp=False),
        TrainSettings(2, muon_lr=0.0, adam_lr=0.0, accumulate=3),
    )
    train(
        model, batches, settings, sharded=sharded, on_step=balance_by_bias(lambda step: step / 100)
    )
    state = distributed.full_state_dict(model.state_dict())
    return {name: tensor.tolist() for name, tensor in state.items() if name.endswith("router.bias")}


def gradients(sharded, uneven):
    """The loss and the gradients of one batch, as they are after all processes have met."""
    model = model_of_everything(mtp=not uneven)
    objective = distributed.DistributedModel(model, sharded).learn(
        next_token_objective if uneven else WHOLE
    )
    inputs, targets = uneven_batch() if uneven else next(batches(0))
    loss = accumulate_gradients(
        model, objective, inputs, targets, TrainSettings(1, accumulate=2 if uneven else 1)
    )
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    slopes = distributed.full_state_dict({name: p.grad for name, p in model.named_parameters()})
    return {"loss": loss} | {name: slope.tolist() for name, slope in slopes.items()}


@torch.no_grad()
def score(model):
    """A number that depends on every parameter; the second reading finds the model as the first one
    left it."""
    ids = next(batches(0))[0]
    return (
        model(ids).square().mean()
        + model.predict_ahead(model.hidden(ids)[:, :-1], ids[:, 1:]).std()
    ).item()


def run(sharded=False, folder=None, stop=STEPS, optimizer="muon"):
    """Train from the start, or from what lies in the folder, and stop after so many steps; all that
    came of it."""
    nudge = balance_by_bias(lambda step: 0.01)

    def on_step(step, model):
        nudge(step, model)
        if step == stop < STEPS and distributed.process_rank() == distributed.world_size() - 1:
            os.kill(os.getpid(), signal.SIGINT)  # one process is asked to stop: all must

    model = model_of_everything()
    history = train(
        model,
        batches,
        TrainSettings(STEPS, optimizer=optimizer, weight_decay=0.1, adam_lr=1e-3),
        WHOLE,
        evaluate=score,
        evaluate_at=[0, 4],
        on_step=on_step,
        sharded=sharded,
        checkpoints=Checkpoints(folder, every=1000) if folder else None,
    )
    state = distributed.full_state_dict(model.state_dict())
    return {
        "loss": history.loss,
        "gradient": history.gradient,
        "ended": history.ended,
        "validation": history.validation,
        "weights": {name: tensor.tolist() for name, tensor in state.items()},
    }


def main(folder):
    results = {}
    for kind in ("copies", "sharded"):
        sharded = kind == "sharded"
        for uneven in (False, True):
            results[f"{kind} gradients {uneven}"] = gradients(sharded, uneven)
        for name in objectives_of_all_kinds.NAMES:
            results[f"{kind} {name}"] = of_all_kinds(sharded, name, 1)
        results[f"{kind} more parts than rows"] = of_all_kinds(sharded, "all of V3", 3)
        results[f"{kind} without targets"], results[f"{kind} biases"] = (
            one_without_targets(sharded),
            biases(sharded),
        )
        for optimizer in ("muon", "adamw"):
            results[f"{kind} {optimizer}"] = run(sharded, optimizer=optimizer)
        results[f"one to {kind}"] = run(sharded, folder / f"one to {kind}")
        results[f"{kind} to one"] = run(sharded, folder / f"{kind} to one", stop=4)
    (folder / f"process-{distributed.process_rank()}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.process_group():
        main(Path(sys.argv[1]))
