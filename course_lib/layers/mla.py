"""Multi-head latent attention (DeepSeek-V2): all heads read from one short vector per token.

Letters: `D` and `Dr` are the widths of the two parts of a query or key, content and rotary
(`qk_nope_head_dim`, `qk_rope_head_dim`); `Dv` that of a value (`v_head_dim`); `R` that of the
latent (`kv_lora_rank`).

How ours differs from the paper (DeepSeek-V2, arXiv 2405.04434, equations 37 to 47):

1. Both latents are normed before they go up, and the cache holds the normed one. The equations have
   no norm; section 3.1.2 mentions it, the release has it. The scale factors at the bottlenecks that
   the section also mentions are not here.
2. Number i of a rotary part is turned with number i + Dr/2, the release's with its neighbour: an
   order of the rows of the matrices, so `hf_weights` reorders them.
3. YaRN (section 3.1.4) only if asked for: `rope_scaling`. As in the release, its factor on the
   scores covers the content part too, where the equations have none.
4. Queries need not be compressed (`q_lora_rank` None), as in the paper's own V2-Lite.
5. `q_norm`, off unless asked for, norms each head's whole query: it steadies small models without
   query compression.
6. Matrices that read the same vector lie in one: `kv_down` is W^DKV over W^KR, `q_up` W^UQ and
   W^QR, `kv_up` W^UK and W^UV, head by head.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import (
    AttentionCache,
    attention_in_blocks,
    causal_attention,
    visible_keys,
)
from course_lib.layers.norm import RMSNorm
from course_lib.layers.position import RotaryPosition, RotaryScaling

MOST_IN_BLOCKS = 1024  # keys: the tables of weights grow with their square


def naive_attention(
    q_content: Float[Tensor, "B H T D"],
    q_rotary: Float[Tensor, "B H T Dr"],
    latent: Float[Tensor, "B S R"],
    k_rotary: Float[Tensor, "B S Dr"],
    up_k: Float[Tensor, "H D R"],
    up_v: Float[Tensor, "H Dv R"],
    padding: Bool[Tensor, "B *T S"] | None = None,
) -> Float[Tensor, "B H T Dv"]:
    """Make every head's keys and values from the latents and attend as usual: for training.

    A key is two parts side by side: what a token says, which each head reads from the latent in its
    own way, and where it stands, which all heads share. Source: DeepSeek-V2 (arXiv 2405.04434),
    equations 40 to 46.
    """
    up = torch.cat([up_k, up_v], 1)
    # eq. 42 and 45 in one
    kv = torch.einsum("bsr,hdr->bhsd", latent, up)
    k_content, v = kv.split([up_k.shape[1], up_v.shape[1]], dim=-1)
    q = torch.cat([q_content, q_rotary], -1)  # eq. 40
    # eq. 44: the one rotary key stands beside every head's content
    k = torch.cat([k_content, k_rotary[:, None].expand(-1, q.shape[1], -1, -1)], -1)
    if padding is None and faster_in_blocks(k):
        return attention_in_blocks(q, k, v)  # eq. 46
    # torch's fused kernel wants one width for all three
    v = F.pad(v, (0, q.shape[-1] - v.shape[-1]))
    return causal_attention(q, k, v, padding=padding)[..., : up_v.shape[1]]  # eq. 46


def faster_in_blocks(k: Float[Tensor, "B H S D"]) -> bool:
    """Tell whether these keys are on a CPU, in no half precision, and not too many."""
    return k.device.type == "cpu" and k.element_size() >= 4 and k.shape[2] <= MOST_IN_BLOCKS


def absorbed_attention(
    q_content: Float[Tensor, "B H T D"],
    q_rotary: Float[Tensor, "B H T Dr"],
    latent: Float[Tensor, "B S R"],
    k_rotary: Float[Tensor, "B S Dr"],
    up_k: Float[Tensor, "H D R"],
    up_v: Float[Tensor, "H Dv R"],
    padding: Bool[Tensor, "B S"] | None = None,
) -> Float[Tensor, "B H T Dv"]:
    """Give what `naive_attention` gives without making any key or value: for decoding from latents.

    A score q . (up_k c) is (up_k^T q) . c: one query comes down to the latent's width, instead of
    all the keys coming up. And the average of the values up_v c is up_v times the average of the c.
    A rotation of keys between q and up_k would differ from place to place and forbid this, which is
    why places travel in a part of their own. Source: DeepSeek-V2 (arXiv 2405.04434), sections 2.1.2
    and 2.1.3 and appendix C.
    """
    (T, D), (B, S, Dr) = q_content.shape[2:], k_rotary.shape
    if padding is not None and padding.shape != (B, S):
        raise ValueError(f"padding of shape {tuple(padding.shape)} for {B} rows of {S} keys")
    # eq. 46 divides the scores; queries, sooner, lest a score be too large for float16
    scale = (D + Dr) ** -0.5
    q_latent = torch.einsum("bhtd,hdr->bhtr", q_content * scale, up_k)
    # all heads' queries meet the same keys: one product
    by_place = (q_rotary * scale).flatten(1, 2) @ k_rotary.mT
    scores = torch.baddbmm(by_place, q_latent.flatten(1, 2), latent.mT).unflatten(1, (-1, T))
    if T > 1 or padding is not None:
        scores = scores.masked_fill(
            ~visible_keys(T, S, padding=padding, device=scores.device), -torch.inf
        )
    mixed = (scores.softmax(-1).flatten(1, 2) @ latent).unflatten(1, (-1, T))
    return torch.einsum("bhtr,hdr->bhtd", mixed, up_v)


class MLA(nn.Module):
    """Causal attention that caches `kv_lora_rank + qk_rope_head_dim` numbers per token.

    However many heads there are. Keys and values pass through a bottleneck, the latent. So do
    queries if `q_lora_rank` is given, which saves memory in training but none in the cache. Both
    latents are normed, and the cache holds what is normed; `q_norm` norms each head's whole query
    by one learned weight. Source: DeepSeek-V2 (arXiv 2405.04434), equations 37 to 47; how it
    differs stands at the head of this file.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        kv_lora_rank: int,
        qk_nope_head_dim: int,
        qk_rope_head_dim: int,
        v_head_dim: int,
        q_lora_rank: int | None = None,
        rope_base: float = 10_000.0,
        q_norm: bool = False,
        rope_scaling: RotaryScaling | None = None,
    ) -> None:
        super().__init__()
        check_mla_widths(
            n_heads, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim, q_lora_rank
        )
        self.n_heads, self.compresses_q = n_heads, q_lora_rank is not None
        self.q_widths = [qk_nope_head_dim, qk_rope_head_dim]
        self.kv_widths = [kv_lora_rank, qk_rope_head_dim]
        self.up_widths = [qk_nope_head_dim, v_head_dim]
        if self.compresses_q:
            self.q_down = nn.Linear(d_model, q_lora_rank, bias=False)
            self.q_latent_norm = RMSNorm(q_lora_rank)
        self.q_up = nn.Linear(q_lora_rank or d_model, n_heads * sum(self.q_widths), bias=False)
        self.q_norm = RMSNorm(sum(self.q_widths)) if q_norm else nn.Identity()
        self.kv_down = nn.Linear(d_model, sum(self.kv_widths), bias=False)
        self.kv_latent_norm = RMSNorm(kv_lora_rank)
        self.kv_up = nn.Linear(kv_lora_rank, n_heads * sum(self.up_widths), bias=False)
        self.rotary = RotaryPosition(qk_rope_head_dim, rope_base, rope_scaling)
        self.score_scale = rope_scaling.score_scale if rope_scaling else 1.0
        self.out = nn.Linear(n_heads * v_head_dim, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Let the tokens look back; `padding` covers the tokens in the cache too."""
        q_content, q_rotary = self.queries(x, start=0 if cache is None else cache.length)
        latent, k_rotary = self.latents(x, start=0 if cache is None else cache.length)
        if cache is not None:
            latent, k_rotary = cache.append(latent, k_rotary)
        attend = naive_attention if latent.shape[1] == x.shape[1] else absorbed_attention
        mixed = attend(q_content, q_rotary, latent, k_rotary, *self.up(), padding)
        return self.out(mixed.transpose(1, 2).flatten(2))  # eq. 47

    def queries(
        self, x: Float[Tensor, "B T C"], start: int | Int[Tensor, "B"] = 0
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T Dr"]]:
        """Make each head's queries, in two parts, places marked in the second (eq. 37 to 40)."""
        return self.queries_from(self.q_latent(x), start)

    def q_latent(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T Rq"]:
        """Make what the queries are made from (eq. 37), normed; without compression `x` itself."""
        return self.q_latent_norm(self.q_down(x)) if self.compresses_q else x

    def queries_from(
        self, q_latent: Float[Tensor, "B T Rq"], start: int | Int[Tensor, "B"] = 0
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T Dr"]]:
        """Make the queries from their latent (eq. 38 to 40)."""
        q = self.q_up(q_latent)  # eq. 38 and 39 in one
        q = self.q_norm(q.unflatten(-1, (self.n_heads, -1))).transpose(1, 2)
        # a factor on the scores, which queries carry to both forms of attention
        q = q * self.score_scale if self.score_scale != 1 else q
        content, rotary = q.split(self.q_widths, dim=-1)
        return content, self.rotary(rotary, start)

    def latents(
        self, x: Float[Tensor, "B T C"], start: int | Int[Tensor, "B"] = 0
    ) -> tuple[Float[Tensor, "B T R"], Float[Tensor, "B T Dr"]]:
        """Make what the cache holds: normed latents, and rotated keys (equations 41 and 43)."""
        # eq. 41, and 43 before its rotation
        latent, k_rotary = self.kv_down(x).split(self.kv_widths, dim=-1)
        return self.kv_latent_norm(latent), self.rotary(k_rotary[:, None], start)[:, 0]

    def up(self) -> tuple[Float[Tensor, "H D R"], Float[Tensor, "H Dv R"]]:
        """Give the matrices that make each head's keys and values from a latent (W^UK and W^UV)."""
        return self.kv_up.weight.unflatten(0, (self.n_heads, -1)).split(self.up_widths, dim=1)


def check_mla_widths(
    n_heads: int, kv_lora_rank: int, qk_nope_head_dim: int, qk_rope_head_dim: int, v_head_dim: int,
    q_lora_rank: int | None,
) -> None:  # fmt: skip
    """Raise a ValueError that names the numbers if no attention has these widths."""
    sizes = {
        "n_heads": n_heads,
        "kv_lora_rank": kv_lora_rank,
        "qk_nope_head_dim": qk_nope_head_dim,
        "v_head_dim": v_head_dim,
        "q_lora_rank": 1 if q_lora_rank is None else q_lora_rank,
    }
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} {size} is below 1")
    if qk_rope_head_dim < 2 or qk_rope_head_dim % 2:
        raise ValueError(f"qk_rope_head_dim {qk_rope_head_dim} cannot be cut into pairs of numbers")
    if v_head_dim > qk_nope_head_dim + qk_rope_head_dim:
        query = f"qk_nope_head_dim {qk_nope_head_dim} + qk_rope_head_dim {qk_rope_head_dim}"
        raise ValueError(f"v_head_dim {v_head_dim} is wider than a query, {query}")
    # a latent is to compress what is made from it
    widest = {
        "kv_lora_rank": (kv_lora_rank, "keys and values", qk_nope_head_dim + v_head_dim),
        "q_lora_rank": (q_lora_rank or 1, "queries", qk_nope_head_dim + qk_rope_head_dim),
    }
    for name, (rank, made, width) in widest.items():
        if rank > n_heads * width:
            made = f"the {made} of n_heads {n_heads} x {width} numbers"
            raise ValueError(f"{name} {rank} is wider than {made}")
