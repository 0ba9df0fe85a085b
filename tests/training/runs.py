"""A small run that leans on everything a checkpoint must hold, for the tests that stop it."""

import numpy as np
import torch

from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text.batches import shuffled_windows
from course_lib.training.objectives import next_token_objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train

TINY = GPT2Settings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3)
TEXT = torch.randint(11, (500,), generator=torch.Generator().manual_seed(5))
STEPS = 40


def fresh():
    """The model, and all random generators, as at the start of every run."""
    torch.manual_seed(0)
    np.random.seed(0)
    model = GPT2(TINY)
    # as a router's bias: changed by on_step, not by a slope
    model.register_buffer("steps_seen", torch.zeros(()))
    return model


def model_of_everything(mtp=True):
    """Experts, a router with a bias, latent attention, an untied head, a second table; sizes that
    two do not divide."""
    torch.manual_seed(0)
    return DeepSeekV3(
        DeepSeekSettings(
            vocab_size=11,
            max_seq_len=8,
            d_model=12,
            n_layers=2,
            n_heads=3,
            kv_lora_rank=5,
            qk_nope_head_dim=4,
            qk_rope_head_dim=2,
            v_head_dim=3,
            n_experts=3,
            n_chosen=2,
            d_expert=4,
            mtp=mtp,
        )
    )


def noisy(model, inputs, targets):
    """The next token, made to depend on random numbers and on the buffer.

    Not on Python's own: while tests run, beartype draws from them to choose which item of a list to
    look at.
    """
    noise = torch.rand(()) + np.random.rand() + model.steps_seen / 10
    loss = next_token_objective(model, inputs, targets)
    return loss._replace(total=loss.total * noise)


def count(step, model):
    model.steps_seen += step / 7


def batches(start):
    return shuffled_windows(TEXT, batch_size=4, length=8, seed=3, start_step=start)


def run(folder=None, every=2, on_step=count, objective=noisy, data=batches, **settings):
    """Train from the start, or from what lies in `folder`; return the model and its history."""
    model = fresh()
    history = train(
        model,
        data,
        TrainSettings(**{"steps": STEPS, "weight_decay": 0.1} | settings),
        objective,
        on_step=on_step,
        checkpoints=Checkpoints(folder, every) if folder else None,
    )
    return model, history


def run_to_be_killed(folder, steps, pipe):
    """What the doomed process does: one thread, and a sign of life after every step."""

    def alive(step, model):
        count(step, model)
        pipe.send(step)

    torch.set_num_threads(1)
    run(folder, every=1, on_step=alive, steps=steps)


def bits(model):
    """Every number of a model, exactly."""
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
