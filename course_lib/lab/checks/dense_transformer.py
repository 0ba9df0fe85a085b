"""Checkers of lesson 18. The truths are loops, and modules whose numbers torch counts."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def equal_width(attempt: Attempt) -> str:
    """Find the width at which a SwiGLU has as many parameters as an MLP with biases."""
    cases = [(4, 16), (64, 256), (64, 100), (100, 800), (48, 47), (768, 3072)]

    def numbers(*modules: nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    def truth(d_model: int, d_ff: int) -> int:
        with torch.device("meta"):
            mlp = numbers(nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model))
            return min(range(1, 2 * d_ff), key=lambda w: abs(3 * d_model * w - mlp))

    slips = [
        (
            lambda d, f: round(2 * d * f / (3 * d)),
            "the biases are missing: the MLP has d_ff of them after the first matrix and d_model"
            " after the second.",
        ),
        (
            lambda d, f: round(8 * d / 3),
            "this assumes that d_ff is four times d_model. It may be any width.",
        ),
        (
            lambda d, f: (2 * d * f + f + d) // (3 * d),
            "rounded down. Wanted is the nearest whole number, which may be above.",
        ),
        (
            lambda d, f: -(-(2 * d * f + f + d) // (3 * d)),
            "rounded up. Wanted is the nearest whole number, which may be below.",
        ),
        (
            lambda d, f: (2 * d * f + f + d) / (3 * d),
            "that is no whole number: round it to the nearest.",
        ),
        (
            lambda d, f: round((2 * d * f + f + d) / (2 * d)),
            "a SwiGLU has three matrices, gate, up and down: this counts two.",
        ),
        (
            lambda d, f: 2 * d * f + f + d,
            "that is how many parameters the MLP has. Which width gives a SwiGLU as many?",
        ),
        (
            lambda d, f: round((2 * d * f + f) / (3 * d)),
            "the MLP's second bias is missing: it has d_model numbers.",
        ),
        (
            lambda d, f: round((2 * d * f + d) / (3 * d)),
            "the MLP's first bias is missing: it has d_ff numbers.",
        ),
        (
            lambda d, f: round((2 * d * f + 2 * d) / (3 * d)),
            "the MLP's first bias has d_ff numbers, not d_model: one for each row of its matrix.",
        ),
        (
            lambda d, f: round((2 * d * f + 2 * f) / (3 * d)),
            "the MLP's second bias has d_model numbers, not d_ff: one for each row of its matrix.",
        ),
        (
            lambda d, f: round((2 * d * f + f) / (3 * d + 2)),
            "this SwiGLU has biases. Wanted is one without.",
        ),
        (
            lambda d, f: f,
            "at the same width a SwiGLU has half as many parameters again: it has three matrices.",
        ),
    ] + [
        (
            lambda d, f, n=n: n * round((2 * d * f + f + d) / (3 * d * n)),
            f"that is the nearest multiple of {n}. Wanted is the nearest whole number.",
        )
        for n in (8, 64)
    ]
    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda d, f: f"the width for d_model {d} and an MLP of {f}",
        tolerance=0.0,
    )
    return "right: about two thirds, and a little more for the biases that are saved."


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def shared_keys(attempt: Attempt) -> str:
    """Hand each head of queries the keys that it shares."""
    rng = torch.Generator().manual_seed(0)
    shapes = [((1, 2, 3, 2), 4), ((2, 3, 2, 4), 6), ((1, 2, 1, 3), 6), ((2, 1, 4, 2), 4)]
    cases = [(torch.randn(*shape, generator=rng), n_heads) for shape, n_heads in shapes]
    cases.append((torch.randn(1, 3, 2, 2, generator=rng), 3))

    def truth(k: Tensor, n_heads: int) -> Tensor:
        size = n_heads // k.shape[1]
        return torch.stack([k[:, head // size] for head in range(n_heads)], dim=1)

    def tiled(k: Tensor, n_heads: int) -> Tensor:
        return torch.stack([k[:, head % k.shape[1]] for head in range(n_heads)], dim=1)

    slips = [
        (
            tiled,
            "the heads take turns: head 0 gets key head 0, head 1 key head 1. Neighbours share:"
            " the first n_heads / G heads all get key head 0. (torch's `repeat` lays copies of the"
            " whole side by side, `repeat_interleave` repeats each entry.)",
        ),
        (
            lambda k, n: truth(k, n).flip(1),
            "the heads come in the reverse order: head 0 belongs to key head 0.",
        ),
        (
            lambda k, n: k,
            "nothing is repeated: wanted is one entry for each of the n_heads heads of queries.",
        ),
        (
            lambda k, n: k.repeat_interleave(n // k.shape[1], dim=2),
            "the tokens are repeated, not the heads: heads stand along axis 1.",
        ),
        (
            lambda k, n: k.repeat_interleave(n // k.shape[1], dim=0),
            "the rows of the batch are repeated, not the heads: heads stand along axis 1.",
        ),
        (
            lambda k, n: k.repeat_interleave(n, dim=1),
            "each key head is repeated n_heads times. It serves n_heads / G heads.",
        ),
        (
            lambda k, n: truth(k[:, :1], n),
            "all heads use the first key head. Only the first n_heads / G heads do.",
        ),
        (
            lambda k, n: k.repeat_interleave(n // k.shape[1], dim=2).reshape(
                len(k), n, *k.shape[2:]
            ),
            "tokens and heads are mixed: each token was repeated, and a reshape cut what came out"
            " into heads. Repeat along axis 1, before any reshape.",
        ),
        (
            lambda k, n: torch.cat([k, torch.zeros_like(truth(k, n))[:, k.shape[1] :]], dim=1),
            "the first G heads have keys and the others zeros. Every head needs the keys of its"
            " group.",
        ),
        (
            lambda k, n: truth(k, n).transpose(1, 2),
            "the axes of heads and tokens are exchanged: wanted is (B, n_heads, S, D).",
        ),
    ]
    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda k, n: f"the keys of {n} heads from k of shape {tuple(k.shape)}",
    )
    return "right: neighbours share. The cache holds k as it was, before it is repeated."


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def multi_step_rate(attempt: Attempt) -> str:
    """Give the learning rate of DeepSeek's schedule after so many tokens."""
    marks = (0, 1, 5, 10, 11, 50, 79, 80, 81, 89, 90, 95, 100)
    cases = [(float(mark), 100.0, 10.0, 4.0) for mark in marks]
    cases += [(2e12 * share, 2e12, 5e10, 42.0) for share in (0.005, 0.3, 0.85, 0.95)]

    def rule(
        climb=lambda r, w, t: r / w, first=0.8, second=0.9, low=0.316, last=0.1, at=True
    ):  # fmt: skip
        def rate(read: float, total: float, warmup: float, peak: float) -> float:
            past = float.__ge__ if at else float.__gt__
            if read < warmup:
                return peak * climb(read, warmup, total)
            if past(read, second * total):
                return peak * last
            return peak * (low if past(read, first * total) else 1.0)

        return rate

    truth = rule()
    slips = [
        (
            lambda r, t, w, p: truth(max(r, w), t, w, p),
            "the warm-up is missing: before n_warmup tokens the rate climbs in proportion from 0.",
        ),
        (
            rule(first=0.9, second=9.0),
            "the first drop is missing: from 80 % of the tokens the rate is 0.316 of the peak.",
        ),
        (
            rule(second=9.0),
            "the second drop is missing: from 90 % of the tokens the rate is 0.1 of the peak.",
        ),
        (
            rule(last=0.0316),
            "after the second drop the rate is 0.1 of the *peak*, not of the rate before it.",
        ),
        (rule(low=0.1, last=0.01), "each drop divides by ten. Two drops make a tenth: 0.316 each."),
        (rule(last=0.0), "the rate ends at 0. It ends at a tenth of the peak."),
        (rule(at=False), "at exactly 80 % and 90 % the drop has happened: compare with >= there."),
        (
            lambda r, t, w, p: truth(r, t, w, p) / p,
            "that is the share of the peak. The rate is that times `peak`.",
        ),
        (
            rule(climb=lambda r, w, t: (w - r) / w),
            "the warm-up falls: it begins at 0 and ends at the peak.",
        ),
        (
            rule(climb=lambda r, w, t: (r + 1) / w),
            "the warm-up is one token ahead: with nothing read the rate is 0.",
        ),
        (
            rule(climb=lambda r, w, t: r / t),
            "the warm-up climbs as if it took all tokens: it reaches the peak at n_warmup.",
        ),
        (
            rule(low=0.1, last=0.316),
            "the two drops are exchanged: first to 0.316 of the peak, then to 0.1.",
        ),
        (
            rule(low=1 - 0.316, last=1 - 0.1),
            "the rate drops *to* 0.316 and 0.1 of the peak, not by that much.",
        ),
        (
            lambda r, t, w, p: truth(r, t, w, p) if r < w else truth(r - w, t - w, 0.0, p),
            "80 and 90 % are counted from the end of the warm-up. They are shares of all tokens.",
        ),
        (
            lambda r, t, w, p: (
                truth(r, t, w, p)
                if r < w
                else p * (0.55 + 0.45 * math.cos(math.pi * (r - w) / (t - w)))
            ),
            "that is a cosine. This schedule stays level at the peak up to 80 % of the tokens.",
        ),
    ]
    judge_by_slips(
        attempt,
        cases,
        truth,
        slips,
        lambda r, t, w, p: f"the rate after {r:g} of {t:g} tokens, warm-up {w:g}, peak {p:g}",
        # 0.316 and the root of a tenth are both right, and so is the product of two drops
        tolerance=0.002,
    )
    return "right: up, level, and two drops whose product is a tenth."


# Exercise 4
# --------------------------------------------------------------------------------------------------

_FULL = {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
_OLD = _FULL | {"rope_theta": 100_000.0, "tie_word_embeddings": True}
_NEW = _FULL | {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
_BARE = {"hidden_size": 96, "num_attention_heads": 8}
_WIDE = {"hidden_size": 80, "num_attention_heads": 4, "head_dim": 32, "num_key_value_heads": 2}
_SHARED = _BARE | {"num_key_value_heads": 2}  # and no head_dim, as in DeepSeek's 67B
_NULL = _BARE | {"num_key_value_heads": None, "head_dim": None, "rope_parameters": None}


@checker
def read_config(attempt: Attempt) -> str:
    """Say what a config.json means where it is silent, in our words."""
    cases = [(config,) for config in (_OLD, _NEW, _BARE, _WIDE, _SHARED, _NULL)]

    def reader(kv=None, head=None, base=None, tied=None):
        def read(config: dict) -> dict:
            n_heads, d_model = config["num_attention_heads"], config["hidden_size"]
            table, told = config.get("rope_parameters"), config.get("rope_theta")
            answer = {"n_kv_heads": n_heads, "d_head": d_model // n_heads}
            for word, ours in (("num_key_value_heads", "n_kv_heads"), ("head_dim", "d_head")):
                if config.get(word) is not None:
                    answer[ours] = config[word]
            answer["rope_base"] = table["rope_theta"] if table else (told or 10_000.0)
            answer["tied"] = bool(config.get("tie_word_embeddings"))
            for ours, change in (
                ("n_kv_heads", kv),
                ("d_head", head),
                ("rope_base", base),
                ("tied", tied),
            ):
                if change:
                    answer[ours] = change(config)
            return answer

        return read

    truth = reader()
    slips = [
        (
            reader(kv=lambda c: c.get("num_key_value_heads")),
            "n_kv_heads is None where the file is silent. Then every head has keys of its own:"
            " as many as num_attention_heads.",
        ),
        (
            reader(kv=lambda c: c.get("num_key_value_heads") or 1),
            "n_kv_heads is 1 where the file is silent. Silence means no sharing: as many as"
            " num_attention_heads.",
        ),
        (
            reader(kv=lambda c: c["num_attention_heads"]),
            "n_kv_heads is num_attention_heads even where the file says num_key_value_heads.",
        ),
        (
            reader(head=lambda c: c["hidden_size"] // c["num_attention_heads"]),
            "d_head is hidden_size / num_attention_heads even where the file says head_dim. Some"
            " models, Qwen3 among them, have heads that together are wider than the stream.",
        ),
        (
            reader(
                head=lambda c: (
                    c.get("head_dim")
                    or c["hidden_size"]
                    // (c.get("num_key_value_heads") or c["num_attention_heads"])
                )
            ),
            "d_head is the width over the number of *key* heads. It is hidden_size over"
            " num_attention_heads, the heads of queries.",
        ),
        (
            reader(kv=lambda c: c.get("num_key_value_heads", c["num_attention_heads"])),
            "n_kv_heads is None where the file says None: `.get(word, default)` gives the default"
            " only where the word is missing.",
        ),
        (
            reader(head=lambda c: c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])),
            "d_head is None where the file says None: `.get(word, default)` gives the default only"
            " where the word is missing.",
        ),
        (
            reader(base=lambda c: (c.get("rope_parameters") or c).get("rope_theta")),
            "rope_base is None where the file is silent. Then it is 10,000.",
        ),
        (
            reader(base=lambda c: c.get("rope_theta", 10_000.0)),
            "rope_theta may stand inside the table rope_parameters, as in files of today.",
        ),
        (
            reader(base=lambda c: (c.get("rope_parameters") or {}).get("rope_theta", 10_000.0)),
            "rope_theta may stand in the file itself, without a table rope_parameters, as in files"
            " of before 2026.",
        ),
        (
            reader(tied=lambda c: c.get("tie_word_embeddings", True)),
            "the head is tied where the file is silent. In Llama's files silence means False.",
        ),
    ]

    def plain(got: Any) -> Any:
        if not isinstance(got, dict):
            raise Wrong(f"return a dictionary with four words; got {describe(got)}")
        return got

    judge_by_slips(attempt, cases, truth, slips, lambda c: f"what {c} means", plain=plain)
    return "right: what a file leaves out has a meaning too, and it is in the code that reads it."


# Exercises 5 and 6
# --------------------------------------------------------------------------------------------------

_SIZES = [  # vocabulary, width, MLP, layers, heads, key heads, tied
    (11, 12, 30, 2, 3, 1, True),
    (11, 12, 30, 2, 3, 1, False),
    (20, 8, 13, 3, 4, 4, False),
    (49_152, 576, 1536, 30, 9, 3, True),
    (102_400, 8192, 22_016, 95, 64, 8, False),
]
_WORDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "tie_word_embeddings",
)  # fmt: skip
_CONFIGS = [dict(zip(_WORDS, sizes, strict=True)) for sizes in _SIZES]


def _matrices(config: dict) -> tuple[list[nn.Linear], nn.Linear]:
    """All matrices of one layer, and the head, without memory."""
    d, f = config["hidden_size"], config["intermediate_size"]
    kv = d // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = [(d, d), (d, kv), (d, kv), (d, d), (d, f), (d, f), (f, d)]
    with torch.device("meta"):
        layer = [nn.Linear(a, b, bias=False) for a, b in shapes]
        return layer, nn.Linear(d, config["vocab_size"], bias=False)


def _told(config: dict) -> str:
    return ", ".join(f"{word} {value}" for word, value in config.items())


@checker
def llama_parameters(attempt: Attempt) -> str:
    """Count the parameters of a Llama from its config.json."""
    cases = [(config,) for config in _CONFIGS]

    def count(config: dict, norms=2, last=1, tables=None, kv=None, mlp=3, more=0) -> int:
        layer, head = _matrices(config if kv is None else config | {"num_key_value_heads": kv})
        d, n_layers = config["hidden_size"], config["num_hidden_layers"]
        numbers = sum(matrix.weight.numel() for matrix in layer)
        numbers += (mlp - 3) * d * config["intermediate_size"] + norms * d + more
        tables = (1 if config["tie_word_embeddings"] else 2) if tables is None else tables
        return n_layers * numbers + tables * head.weight.numel() + last * d

    def saved(config: dict) -> int:
        """By how much shared keys make one matrix of a layer smaller."""
        share = config["num_key_value_heads"] / config["num_attention_heads"]
        return round(config["hidden_size"] ** 2 * (1 - share))

    slips = [
        (
            lambda c: count(c, norms=0, last=0),
            "the norms are missing: two in each layer and one at the end, d_model numbers each.",
        ),
        (lambda c: count(c, last=0), "the last norm is missing, the one before the head."),
        (lambda c: count(c, norms=0), "the norms of the layers are missing: two in each."),
        (
            lambda c: count(c, kv=c["num_attention_heads"]),
            "the key and value matrices are d_model wide. They serve num_key_value_heads heads"
            " only.",
        ),
        (
            lambda c: count(c, tables=1),
            "without tied embeddings the head is a matrix of its own, as large as the table.",
        ),
        (
            lambda c: count(c, tables=2),
            "with tied embeddings the head is the token table: it counts once.",
        ),
        (lambda c: count(c, tables=0), "the token table is missing."),
        (
            lambda c: count(c, mlp=2),
            "the MLP has three matrices, gate, up and down: this counts two.",
        ),
        (
            lambda c: count(c | {"num_hidden_layers": 1}),
            "that has one layer. There are num_hidden_layers.",
        ),
        (
            lambda c: count(c, tables=2 if c["tie_word_embeddings"] else 1),
            "tied and untied are exchanged: tied embeddings are one table, untied ones two.",
        ),
        (
            lambda c: count(c, more=saved(c)),
            "keys *and* values serve num_key_value_heads heads: one of the two is d_model wide"
            " here.",
        ),
        (
            lambda c: count(c, more=-saved(c)),
            "the output matrix is square: it reads all num_attention_heads heads, shared keys or"
            " not.",
        ),
        (lambda c: count(c, norms=1), "each layer has two norms: this counts one."),
        (
            lambda c: count(c, norms=4, last=2),
            "these norms have biases. An RMSNorm has one number per channel.",
        ),
        (
            lambda c: count(c, kv=1),
            "this counts one key head. There are num_key_value_heads, each with keys and values.",
        ),
        *(
            (
                lambda c, kv=kv: count(
                    c,
                    more=(3 + 2 * kv * c["num_key_value_heads"] / c["num_attention_heads"])
                    * c["hidden_size"]
                    + 2 * c["intermediate_size"],
                ),
                "biases are counted. No matrix of a Llama has one.",
            )
            for kv in (0, 1)
        ),
    ]
    judge_by_slips(
        attempt, cases, count, slips, lambda c: f"the parameters for {_told(c)}", tolerance=0.0
    )
    return "right, to the last parameter of DeepSeek's 67 billion."


@checker
def forward_flops(attempt: Attempt) -> str:
    """Count the operations of one token's forward pass that sees `n_tokens` tokens."""
    cases = [(config, n) for config in _CONFIGS for n in (1, 7, 4096)]

    def count(config: dict, n: int, per=2, head=True, scores=2, kv=None, layers=None) -> int:
        layer, last = _matrices(config if kv is None else config | {"num_key_value_heads": kv})
        d_head = config["hidden_size"] // config["num_attention_heads"]
        total = 0
        for _ in range(config["num_hidden_layers"] if layers is None else layers):
            total += per * sum(matrix.in_features * matrix.out_features for matrix in layer)
            for _ in range(scores):  # queries with keys, weights with values
                total += config["num_attention_heads"] * per * d_head * n
        return total + (per * last.weight.numel() if head else 0)

    def attended(config: dict, n: int) -> int:
        return 4 * config["num_hidden_layers"] * config["hidden_size"] * n

    def shared(config: dict, n: int) -> int:
        d_kv = config["hidden_size"] * config["num_key_value_heads"]
        d_kv //= config["num_attention_heads"]
        return count(config, n, scores=0) + config["num_hidden_layers"] * 4 * d_kv * n

    slips = [
        (
            lambda c, n: count(c, n, per=1),
            "half of it: each weight is one multiplication *and* one addition.",
        ),
        (
            lambda c, n: count(c, n, per=6),
            "that is training: forward and backward. Forward alone is 2 per weight.",
        ),
        (
            lambda c, n: count(c, n, scores=0),
            "attention itself is missing: every head multiplies its query with n_tokens keys, and"
            " n_tokens weights with values.",
        ),
        (
            lambda c, n: count(c, n, scores=1),
            "half of attention is missing: the query meets all of the n_tokens keys, and then as"
            " many values are averaged.",
        ),
        (
            lambda c, n: count(c, n, head=False),
            "the head is missing: it multiplies with vocab_size rows, tied or not.",
        ),
        (
            lambda c, n: count(c, n) - (2 * c["vocab_size"] * c["hidden_size"]
                                        if c["tie_word_embeddings"] else 0),
            "a tied head is a table that is shared, but its product is computed all the same.",
        ),
        (
            lambda c, n: count(c, n) + 2 * c["vocab_size"] * c["hidden_size"],
            "the token table is counted as a product. Looking up a row multiplies nothing.",
        ),
        (
            shared,
            "attention is counted for the key heads. Shared keys are stored once, but each head of"
            " *queries* multiplies with them.",
        ),
        (
            lambda c, n: count(c, n, kv=c["num_attention_heads"]),
            "the key and value matrices serve num_key_value_heads heads only.",
        ),
        (
            lambda c, n: count(c, n, per=1, scores=4),
            "the matrices are counted by half: each weight is one multiplication *and* one"
            " addition.",
        ),
        (
            lambda c, n: count(c, n)
            + (0 if c["tie_word_embeddings"] else 2 * c["vocab_size"] * c["hidden_size"]),
            "without tied embeddings the token table is counted as a product. Looking up a row"
            " multiplies nothing.",
        ),
        (
            lambda c, n: count(c, n) + attended(c, n * n - n),
            "that is attention for all n_tokens queries. One token has one query, which meets"
            " n_tokens keys.",
        ),
        (
            lambda c, n: count(c, n, scores=0) + attended(c, n) // c["num_hidden_layers"],
            "attention is counted in one layer. Every layer attends.",
        ),
        (
            lambda c, n: count(c, n + 1),  # the norms of a layer come to the same number
            "attention meets one token too many (n_tokens includes the token itself), or norms are"
            " counted, which should be left out.",
        ),
        (
            lambda c, n: count(c, n) + attended(c, n) * (c["num_attention_heads"] - 1),
            "every head is counted as d_model wide. All heads together are.",
        ),
        (
            lambda c, n: count(c, n) - 2 * c["num_hidden_layers"] * c["hidden_size"]
            * c["intermediate_size"],
            "the MLP has three matrices, gate, up and down: this counts two.",
        ),
        (lambda c, n: count(c, n, layers=1), "that has one layer. There are num_hidden_layers."),
    ]  # fmt: skip
    judge_by_slips(
        attempt,
        cases,
        count,
        slips,
        lambda c, n: f"the operations for {_told(c)}, seeing {n} tokens",
        tolerance=0.0,
    )
    return "right: 2 per weight, and 4 d_model per layer for each token that is seen."
