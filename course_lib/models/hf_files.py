"""A model as a folder that Hugging Face's transformers opens, and back: settings and weights."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from course_lib.files import write_atomically
from course_lib.models.albert import ALBERT
from course_lib.models.bert import BERT, BERTEncoder
from course_lib.models.ctrl import CTRL
from course_lib.models.deepseek import DeepSeekV2, DeepSeekV3, DeepSeekV32
from course_lib.models.deepseek_v4 import DeepSeekV4
from course_lib.models.distilbert import DistilBERT
from course_lib.models.gpt2 import GPT2
from course_lib.models.hf_config import (
    deepseek_settings,
    gpt2_config,
    gpt2_settings,
    llama_config,
    llama_settings,
    v2_config,
    v3_config,
    v32_config,
)
from course_lib.models.hf_deepseek import (
    deepseek_from_hf,
    deepseek_to_hf,
    llama_from_hf,
    llama_to_hf,
)
from course_lib.models.hf_deepseek_v4 import (
    V4_COPIES,
    respell_v4,
    v4_config,
    v4_from_hf,
    v4_settings,
    v4_to_hf,
)
from course_lib.models.hf_family import (
    BERT_COPIES,
    HF_ALBERT,
    HF_CTRL,
    HF_DISTILBERT,
    HF_ROBERTA,
    HF_XLNET,
    FamilyNames,
    bert_from_hf,
    bert_to_hf,
    encoder_from_hf,
    encoder_to_hf,
)
from course_lib.models.hf_family_config import (
    albert_config,
    albert_settings,
    bert_config,
    bert_encoder_config,
    bert_settings,
    ctrl_config,
    ctrl_settings,
    distilbert_config,
    distilbert_settings,
    roberta_config,
    roberta_settings,
    xlnet_config,
    xlnet_settings,
)
from course_lib.models.hf_weights import gpt2_from_hf, gpt2_to_hf, without_old_buffers
from course_lib.models.llama import Llama
from course_lib.models.roberta import RoBERTa
from course_lib.models.xlnet import XLNet

HFWeightsByName = dict[str, Tensor]
# 8 bits mean nothing without their scales
HF_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# what a weight that stands in two places is called: copy -> the one that is stored
LLAMA_COPIES = {"lm_head.weight": "model.embed_tokens.weight"}
GPT2_COPIES = {"lm_head.weight": "wte.weight"}
HF_PREFIX = re.compile(r"^(transformer|bert|roberta|albert|distilbert)\.")


class HFFormat(NamedTuple):
    """How one kind of model is told in Hugging Face's words, settings and weights."""

    build: Callable[[Any], nn.Module]  # our settings -> model
    config: Callable[[Any], dict]  # our settings -> theirs
    settings: Callable[[dict, HFWeightsByName], Any]  # their settings and weights -> our settings
    # our weights and settings -> their weights
    to_hf: Callable[[HFWeightsByName, Any], HFWeightsByName]
    # their weights, our settings -> our weights
    from_hf: Callable[[HFWeightsByName, Any], HFWeightsByName]
    copies: dict[str, str] = LLAMA_COPIES
    # names in a file -> the names that `to_hf` writes
    respell: Callable[[HFWeightsByName], HFWeightsByName] = lambda weights: weights


def save_hf(model: nn.Module, folder: Path | str) -> None:
    """Write a model so that `AutoModelForCausalLM.from_pretrained(folder)` opens it.

    For an encoder it is `AutoModelForPreTraining`, for one without heads `AutoModel`. It gives the
    same logits there. A table that serves both ends of the model is stored once, as
    `save_pretrained` does. A module for multi-token prediction is written as in the release, as one
    more layer, which theirs does not load. Raises ValueError, before anything is written, for a
    kind of model that has no format here, or settings that theirs can't run.
    """
    if type(model).__name__ not in HF_FORMATS:
        raise ValueError(
            f"no format is known for a {type(model).__name__}; known are {', '.join(HF_FORMATS)}"
        )
    folder, known = Path(folder), HF_FORMATS[type(model).__name__]
    config, weights = known.config(model.settings), known.to_hf(model.state_dict(), model.settings)
    if config["tie_word_embeddings"]:
        weights = {name: tensor for name, tensor in weights.items() if name not in known.copies}
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(
        folder / "model.safetensors", safetensors.torch.save(weights, metadata={"format": "pt"})
    )
    write_atomically(folder / "config.json", json.dumps(config, indent=2).encode())


def load_hf(folder: Path | str) -> nn.Module:
    """Read what `save_hf` or `save_pretrained` wrote, in one file or several.

    The model is in float32. Constant tables that older versions stored beside the weights are left
    out. Raises ValueError for a kind of model that the course does not have, for settings that ours
    lacks, and for files that are damaged or do not fit each other; FileNotFoundError if there are
    none.
    """
    folder = Path(folder)
    config = read_json_table(folder / "config.json")
    known = HF_FORMATS[kind_in(config, folder)]
    weights = known.respell(plain_names(without_old_buffers(read_weights(folder))))
    settings = known.settings(config, weights)
    tied = getattr(settings, "tied", True)  # GPT-2's always are
    with torch.device("meta"):  # shapes without memory
        expected = plain_names(known.to_hf(known.build(settings).state_dict(), settings))
    check_weights(weights, expected, known.copies if tied else {}, folder)
    if tied:
        check_copies(weights, known.copies, folder)
    model = known.build(settings)
    model.load_state_dict(known.from_hf(weights, settings))
    return model


def kind_in(config: dict, folder: Path) -> str:
    """Tell the name of our class; a ValueError names theirs if there is none, or two."""
    names = [*(config.get("architectures") or []), config.get("model_type")]
    names = [str(name) for name in names if name]
    unknown = [name for name in names if name not in HF_KINDS]
    if unknown or not names:
        raise ValueError(
            f"{folder} holds a {(unknown or [None])[0]}; known are {', '.join(HF_KINDS)}"
        )
    if len({HF_BODIES.get(HF_KINDS[name], HF_KINDS[name]) for name in names}) > 1:
        raise ValueError(f"{folder} holds a {' and a '.join(names)}, which are not one model")
    return HF_KINDS[names[0]]


def read_json_table(path: Path) -> dict:
    """Read a JSON file of words and values; a ValueError names the file if it is none."""
    try:
        table = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(table, dict):
        raise ValueError(f"{path} is damaged: it holds a {type(table).__name__}, not words")
    return table


def read_weights(folder: Path) -> HFWeightsByName:
    """Read all weights: model.safetensors, else the shards that model.safetensors.index.json names.

    Raises ValueError with the name of a shard that is missing, damaged, or does not hold what the
    index says.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists() or not index.exists():
        return read_safetensors(folder / "model.safetensors")
    places, shards = read_json_table(index).get("weight_map"), defaultdict(set)
    shard_names = places.values() if isinstance(places, dict) else [None]
    if not all(Path(str(shard)).name == shard for shard in shard_names):  # no path leads out
        raise ValueError(f"{index} is damaged: its weight_map must give each weight a file here")
    for name, shard in places.items():
        shards[shard].add(name)
    weights: HFWeightsByName = {}
    for shard in sorted(shards):
        weights |= read_shard(folder, shard, shards[shard])
    return weights


def read_shard(folder: Path, shard: str, names: set[str]) -> HFWeightsByName:
    """Read one of several files, which must hold just the weights that the index says."""
    if not (folder / shard).exists():
        raise ValueError(f"{folder / shard} is missing: model.safetensors.index.json names it")
    weights = read_safetensors(folder / shard)
    if differ := weights.keys() ^ names:
        raise ValueError(f"{folder / shard} and its index differ in {first_few(differ)}")
    return weights


def read_safetensors(path: Path) -> HFWeightsByName:
    """Read a file of weights; a ValueError names it if it is damaged."""
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def check_weights(
    weights: HFWeightsByName, expected: HFWeightsByName, may_lack: Iterable[str], folder: Path
) -> None:
    """Raise a ValueError that names weights that are missing, unknown or not as expected."""
    missing = expected.keys() - weights.keys() - set(may_lack)
    unknown = weights.keys() - expected.keys()
    if missing or unknown:
        what = "lacks" if missing else "holds the unknown"
        raise ValueError(f"{folder} {what} {first_few(missing or unknown)}: config.json says so")
    for name, tensor in weights.items():
        if (got := tuple(tensor.shape)) != (want := tuple(expected[name].shape)):
            raise ValueError(f"{name} has the shape {got} in {folder}, but config.json says {want}")
        if tensor.dtype not in (*HF_DTYPES, expected[name].dtype):
            raise ValueError(
                f"{name} is stored as {tensor.dtype} in {folder}; known are {HF_DTYPES}"
            )


def check_copies(weights: HFWeightsByName, copies: dict[str, str], folder: Path) -> None:
    """Raise a ValueError if a head that should be the token embedding is another table."""
    for copy in copies.keys() & weights.keys():
        if not torch.equal(weights[copy], weights[copies[copy]]):
            raise ValueError(f"{folder} ties head and embedding, but {copy} is another table")


def first_few(names: Iterable[str]) -> str:
    """Name at most three of them."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def plain_names(weights: HFWeightsByName) -> HFWeightsByName:
    """Leave out the prefix that GPT-2's first files did not have, and BERT's first names of norms.

    >>> list(plain_names({"bert.embeddings.LayerNorm.gamma": torch.ones(1)}))
    ['embeddings.LayerNorm.weight']
    """
    plain = {HF_PREFIX.sub("", name): tensor for name, tensor in weights.items()}
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        plain = {
            name.removesuffix(old) + new if name.endswith(old) else name: tensor
            for name, tensor in plain.items()
        }
    return plain


def family_format(
    build: type, config: Callable, settings: Callable, names: FamilyNames
) -> HFFormat:
    """Make the format of a model of BERT's family, whose settings do not ask the weights."""
    return HFFormat(
        build, config, lambda theirs, _: settings(theirs), names.to_hf, names.from_hf, names.copies
    )


HF_FORMATS = {  # by the name of our class
    "GPT2": HFFormat(
        GPT2,
        gpt2_config,
        lambda theirs, _: gpt2_settings(theirs),
        lambda ours, _: gpt2_to_hf(ours),
        lambda theirs, _: gpt2_from_hf(theirs),
        GPT2_COPIES,
    ),
    "Llama": HFFormat(
        Llama, llama_config, lambda theirs, _: llama_settings(theirs), llama_to_hf, llama_from_hf
    ),
    "DeepSeekV2": HFFormat(
        DeepSeekV2, v2_config, deepseek_settings, deepseek_to_hf, deepseek_from_hf
    ),
    "DeepSeekV3": HFFormat(
        DeepSeekV3, v3_config, deepseek_settings, deepseek_to_hf, deepseek_from_hf
    ),
    "DeepSeekV32": HFFormat(
        DeepSeekV32, v32_config, deepseek_settings, deepseek_to_hf, deepseek_from_hf
    ),
    "DeepSeekV4": HFFormat(
        DeepSeekV4, v4_config, v4_settings, v4_to_hf, v4_from_hf, V4_COPIES, respell_v4
    ),
    "BERT": HFFormat(BERT, bert_config, bert_settings, bert_to_hf, bert_from_hf, BERT_COPIES),
    "BERTEncoder": HFFormat(
        BERTEncoder, bert_encoder_config, bert_settings, encoder_to_hf, encoder_from_hf, {}
    ),
    "RoBERTa": family_format(RoBERTa, roberta_config, roberta_settings, HF_ROBERTA),
    "DistilBERT": family_format(DistilBERT, distilbert_config, distilbert_settings, HF_DISTILBERT),
    "ALBERT": family_format(ALBERT, albert_config, albert_settings, HF_ALBERT),
    "XLNet": family_format(XLNet, xlnet_config, xlnet_settings, HF_XLNET),
    "CTRL": family_format(CTRL, ctrl_config, ctrl_settings, HF_CTRL),
}
HF_KINDS = {       # their class, and their word for the model -> our class
    "GPT2LMHeadModel": "GPT2", "LlamaForCausalLM": "Llama",
    "DeepseekV2ForCausalLM": "DeepSeekV2", "DeepseekV3ForCausalLM": "DeepSeekV3",
    "DeepseekV32ForCausalLM": "DeepSeekV32", "deepseek_v32": "DeepSeekV32",
    "DeepseekV4ForCausalLM": "DeepSeekV4", "deepseek_v4": "DeepSeekV4",
    "gpt2": "GPT2", "llama": "Llama", "deepseek_v2": "DeepSeekV2", "deepseek_v3": "DeepSeekV3",
    "BertForPreTraining": "BERT", "BertForMaskedLM": "BERT", "BertModel": "BERTEncoder",
    "bert": "BERT", "MegatronBertForPreTraining": "BERT", "MegatronBertForMaskedLM": "BERT",
    "MegatronBertModel": "BERTEncoder", "megatron-bert": "BERT",
    "RobertaForMaskedLM": "RoBERTa", "roberta": "RoBERTa",
    "DistilBertForMaskedLM": "DistilBERT", "distilbert": "DistilBERT",
    "AlbertForPreTraining": "ALBERT", "albert": "ALBERT",
    "XLNetLMHeadModel": "XLNet", "xlnet": "XLNet", "CTRLLMHeadModel": "CTRL", "ctrl": "CTRL",
}  # fmt: skip
# One word for the model with heads and without: the name of the class tells which.
HF_BODIES = {"BERTEncoder": "BERT"}
