"""The checkers of lesson 34 know right answers, the untouched skeleton, and the typical wrong
answers."""

import torch

from course_lib.lab.checks import after_v4 as check
from course_lib.lab.solutions import after_v4 as solutions
from course_lib.layers.ngram_memory import hash_ngrams, memory_gate
from course_lib.layers.norm import rms_norm
from tests.lab.checks.cases import Case, tests_of


def weights_by_sum(config, matrices=3, of=lambda c: c["n_shared_experts"]):
    size = config["hidden_size"] * config["moe_intermediate_size"]
    layers = range(config["num_hidden_layers"])
    return [
        sum(matrices * size * (config[word] + of(config)) for _ in layers)
        for word in ("n_routed_experts", "num_experts_per_tok")
    ]


def bytes_by_loop(config, index=0.5, rotary=2, always=False, per=True, window=False):
    total = 0.0
    for ratio in config["compress_ratios"]:
        if not ratio and not window:
            continue
        plain = config["head_dim"] - config["qk_rope_head_dim"]
        entry = plain + rotary * config["qk_rope_head_dim"]
        if ratio == 4 or always:
            entry += index * config["index_head_dim"]
        total += entry / (ratio if per and ratio else 1)
    return total


def whole_bytes_by_layer(config):
    ratios = [ratio for ratio in config["compress_ratios"] if ratio]
    entry, index = config["head_dim"] + config["qk_rope_head_dim"], config["index_head_dim"] / 2
    return sum((entry + index * (ratio == 4)) // ratio for ratio in ratios)


def hashes_by_library(tokens, multipliers, size, before):
    ids = torch.tensor([list(tokens)])
    return hash_ngrams(ids, torch.tensor(multipliers), [[size]], before)[0, :, 0]


def pairs_of(tokens, before):
    return zip(tokens, [before, *tokens[:-1]], strict=True)


def gate_by_library(key, stream):
    ones = torch.ones(key.shape[-1])
    return memory_gate(rms_norm(key, ones, eps=0.0), rms_norm(stream, ones, eps=0.0))


def normed_score(key, stream):
    cosine = torch.nn.functional.cosine_similarity(key, stream, dim=-1)
    return cosine * key.shape[-1] ** 0.5


CASES = {
    check.expert_weights: Case(
        solution=solutions.expert_weights_solution,
        skeleton=lambda config: ...,
        also_right=[weights_by_sum],
        wrong=[
            (lambda c: (weights_by_sum(c)[0],) * 2, "multiplied by all experts"),
            (lambda c: weights_by_sum(c, of=lambda c: 0), "shared experts are missing"),
            (lambda c: weights_by_sum(c, matrices=2), "gate, up and down"),
            (
                lambda c: [n // c["num_hidden_layers"] for n in weights_by_sum(c)],
                "Every layer has its own",
            ),
            (lambda c: weights_by_sum(c)[::-1], "wrong way round"),
        ],
    ),
    check.cache_bytes: Case(
        solution=solutions.cache_bytes_solution,
        skeleton=lambda config: ...,
        also_right=[bytes_by_loop],
        wrong=[
            (lambda c: bytes_by_loop(c, index=0), "index keys are missing"),
            (lambda c: bytes_by_loop(c, index=1), "half of one"),
            (lambda c: bytes_by_loop(c, rotary=1), "rotary ones are in BF16"),
            (lambda c: bytes_by_loop(c, always=True), "Only those of ratio 4 choose"),
            (lambda c: bytes_by_loop(c, per=False), "divide by it"),
            (lambda c: bytes_by_loop(c, window=True), "layers of ratio 0 are counted"),
            (lambda c: bytes_by_loop(c, index=2), "four times too much"),
            (whole_bytes_by_layer, "as `//` does"),
        ],
    ),
    check.hash_pairs: Case(
        solution=solutions.hash_pairs_solution,
        skeleton=lambda tokens, multipliers, size, before: ...,
        also_right=[hashes_by_library],
        wrong=[
            (
                lambda t, m, size, b: [
                    (x * m[0] ^ y * m[1]) % size for x, y in zip(t, [*t[1:], b], strict=True)
                ],
                "look ahead",
            ),
            (
                lambda t, m, size, b: [(x * m[0] ^ y * m[0]) % size for x, y in pairs_of(t, b)],
                "order is lost",
            ),
            (
                lambda t, m, size, b: [(x * m[1] ^ y * m[0]) % size for x, y in pairs_of(t, b)],
                "multipliers are swapped",
            ),
            (
                lambda t, m, size, b: [(x * m[0] + y * m[1]) % size for x, y in pairs_of(t, b)],
                "Mix them by XOR",
            ),
            (lambda t, m, size, b: [x * m[0] ^ y * m[1] for x, y in pairs_of(t, b)], "no modulus"),
            (
                lambda t, m, size, b: [
                    (x * m[0] ^ t[i - 1] * m[1]) % size for i, x in enumerate(t)
                ],
                "tokens[-1]",
            ),
            (
                lambda t, m, size, b: [
                    ((x * m[0]) % size ^ (y * m[1]) % size) % size for x, y in pairs_of(t, b)
                ],
                "of each product",
            ),
            (lambda t, m, size, b: [(x ^ y) % size for x, y in pairs_of(t, b)], "not multiplied"),
        ],
    ),
    check.gate: Case(
        solution=solutions.gate_solution,
        skeleton=lambda key, stream: ...,
        also_right=[gate_by_library],
        wrong=[
            (lambda k, x: normed_score(k, x).sigmoid(), "the root is missing"),
            (lambda k, x: normed_score(k, x).abs().sqrt().sigmoid(), "sign is lost"),
            (lambda k, x: normed_score(k, x).clamp(min=0).sqrt().sigmoid(), "are cut off"),
            (lambda k, x: normed_score(k, x).sqrt().sigmoid(), "root or log of a negative number"),
            (lambda k, x: memory_gate(k, x), "not normed"),
            (
                lambda k, x: memory_gate(
                    k / k.norm(dim=-1, keepdim=True), x / x.norm(dim=-1, keepdim=True)
                ),
                "length 1 in place of RMS 1",
            ),
            (
                lambda k, x: (gate_by_library(k, x) / (1 - gate_by_library(k, x))).log(),
                "sigmoid is missing",
            ),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
