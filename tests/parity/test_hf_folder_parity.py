"""Folders in Hugging Face's format against transformers: words, shards, rotary positions."""

import json
from dataclasses import fields

import pytest
import torch

from course_lib.models import hf_config
from course_lib.models.hf_files import load_hf

transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 30, "bos_token_id": 0, "eos_token_id": 0}
LLAMA = SMALL | {
    "max_position_embeddings": 16, "hidden_size": 24, "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4,
}  # fmt: skip
DEEPSEEK = LLAMA | {
    "kv_lora_rank": 8, "q_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4,
    "v_head_dim": 4,
    "moe_intermediate_size": 12, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1, "experts_implementation": "eager",
}  # fmt: skip
GPT2 = SMALL | {"n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 4}
KINDS = {
    "GPT2": (transformers.GPT2Config, transformers.GPT2LMHeadModel, GPT2),
    "Llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, LLAMA),
    "DeepSeekV2": (transformers.DeepseekV2Config, transformers.DeepseekV2ForCausalLM, DEEPSEEK),
    "DeepSeekV3": (transformers.DeepseekV3Config, transformers.DeepseekV3ForCausalLM, DEEPSEEK),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
IDS = torch.arange(24).view(2, 12)


def saved(kind, folder, **options):
    """A model of theirs with random weights, in a folder."""
    config, model, words = KINDS[kind]
    model = model(config(**words)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    model.save_pretrained(folder, **options)
    return model


def change_config(folder, **words):
    config = json.loads((folder / "config.json").read_text()) | words
    (folder / "config.json").write_text(json.dumps(config))


@every_kind
def test_shards_that_theirs_writes_are_read(kind, tmp_path):
    torch.manual_seed(0)
    theirs = saved(kind, tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    torch.testing.assert_close(load_hf(tmp_path)(IDS), theirs(IDS).logits, rtol=1e-5, atol=1e-5)


@every_kind
def test_every_word_of_theirs_is_read_or_fixed_or_idle(kind):
    """A word that a newer transformers adds fails here, until somebody has looked what it does."""
    read = {
        "GPT2": {*hf_config.GPT2_SIZES, "n_inner"}, "Llama": hf_config.LLAMA_WORDS,
        "DeepSeekV2": hf_config.DEEPSEEK_WORDS, "DeepSeekV3": hf_config.DEEPSEEK_WORDS,
    }[kind]  # fmt: skip
    fixed = hf_config.ANY_FIXED | {
        "GPT2": hf_config.GPT2_FIXED, "Llama": hf_config.LLAMA_FIXED,
        "DeepSeekV2": hf_config.LLAMA_FIXED | hf_config.V2_FIXED,
        "DeepSeekV3": hf_config.LLAMA_FIXED | hf_config.V3_FIXED,
    }[kind]  # fmt: skip
    words = {field.name for field in fields(KINDS[kind][0])} | KINDS[kind][0]().to_dict().keys()
    assert words - read - fixed.keys() - hf_config.IDLE_WORDS == {"per_layer_config"} & words


@every_kind
def test_words_that_are_called_idle_change_nothing_there(kind, tmp_path):
    torch.manual_seed(1)
    theirs = saved(kind, tmp_path)
    change_config(
        tmp_path, pretraining_tp=1, initializer_range=0.5, use_cache=False, pad_token_id=3,
        n_ctx=7, num_labels=5,
        attention_dropout=0.5, max_sequence_length=4, ep_size=8, aux_loss_alpha=0.1, seq_aux=False,
        temperature=3.0,
        router_aux_loss_coef=0.5, num_nextn_predict_layers=1, is_decoder=True,
        reorder_and_upcast_attn=True,
        summary_type="first", chunk_size_feed_forward=0, output_router_logits=False,
        tokenizer_class="X",
    )  # fmt: skip
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(opened(IDS).logits, theirs(IDS).logits)
    torch.testing.assert_close(load_hf(tmp_path)(IDS), theirs(IDS).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "word", "value"), [
    ("GPT2", "activation_function", "gelu_pytorch_tanh"), ("Llama", "hidden_act", "swish"),
    ("DeepSeekV2", "hidden_act", "swish"), ("DeepSeekV3", "hidden_act", "swish"),
    ("GPT2", "n_inner", None),
    ("Llama", "head_dim", None), ("Llama", "num_key_value_heads", None),
    ("DeepSeekV2", "n_group", None),
    ("DeepSeekV2", "norm_topk_prob", None), ("DeepSeekV2", "first_k_dense_replace", 1),
    ("DeepSeekV2", "head_dim", 64), ("DeepSeekV3", "head_dim", 4), ("DeepSeekV3", "n_group", 4),
])  # fmt: skip
def test_values_that_are_read_mean_the_same_there(kind, word, value, tmp_path):
    torch.manual_seed(2)
    saved(kind, tmp_path)
    change_config(tmp_path, **{word: value})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(load_hf(tmp_path)(IDS), theirs(IDS).logits, rtol=1e-5, atol=1e-5)


DEFAULT, LINEAR = (
    {"rope_theta": 70.0, "rope_type": "default"},
    {"rope_type": "linear", "factor": 4.0},
)
ROPES = [       # what a file may say about rotary positions
    {}, {"rope_theta": 500}, {"rope_theta": 500.0, "rope_scaling": None},
    {"rope_parameters": None, "rope_theta": 50.0}, {"rope_parameters": DEFAULT},
    {"rope_parameters": DEFAULT, "rope_theta": 500.0},
    {"rope_parameters": DEFAULT, "rope_scaling": {}},
    {"rope_parameters": {"rope_type": "default"}, "rope_theta": 500.0},
    {"rope_parameters": DEFAULT | {"partial_rotary_factor": 1.0}},
    {"rope_scaling": {"type": "default"}, "rope_theta": 500.0},
    {"rope_parameters": DEFAULT, "rope_scaling": {"rope_type": "default"}},
    {"rope_parameters": LINEAR | {"rope_theta": 70.0}, "rope_scaling": {"type": "default"}},
    {"rope_parameters": DEFAULT, "rope_scaling": LINEAR}, {"rope_parameters": LINEAR},
    {"rope_scaling": {"type": "linear", "factor": 2.0}},
    {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
    {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4}},
]  # fmt: skip


@pytest.mark.parametrize("words", ROPES, ids=str)
def test_rotary_words_are_read_as_theirs_or_refused(words, tmp_path):
    torch.manual_seed(3)
    saved("Llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(config | words))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    rope = theirs.config.rope_parameters
    if rope["rope_type"] in ("default", "linear", "yarn"):
        ours = load_hf(tmp_path)
        assert ours.settings.rope_base == rope["rope_theta"]
        torch.testing.assert_close(ours(IDS), theirs(IDS).logits, rtol=1e-5, atol=1e-5)
    else:
        with pytest.raises(ValueError, match="^rope_(scaling|parameters).*type is"):
            load_hf(tmp_path)
