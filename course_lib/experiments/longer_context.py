"""Can a model read four times what it was trained on? Four ways, as they are and tuned a little.

`python -m course_lib.experiments.longer_context --out data/latent_attention` stretches the kept
models of `latent_attention`, tunes each way on long windows, and keeps the record.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.experiments.kv_sharing import (
    SHARING_BATCH,
    SHARING_CONTEXT,
    TaleCorpus,
    tale_corpus,
)
from course_lib.experiments.latent_attention import SHIPPED_LATENTS, load_latent
from course_lib.files import read_json, write_json
from course_lib.layers.position import PositionInterpolation, YaRN, ntk_base
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2
from course_lib.text.batches import shuffled_windows, token_stream
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

LONGER_RECORD = ("longer context", 1)  # kind and version of the file
STRETCH = 4
POSITION_GROUP = 64  # losses are averaged over so many neighbouring positions
TUNE_STEPS, TUNE_RATE = 40, 0.005
STRETCH_WAYS = ("none", "position interpolation", "NTK-aware", "YaRN")


def stretched_settings(settings: DeepSeekSettings, way: str) -> DeepSeekSettings:
    """Give the settings of a model that reads `STRETCH` times as many tokens.

    Raises ValueError for a way that is not in `STRETCH_WAYS`.
    """
    trained, factor = settings.max_seq_len, float(STRETCH)
    changes = {
        "none": {},
        "position interpolation": {"rope_scaling": PositionInterpolation(factor)},
        "NTK-aware": {"rope_base": ntk_base(settings.rope_base, settings.qk_rope_head_dim, factor)},
        "YaRN": {"rope_scaling": YaRN(factor, trained, mscale=1.0, mscale_all_dim=1.0)},
    }
    if way not in changes:
        raise ValueError(f"way {way!r} is none of {', '.join(STRETCH_WAYS)}")
    return replace(settings, max_seq_len=STRETCH * trained, **changes[way])


def stretch_model(model: DeepSeekV2, way: str) -> DeepSeekV2:
    """Build a model with the same weights that reads `STRETCH` times as many tokens."""
    longer = DeepSeekV2(stretched_settings(model.settings, way))
    longer.load_state_dict(model.state_dict())
    return longer.eval()


def tale_windows(corpus: TaleCorpus, length: int) -> Int[Tensor, "N T"]:
    """Cut the held-out tales, one after another, into windows of `length + 1` tokens."""
    tales = (corpus.tokenizer.encode(tale) for tale in corpus.held_out)
    return token_stream(tales, corpus.end).unfold(0, length + 1, length)


@torch.no_grad()
def bits_by_position(model: DeepSeekV2, windows: Int[Tensor, "N T"]) -> Float[Tensor, "G"]:
    """Give the bits per token that the model needs, averaged over groups of positions."""
    bits = 0.0
    for rows in windows.split(8):
        logits = model(rows[:, :-1])
        nats = F.cross_entropy(logits.mT, rows[:, 1:], reduction="none")
        bits = bits + nats.sum(0) / torch.log(torch.tensor(2.0))
    return (bits / len(windows)).unflatten(0, (-1, POSITION_GROUP)).mean(1)


def tune_longer(model: DeepSeekV2, corpus: TaleCorpus, seed: int, steps: int) -> None:
    """Train on long windows for a few steps, in place: as many tokens per step as before."""
    length, rows = model.settings.max_seq_len, SHARING_BATCH // STRETCH
    windows = shuffled_windows(corpus.tokens, rows, length, seed)
    rates = TrainSettings(steps, muon_lr=TUNE_RATE, adam_lr=TUNE_RATE / 2)
    train_to_the_end(model, windows, rates)


def run_longer(corpus: TaleCorpus, way: str, seed: int, steps: int, folder: Path) -> dict:
    """Stretch one model, measure, tune and measure again."""
    model = stretch_model(load_latent(seed, folder), way)
    windows = tale_windows(corpus, STRETCH * SHARING_CONTEXT)
    before = bits_by_position(model, windows)
    start = time.process_time()
    tune_longer(model, corpus, seed, steps)
    seconds = time.process_time() - start
    return {
        "way": way,
        "seed": seed,
        "steps": steps,
        "seconds": seconds,
        "bits_before": before.tolist(),
        "bits_after": bits_by_position(model.eval(), windows).tolist(),
    }


def read_longer(folder: Path | str = SHIPPED_LATENTS) -> list[dict]:
    """Read the record of all runs."""
    return read_json(Path(folder) / "longer.json", *LONGER_RECORD)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m course_lib.experiments.longer_context")
    parser.add_argument("--out", type=Path, required=True, help="folder of the models")
    parser.add_argument("--steps", type=int, default=TUNE_STEPS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--megabytes", type=float, default=2.0, help="of text to draw")
    options = parser.parse_args(arguments)
    corpus, runs = tale_corpus(options.megabytes), []
    for seed, way in product(options.seeds, STRETCH_WAYS):
        runs.append(run_longer(corpus, way, seed, options.steps, options.out))
        print(runs[-1], flush=True)
    write_json(options.out / "longer.json", *LONGER_RECORD, runs)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
