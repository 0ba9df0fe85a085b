"""The settings of our models in the words of Hugging Face's config.json, both ways.

A word is read, or has no part in the logits (`IDLE_WORDS`), or must have a value that ours computes
with (`..._FIXED`). Any other word is refused by name, since it may change the logits. What a file
leaves out has the default of transformers 5.23, but for the sizes, which must be there.
"""

from collections.abc import Collection
from typing import Any

from torch import Tensor

from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV32Settings
from course_lib.models.gpt2 import GPT2Settings
from course_lib.models.hf_rotary import rotary_config, rotary_settings
from course_lib.models.llama import LlamaSettings
from course_lib.models.settings_check import as_positive_number, as_switch, as_whole_number

# Theirs -> ours. GPT-2 has words of its own, of which theirs takes the common ones as other
# spellings.
GPT2_SIZES = {
    "vocab_size": "vocab_size", "n_positions": "max_seq_len", "n_embd": "d_model",
    "n_layer": "n_layers",
    "n_head": "n_heads",
}  # fmt: skip
GPT2_SPELLINGS = {
    "max_position_embeddings": "n_positions", "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
}  # fmt: skip
LLAMA_SIZES = {
    "vocab_size": "vocab_size", "max_position_embeddings": "max_seq_len", "hidden_size": "d_model",
    "intermediate_size": "d_ff", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
}  # fmt: skip
DEEPSEEK_SIZES = {
    "kv_lora_rank": "kv_lora_rank", "qk_nope_head_dim": "qk_nope_head_dim",
    "qk_rope_head_dim": "qk_rope_head_dim",
    "v_head_dim": "v_head_dim", "moe_intermediate_size": "d_expert",
    "n_routed_experts": "n_experts",
    "num_experts_per_tok": "n_chosen", "n_shared_experts": "n_shared",
}  # fmt: skip
INDEXER_SIZES = {
    "index_n_heads": "index_n_heads", "index_head_dim": "index_head_dim",
    "index_topk": "index_top_k",
}  # fmt: skip
DEEPSEEK_SPELLINGS = {"num_experts": "n_routed_experts", "num_local_experts": "n_routed_experts"}
LLAMA_WORDS = {
    *LLAMA_SIZES, "num_key_value_heads", "head_dim", "rms_norm_eps", "rope_parameters",
    "rope_scaling", "rope_theta",
    "tie_word_embeddings",
}  # fmt: skip
DEEPSEEK_WORDS = {
    *LLAMA_WORDS, *DEEPSEEK_SIZES, "q_lora_rank", "first_k_dense_replace", "n_group", "topk_group",
    "topk_method",
    "routed_scaling_factor",
}  # fmt: skip

V32_WORDS = {*INDEXER_SIZES, "mlp_layer_types", "layer_types"}

# What is a setting there and the same in all our models: the values that give our logits, ours to
# write first.
GPT2_FIXED = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"), "layer_norm_epsilon": (1e-5,),
    "tie_word_embeddings": (True,), "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}  # fmt: skip
LLAMA_FIXED = {"hidden_act": ("silu", "swish"), "attention_bias": (False,), "mlp_bias": (False,)}
V2_FIXED = {"norm_topk_prob": (False, None), "moe_layer_freq": (1,), "scoring_func": ("softmax",)}
V3_FIXED = {
    "norm_topk_prob": (True,), "moe_layer_freq": (1,), "scoring_func": ("sigmoid",),
    "topk_method": ("noaux_tc",),
    "rope_interleave": (True,),
}  # fmt: skip
ANY_FIXED = {       # words of other programs and older versions
    "is_encoder_decoder": (False,), "tie_encoder_decoder": (False,), "pruned_heads": ({}, None),
    "partial_rotary_factor": (1.0, None), "rope_interleaved": (False,),
    "use_sliding_window": (False,),
}  # fmt: skip

# Names and versions, training, what is returned or how fast, other heads than the language model's,
# sampling.
IDLE_WORDS = frozenset(
    """
    architectures model_type _name_or_path name_or_path _commit_hash transformers_version auto_map
    dtype torch_dtype transformers.js_config is_llama_config _attn_implementation
    attn_implementation _attn_implementation_autoset experts_implementation tokenizer_class prefix
    use_bfloat16 torchscript ep_size pretraining_tp initializer_range attention_dropout resid_pdrop
    embd_pdrop attn_pdrop aux_loss_alpha seq_aux router_aux_loss_coef gradient_checkpointing
    num_nextn_predict_layers num_mtp_layers qk_head_dim n_ctx max_sequence_length use_cache
    output_past output_attentions output_hidden_states output_router_logits output_scores
    return_dict return_dict_in_generate chunk_size_feed_forward reorder_and_upcast_attn
    tie_last_hidden_states is_decoder summary_type summary_use_proj summary_activation
    summary_proj_to_labels summary_first_dropout problem_type id2label label2id num_labels
    finetuning_task task_specific_params tf_legacy_loss bos_token_id eos_token_id pad_token_id
    unk_token_id sep_token_id cls_token_id mask_token_id decoder_start_token_id max_length
    min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature
    top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size bad_words_ids num_return_sequences forced_bos_token_id
    forced_eos_token_id remove_invalid_values suppress_tokens begin_suppress_tokens
    exponential_decay_length_penalty
""".split()
)


def check_config_words(
    config: dict, read: Collection[str], fixed: dict[str, tuple], model: str
) -> None:
    """Raise a ValueError that names the first word or value that may give other logits."""
    for word, value in config.items():
        if word in fixed:
            if value not in fixed[word]:
                known = " or ".join(map(repr, fixed[word]))
                raise ValueError(f"{word} is {value!r} there; our {model} knows {known} alone")
        elif word not in read and word not in IDLE_WORDS and value is not None:  # null: not used
            raise ValueError(f"{word} is {value!r:.200} there; our {model} does not know that word")


def respell_config(config: dict, spellings: dict[str, str]) -> dict:
    """Write each setting in one word; raise a ValueError if two spellings say different things."""
    told = {word: value for word, value in config.items() if word not in spellings}
    for other in spellings.keys() & config.keys():
        word = spellings[other]
        if told.setdefault(word, config[other]) != config[other]:
            raise ValueError(f"{word} is {told[word]!r} there, but {other} is {config[other]!r}")
    return told


def told_in(config: dict, word: str) -> Any:
    """Look a setting up that has no default here."""
    if word not in config:
        raise ValueError(f"{word} is missing in config.json")
    return config[word]


def read_sizes(config: dict, sizes: dict[str, str]) -> dict[str, int]:
    """Read whole numbers, under our names; the error names theirs."""
    return {ours: as_whole_number(word, told_in(config, word)) for word, ours in sizes.items()}


def read_number(config: dict, word: str) -> float:
    """Read a number above 0; the error names it."""
    return as_positive_number(word, told_in(config, word))


def write_sizes(settings: Any, sizes: dict[str, str]) -> dict[str, int]:
    """Write whole numbers under their names."""
    return {word: getattr(settings, ours) for word, ours in sizes.items()}


def optional_size(config: dict, word: str) -> int | None:
    """Read a whole number that may be null or left out."""
    return None if config.get(word) is None else as_whole_number(word, config[word])


def check_derived_size(config: dict, word: str, ours: int, model: str) -> None:
    """Raise a ValueError if a size that follows from the others is told, and told wrongly."""
    if (theirs := optional_size(config, word)) not in (None, ours):
        raise ValueError(f"{word} is {theirs} there; our {model} knows {ours} alone")


def ours_of(fixed: dict[str, tuple]) -> dict:
    """The values to write."""
    return {word: values[0] for word, values in fixed.items()}


def gpt2_config(settings: GPT2Settings) -> dict:
    """Tell the settings of our GPT2 in the words of `GPT2Config`."""
    return {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "dtype": "float32",
        **write_sizes(settings, GPT2_SIZES), "n_inner": settings.d_ff,
        "embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None,
        "eos_token_id": None,
        **ours_of(GPT2_FIXED),
    }  # fmt: skip


def gpt2_settings(config: dict) -> GPT2Settings:
    """Tell a `GPT2Config` in our words. Raises ValueError for words or values that ours lacks."""
    config = respell_config(config, GPT2_SPELLINGS)
    check_config_words(config, {*GPT2_SIZES, "n_inner"}, ANY_FIXED | GPT2_FIXED, "GPT2")
    return GPT2Settings(**read_sizes(config, GPT2_SIZES), d_ff=optional_size(config, "n_inner"))


def llama_config(settings: LlamaSettings) -> dict:
    """Tell the settings of our Llama in the words of `LlamaConfig`."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32",
        **write_sizes(settings, LLAMA_SIZES),
        "num_key_value_heads": settings.n_kv_heads, "head_dim": settings.d_head,
        "rope_parameters": rotary_config(settings.rope_base, settings.rope_scaling),
        "rms_norm_eps": settings.norm_eps, "tie_word_embeddings": settings.tied,
        "bos_token_id": None, "eos_token_id": None, **ours_of(LLAMA_FIXED),
    }  # fmt: skip


def llama_numbers(config: dict) -> dict:
    """Read what a `LlamaConfig` shares with DeepSeek's, under our names."""
    return {
        **read_sizes(config, LLAMA_SIZES), **rotary_settings(config),
        "norm_eps": read_number(config, "rms_norm_eps"),
        "tied": as_switch("tie_word_embeddings", config.get("tie_word_embeddings", False)),
    }  # fmt: skip


def llama_settings(config: dict) -> LlamaSettings:
    """Tell a `LlamaConfig` in our words. Raises ValueError for words or values that ours lacks."""
    check_config_words(config, LLAMA_WORDS, ANY_FIXED | LLAMA_FIXED, "Llama")
    settings = LlamaSettings(
        **llama_numbers(config), n_kv_heads=optional_size(config, "num_key_value_heads")
    )
    check_derived_size(config, "head_dim", settings.d_head, "Llama")
    return settings


def deepseek_config(settings: DeepSeekSettings) -> dict:
    """Tell what our V2 and V3 share in the words of their configs; refuse what theirs lacks."""
    if settings.q_norm:
        raise ValueError("q_norm True: theirs does not norm each head's queries")
    if not settings.n_shared:
        raise ValueError("n_shared 0: theirs has a shared expert in every mixture")
    # Their fast product of all experts wants rows of whole 16 bytes, in 16-bit numbers too; their
    # loop takes any.
    odd = settings.d_model % 8 or settings.d_expert % 8
    return llama_config(settings) | write_sizes(settings, DEEPSEEK_SIZES) | {
        "head_dim": settings.qk_rope_head_dim, "num_key_value_heads": settings.n_heads,
        "q_lora_rank": settings.q_lora_rank, "first_k_dense_replace": settings.n_dense_layers,
        "n_group": settings.n_groups, "topk_group": settings.n_limited_groups,
        "routed_scaling_factor": settings.route_scale,
        **({"experts_implementation": "eager"} if odd else {}),
    }  # fmt: skip


def v2_config(settings: DeepSeekSettings) -> dict:
    """Tell the settings of our V2 in the words of `DeepseekV2Config`.

    Raises ValueError where theirs would not run.
    """
    if settings.d_model % settings.n_heads:
        widths = f"d_model {settings.d_model} is not divisible by n_heads {settings.n_heads}"
        raise ValueError(f"{widths}, as theirs wants it")
    for name in ("kv_lora_rank", "qk_nope_head_dim"):
        # Theirs views the rotary numbers, which stand behind these, as complex ones, two by two.
        if (width := getattr(settings, name)) % 2:
            raise ValueError(f"{name} {width} is odd: theirs cannot pair the numbers behind it")
    limited = settings.n_limited_groups < settings.n_groups
    return deepseek_config(settings) | ours_of(V2_FIXED) | {
        "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
        "topk_method": "group_limited_greedy" if limited else "greedy",
    }  # fmt: skip


def v3_config(settings: DeepSeekSettings) -> dict:
    """Tell the settings of our V3 in the words of `DeepseekV3Config`.

    Raises ValueError where theirs would not run.
    """
    has_experts = settings.n_dense_layers < settings.n_layers
    if has_experts and settings.n_experts < 2 * settings.n_groups:
        groups = f"n_experts {settings.n_experts} in n_groups {settings.n_groups}"
        raise ValueError(f"{groups}: theirs ranks a group by its two best, so it must have two")
    return deepseek_config(settings) | ours_of(V3_FIXED) | {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
        "num_nextn_predict_layers": int(settings.mtp),
    }  # fmt: skip


def v32_config(settings: DeepSeekV32Settings) -> dict:
    """Tell the settings of our V3.2 in the words of `DeepseekV32Config`.

    Raises ValueError where theirs would not run.
    """
    return v3_config(settings) | write_sizes(settings, INDEXER_SIZES) | {
        "architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32",
        **layer_lists(settings.n_layers, settings.n_dense_layers),
    }  # fmt: skip


def layer_lists(n_layers: int, n_dense: int) -> dict[str, list[str]]:
    """What a `DeepseekV32Config` says of each layer; it follows from the numbers."""
    return {
        "mlp_layer_types": ["dense"] * n_dense + ["sparse"] * (n_layers - n_dense),
        "layer_types": ["indexed_attention"] * n_layers,
    }


def deepseek_settings(config: dict, weights: dict[str, Tensor]) -> DeepSeekSettings:
    """Tell a `DeepseekV2Config`, `DeepseekV3Config` or `DeepseekV32Config` in our words.

    Raises ValueError for words or values that ours lacks. Multi-token prediction is there if its
    weights are: their class drops them, but not the number of such layers.
    """
    version = deepseek_version(config)
    is_v2, is_v32 = version == "V2", version == "V32"
    name, fixed = f"DeepSeek{version}", V2_FIXED if is_v2 else V3_FIXED
    config = respell_config(config, DEEPSEEK_SPELLINGS)
    words = DEEPSEEK_WORDS | (V32_WORDS if is_v32 else set())
    check_config_words(config, words, ANY_FIXED | LLAMA_FIXED | fixed, name)
    numbers = llama_numbers(config) | read_sizes(config, DEEPSEEK_SIZES)
    check_derived_size(config, "num_key_value_heads", numbers["n_heads"], name)
    if not is_v2:  # V2's class sets it anew; V3's obeys the file
        check_derived_size(config, "head_dim", numbers["qk_rope_head_dim"], name)
    told_in(config, "q_lora_rank")  # null has a meaning, so it must be there
    n_dense = told_in(config, "first_k_dense_replace")
    n_dense = min(as_whole_number("first_k_dense_replace", n_dense, least=0), numbers["n_layers"])
    if is_v32:
        numbers |= read_sizes(config, INDEXER_SIZES)
        check_layer_lists(config, numbers["n_layers"], n_dense)
    return (DeepSeekV32Settings if is_v32 else DeepSeekSettings)(
        **numbers, **routing_groups(config, is_v2),
        q_lora_rank=optional_size(config, "q_lora_rank"),
        n_dense_layers=n_dense,
        route_scale=read_number(config, "routed_scaling_factor"),
        mtp=f"model.layers.{numbers['n_layers']}.eh_proj.weight" in weights,
    )  # fmt: skip


def deepseek_version(config: dict) -> str:
    """Tell V2, V3 and V3.2 apart."""
    kinds = [*(config.get("architectures") or []), config.get("model_type")]
    for version in ("V2", "V32"):
        if f"Deepseek{version}ForCausalLM" in kinds or f"deepseek_{version.lower()}" in kinds:
            return version
    return "V3"


def check_layer_lists(config: dict, n_layers: int, n_dense: int) -> None:
    """Raise a ValueError if a list of layers says other than the numbers."""
    for word, ours in layer_lists(n_layers, n_dense).items():
        if config.get(word) not in (None, ours):
            raise ValueError(f"{word} is {config[word]} there; our DeepSeekV32 knows {ours} alone")


def routing_groups(config: dict, is_v2: bool) -> dict[str, int]:
    """Read how many groups of experts there are, and how many a token may visit: all if greedy."""
    method = config.get("topk_method", "greedy") if is_v2 else "group_limited_greedy"
    if method not in ("greedy", "group_limited_greedy"):
        raise ValueError(
            f"topk_method is {method!r} there; ours are 'greedy' and 'group_limited_greedy'"
        )
    if method == "greedy":
        n_groups = optional_size(config, "n_group") or 1
        return {"n_groups": n_groups, "n_limited_groups": n_groups}
    return read_sizes(config, {"n_group": "n_groups", "topk_group": "n_limited_groups"})
