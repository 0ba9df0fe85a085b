"""What a layer has computed for the tokens read so far, kept so that it is computed once."""

from jaxtyping import Bool, Float, Int
from torch import Tensor


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

    def append(self, *new: Float[Tensor, "B *_ T _"]) -> tuple[Float[Tensor, "B *_ S _"], ...]:
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

    @property
    def n_bytes(self) -> int:
        """Count the bytes of memory that the room takes, filled or not."""
        return sum(room.nbytes for room in self.stored)
