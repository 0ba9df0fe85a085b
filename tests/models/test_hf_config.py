"""config.json word by word: read, of one value, without a part, or refused."""

import json
import math
from dataclasses import replace

import pytest
import torch

from course_lib.models.deepseek import (
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V3,
    V2_YARN,
    V3_YARN,
    DeepSeekSettings,
)
from course_lib.models.gpt2 import GPT2_SMALL
from course_lib.models.hf_config import (
    deepseek_settings,
    gpt2_config,
    gpt2_settings,
    llama_config,
    llama_settings,
    v2_config,
    v3_config,
)
from course_lib.models.llama import SMOLLM2_135M

TINY = DeepSeekSettings(
    11, 9, d_model=16, n_layers=2, n_heads=2, n_groups=4, n_limited_groups=2, q_lora_rank=6
)
KINDS = {
    "GPT2": (gpt2_config(GPT2_SMALL), gpt2_settings, GPT2_SMALL),
    "Llama": (llama_config(SMOLLM2_135M), llama_settings, SMOLLM2_135M),
    "DeepSeekV2": (v2_config(TINY), lambda config: deepseek_settings(config, {}), TINY),
    "DeepSeekV3": (v3_config(TINY), lambda config: deepseek_settings(config, {}), TINY),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
LLAMA_SIZES = [
    "vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
]  # fmt: skip
DEEPSEEK_SIZES = [
    *LLAMA_SIZES, "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim",
    "n_routed_experts",
    "moe_intermediate_size", "num_experts_per_tok", "n_shared_experts", "n_group", "topk_group",
]  # fmt: skip
SIZES = {       # the whole numbers that a file must tell
    "GPT2": ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head"],
    "Llama": LLAMA_SIZES, "DeepSeekV2": DEEPSEEK_SIZES, "DeepSeekV3": DEEPSEEK_SIZES,
}  # fmt: skip
REALS = {
    "GPT2": [],
    "Llama": ["rms_norm_eps"],
    "DeepSeekV2": ["rms_norm_eps", "routed_scaling_factor"],
}
REALS["DeepSeekV3"] = REALS["DeepSeekV2"]


def test_what_is_written_is_read():
    for config, read, settings in KINDS.values():
        assert read(json.loads(json.dumps(config))) == settings


# Numbers ------------------------------------------------------------------------------------------


@every_kind
def test_a_size_that_is_missing_or_no_whole_number_is_named(kind):
    config, read, _ = KINDS[kind]
    for word in SIZES[kind]:
        with pytest.raises(ValueError, match=f"^{word} is missing"):
            read({name: value for name, value in config.items() if name != word})
        for wrong in (None, "12", True, 12.0, math.nan, math.inf, -12, 0, [12], {}):
            with pytest.raises(ValueError, match=f"^{word} "):
                read(config | {word: wrong})


@every_kind
def test_a_number_that_is_missing_or_none_is_named(kind):
    config, read, _ = KINDS[kind]
    for word in REALS[kind]:
        with pytest.raises(ValueError, match=f"^{word} is missing"):
            read({name: value for name, value in config.items() if name != word})
        for wrong in (None, "1.0", True, math.nan, math.inf, -1.0, 0.0, 10**400, [1.0]):
            with pytest.raises(ValueError, match=f"^{word} "):
                read(config | {word: wrong})


@every_kind
def test_numbers_that_may_be_left_out_must_be_numbers_where_told(kind):
    config, read, _ = KINDS[kind]
    words = {
        "GPT2": ["n_inner"], "Llama": ["num_key_value_heads", "head_dim"],
        "DeepSeekV2": ["num_key_value_heads", "q_lora_rank"],
        "DeepSeekV3": ["num_key_value_heads", "q_lora_rank"],
    }  # fmt: skip
    for word in words[kind]:
        for wrong in ("4", False, 4.0, math.nan, -4, 0):
            with pytest.raises(ValueError, match=f"^{word} "):
                read(config | {word: wrong})


def test_null_and_nothing_have_the_meaning_that_they_have_there():
    left_out = ("head_dim", "tie_word_embeddings")
    config = {name: value for name, value in KINDS["Llama"][0].items() if name not in left_out}
    assert llama_settings(config | {"num_key_value_heads": None}) == replace(
        SMOLLM2_135M, n_kv_heads=9, tied=False
    )
    assert llama_settings(config | {"head_dim": None}) == replace(SMOLLM2_135M, tied=False)
    assert gpt2_settings(KINDS["GPT2"][0] | {"n_inner": None}).d_ff == 4 * 768
    v2 = KINDS["DeepSeekV2"][0]
    assert (
        deepseek_settings(v2 | {"q_lora_rank": None, "num_key_value_heads": None}, {}).q_lora_rank
        is None
    )
    with pytest.raises(ValueError, match="^q_lora_rank is missing"):
        deepseek_settings({name: value for name, value in v2.items() if name != "q_lora_rank"}, {})
    greedy = {name: value for name, value in v2.items() if name != "topk_method"}
    # theirs is greedy by default
    assert deepseek_settings(greedy, {}).n_limited_groups == TINY.n_groups
    assert deepseek_settings(greedy | {"n_group": None, "topk_group": None}, {}).n_groups == 1
    # of two layers
    assert deepseek_settings(v2 | {"first_k_dense_replace": 3}, {}).n_dense_layers == 2
    assert deepseek_settings(v2 | {"first_k_dense_replace": 0}, {}).n_dense_layers == 0
    for wrong in (-1, 1.5, "1", None, True):  # also where it is cut to the number of layers
        with pytest.raises(ValueError, match=f"^first_k_dense_replace {wrong!r} is (not|below)"):
            deepseek_settings(v2 | {"first_k_dense_replace": wrong}, {})


# Words --------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("quantization_config", {"quant_method": "fp8"}), ("sliding_window", 4096),
        ("layer_types", ["full_attention"]),
        ("partial_rotary_factor", 0.5), ("pruned_heads", {"0": [1]}), ("is_encoder_decoder", True),
        ("use_sliding_window", True), ("no_such_word", 0), ("index_topk", 2048),
        ("logit_scale", 2.0),
        ("attn_logit_softcapping", 50.0), ("per_layer_config", {"0": {}}),
    ],
)  # fmt: skip
def test_a_word_that_may_change_the_logits_is_refused_by_name(kind, word, value):
    config, read, settings = KINDS[kind]
    with pytest.raises(ValueError, match=f"^{word} is .* there; our {kind} "):
        read(config | {word: value})
    if word not in ("is_encoder_decoder", "use_sliding_window"):
        assert read(config | {word: None}) == settings


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("GPT2", "activation_function", "gelu"), ("GPT2", "layer_norm_epsilon", 1e-6),
        ("GPT2", "rope_theta", 1e4),
        ("GPT2", "tie_word_embeddings", False), ("GPT2", "scale_attn_weights", False),
        ("GPT2", "scale_attn_by_inverse_layer_idx", True), ("GPT2", "add_cross_attention", True),
        ("Llama", "hidden_act", "gelu"), ("Llama", "attention_bias", True),
        ("Llama", "mlp_bias", True),
        ("Llama", "rope_interleaved", True), ("Llama", "num_experts_per_tok", 2),
        ("Llama", "q_lora_rank", 6),
        ("DeepSeekV2", "hidden_act", "relu"), ("DeepSeekV2", "attention_bias", True),
        ("DeepSeekV2", "scoring_func", "sigmoid"), ("DeepSeekV2", "topk_method", "noaux_tc"),
        ("DeepSeekV2", "topk_method", None), ("DeepSeekV2", "norm_topk_prob", True),
        ("DeepSeekV2", "moe_layer_freq", 2), ("DeepSeekV2", "num_key_value_heads", 1),
        ("DeepSeekV3", "scoring_func", "softmax"), ("DeepSeekV3", "topk_method", "greedy"),
        ("DeepSeekV3", "norm_topk_prob", False), ("DeepSeekV3", "norm_topk_prob", None),
        ("DeepSeekV3", "moe_layer_freq", 2), ("DeepSeekV3", "rope_interleave", False),
        ("DeepSeekV3", "num_key_value_heads", 1), ("DeepSeekV3", "head_dim", 64),
        ("DeepSeekV3", "tie_word_embeddings", "no"),
    ],
)  # fmt: skip
def test_a_value_that_ours_does_not_have_is_refused_by_name(kind, word, value):
    config, read, _ = KINDS[kind]
    with pytest.raises(ValueError, match=f"^{word} "):
        read(config | {word: value})


@pytest.mark.parametrize("kind", ["Llama", "DeepSeekV2", "DeepSeekV3"])
@pytest.mark.parametrize("word", ["rope_scaling", "rope_parameters"])
def test_positions_that_ours_cannot_stretch_are_refused_by_name(kind, word):
    config, read, settings = KINDS[kind]
    for rope in (
        {"rope_type": "linear"}, {"type": "yarn", "attention_factor": 1.2},
        {"rope_type": "llama3", "factor": 8.0},
        {"rope_type": "default", "factor": 2.0},
        {"rope_type": "default", "partial_rotary_factor": 0.5},
        {"rope_theta": 1e4, "type": "dynamic"},
        {"full_attention": {"rope_type": "default"}}, "linear",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{word}.* is .* there"):
            read(config | {word: rope})
    assert read(config | {"rope_scaling": None}) == settings
    assert read(config | {"rope_scaling": {}}) == settings
    assert read(config | {word: {"type": "default", "rope_theta": 500}}).rope_base == 500.0
    with pytest.raises(ValueError, match="^rope_theta "):
        read(config | {word: {"rope_theta": "10000"}})


def test_other_spellings_are_read_and_must_agree():
    common = {
        "max_position_embeddings": 1024,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    config = {
        name: value for name, value in KINDS["GPT2"][0].items() if name not in SIZES["GPT2"][1:]
    }
    assert gpt2_settings(config | common) == gpt2_settings(KINDS["GPT2"][0] | common) == GPT2_SMALL
    with pytest.raises(ValueError, match="n_embd is 768 there, but hidden_size is 100"):
        gpt2_settings(KINDS["GPT2"][0] | {"hidden_size": 100})
    with pytest.raises(ValueError, match="n_routed_experts is 8 there, but num_experts is 4"):
        deepseek_settings(KINDS["DeepSeekV2"][0] | {"num_experts": 4}, {})


# Files of the releases ----------------------------------------------------------------------------

DEEPSEEK_FILE = {
    "attention_bias": False, "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.X"},
    "aux_loss_alpha": 0.001, "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu",
    "initializer_range": 0.02,
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "moe_layer_freq": 1,
    "pretraining_tp": 1,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000,
    "seq_aux": True,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.33.1",
    "use_cache": True,
    "v_head_dim": 128,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "type": "yarn",
                     "original_max_position_embeddings": 4096, "mscale": 1.0,
                     "mscale_all_dim": 1.0},
}  # fmt: skip
V2_LITE_FILE = DEEPSEEK_FILE | {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
    "first_k_dense_replace": 1,
    "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": False,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16,
    "q_lora_rank": None,
    "routed_scaling_factor": 1.0, "scoring_func": "softmax", "topk_method": "greedy",
    "vocab_size": 102400,
    "rope_scaling": DEEPSEEK_FILE["rope_scaling"] | {"mscale": 0.707, "mscale_all_dim": 0.707},
}  # fmt: skip
V3_FILE = DEEPSEEK_FILE | {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "ep_size": 1,
    "first_k_dense_replace": 3,
    "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_group": 8,
    "topk_group": 4,
    "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": True,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
    "vocab_size": 129280,
    "num_nextn_predict_layers": 1,
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8"},
}  # fmt: skip


def test_the_releases_are_read_but_for_what_ours_lacks():
    lite = replace(DEEPSEEK_V2_LITE, max_seq_len=163_840, rope_scaling=V2_YARN)
    assert deepseek_settings(V2_LITE_FILE, {}) == lite
    unstretched = {"rope_scaling": None, "max_position_embeddings": 4096}
    assert deepseek_settings(V2_LITE_FILE | unstretched, {}) == DEEPSEEK_V2_LITE
    with pytest.raises(ValueError, match="quantization_config is .*fp8.* there"):
        deepseek_settings(V3_FILE, {})
    v3 = V3_FILE | {"quantization_config": None}
    ahead = {"model.layers.61.eh_proj.weight": torch.zeros(1)}
    stretched = replace(DEEPSEEK_V3, max_seq_len=163_840, rope_scaling=V3_YARN)
    assert deepseek_settings(v3, ahead) == stretched
    assert deepseek_settings(v3 | unstretched, {}) == replace(DEEPSEEK_V3, mtp=False)


def test_the_settings_of_gpt2_as_openai_published_them():
    config = {
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
        "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768,
        "n_head": 12, "n_layer": 12,
        "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": 50257,
    }  # fmt: skip
    assert gpt2_settings(config) == GPT2_SMALL
