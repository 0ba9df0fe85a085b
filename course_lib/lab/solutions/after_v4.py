"""Solutions of lesson 34; the notebook quotes them."""

from torch import Tensor


def expert_weights_solution(config: dict) -> tuple[int, int]:
    n_shared = config["n_shared_experts"]
    each = 3 * config["hidden_size"] * config["moe_intermediate_size"] * config["num_hidden_layers"]
    total = each * (config["n_routed_experts"] + n_shared)
    return total, each * (config["num_experts_per_tok"] + n_shared)


def cache_bytes_solution(config: dict) -> float:
    entry = config["head_dim"] + config["qk_rope_head_dim"]  # the rotary ones take two bytes
    index_key = config["index_head_dim"] / 2
    ratios = [ratio for ratio in config["compress_ratios"] if ratio]
    return sum((entry + index_key * (ratio == 4)) / ratio for ratio in ratios)


def hash_pairs_solution(
    tokens: list[int], multipliers: tuple[int, int], size: int, before: int
) -> list[int]:
    newest, older = multipliers
    earlier = [before, *tokens]
    return [
        (token * newest ^ last * older) % size for token, last in zip(tokens, earlier, strict=False)
    ]


def gate_solution(key: Tensor, stream: Tensor) -> Tensor:
    key, stream = (v / v.square().mean(-1, keepdim=True).sqrt() for v in (key, stream))
    score = (key * stream).sum(-1) / key.shape[-1] ** 0.5
    return (score.sign() * score.abs().sqrt()).sigmoid()
