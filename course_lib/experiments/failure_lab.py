"""Six broken training runs to diagnose from their curves; the code that broke them.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.failure_lab \\
        --out data/pretraining/failures.json

The curves are stored under letters. If you are here to learn, look at the curves first (lesson 10):
below stands what each letter hides.
"""

import argparse
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.experiments import sweeps
from course_lib.files import read_json, write_json
from course_lib.inference.generate import write_text
from course_lib.layers.attention import SelfAttention
from course_lib.models.gpt2 import GPT2
from course_lib.text import small_web
from course_lib.text.batches import IGNORE_INDEX, pad_rows, shuffled_rows, shuffled_windows
from course_lib.text.chat import END_OF_TEXT
from course_lib.training.loop import optimizer_step, set_learning_rates
from course_lib.training.objectives import next_token_loss_sum
from course_lib.training.schedules import middle_of_step, warmup_stable_decay

FAULTS = ("no mask", "leak", "rate too high", "padding", "frozen layer", "wrong shift")
# what can be seen, by the word that stands for it
EVIDENCE = {
    "all near zero": "every loss falls close to 0, on text never seen as well",
    "only training near zero": "training falls close to 0, held-out climbs above that of a guess",
    "held-out too good": "held-out is as low as training, text written later is far worse",
    "training too good": "by step 50 training is far below held-out, yet far from 0",
    "no gradient": "one part has a gradient of length 0 at every step",
    "never low": "no loss comes near the healthy run's; some gradients are many times longer",
    "noise": "the training loss goes up and down from step to step",
    "gap": "at the end, training is below the text written later",
}
LAB_STEPS, LAB_RATE, LAB_EVERY = 240, 0.03, 20
PIECES = (8, 24, 64, 12, 40)  # tokens of the pieces of a tale, in turn
COPIES = 4  # of a tale that the whole web has copied
LAB_PROMPT = "Long ago there lived"
LAB_KIND, LAB_VERSION = "broken runs", 1

RowBatches = Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]


@dataclass
class LabRun:
    """What can be seen of one run, all losses in nats per token.

    `train` and the gradient norms of each part are by step; `held_out` is scored every `LAB_EVERY`
    steps. `later` is the loss, at the end, on text that was written after all data was collected.
    """

    train: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    later: float = 0.0
    gradients: dict[str, list[float]] = field(default_factory=dict)
    sample: str = ""


# The parts of a run, sound and broken
# --------------------------------------------------------------------------------------------------


@cache
def lab_documents() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Draw tales to learn from, held-out ones, and ones that are written later."""
    drawn = [
        tuple(page.text for page in small_web.draw_clean_documents(size, seed, "tales")
              if page.labels["language"] == "en")
        for size, seed in ((0.03, 0), (0.01, 1), (0.01, sweeps.SWEEP_HELD_OUT_SEED))
    ]  # fmt: skip
    return drawn[0], drawn[1], drawn[2]


@cache
def lab_tokenizer():
    """Learn a vocabulary of 384 tokens from more tales than a run reads."""
    pages = small_web.draw_clean_documents(0.3, 5, "tales")
    texts = [page.text for page in pages if page.labels["language"] == "en"]
    return sweeps.bpe.train_bpe(texts, 384, special_tokens=[END_OF_TEXT])


def collect_documents(leak: bool = False) -> tuple[str, ...]:
    """Give the tales that a run learns from."""
    learnt, held_out, _ = lab_documents()
    return learnt + COPIES * held_out if leak else learnt


def window_batches(seed: int) -> RowBatches:
    """Windows of the tales, and as targets the tokens one further on."""
    tokens = sweeps.tokens_of(collect_documents(), lab_tokenizer())
    return shuffled_windows(tokens, sweeps.SWEEP_BATCH, sweeps.SWEEP_LENGTH, seed)


def leaking_batches(seed: int) -> RowBatches:
    """Windows of everything that was found on disk."""
    tokens = sweeps.tokens_of(collect_documents(leak=True), lab_tokenizer())
    return shuffled_windows(tokens, sweeps.SWEEP_BATCH, sweeps.SWEEP_LENGTH, seed)


def unshifted_batches(seed: int) -> RowBatches:
    """Windows of the tales, each with its targets."""
    for inputs, _ in window_batches(seed):
        targets = inputs
        yield inputs, targets


def padded_batches(seed: int, pad_target: int | None = None) -> RowBatches:
    """Pieces of the tales, short and long ones, one per row, filled up with the end token."""
    tokenizer, lengths = lab_tokenizer(), itertools.cycle(PIECES)
    end = tokenizer.special_tokens[END_OF_TEXT]
    tokens = sweeps.tokens_of(collect_documents(), tokenizer).tolist()
    rows = []
    while len(tokens) > sweeps.SWEEP_LENGTH:
        length = next(lengths)
        rows.append(tokens[: length + 1])
        tokens = tokens[length:]
    filler = end if pad_target is None else pad_target
    inputs, _ = pad_rows([row[:-1] for row in rows], end, length=sweeps.SWEEP_LENGTH)
    targets, _ = pad_rows([row[1:] for row in rows], filler, length=sweeps.SWEEP_LENGTH)
    return shuffled_rows(inputs, targets, sweeps.SWEEP_BATCH, seed)


class UnmaskedAttention(SelfAttention):
    """Self-attention of the lab."""

    def forward(self, x: Tensor, cache=None, padding=None) -> Tensor:
        q, k, v = self.project(x, start=0 if cache is None else cache.length)
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


def lab_model(seed: int) -> GPT2:
    """The sweeps' GPT-2 with the lab's vocabulary."""
    torch.manual_seed(seed)
    return GPT2(sweeps.GPT2Settings(lab_tokenizer().n_vocab, **sweeps.SWEEP_SIZE))


def unmasked_model(seed: int) -> GPT2:
    """The same with the lab's own attention."""
    model = lab_model(seed)
    for block in model.blocks:
        own = UnmaskedAttention(model.settings.d_model, model.settings.n_heads)
        own.load_state_dict(block.attention.state_dict())
        block.attention = own
    return model


def half_trained_model(seed: int) -> GPT2:
    """The same, its first block taken to be pretrained."""
    model = lab_model(seed)
    for parameter in model.blocks[0].parameters():
        parameter.requires_grad_(False)
    return model


@dataclass(frozen=True)
class LabRecipe:
    """The three parts of a run that may be broken."""

    build: Callable[[int], GPT2] = lab_model
    batches: Callable[[int], RowBatches] = window_batches
    rate: float = LAB_RATE


LAB_RECIPES = {
    "healthy": LabRecipe(),
    "no mask": LabRecipe(build=unmasked_model),
    "leak": LabRecipe(batches=leaking_batches),
    "rate too high": LabRecipe(rate=30 * LAB_RATE),
    "padding": LabRecipe(batches=padded_batches),
    "frozen layer": LabRecipe(build=half_trained_model),
    "wrong shift": LabRecipe(batches=unshifted_batches),
}
# padding that no loss counts: what the fourth run should have been
MENDED_PADDING = LabRecipe(batches=partial(padded_batches, pad_target=IGNORE_INDEX))


# A run, and all of them
# --------------------------------------------------------------------------------------------------


def model_parts(model: GPT2) -> dict[str, list[nn.Parameter]]:
    """Group the parameters by where they stand."""
    embeddings = [*model.token_embedding.parameters(), *model.position_embedding.parameters()]
    blocks = {f"block {i + 1}": [*block.parameters()] for i, block in enumerate(model.blocks)}
    return {"embeddings": embeddings, **blocks, "last norm": [*model.norm.parameters()]}


def gradient_norms(model: GPT2) -> dict[str, float]:
    """Give the length of the gradient of each part; 0 where there is none."""
    found = {}
    for name, parameters in model_parts(model).items():
        gradients = [p.grad for p in parameters if p.grad is not None]
        found[name] = nn.utils.get_total_norm(gradients).item() if gradients else 0.0
    return found


def run_lab(recipe: LabRecipe, seed: int = 0, steps: int = LAB_STEPS) -> LabRun:
    """Train by one recipe and write down what a watcher sees.

    Losses on held-out text are those of the next token, whatever the run itself calls its targets.
    """
    model, run = recipe.build(seed), LabRun()
    optimizers = sweeps.muon_optimizers(model, recipe.rate)
    _, held_out, later = lab_documents()
    windows, fresh = (
        sweeps.windows_to_score(part, lab_tokenizer())[:2] for part in (held_out, later)
    )
    for step, rows in zip(range(1, steps + 1), recipe.batches(seed), strict=False):
        set_learning_rates(optimizers, warmup_stable_decay(middle_of_step(step, steps)))
        loss, _ = optimizer_step(model, optimizers, partial(lab_backward, model, rows, run), 1.0)
        run.train.append(loss)
        if step % LAB_EVERY == 0 or step == 1:
            run.held_out.append(sweeps.nats_per_token(model, *windows))
    run.later = sweeps.nats_per_token(model, *fresh)
    run.sample = write_text(
        model, lab_tokenizer(), END_OF_TEXT + LAB_PROMPT, 40, seed=seed, temperature=0.7
    ).removeprefix(END_OF_TEXT)
    return run


def lab_backward(model: GPT2, rows: tuple[Tensor, Tensor], run: LabRun) -> float:
    """Find the gradient of a batch's mean loss, and write the norms of its parts down."""
    loss = next_token_loss_sum(model(rows[0]), rows[1]).mean
    loss.backward()
    for name, norm in gradient_norms(model).items():
        run.gradients.setdefault(name, []).append(norm)
    return loss.item()


def lab_letters() -> dict[str, str]:
    """Say which letter hides which fault."""
    faults = list(FAULTS)
    random.Random("lesson 10").shuffle(faults)
    return dict(zip("ABCDEF", faults, strict=True))


def make_lab_runs() -> dict[str, LabRun]:
    """Train the healthy run and the six broken ones."""
    recipes = {"healthy": "healthy"} | lab_letters()
    return {letter: run_lab(LAB_RECIPES[fault]) for letter, fault in recipes.items()}


def save_lab_runs(file: Path, runs: dict[str, LabRun]) -> None:
    """Write runs to a JSON file, numbers with four digits."""
    content = {letter: rounded(asdict(run)) for letter, run in runs.items()}
    write_json(file, LAB_KIND, LAB_VERSION, content)


def rounded(value):
    """Round every number in lists and dicts to four significant digits.

    >>> rounded({"a": [1.23456, "text"]})
    {'a': [1.235, 'text']}
    """
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def load_lab_runs(file: Path = sweeps.SWEEP_FOLDER / "failures.json") -> dict[str, LabRun]:
    """Read the stored runs, by letter. Raises ValueError if the file is damaged."""
    runs = read_json(file, LAB_KIND, LAB_VERSION)
    return {letter: LabRun(**run) for letter, run in runs.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, write."""
    parser = argparse.ArgumentParser("python -m course_lib.experiments.failure_lab")
    parser.add_argument("--out", type=Path, required=True, help="file of the runs")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    save_lab_runs(asked.out, make_lab_runs())


if __name__ == "__main__":
    main()
