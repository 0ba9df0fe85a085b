"""What to read, how often, in which order: small experiments on the text of a run.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.text_strategies \\
        --out data/pretraining/strategies.json

The model, the vocabulary and the batches are those of `sweeps`; the recipe is AdamW with a
warm-up, a level stretch and a decay. Finished runs are kept.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.experiments import sweeps
from course_lib.experiments.run_records import RunRecords
from course_lib.models.gpt2 import GPT2
from course_lib.text import small_web
from course_lib.text.batches import phases_in_turn, shuffled_windows
from course_lib.training.schedules import LearningRateSchedule, warmup_stable_decay

Phases = Sequence[tuple[dict[str, float], float]]  # (share of the batch by source, share of steps)

STRATEGY_RATE, STRATEGY_STEPS = 0.003, 120
TEXT_SOURCES = {  # name -> the small web's mixture that it is drawn from
    "web": {"tale": 0.5, "helpdesk": 0.5},
    "tales": {"tale": 1.0},
    "sums": {"chain": 1.0},
    "encyclopaedia": {"encyclopaedia": 1.0},
}
ONE_EPOCH = 16  # steps: so much text is read again and again
EPOCHS = (1, 2, 4, 16)
LAST_STAGE = 0.25  # of the steps; the rate decays in them
QUARTER = {"web": 0.75, "encyclopaedia": 0.25}

# arm -> the phases of a run
MIXTURES: dict[str, Phases] = {
    f"{1 - share:.0%} tales, {share:.0%} sums": [({"tales": 1 - share, "sums": share}, 1.0)]
    for share in (0.0, 0.125, 0.5, 1.0)
}
ORDERS: dict[str, Phases] = {
    "mixed": [({"tales": 0.5, "sums": 0.5}, 1.0)],
    "tales, then sums": [({"tales": 1.0}, 0.5), ({"sums": 1.0}, 0.5)],
    "sums, then tales": [({"sums": 1.0}, 0.5), ({"tales": 1.0}, 0.5)],
}
LAST_STAGES: dict[str, Phases] = {
    "spread evenly": [(QUARTER, 1.0)],
    "first": [({"encyclopaedia": 1.0}, LAST_STAGE), ({"web": 1.0}, 1 - LAST_STAGE)],
    "last": [({"web": 1.0}, 1 - LAST_STAGE), ({"encyclopaedia": 1.0}, LAST_STAGE)],
}
STRATEGY_PARTS: dict[str, tuple[dict[str, Phases], tuple[str, ...], float]] = {
    # part -> its arms, the sources that are scored, the share of the run in which the rate decays
    "mixture": (MIXTURES, ("tales", "sums"), 0.5),
    "order": (ORDERS, ("tales", "sums"), 0.5),
    "last stage": (LAST_STAGES, ("web", "encyclopaedia"), LAST_STAGE),
}


@cache
def source_texts(source: str, megabytes: float = 0.6) -> sweeps.SweepTexts:
    """Draw one source's text to learn from, and 20 kilobytes of it held out."""
    mixture = TEXT_SOURCES[source]
    documents, others = (
        [page.text for page in small_web.draw_clean_documents(size, seed, mixture)
         if page.labels["language"] == "en"]
        for size, seed in ((megabytes, 0), (0.022, sweeps.SWEEP_HELD_OUT_SEED))
    )  # fmt: skip
    known, tokenizer = set(documents), sweeps.sweep_tokenizer()
    held_out = [text for text in others if text not in known]
    tokens = sweeps.tokens_of(documents, tokenizer)
    return sweeps.SweepTexts(tokens, *sweeps.windows_to_score(held_out, tokenizer))


def mixed_batches(
    shares: dict[str, float], seed: int, start_step: int = 0
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Batches whose rows come from several sources, each row drawn by the shares.

    Of every 24 rows as many as the shares say, in an order drawn anew, so that two arms with the
    same shares read the same number of tokens of each source.
    """
    rows = {
        source: shuffled_windows(source_texts(source).tokens, 1, sweeps.SWEEP_LENGTH, seed)
        for source, share in shares.items()
        if share
    }
    counts = [source for source in rows for _ in range(round(24 * shares[source]))]
    generator, waiting = torch.Generator().manual_seed(seed), []
    while True:
        while len(waiting) < sweeps.SWEEP_BATCH:
            order = torch.randperm(len(counts), generator=generator).tolist()
            waiting += [next(rows[counts[i]]) for i in order]
        chosen, waiting = waiting[: sweeps.SWEEP_BATCH], waiting[sweeps.SWEEP_BATCH :]
        if start_step:
            start_step -= 1
            continue
        inputs, targets = zip(*chosen, strict=True)
        yield torch.cat(inputs), torch.cat(targets)


def run_phases(part: str, arm: str, seed: int) -> dict:
    """Train on the phases of one arm; score every source of its part on held-out text."""
    arms, scored, decay = STRATEGY_PARTS[part]
    sources = [partial(mixed_batches, shares, seed) for shares, _ in arms[arm]]
    steps = [round(share * STRATEGY_STEPS) for _, share in arms[arm]][:-1]
    rows = phases_in_turn(sources, steps)
    for source in {name for shares, _ in arms[arm] for name in shares}:
        source_texts(source)  # drawn now, not on the clock
    model, seconds = train_at_strategy_rate(rows, STRATEGY_STEPS, seed, decay)
    scores = {source: sweeps.score_windows(model, *source_texts(source)[1:]) for source in scored}
    mean = sum(scores.values()) / len(scores)
    return {"bits_per_byte": mean, "by_source": scores, "seconds": seconds}


def train_at_strategy_rate(
    rows: Iterator, steps: int, seed: int, decay: float = 0.5
) -> tuple[GPT2, float]:
    """Train the sweep's model by AdamW; return it, and the processor's seconds."""
    model, start = sweeps.sweep_model(seed), time.process_time()
    schedule: LearningRateSchedule = partial(warmup_stable_decay, decay=decay)
    optimizers = sweeps.adamw_optimizers(model, STRATEGY_RATE)
    sweeps.train_with_optimizers(model, rows, optimizers, schedule, steps)
    return model, round(time.process_time() - start, 2)


def run_epochs(fresh: bool, epochs: int, seed: int) -> dict:
    """Read one small text so many times, or as much text that is all fresh."""
    texts = sweeps.sweep_texts()
    tokens = sweeps.SWEEP_BATCH * sweeps.SWEEP_LENGTH * ONE_EPOCH * (epochs if fresh else 1) + 1
    steps, stream = epochs * ONE_EPOCH, texts.tokens[:tokens]
    rows = shuffled_windows(stream, sweeps.SWEEP_BATCH, sweeps.SWEEP_LENGTH, seed)
    model, seconds = train_at_strategy_rate(rows, steps, seed)
    windows = next(shuffled_windows(stream, 8 * ONE_EPOCH, sweeps.SWEEP_LENGTH))
    read = sweeps.nats_per_token(model, *windows)
    held_out = sweeps.nats_per_token(model, *texts[1:3])
    score = sweeps.score_windows(model, *texts[1:])
    return {"bits_per_byte": score, "read_nats": read, "nats": held_out, "seconds": seconds}


def strategy_runs(part: str) -> Iterator[tuple[dict, Callable[[], dict]]]:
    """Give the key of every run of a part, and what makes it."""
    if part == "epochs":
        for seed, fresh, epochs in product(sweeps.SWEEP_SEEDS, (True, False), EPOCHS):
            arm = "fresh" if fresh else "repeated"
            key = {"part": part, "arm": arm, "epochs": epochs, "seed": seed}
            yield key, partial(run_epochs, fresh, epochs, seed)
        return
    for seed, arm in product(sweeps.SWEEP_SEEDS, STRATEGY_PARTS[part][0]):
        yield {"part": part, "arm": arm, "seed": seed}, partial(run_phases, part, arm, seed)


def load_strategy(part: str, file: Path = sweeps.SWEEP_FOLDER / "strategies.json") -> list[dict]:
    """Read the kept runs of one part, sorted by seed. Raises ValueError if there are none."""
    return sorted(sweeps.load_sweep(part, file), key=lambda run: run["seed"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parts = ("epochs", *STRATEGY_PARTS)
    parser = argparse.ArgumentParser("python -m course_lib.experiments.text_strategies")
    parser.add_argument("--out", type=Path, required=True, help="file of the runs")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    records = RunRecords(asked.out)
    for part in asked.only:
        for key, measure in strategy_runs(part):
            records.get(measure, **key)


if __name__ == "__main__":
    main()
