"""Which tokens an encoder must guess, and what it sees in their stead: BERT's corruption.

Rows are tables (N, T) of ids; `maskable` is True where a token may be hidden, so not at special
tokens and padding.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.text.batches import IGNORE_INDEX, shuffled_rows


class MaskedRows(NamedTuple):
    """What an encoder reads, and what it should have read; IGNORE where nothing is asked."""

    inputs: Int[Tensor, "N T"]
    targets: Int[Tensor, "N T"]


def masking_budget(maskable: Bool[Tensor, "N T"], share: float) -> Int[Tensor, "N"]:
    """Count the tokens to hide in each row: a share of those that may be, one at least.

    >>> masking_budget(torch.ones(1, 40).bool(), 0.15)
    tensor([6])
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} is not above 0 and at most 1")
    n = maskable.sum(-1)
    return torch.minimum((share * n).round().long().clamp(min=1), n)


def choose_tokens(
    maskable: Bool[Tensor, "N T"], share: float, generator: torch.Generator
) -> Bool[Tensor, "N T"]:
    """Choose single tokens, each as likely as the others. BERT's share is 0.15."""
    scores = torch.rand(maskable.shape, generator=generator).masked_fill(~maskable, 2.0)
    rank = scores.argsort(-1).argsort(-1)
    return rank < masking_budget(maskable, share)[:, None]


def word_numbers(starts: Bool[Tensor, "N T"], maskable: Bool[Tensor, "N T"]) -> Int[Tensor, "N T"]:
    """Number each row's words, by where they start; -1 where no token may be hidden.

    >>> word_numbers(torch.tensor([[1, 1, 0, 1]]).bool(), torch.tensor([[0, 1, 1, 1]]).bool())
    tensor([[-1,  1,  1,  2]])
    """
    return (starts.cumsum(-1) - 1).masked_fill(~maskable, -1)


def choose_words(
    words: Int[Tensor, "N T"], share: float, generator: torch.Generator
) -> Bool[Tensor, "N T"]:
    """Choose whole words, until as many tokens are hidden as `choose_tokens` would hide.

    A word that no longer fits is left out. Source: google-research/bert, whole word masking.
    """
    return choose_spans(words, share, generator, longest=1)


def choose_spans(
    words: Int[Tensor, "N T"], share: float, generator: torch.Generator, longest: int = 3
) -> Bool[Tensor, "N T"]:
    """Choose runs of up to `longest` words; a run of n words is drawn in proportion to 1 / n.

    Runs do not overlap, and one that no longer fits is made shorter. Source: ALBERT (arXiv
    1909.11942), section 4.1, equation 1.
    """
    if longest < 1:
        raise ValueError(f"longest {longest} is below 1 word")
    budgets = masking_budget(words >= 0, share).tolist()
    rows = [
        _spans_of_row(row, budget, generator, longest)
        for row, budget in zip(words, budgets, strict=True)
    ]
    return torch.stack(rows)


def _spans_of_row(
    words: Int[Tensor, "T"], budget: int, generator: torch.Generator, longest: int
) -> Bool[Tensor, "T"]:
    chosen = torch.zeros(len(words), dtype=torch.bool)
    present = words[words >= 0].unique()
    lengths = 1 + torch.multinomial(
        1 / torch.arange(1.0, longest + 1), max(1, len(present)), replacement=True,
        generator=generator,
    )  # fmt: skip
    order = torch.randperm(len(present), generator=generator)
    for first, n_words in zip(present[order].tolist(), lengths.tolist(), strict=False):
        for n in range(n_words, 0, -1):
            span = (words >= first) & (words < first + n)
            if not (span & chosen).any() and int((chosen | span).sum()) <= budget:
                chosen |= span
                break
    return chosen


def corrupt_tokens(
    ids: Int[Tensor, "N T"],
    chosen: Bool[Tensor, "N T"],
    mask_token: int,
    replacements: Int[Tensor, "W"],
    generator: torch.Generator,
    mask_share: float = 0.8,
    keep_share: float = 0.1,
) -> MaskedRows:
    """Hide the chosen tokens: 80 % behind `mask_token`, 10 % stay, the rest become others.

    The others are drawn from `replacements`, which should hold no special token. Source: BERT
    (arXiv 1810.04805), section 3.1, task 1.
    """
    if not (0 <= mask_share and 0 <= keep_share and mask_share + keep_share <= 1):
        raise ValueError(f"mask_share {mask_share} and keep_share {keep_share} are no shares of 1")
    draw = torch.rand(ids.shape, generator=generator)
    other = replacements[torch.randint(len(replacements), ids.shape, generator=generator)]
    changed = torch.where(draw < mask_share, mask_token, other)
    kept = (draw >= mask_share) & (draw < mask_share + keep_share)
    return MaskedRows(
        torch.where(chosen & ~kept, changed, ids), ids.masked_fill(~chosen, IGNORE_INDEX)
    )


def masked_batches(
    corrupt: Callable[[torch.Generator], MaskedRows],
    n_rows: int,
    batch_size: int,
    copies: int | None = None,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Batches of hidden rows without end, shuffled for each epoch.

    `corrupt(generator)` hides tokens in all rows. With `copies` the masks are static: there are so
    many versions of each row, read in turn (BERT has 10). None means dynamic masks: new ones in
    each epoch (RoBERTa). The rule for resuming is that of `shuffled_windows`.
    """
    if copies is not None and copies < 1:
        raise ValueError(f"copies {copies} is below 1")

    @lru_cache(maxsize=copies or 2)
    def version(number: int) -> MaskedRows:
        return corrupt(torch.Generator().manual_seed(1_000_003 * seed + number))

    columns = torch.arange(n_rows)[:, None]
    for step, (rows, _) in enumerate(
        shuffled_rows(columns, columns, batch_size, seed, start_step), start_step
    ):
        epochs = (step * batch_size + torch.arange(batch_size)) // n_rows
        numbers = epochs if copies is None else epochs % copies
        picked = [
            (version(number).inputs[row], version(number).targets[row])
            for number, row in zip(numbers.tolist(), rows[:, 0].tolist(), strict=True)
        ]
        yield torch.stack([x for x, _ in picked]), torch.stack([y for _, y in picked])
