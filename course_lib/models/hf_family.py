"""BERT's family in Hugging Face's words: names and shapes of weights, both ways.

They keep queries, keys and values apart. Weights that are stored once but stand in two places
there (`..._COPIES`: copy -> original) are written out for both.
"""

import re
from typing import Any

import torch
from torch import Tensor

from course_lib.models.bert import BERTSettings
from course_lib.models.xlnet import XLNetSettings

NamedWeights = dict[str, Tensor]

BERT_EMBEDDING_NAMES = {  # ours -> theirs, without their prefix; {} is the number of the layer
    "embedding.token": "embeddings.word_embeddings",
    "embedding.position": "embeddings.position_embeddings",
    "embedding.segment": "embeddings.token_type_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
}
BERT_NAMES = BERT_EMBEDDING_NAMES | {
    "blocks.{}.attention.q": "encoder.layer.{}.attention.self.query",
    "blocks.{}.attention.k": "encoder.layer.{}.attention.self.key",
    "blocks.{}.attention.v": "encoder.layer.{}.attention.self.value",
    "blocks.{}.attention.out": "encoder.layer.{}.attention.output.dense",
    "blocks.{}.norm_1": "encoder.layer.{}.attention.output.LayerNorm",
    "blocks.{}.mlp.up": "encoder.layer.{}.intermediate.dense",
    "blocks.{}.mlp.down": "encoder.layer.{}.output.dense",
    "blocks.{}.norm_2": "encoder.layer.{}.output.LayerNorm",
    "pooler.dense": "pooler.dense",
    "mlm_head.dense": "cls.predictions.transform.dense",
    "mlm_head.norm": "cls.predictions.transform.LayerNorm",
    "mlm_head": "cls.predictions",
    "nsp_head": "cls.seq_relationship",
}
MEGATRON_NAMES = BERT_NAMES | {
    "blocks.{}.norm_1": "encoder.layer.{}.attention.ln",
    "blocks.{}.norm_2": "encoder.layer.{}.ln",
    "norm": "encoder.ln",
}
ROBERTA_NAMES = BERT_NAMES | {
    "mlm_head.dense": "lm_head.dense",
    "mlm_head.norm": "lm_head.layer_norm",
    "mlm_head": "lm_head",
}
DISTILBERT_NAMES = BERT_EMBEDDING_NAMES | {
    "blocks.{}.attention.q": "transformer.layer.{}.attention.q_lin",
    "blocks.{}.attention.k": "transformer.layer.{}.attention.k_lin",
    "blocks.{}.attention.v": "transformer.layer.{}.attention.v_lin",
    "blocks.{}.attention.out": "transformer.layer.{}.attention.out_lin",
    "blocks.{}.norm_1": "transformer.layer.{}.sa_layer_norm",
    "blocks.{}.mlp.up": "transformer.layer.{}.ffn.lin1",
    "blocks.{}.mlp.down": "transformer.layer.{}.ffn.lin2",
    "blocks.{}.norm_2": "transformer.layer.{}.output_layer_norm",
    "mlm_head.dense": "vocab_transform",
    "mlm_head.norm": "vocab_layer_norm",
    "mlm_head": "vocab_projector",
}
ALBERT_NAMES = BERT_EMBEDDING_NAMES | {
    "widen": "encoder.embedding_hidden_mapping_in",
    **{
        f"groups.{{}}.{{}}.{ours}": f"encoder.albert_layer_groups.{{}}.albert_layers.{{}}.{theirs}"
        for ours, theirs in {
            "attention.q": "attention.query",
            "attention.k": "attention.key",
            "attention.v": "attention.value",
            "attention.out": "attention.dense",
            "norm_1": "attention.LayerNorm",
            "mlp.up": "ffn",
            "mlp.down": "ffn_output",
            "norm_2": "full_layer_layer_norm",
        }.items()
    },
    "pooler.dense": "pooler",
    "mlm_head.dense": "predictions.dense",
    "mlm_head.norm": "predictions.LayerNorm",
    "mlm_head": "predictions",
    "sop_head": "sop_classifier.classifier",
}
CTRL_NAMES = {
    "token_embedding": "w",
    "norm": "layernorm",
    "blocks.{}.norm_1": "h.{}.layernorm1",
    "blocks.{}.attention.q": "h.{}.multi_head_attention.Wq",
    "blocks.{}.attention.k": "h.{}.multi_head_attention.Wk",
    "blocks.{}.attention.v": "h.{}.multi_head_attention.Wv",
    "blocks.{}.attention.out": "h.{}.multi_head_attention.dense",
    "blocks.{}.norm_2": "h.{}.layernorm2",
    "blocks.{}.mlp.up": "h.{}.ffn.0",
    "blocks.{}.mlp.down": "h.{}.ffn.2",
    "head_bias": "lm_head.bias",
}
XLNET_NAMES = {
    "token_embedding": "word_embedding",
    "mask_embedding": "mask_emb",
    "blocks.{}.attention.q.weight": "layer.{}.rel_attn.q",
    "blocks.{}.attention.k.weight": "layer.{}.rel_attn.k",
    "blocks.{}.attention.v.weight": "layer.{}.rel_attn.v",
    "blocks.{}.attention.r.weight": "layer.{}.rel_attn.r",
    "blocks.{}.attention.out.weight": "layer.{}.rel_attn.o",
    "blocks.{}.attention.content_bias": "layer.{}.rel_attn.r_w_bias",
    "blocks.{}.attention.distance_bias": "layer.{}.rel_attn.r_r_bias",
    "blocks.{}.attention.segment_bias": "layer.{}.rel_attn.r_s_bias",
    "blocks.{}.attention.segment_embedding": "layer.{}.rel_attn.seg_embed",
    "blocks.{}.norm_1": "layer.{}.rel_attn.layer_norm",
    "blocks.{}.mlp.up": "layer.{}.ff.layer_1",
    "blocks.{}.mlp.down": "layer.{}.ff.layer_2",
    "blocks.{}.norm_2": "layer.{}.ff.layer_norm",
    "head_bias": "lm_loss.bias",
}
BERT_COPIES = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
ROBERTA_COPIES = {
    "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}
DISTILBERT_COPIES = {"vocab_projector.weight": "embeddings.word_embeddings.weight"}
ALBERT_COPIES = {
    "predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "predictions.decoder.bias": "predictions.bias",
}
CTRL_COPIES = {"lm_head.weight": "w.weight"}
XLNET_COPIES = {"lm_loss.weight": "word_embedding.weight"}
LAYER_NUMBER = re.compile(r"(?<!ffn\.)\b\d+\b")  # not the 0 of CTRL's ffn.0
FAMILY_HEADS = re.compile(r"^(cls|lm_head|vocab_|predictions|sop_classifier|lm_loss)")


class FamilyNames:
    """Rename the weights of one model of the family, there and back.

    `prefix` stands before all their names but those of heads. A model without a head, as theirs
    `BertModel`, has neither prefix nor copies. `joint` says that our queries, keys and values are
    one matrix.
    """

    def __init__(
        self, names: dict[str, str], prefix: str, copies: dict[str, str], joint: bool = True
    ) -> None:
        self.names, self.prefix, self.copies, self.joint = names, prefix, copies, joint

    def to_hf(self, weights: NamedWeights, settings: Any = None) -> NamedWeights:
        """Rename our weights, those of heads that serve two ends written twice."""
        theirs = {
            rename_in_family(name, self.names): tensor
            for name, tensor in split_qkv_parts(weights).items()
        }
        theirs |= {copy: theirs[original] for copy, original in self.copies.items()}
        return {
            name if FAMILY_HEADS.match(name) else self.prefix + name: tensor
            for name, tensor in theirs.items()
        }

    def from_hf(self, weights: NamedWeights, settings: Any = None) -> NamedWeights:
        """Rename their weights, with or without the prefix, and leave out the copies."""
        back = {theirs: ours for ours, theirs in self.names.items()}
        plain = {name.removeprefix(self.prefix): tensor for name, tensor in weights.items()}
        ours = {
            rename_in_family(name, back): tensor
            for name, tensor in plain.items()
            if name not in self.copies
        }
        return join_qkv_parts(ours) if self.joint else ours


class XLNetNames(FamilyNames):
    """XLNet's names; theirs hold a matrix of heads as d_model x heads x width of a head."""

    def to_hf(self, weights: NamedWeights, settings: XLNetSettings) -> NamedWeights:
        heads = (settings.d_model, settings.n_heads, -1)
        shaped = {}
        for name, tensor in weights.items():
            if XLNET_MATRIX.search(name):
                tensor = (tensor if "out" in name else tensor.T).reshape(heads)
            shaped[name] = tensor[None, None] if name == "mask_embedding" else tensor
        return super().to_hf(shaped)

    def from_hf(self, weights: NamedWeights, settings: Any = None) -> NamedWeights:
        ours = super().from_hf(weights)
        for name, tensor in ours.items():
            if XLNET_MATRIX.search(name):
                ours[name] = tensor.flatten(1) if "out" in name else tensor.flatten(1).T
        return ours | {"mask_embedding": ours["mask_embedding"].flatten()}


XLNET_MATRIX = re.compile(r"attention\.(q|k|v|r|out)\.weight$")


def rename_in_family(name: str, table: dict[str, str]) -> str:
    """Translate a parameter's name, by the name itself or by that of its module.

    >>> rename_in_family("blocks.3.mlp.up.bias", CTRL_NAMES)
    'h.3.ffn.0.bias'
    >>> rename_in_family("blocks.3.attention.q.weight", XLNET_NAMES)
    'layer.3.rel_attn.q'
    """
    numbers = LAYER_NUMBER.findall(name)
    whole = LAYER_NUMBER.sub("{}", name)
    module, _, kind = whole.rpartition(".")
    if whole not in table and module not in table:
        raise ValueError(f"no other name is known for the weight {name!r}")
    other = table[whole] if whole in table else f"{table[module]}.{kind}"
    return other.format(*numbers)


def split_qkv_parts(weights: NamedWeights) -> NamedWeights:
    """Cut the joint queries, keys and values into three of equal height, biases too."""
    cut = {}
    for name, tensor in weights.items():
        parts = tensor.chunk(3) if ".qkv." in name else ()
        cut |= {name.replace("qkv", part): rows for part, rows in zip("qkv", parts, strict=False)}
        cut |= {} if parts else {name: tensor}
    return cut


def join_qkv_parts(weights: NamedWeights) -> NamedWeights:
    """Stack queries, keys and values: the way back from `split_qkv_parts`."""
    joint = dict(weights)
    for name in [name for name in weights if ".attention.q." in name]:
        parts = [joint.pop(name.replace(".q.", f".{part}.")) for part in "qkv"]
        joint[name.replace(".q.", ".qkv.")] = torch.cat(parts)
    return joint


HF_BERT = FamilyNames(BERT_NAMES, "bert.", BERT_COPIES)
HF_BERT_ENCODER = FamilyNames(BERT_NAMES, "", {})
HF_MEGATRON_BERT = FamilyNames(MEGATRON_NAMES, "bert.", BERT_COPIES)
HF_MEGATRON_ENCODER = FamilyNames(MEGATRON_NAMES, "", {})
HF_ROBERTA = FamilyNames(ROBERTA_NAMES, "roberta.", ROBERTA_COPIES)
HF_DISTILBERT = FamilyNames(DISTILBERT_NAMES, "distilbert.", DISTILBERT_COPIES)
HF_ALBERT = FamilyNames(ALBERT_NAMES, "albert.", ALBERT_COPIES)
HF_CTRL = FamilyNames(CTRL_NAMES, "transformer.", CTRL_COPIES)
HF_XLNET = XLNetNames(XLNET_NAMES, "transformer.", XLNET_COPIES, joint=False)


def bert_to_hf(weights: NamedWeights, settings: BERTSettings) -> NamedWeights:
    """Rename the weights of our BERT for `BertForPreTraining`, or Megatron's."""
    return (HF_MEGATRON_BERT if settings.pre_norm else HF_BERT).to_hf(weights)


def bert_from_hf(weights: NamedWeights, settings: BERTSettings) -> NamedWeights:
    """Rename the weights of a `BertForPreTraining`, or Megatron's, for our BERT."""
    return (HF_MEGATRON_BERT if settings.pre_norm else HF_BERT).from_hf(weights)


def encoder_to_hf(weights: NamedWeights, settings: BERTSettings) -> NamedWeights:
    """Rename the weights of our BERTEncoder for `BertModel`, or Megatron's."""
    return (HF_MEGATRON_ENCODER if settings.pre_norm else HF_BERT_ENCODER).to_hf(weights)


def encoder_from_hf(weights: NamedWeights, settings: BERTSettings) -> NamedWeights:
    """Rename the weights of a `BertModel`, or Megatron's, for our BERTEncoder."""
    return (HF_MEGATRON_ENCODER if settings.pre_norm else HF_BERT_ENCODER).from_hf(weights)
