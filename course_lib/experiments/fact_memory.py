"""What are many weights good for? Learning facts that follow no rule, by heart.

A fact is a pair of tokens and a third one, drawn at random: nothing but memory helps. One layer
reads the pair; its MLP is narrow, wide, or made of experts with as many weights at work as the
narrow one. `python -m course_lib.experiments.fact_memory --out data/experts` keeps the record.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.experts import BALANCE, ROUTE_SCALE, DetachedRouter, RandomRouter
from course_lib.experiments.run_records import runs_parser
from course_lib.files import read_json, write_json
from course_lib.layers import moe
from course_lib.layers.mlp import SwiGLU
from course_lib.layers.norm import RMSNorm
from course_lib.models.gpt2 import count_parameters
from course_lib.training.objectives import LossSum
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train

FACT_RECORD = ("facts by heart", 1)  # kind and version of the file
FACT_TOKENS, FACT_WIDTH, NARROW = 96, 64, 32  # 96 * 96 facts; the hidden units at work
FACT_STEPS, FACT_BATCH = 300, 1024
FACT_RATES = (0.04, 0.08, 0.16, 0.32)


class FactMemory(nn.Module):
    """Predict the third token from a pair: two tables, one layer, a head."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(2 * FACT_TOKENS, FACT_WIDTH // 2)
        self.norm_1, self.norm_2 = RMSNorm(FACT_WIDTH, 1e-6), RMSNorm(FACT_WIDTH, 1e-6)
        self.mlp = mlp
        self.head = nn.Linear(FACT_WIDTH, FACT_TOKENS, bias=False)

    def forward(self, ids: Int[Tensor, "B 2"]) -> Float[Tensor, "B V"]:
        rows = ids + torch.tensor([0, FACT_TOKENS])  # first and second tokens have their own rows
        x = self.token_embedding(rows).flatten(-2)
        return self.head(self.norm_2(x + self.mlp(self.norm_1(x))))


@dataclass(frozen=True)
class Facts:
    """All pairs of tokens, and the one that belongs to each."""

    pairs: Int[Tensor, "N 2"]
    answers: Int[Tensor, "N"]

    def batches(self) -> Iterator[tuple[Int[Tensor, "B 2"], Int[Tensor, "B"]]]:
        """Give all facts again and again, each time in another order."""
        while True:
            for chosen in torch.randperm(len(self.pairs)).split(FACT_BATCH):
                yield self.pairs[chosen], self.answers[chosen]


def draw_facts() -> Facts:
    """Draw an answer for every pair of tokens."""
    tokens = torch.arange(FACT_TOKENS)
    return Facts(
        torch.cartesian_prod(tokens, tokens), torch.randint(FACT_TOKENS, (len(tokens) ** 2,))
    )


def fact_experts(shape: str, router: type[moe.SoftmaxRouter] = moe.SoftmaxRouter) -> moe.MoE:
    """Make experts with the narrow MLP's width at work; for "15-3-1" see `expert_settings`."""
    n_experts, n_chosen, n_shared = map(int, shape.split("-"))
    gate = router(FACT_WIDTH, n_experts, n_chosen, scale=ROUTE_SCALE)
    return moe.MoE(gate, FACT_WIDTH, NARROW // (n_chosen + n_shared), n_experts, n_shared)


def fact_objective(model: FactMemory, inputs: Tensor, targets: Tensor) -> LossSum:
    """Add the balance loss of the experts, if there are any, to the surprise at the answers."""
    loss = LossSum(F.cross_entropy(model(inputs), targets, reduction="sum"), len(targets))
    routing = getattr(model.mlp, "routing", None)
    if routing is None:
        return loss
    return loss.plus(BALANCE * moe.expert_balance_loss(routing, over="batch"))


FACT_MODELS: dict[str, Callable[[], nn.Module]] = {
    "narrow": partial(SwiGLU, FACT_WIDTH, NARROW),
    "four times as wide": partial(SwiGLU, FACT_WIDTH, 4 * NARROW),
    "1 of 4": partial(fact_experts, "4-1-0"),
    "4 of 16": partial(fact_experts, "16-4-0"),
    "3 of 15, 1 shared": partial(fact_experts, "15-3-1"),
    "no gradient": partial(fact_experts, "15-3-1", DetachedRouter),
    "random": partial(fact_experts, "15-3-1", RandomRouter),
}


def learn_facts(name: str, seed: int, rate: float = 0.04, steps: int = FACT_STEPS) -> dict:
    """Train one of `FACT_MODELS`, and tell what share of the facts it knows at the end.

    The seconds are the processor's.
    """
    torch.manual_seed(seed)
    facts, model = draw_facts(), FactMemory(FACT_MODELS[name]())
    settings = TrainSettings(steps, muon_lr=rate, adam_lr=rate / 2)
    began = time.process_time()
    train(model, facts.batches(), settings, fact_objective)
    seconds = time.process_time() - began
    with torch.no_grad():
        known = model(facts.pairs).argmax(-1) == facts.answers
    return {
        "name": name,
        "seed": seed,
        "rate": rate,
        "steps": steps,
        "seconds": seconds,
        "known": known.double().mean().item(),
        "weights": count_parameters(model.mlp),
    }


def best_fact_rate(runs: Sequence[dict], name: str) -> float:
    """Give the rate at which this model knew most, among the runs of the shortest length."""
    tried = [run for run in runs if run["name"] == name]
    steps = min(run["steps"] for run in tried)
    return max((r for r in tried if r["steps"] == steps), key=lambda run: run["known"])["rate"]


def facts_known(runs: Sequence[dict], name: str, times: int = 1) -> list[float]:
    """Give the share of facts known by each seed at the best rate, after `times` as many steps."""
    steps, rate = times * min(run["steps"] for run in runs), best_fact_rate(runs, name)
    wanted = {"name": name, "steps": steps, "rate": rate}
    return [run["known"] for run in runs if wanted.items() <= run.items()]


def read_facts(folder: Path | str = DATA_FOLDER / "experts") -> list[dict]:
    """Read the record of all runs."""
    return read_json(Path(folder) / "facts.json", *FACT_RECORD)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = runs_parser("fact_memory", file="facts.json")
    parser.add_argument("--steps", type=int, default=FACT_STEPS)
    options = parser.parse_args(arguments)
    runs: list[dict] = []
    for name, seed in product(FACT_MODELS, options.seeds):
        first = seed == options.seeds[0]
        for rate in FACT_RATES if first else [best_fact_rate(runs, name)]:
            runs.append(learn_facts(name, seed, rate, options.steps))
        print(runs[-1], flush=True)
    for seed in options.seeds:
        runs.append(learn_facts("narrow", seed, best_fact_rate(runs, "narrow"), 5 * options.steps))
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "facts.json", *FACT_RECORD, runs)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
