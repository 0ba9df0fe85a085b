"""The settings of BERT's family in the words of Hugging Face's config.json, both ways.

The rules are those of `hf_config`: each word is read, idle, or fixed, else refused by name.
"""

from typing import Any

from torch import Tensor

from course_lib.models.albert import ALBERTSettings
from course_lib.models.bert import BERTSettings
from course_lib.models.ctrl import CTRL_NORM_EPS, CTRLSettings
from course_lib.models.distilbert import DistilBERTSettings
from course_lib.models.hf_config import (
    ANY_FIXED,
    GPT2_SIZES,
    GPT2_SPELLINGS,
    check_config_words,
    check_derived_size,
    optional_size,
    read_number,
    read_sizes,
    respell_config,
    told_in,
    write_sizes,
)
from course_lib.models.roberta import RoBERTaSettings
from course_lib.models.settings_check import as_whole_number
from course_lib.models.xlnet import XLNetSettings

BERT_SIZES = {
    "vocab_size": "vocab_size", "max_position_embeddings": "max_seq_len", "hidden_size": "d_model",
    "intermediate_size": "d_ff", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
    "type_vocab_size": "n_segments",
}  # fmt: skip
DISTILBERT_SIZES = {
    "vocab_size": "vocab_size", "max_position_embeddings": "max_seq_len", "dim": "d_model",
    "hidden_dim": "d_ff", "n_layers": "n_layers", "n_heads": "n_heads",
}  # fmt: skip
ALBERT_SIZES = BERT_SIZES | {
    "embedding_size": "d_embedding", "num_hidden_groups": "n_hidden_groups",
    "inner_group_num": "n_inner",
}  # fmt: skip
CTRL_SIZES = GPT2_SIZES | {"dff": "d_ff"}
XLNET_SIZES = {
    "vocab_size": "vocab_size", "d_model": "d_model", "n_layer": "n_layers", "n_head": "n_heads",
    "d_inner": "d_ff",
}  # fmt: skip
XLNET_SPELLINGS = {
    "n_token": "vocab_size", "hidden_size": "d_model", "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}  # fmt: skip
DISTILBERT_SPELLINGS = {
    "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
}  # fmt: skip

# Values that give our logits, ours to write first.
FAMILY_FIXED = ANY_FIXED | {
    "tie_word_embeddings": (True,), "tie_weights_": (True,), "is_decoder": (False,),
    "add_cross_attention": (False,), "position_embedding_type": ("absolute",),
}  # fmt: skip
BERT_FIXED = FAMILY_FIXED | {"hidden_act": ("gelu",)}
DISTILBERT_FIXED = FAMILY_FIXED | {"activation": ("gelu",)}
ALBERT_ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh", "gelu")
ALBERT_FIXED = FAMILY_FIXED | {"hidden_act": ALBERT_ACTIVATIONS, "net_structure_type": (0,)}
CTRL_FIXED = FAMILY_FIXED | {"layer_norm_epsilon": (CTRL_NORM_EPS,)}
XLNET_FIXED = FAMILY_FIXED | {
    "ff_activation": ("gelu",), "attn_type": ("bi",), "bi_data": (False,), "clamp_len": (-1,),
    "same_length": (False,), "reuse_len": (None, 0), "untie_r": (True,),
}  # fmt: skip

# Dropout, and what other heads than those of pre-training want. A sinusoidal table of places is
# stored as any other.
FAMILY_IDLE = frozenset(
    """
    hidden_dropout_prob attention_probs_dropout_prob classifier_dropout classifier_dropout_prob
    dropout qa_dropout seq_classif_dropout sinusoidal_pos_embds down_scale_factor gap_size
    num_memory_blocks use_mems_eval use_mems_train use_mems summary_last_dropout start_n_top
    end_n_top
""".split()
)
DISTILBERT_EPS = 1e-12


def family_settings(
    config: dict, sizes: dict[str, str], fixed: dict[str, tuple], model: str, *read: str
) -> dict:
    """Read the sizes and the padding token, once every word is known."""
    check_config_words(config, {*sizes, *read, "pad_token_id", *FAMILY_IDLE}, fixed, model)
    pad = as_whole_number("pad_token_id", told_in(config, "pad_token_id"), least=0)
    return read_sizes(config, sizes) | {"pad_token": pad}


def family_config(settings: Any, sizes: dict[str, str], names: tuple[str, str]) -> dict:
    """Tell the sizes and what all models of the family share; `names` are class and model type."""
    return {
        "architectures": [names[0]], "model_type": names[1], "dtype": "float32",
        **write_sizes(settings, sizes), "pad_token_id": settings.pad_token,
        "bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": True,
    }  # fmt: skip


def bert_config(settings: BERTSettings, body: str = "") -> dict:
    """Tell the settings of our BERT in the words of `BertConfig`, or of Megatron's.

    `body="Model"` means theirs without heads. Raises ValueError where theirs would not run.
    """
    if not settings.n_segments:
        raise ValueError("n_segments 0: theirs has a table of segments")
    if body and not settings.nsp:
        raise ValueError(f"nsp {settings.nsp}: theirs without heads has a pooler")
    part = body or ("ForPreTraining" if settings.nsp else "ForMaskedLM")
    kind = ("MegatronBert", "megatron-bert") if settings.pre_norm else ("Bert", "bert")
    return family_config(settings, BERT_SIZES, (kind[0] + part, kind[1])) | {
        "hidden_act": "gelu", "layer_norm_eps": settings.norm_eps,
    }  # fmt: skip


def bert_encoder_config(settings: BERTSettings) -> dict:
    """Tell the settings of our BERTEncoder in the words of `BertConfig`."""
    return bert_config(settings, "Model")


def bert_settings(config: dict, weights: dict[str, Tensor]) -> BERTSettings:
    """Tell a `BertConfig` in our words; whether there is a pooler, the weights say.

    Raises ValueError for words or values that ours lacks.
    """
    numbers = family_settings(config, BERT_SIZES, BERT_FIXED, "BERT", "layer_norm_eps")
    return BERTSettings(
        **numbers,
        norm_eps=read_number(config, "layer_norm_eps"),
        nsp="pooler.dense.weight" in weights,
        pre_norm=config.get("model_type") == "megatron-bert",
    )


def roberta_config(settings: RoBERTaSettings) -> dict:
    """Tell the settings of our RoBERTa in the words of `RobertaConfig`."""
    if not settings.n_segments:
        raise ValueError("n_segments 0: theirs has a table of segments")
    return family_config(settings, BERT_SIZES, ("RobertaForMaskedLM", "roberta")) | {
        "max_position_embeddings": settings.n_positions,
        "hidden_act": "gelu", "layer_norm_eps": settings.norm_eps,
    }  # fmt: skip


def roberta_settings(config: dict) -> RoBERTaSettings:
    """Tell a `RobertaConfig` in our words. Raises ValueError for what ours lacks."""
    numbers = family_settings(config, BERT_SIZES, BERT_FIXED, "RoBERTa", "layer_norm_eps")
    numbers["max_seq_len"] -= numbers["pad_token"] + 1
    return RoBERTaSettings(**numbers, norm_eps=read_number(config, "layer_norm_eps"))


def distilbert_config(settings: DistilBERTSettings) -> dict:
    """Tell the settings of our DistilBERT in the words of `DistilBertConfig`."""
    if settings.norm_eps != DISTILBERT_EPS:
        raise ValueError(f"norm_eps {settings.norm_eps}: theirs knows {DISTILBERT_EPS} alone")
    names = ("DistilBertForMaskedLM", "distilbert")
    return family_config(settings, DISTILBERT_SIZES, names) | {"activation": "gelu"}


def distilbert_settings(config: dict) -> DistilBERTSettings:
    """Tell a `DistilBertConfig` in our words. Raises ValueError for what ours lacks."""
    config = respell_config(config, DISTILBERT_SPELLINGS)
    numbers = family_settings(config, DISTILBERT_SIZES, DISTILBERT_FIXED, "DistilBERT")
    return DistilBERTSettings(**numbers, norm_eps=DISTILBERT_EPS)


def albert_config(settings: ALBERTSettings) -> dict:
    """Tell the settings of our ALBERT in the words of `AlbertConfig`."""
    if not settings.n_segments:
        raise ValueError("n_segments 0: theirs has a table of segments")
    return family_config(settings, ALBERT_SIZES, ("AlbertForPreTraining", "albert")) | {
        "hidden_act": "gelu" if settings.exact_gelu else "gelu_new",
        "layer_norm_eps": settings.norm_eps,
    }  # fmt: skip


def albert_settings(config: dict) -> ALBERTSettings:
    """Tell an `AlbertConfig` in our words. Raises ValueError for what ours lacks."""
    numbers = family_settings(
        config, ALBERT_SIZES, ALBERT_FIXED, "ALBERT", "layer_norm_eps", "hidden_act"
    )
    return ALBERTSettings(
        **numbers,
        norm_eps=read_number(config, "layer_norm_eps"),
        exact_gelu=told_in(config, "hidden_act") == "gelu",
    )


def ctrl_config(settings: CTRLSettings) -> dict:
    """Tell the settings of our CTRL in the words of `CTRLConfig`."""
    return {
        "architectures": ["CTRLLMHeadModel"], "model_type": "ctrl", "dtype": "float32",
        **write_sizes(settings, CTRL_SIZES), "layer_norm_epsilon": CTRL_NORM_EPS,
        "tie_word_embeddings": True,
    }  # fmt: skip


def ctrl_settings(config: dict) -> CTRLSettings:
    """Tell a `CTRLConfig` in our words. Raises ValueError for what ours lacks."""
    config = respell_config(config, GPT2_SPELLINGS)
    check_config_words(config, {*CTRL_SIZES, *FAMILY_IDLE}, CTRL_FIXED, "CTRL")
    return CTRLSettings(**read_sizes(config, CTRL_SIZES))


def xlnet_config(settings: XLNetSettings) -> dict:
    """Tell the settings of our XLNet in the words of `XLNetConfig`."""
    return {
        "architectures": ["XLNetLMHeadModel"], "model_type": "xlnet", "dtype": "float32",
        **write_sizes(settings, XLNET_SIZES), "d_head": settings.d_model // settings.n_heads,
        "layer_norm_eps": settings.norm_eps, "mem_len": settings.memory_length,
        "ff_activation": "gelu", "attn_type": "bi", "bi_data": False, "clamp_len": -1,
        "same_length": False, "reuse_len": None, "tie_word_embeddings": True,
    }  # fmt: skip


def xlnet_settings(config: dict) -> XLNetSettings:
    """Tell an `XLNetConfig` in our words. Raises ValueError for what ours lacks."""
    config = respell_config(config, XLNET_SPELLINGS)
    read = {*XLNET_SIZES, "d_head", "layer_norm_eps", "mem_len"}
    check_config_words(config, {*read, *FAMILY_IDLE}, XLNET_FIXED, "XLNet")
    settings = XLNetSettings(
        **read_sizes(config, XLNET_SIZES),
        norm_eps=read_number(config, "layer_norm_eps"),
        memory_length=optional_size(config, "mem_len"),
    )
    check_derived_size(config, "d_head", settings.d_model // settings.n_heads, "XLNet")
    return settings
