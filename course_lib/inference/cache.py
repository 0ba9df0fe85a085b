"""What a layer has computed for the tokens read so far, kept so that it is computed once."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor, nn


class KVCache:
    """Keys and values of one attention layer, with room for `max_seq_len` tokens.

    Or what else the layer keeps for each token.

    >>> import torch
    >>> cache = KVCache(max_seq_len=4)
    >>> k, v = cache.append(torch.ones(1, 2, 3, 5), torch.ones(1, 2, 3, 5))     # a prompt of three
    >>> k, v = cache.append(torch.zeros(1, 2, 1, 5), torch.zeros(1, 2, 1, 5))   # one more
    >>> cache.length, k.shape, cache.n_bytes
    (4, torch.Size([1, 2, 4, 5]), 320)
    """

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len = max_seq_len
        self.length = 0
        self.stored: list[Tensor] = []

    def append(self, *new: Shaped[Tensor, "B *_ T _"]) -> tuple[Shaped[Tensor, "B *_ S _"], ...]:
        """Store what the next `T` tokens bring to each tensor; return all `S` so far (as views)."""
        end = self.length + new[0].shape[-2]
        if end > self.max_seq_len:
            raise ValueError(f"the cache has room for {self.max_seq_len} tokens, not for {end}")
        if not self.stored:
            self.stored = [
                part.new_empty(*part.shape[:-2], self.max_seq_len, part.shape[-1]) for part in new
            ]
        for room, part in zip(self.stored, new, strict=True):
            if room.shape[:-2] != part.shape[:-2]:
                held, given = tuple(room.shape[:-2]), tuple(part.shape[:-2])
                raise ValueError(f"the cache holds {held} rows and heads, not {given}")
            room[..., self.length : end, :] = part
        self.length = end
        return tuple(room[..., :end, :] for room in self.stored)

    def keep(self, rows: Int[Tensor, "K"] | Bool[Tensor, "B"]) -> None:
        """Go on with these rows of the batch alone, in this order; a row named twice is doubled."""
        for i, room in enumerate(self.stored):
            kept = room[rows, ..., : self.length, :]
            self.stored[i] = room.new_empty(len(kept), *room.shape[1:])
            self.stored[i][..., : self.length, :] = kept

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(
                f"the cache holds {self.length} tokens: it cannot be rewound to {length}"
            )
        self.length = length

    def remember(self) -> None:
        """Do nothing: `fall_back` reaches any length. Other caches keep their state here."""

    def fall_back(self, length: int) -> int:
        """Forget all but the first `length` tokens, or more of them where a cache cannot be cut.

        Gives the number of tokens that are left, here `length`.
        """
        self.rewind(length)
        return length

    @property
    def n_bytes(self) -> int:
        """Count the bytes of memory that the room takes, filled or not."""
        return sum(room.nbytes for room in self.stored)

    def copy(self, length: int) -> "KVCache":
        """Make a cache of its own that holds the first `length` tokens: a prefix to go on from."""
        twin = KVCache(self.max_seq_len)
        if not 0 <= length <= self.length:
            raise ValueError(f"the cache holds {self.length} tokens: {length} cannot be copied")
        if length:
            twin.append(*(room[..., :length, :] for room in self.stored))
        return twin


class PrefixCache:
    """One layer's cache of what several texts begin with: read once for all of them.

    Unlike `KVCache` it lets gradients through, so a model can learn from texts that share prompts.
    The first `append` stores the beginnings, `keep` deals them out; what later ones bring is not
    stored, only handed back behind them.

    >>> import torch
    >>> cache = PrefixCache()
    >>> k, v = cache.append(torch.ones(1, 2, 3, 5), torch.ones(1, 2, 3, 5))     # a prompt of three
    >>> cache.keep(torch.tensor([0, 0]))                                        # of two texts
    >>> k, v = cache.append(torch.ones(2, 2, 4, 5), torch.ones(2, 2, 4, 5))     # their answers
    >>> cache.length, k.shape
    (3, torch.Size([2, 2, 7, 5]))
    """

    def __init__(self) -> None:
        self.length = 0
        self.stored: tuple[Tensor, ...] = ()

    def append(self, *new: Shaped[Tensor, "B *_ T _"]) -> tuple[Shaped[Tensor, "B *_ S _"], ...]:
        """Store the beginnings, or give what is new behind them."""
        if self.stored:
            return tuple(torch.cat(both, -2) for both in zip(self.stored, new, strict=True))
        self.stored, self.length = new, new[0].shape[-2]
        return new

    def keep(self, rows: Int[Tensor, "K"]) -> None:
        """Give each text its beginning, one of those that are stored."""
        self.stored = tuple(part[rows] for part in self.stored)


class RowCache:
    """One layer's cache of rows that come and go, each with a length of its own.

    The last tokens of all rows share a column; what is missing is padding on the left. So one
    decoding step appends one column for all. A row of `length` 3 is at position 3 next, whatever
    its column is.
    """

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len = max_seq_len
        self.length = torch.zeros(0, dtype=torch.long)
        self.columns = KVCache(max_seq_len)

    def append(self, *new: Shaped[Tensor, "B *_ T _"]) -> tuple[Shaped[Tensor, "B *_ S _"], ...]:
        """Store what the next `T` tokens of each row bring; return all columns so far."""
        stored = self.columns.append(*new)
        self.length = self.length + new[0].shape[-2]
        return stored

    def regroup(self, kept: Int[Tensor, "K"], joining: Sequence[KVCache]) -> None:
        """Go on with the `kept` rows, in this order, and behind them one row from each cache.

        Columns that are padding in all rows are dropped.
        """
        old, ends = self.columns, [cache.length for cache in joining]
        length = torch.cat([self.length[kept], self.length.new_tensor(ends)])
        self.columns = KVCache(self.max_seq_len)
        sources = [([part[row] for part in old.stored], old.length) for row in kept.tolist()]
        sources += [([part[0] for part in cache.stored], cache.length) for cache in joining]
        if sources:
            S, tables = int(length.max()), []
            for part in range(len(sources[0][0])):
                # padding is hidden from the softmax, but 0 times NaN would be NaN
                like = sources[0][0][part]
                table = like.new_zeros(len(sources), *like.shape[:-2], S, like.shape[-1])
                for row, ((parts, end), n) in enumerate(zip(sources, length.tolist(), strict=True)):
                    table[row, ..., S - n :, :] = parts[part][..., end - n : end, :]
                tables.append(table)
            self.columns.append(*tables)
        self.length = length

    @property
    def padding(self) -> Bool[Tensor, "B S"]:
        """Tell which of the columns hold no token of a row."""
        places = torch.arange(self.columns.length, device=self.length.device)
        return places < (self.columns.length - self.length)[:, None]

    @property
    def n_bytes(self) -> int:
        """Count the bytes of memory that the room takes, filled or not."""
        return self.columns.n_bytes


def make_caches(model: nn.Module, room: int) -> list:
    """Make one cache per layer, with room for so many tokens: of the model's own kind, if any.

    A model may ask for more of them (`n_caches`).
    """
    kind = getattr(model, "new_cache", KVCache)
    return [kind(room) for _ in range(count_caches(model))]


def make_prefix_caches(model: nn.Module) -> list:
    """Make the caches for texts that share beginnings and are learned from, see `PrefixCache`."""
    kind = getattr(model, "new_prefix_cache", PrefixCache)
    return [kind() for _ in range(count_caches(model))]


def make_row_caches(model: nn.Module) -> list:
    """Make the caches for rows that come and go, see `RowCache`, with room for a full context."""
    kind = getattr(model, "new_row_cache", RowCache)
    return [kind(model.settings.max_seq_len) for _ in range(count_caches(model))]


def count_caches(model: nn.Module) -> int:
    """Count the caches that a model reads with: one per block, if it says nothing else."""
    return model.n_caches if hasattr(model, "n_caches") else len(model.blocks)
