"""Answers to the exercises of lesson 21, written from their statements alone."""

import bisect
import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- moved_bias ---


def bias_by_loops(bias, load, speed):
    fair = sum(load.tolist()) / len(load)
    moved = []
    for b, visits in zip(bias.tolist(), load.tolist(), strict=True):
        moved.append(b - speed if visits > fair else b + speed if visits < fair else b)
    return torch.tensor(moved)


def bias_by_where(bias, load, speed):
    above = load.double() - load.double().mean()
    lowered = torch.where(above > 0, bias - speed, bias)
    return torch.where(above < 0, bias + speed, lowered)


def bias_in_numpy(bias, load, speed):
    load = load.numpy().astype(np.float64)
    return bias.double().numpy() + speed * np.sign(load.mean() - load)


def bias_in_place(bias, load, speed):
    bias += speed * torch.sign(load.double().mean() - load)
    return bias


def moved(direction=torch.sign, fair=torch.mean, step=lambda bias, change: bias + change):
    """A right answer but for one part."""

    def moved_bias(bias, load, speed):
        load = load.to(bias.dtype)
        return step(bias, speed * direction(fair(load) - load))

    return moved_bias


def without_rest(difference):
    return torch.where(difference > 0, 1.0, -1.0)


def moved_ends(bias, load, speed):
    bias = bias.clone()
    bias[load.argmax()] -= speed
    bias[load.argmin()] += speed
    return bias


MOVED_BIAS = Answers(
    right=[bias_by_loops, bias_by_where, bias_in_numpy],
    wrong=[
        Slip(
            moved(lambda difference: -difference.sign()),
            "the busy are raised",
            r"wrong (way|direction)|opposite|sign|busy|direction|against|down",
            "mean load|in place|by how much",
        ),
        Slip(
            moved(lambda difference: difference),
            "moved by the whole difference",
            r"sign|size|how much|fixed|as far|only",
            "in place|wrong way|wrong direction",
        ),
        Slip(
            moved(lambda difference: difference / difference.abs().max().clamp(min=1e-9)),
            "moved in proportion to the difference",
            r"sign|size|how much|fixed|as far|only",
            "in place|wrong way|wrong direction",
        ),
        Slip(bias_in_place, "in place", r"new|argument|chang|in place|leave", "mean|sign"),
        Slip(
            moved(fair=torch.median),
            "the median for a fair load",
            r"mean|median",
            "in place|wrong way|wrong direction",
        ),
        Slip(
            moved(without_rest),
            "who has the mean is lowered",
            r"exactly|mean|fair|stay",
            "in place|wrong way|wrong direction|median",
        ),
        Slip(
            moved(step=lambda bias, change: bias * (1 + change)),
            "multiplied, not added",
            r"add|multipl|factor",
            "in place|wrong way|mean load",
        ),
        Slip(
            moved(step=lambda bias, change: change),
            "the step without the old bias",
            r"old|before|step|add|lost|forg",
            "in place|wrong way|mean load",
        ),
        Slip(
            lambda bias, load, speed: moved()(bias, load, 1.0),
            "speed ignored",
            r"whatever `speed`|speed is (not|ignored)",
            "in place|wrong way|mean load",
        ),
        Slip(
            moved(fair=torch.sum),
            "compared with the sum of the loads",
            r"mean|sum|fair",
            "in place|wrong way",
        ),
        Slip(
            moved(lambda difference: difference.sign().clamp(max=0)),
            "only the busy move",
            r"below|idle|less|raised|up|only",
            "in place|wrong way|wrong direction",
        ),
        Slip(
            moved_ends,
            "only the busiest and the idlest move",
            r"every|each|all|busiest|others|only|expert",
            "in place|wrong way|wrong direction",
        ),
        Slip(
            moved(step=lambda bias, change: bias + change - (bias + change).mean()),
            "the mean of the biases taken away",
            r"mean|zero|centr|shift|alike",
            "in place|wrong way|wrong direction",
        ),
        Slip(
            moved(fair=lambda load: load.mean().floor()),
            "the mean load rounded down",
            r"whole|round|floor|//|exactly|mean",
            "in place|wrong way|wrong direction",
        ),
    ],
)

# --- gates ---


def gates_by_loops(scores, bias, n_chosen):
    table = []
    for row in scores.tolist():
        ranked = [s + b for s, b in zip(row, bias.tolist(), strict=True)]
        chosen = sorted(range(len(row)), key=lambda e: -ranked[e])[:n_chosen]
        total = sum(row[e] for e in chosen)
        table.append([row[e] / total if e in chosen else 0.0 for e in range(len(row))])
    return torch.tensor(table)


def gates_by_mask(scores, bias, n_chosen):
    chosen = (scores + bias).topk(n_chosen, dim=1).indices
    mask = F.one_hot(chosen, scores.shape[1]).sum(1)
    return F.normalize(scores * mask, p=1, dim=1)


def gates_in_numpy(scores, bias, n_chosen):
    scores = scores.detach().double().numpy()
    order = np.argsort(-(scores + bias.double().numpy()), axis=1)
    kept = np.zeros_like(scores)
    np.put_along_axis(kept, order[:, :n_chosen], 1.0, axis=1)
    return kept * scores / (kept * scores).sum(axis=1, keepdims=True)


def rule(
    rank=lambda scores, bias: scores + bias,
    weigh=lambda scores, bias: scores,
    by=lambda picked, scores, bias, chosen: picked.sum(-1, keepdim=True),
):
    """A right answer but for one part."""

    def gates(scores, bias, n_chosen):
        chosen = rank(scores, bias).topk(n_chosen).indices
        picked = weigh(scores, bias).gather(-1, chosen)
        parts = picked / by(picked, scores, bias, chosen)
        return torch.zeros_like(scores).scatter(-1, chosen, parts)

    return gates


def gates_picked(scores, bias, n_chosen):
    picked = scores.gather(-1, (scores + bias).topk(n_chosen).indices)
    return picked / picked.sum(-1, keepdim=True)


def gates_by_softmax(scores, bias, n_chosen):
    chosen = (scores + bias).topk(n_chosen).indices
    return torch.zeros_like(scores).scatter(-1, chosen, scores.gather(-1, chosen).softmax(-1))


def gates_in_place(scores, bias, n_chosen):
    plain = scores.clone()
    scores += bias
    return rule()(plain, bias, n_chosen)


def sum_with_bias(picked, scores, bias, chosen):
    return (scores + bias).gather(-1, chosen).sum(-1, keepdim=True)


GATES = Answers(
    right=[gates_by_loops, gates_by_mask, gates_in_numpy],
    wrong=[
        Slip(
            rule(weigh=lambda scores, bias: scores + bias),
            "the bias leaks into the gates",
            r"bias|leak",
            "chosen without|ignored|not divided",
        ),
        Slip(
            rule(rank=lambda scores, bias: scores),
            "chosen without the bias",
            r"bias|chos",
            "leak|not divided",
        ),
        Slip(
            rule(by=lambda picked, *rest: 1.0),
            "not divided by a sum",
            r"divid|sum|add up",
            "leak|bias",
        ),
        Slip(
            rule(by=lambda picked, scores, *rest: scores.sum(-1, keepdim=True)),
            "divided by the sum of all affinities",
            r"all|chosen|sum",
            "leak|bias",
        ),
        Slip(gates_by_softmax, "softmax of the chosen", r"softmax|exp|divid", "leak|bias"),
        Slip(gates_picked, "the chosen alone, (N, K)", r"shape|table|\(N, E\)|K\b", "leak|bias"),
        Slip(
            rule(by=sum_with_bias),
            "the bias in the sum alone",
            r"bias|sum|leak|divid",
            "chosen without|ignored",
        ),
        Slip(
            rule(
                weigh=lambda scores, bias: scores + bias,
                by=lambda picked, scores, bias, chosen: scores.gather(-1, chosen).sum(
                    -1, keepdim=True
                ),
            ),
            "the bias above the line alone",
            r"bias|leak|sum",
            "chosen without|ignored",
        ),
        Slip(
            rule(rank=lambda scores, bias: scores - bias),
            "the bias is taken away",
            r"bias|plus|sign|subtract|add",
            "leak|not divided",
        ),
        Slip(
            rule(rank=lambda scores, bias: scores * bias),
            "the bias multiplies",
            r"bias|plus|add|multipl",
            "leak|not divided",
        ),
        Slip(
            rule(by=lambda picked, *rest: picked.sum(0, keepdim=True)),
            "divided by the sums of the columns",
            r"row|axis|column|each token|sum|add up",
            "leak|bias",
        ),
        Slip(
            rule(by=lambda picked, *rest: picked.sum()),
            "divided by the sum over all tokens",
            r"row|axis|all tokens|sum|add up",
            "leak|bias",
        ),
        Slip(
            rule(weigh=lambda scores, bias: torch.ones_like(scores)),
            "all chosen count alike",
            r"alike|equal|affinit|same|1/K",
            "leak|bias",
        ),
        Slip(
            gates_in_place,
            "the bias is added to the argument",
            r"argument|chang|in place|leave",
            "leak|divided",
        ),
    ],
)

# --- journeys ---


def journeys_by_sets(chosen, n_experts, n_ranks):
    tokens = [{e * n_ranks // n_experts for e in row} for row in chosen.tolist()]
    return [sum(rank in ranks for ranks in tokens) for rank in range(n_ranks)]


def journeys_by_one_hot(chosen, n_experts, n_ranks):
    visited = F.one_hot(chosen, n_experts).sum(1).view(len(chosen), n_ranks, -1).amax(-1)
    return visited.clamp(max=1).sum(0).tolist()


def journeys_in_numpy(chosen, n_experts, n_ranks):
    owner = np.asarray(chosen) // (n_experts // n_ranks)
    ranks = np.concatenate([np.unique(row) for row in owner])
    return np.bincount(ranks, minlength=n_ranks).tolist()


def travel(owner=lambda chosen, size, n_ranks: chosen // size, first=0, axis=1):
    """A right answer but for one part."""

    def journeys(chosen, n_experts, n_ranks):
        of = owner(chosen, n_experts // n_ranks, n_ranks)
        ranks = range(first, n_ranks + first)
        return [int((of == rank).any(axis).sum()) for rank in ranks]

    return journeys


def journeys_of_visits(chosen, n_experts, n_ranks):
    owner = chosen // (n_experts // n_ranks)
    return torch.bincount(owner.flatten(), minlength=n_ranks).tolist()


def journeys_of_visited(chosen, n_experts, n_ranks):
    counts = travel()(chosen, n_experts, n_ranks)
    return [count for count in counts if count]


def journeys_of_experts(chosen, n_experts, n_ranks):
    owner = chosen.unique() // (n_experts // n_ranks)
    return torch.bincount(owner, minlength=n_ranks).tolist()


def journeys_of_tokens(chosen, n_experts, n_ranks):
    owner = chosen // (n_experts // n_ranks)
    return [len(row.unique()) for row in owner]


def journeys_of_whole(chosen, n_experts, n_ranks):
    owner = chosen // (n_experts // n_ranks)
    return [int((owner == rank).all(1).sum()) for rank in range(n_ranks)]


def journeys_listed(chosen, n_experts, n_ranks):
    owner = chosen // (n_experts // n_ranks)
    return [(owner == rank).any(1).nonzero().flatten().tolist() for rank in range(n_ranks)]


JOURNEYS = Answers(
    right=[journeys_by_sets, journeys_by_one_hot, journeys_in_numpy],
    wrong=[
        Slip(
            journeys_of_visits,
            "visits counted, not tokens",
            r"once|twice|visits",
            "owner|remainder|first choice",
        ),
        Slip(
            travel(lambda chosen, size, n_ranks: chosen % n_ranks),
            "experts dealt out in turn",
            r"turn|neighbour|next|%|remainder|first .*experts|which rank",
            "once|twice|first choice",
        ),
        Slip(
            travel(lambda chosen, size, n_ranks: chosen // n_ranks),
            "divided by the number of ranks",
            r"divid|number of ranks|experts (per|of a|on a) rank|n_ranks|share|which rank",
            "once|twice|first choice",
        ),
        Slip(
            travel(axis=0),
            "slots counted, not tokens",
            r"axis|column|row|slot|choice",
            "twice|remainder|divid",
        ),
        Slip(
            lambda chosen, e, r: travel()(chosen[:, :1], e, r),
            "only first choices",
            r"first|all choices|second|column|choice",
            "twice|remainder|divid",
        ),
        Slip(
            journeys_of_visited,
            "ranks without tokens left out",
            r"no token|nobody|empty|each rank|every rank|length",
            "twice|remainder|divid",
        ),
        Slip(
            journeys_of_experts,
            "experts counted, not tokens",
            r"count the tokens|experts that",
            "twice|remainder|divid",
        ),
        Slip(
            journeys_of_tokens,
            "ranks of each token counted",
            r"each rank|per rank|length",
            "twice|remainder|divid",
        ),
        Slip(
            travel(first=1),
            "ranks counted from 1",
            r"rank 0|from 0|from 1|shift|one (rank )?(too )?(far|late|early)",
            "twice|remainder|divid",
        ),
        Slip(
            journeys_of_whole,
            "only tokens that go nowhere else",
            r"all|any|also|nowhere|only",
            "twice|remainder|divid",
        ),
        Slip(
            lambda *args: [n / len(args[0]) for n in travel()(*args)],
            "shares of the tokens",
            r"share|number|count|whole",
            "twice|remainder",
        ),
        Slip(
            lambda *args: sum(travel()(*args)),
            "all journeys together",
            r"list|each rank|sum|total",
            "twice|remainder|divid",
        ),
        Slip(
            journeys_listed,
            "the tokens, not their number",
            r"number|count|how many|len",
            "twice|remainder|divid",
        ),
    ],
)

# --- mtp_pairs ---


def pairs_by_loops(ids, depth):
    places = range(ids.shape[1] - depth - 1)
    read = [[row[i + depth] for i in places] for row in ids.tolist()]
    wanted = [[row[i + depth + 1] for i in places] for row in ids.tolist()]
    return torch.tensor(read), torch.tensor(wanted)


def pairs_by_narrow(ids, depth):
    n = ids.shape[1] - depth - 1
    return ids.narrow(1, depth, n), ids.narrow(1, depth + 1, n)


def pairs_by_windows(ids, depth):
    return tuple(ids[:, depth:].unfold(1, 2, 1).unbind(-1))


def pairs(read, wanted):
    """The tokens from these two places on, as many as the statement asks for."""

    def mtp_pairs(ids, depth):
        n = max(0, ids.shape[1] - depth - 1)
        return tuple(ids[:, start : start + n] for start in (read(depth), wanted(depth)))

    return mtp_pairs


def pairs_rolled(ids, depth):
    return ids.roll(-depth, 1), ids.roll(-depth - 1, 1)


def pairs_padded(ids, depth):
    wanted = F.pad(ids[:, depth + 1 :], (0, depth + 1), value=-100)
    return F.pad(ids[:, depth:-1], (0, depth + 1), value=-100), wanted


MTP_PAIRS = Answers(
    right=[pairs_by_loops, pairs_by_narrow, pairs_by_windows],
    wrong=[
        Slip(
            pairs(lambda depth: depth, lambda depth: depth),
            "to predict what is read",
            r"same|given|copy|one token later|reads|one (token )?(too )?early|later",
            "order|exchang|swap|length",
        ),
        Slip(
            pairs(lambda depth: 0, lambda depth: depth + 1),
            "reads the text from its first token",
            r"reads|first token|i \+ k|i \+ depth",
            "order|exchang|swap|length",
        ),
        Slip(
            pairs(lambda depth: depth + 1, lambda depth: depth),
            "what is predicted first, what is read second",
            r"order|exchang|swap|the other way|first",
            "length|shape",
        ),
        Slip(
            lambda ids, depth: (ids[:, 1:-1], ids[:, 2:]),
            "depth is always 1",
            r"depth",
            "order|exchang|swap",
        ),
        Slip(
            lambda ids, depth: (ids[:, depth:], ids[:, depth + 1 :]),
            "the last token is read too",
            r"length|last|shape|equal|nothing follows|\(B, T",
            "order|exchang|swap",
        ),
        Slip(
            pairs(lambda depth: 1, lambda depth: depth + 1),
            "reads the next token at any depth",
            r"any depth|reads|i \+ k",
            "order|exchang|swap|length",
        ),
        Slip(
            pairs(lambda depth: depth - 1, lambda depth: depth),
            "both one token early",
            r"early|one|off|later|read|depth",
            "order|exchang|swap|length",
        ),
        Slip(
            lambda ids, depth: (ids[:, depth + 1 : -1], ids[:, depth + 2 :]),
            "both one token late",
            r"late|off by one",
            "order|exchang|swap",
        ),
        Slip(
            lambda ids, depth: (ids[:, depth - 1 : -2], ids[:, depth + 1 :]),
            "predicts two tokens after what is read",
            r"read|one token later|two|early|later",
            "order|exchang|swap|length",
        ),
        Slip(
            lambda ids, depth: (ids[depth:-1], ids[depth + 1 :]),
            "rows cut, not positions",
            r"axis|the rows|column",
            "order|exchang|swap",
        ),
        Slip(
            pairs_rolled,
            "rolled round, so that the first tokens follow the last",
            r"shape|roll|length|round|T - depth|\(B, T",
            "order|exchang|swap",
        ),
        Slip(
            pairs_padded,
            "filled up with -100",
            r"shape|fill|pad|length|T - depth|\(B, T",
            "order|exchang|swap",
        ),
        Slip(
            lambda ids, depth: (ids[:, : -depth - 1], ids[:, 1:-depth]),
            "the pairs of the model itself",
            r"next token|reads|early",
            "order|exchang|swap|length",
        ),
    ],
)

# --- round_e4m3 ---

E4M3 = sorted(
    {m * 2.0**-9 for m in range(8)}
    | {(8 + m) * 2.0 ** (e - 3) for e in range(-6, 9) for m in range(8)} - {480.0}
)


def e4m3_by_table(x):
    size = min(abs(x), 448.0)
    above = bisect.bisect_left(E4M3, size)
    if E4M3[above] == size:
        return math.copysign(size, x)
    low, high = E4M3[above - 1], E4M3[above]
    middle = (low + high) / 2
    even = low if (above - 1) % 2 == 0 else high  # patterns of bits count up
    return math.copysign(even if size == middle else low if size < middle else high, x)


def e4m3_by_fractions(x):
    size, step = Fraction(min(abs(x), 448.0)), Fraction(1, 512)
    while size >= 16 * step:
        step *= 2
    return float(round(size / step) * step) * (-1 if x < 0 else 1)


def e4m3_in_numpy(x):
    x = np.clip(np.float64(x), -448, 448)
    exponent = np.maximum(np.frexp(x)[1] - 1, -6)
    return np.ldexp(np.rint(np.ldexp(x, 3 - exponent)), exponent - 3)


def e4m3(
    whole=round,
    least=-6,
    bits=3,
    end=lambda y: max(-448.0, min(448.0, y)),
    exponent=lambda x: math.frexp(x)[1] - 1,
):
    """A right answer but for one part."""

    def round_e4m3(x):
        step = 2.0 ** (max(exponent(x), least) - bits)
        return end(whole(x / step) * step)

    return round_e4m3


def half_away(x):
    return math.copysign(math.floor(abs(x) + 0.5), x)


def e4m3_flushed(x):
    return e4m3()(x) if abs(x) >= 2.0**-6 else 0.0


def e4m3_by_logarithm(x):
    return e4m3(exponent=lambda x: math.floor(math.log2(abs(x))))(x)


def e4m3_without_sign(x):
    return e4m3()(abs(x))


def e4m3_to_infinity(x):
    return e4m3()(x) if abs(x) <= 448 else math.copysign(math.inf, x)


ROUND_E4M3 = Answers(
    right=[e4m3_by_table, e4m3_by_fractions, e4m3_in_numpy],
    wrong=[
        Slip(
            e4m3(half_away), "halves away from zero", r"even|half|between|tie", "subnormal|448|sign"
        ),
        Slip(
            e4m3(lambda y: math.floor(y + 0.5)),
            "halves upwards",
            r"even|half|between|tie",
            "subnormal|448",
        ),
        Slip(
            e4m3(int), "cut off towards zero", r"nearest|cut|trunc|towards|int\b|round", "448|sub"
        ),
        Slip(e4m3(math.floor), "rounded down", r"nearest|down|floor|round", "448|subn"),
        Slip(
            e4m3(least=-100), "steps go on shrinking", r"-6|subnormal|shrink|small", "448|even|half"
        ),
        Slip(
            e4m3(exponent=lambda x: math.frexp(x)[1]),
            "frexp's exponent as it is",
            r"exponent|frexp|twice|too (wide|coarse|large)|step",
            "448|subnormal",
        ),
        Slip(
            e4m3(bits=2), "two bits of mantissa", r"step|mantissa|bits|wide|coarse", "448|subnormal"
        ),
        Slip(
            e4m3(bits=4),
            "four bits of mantissa",
            r"step|mantissa|bits|fine|narrow",
            "448|subnormal",
        ),
        Slip(e4m3(end=lambda y: y), "nothing is clamped", r"448|larg", "subnormal|even|half"),
        Slip(
            e4m3(end=lambda y: min(448.0, y)),
            "only clamped from above",
            r"sign|negative|below|both sides",
            "subnormal|even|half",
        ),
        Slip(
            e4m3(end=lambda y: max(-240.0, min(240.0, y))),
            "240 for the largest",
            r"448|240|largest",
            "subnormal|even|half",
        ),
        Slip(
            e4m3_to_infinity,
            "what is too large becomes infinite",
            r"infinit|becomes 448",
            "subn|even|half",
        ),
        Slip(
            e4m3_flushed,
            "subnormal numbers become 0",
            r"subnormal|small|becomes? 0|2\^-6|2\*\*-6|below",
            "448|even|half",
        ),
        Slip(e4m3_without_sign, "the sign is lost", r"sign|negative", "448|subn|even|half"),
        Slip(
            e4m3(least=-7),
            "the least exponent is -7",
            r"-6|subnormal|small|exponent",
            "448|even|half",
        ),
        Slip(
            e4m3(least=-5),
            "the least exponent is -5",
            r"-6|subnormal|small|exponent|coarse",
            "448|even|half",
        ),
        Slip(e4m3_by_logarithm, "0 has no logarithm", r"\b0\b|zero|domain|math", "448|even|half"),
    ],
)

# --- tile_scales ---


def scales_by_loops(x, width):
    table = []
    for row in x.tolist():
        tiles = [row[i : i + width] for i in range(0, len(row), width)]
        sizes = [max(abs(number) for number in tile) for tile in tiles]
        table.append([size / 448 if size else 1.0 for size in sizes])
    return torch.tensor(table, dtype=torch.float64)


def scales_by_pooling(x, width):
    sizes = F.max_pool1d(x.abs()[:, None], width).squeeze(1)
    return (sizes / 448.0).masked_fill(sizes == 0, 1.0)


def scales_in_numpy(x, width):
    tiles = np.abs(x.double().numpy()).reshape(len(x), -1, width)
    sizes = tiles.max(axis=-1)
    return np.where(sizes == 0, 1.0, sizes / 448)


def scales(
    size=lambda tiles: tiles.abs().amax(2),
    by=448.0,
    tiles=lambda x, width: x.unflatten(1, (-1, width)),
    zeros=lambda scale: torch.where(scale == 0, 1.0, scale),
):
    """A right answer but for one part."""
    return lambda x, width: zeros(size(tiles(x, width)) / by)


def scales_inverse(x, width):
    size = x.unflatten(1, (-1, width)).abs().amax(2)
    return torch.where(size == 0, 1.0, 448 / size)


def scales_of_rows(x, width):
    size = x.abs().amax(1, keepdim=True).expand(-1, x.shape[1] // width)
    return torch.where(size == 0, 1.0, size / 448)


def scales_of_table(x, width):
    return (x.abs().amax() / 448).expand(len(x), x.shape[1] // width)


def scales_with_any_zero(x, width):
    tiles = x.unflatten(1, (-1, width))
    return torch.where((tiles == 0).any(2), 1.0, tiles.abs().amax(2) / 448)


def scales_in_place(x, width):
    return scales()(x.abs_(), width)


TILE_SCALES = Answers(
    right=[scales_by_loops, scales_by_pooling, scales_in_numpy],
    wrong=[
        Slip(scales(zeros=lambda s: s), "0 for a tile of zeros", r"\b0\b|zero", "sign|abs|448"),
        Slip(
            scales(zeros=lambda s: s.clamp(min=1e-12)),
            "a tiny scale for a tile of zeros",
            r"\b0\b|zero|\b1\b",
            "sign|abs|448",
        ),
        Slip(
            scales(zeros=lambda s: s.clamp(min=1.0)),
            "no scale below 1",
            r"below 1|small|at least|less than 1|clamp",
            "sign|abs|width",
        ),
        Slip(
            scales(lambda tiles: tiles.amax(2)),
            "the largest number, signs kept",
            r"sign|negative|abs|size",
            "zeros|448|width",
        ),
        Slip(
            scales_inverse,
            "448 by the largest size",
            r"448 by|inver|upside|the other way|divid|multipl|recipro",
            "zeros|sign|width",
        ),
        Slip(scales(by=1.0), "not divided by 448", r"448|divid", "zeros|sign|width"),
        Slip(scales(by=127.0), "divided by 127", r"448|127", "zeros|sign|width"),
        Slip(scales(by=240.0), "divided by 240", r"448|240", "zeros|sign|width"),
        Slip(
            scales(tiles=lambda x, width: x.view(len(x), width, -1).transpose(1, 2)),
            "tiles of every so many columns",
            r"neighbour|next to|columns|order",
            "zeros|sign|448",
        ),
        Slip(
            scales(tiles=lambda x, width: x.unflatten(1, (width, -1))),
            "width tiles, not tiles of width",
            r"width|number of your tiles",
            "zeros|sign|448",
        ),
        Slip(
            scales(lambda tiles: tiles.abs().mean(2)),
            "the mean size",
            r"mean|largest",
            "zeros|sign|width",
        ),
        Slip(
            scales_of_rows, "one scale per row", r"row|token|each tile|own|tile", "zeros|sign|448"
        ),
        Slip(
            scales_of_table,
            "one scale for the table",
            r"table|each tile|own|tile",
            "zeros|sign|448",
        ),
        Slip(
            lambda x, width: scales()(x, width).repeat_interleave(width, 1),
            "a scale for each number",
            r"shape|each tile|per tile|number|one scale",
            "zeros|sign|448",
        ),
        Slip(
            scales_with_any_zero,
            "1 where a tile has any zero",
            r"any|one zero|all|zero",
            "sign|448|width",
        ),
        Slip(scales_in_place, "signs lost in x", r"argument|chang|in place|leave", "zeros|448"),
    ],
)

ANSWERS = {
    "moved_bias": MOVED_BIAS,
    "gates": GATES,
    "journeys": JOURNEYS,
    "mtp_pairs": MTP_PAIRS,
    "round_e4m3": ROUND_E4M3,
    "tile_scales": TILE_SCALES,
}
