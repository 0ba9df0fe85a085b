"""What compression costs: facts that must be found again in blocks of tokens, three seeds.

    python -m course_lib.experiments.compressed_recall --out data/compressed_recall

makes all runs and keeps the record; what stands in it already is not made again. A text has 24
tokens, some of them facts (a key and a value, in one token or in two neighbours), the others
fillers, and then 8 questions, keys alone. A model of one or two layers of V4's attention answers.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.run_records import RunRecords, runs_parser, timed_measure
from course_lib.layers.compressed_attention import CSA, HCA
from course_lib.layers.norm import RMSNorm
from course_lib.layers.shared_kv_attention import SharedKVAttention

RECALL_FOLDER = DATA_FOLDER / "compressed_recall"
FACT_KEYS, FACT_VALUES, FACT_PLACES, FACT_QUESTIONS = 32, 8, 24, 8
RECALL_WIDTH, RECALL_WINDOW = 32, 4
# d_model, heads, their width, of it rotated, query latent, output groups, their width, window
RECALL_ATTENTION = (RECALL_WIDTH, 2, 32, 4, 32, 1, 32, RECALL_WINDOW)
RECALL_STEPS, RECALL_BATCH, RECALL_RATE = 600, 32, 3e-3
CHOSEN_BLOCKS = 2  # that a token reads where an indexer chooses

RecallBatch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"], Int[Tensor, "B Q"], Int[Tensor, "B Q"]]


@dataclass(frozen=True)
class RecallRun:
    """One model to train. `kind` is how it reads what lies before the window:

    "window" not at all, "pooled" in blocks of `rate` tokens, "mean" in blocks whose weights are all
    alike, "overlap" in blocks that overlap, "chosen" in few of those, "both" in two layers: all
    blocks of twice the rate, and few of the rate.
    """

    kind: str
    rate: int
    n_facts: int
    tokens_per_fact: int
    seed: int
    steps: int = RECALL_STEPS


RECALL_KINDS = (
    ("window", 1, 24, 1),
    ("pooled", 1, 24, 1),
    ("pooled", 2, 24, 1),
    ("pooled", 4, 24, 1),
    ("pooled", 8, 24, 1),
    ("mean", 4, 24, 1),
    ("overlap", 4, 24, 1),
    ("chosen", 4, 24, 1),
    ("both", 4, 24, 1),
    ("pooled", 8, 4, 1),
    ("mean", 8, 4, 1),
    ("pooled", 4, 3, 2),
    ("overlap", 4, 3, 2),
)


def draw_token_facts(
    n_facts: int, generator: torch.Generator, batch: int = RECALL_BATCH
) -> RecallBatch:
    """Draw texts, as a key and a value for each token, the answers, and how far back they stand.

    A filler has no key, and a value that means nothing; a question has no value.
    """
    keys = torch.rand(batch, FACT_KEYS, generator=generator).argsort(-1)[:, :FACT_PLACES]
    values = torch.randint(FACT_VALUES, keys.shape, generator=generator)
    places = torch.rand(keys.shape, generator=generator).argsort(-1)[:, :n_facts]
    drawn = torch.rand(batch, FACT_QUESTIONS, generator=generator) * n_facts
    asked = places.gather(1, drawn.long())
    shown = torch.full_like(keys, FACT_KEYS).scatter(1, places, keys.gather(1, places))
    blank = torch.full_like(asked, FACT_VALUES)
    distances = FACT_PLACES + torch.arange(FACT_QUESTIONS) - asked
    texts = torch.cat([shown, keys.gather(1, asked)], 1), torch.cat([values, blank], 1)
    return *texts, values.gather(1, asked), distances


def draw_spread_facts(
    n_facts: int, generator: torch.Generator, batch: int = RECALL_BATCH
) -> RecallBatch:
    """Draw texts whose facts have two tokens: a key, and behind it a value.

    A filler has neither key nor value.
    """
    slots = torch.rand(batch, FACT_PLACES // 2 - 1, generator=generator).argsort(-1)[:, :n_facts]
    places = 2 * slots + torch.randint(2, (batch, 1), generator=generator)
    keys = torch.rand(batch, FACT_KEYS, generator=generator).argsort(-1)[:, :n_facts]
    values = torch.randint(FACT_VALUES, keys.shape, generator=generator)
    asked = torch.randint(n_facts, (batch, FACT_QUESTIONS), generator=generator)
    no_key = torch.full((batch, FACT_PLACES), FACT_KEYS)
    no_value = torch.full((batch, FACT_PLACES), FACT_VALUES)
    shown_keys = torch.cat([no_key.scatter(1, places, keys), keys.gather(1, asked)], 1)
    blank = torch.full_like(asked, FACT_VALUES)
    shown_values = torch.cat([no_value.scatter(1, places + 1, values), blank], 1)
    distances = FACT_PLACES + torch.arange(FACT_QUESTIONS) - places.gather(1, asked)
    return shown_keys, shown_values, values.gather(1, asked), distances


def draw_texts(run: RecallRun, generator: torch.Generator, batch: int) -> RecallBatch:
    """Draw the texts that this run is about."""
    draw = draw_token_facts if run.tokens_per_fact == 1 else draw_spread_facts
    return draw(run.n_facts, generator, batch)


class RecallModel(nn.Module):
    """Layers of attention between two tables, for keys and for values, and a small MLP."""

    def __init__(self, layers: Sequence[SharedKVAttention]) -> None:
        super().__init__()
        self.key_embedding = nn.Embedding(FACT_KEYS + 1, RECALL_WIDTH)
        self.value_embedding = nn.Embedding(FACT_VALUES + 1, RECALL_WIDTH)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(RMSNorm(RECALL_WIDTH) for _ in range(len(layers) + 1))
        self.up = nn.Linear(RECALL_WIDTH, 4 * RECALL_WIDTH)
        self.head = nn.Linear(4 * RECALL_WIDTH, FACT_VALUES)

    def forward(
        self, keys: Int[Tensor, "B T"], values: Int[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B Q V"], Float[Tensor, ""]]:
        """Score the values for each question; beside it the indexers' losses."""
        x = self.key_embedding(keys) + self.value_embedding(values)
        index_loss = x.new_zeros(())
        for layer, norm in zip(self.layers, self.norms, strict=False):
            if isinstance(layer, CSA) and torch.is_grad_enabled():
                index_loss = index_loss + layer.indexer_loss(norm(x))
            x = x + layer(norm(x))
        questions = self.norms[-1](x[:, -FACT_QUESTIONS:])
        return self.head(F.silu(self.up(questions))), index_loss


def recall_layers(run: RecallRun) -> list[SharedKVAttention]:
    """Build the attention of a run."""
    with warnings.catch_warnings():
        # here on purpose: the window is to find nothing by itself
        warnings.filterwarnings("ignore", "a window of")
        if run.kind == "window":
            return [SharedKVAttention(*RECALL_ATTENTION)]
        if run.kind in ("pooled", "mean"):
            pooled = HCA(run.rate, *RECALL_ATTENTION)
            if run.kind == "mean":
                weigh_all_alike(pooled)
            return [pooled]
        sparse = CSA(4, 16, CHOSEN_BLOCKS, run.rate, *RECALL_ATTENTION)
        return [sparse] if run.kind != "both" else [HCA(2 * run.rate, *RECALL_ATTENTION), sparse]


def weigh_all_alike(layer: HCA) -> None:
    """Make the compressor's softmax a mean, for good: its gates and its bias stay 0."""
    for gate in (layer.compressor.gate.weight, layer.compressor.position_bias):
        gate.data.zero_()
        gate.requires_grad_(False)


def train_recall(run: RecallRun) -> RecallModel:
    """Train one model; an indexer chooses in the last third, after it was taught on all blocks."""
    torch.manual_seed(run.seed)
    model, dice = RecallModel(recall_layers(run)), torch.Generator().manual_seed(run.seed)
    taught = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(taught, RECALL_RATE, weight_decay=0.0)
    for step in range(run.steps):
        optimizer.param_groups[0]["lr"] = RECALL_RATE * min(1.0, 2 * (1 - step / run.steps))
        choose_blocks(model, CHOSEN_BLOCKS if chooses(run) and 3 * step >= 2 * run.steps else None)
        keys, values, answers, _ = draw_texts(run, dice, RECALL_BATCH)
        scores, index_loss = model(keys, values)
        optimizer.zero_grad()
        (F.cross_entropy(scores.flatten(0, 1), answers.flatten()) + index_loss).backward()
        optimizer.step()
    return model.eval()


def chooses(run: RecallRun) -> bool:
    """Tell whether an indexer chooses blocks in this run."""
    return run.kind in ("chosen", "both")


def choose_blocks(model: RecallModel, top_k: int | None) -> None:
    """Let each token read so many blocks of overlapping ones from now on; None: all."""
    for layer in model.layers:
        if isinstance(layer, CSA):
            layer.top_k = top_k


@torch.no_grad()
def measure_recall(model: RecallModel, run: RecallRun) -> dict:
    """Give the share of right answers, altogether and by how far back the fact stood.

    Of facts of two tokens also for those that a border of blocks cuts, and for the others.
    """
    texts = draw_texts(run, torch.Generator().manual_seed(1_000_003), batch=1024)
    keys, values, answers, distances = texts
    right = (model(keys, values)[0].argmax(-1) == answers).float()
    far = {d: right[distances == d].mean().item() for d in distances.unique().tolist()}
    found = {
        "accuracy": round(right.mean().item(), 4),
        "by_distance": {d: round(share, 3) for d, share in far.items()},
    }
    if run.tokens_per_fact == 1:
        return found
    places = FACT_PLACES + torch.arange(FACT_QUESTIONS) - distances
    cut = places % run.rate == run.rate - 1
    return found | {
        "cut": round(right[cut].mean().item(), 4),
        "not_cut": round(right[~cut].mean().item(), 4),
    }


def recall_runs(seeds: Sequence[int], steps: int = RECALL_STEPS) -> list[RecallRun]:
    """List what is trained; the crowded blocks a second time, five times as long."""
    return [RecallRun(*kind, seed, steps) for seed in seeds for kind in RECALL_KINDS] + [
        RecallRun("pooled", rate, 24, 1, seed, 5 * steps) for seed in seeds for rate in (4, 8)
    ]


def read_recall(folder: Path = RECALL_FOLDER, steps: int = RECALL_STEPS, **wanted) -> list[dict]:
    """Read the runs that have these settings, seed by seed."""
    return RunRecords(Path(folder) / "runs.json").by_seed(steps=steps, **wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("compressed_recall")
    parser.add_argument("--steps", type=int, default=RECALL_STEPS)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out / "runs.json")
    for run in recall_runs(asked.seeds, asked.steps):

        def made(run: RecallRun = run) -> dict:
            return measure_recall(train_recall(run), run)

        records.get(partial(timed_measure, made), **asdict(run))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
