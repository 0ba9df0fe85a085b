"""DeepSeek sparse attention (V3.2): a cheap indexer tells which tokens are worth attending to.

Letters as in `mla`; `Hi` and `Di` are the indexer's heads and their width, `S` the keys.

How ours differs from the report (DeepSeek-V3.2, arXiv 2512.02556, equations 1 to 4) and the code
that was released with it:

1. No Hadamard rotation of the indexer's queries and keys and no 8-bit numbers: the rotation leaves
   every dot product as it is, and serves the rounding alone.
2. Among equal scores the earliest token is taken. ReLU makes many scores exactly 0, and without a
   rule a cached text could choose other tokens than a whole one.
3. Losses are means over tokens, not sums.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import AttentionCache, visible_keys
from course_lib.layers.mla import MLA, absorbed_attention, naive_attention
from course_lib.layers.norm import LayerNorm
from course_lib.layers.position import RotaryPosition


class LightningIndexer(nn.Module):
    """Score every earlier token for every token, with few and narrow heads that share their keys.

    The score is a weighted sum over heads of ReLU(q.k); the weights come from the token that looks
    back. Queries are made from the main attention's query latent. The first numbers of queries and
    keys are rotated, number i with number i + half, as the release does since November 2025; the
    main attention rotates its last ones, in neighbouring pairs there. Source: arXiv 2512.02556,
    equation 1.
    """

    def __init__(
        self, d_model: int, q_lora_rank: int, n_heads: int, head_dim: int, rotary: RotaryPosition
    ) -> None:
        super().__init__()
        if n_heads < 1:
            raise ValueError(f"index_n_heads {n_heads}: an indexer needs at least 1 head")
        if head_dim < rotary.d_head:
            raise ValueError(
                f"index_head_dim {head_dim} has no room for qk_rope_head_dim {rotary.d_head}"
            )
        self.n_heads, self.rotary = n_heads, rotary
        self.q_up = nn.Linear(q_lora_rank, n_heads * head_dim, bias=False)
        self.key = nn.Linear(d_model, head_dim, bias=False)
        self.key_norm = LayerNorm(head_dim, eps=1e-6)
        self.head_weights = nn.Linear(d_model, n_heads, bias=False)

    def keys(
        self, x: Float[Tensor, "B T C"], start: int | Int[Tensor, "B"] = 0
    ) -> Float[Tensor, "B T Di"]:
        """Make what the cache holds beside the latents: one key per token, for all heads."""
        return self.rotate(self.key_norm(self.key(x))[:, None], start)[:, 0]

    def scores(
        self,
        x: Float[Tensor, "B T C"],
        q_latent: Float[Tensor, "B T Rq"],
        keys: Float[Tensor, "B S Di"],
        start: int | Int[Tensor, "B"] = 0,
    ) -> Float[Tensor, "B T S"]:
        """Score all keys for each token (eq. 1), also those that stand after it."""
        q = self.q_up(q_latent).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        q = self.rotate(q, start)
        matches = (q.flatten(1, 2) @ keys.mT).unflatten(1, (self.n_heads, -1)).relu()
        # the scales are not in eq. 1; the release has them, and softmax in the loss feels them
        weights = self.head_weights(x) * (self.n_heads * keys.shape[-1]) ** -0.5
        return torch.einsum("bth,bhts->bts", weights, matches)

    def rotate(
        self, x: Float[Tensor, "B H T Di"], start: int | Int[Tensor, "B"]
    ) -> Float[Tensor, "B H T Di"]:
        width = self.rotary.d_head
        return torch.cat([self.rotary(x[..., :width], start), x[..., width:]], -1)


def select_top_k(scores: Float[Tensor, "*B S"], k: int) -> Bool[Tensor, "*B S"]:
    """Mark the `k` largest scores of each row, all if there are fewer; of equal ones the earliest.

    >>> select_top_k(torch.tensor([3.0, 1.0, 0.0, 1.0, 2.0]), k=3).int()
    tensor([1, 1, 0, 0, 1], dtype=torch.int32)

    Raises ValueError for a `k` below 1. Where a score is NaN, no `k` are the largest: indexers call
    `check_scores` first.
    """
    if k < 1:
        raise ValueError(f"k {k}: at least 1 of the {scores.shape[-1]} scores must be chosen")
    k = min(k, scores.shape[-1])
    least = scores.topk(k, dim=-1).values[..., -1:]
    above, equal = scores > least, scores == least
    room = k - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room))


def check_scores(scores: Float[Tensor, "*B S"]) -> Float[Tensor, "*B S"]:
    """Give the scores; raise a ValueError if one is NaN, the work of a broken model.

    >>> check_scores(torch.tensor([[1.0, 2.0], [1.0, float("nan")]]))
    Traceback (most recent call last):
    ValueError: 1 of 2 rows of scores hold NaN: the indexer can choose nothing there
    """
    broken = scores.isnan().any(-1)
    if n := int(broken.sum()):
        raise ValueError(
            f"{n} of {broken.numel()} rows of scores hold NaN: the indexer can choose nothing there"
        )
    return scores


class SparseMLA(MLA):
    """Latent attention to the `top_k` tokens that the indexer scores highest.

    Where no more than `top_k` tokens are there, or with `top_k` None, it is `MLA`. The cache holds
    an index key per token as well. It takes three numbers of the indexer, then those of `MLA`. The
    language model's loss does not reach the indexer: which tokens are chosen has no gradient.
    `indexer_loss` teaches it. Source: arXiv 2512.02556, equations 2 to 4.
    """

    def __init__(
        self, index_n_heads: int, index_head_dim: int, index_top_k: int, *mla_settings: Any
    ) -> None:
        super().__init__(*mla_settings)
        if not self.compresses_q:
            raise ValueError(
                "q_lora_rank None: the indexer reads the queries' latent, so there must be one"
            )
        if index_top_k < 1:
            raise ValueError(f"index_top_k {index_top_k}: a token must attend to at least 1")
        d_model, q_lora_rank = self.q_down.in_features, self.q_down.out_features
        self.top_k: int | None = index_top_k
        self.indexer = LightningIndexer(
            d_model, q_lora_rank, index_n_heads, index_head_dim, self.rotary
        )

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Let the tokens look back; `padding` covers the tokens in the cache too."""
        start = 0 if cache is None else cache.length
        q_latent = self.q_latent(x)
        q_content, q_rotary = self.queries_from(q_latent, start)
        latent, k_rotary = self.latents(x, start)
        index_keys = self.indexer.keys(x.detach(), start)
        if cache is not None:
            latent, k_rotary, index_keys = cache.append(latent, k_rotary, index_keys)
        if self.top_k is None or latent.shape[1] <= self.top_k:
            attend = naive_attention if latent.shape[1] == x.shape[1] else absorbed_attention
            mixed = attend(q_content, q_rotary, latent, k_rotary, *self.up(), padding)
        else:
            scores = self.indexer.scores(x.detach(), q_latent.detach(), index_keys, start)
            selected = self.select(scores, padding)
            mixed = self.attend_to(selected, q_content, q_rotary, latent, k_rotary)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def select(
        self, scores: Float[Tensor, "B T S"], padding: Bool[Tensor, "B *T S"] | None
    ) -> Bool[Tensor, "B T S"]:
        """Mark the tokens that each token attends to (eq. 2)."""
        visible = visible_keys(*scores.shape[1:], padding=padding, device=scores.device)
        visible = visible.flatten(0, -3) if padding is not None else visible
        if self.top_k is None:
            return visible.expand(scores.shape)
        hidden = check_scores(scores).masked_fill(~visible, -torch.inf)
        return select_top_k(hidden, self.top_k) & visible

    def attend_to(
        self,
        selected: Bool[Tensor, "B T S"],
        q_content: Float[Tensor, "B H T D"],
        q_rotary: Float[Tensor, "B H T Dr"],
        latent: Float[Tensor, "B S R"],
        k_rotary: Float[Tensor, "B S Dr"],
    ) -> Float[Tensor, "B H T Dv"]:
        """Attend to what is selected. One new token in each row reads its latents alone."""
        if selected.shape[1] == 1 and (selected.sum(-1) == self.top_k).all():
            rows, places = selected[:, 0].nonzero(as_tuple=True)
            latent, k_rotary = (
                table[rows, places].view(len(table), self.top_k, -1) for table in (latent, k_rotary)
            )
            return absorbed_attention(q_content, q_rotary, latent, k_rotary, *self.up())
        up_k, up_v = self.up()
        # as in `absorbed_attention`, by torch's fused kernel, which wants one width for all three
        q = torch.cat([torch.einsum("bhtd,hdr->bhtr", q_content, up_k), q_rotary], -1)
        k = torch.cat([latent, k_rotary], -1)[:, None].expand(-1, self.n_heads, -1, -1)
        v = F.pad(latent, (0, k_rotary.shape[-1]))[:, None].expand_as(k)
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=selected[:, None], scale=sum(self.q_widths) ** -0.5
        )
        return torch.einsum("bhtr,hdr->bhtd", mixed[..., : latent.shape[-1]], up_v)

    def weights_of(
        self,
        selected: Bool[Tensor, "B T S"],
        q_content: Float[Tensor, "B H T D"],
        q_rotary: Float[Tensor, "B H T Dr"],
        latent: Float[Tensor, "B S R"],
        k_rotary: Float[Tensor, "B S Dr"],
    ) -> Float[Tensor, "B H T S"]:
        """Write out each head's weights on the selected tokens, as in `absorbed_attention`."""
        scale = sum(self.q_widths) ** -0.5
        q_latent = torch.einsum("bhtd,hdr->bhtr", q_content * scale, self.up()[0])
        # all heads' queries meet the same keys: one product
        by_place = (q_rotary * scale).flatten(1, 2) @ k_rotary.mT
        scores = torch.baddbmm(by_place, q_latent.flatten(1, 2), latent.mT)
        scores = scores.unflatten(1, (self.n_heads, -1))
        return scores.masked_fill(~selected[:, None], -torch.inf).softmax(-1)

    def indexer_loss(
        self, x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B *T S"] | None = None
    ) -> Float[Tensor, ""]:
        """How far the indexer's choice is from where attention looks, in nats per token.

        KL(p || softmax of the indexer's scores), p the weights of all heads together. With `top_k`
        None over all visible tokens, the warm-up (eq. 3); else over the selected ones (eq. 4). Only
        the indexer gets a gradient.
        """
        with torch.no_grad():
            x, q_latent = x.detach(), self.q_latent(x)
            latent, k_rotary = self.latents(x)
        scores = self.indexer.scores(x, q_latent, self.indexer.keys(x))
        with torch.no_grad():
            selected = self.select(scores, padding)
            queries = self.queries_from(q_latent)
            target = self.weights_of(selected, *queries, latent, k_rotary).mean(1)
        log_index = scores.masked_fill(~selected, -torch.inf).log_softmax(-1)
        difference = target.log().sub(log_index).masked_fill(target == 0, 0.0)
        return (target * difference).sum(-1).mean()
