"""How much sooner does the course's best recipe reach the loss of a plain one?

    OMP_NUM_THREADS=1 python -m benchmarks.time_to_loss

Plain is GPT-2 with AdamW and a cosine, given so many processor seconds of one thread, at the rate
and the batch that are best for it on validation text. The best recipe is that of the record
(`record_recipes.best_recipe`): of several shorter runs, each with its own schedule, the shortest
that ends at the plain run's bits per byte or below. Scored is the held-out text of the small web,
over three seeds.
"""

import os
from functools import cache
from itertools import product

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402

from course_lib.experiments.record import RecordRecipe, run_entry, validation_documents  # noqa: E402
from course_lib.experiments.record_recipes import best_recipe, lineage_recipe, plain_recipe  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402

SECONDS, SEEDS = 20.0, (0, 1, 2)  # of a plain run
RATES, BATCHES = (0.004, 0.008, 0.016), ((16, 64), (8, 64), (16, 32))
TIMES_SOONER = {"V1, Muon": (2.5, 2.0, 1.7, 1.4, 1.2), "course's best": (12, 10, 8, 6, 5, 4, 3, 2)}


@cache
def tuned_plain_recipe() -> RecordRecipe:
    """Choose the plain recipe's rate and batch, each on validation text, with the first seed."""
    documents = validation_documents(50_000)

    def bits(rate: float, rows: int, length: int) -> float:
        recipe = plain_recipe(rate, rows, length)
        return run_entry(recipe, SEEDS[0], SECONDS, documents).bits_per_byte

    rows, length = min(BATCHES, key=lambda batch: bits(RATES[1], *batch))
    rate = min(RATES, key=lambda rate: bits(rate, rows, length))
    return plain_recipe(rate, rows, length)


def sooner(recipe: RecordRecipe, goal: float, seed: int) -> tuple[float, float, float]:
    """Find the shortest run that reaches `goal`: times sooner, bits per byte, seconds."""
    for times in TIMES_SOONER[recipe.name]:
        run = run_entry(recipe, seed, SECONDS / times)
        if run.bits_per_byte <= goal:
            return SECONDS / run.seconds, run.bits_per_byte, run.seconds
    raise RuntimeError(f"seed {seed}: {recipe.name} does not reach {goal:.3f} in {SECONDS:g} s")


def main() -> str:
    """Tune the plain recipe, then find the shortest run of the others for each seed."""
    torch.set_num_threads(1)
    plain, rows = tuned_plain_recipe(), []
    for seed, recipe in product(SEEDS, (lineage_recipe(), best_recipe())):
        goal = run_plain(seed)
        times, bits, seconds = sooner(recipe, goal, seed)
        row = [plain.about, seed, f"{goal:.3f} in {SECONDS:g} s", recipe.name]
        rows.append([*row, f"{bits:.3f} in {seconds:.1f} s", f"{times:.1f}"])
    header = ["plain", "seed", "bits per byte", "recipe", "bits per byte", "times sooner"]
    return markdown_table(header, rows)


@cache
def run_plain(seed: int) -> float:
    """Run the tuned plain recipe; return its bits per byte on the held-out text."""
    return run_entry(tuned_plain_recipe(), seed, SECONDS).bits_per_byte


if __name__ == "__main__":
    print(main())
