"""What do shared keys and values cost? One model, three ways to share them, at one budget.

`python -m course_lib.experiments.kv_sharing --out data/kv_sharing` trains all and keeps the
record; what stands in it already is not trained again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.assets import DATA_FOLDER
from course_lib.experiments.run_records import runs_parser
from course_lib.files import read_json, write_json
from course_lib.inference.evaluate import evaluate_bits_per_byte, transformer_scorer
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import Llama, LlamaSettings, kv_cache_numbers_per_token
from course_lib.text import small_web
from course_lib.text.batches import shuffled_windows, token_stream
from course_lib.text.bpe import Tokenizer, train_bpe
from course_lib.training.checkpoint import load_checkpoint, save_checkpoint
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

SHIPPED_SHARING = DATA_FOLDER / "kv_sharing"
SHARING_RECORD = ("kv sharing", 1)  # kind and version of the file
KV_HEADS = (8, 2, 1)  # of 8 heads: multi-head, grouped, multi-query
SHARING_CONTEXT, SHARING_BATCH, SHARING_STEPS = 128, 12, 300
SHARING_WIDTH, SHARING_LAYERS, SHARING_MLP = 64, 2, 160
END_OF_TALE = "<|endoftext|>"


@dataclass(frozen=True)
class TaleCorpus:
    """The tales of the small web: what to learn from, and what to be measured on."""

    tokenizer: Tokenizer
    tokens: Int[Tensor, "N"]
    held_out: Sequence[str]

    @property
    def end(self) -> int:
        """Give the token between two tales."""
        return self.tokenizer.special_tokens[END_OF_TALE]


def tale_corpus(megabytes: float = 2.0) -> TaleCorpus:
    """Draw the tales, the first 100 held out, and learn a vocabulary of 768 tokens from 1000."""
    pages = small_web.draw_clean_documents(megabytes, seed=0, mixture="tales")
    tales = [page.text for page in pages if page.labels["language"] == "en"]
    held_out, training = tales[:100], tales[100:]
    tokenizer = train_bpe(training[:1000], 768, special_tokens=[END_OF_TALE])
    end = tokenizer.special_tokens[END_OF_TALE]
    tokens = token_stream((tokenizer.encode(tale) for tale in training), end)
    return TaleCorpus(tokenizer, tokens, held_out)


def sharing_settings(vocab_size: int, n_kv_heads: int) -> LlamaSettings:
    """Give the settings of a model whose MLP takes up the parameters that shared keys save."""
    d_head = SHARING_WIDTH // KV_HEADS[0]
    saved = 2 * (KV_HEADS[0] - n_kv_heads) * d_head * SHARING_WIDTH
    return LlamaSettings(
        vocab_size, SHARING_CONTEXT, SHARING_WIDTH, SHARING_LAYERS, n_heads=KV_HEADS[0],
        n_kv_heads=n_kv_heads, d_ff=SHARING_MLP + round(saved / 3 / SHARING_WIDTH),
        tied=True,
    )  # fmt: skip


def train_sharing(corpus: TaleCorpus, n_kv_heads: int, seed: int, steps: int) -> Llama:
    """Train one model: the same text in the same order for every `n_kv_heads`."""
    torch.manual_seed(seed)
    model = Llama(sharing_settings(corpus.tokenizer.n_vocab, n_kv_heads))
    windows = shuffled_windows(corpus.tokens, SHARING_BATCH, SHARING_CONTEXT, seed)
    train_to_the_end(model, windows, TrainSettings(steps, muon_lr=0.02, adam_lr=0.01))
    return model.eval()


def score_tales(model: Llama, corpus: TaleCorpus) -> float:
    """Give the bits per byte of the held-out tales."""
    scorer = transformer_scorer(model, corpus.tokenizer, END_OF_TALE)
    return evaluate_bits_per_byte(scorer, corpus.held_out)


def measure_tales(model: Llama, corpus: TaleCorpus, cache_numbers: int) -> dict:
    """Give a model's size, the bytes that its cache holds per token, and its score."""
    return {
        "parameters": count_parameters(model),
        "cache_bytes_per_token": 4 * cache_numbers,
        "bits_per_byte": score_tales(model, corpus),
    }


def run_sharing(corpus: TaleCorpus, n_kv_heads: int, seed: int, steps: int, folder: Path) -> dict:
    """Train and measure one model; the seconds are the processor's, of training alone.

    Models that share nothing are kept, for lesson 12.
    """
    start = time.process_time()
    model = train_sharing(corpus, n_kv_heads, seed, steps)
    seconds = time.process_time() - start
    if n_kv_heads == KV_HEADS[0]:
        save_checkpoint(folder / f"seed-{seed}" / "model.json", model, {"seed": seed})
    told = {"n_kv_heads": n_kv_heads, "seed": seed, "steps": steps, "seconds": seconds}
    return told | measure_tales(model, corpus, kv_cache_numbers_per_token(model.settings))


def read_sharing(folder: Path | str = SHIPPED_SHARING) -> list[dict]:
    """Read the record of all runs."""
    return read_json(Path(folder) / "runs.json", *SHARING_RECORD)


def load_sharing(seed: int, folder: Path | str = SHIPPED_SHARING) -> Llama:
    """Read the model of this seed whose heads share nothing."""
    path = Path(folder) / f"seed-{seed}" / "model.json"
    return load_checkpoint(path, lambda settings: Llama(LlamaSettings(**settings)))[0].eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = runs_parser("kv_sharing")
    parser.add_argument("--steps", type=int, default=SHARING_STEPS)
    parser.add_argument("--megabytes", type=float, default=2.0, help="of text to draw")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    runs = read_sharing(options.out) if (options.out / "runs.json").exists() else []
    done = {(run["seed"], run["n_kv_heads"]) for run in runs}
    corpus = tale_corpus(options.megabytes)
    for seed, n_kv_heads in product(options.seeds, KV_HEADS):
        if (seed, n_kv_heads) not in done:
            runs.append(run_sharing(corpus, n_kv_heads, seed, options.steps, options.out))
            write_json(options.out / "runs.json", *SHARING_RECORD, runs)
            print(runs[-1], flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
