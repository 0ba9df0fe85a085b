"""Small sweeps of a training recipe: optimizers, schedules, rates, decays, three seeds each.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.sweeps --out data/pretraining/sweeps.json

One small GPT-2 learns from the small web, once per point. Finished points are kept: a command that
was stopped goes on where it was. `--only schedules` runs one part.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.run_records import RunRecords
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text import batches, bpe, small_web
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS
from course_lib.training.loop import optimizer_step, set_learning_rates
from course_lib.training.objectives import bits_per_byte, next_token_loss, next_token_loss_sum
from course_lib.training.optimizers import build_optimizers
from course_lib.training.schedules import (
    LearningRateSchedule,
    linear_warmup,
    middle_of_step,
    multi_step,
    warmup_cosine,
    warmup_stable_decay,
)
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

SWEEP_FOLDER = DATA_FOLDER / "pretraining"
SWEEP_SEEDS = (0, 1, 2)
SWEEP_STEPS, SWEEP_BATCH, SWEEP_LENGTH = 120, 8, 64
SWEEP_SIZE = {"max_seq_len": SWEEP_LENGTH, "d_model": 48, "n_layers": 2, "n_heads": 4}
SWEEP_VOCABULARY = 512
SWEEP_HELD_OUT_SEED = 2_000_000  # a small web that nobody trains on


class SweepTexts(NamedTuple):
    """What a sweep reads: tokens to learn from, windows to be scored on, and how many bytes."""

    tokens: Int[Tensor, "N"]
    inputs: Int[Tensor, "M T"]
    targets: Int[Tensor, "M T"]
    n_bytes: int


def tokens_of(
    documents: Iterable[str], tokenizer: bpe.Tokenizer, start: bool = False
) -> Int[Tensor, "N"]:
    """All documents as one row of tokens, an end token after each, and before all with `start`."""
    end = tokenizer.special_tokens[END_OF_TEXT]
    ids = (tokenizer.encode(document, allowed_special="all") for document in documents)
    stream = batches.token_stream(ids, end)
    return torch.cat([torch.tensor([end]), stream]) if start else stream


def windows_to_score(
    documents: Sequence[str], tokenizer: bpe.Tokenizer
) -> tuple[Int[Tensor, "M T"], Int[Tensor, "M T"], int]:
    """Cut held-out documents into windows, each token a target once; tell their bytes too."""
    tokens = tokens_of(documents, tokenizer, start=True)
    missing = -(len(tokens) - 1) % SWEEP_LENGTH
    fill = tokens.new_full((missing,), batches.IGNORE_INDEX)
    inputs = torch.cat([tokens[:-1], fill.clamp(min=0)]).view(-1, SWEEP_LENGTH)
    targets = torch.cat([tokens[1:], fill]).view(-1, SWEEP_LENGTH)
    return inputs, targets, sum(len(document.encode()) for document in documents)


@cache
def sweep_texts(megabytes: float = 1.0) -> SweepTexts:
    """Draw the small web's mixture "base": text to learn from, 30 kilobytes held out."""
    documents, others = (
        [page.text for page in small_web.draw_clean_documents(size, seed, "base")]
        for size, seed in ((megabytes, 0), (0.04, SWEEP_HELD_OUT_SEED))
    )
    known, tokenizer = set(documents), sweep_tokenizer()
    held_out = [text for text in others if text not in known]
    return SweepTexts(tokens_of(documents, tokenizer), *windows_to_score(held_out, tokenizer))


@cache
def sweep_tokenizer() -> bpe.Tokenizer:
    """Learn the vocabulary of all sweeps from 300 kilobytes."""
    pages = small_web.draw_clean_documents(0.3, 0, "base")
    documents = [page.text for page in pages]
    return bpe.train_bpe(documents, SWEEP_VOCABULARY, bpe.WORD_PATTERN, SPECIAL_TOKENS)


@torch.no_grad()
def score_windows(
    model: nn.Module, inputs: Int[Tensor, "M T"], targets: Int[Tensor, "M T"], n_bytes: int
) -> float:
    """Give the bits per byte of text that was cut into windows."""
    nats = sum(
        next_token_loss_sum(model(x), y).total.item()
        for x, y in zip(inputs.split(64), targets.split(64), strict=True)
    )
    return bits_per_byte(nats, n_bytes)


@torch.no_grad()
def nats_per_token(
    model: nn.Module, inputs: Int[Tensor, "M T"], targets: Int[Tensor, "M T"]
) -> float:
    """Give the mean loss over all targets that count."""
    parts = [
        next_token_loss_sum(model(x), y)
        for x, y in zip(inputs.split(64), targets.split(64), strict=True)
    ]
    return sum(part.total.item() for part in parts) / sum(int(part.count) for part in parts)


# One run
# --------------------------------------------------------------------------------------------------


def train_with_optimizers(
    model: nn.Module,
    rows: Iterable[tuple[Tensor, Tensor]],
    optimizers: Sequence[torch.optim.Optimizer],
    schedule: LearningRateSchedule,
    steps: int,
    max_norm: float = 1.0,
) -> list[float]:
    """Train by any optimizers, which `train` does not know; return the loss of each step."""
    losses = []
    for step, (inputs, targets) in zip(range(1, steps + 1), rows, strict=False):
        set_learning_rates(optimizers, schedule(middle_of_step(step, steps)))

        def backward(inputs: Tensor = inputs, targets: Tensor = targets) -> float:
            loss = next_token_loss(model(inputs), targets)
            loss.backward()
            return loss.item()

        losses.append(optimizer_step(model, optimizers, backward, max_norm)[0])
    return losses


def sgd_optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Gradient descent with momentum 0.9, for all parameters."""
    return [torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)]


def adamw_optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters."""
    return build_optimizers(model, adam_lr=rate, muon=False)


def muon_optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices; AdamW at 0.01 for the rest."""
    return build_optimizers(model, muon_lr=rate, adam_lr=0.01)


SWEEP_OPTIMIZERS: dict[str, Callable[[nn.Module, float], list[torch.optim.Optimizer]]] = {
    "SGD with momentum": sgd_optimizers,
    "AdamW": adamw_optimizers,
    "Muon": muon_optimizers,
}
SWEEP_RATES = {
    "SGD with momentum": (0.03, 0.1, 0.3, 1.0, 3.0),
    "AdamW": (0.001, 0.003, 0.01, 0.03, 0.1),
    "Muon": (0.003, 0.01, 0.03, 0.1, 0.3),
}
SWEEP_SCHEDULES: dict[str, LearningRateSchedule] = {
    "constant": partial(linear_warmup, warmup=0.05),
    "cosine": warmup_cosine,
    "WSD": warmup_stable_decay,
    "multi-step": multi_step,
    "WSD, no warm-up": partial(warmup_stable_decay, warmup=0.0),
}
SCHEDULE_RATES = {"AdamW": SWEEP_RATES["AdamW"][:3], "Muon": SWEEP_RATES["Muon"][1:4]}
LONG_SCHEDULES = ("constant", "WSD", "cosine", "multi-step")


@dataclass(frozen=True)
class SweepPoint:
    """One run of a sweep: everything that it depends on."""

    part: str
    optimizer: str = "AdamW"
    schedule: str = "WSD"
    rate: float = 0.003
    steps: int = SWEEP_STEPS
    seed: int = 0

    def run(self) -> dict[str, float]:
        """Train, and measure on held-out text; the seconds are the processor's."""
        texts, model = sweep_texts(), sweep_model(self.seed)
        rows = batches.shuffled_windows(texts.tokens, SWEEP_BATCH, SWEEP_LENGTH, self.seed)
        optimizers = SWEEP_OPTIMIZERS[self.optimizer](model, self.rate)
        schedule, start = SWEEP_SCHEDULES[self.schedule], time.process_time()
        train_with_optimizers(model, rows, optimizers, schedule, self.steps)
        seconds = time.process_time() - start
        return {"bits_per_byte": score_windows(model, *texts[1:]), "seconds": round(seconds, 2)}


def linear_warmup_of_5(progress: float) -> float:
    """Climb in the first 5 % of the run, then stay: a rate that never falls."""
    return linear_warmup(progress, 0.05)


def sweep_model(seed: int) -> GPT2:
    """The model of every sweep, with its first weights."""
    torch.manual_seed(seed)
    return GPT2(GPT2Settings(SWEEP_VOCABULARY, **SWEEP_SIZE))


def run_for_seconds(settings: TrainSettings, rows: int, seed: int) -> dict[str, float]:
    """Train the sweeps' model for the processor seconds of `settings`, by batches of so many rows.

    Returns the bits per byte of held-out text, the seconds, the steps and the tokens read.
    """
    texts, model = sweep_texts(), sweep_model(seed)
    windows = batches.shuffled_windows(texts.tokens, rows, SWEEP_LENGTH, seed)
    history = train_to_the_end(model, windows, settings)
    return {
        "bits_per_byte": score_windows(model, *texts[1:]),
        "seconds": round(history.spent(), 2),
        "steps": len(history.loss),
        "tokens": history.tokens[-1],
    }


# The sweeps
# --------------------------------------------------------------------------------------------------


def optimizer_points() -> Iterator[SweepPoint]:
    """Every optimizer at five rates."""
    for seed, (name, rates) in product(SWEEP_SEEDS, SWEEP_RATES.items()):
        yield from (SweepPoint("optimizers", name, rate=rate, seed=seed) for rate in rates)


def schedule_points() -> Iterator[SweepPoint]:
    """Every schedule at three rates, of AdamW and of Muon."""
    for seed, (name, rates), s in product(SWEEP_SEEDS, SCHEDULE_RATES.items(), LONG_SCHEDULES):
        yield from (SweepPoint("schedules", name, s, rate, seed=seed) for rate in rates)


def warmup_points() -> Iterator[SweepPoint]:
    """With and without a warm-up, at two rates."""
    for seed, name, rate in product(SWEEP_SEEDS, ("WSD", "WSD, no warm-up"), (0.003, 0.01)):
        yield SweepPoint("warm-up", schedule=name, rate=rate, seed=seed)


def decay_points() -> Iterator[SweepPoint]:
    """Every schedule in a run four times as long, by AdamW at the three rates of the short sweep,
    by Muon at its best.

    Muon's constant rate may choose a third of that as well, and gets a run half as long again.
    """
    long = 4 * SWEEP_STEPS
    for seed in SWEEP_SEEDS:
        yield from (SweepPoint("decay", "Muon", s, 0.03, long, seed) for s in LONG_SCHEDULES)
        yield SweepPoint("decay", "Muon", "constant", 0.01, long, seed)
    for seed in SWEEP_SEEDS:
        yield SweepPoint("decay", "Muon", "constant", 0.01, 6 * SWEEP_STEPS, seed)
    for seed, s, rate in product(SWEEP_SEEDS, LONG_SCHEDULES, SCHEDULE_RATES["AdamW"]):
        yield SweepPoint("decay", "AdamW", s, rate, long, seed)


NO_LAST_STEP = 1_000_000  # the clock ends the run
OPENING_RECIPES: dict[str, tuple[dict, int]] = {  # settings, rows of a batch
    "poor": ({"optimizer": "adamw", "adam_lr": 0.001, "schedule": linear_warmup_of_5}, 64),
    "good": ({"muon_lr": 0.03, "adam_lr": 0.01}, 8),
}


def opening_run(name: str, seconds: float, seed: int = 0) -> dict[str, float]:
    """Give the poor or the good recipe so many seconds of one thread."""
    more, rows = OPENING_RECIPES[name]
    settings = TrainSettings(NO_LAST_STEP, seconds=seconds, clock="processor", **more)
    return run_for_seconds(settings, rows, seed)


def run_openings(records: RunRecords, seconds: float = 60.0) -> None:
    """Run both recipes of the lesson's opening for a minute, over three seeds."""
    for seed, name in product(SWEEP_SEEDS, OPENING_RECIPES):
        key = {"part": "minute", "recipe": name, "budget": seconds, "seed": seed}
        records.get(partial(opening_run, name, seconds, seed), **key)


SWEEP_PARTS: dict[str, Callable[[], Iterator[SweepPoint]]] = {
    "optimizers": optimizer_points,
    "schedules": schedule_points,
    "warm-up": warmup_points,
    "decay": decay_points,
}


def run_sweeps(records: RunRecords, parts: Sequence[str]) -> None:
    """Run every point that is not kept yet; a point that two parts share is run once."""
    for point in (point for part in parts for point in SWEEP_PARTS[part]()):
        key = asdict(point)
        same = records.find(**{name: value for name, value in key.items() if name != "part"})
        measured = {name: same[name] for name in ("bits_per_byte", "seconds")} if same else None
        records.get(lambda point=point, found=measured: found or point.run(), **key)


def load_sweep(part: str, file: Path = SWEEP_FOLDER / "sweeps.json") -> list[dict]:
    """Read the kept runs of one part. Raises ValueError if there are none."""
    runs = [run for run in RunRecords(file).runs if run["part"] == part]
    if not runs:
        raise ValueError(f"{file} holds no runs of {part!r}")
    return runs


def by_rate(runs: Sequence[Mapping], **chosen: object) -> dict[float, list[float]]:
    """Group the bits per byte of the chosen runs by rate, one per seed.

    >>> runs = [{"rate": 0.1, "seed": s, "bits_per_byte": 2.0 + s} for s in (1, 0)]
    >>> by_rate(runs)
    {0.1: [2.0, 3.0]}
    """
    found: dict[float, list[float]] = {}
    for run in sorted(runs, key=lambda run: (run["rate"], run["seed"])):
        if chosen.items() <= run.items():
            found.setdefault(run["rate"], []).append(run["bits_per_byte"])
    return found


def best_rate(scores: Mapping[float, Sequence[float]]) -> float:
    """Give the rate whose mean over seeds is lowest.

    >>> best_rate({0.1: [2.0, 3.0], 0.3: [2.5, 2.4]})
    0.3
    """
    return min(scores, key=lambda rate: math.fsum(scores[rate]) / len(scores[rate]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parts = [*SWEEP_PARTS, "minute"]
    parser = argparse.ArgumentParser("python -m course_lib.experiments.sweeps")
    parser.add_argument("--out", type=Path, required=True, help="file of the runs")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts[:-1])
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out)
    run_sweeps(records, [part for part in asked.only if part in SWEEP_PARTS])
    if "minute" in asked.only:
        run_openings(records)


if __name__ == "__main__":
    main()
