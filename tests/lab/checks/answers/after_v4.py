"""Answers to the exercises of lesson 34, written from their statements alone."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- expert_weights ---


def expert_weights(config, matrices=3, layers=True, shared=1, swap=False, chosen=True):
    size = matrices * config["hidden_size"] * config["moe_intermediate_size"]
    size *= config["num_hidden_layers"] if layers else 1
    extra = shared * config["n_shared_experts"]
    total = size * (config["n_routed_experts"] + extra)
    active = size * (config["num_experts_per_tok"] + extra) if chosen else total
    return (active, total) if swap else (total, active)


def weights_in_numpy(config):
    counts = np.array([config["n_routed_experts"], config["num_experts_per_tok"]], dtype=np.int64)
    one = np.prod([3, config["hidden_size"], config["moe_intermediate_size"]], dtype=np.int64)
    return (counts + config["n_shared_experts"]) * one * config["num_hidden_layers"]


def weights_layer_by_layer(config):
    total = active = 0
    for _layer in range(config["num_hidden_layers"]):
        for _matrix in ("gate", "up", "down"):
            one = config["hidden_size"] * config["moe_intermediate_size"]
            total += one * config["n_routed_experts"] + one * config["n_shared_experts"]
            active += one * config["num_experts_per_tok"] + one * config["n_shared_experts"]
    return total, active


def idle_weights(config):
    total, active = expert_weights(config)
    return total, total - active


def weights_and_routers(config):
    gates = config["n_routed_experts"] * config["hidden_size"] * config["num_hidden_layers"]
    return tuple(gates + n for n in expert_weights(config))


EXPERT_WEIGHTS = Answers(
    right=[expert_weights, weights_in_numpy, weights_layer_by_layer],
    wrong=[
        Slip(
            lambda c: expert_weights(c, chosen=False),
            "all experts are active",
            r"all experts|visits|num_experts_per_tok",
            "three|swiglu",
        ),
        Slip(lambda c: expert_weights(c, shared=0), "no shared expert", r"shared", "layer|three"),
        Slip(
            lambda c: (expert_weights(c)[0], expert_weights(c, shared=0)[1]),
            "shared expert not active",
            r"shared",
            "three|wrong way",
        ),
        Slip(
            lambda c: (expert_weights(c, shared=0)[0], expert_weights(c)[1]),
            "shared expert not in the total",
            r"shared",
            "three|wrong way",
        ),
        Slip(
            lambda c: expert_weights(c, matrices=2), "two matrices", r"three|gate", "shared|layer"
        ),
        Slip(lambda c: expert_weights(c, matrices=1), "one matrix", r"three|gate", "shared|layer"),
        Slip(lambda c: expert_weights(c, layers=False), "one layer", r"layer", "shared|three"),
        Slip(
            lambda c: expert_weights(c, swap=True),
            "the other way round",
            r"way round|first",
            "three",
        ),
        Slip(idle_weights, "those not visited", r"not visit", "three|shared"),
        Slip(
            lambda c: expert_weights(c | {"n_shared_experts": 1}),
            "one shared expert always",
            r"n_shared_experts",
            "three|missing",
        ),
        Slip(
            lambda c: tuple(n / 10**9 for n in expert_weights(c)), "in billions", "billion", "three"
        ),
        Slip(weights_and_routers, "routers too", r"router", "three|shared"),
    ],
)

# --- cache_bytes ---


def cache_bytes(
    config,
    entry=lambda head, rotary: head + rotary,
    index=lambda width, ratio: width / 2 if ratio == 4 else 0,
    share=lambda ratio: 1 / ratio if ratio else 0,
):
    total = 0
    for ratio in config["compress_ratios"]:
        numbers = entry(config["head_dim"], config["qk_rope_head_dim"])
        total += share(ratio) * (numbers + index(config["index_head_dim"], ratio))
    return total


def bytes_by_kind(config):
    ratios = config["compress_ratios"]
    entry = config["head_dim"] + config["qk_rope_head_dim"]
    total = sum(entry / r for r in ratios if r)
    return total + ratios.count(4) * config["index_head_dim"] / 8


def bytes_in_numpy(config):
    ratios = np.array(config["compress_ratios"], dtype=float)
    ratios = ratios[ratios > 0]
    sizes = np.full(len(ratios), config["head_dim"] + config["qk_rope_head_dim"], dtype=float)
    sizes[ratios == 4] += config["index_head_dim"] * 0.5
    return float((sizes / ratios).sum())


CACHE_BYTES = Answers(
    right=[cache_bytes, bytes_by_kind, bytes_in_numpy],
    wrong=[
        Slip(
            lambda c: cache_bytes(c, index=lambda width, ratio: 0),
            "no index keys",
            r"index",
            "rotary|window",
        ),
        Slip(
            lambda c: cache_bytes(c, index=lambda width, ratio: width if ratio == 4 else 0),
            "index keys of a byte a number",
            r"half|FP4",
            "rotary|window",
        ),
        Slip(
            lambda c: cache_bytes(c, index=lambda width, ratio: width / 2),
            "index keys in all layers",
            r"ratio 4|only",
            "rotary|window",
        ),
        Slip(
            lambda c: cache_bytes(c, entry=lambda head, rotary: head),
            "rotary numbers of one byte",
            r"rotary|BF16",
            "window|index",
        ),
        Slip(
            lambda c: cache_bytes(c, entry=lambda head, rotary: 2 * head),
            "all in BF16",
            r"FP8|rotary",
            "window|index",
        ),
        Slip(
            lambda c: cache_bytes(c, entry=lambda head, rotary: head + 2 * rotary),
            "rotary numbers besides",
            r"besides|last|head_dim",
            "window|index",
        ),
        Slip(
            lambda c: cache_bytes(c, share=lambda ratio: 1 if ratio else 0),
            "an entry per token",
            r"divide|each",
            "window|index",
        ),
        Slip(
            lambda c: cache_bytes(c, share=lambda ratio: 1 / ratio if ratio else 1),
            "sliding layers counted",
            r"window|ratio 0",
            "index",
        ),
        Slip(
            lambda c: cache_bytes(c, entry=lambda head, rotary: 2 * head - rotary),
            "one byte for the rotary numbers, two for the others",
            r"way round",
            "window|index",
        ),
        Slip(
            lambda c: cache_bytes(c, entry=lambda head, rotary: head - rotary),
            "no rotary numbers",
            r"rotary.*missing",
            "window|index",
        ),
        Slip(
            lambda c: cache_bytes(c, index=lambda width, ratio: width / 4 if ratio == 4 else 0),
            "FP4 as a quarter of a byte",
            r"quarter",
            "window|rotary",
        ),
        Slip(
            lambda c: cache_bytes(c, share=lambda r: {0: 0, 4: 0.5}.get(r, 1 / max(r, 1))),
            "two entries for a block that overlaps",
            r"overlap",
            "window|index",
        ),
        Slip(
            lambda c: (
                cache_bytes(c)
                + sum(
                    (c["head_dim"] + c["qk_rope_head_dim"]) * 128
                    for r in c["compress_ratios"]
                    if not r
                )
            ),
            "the windows of the sliding layers",
            r"window",
            "index",
        ),
        Slip(
            lambda c: (
                cache_bytes(c)
                + sum((c["head_dim"] + c["qk_rope_head_dim"]) * 128 for _ in c["compress_ratios"])
            ),
            "the windows of all layers",
            r"window",
            "index",
        ),
        Slip(lambda c: cache_bytes(c) * 8, "bits", r"bits", "window|index"),
        Slip(lambda c: round(cache_bytes(c)), "rounded", r"round", "window|index"),
        Slip(
            lambda c: cache_bytes(c) / c["num_hidden_layers"], "the mean", r"mean|add|sum", "index"
        ),
    ],
)

# --- hash_pairs ---


def hash_pairs(
    tokens,
    multipliers,
    size,
    before,
    mix=lambda a, b: a ^ b,
    order=(0, 1),
    last=lambda tokens, t, before: tokens[t - 1] if t else before,
    cut=lambda mixed, size: mixed % size,
):
    rows = []
    for t, token in enumerate(tokens):
        new, old = (multipliers[i] for i in order)
        rows.append(cut(mix(token * new, last(tokens, t, before) * old), size))
    return rows


def pairs_in_torch(tokens, multipliers, size, before):
    ids = torch.tensor([before, *tokens])
    return (ids[1:] * multipliers[0]).bitwise_xor(ids[:-1] * multipliers[1]) % size


def pairs_in_numpy(tokens, multipliers, size, before):
    ids = np.array([before, *tokens], dtype=np.int64)
    mixed = np.bitwise_xor(ids[1:] * multipliers[0], ids[:-1] * multipliers[1])
    return np.mod(mixed, size).tolist()


HASH_PAIRS = Answers(
    right=[hash_pairs, pairs_in_torch, pairs_in_numpy],
    wrong=[
        Slip(
            lambda t, m, size, b: hash_pairs(
                t, m, size, b, last=lambda t, i, b: t[i + 1] if i + 1 < len(t) else b
            ),
            "the next token",
            r"ahead|after|before",
            "modulus|swapped",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, b, order=(0, 0)),
            "one multiplier",
            r"order|same",
            "modulus|ahead",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, b, order=(1, 0)),
            "multipliers swapped",
            r"swap|newest|first",
            "modulus|ahead",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, b, mix=lambda x, y: x + y),
            "added",
            r"XOR|added",
            "modulus is taken before|ahead",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, b, cut=lambda mixed, size: mixed),
            "no modulus",
            r"modul|size|rows",
            "ahead|swap",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, b, last=lambda t, i, b: t[i - 1]),
            "wraps around",
            r"first token|before|-1",
            "ahead|swap",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, 0),
            "0 before the text",
            r"before|0 ",
            "ahead|swap",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, b)[1:],
            "no row for the first",
            r"first|length|row",
            "ahead|swap",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(
                t, m, size, b, mix=lambda x, y: x % size ^ y % size, cut=lambda mixed, size: mixed
            ),
            "modulus before XOR",
            r"before|modul",
            "ahead|swap",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(t, m, size, b, mix=lambda x, y: x & y),
            "mixed by AND",
            r"AND",
            "ahead|swap",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(
                t, m, size, b, mix=lambda x, y: x ^ y % size, cut=lambda mixed, size: mixed
            ),
            "no brackets",
            r"bracket|binds",
            "ahead|swap",
        ),
        Slip(
            lambda t, m, size, b: hash_pairs(
                t, m, size, b, order=(1, 0), last=lambda t, i, b: t[i + 1] if i + 1 < len(t) else b
            ),
            "the row of the pair that begins here",
            r"ahead|ends",
            "modulus|swapped",
        ),
        Slip(
            lambda t, m, size, b: [0] + hash_pairs(t, m, size, b)[1:],
            "row 0 for the first",
            r"always 0|before",
            "ahead|swap",
        ),
    ],
)

# --- gate ---


def rms(v):
    return v / v.pow(2).mean(dim=-1, keepdim=True).sqrt()


def gate(
    key,
    stream,
    norm=rms,
    by=lambda width: math.sqrt(width),
    root=lambda s: s.sign() * s.abs().sqrt(),
    squash=torch.sigmoid,
):
    score = (norm(key) * norm(stream)).sum(-1) / by(key.shape[-1])
    return squash(root(score))


def gate_by_einsum(key, stream):
    width = key.shape[-1]
    score = torch.einsum("nc,nc->n", F.rms_norm(key, (width,)), F.rms_norm(stream, (width,)))
    score = score / width**0.5
    return 1 / (
        1
        + torch.exp(
            -torch.where(score < 0, -((-score).clamp(min=0).sqrt()), score.clamp(min=0).sqrt())
        )
    )


def gate_in_numpy(key, stream):
    k, x = key.double().numpy(), stream.double().numpy()
    score = (k * x).sum(1) / np.linalg.norm(k, axis=1) / np.linalg.norm(x, axis=1)
    score = score * np.sqrt(k.shape[1])
    return 1 / (1 + np.exp(-np.sign(score) * np.sqrt(np.abs(score))))


GATE = Answers(
    right=[gate, gate_by_einsum, gate_in_numpy],
    wrong=[
        Slip(lambda k, x: gate(k, x, root=lambda s: s), "no root", r"root", "normed|sign is"),
        Slip(
            lambda k, x: gate(k, x, root=lambda s: s.abs().sqrt()),
            "no sign",
            r"sign",
            "normed|missing",
        ),
        Slip(
            lambda k, x: gate(k, x, root=lambda s: s.clamp(min=0).sqrt()),
            "cut at 0",
            r"cut|below|sign",
            "normed|missing",
        ),
        Slip(lambda k, x: gate(k, x, norm=lambda v: v), "not normed", r"norm|RMS", "sign|root is"),
        Slip(
            lambda k, x: gate(k, x, by=lambda width: 1), "not divided", r"divid", "sign is|sigmoid"
        ),
        Slip(
            lambda k, x: gate(k, x, by=lambda width: width),
            "divided by the width",
            r"width|root",
            "sign is|sigmoid is",
        ),
        Slip(
            lambda k, x: gate(k, x, norm=lambda v: F.normalize(v, dim=-1)),
            "length 1",
            r"length|RMS",
            "sign is|sigmoid is",
        ),
        Slip(lambda k, x: gate(k, x, squash=lambda s: s), "no sigmoid", r"sigmoid|0 and 1", "norm"),
        Slip(lambda k, x: gate(k, x, squash=torch.tanh), "tanh", r"tanh|sigmoid|0 and 1", "norm"),
        Slip(
            lambda k, x: gate(k, x, squash=lambda s: s.softmax(0)),
            "softmax over tokens",
            r"own|sum|sigmoid",
            "norm",
        ),
        Slip(
            lambda k, x: gate(rms(k), x, norm=lambda v: v),
            "only the key normed",
            r"only the key",
            "sign is|sigmoid",
        ),
        Slip(
            lambda k, x: gate(k, rms(x), norm=lambda v: v),
            "only the stream normed",
            r"only the stream",
            "sign is|sigmoid",
        ),
        Slip(
            lambda k, x: gate(k, x, norm=lambda v: v / v.pow(2).mean(0).sqrt()),
            "mean square over tokens",
            r"over the tokens",
            "sign is|sigmoid",
        ),
        Slip(
            lambda k, x: gate(k, x, norm=lambda v: v / v.pow(2).mean().sqrt()),
            "one size for all rows",
            r"one number",
            "sign is|sigmoid",
        ),
        Slip(
            lambda k, x: gate(k, x, norm=lambda v: F.layer_norm(v, v.shape[-1:], eps=0.0)),
            "layer norm",
            r"mean is subtracted",
            "sign is|sigmoid",
        ),
        Slip(
            lambda k, x: gate(k, x, root=lambda s: s).sqrt(),
            "root of the gate",
            r"of the gate",
            "sign is|norm",
        ),
        Slip(lambda k, x: 1 - gate(k, x), "turned round", r"way round", "sign is|norm"),
    ],
)

ANSWERS = {
    "expert_weights": EXPERT_WEIGHTS,
    "cache_bytes": CACHE_BYTES,
    "hash_pairs": HASH_PAIRS,
    "gate": GATE,
}
