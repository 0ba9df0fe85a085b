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
            "n_heads times|serves",
            "turns|tokens are",
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
            r"axis|dim\b|dim=|wrong shape|shape .* expected|flat",
            "turns",
        ),
        Slip(
            lambda k, n_heads: k,
            "nothing is repeated",
            "nothing is repeated|unchanged|not repeated",
            "turns|tokens are",
        ),
        Slip(
            lambda k, n_heads: k[:, :1].expand(-1, n_heads, -1, -1),
            "all use the first key head",
            "first key head|same key head|one key head|all heads (use|get)",
            "shape is|turns|tokens are",
        ),
        Slip(
            keys_mixing_tokens,
            "tokens and heads mixed by a reshape",
            "token|mix|reshape|view",
            "shape is|turns",
        ),
        Slip(
            lambda k, n_heads: k.repeat_interleave(n_heads // k.shape[1], dim=1).transpose(1, 2),
            "heads after tokens",
            "ax[ie]s|transpos|wrong shape|shape .*expected|order",
            "turns",
        ),
        Slip(keys_padded, "the other heads get zeros", "zero|empty|padd", "shape is|turns"),
        Slip(
            lambda k, n_heads: k.flip(1).repeat_interleave(n_heads // k.shape[1], dim=1),
            "the last key head comes first",
            "order|revers|flip",
            "shape is|turns|tokens are",
        ),
        Slip(
            lambda k, n_heads: k.repeat_interleave(k.shape[1], dim=1),
            "repeated G times instead of n_heads / G",
            "shape .*expected|wrong shape|G times|times",
            "turns|tokens are",
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
            r"before it|0\.0316|not of the",
            "the warm-up|exactly",
        ),
        Slip(rate_late, "the drops come one token late", "exactly|>=|has happened", "the warm-up"),
        Slip(
            lambda n_read, n_total, n_warmup, peak: rate(n_read, n_total, 0, peak),
            "no warm-up",
            "the warm-up|climb",
            "80 %|90 %",
        ),
        Slip(
            lambda *numbers: rate(*numbers, ahead=1),
            "the warm-up is one token ahead",
            "the warm-up|climb|ahead|one (token|step)",
            "80 %|90 %|missing",
        ),
        Slip(
            lambda *numbers: rate(*numbers, first=0.1, second=0.316),
            "the two drops exchanged",
            "exchang|swap|changed places",
            "the warm-up|exactly",
        ),
        Slip(
            lambda *numbers: rate(*numbers, second=0.316),
            "no second drop",
            "second drop|90 %",
            "the warm-up|exactly|first drop is",
        ),
        Slip(
            rate_after_the_warm_up,
            "80 % of what follows the warm-up",
            "all tokens|after the warm|all the tokens|of all",
            "climb",
        ),
        Slip(
            lambda n_read, n_total, n_warmup, peak: rate(n_read, n_total, n_warmup, 1.0),
            "the peak is forgotten",
            "share of the peak|times `?peak|peak is",
            "the warm-up",
        ),
        Slip(rate_by_cosine, "a cosine", "cosine|level|stays", "the warm-up"),
        Slip(
            lambda n_read, n_total, n_warmup, peak: (
                rate(n_read, n_total, n_warmup, peak)
                if n_read >= n_warmup
                else peak * n_read / n_total
            ),
            "the warm-up over all tokens",
            "the warm-up|climb",
            "80 %|90 %|missing",
        ),
        Slip(
            lambda *numbers: rate(*numbers, first=1 - 0.316, second=1 - 0.1),
            "the rate drops by the share instead of to it",
            r"\bto 0|\*to\*|\bby\b",
            "the warm-up|exactly",
        ),
        Slip(
            lambda *numbers: rate(*numbers, drops=(0.8, 1.7)),
            "90 % of all after the first drop",
            "second drop|90 %",
            "the warm-up|exactly",
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
            r"n_kv_heads is None|'n_kv_heads': got None|\.get",
            "d_head is|rope_theta may|is tied",
        ),
        Slip(
            changed(d_head=lambda c: c.get("head_dim", c["hidden_size"] // 1)),
            "the whole width for a head's",
            "d_head|'d_head'",
            "n_kv_heads is|rope_theta may|is tied",
        ),
        Slip(
            changed(d_head=lambda c: c["hidden_size"] // c["num_attention_heads"]),
            "head_dim is not read",
            "even where the file says head_dim|head_dim is|not read",
            "n_kv_heads is|rope_theta may|is tied",
        ),
        Slip(
            changed(d_head=lambda c: c["head_dim"] or c["hidden_size"] // c["num_attention_heads"]),
            "an error without head_dim",
            "KeyError|left out|missing",
            "n_kv_heads is|rope_theta may|is tied",
        ),
        Slip(
            changed(rope_base=lambda c: c.get("rope_theta", 10_000.0)),
            "the base from the file alone",
            "inside the table|in the table",
            "n_kv_heads is|d_head is|is tied",
        ),
        Slip(
            changed(rope_base=lambda c: (c.get("rope_parameters") or {}).get("rope_theta", 1e4)),
            "the base from the table alone",
            "older|file itself",
            "n_kv_heads is|d_head is|is tied",
        ),
        Slip(
            changed(rope_base=lambda c: c.get("rope_parameters", c).get("rope_theta", 1e4)),
            "an error where rope_parameters is None",
            "NoneType|is None|rope_parameters may",
            "n_kv_heads is|d_head is|is tied",
        ),
        Slip(
            changed(rope_base=lambda c: (c.get("rope_parameters") or c).get("rope_theta")),
            "None for a base that is nowhere",
            r"10[,_]?000\.?0? where|'rope_base': got None|nowhere|rope_base is None",
            "n_kv_heads is|d_head is|is tied",
        ),
        Slip(
            changed(tied=lambda c: c.get("tie_word_embeddings", True)),
            "tied unless told otherwise",
            "is tied|means False",
            "n_kv_heads is|d_head is|rope_theta may",
        ),
        Slip(
            changed(n_kv_heads=lambda c: c.get("num_key_value_heads") or 1),
            "one key head where none is told",
            "n_kv_heads is 1|as many",
            "d_head is|rope_theta may|is tied",
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
            "d_head is .*key|over num_attention_heads|heads of queries",
            "n_kv_heads is|rope_theta may|is tied",
        ),
        Slip(
            config_in_place,
            "the file is changed",
            "changed its argument|in place",
            "n_kv_heads is|rope_theta may|is tied",
        ),
        Slip(
            config_by_its_words,
            "the file's own words as names",
            r"names?\b|keys|missing .*n_kv_heads|entries|words",
            "n_kv_heads is|rope_theta may|is tied",
        ),
        Slip(
            changed(
                d_head=lambda c: c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
            ),
            "None for a head's width",
            r"d_head is None|'d_head': got None|\.get",
            "n_kv_heads is|rope_theta may|is tied",
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
            "matrix of its own|as large as the table",
            "norm|MLP has|bias",
        ),
        Slip(
            lambda config: parameters(config, tables=2),
            "the table always twice",
            "counts once|tied embeddings",
            "norm|MLP has|bias",
        ),
        Slip(
            lambda config: parameters(config, tables=2 if config["tie_word_embeddings"] else 1),
            "tied and untied exchanged",
            "exchang|other way round|changed places|backwards|inverted",
            "norm|MLP has|bias",
        ),
        Slip(
            parameters_square,
            "keys and values as wide as queries",
            "key and value matrices|keys and values",
            "norm|MLP has|tied emb|bias|output",
        ),
        Slip(
            lambda config: parameters(config, values=config["hidden_size"]),
            "values as wide as queries",
            "value matri|values",
            "norm|MLP has|tied emb|bias|output",
        ),
        Slip(
            parameters_narrow_output,
            "the output matrix as narrow as keys",
            "output|square",
            "norm|MLP has|tied emb|bias|missing",
        ),
        Slip(
            lambda config: parameters(config, matrices=2),
            "two matrices in the MLP",
            "three matrices|counts two",
            "norms|key heads|bias|tied",
        ),
        Slip(
            lambda config: parameters(config, norms=1),
            "one norm in each layer",
            "two in each|norms|two norms",
            "MLP has|tied emb|bias",
        ),
        Slip(
            lambda config: parameters(config, last=0),
            "no norm before the head",
            "last norm|before the head",
            "MLP has|tied emb|bias|norms of the layers",
        ),
        Slip(
            lambda config: parameters(config, norms=4, last=2),
            "norms with biases",
            "norms? .*(bias|one number|twice)|bias",
            "MLP has|tied emb|missing",
        ),
        Slip(
            lambda config: parameters(config, norms=0, last=0),
            "no norms at all",
            "norms are missing",
            "MLP has|tied emb|bias",
        ),
        Slip(
            parameters_of_one_head,
            "one key head in all layers",
            "one key head|num_key_value_heads (heads|of)|key and value|all of the",
            "norm|MLP has|tied emb|bias|d_model wide",
        ),
        Slip(
            lambda config: parameters(config, layers=1),
            "one layer alone",
            "has one layer|one layer",
            "norm|MLP has|tied emb|bias",
        ),
        Slip(
            lambda config: (
                parameters(config)
                + config["num_hidden_layers"]
                * (3 * config["hidden_size"] + 2 * config["intermediate_size"])
            ),
            "matrices with biases",
            "bias",
            "norm|tied emb|MLP has",
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
            "half of it|multiplication|addition",
            "key heads|tied",
        ),
        Slip(
            flops_of_shared_attention,
            "attention of the key heads alone",
            "key heads|each head of",
            "tied|norms",
        ),
        Slip(
            lambda config, n: flops(config, n, attended=2),
            "the average of the values is left out",
            "half of attention|values",
            "key heads|tied|norms|token table",
        ),
        Slip(
            lambda config, n: flops(config, n, heads=0 if config["tie_word_embeddings"] else 1),
            "no head where it is tied",
            "tied head|tied or not",
            "key heads|norms",
        ),
        Slip(
            lambda config, n: flops(config, n, heads=1 if config["tie_word_embeddings"] else 2),
            "the table costs where it is not tied",
            "token table|look",
            "key heads|norms|head is missing",
        ),
        Slip(
            lambda config, n: flops(config, n, heads=0),
            "no head",
            "head is missing|the head",
            "key heads|norms",
        ),
        Slip(
            lambda config, n: flops(config, n * n),
            "all queries of the text",
            r"one token|one query|whole text|n_tokens\*\*2|square|quadrat|all (its )?queries",
            "key heads|tied|norms|token table",
        ),
        Slip(
            flops_attending_once,
            "attention in one layer alone",
            "(each|every|all) layers?|one layer",
            "key heads|tied|norms|token table|There are",
        ),
        Slip(
            lambda config, n: flops(config, n + 1),
            "the token itself is counted twice",
            r"itself|included|already|\+ 1",
            "key heads|tied|token table",
        ),
        Slip(
            lambda config, n: 3 * flops(config, n),
            "backward as well",
            "backward|training",
            "key heads|tied|norms",
        ),
        Slip(
            lambda config, n: flops(config, n, norms=2),
            "norms are counted",
            "norms",
            "key heads|tied|token table",
        ),
        Slip(
            lambda config, n: flops(config, n, keys=config["hidden_size"]),
            "keys and values as wide as queries",
            "key and value matrices|keys and values",
            "norm|MLP has|tied emb|bias|output",
        ),
        Slip(
            lambda config, n: flops(config, n, matrices=2),
            "two matrices in the MLP",
            "three matrices|counts two",
            "norms|key heads|bias|tied",
        ),
        Slip(
            flops_of_every_head,
            "d_model for the width of each head",
            "d_head|width of (a|each|one) head|d_model wide|together",
            "tied|norms|token table|key heads",
        ),
        Slip(
            lambda config, n: flops(config, n / 2),
            "half of the tokens on average",
            "half of the|n_tokens|on average|all of them",
            "tied|norms|token table",
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
