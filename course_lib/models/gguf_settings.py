"""The settings of our models in the words of llama.cpp's GGUF files; what it can't hold is refused.

llama.cpp knows GPT-2 as "gpt2", Llama as "llama", V2 and V3 as "deepseek2". The keys are those of
the package `gguf`, below the name of the architecture. Whole numbers are written as such, so a
float must be one here.
"""

from typing import Any

from torch import nn

from course_lib.layers.position import PositionInterpolation, RotaryScaling, YaRN
from course_lib.models.deepseek import DeepSeekSettings
from course_lib.models.gpt2 import GPT2Settings
from course_lib.models.llama import LlamaSettings

GGUF_ARCHITECTURES = {  # by the name of our class
    "GPT2": "gpt2", "Llama": "llama", "DeepSeekV2": "deepseek2", "DeepSeekV3": "deepseek2",
}  # fmt: skip
GATING_FUNCTIONS = {"DeepSeekV2": 1, "DeepSeekV3": 2}  # softmax and sigmoid there
LATENT_NORM_EPS = 1e-6  # of `layers.mla`, whatever the settings say of the other norms
LITE_LAYERS = (26, 27)  # by which llama.cpp knows V2-Lite and its like
GGUFWords = dict[str, Any]


def gguf_settings(model: nn.Module) -> GGUFWords:
    """Tell a model's settings as llama.cpp reads them, key -> value, without the architecture.

    Raises ValueError for a kind of model or a setting that llama.cpp would compute otherwise.
    """
    kind = type(model).__name__
    if kind not in GGUF_ARCHITECTURES:
        raise ValueError(
            f"llama.cpp has no {kind} like ours; it has {', '.join(GGUF_ARCHITECTURES)}"
        )
    if kind == "GPT2":
        return gpt2_words(model.settings)
    if kind == "Llama":
        return llama_words(model.settings)
    return deepseek_words(model.settings, kind)


def shared_words(settings: GPT2Settings | LlamaSettings) -> GGUFWords:
    """Tell the sizes that every architecture there has."""
    return {
        "context_length": settings.max_seq_len,
        "embedding_length": settings.d_model,
        "block_count": settings.n_layers,
        "feed_forward_length": settings.d_ff,
        "attention.head_count": settings.n_heads,
        "vocab_size": settings.vocab_size,
    }


def gpt2_words(settings: GPT2Settings) -> GGUFWords:
    """Tell the settings of our GPT2; its LayerNorm has torch's epsilon."""
    return shared_words(settings) | {"attention.layer_norm_epsilon": 1e-5}


def llama_words(settings: LlamaSettings) -> GGUFWords:
    """Tell the settings of our Llama."""
    scaling = settings.rope_scaling
    if isinstance(scaling, YaRN) and (scaling.mscale or scaling.mscale_all_dim):
        raise ValueError(f"{told_mscales(scaling)}: llama.cpp reads them in V2 and V3 alone")
    return shared_words(settings) | {
        "attention.head_count_kv": settings.n_kv_heads,
        "attention.layer_norm_rms_epsilon": settings.norm_eps,
        "rope.dimension_count": settings.d_head,
        "rope.freq_base": float(settings.rope_base),
        **rope_words(settings),
    }


def deepseek_words(settings: DeepSeekSettings, kind: str) -> GGUFWords:
    """Tell the settings of our V2 or V3: all heads read one latent, so there is one key."""
    check_deepseek_words(settings, kind)
    latent, rotary = settings.kv_lora_rank, settings.qk_rope_head_dim
    words = shared_words(settings) | {
        "attention.head_count_kv": 1,
        "attention.layer_norm_rms_epsilon": settings.norm_eps,
        "attention.kv_lora_rank": latent,
        "attention.key_length": latent + rotary,
        "attention.value_length": latent,
        "attention.key_length_mla": settings.qk_nope_head_dim + rotary,
        "attention.value_length_mla": settings.v_head_dim,
        "rope.dimension_count": rotary,
        "rope.freq_base": float(settings.rope_base),
        **rope_words(settings),
        **expert_words(settings, kind),
    }
    if settings.q_lora_rank is not None:
        words["attention.q_lora_rank"] = settings.q_lora_rank
    return words


def expert_words(settings: DeepSeekSettings, kind: str) -> GGUFWords:
    """Tell how many experts there are and how they are chosen.

    Its groups are V3's, ranked by their two best; without groups none are told.
    """
    words = {
        "leading_dense_block_count": settings.n_dense_layers,
        "expert_count": settings.n_experts,
        "expert_used_count": settings.n_chosen,
        "expert_shared_count": settings.n_shared,
        "expert_feed_forward_length": settings.d_expert,
        "expert_weights_scale": float(settings.route_scale),
        "expert_weights_norm": kind == "DeepSeekV3",
        "expert_gating_func": GATING_FUNCTIONS[kind],
    }
    if settings.n_limited_groups < settings.n_groups:
        words["expert_group_count"] = settings.n_groups
        words["expert_group_used_count"] = settings.n_limited_groups
    return words


def check_deepseek_words(settings: DeepSeekSettings, kind: str) -> None:
    """Raise a ValueError for what llama.cpp's deepseek2 has no word for, or computes otherwise."""
    check_query_rank(settings)
    check_latent_scaling(settings.rope_scaling)
    limited = settings.n_limited_groups < settings.n_groups
    groups = f"n_limited_groups {settings.n_limited_groups} of n_groups {settings.n_groups}"
    if settings.q_norm:
        raise ValueError("q_norm True: llama.cpp does not norm each head's queries")
    if settings.norm_eps != LATENT_NORM_EPS:
        raise ValueError(
            f"norm_eps {settings.norm_eps}: llama.cpp norms latents by the same number, ours by"
            f" {LATENT_NORM_EPS}"
        )
    if not settings.n_shared:
        raise ValueError("n_shared 0: llama.cpp has a shared expert in every mixture")
    if limited and kind == "DeepSeekV2":
        raise ValueError(
            f"{groups}: llama.cpp ranks a group by its two best experts, V2 by its best"
        )
    if limited and settings.n_experts < 2 * settings.n_groups:
        raise ValueError(
            f"n_experts {settings.n_experts} in n_groups {settings.n_groups}: llama.cpp ranks a"
            " group by its two best, so it must have two"
        )


def check_query_rank(settings: DeepSeekSettings) -> None:
    """Raise a ValueError if llama.cpp would look for other matrices of the queries.

    It tells V2-Lite, whose queries are not compressed, by its number of layers.
    """
    rank, lite = settings.q_lora_rank, settings.n_layers in LITE_LAYERS
    if (rank is None) != lite:
        layers = " or ".join(map(str, LITE_LAYERS))
        raise ValueError(
            f"q_lora_rank {rank} with n_layers {settings.n_layers}: llama.cpp takes V2 and V3 with"
            f" {layers} layers to have queries without compression (None), and no others"
        )


def check_latent_scaling(scaling: RotaryScaling | None) -> None:
    """Raise a ValueError if llama.cpp would weigh the scores of latent attention otherwise."""
    if isinstance(scaling, PositionInterpolation):
        raise ValueError(
            f"{scaling}: llama.cpp stretches the places of latent attention by YaRN alone"
        )
    if scaling and (scaling.mscale is None or scaling.mscale != scaling.mscale_all_dim):
        raise ValueError(f"{told_mscales(scaling)}: llama.cpp knows one number for both")


def rope_words(settings: LlamaSettings) -> GGUFWords:
    """Tell how rotary positions are stretched; nothing if they are not."""
    scaling = settings.rope_scaling
    if scaling is None:
        return {}
    words = {"rope.scaling.factor": float(scaling.factor)}
    if isinstance(scaling, PositionInterpolation):
        return words | {"rope.scaling.type": "linear"}
    return words | {
        "rope.scaling.type": "yarn",
        "rope.scaling.original_context_length": scaling.trained_length,
        "rope.scaling.yarn_beta_fast": float(scaling.beta_fast),
        "rope.scaling.yarn_beta_slow": float(scaling.beta_slow),
        # a tenth of the paper's fit, see `yarn_mscale`
        "rope.scaling.yarn_log_multiplier": 0.1 * (scaling.mscale_all_dim or 0.0),
    }


def told_mscales(scaling: YaRN) -> str:
    """Name DeepSeek's two numbers of YaRN."""
    return f"mscale {scaling.mscale} and mscale_all_dim {scaling.mscale_all_dim} of YaRN"
