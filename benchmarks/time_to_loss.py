"""How much sooner does the best recipe reach the loss of a plain one?

    OMP_NUM_THREADS=1 python -m benchmarks.time_to_loss

Plain is GPT-2 with AdamW and a cosine, at the best learning rate of a sweep: with the ladder's
batches, 16 windows of 128 tokens, and with 16 windows of 64, where the same tokens make twice the
steps and it learns much more. The best recipe is V1 of the same size with Muon and 16 windows of 64
tokens, its rates and schedule the best of ten that were tried: of several lengths of run, the
shortest that ends at the plain run's bits per byte or below. All by CPU seconds, on the small web,
over three seeds.
"""

import os
import time
from collections.abc import Callable
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402
from torch import nn  # noqa: E402

from course_lib.experiments import ladder, ladder_runs  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.inference.evaluate import evaluate_bits_per_byte  # noqa: E402
from course_lib.models.gpt2 import GPT2, GPT2Settings  # noqa: E402
from course_lib.text.batches import shuffled_windows  # noqa: E402
from course_lib.training.settings import TrainSettings  # noqa: E402
from course_lib.training.trainer import train  # noqa: E402

TOKENS, SEEDS = 300 * 2048, (0, 1, 2)  # of a plain run
RATES = (0.004, 0.008, 0.016)
BEST = {"muon_lr": 0.03, "adam_lr": 0.02, "decay": 0.3}
LENGTHS = (110, 120, 130, 140, 155, 170, 250, 270, 290, 310, 330, 360)


def run(
    build: Callable[[int], nn.Module], settings: TrainSettings, length: int, seed: int
) -> tuple[float, float]:
    """Train one model; return its bits per byte on held-out text, and the CPU seconds of its
    training."""
    corpus = ladder.ladder_corpus("small web")
    torch.manual_seed(seed)
    model = build(corpus.tokenizer.n_vocab)
    batches = shuffled_windows(corpus.tokens, ladder_runs.LADDER_BATCH, length, seed)
    start = time.process_time()
    train(model, batches, settings)
    return (
        evaluate_bits_per_byte(corpus.scorer(model), corpus.held_out),
        time.process_time() - start,
    )


@cache
def plain(rate: float, length: int, seed: int) -> tuple[float, float]:
    """Run the plain recipe."""
    steps = TOKENS // (ladder_runs.LADDER_BATCH * length)
    settings = TrainSettings(
        steps, optimizer="adamw", schedule="cosine", adam_lr=rate, weight_decay=0.1
    )
    size = ladder_runs.LADDER_SIZE | {"max_seq_len": length}
    return run(lambda vocab_size: GPT2(GPT2Settings(vocab_size, **size)), settings, length, seed)


@cache
def best(steps: int, seed: int) -> tuple[float, float]:
    """Run the best recipe."""
    return run(ladder_runs.LADDER_RUNGS["V1"].build, TrainSettings(steps, **BEST), 64, seed)


def main() -> str:
    """Sweep the plain recipe, then find the shortest run of the best one for each seed; return the
    table."""
    rows = []
    for length in (128, 64):
        rate = min(RATES, key=lambda rate: plain(rate, length, SEEDS[0])[0])
        for seed in SEEDS:
            goal, spent = plain(rate, length, seed)
            steps = next((steps for steps in LENGTHS if best(steps, seed)[0] <= goal), None)
            if steps is None:
                raise RuntimeError(
                    f"seed {seed}: {LENGTHS[-1]} steps do not reach {goal:.3f} bits per byte"
                )
            bits, took = best(steps, seed)
            gpt2 = f"{goal:.3f} in {spent:.1f} s"
            ours = f"{bits:.3f} in {took:.1f} s, {steps} steps"
            times = f"{spent / took:.1f}"
            rows.append([f"16 x {length}, rate {rate}", seed, gpt2, ours, times])
    return markdown_table(
        ["GPT-2, AdamW: batch", "seed", "bits per byte", "V1, Muon, 16 x 64", "times sooner"], rows
    )


if __name__ == "__main__":
    print(main())
