"""Scaling runs: one family of small models, many sizes, many budgets, one held-out text.

The family is Llama (DeepSeek's V1) with two layers; only its width changes. Everything learns
from Shakespeare's plays in tokens of a small vocabulary, none of them twice, and is scored on two
plays that nobody learns from.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.experiments.ladder import HELD_OUT_PLAYS, POEM_TITLES
from course_lib.experiments.run_records import RunRecords
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import batches, bpe
from course_lib.text import corpus as texts
from course_lib.text.chat import END_OF_TEXT
from course_lib.training.objectives import cross_entropy
from course_lib.training.schedules import warmup_cosine
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

SCALING_VOCAB, SCALING_LENGTH, SCALING_LAYERS = 512, 64, 2
SCALING_ROWS = 8  # of a batch: 512 tokens
SCALING_WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)
SCALING_BUDGETS = tuple(1.25e10 * 2**k for k in range(5))  # FLOPs
FEWEST_STEPS, MOST_STEPS = 40, 3600  # of a run of the grid: fewer are no training
LONG_HORIZON = 2_400_000  # tokens: nearly the whole text, for the schedule that fits nobody
SCORED_WINDOWS = 512


# The family
# --------------------------------------------------------------------------------------------------


def scaled_llama(d_model: int, vocab_size: int = SCALING_VOCAB) -> LlamaSettings:
    """Give the member of the family with this width; heads are about 16 wide."""
    return LlamaSettings(
        vocab_size, SCALING_LENGTH, d_model, SCALING_LAYERS, n_heads=max(1, d_model // 16)
    )


def matrix_parameters(settings: LlamaSettings) -> tuple[int, int]:
    """Count the numbers in the matrices of the layers, and in the tables of the vocabulary.

    The tables are the embedding and the head, one where they are tied. The norms' weights are left
    away: they are no matrices, and cost next to nothing.

    >>> matrix_parameters(LlamaSettings(512, 64, d_model=48, n_layers=3, n_heads=3))
    (82944, 49152)
    """
    keys_and_values = 2 * settings.d_model * settings.d_head * settings.n_kv_heads
    per_layer = 2 * settings.d_model**2 + keys_and_values + 3 * settings.d_model * settings.d_ff
    table = settings.vocab_size * settings.d_model
    return settings.n_layers * per_layer, table * (1 if settings.tied else 2)


def train_flops_per_token(settings: LlamaSettings, head: bool = True) -> int:
    """Count the floating-point operations of training on one token, at full context.

    A number in a matrix costs 6: a product and a sum in the forward pass, four in the backward.
    Attention compares each token with all of its window, for 12 operations per layer, channel and
    token of the window. Without `head`, the products with the vocabulary are left away: that is
    DeepSeek's non-embedding FLOPs per token, M = 72 L d^2 + 12 L d T. Looking an embedding up costs
    nothing. Source: DeepSeek LLM (arXiv 2401.02954), equation 2. Like theirs the count is of the
    whole table of attention, though a causal mask needs half of it.

    >>> train_flops_per_token(scaled_llama(48), head=False) == 72 * 2 * 48**2 + 12 * 2 * 48 * 64
    True
    """
    layers, _ = matrix_parameters(settings)
    vocabulary = 6 * settings.vocab_size * settings.d_model
    attention = 12 * settings.n_layers * settings.d_model * settings.max_seq_len
    return 6 * layers + attention + (vocabulary if head else 0)


def scaling_learning_rate(d_model: int) -> float:
    """Give AdamW's peak learning rate: wider models take smaller steps.

    Found by a sweep at three widths, see `data/scaling/README.md`.
    """
    return RATE_AT_32 * (32 / d_model) ** RATE_POWER


RATE_AT_32, RATE_POWER = 6e-3, 0.5


# The text
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScalingText:
    """Tokens to learn from, and windows to be scored on with the bytes that they hold."""

    tokens: Int[Tensor, "N"]
    held_out: tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]
    bytes_per_token: float


@cache
def scaling_text() -> ScalingText:
    """Read the plays in a vocabulary of 512 tokens. Takes about ten seconds the first time."""
    plays = {work.url: work.text for work in texts.play_documents()}
    held_out = [plays.pop(url) for url in HELD_OUT_PLAYS]
    documents = [text for url, text in plays.items() if not any(p in url for p in POEM_TITLES)]
    tokenizer = bpe.train_bpe(documents, SCALING_VOCAB, special_tokens=[END_OF_TEXT])
    end = tokenizer.special_tokens[END_OF_TEXT]
    learnt, other = (
        batches.token_stream((tokenizer.encode(text) for text in group), end)
        for group in (documents, held_out)
    )
    n_bytes = sum(len(text.encode()) for text in held_out)
    return ScalingText(learnt, spread_windows(other), n_bytes / len(other))


def spread_windows(
    tokens: Int[Tensor, "N"], count: int = SCORED_WINDOWS, length: int = SCALING_LENGTH
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Cut `count` windows out of a stream, evenly spread; of a short one, as many as it holds."""
    starts = torch.arange((len(tokens) - 1) // length) * length
    if len(starts) > count:
        starts = starts[torch.linspace(0, len(starts) - 1, count).long()]
    rows = tokens[starts[:, None] + torch.arange(length + 1)]
    return rows[:, :-1], rows[:, 1:]


@torch.no_grad()
def held_out_loss(text: ScalingText, model: nn.Module) -> float:
    """Average the loss over the held-out windows, in nats per token."""
    inputs, targets = text.held_out
    pairs = zip(inputs.split(64), targets.split(64), strict=True)
    return sum(cross_entropy(model(x), y).sum().item() for x, y in pairs) / targets.numel()


# One run
# --------------------------------------------------------------------------------------------------


def steps_for_budget(d_model: int, budget: float) -> int:
    """Count the batches that a width can learn from before its FLOPs are spent."""
    per_batch = SCALING_ROWS * SCALING_LENGTH * train_flops_per_token(scaled_llama(d_model))
    return round(budget / per_batch)


def run_scaling(
    d_model: int,
    budget: float,
    seed: int = 0,
    rate: float | None = None,
    horizon: int | None = None,
    warmup: float = 0.1,
    budgets: Sequence[float] = (),
) -> dict:
    """Train one width for one budget; return the losses and what they cost.

    The cosine ends with the run, or at `horizon` tokens, after the run has been cut off; `warmup`
    is a share of the cosine. `budgets` are looked at on the way: `curve` holds (FLOPs, loss), the
    end included. `seconds` are of the processor.
    """
    text, settings, began = scaling_text(), scaled_llama(d_model), time.process_time()
    steps, per_batch = steps_for_budget(d_model, budget), SCALING_ROWS * SCALING_LENGTH
    if steps < FEWEST_STEPS or steps * per_batch > len(text.tokens):
        raise ValueError(
            f"width {d_model} and {budget:.3g} FLOPs make {steps} steps of {per_batch} tokens:"
            f" fewer than {FEWEST_STEPS}, or more than the text's {len(text.tokens)} tokens"
        )
    whole = horizon / per_batch if horizon else steps
    torch.manual_seed(seed)
    model = Llama(settings)
    looks = sorted({min(steps, steps_for_budget(d_model, each)) for each in (*budgets, budget)})
    history = train_to_the_end(
        model,
        batches.shuffled_windows(text.tokens, SCALING_ROWS, SCALING_LENGTH, seed),
        TrainSettings(
            steps,
            adam_lr=rate or scaling_learning_rate(d_model),
            optimizer="adamw",
            schedule=partial(cut_cosine, share=steps / whole, warmup=warmup),
        ),
        evaluate=partial(held_out_loss, text),
        evaluate_at=[look for look in looks if look >= min(steps, FEWEST_STEPS)],
    )
    flops = per_batch * train_flops_per_token(settings)
    loss = history.validation[-1][1]
    return {
        "tokens": steps * per_batch,
        "flops": steps * flops,
        "loss": loss,
        "bits_per_byte": loss / math.log(2) / text.bytes_per_token,
        "curve": [(step * flops, value) for step, value in history.validation],
        "seconds": time.process_time() - began,
    }


def cut_cosine(progress: float, share: float = 1.0, warmup: float = 0.1) -> float:
    """Give the learning rate of a cosine of which only the first `share` is run.

    >>> round(cut_cosine(1.0, share=0.5, warmup=0.0), 3), round(cut_cosine(1.0), 3)
    (0.55, 0.1)
    """
    return warmup_cosine(min(1.0, progress * share), warmup)


# All runs
# --------------------------------------------------------------------------------------------------


def grid_cells(budgets: Sequence[float], widths: Sequence[int]) -> Iterator[tuple[float, int]]:
    """Name each (budget, width) whose run is neither too short nor too long."""
    for budget, d_model in product(budgets, widths):
        steps = steps_for_budget(d_model, budget)
        if FEWEST_STEPS <= steps <= MOST_STEPS:
            yield budget, d_model


def sweep_scaling_rates(records: RunRecords, budget: float = 5e10) -> None:
    """Try four learning rates at three widths: what the rule for the rate stands on."""
    for d_model, power in product(SWEPT_WIDTHS, range(-1, 3)):
        rate = scaling_learning_rate(d_model) * 2**power
        records.get(
            partial(run_scaling, d_model, budget, rate=rate),
            table="rates", d_model=d_model, power=power, rate=rate,
        )  # fmt: skip


SWEPT_WIDTHS = (16, 32, 64)


def train_scaling_grid(records: RunRecords, seeds: Sequence[int]) -> None:
    """Train every width for every budget, seed by seed: the IsoFLOP grid."""
    for seed, (budget, d_model) in product(seeds, grid_cells(SCALING_BUDGETS, SCALING_WIDTHS)):
        records.get(
            partial(run_scaling, d_model, budget, seed),
            table="grid", budget=budget, d_model=d_model, seed=seed,
        )  # fmt: skip


def train_long_schedules(records: RunRecords, seeds: Sequence[int]) -> None:
    """Train every width once, for its largest budget, by a schedule made for the whole text.

    The losses at the smaller budgets are read on the way, as Kaplan et al. did. The warm-up is as
    long for all, too: a hundredth of the horizon, as theirs about was.
    """
    largest = {d_model: budget for budget, d_model in grid_cells(SCALING_BUDGETS, SCALING_WIDTHS)}
    for seed, d_model in product(seeds, largest):
        measure = partial(run_scaling, d_model, largest[d_model], seed, horizon=LONG_HORIZON)
        records.get(
            partial(measure, warmup=0.01, budgets=SCALING_BUDGETS),
            table="long", d_model=d_model, seed=seed,
        )  # fmt: skip
