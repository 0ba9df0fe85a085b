"""DeepSeek-V4 in Hugging Face's words: names of weights and settings, both ways.

We write the names of DeepSeek's release, which transformers reads. `save_pretrained` of
transformers 5.23 writes others, half the release's and half the class's: `respell_v4` makes them
the release's. Rotary pairs are neighbours on both sides, so no row changes its place. The module
for multi-token prediction is the release's `mtp.0`, which transformers' class leaves out.
"""

import math
import re

from torch import Tensor

from course_lib.models.deepseek_v4 import DeepSeekV4Settings
from course_lib.models.hf_config import (
    ANY_FIXED,
    check_config_words,
    check_derived_size,
    ours_of,
    read_number,
    read_sizes,
    told_in,
    write_sizes,
)
from course_lib.models.hf_deepseek import inverse_names, join_experts, split_experts
from course_lib.models.hf_rotary import rotary_config, rotary_settings
from course_lib.models.settings_check import as_switch

V4Weights = dict[str, Tensor]

BLOCK_NAMES = {  # ours -> the release's, within a layer; {} is the number of an expert
    "norm_1.weight": "attn_norm.weight",
    "norm_2.weight": "ffn_norm.weight",
    "attention.q_down.weight": "attn.wq_a.weight",
    "attention.q_latent_norm.weight": "attn.q_norm.weight",
    "attention.q_up.weight": "attn.wq_b.weight",
    "attention.kv.weight": "attn.wkv.weight",
    "attention.kv_norm.weight": "attn.kv_norm.weight",
    "attention.sinks": "attn.attn_sink",
    "attention.out_groups.weight": "attn.wo_a.weight",
    "attention.out.weight": "attn.wo_b.weight",
    "attention.indexer.q_up.weight": "attn.indexer.wq_b.weight",
    "attention.indexer.head_weights.weight": "attn.indexer.weights_proj.weight",
    "mlp.router.weight": "ffn.gate.weight",
    "mlp.router.bias": "ffn.gate.bias",
    "mlp.router.table": "ffn.gate.tid2eid",
}
for ours, theirs in (("attention_connection", "attn"), ("mlp_connection", "ffn")):
    for mine, other in (("weight", "fn"), ("bias", "base"), ("scale", "scale")):
        BLOCK_NAMES[f"{ours}.{mine}"] = f"hc_{theirs}_{other}"
for place in ("compressor", "indexer.compressor"):
    for mine, other in (
        ("kv.weight", "wkv.weight"),
        ("gate.weight", "wgate.weight"),
        ("position_bias", "ape"),
        ("norm.weight", "norm.weight"),
    ):
        BLOCK_NAMES[f"attention.{place}.{mine}"] = f"attn.{place}.{other}"
for mine, other in (("gate", "w1"), ("down", "w2"), ("up", "w3")):
    BLOCK_NAMES[f"mlp.experts.{{}}.{mine}.weight"] = f"ffn.experts.{{}}.{other}.weight"
    BLOCK_NAMES[f"mlp.shared.{mine}.weight"] = f"ffn.shared_experts.{other}.weight"

COLLAPSE_NAMES = {
    f"collapse.{mine}": f"hc_head_{other}"
    for mine, other in (("weight", "fn"), ("bias", "base"), ("scale", "scale"))
}
MTP_NAMES = {
    "norm_hidden.weight": "hnorm.weight",
    "norm_embedding.weight": "enorm.weight",
    "from_hidden.weight": "h_proj.weight",
    "from_embedding.weight": "e_proj.weight",
    "norm.weight": "norm.weight",
} | COLLAPSE_NAMES
V4_NAMES = (
    {
        "token_embedding.weight": "embed.weight",
        "norm.weight": "norm.weight",
        "head.weight": "head.weight",
    }
    | COLLAPSE_NAMES
    | {f"blocks.{{}}.{ours}": f"layers.{{}}.{theirs}" for ours, theirs in BLOCK_NAMES.items()}
    | {f"mtp.{ours}": f"mtp.0.{theirs}" for ours, theirs in MTP_NAMES.items()}
    | {f"mtp.block.{ours}": f"mtp.0.{theirs}" for ours, theirs in BLOCK_NAMES.items()}
)
V4_COPIES = {"head.weight": "embed.weight"}

LAYER_WORDS = {
    "sliding": "sliding_attention",
    "CSA": "compressed_sparse_attention",
    "HCA": "heavily_compressed_attention",
}
V4_SIZES = {
    "vocab_size": "vocab_size", "max_position_embeddings": "max_seq_len", "hidden_size": "d_model",
    "num_attention_heads": "n_heads", "head_dim": "head_dim", "q_lora_rank": "q_lora_rank",
    "o_groups": "o_groups", "o_lora_rank": "o_lora_rank", "sliding_window": "window",
    "index_n_heads": "index_n_heads", "index_head_dim": "index_head_dim",
    "index_topk": "index_top_k", "hc_mult": "n_streams",
    "hc_sinkhorn_iters": "sinkhorn_iterations", "moe_intermediate_size": "d_expert",
    "n_routed_experts": "n_experts", "num_experts_per_tok": "n_chosen",
}  # fmt: skip
V4_NUMBERS = {
    "hc_eps": "hc_eps", "swiglu_limit": "swiglu_limit", "routed_scaling_factor": "route_scale",
    "rms_norm_eps": "norm_eps",
}  # fmt: skip
V4_FIXED = {
    "hidden_act": ("silu", "swish"), "attention_bias": (False,), "mlp_bias": (False,),
    "norm_topk_prob": (True,), "scoring_func": ("sqrtsoftplus",), "num_key_value_heads": (1,),
    "n_shared_experts": (1,), "router_jitter_noise": (0.0,),
}  # fmt: skip
V4_WORDS = {
    *V4_SIZES, *V4_NUMBERS, "num_hidden_layers", "layer_types", "mlp_layer_types", "compress_rates",
    "compress_rope_theta", "rope_theta", "rope_parameters", "partial_rotary_factor",
    "qk_rope_head_dim", "tie_word_embeddings",
}  # fmt: skip


# Weights
# --------------------------------------------------------------------------------------------------


def v4_to_hf(weights: V4Weights, settings: DeepSeekV4Settings) -> V4Weights:
    """Rename the weights of our V4 as in DeepSeek's release."""
    ours = {"head.weight": weights["token_embedding.weight"]}
    for name, tensor in weights.items():
        ours |= split_experts(name, tensor) if ".experts." in name else {name: tensor}
    return {rename_v4(name, V4_NAMES): tensor for name, tensor in ours.items()}


def v4_from_hf(weights: V4Weights, settings: DeepSeekV4Settings) -> V4Weights:
    """Rename the weights of such a file for our V4; `mtp` is left out unless they ask for it."""
    back = inverse_names({k: v for k, v in V4_NAMES.items() if not k.startswith("mtp.block.")})
    back |= {f"mtp.0.{theirs}": f"mtp.block.{ours}" for ours, theirs in BLOCK_NAMES.items()}
    ours = {
        rename_v4(name, back): tensor
        for name, tensor in weights.items()
        if settings.mtp or not name.startswith("mtp.")
    }
    if settings.tied:
        ours.pop("head.weight", None)
    return join_experts(ours, settings.n_experts)


def rename_v4(name: str, table: dict[str, str]) -> str:
    """Translate one name; numbers of layers and experts go along.

    >>> rename_v4("blocks.3.mlp.experts.12.up.weight", V4_NAMES)
    'layers.3.ffn.experts.12.w3.weight'
    """
    number = r"(?<=layers\.)\d+|(?<=blocks\.)\d+|(?<=experts\.)\d+"
    pattern = re.sub(number, "{}", name)
    if pattern not in table:
        raise ValueError(f"no other name is known for the weight {name!r}")
    return table[pattern].format(*re.findall(number, name))


def respell_v4(weights: V4Weights) -> V4Weights:
    """Bring the names that `save_pretrained` writes to the release's.

    >>> import torch
    >>> one = torch.ones(1)
    >>> list(respell_v4({"model.layers.0.attn.norm.weight": one, "model.hc_head.hc_fn": one}))
    ['layers.0.attn.kv_norm.weight', 'hc_head_fn']
    """
    spellings = (
        (r"^model\.", ""),
        (r"^embed_tokens\.", "embed."),
        (r"^lm_head\.", "head."),
        (r"^hc_head\.hc_", "hc_head_"),
        (r"\.attn\.norm\.", ".attn.kv_norm."),
    )
    respelt = {}
    for name, tensor in weights.items():
        for old, new in spellings:
            name = re.sub(old, new, name)
        respelt[name] = tensor
    return respelt


# Settings
# --------------------------------------------------------------------------------------------------


def v4_config(settings: DeepSeekV4Settings) -> dict:
    """Tell the settings of our V4 in the words of `DeepseekV4Config`.

    Raises ValueError where theirs would not run, or would be another model.
    """
    s = settings
    if s.n_shared != 1:
        raise ValueError(f"n_shared {s.n_shared}: theirs has one shared expert whatever it says")
    share = s.qk_rope_head_dim / s.head_dim
    if int(s.head_dim * share) < s.qk_rope_head_dim:  # theirs rounds down
        share = math.nextafter(share, 1)
    part = {"partial_rotary_factor": share}
    compressed = rotary_config(s.compressed_rope_base, s.rope_scaling)
    if s.rope_scaling is not None:
        compressed["attention_factor"] = 1.0  # YaRN stretches no vector here
    hashed = min(s.n_hash_layers, s.n_layers)
    odd = s.d_model % 8 or s.d_expert % 8  # their fast product wants rows of whole 16 bytes
    return {
        "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "dtype": "float32",
        **write_sizes(s, V4_SIZES), **{word: getattr(s, ours) for word, ours in V4_NUMBERS.items()},
        "num_hidden_layers": s.n_layers, "layer_types": [LAYER_WORDS[k] for k in s.layer_types],
        "mlp_layer_types": ["hash_moe"] * hashed + ["moe"] * (s.n_layers - hashed),
        "compress_rates": {LAYER_WORDS["CSA"]: s.csa_rate, LAYER_WORDS["HCA"]: s.hca_rate},
        "rope_theta": s.rope_base, "compress_rope_theta": s.compressed_rope_base, **part,
        "rope_parameters": {"main": rotary_config(s.rope_base, None) | part,
                            "compress": compressed | part},
        "tie_word_embeddings": s.tied, "num_nextn_predict_layers": int(s.mtp),
        "bos_token_id": None, "eos_token_id": None, **ours_of(V4_FIXED),
        **({"experts_implementation": "eager"} if odd else {}),
    }  # fmt: skip


def v4_settings(config: dict, weights: V4Weights) -> DeepSeekV4Settings:
    """Tell a `DeepseekV4Config` in our words.

    Raises ValueError for words or values that ours lacks. Multi-token prediction is there if its
    weights are.
    """
    check_config_words(config, V4_WORDS, ANY_V4_FIXED, "DeepSeekV4")
    numbers = read_sizes(config, V4_SIZES)
    numbers |= {ours: read_number(config, word) for word, ours in V4_NUMBERS.items()}
    kinds = inverse_names(LAYER_WORDS)
    layer_types = tuple(kinds.get(word, word) for word in told_in(config, "layer_types"))
    check_derived_size(config, "num_hidden_layers", len(layer_types), "DeepSeekV4")
    rates = told_in(config, "compress_rates")
    return DeepSeekV4Settings(
        **numbers, **v4_rotary(config, numbers["head_dim"]),
        layer_types=layer_types, n_hash_layers=hash_layers(config),
        csa_rate=told_in(rates, LAYER_WORDS["CSA"]), hca_rate=told_in(rates, LAYER_WORDS["HCA"]),
        tied=as_switch("tie_word_embeddings", config.get("tie_word_embeddings", False)),
        mtp="mtp.0.h_proj.weight" in weights,
    )  # fmt: skip


def hash_layers(config: dict) -> int:
    """Count the layers whose experts a table chooses; they must be the first."""
    kinds = list(told_in(config, "mlp_layer_types"))
    n_hashed = kinds.count("hash_moe")
    if kinds != ["hash_moe"] * n_hashed + ["moe"] * (len(kinds) - n_hashed):
        raise ValueError(f"mlp_layer_types is {kinds} there; ours has hash_moe first, then moe")
    return n_hashed


def v4_rotary(config: dict, head_dim: int) -> dict:
    """Read both bases, how the compressed layers' positions are stretched, and what is rotated."""
    told = told_in(config, "rope_parameters")
    plain = {}
    for label in ("main", "compress"):
        words = {k: v for k, v in told_in(told, label).items() if k != "partial_rotary_factor"}
        if words.get("attention_factor") == 1.0:
            del words["attention_factor"]
        plain[label] = rotary_settings({"rope_parameters": words})
    if plain["main"]["rope_scaling"] is not None:
        raise ValueError(f"rope_parameters.main is {told['main']} there; ours is never stretched")
    return {
        "qk_rope_head_dim": int(head_dim * read_number(config, "partial_rotary_factor")),
        "rope_base": plain["main"]["rope_base"],
        "compressed_rope_base": plain["compress"]["rope_base"],
        "rope_scaling": plain["compress"]["rope_scaling"],
    }


ANY_V4_FIXED = {k: v for k, v in ANY_FIXED.items() if k != "partial_rotary_factor"} | V4_FIXED
