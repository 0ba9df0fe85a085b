"""Writers that can be told what to write: GPT-2, CTRL, and one model that is both.

They read the same short pages of the small web, whole and from the start. CTRL reads the page's
control code (its kind, mood and author) where GPT-2 reads [CLS]; the third model reads the code
before half of the pages. What they learn is measured in `control_runs`.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.experiments import family
from course_lib.experiments import family_texts as texts
from course_lib.models.gpt2 import GPT2
from course_lib.text.batches import IGNORE_INDEX, pad_rows, shuffled_rows
from course_lib.training.checkpoint import load_checkpoint, save_checkpoint
from course_lib.training.settings import TrainHistory, TrainSettings
from course_lib.training.trainer import TokenBatch, train_to_the_end

CONTROL_FOLDER = texts.FAMILY_FOLDER / "control_codes"
CONTROL_LENGTH = 96  # tokens of a row; longer pages are left out
CONTROL_BATCH, CONTROL_STEPS = 24, 600
CONTROL_WRITERS = ("CTRL", "GPT-2", "both")
CONTROL_SEEDS = (0, 1, 2)
CODE_PARTS = {  # what a code says, and what it may say about it
    "kind": texts.FAMILY_SOURCES,
    "mood": texts.FAMILY_MOODS,
    "author": texts.FAMILY_AUTHORS,
}


# What they read
# --------------------------------------------------------------------------------------------------


class ControlPages(NamedTuple):
    """Whole pages as rows `[CLS] page [SEP]`, and the number of each page's control code."""

    ids: Int[Tensor, "N T"]
    codes: Int[Tensor, "N"]


@cache
def control_pages(held_out: bool = False) -> ControlPages:
    """Give all training pages that fit into a row, or the held-out ones."""
    pages = texts.held_out_family_pages() if held_out else texts.family_pages()
    encoded = [(page, texts.encode_family(page.text)) for page in pages]
    short = [(page, ids) for page, ids in encoded if len(ids) <= CONTROL_LENGTH - 2]
    codes = [family.code_of(page) - texts.FAMILY_VOCABULARY for page, _ in short]
    return ControlPages(page_rows(ids for _, ids in short), torch.tensor(codes))


def page_rows(pages: Iterable[Sequence[int]]) -> Int[Tensor, "N T"]:
    """Write pages as `[CLS] page [SEP]`."""
    rows = [[texts.CLS_TOKEN, *page, texts.SEP_TOKEN] for page in pages]
    return pad_rows(rows, texts.PAD_TOKEN, length=CONTROL_LENGTH)[0]


def coded_rows(ids: Int[Tensor, "N T"], codes: Int[Tensor, "N"]) -> Int[Tensor, "N T"]:
    """Put control codes, given by their numbers, in the place of [CLS]."""
    return family.with_codes(ids, codes + texts.FAMILY_VOCABULARY)


def code_number(kind: str, mood: str, author: str) -> int:
    """Number a control code.

    >>> code_number("tale", "bad", "ada")
    4
    """
    return family.control_codes().index((kind, mood, author))


@cache
def code_labels() -> dict[str, Int[Tensor, "K"]]:
    """Say of every code what its parts are, as numbers: `code_labels()["mood"][4]` is 1, bad."""
    codes = family.control_codes()
    return {
        part: torch.tensor([values.index(code[column]) for code in codes])
        for column, (part, values) in enumerate(CODE_PARTS.items())
    }


def writer_batches(writer: str, seed: int) -> Iterator[TokenBatch]:
    """Batches of pages for one kind of writer, each as wide as its longest page."""
    ids, codes = control_pages()
    bare, coded = ids, coded_rows(ids, codes)
    shares = {"GPT-2": 0.0, "CTRL": 1.0, "both": 0.5}
    if writer not in shares:
        raise ValueError(f"no writer {writer!r}; there are {CONTROL_WRITERS}")
    generator = torch.Generator().manual_seed(seed + 1_000_000)
    for without, with_code in shuffled_rows(bare, coded, CONTROL_BATCH, seed):
        told = torch.rand(len(without), 1, generator=generator) < shares[writer]
        rows = torch.where(told, with_code, without)
        rows = rows[:, : int((rows != texts.PAD_TOKEN).sum(1).max())]
        targets = rows[:, 1:].masked_fill(rows[:, 1:] == texts.PAD_TOKEN, IGNORE_INDEX)
        yield rows[:, :-1], targets


# The writers
# --------------------------------------------------------------------------------------------------


def new_writer(writer: str, seed: int) -> GPT2:
    """Build a writer with the first weights of a seed; all but GPT-2 know the control codes."""
    build = family.new_gpt2 if writer == "GPT-2" else family.new_ctrl
    return build(seed, max_seq_len=CONTROL_LENGTH)


def train_writer(
    writer: str, seed: int, steps: int = CONTROL_STEPS, **told
) -> tuple[GPT2, TrainHistory]:
    """Train one writer by the course's recipe; `told` goes to `train`, as `on_step` may."""
    model = new_writer(writer, seed)
    batches = writer_batches(writer, seed)
    return model, train_to_the_end(model, batches, TrainSettings(steps), **told)


def writer_file(writer: str, seed: int, folder: Path = CONTROL_FOLDER) -> Path:
    """Name the file of a trained writer."""
    return folder / f"{writer.lower().replace('-', '')}-{seed}.json"


def keep_writer(writer: str, seed: int, folder: Path, steps: int = CONTROL_STEPS) -> GPT2:
    """Give a trained writer; train it, and keep it in half precision, if the folder has none."""
    file = writer_file(writer, seed, folder)
    if not file.exists():
        model, _ = train_writer(writer, seed, steps)
        save_checkpoint(file, model.half(), {"writer": writer, "seed": seed, "steps": steps})
    return load_writer(writer, seed, folder)


def load_writer(writer: str, seed: int = 0, folder: Path = CONTROL_FOLDER) -> GPT2:
    """Load a trained writer. Raises CheckpointError if there is none."""
    file = writer_file(writer, seed, folder)
    model, _ = load_checkpoint(file, lambda _: new_writer(writer, seed))
    return model.eval()
