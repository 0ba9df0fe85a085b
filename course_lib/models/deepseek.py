"""DeepSeek from MoE to V3.2: each class is one paper, and changes one part of the model before it.

`Llama` (V1) -> `DeepSeekMoE` (mixture of experts) -> `DeepSeekV2` (latent attention) ->
`DeepSeekV3` (another router, multi-token prediction) -> `DeepSeekV32` (sparse attention). The same
settings build any of the first three; V3.2's have three numbers more.
"""

import copy
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import AttentionCache
from course_lib.layers.embedding import check_ids
from course_lib.layers.mla import MLA, check_mla_widths
from course_lib.layers.mlp import SwiGLU
from course_lib.layers.moe import MoE, SigmoidRouter, SoftmaxRouter, check_routing, upcycle_mlp
from course_lib.layers.norm import RMSNorm
from course_lib.layers.position import YaRN
from course_lib.layers.sparse_attention import SparseMLA
from course_lib.models.llama import Llama, LlamaBlock, LlamaSettings, init_llama_weights


@dataclass(frozen=True)
class DeepSeekSettings(LlamaSettings):
    """The numbers of a Llama, of latent attention, and of the experts.

    The defaults are for small models. The first `n_dense_layers` have no experts: with as many as
    `n_layers`, attention alone is new. `n_kv_heads` is for DeepSeekMoE, which has no latents.
    `d_expert` None means that a token's experts, shared ones included, are together as wide as a
    dense layer, as in V2 and V3.

    >>> sizes = dict(d_model=64, n_layers=3, n_heads=4, n_chosen=2, n_shared=1)
    >>> settings = DeepSeekSettings(512, 128, **sizes)
    >>> settings.d_ff, settings.d_expert
    (168, 56)
    """

    kv_lora_rank: int = 32  # d_c in the papers: the latent
    q_lora_rank: int | None = None  # d_c'; None: queries are not compressed
    qk_nope_head_dim: int = 16  # d_h: the part of a query or key that knows no place
    qk_rope_head_dim: int = 16  # d_h^R: the part that is rotated
    v_head_dim: int = 16  # d_h as well
    q_norm: bool = False  # not in the papers, see MLA
    n_dense_layers: int = 1
    d_expert: int | None = None
    n_experts: int = 8  # without the shared ones
    n_chosen: int = 2
    n_shared: int = 1
    n_groups: int = 1  # devices or nodes that the experts are spread over
    n_limited_groups: int = 1  # how many of them a token may visit
    route_scale: float = 1.0
    mtp: bool = False  # multi-token prediction, one token further: V3 alone

    def __post_init__(self) -> None:
        self.fill_in("n_dense_layers", "n_shared")
        if self.d_expert is None:
            per_expert = self.d_ff / (self.n_chosen + self.n_shared)
            object.__setattr__(self, "d_expert", max(4, round(per_expert / 4) * 4))
        check_mla_widths(
            self.n_heads,
            self.kv_lora_rank,
            self.qk_nope_head_dim,
            self.qk_rope_head_dim,
            self.v_head_dim,
            self.q_lora_rank,
        )
        check_routing(self.n_experts, self.n_chosen, self.n_groups, self.n_limited_groups)
        if self.n_dense_layers > self.n_layers:
            raise ValueError(
                f"n_dense_layers {self.n_dense_layers} is not between 0 and n_layers"
                f" {self.n_layers}"
            )


@dataclass(frozen=True)
class DeepSeekV32Settings(DeepSeekSettings):
    """The numbers of a V3, and those of its indexer. Queries must be compressed.

    >>> DeepSeekV32Settings(512, 128, d_model=64, n_layers=3, n_heads=4)
    Traceback (most recent call last):
    ValueError: q_lora_rank None: the indexer reads the queries' latent, so there must be one
    """

    index_n_heads: int = 16
    index_head_dim: int = 16
    index_top_k: int = 16  # tokens that each token attends to

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.q_lora_rank is None:
            raise ValueError(
                "q_lora_rank None: the indexer reads the queries' latent, so there must be one"
            )
        if self.q_norm:
            raise ValueError("q_norm True: V3.2 norms no head's queries")
        if self.index_head_dim < self.qk_rope_head_dim:
            raise ValueError(
                f"index_head_dim {self.index_head_dim} has no room for qk_rope_head_dim"
                f" {self.qk_rope_head_dim}"
            )


DEEPSEEK_V2_LITE = DeepSeekSettings(         # 15.7 billion parameters, 2.4 of them active
    102_400, 4096, d_model=2048, n_layers=27, n_heads=16,
    kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
    d_ff=10944, d_expert=1408, n_experts=64, n_chosen=6, n_shared=2,
)  # fmt: skip
DEEPSEEK_V2 = DeepSeekSettings(  # 236 billion, 21 active
    102_400,
    4096,
    d_model=5120,
    n_layers=60,
    n_heads=128,
    kv_lora_rank=512,
    q_lora_rank=1536,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    d_ff=12288,
    d_expert=1536,
    n_experts=160,
    n_chosen=6,
    n_shared=2,
    n_groups=8,
    n_limited_groups=3,
    route_scale=16.0,
)
DEEPSEEK_V3 = DeepSeekSettings(  # 671 billion, 37 active; multi-token prediction adds 11.6
    129_280,
    4096,
    d_model=7168,
    n_layers=61,
    n_heads=128,
    kv_lora_rank=512,
    q_lora_rank=1536,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    n_dense_layers=3,
    d_ff=18432,
    d_expert=2048,
    n_experts=256,
    n_chosen=8,
    n_shared=1,
    n_groups=8,
    n_limited_groups=4,
    route_scale=2.5,
    mtp=True,
)
DEEPSEEK_V32 = DeepSeekV32Settings(  # V3 and its indexers, 0.85 billion
    **(asdict(DEEPSEEK_V3) | {"mtp": False}), index_n_heads=64, index_head_dim=128, index_top_k=2048
)

# to 160 thousand tokens, as their configs say; V2's also serves V2-Lite
V2_YARN = YaRN(factor=40.0, trained_length=4096, mscale=0.707, mscale_all_dim=0.707)
V3_YARN = YaRN(factor=40.0, trained_length=4096, mscale=1.0, mscale_all_dim=1.0)


class DeepSeekMoE(Llama):
    """V1 with experts for the MLP in all layers but the first.

    Source: Dai et al. 2024 (arXiv 2401.06066).
    """

    settings: DeepSeekSettings
    router = SoftmaxRouter
    has_mtp_module = False  # V3 alone

    def __init__(self, settings: DeepSeekSettings) -> None:
        if settings.mtp and not self.has_mtp_module:
            raise ValueError(
                f"mtp True: {type(self).__name__} predicts no token further, DeepSeekV3 does"
            )
        super().__init__(settings)

    def mlp(self, layer: int) -> nn.Module:
        s = self.settings
        if layer < s.n_dense_layers:
            return SwiGLU(s.d_model, s.d_ff)
        router = self.router(
            s.d_model, s.n_experts, s.n_chosen, s.n_groups, s.n_limited_groups, s.route_scale
        )
        return MoE(router, s.d_model, s.d_expert, s.n_experts, s.n_shared)


class DeepSeekV2(DeepSeekMoE):
    """DeepSeekMoE with multi-head latent attention. Source: arXiv 2405.04434.

    Differs from the paper: no extra scale factors at the bottlenecks, see `MLA`.
    """

    def attention(self) -> nn.Module:
        return MLA(*self.mla_settings())

    def mla_settings(self) -> tuple:
        """The numbers of latent attention, in the order in which `MLA` takes them."""
        s = self.settings
        return (
            s.d_model,
            s.n_heads,
            s.kv_lora_rank,
            s.qk_nope_head_dim,
            s.qk_rope_head_dim,
            s.v_head_dim,
            s.q_lora_rank,
            s.rope_base,
            s.q_norm,
            s.rope_scaling,
        )


class DeepSeekV3(DeepSeekV2):
    """V2 with the router that a bias balances, and a module that predicts one token further.

    The module is there if the settings say `mtp`; the rest of the model starts from the same
    weights with and without. Source: arXiv 2412.19437.
    """

    router = SigmoidRouter
    has_mtp_module = True

    def __init__(self, settings: DeepSeekSettings) -> None:
        super().__init__(settings)
        self.mtp = None
        if settings.mtp:
            self.mtp = MTPModule(
                settings.d_model, self.block(settings.n_layers - 1), settings.norm_eps
            )
            init_llama_weights(self.mtp, settings.n_layers)

    def predict_ahead(
        self,
        hidden: Float[Tensor, "B T C"],
        next_ids: Int[Tensor, "B T"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Score every token as the one after the next.

        `hidden` is what `model.hidden` gave for some tokens, `next_ids` the token after each of
        them. In training these are `hidden[:, :-1]` and `ids[:, 1:]`, and `ids[:, 2:]` is right; in
        decoding, the newest token is the last of `next_ids`, and the best-scored one a draft of
        what follows. The module has a cache of its own. Embedding and head are those of the model.
        """
        return self.logits_ahead(self.think_ahead(hidden, next_ids, cache, padding))

    def think_ahead(
        self,
        hidden: Float[Tensor, "B T C"],
        next_ids: Int[Tensor, "B T"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Do what `predict_ahead` does, up to the scores: what comes out can stand for `hidden`."""
        if self.mtp is None:
            raise ValueError(
                "this model has no module for multi-token prediction: its settings say mtp=False"
            )
        check_ids(next_ids, self.settings.vocab_size)
        return self.mtp(hidden, self.token_embedding(next_ids), cache, padding)

    def logits_ahead(self, ahead: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Score every token as the one after the next, given what `think_ahead` made."""
        return self.logits(ahead)


class DeepSeekV32(DeepSeekV3):
    """V3 whose tokens attend to the few that an indexer chooses. Source: arXiv 2512.02556.

    Without `indexer_loss` its choice stays as it was drawn: the language model's loss gives the
    indexer no gradient.
    """

    settings: DeepSeekV32Settings

    def attention(self) -> nn.Module:
        s = self.settings
        index = (s.index_n_heads, s.index_head_dim, s.index_top_k)
        return SparseMLA(*index, *self.mla_settings())

    def set_top_k(self, top_k: int | None) -> None:
        """Let each token attend to so many from now on; None: to all, as in the warm-up."""
        for block in self.blocks:
            block.attention.top_k = top_k

    def indexer_loss(
        self, ids: Int[Tensor, "B T"], padding: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, ""]:
        """Add up all layers' losses of the indexer, in nats per token; see `SparseMLA`."""
        losses = []
        with torch.no_grad():
            x = self.token_embedding(ids)
            for block in self.blocks:
                with torch.enable_grad():
                    losses.append(block.attention.indexer_loss(block.norm_1(x), padding))
                x = block(x, padding=padding)
        return torch.stack(losses).sum()


class MTPModule(nn.Module):
    """Multi-token prediction: join what the model made of the text with the next token, think on.

    Source: DeepSeek-V3 (arXiv 2412.19437), equations 21 to 23, depth 1. As in the release, the
    hidden vector comes after the model's final norm, and the module has a final norm of its own.
    """

    def __init__(self, d_model: int, block: LlamaBlock, norm_eps: float) -> None:
        super().__init__()
        self.norm_hidden = RMSNorm(d_model, norm_eps)
        self.norm_embedding = RMSNorm(d_model, norm_eps)
        self.join = nn.Linear(2 * d_model, d_model, bias=False)
        self.block = block
        self.norm = RMSNorm(d_model, norm_eps)

    def forward(
        self,
        hidden: Float[Tensor, "B T C"],
        embedded: Float[Tensor, "B T C"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        x = self.join(torch.cat([self.norm_hidden(hidden), self.norm_embedding(embedded)], -1))
        return self.norm(self.block(x, cache, padding))


def upcycle_model(model: Llama, n_experts: int, n_chosen: int, n_dense_layers: int = 1) -> Llama:
    """Copy a dense model and give all layers but the first ones experts: copies of their MLPs.

    It says what the dense one says until it is trained; see `upcycle_mlp`. Its settings are the
    dense model's still. Source: Komatsuzaki et al. 2022 (arXiv 2212.05055).
    """
    model = copy.deepcopy(model)
    for block in model.blocks[n_dense_layers:]:
        router = SigmoidRouter(model.settings.d_model, n_experts, n_chosen)
        block.mlp = upcycle_mlp(block.mlp, router)
    return model


def count_active_parameters(model: nn.Module) -> int:
    """Count the parameters that one token is multiplied by when the model predicts the next.

    Of the experts of a layer these are the chosen and the shared ones; of tables that are looked
    up, nothing; a tied table counts once, as the head. A module that predicts further ahead is left
    out.
    """
    head = getattr(model, "head", None) or model.token_embedding
    met = sum(p.numel() for part in (model.blocks, model.norm, head) for p in part.parameters())
    return met - sum(
        count_idle_parameters(module)
        for module in model.blocks.modules()
        if isinstance(module, MoE)
    )


def count_idle_parameters(moe: MoE) -> int:
    """Count the parameters of the experts that a token does not visit."""
    n_experts, n_chosen = len(moe.experts.down), moe.router.choice["n_chosen"]
    return sum(p.numel() for p in moe.experts.parameters()) // n_experts * (n_experts - n_chosen)


def mla_cache_numbers_per_token(settings: DeepSeekSettings) -> int:
    """Count the numbers that all caches hold for each token: a latent and a rotary key per layer,
    and in V3.2 an index key.

    With a key and a value per head it were 60 * 2 * 128 * 128 = 1,966,080:

    >>> mla_cache_numbers_per_token(DEEPSEEK_V2)
    34560
    """
    index_key = getattr(settings, "index_head_dim", 0)
    return settings.n_layers * (settings.kv_lora_rank + settings.qk_rope_head_dim + index_key)
