"""DeepSeek-V4: streams for the residual stream, compressed attention, experts by table at first.

How ours differs from the report (arXiv 2606.19348) and the code that was released with it:

1. Everything is computed in the model's own precision: no FP8, no FP4.
2. The hash table of the first layers is drawn at random; the release's is in its files, and how it
   was made has not been told.
3. The module that predicts one token further has a block of sliding attention, as the released
   configuration says by a last rate of 0. Transformers' class has no such module.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import AttentionCache, check_length
from course_lib.layers.compressed_attention import CSA, HCA
from course_lib.layers.embedding import Embedding, check_ids
from course_lib.layers.hyper_connections import (
    ManifoldHyperConnection,
    StreamCollapse,
    expand_streams,
    read_streams,
)
from course_lib.layers.moe import (
    HashRouter,
    MoE,
    SqrtSoftplusRouter,
    check_routing,
    random_hash_table,
)
from course_lib.layers.norm import RMSNorm
from course_lib.layers.position import YaRN, check_longest
from course_lib.layers.shared_kv_attention import (
    CompressedCache,
    CompressedRows,
    SharedKVAttention,
    check_shared_kv_sizes,
)
from course_lib.models.llama import init_llama_weights
from course_lib.models.settings_check import check_settings

LAYER_TYPES = ("sliding", "CSA", "HCA")


@dataclass(frozen=True)
class DeepSeekV4Settings:
    """The numbers of a V4; `layer_types` says layer by layer how it looks back.

    "sliding" sees the window alone, "CSA" a few chosen short blocks as well, "HCA" all long ones.
    The defaults are for small models. `d_expert` is the width of one expert; the shared ones are
    `n_shared` times as wide. `rope_scaling` is for the layers that compress.

    >>> sizes = dict(d_model=64, n_heads=4)
    >>> DeepSeekV4Settings(512, 128, layer_types=("sliding", "CSA", "MLA"), **sizes)
    Traceback (most recent call last):
    ValueError: layer_types[2] is 'MLA', not one of sliding, CSA, HCA
    """

    vocab_size: int
    max_seq_len: int
    d_model: int
    n_heads: int
    layer_types: tuple[str, ...] = ("sliding", "CSA", "HCA", "CSA")
    head_dim: int = 32
    qk_rope_head_dim: int = 8  # the last numbers of a head, which are rotated
    q_lora_rank: int = 32
    o_groups: int = 2
    o_lora_rank: int = 32  # of each group
    window: int = 16
    csa_rate: int = 4  # tokens of a short block
    hca_rate: int = 16  # of a long one
    index_n_heads: int = 16
    index_head_dim: int = 16
    index_top_k: int = 8  # short blocks that each token reads
    n_streams: int = 4
    sinkhorn_iterations: int = 20
    hc_eps: float = 1e-6
    n_hash_layers: int = 1  # the first so many, whose experts a table chooses
    d_expert: int = 56
    n_experts: int = 8  # without the shared ones
    n_chosen: int = 2
    n_shared: int = 1
    route_scale: float = 1.5
    swiglu_limit: float = 10.0
    rope_base: float = 10_000.0  # of sliding layers
    compressed_rope_base: float = 160_000.0  # of the others
    rope_scaling: YaRN | None = None
    norm_eps: float = 1e-6
    tied: bool = False
    mtp: bool = False  # a module that predicts one token further

    def __post_init__(self) -> None:
        check_settings(self, ("n_hash_layers", "n_shared"))
        check_longest(self.max_seq_len, self.rope_scaling)
        for i, kind in enumerate(self.layer_types):
            if kind not in LAYER_TYPES:
                raise ValueError(
                    f"layer_types[{i}] is {kind!r}, not one of {', '.join(LAYER_TYPES)}"
                )
        if not 0 < self.n_layers >= self.n_hash_layers:
            raise ValueError(f"n_hash_layers {self.n_hash_layers} of {self.n_layers} layer_types")
        check_routing(self.n_experts, self.n_chosen)
        sizes = self.n_heads, self.head_dim, self.qk_rope_head_dim, self.o_groups, self.window
        check_shared_kv_sizes(*sizes)
        if self.qk_rope_head_dim % 2:
            raise ValueError(f"qk_rope_head_dim {self.qk_rope_head_dim} is odd: pairs are rotated")
        if "CSA" in self.layer_types and self.index_head_dim < self.qk_rope_head_dim:
            raise ValueError(
                f"index_head_dim {self.index_head_dim} has no room for qk_rope_head_dim"
                f" {self.qk_rope_head_dim}"
            )

    @property
    def n_layers(self) -> int:
        """Count the layers."""
        return len(self.layer_types)


DEEPSEEK_V4_FLASH = DeepSeekV4Settings(  # 284 billion parameters, 13 active
    129_280, 2**20, d_model=4096, n_heads=64,
    layer_types=("sliding", "sliding", *("CSA", "HCA") * 20, "CSA"),
    head_dim=512, qk_rope_head_dim=64, q_lora_rank=1024, o_groups=8, o_lora_rank=1024,
    window=128, csa_rate=4, hca_rate=128, index_n_heads=64, index_head_dim=128, index_top_k=512,
    n_hash_layers=3, d_expert=2048, n_experts=256, n_chosen=6, route_scale=1.5,
    rope_scaling=YaRN(factor=16.0, trained_length=65_536), mtp=True,
)  # fmt: skip
DEEPSEEK_V4_PRO = DeepSeekV4Settings(  # 1.6 trillion, 49 billion active
    129_280, 2**20, d_model=7168, n_heads=128,
    layer_types=("HCA", "HCA", *("CSA", "HCA") * 29, "CSA"),
    head_dim=512, qk_rope_head_dim=64, q_lora_rank=1536, o_groups=16, o_lora_rank=1024,
    window=128, csa_rate=4, hca_rate=128, index_n_heads=64, index_head_dim=128, index_top_k=1024,
    n_hash_layers=3, d_expert=3072, n_experts=384, n_chosen=6, route_scale=2.5,
    rope_scaling=YaRN(factor=16.0, trained_length=65_536), mtp=True,
)  # fmt: skip


def v4_attention(settings: DeepSeekV4Settings, kind: str) -> SharedKVAttention:
    """Build the attention of one layer; those that compress have a rotary base of their own."""
    s = settings
    shared = (s.d_model, s.n_heads, s.head_dim, s.qk_rope_head_dim, s.q_lora_rank)
    shared += (s.o_groups, s.o_lora_rank, s.window)
    if kind == "sliding":
        return SharedKVAttention(*shared, s.rope_base, None, s.norm_eps)
    shared += (s.compressed_rope_base, s.rope_scaling, s.norm_eps)
    if kind == "HCA":
        return HCA(s.hca_rate, *shared)
    return CSA(s.index_n_heads, s.index_head_dim, s.index_top_k, s.csa_rate, *shared)


def v4_experts(settings: DeepSeekV4Settings, hashed: bool) -> MoE:
    """Build the experts of one layer, chosen by a table or by the router."""
    s = settings
    if hashed:
        table = random_hash_table(s.vocab_size, s.n_experts, s.n_chosen)
        router = HashRouter(s.d_model, s.n_experts, table, s.route_scale)
    else:
        router = SqrtSoftplusRouter(s.d_model, s.n_experts, s.n_chosen, s.route_scale)
    return MoE(router, s.d_model, s.d_expert, s.n_experts, s.n_shared, s.swiglu_limit)


class V4Block(nn.Module):
    """One layer: attention, then experts, each normed first and tied in by mHC."""

    def __init__(self, settings: DeepSeekV4Settings, kind: str, hashed: bool) -> None:
        super().__init__()
        s = settings
        connection = (s.d_model, s.n_streams, s.norm_eps, s.sinkhorn_iterations, s.hc_eps)
        self.attention_connection = ManifoldHyperConnection(*connection)
        self.norm_1 = RMSNorm(s.d_model, s.norm_eps)
        self.attention = v4_attention(s, kind)
        self.mlp_connection = ManifoldHyperConnection(*connection)
        self.norm_2 = RMSNorm(s.d_model, s.norm_eps)
        self.mlp = v4_experts(s, hashed)

    def forward(
        self,
        streams: Float[Tensor, "B T n C"],
        ids: Int[Tensor, "B T"],
        cache: AttentionCache | CompressedRows | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T n C"]:
        asked = ids if isinstance(self.mlp.router, HashRouter) else None
        streams = self.attention_connection(
            streams, lambda x: self.attend(self.norm_1(x), cache, padding)
        )
        return self.mlp_connection(streams, lambda x: self.mlp(self.norm_2(x), asked))

    def attend(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | CompressedRows | None,
        padding: Bool[Tensor, "B *T S"] | None,
    ) -> Float[Tensor, "B T C"]:
        """Let the tokens look back, row by row where each row has a cache of its own."""
        if not isinstance(cache, CompressedRows):
            return self.attention(x, cache, padding)
        rows = zip(x.split(1), cache.rows, strict=True)
        return torch.cat([self.attention(row, own_cache) for row, own_cache in rows])


class DeepSeekV4(nn.Module):
    """Predict the next token, `n_streams` residual streams wide. Source: arXiv 2606.19348.

    `hidden` gives the streams after the last block; `logits` adds them up, norms and scores. Caches
    are `CompressedCache`, see `make_caches`.
    """

    settings: DeepSeekV4Settings
    new_cache = new_prefix_cache = CompressedCache
    new_row_cache = CompressedRows

    def __init__(self, settings: DeepSeekV4Settings) -> None:
        super().__init__()
        self.settings = s = settings
        self.token_embedding = Embedding(s.vocab_size, s.d_model)
        self.blocks = nn.ModuleList(
            V4Block(s, kind, hashed=layer < s.n_hash_layers)
            for layer, kind in enumerate(s.layer_types)
        )
        self.collapse = StreamCollapse(s.d_model, s.n_streams, s.norm_eps, s.hc_eps)
        self.norm = RMSNorm(s.d_model, s.norm_eps)
        self.head = None if s.tied else nn.Linear(s.d_model, s.vocab_size, bias=False)
        init_llama_weights(self, s.n_layers)
        self.mtp = None
        if s.mtp:
            self.mtp = V4MTPModule(s)
            init_llama_weights(self.mtp, s.n_layers)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache | CompressedRows] | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(ids, caches, padding))

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache | CompressedRows] | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T n C"]:
        """Read the tokens: all streams after the last block."""
        streams = self.first_streams(ids, caches[0].length if caches else 0)
        for layer, block in enumerate(self.blocks):
            streams = block(streams, ids, caches[layer] if caches else None, padding)
        return streams

    def first_streams(
        self, ids: Int[Tensor, "B T"], past: int | Int[Tensor, "B"] = 0
    ) -> Float[Tensor, "B T n C"]:
        """Start the streams. Raises ValueError for a token or a place that the model lacks."""
        check_ids(ids, self.settings.vocab_size)
        check_length(ids, self.settings.max_seq_len, past)
        return expand_streams(self.token_embedding(ids), self.settings.n_streams)

    def logits(self, hidden: Float[Tensor, "B T n C"]) -> Float[Tensor, "B T V"]:
        """Score every token as the next one."""
        return self.scores(self.norm(self.collapse(hidden)))

    def scores(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Compare normed vectors with all tokens."""
        return self.token_embedding.logits(x) if self.head is None else self.head(x)

    def predict_ahead(
        self,
        hidden: Float[Tensor, "B T n C"],
        next_ids: Int[Tensor, "B T"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Score every token as the one after the next, as V3's `predict_ahead` does.

        `hidden` holds the streams. Embedding and head are those of the model.
        """
        return self.logits_ahead(self.think_ahead(hidden, next_ids, cache, padding))

    def think_ahead(
        self,
        hidden: Float[Tensor, "B T n C"],
        next_ids: Int[Tensor, "B T"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T n C"]:
        """Do what `predict_ahead` does, up to the scores: streams that can stand for `hidden`."""
        if self.mtp is None:
            raise ValueError(
                "this model has no module for multi-token prediction: its settings say mtp=False"
            )
        if next_ids.shape != hidden.shape[:2]:
            raise ValueError(
                f"next_ids of shape {tuple(next_ids.shape)} for streams of shape"
                f" {tuple(hidden.shape)}"
            )
        check_ids(next_ids, self.settings.vocab_size)
        return self.mtp(hidden, self.token_embedding(next_ids), next_ids, cache, padding)

    def logits_ahead(self, ahead: Float[Tensor, "B T n C"]) -> Float[Tensor, "B T V"]:
        """Score every token as the one after the next, given what `think_ahead` made."""
        return self.scores(self.mtp.norm(self.mtp.collapse(ahead)))

    def set_top_k(self, top_k: int | None) -> None:
        """Let CSA read so many blocks from now on; None: all, as in the warm-up."""
        for block in self.blocks:
            if isinstance(block.attention, CSA):
                block.attention.top_k = top_k

    def indexer_loss(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Add up the losses of all CSA layers' indexers, in nats per token; see `CSA`."""
        total = torch.zeros((), device=ids.device)
        with torch.no_grad():
            streams = self.first_streams(ids)
            for block in self.blocks:
                if isinstance(block.attention, CSA):
                    read = block.attention_connection.maps(streams)[0]
                    x = block.norm_1(read_streams(streams, read.to(streams.dtype)))
                    with torch.enable_grad():
                        total = total + block.attention.indexer_loss(x)
                streams = block(streams, ids)
        return total


class V4MTPModule(nn.Module):
    """Multi-token prediction stream by stream: join each with the next token, and think on.

    `collapse` and `norm` are for what comes out, before the model's head. Source: DeepSeek-V4's
    released code, `MTPBlock`.
    """

    def __init__(self, settings: DeepSeekV4Settings) -> None:
        super().__init__()
        s = settings
        self.norm_hidden = RMSNorm(s.d_model, s.norm_eps)
        self.norm_embedding = RMSNorm(s.d_model, s.norm_eps)
        self.from_hidden = nn.Linear(s.d_model, s.d_model, bias=False)
        self.from_embedding = nn.Linear(s.d_model, s.d_model, bias=False)
        self.block = V4Block(s, "sliding", hashed=False)
        self.collapse = StreamCollapse(s.d_model, s.n_streams, s.norm_eps, s.hc_eps)
        self.norm = RMSNorm(s.d_model, s.norm_eps)

    def forward(
        self,
        hidden: Float[Tensor, "B T n C"],
        embedded: Float[Tensor, "B T C"],
        ids: Int[Tensor, "B T"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T n C"]:
        known = self.from_embedding(self.norm_embedding(embedded)).unsqueeze(-2)
        streams = self.from_hidden(self.norm_hidden(hidden)) + known
        return self.block(streams, ids, cache, padding)


def v4_cache_numbers_per_token(settings: DeepSeekV4Settings) -> float:
    """Count the numbers that all caches hold for each token of a long text, without the window's.

    A block of CSA is an entry and an index key, one of HCA an entry.

    >>> v4_cache_numbers_per_token(DEEPSEEK_V4_FLASH)
    3440.0
    """
    s = settings
    n_csa, n_hca = s.layer_types.count("CSA"), s.layer_types.count("HCA")
    per_csa = (s.head_dim + s.index_head_dim) / s.csa_rate
    return n_csa * per_csa + n_hca * s.head_dim / s.hca_rate


def v4_cache_bytes_per_token(settings: DeepSeekV4Settings) -> float:
    """Count the bytes as the release stores them: FP8, but BF16 where rotated, FP4 for index keys.

    Scales and the window are left out. V3.2 had 46,848 in the same formats. Source: arXiv
    2606.19348, section 2.3.4.

    >>> [round(v4_cache_bytes_per_token(s)) for s in (DEEPSEEK_V4_FLASH, DEEPSEEK_V4_PRO)]
    [3450, 4940]
    """
    s = settings
    entry = s.head_dim + s.qk_rope_head_dim  # one byte each, one more where rotated
    n_csa, n_hca = s.layer_types.count("CSA"), s.layer_types.count("HCA")
    return n_csa * (entry + s.index_head_dim / 2) / s.csa_rate + n_hca * entry / s.hca_rate
