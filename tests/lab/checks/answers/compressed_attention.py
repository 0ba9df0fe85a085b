"""Answers to the exercises of lesson 30, written from their statements alone."""

import math

import numpy as np
import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- cache_bytes ---


def bytes_by_kind(rates, entry_bytes, index_bytes):
    csa = rates.count(4)
    hca = sum(1 / rate for rate in rates if rate not in (0, 4))
    return csa * (entry_bytes + index_bytes) / 4 + hca * entry_bytes


def bytes_of_long_text(rates, entry_bytes, index_bytes):
    n = math.lcm(*(rate for rate in rates if rate), 1)
    held = 0
    for rate in rates:
        held += 0 if rate == 0 else n // rate * entry_bytes
        held += n // 4 * index_bytes if rate == 4 else 0
    return held / n


def bytes_with_numpy(rates, entry_bytes, index_bytes):
    table = np.array([rate for rate in rates if rate > 0], dtype=float)
    return (entry_bytes / table).sum() + np.sum(table == 4) * index_bytes / 4


def counted(entry, index):
    return lambda rates, e, k: sum(entry(r, e) for r in rates) + sum(index(r, k) for r in rates)


def share(r, size):
    return size / r if r else 0


def share_of_chosen(r, size):
    return size / 4 if r == 4 else 0


CACHE_BYTES = Answers(
    right=[bytes_by_kind, bytes_of_long_text, bytes_with_numpy],
    wrong=[
        Slip(counted(share, share), "index keys in all layers", "rate 4"),
        Slip(counted(share, lambda r, s: 0), "no index keys", "index keys"),
        Slip(counted(share, lambda r, s: s * (r == 4)), "an index key per token", "per block"),
        Slip(counted(lambda r, s: s if r else 0, share_of_chosen), "entries per token", "serves"),
        Slip(counted(lambda r, s: s / max(r, 1), share_of_chosen), "sliding per token", "window"),
        Slip(counted(lambda r, s: s // r if r else 0, lambda r, s: s // 4 * (r == 4)), "//", "/"),
        Slip(counted(lambda r, s: 2 * share(r, s), share_of_chosen), "key and value", "once"),
        Slip(lambda *case: bytes_by_kind(*case) / len(case[0]), "mean over layers", "mean"),
        Slip(counted(share, lambda r, s: s / r if 0 < r <= 4 else 0), "keys to 4", "another rate"),
    ],
)

# --- pool_block ---


def pooled_by_loops(content, gate, bias):
    M, D = content.shape
    entry = torch.zeros(D)
    for d in range(D):
        powers = [math.exp(float(gate[j, d] + bias[j, d])) for j in range(M)]
        entry[d] = sum(p * float(content[j, d]) for j, p in enumerate(powers)) / sum(powers)
    return entry


def pooled_with_numpy(content, gate, bias):
    z = (gate + bias).numpy()
    e = np.exp(z - z.max(axis=0))
    return ((e / e.sum(axis=0)) * content.numpy()).sum(axis=0)


def pooled_transposed(content, gate, bias):
    weights = torch.softmax((gate + bias).T, dim=-1)
    return torch.einsum("dm,md->d", weights, content)


def weighed(weights):
    return lambda c, z, b: (weights(z, b) * c).sum(0)


POOL_BLOCK = Answers(
    right=[pooled_by_loops, pooled_with_numpy, pooled_transposed],
    wrong=[
        Slip(lambda c, z, b: c.mean(0), "mean", "mean"),
        Slip(weighed(lambda z, b: (z + b).mean(1, keepdim=True).softmax(0)), "scalar", "channel"),
        Slip(weighed(lambda z, b: (z + b).softmax(-1)), "over channels", "channels|dim"),
        Slip(weighed(lambda z, b: z.softmax(0)), "no bias", "bias"),
        Slip(weighed(lambda z, b: z.softmax(0) + b), "bias on weights", "bias"),
        Slip(weighed(lambda z, b: torch.sigmoid(z + b)), "sigmoid", "sigmoid|add up"),
        Slip(weighed(lambda z, b: torch.exp(z + b)), "not normalised", "add up|sum"),
        Slip(lambda c, z, b: (z + b).softmax(0) * c, "not summed", "add them up|sum|shape"),
        Slip(weighed(lambda z, b: b.softmax(0)), "no gates", "gates"),
        Slip(weighed(lambda z, b: (z + b[0]).softmax(0)), "the first row's bias", "same for all"),
        Slip(weighed(lambda z, b: ((z + b) / z.shape[1] ** 0.5).softmax(0)), "scaled", "root"),
    ],
)

# --- rotate_entries ---


def placed_by_loops(entries, rate, width):
    out = entries.clone()
    for i in range(len(entries)):
        for p in range(width // 2):
            angle = i * rate * 10_000 ** (-2 * p / width)
            at = entries.shape[1] - width + 2 * p
            a, b = float(entries[i, at]), float(entries[i, at + 1])
            out[i, at] = a * math.cos(angle) - b * math.sin(angle)
            out[i, at + 1] = a * math.sin(angle) + b * math.cos(angle)
    return out


def placed_by_stack(entries, rate, width):
    kept, turned = entries.split([entries.shape[1] - width, width], 1)
    phi = torch.outer(
        torch.arange(len(entries)) * rate, 1e4 ** -(torch.arange(width // 2) * 2 / width)
    )
    a, b = turned[:, ::2], turned[:, 1::2]
    both = torch.stack([a * phi.cos() - b * phi.sin(), a * phi.sin() + b * phi.cos()], -1)
    return torch.cat([kept, both.flatten(1)], 1)


def placed_with_numpy(entries, rate, width):
    x = entries.double().numpy().copy()
    z = x[:, -width:][:, ::2] + 1j * x[:, -width:][:, 1::2]
    z = z * np.exp(
        1j * np.arange(len(x))[:, None] * rate * 1e4 ** (-np.arange(0, width, 2) / width)
    )
    x[:, -width:] = np.stack([z.real, z.imag], -1).reshape(len(x), width)
    return x


def placed(position=lambda i, m: i * m, over=None, sign=1, first=False, halves=False):
    def place_all(entries, rate, width):
        D = entries.shape[1]
        part = entries[:, :width] if first else entries[:, D - width :]
        where = torch.tensor([float(position(i, rate)) for i in range(len(entries))])
        phi = sign * torch.outer(
            where, 1e4 ** -(torch.arange(0, width, 2) / (over or (lambda w, D: w))(width, D))
        )
        a, b = part.chunk(2, 1) if halves else (part[:, ::2], part[:, 1::2])
        both = [a * phi.cos() - b * phi.sin(), a * phi.sin() + b * phi.cos()]
        both = torch.cat(both, 1) if halves else torch.stack(both, -1).flatten(1)
        out = entries.clone()
        out[:, slice(0, width) if first else slice(D - width, D)] = both
        return out

    return place_all


ROTATE_ENTRIES = Answers(
    right=[placed_by_loops, placed_by_stack, placed_with_numpy],
    wrong=[
        Slip(placed(first=True), "first numbers", "first|last"),
        Slip(placed(halves=True), "half-split pairs", "neighbour"),
        Slip(placed(first=True, halves=True), "first numbers, half-split", "first|neighbour"),
        Slip(placed(lambda i, m: (i + 1) * m - 1), "last token", "last token"),
        Slip(placed(lambda i, m: i), "block numbers", "rate|tokens"),
        Slip(placed(lambda i, m: i * m + m // 2), "in the middle", "middle"),
        Slip(placed(lambda i, m: i * m + 1), "positions from 1", "from 1"),
        Slip(placed(lambda i, m: (i + 1) * m), "from 1", "block 0|behind"),
        Slip(placed(over=lambda w, D: D), "speeds of the whole entry", "width|exponent"),
        Slip(placed(over=lambda w, D: 2 * w), "speeds too slow in falling", "2p"),
        Slip(placed(sign=-1), "turned back", "wrong way"),
        Slip(lambda e, m, w: placed()(e, m, w)[:, -w:], "the part alone", "keeps|other numbers"),
    ],
)

# --- readable ---


def readable_by_loops(T, window, rate):
    rows = []
    for t in range(T):
        row = [t - window < s <= t for s in range(T)]
        rows.append(row + [rate * i + rate - 1 <= t for i in range(T // rate)])
    return rows


def readable_with_numpy(T, window, rate):
    t = np.arange(T)
    near = np.tri(T, dtype=bool) & ~np.tri(T, k=-window, dtype=bool)
    return np.concatenate([near, np.arange(T // rate)[None] < (t[:, None] + 1) // rate], 1)


def readable_as_numbers(T, window, rate):
    table = torch.ones(T, T).tril() - torch.ones(T, T).tril(-window)
    blocks = torch.zeros(T, T // rate)
    for i in range(T // rate):
        blocks[(i + 1) * rate - 1 :, i] = 1
    return torch.cat([table, blocks], 1)


def reads(near=lambda t, s, w: t - w < s <= t, far=lambda t, i, m: (i + 1) * m <= t + 1):
    return lambda T, w, m: torch.tensor(
        [
            [near(t, s, w) for s in range(T)] + [far(t, i, m) for i in range(T // m)]
            for t in range(T)
        ]
    )


READABLE = Answers(
    right=[readable_by_loops, readable_with_numpy, readable_as_numbers],
    wrong=[
        Slip(reads(near=lambda t, s, w: t - w <= s <= t), "window + 1", "too wide"),
        Slip(reads(near=lambda t, s, w: t - w < s < t), "not itself", "itself"),
        Slip(reads(near=lambda t, s, w: s == t or t - w + 1 < s < t), "window - 1", "too narrow"),
        Slip(reads(near=lambda t, s, w: s <= t), "no window", "window"),
        Slip(reads(near=lambda t, s, w: t - w < s), "future tokens", "after|future"),
        Slip(reads(far=lambda t, i, m: (i + 1) * m <= t), "strictly before", "closes"),
        Slip(reads(far=lambda t, i, m: i * m <= t), "begun blocks", "before they are finished"),
        Slip(reads(far=lambda t, i, m: True), "all blocks", "finished"),
        Slip(lambda T, w, m: reads()(T, w, m).logical_not(), "upside down", "wrong way"),
        Slip(lambda T, w, m: reads()(T, w, m)[:, :T], "tokens alone", "blocks"),
        Slip(
            lambda T, w, m: reads(far=lambda t, i, m: (i + 1) * m <= t + 1 - w)(T, w, m),
            "blocks in the window hidden",
            "hidden|window",
        ),
    ],
)

# --- overlap_rows ---


def rows_by_loops(content, gate):
    N, M, D = content.shape[0], content.shape[1], content.shape[2] // 2
    C, Z = torch.zeros(N, 2 * M, D), torch.full((N, 2 * M, D), -torch.inf)
    for i in range(N):
        if i:
            C[i, :M], Z[i, :M] = content[i - 1, :, :D], gate[i - 1, :, :D]
        C[i, M:], Z[i, M:] = content[i, :, D:], gate[i, :, D:]
    return C, Z


def rows_by_roll(content, gate):
    a, b = content.chunk(2, -1)
    za, zb = gate.chunk(2, -1)
    a, za = a.roll(1, 0), za.roll(1, 0)
    a[0], za[0] = 0, float("-inf")
    return [torch.cat([a, b], 1), torch.cat([za, zb], 1)]


def rows_with_least_number(content, gate):
    C, Z = rows_by_loops(content, gate)
    return C, Z.clamp(min=torch.finfo(torch.float32).min)


def rows(swap=False, first=-torch.inf, shift=1, keep_first=False, own_first=False, content=0.0):
    def lay_out(c, z):
        out = []
        for table, empty in ((c, content), (z, first)):
            a, b = table.chunk(2, -1)
            a, b = (b, a) if swap else (a, b)
            a = a.roll(shift, 0)
            if not keep_first:
                a[0] = empty
            out.append(torch.cat([b, a] if own_first else [a, b], 1))
        return tuple(out)

    return lay_out


OVERLAP_ROWS = Answers(
    right=[rows_by_loops, rows_by_roll, rows_with_least_number],
    wrong=[
        Slip(rows(swap=True), "halves swapped", "halves|first half"),
        Slip(rows(first=0.0), "gates of 0", "-inf|gates"),
        Slip(rows(keep_first=True), "last block before the first", "last block|future"),
        Slip(rows(shift=-1, keep_first=True), "next block", "future|behind"),
        Slip(rows(shift=0, keep_first=True), "own block twice", "own"),
        Slip(rows(own_first=True), "own rows first", "first"),
        Slip(rows(first=-1.0), "gates of -1", "expected -inf"),
        Slip(rows(content=-torch.inf), "contents of -inf", "contents?|nan"),
        Slip(lambda c, z: tuple(t.chunk(2, -1)[1] for t in (c, z)), "own rows alone", "missing"),
        Slip(lambda c, z: rows()(c, z)[0], "contents alone", "two tables"),
        Slip(lambda c, z: rows()(c, z)[::-1], "gates first", "gates come"),
    ],
)

# --- shared_kv_output ---


def output_by_loops(q, kv, visible, sink, turn):
    mixed = torch.zeros(len(q), kv.shape[1])
    for t in range(len(q)):
        powers = [
            math.exp(float(q[t] @ kv[s]) / math.sqrt(q.shape[1])) if visible[t, s] else 0.0
            for s in range(len(kv))
        ]
        total = sum(powers) + math.exp(sink)
        mixed[t] = sum(p / total * kv[s] for s, p in enumerate(powers))
    return turn(mixed, -torch.arange(len(q)))


def output_with_zero_value(q, kv, visible, sink, turn):
    scores = torch.where(visible, q @ kv.T / q.shape[1] ** 0.5, torch.tensor(-torch.inf))
    scores = torch.cat([scores, torch.ones(len(q), 1) * sink], 1)
    values = torch.cat([kv, torch.zeros(1, kv.shape[1])])
    return turn(scores.softmax(1) @ values, torch.arange(0, -len(q), -1))


def output_by_logsumexp(q, kv, visible, sink, turn):
    scores = (q / q.shape[1] ** 0.5 @ kv.T).masked_fill(visible.logical_not(), -1e9)
    log_total = torch.logaddexp(scores.logsumexp(1, keepdim=True), torch.tensor(float(sink)))
    return turn((scores - log_total).exp() @ kv, -torch.arange(q.shape[0]))


def made(extra=math.exp, scale=0.5, back=-1, hidden=0.0, add=0.0):
    def output(q, kv, visible, sink, turn):
        powers = (q @ kv.T / q.shape[1] ** scale).exp()
        powers = torch.where(visible, powers, torch.tensor(hidden))
        mixed = powers / (powers.sum(1, keepdim=True) + extra(sink)) @ kv
        return turn(mixed, back * torch.arange(len(q))) if back else mixed

    return output


SHARED_KV_OUTPUT = Answers(
    right=[output_by_loops, output_with_zero_value, output_by_logsumexp],
    wrong=[
        Slip(made(back=0), "not turned back", "turned back"),
        Slip(made(back=1), "turned forward", "forward|back"),
        Slip(made(extra=lambda sink: 0.0), "no sink", "sink"),
        Slip(made(extra=lambda sink: math.exp(sink) if sink else 0.0), "0 as off", "sink of 0|off"),
        Slip(made(extra=lambda sink: sink), "the sink as it is", "exp|sink"),
        Slip(made(scale=0), "not scaled", "scale|root"),
        Slip(made(scale=1), "by the width", "root"),
        Slip(made(hidden=1.0), "hidden scores of 0", "hidden|-inf"),
        Slip(
            lambda q, kv, visible, sink, turn: made()(q, kv, torch.ones_like(visible), sink, turn),
            "nothing hidden",
            "hidden|after",
        ),
        Slip(
            lambda q, kv, visible, sink, turn: made()(q, kv, ~visible, sink, turn),
            "hidden and visible exchanged",
            "wrong way",
        ),
        Slip(
            lambda q, kv, visible, sink, turn: turn(
                made(back=0)(q, kv, visible, sink, turn), -torch.arange(len(kv))
            ),
            "by the positions of the vectors",
            "size|stopped",
        ),
    ],
)

ANSWERS = {
    "cache_bytes": CACHE_BYTES,
    "pool_block": POOL_BLOCK,
    "rotate_entries": ROTATE_ENTRIES,
    "readable": READABLE,
    "overlap_rows": OVERLAP_ROWS,
    "shared_kv_output": SHARED_KV_OUTPUT,
}
