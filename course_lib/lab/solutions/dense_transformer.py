"""Solutions of lesson 18's exercises, as the notebook shows them."""

from jaxtyping import Float
from torch import Tensor


def equal_width_solution(d_model: int, d_ff: int) -> int:
    mlp = 2 * d_model * d_ff + d_ff + d_model
    return round(mlp / (3 * d_model))


def shared_keys_solution(k: Float[Tensor, "B G S D"], n_heads: int) -> Float[Tensor, "B H S D"]:
    return k.repeat_interleave(n_heads // k.shape[1], dim=1)


def multi_step_rate_solution(n_read: float, n_total: float, n_warmup: float, peak: float) -> float:
    if n_read < n_warmup:
        return peak * n_read / n_warmup
    if n_read < 0.8 * n_total:
        return peak
    return peak * (0.316 if n_read < 0.9 * n_total else 0.1)


def read_config_solution(config: dict) -> dict:
    n_heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or config
    return {
        "n_kv_heads": config.get("num_key_value_heads") or n_heads,
        "d_head": config.get("head_dim") or config["hidden_size"] // n_heads,
        "rope_base": rope.get("rope_theta", 10_000.0),
        "tied": config.get("tie_word_embeddings", False),
    }


def llama_parameters_solution(config: dict) -> int:
    d_model, d_ff = config["hidden_size"], config["intermediate_size"]
    d_kv = d_model * config["num_key_value_heads"] // config["num_attention_heads"]
    layer = 2 * d_model * (d_model + d_kv) + 3 * d_model * d_ff + 2 * d_model
    tables = (1 if config["tie_word_embeddings"] else 2) * config["vocab_size"] * d_model
    return config["num_hidden_layers"] * layer + tables + d_model


def forward_flops_solution(config: dict, n_tokens: int) -> int:
    d_model, d_ff = config["hidden_size"], config["intermediate_size"]
    d_kv = d_model * config["num_key_value_heads"] // config["num_attention_heads"]
    weights = 2 * d_model * (d_model + d_kv) + 3 * d_model * d_ff
    layer = 2 * weights + 4 * d_model * n_tokens
    return config["num_hidden_layers"] * layer + 2 * config["vocab_size"] * d_model
