"""Our names for a model's weights and Hugging Face's, translated both ways."""

import re

from torch import Tensor

GPT2_NAMES = {  # ours -> theirs, inside `transformer.`; {} is the number of the layer
    "token_embedding": "wte",
    "position_embedding": "wpe",
    "norm": "ln_f",
    "blocks.{}.norm_1": "h.{}.ln_1",
    "blocks.{}.norm_2": "h.{}.ln_2",
    "blocks.{}.attention.qkv": "h.{}.attn.c_attn",
    "blocks.{}.attention.out": "h.{}.attn.c_proj",
    "blocks.{}.mlp.up": "h.{}.mlp.c_fc",
    "blocks.{}.mlp.down": "h.{}.mlp.c_proj",
}

# Causal masks, rotary speeds, numbers of places: constants, which older versions of transformers
# stored. And the copies of embedding and head that DeepSeek-V3's release holds in its layer for
# multi-token prediction.
OLD_BUFFERS = re.compile(
    r"(^|\.)(attn\.(masked_)?bias|rotary_emb\.inv_freq|position_ids)$"
    r"|^model\.layers\.\d+\.(embed_tokens|shared_head\.head)\.weight$"
)


def without_old_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the constants and copies that files hold beside the weights."""
    return {name: tensor for name, tensor in weights.items() if not OLD_BUFFERS.search(name)}


def gpt2_to_hf(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of our GPT2 for `GPT2LMHeadModel`, whose matrices are transposed."""
    theirs = {"lm_head.weight": state["token_embedding.weight"]}
    for name, tensor in state.items():
        theirs["transformer." + rename_weights(name, GPT2_NAMES)] = transpose_linear(name, tensor)
    return theirs


def gpt2_from_hf(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a `GPT2LMHeadModel` for our GPT2.

    Left out are the head, which is the token embedding, and the triangles of the causal mask that
    old files hold.
    """
    back = {theirs: ours for ours, theirs in GPT2_NAMES.items()}
    weights = [name for name in without_old_buffers(state) if name != "lm_head.weight"]
    names = {name: rename_weights(name.removeprefix("transformer."), back) for name in weights}
    return {ours: transpose_linear(ours, state[theirs]) for theirs, ours in names.items()}


def transpose_linear(our_name: str, tensor: Tensor) -> Tensor:
    """Transpose the matrices of a layer (theirs are stored as input x output), and nothing else."""
    return tensor.T.contiguous() if "blocks" in our_name and tensor.ndim == 2 else tensor


def rename_weights(name: str, table: dict[str, str]) -> str:
    """Translate one parameter's name, `module.weight` or `module.bias`.

    >>> rename_weights("blocks.3.mlp.up.bias", GPT2_NAMES)
    'h.3.mlp.c_fc.bias'
    """
    module, _, kind = name.rpartition(".")
    number = r"\b\d+\b"  # of a layer, not the 1 of norm_1
    pattern = re.sub(number, "{}", module)
    if pattern not in table:
        raise ValueError(f"no other name is known for the weight {name!r}")
    return f"{table[pattern].format(*re.findall(number, module))}.{kind}"
