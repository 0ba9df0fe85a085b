"""Checkers of lesson 30. The truths are loops and complex numbers by hand."""

import cmath
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def cache_bytes(attempt: Attempt) -> str:
    """Count the bytes that all layers keep per token, from their rates."""
    cases = [([0, 0, 4, 128], 576, 64), ([128, 4, 4, 1, 4], 100, 12), ([0], 10, 3), ([4], 8, 2)]
    cases.append(([2, 16, 0, 1], 48, 16))

    def counted(main: Callable, index: Callable) -> Callable:
        return lambda rates, entry, key: (
            sum(main(r, entry) for r in rates) + sum(index(r, key) for r in rates)
        )

    def per_block(rate: int, size: int) -> float:
        return size / rate if rate else 0.0

    def chosen(rate: int, size: int) -> float:
        return size / rate if rate == 4 else 0.0

    def whole(rate: int, size: int) -> float:
        return size // rate if rate else 0.0

    slips = [
        (
            counted(per_block, per_block),
            "only layers of rate 4 have an indexer: the others read all their blocks.",
        ),
        (
            counted(per_block, lambda r, size: size if r == 4 else 0),
            "there is one index key per block, not one per token: divide it by the rate too.",
        ),
        (counted(per_block, lambda r, size: 0.0), "the index keys are missing: they are kept too."),
        (
            counted(lambda r, size: size / r if r else size, chosen),
            "a layer of rate 0 keeps its window alone, which does not grow with the text: 0 bytes"
            " per token.",
        ),
        (
            counted(lambda r, size: size if r else 0, chosen),
            "an entry serves all tokens of its block: divide by the rate.",
        ),
        (
            counted(lambda r, size: size if r else 0, lambda r, size: size if r == 4 else 0),
            "an entry serves all tokens of its block: divide by the rate.",
        ),
        (
            counted(lambda r, size: size * r, lambda r, size: size * r if r == 4 else 0),
            "a larger rate keeps fewer bytes: divide by it.",
        ),
        (
            counted(whole, lambda r, size: size // r if r == 4 else 0),
            "a part of a byte per token counts: divide with /, not with //.",
        ),
        (
            counted(per_block, lambda r, size: size / r if 0 < r <= 4 else 0),
            "index keys are kept in layers of another rate too: only layers of rate 4 have them.",
        ),
        (
            counted(lambda r, size: 0.0 if r == 4 else per_block(r, size), chosen),
            "a layer of rate 4 keeps entries and, besides, index keys: here one replaces the"
            " other.",
        ),
        (
            counted(chosen, chosen),
            "only layers of rate 4 are counted. Those of another rate keep entries too.",
        ),
        (
            counted(lambda r, size: 2 * per_block(r, size), chosen),
            "an entry is key and value at once: it is kept once.",
        ),
        (
            lambda rates, *sizes: counted(per_block, chosen)(rates, *sizes) / len(rates),
            "this is the mean over layers. All layers keep their own: add them up.",
        ),
    ]

    def called(rates, entry, key):
        return f"the bytes per token of layers {rates}, entries of {entry} and index keys of {key}"

    truth = counted(per_block, chosen)
    judge_by_slips(attempt, cases, truth, slips, called)
    return "right: the layers that compress hard cost next to nothing."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _softmax(numbers: list[float]) -> list[float]:
    powers = [math.exp(number) for number in numbers]
    return [power / sum(powers) for power in powers]


@checker
def pool_block(attempt: Attempt) -> str:
    """Average the rows of a block, each channel by weights of its own."""
    shapes = [(4, 3), (2, 5), (3, 3), (1, 4)]
    cases = [tuple(_draw(*shape, seed=3 * i + j) for j in range(3)) for i, shape in
             enumerate(shapes)]  # fmt: skip

    def truth(content, gate, bias):
        entry = []
        for d in range(content.shape[1]):
            weights = _softmax([float(g + b) for g, b in zip(gate[:, d], bias[:, d], strict=True)])
            entry.append(sum(w * float(c) for w, c in zip(weights, content[:, d], strict=True)))
        return torch.tensor(entry)

    def weighed(weights: Callable) -> Callable:
        return lambda c, z, b: (weights(z, b) * c).sum(0)

    slips = [
        (
            lambda c, z, b: c.mean(0),
            "this is the mean: all rows weigh the same, whatever their gates say.",
        ),
        (
            weighed(lambda z, b: (z + b).mean(1, keepdim=True).softmax(0)),
            "each row has one weight for all channels. The softmax is taken in every channel by"
            " itself.",
        ),
        (
            weighed(lambda z, b: (z + b).sum(1, keepdim=True).softmax(0)),
            "each row has one weight for all channels. The softmax is taken in every channel by"
            " itself.",
        ),
        (
            weighed(lambda z, b: (z + b).softmax(1)),
            "the softmax runs over the channels. The rows of a channel compete: dim=0.",
        ),
        (
            weighed(lambda z, b: (z + b).flatten().softmax(0).view_as(z)),
            "the softmax runs over the whole table. The rows of a channel compete: dim=0.",
        ),
        (
            weighed(lambda z, b: z.softmax(0)),
            "the bias of the positions is missing, or it is the same for all rows, which softmax"
            " does not feel.",
        ),
        (
            weighed(lambda z, b: ((z + b) / z.shape[1] ** 0.5).softmax(0)),
            "the gates are divided by the root of the width. Gates are no dot products: they are"
            " not scaled.",
        ),
        (
            weighed(lambda z, b: (-z - b).softmax(0)),
            "the smallest gate weighs most: the sign is the wrong way round.",
        ),
        (
            weighed(lambda z, b: b.softmax(0)),
            "the gates are missing: these weights know the positions alone, not what stands there.",
        ),
        (
            weighed(lambda z, b: z.softmax(0) + b),
            "the bias is added to the weights. It is added to the gates, before the softmax.",
        ),
        (weighed(lambda z, b: (z - b).softmax(0)), "the bias is subtracted: it is added."),
        (
            weighed(lambda z, b: (z + b).exp()),
            "the weights do not add up to 1: divide by their sum over the rows.",
        ),
        (
            weighed(lambda z, b: (z + b).sigmoid()),
            "a sigmoid weighs each row without regard to the others. Softmax makes them compete.",
        ),
        (
            lambda c, z, b: ((z + b).softmax(0) * c).mean(0),
            "the weighted rows are averaged once more. The weights add up to 1 already: sum.",
        ),
        (
            lambda c, z, b: (z + b).softmax(0) * c,
            "these are the weighted rows. Add them up: one entry for the block.",
        ),
        (
            lambda c, z, b: (c.softmax(0) * (z + b)).sum(0),
            "content and gate have changed places: the gates make the weights.",
        ),
        (
            lambda c, z, b: (z + b).softmax(0).T @ c,
            "a product of matrices weighs each channel by the weights of all others too. Multiply"
            " number by number, then add up the rows.",
        ),
        (
            lambda c, z, b: (z.softmax(0) * (c + b)).sum(0),
            "the bias is added to the content. It is added to the gates, before the softmax.",
        ),
        (
            lambda c, z, b: ((z + b).softmax(0) * (c + b)).sum(0),
            "the bias is in the content too. It belongs to the gates alone.",
        ),
        (
            lambda c, z, b: c.gather(0, (z + b).argmax(0, keepdim=True))[0],
            "the row with the largest gate is taken whole. All rows count, by their softmax.",
        ),
    ]
    judge_by_slips(attempt, cases, truth, slips, lambda *case: "the entry")
    return "right: a channel may listen to another row than its neighbour does."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _as_complex(a: float, b: float, angle: float) -> tuple[float, float]:
    number = complex(a, b) * cmath.exp(1j * angle)
    return number.real, number.imag


def _overwritten(a: float, b: float, angle: float) -> tuple[float, float]:
    a = a * math.cos(angle) - b * math.sin(angle)
    return a, a * math.sin(angle) + b * math.cos(angle)


def _without_minus(a: float, b: float, angle: float) -> tuple[float, float]:
    cos, sin = math.cos(angle), math.sin(angle)
    return a * cos + b * sin, a * sin + b * cos


def _placing(
    pairs: Callable = lambda D, w: [(D - w + p, D - w + p + 1) for p in range(0, w, 2)],
    position: Callable = lambda i, rate: i * rate,
    power: Callable = lambda p, w, D: 2 * p / w,
    sign: int = 1,
    base: float = 10_000.0,
    turn: Callable = _as_complex,
) -> Callable:
    def place_all(entries: Tensor, rate: int, width: int) -> Tensor:
        D = entries.shape[1]
        found = pairs(D, width)
        rows = entries.tolist()
        for i, row in enumerate(rows):
            for p, (a, b) in enumerate(found):
                angle = sign * position(i, rate) * base ** -power(p, width, D)
                row[a], row[b] = turn(row[a], row[b], angle)
        return torch.tensor(rows)

    return place_all


def _side_by_side(entries: Tensor, rate: int, width: int) -> Tensor:
    """Leave the turned numbers in halves."""
    placed = _placing()(entries, rate, width)
    turned = placed[:, -width:]
    return torch.cat([placed[:, :-width], turned[:, ::2], turned[:, 1::2]], 1)


@checker
def rotate_entries(attempt: Attempt) -> str:
    """Rotate the last numbers of entries, in pairs of neighbours, by the first token's position."""
    sizes = [((5, 10), 4, 4), ((4, 8), 3, 6), ((3, 6), 1, 2), ((4, 8), 2, 8)]
    cases = [(_draw(*shape, seed=i), rate, width) for i, (shape, rate, width) in enumerate(sizes)]
    slips = [
        (
            _placing(pairs=lambda D, w: [(p, p + 1) for p in range(0, w, 2)]),
            "the first numbers are rotated. V4 rotates the last ones.",
        ),
        (
            _placing(pairs=lambda D, w: [(D - w + p, D - w // 2 + p) for p in range(w // 2)]),
            "number p is paired with number p + width/2. V4 pairs neighbours: 0 and 1, 2 and 3.",
        ),
        (
            _placing(pairs=lambda D, w: [(p, p + w // 2) for p in range(w // 2)]),
            "the first numbers are rotated, paired half a width apart. V4 rotates the last ones, in"
            " pairs of neighbours.",
        ),
        (
            _placing(position=lambda i, rate: i * rate + rate - 1),
            "the entries stand at their block's last token. V4 puts them at the first.",
        ),
        (
            _placing(position=lambda i, rate: (i + 1) * rate),
            "the entries stand behind their block. Block 0 begins at position 0.",
        ),
        (
            _placing(position=lambda i, rate: i),
            "the entries stand at the number of their block. Places are counted in tokens: times"
            " the rate.",
        ),
        (
            _placing(position=lambda i, rate: i * rate + (rate - 1) / 2),
            "the entries stand in the middle of their block. V4 puts them at the first token.",
        ),
        (
            _placing(position=lambda i, rate: i * rate + rate // 2),
            "the entries stand in the middle of their block. V4 puts them at the first token.",
        ),
        (
            _placing(position=lambda i, rate: i * rate + 1),
            "positions are counted from 1. The first token is at 0.",
        ),
        (
            _placing(turn=_overwritten),
            "the second number is turned with the first one's new value. Keep the old one until"
            " both are made.",
        ),
        (
            _placing(turn=_without_minus),
            "the first number of a pair becomes a cos - b sin: with a minus.",
        ),
        (_placing(base=160_000.0), "the angles have another base: here it is 10,000."),
        (
            _placing(power=lambda p, w, D: 2 * p / D),
            "the speeds are those of a vector as wide as the entry. The exponent is 2p/width.",
        ),
        (
            _placing(power=lambda p, w, D: p / w),
            "the speeds fall too slowly: the exponent is 2p/width, for pair p.",
        ),
        (
            _placing(power=lambda p, w, D: 4 * p / w),
            "the speeds fall too fast: the exponent is 2p/width for pair p, and steps of 2 hold the"
            " 2p already.",
        ),
        (
            _side_by_side,
            "the turned pairs are laid side by side, all first numbers and then all second ones. A"
            " pair goes back to where it was, as neighbours.",
        ),
        (_placing(sign=-1), "the entries turn the wrong way: a positive angle goes from the first"
                            " number of a pair towards the second."),
        (
            _placing(pairs=lambda D, w: [(p, p + 1) for p in range(0, D, 2)]),
            "the whole entry is rotated. Only the last `width` numbers are.",
        ),
        (lambda entries, rate, width: entries, "nothing is rotated."),
        (
            lambda entries, rate, width: _placing()(entries, rate, width)[:, -width:],
            "only the rotated part comes back. The entry keeps its other numbers as they are.",
        ),
    ]  # fmt: skip

    def called(entries, rate, width):
        return f"{len(entries)} entries of {entries.shape[1]} numbers, rate {rate}, width {width}"

    judge_by_slips(attempt, cases, _placing(), slips, called)
    return "right: an entry stands where its block begins."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _reading(
    near: Callable = lambda t, s, w: 0 <= t - s < w,
    far: Callable = lambda t, i, m: i * m + m <= t + 1,
) -> Callable:
    def table(T: int, window: int, rate: int) -> Tensor:
        return torch.tensor(
            [
                [bool(near(t, s, window)) for s in range(T)]
                + [bool(far(t, i, rate)) for i in range(T // rate)]
                for t in range(T)
            ]
        )

    return table


@checker
def readable(attempt: Attempt) -> str:
    """Tell which tokens and which blocks each token reads."""
    cases = [(12, 5, 4), (9, 2, 3), (3, 4, 4), (8, 3, 1), (16, 3, 5)]

    def without_doubles(T, window, rate):
        return _reading(far=lambda t, i, m: i * m + m <= t - window + 1)(T, window, rate)

    def without_common(T, window, rate):
        far = lambda t, i, m: i * m + m <= t + 1 and i * m <= t - window  # noqa: E731
        return _reading(far=far)(T, window, rate)

    slips = [
        (
            _reading(near=lambda t, s, w: 0 <= t - s <= w),
            "the window is one token too wide: the token itself counts, so t - s < window.",
        ),
        (
            _reading(near=lambda t, s, w: 0 <= t - s < max(1, w - 1)),
            "the window is one token too narrow: it has `window` tokens, with the token itself.",
        ),
        (
            _reading(near=lambda t, s, w: 0 < t - s <= w),
            "a token must read itself: it is the first of the window.",
        ),
        (
            _reading(near=lambda t, s, w: 0 < t - s < w),
            "a token must read itself: it is the first of the window.",
        ),
        (
            _reading(near=lambda t, s, w: abs(t - s) < w),
            "the window reaches into the future: s must not be after t.",
        ),
        (
            _reading(near=lambda t, s, w: t - s < w),
            "tokens read what comes after them: s must not be after t.",
        ),
        (_reading(near=lambda t, s, w: s <= t), "there is no window: all earlier tokens are read."),
        (
            _reading(far=lambda t, i, m: i < t // m),
            "the token that closes a block may read it: block i is finished when (i + 1) rate <="
            " t + 1.",
        ),
        (
            _reading(far=lambda t, i, m: i * m <= t),
            "blocks are read before they are finished: they hold tokens that come later.",
        ),
        (
            _reading(far=lambda t, i, m: i * m + m <= t + 2),
            "blocks are read one token before they are finished: that token has not come yet.",
        ),
        (
            _reading(far=lambda t, i, m: True),
            "all blocks are read by all tokens, also those that are not finished.",
        ),
        *(
            (
                slip,
                "blocks inside the window are hidden. V4 leaves them: what is in both is read"
                " twice.",
            )
            for slip in (without_doubles, without_common)
        ),
        (
            lambda T, w, m: _reading()(T, w, m)[:, :T],
            "the blocks are missing: a column for each finished block, behind the tokens.",
        ),
        (
            lambda T, w, m: torch.cat([_reading()(T, w, m)[:, T:], _reading()(T, w, m)[:, :T]], 1),
            "tokens come first, blocks behind them.",
        ),
        (
            lambda T, w, m: ~_reading()(T, w, m),
            "the table is the wrong way round: True is what may be read.",
        ),
        (
            lambda T, w, m: _reading()(T, w, m).T,
            "the table is on its side: a row for each token that reads.",
        ),
    ]

    def called(T, window, rate):
        return f"what {T} tokens read with a window of {window} and blocks of {rate}"

    def truth(*case):
        return _as_numbers(_reading()(*case))

    judge_by_slips(attempt, cases, truth, slips, called, plain=_as_numbers)
    return "right: nothing that comes later, and no block that is not finished."


def _as_numbers(table: Any) -> Tensor:
    """True and False as 1 and 0, for a table may hold either."""
    return torch.as_tensor(table).float()


# Exercise 5
# --------------------------------------------------------------------------------------------------

LEAST_GATE = -1000.0  # a softmax gives what is below it no weight: as good as -inf


def _two_tables(got: Any) -> list[Tensor]:
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"return two tables, contents and gates; got {describe(got)}")
    content, gate = (torch.as_tensor(part).float() for part in got)
    return [content, gate.masked_fill(gate < LEAST_GATE, -torch.inf)]


def _overlapping(
    first: Any = (0.0, -torch.inf), step: int = 1, own: int = 1, own_first: bool = False
) -> Callable:
    """Lay rows out by loops; `first` is what stands before block 0, None for the last block."""

    def lay_out(content: Tensor, gate: Tensor) -> list[Tensor]:
        N, M, D = content.shape[0], content.shape[1], content.shape[2] // 2
        parts = []
        for table, empty in zip((content, gate), first or (None, None), strict=True):
            halves = table[..., :D], table[..., D:]
            to_next, kept = halves[1 - own], halves[own]
            blocks = []
            for i in range(N):
                j = i - step
                outside = not 0 <= j < N
                before = to_next[j % N]
                if outside and empty is not None:
                    before = torch.full((M, D), empty)
                blocks.append(torch.cat([kept[i], before] if own_first else [before, kept[i]]))
            parts.append(torch.stack(blocks))
        return parts

    return lay_out


@checker
def overlap_rows(attempt: Attempt) -> str:
    """Lay the previous block's rows beside a block's own."""
    cases = []
    for i, (N, M, D) in enumerate([(3, 2, 2), (4, 3, 1), (2, 4, 3)]):
        cases.append((_draw(N, M, 2 * D, seed=i), _draw(N, M, 2 * D, seed=10 + i)))
    slips = [
        (
            _overlapping(own=0),
            "the halves have changed places: the first half is for the next block, the second for"
            " the own one.",
        ),
        (
            _overlapping(first=(0.0, 0.0)),
            "block 0 has nothing before it, but gates of 0 give that nothing a weight. Their gates"
            " are -inf.",
        ),
        (
            _overlapping(first=None),
            "block 0 gets the rows of the last block: the future. Nothing comes before it.",
        ),
        (_overlapping(step=-1), "each block gets the rows of the block behind it: the future."),
        (
            _overlapping(step=-1, first=None),
            "each block gets the rows of the block behind it: the future.",
        ),
        (
            _overlapping(step=0),
            "each block gets both halves of its own rows: the first half goes to the next block.",
        ),
        (
            _overlapping(own_first=True),
            "the previous block's rows come first, the own ones behind them.",
        ),
        (
            _overlapping(first=(-torch.inf, -torch.inf)),
            "-inf belongs to the gates alone: as a content it makes the entry nan, for 0 times"
            " infinity is no number.",
        ),
        (
            lambda c, z: [t[:, :, c.shape[2] // 2 :] for t in (c, z)],
            "the rows of the previous block are missing.",
        ),
        (
            lambda c, z: _overlapping()(c, z)[::-1],
            "the gates come first here: return contents, then gates.",
        ),
        (
            lambda c, z: _overlapping()(c, z)[:1] + _overlapping(step=0)(c, z)[1:],
            "the contents are shifted by a block and the gates are not: they belong together.",
        ),
        (
            lambda c, z: _overlapping(step=0)(c, z)[:1] + _overlapping()(c, z)[1:],
            "the gates are shifted by a block and the contents are not: they belong together.",
        ),
    ]

    judge_by_slips(
        attempt,
        cases,
        _overlapping(),
        slips,
        lambda *case: "the tables (contents, gates)",
        plain=_two_tables,
    )
    return "right: every block but the first is made of twice as many rows."


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _turn(x: Tensor, positions: Tensor) -> Tensor:
    """Turn neighbours in pairs, for the learner to call: one pair alone is rotated."""
    angle = 0.7 * positions[:, None].to(x.dtype)
    a, b = x[:, -2:-1], x[:, -1:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([x[:, :-2], a * cos - b * sin, a * sin + b * cos], 1)


@checker
def shared_kv_output(attempt: Attempt) -> str:
    """One head of shared keys and values: a sink, and the output turned back."""
    cases = []
    for i, (T, D, window, sink) in enumerate([(5, 4, 3, 0.0), (4, 6, 2, 1.5), (6, 2, 9, -0.8)]):
        visible = _reading()(T, window, 2)  # blocks of two tokens behind the tokens
        vectors = _draw(visible.shape[1], D, seed=9 + i)
        cases.append((_draw(T, D, seed=i), vectors, visible, sink, _turn))

    def weights(q, kv, visible, sink, scale=None, extra=math.exp, hidden=0.0, dim=1):
        scale = len(q[0]) ** -0.5 if scale is None else scale
        powers = (q @ kv.T * scale).exp()
        powers = torch.where(visible, powers, torch.tensor(hidden))
        return powers / (powers.sum(dim, keepdim=True) + extra(sink))

    def all_weights(q, kv, visible, sink):
        return weights(q, kv, torch.ones_like(visible), sink)

    def wrong_column(q, kv, visible, sink):
        table = weights(q, kv, visible, sink)
        return torch.cat([1 - table.sum(1, keepdim=True), table[:, :-1]], 1)

    def output(table: Callable, sign: int = -1, start: int = 0) -> Callable:
        def made(q, kv, visible, sink, turn):
            return turn(table(q, kv, visible, sink) @ kv, sign * (start + torch.arange(len(q))))

        return made

    truth = output(weights)
    slips = [
        (
            output(weights, sign=0),
            "the output is not turned back: values carry their positions, so the same text further"
            " on would give another output.",
        ),
        (
            output(weights, sign=1),
            "the output is turned forward. Turn it back, by minus the reading token's position.",
        ),
        (
            output(lambda *case: weights(*case, extra=lambda sink: 0.0)),
            "the sink takes no weight: it is missing, or was added to all scores, which softmax"
            " does not feel, or the weights without it were divided by their sum again. It is one"
            " more score: even a sink of 0 is one more unit in the denominator.",
        ),
        (
            output(lambda q, *case: weights(q, *case[:-1], case[-1] / len(q[0]) ** 0.5)),
            "the sink is divided by the root of the width too. It is learned as it is, and joins"
            " the scaled scores.",
        ),
        (
            output(lambda *case: weights(*case, extra=lambda sink: sink)),
            "the sink is added to the denominator as it is. It is a score: exp(sink).",
        ),
        (
            output(lambda *case: weights(*case, extra=lambda s: math.exp(s) if s else 0.0)),
            "a sink of 0 is not off: it adds exp(0) = 1 to the denominator.",
        ),
        (
            output(lambda *case: weights(*case, scale=1.0)),
            "the scores are not scaled: divide by the root of a query's width.",
        ),
        (
            output(lambda *case: weights(*case, scale=1 / len(case[0][0]))),
            "the scores are divided by the width itself, not by its root.",
        ),
        (
            output(lambda *case: weights(*case, hidden=1.0)),
            "hidden scores are 0, which still gives them weight. They must be -inf.",
        ),
        (
            output(all_weights),
            "nothing is hidden: tokens read what comes after them.",
        ),
        (
            output(lambda *case: all_weights(*case) * case[2]),
            "weights are hidden after the softmax, where hidden scores stand in the denominator"
            " already. Hide the scores.",
        ),
        (
            output(lambda q, kv, visible, sink: weights(q, kv, ~visible, sink)),
            "`visible` is the wrong way round: True is what may be read.",
        ),
        (
            output(wrong_column),
            "the sink's column stands first, and the last one is taken away: the weights belong to"
            " their neighbours' vectors now.",
        ),
        (
            output(lambda *case: weights(*case, dim=0)),
            "the softmax runs over the tokens that look. The vectors compete: dim=1.",
        ),
        (
            output(lambda *case: weights(*case, extra=lambda sink: 1.0)),
            "the denominator grows by 1 whatever the sink is. It grows by exp(sink).",
        ),
        (
            output(weights, start=1),
            "the output is turned back by one position too many: the first token is at 0.",
        ),
        (
            lambda q, kv, visible, sink, turn: turn(
                weights(q, turn(kv, -torch.arange(len(kv))), visible, sink) @ kv,
                -torch.arange(len(q)),
            ),
            "the keys are turned back before the scores. They are rotated already, as they should"
            " be.",
        ),
        (
            lambda q, kv, visible, sink, turn: truth(
                turn(q, torch.arange(len(q))), turn(kv, torch.arange(len(kv))), visible, sink, turn
            ),
            "queries and vectors are rotated once more. They come rotated already.",
        ),
        (
            lambda q, kv, visible, sink, turn: (
                weights(q, kv, visible, sink) @ turn(kv, -torch.arange(len(kv)))
            ),
            "each value is turned back by its own position, so the output does not know how far"
            " away it stood. Turn the mixed output, by the position of the token that looks.",
        ),
        (
            lambda q, kv, visible, sink, turn: weights(q, kv, visible, sink),
            "these are the weights. The output is what they mix, turned back.",
        ),
    ]  # fmt: skip
    judge_by_slips(attempt, cases, truth, slips, lambda *case: "the output")
    return "right: with a sink, and turned back to where the reader stands."
