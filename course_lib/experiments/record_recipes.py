"""The shipped entries of the record: the plain recipe, the lineage's, and the course's best."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from course_lib.experiments.record import (
    NO_STEP_LIMIT,
    RECORD_SECONDS,
    RECORD_SEEDS,
    RecordRecipe,
    WindowBatches,
    run_recipe,
)
from course_lib.experiments.record_table import RecordTable
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.models.speedrun import Speedrun, SpeedrunSettings
from course_lib.training.settings import TrainSettings
from course_lib.training.speedrun_optimizers import speedrun_optimizers

RECORD_SIZE = {"max_seq_len": 64, "d_model": 64, "n_layers": 4, "n_heads": 4}  # the ladder's


def plain_recipe(rate: float = 0.008, rows: int = 8, length: int = 64) -> RecordRecipe:
    """GPT-2 with AdamW and a cosine, as the papers of 2019 and 2020 train it."""
    size = RECORD_SIZE | {"max_seq_len": length}
    return RecordRecipe(
        "plain",
        lambda vocab_size: GPT2(GPT2Settings(vocab_size, **size)),
        TrainSettings(
            NO_STEP_LIMIT, optimizer="adamw", schedule="cosine", adam_lr=rate, weight_decay=0.1
        ),
        WindowBatches((0.0, rows, length)),
        about=f"GPT-2, AdamW {rate}, cosine, {rows} windows of {length}",
    )


def lineage_recipe(muon_lr: float = 0.03, adam_lr: float = 0.02) -> RecordRecipe:
    """V1 with Muon: the best before the ideas of the speed boards."""
    return RecordRecipe(
        "V1, Muon",
        lambda vocab_size: Llama(LlamaSettings(vocab_size, **RECORD_SIZE, tied=True)),
        TrainSettings(NO_STEP_LIMIT, muon_lr=muon_lr, adam_lr=adam_lr, decay=0.3),
        WindowBatches((0.0, 16, 64)),
        about=f"V1, Muon {muon_lr}, AdamW {adam_lr}, 16 windows of 64",
    )


def speedrun_recipe(
    name: str,
    rates: dict[str, float] | None = None,
    batches: WindowBatches | None = None,
    decay: float = 0.3,
    **switches: Any,
) -> RecordRecipe:
    """Make a recipe of `Speedrun`: switches and sizes of the model, rates of the optimizers."""
    size = RECORD_SIZE | {"tied": True} | switches
    rates = {"muon_lr": 0.03, "adam_lr": 0.02} | (rates or {})
    return RecordRecipe(
        name,
        lambda vocab_size: Speedrun(SpeedrunSettings(vocab_size, **size)),
        TrainSettings(NO_STEP_LIMIT, optimizer=partial(speedrun_optimizers, **rates), decay=decay),
        batches or WindowBatches((0.0, 16, size["max_seq_len"])),
    )


def best_recipe() -> RecordRecipe:
    """The course's best so far: what pays on the clock, see `data/record/ideas.md`.

    Hashed n-grams know what the first layers would learn, so that one layer of four is enough.
    """
    made = speedrun_recipe(
        "course's best", n_layers=1, ngram_order=6, ngram_head=True, qk_norm=True
    )
    return replace(made, about="one layer, hashed n-grams of 2 to 6 tokens, QK-norm, Muon")


SHIPPED_RECIPES: dict[str, Callable[[], RecordRecipe]] = {
    "plain": plain_recipe,
    "V1, Muon": lineage_recipe,
    "course's best": best_recipe,
}


def run_shipped(
    table: RecordTable,
    seconds: float = RECORD_SECONDS,
    seeds: Iterable[int] = RECORD_SEEDS,
    names: Iterable[str] = ("plain", "course's best"),
    show: Callable[[str], Any] = print,
) -> None:
    """Run the shipped recipes on this processor, where the table lacks them, and keep them."""
    for name in names:
        if table.find(name, float(seconds)) is None:
            table.add(run_recipe(SHIPPED_RECIPES[name](), seconds, tuple(seeds), show))
