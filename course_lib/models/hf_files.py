"""A model as a folder that Hugging Face's transformers opens, and back: config.json and model.safetensors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from torch import Tensor, nn

from course_lib.files import write_atomically
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_deepseek import deepseek_from_hf, deepseek_to_hf, llama_from_hf, llama_to_hf
from course_lib.models.hf_weights import gpt2_from_hf, gpt2_to_hf
from course_lib.models.llama import Llama, LlamaSettings

Weights = dict[str, Tensor]


class Format(NamedTuple):
    """How one kind of model is told in Hugging Face's words. Their settings are a dictionary, their weights too."""

    build: Callable[[Any], nn.Module]                               # our settings -> model
    config: Callable[[Any], dict]                                   # our settings -> theirs
    settings: Callable[[dict, Weights], Any]                        # their settings and weights -> our settings
    to_hf: Callable[[Weights, Any], Weights]                        # our weights and settings -> their weights
    from_hf: Callable[[Weights, Any], Weights]                      # their weights, our settings -> our weights


def save_hf(model: nn.Module, folder: Path | str) -> None:
    """Write a model so that `AutoModelForCausalLM.from_pretrained(folder)` opens it.

    A table that serves both ends of the model is stored once, as `save_pretrained` does. Raises ValueError for a kind
    of model that has no format here.
    """
    if type(model).__name__ not in FORMATS:
        raise ValueError(f"no format is known for a {type(model).__name__}; known are {', '.join(FORMATS)}")
    folder, known = Path(folder), FORMATS[type(model).__name__]
    config, weights = known.config(model.settings), known.to_hf(model.state_dict(), model.settings)
    if config["tie_word_embeddings"]:
        del weights["lm_head.weight"]
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", safetensors.torch.save(weights, metadata={"format": "pt"}))
    write_atomically(folder / "config.json", json.dumps(config, indent=2).encode())


def load_hf(folder: Path | str) -> nn.Module:
    """Read what `save_hf` or `save_pretrained` wrote.

    Raises ValueError for a kind of model that the course does not have, or for settings that ours lacks.
    """
    config = json.loads((Path(folder) / "config.json").read_text())
    kind = (config.get("architectures") or [config.get("model_type")])[0]
    if kind not in KINDS:
        raise ValueError(f"{folder} holds a {kind}; known are {', '.join(KINDS)}")
    known, weights = FORMATS[KINDS[kind]], safetensors.torch.load_file(Path(folder) / "model.safetensors")
    settings = known.settings(config, weights)
    model = known.build(settings)
    model.load_state_dict(known.from_hf(weights, settings))
    return model


def gpt2_config(settings: GPT2Settings) -> dict:
    """Tell the settings of our GPT2 in the words of `GPT2Config`."""
    return {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "dtype": "float32",
        "vocab_size": settings.vocab_size, "n_positions": settings.max_seq_len, "n_embd": settings.d_model,
        "n_layer": settings.n_layers, "n_head": settings.n_heads, "n_inner": settings.d_ff,
        "embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None,
        **GPT2_FIXED,
    }  # fmt: skip


def gpt2_settings(config: dict) -> GPT2Settings:
    """Tell a `GPT2Config` in our words."""
    check_fixed(config, GPT2_FIXED, "GPT2")
    return GPT2Settings(
        vocab_size=config["vocab_size"], max_seq_len=config["n_positions"], d_model=config["n_embd"],
        n_layers=config["n_layer"], n_heads=config["n_head"], d_ff=config.get("n_inner") or 0,
    )  # fmt: skip


# What is a setting there and the same in all our GPT-2s. The rest of their words says nothing about the logits.
GPT2_FIXED = {
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
    "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
}  # fmt: skip


def check_fixed(config: dict, fixed: dict, name: str) -> None:
    """Raise a ValueError if one of their settings is none that ours can have; what is not told is taken to be right."""
    for key, ours in fixed.items():
        if config.get(key, ours) != ours:
            raise ValueError(f"{key} is {config[key]!r} there; our {name} knows {ours!r} alone")


def llama_config(settings: LlamaSettings) -> dict:
    """Tell the settings of our Llama in the words of `LlamaConfig`."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32",
        "vocab_size": settings.vocab_size, "max_position_embeddings": settings.max_seq_len,
        "hidden_size": settings.d_model, "intermediate_size": settings.d_ff,
        "num_hidden_layers": settings.n_layers, "num_attention_heads": settings.n_heads,
        "num_key_value_heads": settings.n_kv_heads, "head_dim": settings.d_head,
        "rope_parameters": {"rope_type": "default", "rope_theta": settings.rope_base},
        "rms_norm_eps": settings.norm_eps, "tie_word_embeddings": settings.tied,
        "bos_token_id": None, "eos_token_id": None, **LLAMA_FIXED,
    }  # fmt: skip


def llama_numbers(config: dict) -> dict:
    """Tell what a `LlamaConfig` shares with DeepSeek's in our words."""
    check_fixed(config, LLAMA_FIXED, "Llama")
    return {
        "vocab_size": config["vocab_size"], "max_seq_len": config["max_position_embeddings"],
        "d_model": config["hidden_size"], "n_layers": config["num_hidden_layers"],
        "n_heads": config["num_attention_heads"], "d_ff": config["intermediate_size"],
        "rope_base": rope_base(config), "norm_eps": float(config["rms_norm_eps"]),
        "tied": config.get("tie_word_embeddings", False),
    }  # fmt: skip


def llama_settings(config: dict) -> LlamaSettings:
    """Tell a `LlamaConfig` in our words."""
    settings = LlamaSettings(**llama_numbers(config), n_kv_heads=config.get("num_key_value_heads") or 0)
    check_fixed(config, {"head_dim": settings.d_head}, "Llama")
    return settings


def rope_base(config: dict) -> float:
    """Read the base of the rotary speeds, in the words of today's files and of older ones; no stretched positions."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    check_fixed(rope, {"rope_type": "default", "type": "default"}, "Rotary")
    return float(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))


def deepseek_config(settings: DeepSeekSettings) -> dict:
    """Tell what the settings of our V2 and V3 share in the words of their configs."""
    if settings.q_norm:
        raise ValueError("q_norm True: theirs does not norm each head's queries")
    if not settings.n_shared:
        raise ValueError("n_shared 0: theirs has a shared expert in every mixture")
    return llama_config(settings) | {
        "head_dim": settings.qk_rope_head_dim, "num_key_value_heads": settings.n_heads,
        "q_lora_rank": settings.q_lora_rank, "kv_lora_rank": settings.kv_lora_rank,
        "qk_nope_head_dim": settings.qk_nope_head_dim, "qk_rope_head_dim": settings.qk_rope_head_dim,
        "v_head_dim": settings.v_head_dim, "first_k_dense_replace": settings.n_dense_layers,
        "moe_intermediate_size": settings.d_expert, "n_routed_experts": settings.n_experts,
        "num_experts_per_tok": settings.n_chosen, "n_shared_experts": settings.n_shared,
        "n_group": settings.n_groups, "topk_group": settings.n_limited_groups,
        "routed_scaling_factor": settings.route_scale,
    }  # fmt: skip


def v2_config(settings: DeepSeekSettings) -> dict:
    """Tell the settings of our V2 in the words of `DeepseekV2Config`."""
    method = "greedy" if settings.n_limited_groups == settings.n_groups else "group_limited_greedy"
    names = {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "topk_method": method}
    return deepseek_config(settings) | names | V2_FIXED


def v3_config(settings: DeepSeekSettings) -> dict:
    """Tell the settings of our V3 in the words of `DeepseekV3Config`."""
    names = {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3"}
    return deepseek_config(settings) | names | V3_FIXED | {"num_nextn_predict_layers": int(settings.mtp)}


def deepseek_settings(config: dict, weights: Weights) -> DeepSeekSettings:
    """Tell a `DeepseekV2Config` or `DeepseekV3Config` in our words.

    Multi-token prediction is there if its weights are: their class drops them, but not the number of such layers.
    """
    check_fixed(config, V2_FIXED if config["model_type"] == "deepseek_v2" else V3_FIXED, "DeepSeek")
    n_groups, greedy = config.get("n_group") or 1, config.get("topk_method") == "greedy"
    return DeepSeekSettings(
        **llama_numbers(config), q_lora_rank=config["q_lora_rank"], kv_lora_rank=config["kv_lora_rank"],
        qk_nope_head_dim=config["qk_nope_head_dim"], qk_rope_head_dim=config["qk_rope_head_dim"],
        v_head_dim=config["v_head_dim"], n_dense_layers=config["first_k_dense_replace"],
        d_expert=config["moe_intermediate_size"], n_experts=config["n_routed_experts"],
        n_chosen=config["num_experts_per_tok"], n_shared=config["n_shared_experts"],
        n_groups=n_groups, n_limited_groups=n_groups if greedy else config["topk_group"],
        route_scale=float(config["routed_scaling_factor"]),
        mtp=f"model.layers.{config['num_hidden_layers']}.eh_proj.weight" in weights,
    )  # fmt: skip


LLAMA_FIXED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
V2_FIXED = {"norm_topk_prob": False, "moe_layer_freq": 1}
V3_FIXED = {"norm_topk_prob": True, "moe_layer_freq": 1, "rope_interleave": True}

FORMATS = {     # by the name of our class
    "GPT2": Format(
        GPT2, gpt2_config, lambda theirs, _: gpt2_settings(theirs), lambda ours, _: gpt2_to_hf(ours),
        lambda theirs, _: gpt2_from_hf(theirs),
    ),
    "Llama": Format(Llama, llama_config, lambda theirs, _: llama_settings(theirs), llama_to_hf, llama_from_hf),
    "DeepSeekV2": Format(DeepSeekV2, v2_config, deepseek_settings, deepseek_to_hf, deepseek_from_hf),
    "DeepSeekV3": Format(DeepSeekV3, v3_config, deepseek_settings, deepseek_to_hf, deepseek_from_hf),
}
KINDS = {       # theirs -> ours
    "GPT2LMHeadModel": "GPT2", "LlamaForCausalLM": "Llama",
    "DeepseekV2ForCausalLM": "DeepSeekV2", "DeepseekV3ForCausalLM": "DeepSeekV3",
}  # fmt: skip
