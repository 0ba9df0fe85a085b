"""Checkers of lesson 34. The truths: sums layer by layer, a hash over bits, a gate by hand."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, checker
from course_lib.lab.checks.slips import Slip, judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


def _expert_config(
    d_model: int, width: int, layers: int, routed: int, chosen: int, shared: int
) -> dict:
    return {
        "hidden_size": d_model,
        "moe_intermediate_size": width,
        "num_hidden_layers": layers,
        "n_routed_experts": routed,
        "num_experts_per_tok": chosen,
        "n_shared_experts": shared,
    }


EXPERT_CASES = [
    (_expert_config(4096, 2048, 43, 256, 6, 1),),
    (_expert_config(10, 7, 3, 8, 2, 1),),
    (_expert_config(12, 20, 2, 16, 3, 2),),
    (_expert_config(6, 4, 5, 9, 4, 0),),
]


def _experts(
    config: dict, matrices: int = 3, per_layer: bool = False, shared: Callable = lambda n: n
) -> tuple[int, int]:
    """Add up the layers one by one; the arguments are slips."""
    each = matrices * config["hidden_size"] * config["moe_intermediate_size"]
    n_shared, counts = shared(config["n_shared_experts"]), [0, 0]
    for _ in range(1 if per_layer else config["num_hidden_layers"]):
        counts[0] += each * (config["n_routed_experts"] + n_shared)
        counts[1] += each * (config["num_experts_per_tok"] + n_shared)
    return counts[0], counts[1]


def _routers(config: dict) -> int:
    return config["num_hidden_layers"] * config["hidden_size"] * config["n_routed_experts"]


SLIPS_OF_EXPERTS: list[Slip] = [
    (
        lambda c: (_experts(c)[0],) * 2,
        "a token is multiplied by all experts. It visits `num_experts_per_tok` of the routed ones:"
        " count those, and the shared ones.",
    ),
    (
        lambda c: _experts(c, shared=lambda n: 0),
        "the shared experts are missing. They are among the weights, and every token visits them.",
    ),
    (
        lambda c: (_experts(c)[0], _experts(c, shared=lambda n: 0)[1]),
        "the shared experts are missing among the active ones. Every token visits them.",
    ),
    (
        lambda c: (_experts(c, shared=lambda n: 0)[0], _experts(c)[1]),
        "the shared experts are missing in the total.",
    ),
    (
        lambda c: _experts(c, matrices=2),
        "an expert has two matrices in your count. It is a SwiGLU, which has three: gate, up and"
        " down.",
    ),
    (
        lambda c: _experts(c, matrices=1),
        "an expert has one matrix in your count. It is a SwiGLU, which has three: gate, up and"
        " down.",
    ),
    (lambda c: _experts(c, per_layer=True), "that is one layer. Every layer has its own experts."),
    (
        lambda c: _experts(c)[::-1],
        "the two are the wrong way round: first all weights, then the active ones.",
    ),
    (
        lambda c: _experts(c, shared=lambda n: 1),
        "one shared expert is counted whatever the file says. Read `n_shared_experts`.",
    ),
    (
        lambda c: tuple(n + _routers(c) for n in _experts(c)),
        "the routers are counted as well. Leave them out: only the experts' matrices count here.",
    ),
    (
        lambda c: tuple(n / 1e9 for n in _experts(c)),
        "that is in billions. Give the weights themselves.",
    ),
    (
        lambda c: (_experts(c)[0], _experts(c)[0] - _experts(c)[1]),
        "the second number counts the experts that a token does not visit.",
    ),
    (
        lambda c: (
            _experts(c)[0],
            _experts(c)[0] * c["num_experts_per_tok"] / c["n_routed_experts"],
        ),
        "you take the share of the chosen experts of everything. The shared ones are visited"
        " whatever is chosen.",
    ),
]


@checker
def expert_weights(attempt: Attempt) -> str:
    """Count the weights of all experts, and of those that a token visits."""
    judge_by_slips(
        attempt,
        EXPERT_CASES,
        _experts,
        SLIPS_OF_EXPERTS,
        lambda config: f"the weights for {config}",
        plain=_as_pair,
    )
    total, active = (round(n / 1e9, 1) for n in _experts(*EXPERT_CASES[0]))
    return f"V4-Flash: {total} billion in experts, {active} of them for a token."


def _as_pair(got: object) -> object:
    return tuple(got) if isinstance(got, list) else got


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _cache_config(head: int, rotary: int, index: int, ratios: Sequence[int]) -> dict:
    return {
        "head_dim": head,
        "qk_rope_head_dim": rotary,
        "index_head_dim": index,
        "compress_ratios": list(ratios),
        "num_hidden_layers": len(ratios),
        "sliding_window": 128,
    }


CACHE_CASES = [  # small ones first: a message names the first that differs
    (_cache_config(32, 8, 16, [0, 4, 16, 4]),),
    (_cache_config(48, 12, 20, [128, 64, 4]),),
    (_cache_config(24, 10, 7, [0, 0, 4]),),
    (_cache_config(512, 64, 128, [0, 0, *[4, 128] * 20, 4]),),
]


def _cache(
    config: dict,
    entry: Callable[[int, int], float] = lambda head, rotary: (head - rotary) * 1 + rotary * 2,
    index: Callable[[int, int], float] = lambda width, ratio: width / 2 if ratio == 4 else 0,
    per: Callable[[int], float] = lambda ratio: 1 / ratio if ratio else 0,
) -> float:
    """Add up the layers' bytes for a token; the arguments are slips."""
    head, rotary, width = (config[w] for w in ("head_dim", "qk_rope_head_dim", "index_head_dim"))
    return sum(
        (entry(head, rotary) + index(width, ratio)) * per(ratio)
        for ratio in config["compress_ratios"]
    )


def _window(config: dict, layers: int) -> int:
    return layers * config["sliding_window"] * (config["head_dim"] + config["qk_rope_head_dim"])


def _floored_cache(config: dict) -> int:
    layers = [config | {"compress_ratios": [ratio]} for ratio in config["compress_ratios"]]
    return sum(math.floor(_cache(layer)) for layer in layers)


SLIPS_OF_CACHE: list[Slip] = [
    (
        lambda c: _cache(c, index=lambda width, ratio: 0),
        "the index keys are missing. A layer of ratio 4 chooses blocks by them, so they are in the"
        " cache as well.",
    ),
    (
        lambda c: _cache(c, index=lambda width, ratio: width / 2),
        "all layers keep index keys in your count. Only those of ratio 4 choose blocks; the others"
        " read all of theirs.",
    ),
    (
        lambda c: _cache(c, index=lambda width, ratio: width if ratio == 4 else 0),
        "an index key's numbers take one byte each in your count. In FP4 they take half of one.",
    ),
    (  # the same for half a byte that is not divided by 4, and for two bytes that are
        lambda c: _cache(c, index=lambda width, ratio: 2 * width if ratio == 4 else 0),
        "the index keys weigh four times too much. There is one for each block of 4 tokens, so it"
        " is divided by the ratio; and a number in FP4 takes half a byte, not two.",
    ),
    (
        lambda c: _cache(c, entry=lambda head, rotary: head),
        "all numbers of an entry take one byte in your count. The rotary ones are in BF16: two.",
    ),
    (
        lambda c: _cache(c, entry=lambda head, rotary: 2 * head),
        "all numbers of an entry take two bytes in your count. Only the rotary ones are in BF16,"
        " the others in FP8: one.",
    ),
    (
        lambda c: _cache(c, entry=lambda head, rotary: head + 2 * rotary),
        "the rotary numbers are counted besides the head's. They are the last of its `head_dim`.",
    ),
    (
        lambda c: _cache(c, entry=lambda head, rotary: 2 * (head + rotary)),
        "keys and values are counted apart. In V4 one entry is both.",
    ),
    (
        lambda c: _cache(c, per=lambda ratio: 1 if ratio else 0),
        "a layer keeps an entry for each token in your count. One of ratio r keeps one for each r"
        " tokens: divide by it.",
    ),
    (
        lambda c: _cache(c, per=lambda ratio: 1 / ratio if ratio else 1),
        "layers of ratio 0 are counted. They keep a window of 128 tokens however long the text is:"
        " another token costs nothing.",
    ),
    (
        lambda c: _cache(c, entry=lambda head, rotary: 2 * (head - rotary) + rotary),
        "the bytes are the wrong way round: the rotary numbers take two, the others one.",
    ),
    (
        lambda c: _cache(c, entry=lambda head, rotary: head - rotary),
        "the rotary numbers are missing. They are in the cache as well, with two bytes each.",
    ),
    (
        lambda c: _cache(c, index=lambda width, ratio: width / 4 if ratio == 4 else 0),
        "an index key's numbers take a quarter of a byte in your count. FP4 has 4 bits: half a"
        " byte.",
    ),
    (
        lambda c: _cache(c, per=lambda ratio: (1 + (ratio == 4)) / ratio if ratio else 0),
        "layers of ratio 4 keep two entries for each four tokens in your count. An entry is made of"
        " eight tokens, as blocks overlap, but there is still one for each four.",
    ),
    (
        lambda c: _cache(c) + _window(c, c["compress_ratios"].count(0)),
        "the windows are counted. They do not grow with the text.",
    ),
    (
        lambda c: _cache(c) + _window(c, len(c["compress_ratios"])),
        "the windows are counted. They do not grow with the text.",
    ),
    (lambda c: 8 * _cache(c), "that is in bits. A byte has eight."),
    (
        _floored_cache,
        "each layer's bytes are rounded down, as `//` does. A block's bytes are shared by its"
        " tokens, so fractions are right: `/`.",
    ),
    (
        lambda c: round(_cache(c)),
        "the result is rounded. A block's bytes are shared by its tokens, so fractions are right.",
    ),
    (
        lambda c: _cache(c) / len(c["compress_ratios"]),
        "that is the mean over the layers. The cache holds all of them: add them up.",
    ),
]


@checker
def cache_bytes(attempt: Attempt) -> str:
    """Count the bytes of V4's cache that one more token costs."""
    judge_by_slips(
        attempt, CACHE_CASES, _cache, SLIPS_OF_CACHE, lambda config: f"the bytes for {config}"
    )
    return f"V4-Flash keeps {_cache(*CACHE_CASES[-1]):,.0f} bytes per token."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _bits_xor(a: int, b: int) -> int:
    """XOR by the digits of the binary numbers."""
    x, y = (f"{number:064b}" for number in (a, b))
    return int("".join(str((p != q) * 1) for p, q in zip(x, y, strict=True)), 2)


def _hashes(
    tokens: Sequence[int],
    multipliers: tuple[int, int],
    size: int,
    before: int,
    mix: Callable[[int, int], int] = _bits_xor,
    start: Callable[[Sequence[int], int], int] = lambda tokens, before: before,
) -> list[int]:
    found = []
    for t, token in enumerate(tokens):
        last = tokens[t - 1] if t else start(tokens, before)
        found.append(mix(token * multipliers[0], last * multipliers[1]) % size)
    return found


def _ahead(tokens, multipliers, size, before):
    later = [*tokens[1:], before]
    return [
        (token * multipliers[0] ^ after * multipliers[1]) % size
        for token, after in zip(tokens, later, strict=True)
    ]


HASH_CASES = [
    ([3, 1, 3, 1], (5, 7), 11, 0),
    ([9, 2, 4, 4, 4, 9, 2], (1234567, 7654321), 101, 50),
    ([7], (3, 9), 13, 5),
    ([40, 41, 42, 43, 0, 12], (2**40 + 15, 2**41 + 3), 1009, 50),
]

SLIPS_OF_HASH: list[Slip] = [
    (
        _ahead,
        "your pairs look ahead: a token is paired with the one after it. A memory that reads it"
        " tells the model what it is asked for. Pair each token with the one before.",
    ),
    (
        lambda t, m, size, before: _hashes(t, (m[0], m[0]), size, before),
        "both tokens are multiplied by the same number, so the pair's order is lost, and a token"
        " twice in a row always gives 0.",
    ),
    (
        lambda t, m, size, before: _hashes(t, (m[1], m[0]), size, before),
        "the multipliers are swapped: the first belongs to the newest token.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, before, mix=lambda a, b: a + b),
        "the products are added. Mix them by XOR, `^`.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, before, mix=lambda a, b: a | b),
        "the products are mixed by OR. Mix them by XOR, `^`.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, before, mix=lambda a, b: a * b),
        "the products are multiplied. Mix them by XOR, `^`.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, before, mix=lambda a, b: a & b),
        "the products are mixed by AND. Mix them by XOR, `^`.",
    ),
    (
        lambda t, m, size, before: [
            a * m[0] ^ b * m[1] % size for a, b in zip(t, [before, *t[:-1]], strict=True)
        ],
        "the modulus takes the second product alone: `^` binds more weakly than `%`. Put the XOR in"
        " brackets.",
    ),
    (
        lambda t, m, size, before: _ahead(t, m[::-1], size, before),
        "the row stands at the older token of its pair, so it looks ahead. It belongs to the token"
        " at which the pair ends.",
    ),
    (
        lambda t, m, size, before: [0, *_hashes(t, m, size, before)[1:]],
        "the first token's row is always 0 in your answer. It makes a pair with `before`,"
        " which is hashed as any other.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, 2**80, before),
        "no modulus is taken: a hash must name one of `size` rows.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, before, start=lambda tokens, b: tokens[-1]),
        "the first token is paired with the last one of the text: `tokens[-1]`. What stands before"
        " a text is `before`.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, before, start=lambda tokens, b: tokens[0]),
        "the first token is paired with itself. What stands before a text is `before`.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, 0),
        "0 stands before the text, which is a token. What stands there is `before`.",
    ),
    (
        lambda t, m, size, before: _hashes(t, m, size, before)[1:],
        "the first token has no row. It makes a pair with `before`.",
    ),
    (
        lambda t, m, size, before: [
            (a ^ b) * m[0] % size for a, b in zip(t, [before, *t[:-1]], strict=True)
        ],
        "the tokens are mixed before they are multiplied, so the pair's order is lost.",
    ),
    (
        lambda t, m, size, before: [token * m[0] % size for token in t],
        "each token is hashed alone. A row belongs to a pair.",
    ),
    (
        lambda t, m, size, before: [
            (a * m[0]) % size ^ (b * m[1]) % size for a, b in zip(t, [before, *t[:-1]], strict=True)
        ],
        "the modulus is taken before the XOR, whose result may be `size` or more.",
    ),
    (
        lambda t, m, size, before: _hashes(
            t, m, size, before, mix=lambda a, b: (a % size) ^ (b % size)
        ),
        "the modulus is taken of each product, and once more of their XOR. That is another hash:"
        " take it once, at the end.",
    ),
    (
        lambda t, m, size, before: _hashes(t, (1, 1), size, before),
        "the tokens are not multiplied, so the pair's order is lost.",
    ),
]


@checker
def hash_pairs(attempt: Attempt) -> str:
    """Name the rows of a table of 2-grams."""
    judge_by_slips(
        attempt,
        HASH_CASES,
        _hashes,
        SLIPS_OF_HASH,
        lambda t, m, size, before: (
            f"the rows of {t}, multipliers {m}, size {size}, before {before}"
        ),
        plain=lambda got: got.tolist() if isinstance(got, Tensor) else got,
    )
    return "order counts, and nothing looks ahead."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _gate_cases() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(34)
    keys, streams = [[3.0, 1, 2, 1], [1, 2, 0, 4]], [[1.0, 2, 1, 1], [-2, 1, 5, -3]]
    cases = [(torch.tensor(keys), torch.tensor(streams))]
    cases += [(torch.tensor([[1.0, 2.0]]), torch.tensor([[-30.0, -10.0]]))]
    return cases + [
        (5 * torch.randn(n, width, generator=rng), torch.randn(n, width, generator=rng))
        for n, width in ((3, 6), (5, 16))
    ]


def _scores(key: Tensor, stream: Tensor, normed: bool = True) -> list[float]:
    """The products of two vectors of RMS 1, by loops; not yet divided."""
    products = []
    for k, x in zip(key.double().tolist(), stream.double().tolist(), strict=True):
        sizes = [math.sqrt(sum(v * v for v in row) / len(row)) if normed else 1.0 for row in (k, x)]
        products.append(sum(a * b for a, b in zip(k, x, strict=True)) / sizes[0] / sizes[1])
    return products


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, score))))


def _signed_root(score: float) -> float:
    return math.copysign(math.sqrt(abs(score)), score)


def _normed_gates(key: Tensor, stream: Tensor, norm_key: Callable, norm_stream: Callable) -> Tensor:
    """The gates with norms of their own, which are slips."""
    score = (norm_key(key) * norm_stream(stream)).sum(-1) / key.shape[-1] ** 0.5
    return (score.sign() * score.abs().sqrt()).sigmoid()


def _over(axis: int | None) -> Callable[[Tensor], Tensor]:
    return lambda v: v / v.square().mean(axis, keepdim=True).sqrt()


def _centred(v: Tensor) -> Tensor:
    return _over(-1)(v - v.mean(-1, keepdim=True))


def _gates(
    key: Tensor,
    stream: Tensor,
    root: Callable[[float], float] = _signed_root,
    divide: Callable[[int], float] = math.sqrt,
    normed: bool = True,
    squash: Callable[[float], float] = _sigmoid,
) -> Tensor:
    width = key.shape[-1]
    products = _scores(key, stream, normed)
    return torch.tensor([squash(root(product / divide(width))) for product in products])


SLIPS_OF_GATE: list[Slip] = [
    (
        lambda k, x: _gates(k, x, root=lambda s: s),
        "the root is missing: the score goes into the sigmoid as it is. Take the root of its size,"
        " and keep its sign.",
    ),
    (
        lambda k, x: _gates(k, x, root=lambda s: math.sqrt(abs(s))),
        "the sign is lost: a key that points away from the stream opens the gate as far as one that"
        " fits. Multiply the root by the score's sign.",
    ),
    (
        lambda k, x: _gates(k, x, root=lambda s: math.sqrt(max(s, 0))),
        "scores below 0 are cut off, so a gate is never below one half. Take the root of the size,"
        " and give it the score's sign.",
    ),
    (
        lambda k, x: _gates(k, x, root=lambda s: math.copysign(1, s)),
        "only the score's sign is left. Multiply it by the root of the score's size.",
    ),
    (
        lambda k, x: _gates(k, x, normed=False),
        "key and stream are not normed: with a long key the gate is all or nothing. Divide both by"
        " their RMS first.",
    ),
    (
        lambda k, x: _normed_gates(k, x, _over(-1), lambda v: v),
        "only the key is normed. Norm the stream to RMS 1 as well.",
    ),
    (
        lambda k, x: _normed_gates(k, x, lambda v: v, _over(-1)),
        "only the stream is normed. Norm the key to RMS 1 as well.",
    ),
    (
        lambda k, x: _normed_gates(k, x, _over(0), _over(0)),
        "the mean square is taken over the tokens. Each row is normed by its own numbers.",
    ),
    (
        lambda k, x: _normed_gates(k, x, _over(None), _over(None)),
        "all rows are divided by one number. Each row is normed by its own numbers.",
    ),
    (
        lambda k, x: _normed_gates(k, x, _centred, _centred),
        "the mean is subtracted, which a layer norm does. Divide by the RMS alone.",
    ),
    (
        lambda k, x: _gates(k, x, root=lambda s: s).sqrt(),
        "the root is taken of the gate. Take it of the score's size, before the sigmoid.",
    ),
    (lambda k, x: 1 - _gates(k, x), "the gate is the wrong way round: a key that fits shuts it."),
    (
        lambda k, x: _gates(k, x, divide=lambda width: 1),
        "the product is not divided by the root of the width, so wide vectors make the gate all or"
        " nothing.",
    ),
    (
        lambda k, x: _gates(k, x, divide=lambda width: width),
        "the product is divided by the width. Divide by its square root, after norms to RMS 1 and"
        " not to length 1, and before the signed root is taken.",
    ),
    (
        lambda k, x: _gates(k, x, squash=lambda s: s),
        "the sigmoid is missing: a gate is between 0 and 1.",
    ),
    (
        lambda k, x: _gates(k, x, squash=math.tanh),
        "tanh goes from -1 to 1. A gate is between 0 and 1: the sigmoid.",
    ),
    (
        lambda k, x: _gates(k, x, squash=lambda s: s).softmax(0),
        "the gates of the tokens share a sum of 1. Each token has a gate of its own: a sigmoid.",
    ),
    (
        lambda k, x: _gates(k, x, root=lambda s: _signed_root(_signed_root(s))),
        "the root is taken twice.",
    ),
    (
        lambda k, x: _gates(k, x, divide=lambda width: width**1.5),
        "the vectors have length 1 in place of RMS 1. Divide by the root of the mean of the"
        " squares.",
    ),
]


@checker
def gate(attempt: Attempt) -> str:
    """Tell how far each token's memory is let in."""
    judge_by_slips(
        attempt,
        _gate_cases(),
        _gates,
        SLIPS_OF_GATE,
        lambda k, x: f"the gates of keys {k.tolist()} and a stream {x.tolist()}"[:160],
    )
    return "a key that fits opens the gate, one that points away closes it."
