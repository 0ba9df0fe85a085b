"""Answers to the exercises of lesson 18, written from their statements alone."""

import bisect
import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.lab.checks.answers.table import Answers, Slip

# --- equal_width ---


def width_by_search(d_model, d_ff):
    mlp = sum(p.numel() for p in _mlp(d_model, d_ff).parameters())
    return min(range(1, 2 * d_ff + d_model), key=lambda width: abs(3 * d_model * width - mlp))


def _mlp(d_model, d_ff):
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model))


def width_in_fractions(d_model, d_ff):
    exact = Fraction(d_model * d_ff + d_ff, 3 * d_model) + Fraction(d_ff * d_model + d_model, 3) / (
        d_model
    )
    return math.floor(exact + Fraction(1, 2))


def mlp_size(d_model, d_ff):
    return 2 * d_model * d_ff + d_ff + d_model


EQUAL_WIDTH = Answers(
    right=[
        width_by_search,
        width_in_fractions,
        lambda d_model, d_ff: int(np.rint((2 * d_ff + 1 + d_ff / d_model) / 3)),
    ],
    wrong=[
        Slip(
            lambda d_model, d_ff: mlp_size(d_model, d_ff) // (3 * d_model),
            "rounded down",
            r"nearest|down|//|floor|round",
            "bias|matri|three",
        ),
        Slip(
            lambda d_model, d_ff: -(-mlp_size(d_model, d_ff) // (3 * d_model)),
            "rounded up",
            r"nearest|rounded up|ceil|round",
            "bias|matri|three|rounded down",
        ),
        Slip(
            lambda d_model, d_ff: round(2 * d_ff / 3),
            "the biases are forgotten",
            r"bias",
            "one bias|rounded|two matrices|three matri",
        ),
        Slip(
            lambda d_model, d_ff: round((mlp_size(d_model, d_ff) - d_model) / (3 * d_model)),
            "the second bias is forgotten",
            r"bias",
            "rounded|no bias|without (its |the )?biases|two matrices|three matri",
        ),
        Slip(
            lambda d_model, d_ff: round((2 * d_model * d_ff + 2 * d_model) / (3 * d_model)),
            "both biases as long as d_model",
            r"bias",
            "rounded|two matrices|three matri",
        ),
        Slip(
            lambda d_model, d_ff: round(mlp_size(d_model, d_ff) / (2 * d_model)),
            "a SwiGLU of two matrices",
            r"three|3 matri|matri",
            "bias|rounded",
        ),
        Slip(
            lambda d_model, d_ff: mlp_size(d_model, d_ff) / (3 * d_model),
            "not rounded",
            r"whole|round|int",
            "bias|matri",
        ),
        Slip(
            lambda d_model, d_ff: round((mlp_size(d_model, d_ff) - d_model) / (3 * d_model + 2)),
            "a SwiGLU with biases",
            r"bias",
            "rounded|matri",
        ),
        Slip(
            lambda d_model, d_ff: d_ff,
            "the MLP's own width",
            r"same width|d_ff|half as many|own width|more parameters|too (many|wide)",
            "bias|rounded",
        ),
        Slip(
            lambda d_model, d_ff: 8 * round(mlp_size(d_model, d_ff) / (24 * d_model)),
            "rounded to a multiple of 8",
            r"multiple|nearest|whole|round",
            "bias|matri",
        ),
    ],
)

# --- shared_keys ---


def keys_by_index(k, n_heads):
    return k[:, torch.arange(n_heads) * k.shape[1] // n_heads]


def keys_by_loop(k, n_heads):
    group = n_heads // k.shape[1]
    return torch.stack([k[:, head // group] for head in range(n_heads)], dim=1)


def keys_expanded(k, n_heads):
    B, G, S, D = k.shape
    return k.unsqueeze(2).expand(B, G, n_heads // G, S, D).reshape(B, n_heads, S, D)


def keys_mixing_tokens(k, n_heads):
    B, G, S, D = k.shape
    return k.unsqueeze(3).expand(B, G, S, n_heads // G, D).reshape(B, n_heads, S, D)


def keys_padded(k, n_heads):
    return F.pad(k, (0, 0, 0, 0, 0, n_heads - k.shape[1]))


SHARED_KEYS = Answers(
    right=[
        keys_by_index,
        keys_by_loop,
        keys_expanded,
        lambda k, n_heads: np.repeat(k.numpy(), n_heads // k.shape[1], axis=1),
    ],
    wrong=[
        Slip(
            lambda k, n_heads: k.repeat(1, n_heads // k.shape[1], 1, 1),
            "heads take turns",
            r"turns|neighbour|tile|repeat\b|in a row|interleav",
            "shape|token",
        ),
        Slip(
            lambda k, n_heads: k.repeat_interleave(n_heads, dim=1),
            "every key head n_heads times",
            r"n_heads times|G|shape|too many|heads",
            "turns|token",
        ),
        Slip(
            lambda k, n_heads: k.repeat_interleave(n_heads // k.shape[1], dim=2),
            "tokens repeated instead of heads",
            r"axis|dim|token|shape",
            "turns",
        ),
        Slip(
            lambda k, n_heads: k.repeat_interleave(n_heads // k.shape[1]),
            "no axis is named",
            r"axis|dim|shape|flat",
            "turns",
        ),
        Slip(
            lambda k, n_heads: k,
            "nothing is repeated",
            r"shape|repeat|still|unchanged|heads",
            "turns|token",
        ),
        Slip(
            lambda k, n_heads: k[:, :1].expand(-1, n_heads, -1, -1),
            "all use the first key head",
            r"first|same (key )?head|one head|all heads",
            "shape|turns|token",
        ),
        Slip(
            keys_mixing_tokens,
            "tokens and heads mixed by a reshape",
            r"token|mix|reshap|view|order",
            "shape is|turns",
        ),
        Slip(
            lambda k, n_heads: k.repeat_interleave(n_heads // k.shape[1], dim=1).transpose(1, 2),
            "heads after tokens",
            r"shape|ax[ie]s|transpos|order",
            "turns",
        ),
        Slip(
            keys_padded, "the other heads get zeros", r"zero|\b0\b|first|each|empty", "shape|turns"
        ),
        Slip(
            lambda k, n_heads: k.flip(1).repeat_interleave(n_heads // k.shape[1], dim=1),
            "the last key head comes first",
            r"order|revers|last|flip|first",
            "shape|turns|token",
        ),
        Slip(
            lambda k, n_heads: k.repeat_interleave(k.shape[1], dim=1),
            "repeated G times instead of n_heads / G",
            r"shape|G|heads|times",
            "turns|token",
        ),
    ],
)

# --- multi_step_rate ---


def rate_by_bisect(n_read, n_total, n_warmup, peak):
    place = bisect.bisect_right([4 * n_total, 4.5 * n_total], 5 * n_read)
    return min(n_read / n_warmup, 1) * peak * (1, 0.316, 0.1)[place]


def rate_in_numpy(n_read, n_total, n_warmup, peak):
    cases = [n_read < n_warmup, n_read >= 0.9 * n_total, n_read >= 0.8 * n_total]
    return np.select(cases, [peak / n_warmup * n_read, 0.1 * peak, 0.316 * peak], default=peak)


def rate_by_shares(n_read, n_total, n_warmup, peak):
    if n_read / n_total >= 0.9:
        return 0.1 * peak
    if n_read / n_total >= 0.8:
        return 0.316 * peak
    return peak if n_read >= n_warmup else peak * (n_read / n_warmup)


def rate(n_read, n_total, n_warmup, peak, first=0.316, second=0.1, drops=(0.8, 0.9), ahead=0):
    if n_read < n_warmup:
        return peak * (n_read + ahead) / n_warmup
    if n_read < drops[0] * n_total:
        return peak
    return peak * (first if n_read < drops[1] * n_total else second)


def rate_late(n_read, n_total, n_warmup, peak):
    if n_read <= 0.8 * n_total:
        return rate(n_read, n_total, n_warmup, peak, drops=(1.0, 1.0))
    return peak * (0.316 if n_read <= 0.9 * n_total else 0.1)


def rate_after_the_warm_up(n_read, n_total, n_warmup, peak):
    if n_read < n_warmup:
        return peak * n_read / n_warmup
    return rate(n_read - n_warmup, n_total - n_warmup, 0, peak)


def rate_by_cosine(n_read, n_total, n_warmup, peak):
    if n_read < n_warmup:
        return peak * n_read / n_warmup
    done = (n_read - n_warmup) / (n_total - n_warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


MULTI_STEP_RATE = Answers(
    right=[rate_by_bisect, rate_in_numpy, rate_by_shares],
    wrong=[
        Slip(
            lambda *numbers: rate(*numbers, second=0.0316),
            "a tenth of the rate before it",
            r"of the peak|0\.0316|before it|twice|both",
            "warm|exactly",
        ),
        Slip(rate_late, "the drops come one token late", r"exactly|at 80|<=|has happened", "warm"),
        Slip(
            lambda n_read, n_total, n_warmup, peak: rate(n_read, n_total, 0, peak),
            "no warm-up",
            r"warm|climb",
            "80|90|drop",
        ),
        Slip(
            lambda *numbers: rate(*numbers, ahead=1),
            "the warm-up is one token ahead",
            r"warm|from 0|climb|start|one (token|step)",
            "80|90|drop",
        ),
        Slip(
            lambda *numbers: rate(*numbers, first=0.1, second=0.316),
            "the two drops exchanged",
            r"0\.316|exchang|swap|first drop|80",
            "warm",
        ),
        Slip(
            lambda *numbers: rate(*numbers, second=0.316),
            "no second drop",
            r"90|0\.1\b|second|last",
            "warm|exactly",
        ),
        Slip(
            rate_after_the_warm_up,
            "80 % of what follows the warm-up",
            r"all tokens|after the warm|all the tokens|of all|80",
            "climb",
        ),
        Slip(
            lambda n_read, n_total, n_warmup, peak: rate(n_read, n_total, n_warmup, 1.0),
            "the peak is forgotten",
            r"peak",
            "warm|drop",
        ),
        Slip(rate_by_cosine, "a cosine", r"cosine|level|stays|peak", "warm-up"),
        Slip(
            lambda n_read, n_total, n_warmup, peak: (
                rate(n_read, n_total, n_warmup, peak)
                if n_read >= n_warmup
                else peak * n_read / n_total
            ),
            "the warm-up over all tokens",
            r"warm|climb",
            "80|90|drop",
        ),
        Slip(
            lambda *numbers: rate(*numbers, first=1 - 0.316, second=1 - 0.1),
            "the rate drops by the share instead of to it",
            r"\bto\b|0\.316|31\.6|by",
            "warm|exactly",
        ),
        Slip(
            lambda *numbers: rate(*numbers, drops=(0.8, 1.7)),
            "90 % of all after the first drop",
            r"90|0\.1\b|second|last",
            "warm|exactly",
        ),
    ],
)

# --- read_config ---


def config_by_cases(config):
    heads, d_head = config["num_attention_heads"], config.get("head_dim")
    shared, rope = config.get("num_key_value_heads"), config.get("rope_parameters")
    told = dict(n_kv_heads=heads, d_head=config["hidden_size"] // heads, rope_base=10000)
    if shared is not None:
        told["n_kv_heads"] = shared
    if d_head is not None:
        told["d_head"] = d_head
    for place in (config, rope):
        if place is not None and "rope_theta" in place:
            told["rope_base"] = place["rope_theta"]
    return told | {"tied": bool(config.get("tie_word_embeddings"))}


class ReadConfig:
    def __call__(self, config):
        told = {name: value for name, value in config.items() if value is not None}
        told.update(told.pop("rope_parameters", {}))
        return {
            "tied": told.get("tie_word_embeddings", False),
            "rope_base": float(told.get("rope_theta", 1e4)),
            "d_head": told.get("head_dim", divmod(told["hidden_size"], self.heads(told))[0]),
            "n_kv_heads": told.get("num_key_value_heads", self.heads(told)),
        }

    def heads(self, told):
        return told["num_attention_heads"]


def config_by_errors(config):
    try:
        base = config["rope_parameters"]["rope_theta"]
    except (KeyError, TypeError):
        base = config["rope_theta"] if "rope_theta" in config else 10_000.0
    heads = config["num_attention_heads"]
    keys, width = (config.get(word) for word in ("num_key_value_heads", "head_dim"))
    return {
        "n_kv_heads": heads if keys is None else keys,
        "d_head": int(config["hidden_size"] / heads) if width is None else width,
        "rope_base": base,
        "tied": "tie_word_embeddings" in config and config["tie_word_embeddings"],
    }


def changed(**entries):
    """A right reader, but for these entries, each a function of the file."""
    return lambda config: (
        config_by_cases(config) | {name: entry(config) for name, entry in entries.items()}
    )


def config_in_place(config):
    for word, value in config_by_cases(config).items():
        config[word] = value
    return {word: config[word] for word in ("n_kv_heads", "d_head", "rope_base", "tied")}


def config_by_its_words(config):
    told = config_by_cases(config)
    words = ("num_key_value_heads", "head_dim", "rope_theta", "tie_word_embeddings")
    return dict(zip(words, told.values(), strict=True))


READ_CONFIG = Answers(
    right=[config_by_cases, ReadConfig(), config_by_errors],
    wrong=[
        Slip(
            changed(n_kv_heads=lambda c: c.get("num_key_value_heads", c["num_attention_heads"])),
            "None for the number of key heads",
            r"None|num_key_value_heads",
            "d_head|rope|tie",
        ),
        Slip(
            changed(d_head=lambda c: c.get("head_dim", c["hidden_size"] // 1)),
            "the whole width for a head's",
            r"head_dim|d_head|hidden_size",
            "n_kv_heads|rope|tie",
        ),
        Slip(
            changed(d_head=lambda c: c["hidden_size"] // c["num_attention_heads"]),
            "head_dim is not read",
            r"head_dim|d_head",
            "n_kv_heads|rope|tie|None",
        ),
        Slip(
            changed(d_head=lambda c: c["head_dim"] or c["hidden_size"] // c["num_attention_heads"]),
            "an error without head_dim",
            r"head_dim|left out|missing",
            "n_kv_heads|rope|tie",
        ),
        Slip(
            changed(rope_base=lambda c: c.get("rope_theta", 10_000.0)),
            "the base from the file alone",
            r"rope_parameters|table",
            "n_kv_heads|d_head|tie",
        ),
        Slip(
            changed(rope_base=lambda c: (c.get("rope_parameters") or {}).get("rope_theta", 1e4)),
            "the base from the table alone",
            r"older|file itself|rope_theta|rope_parameters",
            "n_kv_heads|d_head|tie",
        ),
        Slip(
            changed(rope_base=lambda c: c.get("rope_parameters", c).get("rope_theta", 1e4)),
            "an error where rope_parameters is None",
            r"rope_parameters|None",
            "n_kv_heads|d_head|tie",
        ),
        Slip(
            changed(rope_base=lambda c: (c.get("rope_parameters") or c).get("rope_theta")),
            "None for a base that is nowhere",
            r"10[,_]?000|rope_theta|nowhere|base",
            "n_kv_heads|d_head|tie",
        ),
        Slip(
            changed(tied=lambda c: c.get("tie_word_embeddings", True)),
            "tied unless told otherwise",
            r"tie|False",
            "n_kv_heads|d_head|rope",
        ),
        Slip(
            changed(n_kv_heads=lambda c: c.get("num_key_value_heads") or 1),
            "one key head where none is told",
            r"num_attention_heads|as many|n_kv_heads|num_key_value_heads",
            "d_head|rope|tie",
        ),
        Slip(
            changed(
                d_head=lambda c: (
                    c.get("head_dim")
                    or c["hidden_size"]
                    // (c.get("num_key_value_heads") or c["num_attention_heads"])
                )
            ),
            "the width over the number of key heads",
            r"num_attention_heads|d_head|key heads",
            "rope|tie|None",
        ),
        Slip(config_in_place, "the file is changed", r"chang|in place|argument|leave", "rope|tie"),
        Slip(
            config_by_its_words,
            "the file's own words as names",
            r"n_kv_heads|name|entr|key|word",
            "None",
        ),
        Slip(
            changed(
                d_head=lambda c: c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
            ),
            "None for a head's width",
            r"None|head_dim",
            "n_kv_heads|rope|tie",
        ),
    ],
)

# --- llama_parameters ---


def parameters_on_meta(config):
    d, heads = config["hidden_size"], config["num_attention_heads"]
    d_kv, d_ff = d // heads * config["num_key_value_heads"], config["intermediate_size"]
    sizes = [(d, d), (d, d_kv), (d, d_kv), (d, d), (d, d_ff), (d, d_ff), (d_ff, d)]
    with torch.device("meta"):
        layer = nn.ModuleList([nn.Linear(*size, bias=False) for size in sizes])
        layer.extend([nn.RMSNorm(d), nn.RMSNorm(d)])
        rest = [nn.Embedding(config["vocab_size"], d), nn.RMSNorm(d)]
        if not config["tie_word_embeddings"]:
            rest.append(nn.Linear(d, config["vocab_size"], bias=False))
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    return config["num_hidden_layers"] * count(layer) + sum(map(count, rest))


def parameters_by_loop(config):
    d = config["hidden_size"]
    total = config["vocab_size"] * d
    for _ in range(config["num_hidden_layers"]):
        total += d * d * 2  # queries and outputs
        for _ in ("keys", "values"):
            total += d * (d // config["num_attention_heads"]) * config["num_key_value_heads"]
        for _ in ("gate", "up", "down"):
            total += d * config["intermediate_size"]
        total += 2 * d
    if config["tie_word_embeddings"] is False:
        total += d * config["vocab_size"]
    return total + d


def parameters_in_numpy(config):
    shared = config["num_key_value_heads"] / config["num_attention_heads"]
    d, tables = config["hidden_size"], 2 - bool(config["tie_word_embeddings"])
    per_row = np.array([2 + 2 * shared, 3 * config["intermediate_size"] / d, 2 / d])
    layers = config["num_hidden_layers"] * per_row.sum() * d**2
    return int(np.rint(layers)) + tables * config["vocab_size"] * d + d


def parameters(
    config, tables=None, keys=None, values=None, out=None, matrices=3, norms=2, last=1, layers=None
):
    d = config["hidden_size"]
    d_kv = d * config["num_key_value_heads"] // config["num_attention_heads"]
    layer = d * (d + (keys or d_kv) + (values or d_kv) + (out or d)) + norms * d
    layer += matrices * d * config["intermediate_size"]
    tables = tables or (1 if config["tie_word_embeddings"] else 2)
    layers = layers or config["num_hidden_layers"]
    return layers * layer + tables * config["vocab_size"] * d + last * d


def parameters_square(config):
    return parameters(config, keys=config["hidden_size"], values=config["hidden_size"])


def parameters_narrow_output(config):
    heads = config["num_attention_heads"]
    return parameters(config, out=config["hidden_size"] * config["num_key_value_heads"] // heads)


def parameters_of_one_head(config):
    d_head = config["hidden_size"] // config["num_attention_heads"]
    return parameters(config, keys=d_head, values=d_head)


LLAMA_PARAMETERS = Answers(
    right=[parameters_on_meta, parameters_by_loop, parameters_in_numpy],
    wrong=[
        Slip(
            lambda config: parameters(config, tables=1),
            "the table always once",
            r"tie|head|table|twice",
            "norm|MLP|keys|bias",
        ),
        Slip(
            lambda config: parameters(config, tables=2),
            "the table always twice",
            r"tie|table|once",
            "norm|MLP|keys|bias",
        ),
        Slip(
            lambda config: parameters(config, tables=2 if config["tie_word_embeddings"] else 1),
            "tied and untied exchanged",
            r"tie|table",
            "norm|MLP|keys|bias",
        ),
        Slip(
            parameters_square,
            "keys and values as wide as queries",
            r"keys|values|kv|key_value|share",
            "norm|MLP|tie|bias|output",
        ),
        Slip(
            lambda config: parameters(config, values=config["hidden_size"]),
            "values as wide as queries",
            r"values|kv|key_value",
            "norm|MLP|tie|bias|output",
        ),
        Slip(
            parameters_narrow_output,
            "the output matrix as narrow as keys",
            r"output|square|four|attention",
            "norm|MLP|tie|bias",
        ),
        Slip(
            lambda config: parameters(config, matrices=2),
            "two matrices in the MLP",
            r"three|MLP|SwiGLU|gate|intermediate",
            "norm|tie|bias|keys",
        ),
        Slip(
            lambda config: parameters(config, norms=1),
            "one norm in each layer",
            r"norm",
            "MLP|tie|bias|keys",
        ),
        Slip(
            lambda config: parameters(config, last=0),
            "no norm before the head",
            r"norm",
            "MLP|tie|bias|keys|in each layer",
        ),
        Slip(
            lambda config: parameters(config, norms=4, last=2),
            "norms with biases",
            r"norm|bias",
            "MLP|tie|keys",
        ),
        Slip(
            lambda config: parameters(config, norms=0, last=0),
            "no norms at all",
            r"norm",
            "MLP|tie|bias|keys",
        ),
        Slip(
            parameters_of_one_head,
            "one key head in all layers",
            r"key_value|keys|kv|heads",
            "norm|MLP|tie|bias",
        ),
        Slip(
            lambda config: parameters(config, layers=1),
            "one layer alone",
            r"layer",
            "norm|MLP|tie|bias|keys",
        ),
        Slip(
            lambda config: (
                parameters(config)
                + config["num_hidden_layers"]
                * (3 * config["hidden_size"] + 2 * config["intermediate_size"])
            ),
            "matrices with biases",
            r"bias",
            "norm|tie|keys",
        ),
    ],
)

# --- forward_flops ---


def flops_by_loops(config, n_tokens):
    d, heads = config["hidden_size"], config["num_attention_heads"]
    d_head, total = d // heads, 2 * d * config["vocab_size"]
    for _ in range(config["num_hidden_layers"]):
        rows = [d, d, *2 * [d_head * config["num_key_value_heads"]]]
        total += sum(2 * d * n for n in rows + 3 * [config["intermediate_size"]])
        for _ in range(heads):
            total += 2 * d_head * n_tokens + 2 * d_head * n_tokens
    return total


def flops_of_parameters(config, n_tokens):
    d, layers = config["hidden_size"], config["num_hidden_layers"]
    used = parameters(config | {"tie_word_embeddings": True}) - (2 * layers + 1) * d
    return 2 * used + 4 * layers * d * n_tokens


def flops_in_numpy(config, n_tokens):
    d, d_ff, vocab = (config[word] for word in ("hidden_size", "intermediate_size", "vocab_size"))
    shared = config["num_key_value_heads"] / config["num_attention_heads"]
    layer = np.array([4 * d * d, 4 * d * d * shared, 6 * d * d_ff, 4 * d * n_tokens], dtype=float)
    return int(np.rint(config["num_hidden_layers"] * layer.sum() + 2 * d * vocab))


def flops(config, n_tokens, per_weight=2, attended=4, keys=None, matrices=3, norms=0, heads=None):
    d, shared = config["hidden_size"], config["num_key_value_heads"]
    d_kv = d * shared // config["num_attention_heads"]
    weights = 2 * d * (d + (keys or d_kv)) + matrices * d * config["intermediate_size"] + norms * d
    layer = per_weight * weights + attended * d * n_tokens
    heads = 1 if heads is None else heads
    return config["num_hidden_layers"] * layer + heads * per_weight * config["vocab_size"] * d


def flops_of_shared_attention(config, n_tokens):
    return flops(config, n_tokens * config["num_key_value_heads"] / config["num_attention_heads"])


def flops_attending_once(config, n_tokens):
    return flops(config, 0) + 4 * config["hidden_size"] * n_tokens


def flops_of_every_head(config, n_tokens):
    return flops(config, n_tokens * config["num_attention_heads"])


FORWARD_FLOPS = Answers(
    right=[flops_by_loops, flops_of_parameters, flops_in_numpy],
    wrong=[
        Slip(
            lambda config, n: flops(config, n, per_weight=1),
            "one operation per weight",
            r"\b2\b|two|add|multipl|half",
            "share|tie|norm",
        ),
        Slip(
            flops_of_shared_attention,
            "attention of the key heads alone",
            r"share|every head|each head|key heads|all heads|save",
            "tie|norm|table",
        ),
        Slip(
            lambda config, n: flops(config, n, attended=2),
            "the average of the values is left out",
            r"values|average|\b4\b|both",
            "share|tie|norm|table",
        ),
        Slip(
            lambda config, n: flops(config, n, heads=0 if config["tie_word_embeddings"] else 1),
            "no head where it is tied",
            r"tie|head",
            "share|norm|attention",
        ),
        Slip(
            lambda config, n: flops(config, n, heads=1 if config["tie_word_embeddings"] else 2),
            "the table costs where it is not tied",
            r"tie|table|look",
            "share|norm|attention",
        ),
        Slip(lambda config, n: flops(config, n, heads=0), "no head", r"head|vocab", "share|norm"),
        Slip(
            lambda config, n: flops(config, n * n),
            "all queries of the text",
            r"one (token|query)|n_tokens|square|quadrat|attention",
            "share|tie|norm|table",
        ),
        Slip(
            flops_attending_once,
            "attention in one layer alone",
            r"layer|attention",
            "share|tie|norm|table",
        ),
        Slip(
            lambda config, n: flops(config, n + 1),
            "the token itself is counted twice",
            r"itself|included|n_tokens|attention|\+ 1",
            "share|tie|norm|table",
        ),
        Slip(
            lambda config, n: 3 * flops(config, n),
            "backward as well",
            r"backward|three|training|forward",
            "share|tie|norm",
        ),
        Slip(
            lambda config, n: flops(config, n, norms=2),
            "norms are counted",
            r"norm",
            "share|tie|table",
        ),
        Slip(
            lambda config, n: flops(config, n, keys=config["hidden_size"]),
            "keys and values as wide as queries",
            r"keys|values|kv|key_value|share",
            "tie|norm|table",
        ),
        Slip(
            lambda config, n: flops(config, n, matrices=2),
            "two matrices in the MLP",
            r"three|MLP|SwiGLU|gate|intermediate",
            "share|tie|norm",
        ),
        Slip(
            flops_of_every_head,
            "d_model for the width of each head",
            r"d_head|width|head|attention",
            "tie|norm|table",
        ),
        Slip(
            lambda config, n: flops(config, n / 2),
            "half of the tokens on average",
            r"n_tokens|half|average|attention",
            "tie|norm|table",
        ),
    ],
)

ANSWERS = {
    "equal_width": EQUAL_WIDTH,
    "shared_keys": SHARED_KEYS,
    "multi_step_rate": MULTI_STEP_RATE,
    "read_config": READ_CONFIG,
    "llama_parameters": LLAMA_PARAMETERS,
    "forward_flops": FORWARD_FLOPS,
}
