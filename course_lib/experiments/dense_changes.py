"""What does each change from GPT-2 to V1 buy? One at a time, at equal parameters and tokens.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.dense_changes --out data/dense_changes

Every kind of model reads the same windows of the small web, at several learning rates, over six
seeds. Finished runs are kept: a command that was stopped goes on where it was.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.assets import DATA_FOLDER
from course_lib.experiments import sweeps
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser
from course_lib.layers.attention import SelfAttention
from course_lib.layers.embedding import Embedding
from course_lib.layers.mlp import MLP, SwiGLU
from course_lib.layers.norm import LayerNorm, RMSNorm
from course_lib.layers.position import RotaryPosition
from course_lib.models.gpt2 import count_parameters, init_gpt2_weights
from course_lib.text.batches import shuffled_windows
from course_lib.training.settings import TrainHistory, TrainSettings
from course_lib.training.trainer import train_to_the_end

DENSE_FOLDER = DATA_FOLDER / "dense_changes"
# In the order in which the lesson makes them.
DENSE_CHANGES = ("RMSNorm", "rotary", "SwiGLU", "no biases", "GQA", "multi-step")
DENSE_WIDTH, DENSE_LAYERS, DENSE_HEADS, SHARED_HEADS = 64, 3, 4, 2
GPT2_MLP = 4 * DENSE_WIDTH  # the others' width follows from its parameters
DENSE_LENGTH, DENSE_BATCH, DENSE_STEPS = sweeps.SWEEP_LENGTH, 16, 300
DENSE_RATES = (0.003, 0.006, 0.012)  # more are added until the best is inside
DENSE_MEGABYTES = 2.0
DENSE_SEEDS = (0, 1, 2, 3, 4, 5)


# The model between GPT-2 and V1
# --------------------------------------------------------------------------------------------------


class DenseBlock(nn.Module):
    """One layer, with those of the changes that are made."""

    def __init__(self, changes: Collection[str], d_ff: int) -> None:
        super().__init__()
        norm = RMSNorm if "RMSNorm" in changes else LayerNorm
        d_head = DENSE_WIDTH // DENSE_HEADS
        self.norm_1 = norm(DENSE_WIDTH)
        self.attention = SelfAttention(
            DENSE_WIDTH,
            DENSE_HEADS,
            SHARED_HEADS if "GQA" in changes else DENSE_HEADS,
            position=RotaryPosition(d_head) if "rotary" in changes else None,
        )
        self.norm_2 = norm(DENSE_WIDTH)
        self.mlp = (SwiGLU if "SwiGLU" in changes else MLP)(DENSE_WIDTH, d_ff)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class DenseModel(nn.Module):
    """GPT-2 with some of the changes to V1: with none it is `GPT2`, with all a tied `Llama`."""

    def __init__(self, vocab_size: int, changes: Collection[str], d_ff: int) -> None:
        super().__init__()
        if unknown := set(changes) - set(DENSE_CHANGES):
            raise ValueError(f"no changes {sorted(unknown)}; there are {DENSE_CHANGES}")
        self.token_embedding = Embedding(vocab_size, DENSE_WIDTH)
        if "rotary" not in changes:
            self.position_embedding = nn.Embedding(DENSE_LENGTH, DENSE_WIDTH)
        self.blocks = nn.ModuleList(DenseBlock(changes, d_ff) for _ in range(DENSE_LAYERS))
        self.norm = (RMSNorm if "RMSNorm" in changes else LayerNorm)(DENSE_WIDTH)
        if "no biases" in changes:
            drop_biases(self)
        init_gpt2_weights(self)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        x = self.token_embedding(ids)
        if hasattr(self, "position_embedding"):
            x = x + self.position_embedding.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.token_embedding.logits(self.norm(x))


def drop_biases(model: nn.Module) -> None:
    """Take every bias out of a model; torch's layers then compute without."""
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            module.register_parameter("bias", None)


def dense_parameters(vocab_size: int, changes: Collection[str], d_ff: int) -> int:
    """Count the parameters of one kind of model, without memory."""
    with torch.device("meta"):
        return count_parameters(DenseModel(vocab_size, changes, d_ff))


def fitting_d_ff(vocab_size: int, changes: Collection[str]) -> int:
    """Give the width of the MLP at which a model is nearest to GPT-2 in parameters."""
    wanted = dense_parameters(vocab_size, (), GPT2_MLP)
    one, two = (dense_parameters(vocab_size, changes, d_ff) for d_ff in (1, 2))
    return 1 + round((wanted - one) / (two - one))


def model_with_changes(changes: Collection[str], seed: int) -> DenseModel:
    """Build one kind of model at GPT-2's size, with the first weights of a seed."""
    torch.manual_seed(seed)
    vocab_size = sweeps.sweep_tokenizer().n_vocab
    return DenseModel(vocab_size, changes, fitting_d_ff(vocab_size, changes))


# The runs
# --------------------------------------------------------------------------------------------------


def dense_chain() -> list[tuple[str, ...]]:
    """Give the sets of changes from GPT-2 to V1, one more each time."""
    return [DENSE_CHANGES[:n] for n in range(len(DENSE_CHANGES) + 1)]


def dense_name(changes: Collection[str]) -> str:
    """Name a set of changes.

    >>> dense_name(("RMSNorm", "rotary"))
    'GPT-2, RMSNorm, rotary'
    """
    return ", ".join(["GPT-2", *changes])


def train_dense(
    changes: Collection[str], rate: float, seed: int, steps: int = DENSE_STEPS
) -> tuple[DenseModel, TrainHistory]:
    """Train one model by AdamW: for every kind the same windows in the same order."""
    model = model_with_changes(changes, seed)
    tokens = sweeps.sweep_texts(DENSE_MEGABYTES).tokens
    windows = shuffled_windows(tokens, DENSE_BATCH, DENSE_LENGTH, seed)
    schedule = "multi-step" if "multi-step" in changes else "cosine"
    settings = TrainSettings(steps, adam_lr=rate, optimizer="adamw", schedule=schedule)
    return model, train_to_the_end(model, windows, settings)


def score_dense(model: nn.Module) -> float:
    """Give the bits per byte of text that nobody has trained on."""
    return sweeps.score_windows(model, *sweeps.sweep_texts(DENSE_MEGABYTES)[1:])


def run_dense(changes: Collection[str], rate: float, seed: int, steps: int) -> dict[str, float]:
    """Train and measure one model; the seconds are the processor's, of training alone."""
    sweeps.sweep_texts(DENSE_MEGABYTES)  # drawn before the clock starts
    start = time.process_time()
    model, _ = train_dense(changes, rate, seed, steps)
    seconds = round(time.process_time() - start, 2)
    parameters = count_parameters(model)
    return {"bits_per_byte": score_dense(model), "seconds": seconds, "parameters": parameters}


def sweep_dense_rates(
    records: RunRecords, changes: Collection[str], seeds: Sequence[int], steps: int
):
    """Run one kind at all rates; go on until the best has a worse neighbour on either side."""
    rates, name = list(DENSE_RATES), dense_name(changes)
    while True:
        for rate in rates:
            for seed in seeds:
                measure = partial(run_dense, changes, rate, seed, steps)
                records.get(measure, kind=name, rate=rate, seed=seed, steps=steps)
        scores = sweeps.by_rate(records.runs, kind=name, steps=steps)
        best = sweeps.best_rate(scores)
        if min(scores) < best < max(scores):
            return
        rates = [best / 2 if best == min(scores) else 2 * best]


# What they say
# --------------------------------------------------------------------------------------------------


def load_dense(file: Path = DENSE_FOLDER / "runs.json") -> list[dict]:
    """Read the kept runs. Raises ValueError if there are none."""
    if not (runs := RunRecords(file).runs):
        raise ValueError(f"{file} holds no runs")
    return runs


def scores_by_rate(
    runs: Sequence[Mapping], changes: Collection[str], steps: int = DENSE_STEPS
) -> dict[float, list[float]]:
    """Group the bits per byte of one kind by rate, one per seed."""
    return sweeps.by_rate(runs, kind=dense_name(changes), steps=steps)


def best_scores(
    runs: Sequence[Mapping], changes: Collection[str], steps: int = DENSE_STEPS
) -> list[float]:
    """Give the bits per byte of one kind at its best rate, seed by seed."""
    scores = scores_by_rate(runs, changes, steps)
    return scores[sweeps.best_rate(scores)]


def gains(
    runs: Sequence[Mapping],
    before: Collection[str],
    after: Collection[str],
    steps: int = DENSE_STEPS,
) -> list[float]:
    """Tell by how many bits per byte one kind is better than another, seed by seed."""
    pairs = zip(best_scores(runs, before, steps), best_scores(runs, after, steps), strict=True)
    return [a - b for a, b in pairs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = runs_parser("dense_changes", seeds=DENSE_SEEDS)
    parser.add_argument("--steps", type=int, default=DENSE_STEPS)
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for changes in dense_chain():
        sweep_dense_rates(records, changes, asked.seeds, asked.steps)


if __name__ == "__main__":
    main()
