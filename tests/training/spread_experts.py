"""What each process of a group does in `test_expert_parallel`, on a small V3."""

import os
import signal

import torch
import torch.distributed as dist

from course_lib.layers.expert_parallel import ParallelExperts, journey_bytes, visited_ranks
from course_lib.layers.moe import Experts, route_sigmoid
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.training import distributed
from course_lib.training.deepseek_objective import balance_by_bias, deepseek_objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainSettings
from course_lib.training.traffic import socket_bytes_sent
from course_lib.training.trainer import accumulate_gradients, train
from tests.training.rectangles import batches, score, uneven_batch, whole

STEPS = 4
OBJECTIVE = deepseek_objective(sequence=0.1, ahead=0.3)


def build(**changed):
    torch.manual_seed(0)
    sizes = {"d_model": 12, "n_layers": 2, "n_heads": 3, "kv_lora_rank": 5, "v_head_dim": 3}
    heads = {"qk_nope_head_dim": 4, "qk_rope_head_dim": 2}
    experts = {"n_experts": 4, "n_chosen": 2, "d_expert": 4, "mtp": True}
    return DeepSeekV3(DeepSeekSettings(12, 8, **sizes | heads | experts | changed))


def gradients(accumulate=2):
    """The loss and all gradients of a batch whose rows hold different numbers of targets."""
    model = build()
    learn = distributed.DistributedModel(model).learn(OBJECTIVE)
    settings = TrainSettings(1, accumulate=accumulate)
    loss = accumulate_gradients(model, learn, *uneven_batch(), settings)
    return {"loss": loss} | whole({name: p.grad for name, p in model.named_parameters()})


def run(folder=None, stop=STEPS, **settings):
    """Train from the start, or from what lies in the folder, and stop after so many steps."""
    model = build()

    def after_step(step, model):
        if step == stop < STEPS and distributed.process_rank() == distributed.world_size() - 1:
            os.kill(os.getpid(), signal.SIGINT)

    history = train(
        model,
        batches,
        TrainSettings(STEPS, **{"weight_decay": 0.1, "adam_lr": 1e-3, "clip": 0.2} | settings),
        OBJECTIVE,
        evaluate=score,
        evaluate_at=[0, STEPS],
        on_step=after_step,
        callbacks=[balance_by_bias(lambda step: 0.05)],
        checkpoints=Checkpoints(folder, every=2) if folder else None,
    )
    numbers = {"loss": history.loss, "gradient": history.gradient, "score": history.validation}
    return numbers | whole(distributed.model_tensors(model))


def all_results(folder):
    """All that processes with shared experts must do as one process does it."""
    results = {"gradients": gradients(), "whole": gradients(accumulate=1)}
    results |= {"muon": run(accumulate=2), "adamw": run(optimizer="adamw")}
    results["one to many"] = run(folder / "one to many")
    results["stopped"] = run(folder / "many to one", stop=2)["loss"]
    return results


# The layer by itself
# --------------------------------------------------------------------------------------------------


def layer_case(n_tokens=40, n_experts=8, n_chosen=3, d_model=16, only=None):
    """Tokens, experts and a routing, the same in every process; `only` limits who is chosen."""
    rng = torch.Generator().manual_seed(n_tokens)
    torch.manual_seed(1)
    experts = Experts(n_experts, d_model, 4)
    x = torch.randn(n_tokens, d_model, generator=rng)
    logits = torch.randn(n_tokens, n_experts, generator=rng)
    if only:
        logits[:, only:] -= 100.0
    return x, experts, logits


def layer_step(n_tokens, only=None):
    """Output and gradients of this rank's tokens; the journeys counted, and the bytes sent."""
    x, experts, logits = layer_case(n_tokens, only=only)
    rank, n = dist.get_rank(), dist.get_world_size()
    x, logits = (t.tensor_split(n)[rank].clone().requires_grad_() for t in (x, logits))
    routing, shared = route_sigmoid(logits, torch.zeros(8), 3), ParallelExperts(experts)
    dist.barrier()
    before = socket_bytes_sent()
    out = shared(x, routing)
    dist.barrier()
    between = socket_bytes_sent()
    out.square().sum().backward()
    dist.barrier()  # all that was sent has left
    after = socket_bytes_sent()
    visits = visited_ranks(routing.chosen, 8, n)
    away = int(visits.sum() - visits[:, rank].sum())
    there, back, backward = journey_bytes(x.shape[1], 3).values()
    return {
        "out": out.tolist(),
        "x": x.grad.tolist(),
        "logits": logits.grad.tolist(),
        "gate_up": shared.gate_up.grad.tolist(),
        "down": shared.down.grad.tolist(),
        "away": away,
        "sent": None if before is None else (between - before, after - between),
        "visits": visits.sum(0).tolist(),
        "bytes": (there, back, backward),
    }
