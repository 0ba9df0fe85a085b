"""The ladder's runs: every kind of model in the same small size, trained and measured."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from statistics import mean

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.experiments import ladder
from course_lib.experiments.run_records import RunRecords
from course_lib.inference.cache import make_caches
from course_lib.inference.evaluate import evaluate_bits_per_byte
from course_lib.layers.moe import dead_experts, expert_load, max_load_violation
from course_lib.models.deepseek import (
    DeepSeekMoE,
    DeepSeekSettings,
    DeepSeekV2,
    DeepSeekV3,
    DeepSeekV32,
    DeepSeekV32Settings,
    count_active_parameters,
)
from course_lib.models.deepseek_v4 import DeepSeekV4, DeepSeekV4Settings
from course_lib.models.gpt2 import GPT2, GPT2Settings, count_parameters
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.batches import shuffled_windows
from course_lib.training.deepseek_objective import (
    balance_by_bias,
    count_expert_loads,
    deepseek_objective,
    moe_layers,
    mtp_acceptance,
)
from course_lib.training.objectives import Objective, next_token_objective
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

LADDER_LENGTH, LADDER_BATCH = 128, 16
LADDER_SIZE = {"max_seq_len": LADDER_LENGTH, "d_model": 64, "n_layers": 4, "n_heads": 4}
# A latent of two heads' width and a rotary key of half a head's; a token's three experts are as
# wide as one SwiGLU.
LADDER_DEEPSEEK = LADDER_SIZE | {
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "tied": True,
}
# An indexer must be far cheaper than the attention that it chooses for: a third of its numbers.
LADDER_INDEXER = {"index_n_heads": 4, "index_head_dim": 8}
# each token attends to a quarter of the context; the queries' latent is what the indexer reads
LADDER_SPARSE = (
    LADDER_DEEPSEEK | LADDER_INDEXER | {"q_lora_rank": 32, "index_top_k": LADDER_LENGTH // 4}
)
# a window of an eighth; behind it eight blocks of 4 tokens, or all of 16
LADDER_V4 = LADDER_INDEXER | {
    "max_seq_len": LADDER_LENGTH,
    "d_model": 64,
    "n_heads": 4,
    "layer_types": ("sliding", "CSA", "HCA", "CSA"),
    "window": LADDER_LENGTH // 8,
    "tied": True,
}
# the best of a small sweep, for V1 on both corpora
LADDER_RECIPE = {"muon_lr": 0.02, "adam_lr": 0.01}
BIAS_SPEED = 0.01  # of the routers' bias at the full learning rate, falling with it


@dataclass(frozen=True)
class LadderRung:
    """One kind of model and how it learns."""

    build: Callable[[int], nn.Module]  # from the size of the vocabulary
    objective: Objective = next_token_objective
    bias_speed: float = 0.0


def deepseek_builder(kind: type, **settings) -> Callable[[int], nn.Module]:
    """Make the builder of one of DeepSeek's models in the ladder's size."""
    return lambda vocab_size: kind(DeepSeekSettings(vocab_size, **LADDER_DEEPSEEK | settings))


LADDER_RUNGS = {
    "GPT-2": LadderRung(lambda vocab_size: GPT2(GPT2Settings(vocab_size, **LADDER_SIZE))),
    "V1": LadderRung(lambda vocab_size: Llama(LlamaSettings(vocab_size, **LADDER_SIZE, tied=True))),
    "V2, latent attention only": LadderRung(deepseek_builder(DeepSeekV2, n_dense_layers=4)),
    "V2, experts only": LadderRung(deepseek_builder(DeepSeekMoE), deepseek_objective(expert=0.01)),
    "V2": LadderRung(deepseek_builder(DeepSeekV2), deepseek_objective(expert=0.01)),
    "V3": LadderRung(deepseek_builder(DeepSeekV3), deepseek_objective(sequence=1e-4), BIAS_SPEED),
    "V3, looking ahead": LadderRung(
        deepseek_builder(DeepSeekV3, mtp=True),
        deepseek_objective(sequence=1e-4, ahead=0.3),
        BIAS_SPEED,
    ),
    "V3.2": LadderRung(
        lambda vocab_size: DeepSeekV32(DeepSeekV32Settings(vocab_size, **LADDER_SPARSE)),
        deepseek_objective(sequence=1e-4, indexer=1.0),
        BIAS_SPEED,
    ),
    "V4": LadderRung(
        lambda vocab_size: DeepSeekV4(DeepSeekV4Settings(vocab_size, **LADDER_V4)),
        deepseek_objective(sequence=1e-4, indexer=1.0),
        BIAS_SPEED,
    ),
}
FIRST_RUNG = "GPT-2"  # whose time is the budget of the others
MANY_EXPERTS = {"n_layers": 3, "n_experts": 16, "d_expert": 56}
BALANCING_RUNGS = {
    "none, softmax": LadderRung(deepseek_builder(DeepSeekV2, **MANY_EXPERTS)),
    "none, sigmoid": LadderRung(deepseek_builder(DeepSeekV3, **MANY_EXPERTS)),
    "loss of weight 0.01, softmax": LadderRung(
        deepseek_builder(DeepSeekV2, **MANY_EXPERTS), deepseek_objective(expert=0.01)
    ),
    "loss of weight 0.1, softmax": LadderRung(
        deepseek_builder(DeepSeekV2, **MANY_EXPERTS), deepseek_objective(expert=0.1)
    ),
    "bias, sigmoid": LadderRung(
        deepseek_builder(DeepSeekV3, **MANY_EXPERTS), bias_speed=BIAS_SPEED
    ),
}


# One run
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainedRung:
    """A trained model, and what its training was like."""

    model: nn.Module
    violations: list[list[float]]  # step by step, of every layer of experts
    seconds: float  # the processor's, of training alone


def train_rung(
    rung: LadderRung, corpus: ladder.LadderCorpus, steps: int, seed: int = 0
) -> TrainedRung:
    """Train one kind of model from its first weights."""
    torch.manual_seed(seed)
    model, settings = rung.build(corpus.tokenizer.n_vocab), TrainSettings(steps, **LADDER_RECIPE)
    nudge = balance_by_bias(lambda step: rung.bias_speed * settings.share_of_peak(step / steps))
    violations: list[list[float]] = []

    def on_step(step: int, model: nn.Module) -> None:
        violations.append(
            [max_load_violation(expert_load(layer.routing)) for layer in moe_layers(model)]
        )
        if rung.bias_speed:
            nudge(step, model)

    batches = shuffled_windows(corpus.tokens, LADDER_BATCH, LADDER_LENGTH, seed)
    start = time.process_time()
    train_to_the_end(model, batches, settings, rung.objective, on_step=on_step)
    return TrainedRung(model, violations, time.process_time() - start)


def run_rung(rung: LadderRung, corpus: ladder.LadderCorpus, steps: int, seed: int) -> dict:
    """Train one model and measure all that the tables show."""
    trained = train_rung(rung, corpus, steps, seed)
    model = trained.model
    return {
        "steps": steps,
        "seconds": trained.seconds,
        "bits_per_byte": evaluate_bits_per_byte(corpus.scorer(model), corpus.held_out),
        "parameters": count_parameters(model),
        "active": count_active_parameters(model),
        "cache_bytes": cache_bytes_per_token(model),
        "violation_in_training": mean_by_eighths(trained.violations),
        **measure_balance(model, corpus),
        "acceptance": held_out_acceptance(model, corpus),
    }


def measure_costs(corpus: ladder.LadderCorpus, rounds: int = 5, steps: int = 8) -> dict:
    """Compare the processor time of a training step of each rung with the first rung's.

    The rungs take turns, a few steps at a time. Of each the fastest turn counts: whatever else the
    machine does can only make it slower.
    """
    seconds = {name: math.inf for name in LADDER_RUNGS}
    for _, (name, rung) in product(range(rounds), LADDER_RUNGS.items()):
        seconds[name] = min(seconds[name], train_rung(rung, corpus, steps).seconds)
    return {"ratios": {name: taken / seconds[FIRST_RUNG] for name, taken in seconds.items()}}


def held_out_windows(corpus: ladder.LadderCorpus, n: int = 64) -> Int[Tensor, "n L"]:
    """Cut the start of the held-out texts into rows of one context each."""
    ids = torch.tensor(corpus.tokenizer.encode("".join(corpus.held_out), allowed_special="all"))
    return ids[: len(ids) // LADDER_LENGTH * LADDER_LENGTH].view(-1, LADDER_LENGTH)[:n]


def measure_balance(model: nn.Module, corpus: ladder.LadderCorpus) -> dict:
    """Tell how unevenly held-out text uses the experts.

    The violation is the worst layer's, the dead ones are those of all layers.
    """
    loads = count_expert_loads(model, list(held_out_windows(corpus).split(LADDER_BATCH)))
    if not loads:
        return {"violation": None, "dead": None, "experts": 0}
    dead = sum(int(dead_experts(layer).sum()) for layer in loads)
    return {
        "violation": max(map(max_load_violation, loads)),
        "dead": dead,
        "experts": sum(map(len, loads)),
    }


def held_out_acceptance(model: nn.Module, corpus: ladder.LadderCorpus) -> float | None:
    """Tell how often a token drawn from the look ahead would stand on held-out text.

    None for a model without.
    """
    return mtp_acceptance(model, held_out_windows(corpus)) if getattr(model, "mtp", None) else None


@torch.no_grad()
def cache_bytes_per_token(model: nn.Module) -> float:
    """Count the bytes that real caches of all layers hold per token, at four bytes a number."""
    caches = make_caches(model, LADDER_LENGTH)
    model.hidden(torch.zeros(1, LADDER_LENGTH, dtype=torch.long), caches)
    return sum(cache.n_bytes for cache in caches) / LADDER_LENGTH


def mean_by_eighths(violations: list[list[float]]) -> list[float]:
    """Average the worst layer's violation over each eighth of a run; nothing without experts.

    >>> mean_by_eighths([[1.0, 3.0]] * 8 + [[2.0, 0.0]] * 8)
    [3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0]
    """
    worst = [max(layers) for layers in violations if layers]
    ends = [len(worst) * i // 8 for i in range(9)]
    return [mean(worst[a:b]) for a, b in pairwise(ends) if b > a]


# All runs
# --------------------------------------------------------------------------------------------------


def train_all_rungs(records: RunRecords, seeds: list[int], corpora: list[str], steps: int) -> None:
    """Train every rung on equal tokens, all but the first on equal time, then without balance."""
    for name, seed in product(corpora, seeds):
        corpus, key = ladder.ladder_corpus(name), {"corpus": name, "seed": seed}
        costs = records.get(partial(measure_costs, corpus), table="cost", corpus=name)["ratios"]
        for rung, how in LADDER_RUNGS.items():
            measure = partial(run_rung, how, corpus, seed=seed)
            records.get(partial(measure, steps), table="tokens", rung=rung, **key)
            if rung != FIRST_RUNG:
                as_long = round(steps / costs[rung])
                records.get(partial(measure, as_long), table="time", rung=rung, **key)
    corpus = ladder.ladder_corpus("small web")
    for seed, (rung, how) in product(seeds, BALANCING_RUNGS.items()):
        measure = partial(run_rung, how, corpus, max(1, steps * 3 // 5), seed)
        records.get(measure, table="balance", rung=rung, corpus="small web", seed=seed)
