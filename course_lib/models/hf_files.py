"""A model as a folder that Hugging Face's transformers opens, and back: config.json and model.safetensors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from torch import Tensor, nn

from course_lib.files import write_atomically
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_weights import gpt2_from_hf, gpt2_to_hf


class Format(NamedTuple):
    """How one kind of model is told in Hugging Face's words. Their settings are a dictionary, their weights too."""

    build: Callable[[Any], nn.Module]                               # our settings -> model
    config: Callable[[Any], dict]                                   # our settings -> theirs
    settings: Callable[[dict], Any]                                 # their settings -> ours
    to_hf: Callable[[dict[str, Tensor]], dict[str, Tensor]]         # our weights -> theirs
    from_hf: Callable[[dict[str, Tensor]], dict[str, Tensor]]       # their weights -> ours


def save_hf(model: nn.Module, folder: Path | str) -> None:
    """Write a model so that `AutoModelForCausalLM.from_pretrained(folder)` opens it.

    A table that serves both ends of the model is stored once, as `save_pretrained` does. Raises ValueError for a kind
    of model that has no format here.
    """
    if type(model).__name__ not in FORMATS:
        raise ValueError(f"no format is known for a {type(model).__name__}; known are {', '.join(FORMATS)}")
    folder, known = Path(folder), FORMATS[type(model).__name__]
    config, weights = known.config(model.settings), known.to_hf(model.state_dict())
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
    known = FORMATS[KINDS[kind]]
    model = known.build(known.settings(config))
    model.load_state_dict(known.from_hf(safetensors.torch.load_file(Path(folder) / "model.safetensors")))
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
    for name, ours in GPT2_FIXED.items():
        if config.get(name, ours) != ours:
            raise ValueError(f"{name} is {config[name]!r} there; our GPT2 knows {ours!r} alone")
    return GPT2Settings(
        vocab_size=config["vocab_size"], max_seq_len=config["n_positions"], d_model=config["n_embd"],
        n_layers=config["n_layer"], n_heads=config["n_head"], d_ff=config.get("n_inner") or 0,
    )  # fmt: skip


# What is a setting there and the same in all our GPT-2s. The rest of their words says nothing about the logits.
GPT2_FIXED = {
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
    "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
}  # fmt: skip

FORMATS = {"GPT2": Format(GPT2, gpt2_config, gpt2_settings, gpt2_to_hf, gpt2_from_hf)}      # by the name of our class
KINDS = {"GPT2LMHeadModel": "GPT2"}                                                         # theirs -> ours
