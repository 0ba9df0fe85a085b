"""What does a latent cost? Multi-head latent attention beside shared keys, at one budget.

`python -m course_lib.experiments.latent_attention --out data/latent_attention` trains all and keeps
the record; what stands in it already is not trained again. Text, order, size and steps are those of
`kv_sharing`; the learning rate is twice as high, which MHA and latents like better.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.kv_sharing import (
    KV_HEADS,
    SHARING_BATCH,
    SHARING_CONTEXT,
    SHARING_LAYERS,
    SHARING_MLP,
    SHARING_STEPS,
    SHARING_WIDTH,
    TaleCorpus,
    measure_tales,
    sharing_settings,
    tale_corpus,
)
from course_lib.experiments.run_records import runs_parser
from course_lib.files import read_json, write_json
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, mla_cache_numbers_per_token
from course_lib.models.llama import Llama, kv_cache_numbers_per_token
from course_lib.text.batches import shuffled_windows
from course_lib.training.checkpoint import load_checkpoint, save_checkpoint
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

SHIPPED_LATENTS = DATA_FOLDER / "latent_attention"
LATENT_RECORD = ("latent attention", 1)  # kind and version of the file
LATENT_ROTARY = 16  # the width of the rotary key
LATENT_RANKS = (48, 16, 4)
KEPT_RANK = 16  # with the rotary key as much cache as two key heads; these models are kept
LATENT_HEADS = KV_HEADS[0]
USUAL_RATE = 0.04  # of Muon; Adam's is half of it
LATENT_RATES = (0.02, 0.04, 0.08)


@dataclass(frozen=True)
class LatentRun:
    """One model to train: with latents of a rank, or, where that is None, with shared keys.

    `rotary` False rotates nothing: the mistake of leaving the rotary key out.
    """

    rank: int | None
    seed: int
    n_kv_heads: int = LATENT_HEADS  # without latents
    rotary: bool = True
    muon_lr: float = USUAL_RATE


class NoRotation(nn.Module):
    """Rotary positions that rotate nothing: the mistake of leaving the rotary key out."""

    def forward(self, x: Tensor, start: int | Tensor = 0) -> Tensor:
        return x


def latent_settings(vocab_size: int, rank: int) -> DeepSeekSettings:
    """Give the settings of a V2 without experts, as large as the model whose heads share nothing.

    Heads are as wide as there, and have a rotary part besides; the MLP makes up the difference.
    """
    width, d_head = SHARING_WIDTH, SHARING_WIDTH // LATENT_HEADS
    queries = width * LATENT_HEADS * (d_head + LATENT_ROTARY)
    latents = width * (rank + LATENT_ROTARY) + 2 * rank * width
    saved = 4 * width**2 - queries - latents - width**2
    return DeepSeekSettings(
        vocab_size, SHARING_CONTEXT, width, SHARING_LAYERS, LATENT_HEADS,
        d_ff=SHARING_MLP + round(saved / 3 / width), tied=True, n_dense_layers=SHARING_LAYERS,
        kv_lora_rank=rank, qk_nope_head_dim=d_head, qk_rope_head_dim=LATENT_ROTARY,
        v_head_dim=d_head,
    )  # fmt: skip


def build_latent(vocab_size: int, run: LatentRun) -> Llama:
    """Build the untrained model of a run."""
    torch.manual_seed(run.seed)
    if run.rank is None:
        return Llama(sharing_settings(vocab_size, run.n_kv_heads))
    model = DeepSeekV2(latent_settings(vocab_size, run.rank))
    if not run.rotary:
        for block in model.blocks:
            block.attention.rotary = NoRotation()
    return model


def train_latent(corpus: TaleCorpus, run: LatentRun, steps: int) -> Llama:
    """Train one model: the same text in the same order for every run of a seed."""
    model = build_latent(corpus.tokenizer.n_vocab, run)
    windows = shuffled_windows(corpus.tokens, SHARING_BATCH, SHARING_CONTEXT, run.seed)
    rates = TrainSettings(steps, muon_lr=run.muon_lr, adam_lr=run.muon_lr / 2)
    train_to_the_end(model, windows, rates)
    return model.eval()


def record_latent(corpus: TaleCorpus, run: LatentRun, steps: int, folder: Path) -> dict:
    """Train and measure one model; the seconds are the processor's, of training alone."""
    start = time.process_time()
    model = train_latent(corpus, run, steps)
    seconds = time.process_time() - start
    if run == LatentRun(KEPT_RANK, run.seed):
        save_checkpoint(folder / f"seed-{run.seed}" / "model.json", model, {"seed": run.seed})
    count = kv_cache_numbers_per_token if run.rank is None else mla_cache_numbers_per_token
    told = asdict(run) | {"steps": steps, "seconds": seconds}
    return told | measure_tales(model, corpus, count(model.settings))


def latent_runs(seeds: Sequence[int]) -> list[LatentRun]:
    """List what is trained: all kinds, one without rotation, other rates for the first seed."""
    own, kept = LatentRun(None, seeds[0]), LatentRun(KEPT_RANK, seeds[0])
    kinds = [kept, replace(kept, rotary=False)]
    kinds += [replace(own, n_kv_heads=n) for n in KV_HEADS]
    kinds += [replace(kept, rank=rank) for rank in LATENT_RANKS if rank != KEPT_RANK]
    runs = [replace(kind, seed=seed) for kind in kinds for seed in seeds]
    others = [rate for rate in LATENT_RATES if rate != USUAL_RATE]
    return runs + [replace(run, muon_lr=rate) for run in (own, kept) for rate in others]


@torch.no_grad()
def compress_keys(model: Llama, ids: Int[Tensor, "B T"], rank: int) -> Llama:
    """Make all keys and values of a trained model pass through `rank` numbers per layer.

    Those directions are kept in which the keys and values of `ids`, before rotation, are largest;
    later layers are fitted to what the compressed ones before them give. Raises ValueError for a
    rank that is wider than what is compressed.
    """
    settings = model.settings
    widest = min(settings.d_model, 2 * settings.n_kv_heads * settings.d_head)
    if not 1 <= rank <= widest:
        raise ValueError(f"rank {rank} is not between 1 and the {widest} that keys and values need")
    model = copy.deepcopy(model)
    x = model.token_embedding(ids)
    for block in model.blocks:
        rows = block.attention.qkv.weight[settings.d_model :]  # the matrices of keys and values
        made = block.norm_1(x).flatten(0, 1) @ rows.T
        directions = torch.linalg.svd(made, full_matrices=False).Vh[:rank]
        rows.copy_(directions.T @ (directions @ rows))
        x = block(x)
    return model


def read_latents(folder: Path | str = SHIPPED_LATENTS) -> list[dict]:
    """Read the record of all runs."""
    return read_json(Path(folder) / "runs.json", *LATENT_RECORD)


def load_latent(seed: int, folder: Path | str = SHIPPED_LATENTS) -> DeepSeekV2:
    """Read the model of this seed and of `KEPT_RANK`."""
    path = Path(folder) / f"seed-{seed}" / "model.json"
    return load_checkpoint(path, lambda s: DeepSeekV2(DeepSeekSettings(**s)))[0].eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = runs_parser("latent_attention")
    parser.add_argument("--steps", type=int, default=SHARING_STEPS)
    parser.add_argument("--megabytes", type=float, default=2.0, help="of text to draw")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    runs = read_latents(options.out) if (options.out / "runs.json").exists() else []
    corpus = tale_corpus(options.megabytes)
    for run in latent_runs(options.seeds):
        if not any(asdict(run).items() <= done.items() for done in runs):
            runs.append(record_latent(corpus, run, options.steps, options.out))
            write_json(options.out / "runs.json", *LATENT_RECORD, runs)
            print(runs[-1], flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
