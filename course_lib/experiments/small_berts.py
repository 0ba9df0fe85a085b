"""What does it cost to make BERT smaller: shared layers, a narrow table, another second task?

    OMP_NUM_THREADS=1 python -m course_lib.experiments.small_berts --out data/family

ALBERT's changes one at a time, on the family's passages. Finished runs are kept: a command that was
stopped goes on where it was.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from course_lib.experiments import family
from course_lib.experiments import family_texts as texts
from course_lib.experiments.cloze import cloze_places, masked_cloze
from course_lib.experiments.run_records import open_records, runs_parser, timed_measure
from course_lib.models.albert import ALBERT
from course_lib.models.bert import BERT
from course_lib.models.gpt2 import count_parameters
from course_lib.text.text_pairs import next_sentence_pairs, sentence_order_pairs
from course_lib.training.encoder_objectives import masked_lm_objective, masked_pair_objective
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

SMALL_BERTS_FILE = texts.FAMILY_FOLDER / "small_berts.json"
SMALL_SEEDS = (0, 1, 2)
SMALL_STEPS = 600
# Layers, groups that share their weights, and the width of the table of tokens. All are `ALBERT`,
# so that each differs from the next in one number; as many groups as layers share nothing.
SMALL_KINDS = {
    "2 layers": (2, 2, 64),
    "2 layers, shared": (2, 1, 64),
    "4 layers": (4, 4, 64),
    "4 layers, shared": (4, 1, 64),
    "2 layers, table of 32": (2, 2, 32),
    "2 layers, table of 16": (2, 2, 16),
}
PAIR_STEPS = 700
PAIR_TASKS: dict[str, Callable] = {
    "next sentence": next_sentence_pairs,
    "sentence order": sentence_order_pairs,
}


# Shared layers, narrow tables
# --------------------------------------------------------------------------------------------------


def small_albert(kind: str, seed: int) -> ALBERT:
    """Build one kind. Raises ValueError for a kind that is none."""
    if kind not in SMALL_KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(SMALL_KINDS)}")
    n_layers, n_hidden_groups, d_embedding = SMALL_KINDS[kind]
    sizes = {"n_layers": n_layers, "n_hidden_groups": n_hidden_groups, "d_embedding": d_embedding}
    return family.new_albert(seed, **sizes)


def cloze_parameters(model: nn.Module) -> int:
    """Count the parameters that fill in words: without the pooler and the head for pairs."""
    other = [getattr(model, name, None) for name in ("pooler", "sop_head", "nsp_head")]
    return count_parameters(model) - sum(count_parameters(part) for part in other if part)


def train_filler(model: nn.Module, seed: int, steps: int, **told) -> nn.Module:
    """Train a model to fill in the hidden words of passages, and nothing else."""
    batches = family.masked_passages(seed)
    train_to_the_end(model, batches, TrainSettings(steps), masked_lm_objective, **told)
    return model.eval()


def measure_small(kind: str, seed: int, steps: int = SMALL_STEPS) -> dict:
    """Train one kind and fill in the cloze; the seconds are the processor's, of training alone."""
    texts.family_passages()  # drawn before the clock starts
    start = time.process_time()
    model = train_filler(small_albert(kind, seed), seed, steps)
    seconds = round(time.process_time() - start, 1)
    found = masked_cloze(model, cloze_places())._asdict()
    return found | {"seconds": seconds, "parameters": cloze_parameters(model)}


# Two texts: does the second follow, are they in their order?
# --------------------------------------------------------------------------------------------------


def train_on_pairs(task: str, seed: int, steps: int = PAIR_STEPS, **told) -> BERT:
    """Train BERT on hidden words and one task about pairs; every row is a pair."""
    model = family.new_bert(seed)
    batches = family.masked_pairs(seed, PAIR_TASKS[task], paired=1.0)
    train_to_the_end(model, batches, TrainSettings(steps), masked_pair_objective(), **told)
    return model.eval()


def pairs_right(model: BERT, task: str) -> float:
    """Ask a model about the held-out pairs of a task, be it the one it was trained on or not."""
    return family.text_pair_accuracy(model, family.held_out_text_pairs(PAIR_TASKS[task], seed=7))


def measure_pairs(task: str, seed: int, steps: int = PAIR_STEPS) -> dict:
    """Train on one task and ask for both."""
    model = train_on_pairs(task, seed, steps)
    return {f"asked {asked}": pairs_right(model, asked) for asked in PAIR_TASKS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = runs_parser("small_berts", file="small_berts.json", seeds=SMALL_SEEDS)
    asked = parser.parse_args(arguments)
    records = open_records(asked.out, SMALL_BERTS_FILE.name)
    for seed in asked.seeds:
        for task in PAIR_TASKS:
            measure = partial(timed_measure, partial(measure_pairs, task, seed))
            records.get(measure, table="pairs", name=task, seed=seed, steps=PAIR_STEPS)
        for kind in SMALL_KINDS:
            measure = partial(measure_small, kind, seed)
            records.get(measure, table="sharing", name=kind, seed=seed, steps=SMALL_STEPS)


if __name__ == "__main__":
    main()
