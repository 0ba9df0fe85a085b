"""The keys and values of the tokens read so far, kept so that they are computed once."""

from jaxtyping import Float
from torch import Tensor


class KVCache:
    """Keys and values of one attention layer, with room for `max_seq_len` tokens.

    >>> import torch
    >>> cache = KVCache(max_seq_len=4)
    >>> k, v = cache.append(torch.ones(1, 2, 3, 5), torch.ones(1, 2, 3, 5))     # the prompt: three tokens
    >>> k, v = cache.append(torch.zeros(1, 2, 1, 5), torch.zeros(1, 2, 1, 5))   # one more
    >>> cache.length, k.shape, cache.n_bytes
    (4, torch.Size([1, 2, 4, 5]), 320)
    """

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len = max_seq_len
        self.length = 0
        self.keys = self.values = None

    def append(
        self, k: Float[Tensor, "B G T D"], v: Float[Tensor, "B G T D"]
    ) -> tuple[Float[Tensor, "B G S D"], Float[Tensor, "B G S D"]]:
        """Store the keys and values of the next `T` tokens; return those of all `S` tokens so far (as views)."""
        start, end = self.length, self.length + k.shape[-2]
        if end > self.max_seq_len:
            raise ValueError(f"the cache has room for {self.max_seq_len} tokens, not for {end}")
        if self.keys is None:
            room = (*k.shape[:-2], self.max_seq_len, k.shape[-1])
            self.keys, self.values = k.new_empty(room), v.new_empty(room)
        if k.shape[:2] != self.keys.shape[:2]:
            raise ValueError(f"the cache holds {tuple(self.keys.shape[:2])} rows and heads, not {tuple(k.shape[:2])}")
        self.keys[..., start:end, :], self.values[..., start:end, :] = k, v
        self.length = end
        return self.keys[..., :end, :], self.values[..., :end, :]

    @property
    def n_bytes(self) -> int:
        """Count the bytes of memory that the room takes, filled or not."""
        return 0 if self.keys is None else self.keys.nbytes + self.values.nbytes
