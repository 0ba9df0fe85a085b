"""The checkers of lesson 30 accept right answers and name typical slips."""

import torch
import torch.nn.functional as F

from course_lib.lab.checks import compressed_attention as check
from course_lib.lab.solutions import compressed_attention as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_5(a, b, c, d, e): ...


# Counting
# --------------------------------------------------------------------------------------------------


def counting(entry=lambda r, b: b / r, index=lambda r, b: b / r if r == 4 else 0, none=0.0):
    return lambda rates, b, k: sum(entry(r, b) + index(r, k) if r else none for r in rates)


def in_one_line(rates, entry_bytes, index_bytes):
    return sum((entry_bytes + (r == 4) * index_bytes) / r for r in rates if r)


# Pooling
# --------------------------------------------------------------------------------------------------


def pooling(weights):
    return lambda c, z, b: (weights(z, b) * c).sum(0)


def by_einsum(content, gate, bias):
    return torch.einsum("md,md->d", F.softmax((gate + bias).double(), 0), content.double())


# Places
# --------------------------------------------------------------------------------------------------


def placing(
    first=False,
    halves=False,
    position=lambda i, m: i * m,
    power=lambda w, D: w,
    sign=1,
    base=10_000.0,
):
    def place_all(entries, rate, width):
        D = entries.shape[1]
        positions = torch.tensor([float(position(i, rate)) for i in range(len(entries))])
        angles = sign * positions[:, None] * base ** (-torch.arange(0, width, 2) / power(width, D))
        turned = entries[:, :width] if first else entries[:, D - width :]
        kept = entries[:, width:] if first else entries[:, : D - width]
        pairs = turned.unflatten(1, (2, -1)).mT if halves else turned.unflatten(1, (-1, 2))
        turned = torch.view_as_complex(pairs.contiguous()) * torch.polar(
            torch.ones_like(angles), angles
        )
        turned = torch.view_as_real(turned)
        turned = (turned.mT if halves else turned).flatten(1)
        return torch.cat([turned, kept] if first else [kept, turned], 1)

    return place_all


def side_by_side(entries, rate, width):
    turned = placing()(entries, rate, width)[:, -width:].unflatten(1, (-1, 2)).mT.flatten(1)
    return torch.cat([entries[:, :-width], turned], 1)


def turning_pairs(turn):
    def place_all(entries, rate, width):
        angles = (
            rate * torch.arange(len(entries))[:, None] * 1e4 ** (-torch.arange(0, width, 2) / width)
        )
        made = entries.clone()
        turn(made[:, -width::2], made[:, 1 - width :: 2], angles.cos(), angles.sin())
        return made

    return place_all


@turning_pairs
def overwriting(a, b, cos, sin):
    a[:] = a * cos - b * sin
    b[:] = a * sin + b * cos


@turning_pairs
def without_minus(a, b, cos, sin):
    a[:], b[:] = a * cos + b * sin, a * sin + b * cos


# Reading
# --------------------------------------------------------------------------------------------------


def reading(near=lambda t, s, w: (s <= t) & (s > t - w), far=lambda t, i, m: i < (t + 1) // m):
    def table(T, window, rate):
        t = torch.arange(T)[:, None]
        return torch.cat(
            [near(t, torch.arange(T), window), far(t, torch.arange(T // rate), rate)], 1
        )

    return table


def without_common_tokens(T, window, rate):
    far = lambda t, i, m: (i < (t + 1) // m) & (i * m <= t - window)  # noqa: E731
    return reading(far=far)(T, window, rate)


# Overlap
# --------------------------------------------------------------------------------------------------


def overlapping(swap=False, gate_before=-torch.inf, shift=1, rolled=False, own_first=False):
    def lay_out(content, gate):
        rows = []
        for table, empty in ((content, 0.0), (gate, gate_before)):
            to_next, own = table.chunk(2, -1)
            to_next, own = (own, to_next) if swap else (to_next, own)
            before = to_next.roll(shift, 0)
            if shift > 0 and not rolled:
                before[0] = empty
            rows.append(torch.cat([own, before] if own_first else [before, own], 1))
        return tuple(rows)

    return lay_out


def padded(content, gate):
    D = content.shape[-1] // 2
    made = [
        torch.cat([F.pad(t[:-1, :, :D], (0, 0, 0, 0, 1, 0), value=v), t[:, :, D:]], 1)
        for t, v in ((content, 0.0), (gate, -1e9))
    ]
    return made


# Output
# --------------------------------------------------------------------------------------------------


def output(sink_as=lambda s: s, back=-1, scale=0.5, fill=-torch.inf, drop=False):
    def made(q, kv, visible, sink, turn):
        scores = (q @ kv.T / q.shape[1] ** scale).masked_fill(~visible, fill)
        column = torch.full((len(q), 1), float(sink_as(sink)))
        weights = scores.softmax(1) if drop else torch.cat([column, scores], 1).softmax(1)[:, 1:]
        mixed = weights @ kv
        return turn(mixed, back * torch.arange(len(q))) if back else mixed

    return made


def sink_everywhere(q, kv, visible, sink, turn):
    weights = (q @ kv.T / q.shape[1] ** 0.5 + sink).masked_fill(~visible, -torch.inf).softmax(1)
    return turn(weights @ kv, -torch.arange(len(q)))


def weighed(q, kv, visible, sink):
    scores = (q @ kv.T / q.shape[1] ** 0.5).masked_fill(~visible, -torch.inf)
    return torch.cat([torch.full((len(q), 1), float(sink)), scores], 1).softmax(1)


def divided_again(q, kv, visible, sink, turn):
    weights = F.normalize(weighed(q, kv, visible, sink)[:, 1:], p=1, dim=1)
    return turn(weights @ kv, -torch.arange(len(q)))


def rotated_twice(q, kv, visible, sink, turn):
    q, kv = turn(q, torch.arange(len(q))), turn(kv, torch.arange(len(kv)))
    return output()(q, kv, visible, sink, turn)


def hidden_afterwards(q, kv, visible, sink, turn):
    weights = weighed(q, kv, torch.ones_like(visible), sink)[:, 1:] * visible
    return turn(weights @ kv, -torch.arange(len(q)))


def wrong_column(q, kv, visible, sink, turn):
    return turn(weighed(q, kv, visible, sink)[:, :-1] @ kv, -torch.arange(len(q)))


def over_those_that_look(q, kv, visible, sink, turn):
    powers = torch.exp(q @ kv.T / q.shape[1] ** 0.5) * visible
    weights = powers / (powers.sum(0) + torch.tensor(sink).exp())
    return turn(weights @ kv, -torch.arange(len(q)))


def one_too_far(q, kv, visible, sink, turn):
    return turn(weighed(q, kv, visible, sink)[:, 1:] @ kv, -1 - torch.arange(len(q)))


def by_places_of_vectors(q, kv, visible, sink, turn):
    return turn(weighed(q, kv, visible, sink)[:, 1:] @ kv, -torch.arange(len(kv)))


def by_powers(q, kv, visible, sink, turn):
    powers = torch.exp(q @ kv.T / q.shape[1] ** 0.5) * visible
    weights = powers / (powers.sum(1, keepdim=True) + torch.tensor(sink).exp())
    return turn(weights @ kv, -torch.arange(len(q)))


CASES = {
    check.cache_bytes: Case(
        solution=solutions.cache_bytes_solution,
        skeleton=skeleton_3,
        also_right=[counting(), in_one_line],
        wrong=[
            (counting(index=lambda r, b: b / r), "only layers of rate 4"),
            (counting(index=lambda r, b: 0), "index keys are missing"),
            (counting(index=lambda r, b: b if r == 4 else 0), "one index key per block"),
            (lambda rates, b, k: counting()(rates, b, k) + rates.count(0) * b, "window alone"),
            (counting(lambda r, b: b, lambda r, b: b if r == 4 else 0), "serves all tokens"),
            (counting(lambda r, b: b // r, lambda r, b: b // r if r == 4 else 0), "not with //"),
            (lambda rates, b, k: counting()(rates, b, k) / len(rates), "mean over layers"),
            (counting(lambda r, b: 2 * b / r), "kept once"),
            (counting(index=lambda r, b: b / r if r <= 4 else 0), "layers of another rate too"),
            (counting(lambda r, b: b / r if r == 4 else 0), "another rate keep entries"),
            (counting(lambda r, b: 0 if r == 4 else b / r), "one replaces the other"),
        ],
    ),
    check.pool_block: Case(
        solution=solutions.pool_block_solution,
        skeleton=skeleton_3,
        also_right=[by_einsum, pooling(lambda z, b: (z.exp() * b.exp()) / (z + b).exp().sum(0))],
        wrong=[
            (lambda c, z, b: c.mean(0), "this is the mean"),
            (pooling(lambda z, b: (z + b).mean(1, keepdim=True).softmax(0)), "one weight for all"),
            (pooling(lambda z, b: (z + b).sum(1, keepdim=True).softmax(0)), "one weight for all"),
            (pooling(lambda z, b: (z + b).softmax(1)), "over the channels"),
            (pooling(lambda z, b: z.softmax(0)), "bias of the positions is missing"),
            (pooling(lambda z, b: (z + b[0]).softmax(0)), "the same for all rows"),
            (pooling(lambda z, b: ((z + b) / z.shape[1] ** 0.5).softmax(0)), "root of the width"),
            (pooling(lambda z, b: (-z - b).softmax(0)), "the smallest gate"),
            (pooling(lambda z, b: z.softmax(0) + b), "added to the weights"),
            (pooling(lambda z, b: (z + b).exp()), "do not add up to 1"),
            (pooling(lambda z, b: (z + b).sigmoid()), "a sigmoid"),
            (lambda c, z, b: ((z + b).softmax(0) * c).mean(0), "averaged once more"),
            (lambda c, z, b: (z + b).softmax(0).T @ c, "a product of matrices"),
            (lambda c, z, b: (z.softmax(0) * (c + b)).sum(0), "added to the content"),
        ],
    ),
    check.rotate_entries: Case(
        solution=solutions.rotate_entries_solution,
        skeleton=skeleton_3,
        also_right=[placing()],
        wrong=[
            (placing(first=True), "the first numbers are rotated. V4"),
            (placing(halves=True), "number p is paired with"),
            (placing(first=True, halves=True), "paired half a width apart"),
            (placing(position=lambda i, m: i * m + m - 1), "block's last token"),
            (placing(position=lambda i, m: i), "number of their block"),
            (placing(position=lambda i, m: (i + 1) * m), "stand behind their block"),
            (placing(power=lambda w, D: D), "as wide as the entry"),
            (placing(position=lambda i, m: i * m + m // 2), "in the middle"),
            (placing(position=lambda i, m: i * m + 1), "counted from 1"),
            (placing(base=160_000.0), "another base"),
            (placing(power=lambda w, D: w / 2), "fall too fast"),
            (side_by_side, "laid side by side"),
            (overwriting, "the first one's new value"),
            (without_minus, "with a minus"),
            (placing(sign=-1), "the wrong way"),
            (lambda e, m, w: placing()(e, m, w)[:, -w:], "only the rotated part"),
        ],
    ),
    check.readable: Case(
        solution=solutions.readable_solution,
        skeleton=skeleton_3,
        also_right=[reading(), lambda *case: reading()(*case).int().tolist()],
        wrong=[
            (reading(near=lambda t, s, w: (s <= t) & (t - s <= w)), "one token too wide"),
            (reading(far=lambda t, i, m: i < t // m), "closes a block may read it"),
            (reading(far=lambda t, i, m: i * m <= t), "before they are finished"),
            (reading(far=lambda t, i, m: (i >= 0) & (t >= 0)), "all blocks are read by all"),
            (reading(near=lambda t, s, w: (s < t) & (t - s < w)), "must read itself"),
            (reading(near=lambda t, s, w: s <= t), "no window"),
            (reading(near=lambda t, s, w: (s - t).abs() < w), "into the future"),
            (reading(near=lambda t, s, w: (s <= t) & (t - s < max(1, w - 1))), "too narrow"),
            (without_common_tokens, "inside the window are hidden"),
            (lambda T, w, m: reading()(T, w, m) * 0.9, "got 0.9, expected 1"),
            (lambda T, w, m: reading()(T, w, m)[:, :T], "the blocks are missing"),
            (lambda T, w, m: ~reading()(T, w, m), "the wrong way round"),
        ],
    ),
    check.overlap_rows: Case(
        solution=solutions.overlap_rows_solution,
        skeleton=skeleton_2,
        also_right=[overlapping(), padded],
        wrong=[
            (overlapping(swap=True), "halves have changed places"),
            (overlapping(gate_before=0.0), "gates of 0"),
            (overlapping(rolled=True), "rows of the last block"),
            (overlapping(shift=-1), "block behind it"),
            (overlapping(shift=0), "both halves of its own"),
            (overlapping(own_first=True), "previous block's rows come first"),
            (lambda c, z: tuple(t.chunk(2, -1)[1] for t in (c, z)), "previous block are missing"),
            (lambda c, z: overlapping()(c, z)[0], "return two tables"),
            (overlapping(gate_before=-1.0), "got -1, expected -inf"),
            (lambda c, z: (overlapping()(c, z)[0], overlapping(shift=0)(c, z)[1]), "gates are not"),
            (lambda c, z: (overlapping(shift=0)(c, z)[0], overlapping()(c, z)[1]), "contents are"),
        ],
    ),
    check.shared_kv_output: Case(
        solution=solutions.shared_kv_output_solution,
        skeleton=skeleton_5,
        also_right=[output(), by_powers],
        wrong=[
            (output(back=0), "not turned back"),
            (output(back=1), "turned forward"),
            (output(drop=True), "it is missing"),
            (divided_again, "divided by their sum again"),
            (
                lambda q, kv, seen, sink, turn: output()(
                    q, kv, seen, sink / q.shape[1] ** 0.5, turn
                ),
                "learned as it is",
            ),
            (rotated_twice, "They come rotated already"),
            (output(lambda s: s if s else -torch.inf), "a sink of 0 is not off"),
            (sink_everywhere, "added to all scores"),
            (output(scale=0), "not scaled"),
            (output(scale=1), "not by its root"),
            (output(fill=0.0), "must be -inf"),
            (hidden_afterwards, "hidden after the softmax"),
            (lambda q, kv, seen, *more: output()(q, kv, ~seen, *more), "is the wrong way round"),
            (wrong_column, "the sink's column stands first"),
            (over_those_that_look, "over the tokens that look"),
            (output(lambda sink: 0.0), "by 1 whatever the sink is"),
            (one_too_far, "one position too many"),
            (by_places_of_vectors, "stopped with RuntimeError"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
