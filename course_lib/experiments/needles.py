"""Find a needle with few looks: pairs of a key and a value, then keys that ask for their values.

One layer of sparse attention reads 56 pairs and 8 questions. Attention is trained dense first, then
the indexer alone (the warm-up of DeepSeek-V3.2), then both with few tokens. A run without the
second and the indexer's loss shows what the answers' loss teaches it: nothing.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments.indexers import CHOICES, chosen_by, layer_recall
from course_lib.layers.norm import RMSNorm
from course_lib.layers.sparse_attention import SparseMLA

N_KEYS, N_VALUES, N_PAIRS, NEEDLE_QUESTIONS = 64, 16, 56, 8
NEEDLE_WIDTH, NEEDLE_TOP_K, NEEDLE_BATCH = 64, 4, 32
NEEDLE_TOP_KS = (1, 2, 4, 8, 16, 32)
NEEDLE_DENSE_STEPS, WARMUP_STEPS, SPARSE_STEPS = 250, 200, 50
MEASURED_STEPS = (0, 25, 50, 100, 200)  # of the warm-up
DENSE_RATE, INDEXER_RATE, SPARSE_RATE = 3e-3, 1e-3, 3e-4

Needles = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"], Int[Tensor, "B Q"]]


class NeedleModel(nn.Module):
    """One layer of sparse attention between two tables and a head.

    A token is a key and a value, which are added; a question's value is the one number more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.key_embedding = nn.Embedding(N_KEYS, NEEDLE_WIDTH)
        self.value_embedding = nn.Embedding(N_VALUES + 1, NEEDLE_WIDTH)
        self.norm_1, self.norm_2 = RMSNorm(NEEDLE_WIDTH), RMSNorm(NEEDLE_WIDTH)
        self.attention = SparseMLA(4, 16, NEEDLE_TOP_K, NEEDLE_WIDTH, 4, 32, 16, 8, 16, 32)
        self.head = nn.Linear(NEEDLE_WIDTH, N_VALUES, bias=False)

    def read(self, keys: Int[Tensor, "B T"], values: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """Give what the attention reads: the tokens, normed."""
        return self.norm_1(self.key_embedding(keys) + self.value_embedding(values))

    def forward(
        self, keys: Int[Tensor, "B T"], values: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B Q V"]:
        """Score the values for each question."""
        x = self.key_embedding(keys) + self.value_embedding(values)
        x = x + self.attention(self.norm_1(x))
        return self.head(self.norm_2(x[:, -NEEDLE_QUESTIONS:]))


def draw_needles(generator: torch.Generator, batch: int = NEEDLE_BATCH) -> Needles:
    """Draw texts of different keys with a value each, then keys of them alone; and the answers."""
    keys = torch.rand(batch, N_KEYS, generator=generator).argsort(-1)[:, :N_PAIRS]
    values = torch.randint(N_VALUES, keys.shape, generator=generator)
    asked = torch.rand(keys.shape, generator=generator).argsort(-1)[:, :NEEDLE_QUESTIONS]
    blank = torch.full(asked.shape, N_VALUES)
    texts = torch.cat([keys, keys.gather(1, asked)], 1), torch.cat([values, blank], 1)
    return *texts, values.gather(1, asked)


def indexer_and_other_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Give the parameters of the indexers, and all others."""
    named = list(model.named_parameters())
    indexers = [p for name, p in named if "indexer." in name]
    return indexers, [p for name, p in named if "indexer." not in name]


def answer_loss(model: NeedleModel, needles: Needles) -> Float[Tensor, ""]:
    """Average the surprise at the right values, in nats."""
    keys, values, answers = needles
    return F.cross_entropy(model(keys, values).flatten(0, 1), answers.flatten())


def train_needles(seed: int, steps: int = NEEDLE_DENSE_STEPS) -> NeedleModel:
    """Train a model that attends to all tokens; its indexer stays as it was drawn."""
    torch.manual_seed(seed)
    model, dice = NeedleModel(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        indexer_and_other_parameters(model)[1], DENSE_RATE, weight_decay=0.0
    )
    with chosen_by(model, "dense", None):
        for _ in range(steps):
            optimizer.zero_grad()
            answer_loss(model, draw_needles(dice)).backward()
            optimizer.step()
    return model


def warm_up_needles(model: NeedleModel, seed: int, first: int, last: int, optimizer) -> float:
    """Teach the indexer alone where dense attention looks; return the last step's loss.

    Steps `first` to `last`, so that it can be measured in between; each draws texts of its own.
    """
    loss = torch.tensor(float("nan"))
    with chosen_by(model, "dense", None):
        for step in range(first, last):
            keys, values, _ = draw_needles(torch.Generator().manual_seed(1_000 * (seed + 1) + step))
            optimizer.zero_grad()
            loss = model.attention.indexer_loss(model.read(keys, values))
            loss.backward()
            optimizer.step()
    return loss.item()


def indexer_optimizer(model: nn.Module, rate: float = INDEXER_RATE) -> torch.optim.Optimizer:
    """Make an Adam for the indexers alone."""
    return torch.optim.Adam(indexer_and_other_parameters(model)[0], rate)


def train_sparse(model: NeedleModel, seed: int, steps: int, with_indexer: bool = True) -> None:
    """Train the model with few tokens, in place; its indexer too, or by the answers' loss alone."""
    indexers, others = indexer_and_other_parameters(model)
    optimizer = torch.optim.AdamW(
        [{"params": others, "lr": SPARSE_RATE}, {"params": indexers, "lr": INDEXER_RATE}],
        weight_decay=0.0,
    )
    dice = torch.Generator().manual_seed(100 + seed)
    for _ in range(steps):
        needles = draw_needles(dice)
        optimizer.zero_grad()
        loss = answer_loss(model, needles)
        if with_indexer:
            loss = loss + model.attention.indexer_loss(model.read(*needles[:2]))
        loss.backward()
        optimizer.step()


@torch.no_grad()
def measure_needles(model: NeedleModel, choice: str, top_k: int | None) -> dict:
    """Give the share of right answers, and the recall of attention at the questions."""
    keys, values, answers = draw_needles(torch.Generator().manual_seed(7), batch=128)
    torch.manual_seed(7)
    with chosen_by(model, choice, top_k):
        right = model(keys, values).argmax(-1) == answers
        recall = (
            1.0
            if choice == "dense"
            else layer_recall(model.attention, model.read(keys, values))[
                :, -NEEDLE_QUESTIONS:
            ].mean()
        )
    return {"accuracy": right.float().mean().item(), "recall": float(recall)}


def measure_all(model: NeedleModel, choices: Sequence[str], **told) -> list[dict]:
    """Measure these choices for each number of tokens in `NEEDLE_TOP_KS`."""
    return [
        told | {"choice": choice, "top_k": k} | measure_needles(model, choice, k)
        for choice in choices
        for k in NEEDLE_TOP_KS
    ]


def run_needles(seed: int) -> dict:
    """Train and measure one seed, all stages."""
    model = train_needles(seed)
    rows = measure_all(model, CHOICES, stage="dense", step=0)
    dense = measure_needles(model, "dense", None)
    untaught, optimizer = copy.deepcopy(model), indexer_optimizer(model)
    losses = {}
    for first, last in zip((0, *MEASURED_STEPS), MEASURED_STEPS, strict=False):
        if last:
            losses[last] = warm_up_needles(model, seed, first, last, optimizer)
        rows += measure_all(model, ["indexer"], stage="warm-up", step=last)
    train_sparse(model, seed, SPARSE_STEPS)
    rows += measure_all(model, ["indexer"], stage="sparse", step=SPARSE_STEPS)
    train_sparse(untaught, seed, WARMUP_STEPS + SPARSE_STEPS, with_indexer=False)
    steps = WARMUP_STEPS + SPARSE_STEPS
    rows += measure_all(untaught, ["indexer"], stage="answers alone", step=steps)
    return {"dense": dense, "losses": losses, "rows": rows}
