"""A memory in a table: the last few tokens, hashed, name the rows that are read (Engram).

How ours differs from the paper (arXiv 2601.07372) and its demonstration code:

1. One stream, so one key and one gate; theirs has a gate for each stream of hyper-connections.
2. No short convolution after the gate. DeepSeek-V4.1 has none either.
3. What stands before a text's first token is an id of its own; theirs is the padding token.
4. Multipliers are drawn by torch and not by numpy, so the same seed names other rows.
5. Key and value have no biases, as nothing in our Llamas has.
"""

import math
import unicodedata
from collections.abc import Sequence
from itertools import count, islice

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.check_numbers import check_whole_numbers
from course_lib.layers.embedding import check_ids
from course_lib.layers.norm import RMSNorm
from course_lib.layers.precision import at_least_float32

LARGEST_ID = 2**63 - 1  # of a hash, which must not overflow
NO_TOKEN = -1


def next_primes(least: int, n: int) -> list[int]:
    """Give the first `n` primes from `least` on: the sizes of as many tables.

    Tables of different prime sizes rarely confuse the same two n-grams.

    >>> next_primes(10, 3)
    [11, 13, 17]
    """
    if n < 0:
        raise ValueError(f"n {n} is below 0")
    return list(islice(filter(is_prime, count(max(math.ceil(least), 2))), n))


def is_prime(n: int) -> bool:
    """Tell whether a number above 1 has no divisor but 1 and itself."""
    return n > 1 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))


def hash_multipliers(n_ids: int, longest: int, seed: int = 0) -> Int[Tensor, "longest"]:
    """Draw an odd multiplier for each place of an n-gram, so small that no product overflows."""
    if min(n_ids, longest) < 1:
        raise ValueError(f"n_ids {n_ids} and longest {longest} must be at least 1")
    largest = LARGEST_ID // n_ids
    if largest < 3:
        raise ValueError(f"n_ids {n_ids} is too large to be hashed in 63 bits")
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, largest // 2, (longest,), generator=rng) * 2 + 1


def hash_ngrams(
    ids: Int[Tensor, "B T"],
    multipliers: Int[Tensor, "longest"],
    sizes: Sequence[Sequence[int]],
    before: int,
) -> Int[Tensor, "B T N"]:
    """Name a row in each table for the n-grams that end at each token, the shortest first.

    `sizes[0]` are the sizes of the tables of 2-grams, `sizes[1]` of those of 3-grams, and so on. An
    n-gram's hash is the XOR of its ids, each times its place's multiplier (the newest token's is
    the first); a table takes it modulo its size. `before` stands where the text has not begun.
    Source: Engram (arXiv 2601.07372), section 2.2, and its demonstration code.

    >>> ids = torch.tensor([[3, 1, 3, 1]])
    >>> hash_ngrams(ids, torch.tensor([5, 7]), [[11, 13]], before=0)[0].tolist()  # 15, 5^21, ...
    [[4, 2], [5, 3], [8, 8], [5, 3]]
    """
    if len(sizes) != len(multipliers) - 1:
        raise ValueError(
            f"{len(multipliers)} multipliers are for 2- to {len(multipliers)}-grams, and there are"
            f" sizes for {len(sizes)} kinds of them"
        )
    if any(min(of_heads, default=0) < 1 for of_heads in sizes):
        raise ValueError(f"sizes {sizes}: each kind needs tables of at least one row")
    T, rows = ids.shape[1], []
    mixed = ids * multipliers[0]
    for back, (multiplier, of_heads) in enumerate(zip(multipliers[1:], sizes, strict=True), 1):
        earlier = F.pad(ids, (back, 0), value=before)[:, :T]
        mixed = mixed ^ (earlier * multiplier)
        rows += [mixed % size for size in of_heads]
    return torch.stack(rows, -1)


def memory_gate(key: Float[Tensor, "*B C"], stream: Float[Tensor, "*B C"]) -> Float[Tensor, "*B"]:
    """Tell how far a memory is let in, from 0 to 1, by how well its key fits the stream.

    Both are normed (RMS 1), so that their product by sqrt(C) is of order 1. The signed root takes
    large products back. Source: the demonstration code of Engram; the paper's equation 4 has no
    root.

    >>> key = torch.ones(2, 4)
    >>> memory_gate(key, torch.stack([key[0], -key[0]]))     # products 2 and -2, roots 1.41, -1.41
    tensor([0.8044, 0.1956])
    """
    if key.shape != stream.shape:
        raise ValueError(
            f"keys of shape {tuple(key.shape)} for a stream of shape {tuple(stream.shape)}"
        )
    score = (at_least_float32(key) * at_least_float32(stream)).sum(-1) / key.shape[-1] ** 0.5
    return (score.sign() * score.abs().clamp_min(1e-6).sqrt()).sigmoid()


def normalised_vocabulary(tokens: Sequence[str]) -> Int[Tensor, "V"]:
    """Number the tokens so that those alike but for case, accents and spaces share a number.

    A number is given for each token, in the order of first appearance. So "The" and " the" are one
    word in the memory's n-grams. Spaces alone stay themselves, and so does what holds a broken
    character. Source: the demonstration code of Engram.

    >>> normalised_vocabulary([" the", "a", "The", "é", "e", " "])
    tensor([0, 1, 0, 2, 2, 3])
    """
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(plain_form(token), len(numbers)) for token in tokens]
    return torch.tensor(found, dtype=torch.long)


def plain_form(token: str) -> str:
    """Strip a token of case, accents and the spaces around it, if anything is left of it then."""
    if "\ufffd" in token:
        return token
    parts = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", token))
    plain = "".join(c for c in parts if unicodedata.category(c) != "Mn").lower()
    return " ".join(plain.split()) or (" " if token.isspace() else token)


class NgramMemory(nn.Module):
    """Read what the tables hold for the n-grams that end at each token, and let it in by a gate.

    For each of the 2- to `longest`-grams there are `n_heads` tables of at least `n_rows` rows of
    `d_row` numbers. All rows of a token, one after the other, make a key and a value; the output,
    which the block adds to its stream, is gate times value. `numbers` maps ids to those that are
    hashed, as `normalised_vocabulary` does. Source: Engram (arXiv 2601.07372), section 2; for what
    is different see the module.
    """

    def __init__(
        self,
        d_model: int,
        vocab_size: int,
        n_rows: int,
        d_row: int,
        n_heads: int = 2,
        longest: int = 3,
        numbers: Int[Tensor, "V"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_whole_numbers(d_model=d_model, vocab_size=vocab_size, longest=longest)
        check_whole_numbers(n_rows=n_rows, d_row=d_row, n_heads=n_heads)
        if longest < 2:
            raise ValueError(f"longest {longest} is below 2")
        numbers = torch.arange(vocab_size) if numbers is None else numbers
        if numbers.shape != (vocab_size,) or numbers.is_floating_point():
            given = f"{tuple(numbers.shape)}, {numbers.dtype}"
            raise ValueError(f"numbers of shape {given}, for vocab_size {vocab_size}")
        if numbers.min() < 0:
            raise ValueError(f"the number {numbers.min()} of a token is below 0")
        self.before = int(numbers.max()) + 1
        primes = iter(next_primes(n_rows, n_heads * (longest - 1)))
        self.sizes = [list(islice(primes, n_heads)) for _ in range(longest - 1)]
        flat = [size for of_heads in self.sizes for size in of_heads]
        self.register_buffer("numbers", numbers)
        self.register_buffer("multipliers", hash_multipliers(self.before + 1, longest, seed))
        self.register_buffer("starts", torch.tensor([0, *flat[:-1]]).cumsum(0))
        self.table = nn.Embedding(sum(flat), d_row)
        self.key = nn.Linear(len(flat) * d_row, d_model, bias=False)
        self.value = nn.Linear(len(flat) * d_row, d_model, bias=False)
        self.norm_key, self.norm_stream = RMSNorm(d_model), RMSNorm(d_model)

    def rows(
        self, ids: Int[Tensor, "B T"], past: Int[Tensor, "B P"] | None = None
    ) -> Int[Tensor, "B T N"]:
        """Name the rows of the one table, in which all tables lie end to end.

        `past` are the tokens before `ids`, of which the last `longest - 1` matter. `NO_TOKEN` is
        where the text has not begun. Raises ValueError for another token outside the vocabulary,
        and for a past of other rows.
        """
        if past is not None and len(past) != len(ids):
            raise ValueError(f"the past of {len(past)} rows for {len(ids)} rows of tokens")
        known = ids if past is None else torch.cat([past, ids], 1)
        begun = known != NO_TOKEN
        check_ids(known[begun], len(self.numbers))
        numbers = torch.where(begun, self.numbers[known.where(begun, 0)], self.before)
        hashed = hash_ngrams(numbers, self.multipliers, self.sizes, self.before)
        return (hashed + self.starts)[:, known.shape[1] - ids.shape[1] :]

    def read(
        self,
        x: Float[Tensor, "B T C"],
        ids: Int[Tensor, "B T"],
        past: Int[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T C"]]:
        """Give each token's gate and value."""
        rows = self.table(self.rows(ids, past)).flatten(-2)
        gate = memory_gate(self.norm_key(self.key(rows)), self.norm_stream(x))
        return gate, self.value(rows)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        ids: Int[Tensor, "B T"],
        past: Int[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        gate, value = self.read(x, ids, past)
        return (gate[..., None] * value).to(x.dtype)
