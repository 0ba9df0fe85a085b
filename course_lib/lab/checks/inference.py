"""Checkers of lesson 12. The truths are plain loops over Python's numbers and exact fractions."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def decode_bound(attempt: Attempt) -> str:
    """Give the most tokens per second that memory allows when `n_rows` decode together."""
    cases = [
        (500e6, 0.0, 1, 10e9),
        (500e6, 0.0, 4, 10e9),
        (500e6, 100e6, 1, 10e9),
        (500e6, 100e6, 8, 10e9),
        (14e9, 2e9, 16, 3e12),
    ]

    def truth(weights, cache, rows, bandwidth):
        step = Fraction(weights) / Fraction(bandwidth)  # seconds of one step
        for _ in range(rows):
            step += Fraction(cache) / Fraction(bandwidth)
        return float(rows / step)

    slips = [
        (
            lambda w, c, n, b: b / (w + n * c),
            "these are steps per second. Each step writes one token in every row, so n_rows of"
            " them.",
        ),
        (
            lambda w, c, n, b: n * b / w,
            "the caches are missing: each step reads every row's cache as well as the weights.",
        ),
        (
            lambda w, c, n, b: n * b / (n * (w + c)),
            "the weights are read once per step, not once per row. That is why batches pay.",
        ),
        (
            lambda w, c, n, b: n * b / (w + c),
            "the bytes hold one row's cache. A step reads the caches of all n_rows.",
        ),
        (
            lambda w, c, n, b: (w + n * c) / b,
            "that is how many seconds a step takes. The question is tokens per second.",
        ),
        (
            lambda w, c, n, b: (w + n * c) / b / n,
            "these are seconds per token. The question is tokens per second.",
        ),
        (
            lambda w, c, n, b: n * (b // (w + n * c)),
            "the steps per second are cut to a whole number by //. Divide by /.",
        ),
        (
            lambda w, c, n, b: n * b // (w + n * c),
            "the tokens per second are cut to a whole number by //. Divide by /.",
        ),
        (
            lambda w, c, n, b: n * n * b / (w + n * c),
            "the rows are counted twice: a step writes n_rows tokens.",
        ),
        (
            lambda w, c, n, b: n * b / (n * w + c),
            "the weights are read for each row and one cache for all. It is the other way round:"
            " weights once, a cache per row.",
        ),
        (
            lambda w, c, n, b: b / (w / n + n * c),
            "per token the weights are shared by n_rows, and one row's cache is read; you count all"
            " caches for each token.",
        ),
        (lambda w, c, n, b: n * b / (2 * w + n * c), "the weights are read once, not twice."),
        (
            lambda w, c, n, b: n * b / (w + 2 * n * c),
            "each cache is read once: its bytes hold keys and values already.",
        ),
    ]

    def called(w, c, n, b):
        return (
            f"tokens per second for {w:.3g} bytes of weights, {c:.3g} of cache in each of {n} rows"
            f" and {b:.3g} bytes per second"
        )

    judge_by_slips(attempt, cases, truth, slips, called)
    return "right: the weights are shared by all rows, the caches are not."


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def cache_bytes(attempt: Attempt) -> str:
    """Count the bytes of a cache of keys and values."""
    cases = [(2, 3, 4, 5, 4), (30, 3, 64, 1000, 2), (32, 32, 128, 4096, 2), (7, 1, 10, 1, 8)]

    def truth(layers, heads, width, tokens, size):
        total = 0
        for _ in range(layers):
            for _ in ("keys", "values"):
                total += heads * width * tokens * size
        return total

    slips = [
        (
            lambda n, g, d, t, b: n * g * d * t * b,
            "half of it: a cache holds a key and a value for each token.",
        ),
        (
            lambda n, g, d, t, b: 2 * n * g * d * t,
            "these are numbers, not bytes: each takes bytes_per_number.",
        ),
        (lambda n, g, d, t, b: 2 * g * d * t * b, "that is one layer's. Every layer has a cache."),
        (
            lambda n, g, d, t, b: 2 * n * g * d * b,
            "that is for one token. A cache holds all n_tokens.",
        ),
        (
            lambda n, g, d, t, b: 2 * n * g * d * t * t * b,
            "that grows with the square of n_tokens, as the table of scores does. The cache holds"
            " vectors, one key and one value per token: it grows in proportion.",
        ),
        (
            lambda n, g, d, t, b: 2 * n * d * t * b,
            "that is for one head of keys. There are n_kv_heads of them.",
        ),
        (
            lambda n, g, d, t, b: 2 * n * g * t * b,
            "that is one number per key. A key is a vector of d_head numbers.",
        ),
        (
            lambda n, g, d, t, b: 3 * n * g * d * t * b,
            "that is three vectors per token. Keys and values are kept; queries are used once.",
        ),
        (
            lambda n, g, d, t, b: 4 * n * g * d * t * b,
            "twice as much as it is: one key and one value, two vectors.",
        ),
        (
            lambda n, g, d, t, b: 8 * 2 * n * g * d * t * b,
            "these are bits. `bytes_per_number` counts bytes already.",
        ),
        (
            lambda n, g, d, t, b: 8 * n * g * d * t * b,
            "these are the bits of the keys. Bytes are asked for, of keys and values.",
        ),
        (
            lambda n, g, d, t, b: 2 * n * g * d * (t - 1) * b,
            "one token is missing: a cache of n_tokens holds the last one's key and value too.",
        ),
        (
            lambda n, g, d, t, b: n * (g + 1) * d * t * b,
            "there is one vector of values for all heads. Each key head has values of its own.",
        ),
        (
            lambda n, g, d, t, b: 2 * n * g * d * t / b,
            "you divide by bytes_per_number. Each number takes that many bytes: multiply.",
        ),
        (
            lambda n, g, d, t, b: 2 * n * g * d * t // b,
            "you divide by bytes_per_number. Each number takes that many bytes: multiply.",
        ),
        *(
            (
                lambda n, g, d, t, b, unit=unit: 2 * n * g * d * t * b / unit,
                f"that is in units of {unit:,} bytes. Give bytes.",
            )
            for unit in (10**6, 2**20, 10**9, 2**30)
        ),
    ]

    def called(n, g, d, t, b):
        return f"the bytes for {n} layers, {g} key heads of {d} numbers, {t} tokens, {b} bytes each"

    judge_by_slips(attempt, cases, truth, slips, called)
    return "right. How many heads of *queries* there are does not matter."


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def left_pad(attempt: Attempt) -> str:
    """Put prompts of different lengths into one table, their ends aligned."""
    cases = [([[5, 6, 7], [8], [9, 4]],), ([[3, 1]],), ([[2], [1, 2, 3, 4]],), ([[0, 5], [7]],)]

    def truth(prompts: Sequence[Sequence[int]]) -> tuple[list, list, list]:
        width, tables = max(map(len, prompts)), ([], [], [])
        for prompt in prompts:
            rows = ([], [], [])
            for column in range(width):
                place = column - (width - len(prompt))
                parts = (prompt[place], False, place) if place >= 0 else (0, True, 0)
                for row, part in zip(rows, parts, strict=True):
                    row.append(part)
            for table, row in zip(tables, rows, strict=True):
                table.append(row)
        return tables

    def changed(ids=None, padding=None, positions=None):
        def slip(prompts):
            made = dict(zip(("ids", "padding", "positions"), truth(prompts), strict=True))
            for name, change in (("ids", ids), ("padding", padding), ("positions", positions)):
                if change:
                    made[name] = change(prompts, made[name])
            return tuple(made.values())

        return slip

    def at_the_right(prompts, table):
        missing = [len(row) - len(prompt) for prompt, row in zip(prompts, table, strict=True)]
        return [row[n:] + row[:n] for n, row in zip(missing, table, strict=True)]

    def columns(_, table):
        return [list(range(len(row))) for row in table]

    def inverted(_, table):
        return [[not cell for cell in row] for row in table]

    def from_one(_, table):
        return [[cell + 1 for cell in row] for row in table]

    def negative(prompts, table):
        width = len(table[0])
        return [list(range(len(p) - width, len(p))) for p in prompts]

    def by_zero(prompts, table):
        return [[cell == 0 for cell in row] for row in truth(prompts)[0]]

    def from_one_or_padding(prompts, table):
        return [
            [cell + 1 if real else 0 for cell, real in pair] for pair in with_real(prompts, table)
        ]

    def columns_but_padding(prompts, table):
        return [
            [column if real else 0 for column, (_, real) in enumerate(pair)]
            for pair in with_real(prompts, table)
        ]

    def with_real(prompts, table):
        padding = truth(prompts)[1]
        return [
            [(cell, not gap) for cell, gap in zip(row, gaps, strict=True)]
            for row, gaps in zip(table, padding, strict=True)
        ]

    def first_too(prompts, table):
        return [[place == 0 for place in row] for row in truth(prompts)[2]]

    def minus_one(prompts, table):
        return [[cell if real else -1 for cell, real in pair] for pair in with_real(prompts, table)]

    def cut(prompts):
        width = min(map(len, prompts))
        return truth([prompt[-width:] for prompt in prompts])

    def one_wider(prompts):
        fills = zip(truth(prompts), (0, True, 0), strict=True)
        return tuple([[fill, *row] for row in table] for table, fill in fills)

    right = (
        "the padding is on the right. The next token is written behind the last column, so all"
        " prompts must end there."
    )
    slips = [
        (changed(at_the_right, at_the_right, at_the_right), right),
        (changed(at_the_right, at_the_right, columns), right),
        (
            changed(padding=inverted),
            "the mask is the other way round: True stands where there is *no* token.",
        ),
        (
            changed(positions=columns),
            "the positions count the columns. A row's first real token is at position 0, however"
            " many columns of padding stand before it.",
        ),
        (changed(positions=from_one), "the positions begin at 1 (and padding is at 0)."),
        (
            changed(positions=negative),
            "padding gets negative positions, and a table of positions has no row -1: put 0 there.",
        ),
        (
            changed(padding=by_zero),
            "the mask is True wherever the id is 0. But 0 may be a token of the prompt: count"
            " lengths instead.",
        ),
        (
            changed(padding=first_too),
            "the mask is True wherever the position is 0, so it hides the first token as well.",
        ),
        (
            changed(positions=columns_but_padding),
            "the positions are the columns, and 0 in the padding. A row's first real token is at"
            " position 0, however many columns of padding stand before it.",
        ),
        (
            changed(positions=from_one_or_padding),
            "the positions begin at 1. The first token of a row is at 0.",
        ),
        (changed(ids=minus_one), "the padding has the id -1. Put 0 there."),
        (
            cut,
            "the prompts are cut to the length of the shortest. All their tokens are needed: the"
            " table is as wide as the longest.",
        ),
        (
            lambda prompts: truth([prompt[::-1] for prompt in prompts]),
            "the prompts are turned round. Their tokens stand in their own order.",
        ),
        (one_wider, "there is a column too many: the table is as wide as the longest prompt."),
        (
            lambda prompts: tuple(truth(prompts)[i] for i in (0, 2, 1)),
            "the tables stand in another order: ids, then padding, then positions.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) or not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong(f"return three tables, ids, padding and positions; got {describe(got)}")
        return tuple(part.tolist() if isinstance(part, Tensor) else part for part in got)

    judge_by_slips(
        attempt, cases, truth, slips, lambda p: f"ids, padding and positions of {p}", plain=plain
    )
    return "right: all prompts end in the last column, and each counts from its own first token."


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def admit_requests(attempt: Attempt) -> str:
    """Say how many requests from the front of the queue join the batch now."""
    cases = [
        ([(0, 10), (1, 10), (2, 10)], 5, 2, 100),
        ([(0, 10), (3, 10), (9, 10)], 5, 4, 100),
        ([(0, 30), (0, 30), (0, 30)], 0, 4, 70),
        ([(0, 50), (0, 90), (0, 10)], 0, 4, 100),
        ([(5, 10), (6, 10)], 5, 4, 10),
        ([], 5, 4, 100),
        ([(0, 10)], 5, 0, 100),
        ([(0, 60), (0, 60)], 0, 2, 120),
        ([(0, 101), (0, 1)], 0, 2, 100),
    ]

    def truth(waiting, clock, rows, tokens):
        best = 0
        for n in range(len(waiting) + 1):  # the longest front that may join as a whole
            front = waiting[:n]
            here = all(arrival <= clock for arrival, _ in front)
            if here and n <= rows and sum(wish for _, wish in front) <= tokens:
                best = n
        return best

    def counted_first(waiting, clock, rows, tokens):
        fitting = truth(waiting, clock, rows, tokens)
        here = truth(waiting, clock, rows, 10**9)
        return min(fitting + 1, here)

    def shared_out(waiting, clock, rows, tokens):
        room = tokens // max(1, rows)
        small = [wish <= room for _, wish in waiting]
        front = small.index(False) if False in small else len(small)
        return min(front, truth(waiting, clock, rows, 10**9))

    def skipping(waiting, clock, rows, tokens):
        n = 0
        for arrival, wish in waiting:
            if arrival <= clock and n < rows and wish <= tokens:
                n, tokens = n + 1, tokens - wish
        return n

    slips = [
        (
            skipping,
            "a request that does not fit is skipped and a later one taken. First come, first"
            " served: stop at the first that must wait, or a large one may wait for ever.",
        ),
        (
            lambda w, c, r, t: truth(w, 10**9, r, t),
            "you admitted a request before it arrived: its arrival must be at most the clock.",
        ),
        (
            lambda w, c, r, t: truth(w, c - 1, r, t),
            "a request that arrives at this very step waits. Its arrival may equal the clock.",
        ),
        (
            lambda w, c, r, t: truth(w, c, 10**9, t),
            "there are more requests than free rows: each takes one.",
        ),
        (
            lambda w, c, r, t: truth(w, c, r, 10**9),
            "the free tokens are not looked at: all admitted requests must fit into the cache"
            " together.",
        ),
        (
            lambda w, c, r, t: next(
                (i for i, (a, n) in enumerate(w) if a > c or i == r or n > t), len(w)
            ),
            "each request fits alone, but not all together: what one takes is no longer free.",
        ),
        (
            lambda w, c, r, t: truth(w, c, r, t - 1),
            "a request that fits exactly is left out: its tokens may equal the free ones.",
        ),
        (
            lambda w, c, r, t: truth(w, c, r, t) - 1,
            "that is the index of the last one that joins. How many join is one more.",
        ),
        (
            lambda w, c, r, t: truth(w, c, r, t) + 1,
            "that is one too many: the first that must wait does not join.",
        ),
        (
            counted_first,
            "the one that does not fit any more is counted. Look whether it fits before you count"
            " it.",
        ),
        (
            shared_out,
            "the free tokens are shared out among the free rows. They are one store, from which"
            " each request takes what it needs.",
        ),
        (
            lambda w, c, r, t: truth(sorted(w, key=lambda pair: pair[1]), c, r, t),
            "the smallest request goes first. First come, first served: keep the queue's order.",
        ),
    ]

    def called(waiting, clock, rows, tokens):
        return (
            f"the number admitted from {waiting} at step {clock}, {rows} rows and {tokens} tokens"
            " free"
        )

    judge_by_slips(attempt, cases, truth, slips, called)
    return "right: in order, as long as rows and tokens are free."


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _points() -> list[float]:
    """Points in [0, 1), none at an edge of the distributions below."""
    return [(2 * i + 1) / 26 for i in range(13)]


@checker
def accept_or_resample(attempt: Attempt) -> str:
    """Keep a drafted token or replace it, so that the result has the model's distribution."""
    pairs = [([0.5, 0.3, 0.2], [0.2, 0.2, 0.6]), ([0.1, 0.0, 0.6, 0.3], [0.4, 0.3, 0.2, 0.1])]
    cases = [
        (torch.tensor(p), torch.tensor(q), token, point, 1 - 0.97 * point)
        for p, q in pairs
        for token in range(len(p))
        for point in _points()
    ]
    # on an edge, exact in binary: refused, and the stretch that begins there
    edges = torch.tensor([0.5, 0.25, 0.25, 0.0]), torch.tensor([0.25, 0.5, 0.0, 0.25])
    cases += [(*edges, 1, 0.5, 0.0), (*edges, 1, 0.75, 0.5), (*edges, 3, 0.0, 0.25)]

    def drawn(weights: list[float], point: float) -> int:
        goal, total = point * sum(weights), 0.0
        for token, weight in enumerate(weights):
            total += weight
            if goal < total:
                return token
        raise ValueError(f"no token at {point}")

    def rule(accepts, rest):
        def play(p, q, token, point, second):
            p, q = p.tolist(), q.tolist()
            return token if accepts(p, q, token, point) else drawn(rest(p, q), second)

        return play

    def ratio(p, q, token, point):
        return point < p[token] / q[token]

    def missing(p, q):
        return [max(0.0, a - b) for a, b in zip(p, q, strict=True)]

    def by_line(weights, scaled=True, step=0, below=torch.le, most=False):
        def play(p, q, token, point, second):
            if ratio(p.tolist(), q.tolist(), token, point):
                return token
            line = weights(p, q).cumsum(0)
            found = int(below(line, second * (line[-1] if scaled else 1.0)).sum()) + step
            return min(max(found, 0), len(p) - 1) if step or most else found

        return play

    def among_the_missing(p, q, token, point, second):
        if ratio(p.tolist(), q.tolist(), token, point):
            return token
        return drawn([weight for weight in missing(p.tolist(), q.tolist()) if weight], second)

    def without(p, q, token, point, second):
        if ratio(p.tolist(), q.tolist(), token, point):
            return token
        return drawn([0.0 if i == token else x for i, x in enumerate(p.tolist())], second)

    slips = [
        (
            rule(ratio, lambda p, q: p),
            "a refused token is replaced by a draw from p. Tokens that the draft likes have had"
            " their share already: draw from what is missing, max(0, p - q), scaled to sum to 1.",
        ),
        (
            without,
            "a refused token is replaced by a draw from p without that token. What is missing is"
            " max(0, p - q), for every token, scaled to sum to 1.",
        ),
        (
            rule(ratio, lambda p, q: [abs(a - b) for a, b in zip(p, q, strict=True)]),
            "the differences are taken without their sign. Where q is above p nothing is missing:"
            " 0 there.",
        ),
        (
            rule(ratio, lambda p, q: missing(q, p)),
            "the differences are the other way round: missing is where p is above q.",
        ),
        (
            rule(lambda p, q, t, x: x < q[t] / p[t] if p[t] else True, missing),
            "the ratio is upside down: the token stands with probability min(1, p / q).",
        ),
        (
            rule(lambda p, q, t, x: x < p[t], missing),
            "the token stands with probability p. It was drawn with probability q, so what is"
            " kept would be q times p: accept with p / q.",
        ),
        (
            rule(lambda p, q, t, x: p[t] >= q[t], missing),
            "the token stands only if p is at least q. Below that it stands too, with probability"
            " p / q.",
        ),
        (
            rule(lambda p, q, t, x: x >= p[t] / q[t], missing),
            "it is accepted where it should be refused: it stands if accept_point is below p / q.",
        ),
        (
            lambda p, q, t, x, y: drawn(missing(p.tolist(), q.tolist()), y),
            "the drafted token is never kept.",
        ),
        (
            lambda p, q, t, x, y: drawn(p.tolist(), y),
            "this draws from p and ignores the draft. Right distribution, but nothing is gained"
            " by drafting.",
        ),
        (
            by_line(lambda p, q: (p - q).clamp(min=0), scaled=False),
            "the point is not scaled: it lies at resample_point times the whole length of the line,"
            " and the weights max(0, p - q) do not sum to 1.",
        ),
        (
            by_line(lambda p, q: (p - q).clamp(min=0), scaled=False, most=True),
            "the point is not scaled: it lies at resample_point times the whole length of the line,"
            " and the weights max(0, p - q) do not sum to 1.",
        ),
        (
            by_line(lambda p, q: p - q),
            "negative weights stay in the line. Where q is above p the weight is 0: max(0, p - q).",
        ),
        (
            by_line(lambda p, q: (p - q).clamp(min=0), step=1),
            "the token is one too far: as many tokens stand before it as stretches end at or before"
            " the point.",
        ),
        (
            by_line(lambda p, q: (p - q).clamp(min=0), step=-1),
            "the token is one too early: as many tokens stand before it as stretches end at or"
            " before the point.",
        ),
        (
            by_line(lambda p, q: (p - q).clamp(min=0), below=torch.lt),
            "right but where the point falls on the end of a stretch: it belongs to the next one,"
            " so that a token of weight 0 is never given.",
        ),
        (
            lambda p, q, *drawn: (
                drawn[0] if ratio(p.tolist(), q.tolist(), *drawn[:2]) else int((p - q).argmax())
            ),
            "always the token that is missing most. The point decides: each has a stretch as long"
            " as its weight.",
        ),
        (
            rule(lambda p, q, t, x: x <= p[t] / q[t], missing),
            "right but where accept_point equals p/q: keep the token only if it is below. A token"
            " with p = 0 would be kept at the point 0.",
        ),
        (
            lambda p, q, t, x, y: rule(ratio, missing)(p, q, t, y, x),
            "the two points are exchanged: accept_point decides whether the token is kept,"
            " resample_point what comes in its place.",
        ),
        (
            lambda p, q, t, x, y: rule(ratio, missing)(p, q, t, x, x),
            "accept_point decides both. Use resample_point for the place on the line: a refused"
            " token has a high accept_point, which would choose the last stretches.",
        ),
        (
            lambda p, q, t, x, y: rule(ratio, missing)(p, q, t, y, y),
            "resample_point decides both. Use accept_point to keep or refuse.",
        ),
        (
            among_the_missing,
            "the stretches are counted without the tokens of weight 0, so the index is not a"
            " token's. Leave them in: their stretches have no length.",
        ),
        (
            lambda *case: float(case[0][rule(ratio, missing)(*case)]),
            "that is the probability of the token. Return the token, its index.",
        ),
    ]

    def called(p, q, token, point, second):
        rows = f"p {[round(x, 2) for x in p.tolist()]}, q {[round(x, 2) for x in q.tolist()]}"
        points = f"accept_point {point:.3f}, resample_point {second:.3f}"
        return f"the token for {rows}, drafted {token}, {points}"

    def plain(got: Any) -> Any:
        return int(got) if isinstance(got, Tensor) and got.numel() == 1 else got

    _require_the_same_again(attempt, cases[2 * len(_points()) : 3 * len(_points())])
    judge_by_slips(attempt, cases, rule(ratio, missing), slips, called, plain=plain)
    return "right: kept or replaced, the token has the distribution p."


def _require_the_same_again(attempt: Attempt, cases: Sequence[tuple]) -> None:
    """Refuse an answer that draws its own random numbers."""
    try:
        first, again = ([str(attempt(*case)) for case in cases] for _ in range(2))
    except Wrong:  # told by the judge, if nothing else is wrong before it
        return
    if first != again:
        raise Wrong(
            "the same call gave two different tokens. Draw nothing yourself: the two points are the"
            " random numbers, resample_point says where on the line."
        )


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _codes_and_scales(
    row: Tensor, bits: int, size: int, limit=None, signed=False, rounded=round
) -> tuple[list[int], list[float]]:
    """Quantize by a loop over groups."""
    limit = 2 ** (bits - 1) - 1 if limit is None else limit
    codes, scales, values = [], [], row.tolist()
    for start in range(0, len(values), size):
        group = values[start : start + size]
        scale = (max(group) if signed else max(map(abs, group))) / limit
        scales.append(scale)
        codes += [rounded(value / scale) if scale else 0 for value in group]
    return codes, scales


def _far_apart(row: Tensor, bits: int, size: int) -> tuple[list[int], list[float]]:
    """Quantize with every so many weights in a group."""
    values = row.reshape(size, -1).T
    codes, scales = _codes_and_scales(values.flatten(), bits, size)
    return torch.tensor(codes).reshape(values.shape).T.flatten().tolist(), scales


def _over_the_groups(row: Tensor, bits: int, size: int) -> tuple[list[int], list[float]]:
    """Quantize with a scale per place in a group."""
    scales = row.reshape(-1, size).abs().amax(0) / (2 ** (bits - 1) - 1)
    codes = (row.reshape(-1, size) / scales.where(scales != 0, 1.0)).round()
    return codes.flatten().tolist(), scales.tolist()


def _from_the_smallest(row: Tensor, bits: int, size: int) -> tuple[list[int], list[float]]:
    """Quantize with codes from 0, between the two extremes of a group."""
    groups = row.reshape(-1, size)
    low = groups.amin(1, keepdim=True)
    scales = (groups.amax(1, keepdim=True) - low) / (2**bits - 1)
    codes = ((groups - low) / scales.where(scales != 0, 1.0)).round()
    return codes.flatten().tolist(), scales.flatten().tolist()


@checker
def quantize_row(attempt: Attempt) -> str:
    """Round a row of weights to codes and scales, group by group."""
    # scales that are exact in binary: else cutting off would depend on the precision
    rng = torch.Generator().manual_seed(0)
    wide, long = torch.rand(24, generator=rng) - 0.5, torch.rand(12, generator=rng) - 0.5
    wide[::8], long[5] = 127 / 128, -1.5
    cases = [
        (torch.tensor([0.875, -0.2, 0.33, 0.0, 70.0, -34.0, 7.2, 0.1]), 4, 4),
        (torch.tensor([0.11, -0.875, 0.4, 0.21875, 0.03, 0.02]), 4, 3),
        (wide, 8, 8),
        (long, 3, 12),
        (torch.tensor([0.0, 0.0, 0.45, -0.875]), 4, 2),
    ]
    by_loop = _codes_and_scales
    slips = [
        (
            lambda row, bits, size: (
                by_loop(row, bits, len(row))[0],
                by_loop(row, bits, len(row))[1] * (len(row) // size),
            ),
            "one scale for the whole row: the 70 makes everything around it 0. Each group of"
            " group_size neighbours has its own.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, len(row)),
            "one scale for the whole row: the 70 makes everything around it 0. Each group of"
            " group_size neighbours has its own.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, signed=True),
            "the scale is made by the largest weight, not the largest size: -0.875 would get a code"
            " far beyond the limit. Take the absolute value first.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, rounded=int),
            "the codes are cut off towards 0. Round to the nearest whole number: the error is then"
            " at most half a step.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, limit=2 ** (bits - 1)),
            "the largest code is 2^(bits - 1), which does not fit: signed codes of 4 bits end at"
            " 7.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, limit=2**bits - 1),
            "the largest code is 2^bits - 1. One bit is needed for the sign: the limit is"
            " 2^(bits - 1) - 1.",
        ),
        (
            lambda row, bits, size: (
                by_loop(row, bits, size)[0],
                [1 / scale if scale else 0.0 for scale in by_loop(row, bits, size)[1]],
            ),
            "the scales are upside down: code times scale gives the weight back.",
        ),
        (
            lambda row, bits, size: (
                by_loop(row, bits, size)[0],
                [scale * (2 ** (bits - 1) - 1) for scale in by_loop(row, bits, size)[1]],
            ),
            "the scales are the largest sizes. Divide them by the largest code: code times scale"
            " gives the weight back.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, rounded=math.floor),
            "the codes are floored. Round to the nearest whole number: the error is then at most"
            " half a step.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, rounded=math.ceil),
            "the codes are rounded up. Round to the nearest whole number: the error is then at most"
            " half a step.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, rounded=lambda x: x),
            "the codes are not rounded. A code is the nearest whole number.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, limit=127),
            "the largest code is always 127, as for 8 bits. It is 2^(bits - 1) - 1.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size, limit=7),
            "the largest code is always 7, as for 4 bits. It is 2^(bits - 1) - 1.",
        ),
        (
            lambda row, bits, size: (
                by_loop(row, bits, size)[0],
                [scale or 1.0 for scale in by_loop(row, bits, size)[1]],
            ),
            "a group of zeros has scale 1. Divide by 1 there, but give back the scale 0.",
        ),
        (
            _far_apart,
            "the groups hold weights that stand far apart. A group is `group_size` neighbours: of"
            " the table reshape(-1, group_size) each row is one.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, len(row) // size),
            "group_size is taken for the number of groups. It is how many weights are in each.",
        ),
        (
            _over_the_groups,
            "the largest size is taken over the groups, not within each: there are group_size"
            " scales. Take it along the other axis of the table.",
        ),
        (
            lambda row, bits, size: (
                [
                    code * by_loop(row, bits, size)[1][i // size]
                    for i, code in enumerate(by_loop(row, bits, size)[0])
                ],
                by_loop(row, bits, size)[1],
            ),
            "the weights come back, codes times scales. Return the codes themselves.",
        ),
        (
            lambda row, bits, size: by_loop(row, bits, size)[::-1],
            "the scales come first. Return codes, then scales.",
        ),
        (
            _from_the_smallest,
            "the codes run from the smallest weight of a group to its largest. Here 0 stays 0: the"
            " scale is the largest size over the largest code, and codes have a sign.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) or not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return codes and scales, two tensors; got {describe(got)}")
        codes, scales = (torch.as_tensor(part) for part in got)
        if codes.ndim != 1 or scales.ndim != 1:
            shapes = f"{tuple(codes.shape)} and {tuple(scales.shape)}"
            raise Wrong(f"codes are a row again, (C,), and so are the scales; yours are {shapes}")
        if codes.isnan().any() or scales.isnan().any():
            raise Wrong("a group of zeros has a scale of 0, and 0 / 0 is NaN. Its codes are 0.")
        return codes.double().tolist(), scales.double().tolist()

    def called(row, bits, size):
        return f"codes and scales of {[round(x, 2) for x in row.tolist()]} in {bits} bits by {size}"

    judge_by_slips(attempt, cases, by_loop, slips, called, plain=plain)
    zeros = attempt(torch.zeros(4), 4, 2)
    expect(plain(zeros), ([0.0] * 4, [0.0] * 2), "codes and scales of four zeros in groups of two")
    return "right: a whole number per weight, and one scale per group."
