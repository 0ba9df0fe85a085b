"""From token ids to rectangles to train on: windows of a stream, packed documents, padded rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count, islice
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

# a target that no loss counts; torch.nn.functional.cross_entropy skips it by default
IGNORE_INDEX = -100


def token_stream(documents: Iterable[Sequence[int]], end_token: int) -> Int[Tensor, "N"]:
    """All documents in one row of tokens, an end token after each.

    >>> token_stream([[5, 6], [7]], end_token=0)
    tensor([5, 6, 0, 7, 0])
    """
    return torch.tensor(
        [token for document in documents for token in (*document, end_token)], dtype=torch.long
    )


# An array may be a memmap: a file that is read where it is asked.
TokenArray = Int[Tensor, "N"] | Integer[np.ndarray, "N"]


def shuffled_windows(
    tokens: TokenArray, batch_size: int, length: int, seed: int = 0, start_step: int = 0
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Batches of (inputs, targets) without end: windows of the stream, shuffled for each epoch.

    The windows are neighbours. `tokens` may be a `numpy.memmap` of any whole numbers, uint16 too:
    only what a batch holds is read from the file. The target of a token is the token after it. In
    an epoch each window comes once; up to `length` tokens at the end of the stream fill no window.
    A batch may begin in one epoch and end in the next, so that all have the same shape. Batch
    number k depends on (tokens, batch_size, length, seed) alone: a run that stopped goes on with
    `start_step=k`.

    >>> inputs, targets = next(shuffled_windows(torch.arange(9), batch_size=2, length=4))
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    tokens = _row(tokens)
    _positive(batch_size=batch_size, length=length)
    n_windows = (len(tokens) - 1) // length
    if n_windows < 1:
        raise ValueError(
            f"a window of {length} inputs needs {length + 1} tokens; the stream has {len(tokens)}"
        )
    for chosen in _choices(n_windows, batch_size, seed, start_step):
        yield _windows_at(tokens, chosen * length, length)


def random_windows(
    tokens: TokenArray, batch_size: int, length: int, seed: int = 0, start_step: int = 0
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Batches as of `shuffled_windows`, each window beginning anywhere in the stream.

    The beginnings are drawn with replacement: no epochs, no borders that return, and no token that
    always stands at the same place of its window; but after as many tokens as the stream has, a
    share of about 1 / e is still unread. Batch number k depends on (seed, k) and the sizes alone: a
    run that stopped goes on with `start_step=k`.

    >>> inputs, targets = next(random_windows(torch.arange(9), batch_size=2, length=4))
    >>> bool((targets == inputs + 1).all()), tuple(inputs.shape)
    (True, (2, 4))
    """
    tokens = _row(tokens)
    _positive(batch_size=batch_size, length=length)
    if len(tokens) <= length:
        raise ValueError(
            f"a window of {length} inputs needs {length + 1} tokens; the stream has {len(tokens)}"
        )
    for step in count(start_step):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        yield _windows_at(
            tokens, torch.randint(len(tokens) - length, (batch_size,), generator=generator), length
        )


def _windows_at(
    tokens: TokenArray, starts: Int[Tensor, "B"], length: int
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    places = starts[:, None] + torch.arange(length + 1)
    if isinstance(tokens, np.ndarray):
        # indexing reads these places only, and copies them out of the file
        rows = torch.from_numpy(tokens[places.numpy()].astype(np.int64))
    else:
        rows = tokens[places].long()
    return rows[:, :-1], rows[:, 1:]


def pack_whole_documents(
    documents: Iterable[Sequence[int]], length: int, end_token: int, n_open: int = 64, seed: int = 0
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Put whole documents, each with its end token, into rows of `length`.

    No answer is cut off from its question. Each goes into the fullest of `n_open` rows that has
    room for it; one that is longer than a row is cut. A row begins with an end token, as a prompt
    does, and what stays free at its end is IGNORE to the loss. Within a row the order is drawn
    anew: what opens a row is what no other had room for, so long documents would stand first, and a
    model that reads a prompt alone would expect a long one. Returns inputs and targets. Documents
    in a row see each other. Source: Ding et al. 2024, best-fit packing (arXiv 2404.10830), which
    DeepSeek-V3 takes (arXiv 2412.19437, section 4.1). Differs: documents come in their order, not
    the longest first.

    >>> inputs, targets = pack_whole_documents([[5, 6], [7, 8, 9], [4]], length=5, end_token=0)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 7, 8, 9, 0], [0, 4, 0, 5, 6]], [[7, 8, 9, 0, -100], [4, 0, 5, 6, 0]])
    """
    _positive(length=length, n_open=n_open)
    pieces = (
        piece for document in documents for piece in cut_into_pieces([*document, end_token], length)
    )
    rows, rng = best_fit_rows(pieces, length, n_open), Random(seed)
    if not rows:
        raise ValueError("there are no documents to pack")
    orders = [sorted(row, key=lambda _: rng.random()) for row in rows]
    tokens = [[end_token, *chain.from_iterable(row)] for row in orders]
    inputs, _ = pad_rows([row[:-1] for row in tokens], end_token, length=length)
    targets, _ = pad_rows([row[1:] for row in tokens], IGNORE_INDEX, length=length)
    return inputs, targets


def cut_into_pieces(tokens: Sequence[int], length: int) -> Iterator[Sequence[int]]:
    """Give the tokens in pieces of `length`, the last one as long as it may be."""
    return (tokens[start : start + length] for start in range(0, len(tokens), length))


def best_fit_rows(
    pieces: Iterable[Sequence[int]], length: int, n_open: int
) -> list[list[Sequence[int]]]:
    """Say which pieces share a row of `length`: each goes into the fullest row with room for it.

    `n_open` rows are open at a time.

    >>> best_fit_rows(["aaaa", "b", "cc", "ddd"], length=6, n_open=2)
    [['aaaa', 'b'], ['cc', 'ddd']]
    """
    closed: list[list[Sequence[int]]] = []
    # of the open rows: what is free, and what is in
    room: list[tuple[int, list[Sequence[int]]]] = []
    for piece in pieces:
        fitting = [i for i, (free, _) in enumerate(room) if free >= len(piece)]
        if not fitting and len(room) == n_open:  # the fullest has the least to lose
            closed.append(room.pop(min(range(n_open), key=lambda i: room[i][0]))[1])
        free, row = room.pop(min(fitting, key=lambda i: room[i][0])) if fitting else (length, [])
        row.append(piece)
        room.append((free - len(piece), row))
    return closed + [row for _, row in room]


def shuffled_rows(
    inputs: Int[Tensor, "N T"],
    targets: Int[Tensor, "N T"],
    batch_size: int,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Batches of rows without end, in a new order for each epoch.

    The rule for resuming is that of `shuffled_windows`.
    """
    _positive(batch_size=batch_size, rows=len(inputs))
    for chosen in _choices(len(inputs), batch_size, seed, start_step):
        yield inputs[chosen], targets[chosen]


def _choices(
    n_rows: int, batch_size: int, seed: int, start_step: int
) -> Iterator[Int[Tensor, "B"]]:
    epoch, skip = divmod(start_step * batch_size, n_rows)
    chosen = _order(n_rows, seed, epoch)[skip:]
    while True:
        while len(chosen) < batch_size:
            epoch += 1
            chosen = torch.cat([chosen, _order(n_rows, seed, epoch)])
        yield chosen[:batch_size]
        chosen = chosen[batch_size:]


def phases_in_turn(
    phases: Sequence[Callable[[int], Iterator]], steps: Sequence[int], start_step: int = 0
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """A curriculum: batches of one phase after the other, so many `steps` of each but the last.

    The last goes on without end. A phase is a function of the number of batches to skip, as
    `shuffled_windows` is by `start_step`.

    >>> phases = [lambda skip: iter("abc"[skip:]), lambda skip: iter("xyz"[skip:])]
    >>> list(phases_in_turn(phases, steps=[2], start_step=1))
    ['b', 'x', 'y', 'z']
    """
    if len(steps) != len(phases) - 1:
        raise ValueError(
            f"{len(phases)} phases and {len(steps)} numbers of steps: there is one for each but the"
            " last"
        )
    for phase, n_steps in zip(phases, steps, strict=False):
        if start_step < n_steps:
            yield from islice(phase(start_step), n_steps - start_step)
        start_step = max(0, start_step - n_steps)
    yield from phases[-1](start_step)


def _order(count: int, seed: int, epoch: int) -> Int[Tensor, "N"]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))


class PackedBatch(NamedTuple):
    """Documents packed into rows; one entry per input token."""

    inputs: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]  # IGNORE where there is nothing to predict
    documents: Int[Tensor, "B T"]  # which document the token is from; -1 is padding
    # counted from the start of the document, or of its part in this row
    positions: Int[Tensor, "B T"]


def pack_documents(
    documents: Sequence[Sequence[int]], length: int, end_token: int, separate: bool = False
) -> PackedBatch:
    """All documents, each with its end token, one after the other in rows of `length`.

    The last row is filled up. By default documents in a row see each other, as in DeepSeek-V3: a
    document's first token is the target of the end token before it. With `separate` it is not; give
    `same_document(packed.documents)` to attention as its mask.

    >>> packed = pack_documents([[5, 6], [7]], length=4, end_token=0)
    >>> packed.inputs.tolist(), packed.targets.tolist()
    ([[5, 6, 0, 7]], [[6, 0, 7, 0]])
    >>> packed.documents.tolist(), packed.positions.tolist()
    ([[0, 0, 0, 1]], [[0, 1, 2, 0]])
    """
    _positive(length=length)
    tokens = token_stream(documents, end_token)
    if len(tokens) < 2:
        raise ValueError(
            f"{len(documents)} documents hold {len(tokens)} tokens; a token and its target make 2"
        )
    owner = torch.repeat_interleave(
        torch.arange(len(documents)), torch.tensor([len(document) + 1 for document in documents])
    )
    targets = tokens[1:].clone()
    if separate:
        targets[owner[1:] != owner[:-1]] = IGNORE_INDEX
    fill = -(len(tokens) - 1) % length
    inputs, targets, owner = (
        torch.nn.functional.pad(row, (0, fill), value=value).view(-1, length)
        for row, value in ((tokens[:-1], end_token), (targets, IGNORE_INDEX), (owner[:-1], -1))
    )
    return PackedBatch(inputs, targets, owner, _positions(owner))


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


def pad_rows(
    sequences: Sequence[Sequence[int]],
    pad_token: int,
    side: str = "right",
    length: int | None = None,
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Sequences of different lengths as one rectangle, and a mask that is true on their own tokens.

    Pad on the right to train; on the left to generate, so that all prompts end in the last column.

    >>> tokens, mask = pad_rows([[5, 6, 7], [8]], pad_token=0, side="left")
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
        raise ValueError(
            f"the longest sequence has {longest} tokens, which do not fit into length {length}"
        )
    tokens = torch.full((len(sequences), length), pad_token)
    mask = torch.zeros(len(sequences), length, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        columns = (
            slice(length - len(sequence), length) if side == "left" else slice(0, len(sequence))
        )
        tokens[row, columns] = torch.as_tensor(sequence, dtype=torch.long)
        mask[row, columns] = True
    return tokens, mask


def _row(tokens: TokenArray) -> TokenArray:
    table = isinstance(tokens, Tensor | np.ndarray)
    ids = (
        tokens.dtype.kind in "iu"
        if isinstance(tokens, np.ndarray)
        else table and not tokens.is_floating_point()
    )
    if not ids or tokens.ndim != 1:
        found = f"{tokens.dtype} {tuple(tokens.shape)}" if table else type(tokens).__name__
        raise TypeError(f"tokens must be a one-dimensional tensor or array of ids, not {found}")
    return tokens


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {number!r}")
