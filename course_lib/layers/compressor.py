"""Compressors (DeepSeek-V4): many tokens become one entry, which is a key and a value at once.

Letters: `D` is an entry's width, `N` the number of blocks, `M` the tokens of a block (the rate).

Where the report and the released code say different things, this is the code: a block is visible
as soon as its last token is read, and that token reads it too (the report's equation 12 counts
tokens from 1). Source: DeepSeek-V4 (arXiv 2606.19348), section 2.3.
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.check_numbers import check_positive_numbers, check_whole_numbers
from course_lib.layers.norm import RMSNorm
from course_lib.layers.position import (
    RotaryScaling,
    check_longest,
    rotary_angles,
    rotary_frequencies,
)
from course_lib.layers.precision import at_least_float32


class PartialRotary(nn.Module):
    """Rotate the last `width` numbers of a vector, neighbours in pairs; the others stay.

    `positions` says where each vector stands. A negative one turns back: `rotary(rotary(x, p), -p)`
    is `x`. Of `scaling` only the frequencies are used; V4's YaRN stretches no vector.
    """

    def __init__(self, width: int, base: float, scaling: RotaryScaling | None = None) -> None:
        super().__init__()
        check_positive_numbers(base=base)
        # refuses a width that will not do
        scaling.frequencies(width, base) if scaling else rotary_frequencies(width, base)
        self.width, self.base, self.scaling = width, base, scaling

    def forward(
        self, x: Float[Tensor, "B *H T D"], positions: Int[Tensor, "T"]
    ) -> Float[Tensor, "B *H T D"]:
        T, D = x.shape[-2:]
        if len(positions) != T or D < self.width:
            raise ValueError(
                f"{len(positions)} positions for {T} vectors of {D} numbers, {self.width} rotated"
            )
        if self.scaling and len(positions):
            check_longest(int(positions.abs().max()) + 1, self.scaling)
        frequencies = rotary_frequencies(self.width, self.base)
        if self.scaling:
            frequencies = self.scaling.frequencies(self.width, self.base)
        angles = rotary_angles(positions, frequencies.to(x.device))
        pairs = at_least_float32(x[..., -self.width :]).unflatten(-1, (-1, 2)).contiguous()
        turned = torch.view_as_complex(pairs) * torch.polar(torch.ones_like(angles), angles)
        out = x.clone()  # its memory lies as that of `x`
        out[..., -self.width :] = torch.view_as_real(turned).flatten(-2)
        return out


@dataclass
class BlockState:
    """What a compressor has made, and what it needs to go on: rows hold a content and a gate."""

    entries: Float[Tensor, "B N D"]  # of the finished blocks
    waiting: Float[Tensor, "B T 2 W"]  # rows of the block that is not finished
    carried: Float[Tensor, "B M 2 D"]  # what the last finished block gives to the next; or nothing

    def keep(self, rows: Int[Tensor, "K"] | Bool[Tensor, "B"]) -> "BlockState":
        """Give the state of these rows of the batch alone; a row named twice is doubled."""
        return replace(self, **{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    @property
    def n_bytes(self) -> int:
        """Count the bytes of the finished entries, of the waiting rows, and of what is carried."""
        return sum(getattr(self, part.name).nbytes for part in fields(self))


def pool_rows(
    content: Float[Tensor, "*B M D"], gate: Float[Tensor, "*B M D"]
) -> Float[Tensor, "*B D"]:
    """Average the rows of each block, every channel by weights of its own: softmax of its gates.

    >>> import torch
    >>> gate = torch.tensor([[0.0, 9.0], [0.0, -9.0]])      # channel 1 wants the first row alone
    >>> pool_rows(torch.tensor([[1.0, 1.0], [3.0, 3.0]]), gate).round()
    tensor([2., 1.])

    Reckoned in float32 at least. Raises ValueError for a block of no row, and for other shapes of
    contents than of gates. Source: arXiv 2606.19348, equations 11 and 22.
    """
    if content.shape != gate.shape or not content.shape[-2]:
        raise ValueError(
            f"content of shape {tuple(content.shape)} and gates of shape {tuple(gate.shape)}: each"
            " row needs its own, and a block a row"
        )
    weights = at_least_float32(gate).softmax(-2)
    return (weights * at_least_float32(content)).sum(-2).to(content.dtype)


class Compressor(nn.Module):
    """Make one entry of every `rate` tokens, the block, once its last token is read.

    Each token brings a row, a content and a gate; a learned bias tells the block's positions apart.
    The entry is normed and rotated as if it stood at the block's first token. With `overlap` a
    token brings a second row that counts in the next block's entry, so that an entry is made of
    twice `rate` tokens: the first half of `kv` and `gate` is the next block's, the second half the
    own one's. Source: arXiv 2606.19348, equations 9 to 12 (overlap) and 20 to 23.
    """

    def __init__(
        self,
        d_model: int,
        width: int,
        rate: int,
        rotary: PartialRotary,
        overlap: bool = False,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        check_whole_numbers(d_model=d_model, rate=rate)
        if width < rotary.width:
            raise ValueError(f"entries of {width} numbers have no room for {rotary.width} rotated")
        self.width, self.rate, self.overlap, self.rotary = width, rate, overlap, rotary
        streams = 2 if overlap else 1
        self.kv = nn.Linear(d_model, streams * width, bias=False)
        self.gate = nn.Linear(d_model, streams * width, bias=False)
        self.position_bias = nn.Parameter(torch.zeros(rate, streams * width))
        self.norm = RMSNorm(width, norm_eps)

    def forward(self, x: Float[Tensor, "B T C"], state: BlockState | None = None) -> BlockState:
        """Read the next tokens: the state with the blocks that they finish."""
        new = torch.stack([self.kv(x), self.gate(x)], 2)
        state = self.start(new) if state is None else state
        rows = torch.cat([state.waiting, new], 1)
        n, first = rows.shape[1] // self.rate, state.entries.shape[1]
        if n == 0:
            return replace(state, waiting=rows)
        finished, waiting = rows.split([n * self.rate, rows.shape[1] - n * self.rate], 1)
        content, gate = finished.unflatten(1, (n, self.rate)).unbind(3)
        blocks, carried = torch.stack([content, gate + self.position_bias], 3), state.carried
        if self.overlap:
            to_next, own = blocks.split(self.width, -1)
            before = torch.cat([carried[:, None], to_next[:, :-1]], 1)
            blocks, carried = torch.cat([before, own], 2), to_next[:, -1]
        entries = self.norm(pool_rows(*blocks.unbind(3)))
        positions = self.rate * torch.arange(first, first + n, device=x.device)
        entries = torch.cat([state.entries, self.rotary(entries, positions)], 1)
        return BlockState(entries, waiting, carried)

    def start(self, like: Float[Tensor, "B T 2 W"]) -> BlockState:
        """Give the state before any token: the first block's predecessor has no weight."""
        B, M = len(like), self.rate if self.overlap else 0
        carried = like.new_zeros(B, M, 2, self.width)
        carried[:, :, 1] = -torch.inf
        return BlockState(like.new_zeros(B, 0, self.width), like[:, :0], carried)


def visible_blocks(positions: Int[Tensor, "T"], n_blocks: int, rate: int) -> Bool[Tensor, "T N"]:
    """Tell which blocks each token may read: those whose last token is not after it.

    >>> visible_blocks(torch.arange(5), n_blocks=2, rate=2).int()
    tensor([[0, 0],
            [1, 0],
            [1, 0],
            [1, 1],
            [1, 1]], dtype=torch.int32)
    """
    check_whole_numbers(rate=rate)
    last = rate * (torch.arange(n_blocks, device=positions.device) + 1) - 1
    return last <= positions[:, None]


class BlockIndexer(nn.Module):
    """Score blocks as V3.2's `LightningIndexer` scores tokens: ReLU(q.k), weighted over heads.

    Its keys are entries of a narrow compressor of its own, with overlap. Queries are made from the
    main attention's query latent; the last numbers of both are rotated, where V3.2's indexer
    rotates the first. Source: arXiv 2606.19348, equations 13 to 16.
    """

    def __init__(
        self,
        d_model: int,
        q_lora_rank: int,
        n_heads: int,
        head_dim: int,
        rate: int,
        rotary: PartialRotary,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        check_whole_numbers(q_lora_rank=q_lora_rank, n_heads=n_heads)
        self.n_heads, self.rotary = n_heads, rotary
        self.compressor = Compressor(d_model, head_dim, rate, rotary, True, norm_eps)
        self.q_up = nn.Linear(q_lora_rank, n_heads * head_dim, bias=False)
        self.head_weights = nn.Linear(d_model, n_heads, bias=False)

    def scores(
        self,
        x: Float[Tensor, "B T C"],
        q_latent: Float[Tensor, "B T Rq"],
        keys: Float[Tensor, "B N Di"],
        positions: Int[Tensor, "T"],
    ) -> Float[Tensor, "B T N"]:
        """Score all blocks for each token (eq. 16), also those that are not finished for it.

        Raises ValueError if the four are not of the same rows and tokens.
        """
        B, T = x.shape[:2]
        if q_latent.shape[:2] != (B, T) or len(keys) != B or len(positions) != T:
            raise ValueError(
                f"{B} rows of {T} tokens, with latents of shape {tuple(q_latent.shape)}, keys of"
                f" {len(keys)} rows and {len(positions)} positions"
            )
        q = self.q_up(q_latent).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        q = self.rotary(q, positions).transpose(1, 2)  # heads inside tokens, as they were made
        matches = (q.flatten(1, 2) @ keys.mT).relu_().unflatten(1, (-1, self.n_heads))
        # not in the equation; the release has these scales, and softmax in the loss feels them
        weights = self.head_weights(x) * (self.n_heads * keys.shape[-1]) ** -0.5
        return (weights[..., None, :] @ matches)[..., 0, :]
