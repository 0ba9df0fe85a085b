"""From token ids to the rectangles that a model trains on: windows of a stream, packed documents, padded sequences."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

IGNORE = -100       # a target that no loss counts; torch.nn.functional.cross_entropy skips it by default


def stream(documents: Iterable[Sequence[int]], end_token: int) -> Int[Tensor, "N"]:
    """All documents in one row of tokens, an end token after each.

    >>> stream([[5, 6], [7]], end_token=0)
    tensor([5, 6, 0, 7, 0])
    """
    return torch.tensor([token for document in documents for token in (*document, end_token)], dtype=torch.long)


# An array may be a memmap: a file that is read where it is asked.
TokenArray = Int[Tensor, "N"] | Integer[np.ndarray, "N"]


def windows(
    tokens: TokenArray, batch_size: int, length: int, seed: int = 0, start_step: int = 0
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Batches of (inputs, targets) without end: neighbouring windows of the stream, shuffled anew for each epoch.

    `tokens` may be a `numpy.memmap` of any whole numbers, uint16 too: only what a batch holds is read from the file.
    The target of a token is the token after it. In an epoch each window comes once; up to `length` tokens at the end of
    the stream fill no window. A batch may begin in one epoch and end in the next, so that all have the same shape.
    Batch number k depends on (tokens, batch_size, length, seed) alone: a run that stopped goes on with `start_step=k`.

    >>> inputs, targets = next(windows(torch.arange(9), batch_size=2, length=4))
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    tokens = _row(tokens)
    _positive(batch_size=batch_size, length=length)
    n_windows = (len(tokens) - 1) // length
    if n_windows < 1:
        raise ValueError(f"a window of {length} inputs needs {length + 1} tokens; the stream has {len(tokens)}")
    epoch, skip = divmod(start_step * batch_size, n_windows)
    chosen = _order(n_windows, seed, epoch)[skip:]
    while True:
        while len(chosen) < batch_size:
            epoch += 1
            chosen = torch.cat([chosen, _order(n_windows, seed, epoch)])
        starts, chosen = chosen[:batch_size] * length, chosen[batch_size:]
        yield _windows_at(tokens, starts, length)


def random_windows(
    tokens: TokenArray, batch_size: int, length: int, seed: int = 0, start_step: int = 0
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Batches of (inputs, targets) without end as `windows` gives, each window beginning anywhere in the stream.

    The beginnings are drawn with replacement: no epochs, no borders that return, and no token that always stands at the
    same place of its window; but after as many tokens as the stream has, a share of about 1 / e is still unread. Batch
    number k depends on (seed, k) and the sizes alone: a run that stopped goes on with `start_step=k`.

    >>> inputs, targets = next(random_windows(torch.arange(9), batch_size=2, length=4))
    >>> bool((targets == inputs + 1).all()), tuple(inputs.shape)
    (True, (2, 4))
    """
    tokens = _row(tokens)
    _positive(batch_size=batch_size, length=length)
    if len(tokens) <= length:
        raise ValueError(f"a window of {length} inputs needs {length + 1} tokens; the stream has {len(tokens)}")
    for step in count(start_step):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        yield _windows_at(tokens, torch.randint(len(tokens) - length, (batch_size,), generator=generator), length)


def _windows_at(
    tokens: TokenArray, starts: Int[Tensor, "B"], length: int
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    places = starts[:, None] + torch.arange(length + 1)
    if isinstance(tokens, np.ndarray):      # indexing reads these places only, and copies them out of the file
        rows = torch.from_numpy(tokens[places.numpy()].astype(np.int64))
    else:
        rows = tokens[places].long()
    return rows[:, :-1], rows[:, 1:]


def _order(count: int, seed: int, epoch: int) -> Int[Tensor, "N"]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))


class Packed(NamedTuple):
    """Documents packed into rows; one entry per input token."""

    inputs: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]         # IGNORE where there is nothing to predict
    documents: Int[Tensor, "B T"]       # which document the token is from; -1 is padding
    positions: Int[Tensor, "B T"]       # counted from the start of the document, or of its part in this row


def pack(documents: Sequence[Sequence[int]], length: int, end_token: int, separate: bool = False) -> Packed:
    """All documents, each with its end token, one after the other in rows of `length`; the last row is filled up.

    By default documents in a row see each other, as in DeepSeek-V3: a document's first token is the target of the end
    token before it. With `separate` it is not; give `same_document(packed.documents)` to attention as its mask.

    >>> packed = pack([[5, 6], [7]], length=4, end_token=0)
    >>> packed.inputs.tolist(), packed.targets.tolist()
    ([[5, 6, 0, 7]], [[6, 0, 7, 0]])
    >>> packed.documents.tolist(), packed.positions.tolist()
    ([[0, 0, 0, 1]], [[0, 1, 2, 0]])
    """
    _positive(length=length)
    tokens = stream(documents, end_token)
    if len(tokens) < 2:
        raise ValueError(f"{len(documents)} documents hold {len(tokens)} tokens; a token and its target make 2")
    owner = torch.repeat_interleave(
        torch.arange(len(documents)), torch.tensor([len(document) + 1 for document in documents])
    )
    targets = tokens[1:].clone()
    if separate:
        targets[owner[1:] != owner[:-1]] = IGNORE
    fill = -(len(tokens) - 1) % length
    inputs, targets, owner = (
        torch.nn.functional.pad(row, (0, fill), value=value).view(-1, length)
        for row, value in ((tokens[:-1], end_token), (targets, IGNORE), (owner[:-1], -1))
    )
    return Packed(inputs, targets, owner, _positions(owner))


def _positions(documents: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    index = torch.arange(documents.shape[1]).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return index - torch.where(begins, index, 0).cummax(dim=1).values


def same_document(documents: Int[Tensor, "B T"]) -> Bool[Tensor, "B T T"]:
    """Which key tokens (last axis) a query token may see: its own document's, up to itself.

    >>> same_document(torch.tensor([[0, 0, 1]])).int().tolist()
    [[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]
    """
    return (documents[:, :, None] == documents[:, None, :]).tril()


def pad(
    sequences: Sequence[Sequence[int]], pad_token: int, side: str = "right", length: int | None = None
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Sequences of different lengths as one rectangle, and a mask that is true on their own tokens.

    Pad on the right to train; on the left to generate, so that all prompts end in the last column.

    >>> tokens, mask = pad([[5, 6, 7], [8]], pad_token=0, side="left")
    >>> tokens.tolist(), mask.int().tolist()
    ([[5, 6, 7], [0, 0, 8]], [[1, 1, 1], [0, 0, 1]])
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', not {side!r}")
    if not sequences:
        raise ValueError("there are no sequences to pad")
    longest = max(map(len, sequences))
    length = longest if length is None else length
    if longest > length:
        raise ValueError(f"the longest sequence has {longest} tokens, which do not fit into length {length}")
    tokens = torch.full((len(sequences), length), pad_token)
    mask = torch.zeros(len(sequences), length, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        columns = slice(length - len(sequence), length) if side == "left" else slice(0, len(sequence))
        tokens[row, columns] = torch.as_tensor(sequence, dtype=torch.long)
        mask[row, columns] = True
    return tokens, mask


def _row(tokens: TokenArray) -> TokenArray:
    table = isinstance(tokens, Tensor | np.ndarray)
    ids = tokens.dtype.kind in "iu" if isinstance(tokens, np.ndarray) else table and not tokens.is_floating_point()
    if not ids or tokens.ndim != 1:
        found = f"{tokens.dtype} {tuple(tokens.shape)}" if table else type(tokens).__name__
        raise TypeError(f"tokens must be a one-dimensional tensor or array of ids, not {found}")
    return tokens


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {number!r}")
