"""Checkers of lesson 06. The truths are plain Python loops, torch's own operations, and the bytes
of real tensors."""

import math
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.compare import recognise
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect


def _softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def scaled_scores(attempt: Attempt) -> str:
    """Score every query (T, D) against every key (S, D)."""
    rng = torch.Generator().manual_seed(1)
    for T, S, D in ((3, 5, 4), (6, 2, 9)):
        q, k = torch.randn(T, D, generator=rng), torch.randn(S, D, generator=rng)
        raw = torch.tensor([[sum((q[t] * k[s]).tolist()) for s in range(S)] for t in range(T)])
        want = raw / math.sqrt(D)
        got = attempt(q, k)
        recognise(
            got,
            (
                raw,
                (
                    "the products are right, but nothing is divided. These scores grow with the"
                    " width D."
                ),
            ),
            (
                raw / math.sqrt(S),
                (
                    "right shape, wrong size. Your scores shrink when there are more keys (S), as"
                    " if you had divided by sqrt(S). A score must not depend on how many other keys"
                    " there are. Which length does it sum over?"
                ),
            ),
            (
                raw / math.sqrt(T),
                (
                    "right shape, wrong size: it is as if you had divided by sqrt(T), the number of"
                    " queries. Which length does one score sum over?"
                ),
            ),
            (
                raw / D,
                (
                    "you divided by D. A sum of D products of random sign grows like the square"
                    " root of D, so D is too much: wide heads would now be too quiet."
                ),
            ),
            (
                raw * math.sqrt(D),
                "you multiplied by sqrt(D). It should make the scores quieter: divide.",
            ),
            (
                want.softmax(-1),
                "these are weights already: a softmax was taken. The exercise stops at the scores.",
            ),
            (
                want.T,
                (
                    f"the table is ({S}, {T}): one row per key. Queries come first: one row per"
                    f" query, ({T}, {S})."
                ),
            ),
        )
        expect(got, want, f"the scores of {T} queries and {S} keys of width {D}")
    return "right: loudness 1 at any width, whatever the number of keys."


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def causal_weights(attempt: Attempt) -> str:
    """Turn a (T, T) table of scores into weights over the past and the present."""
    scores = torch.tensor(
        [[0.5, 2.0, -1.0, 0.3], [1.0, 0.0, 3.0, 1.5], [0.2, -0.7, 0.4, 2.5], [1.2, 0.1, -2.0, 0.6]]
    )
    T = len(scores)
    want = torch.tensor(
        [_softmax(row[: t + 1]) + [0.0] * (T - t - 1) for t, row in enumerate(scores.tolist())]
    )
    seen = torch.ones(T, T, dtype=torch.bool).tril()
    got = attempt(scores)
    blank = scores.masked_fill(~seen, -torch.inf)
    strict = scores.masked_fill(seen.mT | torch.eye(T, dtype=torch.bool), -torch.inf)
    recognise(
        got,
        (
            scores.softmax(-1) * seen,
            (
                "your rows do not sum to 1: the softmax was taken over all tokens and the future"
                " wiped out afterwards. The future has already taken its share. Mask the scores"
                " first."
            ),
        ),
        (
            blank.softmax(-2),
            (
                "your columns sum to 1, not your rows: the softmax ran over the queries (dim -2)."
                " Each query shares out its own attention, over the keys."
            ),
        ),
        (scores.softmax(-1), "nothing is masked: the first token already listens to the last one."),
        (
            scores.masked_fill(~seen.mT, -torch.inf).softmax(-1),
            (
                "that is the other triangle: every token sees itself and the future. Row t may use"
                " columns 0 to t."
            ),
        ),
        (
            (scores * seen).softmax(-1),
            (
                "the future got the score 0, not -inf. e to the power of 0 is 1, so it still gets a"
                " good share. Only -inf becomes a weight of 0."
            ),
        ),
        (
            strict.softmax(-1),
            "the first row is NaN: a token must also see itself. The diagonal stays.",
        ),
        (strict.softmax(-1).nan_to_num(0.0), "a token must also see itself. The diagonal stays."),
        (blank, "these are masked scores. The softmax is missing."),
        (
            torch.where(seen, blank.softmax(-1), -torch.inf),
            "masked twice: weights of the future are 0, not -inf.",
        ),
    )
    expect(got, want, "the weights of four tokens")
    loud = torch.tensor([[90.0, 99.0], [120.0, 120.0]])
    expect(
        attempt(loud),
        torch.tensor([[1.0, 0.0], [0.5, 0.5]]),
        "the weights for scores as loud as 120",
    )
    return "right: rows sum to 1, and nobody hears the future."


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def split_heads(attempt: Attempt) -> str:
    """Cut (B, T, C) into heads (B, H, T, D)."""
    for B, T, H, D in ((2, 3, 4, 5), (1, 4, 2, 3)):
        x = torch.arange(float(B * T * H * D)).view(B, T, H * D)
        want = torch.empty(B, H, T, D)
        for h in range(H):
            want[:, h] = x[:, :, h * D : (h + 1) * D]
        got = attempt(x, H)
        recognise(
            got,
            (
                x.reshape(B, H, T, D),
                (
                    "right shape, but the tokens are mixed: `view` only cuts the row of numbers in"
                    " other places, so one head got pieces of several tokens. Cut the last axis"
                    " into (H, D) first, then swap T and H."
                ),
            ),
            (
                want.transpose(1, 2),
                "the cut is right. Now each token holds its heads, (B, T, H, D): swap T and H.",
            ),
            (
                x.view(B, T, D, H).permute(0, 3, 1, 2),
                (
                    "the channels are dealt out like cards, every H-th one to the same head. A head"
                    " owns D neighbouring channels: cut the last axis into (H, D), not (D, H)."
                ),
            ),
            (want.transpose(0, 1), "the heads come before the batch. The order is (B, H, T, D)."),
            (want.mT, "the last two axes are swapped: tokens before channels, (B, H, T, D)."),
        )
        expect(got, want, f"{H} heads of x with shape {tuple(x.shape)}")
    return "right: one cut, one swap, and the matrix products do all heads at once."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _follow(weights: Tensor, ids: Tensor, shift: int = 1, every: bool = True) -> tuple[float, int]:
    """Sum by loops the weight that repeated tokens put `shift` places after earlier copies of
    themselves."""
    total, repeated = 0.0, 0
    for t in range(len(ids)):
        places = [s for s in range(t) if ids[s] == ids[t]]
        repeated += bool(places)
        for s in places if every else places[-1:]:
            total += weights[t, s + shift].item() if s + shift >= 0 else 0.0
    return total, repeated


@checker
def induction_score(attempt: Attempt) -> str:
    """Say how much weight goes to the places right after earlier copies of the reading token."""
    ids = torch.tensor([7, 3, 5, 3, 5, 7, 3, 1])
    rng = torch.Generator().manual_seed(3)
    weights = (
        torch.randn(8, 8, generator=rng)
        .masked_fill(~torch.ones(8, 8).tril().bool(), -torch.inf)
        .softmax(-1)
    )
    total, repeated = _follow(weights, ids)
    got = attempt(weights, ids)
    got = got.item() if isinstance(got, Tensor) and got.ndim == 0 else got
    if isinstance(got, Tensor):
        raise Wrong(
            f"a score is one number for the head, you returned {describe(got)}. Take the mean over"
            " the tokens."
        )
    recognise(
        got,
        (
            total / len(ids),
            (
                "you divided by all tokens. A letter that is new here has no earlier copy and"
                " cannot be continued: take the mean over the tokens that have one."
            ),
        ),
        (
            total,
            "that is the sum over the tokens. Take the mean over those that have an earlier copy.",
        ),
        (
            _follow(weights, ids, shift=0)[0] / repeated,
            (
                "you read the weight on the earlier copy itself. The place to look at is one"
                " further: what came after it."
            ),
        ),
        (
            _follow(weights, ids, shift=-1)[0] / repeated,
            "you look one place before the earlier copy, not after it.",
        ),
        (
            _follow(weights, ids, every=False)[0] / repeated,
            (
                "only the latest copy counts in your score. A head may spread its weight over all"
                " of them: sum over every earlier copy."
            ),
        ),
        (
            _follow(weights.mT, ids)[0] / repeated,
            "the axes are swapped: row t of the weights belongs to token t.",
        ),
        (
            total / len(torch.combinations(ids[ids != 1]).diff().eq(0).nonzero()),
            (
                "you took the mean over pairs. Sum the weights of one token over its earlier copies"
                " first, then take the mean over the tokens."
            ),
        ),
    )
    expect(got, total / repeated, "the score for the ids [7, 3, 5, 3, 5, 7, 3, 1]")
    perfect = torch.zeros(4, 4)
    perfect[0, 0] = perfect[1, 1] = perfect[2, 1] = perfect[3, 2] = 1.0
    expect(
        _number(attempt(perfect, torch.tensor([4, 9, 4, 9]))),
        1.0,
        "the score of a perfect induction head",
    )
    return "right: 1 for a head that always looks at what came next last time."


def _number(got: Any) -> Any:
    return got.item() if isinstance(got, Tensor) and got.ndim == 0 else got


# Exercise 5
# --------------------------------------------------------------------------------------------------


class _Stream:
    """Hand out (score, value) pairs one at a time, and remember how many values the receiver kept
    alive."""

    def __init__(self, scores: list[float], values: Tensor) -> None:
        self.scores, self.values = scores, values
        self.alive: weakref.WeakSet = weakref.WeakSet()
        self.most = 0

    def __iter__(self) -> Iterator[tuple[float, Tensor]]:
        for score, value in zip(self.scores, self.values, strict=True):
            value = value.clone()
            self.alive.add(value)
            self.most = max(self.most, len(self.alive))
            yield score, value


def _stream_slips(scores: list[float], values: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes in the running sums give."""
    total, mix, mix_no, total_no, old = 0.0, 0.0, 0.0, 0.0, -math.inf
    for score, value in zip(scores, values, strict=True):
        new = max(old, score)
        shrink, power, old = math.exp(old - new), math.exp(score - new), new
        total, total_no = total * shrink + power, total_no + power
        mix, mix_no = mix * shrink + power * value, mix_no + power * value
    return [
        (mix, "the sum of the weights is not divided out at the end."),
        (
            mix_no / total_no,
            (
                "when a louder score arrives, what was summed before was measured against the old"
                " maximum. Shrink both running sums by exp(old maximum - new maximum)."
            ),
        ),
        (
            mix_no / total,
            "the total is shrunk when a louder score arrives, the mixture is not. Shrink both.",
        ),
        (
            mix / total_no,
            "the mixture is shrunk when a louder score arrives, the total is not. Shrink both.",
        ),
        (values.mean(0), "that is the plain average: the scores are not used."),
        (
            values[scores.index(max(scores))],
            "that is the value of the loudest score alone, not the weighted average.",
        ),
    ]


@checker
def streaming_average(attempt: Attempt) -> str:
    """Average values by the softmax of their scores, seeing each pair once."""
    scores, rng = [0.5, -1.0, 2.0, 1.5, 2.5, 0.0], torch.Generator().manual_seed(4)
    values = torch.randn(len(scores), 3, generator=rng)
    want = torch.tensor(_softmax(scores)) @ values
    got = attempt(iter(_Stream(scores, values)))
    recognise(got, *_stream_slips(scores, values))
    expect(got, want, "the average of six values")
    loud = [1000.0, 1001.0, 999.0]
    got = attempt(iter(_Stream(loud, values[:3])))
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            "right for small scores, but scores near 1000 give NaN: exp(1000) is infinite. Measure"
            " every score against the largest one so far."
        )
    expect(got, torch.tensor(_softmax(loud)) @ values[:3], "the average for scores near 1000", 1e-3)
    many = _Stream([math.sin(i) for i in range(200)], torch.randn(200, 3, generator=rng))
    expect(
        attempt(iter(many)),
        torch.tensor(_softmax(many.scores)) @ many.values,
        "the average of 200 values",
    )
    if many.most > 10:
        raise Wrong(
            f"the average is right, but you kept {many.most} of 200 values in memory. Keep three"
            " running things only: the maximum, the total, the mixture."
        )
    return "right: the whole of attention in the memory of one token."


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _cache_slips(
    want: int, layers: int, heads: int, width: int, tokens: int, size: int
) -> list[tuple[float, str]]:
    """Compute what typical mistakes in the count give."""
    return [
        (want / 2, "exactly half. For each token both a key and a value are kept."),
        (want / layers, "that is one layer. Every layer has keys and values of its own."),
        (want / size, "that is how many numbers there are. Each takes bytes_per_number bytes."),
        (want * 8, "eight times too much: these are bits. A byte is eight of them."),
        (
            want * tokens,
            (
                "your count grows with the square of the tokens, as the table of scores does. The"
                " cache holds one key and one value per token."
            ),
        ),
        (want / heads, "the heads are missing: each head of keys has its own d_head numbers."),
        (want / width, "d_head is missing: a key is d_head numbers."),
    ]


@checker
def cache_bytes(attempt: Attempt) -> str:
    """Count the bytes of a model's keys and values."""
    for layers, heads, width, tokens, size in (
        (3, 5, 7, 11, 4),
        (30, 3, 64, 1, 2),
        (32, 32, 128, 4096, 2),
    ):
        dtype = {2: torch.bfloat16, 4: torch.float32}[size]
        keys = torch.empty(layers, heads, tokens, width, dtype=dtype, device="meta")
        want = keys.nbytes + torch.empty_like(keys).nbytes
        got = attempt(layers, heads, width, tokens, size)
        if tokens == 11:  # no two slips give the same here
            recognise(got, *_cache_slips(want, layers, heads, width, tokens, size))
        expect(
            got,
            want,
            f"{layers} layers, {heads} heads of {width}, {tokens} tokens, {size} bytes per number",
            1e-9,
        )
    return "right: Llama-2-7B's cache for 4,096 tokens takes 2 GiB by your count."
