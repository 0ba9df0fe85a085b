"""What is a memory of n-grams worth? Tables in place of experts, at equal size, three seeds.

    python -m course_lib.experiments.ngram_memory --out data/ngram_memory

A small V3 on Shakespeare's plays. A share of what its routed experts hold is taken from them and
given to the tables of a memory (Engram, arXiv 2601.07372); beside them stand a dense model of the
same work per token and one of the same size. Finished runs are kept in `runs.json`: a command that
was stopped goes on where it was.
"""

import math
import time
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.assets import DATA_FOLDER
from course_lib.experiments import ladder
from course_lib.experiments.ladder_runs import (
    BIAS_SPEED,
    LADDER_BATCH,
    LADDER_DEEPSEEK,
    LADDER_LENGTH,
    LADDER_RECIPE,
)
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser
from course_lib.layers.ngram_memory import NgramMemory, normalised_vocabulary
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3, count_active_parameters
from course_lib.models.gpt2 import count_parameters
from course_lib.models.memory_v3 import MemorySettings, MemoryV3
from course_lib.text.batches import shuffled_windows
from course_lib.training.deepseek_objective import balance_by_bias
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

MEMORY_FOLDER = DATA_FOLDER / "ngram_memory"
MEMORY_CORPUS, NGRAM_RUN_STEPS = "plays", 120
ALL_EXPERTS = 16  # in each of the two layers that have any, without a memory
MEMORY_BASE = LADDER_DEEPSEEK | {"n_layers": 3, "d_expert": 56}
MEMORY_SHARES = (0.0, 0.25, 0.5, 0.75)  # of the routed experts' weights
DENSE_KINDS = ("dense, same size", "dense, same work")
PASSAGE = 20  # the row of held-out text of which each token's gate is kept
SEEN_AT_LEAST = (0, 1, 10, 100, 1000)  # how often training text has a pair: where a class begins


@cache
def play_numbers() -> Int[Tensor, "V"]:
    """Number the tokens of the plays for the memory: spellings of one word share a number."""
    tokenizer = ladder.ladder_corpus(MEMORY_CORPUS).tokenizer
    return normalised_vocabulary([tokenizer.decode([i]) for i in range(tokenizer.n_vocab)])


def share_name(share: float) -> str:
    """Name the model whose memory has this share of the experts' weights."""
    return f"memory {share:.0%}" if share else "experts alone"


def memory_kinds() -> dict[str, float | None]:
    """Name all models, each with its share; the dense ones have none."""
    return {share_name(share): share for share in MEMORY_SHARES} | dict.fromkeys(DENSE_KINDS)


# The models
# --------------------------------------------------------------------------------------------------


def build_memory_model(name: str, seed: int) -> DeepSeekV3:
    """Build the untrained model of this name."""
    if name not in memory_kinds():
        raise ValueError(f"no model {name!r}; there are {', '.join(memory_kinds())}")
    torch.manual_seed(seed)
    if name in DENSE_KINDS:
        return build_dense(name == "dense, same size")
    share, V = memory_kinds()[name], len(play_numbers())
    n_experts = round(ALL_EXPERTS * (1 - share))
    experts = MEMORY_BASE | {"n_experts": n_experts}
    if not share:
        return DeepSeekV3(DeepSeekSettings(V, **experts))
    return MemoryV3(MemorySettings(V, **experts, memory_rows=rows_for(n_experts)), play_numbers())


def rows_for(n_experts: int) -> int:
    """Count the rows that a table may have if the model is to be as large as with all experts."""
    settings = MemorySettings(len(play_numbers()), **MEMORY_BASE | {"n_experts": n_experts})
    all_experts = MEMORY_BASE | {"n_experts": ALL_EXPERTS}
    with torch.device("meta"):
        whole = DeepSeekV3(DeepSeekSettings(settings.vocab_size, **all_experts))
        bare = DeepSeekV3(
            DeepSeekSettings(settings.vocab_size, **MEMORY_BASE | {"n_experts": n_experts})
        )
    d, width = settings.d_model, settings.memory_width
    n_tables = settings.memory_heads * (settings.longest_ngram - 1)
    left = count_parameters(whole) - count_parameters(bare) - 2 * d * (n_tables * width + 1)
    return left // (n_tables * width)


def build_dense(wide: bool) -> DeepSeekV3:
    """Build a model whose layers are all dense: as wide as the experts that a token visits, or all.

    All: with the shared one, a token of the other models visits three of 17.
    """
    per_layer = 3 * MEMORY_BASE["d_expert"]
    extra = (ALL_EXPERTS - 2) * MEMORY_BASE["d_expert"] * 2 // 3 if wide else 0
    dense = MEMORY_BASE | {"n_dense_layers": 3, "d_ff": per_layer + extra}
    return DeepSeekV3(DeepSeekSettings(len(play_numbers()), **dense))


def count_active_with_memory(model: DeepSeekV3) -> int:
    """Count the parameters that one token is multiplied by, those of the memory included."""
    memory = getattr(model, "memory", None)
    parts = (memory.key, memory.value, memory.norm_key, memory.norm_stream) if memory else ()
    return count_active_parameters(model) + sum(map(count_parameters, parts))


# What is measured
# --------------------------------------------------------------------------------------------------


def held_out_play_rows(n: int = 256) -> tuple[Int[Tensor, "n L"], Int[Tensor, "n L"]]:
    """Cut the held-out plays into rows of inputs and the tokens that follow them."""
    corpus = ladder.ladder_corpus(MEMORY_CORPUS)
    ids = torch.tensor(corpus.tokenizer.encode("".join(corpus.held_out), allowed_special="all"))
    cut = ids[: (len(ids) - 1) // LADDER_LENGTH * LADDER_LENGTH + 1]
    return (cut[:-1].view(-1, LADDER_LENGTH)[:n], cut[1:].view(-1, LADDER_LENGTH)[:n])


def count_pairs_seen(inputs: Int[Tensor, "n L"]) -> Int[Tensor, "n L"]:
    """Count how often the training text has each pair of a token and the one before it.

    The pairs are those that the memory hashes. A row's first token has no pair: -1.
    """
    numbers = play_numbers()
    size = int(numbers.max()) + 1
    stream, asked = numbers[ladder.ladder_corpus(MEMORY_CORPUS).tokens], numbers[inputs]
    pairs, counts = (stream[:-1] * size + stream[1:]).unique(return_counts=True)
    wanted = asked[:, :-1] * size + asked[:, 1:]
    place = torch.searchsorted(pairs, wanted).clamp(max=len(pairs) - 1)
    seen = torch.where(pairs[place] == wanted, counts[place], 0)
    return F.pad(seen, (1, 0), value=-1)


@torch.no_grad()
def token_nats(
    model: nn.Module, inputs: Int[Tensor, "n L"], targets: Int[Tensor, "n L"]
) -> Float[Tensor, "n L"]:
    """Give the surprise at each target, in nats."""
    losses = [
        F.cross_entropy(model(x).mT, y, reduction="none")
        for x, y in zip(inputs.split(16), targets.split(16), strict=True)
    ]
    return torch.cat(losses)


def mean_by_seen(values: Float[Tensor, "n L"], seen: Int[Tensor, "n L"]) -> list[float]:
    """Average the values over the tokens whose pair was seen so often: a number per class."""
    classes = torch.bucketize(seen, torch.tensor(SEEN_AT_LEAST), right=True) - 1
    return [values[classes == c].mean().item() for c in range(len(SEEN_AT_LEAST))]


@contextmanager
def changed_memory(memory: NgramMemory, change: str):
    """Let a memory say nothing ("off"), or the wrong rows ("shuffled"), for a while."""
    weights = {"off": memory.value.weight, "shuffled": memory.table.weight}
    if change not in weights:
        raise ValueError(f"no change {change!r} of a memory; there are {', '.join(weights)}")
    weight = weights[change].data
    kept, rng = weight.clone(), torch.Generator().manual_seed(0)
    try:
        weight.copy_(
            torch.zeros_like(kept)
            if change == "off"
            else kept[torch.randperm(len(kept), generator=rng)]
        )
        yield
    finally:
        weight.copy_(kept)


@torch.no_grad()
def gates_on(model: MemoryV3, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Give the gate at each token of a text."""
    x = model.token_embedding(ids)
    for block in list(model.blocks)[: model.settings.memory_layer]:
        x = block(x)
    return model.memory.read(x, ids)[0]


def measure_memory_model(model: DeepSeekV3) -> dict:
    """Score a trained model, token by token too; one with a memory also with it changed."""
    inputs, targets = held_out_play_rows()
    seen, decode = count_pairs_seen(inputs), ladder.ladder_corpus(MEMORY_CORPUS).tokenizer.decode
    n_bytes = len(decode(targets.flatten().tolist()).encode())
    nats = {"intact": token_nats(model, inputs, targets)}
    found = {
        "bits_per_byte": nats["intact"].sum().item() / math.log(2) / n_bytes,
        "parameters": count_parameters(model),
        "active": count_active_with_memory(model),
    }
    if isinstance(model, MemoryV3):
        for change in ("off", "shuffled"):
            with changed_memory(model.memory, change):
                nats[change] = token_nats(model, inputs, targets)
        gates = torch.cat([gates_on(model, x) for x in inputs.split(16)])
        found["gate_by_seen"] = mean_by_seen(gates, seen)
        words = [decode([token]) for token in inputs[PASSAGE].tolist()]
        helped = (nats["off"] - nats["intact"])[PASSAGE]
        rows = zip(words, gates[PASSAGE].tolist(), helped.tolist(), strict=True)
        found["passage"] = [[word, round(gate, 3), round(nat, 3)] for word, gate, nat in rows]
    found["nats"] = {how: values.mean().item() for how, values in nats.items()}
    found["nats_by_seen"] = {how: mean_by_seen(values, seen) for how, values in nats.items()}
    return found


def train_memory_model(name: str, seed: int, steps: int) -> DeepSeekV3:
    """Train one model: the same text in the same order for all models of a seed."""
    model, settings = build_memory_model(name, seed), TrainSettings(steps, **LADDER_RECIPE)
    nudge = balance_by_bias(lambda step: BIAS_SPEED * settings.share_of_peak(step / steps))
    tokens = ladder.ladder_corpus(MEMORY_CORPUS).tokens
    batches = shuffled_windows(tokens, LADDER_BATCH, LADDER_LENGTH, seed)
    callbacks = [] if name in DENSE_KINDS else [nudge]
    train_to_the_end(model, batches, settings, callbacks=callbacks)
    return model.eval()


def run_memory_model(name: str, seed: int, steps: int) -> dict:
    """Train and measure one model; the seconds are the processor's, of training alone."""
    start = time.process_time()
    model = train_memory_model(name, seed, steps)
    seconds = round(time.process_time() - start, 1)
    return {"steps": steps, "seconds": seconds} | measure_memory_model(model)


def memory_runs(folder: Path = MEMORY_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs of each model, seed by seed."""
    records = RunRecords(folder / "runs.json")
    return {name: records.by_seed(name=name) for name in memory_kinds()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("ngram_memory", __doc__)
    parser.add_argument("--steps", type=int, default=NGRAM_RUN_STEPS, help="of 2048 tokens each")
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for seed, name in product(asked.seeds, memory_kinds()):
        records.get(partial(run_memory_model, name, seed, asked.steps), name=name, seed=seed)


if __name__ == "__main__":
    main()
