"""Llama and DeepSeek in Hugging Face's words: names and shapes of weights, settings, both ways.

Three things differ in more than the name. They keep queries, keys and values apart, and each
expert; their rotary pairs in DeepSeek's latent attention are neighbours, ours are halves, as both
are in V3.2's indexer; and their multi-token
prediction is a layer after the last, which joins the embedding with the hidden vector in the other
order.
"""

import re

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.layers.position import halves_order
from course_lib.models.deepseek import DeepSeekSettings
from course_lib.models.hf_weights import rename_weights
from course_lib.models.llama import LlamaSettings

HFWeights = dict[str, Tensor]

HF_NAMES = {  # ours -> theirs; {} is the number of the layer, and of the expert
    "token_embedding": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
    "blocks.{}.norm_1": "model.layers.{}.input_layernorm",
    "blocks.{}.norm_2": "model.layers.{}.post_attention_layernorm",
    "blocks.{}.attention.out": "model.layers.{}.self_attn.o_proj",
    "blocks.{}.mlp.gate": "model.layers.{}.mlp.gate_proj",
    "blocks.{}.mlp.up": "model.layers.{}.mlp.up_proj",
    "blocks.{}.mlp.down": "model.layers.{}.mlp.down_proj",
}
LLAMA_NAMES = HF_NAMES | {
    f"blocks.{{}}.attention.{x}": f"model.layers.{{}}.self_attn.{x}_proj" for x in "qkv"
}
DEEPSEEK_NAMES = HF_NAMES | {
    "blocks.{}.attention.q_down": "model.layers.{}.self_attn.q_a_proj",
    "blocks.{}.attention.q_latent_norm": "model.layers.{}.self_attn.q_a_layernorm",
    "blocks.{}.attention.q_up": "model.layers.{}.self_attn.q_b_proj",
    "blocks.{}.attention.kv_down": "model.layers.{}.self_attn.kv_a_proj_with_mqa",
    "blocks.{}.attention.kv_latent_norm": "model.layers.{}.self_attn.kv_a_layernorm",
    "blocks.{}.attention.kv_up": "model.layers.{}.self_attn.kv_b_proj",
    "blocks.{}.attention.indexer.q_up": "model.layers.{}.self_attn.indexer.wq_b",
    "blocks.{}.attention.indexer.key": "model.layers.{}.self_attn.indexer.wk",
    "blocks.{}.attention.indexer.key_norm": "model.layers.{}.self_attn.indexer.k_norm",
    "blocks.{}.attention.indexer.head_weights": "model.layers.{}.self_attn.indexer.weights_proj",
    "blocks.{}.mlp.router": "model.layers.{}.mlp.gate",
    "blocks.{}.mlp.experts.{}.gate": "model.layers.{}.mlp.experts.{}.gate_proj",
    "blocks.{}.mlp.experts.{}.up": "model.layers.{}.mlp.experts.{}.up_proj",
    "blocks.{}.mlp.experts.{}.down": "model.layers.{}.mlp.experts.{}.down_proj",
    "blocks.{}.mlp.shared.gate": "model.layers.{}.mlp.shared_experts.gate_proj",
    "blocks.{}.mlp.shared.up": "model.layers.{}.mlp.shared_experts.up_proj",
    "blocks.{}.mlp.shared.down": "model.layers.{}.mlp.shared_experts.down_proj",
    "mtp.{}.norm_hidden": "model.layers.{}.hnorm",
    "mtp.{}.norm_embedding": "model.layers.{}.enorm",
    "mtp.{}.join": "model.layers.{}.eh_proj",
    "mtp.{}.norm": "model.layers.{}.shared_head.norm",
}
# without query compression
Q_WHOLE = {"blocks.{}.attention.q_up": "model.layers.{}.self_attn.q_proj"}
ROUTER_BIAS = "gate.e_score_correction_bias"


def llama_to_hf(weights: HFWeights, settings: LlamaSettings) -> HFWeights:
    """Rename the weights of our Llama for `LlamaForCausalLM`."""
    ours = {"head.weight": weights["token_embedding.weight"]}
    for name, tensor in weights.items():
        ours |= split_qkv(name, tensor) if name.endswith("qkv.weight") else {name: tensor}
    return {rename_weights(name, LLAMA_NAMES): tensor for name, tensor in ours.items()}


def llama_from_hf(weights: HFWeights, settings: LlamaSettings) -> HFWeights:
    """Rename the weights of a `LlamaForCausalLM` for our Llama."""
    ours = {
        rename_weights(name, inverse_names(LLAMA_NAMES)): tensor for name, tensor in weights.items()
    }
    for name in [name for name in ours if name.endswith("attention.q.weight")]:
        stem = name.removesuffix("q.weight")
        ours[f"{stem}qkv.weight"] = torch.cat([ours.pop(f"{stem}{part}.weight") for part in "qkv"])
    return without_tied_head(ours, settings)


def deepseek_to_hf(weights: HFWeights, settings: DeepSeekSettings) -> HFWeights:
    """Rename the weights of our V2, V3 or V3.2 for `DeepseekV3ForCausalLM` and its like."""
    ours = {"head.weight": weights["token_embedding.weight"]}
    for name, tensor in weights.items():
        name = re.sub(
            r"^mtp\.(block\.)?",
            lambda m: f"{'blocks' if m[1] else 'mtp'}.{settings.n_layers}.",
            name,
        )
        tensor = reorder_rotary(
            name, tensor, settings, halves_order(settings.qk_rope_head_dim).argsort()
        )
        ours |= split_experts(name, tensor) if ".experts." in name else {name: tensor}
    return {
        rename_weights(name, names_for(settings)).replace("gate.bias", ROUTER_BIAS): tensor
        for name, tensor in ours.items()
    }


def deepseek_from_hf(weights: HFWeights, settings: DeepSeekSettings) -> HFWeights:
    """Rename the weights of such a file for our V2, V3 or V3.2.

    The layer for multi-token prediction is left out unless the settings ask for it, and its copies
    of embedding and head always are.
    """
    ours, last, back = {}, f"model.layers.{settings.n_layers}.", inverse_names(names_for(settings))
    copies = (last + "embed_tokens.weight", last + "shared_head.head.weight")
    for name, tensor in weights.items():
        if name not in copies and (settings.mtp or not name.startswith(last)):
            name = rename_weights(name.replace(ROUTER_BIAS, "gate.bias"), back)
            ours[name] = reorder_rotary(
                name, tensor, settings, halves_order(settings.qk_rope_head_dim)
            )
    ours = without_tied_head(join_experts(ours, settings.n_experts), settings)
    places = {f"mtp.{settings.n_layers}.": "mtp.", f"blocks.{settings.n_layers}.": "mtp.block."}
    return {replace_start(name, places): tensor for name, tensor in ours.items()}


def split_qkv(name: str, qkv: Float[Tensor, "O C"]) -> HFWeights:
    """Cut queries, keys and values apart; all queries have as many numbers as `d_model`."""
    d_model = qkv.shape[1]
    parts = qkv.split([d_model, (len(qkv) - d_model) // 2, (len(qkv) - d_model) // 2])
    return {name.replace("qkv", part): rows for part, rows in zip("qkv", parts, strict=True)}


def split_experts(name: str, stacked: Float[Tensor, "E O I"]) -> HFWeights:
    """Cut a stack of experts into one matrix each, or two: `experts.gate_up` holds gate and up."""
    stem, _, kinds = name.rpartition(".")
    kinds = kinds.split("_")
    cut = {kind: part for kind, part in zip(kinds, stacked.chunk(len(kinds), dim=1), strict=True)}
    return {
        f"{stem}.{e}.{kind}.weight": part[e]
        for kind, part in cut.items()
        for e in range(len(stacked))
    }


def join_experts(weights: HFWeights, n_experts: int) -> HFWeights:
    """Stack the experts of each layer: the way back from `split_experts`."""
    for name in [name for name in weights if name.endswith(".experts.0.gate.weight")]:
        stem = name.removesuffix(".0.gate.weight")
        stacks = {
            kind: torch.stack([weights.pop(f"{stem}.{e}.{kind}.weight") for e in range(n_experts)])
            for kind in ("gate", "up", "down")
        }
        weights[f"{stem}.gate_up"] = torch.cat([stacks["gate"], stacks["up"]], dim=1)
        weights[f"{stem}.down"] = stacks["down"]
    return weights


def reorder_rotary(
    name: str, tensor: Tensor, settings: DeepSeekSettings, order: Int[Tensor, "Dr"]
) -> Tensor:
    """Reorder the rotary rows of queries and keys, exchange the halves of `join`; else nothing."""
    if name.endswith("join.weight"):
        return tensor.roll(settings.d_model, dims=1)
    heads = {"q_up.weight": settings.n_heads, "kv_down.weight": 1}.get(
        name.rpartition("attention.")[2]
    )
    if heads is None:
        return tensor
    rows = torch.arange(len(tensor)).view(heads, -1)
    rows[:, -len(order) :] = rows[:, -len(order) :][:, order]
    return tensor[rows.flatten()]


def names_for(settings: DeepSeekSettings) -> dict[str, str]:
    """Give our names of the weights and theirs; without a rank, queries are one matrix."""
    return DEEPSEEK_NAMES | (Q_WHOLE if settings.q_lora_rank is None else {})


def inverse_names(names: dict[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in names.items()}


def replace_start(name: str, starts: dict[str, str]) -> str:
    """Exchange the start of a name if it is one of `starts`."""
    return next(
        (new + name.removeprefix(old) for old, new in starts.items() if name.startswith(old)), name
    )


def without_tied_head(weights: HFWeights, settings: LlamaSettings) -> HFWeights:
    """Leave out the head if it is the token embedding."""
    return {
        name: tensor
        for name, tensor in weights.items()
        if name != "head.weight" or not settings.tied
    }
