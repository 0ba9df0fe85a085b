"""What each process of a group does in `test_parallel`: one thing per function, on small models."""

import os
import resource
import signal
import warnings

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.batches import shuffled_windows
from course_lib.training import distributed
from course_lib.training.deepseek_objective import balance_by_bias, deepseek_objective
from course_lib.training.objectives import next_token_objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import accumulate_gradients, train
from tests.training.runs import model_of_everything

STEPS = 6
TEXT = torch.randint(12, (500,), generator=torch.Generator().manual_seed(5))
KINDS = ("gpt2", "tied", "untied")
V3 = deepseek_objective(sequence=0.1, ahead=0.3)


def batches(start=0):
    return shuffled_windows(TEXT, batch_size=6, length=8, seed=3, start_step=start)


def build(kind):
    """Biases; heads that share keys under a tied table; a head of its own and a key per head."""
    torch.manual_seed(0)
    if kind == "gpt2":
        model = GPT2(GPT2Settings(12, 8, d_model=12, n_layers=2, n_heads=4, d_ff=18))
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)  # zeros would hide a bias in the wrong place
        return model
    tied = kind == "tied"
    return Llama(
        LlamaSettings(
            12,
            8,
            d_model=24,
            n_layers=2,
            n_heads=6,
            n_kv_heads=2 if tied else 6,
            d_ff=20,
            tied=tied,
        )
    )


def uneven_batch():
    """Rows with 1, 8, 3, 8, 8 and 2 targets that count."""
    inputs, targets = next(batches())
    targets = targets.clone()
    targets[0, 1:], targets[2, 3:], targets[5, 2:] = -100, -100, -100
    return inputs, targets


def whole(tensors):
    return {name: t.tolist() for name, t in distributed.full_state_dict(tensors).items()}


def gradients(kind, sharded=False, accumulate=2):
    """The loss and the gradients of a batch, rows in the model's own order."""
    model = build(kind)
    learn = distributed.DistributedModel(model, sharded).learn(next_token_objective)
    settings = TrainSettings(1, accumulate=accumulate)
    loss = accumulate_gradients(model, learn, *uneven_batch(), settings)
    orders = distributed.row_orders(model)
    slopes = {
        name: distributed.take_rows(p.grad, orders[name].argsort() if name in orders else None)
        for name, p in model.named_parameters()
    }
    return {"loss": loss} | whole(slopes)


@torch.no_grad()
def score(model):
    return model(next(batches())[0]).square().mean().item()


def run(kind, sharded=False, folder=None, stop=STEPS, every=1000, on_step=None, **settings):
    """Train from the start, or from what lies in the folder, and stop after so many steps."""

    def after_step(step, model):
        if on_step:
            on_step(step, model)
        if step == stop < STEPS and distributed.process_rank() == distributed.world_size() - 1:
            os.kill(os.getpid(), signal.SIGINT)  # one process is asked to stop: all must

    model = build(kind)
    history = train(
        model,
        batches,
        TrainSettings(STEPS, **{"weight_decay": 0.1, "adam_lr": 1e-3, "clip": 0.2} | settings),
        evaluate=score,
        evaluate_at=[0, 4],
        on_step=after_step,
        sharded=sharded,
        checkpoints=Checkpoints(folder, every=every) if folder else None,
    )
    return {
        "loss": history.loss,
        "gradient": history.gradient,
        "ended": history.ended,
        "validation": history.validation,
        "weights": whole(distributed.model_tensors(model)),
    }


def results_of_a_rectangle(folder):
    """All that processes standing in a rectangle must do as one process does it."""
    results = {f"{kind} gradients": gradients(kind) for kind in KINDS}
    results |= {kind: run(kind, accumulate=2) for kind in KINDS}
    results["adamw"] = run("tied", optimizer="adamw")
    results["bfloat16"] = run("tied", precision="bfloat16")["loss"]
    for kind in ("gpt2", "tied"):
        results[f"one to many {kind}"] = run(kind, folder=folder / f"one to many {kind}")
        left = folder / f"many to fewer {kind}"
        results[f"stopped {kind}"] = run(kind, folder=left, every=2, stop=4)
    return results


def save_and_go_on(folder, sharded):
    """Go on with what others have left."""
    return {kind: run(kind, sharded, folder / f"many to fewer {kind}") for kind in ("gpt2", "tied")}


# Collectives
# --------------------------------------------------------------------------------------------------


class CountCollectives(TorchDispatchMode):
    """Note the name and the bytes of each collective that is called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = f"{function}"
        if name.startswith(("c10d.", "_c10d_functional.")) and "wait" not in name:
            tensors = [
                t for t in torch.utils._pytree.tree_leaves(arguments) if hasattr(t, "nbytes")
            ]
            self.calls.append((name, [t.nbytes for t in tensors]))
        return function(*arguments, **(options or {}))


def collectives(kind, sharded, accumulate):
    """The collectives of one batch."""
    model = model_of_everything() if kind == "v3" else build(kind)
    objective = V3 if kind == "v3" else next_token_objective
    learn = distributed.DistributedModel(model, sharded).learn(objective)
    inputs, targets = next(batches())
    settings = TrainSettings(1, accumulate=accumulate)
    accumulate_gradients(model, learn, inputs % 11, targets % 11, settings)  # the engines warm up
    model.zero_grad()
    with CountCollectives() as counted:
        accumulate_gradients(model, learn, inputs % 11, targets % 11, settings)
    return counted.calls


def v3_accumulated(sharded):
    """A run of V3, its bias included, whose batches are cut into three parts by every process."""
    model = model_of_everything()
    history = train(
        model,
        lambda start: ((x % 11, y % 11) for x, y in batches(start)),
        TrainSettings(3, accumulate=3, adam_lr=1e-3),
        V3,
        on_step=balance_by_bias(lambda step: 0.01),
        sharded=sharded,
    )
    return {"loss": history.loss} | whole(distributed.model_tensors(model))


def results_of_accumulation():
    """The collectives of a batch for all kinds, and what V3 learns."""
    kinds = (False, True)
    results = {
        (kind, sharded, accumulate): collectives(kind, sharded, accumulate)
        for kind in ("tied", "v3")
        for sharded in kinds
        for accumulate in (1, 3)
    }
    return results | {("learns", sharded): v3_accumulated(sharded) for sharded in kinds}


# What goes wrong
# --------------------------------------------------------------------------------------------------


def full_disk(folder):
    """Steps 2 and 3 of process 1 find a full disk (no file may be longer); what is said of it."""

    def fill(step, model):
        if distributed.process_rank() == 1 and step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run("tied", folder=folder, every=1, stop=3, on_step=fill, sharded=True)
    return [f"{warning.message}" for warning in told if warning.category is RuntimeWarning]


def one_fails():
    """Process 1 fails while the others wait for it in a sum."""
    if distributed.process_rank() == 1:
        raise ValueError("process 1 has had enough")
    try:
        distributed.all_reduce_sum(torch.zeros(3))
    except RuntimeError:
        raise ConnectionError("so has everybody else") from None
