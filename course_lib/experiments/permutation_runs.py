"""What does an order of prediction buy? XLNet's parts, one at a time, beside BERT at equal seconds.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.permutation_runs --out data/family

Finished runs are kept: a command that was stopped goes on where it was.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.experiments import cloze, family
from course_lib.experiments import family_texts as texts
from course_lib.experiments import permutation_scores as scores
from course_lib.experiments.run_records import open_records, runs_parser
from course_lib.models.xlnet import XLNet
from course_lib.text.batches import shuffled_rows
from course_lib.text.factorisation import partial_prediction, unseen_in_order
from course_lib.training.encoder_objectives import masked_lm_objective, permutation_lm_loss
from course_lib.training.objectives import LossSum, Objective
from course_lib.training.trainer import TokenBatch

PERMUTATION_FILE = texts.FAMILY_FOLDER / "permutation_runs.json"
PREDICTION_ORDERS = ("permuted", "left to right", "all at once")
# As many seconds of one processor as 800 steps of BERT: an XLNet step costs more with each target.
MASKED_STEPS = 800
TARGET_STEPS = {2: 700, 4: 660, 7: 610, 12: 535}
MEMORY_STEPS = {"with memory": 500, "without memory": 730}
WIDEST_TARGETS = max(TARGET_STEPS)  # all read the passages that have so many tokens
LIVE_TARGETS = family.XLNET_TARGETS


# What they learn from
# --------------------------------------------------------------------------------------------------


def masked_only(seed: int, mask_share: float, keep_share: float) -> Iterator[TokenBatch]:
    """Batches of passages whose hidden tokens are [MASK], themselves or others, in these shares."""
    shares = {"mask_share": mask_share, "keep_share": keep_share}
    return family.hidden_batches(texts.family_passages().ids, seed, **shares)


def drawn_targets(seed: int, n_targets: int = LIVE_TARGETS) -> Iterator[TokenBatch]:
    """Batches of passages and of `n_targets` columns each; the same passages for any number."""
    ids = texts.family_passages().ids
    ids = ids[texts.maskable_places(ids).sum(1) >= WIDEST_TARGETS]
    generator = torch.Generator().manual_seed(seed + 1_000_000)
    maskable = texts.maskable_places(ids)
    for rows, allowed in shuffled_rows(ids, maskable, family.FAMILY_BATCH, seed):
        yield rows, partial_prediction(rows, allowed, n_targets, generator).targets


def prediction_rank(
    order: str, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B K"]
) -> Int[Tensor, "B T"]:
    """Give each token's place in the order: of the targets, of all columns, or one for all targets.

    Raises a ValueError for an order that is none of PREDICTION_ORDERS.
    """
    if order not in PREDICTION_ORDERS:
        raise ValueError(f"no order {order!r}; there are {PREDICTION_ORDERS}")
    if order == "left to right":
        return torch.arange(ids.shape[1]).expand_as(ids)
    places = torch.arange(targets.shape[1]) * (order == "permuted")
    return torch.full_like(ids, -1).scatter(1, targets, places.expand_as(targets))


def ordered_objective(order: str) -> Objective:
    """Make the objective of one order: the surprise at `targets`, asked of XLNet's query stream."""

    def objective(
        model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B K"]
    ) -> LossSum:
        unseen = unseen_in_order(prediction_rank(order, inputs, targets))
        padding = inputs == texts.PAD_TOKEN
        logits = model(inputs, padding=padding, unseen=unseen, targets=targets)
        return permutation_lm_loss(logits, inputs.gather(1, targets))

    return objective


def window_targets(seed: int, n_targets: int = LIVE_TARGETS) -> Iterator[TokenBatch]:
    """Batches of two windows, one after the other, and of the columns to predict in the second."""
    windows = scores.family_windows()
    pairs = torch.stack([windows.before, windows.ids], 1)
    generator = torch.Generator().manual_seed(seed + 1_000_000)
    for rows, _ in shuffled_rows(pairs, pairs, family.FAMILY_BATCH, seed):
        draws = torch.rand(len(rows), scores.PIECE_LENGTH, generator=generator)
        yield rows, draws.topk(n_targets).indices


def memory_objective(remember: bool) -> Objective:
    """Make the objective for windows: the first is read into memory, or not at all."""

    def objective(
        model: XLNet, inputs: Int[Tensor, "B 2 T"], targets: Int[Tensor, "B K"]
    ) -> LossSum:
        before, ids = inputs.unbind(1)
        with torch.no_grad():
            memory = model.read(before).memory if remember else None
        unseen = unseen_in_order(prediction_rank("permuted", ids, targets))
        logits = model(ids, unseen=unseen, targets=targets, memory=memory)
        return permutation_lm_loss(logits, ids.gather(1, targets))

    return objective


# The runs
# --------------------------------------------------------------------------------------------------


def order_systems() -> dict[str, family.FamilySystem]:
    """Give BERT with two rules of masking, and XLNet in three orders, at equal seconds."""
    masks = {"BERT, 80/10/10": (0.8, 0.1), "BERT, 100/0/0": (1.0, 0.0)}
    systems = {
        name: family.FamilySystem(
            family.new_bert,
            partial(masked_only, mask_share=shares[0], keep_share=shares[1]),
            masked_lm_objective,
            MASKED_STEPS,
        )
        for name, shares in masks.items()
    }
    steps = TARGET_STEPS[LIVE_TARGETS]
    return systems | {
        f"XLNet, {order}": family.FamilySystem(
            family.new_xlnet, drawn_targets, ordered_objective(order), steps
        )
        for order in PREDICTION_ORDERS
    }


def target_systems() -> dict[str, family.FamilySystem]:
    """Give XLNet with other numbers of targets than the permuted one of `order_systems` has."""
    return {
        f"{n} targets": family.FamilySystem(
            family.new_xlnet,
            partial(drawn_targets, n_targets=n),
            ordered_objective("permuted"),
            steps,
        )
        for n, steps in TARGET_STEPS.items()
        if n != LIVE_TARGETS
    }


def memory_systems() -> dict[str, family.FamilySystem]:
    """Give XLNet with memory of the window before, and without."""
    return {
        name: family.FamilySystem(
            family.new_xlnet, window_targets, memory_objective(name == "with memory"), steps
        )
        for name, steps in MEMORY_STEPS.items()
    }


def both_sides_cloze(model: nn.Module) -> cloze.ClozeScore:
    """Score the places of the family's cloze, in the model's own way."""
    score = cloze.permuted_cloze if isinstance(model, XLNet) else cloze.masked_cloze
    return score(model, cloze.cloze_places())


def score_orders(model: nn.Module) -> dict:
    """Measure one system of `order_systems`."""
    places, pairs = cloze.cloze_places(), scores.held_out_word_pairs()
    again = not isinstance(model, XLNet)
    at_once = scores.joint_at_once(model, pairs)
    chain = scores.joint_by_chain(model, pairs, read_again=again)
    return both_sides_cloze(model)._asdict() | {
        "left_side": scores.left_side_cloze(model, places),
        "replaced": scores.replaced_cloze(model, places),
        "unhidden": scores.replaced_cloze(model, places, replace=False),
        "impossible_at_once": scores.impossible_share(at_once),
        "impossible_by_chain": scores.impossible_share(chain),
        "nats_at_once": scores.pair_nats(at_once, pairs),
        "nats_by_chain": scores.pair_nats(chain, pairs),
        "kind_probe": [scores.kind_probe(model, draw=draw) for draw in range(scores.PROBE_DRAWS)],
    }


def score_targets(model: XLNet) -> dict:
    """Measure one system of `target_systems`."""
    return both_sides_cloze(model)._asdict()


def score_memory(model: XLNet) -> dict:
    """Measure one system of `memory_systems`, reading with memory and without."""
    return {
        name: scores.memory_cloze(model, remember)._asdict()
        for name, remember in (("remembering", True), ("forgetting", False))
    }


PERMUTATION_TABLES = {
    "orders": (order_systems, score_orders),
    "targets": (target_systems, score_targets),
    "memory": (memory_systems, score_memory),
}


def run_permutation(
    system: family.FamilySystem, score: Callable[[nn.Module], dict], seed: int, steps: int | None
) -> dict:
    """Train and measure one system; the seconds are the processor's, of training alone."""
    next(system.batches(seed))  # texts are drawn before the clock starts
    start = time.process_time()
    model, _ = family.train_system(system, seed, steps)
    seconds = round(time.process_time() - start, 1)
    return {"steps": steps or system.steps, "seconds": seconds} | score(model.eval())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = runs_parser(
        "permutation_runs", file="permutation_runs.json", seeds=family.FAMILY_SEEDS
    )
    parser.add_argument("--tables", nargs="+", default=list(PERMUTATION_TABLES))
    parser.add_argument("--steps", type=int, help="fewer, to try it out")
    asked = parser.parse_args(arguments)
    records = open_records(asked.out, PERMUTATION_FILE.name)
    for seed in asked.seeds:
        for table in asked.tables:
            systems, score = PERMUTATION_TABLES[table]
            for name, system in systems().items():
                measure = partial(run_permutation, system, score, seed, asked.steps)
                records.get(measure, table=table, name=name, seed=seed)


if __name__ == "__main__":
    main()
