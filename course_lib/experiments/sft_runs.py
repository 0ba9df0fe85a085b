"""Fine-tuning a small base on worked sums: every run that lesson 22 compares, over three seeds.

    python -m course_lib.experiments.sft_runs --out data/sft

All start from the shipped base. Finished runs are kept in `runs.json`: a command that was stopped
goes on where it was. About eight minutes of one core.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import islice, product
from pathlib import Path
from random import Random
from statistics import mean, median

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.alignment.lora import add_lora, count_trainable_parameters
from course_lib.alignment.rewards import count_worked_sums, true_fraction
from course_lib.alignment.rl_task import EVALUATION_SEED, Question, answer_in_batches
from course_lib.alignment.sft import (
    SFTExample,
    next_token_packed,
    sft_batch,
    sft_batches,
    sft_examples,
    sft_settings,
)
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.r1 import LAPTOP_RECIPE, SHIPPED_R1
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, runs_with
from course_lib.tasks import arithmetic
from course_lib.tasks.demonstrations import as_dialogue, draw_demonstrations, wrong_attempt
from course_lib.tasks.fact_chats import draw_fact_question, fact_answer_metrics
from course_lib.text import small_web
from course_lib.text.chat import END_OF_TEXT, render_chat
from course_lib.text.problems import verify_answer
from course_lib.training.objectives import (
    LossSum,
    Objective,
    bits_per_byte,
    next_token_loss_sum,
    next_token_objective,
)
from course_lib.training.trainer import train_to_the_end

SFT_FOLDER = DATA_FOLDER / "sft"
SFT_STEPS, SFT_BATCH, ROW_LENGTH = 40, 16, 256
FULL_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
LORA_RATES = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3, 32e-3)
LORA_RANKS = (1, 8, 32)
LABEL_COUNTS, WRONG_SHARES = (16, 64, 256, 1024), (0.0, 0.5)


@dataclass(frozen=True)
class SFTRun:
    """One way to fine-tune the base; the defaults are what the others differ from in one thing."""

    n_labels: int = 256
    share_wrong: float = 0.0  # of the labels
    rate: float = 2e-3
    rank: int = 0  # of LoRA; at 0 all weights learn
    learn: str = "answers"  # or "everything"
    attempts: bool = False  # of the users, in front of their questions, wrong ones
    rows: str = "padded"  # or "packed", or "leaking": packed, and no mask keeps examples apart
    old_share: float = 0.0  # of the rows of a batch that are pages of pre-training
    steps: int = SFT_STEPS
    seconds: float | None = None  # of the processor, if the run ends by the clock


# What is learnt from
# --------------------------------------------------------------------------------------------------


def learn_everything(example: SFTExample) -> SFTExample:
    """Move the prompt into what is learnt, all but its first token, which nothing predicts.

    >>> learn_everything(SFTExample([0, 5, 6], [7, 0]))
    SFTExample(prompt=[0], completion=[5, 6, 7, 0])
    """
    return SFTExample([*example.prompt[:1]], [*example.prompt[1:], *example.completion])


def pages_of_the_base(n: int, seed: int) -> list[str]:
    """Draw `n` pages like those that the base was trained on; each seed has its own.

    Pages that are longer than the base's context are left out.
    """
    recipe, tokenizer = LAPTOP_RECIPE, SHIPPED_R1.tokenizer()
    pages = small_web.draw_clean_documents(
        1 + n / 1000, 5_000_000 + seed, recipe.mixture, recipe.chains
    )
    short = (
        page.text
        for page in pages
        if len(tokenizer.encode(page.text, allowed_special="all")) < recipe.context
    )
    return list(islice(short, n))


def page_examples(pages: Sequence[str]) -> list[SFTExample]:
    """Make an example of each page: it stands behind the end of another, and all is learnt."""
    tokenizer = SHIPPED_R1.tokenizer()
    end = tokenizer.special_tokens[END_OF_TEXT]
    return [
        SFTExample([end], [*tokenizer.encode(page, allowed_special="all"), end]) for page in pages
    ]


def mix_in_old(
    examples: Sequence[SFTExample], old: Sequence[SFTExample], share: float
) -> list[SFTExample]:
    """Add old examples, so that they are this share of all; new ones are repeated if they are few.

    >>> new, old = [SFTExample([0], [1, 0])], [SFTExample([0], [2, 0])] * 2
    >>> len(mix_in_old(new, old, share=0.25))        # six of the new, and two old
    8
    """
    if not 0 <= share < 1 or (share and not old):
        raise ValueError(f"{len(old)} old examples for a share of {share}, from 0 to below 1")
    if not share:
        return list(examples)
    n_new = round(len(old) * (1 - share) / share)
    return [*(examples[i % len(examples)] for i in range(n_new)), *old]


def run_examples(run: SFTRun, seed: int) -> list[SFTExample]:
    """Draw the labels of a run and make examples of them, old pages among them if it says so."""
    pairs = draw_demonstrations(
        Random(f"labels/{seed}"), run.n_labels, run.share_wrong, run.attempts
    )
    examples = sft_examples(SHIPPED_R1.tokenizer(), [as_dialogue(*pair) for pair in pairs])
    if run.learn == "everything":
        examples = [learn_everything(example) for example in examples]
    old = page_examples(pages_of_the_base(500, seed + 1)) if run.old_share else []
    return mix_in_old(examples, old, run.old_share)


# How
# --------------------------------------------------------------------------------------------------


def next_token_leaking(
    model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B 2 T"]
) -> LossSum:
    """The objective for packed rows with a mistake: a token sees the examples before its own."""
    return next_token_loss_sum(model(inputs), targets[:, 0])


ROW_KINDS: dict[str, tuple[int | None, Objective]] = {
    "padded": (None, next_token_objective),
    "packed": (ROW_LENGTH, next_token_packed),
    "leaking": (ROW_LENGTH, next_token_leaking),
}


def train_examples(
    run: SFTRun, examples: Sequence[SFTExample], seed: int
) -> tuple[nn.Module, dict]:
    """Fine-tune the base; give the model, with its changes if it is LoRA's, and the seconds."""
    torch.manual_seed(seed)
    model = SHIPPED_R1.load("base")
    if run.rank:
        add_lora(model, run.rank, alpha=16.0)
    row_length, objective = ROW_KINDS[run.rows]
    settings = sft_settings(run.steps, adam_lr=run.rate, seconds=run.seconds, clock="processor")
    began = time.process_time()
    history = train_to_the_end(
        model, sft_batches(examples, SFT_BATCH, seed, row_length=row_length), settings, objective
    )
    found = {
        "steps_taken": len(history.loss),
        "seconds_taken": time.process_time() - began,
        "loss": history.loss[-1],
        "tokens": history.tokens[-1],
        "trainable": count_trainable_parameters(model),
    }
    return model.eval(), found


# What came of it
# --------------------------------------------------------------------------------------------------


def measure_sums(model: nn.Module, n: int = 400, attempts: bool = False) -> dict[str, float]:
    """Measure held-out sums: right ones when sampled and when greedy, and shares that are worked.

    With `attempts` the user says a wrong attempt first.
    """
    questions, tokenizer = arithmetic.held_out_arithmetic(n), SHIPPED_R1.tokenizer()
    if attempts:
        rng = Random(EVALUATION_SEED)
        questions = [Question(wrong_attempt(rng, q.truth), q.truth) for q in questions]
    texts, greedy = (
        answer_in_batches(model, tokenizer, questions, max_new_tokens=90, temperature=t)[0]
        for t in (1.0, 0.0)
    )
    return {
        "accuracy": arithmetic.arithmetic_metrics(questions, texts)["accuracy"],
        "greedy": arithmetic.arithmetic_metrics(questions, greedy)["accuracy"],
        "worked": true_fraction([count_worked_sums(text) > 0 for text in texts]),
    }


def measure_facts(model: nn.Module, n: int = 250) -> float:
    """Measure what the base knew: the share of chats about facts that are right."""
    rng = Random(EVALUATION_SEED)
    questions = [draw_fact_question(rng) for _ in range(n)]
    texts, _ = answer_in_batches(model, SHIPPED_R1.tokenizer(), questions, max_new_tokens=32)
    return fact_answer_metrics(questions, texts)["right"]


@torch.no_grad()
def page_bits_per_byte(model: nn.Module, pages: Sequence[str]) -> float:
    """Measure the bits per byte of pages, each read behind the end of another one."""
    examples, nats = page_examples(pages), 0.0
    for start in range(0, len(examples), 64):
        nats += next_token_objective(model, *sft_batch(examples[start : start + 64])).total.item()
    return bits_per_byte(nats, sum(len(page.encode()) for page in pages))


@cache
def held_out_pages() -> list[str]:
    """Draw the pages that forgetting is measured on."""
    return pages_of_the_base(200, seed=0)


def measure_sft(model: nn.Module) -> dict[str, float]:
    """Measure the new skill and the old ones."""
    model.eval()
    return measure_sums(model) | {
        "facts": measure_facts(model),
        "bits_per_byte": page_bits_per_byte(model, held_out_pages()),
    }


def run_sft(run: SFTRun, seed: int) -> dict:
    """Fine-tune the base in one way and measure it."""
    model, found = train_examples(run, run_examples(run, seed), seed)
    found |= measure_sft(model)
    if run.attempts:
        found["accuracy with attempts"] = measure_sums(model, attempts=True)["accuracy"]
    return found


# Learning from oneself
# --------------------------------------------------------------------------------------------------

ANSWER_FILTERS: dict[str, arithmetic.AnswerFilter] = {
    "any answer": lambda question, text: True,
    "right": lambda question, text: bool(verify_answer(question.truth, text)),
    "right and worked": lambda question, text: (
        bool(verify_answer(question.truth, text)) and count_worked_sums(text) > 0
    ),
}


def fits_a_chat(question: str, answer: str) -> bool:
    """Tell whether `render_chat` accepts the two.

    >>> fits_a_chat("7+5=?", "12"), fits_a_chat("7+5=?", " "), fits_a_chat("7+5=?", "User: 12")
    (True, False, False)
    """
    try:
        return bool(render_chat(as_dialogue(question, answer)))
    except ValueError:
        return False


def self_made_pairs(
    model: nn.Module, good: arithmetic.AnswerFilter, seed: str, n: int = 512, n_samples: int = 4
) -> list[tuple[str, str]]:
    """Let a model answer fresh sums `n_samples` times; keep one good answer to each, if there is.

    An answer that a chat can't hold, such as an empty one, is no good.
    """
    rng = Random(seed)
    questions = [arithmetic.draw_arithmetic_question(rng) for _ in range(n)]
    texts, _ = answer_in_batches(
        model, SHIPPED_R1.tokenizer(), questions, n_samples=n_samples, max_new_tokens=90
    )

    def fits(question: Question, text: str) -> bool:
        return fits_a_chat(question.text, text) and good(question, text)

    kept = arithmetic.rejection_sample(questions, texts, fits)
    return [(question.text, text) for question, text in kept]


def run_self_training(name: str, seed: int, rate: float, n_rounds: int) -> dict:
    """Learn from one's own answers that pass a filter, round by round, each time from the base.

    Every round asks the model of the last round.
    """
    model, rounds, seconds = SHIPPED_R1.load("base").eval(), [], 0.0
    for number in range(n_rounds):
        pairs = self_made_pairs(model, ANSWER_FILTERS[name], f"self/{seed}/{number}")
        examples = sft_examples(SHIPPED_R1.tokenizer(), [as_dialogue(*pair) for pair in pairs])
        model, found = train_examples(SFTRun(rate=rate), examples, seed)
        seconds += found["seconds_taken"]
        rounds.append(measure_sft(model) | {"kept": len(pairs)})
    return {"rounds": rounds, "seconds_taken": seconds}


# All runs
# --------------------------------------------------------------------------------------------------


def compared_runs(rates: tuple[float, float]) -> list[SFTRun]:
    """List the runs at the best rates, of all weights and of LoRA, in the order of the lesson."""
    full, lora = SFTRun(rate=rates[0]), SFTRun(rate=rates[1], rank=8)
    return [
        *(replace(full, old_share=share) for share in (0.1, 0.3)),
        *(
            replace(full, n_labels=n, share_wrong=wrong)
            for n, wrong in product(LABEL_COUNTS, WRONG_SHARES)
        ),
        *(replace(full, learn=learn, attempts=True) for learn in ("answers", "everything")),
        replace(full, learn="everything"),
        *(replace(lora, rank=rank) for rank in LORA_RANKS),
        *(replace(full, rows=rows) for rows in ("packed", "leaking")),
    ]


def sft_runs(folder: Path = SFT_FOLDER, **key) -> list[dict]:
    """Read the finished runs of this key, such as the fields of an `SFTRun`, seed by seed."""
    return RunRecords(folder / "runs.json").by_seed(**key)


def values_by_seed(run: SFTRun, what: str, folder: Path = SFT_FOLDER) -> list[float]:
    """Read a measure of one way to fine-tune, seed by seed."""
    return [found[what] for found in sft_runs(folder, **asdict(run))]


def best_rates(runs: Sequence[dict]) -> tuple[float, float]:
    """Give the rates with the highest mean accuracy over the seeds, of all weights and of LoRA."""

    def mean_accuracy(rate: float, rank: int) -> float:
        key = asdict(SFTRun(rate=rate, rank=rank))
        return mean(run["accuracy"] for run in runs_with(list(runs), **key))

    full = max(FULL_RATES, key=lambda rate: mean_accuracy(rate, 0))
    return full, max(LORA_RATES, key=lambda rate: mean_accuracy(rate, 8))


def make_runs(records: RunRecords, seeds: Sequence[int]) -> None:
    """Make the runs that are missing: the rates first, all else at the best of them."""

    def make(run: SFTRun) -> None:
        for seed in seeds:
            records.get(partial(run_sft, run, seed), **asdict(run), seed=seed)

    for rate in FULL_RATES:
        make(SFTRun(rate=rate))
    for rate in LORA_RATES:
        make(SFTRun(rate=rate, rank=8))
    full, lora = best_rates(records.runs)
    for name, seed in product(ANSWER_FILTERS, seeds):
        n_rounds = 2 if name == "right and worked" else 1
        rounds = partial(run_self_training, name, seed, full, n_rounds)
        records.get(rounds, kept_if=name, seed=seed)
    for run in compared_runs((full, lora)):
        make(run)
    as_long = median(  # the first run of a process takes longer
        run["seconds_taken"] for run in runs_with(records.runs, **asdict(SFTRun(rate=lora, rank=8)))
    )
    for seed in seeds:
        run = SFTRun(rate=full, steps=10 * SFT_STEPS, seconds=as_long)
        records.get(partial(run_sft, run, seed), as_long_as="LoRA", seed=seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("sft_runs", __doc__)
    asked = parser.parse_args(arguments)
    make_runs(open_records(asked.out), asked.seeds)


if __name__ == "__main__":
    main()
