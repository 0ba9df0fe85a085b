"""Attention that knows how far apart two tokens stand: Transformer-XL's, as XLNet has it.

A score is the sum of three products: of contents, of a query with a distance, and of a query with
"same segment" or "another one". Sources: Dai et al. 2019 (arXiv 1901.02860), section 3.3; Yang et
al. 2019 (arXiv 1906.08237), section 2.5.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import check_head_sizes
from course_lib.layers.position import halves_order, sinusoidal_positions


def relative_sinusoids(T: int, S: int, width: int, device=None) -> Float[Tensor, "P C"]:
    """Give a sinusoid per distance between the last `T` of `S` tokens and all of them.

    From S, the farthest in front of a token, down to 1 - T, the farthest behind; sines first, then
    cosines.

    >>> relative_sinusoids(T=2, S=3, width=2)[:, 0]     # sin of 3, 2, 1, 0, -1
    tensor([ 0.1411,  0.9093,  0.8415,  0.0000, -0.8415])
    """
    distances = torch.arange(S, -T, -1, device=device)
    return sinusoidal_positions(distances, width)[:, halves_order(width)]


def relative_shift(scores: Float[Tensor, "*B T P"], S: int) -> Float[Tensor, "*B T S"]:
    """Turn scores by distance into scores by key: row i, column j holds the distance of i and j.

    The distance of a row to its own key moves one place to the left with each row down. Reading the
    table as if its rows were one number shorter does just that, without an index.

    >>> relative_shift(torch.tensor([[3, 2, 1, 0, -1], [3, 2, 1, 0, -1]]).float(), S=3)
    tensor([[ 1.,  0., -1.],
            [ 2.,  1.,  0.]])

    Here two queries are the last of three tokens: the first is 1 behind token 0. Source: arXiv
    1901.02860, appendix B.
    """
    T, P = scores.shape[-2:]
    flat = scores.flatten(-2)[..., T:]  # drops the first T numbers: one row of a table P x T
    return flat.unflatten(-1, (T, P - 1))[..., :S]


def shift_of_rows(
    scores: Float[Tensor, "B H K P"], places: Int[Tensor, "B K"], T: int, S: int
) -> Float[Tensor, "B H K S"]:
    """Do what `relative_shift` does, for the rows of some of the `T` places alone."""
    columns = T - places[..., None] + torch.arange(S, device=scores.device)
    return scores.gather(-1, columns[:, None].expand(-1, scores.shape[1], -1, -1))


class ContextHeads(NamedTuple):
    """What queries meet: each head's keys and values of the content, and keys of the distances."""

    k: Float[Tensor, "B H S D"]
    v: Float[Tensor, "B H S D"]
    r: Float[Tensor, "H P D"]


class RelativeAttention(nn.Module):
    """Attention by content, distance and segment; queries and context may be different streams.

    The three biases stand for the part of a query that is the same at all places: they say which
    contents, distances and segments are worth hearing by themselves.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        check_head_sizes(d_model, n_heads)
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.q, self.k, self.v, self.r, self.out = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(5)
        )
        self.content_bias, self.distance_bias, self.segment_bias = (
            nn.Parameter(torch.zeros(n_heads, self.d_head)) for _ in range(3)
        )
        self.segment_embedding = nn.Parameter(torch.zeros(2, n_heads, self.d_head))

    def context(
        self, content: Float[Tensor, "B S C"], sinusoids: Float[Tensor, "P C"]
    ) -> ContextHeads:
        """Make the keys and values of the content, memory in front, and the keys of distances."""
        return ContextHeads(
            self.heads(self.k(content)), self.heads(self.v(content)), self.heads(self.r(sinusoids))
        )

    def heads(self, x: Float[Tensor, "*B N C"]) -> Float[Tensor, "*B H N D"]:
        return x.unflatten(-1, (self.n_heads, self.d_head)).transpose(-3, -2)

    def forward(
        self,
        x: Float[Tensor, "B Q C"],
        context: ContextHeads,
        T: int,
        places: Int[Tensor, "B Q"] | None = None,
        other_segment: Bool[Tensor, "B Q S"] | None = None,
        hidden: Bool[Tensor, "B *Q S"] | None = None,
    ) -> Float[Tensor, "B Q C"]:
        """Let queries take from the context what they need.

        The text has `T` tokens, and the context memory in front of them. A query stands at each, or
        at `places`. What is `hidden` is not heard; a query from which all is hidden hears all
        alike, as in the release.
        """
        q, S = self.heads(self.q(x)), context.k.shape[-2]
        by_distance = (q + self.distance_bias[:, None]) @ context.r.mT
        scores = (q + self.content_bias[:, None]) @ context.k.mT + (
            relative_shift(by_distance, S)
            if places is None
            else shift_of_rows(by_distance, places, T, S)
        )
        if other_segment is not None:
            asked = q + self.segment_bias[:, None]
            by_segment = torch.einsum("bhqd,shd->sbhq", asked, self.segment_embedding)
            same, other = by_segment[..., None].unbind()
            scores = scores + torch.where(other_segment[:, None], other, same)
        scores = scores / self.d_head**0.5
        if hidden is not None:
            # a number, not -inf: a row of them stays a row of equal weights
            scores = scores + hidden[:, None] * (torch.finfo(scores.dtype).min / 2)
        return self.out((scores.softmax(-1) @ context.v).transpose(1, 2).flatten(2))
