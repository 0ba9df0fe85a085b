"""What does each change from BERT to RoBERTa buy? One at a time, over three seeds.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.bert_changes --out data/family

Every table compares kinds of training in one measure, the cloze of held-out passages. Finished runs
are kept: a command that was stopped goes on where it was.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.experiments import cloze, family
from course_lib.experiments import family_texts as texts
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, timed_measure
from course_lib.layers.attention import EncoderAttention, SelfAttention
from course_lib.models.roberta import RoBERTa
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.masking import MaskedRows
from course_lib.training.encoder_objectives import masked_lm_objective, masked_pair_objective
from course_lib.training.objectives import Objective, next_token_objective
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import TokenBatch, train_to_the_end

CHANGE_STEPS = 700
# As many steps as take the same time: more positions that are asked cost more.
CAUSAL_STEPS, SHARE_STEPS = 550, {0.15: 770, 0.5: 640}
FEW_PASSAGES = 600
BIG_BATCH, BIG_STEPS, BIG_RATES = 144, 300, (1.0, 2.0)  # rates as shares of the recipe's


# The kinds of training
# --------------------------------------------------------------------------------------------------


class LeftAttention(EncoderAttention):
    """An encoder's attention with the causal mask of lesson 06: nothing is heard from the right."""

    def forward(
        self, x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T C"]:
        return SelfAttention.forward(self, x)  # rows are padded on the right, which nobody hears


def new_left_reader(seed: int) -> RoBERTa:
    """Build the same model with the same first weights, but that it looks to the left only."""
    model = family.new_roberta(seed)
    for block in model.blocks:
        left = LeftAttention(model.settings.d_model, model.settings.n_heads)
        left.load_state_dict(block.attention.state_dict())
        block.attention = left
    return model


@cache
def few_passages() -> Int[Tensor, "N T"]:
    """Draw the few passages that are read for many epochs."""
    ids = texts.family_passages().ids
    return ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))[:FEW_PASSAGES]]


def few_masked(seed: int, copies: int | None) -> Iterator[TokenBatch]:
    """Batches of the few passages, with static masks in `copies`, or dynamic ones."""
    return family.hidden_batches(few_passages(), seed, copies)


def big_batches(seed: int) -> Iterator[TokenBatch]:
    """Batches of three times as many passages, with dynamic masks."""
    return family.hidden_batches(texts.family_passages().ids, seed, batch_size=BIG_BATCH)


def fewer_targets(batches: Iterator[TokenBatch], share: float, seed: int) -> Iterator[TokenBatch]:
    """Ask at a share of the targets only; what the model reads stays as it is."""
    generator = torch.Generator().manual_seed(seed)
    for inputs, targets in batches:
        left_out = torch.rand(targets.shape, generator=generator) >= share
        yield inputs, targets.masked_fill(left_out, IGNORE_INDEX)


def train_masked(
    seed: int,
    batches: Iterator[TokenBatch],
    steps: int = CHANGE_STEPS,
    rate: float = 1.0,
    model: nn.Module | None = None,
    objective: Objective = masked_lm_objective,
) -> nn.Module:
    """Train a RoBERTa, or `model`, with `rate` times the recipe's learning rates."""
    model = model or family.new_roberta(seed)
    settings = TrainSettings(steps, muon_lr=0.02 * rate, adam_lr=4e-3 * rate)
    train_to_the_end(model, batches, settings, objective)
    return model


# What is measured
# --------------------------------------------------------------------------------------------------


def scores_of(score: cloze.ClozeScore) -> dict[str, float]:
    """Give a cloze as the numbers of a record."""
    return {name: round(value, 4) for name, value in score._asdict().items()}


def masked_scores(model: nn.Module) -> dict[str, float]:
    """Score a masked model by the cloze."""
    return scores_of(cloze.masked_cloze(model.eval(), cloze.cloze_places()))


@torch.no_grad()
def accuracy_at_masks(model: nn.Module, rows: MaskedRows) -> float:
    """Tell how many of the tokens behind [MASK] are the likeliest."""
    right = []
    for inputs, targets in zip(rows.inputs.split(100), rows.targets.split(100), strict=True):
        asked = inputs == texts.MASK_TOKEN
        hidden = model.hidden(inputs, padding=inputs == texts.PAD_TOKEN)
        right.append(model.logits(hidden[asked]).argmax(-1) == targets[asked])
    return round(torch.cat(right).float().mean().item(), 4)


def nsp_accuracy(model: nn.Module) -> float:
    """Tell how many held-out pairs get the right class."""
    return round(family.text_pair_accuracy(model, family.held_out_text_pairs()), 4)


# The tables
# --------------------------------------------------------------------------------------------------


def run_base(seed: int) -> dict[str, float]:
    """Train as RoBERTa is in the family's table: the row that the changes are compared with."""
    return masked_scores(train_masked(seed, family.masked_passages(seed)))


def run_left(seed: int) -> dict[str, float]:
    """Train the same with the left side only."""
    model = new_left_reader(seed)
    return masked_scores(train_masked(seed, family.masked_passages(seed), model=model))


def run_share(seed: int, share: float) -> dict[str, float]:
    """Hide another share of the tokens."""
    batches = family.masked_passages(seed, share=share)
    return masked_scores(train_masked(seed, batches, SHARE_STEPS[share]))


def run_half_asked(seed: int) -> dict[str, float]:
    """Hide as many tokens, and ask for half of them."""
    batches = fewer_targets(family.masked_passages(seed), 0.5, seed)
    return masked_scores(train_masked(seed, batches))


def run_big(seed: int, rate: float) -> dict[str, float]:
    """Take fewer and bigger steps, as many as take the same time."""
    return masked_scores(train_masked(seed, big_batches(seed), BIG_STEPS, rate))


def run_few(seed: int, copies: int | None) -> dict[str, float]:
    """Read few passages for many epochs; measure also on those very passages.

    `own_accuracy` is at the first masks that were drawn for them, `new_accuracy` at others.
    """
    model = train_masked(seed, few_masked(seed, copies))
    found = masked_scores(model)
    for name, number in (("own_accuracy", 1_000_003 * seed), ("new_accuracy", 999_331 + seed)):
        rows = family.hide_tokens(few_passages(), torch.Generator().manual_seed(number))
        found[name] = accuracy_at_masks(model, rows)
    return found


def run_pairs(seed: int, paired: float, weight: float) -> dict[str, float]:
    """Write a share of the passages as pairs, and ask about them with a weight."""
    batches, model = family.masked_pairs(seed, paired=paired), family.new_bert(seed)
    objective = masked_pair_objective(weight)
    train_masked(seed, batches, model=model, objective=objective)
    found = masked_scores(model)
    return found | ({"nsp_accuracy": nsp_accuracy(model)} if weight else {})


def run_causal(seed: int, share: float) -> dict[str, float]:
    """Train GPT-2 with the loss at a share of all places; score it by whole passages.

    `left_accuracy` is what it guesses without the right side.
    """
    model = family.new_gpt2(seed)
    batches = fewer_targets(family.next_token_passages(seed), share, seed)
    train_masked(seed, batches, CAUSAL_STEPS, model=model, objective=next_token_objective)
    places = cloze.cloze_places()
    left = cloze.left_cloze(model.eval(), places).accuracy
    rescored = scores_of(cloze.rescored_cloze(model, places))
    return rescored | {"left_accuracy": round(left, 4)}


def change_runs() -> dict[str, dict[str, Callable[[int], dict[str, float]]]]:
    """Give each table's kinds of training by their names; each takes a seed."""
    return {
        "base": {"RoBERTa": run_base, "left side only": run_left},
        "masks": {
            "static, 1 copy": partial(run_few, copies=1),
            "static, 10 copies": partial(run_few, copies=10),
            "dynamic": partial(run_few, copies=None),
        },
        "pairs": {
            "no pairs": partial(run_pairs, paired=0.0, weight=0.0),
            "pairs": partial(run_pairs, paired=0.5, weight=0.0),
            "pairs and their loss": partial(run_pairs, paired=0.5, weight=1.0),
        },
        "share": {f"{share:.0%} hidden": partial(run_share, share=share) for share in SHARE_STEPS},
        "targets": {
            "half of 30% asked": run_half_asked,
            **{
                f"causal, {share:.0%} asked": partial(run_causal, share=share)
                for share in (0.3, 1.0)
            },
        },
        "batch": {
            f"{BIG_BATCH} rows, rate x {rate:g}": partial(run_big, rate=rate) for rate in BIG_RATES
        },
    }


def load_changes(file: Path = texts.FAMILY_FOLDER / "bert_changes.json") -> RunRecords:
    """Read the kept runs. Raises ValueError if there are none."""
    records = RunRecords(file)
    if not records.runs:
        raise ValueError(f"{file} holds no runs")
    return records


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = runs_parser("bert_changes", file="bert_changes.json", seeds=family.FAMILY_SEEDS)
    parser.add_argument("--tables", nargs="+", default=list(change_runs()), choices=change_runs())
    asked = parser.parse_args(arguments)
    records = open_records(asked.out, "bert_changes.json")
    cloze.cloze_places()  # drawn before the clock starts
    for table in asked.tables:
        for seed in asked.seeds:
            for name, run in change_runs()[table].items():
                measure = partial(timed_measure, partial(run, seed))
                records.get(measure, table=table, name=name, seed=seed)


if __name__ == "__main__":
    main()
