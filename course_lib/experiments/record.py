"""The record: a minute of one thread, one held-out text, and whoever knows it best.

A recipe says which model learns, how, and from which batches. `run_recipe` trains it for so many
seconds of the processor and scores it on the small web's held-out text, which only the runner
reads. `record_table` keeps the entries and judges them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.experiments import ladder
from course_lib.inference.evaluate import evaluate_bits_per_byte
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import small_web
from course_lib.text.batches import shuffled_windows
from course_lib.training.objectives import Objective, next_token_objective
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import TokenBatch, train, with_first_drawn

RECORD_SECONDS, RECORD_SEEDS = 60.0, (0, 1, 2, 3, 4)
RECORD_CORPUS = "small web"
VALIDATION_SEED = 2_000_000  # of the text to tune on: neither trained on nor held out
NO_STEP_LIMIT = 1_000_000  # the clock ends the run
OVERTIME = 0.02, 0.2  # a run may end late by this share of its seconds, and by so many more
WINDOW_LENGTH = 16  # tokens in a row by which the held-out text is recognised
# what a recipe has no business with: it gets its tokens, and by these it would get others
HELD_OUT_NAMES = frozenset(
    ("held_out", "HELD_OUT_SEED", "HELD_OUT_BYTES", "ladder_corpus", "LADDER_CORPORA")
    + ("small_web_corpus", "small_web", "draw_clean_documents", "evaluate_bits_per_byte")
    + ("validation_documents", "record_scorer", "held_out_codes")
)

# from the training tokens, a seed, and a function that tells how much of the time is over (0 to 1)
RecordBatches = Callable[[Int[Tensor, "N"], int, Callable[[], float]], Iterable[TokenBatch]]


class EntryRefused(ValueError):
    """An entry broke a rule of the record: time, threads, or it saw what it is to predict."""


@dataclass(frozen=True, init=False)
class WindowBatches:
    """Batches of windows whose size may change while the run goes on.

    `phases` are (share of the time, rows, tokens per row): from that moment on batches have this
    size. A phase goes on in a new order of the windows.

    >>> batches = WindowBatches((0.0, 2, 4), (0.5, 1, 8))
    >>> clock = iter([0.0, 0.4, 0.6])
    >>> made = batches(torch.arange(100), 0, lambda: next(clock))
    >>> [tuple(next(made)[0].shape) for _ in range(3)]
    [(2, 4), (2, 4), (1, 8)]
    """

    phases: tuple[tuple[float, int, int], ...]

    def __init__(self, *phases: tuple[float, int, int]) -> None:
        if not phases or phases[0][0] != 0 or list(phases) != sorted(phases):
            raise ValueError(f"phases {phases} must begin at 0.0 and follow each other")
        object.__setattr__(self, "phases", phases)

    def __call__(
        self, tokens: Int[Tensor, "N"], seed: int, progress: Callable[[], float]
    ) -> Iterator[TokenBatch]:
        made = [
            shuffled_windows(tokens, rows, length, seed=seed + 1000 * phase)
            for phase, (_, rows, length) in enumerate(self.phases)
        ]
        while True:
            now = progress()
            yield next(made[sum(now >= start for start, *_ in self.phases) - 1])


@dataclass(frozen=True)
class RecordRecipe:
    """What an entry does with its minute.

    `build(vocab_size)` makes the model, whose `settings.max_seq_len` says how much it reads at once
    when it is scored. Of the settings, `seconds` and `clock` are the runner's. `batches(tokens,
    seed, progress)` gives (inputs, targets) without end.
    """

    name: str
    build: Callable[[int], nn.Module]
    settings: TrainSettings = TrainSettings(NO_STEP_LIMIT)
    batches: RecordBatches = WindowBatches((0.0, 16, 64))
    objective: Objective = next_token_objective
    about: str = ""


@dataclass(frozen=True)
class RecordRun:
    """One training run of a recipe: its seed, what came out, and what it took."""

    seed: int
    bits_per_byte: float
    seconds: float  # of the processor, building and batches included
    steps: int
    tokens: int
    parameters: int


@dataclass(frozen=True)
class RecordEntry:
    """A recipe's runs, one per seed, within the same `budget` of seconds on the same processor."""

    name: str
    budget: float
    processor: str
    runs: tuple[RecordRun, ...]
    about: str = ""
    bits: list[float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", [run.bits_per_byte for run in self.runs])


# One run
# --------------------------------------------------------------------------------------------------


def run_entry(
    recipe: RecordRecipe,
    seed: int,
    seconds: float = RECORD_SECONDS,
    documents: Sequence[str] | None = None,
) -> RecordRun:
    """Train a recipe for so many processor seconds and score it on the held-out text.

    The clock counts what all threads of this process compute, so that a second thread buys nothing;
    building the model and making batches count, scoring does not. With `documents` they are scored
    instead, as `validation_documents()` for tuning. Raises EntryRefused for an entry that reads
    what it may not, looks ahead, uses more threads than one or takes longer.
    """
    refuse_forbidden_names(recipe)
    refuse_threads(recipe)
    corpus, _ = ladder.ladder_corpus(RECORD_CORPUS), warm_up()
    tokens = corpus.tokens  # encoded at first use, which no entry's clock should pay
    seen: list[Int[Tensor, "B T"]] = []
    torch.manual_seed(seed)
    start = time.process_time()

    def progress() -> float:
        return min(1.0, (time.process_time() - start) / seconds)

    def batches() -> Iterator[TokenBatch]:
        for inputs, targets in recipe.batches(tokens.clone(), seed, progress):
            seen.append(inputs)
            yield inputs, targets

    model = recipe.build(corpus.tokenizer.n_vocab)
    coming = with_first_drawn(batches())
    left = max(0.01, seconds - (time.process_time() - start))
    settings = replace(recipe.settings, seconds=left, clock="processor")
    history = train(model, coming, settings, recipe.objective)
    spent = time.process_time() - start
    if history.ended == "interrupted":
        raise KeyboardInterrupt(f"{recipe.name}, seed {seed}, was stopped: it is no entry")
    refuse_threads(recipe)
    refuse_overtime(recipe.name, spent, seconds)
    refuse_held_out_windows(recipe.name, seen)
    refuse_look_ahead(recipe.name, model.eval(), corpus.tokenizer.n_vocab)
    return RecordRun(
        seed=seed,
        bits_per_byte=evaluate_bits_per_byte(
            corpus.scorer(model), corpus.held_out if documents is None else documents
        ),
        seconds=spent,
        steps=len(history.loss),
        tokens=history.tokens[-1],
        parameters=count_parameters(model),
    )


@cache
def warm_up() -> None:
    """Take one step of a tiny model: torch loads seconds' worth of itself at the first."""
    model = Llama(LlamaSettings(8, 8, d_model=8, n_layers=1, n_heads=2))
    train(model, shuffled_windows(torch.arange(90) % 8, 2, 8), TrainSettings(1))


def run_recipe(
    recipe: RecordRecipe,
    seconds: float = RECORD_SECONDS,
    seeds: Iterable[int] = RECORD_SEEDS,
    show: Callable[[str], Any] = print,
) -> RecordEntry:
    """Run a recipe once for each seed; `show` is told of each run."""
    runs = []
    for seed in seeds:
        runs.append(run_entry(recipe, seed, seconds))
        show(
            f"{recipe.name}, seed {seed}: {runs[-1].bits_per_byte:.4f} bits per byte after"
            f" {runs[-1].seconds:.1f} s, {runs[-1].steps} steps"
        )
    return RecordEntry(recipe.name, float(seconds), processor_name(), tuple(runs), recipe.about)


def processor_name() -> str:
    """Name the processor that this runs on, as its maker does where that can be found out."""
    import platform

    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or 'unknown'}, {platform.machine()}"


def validation_documents(n_bytes: int = ladder.HELD_OUT_BYTES) -> tuple[str, ...]:
    """Draw text to tune a recipe on: in neither the training text nor the held-out one."""
    corpus = ladder.ladder_corpus(RECORD_CORPUS)
    known = {*corpus.documents, *corpus.held_out}
    drawn = small_web.draw_clean_documents(2 * n_bytes / 1e6, VALIDATION_SEED, mixture="base")
    return ladder.take_bytes(n_bytes, [each.text for each in drawn if each.text not in known])


# The rules
# --------------------------------------------------------------------------------------------------


def refuse_threads(recipe: RecordRecipe) -> None:
    """Raise EntryRefused if torch would compute with more threads than one."""
    if torch.get_num_threads() != 1:
        raise EntryRefused(
            f"{recipe.name}: torch computes with {torch.get_num_threads()} threads, and the record"
            " is one thread's. Call torch.set_num_threads(1) first, and leave it so"
        )


def refuse_overtime(name: str, spent: float, seconds: float) -> None:
    """Raise EntryRefused if a run took longer than its last step explains."""
    share, more = OVERTIME
    if spent > seconds * (1 + share) + more:
        raise EntryRefused(f"{name}: {spent:.1f} processor seconds were spent of {seconds:g}")


@torch.no_grad()
def refuse_look_ahead(name: str, model: nn.Module, vocab_size: int) -> None:
    """Raise EntryRefused if the model sees the tokens that it is to predict.

    The later half of a text is changed; what is said of the first half must stay.
    """
    length = model.settings.max_seq_len
    ids = torch.randint(vocab_size, (1, length), generator=torch.Generator().manual_seed(0))
    other, half = ids.clone(), length // 2
    other[:, half:] = (ids[:, half:] + 1) % vocab_size
    moved = (model(ids) - model(other))[:, :half].abs().max().item()
    if moved > 1e-3:
        raise EntryRefused(
            f"{name} looks ahead: logits of the first {half} tokens move by {moved:.3g} when later"
            " tokens change"
        )


def refuse_forbidden_names(recipe: RecordRecipe) -> None:
    """Raise EntryRefused if the recipe's own code names what leads to the held-out text.

    That is an honest entry's safeguard, not a wall. Looked at is the code of the recipe's functions
    and classes and of those of the same origin that they call, none of the course's or torch's;
    what is reached by a name put together at run time, or read from a file, stays unseen.
    """
    parts = [recipe.build, recipe.batches, recipe.objective]
    parts += [recipe.settings.optimizer, recipe.settings.schedule]
    names = set().union(*(names_in_code(part, set()) for part in parts))
    if found := sorted(names & HELD_OUT_NAMES):
        raise EntryRefused(
            f"{recipe.name} names {', '.join(found)}: a recipe learns from the tokens it is given,"
            " and the held-out text is the runner's"
        )


def names_in_code(part: Any, known: set[int]) -> set[str]:
    """Collect the names that a function or class uses, and those of what they stand for."""
    if id(part) in known or isinstance(part, ModuleType | str | int | float | type(None)):
        return set()
    known.add(id(part))
    home = getattr(part, "__module__", None) or ""
    if home.partition(".")[0] in ("course_lib", "torch", "builtins"):
        return set()
    if isinstance(part, FunctionType):
        names = names_of(part.__code__)
        inside = [part.__globals__.get(name) for name in names]
        inside += [cell.cell_contents for cell in part.__closure__ or () if cell_is_full(cell)]
        inside += [*(part.__defaults__ or ()), *(part.__kwdefaults__ or {}).values()]
    elif isinstance(part, type):
        names, inside = set(), list(vars(part).values())
    else:  # a partial, or an object that can be called
        names = set()
        inside = [type(part), *getattr(part, "args", ()), *getattr(part, "keywords", {}).values()]
        inside += [getattr(part, "func", None), *getattr(part, "__dict__", {}).values()]
    return names.union(*(names_in_code(each, known) for each in inside))


def names_of(code: CodeType) -> set[str]:
    """Collect the names and texts in a piece of compiled code and in the functions within it."""
    names = {*code.co_names, *(each for each in code.co_consts if isinstance(each, str))}
    return names.union(*(names_of(each) for each in code.co_consts if isinstance(each, CodeType)))


def cell_is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a variable that is not yet set
        return False


def refuse_held_out_windows(name: str, batches: Sequence[Int[Tensor, "B T"]]) -> None:
    """Raise EntryRefused if a batch holds a stretch of the held-out text.

    Looked for are 16 tokens in a row that stand in the held-out text and nowhere in the training
    text; shorter rows are not looked at.
    """
    forbidden = held_out_codes()
    for shape in {rows.shape for rows in batches if rows.shape[1] >= WINDOW_LENGTH}:
        rows = torch.cat([each for each in batches if each.shape == shape])
        found = int(torch.isin(window_codes(rows), forbidden).sum())
        if found:
            raise EntryRefused(
                f"{name}: {found} stretches of {WINDOW_LENGTH} tokens that it learnt from are the"
                " held-out text's"
            )


def held_out_codes() -> Int[Tensor, "N"]:
    """Give the codes of all stretches of the held-out text that the training text lacks."""
    corpus = ladder.ladder_corpus(RECORD_CORPUS)
    held_out = [
        window_codes(torch.tensor([corpus.tokenizer.encode(document, allowed_special="all")]))
        for document in corpus.held_out
    ]
    codes = torch.cat(held_out)
    return codes[~torch.isin(codes, window_codes(corpus.tokens[None]))]


def window_codes(ids: Int[Tensor, "B T"]) -> Int[Tensor, "N"]:
    """Give one number for each stretch of 16 tokens; equal stretches have equal numbers."""
    if ids.shape[1] < WINDOW_LENGTH:
        return torch.empty(0, dtype=torch.long)
    codes = torch.zeros(len(ids), ids.shape[1] - WINDOW_LENGTH + 1, dtype=torch.long)
    for place in range(WINDOW_LENGTH):
        codes = codes * 6_364_136_223_846_793_005 + ids[:, place : place + codes.shape[1]] + 1
    return codes.flatten()
