"""How much sooner does the best recipe reach the loss of a plain one?

    OMP_NUM_THREADS=1 python -m benchmarks.time_to_loss

Plain is GPT-2 with AdamW and a cosine, at the best learning rate of a sweep. The best recipe is V1 with Muon and a
linear decay, at the rates of the ladder: of several lengths of run, the shortest that ends at the plain run's bits per
byte or below. Both by CPU seconds, on the small web, over three seeds.
"""

import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402
from torch import nn  # noqa: E402

from course_lib import ladder, rungs  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.inference.evaluate import bits_per_byte  # noqa: E402
from course_lib.text.batches import windows  # noqa: E402
from course_lib.training.settings import TrainSettings  # noqa: E402
from course_lib.training.trainer import train  # noqa: E402

STEPS, SEEDS = 300, (0, 1, 2)
RATES = (0.004, 0.008, 0.016)
LENGTHS = (40, 50, 60, 75, 90, 110, 135, 165, 200)


def run(build: Callable[[int], nn.Module], settings: TrainSettings, seed: int) -> tuple[float, float]:
    """Train one model; return its bits per byte on held-out text, and the CPU seconds of its training."""
    corpus = ladder.corpus("small web")
    torch.manual_seed(seed)
    model, batches = build(corpus.tokenizer.n_vocab), windows(corpus.tokens, rungs.BATCH, rungs.LENGTH, seed)
    start = time.process_time()
    train(model, batches, settings)
    return bits_per_byte(corpus.scorer(model), corpus.held_out), time.process_time() - start


def plain(rate: float) -> TrainSettings:
    """The settings of the plain run."""
    return TrainSettings(STEPS, optimiser="adamw", schedule="cosine", adam_lr=rate, weight_decay=0.1)


def main() -> str:
    """Sweep the plain recipe, then find the shortest run of the best one for each seed; return the table."""
    gpt2, v1 = rungs.RUNGS["GPT-2"].build, rungs.RUNGS["V1"].build
    best_rate = min(RATES, key=lambda rate: run(gpt2, plain(rate), SEEDS[0])[0])
    rows = []
    for seed in SEEDS:
        goal, spent = run(gpt2, plain(best_rate), seed)
        runs = ((n, *run(v1, TrainSettings(n, **rungs.RECIPE), seed)) for n in LENGTHS)
        reached = next(((n, bits, took) for n, bits, took in runs if bits <= goal), None)
        if reached is None:
            raise RuntimeError(f"seed {seed}: {LENGTHS[-1]} steps do not reach {goal:.3f} bits per byte")
        n, bits, took = reached
        rows.append([seed, f"{goal:.3f} in {spent:.1f} s, {STEPS} steps, rate {best_rate}",
                     f"{bits:.3f} in {took:.1f} s, {n} steps", f"{spent / took:.1f}"])  # fmt: skip
    return markdown_table(["seed", "GPT-2, AdamW: bits per byte", "V1, Muon", "times sooner"], rows)


if __name__ == "__main__":
    print(main())
