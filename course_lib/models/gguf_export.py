"""A model and its tokenizer as one GGUF file, which llama.cpp and what is built on it open.

The package `gguf`, an extra of the course, knows llama.cpp's names and writes the file.
"""

import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.layers.position import halves_order
from course_lib.models.gguf_settings import GGUF_ARCHITECTURES, GGUFWords, gguf_settings
from course_lib.models.hf_deepseek import deepseek_to_hf, llama_to_hf
from course_lib.models.hf_tokenizer import check_exportable, printed_token, token_merges
from course_lib.models.hf_weights import GPT2_NAMES, rename_weights
from course_lib.text.bpe import DIGITS_PATTERN, GPT2_PATTERN, WORD_PATTERN, Tokenizer
from course_lib.text.chat import END_OF_TEXT, PAD

GGUF_DTYPES = {"f32": (torch.float32, 0), "f16": (torch.float16, 1)}  # and `general.file_type`
# How llama.cpp cuts text before it merges: it knows a list of names, no patterns. "smollm" is
# DIGITS_PATTERN. "superbpe" cuts at digits alone and lets merges find the words, which is nearest
# to WORD_PATTERN, see the book's page "Your model elsewhere".
PRE_TOKENIZERS = {GPT2_PATTERN: "gpt-2", DIGITS_PATTERN: "smollm", WORD_PATTERN: "superbpe"}
TOKEN_KINDS = {"normal": 1, "control": 3, "user defined": 4, "unused": 5}  # as numbered there
# what stays in 32 bits: llama.cpp adds these, or decides by them
WIDE_TENSORS = ("position_embd", "ffn_gate_inp", "exp_probs_b")
GGUFTensors = dict[str, Tensor]


def save_gguf(
    model: nn.Module,
    tokenizer: Tokenizer,
    path: Path | str,
    words: GGUFWords | None = None,
    dtype: str = "f32",
) -> None:
    """Write a model with its tokenizer as one file; `words` are more keys, with their full names.

    A module for multi-token prediction is left out: llama.cpp would not use it. Raises ValueError,
    before anything is written, for what llama.cpp can't hold, and ImportError that says what to
    install if the package `gguf` is missing.
    """
    if dtype not in GGUF_DTYPES:
        raise ValueError(f"dtype {dtype!r} is not {' or '.join(GGUF_DTYPES)}")
    settings = gguf_settings(model)  # refuses other kinds
    architecture = GGUF_ARCHITECTURES[type(model).__name__]
    told = {f"{architecture}.{key}": value for key, value in settings.items()}
    told |= {"general.file_type": GGUF_DTYPES[dtype][1]}
    told |= gguf_vocabulary(tokenizer, model.settings.vocab_size) | (words or {})
    package, path = import_gguf(), Path(path)
    tensors = {
        name: narrow_tensor(name, tensor, GGUF_DTYPES[dtype][0])
        for name, tensor in gguf_tensors(model, package).items()
    }
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        made = Path(folder, "model.gguf")
        write_gguf_file(package.GGUFWriter(made, architecture), told, tensors)
        os.replace(made, path)


def write_gguf_file(writer: Any, words: GGUFWords, tensors: GGUFTensors) -> None:
    """Write keys, then tensors, by the package's `GGUFWriter`."""
    for key, value in words.items():
        add_gguf_word(writer, key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def narrow_tensor(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Give the matrices the wanted type, and leave the rest in float32."""
    wide = tensor.ndim == 1 or any(part in name for part in WIDE_TENSORS)
    return tensor.to(torch.float32 if wide else dtype)


def import_gguf() -> ModuleType:
    """Import the package that writes the files."""
    try:
        import gguf  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            "GGUF files are written by the package gguf, an extra of the course: .venv/bin/python"
            " -m pip install -e '.[gguf]'"
        ) from None
    return gguf


def add_gguf_word(writer: Any, key: str, value: Any) -> None:
    """Add one key: true or false, a whole number, a number, text or a list."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


# Weights
# --------------------------------------------------------------------------------------------------


def gguf_tensors(model: nn.Module, package: ModuleType) -> GGUFTensors:
    """Rename and reshape a model's weights as llama.cpp reads them.

    A head that is the token embedding is left out, as there.
    """
    settings, kind = model.settings, type(model).__name__
    architecture = GGUF_ARCHITECTURES[kind]
    weights = {n: t.cpu() for n, t in model.state_dict().items() if not n.startswith("mtp.")}
    theirs = ARRANGE[architecture](weights, settings)
    if getattr(settings, "tied", True):
        theirs.pop("lm_head.weight", None)
    arch = next(arch for arch, name in package.MODEL_ARCH_NAMES.items() if name == architecture)
    names = package.get_tensor_name_map(arch, settings.n_layers)
    return {names.get_name(name, (".weight", ".bias")): tensor for name, tensor in theirs.items()}


def arrange_gpt2(weights: GGUFTensors, settings: Any) -> GGUFTensors:
    """Rename GPT-2's weights; its matrices stay as ours, output x input."""
    return {rename_weights(name, GPT2_NAMES): tensor for name, tensor in weights.items()}


def arrange_llama(weights: GGUFTensors, settings: Any) -> GGUFTensors:
    """Rename Llama's weights; the rotary pairs of queries and keys are neighbours there."""
    theirs = llama_to_hf(weights, settings)
    order = halves_order(settings.d_head).argsort()
    for name in [name for name in theirs if name.endswith(("q_proj.weight", "k_proj.weight"))]:
        heads = theirs[name].unflatten(0, (-1, settings.d_head))
        theirs[name] = heads[:, order].flatten(0, 1)
    return theirs


def arrange_deepseek(weights: GGUFTensors, settings: Any) -> GGUFTensors:
    """Rename the weights of V2 and V3: experts stacked, keys and values from the latent apart.

    The part that makes keys is transposed, head by head, since llama.cpp brings queries down to the
    latent, see `absorbed_attention`.
    """
    theirs: GGUFTensors = {}
    widths = [settings.qk_nope_head_dim, settings.v_head_dim]
    stacks: dict[str, list[Tensor]] = {}
    for name, tensor in deepseek_to_hf(weights, settings).items():
        if name.endswith("kv_b_proj.weight"):
            up_k, up_v = tensor.unflatten(0, (settings.n_heads, -1)).split(widths, dim=1)
            theirs[name.replace("kv_b_proj", "k_b_proj")] = up_k.mT
            theirs[name.replace("kv_b_proj", "v_b_proj")] = up_v
        elif ".experts." in name:  # in the order of their numbers
            stem, _, rest = name.partition(".experts.")
            stacks.setdefault(f"{stem}.experts.{rest.partition('.')[2]}", []).append(tensor)
        else:
            theirs[name.replace("e_score_correction_bias", "e_score_correction.bias")] = tensor
    return theirs | {name: torch.stack(matrices) for name, matrices in stacks.items()}


ARRANGE = {"gpt2": arrange_gpt2, "llama": arrange_llama, "deepseek2": arrange_deepseek}


# The vocabulary
# --------------------------------------------------------------------------------------------------


def gguf_vocabulary(tokenizer: Tokenizer, vocab_size: int) -> GGUFWords:
    """Tell the tokenizer as byte-level BPE in llama.cpp's words, with rows for `vocab_size` ids.

    Its ids of a text are ours only where its way to cut text agrees, see `PRE_TOKENIZERS`. Raises
    ValueError for a pattern that has no name there, and for a model with fewer ids than tokens.
    """
    check_exportable(tokenizer)
    if tokenizer.pattern not in PRE_TOKENIZERS:
        raise ValueError(f"llama.cpp has no name for the pattern {tokenizer.pattern!r}")
    if vocab_size < tokenizer.n_vocab:
        raise ValueError(
            f"vocab_size {vocab_size} of the model is below the tokenizer's {tokenizer.n_vocab}"
            " tokens"
        )
    tokens = sorted(tokenizer.ranks, key=tokenizer.ranks.get)
    special = sorted(tokenizer.special_tokens, key=tokenizer.special_tokens.get)
    n_more = vocab_size - tokenizer.n_vocab
    end, pad = (tokenizer.special_tokens[name] for name in (END_OF_TEXT, PAD))
    kinds = ["normal"] * len(tokens)
    kinds += ["control" if name in (END_OF_TEXT, PAD) else "user defined" for name in special]
    kinds += ["unused"] * n_more
    words = {
        "model": "gpt2",
        "pre": PRE_TOKENIZERS[tokenizer.pattern],
        "tokens": [*map(printed_token, tokens), *special, *(f"[{i}]" for i in range(n_more))],
        "token_type": [TOKEN_KINDS[kind] for kind in kinds],
        "merges": [" ".join(pair) for pair in token_merges(tokenizer)],
        "bos_token_id": end, "eos_token_id": end, "padding_token_id": pad,
        "add_bos_token": True,
        "add_space_prefix": False,
    }  # fmt: skip
    return {f"tokenizer.ggml.{key}": value for key, value in words.items()}
